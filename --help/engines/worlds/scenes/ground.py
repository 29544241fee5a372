"""The table under the toys: a warm tone, lit from the upper left, on paper, cloth or boards."""

import math

import torch
from torch import Tensor

from engines.worlds.scenes.objects import GROUND, SIZE, Seeds, uniforms

TONES = torch.tensor([  # sRGB: cream, honey, apricot, peach, rose, oat, sand, clay; neighbours are mixed
    (0.97, 0.92, 0.82), (0.95, 0.85, 0.67), (0.96, 0.84, 0.70), (0.95, 0.80, 0.71),
    (0.92, 0.78, 0.75), (0.89, 0.85, 0.80), (0.90, 0.82, 0.69), (0.85, 0.72, 0.60),
])
PATCHES = 4  # the mottle is a coarse grid, this many squares each way, blended smoothly


def _blend() -> Tensor:
    """(PATCHES + 1, 64): how much each knot of a line counts at each pixel; rows sum to 1 at every pixel."""
    at = (torch.arange(SIZE) + 0.5) / SIZE * PATCHES
    near = (1 - (at.double()[None] - torch.arange(PATCHES + 1)[:, None]).abs()).clamp_min(0)
    return near * near * (3 - 2 * near)


BLEND = _blend()


def grounds(seeds: Seeds) -> Tensor:
    """(B, 3, 64, 64) in linear light."""
    knots = (PATCHES + 1) ** 2
    draws = torch.from_numpy(uniforms(seeds, GROUND, 16 + knots))  # float64, see drawing._axes
    tone, angle, slope, kind, hue, phase = draws[:, :6].unbind(1)
    place = tone * len(TONES)
    first, share = place.long() % len(TONES), (place % 1)[:, None]
    colour = TONES[first] * (1 - share) + TONES[(first + 1) % len(TONES)] * share
    colour = colour + (hue[:, None] - 0.5) * torch.tensor([0.02, 0.0, -0.04])

    line = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 1  # -1 .. 1, left to right and top to bottom
    # Light comes from the upper left; how much, and from where exactly, differs.
    turn = math.pi * (0.15 + 0.2 * angle)[:, None]
    fall = (0.03 + 0.07 * slope)[:, None]
    across, down = -fall * turn.cos() * line, -fall * turn.sin() * line
    mottle = (draws[:, 16:].view(-1, PATCHES + 1, PATCHES + 1) - 0.5) * 0.05
    tone_map = 1 + across[:, None] + down[:, :, None] + torch.einsum("bij,iy,jx->byx", mottle, BLEND, BLEND)
    tone_map = tone_map - 0.05 * (line.square()[None, :, None] * line.square()[None, None] + 0.3 * line.square())
    phase = (phase * 4).floor() / 4  # few places for seams and stripes: a small network has to learn them
    boards, cloth = _boards(phase, draws[:, 6:12]), _cloth(phase)
    tone_map = tone_map + boards * (kind < 0.3)[:, None, None] + cloth * (kind > 0.75)[:, None, None]
    return (colour.float()[:, :, None, None] * tone_map.float()[:, None]).clamp(0, 1).square()


def _boards(phase: Tensor, tones: Tensor) -> Tensor:
    """(B, 64, 1): four or five boards, each a little lighter or darker, with a soft dark seam between."""
    at = (torch.arange(SIZE) + 0.5)[None] / 16 + phase[:, None]
    seam = ((at + 0.5) % 1 - 0.5).abs() * 16  # pixels from the nearest seam
    tone = (tones.gather(1, at.long() % tones.shape[1]) - 0.5) * 0.05
    return (tone - 0.07 * (1 - seam / 1.2).clamp_min(0))[:, :, None]


def _cloth(phase: Tensor) -> Tensor:
    """(B, 64, 64): broad soft stripes both ways, a checked table cloth."""
    at = (torch.arange(SIZE)[None] + 0.5) / 16 + phase[:, None]
    stripe = 0.014 * (4 * (2 * math.pi * at).sin()).tanh()
    return stripe[:, :, None] + stripe[:, None]
