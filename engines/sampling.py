"""From logits to the distribution that is drawn from, and the two rules of exact speculation.

Symbols: z logits (V,), p the target's and q the draft's probabilities (V,), float64 throughout, because a
ratio of two small float32 numbers is not good enough for an acceptance test.
Order of the filters as in the field's libraries: temperature, top-k, top-p, min-p, typical.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def softmax(z: Any, temperature: float = 1.0) -> np.ndarray:
    """(…, V) float64 probabilities; temperature 0 puts everything on the largest logit (lowest index on ties)."""
    z = np.asarray(z, dtype=np.float64)
    if temperature == 0:
        return np.eye(z.shape[-1])[z.argmax(-1)]
    with np.errstate(over="ignore"):  # a temperature near 0 sends all but the largest to exp(-inf) = 0, as it should
        e = np.exp((z - z.max(-1, keepdims=True)) / temperature)
    return e / e.sum(-1, keepdims=True)


def kept(
    p: np.ndarray, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, typical_p: float = 1.0
) -> np.ndarray:
    """Which entries of p (V,) survive the filters: bool (V,). Off: top_k 0, top_p 1, min_p 0, typical_p 1.

    top-k keeps ties of the k-th; top-p keeps the smallest set, by falling probability, whose mass reaches
    top_p, with the entry that crosses it (Holtzman et al. 1904.09751); min-p keeps p >= min_p * max p
    (2407.01082); typical keeps the entries whose surprise -log p is nearest to the entropy, until their mass reaches
    typical_p, with the one that crosses it and its ties (Meister et al. 2202.00666: tau). The likeliest entry may go.
    Each filter sees the renormalised survivors of the one before it.
    """
    keep = p > 0
    if top_k:
        keep &= p >= np.sort(p)[-min(top_k, len(p))]
    if top_p < 1:
        rest = np.where(keep, p, 0.0)
        rest = rest / rest.sum()
        order = np.argsort(-rest, kind="stable")
        before = np.cumsum(rest[order]) - rest[order]
        crossing = np.zeros_like(keep)
        crossing[order] = before < top_p
        keep &= crossing
    if min_p > 0:
        keep &= p >= min_p * p[keep].max()
    if typical_p < 1:
        rest = np.where(keep, p, 0.0)
        rest = rest / rest.sum()
        with np.errstate(divide="ignore"):
            gap = np.abs(-np.log(rest) - entropy(rest))
        order = np.argsort(gap, kind="stable")
        last = np.searchsorted(np.cumsum(rest[order]), typical_p)
        keep &= gap <= gap[order[min(int(last), len(p) - 1)]]
    return keep


def standardise(
    z: Any, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, typical_p: float = 1.0
) -> np.ndarray:
    """Logits (V,) -> the probabilities (V,) that sampling uses, all filters applied and renormalised."""
    p = softmax(z, temperature)
    p = np.where(kept(p, top_k, top_p, min_p, typical_p), p, 0.0)
    return p / p.sum()


def ratio(p: np.ndarray, q: np.ndarray, x: int) -> float:
    """p(x) / q(x): a draft x ~ q stays if a uniform number falls below it (2211.17192, algorithm 1).

    q(x) = 0 only for a word that a user forced on the draft; it stays whatever p says of it.
    """
    return float(p[x] / q[x]) if q[x] > 0 else float("inf")


def residual(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """(p - q)+ , not normalised: where a rejected draft is replaced from, so that the law stays p."""
    r = np.maximum(p - q, 0.0)
    # p and q equal up to rounding: a rejection then has probability ~0 and p itself is the right answer
    return r if r.sum() > 1e-12 else p.copy()


def entropy(p: np.ndarray) -> float:
    """In nats."""
    p = p[p > 0]
    return max(0.0, float(-(p * np.log(p)).sum()))  # max: a sure word has 0.0, not -0.0


def spoken(word: str) -> str:
    """How a sentence names a cell's value: signs by their names, pieces of words without their space."""
    names = {".": "a full stop", ",": "a comma", "<end>": "the end", "\n": "a line break", "\n\n": "an empty line",
             " ": "a space"}
    return names.get(word) or names.get(word.strip(), word.strip())


def top(p: np.ndarray, words: Sequence[str], k: int = 8, always: Sequence[int] = ()) -> dict[str, Any]:
    """The k largest entries of p (V,), and those of `always`, as an event's distribution; `rest` is the remainder."""
    best = np.argpartition(p, -min(k, len(p)))[-k:] if len(p) > k else np.arange(len(p))
    ids = sorted({int(i) for i in best if p[i] > 0} | {int(i) for i in always}, key=lambda i: -p[i])
    return {"top": [[words[i], float(p[i])] for i in ids], "rest": max(0.0, float(1 - p[ids].sum()))}


def percent(p: float) -> str:
    """A probability in a sentence."""
    return "under 1 %" if p < 0.01 else "over 99 %" if p > 0.99 else f"{100 * p:.0f} %"


MISFIT = 0.5


def why_rejected(guess: str, other: str, p: float, q: float, who: str, forced: bool) -> str:
    """One true sentence about a rejected guess: a user decided, it did not fit, or the dice went against it."""
    if forced:
        return f"You hold this place, so the guess {guess} makes room for {other}."
    if p < MISFIT * q:
        return f"The guess was {guess}, with {percent(q)}. {who} gives it {percent(p)}, so {other} takes its place."
    return f"The guess {guess} nearly fits: {percent(q)} when guessed, {percent(p)} now. The dice go for {other}."
