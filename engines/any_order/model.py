"""An any-subset model: p(a blank | any visible cells), and exact joint probabilities along a decoding order.

Two streams share all weights (the idea of XLNet, arXiv 1906.08237; decoding as in arXiv 2504.20456):
- content h: one row per known cell, made of its value and its place;
- query g: one row per wanted cell, made of a learned `blank` vector and its place, so it cannot see its own value.
Keys and values come from h only. The cells of a call stand in rank order (the order of decoding): the first
`prompt` of them see each other, each later one sees earlier ranks and itself, a query sees the first `sees`
ranks. BOS stands before rank 0, sees itself only and is seen by all, so no query is ever without a key.

The row of a cell depends on earlier ranks only, so it is computed once and cached; drafts that are rejected fall
away because the next call's list no longer begins with them.
"""

from collections.abc import Sequence

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
# END is always given, as the cell after the last one: the network is told the length and never asked for it.
NEVER = (PAD, END, BOS, MASK)


def oracle_mask(ranks: int, prompt: int, sees: Sequence[int], start: int = 0) -> Tensor:
    """Who may look at whom: bool (ranks - start + T, 1 + ranks), rows = cells from rank `start` on, then T queries.

    Column 0 is BOS, column 1 + r the cell of rank r. Source: arXiv 2504.20456 (density mask), with BOS added: without
    it a query with an empty prompt would average over what it must not see.
    """
    upto = [prompt if rank < prompt else rank + 1 for rank in range(start, ranks)] + list(sees)
    return torch.arange(1 + ranks) <= torch.tensor(upto)[:, None]


class Network(nn.Module):
    """Two-stream transformer with rotary and learned positions and tied embeddings.

    Place 0 is BOS, place 1 + c is cell c; `length` cells at most.
    """

    turn: Tensor
    closed: Tensor

    def __init__(self, vocab: int, layers: int, width: int, heads: int, hidden: int, length: int = 64):
        super().__init__()
        self.config = {
            "vocab": vocab,
            "layers": layers,
            "width": width,
            "heads": heads,
            "hidden": hidden,
            "length": length,
        }
        self.embed = nn.Parameter(torch.randn(vocab, width) * 0.05)
        self.place = nn.Parameter(torch.randn(length + 1, width) * 0.05)
        self.blank = nn.Parameter(torch.randn(width) * 0.05)
        self.blocks = nn.ModuleList(Block(width, hidden, layers) for _ in range(layers))
        self.norm = nn.Parameter(torch.ones(width))
        self.register_buffer("turn", rotary_table(length + 1, width // heads), persistent=False)
        self.register_buffer("closed", closed_entries(vocab, NEVER), persistent=False)

    def forward(
        self, cells: Tensor, values: Tensor, prompt: int, ahead: Tensor | None = None, seen: int = 0
    ) -> Tensor:
        """Logits (B, N - prompt, V) of the ranks prompt, prompt + 1, …, each given all ranks before it.

        cells, values: (B, N) int64 in rank order. This is training: every blank is told the truth about the earlier
        ones (teacher forcing), so one call scores a whole order.

        ahead: (B, D) further cells that see the first `seen` ranks only, as a draft does; their logits come last.
        """
        rows, ranks = cells.shape
        targets, sees = cells[:, prompt:], list(range(prompt, ranks))
        if ahead is not None:
            targets, sees = torch.cat([targets, ahead], dim=1), sees + [seen] * ahead.shape[1]
        # Nobody looks at the last rank, so its content row is left out.
        known = ranks - 1
        mask = torch.cat(
            [torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, known, dtype=torch.bool)], dim=1
        )
        mask = torch.cat([mask, oracle_mask(known, prompt, sees)]).to(cells.device)
        first = cells.new_zeros(rows, 1)
        places = torch.cat([first, 1 + cells[:, :known], 1 + targets], dim=1)
        tokens = torch.cat([first + BOS, values[:, :known]], dim=1)
        x = F.embedding(places, self.place)
        x = x + torch.cat(
            [F.embedding(tokens, self.embed), self.blank.expand(*targets.shape, -1)], dim=1
        )
        turn = self.turn[places].unsqueeze(1)
        for depth, layer in enumerate(layers_of(self.blocks), 1):
            x = two_streams(
                x, layer, self.config["heads"], turn, mask, 1 + known, last=depth == len(self.blocks)
            )
        return F.linear(norm(x, self.norm), self.embed) + self.closed

    def run(
        self,
        cells: Tensor,
        values: Tensor,
        targets: Tensor,
        layers: Sequence[Layer],
        mask: Tensor,
        cache: Cache | Past,
        start: int = 0,
    ) -> Tensor:
        """Logits (T, V) at places targets (T,), after content of values (n,) at places cells (n,) joined the cache.

        start: content rows in the cache; mask (n + T, keys).
        """
        places = torch.cat([cells, targets])
        given = torch.cat([F.embedding(values, self.embed), self.blank.expand(targets.shape[0], -1)])
        x, turn = (F.embedding(places, self.place) + given)[None], self.turn[places]
        for i, layer in enumerate(layers):
            last = i + 1 == len(layers)
            x = two_streams(x, layer, self.config["heads"], turn, mask, cells.shape[0], last, cache, i, start)
        return F.linear(norm(x[0], self.norm), self.embed) + self.closed

    def step(
        self, cells: Tensor, values: Tensor, targets: Tensor, mask: Tensor, held: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (T, V) as from `run`, and what the content adds to a cache `held`; mask (n + T, capacity + n)."""
        past = Past(held)
        return self.run(cells, values, targets, layers_of(self.blocks), mask, past), past.added()

    def example(self) -> tuple[Tensor, ...]:
        """Three cells become known, four are asked for."""
        held = Session(self).cache.kv
        mask = widen(oracle_mask(5, 0, [5] * 4, 2), 3, held.shape[-2])
        return torch.arange(2, 5), torch.full((3,), END), torch.arange(5, 9), mask, held

    # Which sizes of the example are free: by input, then by dimension.
    free = {0: {0: "new"}, 1: {0: "new"}, 2: {0: "asked"}, 3: {0: "rows", 1: "seen"}}

    def session(self, step: Step | None = None) -> "Session":
        return Session(self, step)


def two_streams(
    x: Tensor,
    layer: Layer,
    heads: int,
    turn: Tensor,
    mask: Tensor,
    content: int,
    last: bool,
    cache: Cache | Past | None = None,
    depth: int = 0,
    start: int = 0,
) -> Tensor:
    """One block over `content` rows h followed by query rows g; x (B, content + T, d), mask (content + T, keys).

    With a cache, the keys of `start` earlier rows are taken from it and these are added. In the last block h is only
    read, never used again, so only the queries (B, T, d) come back.
    """
    seen = norm(x, layer.norm_a)
    kv = split_heads(F.linear(seen[:, :content], layer.kv), 2 * heads)
    k, v = rotate(kv[:, :heads], turn[..., :content, :, :]), kv[:, heads:]
    if cache is not None:
        k, v = cache.write(depth, start, k, v)
    if last:
        x, seen, mask, turn = x[:, content:], seen[:, content:], mask[content:], turn[..., content:, :, :]
    q = rotate(split_heads(F.linear(seen, layer.q), heads), turn)
    return finish(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask), layer)


class Session:
    """One decoding of an any-subset network: shares its parameters, owns its cache.

    `last` tells what the latest call did, in cells: {"reads": content rows from the cache, "computes": cells computed
    now, content rows and queries}.
    """

    def __init__(self, network: Network, step: Step | None = None):
        """step: an evaluation of `network.step` by something faster than torch."""
        config = network.config
        self.network, self.step = network, step
        self.heads, self.length = config["heads"], config["length"]
        self.layers = layers_of(network.blocks)
        self.cache = Cache(config["layers"], self.heads, self.length + 1, config["width"] // self.heads)
        self.params = count_parameters(network)
        self.reset()

    @property
    def cache_bytes(self) -> int:
        return self.cache.bytes

    def reset(self) -> None:
        """Forget all cells, so that the next call computes everything."""
        self.known: list[tuple[int, int]] = []
        self.prompt = -1
        self.last: dict[str, list[int]] = {"reads": [], "computes": []}

    def warm(self) -> None:
        """One draft pass and one check of it."""
        self([0, 3], [END, END], 2, [1, 2], [2, 2])
        self([0, 3, 1, 2], [END] * 4, 2, [1, 2], [2, 3])

    def __call__(
        self,
        cells: Sequence[int],
        values: Sequence[int],
        prompt: int,
        targets: Sequence[int],
        sees: Sequence[int],
    ) -> Tensor:
        """Logits (T, V), float32, for the cell targets[i] given the first sees[i] of (cells, values) in rank order.

        Draft: sees = [n] * k. Check: the drafts are appended and sees = [n, n + 1, …]. One call, one evaluation.
        """
        known = list(zip(cells, values, strict=True))
        places = [*cells, *targets]
        if not targets or len(targets) != len(sees):
            raise ValueError(f"want one `sees` for each target, got {len(sees)} for {len(targets)}")
        if not 0 <= prompt <= len(known) or min(sees) < prompt or max(sees) > len(known):
            raise ValueError(f"want prompt <= sees <= {len(known)} known cells, got {prompt} and {list(sees)}")
        if min(places) < 0 or max(places) >= self.length or len(set(cells)) < len(known):
            raise ValueError(f"cells must be different and lie in 0..{self.length - 1}, got {list(cells)}")
        for target, seen in zip(targets, sees, strict=True):
            if target in cells[:seen]:
                raise ValueError(f"cell {target} is asked for but already shown to its own query")
        # Content that no query looks at yet is left for a later call: the last draft of a check, for one.
        ranks = max(sees)
        start = min(common_prefix(self.known, known), ranks)
        # Prompt cells see each other, so a prompt is kept whole or not at all. -1: not even BOS is there.
        if prompt != self.prompt or start < prompt:
            start = -1
        # If this call is interrupted, what lies beyond `start` must not be believed by the next one.
        self.known, self.prompt = known[: max(start, 0)], -1 if start < 0 else prompt
        logits = self._evaluate(known[:ranks], prompt, list(targets), list(sees), start)
        self.known, self.prompt = known[:ranks], prompt
        begin = max(start, 0)
        self.last = {"reads": list(cells[:begin]), "computes": [*cells[begin:ranks], *targets]}
        return logits

    @torch.inference_mode()
    def _evaluate(
        self, known: list[tuple[int, int]], prompt: int, targets: list[int], sees: list[int], start: int
    ) -> Tensor:
        network, begin = self.network, max(start, 0)
        mask = oracle_mask(len(known), prompt, sees, begin)
        places = [1 + cell for cell, _ in known[begin:]] + [1 + cell for cell in targets]
        tokens = [value for _, value in known[begin:]]
        if start < 0:
            alone = torch.arange(1 + len(known)) < 1
            mask, places, tokens = torch.cat([alone[None], mask]), [0, *places], [BOS, *tokens]
        where = torch.tensor(places)
        values, new, held = torch.tensor(tokens, dtype=torch.long), len(tokens), start + 1
        if not self.step:
            return network.run(where[:new], values, where[new:], self.layers, mask, self.cache, held)
        mask = widen(mask, held, self.length + 1)
        logits, added = self.step(where[:new], values, where[new:], mask, self.cache.kv)
        self.cache.kv[..., held : held + new, :] = added
        return logits
