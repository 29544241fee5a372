"""Next-token sampling: one network evaluation, one filtered distribution, one drawn cell, from left to right.

The classic order, and the lane that every other exhibit is compared with. Filters in the field's order:
temperature, top-k, top-p (1904.09751), min-p (2407.01082), typical (2202.00666); see `engines.sampling`.
Symbols: z the logits of the next cell; `before` = softmax(z); `after` = what is drawn from.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from engines.events import Begin, Commit, Note, Phase, Steps
from engines.next_token import page
from engines.noise import Noise
from engines.runtime import Meter
from engines.sampling import entropy, softmax, standardise
from engines.worlds.texts import Text

TARGET = page.TARGET


def next_token(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Write a text cell by cell. s: text, words, given, temperature, top_k, top_p, min_p, typical_p."""
    kind, target = page.text_of(s), page.voice(s).target
    net = meter.net(target)
    text = page.opening(s, noise)
    yield Begin(title="One word at a time", canvases=[kind.canvas(kind.length)], nets=[meter.card(target, "target")],
                given=page.given(kind, text))
    while page.open_(kind, text):
        cell = len(text) - 1
        z = np.asarray(net(text, predict=1)[-1], dtype=np.float64)
        yield page.forward(net, text, predicts=[cell], mode="step" if net.calls > 1 else "prefill")
        yield Phase(unit="step", index=cell, state="start", cells=[cell])
        before = softmax(z)
        after = standardise(z, s.temperature, s.top_k, s.top_p, s.min_p, s.typical_p)
        x = noise.draw("token", [cell], after[None])[0]
        text.append(x.index)
        yield Commit(cells=[cell], values=[kind.words[x.index]], p=[x.p], entropy=[entropy(after)],
                     origin="forced" if x.forced else "sampled",
                     dists=page.dists(kind, x.index, before=before, after=after,
                                      truth=page.truth(kind, meter, text[:-1])))
        if note := _note(kind, cell, x.index, before, after):
            yield note
    return summary(kind, net, text)


def summary(kind: Text, net: Any, text: list[int]) -> dict[str, Any]:
    """What Done says: how long the text is, what it cost, and whether its grammar could have written it."""
    return {"words": len(text) - 1, "calls": net.calls} | page.validity(kind, text)


def _note(kind: Text, cell: int, x: int, before: np.ndarray, after: np.ndarray) -> Note | None:
    """A sentence where there is something to see: a rare choice, or a favourite that the dice passed over."""
    best = int(before.argmax())
    word, other = kind.words[x].strip(), kind.words[best].strip() or "a line break"
    left = int((after > 0).sum())
    if x != best and before[x] < 0.1 and page.readable(kind, x):
        return Note(key="next-token.rare", args={"word": word, "other": other}, cells=[cell],
                    text=f"The dice chose {word}; {other} was likelier.")
    if cell % 12 == 0 and page.readable(kind, x) and left < int((before > 0).sum()):
        return Note(key="next-token.kept", args={"word": word, "left": left}, cells=[cell],
                    text=f"{word}: drawn from {left} {'word' if left == 1 else 'words'} that passed the filters.")
    return None
