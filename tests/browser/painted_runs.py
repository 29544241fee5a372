"""Runs of the picture lanes made without any network: real scenes, cut into codes by their nearest patch.

The page must draw whatever obeys `events.check`, so its tests do not wait for weights. A code is one of 512 patches
of 8 x 8 pixels taken from other scenes; a partial picture shows the patches that are known and grey elsewhere.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from engines.events import Begin, Commit, Done, Event, Forward, Measure, Note, Phase, check, spans, write_trace
from engines.painting import picture
from engines.worlds import scenes

SCALES = (1, 2, 3, 4, 6, 8)
CODES = 512
ASKED = "a large pink cube at the top left, a small teal ring in the middle"


def patches(image: Tensor) -> Tensor:
    """(3, 64, 64) -> (64, 192): its 8 x 8 squares of 8 x 8 pixels, row by row."""
    return F.unfold(image[None], 8, stride=8)[0].T


def codebook() -> Tensor:
    """(512, 192): a spread of patches from scenes that no run here shows."""
    pool = torch.cat([patches(i) for i in scenes.draw(range(900, 964)).image])
    keep = pool.std(dim=1).argsort(descending=True)
    return pool[keep[torch.linspace(0, len(keep) - 1, CODES).long()]]


def sheet(codes: Tensor) -> bytes:
    """All codes as one PNG, 32 to a row."""
    pixels = ((codes.view(CODES // 32, 32, 3, 8, 8) + 1) * 127.5).round().to(torch.uint8)
    flat = pixels.permute(0, 3, 1, 4, 2).reshape(CODES // 32 * 8, 256, 3).numpy()
    file = io.BytesIO()
    Image.fromarray(flat).save(file, "PNG")
    return file.getvalue()


class Run:
    """Collects the events of one lane and stamps them."""

    def __init__(self, lane: str, net: str, codes: Tensor, cells: int):
        self.lane, self.net, self.codes, self.cells = lane, net, codes, cells
        self.events: list[Event] = []
        self.t = 0.0
        self.calls: dict[str, int] = {}

    def say(self, event: Event, ms: float = 0.0) -> None:
        self.t += ms
        self.events.append(replace(event, lane=self.lane, n=len(self.events), t=round(self.t, 4)))

    def begin(self, title: str, canvas: dict[str, Any], nets: list[tuple[str, str]], given: Any = None) -> None:
        cards = [{"id": i, "role": r, "params": 1_100_000, "bytes": 1_150_000} for i, r in nets]
        self.say(Begin(title=title, canvases=[canvas], nets=cards, given=given))

    def forward(self, net: str, ms: float, reads: list[int], computes: list[int], predicts: list[int],
                calls: int = 1, mode: str = "step") -> None:
        self.calls[net] = self.calls.get(net, 0) + calls
        self.say(Forward(net=net, mode=mode, reads=spans(reads), computes=spans(computes), predicts=spans(predicts),
                         calls=self.calls[net], nfe=2 * self.calls[net], ms=ms), ms)

    def charts(self, wanted: Tensor) -> tuple[int, float, float, dict[str, Any]]:
        """(code, its p, entropy, dists) of a square (192,): near patches are likely, guidance sharpens."""
        far = (self.codes - wanted).pow(2).mean(dim=1)
        code = int(far.argmin())
        soft, sharp = (torch.softmax(-far * k, dim=0).numpy().astype(float) for k in (900.0, 2200.0))

        def top(p: np.ndarray) -> dict[str, Any]:
            ids = [int(i) for i in p.argsort()[::-1][:5]]
            return {"top": [[i, float(p[i])] for i in ids], "rest": max(0.0, float(1 - p[ids].sum()))}

        entropy = float(-(sharp[sharp > 0] * np.log(sharp[sharp > 0])).sum())
        return code, float(sharp[code]), max(entropy, 0.0), {"conditional": top(soft), "guided": top(sharp)}

    def commit(self, cells: list[int], wanted: Tensor, dists: bool = True, heard: bool = False) -> None:
        """wanted: (cells, 192). heard: neighbours gave opinions; the upper one of odd cells wants another code."""
        rows = [self.charts(w) for w in wanted]
        charts = {k: [r[3][k] for r in rows] for k in ("conditional", "guided")} if dists else None
        if heard:
            best = [{"top": r[3]["guided"]["top"][:2], "rest": 0.1} for r in rows]
            other = [b | {"top": b["top"][::-1]} if c % 2 else b for c, b in zip(cells, best, strict=True)]
            charts = {"left": [b if c % 8 else None for c, b in zip(cells, best, strict=True)],
                      "above": [o if c >= 8 else None for c, o in zip(cells, other, strict=True)],
                      "guided": [r[3]["guided"] for r in rows]}
        self.say(Commit(cells=spans(cells) if cells == sorted(cells) else list(cells), values=[r[0] for r in rows],
                        p=[r[1] for r in rows], origin="sampled", entropy=[r[2] for r in rows], dists=charts), 0.1)

    def done(self, **summary: Any) -> list[Event]:
        self.say(Done(reason="finished", summary=summary))
        check(self.events)
        return self.events


def partial(image: Tensor, known: list[int]) -> Tensor:
    """The squares that are known, softened at their edges as a decoder would; grey elsewhere."""
    mask = torch.zeros(1, 1, 8, 8)
    mask.view(-1)[known] = 1
    mask = F.avg_pool2d(F.interpolate(mask, 64), 3, 1, 1)[0]
    return image * mask + 0.25 * (1 - mask)


def grid(lane: str, title: str, image: Tensor, codes: Tensor, order: list[int], every: int = 4) -> list[Event]:
    """One square a call, in this order."""
    run = Run(lane, "raster/raster", codes, 64)
    run.begin(title, {"id": "codes", "kind": "grid", "shape": [8, 8]},
              [("raster/raster", "target"), ("tokenizers/vq", "decoder")])
    run.say(Note(key="raster.asked", args={}, text="The caption: a large pink cube at the top left."))
    wanted = patches(image)
    for i, cell in enumerate(order):
        run.forward("raster/raster", 6.0, order[: max(i - 1, 0)], order[max(i - 1, 0) : i], [cell])
        run.commit([cell], wanted[[cell]])
        if i % 8 == 0:
            run.say(Note(key="raster.square", args={"n": i + 1}, cells=[cell],
                         text=f"Square {i + 1} of 64 is chosen after the {i} before it."))
        if (i + 1) % every == 0 and i < 63:
            run.say(picture("picture", i, partial(image, order[: i + 1])))
    pull = patches(image).std(dim=1)
    run.say(Measure(name="pull", value=float(pull.mean()), unit="nats", cells=[[0, 64]], values=pull.tolist()))
    run.forward("tokenizers/vq", 4.0, list(range(64)), list(range(64)), [], mode="commit")
    run.say(picture("picture", 63, image, lossless=True))
    return run.done(calls=64)


def diagonals(lane: str, title: str, image: Tensor, codes: Tensor) -> list[Event]:
    """A diagonal a call, each square after its neighbours on the left and above."""
    run = Run(lane, "neighbours/nar", codes, 64)
    run.begin(title, {"id": "codes", "kind": "grid", "shape": [8, 8]},
              [("neighbours/nar", "target"), ("tokenizers/vq", "decoder")])
    wanted, before = patches(image), []
    for d in range(15):
        cells = [8 * h + d - h for h in range(8) if 0 <= d - h < 8]
        run.say(Phase(unit="step", index=d, of=15, state="start", cells=cells))
        run.forward("neighbours/nar", 6.0, [], before, cells)
        run.commit(cells, wanted[cells], heard=True)
        before = cells
        inner = [c for c in cells if c % 8 and c >= 8]
        if inner:
            run.say(Measure(name="disagreement", unit="of 1", value=0.5, cells=inner, values=[0.5] * len(inner)))
    run.say(picture("picture", 64, image, lossless=True))
    return run.done(cells=64)


def pyramid(lane: str, title: str, image: Tensor, codes: Tensor, given: int = 0) -> list[Event]:
    """Six calls, each a finer map. given: that many coarse scales are there from the start."""
    run = Run(lane, "next_scale/next_scale", codes, 130)
    ends = np.cumsum([p * p for p in SCALES]).tolist()
    known = list(range(ends[given - 1])) if given else []
    small = [F.interpolate(image[None], size=(p * 8, p * 8), mode="area")[0] for p in SCALES]
    tokens = [F.unfold(s[None], 8, stride=8)[0].T for s in small]
    values = [run.charts(w)[0] for p in tokens[:given] for w in p]
    run.begin(title, {"id": "codes", "kind": "pyramid", "shape": [[p, p] for p in SCALES]},
              [("next_scale/next_scale", "target"), ("tokenizers/scales", "decoder"),
               ("tokenizers/scales_sketch", "sketch")],
              given={"cells": spans(known), "values": values} if given else None)
    run.say(Note(key="var.asked", args={"caption": ASKED}, text=f"The caption: {ASKED}."))
    if given:
        run.say(picture("other", 0, image.flip(2)))
    for k, p in enumerate(SCALES):
        cells = list(range(ends[k] - p * p, ends[k]))
        run.say(Phase(unit="scale", index=k, of=len(SCALES), state="start", cells=spans(cells)))
        if k >= given:
            run.forward("next_scale/next_scale", 5.0 + p, list(range(cells[0])), cells, cells)
            run.commit(cells, tokens[k])
        coarse = F.interpolate(image[None], size=(p, p), mode="area")
        shown = image if p == 8 else F.interpolate(coarse, size=(64, 64), mode="bicubic", align_corners=False)[0]
        run.say(Note(key="var.scale", args={"side": p}, text=f"{p * p} squares are chosen in one call.",
                     cells=spans(cells)))
        run.say(picture("picture", k, shown, net="tokenizers/scales_sketch"))
        run.say(Phase(unit="scale", index=k, of=len(SCALES), state="end", cells=spans(cells)))
    run.forward("tokenizers/scales", 4.0, list(range(130)), list(range(130)), [], mode="commit")
    run.say(picture("picture", 5, image, lossless=True))
    return run.done(calls=6 - given)


def sets(lane: str, title: str, image: Tensor, codes: Tensor, order: list[int], steps: int = 5) -> list[Event]:
    """Sixteen sets by a cosine schedule; the squares of a set come out of noise together and hold no code."""
    run = Run(lane, "masked_continuous/mar", codes, 64)
    run.begin(title, {"id": "latents", "kind": "grid", "shape": [8, 8]},
              [("masked_continuous/mar", "target"), ("masked_continuous/head", "head"), ("tokenizers/vae", "decoder")])
    hidden = [64, *[max(int(64 * np.cos(np.pi / 2 * (s + 1) / 16)), 15 - s) for s in range(15)], 0]
    noise = torch.Generator().manual_seed(5)
    for s in range(16):
        known, own = order[: 64 - hidden[s]], order[64 - hidden[s] : 64 - hidden[s + 1]]
        run.say(Phase(unit="set", index=s, of=16, state="start", cells=list(own)))
        run.forward("masked_continuous/mar", 7.0, [], list(range(64)), sorted(own))
        run.forward("masked_continuous/head", 2.0 + 0.5 * len(own), sorted(own), sorted(own), sorted(own), calls=25)
        for i in range(steps):
            share = (i + 1) / steps
            noisy = image * share + torch.randn(image.shape, generator=noise) * 0.7 * (1 - share)
            run.say(picture("denoise", i, partial(image, known) * (1 - spot(own)) + noisy.clamp(-1, 1) * spot(own)))
        run.say(Commit(cells=list(own), values=[None] * len(own), p=[1.0] * len(own), origin="sampled"), 0.1)
        run.say(Note(key="mar.set", args={"n": len(own)}, text=f"{len(own)} squares leave the noise together.",
                     cells=list(own)))
        if s < 15:
            run.say(picture("picture", s, partial(image, known + own)))
    run.forward("tokenizers/vae", 4.0, list(range(64)), list(range(64)), [], mode="commit")
    run.say(picture("picture", 15, image, lossless=True))
    return run.done(calls=16)


def spot(cells: list[int]) -> Tensor:
    mask = torch.zeros(1, 1, 8, 8)
    mask.view(-1)[cells] = 1
    return F.interpolate(mask, 64)[0]


def shuffled(seed: int) -> list[int]:
    return [int(c) for c in np.random.default_rng(seed).permutation(64)]


def together(lanes: list[list[Event]]) -> Iterator[Event]:
    """Lanes merged by their clocks, as the runtime would."""
    yield from sorted((e for own in lanes for e in own), key=lambda e: e.t)


def trace(slug: str, lanes: list[list[Event]], seed: int) -> str:
    head = {"exhibit": slug, "settings": {}, "seed": seed, "interventions": [], "models": {}, "runtime": {}}
    return write_trace(head, list(together(lanes)))


def recordings(seed: int = 7) -> dict[str, str]:
    """name -> trace text: everything the picture stages must be able to show."""
    torch.set_num_threads(1)
    image, codes = scenes.draw([seed]).image[0], codebook()
    raster = grid("raster", "Row by row", image, codes, list(range(64)))
    order = shuffled(seed)
    return {
        "raster": trace("raster", [raster, grid("random", "In any order", image, codes, order)], seed),
        "var": trace("var", [pyramid("var", "Scale by scale", image, codes), raster], seed),
        "nar": trace("nar", [diagonals("nar", "By diagonals", image, codes), raster], seed),
        "given": trace("var", [pyramid("var", "Scale by scale", image, codes, given=3)], seed),
        "mar": trace("mar", [sets("mar", "By sets", image, codes, order)], seed),
    }

