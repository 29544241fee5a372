"""Two small benches on which the answer is known: chains of normal steps for one or two numbers instead of a token.

They run through the very functions of `cspd` (`diffloss.walk`, `verdict.judge`), with a head that is a formula.
`line`: target and draft are perfect diffusions of two normal laws; every step is linear, so what the target draws is
normal, and its mean and variance follow step by step. `plane`: two steps; which of four middles the second aims at
hangs on the signs of where the first led, so the target draws a mixture of four normals with known weights.
Draft and target differ in every step's spread, so Σ is not 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines import stats
from engines.masked_continuous.checked import Judge
from engines.masked_continuous.diffloss import Denoise, Schedule, moments, walk
from engines.masked_continuous.sampler import APART, start_of, steps_of
from engines.masked_continuous.verdict import EXACT, Check, Verdict, judge, last
from engines.noise import Noise

STEPS, TOP, LOW = 4, 900, 420  # of the line: few and coarse, so that its steps matter
EDGES = np.linspace(-3, 3, 7)  # of the cells that the plane is counted in; the outer ones are open


@dataclass(frozen=True)
class Toy:
    """p(tokens) is the p-value of n draws (n, C) under the target's law, `sd` its standard deviation in channel 0."""

    channels: int
    schedule: Schedule
    target: Denoise
    draft: Denoise
    p: Callable[[np.ndarray], float]
    sd: float


def answer(schedule: Schedule, i: int, x: Tensor, believed: Tensor, sd: float) -> Tensor:
    """What a head has to say at x for a step that believes in this clean token and has this spread."""
    eps = (schedule.unscale[i] * x - believed) / schedule.remove[i]
    share = (2 * math.log(sd) - schedule.log_small[i]) / (schedule.log_large[i] - schedule.log_small[i])
    return torch.cat([eps, torch.full_like(x, 2 * share - 1)], dim=-1)


def perfect(schedule: Schedule, mu: float, sd: float) -> Denoise:
    """The head that makes each backward step the true one, for clean tokens ~ N(mu, sd²)."""

    def denoise(x: Tensor, i: int) -> Tensor:
        abar = schedule.abar[i]
        total = abar * sd**2 + 1 - abar
        believed = mu + math.sqrt(abar) * sd**2 / total * (x - math.sqrt(abar) * mu)
        left = sd**2 * (1 - abar) / total  # what is not known of x_0 once x_t is seen
        known = math.exp(schedule.log_small[i]) if i else 0.0
        return answer(schedule, i, x, believed, math.sqrt(known + schedule.from_x_0[i] ** 2 * left))

    return denoise


def drawn_by(schedule: Schedule, denoise: Denoise) -> tuple[float, float]:
    """Mean and standard deviation of what a chain of linear steps draws, in float64."""
    mean, variance = 0.0, 1.0
    for i in reversed(range(len(schedule))):
        x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        after, log_sd, _ = moments(schedule, denoise(x, i), x, i)
        at_0, at_1 = after[:, 0].tolist()
        mean, variance = at_0 + (at_1 - at_0) * mean, (at_1 - at_0) ** 2 * variance + math.exp(2 * float(log_sd[0, 0]))
    return mean, math.sqrt(variance)


def line() -> Toy:
    """N(0.5, 0.7²) drafted by N(0.2, 1)."""
    schedule = Schedule(STEPS, TOP, LOW)
    target, draft = perfect(schedule, 0.5, 0.7), perfect(schedule, 0.2, 1.0)
    mean, sd = drawn_by(schedule, target)

    def p(x: np.ndarray) -> float:
        from scipy import stats as tests  # noqa: PLC0415 - a second's import, which only who measures needs

        return float(tests.kstest(x[:, 0], "norm", (mean, sd)).pvalue)

    return Toy(1, schedule, target, draft, p, sd)


def _leap(schedule: Schedule, first: float, reach: float, sds: Sequence[float]) -> Denoise:
    """Two steps: a blur around (first, -first), then towards a corner that the signs of the blurred point choose."""

    def denoise(x: Tensor, i: int) -> Tensor:
        if i:
            believed = torch.tensor([first, -first], dtype=x.dtype).expand_as(x)
        else:
            signs = torch.where(x >= 0, 1.0, -1.0)
            believed = reach * torch.stack([signs[:, 0], signs[:, 0] * signs[:, 1]], dim=-1)
        return answer(schedule, i, x, believed, sds[i])

    return denoise


def plane() -> Toy:
    """Four corners of a square, drafted by corners a little further out and blurred more."""
    from scipy import stats as tests  # noqa: PLC0415 - as above

    schedule = Schedule(2, 600, 200)
    sds, first, reach = (0.8, 0.6), 0.3, 1.0
    target, draft = _leap(schedule, first, reach, sds), _leap(schedule, -0.1, 1.3, (0.9, 0.85))
    at = schedule.from_x_0[1] * first * np.array([1, -1])
    up = tests.norm.cdf(at / math.hypot(schedule.from_x_t[1], sds[1]))  # chance that each coordinate is positive
    edges = [-np.inf, *EDGES, np.inf]
    mass = {s: np.diff(tests.norm.cdf(edges, s * reach, sds[0])) for s in (1, -1)}
    cells, variance = np.zeros((len(edges) - 1,) * 2), sds[0] ** 2 + reach**2 * (1 - (2 * up[0] - 1) ** 2)
    for a in (1, -1):
        for b in (1, -1):
            chance = (up[0] if a > 0 else 1 - up[0]) * (up[1] if b > 0 else 1 - up[1])
            cells += chance * np.outer(mass[a], mass[a * b])
    law = {(i, j): float(cells[i, j]) for i in range(len(cells)) for j in range(len(cells))}

    def p(x: np.ndarray) -> float:
        i, j = (np.searchsorted(EDGES, x[:, c]) for c in range(2))
        found, counts = np.unique(np.stack([i, j], axis=1), axis=0, return_counts=True)
        seen = {(int(a), int(b)): int(n) for (a, b), n in zip(found, counts, strict=True)}
        return float(stats.chi_square(seen, law)["p"])

    return Toy(2, schedule, target, draft, p, math.sqrt(variance))


def draws(
    toy: Toy, seed: int, n: int, check: Check = EXACT, aligned: bool = True, judge: Judge = judge
) -> Verdict:
    """n tokens, each drafted and checked by itself, as in a round of `cspd`."""
    noise, cells, S, C = Noise(seed), list(range(n)), len(toy.schedule), toy.channels
    start, steps = start_of(noise, cells, C), steps_of(noise, cells, S, C)
    q = walk(toy.schedule, toy.draft, start, steps)
    x = last(q, steps[-1])
    if not aligned:
        start, steps = start_of(noise, cells, C, APART), steps_of(noise, cells, S, C, APART)
    return judge(noise, cells, x, walk(toy.schedule, toy.target, start, steps), q, check)


BENCHES: dict[str, Callable[[], Toy]] = {"a line": line, "a plane": plane}


def fit(seed: int, n: int, check: Check, judge: Judge, aligned: bool = True) -> dict[str, Any]:
    """n draws on each bench: {"p": the smaller p-value, doubled because there are two, "n", "stays", "sd"}.

    sd: of what the line gave, over the target's own.
    """
    worst, stays, sd = 1.0, [], 0.0
    for name, make in BENCHES.items():
        toy = make()
        found = draws(toy, seed, n, check, aligned, judge)
        x = found.tokens.double().numpy()
        worst = min(worst, toy.p(x))
        stays.append(float(found.stays.mean()))
        if name == "a line":
            sd = float(x[:, 0].std()) / toy.sd
    return {"p": min(1.0, 2 * worst), "n": n, "stays": stays, "sd": sd}
