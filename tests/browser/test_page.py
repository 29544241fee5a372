"""What a visitor does, in a real browser against a real server."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from engines.catalog import EXHIBITS

HERO = "assd"


def run(page: Page) -> None:
    """Press Run, once whatever the page began by itself is over, and wait until the whole run has come."""
    page.wait_for_function(
        "!['idle', 'running', 'queued'].includes(document.querySelector('main').dataset.run)", timeout=60_000
    )
    page.click(".run-button")
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=30_000)


def to_the_end(page: Page) -> None:
    page.get_by_role("button", name="To the end").click()


def rows(page: Page) -> list[str]:
    """The run as text: one line an event."""
    page.locator(".as-text > summary").click()
    page.wait_for_selector(".as-text tbody tr")
    return page.locator(".as-text tbody tr").all_inner_texts()


def word(page: Page, lane: str, state: str = "committed") -> int:
    """The number of a cell of a lane that is in this state."""
    cell = page.locator(f'[data-lane="{lane}"] .uf-cell[data-state="{state}"]').first
    return int(cell.get_attribute("data-cell") or -1)


def test_home_opens_without_a_complaint_and_asks_nobody_else(visit):
    page = visit()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.locator(".door").count() == len(EXHIBITS)
    assert page.title().startswith("Unfold")
    page.wait_for_timeout(800)
    assert page.trouble == []
    assert page.outside == []


def test_the_first_paint_stands_in_the_document_itself(visit, server):
    html = visit().request.get(f"{server}/").text()
    assert 'id="unfold-page"' in html
    assert 'class="first-still"' in html and EXHIBITS[HERO].why_this_seed in html


def test_a_door_leads_to_its_exhibit_and_back_leads_home(visit):
    page = visit()
    page.locator(f'.door[data-exhibit="{HERO}"]').click()
    expect(page.locator("main.exhibit")).to_be_visible()
    assert f"exhibit={HERO}" in page.url
    page.go_back()
    expect(page.locator("main.home")).to_be_visible()


@pytest.mark.parametrize("slug", list(EXHIBITS))
def test_every_exhibit_runs_to_done_on_each_default_lane(visit, slug):
    page = visit(f"?exhibit={slug}")
    expect(page.get_by_role("heading", level=1)).to_have_text(EXHIBITS[slug].title)
    assert EXHIBITS[slug].title in page.title()
    run(page)
    to_the_end(page)
    done = [r for r in rows(page) if re.search(r"\bdone\b", r)]
    assert len(done) == len(EXHIBITS[slug].default_lanes())
    assert all("finished" in r for r in done)
    assert page.trouble == []


def test_a_double_click_on_run_starts_one_run_and_does_not_stop_it(visit, slow_server):
    page = visit(f"?exhibit={HERO}&seed=1005", base=slow_server)
    page.dblclick(".run-button")
    page.wait_for_timeout(600)
    expect(page.locator("main[data-run=running]")).to_be_visible()


def test_stop_ends_a_run_and_keeps_what_was_written(visit, slow_server):
    page = visit(f"?exhibit={HERO}&seed=1006", base=slow_server)
    page.wait_for_selector('.uf-cell[data-state="committed"]')
    page.wait_for_timeout(450)
    expect(page.locator(".run-button")).to_have_text("Stop")
    page.click(".run-button")
    expect(page.locator("main[data-run=cancelled]")).to_be_visible(timeout=3_000)
    expect(page.locator(".run-button")).to_have_text("Run")
    to_the_end(page)
    assert any("cancelled" in r for r in rows(page))
    expect(page.locator('.uf-cell[data-state="committed"]')).not_to_have_count(0)


def test_a_third_run_waits_in_the_queue_and_may_leave_it(visit, slow_server):
    long = "share=95&k=2&lanes=" + ",".join(EXHIBITS[HERO].lanes)
    first = [visit(f"?exhibit={HERO}&seed={s}&{long}", base=slow_server) for s in (1007, 1008)]
    for page in first:
        page.wait_for_selector('.uf-cell[data-state="committed"]')
    third = visit(f"?exhibit={HERO}&seed=1009", base=slow_server)
    expect(third.locator(".queue-line")).to_be_visible()
    third.locator(".queue-line button").click()
    expect(third.locator("main[data-run=cancelled]")).to_be_visible()


def test_a_forced_word_is_written_and_the_way_back_leads_to_the_original(visit):
    page = visit(f"?exhibit={HERO}")
    run(page)
    to_the_end(page)
    cell = word(page, HERO)
    here = page.locator(f'[data-lane="{HERO}"] .uf-cell[data-cell="{cell}"]')
    before = here.locator(".uf-text").inner_text()
    here.click()
    expect(page.locator(".inspector-box")).to_contain_text(re.compile(rf"Word {cell + 1}\b"))
    bars = page.locator(".inspector-box .uf-bars button:not([disabled])")
    other = next(b for b in bars.all() if b.get_attribute("data-word") != before)
    wanted = other.get_attribute("data-word") or ""
    other.click()
    expect(page.locator(".what-if")).to_be_visible()
    expect(page.locator("main[data-run=over]")).to_be_visible()
    to_the_end(page)
    expect(here.locator(".uf-text")).to_have_text(wanted)
    assert "i=f." in page.url
    page.locator(".what-if-back").click()
    expect(page.locator(".what-if")).to_be_hidden()
    expect(here.locator(".uf-text")).to_have_text(before)


def test_blanks_are_chosen_by_clicking_words_and_the_run_takes_them(visit):
    page = visit(f"?exhibit={HERO}")
    run(page)
    to_the_end(page)
    page.locator("[data-setting=blanks] .pick").click()
    given = page.locator(f'[data-lane="{HERO}"] .uf-cell[data-state="given"]').first
    cell = given.get_attribute("data-cell")
    given.click()
    assert cell in page.locator("#s-blanks").input_value().split(",")
    run(page)
    to_the_end(page)
    expect(page.locator(f'[data-lane="{HERO}"] .uf-cell[data-cell="{cell}"]')).to_have_attribute(
        "data-state", "committed"
    )
    assert page.trouble == []


def test_a_link_restores_settings_seed_lanes_and_the_forced_word(visit):
    page = visit(f"?exhibit={HERO}&seed=4242")
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=30_000)
    to_the_end(page)
    cell = word(page, HERO)
    copy = visit(f"?exhibit={HERO}&seed=4242&k=3&lanes={HERO}&i=f.{HERO}.{cell}.bell.0")
    expect(copy.locator("main[data-run=over]")).to_be_visible(timeout=30_000)
    to_the_end(copy)
    assert copy.locator(".seed-field").input_value() == "4242"
    assert copy.locator("#s-k").input_value() == "3"
    assert copy.locator(".uf-lane").count() == 1
    expect(copy.locator(f'[data-lane="{HERO}"] .uf-cell[data-cell="{cell}"] .uf-text')).to_have_text("bell")
    copy.click(".copy-link")
    url = copy.evaluate("navigator.clipboard.readText()")
    assert copy.locator(".refused-link").count() == 0
    for part in ("seed=4242", "k=3", f"lanes={HERO}", f"i=f.{HERO}.{cell}.bell.0"):
        assert part in url


def test_a_forced_full_stop_survives_the_link(visit):
    page = visit(f"?exhibit={HERO}&seed=4242&i=f.{HERO}.4._1.0")
    expect(page.locator(".what-if b")).to_have_text(".")
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=30_000)
    assert f"i=f.{HERO}.4._1.0" in page.url


def test_the_playhead_of_a_link_is_where_it_was(visit):
    page = visit(f"?exhibit={HERO}&seed=4242&at=12")
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=30_000)
    page.click(".copy-link")
    assert "at=12" in page.evaluate("navigator.clipboard.readText()")


def test_a_bad_link_opens_with_defaults_and_lists_what_was_refused(visit):
    page = visit(f"?exhibit={HERO}&k=9999&seed=minus&colour=red&lanes=nowhere&i=f.x.y&theme=dark&at=-1")
    line = page.locator(".refused-link")
    expect(line).to_be_visible()
    for name in ("k", "seed", "colour", "lanes", "i", "at"):
        expect(line.locator("b", has_text=re.compile(f"^{name}$"))).to_have_count(1)
    k = next(s for s in EXHIBITS[HERO].settings if s.name == "k")
    assert page.locator("#s-k").input_value() == str(EXHIBITS[HERO].recorded.get("k", k.default))
    assert page.trouble == []


def test_what_the_engine_refuses_is_said_at_its_control(visit):
    page = visit(f"?exhibit={HERO}&story={quote('the zyzzyva sang .')}")
    expect(page.locator('[data-setting="story"] .control-error')).to_contain_text("zyzzyva")
    expect(page.locator("main[data-run=refused]")).to_be_visible()
    assert page.trouble == []


PAYLOADS = (
    "${window.hurt=1}",
    "<img src=x onerror=window.hurt=1>",
    "</script><script>window.hurt=1</script>",
    "{{constructor.constructor('window.hurt=1')()}}",
    "\u202eevil",
)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_from_a_link_never_runs(visit, payload):
    bad = quote(payload)
    page = visit(f"?exhibit={HERO}&story={bad}&k={bad}&{bad}={bad}&i=f.{HERO}.3.{bad}.0&theme={bad}&at={bad}")
    page.wait_for_timeout(700)
    assert page.evaluate("window.hurt") is None
    assert page.locator("main img, main script").count() == 0
    assert page.trouble == []


def test_text_that_is_typed_never_runs(visit):
    page = visit(f"?exhibit={HERO}")
    page.locator("#s-story-own + label").click()
    page.fill("#s-story", PAYLOADS[0] + PAYLOADS[1])
    page.click(".run-button")
    expect(page.locator('[data-setting="story"] .control-error')).to_be_visible()
    assert page.evaluate("window.hurt") is None


def test_on_a_phone_the_panels_are_tabs_and_the_timeline_stays_in_view(visit):
    page = visit(f"?exhibit={HERO}", width=390, height=844)
    expect(page.locator(".controls")).to_be_visible()
    page.locator(".tabs button[data-tab=idea]").click()
    expect(page.locator(".controls")).to_be_hidden()
    expect(page.locator(".question")).to_be_visible()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    box = page.locator(".timeline-box").bounding_box()
    assert box and box["y"] + box["height"] == pytest.approx(844, abs=2)


def test_the_dark_theme_follows_the_system_the_switch_and_the_link(visit):
    ground = "getComputedStyle(document.body).backgroundColor"
    page = visit(dark=True)
    assert page.evaluate(ground) == "rgb(17, 21, 28)"
    page.click(".theme-switch")
    assert page.evaluate(ground) == "rgb(252, 250, 246)"
    page.reload()
    page.wait_for_selector("#unfold-main")
    assert page.evaluate(ground) == "rgb(252, 250, 246)"
    assert visit("?theme=dark").evaluate(ground) == "rgb(17, 21, 28)"


def test_keys_play_step_and_reach_every_control(visit):
    page = visit(f"?exhibit={HERO}", still=True)
    run(page)
    slider = page.get_by_role("slider", name="Where in the run")
    page.locator("h1").focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuenow", "0")
    page.keyboard.press("ArrowRight")
    expect(slider).not_to_have_attribute("aria-valuenow", "0")
    page.keyboard.press("?")
    expect(page.locator("dialog.help")).to_be_visible()
    page.keyboard.press("Escape")
    reached = set()
    page.locator(".brand").focus()
    for _ in range(90):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.className || document.activeElement.id"))
    assert {"run-button", "s-k", "seed-field", "answer"} <= {r.split(" ")[0] for r in reached}


def test_an_answer_is_told_why(visit):
    page = visit(f"?exhibit={HERO}")
    right = next(a for a in EXHIBITS[HERO].question.answers if a.right)
    page.get_by_role("button", name=right.text).click()
    expect(page.locator(".answer-why")).to_contain_text(right.why)


def test_a_measurement_shows_progress_and_can_be_cancelled(visit):
    page = visit(f"?exhibit={HERO}")
    card = page.locator(".claim").first
    card.locator("button").click()
    expect(card).to_have_attribute("data-running", "yes")
    page.wait_for_timeout(600)
    card.locator("button").click()
    expect(card).to_have_attribute("data-running", "no")
    expect(card.locator(".claim-progress")).to_have_text("Stopped.")


def test_a_server_that_went_away_is_said_and_replay_still_works(visit):
    page = visit(f"?exhibit={HERO}")
    run(page)
    page.context.set_offline(True)
    expect(page.locator(".server-gone")).to_be_visible()
    page.get_by_role("button", name="To the start").click()
    page.get_by_role("button", name="To the end").click()
    expect(page.locator('.uf-cell[data-state="committed"]')).not_to_have_count(0)
    page.context.set_offline(False)
    expect(page.locator(".server-gone")).to_be_hidden()


def test_a_lecture_hides_the_controls_and_turns_pages_by_remote(visit):
    page = visit(f"?exhibit={HERO}&lecture=1")
    expect(page.locator(".controls")).to_be_hidden()
    first = page.locator(".beat-text").inner_text()
    page.locator("h1").focus()
    page.keyboard.press("PageDown")
    expect(page.locator(".beat-text")).not_to_have_text(first)


def test_a_lecture_is_begun_run_and_ended_on_the_page(visit):
    page = visit(f"?exhibit={HERO}", still=True)
    page.locator(".lecture-switch").click()
    expect(page.locator(".controls")).to_be_hidden()
    expect(page.locator(".center .beats")).to_be_visible()
    assert "lecture=1" in page.url
    page.locator(".lecture-run").click()
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=60_000)
    page.locator(".lecture-switch").click()
    expect(page.locator(".controls")).to_be_visible()
    assert "lecture" not in page.url


def test_a_phone_can_run_without_scrolling(visit):
    page = visit(f"?exhibit={HERO}", width=390, height=844)
    expect(page.locator(".run-button")).to_be_in_viewport()
    expect(page.get_by_role("button", name="Copy link")).to_be_visible()
