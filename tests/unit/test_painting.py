"""Previews: small, true to the picture, off the clock; the last picture is on it."""

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from engines.events import Forward, Preview, from_json
from engines.painting import Painter, picture
from engines.runtime import Meter
from engines.tokenizers.cnn import Stateless
from engines.worlds import scenes


def pixels(event: Preview) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(event.data))).convert("RGB"))


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return scenes.draw([5]).image[0]


def test_a_lossless_picture_is_the_picture(image: torch.Tensor) -> None:
    event = picture("picture", 3, image, lossless=True)
    want = ((image.clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.array_equal(pixels(event), want.astype(np.uint8))
    assert event.dtype == "png" and event.shape == [64, 64, 3] and from_json(event.to_json()) == event


def test_a_preview_is_small_and_close(image: torch.Tensor) -> None:
    event = picture("picture", 0, image)
    want = (image.permute(1, 2, 0).numpy() + 1) * 127.5
    assert event.dtype == "jpeg" and len(event.data) < 4_000
    assert np.abs(pixels(event) - want).mean() < 4


def test_values_out_of_range_are_cut(image: torch.Tensor) -> None:
    assert np.array_equal(pixels(picture("x", 0, image * 0 + 9, lossless=True)), np.full((64, 64, 3), 255))


class Decoder(Stateless):
    """Stands in for a stored one: all of a picture is of this grey."""

    def __init__(self, grey: float):
        super().__init__()
        self.grey = grey

    def example(self) -> tuple[torch.Tensor]:
        return (torch.zeros(1),)

    def step(self, features: torch.Tensor) -> torch.Tensor:
        return torch.full((1, 3, 64, 64), self.grey)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return self.step(latent)


def provide(name: str) -> Decoder:
    return Decoder(-0.2 if name.endswith("_sketch") else 0.6)


def test_sketches_are_off_the_clock_and_the_last_picture_is_the_decoders_and_on_it() -> None:
    meter = Meter(provide)
    paint = Painter(meter, "tokenizers/vq")
    assert [card["role"] for card in paint.cards()] == ["decoder", "sketch"]
    before = meter.preview_ns
    (shown,) = paint.preview("picture", 1, lambda net: net(torch.zeros(1)))
    assert isinstance(shown, Preview) and meter.preview_ns > before and shown.net == "tokenizers/vq_sketch"
    assert abs(int(pixels(shown)[0, 0, 0]) - 102) <= 2
    assert meter.net("tokenizers/vq").calls == 0
    last = list(paint.final(torch.zeros(1), [0, 1], 2))
    assert isinstance(last[0], Forward) and last[0].calls == 1 and isinstance(last[1], Preview)
    assert last[1].dtype == "png" and last[1].net is None and pixels(last[1])[0, 0, 0] == 204


def test_no_previews_when_they_are_off() -> None:
    def decode(net: SimpleNamespace) -> torch.Tensor:
        raise AssertionError("nobody asked for a picture")

    paint = Painter(Meter(provide), "tokenizers/vq", on=False)
    assert not list(paint.preview("x", 0, decode)) and [card["role"] for card in paint.cards()] == ["decoder"]
