"""The laws of the painting loops, with table models in the place of networks; every broken twin must be caught.

A toy picture has 2 x 2 cells and three codes. Its law is enumerated step by step: codes of one step are independent
given what was known before it, so with one code a step the law is the table's own joint, in any order.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from engines import stats
from engines.noise import Noise
from engines.raster import nar, random_order, raster
from engines.raster.canvas import Canvas
from engines.raster.guidance import Rule
from engines.raster.neighbours import diagonals
from engines.runtime import Meter
from engines.tables import AnySubsetTable, chain_joint

CELLS, CODES = 4, 3
WITH, WITHOUT = (AnySubsetTable(chain_joint(CELLS, CODES, seed=seed)) for seed in (5, 6))
PLAIN = Rule(guidance=1.0)
Law = dict[tuple[int, ...], float]


class NoPictures:
    """A brush for lanes without a tokenizer."""

    def preview(self, *what: Any) -> Iterator[Any]:
        return iter(())

    final = preview


class Table:
    """Both networks in one: a joint with the caption, another without."""

    params, bytes, cache_bytes = 0, 0, 0

    def __call__(self, objects: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(rest) == 2:
            values, guided = rest
            cells, targets = torch.arange(values.shape[1])[None], torch.tensor([[values.shape[1]]])
        else:
            cells, values, targets, guided = rest
        known, want = [cells[0].tolist(), values[0].tolist()], targets[0].tolist()
        z = [t(*known, 0, want, [len(known[0])] * len(want)) for t in (WITH, WITHOUT)[: 2 if guided else 1]]
        return torch.from_numpy(np.stack(z))[:, None]


def painted(n: int, order: Sequence[int], steps: int, rule: Rule, fill: Callable[..., Any] = random_order.fill,
            ) -> Counter[tuple[int, ...]]:
    out: Counter[tuple[int, ...]] = Counter()
    for seed in range(n):
        canvas = Canvas(torch.full((1, 4, 4), -1), list(order))
        meter = Meter(lambda name: Table())
        how = (canvas, rule, Noise(seed), meter, NoPictures())
        for _ in fill(*how) if fill is raster.fill else fill(canvas, steps, *how[1:]):
            pass
        out[tuple(code for _, code in sorted(canvas.known))] += 1
    return out


def enumerated(order: Sequence[int], counts: Sequence[int], rule: Rule) -> Law:
    """p of every picture when counts[k] cells are drawn at step k, guided as the rule says."""
    law: dict[tuple[tuple[int, int], ...], float] = {(): 1.0}
    for count in counts:
        grown: dict[tuple[tuple[int, int], ...], float] = {}
        for known, p in law.items():
            cells, values = [c for c, _ in known], [v for _, v in known]
            targets = order[len(known) : len(known) + count]
            sees = [len(known)] * count
            z = WITH(cells, values, 0, targets, sees)
            if rule.guided:
                none = WITHOUT(cells, values, 0, targets, sees)
                z = none + rule.guidance * (z - none)
            q = np.exp(z - z.max(-1, keepdims=True))
            q /= q.sum(-1, keepdims=True)
            for drawn in itertools.product(range(CODES), repeat=count):
                share = float(np.prod([q[i, v] for i, v in enumerate(drawn)]))
                grown[known + tuple(zip(targets, drawn, strict=True))] = p * share
        law = grown
    return {tuple(v for _, v in sorted(known)): p for known, p in law.items()}


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1)])
def test_one_code_a_step_follows_the_joint_law_in_any_order(order):
    joint = enumerated(order, [1] * CELLS, PLAIN)
    # by the product rule this is the table itself, whatever the order
    assert all(abs(joint[x] - float(WITH.joint[x])) < 1e-12 for x in joint)
    assert stats.chi_square(painted(1_500, order, CELLS, PLAIN), joint)["p"] > 1e-3


def test_row_by_row_follows_the_joint_law():
    joint = {x: float(WITH.joint[x]) for x in itertools.product(range(CODES), repeat=CELLS)}
    assert stats.chi_square(painted(1_500, range(CELLS), CELLS, PLAIN, raster.fill), joint)["p"] > 1e-3


def test_several_codes_a_step_lose_the_joint_law_and_follow_the_product_of_what_each_saw():
    order, counts = (2, 0, 3, 1), [1, 3]
    seen = painted(1_500, order, 2, PLAIN)
    assert stats.chi_square(seen, enumerated(order, [1] * CELLS, PLAIN))["p"] < 1e-6
    assert stats.chi_square(seen, enumerated(order, counts, PLAIN))["p"] > 1e-3


def test_guided_codes_follow_the_guided_law_and_unguided_ones_do_not():
    order, rule = (1, 3, 0, 2), Rule(guidance=2.0)
    law = enumerated(order, [1] * CELLS, rule)
    assert stats.chi_square(painted(1_500, order, CELLS, rule), law)["p"] > 1e-3
    assert stats.chi_square(painted(1_500, order, CELLS, PLAIN), law)["p"] < 1e-6


QUARREL = 1.5 * torch.randn(CELLS, CODES, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


class Neighbours(Table):
    """The table by diagonals: the left neighbour says too much of some codes and the upper one as much too little."""

    def __call__(self, objects: torch.Tensor, *rest: Any) -> torch.Tensor:
        values, guided = rest
        (targets,) = (group for group in diagonals(2) if group[0] == values.shape[1])
        cells = torch.arange(values.shape[1])[None]
        z = super().__call__(objects, cells, values, torch.tensor([targets]), guided)
        return torch.stack([z + QUARREL[targets], z - QUARREL[targets]], dim=-2)


def by_diagonals(n: int, share: float, rule: Rule) -> Counter[tuple[int, ...]]:
    out: Counter[tuple[int, ...]] = Counter()
    order = [cell for group in diagonals(2) for cell in group]
    for seed in range(n):
        canvas = Canvas(torch.full((1, 4, 4), -1), list(order))
        for _ in nar.fill(canvas, share, rule, Noise(seed), Meter(lambda name: Neighbours()), NoPictures()):
            pass
        out[tuple(code for _, code in sorted(canvas.known))] += 1
    return out


@pytest.mark.parametrize("rule", [PLAIN, Rule(guidance=2.0)])
def test_a_diagonal_follows_the_mean_of_both_opinions_each_cell_for_itself(rule):
    order, counts = [0, 1, 2, 3], [1, 2, 1]
    seen, law = by_diagonals(1_500, 0.5, rule), enumerated(order, counts, rule)
    assert stats.chi_square(seen, law)["p"] > 1e-3
    # One opinion alone, or codes of a diagonal that see each other, are other laws.
    assert stats.chi_square(by_diagonals(1_500, 1.0, rule), law)["p"] < 1e-6
    assert stats.chi_square(seen, enumerated(order, [1] * CELLS, rule))["p"] < 1e-3
