"""Pictures as events: how a lane shows what it has so far, without paying for it on its own clock.

Read with `events.Preview`. A preview is decoded inside `meter.preview()`; the last picture of a lane is a part of its
work and counts.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engines.events import Event, Preview
from engines.runtime import Meter

# At 64 x 64 this loses nothing that an eye finds and takes a quarter of the bytes of a lossless file.
QUALITY = 90


def picture(name: str, level: int, image: Tensor, lossless: bool = False) -> Preview:
    """The event that shows image (3, H, W) in [-1, 1]."""
    pixels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    shown = Image.fromarray(np.ascontiguousarray(pixels))
    if lossless:
        shown.save(file, "PNG", optimize=True)
    else:
        shown.save(file, "WEBP", quality=QUALITY, method=4)
    return Preview(name=name, level=level, shape=list(pixels.shape), dtype="png" if lossless else "webp",
                   data=base64.b64encode(file.getvalue()).decode())


class Painter:
    """A lane's brush: it decodes with one tokenizer. `on`: are previews wanted?"""

    def __init__(self, meter: Meter, net: str, on: bool = True):
        self.meter, self.net, self.on = meter, meter.net(net), on

    def preview(self, name: str, level: int, decode: Callable[[Any], Tensor]) -> Iterator[Event]:
        """Show decode(tokenizer) -> (1, 3, H, W), off the clock."""
        if not self.on:
            return
        with self.meter.preview(), torch.inference_mode():
            event = picture(name, level, decode(self.net.session)[0])
        yield event

    def final(self, latent: Tensor, cells: list[int], level: int) -> Generator[Event, None, Tensor]:
        """The finished picture (3, H, W), on the clock: one evaluation of the tokenizer's decoder on its `latent`."""
        image: Tensor = self.net(latent)[0]
        yield self.net.forward(reads=cells, computes=cells, predicts=[], mode="commit")
        with self.meter.preview():
            event = picture("picture", level, image, lossless=True)
        yield event
        return image
