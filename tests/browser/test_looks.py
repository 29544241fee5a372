"""What a picky eye would see: nothing sideways, nothing on top of something else, nothing too pale, a fresh still."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

from components import still
from components.page_data import caption, first_paint, page_data
from components.recorded import ROOT, trace_text
from engines import events as ev
from engines.catalog import EXHIBITS

HERO = "assd"
PAGES = ["", *(f"?exhibit={slug}" for slug in EXHIBITS)]


def settled(page: Page) -> Page:
    """The page at the end of its recorded run, nothing in motion."""
    if page.locator("main.exhibit").count():
        page.wait_for_function(
            "!['idle', 'running', 'queued'].includes(document.querySelector('main').dataset.run)", timeout=60_000
        )
        page.get_by_role("button", name="To the end").click()
    page.wait_for_timeout(300)
    return page


# ---- the still


def test_the_still_is_what_the_command_writes():
    written = (ROOT / "assets" / "first.svg").read_text(encoding="utf-8")
    assert written == still.svg(), "assets/first.svg is stale: run python -m components.still"
    assert len(written) < 40_000


def test_the_still_shows_a_repair_and_says_so():
    trace = still.read()
    spot = still.telling(trace)
    assert spot
    now = still.frame(trace, *spot)
    repaired = [c for c in now.cells if c.state == "committed" and c.struck and now.fresh(c)]
    assert repaired and repaired[-1].struck == now.words[0] and repaired[-1].value == now.words[1]
    assert now.words[0] in now.note and now.words[1] in now.note
    assert 0 < now.written < now.blanks


def test_the_still_agrees_with_the_player(visit):
    page = visit(still=True)
    page.wait_for_selector(".hero-stage .uf-cell")
    now = still.frame(still.read(), *page_data(EXHIBITS)["telling"].values())
    texts = page.locator(".hero-stage .uf-cell .uf-text").all_inner_texts()
    shown = [c.value if still._look(now, c) != "masked" else "" for c in now.cells]
    assert texts == [s or "" for s in shown]
    expect(page.locator(".hero .uf-note-text")).to_have_text(now.note)


def test_the_first_paint_needs_no_script(chromium, server):
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(server)
    expect(page.locator("h1")).to_be_visible()
    expect(page.locator(".first-still .fs-narrow")).to_be_visible()
    expect(page.locator(".hero-caption")).to_contain_text(str(EXHIBITS[HERO].seed))
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    context.close()


def test_the_first_paint_escapes_what_it_quotes():
    data = page_data(EXHIBITS)
    data["strings"] = data["strings"] | {"home.headline": "<script>hurt</script>"}
    data["exhibits"][0] = data["exhibits"][0] | {"why_this_seed": "<b>${hurt}</b>"}
    data["hero"] = data["exhibits"][0]["slug"]
    _, body = first_paint(data)
    assert "<script>hurt" not in body and "<b>" not in body and "&lt;b&gt;" in body
    assert "<b>" in caption(data)


# ---- layout


# Boxes of text that overlap, within parts of the page that flow: what lies under a sticky bar is not meant.
OVERLAPS = """
() => {
  const parts = ['.header-inner', '.exhibit-head', '.uf-lane-head', '.uf-words', '.control', '.run-box', '.lane-choice',
    '.uf-inspector', '.uf-bar', '.note-line', '.what-if', '.beats', '.question', '.claim', '.hero-foot', '.door',
    '.credits'];
  const found = [];
  for (const part of document.querySelectorAll(parts.join())) {
    if (!part.checkVisibility()) continue;
    const boxes = [];
    const walk = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      const node = walk.currentNode;
      const holder = node.parentElement;
      if (!node.data.trim() || !holder.checkVisibility({ visibilityProperty: true })) continue;
      const skip = '.visually-hidden, .uf-hidden, option, select, textarea, .uf-line, .uf-mark, .uf-badge';
      if (holder.closest(skip)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const r of range.getClientRects()) {
        const pad = Math.min(r.height * 0.2, 6);  // a line box is taller than its letters
        const box = { l: r.left + 1, r: r.right - 1, t: r.top + pad, b: r.bottom - pad };
        boxes.push({ ...box, said: node.data.trim(), node });
      }
    }
    for (const svg of part.querySelectorAll('svg.uf-dots')) {
      const r = svg.getBoundingClientRect();
      if (r.width) boxes.push({ l: r.left, r: r.right, t: r.top, b: r.bottom, said: 'dots', node: svg });
    }
    for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
      const [a, b] = [boxes[i], boxes[j]];
      if (a.node === b.node) continue;
      if (a.l < b.r && b.l < a.r && a.t < b.b && b.t < a.b) found.push(`${part.className}: ${a.said} | ${b.said}`);
    }
  }
  return found;
}
"""


# One page a test, turned to every width and both themes: many open pages at once slow one another down.
@pytest.mark.parametrize("query", PAGES)
def test_at_every_width_nothing_scrolls_sideways_and_no_text_lies_on_other_text(visit, query):
    page = settled(visit(query, width=390, height=900, still=True))
    for width in (390, 320, 768, 1024, 1440, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width
        if width in (390, 1440, 1920):
            assert page.evaluate(OVERLAPS) == [], width


def test_both_lanes_are_in_view_on_a_laptop(visit):
    page = settled(visit(f"?exhibit={HERO}", still=True))
    second = page.locator(".uf-lane").nth(1).locator(".uf-cell").nth(20).bounding_box()
    dock = page.locator(".dock").bounding_box()
    assert second and dock and second["y"] + 30 < dock["y"]


def test_on_a_phone_a_chosen_word_opens_a_sheet_beside_it(visit):
    page = settled(visit(f"?exhibit={HERO}", width=390, height=844, still=True))
    cell = page.locator(f'[data-lane="{HERO}"] .uf-cell[data-state="committed"]').nth(4)
    cell.click()
    page.wait_for_timeout(200)
    sheet, word = page.locator(".inspector-box").bounding_box(), cell.bounding_box()
    dock = page.locator(".dock").bounding_box()
    assert sheet and word and dock
    assert word["y"] + word["height"] <= sheet["y"] + 1 and sheet["y"] + sheet["height"] <= dock["y"] + 1
    page.locator(".sheet-close").click()
    expect(page.locator("main[data-sheet]")).to_have_count(0)


def test_many_calls_stay_dots_that_can_be_counted(visit):
    for width in (390, 1440):
        page = settled(visit("?exhibit=speculative", width=width, height=900, still=True))
        sizes = page.evaluate(
            "[...document.querySelectorAll('.uf-dots circle')].map((c) => c.getBoundingClientRect().width)"
        )
        assert sizes and min(sizes) >= 4, (width, min(sizes))


# ---- both futures


def test_a_forced_word_leaves_both_futures_in_reach(visit):
    page = settled(visit(f"?exhibit={HERO}", still=True))
    here = page.locator(f'[data-lane="{HERO}"] .uf-cell[data-state="committed"]').nth(3)
    here = page.locator(f'[data-lane="{HERO}"] .uf-cell[data-cell="{here.get_attribute("data-cell")}"]')
    before = here.locator(".uf-text").inner_text()
    here.click()
    expect(page.locator(".inspector-box .uf-follow")).to_be_visible()  # until then the bars are another word's
    bar = page.locator(".inspector-box .uf-bars li:not([data-now]) button").first
    wanted = bar.get_attribute("data-word") or ""
    page.locator(f'.inspector-box .uf-bars button[data-word="{wanted}"]').click()
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="To the end").click()
    expect(here.locator(".uf-text")).to_have_text(wanted)
    expect(page.locator(".uf-line")).to_have_count(0)  # no verdict was given, so none is drawn
    page.get_by_role("button", name="as it was").click()
    expect(here.locator(".uf-text")).to_have_text(before)
    page.get_by_role("button", name="with your word").click()
    expect(here.locator(".uf-text")).to_have_text(wanted)
    assert page.trouble == []


def test_a_run_that_another_machine_computed_otherwise_is_never_mixed_with_ours(visit, server):
    lines = trace_text(HERO).decode().splitlines()
    commits = [i for i, line in enumerate(lines) if f'"commit","lane":"{HERO}"' in line]
    wrong = json.loads(lines[commits[0]])
    true = wrong["values"][0]
    wrong["values"][0] = "moon"
    lines[commits[0]] = json.dumps(wrong)
    page = visit(still=True)
    page.route("**/traces/*.jsonl", lambda route: route.fulfill(body="\n".join(lines)))
    page.goto(f"{server}/?exhibit={HERO}")
    settled(page)
    first = page.locator(f'[data-lane="{HERO}"] .uf-cell[data-cell="{ev.expand(wrong["cells"])[0]}"] .uf-text')
    expect(first).to_have_text("moon")
    page.locator(f'[data-lane="{HERO}"] .uf-cell[data-state="committed"]').last.click()
    page.locator(".inspector-box .uf-bars li:not([data-now]) button").first.click()
    expect(page.locator(".trouble")).to_contain_text("computed here", timeout=30_000)
    expect(page.locator("main[data-run=over]")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="To the end").click()
    expect(first).to_have_text(true)


# ---- claims


def test_claims_are_said_in_plain_words(visit):
    page = visit(f"?exhibit={HERO}")
    exact = page.locator('.claim[data-claim="nfe-bound"]')
    expect(exact).to_contain_text(" of ")
    expect(exact).not_to_contain_text("share of")
    law = page.locator('.claim[data-claim="law"]')
    expect(law.locator(".claim-law")).to_contain_text("tries")
    expect(law.locator(".claim-twins li")).not_to_have_count(0)
    for text in page.locator(".claim").all_inner_texts():
        assert "e-0" not in text and "1e-" not in text and "p-value" not in text


@pytest.mark.parametrize("slug", EXHIBITS)
def test_claims_name_nothing_by_its_name_in_the_code(visit, slug):
    page = visit(f"?exhibit={slug}", still=True)
    page.wait_for_selector(".claim")
    page.evaluate("document.querySelectorAll('.claim-points').forEach((d) => { d.open = true })")
    for text in page.locator(".claim").all_inner_texts():
        assert not re.search(r"\[object|undefined|NaN|[{}]|[a-z]_[a-z]", text), text
    for claim in page.locator(".claim").all():
        if "% of" in " ".join(claim.locator(".claim-unit").all_inner_texts()):
            assert "no difference" not in claim.inner_text(), "a share is not compared with anything"

# ---- seen, named, reached

PALE = """
() => {
  const parse = (c) => (c.match(/[\\d.]+/g) ?? []).map(Number);
  const lin = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * lin(r / 255) + 0.7152 * lin(g / 255) + 0.0722 * lin(b / 255);
  const ground = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const c = parse(getComputedStyle(n).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.getElementById('unfold-page'), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const holder = walk.currentNode.parentElement;
    const seen = holder.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    if (!walk.currentNode.data.trim() || !seen) continue;
    if (holder.closest(':disabled, option, .visually-hidden, .uf-hidden, [data-state=withdrawn]')) continue;
    const style = getComputedStyle(holder);
    const [a, b] = [light(parse(style.color)), light(ground(holder))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    const said = walk.currentNode.data.trim();
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} ${holder.className}: ${said}`);
  }
  return found;
}
"""


UNNAMED = """
() => ['button', 'a[href]', 'input', 'select', 'textarea', 'summary', '[role=slider]', '[role=grid]', '[role=gridcell]']
  .flatMap((kind) => [...document.querySelectorAll(kind)])
  .filter((n) => n.checkVisibility())
  .filter((n) => !n.getAttribute('aria-label') && !n.getAttribute('aria-labelledby'))
  .filter((n) => !n.labels?.length && !n.textContent.trim() && !n.querySelector('[aria-label]'))
  .map((n) => n.outerHTML.slice(0, 120))
"""


@pytest.mark.parametrize("query", PAGES)
def test_all_text_has_contrast_in_both_themes_and_what_can_be_reached_has_a_name(visit, query):
    page, ground = settled(visit(query, still=True)), "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(PALE) == []
    assert page.evaluate(UNNAMED) == []
    light = page.evaluate(ground)
    page.click(".theme-switch")
    page.wait_for_timeout(300)
    assert page.evaluate(ground) != light, "the theme did not turn"
    assert page.evaluate(PALE) == []
    assert page.locator("[aria-live=polite]").count() >= 1


def test_the_eye_itself_can_see(visit):
    page = settled(visit(f"?exhibit={HERO}", still=True))
    page.evaluate(
        """() => {
          const line = document.querySelector('.exhibit-head');
          const put = (tag, said, style) => {
            const n = document.createElement(tag);
            n.textContent = said;
            n.style.cssText = style;
            line.append(n);
          };
          put('p', 'pale', 'color:#ccc');
          put('p', 'on top', 'position:absolute;top:auto;margin-left:-12px');
          put('button', '', 'width:9px;height:9px');
        }"""
    )
    assert any("pale" in found for found in page.evaluate(PALE))
    assert any("on top" in found for found in page.evaluate(OVERLAPS))
    assert page.evaluate(UNNAMED)


def test_focus_is_seen_wherever_tab_leads(visit):
    page = settled(visit(f"?exhibit={HERO}", still=True))
    page.locator(".brand").focus()
    blind = []
    for _ in range(60):
        page.keyboard.press("Tab")
        blind += page.evaluate(
            """() => {
              const n = document.activeElement;
              if (n === document.body) return [];
              const near = [n, n.querySelector('.uf-box'), n.nextElementSibling].filter(Boolean);
              const ring = (s) => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2;
              return near.some((m) => ring(getComputedStyle(m))) ? [] : [n.outerHTML.slice(0, 120)];
            }"""
        )
    assert blind == []


def test_with_reduced_motion_nothing_plays_by_itself(visit):
    page = visit(still=True)
    page.wait_for_selector(".hero-stage .uf-cell")
    before = page.locator(".hero-stage").inner_text()
    page.wait_for_timeout(2_500)
    assert page.locator(".hero-stage").inner_text() == before
    expect(page.locator(".hero-play")).to_have_text("Play")
