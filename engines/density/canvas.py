"""What the lanes of the plane share: whose arrows a lane follows, and the maps that are laid under its walkers."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np

from engines.events import Preview
from engines.painting import array
from engines.runtime import Meter, Net
from engines.worlds import plane

EXACT = "density/exact"
ARROWS, MAP = 24, 64


class Closed:
    """The best denoiser r* in the place of a network; called as `engines.density.model.Session`."""

    params, bytes, cache_bytes = 0, 0, 0

    def __call__(self, x: np.ndarray, density: int, sigma: float) -> np.ndarray:
        return plane.DENSITIES[plane.NAMES[density]].denoised(x, sigma)


def net_of(meter: Meter, name: str) -> Net:
    """The metered denoiser of this name; the closed form is counted and timed like a network."""
    if name == EXACT and name not in meter.nets:
        meter.nets[name] = Net(name, Closed(), meter)
    return meter.net(name)


def opening(meter: Meter, net: Net, density: str, sigma: float) -> Iterator[Preview]:
    """Off the clock: the lane's arrows r(x) - x, the true ones, the blurred density, and what the error makes of it."""
    if meter.quiet:
        return
    with meter.preview():
        mixture, index = plane.DENSITIES[density], plane.NAMES.index(density)
        at = plane.lattice(ARROWS).reshape(-1, 2)
        arrows = np.asarray(net.session(at, index, sigma)) - at
        truth = sigma**2 * mixture.score(at, sigma)
        fine = plane.lattice(MAP).reshape(-1, 2)
        log_p = mixture.log_density(fine, sigma)
        error = ((np.asarray(net.session(fine, index, sigma)) - fine) ** 2).sum(-1) / (2 * sigma**2)
        shown = [_field("arrows", arrows), _field("truth", truth), _map("density", np.exp(log_p - log_p.max())),
                 _map("error", np.exp(-error))]
    yield from shown


def _field(name: str, vectors: np.ndarray) -> Preview:
    """(n · n, 2) vectors as half floats."""
    return array(name, 0, vectors.reshape(ARROWS, ARROWS, 2))


def _map(name: str, values: np.ndarray) -> Preview:
    """(n · n,) values in [0, 1] as bytes; a square root lets faint places be seen."""
    bytes_ = np.round(255 * np.sqrt(values)).astype(np.uint8)
    return Preview(name=name, level=0, shape=[MAP, MAP], dtype="u8", data=base64.b64encode(bytes_.tobytes()).decode())
