"""Which hidden cells to open, and how many: the rules of masked diffusion, as functions of one step's probabilities.

Symbols: p (T, V) what the network says of the T hidden cells; x the candidate of each, c = p(x) its confidence.
A position rule ranks the cells; a how-many rule opens a beginning of that ranking, one cell at least.

Sources: LLaDA (2502.09992: random, low confidence, equal steps, blocks), Dream (2508.15487: margin, entropy,
`alg_temp`), Fast-dLLM (2505.22618: threshold, factor), MDLM and RADD (coins). Scores are read from p before
temperature and filters, as in LLaDA; ties go to the cell further left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.noise import Draw, Noise
from engines.sampling import kept, softmax

ORDERS = {"confidence": "surest word", "margin": "clearest lead", "entropy": "least open", "random": "random",
          "left": "left to right", "coin": "a coin each"}
AMOUNTS = {"threshold": "all that are sure", "factor": "sure together", "budget": "within a budget",
           "fixed": "equal steps"}


def entropies(p: np.ndarray) -> np.ndarray:
    """(T,) in nats."""
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)


def scores(order: str, p: np.ndarray, c: np.ndarray, cells: list[int], noise: Noise) -> np.ndarray:
    """(T,) the higher, the sooner."""
    if order == "confidence":
        return c
    if order == "margin":
        second, first = np.partition(p, -2, axis=-1)[:, -2:].T
        return first - second
    if order == "entropy":
        return -entropies(p)
    if order == "left":
        return -np.array(cells, dtype=float)
    if order == "random":
        return noise.uniform("order", cells)
    raise ValueError(f"no position rule {order!r}")


def ranked(score: np.ndarray, temperature: float, cells: list[int], noise: Noise, tier: np.ndarray) -> list[int]:
    """Indices into the hidden cells, first to open first. tier: int (T,), cells of a lower one come first.

    temperature > 0 draws the ranking from softmax(score / temperature), one cell after another (Gumbel-top-k), as
    Dream's `alg_temp` does.
    """
    if temperature > 0:
        score = score / temperature - np.log(-np.log(np.maximum(noise.uniform("order", cells), 1e-300)))
    return [int(i) for i in np.lexsort((np.arange(len(score)), -score, tier))]


def how_many(amount: str, c: np.ndarray, h: np.ndarray, tau: float, factor: float, gamma: float) -> int:
    """How long a beginning of the ranking is opened; c, h (T,): confidences and entropies in the order of the ranking.

    threshold: while c_i >= tau. factor: the largest n with (n + 1)(1 - min c_1..c_n) < factor; at 1 this is where
    the surest words, taken one by one, are surely also the likeliest together (2505.22618, theorem 1).
    budget: while h_1 + … + h_n <= gamma.
    """
    n = np.arange(1, len(c) + 1)
    if amount == "threshold":
        good = c >= tau
    elif amount == "factor":
        good = (n + 1) * (1 - np.minimum.accumulate(c)) < factor
    elif amount == "budget":
        good = np.cumsum(h) <= gamma
    else:
        raise ValueError(f"no how-many rule {amount!r}")
    return max(1, int(np.logical_and.accumulate(good).sum()))


def equal_steps(cells: int, steps: int) -> list[int]:
    """How many cells each step opens: equally many, the first steps one more. Sums to `cells`."""
    return [cells // steps + (k < cells % steps) for k in range(steps)]


def blocks(page_cells: Sequence[int], size: int) -> list[list[int]]:
    """The hidden cells at the start, cut from left to right into blocks of `size` places."""
    if not page_cells:
        return []
    first = page_cells[0]
    out: dict[int, list[int]] = {}
    for cell in page_cells:
        out.setdefault((cell - first) // size, []).append(cell)
    return list(out.values())


def drawn_from(p: np.ndarray, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0) -> np.ndarray:
    """p (T, V) after temperature and filters; p itself if there are none."""
    if temperature == 1 and top_p == 1 and not top_k:
        return p
    with np.errstate(divide="ignore"):
        law = softmax(np.log(p), temperature)
    if top_p < 1 or top_k:
        law = np.where([kept(row, top_k, top_p) for row in law], law, 0.0)
    return law / law.sum(-1, keepdims=True)


def times(steps: int, end: float = 1e-5) -> np.ndarray:
    """t_0 = 1 > t_1 > … > t_n = end."""
    return np.linspace(1.0, end, steps + 1)


def opened(noise: Noise, cells: list[int], q: np.ndarray, r: np.ndarray) -> tuple[list[int], list[Draw]]:
    """One step of the reverse process: hidden cell i by itself becomes word v with chance r_i q_i(v), else stays.

    q (T, V), r (T,); to stay is one more value behind the words. Returns the rows that opened, and their draws with
    p = q(v).
    """
    law = np.concatenate([r[:, None] * q, np.maximum(0.0, 1 - r)[:, None]], axis=1)
    rows, draws = [], []
    for i, draw in enumerate(noise.draw("token", cells, law)):
        if draw.index < q.shape[1]:
            rows.append(i)
            draws.append(Draw(draw.index, float(q[i, draw.index]), draw.forced))
    return rows, draws
