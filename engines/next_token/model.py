"""A causal language model for stories: each position predicts the next cell from the cells before it.

`Network` is trained on whole stories; `Session` decodes with it. A session keeps keys and values of the positions
it has seen; when it is called with a list that begins like the last one, only the rest is computed. Rolling back
after a rejected draft is therefore nothing special: call it with the shorter list.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.nn import (
    Block,
    Cache,
    Layer,
    Past,
    Step,
    closed_entries,
    common_prefix,
    count_parameters,
    finish,
    layers_of,
    norm,
    rotary_table,
    rotate,
    split_heads,
    widen,
)

PAD, END, BOS, MASK = 0, 1, 2, 3
NEVER = (PAD, BOS, MASK)


class Network(nn.Module):
    """Causal transformer with rotary positions and tied embeddings; about layers · (4d² + 3df) + vocab · d numbers."""

    turn: Tensor
    closed: Tensor

    def __init__(
        self, vocab: int, layers: int, width: int, heads: int, hidden: int, length: int = 64, endless: int = 0
    ):
        """endless 1: the text has no end of its own, so END is never predicted."""
        super().__init__()
        self.config = {
            "vocab": vocab,
            "layers": layers,
            "width": width,
            "heads": heads,
            "hidden": hidden,
            "length": length,
            "endless": endless,
        }
        self.embed = nn.Parameter(torch.randn(vocab, width) * 0.05)
        self.blocks = nn.ModuleList(Block(width, hidden, layers) for _ in range(layers))
        self.norm = nn.Parameter(torch.ones(width))
        self.register_buffer("turn", rotary_table(length + 1, width // heads), persistent=False)
        self.register_buffer("closed", closed_entries(vocab, (*NEVER, END) if endless else NEVER), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, L) int64, the first of each row BOS -> logits (B, L, V) for the cell after each position."""
        return self.read_out(self.run(tokens, layers_of(self.blocks), self.turn[: tokens.shape[1]], causal=True))

    def run(
        self,
        tokens: Tensor,
        layers: Sequence[Layer],
        turn: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        cache: Cache | Past | None = None,
        start: int = 0,
    ) -> Tensor:
        """x (B, T, d) after all layers, of tokens (B, T) that stand at positions start, start + 1, … of a cache."""
        heads = self.config["heads"]
        x = F.embedding(tokens, self.embed)
        for i, layer in enumerate(layers):
            qkv = split_heads(F.linear(norm(x, layer.norm_a), layer.qkv), 3 * heads)
            qk = rotate(qkv[:, : 2 * heads], turn)
            q, k, v = qk[:, :heads], qk[:, heads:], qkv[:, 2 * heads :]
            if cache is not None:
                k, v = cache.write(i, start, k, v)
            x = finish(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal), layer)
        return x

    def read_out(self, x: Tensor) -> Tensor:
        return F.linear(norm(x, self.norm), self.embed) + self.closed

    def step(self, tokens: Tensor, turn: Tensor, mask: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) of tokens (B, T), turned by turn (T, 2, e/2), and what they add to a cache `held`.

        mask (T, capacity + T): 0 where a new position sees a held or new one, else -inf.
        """
        past = Past(held)
        x = self.run(tokens, layers_of(self.blocks), turn, mask, cache=past)
        return self.read_out(x), past.added()

    def example(self) -> tuple[Tensor, ...]:
        """Some new tokens behind some known ones."""
        held = Session(self).cache.kv
        return torch.tensor([[END] * 3]), self.turn[2:5], causal_past(2, 3, held.shape[-2]), held

    # Which sizes of the example are free: by input, then by dimension.
    free = {0: {1: "new"}, 1: {0: "new"}, 2: {0: "new", 1: "seen"}}

    def session(self, step: Step | None = None) -> "Session":
        return Session(self, step=step)


@lru_cache(maxsize=4_096)
def causal_past(start: int, new: int, capacity: int) -> Tensor:
    """Who sees whom, as `widen` puts it: new position i sees `start` held ones, the new ones before it and itself."""
    return widen(torch.ones(new, start + new, dtype=torch.bool).tril(start), start, capacity)


class Session:
    """One decoding of a causal network: shares its parameters, owns its cache.

    `last` tells what the latest call did: {"reads": positions taken from the cache, "computes": positions computed}.
    """

    begin = BOS

    def __init__(self, network: Network, rows: int = 1, step: Step | None = None):
        """step: an evaluation of `network.step` for one row by something faster than torch."""
        config = network.config
        self.network, self.step = network, step
        self.capacity, heads = config["length"] + 1, config["heads"]
        self.layers = layers_of(network.blocks)
        self.cache = Cache(config["layers"], heads, self.capacity, config["width"] // heads, rows)
        self.params = count_parameters(network)
        self.reset()

    @property
    def cache_bytes(self) -> int:
        return self.cache.bytes

    def beams(self, width: int) -> "Branches":
        """A session for up to `width` continuations of one text at a time."""
        return Beams(self.network, width)

    def reset(self) -> None:
        """Forget all positions, so that the next call computes everything."""
        self.tokens: list[int] = []
        self.last: dict[str, list[int]] = {"reads": [], "computes": []}

    def warm(self) -> None:
        """One evaluation of each shape that decoding uses."""
        self([BOS], 1)
        self([BOS, END, END], 1)
        self([BOS, END, END, END, END], 2)

    def __call__(self, tokens: Sequence[int], predict: int) -> Tensor:
        """Logits (predict, V), float32, after each of the last `predict` positions of tokens (tokens[0] is BOS)."""
        tokens = list(tokens)
        if not 1 <= predict <= len(tokens) <= self.capacity:
            raise ValueError(f"want 1 <= predict <= positions <= {self.capacity}, got {predict}, {len(tokens)}")
        if tokens[0] != self.begin:
            raise ValueError(f"a sequence starts with BOS ({self.begin}), not with {tokens[0]}")
        # A position whose logits are wanted is computed even when it is known: only keys and values are kept.
        start = min(common_prefix(self.tokens, tokens), len(tokens) - predict)
        # If this call is interrupted, what lies beyond `start` must not be believed by the next one.
        self.tokens = tokens[:start]
        logits = self._advance([tokens], start, predict)[0]
        self.tokens = tokens
        self.last = {"reads": list(range(start)), "computes": list(range(start, len(tokens)))}
        return logits

    @torch.inference_mode()
    def _advance(self, texts: list[list[int]], start: int, predict: int) -> Tensor:
        """Logits (B, predict, V) of B texts of one length, whose positions before `start` are in the cache."""
        network, length = self.network, len(texts[0])
        new, tokens = length - start, torch.tensor([text[start:] for text in texts])
        if self.step:
            seen = causal_past(start, new, self.capacity)
            logits, added = self.step(tokens, network.turn[start:length], seen, self.cache.kv)
            self.cache.kv[..., start:length, :] = added
            return logits[:, new - predict :]
        # One new position sees everything; the first positions of all are plainly causal; else row i sees start + i.
        mask = None
        if start and new > 1:
            mask = torch.ones(new, length, dtype=torch.bool).tril(start)
        turn, causal = network.turn[start:length], not start and new > 1
        x = network.run(tokens, self.layers, turn, mask, causal, self.cache, start)
        return network.read_out(x[:, new - predict :])


class Branches:
    """Mixed into a session: several continuations of one text in one evaluation, a row of the cache for each.

    A text that is one cell longer than one of the last call goes on from that one's row; rows branch and end freely.
    """

    begin: int
    capacity: int
    cache: Cache
    last: dict[str, list[int]]
    _advance: Callable[[list[list[int]], int, int], Tensor]

    def reset(self) -> None:
        super().reset()  # type: ignore[misc]
        self.texts: dict[tuple[int, ...], int] = {}

    def __call__(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Logits (B, V), float32, after each of B texts of one length (text[0] is BOS)."""
        rows = [list(text) for text in texts]
        if not 1 <= len(rows) <= self.cache.k.shape[1] or len({len(row) for row in rows}) > 1:
            raise ValueError(f"want 1 to {self.cache.k.shape[1]} texts of one length, got {[len(r) for r in rows]}")
        if len(rows[0]) > self.capacity or any(row[:1] != [self.begin] for row in rows):
            raise ValueError(f"a text starts with BOS ({self.begin}) and has at most {self.capacity} positions")
        parents = [self.texts.get(tuple(row[:-1]), -1) for row in rows]
        start = 0 if -1 in parents else len(rows[0]) - 1
        self.texts = {}  # an interrupted call must not be believed by the next one
        if start:
            self.cache.reorder(parents, start)
        logits = self._advance(rows, start, 1)[:, 0]
        self.texts = {tuple(row): i for i, row in enumerate(rows)}
        self.last = {"reads": list(range(start)), "computes": list(range(start, len(rows[0])))}
        return logits


class Beams(Branches, Session):  # type: ignore[misc]
    """Branches of a network of ours."""
