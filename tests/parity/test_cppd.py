"""Counting, ordering and picking letters against recordings of the official CPPD decoder and its loss.

The recordings stand in the folder that UNFOLD_PARITY names (their README tells how they were made); a case is in the
tree. Tolerance: |a - b| <= 1e-4 · max(1, max|b|). Every size comes from the recording's config.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engines.recognition import official
from engines.recognition.model import Cppd, counts

FOLDER = Path(os.environ.get("UNFOLD_PARITY") or Path(__file__).parent / "recordings") / "cppd"


@pytest.fixture(scope="module")
def io() -> dict[str, torch.Tensor]:
    return load_file(FOLDER / "io.safetensors")


@pytest.fixture(scope="module")
def net() -> Cppd:
    config = json.loads((FOLDER / "config.json").read_text())["constructor"]
    return official.from_official(load_file(FOLDER / "weights.safetensors"), config)


def near(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    gap = (ours.detach().double() - theirs.double()).abs().max().item()
    assert gap <= 1e-4 * max(1.0, theirs.abs().max().item()), gap


def test_letters_are_the_official_ones(net, io):
    near(net.read(io["in.x"]).logits.softmax(-1), io["out.eval_probs"])


@torch.inference_mode()
def test_branches_are_the_official_ones(net, io):
    v = net.looked_at(io["in.x"][:1])
    nodes, counted = net.count(v, nodes=True)
    slots = net.order(v)
    near(torch.cat([nodes, counted], 1), io["mid.train_char0"])
    near(net.count(v)[1], io["mid.eval_char0"])
    near(slots, io["mid.eval_pos0"][:, : net.slots])
    near(slots, io["mid.train_pos0"][:, : net.slots])


@torch.inference_mode()
def test_side_tasks_and_their_loss_are_the_official_ones(net, io):
    x, target = io["in.x"], io["in.char_targets"].clone()
    count, exists = net.sides_of(x)
    near(count, io["out.train_counts"])
    near(exists, io["out.train_slots"])
    target[target == 100] = -100  # what the official loss ignores, torch's way
    classes = count.shape[1]
    assert counts(target, classes).tolist() == io["in.node_targets"][:, :classes].tolist()
    assert (target >= 0).long().tolist() == io["in.node_targets"][:, classes:].tolist()
    counting, ordering, letters = net.losses(x, target)
    near(counting + ordering, io["out.loss_node"])
    near(letters, io["out.loss_edge"])
    near(net.losses(x, target)[0] + ordering + letters, io["out.loss"])


@torch.inference_mode()
def test_another_scale_in_the_last_layer_is_seen(net, io):
    """The broken twin: weights of the last layer divided by the root of a head's width."""
    scale, net.last().scale = net.last().scale, 32**-0.5
    try:
        off = (net.read(io["in.x"]).logits.softmax(-1) - io["out.eval_probs"]).abs().max()
    finally:
        net.last().scale = scale
    assert off > 1e-3
