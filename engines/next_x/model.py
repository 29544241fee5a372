"""Pictures as a line of codes in which each group of codes is what one denoising step is told; and who writes the line.

Source: D-AR (Gao and Shou, arXiv 2505.23660). `Sequential` is its tokenizer: an encoder whose queries hear all of the
picture and the queries before them, one code a query from a codebook on the unit sphere, a causal transformer over the
codes, and a denoiser in pixels that is shown the group whose turn it is. `Line` is its second network, LlamaGen's
transformer with positions in a line; all else of it, its decoding too, is that of `raster.model`.

Symbols: B rows, N codes in G groups, V entries of C numbers in the codebook, z (B, N, C) codes as directions, d width.
Time runs from 0 (noise) to 1: x_t = t x_1 + (1 - t) x_0 with x_1 = STD · image and x_0 ~ N(0, 1); v = x_1 - x_0.
Differs: our denoiser says x_1 and v follows from it (`clean`; Li and He, arXiv 2511.13720): a patch of 8 x 8 pixels
has 192 numbers of noise, which a narrow network cannot hand through, and it need not. Patches carry a learned place
besides their turns. Steps crowd at the noisy end (SHIFT; 2 in the official code): at less noise a step sees most of a
scene in a true picture, and need not be told. And there is a short way (`coarse`) beside attention: the codes of a
group share a small picture of the whole, an equal part each, and add to it what the groups before left out; it is laid
under the noisy one. A query begins with what its part still lacks once the codes before it are rounded, so groups are
encoded one after the other (the paper's queries hear only each other). Without this each group told the whole picture
anew: 24.4 dB after the first of them and 24.1 after the last, where now it is 22.9 and 30.1. With attention alone
2,400 steps taught the codes the colour of the table, not where toys stand.
`from_official` says v, its places are 0, and it has no short way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.captions import ObjectTokens
from engines.raster.model import Raster, rope_table, rotate
from engines.tokenizers.cnn import Stateless
from engines.tokenizers.model import Codebook

NET, TOKENIZER = "next_x/line", "next_x/tokenizer"
STD, SHIFT, EPS = 0.6, 4.0, 1e-6
# Training steps before anything is rounded, and how far codes are pushed meanwhile, so that few bits have to do.
WARMUP, PUSH = 600, 0.08
FREQUENCY, SCALE = 10_000.0, 1_000.0
Heard = list[tuple[Tensor, Tensor]]  # keys and values (B, heads, L, e) of what came before, in order


def plain_norm(x: Tensor) -> Tensor:
    """LayerNorm without a gain."""
    return F.layer_norm(x, x.shape[-1:], eps=EPS)


class Attention(nn.Module):
    """Attention with a norm on queries and keys, over what is said (B, M, d) for who asks (B, L, d)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.norm_q = nn.LayerNorm(self.size, eps=EPS)
        self.norm_k = nn.LayerNorm(self.size, eps=EPS)
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.size)).transpose(1, 2)

    def forward(
        self, x: Tensor, turn: Tensor | None = None, said: Tensor | None = None, mask: Tensor | None = None,
        causal: bool = False, kept: Heard | None = None,
    ) -> Tensor:
        """x asks, and is asked unless something else is `said`; turn (L, e/2, 2) are the places of x.

        kept: what came before, which x asks too; its own keys and values are added to it.
        """
        width = x.shape[-1]
        if said is None:
            q, k, v = (self.split(part) for part in self.qkv(x).chunk(3, dim=-1))
        else:
            q = self.split(F.linear(x, self.qkv.weight[:width], self.qkv.bias[:width]))
            told = F.linear(said, self.qkv.weight[width:], self.qkv.bias[width:])
            k, v = (self.split(part) for part in told.chunk(2, dim=-1))
        q, k = self.norm_q(q), self.norm_k(k)
        if turn is not None:
            q, k = rotate(q, turn), k if said is not None else rotate(k, turn)
        if kept is not None:
            kept.append((k, v))
            k, v = (torch.cat(part, dim=2) for part in zip(*kept, strict=True))
        heard = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.out(heard.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Of encoder and causal decoder: attention and a perceptron, each behind a norm and a gate a channel."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.norm_a = nn.LayerNorm(width, eps=EPS)
        self.attention = Attention(width, heads)
        self.gate_a = nn.Parameter(torch.ones(width))
        self.norm_b = nn.LayerNorm(width, eps=EPS)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.gate_b = nn.Parameter(torch.ones(width))

    def forward(
        self, x: Tensor, turn: Tensor | None = None, mask: Tensor | None = None, causal: bool = False,
        kept: Heard | None = None,
    ) -> Tensor:
        x = x + self.gate_a * self.attention(self.norm_a(x), turn, mask=mask, causal=causal, kept=kept)
        return x + self.gate_b * self.down(F.silu(self.up(self.norm_b(x))))


class Clock(nn.Module):
    """A time (B,) in [0, 1] as a vector (B, d): waves of many lengths, then a perceptron."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.up = nn.Linear(width, width)
        self.down = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        half = self.width // 2
        rate = FREQUENCY ** (-torch.arange(half, dtype=torch.float32, device=t.device) / half)
        angle = SCALE * t[:, None] * rate
        return self.down(F.silu(self.up(torch.cat([angle.cos(), angle.sin()], dim=-1))))


class Denoise(nn.Module):
    """A block of the denoiser: each patch asks the group what it means here, and that and the time modulate it.

    Six vectors a patch (shift, scale and gate of attention and perceptron) instead of six a picture as in DiT.
    """

    def __init__(self, width: int, heads: int, hidden: int, own_clock: bool):
        super().__init__()
        self.clock = Clock(width) if own_clock else nn.Identity()
        self.mean_up = nn.Linear(width, width)
        self.mean_down = nn.Linear(width, width)
        self.cross = Attention(width, heads)
        self.modulate = nn.Linear(width, 6 * width)
        self.attention = Attention(width, heads)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor, group: Tensor, t: Tensor, turn: Tensor) -> Tensor:
        """x (B, L, d) patches; group (B, n, d) what this step is told; t: times (B,), or one clock's (B, d)."""
        said = plain_norm(self.mean_down(F.silu(self.mean_up(group))))
        heard = self.clock(t)[:, None] + self.cross(plain_norm(x), turn, said)
        shift_a, scale_a, gate_a, shift_b, scale_b, gate_b = self.modulate(F.silu(heard)).chunk(6, dim=-1)
        x = x + gate_a * self.attention(plain_norm(x) * (1 + scale_a) + shift_a, turn)
        seen = plain_norm(x) * (1 + scale_b) + shift_b
        return x + gate_b * self.down(F.silu(self.up(seen)))


class Estimate(NamedTuple):
    """What the denoiser makes of x_t: the clean picture it would jump to, and the velocity towards it; (B, 3, S, S)."""

    x1: Tensor
    v: Tensor


class Learned(NamedTuple):
    """What a training step weighs.

    x1: pictures (K B, 3, S, S), clean as far as the denoiser can tell; t: their network times (K B,). rounding: the
    codebook's term, over the codes up to the end of the latest group in use (the others say nothing in this step).
    off (B, G, n, 3 · coarse² / n): by how much the small picture as told by the first 1, 2, … G groups is wrong.
    """

    x1: Tensor
    t: Tensor
    rounding: Tensor
    off: Tensor


def shifted(t: Tensor, shift: float) -> Tensor:
    """The network's time for an even one: more of the steps go to the noisy end."""
    return t / (t + shift * (1 - t))


class Sequential(Stateless):
    """The sequential diffusion tokenizer. patches, widths, depths, heads, hidden: of encoder, causal decoder, denoiser.

    (There are two patches: the causal decoder has none.) `steps` denoising steps, each told `told` codes. coarse:
    pixels on a side of the small picture that the codes of a group share, 0 for none.
    """

    turn_in: Tensor
    turn_out: Tensor

    def __init__(
        self, size: int, patches: list[int], widths: list[int], depths: list[int], heads: list[int], hidden: list[int],
        tokens: int, groups: int, codes: int, channels: int, coarse: int = 16, clean: int = 1, own_clock: int = 0, *,
        steps: int = 0, told: int = 0, rank: int = 8, std: float = STD, shift: float = SHIFT, base: float = 10_000.0,
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "size": size, "patches": patches, "widths": widths, "depths": depths, "heads": heads, "hidden": hidden,
            "tokens": tokens, "groups": groups, "codes": codes, "channels": channels, "coarse": coarse,
            "clean": clean, "own_clock": own_clock,
        }
        # Options of the official class that our stored nets leave as they are, so not a part of `config`.
        self.steps, self.told, self.std, self.shift = steps or groups, told or tokens // groups, std, shift
        self.size, self.tokens, self.groups, self.clean, self.patches = size, tokens, groups, bool(clean), patches
        self.depths, self.coarse, self.line = depths, coarse, widths[1]
        encode, line, paint = widths
        self.into = nn.Linear(3 * patches[0] ** 2, encode)
        self.query = nn.Parameter(torch.randn(tokens, rank))
        self.ask = nn.Linear(rank, encode)
        self.before = nn.Linear(encode, channels, bias=False)
        self.codes = Codebook(codes, channels, WARMUP)
        self.after = nn.Linear(channels, line, bias=False)
        self.place = nn.Parameter(torch.randn(tokens, line) * 0.1)
        self.tell = nn.Linear(line, paint)
        self.clock = Clock(paint) if not own_clock else None
        self.noisy = nn.Linear(3 * patches[1] ** 2, paint)
        self.blocks = nn.ModuleList(
            [Block(encode, heads[0], hidden[0]) for _ in range(depths[0])]
            + [Block(line, heads[1], hidden[1]) for _ in range(depths[1])]
            + [Denoise(paint, heads[2], hidden[2], bool(own_clock)) for _ in range(depths[2])]
        )
        self.out = nn.Linear(paint, 3 * patches[1] ** 2)
        if coarse:
            part, under = 3 * coarse**2 // self.told, 3 * (coarse * patches[1] // size) ** 2
            self.glance = nn.Linear(part, encode)
            self.hint = nn.Linear(line, part)
            self.lay = nn.Linear(under, paint)
        seen, shown = ((size // patch) ** 2 for patch in patches)
        self.spot_in = nn.Parameter(torch.randn(seen, encode) * 0.5)
        self.spot_out = nn.Parameter(torch.randn(shown, paint) * 0.5)
        self.register_buffer("turn_in", rope_table(size // patches[0], encode // heads[0], 0, base), persistent=False)
        self.register_buffer("turn_out", rope_table(size // patches[1], paint // heads[2], 0, base), persistent=False)
        self.start()

    def start(self) -> None:
        """Branches that add up start small; the denoiser says 0 and its blocks start as plain ones."""
        for name, parameter in self.named_parameters():
            if name.startswith("blocks.") and parameter.dim() == 2:
                back = 1 / math.sqrt(2 * max(self.depths)) if name.endswith(("out.weight", "down.weight")) else 1.0
                nn.init.normal_(parameter, std=back / math.sqrt(parameter.shape[1]))
            elif name.endswith(".bias") and "norm" not in name:
                nn.init.zeros_(parameter)
        for block in self.modules():
            if isinstance(block, Denoise):
                nn.init.normal_(block.modulate.weight, std=0.05)
                nn.init.zeros_(block.modulate.bias)
                with torch.no_grad():
                    for gate in (2, 5):
                        block.modulate.bias.chunk(6)[gate].fill_(1.0)
        nn.init.zeros_(self.out.weight)

    @property
    def codebook(self) -> Tensor:
        """(V, C): the codes, each of length 1."""
        return F.normalize(self.codes.weight, dim=-1)

    def patch(self, image: Tensor, size: int) -> Tensor:
        """(B, 3, S, S) -> (B, L, 3 · size²), row by row."""
        return F.pixel_unshuffle(image, size).flatten(2).transpose(1, 2)

    def features(self, image: Tensor, settle: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """What the queries make of pictures (B, 3, S, S): directions z and the codes they become, both (B, N, C).

        settle: the codes of a group's directions (B, n, C), by default the nearest ones.
        Patches hear patches; a query hears all of them, the queries before it, and itself.
        """
        kept: list[Heard] = [[] for _ in range(self.depths[0])]
        self.hear(plain_norm(self.into(self.patch(image, self.patches[0]))) + self.spot_in, kept, self.turn_in)
        z = q = image.new_empty(len(image), 0, self.codes.weight.shape[1])
        for ask in self.ask(self.query).split(self.told):
            x = ask.expand(len(image), -1, -1)
            if self.coarse:
                x = x + self.glance(self.lacking(image, q))
            before = len(self.turn_in) + q.shape[1]
            mask = torch.ones(self.told, before + self.told, dtype=torch.bool, device=image.device).tril(before)
            own = F.normalize(self.before(plain_norm(self.hear(x, kept, mask=mask))), dim=-1)
            z, q = torch.cat([z, own], dim=1), torch.cat([q, (settle or self.round)(own)], dim=1)
        return z, q

    def hear(self, x: Tensor, kept: list[Heard], turn: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x (B, L, d) behind the encoder's blocks; each remembers what it was asked."""
        for block, own in zip(self.blocks, kept, strict=False):
            x = block(x, turn, mask, kept=own)
        return x

    def parts(self, image: Tensor) -> Tensor:
        """The small picture of each picture, as the codes of a group share it: (B, n, 3 · coarse² / n)."""
        return cut(F.avg_pool2d(image, self.size // self.coarse), self.told)

    @torch.no_grad()
    def lacking(self, image: Tensor, q: Tensor) -> Tensor:
        """Of those parts, what codes q (B, m, C) do not say, m whole groups of them."""
        said = self.condition(q)[:, -self.told :, self.line :] if q.shape[1] else 0
        return self.parts(image) - said

    def round(self, z: Tensor) -> Tensor:
        """Directions z (B, n, C) as the nearest codes."""
        return F.embedding(self.nearest(z), self.codebook)

    def nearest(self, z: Tensor) -> Tensor:
        """Codes (B, N) of directions z (B, N, C)."""
        return (z @ self.codebook.T).argmax(dim=-1)

    def encode(self, image: Tensor) -> Tensor:
        """Codes (B, N) int64 of pictures (B, 3, S, S) in [-1, 1]."""
        return self.nearest(self.features(image)[0])

    def condition(self, z: Tensor) -> Tensor:
        """What the steps are told by directions z (B, n, C) of the first n codes: (B, n, d), entry i by codes 0 … i.

        With a short way, n are whole groups, and behind the d numbers stand parts of the small picture as told so far.
        """
        x = self.after(z) + self.place[: z.shape[1]]
        for block in self.blocks[self.depths[0] : sum(self.depths[:2])]:
            x = block(x, causal=True)
        x = plain_norm(x)
        if not self.coarse:
            return x
        return torch.cat([x, self.hint(x).unflatten(1, (-1, self.told)).cumsum(1).flatten(1, 2)], dim=-1)

    def first(self, t: float) -> int:
        """The first of the `told` codes that the step at even time t is told."""
        group = math.floor(t * self.groups + 0.5) / self.groups
        return min(self.tokens - self.told, int(group * self.tokens))

    def estimate(self, x: Tensor, t: Tensor, group: Tensor) -> Estimate:
        """x_t (B, 3, S, S) at network time t (B,), told group (B, n, …) out of `condition`."""
        said = plain_norm(self.tell(group[..., : self.line]))
        side = self.size // self.patches[1]
        clock = t if self.clock is None else self.clock(t)
        h = self.noisy(self.patch(x, self.patches[1])) + self.spot_out
        if self.coarse:
            h = h + self.lay(self.patch(joined(group[..., self.line :], self.coarse), self.coarse // side))
        for block in self.blocks[sum(self.depths[:2]) :]:
            h = block(h, said, clock, self.turn_out)
        made = self.out(plain_norm(h)).transpose(1, 2).unflatten(-1, (side, side))
        made = F.pixel_shuffle(made, self.patches[1])
        left = (1 - t)[:, None, None, None]
        return Estimate(made, (made - x) / left) if self.clean else Estimate(x + left * made, made)

    def times(self, steps: int | None = None) -> list[float]:
        """Network times of the denoising steps, and 1.0 behind the last; with `steps` only the first ones of them."""
        even = [i / self.steps for i in range(self.steps)][:steps]
        return shifted(torch.tensor([*even, 1.0]), self.shift).tolist()

    def step(self, x: Tensor, ids: Tensor, k: int) -> Estimate:  # type: ignore[override]
        """Denoising step k (from 0) of x (B, 3, S, S), told by codes ids (B, n): those known when its group is full."""
        first = self.first(k / self.steps)
        told = self.condition(F.embedding(ids[:, : first + self.told], self.codebook))[:, first:]
        return self.estimate(x, x.new_full((len(x),), self.times()[k]), told)

    forward = step

    def decode(self, ids: Tensor, noise: Tensor, multistep: bool = True, steps: int | None = None) -> Tensor:
        """Pictures (B, 3, S, S) of codes (B, N) from noise of their shape, all steps or the first few and a jump.

        multistep: Adams-Bashforth of order 2 as in the official code (first step Euler), else Euler.
        """
        *_, (_, x) = self.walk(ids, noise, multistep, steps)
        return x / self.std

    def walk(
        self, ids: Tensor, noise: Tensor, multistep: bool = True, steps: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """After each step of `decode`: the x_1 that it would jump to, and x; both as the denoiser has them."""
        x, before, times = noise, None, self.times(steps)
        for k in range(len(times) - 1):
            x1, v = self.step(x, ids, k)
            x, before = advance(x, v, before if multistep else None, times[k + 1] - times[k]), v
            yield x1, x

    def example(self) -> tuple[Any, ...]:  # type: ignore[override]
        """The first step of one picture."""
        return torch.zeros(1, 3, self.size, self.size), torch.zeros(1, self.told, dtype=torch.long), 0

    def loss(self, image: Tensor, even: Tensor, noise: Tensor) -> Learned:
        """What the network makes of pictures (B, 3, S, S) at even times (K B,), all at their first time first.

        noise (K B, 3, S, S). Every second picture is met at a later time as the network itself would have it: made of
        what it jumped to at the time before. Trained on true pictures alone it leaned on what noise leaves of them.
        """
        self.codes.learn()
        warm = self.codes.warm
        z, q = self.features(image, pushed if warm else None)
        if self.training:
            self.codes.note(self.nearest(z.detach()).flatten(), z.flatten(0, 1))
        first = torch.tensor([self.first(float(t)) for t in even], device=image.device)
        heard = first.view(-1, len(image)).amax(0) + self.told
        used = torch.arange(self.tokens, device=image.device) < heard[:, None]
        error = (q - z.detach()).square() + 0.25 * (q.detach() - z).square()
        rounding = (error.mean(-1) * used).sum() / used.sum()
        told = self.condition(q if warm else z + (q - z).detach())
        t, made, x1 = shifted(even, self.shift), [], self.std * image
        true = (torch.arange(len(image), device=image.device) % 2 == 0)[:, None, None, None]
        for now, start, x0 in zip(*(whole.split(len(image)) for whole in (t, first, noise)), strict=True):
            left = (1 - now)[:, None, None, None]
            pick = (start[:, None] + torch.arange(self.told, device=image.device))[..., None]
            x = (1 - left) * torch.where(true, self.std * image, x1.detach()) + left * x0
            x1 = self.estimate(x, now, told.gather(1, pick.expand(-1, -1, told.shape[-1]))).x1
            made.append(x1)
        off = told[..., self.line :].unflatten(1, (-1, self.told))
        return Learned(torch.cat(made) / self.std, t, rounding * (not warm),
                       off - self.parts(image)[:, None] if self.coarse else off)


def pushed(z: Tensor) -> Tensor:
    """Directions as they are used before anything is rounded."""
    return F.normalize(z + PUSH * torch.randn_like(z), dim=-1)


def layout(parts: int) -> tuple[int, int]:
    """How many rows and columns of equal parts a square picture is cut into; parts is a power of 2."""
    rows = 2 ** math.ceil(math.log2(parts) / 2)
    return rows, parts // rows


def cut(image: Tensor, parts: int) -> Tensor:
    """(B, 3, s, s) -> (B, parts, 3 s² / parts): its parts row by row, each with all of its numbers."""
    rows, columns = layout(parts)
    pieces = image.unflatten(3, (columns, -1)).unflatten(2, (rows, -1))
    return pieces.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def joined(parts: Tensor, size: int) -> Tensor:
    """The inverse of `cut`: (B, parts, 3 s² / parts) -> (B, 3, s, s) with s = size."""
    rows, columns = layout(parts.shape[1])
    pieces = parts.unflatten(2, (3, size // rows, size // columns)).unflatten(1, (rows, columns))
    return pieces.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def advance(x: Tensor, v: Tensor, before: Tensor | None, by: float) -> Tensor:
    """x after a step of length `by` along v; with the velocity `before` it, Adams-Bashforth for even steps."""
    return x + by * (v if before is None else 1.5 * v - 0.5 * before)


def line_table(side: int, size: int, prefix: int, base: float = 10_000.0) -> Tensor:
    """Turns of prefix + side inputs in a line, (prefix + side, size / 2, 2): cosine and sine of a head's pairs.

    The condition stands at places 0 … prefix - 1, turned like the rest (a square's condition has no place).
    """
    rate = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.arange(prefix + side, dtype=torch.float64)[:, None] * rate
    return torch.stack([angle.cos(), angle.sin()], dim=-1).float()


class Objects(ObjectTokens):
    """Our condition: four object tokens in front; a code of the line covers no cell, but is told its place in it."""

    def __init__(self, width: int, length: int):
        super().__init__(width)
        self.where = nn.Parameter(torch.randn(length, width) * 0.1)

    def forward(self, objects: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """objects (B, 4, 4) int64 -> prefix (B, 4, d), place (B, N, d)."""
        return super().forward(objects, keep)[0], self.where.expand(len(objects), -1, -1)


class Line(Raster):
    """`Raster` with its `side` codes in a line."""

    table = staticmethod(line_table)
    caption = Objects

    @staticmethod
    def count(side: int) -> int:
        return side


NETWORKS = (Sequential, Line)
