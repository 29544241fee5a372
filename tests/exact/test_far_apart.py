"""Any order keeps the law of guess-then-check, and on a Markov chain far apart takes fewer calls: with broken twins."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engines import stats, weights
from engines.any_order import claims, train
from engines.any_order.assd import EXACT, fill
from engines.any_order.exhibits import ASSD
from engines.any_order.orders import arrange
from engines.any_order.page import Page
from engines.noise import Noise
from engines.runtime import Meter, Trial
from engines.tables import AnySubsetTable, chain_joint
from engines.worlds import stories

SETTINGS = SimpleNamespace(k=4, temperature=1.0, r_atol=0.0, bonus=False)
WORDS = ("a", "b", "c")
ENDS = [(0, 0), (7, 1)]


def filled(table, order, seed, rule=EXACT):
    page = Page(8, arrange(range(1, 7), order, Noise(seed)), list(ENDS), 2, WORDS)
    events = list(fill(page, SETTINGS, Noise(seed), Meter(lambda name: table), rule))
    return page, events


@pytest.mark.parametrize("order", ["bisection", "4,2,6"])
def test_the_law_is_the_same_in_any_order_and_an_unchecked_page_is_caught(order):
    table = AnySubsetTable(chain_joint(8, 3))
    law = table.law(dict(ENDS))
    for rule, fits in ((EXACT, True), (replace(EXACT, check=False), False)):
        pages = Counter(tuple(v for _, v in sorted(filled(table, order, seed, rule)[0].known)) for seed in range(1_500))
        p = stats.chi_square(pages, law)["p"]
        assert p > 1e-3 if fits else p < 1e-6


class Chain:
    """A net that is exact for a Markov chain: a word depends on its neighbours alone. Ids from 6 on are its states."""

    params, bytes, cache_bytes = 0, 0, 0

    def __init__(self, values=6, sharp=0.1):
        step = np.random.default_rng(3).dirichlet(np.full(values, sharp), size=values) * 0.99 + 0.01 / values
        self.powers = [np.eye(values)]
        for _ in range(64):
            self.powers.append(self.powers[-1] @ step)
        self.values = values

    def __call__(self, cells, values, prompt, targets, sees):
        z = np.full((len(targets), len(stories.VOCAB)), -np.inf)
        for row, target, n in zip(z, targets, sees, strict=True):
            known = {c: v % self.values for c, v in zip(cells[:n], values[:n], strict=True)}
            before, after = max((c for c in known if c < target), default=-1), min(c for c in known if c > target)
            p = self.powers[target - before][known.get(before, 0)] * self.powers[after - target][:, known[after]]
            row[6 : 6 + self.values] = np.log(p / p.sum())
        return z


def calls(net, order, n):
    """Calls that fill 22 blanks between two given cells, five guesses a round."""
    out = []
    for seed in range(n):
        page = Page(24, arrange(range(1, 23), order, Noise(seed)), [(0, 6), (23, 7)], 2, stories.VOCAB)
        settings = SimpleNamespace(k=5, temperature=1.0, r_atol=0.0, bonus=False)
        meter = Meter(lambda name: net, quiet=True)
        out.append(float(claims.nfe(list(fill(page, settings, Noise(seed), meter, EXACT)))))
    return out


def test_far_apart_takes_fewer_calls_on_a_chain_and_as_many_where_cells_do_not_depend_on_each_other():
    gain = stats.ratio_of_means(calls(Chain(), "bisection", 25), calls(Chain(), "ascending", 25))
    assert gain["high"] < 0.9
    even = Chain()
    even.powers = [np.full((6, 6), 1 / 6)] * 65
    assert set(calls(even, "bisection", 5)) == set(calls(even, "ascending", 5)) == {10.0}, "4 rounds of 5, one of 2"


# the claim ----------------------------------------------------------------------------------------------


def trial(nets, subject=None, effort=0.14):
    claim = next(c for c in ASSD.claims if c.id == "order-matters")
    return Trial(ASSD, claim, effort, nets=nets, subject=subject)


def test_the_claim_holds_for_a_chain_and_falls_when_far_apart_is_left_to_right_again(orders, monkeypatch):
    monkeypatch.setattr(claims, "_cost", lambda *_: np.ones(3))  # real stories have no chance here
    chain = Chain()
    *_, real = claims.order_matters(trial(lambda name: chain))
    *_, twin = claims.order_matters(trial(lambda name: chain, subject="ascending"))
    assert real["holds"] is True and real["here"] < 0.9
    assert twin["holds"] is False and twin["here"] == 1
    assert [p["x"] for p in real["points"]][:3] == ["left to right, 90 % blank", "at random, 90 % blank",
                                                    "far apart, 90 % blank"]


def test_the_claim_runs_on_real_nets_and_falls_for_one_that_learned_nothing(orders):
    torch.manual_seed(0)
    fresh = train.build().eval().requires_grad_(False)
    *_, result = claims.order_matters(trial(lambda name: weights.bind(fresh), effort=0.1))
    assert result["holds"] is False
    assert all(p["nats"] > 5 for p in result["points"]), "an even guess costs 6.1"
    assert "nats a blank" in result["reason"]
