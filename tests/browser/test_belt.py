"""The stage for groups of codes that steer a denoiser, in a real browser, on runs of networks that learned nothing."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import painted_page
import pytest
import torch
from painted_page import seek
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from engines import events as ev
from engines.next_x.exhibits import D_AR
from engines.next_x.model import NET, TOKENIZER
from engines.next_x.train import line, tokenizer
from engines.runtime import run

Open = Callable[..., Page]
RUNS = {"whole": {}, "kept": {"keep": 2}}


@pytest.fixture(scope="module")
def traces() -> dict[str, str]:
    torch.manual_seed(3)
    known = {NET: line().eval().requires_grad_(False), TOKENIZER: tokenizer().eval().requires_grad_(False)}
    torch.nn.init.normal_(known[NET].head, std=0.1)
    torch.nn.init.normal_(known[TOKENIZER].out.weight, std=0.05)
    out = {}
    for name, settings in RUNS.items():
        events = list(run(D_AR, settings, lanes=["d-ar"], nets=lambda net: known[net].session()))
        out[name] = ev.write_trace({"exhibit": "d-ar", "settings": vars(D_AR.parse(settings)), "seed": D_AR.seed,
                                    "interventions": []}, events)
    return out


@pytest.fixture(scope="module")
def served(traces) -> Iterator[str]:
    exhibits = [painted_page.shown(D_AR, ["d-ar"], name) for name in traces]
    with painted_page.serving(painted_page.pages(exhibits, traces)) as url:
        yield url


@pytest.fixture
def show(chromium: Browser, served: str) -> Iterator[Open]:
    """show(slug, at, width=…) -> the page with the playhead after event `at` of the run (-1: the end)."""

    def open_page(slug: str, at: int = -1, **look: Any) -> Page:
        page = window(f"{served}/?exhibit={slug}", ".uf-belt .uf-square", **look)
        seek(page, at)
        return page

    with painted_page.windows(chromium) as window:
        yield open_page


def events_of(text: str) -> list[dict]:
    return [json.loads(row) for row in text.splitlines()[1:]]


def after(text: str, name: str, level: int) -> int:
    """The playhead behind a preview."""
    return 1 + next(i for i, e in enumerate(events_of(text))
                    if e["kind"] == "preview" and (e["name"], e["level"]) == (name, level))


def pixels(canvas: Locator) -> torch.Tensor:
    """What a canvas shows, shrunk to (8, 8, 3) in [0, 1]."""
    url = canvas.evaluate("(c) => c.toDataURL()")
    return small(base64.b64decode(url.split(",")[1]))


def small(file: bytes) -> torch.Tensor:
    image = Image.open(io.BytesIO(file)).convert("RGB").resize((8, 8), Image.Resampling.BOX)
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(8, 8, 3) / 255


def sent(text: str, name: str, level: int) -> torch.Tensor:
    event = next(e for e in events_of(text)
                 if e["kind"] == "preview" and (e["name"], e["level"]) == (name, level))
    return small(base64.b64decode(event["data"]))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return float((a - b).abs().mean()) < 0.02


@pytest.mark.parametrize("width", [390, 1440, 1920])
def test_canvas_and_jump_stand_side_by_side_over_the_belt(show, width):
    page = show("whole", width=width)
    noisy, jump = (half.bounding_box() for half in page.locator(".uf-half").all())
    assert noisy["y"] == jump["y"] and noisy["x"] + noisy["width"] <= jump["x"]
    assert page.locator(".uf-group").count() == 8 and page.locator(".uf-belt .uf-square").count() == 64
    belt = page.locator(".uf-belt").bounding_box()
    assert belt["y"] > noisy["y"] + noisy["height"] and belt["width"] <= jump["x"] + jump["width"] - noisy["x"] + 1
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_what_is_shown_is_what_was_sent_at_every_group(show, traces):
    text = traces["whole"]
    page = show("whole", 1)
    for g in (0, 3, 6):
        seek(page, after(text, "noisy", g + 1))
        noisy, jump = page.locator(".uf-half").all()
        assert close(pixels(noisy), sent(text, "noisy", g + 1)) and close(pixels(jump), sent(text, "picture", g))
        assert page.locator(".uf-lamp[data-on]").count() == g + 1
        states = page.locator(".uf-belt .uf-square").evaluate_all("all => all.map((s) => s.dataset.state)")
        assert states == ["shown"] * (8 * g + 8) + ["masked"] * (56 - 8 * g)
    seek(page, -1)
    noisy, jump = page.locator(".uf-half").all()
    assert close(pixels(noisy), sent(text, "picture", 8)) and close(pixels(jump), sent(text, "picture", 7))


def test_codes_wait_in_colour_until_their_group_is_full(show, traces):
    first = [i for i, e in enumerate(events_of(traces["whole"])) if e["kind"] == "commit"]
    page = show("whole", first[10] + 1)
    states = page.locator(".uf-belt .uf-square").evaluate_all("all => all.map((s) => s.dataset.state)")
    assert states == ["shown"] * 8 + ["waiting"] * 3 + ["masked"] * 53
    assert page.locator(".uf-square[data-fresh]").get_attribute("data-cell") == "10"


def test_a_look_can_be_held_and_let_go(show, traces):
    page = show("whole")
    lamp = page.locator(".uf-lamp").nth(2)
    lamp.click()
    expect(lamp).to_have_attribute("aria-pressed", "true")
    noisy, jump = page.locator(".uf-half").all()
    expect(page.locator(".uf-half-box").last).to_contain_text("after group 3")
    assert close(pixels(jump), sent(traces["whole"], "picture", 2))
    assert close(pixels(noisy), sent(traces["whole"], "noisy", 3))
    page.get_by_role("button", name="Show the newest").click()
    expect(lamp).to_have_attribute("aria-pressed", "false")
    assert close(pixels(jump), sent(traces["whole"], "picture", 7))


def test_kept_groups_are_marked_and_their_picture_can_be_looked_at(show, traces):
    page = show("kept")
    assert page.locator(".uf-square[data-given]").count() == 16
    page.get_by_role("button", name="the other picture").click()
    assert close(pixels(page.locator(".uf-half").last), sent(traces["kept"], "other", 0))


def test_a_code_is_chosen_by_click_and_walked_along_the_line(show):
    page = show("whole")
    page.locator('.uf-belt .uf-square[data-cell="9"]').click()
    expect(page.locator(".inspector-box")).to_contain_text("Group 2, code 2")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("PageDown")
    page.keyboard.press("Enter")
    expect(page.locator(".inspector-box")).to_contain_text("Group 3, code 3")
    assert page.evaluate("players[0].selection.cell") == 18
    page.keyboard.press("Escape")
    assert page.evaluate("players[0].selection") is None
