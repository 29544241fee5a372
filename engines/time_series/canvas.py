"""What the lanes share: their canvases, the spectrum, and how a step of the walks is told as events.

Three canvases: `latents` (what is decided, step by step), `series` (what the decoder makes of it, at the end) and
`spectrum` (the eigenvalues, as points of the complex plane). A cell is a step of one of the series: row · T + t.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines.events import Begin, Commit, Event, Forward, Measure, Note, Phase, spans
from engines.noise import Noise
from engines.painting import array
from engines.runtime import Meter, Net
from engines.time_series import koopman
from engines.time_series.model import LENGTH
from engines.worlds import series

LATENTS, SERIES, SPECTRUM = "latents", "series", "spectrum"
NAMES = ["angle", "speed"]
BOX = [-1.2, -1.2, 1.2, 1.2]
# The operator is solved from so many walks of the trained length.
FIT = 256
# At most so many looks at the unfinished series; each is a decode beside the lane's own work.
LOOKS = 12
# Rows of noise are this far apart, so that neither more series nor longer ones change the numbers of the others.
APART = 4096


def begin(s: SimpleNamespace, title: str, meter: Meter, name: str, calls: int) -> Begin:
    """calls: how many the lane will need."""
    config = meter.net(name).session.network.config
    k, c = config["latent"], config["channels"]
    return Begin(
        title=title, nets=[meter.card(name, "target")],
        canvases=[{"id": LATENTS, "kind": "series", "shape": [s.steps, k], "rows": s.samples, "calls": calls},
                  {"id": SERIES, "kind": "series", "shape": [s.steps, c], "rows": s.samples, "names": NAMES},
                  {"id": SPECTRUM, "kind": "plane", "shape": {"box": BOX, "n": k}}],
    )


def real(s: SimpleNamespace, noise: Noise, meter: Meter, lost: float = 0.0) -> Iterator[Event]:
    """How long the series were that the networks learned from, and as many held-out series as are made, to compare
    with; those of a network that learned from series with holes have such holes."""
    if meter.quiet:
        return
    yield Measure(name="trained", value=LENGTH, unit="steps")
    with meter.preview():
        first = series.TEST.start + noise.seed * 64 % (len(series.TEST) - 64)
        seeds = range(first, first + s.samples)
        x = series.pendulum(seeds, s.steps)
        x[~series.holes(seeds, s.steps, lost)] = nan
        event = array("real", 0, x)
    yield event


def spectrum(A: Tensor, z: Tensor) -> Iterator[Event]:
    """The eigenvalues and their coordinates v, and how linear the walks z (B, T, k) were that A was solved from."""
    values, vectors = koopman.spectrum(A)
    points = [[round(float(v.real), 4), round(float(v.imag), 4)] for v in values]
    yield Commit(canvas=SPECTRUM, cells=[[0, len(values)]], values=points, p=[nan] * len(values), origin="sampled")
    yield array("modes", 0, np.stack([vectors.T.real, vectors.T.imag], axis=1))
    yield Measure(name="modulus", value=float(abs(values[0])), unit="")
    yield Measure(name="off_circle", value=koopman.off_circle(A), unit="")
    yield Measure(name="residual", value=koopman.residual(z, A), unit="share of variance")


def epsilon(s: SimpleNamespace, noise: Noise, t: int, k: int) -> np.ndarray:
    """ε_t (R, k): standard normal, after the first step times the setting `noise`."""
    e = noise.normal("step", [row * APART + t for row in range(s.samples)], (k,))
    return e * (s.noise if t else 1.0)


def cells_of(s: SimpleNamespace, t: int) -> list[int]:
    return [row * s.steps + t for row in range(s.samples)]


def phase(s: SimpleNamespace, t: int) -> Phase:
    return Phase(unit="step", index=t, of=s.steps, state="start", cells=cells_of(s, t))


def forward(net: Net, s: SimpleNamespace, t: int) -> Forward:
    """A call of the prior at step t: its state keeps what came before, so earlier steps are read and not computed."""
    return net.forward(reads=range(t), computes=[t], predicts=cells_of(s, t), mode="step")


class Walks:
    """The latents so far: a list of (R, k) arrays, and the looks at what the decoder makes of them."""

    def __init__(self, s: SimpleNamespace, meter: Meter, name: str):
        self.s, self.meter, self.net = s, meter, meter.net(name)
        self.z: list[np.ndarray] = []
        self.every = -(-s.steps // LOOKS)
        self.on = s.previews and not meter.quiet

    def add(self, mean: np.ndarray, spread: np.ndarray, z: np.ndarray) -> Iterator[Event]:
        """One more step: where the prior expected it (R, k), its standard deviation (R, k), and where it fell."""
        t = len(self.z)
        self.z.append(z)
        yield Commit(cells=cells_of(self.s, t), values=[[round(v, 4) for v in row] for row in z.tolist()],
                     p=[nan] * len(z), origin="sampled")
        if self.on:
            yield array("law", t, np.stack([mean, np.broadcast_to(spread, mean.shape)]))
            if (t + 1) % self.every == 0 and t + 1 < self.s.steps:
                with self.meter.preview():
                    event = array(SERIES, t, self._decode(self.net.session))
                yield event

    def finish(self) -> Iterator[Event]:
        """The decoder reads the whole walks, on the clock, and the series stand."""
        x = self._decode(self.net)
        count = self.s.samples * self.s.steps
        yield self.net.forward(reads=range(count), computes=range(count), predicts=[], mode="commit")
        yield Commit(canvas=SERIES, cells=spans(range(count)), p=[nan] * count, origin="sampled",
                     values=[[round(v, 4) for v in step] for row in x.tolist() for step in row])
        left = swing_left(x)
        yield Measure(name="swing", value=left, unit="of the first swing")
        text = "The decoder has read the whole walks: now the series stand."
        if self.s.steps >= 2 * LENGTH:
            text = f"In the last {LENGTH} steps the series swing {100 * left:.0f} % as far as in the first {LENGTH}."
        yield Note(key="kvae.done", args={"swing": round(left, 2)}, text=text)

    def _decode(self, session: Any) -> np.ndarray:
        z = torch.from_numpy(np.stack(self.z, axis=1)).float()
        return session("decode", z).numpy()

    def summary(self) -> dict[str, Any]:
        return {"series": self.s.samples, "steps": self.s.steps, "calls": self.net.calls}


def swing(x: np.ndarray) -> float:
    """How far series (R, T, c) swing in their last 24 steps, a good period: root mean square around their middle."""
    late = x[:, -LENGTH:]
    return float(np.sqrt(((late - late.mean(1, keepdims=True)) ** 2).mean()))


def swing_left(x: np.ndarray) -> float:
    """How far series (R, T, c) swing in their last 24 steps, or half of them, over the first."""
    window = min(LENGTH, x.shape[1] // 2)
    return swing(x[:, -window:]) / max(swing(x[:, :window]), 1e-6)


def runs_of(events: Sequence[Event]) -> np.ndarray:
    """The finished series (R, T, c) of one lane's trace."""
    shape = next(e for e in events if isinstance(e, Begin)).canvases[1]
    commit = next(e for e in events if isinstance(e, Commit) and e.canvas == SERIES)
    return np.array(commit.values).reshape(shape["rows"], *shape["shape"])
