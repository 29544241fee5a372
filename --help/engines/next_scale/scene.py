"""What a next-scale lane is asked for: the caption, and the codes that are taken from another picture.

Another picture serves two games of the paper (arXiv 2404.02905, zero-shot editing): keep its first scales and go on
with this caption, or keep everything outside a region and draw inside anew. Its codes are given, not drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.exhibit import Cells
from engines.scene_settings import Objects, asked, held_out
from engines.worlds import scenes

SIDE = 8
REGIONS = {
    "none": "nowhere",
    "left": "left half",
    "right": "right half",
    "top": "top half",
    "bottom": "bottom half",
    "middle": "middle",
}
OTHER = Objects(
    name="other",
    label="Other picture",
    advanced=True,
    help="What stands in the picture that scales or places are kept from; empty takes the next seed's.",
)


@dataclass
class Request:
    """caption (1, 4, 4); known: cell -> code, of `other`, a picture (1, 3, 64, 64) or None."""

    caption: Tensor
    known: dict[int, int]
    other: Tensor | None


def region(s: SimpleNamespace) -> Tensor:
    """(8, 8) bool: where the picture is drawn anew although another one is given; all False if nowhere."""
    out = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    if s.region_cells:
        out.view(-1)[Cells.list(s.region_cells)] = True
    elif s.region != "none":
        half, edge = SIDE // 2, SIDE // 4
        rows, columns = {
            "left": (slice(None), slice(half)),
            "right": (slice(None), slice(half, None)),
            "top": (slice(half), slice(None)),
            "bottom": (slice(half, None), slice(None)),
            "middle": (slice(edge, -edge), slice(edge, -edge)),
        }[s.region]
        out[rows, columns] = True
    return out


def drawn_anew(where: Tensor, p: int) -> Tensor:
    """(p²,) bool: cells of a p x p scale of which more than half lies in the region `where` (8, 8)."""
    share = F.interpolate(where[None, None].float(), size=(p, p), mode="area")
    return share.flatten() > 0.5 + 1e-6


def read(s: SimpleNamespace, seed: int, tokenizer: Any) -> Request:
    """The request of these settings: s.caption, s.keep, s.region, s.region_cells, s.other.

    A coarse cell counts as inside the region if more than half of it is: other codes stay, because drawing them anew
    would change the outside as well.
    """
    caption, where = asked(s.caption, seed), region(s)
    if not s.keep and not where.any():
        return Request(caption, {}, None)
    image = scenes.render(asked(s.other, seed + 1, OTHER), [held_out(seed + 1)]).image
    known: dict[int, int] = {}
    cell = 0
    for k, r_k in enumerate(tokenizer.encode(image)):
        p = tokenizer.scales[k]
        anew = drawn_anew(where, p).tolist() if where.any() else [True] * (p * p)
        for code, free in zip(r_k[0].tolist(), anew, strict=True):
            if k < s.keep or not free:
                known[cell] = code
            cell += 1
    return Request(caption, known, image)
