"""Sketches: what they are trained on, and that the stored ones come near their decoders."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from engines import weights
from engines.nn import count_parameters
from engines.tokenizers import sketches
from engines.tokenizers.cnn import psnr
from engines.tokenizers.sketch import Sketch
from engines.tokenizers.train import RECIPES, batches

NAMES = ("tokenizers/scales", "tokenizers/vq", "tokenizers/vae")


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return next(iter(batches(0)))[0]


@torch.inference_mode()
def latents(name: str, pictures: torch.Tensor) -> tuple[Any, torch.Tensor]:
    tokenizer = cast(Any, weights.load(name))
    written = tokenizer.encode(pictures)
    return tokenizer, torch.cat(written, dim=1) if isinstance(written, list) else written


@pytest.mark.parametrize("name", NAMES)
def test_a_lane_on_its_way_knows_only_a_part(name: str, pictures: torch.Tensor) -> None:
    tokenizer, tokens = latents(name, pictures)
    with torch.inference_mode():
        one, two = (sketches.underway(tokenizer, tokens, torch.Generator().manual_seed(s)) for s in (1, 2))
        again = sketches.underway(tokenizer, tokens, torch.Generator().manual_seed(1))
    assert one.shape == (len(pictures), tokenizer.config["channels"], 8, 8)
    assert torch.equal(one, again) and not torch.equal(one, two)


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_sketch_is_near_its_decoder_and_far_smaller(name: str, pictures: torch.Tensor) -> None:
    tokenizer, tokens = latents(name, pictures)
    sketch = cast(Any, weights.load(f"{name}_sketch"))
    untrained = Sketch(**sketch.config)
    with torch.inference_mode():
        parts = sketches.underway(tokenizer, tokens, torch.Generator().manual_seed(3))
        wanted = tokenizer.step(parts)
        near, far = psnr(sketch.step(parts), wanted), psnr(untrained.step(parts), wanted)
    assert near > 28 and far < 15
    assert 2 * count_parameters(sketch) < count_parameters(tokenizer.decoder)


def test_strong_colours_weigh_more() -> None:
    pale, strong = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    strong[:, 0] = 1.5
    pixels = torch.cat([pale, strong])

    class Wrong(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features + 0.1

    loss = [float(sketches.loss(Wrong(), (x[None], x[None]), torch.Generator())[0]) for x in pixels]
    assert loss[1] == pytest.approx((1 + sketches.TOYS) * loss[0])


def test_each_tokenizer_has_a_recipe_for_its_sketch() -> None:
    for name in NAMES:
        assert RECIPES[f"{name}_sketch"].after == (name,)
