"""The network of masked ("absorbing") diffusion: a two-sided transformer over a page of words and masks.

One class is three published ones, which share their layout (the "DDiT" of SEDD):
- RADD (arXiv 2406.03736): no time input. `log_q` answers log q(v | visible words).
- SEDD (2310.16834): told the noise level sigma, which shifts and scales every norm; answers a score, see `radd.py`.
- MDLM (2406.07524): SEDD's body with sigma held at zero.

Symbols: B rows, L positions, d width, H heads, e = d / H, V words, and [M], the mask, which has the id V.
Differs from the official code: no dropout (stories never repeat), norm biases start at zero, and ids that no page can
hold (`never`) have no chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.nn import closed_entries, count_parameters, rotary_table, rotate, split_heads

FREQUENCIES = 256


class Block(nn.Module):
    """Attention, then a feed-forward layer. told: width of what is said about the noise level, 0 for nothing."""

    def __init__(self, width: int, hidden: int, told: int):
        super().__init__()
        self.norm_a = nn.LayerNorm(width, bias=not told)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm_b = nn.LayerNorm(width, bias=not told)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.tell = silent(told, 6 * width) if told else None


def silent(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that says nothing until it is trained."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Network(nn.Module):
    """vocab words and [M] on pages of at most `length` positions."""

    turn: Tensor
    closed: Tensor
    rates: Tensor

    def __init__(self, vocab: int, layers: int, width: int, heads: int, hidden: int, length: int = 64, told: int = 0,
                 never: Sequence[int] = ()):
        super().__init__()
        self.config = {"vocab": vocab, "layers": layers, "width": width, "heads": heads, "hidden": hidden,
                       "length": length, "told": told, "never": list(never)}
        self.vocab, self.heads, self.told = vocab, heads, told
        self.mask, self.length = vocab, length
        self.embed = nn.Parameter(torch.empty(vocab + 1, width))
        nn.init.kaiming_uniform_(self.embed, a=math.sqrt(5))
        if told:
            self.time_up, self.time_down = nn.Linear(FREQUENCIES, told), nn.Linear(told, told)
            self.last_tell = silent(told, 2 * width)
        self.blocks = nn.ModuleList(Block(width, hidden, told) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=not told)
        self.head = silent(width, vocab + 1)
        self.register_buffer("turn", rotary_table(length, width // heads), persistent=False)
        self.register_buffer("closed", closed_entries(vocab + 1, never), persistent=False)
        half = FREQUENCIES // 2
        rates = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32) / half)
        self.register_buffer("rates", rates, persistent=False)

    # --- the parts of one evaluation, in order; a decode session calls them too

    def enter(self, ids: Tensor) -> Tensor:
        """(B, L) ids -> (B, L, d)."""
        return F.embedding(ids, self.embed)

    def clock(self, sigma: Tensor | None) -> Tensor | None:
        """What the blocks are told of the noise level: (B,) -> (B, 1, told)."""
        if not self.told:
            return None
        if sigma is None:
            raise ValueError("this network must be told the noise level sigma")
        angle = sigma[:, None].float() * self.rates
        said = self.time_down(F.silu(self.time_up(torch.cat([angle.cos(), angle.sin()], dim=-1))))
        return F.silu(said)[:, None]

    def ask(self, depth: int, x: Tensor, turn: Tensor, told: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, L, e) of block `depth`."""
        block = cast(Block, self.blocks[depth])
        shift, scale, *_ = parts(block.tell, told, 6)
        qkv = split_heads(block.qkv(modulated(block.norm_a(x), shift, scale)), 3 * self.heads)
        q, k, v = qkv.chunk(3, dim=1)
        return rotate(q, turn), rotate(k, turn), v

    def answer(self, depth: int, x: Tensor, heard: Tensor, told: Tensor | None) -> Tensor:
        """x (B, L, d) after block `depth`, whose attention heard (B, H, L, e)."""
        block = cast(Block, self.blocks[depth])
        _, _, gate, shift, scale, last = parts(block.tell, told, 6)
        x = x + gated(block.out(heard.transpose(1, 2).reshape(x.shape)), gate)
        inner = F.gelu(block.up(modulated(block.norm_b(x), shift, scale)), approximate="tanh")
        return x + gated(block.down(inner), last)

    def leave(self, x: Tensor, told: Tensor | None) -> Tensor:
        """(B, L, d) -> raw outputs (B, L, V + 1), the last column of [M]."""
        shift, scale = parts(self.last_tell if self.told else None, told, 2)
        return self.head(modulated(self.norm(x), shift, scale)) + self.closed

    def forward(self, ids: Tensor, sigma: Tensor | None = None) -> Tensor:
        """ids (B, L), [M] = V where hidden; sigma (B,) if the network is told -> raw outputs (B, L, V + 1)."""
        told, turn = self.clock(sigma), self.turn[: ids.shape[1]]
        x = self.enter(ids)
        for depth in range(len(self.blocks)):
            x = self.answer(depth, x, F.scaled_dot_product_attention(*self.ask(depth, x, turn, told)), told)
        return self.leave(x, told)

    def log_q(self, ids: Tensor, sigma: Tensor | None = None) -> Tensor:
        """log q(v | visible words), (B, L, V): the reading of the raw outputs that RADD and MDLM share."""
        return self(ids, sigma)[..., :-1].log_softmax(-1)

    step = forward
    # How many pages are read at once is free.
    free: ClassVar = {0: {0: "rows"}, 1: {0: "rows"}}

    def example(self) -> tuple[Tensor, ...]:
        """Two hidden pages, and the noise level of each for a network that is told it."""
        pages = torch.full((2, self.length), self.mask)
        return (pages, torch.ones(2)) if self.told else (pages,)

    def session(self, step: Callable[..., Tensor] | None = None) -> Session:
        return Session(self, step)


def parts(layer: nn.Linear | None, told: Tensor | None, count: int) -> Sequence[Tensor | None]:
    return [None] * count if layer is None else layer(told).chunk(count, dim=-1)


def modulated(x: Tensor, shift: Tensor | None, scale: Tensor | None) -> Tensor:
    return x if shift is None or scale is None else torch.addcmul(shift, x, 1 + scale)


def gated(x: Tensor, gate: Tensor | None) -> Tensor:
    return x if gate is None else x * gate


class Session:
    """One decoding. Positions left out of `computes` are heard from the cache, as they were when last computed.

    network: a `Network`, or another two-sided one with its parts `enter, clock, ask, answer, leave`. step: what reads
    whole pages in its place, if anything does.
    """

    def __init__(self, network: Network, step: Callable[..., Tensor] | None = None):
        self.network, self.step = network, step
        self.params = count_parameters(network)
        self.k = self.v = torch.zeros(0)

    @property
    def cache_bytes(self) -> int:
        return self.k.nbytes + self.v.nbytes

    def warm(self) -> None:
        """One evaluation of a page."""
        network = self.network
        self([[network.mask] * network.length], sigma=[1.0] if network.told else None)

    @torch.inference_mode()
    def __call__(self, rows: Sequence[Sequence[int]], cells: Sequence[int] | None = None,
                 computes: Sequence[int] | None = None, keep: bool = False,
                 sigma: Sequence[float] | None = None) -> Tensor:
        """Logits (R, T, V), float32, of the asked `cells` (default: all), given rows of ids with [M] where hidden.

        computes: positions to compute, ascending (default all; must hold the asked cells). keep: remember keys and
        values for later calls that compute less. sigma: noise level of each row, for a network that is told it.
        """
        network, length = self.network, len(rows[0])
        where = list(range(length)) if computes is None else list(computes)
        asked = where if cells is None else list(cells)
        if not set(asked) <= set(where):
            raise ValueError("cells that are asked for must be computed")
        if computes is not None and self.k.numel() != self._size(len(rows), length):
            raise ValueError("nothing is in the cache for these rows; compute a whole page first, with keep")
        if keep:
            self.k, self.v = (torch.zeros(self._shape(len(rows), length)) for _ in range(2))
        store = keep or computes is not None
        level = None if sigma is None else torch.tensor(list(sigma), dtype=torch.float32)
        if self.step and computes is None and not keep:
            z = self.step(torch.tensor(rows), *([] if level is None else [level]))
            return z[:, asked, :-1]
        told, place = network.clock(level), torch.tensor(where)
        x, turn = network.enter(torch.tensor([[row[c] for c in where] for row in rows])), network.turn[place]
        for depth in range(len(network.blocks)):
            q, k, v = network.ask(depth, x, turn, told)
            if store:
                self.k[depth][:, :, place], self.v[depth][:, :, place] = k, v
                k, v = self.k[depth], self.v[depth]
            x = network.answer(depth, x, F.scaled_dot_product_attention(q, k, v), told)
        if asked != where:
            x = x[:, torch.tensor([where.index(c) for c in asked])]
        return network.leave(x, told)[..., :-1]

    def _shape(self, rows: int, length: int) -> tuple[int, ...]:
        config: dict[str, Any] = self.network.config
        return config["layers"], rows, config["heads"], length, config["width"] // config["heads"]

    def _size(self, rows: int, length: int) -> int:
        return math.prod(self._shape(rows, length))
