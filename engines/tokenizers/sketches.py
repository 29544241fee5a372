"""Recipes of the sketches: a small network learns what a decoder shows of latents as lanes have them on their way.

On its way a lane knows the first scales (`scales`), some of the codes (`vq`), or some of the latents, a few of them
still half noise (`vae`). Loss: mean of |x - x'| + (x - x')² over pixels, x by the decoder, x' by the sketch, with
1 + TOYS times the weight where x is of a strong colour, as toys are: without it their colours came out dull.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import weights
from engines.tokenizers import cache
from engines.tokenizers.cnn import psnr
from engines.tokenizers.model import Continuous, MultiScale, SingleScale
from engines.tokenizers.sketch import Sketch
from engines.training import Recipe

BATCH, CHUNKS, PASSES = 16, 4, 4  # chunks of the cache: the function is smooth, more scenes would teach nothing new
JUDGED = 512
SIZES = {"width": 64, "narrow": 24, "layers": 2}
TOYS, PALE, STRONG = 6.0, 0.6, 1.0  # the distance of a pixel's channels, from where weight grows and to where


def batches(tokenizer: str, part: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Part 0, 1, … of an endless stream: latents (b, C, s, s) and the decoder's pictures of them (b, 3, S, S)."""
    features, wanted = shown(tokenizer, part // PASSES)
    for pick in np.random.default_rng(part).permutation(len(features)).reshape(-1, BATCH):
        yield features[pick], wanted[pick].float()


@lru_cache(maxsize=1)
@torch.inference_mode()
def shown(tokenizer: str, piece: int) -> tuple[Tensor, Tensor]:
    """Unfinished latents of a chunk of scenes, and the decoder's pictures of them in fp16."""
    teacher, generator = cast(Any, weights.load(tokenizer)), torch.Generator().manual_seed(piece)
    features = underway(teacher, cache.chunk(tokenizer, piece % CHUNKS)[0], generator)
    some = features.contiguous(memory_format=torch.channels_last).split(64)
    return features, torch.cat([teacher.step(x).half() for x in some])


def underway(tokenizer: nn.Module, tokens: Tensor, generator: torch.Generator) -> Tensor:
    """Unfinished latents of pictures tokens (B, …) in the decoder's own space, (B, C, s, s)."""
    rows = len(tokens)
    net = cast(Any, tokenizer).session(lambda features: features)
    share = torch.rand(rows, 1, generator=generator).to(tokens.device)

    def chance(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator).to(tokens.device)

    if isinstance(net, MultiScale):
        f_hats = net.running(tokens.split([p * p for p in net.scales], dim=1))
        last = (share[:, 0] * len(net.scales)).long()
        return torch.stack(f_hats, dim=1)[torch.arange(rows), last]
    known = chance(rows, tokens.shape[1]) < share
    if isinstance(net, SingleScale):
        return net.decode_partial(tokens, known)
    assert isinstance(net, Continuous)
    # A set that is being denoised: the head's guess, here the truth with noise of any strength.
    guessed = chance(rows, tokens.shape[1]) < 0.3 * chance(rows, 1)
    noise = torch.randn(tokens.shape, generator=generator).to(tokens.device) * chance(rows, 1, 1)
    return net.decode(torch.where(known[..., None], tokens + noise * guessed[..., None], 0.0))


def loss(network: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, float]:
    features, wanted = batch
    strength = wanted.amax(1, keepdim=True) - wanted.amin(1, keepdim=True)
    weight = 1 + TOYS * ((strength - PALE) / (STRONG - PALE)).clamp(0, 1)
    error = (network(features) - wanted).abs()
    return (weight * (error + error.square())).mean(), 1.0


@torch.inference_mode()
def judge(tokenizer: str, network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """How near the sketch comes to the decoder on held-out scenes: PSNR in dB and mean error in percent of the range
    of a colour, over all moments of a lane; and PSNR of finished pictures."""
    teacher, sketch = cast(Any, weights.load(tokenizer)), cast(Any, network)
    tokens, generator = cache.held_out(tokenizer, count)[0], torch.Generator().manual_seed(0)
    own = teacher.session(lambda features: features)
    if isinstance(own, MultiScale):
        whole = own.running(tokens.split([p * p for p in own.scales], dim=1))[-1]
    else:
        whole = own.decode(tokens)
    parts = underway(teacher, tokens, generator)
    made, wanted = sketch.step(parts), teacher.step(parts)
    return {"psnr": psnr(made, wanted), "error": 50 * float(F.l1_loss(made, wanted)),
            "whole": psnr(sketch.step(whole), teacher.step(whole))}


def _recipe(tokenizer: str) -> Recipe:
    def build() -> nn.Module:
        return Sketch(channels=cast(Any, weights.load(tokenizer)).config["channels"], **SIZES)

    return Recipe(f"{tokenizer}_sketch", build, partial(batches, tokenizer), loss, partial(judge, tokenizer),
                  steps=8_000, learning_rate=4e-3, average=0.99, after=(tokenizer,))


RECIPES = {recipe.name: recipe for recipe in map(_recipe, ("tokenizers/scales", "tokenizers/vq", "tokenizers/vae"))}
