"""What the lanes share: the strip that the seed or a user asks for, and how letters and looks are told as events.

The canvas has a cell a slot: the letters of the word, then END. Slots behind END stay blank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from engines.errors import Refused
from engines.events import Begin, Commit, Event, Measure, Note
from engines.exhibit import Bool, Choice, Float, Words
from engines.noise import Draw, Noise
from engines.painting import array, picture
from engines.recognition.model import Read, Reader
from engines.runtime import Meter, Net
from engines.sampling import entropy, percent, softmax, top
from engines.worlds import words
from engines.worlds.words import LETTERS, LONGEST, SLOTS, Look, Strips

CANVAS, STOP = "slots", "end"
SIGNS: tuple[str, ...] = (STOP, *LETTERS)
ANY = "any"


def check(text: str, _: SimpleNamespace) -> None:
    """Refuse what these readers have no slots or no signs for."""
    if set(text) - set(LETTERS):
        raise Refused(f"word is {text[:20]!r}; write letters from a to z, without spaces", "word")
    if len(text) > LONGEST:
        raise Refused(f"word has {len(text)} letters; these readers have slots for {LONGEST}", "word")


WORD = Words(name="word", default="", max=40, check=check, label="Word",
             help=f"Up to {LONGEST} letters from a to z; empty takes the seed's word.")
FACE = Choice(name="face", default=ANY, choices={ANY: "the seed's", **{face: face for face in words.FACES}},
              label="Face", help="The typeface that it is printed in.")
BENT = Float(name="bent", default=1.0, min=0.0, max=2.5, step=0.25, label="Bent",
             help="How much the word is bent, slanted and turned; 1 is the seed's own print, 0 is straight.")
GRAIN = Float(name="grain", default=1.0, min=0.0, max=4.0, step=0.25, label="Grain",
              help="How noisy and blurred the strip is; 1 is the seed's own, 0 is clean.")
CROSSED = Choice(name="crossed", default=ANY, choices={ANY: "the seed's", "yes": "yes", "no": "no"},
                 label="Crossed out", help="A line across the word.")
LOOKS = Bool(name="looks", default=True, label="Where it looks",
             help="Show which parts of the strip each letter was read from. It never counts in a lane's time.")
SETTINGS = (WORD, FACE, BENT, GRAIN, CROSSED, LOOKS)


@dataclass(frozen=True)
class Strip:
    text: str
    face: str
    drawn: Strips

    @property
    def image(self) -> Tensor:
        """(1, 1, 32, 128) in [-1, 1]."""
        return self.drawn.image


def held_out(seed: int) -> int:
    """The seed of a strip that no reader has seen."""
    return words.TEST.start + seed % len(words.TEST)


def look_of(s: SimpleNamespace, seed: int) -> Look:
    look = words.look_of(seed)
    crossed = {ANY: look.bar, "yes": look.bar if look.bar >= 0 else words.HEIGHT / 2, "no": -1.0}[s.crossed]
    return replace(
        look, face=look.face if s.face == ANY else s.face, curve=look.curve * s.bent, slant=look.slant * s.bent,
        turn=look.turn * s.bent, blur=min(1.0, look.blur * s.grain), noise=look.noise * s.grain, bar=crossed,
    )


def strip_of(s: SimpleNamespace, seed: int, meter: Meter) -> Strip:
    """What is printed; printing it is no part of reading, so it is off the clock."""
    own = held_out(seed)
    look, text = look_of(s, own), s.word or words.text_of(own)
    with meter.preview():
        return Strip(text, look.face, words.render([text], [look], [own]))


def begin(title: str, meter: Meter, net: str, strip: Strip) -> Begin:
    """The canvas says what is printed and where, so that the page can mark what was misread."""
    ends = strip.drawn.spans[0, : len(strip.text)]
    return Begin(
        title=title,
        canvases=[{"id": CANVAS, "kind": "strip", "shape": [SLOTS], "pixels": [words.HEIGHT, words.WIDTH],
                   "printed": strip.text, "spans": [[round(v, 1) for v in pair] for pair in ends.tolist()]}],
        nets=[meter.card(net, "encoder"), meter.card(decoder_of(meter, net).name, "target")],
    )


def decoder_of(meter: Meter, net: str) -> Net:
    """The decoder of a reader as a net of its own: stored with its encoder, timed and counted by itself."""
    name = f"{net}.decoder"
    if name not in meter.nets:
        meter.nets[name] = Net(name, meter.net(net).session.decoder, meter)
    return meter.nets[name]


def see(meter: Meter, net: str, strip: Strip) -> Iterator[Event]:
    """Show the strip; what it is printed in."""
    with meter.preview():
        event = picture("strip", 0, strip.image[0].expand(3, -1, -1), lossless=True)
    yield event
    yield Note(key="cppd.strip", args={"face": strip.face, "length": len(strip.text)},
               text=f"{len(strip.text)} {'letter' if len(strip.text) == 1 else 'letters'}, printed in {strip.face}.")


def choose(noise: Noise, slot: int, logits: Tensor) -> tuple[Draw, np.ndarray]:
    """The likeliest sign of a slot (or the one that a user holds), and all probabilities (C,)."""
    p = softmax(logits.double().numpy())
    x = noise.draw("letter", [slot], np.eye(len(p))[int(p.argmax())][None])[0]
    return replace(x, p=float(p[x.index])), p


def commit(drawn: dict[int, tuple[Draw, np.ndarray]]) -> Iterator[Event]:
    """These slots at once; those that a user holds in an event of their own, because their origin differs."""
    for forced, origin in ((True, "forced"), (False, "sampled")):
        own = {slot: (x, p) for slot, (x, p) in drawn.items() if x.forced is forced}
        if own:
            yield Commit(
                cells=list(own), values=[SIGNS[x.index] for x, _ in own.values()], p=[x.p for x, _ in own.values()],
                entropy=[entropy(p) for _, p in own.values()], origin=origin,
                dists={"letters": [top(p, SIGNS, 5, [x.index]) for x, p in own.values()]},
            )


def looked(meter: Meter, on: bool, network: Reader, read: Read, cells: Sequence[int], strip: Strip) -> Iterator[Event]:
    """Where the slots `cells` (the first rows of `read`) looked, off the clock; and how much of it lay on their letter.

    The letters' places are the printer's, from the drawing.
    """
    if not on or meter.quiet:
        return
    with meter.preview(), torch.inference_mode():
        rows, columns = network.grid
        seen = network.looked(read)[0, : len(cells)]
        event = array("look", cells[0], seen.reshape(len(cells), rows, columns).numpy())
        inside = on_letter(seen[None], strip.drawn.spans[:, list(cells[: len(strip.text) - cells[0]])], columns)[0]
    yield event
    found = [(cell, float(v)) for cell, v in zip(cells, inside) if v == v]
    if found:
        yield Measure(name="on its letter", unit="of its look", value=float(np.mean([v for _, v in found])),
                      cells=[cell for cell, _ in found], values=[v for _, v in found])


def on_letter(looks: Tensor, spans: Tensor, columns: int) -> Tensor:
    """Share of looks (B, n, N) that falls on spans (B, m, 2) in pixels; (B, min(n, m)), NaN where there is no letter.

    A visual token is counted by the part of its columns of pixels that the letter takes.
    """
    n = min(looks.shape[1], spans.shape[1])
    wide = words.WIDTH / columns
    left = torch.arange(columns) * wide
    over = torch.minimum(spans[:, :n, 1:], left + wide) - torch.maximum(spans[:, :n, :1], left)
    covered = (over / wide).clamp(0, 1)
    return (looks[:, :n].unflatten(-1, (-1, columns)).sum(2) * covered).sum(-1)


def summary(strip: Strip, made: Sequence[str], decoder: Net) -> dict[str, Any]:
    """What Done says."""
    text = "".join(sign for sign in made if sign != STOP)
    return {"read": text, "printed": strip.text, "right": text == strip.text, "calls": decoder.calls}


def verdict(strip: Strip, made: Sequence[str]) -> Note:
    text = "".join(sign for sign in made if sign != STOP)
    if text == strip.text:
        return Note(key="cppd.right", args={"word": text}, text=f"It reads {text}, and that is what was printed.")
    return Note(key="cppd.wrong", args={"word": text, "printed": strip.text},
                text=f"It reads {text or 'nothing'}; printed was {strip.text}.")


def network_of(net: Net) -> Reader:
    return cast(Reader, net.session.network)


def vocabulary(_: SimpleNamespace) -> dict[str, int]:
    return {sign: i for i, sign in enumerate(SIGNS)}


def doubt(cell: int, x: Draw, p: np.ndarray) -> Note | None:
    """A sentence where two letters looked nearly alike."""
    second, first = np.argsort(p)[-2:]
    if x.forced or p[first] > 0.75 or p[second] < 0.15:
        return None
    return Note(key="cppd.doubt", args={"one": SIGNS[first], "other": SIGNS[second]}, cells=[cell],
                text=f"{SIGNS[first]} with {percent(p[first])}, {SIGNS[second]} with {percent(p[second])}: "
                "they look alike here.")
