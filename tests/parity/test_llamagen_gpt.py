"""LlamaGen's transformer and RandAR's against recordings of the official modules: same weights in, same numbers out.

`llamagen-gpt` is read from the folder that UNFOLD_PARITY names (its README tells how it was made), else from the tree.
`randar` is a recording of our own, made in the same way; its config.json says from which commit. The official draws
are argmax(p / e) with recorded e ~ Exp(1), so that is what is handed to the sampler.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engines.raster import model
from engines.raster.guidance import Rule, guide
from engines.raster.sampler import in_order, in_raster, schedule

TREE = Path(__file__).parent / "recordings"
OURS = Path(os.environ.get("UNFOLD_PARITY") or TREE)


class Recording:
    """One folder: config, official weights in our network, and the tensors to be met."""

    def __init__(self, folder: Path):
        self.config = json.loads((folder / "config.json").read_text())
        self.io = load_file(folder / "io.safetensors")
        self.weights = load_file(folder / "weights.safetensors")
        self.network = model.from_official(self.weights, self.config["args"])

    def close(self, name: str, value: Tensor) -> None:
        """|a - b| <= 1e-4 max(1, max |b|), the tolerance of the recordings."""
        wanted = self.io[name]
        assert value.shape == wanted.shape
        assert (value - wanted).abs().max() <= 1e-4 * max(1.0, float(wanted.abs().max())), name

    def pick(self, tag: str) -> Any:
        """The recorded draws, one step after the other; the logits that they met must be the recorded ones."""
        state = {"step": 0}

        def pick(cells: Tensor, p: np.ndarray) -> Tensor:
            drawn = []
            for i in range(p.shape[1]):
                q = self.io[f"gen.{tag}.q"][state["step"] + i].numpy()
                drawn.append(torch.from_numpy((p[:, i] / q).argmax(-1)))
            state["step"] += p.shape[1]
            return torch.stack(drawn, dim=1)

        return pick


@pytest.fixture(scope="module")
def llamagen() -> Recording:
    return Recording(OURS / "llamagen-gpt")


@pytest.fixture(scope="module")
def randar() -> Recording:
    return Recording(TREE / "randar")


def test_every_official_tensor_has_a_place_and_every_one_of_ours_a_source(llamagen, randar):
    for recording in (llamagen, randar):
        assert len(recording.weights) == len(recording.network.state_dict())
    assert type(llamagen.network) is model.Raster and type(randar.network) is model.RandomOrder


def test_the_turns_are_the_official_ones_and_zero_for_the_condition(llamagen):
    llamagen.close("rope.freqs_cis", llamagen.network.turn)
    assert not llamagen.network.turn[: llamagen.network.prefix].any()


@torch.no_grad()
def test_full_logits_and_every_layer(llamagen):
    network, io = llamagen.network, llamagen.io
    heard: list[Tensor] = []
    hooks = [b.register_forward_hook(lambda m, i, out: heard.append(out)) for b in network.blocks]
    llamagen.close("full.logits", network(*network.condition(io["in.label"]), io["in.idx"]))
    for hook in hooks:
        hook.remove()
    assert len(heard) == sum(name.startswith("full.layer.") for name in io)
    for i, x in enumerate(heard):
        llamagen.close(f"full.layer.{i}", x)


@torch.no_grad()
def test_logits_without_a_class(llamagen):
    network, io = llamagen.network, llamagen.io
    none = network.condition(io["in.label"], torch.zeros(len(io["in.label"]), dtype=torch.bool))
    llamagen.close("full.logits_null", network(*none, io["in.idx"]))


def test_cached_logits(llamagen):
    network, io = llamagen.network, llamagen.io
    session = network.session(len(io["in.label"]))
    steps = [session(io["in.label"], io["in.idx"][:, :n], False)[0, :, 0] for n in range(network.cells)]
    wanted = io["kv.logits"][:, : network.cells]
    assert (torch.stack(steps, dim=1) - wanted).abs().max() <= 1e-4 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("tag", ["greedy", "sample"])
def test_the_official_generation_is_reproduced(llamagen, tag):
    network, io, config = llamagen.network, llamagen.io, llamagen.config
    rule = Rule(
        guidance=config["cfg_scale"], interval=config["cfg_interval"], temperature=config["temperature"],
        top_k=1 if tag == "greedy" else config["top_k"], top_p=config["top_p"],
    )
    session = network.session(2 * len(io["in.label"]))
    ids = in_raster(session, io["in.label"], llamagen.pick("sample"), rule, network.cells)
    assert torch.equal(ids, io[f"gen.{tag}.ids"].long())
    session.reset()
    logits = []
    for n in range(network.cells):
        z = session(io["in.label"], ids[:, :n], rule.guided)
        logits.append(torch.from_numpy(guide(z, rule, n, network.cells))[:, 0])
    llamagen.close(f"gen.{tag}.logits", torch.stack(logits, dim=1).float())


@torch.no_grad()
def test_random_order_logits_and_instructions(randar):
    network, io = randar.network, randar.io
    randar.close("instruct", network.flags(io["in.order"], None))
    logits = network(*network.condition(io["in.label"]), io["in.idx"], io["in.order"])
    randar.close("full.logits", logits)
    none = network.condition(io["in.label"], torch.zeros(2, dtype=torch.bool))
    randar.close("full.logits_null", network(*none, io["in.idx"], io["in.order"]))
    wanted = io["in.idx"].gather(1, io["in.order"])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
    randar.close("full.loss", loss[None])


@pytest.mark.parametrize("tag", ["one", "parallel"])
def test_random_order_generation_is_reproduced_one_by_one_and_in_parallel(randar, tag):
    network, io, config = randar.network, randar.io, randar.config
    first, last = config["cfg_scales"]
    how = config[tag]
    rule = Rule(guidance=last, start=first, temperature=how["temperature"], top_k=how["top_k"], top_p=how["top_p"])
    counts = schedule(network.cells, how["num_inference_steps"])
    assert len(counts) == how["num_inference_steps"]
    seen: list[Tensor] = []
    session = network.session(4)

    class Watched:
        def __call__(self, *args: Any) -> Tensor:
            z = session(*args)
            seen.append(torch.from_numpy(guide(z, rule, args[1].shape[1], network.cells)))
            return z

    ids = in_order(Watched(), io["in.label"], io["in.order"], randar.pick(tag), rule, counts)
    assert torch.equal(ids, io[f"gen.{tag}.ids"])
    randar.close(f"gen.{tag}.logits", torch.cat(seen, dim=1).transpose(0, 1).float())


def test_identity_turns_for_the_condition_would_be_seen(llamagen):
    """A re-implementation that leaves the condition unturned, instead of silent, is another network."""
    other = model.from_official(llamagen.weights, llamagen.config["args"])
    other.turn[: other.prefix, :, 0] = 1.0
    io = llamagen.io
    with torch.no_grad(), pytest.raises(AssertionError):
        llamagen.close("full.logits", other(*other.condition(io["in.label"]), io["in.idx"]))
