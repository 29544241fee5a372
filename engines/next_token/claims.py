"""How the claims about left-to-right writing are measured. Each function takes a `Trial` (engines.runtime).

`trial.subject` replaces what is put to the test (a filter, a rule), so that a test can hand in a broken one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines import stats
from engines.events import Accept, Begin, Commit, Done, Event, Forward, Phase, Reject, of_lane
from engines.exhibit import Choice, Lane, LaneRef
from engines.next_token.beam import beam
from engines.next_token.drafts import SMALL
from engines.next_token.next_token import TARGET
from engines.next_token.speculative import EXACT, Rule, speculative
from engines.noise import Draw, Noise
from engines.runtime import Meter, Trial
from engines.sampling import kept
from engines.tables import CausalTable
from engines.worlds import stories

Result = dict[str, Any]
PLAIN = {"words": "", "given": 0, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "lenience": 1.0}


# next-token ---------------------------------------------------------------------------------------------


def reference_kept(p: list[float], top_k: int, top_p: float, min_p: float, typical_p: float) -> set[int]:
    """The filters again, in plain loops and from the papers' sentences: what `sampling.kept` must agree with."""
    alive = [i for i in range(len(p)) if p[i] > 0]
    if top_k:
        cut = sorted(p, reverse=True)[min(top_k, len(p)) - 1]
        alive = [i for i in alive if p[i] >= cut]
    if top_p < 1:
        total, mass, nucleus = sum(p[i] for i in alive), 0.0, []
        for i in sorted(alive, key=lambda i: (-p[i], i)):
            if mass >= top_p:
                break
            nucleus.append(i)
            mass += p[i] / total
        alive = nucleus
    if min_p > 0:
        cut = min_p * max(p[i] for i in alive)
        alive = [i for i in alive if p[i] >= cut]
    if typical_p < 1:
        total, mass, typical = sum(p[i] for i in alive), 0.0, []
        surprise = {i: -math.log(p[i] / total) for i in alive}
        mean = sum(p[i] / total * surprise[i] for i in alive)
        for i in sorted(alive, key=lambda i: abs(surprise[i] - mean)):
            if mass >= typical_p:
                break
            typical.append(i)
            mass += p[i] / total
        alive = typical
    return set(alive)


def kept_set_equals_reference(trial: Trial) -> Iterator[Result]:
    """Random distributions, flat to peaked, and random settings of all four filters at once."""
    test: Callable[..., np.ndarray] = trial.subject or kept
    n, same = trial.size(2_000), 0
    for i, seed in enumerate(trial.seeds(n)):
        trial.ask()
        rng = np.random.default_rng(seed)
        z = rng.normal(0, rng.choice([0.3, 1.0, 4.0]), size=int(rng.integers(2, 400)))
        p = np.exp(z - z.max())
        p /= p.sum()
        k, tp, mp = int(rng.integers(0, 50)), float(rng.choice([0.2, 0.5, 0.9, 1.0])), float(rng.choice([0, 0.05, 0.3]))
        ty = float(rng.choice([0.2, 0.5, 0.9, 1.0]))
        same += set(np.flatnonzero(test(p, k, tp, mp, ty)).tolist()) == reference_kept(p.tolist(), k, tp, mp, ty)
        if i == n // 4:
            yield stats.exact(same, i + 1)
    yield stats.exact(same, n)


KNOBS: dict[str, list[float]] = {
    "temperature": [0.3, 0.7, 1.3], "top_k": [2, 5, 20], "top_p": [0.5, 0.8, 0.95], "min_p": [0.02, 0.1, 0.3],
    "typical_p": [0.5, 0.8, 0.95],
}


def filters_vs_validity(trial: Trial) -> Iterator[Result]:
    """Share of stories that the grammar could have written, and the mean entropy of what was drawn from."""
    seeds = trial.seeds(trial.size(80))
    def tell(**knob: float) -> tuple[list[float], list[float]]:
        good, bits = [], []
        for seed in seeds:
            trial.ask()
            events = trial.run(seed, {"given": 0, "top_p": 1.0, **knob}, "filtered")
            good.append(float(_done(events).summary["valid"]))
            bits.append(float(np.mean([e.entropy[0] for e in events if isinstance(e, Commit) and e.entropy])))
        return good, bits

    plain, bits = tell()
    points = [{"x": "off", "y": float(np.mean(plain)), "entropy": float(np.mean(bits)), "n": len(seeds)}]
    nucleus: list[float] = []
    for name, values in KNOBS.items():
        for value in values:
            good, bits = tell(**{name: value})
            if (name, value) == ("top_p", 0.8):
                nucleus = good
            points.append({"x": f"{name} {value:g}", "y": float(np.mean(good)), "entropy": float(np.mean(bits)),
                           "n": len(seeds)})
    yield stats.mean(np.subtract(nucleus, plain).tolist()) | {"points": points}


def beam_against_dice(trial: Trial) -> Iterator[Result]:
    """Log-probability of the text that beam search writes minus that of drawn ones, from the same openings.

    Diversity: of all pairs of neighbouring words in four stories from one opening, the share that are different
    (distinct-2, 1510.03055): the four best stories of the search, four drawn without filters, four with top-p 0.9.
    """
    search = trial
    own = trial.exhibit.lanes["beam"]
    if trial.subject and isinstance(own, Lane):  # another way to choose which beginnings stay
        lanes: dict[str, Lane | LaneRef] = {"beam": replace(own, decode=partial(beam, choose=trial.subject))}
        search = replace(trial, exhibit=replace(trial.exhibit, lanes=lanes))
    n = trial.size(30)
    seeds = trial.seeds(DRAWN * n)
    log_p: dict[str, list[float]] = {"beam search": [], "dice, no filter": [], "dice, top-p 0.9": []}
    pairs: dict[str, list[float]] = {name: [] for name in log_p}
    out: Result = {}
    for i in range(n):
        trial.ask()
        events = search.run(seeds[DRAWN * i], {"beams": DRAWN}, "beam", quiet=True)
        given = events[0].given if isinstance(events[0], Begin) and events[0].given else {}
        opening, stories_ = given["values"], _done(events).summary["stories"]
        log_p["beam search"].append(stories_[0]["log_prob"])
        pairs["beam search"].append(distinct([story["text"][len(opening) :] for story in stories_]))
        for name, lane, top_p in (("dice, no filter", "plain", 1.0), ("dice, top-p 0.9", "filtered", 0.9)):
            runs = [trial.run(seed, {"words": " ".join(opening), "top_p": top_p}, lane, quiet=True)
                    for seed in seeds[DRAWN * i : DRAWN * (i + 1)]]
            commits = [[e for e in run if isinstance(e, Commit)] for run in runs]
            log_p[name].append(float(np.mean([sum(_log_before(e) for e in text) for text in commits])))
            pairs[name].append(distinct([[e.values[0] for e in text] for text in commits]))
        if i in (n // 3, n - 1):
            out = stats.mean(np.subtract(log_p["beam search"], log_p["dice, no filter"]).tolist())
            fewer = stats.mean(np.subtract(pairs["beam search"], pairs["dice, no filter"]).tolist())
            told = {name: float(np.mean(values)) for name, values in pairs.items()}
            yield out | {
                "holds": bool(out["low"] > 0 and fewer["high"] < 0),
                "points": [{"x": name, "y": float(np.mean(log_p[name])), "distinct": told[name]} for name in log_p],
                "reason": f"Of the word pairs in four stories from one opening, {told['beam search']:.0%} are "
                f"different with beam search and {told['dice, no filter']:.0%} with dice: a difference of "
                f"{fewer['here']:.2f} (95 % interval {fewer['low']:.2f} to {fewer['high']:.2f}).",
            }


DRAWN = 4


def distinct(texts: list[list[str]]) -> float:
    """Distinct pairs of neighbouring words over all such pairs, in all texts together."""
    pairs = [pair for text in texts for pair in zip(text, text[1:], strict=False)]
    return len(set(pairs)) / max(1, len(pairs))


def _log_before(e: Commit) -> float:
    """log p of a committed word under the model itself, before any filter."""
    assert e.dists
    return math.log(dict(e.dists["before"][0]["top"])[e.values[0]])


# speculative --------------------------------------------------------------------------------------------


def _from_p(noise: Noise, cell: int, p: np.ndarray, q: np.ndarray) -> Draw:
    return noise.draw("residual", [cell], p[None])[0]


class _Again(Noise):
    """Noise whose residual draw reuses the number that the draft was drawn with."""

    def draw(self, stream: str, cells: list[int], p: np.ndarray) -> list[Draw]:
        if stream == "residual":
            self._visits[("draft", cells[0])] -= 1
            return super().draw("draft", cells, p)
        return super().draw(stream, cells, p)


TWINS: dict[str, tuple[Rule, type[Noise]]] = {
    "accept always": (replace(EXACT, ratio=lambda p, q, x: 1.0), Noise),
    "residual from p": (replace(EXACT, correct=_from_p), Noise),
    "residual from the draft's own number": (EXACT, _Again),
}


def _tables(name: str) -> CausalTable:
    return CausalTable(seed=11) if name == TARGET else CausalTable(seed=12)


def _texts(trial: Trial, n: int, rule: Rule, make: type[Noise], gamma: int = 3) -> Counter[tuple[int, ...]]:
    """n texts of three cells by the very lane of the exhibit, on two table models."""
    settings = SimpleNamespace(**PLAIN, draft="net", gamma=gamma)
    ids = {w: i for i, w in enumerate(stories.VOCAB)}
    tables = {TARGET: _tables(TARGET), SMALL: _tables(SMALL)}
    out: Counter[tuple[int, ...]] = Counter()
    for seed in trial.seeds(n):
        trial.ask()
        cells: dict[int, int] = {}
        for event in speculative(settings, make(seed), Meter(tables.__getitem__), rule):
            if isinstance(event, Commit):
                cells[event.cells[0]] = ids[event.values[0]]
        out[tuple(cells[i] for i in range(3))] += 1
    return out


def law(trial: Trial) -> Iterator[Result]:
    """Texts of three cells against the target's enumerated law; broken rules must be caught by the same test."""
    expected = _tables(TARGET).law()
    rule, make = trial.subject or (EXACT, Noise)
    twins = {name: stats.chi_square(_texts(trial, 2_000, *twin), expected) for name, twin in TWINS.items()}
    yield stats.law(stats.chi_square(_texts(trial, 20_000, rule, make), expected), twins)


def rounds(events: list[Event], gamma: int) -> list[tuple[int, int, int]]:
    """(tested, accepted, cells written) of every round that had room for gamma drafts and did not meet END."""
    out: list[tuple[int, int, int]] = []
    size = next(e for e in events if isinstance(e, Begin)).canvases[0]["shape"][0]
    start, now = 0, [0, 0, 0]
    whole = False
    for e in events:
        if isinstance(e, Phase | Done):
            if whole:
                out.append((now[0], now[1], now[2]))
            start, now = (e.cells or [0])[0] if isinstance(e, Phase) else 0, [0, 0, 0]
            whole = isinstance(e, Phase) and start + gamma + 1 <= size
        elif isinstance(e, Accept | Reject):
            now[0] += 1
            now[1] += isinstance(e, Accept)
        elif isinstance(e, Commit):
            now[2] += 1
            whole &= e.values[0] != stories.VOCAB[stories.END]
    return out


def formula(alpha: float, gamma: int) -> float:
    """Expected cells a round when acceptances are independent (2211.17192, eq. 1)."""
    return gamma + 1 if alpha == 1 else (1 - alpha ** (gamma + 1)) / (1 - alpha)


def tokens_per_call_formula(trial: Trial) -> Iterator[Result]:
    """Table models that draw every cell from one law make acceptances independent, as the formula assumes."""
    gamma, runs = 4, trial.size(150)
    target, draft = CausalTable(11, 6, 63, 0), CausalTable(12, 6, 63, 0)
    p, q = (np.exp(t.row(())) / np.exp(t.row(())).sum() for t in (target, draft))
    alpha = float(np.minimum(p, q).sum())
    settings = SimpleNamespace(**PLAIN, draft="net", gamma=gamma)
    nets = {TARGET: target, SMALL: draft}
    rule = trial.subject or EXACT
    seen = []
    for seed in trial.seeds(runs):
        trial.ask()
        lane = speculative(settings, Noise(seed), Meter(nets.__getitem__), rule)
        seen += [r[2] for r in rounds(list(_over(lane)), gamma)]
    want = formula(alpha, gamma)
    out = stats.mean([s / want for s in seen])
    traces = [_lane(trial, seed, "speculative", gamma=gamma) for seed in trial.seeds(trial.size(20))]
    real = [r for trace in traces for r in rounds(trace, gamma)]
    on_stories = sum(r[1] for r in real) / max(1, sum(r[0] for r in real))
    written, said = float(np.mean([r[2] for r in real])), formula(on_stories, gamma)
    yield out | {
        "holds": bool(out["low"] <= 1 <= out["high"] and abs(out["here"] - 1) < 0.02),
        "points": [{"x": "tables, measured", "y": float(np.mean(seen))}, {"x": "tables, formula", "y": want},
                   {"x": "stories, measured", "y": written}, {"x": "stories, formula", "y": said}],
        "reason": f"Measured on tables with independent chances. On stories acceptances come in runs: {written:.2f} "
        f"words a round, where the formula says {said:.2f} (acceptance {on_stories:.2f}).",
    }


def calls_saved(trial: Trial) -> Iterator[Result]:
    """Cells written for each target call, from the traces; one by one it is 1."""
    cells, calls = [], []
    n = trial.size(60)
    for i, seed in enumerate(trial.seeds(n)):
        trial.ask()
        events = trial.run(seed, {"given": 0}, "speculative")
        cells.append(sum(isinstance(e, Commit) for e in events))
        calls.append(sum(isinstance(e, Forward) and e.net == TARGET for e in events))
        if i == n // 3:
            yield stats.ratio_of_means(cells, calls)
    yield stats.ratio_of_means(cells, calls)


def wall(trial: Trial) -> Iterator[Result]:
    """Time for each written cell, drafts included, against one by one; one thread, both cached."""
    out = stats.abba(_timed(trial, "next-token"), _timed(trial, "speculative"), trial.size(31), trial.ask)
    yield {"holds": out["low"] > 1} | out | {"reason": out.get("reason") or _why_wall(out["here"])}


def _timed(trial: Trial, lane: str, **settings: Any) -> Callable[[int], float]:
    """The work of pair i: one run of a lane with nothing for viewers in it; how many cells it wrote."""
    seeds = trial.seeds(64)

    def work(i: int) -> float:
        events = trial.run(seeds[i % 64], {"given": 0} | settings, lane, quiet=True)
        return sum(isinstance(e, Commit) for e in events)

    return work


def _why_wall(here: float) -> str:
    if here > 1:
        return "Calls saved turn into time saved here."
    return ("At this size a call of the target is cheap, so guessing costs more than it saves: "
            "the paper's gain needs a draft that is far cheaper than the target.")


def better_draft_is_not_faster(trial: Trial) -> Iterator[Result]:
    """Acceptance and time of each draft; `here` is the time of the most accepted one over that of the fastest."""
    points: list[dict[str, Any]] = []
    choices = next(s.choices for s in trial.exhibit.settings if isinstance(s, Choice) and s.name == "draft")
    drafts = {name: draft for draft, name in choices.items()}
    for name, draft in drafts.items():
        tested = accepted = cells = 0
        ms = 0.0
        for seed in trial.seeds(trial.size(16)):
            trial.ask()
            events = trial.run(seed, {"given": 0, "draft": draft}, "speculative", quiet=True)
            tested += sum(isinstance(e, Accept | Reject) for e in events)
            accepted += sum(isinstance(e, Accept) for e in events)
            cells += sum(isinstance(e, Commit) for e in events)
            ms += events[-1].t
        points.append({"x": name, "y": accepted / max(1, tested), "ms_per_cell": ms / cells})
        yield {"here": 1.0, "low": 1.0, "high": 1.0, "n": len(points), "points": points}
    best, fastest = max(points, key=lambda r: r["y"])["x"], min(points, key=lambda r: r["ms_per_cell"])["x"]
    told = f"Most accepted: {best}. Fastest: {fastest}."
    if best == fastest:
        yield {"here": 1.0, "low": 1.0, "high": 1.0, "n": len(points), "points": points, "holds": False, "reason": told}
        return
    slow, quick = (_timed(trial, "speculative", draft=drafts[name]) for name in (best, fastest))
    out = stats.abba(slow, quick, trial.size(21), trial.ask)
    yield {"holds": out["low"] > 1} | out | {"points": points, "reason": out.get("reason") or told}


def _lane(trial: Trial, seed: int, lane: str, **settings: Any) -> list[Event]:
    trial.ask()
    return list(of_lane(trial.run(seed, settings, lane), lane))


def _over(events: Iterator[Event]) -> Iterator[Event]:
    yield from events
    yield Done(reason="finished")


def _done(events: list[Event]) -> Done:
    last = events[-1]
    assert isinstance(last, Done), last
    return last


