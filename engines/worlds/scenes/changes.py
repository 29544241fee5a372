"""Scenes that change: one object edited and all else left to the pixel, and short films of one or two that move."""

import math
from collections.abc import Collection, Iterable
from typing import NamedTuple

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


class Film(NamedTuple):
    images: Tensor  # (B, T, 3, 64, 64), the frames that were drawn; a whole film has beats · (frames - 1) + 1
    objects: Tensor  # (B, beats + 1, 4, 4): the caption where each beat begins, and at the end; a row is one toy
    hops: Tensor  # (B, beats, 4) bool: which of them hop


def nearest_joint(t: int, last: int, beats: int) -> int:
    """The joint of beats, 0 … beats, that frame t of 0 … last is nearest to; half way is the later one."""
    return math.floor(t * beats / last + 0.5)


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
    shot = film(seeds, 1, frames)
    joints = [nearest_joint(t, frames - 1, 1) for t in range(frames)]
    return Video(shot.images, torch.stack([sort_objects(shot.objects[:, joint]) for joint in joints], 1))


def film(seeds: Seeds, beats: int, frames: int, only: Collection[int] | None = None) -> Film:
    """Films of so many beats, each of so many frames; the last frame of a beat is the first one of the next.

    only: the frames of the film, counted from 0, that are drawn; all if not given.
    """
    drawn = range(beats * (frames - 1) + 1) if only is None else sorted(only)
    parts = [_film(seeds[first : first + CHUNK], beats, frames, drawn) for first in range(0, len(seeds), CHUNK)]
    return Film(*(torch.cat(part) for part in zip(*parts)))


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


def script(seeds: Seeds, beats: int) -> tuple[Tensor, Tensor]:
    """What happens in the films of these seeds, nothing drawn: captions (B, beats + 1, 4, 4), hops (B, beats, 4)."""
    rows, hops = [captions(seeds)], []
    draws = uniforms(seeds, MOTION, 6 * beats).reshape(len(seeds), beats, 6).tolist()
    for beat in range(beats):
        plans = [_plan(objects, u[beat]) for objects, u in zip(rows[-1].tolist(), draws)]
        rows.append(torch.tensor([plan[0] for plan in plans]))
        hops.append(torch.tensor([plan[1] for plan in plans]))
    return torch.stack(rows, 1), torch.stack(hops, 1)


def _film(seeds: Seeds, beats: int, frames: int, drawn: Iterable[int]) -> tuple[Tensor, Tensor, Tensor]:
    objects, hops = script(seeds, beats)
    table, images = grounds(seeds), []
    ends = [place(objects[:, joint], seeds) for joint in range(beats + 1)]
    for frame in drawn:
        beat = min(frame // (frames - 1), beats - 1)
        start, end = ends[beat : beat + 2]
        now = (frame - beat * (frames - 1)) / (frames - 1)
        s = now * now * (3 - 2 * now)  # sets off and arrives gently
        moved = (a + (b - a) * s for a, b in ((start.x, end.x), (start.y, end.y), (start.radius, end.radius)))
        x, y, radius = moved
        hop = hops[start.scene, beat, start.mark - 1].float()
        lift = hop * HOP * abs(math.sin(math.pi * HOPS * now))
        turn = start.turn + (end.turn - start.turn) * s
        images.append(paint(table, start._replace(x=x, y=y, radius=radius, turn=turn, lift=lift))[0])
    return torch.stack(images, 1), objects, hops
