"""Recipe of the next-scale net: the true codes of all scales, each predicted from the canvas of the scales before it.

Cross-entropy with equal weight for all L cells, captions dropped in a tenth of the rows (arXiv 2404.02905, section 3).

Differs: four object tokens and the embedding of the covered cell stand where the paper has one class embedding; the
rate falls to zero within minutes; weights are averaged. Codes come from a cache, pictures are not cropped anew.
"""

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import weights
from engines.captions import dropped
from engines.next_scale.model import Network
from engines.next_scale.sample import NET, TOKENIZER, canvases, paint
from engines.tokenizers import cache as written
from engines.training import Recipe
from engines.worlds import judges

BATCH = 32
DROP = 0.1
JUDGED = 256
SHAPE = {"layers": 5, "width": 128, "heads": 4, "hidden": 480}


@cache
def tokenizer(device: str = "cpu") -> Any:
    """The stored tokenizer, on the device that trains."""
    net = weights.load(TOKENIZER)
    return net if device == "cpu" else copy.deepcopy(net).to(device)


def batches(part: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Part 0, 1, … of the training scenes: codes (b, L) int64 and captions (b, 4, 4)."""
    return written.tokens(TOKENIZER, part, BATCH)


def loss(network: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, float]:
    """Mean of -log p(code | canvas, caption) over all cells of all scales; nats."""
    ids, captions = batch
    with torch.no_grad():
        canvas = canvases(tokenizer(str(ids.device)), ids)
    keep = dropped(len(ids), DROP, generator).to(ids.device)
    net = cast(Network, network)
    logits = net(*net.condition(captions, keep), canvas)
    return F.cross_entropy(logits.flatten(0, 1), ids.flatten()), len(ids) / BATCH


@cache
def held_out(count: int) -> tuple[Tensor, Tensor]:
    return written.held_out(TOKENIZER, count)


@torch.inference_mode()
def judge(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """Nats per held-out code, and what the scoring judge reads in pictures painted from held-out captions, percent."""
    net, tok = cast(Network, network), tokenizer()
    ids, captions = held_out(count)
    nll = [
        F.cross_entropy(net(*net.condition(c), canvases(tok, i)).flatten(0, 1), i.flatten()).item()
        for i, c in zip(ids.split(64), captions.split(64), strict=True)
    ]
    objects, whole = judges.score(paint(net, tok, captions, range(count)), captions)
    there = captions[..., 0] >= 0
    return {
        "nll": sum(nll) / len(nll),
        "objects": 100 * float(objects[there].float().mean()),
        "scenes": 100 * float(whole.float().mean()),
        "pictures": count,
    }


def build() -> Network:
    config = weights.record(TOKENIZER)["config"]
    return Network(vocab=config["codes"], channels=config["channels"], scales=config["scales"], **SHAPE)


AFTER = (TOKENIZER, "scenes/judge_scoring")
RECIPES = {NET: Recipe(NET, build, batches, loss, judge, steps=6_000, after=AFTER)}
