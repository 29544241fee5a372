"""The closed vocabulary of what an engine may say, the trace file, and the rules that a trace must obey.

A lane yields these events; the runtime stamps `lane`, `n` (0, 1, … within the lane) and `t` (ms of the
lane's own compute). Everything on screen is a function of the events so far, so an event sits in the
algorithm at the line where its fact is computed.

`cells` are ints or half-open `[start, stop]` pairs; per-cell fields have one entry per expanded cell.
One event is one simultaneous decision. Values of a `tokens` or `strip` canvas are strings, elsewhere numbers.
`dists` is `{name: [{"top": [[value, p], …], "rest": p}, …]}`, one distribution per cell, or null.

Read next: `noise.py` (where randomness comes from), `runtime.py` (who drives a lane).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Iterable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from engines.errors import BadTrace

VERSION = 1
Cells = list[Any]
Dists = dict[str, list[dict[str, Any]]]

CANVASES = ("tokens", "strip", "grid", "pyramid", "frames", "series", "list", "plane", "graph")
UNITS = ("scale", "band", "block", "group", "set", "round", "step", "segment", "frame", "chain")
MODES = ("prefill", "step", "verify", "commit")
ORIGINS = ("sampled", "accepted", "repaired", "forced")
WHY = ("remask", "backspace", "discard", "prune", "evict")
REASONS = ("finished", "cancelled", "ceiling")


@dataclass(frozen=True, kw_only=True)
class Event:
    """Root of all kinds. `lane`, `n` and `t` are stamped by the runtime, never by a lane."""

    kind: ClassVar[str] = "event"
    lane: str = ""
    n: int = -1
    t: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A dict of plain values, floats with 6 significant digits; optional fields left at None are absent."""
        out: dict[str, Any] = {"kind": self.kind}
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None:
                out[f.name] = _plain(value)
        return out


@dataclass(frozen=True, kw_only=True)
class Begin(Event):
    """A lane starts: its canvases, the networks that it may call, and the cells that were given.

    Roles of networks: target (its calls are the lane's), draft, head (called many times for one call of the target),
    decoder (tokens into pictures), encoder (the other way), sketch (previews).
    """

    kind: ClassVar[str] = "begin"
    title: str
    canvases: list[dict[str, Any]]
    nets: list[dict[str, Any]] = field(default_factory=list)
    given: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Phase(Event):
    """A unit of the algorithm starts or ends. A step that has a Phase and no Forward cost nothing."""

    kind: ClassVar[str] = "phase"
    unit: str
    index: int
    state: str
    of: int | None = None
    row: int | None = None
    cells: Cells | None = None


@dataclass(frozen=True, kw_only=True)
class Forward(Event):
    """One evaluation of a network. A cell in `reads` but not in `computes` came out of a cache.

    `calls`: invocations of this net so far in this lane; `nfe`: evaluations of one sample so far. A lane with real
    workers says which of them (from 0) did it, and when it began, on a clock that they share.
    """

    kind: ClassVar[str] = "forward"
    net: str
    mode: str
    reads: Cells
    computes: Cells
    predicts: Cells
    rows: int = 1
    calls: int = 0
    nfe: int = 0
    ms: float = 0.0
    cache_bytes: int = 0
    worker: int | None = None
    start_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Propose(Event):
    """Drafts. Beams are many nodes on one cell; `parent` -1 is the committed text."""

    kind: ClassVar[str] = "propose"
    cells: Cells
    values: list[Any]
    p: list[float]
    canvas: str | None = None
    dists: Dists | None = None
    node: list[int] | None = None
    parent: list[int] | None = None
    score: list[float] | None = None
    origin: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Verdict(Event):
    """A draft was judged: `ratio` is what it must beat, `u` the uniform number that was drawn."""

    cells: Cells
    p: list[float]
    q: list[float]
    ratio: list[float]
    u: list[float]
    canvas: str | None = None
    node: list[int] | None = None
    dists: Dists | None = None


@dataclass(frozen=True, kw_only=True)
class Accept(_Verdict):
    """The draft may stay. The canvas itself changes only by Commit and Withdraw."""

    kind: ClassVar[str] = "accept"


@dataclass(frozen=True, kw_only=True)
class Reject(_Verdict):
    """The draft must go; `replacement` is the value drawn in its stead."""

    kind: ClassVar[str] = "reject"
    replacement: list[Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Commit(Event):
    """Cells now hold these values (null for a continuous token: its picture is a Preview)."""

    kind: ClassVar[str] = "commit"
    cells: Cells
    values: list[Any]
    p: list[float]
    origin: str
    canvas: str | None = None
    entropy: list[float] | None = None
    dists: Dists | None = None


@dataclass(frozen=True, kw_only=True)
class Withdraw(Event):
    """A value or a draft is taken back."""

    kind: ClassVar[str] = "withdraw"
    cells: Cells
    why: str
    canvas: str | None = None
    node: list[int] | None = None


@dataclass(frozen=True, kw_only=True)
class Preview(Event):
    """An array to look at, base64, at most 64 kB; never counted in the lane's clock.

    net: the network that sketched it, where it is not the decoder's own picture.
    """

    kind: ClassVar[str] = "preview"
    name: str
    level: int
    shape: list[int]
    dtype: str
    data: str
    box: list[int] | None = None
    net: str | None = None


@dataclass(frozen=True, kw_only=True)
class Measure(Event):
    """A number; with `x` a point of a curve, with `cells` a heat map."""

    kind: ClassVar[str] = "measure"
    name: str
    value: float
    unit: str
    x: float | None = None
    low: float | None = None
    high: float | None = None
    cells: Cells | None = None
    values: list[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Note(Event):
    """One plain sentence about what just happened: narration, and what a screen reader says."""

    kind: ClassVar[str] = "note"
    key: str
    text: str
    args: dict[str, Any] = field(default_factory=dict)
    cells: Cells | None = None


@dataclass(frozen=True, kw_only=True)
class Done(Event):
    """The lane is over. Appended by the runtime, exactly once, unless it failed."""

    kind: ClassVar[str] = "done"
    reason: str
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """The lane broke. `fix` says what to change."""

    kind: ClassVar[str] = "failed"
    code: str
    message: str
    fix: str = ""


KINDS: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in (Begin, Phase, Forward, Propose, Accept, Reject, Commit, Withdraw, Preview, Measure, Note, Done,
                Failed)
}
_CLOSED = {
    ("phase", "unit"): UNITS,
    ("phase", "state"): ("start", "end"),
    ("forward", "mode"): MODES,
    ("commit", "origin"): ORIGINS,
    ("withdraw", "why"): WHY,
    ("preview", "dtype"): ("png", "jpeg", "u8", "f16"),
    ("done", "reason"): REASONS,
}


# What a decoding loop is: a generator of events that returns the summary of its Done.
Steps = Generator[Event, None, dict[str, Any]]


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):  # a numpy or torch scalar that slipped through
        return _plain(value.item())
    raise TypeError(f"{type(value).__name__} is no event value")


def from_json(raw: Any) -> Event:
    """The event that `to_json` wrote. Raises BadTrace for unknown kinds, fields or closed words."""
    if not isinstance(raw, dict) or raw.get("kind") not in KINDS:
        kind = raw.get("kind") if isinstance(raw, dict) else type(raw).__name__
        raise BadTrace(f"unknown event kind {str(kind)[:40]!r}; known are {', '.join(KINDS)}")
    cls = KINDS[raw["kind"]]
    given = {k: v for k, v in raw.items() if k != "kind"}
    known = {f.name for f in fields(cls)}
    if extra := sorted(set(given) - known):
        raise BadTrace(f"event {cls.kind!r} has no field {extra[0][:40]!r}")
    required = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
    if missing := sorted(required - set(given)):
        raise BadTrace(f"event {cls.kind!r} lacks its field {missing[0]!r}")
    for name, allowed in ((n, a) for (kind, n), a in _CLOSED.items() if kind == cls.kind):
        if given[name] not in allowed:
            raise BadTrace(f"event {cls.kind!r}: {name} is {given[name]!r}, not one of {', '.join(allowed)}")
    return cls(**given)


def expand(cells: Cells | None) -> list[int]:
    """`[0, [3, 6]]` -> `[0, 3, 4, 5]`."""
    out: list[int] = []
    for c in cells or []:
        if isinstance(c, int):
            out.append(c)
        else:
            out.extend(range(c[0], c[1]))
    return out


def spans(cells: Iterable[int]) -> Cells:
    """The shortest spelling of ascending runs: `[0, 1, 2, 5]` -> `[[0, 3], 5]`."""
    out: Cells = []
    run: list[int] = []
    for c in [*cells, None]:
        if run and c == run[-1] + 1:
            run.append(c)
            continue
        if len(run) > 1:
            out.append([run[0], run[-1] + 1])
        else:
            out.extend(run)
        run = [] if c is None else [c]
    return out


def canvas_size(canvas: dict[str, Any]) -> int:
    """How many cells a canvas has, over all its rows."""
    shape, kind = canvas["shape"], canvas["kind"]
    if kind in ("tokens", "strip", "list", "series"):
        n = shape[0]
    elif kind == "grid":
        n = shape[0] * shape[1]
    elif kind == "pyramid":
        n = sum(h * w for h, w in shape)
    elif kind == "frames":
        n = shape[0] * shape[1] * shape[2]
    elif kind == "plane":
        n = shape["n"]
    else:
        n = len(shape["nodes"])
    return int(n * canvas.get("rows", 1))


def check(events: Iterable[Event]) -> None:
    """Raise BadTrace where a trace contradicts itself.

    Per lane: one Begin, first; `n` counts 0, 1, …; `t` never falls; cells exist and follow the table of
    DESIGN 3 (Commit only on a masked or proposed cell, a verdict only on a proposed one, …); counters of
    each net never fall; exactly one Done or Failed, last.
    """
    lanes: dict[str, list[Event]] = {}
    for event in events:
        lanes.setdefault(event.lane, []).append(event)
    if not lanes:
        raise BadTrace("the trace has no events")
    for lane, own in lanes.items():
        _check_lane(lane, own)


def _check_lane(lane: str, events: list[Event]) -> None:
    def fail(event: Event, why: str) -> None:
        raise BadTrace(f"lane {lane!r}, event {event.n} ({event.kind}): {why}")

    first = events[0]
    if not isinstance(first, Begin):
        if isinstance(first, Failed) and len(events) == 1:
            return
        fail(first, "a lane opens with begin")
        return
    size = {c["id"]: canvas_size(c) for c in first.canvases}
    main = first.canvases[0]["id"]
    state: dict[tuple[str, int], str] = {}
    nodes: dict[tuple[str, int], set[int]] = {}
    if first.given:
        for c in expand(first.given["cells"]):
            state[(first.given.get("canvas", main), c)] = "given"
    counts: dict[str, tuple[int, int]] = {}
    t = 0.0
    for i, event in enumerate(events):
        last = i == len(events) - 1
        if event.n != i:
            fail(event, f"n should be {i}")
        if event.t < t - 1e-9:
            fail(event, f"t falls from {t} to {event.t}")
        t = event.t
        if isinstance(event, Done | Failed) != last:
            fail(event, "a lane ends once, with done or failed")
        if i and isinstance(event, Begin):
            fail(event, "a lane begins once")
        if isinstance(event, Forward):
            calls, nfe = counts.get(event.net, (0, 0))
            if event.calls <= calls or event.nfe < nfe:
                fail(event, f"counters of {event.net} must rise")
            counts[event.net] = (event.calls, event.nfe)
            for c in expand(event.computes) + expand(event.predicts) + expand(event.reads):
                if not 0 <= c < size[main]:
                    fail(event, f"cell {c} is not on the canvas of {size[main]} cells")
        if not isinstance(event, Propose | Accept | Reject | Commit | Withdraw):
            continue
        canvas = event.canvas or main
        if canvas not in size:
            fail(event, f"unknown canvas {canvas!r}")
        cells = expand(event.cells)
        ids = getattr(event, "node", None) or [0] * len(cells)
        for name in ("values", "p", "q", "ratio", "u", "replacement", "entropy", "node", "parent", "score"):
            column = getattr(event, name, None)
            if column is not None and len(column) != len(cells):
                fail(event, f"{name} has {len(column)} entries for {len(cells)} cells")
        for name, column in (event.dists or {}).items() if not isinstance(event, Withdraw) else ():
            if len(column) != len(cells):
                fail(event, f"dists.{name} has {len(column)} entries for {len(cells)} cells")
        for cell, node in zip(cells, ids, strict=True):
            if not 0 <= cell < size[canvas]:
                fail(event, f"cell {cell} is not on the canvas of {size[canvas]} cells")
            key = (canvas, cell)
            now = state.get(key, "masked")
            if isinstance(event, Propose):
                if now in ("given", "committed"):
                    fail(event, f"cell {cell} is {now} and cannot be proposed")
                state[key] = "proposed"
                nodes.setdefault(key, set()).add(node)
            elif isinstance(event, Accept | Reject):
                if node not in nodes.get(key, ()):
                    fail(event, f"cell {cell} has no draft to judge")
                state[key] = "accepted" if isinstance(event, Accept) else "rejected"
            elif isinstance(event, Commit):
                if now in ("given", "committed"):
                    fail(event, f"cell {cell} is {now} already; withdraw it first")
                state[key] = "committed"
                nodes.pop(key, None)
            elif event.node is not None and node in nodes.get(key, ()):
                nodes[key].discard(node)
                if not nodes[key]:
                    state[key] = "masked"
            elif now in ("masked", "given"):
                fail(event, f"cell {cell} is {now}: nothing to withdraw")
            else:
                state[key] = "masked"
                nodes.pop(key, None)


def digest(events: Iterable[Event]) -> str:
    """sha256 over each lane's Commits and Withdraws: what was written and taken back, in which order.

    Lanes are hashed in the order of their names, so how they were interleaved means nothing.
    """
    lanes: dict[str, Any] = {}
    main: dict[str, str] = {}
    for e in events:
        if isinstance(e, Begin):
            main[e.lane] = e.canvases[0]["id"]
        if isinstance(e, Commit | Withdraw):
            values = _plain(e.values) if isinstance(e, Commit) else None
            what = e.origin if isinstance(e, Commit) else e.why
            row = [e.lane, e.canvas or main.get(e.lane, ""), e.kind, expand(e.cells), values, what]
            lanes.setdefault(e.lane, hashlib.sha256()).update(json.dumps(row).encode())
    whole = hashlib.sha256()
    for lane in sorted(lanes):
        whole.update(lanes[lane].digest())
    return whole.hexdigest()


def write_trace(header: dict[str, Any], events: list[Event]) -> str:
    """A trace file: JSON lines, the header first. The digest is computed here."""
    head = {"trace": VERSION, **header, "digest": digest(events)}
    return "\n".join(json.dumps(x, ensure_ascii=False, separators=(",", ":"))
                     for x in (head, *(e.to_json() for e in events))) + "\n"


MAX_BYTES, MAX_EVENTS = 16_000_000, 60_000


def read_trace(text: str) -> tuple[dict[str, Any], list[Event]]:
    """Header and events of a trace file. Raises BadTrace for another version, damage, or a broken rule."""
    if len(text) > MAX_BYTES:
        raise BadTrace(f"the trace has {len(text):,} characters; the limit is {MAX_BYTES:,}")
    rows: list[Any] = []
    for i, line in enumerate(x for x in text.split("\n") if x.strip()):
        if i > MAX_EVENTS:
            raise BadTrace(f"the trace has more than {MAX_EVENTS:,} events")
        try:
            rows.append(json.loads(line))
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadTrace(f"line {i + 1} is not JSON") from error
    if not rows or not isinstance(rows[0], dict) or "trace" not in rows[0]:
        raise BadTrace('this is no trace file: its first line must be a header with "trace"')
    head = rows[0]
    if head["trace"] != VERSION:
        raise BadTrace(f"the trace has version {str(head['trace'])[:20]}; this Unfold reads version {VERSION}")
    try:
        events = [from_json(r) for r in rows[1:]]
        check(events)
        if head.get("digest") != digest(events):
            raise BadTrace("the digest does not fit the events: the file was changed after it was written")
    except (TypeError, KeyError, AttributeError, IndexError, ValueError) as error:
        raise BadTrace(f"the trace is damaged ({type(error).__name__})") from error
    return head, events


def of_lane(events: Iterable[Event], lane: str) -> Iterator[Event]:
    """Only the events of one lane, in order."""
    return (e for e in events if e.lane == lane)
