"""What the lanes share: a page of hidden cells, what the grammar says of it, and charts.

A page always has the 64 positions of the network. If the end is told, END and the PADs behind it stand there from the
start and are left off the canvas; if not, they are hidden like all words and the network must write them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines.errors import Refused
from engines.events import Begin, Commit, Event, Measure, Note, spans
from engines.noise import Draw, Noise
from engines.runtime import Meter
from engines.sampling import entropy, top
from engines.story_settings import blanks_of, story
from engines.worlds import stories
from engines.worlds.stories import END, HIDDEN, LENGTH, PAD
from engines.worlds.texts import STORIES

TAIL = (PAD, END)
WORDS = stories.VOCAB


def vocabulary(s: SimpleNamespace) -> dict[str, int]:
    """The words that a user may force, with their ids."""
    return STORIES.inner


@dataclass
class Page:
    """x: the id of every position, HIDDEN (-1) where masked. shown: how many of them are cells of the canvas.

    never: ids that no hidden cell can hold. forced: cells whose word a user chose; they are not hidden again.
    """

    x: list[int]
    shown: int
    given: list[int]
    words: tuple[str, ...] = WORDS
    never: tuple[int, ...] = ()
    forced: set[int] = field(default_factory=set)

    @property
    def masked(self) -> list[int]:
        return [c for c in range(self.shown) if self.x[c] == HIDDEN]

    def ids(self, hide: Collection[int] = ()) -> list[int]:
        """What a network reads: the mask's id, one past the words, where a cell is hidden or in `hide`."""
        return [len(self.words) if v == HIDDEN or c in hide else v for c, v in enumerate(self.x)]

    def spoken(self, cell: int) -> str:
        return self.words[self.x[cell]]


def open_page(s: SimpleNamespace, noise: Noise) -> Page:
    """The page of these settings and this seed. s: story, blanks, pattern, share, ending ("told" or not)."""
    ids = story(STORIES, s, noise.seed)
    n, told = len(ids), s.ending == "told"
    hidden = set(blanks_of(s, n, noise))
    x = [HIDDEN if c in hidden else v for c, v in enumerate(ids)]
    tail = [END, *[PAD] * (LENGTH - n - 1)] if told else [HIDDEN] * (LENGTH - n)
    return Page(x + tail, n if told else LENGTH, sorted(set(range(n)) - hidden), never=TAIL if told else ())


def begin(page: Page, title: str, nets: list[dict[str, Any]]) -> Begin:
    return Begin(title=title, canvases=[{"id": "story", "kind": "tokens", "shape": [page.shown], "open": False}],
                 nets=nets, given={"cells": spans(page.given), "values": [page.spoken(c) for c in page.given]})


def laws(page: Page, z: np.ndarray) -> np.ndarray:
    """Logits (T, V) -> probabilities (T, V), float64, nothing on what a hidden cell of this page cannot be."""
    z = np.array(z, dtype=np.float64)
    z[:, list(page.never)] = -np.inf
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Reader:
    """What the grammar itself says of a page: for viewers only, so it is silent when nobody looks.

    Not a part of any algorithm, nor of its time.
    """

    def __init__(self, page: Page, meter: Meter):
        self.page, self.meter = page, meter
        self.on = page.words is WORDS and not meter.quiet
        self.fits, self.price = True, 0.0
        self.rows: np.ndarray | None = None
        self._read()

    def _read(self) -> None:
        self.rows = None
        if not self.on:
            return
        with self.meter.preview():
            try:
                self.rows = stories.automaton().marginals(self.page.x)
            except Refused:
                self.fits = False

    def truth(self, cells: list[int]) -> np.ndarray | None:
        """p(cell | all words on the page) by the grammar, (T, V); None where no story holds these words."""
        return None if self.rows is None else self.rows[cells]

    def pay(self, cells: list[int], before: list[int]) -> float | None:
        """Add what opening these cells together cost: their total correlation given the page `before`, in nats.

        Call when they are shown, for it takes longer than writing them, and before `clash` reads the page again.
        Returns the sum so far, or None where it is not known.
        """
        if not self.on or self.rows is None:
            return None
        with self.meter.preview():
            try:
                nats = stories.automaton().total_correlation(before, cells) if len(cells) > 1 else 0.0
            except Refused:  # too many ways to count
                return None
        self.price += nats if nats > 1e-9 else 0.0  # what is less is rounding
        return self.price

    def clash(self, cells: list[int]) -> Note | None:
        """Read the page again; a sentence if it has just become impossible."""
        fitted = self.fits
        self.fits = True
        self._read()
        if self.fits or not fitted:
            return None
        names = [self.page.spoken(c) for c in cells if self.page.spoken(c).isalpha()][:3]
        told = f"With {' and '.join(names)}" if names else "Now"
        return Note(key="diffusion.clash", args={"words": names}, cells=cells,
                    text=f"{told} no story of the grammar fits any more: the words clash.")


def open_cells(page: Page, noise: Noise, reader: Reader, cells: list[int], drawn: list[Draw], p: np.ndarray,
               law: np.ndarray, calls: int) -> Iterator[Event]:
    """Write the drawn words: one decision, told in two parts if a user chose some of them.

    p, law (T, V): what the network says of these cells, and what was drawn from (p itself if nothing was filtered).
    """
    before, truth = list(page.x), reader.truth(cells)
    named = {"model": p} if np.array_equal(law, p) else {"before": p, "after": law}
    for origin, forced in (("forced", True), ("sampled", False)):
        if not (own := [i for i, d in enumerate(drawn) if d.forced is forced]):
            continue
        for i in own:
            page.x[cells[i]] = drawn[i].index
        if forced:
            page.forced.update(cells[i] for i in own)
        bars = None if reader.meter.quiet else {
            name: [top(rows[i], page.words, 5, [drawn[i].index]) for i in own] for name, rows in named.items()}
        if bars and truth is not None:
            bars["truth"] = [top(truth[i], page.words, 5, [drawn[i].index]) for i in own]
        yield Commit(cells=[cells[i] for i in own], values=[page.words[drawn[i].index] for i in own],
                     p=[drawn[i].p for i in own], entropy=[entropy(law[i]) for i in own], origin=origin, dists=bars)
    if (price := reader.pay(cells, before)) is not None:
        yield Measure(name="price", value=price, unit="nats", x=calls)
    if note := reader.clash(cells):
        yield note


def unchanged(n: int) -> Note | None:
    """A sentence on the n-th step that needed no evaluation, now and then."""
    if n not in (1, 10, 100):
        return None
    told = "No cell opened in the last step" if n == 1 else f"{n} steps so far opened no cell"
    return Note(key="diffusion.unchanged", args={"n": n},
                text=f"{told}: the page is the same, so the network is not asked.")


def summary(page: Page, calls: int, nfe: int, steps: int, price: float) -> dict[str, Any]:
    """What Done says: cost, and whether the page is a story of the grammar."""
    whole = page.words is WORDS and not page.masked and stories.automaton().is_valid(page.x)
    return {"blanks": page.shown - len(page.given), "calls": calls, "nfe": nfe, "steps": steps, "valid": bool(whole),
            "price": round(price, 4)}
