"""How the claims about walks by one matrix are measured, from traces of the exhibit's own lanes.

A claim's networks come from the trial, so that a test can hand in others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from engines import stats
from engines.events import Commit
from engines.runtime import Trial
from engines.time_series import scores
from engines.time_series.canvas import SPECTRUM, runs_of, swing
from engines.time_series.model import LENGTH
from engines.worlds import series

Result = dict[str, Any]
ROWS, MADE = 64, 1_024
LONG = 4 * LENGTH
CLOSE, LESS = 0.1, 0.5
HOLES = (30, 50, 70)
# What is compared: title, lane, settings.
WAYS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("one matrix", "linear", {"trained": "linear"}),
    ("one matrix, on the circle", "linear", {"trained": "circle"}),
    ("official code's GRU", "gru", {}),
    ("no dynamics", "independent", {}),
)


def made(trial: Trial, lane: str, settings: dict[str, Any], count: int, steps: int = LENGTH) -> np.ndarray:
    """(count, steps, c) series that a lane makes, ROWS at a time."""
    out = []
    for seed in trial.seeds(-(-count // ROWS)):
        trial.ask()
        out.append(runs_of(trial.run(seed, {"samples": ROWS, "steps": steps, **settings}, lane, quiet=True)))
    return np.concatenate(out)[:count]


def real(count: int, steps: int = LENGTH, first: int = 0) -> np.ndarray:
    """Held-out series."""
    start = series.VALIDATION.start + first
    return series.pendulum(range(start, start + count), steps)


def off_circle(trial: Trial, seed: int, trained: str) -> float:
    """Mean distance of the eigenvalues in a run's trace from the unit circle."""
    events = trial.run(seed, {"trained": trained, "samples": 1, "steps": LENGTH // 2}, "linear", quiet=True)
    points = next(e for e in events if isinstance(e, Commit) and e.canvas == SPECTRUM).values
    return float(np.abs(np.hypot(*np.array(points).T) - 1).mean())


def constraint_moves_spectrum(trial: Trial) -> Iterator[Result]:
    """The eigenvalues of A, each time solved from latents drawn anew, of the constrained and the free network."""
    held: list[float] = []
    free: list[float] = []
    n = trial.size(24)
    for i, seed in enumerate(trial.seeds(n)):
        trial.ask()
        held.append(off_circle(trial, seed, "circle"))
        free.append(off_circle(trial, seed, "linear"))
        if i in (n // 3, n - 1):
            out, own, other = stats.ratio_of_means(held, free), stats.mean(held), stats.mean(free)
            yield out | {
                "holds": bool(out["high"] < LESS and own["high"] <= CLOSE),
                "reason": f"Mean distance from the circle {own['here']:.3f} with the constraint (at most {CLOSE} is "
                f"asked), {other['here']:.3f} without.",
                "points": [{"x": "with the constraint", "y": own["here"], "low": own["low"], "high": own["high"]},
                           {"x": "without", "y": other["here"], "low": other["low"], "high": other["high"]}]}


def cycle(x: np.ndarray) -> float:
    """Steps a full swing takes, from how often the angle of series (R, T, c) crosses its middle."""
    angle = x[..., 0] - x[..., 0].mean(1, keepdims=True)
    crossings = (np.diff(np.sign(angle), axis=1) != 0).sum(1).mean()
    return float(2 * (x.shape[1] - 1) / max(crossings, 1e-9))


def prior_rollout_vs_gru(trial: Trial) -> Iterator[Result]:
    """Swing in the last of four trained lengths over that of real series, as distance from 1. Paired by seed."""
    seeds = trial.seeds(trial.size(16))
    known, others = real(MADE, LONG), real(MADE, LONG, first=MADE)
    points = [{"x": "real series", "y": swing(others) / swing(known), "steps_a_swing": cycle(others)}]
    far: dict[str, list[float]] = {}
    kept: dict[str, float] = {}
    for title, lane, settings in WAYS[:3]:
        swings, cycles, early = [], [], []
        for seed in seeds:
            trial.ask()
            x = runs_of(trial.run(seed, {"samples": 16, "steps": LONG, **settings}, lane, quiet=True))
            swings.append(swing(x) / swing(known))
            cycles.append(cycle(x))
            early.append(swing(x[:, :LENGTH]) / swing(known[:, :LENGTH]))
        kept[title] = float(np.mean(swings) / np.mean(early))
        far[title] = [abs(v - 1) for v in swings]
        own = stats.mean(swings)
        points.append({"x": title, "y": own["here"], "low": own["low"], "high": own["high"],
                       "steps_a_swing": float(np.mean(cycles))})
    told = (f"Of its own swing in the trained length the matrix keeps {kept[WAYS[0][0]]:.2f}, the GRU "
            f"{kept[WAYS[2][0]]:.2f} (1 is all): what the GRU lacks, it mostly lacks from the start.")
    yield stats.mean(np.subtract(far[WAYS[0][0]], far[WAYS[2][0]]).tolist()) | {"points": points, "reason": told}


def _scored(trial: Trial, score: Any, ways: Any) -> Iterator[tuple[list[dict[str, Any]], dict[str, list[float]]]]:
    """Scores of each way over a few seeds of the judge, beside real series against other real series."""
    count, n = trial.size(MADE, at_least=ROWS), trial.size(3)
    own, others = real(count), real(count, first=count)
    sources = [("real series", others), *((title, made(trial, lane, s, count)) for title, lane, s in ways)]
    found: dict[str, list[float]] = {}
    points = []
    for title, x in sources:
        found[title] = []
        for seed in range(n):
            trial.ask()
            found[title].append(score(own, x, seed))
        mean = stats.mean(found[title])
        points.append({"x": title, "y": mean["here"], "low": mean["low"], "high": mean["high"], "n": n})
        yield list(points), found


def discriminative_score(trial: Trial) -> Iterator[Result]:
    """The linear prior's score minus that of the network without dynamics; the judge's own noise is in the points."""
    *_, (points, found) = _scored(trial, trial.subject or scores.discriminative, WAYS)
    yield stats.mean(np.subtract(found[WAYS[0][0]], found[WAYS[3][0]]).tolist()) | {"points": points}


def predictive_score(trial: Trial) -> Iterator[Result]:
    """The error of a predictor trained on the linear prior's series minus that on series without dynamics; the points
    have one trained on real series too."""
    *_, (points, found) = _scored(trial, trial.subject or scores.predictive, WAYS)
    yield stats.mean(np.subtract(found[WAYS[0][0]], found[WAYS[3][0]]).tolist()) | {"points": points}


def irregular(trial: Trial) -> Iterator[Result]:
    """Discriminative scores against whole real series, of networks whose training series lacked steps."""
    ways = [WAYS[0], *((f"{h} % missing", "linear", {"trained": f"holes-{h}"}) for h in HOLES)]
    *_, (points, found) = _scored(trial, trial.subject or scores.discriminative, ways)
    lost = [float(np.mean([found[f"{h} % missing"][i] for h in HOLES])) for i in range(len(found["real series"]))]
    yield stats.mean(np.subtract(lost, found[WAYS[0][0]]).tolist()) | {"points": points}
