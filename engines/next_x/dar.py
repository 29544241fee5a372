"""Next-token decoding that denoises: eight codes are drawn, one denoising step is made, eight more, the next step.

Source: D-AR (Gao and Shou, arXiv 2505.23660). Symbols: x_t the canvas at network time t (0 is noise), g a group of
codes, v the velocity that the denoiser says when told group g, x̂_1 = x_t + (1 - t) v the picture that it would jump to.
The codes are drawn by `raster.raster.write`, the turn of plain next-token decoding: nothing in it knows of groups or of
noise. Steps are Adams-Bashforth's as in the official code, or Euler's.

Each x̂_1 is shown as soon as its group is full. It is what the run believes then, not the finished picture blurred: the
codes that decide the rest are not drawn yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor

from engines.events import Begin, Event, Measure, Note, Phase, Steps
from engines.exhibit import Int
from engines.next_x.model import NET, STD, TOKENIZER, Sequential, advance
from engines.noise import Noise
from engines.painting import picture
from engines.raster import canvas as sheet
from engines.raster.canvas import Canvas
from engines.raster.raster import write
from engines.raster.sampler import ROWS
from engines.runtime import Meter, Net
from engines.scene_settings import Objects, asked, held_out
from engines.worlds import scenes

SIZE, TOKENS, GROUPS = 64, 64, 8
TOLD = TOKENS // GROUPS
# Of a JPEG of noise, which is only looked at and else would be most of a recorded run.
ROUGH = 32

KEEP = Int(name="keep", default=0, min=0, max=GROUPS, label="Keep groups", unit="groups",
           help="Take the first groups of codes from another picture and go on with this caption. The first ones hold "
           "what stands where.")
OTHER = Objects(name="other", label="Other picture", advanced=True,
                help="What stands in the picture that groups are kept from; empty takes the next seed's.")


@dataclass
class Belt(Canvas):
    """A canvas whose codes stand in a line of groups."""

    def spot(self, cell: int) -> tuple[str, str, dict[str, int]]:
        group, code = cell // TOLD + 1, cell % TOLD + 1
        return "d-ar.pull", f"Group {group}, code {code}", {"group": group, "code": code}


@dataclass
class Pixels:
    """The canvas in pixels: x_t (1, 3, 64, 64), the step that comes next, the velocity of the one before."""

    x: Tensor
    k: int = 0
    before: Tensor | None = None


def start(noise: Noise) -> Tensor:
    """x_0: (1, 3, 64, 64)."""
    return torch.from_numpy(noise.normal("denoise", [0], (3, SIZE, SIZE))).float()


def starts(seeds: Sequence[int]) -> Tensor:
    """x_0 (n, 3, 64, 64) of many lanes."""
    return torch.cat([start(Noise(seed)) for seed in seeds])


@torch.inference_mode()
def decoded(tokenizer: Sequential, ids: Tensor, seeds: Sequence[int], multistep: bool = True) -> Tensor:
    """Pictures (n, 3, 64, 64) of codes (n, 64), clamped; each starts from the noise of its seed, as in the lane."""
    made = [tokenizer.decode(a, b, multistep) for a, b in zip(ids.split(ROWS), starts(seeds).split(ROWS), strict=True)]
    return torch.cat(made).clamp(-1, 1)


def kept(s: SimpleNamespace, seed: int, tokenizer: Sequential) -> tuple[list[tuple[int, int]], Tensor | None]:
    """(cell, code) of the first s.keep groups of another picture, and that picture (1, 3, 64, 64), if any are kept."""
    if not s.keep:
        return [], None
    image = scenes.render(asked(s.other, seed + 1, OTHER), [held_out(seed + 1)]).image
    with torch.inference_mode():
        ids = tokenizer.encode(image)[0, : s.keep * TOLD].tolist()
    return list(enumerate(ids)), image


def d_ar(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Write 64 codes and make 8 denoising steps on the way.

    s: caption, guidance, temperature, top_k, top_p, sampler, keep, other, previews.
    """
    net, denoiser = meter.net(NET), meter.net(TOKENIZER)
    known, other = kept(s, noise.seed, denoiser.session)
    canvas = Belt(asked(s.caption, noise.seed), list(range(TOKENS)), known, len(known))
    pixels, rule = Pixels(start(noise)), sheet.rule_of(s)
    yield Begin(
        title="Group by group",
        canvases=[{"id": sheet.CANVAS, "kind": "list", "shape": [TOKENS], "groups": GROUPS}],
        nets=[meter.card(NET, "target"), meter.card(TOKENIZER, "decoder")],
        given={"cells": [c for c, _ in known], "values": [v for _, v in known]} if known else None,
    )
    yield from look(meter, s.previews, "noisy", 0, pixels.x, 0.0)
    if other is not None:
        with meter.preview():
            event = picture("other", 0, other[0])
        yield event
        yield Note(key="d-ar.kept", args={"groups": s.keep},
                   text=f"The first {s.keep} of {GROUPS} groups are those of another picture.")
    yield sheet.caption_note(canvas)
    for g in range(GROUPS):
        yield Phase(unit="group", index=g, of=GROUPS, state="start", cells=list(range(g * TOLD, (g + 1) * TOLD)))
        while len(canvas.known) < (g + 1) * TOLD:
            yield from write(net, canvas, rule, noise)
        yield from denoise(pixels, canvas.values(), denoiser, meter, s)
        yield Phase(unit="group", index=g, of=GROUPS, state="end")
    with meter.preview():
        event = picture("picture", GROUPS, pixels.x[0] / STD, lossless=True)
    yield event
    if canvas.pull:
        values = [gain for _, gain in canvas.pull]
        yield Measure(name="pull", unit="nats", value=sum(values) / len(values), cells=[c for c, _ in canvas.pull],
                      values=values)
    return sheet.summary(canvas, net, net.calls) | {"denoising steps": denoiser.calls}


def denoise(
    pixels: Pixels, ids: Tensor, denoiser: Net, meter: Meter, s: SimpleNamespace
) -> Iterator[Event]:
    """The denoising step whose group of codes (1, n) is full by now; then what the canvas and the jump look like."""
    tokenizer, k, stop = denoiser.session, pixels.k, ids.shape[1]
    t, after = tokenizer.times()[k : k + 2]
    x1, v = denoiser(pixels.x, ids, k)
    yield denoiser.forward(reads=range(stop), computes=range(stop), predicts=[], mode="commit")
    multistep = s.sampler == "ab2"
    pixels.x = advance(pixels.x, v, pixels.before if multistep else None, after - t)
    pixels.k, pixels.before = k + 1, v
    yield Measure(name="time", value=after, unit="of the way from noise", x=k + 1)
    yield from look(meter, s.previews, "picture", k, x1, 1.0)
    if k + 1 < GROUPS:
        yield from look(meter, s.previews, "noisy", k + 1, pixels.x, after)


def look(meter: Meter, on: bool, name: str, level: int, x: Tensor, t: float) -> Iterator[Event]:
    """Show x_t (1, 3, 64, 64), off the clock, at a strength that fills the range: noise has 1, pictures have STD."""
    if not on:
        return
    with meter.preview():
        event = picture(name, level, x[0] / (t * STD + 1 - t), quality=ROUGH if name == "noisy" else None)
    yield event
