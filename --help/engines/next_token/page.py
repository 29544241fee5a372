"""What the left-to-right lanes share: the sheet of 64 cells, its opening words, and how a step is told as events.

`text` is always a list of ids that starts with BOS, so the id of cell i stands at text[i + 1].
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from engines.errors import Refused
from engines.events import Forward
from engines.noise import Noise
from engines.runtime import Meter, Net
from engines.sampling import top
from engines.worlds import stories

WORDS = stories.VOCAB
LENGTH = stories.LENGTH
CANVAS = {"id": "story", "kind": "tokens", "shape": [LENGTH]}
IDS = {w: i for i, w in enumerate(WORDS) if i == stories.END or i > stories.MASK}


def vocabulary() -> dict[str, int]:
    """The words that a user may force, with their ids."""
    return IDS


def opening(s: SimpleNamespace, noise: Noise) -> list[int]:
    """BOS and the given words: those typed, else the first `given` cells of the story that this seed draws."""
    if s.words:
        return [stories.BOS, *stories.encode(s.words)]
    if not s.given:
        return [stories.BOS]
    story = stories.sample([stories.TEST[noise.seed % len(stories.TEST)]])[0]
    return [stories.BOS, *(int(i) for i in story[: s.given])]


def check_words(text: str) -> list[int]:
    """The ids of typed words. Raises Refused for unknown words and for text that fills the page."""
    ids = stories.encode(text)
    if len(ids) > LENGTH - 8:
        raise Refused(f"these are {len(ids)} words and signs; a page holds {LENGTH}, so give at most {LENGTH - 8}")
    return ids


def given(text: list[int]) -> dict[str, Any]:
    return {"cells": [[0, len(text) - 1]] if len(text) > 1 else [], "values": [WORDS[i] for i in text[1:]]}


def open_(text: list[int]) -> bool:
    """May another cell be written?"""
    return len(text) - 1 < LENGTH and text[-1] != stories.END


def forward(net: Net, text: list[int], predicts: list[int], mode: str) -> Forward:
    """The call just made, in cells: position i + 1 of the network holds cell i, BOS has none."""
    last = getattr(net.session, "last", {"reads": [], "computes": range(len(text))})
    return net.forward(
        [i - 1 for i in last["reads"] if i], [i - 1 for i in last["computes"] if i],
        [c for c in predicts if c < LENGTH], mode,
    )


def truth(meter: Meter, text: list[int]) -> np.ndarray | None:
    """p(next cell) by the grammar itself, None after words that it cannot write. Not a part of the algorithm's time."""
    if meter.quiet:
        return None
    with meter.preview():
        p = stories.automaton().next_distribution(text[1:])
        return p if p.sum() > 0 else None


def dists(x: int, **named: np.ndarray | None) -> dict[str, list[dict[str, Any]]]:
    """Bar charts of one cell: every distribution lists its own top and the cell's value x."""
    return {name: [top(p, WORDS, always=[x])] for name, p in named.items() if p is not None}


def valid(text: list[int]) -> bool:
    """Is the whole text, with its end, a story of the grammar?"""
    return text[-1] == stories.END and bool(stories.automaton().is_valid(text[1:]))


def readable(x: int) -> bool:
    """A word, not a sign."""
    return WORDS[x].isalpha()
