"""Many pictures at once, without events: what judges and claims use. The lanes draw the same codes, one picture each.

Both go through the networks' own sessions, so the cache, the guidance pair and the keyed numbers are those of the
lanes: a picture of a batch is, code for code, the one that its seed gives on the page (a test compares them).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines.noise import Noise
from engines.raster.guidance import Rule, guide, law
from engines.raster.neighbours import Neighbours, mix

ROWS = 64
# (cells (B, T), p (B, T, V)) -> codes (B, T).
Pick = Callable[[Tensor, np.ndarray], Tensor]


def schedule(cells: int, steps: int) -> list[int]:
    """How many codes each step draws: RandAR's cosine, at least one, all cells in exactly `steps` steps.

    After step k (from 0) min(N, floor((1 - cos(pi/2 (k + 1) / S)) N + 1)) codes are known; the first step draws one.
    Differs: with S = 1 the official loop takes a second step; here all is drawn at once.
    """
    if steps == 1:
        return [cells]
    counts, known = [1], 1
    for k in range(1, steps):
        target = min(cells, int((1 - cos(pi / 2 * (k + 1) / steps)) * cells + 1))
        counts.append(min(max(target - known, 1), cells - known))
        known += counts[-1]
    return [c for c in counts if c]


def keyed(seeds: Sequence[int]) -> Pick:
    """Draws as the lanes do: row b by the numbers of seeds[b], stream `token`, one for each cell."""
    noises = [Noise(seed) for seed in seeds]

    def pick(cells: Tensor, p: np.ndarray) -> Tensor:
        return torch.tensor([
            [d.index for d in noise.draw("token", row, law_)]
            for noise, row, law_ in zip(noises, cells.tolist(), p, strict=True)
        ])

    return pick


def in_raster(
    session: Any, objects: Tensor, pick: Pick, rule: Rule, cells: int = 64, known: Tensor | None = None
) -> Tensor:
    """Codes (B, N) of these captions, painted row by row; known (B, m): codes of the first m cells."""
    values = torch.zeros(len(objects), 0, dtype=torch.long) if known is None else known
    for cell in range(values.shape[1], cells):
        z = session(objects, values, rule.guided)
        p = law(guide(z, rule, cell, cells), rule)
        values = torch.cat([values, pick(torch.full((len(objects), 1), cell), p)], dim=1)
    return values


def in_diagonals(session: Any, objects: Tensor, pick: Pick, rule: Rule, share: float = 0.5) -> Tensor:
    """Codes (B, N) by cell of these captions, a diagonal a call; share: how much the left neighbour counts."""
    network = session.network
    values = torch.zeros(len(objects), 0, dtype=torch.long)
    for group in network.groups:
        z = mix(session(objects, values, rule.guided), share)
        # Guidance over an interval ends one code sooner in the official code than LlamaGen's.
        p = law(guide(z, rule, values.shape[1] + 1, network.cells), rule)
        values = torch.cat([values, pick(torch.tensor([group]).expand(len(objects), -1), p)], dim=1)
    return torch.empty_like(values).scatter(1, network.order.expand(len(objects), -1), values)


def in_order(
    session: Any, objects: Tensor, order: Tensor, pick: Pick, rule: Rule, counts: Sequence[int],
    known: Tensor | None = None,
) -> Tensor:
    """Codes (B, N) by cell, painted in order (B, N), counts[k] at step k; known (B, m): codes of its first m cells."""
    values = torch.zeros(len(objects), 0, dtype=torch.long) if known is None else known
    cells = order.shape[1]
    for count in counts:
        done = values.shape[1]
        targets = order[:, done : done + count]
        z = session(objects, order[:, :done], values, targets, rule.guided)
        p = law(guide(z, rule, done, cells), rule)
        values = torch.cat([values, pick(targets, p)], dim=1)
    return torch.empty_like(values).scatter(1, order, values)


def paint(
    network: Any, objects: Tensor, seeds: Sequence[int], rule: Rule,
    order: Callable[[int], Sequence[int]] | None = None, steps: int = 64,
    ask: Callable[[], None] = lambda: None, share: float = 0.5, known: Tensor | None = None,
) -> Tensor:
    """Codes (n, 64) of n captions (n, 4, 4), picture i by the numbers of seeds[i]; ROWS pictures at a time.

    order: seed -> cells; None for networks that know one order only. share: as in `in_diagonals`. known: the first
    codes of each picture, for a network in rows.
    """
    session = network.session(min(len(seeds), ROWS) * (2 if rule.guided else 1))
    out = []
    for start in range(0, len(seeds), ROWS):
        ask()
        own = list(seeds[start : start + ROWS])
        captions, pick = objects[start : start + ROWS], keyed(own)
        if isinstance(network, Neighbours):
            out.append(in_diagonals(session, captions, pick, rule, share))
        elif order is None:
            given = None if known is None else known[start : start + ROWS]
            out.append(in_raster(session, captions, pick, rule, known=given))
        else:
            cells = torch.tensor([list(order(seed)) for seed in own])
            out.append(in_order(session, captions, cells, pick, rule, schedule(cells.shape[1], steps)))
    return torch.cat(out)
