"""Shared fixtures. Tests use real code on small real data; a fake network is a function cells -> logits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from engines import catalog  # noqa: E402
from engines.any_order.exhibits import ASSD  # noqa: E402
from engines.any_order.page import NET, ORDERED  # noqa: E402
from engines.next_token.drafts import SMALL  # noqa: E402
from engines.next_token.next_token import TARGET  # noqa: E402
from engines.runtime import Trial  # noqa: E402
from engines.tables import CausalTable  # noqa: E402
from engines.worlds import stories  # noqa: E402


class GrammarNet:
    """The grammar's exact conditionals as an any-subset network: no training, no noise, the real vocabulary."""

    params, bytes, cache_bytes = 0, 0, 0

    def __call__(self, cells: list[int], values: list[int], prompt: int, targets: list[int], sees: list[int]) -> Any:
        length = max([*cells, *targets]) + 1
        out = []
        for target, n in zip(targets, sees, strict=True):
            visible = np.full(length, stories.HIDDEN)
            visible[cells[:n]] = values[:n]
            p = stories.automaton().marginals(visible)[target]
            out.append(np.log(np.maximum(p, 1e-30)))
        return np.stack(out)


def stand_in(name: str) -> Any:
    """Networks for tests that need no trained one: a random causal table, and the grammar itself."""
    if name in (TARGET, SMALL):
        return CausalTable(seed=1 if name == TARGET else 2, words=12, length=20)
    if name in (NET, ORDERED):
        return GrammarNet()
    raise KeyError(name)


@pytest.fixture
def nets() -> Callable[[str], Any]:
    return stand_in


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exhibit with all its orders, whether or not their net is stored."""
    monkeypatch.setitem(catalog.EXHIBITS, ASSD.slug, ASSD)


@pytest.fixture
def trial() -> Callable[..., Trial]:
    """A claim's Trial, ready to be measured: trial("assd", "law", subject=…)."""

    def make(slug: str, claim: str, **more: Any) -> Trial:
        exhibit = catalog.EXHIBITS[slug]
        return Trial(exhibit, next(c for c in exhibit.claims if c.id == claim), **more)

    return make


# `python -m pytest tests/fuzz --hypothesis-profile=long`
settings.register_profile("long", print_blob=True)
