"""Identities of the three tokenizers, on untrained ones: what must hold whatever they learn."""

from pathlib import Path
from typing import Any

import pytest
import torch

from engines import weights
from engines.tokenizers.cnn import psnr
from engines.tokenizers.model import RESTART_EVERY, WARMUP, Codebook, Continuous, MultiScale, SingleScale
from engines.worlds import scenes

SMALL = {"widths": [8, 8, 8], "blocks": 1, "groups": 4, "stem": 2}
SCALES = [1, 2, 3, 4, 6, 8]


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return scenes.draw(range(3)).image


@pytest.fixture
def pyramid() -> MultiScale:
    torch.manual_seed(1)
    net = MultiScale(**SMALL, channels=6, codes=32, scales=SCALES, phis=4).eval()
    torch.nn.init.normal_(net.codes.weight, std=0.1)
    return net


def test_scales_and_what_is_left_make_up_the_features(pyramid: MultiScale, image: torch.Tensor) -> None:
    f = pyramid.features(image)
    ids, hats, _ = pyramid.quantise(f)
    rest = f.clone()
    for k, r in enumerate(ids):
        assert r.shape == (3, SCALES[k] ** 2)
        rest = rest - pyramid.spread(k, r)
        assert torch.allclose(hats[k] + rest, f, atol=1e-5)


def test_codes_lead_back_to_the_same_features(pyramid: MultiScale, image: torch.Tensor) -> None:
    ids, hats, _ = pyramid.quantise(pyramid.features(image))
    f_hat = pyramid.zero(3)
    for k, r in enumerate(ids):
        f_hat = pyramid.add(f_hat, k, r)
        assert torch.allclose(f_hat, hats[k], atol=1e-6)
    assert torch.equal(pyramid.canvas(f_hat, len(SCALES) - 1), f_hat.flatten(2).transpose(1, 2))
    assert torch.allclose(pyramid.canvas(f_hat, 0)[:, 0], f_hat.mean(dim=(2, 3)), atol=1e-5)


def test_the_nearest_code_is_nearest(pyramid: MultiScale) -> None:
    z = torch.randn(50, 6)
    distance = torch.cdist(z, pyramid.codebook)
    assert torch.equal(pyramid.nearest(z), distance.argmin(dim=1))


def test_phi_is_the_identity_at_rho_zero_and_shared_by_the_nearest_tick(pyramid: MultiScale) -> None:
    assert pyramid.which == [0, 0, 1, 2, 3, 3]
    ten = MultiScale(**SMALL, channels=6, codes=32, scales=[1, 2, 3, 4, 5, 6, 8, 10, 13, 16], phis=4)
    assert ten.which == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    pyramid.rho = 0.0
    ids = torch.randint(32, (1, 64))
    assert torch.allclose(pyramid.spread(5, ids).flatten(2).transpose(1, 2)[0], pyramid.codebook[ids[0]], atol=1e-6)


def test_gradients_pass_straight_through_and_reach_the_codes(pyramid: MultiScale, image: torch.Tensor) -> None:
    pyramid.train()
    pyramid.codes.seen.fill_(WARMUP)
    made, vq = pyramid.loss(image, torch.Generator())
    (made.square().mean() + vq).backward()
    for name in ("encoder.into.weight", "codes.weight", "phi.0.weight", "decoder.out.weight"):
        assert dict(pyramid.named_parameters())[name].grad.abs().sum() > 0, name


def test_a_partial_picture_hides_what_is_not_known(image: torch.Tensor) -> None:
    torch.manual_seed(2)
    net = SingleScale(**SMALL, inner=8, channels=4, codes=32, size=8).eval()
    ids = net.encode(image)
    known = torch.zeros(3, 64, dtype=torch.bool)
    known[:, :5] = True
    other = ids.clone()
    other[:, 5:] = (ids[:, 5:] + 1) % 32
    assert torch.equal(net.decode_partial(ids, known), net.decode_partial(other, known))
    assert torch.allclose(net.decode_partial(ids, torch.ones_like(known)), net.decode(ids))
    assert torch.allclose(net.directions().norm(dim=1), torch.ones(32), atol=1e-6)


def test_latents_are_normalised_and_come_back(image: torch.Tensor) -> None:
    torch.manual_seed(3)
    net = Continuous(**SMALL, channels=4, size=8).train()
    for _ in range(3):
        net.loss(image, torch.Generator().manual_seed(0))
    net.eval()
    net.mean.fill_(0.3)
    net.deviation.fill_(2.0)
    mean = net.posterior(image)[0]
    latents = net.encode(image)
    assert torch.allclose(latents * 2 + 0.3, mean.flatten(2).transpose(1, 2), atol=1e-6)
    assert torch.allclose(net.decode(latents), net.step(mean), atol=1e-5)


def test_codes_begin_at_features_and_only_unused_ones_move_later() -> None:
    codes = Codebook(4, 2).train()
    assert codes.warm
    features = torch.full((10, 2), 5.0)
    codes.seen.fill_(WARMUP - 1)
    codes.note(torch.zeros(10, dtype=torch.long), features)
    codes.learn()
    assert not codes.warm and (codes.weight - 5).abs().max() < 0.1
    elsewhere = torch.full((10, 2), -3.0)
    for _ in range(RESTART_EVERY):
        codes.note(torch.tensor([0, 1] * 5), elsewhere)
        codes.learn()
    assert (codes.weight[:2] - 5).abs().max() < 0.1, "used ones stay"
    assert (codes.weight[2:] + 3).abs().max() < 0.1, "unused ones move to where codes are missing"


@pytest.mark.parametrize("kind", ["scales", "vq"])
def test_codes_move_between_steps_and_not_under_their_gradients(kind: str, image: torch.Tensor) -> None:
    torch.manual_seed(6)
    extra: dict[str, Any] = {"channels": 4, "codes": 16}
    net = (MultiScale(**SMALL, **extra, scales=SCALES, phis=4) if kind == "scales"
           else SingleScale(**SMALL, **extra, inner=8, size=8)).train()
    net.codes.seen.fill_(WARMUP - 2)
    for _ in range(RESTART_EVERY + 4):
        made, vq = net.loss(image[:1], torch.Generator())
        (made.square().mean() + vq).backward()
    assert float(net.codes.seen) > WARMUP


def test_a_warming_tokenizer_does_not_round(pyramid: MultiScale, image: torch.Tensor) -> None:
    pyramid.train()
    made, vq = pyramid.loss(image, torch.Generator())
    assert vq == 0 and torch.allclose(made, pyramid.decoder(pyramid.after(pyramid.features(image))), atol=1e-5)
    assert not pyramid.eval().codes.warm


@pytest.mark.parametrize("kind", [MultiScale, SingleScale, Continuous])
def test_a_stored_tokenizer_writes_the_same(kind: type[torch.nn.Module], tmp_path: Path, image: torch.Tensor) -> None:
    torch.manual_seed(4)
    extra: dict[str, Any] = {
        MultiScale: {"channels": 6, "codes": 32, "scales": SCALES, "phis": 4},
        SingleScale: {"inner": 8, "channels": 4, "codes": 32, "size": 8},
        Continuous: {"channels": 4, "size": 8},
    }[kind]
    net = kind(**SMALL, **extra).to(memory_format=torch.channels_last).eval()
    weights.save(net, tmp_path / "net.safetensors", {})
    again = weights.read(tmp_path / "net.safetensors", kind)
    assert again.config == net.config
    ours, theirs = net.encode(image), again.encode(image)
    if kind is Continuous:
        assert torch.allclose(ours, theirs, atol=0.05)
    else:
        same = ours[0] == theirs[0] if kind is MultiScale else ours == theirs
        assert float(same.float().mean()) > 0.6


def test_psnr() -> None:
    a = torch.zeros(1, 3, 4, 4)
    assert psnr(a, a + 0.2) == pytest.approx(20.0, abs=1e-3)
