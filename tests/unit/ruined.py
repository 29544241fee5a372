"""Nets that learned nothing, in the shape of a stored one."""

from typing import Any, cast

import torch

from engines import weights


def ruined(name: str, how: str) -> torch.nn.Module:
    """how: "fresh", as a net is born (nearly even guesses), or "shuffled", the stored numbers in another order."""
    stored = cast(Any, weights.load(name))
    torch.manual_seed(len(name))
    net = type(stored)(**stored.config)
    if how == "shuffled":
        state = {k: v.flatten()[torch.randperm(v.numel())].view_as(v) for k, v in stored.state_dict().items()}
        net.load_state_dict(state)
    return net.eval().requires_grad_(False)
