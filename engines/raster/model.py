"""Two decoders of picture codes: one paints row by row, the other in any order that it is told.

`Raster` is LlamaGen's transformer (Sun et al., arXiv 2406.06525): RMSNorm, SwiGLU, no biases, and a rotary position
for row and column of the cell that an *input* stands for. Condition positions have all-zero cosines and sines, so
their queries and keys vanish and every cell hears them equally. It reads [c, x_0, x_1, …] and predicts the next cell.
`RandomOrder` is RandAR (Pang et al., arXiv 2412.01827): [c, P_π1, x_π1, P_π2, x_π2, …], where P_π is one learned
vector turned to the place π, and x_π is predicted where P_π stands.

Symbols: B rows, N = side² cells, P condition positions, d width, H heads, e = d / H, V codes.
Differs: the condition is not one class but four object tokens (`prefix`, (B, 4, d)), and `place` (B, N, d) tells each
cell which object lies there; it is added to the input that predicts the cell. The official networks are P = 1 and
place = 0, and `from_official` loads them. Read next: `sampler.py` (many pictures at once), `raster.py` (the lanes).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.captions import ObjectTokens, cover
from engines.nn import Cache, Past, Step, count_parameters, widen

# The official state dicts (autoregressive.models.gpt.Transformer, RandAR.model.randar_gpt) in our names; {i} counts
# layers. Class-conditional ones: the text projection of the t2i checkpoints has no counterpart here.
OFFICIAL_KEYS = {
    "cls_embedding.embedding_table.weight": "condition.table",
    "tok_embeddings.weight": "embed",
    "layers.{i}.attention_norm.weight": "blocks.{i}.norm_a",
    "layers.{i}.attention.wqkv.weight": "blocks.{i}.qkv",
    "layers.{i}.attention.wo.weight": "blocks.{i}.out",
    "layers.{i}.ffn_norm.weight": "blocks.{i}.norm_b",
    "layers.{i}.feed_forward.w1.weight": "blocks.{i}.gate",
    "layers.{i}.feed_forward.w3.weight": "blocks.{i}.up",
    "layers.{i}.feed_forward.w2.weight": "blocks.{i}.down",
    "norm.weight": "norm",
    "output.weight": "head",
    "pos_instruct_embeddings": "instruct",
}


def rope_table(side: int, size: int, prefix: int, base: float = 10_000.0) -> Tensor:
    """Turns of the inputs, (prefix + side², size / 2, 2): cosine and sine of each pair of a head of `size` numbers.

    The first half of the pairs turns with the row, the second with the column; condition positions are zero, which is
    not "no turn" but "no query and no key". Source: gpt.py of LlamaGen, precompute_freqs_cis_2d.
    """
    rate = base ** (-torch.arange(0, size // 2, 2, dtype=torch.float64) / (size // 2))
    angle = torch.arange(side, dtype=torch.float64)[:, None] * rate
    rows, columns = angle[:, None].expand(side, side, -1), angle[None].expand(side, side, -1)
    cells = torch.cat([rows, columns], dim=-1).flatten(0, 1)
    turns = torch.stack([cells.cos(), cells.sin()], dim=-1).float()
    return torch.cat([torch.zeros(prefix, *turns.shape[1:]), turns])


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn neighbouring pairs of x (B, H, L, e) by turn (L, e/2, 2) or (B, 1, L, e/2, 2)."""
    # One complex product is 7 times faster on a CPU, forth and back, than the four real ones.
    if torch.compiler.is_exporting():  # ONNX has no complex numbers
        (a, b), (cos, sin) = x.unflatten(-1, (-1, 2)).unbind(-1), turn.unbind(-1)
        return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.view_as_complex(turn)).flatten(-2)


class Block(nn.Module):
    """Attention, then a gated feed-forward step, each added to its input: 4d² + 3df + 2d numbers."""

    def __init__(self, width: int, heads: int, kv_heads: int, hidden: int, eps: float):
        super().__init__()
        self.heads, self.kv_heads, self.size, self.eps = heads, kv_heads, width // heads, eps
        self.norm_a = nn.Parameter(torch.ones(width))
        self.qkv = nn.Parameter(torch.empty((heads + 2 * kv_heads) * self.size, width))
        self.out = nn.Parameter(torch.empty(width, width))
        self.norm_b = nn.Parameter(torch.ones(width))
        self.gate = nn.Parameter(torch.empty(hidden, width))
        self.up = nn.Parameter(torch.empty(hidden, width))
        self.down = nn.Parameter(torch.empty(width, hidden))

    def forward(
        self, x: Tensor, turn: Tensor, mask: Tensor | None, causal: bool, cache: Cache | Past | None, depth: int,
        start: int
    ) -> Tensor:
        rows, length, width = x.shape
        parts = F.linear(F.rms_norm(x, (width,), self.norm_a, self.eps), self.qkv)
        parts = parts.view(rows, length, self.heads + 2 * self.kv_heads, self.size).transpose(1, 2)
        turned = rotate(parts[:, : self.heads + self.kv_heads], turn)
        q, k, v = turned[:, : self.heads], turned[:, self.heads :], parts[:, self.heads + self.kv_heads :]
        if cache is not None:
            k, v = cache.write(depth, start, k, v)
        heard = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=self.kv_heads != self.heads
        )
        x = x + F.linear(heard.transpose(1, 2).reshape(x.shape), self.out)
        seen = F.rms_norm(x, (width,), self.norm_b, self.eps)
        return x + F.linear(F.silu(F.linear(seen, self.gate)) * F.linear(seen, self.up), self.down)


class ClassTokens(nn.Module):
    """The official condition: one vector a class, the null class last, and no place."""

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.table = nn.Parameter(torch.randn(classes + 1, width) * 0.02)

    def forward(self, labels: Tensor, keep: Tensor | None = None) -> tuple[Tensor, None]:
        """labels (B,) int64 -> prefix (B, 1, d)."""
        labels = labels if keep is None else labels.where(keep, len(self.table) - 1)
        return self.table[labels][:, None], None


class PlacedObjects(ObjectTokens):
    """Our condition: four object tokens in front, and for each cell of the canvas what it covers and where it is."""

    cover: Tensor

    def __init__(self, width: int, side: int):
        super().__init__(width)
        self.where = nn.Parameter(torch.randn(side * side, width) * 0.1)
        # The uncached function: a network is first built on the device `meta`, and that must not be remembered.
        self.register_buffer("cover", getattr(cover, "__wrapped__", cover)(side, side), persistent=False)

    def forward(self, objects: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """objects (B, 4, 4) int64 -> prefix (B, 4, d), place (B, N, d)."""
        prefix, cells = super().forward(objects, keep)
        return prefix, self.cover @ cells + self.where


class Raster(nn.Module):
    """LlamaGen's transformer over side² cells, row by row: layers · (4d² + 3df + 2d) + (2V + N + 31) · d numbers.

    classes > 0 gives it the official condition instead of ours.
    """

    turn: Tensor

    def __init__(
        self, vocab: int, layers: int, width: int, heads: int, hidden: int, side: int, prefix: int = 4,
        kv_heads: int | None = None, base: float = 10_000.0, eps: float = 1e-5, classes: int = 0,
    ):
        super().__init__()
        self.config = {
            "vocab": vocab, "layers": layers, "width": width, "heads": heads, "hidden": hidden, "side": side,
        }
        self.prefix, self.cells, self.eps = prefix, self.count(side), eps
        # As loud as what the condition adds to it.
        self.embed = nn.Parameter(torch.randn(vocab, width) * 0.1)
        self.blocks = nn.ModuleList(Block(width, heads, kv_heads or heads, hidden, eps) for _ in range(layers))
        self.norm = nn.Parameter(torch.ones(width))
        # Zero at the start, so that the first loss is exactly log V.
        self.head = nn.Parameter(torch.zeros(vocab, width))
        self.register_buffer("turn", self.table(side, width // heads, prefix, base), persistent=False)
        for name, parameter in self.blocks.named_parameters():
            if parameter.dim() == 2:
                # The official 0.02 suits widths near 1,000; here every branch would stay silent for long. Branches
                # that end in `out` or `down` add up over the layers and start smaller.
                back = 1 / math.sqrt(2 * layers) if name.endswith(("out", "down")) else 1.0
                nn.init.normal_(parameter, std=back / math.sqrt(parameter.shape[1]))
        # (captions, rows that keep theirs) -> (prefix (B, P, d), place (B, N, d) or None).
        self.condition: nn.Module = ClassTokens(classes, width) if classes else self.caption(width, side)

    # What depends on how cells lie: here in a square of `side`; `next_x` has them in a line.
    table = staticmethod(rope_table)
    caption: Callable[[int, int], nn.Module] = PlacedObjects

    @staticmethod
    def count(side: int) -> int:
        return side * side

    @property
    def capacity(self) -> int:
        """Inputs of a whole picture. The last cell is never an input: nothing comes after it."""
        return self.prefix + self.cells - 1

    def run(
        self, x: Tensor, turn: Tensor, cache: Cache | Past | None = None, start: int = 0, keep: slice | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, K, V) of the inputs x (B, L, d) that stand at positions start, start + 1, … of their rows.

        Each sees the positions before it (those before `start` out of the cache) and itself. keep: which of the L.
        """
        length, causal = x.shape[1], mask is None and not start and x.shape[1] > 1
        if start and length > 1:
            mask = self.sight(start, start + length, x.device)
        for depth, block in enumerate(self.blocks):
            x = block(x, turn, mask, causal, cache, depth, start)
        x = x if keep is None else x[:, keep]
        return F.linear(F.rms_norm(x, x.shape[-1:], self.norm, self.eps), self.head)

    def sight(self, start: int, stop: int, device: Any = None) -> Tensor:
        """(stop - start, stop) bool: which inputs the inputs start … stop - 1 may look at."""
        return torch.ones(stop - start, stop, dtype=torch.bool, device=device).tril(start)

    def step(self, x: Tensor, turn: Tensor, mask: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) of inputs x (B, T, d), and what they add to a cache `held`; mask (T, capacity + T)."""
        past = Past(held)
        return self.run(x, turn, past, mask=mask), past.added()

    def example(self) -> tuple[Tensor, ...]:
        """Three new inputs of a guided picture."""
        held, new = self.session().cache.kv, 3
        mask = widen(torch.ones(new, 2 + new, dtype=torch.bool).tril(2), 2, self.capacity)
        return torch.zeros(2, new, self.config["width"]), self.turned(new), mask, held

    def turned(self, new: int) -> Tensor:
        """Turns in the shape in which a session gives them to `step`."""
        return self.turn[:new].clone()

    # Which sizes of the example are free: by input, then by dimension.
    free = {0: {1: "new"}, 1: {0: "new"}, 2: {0: "new", 1: "seen"}}

    def inputs(self, prefix: Tensor, place: Tensor | None, tokens: Tensor, start: int = 0) -> Tensor:
        """x (B, P + n - start, d): the condition, then codes of cells 0 … n - 1, from position `start` on.

        Each is told the place that it predicts: the last of the condition predicts cell 0, the code of cell 0 cell 1.
        """
        skip = max(0, start - prefix.shape[1])
        x = torch.cat([prefix[:, start:], F.embedding(tokens[:, skip:], self.embed)], dim=1)
        if place is None:
            return x
        first, before = max(0, start - prefix.shape[1] + 1), max(0, prefix.shape[1] - 1 - start)
        told = place[:, first : tokens.shape[1] + 1]
        return x + F.pad(told, (0, 0, before, x.shape[1] - before - told.shape[1]))

    def forward(self, prefix: Tensor, place: Tensor | None, tokens: Tensor) -> Tensor:
        """Logits (B, n + 1, V) of cells 0 … n, each given the condition and all cells before it.

        prefix (B, P, d), place (B, N, d) or None for 0, tokens (B, n) int64.
        """
        x = self.inputs(prefix, place, tokens)
        return self.run(x, self.turn[: x.shape[1]], keep=slice(prefix.shape[1] - 1, None))

    def session(self, rows: int = 2, step: Step | None = None) -> "Session":
        """rows: sequences side by side; a guided picture takes two."""
        return RasterSession(self, rows, step)


class RandomOrder(Raster):
    """RandAR: the same network, told before each code where it goes. One vector more than `Raster`."""

    def __init__(self, *sizes: Any, **named: Any):
        super().__init__(*sizes, **named)
        self.instruct = nn.Parameter(torch.randn(1, self.config["width"]) * 0.02)

    @property
    def capacity(self) -> int:
        return self.prefix + 2 * self.cells - 1

    def turns(self, order: Tensor) -> Tensor:
        """(B, 1, n, e/2, 2): the turn of each cell of order (B, n)."""
        return self.turn[self.prefix + order].unsqueeze(1)

    def flags(self, order: Tensor, place: Tensor | None) -> Tensor:
        """Position instruction tokens P_π (B, n, d): the one vector, turned head by head to the places of order."""
        heads = self.config["heads"]
        vector = self.instruct.view(1, heads, 1, -1).expand(len(order), -1, order.shape[1], -1)
        flags = rotate(vector, self.turns(order)).transpose(1, 2).flatten(2)
        return flags if place is None else flags + at(place, order)

    def codes(self, order: Tensor, tokens: Tensor, place: Tensor | None) -> Tensor:
        """Code tokens x_π (B, n, d)."""
        x = F.embedding(tokens, self.embed)
        return x if place is None else x + at(place, order)

    def forward(self, prefix: Tensor, place: Tensor | None, tokens: Tensor, order: Tensor) -> Tensor:  # type: ignore[override]
        """Logits (B, N, V): entry i is for cell order[:, i], given the condition and the cells before it in order.

        tokens (B, N) int64 by cell (not by rank); order (B, N) int64, a permutation a row.
        """
        flags = self.flags(order, place)
        codes = self.codes(order, tokens.gather(1, order), place)
        pairs = torch.stack([flags, codes], dim=2).flatten(1, 2)[:, :-1]
        turn = self.turns(order.repeat_interleave(2, dim=1)[:, :-1])
        still = self.turn[: self.prefix].expand(len(order), 1, -1, -1, -1)
        x, turn = torch.cat([prefix, pairs], dim=1), torch.cat([still, turn], dim=2)
        return self.run(x, turn, keep=slice(self.prefix, None, 2))

    def turned(self, new: int) -> Tensor:
        return self.turns(torch.arange(new).expand(2, new))

    free = {0: {1: "new"}, 1: {2: "new"}, 2: {0: "new", 1: "seen"}}

    def session(self, rows: int = 2, step: Step | None = None) -> "Session":
        return RandomSession(self, rows, step)


NETWORKS = (Raster, RandomOrder)


def at(place: Tensor, order: Tensor) -> Tensor:
    """place (B, N, d) in the order (B, n) of cells: (B, n, d)."""
    return place.gather(1, order.unsqueeze(-1).expand(-1, -1, place.shape[-1]))


def from_official(
    state: Mapping[str, Tensor], args: Mapping[str, Any], kind: "type[Raster] | None" = None,
    more: Mapping[str, str] = {}, **sizes: Any,
) -> "Raster":
    """The network of an official class-conditional checkpoint; args: its ModelArgs.

    A checkpoint with `pos_instruct_embeddings` is RandAR's and comes back as a `RandomOrder`. kind, and `more` keys and
    sizes, for a network that has more than these two, or whose codes do not lie in a square.
    """
    layers = sizes.pop("layers", args["n_layer"])
    names = {
        official.replace("{i}", str(i)): ours.replace("{i}", str(i))
        for official, ours in {**OFFICIAL_KEYS, **more}.items()
        for i in range(layers)
    }
    tensors = {names[key]: value for key, value in state.items()}
    sizes = {"side": math.isqrt(args["block_size"])} | sizes
    network = (kind or (RandomOrder if "instruct" in tensors else Raster))(
        vocab=args["vocab_size"], layers=layers, width=args["dim"], heads=args["n_head"],
        hidden=len(tensors["blocks.0.gate"]), prefix=args["cls_token_num"],
        kv_heads=args.get("n_kv_head"), base=args["rope_base"], eps=args["norm_eps"],
        classes=len(tensors["condition.table"]) - 1, **sizes,
    )
    network.load_state_dict(tensors)
    return network.eval()


class Session(ABC):
    """One decoding: shares a network's parameters, owns its cache. What both kinds have in common.

    A sequence is the condition and then a list of inputs, each with an integer `key`. Keys that are as in the last
    call, from the start, are not computed again. `last` tells what the latest call did, in cells of row 0:
    {"reads": codes that came out of the cache, "computes": what was computed now}.
    """

    def __init__(self, network: Raster, rows: int, step: Step | None = None):
        """step: an evaluation of `network.step` by something faster than torch."""
        config = network.config
        self.network, self.rows, self.step = network, rows, step
        heads = cast(Block, network.blocks[0]).kv_heads
        self.cache = Cache(config["layers"], heads, network.capacity, config["width"] // config["heads"], rows)
        self.params = count_parameters(network)
        self.reset()

    @abstractmethod
    def __call__(self, *question: Any) -> Tensor:
        """Logits (1 or 2, B, T, V): given the captions and, if guided, given none. Each kind has its own question."""

    @property
    def cache_bytes(self) -> int:
        return self.cache.bytes

    def reset(self) -> None:
        """Forget all, so that the next call computes everything."""
        self.keys = torch.zeros(0, 0, dtype=torch.long)
        self.given: tuple[Tensor, bool] | None = None
        self.last: dict[str, list[int]] = {"reads": [], "computes": []}

    def open(self, objects: Tensor, guided: bool) -> None:
        """Take these captions (B, 4, 4), with their null twins if guided; nothing happens if they are the last ones."""
        rows = len(objects) * (2 if guided else 1)
        if rows > self.rows:
            raise ValueError(f"{rows} sequences; this session was made for {self.rows}")
        if self.given and self.given[1] is guided and torch.equal(self.given[0], objects):
            return
        self.reset()
        keep = torch.arange(rows) < len(objects)
        objects_ = torch.cat([objects, objects]) if guided else objects
        with torch.inference_mode():
            self.prefix, self.place = self.network.condition(objects_, keep)
        self.given = (objects.clone(), guided)

    def begin(self, keys: Tensor, outputs: int) -> int:
        """The first position to compute: all before it is in the cache. keys (B, n), the last `outputs` are wanted."""
        prefix, length = self.network.prefix, keys.shape[1]
        most = min(length, self.keys.shape[1])
        differ = (self.keys[:, :most] != keys[:, :most]).any(0).nonzero() if len(self.keys) else torch.zeros(1, 1)
        shared = int(differ[0]) if len(differ) else most
        start = min(prefix + shared, prefix + length - outputs)
        start = start if len(self.keys) and start >= prefix else 0
        # If this call is interrupted, what lies beyond `start` must not be believed by the next one.
        self.keys = keys[:, : max(0, start - prefix)] if start else keys[:0]
        return start

    def evaluate(self, x: Tensor, turn: Tensor, start: int, keep: slice) -> Tensor:
        """Logits of the inputs x (B, T, d) at positions start, start + 1, …, those of `keep`."""
        if not self.step:
            return self.network.run(x, turn, self.cache, start, keep)
        held, stop = self.cache.kv[:, :, : len(x)], start + x.shape[1]
        seen = self.network.sight(start, stop)
        logits, held[..., start:stop, :] = self.step(x, turn, widen(seen, start, held.shape[-2]), held)
        return logits[:, keep]

    def split(self, logits: Tensor) -> Tensor:
        """(R, T, V) -> (1 or 2, B, T, V): conditional, then unconditional."""
        return logits.unflatten(0, (2 if self.given and self.given[1] else 1, -1))


class RasterSession(Session):
    """Decoding row by row."""

    network: Raster

    def warm(self) -> None:
        """The first two evaluations of a guided picture."""
        objects = torch.full((1, 4, 4), -1)
        self(objects, torch.zeros(1, 0, dtype=torch.long), True)
        self(objects, torch.zeros(1, 1, dtype=torch.long), True)
        self.reset()

    def __call__(self, objects: Tensor, values: Tensor, guided: bool) -> Tensor:  # type: ignore[override]
        """Logits (1 or 2, B, 1, V) of cell n of each picture: given its caption and, if guided, given none.

        objects (B, 4, 4) int64; values (B, n) int64: codes of cells 0 … n - 1.
        """
        return self.ask(objects, values, guided, 1)

    def ask(self, objects: Tensor, values: Tensor, guided: bool, outputs: int) -> Tensor:
        """(1 or 2, B, outputs, …): what the network says of the last inputs."""
        self.open(objects, guided)
        prefix, count = self.network.prefix, values.shape[1]
        start = self.begin(values, outputs)
        with torch.inference_mode():
            tokens = values.repeat(2, 1) if guided else values
            x = self.network.inputs(self.prefix, self.place, tokens, start)
            turn = self.network.turn[start : prefix + count]
            logits = self.evaluate(x, turn, start, slice(-outputs, None))
        self.keys = values.clone()
        cut = max(0, start - prefix)
        self.last = {"reads": list(range(cut)), "computes": list(range(cut, count))}
        return self.split(logits)


class RandomSession(Session):
    """Decoding in any order, one cell or several at a time.

    Queries of one call stand next to each other; when their codes are known, the next call feeds
    [x_1, P_2, x_2, …, next queries] and so overwrites the cache into the layout of training: P_1 alone stays.
    """

    network: RandomOrder

    def warm(self) -> None:
        objects, cells = torch.full((1, 4, 4), -1), torch.arange(4)[None]
        self(objects, cells[:, :0], cells[:, :0], cells[:, :1], True)
        self(objects, cells[:, :1], cells[:, :1], cells[:, 1:2], True)
        self(objects, cells[:, :2], cells[:, :2], cells[:, 2:4], True)
        self.reset()

    def __call__(  # type: ignore[override]
        self, objects: Tensor, cells: Tensor, values: Tensor, targets: Tensor, guided: bool
    ) -> Tensor:
        """Logits (1 or 2, B, T, V) of the cells `targets` (B, T), which do not see each other's codes.

        cells, values (B, n) int64: what is known, in the order in which it became known.
        """
        self.open(objects, guided)
        network, prefix = self.network, self.network.prefix
        known, count = cells.shape[1], targets.shape[1]
        order = torch.cat([cells.repeat_interleave(2, dim=1), targets], dim=1)
        keys = order * (network.config["vocab"] + 1)
        keys[:, 1 : 2 * known : 2] += values + 1
        start = self.begin(keys, count)
        with torch.inference_mode():
            skip, twice = max(0, start - prefix), 2 if guided else 1
            order = order[:, skip:].repeat(twice, 1)
            x = network.flags(order, self.place)
            # Codes stand at the odd places of what is known.
            codes = slice((skip | 1) - skip, 2 * known - skip, 2)
            x[:, codes] = network.codes(order[:, codes], values[:, skip // 2 :].repeat(twice, 1), self.place)
            still = network.turn[start:prefix].expand(len(x), 1, -1, -1, -1)
            x = torch.cat([self.prefix[:, start:], x], dim=1)
            turn = torch.cat([still, network.turns(order)], dim=2)
            logits = self.evaluate(x, turn, start, slice(-count, None))
        self.keys = keys
        cut = max(0, start - prefix) // 2
        row = cells[0].tolist()
        self.last = {"reads": row[:cut], "computes": row[cut:] + targets[0].tolist()}
        return self.split(logits)
