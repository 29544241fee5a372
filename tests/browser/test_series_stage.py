"""The stage for series, in a real browser, on runs of small networks that have learned nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import painted_page
import pytest
import torch
from playwright.sync_api import Browser, Locator, Page, expect

from engines import events as ev
from engines.runtime import run
from engines.time_series.exhibits import KVAE
from engines.time_series.train import RECIPES

Open = Callable[..., Page]
LANES = ["linear", "gru", "independent"]
TRACES = {"short": {"samples": 3}, "long": {"samples": 2, "steps": 48, "trained": "holes-50"}}


def recordings() -> dict[str, str]:
    torch.manual_seed(3)
    built = {name: recipe.build().eval().requires_grad_(False) for name, recipe in RECIPES.items()}
    out = {}
    for name, settings in TRACES.items():
        events = list(run(KVAE, settings, lanes=LANES, nets=lambda net: built[net].session()))
        out[name] = ev.write_trace({"exhibit": "kvae", "settings": vars(KVAE.parse(settings)), "seed": KVAE.seed,
                                    "interventions": []}, events)
    return out


@pytest.fixture(scope="module")
def traces() -> dict[str, str]:
    return recordings()


@pytest.fixture(scope="module")
def served(traces) -> Iterator[str]:
    exhibits = [painted_page.shown(KVAE, LANES, name) for name in traces]
    with painted_page.serving(painted_page.pages(exhibits, traces)) as url:
        yield url


@pytest.fixture
def show(chromium: Browser, served: str) -> Iterator[Open]:
    """show(slug, part=…, width=…) -> the page with the playhead after this part of the run."""

    def open_page(slug: str, part: float = 1.0, **look: Any) -> Page:
        page = window(f"{served}/?exhibit={slug}", ".uf-curve[data-own]", **look)
        seek(page, part)
        return page

    with painted_page.windows(chromium) as window:
        yield open_page


def seek(page: Page, part: float) -> None:
    page.evaluate("""async (part) => {
        players[0].pause();
        players[0].seek(Math.round(players[0].length * part));
        for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
    }""", part)


def lane(page: Page, name: str) -> Locator:
    return page.locator(f'.uf-lane[data-lane="{name}"]')


@pytest.mark.parametrize("width", [390, 1440, 1920])
def test_curves_and_circle_stand_within_the_page(show, width):
    page = show("short", width=width)
    for name in LANES:
        assert lane(page, name).locator(".uf-curve").count() == 4, "two channels, own series and others"
        own = lane(page, name).locator(".uf-curve[data-own]").first.get_attribute("d") or ""
        assert own.count("L") == 23 and "NaN" not in own
    for name, count in (("linear", 16), ("gru", 16), ("independent", 0)):
        assert lane(page, name).locator(".uf-eigenvalue").count() == count
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_what_is_not_final_is_in_pencil(show):
    page = show("short", 0.85)
    assert lane(page, "gru").locator('.uf-curve[data-pencil]').count() == 4
    page.evaluate("players[0].select('gru', 3)")
    expect(page.locator(".inspector-box .uf-figures")).to_have_text("angle\u2026speed\u2026")
    seek(page, 1)
    expect(page.locator(".inspector-box .uf-figures")).not_to_contain_text("\u2026")
    assert lane(page, "gru").locator('.uf-curve:not([data-pencil])').count() == 4


def test_eigenvalues_lie_where_the_run_says(show, traces):
    page = show("short")
    events = [json.loads(line) for line in traces["short"].splitlines()[1:]]
    told = next(e for e in events if e.get("canvas") == "spectrum" and e["lane"] == "linear")["values"]
    drawn = lane(page, "linear").locator(".uf-eigenvalue").evaluate_all(
        "all => all.map((c) => [Number(c.dataset.i), Number(c.getAttribute('cx')), -Number(c.getAttribute('cy'))])")
    assert {i: [x, y] for i, x, y in drawn} == {i: pytest.approx(v, abs=1e-4) for i, v in enumerate(told)}


def test_a_step_is_chosen_by_click_and_walked_by_keyboard(show):
    page = show("short")
    plot = lane(page, "linear").locator(".uf-plot")
    plot.click(position={"x": 60, "y": 30})
    expect(page.locator(".inspector-box")).to_contain_text("step ")
    plot.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".inspector-box")).to_contain_text("step 2")
    assert page.evaluate("players[0].selection.cell % 24") == 1
    expect(page.locator(".inspector-box .uf-fell")).to_have_count(16)
    page.keyboard.press("Escape")
    assert page.evaluate("players[0].selection") is None


def test_another_eigenvalue_can_be_looked_at(show):
    page = show("short")
    circle = lane(page, "linear").locator(".uf-spectrum")
    before = circle.locator(".uf-eigen").inner_text()
    circle.locator('.uf-eigenvalue[tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    expect(circle.locator('.uf-eigenvalue[aria-selected="true"]')).to_be_focused()
    expect(circle.locator(".uf-eigen")).not_to_have_text(before)


def test_a_longer_run_is_drawn_on_the_lanes_that_stand(show, traces):
    """Between Run and its first event the curves are taken off, the frame stays; then other sizes fit in."""
    page = show("short")
    counts = page.evaluate("""async (text) => {
        const frames = async () => { for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame); };
        const root = document.querySelector('.uf-lane[data-lane="linear"]');
        const count = () => ['.uf-curve', '.uf-curves .uf-axis'].map((k) => root.querySelectorAll(k).length);
        const [player] = players;
        player.open('f'.repeat(32));
        await frames();
        const empty = count();
        player.load(text);
        player.seek(player.length);
        await frames();
        const d = root.querySelector('.uf-curve[data-own]').getAttribute('d');
        return { same: root.isConnected, empty, full: count(), d };
    }""", traces["long"])
    assert counts["same"] and counts["empty"][0] == 0 and counts["empty"][1] > 0
    assert counts["full"][0] == 4 and counts["d"].count("L") == 47
    assert lane(page, "linear").locator('.uf-real[data-dots]').count() == 2, "what was not measured is a hole"
    assert lane(page, "linear").locator(".uf-beyond").count() == 1
