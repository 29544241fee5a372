"""Sampling by Metropolis-Hastings from a density that nobody wrote down, with an auto-encoder for its slope.

Source: Alain and Bengio, arXiv 1211.4246 (JMLR 15, 2014). Symbols: r the auto-encoder, sigma its noise, x where a
walker stands, x* a proposed jump, E energy = -log p up to a constant.

    (r(x) - x) / sigma² ≈ ∇log p(x)                                  so, along the straight line from x to x*,
    E(x) - E(x*) = ∫ ∇log p · dz ≈ Σ_j (r(z_j) - z_j) · (x* - x) / (m sigma²),   z_j the m midpoints
    accept x* = x + N(0, step² I) if a uniform number falls below exp(E(x) - E(x*)); the proposal is symmetric

Walkers start anywhere in the box and never see data. They sample p_sigma, the data's density blurred by the noise; and
only nearly, because the arrows of a network need not be the gradient of anything: then the sum depends on the path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines.density.canvas import EXACT, net_of, opening
from engines.density.model import DAE, PLAIN, RCAE, TIED
from engines.events import Accept, Begin, Commit, Event, Measure, Note, Propose, Reject, Steps
from engines.noise import Noise
from engines.runtime import Meter
from engines.worlds import plane

Points = np.ndarray  # (C, 2), one of C walkers each
Denoiser = Callable[[Points], Points]
LogRatio = Callable[[Denoiser, Points, Points, float, int], np.ndarray]
NETS = {"dae": DAE, "rcae": RCAE, "tied": TIED}
TELL = 25


def path_integral(r: Denoiser, x: Points, new: Points, sigma: float, m: int) -> np.ndarray:
    """E(x) - E(x*) (C,) by m midpoints of the straight line between them."""
    t = (np.arange(m) + 0.5) / m
    z = (x[:, None] + t[:, None] * (new - x)[:, None]).reshape(-1, 2)
    arrows = (r(z) - z).reshape(len(x), m, 2).mean(axis=1)
    return (arrows * (new - x)).sum(-1) / sigma**2


def error_as_energy(r: Denoiser, x: Points, new: Points, sigma: float, m: int) -> np.ndarray:
    """The belief that the paper corrects: E(x) = ‖r(x) - x‖² / (2 sigma²), low where the error is low.

    With this scale it is the true energy of a single point of data, so it has its best chance.
    """
    both = np.concatenate([x, new])
    error = ((r(both) - both) ** 2).sum(-1) / (2 * sigma**2)
    return error[: len(x)] - error[len(x) :]


@dataclass(frozen=True)
class Way:
    """What tells one lane from another: whose arrows, and how two places are compared."""

    title: str
    net: Callable[[SimpleNamespace], str]
    log_ratio: LogRatio = path_integral
    map: str = "density"


LEARNED = Way("Learned arrows", lambda s: NETS[s.net])
ERROR = Way("Error as energy", lambda s: NETS[s.net], error_as_energy, "error")
TRUE = Way("True arrows", lambda s: EXACT)
UNTRAINED = Way("Trained without noise", lambda s: PLAIN)


def metropolis(s: SimpleNamespace, noise: Noise, meter: Meter, way: Way = LEARNED) -> Steps:
    """Walk. s: density, sigma, net, step, path, walkers, steps."""
    name = way.net(s)
    net = net_of(meter, name)
    index, sigma, n = plane.NAMES.index(s.density), float(s.sigma), s.steps + 1

    def r(points: Points) -> Points:
        return np.asarray(net(points, index, sigma))

    first = [w * n for w in range(s.walkers)]
    x = (2 * noise.uniform("prompt", first, (2,)) - 1) * plane.SIDE
    yield Begin(title=way.title, nets=[meter.card(name, "target")], given={"cells": first, "values": x.tolist()},
                canvases=[{"id": "plane", "kind": "plane", "shape": {"box": plane.BOX, "n": n}, "rows": s.walkers,
                           "map": way.map}])
    yield from opening(meter, net, s.density, sigma)
    yield _start_note(s)
    taken = 0
    for k in range(1, n):
        cells = [cell + k for cell in first]
        new = x + s.step * noise.normal("draft", cells, (2,))
        ratio = np.exp(np.minimum(way.log_ratio(r, x, new, sigma, s.path), 30.0))
        yield net.forward(reads=[c - 1 for c in cells], computes=cells, predicts=cells, mode="verify")
        # told after the evaluation that it did not need, so that a step is one call on every clock
        yield Propose(cells=cells, values=new.tolist(), p=[1.0] * len(cells))
        drawn = noise.accept(cells, ratio)
        goes = np.array([yes for _, yes in drawn])
        x_new = np.where(goes[:, None], new, x)
        yield from _verdicts(cells, ratio, [u for u, _ in drawn], goes, x, x_new)
        x, taken = x_new, taken + int(goes.sum())
        if k % TELL == 0:
            yield Measure(name="accepted", value=taken / (k * len(cells)), unit="share of jumps", x=k)
        if note := _step_note(k, cells, ratio, goes):
            yield note
    return {"steps": s.steps, "accepted": taken / (s.steps * s.walkers), "calls": net.calls}


def _verdicts(cells: list[int], ratio: np.ndarray, u: list[float], goes: np.ndarray, x: Points,
              x_new: Points) -> Iterator[Event]:
    """Density at the jump's end is told in units of that where the walker stands: p = ratio, q = 1."""
    for kind, who in ((Accept, np.flatnonzero(goes)), (Reject, np.flatnonzero(~goes))):
        if not len(who):
            continue
        own = [cells[i] for i in who]
        more: dict[str, Any] = {} if kind is Accept else {"replacement": x[who].tolist()}
        yield kind(cells=own, p=ratio[who].tolist(), q=[1.0] * len(own), ratio=np.minimum(ratio[who], 1).tolist(),
                   u=[u[i] for i in who], **more)
        chance = np.minimum(ratio[who], 1.0)
        yield Commit(cells=own, values=x_new[who].tolist(), p=(chance if kind is Accept else 1 - chance).tolist(),
                     origin="accepted" if kind is Accept else "repaired")


def _start_note(s: SimpleNamespace) -> Note:
    who = "One walker starts" if s.walkers == 1 else f"{s.walkers} walkers start"
    return Note(key="dae.start", args={"n": s.walkers}, text=f"{who} anywhere in the square. They never see the data.")


def _step_note(k: int, cells: list[int], ratio: np.ndarray, goes: np.ndarray) -> Note | None:
    """At the first steps and then now and again: one walker, and why it went or stayed."""
    if k > 3 and k % TELL:
        return None
    w = int(goes.argmin()) if k % 2 else int(goes.argmax())
    share = float(ratio[w])
    if goes[w] and share >= 1:
        text = "A jump to a denser place is always taken."
    elif goes[w]:
        text = f"Taken, though it is {_times(1 / share)} less dense over there: the dice said yes."
    else:
        text = f"Refused: over there it is {_times(1 / share)} less dense. The walker stays."
    return Note(key="dae.step", args={}, text=text, cells=[cells[w]])


def _times(x: float) -> str:
    return "over 100 times" if x > 100 else f"{x:.1f} times" if x < 10 else f"{x:.0f} times"
