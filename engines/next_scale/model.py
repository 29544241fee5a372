"""A next-scale transformer: it looks at a blurred canvas and says all codes of the next, finer scale at once.

Source: Tian et al., "Visual Autoregressive Modeling", arXiv 2404.02905 (VAR). Symbols: K scales of p_k x p_k cells,
L cells in all, B rows, P prefix positions, d width, H heads, C channels of a code, V codes. r_k are the codes of scale
k; its canvas is what the scales before it have painted so far, shrunk to p_k x p_k.

Row i of scale k sees the prefix and every row of the scales up to k, its own included (both ways), and predicts
r_k at i. The first scale has no canvas: it is predicted from the last prefix position. So the codes of the last
scale never enter the network.

A caption enters twice: as P prefix tokens, and as `place`, a vector for every cell of every scale (what the caption
says about the spot that it covers). AdaLN, which scales and shifts every block, gets the mean of the prefix. The
official network is the case P = 1 (a class embedding) and place = 0; `official.py` has its key table.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.captions import OBJECTS, ObjectTokens, cover
from engines.nn import Cache, Past, Step, count_parameters, split_heads, widen

EPS = 1e-6
LOG_100 = math.log(100)


class ClassTokens(nn.Module):
    """A caption that is one of `classes` labels, as in the official network: one prefix token, nothing about places."""

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.embed = nn.Parameter(torch.randn(classes + 1, width) / math.sqrt(3 * width))

    def forward(self, labels: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """labels (B,) -> prefix (B, 1, d), cells (B, 9, d) of zeros; where keep is False the last row stands in."""
        if keep is not None:
            labels = torch.where(keep, labels, len(self.embed) - 1)
        prefix = F.embedding(labels, self.embed)[:, None]
        return prefix, prefix.new_zeros(len(labels), 9, prefix.shape[-1])


class Block(nn.Module):
    """Attention, then a feed-forward step, each scaled and shifted before (s, b) and gated after (γ) by the caption.

    With `own` the block has its own map from caption to the six vectors; else it adds a table to a shared one.
    With `cosine` queries and keys are unit vectors and each head learns how sharply it looks.
    """

    def __init__(self, width: int, heads: int, hidden: int, own: bool, cosine: bool):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.sharpness = nn.Parameter(torch.full((heads,), math.log(4))) if cosine else None
        self.proj = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.adaptive = nn.Linear(width, 6 * width) if own else None
        self.table = None if own else nn.Parameter(torch.randn(6 * width) / math.sqrt(width))

    def modulation(self, condition: Tensor, shared: Tensor | None) -> tuple[Tensor, ...]:
        """γ1, γ2, 1 + s1, 1 + s2, b1, b2, each (B, 1, d): the gains first, as in the official code.

        condition: SiLU of the caption's vector (B, d); shared: (B, 6d) if the blocks share their map.
        """
        six = shared + self.table if self.adaptive is None else self.adaptive(condition)  # type: ignore[operator]
        gain1, gain2, scale1, scale2, shift1, shift2 = six[:, None].chunk(6, dim=-1)
        return gain1, gain2, 1 + scale1, 1 + scale2, shift1, shift2

    def forward(
        self,
        x: Tensor,
        modulation: Sequence[Tensor],
        mask: Tensor | None,
        cache: tuple[Cache | Past, int, int] | None = None,
    ) -> Tensor:
        """x (B, T, d) -> the same shape; mask (T, keys) bool, None where every row may see every key."""
        gain1, gain2, scale1, scale2, shift1, shift2 = modulation
        width = x.shape[-1]
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(torch.addcmul(shift1, F.layer_norm(x, (width,), eps=EPS), scale1), self.qkv.weight, bias)
        q, k, v = (split_heads(part, self.heads) for part in qkv.chunk(3, dim=-1))
        if self.sharpness is None:
            softness = 0.25 / math.sqrt(q.shape[-1])
        else:
            softness = 1.0
            q = F.normalize(q, dim=-1) * self.sharpness.clamp_max(LOG_100).exp()[:, None, None]
            k = F.normalize(k, dim=-1)
        if cache is not None:
            k, v = cache[0].write(*cache[1:], k, v)
        heard = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=softness)
        x = torch.addcmul(x, self.proj(heard.transpose(1, 2).reshape(x.shape)), gain1)
        seen = torch.addcmul(shift2, F.layer_norm(x, (width,), eps=EPS), scale2)
        return torch.addcmul(x, self.down(F.gelu(self.up(seen), approximate="tanh")), gain2)


class Network(nn.Module):
    """The transformer. scales: p_1 = 1, p_2, …, p_K; channels: C of a code; shared: one AdaLN map for all blocks.

    classes: 0 for captions of objects, else the number of labels. cosine: the official `attn_l2_norm`.
    """

    mask: Tensor
    scale_of: Tensor
    cover: Tensor

    def __init__(
        self,
        vocab: int,
        channels: int,
        layers: int,
        width: int,
        heads: int,
        hidden: int,
        scales: Sequence[int],
        classes: int = 0,
        shared: int = 1,
        cosine: int = 1,
    ):
        super().__init__()
        if scales[0] != 1:
            raise ValueError(f"the first scale has {scales[0]} x {scales[0]} cells; it must be one cell")
        self.scales = tuple(scales)
        self.config: dict[str, int | list[int]] = {
            "vocab": vocab,
            "channels": channels,
            "layers": layers,
            "width": width,
            "heads": heads,
            "hidden": hidden,
            "scales": list(scales),
            "classes": classes,
            "shared": int(shared),
            "cosine": int(cosine),
        }

        self.captions = ClassTokens(classes, width) if classes else ObjectTokens(width)
        self.prefix = 1 if classes else OBJECTS
        self.ends = list(accumulate(p * p for p in scales))
        self.word = nn.Linear(channels, width)
        self.start = nn.Parameter(torch.empty(self.prefix, width))
        self.position = nn.Parameter(torch.empty(self.ends[-1], width))
        self.level = nn.Parameter(torch.empty(len(scales), width))
        self.shared = nn.Linear(width, 6 * width) if shared else None
        self.blocks = nn.ModuleList(Block(width, heads, hidden, not shared, bool(cosine)) for _ in range(layers))
        self.before_head = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, vocab)
        # Prefix rows belong to the first scale: row 0 of `scale_of` is the first prefix token.
        scale_of = torch.tensor([0] * (self.prefix - 1) + [k for k, p in enumerate(scales) for _ in range(p * p)])
        self.register_buffer("scale_of", scale_of, persistent=False)
        self.register_buffer("mask", scale_of[:, None] >= scale_of, persistent=False)
        with torch.device("cpu"):  # its results are kept for all networks, also where this one is built on `meta`
            self.register_buffer("cover", torch.cat([cover(p, p) for p in scales]), persistent=False)
        self._start_small()

    @torch.no_grad()
    def _start_small(self) -> None:
        """The official initial values: every branch begins nearly closed, so that depth costs nothing at first."""
        width, layers = self.head.in_features, len(self.blocks)
        std = math.sqrt(1 / (3 * width))
        for tensor in (self.start, self.position, self.level):
            nn.init.trunc_normal_(tensor, std=std)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=std)
                if module.bias is not None:
                    module.bias.zero_()
        self.head.weight *= 0.02
        self.before_head.weight *= 0.5
        for block in self.layers:
            block.proj.weight /= math.sqrt(2 * layers)
            block.down.weight /= math.sqrt(2 * layers)
        for adaptive in [self.shared] if self.shared is not None else [block.adaptive for block in self.layers]:
            assert adaptive is not None
            adaptive.weight[2 * width :] *= 0.5
            adaptive.weight[: 2 * width] *= 1e-3

    @property
    def layers(self) -> list[Block]:
        return [cast(Block, block) for block in self.blocks]

    def span(self, k: int) -> tuple[int, int]:
        """First and last-but-one cell of scale k (0-based) in the row of all cells."""
        return self.ends[k] - self.scales[k] ** 2, self.ends[k]

    def condition(self, caption: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Captions as prefix (B, P, d) and place (B, L, d); keep (B,) False takes the null caption instead."""
        prefix, cells = self.captions(caption, keep)
        return prefix, self.cover @ cells

    def embed(self, prefix: Tensor, place: Tensor, canvas: Tensor) -> Tensor:
        """Rows (B, P + T, d): the prefix, then the canvas (B, T, C) of the scales after the first."""
        stop = 1 + canvas.shape[1]
        first = prefix + self.start + self.level[0]
        where = self.position[:stop] + place[:, :stop]
        # The last prefix position is also the one cell of the first scale.
        first = torch.cat([first[:, :-1], first[:, -1:] + where[:, :1]], dim=1)
        rest = self.word(canvas) + where[:, 1:] + self.level[self.scale_of[self.prefix : self.prefix - 1 + stop]]
        return torch.cat([first, rest], dim=1)

    def modulations(self, prefix: Tensor) -> tuple[list[tuple[Tensor, ...]], Tensor, Tensor]:
        """What the caption does to every block, and scale (1 + s) and shift (b) before the head."""
        condition = F.silu(prefix.mean(dim=1))
        shared = self.shared(condition) if self.shared is not None else None
        scale, shift = self.before_head(condition)[:, None].chunk(2, dim=-1)
        return [block.modulation(condition, shared) for block in self.layers], 1 + scale, shift

    def read_out(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return self.head(torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=EPS), scale))

    def forward(self, prefix: Tensor, place: Tensor, canvas: Tensor) -> Tensor:
        """Logits (B, L, V) of all cells of all scales, each scale told the true canvas (B, L - 1, C) before it."""
        x = self.embed(prefix, place, canvas)
        modulations, scale, shift = self.modulations(prefix)
        for block, modulation in zip(self.blocks, modulations, strict=True):
            x = block(x, modulation, self.mask)
        return self.read_out(x[:, self.prefix - 1 :], scale, shift)

    def run(
        self, x: Tensor, modulations: Sequence[Sequence[Tensor]], mask: Tensor | None, cache: Cache | Past, start: int
    ) -> Tensor:
        """x (B, T, d) after all blocks, of rows that stand at `start` of a cache."""
        for depth, block in enumerate(self.layers):
            x = block(x, modulations[depth], mask, (cache, depth, start))
        return x

    def step(
        self, x: Tensor, modulations: Tensor, scale: Tensor, shift: Tensor, mask: Tensor, held: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) of rows x (B, T, d), and what they add to a cache `held`.

        modulations (layers, 6, B, 1, d), scale and shift (B, 1, d) of the caption; mask (T, capacity + T).
        """
        past = Past(held)
        x = self.run(x, [six.unbind(0) for six in modulations.unbind(0)], mask, past, 0)
        return self.read_out(x, scale, shift), past.added()

    def example(self) -> tuple[Tensor, ...]:
        """The second scale of a guided picture."""
        prefix, _ = self.condition(*self.nothing())
        modulations, scale, shift = self.modulations(prefix)
        held, new = self.session().cache.kv, 4
        mask = widen(torch.ones(new, self.prefix + new, dtype=torch.bool), self.prefix, held.shape[-2])
        return torch.zeros(2, new, self.head.in_features), stacked(modulations), scale, shift, mask, held

    # Which sizes of the example are free: by input, then by dimension.
    free = {0: {1: "new"}, 4: {0: "new", 1: "seen"}}

    def nothing(self) -> tuple[Tensor, Tensor]:
        """An empty caption and its null twin: what a guided picture asks for at least."""
        caption = torch.full((2, 4, 4), -1) if self.prefix > 1 else torch.zeros(2, dtype=torch.long)
        return caption, torch.tensor([True, False])

    def session(self, rows: int = 2, step: Step | None = None) -> "Session":
        """A decoding of `rows` pictures at once; guidance needs two rows a picture."""
        return Session(self, rows, step)


def stacked(modulations: Sequence[Sequence[Tensor]]) -> Tensor:
    """What the caption does to every block, as one tensor (layers, 6, B, 1, d)."""
    return torch.stack([torch.stack(list(six)) for six in modulations])


class Session:
    """One decoding: shares the network's parameters, owns its cache of keys and values.

    Scales are computed in their order and once each. `last` tells what the latest call did, in cells:
    {"reads": cells whose keys came from the cache, "computes": cells computed now}.
    """

    def __init__(self, network: Network, rows: int = 2, step: Step | None = None):
        """step: an evaluation of `network.step` by something faster than torch."""
        self.network, self.step = network, step
        self.params = count_parameters(network)
        self._allocate(rows)
        self.reset()

    def _allocate(self, rows: int) -> None:
        c = cast(dict[str, int], self.network.config)
        length = len(self.network.scale_of)
        self.cache = Cache(c["layers"], c["heads"], length, c["width"] // c["heads"], rows)

    @property
    def cache_bytes(self) -> int:
        return self.cache.bytes

    def reset(self) -> None:
        """Forget the picture: the next call must bring a caption."""
        self.done = 0
        self.rows = 0
        self.last: dict[str, list[int]] = {"reads": [], "computes": []}

    def warm(self) -> None:
        """The first call of every scale of one picture, guided."""
        caption, keep = self.network.nothing()
        for k, p in enumerate(self.network.scales):
            self(k, torch.zeros(2, p * p, cast(int, self.network.config["channels"])), caption, keep)
        self.reset()

    @torch.inference_mode()
    def __call__(
        self, k: int, canvas: Tensor | None, caption: Tensor | None = None, keep: Tensor | None = None
    ) -> Tensor:
        """Logits (B, T, V) of all cells from the first scale not computed yet to scale k; the last p_k² are scale k's.

        canvas: (B, T, C), the canvas of just those scales; what stands at the first scale's cell is not looked at.
        Without anything in the cache a caption (B, 4, 4) or (B,) is needed; later it is ignored.
        """
        net = self.network
        if self.done == 0:
            if caption is None:
                raise ValueError("the first call of a picture needs its caption")
            self.rows = len(caption)
            if self.rows > self.cache.k.shape[1]:
                self._allocate(self.rows)
            self.prefix, self.place = net.condition(caption, keep)
            self.modulations, self.scale, self.shift = net.modulations(self.prefix)
            if self.step:
                self.stacked = stacked(self.modulations)
        if not self.done <= k < len(net.scales):
            raise ValueError(f"scale {k} was asked for; the next one is {self.done} of {len(net.scales)}")
        begin, stop = net.span(self.done)[0], net.span(k)[1]
        if canvas is None or canvas.shape[:2] != (self.rows, stop - begin):
            got = None if canvas is None else tuple(canvas.shape)
            raise ValueError(f"the canvas of cells {begin} to {stop - 1} of {self.rows} rows is wanted, not {got}")
        if self.done == 0:
            x, start = net.embed(self.prefix, self.place, canvas[:, 1:]), 0
        else:
            where = net.position[begin:stop] + self.place[:, begin:stop]
            start = net.prefix - 1 + begin
            x = net.word(canvas) + where + net.level[net.scale_of[start : start + stop - begin]]
        end = start + x.shape[1]
        if self.step:
            held = self.cache.kv[:, :, : self.rows]
            seen = widen(net.mask[start:end, :end], start, held.shape[-2])
            logits, held[..., start:end, :] = self.step(x, self.stacked, self.scale, self.shift, seen, held)
            logits = logits[:, begin - stop :]
        else:
            # One scale sees all that is known and itself, so only several at once need the mask.
            mask = None if k == self.done else net.mask[start:end, :end]
            x = net.run(x, self.modulations, mask, self.cache, start)
            logits = net.read_out(x[:, begin - stop :], self.scale, self.shift)
        self.done = k + 1
        self.last = {"reads": list(range(begin)), "computes": list(range(begin, stop))}
        return logits
