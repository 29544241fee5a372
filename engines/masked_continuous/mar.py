"""Masked autoregression (MAR): sets of places in a chosen order, each place drawn by a small diffusion of its own.

Source: Li et al., arXiv 2406.11838, section 3.4 and the official sampler. Symbols: L places, K sets, order = which
place comes when, m places still hidden after a set, z what the backbone says of a place, S inner steps, x_0 a clean
token, w the guidance of a set, tau the temperature.

Outer loop: the backbone reads the places that are done and says z for all others; the next set is taken. Set sizes
follow a cosine: few places while little is known, many at the end. Inner loop: the head turns noise into tokens of that
set in S steps, each place by itself, given z. Places of one set do not see each other.

Differs: the order is a setting (the paper's is random); noise is keyed by place; the inner steps start a little below
the noisiest one (see `diffloss.TOP`).
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from math import nan
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from engines.events import Begin, Commit, Event, Measure, Note, Phase, Steps, spans
from engines.masked_continuous import canvas
from engines.masked_continuous.canvas import ORDER, PLACES, SIDE, at
from engines.masked_continuous.diffloss import ours
from engines.masked_continuous.model import NET, VAE
from engines.masked_continuous.sampler import Rule, start_of, steps_of
from engines.masked_continuous.sets import guidance_at, lengths, sets_of
from engines.noise import Noise
from engines.painting import Painter
from engines.runtime import Meter
from engines.scene_settings import asked
from engines.worlds import scenes

# Of so many sets, so many moments of the inner loop are shown: what a recorded run has room for.
SHOWN_SETS, SHOWN_STEPS = 4, 3
EVERY = 2  # sets between two pictures


def mar(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Draw 64 continuous tokens. s: caption, order, sets, inner, guidance, schedule, temperature, previews."""
    net, head = meter.net(NET), canvas.head_of(meter)
    paint = Painter(meter, VAE, on=s.previews)
    rule, objects = canvas.rule_of(s), asked(s.caption, noise.seed)
    # The paper's permutation is consumed from its end, so it is the order of drawing, reversed.
    sets = sets_of(ORDER.cells_of(s.order, SIDE, SIDE, noise)[::-1], rule.sets)
    yield Begin(title="Sets of continuous tokens", canvases=[{"id": "tokens", "kind": "grid", "shape": [SIDE, SIDE]}],
                nets=[meter.card(NET, "target"), meter.card(head.name, "head"), *paint.cards()])
    yield canvas.caption_note(objects)
    latents, done = torch.zeros(1, PLACES, net.session.head.head.channels), list[int]()
    K = len(sets)
    for k, (cells, m) in enumerate(zip(sets, lengths(PLACES, K), strict=True)):
        cells = sorted(cells)
        yield Phase(unit="set", index=k, of=K, state="start", cells=spans(cells))
        visible = torch.tensor([done], dtype=torch.long)
        z = net(at(latents, done), visible, objects, rule.pair, torch.tensor([cells]), nfe=1 + rule.pair)
        yield net.forward(reads=done, computes=range(PLACES), predicts=cells, mode="step")
        w = guidance_at(rule.guidance, rule.schedule, m, PLACES)
        shown = paint if k % max(1, -(-K // SHOWN_SETS)) == 0 else None
        tokens = yield from _denoise(z.flatten(0, 1), cells, latents, w, rule, noise, meter, shown)
        latents[0, cells] = tokens
        yield Commit(cells=spans(cells), values=[None] * len(cells), p=[nan] * len(cells), origin="sampled")
        yield _told(k, K, cells, done)
        done = sorted(done + cells)
        yield Measure(name="guidance", value=w, unit="", x=k)
        yield Measure(name="places_a_call", value=len(done) / net.calls, unit="places per call", x=net.calls)
        if k + 1 < K and k % EVERY:
            yield from paint.preview("picture", k, partial(_decode, latents.clone()))
        yield Phase(unit="set", index=k, of=K, state="end", cells=spans(cells))
    yield from paint.final(latents, list(range(PLACES)), K)
    return {"cells": PLACES, "sets": K, "calls": net.calls, "nfe": net.nfe, "head_calls": head.calls,
            "objects": scenes.caption_text(objects[0])}


def _denoise(
    z: Tensor, cells: list[int], latents: Tensor, w: float, rule: Rule, noise: Noise, meter: Meter,
    paint: Painter | None,
) -> Generator[Event, None, Tensor]:
    """Tokens (n, C) of one set from z (n or 2n, e): all inner steps, one Forward. Some of them are shown."""
    head = canvas.head_of(meter)
    channels, S = latents.shape[-1], rule.inner
    start, steps = start_of(noise, cells, channels), steps_of(noise, cells, S, channels)
    moments = {S - 1 - round(S * (turn + 1) / (SHOWN_STEPS + 1)) for turn in range(SHOWN_STEPS)} if paint else set()
    believed: dict[int, Tensor] = {}

    def watch(i: int, x_0: Tensor) -> None:
        meter.ask()
        if i in moments:
            believed[i] = x_0

    x = head(z, start, steps, ours(S), w, rule.tau, watch, nfe=S * (1 + rule.pair), calls=S)
    yield head.forward(reads=[], computes=cells, predicts=cells, mode="step")
    for i, x_0 in believed.items():
        assert paint
        canvas_now = latents.clone()
        canvas_now[0, cells] = x_0
        yield from paint.preview("denoise", S - i, partial(_decode, canvas_now))
    return x


def _decode(latents: Tensor, tokenizer: Any) -> Tensor:
    """A picture of what is known; a place that is not holds the mean of all tokens, which is 0."""
    return tokenizer.decode(latents)


def _told(k: int, K: int, cells: list[int], done: list[int]) -> Note:
    """One sentence about the set that was just drawn."""
    n, verb = canvas.counted(cells), "sees" if len(cells) == 1 else "see"
    if not done:
        text = f"{n}, from the caption alone."
    elif k + 1 == K:
        text = f"{n} at the end, with {len(done)} already there to look at."
    else:
        text = f"{n} in one go. " + ("It" if len(cells) == 1 else "They") + f" {verb} the {len(done)} before"
        text += "." if len(cells) == 1 else ", not each other."
    return Note(key="mar.set", args={"set": k + 1, "places": len(cells), "before": len(done)}, text=text,
                cells=spans(cells))
