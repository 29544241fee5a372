"""The settings of a story with blanks, and the page that they describe: shared by all rooms that fill blanks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from engines.errors import Refused
from engines.exhibit import Cells, Choice, Int, Words
from engines.noise import Noise
from engines.worlds import stories

WORDS = stories.VOCAB
IDS = {w: i for i, w in enumerate(WORDS) if i > stories.MASK}


def vocabulary() -> dict[str, int]:
    """The words that a user may force, with their ids."""
    return IDS


def story(s: SimpleNamespace, seed: int) -> list[int]:
    """The ids of the user's own words, or of the story that this seed draws from the test range."""
    if s.story:
        return stories.encode(s.story)
    ids = stories.sample([stories.TEST[seed % len(stories.TEST)]])[0]
    return [int(i) for i in ids if i > stories.MASK]


def check_story(text: str) -> list[int]:
    """The ids of a typed story. Raises Refused for unknown words and for one that does not fit the page."""
    ids = stories.encode(text)
    if len(ids) >= stories.LENGTH:
        raise Refused(f"this story has {len(ids)} words and signs; a page holds {stories.LENGTH - 1}")
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


def together(s: SimpleNamespace, seed: int) -> None:
    """Refuse blanks that the story does not have."""
    n = len(story(s, seed))
    if n < 2:
        raise Refused(f"the story has {n} cells; write at least two words", "story")
    if blanks := Cells.list(s.blanks):
        if blanks[-1] >= n:
            raise Refused(f"blanks: cell {blanks[-1]} does not exist; this story has cells 0 to {n - 1}", "blanks")


SHARE = Int(name="share", default=40, min=5, max=95, step=5, label="Blanks", unit="%",
            help="How much of the story is blank. Or click words on the page to blank them.")
PATTERN = Choice(name="pattern", default="random", label="Where",
                 choices={"random": "scattered", "prefix": "start", "sandwich": "middle", "suffix": "end"},
                 help="Scattered, or one stretch of the story.")
BLANKS = Cells(name="blanks", default="", label="Your blanks", max=stories.LENGTH,
               help='Cells to blank, such as "3,5,9-12"; empty lets the seed choose.')
STORY = Words(name="story", default="", label="Your story", check=check_story,
              help="A story of your own, in the words that the model knows; empty takes the seed's.")
