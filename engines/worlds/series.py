"""SERIES: numbers in time whose law is known. Every kind is a function (seeds, steps) -> (S, steps, channels) float64.

A seed is a series: the same seed gives the same start and noise whatever stands beside it, and a longer series begins
like a shorter one. Values lie near [0, 1], on scales that do not depend on the draw, so that amplitudes can be
compared. Trained networks see TRAIN only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.integrate import solve_ivp
from scipy.signal import lfilter
from scipy.special import ellipj, ellipk

TRAIN, VALIDATION, TEST = range(0, 10**7), range(10**7, 2 * 10**7), range(2 * 10**7, 3 * 10**7)

GRAVITY, DT = 9.81, 0.1
# Swings of the pendulum, in radians: past half of a half turn its period is clearly longer than that of a small swing.
LEAST, MOST = 0.3, 1.5
NOISE = 0.02
# An AR(3) process inside its stationary region, and a day of 24 hours.
AR = (0.2, 0.3, -0.5)
DAY = 24


def _draws(seeds: Sequence[int]) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, 2310]) for seed in seeds]


def pendulum(seeds: Sequence[int], steps: int, noise: float = NOISE) -> np.ndarray:
    """A pendulum without friction, angle and speed: amplitude uniform in [LEAST, MOST], anywhere in its swing at first.

    θ'' = -g sin θ, solved in closed form: sin(θ/2) = m sn(√g t + u, m²), m = sin(amplitude / 2); a little
    measurement noise. The larger the swing the slower, so no single linear law holds for all of them.
    """
    out = np.empty((len(seeds), steps, 2))
    rate = np.sqrt(GRAVITY)
    for row, draw in zip(out, _draws(seeds), strict=True):
        m = np.sin(draw.uniform(LEAST, MOST) / 2)
        u = rate * DT * np.arange(steps) + draw.uniform(0, 4) * ellipk(m**2)
        sn, cn, _, _ = ellipj(u, m**2)
        row[:, 0] = 2 * np.arcsin(m * sn)
        row[:, 1] = 2 * m * cn  # θ' / √g, so that both channels swing equally far
        row += noise * draw.standard_normal((steps, 2))
    return 0.5 + 0.5 * out / (1.1 * MOST)


def angle_per_step(amplitude: float) -> float:
    """How far, in radians of its cycle, a swing of this amplitude moves in one step: 2π DT / period."""
    return float(np.pi / 2 * np.sqrt(GRAVITY) * DT / ellipk(np.sin(amplitude / 2) ** 2))


def autoregressive(seeds: Sequence[int], steps: int, w: Sequence[float] = AR, noise: float = 0.1) -> np.ndarray:
    """y_t = Σ w_i y_{t-i} + ε_t, around 0 and not scaled; the first 100 steps are thrown away."""
    e = np.stack([noise * draw.standard_normal(100 + steps) for draw in _draws(seeds)])
    return lfilter([1.0], [1.0, *(-v for v in w)], e)[:, 100:, None]


def seasonal(seeds: Sequence[int], steps: int, noise: float = NOISE) -> np.ndarray:
    """An hourly load: a morning and an evening peak of drawn heights over a drawn base, the same every day."""
    out = np.empty((len(seeds), steps, 1))
    for row, draw in zip(out, _draws(seeds), strict=True):
        base, morning, evening = draw.uniform(0.1, 0.3), draw.uniform(0.2, 0.5), draw.uniform(0.3, 0.6)
        hour = (draw.integers(DAY) + np.arange(steps)) % DAY
        day = base + morning * np.exp(-(((hour - 8) / 2) ** 2)) + evening * np.exp(-(((hour - 19) / 2.5) ** 2))
        row[:, 0] = day + noise * draw.standard_normal(steps)
    return out


def lorenz(seeds: Sequence[int], steps: int) -> np.ndarray:
    """x, y, z of the Lorenz system (10, 28, 8/3) every 0.05, from a random start after the transient."""

    def flow(_: float, s: np.ndarray) -> list[float]:
        return [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]]

    out = np.empty((len(seeds), steps, 3))
    for row, draw in zip(out, _draws(seeds), strict=True):
        times = 5 + 0.05 * np.arange(steps)
        row[:] = solve_ivp(flow, (0, times[-1]), draw.uniform(-10, 10, 3) + [0, 0, 25], t_eval=times, rtol=1e-6).y.T
    return out * [1 / 45, 1 / 60, 1 / 50] + [0.5, 0.5, 0]


KINDS: dict[str, Callable[[Sequence[int], int], np.ndarray]] = {
    "pendulum": pendulum, "autoregressive": autoregressive, "seasonal": seasonal, "lorenz": lorenz,
}


def holes(seeds: Sequence[int], steps: int, share: float) -> np.ndarray:
    """(S, steps) bool, True where a step was measured. Of each series round(share · steps) steps are lost, all channels
    together, as in the irregular benchmarks of time-series generation; at least two steps stay."""
    lost = min(round(share * steps), steps - 2)
    seen = np.ones((len(seeds), steps), dtype=bool)
    for row, seed in zip(seen, seeds, strict=True):
        row[np.random.default_rng([seed, 7]).permutation(steps)[:lost]] = False
    return seen
