"""From logits to what is drawn from: the edges where a division, a logarithm or an empty set would do harm."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engines import sampling
from engines.sampling import entropy, kept, ratio, residual, softmax, spoken, standardise, top, why_rejected

ONE_HOT = np.array([0.0, 1.0, 0.0])
EVEN = np.full(4, 0.25)

pytestmark = pytest.mark.filterwarnings("error")  # a division by zero must not pass as a warning


def laws(size: int = 6):
    """Distributions (size,), some of their entries exactly 0."""
    return (arrays(float, size, elements=st.floats(0, 1).map(lambda x: x if x > 1e-3 else 0.0))
            .filter(lambda w: w.sum() > 0).map(lambda w: w / w.sum()))


# softmax ------------------------------------------------------------------------------------------------


def test_softmax_is_safe_at_both_ends_of_the_floats():
    for z in ([1e308, 0.0], [-1e308, -1e300], [1e4, 1e4], [0.0, -np.inf], [-1e6] * 3):
        p = softmax(z)
        assert np.isfinite(p).all() and p.sum() == pytest.approx(1)
    assert softmax([0.0, -np.inf])[1] == 0
    assert softmax(np.float32([0, 1])).dtype == np.float64, "ratios need double precision"


def test_softmax_of_many_rows_is_that_of_each():
    z = np.random.default_rng(0).normal(size=(2, 3, 5))
    for temperature in (0.0, 0.5, 1.0):
        whole = softmax(z, temperature)
        assert whole.shape == z.shape
        np.testing.assert_array_equal(whole[1, 2], softmax(z[1, 2], temperature))


def test_a_falling_temperature_ends_at_the_largest_logit_and_a_rising_one_at_the_even_law():
    z = np.array([0.3, 1.0, 0.999, -np.inf])
    peaks = [softmax(z, t)[1] for t in (2.0, 1.0, 0.1, 1e-2, 1e-5)]
    assert peaks == sorted(peaks) and peaks[-1] == pytest.approx(1)
    for t in (0.0, 1e-300, 5e-324):
        np.testing.assert_array_equal(softmax(z, t), [0, 1, 0, 0])
    np.testing.assert_allclose(softmax(z, 1e9), [1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-6)


def test_temperature_zero_breaks_a_tie_for_the_lowest_index():
    np.testing.assert_array_equal(softmax([1.0, 2.0, 2.0], 0.0), [0, 1, 0])
    np.testing.assert_array_equal(softmax([1.0, 2.0, 2.0], 1e-9), [0, 0.5, 0.5])


# filters ------------------------------------------------------------------------------------------------


def test_off_keeps_everything_that_is_possible():
    assert kept(EVEN).all()
    assert kept(ONE_HOT).tolist() == [False, True, False], "what has no probability never survives"


@pytest.mark.parametrize("knobs", [{"top_k": 1}, {"top_k": 99}, {"top_p": 0.05}, {"top_p": 1e-12}, {"min_p": 1.0},
                                   {"top_k": 2, "top_p": 0.5, "min_p": 0.5}, {"typical_p": 0.05}])
def test_a_sure_word_survives_every_filter_alone(knobs):
    assert kept(ONE_HOT, **knobs).tolist() == [False, True, False]


def test_top_p_keeps_the_word_that_crosses_and_no_other():
    p = np.array([0.5, 0.3, 0.2])
    assert [int(kept(p, top_p=x).sum()) for x in (0.4, 0.5, 0.51, 0.8, 0.81, 0.99)] == [1, 1, 2, 2, 3, 3]


def test_top_p_measures_what_top_k_left_over():
    p = np.array([0.4, 0.3, 0.2, 0.1])
    assert kept(p, top_p=0.5).sum() == 2
    assert kept(p, top_k=2, top_p=0.5).sum() == 1, "0.4 of 0.7 is over a half"


@given(laws(), st.integers(0, 8), st.floats(0.01, 1), st.floats(0, 1), st.floats(0.01, 1))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_typical_keeps_some_of_what_is_left_and_enough_of_its_mass(p, k, top_p, min_p, typical_p):
    before, after = kept(p, k, top_p, min_p), kept(p, k, top_p, min_p, typical_p)
    assert after.any() and not (after & ~before).any()
    assert p[after].sum() >= typical_p * p[before].sum() - 1e-12


@given(laws(), st.integers(0, 8), st.floats(0.01, 1), st.floats(0, 1))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_some_word_is_always_left_it_is_the_likeliest_and_nothing_likelier_is_cut(p, k, top_p, min_p):
    keep = kept(p, k, top_p, min_p)
    assert keep[p.argmax()]
    if not keep.all():
        assert p[keep].min() >= p[~keep].max()


@given(arrays(float, 7, elements=st.floats(-30, 30)), st.floats(0, 2), st.integers(0, 8), st.floats(0.01, 1),
       st.floats(0, 1))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_standardised_probabilities_sum_to_one_and_keep_their_proportions(z, temperature, k, top_p, min_p):
    p, q = softmax(z, temperature), standardise(z, temperature, k, top_p, min_p)
    assert q.sum() == pytest.approx(1) and (q >= p - 1e-12)[q > 0].all()
    a = int(q.argmax())
    np.testing.assert_allclose(q[q > 0] / q[a], p[q > 0] / p[a], rtol=1e-9)


# exact speculation --------------------------------------------------------------------------------------


def test_the_residual_is_where_p_exceeds_q():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(residual(p, q), [0.3, 0.2, 0.0])
    assert [ratio(p, q, x) for x in range(3)] == pytest.approx([2.5, 5 / 3, 0])


def test_equal_laws_leave_a_residual_that_can_be_drawn_from():
    """(p - q)+ is then all zeros: a draw from it would be 0 / 0."""
    for p in (EVEN, ONE_HOT, softmax(np.random.default_rng(0).normal(size=464))):
        for q in (p.copy(), p * (1 + 1e-15)):
            np.testing.assert_array_equal(residual(p, q), p)
    changed = residual(EVEN, EVEN)
    changed[0] = 9
    assert EVEN[0] == 0.25, "the answer must be a copy"


def test_a_word_that_the_draft_could_not_have_written_stays():
    """A user may force it on the draft: p / 0 and 0 / 0 are then no accident."""
    assert ratio(EVEN[:3], ONE_HOT, 0) == ratio(np.zeros(3), ONE_HOT, 0) == math.inf


def test_laws_that_never_meet_reject_always_and_replace_from_p():
    p, q = np.array([0.0, 0.4, 0.6]), np.array([1.0, 0.0, 0.0])
    assert ratio(p, q, 0) == 0
    np.testing.assert_array_equal(residual(p, q), p)


@given(laws(), laws())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_acceptance_and_residual_together_are_p(p, q):
    """min(p, q)(x) + P(reject) · residual(x) / sum = p(x): the identity that exact speculation stands on."""
    stays = np.array([q[x] * min(1.0, ratio(p, q, x)) if q[x] else 0.0 for x in range(len(p))])
    r = residual(p, q)
    np.testing.assert_allclose(stays + (1 - stays.sum()) * r / r.sum(), p, atol=1e-12)


# what is told -------------------------------------------------------------------------------------------


def test_entropy_is_zero_for_a_sure_word_and_log_n_for_even_ones():
    assert entropy(ONE_HOT) == 0 and math.copysign(1, entropy(ONE_HOT)) == 1, "a page would show -0"
    assert entropy(EVEN) == pytest.approx(math.log(4))


def test_top_lists_the_largest_and_the_asked_for_and_the_rest_is_what_is_missing():
    p = np.array([0.1, 0.4, 0.0, 0.3, 0.2])
    assert top(p, "abcde", k=2) == {"top": [["b", 0.4], ["d", 0.3]], "rest": pytest.approx(0.3)}
    assert top(p, "abcde", k=2, always=[2, 1])["top"] == [["b", 0.4], ["d", 0.3], ["c", 0.0]]
    assert top(p, "abcde", k=9) == {"top": [["b", 0.4], ["d", 0.3], ["e", 0.2], ["a", 0.1]], "rest": pytest.approx(0)}
    assert top(ONE_HOT, "abc") == {"top": [["b", 1.0]], "rest": 0.0}


@given(laws(12), st.integers(1, 14), st.lists(st.integers(0, 11), max_size=3))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_chart_is_sorted_lists_nothing_twice_and_adds_up(p, k, always):
    chart = top(p, "abcdefghijkl", k, always)
    shown = [x for _, x in chart["top"]]
    assert shown == sorted(shown, reverse=True) and len({w for w, _ in chart["top"]}) == len(shown)
    assert chart["rest"] >= 0 and sum(shown) + chart["rest"] == pytest.approx(1)
    assert {"abcdefghijkl"[i] for i in always} <= {w for w, _ in chart["top"]}


def test_signs_are_spoken_by_name():
    assert [spoken(w) for w in (".", ",", "<end>", "fox")] == ["a full stop", "a comma", "the end", "fox"]
    assert sampling.spoken("") == ""


@pytest.mark.parametrize(("p", "q", "forced", "says"), [
    (0.001, 0.6, False, "gives it under 1 %"), (0.55, 0.6, False, "The dice go for"), (0.9, 0.1, True, "You hold"),
    (0.29, 0.6, False, "gives it 29 %"), (0.31, 0.6, False, "nearly fits"),
])
def test_a_rejection_is_told_truly(p: float, q: float, forced: bool, says: str) -> None:
    assert says in why_rejected("fox", "owl", p, q, "The check", forced)
