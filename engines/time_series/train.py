"""Recipes: one network for each prior, one with its eigenvalues held on the unit circle, three that read holes.

All see the same swings of the pendulum, the same number of them, and have the same number of parameters (within 5 %).
The loss is the official one but for w_kl (below): w_rec Σ(x - x̂)² / B + w_kl Σ KL(q ‖ p) / B + w_pred · (`koopman.
prediction_loss`). What differs by prior is p, and so what A is solved from:

- gru, as the official code: p is one walk of the prior's own, drawn without a look at x; A from that walk.
- linear: p(z_t | z_{t-1}) = N(z_{t-1} A, σ²) at the posterior's own z_{t-1}; A from the posterior's samples. The
  penalty has nothing to add, because this prior is linear by construction.
- independent: p = N(0, I), no A.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from engines.time_series import koopman
from engines.time_series.model import LENGTH, PRIORS, Network
from engines.time_series.ncde import control
from engines.training import Recipe
from engines.worlds import series

# One layer where the official code has three: on a CPU the time goes into steps of a recurrence, not into width.
CHANNELS, LATENT, LAYERS = 2, 16, 1
BATCH, CHUNK = 64, 1_024
# Widths at which the networks have equally many parameters.
WIDTH = {"gru": 40, "linear": 47, "independent": 47}
WIDTH_HOLES = 36
# The official w_kl is tuned for each data set (.007 for sines, .1 for series with holes). At .0007 no prior here learns
# where its walks begin or how far they swing.
W_KL, W_PRED, W_CIRCLE = 0.003, 0.005, 50.0
HOLES = (30, 50, 70)
JUDGED = 512
Loss = tuple[Tensor, float]


def batches(part: int) -> Iterator[tuple[Tensor, ...]]:
    """Part 0, 1, … of the training series: (x (b, T, c),)."""
    begin = series.TRAIN.start + part * CHUNK % (len(series.TRAIN) - CHUNK)
    x = torch.from_numpy(series.pendulum(range(begin, begin + CHUNK), LENGTH)).float()
    return ((rows,) for rows in x.split(BATCH))


def batches_with_holes(share: float, part: int) -> Iterator[tuple[Tensor, ...]]:
    """The same series with holes: x, where it was measured (b, T, 1), X(0), dX. x itself enters the loss only."""
    begin = series.TRAIN.start + part * CHUNK % (len(series.TRAIN) - CHUNK)
    for first in range(begin, begin + CHUNK, BATCH):
        yield with_holes(range(first, first + BATCH), share)


def with_holes(seeds: range, share: float) -> tuple[Tensor, ...]:
    x, seen = series.pendulum(seeds, LENGTH), series.holes(seeds, LENGTH, share)
    start, slope = control(x, seen)
    return tuple(torch.from_numpy(part).float() for part in (x, seen[..., None].astype(np.float32), start, slope))


def prior_of(network: Network, z: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """μ and log σ² (B, T, k) of p, the walk that A is solved from (None: no dynamics), and A (or an empty tensor)."""
    if network.prior == "independent":
        return torch.zeros_like(z), torch.zeros_like(z), None, z.new_empty(0)
    if network.prior == "gru":
        mean, logvar, walk = network.walk(noise)
        return mean, logvar, walk, koopman.operator(walk)
    A = koopman.operator(z)
    mean = torch.cat([torch.zeros_like(z[:, :1]), z[:, :-1] @ A], dim=1)
    logvar = torch.cat([torch.zeros_like(z[:, :1]), network.step_logvar.expand_as(z[:, 1:])], dim=1)
    return mean, logvar, z, A


def loss(network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator, circle: float = 0.0) -> Loss:
    """The weighted sum of the module's docstring, for a batch of `batches` or `batches_with_holes`."""
    assert isinstance(network, Network)
    x, inputs = batch[0], batch[2:] or batch
    seen = batch[1] if len(batch) > 1 else torch.ones_like(x)
    mean, logvar = network.posterior(*inputs)
    own, other = (torch.randn(mean.shape, generator=generator).to(mean.device) for _ in range(2))
    z = mean + own * (logvar / 2).exp()
    rows = len(x)
    # With holes fewer values are compared; the sum is scaled up so that w_kl means the same.
    total = ((x - network.decode(z)).square() * seen).sum() / rows / seen.mean()
    prior_mean, prior_logvar, walk, A = prior_of(network, z, other)
    total = total + W_KL * koopman.kl(mean, logvar, prior_mean, prior_logvar).sum() / rows
    if network.prior == "gru" and walk is not None:
        total = total + W_PRED * koopman.prediction_loss(walk, A)
    if circle:
        total = total + circle * koopman.circle_loss(A)
    return total, rows / BATCH


@torch.no_grad()
def judge(network: nn.Module, share: float = 0.0) -> dict[str, float]:
    """On held-out series: root mean square error of the reconstruction, nats of KL a series, and of A its residual and
    the mean distance of its eigenvalues from the circle."""
    assert isinstance(network, Network)
    seeds = range(series.VALIDATION.start, series.VALIDATION.start + JUDGED)
    if share:
        x, _, *inputs = with_holes(seeds, share)
    else:
        x = torch.from_numpy(series.pendulum(seeds, LENGTH)).float()
        inputs = [x]
    generator = torch.Generator().manual_seed(1)
    mean, logvar = network.posterior(*inputs)
    own, other = (torch.randn(mean.shape, generator=generator) for _ in range(2))
    z = mean + own * (logvar / 2).exp()
    prior_mean, prior_logvar, walk, A = prior_of(network, z, other)
    out = {"rmse": float((x - network.decode(z)).square().mean().sqrt()),
           "kl": float(koopman.kl(mean, logvar, prior_mean, prior_logvar).sum() / len(x))}
    if walk is not None:
        out |= {"residual": koopman.residual(walk, A), "off_circle": koopman.off_circle(A)}
    return out


def build(prior: str, holes: bool = False) -> Network:
    return Network(CHANNELS, LATENT, WIDTH_HOLES if holes else WIDTH[prior], LAYERS, PRIORS.index(prior), int(holes))


def recipe(name: str, prior: str, *, circle: float = 0.0, share: float = 0.0) -> Recipe:
    # Averaging takes half of what a step adds after some 350 steps: the runs are short.
    return Recipe(
        f"time_series/{name}", partial(build, prior, bool(share)),
        partial(batches_with_holes, share) if share else batches, partial(loss, circle=circle),
        partial(judge, share=share), steps=3_000, learning_rate=5e-3, weight_decay=0.0, average=0.995,
    )


RECIPES: dict[str, Recipe] = {
    r.name: r
    for r in (
        recipe("linear", "linear"),
        recipe("circle", "linear", circle=W_CIRCLE),
        recipe("gru", "gru"),
        recipe("independent", "independent"),
        *(recipe(f"holes-{share}", "linear", share=share / 100) for share in HOLES),
    )
}
