"""The parts that the text networks share: one pre-norm block as plain functions, and a cache that is never resized.

A block is attention, then a gated feed-forward step, each added to its input. The parameters live in `Block`
modules so that they can be trained and stored, but the arithmetic is a handful of functions over plain tensors:
training and decoding call the same ones, and a decoding step pays for no module machinery.

Symbols: B rows, L positions, d width, H heads, e = d / H; x (B, L, d) is the running sum ("residual stream").
LayerNorm without a bias stands where a reader may expect RMSNorm: it is one fused kernel on a CPU, RMSNorm is six,
which is 3.5 times the time for the same result at these widths.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# A network's pure function of tensors, or what stands in for it (engines/backends.py).
Step = Callable[..., Any]


class Layer(NamedTuple):
    """The tensors of one block; weights are (out, in) as in `F.linear`."""

    norm_a: Tensor  # (d,)
    q: Tensor  # (d, d)
    kv: Tensor  # (2d, d): keys, then values
    qkv: Tensor  # (3d, d): q over kv, the same storage
    out: Tensor  # (d, d)
    norm_b: Tensor  # (d,)
    up: Tensor  # (2f, d): gate, then value
    down: Tensor  # (d, f)


class Block(nn.Module):
    """Parameters of one block of width d with a gated feed-forward layer of f units: 4d² + 3df + 2d numbers."""

    def __init__(self, width: int, hidden: int, depth: int):
        super().__init__()
        # Residual branches start small so that the sum over `depth` blocks keeps its scale.
        inward, back = 1 / math.sqrt(width), 1 / math.sqrt(2 * depth)
        self.norm_a = nn.Parameter(torch.ones(width))
        self.qkv = nn.Parameter(torch.randn(3 * width, width) * inward)
        self.out = nn.Parameter(torch.randn(width, width) * inward * back)
        self.norm_b = nn.Parameter(torch.ones(width))
        self.up = nn.Parameter(torch.randn(2 * hidden, width) * inward)
        self.down = nn.Parameter(torch.randn(width, hidden) * back / math.sqrt(hidden))

    def layer(self) -> Layer:
        width = self.out.shape[0]
        q, kv = self.qkv[:width], self.qkv[width:]
        return Layer(self.norm_a, q, kv, self.qkv, self.out, self.norm_b, self.up, self.down)


def layers_of(blocks: nn.ModuleList) -> list[Layer]:
    return [cast(Block, block).layer() for block in blocks]


def norm(x: Tensor, gain: Tensor) -> Tensor:
    return F.layer_norm(x, gain.shape, gain)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, heads · e) -> (B, heads, L, e)."""
    rows, length, width = x.shape
    return x.view(rows, length, heads, width // heads).transpose(1, 2)


def rotary_table(positions: int, size: int, base: float = 10_000.0) -> Tensor:
    """Rotary positions as (positions, 2, size / 2): cosines, then sines. Source: arXiv 2104.09864, eq. 34."""
    rate = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.arange(positions, dtype=torch.float64)[:, None] * rate
    return torch.stack([angle.cos(), angle.sin()], dim=1).float()


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn queries or keys x (B, H, L, e) by their positions; turn is (L, 2, e/2) or (B, 1, L, 2, e/2)."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = turn[..., 0, :], turn[..., 1, :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def finish(x: Tensor, heard: Tensor, layer: Layer) -> Tensor:
    """Add what attention heard (B, H, L, e) to x (B, L, d), then the gated feed-forward step."""
    x = x + F.linear(heard.transpose(1, 2).reshape(x.shape), layer.out)
    gate, value = F.linear(norm(x, layer.norm_b), layer.up).chunk(2, dim=-1)
    return x + F.linear(F.silu(gate) * value, layer.down)


def closed_entries(vocab: int, never: Sequence[int]) -> Tensor:
    """(vocab,) zeros with -inf at the ids that a network must never predict."""
    closed = torch.zeros(vocab)
    closed[list(never)] = -math.inf
    return closed


class Cache:
    """Keys and values of one sequence or of several, allocated once: (layers, rows, H, capacity, e) each, float32."""

    def __init__(self, layers: int, heads: int, capacity: int, size: int, rows: int = 1):
        self.kv = torch.zeros(2, layers, rows, heads, capacity, size)
        self.k, self.v = self.kv

    @property
    def bytes(self) -> int:
        return self.kv.nbytes

    def write(self, layer: int, start: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put k, v (B, H, T, e) at positions start, start + 1, … of the first B rows; return those up to their end."""
        rows, stop = k.shape[0], start + k.shape[2]
        keys, values = self.k[layer, :rows, :, :stop], self.v[layer, :rows, :, :stop]
        keys[:, :, start:] = k
        values[:, :, start:] = v
        return keys, values

    def reorder(self, rows: Sequence[int], stop: int) -> None:
        """Let row i go on from what row rows[i] holds before position `stop`."""
        if list(rows) != list(range(len(rows))):
            for held in (self.k, self.v):
                held[:, : len(rows), :, :stop] = held[:, list(rows), :, :stop]


class Past:
    """A cache as a pure function has it: what is held comes in whole, what is new goes out by itself.

    held (2, layers, B, H, capacity, e), of which only the first positions may be looked at (`widen`).
    """

    def __init__(self, held: Tensor):
        self.held = held
        self.new: list[Tensor] = []

    def write(self, layer: int, start: object, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k, v (B, H, T, e); return all `capacity` held positions with these behind them."""
        self.new += [k, v]
        return torch.cat([self.held[0, layer], k], dim=2), torch.cat([self.held[1, layer], v], dim=2)

    def added(self) -> Tensor:
        """What was written, (2, layers, B, H, T, e)."""
        return torch.stack([torch.stack(self.new[::2]), torch.stack(self.new[1::2])])


def widen(mask: Tensor, start: int, capacity: int) -> Tensor:
    """What to add to the weights of attention over a `Past`: 0 where something is seen, -inf where not.

    mask (R, start + T) bool over the held and the new positions -> (R, capacity + T) float.
    """
    seen = torch.cat([F.pad(mask[:, :start], (0, capacity - start)), mask[:, start:]], dim=1)
    return torch.zeros(seen.shape).masked_fill(~seen, -math.inf)


def common_prefix(a: Sequence, b: Sequence) -> int:
    """How many leading items a and b share: the part of a cache that stays true."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
