"""Runs engines for many pages at once: a bounded pool, a fair queue, frames, cancel.

A run is computed in worker threads and watched from an async generator; nothing blocks the server's
loop while it waits. Live runs take turns on the workers, a new one first, so that a page sees its first
word soon however many others run; a run is a generator, so a turn may end after any event. What a worker
yields is cut into frames of about 1/30 s, except that the first painted event leaves at once, with all that
came before it. Every frame is kept for a while, so that a page that missed one (a slow phone merges updates)
can ask for it again.

Frames: `{"run", "seq", "header"?, "events"?, "claim"?, "queue"?, "refused"?, "failed"?, "end"?}`.
The end of a run that was stopped says how long that took here, in ms: `end.idle_ms`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from components.recorded import ROOT
from engines import events as ev
from engines.errors import Refused, UnfoldError

log = logging.getLogger("unfold")

SLOTS = 2  # engines that compute at once: one thread each
LIVE = 8  # runs that take turns on them; the others wait in the queue
TURN_S = 0.03  # how long a turn lasts; four times as long for a run that has not painted yet
MEASURES = 1  # of those slots, how many a long measurement may hold
WAITING = 64
SWITCH_S = 0.0001  # a worker that holds the interpreter lets the line have it after so long; Python's own is 5 ms
FRAME_S = 1 / 30  # for as many runs as there are slots; longer when more are live
PATIENCE_S = 0.12  # how long a run's beginning waits for its first painted event: drawing twice takes a page longer
HEAD_START_S = 0.03  # the engine rests while the first painted event is sent: both need the interpreter
BEAT_S = 5.0  # without news for so long, an empty frame shows that the server lives
WARM_S = 2.0  # after the start, until networks are loaded unasked
RUN_S, MEASURE_S = 75.0, 240.0  # deadlines of a run's own turns, beyond the engine's own ceilings
KEPT_RUNS, KEPT_FRAMES = 32, 4_096
PAINTED = ("propose", "commit", "preview")
RUN_ID = re.compile(r"[0-9a-f-]{16,64}")


@dataclass(eq=False)
class Job:
    """One run or measurement of one page. `id` is the page's own, unguessable, and is all that Stop needs."""

    id: str
    session: str
    kind: str
    work: Callable[[Job], Iterator[None]]
    limit_s: float
    loop: asyncio.AbstractEventLoop
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    urgent: asyncio.Event = field(default_factory=asyncio.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    frames: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_FRAMES))
    pending: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    seq: int = 0
    cancelled: bool = False
    stopped_at: float | None = None  # when Stop came
    over: bool = False
    ahead: int = 0
    live: bool = False
    painted: bool = False
    steps: Iterator[None] = iter(())
    since: float | None = None  # when the turn began that it has now
    used: float = 0.0  # seconds of its turns so far

    def stopped(self) -> bool:
        """Asked by the engine before each evaluation."""
        now = 0.0 if self.since is None else time.monotonic() - self.since
        return self.cancelled or self.used + now > self.limit_s

    def push(self, event: dict[str, Any]) -> None:
        """An event of the engine, from the worker's thread."""
        with self.lock:
            waiting = bool(self.pending)
            self.pending.append(event)
        first = not self.painted and event["kind"] in PAINTED
        self.painted = self.painted or first
        if first or not waiting:  # else the loop knows already; waking it costs more than the event itself
            self.poke(first)
        if first:
            time.sleep(HEAD_START_S)

    def say(self, **fields: Any) -> None:
        """Something beside events for the next frame: header, claim, refused, failed, end."""
        with self.lock:
            self.extra.update(fields)
        self.poke(False)

    def poke(self, urgent: bool) -> None:
        def ring() -> None:
            self.wake.set()
            if urgent:
                self.urgent.set()

        try:
            self.loop.call_soon_threadsafe(ring)
        except RuntimeError:  # the server is closing: nobody is left to tell
            self.cancelled = True

    def frame(self, **fields: Any) -> dict[str, Any] | None:
        """What gathered since the last frame, numbered; None if that is nothing."""
        with self.lock:
            if self.pending:
                fields["events"], self.pending = self.pending, []
            fields |= self.extra
            self.extra = {}
            if self.stopped_at is not None and "end" in fields:
                waited = 1e3 * (time.monotonic() - self.stopped_at)
                fields["end"] = {**fields["end"], "idle_ms": round(waited, 1)}
            if not fields:
                return None
            made = {"run": self.id, "seq": self.seq, **fields}
            self.seq += 1
            self.frames.append(made)
            return made


class Pool:
    """A few worker threads, the runs that take turns on them, and one queue, first come first served.

    One run and one measurement a page.
    """

    def __init__(self, slots: int = SLOTS, measures: int = MEASURES, live: int = LIVE):
        self.slots, self.measures, self.live = slots, measures, live
        self.jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: list[Job] = []
        self._ready: list[Job] = []  # live, and no worker has it at this moment
        self._live: list[Job] = []
        self._cond = threading.Condition()
        self._started = False
        # a Stop can overtake the Run that it stops
        self._stopped_early: deque[str] = deque(maxlen=64)

    async def stream(self, job: Job) -> AsyncIterator[dict[str, Any]]:
        """The frames of a job, from queueing to its end. Leaving the iterator stops the job."""
        try:
            self._submit(job)
            last = began = 0.0
            while True:
                beat = False
                try:
                    await asyncio.wait_for(job.wake.wait(), BEAT_S)
                except TimeoutError:
                    beat = True
                # sending a frame costs as much as some events: a crowd gets fewer, larger ones
                began = began or (time.monotonic() if job.live else 0.0)
                due = last + FRAME_S * max(1.0, len(self._live) / self.slots)
                if job.live and not job.painted:
                    due = max(due, began + PATIENCE_S)
                rest = due - time.monotonic()
                if rest > 0 and not job.urgent.is_set() and not job.over:
                    try:
                        await asyncio.wait_for(job.urgent.wait(), rest)
                    except TimeoutError:
                        pass
                job.wake.clear()
                job.urgent.clear()
                over = job.over  # read before the last events are taken
                queued = not job.live and not over
                news: dict[str, Any] = {"queue": {"ahead": job.ahead}} if queued else {}
                if beat and not news:
                    news = {"events": []}
                if frame := job.frame(**news):
                    last = time.monotonic()
                    yield frame
                if over:
                    return
        finally:
            job.cancelled = True
            self._forget_waiting(job)

    def cancel(self, run_id: str) -> bool:
        """Stop a run or measurement by its id. Harmless if it is over or unknown."""
        job = self.jobs.get(run_id)
        if job is None:
            self._stopped_early.append(run_id)
            return False
        job.stopped_at = job.stopped_at or time.monotonic()
        job.cancelled = True
        if not job.live:
            self._forget_waiting(job)
        return True

    def cancel_session(self, session: str, kind: str | None = None) -> None:
        """Stop what a page has running: it was closed, or it asks for a newer run."""
        for job in list(self.jobs.values()):
            if job.session == session and kind in (None, job.kind) and not job.over:
                self.cancel(job.id)

    def refetch(self, run_id: str, start: int) -> list[dict[str, Any]]:
        """The frames of a run from number `start` on, as far as they are still kept.

        What gathered since the last one comes too: of a run whose line broke nobody else takes it.
        """
        job = self.jobs.get(run_id)
        if job is None:
            return []
        job.frame()
        with job.lock:
            return [f for f in job.frames if f["seq"] >= start]

    def _submit(self, job: Job) -> None:
        with self._cond:
            if not self._started:
                self._started = True
                sys.setswitchinterval(SWITCH_S)
                for i in range(self.slots):
                    threading.Thread(target=self._work, name=f"engine-{i}", daemon=True).start()
            if len(self._waiting) >= WAITING:
                raise Refused("too many runs are waiting; try again in a minute")
            self.jobs[job.id] = job
            for old in [j for j in self.jobs.values() if j.over][:-KEPT_RUNS]:
                del self.jobs[old.id]
            job.cancelled = job.cancelled or job.id in self._stopped_early
            self._waiting.append(job)
            self._admit()
        if not job.live:
            job.poke(False)

    def _admit(self) -> None:
        """Let runs that wait take part, as far as there is room. Called with the lock held."""
        for job in list(self._waiting):
            measures = sum(j.kind == "measure" for j in self._live)
            if len(self._live) < self.live and (job.kind == "run" or measures < self.measures):
                self._waiting.remove(job)
                self._live.append(job)
                self._ready.append(job)
                job.steps, job.live = job.work(job), True
        for i, job in enumerate(self._waiting):
            if job.ahead != i:
                job.ahead = i
                job.poke(False)
        self._cond.notify_all()

    def _forget_waiting(self, job: Job) -> None:
        with self._cond:
            if job in self._waiting:
                self._waiting.remove(job)
                job.say(end={"reason": "cancelled"})
                job.over = True
                job.poke(True)
                self._admit()

    def _next(self) -> Job | None:
        """Whose turn it is: of those that were stopped, else of those that have had none yet, the first."""
        return min(self._ready, key=lambda j: (not j.cancelled, j.used > 0), default=None)

    def _work(self) -> None:
        while True:
            with self._cond:
                while (job := self._next()) is None:
                    self._cond.wait()
                self._ready.remove(job)
            job.since = time.monotonic()
            over = self._turn(job)
            with self._cond:
                job.used += time.monotonic() - job.since
                job.since = None
                if over:
                    job.over = True
                    self._live.remove(job)
                    self._admit()
                else:
                    self._ready.append(job)
                    self._cond.notify()
            if over:
                job.poke(True)

    def _turn(self, job: Job) -> bool:
        """Compute for a while; is it over? A worker outlives any engine: the page gets one line, the log the rest."""
        end = time.monotonic() + TURN_S
        try:
            for _ in job.steps:
                left = end - time.monotonic()
                if left < 0 and (job.painted or left < -3 * TURN_S):
                    return False
        except Refused as error:
            job.say(refused={"field": error.field, "message": _said(error)})
        except UnfoldError as error:
            job.say(failed=_told(error), end={"reason": "failed"})
        except BaseException as error:  # SystemExit too: it would take the thread with it
            log.exception("run %s failed", job.id[:8])
            job.say(failed=_broke(error), end={"reason": "failed"})
        return True


def _told(error: UnfoldError) -> dict[str, str]:
    """An error that explains itself, for the page."""
    return {"code": type(error).__name__, "message": f"{_said(error).rstrip('.')}.", "fix": error.fix}


def _broke(error: BaseException) -> dict[str, str]:
    """An error that nobody foresaw, for the page: what it says is for the log."""
    return {
        "code": type(error).__name__,
        "message": "The engine broke in this run.",
        "fix": "Try another seed, or go back to the default settings.",
    }


def _said(error: UnfoldError) -> str:
    """What the page may know of an error: not where on this machine the project lies."""
    return str(error).replace(f"{ROOT}/", "")


class Desk:
    """Takes requests of pages, checks their form, and turns them into jobs. The engine checks the content."""

    def __init__(
        self,
        exhibits: Any,
        run: Callable[..., Iterator[ev.Event]],
        measure: Callable[..., Iterator[dict[str, Any]]],
        pool: Pool | None = None,
    ):
        self.exhibits, self.run, self.measure = exhibits, run, measure
        self.pool = pool or Pool()

    def warm(self) -> None:
        """Load what the exhibits need, in the background, so that nobody's first run waits for it."""

        def work() -> None:
            for slug in self.exhibits:
                try:
                    events = self.run(slug, {}, None, [], lambda: False, None)
                    next((e for e in events if isinstance(e, ev.Commit)), None)
                    events.close()  # type: ignore[attr-defined]
                except UnfoldError as error:
                    log.warning("%s cannot run: %s", slug, error)

        soon = threading.Timer(WARM_S, work)  # the first page comes first: it needs the interpreter too
        soon.daemon = True
        soon.start()

    async def stream_run(self, request: Any, session: str) -> AsyncIterator[dict[str, Any]]:
        """Frames of a run. A newer run of the same page stops the older one."""
        async for frame in self._stream("run", request, session, self._run, RUN_S):
            yield frame

    async def stream_measure(self, request: Any, session: str) -> AsyncIterator[dict[str, Any]]:
        """Frames of a measurement, each with the latest result of a claim."""
        async for frame in self._stream("measure", request, session, self._measure, MEASURE_S):
            yield frame

    async def _stream(
        self, kind: str, request: Any, session: str, work: Callable[..., Iterator[None]], limit: float
    ) -> AsyncIterator[dict[str, Any]]:
        run_id = ""
        try:
            run_id = self._check(request)
            self.pool.cancel_session(session, kind)
            job = Job(run_id, session, kind, lambda j: work(j, request), limit, asyncio.get_running_loop())
            async for frame in self.pool.stream(job):
                yield frame
        except Refused as error:
            yield {"run": run_id, "seq": 0, "refused": {"field": error.field, "message": _said(error)}}

    def _check(self, request: Any) -> str:
        if not isinstance(request, dict) or len(json.dumps(request)) > 20_000:
            raise Refused("a request is an object of at most 20,000 characters")
        run_id = request.get("run")
        if not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id) or run_id in self.pool.jobs:
            raise Refused("a request needs a fresh id")
        for name, kind in (("settings", dict), ("interventions", list), ("lanes", list), ("claims", list)):
            if not isinstance(request.get(name) or kind(), kind):
                raise Refused(f"{name} must be {'an object' if kind is dict else 'a list'}", name)
        slug = request.get("exhibit")
        if not isinstance(slug, str) or slug not in self.exhibits:
            raise Refused(f"there is no exhibit {str(slug)[:40]!r}", "exhibit")
        return run_id

    def _run(self, job: Job, request: dict[str, Any]) -> Iterator[None]:
        slug = request["exhibit"]
        exhibit = self.exhibits[slug]
        settings = request.get("settings") or {}
        seed = request.get("seed")
        seed = getattr(exhibit, "seed", 1) if seed is None else seed
        changes, lanes = request.get("interventions") or [], request.get("lanes") or None
        events = self.run(slug, settings, seed, changes, job.stopped, lanes)
        header = {"exhibit": slug, "settings": vars(exhibit.parse(settings)), "seed": seed, "interventions": changes}
        job.say(header=header | {"lanes": lanes or exhibit.default_lanes()})
        written: list[ev.Event] = []
        open_lanes: dict[str, int] = {}
        told: dict[str, str] | None = None
        try:
            for event in events:
                if isinstance(event, ev.Begin | ev.Commit | ev.Withdraw):
                    written.append(event)
                open_lanes[event.lane] = event.n
                if isinstance(event, ev.Done | ev.Failed):
                    del open_lanes[event.lane]
                job.push(event.to_json())
                yield
        except (Refused, GeneratorExit):
            raise
        except UnfoldError as error:
            told = _told(error)
        except BaseException as error:
            log.exception("run %s failed", job.id[:8])
            told = _broke(error)
        finally:
            events.close()  # type: ignore[attr-defined]
        digest = ev.digest(written)
        if told is None:
            job.say(end={"digest": digest, "reason": "cancelled" if job.stopped() else "finished"})
            return
        for lane, n in open_lanes.items():  # what they wrote stays, and the page is told why there is no more
            broken = ev.Failed(lane=lane, n=n + 1, code=told["code"], message=told["message"], fix=told["fix"])
            job.push(broken.to_json())
        job.say(failed=told, end={"digest": digest, "reason": "failed"})

    def _measure(self, job: Job, request: dict[str, Any]) -> Iterator[None]:
        claims = [str(c)[:80] for c in request.get("claims") or []] or None
        seed = request.get("seed") or 0
        for result in self.measure(request["exhibit"], effort=1, seed=seed, cancel=job.stopped, claims=claims):
            job.say(claim=result)
            yield
            if job.cancelled:
                break
        job.say(end={"reason": "cancelled" if job.stopped() else "finished"})
