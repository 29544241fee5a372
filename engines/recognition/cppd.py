"""All letters at once: every slot asks the strip what stands there, in one call.

Source: CPPD (Du et al., arXiv 2307.12270). Counting and ordering were learned beside it; what they learned is in the
features that the slots ask, and neither is asked for its answer when a word is read. Both are shown here all the same:
how often each letter occurs, and which slots have one. Slots do not hear one another, so a letter that a user holds
changes no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import torch
from torch import Tensor

from engines.events import Event, Measure, Phase, Steps
from engines.noise import Noise
from engines.painting import array
from engines.recognition import strip as page
from engines.recognition.model import CPPD, SILENT, Cppd, Reader
from engines.recognition.strip import STOP
from engines.runtime import Meter


def cppd(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Read by the reader that learned to count and to order. s: word, face, bent, grain, crossed, looks."""
    return (yield from at_once(s, noise, meter, CPPD, "All letters at once"))


def silent(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Read by the same layers, trained on letters alone."""
    return (yield from at_once(s, noise, meter, SILENT, "Plain parallel"))


def at_once(s: SimpleNamespace, noise: Noise, meter: Meter, name: str, title: str) -> Steps:
    """One call of the decoder: P asks V, and each row of logits is a slot."""
    strip = page.strip_of(s, noise.seed, meter)
    net, decoder = meter.net(name), page.decoder_of(meter, name)
    network = page.network_of(net)
    yield page.begin(title, meter, name, strip)
    yield from page.see(meter, name, strip)
    x = net(strip.image)
    yield net.forward(reads=[], computes=[], predicts=[], mode="prefill")
    yield from lessons(meter, network, x)
    yield Phase(unit="round", index=0, of=1, state="start")
    read = decoder(x)
    slots = list(range(network.slots))
    yield decoder.forward(reads=[], computes=slots, predicts=slots, mode="step")
    drawn = {slot: page.choose(noise, slot, read.logits[0, slot]) for slot in slots}
    signs = [page.SIGNS[choice.index] for choice, _ in drawn.values()]
    signs = signs[: signs.index(STOP) + 1] if STOP in signs else signs
    used = slots[: len(signs)]
    yield from page.commit({slot: drawn[slot] for slot in used})
    yield from page.looked(meter, s.looks, network, read, used, strip)
    for slot in used:
        if note := page.doubt(slot, *drawn[slot]):
            yield note
    yield page.verdict(strip, signs)
    return page.summary(strip, signs, decoder)


def lessons(meter: Meter, network: Reader, x: Tensor) -> Iterator[Event]:
    """What the side tasks say of visual tokens x (1, N, d), off the clock: the decoder is not told."""
    if meter.quiet or not isinstance(network, Cppd) or not network.sides:
        return
    with meter.preview(), torch.inference_mode():
        count, exists = network.sides_of(x)
        counts = array("counts", 0, count[0].softmax(-1).numpy())
        there = torch.sigmoid(exists[0]).tolist()
    yield counts
    yield Measure(name="there", unit="chance", value=sum(there), cells=list(range(len(there))), values=there)
