"""The linear prior: one matrix, solved from the latents of real series, carries every walk from step to step.

Source: Naiman et al., arXiv 2310.02619: "we represent the latent conditional prior dynamics using a linear map".
Symbols: Z latents of 256 training series, A = argmin ‖Z_past A - Z_fut‖, λ its eigenvalues, Σ the covariance of what A
leaves over, μ_1 and Σ_1 mean and covariance of their first steps. z_1 ~ N(μ_1, Σ_1); z_t = z_{t-1} A + ε_t,
ε_t ~ N(0, Σ); at the end x = decoder(z_1 … z_T). Training only pulls z_1 towards N(0, I), so its law is measured too.

One call reads the series, then no network is needed until the decoder: a step is one product with a matrix.
Differs from the official code, which draws from a GRU (`gru.py`); there A only enters a penalty.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from engines.events import Note, Steps
from engines.noise import Noise
from engines.runtime import Meter
from engines.sampling import percent
from engines.time_series import canvas, koopman
from engines.time_series.canvas import FIT, Walks
from engines.time_series.model import LENGTH
from engines.time_series.ncde import control
from engines.worlds import series


def lost(s: SimpleNamespace) -> float:
    """The share of steps that this network's training series lack."""
    return int(s.trained.partition("-")[2] or 0) / 100


def name_of(s: SimpleNamespace) -> str:
    return f"time_series/{s.trained}"


@cache
def examples(share: float) -> tuple[Tensor, ...]:
    """The first training series, as the encoder reads them."""
    seeds = range(series.TRAIN.start, series.TRAIN.start + FIT)
    x = series.pendulum(seeds, LENGTH)
    parts = control(x, series.holes(seeds, LENGTH, share)) if share else (x,)
    return tuple(torch.from_numpy(part).float() for part in parts)


def linear(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Roll `samples` series over `steps` steps. s: trained, steps, samples, noise, previews."""
    name = name_of(s)
    net, walks = meter.net(name), Walks(s, meter, name)
    yield canvas.begin(s, "One matrix", meter, name, 2)
    yield from canvas.real(s, noise, meter, lost(s))
    mean, logvar = net("encode", *examples(lost(s)))
    yield net.forward(reads=[], computes=[], predicts=[], mode="prefill")
    e = torch.from_numpy(noise.normal("fit", [0], tuple(mean.shape))[0]).float()
    Z = mean + e * (logvar / 2).exp()
    A = koopman.operator(Z)
    yield from canvas.spectrum(A, Z)
    yield _told(A)
    step, L = A.double().numpy(), koopman.left_over(Z, A)
    first, L_1 = koopman.start(Z)
    k = len(step)
    for t in range(s.steps):
        yield canvas.phase(s, t)
        e_t = canvas.epsilon(s, noise, t, k)
        if t == 0:
            yield from walks.add(np.broadcast_to(first, e_t.shape), spread(L_1), first + e_t @ L_1.T)
            yield Note(key="kvae.first", cells=canvas.cells_of(s, 0),
                       text="The first latent is drawn. From here on the matrix moves it, with a little chance.")
        else:
            ahead = walks.z[-1] @ step
            yield from walks.add(ahead, s.noise * spread(L), ahead + e_t @ L.T)
    yield from walks.finish()
    return walks.summary()


def spread(L: np.ndarray) -> np.ndarray:
    """Standard deviations (k,) of what L (k, k) makes of standard normal noise."""
    return np.sqrt((L**2).sum(1))


def _told(A: Tensor) -> Note:
    """What the foremost eigenvalue says will become of a swing, in one trained length."""
    value = koopman.foremost(koopman.spectrum(A)[0])
    turn = abs(float(np.angle(value)))
    turning = turn > koopman.TURNS
    ends = f", round in {2 * np.pi / turn:.0f} steps" if turning else ""
    left = "more than there was" if abs(value) > 1 else percent(abs(value) ** LENGTH)
    which = "Largest turning eigenvalue" if turning else "Largest eigenvalue"
    return Note(key="kvae.spectrum", args={"modulus": round(abs(value), 3)},
                text=f"{which}: modulus {abs(value):.2f}{ends}, {left} left after {LENGTH}.")
