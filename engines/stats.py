"""The few statistics that claims need: intervals, a pooled chi-square, paired bootstrap, paired timings.

All intervals are 95 %. Randomness is a numpy generator with a fixed seed, so that a figure can be repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

BOOTSTRAPS = 2_000


def share(hits: int, n: int) -> dict[str, Any]:
    """A proportion with its Wilson interval."""
    from scipy import stats  # noqa: PLC0415 - a second's import, which a page that nobody measures on can do without

    low, high = stats.binomtest(hits, n).proportion_ci(method="wilson")
    return {"here": hits / n, "low": float(low), "high": float(high), "n": n}


def exact(hits: int, n: int) -> dict[str, Any]:
    """n of n, or it does not hold: one counter-example is enough."""
    return {"here": hits / n, "low": hits / n, "high": hits / n, "n": n, "holds": hits == n}


def mean(values: Sequence[float]) -> dict[str, Any]:
    """A mean with its percentile bootstrap."""
    return ratio_of_means(values, [1.0] * len(values))


def ratio_of_means(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """mean(a) / mean(b), paired, with a percentile bootstrap over pairs."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    pick = np.random.default_rng(0).integers(len(x), size=(BOOTSTRAPS, len(x)))
    draws = x[pick].sum(1) / np.maximum(y[pick].sum(1), 1e-300)
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"here": float(x.sum() / y.sum()), "low": float(low), "high": float(high), "n": len(x)}


def chi_square(counts: dict[Any, int], law: dict[Any, float]) -> dict[str, Any]:
    """Do these outcomes follow this law? Cells with an expectation below 5 are pooled into one.

    Returns p, chi2, degrees of freedom and n. An outcome that the law calls impossible gives p = 0.
    """
    n = sum(counts.values())
    if any(law.get(k, 0.0) == 0.0 for k in counts):
        return {"p": 0.0, "chi2": float("inf"), "df": len(law) - 1, "n": n}
    seen, expected, pooled_seen, pooled_expected = [], [], 0.0, 0.0
    for k, p in law.items():
        if n * p < 5:
            pooled_seen += counts.get(k, 0)
            pooled_expected += n * p
        else:
            seen.append(float(counts.get(k, 0)))
            expected.append(n * p)
    if pooled_expected > 0:
        seen.append(pooled_seen)
        expected.append(pooled_expected)
    x = float(((np.array(seen) - np.array(expected)) ** 2 / np.array(expected)).sum())
    from scipy import stats  # noqa: PLC0415 - as above

    return {"p": float(stats.chi2.sf(x, len(seen) - 1)), "chi2": x, "df": len(seen) - 1, "n": n}


def law(real: dict[str, Any], twins: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The verdict on an exact sampler: the real one fits, and every broken twin is caught by the same test."""
    caught = {name: t["p"] < 1e-6 for name, t in twins.items()}
    return {"here": real["p"], "low": real["p"], "high": real["p"], "n": real["n"], "p": real["p"],
            "test": f"chi-square, {real['df']} degrees of freedom; real p > 1e-3, every twin p < 1e-6",
            "holds": bool(real["p"] > 1e-3 and all(caught.values())),
            "points": [{"x": name, "y": t["p"], "n": t["n"], "caught": caught[name]} for name, t in twins.items()]}


def abba(a: Callable[[int], float], b: Callable[[int], float], pairs: int,
         ask: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """How many times faster b is than a: median of paired log ratios, in ABBA order, wall and CPU clocks.

    a(i), b(i) do the work of pair i and return how many units they made; times are per unit. If the two clocks
    disagree by more than 20 % the machine was busy and `holds` is forced to None.
    """
    def once(f: Callable[[int], float], i: int) -> tuple[float, float]:
        ask()
        w, c = time.perf_counter(), time.thread_time()
        units = f(i)
        return (time.perf_counter() - w) / units, (time.thread_time() - c) / units

    a(0), b(0)  # warm
    wall, cpu = [], []
    for i in range(max(pairs, 21)):
        first, second = (a, b) if i % 2 == 0 else (b, a)
        one, two = once(first, i), once(second, i)
        ta, tb = (one, two) if i % 2 == 0 else (two, one)
        wall.append(np.log(ta[0] / tb[0]))
        cpu.append(np.log(ta[1] / tb[1]))
    pick = np.random.default_rng(0).integers(len(wall), size=(BOOTSTRAPS, len(wall)))
    low, high = np.exp(np.percentile(np.median(np.array(wall)[pick], axis=1), [2.5, 97.5]))
    here, on_cpu = float(np.exp(np.median(wall))), float(np.exp(np.median(cpu)))
    out: dict[str, Any] = {"here": here, "low": float(low), "high": float(high), "n": len(wall), "cpu_ratio": on_cpu}
    if not 1 / 1.2 < here / on_cpu < 1.2:
        out |= {"holds": None, "reason": "wall and CPU clocks disagree by more than 20 %: the machine was busy"}
    return out
