"""The convolutional encoder and decoder that all picture tokenizers share.

It is the autoencoder of latent diffusion (2112.10752, appendix; "vq-f16" in 2404.02905 and 2406.06525): residual
blocks at each level, attention at the deepest one, a middle of block, attention, block. Widths, levels, groups and the
stem are free, so the official sizes and ours are the same class. B rows, C channels, H x W places.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.nn import count_parameters


class Stateless(nn.Module, ABC):
    """A network that keeps nothing between calls, so it is its own decode session and all lanes share it."""

    config: dict[str, Any]
    cache_bytes = 0

    def session(self, step: Callable[[Tensor], Tensor] | None = None) -> Self:
        """Itself; with `step` a twin that decodes by that."""
        if step is None:
            return self
        twin = copy.copy(self)
        twin.__dict__["step"] = step
        return twin

    @property
    def params(self) -> int:
        return count_parameters(self)

    def reset(self) -> None:
        pass

    def warm(self) -> None:
        with torch.inference_mode():
            self.step(*self.example())

    @abstractmethod
    def example(self) -> tuple[Tensor]:
        """What a lane decodes: one picture."""

    @abstractmethod
    def step(self, features: Tensor) -> Tensor:
        """(B, C, s, s) in the decoder's own space -> pictures clamped to [-1, 1]."""


class Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))); a 1x1 convolution on x where the width changes."""

    def __init__(self, inward: int, width: int, groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inward, eps=1e-6)
        self.conv1 = nn.Conv2d(inward, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, width, eps=1e-6)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.skip = nn.Conv2d(inward, width, 1) if inward != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        heard = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(heard)))


class Attention(nn.Module):
    """One head over all places, added to x."""

    def __init__(self, width: int, groups: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows, width, high, wide = x.shape
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)
        heard = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(heard.mT.reshape(rows, width, high, wide))


class Middle(nn.Sequential):
    def __init__(self, width: int, groups: int):
        super().__init__(Residual(width, width, groups), Attention(width, groups), Residual(width, width, groups))


class Level(nn.Module):
    """`blocks` residual blocks at one resolution, each followed by attention if asked, then half or double size."""

    def __init__(self, inward: int, width: int, blocks: int, groups: int, attends: bool, resize: str = ""):
        super().__init__()
        self.blocks = nn.ModuleList(Residual(width if i else inward, width, groups) for i in range(blocks))
        self.attention = nn.ModuleList(Attention(width, groups) for _ in range(blocks if attends else 0))
        self.resize = resize
        if resize:
            self.conv = nn.Conv2d(width, width, 3, stride=2 if resize == "half" else 1, padding=int(resize == "double"))

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.blocks):
            x = block(x)
            if self.attention:
                x = self.attention[i](x)
        if self.resize == "half":
            # One row and column of zeros below and to the right only, as in the official code.
            return self.conv(F.pad(x, (0, 1, 0, 1)))
        return self.conv(F.interpolate(x, scale_factor=2.0)) if self.resize else x


class Encoder(nn.Module):
    """Pictures (B, 3, S, S) -> features (B, channels, s, s), s = S / (stem · 2^(levels - 1)).

    stem: pixels of stem x stem are folded into channels first, which spares the costly full resolution.
    """

    def __init__(self, widths: list[int], blocks: int, channels: int, groups: int, stem: int):
        super().__init__()
        self.stem = stem
        self.into = nn.Conv2d(3 * stem * stem, widths[0], 3, padding=1)
        last = len(widths) - 1
        self.levels = nn.Sequential(
            *(
                Level(widths[max(i - 1, 0)], width, blocks, groups, i == last, "" if i == last else "half")
                for i, width in enumerate(widths)
            )
        )
        self.middle = Middle(widths[-1], groups)
        self.norm = nn.GroupNorm(groups, widths[-1], eps=1e-6)
        self.out = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.into(F.pixel_unshuffle(image, self.stem))
        return self.out(F.silu(self.norm(self.middle(self.levels(x)))))


class Decoder(nn.Module):
    """Features (B, channels, s, s) -> pictures (B, 3, S, S), not clamped; the encoder mirrored."""

    def __init__(self, widths: list[int], blocks: int, channels: int, groups: int, stem: int):
        super().__init__()
        self.stem = stem
        last = len(widths) - 1
        self.into = nn.Conv2d(channels, widths[-1], 3, padding=1)
        self.middle = Middle(widths[-1], groups)
        self.levels = nn.Sequential(
            *(
                Level(widths[min(i + 1, last)], widths[i], blocks, groups, i == last, "double" if i else "")
                for i in range(last, -1, -1)
            )
        )
        self.norm = nn.GroupNorm(groups, widths[0], eps=1e-6)
        self.out = nn.Conv2d(widths[0], 3 * stem * stem, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        x = self.levels(self.middle(self.into(features)))
        return F.pixel_shuffle(self.out(F.silu(self.norm(x))), self.stem)


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal to noise in dB of pictures in [-1, 1], over the whole batch."""
    return 10 * math.log10(4 / max(float(F.mse_loss(a, b)), 1e-12))
