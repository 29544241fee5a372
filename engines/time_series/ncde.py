"""A neural controlled differential equation: how a series with holes is read without filling them in.

Source: Kidger et al., arXiv 2005.08926, as KoVAE uses it for irregular series. Symbols: X the natural cubic spline
through what was measured, dX its derivative, h the hidden state, f the vector field: dh/dt = f(h) dX/dt. Where nothing
was measured the spline only says how the measured points are joined; the network never sees a filled-in value.

The equation is solved by the 3/8 rule of Runge and Kutta with one step between two grid points (the fixed-step "rk4"
of torchdiffeq), so dX is needed at thirds of a step: `control` prepares it.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

THIRDS = 3


def control(x: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """X(0) (S, c) and dX/dt (S, 3 (T - 1) + 1, c) at thirds of steps, of series x (S, T, c) where seen (S, T).

    Before the first and after the last measured step the spline passes through the nearest measured value.
    """
    count, steps, channels = x.shape
    fine = np.arange(THIRDS * (steps - 1) + 1) / THIRDS
    start, slope = np.empty((count, channels)), np.empty((count, len(fine), channels))
    for i in range(count):
        at = np.flatnonzero(seen[i])
        values = x[i, at]
        if at[0] > 0:
            at, values = np.concatenate([[0], at]), np.concatenate([values[:1], values])
        if at[-1] < steps - 1:
            at, values = np.concatenate([at, [steps - 1]]), np.concatenate([values, values[-1:]])
        spline = CubicSpline(at, values, bc_type="natural")
        start[i], slope[i] = values[0], spline(fine, 1)
    return start, slope


class NeuralCDE(nn.Module):
    """Reads (X(0), dX) into (B, T, hidden): the solution at every grid point, then a linear layer and a sigmoid."""

    def __init__(self, channels: int, hidden: int, layers: int):
        super().__init__()
        self.channels, self.hidden = channels, hidden
        self.initial = nn.Linear(channels, hidden)
        inner = [part for _ in range(layers - 1) for part in (nn.Linear(hidden, hidden), nn.ReLU())]
        self.field = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), *inner, nn.Linear(hidden, hidden * channels))
        self.out = nn.Linear(hidden, hidden)

    def slope(self, h: Tensor, dx: Tensor) -> Tensor:
        """f(h) dX/dt: h (B, hidden), dx (B, channels) -> (B, hidden)."""
        f = self.field(h).unflatten(-1, (self.hidden, self.channels)).tanh()
        return (f @ dx[..., None])[..., 0]

    def forward(self, start: Tensor, dx: Tensor) -> Tensor:
        """start (B, c), dx (B, 3 (T - 1) + 1, c) -> (B, T, hidden)."""
        h = self.initial(start)
        path = [h]
        for t in range(0, dx.shape[1] - 1, THIRDS):
            k1 = self.slope(h, dx[:, t])
            k2 = self.slope(h + k1 / 3, dx[:, t + 1])
            k3 = self.slope(h + k2 - k1 / 3, dx[:, t + 2])
            k4 = self.slope(h + k1 - k2 + k3, dx[:, t + 3])
            h = h + (k1 + 3 * (k2 + k3) + k4) / 8
            path.append(h)
        return torch.sigmoid(self.out(torch.stack(path, dim=1)))
