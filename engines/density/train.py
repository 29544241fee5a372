"""Recipes of the auto-encoders in the plane (1211.4246): four losses, all densities and noise levels at once.

    dae, tied   E_x E_eps ‖r(x + eps) - x‖², eps ~ N(0, sigma² I)
    rcae        E_x ‖r(x) - x‖² + sigma² ‖∂r/∂x‖_F²: the whole reconstruction contracts
    plain       E_x ‖r(x) - x‖²: nothing to remove, so the identity is best

Each is divided by sigma², so that all networks of a bank learn at one pace. Data are drawn anew for every batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from engines.density.model import DAE, NOISE, PLAIN, RCAE, TIED, Bank, Free, Session, Tied
from engines.training import Recipe
from engines.worlds import plane

BATCH = 192
PIECE = 50
JUDGED = 4_000
LEVELS = [round(1000 * s) for s in NOISE]
HIDDEN, TIED_HIDDEN = 128, 256


def batches(part: int, levels: int = len(NOISE)) -> Iterator[Tensor]:
    """Clean points (N, BATCH, 2) for the N networks of a bank; those of one density see the same ones."""
    first = plane.TRAIN.start + part * len(plane.NAMES)
    drawn = [d.sample(first + i, PIECE * BATCH) for i, d in enumerate(plane.DENSITIES.values())]
    points = torch.from_numpy(np.stack(drawn)).float().view(len(drawn), PIECE, BATCH, 2)
    for k in range(PIECE):
        yield points[:, k].repeat_interleave(levels, dim=0)


def denoising(network: nn.Module, x: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """Mean of ‖r(x + eps) - x‖² / sigma² over points and networks."""
    bank = cast(Bank, network)
    eps = torch.randn(x.shape, generator=generator).to(x.device) * bank.sigma
    return ((bank(x + eps) - x) / bank.sigma).square().sum(-1).mean(), 1.0


def contractive(network: nn.Module, x: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """Mean of ‖r(x) - x‖² / sigma² + ‖∂r/∂x‖_F²."""
    bank = cast(Free, network)
    r, jacobian = bank.jacobian(x)
    return (((r - x) / bank.sigma).square().sum(-1) + jacobian.square().sum((-1, -2))).mean(), 1.0


def plainly(network: nn.Module, x: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """Mean of ‖r(x) - x‖² / sigma²."""
    bank = cast(Bank, network)
    return ((bank(x) - x) / bank.sigma).square().sum(-1).mean(), 1.0


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of the angles between vectors (…, 2) -> (…,); 0 where one of them is zero."""
    size = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(-1) / np.maximum(size, 1e-12)


def judge(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """Held-out denoising loss of the network and of the best denoiser r*, both over sigma² and averaged over densities
    and noise levels; `gap` in percent of the latter; `cosine` of its arrows with the true score at sigma 0.2."""
    session = Session(cast(Bank, network))
    own, best, turned = [], [], []
    for i, density in enumerate(plane.DENSITIES.values()):
        x = density.sample(plane.TEST.start + i, count)
        eps = np.random.default_rng(i).standard_normal(x.shape)
        for sigma in NOISE:
            noisy = x + sigma * eps
            own.append(_loss(session(noisy, i, sigma), x, sigma))
            best.append(_loss(density.denoised(noisy, sigma), x, sigma))
            if sigma == 0.2:
                turned.append(cosine(session(noisy, i, sigma) - noisy, density.score(noisy, sigma)).mean())
    loss, exact = float(np.mean(own)), float(np.mean(best))
    return {"loss": loss, "exact": exact, "gap": 100 * (loss / exact - 1), "cosine": float(np.mean(turned))}


def _loss(r: np.ndarray, x: np.ndarray, sigma: float) -> float:
    return float(((r - x) ** 2).sum(-1).mean() / sigma**2)


def _free(levels: list[int]) -> Free:
    return Free(HIDDEN, len(plane.NAMES), levels)


def _tied() -> Tied:
    return Tied(TIED_HIDDEN, len(plane.NAMES), LEVELS)


RECIPES = {
    DAE: Recipe(DAE, partial(_free, LEVELS), batches, denoising, judge, steps=8_000, average=0.995),
    RCAE: Recipe(RCAE, partial(_free, LEVELS), batches, contractive, judge, steps=8_000, average=0.995),
    TIED: Recipe(TIED, _tied, batches, denoising, judge, steps=12_000, average=0.995),
    PLAIN: Recipe(PLAIN, partial(_free, [200]), partial(batches, levels=1), plainly, judge, steps=1_000, average=0.99),
}
