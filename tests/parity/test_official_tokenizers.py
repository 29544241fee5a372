"""The tokenizers of VAR and LlamaGen against recordings of the official modules, under the official keys.

Codes must be equal, everything else to 1e-4 of the largest value. The larger cases stand in the folder that
UNFOLD_PARITY names; the smallest is in the tree.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engines.tokenizers.model import MultiScale, SingleScale
from engines.tokenizers.official import LLAMAGEN, VAR, renamed

TREE = Path(__file__).parent / "recordings"
FOLDER = Path(os.environ.get("UNFOLD_PARITY") or TREE)
CASES = [name for name in ("var", "var-saln", "llamagen-vq") if (FOLDER / name).exists()]


def read(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    folder = FOLDER / name
    config = json.loads((folder / "config.json").read_text())
    return config, load_file(folder / "weights.safetensors"), load_file(folder / "io.safetensors")


def fill(net: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Load all that the official module has; a count of our own training is all that it lacks."""
    found = net.load_state_dict(state, strict=False)
    assert found.missing_keys == ["codes.seen"] and not found.unexpected_keys


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-4 * max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_official_tokenizer(name: str) -> None:
    (check_var if name.startswith("var") else check_llamagen)(*read(name))


def check_var(config: dict[str, Any], official: dict[str, torch.Tensor], io: dict[str, torch.Tensor]) -> None:
    vae = config["vae"]
    scales, shared = vae["v_patch_nums"], vae["share_quant_resi"]
    net = MultiScale(
        [vae["ch"] * m for m in vae["ch_mult"]], vae["num_res_blocks"], vae["z_channels"], vae["num_groups"], 1,
        vae["vocab_size"], scales, shared or len(scales), rho=abs(vae["quant_resi"]), kernel=vae["quant_conv_ks"],
        cosine=vae["using_znorm"],
    ).eval()
    mine = {key[4:]: value for key, value in official.items() if key.startswith("vae.")}
    fill(net, renamed(mine, VAR, len(vae["ch_mult"])))
    f = net.features(io["in.image"])
    close(f, io["enc.f"])
    ids, hats, _ = net.quantise(f)
    f_hat = net.zero(len(f))
    inputs = []
    for k in range(len(scales)):
        assert torch.equal(ids[k], io[f"enc.ids.{k}"])
        close(hats[k], io[f"enc.f_hat.{k}"])
        f_hat = net.add(f_hat, k, ids[k])
        if k + 1 < len(scales):
            inputs.append(net.canvas(f_hat, k + 1))
    close(torch.cat(inputs, dim=1), io["tf.x_BLCv_wo_first_l"])
    close(net.decoder(net.after(f_hat)), io["dec.image_unclamped"])
    close(f_hat, hats[-1])


def check_llamagen(config: dict[str, Any], official: dict[str, torch.Tensor], io: dict[str, torch.Tensor]) -> None:
    args = config["args"]
    levels = args["encoder_ch_mult"]
    side = io["enc.z"].shape[-1]
    net = SingleScale(
        [config["ch"] * m for m in levels], config["num_res_blocks"], args["z_channels"],
        args["codebook_embed_dim"], config["num_groups"], 1, args["codebook_size"], side,
    ).eval()
    fill(net, renamed(official, LLAMAGEN, len(levels)))
    f = net.features(io["in.image"])
    close(f, io["enc.z"])
    ids, looked, _ = net.quantise(f)
    assert torch.equal(ids.flatten(), io["enc.ids"])
    close(looked, io["enc.quant"])
    close(net.look(ids), io["dec.entry"])
    close(net.decoder(net.after(looked)), io["dec.image"])
    # With every code known, a partial picture is the picture.
    whole = torch.ones_like(ids, dtype=torch.bool)
    close(net.decode_partial(ids, whole), net.decode(ids))
