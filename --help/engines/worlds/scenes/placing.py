"""Where the objects of a caption stand on the table, and drawing them there."""

import torch
from torch import Tensor

from engines.worlds.scenes.drawing import Scene, Things, paint
from engines.worlds.scenes.ground import grounds
from engines.worlds.scenes.objects import CELLS, JITTER, SHAPES, SIZE, Seeds, uniforms

RADIUS = (5.4, 9.1)  # pixels, small and large, give or take STRETCH
STRETCH = 0.05
WOBBLE = (2.0, 0.8)  # pixels either way, small and large
TURNS = {1: (0.45, 0.30), 3: (0.0, 0.35)}  # radians and give or take, for the shapes that are not round
CHUNK = 64  # scenes drawn at a time: what one chunk works on stays in the processor's cache


def place(objects: Tensor, seeds: Seeds) -> Things:
    """Where and how the objects (B, 4, 4) stand, with the wobble of these seeds; it belongs to the cell."""
    scene, row = (objects[:, :, 0] >= 0).nonzero(as_tuple=True)
    cell, shape, colour, size = objects[scene, row].unbind(1)
    wobble = torch.from_numpy(uniforms(seeds, JITTER, 4 * CELLS)).float().view(-1, CELLS, 4)[scene, cell] * 2 - 1
    reach = torch.tensor(WOBBLE)[size]
    pitch = SIZE / 3
    middle, spread = (torch.tensor([TURNS.get(s, (0.0, 0.0))[k] for s in range(len(SHAPES))]) for k in (0, 1))
    return Things(
        scene=scene,
        mark=row + 1,
        shape=shape,
        colour=colour,
        x=(cell % 3 + 0.5) * pitch + wobble[:, 0] * reach,
        y=(cell // 3 + 0.5) * pitch + wobble[:, 1] * reach,
        radius=torch.tensor(RADIUS)[size] * (1 + STRETCH * wobble[:, 2]),
        turn=middle[shape] + spread[shape] * wobble[:, 3],
        lift=torch.zeros(len(scene)),
    )


def render(objects: Tensor, seeds: Seeds) -> Scene:
    """Draw objects (B, 4, 4), any order of rows, with the wobble and the table of the B seeds."""
    parts = []
    for first in range(0, max(len(seeds), 1), CHUNK):
        some, few = objects[first : first + CHUNK], seeds[first : first + CHUNK]
        image, segmentation, depth, edges = paint(grounds(few), place(some, few))
        parts.append(Scene(image, some, segmentation, depth, edges))
    return Scene.join(parts)
