"""One denoiser for three jobs on a film: plan the key frames of a beat, fill a gap between two of them, next frame.

Source: Macro-from-Micro Planning (Xiang et al., arXiv 2508.03334), of which we could read the abstract and summaries:
one network, plan and fill told apart by what is known. Sizes, positions of the keys and all details here are our
reading of it. The frame-by-frame baseline is the same network with a third job.

A film is S beats of F frames; the last frame of a beat is the first of the next. A frame is the shared
autoencoder's latent (64, 8), taken as P = 16 patches of C = 32 numbers. A `Job` paints some frames of one beat, each
with two known ones laid beside it, patch by patch: `beside`, the nearest one before, and `other`, the next key or the
frame before that. x_t = t x_1 + (1 - t) x_0, x_0 ~ N(0, 1); the network says x_1 as the change since `beside`
(that it says x_1 is after Li and He, arXiv 2511.13720), so what stands still need not be painted anew.

What is told: the caption of the beat, which toys are there when it begins and when it ends, and which of them hop.
Symbols: B rows, U frames that a job paints, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.captions import ObjectTokens, cover
from engines.nn import Block, count_parameters, finish, layers_of, norm, split_heads

NET, VAE = "video/planner", "tokenizers/vae"
FRAMES = 10  # of a beat, both ends counted
KEYS = (3, 6, 9)  # t_a, t_b, t_c
SIDE, PATCH, CHANNELS = 4, 2, 8
PATCHES, NUMBERS = SIDE * SIDE, CHANNELS * PATCH * PATCH
SCALE, FREQUENCY = 1_000.0, 10_000.0
TASKS = 3


class Job(NamedTuple):
    """Frames of one beat, counted from its first one: those to be painted, and the two laid beside them."""

    task: int
    frames: tuple[int, ...]
    beside: int
    other: int | None


PLAN = Job(0, KEYS, 0, None)
FILLS = tuple(Job(1, tuple(range(a + 1, b)), a, b) for a, b in zip((0, *KEYS), KEYS))


def following(k: int, first: bool = False) -> Job:
    """Frame k from the two before it, or from one if it is the second of the film."""
    return Job(2, (k,), k - 1, None if first else k - 2)


def patches(latents: Tensor) -> Tensor:
    """(…, 64, 8) -> (…, 16, 32): each 2 x 2 places become one patch."""
    split = latents.unflatten(-2, (SIDE, PATCH, SIDE, PATCH)).transpose(-4, -3)
    return split.flatten(-3).flatten(-3, -2)


def unpatched(x: Tensor) -> Tensor:
    """The other way."""
    split = x.unflatten(-2, (SIDE, SIDE)).unflatten(-1, (PATCH, PATCH, CHANNELS))
    return split.transpose(-4, -3).flatten(-5, -2)


class Told(NamedTuple):
    """A beat's caption as the network hears it: four toys (B, 4, d), and what each patch covers (B, 16, d)."""

    toys: Tensor
    places: Tensor


class Planner(nn.Module):
    """A plain transformer over all patches of the frames to be painted; they hear each other and the caption's toys."""

    cover: Tensor

    def __init__(self, width: int, heads: int, hidden: int, layers: int):
        super().__init__()
        self.config: dict[str, Any] = {"width": width, "heads": heads, "hidden": hidden, "layers": layers}
        self.width, self.heads = width, heads
        self.before, self.after = ObjectTokens(width), ObjectTokens(width)
        self.hop = nn.Parameter(torch.randn(width) * 0.1)
        self.into = nn.Linear(3 * NUMBERS, width)
        self.place = nn.Parameter(torch.randn(PATCHES, width) * 0.1)
        self.frame = nn.Parameter(torch.randn(FRAMES, width) * 0.1)
        self.task = nn.Parameter(torch.randn(TASKS, width) * 0.1)
        self.clock_up, self.clock_down = nn.Linear(width, width), nn.Linear(width, width)
        self.blocks = nn.ModuleList(Block(width, hidden, layers) for _ in range(layers))
        self.norm = nn.Parameter(torch.ones(width))
        self.out = nn.Linear(width, NUMBERS)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("cover", cover(SIDE, SIDE), persistent=False)

    def session(self) -> Session:
        return Session(self)

    def told(self, before: Tensor, after: Tensor, hops: Tensor) -> Told:
        """Captions (B, 4, 4) at a beat's two ends, a row the same toy in both, and which toys hop (B, 4) bool."""
        toys, cells = self.before(before)
        then, cells_then = self.after(after)
        lift = hops[..., None] * self.hop
        at = F.one_hot(before[..., 0].clamp_min(0), cells.shape[1]).to(cells.dtype)
        return Told(toys + then + lift, self.cover @ (cells + cells_then + torch.einsum("boc,bod->bcd", at, lift)))

    def clock(self, t: Tensor) -> Tensor:
        """A time (B,) in [0, 1] as a vector (B, d)."""
        half = self.width // 2
        rate = FREQUENCY ** (-torch.arange(half, dtype=torch.float32, device=t.device) / half)
        angle = SCALE * t[:, None] * rate
        return self.clock_down(F.silu(self.clock_up(torch.cat([angle.cos(), angle.sin()], dim=-1))))

    def forward(
        self, task: int, frames: Tensor, x: Tensor, beside: Tensor, other: Tensor, t: Tensor, told: Told
    ) -> Tensor:
        """x_1 of x_t (B, U, P, C) at times t (B,), of frames (B or 1, U) counted from their beat's first.

        beside, other (B, P, C) are the known frames; `other` is 0 where there is none.
        """
        around = torch.cat([beside, other], dim=-1)[:, None].expand(-1, x.shape[1], -1, -1)
        h = self.into(torch.cat([x, around], dim=-1))
        h = h + (F.embedding(frames, self.frame) + self.task[task])[:, :, None] + self.place
        h = h + (told.places + self.clock(t)[:, None])[:, None]
        h = torch.cat([told.toys, h.flatten(1, 2)], dim=1)
        for layer in layers_of(self.blocks):
            q, k, v = (split_heads(y, self.heads) for y in F.linear(norm(h, layer.norm_a), layer.qkv).chunk(3, dim=-1))
            q, k = (F.layer_norm(y, y.shape[-1:]) for y in (q, k))
            h = finish(h, F.scaled_dot_product_attention(q, k, v), layer)
        said = self.out(norm(h[:, told.toys.shape[1] :], self.norm))
        return beside[:, None] + said.view(x.shape)


def walk(call: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Euler's steps from noise (B, U, P, C): after each the guess of x_1, and x_t; the last x_t is that guess.

    call(x (B, U, P, C), t (B,)) -> x_1.
    """
    x = noise
    for i in range(steps):
        x1 = call(x, noise.new_full((len(noise),), i / steps))
        # x moves along v = (x_1 - x) / (1 - t) for 1 / steps.
        x = x1 if i == steps - 1 else x + (x1 - x) / (steps - i)
        yield x1, x


class Work(NamedTuple):
    """Jobs of one kind, a row each: all that the network must know to paint them."""

    task: int
    frames: Tensor  # (B, U), counted from the beat's first
    beside: Tensor  # (B, P, C)
    other: Tensor  # (B, P, C), 0 where there is none
    before: Tensor  # (B, 4, 4): the caption where the beat begins
    after: Tensor  # (B, 4, 4): where it ends
    hops: Tensor  # (B, 4) bool
    noise: Tensor  # (B, U, P, C): x_0

    @staticmethod
    def blank(job: Job) -> Work:
        """A job on an empty table."""
        x, still = torch.zeros(1, len(job.frames), PATCHES, NUMBERS), torch.full((1, 4, 4), -1)
        hops = torch.zeros(1, 4, dtype=torch.bool)
        return Work(job.task, torch.tensor([job.frames]), x[:, 0], x[:, 0], still, still, hops, x)


class Session:
    """Whole walks with one planner. It keeps nothing between calls; every lane and every worker has its own."""

    cache_bytes = 0

    def __init__(self, net: Planner):
        self.net, self.params = net, count_parameters(net)

    def __call__(self, work: Work, steps: int, watch: Callable[[], None] = lambda: None) -> Tensor:
        """The painted frames (B, U, P, C) after so many Euler steps; `watch` is asked before each, and may raise."""
        told = self.net.told(work.before, work.after, work.hops)

        def call(x: Tensor, t: Tensor) -> Tensor:
            watch()
            return self.net(work.task, work.frames, x, work.beside, work.other, t, told)

        *_, (_, x) = walk(call, work.noise, steps)
        return x

    def reset(self) -> None:
        pass

    def warm(self) -> None:
        with torch.inference_mode():
            for job in (PLAN, FILLS[0], following(1)):
                self(Work.blank(job), 1)


NETWORKS = (Planner,)
