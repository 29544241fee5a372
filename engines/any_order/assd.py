"""Any-subset speculative decoding (ASSD): one network guesses several blanks at once, then checks its own guesses.

Source: Guo and Ermon, arXiv 2504.20456 (ICLR 2026). Symbols: N cells, m given, n known now, sigma the order,
k the draft width; P_j the draft's and Q_j the oracle's distribution of the j-th next blank.

Draft pass: every blank sees what is known, blanks do not see each other. Oracle pass: the j-th also sees the
drafts before it. Draft 0 sees the same in both, so P_0 = Q_0 and it always stays (Lemma 1): a round of two
calls fixes at least two blanks when k >= 2, hence NFE <= N - m (Theorem 1). The law is that of one by one
(Theorem 2).

Differs: the official code draws from torch's global generator; here every number has a key. Content rows are
cached (the paper's code computes them anew), in this lane and in its baselines alike.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines.any_order import page as pages
from engines.any_order.ngram import ContextNGram
from engines.any_order.page import Page, ask, chart, forward
from engines.events import Accept, Commit, Event, Measure, Note, Phase, Propose, Reject, Steps, Withdraw
from engines.noise import Draw, Noise
from engines.runtime import Meter, Net
from engines.sampling import entropy, ratio, residual, softmax, spoken, why_rejected


def _correct(noise: Noise, cell: int, q: np.ndarray, p: np.ndarray) -> Draw:
    return noise.draw("residual", [cell], residual(q, p)[None])[0]


@dataclass(frozen=True)
class Rule:
    """What keeps the law: the ratio Q(x)/P(x) and where a rejected guess is replaced from."""

    ratio: Callable[[np.ndarray, np.ndarray, int], float] = ratio
    correct: Callable[[Noise, int, np.ndarray, np.ndarray], Draw] = _correct
    check: bool = True


EXACT = Rule()


def assd(s: SimpleNamespace, noise: Noise, meter: Meter, rule: Rule = EXACT) -> Steps:
    """Guess with the network itself. s: story, blanks, pattern, share, k, temperature, r_atol, bonus."""
    page = pages.open_page(s, noise)
    yield pages.begin(page, "Guess, then check", meter, "draft and oracle")
    return (yield from fill(page, s, noise, meter, rule))


def assd_ngram(s: SimpleNamespace, noise: Noise, meter: Meter, rule: Rule = EXACT) -> Steps:
    """Guess by counting words and pairs of words on this very page (the paper's other draft)."""
    page = pages.open_page(s, noise)
    yield pages.begin(page, "Guess by counting, then check", meter, "oracle")
    return (yield from fill(page, s, noise, meter, rule, counts=ContextNGram(page)))


def fill(
    page: Page, s: SimpleNamespace, noise: Noise, meter: Meter, rule: Rule, counts: ContextNGram | None = None
) -> Steps:
    """The decoding loop, on any page: rounds of draft, oracle pass and verdicts until no blank is left."""
    net = meter.net(page.net)
    rounds = 0
    while page.left:
        cells = page.left[: s.k]
        yield Phase(unit="round", index=rounds, state="start", cells=cells)
        rounds += 1
        if counts and counts.can_guess(cells[0]):
            P, drafts = counts.guess(cells, noise)
        else:
            P = softmax(ask(net, page, cells), s.temperature)
            yield forward(net, page, cells, mode="step")
            drafts = noise.draw("draft", cells, P)
        x = [d.index for d in drafts]
        yield Propose(cells=cells, values=[page.words[v] for v in x], p=[float(P[j][v]) for j, v in enumerate(x)],
                      dists={"q": [chart(page.words, P[j], v) for j, v in enumerate(x)]})
        if not rule.check or (len(page.left) == 1 and not counts):
            # one blank: P_0 = Q_0, the oracle would say yes, so it is not asked (the paper's shortcut)
            yield from _keep_all(page, noise, cells, x, P)
            continue
        spare = page.left[len(cells) : len(cells) + 1] if s.bonus else []
        z = ask(net, page, cells + spare, drafts=list(zip(cells, x, strict=True)))
        yield forward(net, page, cells + spare, mode="verify")
        Q = softmax(z, s.temperature)
        kept = yield from _judge(page, s, noise, meter, rule, cells, x, P, Q, counts)
        if kept == len(cells) and spare:
            yield from _bonus(page, noise, spare[0], Q[-1], counts)
        done = len(page.known) - page.prompt
        yield Measure(name="blanks_per_call", value=done / net.nfe, unit="blanks per call", x=net.nfe)
    return pages.summary(page, net, rounds)


def _judge(
    page: Page, s: SimpleNamespace, noise: Noise, meter: Meter, rule: Rule, cells: list[int], x: list[int],
    P: np.ndarray, Q: np.ndarray, counts: ContextNGram | None,
) -> Generator[Event, None, int]:
    """Accept or repair in the order of decoding; the first repair ends the round. Returns how many stayed."""
    for j, cell in enumerate(cells):
        r = min(1.0, rule.ratio(Q[j], P[j], x[j]) + s.r_atol)
        if j == 0 and not counts:
            r = 1.0  # Lemma 1; in floating point Q_0/P_0 may miss 1 by a rounding
        u, stays = noise.accept([cell], [r])[0]
        forced = noise.forced(cell)
        truth = pages.truth(meter, page, [cell])[0]
        charts = pages.charts(page.words, x[j], q=P[j], p=Q[j], truth=truth)
        verdict: dict[str, Any] = {"cells": [cell], "p": [float(Q[j][x[j]])], "q": [float(P[j][x[j]])], "ratio": [r],
                                   "u": [u]}
        word = page.words[x[j]]
        if stays:
            yield Accept(**verdict, dists=charts)
            page.write(cell, x[j])
            yield Commit(cells=[cell], values=[word], p=[float(Q[j][x[j]])], entropy=[entropy(Q[j])],
                         origin="forced" if forced else "accepted")
            if counts:
                counts.update(cell)
            continue
        y = rule.correct(noise, cell, Q[j], P[j])
        left = residual(Q[j], P[j])
        charts["residual"] = [chart(page.words, left / left.sum(), y.index)]
        yield Reject(**verdict, replacement=[page.words[y.index]], dists=charts)
        if cells[j + 1 :]:
            yield Withdraw(cells=cells[j + 1 :], why="discard")
        page.write(cell, y.index)
        yield Commit(cells=[cell], values=[page.words[y.index]], p=[float(Q[j][y.index])], entropy=[entropy(Q[j])],
                     origin="forced" if y.forced else "repaired")
        if counts:
            counts.update(cell)
        said, other = spoken(word), spoken(page.words[y.index])
        yield Note(key="assd.repaired", args={"word": said, "other": other}, cells=[cell],
                   text=why_rejected(said, other, float(Q[j][x[j]]), float(P[j][x[j]]), "The check", y.forced))
        return j
    yield Note(key="assd.kept", args={"kept": len(cells)}, cells=cells,
               text=f"All {len(cells)} guesses fit together. Two calls, {len(cells)} words." if len(cells) > 1
               else "The guess stays.")
    return len(cells)


def _keep_all(page: Page, noise: Noise, cells: list[int], x: list[int], P: np.ndarray) -> Iterator[Event]:
    forced = [noise.forced(c) for c in cells]
    for cell, value in zip(cells, x, strict=True):
        page.write(cell, value)
    for origin, which in (("forced", True), ("sampled", False)):
        own = [j for j, f in enumerate(forced) if f is which]
        if own:
            yield Commit(cells=[cells[j] for j in own], values=[page.words[x[j]] for j in own],
                         p=[float(P[j][x[j]]) for j in own], entropy=[entropy(P[j]) for j in own], origin=origin)


def _bonus(page: Page, noise: Noise, cell: int, q: np.ndarray, counts: ContextNGram | None) -> Iterator[Event]:
    """Ours, not the paper's: every guess stayed, so the oracle pass also knows the law of the next blank."""
    y = noise.draw("token", [cell], q[None])[0]
    page.write(cell, y.index)
    if counts:
        counts.update(cell)
    word = page.words[y.index]
    yield Commit(cells=[cell], values=[word], p=[y.p], entropy=[entropy(q)],
                 origin="forced" if y.forced else "sampled", dists={"p": [chart(page.words, q, y.index)]})
    yield Note(key="assd.bonus", args={"word": spoken(word)}, cells=[cell],
               text=f"One more word, {spoken(word)}, comes free with the check.")


def one_by_one(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """The baseline: one oracle call for each blank, in the same order. NFE = N - m."""
    page = pages.open_page(s, noise)
    yield pages.begin(page, "One by one", meter, "target")
    return (yield from fill_one_by_one(page, s, noise, meter))


def fill_one_by_one(page: Page, s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    net: Net = meter.net(page.net)
    steps = 0
    while page.left:
        cell = page.left[0]
        yield Phase(unit="step", index=steps, state="start", cells=[cell])
        steps += 1
        q = softmax(ask(net, page, [cell]), s.temperature)[0]
        yield forward(net, page, [cell], mode="step")
        y = noise.draw("draft", [cell], q[None])[0]
        truth = pages.truth(meter, page, [cell])[0]
        page.write(cell, y.index)
        yield Commit(cells=[cell], values=[page.words[y.index]], p=[y.p], entropy=[entropy(q)],
                     origin="forced" if y.forced else "sampled",
                     dists=pages.charts(page.words, y.index, p=q, truth=truth))
    return pages.summary(page, net, steps)


def parallel(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """What happens without the check: k blanks at a time, each blind to the others of its call. Not exact."""
    page = pages.open_page(s, noise)
    yield pages.begin(page, "Guess and never check", meter, "draft")
    return (yield from fill(page, s, noise, meter, Rule(check=False)))


