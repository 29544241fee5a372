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


def calls(table, order, n=100):
    return [float(claims.nfe(filled(table, order, seed)[1])) for seed in range(n)]


def test_far_apart_takes_fewer_calls_on_a_chain_and_as_many_where_cells_do_not_depend_on_each_other():
    chain, even = AnySubsetTable(chain_joint(8, 3)), AnySubsetTable(np.ones((3,) * 8))
    gain = stats.ratio_of_means(calls(chain, "bisection"), calls(chain, "ascending"))
    assert gain["high"] < 1
    assert set(calls(even, "bisection", 20)) == set(calls(even, "ascending", 20)) == {4.0}


# the claim ----------------------------------------------------------------------------------------------


class ChainOfWords:
    """A stand-in net for whole stories: words of a Markov chain, which depend on their neighbours alone."""

    params, bytes, cache_bytes = 0, 0, 0

    def __init__(self, values=6, sharp=0.1):
        rng = np.random.default_rng(3)
        self.step = rng.dirichlet(np.full(values, sharp), size=values) * 0.99 + 0.01 / values
        self.powers = [np.eye(values)]
        for _ in range(64):
            self.powers.append(self.powers[-1] @ self.step)
        self.first = self.powers[-1][0]
        self.values = values

    def __call__(self, cells, values, prompt, targets, sees):
        out = np.full((len(targets), 600), -np.inf)
        for i, (target, n) in enumerate(zip(targets, sees, strict=True)):
            known = {c: v % self.values for c, v in zip(cells[:n], values[:n], strict=True)}
            before, after = max((c for c in known if c < target), default=None), min(
                (c for c in known if c > target), default=None)
            p = self.first if before is None else self.powers[target - before][known[before]]
            if after is not None:
                p = p * self.powers[after - target][:, known[after]]
            # ids 6 to 11 stand for the states 0 to 5
            out[i, 6:12] = np.log(p / p.sum())
        return out


def trial(nets, subject=None, effort=0.2):
    claim = next(c for c in ASSD.claims if c.id == "order-matters")
    return Trial(ASSD, claim, effort, nets=nets, subject=subject)


def test_the_claim_holds_for_a_chain_and_falls_when_far_apart_is_left_to_right_again(orders, monkeypatch):
    monkeypatch.setattr(claims, "_cost", lambda *_: np.ones(3))  # a chain of six words gives real stories no chance
    chain = ChainOfWords()
    *_, real = claims.order_matters(trial(lambda name: chain))
    *_, twin = claims.order_matters(trial(lambda name: chain, subject="ascending"))
    assert real["holds"] is True and real["here"] < 0.9
    assert twin["holds"] is False and twin["here"] == 1
    assert [p["x"] for p in real["points"]][:3] == ["left to right, 40 % blank", "at random, 40 % blank",
                                                    "far apart, 40 % blank"]


def test_the_claim_runs_on_real_nets_and_falls_for_one_that_learned_nothing(orders):
    torch.manual_seed(0)
    fresh = train.build().eval().requires_grad_(False)
    *_, result = claims.order_matters(trial(lambda name: weights.bind(fresh), effort=0.1))
    assert result["holds"] is False
    assert all(p["nats"] > 5 for p in result["points"]), "an even guess costs 6.1"
    assert "nats a blank" in result["reason"]
