"""How the claims about reading at once are measured. Each function takes a `Trial`.

`trial.subject` replaces what is put to the test: the lane's decode loop (`calls`), or the reader that counts and orders
(the others).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from engines import stats, weights
from engines.events import Event, Forward
from engines.recognition import strip as page
from engines.recognition.model import CAUSAL, CPPD, SILENT, Causal, Reader
from engines.runtime import Trial, abreast
from engines.worlds import words

Result = dict[str, Any]
PART = 256
STRIPS = 12_288
# Points behind letter by letter that still count as no worse.
MARGIN = 1.0
# How many times faster the decoder must be at so many letters.
FASTER = {8: 1.8, 12: 2.5}
NAMES = {CPPD: "counting and ordering", CAUSAL: "letter by letter", SILENT: "plain parallel"}


def reader(trial: Trial, name: str) -> Reader:
    return cast(Reader, trial.subject if trial.subject is not None and name == CPPD else weights.load(name))


def of_decoder(events: Sequence[Event]) -> list[Forward]:
    return [e for e in events if isinstance(e, Forward) and e.net.endswith(".decoder")]


def calls(trial: Trial) -> Iterator[Result]:
    """Calls of the decoder in runs of both lanes: one, and one for each letter and END."""
    trial, n, good = trial.with_subject("cppd"), trial.size(40, 8), 0
    for i, seed in enumerate(trial.seeds(n)):
        trial.ask()
        at_once, by_letter = (trial.run(seed, {"looks": False}, lane) for lane in ("cppd", "causal"))
        letters = by_letter[-1].summary  # type: ignore[attr-defined]
        wanted = min(len(letters["read"]) + 1, words.SLOTS)
        good += len(of_decoder(at_once)) == 1 and len(of_decoder(by_letter)) == wanted
        if i in (n // 4, n - 1):
            yield stats.exact(good, i + 1)


def strips_of(seeds: Sequence[int]) -> list[words.Strips]:
    """Held-out strips, PART at a time."""
    own = [page.held_out(seed) for seed in seeds]
    return list(abreast(lambda first: words.draw(own[first : first + PART]), range(0, len(own), PART)))


@torch.inference_mode()
def right(net: Reader, drawn: Sequence[words.Strips]) -> np.ndarray:
    """(n,) 1.0 where a strip is read without a mistake, by the likeliest sign of each slot."""
    def one(part: words.Strips) -> Tensor:
        with torch.inference_mode():
            made = net.read(net.see(part.image)).logits.argmax(-1)
        return ((made == part.slots) | (part.slots == words.NOTHING)).all(1)

    return torch.cat(list(abreast(one, drawn))).double().numpy()


def points_of(found: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    out = []
    for name, values in found.items():
        own = stats.mean((100 * values).tolist())
        out.append({"x": NAMES[name], "y": own["here"], "low": own["low"], "high": own["high"]})
    return out


def accuracy(trial: Trial) -> Iterator[Result]:
    """Percent of strips read without a mistake: at once minus letter by letter, the same strips; and minus plain
    parallel, which must be above zero."""
    drawn = strips_of(trial.seeds(trial.size(STRIPS, 64)))
    found = {name: right(reader(trial, name), drawn) for name in (CPPD, CAUSAL, SILENT)}
    ahead, above = (stats.mean((100 * (found[CPPD] - found[name])).tolist()) for name in (CAUSAL, SILENT))
    fine, better = ahead["low"] > -MARGIN, above["low"] > 0
    sure = fine and better or ahead["high"] <= -MARGIN or above["high"] <= 0
    points = points_of(found) + [{"x": f"ahead of {NAMES[SILENT]}", "y": above["here"], "low": above["low"],
                                  "high": above["high"]}]
    out = ahead | {"points": points, "holds": (fine and better) if sure else None, "conditions": {"batch": PART}}
    if not fine:
        out["reason"] = "Letters that are hard to make out are told by the letters before them, and slots hear none."
    elif not better:
        gain = "{here:+.1f} points [{low:.1f}, {high:.1f}]".format(**above)
        out["reason"] = f"Beside {NAMES[SILENT]}: {gain}."
    yield out


def without_sides(trial: Trial) -> Iterator[Result]:
    """Percent of strips read right with counting and ordering learned on the side, minus without: layer for layer the
    same network, strips and steps."""
    drawn = strips_of(trial.seeds(trial.size(STRIPS, 64)))
    found = {name: right(reader(trial, name), drawn) for name in (CPPD, SILENT)}
    yield stats.mean((100 * (found[CPPD] - found[SILENT])).tolist()) | {
        "points": points_of(found), "conditions": {"batch": PART}}


@torch.inference_mode()
def focus(net: Reader, part: words.Strips) -> np.ndarray:
    """(B,) of each strip, the mean share of its letters' looks that lies on the letter itself."""
    inside = page.on_letter(net.looked(net.read(net.see(part.image))), part.spans, net.grid[1])
    return inside.nanmean(1).double().numpy()


def looks_at_its_letter(trial: Trial) -> Iterator[Result]:
    """Percent of a slot's last look that lies on its own letter, at once minus plain parallel, the same strips."""
    drawn = strips_of(trial.seeds(trial.size(1_024, 64)))
    found = {name: np.concatenate([focus(reader(trial, name), part) for part in drawn])
             for name in (CPPD, SILENT, CAUSAL)}
    yield stats.mean((100 * (found[CPPD] - found[SILENT])).tolist()) | {
        "points": points_of(found), "conditions": {"batch": PART}}


@torch.inference_mode()
def decoding(net: Reader, drawn: words.Strips, whole: bool = False) -> Callable[[int], float]:
    """i -> 1, when strip i has been read; whole: the encoder too. Letter by letter it is told the true letters, so that
    it makes as many calls as there are slots in use."""
    session = net.session()
    decoder = session.decoder
    by_letter = isinstance(net, Causal)
    seen = [session(image[None]) for image in drawn.image]
    slots = [[letter for letter in row.tolist() if letter >= 0] for row in drawn.slots]

    def once(i: int) -> float:
        x = session(drawn.image[i, None]) if whole else seen[i]
        if not by_letter:
            decoder(x).logits[0].argmax(-1).tolist()
            return 1.0
        before = -1
        for slot, letter in enumerate(slots[i]):
            decoder(x, before, slot).logits[0, 0].argmax().item()  # type: ignore[call-arg]
            before = letter
        return 1.0

    return once


def race(trial: Trial, length: int, whole: bool = False) -> Result:
    """How many times faster a strip of so many letters is read at once than letter by letter, one strip at a time."""
    n = trial.size(40, 21)
    own = [page.held_out(seed) for seed in trial.seeds(n + 1)]
    drawn = words.render([words.letters_of(seed, length) for seed in own], [words.look_of(seed) for seed in own], own)
    slow, fast = (decoding(reader(trial, name), drawn, whole) for name in (CAUSAL, CPPD))
    return stats.abba(slow, fast, n, trial.ask)


def walls(trial: Trial, whole: bool = False) -> Iterator[tuple[list[dict[str, Any]], dict[int, Result]]]:
    found: dict[int, Result] = {}
    for length in FASTER:
        found[length] = race(trial, length, whole)
        yield [{"x": f"{n} letters", "y": out["here"], "low": out["low"], "high": out["high"]}
               for n, out in found.items()], found


def decoder_wall(trial: Trial) -> Iterator[Result]:
    """Time of the decoder letter by letter over its time at once, at 8 and at 12 letters, without the encoder."""
    for points, found in walls(trial):
        if len(found) == len(FASTER):
            enough = all(found[n]["low"] >= times for n, times in FASTER.items())
            too_slow = any(found[n]["high"] < times for n, times in FASTER.items())
            busy = next((out for out in found.values() if "reason" in out), {})
            yield found[12] | {"points": points, "holds": True if enough else False if too_slow else None} | (
                {"holds": None, "reason": busy["reason"]} if busy else {})


def whole_reader_wall(trial: Trial) -> Iterator[Result]:
    """The same with the encoder, which both need and which takes its time whoever decodes."""
    for points, found in walls(trial, whole=True):
        yield found[max(found)] | {"points": points}
