"""The stage for words read off a strip, in a real browser, on runs that are made up so that each look is known."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import painted_page
import pytest
import torch
from painted_page import seek
from painted_runs import Run, trace
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from engines import events as ev
from engines.events import Commit, Event, Measure, Note
from engines.painting import array, picture
from engines.recognition import train
from engines.recognition.exhibits import READ
from engines.recognition.model import CAUSAL, CPPD
from engines.runtime import run
from engines.worlds import words

Open = Callable[..., Page]
PRINTED, SLOTS, ROWS, COLUMNS = "letter", 13, 4, 12
AT_ONCE, BY_LETTER = ["l", "e", "t", "t", "a", "r", "end"], ["l", "e", "t", "t", "e", "r", "end"]
COUNTS = {"e": 2, "l": 1, "r": 1, "t": 2}


def looked_at(slots: list[int]) -> np.ndarray:
    """Slot i looks at column i + 2, most of all in its second row."""
    out = np.zeros((len(slots), ROWS, COLUMNS))
    for row, i in enumerate(slots):
        out[row, 1, i + 2], out[row, 2, i + 2] = 0.8, 0.2
    return out


def counted() -> np.ndarray:
    out = np.zeros((27, 12))
    out[:, 0] = 1
    out[0, :2] = 0.1, 0.9
    for letter, n in COUNTS.items():
        out[ord(letter) - 96, :] = 0
        out[ord(letter) - 96, n] = 0.75
        out[ord(letter) - 96, n + 1] = 0.25
    return out


def commit(cells: list[int], values: list[str]) -> Commit:
    top = [{"top": [[v, 0.6], *[[o, 0.1] for o in "abcdef" if o != v][:4]], "rest": 0.1} for v in values]
    return Commit(cells=cells, values=values, p=[0.6] * len(cells), entropy=[1.2] * len(cells), origin="sampled",
                  dists={"letters": top})


def lane(name: str, signs: list[str]) -> list[Event]:
    drawn = words.render([PRINTED], [words.look_of(4)], [4])
    made = Run(name, name, torch.zeros(0), SLOTS)
    made.begin(READ.lanes[name].title, {
        "id": "slots", "kind": "strip", "shape": [SLOTS], "pixels": [words.HEIGHT, words.WIDTH], "printed": PRINTED,
        "spans": [[round(v, 1) for v in pair] for pair in drawn.spans[0, : len(PRINTED)].tolist()],
    }, [(f"recognition/{name}", "encoder"), (f"recognition/{name}.decoder", "target")])
    made.say(picture("strip", 0, drawn.image[0].expand(3, -1, -1), lossless=True))
    made.forward(f"recognition/{name}", 2.0, [], [], [], mode="prefill")
    every = list(range(len(signs)))
    if name == "cppd":
        made.say(array("counts", 0, counted()))
        chances = [0.9] * len(signs) + [0.2] * (SLOTS - len(signs))
        made.say(Measure(name="there", value=sum(chances), unit="chance", cells=list(range(SLOTS)), values=chances))
    for own in [every] if name == "cppd" else [[i] for i in every]:
        made.forward(f"recognition/{name}.decoder", 1.0, list(range(own[0])), own, own)
        made.say(commit(own, [signs[i] for i in own]), 0.1)
        made.say(array("look", own[0], looked_at(own)))
    made.say(Note(key="cppd.right", args={"word": "".join(signs[:-1])}, text=f"It reads {''.join(signs[:-1])}."))
    return made.done(read="".join(signs[:-1]))


@pytest.fixture(scope="module")
def traces() -> dict[str, str]:
    torch.set_num_threads(1)
    torch.manual_seed(3)
    nets = {CPPD: train.cppd().eval(), CAUSAL: train.causal().eval()}
    real = list(run(READ, {}, lanes=["cppd", "causal"], nets=lambda net: nets[net].session()))
    header = {"exhibit": "cppd", "settings": vars(READ.parse({})), "seed": READ.seed, "interventions": []}
    made = [lane("cppd", AT_ONCE), lane("causal", BY_LETTER)]
    three = [*made, lane("silent", AT_ONCE)]
    return {"made": trace("made", made, 1), "three": trace("three", three, 1), "real": ev.write_trace(header, real)}


@pytest.fixture(scope="module")
def served(traces) -> Iterator[str]:
    exhibits = [painted_page.shown(READ, list(READ.lanes) if name == "three" else ["cppd", "causal"], name)
                for name in traces]
    with painted_page.serving(painted_page.pages(exhibits, traces)) as url:
        yield url


@pytest.fixture
def show(chromium: Browser, served: str) -> Iterator[Open]:
    """show(slug, at, width=…) -> the page with the playhead after `at` merged events (-1: the end)."""

    def open_page(slug: str = "made", at: int = -1, **look: Any) -> Page:
        page = window(f"{served}/?exhibit={slug}", ".uf-slots .uf-slot", **look)
        seek(page, at)
        return page

    with painted_page.windows(chromium) as window:
        yield open_page


def slots(page: Page, lane: str) -> Locator:
    return page.locator(f'[data-lane="{lane}"] .uf-slot')


def read(page: Page, lane: str) -> str:
    return "".join(slots(page, lane).locator(".uf-text").all_text_contents())


def after(page: Page, lane: str, kind: str, nth: int = 0) -> None:
    """Move the playhead behind the nth event of a kind in a lane, drawn."""
    at = page.evaluate("""([lane, kind, nth]) => {
        const [player] = players;
        const n = player.events(lane).filter((e) => e.kind === kind)[nth].n;
        const { items, lanes } = player.layout();
        return 1 + items.findIndex((item) => item.n === n && lanes[item.lane].id === lane);
    }""", [lane, kind, nth])
    seek(page, at)


def glow(page: Page, lane: str) -> np.ndarray:
    """How gold the strip is, by its patches: (4, 12)."""
    url = page.locator(f'[data-lane="{lane}"] .uf-strip').evaluate("(c) => c.toDataURL()")
    image = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")
    pixels = np.asarray(image.resize((COLUMNS, ROWS), Image.Resampling.BOX)).astype(float)
    return pixels[..., 0] - pixels[..., 2]


def test_letters_fall_together_in_one_lane_and_one_by_one_in_the_other(show):
    page = show(at=1)
    assert read(page, "cppd") == read(page, "causal") == ""
    after(page, "cppd", "commit")
    assert read(page, "cppd") == "lettar∎"
    for n in range(3):
        after(page, "causal", "commit", n)
        assert read(page, "causal") == "let"[: n + 1]
    seek(page, -1)
    assert read(page, "causal") == "letter∎"
    assert page.locator('[data-lane="cppd"] .uf-lane-number').inner_text() == "1"
    assert page.locator('[data-lane="causal"] .uf-lane-number').inner_text() == "7"


def test_scrubbing_back_empties_the_slots_the_beads_and_the_threads(show):
    page = show()
    assert page.locator(".uf-sight-line").count() == 14 and page.locator(".uf-beads li").count() == 4
    seek(page, 1)
    assert read(page, "cppd") == "" and page.locator(".uf-sight-line").count() == 0
    assert page.locator(".uf-beads li").count() == 0
    assert set(slots(page, "causal").evaluate_all("all => all.map((s) => s.dataset.state)")) == {"masked"}
    slots(page, "cppd").nth(2).focus()
    assert page.locator(".uf-strip[data-looks]").count() == 0  # it has not looked yet
    seek(page, -1)
    assert read(page, "cppd") == "lettar∎" and page.locator(".uf-sight-line").count() == 14


def test_slots_that_exist_light_up_before_their_letters(show):
    page = show()
    after(page, "cppd", "measure")
    states = slots(page, "cppd").evaluate_all("all => all.map((s) => s.dataset.state)")
    assert states == ["lit"] * 7 + ["masked"] * 6
    said = "slot 9, not read yet, chance that it is in use .20"
    expect(slots(page, "cppd").nth(8)).to_have_attribute("aria-label", said)
    seek(page, -1)
    states = slots(page, "cppd").evaluate_all("all => all.map((s) => s.dataset.state)")
    assert states == ["committed"] * 7 + ["behind"] * 6


def test_beads_are_what_was_counted(show):
    page = show()
    beads = page.locator('[data-lane="cppd"] .uf-beads li')
    found = beads.evaluate_all("all => all.map((row) => [row.dataset.letter, row.querySelectorAll('i').length])")
    assert dict(found) == COUNTS
    assert page.locator('[data-lane="causal"] .uf-abacus').is_hidden()
    expect(page.locator('[data-lane="cppd"] .uf-abacus')).to_contain_text("Counted on the side, never asked")


def test_a_misread_letter_is_marked_with_the_printed_one_below_it(show):
    page = show()
    wrong = page.locator(".uf-slot[data-wrong]")
    assert wrong.evaluate_all("all => all.map((s) => s.dataset.cell)") == ["4"]
    expect(wrong.locator(".uf-under")).to_have_text("e")
    assert "misread, printed is 'e'" in (wrong.get_attribute("aria-label") or "")
    wrong.click()
    expect(page.locator(".inspector-box")).to_contain_text("Printed here is “e”.")
    assert slots(page, "causal").locator(".uf-under").all_text_contents() == [""] * SLOTS


@pytest.mark.parametrize("dark", [False, True])
def test_the_look_of_a_slot_glows_on_the_strip_while_it_is_pointed_at(show, dark):
    page = show(dark=dark)
    plain = glow(page, "causal")
    for cell in (0, 4):
        slots(page, "cppd").nth(cell).focus()
        seek(page, -1)
        gold = glow(page, "cppd")
        assert gold[1].argmax() == cell + 2 and gold[1, cell + 2] > gold[2, cell + 2] > gold[0, cell + 2] + 4
        assert abs(np.delete(gold, cell + 2, axis=1)).max() < 4
        assert page.locator('[data-lane="cppd"] .uf-sight-line[data-faint]').count() == 6
    assert (glow(page, "causal") == plain).all()
    page.locator("h1").click()
    slots(page, "cppd").nth(4).evaluate("(s) => s.blur()")
    seek(page, -1)
    gold = glow(page, "cppd")[1]
    assert (gold[2:9] > 20).all() and abs(gold[[0, 1, 9, 10, 11]]).max() < 4  # all that were read together


def test_a_held_slot_keeps_its_look_and_the_inspector_has_its_letters(show):
    page = show()
    slots(page, "causal").nth(2).click()
    page.mouse.move(2, 2)
    expect(slots(page, "causal").nth(2)).to_have_attribute("aria-selected", "true")
    slots(page, "causal").nth(2).evaluate("(s) => s.blur()")
    seek(page, -1)
    assert glow(page, "causal")[1].argmax() == 4
    box = page.locator(".inspector-box")
    expect(box).to_contain_text("Slot 3")
    assert box.locator(".uf-bars li").count() == 5
    expect(box).to_contain_text("It was told 2 of 13 letters")


def test_threads_lead_from_each_slot_to_where_it_looked_most(show):
    page = show()
    wide = page.locator(".uf-strip").first.evaluate("(strip) => strip.getBoundingClientRect().width")
    knots = page.locator('[data-lane="cppd"] .uf-sight-line circle')
    ends = knots.evaluate_all("all => all.map((c) => +c.getAttribute('cx'))")
    assert ends == pytest.approx([(i + 2.5) / COLUMNS * wide for i in range(7)], abs=0.2)


def test_another_letter_is_forced_by_a_click(show):
    page = show()
    slots(page, "causal").nth(2).click()
    page.locator('.uf-bars button[data-word="b"]').click()
    page.wait_for_function("sent.length === 1")
    asked = page.evaluate("sent[0]")
    assert asked["lanes"] == ["causal"]
    change = asked["interventions"][0]
    assert [change[k] for k in ("do", "lane", "cell", "value")] == ["force", "causal", 2, "b"]
    kind = page.evaluate("(n) => players[0].events('causal').find((e) => e.n === n)?.kind", change["after"])
    assert kind in ("forward", "phase")
    expect(page.locator(".what-if")).to_contain_text("What if slot 3 held b")


def test_slots_are_walked_by_keys(show):
    page = show()
    slots(page, "cppd").first.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    assert slots(page, "causal").nth(2).evaluate("(slot) => slot === document.activeElement")
    page.keyboard.press("Enter")
    assert page.evaluate("players[0].selection") == {"lane": "causal", "cell": 2}
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.cell") == "12"
    page.keyboard.press("Escape")
    assert page.evaluate("players[0].selection") is None


@pytest.mark.parametrize("width,height", [(360, 740), (390, 844), (1024, 768), (1440, 900), (1920, 1080)])
def test_nothing_runs_over_the_side_and_no_part_lies_on_another(show, width, height):
    page = show(width=width, height=height)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    place = "(e) => e.getBoundingClientRect().toJSON()"
    strip, row, beads = (page.locator(f'[data-lane="cppd"] {name}').evaluate(place)
                         for name in (".uf-strip", ".uf-slots", ".uf-abacus"))
    assert row["width"] == pytest.approx(strip["width"], abs=1) and row["top"] > strip["bottom"] + 20
    beside = beads["left"] >= strip["right"]
    assert (beside or beads["top"] >= row["bottom"]) and beside == (width >= 1000)
    assert min(slots(page, "cppd").evaluate_all("all => all.map((s) => s.getBoundingClientRect().width)")) >= 24


def test_lanes_stand_side_by_side_where_that_makes_them_larger(show):
    page = show(width=1440, height=900)
    where = "all => all.map((e) => e.getBoundingClientRect().toJSON())"
    first, second = page.locator(".uf-lane").evaluate_all(where)
    assert first["bottom"] <= second["top"]
    page.evaluate("document.documentElement.classList.add('lecture')")
    page.wait_for_selector(".uf-reading[data-columns]")
    first, second = page.locator(".uf-lane").evaluate_all(where)
    assert first["top"] == second["top"] and first["right"] <= second["left"]


@pytest.mark.parametrize(("width", "height", "columns"), [(1440, 900, 2), (1920, 1080, 2), (390, 844, 1)])
def test_three_lanes_stand_in_two_columns_where_there_is_room(show, width, height, columns):
    page = show("three", width=width, height=height)
    boxes = page.locator(".uf-lane").evaluate_all("all => all.map((e) => e.getBoundingClientRect().toJSON())")
    assert len({round(box["left"]) for box in boxes}) == columns
    assert len({round(box["top"]) for box in boxes}) == -(-3 // columns)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_moves_while_letters_come(show, width):
    page = show(width=width)
    place = """all => all.map((e) => {
        const r = e.getBoundingClientRect();
        return [r.left, r.top + scrollY, r.width, r.height];
    })"""
    parts = page.locator(".uf-slot, .uf-strip, .uf-lane-title, .uf-reading > .uf-legend")
    last = parts.evaluate_all(place)
    for at in range(1, page.evaluate("players[0].length"), 3):
        seek(page, at)
        assert parts.evaluate_all(place) == last


def test_a_draw_takes_less_than_a_frame(show):
    page = show()
    drawn = page.evaluate("""async () => {
        const [player] = players;
        const frame = window.requestAnimationFrame;
        const all = [];
        let sum = 0;
        window.requestAnimationFrame = (f) => frame((now) => {
            const start = performance.now();
            f(now);
            sum += performance.now() - start;
        });
        for (let at = player.length; at >= 0; at--) {
            sum = 0;
            player.seek(at);
            for (let i = 0; i < 2; i++) await new Promise(frame);
            all.push(sum);
        }
        return all.sort((a, b) => a - b);
    }""")
    assert 0 < drawn[len(drawn) // 2] and drawn[int(len(drawn) * 0.9)] < 16


def test_what_untrained_readers_say_is_drawn_too(show, traces):
    page = show("real")
    for lane in ("cppd", "causal"):
        made: dict[int, str] = {}
        for row in traces["real"].splitlines()[1:]:
            e = json.loads(row)
            if e["kind"] == "commit" and e["lane"] == lane:
                made |= dict(zip(ev.expand(e["cells"]), e["values"], strict=True))
        assert read(page, lane) == "".join({"end": "∎"}.get(made[i], made[i]) for i in sorted(made))
        assert page.locator(f'[data-lane="{lane}"] .uf-strip[data-empty]').count() == 0
    page.locator(".as-text summary").click()
    rows = page.locator('.uf-table tr[data-kind="preview"] td:last-child')
    expect(rows.filter(has_text=f"strip {words.HEIGHT}x{words.WIDTH}x3")).to_have_count(2)
    expect(rows.filter(has_text="counts 27x12")).to_have_count(1)


def test_the_count_is_held_before_the_letters_fall(show):
    page = show()
    after(page, "cppd", "measure")
    holds = page.evaluate("players[0].layout().beats.filter((b) => b.shown && !b.commit).map((b) => b.hold)")
    assert holds == [0, 500]  # the strip holds nobody up


def test_the_portrait_ties_each_slot_to_its_letter(show, traces):
    page = show()
    found = page.evaluate("""async (text) => {
        const { portrait } = await import('/unfold/home/portrait.js');
        const svg = portrait(text);
        return { dots: svg.querySelectorAll('circle').length, threads: svg.querySelectorAll('path').length,
                 places: [...svg.querySelectorAll('rect')].map((r) => +r.getAttribute('x')),
                 colours: new Set([...svg.querySelectorAll('path')].map((p) => p.getAttribute('stroke'))).size };
    }""", traces["made"])
    assert found["dots"] == SLOTS and found["threads"] == len(found["places"]) == found["colours"] == len(PRINTED)
    assert found["places"] == sorted(found["places"])
