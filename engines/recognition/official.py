"""The decoder of a public CPPD checkpoint (Topdu/OpenOCR) as ours: one table of names. The encoder is not read."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from engines.recognition.model import Cppd

# Official name -> ours, outside the layers.
OFFICIAL_KEYS = {
    "char_node_embed.embedding.weight": "char_node",
    "pos_node_embed.embedding.weight": "pos_node",
    "char_pos_embed": "char_pos",
    "vis_pos_embed": "vis_pos",
    "char_node_fc1": "count_fc",
    "pos_node_fc1": "slot_fc",
    "edge_fc": "edge_fc",
}
STACKS = ("char_node_decoder", "pos_node_decoder", "edge_decoder")
LAYER = re.compile(rf"({'|'.join(STACKS)})\.(\d+)\.(?:mixer\.|mlp\.)?(.+)")


def translate(key: str, depth: int, branch: int) -> str:
    """Our name of an official tensor; depth: blocks of our encoder, branch: layers of a branch. KeyError if unknown."""
    if found := LAYER.fullmatch(key):
        stack, number, rest = found.groups()
        return f"blocks.{depth + STACKS.index(stack) * branch + int(number)}.{rest}"
    if key in OFFICIAL_KEYS:
        return OFFICIAL_KEYS[key]
    stem, _, kind = key.rpartition(".")
    return f"{OFFICIAL_KEYS[stem]}.{kind}"


def from_official(state: Mapping[str, Tensor], config: Mapping[str, int]) -> Cppd:
    """config: the official constructor's arguments. Only rec_layer = 1 is read: slots do not hear one another."""
    width, branch = config["in_channels"], config["num_layer"]
    network = Cppd(
        width=width, heads=width // 32, depth=0, hidden=1, grid=[1, config["vis_seq"]],
        classes=config["out_channels"], slots=config["max_len"] + 1, wide=4 * width, branch=branch,
    )
    held = network.state_dict()
    ours = {translate(key, 0, branch): value for key, value in state.items()}
    eyes = {key: value for key, value in held.items() if key.startswith("stem.") or key == "place"}
    network.load_state_dict({key: value.reshape(held[key].shape) for key, value in ours.items()} | eyes)
    return network.eval()
