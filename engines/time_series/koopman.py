"""The Koopman operator of a set of latent walks, its spectrum, and the losses made of them.

Source: Naiman et al., arXiv 2310.02619, and the official code (azencot-group/KoVAE, 0d3e22f). Symbols: z (B, T, k)
walks as rows, Z_past = z[:, :-1], Z_fut = z[:, 1:], A (k, k) the operator, λ its eigenvalues. Rows are states, so a
step is z_t A, and for A v = λ v the number y_t = z_t v obeys y_{t+1} = λ y_t: an eigenvalue says what becomes of one
coordinate. |λ| < 1 dies away, |λ| = 1 goes on, the angle of λ is how far it turns in a step.

A is never a parameter: it is solved from walks each time, and gradients flow through the solution.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Added to the squared length of every direction of Z_past, relative to its mean: a direction that no walk uses would
# otherwise make the triangular solve divide by zero. The official code has none.
RIDGE = 1e-7
# An eigenvalue this far off the positive real axis, in radians, turns.
TURNS, MATTERS = 0.02, 0.3


def operator(z: Tensor, ridge: float = RIDGE) -> Tensor:
    """A (k, k) that minimises ‖Z_past A - Z_fut‖_F over all rows and steps of z (B, T, k), by QR. ridge 0: official."""
    k = z.shape[-1]
    past, future = z[:, :-1].reshape(-1, k), z[:, 1:].reshape(-1, k)
    if ridge:
        floor = (ridge * past.detach().square().sum() / k).sqrt()
        past = torch.cat([past, floor * torch.eye(k, dtype=z.dtype, device=z.device)])
        future = torch.cat([future, torch.zeros(k, k, dtype=z.dtype, device=z.device)])
    q, r = torch.linalg.qr(past)
    return torch.linalg.solve_triangular(r, q.T @ future, upper=True)


def residual(z: Tensor, A: Tensor) -> float:
    """‖Z_past A - Z_fut‖² / ‖Z_fut - mean‖²: the share of the steps' variance that one matrix does not explain.

    Relative, because the bare error can be lowered by walking less instead of more linearly.
    """
    future = z[:, 1:]
    return float((z[:, :-1] @ A - future).square().sum() / (future - future.mean((0, 1))).square().sum())


def left_over(z: Tensor, A: Tensor) -> np.ndarray:
    """(k, k) float64 lower triangular L with L Lᵀ = the covariance of Z_fut - Z_past A: what a step adds by chance."""
    e = (z[:, 1:] - z[:, :-1] @ A).reshape(-1, z.shape[-1]).double()
    return _root(e.T @ e / len(e))


def start(z: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Where walks begin: the mean μ_1 (k,) float64 of z_1, and L_1 (k, k) with L_1 L_1ᵀ = its covariance."""
    first = z[:, 0].double()
    mean = first.mean(0)
    return mean.numpy(), _root((first - mean).T @ (first - mean) / len(first))


def _root(covariance: Tensor) -> np.ndarray:
    return np.linalg.cholesky(covariance.numpy() + 1e-12 * np.eye(len(covariance)))


def spectrum(A: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """λ (k,) and v (k, k) complex128, column i belonging to λ_i; largest modulus first, a pair's upper half first."""
    values, vectors = np.linalg.eig(A.detach().double().numpy())
    order = sorted(range(len(values)), key=lambda i: (-round(float(abs(values[i])), 9), -values[i].imag))
    return values[order], vectors[:, order]


def foremost(values: np.ndarray) -> complex:
    """The eigenvalue that tells what becomes of a swing: the largest that turns, else the largest. Below MATTERS a
    coordinate is gone within a few steps, whether it turns or not."""
    turning = values[(values.imag > 0) & (np.abs(np.angle(values)) > TURNS) & (np.abs(values) > MATTERS)]
    return complex(turning[0] if len(turning) else values[0])


def off_circle(A: Tensor) -> float:
    """Mean distance of the eigenvalues from the unit circle, | |λ| - 1 |."""
    return float(np.abs(np.abs(spectrum(A)[0]) - 1).mean())


def prediction_loss(z: Tensor, A: Tensor, steps: int = 1) -> Tensor:
    """Σ_j MSE(Z_past A^j, z shifted by j) / ‖Z_past A^j‖_F, as the official code has it: note the division."""
    ahead, total = z[:, :-1], torch.zeros((), dtype=z.dtype, device=z.device)
    for j in range(1, steps + 1):
        ahead = (ahead if j == 1 else ahead[:, :-1]) @ A
        total = total + F.mse_loss(ahead, z[:, j:]) / ahead.norm()
    return total


def circle_loss(A: Tensor, largest: int | None = None) -> Tensor:
    """MSE of |λ| to 1, over all eigenvalues or the `largest` of them (official `eig_loss`, modes 4 and 2, 3)."""
    modulus = torch.linalg.eigvals(A).abs()
    if largest is not None:
        modulus = modulus.sort().values[-largest:]
    return F.mse_loss(modulus, torch.ones_like(modulus))


def kl(mean_q: Tensor, logvar_q: Tensor, mean_p: Tensor, logvar_p: Tensor) -> Tensor:
    """KL(q ‖ p) of diagonal Gaussians, in nats, entry by entry: ½[lp - lq + (e^lq + (μq - μp)²) / e^lp - 1]."""
    return 0.5 * (logvar_p - logvar_q + (logvar_q.exp() + (mean_q - mean_p).square()) / logvar_p.exp() - 1)
