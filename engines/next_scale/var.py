"""Next-scale prediction (VAR): a picture as K maps of codes, coarse to fine, each map drawn in one call.

Source: Tian et al., arXiv 2404.02905, algorithm 1 and the official sampler. Symbols: p_k the side of scale k, r_k its
codes, Z the codebook, f_hat the sum of all scales so far, h_k what scale k adds, t the strength of guidance.
After r_k is drawn, f_hat += h_k = φ_k(up(Z[r_k])); shrunk to p_{k+1} x p_{k+1} it is the next canvas.

All codes of a scale are drawn at once, each from its own distribution: given the coarser scales they are
independent. Keys and values of coarser scales are cached, so a scale costs one call on its own cells.

Differs: temperature, guidance without its ramp, kept scales and regions are settings; the paper's code has no region.
"""

from __future__ import annotations

from itertools import accumulate
from operator import methodcaller
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from engines.events import Begin, Commit, Event, Measure, Note, Phase, Steps, spans
from engines.next_scale import scene
from engines.next_scale.sample import NET, TOKENIZER, filtered, guide, strength
from engines.noise import Draw, Noise
from engines.painting import Painter, picture
from engines.runtime import Meter
from engines.sampling import entropy, softmax, top
from engines.worlds import scenes

CANVAS = "codes"
SHOWN = 5


def var(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Draw scale by scale. s: caption, guidance, ramp, top_k, top_p, temperature, stop, previews, and scene.read's."""
    net, tokenizer = meter.net(NET), meter.net(TOKENIZER).session
    paint = Painter(meter, TOKENIZER, on=s.previews)
    with torch.inference_mode():
        request = scene.read(s, noise.seed, tokenizer)
    scales, known = tokenizer.scales, request.known
    K, ends = len(scales), list(accumulate(p * p for p in scales))
    yield Begin(title="Scale by scale", canvases=[{"id": CANVAS, "kind": "pyramid", "shape": [[p, p] for p in scales]}],
                nets=[meter.card(NET, "target"), *paint.cards()],
                given={"cells": spans(known), "values": list(known.values())} if known else None)
    yield _asked(request)
    if request.other is not None and s.previews:
        with meter.preview():
            shown = picture("other", 0, request.other[0])
        yield shown

    pairs = 2 if s.guidance else 1
    caption, keep = request.caption.repeat(pairs, 1, 1), torch.tensor([True, False][:pairs])
    f_hat = tokenizer.zero(1)
    unseen: list[torch.Tensor] = []  # canvases of scales that were given whole: they ride along with the next call
    for k, p_k in enumerate(scales[: s.stop]):
        cells = list(range(ends[k] - p_k * p_k, ends[k]))
        open_ = [c for c in cells if c not in known]
        yield Phase(unit="scale", index=k, of=K, state="start", cells=spans(cells))
        with torch.inference_mode():
            unseen.append(tokenizer.canvas(f_hat, k).repeat(pairs, 1, 1))
        r_k = np.array([known.get(c, -1) for c in cells])
        if open_:
            mode = "prefill" if len(unseen) > 1 else "step"
            logits = net(k, torch.cat(unseen, dim=1), caption, keep, nfe=pairs)[:, -len(cells) :]
            reads, computes = net.session.last["reads"], net.session.last["computes"]
            yield net.forward(reads=reads, computes=computes, predicts=open_, mode=mode)
            unseen = []
            own = [c - cells[0] for c in open_]
            t = strength(k, K, s.guidance, s.ramp)
            guided = guide(logits, t)[0, own] if pairs == 2 else logits[0, own]
            p = filtered(guided, s.temperature, s.top_k, s.top_p).numpy()
            drawn = noise.draw("token", open_, p)
            r_k[own] = [d.index for d in drawn]
            yield from _commit(open_, drawn, p, softmax(logits[0, own]), softmax(guided))
            yield Measure(name="guidance", value=t, unit="", x=k)
            kept = (p > 0).sum(axis=1)
            yield Measure(name="kept", value=float(kept.mean()), unit="codes", x=k, cells=spans(open_),
                          values=[float(n) for n in kept])
        with torch.inference_mode():
            f_hat = tokenizer.add(f_hat, k, torch.from_numpy(r_k)[None])
        yield _told(k, p_k, open_, ends[k] - p_k * p_k)
        # The last scale too: what a scale changed is seen between two sketches.
        yield from paint.preview("picture", k, methodcaller("decode", f_hat))
        yield Phase(unit="scale", index=k, of=K, state="end", cells=spans(cells))
    yield from paint.final(f_hat, list(range(ends[s.stop - 1])), s.stop - 1)
    drawn_cells = sum(c not in known for c in range(ends[s.stop - 1]))
    return {"calls": net.calls, "nfe": net.nfe, "scales": s.stop, "cells": drawn_cells,
            "objects": scenes.caption_text(request.caption[0])}


def _commit(cells: list[int], drawn: list[Draw], p: np.ndarray, captioned: np.ndarray, guided: np.ndarray
            ) -> list[Commit]:
    """All cells of a scale in one event; those that a user holds in a second one, because their origin differs."""
    codes: Any = range(p.shape[1])
    out = []
    for origin in ("forced", "sampled"):
        own = [i for i, d in enumerate(drawn) if d.forced is (origin == "forced")]
        if own:
            charts = {name: [top(law[i], codes, SHOWN, always=[drawn[i].index]) for i in own]
                      for name, law in (("conditional", captioned), ("guided", guided))}
            out.append(Commit(cells=spans([cells[i] for i in own]), values=[drawn[i].index for i in own],
                              p=[drawn[i].p for i in own], entropy=[entropy(guided[i]) for i in own],
                              origin=origin, dists=charts))
    return out


def _asked(request: scene.Request) -> Note:
    text = scenes.caption_text(request.caption[0])
    return Note(key="var.asked", args={"caption": text}, text=f"The caption: {text}." if text else "An empty table.")


def _told(k: int, p_k: int, open_: list[int], coarser: int) -> Event:
    """One sentence about the scale that was just drawn."""
    n = len(open_)
    if not n:
        text = "These codes come from the other picture. Nothing is computed for them yet."
    elif k == 0:
        text = "One code for the whole picture, from the caption alone."
    else:
        codes = f"{n} codes" if n > 1 else "One code"
        text = f"{codes} in one call. Each adds to what the {coarser} coarser code{'s' * (coarser > 1)} left open."
    return Note(key="var.scale", args={"k": k + 1, "side": p_k, "codes": n, "coarser": coarser}, text=text,
                cells=spans(open_) or None)
