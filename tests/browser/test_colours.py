"""Colours by computation: contrast of text and marks in both themes, and marks told apart by eyes that see fewer."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

CSS = Path(__file__).resolve().parents[2] / "components" / "theme" / "theme.css"
THEMES = ("light", "dark")
MARKS = ("given", "masked", "proposed", "accepted", "rejected", "committed", "withdrawn")
# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def palette(theme: str) -> dict[str, np.ndarray]:
    """Name -> sRGB (3,) in 0..1 of a theme, from the style sheet itself; the dark one inherits what it leaves out."""
    text = CSS.read_text()
    light = re.search(r":root \{(.*?)\}", text, re.S)
    dark = re.search(r"\.dark \{(.*?)\}", text, re.S)
    assert light and dark
    found = dict(re.findall(r"--([\w-]+): #([0-9A-F]{6})", light[1]))
    if theme == "dark":
        found |= dict(re.findall(r"--([\w-]+): #([0-9A-F]{6})", dark[1]))
    return {k: np.array([int(v[i : i + 2], 16) / 255 for i in (0, 2, 4)]) for k, v in found.items()}


def linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    """WCAG 2.2 contrast ratio of two colours, 1 to 21."""
    light, dark = sorted((float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB (3,) to OKLab (3,) times 100."""
    m1 = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                   [0.0883024619, 0.2817188376, 0.6299787005]])
    m2 = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                   [0.0259040371, 0.7827717662, -0.8086757660]])
    return 100 * m2 @ np.cbrt(m1 @ rgb)


def apart(colours: dict[str, np.ndarray], names: tuple[str, ...], vision: str) -> float:
    """Least OKLab distance (x100) of any two of the named colours, as such eyes see them."""
    seen = {n: oklab(np.clip(np.array(VISION[vision]) @ linear(colours[n]), 0, 1)) for n in names}
    return min(float(np.linalg.norm(seen[a] - seen[b])) for a, b in itertools.combinations(names, 2))


@pytest.mark.parametrize("theme", THEMES)
def test_text_reads_on_every_ground(theme):
    c = palette(theme)
    for ground in ("page", "panel"):
        for ink, least in (("ink", 10), ("muted", 4.5), ("link", 4.5)):
            assert contrast(c[ink], c[ground]) >= least, (ink, ground)
    for name in MARKS:
        assert contrast(c["ink"], c[f"{name}-fill"]) >= 9, name
        assert contrast(c["muted"], c[f"{name}-fill"]) >= 4.5, name


@pytest.mark.parametrize("theme", THEMES)
def test_marks_and_borders_stand_out_from_the_page(theme):
    c = palette(theme)
    for name in (*MARKS, "control-line"):
        assert contrast(c[name], c["page"]) >= 3, name


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("vision", list(VISION))
def test_marks_are_told_apart_by_every_eye(theme, vision):
    assert apart(palette(theme), MARKS, vision) >= 9


def test_red_against_green_would_be_caught():
    bad = {"a": np.array([0.8, 0.3, 0.25]), "b": np.array([0.45, 0.5, 0.2])}
    assert apart(bad, ("a", "b"), "normal") > 9 > apart(bad, ("a", "b"), "deutan")
