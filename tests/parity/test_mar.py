"""MAR against recordings of the official modules: the same weights and the same noise, the same numbers.

The recordings stand in the folder that UNFOLD_PARITY names (their README tells how they were made); a case is in the
tree. Tolerance: |a - b| <= 1e-4 · max(1, max|b|), integers exact. Every size comes from the recording's config.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engines.masked_continuous import model, official
from engines.masked_continuous.diffloss import Schedule, guided, losses, noised, sample, step
from engines.masked_continuous.sets import guidance_at, lengths, sets_of

FOLDER = Path(os.environ.get("UNFOLD_PARITY") or Path(__file__).parent / "recordings") / "mar"


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return json.loads((FOLDER / "config.json").read_text())


@pytest.fixture(scope="module")
def io() -> dict[str, torch.Tensor]:
    return load_file(FOLDER / "io.safetensors")


@pytest.fixture(scope="module")
def net(config) -> model.Mar:
    return official.load(config["args"], load_file(FOLDER / "weights.safetensors"))


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def near(ours: Any, theirs: torch.Tensor) -> None:
    ours = torch.as_tensor(ours)
    assert ours.shape == theirs.shape
    if not theirs.is_floating_point():
        assert torch.equal(ours.to(theirs.dtype), theirs)
        return
    gap = (ours.double() - theirs.double()).abs().max().item()
    assert gap <= 1e-4 * max(1.0, theirs.abs().max().item()), gap


def seen(mask: torch.Tensor) -> torch.Tensor:
    """The visible places of each row, ascending."""
    return torch.stack([(row == 0).nonzero()[:, 0] for row in mask])


def look(net, tokens, mask, labels, keep=None):
    visible = seen(mask)
    prefix, place = net.told(labels, keep)
    held = tokens.gather(1, visible[..., None].expand(-1, -1, tokens.shape[-1]))
    return held, visible, prefix, place


def rows_of(config, io) -> tuple[Any, ...]:
    """(schedule, z per token, x_0 per token, t, eps, x_t): the training case; all 1,000 steps."""
    x_0 = io["patchify"].flatten(0, 1)
    return Schedule(), io["z"].flatten(0, 1), x_0, io["in.train_t"], io["in.train_noise"], io["train.x_t"]


def test_every_official_tensor_has_a_place_of_its_own(config):
    theirs = load_file(FOLDER / "weights.safetensors")
    names = [official.translate(key, config["args"]["encoder_depth"]) for key in theirs]
    assert len(set(names)) == len(names)
    assert set(names) == set(official.load(config["args"], theirs).state_dict())


def test_patches_are_cut_and_joined_as_officially(config, io):
    size = config["args"]["patch_size"]
    near(official.patchify(io["in.latents"], size), io["patchify"])
    near(official.unpatchify(io["patchify"], size), io["in.latents"])


def test_encoder_decoder_and_each_block(config, io, net):
    held, visible, prefix, place = look(net, io["patchify"], io["in.mask"], io["in.labels"])
    outs: list[torch.Tensor] = []
    hooks = [block.register_forward_hook(lambda m, i, out: outs.append(out)) for block in net.blocks]
    z = net(held, visible, prefix, place)
    for hook in hooks:
        hook.remove()
    near(net.encode(net.enter(held), visible, prefix, place), io["encoder.out"])
    near(z, io["z"])
    depth = config["args"]["encoder_depth"]
    for i, out in enumerate(outs):
        near(out, io[f"encoder.block.{i}" if i < depth else f"decoder.block.{i - depth}"])
    none = torch.zeros(len(held), dtype=torch.bool)
    near(net(held, visible, *net.told(io["in.labels"], none)), io["z_uncond"])


def test_the_session_that_decodes_is_that_network(io, net):
    held, visible, _, _ = look(net, io["patchify"], io["in.mask"], io["in.labels"])
    session = net.session()
    near(session(held, visible, io["in.labels"], pair=True), torch.cat([io["z"], io["z_uncond"]]))
    near(session(held, visible, io["in.labels"], pair=False), io["z"])
    some = torch.stack([(row == 1).nonzero()[1:6, 0] for row in io["in.mask"]])
    few = session(held, visible, io["in.labels"], True, some)
    near(few, torch.cat([model.rows_at(io["z"], some), model.rows_at(io["z_uncond"], some)]))


def test_noising_denoiser_and_losses(config, io, net):
    schedule, z, x_0, t, eps, x_t = rows_of(config, io)
    near(noised(schedule, x_0, t, eps), x_t)
    near(net.head.clock(t), io["train.t_emb"])
    out = net.head(x_t, t, z)
    near(out, io["train.model_out"])
    mse, vb = losses(schedule, out, x_0, t, eps)
    near(mse, io["train.mse"])
    near(vb, io["train.vb"])
    near(mse + vb, io["train.loss"])
    mask = io["in.mask"].flatten()
    near((((mse + vb) * mask).sum() / mask.sum())[None], io["train.masked_loss"])


@pytest.mark.parametrize("name", ["gen", "loop"])
def test_schedules_that_skip_steps(config, io, name):
    spec = config["args"]["num_sampling_steps"] if name == "gen" else config["loop_respacing"]
    schedule = Schedule(spec)
    near(torch.tensor(schedule.times), io[f"{name}.timestep_map"])
    assert abs(schedule.betas - io[f"{name}.betas"].numpy()).max() < 1e-12
    if name == "gen":
        theirs = io["gen.posterior_log_variance_clipped"].numpy()
        assert abs(schedule.log_small - theirs).max() < 1e-9
        picked = Schedule().abar[::37]
        assert abs(picked - io["train.alphas_cumprod"].numpy()).max() < 1e-12


def test_single_sampling_steps(config, io, net):
    schedule, z, *_ = rows_of(config, io)
    schedule = Schedule(config["args"]["num_sampling_steps"])
    indices = sorted(int(key.split(".")[1]) for key in io if key.startswith("p_sample.") and key.endswith(".sample"))
    assert indices[0] == 0 and indices[-1] == len(schedule) - 1
    x = io["in.net_x"]
    for i in indices:
        t = torch.full((len(x),), schedule.times[i])
        after, believed = step(schedule, net.head(x, t, z), x, i, io["in.p_noise"], config["temperature"])
        near(after, io[f"p_sample.{i}.sample"])
        near(believed, io[f"p_sample.{i}.pred_xstart"])


def test_guided_noise(config, io, net):
    times = Schedule(config["args"]["num_sampling_steps"]).times
    x = torch.cat([io["in.net_x"]] * 2)
    z = torch.cat([io["z"].flatten(0, 1), io["z_uncond"].flatten(0, 1)])
    out = net.head(x, torch.full((len(x),), times[2]), z)
    near(guided(out, config["cfg"]), io["cfg.model_out"])


def test_how_many_stay_hidden(config, io):
    L = io["in.mask"].shape[1]
    near(torch.tensor([max(1, m) for m in lengths(L, config["num_iter"])]), io["schedule.mask_len"])


def test_whole_pictures_from_the_recorded_noise(config, io, net):
    """Order, schedule of sets, guidance, temperature and every inner step at once, by the sessions that decode."""
    labels, clock, w = io["in.labels"], Schedule(config["loop_respacing"]), config["cfg"]
    rows, L = io["in.mask"].shape
    session = net.session()
    chosen = [sets_of(order.tolist(), config["num_iter"]) for order in io["in.orders"]]
    left = lengths(L, config["num_iter"])
    tokens = torch.zeros(rows, L, io["patchify"].shape[-1])
    known = torch.zeros(rows, L, dtype=torch.bool)
    pair = w != 1
    for k in range(config["num_iter"]):
        visible = seen(~known)
        held = tokens.gather(1, visible[..., None].expand(-1, -1, tokens.shape[-1]))
        now = torch.zeros_like(known)
        for row, sets in enumerate(chosen):
            now[row, sets[k]] = True
        z = session(held, visible, labels, pair)[torch.cat([now] * (1 + pair))]
        near(z, io[f"sample.{k}.z"])
        start, noise = io[f"sample.{k}.init_noise"], io[f"sample.{k}.step_noise"]
        w_now = guidance_at(w, config["cfg_schedule"], left[k], L)
        drawn = session.head(z, start, noise[:, : len(start)], clock, w_now, config["temperature"])
        near(drawn, io[f"sample.{k}.tokens"][: len(start)])
        if pair:  # the halves without a caption are carried along officially and thrown away: the same steps
            def denoise(x, i, z=z, w_now=w_now):
                half = torch.cat([x[: len(x) // 2]] * 2)
                return guided(net.head(half, torch.full((len(x),), clock.times[i]), z), w_now)

            whole = sample(clock, denoise, torch.cat([start, start]), noise, config["temperature"])
            near(whole, io[f"sample.{k}.tokens"])
        tokens[now], known = drawn, known | now
    assert bool(known.all())
    near(official.unpatchify(tokens, config["args"]["patch_size"]), io["sample.latents"])
