"""The official networks of RADD, SEDD and MDLM in our words: one table of keys, for parity and public checkpoints.

Sources: ML-GSAI/RADD 60b772d (`model.transformer.RADD`), louaaron/Score-Entropy-Discrete-Diffusion 0605786
(`model.transformer.SEDD`), kuleshov-group/mdlm c112c52 (`models.dit.DIT`). RADD has biases in its norms and no layers
that are told the time; the other two are alike.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from engines.discrete_diffusion.model import Network

# Official key -> ours; `#` stands for the number of a block.
OFFICIAL_KEYS = {
    "vocab_embed.embedding": "embed",
    "sigma_map.mlp.0.weight": "time_up.weight",
    "sigma_map.mlp.0.bias": "time_up.bias",
    "sigma_map.mlp.2.weight": "time_down.weight",
    "sigma_map.mlp.2.bias": "time_down.bias",
    "blocks.#.norm1.weight": "blocks.#.norm_a.weight",
    "blocks.#.norm1.bias": "blocks.#.norm_a.bias",
    "blocks.#.attn_qkv.weight": "blocks.#.qkv.weight",
    "blocks.#.attn_out.weight": "blocks.#.out.weight",
    "blocks.#.norm2.weight": "blocks.#.norm_b.weight",
    "blocks.#.norm2.bias": "blocks.#.norm_b.bias",
    "blocks.#.mlp.0.weight": "blocks.#.up.weight",
    "blocks.#.mlp.0.bias": "blocks.#.up.bias",
    "blocks.#.mlp.2.weight": "blocks.#.down.weight",
    "blocks.#.mlp.2.bias": "blocks.#.down.bias",
    "blocks.#.adaLN_modulation.weight": "blocks.#.tell.weight",
    "blocks.#.adaLN_modulation.bias": "blocks.#.tell.bias",
    "output_layer.norm_final.weight": "norm.weight",
    "output_layer.norm_final.bias": "norm.bias",
    "output_layer.adaLN_modulation.weight": "last_tell.weight",
    "output_layer.adaLN_modulation.bias": "last_tell.bias",
    "output_layer.linear.weight": "head.weight",
    "output_layer.linear.bias": "head.bias",
}
# Constants that follow from the sizes.
DERIVED = {"rotary_emb.inv_freq"}


def from_official(state: Mapping[str, Tensor], heads: int, length: int) -> Network:
    """Our network with the parameters of an official one; every official key must be used or derived."""
    rows, width = state["vocab_embed.embedding"].shape
    told = len(state["sigma_map.mlp.0.bias"]) if "sigma_map.mlp.0.bias" in state else 0
    layers = {m[1] for key in state if (m := re.match(r"blocks\.(\d+)\.", key))}
    network = Network(vocab=rows - 1, layers=len(layers), width=width, heads=heads,
                      hidden=len(state["blocks.0.mlp.0.bias"]), length=length, told=told)
    found = {}
    for key, value in state.items():
        number = (re.findall(r"blocks\.(\d+)\.", key) or [""])[0]
        general = re.sub(r"blocks\.\d+\.", "blocks.#.", key)
        if general in DERIVED:
            continue
        if general not in OFFICIAL_KEYS:
            raise ValueError(f"the official key {key} is not in the table")
        found[OFFICIAL_KEYS[general].replace("#", number)] = value.float()
    network.load_state_dict(found)
    return network.eval()
