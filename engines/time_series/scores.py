"""The two scores of time-series generation: can a classifier tell made series from real ones, and are they of use?

Source: Yoon et al., TimeGAN, NeurIPS 2019, as the official code of arXiv 2310.02619 computes them. Both train a small
GRU after the fact. Differs: width 12 instead of half the number of channels (which is 1 here), fewer but larger steps.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, BATCH, STEPS, RATE = 12, 128, 250, 1e-2
TRAINED = 0.8


class Reader(nn.Module):
    """A GRU with one number at every step."""

    def __init__(self, channels: int):
        super().__init__()
        self.rnn = nn.GRU(channels, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, c) -> (B, T)."""
        return self.out(self.rnn(x)[0])[..., 0]


def _fit(inputs: Tensor, targets: Tensor, loss: str, seed: int, steps: int) -> Reader:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = Reader(inputs.shape[-1])
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(reader.parameters(), lr=RATE)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (BATCH,), generator=generator)
        said = reader(inputs[rows])
        if loss == "label":
            cost = F.binary_cross_entropy_with_logits(said[:, -1], targets[rows])
        else:
            cost = F.l1_loss(said.sigmoid(), targets[rows])
        optimizer.zero_grad(set_to_none=True)
        cost.backward()
        optimizer.step()
    return reader


def _split(x: np.ndarray, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to train on and rows to test with."""
    order = np.random.default_rng(seed).permutation(len(x))
    cut = int(TRAINED * len(x))
    rows = torch.from_numpy(x).float()
    return rows[order[:cut]], rows[order[cut:]]


def discriminative(real: np.ndarray, made: np.ndarray, seed: int, steps: int = STEPS) -> float:
    """|accuracy - 0.5| of a classifier on rows that it has not seen: 0 if it must guess, 0.5 if it always knows."""
    (real_train, real_test), (made_train, made_test) = _split(real, seed), _split(made, seed + 1)
    labels = torch.cat([torch.ones(len(real_train)), torch.zeros(len(made_train))])
    reader = _fit(torch.cat([real_train, made_train]), labels, "label", seed, steps)
    with torch.no_grad():
        right = torch.cat([reader(real_test)[:, -1] > 0, reader(made_test)[:, -1] <= 0])
    return abs(float(right.float().mean()) - 0.5)


def predictive(real: np.ndarray, made: np.ndarray, seed: int, steps: int = STEPS) -> float:
    """Mean absolute error, on real series, of a predictor trained on made ones: the last channel, one step ahead, from
    the others."""
    x, y = torch.from_numpy(made).float(), torch.from_numpy(real).float()
    reader = _fit(x[:, :-1, :-1], x[:, 1:, -1], "value", seed, steps)
    with torch.no_grad():
        return float((reader(y[:, :-1, :-1]).sigmoid() - y[:, 1:, -1]).abs().mean())
