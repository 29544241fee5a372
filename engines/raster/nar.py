"""By diagonals: from the top left corner outwards, all cells at one distance from it in one call.

Source: NAR (He et al., arXiv 2503.10696), which measures distance in steps to the right and down. Symbols: x_hw the
code of row h and column w, δ = h + w its diagonal; R and B what the two heads say of the cell to the right and of the
cell below, ℓ what is drawn from:
ℓ_00 = (R(c) + B(c)) / 2 of the condition c; ℓ_0w = R of the left neighbour; ℓ_h0 = B of the upper one; elsewhere the
mean of both. A side of n cells takes 2n - 1 calls. Cells of one call do not see each other's codes.

Guidance is a sum of logits too, so guiding the mix is mixing what was guided.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt, log
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor

from engines.events import Event, Measure, Note, Phase, Steps
from engines.noise import Noise
from engines.painting import Painter
from engines.raster import canvas as sheet
from engines.raster.canvas import SIDE, VQ, Canvas
from engines.raster.guidance import Rule, guide
from engines.raster.neighbours import diagonals, mix
from engines.runtime import Meter
from engines.sampling import entropy, percent, softmax
from engines.scene_settings import asked

NET = "neighbours/nar"
# A sentence where both neighbours are this sure, and of different codes; never two within APART cells.
SURE, APART = 0.4, 10


def nar(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Paint 64 codes by diagonals. s: caption, mix, guidance, temperature, top_k, top_p, previews."""
    canvas = Canvas(asked(s.caption, noise.seed), [cell for group in diagonals(SIDE) for cell in group])
    paint = Painter(meter, VQ, on=s.previews)
    yield sheet.begin(canvas, "By diagonals", NET, paint)
    yield sheet.caption_note(canvas)
    yield Note(key="nar.net", text="This network has two heads: one says which code stands to the right, the other "
                                   "which stands below.")
    return (yield from fill(canvas, s.mix, sheet.rule_of(s), noise, meter, paint))


def fill(canvas: Canvas, share: float, rule: Rule, noise: Noise, meter: Meter, paint: Painter) -> Steps:
    """The decoding loop: a call for each diagonal. share: how much of ℓ the left neighbour has."""
    net, side, shown = meter.net(NET), isqrt(len(canvas.order)), 0
    apart: dict[int, float] = {}
    groups = diagonals(side)
    for d, cells in enumerate(groups):
        yield Phase(unit="step", index=d, of=len(groups), state="start", cells=cells)
        z = net(canvas.objects, canvas.values(), rule.guided, nfe=2 if rule.guided else 1)
        yield sheet.forward(net, cells, mode="step" if d else "prefill")
        # What each of the two said is no part of the algorithm, only their mix is.
        heard = {} if meter.quiet else opinions(cells, side, z, rule, canvas)
        yield from sheet.draw(canvas, cells, mix(z, share), rule, noise, heard)
        if heard:
            yield from told(canvas, cells, heard, apart)
        if canvas.left and len(canvas.known) // sheet.EVERY > shown:
            shown = len(canvas.known) // sheet.EVERY
            yield from sheet.preview(paint, canvas)
    yield from sheet.final(paint, canvas)
    return sheet.summary(canvas, net, net.calls)


def opinions(cells: list[int], side: int, z: Tensor, rule: Rule, canvas: Canvas) -> dict[str, list[np.ndarray | None]]:
    """What each cell hears, guided: p (V,) from the left and from above, None where there is no such neighbour.

    The corner has none: both heads of the condition point at it.
    """
    left, above = (softmax(guide(z[..., head, :], rule, len(canvas.known), len(canvas.order)))[0] for head in (0, 1))
    return {"left": [p if cell % side else None for cell, p in zip(cells, left, strict=True)],
            "above": [p if cell >= side else None for cell, p in zip(cells, above, strict=True)]}


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """How far two opinions lie apart, Jensen-Shannon, as a share of the most there can be: 0 the same, 1 disjoint."""
    return max(0.0, (entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2) / log(2))


def told(
    canvas: Canvas, cells: list[int], heard: dict[str, list[np.ndarray | None]], apart: dict[int, float]
) -> Iterator[Event]:
    """How far the neighbours' opinions lie apart, of all cells so far, and a sentence where they quarrel."""
    codes = dict(canvas.known)
    quarrel: tuple[float, Any] = (0.0, None)
    for cell, p, q in zip(cells, heard["left"], heard["above"], strict=True):
        if p is None or q is None:
            continue
        apart[cell] = divergence(p, q)
        if p.argmax() != q.argmax() and min(p.max(), q.max()) >= max(SURE, quarrel[0]):
            quarrel = (float(min(p.max(), q.max())), (cell, p, q))
    if apart:
        yield Measure(name="disagreement", unit="of 1", value=sum(apart.values()) / len(apart), cells=list(apart),
                      values=list(apart.values()))
    if quarrel[1] is None or len(canvas.known) - canvas.told < APART:
        return
    canvas.told = len(canvas.known)
    cell, p, q = quarrel[1]
    row, column = divmod(cell, isqrt(len(canvas.order)))
    drawn = codes[cell]
    won = "the left one's" if drawn == p.argmax() else "the upper one's" if drawn == q.argmax() else "neither's"
    yield Note(
        key="nar.quarrel", cells=[cell], args={"row": row + 1, "column": column + 1, "drawn": drawn},
        text=f"Row {row + 1}, column {column + 1}: the left neighbour wants code {p.argmax()} ({percent(p.max())}), "
             f"the upper one code {q.argmax()} ({percent(q.max())}). Drawn from their mix: {drawn}, {won}.",
    )
