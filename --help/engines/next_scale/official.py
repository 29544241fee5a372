"""The official VAR network (FoundationVision/VAR, 78b9539) in our words: one table of keys.

`from_official` turns a state dict of `models.var.VAR` into our Network, for parity tests and public checkpoints.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from engines.next_scale.model import Network

# Official key -> ours; `#` stands for the number of a block. Shapes differ by axes of length 1 only.
OFFICIAL_KEYS = {
    "word_embed.weight": "word.weight",
    "word_embed.bias": "word.bias",
    "class_emb.weight": "captions.embed",
    "pos_start": "start",
    "pos_1LC": "position",
    "lvl_embed.weight": "level",
    "shared_ada_lin.1.weight": "shared.weight",
    "shared_ada_lin.1.bias": "shared.bias",
    "blocks.#.ada_gss": "blocks.#.table",
    "blocks.#.ada_lin.1.weight": "blocks.#.adaptive.weight",
    "blocks.#.ada_lin.1.bias": "blocks.#.adaptive.bias",
    "blocks.#.attn.scale_mul_1H11": "blocks.#.sharpness",
    "blocks.#.attn.mat_qkv.weight": "blocks.#.qkv.weight",
    "blocks.#.attn.q_bias": "blocks.#.q_bias",
    "blocks.#.attn.v_bias": "blocks.#.v_bias",
    "blocks.#.attn.proj.weight": "blocks.#.proj.weight",
    "blocks.#.attn.proj.bias": "blocks.#.proj.bias",
    "blocks.#.ffn.fc1.weight": "blocks.#.up.weight",
    "blocks.#.ffn.fc1.bias": "blocks.#.up.bias",
    "blocks.#.ffn.fc2.weight": "blocks.#.down.weight",
    "blocks.#.ffn.fc2.bias": "blocks.#.down.bias",
    "head_nm.ada_lin.1.weight": "before_head.weight",
    "head_nm.ada_lin.1.bias": "before_head.bias",
    "head.weight": "head.weight",
    "head.bias": "head.bias",
}
# Constants that follow from the sizes.
DERIVED = {"lvl_1L", "attn_bias_for_masking", "blocks.#.attn.zero_k_bias"}


def from_official(state: Mapping[str, Tensor], scales: Sequence[int], heads: int) -> Network:
    """Our network with the parameters of an official one; every official key must be used or derived."""
    width, channels = state["word_embed.weight"].shape
    blocks = {int(m[1]) for key in state if (m := re.match(r"blocks\.(\d+)\.", key))}
    network = Network(
        vocab=len(state["head.bias"]),
        channels=channels,
        layers=len(blocks),
        width=width,
        heads=heads,
        hidden=len(state["blocks.0.ffn.fc1.bias"]),
        scales=scales,
        classes=len(state["class_emb.weight"]) - 1,
        shared=int("shared_ada_lin.1.weight" in state),
        cosine=int("blocks.0.attn.scale_mul_1H11" in state),
    )
    wanted = network.state_dict()
    found = {}
    for key, value in state.items():
        number = (re.findall(r"blocks\.(\d+)\.", key) or [""])[0]
        general = re.sub(r"blocks\.\d+\.", "blocks.#.", key)
        if general in DERIVED:
            continue
        if general not in OFFICIAL_KEYS:
            raise ValueError(f"the official key {key} is not in the table")
        ours = OFFICIAL_KEYS[general].replace("#", number)
        found[ours] = torch.as_tensor(value, dtype=torch.float32).reshape(wanted[ours].shape)
    network.load_state_dict(found)
    return network.eval()
