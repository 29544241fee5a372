"""How the claims about drafted continuous tokens are measured. Each function takes a `Trial`.

`trial.subject` replaces what is put to the test: how drafts are judged (`law`, `sigma`), what share of them stays
(`alignment`), or who paints the pictures (`judge_`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from engines import stats, weights
from engines.events import Done, Event, Forward
from engines.masked_continuous import cspd, toys
from engines.masked_continuous.checked import Judge, Plan, Tally, paint_checked
from engines.masked_continuous.claims import captions_of, chunks, percent
from engines.masked_continuous.diffloss import Walk
from engines.masked_continuous.model import DRAFT, NET, VAE
from engines.masked_continuous.sampler import ROWS
from engines.masked_continuous.sets import rounds
from engines.masked_continuous.verdict import Check, Verdict, judge
from engines.noise import Noise
from engines.runtime import Trial

Result = dict[str, Any]
Twin = tuple[Check, Judge]
REAL: Twin = (Check(), judge)


def keep_all(noise: Noise, cells: list[int], x: Tensor, p: Walk, q: Walk, check: Check) -> Verdict:
    """A broken check: every draft stays."""
    n = len(cells)
    return Verdict(np.ones(n), np.zeros(n), np.ones(n, dtype=bool), x, np.zeros(n, dtype=int), np.zeros(n, dtype=bool))


TWINS: dict[str, Twin] = {
    "with the paper's Σ": (Check("paper"), judge),
    "with Σ as in the official code": (Check("code"), judge),
    "inner temperature 42": (Check(T=42.0), judge),
    "accept always": (Check(), keep_all),
}
TEST = ("a line, Kolmogorov-Smirnov, and a plane, chi-square of 64 cells; the smaller p-value, doubled; real p > 1e-3, "
        "every twin p < 1e-6")


# law-toy-aligned ----------------------------------------------------------------------------------------


def law(trial: Trial) -> Iterator[Result]:
    """Drafted and checked tokens of both benches against the target's law; broken checks must be caught."""
    seed, (check, how) = trial.seeds(1)[0], trial.subject or REAL
    real = toys.fit(seed, 20_000, check, how)
    twins: dict[str, Result] = {}
    for name, twin in TWINS.items():
        trial.ask()
        twins[name] = toys.fit(seed, 4_000, *twin)
    yield stats.law(real | {"df": 63}, twins) | {"test": TEST, "conditions": {"batch": 20_000}}


# ratio-sigma-breaks-the-law -----------------------------------------------------------------------------


def sigma(trial: Trial) -> Iterator[Result]:
    """How wide the line's tokens are spread with the paper's Σ, over the target's own spread; without Σ it is 1.

    Holds: the first interval lies above 1 and the second holds 1.
    """
    how: Judge = trial.subject or judge
    n, seed = trial.size(12_000, at_least=4_000), trial.seeds(1)[0]
    points, found = [], {}
    for name in ("paper", "exact", "code"):
        trial.ask()
        toy = toys.line()
        x = toys.draws(toy, seed, n, Check(name), judge=how).tokens[:, 0].double()
        # One number a draw whose mean is the ratio squared; the root of its interval is the ratio's.
        square = stats.mean(((x - x.mean()) / toy.sd).square().tolist())
        found[name] = {key: float(np.sqrt(square[key])) for key in ("here", "low", "high")}
        points.append({"x": f"a line, {NAMES[name]}", "y": found[name]["here"], "low": found[name]["low"],
                       "high": found[name]["high"], "n": n})
    bent, own = found["paper"], found["exact"]
    yield bent | {
        "n": n, "points": points, "holds": bool(bent["low"] > 1 and own["low"] <= 1 <= own["high"]),
        "reason": "Our own measurement, not the paper's. With Σ the share that is kept grows or shrinks, but what is "
        "redrawn does not make up for it.",
    }


NAMES = {"paper": "with the paper's Σ", "exact": "without Σ", "code": "with Σ as in the official code"}


# acceptance-with-alignment ------------------------------------------------------------------------------


def defaults(trial: Trial, **more: Any) -> SimpleNamespace:
    return trial.exhibit.parse(more)


def pictures(s: SimpleNamespace, kind: str, captions: Tensor, seeds: Sequence[int],
             ask: Callable[[], None] = lambda: None) -> tuple[Tensor, Tally]:
    """Latents (n, L, C) by one of the lanes of the exhibit, and what was judged on the way."""
    plan = rounds(s.sets, s.gamma, s.share) if kind in ("cspd", "alone") else rounds(s.sets, 1, 1)
    target, draft = (cast(Any, weights.load(net)) for net in (NET, DRAFT))
    return paint_checked(draft if kind == "draft" else target, draft if kind == "cspd" else None, captions, seeds,
                         cspd.rule_of(s), Plan(plan, cspd.check_of(s), s.aligned), ask)


def chances(s: SimpleNamespace, captions: Tensor, seeds: Sequence[int], ask: Callable[[], None]) -> list[float]:
    """The mean chance of a guess to stay, of each picture."""
    return pictures(s, "cspd", captions, seeds, ask)[1].chance


def alignment(trial: Trial) -> Iterator[Result]:
    """Mean chance of a guess to stay, shared noise minus noise of its own; the same captions and drafts."""
    measured = trial.subject or chances
    n = trial.size(ROWS, at_least=16)
    seeds = trial.seeds(n)
    captions, points, found = captions_of(seeds), [], {}
    out: Result = {}
    for T in (1.0, 42.0):
        for aligned in (True, False):
            s = defaults(trial, aligned=aligned, inner_temperature=T)
            found[aligned] = measured(s, captions, seeds, trial.ask)
            own = stats.mean(found[aligned])
            points.append({"x": f"{'shared' if aligned else 'separate'} noise, inner temperature {T:g}",
                           "y": own["here"], "low": own["low"], "high": own["high"], "n": n})
        if T == 1:
            out = stats.mean(np.subtract(found[True], found[False]).tolist()) | {"conditions": _conditions(s)}
            out["holds"] = True if out["low"] > 0 else False if out["high"] <= 0 else None
            yield out | {"points": list(points)}
    yield out | {"points": points}


def _conditions(s: SimpleNamespace) -> Result:
    return {"batch": ROWS, "guidance": s.guidance, "sets": s.sets, "gamma": s.gamma, "inner": s.inner,
            "schedule": s.schedule, "temperature": s.temperature, "finish": s.finish}


# wall ---------------------------------------------------------------------------------------------------


def wall(trial: Trial) -> Iterator[Result]:
    """Time of a picture set by set over that with drafts and checks; and what the other lanes take."""
    out = stats.abba(_timed(trial, "target"), _timed(trial, "cspd"), trial.size(21), trial.ask)
    points = []
    for lane in ("target", "cspd", "alone", "draft"):
        events = trial.run(trial.seeds(64)[0], {"previews": False}, lane, quiet=True)
        points.append({"x": trial.exhibit.lanes[lane].title, "y": events[-1].t,
                       "calls": sum(isinstance(e, Forward) and e.net == NET for e in events)})
    yield {"holds": out["low"] > 1} | out | {"points": points, "reason": out.get("reason") or _why(out["here"])}


def _timed(trial: Trial, lane: str) -> Callable[[int], float]:
    seeds = trial.seeds(64)

    def work(i: int) -> float:
        return float(_drawn(trial.run(seeds[i % 64], {"previews": False}, lane, quiet=True)))

    return work


def _drawn(events: list[Event]) -> int:
    last = events[-1]
    assert isinstance(last, Done), last
    return int(last.summary["cells"])


def _why(here: float) -> str:
    if here > 1:
        return "Fewer calls of the big net. The lane without guesses makes as few, and saves more."
    return "A call of the big net is cheap at this size, so guessing costs what fewer calls save."


# judge --------------------------------------------------------------------------------------------------

Painted = Callable[[SimpleNamespace, str, Tensor, Sequence[int]], Tensor]


@torch.inference_mode()
def decoded(s: SimpleNamespace, kind: str, captions: Tensor, seeds: Sequence[int]) -> Tensor:
    """Pictures (n, 3, 64, 64)."""
    return cast(Any, weights.load(VAE)).decode(pictures(s, kind, captions, seeds)[0])


def judge_(trial: Trial) -> Iterator[Result]:
    """Percent of objects right, with drafts and checks minus set by set by the target; the others as points."""
    paint: Painted = trial.subject or decoded
    kinds = {name: (name, defaults(trial)) for name in ("target", "cspd", "alone", "draft")}
    kinds["cspd, inner temperature 42"] = "cspd", defaults(trial, inner_temperature=42.0)
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for seeds in chunks(trial.seeds(trial.size(2 * ROWS, at_least=16))):
        captions = captions_of(seeds)
        for name, (kind, s) in kinds.items():
            trial.ask()
            found[name] += percent(paint(s, kind, captions, seeds), captions)
        gap = stats.mean(np.subtract(found["cspd"], found["target"]).tolist())
        points = []
        for name, own in found.items():
            at = stats.mean(own)
            points.append({"x": f"{name}: objects right, %", "y": at["here"], "low": at["low"], "high": at["high"]})
        yield gap | {"points": points, "holds": None, "conditions": _conditions(kinds["cspd"][1])}
