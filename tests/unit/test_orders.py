"""Orders of blanks: what they are, how they are asked for, painted and trained, and what they change on a page."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from engines import catalog, weights
from engines import events as ev
from engines.any_order import page as pages
from engines.any_order import train
from engines.any_order.exhibits import ASSD
from engines.any_order.orders import BlankOrder, arrange, bisection
from engines.errors import Refused
from engines.noise import Noise
from engines.runtime import header, run

ORDER = next(s for s in ASSD.settings if s.name == "order")
STORY = "once, in a small harbour town, a fox named mina kept a brass bell."


def test_bisection_takes_the_middle_of_the_longest_run():
    assert bisection(range(7)) == [3, 1, 5, 0, 2, 4, 6]
    assert bisection([2, 3, 8, 9, 10, 11, 20]) == [9, 2, 10, 3, 8, 11, 20]
    assert bisection([]) == [] and bisection([5]) == [5] and bisection([6, 4]) == [4, 6]


@given(st.sets(st.integers(0, 63)))
@limits(max_examples=60, deadline=None, derandomize=True)
def test_bisection_names_every_blank_once_and_longer_runs_first(blanks):
    order = bisection(blanks)
    assert sorted(order) == sorted(blanks)
    left = set(blanks)
    for cell in order:
        def run_of(c, left=left):
            low, high = c, c
            while low - 1 in left:
                low -= 1
            while high + 1 in left:
                high += 1
            return low, high

        low, high = run_of(cell)
        assert cell == (low + high) // 2
        assert high - low == max(b - a for a, b in map(run_of, left))
        left.remove(cell)


def test_an_order_is_a_name_or_painted_cells_and_nothing_else():
    assert ORDER.parse("bisection") == "bisection" and ORDER.parse("9, 3-5") == "9,3,4,5"
    for bad in ("", " ", ",", "sideways", "3,3", "64", "3;4", 5, None, "1" * 500):
        with pytest.raises(Refused, match="order"):
            ORDER.parse(bad)
    assert isinstance(ORDER, BlankOrder) and ORDER.describe()["kind"] == "sequence"


def test_blanks_are_arranged_as_asked():
    cells, noise = [2, 3, 4, 7, 9], Noise(5)
    assert arrange(cells, "ascending", noise) == cells
    assert arrange(cells, "bisection", noise) == [3, 2, 4, 7, 9]
    assert arrange(cells, "9,3", noise) == [9, 3, 2, 4, 7]
    assert arrange(cells, "random", noise) == arrange(cells, "random", Noise(5)) != cells
    assert sorted(arrange(cells, "random", noise)) == cells


def any_net(name):
    """The stored net in place of the other: what it knows of an order means nothing here."""
    return weights.session(pages.NET)


def settings(**change):
    return ASSD.parse({"story": STORY, "share": 20, **change})


def test_painted_cells_are_blank_and_come_first():
    page = pages.open_page(settings(blanks="2,3", order="11,6"), Noise(1))
    assert page.blanks == [11, 6, 2, 3] and page.left == page.blanks
    assert {c for c, _ in page.known}.isdisjoint(page.blanks)
    with pytest.raises(Refused, match="order: cell 40 does not exist"):
        pages.together(settings(order="40,2"), 1)


def test_only_the_papers_order_is_filled_by_the_papers_net():
    nets = {order: pages.open_page(settings(order=order), Noise(1)).net
            for order in ("ascending", "bisection", "random", "3,1")}
    assert nets.pop("ascending") == pages.NET and set(nets.values()) == {pages.ORDERED}


@pytest.mark.parametrize("order", ["bisection", "random", "9,4,12"])
@pytest.mark.parametrize("lane", ["assd", "one-by-one", "ngram", "parallel"])
def test_every_lane_fills_the_blanks_in_this_order(orders, lane, order):
    events = list(run("assd", {"order": order, "share": 50}, 4, lanes=[lane], nets=any_net))
    ev.check(events)
    page = pages.open_page(ASSD.parse({"order": order, "share": 50}), Noise(4))
    filled = [c for e in events if isinstance(e, ev.Commit) for c in ev.expand(e.cells)]
    assert filled == page.blanks and filled != sorted(filled)
    assert events[0].nets[0]["id"] == pages.ORDERED


def test_a_check_lists_blanks_in_the_order_in_which_they_see_one_another(orders):
    events = list(run("assd", {"order": "bisection", "share": 50}, 4, lanes=["assd"], nets=any_net))
    checks = [e for e in events if isinstance(e, ev.Forward) and e.mode == "verify"]
    for check in checks:
        asked = ev.expand(check.predicts)
        assert [c for c in ev.expand(check.computes) if c in asked] == asked
    assert any(ev.expand(c.predicts) != sorted(ev.expand(c.predicts)) for c in checks)


def test_a_lane_far_apart_is_the_lane_with_that_order(orders):
    beside = list(run("assd", {}, 4, lanes=["far-apart"], nets=any_net))
    alone = list(run("assd", {"order": "bisection"}, 4, lanes=["assd"], nets=any_net))
    assert [e.cells for e in beside if isinstance(e, ev.Commit)] == [e.cells for e in alone if isinstance(e, ev.Commit)]


def test_what_the_catalogue_shows_can_be_run():
    """Nothing on the page may ask for a net that is not stored."""
    exhibit = catalog.EXHIBITS["assd"]
    assert header(exhibit, {}, 1, lanes=list(exhibit.lanes))["models"]


# training -----------------------------------------------------------------------------------------------


def test_half_of_the_rows_are_taught_each_order():
    generator = torch.Generator().manual_seed(0)
    order = train.either(400, 20, 9, generator)
    assert (order[:, :12].sort(dim=1).values[:, -1] == 20).all(), "END is visible"
    rows = order[:, 12:].tolist()
    up, far = [r == sorted(r) for r in rows], [r == bisection(r) for r in rows]
    assert all(a or b for a, b in zip(up, far, strict=True))
    assert 140 < sum(up) < 260 and 140 < sum(far) < 260


@pytest.mark.parametrize("draw", [train.far_apart, train.at_random, train.either])
def test_an_order_is_a_permutation_of_the_page(draw):
    order = draw(8, 15, 6, torch.Generator().manual_seed(1))
    assert order.sort(dim=1).values.tolist() == [list(range(16))] * 8
    assert (order[:, :9].diff(dim=1)[:, :-1] > 0).all(), "what is visible stays ascending"


def test_the_judge_of_both_orders_tells_each_gap():
    torch.manual_seed(0)
    score = train.judge_orders(train.build().eval(), 4)
    assert {"gap", "gap_ascending", "gap_bisection", "gap_random", "nll", "exact"} <= set(score)
    assert score["gap"] > 300
