"""Keyed randomness: the same key gives the same number, and an intervention moves nothing else."""

import numpy as np
import pytest
from scipy import stats

from engines.errors import Refused
from engines.noise import Noise


def test_numbers_depend_on_the_key_and_not_on_the_order_of_asking():
    a, b = Noise(7), Noise(7)
    first = a.uniform("draft", [0, 1, 2])
    second = np.array([b.uniform("draft", [c])[0] for c in (2, 1, 0)])[::-1]
    assert np.array_equal(first, second)


def test_streams_visits_and_seeds_are_different_numbers():
    noise = Noise(7)
    numbers = [noise.uniform(s, [c])[0] for s in ("draft", "accept") for c in range(5) for _ in range(3)]
    numbers.append(Noise(8).uniform("draft", [0])[0])
    assert len(set(numbers)) == len(numbers)


def test_uniform_numbers_are_uniform_and_normals_normal():
    u = np.array([Noise(s).uniform("token", [3])[0] for s in range(4_000)])
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    z = Noise(1).normal("token", [0, 1], (3_000,))
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z)[0, 1]) < 0.06


def test_draw_follows_the_law_and_never_picks_the_impossible():
    p = np.array([0.0, 0.2, 0.5, 0.3, 0.0])
    picks = np.bincount([Noise(s).draw("token", [0], p[None])[0].index for s in range(5_000)], minlength=5)
    assert picks[0] == picks[4] == 0
    assert stats.chisquare(picks[1:4], 5_000 * p[1:4]).pvalue > 1e-3


def test_a_forced_cell_gets_its_value_and_the_others_keep_their_numbers():
    p = np.full((1, 8), 1 / 8)
    plain, forced = Noise(3), Noise(3, "a", ({"do": "force", "cell": 1, "value": 5, "after": 4},))
    forced.now = 3
    assert forced.draw("token", [1], p)[0].index == plain.draw("token", [1], p)[0].index
    forced.now = 4
    plain.draw("token", [1], p)
    got = forced.draw("token", [1], p)[0]
    assert (got.index, got.p, got.forced) == (5, 1 / 8, True)
    assert forced.draw("token", [2], p)[0].index == plain.draw("token", [2], p)[0].index
    assert forced.accept([1], [0.0])[0][1]
    forced.committed(1)
    assert not forced.forced(1)


def test_reseed_changes_only_what_comes_after():
    a, b = Noise(3), Noise(3, "a", ({"do": "reseed", "seed": 9, "after": 2},))
    b.now = 1
    assert a.uniform("token", [0])[0] == b.uniform("token", [0])[0]
    b.now = 2
    assert a.uniform("token", [1])[0] != b.uniform("token", [1])[0]


def test_a_forced_word_that_the_lane_does_not_know_is_refused():
    noise = Noise(3, "a", ({"do": "force", "cell": 0, "value": "zebra"},))
    with pytest.raises(Refused, match="zebra"):
        noise.draw("token", [0], np.ones((1, 3)))
