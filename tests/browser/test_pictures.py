"""The picture stages and their two settings, in a real browser, on runs that need no network."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import painted_page
import painted_runs
import pytest
import torch
from painted_page import seek
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from components.recorded import read
from engines.events import expand
from engines.worlds import scenes

Open = Callable[..., Page]
ENDS = {"raster": ["raster", "random"], "var": ["var", "raster"], "mar": ["mar"]}


@pytest.fixture(scope="session")
def made() -> dict[str, tuple[str, bytes]]:
    return painted_page.files()


@pytest.fixture(scope="session")
def painted(made: dict[str, tuple[str, bytes]]) -> Iterator[str]:
    with painted_page.serving(made) as url:
        yield url


@pytest.fixture
def show(chromium: Browser, painted: str) -> Iterator[Open]:
    """show(query, at=…, width=…) -> the page with the playhead after event `at` of its merged run (-1: the end)."""

    def open_page(query: str, at: int = -1, *, base: str = painted, **look: Any) -> Page:
        page = window(f"{base}/{query}", "#unfold-main", **look)
        if "=" in query and "&" not in query:
            page.wait_for_selector(".uf-frame")
            seek(page, at)
        return page

    with painted_page.windows(chromium) as window:
        yield open_page


def seek_event(page: Page, lane: str, wanted: str) -> None:
    """Move the playhead after the first event of a lane for which the JavaScript expression in `e` holds."""
    at = page.evaluate("""([lane, wanted]) => {
        const { items, lanes } = players[0].layout();
        const fits = Function('e', `return ${wanted}`);
        return items.findIndex((i) => lanes[i.lane].id === lane && fits(lanes[i.lane].events[i.n])) + 1;
    }""", [lane, wanted])
    assert at > 0
    seek(page, at)


def square(page: Page, lane: str, cell: int) -> Any:
    return page.locator(f'[data-lane="{lane}"] .uf-square[data-cell="{cell}"]')


def picture(page: Page, lane: str) -> torch.Tensor:
    """What stands on the canvas of a lane, shrunk to (3, 64, 64) in [-1, 1]."""
    url = page.evaluate(f"""document.querySelector('[data-lane="{lane}"] .uf-picture').toDataURL()""")
    image = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")
    pixels = bytearray(image.resize((64, 64), Image.Resampling.BOX).tobytes())
    return torch.frombuffer(pixels, dtype=torch.uint8).view(64, 64, 3).permute(2, 0, 1) / 127.5 - 1


@pytest.mark.parametrize(
    "slug,width,height,side",
    [("raster", 390, 844, 320), ("raster", 1440, 900, 384), ("var", 1280, 800, 320), ("given", 1920, 1080, 640),
     ("var", 1920, 1080, 512), ("raster", 320, 640, 256)],
)
def test_pictures_stand_at_whole_multiples_of_64_pixels(show, slug, width, height, side):
    page = show(f"?exhibit={slug}", width=width, height=height)
    for frame in page.locator(".uf-frame").all():
        box = frame.bounding_box()
        assert box and (box["width"], box["height"]) == (side, side)
    tops = [f.bounding_box()["y"] for f in page.locator(".uf-frame").all()]
    assert width < 500 or len(set(tops)) == 1, "lanes stand side by side"
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("slug", ENDS)
def test_the_finished_picture_is_the_one_that_was_sent(show, slug):
    page = show(f"?exhibit={slug}")
    wanted = scenes.draw([7]).image[0]
    for lane in ENDS[slug]:
        assert (picture(page, lane) - wanted).abs().mean() < 0.03


def test_what_is_not_chosen_is_paper_and_what_is_not_painted_bears_a_mark(show):
    page = show("?exhibit=raster")
    seek_event(page, "raster", "e.kind === 'commit' && e.cells[0] === 9")
    states = page.locator('[data-lane="raster"] .uf-square').evaluate_all("all => all.map((s) => s.dataset.state)")
    assert states[:10] == ["shown"] * 8 + ["waiting"] * 2
    assert set(states[10:]) == {"masked"}
    expect(page.locator('[data-lane="raster"] .uf-square[data-fresh]')).to_have_attribute("data-cell", "9")
    paper = square(page, "raster", 40).evaluate("e => getComputedStyle(e).backgroundColor")
    assert paper == "rgb(246, 244, 240)", "an unchosen square hides whatever a preview has there"


def test_a_decoder_and_a_head_are_no_calls(show):
    page = show("?exhibit=var")
    expect(page.locator('[data-lane="var"] .uf-lane-total')).to_have_text("6of 6 calls")
    expect(page.locator('[data-lane="raster"] .uf-lane-total')).to_have_text("64of 64 calls")
    page = show("?exhibit=mar")
    expect(page.locator('[data-lane="mar"] .uf-lane-total')).to_have_text("16of 16 calls")
    expect(page.locator('[data-lane="mar"] .uf-shares')).to_contain_text("network 112 ms")


def test_pointing_links_a_square_and_its_place_on_the_tape(show):
    page = show("?exhibit=raster")
    order = painted_runs.shuffled(7)
    square(page, "random", order[40]).hover()
    expect(square(page, "random", order[40])).to_have_attribute("data-pointed", "")
    expect(page.locator('[data-lane="random"] .uf-spot')).to_contain_text("call 41")
    tape = page.locator('[data-lane="random"] .uf-tape')
    tape.hover(position={"x": 12 * 5 + 6, "y": 6})
    expect(square(page, "random", order[5])).to_have_attribute("data-pointed", "")
    expect(square(page, "random", order[40])).not_to_have_attribute("data-pointed", "")
    page.mouse.move(5, 5)
    expect(page.locator("[data-pointed]")).to_have_count(0)


def test_pointing_at_a_scale_outlines_the_patch_in_the_picture_and_back(show):
    page = show("?exhibit=var")
    tile = page.locator('.uf-tile[data-view="picture"][data-k="5"]')
    box = tile.bounding_box()
    assert box
    tile.hover(position={"x": box["width"] * 2.5 / 8, "y": box["height"] * 1.5 / 8})
    expect(square(page, "var", 66 + 10)).to_have_attribute("data-pointed", "")
    assert page.locator('[data-lane="var"] .uf-path rect.uf-leg').count() == 5, "one square a scale but for the first"
    ink = "document.querySelector('.uf-tile[data-view=picture][data-k=\"3\"] canvas').toDataURL()"
    before = page.evaluate(ink)
    square(page, "var", 66 + 63).hover()
    assert page.evaluate(ink) != before, "the square is outlined in the coarser scales too"


def test_squares_are_walked_and_chosen_by_keyboard(show):
    page = show("?exhibit=raster")
    square(page, "raster", 0).focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "End", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.dataset.cell") == "14"
    assert page.locator('[data-lane="raster"] .uf-square[tabindex="0"]').count() == 1
    name = square(page, "raster", 14).get_attribute("aria-label") or ""
    assert name.startswith("row 2, column 7, chosen, code ")
    page.keyboard.press("Enter")
    expect(square(page, "raster", 14)).to_have_attribute("aria-selected", "true")
    expect(page.locator(".inspector-box")).to_contain_text("Row 2, column 7")
    page.keyboard.press("Escape")
    expect(square(page, "raster", 14)).to_have_attribute("aria-selected", "false")


def test_scales_are_chosen_by_keyboard_and_coarse_ones_show_their_lines(show):
    page = show("?exhibit=var")
    frame = page.locator('[data-lane="var"] .uf-frame')
    expect(frame).not_to_have_attribute("data-lines", "")
    page.locator('.uf-tile[data-view="picture"][data-k="5"]').focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(frame).to_have_attribute("data-lines", "")
    expect(page.locator('[data-lane="var"] .uf-square')).to_have_count(16)
    expect(page.locator('[data-lane="var"] .uf-lane-count')).to_have_text("After 4 × 4")
    page.get_by_role("button", name="Show the newest").click()
    expect(page.locator('[data-lane="var"] .uf-square')).to_have_count(64)


def test_the_inspector_shows_both_distributions_and_what_a_square_could_see(show):
    page = show("?exhibit=raster")
    square(page, "raster", 20).click()
    box = page.locator(".inspector-box")
    expect(box).to_contain_text("It could see 20 of 64 places")
    rows = box.locator(".uf-code-bars li")
    expect(rows).to_have_count(5)
    assert rows.first.locator(".uf-one").count() == 2
    assert rows.first.locator(".uf-swatch").count() == 1
    box.locator(".uf-sees").hover()
    assert page.locator('[data-lane="raster"] .uf-square[data-seen]').count() == 20


def test_a_bar_forces_its_code_after_the_evaluation_that_chose_there(show):
    page = show("?exhibit=raster")
    square(page, "random", 12).click()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    bar = page.locator(".uf-code-bars li:not([data-now]) button").first
    code = bar.evaluate("(b) => { b.click(); return Number(b.dataset.code); }")
    (change,) = page.evaluate("sent.at(-1).interventions")
    assert (change["do"], change["lane"], change["cell"], change["value"]) == ("force", "random", 12, code)
    events = page.evaluate("players[0].events('random').map((e) => [e.kind, e.predicts])")
    assert events[change["after"]] == ["forward", [12]]
    expect(page.locator(".what-if")).to_contain_text("row 2, column 5 were code")
    assert f"i=f.random.12.{code}.{change['after']}" in page.url


def test_a_link_holds_a_forced_code_as_a_number(show):
    page = show("?exhibit=raster&i=f.random.12.40.3")
    page.wait_for_function("sent.length")
    assert page.evaluate("sent[0].interventions[0].value") == 40


def test_denoising_is_shown_step_by_step_in_the_squares_of_its_set(show):
    page = show("?exhibit=mar")
    seek_event(page, "mar", "e.kind === 'phase' && e.index === 8 && e.state === 'start'")
    cells = page.evaluate("players[0].state('mar').phase.cells")
    seen = []
    for _ in range(5):
        page.get_by_role("button", name="Step", exact=True).click()
        seek(page, page.evaluate("players[0].cursor.at"))
        noisy = page.locator('[data-lane="mar"] .uf-square[data-state="noise"]')
        assert sorted(int(s.get_attribute("data-cell")) for s in noisy.all()) == sorted(cells)
        seen.append(picture(page, "mar").view(3, 8, 8, 8, 8)[:, cells[0] // 8, :, cells[0] % 8])
    steps = [(a - b).abs().mean() for a, b in zip(seen, seen[1:], strict=False)]
    assert min(steps) > 0.01, "every step looks different"
    page.get_by_role("button", name="Step", exact=True).click()
    seek(page, page.evaluate("players[0].cursor.at"))
    assert {s.get_attribute("data-state") for s in page.locator('[data-lane="mar"] [data-fresh]').all()} == {"shown"}


def test_the_path_fades_when_the_picture_is_done_and_comes_back_when_asked(show):
    page = show("?exhibit=raster")
    path = page.locator('[data-lane="raster"] .uf-path')
    expect(path).to_have_attribute("data-faded", "")
    page.locator(".uf-way select").first.select_option("whole")
    expect(path).not_to_have_attribute("data-faded", "")
    assert path.locator("line.uf-leg").count() == 63
    page.locator(".uf-way select").first.select_option("heat pull")
    expect(path.locator("circle.uf-heat")).to_have_count(64)


def test_arrows_come_from_both_neighbours_whole_where_their_favourite_was_chosen(show):
    page = show("?exhibit=nar")
    page.locator('[data-lane="nar"] .uf-way select').select_option("whole")
    arrows = page.locator('[data-lane="nar"] .uf-path .uf-leg.uf-vote')
    expect(arrows).to_have_count(2 * 7 * 8)  # none points at the corner, one at each other place of the two edges
    expect(page.locator('[data-lane="nar"] .uf-path .uf-leg[data-lost]')).to_have_count(7 * 4)
    assert page.locator('[data-lane="raster"] .uf-vote').count() == 0
    expect(page.locator('[data-lane="nar"] [data-look="vote"]')).to_be_visible()
    expect(page.locator('[data-lane="raster"] [data-look="vote"]')).to_be_hidden()
    # Chosen in one lane, it is named in both, though the other has nothing to show for it.
    page.locator('[data-lane="nar"] .uf-way select').select_option("heat disagreement")
    for lane in ("nar", "raster"):
        expect(page.locator(f'[data-lane="{lane}"] .uf-way select')).to_have_value("heat disagreement")


def test_the_inspector_shows_what_each_neighbour_said_and_what_came_of_it(show):
    page = show("?exhibit=nar")
    box = page.locator(".inspector-box")
    cases = ((27, 3, "favour different codes"), (26, 3, "favour the same code"), (3, 2, "one neighbour"))
    for cell, bars, said in cases:
        square(page, "nar", cell).click()
        expect(box).to_contain_text(said)
        assert box.locator(".uf-code-bars li").first.locator(".uf-one").count() == bars
    expect(box.locator(".uf-key")).to_contain_text("left one says")
    expect(box.locator(".uf-key")).not_to_contain_text("upper one says")
    square(page, "nar", 0).click()
    expect(box.locator(".uf-key")).to_have_text("guided")


def test_guesses_that_stayed_and_that_went_bear_marks_and_the_inspector_draws_both_walks(visit):
    page = visit("?exhibit=cspd", still=True)
    page.wait_for_selector("main[data-run=recorded]")
    page.get_by_role("button", name="To the end").click()
    own = [e for e in read("cspd") if e.get("kind") == "commit" and e["lane"] == "cspd"]
    origin = {cell: e["origin"] for e in own for cell in expand(e["cells"])}
    looks = {"accepted": ("kept", 1), "repaired": ("redrawn", 2)}  # where the guess fell, and what stands if it went
    for kind, (look, ticks) in looks.items():
        cells = [cell for cell in origin if origin[cell] == kind]
        assert cells
        expect(page.locator(f'[data-lane="cspd"] .uf-square[data-settled="{look}"]')).to_have_count(len(cells))
        square(page, "cspd", cells[0]).click()
        box = page.locator(".inspector-box")
        expect(box.locator("svg.uf-walks .uf-walk")).to_have_count(2)
        expect(box.locator("svg.uf-bells .uf-bell-tick")).to_have_count(ticks)


def test_places_of_the_picture_can_be_picked_for_a_setting(show):
    page = show("?exhibit=given")
    page.locator("[data-setting=part] .pick").click()
    for cell in (66 + 9, 66 + 10):
        square(page, "var", cell).click()
    square(page, "var", 66 + 10).press("ArrowDown")
    page.keyboard.press(" ")
    assert page.locator("#s-part").input_value() == "9,10,18"
    square(page, "var", 66 + 9).click()
    assert page.locator("#s-part").input_value() == "10,18"
    page.locator("[data-setting=part] .pick").click()
    expect(page.locator("[data-picked]")).to_have_count(0)


def asked_for(page: Page, name: str) -> str:
    """Press Run and read what a setting was sent as."""
    page.wait_for_function("document.querySelector('main').dataset.run !== 'idle'")
    if page.locator(".run-button").inner_text() == "Run":
        page.wait_for_timeout(450)
        page.click(".run-button")
    return str(page.evaluate("name => sent.at(-1).settings[name]", name))


def test_an_order_is_painted_by_dragging(show):
    page = show("?exhibit=raster")
    page.locator("#s-order-paint + label").click()
    spots = [page.locator(f'.order-square[data-cell="{c}"]') for c in (27, 28, 29, 37)]
    for i, spot in enumerate(spots):
        box = spot.bounding_box()
        assert box
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
        if not i:
            page.mouse.down()
    page.mouse.up()
    page.get_by_role("button", name="Undo").click()
    spots[3].click()
    page.locator('.order-square[data-cell="0"]').click()
    page.locator('.order-square[data-cell="28"]').click()
    value = asked_for(page, "order")
    assert value == "27,29,37,0"
    assert painted_page.ORDER.parse(value) == value


def test_an_order_is_painted_by_keyboard_and_a_name_takes_it_back(show):
    page = show("?exhibit=raster")
    page.locator("#s-order-paint").focus()
    page.keyboard.press("Space")
    page.locator('.order-square[data-cell="0"]').focus()
    for key in (" ", "ArrowRight", "ArrowDown", " ", "End", "Enter"):
        page.keyboard.press(key)
    name = page.locator('.order-square[data-cell="9"]').get_attribute("aria-label")
    assert name == "row 2, column 2, painted as number 2"
    assert "order=0,9,15" in page.url
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".order-board")).to_be_visible()
    page.locator("#s-order-snake + label").click()
    expect(page.locator(".order-board")).to_be_hidden()
    assert asked_for(page, "order") == "snake"


def test_a_painted_order_of_a_link_is_on_the_board(show):
    page = show("?exhibit=raster&order=5,6,14")
    marked = page.locator('.order-square[aria-selected="true"]')
    assert [s.get_attribute("data-cell") for s in marked.all()] == ["5", "6", "14"]


SCENE = "a small blue cone at the top left, a large red sphere in the middle"


def test_toys_of_a_link_stand_on_the_table_and_change_by_hand(show):
    page = show(f"?exhibit=raster&caption={SCENE.replace(' ', '+')}")
    assert asked_for(page, "caption") == SCENE
    names = [p.get_attribute("aria-label") for p in page.locator(".table-place:has(.toy)").all()]
    assert names == ["top left: small blue cone", "middle: large red sphere"]
    page.locator('[data-place="4"]').click()
    page.locator("#s-caption-colour-teal + label").click()
    page.locator("#s-caption-shape-ring + label").click()
    page.locator('[data-place="8"]').click()
    page.locator("#s-caption-size-small + label").click()
    text = page.locator("#s-caption").input_value()
    assert text == ("a small blue cone at the top left, a large teal ring in the middle, "
                    "a small teal ring at the bottom right")
    assert painted_page.CAPTION.parse(text) == text
    page.get_by_role("button", name="The seed's own scene").click()
    assert page.locator("#s-caption").input_value() == ""
    assert "caption=" not in page.url


def test_the_seeds_own_toys_are_shown_and_changing_one_keeps_the_others(show):
    page = show("?exhibit=var")
    names = [p.get_attribute("aria-label") for p in page.locator(".table-place:has(.toy)").all()]
    assert names == ["top left: large pink cube", "middle: small teal ring"]
    assert page.locator("#s-caption").input_value() == "" and "caption=" not in page.url
    page.locator('[data-place="4"]').click()
    page.locator("#s-caption-colour-red + label").click()
    text = page.locator("#s-caption").input_value()
    assert text == "a large pink cube at the top left, a small red ring in the middle"
    page.get_by_role("button", name="The seed's own scene").click()
    assert page.locator(".table-place .toy").count() == 2
    page.locator('[data-place="0"]').focus()
    page.keyboard.press("Delete")
    assert page.locator("#s-caption").input_value() == "a small teal ring in the middle"
    page.fill(".seed-field", "12")
    page.locator(".seed-field").blur()
    page.get_by_role("button", name="The seed's own scene").click()
    assert page.locator(".table-place .toy").count() == 0, "nobody knows yet what seed 12 sets"


def test_the_table_is_set_by_keyboard_and_holds_no_more_than_it_may(show):
    page = show("?exhibit=raster")
    page.locator('[data-place="4"]').focus()
    for key in ("ArrowUp", "ArrowLeft", "Enter", "ArrowRight", "Enter", "ArrowRight", "Enter", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert page.locator(".table-place .toy").count() == 4
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator(".table-place .toy").count() == 4
    expect(page.locator(".control-objects")).to_contain_text("at most 4")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Delete")
    text = page.locator("#s-caption").input_value()
    assert painted_page.CAPTION.parse(text) == text
    assert text.count(",") == 2


def test_a_caption_is_typed_and_what_the_engine_refuses_is_said_there(show):
    page = show("?exhibit=raster")
    page.locator(".table-words summary").click()
    page.fill("#s-caption", "small pink ring left and a large green cube at the bottom")
    page.keyboard.press("Tab")
    assert [p.get_attribute("data-place") for p in page.locator(".table-place:has(.toy)").all()] == ["3", "7"]
    page.fill("#s-caption", "<img src=x onerror=window.hurt=1>")
    page.keyboard.press("Tab")
    page.wait_for_timeout(450)
    page.click(".run-button")
    refusal = {"field": "caption", "message": "caption is no scene"}
    page.evaluate("refused => page.receive({run: '0'.repeat(32), seq: 0, refused})", refusal)
    expect(page.locator("[data-setting=caption] .control-error")).to_have_text("caption is no scene")
    expect(page.locator("#s-caption")).to_be_focused()
    assert page.evaluate("window.hurt") is None


@pytest.mark.parametrize("slug", painted_page.LANES)
@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_never_scrolls_sideways(show, slug, dark):
    page = show(f"?exhibit={slug}", 30, width=390, height=844, dark=dark)
    if slug != "given":
        page.locator("#s-order-paint + label").click()
    page.locator('[data-place="4"]').click()
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    for target in page.locator(".order-square, .toy-choice label, .table-place").all():
        box = target.bounding_box()
        assert box and min(box["width"], box["height"]) >= 24


def test_damaged_and_foreign_previews_are_left_out_and_text_stays_text(chromium, show, made):
    lines = made["/unfold/traces/mar.jsonl"][1].decode().splitlines()
    events = [json.loads(line) for line in lines]
    previews = [e for e in events if e.get("kind") == "preview"]
    svg = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg' onload='window.hurt=1'/>").decode()
    previews[0] |= {"data": "no base64 at all!"}
    previews[1] |= {"dtype": "svg+xml", "data": svg}
    previews[2] |= {"data": svg}
    events[1]["title"] = "<img src=x onerror=window.hurt=1>"
    bad = made | {"/unfold/traces/mar.jsonl": ("application/x-ndjson", "\n".join(map(json.dumps, events)).encode())}
    with painted_page.serving(bad) as url:
        page = show("?exhibit=mar", base=url)
        assert (picture(page, "mar") - scenes.draw([7]).image[0]).abs().mean() < 0.03
        seek(page, 12)
        assert page.evaluate("window.hurt") is None
        assert page.locator("main img").count() == 0
        page.context.close()


@pytest.mark.alone
def test_a_step_of_scrubbing_fits_into_a_frame(show):
    """CPU time of the page's own thread; the best of three walks, since a busy machine only ever adds to it."""
    page = show("?exhibit=raster")
    wire = page.context.new_cdp_session(page)
    wire.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        return {m["name"]: m["value"] for m in wire.send("Performance.getMetrics")["metrics"]}["TaskDuration"]

    def walk() -> float:
        start = spent()
        steps = page.evaluate("""async () => {
            const [player] = players;
            for (let i = 0; i < player.length; i += 2) {
                player.seek(i);
                await new Promise(requestAnimationFrame);
            }
            return player.length / 2;
        }""")
        return 1000 * (spent() - start) / steps

    assert min(walk() for _ in range(3)) <= 16.7
