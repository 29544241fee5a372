"""Any order: before each code the network is told where it goes, so the order is the user's.

Source: RandAR (Pang et al., arXiv 2412.01827). Symbols: π the order, x_π the code of cell π, P_π the position
instruction token that stands before it, S the number of steps, N the number of cells. One network serves all N! orders
because every training step drew a new one.

With S < N several codes are drawn in one call, by a cosine: few while little is known, many at the end. Codes of one
call do not see each other; the next call feeds [x_1, P_2, x_2, …] before its own queries, which puts the cache into
the layout of training. Known cells stand first in the order, so in-painting is nothing special.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch

from engines.events import Note, Phase, Steps
from engines.noise import Noise
from engines.painting import Painter
from engines.raster import canvas as sheet
from engines.raster.canvas import CELLS, SIDE, VQ, Canvas
from engines.raster.guidance import Rule
from engines.raster.sampler import schedule
from engines.runtime import Meter
from engines.scene_settings import ORDERS, Order, asked

NET = "raster/random"
ORDER = Order(
    name="order", label="Order", default="spiral", cells=CELLS,
    help="The order of the second picture. Choose one, or paint your own path over the cells.",
)


def any_order(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Paint 64 codes in s.order. s: caption, order, steps, guidance, ramp, temperature, top_k, top_p, previews."""
    order = ORDER.cells_of(s.order, SIDE, SIDE, noise)
    canvas, paint = Canvas(asked(s.caption, noise.seed), order), Painter(meter, VQ, on=s.previews)
    name = ORDERS[s.order][0] if s.order in ORDERS else "at random" if s.order == "random" else "as you painted it"
    yield sheet.begin(canvas, "In any order", NET, paint)
    yield sheet.caption_note(canvas)
    yield Note(key="raster.random-net", args={"order": name},
               text=f"Another network, trained on random orders. It is told where each code goes; here: {name}.")
    return (yield from fill(canvas, s.steps, sheet.rule_of(s), noise, meter, paint))


def fill(canvas: Canvas, steps: int, rule: Rule, noise: Noise, meter: Meter, paint: Painter) -> Steps:
    """The decoding loop, on any canvas: S calls, or one for each open cell if those are fewer."""
    net, shown = meter.net(NET), 0
    counts = schedule(len(canvas.left), min(steps, len(canvas.left)))
    for k, count in enumerate(counts):
        targets = canvas.left[:count]
        if count > 1:
            yield Phase(unit="step", index=k, of=len(counts), state="start", cells=targets)
        z = net(canvas.objects, canvas.cells(), canvas.values(), torch.tensor([targets]), rule.guided,
                nfe=2 if rule.guided else 1)
        yield sheet.forward(net, targets, mode="step" if canvas.known else "prefill")
        yield from sheet.draw(canvas, targets, z, rule, noise)
        if canvas.left and len(canvas.known) // sheet.EVERY > shown:
            shown = len(canvas.known) // sheet.EVERY
            yield from sheet.preview(paint, canvas)
    yield from sheet.final(paint, canvas)
    return sheet.summary(canvas, net, len(counts))
