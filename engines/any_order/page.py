"""What the any-order lanes share: a story with blanks, the known cells in rank order, and events of a call.

sigma: the order of decoding. Visible cells come first, ascending; blanks follow, ascending (the protocol of
2504.20456, one order for each set of blanks, with which the net `subset` was trained) or in another order, which
the net `ordered` has learned. END stands behind the last cell, always visible, so the network knows the length and
is never asked for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines import story_settings
from engines.any_order import orders
from engines.errors import Refused
from engines.events import Begin, Forward, spans
from engines.noise import Noise
from engines.runtime import Meter, Net
from engines.sampling import top
from engines.story_settings import WORDS, blanks_of, story
from engines.worlds import stories

NET = "any_order/subset"
ORDERED = "any_order/ordered"


@dataclass
class Page:
    """A story being filled. blanks: in the order of decoding. known: (cell, id) in rank order, `prompt` were given."""

    length: int
    blanks: list[int]
    known: list[tuple[int, int]]
    prompt: int
    words: tuple[str, ...] = WORDS
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
    ids = story(s, noise.seed)
    n = len(ids)
    order = order_of(s)
    blanks = {*blanks_of(s, n, noise), *orders.painted(order)}
    visible = [c for c in range(n) if c not in blanks]
    known = [(c, ids[c]) for c in visible] + [(n, stories.END)]
    return Page(n, orders.arrange(blanks, order, noise), known, len(known), net=net_of(s))


def order_of(s: SimpleNamespace) -> str:
    """The order of the blanks that is asked for."""
    return str(getattr(s, "order", "ascending"))  # an exhibit without this setting decodes as the paper does


def net_of(s: SimpleNamespace) -> str:
    """The paper's net for the paper's order, the one that learned several for all others."""
    return NET if order_of(s) == "ascending" else ORDERED


def together(s: SimpleNamespace, seed: int) -> None:
    """Refuse blanks that the story does not have, also among those of a painted order."""
    story_settings.together(s, seed)
    cells, n = orders.painted(order_of(s)), len(story(s, seed))
    if cells and max(cells) >= n:
        raise Refused(f"order: cell {max(cells)} does not exist; this story has cells 0 to {n - 1}", "order")


def begin(page: Page, title: str, meter: Meter, role: str) -> Begin:
    visible = [(c, v) for c, v in page.known if c < page.length]
    return Begin(title=title, canvases=[{"id": "story", "kind": "tokens", "shape": [page.length]}],
                 nets=[meter.card(page.net, role)],
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
    """p(cell | everything written) by the grammar, None where the page is no longer a story of it."""
    if page.words is not WORDS or meter.quiet:
        return [None] * len(cells)
    with meter.preview():
        visible = page.ids()
        if not np.isfinite(stories.automaton().log_prob_visible(visible)):
            return [None] * len(cells)
        p = stories.automaton().marginals(visible)
        return [p[c] for c in cells]


def chart(words: tuple[str, ...], p: np.ndarray | None, x: int) -> dict[str, Any]:
    return top(p, words, always=[x]) if p is not None else {"top": [], "rest": 0.0}


def summary(page: Page, net: Net, rounds: int) -> dict[str, Any]:
    """What Done says: cost, its bound, and whether the filled page is a story of the grammar."""
    whole = page.words is WORDS and not page.left and stories.automaton().is_valid(page.ids())
    return {"blanks": len(page.blanks), "calls": net.calls, "nfe": net.nfe, "rounds": rounds, "valid": bool(whole)}
