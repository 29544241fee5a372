"""The samplers' laws on table models, by the same claims that the page shows; every broken twin must be caught."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from engines import stats
from engines.any_order import claims as any_order
from engines.any_order.assd import EXACT, fill, fill_one_by_one
from engines.events import Forward
from engines.next_token import claims as next_token
from engines.next_token.speculative import speculative
from engines.noise import Noise
from engines.runtime import Meter
from engines.sampling import kept
from engines.tables import AnySubsetTable, CausalTable, chain_joint


@pytest.mark.slow
def test_speculative_text_has_the_targets_law_and_its_twins_do_not(trial):
    *_, result = next_token.law(trial("speculative", "law"))
    assert result["holds"], result
    assert {p["x"] for p in result["points"] if p["caught"]} == set(next_token.TWINS)


def test_the_speculative_claim_falls_for_a_broken_subject(trial):
    expected = next_token._tables(next_token.TARGET).law()
    for rule, make in next_token.TWINS.values():
        texts = next_token._texts(trial("speculative", "law"), 2_000, rule, make)
        assert stats.chi_square(texts, expected)["p"] < 1e-6


def test_assd_pages_have_the_joint_law_and_its_twins_do_not(trial):
    *_, result = any_order.law(trial("assd", "law"))
    assert result["holds"], result


def test_the_assd_claim_falls_when_the_residual_is_forgotten(trial):
    broken = replace(EXACT, correct=lambda noise, cell, q, p: noise.draw("residual", [cell], q[None])[0])
    *_, result = any_order.law(trial("assd", "law", subject=broken))
    assert result["holds"] is False


def _nfe(k: int, seed: int, loop=fill) -> int:
    table = AnySubsetTable(chain_joint())
    settings = SimpleNamespace(k=k, temperature=1.0, r_atol=0.0, bonus=False)
    page = any_order.toy_page()
    args = (page, settings, Noise(seed), Meter(lambda name: table))
    return any_order.nfe(list(loop(*args, EXACT) if loop is fill else loop(*args)))


def test_width_two_takes_exactly_as_many_calls_as_blanks_and_width_one_more():
    assert {_nfe(2, s) for s in range(40)} == {4}
    assert {_nfe(1, s) for s in range(40)} == {2 * 4 - 1}
    assert {_nfe(4, s, fill_one_by_one) for s in range(5)} == {4}


def test_independent_cells_keep_every_guess():
    product = np.ones((4,) * 6)
    table = AnySubsetTable(product)
    settings = SimpleNamespace(k=2, temperature=1.0, r_atol=0.0, bonus=False)
    for seed in range(20):
        events = list(fill(any_order.toy_page(), settings, Noise(seed), Meter(lambda name: table), EXACT))
        assert not [e for e in events if e.kind == "reject"]
        assert sum(isinstance(e, Forward) for e in events) == 4


def test_tokens_a_round_follow_the_formula_and_a_greedy_twin_does_not(trial):
    t = trial("speculative", "tokens-per-call-formula", effort=0.4)
    target, draft = CausalTable(11, 6, 63, 0), CausalTable(12, 6, 63, 0)
    p, q = (np.exp(m.row(())) / np.exp(m.row(())).sum() for m in (target, draft))
    want = next_token.formula(float(np.minimum(p, q).sum()), 4)
    settings = SimpleNamespace(**next_token.PLAIN, draft="net", gamma=4)
    nets = {next_token.TARGET: target, next_token.SMALL: draft}

    def mean(rule):
        seen = []
        for seed in t.seeds(120):
            lane = speculative(settings, Noise(seed), Meter(nets.__getitem__), rule)
            seen += [r[2] for r in next_token.rounds(list(next_token._over(lane)), 4)]
        return stats.mean([s / want for s in seen])

    real = mean(next_token.EXACT)
    assert real["low"] < 1 < real["high"]
    agree = replace(next_token.EXACT, ratio=lambda p, q, x: float(p.argmax() == x))
    broken = mean(agree)
    assert not broken["low"] < 1 < broken["high"]


def test_the_filter_claim_falls_for_a_filter_that_drops_the_crossing_word(trial):
    *_, good = next_token.kept_set_equals_reference(trial("next-token", "kept-set-equals-reference", effort=0.1))
    assert good["holds"]

    def broken(p, k, top_p, min_p, typical_p):
        keep = kept(p, k, top_p, min_p, typical_p)
        if keep.sum() > 1 and top_p < 1:
            keep[np.where(keep, p, 2).argmin()] = False
        return keep

    def deaf(p, k, top_p, min_p, typical_p):
        return kept(p, k, top_p, min_p)

    for subject in (broken, deaf):
        *_, bad = next_token.kept_set_equals_reference(
            trial("next-token", "kept-set-equals-reference", effort=0.1, subject=subject))
        assert bad["holds"] is False
