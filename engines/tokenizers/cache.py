"""Scenes turned into tokens once, so that decoders do not pay for the drawing and encoding of every picture.

Chunks lie in `runs/tokens/`, outside the tree's history, under the digest of the tokenizer that wrote them; they are
made when first asked for (`kept`). Training walks through CHUNKS of them again and again, shuffled anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engines import weights
from engines.worlds import scenes

ROOT = Path(__file__).parent.parent.parent / "runs" / "tokens"
CHUNK, CHUNKS = 4_096, 14
DRAWN = 256


@torch.inference_mode()
def encode(name: str, seeds: range) -> tuple[Tensor, Tensor]:
    """(tokens, objects) of these scenes: codes (N, L) int64, or latents (N, s², C) float32 of the continuous one."""
    net = cast(Any, weights.load(name))
    tokens, objects = [], []
    for start in range(0, len(seeds), DRAWN):
        scene = scenes.draw(seeds[start : start + DRAWN])
        written = net.encode(scene.image)
        tokens.append(torch.cat(written, dim=1) if isinstance(written, list) else written)
        objects.append(scene.objects)
    return torch.cat(tokens), torch.cat(objects)


def kept(folder: str, index: int, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """What `make` makes, from ROOT / folder / index if it has been made before; numbers kept are fp16 or int16."""
    path = ROOT / folder / f"{index}.safetensors"
    if not path.exists():
        small = {str(i): (x.half() if x.is_floating_point() else x.short()).contiguous() for i, x in enumerate(make())}
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        save_file(small, temporary)
        os.replace(temporary, path)
    held = load_file(path)
    return tuple(x.float() if x.is_floating_point() else x.long() for x in (held[str(i)] for i in range(len(held))))


def folder_of(name: str) -> str:
    """Where what this tokenizer wrote is kept."""
    return f"{name.replace('/', '-')}-{weights.sha256(name)[:12]}"


def chunk(name: str, index: int) -> tuple[Tensor, Tensor]:
    """Scenes index · CHUNK … of the training range."""
    first = scenes.TRAIN.start + index * CHUNK
    written, objects = kept(f"{folder_of(name)}-pictures", index, lambda: encode(name, range(first, first + CHUNK)))
    return written, objects


def tokens(name: str, part: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (tokens, objects (b, 4, 4)) of the part-th piece of an endless stream."""
    written, objects = chunk(name, part % CHUNKS)
    order = torch.from_numpy(np.random.default_rng(part).permutation(len(written)))
    for start in range(0, len(order) - batch + 1, batch):
        pick = order[start : start + batch]
        yield written[pick], objects[pick]


def held_out(name: str, count: int) -> tuple[Tensor, Tensor]:
    """(tokens, objects) of the first scenes of the validation range."""
    first = scenes.VALIDATION.start
    return encode(name, range(first, first + count))
