"""What a visitor sees when something breaks: a sentence and a way on, and what was made is kept."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from benchmarks.served import served
from tests.browser import slow_app

HERO = "assd"
SLOW = Path(__file__).with_name("slow_app.py")
WRITTEN = '.uf-cell[data-state="committed"]'


def sentence(page: Page) -> str:
    """What the page says about the trouble: readable, without our insides."""
    box = page.locator(".trouble")
    expect(box).to_be_visible(timeout=30_000)
    said = box.locator("p").inner_text()
    assert said.strip().endswith(".") and "Error" not in said and "Traceback" not in said and "secret" not in said
    return said


def runs_again(page: Page, seed: int = 1) -> None:
    """The way on: another seed, Run, and the run comes whole."""
    page.fill(".seed-field", str(seed))
    page.locator(".seed-field").blur()
    expect(page.locator(".run-button")).to_have_text("Run")
    page.click(".run-button")
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=60_000)
    expect(page.locator(".trouble")).to_be_hidden()


def at_the_end(page: Page) -> None:
    page.get_by_role("button", name="To the end").click()


def whole(page: Page) -> bool:
    """Does the text table show every lane finished, its events without a hole?"""
    if not page.locator(".as-text[open]").count():
        page.locator(".as-text > summary").click()
    page.wait_for_selector(".as-text tbody tr")
    rows = page.evaluate(
        "[...document.querySelectorAll('.as-text tbody tr')].map((r) => [r.dataset.lane, +r.dataset.n, r.dataset.kind])"
    )
    lanes = {lane: sorted(n for other, n, _ in rows if other == lane) for lane, _, _ in rows}
    ends = [lane for lane, _, kind in rows if kind == "done"]
    return sorted(ends) == sorted(lanes) and all(ns == list(range(len(ns))) for ns in lanes.values())


def test_a_worker_that_dies_in_mid_run(visit, slow_server):
    page = visit(f"?exhibit={HERO}&seed={slow_app.DIES}", base=slow_server)
    assert "broke" in sentence(page)
    expect(page.locator("main[data-run=failed]")).to_be_visible()
    expect(page.locator(".run-status")).to_contain_text("stays")
    at_the_end(page)
    expect(page.locator(WRITTEN)).not_to_have_count(0)
    runs_again(page)


def test_a_lane_that_breaks_while_the_other_goes_on(visit, slow_server):
    page = visit(f"?exhibit={HERO}&seed={slow_app.LANE_BREAKS}", base=slow_server)
    assert "“" in sentence(page), "the lane is named"
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=60_000)
    at_the_end(page)
    expect(page.locator(WRITTEN)).not_to_have_count(0)
    page.locator(".trouble button").click()
    expect(page.locator(".trouble")).to_be_visible(timeout=30_000)  # the seed is the same, and so is the fault


def test_weights_that_are_cut_short(visit, slow_server):
    page = visit(f"?exhibit={HERO}&seed={slow_app.NO_WEIGHTS}", base=slow_server)
    said = sentence(page)
    assert "target.safetensors" in said and "fetch" in said
    runs_again(page)


def test_a_server_that_is_killed_in_mid_run_and_comes_back(visit):
    with served(SLOW) as server:
        page = visit(f"?exhibit={HERO}&seed=1006", base=server.url)
        page.wait_for_selector(WRITTEN)
        os.kill(server.pid, signal.SIGKILL)
        expect(page.locator(".server-gone")).to_be_visible(timeout=30_000)
        at_the_end(page)
        expect(page.locator(WRITTEN)).not_to_have_count(0)
        port = int(server.url.rsplit(":", 1)[1])
    with served(SLOW, port=port):  # Gradio reloads the page by itself, and what had arrived is kept over that
        assert "stays" in sentence(page)
        expect(page.locator(".server-gone")).to_be_hidden()
        expect(page.locator(WRITTEN)).not_to_have_count(0)
        runs_again(page)


def test_a_line_that_breaks_in_mid_run_is_mended_by_itself(visit, slow_server):
    page = visit(f"?exhibit={HERO}&seed=1011&share=95&k=2", base=slow_server)
    page.wait_for_selector(WRITTEN)
    page.context.set_offline(True)
    expect(page.locator(".server-gone")).to_be_visible()
    page.wait_for_timeout(1_000)
    page.context.set_offline(False)
    expect(page.locator(".server-gone")).to_be_hidden()
    page.wait_for_function(
        "['over', 'cancelled'].includes(document.querySelector('#unfold-main')?.dataset.run)", timeout=60_000
    )
    at_the_end(page)
    expect(page.locator(WRITTEN)).not_to_have_count(0)
    runs_again(page)


def test_a_frame_that_is_lost_is_fetched(visit, slow_server):
    """Drop a frame on its way into the page: what the player shows in the end has no hole."""
    page = visit(f"?exhibit={HERO}", base=slow_server)
    page.add_init_script(
        """{
          const { parse } = JSON;
          JSON.parse = (text, ...more) => {
            const frame = parse(text, ...more);
            if (!frame?.run || frame.seq !== 6 || window.dropped) return frame;
            window.dropped = frame.run;
            return { run: 'lost' };
          };
        }"""
    )
    page.goto(f"{slow_server}/?exhibit={HERO}&seed=1012")
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=60_000)
    assert page.evaluate("window.dropped")
    assert whole(page)


def test_a_clock_that_jumps_in_mid_run(visit, slow_server):
    page = visit(base=slow_server)
    page.clock.install()
    page.goto(f"{slow_server}/?exhibit={HERO}&seed=1013")
    page.wait_for_selector(WRITTEN)
    page.clock.set_system_time("2031-01-01T00:00:00")
    page.clock.fast_forward("01:00:00")  # a lid that was closed for an hour
    page.clock.resume()
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=60_000)
    expect(page.locator(".server-gone")).to_be_hidden()
    assert whole(page)


def test_two_tabs_of_one_browser_do_not_touch_each_other(visit, slow_server):
    one = visit(f"?exhibit={HERO}&seed=1014", base=slow_server)
    two = one.context.new_page()
    two.goto(f"{slow_server}/?exhibit={HERO}&seed=1015")
    one.wait_for_selector(WRITTEN)
    one.click(".run-button")
    expect(one.locator("main[data-run=cancelled]")).to_be_visible()
    expect(two.locator("main[data-run=over]")).to_be_visible(timeout=60_000)
    assert whole(two)
    two.close()
    runs_again(one)


@pytest.mark.parametrize("how", ["slow", "asleep"])
def test_a_slow_or_sleeping_page_gets_its_whole_run(visit, slow_server, how):
    page = visit(f"?exhibit={HERO}&seed=1016", base=slow_server)
    tools = page.context.new_cdp_session(page)
    page.wait_for_selector(WRITTEN)
    if how == "slow":
        tools.send("Emulation.setCPUThrottlingRate", {"rate": 6})
    else:
        tools.send("Page.setWebLifecycleState", {"state": "frozen"})
        page.wait_for_timeout(3_000)
        tools.send("Page.setWebLifecycleState", {"state": "active"})
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=90_000)
    assert whole(page)
    assert not re.search(r"\bNaN\b|undefined", page.locator("#unfold-main").inner_text())
