"""The stage of words tells of unmasking: how sure each blank is, words taken back, steps beside calls, the curve.

The run is made by the real loops on a small table of eight words, so it needs no network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import painted_page
import pytest
from playwright.sync_api import Browser, Page

from engines.discrete_diffusion.answers import together
from engines.discrete_diffusion.claims import PLAIN, quiet
from engines.discrete_diffusion.page import Page as Sheet
from engines.discrete_diffusion.page import begin
from engines.discrete_diffusion.radd import reverse
from engines.discrete_diffusion.unmask import unmask
from engines.events import Event, check, write_trace
from engines.noise import Noise
from engines.worlds.stories import HIDDEN

WORDS = ("a", "cat", "sat", "on", "the", "mat", "and", "slept")
CELLS = 16
NETS = [{"id": "table", "role": "target", "params": 0, "bytes": 0}]


class Sharp:
    """A network with an opinion of its own on every cell, sharper the more words stand there."""

    def __call__(self, rows: Any, **more: Any) -> Any:
        known = np.array([[v != len(WORDS) for v in row] for row in rows]).sum(1)
        z = np.random.default_rng(4).normal(0, 1, (len(rows[0]), len(WORDS)))
        return z[None] * (0.6 + known[:, None, None] / 6)


def lane(name: str, loop: Callable[..., Any], seed: int, **settings: Any) -> list[Event]:
    sheet = Sheet([HIDDEN if c % 4 else c // 4 for c in range(CELLS)], CELLS, list(range(0, CELLS, 4)), WORDS)
    s = SimpleNamespace(**PLAIN | {"order": "confidence", "cache": "exact", "top_k": 0} | settings)
    (events,) = together([loop(sheet, s, Noise(seed), quiet())], Sharp(), "table")
    first = begin(Sheet([0 if c % 4 == 0 else HIDDEN for c in range(CELLS)], CELLS, list(range(0, CELLS, 4)), WORDS),
                  name, NETS)
    return [replace(e, lane=name, n=n, t=float(n)) for n, e in enumerate([first, *events])]


@pytest.fixture(scope="module")
def runs() -> dict[str, list[Event]]:
    made = {"remask": lane("remask", unmask, 2, amount="threshold", tau=0.5, remask=0.25, steps=8),
            "coins": lane("coins", reverse, 2, order="diffusion", steps=24)}
    for own in made.values():
        check(own)
    return made


@pytest.fixture(scope="module")
def url(runs: dict[str, list[Event]]) -> Iterator[str]:
    files = painted_page.files()
    data = json.loads(files["/unfold/page.json"][1])
    shown = data["exhibits"][0]
    lanes = [{"id": i, "title": i, "line": "", "default": True} for i in runs]
    data["exhibits"] = [shown | {"slug": "words", "lanes": lanes, "settings": [], "trace": "unfold/traces/words.jsonl",
                                 "interventions": {i: [] for i in runs}}]
    head = {"exhibit": "words", "settings": {}, "seed": 7, "interventions": [], "models": {}, "runtime": {}}
    text = write_trace(head, [e for own in runs.values() for e in own])
    files["/unfold/page.json"] = ("application/json", json.dumps(data | {"hero": "words"}).encode())
    files["/unfold/traces/words.jsonl"] = ("application/x-ndjson", text.encode())
    with painted_page.serving(files) as address:
        yield address


@pytest.fixture(scope="module")
def page(chromium: Browser, url: str) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda e: trouble.append(str(e)))
    page.goto(f"{url}/?exhibit=words")
    page.wait_for_selector(".uf-cell")
    yield page
    context.close()
    assert trouble == []


def seek(page: Page, lane: str, n: int) -> None:
    page.evaluate("""async ([lane, n]) => {
        const [player] = players;
        player.pause();
        player.seekEvent(lane, n);
        for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
    }""", [lane, n])


def test_each_blank_shows_how_sure_the_network_is_of_it(page, runs):
    measure = next(e for e in runs["remask"] if e.kind == "measure" and e.name == "confidence")
    seek(page, "remask", measure.n)
    bars = page.locator('[data-lane="remask"] .uf-cell[data-sure]')
    cells = [c for span in measure.cells for c in (range(*span) if isinstance(span, list) else [span])]
    assert bars.count() == len(cells) == len(measure.values)
    for cell, sure in zip(cells, measure.values, strict=True):
        box = page.locator(f'[data-lane="remask"] [data-cell="{cell}"] .uf-box')
        assert float(box.evaluate("e => e.style.getPropertyValue('--sure')")) == pytest.approx(sure, abs=2e-3)
    names = bars.first.get_attribute("aria-label") or ""
    assert f"{measure.values[0]:.2f}" in names


def test_a_word_that_is_taken_back_is_struck_and_then_blank_again(page, runs):
    taken = next(e for e in runs["remask"] if e.kind == "withdraw")
    cell = taken.cells[0]
    there = page.locator(f'[data-lane="remask"] [data-cell="{cell}"]')
    seek(page, "remask", taken.n - 1)
    word = there.locator(".uf-text").inner_text()
    written = page.locator('[data-lane="remask"] .uf-lane-count').inner_text()
    seek(page, "remask", taken.n)
    assert there.get_attribute("data-state") == "withdrawn" and there.locator(".uf-text").inner_text() == word in WORDS
    assert page.locator('[data-lane="remask"] .uf-lane-count').inner_text() != written
    there.click()
    assert "hidden again" in page.locator(".uf-say").inner_text()
    there.click()
    after = next(e for e in runs["remask"] if e.kind == "forward" and e.n > taken.n)
    seek(page, "remask", after.n)
    assert there.get_attribute("data-state") == "masked" and there.locator(".uf-text").inner_text() == ""


def test_steps_that_cost_nothing_are_counted_beside_the_calls_and_drawn(page, runs):
    end = runs["coins"][-1]
    seek(page, "coins", end.n)
    head = page.locator('[data-lane="coins"] .uf-lane-head').inner_text()
    assert f"step {end.summary['steps']} of 24" in head
    assert end.summary["calls"] < end.summary["steps"]
    assert page.locator('[data-lane="coins"] .uf-lane-number').inner_text() == str(end.summary["calls"])
    curve = page.locator(".uf-tally")
    assert curve.is_visible() and f"coins: {end.summary['calls']}" in curve.inner_text()
    assert curve.locator('path[data-kind="expected"]').count() == 1
    half = curve.locator('path[data-kind="1"]').get_attribute("d") or ""
    seek(page, "coins", runs["coins"][len(runs["coins"]) // 2].n)
    assert len(curve.locator('path[data-kind="1"]').get_attribute("d") or "") < len(half)
