"""In which order the blanks of a story are filled: left to right, far apart, at random, or as a user paints it.

Left to right is what 2504.20456 trains. Far apart is bisection: the middle of the longest stretch of blanks first.
Guesses of one round then stand far from one another, with known words between them, so each says little about the
others and more of them stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any, ClassVar

from engines.exhibit import Order
from engines.noise import Noise

NAMES = {"ascending": "left to right", "bisection": "far apart", "random": "at random"}


def bisection(blanks: Iterable[int]) -> list[int]:
    """The middle of the longest run of blanks, again and again; of equal runs the leftmost, of two middles the left."""
    runs: list[tuple[int, int]] = []  # (-length, first cell)
    for cell in sorted(blanks):
        if runs and cell == runs[-1][1] - runs[-1][0]:
            runs[-1] = (runs[-1][0] - 1, runs[-1][1])
        else:
            runs.append((-1, cell))
    heapify(runs)
    out = []
    while runs:
        length, first = heappop(runs)
        middle = first + (-length - 1) // 2
        out.append(middle)
        for start, stop in ((first, middle), (middle + 1, first - length)):
            if start < stop:
                heappush(runs, (start - stop, start))
    return out


@dataclass(frozen=True, kw_only=True)
class BlankOrder(Order):
    """A named order of the blanks, or painted cells: those are blank and come first, the other blanks ascending."""

    kind: ClassVar[str] = "sequence"
    default: str = "ascending"
    choices: dict[str, str] = field(default_factory=lambda: dict(NAMES))

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"orders": {"ascending": list(range(7)), "bisection": bisection(range(7))}}


def painted(order: str) -> list[int]:
    """The cells of a parsed order that was painted; none for a named one."""
    return [] if order in NAMES else [int(cell) for cell in order.split(",")]


def arrange(blanks: Iterable[int], order: str, noise: Noise) -> list[int]:
    """Blanks in the order of a parsed value."""
    cells = sorted(blanks)
    if order == "bisection":
        return bisection(cells)
    if order == "random":
        draws = noise.uniform("order", cells)
        return [cells[i] for i in draws.argsort(kind="stable")]
    first = painted(order)
    return first + [cell for cell in cells if cell not in set(first)]
