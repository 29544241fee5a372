"""What the numbers mean: a sheet with a small patch for every code, so that a person can read a bar chart of codes.

`python -m engines.tokenizers.codes` writes `assets/codes/{vq,scales}.png`: 32 x 16 patches of 8 x 8 pixels, in the
order of the codes. A code of the single-scale tokenizer is shown as the mean of what stood where it was written, over
held-out scenes; a code of the pyramid as what it paints alone on the coarsest scale, over the whole picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from engines import weights
from engines.worlds import scenes

FOLDER = Path(__file__).parent.parent.parent / "assets" / "codes"
ACROSS, PATCH, SCENES = 32, 8, 4_096


@torch.inference_mode()
def mean_patches(net: Any) -> Tensor:
    """(V, 3, 8, 8): the mean of all patches for which the encoder wrote each code; grey where it wrote it nowhere."""
    codes = len(net.codebook)
    total, seen = torch.zeros(codes, 3 * PATCH * PATCH), torch.zeros(codes)
    for start in range(0, SCENES, 256):
        image = scenes.draw(range(scenes.VALIDATION.start + start, scenes.VALIDATION.start + start + 256)).image
        patches = F.unfold(image, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)
        ids = net.encode(image).flatten()
        total.index_add_(0, ids, patches)
        seen += torch.bincount(ids, minlength=codes)
    return (total / seen.clamp_min(1)[:, None]).view(codes, 3, PATCH, PATCH)


@torch.inference_mode()
def alone(net: Any) -> Tensor:
    """(V, 3, 8, 8): the picture that each code of the pyramid makes alone, on the coarsest scale."""
    ids = torch.arange(len(net.codebook))[:, None]
    made = [net.decode(net.spread(0, part)) for part in ids.split(64)]
    return F.interpolate(torch.cat(made), size=(PATCH, PATCH), mode="area")


def sheet(patches: Tensor) -> Image.Image:
    """(V, 3, 8, 8) in [-1, 1] -> one picture, 32 patches a row."""
    rows = patches.unflatten(0, (-1, ACROSS)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    return Image.fromarray(((rows + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy())


def main() -> None:
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    for name, make in (("vq", mean_patches), ("scales", alone)):
        sheet(make(cast(Any, weights.load(f"tokenizers/{name}")))).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
