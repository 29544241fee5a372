"""The stage for films, in a real browser, on runs of a network that learned nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import painted_page
import pytest
import torch
from painted_page import seek
from playwright.sync_api import Browser, Page, expect
from test_belt import close, pixels, small

from engines import events as ev
from engines import weights
from engines.runtime import run
from engines.video.exhibits import MMPL
from engines.video.model import NET, Planner

Open = Callable[..., Page]
BEATS = 3
FRAMES = 9 * BEATS + 1
KEYS = list(range(3, FRAMES, 3))
RUNS = {"film": ["mmpl", "frame"], "crew": ["crew"]}


@pytest.fixture(scope="module")
def traces() -> dict[str, str]:
    torch.manual_seed(3)
    net = Planner(width=32, heads=2, hidden=48, layers=1).eval()
    torch.nn.init.normal_(net.out.weight, std=0.2)
    net.requires_grad_(False)
    settings, out = {"beats": BEATS, "steps": 2}, {}

    def nets(name: str) -> Any:
        return net.session() if name == NET else weights.session(name)

    for name, lanes in RUNS.items():
        events = list(run(MMPL, settings, lanes=lanes, nets=nets))
        head = {"exhibit": "mmpl", "settings": vars(MMPL.parse(settings)), "seed": MMPL.seed, "interventions": []}
        out[name] = ev.write_trace(head, events)
    return out


@pytest.fixture(scope="module")
def served(traces) -> Iterator[str]:
    exhibits = [painted_page.shown(MMPL, lanes, name) for name, lanes in RUNS.items()]
    with painted_page.serving(painted_page.pages(exhibits, traces)) as url:
        yield url


@pytest.fixture
def show(chromium: Browser, served: str) -> Iterator[Open]:
    """show(slug, at, width=…) -> the page with the playhead after event `at` of the run (-1: the end)."""

    def open_page(slug: str, at: int = -1, **look: Any) -> Page:
        page = window(f"{served}/?exhibit={slug}", ".uf-reel .uf-frame", **look)
        seek(page, at)
        return page

    with painted_page.windows(chromium) as window:
        yield open_page


def sent(text: str, lane: str, frame: int) -> torch.Tensor:
    events = [json.loads(row) for row in text.splitlines()[1:]]
    event = next(e for e in events if e["lane"] == lane and e["kind"] == "preview" and e["level"] == frame)
    return small(base64.b64decode(event["data"]))


def states(page: Page, lane: str) -> list[str]:
    frames = page.locator(f'[data-lane="{lane}"] .uf-frame[data-cell]')
    return frames.evaluate_all("all => all.map((f) => f.dataset.state)")


@pytest.mark.parametrize("width", [390, 1440, 1920])
def test_strips_stand_side_by_side_where_there_is_room(show, width):
    page = show("film", width=width)
    one, two = (lane.bounding_box() for lane in page.locator(".uf-films > .uf-lane").all())
    assert (one["y"] == two["y"]) == (width > 390)
    assert page.locator(".uf-film-beat").count() == 2 * BEATS
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_keys_come_up_along_the_whole_strip_before_any_gap_is_filled(show):
    page = show("film")
    length, seen = page.evaluate("players[0].length"), []
    for at in range(0, length, 4):
        page.evaluate("(at) => players[0].seek(at)", at)
        page.evaluate("() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
        seen.append({i for i, state in enumerate(states(page, "mmpl")) if state == "committed"})
    assert any(s == set(KEYS) for s in seen) and all(s >= set(KEYS) or s <= set(KEYS) for s in seen)
    seek(page, -1)
    assert states(page, "mmpl") == states(page, "frame") == ["given", *["committed"] * (FRAMES - 1)]
    marked = page.locator('[data-lane="mmpl"] .uf-frame[data-key]')
    assert marked.evaluate_all("all => all.map((f) => +f.dataset.cell)") == KEYS
    assert page.locator('[data-lane="frame"] .uf-frame[data-key]').count() == 0


def test_every_frame_shows_what_was_sent_and_the_screen_the_one_pointed_at(show, traces):
    page = show("film")
    for lane in ("mmpl", "frame"):
        for frame in (0, 3, 5, FRAMES - 1):
            cell = page.locator(f'[data-lane="{lane}"] .uf-frame[data-cell="{frame}"]')
            assert close(pixels(cell.locator("canvas")), sent(traces["film"], lane, frame))
        page.locator(f'[data-lane="{lane}"] .uf-frame[data-cell="5"]').hover()
        expect(page.locator(f'[data-lane="{lane}"] figcaption')).to_contain_text("Frame 5")
        assert close(pixels(page.locator(f'[data-lane="{lane}"] .uf-screen')), sent(traces["film"], lane, 5))
    # A beat begins with the last frame of the beat before.
    joint = page.locator('[data-lane="mmpl"] .uf-frame[data-joint] canvas').first
    assert close(pixels(joint), sent(traces["film"], "mmpl", 9))


def test_the_inspector_shows_what_a_frame_was_painted_from(show):
    page = show("film")
    inspector = page.locator(".inspector-box")
    for lane, frame, said in (("mmpl", 5, "frames 3 and 6"), ("mmpl", 12, "from frame 9 alone"),
                              ("frame", 5, "Painted from the frames just before it"), ("mmpl", 0, "begins with this")):
        page.locator(f'[data-lane="{lane}"] .uf-frame[data-cell="{frame}"]').click()
        expect(inspector).to_contain_text(said)
        shown = inspector.locator("figcaption").all_inner_texts()
        assert f"frame {frame}" in shown and len(shown) == {5: 3, 12: 2, 0: 1}[frame]


def test_the_film_is_walked_by_keys(show):
    page = show("film")
    page.locator('[data-lane="mmpl"] .uf-frame[data-cell="2"]').click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.evaluate("players[0].selection.cell") == 12
    page.keyboard.press("Escape")
    assert page.evaluate("players[0].selection") is None


def test_the_film_can_be_played_and_stopped(show):
    page = show("film")
    caption = page.locator('[data-lane="mmpl"] figcaption')
    page.get_by_role("button", name="Play the film").first.click()
    expect(caption).to_contain_text("Frame 2,", timeout=5_000)
    page.get_by_role("button", name="Stop the film").first.click()
    expect(caption).to_contain_text(f"Frame {FRAMES - 1},")


def test_bars_of_two_workers_lie_where_their_clock_says(show, traces):
    page = show("crew")
    rows = page.locator(".uf-gantt-row")
    assert rows.count() == 2
    events = [json.loads(row) for row in traces["crew"].splitlines()[1:]]
    for worker, row in enumerate(rows.all()):
        own = [e for e in events if e["kind"] == "forward" and e["worker"] == worker]
        bars = row.locator("rect").evaluate_all("all => all.map((r) => +r.getAttribute('x'))")
        assert len(bars) == len(own) > 0
        scale = bars[-1] / own[-1]["start_ms"]
        assert all(abs(x - e["start_ms"] * scale) < 1 for x, e in zip(bars, own, strict=True))
    looks = set(page.locator(".uf-gantt rect").evaluate_all("all => all.map((r) => r.dataset.look)"))
    assert looks == {"key", "gap", "pixels"}


def test_a_new_run_empties_the_strip(show):
    page = show("film")
    left = page.evaluate("""async () => {
        const { mount } = await import('/unfold/stage/film.js');
        window.own = document.body.appendChild(document.createElement('div'));
        window.part = mount(own, players[0], {});
        const before = own.querySelectorAll('.uf-frame:not([data-state="masked"])').length;
        part.empty(); // the old run is still there, so the next frame of the screen would draw it again
        return [before, own.querySelectorAll('.uf-frame:not([data-state="masked"])').length];
    }""")
    assert left[0] > 0 and left[1] == 0
    page.evaluate("part.destroy()")
    assert page.evaluate("own.childElementCount") == 0
