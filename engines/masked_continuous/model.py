"""A masked autoencoder that says, for every hidden place of a picture, what the visible ones tell about it.

Source: Li et al., arXiv 2406.11838 (MAR), sections 3.4 and 4.2. The encoder sees a few slots that hold the caption
("buffer") and the visible tokens only; the decoder sees all places, the hidden ones as one learnt mask token. Attention
looks both ways everywhere, so nothing can be cached from one call to the next.

`Mar`: tokens are vectors of C numbers and its `head` (diffloss.py) draws the hidden ones from z.
`Masked`: the discrete twin (MaskGIT, arXiv 2202.04200, on the same transformer): tokens are codes, z gives logits.

Symbols: B rows, L places, P slots, V visible places, d and e widths of encoder and decoder, z (B, L, e).
Differs: a caption may also speak to each place (`place`, added to the positions); the official model is place = 0. No
dropout: the stream of scenes never repeats itself.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.captions import ObjectTokens, cover
from engines.masked_continuous.diffloss import EPS, Head, Schedule, Walk, guided, ours, walk
from engines.nn import Step, count_parameters, split_heads

NET, TWIN = "masked_continuous/mar", "masked_continuous/maskgit"
DRAFT = "masked_continuous/draft"
VAE, VQ = "tokenizers/vae", "tokenizers/vq"


def rows_at(x: Tensor, places: Tensor) -> Tensor:
    """x (B, L, C) at places (B, N) int64 -> (B, N, C)."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))


class Block(nn.Module):
    """A block of a vision transformer: attention both ways, then a two-layer perceptron, each added to x (B, N, d)."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.heads = heads
        self.norm_a = nn.LayerNorm(width, eps=EPS)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_b = nn.LayerNorm(width, eps=EPS)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor, wanted: Tensor | None = None) -> Tensor:
        """The next x; with wanted (B, T) int64 only that of these rows of x, (B, T, d): all are still listened to."""
        width, seen = x.shape[-1], self.norm_a(x)
        k, v = F.linear(seen, self.qkv.weight[width:], self.qkv.bias[width:]).chunk(2, dim=-1)
        if wanted is not None:
            x, seen = rows_at(x, wanted), rows_at(seen, wanted)
        q = F.linear(seen, self.qkv.weight[:width], self.qkv.bias[:width])
        q, k, v = (split_heads(part, self.heads) for part in (q, k, v))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norm_b(x))))


class ClassTokens(nn.Module):
    """The official condition: one embedding of a class, repeated in all slots; no word for single places."""

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.embed = nn.Parameter(torch.randn(classes, width) * 0.02)
        self.null = nn.Parameter(torch.randn(1, width) * 0.02)

    def forward(self, labels: Tensor, keep: Tensor | None = None) -> tuple[Tensor, None]:
        """labels (B,) int64; rows with keep False are unconditional."""
        told = F.embedding(labels, self.embed)
        return (told if keep is None else torch.where(keep[:, None], told, self.null))[:, None], None


class Autoencoder(nn.Module):
    """What `Mar` and `Masked` share. layers, widths, heads and hidden are pairs: encoder, decoder.

    classes: 0 for captions of objects, else the number of classes of an official model.
    """

    cover: Tensor
    enter: Callable[[Tensor], Tensor]

    def __init__(
        self, length: int, slots: int, classes: int, layers: list[int], widths: list[int], heads: list[int],
        hidden: list[int],
    ):
        super().__init__()
        self.length, self.slots, self.depth = length, slots, layers[0]
        (d, e), own = widths, range(sum(layers))
        self.caption: nn.Module = ClassTokens(classes, d) if classes else ObjectTokens(d)
        side = round(length**0.5)
        self.register_buffer("cover", cover(side, side), persistent=False)
        self.place_a = nn.Parameter(torch.randn(slots + length, d) * 0.02)
        self.enter_norm = nn.LayerNorm(d, eps=EPS)
        parts = [int(i >= layers[0]) for i in own]
        self.blocks = nn.ModuleList(Block(widths[i], heads[i], hidden[i]) for i in parts)
        self.norm_a = nn.LayerNorm(d, eps=EPS)
        self.cross = nn.Linear(d, e)
        self.mask = nn.Parameter(torch.randn(e) * 0.02)
        self.place_b = nn.Parameter(torch.randn(slots + length, e) * 0.02)
        self.norm_b = nn.LayerNorm(e, eps=EPS)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def told(self, captions: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(prefix (B, P, d), place (B, L, d) or None) of captions; rows with keep False get the null caption."""
        prefix, cells = self.caption(captions, keep)
        return prefix, None if cells is None else self.cover @ cells

    def encode(self, x: Tensor, visible: Tensor, prefix: Tensor, place: Tensor | None) -> Tensor:
        """x (B, V, d): the visible tokens, entered; visible (B, V) int64: their places. -> (B, P + V, d)."""
        rows, _, _ = x.shape
        spot = self.place_a[self.slots :][visible]
        if place is not None:
            spot = spot + rows_at(place, visible)
        slots = prefix.expand(rows, self.slots, -1) + self.place_a[: self.slots]
        x = self.enter_norm(torch.cat([slots, x + spot], dim=1))
        for block in self.blocks[: self.depth]:
            x = block(x)
        return self.norm_a(x)

    def decode(self, x: Tensor, visible: Tensor, place: Tensor | None, wanted: Tensor | None = None) -> Tensor:
        """x (B, P + V, d) from `encode` -> (B, L or N, e): what is known about each wanted place, slots cut off."""
        x = self.cross(x)
        rows, width = len(x), x.shape[-1]
        at = visible[..., None].expand(-1, -1, width)
        tokens = self.mask.expand(rows, self.length, width).scatter(1, at, x[:, self.slots :])
        tokens = tokens + self.place_b[self.slots :]
        if place is not None:
            tokens = tokens + place
        x = torch.cat([x[:, : self.slots] + self.place_b[: self.slots], tokens], dim=1)
        for block in self.blocks[self.depth : -1]:
            x = block(x)
        if wanted is not None:
            return self.norm_b(self.blocks[-1](x, wanted + self.slots))
        return self.norm_b(self.blocks[-1](x))[:, self.slots :]

    def step(self, tokens: Tensor, visible: Tensor, prefix: Tensor, place: Tensor, wanted: Tensor) -> Tensor:
        """`forward` with everything given."""
        return self(tokens, visible, prefix, place, wanted)

    def example(self) -> tuple[Tensor, ...]:
        """Five of the places are visible, three are asked for, guided."""
        objects = torch.full((2, 4, 4), -1)
        visible, wanted = torch.arange(5).expand(2, 5), torch.arange(5, 8).expand(2, 3)
        return self.blank(2, 5), visible.clone(), *cast(tuple[Tensor, Tensor], self.told(objects)), wanted.clone()

    def blank(self, rows: int, count: int) -> Tensor:
        """Visible tokens that mean nothing."""
        return torch.zeros(rows, count, dtype=torch.long)

    # Which sizes of the example are free: by input, then by dimension.
    free = {0: {1: "visible"}, 1: {1: "visible"}, 4: {1: "wanted"}}

    def transform(
        self, x: Tensor, visible: Tensor, prefix: Tensor, place: Tensor | None, wanted: Tensor | None
    ) -> Tensor:
        return self.decode(self.encode(x, visible, prefix, place), visible, place, wanted)


class Mar(Autoencoder):
    """Continuous tokens of C = channels numbers. head: layers and width of the diffusion head."""

    def __init__(
        self, channels: int, length: int, slots: int, classes: int, layers: list[int], widths: list[int],
        heads: list[int], hidden: list[int], head: list[int],
    ):
        super().__init__(length, slots, classes, layers, widths, heads, hidden)
        self.config: dict[str, Any] = {
            "channels": channels, "length": length, "slots": slots, "classes": classes, "layers": layers,
            "widths": widths, "heads": heads, "hidden": hidden, "head": head,
        }
        self.enter = nn.Linear(channels, widths[0])
        nn.init.xavier_uniform_(self.enter.weight)
        nn.init.zeros_(self.enter.bias)
        self.place_z = nn.Parameter(torch.randn(length, widths[1]) * 0.02)
        self.head = Head(channels, widths[1], *head)

    def forward(
        self, tokens: Tensor, visible: Tensor, prefix: Tensor, place: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """z (B, L, e). tokens (B, V, C) are the visible ones, visible (B, V) their places, all rows equally many.

        prefix (B, 1 or P, d) fills the slots; place (B, L, d) is added to the positions of encoder and decoder. With
        wanted (B, N) only z of these places is worked out, (B, N, e).
        """
        z = self.transform(self.enter(tokens), visible, prefix, place, wanted)
        return z + (self.place_z if wanted is None else self.place_z[wanted])

    def blank(self, rows: int, count: int) -> Tensor:
        return torch.zeros(rows, count, self.config["channels"])

    def session(self, step: Step | None = None, head: Step | None = None) -> "MarSession":
        return MarSession(self, step, head)


class Masked(Autoencoder):
    """Codes of a codebook of `codes`; the logits are products with the embeddings of the codes."""

    def __init__(
        self, codes: int, length: int, slots: int, classes: int, layers: list[int], widths: list[int],
        heads: list[int], hidden: list[int],
    ):
        super().__init__(length, slots, classes, layers, widths, heads, hidden)
        self.config: dict[str, Any] = {
            "codes": codes, "length": length, "slots": slots, "classes": classes, "layers": layers,
            "widths": widths, "heads": heads, "hidden": hidden,
        }
        self.embed = nn.Parameter(torch.randn(codes, widths[0]) * 0.05)
        self.leave = nn.Linear(widths[1], widths[0])
        self.bias = nn.Parameter(torch.zeros(codes))

    def enter(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.embed)

    def forward(
        self, tokens: Tensor, visible: Tensor, prefix: Tensor, place: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, L or N, codes); tokens (B, V) int64 are the visible codes, the rest as in `Mar`."""
        z = self.transform(self.enter(tokens), visible, prefix, place, wanted)
        return F.linear(self.leave(z), self.embed, self.bias)

    def session(self, step: Step | None = None) -> "Session":
        return Session(self, step)


NETWORKS = (Mar, Masked)


class Session:
    """Decodes with a network of this room. Nothing is cached but what the caption says: each call computes all."""

    cache_bytes = 0

    def __init__(self, network: Autoencoder, step: Step | None = None):
        """step: an evaluation of `network.step` by something faster than torch."""
        self.network, self.step = network, step
        self.params = count_parameters(network)
        self.reset()

    def reset(self) -> None:
        self._told: tuple[Tensor, bool, tuple[Tensor, Tensor | None]] | None = None

    def warm(self) -> None:
        objects = torch.full((1, 4, 4), -1)
        for pair in (False, True):
            self(self.network.blank(1, 1), torch.zeros(1, 1, dtype=torch.long), objects, pair)

    def __call__(
        self, tokens: Tensor, visible: Tensor, objects: Tensor, pair: bool, wanted: Tensor | None = None
    ) -> Tensor:
        """z or logits (B, N, …) of wanted (B, N), or of all places, for tokens (B, V, …) at visible (B, V).

        objects (B, 4, 4): the captions. pair: (2B, N, …), the same rows again without captions, for guidance.
        """
        if self._told is None or self._told[0] is not objects or self._told[1] != pair:
            keep = torch.arange(len(objects) * (1 + pair)) < len(objects)
            self._told = objects, pair, self.network.told(torch.cat([objects] * (1 + pair)), keep)
        prefix, place = self._told[2]
        if pair:
            tokens, visible = torch.cat([tokens, tokens]), torch.cat([visible, visible])
            wanted = None if wanted is None else torch.cat([wanted, wanted])
        if self.step is None or place is None:
            return self.network(tokens, visible, prefix, place, wanted)
        if wanted is None:
            wanted = torch.arange(self.network.length).expand(len(tokens), -1)
        return self.step(tokens, visible, prefix, place, wanted)


class MarSession(Session):
    """The backbone of a `Mar`; its head is a session of its own, counted by itself."""

    def __init__(self, network: Mar, step: Step | None = None, head: Step | None = None):
        """head: an evaluation of `network.head.denoise` by something faster than torch."""
        super().__init__(network, step)
        self.head = HeadSession(network.head, head)
        self.params -= self.head.params

    def warm(self) -> None:
        super().warm()
        self.head.warm()


class HeadSession:
    """Draws tokens with a head: all inner steps over one set in one call."""

    cache_bytes = 0

    def __init__(self, head: Head, step: Step | None = None):
        self.head, self.step = head, step or head.denoise
        self.params = count_parameters(head)
        self.reset()

    def reset(self) -> None:
        self._clocks: dict[Schedule, Tensor] = {}

    def warm(self) -> None:
        self(torch.zeros(1, self.head.hear.in_features), torch.zeros(1, self.head.channels),
             torch.zeros(5, 1, self.head.channels), ours(5))

    def walk(
        self, z: Tensor, start: Tensor, noise: Tensor, schedule: Schedule, w: float = 1.0, tau: float = 1.0,
        watch: Callable[[int, Tensor], None] = lambda i, believed: None,
    ) -> Walk:
        """All steps towards n tokens. z (n, e), or (2n, e) for guidance w, the rows with a caption first.

        start (n, C); noise (len(schedule), n, C) in order of use; watch(i, believed) hears of each inner step, see
        `diffloss.walk`.
        """
        if schedule not in self._clocks:
            self._clocks[schedule] = self.head.clock(torch.tensor(schedule.times))
        clocks, heard, n = self._clocks[schedule], self.head.hear(z), len(start)
        if len(z) == n:
            return walk(schedule, lambda x, i: self.step(x, clocks[i] + heard), start, noise, tau, watch)

        # Both halves of a pair start from the same noise and hear of the same eps, so the rows without a caption
        # could only differ in their variance, which nobody reads: they are evaluated at the others' x.
        def denoise(x: Tensor, i: int) -> Tensor:
            return guided(self.step(torch.cat([x, x]), clocks[i] + heard), w)[:n]

        return walk(schedule, denoise, start, noise, tau, watch)

    def __call__(self, *args: Any, **more: Any) -> Tensor:
        """Tokens (n, C) by a `walk`, whose last step adds no noise."""
        return self.walk(*args, **more).mean


class WalkSession:
    """A head of which the whole walk is wanted, not the tokens alone."""

    cache_bytes = 0

    def __init__(self, head: HeadSession):
        self.params, self.walk = head.params, head.walk

    def __call__(self, *args: Any, **more: Any) -> Walk:
        return self.walk(*args, **more)
