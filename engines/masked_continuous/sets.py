"""Which places are drawn together, and how strongly the caption pulls: what `mar` and `maskgit` share.

Source: arXiv 2202.04200, section 3.2, and 2406.11838, section 3.4; `rounds`: 2411.11925. Symbols: L places, K sets,
m places still hidden after a step, w guidance.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


def lengths(places: int, sets: int) -> list[int]:
    """m after each of `sets` steps: floor(L · cos(π/2 · (s + 1)/K)), the last step leaves none.

    At least one place leaves in each step and one stays until the last, so K = L draws one at a time.
    """
    hidden, out = places, []
    for s in range(sets - 1):
        hidden = max(1, min(hidden - 1, math.floor(places * math.cos(math.pi / 2 * (s + 1) / sets))))
        out.append(hidden)
    return [*out, 0]


def sets_of(order: Sequence[int], sets: int) -> list[list[int]]:
    """What each step predicts. A permutation is consumed from its END: its first m places are those still hidden."""
    edges = [len(order), *lengths(len(order), sets)]
    return [list(order[small:large]) for large, small in zip(edges[:-1], edges[1:], strict=True)]


def guidance_at(w: float, kind: str, hidden: int, places: int) -> float:
    """w_s of a step after which `hidden` places remain: "linear" rises with progress, "constant" is w throughout.

    The last step leaves none but counts as one, as in the official code, so "linear" never quite reaches w.
    """
    return w if kind == "constant" else 1 + (w - 1) * (places - max(hidden, 1)) / places


class Round(NamedTuple):
    """Sets first, …, stop - 1 of a picture: what one call of the target settles. drafted: somebody else drew them."""

    first: int
    stop: int
    drafted: bool


def rounds(sets: int, gamma: int, share: float) -> list[Round]:
    """The target draws floor(share · K) + 1 sets by itself, one a call; then `gamma` sets are drafted for each call."""
    own = min(sets, math.floor(share * sets) + 1)
    drafted = [Round(k, min(k + gamma, sets), True) for k in range(own, sets, gamma)]
    return [Round(k, k + 1, False) for k in range(own)] + drafted
