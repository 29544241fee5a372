"""D-AR's tokenizer and its second network against recordings of the official modules: same weights in, same numbers.

Read from the folder that UNFOLD_PARITY names (README.md there tells how they were made), else from the tree.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from engines.next_x import official
from engines.next_x.model import shifted
from engines.raster.guidance import Rule
from engines.raster.sampler import in_raster

TREE = Path(__file__).parent / "recordings"
OURS = Path(os.environ.get("UNFOLD_PARITY") or TREE)


def close(value, wanted):
    """|a - b| <= 1e-4 max(1, max |b|), the tolerance of the recordings."""
    assert value.shape == wanted.shape
    assert (value - wanted).abs().max() <= 1e-4 * max(1.0, float(wanted.abs().max()))


@pytest.fixture(scope="module")
def tokenizer():
    folder = OURS / "d-ar-tokenizer"
    config = json.loads((folder / "config.json").read_text())["constructor"]
    state = load_file(folder / "weights.safetensors")
    return official.from_official(state, config), load_file(folder / "io.safetensors"), config


@torch.no_grad()
def test_the_encoder_writes_the_official_codes(tokenizer):
    net, io, _ = tokenizer
    heard = []
    hook = net.blocks[0].register_forward_hook(lambda m, i, out: heard.append(out))
    z, _ = net.features(io["in.image"])
    hook.remove()
    close(torch.cat(heard, dim=1)[:1], io["mid.enc0"])
    pre = io["mid.pre_quant"].squeeze(2).mT
    close(z, F.normalize(pre, dim=-1))
    assert torch.equal(net.encode(io["in.image"]), io["out.codes_of_image"])
    look = F.embedding(io["out.codes_of_image"], net.codebook)
    close(look, io["out.quant"].squeeze(2).mT)
    close(net.condition(look), io["out.cond_of_image"])


@torch.no_grad()
def test_the_causal_decoder_and_the_denoiser(tokenizer):
    net, io, config = tokenizer
    cond = net.condition(F.embedding(io["in.codes"], net.codebook))
    close(cond, io["out.cond_of_codes"])
    t = shifted(io["in.t"], net.shift)
    close(t, io["out.t_shifted"])
    heard = []
    hook = net.blocks[sum(net.depths[:2])].register_forward_hook(lambda m, i, out: heard.append(out))
    close(net.estimate(io["in.x0"], t, cond[:, : net.told]).v, io["out.v"])
    hook.remove()
    close(heard[0][:1], io["mid.sit0"])


@torch.no_grad()
def test_the_official_sampler_and_its_first_steps(tokenizer):
    net, io, _ = tokenizer
    close(torch.tensor(net.times()[:-1]), io["out.schedule"])
    close(net.decode(io["in.codes"], io["in.x0"]), io["out.decode_code"])
    close(net.decode(io["in.codes"], io["in.x0"], multistep=False), io["out.euler"])
    close(net.decode(io["in.codes"], io["in.x0"], steps=2), io["out.preview_2_steps"])


@torch.no_grad()
def test_the_loss_of_the_flow(tokenizer):
    net, io, _ = tokenizer
    t = shifted(io["in.t"], net.shift)[:, None, None, None]
    x1, x0 = net.std * io["in.image"], io["in.x0"]
    close(t * x1 + (1 - t) * x0, io["out.xt"])
    made = net.estimate(t * x1 + (1 - t) * x0, t.flatten(), io["out.cond_of_codes"][:, : net.told]).v
    close((made - (x1 - x0)).square().mean() / net.std**2, io["out.fm_loss"])


def line(name):
    folder = OURS / name
    config = json.loads((folder / "config.json").read_text())
    args = config.get("args") or config["constructor"]
    state = load_file(folder / "weights.safetensors")
    return official.line_from_official(state, args), load_file(folder / "io.safetensors"), config


@torch.no_grad()
def test_the_network_over_codes_its_turns_layers_and_cache():
    net, io, _ = line("d-ar-gpt")
    close(net.turn, io["mid.freqs_cis"])
    heard = []
    hooks = [b.register_forward_hook(lambda m, i, out: heard.append(out)) for b in net.blocks]
    logits = net(*net.condition(io["in.cond_idx"]), io["in.idx"][:, :-1])
    for hook in hooks:
        hook.remove()
    close(logits, io["out.logits"])
    for i, x in enumerate(heard):
        close(x[:1], io[f"mid.layer{i}"])
    close(F.cross_entropy(logits.flatten(0, 1), io["in.idx"].flatten()), io["out.loss"])
    session = net.session(len(io["in.idx"]))
    steps = [session(io["in.cond_idx"], io["in.idx"][:, :n], False)[0, :, 0] for n in range(net.cells)]
    close(torch.stack(steps, dim=1), io["out.cached_logits"])


def drawn(net, labels, scale, pick, **filters):
    """Codes of the project's loop, one call at a time because the official scale of guidance changes with the code."""
    session, ids = net.session(2 * len(labels)), torch.zeros(len(labels), 0, dtype=torch.long)
    for n, s in enumerate(scale.tolist()):
        ids = in_raster(session, labels, pick, Rule(guidance=s, **filters), n + 1, ids)
    return ids


def likeliest(cell, p):
    return torch.from_numpy(p.argmax(-1))


def scales(text, cells):
    low, high = (float(s) for s in text.split(","))
    return torch.linspace(low, high, cells)


@pytest.mark.parametrize("guided", [False, True])
def test_the_codes_that_the_official_loop_takes(guided):
    net, io, config = line("d-ar-gpt")
    scale = scales(config["settings"]["cfg_scale"], net.cells) if guided else torch.ones(net.cells)
    ids = drawn(net, io["in.cond_idx"], scale, likeliest, top_k=1)
    assert torch.equal(ids, io["out.greedy_cfg" if guided else "out.greedy_nocfg"])


@torch.no_grad()
def test_the_other_recording_with_and_without_a_class_and_its_draws():
    net, io, config = line("d-ar")
    labels = io["in.label"]
    close(net.turn, io["rope.freqs_cis"])
    close(net(*net.condition(labels), io["in.idx"]), io["full.logits"])
    none = torch.zeros(len(labels), dtype=torch.bool)
    close(net(*net.condition(labels, none), io["in.idx"]), io["full.logits_null"])

    def pick(cells, p):
        return torch.from_numpy((p[:, 0] / io["gen.sample.q"][int(cells[0, 0])].numpy()).argmax(-1))[:, None]

    scale = scales(config["cfg_scale"], net.cells)
    filters = {"temperature": config["temperature"], "top_p": config["top_p"]}
    assert torch.equal(drawn(net, labels, scale, pick, top_k=1, **filters), io["gen.greedy.ids"].long())
    assert torch.equal(drawn(net, labels, scale, pick, top_k=config["top_k"], **filters), io["gen.sample.ids"].long())
