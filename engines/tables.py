"""Table models: networks whose every probability is written down, so that a sampler's law can be enumerated.

They are called like the real decode sessions, so exact tests and `law` claims run the very loops of the lanes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from engines.worlds import stories


class AnySubsetTable:
    """A joint table (V,) * N as an any-subset model; calls as `engines.any_order.model.Session`."""

    params, bytes, cache_bytes = 0, 0, 0

    def __init__(self, joint: np.ndarray):
        self.joint = joint / joint.sum()
        self._known: dict[Any, np.ndarray] = {}

    def __call__(self, cells: Sequence[int], values: Sequence[int], prompt: int, targets: Sequence[int],
                 sees: Sequence[int]) -> np.ndarray:
        """Logits (T, V): log p(target i | the first sees[i] cells)."""
        return np.stack([self._law(tuple(cells[:n]), tuple(values[:n]), t) for t, n in zip(targets, sees, strict=True)])

    def _law(self, cells: tuple[int, ...], values: tuple[int, ...], target: int) -> np.ndarray:
        key = (frozenset(zip(cells, values, strict=True)), target)
        if key not in self._known:
            index: list[Any] = [slice(None)] * self.joint.ndim
            for c, v in zip(cells, values, strict=True):
                index[c] = slice(v, v + 1)
            part = self.joint[tuple(index)]
            p = part.sum(axis=tuple(a for a in range(part.ndim) if a != target))
            self._known[key] = np.log(np.maximum(p / p.sum(), 1e-300))
        return self._known[key]

    def law(self, given: dict[int, int]) -> dict[tuple[int, ...], float]:
        """p(all cells | given) as {whole page: p}."""
        pages = itertools.product(range(self.joint.shape[0]), repeat=self.joint.ndim)
        rows = {x: float(self.joint[x]) for x in pages if all(x[c] == v for c, v in given.items())}
        total = sum(rows.values())
        return {x: p / total for x, p in rows.items()}


def chain_joint(cells: int = 6, values: int = 4, concentration: float = 0.3, seed: int = 5) -> np.ndarray:
    """The joint of a Markov chain with Dirichlet rows: neighbours depend on each other strongly."""
    rng = np.random.default_rng(seed)
    steps = rng.dirichlet(np.full(values, concentration), size=values) * 0.97 + 0.03 / values
    joint = rng.dirichlet(np.ones(values))
    for _ in range(cells - 1):
        joint = joint[..., None] * steps
    return joint


class CausalTable:
    """A causal model with a random law after every prefix; `words` of it, then END after `length` cells.

    Calls as `engines.next_token.model.Session`, in the ids of STORIES, so that the real lanes run on it.
    context: how many of the last cells the law depends on (0: every cell is drawn from one law).
    """

    params, bytes, cache_bytes = 0, 0, 0

    def __init__(self, seed: int, words: int = 4, length: int = 3, context: int = 2, sharp: float = 1.2):
        self.seed, self.words, self.length, self.context, self.sharp = seed, words, length, context, sharp
        self.ids = list(range(stories.MASK + 1, stories.MASK + 1 + words))
        self._rows: dict[tuple[int, ...], np.ndarray] = {}

    def __call__(self, tokens: Sequence[int], predict: int) -> np.ndarray:
        """Logits (predict, V) after each of the last `predict` positions."""
        n = len(tokens)
        return np.stack([self.row(tuple(tokens[1 : n - predict + i + 1])) for i in range(predict)])

    def beams(self, width: int) -> Callable[[Sequence[Sequence[int]]], np.ndarray]:
        """As `Session.beams`: logits (B, V) after each of B texts."""
        return lambda texts: np.stack([self(text, 1)[0] for text in texts])

    def row(self, prefix: tuple[int, ...]) -> np.ndarray:
        """Logits (V,) of the cell after this prefix."""
        key = (len(prefix) >= self.length, *prefix[len(prefix) - self.context if self.context else len(prefix) :])
        if key not in self._rows:
            z = np.full(len(stories.VOCAB), -np.inf)
            if key[0]:
                z[stories.END] = 0.0
            else:
                rng = np.random.default_rng([self.seed, *(int(k) for k in key)])
                z[self.ids] = rng.normal(0, self.sharp, self.words)
            self._rows[key] = z
        return self._rows[key]

    def law(self) -> dict[tuple[int, ...], float]:
        """p of every text of `length` cells."""
        return dict(self._texts((), 1.0))

    def _texts(self, prefix: tuple[int, ...], p: float) -> Iterator[tuple[tuple[int, ...], float]]:
        if len(prefix) == self.length:
            yield prefix, p
            return
        z = self.row(prefix)[self.ids]
        q = np.exp(z - z.max())
        for x, r in zip(self.ids, q / q.sum(), strict=True):
            yield from self._texts((*prefix, x), p * float(r))
