"""How the claims about RADD are measured. Each function takes a `Trial`.

`trial.subject` replaces what is put to the test: a decoding loop (`nfe_law`, `cache_is_exact`), what answers it
(`time_net_cannot_cache`), or the network's log q (the losses).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from engines import stats, weights
from engines.discrete_diffusion import losses
from engines.discrete_diffusion import page as pages
from engines.discrete_diffusion.answers import together
from engines.discrete_diffusion.claims import ROWS, TOY, Result, Run, chunks, quiet, session
from engines.discrete_diffusion.page import Page
from engines.discrete_diffusion.radd import TWIN, expected_nfe, reverse
from engines.discrete_diffusion.unmask import NET
from engines.events import Commit, Event, Forward, of_lane
from engines.noise import Noise
from engines.runtime import Trial
from engines.worlds import stories
from engines.worlds.stories import HIDDEN

STEPS = (8, 16, 32, 64, 128, 256, 512)
LogQ = Callable[[Tensor], Tensor]


def _settings(trial: Trial, **settings: Any) -> SimpleNamespace:
    return trial.exhibit.parse({"share": 100} | settings)


class Even:
    """A network that finds every word equally likely. When a loop asks depends on its coins, not on the answers."""

    def __call__(self, rows: Any, cells: Any = None, computes: Any = None, keep: bool = False,
                 sigma: Any = None) -> np.ndarray:
        return np.zeros((len(rows), len(rows[0]), len(TOY)))


def nfe_law(trial: Trial) -> Iterator[Result]:
    """Evaluations counted from the events of runs, over n (1 - (1 - 1/n)^l); the worst n is told.

    Judged on pages of an even network with eight words, because many runs are needed; as a check, the same count on
    stories with the trained one.
    """
    run: Run = trial.subject or reverse
    points: list[Result] = []
    worst: Result | None = None
    for n in STEPS:
        seeds = trial.seeds(trial.size(128, at_least=32))
        s = _settings(trial, steps=n)
        counted = [float(count) for some in chunks(seeds)
                   for count in _evaluations(trial, run, s, some, Even(), lambda noise: toy_page(noise.seed))]
        wanted = [expected_nfe(n, len(toy_page(seed).masked)) for seed in seeds]
        own = stats.ratio_of_means(counted, wanted)
        points.append({"x": f"n = {n}", "y": float(np.mean(counted)), "formula": float(np.mean(wanted))})
        ends = {"low": min(own["low"], worst["low"]), "high": max(own["high"], worst["high"])} if worst else {}
        worst = (own if worst is None or abs(own["here"] - 1) > abs(worst["here"] - 1) else worst) | ends
        yield worst | {"n": len(seeds) * len(points), "points": list(points),
                       "holds": bool(worst["low"] >= 0.97 and worst["high"] <= 1.03)}
    assert worst is not None
    s, seeds = _settings(trial, steps=64), trial.seeds(trial.size(ROWS, at_least=4))
    counted = [float(count) for some in chunks(seeds)
               for count in _evaluations(trial, run, s, some, session(trial), lambda noise: pages.open_page(s, noise))]
    wanted = [expected_nfe(64, len(pages.open_page(s, Noise(seed)).masked)) for seed in seeds]
    points.append({"x": "stories, trained network, n = 64", "y": float(np.mean(counted)),
                   "formula": float(np.mean(wanted))})
    real = stats.ratio_of_means(counted, wanted)
    yield worst | {"n": trial.size(128, at_least=32) * len(STEPS), "points": points,
                   "holds": bool(worst["low"] >= 0.97 and worst["high"] <= 1.03
                                 and real["low"] <= 1.03 and real["high"] >= 0.97)}


def toy_page(seed: int) -> Page:
    """A page of 40 to 63 hidden cells and eight words."""
    cells = 40 + seed % 24
    return Page([HIDDEN] * cells, cells, [], TOY)


def _evaluations(trial: Trial, run: Run, s: SimpleNamespace, seeds: Sequence[int], answers: Any,
                 page_of: Callable[[Noise], Page]) -> list[int]:
    trial.ask()
    noises = [Noise(seed) for seed in seeds]
    groups: dict[int, list[Noise]] = {}
    for noise in noises:  # one call asks about pages of one length
        groups.setdefault(len(page_of(noise).x), []).append(noise)
    out: dict[int, int] = {}
    for group in groups.values():
        traces = together([run(page_of(noise), s, noise, quiet()) for noise in group], answers)
        out |= {noise.seed: sum(isinstance(e, Forward) for e in events)
                for noise, events in zip(group, traces, strict=True)}
    return [out[seed] for seed in seeds]


def texts(events: list[Event]) -> list[tuple[list[int], list[str]]]:
    """What was written, decision by decision."""
    return [(e.cells, e.values) for e in events if isinstance(e, Commit)]


def cache_is_exact(trial: Trial) -> Iterator[Result]:
    """The same runs with and without the cache: equal decision by decision, and fewer evaluations with it."""
    trial = trial.with_subject("radd")
    n, good = trial.size(30, at_least=3), 0
    saved, all_ = 0, 0
    for i, seed in enumerate(trial.seeds(n)):
        trial.ask()
        settings = {"steps": (16, 64, 128)[i % 3], "share": 100}
        kept, anew = (list(of_lane(trial.run(seed, settings | {"cache": c}, "radd", quiet=True), "radd"))
                      for c in (True, False))
        good += texts(kept) == texts(anew)
        calls = [sum(isinstance(e, Forward) for e in events) for events in (kept, anew)]
        saved, all_ = saved + calls[1] - calls[0], all_ + calls[1]
        if i == n // 3:
            yield stats.exact(good, i + 1)
    yield stats.exact(good, n) | {"points": [{"x": "evaluations saved", "y": saved / all_}]}


class Recorder:
    """A decode session that remembers what it was asked and what it said."""

    def __init__(self, answers: Any):
        self.answers, self.said = answers, list[tuple[list[int], np.ndarray]]()

    def __call__(self, rows: Any, cells: Any = None, computes: Any = None, keep: bool = False,
                 sigma: Any = None) -> Any:
        z = np.asarray(self.answers(rows, cells, computes, keep, sigma), dtype=np.float64)
        self.said.append((list(rows[0]), z[0]))
        return z

    def moved(self) -> list[bool]:
        """For each repeated page: did any chance on it change by more than one in a million since it was last seen?"""
        out = []
        for (before, a), (now, b) in zip(self.said, self.said[1:], strict=False):
            if before == now:
                p, q = (np.exp(z - z.max(-1, keepdims=True)) for z in (a, b))
                out.append(bool(np.abs(p / p.sum(-1, keepdims=True) - q / q.sum(-1, keepdims=True)).max() > 1e-6))
        return out


def time_net_cannot_cache(trial: Trial) -> Iterator[Result]:
    """Steps that changed nothing: does the answer change all the same? Told the time: always. Not told: never.

    And the texts that a cache would make of the timed network's answers, against its true ones.
    """
    n = trial.size(12, at_least=3)
    timed, free, other = list[bool](), list[bool](), 0
    s = _settings(trial, steps=96)
    for i, seed in enumerate(trial.seeds(n)):
        trial.ask()
        twin = Recorder(trial.subject or session(trial, TWIN))
        plain = Recorder(session(trial))
        honest = _one(s, seed, twin, timed=True, reuse=False)
        _one(s, seed, plain, timed=False, reuse=False)
        cached = _one(s, seed, trial.subject or session(trial, TWIN), timed=True, reuse=True)
        timed, free, other = timed + twin.moved(), free + plain.moved(), other + (texts(honest) != texts(cached))
        share, still = sum(timed) / max(1, len(timed)), sum(free) / max(1, len(free))
        yield {"here": share, "low": share, "high": share, "n": len(timed),
               "holds": bool(timed and share == 1 and free and still == 0),
               "points": [{"x": "told the time: answer moved", "y": share},
                          {"x": "not told: answer moved", "y": still},
                          {"x": "told the time, cached all the same: another text", "y": other / (i + 1)}]}


def _one(s: SimpleNamespace, seed: int, answers: Any, **how: Any) -> list[Event]:
    noise = Noise(seed)
    return together([reverse(pages.open_page(s, noise), s, noise, quiet(), **how)], answers)[0]


# the losses ---------------------------------------------------------------------------------------------


def held_out(seeds: Sequence[int]) -> Tensor:
    """(B, 64) stories of the test range."""
    return torch.from_numpy(stories.sample([stories.TEST[seed % len(stories.TEST)] for seed in seeds]))


@torch.inference_mode()
def four(log_q: LogQ, x_0: Tensor, rng: torch.Generator, mask: int, skewed: bool = False) -> dict[str, np.ndarray]:
    """Each loss of each story (B,), on draws of its own. skewed: two broken ones instead, to see the test fail."""
    rows, d = x_0.shape
    t = losses.even_times(torch.rand((), generator=rng), rows)
    u = torch.rand(rows, d, generator=rng)
    chance = (torch.rand(rows, generator=rng) + torch.arange(rows)) / rows

    def at(x_t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q = log_q(x_t)
        return x_t, q, losses.misses(q, x_0, x_t, mask)

    if skewed:
        x_t, _, l = at(losses.masked_by(x_0, chance, u, mask))  # noqa: E741
        lost = {"not divided by lambda": l.sum(-1)}
        x_t, _, l = at(losses.masked_by(x_0, chance**2, u, mask))  # noqa: E741
        return {k: v.double().numpy() for k, v in (lost | {"masked more rarely than weighed":
                                                           losses.lambda_dce(l, chance)}).items()}
    x_t, q, l = at(losses.masked_by(x_0, (1 - losses.EPS) * t, u, mask))  # noqa: E741
    out = {"t-DSE": losses.t_dse(losses.radd_score(q, t), x_0, x_t, t, mask)}
    t, u = losses.even_times(torch.rand((), generator=rng), rows), torch.rand(rows, d, generator=rng)
    out["t-DCE"] = losses.t_dce(at(losses.masked_by(x_0, (1 - losses.EPS) * t, u, mask))[2], t)
    out["lambda-DCE"] = losses.lambda_dce(
        at(losses.masked_by(x_0, chance, torch.rand(rows, d, generator=rng), mask))[2], chance)
    k = torch.randint(1, d + 1, (rows,), generator=rng)
    out["AO"] = losses.ao(at(losses.masked_exactly(x_0, k, torch.rand(rows, d, generator=rng), mask))[2], k)
    return {name: value.double().numpy() for name, value in out.items()}


def network_log_q() -> tuple[LogQ, int]:
    network = cast(Any, weights.load(NET))
    return network.log_q, network.mask


def four_losses_agree(trial: Trial) -> Iterator[Result]:
    """The largest gap between two of the four losses on the same stories, in its own standard errors."""
    log_q, mask = trial.subject or network_log_q()
    rng = torch.Generator().manual_seed(trial.seeds(1)[0])
    found: dict[str, list[np.ndarray]] = {}
    seeds = trial.seeds(trial.size(768, at_least=256))
    for some in chunks(seeds):
        trial.ask()
        x_0 = held_out(some)
        for name, value in (four(log_q, x_0, rng, mask) | four(log_q, x_0, rng, mask, skewed=True)).items():
            found.setdefault(name, []).append(value)
    each = {name: np.concatenate(values) for name, values in found.items()}
    names = ["t-DSE", "t-DCE", "lambda-DCE", "AO"]
    gap = max(_errors(each[a], each[b]) for i, a in enumerate(names) for b in names[i + 1 :])
    twins = {name: min(_errors(each[name], each[a]) for a in names) for name in each if name not in names}
    fine = max(_standard_error(each[a]) / each[a].mean() for a in names)
    yield {"here": gap, "low": gap, "high": gap, "n": len(seeds),
           "holds": bool(gap <= 3 and all(z > 3 for z in twins.values())),
           "test": f"largest gap of six pairs; one standard error is at most {100 * fine:.1f} % of a loss",
           "points": [{"x": a, "y": float(each[a].mean())} for a in names]
           + [{"x": f"{name} (broken on purpose)", "y": float(each[name].mean())} for name in twins]}


def _standard_error(x: np.ndarray) -> float:
    return float(x.std(ddof=1) / np.sqrt(len(x)))


def _errors(a: np.ndarray, b: np.ndarray) -> float:
    return float(abs((a - b).mean()) / _standard_error(a - b))


@torch.inference_mode()
def radd_vs_sedd_bound(trial: Trial) -> Iterator[Result]:
    """Nats a held-out story: the bound of the timed twin minus that of RADD, on the same stories, times and masks."""
    free, twin = (cast(Any, weights.load(name)) for name in (NET, TWIN))
    rng = torch.Generator().manual_seed(trial.seeds(1)[0])
    a, b = list[float](), list[float]()
    for some in chunks(trial.seeds(trial.size(1_024, at_least=ROWS))):
        trial.ask()
        x_0, t = held_out(some), losses.even_times(torch.rand((), generator=rng), len(some))
        x_t = losses.masked_by(x_0, (1 - losses.EPS) * t, torch.rand(x_0.shape, generator=rng), free.mask)
        a += losses.t_dse(losses.radd_score(free.log_q(x_t), t), x_0, x_t, t, free.mask).tolist()
        score = losses.sedd_score(twin(x_t, losses.log_linear(t)[0]), t)
        b += losses.t_dse(score, x_0, x_t, t, twin.mask).tolist()
    words = float(stories.automaton().mean_length())
    yield stats.mean(np.subtract(b, a).tolist()) | {
        "points": [{"x": name, "y": float(np.mean(own)), "nats_a_word": float(np.mean(own)) / words}
                   for name, own in (("RADD", a), ("SEDD, told the time", b))]
        + [{"x": "the grammar itself", "y": stories.automaton().entropy(),
            "nats_a_word": stories.automaton().entropy() / words}],
        "conditions": {"parameters": sum(p.numel() for p in free.parameters())}}


