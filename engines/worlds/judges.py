"""Two readers of SCENES that this project trains, and the figures that rest on them.

A judge looks at a picture and says for each of the nine cells which shape stands there (or none), its colour and its
size. The "inner" judge may take part in a training; only the "scoring" judge, of another width, start and data,
scores. Its features also carry FD-mini, a Fréchet distance between sets of pictures (Heusel et al. 2017) for small
pictures and small sets; such numbers compare with each other and with nothing published elsewhere.
"""

from functools import cache
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import weights
from engines.nn import Step
from engines.worlds.scenes import CELLS, COLOURS, SHAPES, SIZES

NONE = len(SHAPES)  # the shape logit that says that a cell is empty
SIDES = (len(SHAPES) + 1, len(COLOURS), len(SIZES))
JUDGES = ("inner", "scoring")
ROWS = 256  # pictures looked at in one call
CELL = 4  # positions of the last map that one cell covers, each way


class Convolution(nn.Module):
    """A convolution, a norm over groups of channels, and a bend."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.norm = nn.GroupNorm(outputs // 8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(self.convolution(x)))


class Judge(nn.Module):
    """(B, 3, 64, 64) in [-1, 1] -> logits (B, 9, 15): shape or none, colour, size. One head serves all cells."""

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.config = {"width": width, "layers": layers}
        self.stem = Convolution(12, width, 3, 1, 1)  # 32 x 32, after 2 x 2 pixels were folded into channels
        self.body = nn.ModuleList(
            Convolution(width if k == 0 else 2 * width, 2 * width, 3, 2 if k == 0 else 1, 1) for k in range(layers)
        )
        self.cell = Convolution(2 * width, 4 * width, CELL, CELL, 0)
        self.head = nn.Linear(4 * width, sum(SIDES))

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The first map (B, w, 32, 32) and the last (B, 2w, 16, 16)."""
        first = x = self.stem(F.pixel_unshuffle(images, 2))
        for layer in self.body:
            x = layer(x)
        return first, x

    def forward(self, images: Tensor) -> Tensor:
        last = self.maps(images)[1]
        # 16 positions do not divide by 3 cells, 12 do.
        fine = F.interpolate(last, size=(3 * CELL, 3 * CELL), mode="bilinear", align_corners=False)
        return self.head(self.cell(fine).flatten(2).transpose(1, 2))

    step = forward
    free = {0: {0: "pictures"}}

    def example(self) -> tuple[Tensor]:
        """Two pictures."""
        return (torch.zeros(2, 3, 64, 64),)

    def session(self, step: Step | None = None) -> Step:
        """What reads pictures with this judge: itself, or `step` in its place."""
        return step or self


NETWORKS = (Judge,)


class Reading(NamedTuple):
    """What a judge sees in each cell, (B, 9): shape, colour and size, -1 where it is empty; p of that answer."""

    shape: Tensor
    colour: Tensor
    size: Tensor
    p: Tensor


class Score(NamedTuple):
    right: Tensor  # (B, 4) bool: this object is there, in shape, colour and size; False in rows without an object
    scene: Tensor  # (B,) bool: all objects are right and nothing else is there


def load(name: str) -> Judge:
    """The stored judge "inner" or "scoring"."""
    return cast(Judge, weights.load(f"scenes/judge_{name}"))


@cache
def reader() -> Step:
    """The scoring judge, as what evaluates it fastest."""
    return cast(Step, weights.bind(load("scoring"), **weights.steps("scenes/judge_scoring")))


def targets(objects: Tensor) -> Tensor:
    """Captions (B, 4, 4) by cell: (B, 9, 3) of shape, colour and size, -1 where the cell is empty."""
    found = torch.full((len(objects), CELLS, 3), -1, device=objects.device)
    scene, row = (objects[..., 0] >= 0).nonzero(as_tuple=True)
    found[scene, objects[scene, row, 0]] = objects[scene, row, 1:]
    return found


@torch.no_grad()
def read(images: Tensor, judge: Step | None = None) -> Reading:
    """What the scoring judge, or the one handed in, sees in pictures (B, 3, 64, 64)."""
    net = judge or reader()
    logits = torch.cat([net(part) for part in images.split(ROWS)])
    answers = [part.softmax(-1).max(-1) for part in logits.split(SIDES, -1)]
    empty = answers[0].indices == NONE
    p = torch.where(empty, answers[0].values, answers[0].values * answers[1].values * answers[2].values)
    shape, colour, size = (torch.where(empty, -1, answer.indices) for answer in answers)
    return Reading(shape, colour, size, p)


def score(images: Tensor, objects: Tensor, judge: Step | None = None) -> Score:
    """Does each picture (B, 3, 64, 64) show what its caption (B, 4, 4) says, and no more?"""
    agree = (torch.stack(read(images, judge)[:3], -1) == targets(objects)).all(-1)
    cell = objects[..., 0]
    return Score(agree.gather(1, cell.clamp_min(0)) & (cell >= 0), agree.all(1))


@torch.no_grad()
def features(images: Tensor) -> Tensor:
    """(B, 3w): the scoring judge's first and last maps, in the mean over the picture.

    What it makes of single cells is left out: how many toys there are and of which colour would drown all else.
    """
    judge = load("scoring")
    maps = (judge.maps(part) for part in images.split(ROWS))
    return torch.cat([torch.cat([first.mean((2, 3)), last.mean((2, 3))], 1) for first, last in maps])


def fd_mini(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of Gaussians fitted to features (N, d) and (M, d): |Δmean|² + tr(A + B - 2 (√A B √A)^½).

    N = M = 2,000 is what this project reports; fewer pictures give a larger number for the same two sources.
    """
    mean_a, root_a, trace_a, _ = _gaussian(a)
    mean_b, _, trace_b, cov_b = _gaussian(b)
    inner = root_a @ cov_b @ root_a
    shared = np.sqrt(np.linalg.eigvalsh((inner + inner.T) / 2).clip(0)).sum()
    return float(max(((mean_a - mean_b) ** 2).sum() + trace_a + trace_b - 2 * shared, 0.0))


def _gaussian(x: Tensor) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Mean, symmetric root of the covariance, its trace, and the covariance, in float64."""
    values = x.detach().cpu().double().numpy()
    cov = np.atleast_2d(np.cov(values, rowvar=False))
    size, axes = np.linalg.eigh(cov)
    return values.mean(0), (axes * np.sqrt(size.clip(0))) @ axes.T, float(np.trace(cov)), cov
