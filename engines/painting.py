"""Pictures as events: how a lane shows what it has so far, without paying for it on its own clock.

Read with `events.Preview`. Unfinished pictures are sketched inside `meter.preview()` by a small network that learnt
from the decoder (`tokenizers.sketch`); the last picture is the decoder's own, a part of the lane's work, and counts.
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

# At 64 x 64 this loses nothing that an eye finds, in a third of the bytes of a lossless file and a tenth of the time.
QUALITY = 90


def picture(
    name: str, level: int, image: Tensor, lossless: bool = False, net: str | None = None, quality: int | None = None
) -> Preview:
    """The event that shows image (3, H, W) in [-1, 1], sketched by `net` if it is no decoder's."""
    pixels = image.mul(127.5).add_(128).clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    shown = Image.fromarray(pixels)
    if lossless:
        shown.save(file, "PNG", optimize=True)
    else:
        shown.save(file, "JPEG", quality=quality or QUALITY, subsampling=0)
    return Preview(name=name, level=level, shape=list(pixels.shape), dtype="png" if lossless else "jpeg",
                   data=base64.b64encode(file.getvalue()).decode(), net=net)


def array(name: str, level: int, values: np.ndarray) -> Preview:
    """Any array as a Preview of half floats; what is not a number is a hole."""
    half = np.ascontiguousarray(values, dtype="<f2")
    return Preview(name=name, level=level, shape=list(half.shape), dtype="f16",
                   data=base64.b64encode(half.tobytes()).decode())


class Painter:
    """A lane's brush: it decodes with one tokenizer, and sketches like it. `on`: are previews wanted?"""

    def __init__(self, meter: Meter, net: str, on: bool = True):
        self.meter, self.net, self.on = meter, meter.net(net), on
        if on:
            self.quick = meter.net(f"{net}_sketch")
            self.like = self.net.session.session(step=self.quick.session.step)

    def cards(self) -> list[dict[str, Any]]:
        """The entries of its networks in Begin."""
        cards = [self.meter.card(self.net.name, "decoder")]
        return [*cards, self.meter.card(self.quick.name, "sketch")] if self.on else cards

    def preview(self, name: str, level: int, decode: Callable[[Any], Tensor]) -> Iterator[Event]:
        """Show decode(tokenizer) -> (1, 3, H, W) by a tokenizer that sketches, off the clock."""
        if not self.on:
            return
        with self.meter.preview(), torch.inference_mode():
            event = picture(name, level, decode(self.like)[0], net=self.quick.name)
        yield event

    def final(self, latent: Tensor, cells: list[int], level: int) -> Generator[Event, None, Tensor]:
        """The finished picture (3, H, W), on the clock: one evaluation of the tokenizer's decoder on its `latent`."""
        image: Tensor = self.net(latent)[0]
        yield self.net.forward(reads=cells, computes=cells, predicts=[], mode="commit")
        with self.meter.preview():
            event = picture("picture", level, image, lossless=True)
        yield event
        return image
