"""The check of drafts against a recording of the official `DistributionProcessor` (CSpD): same inputs, same numbers.

There, Σ is turned round ("code") and x1 is the draft. The recording has two ways of calling it: `runner` hands the
variance in as the standard deviation, `std` the true one at temperature 1. The official sampler lets a row be
overwritten by later proposals while other rows wait; that is done here too, by a plain loop over our leftover.
Tolerance: |a - b| <= 1e-4 · max(1, max|b|), booleans exact.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engines.masked_continuous.diffloss import Walk
from engines.masked_continuous.verdict import Check, last, leftover, log_p, log_ratio, log_sigma

FOLDER = Path(os.environ.get("UNFOLD_PARITY") or Path(__file__).parent / "recordings") / "cspd"


@pytest.fixture(scope="module")
def io() -> dict[str, Tensor]:
    return load_file(FOLDER / "io.safetensors")


@pytest.fixture(scope="module")
def T() -> float:
    return json.loads((FOLDER / "config.json").read_text())["constructor"]["temperature"]


def near(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    gap = (ours.double() - theirs.double()).abs().max().item()
    assert gap <= 1e-4 * max(1.0, theirs.abs().max().item()), gap


def side(io: dict[str, Tensor], name: str, tag: str) -> Walk:
    """Mean, log of what is taken for the sd, and what is taken for the sum of log sd over the steps before."""
    log_variance = io[f"in.{name}_log_var"]
    return Walk(log_variance[None], io[f"in.{name}_mean"], log_variance * (1.0 if tag == "runner" else 0.5),
                log_variance)


@pytest.mark.parametrize("tag", ["runner", "std"])
def test_ratio_verdict_and_leftover(io, T, tag):
    p, q, x = side(io, "p", tag), side(io, "q", tag), io["in.x"]
    check = Check("code", T if tag == "runner" else 1.0)
    near(log_sigma(p, q, check).exp(), io[f"out.{tag}_fixed_term"])
    ratio = log_ratio(p, q, x, check).exp()
    near(ratio, io[f"out.{tag}_accept_ratio"])
    assert torch.equal(ratio > io["in.accept_uniforms"], io[f"out.{tag}_accept"])
    flat = (2 * torch.pi) ** (x.shape[1] / 2)
    near(log_p(p, x).exp() / flat, io[f"out.{tag}_p_pdf"])
    near(log_p(q, x).exp() / flat, io[f"out.{tag}_q_pdf"])
    near(leftover(p, q, x, check), io[f"out.{tag}_residual_ratio"])


@pytest.mark.parametrize("tag", ["runner", "std"])
def test_what_is_drawn_in_place_of_refused_drafts(io, T, tag):
    p, q, x = side(io, "p", tag), side(io, "q", tag), io["in.x"]
    check = Check("code", T if tag == "runner" else 1.0)
    stays = log_ratio(p, q, x, check).exp() > io["in.accept_uniforms"]
    drawn, found, rounds = torch.zeros_like(x), torch.zeros(len(x), dtype=torch.bool), 0
    if not stays.all():
        for z, u in zip(io["in.proposal_noise"], io["in.proposal_uniforms"], strict=True):
            proposal = last(p, z)
            fits = u < leftover(p, q, proposal, check)
            drawn[fits] = proposal[fits]
            found, rounds = found | fits, rounds + 1
            if found.all():
                break
    assert rounds == int(io[f"out.{tag}_proposal_rounds_used"])
    near(torch.where(stays[:, None], x, drawn), io[f"out.{tag}_speculative_sample"])


def test_the_derived_sign_of_sigma_is_the_other_one(io):
    p, q = side(io, "p", "std"), side(io, "q", "std")
    assert torch.equal(log_sigma(p, q, Check("paper")), -log_sigma(p, q, Check("code")))
    assert not log_sigma(p, q, Check()).any()
