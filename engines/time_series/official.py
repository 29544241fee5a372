"""The official KoVAE (azencot-group/KoVAE, 0d3e22f) in our words: one table of keys.

`from_official` turns a state dict of `models.kovae.KoVAE` with the regular encoder into our Network, for parity tests
and for checkpoints that may be published one day.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from engines.time_series.model import PRIORS, Network

# Beginning of an official key -> of ours; the rest of the key is PyTorch's own.
OFFICIAL_KEYS = {
    "encoder.rnn.": "encoder.rnn.",
    "encoder.b_norm.": "encoder.norm.",
    "decoder.rnn.": "decoder.",
    "decoder.linear.": "out.",
    "z_prior_gru.": "cell.",
    "z_prior_mean.": "prior_mean.",
    "z_prior_logvar.": "prior_logvar.",
    "z_mean.": "mean.",
    "z_logvar.": "logvar.",
}


def from_official(state: Mapping[str, Tensor]) -> Network:
    """Our network with the parameters of an official one; its sizes are read off the shapes."""
    channels, width = state["decoder.linear.weight"].shape
    layers = sum(key.startswith("decoder.rnn.weight_ih") and not key.endswith("reverse") for key in state)
    network = Network(channels, len(state["z_mean.bias"]), width // 2, layers, PRIORS.index("gru"))
    found = {}
    for key, value in state.items():
        head = next((head for head in OFFICIAL_KEYS if key.startswith(head)), None)
        if head is None:
            raise ValueError(f"the official key {key} is not in the table")
        found[OFFICIAL_KEYS[head] + key.removeprefix(head)] = torch.as_tensor(value)
    network.load_state_dict(found)
    return network.eval()
