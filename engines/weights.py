"""Stored networks: small, checked before they are believed, and nothing in them can run.

A file is `assets/weights/<family>/<net>.safetensors`. Matrices and convolutions of 4,096 elements or more are int8
with one fp32 scale a row or filter (stored beside them as `<name>.scale`), the rest is fp16; loading turns all of it
back into fp32. The metadata
holds the class and its configuration, a sha256 over the tensors, and the training record.

The header of a safetensors file can claim anything, so names, shapes, types and byte ranges are compared with the
file's true length and with the network that is expected before a single tensor is allocated.
"""

import hashlib
import json
import math
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

from engines import backends
from engines.errors import BadWeights
from engines.nn import count_parameters

FOLDER = Path(__file__).parent.parent / "assets" / "weights"
NAME = re.compile(r"([a-z][a-z0-9_]*)/([a-z][a-z0-9_-]*)")
INT8_FROM = 4_096
HEADER_LIMIT = 1 << 20
FILE_LIMIT = 16 * 10**6
# A lying configuration must not make us build a huge network. No network of the project is near this.
PARAMETER_LIMIT = 8 * 10**6
SIZES = ("vocab", "width", "hidden", "length", "codes", "widths")
LOOPS = 512
BYTES = {"I8": 1, "F16": 2, "F32": 4}
MEGABYTE = 10**6
# Families whose networks are not in engines/<family>/model.py.
ROOMS = {"scenes": "engines.worlds.judges", "neighbours": "engines.raster.neighbours"}
# What the families of one share may take together, in bytes.
SHARES: dict[str, tuple[int, tuple[str, ...]]] = {
    "words and pictures": (
        19 * MEGABYTE,
        ("next_token", "any_order", "scenes", "tokenizers", "raster", "next_scale", "masked_continuous"),
    ),
    "one of every kind": (4 * MEGABYTE, ("density", "discrete_diffusion", "time_series")),
    "one of every kind, 2": (7 * MEGABYTE, ("neighbours", "next_x", "video", "recognition")),
}


def path_of(name: str) -> Path:
    """The file of a net called "family/net"."""
    if not NAME.fullmatch(name):
        raise BadWeights(f"'{name}' is not a network's name; write family/net, as in next_token/target")
    return FOLDER / f"{name}.safetensors"


def quantise(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(R, …) float -> int8 (R, …) and fp32 scale (R,): matrix ≈ int8 · scale, wrong by scale / 2 at most."""
    scale = matrix.flatten(1).abs().amax(dim=1).clamp_min(1e-12) / 127
    return (matrix / _rows(scale, matrix)).round().clamp(-127, 127).to(torch.int8), scale.float()


def _rows(scale: Tensor, like: Tensor) -> Tensor:
    """(R,) -> (R, 1, …, 1), to multiply each row or filter of `like`."""
    return scale.view(-1, *[1] * (like.dim() - 1))


def _is_int8(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 2 and math.prod(shape) >= INT8_FROM


def stored(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file for this module."""
    tensors: dict[str, Tensor] = {}
    for name, value in module.state_dict().items():
        value = value.detach().cpu().float().contiguous()
        if _is_int8(tuple(value.shape)):
            tensors[name], tensors[f"{name}.scale"] = quantise(value)
        else:
            tensors[name] = value.half()
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
    replace(path, pack_tensors(tensors, metadata))
    return sha


def annotate(path: Path | str, **training: Any) -> None:
    """Add to the training record of a stored network; its tensors, and so its sha256, stay as they are."""
    path = Path(path)
    data = path.read_bytes()
    metadata = _header(path, data, "fetch the file again")[1]
    metadata["training"] = json.dumps(json.loads(metadata["training"]) | training, sort_keys=True)
    replace(path, pack_tensors(parse_tensors(data), metadata))


def replace(path: Path, data: bytes) -> None:
    """Write a file in one step: a reader sees the old one or the new one, also where the disk is full (OSError)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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


def _check_sizes(config: dict[str, Any]) -> None:
    """Raise ValueError unless a configuration is made of sizes that this project could have."""
    for name, value in config.items():
        sizes = value if isinstance(value, list) else [value]
        # Building on `meta` costs no memory, but it does loop over layers.
        limit = 65_536 if name in SIZES else LOOPS
        if len(sizes) > LOOPS or not all(isinstance(size, int) and 0 <= size <= limit for size in sizes):
            raise ValueError(f"{name} is out of range")


def networks(family: str) -> dict[str, type[nn.Module]]:
    """The network classes of a family, by the name that files know them by."""
    module = import_module(ROOMS.get(family, f"engines.{family}.model"))
    classes = getattr(module, "NETWORKS", None) or (module.Network,)
    return {f"{kind.__module__}.{kind.__name__}": kind for kind in classes}


def _class_of(path: Path) -> type[nn.Module]:
    """The class that a stored file names, if its family has it; `read` explains what is wrong otherwise."""
    known = networks(path.parent.name)
    first = next(iter(known.values()))
    try:
        return known.get(_header(path, path.read_bytes(), "")[1].get("class", ""), first)
    except (OSError, BadWeights):
        return first


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
        _check_sizes(config)
        with torch.device("meta"):
            shapes = network(**config)
        if count_parameters(shapes) > PARAMETER_LIMIT:
            raise ValueError("too large")
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
        scale = tensors.get(f"{name}.scale")
        state[name] = value if scale is None else value * _rows(scale, value)
    module = network(**config)
    module.load_state_dict(state)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module.eval()


# Networks from outside, for this process only, with their sha256: nothing of them is stored.
_guests: dict[str, tuple[nn.Module, str]] = {}


def welcome(name: str, network: nn.Module, sha: str) -> None:
    """Let `load`, `session` and `sha256` answer for a network that is not one of the project's files."""
    _guests[name] = (network, sha)


def has(name: str) -> bool:
    """Is there a network of this name?"""
    return name in _guests or path_of(name).exists()


@cache
def load(name: str) -> nn.Module:
    """The network "family/net", loaded once per process."""
    if name in _guests:
        return _guests[name][0]
    path = path_of(name)
    return read(path, _class_of(path))


def module(name: str) -> nn.Module:
    """The network "family/net", or the part of it that "family/net.part" names."""
    whole, _, part = name.partition(".")
    return load(whole).get_submodule(part)


def graph_path(name: str) -> Path:
    """Where the exported step of "family/net" or "family/net.part" lies, if it is used."""
    whole, dot, part = name.partition(".")
    if dot and not part.isidentifier():
        raise BadWeights(f"'{name}' names no part of a network; write family/net.part")
    return FOLDER.parent / "onnx" / path_of(whole).relative_to(FOLDER).with_name(f"{Path(name).name}.onnx")


def graphs() -> list[str]:
    """The networks, and parts of networks, whose exported step is used."""
    folder = FOLDER.parent / "onnx"
    return sorted(path.relative_to(folder).as_posix().removesuffix(".onnx") for path in folder.glob("*/*.onnx"))


def graph(name: str) -> backends.Graph | None:
    """The exported step of this network, or part, where one is stored, loaded once per process."""
    if name.partition(".")[0] in _guests or not graph_path(name).exists():
        return None
    return _graph(module(name), graph_path(name))


_graph = cache(backends.load)


def steps(name: str) -> dict[str, backends.Graph]:
    """What evaluates this network in place of torch, where stored: its "step", and its parts' by their names."""
    if name in _guests:
        return {}
    path = graph_path(name)
    parts = [file.name.removeprefix(path.stem).removesuffix(".onnx") for file in path.parent.glob(f"{path.stem}.*onnx")]
    return {part.removeprefix(".") or "step": step for part in parts if (step := graph(name + part))}


def bind(module: nn.Module, **steps: Any) -> Any:
    """A fresh decode session of a loaded network: it shares the parameters and owns its cache. steps: as above."""
    return cast(Any, module).session(**steps)


def record(name: str) -> dict[str, Any]:
    """What a stored file says of itself: class, config, sha256, training."""
    path, fix = path_of(name), f"fetch it again, or train it with `python -m engines train {name}`"
    try:
        metadata = _header(path, path.read_bytes(), fix)[1]
        return {
            "class": metadata["class"],
            "config": json.loads(metadata["config"]),
            "sha256": metadata["sha256"],
            "training": json.loads(metadata["training"]),
        }
    except OSError as error:
        raise BadWeights(f"{path} is missing or unreadable; {fix}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadWeights(f"{path} does not say what it holds; {fix}") from error


def ledger() -> list[dict[str, Any]]:
    """One line per stored network, then one per share: {"name", "bytes", "params"?, "limit"?, "fits"?}."""
    lines: list[dict[str, Any]] = []
    used = dict.fromkeys(SHARES, 0)
    share_of = {family: share for share, (_, families) in SHARES.items() for family in families}
    for path in sorted(FOLDER.glob("*/*.safetensors")):
        family = path.parent.name
        if family not in share_of:
            raise BadWeights(f"{path} belongs to no share; add its family to SHARES in engines/weights.py")
        network = read(path, _class_of(path))
        size = path.stat().st_size
        lines.append({"name": f"{family}/{path.stem}", "bytes": size, "params": count_parameters(network)})
        used[share_of[family]] += size
    for share, (limit, _) in SHARES.items():
        lines.append(
            {"name": f"share {share}", "bytes": used[share], "limit": limit, "fits": used[share] <= limit}
        )
    return lines


def session(name: str) -> Any:
    """A fresh decode session (its own cache) on the stored network of this name; the first one is warmed."""
    _warm(name)
    return bind(load(name), **steps(name))


@cache
def _warm(name: str) -> None:
    """Pay once for what a process pays at its first evaluation, outside any lane's clock."""
    bind(load(name), **steps(name)).warm()


def sha256(name: str) -> str:
    """The digest of the stored tensors, as traces and claims record it."""
    return _guests[name][1] if name in _guests else str(record(name)["sha256"])
