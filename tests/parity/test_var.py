"""The next-scale network and its sampler against recordings of the official VAR (FoundationVision/VAR, 78b9539).

The recordings stand in the folder that UNFOLD_PARITY names (their README tells how they were made); the smallest case
is in the tree. Images and their codes are the tokenizer's own parity; here its codebook and phi convolutions are taken
from the recording, so that the sampler runs from a label to the last code. Official draws are argmax(p / q) with
recorded q ~ Exp(1).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from engines.next_scale.official import DERIVED, OFFICIAL_KEYS, from_official
from engines.next_scale.sample import canvases, guide, sample, strength
from engines.tokenizers.model import MultiScale

FOLDER = Path(os.environ.get("UNFOLD_PARITY") or Path(__file__).parent / "recordings")
CASES = [name for name in ("var-saln", "var") if (FOLDER / name).exists()]


def close(ours: torch.Tensor, official: torch.Tensor) -> None:
    """|a - b| <= 1e-4 · max(1, max |b|), the tolerance of the recordings."""
    assert ours.shape == official.shape
    assert float((ours - official).abs().max()) <= 1e-4 * max(1.0, float(official.abs().max()))


@pytest.fixture(scope="module", params=CASES)
def case(request):
    folder = FOLDER / request.param
    config = json.loads((folder / "config.json").read_text())
    weights, io = load_file(folder / "weights.safetensors"), load_file(folder / "io.safetensors")
    official = {key.removeprefix("var."): value for key, value in weights.items() if key.startswith("var.")}
    scales = config["vae"]["v_patch_nums"]
    network = from_official(official, scales, config["var"]["num_heads"])
    phis = [key for key in weights if "quant_resi" in key and key.endswith("weight")]
    codes = weights["vae.quantize.embedding.weight"]
    tokenizer = MultiScale(widths=[8], blocks=1, channels=codes.shape[1], groups=4, stem=1, codes=len(codes),
                           scales=scales, phis=len(phis)).eval()
    with torch.no_grad():
        tokenizer.codebook.copy_(codes)
        for phi, key in zip(tokenizer.phi, sorted(phis), strict=True):
            phi.weight.copy_(weights[key])
            phi.bias.copy_(weights[key.replace("weight", "bias")])
    return SimpleNamespace(name=request.param, config=config, io=io, network=network, tokenizer=tokenizer,
                           official=official, labels=io["in.label"])


class Spy:
    """A network whose sessions keep what they answered."""

    def __init__(self, network):
        self.network, self.logits = network, []

    def session(self, rows):
        session = self.network.session(rows)

        def call(*args):
            self.logits.append(session(*args))
            return self.logits[-1]

        return call


def test_at_least_the_smallest_case_is_there():
    assert "var-saln" in CASES


def test_every_official_key_has_its_place_and_none_of_ours_is_left_over(case):
    known = set(OFFICIAL_KEYS) | DERIVED
    assert {".".join("#" if part.isdigit() and i == 1 and "blocks" in key else part
                     for i, part in enumerate(key.split("."))) for key in case.official} <= known
    with pytest.raises(ValueError, match="not in the table"):
        from_official(case.official | {"surprise": torch.zeros(1)}, case.network.scales, case.network.blocks[0].heads)


@torch.inference_mode()
def test_teacher_forced_logits_and_blocks_are_the_official_ones(case):
    seen = {}
    hooks = [block.register_forward_hook(lambda m, a, out, i=i: seen.__setitem__(i, out))
             for i, block in enumerate(case.network.blocks)]
    canvas = case.io["tf.x_BLCv_wo_first_l"]
    close(case.network(*case.network.condition(case.labels), canvas), case.io["tf.logits"])
    for hook in hooks:
        hook.remove()
    for i, out in seen.items():
        close(out, case.io[f"tf.block.{i}"])
    null = case.network.condition(case.labels, torch.zeros(len(case.labels), dtype=torch.bool))
    close(case.network(*null, canvas), case.io["tf.logits_null"])


@torch.inference_mode()
def test_the_cached_session_gives_the_teacher_forced_logits(case):
    canvas = case.io["tf.x_BLCv_wo_first_l"]
    whole = torch.cat([canvas.new_zeros(len(canvas), 1, canvas.shape[-1]), canvas], dim=1)
    session = case.network.session()
    steps = [session(k, whole[:, slice(*case.network.span(k))], case.labels) for k in range(len(case.network.scales))]
    close(torch.cat(steps, dim=1), case.io["tf.logits"])


@torch.inference_mode()
def test_what_the_network_is_shown_is_what_the_official_one_is_shown(case):
    ids = torch.cat([case.io[f"enc.ids.{k}"] for k in range(len(case.network.scales))], dim=1)
    close(canvases(case.tokenizer, ids), case.io["tf.x_BLCv_wo_first_l"])


@pytest.mark.parametrize("tag", ["greedy", "sample", "topkp"])
def test_the_sampler_draws_the_official_codes(case, tag):
    config, K = case.config, len(case.network.scales)
    how = {"greedy": {"top_k": 1}, "sample": {},
           "topkp": {"top_k": config["top_k_sample"], "top_p": config["top_p_sample"]}}[tag]

    def draw(k, p):
        if tag == "greedy":
            return p.argmax(-1)
        return (p / case.io[f"ar.q.{k}"].view(p.shape)).argmax(-1)

    spy = Spy(case.network)
    ids, f_hat = sample(spy, case.tokenizer, case.labels, draw, guidance=config["cfg"], temperature=1.0,
                        **({"top_k": 0, "top_p": 1.0} | how))
    for k in range(K):
        close(guide(spy.logits[k], strength(k, K, config["cfg"], True)), case.io[f"ar.{tag}.logits.{k}"])
        assert torch.equal(ids[k], case.io[f"ar.{tag}.ids.{k}"])
    if tag == "greedy":
        close(f_hat, case.io[f"ar.greedy.f_hat.{K - 1}"])


def test_guidance_without_its_ramp_is_another_sampler(case):
    spy = Spy(case.network)
    sample(spy, case.tokenizer, case.labels, lambda k, p: p.argmax(-1), guidance=case.config["cfg"], ramp=False,
           top_k=1, top_p=1.0)
    first = guide(spy.logits[0], strength(0, len(case.network.scales), case.config["cfg"], False))
    assert (first - case.io["ar.greedy.logits.0"]).abs().max() > 1e-2
