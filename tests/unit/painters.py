"""Stand-ins for tests of painting code by code: small random networks, and a tokenizer that paints a code as a grey."""

from __future__ import annotations

from typing import Any

import torch

from engines import events as ev
from engines.worlds import scenes

SMALL = {"vocab": 512, "layers": 2, "width": 32, "heads": 2, "hidden": 48, "side": 8}
CLOSE = {"rtol": 0, "atol": 1e-4}
CAPTIONS = scenes.captions(range(100, 103))


class Greys:
    """A tokenizer whose picture shows code v as a grey; unknown places are black."""

    params, bytes, cache_bytes = 0, 0, 0

    def decode_partial(self, ids: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        shade = torch.where(known, ids / 256 - 1, -1.0).view(-1, 1, 8, 8)
        return shade.repeat_interleave(8, 2).repeat_interleave(8, 3).expand(-1, 3, -1, -1)

    def decode(self, ids: torch.Tensor) -> torch.Tensor:
        return self.decode_partial(ids, torch.ones_like(ids, dtype=torch.bool))

    __call__ = step = decode

    def session(self, step: Any) -> Any:
        """One that decodes by `step`: this one does already."""
        return self


def make(kind: Any) -> Any:
    """A small network of this kind, random, whose heads have an opinion."""
    torch.manual_seed(3)
    network = kind(**SMALL).eval()
    for name, parameter in network.named_parameters():
        if name.startswith("head"):
            torch.nn.init.normal_(parameter, std=0.15)
    return network.requires_grad_(False)


def codes(count: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(512, (count, length), generator=torch.Generator().manual_seed(seed))


def ids_of(events: list[ev.Event], lane: str) -> list[int]:
    out = [-1] * 64
    for event in ev.of_lane(events, lane):
        if isinstance(event, ev.Commit):
            for cell, value in zip(ev.expand(event.cells), event.values, strict=True):
                out[cell] = value
    return out
