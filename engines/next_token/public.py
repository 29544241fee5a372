"""GPT-2- and Llama-shaped causal networks, for public checkpoints; one network class, two tables of keys.

Sources: Radford et al. 2019 (GPT-2), Touvron et al. 2302.13971 (Llama). Both are pre-norm decoders. GPT-2 has learned
positions, LayerNorm and biases everywhere, a GELU step, and stores its matrices (in, out); Llama has rotary positions,
RMSNorm, no biases, a gated SiLU step, and may share keys and values among heads.

`read_config` turns a checkpoint's config.json into our sizes and refuses what this network would compute wrongly.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.next_token import model
from engines.nn import Cache, count_parameters, rotary_table, rotate, split_heads
from engines.worlds.texts import LENGTH


@dataclass(frozen=True)
class Shape:
    """Sizes of a network. theta: base of the rotary positions, 0 for learned ones. tied: output = embedding."""

    vocab: int
    layers: int
    width: int
    heads: int
    shared: int
    size: int
    hidden: int
    positions: int
    epsilon: float
    theta: float
    tied: bool
    begin: int
    end: int

    @property
    def gpt2(self) -> bool:
        return not self.theta


class Layer(NamedTuple):
    """The tensors of one block, weights (out, in); the biases b_* are None where the kind has none."""

    norm_a: Tensor
    b_norm_a: Tensor | None
    qkv: Tensor
    b_qkv: Tensor | None
    out: Tensor
    b_out: Tensor | None
    norm_b: Tensor
    b_norm_b: Tensor | None
    up: Tensor
    b_up: Tensor | None
    down: Tensor
    b_down: Tensor | None


# Key of a checkpoint -> ours; `#` stands for the number of a block, `+` joins matrices along their outputs.
GPT2_KEYS = {
    "embed": "wte.weight", "place": "wpe.weight", "norm": "ln_f.weight", "b_norm": "ln_f.bias",
    "blocks.#.norm_a": "h.#.ln_1.weight", "blocks.#.b_norm_a": "h.#.ln_1.bias",
    "blocks.#.qkv": "h.#.attn.c_attn.weight", "blocks.#.b_qkv": "h.#.attn.c_attn.bias",
    "blocks.#.out": "h.#.attn.c_proj.weight", "blocks.#.b_out": "h.#.attn.c_proj.bias",
    "blocks.#.norm_b": "h.#.ln_2.weight", "blocks.#.b_norm_b": "h.#.ln_2.bias",
    "blocks.#.up": "h.#.mlp.c_fc.weight", "blocks.#.b_up": "h.#.mlp.c_fc.bias",
    "blocks.#.down": "h.#.mlp.c_proj.weight", "blocks.#.b_down": "h.#.mlp.c_proj.bias",
}
LLAMA_KEYS = {
    "embed": "embed_tokens.weight", "norm": "norm.weight", "head": "lm_head.weight",
    "blocks.#.norm_a": "layers.#.input_layernorm.weight",
    "blocks.#.qkv": "layers.#.self_attn.q_proj.weight + layers.#.self_attn.k_proj.weight"
                    " + layers.#.self_attn.v_proj.weight",
    "blocks.#.out": "layers.#.self_attn.o_proj.weight",
    "blocks.#.norm_b": "layers.#.post_attention_layernorm.weight",
    "blocks.#.up": "layers.#.mlp.gate_proj.weight + layers.#.mlp.up_proj.weight",
    "blocks.#.down": "layers.#.mlp.down_proj.weight",
}
PREFIXES = ("transformer.", "model.")
# Constants that old checkpoints store beside their parameters.
DERIVED = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)|layers\.\d+\.self_attn\.rotary_emb\.inv_freq")
# What makes a network of these names another one, and the only values that ours computes.
GPT2_FIXED = {"activation_function": "gelu_new", "scale_attn_weights": True, "tie_word_embeddings": True,
              "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}
LLAMA_FIXED = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "pretraining_tp": 1}


def plain(key: str) -> str:
    """A checkpoint's key without the name of the module around it."""
    return next((key.removeprefix(p) for p in PREFIXES if key.startswith(p)), key)


def read_config(raw: Mapping[str, Any]) -> Shape:
    """Our sizes of a checkpoint's config.json. Raises ValueError with what is not supported, KeyError for a lack."""
    kind = raw.get("model_type")
    if kind not in ("gpt2", "llama"):
        raise ValueError(f"it is a {str(kind)[:30]!r} network; those of type gpt2 and llama can be read")
    for name, only in (GPT2_FIXED if kind == "gpt2" else LLAMA_FIXED).items():
        if (found := raw.get(name, only)) != only:
            raise ValueError(f"its {name} is {str(found)[:30]!r}; only {only!r} is supported")
    ends = raw.get("eos_token_id")
    end = int(ends[0] if isinstance(ends, list) else -1 if ends is None else ends)
    begin = raw.get("bos_token_id")
    begin = end if begin is None else int(begin)
    if kind == "gpt2":
        width, heads = raw["n_embd"], raw["n_head"]
        shape = Shape(raw["vocab_size"], raw["n_layer"], width, heads, heads, width // heads,
                      raw.get("n_inner") or 4 * width, raw["n_positions"], raw.get("layer_norm_epsilon", 1e-5), 0.0,
                      True, begin, end)
    else:
        rope = {**(raw.get("rope_scaling") or {}), **(raw.get("rope_parameters") or {})}
        if rope.get("rope_type", rope.get("type", "default")) != "default":
            raise ValueError(f"its positions are stretched ({str(rope.get('rope_type'))[:30]!r}); only plain ones are "
                             "supported")
        width, heads = raw["hidden_size"], raw["num_attention_heads"]
        theta = float(rope.get("rope_theta") or raw.get("rope_theta") or 10_000.0)
        shape = Shape(raw["vocab_size"], raw["num_hidden_layers"], width, heads,
                      raw.get("num_key_value_heads") or heads, raw.get("head_dim") or width // heads,
                      raw["intermediate_size"], raw["max_position_embeddings"], raw.get("rms_norm_eps", 1e-6), theta,
                      bool(raw.get("tie_word_embeddings", False)), begin, end)
    sizes = (shape.vocab, shape.layers, shape.width, shape.heads, shape.shared, shape.size, shape.hidden,
             shape.positions)
    if not all(isinstance(n, int) and 0 < n < 2**20 for n in sizes) or shape.heads % shape.shared or shape.layers > 512:
        raise ValueError(f"its sizes make no network: {asdict(shape)}")
    if shape.size * shape.heads != width or shape.size % 2:
        raise ValueError(f"its {shape.heads} heads of {shape.size} do not make up its width {width}")
    if not 0 <= shape.begin < shape.vocab:
        raise ValueError("it names no token to begin with (bos_token_id or eos_token_id)")
    return shape


class Network(nn.Module):
    """The parameters of a checkpoint and what they compute; see `Shape`. Not trained here."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        s, b = shape, shape.gpt2
        inner, kv = s.heads * s.size, s.shared * s.size
        self.embed = nn.Parameter(torch.empty(s.vocab, s.width))
        self.place = nn.Parameter(torch.empty(s.positions, s.width)) if b else None
        self.head = None if s.tied else nn.Parameter(torch.empty(s.vocab, s.width))
        self.norm = nn.Parameter(torch.empty(s.width))
        self.b_norm = nn.Parameter(torch.empty(s.width)) if b else None
        shapes = {"norm_a": (s.width,), "qkv": (inner + 2 * kv, s.width), "out": (s.width, inner),
                  "norm_b": (s.width,), "up": ((1 if b else 2) * s.hidden, s.width), "down": (s.width, s.hidden)}
        self.blocks = nn.ModuleList()
        for _ in range(s.layers):
            block = nn.Module()
            for name, size in shapes.items():
                setattr(block, name, nn.Parameter(torch.empty(*size)))
                setattr(block, f"b_{name}", nn.Parameter(torch.empty(size[0])) if b else None)
            self.blocks.append(block)

    def layers(self) -> list[Layer]:
        return [Layer(*(getattr(block, name) for name in Layer._fields)) for block in self.blocks]

    def session(self) -> "Session":
        return Session(self)


class Session(model.Session):
    """One decoding of a public network, on the terms of our own: the same calls, the same kept prefix."""

    network: Network  # type: ignore[assignment]

    def __init__(self, network: Network, rows: int = 1):
        s = network.shape
        self.network, self.begin = network, s.begin
        self.stack = network.layers()
        self.capacity = min(s.positions, LENGTH + 1)
        self.cache = Cache(s.layers, s.shared, self.capacity, s.size, rows)
        self.turn = None if s.gpt2 else rotary_table(self.capacity, s.size, s.theta)
        self.params = count_parameters(network)
        self.reset()

    def beams(self, width: int) -> "Beams":
        return Beams(self.network, width)

    def warm(self) -> None:
        self([self.begin], 1)
        self([self.begin] * min(4, self.capacity), 2)

    @torch.inference_mode()
    def _advance(self, texts: list[list[int]], start: int, predict: int) -> Tensor:
        network, s, length = self.network, self.network.shape, len(texts[0])
        new = length - start
        mask = torch.ones(new, length, dtype=torch.bool).tril(start) if start and new > 1 else None
        x = F.embedding(torch.tensor([text[start:] for text in texts]), network.embed)
        if network.place is not None:
            x = x + network.place[start:length]
        for i, layer in enumerate(self.stack):
            qkv = F.linear(self._norm(x, layer.norm_a, layer.b_norm_a), layer.qkv, layer.b_qkv)
            heads = split_heads(qkv, s.heads + 2 * s.shared)
            q, k, v = heads.split([s.heads, s.shared, s.shared], dim=1)
            if self.turn is not None:
                q, k = rotate(q, self.turn[start:length]), rotate(k, self.turn[start:length])
            k, v = self.cache.write(i, start, k, v)
            heard = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=not start and new > 1,
                                                   enable_gqa=s.heads != s.shared)
            x = x + F.linear(heard.transpose(1, 2).reshape(x.shape), layer.out, layer.b_out)
            inner = F.linear(self._norm(x, layer.norm_b, layer.b_norm_b), layer.up, layer.b_up)
            if s.gpt2:
                inner = F.gelu(inner, approximate="tanh")
            else:
                gate, value = inner.chunk(2, dim=-1)
                inner = F.silu(gate) * value
            x = x + F.linear(inner, layer.down, layer.b_down)
        last = self._norm(x[:, new - predict :], network.norm, network.b_norm)
        return F.linear(last, network.embed if network.head is None else network.head)

    def _norm(self, x: Tensor, gain: Tensor, bias: Tensor | None) -> Tensor:
        epsilon = self.network.shape.epsilon
        if bias is None:
            return F.rms_norm(x, gain.shape, gain, epsilon)
        return F.layer_norm(x, gain.shape, gain, bias, epsilon)


class Beams(model.Branches, Session):  # type: ignore[misc]
    """Branches of a public network."""


def sources(shape: Shape) -> dict[str, list[str]]:
    """Our parameter -> the checkpoint's keys that make it up, without their prefix."""
    out: dict[str, list[str]] = {}
    for ours, theirs in (GPT2_KEYS if shape.gpt2 else LLAMA_KEYS).items():
        if ours == "head" and shape.tied:
            continue
        for i in range(shape.layers) if "#" in ours else [0]:
            out[ours.replace("#", str(i))] = theirs.replace("#", str(i)).split(" + ")
    return out


def from_checkpoint(shape: Shape, sizes: Mapping[str, tuple[int, ...]], read: Callable[[str], Tensor]) -> Network:
    """The network of a checkpoint. sizes: key -> shape of every tensor, prefixes removed; read: key -> tensor.

    All names and shapes are compared before a tensor is read. Raises ValueError with the first one that is wrong.
    """
    wanted = sources(shape)
    with torch.device("meta"):
        expected = dict(Network(shape).named_parameters())
    for name, parts in wanted.items():
        if lacking := next((p for p in parts if p not in sizes), None):
            raise ValueError(f"tensor {lacking!r} is missing")
        found = [tuple(reversed(sizes[p])) if _turned(shape, name) else sizes[p] for p in parts]
        if (sum(size[0] for size in found), *found[0][1:]) != tuple(expected[name].shape):
            raise ValueError(f"tensor {parts[0]!r} has shape {list(sizes[parts[0]])}; its config wants another")
    known = {p for parts in wanted.values() for p in parts} | {"lm_head.weight"}
    if extra := next((k for k in sizes if k not in known and not DERIVED.fullmatch(k)), None):
        raise ValueError(f"tensor {extra!r} belongs to no part of such a network")
    with torch.device("meta"):
        network = Network(shape)
    state = {}
    for name, parts in wanted.items():
        whole = [read(p).float() for p in parts]
        state[name] = (torch.cat(whole) if len(whole) > 1 else whole[0].t() if _turned(shape, name) else whole[0]
                       ).contiguous()
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()


def _turned(shape: Shape, name: str) -> bool:
    """GPT-2 stores the matrices of its blocks (in, out)."""
    return shape.gpt2 and name.rsplit(".", 1)[-1] in ("qkv", "out", "up", "down")
