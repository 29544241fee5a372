"""Speculative decoding: a small net guesses gamma cells ahead, the target checks all of them in one evaluation.

Source: Leviathan et al. 2211.17192, algorithm 1 (Chen et al. 2302.01318 is its twin, with p and q swapped).
Symbols as there: p target M_p, q draft M_q, both already filtered ("standardised"), gamma drafts x_1 … x_gamma,
ratio p(x)/q(x), residual norm((p - q)+), and one more cell from p_{gamma+1} when every draft stays.

The output law is p exactly, because min(p, q)(x) + P(reject) · residual(x) = p(x). Rolling the caches back is
nothing special here: both nets keep the longest common prefix of what they saw.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines.events import Accept, Begin, Commit, Event, Note, Phase, Propose, Reject, Steps, Withdraw
from engines.next_token import page
from engines.next_token.drafts import DRAFTS, Drafter
from engines.next_token.next_token import summary
from engines.noise import Draw, Noise
from engines.runtime import Meter
from engines.sampling import entropy, ratio, residual, spoken, standardise, why_rejected
from engines.worlds.texts import Text


def _correct(noise: Noise, cell: int, p: np.ndarray, q: np.ndarray) -> Draw:
    return noise.draw("residual", [cell], residual(p, q)[None])[0]


@dataclass(frozen=True)
class Rule:
    """The two lines that keep the law. Tests and claims hand in broken ones, to see them caught."""

    ratio: Callable[[np.ndarray, np.ndarray, int], float] = ratio
    correct: Callable[[Noise, int, np.ndarray, np.ndarray], Draw] = _correct


EXACT = Rule()


def speculative(s: SimpleNamespace, noise: Noise, meter: Meter, rule: Rule = EXACT) -> Steps:
    """Write a text with drafts. s: those of next_token, and draft, gamma, lenience (below 1: not exact)."""
    kind, voice = page.text_of(s), page.voice(s)
    target = meter.net(voice.target)
    drafter = DRAFTS[s.draft](meter, voice)
    text = page.opening(s, noise)
    cards = [meter.card(voice.target, "target")]
    if drafter.net and drafter.net is not target:
        cards.append(meter.card(drafter.net.name, "draft"))
    yield Begin(title="Guess ahead, then check", canvases=[kind.canvas(kind.length)], nets=cards,
                given=page.given(kind, text))
    rounds = tested = kept = 0
    while page.open_(kind, text):
        start, rounds = len(text) - 1, rounds + 1
        yield Phase(unit="round", index=rounds - 1, state="start", cells=[start])
        x, q = yield from _draft(s, kind, noise, drafter, text)
        z = np.asarray(target(text + x, predict=len(x) + 1), dtype=np.float64)
        yield page.forward(target, text + x, predicts=list(range(start, start + len(x) + 1)), mode="verify")
        p = [standardise(row, s.temperature, s.top_k, s.top_p, s.min_p) for row in z]
        for i, guess in enumerate(x):
            cell = start + i
            r = min(1.0, rule.ratio(p[i], q[i], guess) / s.lenience)
            u, stays = noise.accept([cell], [r])[0]
            tested, kept = tested + 1, kept + stays
            verdict: dict[str, Any] = {"cells": [cell], "p": [p[i][guess]], "q": [q[i][guess]], "ratio": [r], "u": [u]}
            truth = page.truth(kind, meter, text)
            if stays:
                yield Accept(**verdict, dists=page.dists(kind, guess, q=q[i], p=p[i], truth=truth))
                yield Commit(cells=[cell], values=[kind.words[guess]], p=[p[i][guess]], entropy=[entropy(p[i])],
                             origin="forced" if noise.forced(cell) else "accepted")
                text.append(guess)
                continue
            y = rule.correct(noise, cell, p[i], q[i])
            left = residual(p[i], q[i])
            yield Reject(**verdict, replacement=[kind.words[y.index]],
                         dists=page.dists(kind, guess, q=q[i], p=p[i], truth=truth, residual=left / left.sum()))
            if len(x) > i + 1:
                yield Withdraw(cells=[[cell + 1, start + len(x)]], why="discard")
            yield Commit(cells=[cell], values=[kind.words[y.index]], p=[p[i][y.index]], entropy=[entropy(p[i])],
                         origin="forced" if y.forced else "repaired")
            text.append(y.index)
            said, other = spoken(kind.words[guess]), spoken(kind.words[y.index])
            yield Note(key="speculative.rejected", args={"word": said, "other": other}, cells=[cell],
                       text=why_rejected(said, other, float(p[i][guess]), float(q[i][guess]), "The target", y.forced))
            break
        else:
            if page.open_(kind, text):
                yield from _bonus(kind, noise, meter, text, p[-1], len(x))
    return summary(kind, target, text) | {"rounds": rounds, "tested": tested, "accepted": kept,
                                    "draft_calls": drafter.calls}


def _draft(
    s: SimpleNamespace, kind: Text, noise: Noise, drafter: Drafter, text: list[int]
) -> Generator[Event, None, tuple[list[int], list[np.ndarray]]]:
    """Up to gamma cells, one after another, each from q given the ones before it."""
    x: list[int] = []
    q: list[np.ndarray] = []
    # the target always adds one cell of its own, so the last free cell is not worth a guess
    while len(x) < s.gamma and len(text) + len(x) < kind.length and kind.end not in x[-1:]:
        cell = len(text) - 1 + len(x)
        row = yield from drafter(text + x, s)
        if row is None:  # nothing to copy
            break
        guess = noise.draw("draft", [cell], row[None])[0]
        x.append(guess.index)
        q.append(row)
        yield Propose(cells=[cell], values=[kind.words[guess.index]], p=[row[guess.index]], origin=s.draft,
                      dists=page.dists(kind, guess.index, q=row))
    return x, q


def _bonus(
    kind: Text, noise: Noise, meter: Meter, text: list[int], p: np.ndarray, kept: int
) -> Iterator[Event]:
    """Every draft stayed: the same evaluation already knows the law of one more cell."""
    cell = len(text) - 1
    y = noise.draw("token", [cell], p[None])[0]
    truth = page.truth(kind, meter, text)
    text.append(y.index)
    yield Commit(cells=[cell], values=[kind.words[y.index]], p=[y.p], entropy=[entropy(p)],
                 origin="forced" if y.forced else "sampled", dists=page.dists(kind, y.index, p=p, truth=truth))
    if kept:
        said = spoken(kind.words[y.index])
        stay = f"All {kept} guesses stay" if kept > 1 else "The guess stays"
        yield Note(key="speculative.bonus", args={"word": said, "kept": kept}, cells=[cell],
                   text=f"{stay}, so {said} comes free with the check.")
