"""The n-gram draft of ASSD: words and pairs of words counted on the page itself, no network.

Source: arXiv 2504.20456, its n-gram variant. Each place on the page is counted once, when it becomes known.
A guess is p(. | the word before it) by pairs if that word was ever followed by one, else by single words.
Differs: a page that shows no word at all has nothing to count; the network guesses then, as it does (in the
paper too) for the very first cell, which has no word before it.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from engines.noise import Draw, Noise


class ContextNGram:
    """Counts over what is known of a page (`engines.any_order.page.Page`)."""

    def __init__(self, page):  # type: ignore[no-untyped-def]
        self.page = page
        self.words: Counter[int] = Counter()
        self.pairs: dict[int, Counter[int]] = defaultdict(Counter)
        self.at: dict[int, int] = {}
        for cell, value in page.known:
            if cell < page.length:
                self._add(cell, value)

    def _add(self, cell: int, value: int) -> None:
        self.at[cell] = value
        self.words[value] += 1
        if cell - 1 in self.at:
            self.pairs[self.at[cell - 1]][value] += 1
        if cell + 1 in self.at:
            self.pairs[value][self.at[cell + 1]] += 1

    def update(self, cell: int) -> None:
        """The cell was just written on the page: count it."""
        self._add(cell, dict(self.page.known)[cell])

    def can_guess(self, cell: int) -> bool:
        return cell > 0 and bool(self.words)

    def law(self, before: int | None) -> np.ndarray:
        """(V,) float64: what follows `before`; plain word counts if nothing ever did."""
        counts = self.pairs[before] if before in self.pairs and self.pairs[before] else self.words
        p = np.zeros(len(self.page.words))
        for value, count in counts.items():
            p[value] = count
        return p / p.sum()

    def guess(self, cells: list[int], noise: Noise) -> tuple[np.ndarray, list[Draw]]:
        """P (k, V) and one draft a cell, in order: a draft may be the word before the next one."""
        P, drafts = [], []
        fresh = dict(self.at)
        for cell in cells:
            p = self.law(fresh.get(cell - 1))
            draft = noise.draw("draft", [cell], p[None])[0]
            fresh[cell] = draft.index
            P.append(p)
            drafts.append(draft)
        return np.stack(P), drafts
