"""Many pictures at once, without events: what judges and claims use. The lanes draw the same tokens one at a time.

Both go through the networks' own sessions and draw the same keyed numbers (streams `order`, `start`, `denoise` of
`mar`; `token`, `confidence` of `maskgit`), so a picture of a batch is the one that its seed gives on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engines.masked_continuous.diffloss import ours
from engines.masked_continuous.model import Mar, Masked, rows_at
from engines.masked_continuous.sets import guidance_at, lengths, sets_of
from engines.noise import Noise
from engines.sampling import softmax

ROWS = 64
ORDER, START, DENOISE, TOKEN, CONFIDENCE = "order", "start", "denoise", "token", "confidence"
APART = "apart "  # before the streams of a target that does not share the noises of the net that guesses for it


@dataclass(frozen=True)
class Rule:
    """How a picture is drawn: K sets, inner steps of each token, guidance w and how it rises, temperatures.

    tau multiplies the noise of the inner steps (mar); gumbel scales the noise on confidence (maskgit); finish is the
    time step of the last inner step (cspd; 0 elsewhere).
    """

    sets: int = 16
    inner: int = 25
    guidance: float = 2.0
    schedule: str = "linear"
    tau: float = 1.0
    gumbel: float = 4.5
    finish: int = 0

    @property
    def pair(self) -> bool:
        return self.guidance != 1


def order_of(noise: Noise, places: int) -> list[int]:
    """The seed's random order of drawing; the paper's permutation, which is consumed from its end, is its reverse."""
    return [int(cell) for cell in noise.uniform(ORDER, list(range(places))).argsort(kind="stable")]


def start_of(noise: Noise, cells: list[int], channels: int, stream: str = "") -> Tensor:
    """(n, C): where the diffusion of each cell starts. stream: a prefix for numbers of another chain."""
    return torch.from_numpy(noise.normal(stream + START, cells, (channels,))).float()


def steps_of(noise: Noise, cells: list[int], inner: int, channels: int, stream: str = "") -> Tensor:
    """(inner, n, C): the noise that is added on the way, in order of use."""
    return torch.from_numpy(noise.normal(stream + DENOISE, cells, (inner, channels))).float().transpose(0, 1)


def guide(logits: Tensor, rule: Rule, hidden: int, places: int) -> Tensor:
    """(2B, L, V), the rows with a caption first -> (B, L, V); without a pair, what came in."""
    if not rule.pair:
        return logits
    captioned, without = logits.chunk(2)
    return torch.lerp(without, captioned, guidance_at(rule.guidance, rule.schedule, hidden, places))


def confidence(p: np.ndarray, u: np.ndarray, gumbel: float, progress: float) -> np.ndarray:
    """log p + gumbel · (1 - progress) · g with g ~ Gumbel(0, 1) made of u in [0, 1). Source: 2202.04200, official code.

    p: what the drawn codes were worth; progress = (s + 1) / K.
    """
    u = np.clip(u, 1e-300, 1 - 1e-16)
    return np.log(np.maximum(p, 1e-300)) - gumbel * (1 - progress) * np.log(-np.log(u))


def paint(
    network: Mar, objects: Tensor, seeds: Sequence[int], rule: Rule = Rule(), ask: Callable[[], None] = lambda: None
) -> Tensor:
    """Latents (n, L, C) of n captions (n, 4, 4), picture i by the numbers of seeds[i], in random orders."""
    parts = []
    for first in range(0, len(seeds), ROWS):
        some = slice(first, first + ROWS)
        parts.append(_some_latents(network, objects[some], [Noise(seed) for seed in seeds[some]], rule, ask))
    return torch.cat(parts)


@torch.inference_mode()
def _some_latents(
    network: Mar, objects: Tensor, noises: list[Noise], rule: Rule, ask: Callable[[], None]
) -> Tensor:
    session, L, C = network.session(), network.length, network.head.channels
    orders = [order_of(noise, L)[::-1] for noise in noises]
    chosen = [sets_of(order, rule.sets) for order in orders]
    latents = torch.zeros(len(noises), L, C)
    for k, hidden in enumerate(lengths(L, rule.sets)):
        ask()
        shown = torch.tensor([sorted(order[: L - sum(map(len, sets[:k]))]) for order, sets in zip(orders, chosen)])
        visible = others(shown, L)
        now = torch.tensor([sorted(sets[k]) for sets in chosen])
        z = session(rows_at(latents, visible), visible, objects, rule.pair, now).flatten(0, 1)
        cells = now.tolist()
        start = torch.cat([start_of(noise, own, C) for noise, own in zip(noises, cells)])
        noise = torch.cat([steps_of(n, own, rule.inner, C) for n, own in zip(noises, cells)], dim=1)
        w = guidance_at(rule.guidance, rule.schedule, hidden, L)
        drawn = session.head(z, start, noise, ours(rule.inner), w, rule.tau)
        latents.scatter_(1, now[..., None].expand(-1, -1, C), drawn.view(len(noises), -1, C))
    return latents


def paint_codes(
    network: Masked, objects: Tensor, seeds: Sequence[int], rule: Rule = Rule(), ask: Callable[[], None] = lambda: None
) -> Tensor:
    """Codes (n, L) of n captions (n, 4, 4), picture i by the numbers of seeds[i], surest codes first."""
    parts = []
    for first in range(0, len(seeds), ROWS):
        some = slice(first, first + ROWS)
        parts.append(_some_codes(network, objects[some], [Noise(seed) for seed in seeds[some]], rule, ask))
    return torch.cat(parts)


@torch.inference_mode()
def _some_codes(
    network: Masked, objects: Tensor, noises: list[Noise], rule: Rule, ask: Callable[[], None]
) -> Tensor:
    session, L = network.session(), network.length
    ids = torch.full((len(noises), L), -1)
    for k, hidden in enumerate(lengths(L, rule.sets)):
        ask()
        visible = torch.stack([(row >= 0).nonzero()[:, 0] for row in ids])
        open_ = others(visible, L)
        z = guide(session(ids.gather(1, visible), visible, objects, rule.pair, open_), rule, hidden, L)
        for row, noise, cells, logits in zip(ids, noises, open_, z):
            codes, _, sure = choose(noise, cells.tolist(), softmax(logits), rule, (k + 1) / rule.sets)
            keep = surest(sure, len(cells) - hidden)
            row[cells[keep]] = torch.tensor(codes)[keep]
    return ids


def choose(
    noise: Noise, cells: list[int], p: np.ndarray, rule: Rule, progress: float
) -> tuple[list[int], list[float], np.ndarray]:
    """A code for each hidden cell, what each was worth, and how sure it is: (codes, p, confidence)."""
    drawn = noise.draw(TOKEN, cells, p)
    worth = [d.p for d in drawn]
    return [d.index for d in drawn], worth, confidence(
        np.array(worth), noise.uniform(CONFIDENCE, cells), rule.gumbel, progress
    )


def surest(sure: np.ndarray, count: int) -> list[int]:
    """Which `count` entries are surest, ascending; of equals the earlier."""
    return sorted(int(i) for i in np.argsort(-sure, kind="stable")[:count])


def others(places: Tensor, total: int) -> Tensor:
    """The places (B, total - N) that are not among places (B, N), ascending."""
    free = torch.ones(len(places), total, dtype=torch.bool).scatter(1, places, False)
    return free.nonzero()[:, 1].view(len(places), -1)
