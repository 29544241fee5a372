"""Temperature, top-k, top-p, min-p and typical sampling against the warpers of transformers, on the same logits.

Which of several equal words top-p cuts is a convention: ours keeps the lowest ids, theirs what an unstable sort
leaves last. So where words tie at the cut the kept probabilities must agree, not the kept ids. A sum of float64
that meets the limit to within 1e-9 may fall on either side of it. Top-k compares probabilities here and logits
there: logits that differ by less than 1e-15 are ties for ours alone, and are not drawn below. Typical sampling
sorts by distance from the entropy: two words on either side of it may tie up to rounding, and either may come first.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from engines.sampling import kept, standardise

EDGE = 1e-9


def theirs(z: np.ndarray, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0,
           typical_p: float = 1.0):
    """Probabilities (V,) as transformers samples from them; the order of warpers is that of its `generate`."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    if min_p > 0:
        warpers.append(MinPLogitsWarper(min_p))
    if typical_p < 1:
        warpers.append(TypicalLogitsWarper(typical_p))
    scores = torch.tensor(z, dtype=torch.float64)[None]
    return warpers(torch.zeros(1, 1, dtype=torch.long), scores)[0].softmax(-1).numpy()


def agree(z: np.ndarray, temperature: float, top_k: int, top_p: float, min_p: float) -> bool:
    """Same kept probabilities; and the same ids but for ties at the cut."""
    want = theirs(z, temperature, top_k, top_p, min_p)
    for nudge in (0.0, -EDGE, EDGE):
        for edge in (0.0, -EDGE, EDGE):
            # the nudged variants only matter on a limit that is met to the last bits
            p, m = top_p + nudge * (top_p < 1), max(0.0, min_p * (1 + edge))
            ours = standardise(z, temperature, top_k, p, m)
            if not np.allclose(np.sort(ours), np.sort(want), rtol=1e-9, atol=1e-15):
                continue
            moved = z[(ours > 0) != (want > 0)]
            return moved.size == 0 or np.ptp(moved) < 1e-9
    return False


logits = st.one_of(
    st.lists(st.floats(-20, 20).map(lambda x: round(x, 6)), min_size=1, max_size=40),
    st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=40),  # many ties
    st.lists(st.sampled_from([0.0, -np.inf]), min_size=1, max_size=20).map(lambda z: [1.0, *z]),  # closed entries
).map(np.array)


@given(logits, st.sampled_from([0.05, 0.3, 0.7, 1.0, 1.5, 2.0]), st.integers(0, 45),
       st.one_of(st.just(1.0), st.floats(0.05, 1.0), st.sampled_from([0.25, 0.5, 0.75])),
       st.one_of(st.just(0.0), st.floats(0.001, 0.5), st.just(1.0)))
@settings(max_examples=600, deadline=None, derandomize=True)
def test_any_logits_and_settings_give_their_distribution(z, temperature, top_k, top_p, min_p):
    assert agree(z, temperature, top_k, top_p, min_p)


def test_vocabulary_sized_logits_give_their_distribution_one_filter_at_a_time_and_all_together():
    rng = np.random.default_rng(0)
    several = [(0.4, 0, 1.0, 0.0), (1.7, 0, 1.0, 0.0), (1.0, 1, 1.0, 0.0), (1.0, 50, 1.0, 0.0), (1.0, 999, 1.0, 0.0),
               (1.0, 0, 0.05, 0.0), (1.0, 0, 0.9, 0.0), (1.0, 0, 1.0, 0.05), (1.0, 0, 1.0, 0.5), (0.8, 40, 0.95, 0.02),
               (1.0, 0, 1.0, 0.0, 0.05), (1.0, 0, 1.0, 0.0, 0.9), (0.8, 40, 0.95, 0.02, 0.7)]
    for scale in (0.1, 1.0, 4.0):
        z = rng.normal(0, scale, 464)
        for knobs in several:
            np.testing.assert_allclose(standardise(z, *knobs), theirs(z, *knobs), rtol=1e-9, atol=0)


def test_temperature_zero_is_their_limit():
    """They refuse 0 and take the argmax instead; ours is the limit of their small temperatures."""
    z = np.random.default_rng(1).normal(0, 1, 100)
    with pytest.raises(ValueError):
        TemperatureLogitsWarper(0.0)
    np.testing.assert_allclose(standardise(z, 0.0), theirs(z, 1e-4), atol=1e-12)


def test_ties_ours_keep_the_lowest_ids_and_top_k_keeps_all_of_them_as_theirs():
    even = np.zeros(4)
    assert np.flatnonzero(standardise(even, top_p=0.5)).tolist() == [0, 1]
    assert (theirs(even, top_p=0.5) > 0).sum() == 2
    assert (standardise(even, top_k=2) > 0).all() and (theirs(even, top_k=2) > 0).all()


def surprises(z: np.ndarray) -> np.ndarray:
    """How far each word's surprise lies from the entropy, inf where a word is impossible."""
    log_p = torch.tensor(z, dtype=torch.float64).log_softmax(-1)
    return (-log_p + (log_p * log_p.exp()).nansum()).abs().numpy()


@given(logits, st.one_of(st.floats(0.05, 0.99), st.sampled_from([0.25, 0.5, 0.75])))
@settings(max_examples=600, deadline=None, derandomize=True)
def test_typical_sampling_keeps_what_theirs_keeps(z, typical_p):
    gap = surprises(z)
    want = theirs(z, typical_p=typical_p) > 0
    for tau in (typical_p, typical_p - EDGE, typical_p + EDGE):
        moved = gap[(standardise(z, typical_p=tau) > 0) != want]
        if moved.size == 0 or np.ptp(moved) < 1e-9:
            return
    raise AssertionError("another set of words is kept")


def test_typical_sampling_may_cut_the_likeliest_word_and_keeps_ties_as_theirs():
    z = np.log([0.55, 0.15, 0.15, 0.15])
    kept_by = [np.flatnonzero(p > 0).tolist() for p in (standardise(z, typical_p=0.4), theirs(z, typical_p=0.4))]
    assert kept_by == [[0]] * 2
    z = np.log([0.4] + [0.6 / 12] * 12)
    assert (standardise(z, typical_p=0.3)[1:] > 0).all() and standardise(z, typical_p=0.3)[0] == 0
    np.testing.assert_allclose(standardise(z, typical_p=0.3), theirs(z, typical_p=0.3), rtol=1e-9)


@pytest.mark.parametrize("broken", [
    pytest.param(lambda p, gap, tau: np.argsort(-p, kind="stable"), id="sorted by probability: top-p again"),
    pytest.param(lambda p, gap, tau: np.argsort(-gap, kind="stable"), id="farthest first"),
])
def test_a_broken_typical_filter_is_noticed(broken):
    """The same comparison, with the words in a wrong order."""
    rng, differ = np.random.default_rng(3), 0
    for _ in range(40):
        z = rng.normal(0, 2, 30)
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        order = broken(p, surprises(z), 0.5)
        keep = order[: np.searchsorted(np.cumsum(p[order]), 0.5) + 1]
        differ += set(keep.tolist()) != set(np.flatnonzero(theirs(z, typical_p=0.5)).tolist())
    assert differ > 20


@pytest.mark.parametrize("broken", [
    pytest.param(lambda p, k, tp, mp, ty: kept(p, k, tp, mp) & (kept(p, k, tp, mp).cumsum() < kept(p, k, tp, mp).sum()),
                 id="drops a kept word"),
    pytest.param(lambda p, k, tp, mp, ty: kept(p, k) & kept(p, 0, tp) & kept(p, 0, 1, mp),
                 id="top-p does not see top-k"),
    pytest.param(lambda p, k, tp, mp, ty: kept(p, k and k + 1, tp, mp), id="one too many"),
    pytest.param(lambda p, k, tp, mp, ty: kept(p, k, tp) & (p >= mp), id="min-p without the maximum"),
])
def test_a_broken_filter_is_noticed(broken, monkeypatch):
    monkeypatch.setattr("engines.sampling.kept", broken)
    rng = np.random.default_rng(2)
    assert not all(agree(rng.normal(0, 2, 30), 0.9, 6, 0.8, 0.1) for _ in range(40))
