"""What an exhibit is: data plus functions, no subclass per paper.

A setting is one object that makes the control, the command-line flag, the link codec and the check.
A lane is one decode loop; a LaneRef borrows another exhibit's lane whole. A claim is a sentence of the
paper with the function that measures it (`runtime.measure` runs it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

from engines.errors import Refused

RESERVED = ("exhibit", "seed", "rows", "lanes", "i", "v", "view", "at", "lecture", "embed", "lang", "theme")
Measured = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Setting:
    """Root of the typed settings. `parse` accepts Python values and the strings of links and flags."""

    kind: ClassVar[str] = ""
    name: str
    default: Any
    label: str
    help: str
    unit: str = ""
    advanced: bool = False

    def parse(self, value: Any) -> Any:
        """The checked value. Raises Refused with the range; never clamps."""
        raise Refused(f"{self.name} has no parser", self.name)

    def refuse(self, value: Any, wanted: str) -> Refused:
        shown = str(value)
        shown = "".join(c for c in shown[:40] if c.isprintable()) + ("…" if len(shown) > 40 else "")
        return Refused(f"{self.name} is {shown!r}; it must be {wanted}", self.name)

    def describe(self) -> dict[str, Any]:
        """What the page needs to draw the control."""
        out = {"kind": self.kind, "name": self.name, "default": self.default, "label": self.label,
               "help": self.help, "unit": self.unit, "advanced": self.advanced}
        for key in ("min", "max", "step"):
            if hasattr(self, key):
                out[key] = getattr(self, key)
        if hasattr(self, "choices"):
            out["choices"] = [{"value": v, "label": label} for v, label in self.choices.items()]
        return out


@dataclass(frozen=True, kw_only=True)
class Int(Setting):
    kind: ClassVar[str] = "int"
    min: int
    max: int
    step: int = 1

    def parse(self, value: Any) -> int:
        wanted = f"a whole number from {self.min} to {self.max}"
        try:
            number = int(value) if isinstance(value, str) and len(value) < 20 else value
        except ValueError:
            raise self.refuse(value, wanted) from None
        if isinstance(number, bool) or not isinstance(number, int | float) or number != number:
            raise self.refuse(value, wanted)
        if not self.min <= number <= self.max or number != int(number):
            raise self.refuse(value, wanted)
        return int(number)


@dataclass(frozen=True, kw_only=True)
class Float(Setting):
    kind: ClassVar[str] = "float"
    min: float
    max: float
    step: float = 0.05

    def parse(self, value: Any) -> float:
        wanted = f"a number from {self.min:g} to {self.max:g}"
        try:
            number = float(value) if not isinstance(value, bool) and len(str(value)) < 40 else math.nan
        except (TypeError, ValueError):
            raise self.refuse(value, wanted) from None
        if not self.min <= number <= self.max:
            raise self.refuse(value, wanted)
        return number


@dataclass(frozen=True, kw_only=True)
class Bool(Setting):
    kind: ClassVar[str] = "bool"

    def parse(self, value: Any) -> bool:
        known = {1: True, 0: False, "true": True, "false": False, "1": True, "0": False}  # 1 is True as a key
        asked = value.lower() if isinstance(value, str) else value
        if not isinstance(asked, bool | int | str) or asked not in known:
            raise self.refuse(value, "true or false")
        return known[asked]


@dataclass(frozen=True, kw_only=True)
class Choice(Setting):
    """One of `choices`: {value: label}."""

    kind: ClassVar[str] = "choice"
    choices: dict[str, str] = field(default_factory=dict)

    def parse(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise self.refuse(value, "one of " + ", ".join(self.choices))
        return value


@dataclass(frozen=True, kw_only=True)
class Words(Setting):
    """Text that a user typed. `check(text, settings)` refuses what a lane with these settings cannot use.

    `Exhibit.parse` asks it, once all settings are known: which words there are depends on the kind of text.
    """

    kind: ClassVar[str] = "words"
    max: int = 600
    check: Callable[[str, SimpleNamespace], Any] | None = None

    def parse(self, value: Any) -> str:
        if not isinstance(value, str):
            raise self.refuse(value, "text")
        if len(value) > self.max:
            raise self.refuse(value, f"at most {self.max} characters; these are {len(value):,}")
        if bad := next((c for c in value if not c.isprintable() and c not in "\n\t"), None):
            raise Refused(f"{self.name} holds the character U+{ord(bad):04X}; use plain text", self.name)
        return " ".join(value.split())

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"min": 0}


@dataclass(frozen=True, kw_only=True)
class Cells(Setting):
    """A set of cells as "3,5,9-12"; empty means that the seed chooses."""

    kind: ClassVar[str] = "cells"
    max: int = 64

    def parse(self, value: Any) -> str:
        wanted = f'cells from 0 to {self.max - 1}, such as "3,5,9-12"'
        if isinstance(value, list | tuple):
            value = ",".join(str(v) for v in value)
        if not isinstance(value, str) or len(value) > 400:
            raise self.refuse(value, wanted)
        cells: set[int] = set()
        for part in (p.strip() for p in value.split(",") if p.strip()):
            ends = part.split("-")
            if len(ends) > 2 or not all(e.isascii() and e.isdigit() and len(e) < 6 for e in ends):
                raise self.refuse(value, wanted)
            low, high = int(ends[0]), int(ends[-1])
            if not 0 <= low <= high < self.max:
                raise self.refuse(value, wanted)
            cells.update(range(low, high + 1))
        return ",".join(str(c) for c in sorted(cells))

    @staticmethod
    def list(value: str) -> list[int]:
        """The cells of a parsed value, ascending."""
        return [int(c) for c in value.split(",") if c]


@dataclass(frozen=True, kw_only=True)
class Order(Setting):
    """One of `choices`, or painted cells "27,28,35-40": their sequence is kept, ranges run upwards."""

    kind: ClassVar[str] = "order"
    cells: int = 64
    choices: dict[str, str] = field(default_factory=dict)

    def parse(self, value: Any) -> str:
        if isinstance(value, str) and value in self.choices:
            return value
        wanted = f'one of {", ".join(self.choices)}, or cells from 0 to {self.cells - 1} such as "27,28,35-40"'
        if not isinstance(value, str) or len(value) > 400 or not (painted := self._painted(value, wanted)):
            raise self.refuse(value, wanted)
        if len(painted) != len(set(painted)):
            raise Refused(f"{self.name} names a cell twice; each is filled once", self.name)
        return ",".join(str(cell) for cell in painted)

    def _painted(self, value: str, wanted: str = "") -> list[int]:
        """Cells as painted."""
        out: list[int] = []
        one = Cells(name=self.name, default="", label="", help="", max=self.cells)
        for part in value.split(","):
            try:
                out += one.list(one.parse(part))
            except Refused:
                raise self.refuse(value, wanted) from None
        return out

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"cells": self.cells}


Decode = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One decode loop of an exhibit: `decode(settings, noise, meter) -> Iterator[Event]`.

    interventions: what a user may change (`force`, `reseed`). vocabulary(settings): word -> id, for forced words.
    nets: what is loaded before t = 0. warm: what else must not be paid for by the lane that comes first, such as
    the compiled grammar. Both are functions of the settings. workers: it has real ones, so it runs after the other
    lanes, alone, and its clock is the wall's.
    """

    decode: Decode
    title: str
    line: str
    nets: Callable[[SimpleNamespace], list[str]]
    default: bool = True
    interventions: tuple[str, ...] = ("force", "reseed")
    vocabulary: Callable[[SimpleNamespace], dict[str, int]] | None = None
    warm: Callable[[SimpleNamespace], Any] | None = None
    workers: bool = False


@dataclass(frozen=True, kw_only=True)
class LaneRef:
    """Another exhibit's lane, borrowed whole, with some of its settings fixed."""

    slug: str
    lane: str
    settings: dict[str, Any] = field(default_factory=dict)
    title: str = ""
    line: str = ""
    default: bool = True


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper and how it is measured here.

    kind: exact, law, count, ratio, difference, trend or time (DESIGN 4). must: it has to hold.
    paper: {value, unit, where}. measure(trial) yields growing results; see `runtime.Trial`.
    """

    id: str
    title: str
    text: str
    kind: str
    must: bool
    measure: Callable[[Any], Measured]
    unit: str = ""
    baseline: str = ""
    paper: dict[str, Any] = field(default_factory=dict)
    threshold: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Beat:
    """A stop of the tour. `look`: stage, timeline, inspector or claim; `when`: fields of the event to stop at.

    only: settings outside which the sentence would be wrong; the stop is left out of other runs.
    """

    text: str
    look: str = "stage"
    when: dict[str, Any] = field(default_factory=dict)
    only: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer:
    text: str
    why: str
    right: bool = False


@dataclass(frozen=True, kw_only=True)
class Question:
    text: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Paper:
    title: str
    authors: str
    venue: str
    arxiv: str
    links: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One paper (or baseline) on show. `map`: what, order, at_once, revisable. `seed`: of the recorded run."""

    slug: str
    title: str
    line: str
    paper: Paper
    family: str
    map: dict[str, Any]
    settings: tuple[Setting, ...]
    lanes: dict[str, Lane | LaneRef]
    beats: tuple[Beat, ...]
    question: Question
    claims: tuple[Claim, ...]
    difficulty: int
    minutes: int
    seed: int = 1
    why_this_seed: str = ""
    recorded: dict[str, Any] = field(default_factory=dict)
    # settings that contradict one another (a blank past the story's end) are refused here
    together: Callable[[SimpleNamespace, int], None] | None = None

    def parse(self, given: dict[str, Any] | None) -> SimpleNamespace:
        """All settings, checked, defaults filled in. Raises Refused for unknown names and bad values."""
        known = {s.name: s for s in self.settings}
        for name in given or {}:
            if name not in known:
                raise Refused(f"{self.slug} has no setting {str(name)[:40]!r}; it has {', '.join(known)}",
                              str(name)[:40])
        parsed = SimpleNamespace(**{n: s.parse((given or {}).get(n, s.default)) for n, s in known.items()})
        for s in self.settings:
            if isinstance(s, Words) and s.check and (text := getattr(parsed, s.name)):
                try:
                    s.check(text, parsed)
                except Refused as error:
                    raise Refused(str(error), s.name) from None
        return parsed

    def default_lanes(self) -> list[str]:
        return [k for k, lane in self.lanes.items() if lane.default]

    def describe(self) -> dict[str, Any]:
        """Everything that the page shows of this exhibit, as plain data."""
        p = self.paper
        return {
            "slug": self.slug, "title": self.title, "line": self.line, "family": self.family, "map": self.map,
            "paper": {"title": p.title, "authors": p.authors, "venue": p.venue, "arxiv": p.arxiv, "links": p.links},
            "settings": [s.describe() for s in self.settings],
            "lanes": [{"id": k, "title": lane.title, "line": lane.line, "default": lane.default}
                      for k, lane in self.lanes.items()],
            "interventions": {k: list(getattr(lane, "interventions", ())) for k, lane in self.lanes.items()},
            "beats": [{"key": f"{self.slug}.beat.{i + 1}", "text": b.text, "look": b.look, "when": b.when,
                       "only": b.only}
                      for i, b in enumerate(self.beats)],
            "question": {"text": self.question.text,
                         "answers": [{"text": a.text, "right": a.right, "why": a.why} for a in self.question.answers]},
            "claims": [{"id": c.id, "title": c.title, "text": c.text, "kind": c.kind, "must": c.must}
                       for c in self.claims],
            "difficulty": self.difficulty, "minutes": self.minutes, "seed": self.seed,
            "why_this_seed": self.why_this_seed, "recorded": self.recorded,
        }
