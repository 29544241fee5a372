"""Continuous speculative decoding (CSpD): a small net drafts sets of continuous tokens, a big one checks them at once.

Source: Wang et al., arXiv 2411.11925, and the official runner. Symbols: K sets, q draft, p target, gamma sets drafted
between two checks, rho the share of sets that the target draws itself at first, S inner steps, Σ, T as in verdict.py.

After floor(rho · K) + 1 sets of the target, the draft draws gamma sets, each from all before it. Then the target is
called ONCE, on the tokens that it has verified: it walks from noise to all drafted places at once, with the noises that
the draft used (alignment), and each place is kept or drawn anew by itself. So a round costs one call of the target
whatever is kept: what is refused costs no time here, it only becomes the target's own draw.

That has a consequence, which the lane `alone` shows: with an exact check the places of a round are independent draws
of p given what was verified, as if the target had drawn the whole round as one set. Its walk to them was made anyway.
Differs: rounds are counted from the end of the prefill (officially from 0); the last inner step adds noise, or nothing
could be exact; the caption; noise is keyed by place; `finish` (see below).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from math import nan
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines.events import Accept, Begin, Commit, Event, Measure, Note, Phase, Propose, Reject, Steps, spans
from engines.masked_continuous import canvas
from engines.masked_continuous.canvas import ORDER, PLACES, SIDE, at
from engines.masked_continuous.diffloss import Walk, ours
from engines.masked_continuous.model import DRAFT, NET, VAE
from engines.masked_continuous.sampler import APART, Rule, start_of, steps_of
from engines.masked_continuous.sets import Round, guidance_at, lengths, rounds, sets_of
from engines.masked_continuous.verdict import Check, Verdict, judge, last
from engines.noise import Noise
from engines.painting import Painter, array
from engines.runtime import Meter
from engines.scene_settings import asked
from engines.worlds import scenes

SHOWN = 26  # points of a walk that are told


def cspd(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Drafts and checks. s: of `rule_of` and `check_of`, and caption, order, gamma, share, aligned, previews."""
    return _decode(s, noise, meter, "Guess sets, then check", rounds(s.sets, s.gamma, s.share), NET, DRAFT)


def alone(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """The target without the drafts: it draws what it would have checked."""
    return _decode(s, noise, meter, "The same rounds, no guesses", rounds(s.sets, s.gamma, s.share), NET, None)


def target(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Each set by a call of the target: `mar` with the same inner steps."""
    return _decode(s, noise, meter, "Set by set", rounds(s.sets, 1, 1), NET, None)


def draft(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Each set by the draft, unchecked."""
    return _decode(s, noise, meter, "Guesses only", rounds(s.sets, 1, 1), DRAFT, None)


def rule_of(s: SimpleNamespace) -> Rule:
    """s: sets, inner, guidance, schedule, temperature, finish."""
    return Rule(s.sets, s.inner, s.guidance, s.schedule, s.temperature, finish=s.finish)


def check_of(s: SimpleNamespace) -> Check:
    """s: rule, inner_temperature."""
    return Check(s.rule, s.inner_temperature)


def _decode(
    s: SimpleNamespace, noise: Noise, meter: Meter, title: str, plan: list[Round], net: str, guesser: str | None
) -> Steps:
    paint = Painter(meter, VAE, on=s.previews)
    rule, objects = rule_of(s), asked(s.caption, noise.seed)
    sets = sets_of(ORDER.cells_of(s.order, SIDE, SIDE, noise)[::-1], rule.sets)
    left = lengths(PLACES, rule.sets)
    own = [_Chain(meter, name, rule, objects) for name in (net, guesser) if name]
    big, small = own[0], own[-1]
    nets = [meter.card(c.net.name, role) for c, role in zip(own, ("target", "draft"), strict=False)]
    yield Begin(title=title, canvases=[{"id": "tokens", "kind": "grid", "shape": [SIDE, SIDE]}],
                nets=nets + [meter.card(c.head.name, "head") for c in own] + paint.cards())
    yield canvas.caption_note(objects)
    latents, done = torch.zeros(1, PLACES, big.channels), list[int]()
    tested = kept = tries = failed = 0
    B = len(plan)
    for b, (first, stop, drafted) in enumerate(plan):
        cells = sorted(cell for k in range(first, stop) for cell in sets[k])
        yield Phase(unit="set", index=b, of=B, state="start", cells=spans(cells))
        if drafted and guesser:
            guess = yield from _guess(small, noise, latents, done, sets, left, range(first, stop), paint)
            shared = guess.noises(cells) if s.aligned else _noises(noise, cells, rule.inner, big.channels, APART)
            p = yield from big(latents, done, cells, left[stop - 1], shared, "verify")
            q, x = guess.walk(cells), guess.tokens(cells)
            found = judge(noise, cells, x, p, q, check_of(s))
            if s.previews:
                yield from _told_walks(meter, b, p, q, x, found)
            yield from _settle(cells, found)
            latents[0, cells] = found.tokens
            tested, kept = tested + len(cells), kept + int(found.stays.sum())
            tries, failed = tries + int(found.tries.sum()), failed + int(found.failed.sum())
            yield Measure(name="kept", value=kept / tested, unit="share of guesses", x=big.net.calls)
        else:
            shared = _noises(noise, cells, rule.inner, big.channels)
            p = yield from big(latents, done, cells, left[stop - 1], shared, "prefill" if guesser else "step")
            latents[0, cells] = last(p, shared[1][-1])
            yield Commit(cells=spans(cells), values=[None] * len(cells), p=[nan] * len(cells), origin="sampled")
            yield _told(b, B, cells, done, bool(guesser))
        done = sorted(done + cells)
        yield Measure(name="places_a_call", value=len(done) / big.net.calls, unit="places per call", x=big.net.calls)
        if b + 1 < B and (drafted or b % 2):
            yield from paint.preview("picture", b, partial(_decoded, latents.clone()))
        yield Phase(unit="set", index=b, of=B, state="end", cells=spans(cells))
    yield from paint.final(latents, list(range(PLACES)), B)
    out = {"cells": PLACES, "sets": rule.sets, "calls": big.net.calls, "nfe": big.net.nfe,
           "head_calls": big.head.calls, "objects": scenes.caption_text(objects[0])}
    if guesser:
        out |= {"draft_calls": small.net.calls, "tested": tested, "accepted": kept, "tries": tries, "failed": failed}
    return out


Noises = tuple[Tensor, Tensor]


def _noises(noise: Noise, cells: list[int], inner: int, channels: int, stream: str = "") -> Noises:
    """Where the walks of these cells start (n, C), and the noise of their steps (S, n, C)."""
    return start_of(noise, cells, channels, stream), steps_of(noise, cells, inner, channels, stream)


class _Chain:
    """A backbone and its head: from what is done to walks that end at given places."""

    def __init__(self, meter: Meter, name: str, rule: Rule, objects: Tensor):
        self.meter, self.rule, self.objects = meter, rule, objects
        self.net, self.head = meter.net(name), canvas.head_of(meter, name, whole=True)
        self.channels = int(self.net.session.network.head.channels)

    def __call__(
        self, latents: Tensor, done: list[int], cells: list[int], hidden: int, noises: Noises, mode: str
    ) -> Generator[Event, None, Walk]:
        """One call of the backbone and S of the head; `hidden` places remain after it."""
        rule, net = self.rule, self.net
        visible, wanted = torch.tensor([done], dtype=torch.long), torch.tensor([cells])
        z = net(at(latents, done), visible, self.objects, rule.pair, wanted, nfe=1 + rule.pair)
        # A check is blind to the guesses: all that it has before it is what was verified.
        yield net.forward(reads=done, computes=done if mode == "verify" else range(PLACES), predicts=cells, mode=mode)
        w = guidance_at(rule.guidance, rule.schedule, hidden, PLACES)
        walked: Walk = self.head(z.flatten(0, 1), *noises, ours(rule.inner, rule.finish), w, rule.tau, self._watch,
                                 nfe=rule.inner * (1 + rule.pair), calls=rule.inner)
        yield self.head.forward(reads=[], computes=cells, predicts=cells, mode=mode)
        return walked

    def _watch(self, i: int, believed: Tensor) -> None:
        self.meter.ask()


class _Guess:
    """What the draft did in a round, by cell: its walk, the noises of it, and the token."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[Tensor, ...]] = {}

    def add(self, cells: list[int], walked: Walk, noises: Noises, x: Tensor) -> None:
        for i, cell in enumerate(cells):
            self._rows[cell] = (walked.x[:, i], walked.mean[i], walked.log_sd[i], walked.spread[i],
                                noises[0][i], noises[1][:, i], x[i])

    def _column(self, cells: list[int], k: int) -> Tensor:
        rows = [self._rows[cell][k] for cell in cells]
        return torch.stack(rows, dim=rows[0].dim() - 1)

    def walk(self, cells: list[int]) -> Walk:
        return Walk(*(self._column(cells, k) for k in range(4)))

    def noises(self, cells: list[int]) -> Noises:
        return self._column(cells, 4), self._column(cells, 5)

    def tokens(self, cells: list[int]) -> Tensor:
        return self._column(cells, 6)


def _guess(
    small: _Chain, noise: Noise, latents: Tensor, done: list[int], sets: list[list[int]], left: list[int],
    turns: range, paint: Painter,
) -> Generator[Event, None, _Guess]:
    """The draft draws these sets one after another, each from what is verified and what it drew before."""
    guess, seen, known = _Guess(), latents.clone(), list(done)
    for k in turns:
        cells = sorted(sets[k])
        noises = _noises(noise, cells, small.rule.inner, small.channels)
        q = yield from small(seen, known, cells, left[k], noises, "step")
        x = last(q, noises[1][-1])
        guess.add(cells, q, noises, x)
        seen[0, cells] = x
        known = sorted(known + cells)
        yield Propose(cells=spans(cells), values=[None] * len(cells), p=[nan] * len(cells), origin="draft")
        yield from paint.preview("picture", k, partial(_decoded, seen.clone()))
    return guess


def _settle(cells: list[int], found: Verdict) -> Iterator[Event]:
    """The verdicts, and what stands now."""
    for stays in (True, False):
        rows = np.flatnonzero(found.stays == stays)
        if not len(rows):
            continue
        own, blank = [cells[i] for i in rows], [nan] * len(rows)
        said: dict[str, Any] = {"cells": spans(own), "p": blank, "q": blank, "ratio": found.ratio[rows].tolist(),
                                "u": found.u[rows].tolist()}
        yield Accept(**said) if stays else Reject(**said, replacement=[None] * len(own))
        yield Commit(cells=spans(own), values=[None] * len(own), p=blank, origin="accepted" if stays else "repaired")
    yield Measure(name="stays", value=float(found.ratio.mean()), unit="chance", cells=spans(cells),
                  values=found.ratio.tolist())
    yield Measure(name="tries", value=float(found.tries.sum() / max(1, (~found.stays).sum())), unit="proposals",
                  cells=spans(cells), values=[float(n) for n in found.tries])
    yield _told_check(cells, found)


def _told_walks(meter: Meter, b: int, p: Walk, q: Walk, x: Tensor, found: Verdict) -> Iterator[Event]:
    """What the inspector draws of each place of a round, half precision, off the clock.

    "walks" (n, 2P, 2): P points of the target, then P of the draft, at most SHOWN each, first two channels; the last is
    where the last step aims. "bells" (n, 5, 1): that step seen along the line from the draft's aim to the target's: how
    far the aims are apart, sd of p and of q, where the draft's token fell and where the token that stands is.
    """
    with meter.preview():
        turns = np.unique(np.linspace(0, len(p.x) - 1, min(len(p.x), SHOWN - 1)).round().astype(int))
        paths = [torch.cat([w.x[turns, :, :2], w.mean[None, :, :2]]) for w in (p, q)]
        line = p.mean - q.mean
        length = line.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        line = line / length
        sds = [(line * w.log_sd.exp()).norm(dim=-1, keepdim=True) for w in (p, q)]
        spots = [((at_ - q.mean) * line).sum(-1, keepdim=True) for at_ in (x, found.tokens)]
        walks = array("walks", b, torch.cat(paths).transpose(0, 1).numpy())
        bells = array("bells", b, torch.cat([length, *sds, *spots], dim=1)[..., None].numpy())
    yield walks
    yield bells


def _decoded(latents: Tensor, tokenizer: Any) -> Tensor:
    return tokenizer.decode(latents)


def _told(b: int, B: int, cells: list[int], done: list[int], guesses: bool) -> Note:
    """One sentence about a set that was drawn without a guess."""
    n = canvas.counted(cells)
    if guesses:
        text = f"{n} by the big net itself, so that the guesses have something to go by."
    elif not done:
        text = f"{n}, from the caption alone."
    else:
        text = f"{n}, with {len(done)} already there to look at."
    return Note(key="cspd.set", args={"set": b + 1, "sets": B, "places": len(cells)}, text=text, cells=spans(cells))


def _told_check(cells: list[int], found: Verdict) -> Note:
    """One sentence about a check."""
    n, kept, lost = len(cells), int(found.stays.sum()), int(found.failed.sum())
    guesses = "One guess" if n == 1 else f"{n} guesses"
    again = "none is drawn anew" if kept == n else f"{n - kept} {'is' if n - kept == 1 else 'are'} drawn anew"
    text = f"{guesses}, checked in one call: {kept} stay{'s' if kept == 1 else ''}, {again}."
    if lost:
        tries = f"{int(found.tries.max()):,}"
        text += f" For {lost} of them {tries} tries found nothing that was left over, so the last try stands."
    return Note(key="cspd.checked", args={"guesses": n, "stay": kept, "failed": lost}, text=text, cells=spans(cells))
