"""Script payloads in every text that reaches the page: none of them runs, in a real browser, on the real wire."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from components.recorded import trace_text
from engines.catalog import EXHIBITS
from tests.browser import slow_app
from tests.browser.payloads import ALL, PAYLOADS, poisoned

# What a payload would leave behind, had one been taken for markup: the page itself makes no such element.
FOREIGN = (
    "script, iframe, img:not(.logo), video, math, object, embed, "
    "[onerror], [onload], [onfocus], [onmouseover], [ontoggle]"
)


def unhurt(page: Page) -> None:
    page.wait_for_timeout(300)
    assert page.evaluate("window.hurt") is None
    assert page.evaluate("(s) => document.querySelector('#unfold-page').querySelectorAll(s).length", FOREIGN) == 0
    assert page.evaluate("[...document.links].filter((a) => !/^https?:/.test(a.href)).length") == 0


def look_everywhere(page: Page) -> None:
    """Open what can be opened, so that every part of the page draws its texts."""
    for summary in page.locator("#unfold-page summary").all():
        summary.evaluate("(node) => { node.parentElement.open = true; }")
    page.get_by_role("button", name="To the end").first.evaluate("(b) => b.click()")
    for cell in page.locator(":is(.uf-cell, .uf-square)[data-state=committed]").all()[:6]:
        cell.evaluate("(node) => { node.click(); node.dispatchEvent(new MouseEvent('mouseover', {bubbles: true})); }")
        page.wait_for_timeout(50)
    # In one go: each focus may draw the bars anew.
    page.locator(".uf-bars button:not([disabled])").evaluate_all("all => all.slice(0, 2).forEach((b) => b.focus())")


@pytest.mark.parametrize("slug", list(EXHIBITS))
def test_recorded_runs_and_page_data_never_run(visit, server, slug):
    """Every text of the page's data and of the recorded run carries payloads."""
    rows = [poisoned(json.loads(line)) for line in trace_text(slug).decode().splitlines()]
    page = visit()
    data = poisoned(page.request.get(f"{server}/unfold/page.json").json())
    assert ALL in data["strings"]["run.run"] and any("hurt" in json.dumps(row) for row in rows)
    page.route("**/unfold/page.json", lambda route: route.fulfill(json=data))
    page.route("**/traces/*.jsonl", lambda route: route.fulfill(body="\n".join(json.dumps(r) for r in rows)))
    page.goto(f"{server}/?exhibit={slug}")
    page.wait_for_selector("main[data-run=recorded]")
    assert "window.hurt" in page.locator("#unfold-page").inner_text()
    for summary in page.locator("#unfold-page summary").all():
        summary.evaluate("(node) => { node.parentElement.open = true; }")
    page.evaluate(
        "document.querySelectorAll('button:not(.copy-link, .run-button, .another)').forEach((b) => b.click())"
    )
    unhurt(page)
    page.goto(f"{server}/")
    page.wait_for_selector("main.home .door")
    unhurt(page)


@pytest.mark.parametrize("slug", list(EXHIBITS))
def test_what_an_engine_says_never_runs(visit, slow_server, slug):
    """Through Gradio's own wire, whose host evaluates what a template renders."""
    page = visit(f"?exhibit={slug}&seed={slow_app.HURTS}", base=slow_server)
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=60_000)
    look_everywhere(page)
    assert "window.hurt" in page.locator("section.center").inner_text()
    unhurt(page)


@pytest.mark.parametrize("seed", [slow_app.HURTS_AT_ONCE, slow_app.HURTS_BY_REFUSAL])
def test_what_an_error_says_never_runs(visit, slow_server, seed):
    page = visit(f"?exhibit=assd&seed={seed}", base=slow_server)
    told = page.locator(".trouble, .control-error").filter(visible=True).first
    expect(told).to_contain_text("window.hurt", timeout=30_000)
    unhurt(page)


def test_what_a_link_says_never_runs(visit):
    for i in range(0, len(PAYLOADS), 6):
        part = " ".join(PAYLOADS[i : i + 6])
        page = visit()
        page.evaluate(
            """([slug, bad]) => {
              const q = new URLSearchParams({ exhibit: slug, story: bad, k: bad, theme: bad, at: bad, lanes: bad });
              q.set(bad, bad);
              q.set('i', `f.${slug}.3.${bad}.0`);
              history.pushState(null, '', `?${q}`);
              dispatchEvent(new PopStateEvent('popstate'));
            }""",
            ["assd", part],
        )
        expect(page.locator(".refused-link")).to_be_visible()
        unhurt(page)


def test_the_detector_itself_can_see(visit):
    """The same payloads as markup do run: without this, a page that lost its eyes would pass."""
    page = visit()
    page.evaluate(
        "(text) => { const d = document.createElement('div'); d.innerHTML = text; document.body.append(d); }", ALL
    )
    page.wait_for_function("window.hurt === 1")
