"""A stored network is small, comes back as it was measured, and is refused in plain words when it is not sound."""

import json
import struct
from pathlib import Path

import pytest
import torch

from engines import weights
from engines.any_order.model import Network as AnyOrder
from engines.errors import BadWeights
from engines.next_token.model import Network

SHAPE = {"vocab": 40, "layers": 2, "width": 64, "heads": 2, "hidden": 96, "length": 16}


@pytest.fixture
def network():
    torch.manual_seed(3)
    return Network(**SHAPE)


@pytest.fixture
def path(tmp_path, network):
    weights.save(network, tmp_path / "tiny.safetensors", {"seed": 3, "steps": 0})
    return tmp_path / "tiny.safetensors"


def rewrite(path: Path, change) -> None:
    """Let change(header) edit a file's header in place and write the file anew."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    change(header)
    packed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(packed)) + packed + data[8 + size :])


def refused(path: Path, network=Network) -> str:
    with pytest.raises(BadWeights) as caught:
        weights.read(path, network)
    message = str(caught.value)
    assert str(path) in message and "train" in message, "the message names the file and the fix"
    return message


def test_a_stored_network_comes_back_within_the_rounding_of_its_format(network, path):
    back = weights.read(path, Network)
    assert not back.training
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in back.parameters())
    for name, value in network.state_dict().items():
        if value.dim() == 2 and value.numel() >= 4_096:
            bound = value.abs().amax(dim=1, keepdim=True) / 127 / 2 + 1e-6
        else:
            bound = value.abs() * 2**-10 + 1e-6
        assert ((back.state_dict()[name] - value).abs() <= bound).all(), name


def test_storing_what_was_loaded_changes_no_number(path, tmp_path):
    back = weights.read(path, Network)
    weights.save(back, tmp_path / "again.safetensors", {})
    again = weights.read(tmp_path / "again.safetensors", Network)
    for name, value in back.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-6, atol=1e-7)


def test_large_matrices_are_int8_with_a_scale_a_row_and_the_rest_is_fp16(network):
    tensors = weights.stored(network)
    assert tensors["blocks.0.up"].dtype == torch.int8
    assert tensors["blocks.0.up.scale"].shape == (192,) and tensors["blocks.0.up.scale"].dtype == torch.float32
    assert tensors["embed"].dtype == torch.float16, "40 x 64 is below 4,096 elements"
    assert tensors["norm"].dtype == torch.float16


def test_a_row_of_zeros_survives_storage():
    whole, scale = weights.quantise(torch.zeros(2, 4_096))
    assert torch.equal(whole * scale[:, None], torch.zeros(2, 4_096))


def test_a_missing_file_is_refused(tmp_path):
    assert "missing" in refused(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    refused(path)


def test_a_header_that_claims_to_be_huge_is_refused(path):
    path.write_bytes(struct.pack("<Q", 2**62) + path.read_bytes()[8:])
    assert "claims" in refused(path)


def test_a_tensor_that_claims_more_than_its_bytes_is_refused(path):
    rewrite(path, lambda header: header["blocks.0.up"].update(shape=[10**12, 64]))
    assert "disagree" in refused(path)


def test_tensors_that_overlap_are_refused(path):
    def overlap(header):
        header["blocks.1.up"]["data_offsets"] = header["blocks.0.up"]["data_offsets"]

    rewrite(path, overlap)
    assert "disagree" in refused(path)


def test_a_wrong_shape_is_refused(path):
    rewrite(path, lambda header: header["blocks.0.up"].update(shape=[96, 128]))
    assert "blocks.0.up" in refused(path)


def test_a_wrong_type_is_refused(path):
    def halve(header):
        header["norm"].update(dtype="I8", shape=[128])

    rewrite(path, halve)
    assert "norm" in refused(path)


def test_a_missing_tensor_is_refused(path):
    def rename(header):
        header["other"] = header.pop("norm")

    rewrite(path, rename)
    refused(path)


def test_another_network_is_refused(path):
    assert "engines.any_order.model.Network" in refused(path, AnyOrder)


@pytest.mark.parametrize(
    "config", ['{"vocab": 10}', "[1]", "{", json.dumps({**SHAPE, "layers": 60_000}), json.dumps({**SHAPE, "heads": 0})]
)
def test_a_configuration_that_cannot_be_built_is_refused(path, config):
    rewrite(path, lambda header: header["__metadata__"].update(config=config))
    assert "cannot be built" in refused(path)


def test_one_altered_byte_is_noticed(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    assert "sha256" in refused(path)


def test_a_file_of_noise_is_refused(path):
    path.write_bytes(struct.pack("<Q", 64) + bytes(range(200)))
    assert "header" in refused(path)


@pytest.mark.parametrize("name", ["target", "../target", "next_token/../x", "/etc/passwd", "Next/token", ""])
def test_a_name_that_is_no_network_never_becomes_a_path(name):
    with pytest.raises(BadWeights, match="family/net"):
        weights.path_of(name)


def test_load_finds_a_network_by_its_name(tmp_path, monkeypatch, network):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    weights.load.cache_clear()
    sha = weights.save(network, weights.path_of("next_token/tiny"), {"seed": 3})
    loaded = weights.load("next_token/tiny")
    assert weights.load("next_token/tiny") is loaded
    assert weights.record("next_token/tiny")["sha256"] == sha
    assert weights.record("next_token/tiny")["training"] == {"seed": 3}
    first, second = weights.bind(loaded), weights.bind(loaded)
    assert first.cache is not second.cache and first.network is second.network
    weights.load.cache_clear()


def test_the_ledger_counts_and_catches_a_family_over_its_share(tmp_path, monkeypatch, network):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    weights.save(network, weights.path_of("next_token/tiny"), {})
    size = weights.path_of("next_token/tiny").stat().st_size
    lines = {line["name"]: line for line in weights.ledger()}
    assert lines["next_token/tiny"] == {
        "name": "next_token/tiny",
        "bytes": size,
        "params": sum(value.numel() for value in network.parameters()),
    }
    assert lines["share words and pictures"]["bytes"] == size and lines["share words and pictures"]["fits"]
    monkeypatch.setattr(weights, "SHARES", {"text": (size - 1, ("next_token",))})
    assert not weights.ledger()[-1]["fits"]


def test_what_the_project_ships_fits_its_shares():
    for line in weights.ledger():
        assert line.get("fits", True), f"{line['name']} takes {line['bytes']} of {line['limit']} bytes"


def test_a_save_that_dies_leaves_the_old_file(path, network, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(weights.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError):
        weights.save(network, path, {})
    assert path.read_bytes() == before
