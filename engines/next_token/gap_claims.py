"""How the claims about chains of thought are measured: squared errors of answers on held-out pairs, from traces.

Every claim asks all questions of all Bayes nets (held-out pairs, both directions, both values) and bootstraps over
nets: questions of one net are not independent of one another. `trial.subject` replaces the function that answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from engines import stats, weights
from engines.events import Event, Measure
from engines.next_token.gap_chains import NETS, WORLDS
from engines.runtime import Trial
from engines.worlds import bayes

Result = dict[str, Any]
Errors = np.ndarray  # (nets, questions) squared errors
CHAINS = 10
# Of the questions of a net, every third where all variables are written: such chains are five times as long.
THIRD = 3
SEEN = "next_token/gap-seen"


def estimates(events: list[Event]) -> list[float]:
    """The mean answer after each chain."""
    return [e.value for e in events if isinstance(e, Measure) and e.name == "estimate"]


def squared(trial: Trial, lane: str, training: str, chains: int = CHAINS, every: int = 1) -> dict[int, Errors]:
    """{chains: squared errors} of a lane, from one run for each `every`-th question of each net; the errors of fewer
    chains come with it."""
    ask: Callable[..., list[Event]] = trial.subject or trial.run
    per_net: list[list[list[float]]] = []
    seeds = iter(trial.seeds(len(WORLDS) * 4 * bayes.HELD_OUT))
    for world, net in zip(WORLDS, bayes.nets(), strict=True):
        rows = []
        for i, q in list(enumerate(net.questions))[::every]:
            trial.ask()
            settings = {"training": training, "world": world, "pair": i // 2 + 1, "value": str(q.value),
                        "chains": chains}
            told = estimates(ask(next(seeds), settings, lane, quiet=True))
            rows.append([(value - net.answer(q)) ** 2 for value in told])
        per_net.append(rows)
    whole = np.array(per_net)
    return {m + 1: whole[:, :, m] for m in range(whole.shape[2])}


def _gap(trial: Trial, training: str, every: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared error of each net (nets,): direct, and free generation with ten chains."""
    direct, free = squared(trial, "direct", training, 1, every), squared(trial, "free", training, CHAINS, every)
    return direct[1].mean(1), free[CHAINS].mean(1)


def gap_local(trial: Trial) -> Iterator[Result]:
    """Error of answers at once minus that of ten free chains, trained on neighbourhoods; scaffolds among the points."""
    direct, free = _gap(trial, "local")
    yield stats.mean((direct - free).tolist())
    apt, off = (squared(trial, lane, "local")[CHAINS].mean(1) for lane in ("scaffold", "negative"))
    yield stats.mean((direct - free).tolist()) | {"points": [
        _point("at once", direct), _point("free, ten chains", free), _point("the right steps, ten chains", apt),
        _point("wrong steps, ten chains", off), _point("ignoring what is given", _marginal())]}


def _point(x: str, errors: np.ndarray) -> Result:
    mean = stats.mean(errors.tolist())
    return {"x": x, "y": mean["here"], "low": mean["low"], "high": mean["high"]}


def _marginal() -> np.ndarray:
    return np.array([np.mean([(net.p(q.target, {}) - net.answer(q)) ** 2 for q in net.questions])
                     for net in bayes.nets()])


def gap_full_observation(trial: Trial) -> Iterator[Result]:
    """Error of answers at once minus that of ten free chains, of a network that read all variables at once."""
    direct, free = _gap(trial, "full", THIRD)
    yield stats.mean((direct - free).tolist())
    local_direct, local_free = _gap(trial, "local", THIRD)
    wrong_direct, wrong_free = _gap(trial, "wrong", THIRD)
    yield stats.mean((direct - free).tolist()) | {"points": [
        _point("read all, at once", direct), _point("read all, free", free),
        _point("neighbourhoods, at once", local_direct), _point("neighbourhoods, free", local_free),
        _point("wrong neighbourhoods, at once", wrong_direct), _point("wrong neighbourhoods, free", wrong_free)]}


def one_chain_vs_ten(trial: Trial) -> Iterator[Result]:
    """Error of free generation with one chain over that with ten; neighbourhoods."""
    by = squared(trial, "free", "local", every=2)
    direct = squared(trial, "direct", "local", 1, every=2)[1]
    yield stats.ratio_of_means(by[1].mean(1).tolist(), by[CHAINS].mean(1).tolist()) | {"points": [
        _point("at once", direct.mean(1)),
        *(_point("one chain" if m == 1 else f"{m} chains", by[m].mean(1)) for m in (1, 2, 3, 5, 10))]}


def data_efficiency(trial: Trial) -> Iterator[Result]:
    """Ten free chains on pairs never seen together, over direct answers of a network that saw these pairs together and
    read as many tokens. Below 1, thinking beats having seen."""
    free, seen = squared(trial, "free", "local", every=2)[CHAINS].mean(1), seen_together(trial)
    out = stats.ratio_of_means(free.tolist(), seen.tolist())
    reason = {"reason": "Our networks read far fewer texts than the paper's: what was read in parts is learnt less "
                        "well than what was read together."}
    yield out | (reason if out["here"] > 1 else {}) | {"points": [
        _point("neighbourhoods, free", free), _point("pairs seen together, at once", seen)]}


def seen_together(trial: Trial) -> np.ndarray:
    """Mean squared error (nets,) of direct answers of the network SEEN: the lane `direct` with its weights."""
    provide = trial.nets or weights.session
    swapped = Trial(trial.exhibit, trial.claim, trial.effort, trial.cancel, trial.seed, trial.subject,
                    lambda asked: provide(SEEN if asked == NETS["local"] else asked))
    return squared(swapped, "direct", "local", 1, every=2)[1].mean(1)
