"""Row by row: one code at a time, each given the caption and all codes above it and to its left.

Source: LlamaGen (Sun et al., arXiv 2406.06525), which is the next-token recipe of text applied to a row of codes.
Symbols: x_i the code of cell i, l_c and l_u its logits with the caption and without, s the strength of guidance:
l = l_u + s (l_c - l_u), then temperature, top-k, top-p. A guided code is one call with two rows.

The network knows this one order only. For any other see `random_order.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

from engines.events import Event, Note, Phase, Steps
from engines.noise import Noise
from engines.painting import Painter
from engines.raster import canvas as sheet
from engines.raster.canvas import CELLS, VQ, Canvas
from engines.raster.guidance import Rule
from engines.runtime import Meter, Net
from engines.scene_settings import asked

NET = "raster/raster"


def raster(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Paint 64 codes row by row. s: caption, guidance, temperature, top_k, top_p, previews."""
    canvas, paint = Canvas(asked(s.caption, noise.seed), list(range(CELLS))), Painter(meter, VQ, on=s.previews)
    yield sheet.begin(canvas, "Row by row", NET, paint)
    yield sheet.caption_note(canvas)
    yield Note(key="raster.net", text="This network was trained on one order: row by row, from the top left.")
    return (yield from fill(canvas, sheet.rule_of(s), noise, meter, paint))


def fill(canvas: Canvas, rule: Rule, noise: Noise, meter: Meter, paint: Painter) -> Steps:
    """The decoding loop: as many calls as there are cells."""
    net = meter.net(NET)
    while canvas.left:
        i = canvas.left[0]
        if i % sheet.SIDE == 0:
            row = list(range(i, i + sheet.SIDE))
            yield Phase(unit="band", index=i // sheet.SIDE, of=sheet.SIDE, state="start", cells=row)
        yield from write(net, canvas, rule, noise)
        if canvas.left and len(canvas.known) % sheet.EVERY == 0:
            yield from sheet.preview(paint, canvas)
    yield from sheet.final(paint, canvas)
    return sheet.summary(canvas, net, net.calls)


def write(net: Net, canvas: Canvas, rule: Rule, noise: Noise) -> Iterator[Event]:
    """One turn of decoding: a call of the network, given the caption and all codes so far, and the code drawn then."""
    i = canvas.left[0]
    z = net(canvas.objects, canvas.values(), rule.guided, nfe=2 if rule.guided else 1)
    yield sheet.forward(net, [i], mode="step" if canvas.known else "prefill")
    yield from sheet.draw(canvas, [i], z, rule, noise)
