"""How the claims about masked diffusion are measured. Each function takes a `Trial`.

Judged loops run as they do on the page, 64 rows at a time (`answers.together`), and are read from their events.
`trial.subject` replaces what is put to the test: a decoding loop, or for the theorem a how-many rule.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines import stats, weights
from engines.discrete_diffusion import page as pages
from engines.discrete_diffusion import rules
from engines.discrete_diffusion.answers import Loop, together
from engines.discrete_diffusion.page import Page
from engines.discrete_diffusion.unmask import NET, unmask
from engines.events import Commit, Done, Event, Forward
from engines.noise import Draw, Noise
from engines.runtime import Meter, Trial, abreast, lane_of
from engines.tables import MaskedTable, chain_joint
from engines.worlds.stories import HIDDEN

Result = dict[str, Any]
Run = Callable[[Page, SimpleNamespace, Noise, Meter], Loop]
ROWS = 64
TOY = tuple("abcdefgh")
PLAIN = {"order": "random", "amount": "fixed", "steps": 64, "block": 64, "cache": "none", "guidance": 0.0, "tau": 0.9,
         "factor": 1.0, "gamma": 0.5, "temperature": 1.0, "top_p": 1.0, "order_temperature": 0.0, "remask": 0.0,
         "ending": "told"}


def _silent(name: str) -> Any:
    raise KeyError(name)


def quiet() -> Meter:
    """For loops that nobody watches."""
    return Meter(_silent, quiet=True)


def chunks(seeds: Sequence[int], size: int = ROWS) -> Iterator[Sequence[int]]:
    for start in range(0, len(seeds), size):
        yield seeds[start : start + size]


def session(trial: Trial, name: str = NET) -> Any:
    return (trial.nets or weights.session)(name)


def done(events: list[Event]) -> dict[str, Any]:
    """The summary of a lane that finished."""
    last = events[-1]
    assert isinstance(last, Done), last
    return last.summary


# price-of-parallelism -----------------------------------------------------------------------------------


class Dictated(Noise):
    """Noise that draws the words it is told to, and notes the chance that they had."""

    def __init__(self, seed: int, values: Sequence[int]):
        super().__init__(seed)
        self.values = values

    def draw(self, stream: str, cells: list[int], p: np.ndarray) -> list[Draw]:
        return [Draw(self.values[c], float(row[self.values[c]] / row.sum())) for c, row in zip(cells, p, strict=True)]


def sampled_law(joint: np.ndarray, run: Run, seed: int, **settings: Any) -> tuple[np.ndarray, list[list[int]]]:
    """The law (V,) * N of the pages that a loop writes, by making it write every page, and the cells of each step."""
    table, (V, *rest) = MaskedTable(joint), joint.shape
    cells = 1 + len(rest)
    s = SimpleNamespace(**PLAIN | settings)
    law, groups = np.zeros_like(joint), []
    for x in itertools.product(range(V), repeat=cells):
        page = Page([HIDDEN] * cells, cells, [], TOY[:V])
        (events,) = together([run(page, s, Dictated(seed, x), quiet())], table)
        commits = [e for e in events if isinstance(e, Commit)]
        law[x] = np.prod([p for e in commits for p in e.p])
        groups = [e.cells for e in commits]
    return law, groups


def joint_entropy(joint: np.ndarray, cells: Sequence[int]) -> float:
    """H(these cells) in nats."""
    other = tuple(a for a in range(joint.ndim) if a not in cells)
    return float(rules.entropies(joint.sum(axis=other).ravel()))


def total_correlation(joint: np.ndarray, groups: list[list[int]]) -> float:
    """sum_k [ sum_i H(x_i | before) - H(x_Sk | before) ]: what opening each group at once must lose, in nats."""
    total, before = 0.0, list[int]()
    for group in groups:
        known = joint_entropy(joint, before)
        total += sum(joint_entropy(joint, [*before, c]) - known for c in group)
        total -= joint_entropy(joint, [*before, *group]) - known
        before += group
    return total


def price_of_parallelism(trial: Trial) -> Iterator[Result]:
    """KL(true || sampled) of the loop with exact conditionals, every page enumerated, against total correlation."""
    run: Run = trial.subject or unmask
    cases = [(4, 6, 3, "left"), (4, 6, 2, "random")][: trial.size(2, at_least=1)]
    cases += [(V, N, steps, order) for V, N in ((2, 4), (3, 4), (2, 5)) for steps in (1, 2, 3)
              for order in ("left", "random")]
    worst, points = 0.0, []
    for i, (V, N, steps, order) in enumerate(sorted(cases, key=lambda case: case[0] ** case[1])):
        trial.ask()
        seed = trial.seeds(i + 1)[i]
        joint = chain_joint(N, V, seed=seed % 2**32) if i % 2 else random_joint(N, V, seed)
        law, groups = sampled_law(joint, run, seed, order=order, steps=steps)
        kl = float((joint * (np.log(joint) - np.log(law))).sum())
        price = total_correlation(joint, groups)
        worst = max(worst, abs(kl - price))
        points.append({"x": f"{N} cells in {steps}, {order}", "y": kl, "total_correlation": price})
        yield {"here": worst, "low": worst, "high": worst, "n": i + 1, "points": points[-8:], "holds": worst <= 1e-6}


def random_joint(cells: int, values: int, seed: int) -> np.ndarray:
    """A joint with no structure at all."""
    return np.random.default_rng(seed).dirichlet(np.full(values**cells, 0.5)).reshape((values,) * cells) * 0.99 + (
        0.01 / values**cells)


# law-random-one-by-one ----------------------------------------------------------------------------------


TWINS: dict[str, dict[str, Any]] = {
    "the surest cell first": {"order": "confidence"},
    "two cells a step": {"steps": 2},
}


def toy_page() -> Page:
    """Cells 1 and 4 hold 0 and 2; 0, 2, 3, 5 are hidden."""
    return Page([HIDDEN, 0, HIDDEN, HIDDEN, 2, HIDDEN], 6, [1, 4], TOY[:4])


def _pages(trial: Trial, n: int, run: Run, **settings: Any) -> Counter[tuple[int, ...]]:
    """n toy pages filled by the exhibit's own loop on a table model."""
    table, s = MaskedTable(chain_joint()), SimpleNamespace(**PLAIN | settings)
    out: Counter[tuple[int, ...]] = Counter()
    for seeds in chunks(trial.seeds(n)):
        trial.ask()
        filled = [toy_page() for _ in seeds]
        together([run(page, s, Noise(seed), quiet()) for page, seed in zip(filled, seeds, strict=True)], table)
        out.update(tuple(page.x) for page in filled)
    return out


def law_random_one_by_one(trial: Trial) -> Iterator[Result]:
    """Filled pages against the enumerated law: a random cell at a time fits; the twins must be caught."""
    expected = MaskedTable(chain_joint()).law({1: 0, 4: 2})
    twins = {name: stats.chi_square(_pages(trial, 4_000, unmask, **twin), expected) for name, twin in TWINS.items()}
    yield stats.law(stats.chi_square(_pages(trial, 20_000, trial.subject or unmask), expected), twins)


# calls-at-equal-validity, rules-curve, block-size -------------------------------------------------------


def runs(trial: Trial, seeds: Sequence[int], lane: str = "unmask", **settings: Any) -> list[list[Event]]:
    """The events of one lane for each seed."""
    _, s = lane_of(trial.exhibit, lane, trial.exhibit.parse(settings))
    run: Run = trial.subject or unmask

    def batch(some: Sequence[int]) -> list[list[Event]]:
        trial.ask()
        noises = [Noise(seed) for seed in some]
        return together([run(pages.open_page(s, noise), s, noise, quiet()) for noise in noises], session(trial))

    return [events for own in abreast(batch, chunks(seeds, min(ROWS, -(-len(seeds) // 2)))) for events in own]


def figures(traces: list[list[Event]]) -> tuple[list[float], list[float], float]:
    """(evaluations of one sample, valid or not) of each trace, and how varied the written words are, in nats."""
    nfe = [float(max(e.nfe for e in events if isinstance(e, Forward))) for events in traces]
    valid = [float(done(events)["valid"]) for events in traces]
    words = Counter(v for events in traces for e in events if isinstance(e, Commit) for v in e.values)
    p = np.array(list(words.values())) / sum(words.values())
    return nfe, valid, float(rules.entropies(p))


GREEDY = {"temperature": 0.0, "share": 40, "pattern": "random", "order": "confidence"}
POINTS = 0.03


def calls_at_equal_validity(trial: Trial) -> Iterator[Result]:
    """Calls of one cell at a time over calls of threshold 0.9, and the difference in validity, paired by story."""
    fast = GREEDY | {"amount": "threshold", "tau": 0.9}
    traces: dict[str, list[list[Event]]] = {"one-by-one": [], "unmask": []}
    for some in chunks(trial.seeds(trial.size(1_000, at_least=ROWS)), 4 * ROWS):
        for lane, own in traces.items():
            own += [slim(events) for events in runs(trial, some, lane, **fast)]
        yield _saved(*(figures(own) for own in traces.values()))


def slim(events: list[Event]) -> list[Event]:
    """What `figures` reads, so that a thousand runs fit into memory."""
    return [e for e in events if isinstance(e, Forward | Commit | Done)]


def _saved(one: tuple[list[float], list[float], float], many: tuple[list[float], list[float], float]) -> Result:
    saved, lost = stats.ratio_of_means(one[0], many[0]), stats.mean(np.subtract(many[1], one[1]).tolist())
    points = [{"x": name, "y": float(np.mean(own[1])), "variety": own[2], "n": len(own[1])}
              for name, own in (("one at a time: valid", one), ("all that are sure: valid", many))]
    enough = saved["low"] >= 2 and lost["low"] >= -POINTS
    short = saved["high"] < 2 or lost["high"] < -POINTS
    return saved | {"points": points, "holds": True if enough else False if short else None,
                    "reason": f"Validity differs by {100 * lost['here']:.1f} points "
                              f"[{100 * lost['low']:.1f}, {100 * lost['high']:.1f}].",
                    "conditions": {"batch": ROWS, "temperature": 0.0}}


# name, settings; every rule with the same network, stories, and a quarter as many calls as blanks where it is fixed
CURVE: tuple[tuple[str, dict[str, Any]], ...] = (
    *((f"{words}, a quarter of the calls", {"order": order, "amount": "fixed", "steps": 0})
      for order, words in rules.ORDERS.items()),
    *((f"sure: {tau:g}", {"amount": "threshold", "tau": tau}) for tau in (0.5, 0.7, 0.9, 0.98)),
    *((f"sure together: {f:g}", {"amount": "factor", "factor": f}) for f in (0.5, 1.0, 2.0)),
    *((f"budget: {g:g} nats", {"order": "entropy", "amount": "budget", "gamma": g}) for g in (0.2, 0.5, 2.0)),
)


def rules_curve(trial: Trial) -> Iterator[Result]:
    """Validity of every rule; `here`: least open cells first minus random ones first, at a quarter of the calls."""
    seeds = trial.seeds(trial.size(32, at_least=16))
    base: dict[str, Any] = {"share": 60, "pattern": "random", "temperature": 1.0}
    steps = round(0.6 * 57 / 4)
    valid, points = {}, []
    for name, more in CURVE:
        settings = base | more | ({"steps": steps} if more.get("steps") == 0 else {})
        nfe, valid[name], variety = figures(runs(trial, seeds, **settings))
        points.append({"x": f"{name} ({np.mean(nfe):.0f} calls)", "y": float(np.mean(valid[name])), "variety": variety,
                       "n": len(seeds)})
    quarter = {order: next(k for k, more in CURVE if more.get("order") == order) for order in ("entropy", "random")}
    gain = stats.mean(np.subtract(valid[quarter["entropy"]], valid[quarter["random"]]).tolist())
    fixed = max((k for k, more in CURVE if more["amount"] == "fixed"), key=lambda k: sum(valid[k]))
    yield gain | {"points": points, "reason": f"Of the rules with a quarter of the calls, “{fixed.split(',')[0]}” "
                                              "writes most valid stories.", "conditions": {"batch": ROWS}}


BLOCKS = (4, 8, 16, 32, 64)


def block_size(trial: Trial) -> Iterator[Result]:
    """Validity by size of the block when the network must also write the end; `here`: the best inner size minus all."""
    seeds = trial.seeds(trial.size(64, at_least=16))
    base: dict[str, Any] = {"share": 80, "pattern": "suffix", "ending": "free", "order": "confidence",
                            "amount": "fixed", "steps": 32, "temperature": 0.0}
    valid, points = {}, []
    for size in BLOCKS:
        _, valid[size], variety = figures(runs(trial, seeds, **base, block=size))
        points.append({"x": f"blocks of {size}", "y": float(np.mean(valid[size])), "variety": variety, "n": len(seeds)})
    best = max(BLOCKS[:-1], key=lambda size: sum(valid[size]))
    gain = stats.mean(np.subtract(valid[best], valid[BLOCKS[-1]]).tolist())
    yield gain | {"points": points, "reason": f"The best inner size is {best}; the best of several is chosen after the "
                                              "fact, which flatters it.", "conditions": {"batch": ROWS}}


# parallel-theorem ---------------------------------------------------------------------------------------


def surest(c: np.ndarray) -> int:
    """How many of these confidences, falling, the factor rule opens at factor 1."""
    return rules.how_many("factor", c, np.zeros_like(c), 0.0, 1.0, 0.0)


def parallel_theorem(trial: Trial) -> Iterator[Result]:
    """Random joints where the rule opens two or more cells: is their likeliest value together each one's likeliest?"""
    rule: Callable[[np.ndarray], int] = trial.subject or surest
    n, good, tried = trial.size(10_000, at_least=100), 0, 0
    rng = np.random.default_rng(trial.seeds(1)[0])
    for seen in range(1, n + 1):
        while True:
            tried += 1
            cells, values = int(rng.integers(2, 5)), int(rng.integers(2, 5))
            joint = sharp_joint(rng, cells, values)
            marginals = [joint.sum(axis=tuple(a for a in range(cells) if a != i)) for i in range(cells)]
            order = sorted(range(cells), key=lambda i: -marginals[i].max())
            chosen = sorted(order[: rule(np.array([marginals[i].max() for i in order]))])
            if len(chosen) > 1:
                break
        together_ = joint.sum(axis=tuple(a for a in range(cells) if a not in chosen))
        best = np.unravel_index(int(together_.argmax()), together_.shape)
        good += all(int(marginals[i].argmax()) == int(v) for i, v in zip(chosen, best, strict=True))
        if seen % 1_000 == 0:
            trial.ask()
        if seen == n // 4:
            yield stats.exact(good, seen)
    yield stats.exact(good, n) | {"points": [{"x": "joints drawn", "y": float(tried)}, {"x": "of use", "y": float(n)}]}


def sharp_joint(rng: np.random.Generator, cells: int, values: int) -> np.ndarray:
    """A joint around a few likely pages, so that marginals are often sure."""
    p = rng.dirichlet(np.full(values**cells, 0.05))
    p[rng.integers(len(p))] += rng.exponential(2.0)
    return (p / p.sum()).reshape((values,) * cells)
