"""A sequential variational autoencoder: one latent vector a step, and a prior that walks from one to the next.

Source: Naiman et al., arXiv 2310.02619 (KoVAE) and its official code. Symbols: x (B, T, c) series in [0, 1],
z (B, T, k) latents, q(z_t | x) the posterior, p the prior, h the width, ε standard normal noise that callers hand in.

Three priors share encoder and decoder:

- `linear`: z_1 ~ N(0, I), z_t | z_{t-1} ~ N(z_{t-1} A, σ²). A is no parameter: it is solved from the posterior's
  latents (`koopman.operator`). This is the prior that the paper's text describes.
- `gru`: what the official code draws from: s_t = GRU(z_{t-1}, s_{t-1}) from zeros, μ_t and σ_t linear in s_t. There A
  is solved from the prior's own samples and only enters a penalty.
- `independent`: z_t ~ N(0, I) at every step, no dynamics at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from engines.nn import Step, count_parameters
from engines.time_series.ncde import NeuralCDE

PRIORS = ("independent", "gru", "linear")
LENGTH = 24  # steps of a training series
# log σ² at first, of the posterior and of a step of the prior. Latents that are mostly noise have no dynamics to find,
# and a short training never gets past that; nor past a prior so broad that walking well gains nothing.
QUIET, SURE = -3.0, -4.0


class Encoder(nn.Module):
    """Series (B, T, c) -> (B, T, 2h): a bidirectional GRU, normalised; series with holes go through the NCDE first."""

    def __init__(self, channels: int, hidden: int, layers: int, holes: bool):
        super().__init__()
        self.cde = NeuralCDE(channels, hidden, layers) if holes else None
        self.rnn = nn.GRU(hidden if holes else channels, hidden, 1 if holes else layers, batch_first=True,
                          bidirectional=True)
        self.norm = nn.BatchNorm1d(2 * hidden)

    def forward(self, *x: Tensor) -> Tensor:
        """x: the series, or (X(0), dX) of `ncde.control`."""
        h, _ = self.rnn(self.cde(*x) if self.cde else x[0])
        return self.norm(h.transpose(1, 2)).transpose(1, 2)


class Network(nn.Module):
    """Encoder, posterior, prior and decoder; about 40 thousand numbers. prior: index into PRIORS."""

    def __init__(self, channels: int, latent: int, hidden: int, layers: int, prior: int, holes: int = 0):
        super().__init__()
        self.config = {"channels": channels, "latent": latent, "hidden": hidden, "layers": layers, "prior": prior,
                       "holes": holes}
        self.prior = PRIORS[prior]
        self.encoder = Encoder(channels, hidden, layers, bool(holes))
        self.mean, self.logvar = nn.Linear(2 * hidden, latent), nn.Linear(2 * hidden, latent)
        nn.init.constant_(self.logvar.bias, QUIET)
        self.decoder = nn.GRU(latent, hidden, layers, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, channels)
        if self.prior == "gru":
            self.cell = nn.GRUCell(latent, hidden)
            self.prior_mean, self.prior_logvar = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
            nn.init.constant_(self.prior_logvar.bias, SURE)
        if self.prior == "linear":
            self.step_logvar = nn.Parameter(torch.full((latent,), SURE))

    def posterior(self, *x: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² (B, T, k) of q(z | x); x as in `Encoder`."""
        h = self.encoder(*x)
        return self.mean(h), self.logvar(h)

    def decode(self, z: Tensor) -> Tensor:
        """z (B, T, k) -> series (B, T, c) in (0, 1). It reads the whole walk, forwards and backwards."""
        return torch.sigmoid(self.out(self.decoder(z)[0]))

    step = decode
    free = {0: {0: "series"}}

    def example(self) -> tuple[Tensor]:
        """The walks of three series."""
        return (torch.zeros(3, LENGTH, self.config["latent"]),)

    def ahead(self, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of the GRU prior: z (B, k), state (B, h) -> μ, log σ² (B, k) of the next latent, next state."""
        state = self.cell(z, state)
        return self.prior_mean(state), self.prior_logvar(state), state

    def walk(self, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A whole walk of the GRU prior: ε (B, T, k) -> μ, log σ² and z (B, T, k); it feeds its own sample back."""
        z, state = torch.zeros_like(noise[:, 0]), noise.new_zeros(len(noise), self.cell.hidden_size)
        means, logvars, samples = [], [], []
        for e in noise.unbind(1):
            mean, logvar, state = self.ahead(z, state)
            z = mean + e * (logvar / 2).exp()
            means.append(mean)
            logvars.append(logvar)
            samples.append(z)
        return torch.stack(means, 1), torch.stack(logvars, 1), torch.stack(samples, 1)

    def session(self, step: Step | None = None) -> Session:
        return Session(self, step)


class Session:
    """What a lane calls: session("encode" | "ahead" | "walk" | "decode", …). The prior's state is the caller's."""

    cache_bytes = 0

    def __init__(self, network: Network, step: Step | None = None):
        """step: an evaluation of `network.step`, the decoder, by something faster than torch."""
        self.network, self.step = network, step or network.step
        self.params = count_parameters(network)

    @torch.inference_mode()
    def __call__(self, task: str, *inputs: Tensor) -> Any:
        """Each task as in `Network`; encode is its posterior: series or (X(0), dX) -> μ, log σ² (B, T, k)."""
        network = self.network
        tasks: dict[str, Callable[..., Any]] = {
            "encode": network.posterior, "ahead": network.ahead, "walk": network.walk, "decode": self.step}
        return tasks[task](*inputs)

    def warm(self) -> None:
        config = self.network.config
        self("decode", *self.network.example())
        if self.network.prior == "gru":
            self("ahead", torch.zeros(2, config["latent"]), torch.zeros(2, config["hidden"]))
