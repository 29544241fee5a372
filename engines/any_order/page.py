"""What the any-order lanes share: a story with blanks, the known cells in rank order, and events of a call.

sigma: the order of decoding. Visible cells come first, ascending; blanks follow, ascending (the protocol of
2504.20456, one order for each set of blanks, with which the net `subset` was trained) or in another order, which
the net `ordered` has learned. END stands behind the last cell, always visible, so the network knows the length and
is never asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines import weights
from engines.any_order import orders
from engines.errors import Refused
from engines.events import Begin, Forward, spans
from engines.exhibit import Cells
from engines.noise import Noise
from engines.runtime import Meter, Net
from engines.sampling import top
from engines.worlds import shakespeare, stories
from engines.worlds.texts import STORIES, Text


@dataclass(frozen=True)
class Voice:
    """A kind of text with the nets that fill its pages: one for the paper's order, one for all others."""

    text: Callable[[], Text]
    net: str
    ordered: str

    def stored(self) -> bool:
        return weights.has(self.net)


NET, ORDERED = "any_order/subset", "any_order/ordered"
# What the setting `text` can name. Of Shakespeare one net learned both orders.
VOICES: dict[str, Voice] = {
    "stories": Voice(lambda: STORIES, NET, ORDERED),
    "shakespeare": Voice(shakespeare.text, "any_order/shakespeare", "any_order/shakespeare"),
}


def voice(s: SimpleNamespace) -> Voice:
    """What these settings ask for; an exhibit that offers one text only has no such setting."""
    return VOICES[getattr(s, "text", "stories")]


def text_of(s: SimpleNamespace) -> Text:
    return voice(s).text()


def vocabulary(s: SimpleNamespace) -> dict[str, int]:
    """The words that a user may force, with their ids."""
    return text_of(s).inner


@dataclass
class Page:
    """A text being filled. blanks: in the order of decoding. known: (cell, id) in rank order, `prompt` were given.

    kind: the text's world; None on a table model, which has words only.
    """

    length: int
    blanks: list[int]
    known: list[tuple[int, int]]
    prompt: int
    words: Sequence[str]
    kind: Text | None = None
    net: str = NET

    @property
    def left(self) -> list[int]:
        """Blanks still open, in the order of decoding."""
        return self.blanks[len(self.known) - self.prompt :]

    def write(self, cell: int, value: int) -> None:
        self.known.append((cell, value))

    def ids(self) -> np.ndarray:
        """(length + 1,) with END behind; -1 where still hidden."""
        out = np.full(self.length + 1, stories.HIDDEN)
        for cell, value in self.known:
            out[cell] = value
        return out


def open_page(s: SimpleNamespace, noise: Noise) -> Page:
    """The page that these settings and this seed describe. s: story, blanks, pattern, share."""
    kind, ids = text_of(s), story(s, noise.seed)
    n = len(ids)
    blanks = {*(Cells.list(s.blanks) or draw_blanks(s.pattern, s.share, n, noise)), *orders.painted(s.order)}
    visible = [c for c in range(n) if c not in blanks]
    known = [(c, ids[c]) for c in visible] + [(n, stories.END)]
    return Page(n, orders.arrange(blanks, s.order, noise), known, len(known), kind.words, kind, net_of(s))


def net_of(s: SimpleNamespace) -> str:
    """The net that learned the paper's order, or the one that learned several, for all others."""
    return voice(s).net if s.order == "ascending" else voice(s).ordered


def story(s: SimpleNamespace, seed: int) -> list[int]:
    """The ids of the user's own words, or of the text that this seed draws, which no network was trained on."""
    kind = text_of(s)
    return kind.encode(s.story) if s.story else [i for i in kind.passage(seed) if i != kind.end]


def check_story(text: str, s: SimpleNamespace) -> list[int]:
    """The ids of a typed text. Raises Refused for unknown words and for one that does not fit the page."""
    kind = text_of(s)
    ids = kind.encode(text)
    if len(ids) >= kind.length:
        has = "text has {} pieces" if kind.spaced else "story has {} words and signs"
        raise Refused(f"this {has.format(len(ids))}; a page holds {kind.length - 1}")
    return ids


def draw_blanks(pattern: str, share: int, n: int, noise: Noise) -> list[int]:
    """`share` percent of n cells, at least one: scattered, at the front, at the back, or in the middle."""
    m = min(n, max(1, round(n * share / 100)))
    if pattern == "random":
        order = np.argsort(noise.uniform("prompt", list(range(n))), kind="stable")
        return sorted(int(c) for c in order[:m])
    start = {"prefix": 0, "suffix": n - m, "sandwich": (n - m) // 2}[pattern]
    return list(range(start, start + m))


def together(s: SimpleNamespace, seed: int) -> None:
    """Refuse blanks that the story does not have."""
    n = len(story(s, seed))
    if n < 2:
        raise Refused(f"the story has {n} cells; write at least two words", "story")
    for name, cells in (("blanks", Cells.list(s.blanks)), ("order", orders.painted(s.order))):
        if cells and max(cells) >= n:
            raise Refused(f"{name}: cell {max(cells)} does not exist; this story has cells 0 to {n - 1}", name)


def begin(page: Page, title: str, meter: Meter, role: str) -> Begin:
    visible = [(c, v) for c, v in page.known if c < page.length]
    kind = page.kind or STORIES
    return Begin(title=title, canvases=[kind.canvas(page.length)], nets=[meter.card(page.net, role)],
                 given={"cells": spans(c for c, _ in visible), "values": [page.words[v] for _, v in visible]})


def ask(net: Net, page: Page, targets: list[int], drafts: list[tuple[int, int]] = ()) -> np.ndarray:  # type: ignore[assignment]
    """Logits (T, V), float64: target i sees what is known and, one more each, the first i drafts.

    Without drafts all targets see the same, so their answers are independent of one another: the draft pass.
    With drafts it is the oracle (density) pass, p(x_sigma(i) | x_sigma(<i)) for all i at once.
    """
    n = len(page.known)
    rows = [*page.known, *drafts]
    sees = [n + (i if drafts else 0) for i in range(len(targets))]
    z = net([c for c, _ in rows], [v for _, v in rows], page.prompt, targets, sees)
    return np.asarray(z, dtype=np.float64)


def forward(net: Net, page: Page, targets: list[int], mode: str) -> Forward:
    """The call just made; END's cell lies behind the canvas and is left out."""
    last = getattr(net.session, "last", {"reads": [], "computes": [c for c, _ in page.known] + targets})
    # ascending, but for blanks, which stand in the order of decoding: each sees the drafts before it
    place = dict(zip(page.blanks, sorted(page.blanks), strict=True))
    computes = sorted({c for c in last["computes"] if c < page.length}, key=lambda c: place.get(c, c))
    return net.forward(sorted(c for c in last["reads"] if c < page.length), computes, targets, mode)


def truth(meter: Meter, page: Page, cells: list[int]) -> list[np.ndarray | None]:
    """p(cell | everything written) by the grammar, None where there is none or the page is no longer a story of it."""
    if page.kind is None or page.kind.grammar is None or meter.quiet:
        return [None] * len(cells)
    with meter.preview():
        visible, grammar = page.ids(), page.kind.grammar()
        if not np.isfinite(grammar.log_prob_visible(visible)):
            return [None] * len(cells)
        p = grammar.marginals(visible)
        return [p[c] for c in cells]


def chart(words: Sequence[str], p: np.ndarray, x: int) -> dict[str, Any]:
    return top(p, words, always=[x])


def charts(words: Sequence[str], x: int, **named: np.ndarray | None) -> dict[str, list[dict[str, Any]]]:
    """Bar charts of one cell by name; what nobody knows (None) is left out."""
    return {name: [chart(words, p, x)] for name, p in named.items() if p is not None}


def summary(page: Page, net: Net, rounds: int) -> dict[str, Any]:
    """What Done says: cost, its bound, and, where there is a grammar, whether the filled page is a story of it."""
    out = {"blanks": len(page.blanks), "calls": net.calls, "nfe": net.nfe, "rounds": rounds}
    if page.kind is None or page.kind.grammar is None:
        return out
    return out | {"valid": not page.left and bool(page.kind.grammar().is_valid(page.ids()))}
