"""Masked diffusion: the page starts hidden, and each step opens some cells; the rules say which, and how many.

Symbols: M the hidden cells, z logits, p = softmax(z), x the candidates, c = p(x) their confidences, S steps, b the
size of a block, tau, f and gamma the thresholds of the how-many rules, w the guidance, sigma the chance of remasking.

One step, as in LLaDA (2502.09992) and Fast-dLLM (2505.22618): the network reads the page, a candidate is drawn for
every hidden cell of the block, a beginning of the ranking is opened, the other candidates are forgotten. Cells opened
together do not see each other: what that costs is their total correlation, which the grammar knows.
With coins (MDLM 2406.07524, RADD 2406.03736) each hidden cell opens by itself with chance 1 - s/t.

Differs: a how-many rule opens a beginning of the ranking, whatever the position rule ranks by; the official code knows
threshold and factor with confidence only, where this is the same. `remask` is an extra: in none of the systems above
is a word, once opened, ever hidden again ("low-confidence remasking" only forgets candidates).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from engines.discrete_diffusion import page as pages
from engines.discrete_diffusion import rules
from engines.discrete_diffusion.answers import Ask, Loop, alone, grammar
from engines.discrete_diffusion.page import TAIL, Page, Reader
from engines.events import Event, Measure, Note, Phase, Steps, Withdraw, spans
from engines.noise import Draw, Noise
from engines.runtime import Meter
from engines.sampling import percent, spoken
from engines.worlds.stories import HIDDEN

NET = "discrete_diffusion/radd"
UNSURE = "diffusion.unsure"


def masked_diffusion(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Write a story out of masks. s: the settings of the exhibit; s.oracle asks the grammar instead of the network."""
    net = grammar(meter) if s.oracle else meter.net(NET)
    page = pages.open_page(s, noise)
    yield pages.begin(page, "Your rules", [meter.card(net.name, "target")])
    return (yield from alone(unmask(page, s, noise, meter), net))


def unmask(page: Page, s: SimpleNamespace, noise: Noise, meter: Meter) -> Loop:
    """The decoding loop, on any page."""
    reader = Reader(page, meter)
    parts = rules.blocks(page.masked, s.block)
    steps = calls = idle = 0
    said = ""
    for k, block in enumerate(parts):
        if len(parts) > 1:
            yield Phase(unit="block", index=k, of=len(parts), state="start", cells=spans(block))
        plan, taken, first = _plan(s, len(block), len(parts), k), 0, True
        z: np.ndarray | None = None
        while open_ := [c for c in block if page.x[c] == HIDDEN]:
            n, r = next(plan)
            if n == 0:
                continue  # more steps than cells: nothing is planned here, so nobody is asked
            yield Phase(unit="step", index=steps, state="start", cells=spans(open_))
            steps, taken = steps + 1, taken + 1
            if z is None or s.cache != "exact":
                z = yield _ask(page, s, block, open_, first)
                calls, first = calls + 1, False
                p = _laws(page, s, z)
            elif note := pages.unchanged(idle := idle + 1):
                yield note
            law = rules.drawn_from(p, s.temperature, s.top_p)
            choice = _choose(page, s, noise, open_, p, law, n, r)
            if choice.c is not None:
                yield Measure(name="confidence", value=float(choice.c.max()), unit="probability",
                              cells=spans(open_), values=choice.c.tolist())
            rows, cells = choice.rows, [open_[i] for i in choice.rows]
            if (note := _told(page, s, cells, choice, len(open_))) and note.key != said:
                yield note
            said = note.key if note and note.key == UNSURE else ""
            if rows:
                z = None
                yield from pages.open_cells(page, noise, reader, cells, choice.drawn, p[rows], law[rows], calls)
            if s.remask and taken < s.steps and (again := _hide(page, s, noise, block)):
                z = None
                yield from _taken_back(page, reader, again)
        if len(parts) > 1:
            yield Phase(unit="block", index=k, of=len(parts), state="end", cells=spans(block))
    return pages.summary(page, calls, calls * (2 if s.guidance and page.given else 1), steps, reader.price)


def _plan(s: SimpleNamespace, cells: int, blocks: int, k: int) -> Iterator[tuple[int | None, float]]:
    """(cells to open, chance that a cell opens) for each step of a block, endlessly; None: the rule decides itself.

    S steps are shared out among the blocks; a block that has fewer than one still gets one.
    """
    steps = max(1, rules.equal_steps(s.steps, blocks)[k])
    if s.order == "coin":
        t = rules.times(steps)
        for a, b in zip(t[:-1], t[1:], strict=True):
            yield None, 1.0 if b == t[-1] else float(1 - b / a)
    elif s.amount == "fixed":
        for n in rules.equal_steps(cells, steps):
            yield n, 1.0
    while True:  # also what remasking has hidden again: one by one
        yield 1 if s.amount == "fixed" and s.order != "coin" else None, 1.0


def _ask(page: Page, s: SimpleNamespace, block: list[int], open_: list[int], first: bool) -> Ask:
    """The question of a step: the whole page, or what the cache of this block does not hold."""
    rows = [page.ids()] + ([page.ids(hide=page.given)] if s.guidance and page.given else [])
    cached = s.cache in ("prefix", "dual")
    stop = len(page.x) if s.cache == "prefix" else block[-1] + 1
    computes = list(range(block[0], stop)) if cached and not first else None
    return Ask(rows, open_, page.shown, computes, keep=cached and first)


def _laws(page: Page, s: SimpleNamespace, z: np.ndarray | None) -> np.ndarray:
    """p (T, V) from the logits of one or two pages: z = z_u + (w + 1)(z_c - z_u)."""
    assert z is not None
    if len(z) == 2:
        with np.errstate(invalid="ignore"):
            pulled = z[1] + (s.guidance + 1) * (z[0] - z[1])
        return pages.laws(page, np.where(np.isneginf(z[0]), -np.inf, pulled))  # impossible stays impossible
    return pages.laws(page, z[0])


@dataclass
class Choice:
    """What a step opens: rows of its hidden cells, their draws, each candidate's confidence (not for coins)."""

    rows: list[int]
    drawn: list[Draw]
    c: np.ndarray | None = None


def _choose(page: Page, s: SimpleNamespace, noise: Noise, open_: list[int], p: np.ndarray, law: np.ndarray,
            n: int | None, r: float) -> Choice:
    """Draw candidates from law (T, V) and rank their cells by p. n: how many to open, None if the rule decides."""
    if s.order == "coin":
        return Choice(*rules.opened(noise, open_, law, np.full(len(open_), r)))
    drawn = noise.draw("token", open_, law)
    x = [d.index for d in drawn]
    held = np.array([d.forced for d in drawn])
    c = np.where(held, 1.0, p[np.arange(len(x)), x])  # what a user holds is sure, and comes first
    late = np.array([s.ending == "late" and v in TAIL for v in x])
    score = rules.scores(s.order, p, c, open_, noise)
    rank = rules.ranked(score, s.order_temperature, open_, noise, np.where(held, 0, 1 + late))
    if n is None:
        h = np.where(held, 0.0, rules.entropies(p))
        n = rules.how_many(s.amount, c[rank], h[rank], s.tau, s.factor, s.gamma)
    rows = sorted(rank[:n])
    return Choice(rows, [drawn[i] for i in rows], c)


def _told(page: Page, s: SimpleNamespace, cells: list[int], choice: Choice, of: int) -> Note | None:
    """A sentence on what the how-many rule made of this step."""
    if choice.c is None or s.amount == "fixed":
        return None
    c = choice.c[choice.rows]
    word = spoken(page.words[choice.drawn[int(c.argmin())].index])
    sure = percent(float(c.min()))
    if len(cells) > 1:
        return Note(key="diffusion.many", args={"n": len(cells), "word": word}, cells=cells,
                    text=f"{len(cells)} words in one call. The least sure is {word}, with {sure}.")
    if s.amount == "threshold" and c[0] < s.tau and of > 1:
        return Note(key=UNSURE, args={"word": word}, cells=cells,
                    text=f"No cell is sure enough, so only one is opened: {word}, with {sure}.")
    return None


def _hide(page: Page, s: SimpleNamespace, noise: Noise, block: list[int]) -> list[int]:
    """Words of this block to hide again: each with chance sigma, never what a user chose."""
    there = [c for c in block if page.x[c] >= 0 and c not in page.forced]
    return [c for c, u in zip(there, noise.uniform("remask", there), strict=True) if u < s.remask] if there else []


def _taken_back(page: Page, reader: Reader, cells: list[int]) -> Iterator[Event]:
    words = [page.spoken(c) for c in cells]
    for cell in cells:
        page.x[cell] = HIDDEN
    yield Withdraw(cells=cells, why="remask")
    reader.clash(cells)
    said = ", ".join(spoken(w) for w in words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")
    yield Note(key="diffusion.remask", args={"was": [w for w in words[:3] if w.isalpha()]}, cells=cells,
               text=f"Hidden again, to be written anew: {said}.")
