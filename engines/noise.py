"""Keyed randomness and interventions: forcing one cell leaves the noise of all the others as it was.

A number is a function of (seed of the row, stream, cell within the row, visit), where `visit` counts how
often this lane has drawn this stream at this cell. So cached, batched, reordered and branched runs draw
the same numbers. A stream is named for what it decides (`draft`, `accept`, `residual`, `token`, `order`,
`prompt`, …); another distribution at the same cell needs another stream, or the two would be correlated.

Decode loops hold no code for interventions: `draw` and `accept` answer for a forced cell by themselves.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.errors import Refused

_SCALE = 2.0**-53


def _bits(seed: int, stream: str, cell: int, visit: int, size: int) -> bytes:
    key = struct.pack("<qqq", seed, cell, visit) + stream.encode()
    return hashlib.blake2b(key, digest_size=size).digest()


def _unit(seed: int, stream: str, cell: int, visit: int) -> float:
    """One number in [0, 1) with 53 bits."""
    return (int.from_bytes(_bits(seed, stream, cell, visit, 8), "little") >> 11) * _SCALE


@dataclass(frozen=True)
class Draw:
    """What `Noise.draw` chose: the index, the probability that it had, and whether a user forced it."""

    index: int
    p: float
    forced: bool = False


class Noise:
    """The random numbers of one lane.

    seed: of row 0; row r has seed + r. `interventions` are those of DESIGN 3 that concern this lane;
    the runtime keeps `now` at the index of the last event yielded.
    """

    def __init__(self, seed: int, lane: str = "", interventions: tuple[dict[str, Any], ...] = ()):
        self.seed = seed
        self.lane = lane
        self.now = -1
        self.vocabulary: dict[str, int] = {}
        self._visits: dict[tuple[str, int], int] = {}
        self._force = {int(i["cell"]): i for i in interventions if i["do"] == "force"}
        self._reseed = [i for i in interventions if i["do"] == "reseed"]
        self._used: set[int] = set()
        self._drawn: dict[int, int] = {}

    def _key(self, stream: str, cell: int) -> tuple[int, int]:
        """(seed in force, visit) of the next number of this stream at this cell."""
        visit = self._visits.get((stream, cell), 0)
        self._visits[(stream, cell)] = visit + 1
        seed = self.seed
        for change in self._reseed:
            if self.now >= change.get("after", -1):
                seed = int(change["seed"])
        return seed, visit

    def uniform(self, stream: str, cells: list[int], shape: tuple[int, ...] = ()) -> np.ndarray:
        """Uniform numbers in [0, 1), float64, shape (len(cells), *shape)."""
        if not shape:
            return np.array([_unit(s, stream, c, v) for c in cells for s, v in [self._key(stream, c)]])
        return np.stack([self._generator(stream, c).random(shape) for c in cells])

    def normal(self, stream: str, cells: list[int], shape: tuple[int, ...] = ()) -> np.ndarray:
        """Standard normal numbers, float64, shape (len(cells), *shape)."""
        return np.stack([self._generator(stream, c).standard_normal(shape) for c in cells])

    def _generator(self, stream: str, cell: int) -> np.random.Generator:
        seed, visit = self._key(stream, cell)
        return np.random.Generator(np.random.Philox(key=int.from_bytes(_bits(seed, stream, cell, visit, 16), "little")))

    def draw(self, stream: str, cells: list[int], p: np.ndarray) -> list[Draw]:
        """One index per cell by inverse CDF; p: (len(cells), V) weights, float64, rows need not sum to 1."""
        out = []
        p = np.asarray(p, dtype=np.float64)
        for cell, row, cdf, u in zip(cells, p, np.cumsum(p, axis=-1), self.uniform(stream, cells), strict=True):
            forced = self._forced(cell)
            if not cdf[-1] > 0:
                raise ValueError(f"stream {stream!r} at cell {cell}: the distribution has no mass")
            index = int(cdf.searchsorted(u * cdf[-1], side="right"))
            if index == len(row):  # u * total may round up to the total, past the last index that has mass
                index = int(np.flatnonzero(row)[-1])
            if forced is not None:
                index = forced
            self._drawn[cell] = index
            out.append(Draw(index, float(row[index] / cdf[-1]), forced is not None))
        return out

    def accept(self, cells: list[int], ratio: list[float] | np.ndarray) -> list[tuple[float, bool]]:
        """(u, yes) per cell: yes iff u < ratio.

        A forced cell says yes to the forced value and no to any other: a draft that was drawn before the force
        began is then replaced by it.
        """
        out = []
        for cell, u, r in zip(cells, self.uniform("accept", cells), ratio, strict=True):
            forced = self._forced(cell)
            out.append((float(u), bool(u < r) if forced is None else self._drawn.get(cell, forced) == forced))
        return out

    def forced(self, cell: int) -> bool:
        """Is this cell's value held by a user now? Then its Commit has origin `forced`."""
        return self._forced(cell) is not None

    @property
    def forced_cells(self) -> list[int]:
        """All cells that interventions of this lane name."""
        return list(self._force)

    def committed(self, cell: int) -> None:
        """The runtime saw this lane commit the cell: a force on it is used up."""
        if self._forced(cell) is not None:
            self._used.add(cell)

    def _forced(self, cell: int) -> int | None:
        change = self._force.get(cell)
        if change is None or cell in self._used or self.now < change.get("after", -1):
            return None
        value = change["value"]
        if isinstance(value, str):
            if value not in self.vocabulary:
                raise Refused(f"intervention: {value[:40]!r} is not a word of this lane", "i")
            return self.vocabulary[value]
        return int(value)
