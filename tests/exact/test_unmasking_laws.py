"""The laws of masked diffusion by the claims that the page shows; each falls for a broken twin."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engines import catalog, stats
from engines.discrete_diffusion import claims, radd_claims, rules
from engines.discrete_diffusion import page as pages
from engines.discrete_diffusion.answers import alone
from engines.discrete_diffusion.exhibits import EXHIBITS, RADD
from engines.discrete_diffusion.model import Network
from engines.discrete_diffusion.radd import TWIN, radd, reverse
from engines.discrete_diffusion.train import SHAPE
from engines.discrete_diffusion.unmask import NET, unmask
from engines.noise import Noise
from engines.runtime import Net, Trial
from engines.tables import MaskedTable, chain_joint
from engines.worlds import stories


@pytest.fixture(autouse=True)
def _on_show(monkeypatch):
    for exhibit in EXHIBITS:
        monkeypatch.setitem(catalog.EXHIBITS, exhibit.slug, exhibit)


def small(told: int = 0) -> Network:
    """A network that learnt nothing, but says something: every layer has random numbers."""
    torch.manual_seed(3 + told)
    shape = SHAPE | {"layers": 1, "width": 16, "heads": 2}
    network = Network(**shape, hidden=16, told=told)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval().requires_grad_(False)


SMALL = {NET: small(), TWIN: small(8)}


def nets(name: str) -> Any:
    return SMALL[name].session()


def trial(slug: str, claim: str, **more: Any) -> Trial:
    exhibit = catalog.EXHIBITS[slug]
    return Trial(exhibit, next(c for c in exhibit.claims if c.id == claim), nets=nets, **more)


def last(results: Any) -> dict[str, Any]:
    *_, result = results
    return result


# masked-diffusion ---------------------------------------------------------------------------------------


def test_what_opening_together_costs_is_the_total_correlation(monkeypatch):
    cases = [(2, 4, 2, "left"), (3, 3, 1, "random"), (2, 5, 3, "random")]
    for i, (values, cells, steps, order) in enumerate(cases):
        joint = claims.random_joint(cells, values, i)
        law, groups = claims.sampled_law(joint, unmask, i, order=order, steps=steps)
        assert law.sum() == pytest.approx(1) and len(groups) == steps
        assert sorted(c for group in groups for c in group) == list(range(cells))
        kl = float((joint * np.log(joint / law)).sum())
        assert kl == pytest.approx(claims.total_correlation(joint, groups), abs=1e-9) and kl > 1e-3


@pytest.mark.slow
def test_the_price_holds_on_pages_of_six_cells():
    result = last(claims.price_of_parallelism(trial("masked-diffusion", "price-of-parallelism", effort=0.5)))
    assert result["holds"] and result["n"] > 10


@pytest.mark.parametrize("change", [{"temperature": 0.7}, {"order": "confidence"}, {"top_p": 0.8}])
def test_the_price_is_missed_by_a_sampler_that_changes_the_odds(change):
    joint = chain_joint(4, 3)

    def broken(page, s, noise, meter):
        return unmask(page, SimpleNamespace(**vars(s) | change), noise, meter)

    with np.errstate(divide="ignore"):
        law, groups = claims.sampled_law(joint, broken, 1, order="left", steps=2)
        kl = float((joint * np.log(joint / law)).sum())
    assert not abs(kl - claims.total_correlation(joint, groups)) <= 1e-6


def test_a_random_cell_at_a_time_has_the_models_law_and_the_twins_do_not():
    t = trial("masked-diffusion", "law-random-one-by-one")
    expected = MaskedTable(chain_joint()).law({1: 0, 4: 2})
    assert stats.chi_square(claims._pages(t, 3_000, unmask), expected)["p"] > 1e-3
    for twin in claims.TWINS.values():
        assert stats.chi_square(claims._pages(t, 1_500, unmask, **twin), expected)["p"] < 1e-6


def test_no_joint_contradicts_the_theorem_and_a_bolder_rule_is_contradicted():
    assert last(claims.parallel_theorem(trial("masked-diffusion", "parallel-theorem", effort=0.1)))["holds"]

    def bold(c):
        return rules.how_many("factor", c, np.zeros_like(c), 0.0, 2.0, 0.0)

    assert not last(claims.parallel_theorem(
        trial("masked-diffusion", "parallel-theorem", effort=0.1, subject=bold)))["holds"]


def test_a_network_that_learnt_nothing_loses_the_judged_claim(monkeypatch):
    monkeypatch.setattr(claims, "ROWS", 12)
    result = last(claims.calls_at_equal_validity(trial("masked-diffusion", "calls-at-equal-validity", effort=0.01)))
    assert result["holds"] is False and result["here"] == pytest.approx(1, abs=0.05)
    assert all(point["variety"] >= 0 for point in result["points"])


# radd ---------------------------------------------------------------------------------------------------


def test_evaluations_are_counted_and_follow_the_formula(monkeypatch):
    monkeypatch.setattr(radd_claims, "STEPS", (8, 128))
    result = last(radd_claims.nfe_law(trial("radd", "nfe-law", effort=0.5)))
    assert result["holds"], result


def test_a_loop_that_asks_at_every_step_breaks_the_law_of_evaluations(monkeypatch):
    monkeypatch.setattr(radd_claims, "STEPS", (48,))

    def asks_always(page, s, noise, meter):
        return reverse(page, s, noise, meter, reuse=False)

    assert not last(radd_claims.nfe_law(trial("radd", "nfe-law", effort=0.15, subject=asks_always)))["holds"]


class EverySecond:
    """An answer that is given twice, whether the page has changed or not: a cache by schedule."""

    params = bytes = cache_bytes = 0

    def __init__(self, session: Any):
        self.session, self.calls, self.z = session, 0, None

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        if self.calls % 2 or self.z is None:
            self.z = self.session(*args)
        return self.z


def by_schedule(s, noise, meter):
    if s.cache:
        meter.nets[NET] = Net(NET, EverySecond(meter.net(NET).session), meter)
    return radd(s, noise, meter)


def timed_but_cached(s, noise, meter):
    page = pages.open_page(s, noise)
    yield pages.begin(page, "", [meter.card(TWIN, "target")])
    return (yield from alone(reverse(page, s, noise, meter, timed=True, reuse=s.cache), meter.net(TWIN)))


def test_the_cache_changes_nothing_and_broken_caches_do():
    result = last(radd_claims.cache_is_exact(trial("radd", "cache-is-exact", effort=0.1)))
    assert result["holds"] and result["points"][0]["y"] > 0.1

    def twinned(decode):
        lanes = RADD.lanes | {"radd": replace(RADD.lanes["radd"], nets=lambda s: [NET, TWIN])}
        t = trial("radd", "cache-is-exact", effort=0.1, subject=decode)
        return last(radd_claims.cache_is_exact(replace(t, exhibit=replace(RADD, lanes=lanes))))

    assert twinned(by_schedule)["holds"] is False
    assert twinned(timed_but_cached)["holds"] is False


def test_only_the_timed_networks_answer_ages():
    assert last(radd_claims.time_net_cannot_cache(trial("radd", "time-net-cannot-cache", effort=0.1)))["holds"]
    deaf = SMALL[NET].session()
    still = trial("radd", "time-net-cannot-cache", effort=0.1, subject=lambda rows, *_, **more: deaf(rows))
    assert last(radd_claims.time_net_cannot_cache(still))["holds"] is False


def test_four_losses_agree_and_one_with_a_wrong_sum_does_not():
    mask, log_q = SMALL[NET].mask, SMALL[NET].log_q
    t = trial("radd", "four-losses-agree", effort=0.3, subject=(log_q, mask))
    result = last(radd_claims.four_losses_agree(t))
    assert result["holds"], result
    wrong = trial("radd", "four-losses-agree", effort=0.3, subject=(lambda x: log_q(x) + 0.4, mask))
    assert last(radd_claims.four_losses_agree(wrong))["holds"] is False


def test_a_step_of_the_reverse_process_has_its_law():
    """One cell, r = 0.3: it stays with 0.7, else it is a word of q."""
    q = np.array([[0.5, 0.2, 0.3]])
    seen: dict[int, int] = {}
    for seed in range(4_000):
        rows, draws = rules.opened(Noise(seed), [0], q, np.array([0.3]))
        key = draws[0].index if rows else 3
        seen[key] = seen.get(key, 0) + 1
        assert all(d.p == q[0, d.index] for d in draws)
    assert stats.chi_square(seen, {0: 0.15, 1: 0.06, 2: 0.09, 3: 0.7})["p"] > 1e-3
    assert stats.chi_square(seen, {0: 0.2, 1: 0.08, 2: 0.12, 3: 0.6})["p"] < 1e-6


def test_the_grammar_prices_a_page_as_its_own_conditionals_do():
    """On a page of the stories: cells of one group that decide each other cost their total correlation."""
    story = stories.sample([stories.TEST[5]])[0]
    automaton, shown = stories.automaton(), story.copy()
    hidden = [i for i in range(60) if stories.VOCAB[story[i]] in ("he", "she", "his", "her")][:1] + [4]
    shown[hidden] = stories.HIDDEN
    rows = automaton.marginals(shown)[hidden]
    alone_ = float(rules.entropies(rows).sum())
    price = automaton.total_correlation(shown, hidden)
    assert 0 <= price <= alone_ + 1e-9
