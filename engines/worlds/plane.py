"""PLANE: densities in the plane whose score is known in closed form at every noise level.

Each is an even mixture of K round Gaussians of spread tau, so that noise of N(0, sigma² I) only widens the blobs:
p_sigma = 1/K Σ_k N(centre_k, (tau² + sigma²) I). Hence log p_sigma, its gradient (the score) and the best denoiser
r*(x) = x + sigma² ∇log p_sigma(x) (Tweedie's formula; arXiv 1211.4246 has its small-noise limit) are exact.
Points are (…, 2) float64 in a box of side 3.2 around the origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.sampling import softmax

SIDE = 1.6
BOX = [-SIDE, -SIDE, SIDE, SIDE]
TRAIN, TEST = range(0, 1 << 40), range(1 << 40, 1 << 41)


@dataclass(frozen=True, eq=False)
class Mixture:
    """An even mixture of round Gaussians: centres (K, 2), spread tau (standard deviation per coordinate)."""

    centres: np.ndarray
    spread: float

    def sample(self, seed: int, n: int, sigma: float = 0.0) -> np.ndarray:
        """n points (n, 2) of p_sigma; the seed says which."""
        rng = np.random.default_rng(seed)
        which = rng.integers(len(self.centres), size=n)
        return self.centres[which] + self._wide(sigma) * rng.standard_normal((n, 2))

    def log_density(self, x: np.ndarray, sigma: float = 0.0) -> np.ndarray:
        """log p_sigma (…,), in nats per unit of area."""
        variance = self._wide(sigma) ** 2
        summed = np.logaddexp.reduce(self._exponents(x, sigma), axis=-1)
        return np.asarray(summed - np.log(len(self.centres) * 2 * np.pi * variance))

    def score(self, x: np.ndarray, sigma: float = 0.0) -> np.ndarray:
        """∇log p_sigma (…, 2): from x towards the mean of the centres, weighted by how likely each made x."""
        x = np.asarray(x, dtype=np.float64)
        mean = softmax(self._exponents(x, sigma)) @ self.centres
        return (mean - x) / self._wide(sigma) ** 2

    def denoised(self, x: np.ndarray, sigma: float) -> np.ndarray:
        """r*(x) (…, 2): the mean of all originals that noise of this strength could have moved to x."""
        return x + sigma**2 * self.score(x, sigma)

    def _wide(self, sigma: float) -> float:
        return float(np.hypot(self.spread, sigma))

    def _exponents(self, x: np.ndarray, sigma: float) -> np.ndarray:
        x = np.asarray(x, dtype=np.float64)
        far = ((x[..., None, :] - self.centres) ** 2).sum(-1)
        return -far / (2 * self._wide(sigma) ** 2)


def _ring(n: int, radius: float) -> np.ndarray:
    angle = 2 * np.pi * np.arange(n) / n
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _moons(n: int) -> np.ndarray:
    """Two half circles, each with an end inside the other."""
    angle = np.pi * (np.arange(n) + 0.5) / n
    upper = np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25], axis=1)
    return 0.85 * np.concatenate([upper, -upper])


def _spiral(n: int) -> np.ndarray:
    """One and a half turns from the middle outwards, centres at equal distances along the curve."""
    turn = 3 * np.pi * np.sqrt(np.linspace(0.02, 1, n))
    return 1.2 * (turn / turn[-1])[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)


DENSITIES: dict[str, Mixture] = {
    "eight": Mixture(_ring(8, 1.1), 0.12),
    "moons": Mixture(_moons(32), 0.1),
    "spiral": Mixture(_spiral(72), 0.1),
    "blobs": Mixture(np.array([[-0.7, 0.0], [0.7, 0.0]]), 0.2),
}
NAMES = tuple(DENSITIES)


def lattice(n: int) -> np.ndarray:
    """(n, n, 2): the middles of n x n squares of the box, row 0 at the top as in a picture."""
    at = (np.arange(n) + 0.5) / n * 2 * SIDE - SIDE
    return np.stack(np.meshgrid(at, at[::-1]), axis=-1)
