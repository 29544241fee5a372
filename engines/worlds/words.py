"""WORDS: grey strips with one word on each, printed in ten faces, bent, slanted, blurred, crossed out and noisy.

Half of the texts are letters drawn at random, half are words of STORIES, so that knowing words helps with some of them
only. A strip is a function of its seed. Faces come from packages of free fonts (OFL); where each letter stands is known
from the drawing, never guessed.

Symbols: B strips, T = LONGEST letters at most, T + 1 slots: the letters, then END.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from engines.worlds import stories

LETTERS = "abcdefghijklmnopqrstuvwxyz"
END, LONGEST = 0, 12
SLOTS, CLASSES = LONGEST + 1, len(LETTERS) + 1
HEIGHT, WIDTH = 32, 128
NOTHING = -100  # a slot behind END
TRAIN = range(0, 10**9)
VALIDATION = range(10**9, 2 * 10**9)
TEST = range(2 * 10**9, 3 * 10**9)

FACES = {
    "book": "font_caladea/files/Caladea-Regular.ttf",
    "book bold": "font_caladea/files/Caladea-Bold.ttf",
    "book italic": "font_caladea/files/Caladea-Italic.ttf",
    "plain": "font_lato/files/Lato-Regular.ttf",
    "plain italic": "font_lato/files/Lato-Italic.ttf",
    "black": "font_lato/files/Lato-Black.ttf",
    "poster": "font_fjallaone/files/FjallaOne-Regular.ttf",
    "round": "font_fredoka_one/files/FredokaOne-Regular.ttf",
    "marker": "font_intuitive/files/Intuitive.ttf",
    "hand": "font_amatic_sc/files/AmaticSC-Bold.ttf",
}
# Glyphs are drawn at this size, on lines of this height with the baseline there, and shrunk while they are bent.
POINTS, LINE, BASE, EDGE = 40, 64, 44, 6
FINE = 2  # samples a pixel, each way


class Glyph(NamedTuple):
    ink: np.ndarray  # (LINE, w) float32 in [0, 1], its pen at column EDGE
    advance: float


@dataclass(frozen=True)
class Look:
    """How a word is printed. Lengths in pixels of the strip, greys from 0 to 1."""

    face: str
    fit: float = 0.95  # share of the strip that the word may take
    tall: float = 1.0  # height of its letters, 1 = as wide as they are drawn
    apart: float = 0.0  # added to each letter's advance, in letters
    curve: float = 0.0  # how far the ends hang below the middle
    slant: float = 0.0
    turn: float = 0.0
    left: float = 0.0  # off the middle
    down: float = 0.0
    ground: float = 0.9
    ink: float = 0.1
    fade: float = 0.0  # how much brighter the ground is on the right
    blur: float = 0.0
    noise: float = 0.0
    bar: float = -1.0  # height of a line across the word, from the top; none below 0
    steep: float = 0.0


class Strips(NamedTuple):
    image: Tensor  # (B, 1, HEIGHT, WIDTH) in [-1, 1]
    slots: Tensor  # (B, T + 1) int64: letters from 1 to 26, END, then NOTHING
    spans: Tensor  # (B, T, 2): left and right end of each letter in pixels, NaN where there is none


def random_of(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


@cache
def known() -> tuple[str, ...]:
    """Words of STORIES that fit."""
    return tuple(word for word in stories.VOCAB if word and set(word) <= set(LETTERS) and len(word) <= LONGEST)


def text_of(seed: int) -> str:
    """The seed's text: letters or a word, as often the one as the other."""
    toss, pick = random_of(seed).random(2)
    return known()[int(pick * len(known()))] if toss >= 0.5 else letters_of(seed, 1 + int(pick * LONGEST))


def letters_of(seed: int, length: int) -> str:
    """Letters at random, each as likely as the others."""
    return "".join(LETTERS[i] for i in random_of(seed + (1 << 64)).integers(len(LETTERS), size=length))


def look_of(seed: int) -> Look:
    """The seed's look."""
    u = random_of(seed + (2 << 64)).random(18)
    ground, contrast = 0.15 + 0.8 * u[0], 0.35 + 0.5 * u[1]
    ink = ground - contrast if (ground - contrast > 0 and u[2] < 0.75) or ground + contrast > 1 else ground + contrast
    return Look(
        face=list(FACES)[int(u[3] * len(FACES))], fit=0.78 + 0.2 * u[4], tall=0.95 + 0.7 * u[5],
        apart=-0.02 + 0.14 * u[6] ** 2, curve=(u[7] - 0.5) * 10 * (u[8] < 0.6), slant=(u[9] - 0.5) * 0.7,
        turn=(u[10] - 0.5) * 0.14, left=(u[11] - 0.5) * 2, down=(u[12] - 0.5) * 3, ground=float(ground),
        ink=float(min(max(ink, 0.0), 1.0)), fade=(u[13] - 0.5) * 0.3, blur=max(0.0, u[14] - 0.4) * 1.2,
        noise=0.2 * contrast * u[15] ** 2, bar=6 + 20 * u[16] if u[17] < 0.2 else -1.0, steep=(u[17] - 0.1) * 2,
    )


def draw(seeds: Sequence[int]) -> Strips:
    """The strips of these seeds."""
    return render([text_of(seed) for seed in seeds], [look_of(seed) for seed in seeds], seeds)


@cache
def glyph(face: str, letter: str) -> Glyph:
    font = _font(face)
    advance = font.getlength(letter)
    sheet = Image.new("L", (int(advance) + 2 * EDGE + 8, LINE))
    ImageDraw.Draw(sheet).text((EDGE, BASE), letter, fill=255, font=font, anchor="ls")
    return Glyph(np.asarray(sheet, dtype=np.float32) / 255, advance)


@cache
def _font(face: str) -> ImageFont.FreeTypeFont:
    package, _, rest = FACES[face].partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the face {face!r} is in the package {package.replace('_', '-')}, which is missing")
    return ImageFont.truetype(Path(spec.origin).parent / rest, POINTS)


def _written(text: str, look: Look) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """The word on a line (LINE, w), and where its letters begin and end on it."""
    pens, pen = [], float(EDGE)
    for letter in text:
        pens.append(pen)
        pen += glyph(look.face, letter).advance + look.apart * POINTS
    line = np.zeros((LINE, int(pen) + POINTS), dtype=np.float32)
    spans = []
    for letter, x in zip(text, pens, strict=True):
        ink, advance = glyph(look.face, letter)
        left = max(0, round(x) - EDGE)
        window = line[:, left : left + ink.shape[1]]
        np.maximum(window, ink, out=window)
        spans.append((x, x + advance))
    return line, spans


def render(texts: Sequence[str], looks: Sequence[Look], seeds: Sequence[int]) -> Strips:
    """Strips of these texts; a seed each gives the grain of the noise. Raises ValueError for what is no word here."""
    for text in texts:
        if not 0 < len(text) <= LONGEST or set(text) - set(LETTERS):
            raise ValueError(f"{text!r} is not one to {LONGEST} letters from a to z")
    lines, places = zip(*(_written(text, look) for text, look in zip(texts, looks, strict=True)), strict=True)
    wide = max(line.shape[1] for line in lines)
    sheet = torch.zeros(len(texts), 1, LINE, wide)
    for i, line in enumerate(lines):
        sheet[i, 0, :, : line.shape[1]] = torch.from_numpy(line)

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)[:, None, None]

    def of(name: str) -> Tensor:
        return column([getattr(look, name) for look in looks])

    middle = column([(spans[0][0] + spans[-1][1]) / 2 for spans in places])
    length = column([spans[-1][1] - spans[0][0] for spans in places])
    # pixels of the strip a pixel of the line, across and down: as large as both sides of the strip allow
    down = torch.minimum(of("fit") * WIDTH / length * of("tall"), of("fit") * HEIGHT * 0.022)
    across = torch.minimum(of("fit") * WIDTH / length, down / of("tall") * 1.15)
    step = 1 / FINE
    tall, wide_ = (torch.arange(step / 2, size, step) - size / 2 for size in (HEIGHT, WIDTH))
    v, u = torch.meshgrid(tall, wide_, indexing="ij")
    u, v = u - of("left"), v - of("down")
    v = v - of("curve") * ((u / (WIDTH / 2)) ** 2 - 0.3) - of("turn") * u
    x = (u + of("slant") * v) / across + middle
    y = v / down + BASE - 0.28 * POINTS
    grid = torch.stack([2 * x / wide - 1, 2 * y / LINE - 1], dim=-1)
    covered = F.avg_pool2d(F.grid_sample(sheet, grid, padding_mode="zeros", align_corners=False), FINE)[:, 0]
    covered = _blurred(covered, of("blur"))

    rows, columns = torch.arange(HEIGHT)[:, None] + 0.5, torch.arange(WIDTH) + 0.5
    ground = of("ground") + of("fade") * (columns / WIDTH - 0.5)
    image = ground + covered * (of("ink") - ground)
    off = rows - of("bar") - of("steep") * (columns / WIDTH - 0.5) * 8
    line_ = (1 - (off.abs() - 0.5).clamp_min(0)).clamp_min(0) * (of("bar") >= 0)
    image = image + line_ * (0.5 * (of("ink") + ground) - image)
    grain = torch.from_numpy(np.stack([random_of(s + (3 << 64)).standard_normal((HEIGHT, WIDTH)) for s in seeds]))
    image = (image + of("noise") * grain.float()).clamp(0, 1)

    slots = torch.full((len(texts), SLOTS), NOTHING)
    ends = torch.full((len(texts), LONGEST, 2), torch.nan)
    for i, (text, spans) in enumerate(zip(texts, places, strict=True)):
        slots[i, : len(text)] = torch.tensor([LETTERS.index(letter) + 1 for letter in text])
        slots[i, len(text)] = END
        ends[i, : len(text)] = torch.tensor(spans)
    ends = (ends - middle) * across + of("left") + WIDTH / 2
    return Strips((2 * image - 1)[:, None], slots, ends)


def _blurred(image: Tensor, by: Tensor) -> Tensor:
    """image (B, h, w), softened by (B, 1, 1) of a pixel each way: 0 leaves it, 1 weighs neighbours as much."""
    soft = F.avg_pool2d(F.pad(image[:, None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)[:, 0]
    return image + by.clamp(0, 1) * (soft - image)


def spelled(slots: Sequence[int]) -> str:
    """The letters up to the first END."""
    out = ""
    for letter in slots:
        if letter <= END:
            break
        out += LETTERS[letter - 1]
    return out
