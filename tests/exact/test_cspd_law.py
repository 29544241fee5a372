"""Drafted and checked tokens have the target's law, on benches where it is known; broken checks are caught."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from engines.masked_continuous import toys
from engines.masked_continuous.cspd_claims import TWINS
from engines.masked_continuous.diffloss import Walk, walk
from engines.masked_continuous.sampler import start_of, steps_of
from engines.masked_continuous.verdict import TRIES, Check, judge, last, log_p
from engines.noise import Noise

N = 3_000


@pytest.mark.parametrize("make", toys.BENCHES.values(), ids=toys.BENCHES)
def test_the_answer_of_a_bench_is_what_its_target_draws_by_itself(make):
    toy, cells = make(), list(range(N))
    noise = Noise(3)
    start, steps = (f(noise, cells, *more) for f, more in (
        (start_of, (toy.channels,)), (steps_of, (len(toy.schedule), toy.channels))))
    for net, fits in ((toy.target, True), (toy.draft, False)):
        x = last(walk(toy.schedule, net, start, steps), steps[-1]).double().numpy()
        assert (toy.p(x) > 1e-3) is fits
        if fits:
            assert x[:, 0].std() == pytest.approx(toy.sd, rel=0.06)


@pytest.mark.parametrize("aligned", [True, False])
def test_checked_tokens_have_the_targets_law_whoever_shares_the_noise(aligned):
    assert toys.fit(11, N, Check(), judge, aligned)["p"] > 1e-3


@pytest.mark.parametrize("name", TWINS)
def test_broken_checks_are_caught(name):
    """The paper's Σ either way round, a forgiving check, no check, and a redraw from the target itself."""
    assert toys.fit(11, N, *TWINS[name])["p"] < 1e-6


def from_target(noise, cells, x, p, q, check):
    """What is refused is drawn from p, not from what is left over."""
    found = judge(noise, cells, x, p, q, check)
    z = torch.from_numpy(noise.normal("residual", cells, (x.shape[1],))).float()
    return found._replace(tokens=torch.where(torch.from_numpy(found.stays)[:, None], x, last(p, z)))


def test_a_redraw_from_the_target_itself_is_caught():
    assert toys.fit(11, 8_000, Check(), from_target)["p"] < 1e-6


def test_shared_noise_keeps_more_guesses_on_both_benches():
    near, far = (toys.fit(11, N, Check(), judge, aligned)["stays"] for aligned in (True, False))
    assert all(a > b + 0.1 for a, b in zip(near, far, strict=True))


def bells(mean: float, sd: float, n: int, spread: float = 0.0) -> Walk:
    one = torch.full((n, 1), mean)
    return Walk(one[None], one, torch.full((n, 1), np.log(sd)), torch.full((n, 1), spread))


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (0.8, 1.0), (0.5, 1.6), (3.0, 0.5)])
def test_of_plain_normals_one_less_the_distance_stays(mean, sd):
    """Acceptance = 1 - TV(p, q), within three standard errors, and redraws need 1 / TV tries on average."""
    n, noise = 6_000, Noise(5)
    p, q = bells(0.0, 1.0, n), bells(mean, sd, n)
    x = last(q, torch.from_numpy(noise.normal("draft", list(range(n)), (1,))).float())
    found = judge(noise, list(range(n)), x, p, q)
    at = np.linspace(-15, 15, 200_001)
    alpha = float(np.minimum(stats.norm.pdf(at), stats.norm.pdf(at, mean, sd)).sum() * (at[1] - at[0]))
    assert abs(found.stays.mean() - alpha) <= 3 * np.sqrt(alpha * (1 - alpha) / n) + 1e-4
    assert found.ratio.mean() == pytest.approx(alpha, abs=0.03)
    assert stats.kstest(found.tokens[:, 0].numpy(), "norm").pvalue > 1e-3
    if alpha < 0.99:
        tries = found.tries[~found.stays]
        assert tries.mean() == pytest.approx(1 / (1 - alpha), rel=0.15)


def test_two_equal_nets_keep_everything():
    n = 200
    p = bells(0.3, 0.7, n, 5.0)
    for sigma in ("exact", "paper", "code"):
        found = judge(Noise(1), list(range(n)), p.mean + 0.4, p, p, Check(sigma))
        assert found.stays.all() and (found.ratio == 1).all() and not found.tries.any()


def test_where_nothing_is_left_over_the_last_try_stands_and_says_so():
    """Σ of nearly nothing leaves nothing: never a token of zeros, as officially after 100 tries."""
    n = 5
    p, q = bells(2.0, 0.1, n, 40.0), bells(2.0, 0.1, n, 0.0)
    found = judge(Noise(1), list(range(n)), q.mean, p, q, Check("paper"))
    assert not found.stays.any() and found.failed.all() and (found.tries == TRIES).all()
    assert ((found.tokens - 2.0).abs() < 0.6).all() and len(set(found.tokens[:, 0].tolist())) == n


def test_sums_of_many_channels_do_not_underflow():
    n, C = 3, 400
    p, q = (Walk(torch.zeros(1, n, C), torch.full((n, C), m), torch.full((n, C), -9.0), torch.zeros(n, C))
            for m in (0.0, 1e-5))
    x = torch.full((n, C), 1e-5)
    found = judge(Noise(2), list(range(n)), x, p, q)
    assert np.isfinite(found.ratio).all() and (found.ratio > 0).all() and torch.isfinite(found.tokens).all()
    assert torch.isfinite(log_p(p, x)).all()
