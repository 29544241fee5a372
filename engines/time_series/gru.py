"""The priors that the linear one is compared with: the official code's GRU, and no dynamics at all.

Source of the GRU: the official code of arXiv 2310.02619, `sample_prior`. Symbols: s_t its state, μ_t and σ_t what it
says of the next latent: s_t = GRU(z_{t-1}, s_{t-1}), z_t = μ_t + σ_t ε_t, from zeros. No matrix is needed to draw;
training only asks that the walks be nearly linear. The matrix shown beside it is solved from 256 of its own walks, off
the lane's clock, because that is where the official code solves it.

In training the official code compares each posterior with a walk that was drawn without a look at the series. No walk
can then foresee which series it will be compared with, so the best it can do is to be as broad as all of them together:
of one swing it learns little. The linear prior is compared step by step, from the posterior's own z_{t-1}.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from engines.events import Note, Steps
from engines.noise import Noise
from engines.runtime import Meter
from engines.time_series import canvas, koopman
from engines.time_series.canvas import FIT, Walks
from engines.time_series.model import LENGTH

GRU, INDEPENDENT = "time_series/gru", "time_series/independent"


def gru(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Draw `samples` series of `steps` steps from the GRU prior. s: steps, samples, noise, previews."""
    net, walks = meter.net(GRU), Walks(s, meter, GRU)
    config = net.session.network.config
    k = config["latent"]
    yield canvas.begin(s, "The official code's GRU", meter, GRU, s.steps + 1)
    yield from canvas.real(s, noise, meter)
    if not meter.quiet:
        with meter.preview():
            e = torch.from_numpy(noise.normal("fit", [0], (FIT, LENGTH, k))[0]).float()
            Z = net.session("walk", e)[2]
            shown = list(canvas.spectrum(koopman.operator(Z), Z))
        yield from shown
    yield Note(key="kvae.gru", text="A recurrent network says where each latent should go. One call a step.")
    z, state = torch.zeros(s.samples, k), torch.zeros(s.samples, config["hidden"])
    for t in range(s.steps):
        yield canvas.phase(s, t)
        mean, logvar, state = net("ahead", z, state)
        yield canvas.forward(net, s, t)
        mu, sigma = mean.double().numpy(), (logvar / 2).exp().double().numpy()
        drawn = mu + sigma * canvas.epsilon(s, noise, t, k)
        z = torch.from_numpy(drawn).float()
        yield from walks.add(mu, sigma, drawn)
    yield from walks.finish()
    return walks.summary()


def independent(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Draw every latent from N(0, I), whatever came before it. s: steps, samples, noise, previews."""
    walks = Walks(s, meter, INDEPENDENT)
    k = walks.net.session.network.config["latent"]
    yield canvas.begin(s, "No dynamics", meter, INDEPENDENT, 1)
    yield from canvas.real(s, noise, meter)
    yield Note(key="kvae.independent", text="Each latent is drawn by itself. Only the decoder can join them.")
    for t in range(s.steps):
        yield canvas.phase(s, t)
        e = canvas.epsilon(s, noise, t, k)
        yield from walks.add(np.zeros_like(e), np.ones(k), e)
    yield from walks.finish()
    return walks.summary()
