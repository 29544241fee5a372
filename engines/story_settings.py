"""The settings of a text with blanks, and the page that they describe: shared by all rooms that fill blanks."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines.errors import Refused
from engines.exhibit import Cells, Choice, Int, Words
from engines.noise import Noise
from engines.worlds.texts import LENGTH, Text

SHARE = Int(name="share", default=40, min=5, max=95, step=5, label="Blanks", unit="%",
            help="How much of the story is blank. Or click words on the page to blank them.")
PATTERN = Choice(name="pattern", default="random", label="Where",
                 choices={"random": "scattered", "prefix": "start", "sandwich": "middle", "suffix": "end"},
                 help="Scattered, or one stretch of the story.")
BLANKS = Cells(name="blanks", default="", label="Your blanks", max=LENGTH,
               help='Cells to blank, such as "3,5,9-12"; empty lets the seed choose.')


def story_of_ones_own(kind: Callable[[SimpleNamespace], Text]) -> Words:
    """The setting for a text that a user types; kind: which text these settings ask for."""
    return Words(name="story", default="", label="Your story", check=lambda text, s: check_story(kind(s), text),
                 help="A story of your own, in the words that the model knows; empty takes the seed's.")


def story(kind: Text, s: SimpleNamespace, seed: int) -> list[int]:
    """The ids of the user's own words, or of the text that this seed draws, which no network was trained on."""
    return kind.encode(s.story) if s.story else [i for i in kind.passage(seed) if i != kind.end]


def check_story(kind: Text, text: str) -> list[int]:
    """The ids of a typed text. Raises Refused for unknown words and for one that does not fit the page."""
    ids = kind.encode(text)
    if len(ids) >= kind.length:
        has = "text has {} pieces" if kind.spaced else "story has {} words and signs"
        raise Refused(f"this {has.format(len(ids))}; a page holds {kind.length - 1}")
    return ids


def blanks_of(s: SimpleNamespace, n: int, noise: Noise) -> list[int]:
    """The blanks of a story of n cells: those that a user named, else as many as `share` says, where `pattern` says."""
    return Cells.list(s.blanks) or draw_blanks(s.pattern, s.share, n, noise)


def draw_blanks(pattern: str, share: int, n: int, noise: Noise) -> list[int]:
    """`share` percent of n cells, at least one: scattered, at the front, at the back, or in the middle."""
    m = min(n, max(1, round(n * share / 100)))
    if pattern == "random":
        order = np.argsort(noise.uniform("prompt", list(range(n))), kind="stable")
        return sorted(int(c) for c in order[:m])
    start = {"prefix": 0, "suffix": n - m, "sandwich": (n - m) // 2}[pattern]
    return list(range(start, start + m))


def together(kind: Text, s: SimpleNamespace, seed: int, **named: Any) -> None:
    """Refuse cells that the story does not have: the blanks, and those of other settings, {setting: cells}."""
    n = len(story(kind, s, seed))
    if n < 2:
        raise Refused(f"the story has {n} cells; write at least two words", "story")
    for name, cells in {"blanks": Cells.list(s.blanks), **named}.items():
        if cells and max(cells) >= n:
            raise Refused(f"{name}: cell {max(cells)} does not exist; this story has cells 0 to {n - 1}", name)
