"""One token after another, ours against `transformers.generate`: same weights, same shapes, same greedy tokens.

Olmo is our causal block in transformers (layer norm without bias, rotary halves, gated SiLU), but for the gains of its
norms, which it does not have; so ours are multiplied into the matrices behind them. fp32, one thread, batch 1. The
floor is the bare matrix-vector products of one step, with nothing between them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import OlmoConfig, OlmoForCausalLM

from benchmarks.row import Row, table
from engines import backends
from engines.next_token.model import BOS, Network
from engines.worlds import stories

TOKENS, ROUNDS = 96, 21
SIZES = {"0.4 M": (3, 96, 4, 288, 3.0), "3 M": (6, 192, 6, 576, 2.0)}  # layers, width, heads, hidden, times faster


def ours(layers: int, width: int, heads: int, hidden: int) -> Network:
    """Random weights; every word may be predicted, since transformers knows of no closed entries."""
    torch.manual_seed(layers)
    network = Network(len(stories.VOCAB), layers, width, heads, hidden, length=TOKENS + 8).eval().requires_grad_(False)
    network.closed.zero_()
    for name, gain in network.named_parameters():
        if "norm" in name:
            gain.copy_(1 + 0.1 * torch.randn(gain.shape))
    return network


def theirs(network: Network) -> OlmoForCausalLM:
    """The same function as a model of transformers."""
    config = network.config
    model = OlmoForCausalLM(OlmoConfig(  # type: ignore[call-arg]
        vocab_size=config["vocab"], hidden_size=config["width"], intermediate_size=config["hidden"],
        num_hidden_layers=config["layers"], num_attention_heads=config["heads"],
        max_position_embeddings=config["length"] + 1, tie_word_embeddings=False, pad_token_id=None, bos_token_id=BOS,
        eos_token_id=None, attn_implementation="sdpa")).eval()
    state: dict[str, Tensor] = {"model.embed_tokens.weight": network.embed,
                                "lm_head.weight": network.embed * network.norm}
    for i, block in enumerate(network.blocks):
        layer, at = block.layer(), f"model.layers.{i}"  # type: ignore[operator]
        q, k, v = (layer.qkv * layer.norm_a).chunk(3)
        gate, up = (layer.up * layer.norm_b).chunk(2)
        state |= {f"{at}.self_attn.q_proj.weight": q, f"{at}.self_attn.k_proj.weight": k,
                  f"{at}.self_attn.v_proj.weight": v, f"{at}.self_attn.o_proj.weight": layer.out,
                  f"{at}.mlp.gate_proj.weight": gate, f"{at}.mlp.up_proj.weight": up,
                  f"{at}.mlp.down_proj.weight": layer.down}
    model.load_state_dict({name: value.detach().clone() for name, value in state.items()})
    return model


def decoder(network: Network) -> Callable[[], list[int]]:
    """Our decode session, greedily, from BOS on: what a lane does for each token, without its events.

    By ONNX Runtime, as lanes that write words do (`python -m benchmarks backends`).
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "step.onnx"
        path.write_bytes(backends.export(network))
        session = network.session(backends.load(network, path))

    def write() -> list[int]:
        session.reset()
        text = [BOS]
        for _ in range(TOKENS):
            text.append(int(session(text, 1)[-1].argmax()))
        return text

    return write


def generator(model: OlmoForCausalLM) -> Callable[[], list[int]]:
    start = torch.tensor([[BOS]])
    mask = torch.ones_like(start)

    def write() -> list[int]:
        with torch.inference_mode():
            out = model.generate(  # type: ignore[misc]
                start, attention_mask=mask, max_new_tokens=TOKENS, do_sample=False, use_cache=True)
        return [int(i) for i in out[0]]

    return write


def products(network: Network) -> Callable[[], None]:
    """The floor: each step's matrices, once, by a vector."""
    matrices = [m for block in network.blocks
                for layer in [block.layer()]  # type: ignore[operator]
                for m in (layer.qkv, layer.out, layer.up, layer.down)] + [network.embed]
    vectors = [torch.randn(1, m.shape[1]) for m in matrices]

    def work() -> None:
        with torch.inference_mode():
            for _ in range(TOKENS):
                for x, m in zip(vectors, matrices, strict=True):
                    F.linear(x, m)

    return work


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measured(size: str, rounds: int) -> list[Row]:
    layers, width, heads, hidden, target = SIZES[size]
    network = ours(layers, width, heads, hidden)
    model = theirs(network)
    mine, other, floor = decoder(network), generator(model), products(network)
    if mine() != other():
        raise RuntimeError(f"{size}: the two write different tokens, so their times cannot be compared")
    floor()
    times: list[tuple[float, float, float]] = []
    for i in range(rounds):  # ABBA: whoever comes second finds another machine than whoever comes first
        if i % 2:
            a, b = seconds(mine), seconds(other)
        else:
            b, a = seconds(other), seconds(mine)
        times.append((a, b, seconds(floor)))
    faster = statistics.median(b / a for a, b, _ in times)
    above = statistics.median(a / f for a, _, f in times)
    a, b, f = (statistics.median(t) / TOKENS * 1e3 for t in zip(*times, strict=True))
    count = sum(p.numel() for p in network.parameters()) / 1e6
    return [
        Row(f"decoding a token, {size} parameters: against transformers", faster, "x as fast", target,
            f"{count:.2f} M, {a:.3g} ms against {b:.3g} ms; median of {rounds} pairs, ABBA, same greedy tokens",
            more=True),
        Row(f"the same, {size}: over its bare matrix-vector products", above, "x", None, f"{f:.3g} ms; same rounds"),
    ]


def main(rounds: int = ROUNDS) -> list[Row]:
    torch.set_num_threads(1)
    return [row for size in SIZES for row in measured(size, rounds)]


if __name__ == "__main__":
    print(table(main()))
