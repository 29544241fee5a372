"""Stored networks: small, checked before they are believed, and nothing in them can run.

A file is `assets/weights/<family>/<net>.safetensors`. Matrices of 4,096 elements or more are int8 with one fp32 scale
a row (stored beside them as `<name>.scale`), the rest is fp16; loading turns all of it back into fp32. The metadata
holds the class and its configuration, a sha256 over the tensors, and the training record.

The header of a safetensors file can claim anything, so names, shapes, types and byte ranges are compared with the
file's true length and with the network that is expected before a single tensor is allocated.
"""

import hashlib
import json
import os
import re
import struct
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor, nn

from engines.errors import BadWeights
from engines.nn import count_parameters

FOLDER = Path(__file__).parent.parent / "assets" / "weights"
NAME = re.compile(r"([a-z][a-z0-9_]*)/([a-z][a-z0-9_-]*)")
INT8_FROM = 4_096
HEADER_LIMIT = 1 << 20
FILE_LIMIT = 16 * 10**6
# A lying configuration must not make us build a huge network. No network of the project is near this.
PARAMETER_LIMIT = 8 * 10**6
BYTES = {"I8": 1, "F16": 2, "F32": 4}
MEGABYTE = 10**6
# What the families of one share may take together, in bytes.
SHARES: dict[str, tuple[int, tuple[str, ...]]] = {"text": (16 * MEGABYTE, ("next_token", "any_order"))}


def path_of(name: str) -> Path:
    """The file of a net called "family/net"."""
    if not NAME.fullmatch(name):
        raise BadWeights(f"'{name}' is not a network's name; write family/net, as in next_token/target")
    return FOLDER / f"{name}.safetensors"


def quantise(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(R, C) float -> int8 (R, C) and fp32 scale (R,): matrix ≈ int8 · scale, wrong by scale / 2 at most."""
    scale = matrix.abs().amax(dim=1).clamp_min(1e-12) / 127
    return (matrix / scale[:, None]).round().clamp(-127, 127).to(torch.int8), scale.float()


def _is_int8(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and shape[0] * shape[1] >= INT8_FROM


def stored(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file for this module."""
    tensors: dict[str, Tensor] = {}
    for name, value in module.state_dict().items():
        value = value.detach().cpu().float()
        if _is_int8(tuple(value.shape)):
            tensors[name], tensors[f"{name}.scale"] = quantise(value)
        else:
            tensors[name] = value.half().contiguous()
    return tensors


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def save(module: nn.Module, path: Path | str, training: Mapping[str, Any]) -> str:
    """Write module to path in one step (a reader sees the old file or the new one) and return its sha256.

    module has a `config` dict of its constructor's arguments; training is the record of how it came to be.
    """
    path = Path(path)
    tensors = stored(module)
    sha = _digest(tensors)
    metadata = {
        "class": f"{type(module).__module__}.{type(module).__name__}",
        "config": json.dumps(module.config, sort_keys=True),
        "sha256": sha,
        "training": json.dumps(dict(training), sort_keys=True),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(pack_tensors(tensors, metadata))
    os.replace(temporary, path)
    return sha


def _header(path: Path, data: bytes, fix: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensor table and the metadata of a file, after checking that both fit the bytes that are there."""
    if len(data) < 8:
        raise BadWeights(f"{path} is cut short ({len(data)} bytes); {fix}")
    (size,) = struct.unpack("<Q", data[:8])
    if size > HEADER_LIMIT or 8 + size > len(data):
        raise BadWeights(f"{path} claims a header of {size} bytes in a file of {len(data)}; {fix}")
    try:
        table = json.loads(data[8 : 8 + size])
        metadata = table.pop("__metadata__", {})
        stop = 0
        for entry in sorted(table.values(), key=lambda entry: entry["data_offsets"][0]):
            count = BYTES.get(entry["dtype"], 0)
            for extent in entry["shape"]:
                count *= extent
            begin, end = entry["data_offsets"]
            if begin != stop or end - begin != count or any(extent < 1 for extent in entry["shape"]):
                raise BadWeights(f"{path} has a tensor whose type, shape and bytes disagree; {fix}")
            stop = end
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise BadWeights(f"{path} has an unreadable header; {fix}") from error
    if 8 + size + stop != len(data):
        raise BadWeights(f"{path} should hold {8 + size + stop} bytes and holds {len(data)}; {fix}")
    return table, metadata


def _expected(module: nn.Module) -> dict[str, tuple[str, list[int]]]:
    expected: dict[str, tuple[str, list[int]]] = {}
    for name, value in module.state_dict().items():
        shape = list(value.shape)
        if _is_int8(tuple(shape)):
            expected[name], expected[f"{name}.scale"] = ("I8", shape), ("F32", shape[:1])
        else:
            expected[name] = ("F16", shape)
    return expected


def read(path: Path | str, network: type[nn.Module]) -> nn.Module:
    """The network stored at path, in fp32 and eval mode. Raises BadWeights, naming the file and what to do."""
    path = Path(path)
    fix = "fetch the file again, or train it anew with `python -m engines train`"
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= FILE_LIMIT else b""
    except OSError as error:
        raise BadWeights(f"{path} is missing or unreadable; {fix}") from error
    if size > FILE_LIMIT:
        raise BadWeights(f"{path} has {size} bytes, more than any network of this project; {fix}")
    table, metadata = _header(path, data, fix)
    kind = f"{network.__module__}.{network.__name__}"
    if metadata.get("class") != kind:
        raise BadWeights(f"{path} holds a {metadata.get('class')!r}, not a {kind}; {fix}")
    try:
        config = json.loads(metadata["config"])
        if not all(isinstance(value, int) and 0 < value <= 65_536 for value in config.values()):
            raise ValueError("a size is out of range")
        # The cheapest honest count: without this the `meta` build below could still loop over 65,536 blocks.
        if config["layers"] * config["width"] ** 2 > PARAMETER_LIMIT:
            raise ValueError("too large")
        with torch.device("meta"):
            shapes = network(**config)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, ZeroDivisionError) as error:
        raise BadWeights(f"{path} describes a network that cannot be built ({error}); {fix}") from error
    found = {name: (entry["dtype"], list(entry["shape"])) for name, entry in table.items()}
    expected = _expected(shapes)
    if found != expected:
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))[0]
        raise BadWeights(
            f"{path}: tensor '{wrong}' is {found.get(wrong)}, the network wants {expected.get(wrong)}; {fix}"
        )
    tensors = parse_tensors(data)
    if _digest(tensors) != metadata.get("sha256"):
        raise BadWeights(f"{path} has been altered: its tensors do not match their sha256; {fix}")
    state = {}
    for name in shapes.state_dict():
        value = tensors[name].float()
        state[name] = value * tensors[f"{name}.scale"][:, None] if f"{name}.scale" in tensors else value
    module = network(**config)
    module.load_state_dict(state)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module.eval()


@cache
def load(name: str) -> nn.Module:
    """The network "family/net", loaded once per process."""
    path = path_of(name)
    return read(path, import_module(f"engines.{name.split('/')[0]}.model").Network)


def bind(module: nn.Module) -> Any:
    """A fresh decode session of a loaded network: it shares the parameters and owns its cache."""
    return cast(Any, module).session()


def record(name: str) -> dict[str, Any]:
    """What a stored file says of itself: class, config, sha256, training."""
    path = path_of(name)
    if not path.exists():
        raise BadWeights(f"{path} is missing; train it with `python -m engines train {name}`")
    metadata = _header(path, path.read_bytes(), "fetch the file again")[1]
    return {
        "class": metadata["class"],
        "config": json.loads(metadata["config"]),
        "sha256": metadata["sha256"],
        "training": json.loads(metadata["training"]),
    }


def ledger() -> list[dict[str, Any]]:
    """One line per stored network, then one per share: {"name", "bytes", "params"?, "limit"?, "fits"?}."""
    lines: list[dict[str, Any]] = []
    used = dict.fromkeys(SHARES, 0)
    share_of = {family: share for share, (_, families) in SHARES.items() for family in families}
    for path in sorted(FOLDER.glob("*/*.safetensors")):
        family = path.parent.name
        network = read(path, import_module(f"engines.{family}.model").Network)
        size = path.stat().st_size
        lines.append({"name": f"{family}/{path.stem}", "bytes": size, "params": count_parameters(network)})
        if family not in share_of:
            raise BadWeights(f"{path} belongs to no share; add its family to SHARES in engines/weights.py")
        used[share_of[family]] += size
    for share, (limit, _) in SHARES.items():
        lines.append(
            {"name": f"share {share}", "bytes": used[share], "limit": limit, "fits": used[share] <= limit}
        )
    return lines


def session(name: str) -> Any:
    """A fresh decode session (its own cache) on the stored network of this name; the first one is warmed."""
    _warm(name)
    return bind(load(name))


@cache
def _warm(name: str) -> None:
    """Pay once for what a process pays at its first evaluation, outside any lane's clock."""
    bind(load(name)).warm()


def sha256(name: str) -> str:
    """The digest of the stored tensors, as traces and claims record it."""
    return str(record(name)["sha256"])
