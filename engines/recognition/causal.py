"""Letter by letter: each call hears the letters before it and looks at the strip again, until one says END.

The rival that the paper's study starts from (a transformer decoder as in NRTR, arXiv 1806.00926), with a cache of keys
and values, as large as the readers that read at once.
"""

from __future__ import annotations

from types import SimpleNamespace

from engines.events import Steps
from engines.noise import Noise
from engines.recognition import strip as page
from engines.recognition.model import CAUSAL
from engines.recognition.strip import STOP
from engines.runtime import Meter
from engines.worlds.words import SLOTS


def causal(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Read a strip letter by letter. s: word, face, bent, grain, crossed, looks."""
    strip = page.strip_of(s, noise.seed, meter)
    net, decoder = meter.net(CAUSAL), page.decoder_of(meter, CAUSAL)
    network = page.network_of(net)
    yield page.begin("Letter by letter", meter, CAUSAL, strip)
    yield from page.see(meter, CAUSAL, strip)
    x = net(strip.image)
    yield net.forward(reads=[], computes=[], predicts=[], mode="prefill")
    signs: list[str] = []
    before = -1
    while len(signs) < SLOTS and STOP not in signs:
        slot = len(signs)
        read = decoder(x, before, slot)
        yield decoder.forward(reads=range(slot), computes=range(max(slot - 1, 0), slot), predicts=[slot], mode="step")
        choice, p = page.choose(noise, slot, read.logits[0, 0])
        before = choice.index
        signs.append(page.SIGNS[before])
        yield from page.commit({slot: (choice, p)})
        yield from page.looked(meter, s.looks, network, read, [slot], strip)
        if note := page.doubt(slot, choice, p):
            yield note
    yield page.verdict(strip, signs)
    return page.summary(strip, signs, decoder)
