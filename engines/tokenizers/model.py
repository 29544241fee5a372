"""Three ways to turn a picture into what a decoder writes.

`MultiScale`: residual codes on a pyramid of scales (2404.02905, section 3.2 and algorithms 1-2).
`SingleScale`: one code a place, codebook and features on the unit sphere (2406.06525, section 2.1; 2110.04627).
`Continuous`: a Gaussian a place, no codes (2112.10752; what 2406.11838 draws with its diffusion head).
All share the encoder and decoder of `cnn`. Pictures are (B, 3, S, S) in [-1, 1]; V codes of C numbers each.

Ours, not the papers': how codes begin and how unused ones restart (`Codebook`).
"""


from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.tokenizers.cnn import Decoder, Encoder, Stateless
from engines.tokenizers.sketch import Sketch

BETA = 0.25
WARMUP, RESTART_EVERY = 300, 100


class Tokenizer(Stateless):
    """What the three have in common: an encoder and a decoder."""

    size: int
    decoder: Decoder
    after: nn.Module

    def example(self) -> tuple[Tensor]:
        """What a lane decodes: one picture."""
        return (torch.zeros(1, self.config["channels"], self.size, self.size),)

    def step(self, features: Tensor) -> Tensor:
        """(B, C, s, s) in the decoder's own space -> pictures clamped to [-1, 1]."""
        return self.decoder(self.after(features)).clamp(-1, 1)


class Codebook(nn.Module):
    """V codes of C numbers, and how training keeps them in use.

    For the first `warmup` batches nothing is rounded, so that there are features worth rounding to; then every code is
    placed on a feature of the current batch. Later, every RESTART_EVERY batches, codes that nothing was rounded to
    move to features that are far from their own code (k-means++, Arthur and Vassilvitskii 2007). This is ours, not
    the papers'.
    """

    seen: Tensor

    def __init__(self, codes: int, channels: int, warmup: int = WARMUP):
        super().__init__()
        self.warmup = warmup
        self.weight = nn.Parameter(1e-3 * torch.randn(codes, channels))
        # Batches seen in training; a resumed run goes on from there.
        self.register_buffer("seen", torch.zeros(1))
        self.hits = torch.zeros(codes)
        self.last: tuple[Tensor, Tensor] | None = None

    @property
    def warm(self) -> bool:
        """Still without rounding?"""
        return self.training and float(self.seen) < self.warmup

    def note(self, ids: Tensor, features: Tensor) -> None:
        """One batch: its codes ids (N,) and the features (N, C) that they stand for."""
        self.last = ids.detach(), features.detach()

    @torch.no_grad()
    def learn(self) -> None:
        """Count the batch noted last and move codes; not before its gradients are computed, hence a step later."""
        if self.last is None:
            return
        (ids, features), self.last = self.last, None
        self.hits = self.hits.to(ids.device) + torch.bincount(ids, minlength=len(self.weight))
        self.seen += 1
        first = float(self.seen) == self.warmup
        if not first and float(self.seen) % RESTART_EVERY:
            return
        dead = torch.ones_like(self.hits, dtype=torch.bool) if first else self.hits == 0
        self.hits.zero_()
        if n := int(dead.sum()):
            far = features.square().sum(1) if first else (features - self.weight[ids]).square().sum(1)
            pick = torch.multinomial(far + 1e-9, n, replacement=True)
            self.weight[dead] = features[pick] + 1e-3 * torch.randn_like(features[pick])


class MultiScale(Tokenizer):
    """f = sum over k of phi_k(up(Z[r_k])) + what is left: codes r_k (B, p_k²) on scales p_1 < … < p_K.

    The scales end at the features' own size. phi(h) = (1 - rho) h + rho conv(h), applied after upsampling; `phis`
    convolutions are shared by the K scales, each taking the nearest of evenly spread ticks.
    """

    def __init__(self, widths: list[int], blocks: int, channels: int, groups: int, stem: int, codes: int,
                 scales: list[int], phis: int, *, rho: float = 0.5, kernel: int = 3, cosine: bool = False):
        super().__init__()
        self.config = {"widths": widths, "blocks": blocks, "channels": channels, "groups": groups, "stem": stem,
                       "codes": codes, "scales": scales, "phis": phis}
        self.scales, self.size = scales, scales[-1]
        # Options of the official class that none of our stored nets uses, so not a part of `config`.
        self.rho, self.cosine = rho, cosine
        self.encoder = Encoder(widths, blocks, channels, groups, stem)
        self.before = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.codes = Codebook(codes, channels)
        self.phi = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(phis))
        self.after = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.decoder = Decoder(widths, blocks + 1, channels, groups, stem)
        # numpy's float64: two of the official ten scales lie between ticks but for rounding
        edge = (1 / 3 if phis == 4 else 1 / 2) / phis
        ticks, where = np.linspace(edge, 1 - edge, phis), np.arange(len(scales)) / max(len(scales) - 1, 1)
        self.which = np.abs(where[:, None] - ticks).argmin(axis=1).tolist()

    @property
    def codebook(self) -> Tensor:
        """Z (V, C)."""
        return self.codes.weight

    def features(self, image: Tensor) -> Tensor:
        """f (B, C, s, s), before any rounding to codes."""
        return self.before(self.encoder(image))

    def zero(self, rows: int) -> Tensor:
        """f_hat before the first scale."""
        return self.codebook.new_zeros(rows, self.codebook.shape[1], self.size, self.size)

    def spread(self, k: int, ids: Tensor) -> Tensor:
        """phi_k(up(Z[r_k])) for r_k (B, p_k²): what scale k adds to f_hat, (B, C, s, s)."""
        p = self.scales[k]
        h = F.embedding(ids, self.codebook).transpose(1, 2).reshape(len(ids), -1, p, p)
        if p != self.size:
            h = F.interpolate(h, size=(self.size, self.size), mode="bicubic")
        return (1 - self.rho) * h + self.rho * self.phi[self.which[k]](h)

    def add(self, f_hat: Tensor, k: int, ids: Tensor) -> Tensor:
        return f_hat + self.spread(k, ids)

    def running(self, ids: Sequence[Tensor]) -> list[Tensor]:
        """f_hat after each scale, for codes (r_1 … r_K), (B, p_k²) each."""
        f_hats = [self.zero(len(ids[0]))]
        for k, r_k in enumerate(ids):
            f_hats.append(self.add(f_hats[-1], k, r_k))
        return f_hats[1:]

    def canvas(self, f_hat: Tensor, k: int) -> Tensor:
        """What a decoder sees of f_hat when it is about to draw scale k: (B, p_k², C)."""
        return self._shrink(f_hat, k).flatten(2).transpose(1, 2)

    def _shrink(self, f: Tensor, k: int) -> Tensor:
        p = self.scales[k]
        return f if p == self.size else F.interpolate(f, size=(p, p), mode="area")

    def nearest(self, z: Tensor) -> Tensor:
        """Codes (N,) of features (N, C) by squared Euclidean distance, or by direction."""
        if self.cosine:
            return (F.normalize(z, dim=1) @ F.normalize(self.codebook, dim=1).T).argmax(dim=1)
        distance = self.codebook.square().sum(1) - 2 * z @ self.codebook.T
        return distance.argmin(dim=1)

    def quantise(self, f: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """(r_1 … r_K, f_hat_1 … f_hat_K, the features z that were rounded), for f (B, C, s, s)."""
        rest, f_hat = f.detach(), self.zero(len(f))
        ids, hats, zs = [], [], []
        for k in range(len(self.scales)):
            z = self.canvas(rest, k).flatten(0, 1)
            r = self.nearest(z.detach()).view(len(f), -1)
            h = self.spread(k, r)
            f_hat, rest = f_hat + h, rest - h.detach()
            ids.append(r)
            hats.append(f_hat)
            zs.append(z)
        return ids, hats, zs

    def encode(self, image: Tensor) -> list[Tensor]:
        """Codes of every scale: [(B, p_1²), …, (B, p_K²)] int64."""
        return self.quantise(self.features(image))[0]

    def decode(self, f_hat: Tensor) -> Tensor:
        return self.step(f_hat)

    forward = decode

    def loss(self, image: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(reconstruction as the straight-through estimator sees it, vq loss of the card's step 6)."""
        self.codes.learn()
        f = self.features(image)
        warm = self.codes.warm
        ids, hats, zs = self.quantise(f)
        if self.training:
            self.codes.note(torch.cat([r.flatten() for r in ids]), torch.cat(zs))
        if warm:
            return self.decoder(self.after(f)), f.new_zeros(())
        terms = [BETA * F.mse_loss(h.detach(), f) + F.mse_loss(h, f.detach()) for h in hats]
        vq = torch.stack(terms).mean()
        return self.decoder(self.after(f + (hats[-1] - f).detach())), vq


class SingleScale(Tokenizer):
    """One code a place; features and codes are compared as directions. `inner`: channels of the encoder's output."""

    def __init__(self, widths: list[int], blocks: int, inner: int, channels: int, groups: int, stem: int, codes: int,
                 size: int):
        super().__init__()
        self.config = {"widths": widths, "blocks": blocks, "inner": inner, "channels": channels, "groups": groups,
                       "stem": stem, "codes": codes, "size": size}
        self.size = size
        self.encoder = Encoder(widths, blocks, inner, groups, stem)
        self.before = nn.Conv2d(inner, channels, 1)
        self.codes = Codebook(codes, channels)
        self.after = nn.Conv2d(channels, inner, 1)
        self.decoder = Decoder(widths, blocks + 1, inner, groups, stem)

    @property
    def codebook(self) -> Tensor:
        """(V, C): the codes, each of length 1."""
        return self.directions()

    def features(self, image: Tensor) -> Tensor:
        return self.before(self.encoder(image))

    def directions(self) -> Tensor:
        """(V, C): the codes, each of length 1."""
        return F.normalize(self.codes.weight, dim=1)

    def quantise(self, f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(ids (B, s²), codes (B, C, s, s), features as directions (B, C, s, s)) for features f."""
        z = F.normalize(f, dim=1)
        flat = z.flatten(2).transpose(1, 2)
        ids = (flat.detach() @ self.directions().T).argmax(dim=-1)
        return ids, self.look(ids), z

    def look(self, ids: Tensor) -> Tensor:
        """Codes of ids (B, s²) as a map (B, C, s, s)."""
        return F.embedding(ids, self.directions()).transpose(1, 2).reshape(len(ids), -1, self.size, self.size)

    def encode(self, image: Tensor) -> Tensor:
        return self.quantise(self.features(image))[0]

    def decode(self, ids: Tensor) -> Tensor:
        return self.step(self.look(ids))

    forward = decode

    def decode_partial(self, ids: Tensor, known: Tensor) -> Tensor:
        """A picture of which only some codes are known (B, s²) bool; the others hold the mean of all codes."""
        mean = self.directions().mean(dim=0)[None, :, None, None]
        shown = known.view(len(ids), 1, self.size, self.size)
        return self.step(torch.where(shown, self.look(ids.clamp_min(0)), mean))

    def loss(self, image: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        self.codes.learn()
        warm = self.codes.warm
        ids, q, z = self.quantise(self.features(image))
        if self.training:
            self.codes.note(ids.flatten(), z.flatten(2).transpose(1, 2).flatten(0, 1))
        if warm:
            return self.decoder(self.after(z)), z.new_zeros(())
        vq = F.mse_loss(q, z.detach()) + BETA * F.mse_loss(q.detach(), z)
        return self.decoder(self.after(z + (q - z).detach())), vq


class Continuous(Tokenizer):
    """A variational autoencoder; latents are shifted and scaled so that each channel has mean 0 and variance 1."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, widths: list[int], blocks: int, channels: int, groups: int, stem: int, size: int):
        super().__init__()
        self.config = {"widths": widths, "blocks": blocks, "channels": channels, "groups": groups, "stem": stem,
                       "size": size}
        self.size = size
        self.encoder = Encoder(widths, blocks, 2 * channels, groups, stem)
        self.before = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.after = nn.Conv2d(channels, channels, 1)
        self.decoder = Decoder(widths, blocks + 1, channels, groups, stem)
        # Running statistics of the mean of q(z | image), a part of what is stored.
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def posterior(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | image), (B, C, s, s) each."""
        mean, logvar = self.before(self.encoder(image)).chunk(2, dim=1)
        return mean, logvar.clamp(-30, 20)

    def encode(self, image: Tensor) -> Tensor:
        """Latents (B, s², C): the mean of q(z | image), normalised a channel."""
        mean = self.posterior(image)[0].flatten(2).transpose(1, 2)
        return (mean - self.mean) / self.deviation

    def decode(self, latents: Tensor) -> Tensor:
        z = (latents * self.deviation + self.mean).transpose(1, 2)
        return self.step(z.reshape(len(latents), -1, self.size, self.size))

    forward = decode

    def loss(self, image: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(reconstruction, mean over latents of KL(q(z | image) || N(0, 1)) in nats)."""
        mean, logvar = self.posterior(image)
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(mean.mean(dim=(0, 2, 3)), 0.01)
                self.deviation.lerp_(mean.transpose(0, 1).flatten(1).std(dim=1), 0.01)
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return self.decoder(self.after(mean + (0.5 * logvar).exp() * noise)), kl


NETWORKS = (MultiScale, SingleScale, Continuous, Sketch)
