"""What claims read off whole runs: calls, cells, parameters, and which of two lanes is faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from engines import stats
from engines.events import Begin, Commit, Event, Forward, expand
from engines.runtime import Trial

# Sketches of unfinished pictures are no part of what is timed or counted.
QUIET = {"previews": False}


def calls(events: list[Event]) -> int:
    """Calls of the network that draws; the last decode of the codes into pixels is not one of them."""
    return sum(isinstance(e, Forward) and e.mode != "commit" for e in events)


def cells(events: list[Event]) -> int:
    return sum(len(expand(e.cells)) for e in events if isinstance(e, Commit))


def parameters(events: list[Event]) -> int:
    """Of the network that draws: the first that the lane names."""
    begin = events[0]
    assert isinstance(begin, Begin)
    return int(begin.nets[0]["params"])


def runner(trial: Trial, lane: str) -> Callable[[int], float]:
    """i -> 1, when picture i has been painted by this lane, whole and with its last decode."""
    seeds = trial.seeds(100)
    return lambda i: float(len(trial.run(seeds[i], QUIET, lane, quiet=True)) > 0)


def race(trial: Trial, slow: str, fast: str) -> dict[str, Any]:
    """How many times faster one lane is than the other, one picture each; null if they differ by 5 % in parameters."""
    size = {lane: parameters(trial.run(trial.seeds(1)[0], QUIET, lane)) for lane in (fast, slow)}
    out = stats.abba(runner(trial, slow), runner(trial, fast), trial.size(21, 21), trial.ask)
    if not 0.95 <= size[fast] / size[slow] <= 1.05:
        out |= {"holds": None, "reason": f"not equal: {size[fast]:,} and {size[slow]:,} parameters"}
    return out | {"conditions": {"parameters": size}}


def counted(trial: Trial, wanted: dict[str, tuple[int, int]], pictures: int = 40) -> Iterator[dict[str, Any]]:
    """Runs of these lanes: exact if each has as many calls, and draws as many cells, as wanted says."""
    n, good = trial.size(pictures), 0
    seen = dict.fromkeys(wanted, 0)
    for i, seed in enumerate(trial.seeds(n)):
        trial.ask()
        runs = {lane: trial.run(seed, QUIET, lane) for lane in wanted}
        got = {lane: (calls(events), cells(events)) for lane, events in runs.items()}
        good += got == wanted
        seen = {lane: max(seen[lane], count) for lane, (count, _) in got.items()}
        points = [{"x": lane, "y": count} for lane, count in seen.items()]
        if i == n // 4:
            yield stats.exact(good, i + 1) | {"points": points}
    yield stats.exact(good, n) | {"points": points}
