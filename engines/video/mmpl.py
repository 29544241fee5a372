"""Plan the keys of every beat, then fill all gaps at once; and the way that most others go, frame by frame.

Source: Macro-from-Micro Planning (arXiv 2508.03334). Symbols: S beats (the paper's segments) of F frames, x_{s,1} the
first frame of beat s, keys x_{t_a}, x_{t_b}, x_{t_c} with t_c = F.

Micro plan: the three keys of a beat are painted jointly from x_{s,1}. Macro plan: x_{s+1,1} is the last key of beat s,
so S plans in a row span the film. Content: every gap is tied to the keys at its two ends and to nothing else, so all
gaps of all beats can be painted at once, in one batch here or by workers (`crew`).

Our reading, since we could see the abstract and summaries only: where keys stand (every third frame), the number of
steps, and how a key is read anew before it starts the next beat: decoded to pixels and encoded again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import lru_cache
from math import nan
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engines.events import Begin, Commit, Event, Measure, Note, Phase, Steps, spans
from engines.noise import Noise
from engines.painting import picture
from engines.runtime import Meter, Net
from engines.video.model import KEYS, NET, VAE, patches, unpatched
from engines.video.reel import STRIDE, Reel, Spot, fills, given, keys_of, next_frames, plan
from engines.worlds import scenes

CANVAS, ENCODER = "film", f"{VAE}.encoder"
QUALITY = 50  # a film has many frames, and a recorded run little room
ROLES = {NET: "target", VAE: "decoder", ENCODER: "encoder"}
Painting = Generator[Event, None, Tensor]


@lru_cache(maxsize=8)
def opening(seed: int, vae: Any) -> tuple[Tensor, Tensor]:
    """The first frame of a film, (1, 3, 64, 64) and as latents, drawn once for all lanes."""
    return given([seed], vae)


class Hands(NamedTuple):
    """The networks of who works on a film. Two workers share none: a Net counts the calls of one."""

    net: Net
    vae: Net
    encoder: Net


class Studio:
    """One film in the making: its reel, its networks, and the events that say what is done to it."""

    def __init__(self, s: SimpleNamespace, noise: Noise, meter: Meter):
        self.s, self.meter = s, meter
        vae = meter.net(VAE)
        encoder = meter.nets.setdefault(ENCODER, Net(ENCODER, vae.session.encode, meter))
        self.hands = Hands(meter.net(NET), vae, encoder)
        with meter.preview():  # it is given
            self.image, first = opening(noise.seed, vae.session)
        self.reel = Reel([noise.seed], s.beats, first, [noise], s.temperature)

    def begin(
        self, title: str, keys: bool, more_nets: Sequence[tuple[str, str]] = (), **more: Any
    ) -> Iterator[Event]:
        """The empty film with its first frame, and what it is about. more_nets: (name, role) of further networks."""
        reel, meter = self.reel, self.meter
        frames = reel.x.shape[1]
        canvas = {"id": CANVAS, "kind": "frames", "shape": [frames, 1, 1], "beats": reel.beats,
                  "keys": keys_of(reel.beats) if keys else []}
        nets = [meter.card(*role) for role in (*ROLES.items(), *more_nets)]
        yield Begin(title=title, canvases=[canvas | more], nets=nets, given={"cells": [0], "values": [None]})
        yield from self.previews([0], self.image)
        text = scenes.caption_text(scenes.sort_objects(reel.objects[:, 0])[0])
        yield Note(key="mmpl.asked", args={"caption": text, "beats": reel.beats, "frames": frames},
                   text=f"A film of {reel.beats} beats in {frames} frames. The first frame is given: {text}.")

    def paint(self, spots: Sequence[Spot], hands: Hands | None = None) -> Painting:
        """One walk of the network for spots of one kind; returns the new frames in pixels (n, 3, 64, 64).

        A frame's value is how far it is from the known frame before it. To decode frames is a part of making a film,
        so it is on the clock.
        """
        net, vae, _ = hands or self.hands
        painted = net(self.reel.work(spots), self.s.steps, self.meter.ask, nfe=self.s.steps, calls=self.s.steps)
        frames = frames_of(spots)
        reads = sorted({frame for spot in spots for frame in spot.reads})
        yield net.forward(reads=reads, computes=frames, predicts=frames, mode="step")
        self.reel.put(spots, painted)
        moved = self.reel.moved(spots)
        images: Tensor = vae(self.reel.latents(frames))
        yield vae.forward(reads=frames, computes=frames, predicts=[], mode="commit")
        yield Commit(cells=spans(frames), values=[moved[frame] for frame in frames], p=[nan] * len(frames),
                     origin="sampled")
        return images

    def previews(self, frames: Sequence[int], images: Tensor) -> Iterator[Event]:
        for frame, image in zip(frames, images, strict=True):
            if self.s.previews:
                with self.meter.preview():
                    event = picture("frame", frame, image, quality=QUALITY)
                yield event

    def read_anew(self, beat: int, hands: Hands | None = None) -> Iterator[Event]:
        """The frame that starts this beat, decoded and encoded again, as the encoder would have written it."""
        if not beat or not self.s.anew:
            return
        _, vae, encoder = hands or self.hands
        frame = beat * STRIDE
        image = vae(unpatched(self.reel.x[:, frame]))
        yield vae.forward(reads=[frame], computes=[frame], predicts=[], mode="commit")
        self.reel.starts[beat] = patches(encoder(image))
        yield encoder.forward(reads=[frame], computes=[frame], predicts=[], mode="commit")

    def plan(self, beat: int, hands: Hands | None = None) -> Painting:
        """The keys of a beat."""
        yield from self.read_anew(beat, hands)
        return (yield from self.paint([plan(beat)], hands))

    def staged(self, unit: str, index: int, of: int, frames: list[int], work: Painting) -> Iterator[Event]:
        """A piece of work between the two ends of its Phase, and its frames."""
        yield Phase(unit=unit, index=index, of=of, state="start", cells=spans(frames))
        images = yield from work
        yield Phase(unit=unit, index=index, of=of, state="end", cells=spans(frames))
        yield from self.previews(frames, images)

    def end(self) -> Iterator[Event]:
        """The film at a glance: the frames in which its beats begin and end, side by side."""
        if self.s.previews:
            with self.meter.preview(), torch.inference_mode():
                joints = self.reel.latents(range(0, self.reel.x.shape[1], STRIDE))
                glance = torch.cat(list(self.hands.vae.session.decode(joints)), dim=-1)
                event = picture("picture", self.reel.x.shape[1], glance, quality=QUALITY)
            yield event

    def summary(self, links: int, chain: int, calls: int | None = None) -> dict[str, object]:
        """links: how many painted frames hang in a row, at most; chain: evaluations that must wait for one another."""
        return {"frames": self.reel.x.shape[1], "beats": self.reel.beats, "calls": calls or self.hands.net.calls,
                "links": links, "calls in a row": chain}


def frames_of(spots: Sequence[Spot]) -> list[int]:
    """All frames that these spots paint, in the order of the film; as `Reel.latents` wants them."""
    return sorted(frame for spot in spots for frame in spot.frames)


def mmpl(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Plan, then fill. s: beats, steps, temperature, anew, gaps, previews."""
    studio = Studio(s, noise, meter)
    yield from studio.begin("Keys first", keys=True)
    for beat in range(s.beats):
        yield from studio.staged("segment", beat, s.beats, plan(beat).frames, studio.plan(beat))
    keys = s.beats * len(KEYS)
    yield Note(key="mmpl.planned", args={"keys": keys, "plans": s.beats},
               text=f"{keys} keys from {s.beats} plans. A gap needs its two ends only, so all are filled at once.")
    gaps = [spot for beat in range(s.beats) for spot in fills(beat)]
    groups = [gaps] if s.gaps == "together" else [[gap] for gap in gaps]
    for i, group in enumerate(groups):
        yield from studio.staged("round", i, len(groups), frames_of(group), studio.paint(group))
    yield from studio.end()
    yield Measure(name="links", value=s.beats + 1, unit="links to the last frame")
    return studio.summary(s.beats + 1, (s.beats + 1) * s.steps)


def frame_by_frame(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Every frame from the two before it. s: beats, steps, temperature, anew, previews."""
    studio = Studio(s, noise, meter)
    yield from studio.begin("Frame by frame", keys=False)
    spots = next_frames(s.beats)
    for spot in spots:
        if spot.job.beside == 0:
            yield Phase(unit="segment", index=spot.beat, of=s.beats, state="start")
            yield from studio.read_anew(spot.beat)
        images = yield from studio.paint([spot])
        if spot.job.frames[-1] == STRIDE:
            yield Phase(unit="segment", index=spot.beat, of=s.beats, state="end")
        yield from studio.previews(spot.frames, images)
    yield from studio.end()
    yield Measure(name="links", value=len(spots), unit="links to the last frame")
    return studio.summary(len(spots), len(spots) * s.steps)
