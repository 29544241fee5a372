"""A quick look at an unfinished picture: a small network that shows roughly what a tokenizer's decoder would.

The decoder takes 107 million multiplications; asked after every scale it would be a third of a whole lane. A sketch
takes 11 million. It learns to give what the decoder gives, also where only a part of the latent is known: the practice
of previews elsewhere (TAESD, github.com/madebyollin/taesd). The last picture of a lane is always the decoder's own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.tokenizers.cnn import Stateless

SIZE = 8  # places on a side
UP, STEM = 2, 4  # how much larger a side gets before the last convolution, and by it


class Sketch(Stateless):
    """A few 3x3 convolutions: (B, C, 8, 8) in the decoder's own space -> pictures (B, 3, 64, 64)."""

    def __init__(self, channels: int, width: int, narrow: int, layers: int):
        super().__init__()
        self.config = {"channels": channels, "width": width, "narrow": narrow, "layers": layers}
        self.into = nn.Conv2d(channels, width, 3, padding=1)
        self.middle = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(layers))
        self.up = nn.Conv2d(width, UP * UP * narrow, 3, padding=1)
        self.out = nn.Conv2d(narrow, 3 * STEM * STEM, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        x = self.into(features)
        for layer in self.middle:
            x = x + layer(F.silu(x))
        x = F.pixel_shuffle(self.up(F.silu(x)), UP)
        return F.pixel_shuffle(self.out(F.silu(x)), STEM)

    def step(self, features: Tensor) -> Tensor:
        return self(features).clamp(-1, 1)

    def example(self) -> tuple[Tensor]:
        return (torch.zeros(1, self.config["channels"], SIZE, SIZE),)
