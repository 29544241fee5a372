"""NAR's transformer against recordings of the official module: same weights in, same numbers out.

They are read from the folder that UNFOLD_PARITY names (its READMEs tell how they were made), else the first of them
from the tree. The official draws are argmax(p / e) with recorded e ~ Exp(1); that is what is handed to the sampler.
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

from engines.raster.guidance import Rule, guide
from engines.raster.neighbours import Neighbours, from_official, mix
from engines.raster.sampler import in_diagonals

TREE = Path(__file__).parent / "recordings"
FOLDER = Path(os.environ.get("UNFOLD_PARITY") or TREE)
# Names of the two recordings' tensors: mask, both heads, mixed logits, blocks.
NAMES = {
    "nar": ("proximity_mask", "full.logitsR", "full.logitsB", "full.logits", "full.layer."),
    "nar-2": ("out.proximity_mask", "out.logits_right", "out.logits_below", "out.logits_mixed", "mid.layer"),
}
CASES = [name for name in NAMES if (FOLDER / name).exists()]


class Recording:
    """One folder: config, official weights in our network, and the tensors to be met."""

    def __init__(self, name: str):
        folder = FOLDER / name
        self.config = json.loads((folder / "config.json").read_text())
        self.io = load_file(folder / "io.safetensors")
        self.weights = load_file(folder / "weights.safetensors")
        self.network: Any = from_official(self.weights, self.config.get("args") or self.config["constructor"])
        self.labels = self.io["in.label" if "in.label" in self.io else "in.cond_idx"]

    def close(self, name: str, value: Tensor) -> None:
        """|a - b| <= 1e-4 max(1, max |b|), the tolerance of the recordings."""
        wanted = self.io[name]
        assert value.shape == wanted.shape
        assert (value - wanted).abs().max() <= 1e-4 * max(1.0, float(wanted.abs().max())), name

    def full(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Opinions of all inputs (B, P + N, 2, V), mixed logits (B, N, V) and what each block leaves, cells in rows."""
        network, idx = self.network, self.io["in.idx"]
        heard: list[Tensor] = []
        hooks = [b.register_forward_hook(lambda m, i, out: heard.append(out)) for b in network.blocks]
        with torch.no_grad():
            prefix, _ = network.condition(self.labels)
            x = network.inputs(prefix, None, idx[:, network.order])
            said = network.run(x, network.turn)
            for hook in hooks:
                hook.remove()
            mixed = network(prefix, None, idx)
        back = network.order.argsort()
        rows = torch.cat([torch.arange(network.prefix), network.prefix + back])
        return said[:, rows], mixed[:, back], [h[:, rows] for h in heard]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Recording, tuple[str, ...]]:
    return Recording(request.param), NAMES[request.param]


@pytest.fixture(scope="module")
def first() -> Recording:
    return Recording("nar")


def test_every_official_tensor_has_a_place_and_every_one_of_ours_a_source(case):
    recording, _ = case
    assert type(recording.network) is Neighbours
    assert len(recording.weights) == len(recording.network.state_dict())


def test_the_mask_is_the_official_one(case):
    recording, (name, *_) = case
    network = recording.network
    seen = network.sight(0, network.prefix + network.cells)
    back = torch.cat([torch.zeros(1, dtype=torch.long), 1 + network.order.argsort()])
    assert torch.equal(seen[back][:, back], recording.io[name])


def test_both_heads_their_mix_and_every_layer(case):
    recording, (_, right, below, both, layer) = case
    said, mixed, heard = recording.full()
    recording.close(right, said[:, :, 0])
    recording.close(below, said[:, :, 1])
    recording.close(both, mixed)
    assert len(heard) == sum(name.startswith(layer) for name in recording.io)
    for i, x in enumerate(heard):
        recording.close(f"{layer}{i}", x)


@pytest.mark.parametrize("tag", ["greedy", "sample"])
def test_the_official_generation_is_reproduced(first, tag):
    network, io, config = first.network, first.io, first.config
    rule = Rule(
        guidance=config["cfg_scale"], interval=config["cfg_interval"], temperature=config["temperature"],
        top_k=1 if tag == "greedy" else config["top_k"], top_p=config["top_p"],
    )
    done, seen = [0], []

    def pick(cells: Tensor, p: np.ndarray) -> Tensor:
        q = io["gen.sample.q"][done[0] : done[0] + cells.shape[1]].transpose(0, 1).numpy()
        done[0] += cells.shape[1]
        return torch.from_numpy((p / q).argmax(-1))

    session = network.session(4)

    class Watched:
        """The session, with its guided logits kept."""

        def __init__(self) -> None:
            self.network = network

        def __call__(self, *args: Any) -> Tensor:
            z = session(*args)
            seen.append(torch.from_numpy(guide(mix(z), rule, args[1].shape[1] + 1, network.cells)).float())
            return z

    assert torch.equal(in_diagonals(Watched(), first.labels, pick, rule), io[f"gen.{tag}.ids"].long())
    assert len(seen) == config["measured"]["network_calls"]
    for d, z in enumerate(seen):
        if f"gen.{tag}.step_logits.{d}" in io:
            first.close(f"gen.{tag}.step_logits.{d}", z)


def test_a_mask_that_is_causal_row_by_row_would_be_seen(first):
    """Rows instead of diagonals, or a diagonal whose cells do not see one another, is another network."""
    network = Recording("nar").network
    cells = network.order
    for seen in (cells[None] <= cells[:, None], torch.ones(16, 16, dtype=torch.bool).tril()):
        mask = torch.ones(17, 17, dtype=torch.bool).tril()
        mask[1:, 1:] = seen
        network.sight = lambda start, stop, device=None, mask=mask: mask[start:stop, :stop]
        broken = Recording("nar")
        broken.network = network
        with pytest.raises(AssertionError):
            broken.close("full.logits", broken.full()[1])


if "nar-2" in CASES:

    @pytest.fixture(scope="module")
    def second() -> Recording:
        return Recording("nar-2")

    def test_the_loss_is_the_official_one(second):
        mixed = second.full()[1]
        loss = torch.nn.functional.cross_entropy(mixed.flatten(0, 1), second.io["in.idx"].flatten())
        second.close("out.loss", loss)

    def test_cached_steps_along_given_codes(second):
        network, idx = second.network, second.io["in.idx"]
        session, ranked = network.session(len(idx)), idx[:, network.order]
        for d, known in enumerate(network.done[:-1]):
            z = mix(session(second.labels, ranked[:, :known], False))[0]
            second.close(f"out.tf_step{d:02}_logits" if d else "out.tf_prefill_logits", z)

    @pytest.mark.parametrize("name", ["out.greedy_nocfg", "out.greedy_cfg"])
    def test_greedy_pictures_of_the_second_recording(second, name):
        how = second.config["settings"]
        rule = Rule(guidance=how["cfg_scale"] if name == "out.greedy_cfg" else 1.0, interval=how["cfg_interval"])
        session = second.network.session(4)
        ids = in_diagonals(session, second.labels, lambda cells, p: torch.from_numpy(p.argmax(-1)), rule)
        assert torch.equal(ids, second.io[name])
