"""What a scene holds and how that is said, before anything is drawn.

A caption is `objects`, int64 (B, 4, 4): rows of (cell, shape, colour, size) sorted by cell, absent objects all -1.
Cells are numbered 0..8 from the top left, row by row. Every number comes from (seed, place in the seed's stream),
so a scene does not depend on its company in a batch.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

VERSION = 1
SIZE = 64
CELLS = 9
MOST = 4  # objects in a scene
SHAPES = ("sphere", "cube", "cone", "ring")
COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink")
RGB = (  # sRGB of COLOURS in full light
    (0.84, 0.17, 0.15), (0.96, 0.50, 0.08), (0.98, 0.80, 0.14), (0.34, 0.62, 0.22),
    (0.08, 0.62, 0.62), (0.15, 0.34, 0.80), (0.52, 0.26, 0.70), (0.97, 0.48, 0.65),
)
SIZES = ("small", "large")
PLACES = ("at the top left", "at the top", "at the top right", "on the left", "in the middle", "on the right",
          "at the bottom left", "at the bottom", "at the bottom right")
TRAIN = range(0, 10**9)
VALIDATION = range(10**9, 2 * 10**9)
TEST = range(2 * 10**9, 3 * 10**9)

Seeds = Sequence[int] | np.ndarray | range
# Where in a seed's stream each purpose begins; nothing else may draw there.
COUNT, ORDER, KINDS, JITTER, GROUND, CHANGE, MOTION = 0, 1, 10, 40, 80, 160, 170


def uniforms(seeds: Seeds, first: int, count: int) -> np.ndarray:
    """(B, count) in [0, 1): places first, first + 1, … of each seed's stream; splitmix64 (Steele et al. 2014)."""
    key = np.asarray(seeds).astype(np.uint64)[:, None]
    steps = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):  # wrapping at 2**64 is the method
        stream = _mix(key + np.uint64(0xA3EC647659359ACD * VERSION % 2**64))
        bits = _mix(stream + steps * np.uint64(0x9E3779B97F4A7C15))
    return (bits >> np.uint64(11)) * 2.0**-53


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def captions(seeds: Seeds) -> Tensor:
    """objects (B, 4, 4) of the scenes of these seeds: 1 to 4 objects in distinct cells, all else even."""
    numbers = 1 + (uniforms(seeds, COUNT, 1) * MOST).astype(np.int64)
    cells = uniforms(seeds, ORDER, CELLS).argsort(axis=1)[:, :MOST]
    cells = np.sort(np.where(np.arange(MOST) < numbers, cells, CELLS), axis=1)
    sides = np.array([len(SHAPES), len(COLOURS), len(SIZES)])[:, None]
    kinds = (uniforms(seeds, KINDS, 3 * CELLS).reshape(-1, 3, CELLS) * sides).astype(np.int64)
    found = np.take_along_axis(kinds, np.minimum(cells, CELLS - 1)[:, None], axis=2)
    objects = np.concatenate([cells[:, None], found], axis=1).transpose(0, 2, 1)
    return torch.from_numpy(np.where(cells[:, :, None] < CELLS, objects, -1))


def sort_objects(objects: Tensor) -> Tensor:
    """The same objects (…, 4, 4) by cell, absent ones last: the form of every caption."""
    cell = objects[..., 0]
    order = torch.where(cell < 0, CELLS, cell).argsort(dim=-1, stable=True)
    return objects.gather(-2, order[..., None].expand_as(objects))


def name(shape: int, colour: int, size: int | None = None) -> str:
    words = [] if size is None else [SIZES[size]]
    return " ".join([*words, COLOURS[colour], SHAPES[shape]])


def caption_text(objects: Tensor) -> str:
    """One row of captions (4, 4) in words: "a large red sphere in the middle, a small blue cone on the left"."""
    rows = [row for row in objects.tolist() if row[0] >= 0]
    return ", ".join(f"a {name(*row[1:])} {PLACES[row[0]]}" for row in rows)
