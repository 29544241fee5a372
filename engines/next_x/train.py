"""Recipes of the tokenizer and of the network that writes its codes.

The tokenizer's loss at a time t: squared error of the clean picture it would jump to, over 1 - t (counted as LEAST at
least), + that of the small picture after each group, both with 1 + TOYS times the weight where a toy stands, + LOOKS
times a perceptual distance in the later half of the times, + the codebook's term. A velocity's squared error is the
picture's over (1 - t)²; that weight went nearly all to the last steps, which need the codes least. Times are drawn so
that all groups of codes are met equally often. The paper's perceptual terms need networks trained elsewhere (LPIPS,
DINO); ours is the distance in the maps of the inner judge, as in the other tokenizers' recipes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import weights
from engines.next_x import dar
from engines.next_x.model import NET, TOKENIZER, Line, Sequential
from engines.raster.guidance import Rule
from engines.raster.sampler import paint
from engines.raster.train import SHAPE, raster_loss
from engines.tokenizers.cache import held_out, tokens
from engines.tokenizers.cnn import psnr
from engines.tokenizers.train import look_alike
from engines.training import Recipe
from engines.worlds import judges, scenes

BATCH, CHUNK, PASSES = 16, 1_024, 3
TOYS, LOOKS, LEAST = 6.0, 1.0, 0.2
TOKENS, GROUPS, CODES = 64, 8, 512
JUDGED = 128


def scenes_of(part: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Part 0, 1, … of the training scenes: pictures (b, 3, 64, 64), where toys are (b, 64, 64) bool; each PASSES times.

    A scene costs a fifth of a training step to draw, and meets another time and other noise when it comes again.
    """
    image, toys = _drawn(part // PASSES)
    for pick in torch.from_numpy(np.random.default_rng(part).permutation(CHUNK)).split(BATCH):
        yield image[pick], toys[pick]


@cache
def _drawn(chunk: int) -> tuple[Tensor, Tensor]:
    _drawn.cache_clear()
    first = scenes.TRAIN.start + chunk * CHUNK
    drawn = [scenes.draw(range(start, start + 128)) for start in range(first, first + CHUNK, 128)]
    return torch.cat([scene.image for scene in drawn]), torch.cat([scene.segmentation > 0 for scene in drawn])


def even_times(rows: int, groups: int, generator: torch.Generator) -> Tensor:
    """Times (2 · rows,) in [0, 1), two a picture: first a group, all equally often, then a time at which it is shown.

    The first time is one of the noisy half's, the second of the other's. Group g is shown from (g - 1/2) / G to
    (g + 1/2) / G, the first from 0, the last until 1.
    """
    half = groups // 2
    ranks = torch.stack([torch.randperm(rows, generator=generator) for _ in range(2)])
    group = ((ranks * half // rows) + torch.tensor([[0], [half]])).flatten()
    low, high = (group - 0.5).clamp_min(0) / groups, (group + 0.5) / groups
    high[group == groups - 1] = 1.0
    return low + (high - low) * torch.rand(2 * rows, generator=generator)


def tokenizer_loss(network: nn.Module, batch: Any, generator: torch.Generator) -> tuple[Tensor, float]:
    image, toys = batch
    net = cast(Sequential, network)
    even = even_times(len(image), net.groups, generator).to(image.device)
    noise = torch.randn(2 * len(image), *image.shape[1:], generator=generator).to(image.device)
    made, t, rounding, off = net.loss(image, even, noise)
    weight = 1 + TOYS * toys[:, None]
    flow = weight.repeat(2, 1, 1, 1) / (1 - t).clamp_min(LEAST)[:, None, None, None]
    flow = (flow * (made - image.repeat(2, 1, 1, 1)).square()).mean()
    small = (net.parts(weight.expand(-1, 3, -1, -1))[:, None] * off.square()).mean()
    return flow + small + LOOKS * look_alike(made[len(image) :], image) + rounding, 1.0


@torch.inference_mode()
def judge_tokenizer(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """PSNR in dB of held-out scenes decoded from their codes, and what the scoring judge reads in them, in percent.

    Euler's steps, then the official ones (`_ab2`); codes: how many of the codebook these scenes use.
    """
    net = cast(Sequential, network)
    scene = scenes.draw(range(scenes.VALIDATION.start, scenes.VALIDATION.start + count))
    there, found = scene.objects[..., 0] >= 0, {}
    ids = net.encode(scene.image)
    for key, multistep in (("", False), ("_ab2", True)):
        made = dar.decoded(net, ids, range(count), multistep)
        score = judges.score(made, scene.objects)
        found[f"psnr{key}"] = psnr(scene.image, made)
        found[f"objects{key}"] = 100 * score.right[there].float().mean().item()
        found[f"scenes{key}"] = 100 * score.scene.float().mean().item()
    return found | {"codes": float(len(ids.unique()))}


def tokenizer(patch: int = 8) -> Sequential:
    return Sequential(
        size=64, patches=[8, patch], widths=[96, 96, 96], depths=[3, 2, 3], heads=[3, 3, 3], hidden=[168, 192, 272],
        tokens=TOKENS, groups=GROUPS, codes=CODES, channels=8,
    )


def line() -> Line:
    """As large as the network that paints row by row, layer for layer."""
    return Line(vocab=CODES, side=TOKENS, **SHAPE)


def codes(part: int) -> Iterable[tuple[Tensor, Tensor]]:
    """(codes (b, 64), captions (b, 4, 4)) of the part-th piece of the stream."""
    return tokens(TOKENIZER, part, 2 * BATCH)


@torch.no_grad()
def judge_line(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """Nats per held-out code, in all and by group of codes, and what the scoring judge finds right in pictures of as
    many held-out captions: objects, scenes in percent, at the best of a few guidance scales (`guidance`).
    """
    net, tokenizer = cast(Line, network), cast(Sequential, weights.load(TOKENIZER))
    written, objects = _held_out(count)
    logits = net(*net.condition(objects), written[:, :-1])
    nll = F.cross_entropy(logits.flatten(0, 1), written.flatten(), reduction="none").view(-1, GROUPS, TOKENS // GROUPS)
    found = []
    for scale in (1.5, 2.5, 4.0):
        images = dar.decoded(tokenizer, paint(net, objects, range(count), Rule(guidance=scale)), range(count))
        score = judges.score(images, objects)
        there = objects[..., 0] >= 0
        found.append((100 * score.scene.float().mean().item(), 100 * score.right[there].float().mean().item(), scale))
    scenes_, right, scale = max(found)
    groups = {f"nll_{g + 1}": value for g, value in enumerate(nll.mean((0, 2)).tolist())}
    best = {"objects": right, "scenes": scenes_, "guidance": scale, "captions": count}
    return {"nll": nll.mean().item()} | best | groups


@cache
def _held_out(count: int) -> tuple[Tensor, Tensor]:
    return held_out(TOKENIZER, count)


RECIPES = {
    TOKENIZER: Recipe(TOKENIZER, tokenizer, scenes_of, tokenizer_loss, judge_tokenizer, steps=8_240, muon=True,
                      learning_rate=4e-3, average=0.99, after=("scenes/judge_inner", "scenes/judge_scoring")),
    NET: Recipe(NET, line, codes, raster_loss, judge_line, steps=3_900, learning_rate=6e-3, muon=True,
                after=(TOKENIZER, "scenes/judge_scoring")),
}
