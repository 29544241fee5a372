"""Auto-encoders r: R² -> R², one for every density and noise level, trained and stored together.

The N = densities · noise levels networks of a bank are independent: each has its own weights, and only share a tensor
(one batched product instead of N small ones). Network i belongs to density i // S and to noise level i % S.

What is predicted is (r(x) - x) / sigma, so that the error is of one size at all noise levels:
    Free: r(x) = x + sigma · (C tanh(B tanh(A x + a) + b) + c)           2 -> hidden -> hidden -> 2
    Tied: r(x) = x + sigma · (Aᵀ D tanh(A x + a) / √hidden + c)          2 -> hidden -> 2
The second has a symmetric Jacobian, so r(x) - x is the gradient of a function and its path integrals depend on the
ends only; the first need not. D is a diagonal of signs, half of them -1: the paper's tied form has only +1, which could
stretch here but never contract, because x is added.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines.nn import Step, count_parameters

DAE, RCAE, TIED, PLAIN = "density/dae", "density/rcae", "density/tied", "density/plain"
NOISE = (0.05, 0.1, 0.2, 0.4)
Which = slice | Tensor  # networks of a bank: a range of them, or their numbers (n,) int64


class Bank(nn.Module):
    """What both kinds share. noise: the levels in thousandths (configurations are whole numbers)."""

    sigma: Tensor

    def __init__(self, hidden: int, densities: int, noise: list[int]):
        super().__init__()
        self.config: dict[str, Any] = {"hidden": hidden, "densities": densities, "noise": noise}
        self.hidden, self.nets = hidden, densities * len(noise)
        sigma = torch.tensor(noise, dtype=torch.float32) / 1000
        self.register_buffer("sigma", sigma.repeat(densities)[:, None, None], persistent=False)

    def forward(self, x: Tensor, which: Which = slice(None)) -> Tensor:
        """r(x): x (n, B, 2) for the n networks of `which` -> (n, B, 2)."""
        return x + self.sigma[which] * self.moved(x, which)

    def moved(self, x: Tensor, which: Which) -> Tensor:
        """(r(x) - x) / sigma."""
        raise TypeError("a bank says where its networks move a point")

    step = forward
    free = {0: {1: "points"}}

    def example(self) -> tuple[Tensor, Tensor]:
        """Five points, one network."""
        return torch.zeros(1, 5, 2), torch.tensor([self.nets - 1])

    def session(self, step: Step | None = None) -> Session:
        return Session(self, step)


class Free(Bank):
    def __init__(self, hidden: int, densities: int, noise: list[int]):
        super().__init__(hidden, densities, noise)
        n = self.nets
        # Rows of all networks stand below one another, so that stored rows keep a scale each.
        self.a_weight = nn.Parameter(torch.randn(n * hidden, 2) * 1.5)
        self.a_bias = nn.Parameter(torch.randn(n, hidden))
        self.b_weight = nn.Parameter(torch.randn(n * hidden, hidden) / hidden**0.5)
        self.b_bias = nn.Parameter(torch.zeros(n, hidden))
        self.c_weight = nn.Parameter(torch.randn(n * 2, hidden) / hidden**0.5)
        self.c_bias = nn.Parameter(torch.zeros(n, 2))

    def _parts(self, which: Which) -> tuple[tuple[Tensor, Tensor], ...]:
        n, hidden = self.nets, self.hidden
        a, b = self.a_weight.view(n, hidden, 2), self.b_weight.view(n, hidden, hidden)
        c = self.c_weight.view(n, 2, hidden)
        return ((a[which], self.a_bias[which]), (b[which], self.b_bias[which]), (c[which], self.c_bias[which]))

    def moved(self, x: Tensor, which: Which) -> Tensor:
        a, b, c = self._parts(which)
        return _affine(torch.tanh(_affine(torch.tanh(_affine(x, *a)), *b)), *c)

    def jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """r(x) (N, B, 2) and ∂r/∂x (N, B, 2, 2), of all networks; [..., i, j] is ∂r_i/∂x_j."""
        a, b, c = self._parts(slice(None))
        h = torch.tanh(_affine(x, *a))
        g = torch.tanh(_affine(h, *b))
        columns = []
        for j in range(2):  # the chain rule forwards, one column of the Jacobian at a time
            dh = (1 - h * h) * a[0][:, None, :, j]
            dg = (1 - g * g) * (dh @ b[0].transpose(1, 2))
            columns.append(dg @ c[0].transpose(1, 2))
        eye = torch.eye(2, device=x.device)
        return x + self.sigma * _affine(g, *c), eye + self.sigma[..., None] * torch.stack(columns, dim=-1)


class Tied(Bank):
    signs: Tensor

    def __init__(self, hidden: int, densities: int, noise: list[int]):
        super().__init__(hidden, densities, noise)
        self.a_weight = nn.Parameter(torch.randn(self.nets * hidden, 2) * 1.5)
        self.a_bias = nn.Parameter(torch.randn(self.nets, hidden))
        self.c_bias = nn.Parameter(torch.zeros(self.nets, 2))
        signs = torch.tensor([1.0, -1.0]).repeat(hidden // 2)
        self.register_buffer("signs", signs, persistent=False)

    def moved(self, x: Tensor, which: Which) -> Tensor:
        a = self.a_weight.view(self.nets, self.hidden, 2)[which]
        h = self.signs * torch.tanh(_affine(x, a, self.a_bias[which]))
        return h @ a / self.hidden**0.5 + self.c_bias[which, None]


NETWORKS = (Free, Tied)


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (n, B, in), weight (n, out, in), bias (n, out) -> (n, B, out)."""
    return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))


class Session:
    """Calls one network of a bank."""

    cache_bytes = 0

    def __init__(self, bank: Bank, step: Step | None = None):
        """step: an evaluation of `bank.step` by something faster than torch."""
        self.bank, self.step = bank, step or bank
        # what one lane evaluates is one network of the bank
        self.params = count_parameters(bank) // bank.nets
        levels = bank.config["noise"]
        self._column = {level: i for i, level in enumerate(levels)}
        self._one = torch.arange(bank.nets)[:, None]

    def warm(self) -> None:
        self(np.zeros((4, 2)), 0, NOISE[0])

    def __call__(self, x: np.ndarray, density: int, sigma: float) -> np.ndarray:
        """r(x) (P, 2) float64 of points (P, 2). A bank with one level (no noise) answers with that at all of them."""
        levels = len(self._column)
        column = self._column[round(1000 * sigma)] if levels > 1 else 0
        i = density * levels + column
        points = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))[None]
        with torch.inference_mode():
            return np.asarray(self.step(points, self._one[i])[0].double().numpy())
