"""The recipe of the denoiser: every step does all three jobs on the same beats.

A film's beats are independent draws, so films of BEATS beats teach what longer ones need: a beat alone, and a beat
with frames before it. Loss of a job: mean over its unknown frames of (x_1 - what is said)² / max(1 - t, LEAST), t even
in [0, 1]. Known frames get white noise of strength up to SPOILED in training, as in diffusion forcing and its kin, so
that the network can live with its own mistakes. The next-frame job gets as many rows as planning and filling together:
the baseline is not to suffer from a smaller share.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from engines import weights
from engines.tokenizers.cache import folder_of, kept
from engines.training import Recipe
from engines.video import claims
from engines.video.model import (
    FILLS,
    FRAMES,
    NET,
    PLAN,
    VAE,
    Job,
    Planner,
    Told,
    following,
    patches,
)
from engines.worlds import scenes

BATCH, BEATS, HISTORY = 16, 2, 1
CHUNK, CHUNKS, DRAWN = 1_024, 10, 32
SPOILED, LEAST = 0.3, 0.2
JUDGED = 24


@torch.inference_mode()
def shot(seeds: range, beats: int) -> tuple[Tensor, Tensor, Tensor]:
    """(latents (N, T, 64, 8), captions (N, beats + 1, 4, 4), hops (N, beats, 4)) of the films of these seeds."""
    net, parts = cast(Any, weights.load(VAE)), []
    for start in range(0, len(seeds), DRAWN):
        film = scenes.film(seeds[start : start + DRAWN], beats, FRAMES)
        # Pixels' channels side by side: the encoder is half again as fast so.
        frames = film.images.flatten(0, 1).contiguous(memory_format=torch.channels_last).split(DRAWN)
        written = torch.cat([net.encode(part) for part in frames])
        parts.append((written.view(*film.images.shape[:2], *written.shape[1:]), film.objects, film.hops))
    latents, objects, hops = (torch.cat(part) for part in zip(*parts))
    return latents, objects, hops


def chunk(index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Films index · CHUNK … of the training range."""
    first = scenes.TRAIN.start + index * CHUNK
    latents, objects, hops = kept(f"{folder_of(VAE)}-films", index, lambda: shot(range(first, first + CHUNK), BEATS))
    return latents, objects, hops.bool()


def beats(part: int) -> Iterator[tuple[Tensor, ...]]:
    """Batches of the part-th piece of an endless stream: patches (b, H + 10, 16, 32), captions before and after, hops.

    H frames before the beat's first: 0 where the film begins with it, else HISTORY. All of a batch begin alike.
    """
    latents, objects, hops = chunk(part % CHUNKS)
    order = np.random.default_rng(part)
    picks = [(beat, pick) for beat in range(BEATS) for pick in order.permutation(len(latents)).reshape(-1, BATCH)]
    for i in order.permutation(len(picks)):
        beat, pick = picks[i]
        first = beat * (FRAMES - 1)
        frames = latents[pick, max(0, first - HISTORY) : first + FRAMES]
        yield patches(frames), objects[pick, beat], objects[pick, beat + 1], hops[pick, beat]


def which(job: Job) -> tuple[int, Tensor]:
    """What the network is told of a job: its kind and its frames (1, U)."""
    return job.task, torch.tensor([job.frames])


def job_loss(net: Planner, job: Job, x: Tensor, history: int, told: Told, generator: torch.Generator) -> Tensor:
    """Mean squared error of x_1, weighted as above; x (B, history + 10, 16, 32) are the frames of a beat."""

    def drawn(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator).to(x.device)

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator).to(x.device)

    def known(k: int | None, spoiled: Tensor) -> Tensor:
        frame = x[:, (k or 0) + history]
        return torch.zeros_like(frame) if k is None else frame + spoiled * normal(frame)

    t, spoiled = drawn(len(x)), SPOILED * drawn(len(x), 1, 1)
    at, x1 = t[:, None, None, None], x[:, [k + history for k in job.frames]]
    ends = known(job.beside, spoiled), known(job.other, spoiled)
    said = net(*which(job), at * x1 + (1 - at) * normal(x1), *ends, t, told)
    return ((said - x1).square() / (1 - at).clamp_min(LEAST)).mean()


def jobs_of(history: int, generator: torch.Generator) -> list[Job]:
    """Plan, one gap, and two frames to be painted from those before them."""

    def pick(n: int) -> int:
        return int(torch.randint(n, (), generator=generator))

    ks = [1 + pick(FRAMES - 1) for _ in range(2)]
    return [PLAN, FILLS[pick(len(FILLS))], *(following(k, k + history == 1) for k in ks)]


def loss(network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, float]:
    net, (x, before, after, hops) = cast(Planner, network), batch
    history = x.shape[1] - FRAMES
    told = net.told(before, after, hops)
    parts = [job_loss(net, job, x, history, told, generator) for job in jobs_of(history, generator)]
    return sum(parts, x.new_zeros(())) / len(parts), len(x) / BATCH


@torch.inference_mode()
def judge(network: nn.Module, count: int = JUDGED) -> dict[str, float]:
    """Held-out loss by job; and of films made both ways: toys that the scoring judge finds right in their last beats,
    in percent, and FD-mini of these frames to the true ones, with first frames read anew and not."""
    net = cast(Planner, network)
    latents, objects, hops = _held_out(count)
    x, generator, figures = patches(latents), torch.Generator().manual_seed(0), {}
    for name, job in (("plan", PLAN), ("fill", FILLS[0]), ("next", following(5))):
        told = net.told(objects[:, 0], objects[:, 1], hops[:, 0])
        figures[name] = sum(float(job_loss(net, job, x, 0, told, generator)) for _ in range(8)) / 8
    seen = claims.each_way(net, range(count), claims.WAYS | {"keys first, read anew": True})
    late = claims.window(claims.BEATS - claims.LATE, claims.LATE)
    for way, own in seen.items():
        key = way.replace(",", "").replace(" ", "_")
        figures[f"right_{key}"] = float(claims.right(own).mean())
        figures[f"fd_{key}"] = claims.fd(own, seen["true films"], late)
    return figures


@cache
def _held_out(count: int) -> tuple[Tensor, Tensor, Tensor]:
    return shot(range(scenes.VALIDATION.start, scenes.VALIDATION.start + count), 1)


def planner() -> Planner:
    return Planner(width=96, heads=4, hidden=208, layers=6)


RECIPES = {
    NET: Recipe(NET, planner, beats, loss, judge, steps=20_000, learning_rate=4e-3, muon=True,
                after=(VAE, "scenes/judge_scoring")),
}
