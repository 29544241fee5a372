"""What both lanes share: the grid of 64 codes, what is known of it, and how a drawn code is told as events.

A code is a whole number, an entry of the tokenizer's codebook; it means a patch only together with its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines.events import Begin, Commit, Event, Forward, Measure, Note
from engines.noise import Draw, Noise
from engines.painting import Painter
from engines.raster.guidance import Rule, guide, law
from engines.runtime import Net
from engines.sampling import entropy, softmax, top
from engines.worlds import scenes

SIDE = 8
CELLS = SIDE * SIDE
CODES = 512
VQ = "tokenizers/vq"
CANVAS = "codes"
# Codes listed of each distribution: what a recorded run has room for. Commits between two previews.
SHOWN, EVERY = 5, 2 * SIDE
# A sentence where a code that had LIKELY percent would have had less than 1/TELLING of that without the caption; never
# two within APART cells.
LIKELY, TELLING, APART = 25, 4, 10
TINY = 1e-30


def vocabulary(s: SimpleNamespace) -> dict[Any, int]:
    """The codes that a user may force."""
    return {code: code for code in range(CODES)}


@dataclass
class Canvas:
    """A picture in the making. objects (1, 4, 4); order: all cells; known: (cell, code), the first `prompt` given."""

    objects: Tensor
    order: list[int]
    known: list[tuple[int, int]] = field(default_factory=list)
    prompt: int = 0
    # How many cells were known when the last sentence was said.
    told: int = -CELLS
    # By how many nats guidance made each drawn code likelier than it was without the caption.
    pull: list[tuple[int, float]] = field(default_factory=list)

    @property
    def left(self) -> list[int]:
        """Cells still open, in the order of decoding."""
        return self.order[len(self.known) :]

    def cells(self) -> Tensor:
        return torch.tensor([[cell for cell, _ in self.known]], dtype=torch.long)

    def values(self) -> Tensor:
        return torch.tensor([[code for _, code in self.known]], dtype=torch.long)

    def spot(self, cell: int) -> tuple[str, str, dict[str, int]]:
        """Where a cell is, for a sentence about it: the sentence's key, the words, and the numbers in them."""
        row, column = cell // SIDE + 1, cell % SIDE + 1
        return "raster.pull", f"Row {row}, column {column}", {"row": row, "column": column}

    def grid(self) -> Tensor:
        """(1, 64) codes by cell, -1 where nothing is known."""
        out = torch.full((1, len(self.order)), -1)
        for cell, code in self.known:
            out[0, cell] = code
        return out


def rule_of(s: SimpleNamespace) -> Rule:
    """s: guidance, temperature, top_k, top_p, and ramp where the lane has it."""
    start = 1.0 if getattr(s, "ramp", False) else None
    return Rule(s.guidance, s.temperature, s.top_k, s.top_p, start)


def begin(canvas: Canvas, title: str, net: str, paint: Painter) -> Begin:
    given = canvas.known[: canvas.prompt]
    return Begin(
        title=title,
        canvases=[{"id": CANVAS, "kind": "grid", "shape": [SIDE, SIDE]}],
        nets=[paint.meter.card(net, "target"), *paint.cards()],
        given={"cells": [c for c, _ in given], "values": [v for _, v in given]} if given else None,
    )


def caption_note(canvas: Canvas) -> Note:
    text = scenes.caption_text(canvas.objects[0])
    return Note(key="raster.asked", args={"caption": text}, text=f"The caption: {text}." if text else "An empty table.")


def forward(net: Net, predicts: list[int], mode: str) -> Forward:
    """The call just made, in cells; the caption has none."""
    last = getattr(net.session, "last", {"reads": [], "computes": []})
    return net.forward(sorted(last["reads"]), sorted(last["computes"]), predicts, mode)


def draw(
    canvas: Canvas, cells: list[int], z: Tensor, rule: Rule, noise: Noise,
    heard: Mapping[str, Sequence[np.ndarray | None]] = MappingProxyType({}),
) -> Iterator[Event]:
    """Draw these cells from logits z (1 or 2, 1, T, V), each for itself, write them down and say so.

    One event for all; cells that a user holds come in one of their own, because their origin differs. heard: other
    distributions to be listed, one for each cell or None.
    """
    mixed = guide(z, rule, len(canvas.known), len(canvas.order))[0]
    p = law(mixed, rule)
    drawn = noise.draw("token", cells, p)
    laws = {"guided": softmax(mixed)}
    if len(z) > 1:
        laws["unconditional"] = softmax(z[1, 0].double().numpy())
        with_, without = (q[range(len(cells)), [d.index for d in drawn]] for q in laws.values())
        canvas.pull += zip(cells, np.log(np.maximum(with_, TINY) / np.maximum(without, TINY)).tolist(), strict=True)
    canvas.known += [(cell, d.index) for cell, d in zip(cells, drawn, strict=True)]
    listed: dict[str, Any] = {**laws, **heard}
    for origin in ("forced", "sampled"):
        own = [i for i, d in enumerate(drawn) if d.forced is (origin == "forced")]
        if own:
            dists: Any = {name: [_listed(q[i], drawn[i].index) for i in own] for name, q in listed.items()}
            yield Commit(
                cells=[cells[i] for i in own], values=[drawn[i].index for i in own], p=[drawn[i].p for i in own],
                entropy=[entropy(p[i]) for i in own], origin=origin, dists=dists,
            )
    if len(cells) == 1 and len(laws) > 1 and len(canvas.known) - canvas.told >= APART:
        yield from _pull(canvas, cells[0], drawn[0], laws)


def _listed(p: np.ndarray | None, drawn: int) -> dict[str, Any] | None:
    codes: Any = range(CODES)
    return None if p is None else top(p, codes, SHOWN, always=[drawn])


def _pull(canvas: Canvas, cell: int, drawn: Draw, laws: dict[str, np.ndarray]) -> Iterator[Note]:
    """A sentence where the caption decided: a code that the picture alone would hardly have had."""
    with_, without = (100 * float(laws[name][0][drawn.index]) for name in ("guided", "unconditional"))
    if drawn.forced or with_ < LIKELY or with_ < TELLING * without:
        return
    canvas.told = len(canvas.known)
    key, where, args = canvas.spot(cell)
    yield Note(
        key=key, cells=[cell], args=args | {"with": round(with_), "without": round(without)},
        text=f"{where}: this code had {with_:.0f} % with the caption, {without:.0f} % without it.",
    )


def preview(paint: Painter, canvas: Canvas) -> Iterator[Event]:
    """The picture so far; unknown cells hold the mean of all codes."""
    ids = canvas.grid()
    return paint.preview("picture", len(canvas.known), partial(_decode, ids))


def _decode(ids: Tensor, tokenizer: Any) -> Tensor:
    return tokenizer.decode_partial(ids, ids >= 0)


def final(paint: Painter, canvas: Canvas) -> Iterator[Event]:
    """Where the caption decided, then the finished picture, on the clock."""
    if canvas.pull:
        values = [gain for _, gain in canvas.pull]
        yield Measure(name="pull", unit="nats", value=sum(values) / len(values), cells=[c for c, _ in canvas.pull],
                      values=values)
    yield from paint.final(canvas.grid(), list(range(len(canvas.order))), len(canvas.order))


def summary(canvas: Canvas, net: Net, steps: int) -> dict[str, Any]:
    return {"cells": len(canvas.order) - canvas.prompt, "calls": net.calls, "nfe": net.nfe, "steps": steps,
            "objects": scenes.caption_text(canvas.objects[0])}
