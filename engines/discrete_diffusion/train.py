"""Recipes of the diffusion nets: masks of every size on whole stories, their END and PADs among the cells.

`radd` learns by the any-order loss (AO, arXiv 2406.03736: exactly k cells masked, weight d / k, so each story counts as
the mean over its masked cells), which has the least scatter of the four losses; `sedd`, its twin that is told the time,
by SEDD's own score entropy. Half of the stories are told where they end: then END and the PADs stay visible, as on a
page of the exhibit, and are not counted.

Differs: the paper trains 162 M parameters by lambda-DCE for 400,000 steps with AdamW; here Muon for the matrices.
"""

from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines.discrete_diffusion import losses
from engines.discrete_diffusion.model import Network
from engines.training import Recipe
from engines.worlds import stories
from engines.worlds.stories import BOS, END, HIDDEN, LENGTH, MASK

BATCH, PART = 32, 4_096
JUDGED = 256
TOLD = 0.5
SHAPE = {"vocab": len(stories.VOCAB), "layers": 5, "width": 128, "heads": 4, "length": LENGTH, "never": (BOS, MASK)}
# The twin's layers that hear the time are paid for by a narrower feed-forward step: parameters equal within 1 %.
HIDDEN_UNITS, TWIN_UNITS, TWIN_TOLD = 480, 424, 16


def batches(part: int) -> list[Tensor]:
    """Part 0, 1, … of the training stories, as (BATCH, 64)."""
    first = stories.TRAIN.start + part * PART % (len(stories.TRAIN) - PART)
    return list(torch.from_numpy(stories.sample(np.arange(first, first + PART))).split(BATCH))


def maskable(cells: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 64) bool: all cells, but for a share TOLD of the stories only those before END."""
    told = torch.rand(len(cells), generator=generator).to(cells.device) < TOLD
    before_end = (cells == END).cumsum(1) == 0
    return before_end | ~told[:, None]


def even(rows: int, generator: torch.Generator) -> Tensor:
    """(B,) numbers in [0, 1), spread evenly."""
    return (torch.rand((), generator=generator) + torch.arange(rows) / rows) % 1


def loss(network: Any, cells: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """Mean of -log q over k masked cells of each story, k evenly spread from 1 to all; nats a cell."""
    may = maskable(cells, generator)
    d = may.sum(1)
    k = 1 + (even(len(cells), generator).to(cells.device) * d).long().clamp(max=LENGTH - 1)
    u = torch.rand(cells.shape, generator=generator).to(cells.device).masked_fill(~may, 2.0)
    x_t = losses.masked_exactly(cells, torch.minimum(k, d), u, network.mask)
    missed = losses.misses(network.log_q(x_t), cells, x_t, network.mask)
    return (missed.sum(1) / torch.minimum(k, d)).mean(), len(cells) / BATCH


def twin_loss(network: Any, cells: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """SEDD's score entropy at times spread evenly; nats a cell."""
    may = maskable(cells, generator)
    t = losses.even_times(torch.rand((), generator=generator), len(cells)).to(cells.device)
    u = torch.rand(cells.shape, generator=generator).to(cells.device).masked_fill(~may, 2.0)
    x_t = losses.masked_by(cells, (1 - losses.EPS) * t, u, network.mask)
    score = losses.sedd_score(network(x_t, losses.log_linear(t)[0]), t)
    return (losses.t_dse(score, cells, x_t, t, network.mask) / may.sum(1)).mean(), len(cells) / BATCH


@cache
def held_out(count: int = JUDGED) -> tuple[Tensor, Tensor, Tensor, float]:
    """Held-out stories x_0, masked x_t at times t, and what the grammar's own conditionals cost, in nats a story."""
    x_0 = torch.from_numpy(stories.sample(np.arange(stories.VALIDATION.start, stories.VALIDATION.start + count)))
    generator = torch.Generator().manual_seed(2406_03736)
    t = losses.even_times(torch.rand((), generator=generator), count)
    x_t = losses.masked_by(x_0, (1 - losses.EPS) * t, torch.rand(x_0.shape, generator=generator), HIDDEN)
    missed = []
    for story, shown in zip(x_0.numpy(), x_t.numpy(), strict=True):
        p = stories.automaton().marginals(shown)[np.arange(LENGTH), story]
        missed.append(-np.log(p[shown == HIDDEN]).sum())
    exact = losses.t_dce(torch.tensor(np.array(missed))[:, None].float(), t).mean().item()
    return x_0, x_t, t, exact


@torch.no_grad()
def judge(network: Any, count: int = JUDGED) -> dict[str, float]:
    """The bound in nats a held-out story, and what the grammar's conditionals pay on the same masks; gap in percent."""
    x_0, x_t, t, exact = held_out(count)
    total = 0.0
    for rows in torch.arange(count).split(64):
        hidden = torch.where(x_t[rows] == HIDDEN, network.mask, x_t[rows])
        at = t[rows]
        score = (losses.sedd_score(network(hidden, losses.log_linear(at)[0]), at) if network.told
                 else losses.radd_score(network.log_q(hidden), at))
        total += losses.t_dse(score, x_0[rows], hidden, at, network.mask).sum().item()
    return {"nll": total / count, "exact": exact, "gap": 100 * (total / count / exact - 1), "stories": count}


def build(**more: int) -> Network:
    return Network(**SHAPE, **more)  # type: ignore[arg-type]


RECIPES = {
    "discrete_diffusion/radd": Recipe("discrete_diffusion/radd", partial(build, hidden=HIDDEN_UNITS), batches, loss,
                                      judge, steps=20_000, muon=True),
    "discrete_diffusion/sedd": Recipe("discrete_diffusion/sedd", partial(build, hidden=TWIN_UNITS, told=TWIN_TOLD),
                                      batches, twin_loss, judge, steps=20_000, muon=True),
}
