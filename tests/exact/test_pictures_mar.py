"""The diffusion head's sampler has the law that it should have: a Gaussian target, whose answers are known exactly.

For x_0 ~ N(mu, s²) the best guess of the noise and the true variance of every backward step have a formula, so the
sampler can be given a perfect head. It must then draw N(mu, s²), however few steps it takes. Then a real head is
trained on such a target.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from scipy import stats

from engines.masked_continuous.diffloss import STEPS, Head, Schedule, losses, noised, ours, sample

MU, SD = torch.tensor([0.7, -1.5]), torch.tensor([0.4, 1.3])


def perfect(schedule: Schedule):
    """denoise(x, i) -> eps and v that make each backward step the true one."""

    def denoise(x: torch.Tensor, i: int) -> torch.Tensor:
        abar = schedule.abar[i]
        total = abar * SD**2 + 1 - abar
        eps = np.sqrt(1 - abar) * (x - np.sqrt(abar) * MU) / total
        left = SD**2 * (1 - abar) / total  # what is not known of x_0 once x_t is seen
        small = np.exp(schedule.log_small[i])
        variance = small + schedule.from_x_0[i] ** 2 * left
        share = (variance.log() - schedule.log_small[i]) / (schedule.log_large[i] - schedule.log_small[i])
        return torch.cat([eps, (2 * share - 1).expand_as(x)], dim=-1)

    return denoise


def draws(schedule: Schedule, denoise, n: int, seed: int = 0, tau: float = 1.0) -> np.ndarray:
    g = torch.Generator().manual_seed(seed)
    start = torch.randn(n, 2, generator=g)
    return sample(schedule, denoise, start, torch.randn(len(schedule), n, 2, generator=g), tau).numpy()


def fits(x: np.ndarray) -> float:
    """The smaller p-value of two Kolmogorov-Smirnov tests, one a channel."""
    return min(stats.kstest(x[:, c], "norm", (float(MU[c]), float(SD[c]))).pvalue for c in range(2))


@pytest.mark.parametrize("steps", [5, 25, 100])
def test_a_perfect_head_draws_the_target_in_any_number_of_steps(steps):
    schedule = Schedule(steps)
    x = draws(schedule, perfect(schedule), 20_000, seed=steps)
    assert fits(x) > 1e-3
    assert abs(np.corrcoef(x.T)[0, 1]) < 4 / np.sqrt(len(x)), "channels have noise of their own"


def small_variance(schedule, denoise):
    return lambda x, i: torch.cat([denoise(x, i)[:, :2], torch.full_like(x, -1.0)], dim=-1)


def large_variance(schedule, denoise):
    return lambda x, i: torch.cat([denoise(x, i)[:, :2], torch.full_like(x, 1.0)], dim=-1)


def faint_noise(schedule, denoise):
    return lambda x, i: torch.cat([0.95 * denoise(x, i)[:, :2], denoise(x, i)[:, 2:]], dim=-1)


@pytest.mark.parametrize("broken", [small_variance, large_variance, faint_noise])
def test_a_broken_head_is_caught_by_the_same_test(broken):
    schedule = Schedule(10)
    assert fits(draws(schedule, broken(schedule, perfect(schedule)), 20_000)) < 1e-6


def test_temperature_narrows_what_is_drawn_and_is_no_longer_the_target():
    schedule = Schedule(25)
    plain, cool, cold = (draws(schedule, perfect(schedule), 20_000, tau=tau) for tau in (1.0, 0.9, 0.0))
    assert fits(plain) > 1e-3 and fits(cool) < 1e-6
    assert (cold.std(0) < cool.std(0)).all() and (cool.std(0) < plain.std(0)).all()
    assert np.allclose(cold.mean(0), MU, atol=0.05), "only the spread goes"


def test_the_true_variance_is_what_the_bound_teaches():
    """The bound's gradient in v vanishes at the true variance and nowhere near it, for a perfect guess of the noise."""
    schedule, full = Schedule(), 4_000
    g = torch.Generator().manual_seed(3)
    for i in (60, 300, 700):
        at = torch.full((full,), i)
        x_0, eps = MU + SD * torch.randn(full, 2, generator=g), torch.randn(full, 2, generator=g)
        out = perfect(schedule)(noised(schedule, x_0, at, eps), i)

        def bound(shift: float, out=out, x_0=x_0, at=at, eps=eps) -> float:
            moved = torch.cat([out[:, :2], out[:, 2:] + shift], dim=-1)
            return float(losses(schedule, moved, x_0, at, eps)[1].mean())

        assert bound(0.0) < bound(0.6) and bound(0.0) < bound(-0.6), i


def test_a_trained_head_learns_mean_and_spread_from_a_constant_z():
    """Two seconds of training with the losses of the recipe; 400 draws, three standard errors."""
    torch.manual_seed(0)
    head, z = Head(2, 4, 1, 48), torch.ones(1, 4)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    g, full, began, turns = torch.Generator().manual_seed(1), Schedule(), time.thread_time(), 220
    for turn in range(turns):
        x_0 = MU + SD * torch.randn(512, 2, generator=g)
        t, eps = torch.randint(STEPS, (512,), generator=g), torch.randn(512, 2, generator=g)
        mse, vb = losses(full, head(noised(full, x_0, t, eps), t, z.expand(512, -1)), x_0, t, eps)
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - turn / turns)
        optimizer.zero_grad()
        (mse + vb).mean().backward()
        optimizer.step()
    assert time.thread_time() - began < 8
    schedule, n = ours(25), 400
    y = head.clock(torch.tensor(schedule.times)) + head.hear(z)
    with torch.no_grad():
        x = draws(schedule, lambda x, i: head.denoise(x, y[i].expand(len(x), -1)), n, seed=5)
    assert (abs(x.mean(0) - MU.numpy()) < 3 * SD.numpy() / np.sqrt(n)).all(), x.mean(0)
    assert (abs(x.std(0) - SD.numpy()) < 3 * SD.numpy() / np.sqrt(2 * n)).all(), x.std(0)
