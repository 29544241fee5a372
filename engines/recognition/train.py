"""Recipes of the readers: the same strips in the same order, the same steps.

A reader's loss is smoothed cross-entropy a letter; `cppd` adds counting and ordering, each with weight 1 (the paper's
section on training; the weights are those of the official code).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from engines.recognition.model import CAUSAL, CPPD, SILENT, Causal, Cppd, Reader
from engines.training import Recipe
from engines.worlds import words

BATCH, CHUNK, PASSES = 32, 6_144, 3
STEPS = 20_000
JUDGED = 2_048
SHAPE: dict[str, Any] = {
    "width": 96, "heads": 3, "depth": 4, "hidden": 128, "grid": [2, 32], "classes": words.CLASSES,
    "slots": words.SLOTS,
}
# Units of a layer's perceptron, so that all readers are equally large.
WIDE, WIDE_CAUSAL = 192, 256


def strips(part: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Part 0, 1, … of the training strips: images (b, 1, 32, 128) and slots (b, 13); each strip comes PASSES times."""
    image, slots = _drawn(part // PASSES)
    for pick in torch.from_numpy(np.random.default_rng(part).permutation(CHUNK)).split(BATCH):
        yield image[pick], slots[pick]


@cache
def _drawn(chunk: int) -> tuple[Tensor, Tensor]:
    _drawn.cache_clear()
    first = words.TRAIN.start + chunk * CHUNK
    drawn = [words.draw(range(start, start + 128)) for start in range(first, first + CHUNK, 128)]
    return torch.cat([s.image for s in drawn]), torch.cat([s.slots for s in drawn])


def reading_loss(network: nn.Module, batch: Any, generator: torch.Generator) -> tuple[Tensor, float]:
    image, slots = batch
    return cast(Reader, network).loss(image, slots), 1.0


@torch.inference_mode()
def judge(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """Percent of held-out strips read without a mistake: all, those with letters at random, those with words."""
    net, drawn = cast(Reader, network), _held_out(count)
    wrong = [right_of(net, image, slots) for image, slots in zip(drawn[0].split(256), drawn[1].split(256))]
    right, word = torch.cat(wrong), drawn[2]
    return {"words": 100 * right[word].float().mean().item(), "letters": 100 * right[~word].float().mean().item(),
            "strips": 100 * right.float().mean().item()}


def right_of(net: Reader, image: Tensor, slots: Tensor) -> Tensor:
    """(B,) bool: is every letter up to END the one that was printed?"""
    made = net.read(net.see(image)).logits.argmax(-1)
    return ((made == slots) | (slots < 0)).all(1)


@cache
def _held_out(count: int) -> tuple[Tensor, Tensor, Tensor]:
    seeds = range(words.VALIDATION.start, words.VALIDATION.start + count)
    drawn = words.draw(seeds)
    return drawn.image, drawn.slots, torch.tensor([words.text_of(seed) in words.known() for seed in seeds])


def cppd() -> Cppd:
    return Cppd(**SHAPE, wide=WIDE)


def silent() -> Cppd:
    """The same layers without side tasks."""
    return Cppd(**SHAPE, wide=WIDE, sides=0)


def causal() -> Causal:
    return Causal(**SHAPE, wide=WIDE_CAUSAL)


RECIPES = {
    name: Recipe(name, build, strips, reading_loss, judge, steps=STEPS, learning_rate=3e-3, muon=True, average=0.999)
    for name, build in ((CPPD, cppd), (SILENT, silent), (CAUSAL, causal))
}
