"""What is drawn of a beam search, and orders of blanks that are picked on the page, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import painted_page
import pytest
from playwright.sync_api import Browser, Page, expect

from engines import events as ev
from engines import weights
from engines.any_order.exhibits import ASSD
from engines.any_order.orders import bisection
from engines.any_order.page import NET
from engines.exhibit import Exhibit
from engines.next_token.exhibits import NEXT_TOKEN
from engines.runtime import run

Open = Callable[..., Page]


def recorded(exhibit: Exhibit, lanes: list[str]) -> list[ev.Event]:
    return list(run(exhibit, {}, exhibit.seed, lanes=lanes, nets=lambda name: weights.session(
        NET if name.startswith("any_order/") else name)))


@pytest.fixture(scope="module")
def words() -> Iterator[tuple[str, dict[str, list[ev.Event]]]]:
    """The address of a page with both exhibits, and the runs that it shows."""
    chosen = ((ASSD, ["assd", "one-by-one"]), (NEXT_TOKEN, ["beam"]))
    runs = {exhibit.slug: recorded(exhibit, lanes) for exhibit, lanes in chosen}
    traces = {exhibit.slug: ev.write_trace({"exhibit": exhibit.slug, "settings": {}, "seed": exhibit.seed},
                                           runs[exhibit.slug]) for exhibit, _ in chosen}
    exhibits = [painted_page.shown(exhibit, lanes) for exhibit, lanes in chosen]
    with painted_page.serving(painted_page.pages(exhibits, traces)) as url:
        yield url, runs


@pytest.fixture
def show(chromium: Browser, words: tuple[str, Any]) -> Iterator[Open]:
    with painted_page.windows(chromium) as window:
        yield lambda query, **look: window(f"{words[0]}/{query}", ".uf-cell", **look)


def after(page: Page, lane: str, event: ev.Event) -> None:
    """Move the playhead to just after this event."""
    page.evaluate("([lane, n]) => window.players.at(-1).seekEvent(lane, n)", [lane, event.n])
    page.wait_for_timeout(200)


def tips(page: Page, gone: bool) -> list[str]:
    fate = "[data-gone]" if gone else ":not([data-gone])"
    return page.locator(f".uf-branch[data-tip]{fate} .uf-branch-words").all_inner_texts()


def test_the_tree_shows_what_is_proposed_and_then_what_is_kept_and_cut(show, words):
    events = [e for e in words[1]["next-token"] if e.lane == "beam"]
    page = show("?exhibit=next-token")
    at, step = [(i, e) for i, e in enumerate(events) if isinstance(e, ev.Propose)][9]
    after(page, "beam", step)
    assert sorted(tips(page, gone=False)) == sorted(step.values) and tips(page, gone=True) == []
    cut = events[at + 1]
    assert isinstance(cut, ev.Withdraw)
    after(page, "beam", cut)
    fallen = [v for v, node in zip(step.values, step.node, strict=True) if node in cut.node]
    assert sorted(tips(page, gone=True)) == sorted(fallen) and len(tips(page, gone=False)) == 4
    best = page.locator(".uf-tree .uf-branch[data-tip]").first
    expect(best.locator(".uf-branch-score")).to_have_text(f"{step.score[0]:.2f}".replace("-", "\u2212"))


def test_words_are_written_when_all_branches_agree_and_the_stories_left_stand_below(show, words):
    events = [e for e in words[1]["next-token"] if e.lane == "beam"]
    page = show("?exhibit=next-token")
    after(page, "beam", [e for e in events if isinstance(e, ev.Propose)][9])
    agreed = page.locator('[data-lane="beam"] .uf-cell[data-state="committed"]').count()
    page.get_by_role("button", name="To the end").click()
    page.wait_for_timeout(300)
    assert page.locator('[data-lane="beam"] .uf-cell[data-state="committed"]').count() > agreed
    stories = events[-1].summary["stories"]
    assert sorted(page.locator(".uf-branch[data-tip] .uf-branch-score").all_inner_texts()) == sorted(
        f"{s['log_prob']:.2f}".replace("-", "\u2212") for s in stories)
    assert page.locator(".uf-branch[data-tip][data-kept]").count() == 1


def test_the_inspector_lists_the_beginnings_that_were_compared(show, words):
    events = [e for e in words[1]["next-token"] if e.lane == "beam"]
    page = show("?exhibit=next-token")
    after(page, "beam", [e for e in events if isinstance(e, ev.Withdraw)][9])
    rows = page.locator(".uf-rivals li:not(.uf-rivals-head)")
    assert rows.count() == 8 and page.locator(".uf-rivals li[data-gone]").count() == 4
    assert page.locator(".uf-bars button:not([disabled])").count() == 0, "beam search takes no forced words"


def test_the_tree_fits_a_phone_by_scrolling_in_itself(show):
    page = show("?exhibit=next-token", width=390, height=844)
    page.evaluate("() => { const p = window.players.at(-1); p.seek(Math.round(p.length * 0.8)); }")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator(".uf-tree").is_visible()


def test_an_order_is_picked_word_by_word_and_goes_into_the_run(show):
    page = show("?exhibit=assd")
    page.locator("label[for=s-order-own]").click()
    for cell in (20, 4, 31, 4, 7):  # 4 is taken and let go again
        page.locator(f'[data-lane="assd"] .uf-cell[data-cell="{cell}"]').click()
    marks = page.locator('[data-lane="assd"] .uf-cell[data-picked] .uf-badge')
    assert sorted(marks.all_inner_texts()) == ["1", "2", "3"]
    expect(page.locator('[data-setting="order"] [role=status]')).to_have_text("Words 21, 32, 8, then left to right.")
    page.locator(".run-button").click()
    assert page.evaluate("window.sent.at(-1).settings.order") == "20,31,7"
    assert "order=20,31,7" in page.evaluate("location.search")


def test_a_named_order_is_one_click_and_a_link_opens_with_it(show):
    page = show("?exhibit=assd")
    page.locator("label[for=s-order-bisection]").click()
    page.locator(".run-button").click()
    assert page.evaluate("window.sent.at(-1).settings.order") == "bisection"
    assert page.locator(".order-path").count() == 4
    assert bisection(range(7))[0] == 3, "its drawing starts in the middle"


def test_picking_blanks_is_as_it_was(show):
    page = show("?exhibit=assd")
    page.locator('[data-setting="blanks"] .pick').click()
    page.locator('[data-lane="assd"] .uf-cell:not([data-picked])').first.click()
    page.locator(".run-button").click()
    cells = [int(c) for c in page.evaluate("window.sent.at(-1).settings.blanks").split(",")]
    assert cells == sorted(cells) and len(cells) > 5
