"""Recipes of the any-subset nets: random blanks, filled in some order, all scored in one pass.

The order protocol of arXiv 2504.20456: a set of blanks has one order, from left to right, so the net learns 2^N
questions instead of N!. A batch has one share of blanks, drawn from U(0.1, 1); each row has its own blanks.
`subset` learns that. `ordered` has the same shape, budget and stories, and learns two orders: each row is filled
from left to right or by bisection (`orders.bisection`), by the toss of a coin.

Differs: the paper starts from XLNet, which was trained on all orders; this net starts from nothing. With the joint
loss alone it would only ever be asked for the leftmost open blank, and its guesses further ahead, which are the
drafts of self-speculation, would be noise (measured: 4-5 nats a guess where 0.5 is exact, so two cells a round at
best). So a second term asks for blanks further ahead, given the ranks known at a random moment of the order.
"""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.any_order.model import END, Network
from engines.any_order.orders import bisection
from engines.training import Recipe, by_length, story_batches
from engines.worlds import shakespeare, stories

BATCH = 16
JUDGED = 192
RATE = (0.1, 1.0)
# Guesses ahead that are trained for each row, and what they weigh beside the joint loss.
AHEAD, AHEAD_WEIGHT = 16, 0.5
# (rows, length, blanks, generator) -> decoding orders (rows, length + 1)
Draw = Callable[[int, int, int, torch.Generator], Tensor]
SHAPE = {"layers": 5, "width": 128, "heads": 4, "hidden": 344}
# One layer less pays for the longer list of pieces.
PIECES_SHAPE = {"layers": 4, "width": 128, "heads": 4, "hidden": 344}
SHORTEST = 17


def batches(part: int) -> list[Tensor]:
    """Part 0, 1, … of the training stories, as (b, n + 1) with END last."""
    return story_batches(stories.sample, stories.TRAIN, END, BATCH, part)


def ascending(rows: int, length: int, blanks: int, generator: torch.Generator) -> Tensor:
    """Decoding orders (rows, length + 1): what is visible, ascending; the END cell; then random blanks, ascending."""
    shuffled = torch.rand(rows, length, generator=generator).argsort(dim=1)
    visible, blank = shuffled[:, blanks:].sort(dim=1).values, shuffled[:, :blanks].sort(dim=1).values
    return torch.cat([visible, torch.full((rows, 1), length), blank], dim=1)


def far_apart(rows: int, length: int, blanks: int, generator: torch.Generator) -> Tensor:
    """As `ascending`, the blanks in the order of bisection."""
    order = ascending(rows, length, blanks, generator)
    order[:, length + 1 - blanks :] = torch.tensor([bisection(row[length + 1 - blanks :]) for row in order.tolist()])
    return order


def at_random(rows: int, length: int, blanks: int, generator: torch.Generator) -> Tensor:
    """As `ascending`, the blanks in any order: what no net here was trained for."""
    order = ascending(rows, length, blanks, generator)
    mixed = torch.rand(rows, blanks, generator=generator).argsort(dim=1)
    order[:, length + 1 - blanks :] = order[:, length + 1 - blanks :].gather(1, mixed)
    return order


def either(rows: int, length: int, blanks: int, generator: torch.Generator) -> Tensor:
    """Each row ascending or by bisection."""
    order = ascending(rows, length, blanks, generator)
    for row in (torch.rand(rows, generator=generator) < 0.5).nonzero().flatten().tolist():
        order[row, length + 1 - blanks :] = torch.tensor(bisection(order[row, length + 1 - blanks :].tolist()))
    return order


def loss(
    network: nn.Module, cells: Tensor, generator: torch.Generator, draw: Draw = ascending
) -> tuple[Tensor, float]:
    """Mean of -log p(blank | what is visible, earlier blanks) over the blanks of a batch (B, n + 1); nats.

    To it is added AHEAD_WEIGHT times the mean of -log p(a later blank | ranks before a random moment).
    """
    rows, length = cells.shape[0], cells.shape[1] - 1
    rate = RATE[0] + (RATE[1] - RATE[0]) * torch.rand((), generator=generator).item()
    blanks = max(1, round(rate * length))
    order = draw(rows, length, blanks, generator).to(cells.device)
    values, prompt = cells.gather(1, order), length + 1 - blanks
    seen = prompt + int(torch.randint(blanks, (), generator=generator))
    # The blank right after `seen` is already asked for with the same knowledge by the joint loss.
    later = length - seen
    picks = torch.rand(rows, later, generator=generator).argsort(dim=1)[:, :AHEAD].to(cells.device) + seen + 1
    logits = network(order, values, prompt, order.gather(1, picks), seen)
    joint = F.cross_entropy(logits[:, :blanks].flatten(0, 1), values[:, prompt:].flatten())
    if not later:
        return joint, rows / BATCH
    ahead = F.cross_entropy(logits[:, blanks:].flatten(0, 1), values.gather(1, picks).flatten())
    return joint + AHEAD_WEIGHT * ahead, rows / BATCH


@cache
def held_out(count: int = JUDGED, draw: Draw = ascending) -> tuple[list[tuple[Tensor, Tensor, int]], float, int]:
    """Held-out questions [(order, values, prompt)], their cost in nats under the grammar, the blanks in all."""
    seeds = np.arange(stories.VALIDATION.start, stories.VALIDATION.start + count)
    automaton = stories.automaton()
    generator = torch.Generator().manual_seed(2504_20456)
    questions, exact, total = [], 0.0, 0
    # One row a question: evenly spread rates, and the exact answer is found per story anyway.
    for i, cells in enumerate(row for batch in by_length(stories.sample(seeds), END, 1, 0) for row in batch):
        length = len(cells) - 1
        blanks = max(1, round((RATE[0] + (RATE[1] - RATE[0]) * (i + 0.5) / count) * length))
        order = draw(1, length, blanks, generator)
        prompt = length + 1 - blanks
        visible = cells.clone()
        visible[order[0, prompt:]] = -1
        exact += automaton.log_prob_visible(visible.numpy()) - automaton.log_prob(cells.numpy())
        total += blanks
        questions.append((order, cells[order[0]][None], prompt))
    return questions, exact, total


@torch.no_grad()
def judge(network: nn.Module, count: int = JUDGED, draw: Draw = ascending) -> dict[str, float]:
    """Nats per held-out blank of the network and of the grammar on the same questions; gap in percent of the latter."""
    questions, exact, blanks = held_out(count, draw)
    total = 0.0
    for order, values, prompt in questions:
        logits = network(order, values, prompt)[0]
        total += F.cross_entropy(logits, values[0, prompt:], reduction="sum").item()
    return {
        "nll": total / blanks,
        "exact": exact / blanks,
        "gap": 100 * (total / exact - 1),
        "stories": count,
        "blanks": blanks,
    }


def judge_orders(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """As `judge` over both orders that `ordered` learns; beside it the gap of each, and that of an unlearnt one."""
    one, other, third = (judge(network, count, draw) for draw in (ascending, far_apart, at_random))
    both = {name: (one[name] + other[name]) / 2 for name in ("nll", "exact")}
    return one | both | {
        "gap": 100 * (both["nll"] / both["exact"] - 1),
        "gap_ascending": one["gap"],
        "gap_bisection": other["gap"],
        "gap_random": third["gap"],
    }
@torch.no_grad()
def pieces_judge(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """Bits a character of blanks in held-out Shakespeare, pages of 63 pieces, shares of blanks spread evenly."""
    rows = shakespeare.held_out(count)[:, : stories.LENGTH - 1]
    generator = torch.Generator().manual_seed(2504_20456)
    total, asked = 0.0, []
    for i, row in enumerate(rows):
        length = len(row)
        blanks = max(1, round((RATE[0] + (RATE[1] - RATE[0]) * (i + 0.5) / len(rows)) * length))
        order = ascending(1, length, blanks, generator)
        values = torch.from_numpy(np.append(row, END))[order[0]][None]
        prompt = length + 1 - blanks
        total += F.cross_entropy(network(order, values, prompt)[0], values[0, prompt:], reduction="sum").item()
        asked.append(values[0, prompt:].numpy())
    return shakespeare.bits(total, np.concatenate(asked)) | {"blanks": sum(map(len, asked))}


def build() -> Network:
    return Network(vocab=len(stories.VOCAB), length=stories.LENGTH, **SHAPE)


def build_pieces() -> Network:
    return Network(vocab=shakespeare.PIECES, length=stories.LENGTH, **PIECES_SHAPE)


RECIPES = {
    "any_order/subset": Recipe("any_order/subset", build, batches, loss, judge, steps=14_000, muon=True),
    "any_order/ordered": Recipe(
        "any_order/ordered", build, batches, partial(loss, draw=either), judge_orders, steps=14_000, muon=True
    ),
    "any_order/shakespeare": Recipe(
        "any_order/shakespeare", build_pieces, partial(shakespeare.batches, BATCH, shortest=SHORTEST, end=True),
        partial(loss, draw=either), pieces_judge, steps=14_000, muon=True, weight_decay=0.1,
    ),
}
