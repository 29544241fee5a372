"""The four training losses of absorbing diffusion, which are one: the any-order log-likelihood bound.

Source: Ou et al., arXiv 2406.03736 (RADD), sections 2 and 3, and SEDD's score entropy (2310.16834). Symbols: x_0 a
page (B, d) of words, x_t the same with some words masked, M the masked cells, l_i = -log q(x_0^i | x_t) there;
sigma_bar(t) = -log(1 - (1 - eps) t) the log-linear noise, sigma its slope, r = 1 / (e^sigma_bar - 1), which is
p(clean) / p([M]).

  t-DSE  sigma · sum_M [ sum_v s_v - r log s_{x_0} + r (log r - 1) ]   s a score: for RADD s_v = r q(v)
  t-DCE  sigma · r · sum_M l_i                                         sigma · r = 1/t
  l-DCE  (1 / lambda) · sum_M l_i                                      each cell masked with chance lambda
  AO     (d / k) · sum_M l_i                                           exactly k cells masked

All are nats a page, and equal in expectation (theorem 2) up to the eps that t leaves out at both ends. The official
t-DCE keeps -r log r of the score in its value: `score_offset` is that constant. Draws are arguments, so that recorded
ones can be handed in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPS = 1e-3


def log_linear(t: Tensor) -> tuple[Tensor, Tensor]:
    """(sigma_bar, sigma) at times t in (0, 1]."""
    return -torch.log1p(-(1 - EPS) * t), (1 - EPS) / (1 - (1 - EPS) * t)


def even_times(u: Tensor, rows: int) -> Tensor:
    """Times of a batch from one number u in [0, 1): spread evenly around the circle, then onto [EPS, 1]."""
    return (1 - EPS) * ((u + torch.arange(rows, dtype=torch.float32, device=u.device) / rows) % 1) + EPS


def masked_by(x_0: Tensor, chance: Tensor, u: Tensor, mask: int) -> Tensor:
    """x_t: each cell hidden where its number u (B, d) falls below the row's chance (B,)."""
    return torch.where(u < chance[:, None], mask, x_0)


def masked_exactly(x_0: Tensor, k: Tensor, u: Tensor, mask: int) -> Tensor:
    """x_t: the k (B,) cells with the smallest numbers u (B, d) are hidden."""
    return torch.where(u.argsort(1).argsort(1) < k[:, None], mask, x_0)


def misses(log_q: Tensor, x_0: Tensor, x_t: Tensor, mask: int) -> Tensor:
    """l_i (B, d): -log q of the true word where hidden, 0 elsewhere. log_q (B, d, V)."""
    picked = log_q.gather(-1, x_0[..., None])[..., 0]
    return torch.where(x_t == mask, -picked, 0.0)


def t_dse(log_score: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor, mask: int) -> Tensor:
    """(B,) score entropy, weighted by sigma. log_score (B, d, V): log s_v of every hidden cell."""
    sigma_bar, sigma = (a[:, None] for a in log_linear(t))
    r = 1 / torch.expm1(sigma_bar)
    entropy = log_score.exp().sum(-1) - r * log_score.gather(-1, x_0[..., None])[..., 0] + r * (r.log() - 1)
    return (sigma * torch.where(x_t == mask, entropy, 0.0)).sum(-1)


def radd_score(log_q: Tensor, t: Tensor) -> Tensor:
    """log s_v = log q(v) + log r: theorem 1."""
    return log_q - torch.expm1(log_linear(t)[0]).log()[:, None, None]


def sedd_score(out: Tensor, t: Tensor) -> Tensor:
    """log s_v (B, d, V) of a SEDD network's raw outputs (B, d, V + 1), scaled by sigma as officially."""
    return out[..., :-1] - torch.expm1(log_linear(t)[0]).log()[:, None, None] - math.log(out.shape[-1] - 1)


def t_dce(l: Tensor, t: Tensor) -> Tensor:  # noqa: E741 - the paper's letter
    """(B,)"""
    sigma_bar, sigma = log_linear(t)
    return sigma / torch.expm1(sigma_bar) * l.sum(-1)


def score_offset(x_t: Tensor, t: Tensor, mask: int) -> Tensor:
    """(B,) what the official t-DCE adds: -sigma r log r for every hidden cell."""
    sigma_bar, sigma = log_linear(t)
    r = 1 / torch.expm1(sigma_bar)
    return -sigma * r * r.log() * (x_t == mask).sum(-1)


def lambda_dce(l: Tensor, chance: Tensor) -> Tensor:  # noqa: E741
    """(B,) float64: a chance near 0 is divided by."""
    return l.sum(-1).double() / chance.double()


def ao(l: Tensor, k: Tensor) -> Tensor:  # noqa: E741
    """(B,) the any-order loss."""
    return l.sum(-1) * l.shape[1] / k
