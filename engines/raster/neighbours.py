"""A decoder of picture codes that grows outwards from a corner: all cells as far from it as one another in one call.

Source: NAR (He et al., arXiv 2503.10696). It is LlamaGen's transformer with one head for each direction: after most of
its blocks a first head says which code stands to the RIGHT of an input, and after the last ones a second head says
which stands BELOW it. A cell with a neighbour on its left and one above hears both, and their logits are averaged.

Symbols: δ = h + w the distance of cell (h, w) from the corner, its diagonal; R and B the two heads' logits (the paper's
and the official code's names); ℓ the mixed ones. Those of `model.py` otherwise.
Differs: inputs stand in the order of decoding, diagonal by diagonal from its top row down, and not row by row. Each is
turned to its place all the same, so only the layout of mask and cache is another. As in `model.py` the condition is
four object tokens, and an input is told what lies where it points: to the right of it, and below it.
"""

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.nn import Cache, Past, Step
from engines.raster import model
from engines.raster.model import PlacedObjects, Raster, RasterSession

# What the official state dict has beyond LlamaGen's (autoregressive.models.gpt.Transformer of NAR-images).
OFFICIAL_KEYS = {"medusa_norm.weight": "norm_below", "medusa_output.weight": "head_below"}


def diagonals(side: int) -> list[list[int]]:
    """The cells of each diagonal δ = 0 … 2 side - 2 of a square, from its top row down."""
    return [[h * side + d - h for h in range(side) if 0 <= d - h < side] for d in range(2 * side - 1)]


def mix(opinions: Tensor, share: float = 0.5) -> Tensor:
    """ℓ (…, V) of opinions (…, 2, V): `share` of what the left neighbour says, the rest of what the upper one says."""
    left, above = opinions.unbind(-2)
    return share * left + (1 - share) * above


class PointedObjects(PlacedObjects):
    """Captions -> (prefix (B, P, d), told (B, N, d)): what input P - 1 + i is told of the cells that it points at.

    The last of the condition points at the corner with both heads, the i-th decoded cell to its right and down.
    """

    right: Tensor
    below: Tensor

    def __init__(self, width: int, side: int):
        super().__init__(width, side)
        # Turns what lies below into other numbers than what lies to the right.
        self.down = nn.Parameter(torch.randn(width, width) / math.sqrt(width))
        cells, nothing = sum(diagonals(side), [])[:-1], side * side
        right = [0] + [cell + 1 if cell % side < side - 1 else nothing for cell in cells]
        below = [0] + [min(cell + side, nothing) for cell in cells]
        self.register_buffer("right", torch.tensor(right), persistent=False)
        self.register_buffer("below", torch.tensor(below), persistent=False)

    def forward(self, objects: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        prefix, place = super().forward(objects, keep)
        place = F.pad(place, (0, 0, 0, 1))
        return prefix, place[:, self.right] + F.linear(place, self.down)[:, self.below]


class Neighbours(Raster):
    """`Raster` with a norm and a head more, and d² numbers to be told what is below: (V + 1 + d) · d more of them.

    layers counts all blocks; the last `extra` of them serve the second head alone. Ranks are places in `order`, the
    order of decoding.
    """

    order: Tensor
    sources: Tensor

    def __init__(self, vocab: int, layers: int, width: int, heads: int, hidden: int, side: int, extra: int = 1,
                 classes: int = 0, **more: Any):
        super().__init__(vocab, layers, width, heads, hidden, side, classes=classes, **more)
        self.config["extra"] = extra
        if not classes:
            self.condition = PointedObjects(width, side)
        self.norm_below = nn.Parameter(torch.ones(width))
        self.head_below = nn.Parameter(torch.zeros(vocab, width))
        self.groups = diagonals(side)
        self.done = [*accumulate(map(len, self.groups), initial=0)]  # cells that are known after each step
        order = sum(self.groups, [])
        rank = {cell: i for i, cell in enumerate(order)}
        # How many inputs each input sees: those of the condition up to itself; whole diagonals.
        self.reach = [*range(1, self.prefix + 1)]
        for group in self.groups:
            self.reach += [len(self.reach) + len(group)] * len(group)
        # Which opinions each cell hears, as 2 · (rank of the cell that has it + 1) + head; the condition's come first.
        # At the top and left edges one neighbour is missing, and the other is heard twice.
        sources = [[0, 1]]
        for cell in order[1:]:
            left = [2 * (rank[cell - 1] + 1)] if cell % side else []
            above = [2 * (rank[cell - side] + 1) + 1] if cell >= side else []
            sources.append([*(left or above), *(above or left)])
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("sources", torch.tensor(sources), persistent=False)
        self.turn = torch.cat([self.turn[: self.prefix], self.turn[self.prefix :][self.order]])

    def sight(self, start: int, stop: int, device: Any = None) -> Tensor:
        reach = torch.tensor(self.reach[start:stop], device=device)
        return torch.arange(stop, device=device) < reach[:, None]

    def run(
        self, x: Tensor, turn: Tensor, cache: Cache | Past | None = None, start: int = 0, keep: slice | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Opinions (B, K, 2, V) of the inputs x (B, L, d): of the code to the right of each, and of the one below."""
        stop = start + x.shape[1]
        # A whole diagonal behind all that came before it sees everything there is.
        if mask is None and self.reach[start] < stop:
            mask = self.sight(start, stop, x.device)
        right = x
        for depth, block in enumerate(self.blocks):
            x = block(x, turn, mask, False, cache, depth, start)
            if depth == len(self.blocks) - 1 - self.config["extra"]:
                right = x
        ends = ((right, self.norm, self.head), (x, self.norm_below, self.head_below))
        return torch.stack([
            F.linear(F.rms_norm(h if keep is None else h[:, keep], gain.shape, gain, self.eps), head)
            for h, gain, head in ends
        ], dim=2)

    def opinions(self, prefix: Tensor, place: Tensor | None, tokens: Tensor) -> Tensor:
        """What each cell hears, (B, n + 1, 2, V), from the left and from above, by rank.

        prefix (B, P, d), place (B, N, d) as `condition` has it, tokens (B, n) int64 by rank.
        """
        said = super().forward(prefix, place, tokens)
        return said.flatten(1, 2)[:, self.sources[: said.shape[1]]]

    def forward(self, prefix: Tensor, place: Tensor | None, tokens: Tensor) -> Tensor:
        """ℓ (B, N, V) of all cells by rank, each given the condition and the diagonals before its own; tokens (B, N) by
        cell, row by row."""
        return mix(self.opinions(prefix, place, tokens[:, self.order[:-1]]))

    def session(self, rows: int = 2, step: Step | None = None) -> "NeighbourSession":
        return NeighbourSession(self, rows, step)


NETWORKS = (Neighbours,)


def from_official(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> Raster:
    """The network of an official class-conditional NAR checkpoint; args: its ModelArgs."""
    extra = args["medusa_attention_num"]
    return model.from_official(state, args, Neighbours, OFFICIAL_KEYS, layers=args["n_layer"] + extra, extra=extra)


class NeighbourSession(RasterSession):
    """Decoding by diagonals: a call feeds one of them and is asked for the next."""

    network: Neighbours

    def begin(self, keys: Tensor, outputs: int) -> int:
        start = super().begin(keys, outputs)
        if start:
            # Cells of a diagonal see one another: what is held of one that has changed in part is all wrong.
            kept = max(n for n in self.network.done if self.network.prefix + n <= start)
            start, self.keys = self.network.prefix + kept, keys[:, :kept]
        return start

    def __call__(self, objects: Tensor, values: Tensor, guided: bool) -> Tensor:  # type: ignore[override]
        """What the cells of the next diagonal hear, (1 or 2, B, T, 2, V): from the left and from above, given the
        caption and, if guided, given none.

        objects (B, 4, 4) int64; values (B, n) int64: codes of all diagonals before it, by rank. ValueError if one of
        those is not whole, or nothing is left.
        """
        network, known = self.network, values.shape[1]
        if known not in network.done[:-1]:
            raise ValueError(f"{known} codes; whole diagonals end at {network.done[1:-1]}")
        d = network.done.index(known)
        fed = known - network.done[d - 1] if d else 1
        said = self.ask(objects, values, guided, fed)
        wanted = network.sources[known : network.done[d + 1]] - 2 * (known + 1 - fed)
        order = network.order.tolist()
        self.last = {what: [order[rank] for rank in ranks] for what, ranks in self.last.items()}
        return said.flatten(2, 3)[:, :, wanted]

    def warm(self) -> None:
        """The first two evaluations of a guided picture."""
        objects = torch.full((1, 4, 4), -1)
        for known in self.network.done[:3]:
            self(objects, torch.zeros(1, known, dtype=torch.long), True)
        self.reset()
