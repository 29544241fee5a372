"""Recipes of the networks: teacher forcing on the 64 codes of a scene, now and then without its caption.

`raster` reads row by row (2406.06525). `random` is given a fresh permutation for every picture at every step and is
asked for each code when it has been told where that code goes (2412.01827). `nar` reads diagonal by diagonal and is
asked for the mean of what two heads say (2503.10696).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import weights
from engines.captions import dropped
from engines.raster import nar, random_order, raster
from engines.raster.canvas import VQ
from engines.raster.guidance import Rule
from engines.raster.model import RandomOrder, Raster
from engines.raster.neighbours import Neighbours
from engines.raster.sampler import paint
from engines.tokenizers.cache import held_out, tokens
from engines.training import Recipe
from engines.worlds import judges

BATCH = 32
DROP = 0.1
JUDGED = 256
SHAPE = {"layers": 5, "width": 128, "heads": 4, "hidden": 352}


# As large as the others within 5 %, as deep, and with as many heads in its blocks: the second head takes from `hidden`.
TWO_HEADS = SHAPE | {"hidden": 336}


def build(kind: type[Raster], shape: dict[str, int] = SHAPE) -> Raster:
    """A fresh network for the codes of the stored tokenizer."""
    config = weights.record(VQ)["config"]
    return kind(vocab=config["codes"], side=config["size"], **shape)


def batches(part: int) -> Iterable[tuple[Tensor, Tensor]]:
    """(codes (b, 64), captions (b, 4, 4)) of the part-th piece of the stream."""
    return tokens(VQ, part, BATCH)


def raster_loss(network: nn.Module, batch: Any, generator: torch.Generator) -> tuple[Tensor, float]:
    """Mean of -log p(code | caption, codes before it), nats."""
    codes, objects = batch
    net = cast(Raster, network)
    keep = dropped(len(codes), DROP, generator).to(codes.device)
    logits = net(*net.condition(objects, keep), codes[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), codes.flatten()), 1.0


def random_loss(network: nn.Module, batch: Any, generator: torch.Generator) -> tuple[Tensor, float]:
    """The same in a fresh order for each row: mean of -log p(code of π_i | caption, codes of π_<i, π_i)."""
    codes, objects = batch
    net = cast(RandomOrder, network)
    keep = dropped(len(codes), DROP, generator).to(codes.device)
    order = torch.rand(codes.shape, generator=generator).argsort(dim=1).to(codes.device)
    logits = net(*net.condition(objects, keep), codes, order)
    return F.cross_entropy(logits.flatten(0, 1), codes.gather(1, order).flatten()), 1.0


def neighbours_loss(network: nn.Module, batch: Any, generator: torch.Generator) -> tuple[Tensor, float]:
    """The same by diagonals: mean of -log p(code | caption, diagonals before its own), p of the mixed logits."""
    codes, objects = batch
    net = cast(Neighbours, network)
    keep = dropped(len(codes), DROP, generator).to(codes.device)
    logits = net(*net.condition(objects, keep), codes)
    return F.cross_entropy(logits.flatten(0, 1), codes[:, net.order].flatten()), 1.0


@cache
def _held_out(count: int) -> tuple[Tensor, Tensor]:
    return held_out(VQ, count)


def shuffled(seed: int) -> list[int]:
    """A random order of the 64 cells, always the same for a seed."""
    return torch.randperm(64, generator=torch.Generator().manual_seed(seed)).tolist()


@torch.no_grad()
def judge(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """Nats per held-out code, and what the scoring judge finds right in pictures of as many held-out captions.

    objects, scenes: percent, at the best of a few guidance scales (`guidance`).
    """
    net = cast(Any, network)
    codes, objects = _held_out(count)
    any_order = isinstance(network, RandomOrder)
    orders = torch.tensor([shuffled(i) for i in range(count)])
    condition = net.condition(objects)
    if any_order:
        logits, wanted = net(*condition, codes, orders), codes.gather(1, orders)
    elif isinstance(network, Neighbours):
        logits, wanted = net(*condition, codes), codes[:, network.order]
    else:
        logits, wanted = net(*condition, codes[:, :-1]), codes
    nll = F.cross_entropy(logits.flatten(0, 1), wanted.flatten()).item()
    vq = cast(Any, weights.load(VQ))
    found = []
    for scale in (1.5, 2.5):
        drawn = paint(net, objects, range(count), Rule(guidance=scale), shuffled if any_order else None)
        right, whole = judges.score(vq.decode(drawn), objects)
        there = objects[..., 0] >= 0
        found.append((100 * whole.float().mean().item(), 100 * right[there].float().mean().item(), scale))
    scenes, right_, scale = max(found)
    return {"nll": nll, "objects": right_, "scenes": scenes, "guidance": scale, "captions": count}


# Tried on stand-in codes (patches of scenes, k-means), equal seconds: AdamW at 3e-3 left the any-order network at 5.03
# nats a code, Muon for the blocks' matrices at 3e-3 at 3.98, at 6e-3 at 2.83. Half the batch was worse (5.26 for 5.03).
RECIPES = {
    raster.NET: Recipe(raster.NET, partial(build, Raster), batches, raster_loss, judge, steps=3_000,
                       learning_rate=6e-3, muon=True, after=(VQ, "scenes/judge_scoring")),
    random_order.NET: Recipe(random_order.NET, partial(build, RandomOrder), batches, random_loss, judge, steps=2_500,
                             learning_rate=6e-3, muon=True, after=(VQ, "scenes/judge_scoring")),
    # As many steps as the stored `raster` had: the claims compare the two.
    nar.NET: Recipe(nar.NET, partial(build, Neighbours, TWO_HEADS), batches, neighbours_loss, judge, steps=1_770,
                    learning_rate=6e-3, muon=True, after=(VQ, "scenes/judge_scoring")),
}
