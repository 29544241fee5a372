"""What must hold exactly: the operator, its losses, the controlled equation, and the law of a step of the linear lane.

Each has a twin that is wrong in one place and must fail.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from engines import events as ev
from engines.runtime import run
from engines.time_series import koopman
from engines.time_series.canvas import LATENTS, SPECTRUM
from engines.time_series.exhibits import KVAE
from engines.time_series.ncde import NeuralCDE, control
from engines.time_series.train import RECIPES
from engines.worlds import series

K = 6


def turning(seed: int = 0, modulus: float = 0.95) -> torch.Tensor:
    """A (K, K) float64 with three pairs of eigenvalues of this modulus."""
    draw = np.random.default_rng(seed)
    A = np.zeros((K, K))
    for i, angle in enumerate((0.3, 0.7, 1.9)):
        A[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = modulus * np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    basis = draw.standard_normal((K, K))
    return torch.from_numpy(np.linalg.inv(basis) @ A @ basis)


def rolled(A: torch.Tensor, rows: int = 32, steps: int = 20) -> torch.Tensor:
    z = [torch.from_numpy(np.random.default_rng(1).standard_normal((rows, K)))]
    for _ in range(steps - 1):
        z.append(z[-1] @ A)
    return torch.stack(z, dim=1)


def test_the_operator_of_walks_that_a_matrix_made_is_that_matrix():
    A = turning()
    z = rolled(A)
    found = koopman.operator(z)
    assert torch.allclose(found, A, atol=1e-5)
    assert float(koopman.prediction_loss(z, found, steps=3)) < 1e-8 and koopman.residual(z, found) < 1e-9
    assert np.allclose(abs(koopman.spectrum(found)[0]), 0.95, atol=1e-5)
    assert float(koopman.circle_loss(found)) == pytest.approx(0.05**2, rel=1e-3)
    # twins: columns for rows, and another matrix
    assert not torch.allclose(koopman.operator(z.flip(1)), A, atol=1e-2)
    assert float(koopman.prediction_loss(z, A.T)) > 1e-5


def test_qr_and_pseudo_inverse_agree_and_the_order_of_series_means_nothing():
    z = torch.from_numpy(np.random.default_rng(2).standard_normal((16, 9, K)))
    by_pinv = torch.linalg.pinv(z[:, :-1].reshape(-1, K)) @ z[:, 1:].reshape(-1, K)
    assert torch.allclose(koopman.operator(z), by_pinv, atol=1e-6)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(koopman.operator(z[order]), koopman.operator(z), atol=1e-9)
    assert not torch.allclose(koopman.operator(z[:, order[order < 9]]), by_pinv, atol=1e-3), "the order of steps does"


def test_a_direction_that_no_walk_uses_breaks_nothing():
    z = rolled(turning())
    z[..., 3] = 0
    assert torch.isfinite(koopman.operator(z)).all()
    assert not torch.isfinite(koopman.operator(z, ridge=0.0)).all()


def test_an_eigenvalue_says_what_becomes_of_its_coordinate():
    A = turning()
    z = rolled(A).numpy()
    values, vectors = koopman.spectrum(A)
    y = z @ vectors
    assert np.allclose(y[:, 1:], y[:, :-1] * values)
    assert not np.allclose(y[:, 1:], y[:, :-1] * values.conj())


def test_kl_of_a_law_from_itself_is_nothing_and_else_is_the_integral():
    mean, logvar = torch.tensor([0.3, -1.0]), torch.tensor([0.2, -0.7])
    assert torch.equal(koopman.kl(mean, logvar, mean, logvar), torch.zeros(2))
    p, q = stats.norm(0.5, np.exp(0.05)), stats.norm(0.3, np.exp(0.1))
    x = np.linspace(-8, 8, 200_001)
    integral = float(np.sum(q.pdf(x) * (q.logpdf(x) - p.logpdf(x))) * (x[1] - x[0]))
    ours = koopman.kl(torch.tensor(0.3), torch.tensor(0.2), torch.tensor(0.5), torch.tensor(0.1))
    assert float(ours) == pytest.approx(integral, abs=1e-5)
    other = koopman.kl(torch.tensor(0.5), torch.tensor(0.1), torch.tensor(0.3), torch.tensor(0.2))
    assert float(other) != pytest.approx(integral, abs=1e-4), "the other way round it is another number"


def test_a_constant_field_carries_the_control_to_its_end():
    """With f constant the solution is h(0) + f (X(t) - X(0)), and the 3/8 rule integrates a cubic's slope exactly."""
    x = series.pendulum(range(4), 12)
    seen = series.holes(range(4), 12, 0.5)
    start, slope = (torch.from_numpy(part) for part in control(x, seen))
    net = NeuralCDE(2, 5, 1).double()
    f = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def walk(field: torch.Tensor, dx: torch.Tensor) -> torch.Tensor:
        net.slope = lambda h, d: d @ field.T
        caught = []
        net.out.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        net(start, dx)
        return caught[-1]

    h = walk(f, slope)
    measured = torch.from_numpy(x) - start[:, None]
    for row in range(4):
        for t in np.flatnonzero(seen[row]):
            assert torch.allclose(h[row, t] - h[row, 0], measured[row, t] @ f.T, atol=1e-9)
    late = torch.roll(slope, 1, dims=1)
    assert not torch.allclose(walk(f, late)[0, -1], h[0, -1], atol=1e-3)


def test_what_was_not_measured_is_never_read():
    x, seen = series.pendulum(range(3), 24), series.holes(range(3), 24, 0.7)
    spoilt = np.where(seen[..., None], x, 99.0)
    assert all(np.array_equal(a, b) for a, b in zip(control(x, seen), control(spoilt, seen)))
    spoilt[0, np.flatnonzero(seen[0])[0]] = 0
    assert not np.array_equal(control(x, seen)[1], control(spoilt, seen)[1])


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(3)
    built = {name: recipe.build().eval().requires_grad_(False) for name, recipe in RECIPES.items()}
    # A network as it is born hardly lets its latents move: wider means give the matrix something to find.
    for net in built.values():
        net.mean.weight.mul_(8.0)
    return lambda name: built[name].session()


def lane(nets, name: str, **settings):
    """The latents (R, T, k) and eigenvalues (k,) of a run."""
    events = list(run(KVAE, {"samples": 64, "steps": 24, "previews": False, **settings}, 5, lanes=[name], nets=nets))
    shape = events[0].canvases[0]
    z = np.zeros((shape["rows"] * shape["shape"][0], shape["shape"][1]))
    for e in events:
        if isinstance(e, ev.Commit) and e.canvas in (None, LATENTS):
            z[ev.expand(e.cells)] = e.values
    points = next(e for e in events if isinstance(e, ev.Commit) and e.canvas == SPECTRUM).values
    return z.reshape(shape["rows"], *shape["shape"]), np.array(points) @ [1, 1j]


def test_without_chance_the_walk_itself_has_the_drawn_spectrum(nets):
    """So the drawn eigenvalues are those of the matrix that moves the latents, not of a table."""
    z, drawn = lane(nets, "linear", noise=0.0, steps=12)
    own = np.sort(abs(koopman.spectrum(koopman.operator(torch.from_numpy(z[:, :3])))[0]))
    assert np.allclose(own[-4:], np.sort(abs(drawn))[-4:], atol=0.02)
    other, _ = lane(nets, "gru", noise=0.0, steps=12)
    own = np.sort(abs(koopman.spectrum(koopman.operator(torch.from_numpy(other[:, :3])))[0]))
    assert not np.allclose(own[-4:], np.sort(abs(drawn))[-4:], atol=0.02)


def test_a_step_adds_normal_noise_as_wide_as_what_the_fit_left_over(nets):
    """Halving the setting must halve it: the same numbers, half as far from where the matrix alone leads."""
    full, _ = lane(nets, "linear")
    half, _ = lane(nets, "linear", noise=0.5)
    none, _ = lane(nets, "linear", noise=0.0)
    first = (full - none)[:, 1]
    assert np.allclose((half - none)[:, 1], first / 2, atol=2e-4)
    covariance = first.T @ first / len(first)
    white = first @ np.linalg.inv(np.linalg.cholesky(covariance + 1e-9 * np.eye(len(covariance)))).T
    assert stats.kstest(white.ravel(), "norm").pvalue > 1e-3
    assert stats.kstest(np.abs(white.ravel()), "norm").pvalue < 1e-6
