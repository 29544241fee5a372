"""Scenes that change: one object edited and all else left to the pixel, and short films of one or two that move."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engines.worlds.scenes.drawing import Scene, paint, reach
from engines.worlds.scenes.ground import grounds
from engines.worlds.scenes.objects import (
    CELLS,
    CHANGE,
    COLOURS,
    MOST,
    MOTION,
    PLACES,
    SHAPES,
    SIZE,
    SIZES,
    Seeds,
    captions,
    name,
    sort_objects,
    uniforms,
)
from engines.worlds.scenes.placing import CHUNK, place, render

EDITS = ("recolour", "reshape", "add", "remove")
HOP = 5.0  # pixels a bounce goes up
HOPS = 2
HOPPING, SLIDING = 0.35, 0.40  # shares of the motions; the rest grow or shrink


class EditPairs(NamedTuple):
    before: Scene
    after: Scene
    text: list[str]  # the instruction
    cell: Tensor  # (B,) int64, where the change is
    box: Tensor  # (B, 4) int64: left, top, right, bottom (half open); outside of it no pixel differs


class Video(NamedTuple):
    images: Tensor  # (B, T, 3, 64, 64)
    objects: Tensor  # (B, T, 4, 4): the caption of every frame; a sliding object is where most of it is


def edit_pairs(seeds: Seeds) -> EditPairs:
    """One object recoloured, reshaped, added or removed, in the scenes of these seeds; the rest stays."""
    before = captions(seeds)
    draws = uniforms(seeds, CHANGE, 6)
    after, touched, text, cells = before.clone(), torch.full_like(before, -1), [], []
    for b, (objects, u) in enumerate(zip(before.tolist(), draws.tolist())):
        there = [row for row in range(MOST) if objects[row][0] >= 0]
        # The last object is never taken away, and a fifth never added.
        allowed = EDITS[: 3 if len(there) == 1 else 4] if len(there) < MOST else ("recolour", "reshape", "remove")
        edit = allowed[int(u[0] * len(allowed))]
        row = there[int(u[1] * len(there))]
        cell, shape, colour, size = objects[row]
        what = f"the {name(shape, colour, size)} {PLACES[cell]}"
        if edit == "recolour":
            colour = (colour + 1 + int(u[2] * (len(COLOURS) - 1))) % len(COLOURS)
            text.append(f"paint {what} {COLOURS[colour]}")
        elif edit == "reshape":
            shape = (shape + 1 + int(u[3] * (len(SHAPES) - 1))) % len(SHAPES)
            text.append(f"turn {what} into a {SHAPES[shape]}")
        elif edit == "remove":
            text.append(f"take away {what}")
        else:
            empty = sorted(set(range(CELLS)) - {objects[r][0] for r in there})
            row, cell = len(there), empty[int(u[1] * len(empty))]
            shape, colour, size = int(u[3] * len(SHAPES)), int(u[2] * len(COLOURS)), int(u[4] * len(SIZES))
            text.append(f"put a {name(shape, colour, size)} {PLACES[cell]}")
        new = torch.tensor([cell, shape, colour, size])
        after[b, row] = -1 if edit == "remove" else new
        touched[b, 0], touched[b, 1] = before[b, row], after[b, row]
        cells.append(cell)
    where, boxes = place(touched, seeds), torch.tensor([SIZE, SIZE, 0, 0]).repeat(len(before), 1)
    for b, box in zip(where.scene.tolist(), reach(where)):
        boxes[b] = torch.cat([torch.minimum(boxes[b, :2], box[:2]), torch.maximum(boxes[b, 2:], box[2:])])
    after = sort_objects(after)
    return EditPairs(render(before, seeds), render(after, seeds), text, torch.tensor(cells), boxes)


def video(seeds: Seeds, frames: int = 8) -> Video:
    """Films of the scenes of these seeds: one or two objects slide to a free cell beside them, grow, shrink or hop."""
    films = [_film(seeds[first : first + CHUNK], frames) for first in range(0, len(seeds), CHUNK)]
    return Video(*(torch.cat(part) for part in zip(*films)))


def _plan(objects: list[list[int]], u: list[float]) -> tuple[list[list[int]], list[bool]]:
    """One scene's objects at the end of the film, row by row, and which of them hop."""
    last, hops = [list(row) for row in objects], [False] * MOST
    there = [row for row in range(MOST) if objects[row][0] >= 0]
    first = int(u[0] * len(there))
    movers = [there[first], there[(first + 1) % len(there)]][: 1 if len(there) == 1 or u[1] < 0.5 else 2]
    for mover, (kind, way) in zip(movers, ((u[2], u[3]), (u[4], u[5]))):
        cell = objects[mover][0]
        taken = {row[0] for row in objects + last}
        free = [c for c in _beside(cell) if c not in taken]
        if kind < HOPPING and cell >= 3:  # a hop in the top row would leave the picture
            hops[mover] = True
        elif kind < HOPPING + SLIDING and free:
            last[mover][0] = free[int(way * len(free))]
        else:
            last[mover][3] = 1 - last[mover][3]
    return last, hops


def _beside(cell: int) -> list[int]:
    row, column = divmod(cell, 3)
    around = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
    return [3 * r + c for r, c in around if 0 <= r < 3 and 0 <= c < 3]


def _film(seeds: Seeds, frames: int) -> tuple[Tensor, Tensor]:
    first = captions(seeds)
    plans = [_plan(objects, u) for objects, u in zip(first.tolist(), uniforms(seeds, MOTION, 6).tolist())]
    last = torch.tensor([plan[0] for plan in plans])
    start, end = place(first, seeds), place(last, seeds)
    hop = torch.tensor([plan[1] for plan in plans])[start.scene, start.mark - 1].float()
    table = grounds(seeds)
    images, objects = [], []
    for now in np.linspace(0, 1, frames).tolist():
        s = now * now * (3 - 2 * now)  # sets off and arrives gently
        moved = (a + (b - a) * s for a, b in ((start.x, end.x), (start.y, end.y), (start.radius, end.radius)))
        x, y, radius = moved
        lift = hop * HOP * abs(math.sin(math.pi * HOPS * now))
        things = start._replace(x=x, y=y, radius=radius, turn=start.turn + (end.turn - start.turn) * s, lift=lift)
        images.append(paint(table, things)[0])
        objects.append(sort_objects(first if s < 0.5 else last))
    return torch.stack(images, 1), torch.stack(objects, 1)
