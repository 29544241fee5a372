"""The GRU prior, the operator and the losses against recordings of the official KoVAE.

The recordings stand in the folder that UNFOLD_PARITY names (their README tells how they were made); a case is in the
tree. Tolerance: |a - b| <= 1e-4 · max(1, max|b|). Every size comes from the recording's config.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engines.time_series import koopman, official

FOLDER = Path(os.environ.get("UNFOLD_PARITY") or Path(__file__).parent / "recordings") / "kvae"


@pytest.fixture(scope="module")
def sizes() -> dict[str, Any]:
    return json.loads((FOLDER / "config.json").read_text())["constructor"]


@pytest.fixture(scope="module")
def io() -> dict[str, torch.Tensor]:
    return load_file(FOLDER / "io.safetensors")


@pytest.fixture
def net():
    return official.from_official(load_file(FOLDER / "weights.safetensors"))


def near(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    gap = (ours.detach().double() - theirs.double()).abs().max().item()
    assert gap <= 1e-4 * max(1.0, theirs.abs().max().item()), gap


def solve(z: torch.Tensor, sizes: dict[str, Any]) -> torch.Tensor:
    """By QR, or by the pseudo-inverse where the recording says so; both are least squares."""
    if not sizes["pinv_solver"]:
        return koopman.operator(z, ridge=0.0)
    k = z.shape[-1]
    return torch.linalg.pinv(z[:, :-1].reshape(-1, k)) @ z[:, 1:].reshape(-1, k)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_every_number_of_a_forward_is_the_official_one(net, io, sizes, mode):
    net.train(mode == "train")
    x = io["in.x"]
    near(net.encoder(x), io[f"mid.{mode}_encoder"])
    if mode == "train":
        net = official.from_official(load_file(FOLDER / "weights.safetensors")).train()
    mean, logvar = net.posterior(x)
    z = mean + io["in.eps_post"] * (logvar / 2).exp()
    prior_mean, prior_logvar, walk = net.walk(io["in.eps_prior"].transpose(0, 1))
    x_hat = net.decode(z)
    A = solve(walk, sizes)
    parts = {"post_mean": mean, "post_logvar": logvar, "post_sample": z, "prior_mean": prior_mean,
             "prior_logvar": prior_logvar, "prior_sample": walk, "x_rec": x_hat, "operator": A,
             "z_pred": walk[:, :-1] @ A}
    for name, ours in parts.items():
        near(ours, io[f"out.{mode}_{name}"])
    rec = sizes["w_rec"] * (x - x_hat).square().sum() / len(x)
    kl = koopman.kl(mean, logvar, prior_mean, prior_logvar).sum() / len(x)
    linear = koopman.prediction_loss(walk, A, sizes["num_steps"])
    total = rec + sizes["w_kl"] * kl + sizes["w_pred_prior"] * linear
    near(rec, io[f"out.{mode}_loss_rec_weighted"])
    near(kl, io[f"out.{mode}_loss_kl"])
    near(linear, io[f"out.{mode}_loss_pred_prior"])
    near(total, io[f"out.{mode}_loss_total"])
    if mode == "train":
        total.backward()
        near(net.mean.weight.grad, io["out.grad.z_mean.weight"])
        near(net.cell.weight_hh.grad, io["out.grad.z_prior_gru.weight_hh"])
        near(net.out.weight.grad, io["out.grad.decoder.linear.weight"])
        near(net.encoder.norm.running_mean, io["out.bn_running_mean_after"])
        near(net.encoder.norm.running_var, io["out.bn_running_var_after"])


def test_a_sample_is_the_decoder_of_a_walk(net, io):
    near(net.decode(net.walk(io["in.eps_prior"].transpose(0, 1))[2]), io["out.sample_data"])


def test_the_spectrum_is_the_recorded_one(io):
    ours = torch.from_numpy(abs(koopman.spectrum(io["out.eval_operator"])[0]))
    near(ours.float(), io["out.operator_eig_abs_sorted"])


def test_an_operator_of_the_posterior_is_not_the_recorded_one(net, io, sizes):
    """The twin: the official code solves A from the prior's walk, not from the posterior's latents."""
    A = solve(io["out.eval_post_sample"], sizes)
    with pytest.raises(AssertionError):
        near(A, io["out.eval_operator"])
