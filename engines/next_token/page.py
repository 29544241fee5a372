"""What the left-to-right lanes share: kinds of text, the page and its opening, and how a step is told as events.

`kind` is the kind of text; `text` is always a list of ids that starts with its begin, so the id of cell i stands at
text[i + 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines import weights
from engines.errors import Refused
from engines.events import Forward
from engines.noise import Noise
from engines.runtime import Meter, Net
from engines.sampling import top
from engines.worlds import shakespeare
from engines.worlds.texts import STORIES, Text

TARGET, SMALL = "next_token/target", "next_token/draft"


@dataclass(frozen=True)
class Voice:
    """A kind of text with the networks that write it: the target, and the small one that guesses, if there is one."""

    text: Callable[[], Text]
    target: str
    small: str | None

    def stored(self) -> bool:
        return all(name is None or weights.has(name) for name in (self.target, self.small))


# What the setting `text` can name; a public checkpoint is added when the process starts (`checkpoints.offer`).
VOICES: dict[str, Voice] = {
    "stories": Voice(lambda: STORIES, TARGET, SMALL),
    "shakespeare": Voice(shakespeare.text, "next_token/shakespeare", "next_token/shakespeare_draft"),
}


def voice(s: SimpleNamespace) -> Voice:
    """What these settings ask for; an exhibit that offers one text only has no such setting."""
    return VOICES[getattr(s, "text", "stories")]


def text_of(s: SimpleNamespace) -> Text:
    return voice(s).text()


def vocabulary(s: SimpleNamespace) -> dict[str, int]:
    """The words that a user may force, with their ids."""
    return text_of(s).ids


def opening(s: SimpleNamespace, noise: Noise) -> list[int]:
    """The begin and the given words: those typed, else the first `given` cells of the text that this seed draws."""
    kind = text_of(s)
    if s.words:
        return [kind.begin, *kind.encode(s.words)]
    if not s.given:
        return [kind.begin]
    return [kind.begin, *kind.passage(noise.seed)[: s.given]]


def check_words(words: str, s: SimpleNamespace) -> list[int]:
    """The ids of typed words. Raises Refused for unknown words and for text that fills the page."""
    kind = text_of(s)
    ids = kind.encode(words)
    if len(ids) > kind.length - 8:
        raise Refused(f"these are {len(ids)} {'pieces' if kind.spaced else 'words and signs'}; "
                      f"a page holds {kind.length}, so give at most {kind.length - 8}")
    return ids


def given(kind: Text, text: list[int]) -> dict[str, Any]:
    return {"cells": [[0, len(text) - 1]] if len(text) > 1 else [], "values": [kind.words[i] for i in text[1:]]}


def open_(kind: Text, text: list[int]) -> bool:
    """May another cell be written?"""
    return len(text) - 1 < kind.length and (text[-1] != kind.end or len(text) == 1)


def forward(net: Net, text: list[int], predicts: list[int], mode: str) -> Forward:
    """The call just made, in cells: position i + 1 of the network holds cell i, BOS has none."""
    last = getattr(net.session, "last", {"reads": [], "computes": range(len(text))})
    return net.forward(
        [i - 1 for i in last["reads"] if i], [i - 1 for i in last["computes"] if i],
        predicts, mode,
    )


def truth(kind: Text, meter: Meter, text: list[int]) -> np.ndarray | None:
    """p(next cell) by the text's grammar, None where it has none or cannot write what stands there.

    Not a part of the algorithm's time.
    """
    if meter.quiet or kind.grammar is None:
        return None
    with meter.preview():
        p = kind.grammar().next_distribution(text[1:])
        return p if p.sum() > 0 else None


def dists(kind: Text, x: int, **named: np.ndarray | None) -> dict[str, list[dict[str, Any]]]:
    """Bar charts of one cell: every distribution lists its own top and the cell's value x."""
    return {name: [top(p, kind.words, always=[x])] for name, p in named.items() if p is not None}


def validity(kind: Text, text: list[int]) -> dict[str, bool]:
    """Whether the whole text, with its end, is one that the grammar could have written; nothing without a grammar."""
    if kind.grammar is None:
        return {}
    return {"valid": text[-1] == kind.end and bool(kind.grammar().is_valid(text[1:]))}


def readable(kind: Text, x: int) -> bool:
    """A word, not a sign or a part of a word."""
    return kind.words[x].strip().isalpha() and (not kind.spaced or kind.words[x].startswith(" "))
