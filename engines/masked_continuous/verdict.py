"""May a drafted continuous token stay? Speculative sampling where a draft and a target are chains of normal steps.

Source: Wang et al., arXiv 2411.11925 (CSpD), and its official code. Symbols: q draft, p target, C channels; both chains
use the same noises, x_0 is the drafted token, p(x_0) and q(x_0) the normal laws of the last step, each given where its
own chain stood before it; Σ = Π of σ_q / σ_p over all steps but the last and all channels; T the inner temperature.

A token stays with chance min(1, Σ p(x_0) / q(x_0)). Otherwise one is drawn from what is left over, max(0, Σp - q),
by rejection: x ~ p stays with chance 1 - q(x) / (Σ p(x)). All of it in logarithms: products of many small numbers.

With Σ = 1 and T = 1 ("exact") the law is p's: given the noises of the steps before, p(x_0) and q(x_0) are two plain
densities, so this is ordinary speculative sampling, whatever the noises are. Σ as the paper's derivation has it
("paper"), or turned round as its code has it ("code"), is not: the leftover no longer holds what was refused. That is
measured in cspd_claims.py and tests/exact; it is our finding, not the paper's.
Differs: the official sampler adds no noise in the last step, so a draft would sit on its own mean always and not be a
sample of q; here it is drawn. Tries are at most TRIES (official: 100, after which a token of zeros stays).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engines.masked_continuous.diffloss import Walk
from engines.noise import Noise

# A leftover is met in one of 1 / (1 - A) proposals, A the chance to stay. A token is refused and all proposals fail in
# less than (1 - A) · A^TRIES < 1 / (e · TRIES) = 4 of 10,000 cases; then the last proposal, a draw from p, is taken.
TRIES, AT_ONCE = 1_000, 20
SIGMAS = {"exact": 0.0, "paper": 1.0, "code": -1.0}
RESIDUAL, LEFT = "residual", "residual accept"


@dataclass(frozen=True)
class Check:
    """How drafts are judged. sigma: a name of SIGMAS. T: the official 42 makes nearly every draft stay; exact is 1."""

    sigma: str = "exact"
    T: float = 1.0

    @property
    def exact(self) -> bool:
        return self.sigma == "exact" and self.T == 1


EXACT = Check()


class Verdict(NamedTuple):
    """Of n tokens: min(1, ratio), the number drawn, whether the draft stays, the token (n, C) that stands, proposals
    that were needed for it (0 for drafts that stay), and whether they all failed."""

    ratio: np.ndarray
    u: np.ndarray
    stays: np.ndarray
    tokens: Tensor
    tries: np.ndarray
    failed: np.ndarray


def gap(walk: Walk, x: Tensor) -> Tensor:
    """x (…, n, C) from the mean of the last step, in standard deviations."""
    return (x - walk.mean) / walk.log_sd.exp()


def log_p(walk: Walk, x: Tensor) -> Tensor:
    """log density of x (…, n, C) under the last step, but for the constant (2π)^(-C/2): (…, n)."""
    return (-0.5 * gap(walk, x).square() - walk.log_sd).sum(-1)


def log_sigma(p: Walk, q: Walk, check: Check) -> Tensor:
    """log Σ (n,), 0 where the law is kept."""
    return SIGMAS[check.sigma] * (q.spread - p.spread).sum(-1)


def log_ratio(p: Walk, q: Walk, x: Tensor, check: Check = EXACT) -> Tensor:
    """log of what a draft x (n, C) stays with, before min(1, ·). T divides the exponents only, as officially."""
    exponents = 0.5 * (gap(q, x).square() - gap(p, x).square()) / check.T**2
    return log_sigma(p, q, check) + (exponents + q.log_sd - p.log_sd).sum(-1)


def leftover(p: Walk, q: Walk, x: Tensor, check: Check = EXACT) -> Tensor:
    """max(0, 1 - q(x) / (Σ p(x))) of proposals x (…, n, C) from p. T plays no part, as officially."""
    return 1 - (log_p(q, x) - log_p(p, x) - log_sigma(p, q, check)).clamp(max=0).exp()


def some(walk: Walk, rows: Sequence[int]) -> Walk:
    """The same of these rows."""
    i = torch.as_tensor(rows, dtype=torch.long)
    return Walk(walk.x[:, i], walk.mean[i], walk.log_sd[i], walk.spread[i])


def last(walk: Walk, noise: Tensor) -> Tensor:
    """The tokens (n, C): the last step, with its noise (n, C)."""
    return walk.mean + walk.log_sd.exp() * noise


def judge(noise: Noise, cells: list[int], x: Tensor, p: Walk, q: Walk, check: Check = EXACT) -> Verdict:
    """Keep or redraw drafts x (n, C) at these cells, each by itself. Streams: accept, residual, residual accept."""
    ratio = log_ratio(p, q, x, check).clamp(max=0).exp().double().numpy()
    verdicts = noise.accept(cells, ratio)
    stays = np.array([yes for _, yes in verdicts], dtype=bool)
    tokens, tries, failed = x.clone(), np.zeros(len(cells), dtype=int), np.zeros(len(cells), dtype=bool)
    again = np.flatnonzero(~stays)
    if len(again):
        tokens[again], tries[again], failed[again] = redraw(
            noise, [cells[i] for i in again], some(p, again.tolist()), some(q, again.tolist()), check)
    return Verdict(ratio, np.array([u for u, _ in verdicts]), stays, tokens, tries, failed)


def redraw(noise: Noise, cells: list[int], p: Walk, q: Walk, check: Check) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """(tokens (n, C), proposals needed (n,), failed (n,)) from the leftover of each cell, at most TRIES proposals."""
    n, C = p.mean.shape
    tokens, tries, open_ = torch.empty(n, C), np.full(n, TRIES), np.arange(n)
    for turn in range(TRIES // AT_ONCE):
        own = [cells[i] for i in open_]
        z = torch.from_numpy(noise.normal(RESIDUAL, own, (AT_ONCE, C))).float().transpose(0, 1)
        u = torch.from_numpy(noise.uniform(LEFT, own, (AT_ONCE,))).float().T
        here, there = some(p, open_.tolist()), some(q, open_.tolist())
        proposals = last(here, z)
        fits = (u < leftover(here, there, proposals, check)).numpy()
        first = np.where(fits.any(0), fits.argmax(0), AT_ONCE - 1)
        tokens[open_] = proposals[first, range(len(open_))]
        done = fits.any(0)
        tries[open_[done]] = turn * AT_ONCE + first[done] + 1
        open_ = open_[~done]
        if not len(open_):
            break
    failed = np.zeros(n, dtype=bool)
    failed[open_] = True
    return tokens, tries, failed
