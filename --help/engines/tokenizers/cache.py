"""Scenes turned into tokens once, so that decoders do not pay for the drawing and encoding of every picture.

Chunks of CHUNK scenes lie in `runs/tokens/`, outside the tree's history, under the digest of the tokenizer that wrote
them; they are made when first asked for. Training walks through CHUNKS of them again and again, shuffled anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
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


def chunk(name: str, index: int) -> tuple[Tensor, Tensor]:
    """Scenes index · CHUNK … of the training range, from disk if they have been encoded before."""
    path = ROOT / f"{name.replace('/', '-')}-{weights.sha256(name)[:12]}" / f"{index}.safetensors"
    if path.exists():
        held = load_file(path)
        tokens = held["tokens"]
        return tokens.float() if tokens.is_floating_point() else tokens.long(), held["objects"].long()
    first = scenes.TRAIN.start + index * CHUNK
    tokens, objects = encode(name, range(first, first + CHUNK))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    small = tokens.half() if tokens.is_floating_point() else tokens.short()
    save_file({"tokens": small.contiguous(), "objects": objects.to(torch.int8).contiguous()}, temporary)
    os.replace(temporary, path)
    return tokens, objects


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
