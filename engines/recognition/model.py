"""Readers of strips: an encoder that they share in kind, and two decoders, each as large as the other.

Source: CPPD (Du et al., arXiv 2307.12270). `Cppd` is its decoder: a counting branch (how often does each letter
occur?), an ordering branch (is there a letter at this slot?), and one step in which every slot picks its letter.
Trained on letters alone (`sides` 0) it is a plain parallel reader of the same layers. `Causal` is the rival: it hears
the letters before, and writes one a call.

Symbols: B strips, X (B, N, d) visual tokens of the encoder, V the same with their places, C classes (END and the
letters), T + 1 slots, E_c and E_p the nodes of classes and slots, P slots behind the ordering branch, H heads.
A layer is post-norm as in the official code, and the last one's weights are not divided by √(d/H). The encoder is ours
(three convolutions that keep four times as many columns as rows, then pre-norm blocks), the paper's is SVTR, whose
tokens lie in two rows as well.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import nn as parts
from engines.nn import count_parameters, split_heads

CPPD, SILENT, CAUSAL = (f"recognition/{name}" for name in ("cppd", "silent", "causal"))
SMOOTHING, EPS = 0.1, 1e-6


class Layer(nn.Module):
    """Who asks (B, L, d) hears what is seen (B, M, d), then a perceptron; a norm behind each sum."""

    def __init__(self, width: int, heads: int, hidden: int, scaled: bool = True):
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5 if scaled else 1.0
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=EPS), nn.LayerNorm(width, eps=EPS)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def told(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, M, e)."""
        k, v = self.kv(seen).chunk(2, dim=-1)
        return split_heads(k, self.heads), split_heads(v, self.heads)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        return self.hear(x, *self.told(seen))

    def hear(self, x: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
        heard = F.scaled_dot_product_attention(
            split_heads(self.q(x), self.heads), k, v, is_causal=causal, scale=self.scale
        )
        x = self.norm1(x + self.proj(heard.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.fc2(F.gelu(self.fc1(x))))

    def weights(self, x: Tensor, k: Tensor) -> Tensor:
        """Where who asks looks: (B, L, M), the mean of the heads."""
        return (self.scale * split_heads(self.q(x), self.heads) @ k.transpose(2, 3)).softmax(-1).mean(1)


class Read(NamedTuple):
    """What a reader made of strips: logits (B, n, C) of n slots; who asked last (B, n, d), and keys (B, H, N, e)."""

    logits: Tensor
    asked: Tensor
    keys: Tensor


class Reader(nn.Module, ABC):
    """What both share. grid: rows and columns of visual tokens, N of them; the encoder has `depth` blocks.

    wide: units of the perceptron in a layer of the decoder (the paper: 4 d).
    """

    def __init__(
        self, width: int, heads: int, depth: int, hidden: int, grid: list[int], classes: int, slots: int,
        layers: list[nn.Module],
    ):
        super().__init__()
        self.width, self.heads, self.depth, self.grid, self.slots = width, heads, depth, grid, slots
        self.stem = nn.Sequential(
            nn.Conv2d(1, 32, 3, 2, 1), nn.GroupNorm(4, 32), nn.GELU(),
            nn.Conv2d(32, 64, 3, 2, 1), nn.GroupNorm(8, 64), nn.GELU(),
            nn.Conv2d(64, width, (4, 3), (4, 1), (0, 1)), nn.GroupNorm(8, width), nn.GELU(),
        )
        self.place = nn.Parameter(torch.randn(grid[0] * grid[1], width) * 0.1)
        blocks: list[nn.Module] = [parts.Block(width, hidden, depth) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks + layers)
        self.edge_fc = nn.Linear(width, classes)

    def layer(self, i: int) -> Layer:
        """The i-th layer of the decoder."""
        return cast(Layer, self.blocks[self.depth + i])

    def see(self, image: Tensor) -> Tensor:
        """Strips (B, 1, 32, 128) in [-1, 1] -> X (B, N, d)."""
        x = self.stem(image).flatten(2).transpose(1, 2) + self.place
        for block in self.blocks[: self.depth]:
            layer = cast(parts.Block, block).layer()
            qkv = F.linear(parts.norm(x, layer.norm_a), layer.qkv).chunk(3, dim=-1)
            q, k, v = (split_heads(part, self.heads) for part in qkv)
            heard = F.scaled_dot_product_attention(q, k, v)
            x = parts.finish(x, heard, layer)
        return x

    def last(self) -> Layer:
        """The layer in which slots pick their letters."""
        return cast(Layer, self.blocks[-1])

    def looked(self, read: Read) -> Tensor:
        """Where each slot looked in the last layer: (B, n, N), the mean of the heads."""
        return self.last().weights(read.asked, read.keys)

    @abstractmethod
    def read(self, x: Tensor) -> Read:
        """All slots of visual tokens X, letters before them included where a reader hears those; the likeliest ones."""

    @abstractmethod
    def loss(self, image: Tensor, target: Tensor) -> Tensor:
        """target (B, T + 1): letters, END, then NOTHING. Cross-entropy in nats a letter, smoothed."""

    def session(self) -> Session:
        return Session(self)


def smoothed(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with 1 - SMOOTHING on the target and the rest shared by the other classes, as the paper's loss."""
    share = SMOOTHING * logits.shape[-1] / (logits.shape[-1] - 1)  # torch gives a part of it to the target too
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100, label_smoothing=share)


class Cppd(Reader):
    """L layers in either branch. sides: train counting and ordering, 1 or 0."""

    def __init__(
        self, width: int, heads: int, depth: int, hidden: int, grid: list[int], classes: int, slots: int,
        wide: int, branch: int = 2, sides: int = 1,
    ):
        layers: list[nn.Module] = [Layer(width, heads, wide) for _ in range(2 * branch)]
        super().__init__(width, heads, depth, hidden, grid, classes, slots,
                         [*layers, Layer(width, heads, wide, scaled=False)])
        self.config: dict[str, Any] = {
            "width": width, "heads": heads, "depth": depth, "hidden": hidden, "grid": grid, "classes": classes,
            "slots": slots, "wide": wide, "branch": branch, "sides": sides,
        }
        self.branch, self.sides = branch, sides
        self.char_node = nn.Parameter(torch.randn(classes, width) / math.sqrt(width))
        self.pos_node = nn.Parameter(torch.randn(slots, width) / math.sqrt(width))
        self.char_pos = nn.Parameter(torch.randn(slots, width) * 0.02)
        self.vis_pos = nn.Parameter(torch.randn(grid[0] * grid[1], width) * 0.02)
        self.count_fc = nn.Linear(width, slots - 1)
        self.slot_fc = nn.Linear(width, slots)

    def looked_at(self, x: Tensor) -> Tensor:
        """V (B, N, d) of X."""
        return x + self.vis_pos

    def order(self, v: Tensor) -> Tensor:
        """The ordering branch: rows of slots and of V, keys and values of V alone; P (B, T + 1, d)."""
        nodes = math.sqrt(self.width) * self.pos_node + self.char_pos
        return self._branch(nodes, v, self.branch)[0]

    def count(self, v: Tensor, nodes: bool = False) -> tuple[Tensor, Tensor]:
        """The counting branch: class nodes (B, C, d), none unless wanted, and V behind it (B, N, d)."""
        classes = math.sqrt(self.width) * self.char_node
        return self._branch(classes if nodes else classes[:0], v, 0)

    def _branch(self, nodes: Tensor, v: Tensor, first: int) -> tuple[Tensor, Tensor]:
        n = len(nodes)
        x = torch.cat([nodes.expand(len(v), -1, -1), v], dim=1)
        for i in range(first, first + self.branch):
            x = self.layer(i)(x, x[:, n:])
        return x[:, :n], x[:, n:]

    def read(self, x: Tensor) -> Read:
        """All slots in one pass; what only teaches (class nodes, both side heads) is left out."""
        v = self.looked_at(x)
        return self.pick(self.order(v), self.count(v)[1])

    def pick(self, p: Tensor, v: Tensor) -> Read:
        """Every slot picks its letter."""
        k, told = self.last().told(v)
        return Read(self.edge_fc(self.last().hear(p, k, told)), p, k)

    def sides_of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of how often each class occurs (B, C, T), and of a letter or END at each slot (B, T + 1)."""
        v = self.looked_at(x)
        return self.count_fc(self.count(v, nodes=True)[0]), self.exists(self.order(v))

    def exists(self, p: Tensor) -> Tensor:
        """Slot i is asked its own question only: the diagonal of (T + 1)² logits."""
        return (p * self.slot_fc.weight).sum(-1) + self.slot_fc.bias

    def losses(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of visual tokens X: counting (cross-entropy), ordering (binary), letters."""
        v = self.looked_at(x)
        nodes, counted = self.count(v, nodes=bool(self.sides))
        p = self.order(v)
        letters = smoothed(self.pick(p, counted).logits, target)
        if not self.sides:
            return letters * 0, letters * 0, letters
        count = F.cross_entropy(self.count_fc(nodes).flatten(0, 1), counts(target, nodes.shape[1]).flatten())
        order = F.binary_cross_entropy_with_logits(self.exists(p), (target >= 0).float())
        return count, order, letters

    def loss(self, image: Tensor, target: Tensor) -> Tensor:
        return sum(self.losses(self.see(image), target), torch.zeros(()))


def counts(target: Tensor, classes: int) -> Tensor:
    """How often each class occurs (B, C) in slots (B, T + 1), END too; T - 1 at most."""
    found = F.one_hot(target.clamp_min(0), classes) * (target >= 0)[..., None]
    return found.sum(1).clamp_max(target.shape[1] - 2)


class Heard(nn.Module):
    """The letters before, by causal attention; their keys and values go to a cache, if there is one."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=EPS)

    def forward(self, x: Tensor, cache: parts.Cache | None, i: int, start: int) -> Tensor:
        """x (B, n, d): letters at slots start …; one of them if there is a cache."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        if cache is not None:
            k, v = cache.write(i, start, k, v)
        heard = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None)
        return self.norm(x + self.proj(heard.transpose(1, 2).flatten(2)))


Told = list[tuple[Tensor, Tensor]]


class Causal(Reader):
    """Letter i hears the letters before it, then the strip, `layers` times. Before the first stands a sign of its own.
    """

    def __init__(
        self, width: int, heads: int, depth: int, hidden: int, grid: list[int], classes: int, slots: int,
        wide: int, layers: int = 3,
    ):
        own: list[nn.Module] = []
        for _ in range(layers):
            own += [Heard(width, heads), Layer(width, heads, wide)]
        super().__init__(width, heads, depth, hidden, grid, classes, slots, own)
        self.config = {
            "width": width, "heads": heads, "depth": depth, "hidden": hidden, "grid": grid, "classes": classes,
            "slots": slots, "wide": wide, "layers": layers,
        }
        self.layers, self.first = layers, classes
        self.letter = nn.Parameter(torch.randn(classes + 1, width))
        self.pos_node = nn.Parameter(torch.randn(slots, width) * 0.1)
        self.vis_pos = nn.Parameter(torch.randn(grid[0] * grid[1], width) * 0.02)

    def told(self, x: Tensor) -> Told:
        """Keys and values of the strip for each layer, worked out once for all letters."""
        return [self.layer(2 * i + 1).told(x + self.vis_pos) for i in range(self.layers)]

    def write(self, before: Tensor, told: Told, cache: parts.Cache | None = None, start: int = 0) -> Read:
        """before (B, n): the letters that stand before slots start …; logits of those slots."""
        x = F.embedding(before, self.letter) + self.pos_node[start : start + before.shape[1]]
        asked = x
        for i, (k, v) in enumerate(told):
            asked = self.blocks[self.depth + 2 * i](x, cache, i, start)
            x = self.layer(2 * i + 1).hear(asked, k, v)
        return Read(self.edge_fc(x), asked, told[-1][0])

    def cache(self, rows: int) -> parts.Cache:
        return parts.Cache(self.layers, self.heads, self.slots, self.width // self.heads, rows)

    def read(self, x: Tensor) -> Read:
        told, cache, reads = self.told(x), self.cache(len(x)), list[Read]()
        before = torch.full((len(x), 1), self.first)
        for slot in range(self.slots):
            reads.append(self.write(before, told, cache, slot))
            before = reads[-1].logits.argmax(-1)
        return Read(torch.cat([r.logits for r in reads], 1), torch.cat([r.asked for r in reads], 1), reads[0].keys)

    def loss(self, image: Tensor, target: Tensor) -> Tensor:
        before = F.pad(target.clamp_min(0)[:, :-1], (1, 0), value=self.first)
        return smoothed(self.write(before, self.told(self.see(image))).logits, target)


NETWORKS = (Cppd, Causal)


class Session:
    """A reader at work on one strip. Calling it is to see; its decoder is a network of its own, counted by itself."""

    cache_bytes = 0

    def __init__(self, network: Reader):
        self.network = network
        self.decoder: Decoder = Letters(network) if isinstance(network, Causal) else Decoder(network)
        self.params = count_parameters(network) - self.decoder.params

    def warm(self) -> None:
        rows, columns = self.network.grid
        for _ in range(3):
            self.decoder.warm(self(torch.zeros(1, 1, 16 * rows, 4 * columns)))

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        return self.network.see(image)


class Decoder:
    """All slots in one call."""

    def __init__(self, network: Any):
        self.network, self.cache_bytes = network, 0
        eyes = [network.stem, *network.blocks[: network.depth]]
        self.params = count_parameters(network) - network.place.numel() - sum(map(count_parameters, eyes))

    def warm(self, x: Tensor) -> None:
        self(x)

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Read:
        return self.network.read(x)


class Letters(Decoder):
    """One letter a call."""

    told: Told
    cache: parts.Cache

    def warm(self, x: Tensor) -> None:
        for slot in range(3):
            self(x, 0, slot)

    @torch.inference_mode()
    def __call__(self, x: Tensor, before: int = -1, slot: int = 0) -> Read:  # type: ignore[override]
        """The slot's logits (1, 1, C), `before` standing at the slot before it. Slot 0 starts on a new strip X."""
        if slot == 0:
            self.told, self.cache = self.network.told(x), self.network.cache(len(x))
            self.cache_bytes, before = self.cache.bytes, self.network.first
        return self.network.write(torch.tensor([[before]]), self.told, self.cache, slot)
