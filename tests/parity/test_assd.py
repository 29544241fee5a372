"""ASSD against recordings of the official sampler: the same logits and the same random numbers, the same pages.

The recordings stand in the folder that UNFOLD_PARITY names (their README tells how they were made); the smallest
case is in the tree. The official draws are argmax(p / e) with recorded e ~ Exp(1), so a Noise is handed in that
draws like that. Masks are compared too: the official two-stream net forbids what ours does.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from engines.any_order.assd import EXACT, fill
from engines.any_order.model import oracle_mask
from engines.any_order.ngram import ContextNGram
from engines.any_order.page import Page
from engines.events import Forward
from engines.noise import Draw
from engines.runtime import Meter

FOLDER = Path(os.environ.get("UNFOLD_PARITY") or Path(__file__).parent / "recordings") / "assd"
MASK = 6
WORDS = tuple(f"w{i}" for i in range(40))


@pytest.fixture(scope="module")
def io() -> dict[str, np.ndarray]:
    return load_file(FOLDER / "io.safetensors")


class Recorded:
    """The recorded numbers of one official run, in the order in which they were drawn."""

    def __init__(self, io: dict[str, np.ndarray], tag: str):
        self.io, self.tag, self.round, self.j = io, tag, -1, 0

    def begin(self) -> None:
        self.round, self.j = self.round + 1, 0

    def _exp(self, p: np.ndarray, e: np.ndarray) -> Draw:
        x = int(np.argmax(p / e))
        return Draw(x, float(p[x] / p.sum()))

    def draw(self, stream: str, cells: list[int], p: np.ndarray) -> list[Draw]:
        if stream == "residual":
            row = p[0].astype(np.float32)
            return [self._exp(row / row.sum(), self.io[f"{self.tag}.resample_q"][self.round])]
        return [self._exp(row, e) for row, e in zip(p, self.io[f"{self.tag}.draft_q"][self.round], strict=False)]

    def accept(self, cells: list[int], ratio: list[float]) -> list[tuple[float, bool]]:
        u = float(self.io[f"{self.tag}.uniform"][self.round, self.j])
        self.j += 1
        return [(u, u < ratio[0])]

    def forced(self, cell: int) -> bool:
        return False


class Logits:
    """The recorded logits as a network: draft and oracle passes alternate, or only oracle passes."""

    def __init__(self, recorded: Recorded, tag: str, self_draft: bool):
        self.recorded, self.tag, self.self_draft = recorded, tag, self_draft

    def __call__(self, cells: Any, values: Any, prompt: int, targets: list[int], sees: list[int]) -> np.ndarray:
        drafting = self.self_draft and len(set(sees)) == 1 and sees[0] == len(cells)
        if drafting or not self.self_draft:
            self.recorded.begin()
        name = "draft" if drafting else "oracle"
        z = self.recorded.io[f"{self.tag}.{name}_logits"][self.recorded.round, : len(targets)].astype(np.float64)
        z[:, MASK] = -np.inf
        return z


class Counted(ContextNGram):
    """The official draft draws over its keys in the order in which they were first counted."""

    recorded: Recorded

    def guess(self, cells: list[int], noise: Any) -> tuple[np.ndarray, list[Draw]]:
        P, drafts, fresh = [], [], dict(self.at)
        uniforms = self.recorded.io["ngram_sorted.choice_uniform"][self.recorded.round + 1]
        for cell, u in zip(cells, uniforms, strict=False):
            before = fresh.get(cell - 1)
            p = self.law(before)
            keys = list(self.pairs[before] if self.pairs.get(before) else self.words)
            cdf = np.cumsum(p[keys])
            fresh[cell] = keys[int(np.searchsorted(cdf / cdf[-1], u, side="right"))]
            P.append(p)
            drafts.append(Draw(fresh[cell], float(p[fresh[cell]])))
        return np.stack(P), drafts


def _page(io: dict[str, np.ndarray], sigma: np.ndarray) -> Page:
    prompt, order = io["in.prompt"][0], np.argsort(sigma[0])
    visible = [int(c) for c in order if prompt[c] != MASK]
    known = [(c, int(prompt[c])) for c in sorted(visible)] if np.all(np.diff(visible) > 0) else [
        (c, int(prompt[c])) for c in visible]
    return Page(len(prompt), [int(c) for c in order[len(visible) :]], known, len(visible), WORDS)


@pytest.mark.parametrize("tag", ["self_sorted", "self_random", "ngram_sorted"])
def test_the_official_run_is_reproduced_to_the_last_token_and_call(io, tag):
    sigma = io["in.sigma_random" if "random" in tag else "in.sigma_sorted"]
    page = _page(io, sigma)
    noise = Recorded(io, tag)
    ngram = tag.startswith("ngram")
    counts = None
    if ngram:
        counts = Counted(page)
        counts.recorded = noise
    settings = SimpleNamespace(k=4 if ngram else 5, temperature=1.0, r_atol=0.0, bonus=False)
    net = Logits(noise, tag, not ngram)
    events = list(fill(page, settings, noise, Meter(lambda name: net), EXACT, counts=counts))  # type: ignore[arg-type]
    got = np.array([v for _, v in sorted(page.known)])
    assert np.array_equal(got, io[f"{tag}.tokens"][0])
    assert sum(isinstance(e, Forward) for e in events) == int(io[f"{tag}.nfe"][0])


def test_a_sampler_that_reuses_the_draft_for_the_repair_is_seen(io):
    page, noise = _page(io, io["in.sigma_sorted"]), Recorded(io, "self_sorted")
    rule = replace(EXACT, correct=lambda n, cell, q, p: n.draw("residual", [cell], q[None])[0])
    settings = SimpleNamespace(k=5, temperature=1.0, r_atol=0.0, bonus=False)
    net = Logits(noise, "self_sorted", True)
    try:
        list(fill(page, settings, noise, Meter(lambda name: net), rule))  # type: ignore[arg-type]
        got = np.array([v for _, v in sorted(page.known)])
    except IndexError:  # it went another way than the recording
        return
    assert not np.array_equal(got, io["self_sorted.tokens"][0])


def test_our_oracle_mask_allows_what_the_official_one_does(io):
    forbidden, sigma = io["net.perm_mask"][0].astype(bool), io["in.sigma_random"][0]
    order, prompt = np.argsort(sigma), int((io["in.prompt"][0] != MASK).sum())
    n = len(order)
    ours = oracle_mask(n, prompt, list(range(prompt, n))).numpy()
    content, queries = ours[:n, 1:], ours[n:, 1:]
    official = ~forbidden[np.ix_(order, order)]
    assert np.array_equal(content, official | np.eye(n, dtype=bool))
    assert np.array_equal(queries, official[prompt:])
