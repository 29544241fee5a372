"""Recipes of the networks that read Bayes nets in parts (2304.03843).

    gap-local, gap-wrong   neighbourhoods of the net that the values come from; of another one
    gap-full               all variables but one of each held-out pair
    gap-seen               all variables, held-out pairs too (data efficiency)

All are one network and see about as many tokens a step: short texts come in larger batches.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.next_token import gap_text as text
from engines.next_token.gap_text import VALUE
from engines.next_token.model import BOS, END, Network
from engines.training import Recipe, by_length
from engines.worlds import bayes

SHAPE = {"layers": 3, "width": 64, "heads": 4, "hidden": 172}
ROWS = {"local": 128, "wrong": 128, "full": 48, "seen": 48}
COUNT = 1_024
STEPS = 6_000
JUDGED = 256


def batches(kind: str, part: int) -> list[Tensor]:
    """Part 0, 1, … of the samples of all nets, in batches (b, n + 1) of one length each, END last."""
    first = bayes.TRAIN.start + part * 64
    return by_length(text.samples(kind, first, COUNT), END, ROWS[kind], part)


def loss(kind: str, network: nn.Module, cells: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """Mean of -log p(token | tokens before it), names and values alike; nats."""
    tokens = F.pad(cells[:, :-1], (1, 0), value=BOS)
    return F.cross_entropy(network(tokens).flatten(0, 1), cells.flatten()), len(cells) / ROWS[kind]


@cache
def _held_out(kind: str, count: int) -> list[Tensor]:
    return by_length(text.samples(kind, bayes.TEST.start, count), END, 128, 0)


@torch.no_grad()
def judge(kind: str, network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """Nats a held-out text of the same kind, and the mean squared error of direct answers: of the network on held-out
    pairs and on pairs of neighbours, and of the answer that ignores the condition."""
    held = _held_out(kind, count)
    total = sum(loss(kind, network, cells, torch.Generator())[0].item() * cells.numel() for cells in held)
    close = [(k, bayes.Question(c, v, t)) for k, net in enumerate(bayes.nets()) for c, t in net.edges for v in (0, 1)]
    far = [(k, q) for k, net in enumerate(bayes.nets()) for q in net.questions]
    marginal = [(bayes.nets()[k].p(q.target, {}) - bayes.nets()[k].answer(q)) ** 2 for k, q in far]
    return {"nll": total / sum(len(cells) for cells in held), "direct": _error(network, far),
            "neighbours": _error(network, close), "marginal": float(np.mean(marginal))}


def _error(network: nn.Module, questions: list[tuple[int, bayes.Question]]) -> float:
    prompts = torch.tensor([[*text.asked(k, q), text.name(k, q.target)] for k, q in questions])
    z = network(prompts)[:, -1, VALUE : VALUE + 2]
    true = torch.tensor([bayes.nets()[k].answer(q) for k, q in questions])
    return float((z.softmax(-1)[:, 1].double() - true).square().mean())


def build() -> Network:
    return Network(vocab=text.VOCAB, length=text.LENGTH, **SHAPE)


def recipe(kind: str) -> Recipe:
    return Recipe(f"next_token/gap-{kind}", build, partial(batches, kind), partial(loss, kind), partial(judge, kind),
                  steps=STEPS, muon=True)


RECIPES = {r.name: r for r in map(recipe, ("local", "full", "wrong", "seen"))}
