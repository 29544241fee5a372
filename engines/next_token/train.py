"""Recipes of the left-to-right nets: a target and a small draft for it, on endless stories and on Shakespeare.

Readers of Bayes nets have theirs in `gap_train`.
"""

from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.next_token import gap_train
from engines.next_token.model import BOS, END, MASK, Network
from engines.training import Recipe, by_length, story_batches
from engines.worlds import shakespeare, stories

BATCH = 32
JUDGED = 512

TARGET = {"layers": 5, "width": 128, "heads": 4, "hidden": 344}
DRAFT = {"layers": 1, "width": 32, "heads": 2, "hidden": 88}
# Shakespeare needs a longer list of pieces, so one layer less pays for them; and real text needs a better draft.
PIECES_TARGET = {"layers": 4, "width": 128, "heads": 4, "hidden": 344}
PIECES_DRAFT = {"layers": 1, "width": 64, "heads": 2, "hidden": 176}
# The text is short and comes back every 150 steps or so: some of what is read is hidden, so that it is not learned
# by heart (word dropout, Bowman et al. 1511.06349).
FORGOTTEN = 0.1


def batches(part: int) -> list[Tensor]:
    """Part 0, 1, … of the training stories, as (b, n + 1) with END last."""
    return story_batches(stories.sample, stories.TRAIN, END, BATCH, part)


def loss(network: nn.Module, cells: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """Mean of -log p(cell | cells before it) over all cells of a batch (B, n + 1), END included; nats."""
    tokens = F.pad(cells[:, :-1], (1, 0), value=BOS)
    return F.cross_entropy(network(tokens).flatten(0, 1), cells.flatten()), len(cells) / BATCH


@cache
def held_out(count: int = JUDGED) -> tuple[list[Tensor], float]:
    """Stories of the validation range in batches, and their mean -log p under the grammar itself, in nats."""
    seeds = np.arange(stories.VALIDATION.start, stories.VALIDATION.start + count)
    batches = by_length(stories.sample(seeds), END, 64, 0)
    automaton = stories.automaton()
    exact = -sum(automaton.log_prob(row.numpy()) for batch in batches for row in batch) / count
    return batches, exact


@torch.no_grad()
def judge(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """Nats per held-out story of the network and of the grammar on the same stories; gap in percent of the latter.

    `entropy` is the grammar's own, over all its stories; `exact` scatters around it by sampling.
    """
    held, exact = held_out(count)
    total = 0.0
    for cells in held:
        tokens = F.pad(cells[:, :-1], (1, 0), value=BOS)
        total += F.cross_entropy(network(tokens).flatten(0, 1), cells.flatten(), reduction="sum").item()
    nll = total / count
    return {
        "nll": nll,
        "exact": exact,
        "entropy": float(stories.automaton().entropy()),
        "gap": 100 * (nll / exact - 1),
        "stories": count,
    }


def pieces_loss(network: nn.Module, cells: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """Mean of -log p(piece | pieces before it, a tenth of them hidden) over a batch (B, n); nats."""
    tokens = F.pad(cells[:, :-1], (1, 0), value=BOS)
    hidden = torch.rand(tokens.shape, generator=generator).to(tokens.device) < FORGOTTEN
    hidden[:, 0] = False
    logits = network(tokens.masked_fill(hidden, MASK))
    return F.cross_entropy(logits.flatten(0, 1), cells.flatten()), cells.numel() / (BATCH * stories.LENGTH)


@torch.no_grad()
def pieces_judge(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """Bits a character of held-out Shakespeare, in pages of 64 pieces; `pairs` is what counting pairs pays there."""
    rows = shakespeare.held_out(count)
    total = 0.0
    for cells in torch.from_numpy(rows).split(64):
        tokens = F.pad(cells[:, :-1], (1, 0), value=BOS)
        total += F.cross_entropy(network(tokens).flatten(0, 1), cells.flatten(), reduction="sum").item()
    return shakespeare.bits(total, rows) | {"pairs": shakespeare.pairs_bits(rows)}


def build(shape: dict[str, int]) -> Network:
    return Network(vocab=len(stories.VOCAB), length=stories.LENGTH, **shape)


def build_pieces(shape: dict[str, int]) -> Network:
    return Network(vocab=shakespeare.PIECES, length=stories.LENGTH, endless=1, **shape)


RECIPES = {
    "next_token/target": Recipe("next_token/target", partial(build, TARGET), batches, loss, judge, steps=9_000),
    "next_token/draft": Recipe("next_token/draft", partial(build, DRAFT), batches, loss, judge, steps=6_000),
    **gap_train.RECIPES,
} | {
    name: Recipe(name, partial(build_pieces, shape), partial(shakespeare.batches, BATCH), pieces_loss, pieces_judge,
                 steps=3_500, weight_decay=0.1)
    for name, shape in (("next_token/shakespeare", PIECES_TARGET), ("next_token/shakespeare_draft", PIECES_DRAFT))
}
