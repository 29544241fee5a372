"""The two settings that only pictures need: what is in the scene, and in which order its places are filled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from engines import exhibit
from engines.errors import Refused
from engines.exhibit import Setting
from engines.noise import Noise
from engines.worlds.scenes.objects import COLOURS, MOST, PLACES, SHAPES, SIZES, TEST, captions

_PLACE = {place.split(" the ")[-1]: cell for cell, place in enumerate(PLACES)}
_WORDS = re.compile(
    r"^(?:an? )?(?P<size>\w+) (?P<colour>\w+) (?P<shape>\w+)(?: (?:at|on|in)(?: the)?)? (?P<place>[\w ]+)$"
)


@dataclass(frozen=True, kw_only=True)
class Objects(Setting):
    """A caption in words, "a large red sphere in the middle, a small blue cone at the top left"; empty: the seed's."""

    kind: ClassVar[str] = "objects"
    default: str = ""

    def parse(self, value: Any) -> str:
        if not isinstance(value, str) or len(value) > 400:
            raise self.refuse(value, f"up to {MOST} objects, such as 'a large red sphere in the middle'")
        rows = sorted(self._row(part) for part in re.split(r",| and ", " ".join(value.lower().split())) if part.strip())
        if len(rows) > MOST:
            raise Refused(f"{self.name} has {len(rows)} objects; a scene holds at most {MOST}", self.name)
        for one, other in zip(rows, rows[1:], strict=False):
            if one[0] == other[0]:
                raise Refused(f"{self.name} puts two objects {PLACES[one[0]]}; each place holds one", self.name)
        return ", ".join(f"a {SIZES[s]} {COLOURS[c]} {SHAPES[k]} {PLACES[cell]}" for cell, k, c, s in rows)

    def _row(self, part: str) -> list[int]:
        """One object as [cell, shape, colour, size]."""
        found = _WORDS.match(part.strip())
        if not found:
            raise self.refuse(part.strip(), "size, colour, shape and place, as in 'a large red sphere in the middle'")
        for key, known in (("size", SIZES), ("colour", COLOURS), ("shape", SHAPES), ("place", tuple(_PLACE))):
            if found[key] not in known:
                raise Refused(f"{self.name}: {found[key][:30]!r} is no {key}; there are {', '.join(known)}", self.name)
        return [_PLACE[found["place"]], SHAPES.index(found["shape"]), COLOURS.index(found["colour"]),
                SIZES.index(found["size"])]

    def rows(self, value: str, seed: int) -> list[list[int]]:
        """A parsed value as four rows [cell, shape, colour, size], absent ones -1; the seed's own if empty."""
        if not value:
            return [[int(n) for n in row] for row in captions([seed])[0]]
        rows = [self._row(part) for part in value.split(",")]
        return rows + [[-1] * 4] * (MOST - len(rows))

    def describe(self) -> dict[str, Any]:
        words = {"sizes": SIZES, "colours": COLOURS, "shapes": SHAPES, "places": PLACES}
        return super().describe() | words | {"most": MOST}


CAPTION = Objects(
    name="caption",
    label="Caption",
    help="Up to four toys and where they stand; empty takes those of the seed.",
)


def held_out(seed: int) -> int:
    """The scene that an exhibit's seed stands for: one that no training has seen."""
    return TEST[seed % len(TEST)]


def captions_of(seeds: Sequence[int]) -> Tensor:
    """(n, 4, 4): the objects of the held-out scenes that these seeds stand for."""
    return captions([held_out(seed) for seed in seeds])


def asked(text: str, seed: int, setting: Objects = CAPTION) -> Tensor:
    """(1, 4, 4): the objects of a parsed caption, or of the held-out scene that this seed draws."""
    return torch.tensor([setting.rows(text, held_out(seed))])


def _raster(h: int, w: int) -> list[int]:
    return list(range(h * w))


def _snake(h: int, w: int) -> list[int]:
    return [r * w + (c if r % 2 == 0 else w - 1 - c) for r in range(h) for c in range(w)]


def _columns(h: int, w: int) -> list[int]:
    return [r * w + c for c in range(w) for r in range(h)]


def _spiral(h: int, w: int) -> list[int]:
    """From the outer edge inwards, clockwise from the top left."""
    top, left, bottom, right = 0, 0, h - 1, w - 1
    out: list[int] = []
    while top <= bottom and left <= right:
        out += [top * w + c for c in range(left, right + 1)]
        out += [r * w + right for r in range(top + 1, bottom + 1)]
        if top < bottom:
            out += [bottom * w + c for c in range(right - 1, left - 1, -1)]
        if left < right:
            out += [r * w + left for r in range(bottom - 1, top, -1)]
        top, left, bottom, right = top + 1, left + 1, bottom - 1, right - 1
    return out


ORDERS = {
    "raster": ("row by row", _raster),
    "snake": ("back and forth", _snake),
    "columns": ("column by column", _columns),
    "spiral": ("from the edge inwards", _spiral),
    "centre": ("from the middle outwards", lambda h, w: _spiral(h, w)[::-1]),
}


@dataclass(frozen=True, kw_only=True)
class Order(exhibit.Order):
    """A named order of squares, "random" (the seed's), or painted cells: those first, the rest row by row."""

    choices: dict[str, str] = field(
        default_factory=lambda: {name: label for name, (label, _) in ORDERS.items()} | {"random": "at random"}
    )

    def cells_of(self, value: str, h: int, w: int, noise: Noise) -> list[int]:
        """All h · w cells in the order of a parsed value."""
        if value == "random":
            draws = noise.uniform("order", list(range(h * w)))
            return [int(cell) for cell in draws.argsort(kind="stable")]
        if value in ORDERS:
            return ORDERS[value][1](h, w)
        painted = self._painted(value)
        return painted + [cell for cell in range(h * w) if cell not in set(painted)]

    def describe(self) -> dict[str, Any]:
        orders = {name: make(8, 8) for name, (_, make) in ORDERS.items()}
        return super().describe() | {"orders": orders}
