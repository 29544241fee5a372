"""Public checkpoints of D-AR (showlab/D-AR) as networks of this room: one table of names for the tokenizer.

The network over codes has the names of LlamaGen's, so it is read by `raster.model.from_official`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from engines.next_x.model import Line, Sequential
from engines.raster import model as raster

# Official name -> ours. Linear layers and norms carry .weight and .bias.
OFFICIAL_KEYS = {
    "patchify": "into",
    "query_embedding.weight": "query",
    "query_linear": "ask",
    "quant_in_conv": "before",
    "quantize.embedding.weight": "codes.weight",
    "quant_out_conv": "after",
    "decoder_embedding.weight": "place",
    "diff_decoder.net.cond_mlp": "tell",
    "diff_decoder.net.conv_in": "noisy",
    "diff_decoder.net.conv_out": "out",
    # inside a block
    "norm1": "norm_a",
    "norm2": "norm_b",
    "gate1": "gate_a",
    "gate2": "gate_b",
    "mlp.fc1": "up",
    "mlp.fc2": "down",
    "adaLN_modulation.1": "modulate",
    "cond_embed.0": "mean_up",
    "cond_embed.2": "mean_down",
    "time_embed.mlp.0": "clock.up",
    "time_embed.mlp.2": "clock.down",
    # an attention; its q, k and v are one matrix with us
    "attention.q_norm": "attention.norm_q",
    "attention.k_norm": "attention.norm_k",
    "attention.proj": "attention.out",
    "attention.qkv": "attention.qkv",
    "cross_attn.q_norm": "cross.norm_q",
    "cross_attn.k_norm": "cross.norm_k",
    "cross_attn.proj": "cross.out",
    "cross_attn.qkv": "cross.qkv",
}
STACKS = ("encoder_layers", "decoder_layers", "diff_decoder.net.blocks")
# Training only.
LEFT_OUT = ("diff_decoder.net.repa_out.", "quantize.codebook_used")
BLOCK = re.compile(rf"({'|'.join(map(re.escape, STACKS))})\.(\d+)\.(.+)")


def translate(key: str, depths: list[int]) -> str:
    """Our name of an official tensor; depths: blocks of encoder, causal decoder, denoiser. KeyError if unknown."""
    if found := BLOCK.fullmatch(key):
        stack, number, key = found.groups()
        return f"blocks.{sum(depths[: STACKS.index(stack)]) + int(number)}.{translate(key, depths)}"
    if key in OFFICIAL_KEYS:
        return OFFICIAL_KEYS[key]
    stem, _, kind = key.rpartition(".")
    return f"{OFFICIAL_KEYS[stem]}.{kind}" if kind in ("weight", "bias") else OFFICIAL_KEYS[key]


def joined(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with queries, keys and values of each attention as one matrix, and without what only trains."""
    state = {key: value for key, value in state.items() if not key.startswith(LEFT_OUT)}
    for key in [key for key in state if re.search(r"(attention|cross_attn)\.q\.", key)]:
        parts = [state.pop(key.replace(".q.", f".{part}.")) for part in "qkv"]
        state[key.replace(".q.", ".qkv.")] = torch.cat(parts)
    return state


def from_official(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Sequential:
    """The tokenizer of an official checkpoint (its "model" or "ema"); config: the "model" of its yaml."""
    denoiser, tensors = config["diff_decoder"], joined(state)
    depths = [config["num_encoder_layers"], config["num_decoder_layers"], denoiser["depth"]]
    widths = [config["encoder_dim"], config["decoder_dim"], denoiser["dim"]]
    count, size = config["num_all_queries"], 64  # of a head, fixed in the official code
    network = Sequential(
        size=config["sampling_resolution"], patches=[config["encoder_patch_size"], denoiser["patch_size"]],
        widths=widths, depths=depths, heads=[width // size for width in widths], hidden=[4 * w for w in widths],
        tokens=count, groups=config["num_query_groups"], codes=config["vq_codebook_size"], channels=config["vq_dim"],
        coarse=0, clean=0, own_clock=1, steps=config["num_denoising_steps"],
        told=config.get("queries_per_step", count // config["num_query_groups"]),
        std=denoiser["data_std"], shift=denoiser["time_shift"],
    )
    ours = {translate(key, depths): value for key, value in tensors.items()}
    for name in ("query", "place"):
        ours[name] = ours[name][:count]  # the official tables have 1,024 rows
    held = network.state_dict()
    ours = {key: value.reshape(held[key].shape) for key, value in ours.items()}
    ours |= {key: torch.zeros_like(held[key]) for key in ("codes.seen", "spot_in", "spot_out")}
    network.load_state_dict(ours)
    return network.eval()


def line_from_official(state: Mapping[str, Tensor], args: Mapping[str, Any]) -> raster.Raster:
    """The network over codes of an official class-conditional checkpoint; args: its ModelArgs."""
    return raster.from_official(state, args, Line, side=args["block_size"])
