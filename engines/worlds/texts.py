"""What a room of words must know of the text that it writes: its words, where an opening comes from, what is exact.

STORIES is the text whose grammar knows every probability. Other texts (`shakespeare`, a public checkpoint's own) have
no such grammar, so what needs one is left out there: `grammar` is None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from engines.exhibit import Choice
from engines.worlds import stories
from engines.worlds.stories import BOS, END, MASK, PAD

LENGTH = stories.LENGTH


@dataclass(frozen=True, eq=False)
class Text:
    """A kind of text. words: id -> the value that a cell shows; encode: what somebody typed -> ids, or Refused.

    passage(seed) -> ids of a text that no network was trained on. begin stands before cell 0; end, where a text has
    one, in its last cell; silent are ids that no cell may hold. spaced: values carry their own spaces, because a cell
    may hold a part of a word. grammar: who knows the true odds. pairs: (V, V) log counts of (cell, next cell).
    """

    name: str
    label: str
    words: Sequence[str]
    encode: Callable[[str], list[int]]
    passage: Callable[[int], Sequence[int]]
    begin: int = BOS
    end: int = END
    silent: tuple[int, ...] = (PAD, BOS, MASK)
    length: int = LENGTH
    spaced: bool = False
    grammar: Callable[[], stories.Automaton] | None = None
    pairs: Callable[[], np.ndarray] | None = None

    @cached_property
    def ids(self) -> dict[str, int]:
        """Words that a cell may hold, with their ids; the end is one of them."""
        return {w: i for i, w in enumerate(self.words) if i not in self.silent}

    @cached_property
    def inner(self) -> dict[str, int]:
        """The same without the end."""
        return {w: i for w, i in self.ids.items() if i != self.end}

    def canvas(self, cells: int) -> dict[str, Any]:
        """The entry of a page of so many cells in Begin."""
        page = {"id": "story", "kind": "tokens", "shape": [cells]}
        return page | {"spaced": True} if self.spaced else page


def offer(labels: dict[str, str]) -> tuple[Choice, ...]:
    """The setting that chooses among these texts, by name; none where there is nothing to choose."""
    if len(labels) < 2:
        return ()
    return (Choice(name="text", default="stories", label="Text", choices=labels,
                   help="Stories come from a grammar that knows every chance; of other texts nobody knows them."),)


@lru_cache(maxsize=64)  # a run asks for its story before it starts, and once in each lane
def _story(seed: int) -> tuple[int, ...]:
    row = stories.sample([stories.TEST[seed % len(stories.TEST)]])[0]
    return tuple(int(i) for i in row[: int((row == END).argmax()) + 1])


def log_counts(ids: np.ndarray, size: int) -> np.ndarray:
    """(size, size) log counts of (cell, next cell) in rows of ids, + 0.01 so that no pair is impossible.

    What stands behind the end of a row is PAD.
    """
    counts = np.full((size, size), 0.01)
    first, second = ids[:, :-1].ravel(), ids[:, 1:].ravel()
    real = second != PAD
    np.add.at(counts, (first[real], second[real]), 1.0)
    counts[:, [PAD, BOS, MASK]] = 1e-300
    return np.log(counts)


def _story_pairs() -> np.ndarray:
    """Counted over the first 2,000 stories of the training range."""
    ids = stories.sample(range(stories.TRAIN.start, stories.TRAIN.start + 2_000))
    return log_counts(np.concatenate([np.full((len(ids), 1), BOS), ids], axis=1), len(stories.VOCAB))


STORIES = Text(name="stories", label="stories", words=stories.VOCAB, encode=stories.encode, passage=_story,
               grammar=stories.automaton, pairs=_story_pairs)
