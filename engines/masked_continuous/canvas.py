"""What both lanes share: the caption, the order of places, the rule of drawing, and which cells are shown how.

Cell = place = one of 8 x 8 tokens, each a patch of the picture together with its neighbours.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from engines.events import Note
from engines.masked_continuous.model import NET, WalkSession
from engines.masked_continuous.sampler import Rule
from engines.runtime import Meter, Net
from engines.scene_settings import Order
from engines.worlds import scenes

SIDE = 8
PLACES = SIDE * SIDE
CODES = 512
HEAD = f"{NET}.head"
ORDER = Order(
    name="order",
    default="random",
    label="Order",
    cells=PLACES,
    help="Which places come first: a name, or cells that you paint. The codes' picture chooses for itself.",
)


def rule_of(s: SimpleNamespace) -> Rule:
    """s: sets, inner, guidance, schedule, temperature, gumbel."""
    return Rule(s.sets, s.inner, s.guidance, s.schedule, s.temperature, s.gumbel)


def caption_note(objects: Tensor) -> Note:
    text = scenes.caption_text(objects[0])
    return Note(key="mar.asked", args={"caption": text}, text=f"The caption: {text}." if text else "An empty table.")


def vocabulary(s: SimpleNamespace) -> dict[Any, int]:
    """The codes that a user may force in the picture of codes."""
    return {code: code for code in range(CODES)}


def head_of(meter: Meter, net: str = NET, whole: bool = False) -> Net:
    """The diffusion head of `net` as a net of its own: stored with its backbone, timed and counted by itself.

    whole: it answers with its `Walk` instead of tokens.
    """
    name = f"{net}.head"
    if name not in meter.nets:
        head = meter.net(net).session.head
        meter.nets[name] = Net(name, WalkSession(head) if whole else head, meter)
    return meter.nets[name]


def at(x: Tensor, cells: list[int]) -> Tensor:
    """x (B, L, …) at these cells, (B, n, …)."""
    return x[:, torch.tensor(cells, dtype=torch.long)]


def counted(cells: list[int]) -> str:
    """How a sentence begins that speaks of these places."""
    return "One place" if len(cells) == 1 else f"{len(cells)} places"
