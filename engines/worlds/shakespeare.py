"""SHAKESPEARE: text that nobody here wrote, in pieces of words (byte-pair encoding, Sennrich et al. 1508.07909).

There is no grammar of it, so nothing about it is exact: a network is judged in bits a character on held-out plays.
The whole text is needed for training only. What playing needs stands in `assets/worlds`: the pieces and how they are
joined, passages of the last twentieth of the text, which no network was trained on, and counts of pairs of pieces.

Pieces are read by the `tokenizers` library, the field's own (small, no dependencies at run time but itself).
Signs that the text never uses are refused, like unknown words in STORIES.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor

from engines.errors import BadWeights, Refused, Unreachable
from engines.hub import asking
from engines.worlds.stories import BOS, END, MASK, PAD, SPECIALS
from engines.worlds.texts import LENGTH, Text, log_counts

PIECES = 2_048
# A word with the space before it, a sign with its space, or line breaks: no piece reaches over these.
CUT = r" ?[A-Za-z']+| ?[^\sA-Za-z']|\n+|\s"
# Held out, from the back: a twentieth for openings and blanks on the page, a twentieth for judging.
TEST, VALIDATION = 0.95, 0.90
PASSAGES, LONG = 96, 150
FOLDER = Path(__file__).parent.parent.parent / "assets" / "worlds"
DEFAULT = FOLDER.parent.parent.parent / "shared" / "data" / "tinyshakespeare.txt"
DATASET = "karpathy/tiny_shakespeare"
VARIABLE = "UNFOLD_TEXT"


# --- the whole text, for training


def source() -> Path:
    """Where the text lies: the file of --text (or UNFOLD_TEXT), ../shared/data, else the Hub.

    Raises Refused for a wrong path, Unreachable where neither is there.
    """
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_file():
            raise Refused(f"there is no text file {named!r}", "text", "Give the path of a plain text file.")
        return Path(named)
    return DEFAULT if DEFAULT.is_file() else _from_hub()


def _from_hub() -> Path:
    """The data set's text file, through huggingface-hub and its cache."""
    from huggingface_hub import HfApi, hf_hub_download  # noqa: PLC0415 - only where there is no file

    what = f"Shakespeare ({DATASET} on the Hub, as there is no {DEFAULT.name} here)"
    fix = "Give the text with --text FILE: 1.1 MB of plays, input.txt in the data folder of the char-rnn repository."
    with asking(what, fix):
        files = [f.rfilename for f in HfApi().dataset_info(DATASET, timeout=20).siblings or ()]
        if not (texts := [f for f in files if f.endswith(".txt")]):
            raise Unreachable(f"{what} holds no plain text now", fix)
        return Path(hf_hub_download(DATASET, texts[0], repo_type="dataset"))


def read(path: Path) -> str:
    """The text of a file. Raises Refused if it is no text or too short to learn from."""
    try:
        text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} cannot be read as text ({type(error).__name__})", "text") from error
    if len(text) < 20_000:
        raise Refused(f"{path} has {len(text):,} characters; learning needs at least 20,000", "text")
    return text


def parts(text: str) -> tuple[str, str, str]:
    """(training, validation, test), cut where a speech ends."""
    cuts = [text.find("\n\n", int(len(text) * share)) for share in (VALIDATION, TEST)]
    if min(cuts) < 0:
        raise Refused("the text has no blank lines, so its speeches cannot be told apart", "text")
    return text[: cuts[0] + 2], text[cuts[0] + 2 : cuts[1] + 2], text[cuts[1] + 2 :]


def openings(text: str) -> list[int]:
    """Where long speeches begin, behind the names of their speakers: short ones are mostly names."""
    return [m.start(1) for m in re.finditer(r"^[^\n]+:\n((?:[^\n]+\n)+)", text, re.M) if len(m[1]) >= LONG]


@cache
def _encoded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the training and the validation part of a text."""
    training, validation, _ = parts(read(path))
    return tuple(np.array(pieces().encode(part), dtype=np.int64) for part in (training, validation))  # type: ignore[return-value]


def _lines(ids: np.ndarray) -> np.ndarray:
    """Where lines begin, in pieces, as far as a whole window follows."""
    breaks = np.array([w.startswith("\n") for w in pieces().words])
    begins = np.concatenate([[0], np.flatnonzero(breaks[ids]) + 1])
    return begins[begins <= len(ids) - LENGTH]


def batches(batch: int, part: int, shortest: int = LENGTH, end: bool = False) -> Iterator[Tensor]:
    """Part 0, 1, … of the training lines, in an order of its own: (batch, n) ids from the start of a line on.

    A window begins at every line once a part. shortest: a batch in two has a length n from there on, the others the
    full one. end: the last id is END, which says where the page ends, not that the text does.
    """
    ids = _encoded(source())[0]
    order = np.random.default_rng(part)
    begins = order.permutation(_lines(ids))
    for i in range(0, len(begins) - batch + 1, batch):
        n = LENGTH if order.random() < 0.5 else int(order.integers(shortest, LENGTH + 1))
        rows = ids[begins[i : i + batch, None] + np.arange(n)]
        if end:
            rows[:, -1] = END
        yield torch.from_numpy(rows)


def held_out(count: int) -> np.ndarray:
    """(up to count, LENGTH) ids of the validation part: windows from the start of a line, none over another."""
    ids, free = _encoded(source())[1], 0
    rows: list[np.ndarray] = []
    for begin in _lines(ids):
        if begin >= free and len(rows) < count:
            rows.append(ids[begin : begin + LENGTH])
            free = begin + LENGTH
    return np.stack(rows)


def characters(ids: np.ndarray) -> int:
    """How many characters these pieces have together."""
    sizes = np.array([0] * len(SPECIALS) + [len(w) for w in pieces().words[len(SPECIALS) :]])
    return int(sizes[ids].sum())


def bits(nats: float, ids: np.ndarray) -> dict[str, float]:
    """A judge's figures from the nats that these pieces cost: bits a character, the field's measure, and more."""
    return {"bits": nats / math.log(2) / characters(ids), "nll": nats / ids.size, "characters": characters(ids)}


def pairs_bits(rows: np.ndarray) -> float:
    """Bits a character of windows (B, n) under the stored counts of pairs: a net that learned anything pays less."""
    before = np.concatenate([np.full((len(rows), 1), BOS), rows[:, :-1]], axis=1)
    table = pairs() - np.log(np.exp(pairs()).sum(axis=1, keepdims=True))
    return -float(table[before, rows].sum()) / math.log(2) / characters(rows)


# --- pieces


def learn(text: str, pieces: int = PIECES) -> tuple[list[str], list[list[str]]]:
    """(vocabulary in the order of its ids, merges in the order in which they are tried) of a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(CUT), "isolated")
    trainer = trainers.BpeTrainer(vocab_size=pieces, special_tokens=list(SPECIALS), show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), [list(m) for m in model["merges"]]


def tokenizer_of(pieces: list[str], merges: list[list[str]]) -> Tokenizer:
    """Text -> ids. The four special pieces are not registered as such, so a typed "<end>" is text like any other."""
    model = models.BPE(vocab={w: i for i, w in enumerate(pieces)}, merges=[(a, b) for a, b in merges])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(CUT), "isolated")
    return tokenizer


class Pieces:
    """A stored vocabulary with its passages."""

    def __init__(self, pieces: list[str], merges: list[list[str]], passages: list[str]):
        self.words = tuple(pieces)
        self.signs = {w for w in pieces[len(SPECIALS) :] if len(w) == 1}
        self.passages = passages
        self._tokenizer = tokenizer_of(pieces, merges)

    def encode(self, text: str) -> list[int]:
        """Ids of a text. Raises Refused for a sign that no piece has."""
        if unknown := next((c for c in text if c not in self.signs), None):
            raise Refused(f"this text never uses the sign {unknown!r}; it has letters and {self._others()}", "text")
        return list(self._tokenizer.encode(text).ids)

    def _others(self) -> str:
        return " ".join(sorted(c for c in self.signs if not c.isalpha() and not c.isspace()))

    def decode(self, ids: list[int]) -> str:
        """Text of ids up to END; the other special ids are left out."""
        ids = ids[: ids.index(END)] if END in ids else ids
        return "".join(self.words[i] for i in ids if i >= len(SPECIALS))


def vocabulary_file() -> Path:
    return FOLDER / "shakespeare.json"


def pairs_file() -> Path:
    return FOLDER / "shakespeare.npz"


def store() -> None:
    """Learn pieces from the training part of `source()` and write what playing needs."""
    text = read(source())
    training, _, test = parts(text)
    pieces, merges = learn(training)
    if foreign := set(text) - set(pieces):
        raise Refused(f"the held-out part uses signs that the training part has not: {''.join(sorted(foreign))!r}",
                      "text")
    begins = openings(test)
    count = min(PASSAGES, len(begins))
    chosen = [begins[i * len(begins) // count] for i in range(count)]
    made = Pieces(pieces, merges, [])
    passages = [made.decode(made.encode(test[at : at + 12 * LENGTH])[: LENGTH - 1]) for at in chosen]
    FOLDER.mkdir(parents=True, exist_ok=True)
    body = {"source": hashlib.sha256(text.encode()).hexdigest(), "pieces": pieces, "merges": merges,
            "passages": passages}
    vocabulary_file().write_text(json.dumps(body, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    # Pairs that occur once say little and are half of the table.
    ids = np.array(made.encode(training))
    pair, times = np.unique(ids[:-1] * len(pieces) + ids[1:], return_counts=True)
    often = times > 1
    np.savez_compressed(pairs_file(), pair=pair[often].astype(np.uint32), count=times[often].astype(np.uint32))


@cache
def pieces() -> Pieces:
    """The stored vocabulary. Raises BadWeights, naming the file, where it is missing or damaged."""
    path = vocabulary_file()
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return Pieces(body["pieces"], body["merges"], body["passages"])
    except Exception as error:  # the library raises bare Exceptions for merges that do not fit the pieces
        raise BadWeights(f"{path.name} is missing or damaged; fetch it again, or make it with "
                         "`python -m engines world shakespeare --text FILE`") from error


def passage(seed: int) -> list[int]:
    """LENGTH - 1 ids of a held-out passage; it begins with a speech and is cut where the page ends."""
    stored = pieces()
    return stored.encode(stored.passages[seed % len(stored.passages)])[: LENGTH - 1]


@cache
def pairs() -> np.ndarray:
    """(V, V) log counts of (piece, next piece) in the training part."""
    size = len(pieces().words)
    try:
        with np.load(pairs_file(), allow_pickle=False) as stored:
            pair, count = stored["pair"].astype(np.int64), stored["count"]
            if len(pair) != len(count) or (len(pair) and pair.max() >= size * size):
                raise ValueError("sizes")
    except (OSError, ValueError, KeyError) as error:
        raise BadWeights(f"{pairs_file().name} is missing or damaged; fetch it again, or make it with "
                         "`python -m engines world shakespeare --text FILE`") from error
    table = log_counts(np.empty((0, 2), dtype=np.int64), size)
    table[pair // size, pair % size] = np.log(count + 0.01)
    table[:, END] = np.log(1e-300)
    return table


@cache
def text() -> Text:
    """SHAKESPEARE as the rooms of words know it."""
    return Text(name="shakespeare", label="Shakespeare", words=pieces().words, encode=pieces().encode,
                passage=passage, spaced=True, pairs=pairs, silent=(PAD, END, BOS, MASK))
