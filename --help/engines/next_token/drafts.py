"""Where guesses come from: a small net, a bigram table, copying from the page, a uniform law, the target itself.

A drafter is called with the text so far and yields the Forward of its network, if it has one; it returns
q (V,), already filtered like the target ("standardised sampling" of 2211.17192: otherwise the law is lost).
"""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines.events import Event
from engines.next_token import page
from engines.next_token.next_token import TARGET
from engines.runtime import Meter, Net
from engines.sampling import standardise
from engines.worlds import stories

SMALL = "next_token/draft"
Guess = Generator[Event, None, np.ndarray | None]


class Drafter:
    """Base: `calls` counts how often it guessed, `net` is its network if it has one."""

    net: Net | None = None

    def __init__(self, meter: Meter):
        self.calls = 0

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

    name = SMALL

    def __init__(self, meter: Meter):
        super().__init__(meter)
        self.net = meter.net(self.name)

    def logits(self, text: list[int]) -> Guess:
        assert self.net
        z = np.asarray(self.net(text, predict=1)[-1], dtype=np.float64)
        yield page.forward(self.net, text, predicts=[len(text) - 1], mode="step")
        return z


class TargetDraft(NetDraft):
    """The target guesses for itself: every guess stays, and nothing is gained."""

    name = TARGET


class BigramDraft(Drafter):
    """p(next | this word), counted over the first 2,000 stories of the training range: no evaluation at all."""

    def logits(self, text: list[int]) -> Guess:
        yield from ()
        return bigrams()[text[-1]]


class CopyDraft(Drafter):
    """Prompt lookup: find the last two words earlier on the page and guess what followed then."""

    def logits(self, text: list[int]) -> Guess:
        yield from ()
        for size in (2, 1):
            tail = text[-size:]
            for i in range(len(text) - size - 1, 0, -1):
                if text[i : i + size] == tail:
                    return np.where(np.arange(len(page.WORDS)) == text[i + size], 0.0, -np.inf)
        return None


class UniformDraft(Drafter):
    """Any word, evenly: the worst draft that is still exact."""

    def logits(self, text: list[int]) -> Guess:
        yield from ()
        z = np.zeros(len(page.WORDS))
        z[[stories.PAD, stories.BOS, stories.MASK]] = -np.inf
        return z


@lru_cache(maxsize=1)
def bigrams() -> np.ndarray:
    """(V, V) log counts of (word, next word), + 0.01 so that no pair is impossible."""
    ids = stories.sample(range(stories.TRAIN.start, stories.TRAIN.start + 2_000))
    ids = np.concatenate([np.full((len(ids), 1), stories.BOS), ids], axis=1)
    counts = np.full((len(page.WORDS), len(page.WORDS)), 0.01)
    first, second = ids[:, :-1].ravel(), ids[:, 1:].ravel()
    real = second != stories.PAD
    np.add.at(counts, (first[real], second[real]), 1.0)
    counts[:, [stories.PAD, stories.BOS, stories.MASK]] = 1e-300
    return np.log(counts)


DRAFTS: dict[str, Any] = {
    "net": NetDraft, "bigram": BigramDraft, "copy": CopyDraft, "uniform": UniformDraft, "target": TargetDraft,
}
