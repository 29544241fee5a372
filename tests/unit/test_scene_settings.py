"""Captions and orders as people type them: what is understood comes back in one spelling, the rest is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import Refused
from engines.noise import Noise
from engines.scene_settings import ORDERS, Objects, Order
from engines.worlds.scenes.objects import COLOURS, SHAPES, SIZES

CAPTION = Objects(name="caption", label="", help="")
ORDER = Order(name="order", default="raster", label="", help="", cells=64)


@pytest.mark.parametrize("text", [
    "large red sphere middle", "A large red sphere in the middle", "  a LARGE red sphere  at the middle ",
])
def test_one_spelling(text: str) -> None:
    assert CAPTION.parse(text) == "a large red sphere in the middle"


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, len(SHAPES) - 1), st.integers(0, len(COLOURS) - 1),
                          st.integers(0, len(SIZES) - 1)), max_size=4, unique_by=lambda row: row[0]))
def test_rows_come_back(rows: list[tuple[int, int, int, int]]) -> None:
    places = CAPTION.describe()["places"]
    text = " and ".join(f"{SIZES[s]} {COLOURS[c]} {SHAPES[k]} {places[cell]}" for cell, k, c, s in rows)
    parsed = CAPTION.parse(text)
    assert CAPTION.parse(parsed) == parsed
    if rows:
        there = [tuple(row) for row in CAPTION.rows(parsed, 0) if row[0] >= 0]
        assert there == sorted(rows)


def test_the_seed_draws_what_nobody_typed() -> None:
    assert CAPTION.rows("", 3) != CAPTION.rows("", 4)
    assert CAPTION.rows("", 3) == CAPTION.rows("", 3)


@pytest.mark.parametrize(("text", "names"), [
    ("a huge red sphere in the middle", "size"), ("a large mauve sphere in the middle", "teal"),
    ("a large red boat in the middle", "ring"), ("a large red sphere at the moon", "top left"),
    ("red sphere", "place"), ("a small red cube in the middle, a large red ring in the middle", "two objects"),
    (", ".join(f"small red cube {p}" for p in ("top", "left", "right", "bottom", "middle")), "at most 4"),
    ("x" * 100_000, "up to 4"), ("<script>alert(1)</script>", "place"), ("a large red sphere in the ${1+1}", "place"),
])
def test_refused_by_name(text: str, names: str) -> None:
    with pytest.raises(Refused, match=names) as error:
        CAPTION.parse(text)
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)


@pytest.mark.parametrize("name", [*ORDERS, "random", "63,0,10-12"])
def test_an_order_fills_every_cell_once(name: str) -> None:
    cells = ORDER.cells_of(ORDER.parse(name), 8, 8, Noise(1))
    assert sorted(cells) == list(range(64))


def test_painted_cells_come_first() -> None:
    assert ORDER.cells_of(ORDER.parse("63, 5,10-12"), 8, 8, Noise(1))[:6] == [63, 5, 10, 11, 12, 0]
    assert ORDER.parse("63, 5,10-12") == "63,5,10,11,12"


def test_orders_are_what_they_are_called() -> None:
    small = {name: make(3, 3) for name, (_, make) in ORDERS.items()}
    assert small["snake"] == [0, 1, 2, 5, 4, 3, 6, 7, 8]
    assert small["columns"] == [0, 3, 6, 1, 4, 7, 2, 5, 8]
    assert small["spiral"] == [0, 1, 2, 5, 8, 7, 6, 3, 4]
    assert small["centre"][0] == 4


@pytest.mark.parametrize("value", ["zigzag", "64", "3,3", "5-2", "", 7, None, "1" * 1000])
def test_bad_orders(value: object) -> None:
    with pytest.raises(Refused, match="order"):
        ORDER.parse(value)
