"""Who drives a lane: metered networks, the scheduler, ceilings, cancel, and the measuring of claims.

`run` is the one way to run an exhibit: page, command line, tests, claims and recordings all drain it.
It always advances the lane whose own compute clock is smallest, so lanes move at their true relative
speed. Who may be stopped, and when, is asked in one place: before each evaluation of a network.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, TypeVar

import torch

from engines import events as ev
from engines import weights
from engines.errors import Cancelled, Refused, UnfoldError, Unmetered
from engines.exhibit import Claim, Exhibit, Lane
from engines.noise import Noise

torch.set_num_threads(1)  # barriers between threads cost more than they give at these widths

MAX_LANE_MS, MAX_LANE_EVENTS, MAX_BYTES = 60_000.0, 20_000, 16_000_000
Cancel = Callable[[], bool]
A = TypeVar("A")
B = TypeVar("B")


def _never() -> bool:
    return False


class Net:
    """A network behind its meter: every call is timed, counted, and must be followed by its Forward event."""

    def __init__(self, name: str, session: Any, meter: Meter):
        self.name = name
        self.session = session
        self.calls = self.nfe = 0
        self._meter = meter
        self._ms: float | None = None

    def __call__(self, *args: Any, nfe: int = 1, calls: int = 1, **kwargs: Any) -> Any:
        """Evaluate. `nfe`: evaluations of one sample that this is worth (a guidance pair: 2); `calls`: passes through
        the network, where one evaluation makes many."""
        if self._ms is not None:
            raise Unmetered(f"{self.name} was called again before the Forward of its last call was yielded")
        self._meter.ask()
        start = self._meter.clock()
        with torch.inference_mode():
            out = self.session(*args, **kwargs)
        self._ms = (self._meter.clock() - start) / 1e6
        self.calls += calls
        self.nfe += nfe
        return out

    def forward(self, reads: Iterable[int], computes: Iterable[int], predicts: Iterable[int], mode: str) -> ev.Forward:
        """The event of the call just made. Cells of the main canvas; the counts are the meter's."""
        if self._ms is None:
            raise Unmetered(f"{self.name} has a Forward to yield but was not called")
        ms, self._ms = self._ms, None
        return ev.Forward(net=self.name, mode=mode, reads=ev.spans(reads), computes=ev.spans(computes),
                          predicts=ev.spans(predicts), calls=self.calls, nfe=self.nfe, ms=ms,
                          cache_bytes=int(getattr(self.session, "cache_bytes", 0)))


class Meter:
    """A lane's only way to networks, and the keeper of its clock."""

    def __init__(self, provide: Callable[[str], Any], cancel: Cancel = _never, quiet: bool = False):
        self._provide = provide
        self._cancel = cancel
        # Nobody looks: lanes leave out what is not a part of their algorithm, such as the grammar's own answer.
        self.quiet = quiet
        self.nets: dict[str, Net] = {}
        self.preview_ns = 0
        # Of the thread that runs the lane; of the wall where a lane has workers of its own.
        self.clock: Callable[[], int] = time.thread_time_ns

    def ask(self) -> None:
        """Raise Cancelled if somebody stopped the run."""
        if self._cancel():
            raise Cancelled("stopped")

    def net(self, name: str) -> Net:
        """The metered network of this name; one decode session per lane."""
        if name not in self.nets:
            self.nets[name] = Net(name, self._provide(name), self)
        return self.nets[name]

    def card(self, name: str, role: str) -> dict[str, Any]:
        """The entry of a network in Begin."""
        session = self.net(name).session
        return {"id": name, "role": role, "params": int(getattr(session, "params", 0)),
                "bytes": int(getattr(session, "bytes", 0))}

    @contextmanager
    def preview(self) -> Iterator[None]:
        """Decoding a preview: not a part of the algorithm, so not of the lane's clock."""
        start = self.clock()
        try:
            yield
        finally:
            self.preview_ns += self.clock() - start


@dataclass
class _Open:
    """A lane that is running."""

    name: str
    title: str
    steps: Iterator[ev.Event]
    noise: Noise
    meter: Meter
    alone: bool = False
    n: int = 0
    ns: int = 0
    size: int = 0
    over: bool = False


def resolve(exhibit: str | Exhibit) -> Exhibit:
    """The exhibit of this slug. Raises Refused, naming those that exist."""
    if isinstance(exhibit, Exhibit):
        return exhibit
    from engines import catalog  # noqa: PLC0415 - the catalogue imports families, which import this file

    if exhibit not in catalog.EXHIBITS:
        raise Refused(f"there is no exhibit {str(exhibit)[:40]!r}; there are {', '.join(catalog.EXHIBITS)}", "exhibit")
    return catalog.EXHIBITS[exhibit]


def run(
    exhibit: str | Exhibit,
    settings: dict[str, Any] | None = None,
    seed: int | None = None,
    interventions: Iterable[dict[str, Any]] = (),
    cancel: Cancel | None = None,
    lanes: Iterable[str] | None = None,
    nets: Callable[[str], Any] | None = None,
    quiet: bool = False,
) -> Iterator[ev.Event]:
    """The events of a run: a pure function of (exhibit, settings, seed, interventions) but for `t` and `*_ms`.

    lanes: which of them, default those marked so. nets: name -> decode session, default the stored weights; tests
    hand in table models. quiet: without what only a viewer needs, for timing. Everything a user gave is checked before
    the first event; raises Refused. Later trouble in a lane becomes its Failed event and the other lanes go on.
    """
    exhibit = resolve(exhibit)
    parsed = exhibit.parse(settings)
    seed = check_seed(exhibit.seed if seed is None else seed)
    chosen = check_lanes(exhibit, lanes)
    changes = check_interventions(exhibit, list(interventions), chosen, parsed)
    if exhibit.together:
        exhibit.together(parsed, seed)
    return _drive(exhibit, parsed, seed, changes, cancel or _never, chosen, nets or weights.session, quiet)


def check_seed(seed: Any) -> int:
    """A whole number from 0 to 2^53 - 1 (so that a browser can hold it)."""
    try:
        number = int(seed) if not isinstance(seed, bool | float) and len(str(seed)) < 20 else -1
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number < 2**53:
        raise Refused(f"seed is {str(seed)[:40]!r}; it must be a whole number from 0 to {2**53 - 1}", "seed")
    return number


def check_lanes(exhibit: Exhibit, lanes: Iterable[str] | None) -> list[str]:
    asked = exhibit.default_lanes() if lanes is None else list(lanes)
    for name in asked:
        if not isinstance(name, str) or name not in exhibit.lanes:
            raise Refused(f"{exhibit.slug} has no lane {str(name)[:40]!r}; it has {', '.join(exhibit.lanes)}", "lanes")
    chosen = list(dict.fromkeys(asked))
    if not chosen:
        raise Refused(f"choose a lane of {exhibit.slug}: {', '.join(exhibit.lanes)}", "lanes")
    return chosen


def lane_of(exhibit: Exhibit, name: str, settings: SimpleNamespace) -> tuple[Lane, SimpleNamespace]:
    """The lane and the settings that it runs with; a LaneRef is followed to the exhibit that owns it."""
    lane = exhibit.lanes[name]
    if isinstance(lane, Lane):
        return lane, settings
    owner = resolve(lane.slug)
    names = {s.name for s in owner.settings}
    shared = {k: v for k, v in vars(settings).items() if k in names}
    return lane_of(owner, lane.lane, owner.parse(shared | lane.settings))


def check_interventions(
    exhibit: Exhibit, given: list[Any], lanes: list[str], settings: SimpleNamespace
) -> list[dict[str, Any]]:
    """Interventions that exist, on lanes that support them. Cells and words are checked against the lane."""
    out = []
    if len(given) > 64:
        raise Refused(f"{len(given)} interventions; the limit is 64", "i")
    for change in given:
        if not isinstance(change, dict) or change.get("do") not in ("force", "reseed"):
            raise Refused('an intervention must be {"do": "force" or "reseed", …}', "i")
        lane = change.get("lane", "*")
        if not isinstance(lane, str) or (lane != "*" and lane not in exhibit.lanes):
            raise Refused(f"intervention: no lane {str(lane)[:40]!r}; there are {', '.join(exhibit.lanes)}", "i")
        whole = {"force": {"cell", "value"}, "reseed": {"seed"}}[change["do"]]
        if missing := whole - set(change):
            raise Refused(f"intervention {change['do']} lacks {sorted(missing)[0]!r}", "i")
        if extra := set(change) - whole - {"do", "lane", "after", "canvas"}:
            raise Refused(f"intervention {change['do']} has no field {str(sorted(extra)[0])[:40]!r}", "i")
        for key in {"cell", "after", "seed"} & set(change):
            if isinstance(change[key], bool) or not isinstance(change[key], int) or abs(change[key]) > 2**53:
                raise Refused(f"intervention: {key} must be a whole number", "i")
        for name in [lane] if lane != "*" else lanes:
            target, own = lane_of(exhibit, name, settings)
            if change["do"] not in target.interventions:
                raise Refused(f"lane {name!r} does not support {change['do']!r}", "i")
            words = target.vocabulary(own) if target.vocabulary else None
            if words is not None and change["do"] == "force" and not _among(change["value"], words):
                raise Refused(f"intervention: {str(change['value'])[:40]!r} is not a word of lane {name!r}", "i")
        out.append(change)
    return out


def _among(value: Any, words: dict[Any, int]) -> bool:
    """Is this one of the lane's values? Whatever somebody sent: a list cannot be looked up, and True is not 1."""
    return isinstance(value, str | int) and not isinstance(value, bool) and value in words


def _drive(
    exhibit: Exhibit, settings: SimpleNamespace, seed: int, changes: list[dict[str, Any]], cancel: Cancel,
    lanes: list[str], provide: Callable[[str], Any], quiet: bool,
) -> Iterator[ev.Event]:
    open_: list[_Open] = []
    for name in lanes:
        lane, own = lane_of(exhibit, name, settings)
        mine = tuple(c for c in changes if c.get("lane", "*") in ("*", name))
        noise, meter = Noise(seed, name, mine), Meter(provide, cancel, quiet)
        noise.vocabulary = lane.vocabulary(own) if lane.vocabulary else {}
        for net in lane.nets(own):
            meter.net(net)
        if lane.warm:
            lane.warm(own)
        if lane.workers:
            meter.clock = time.perf_counter_ns
        title = exhibit.lanes[name].title or lane.title
        open_.append(_Open(name, title, iter(lane.decode(own, noise, meter)), noise, meter, lane.workers))
    try:
        while running := [o for o in open_ if not o.over]:
            # min keeps the first of equals: lane order. A lane with workers would share the processor, so once it has
            # said what it is, it comes last.
            lane_ = min(running, key=lambda o: (o.alone and o.n > 0, o.ns))
            yield _advance(lane_, cancel)
    finally:
        for o in open_:
            o.steps.close()  # type: ignore[attr-defined]


def _check_cells(lane: _Open, begin: ev.Begin) -> None:
    """Refuse to force a cell that this canvas does not have."""
    size = ev.canvas_size(begin.canvases[0])
    for cell in lane.noise.forced_cells:
        if not 0 <= cell < size:
            raise Refused(f"intervention: cell {cell} does not exist; the page has cells 0 to {size - 1}", "i")


def _advance(lane: _Open, cancel: Cancel) -> ev.Event:
    """The next event of this lane, stamped."""
    previews, start = lane.meter.preview_ns, lane.meter.clock()
    event: ev.Event
    try:
        if cancel():
            raise Cancelled("stopped")
        event = next(lane.steps)
        if isinstance(event, ev.Begin):
            _check_cells(lane, event)
            event = replace(event, title=lane.title)
        if isinstance(event, ev.Preview):
            lane.size += len(event.data)
        lane.size += 300
        if lane.n >= MAX_LANE_EVENTS or lane.ns > MAX_LANE_MS * 1e6 or lane.size > MAX_BYTES:
            event = ev.Done(reason="ceiling", summary={"events": lane.n})
    except StopIteration as stop:
        event = ev.Done(reason="finished", summary=stop.value or {})
    except Cancelled:
        event = ev.Done(reason="cancelled")
    except Refused as error:
        if lane.n == 0:
            raise
        event = ev.Failed(code="refused", message=str(error), fix=error.fix)
    except UnfoldError as error:
        event = ev.Failed(code=type(error).__name__.lower(), message=str(error), fix=error.fix)
    except Exception as error:  # a lane of ours broke: the run goes on, the reason is told in one line
        event = ev.Failed(code="internal", message=f"{type(error).__name__}: {str(error)[:200]}",
                          fix="Try another seed; if it happens again, report it with this link.")
    lane.ns += max(0, lane.meter.clock() - start - (lane.meter.preview_ns - previews))
    lane.over = isinstance(event, ev.Done | ev.Failed)
    event = replace(event, lane=lane.name, n=lane.n, t=lane.ns / 1e6)
    lane.noise.now = lane.n
    lane.n += 1
    if isinstance(event, ev.Commit):
        for cell in ev.expand(event.cells):
            lane.noise.committed(cell)
    return event


def header(exhibit: str | Exhibit, settings: dict[str, Any] | None, seed: int | None,
           interventions: Iterable[dict[str, Any]] = (), lanes: Iterable[str] | None = None) -> dict[str, Any]:
    """The header of a run's trace: what was run, on which weights, by which machine."""
    exhibit = resolve(exhibit)
    parsed = exhibit.parse(settings)
    files = sorted({n for name in check_lanes(exhibit, lanes) for lane, own in [lane_of(exhibit, name, parsed)]
                    for n in lane.nets(own)})
    return {"exhibit": exhibit.slug, "settings": vars(parsed), "seed": exhibit.seed if seed is None else seed,
            "interventions": list(interventions), "models": {f: weights.sha256(f) for f in files},
            "runtime": machine()}


def machine() -> dict[str, Any]:
    """What `equal runtime` means: traces are promised to be equal only where this is."""
    # "onnx": by ONNX Runtime where a network's graph is stored, else by torch.
    return {"torch": torch.__version__, "device": "cpu", "backend": "onnx" if weights.graphs() else "eager",
            "threads": torch.get_num_threads(), "cpu": platform.machine()}


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch use n threads inside: for large batches where nothing is timed, or where threads are what is timed."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n)
        yield
    finally:
        torch.set_num_threads(before)


def abreast(work: Callable[[A], B], items: Iterable[A], cores: int = 2) -> Iterator[B]:
    """work(item) of every item, in their order, two at a time: for judged batches, where nothing is timed."""
    with ThreadPoolExecutor(cores) as pool:
        yield from pool.map(work, items)


@dataclass
class Trial:
    """What a claim's function gets: its own seeds, how much effort to spend, and what is put to the test.

    `subject` is None for the real thing; a test hands in a broken twin and expects the claim to fall.
    """

    exhibit: Exhibit
    claim: Claim
    effort: float = 1.0
    cancel: Cancel = _never
    seed: int | None = None
    subject: Any = None
    nets: Callable[[str], Any] | None = None
    started: float = field(default_factory=time.perf_counter)

    def seeds(self, n: int) -> range:
        """n seeds from hash(slug, id): never the ones that anybody tuned on."""
        key = f"{self.exhibit.slug}/{self.claim.id}/{self.seed or 0}"
        base = int.from_bytes(hashlib.sha256(key.encode()).digest()[:5], "little")
        return range(base, base + n)

    def size(self, n: int, at_least: int = 2) -> int:
        """n scaled by the effort asked for."""
        return max(at_least, round(n * self.effort))

    def run(
        self, seed: int, settings: dict[str, Any] | None = None, lane: str | None = None, quiet: bool = False
    ) -> list[ev.Event]:
        """All events of one run of the exhibit (or of one of its lanes); `quiet` where time is measured."""
        return list(run(self.exhibit, settings, seed, (), self.cancel, [lane] if lane else None, self.nets, quiet))

    def with_subject(self, lane: str) -> Trial:
        """The trial with this lane's decode loop replaced by its subject, if there is one."""
        if self.subject is None:
            return self
        twin = replace(self.exhibit.lanes[lane], decode=self.subject)  # type: ignore[call-arg]
        return replace(self, exhibit=replace(self.exhibit, lanes=self.exhibit.lanes | {lane: twin}))

    def ask(self) -> None:
        if self.cancel():
            raise Cancelled("stopped")


def measure(
    exhibit: str | Exhibit, effort: float = 1.0, seed: int | None = None, cancel: Cancel | None = None,
    claims: Iterable[str] | None = None, subject: Any = None, nets: Callable[[str], Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """ClaimResults (DESIGN 4) with growing n; the last of each claim has `final` true."""
    exhibit = resolve(exhibit)
    if not 0 < effort <= 100:
        raise Refused(f"effort is {effort}; it must be above 0 and at most 100", "effort")
    known = {c.id: c for c in exhibit.claims}
    wanted = list(known) if claims is None else list(claims)
    for name in wanted:
        if name not in known:
            raise Refused(f"{exhibit.slug} has no claim {str(name)[:40]!r}; it has {', '.join(known)}", "claim")
    for name in wanted:
        claim = known[name]
        trial = Trial(exhibit, claim, effort, cancel or _never, seed, subject, nets)
        held: dict[str, Any] | None = None
        for result in claim.measure(trial):
            if held:
                yield held
            held = complete(claim, result)
        if held is None:
            raise UnfoldError(f"claim {claim.id} of {exhibit.slug} measured nothing")
        yield held | {"final": True, "seconds": round(time.perf_counter() - trial.started, 2)}


def complete(claim: Claim, result: dict[str, Any]) -> dict[str, Any]:
    """A claim's own figures with what is known of the claim and of this machine."""
    base = {"id": claim.id, "text": claim.text, "kind": claim.kind, "must": claim.must, "paper": claim.paper,
            "unit": claim.unit, "baseline": claim.baseline}
    if claim.threshold:
        base["threshold"] = claim.threshold
        if "holds" not in result:
            result = result | {"holds": verdict(claim.threshold, result)}
    conditions = machine() | {"batch": 1} | result.get("conditions", {})
    return base | {"holds": None} | result | {"conditions": conditions, "final": False}


def verdict(threshold: dict[str, Any], result: dict[str, Any]) -> bool | None:
    """Compare the conservative end of the interval with the threshold; None where the interval spans it."""
    value, low, high = threshold["value"], result["low"], result["high"]
    tests = {
        ">": (low > value, high <= value), ">=": (low >= value, high < value),
        "<": (high < value, low >= value), "<=": (high <= value, low > value),
    }
    yes, no = tests[threshold["op"]]
    return True if yes else False if no else None
