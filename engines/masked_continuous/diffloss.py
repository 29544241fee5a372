"""A continuous token is drawn by a small diffusion: the network that denoises it, its loss, and its sampler.

Source: Li et al., arXiv 2406.11838 (MAR), section 3.2; the diffusion itself is that of Nichol and Dhariwal
(arXiv 2102.09672): 1,000 steps, cosine noise schedule, learnt variance.

Symbols: x_0 (n, C) clean tokens, x_t noisy ones, t the time step (0 nearly clean), z (n, D) what the transformer says
about each token, beta_t the noise added in step t, abar_t = prod(1 - beta), eps the noise, v in [-1, 1] where the
variance lies between its two bounds in log space, tau the temperature, w the guidance.
Tables are float64; what touches a token is float32.
Differs: `ours` starts at step TOP, because of what is said there; official samplers start at the last step.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 1_000
# Where our sampler starts. At the very last steps a picture has all but vanished (abar about 1e-9), so what the head
# says of the noise is multiplied by up to 20,000 on its way to x_0: a head trained for minutes is not that exact. At
# this step the factor is 16, and a token still shows through by 6 % of its size only, so pure noise may stand for it.
TOP = 961
FREQUENCIES = 256
EPS = 1e-6
TINY = 1e-12  # what stands for a temperature of 0, where a logarithm is wanted

Denoise = Callable[[Tensor, int], Tensor]


def cosine_betas(steps: int = STEPS) -> np.ndarray:
    """beta_t (steps,) of abar(s) = cos²(π/2 · (s + 0.008) / 1.008), at most 0.999. Source: 2102.09672, eq. 17."""
    edges = [math.cos((s / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for s in range(steps + 1)]
    return np.array([min(1 - b / a, 0.999) for a, b in zip(edges[:-1], edges[1:], strict=True)])


def respaced(spec: int | str | Sequence[int], steps: int = STEPS) -> list[int]:
    """The time steps that a shortened sampler visits, ascending.

    spec: how many in all; or how many in each of several equal parts, as "5,4,0" or [5, 4, 0]; or "ddim50", the first
    whole stride that gives exactly that many. Ends of a part are always visited (but 1 means only its start).
    """
    if isinstance(spec, str) and spec.startswith("ddim"):
        for gap in range(1, steps):
            if len(range(0, steps, gap)) == int(spec[4:]):
                return list(range(0, steps, gap))
        raise ValueError(f"no whole stride takes exactly {spec[4:]} of {steps} steps")
    if isinstance(spec, str):
        spec = [int(part) for part in spec.split(",")] if spec else [steps]
    counts = [spec] if isinstance(spec, int) else list(spec)
    visited: set[int] = set()
    first = 0
    for i, count in enumerate(counts):
        size = steps // len(counts) + int(i < steps % len(counts))
        if count > size:
            raise ValueError(f"a part of {size} steps cannot be visited {count} times")
        stride = (size - 1) / (count - 1) if count > 1 else 1.0
        place = 0.0
        for _ in range(count):  # a running sum, not a product: roundings must fall as they do in published samplers
            visited.add(first + round(place))
            place += stride
        first += size
    return sorted(visited)


class Schedule:
    """The numbers of a diffusion that visits only some of the 1,000 time steps; index i counts visited steps."""

    def __init__(self, spec: int | str | Sequence[int] = STEPS, top: int = STEPS, low: int = 0):
        """spec: as in `respaced`, among the steps from `low` to below `top`; all 1,000 in official samplers."""
        full = np.cumprod(1 - cosine_betas())
        self.times = [low + t for t in respaced(spec, top - low)]
        abar = full[self.times]
        before = np.append(1.0, abar[:-1])
        # Betas first, then their product again: that is what the steps between two visited ones amount to.
        self.betas = 1 - abar / before
        self.abar = np.cumprod(1 - self.betas)
        before = np.append(1.0, self.abar[:-1])
        variance = self.betas * (1 - before) / (1 - self.abar)
        # The posterior of the last step has no variance, whose log would be -inf: the one before stands in.
        self.log_small = np.log(np.append(variance[1:2], variance[1:]))
        self.log_large = np.log(self.betas)
        self.from_x_0 = self.betas * np.sqrt(before) / (1 - self.abar)
        self.from_x_t = (1 - before) * np.sqrt(1 - self.betas) / (1 - self.abar)
        self.signal, self.noise = np.sqrt(self.abar), np.sqrt(1 - self.abar)
        self.unscale, self.remove = np.sqrt(1 / self.abar), np.sqrt(1 / self.abar - 1)

    def __len__(self) -> int:
        return len(self.times)

    def at(self, table: np.ndarray, i: Tensor) -> Tensor:
        """table[i] as a float32 column (n, 1) on i's device."""
        return torch.from_numpy(table).to(i.device)[i].float()[:, None]


@lru_cache(maxsize=64)
def ours(inner: int, low: int = 0) -> Schedule:
    """The schedule of a lane with so many inner steps, the last of them at time step `low`."""
    return Schedule(inner, TOP, low)


class Residual(nn.Module):
    """One step of the head: a two-layer perceptron, shifted, scaled and gated by what it is told (adaLN)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.up = nn.Linear(width, width)
        self.down = nn.Linear(width, width)
        self.tell = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        shift, scale, gate = self.tell(told).chunk(3, dim=-1)
        h = torch.addcmul(shift, self.norm(x), 1 + scale)
        return torch.addcmul(x, gate, self.down(F.silu(self.up(h))))


class Head(nn.Module):
    """SimpleMLPAdaLN: (x_t, t, z) -> eps and v. About (5 · layers + 3) · width² numbers.

    The modulations and the last layer start at zero, so an untrained head says eps = 0, v = 0.
    """

    rates: Tensor

    def __init__(self, channels: int, condition: int, layers: int, width: int):
        super().__init__()
        self.channels = channels
        self.config = {"channels": channels, "condition": condition, "layers": layers, "width": width}
        self.enter = nn.Linear(channels, width)
        self.time_up = nn.Linear(FREQUENCIES, width)
        self.time_down = nn.Linear(width, width)
        self.hear = nn.Linear(condition, width)
        self.steps = nn.ModuleList(Residual(width) for _ in range(layers))
        self.last_tell = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, 2 * channels)
        half = FREQUENCIES // 2
        rates = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32) / half)
        self.register_buffer("rates", rates, persistent=False)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        for layer in (self.time_up, self.time_down):
            nn.init.normal_(layer.weight, std=0.02)
        silent = [step.tell for step in self.steps if isinstance(step, Residual)]
        for layer in (*silent, self.last_tell, self.leave):
            nn.init.zeros_(layer.weight)

    def clock(self, t: Tensor) -> Tensor:
        """(n,) time steps -> (n, W)."""
        angle = t[:, None].float() * self.rates
        return self.time_down(F.silu(self.time_up(torch.cat([angle.cos(), angle.sin()], dim=-1))))

    def forward(self, x: Tensor, t: Tensor, z: Tensor) -> Tensor:
        """(n, 2C): eps, then v."""
        return self.denoise(x, self.clock(t) + self.hear(z))

    def denoise(self, x: Tensor, y: Tensor) -> Tensor:
        """The same from y = clock(t) + hear(z) (n, W), whose parts a sampler computes once."""
        x, told = self.enter(x), F.silu(y)
        for step in self.steps:
            x = step(x, told)
        shift, scale = self.last_tell(told).chunk(2, dim=-1)
        return self.leave(torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=EPS), 1 + scale))

    step = denoise
    free = {0: {0: "tokens"}, 1: {0: "tokens"}}

    def example(self) -> tuple[Tensor, Tensor]:
        """Three tokens."""
        return torch.zeros(3, self.config["channels"]), torch.zeros(3, self.config["width"])


def guided(out: Tensor, w: float) -> Tensor:
    """out (2n, 2C), the rows with a caption first -> eps of both halves = eps_u + w · (eps_c - eps_u); v as it was."""
    eps, v = out.chunk(2, dim=-1)
    with_caption, without = eps.chunk(2)
    eps = torch.lerp(without, with_caption, w)
    return torch.cat([torch.cat([eps, eps]), v], dim=-1)


def noised(schedule: Schedule, x_0: Tensor, i: Tensor, eps: Tensor) -> Tensor:
    """x_t of q(x_t | x_0)."""
    return schedule.at(schedule.signal, i) * x_0 + schedule.at(schedule.noise, i) * eps


def losses(schedule: Schedule, out: Tensor, x_0: Tensor, i: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """(mse, vb) of each token, (n,) each, for the head's answer `out` to noised(x_0, i, eps).

    mse: squared error of eps, mean over channels. vb: the variational bound in bits a channel, in which the mean is
    held still so that it teaches the variance only. Source: 2102.09672, section 3.1.
    """
    guess, v = out.chunk(2, dim=-1)
    mse = (eps - guess).square().mean(dim=-1)
    x_t = noised(schedule, x_0, i, eps)
    small, large = schedule.at(schedule.log_small, i), schedule.at(schedule.log_large, i)
    a, b = schedule.at(schedule.from_x_0, i), schedule.at(schedule.from_x_t, i)
    seen = schedule.at(schedule.unscale, i) * x_t - schedule.at(schedule.remove, i) * guess.detach()
    true_mean, mean = a * x_0 + b * x_t, a * seen + b * x_t
    log_variance = torch.lerp(small.expand_as(v), large.expand_as(v), (v + 1) / 2)
    kl = 0.5 * (
        -1 + log_variance - small + (small - log_variance).exp() + (true_mean - mean).square() * (-log_variance).exp()
    )
    nats = torch.where((i == 0)[:, None], -_log_bin(x_0, mean, 0.5 * log_variance), kl)
    return mse, nats.mean(dim=-1) / math.log(2)


def _log_bin(x: Tensor, mean: Tensor, log_sd: Tensor) -> Tensor:
    """log of a normal's mass on x ± 1/255, as for pixels in [-1, 1]: the last step of the bound."""

    def cdf(y: Tensor) -> Tensor:
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))

    centre, per_sd = x - mean, (-log_sd).exp()
    above, below = cdf(per_sd * (centre + 1 / 255)), cdf(per_sd * (centre - 1 / 255))
    tiny = 1e-12
    inside = (above - below).clamp(min=tiny).log()
    right = torch.where(x > 0.999, (1 - below).clamp(min=tiny).log(), inside)
    return torch.where(x < -0.999, above.clamp(min=tiny).log(), right)


def moments(schedule: Schedule, out: Tensor, x: Tensor, i: int, tau: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """One ancestral step from visited index i to i - 1 is normal: (mean, log of its sd, the clean token believed in).

    out (n, 2C) is the head's answer for x (n, C). tau multiplies the sd.
    """
    eps, v = out.chunk(2, dim=-1)
    believed = schedule.unscale[i] * x - schedule.remove[i] * eps
    mean = schedule.from_x_0[i] * believed + schedule.from_x_t[i] * x
    share = (v + 1) / 2
    log_variance = share * schedule.log_large[i] + (1 - share) * schedule.log_small[i]
    return mean, 0.5 * log_variance + math.log(max(tau, TINY)), believed


def step(schedule: Schedule, out: Tensor, x: Tensor, i: int, noise: Tensor, tau: float = 1.0) -> tuple[Tensor, Tensor]:
    """One ancestral step from visited index i to i - 1: (x_{t-1}, the clean token it believes in).

    out, tau: as in `moments`. The last step adds no noise.
    """
    mean, log_sd, believed = moments(schedule, out, x, i, tau)
    return (mean if i == 0 else mean + log_sd.exp() * noise), believed


class Walk(NamedTuple):
    """All steps of n tokens: x (S, n, C) before each step, and the normal law (n, C) of the last, from which the token
    is drawn. spread (n, C): the sum of log sd over all steps but the last."""

    x: Tensor
    mean: Tensor
    log_sd: Tensor
    spread: Tensor


def walk(
    schedule: Schedule, denoise: Denoise, start: Tensor, noise: Tensor, tau: float = 1.0,
    watch: Callable[[int, Tensor], None] = lambda i, believed: None,
) -> Walk:
    """All steps, noisiest first: start (n, C), noise (len(schedule), n, C) in order of use.

    denoise(x, i) answers (n, 2C) at visited index i. watch(i, believed) is told the clean token believed in.
    """
    x, path, spread = start, [], torch.zeros_like(start)
    for turn, i in enumerate(reversed(range(len(schedule)))):
        path.append(x)
        mean, log_sd, believed = moments(schedule, denoise(x, i), x, i, tau)
        watch(i, believed)
        if i:
            x, spread = mean + log_sd.exp() * noise[turn], spread + log_sd
    return Walk(torch.stack(path), mean, log_sd, spread)


def sample(
    schedule: Schedule, denoise: Denoise, start: Tensor, noise: Tensor, tau: float = 1.0,
    watch: Callable[[int, Tensor], None] = lambda i, believed: None,
) -> Tensor:
    """Tokens (n, C) by `walk`, whose last step adds no noise."""
    return walk(schedule, denoise, start, noise, tau, watch).mean
