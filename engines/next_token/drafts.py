"""Where guesses come from: a small net, a bigram table, copying from the page, a uniform law, the target itself.

A drafter is called with the text so far and yields the Forward of its network, if it has one; it returns
q (V,), already filtered like the target ("standardised sampling" of 2211.17192: otherwise the law is lost).
"""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from types import SimpleNamespace

import numpy as np

from engines.errors import Refused
from engines.events import Event
from engines.next_token import page
from engines.runtime import Meter, Net
from engines.sampling import standardise
from engines.worlds.texts import Text

SMALL = page.SMALL
Guess = Generator[Event, None, np.ndarray | None]


class Drafter:
    """Base: `calls` counts how often it guessed, `net` is its network if it has one."""

    net: Net | None = None

    def __init__(self, meter: Meter, voice: page.Voice):
        self.calls = 0
        self.kind: Text = voice.text()

    def __call__(self, text: list[int], s: SimpleNamespace) -> Guess:
        self.calls += 1
        z = yield from self.logits(text)
        return None if z is None else standardise(z, s.temperature, s.top_k, s.top_p, s.min_p)

    def logits(self, text: list[int]) -> Guess:
        """Unnormalised log-probabilities (V,) of the next cell, or None where there is nothing to say."""
        raise TypeError("a drafter says what it guesses")
        yield


class NetDraft(Drafter):
    """A network of its own: one evaluation a guess."""

    def __init__(self, meter: Meter, voice: page.Voice):
        super().__init__(meter, voice)
        name = self.name(voice)
        if name is None:
            raise Refused("this text has no small model; choose another who guesses", "draft")
        self.net = meter.net(name)

    def name(self, voice: page.Voice) -> str | None:
        return voice.small

    def logits(self, text: list[int]) -> Guess:
        assert self.net
        z = np.asarray(self.net(text, predict=1)[-1], dtype=np.float64)
        yield page.forward(self.net, text, predicts=[len(text) - 1], mode="step")
        return z


class TargetDraft(NetDraft):
    """The target guesses for itself: every guess stays, and nothing is gained."""

    def name(self, voice: page.Voice) -> str | None:
        return voice.target


class BigramDraft(Drafter):
    """p(next | this word), counted over a part of the training text: no evaluation at all."""

    def logits(self, text: list[int]) -> Guess:
        yield from ()
        return pairs(self.kind)[text[-1]]


class CopyDraft(Drafter):
    """Prompt lookup: find the last two words earlier on the page and guess what followed then."""

    def logits(self, text: list[int]) -> Guess:
        yield from ()
        for size in (2, 1):
            tail = text[-size:]
            for i in range(len(text) - size - 1, 0, -1):
                if text[i : i + size] == tail:
                    return np.where(np.arange(len(self.kind.words)) == text[i + size], 0.0, -np.inf)
        return None


class UniformDraft(Drafter):
    """Any word, evenly: the worst draft that is still exact."""

    def logits(self, text: list[int]) -> Guess:
        yield from ()
        z = np.zeros(len(self.kind.words))
        z[list(self.kind.silent)] = -np.inf
        return z


@cache
def pairs(kind: Text) -> np.ndarray:
    """(V, V) log counts of (word, next word). Raises Refused where nobody counted."""
    if kind.pairs is None:
        raise Refused("nobody counted this text's word pairs; choose another who guesses", "draft")
    return kind.pairs()


DRAFTS: dict[str, type[Drafter]] = {
    "net": NetDraft, "bigram": BigramDraft, "copy": CopyDraft, "uniform": UniformDraft, "target": TargetDraft,
}
