"""Denoisers and scores in the plane: identities that hold exactly, and a sampler whose law is known; each with a twin
that breaks it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from engines.density.canvas import EXACT
from engines.density.metropolis import TRUE, Way, error_as_energy, metropolis, path_integral
from engines.density.model import Free, Session, Tied
from engines.events import Commit, check
from engines.noise import Noise
from engines.runtime import Meter
from engines.worlds import plane
from engines.worlds.plane import Mixture

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", plane.NAMES)
@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.4])
def test_the_score_is_the_gradient_of_the_log_density(name, sigma):
    density, x = plane.DENSITIES[name], RNG.uniform(-1.2, 1.2, (40, 2))
    h = 1e-5
    for j, step in enumerate(np.eye(2) * h):
        slope = (density.log_density(x + step, sigma) - density.log_density(x - step, sigma)) / (2 * h)
        assert np.allclose(density.score(x, sigma)[:, j], slope, atol=1e-5 * np.abs(slope).max())


@pytest.mark.parametrize("name", plane.NAMES)
def test_a_density_has_mass_one_and_noise_is_what_widens_it(name):
    density = plane.DENSITIES[name]
    at = np.linspace(-3.5, 3.5, 220)
    grid = np.stack(np.meshgrid(at, at), axis=-1)
    for sigma in (0.0, 0.2):
        assert np.exp(density.log_density(grid, sigma)).sum() * (at[1] - at[0]) ** 2 == pytest.approx(1, abs=1e-6)
    noisy = density.sample(3, 20_000) + 0.2 * np.random.default_rng(9).standard_normal((20_000, 2))
    blurred = density.sample(4, 20_000, 0.2)
    for j in (0, 1):
        assert stats.ks_2samp(noisy[:, j], blurred[:, j]).pvalue > 1e-3
        assert stats.ks_2samp(noisy[:, j], density.sample(4, 20_000, 0.6)[:, j]).pvalue < 1e-6


def test_the_best_denoiser_of_one_gaussian_is_the_textbook_line():
    mu, spread, sigma = np.array([0.3, -0.5]), 0.7, 0.4
    x = RNG.normal(size=(30, 2))
    shrink = sigma**2 / (spread**2 + sigma**2)
    assert np.allclose(Mixture(mu[None], spread).denoised(x, sigma), x - shrink * (x - mu), atol=1e-12)


def test_one_point_of_data_is_always_given_back_and_no_noise_changes_nothing():
    y, x = np.array([[0.4, 0.1]]), RNG.normal(size=(30, 2))
    assert np.allclose(Mixture(y, 1e-9).denoised(x, 0.3), y, atol=1e-9)
    assert np.allclose(plane.DENSITIES["moons"].denoised(x, 1e-6), x, atol=1e-6)


@pytest.mark.parametrize("name", plane.NAMES)
def test_the_best_denoiser_is_the_mean_of_the_originals(name):
    """Drawn pairs (original, noisy) whose noisy point falls near x: their originals average to r*(x)."""
    density, sigma = plane.DENSITIES[name], 0.2
    x = density.sample(11, 400_000)
    noisy = x + sigma * np.random.default_rng(5).standard_normal(x.shape)
    for at in density.sample(12, 3, sigma):
        near = np.linalg.norm(noisy - at, axis=1) < 0.05
        seen, sem = x[near].mean(0), x[near].std(0) / near.sum() ** 0.5
        assert (np.abs(seen - density.denoised(at, sigma)) < 5 * sem + 0.01).all()


def test_midway_between_two_blobs_the_denoiser_moves_nothing_though_hardly_any_data_are_there():
    blobs, middle = plane.DENSITIES["blobs"], np.zeros((1, 2))
    assert np.allclose(blobs.denoised(middle, 0.2), middle, atol=1e-12)
    assert blobs.log_density(middle, 0.2)[0] < blobs.log_density(blobs.centres, 0.2).max() - 2
    r = lambda x: blobs.denoised(x, 0.2)  # noqa: E731
    top = blobs.centres[:1]
    right, wrong = (way(r, top, middle, 0.2, 64)[0] for way in (path_integral, error_as_energy))
    assert right == pytest.approx(blobs.log_density(middle, 0.2)[0] - blobs.log_density(top, 0.2)[0], abs=1e-2)
    assert right < -2 and wrong == pytest.approx(0, abs=0.1), "the error calls the saddle as dense as a summit"


def test_adding_up_arrows_gives_the_ratio_of_densities_and_more_points_give_it_better():
    density = plane.DENSITIES["eight"]
    r = lambda x: density.denoised(x, 0.2)  # noqa: E731
    a, b = density.sample(1, 60, 0.2), density.sample(2, 60, 0.2)
    true = density.log_density(b, 0.2) - density.log_density(a, 0.2)
    errors = [np.abs(path_integral(r, a, b, 0.2, m) - true).mean() for m in (1, 4, 16, 256)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-3


def around(r, sigma=0.2, sides=6, m=400):
    """The sum of arrows round a closed path."""
    corner = np.exp(2j * np.pi * np.arange(sides + 1) / sides)
    path = 0.8 * np.stack([corner.real, 0.6 * corner.imag], axis=1) + 0.1
    return sum(path_integral(r, path[i : i + 1], path[i + 1 : i + 2], sigma, m)[0] for i in range(sides))


def test_round_a_loop_a_gradient_adds_up_to_nothing_and_a_free_network_does_not():
    torch.manual_seed(0)
    assert around(lambda x: plane.DENSITIES["spiral"].denoised(x, 0.2)) == pytest.approx(0, abs=1e-4)
    with torch.inference_mode():
        tied, free = (kind(64, 1, [200]).double() for kind in (Tied, Free))
        r = lambda bank: lambda x: bank(torch.from_numpy(x)[None])[0].numpy()  # noqa: E731
        assert around(r(tied)) == pytest.approx(0, abs=1e-3)
        assert abs(around(r(free))) > 0.05


@pytest.mark.parametrize("kind", [Free, Tied])
def test_the_networks_of_a_bank_are_independent(kind):
    torch.manual_seed(0)
    bank = kind(16, 2, [50, 200]).eval()
    x = np.random.default_rng(0).normal(size=(5, 2))
    own = [Session(bank)(x, d, s) for d in (0, 1) for s in (0.05, 0.2)]
    whole = bank(torch.from_numpy(np.stack([x] * 4)).float()).detach().numpy()
    assert np.allclose(own, whole, atol=1e-6) and not np.allclose(own[0], own[1], atol=1e-3)


def test_the_jacobian_is_the_derivative():
    torch.manual_seed(0)
    bank = Free(16, 2, [50, 200]).double()
    x = torch.randn(4, 3, 2, dtype=torch.float64)
    r, jacobian = bank.jacobian(x)
    assert torch.allclose(r, bank(x))
    for j in (0, 1):
        step = torch.zeros(2, dtype=torch.float64)
        step[j] = 1e-6
        assert torch.allclose(jacobian[..., j], (bank(x + step) - bank(x - step)) / 2e-6, atol=1e-7)


# ---- the law of the walk: walkers that start from p_sigma must still be distributed like it after any number of steps


def law(way: Way, walkers: int = 2_500, steps: int = 12) -> float:
    """p of a chi-square test: sectors and rings of the plane, walkers after `steps` jumps against exact ones."""
    density, sigma = plane.DENSITIES["eight"], 0.2
    x = density.sample(21, walkers, sigma)

    class Exact(Noise):
        """Starts are exact samples instead of points of the whole square."""

        def uniform(self, stream, cells, shape=()):
            return (x / plane.SIDE + 1) / 2 if stream == "prompt" else super().uniform(stream, cells, shape)

    s = SimpleNamespace(density="eight", sigma=str(sigma), net="dae", step=0.5, path=24, walkers=walkers, steps=steps)
    meter = Meter({}.__getitem__, quiet=True)
    last = [e for e in metropolis(s, Exact(4), meter, way) if isinstance(e, Commit)]
    at = {c: v for e in last for c, v in zip(e.cells, e.values, strict=True)}
    ends = np.array([at[w * (steps + 1) + steps] for w in range(walkers)])

    def counts(points):
        sector = ((np.arctan2(points[:, 1], points[:, 0]) / np.pi + 1) * 8).astype(int) % 16
        ring = np.digitize(np.linalg.norm(points, axis=1), [0.85, 1.0, 1.15, 1.35])
        return np.bincount(sector * 5 + ring, minlength=80)

    expected = counts(density.sample(22, 400_000, sigma)) / 400_000 * walkers
    return float(stats.chisquare(counts(ends), expected * counts(ends).sum() / expected.sum()).pvalue)


def always(r, x, new, sigma, m):
    r(x)
    return np.full(len(x), 9.0)


def flipped(r, x, new, sigma, m):
    return -path_integral(r, x, new, sigma, m)


def unscaled(r, x, new, sigma, m):
    return path_integral(r, x, new, sigma, m) * sigma**2


def test_walkers_with_true_arrows_keep_the_blurred_density():
    assert law(TRUE) > 1e-3


@pytest.mark.parametrize("wrong", [always, flipped, unscaled])
def test_other_ways_of_judging_a_jump_lose_it(wrong):
    assert law(Way("broken", lambda s: EXACT, wrong)) < 1e-6


def test_a_walk_obeys_the_rules_of_events_and_never_sees_data(monkeypatch):
    monkeypatch.setattr(Mixture, "sample", lambda *_: pytest.fail("a lane drew from the data"))
    from dataclasses import replace  # noqa: PLC0415

    from engines.events import Done  # noqa: PLC0415

    s = SimpleNamespace(density="blobs", sigma="0.1", net="dae", step=0.3, path=4, walkers=3, steps=30)
    events = [*metropolis(s, Noise(1), Meter({}.__getitem__), TRUE), Done(reason="finished")]
    check(replace(e, lane="x", n=i) for i, e in enumerate(events))
    assert sum(len(e.cells) for e in events if isinstance(e, Commit)) == 90
