"""Public checkpoints: `--checkpoint hub:ORG/NAME[@REVISION]`, or a folder in the Hub's layout.

What is fetched is bounded and inert: a config, a tokenizer and safetensors, all of one commit, at most MOST_BYTES,
which is known before the first byte is loaded. No code of a repository runs, and no pickle is opened. The commit
becomes a part of the text's name, so that the header of a trace says exactly which network wrote it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor

from engines import weights
from engines.errors import BadWeights, Refused, Unreachable
from engines.hub import asking
from engines.next_token import page, public
from engines.nn import count_parameters
from engines.worlds import stories
from engines.worlds.texts import LENGTH, STORIES, Text

MOST_BYTES, MOST_PARAMETERS = 1_000_000_000, 400_000_000
MOST_JSON = 30_000_000
SPEC = re.compile(r"hub:([\w.-]{1,96}/[\w.-]{1,96})(?:@([\w./-]{1,96}))?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
WHOLE, SHARD = "model.safetensors", re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
BESIDE = ("config.json", "tokenizer.json")
FIX = "Name a GPT-2- or Llama-shaped causal network that has safetensors and a tokenizer.json."


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network read from a checkpoint, with the text that it writes. name: `hub:ORG/NAME@commit` or a folder's."""

    name: str
    sha256: str
    network: public.Network
    text: Text


# --- getting the files


def wanted(names: list[str], what: str) -> list[str]:
    """Which files of a checkpoint are read. Raises Refused where one is missing."""
    shards = [WHOLE] if WHOLE in names else sorted(n for n in names if SHARD.fullmatch(n))
    if not shards:
        other = next((n for n in names if n.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf"))), "")
        has = f", only {other[:60]}" if other else ""
        raise Refused(f"{what} has no safetensors{has}", "checkpoint", FIX)
    if shards != [WHOLE] and int(shards[0][-17:-12]) != len(shards):
        raise Refused(f"{what} has {len(shards)} of {int(shards[0][-17:-12])} parts of its weights", "checkpoint", FIX)
    if lacking := next((n for n in BESIDE if n not in names), None):
        raise Refused(f"{what} has no {lacking}", "checkpoint", FIX)
    return [*BESIDE, *shards]


def small_enough(sizes: dict[str, int | None], what: str) -> None:
    """Raises Refused where the files together are larger than a lane can use, or nobody knows how large they are."""
    if unknown := next((n for n, size in sizes.items() if size is None), None):
        raise Refused(f"{what} does not say how large its {unknown} is", "checkpoint", FIX)
    if (total := sum(size or 0 for size in sizes.values())) > MOST_BYTES:
        raise Refused(f"{what} has {total / 1e6:,.0f} MB; the limit is {MOST_BYTES / 1e6:,.0f} MB", "checkpoint",
                      "Name a smaller one.")
    if large := next((n for n in BESIDE if (sizes.get(n) or 0) > MOST_JSON), None):
        raise Refused(f"the {large} of {what} has {(sizes[large] or 0) / 1e6:,.0f} MB", "checkpoint", FIX)


def fetch(repo: str, revision: str | None) -> tuple[Path, str]:
    """(folder of the files, commit). A commit that is in the Hub's cache needs no network."""
    # it takes a second to import, and only who names a checkpoint needs it
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache  # noqa: PLC0415

    what = f"hub:{repo}" + (f"@{revision}" if revision else "")
    if revision and COMMIT.fullmatch(revision):
        kept = try_to_load_from_cache(repo, BESIDE[0], revision=revision)
        try:
            if isinstance(kept, str):
                wanted([f.name for f in Path(kept).parent.iterdir()], what)
                return Path(kept).parent, revision
        except Refused:
            pass  # not whole: a download was broken off
    with asking(what):
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=20)
    sizes = {f.rfilename: f.size for f in info.siblings or ()}
    files = wanted(list(sizes), what)
    small_enough({n: sizes[n] for n in files}, what)
    if not info.sha or not COMMIT.fullmatch(info.sha):
        raise Unreachable(f"{what}: the Hub does not say which commit this is", "Name one: hub:ORG/NAME@COMMIT.")
    with asking(what):
        return [Path(hf_hub_download(repo, file, revision=info.sha)).parent for file in files][0], info.sha


# --- reading them


def load(spec: str) -> Checkpoint:
    """The checkpoint that `hub:ORG/NAME[@REVISION]` or a folder's path names."""
    if match := SPEC.fullmatch(spec):
        folder, commit = fetch(match[1], match[2])
        return read(folder, f"hub:{match[1]}@{commit}", match[1])
    if spec.startswith("hub:") or not Path(spec).is_dir():
        raise Refused(f"{spec[:80]!r} is neither hub:ORG/NAME nor a folder", "checkpoint",
                      "Write hub:ORG/NAME, hub:ORG/NAME@REVISION, or the path of a folder that holds such files.")
    return read(Path(spec), None, Path(spec).resolve().name)


def read(folder: Path, name: str | None, label: str) -> Checkpoint:
    """The checkpoint whose files lie in folder. Raises Refused for another kind, BadWeights for damage."""
    what = name or f"the folder {label[:60]!r}"
    files = wanted([f.name for f in folder.iterdir()], what)
    small_enough({n: (folder / n).stat().st_size for n in files}, what)
    raw = _json(folder / "config.json", what)
    try:
        shape = public.read_config(raw)
        with torch.device("meta"):
            count = count_parameters(public.Network(shape))
    except KeyError as error:
        raise Refused(f"{what}: its config.json lacks {error.args[0]!r}", "checkpoint", FIX) from error
    except (ValueError, TypeError, ZeroDivisionError, OverflowError, RuntimeError) as error:
        raise Refused(f"{what} cannot be used: {error}", "checkpoint", FIX) from error
    if count > MOST_PARAMETERS:
        raise Refused(f"{what} has {count / 1e6:,.0f} M parameters; the limit is {MOST_PARAMETERS / 1e6:,.0f} M",
                      "checkpoint", "Name a smaller one.")
    network = _network(folder, files, shape, what)
    digest = hashlib.sha256()
    for file in files:
        with (folder / file).open("rb") as data:
            digest.update(hashlib.file_digest(data, "sha256").digest())
    sha = digest.hexdigest()
    name = name or f"folder:{label}@{sha[:12]}"
    return Checkpoint(name, sha, network, _text(folder, shape, name, label, what))


def _network(folder: Path, files: list[str], shape: public.Shape, what: str) -> public.Network:
    where: dict[str, tuple[Any, str]] = {}
    try:
        for file in files:
            if not file.endswith(".safetensors"):
                continue
            # the library itself compares the table of a file with its true length
            opened = safe_open(folder / file, framework="pt")
            for key in opened.keys():  # noqa: SIM118 - it is no dict
                if public.plain(key) in where:
                    raise BadWeights(f"{what} has two tensors {key!r}", FIX)
                where[public.plain(key)] = (opened, key)
        sizes = {}
        for plain, (opened, key) in where.items():
            entry = opened.get_slice(key)
            if entry.get_dtype() not in ("F32", "F16", "BF16") and not public.DERIVED.fullmatch(plain):
                raise BadWeights(f"{what}: tensor {key!r} is {entry.get_dtype()}; F32, F16 and BF16 are read", FIX)
            sizes[plain] = tuple(entry.get_shape())

        def get(plain: str) -> Tensor:
            opened, key = where[plain]
            return opened.get_tensor(key)

        return public.from_checkpoint(shape, sizes, get)
    except SafetensorError as error:
        raise BadWeights(f"{what} is damaged: {str(error)[:120]}", "Fetch it again.") from error
    except ValueError as error:
        raise BadWeights(f"{what} does not fit its own config: {error}", FIX) from error


def _json(path: Path, what: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadWeights(f"the {path.name} of {what} cannot be read ({type(error).__name__})", "Fetch it again."
                         ) from error
    if not isinstance(found, dict):
        raise BadWeights(f"the {path.name} of {what} is no object", FIX)
    return found


# --- its text


def _bytes() -> dict[str, int]:
    """The signs by which byte-level vocabularies write bytes: printable ones stand for themselves, others from 256."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in own]
    return {chr(b): b for b in own} | {chr(256 + i): b for i, b in enumerate(rest)}


BYTES = _bytes()


def spelled(token: str, byte_level: bool) -> str:
    """What a token writes: its spaces as spaces, bytes that are no text as \\xNN, nothing that steers a terminal."""
    if byte_level and all(c in BYTES for c in token):
        raw = bytes(BYTES[c] for c in token)
    elif one := re.fullmatch(r"<0x([0-9A-F]{2})>", token):
        raw = bytes([int(one[1], 16)])
    else:
        raw = token.replace("\u2581", " ").encode("utf-8", "backslashreplace")
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _text(folder: Path, shape: public.Shape, name: str, label: str, what: str) -> Text:
    raw = _json(folder / "tokenizer.json", what)
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises bare Exceptions
        raise BadWeights(f"the tokenizer of {what} cannot be read: {str(error)[:120]}", "Fetch it again.") from error
    if tokenizer.get_vocab_size() > shape.vocab:
        raise BadWeights(f"the tokenizer of {what} has {tokenizer.get_vocab_size():,} tokens, its network "
                         f"{shape.vocab:,}", FIX)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    byte_level = '"ByteLevel"' in json.dumps([raw.get("decoder"), raw.get("pre_tokenizer")])
    tokens = [tokenizer.id_to_token(i) for i in range(shape.vocab)]
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    silent = (special | {i for i, token in enumerate(tokens) if token is None} | {shape.begin}) - {shape.end}
    words = [f"<unused {i}>" if token is None else token if i in special else spelled(token, byte_level)
             for i, token in enumerate(tokens)]
    if 0 <= shape.end < shape.vocab:
        words[shape.end] = "<end>"

    def encode(text: str) -> list[int]:
        ids = list(tokenizer.encode(text, add_special_tokens=False).ids)
        if (steering := next((i for i in ids if i in special), None)) is not None:
            raise Refused(f"{words[steering][:40]!r} is a sign that steers this network, not text", "words")
        return ids

    return Text(name=name, label=label, words=words, encode=encode, begin=shape.begin, end=shape.end,
                silent=tuple(sorted(silent)), length=min(LENGTH, shape.positions - 1), spaced=True,
                passage=lambda seed: encode(stories.decode(STORIES.passage(seed))))


# --- offering it


def offer(spec: str, draft: str | None = None) -> str:
    """Let `next-token` and `speculative` write with this checkpoint too, for as long as the process lives.

    draft: a smaller one that guesses for it; it must have the same tokens. Returns the value of the setting `text`.
    """
    from engines import catalog  # noqa: PLC0415 - the catalogue imports this family
    from engines.next_token.exhibits import offered  # noqa: PLC0415

    big = load(spec)
    small = load(draft) if draft else None
    if small and (list(small.text.words), small.text.begin, small.text.end) != (
            list(big.text.words), big.text.begin, big.text.end):
        raise Refused(f"{small.name} has other tokens than {big.name}, so it cannot guess for it", "draft",
                      "Name a smaller network of the same series.")
    for one in (big, small):
        if one:
            weights.welcome(one.name, one.network, one.sha256)
    page.VOICES[big.name] = page.Voice(lambda: big.text, big.name, small.name if small else None)
    catalog.EXHIBITS.update({e.slug: e for e in offered()})
    return big.name
