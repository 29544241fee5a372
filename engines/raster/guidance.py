"""From two rows of logits, with the caption and without, to the law that a code is drawn from.

Classifier-free guidance as in LlamaGen and RandAR: l = l_u + s (l_c - l_u), then temperature, top-k, top-p. At s <= 1
there is no second row and the law is the conditional one. RandAR lets s grow in a line from `start` with the share of
cells that are done; LlamaGen can stop guiding after `interval` further codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from engines.sampling import kept, softmax

# The scale at which the stored networks paint most scenes right, on captions of the validation range.
BEST = 4.0


@dataclass(frozen=True)
class Rule:
    """How a code is drawn. start None: the scale is the same from the first cell to the last."""

    guidance: float = BEST
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    start: float | None = None
    interval: int = -1

    @property
    def guided(self) -> bool:
        """Is the unconditional row needed at all?"""
        return self.guidance > 1

    def scale(self, done: int, cells: int) -> float:
        """s when `done` of `cells` codes are known."""
        if -1 < self.interval < done - 1:
            return 1.0
        begin = self.guidance if self.start is None else self.start
        return begin + (self.guidance - begin) * done / cells


def guide(z: Tensor, rule: Rule, done: int, cells: int) -> np.ndarray:
    """Logits (…, V), float64, of z (1 or 2, …, V): conditional, then unconditional."""
    rows = z.double().numpy()
    if len(rows) == 1:
        return rows[0]
    return rows[1] + rule.scale(done, cells) * (rows[0] - rows[1])


def law(logits: np.ndarray, rule: Rule) -> np.ndarray:
    """Probabilities (…, V) that are drawn from, all filters applied; temperature 0 takes the largest."""
    p = softmax(logits, rule.temperature)
    if not rule.top_k and rule.top_p >= 1:
        return p
    rows = p.reshape(-1, p.shape[-1])
    rows = np.stack([np.where(kept(row, rule.top_k, rule.top_p), row, 0.0) for row in rows])
    return (rows / rows.sum(-1, keepdims=True)).reshape(p.shape)
