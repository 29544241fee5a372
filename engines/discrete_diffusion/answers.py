"""Who answers a decoding loop: a network behind its meter, the grammar in its place, or one network for many rows.

A loop yields events, and an `Ask` where it wants to know something; the answer is sent back to it. So one and the same
loop runs on the page (`alone`) and, 64 rows at a time, where claims are measured (`together`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.errors import Refused
from engines.events import Done, Event, Forward, Steps, spans
from engines.runtime import Meter, Net
from engines.worlds import stories

GRAMMAR = "grammar"


@dataclass(frozen=True)
class Ask:
    """rows: pages as ids, [M] where hidden: one, or two for guidance (with the prompt, without it).

    cells: wanted. computes: positions to compute anew, None for all; the others come out of the cache. keep: fill it.
    sigma: the noise level, for a network that is told it. shown: how many positions are cells of the canvas.
    """

    rows: list[list[int]]
    cells: list[int]
    shown: int
    computes: list[int] | None = None
    keep: bool = False
    sigma: float | None = None

    def told(self) -> tuple[list[int], list[int], list[int]]:
        """Cells that were read from a cache, computed, and asked for: what its Forward says."""
        size = len(self.rows[0])
        computes = range(size) if self.computes is None else self.computes
        cached = sorted(set(range(size)) - set(computes))
        return [c for c in cached if c < self.shown], [c for c in computes if c < self.shown], self.cells


# A decoding loop: it is sent logits (rows, cells, V) after each Ask, and returns the summary of its Done.
Loop = Generator[Event | Ask, np.ndarray | None, dict[str, Any]]


def alone(loop: Loop, net: Net) -> Steps:
    """The events of a loop whose questions go to this network."""
    answer = None
    while True:
        try:
            item = loop.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = None
        if isinstance(item, Ask):
            sigma = None if item.sigma is None else [item.sigma] * len(item.rows)
            z = net(item.rows, item.cells, item.computes, item.keep, sigma, nfe=len(item.rows))
            answer = np.asarray(z, dtype=np.float64)
            yield net.forward(*item.told(), mode="step" if item.computes or net.calls > 1 else "prefill")
        else:
            yield item


def together(loops: Sequence[Loop], session: Any, name: str = "net") -> list[list[Event]]:
    """The events of each loop when all of them are asked about in one call a step. For loops without a cache of keys.

    A row's Forward counts its own evaluations, as if it had been alone.
    """
    out: list[list[Event]] = [[] for _ in loops]
    calls, nfe = [0] * len(loops), [0] * len(loops)
    asks = {i: ask for i, loop in enumerate(loops) if (ask := _on(loop, None, out[i]))}
    while asks:
        rows = [row for ask in asks.values() for row in ask.rows]
        told = [ask.sigma for ask in asks.values() for _ in ask.rows]
        z = session(rows, sigma=None if told[0] is None else told)
        start, after = 0, {}
        for i, ask in asks.items():
            mine = np.asarray(z[start : start + len(ask.rows)][:, ask.cells], dtype=np.float64)
            start += len(ask.rows)
            calls[i], nfe[i] = calls[i] + 1, nfe[i] + len(ask.rows)
            reads, computes, predicts = (spans(cells) for cells in ask.told())
            out[i].append(Forward(net=name, mode="step", calls=calls[i], nfe=nfe[i], reads=reads, computes=computes,
                                  predicts=predicts))
            if further := _on(loops[i], mine, out[i]):
                after[i] = further
        asks = after
    return out


def _on(loop: Loop, answer: np.ndarray | None, events: list[Event]) -> Ask | None:
    """Drive a loop to its next question, or to its end."""
    try:
        while not isinstance(item := loop.send(answer), Ask):
            events.append(item)
            answer = None
        return item
    except StopIteration as stop:
        events.append(Done(reason="finished", summary=stop.value))
        return None


class Grammar:
    """The grammar's exact conditionals, called like a decode session: decoding without any error of a network.

    Where no story holds the words of a page, there is no such conditional; then it repeats what it last said.
    """

    params, bytes, cache_bytes = 0, 0, 0

    def __init__(self) -> None:
        self.last: dict[int, np.ndarray] = {}

    def __call__(self, rows: Sequence[Sequence[int]], cells: Sequence[int] | None = None, computes: Any = None,
                 keep: bool = False, sigma: Any = None) -> np.ndarray:
        """Log probabilities (R, T, V); impossible words have -1e9, so that guidance can subtract them."""
        out = []
        for i, row in enumerate(rows):
            visible = [stories.HIDDEN if v == len(stories.VOCAB) else v for v in row]
            try:
                self.last[i] = stories.automaton().marginals(visible)
            except Refused:
                self.last.setdefault(i, np.full((len(row), len(stories.VOCAB)), 1 / len(stories.VOCAB)))
            p = self.last[i] if cells is None else self.last[i][list(cells)]
            out.append(np.where(p > 0, np.log(np.maximum(p, 1e-300)), -1e9))
        return np.stack(out)


def grammar(meter: Meter) -> Net:
    """The grammar as a network of this lane."""
    if GRAMMAR not in meter.nets:
        meter.nets[GRAMMAR] = Net(GRAMMAR, Grammar(), meter)
    return meter.nets[GRAMMAR]
