"""Films on their way: what is known of them, and what the network must be handed to paint more.

A reel holds B films at once: a lane has one, a claim many, and both run the same code. Frames are counted from 0; beat
s holds frames s (F - 1) … (s + 1)(F - 1), so its last frame is the first of the next. Noise is keyed by frame, so a
frame gets the same one whoever paints it, with whatever else in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engines.noise import Noise
from engines.scene_settings import held_out
from engines.video.model import FILLS, FRAMES, KEYS, NUMBERS, PATCHES, PLAN, Job, Work, following, patches, unpatched
from engines.worlds import scenes

STRIDE = FRAMES - 1


class Spot(NamedTuple):
    """A job, and the beat that it belongs to."""

    beat: int
    job: Job

    @property
    def frames(self) -> list[int]:
        """The film's frames that it paints."""
        return [self.beat * STRIDE + k for k in self.job.frames]

    @property
    def reads(self) -> list[int]:
        """The film's frames that it looks at."""
        known = (self.job.beside, self.job.other)
        return sorted({self.beat * STRIDE + k for k in known if k is not None})


def plan(beat: int) -> Spot:
    """The keys of a beat, all three together, from its first frame."""
    return Spot(beat, PLAN)


def fills(beat: int) -> list[Spot]:
    """The gaps of a beat, each from the two keys at its ends."""
    return [Spot(beat, job) for job in FILLS]


def next_frames(beats: int) -> list[Spot]:
    """The whole film, one frame after the other."""
    return [Spot(beat, following(k, beat == 0 and k == 1)) for beat in range(beats) for k in range(1, FRAMES)]


class Reel:
    """x (B, T, P, C): the frames painted so far; `starts`: first frames of beats that were read anew."""

    def __init__(
        self, seeds: Sequence[int], beats: int, first: Tensor, noises: Sequence[Noise] | None = None,
        temperature: float = 1.0,
    ):
        """first (B, 64, 8): the latents of the frame that is given. temperature: how strong the noise is."""
        self.beats, self.noises, self.temperature = beats, noises or [Noise(seed) for seed in seeds], temperature
        self.objects, self.hops = scenes.script([held_out(seed) for seed in seeds], beats)
        self.x = torch.zeros(len(seeds), beats * STRIDE + 1, PATCHES, NUMBERS)
        self.x[:, 0] = patches(first)
        self.starts: dict[int, Tensor] = {}

    def at(self, beat: int, k: int | None) -> Tensor:
        """Frame k of a beat as its painter sees it, (B, P, C)."""
        if k is None:
            return torch.zeros_like(self.x[:, 0])
        return self.starts[beat] if k == 0 and beat in self.starts else self.x[:, beat * STRIDE + k]

    def work(self, spots: Sequence[Spot]) -> Work:
        """What the network is handed for spots of one kind: a row for every spot and film, films running fastest."""
        beats = [spot.beat for spot in spots]
        films = len(self.x)
        draws = [noise.normal("denoise", spot.frames, (PATCHES, NUMBERS)) for spot in spots for noise in self.noises]
        return Work(
            task=spots[0].job.task,
            frames=torch.tensor([spot.job.frames for spot in spots]).repeat_interleave(films, 0),
            beside=torch.cat([self.at(spot.beat, spot.job.beside) for spot in spots]),
            other=torch.cat([self.at(spot.beat, spot.job.other) for spot in spots]),
            before=self.objects[:, beats].transpose(0, 1).flatten(0, 1),
            after=self.objects[:, [beat + 1 for beat in beats]].transpose(0, 1).flatten(0, 1),
            hops=self.hops[:, beats].transpose(0, 1).flatten(0, 1),
            noise=self.temperature * torch.stack([torch.from_numpy(draw).float() for draw in draws]),
        )

    def put(self, spots: Sequence[Spot], painted: Tensor) -> None:
        """Frames (spots · B, U, P, C) as `work` ordered them take their places."""
        for spot, x in zip(spots, painted.unflatten(0, (len(spots), -1)), strict=True):
            self.x[:, spot.frames] = x

    def moved(self, spots: Sequence[Spot]) -> dict[int, float]:
        """Of the first film's painted frames: root mean square distance of the latents to the frame before them."""
        away = {spot: (self.x[0, spot.frames] - self.at(spot.beat, spot.job.beside)[0]) for spot in spots}
        return {frame: round(float(x.square().mean().sqrt()), 3)
                for spot, apart in away.items() for frame, x in zip(spot.frames, apart, strict=True)}

    def latents(self, frames: Sequence[int]) -> Tensor:
        """(B · n, 64, 8) of these frames, as the decoder takes them; frames run fastest."""
        return unpatched(self.x[:, list(frames)].flatten(0, 1))

    def told(self, frame: int) -> Tensor:
        """The caption (B, 4, 4) that a frame must show: a toy that slides is where most of it is."""
        return self.objects[:, scenes.nearest_joint(frame, self.beats * STRIDE, self.beats)]


def keys_of(beats: int) -> list[int]:
    """All planned frames of a film."""
    return [beat * STRIDE + k for beat in range(beats) for k in KEYS]


def given(seeds: Sequence[int], vae: Any) -> tuple[Tensor, Tensor]:
    """The first frames of films of these seeds: pictures (B, 3, 64, 64) and latents (B, 64, 8)."""
    where = [held_out(seed) for seed in seeds]
    image = scenes.render(scenes.captions(where), where).image
    with torch.inference_mode():
        return image, torch.cat([vae.encode(part) for part in image.split(32)])
