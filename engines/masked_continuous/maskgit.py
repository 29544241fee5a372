"""The discrete twin (MaskGIT): a code for every hidden place at once, of which the surest are kept.

Source: Chang et al., arXiv 2202.04200, section 3.2 and the official sampler. Symbols: L places, K sets, m places still
hidden after a step, p the distribution of a code. Each step draws a code for every hidden place, ranks them by
log p + T · (1 - progress) · Gumbel noise, keeps all but the m least sure, and forgets the others.

The transformer is that of `mar`, with logits over 512 codes instead of z. Differs: the paper's has no encoder of its
own for the visible places and no guidance; both are as in `mar` here, so that the two differ in their tokens only.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines.events import Begin, Commit, Event, Measure, Note, Phase, Propose, Steps, Withdraw, spans
from engines.masked_continuous import canvas
from engines.masked_continuous.canvas import PLACES, SIDE
from engines.masked_continuous.model import TWIN, VQ
from engines.masked_continuous.sampler import choose, guide, surest
from engines.masked_continuous.sets import guidance_at, lengths
from engines.noise import Noise
from engines.painting import Painter
from engines.runtime import Meter
from engines.sampling import entropy, softmax, top
from engines.scene_settings import asked
from engines.worlds import scenes

SHOWN, EVERY = 5, 4  # patterns of a place, sets between two pictures


def maskgit(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Draw 64 codes, the surest first. s: caption, sets, guidance, schedule, gumbel, previews."""
    net, paint = meter.net(TWIN), Painter(meter, VQ, on=s.previews)
    rule, objects = canvas.rule_of(s), asked(s.caption, noise.seed)
    yield Begin(title="Sets of codes", canvases=[{"id": "codes", "kind": "grid", "shape": [SIDE, SIDE]}],
                nets=[meter.card(TWIN, "target"), *paint.cards()])
    yield canvas.caption_note(objects)
    ids, K = torch.full((1, PLACES), -1), rule.sets
    for k, m in enumerate(lengths(PLACES, K)):
        hidden = (ids[0] < 0).nonzero()[:, 0].tolist()
        done = [cell for cell in range(PLACES) if cell not in hidden]
        yield Phase(unit="set", index=k, of=K, state="start")
        z = net(canvas.at(ids, done), torch.tensor([done], dtype=torch.long), objects, rule.pair,
                torch.tensor([hidden]), nfe=1 + rule.pair)
        yield net.forward(reads=done, computes=range(PLACES), predicts=hidden, mode="step")
        laws = {"guided": softmax(guide(z, rule, m, PLACES)[0])}
        if rule.pair:
            laws["unconditional"] = softmax(z[1])
        codes, worth, sure = choose(noise, hidden, laws["guided"], rule, (k + 1) / K)
        yield Propose(cells=spans(hidden), values=codes, p=worth)
        keep = surest(sure, len(hidden) - m)
        yield from _commit(noise, hidden, codes, worth, laws, keep)
        cells = [hidden[i] for i in keep]
        ids[0, cells] = torch.tensor([codes[i] for i in keep])
        if m:
            yield Withdraw(cells=spans(cell for cell in hidden if cell not in set(cells)), why="remask")
        yield _told(k, K, cells, hidden)
        yield Measure(name="guidance", value=guidance_at(rule.guidance, rule.schedule, m, PLACES), unit="", x=k)
        yield Measure(name="places_a_call", value=(PLACES - m) / net.calls, unit="places per call", x=net.calls)
        if m and (k + 1) % EVERY == 0:
            yield from paint.preview("picture", k, partial(_decode, ids.clone()))
        yield Phase(unit="set", index=k, of=K, state="end", cells=spans(cells))
    yield from paint.final(ids, list(range(PLACES)), K)
    return {"cells": PLACES, "sets": K, "calls": net.calls, "nfe": net.nfe,
            "objects": scenes.caption_text(objects[0])}


def _commit(
    noise: Noise, hidden: list[int], codes: list[int], worth: list[float], laws: dict[str, np.ndarray], keep: list[int]
) -> Iterator[Event]:
    """The kept codes in one event; those that a user holds in one of their own, because their origin differs."""
    held = {i: noise.forced(hidden[i]) for i in keep}
    for origin in ("forced", "sampled"):
        own = [i for i in keep if held[i] is (origin == "forced")]
        if own:
            charts = {name: [top(p[i], range(p.shape[1]), SHOWN, always=[codes[i]]) for i in own]  # type: ignore[arg-type]
                      for name, p in laws.items()}
            yield Commit(cells=spans(hidden[i] for i in own), values=[codes[i] for i in own],
                         p=[worth[i] for i in own], entropy=[entropy(laws["guided"][i]) for i in own], origin=origin,
                         dists=charts)


def _decode(ids: Tensor, tokenizer: Any) -> Tensor:
    return tokenizer.decode_partial(ids, ids >= 0)


def _told(k: int, K: int, cells: list[int], hidden: list[int]) -> Note:
    kept, drawn = len(cells), len(hidden)
    if kept == drawn:
        text = f"The last {drawn} codes stay as they are drawn." if drawn > 1 else "The last code stays as it is drawn."
    else:
        text = f"{drawn} codes are drawn, the {f'{kept} surest stay' if kept > 1 else 'surest one stays'}. The others "
        text += "are forgotten."
    return Note(key="mar.codes", args={"set": k + 1, "drawn": drawn, "kept": kept}, text=text, cells=spans(cells))
