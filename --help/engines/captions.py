"""How a caption conditions every picture network: one token an object, and each place knows its own cell.

A caption is (4, 4) int64: up to four objects, each (cell 0-8, shape, colour, size), absent ones -1; see
`worlds.scenes`. Official class-conditional networks take one class embedding in front; ours take these four tokens,
and each place of the canvas is given the embedding of the cell that it covers, because with one summed vector a small
network spends its training on finding out where things go.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OBJECTS, CELLS, SHAPES, COLOURS, SIZES = 4, 9, 4, 8, 2
SIDE = 3


class ObjectTokens(nn.Module):
    """Captions -> (prefix (B, 4, d), cells (B, 9, d)); the null caption is learned, for classifier-free guidance."""

    def __init__(self, width: int):
        super().__init__()
        self.cell = nn.Parameter(torch.randn(CELLS, width) * 0.1)
        self.shape = nn.Parameter(torch.randn(SHAPES, width) * 0.1)
        self.colour = nn.Parameter(torch.randn(COLOURS, width) * 0.1)
        self.size = nn.Parameter(torch.randn(SIZES, width) * 0.1)
        # Rows: no such object; nothing in this cell; null caption in front; null caption in a cell.
        self.special = nn.Parameter(torch.randn(4, width) * 0.1)

    def forward(self, objects: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """objects (B, 4, 4) int64; keep (B,) bool: rows that keep their caption, all if not given."""
        cell, shape, colour, size = objects.clamp_min(0).unbind(-1)
        there = (objects[..., 0] >= 0)[..., None]
        thing = F.embedding(shape, self.shape) + F.embedding(colour, self.colour) + F.embedding(size, self.size)
        none, empty, null, null_cell = self.special
        prefix = torch.where(there, thing + F.embedding(cell, self.cell), none)
        # Each object is alone in its cell, so a sum over objects is a placement.
        at = F.one_hot(cell, CELLS) * there
        taken = at.any(dim=1)[..., None]
        cells = torch.where(taken, torch.einsum("boc,bod->bcd", at.to(thing.dtype), thing), empty)
        if keep is None:
            return prefix, cells
        kept = keep[:, None, None]
        return torch.where(kept, prefix, null), torch.where(kept, cells, null_cell)


def dropped(rows: int, rate: float, generator: torch.Generator) -> Tensor:
    """(rows,) bool: which captions a training step keeps; each is dropped with probability `rate`."""
    return torch.rand(rows, generator=generator) >= rate


@cache
def cover(high: int, wide: int) -> Tensor:
    """(high · wide, 9): the share of each of the 3 x 3 cells under each place of a canvas; rows sum to 1."""

    def axis(n: int) -> Tensor:
        # On the CPU even where a network is built on `meta`: the result is kept for all.
        low = torch.arange(n, dtype=torch.float64, device="cpu")[:, None] / n
        cell = torch.arange(SIDE, dtype=torch.float64, device="cpu") / SIDE
        overlap = torch.minimum(low + 1 / n, cell + 1 / SIDE) - torch.maximum(low, cell)
        return overlap.clamp_min(0) * n

    return torch.einsum("ri,cj->rcij", axis(high), axis(wide)).reshape(high * wide, CELLS).float()
