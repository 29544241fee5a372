"""Recipes of the two judges of SCENES: what stands in each cell, told from pictures that are a little spoilt.

A judge must read what a tokenizer makes of a scene, so it practises on pictures that are blurred, coarse, noisy
or off in tone, each to a degree of its own; a third of them are clean.
"""

from collections.abc import Iterator
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.training import Recipe
from engines.worlds import judges, scenes
from engines.worlds.judges import NONE, SIDES, Judge

BATCH, CHUNK = 64, 2_048
JUDGED = 2_048
# Different widths, starts and scenes: what one judge happens to overlook, the other need not.
INNER = {"width": 24, "layers": 2}
SCORING = {"width": 32, "layers": 3}
INNER_SEED, SCORING_SEED = 11, 22
SCORING_FROM = scenes.TRAIN.start + len(scenes.TRAIN) // 2


def batches(first: int, part: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Part 0, 1, … of the training scenes from `first` on: pictures (b, 3, 64, 64) and captions (b, 4, 4)."""
    begin = first + part * CHUNK
    for start in range(begin, begin + CHUNK, BATCH):
        scene = scenes.draw(range(start, start + BATCH))
        yield scene.image, scene.objects


def spoil(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (B, 3, 64, 64) with blur, coarseness, noise and a shift of tone; about a third are left alone."""
    draws = torch.rand(len(images), 8, generator=generator).to(images.device)[:, :, None, None, None]
    blur, coarse, noise, gain = draws[:, 1], draws[:, 2], draws[:, 3], draws[:, 4]
    soft = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    soft = soft + (F.avg_pool2d(soft, 3, 1, 1, count_include_pad=False) - soft) * (blur > 0.7)
    out = images + (soft - images) * blur
    small = F.interpolate(F.avg_pool2d(out, 2), scale_factor=2, mode="bilinear", align_corners=False)
    out = torch.where(coarse < 0.25, small, out)
    grain = torch.randn(images.shape, generator=generator).to(images.device)
    out = out * (0.9 + 0.2 * gain) + 0.06 * (2 * draws[:, 5:8, 0] - 1) + 0.1 * noise * noise * grain
    return torch.where(draws[:, 0] < 1 / 3, images, out.clamp(-1, 1))


def loss(network: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, float]:
    """Nats a cell for what stands there, plus nats an object for its colour and size."""
    images, objects = batch
    wanted = judges.targets(objects)
    shape, colour, size = network(spoil(images, generator)).split(SIDES, -1)
    full = wanted[..., 0] >= 0
    nats = F.cross_entropy(shape.flatten(0, 1), torch.where(full, wanted[..., 0], NONE).flatten())
    nats = nats + F.cross_entropy(colour[full], wanted[full][:, 1]) + F.cross_entropy(size[full], wanted[full][:, 2])
    return nats, len(images) / BATCH


@cache
def held_out(count: int = JUDGED) -> scenes.Scene:
    return scenes.draw(range(scenes.VALIDATION.start, scenes.VALIDATION.start + count))


def judge(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """Percent of held-out objects wholly right, and of scenes; then the same of pictures that were spoilt."""
    scene = held_out(count)
    there = scene.objects[..., 0] >= 0
    found: dict[str, float] = {"pictures": count}
    for name, images in (("", scene.image), ("spoilt_", spoil(scene.image, torch.Generator().manual_seed(0)))):
        score = judges.score(images, scene.objects, network)
        found[name + "objects"] = 100 * float(score.right[there].float().mean())
        found[name + "scenes"] = 100 * float(score.scene.float().mean())
    return found


def build(seed: int, shape: dict[str, int]) -> Judge:
    """A fresh judge whose start depends on `seed` and on the run's own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed * 1_000_003 + torch.initial_seed() % 2**32)
        return Judge(**shape)


RECIPES = {
    f"scenes/judge_{name}": Recipe(
        f"scenes/judge_{name}", partial(build, seed, shape), partial(batches, first), loss, judge, steps=steps,
        average=0.99,
    )
    for name, seed, shape, first, steps in (
        ("inner", INNER_SEED, INNER, scenes.TRAIN.start, 450),
        ("scoring", SCORING_SEED, SCORING, SCORING_FROM, 900),
    )
}
