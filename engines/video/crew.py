"""The same film by real workers: while the next beat is planned, beats that are planned are filled.

Workers are threads; torch lets go of Python's lock while it computes. Each has networks of its own, so each counts its
own calls. Who does what is settled before (`schedule`), so a run can be repeated; when it was done is measured.
Events of a job are told when it is done, jobs in the order in which the schedule lets them end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from engines.events import Event, Forward, Measure, Phase, Steps, spans
from engines.noise import Noise
from engines.runtime import Meter, Net
from engines.video.mmpl import ENCODER, ROLES, Hands, Painting, Studio, frames_of
from engines.video.model import FILLS, KEYS, NET, PATCHES, VAE
from engines.video.reel import fills, plan
from engines.video.schedule import Slot, Task, schedule

# Patches that go through the network, once a step: what a job is expected to cost.
PLAN_COST = float(len(KEYS) * PATCHES)
FILL_COST = float(sum(len(job.frames) for job in FILLS) * PATCHES)
TICK = 0.01  # seconds between two looks whether somebody pressed Stop


def slots_of(beats: int, workers: int) -> list[Slot]:
    return schedule([PLAN_COST] * beats, [FILL_COST] * beats, workers)


def hands_of(studio: Studio, worker: int) -> Hands:
    """The first worker has the lane's own networks; another has sessions of the same weights."""
    if not worker:
        return studio.hands
    meter, own = studio.meter, studio.hands
    names = [f"{name}.{worker + 1}" for name in (NET, VAE, ENCODER)]
    sessions: list[Any] = [own.net.session.net.session(), own.vae.session, own.encoder.session]
    return Hands(*(meter.nets.setdefault(name, Net(name, session, meter)) for name, session in zip(names, sessions)))


class Job:
    """A task in work: what it said, the frames that it made, or what went wrong; `over` once it is any of these."""

    def __init__(self, task: Task, studio: Studio):
        self.task = task
        self.spots = [plan(task.beat)] if task.kind == "plan" else fills(task.beat)
        self.studio = studio
        self.over = threading.Event()
        self.events: list[Event] = []
        self.images: Tensor | None = None
        self.error: Exception | None = None

    def run(self, hands: Hands, worker: int, began: float) -> None:
        """Do it in this thread."""
        try:
            self.images = self._drain(self._work(hands), worker, began)
        except Exception as error:  # told by the lane's own thread
            self.error = error
        self.over.set()

    def _work(self, hands: Hands) -> Painting:
        if self.task.kind == "plan":
            return self.studio.plan(self.task.beat, hands)
        return self.studio.paint(self.spots, hands)

    def _drain(self, work: Painting, worker: int, began: float) -> Tensor:
        while True:
            try:
                event = next(work)
            except StopIteration as stop:
                images: Tensor = stop.value
                return images
            if isinstance(event, Forward):
                start = (time.perf_counter() - began) * 1e3 - event.ms
                event = replace(event, worker=worker, start_ms=start)
            self.events.append(event)

    def told(self) -> Iterator[Event]:
        """The events of a job that is over."""
        if self.error:
            raise self.error
        frames, beat, of = frames_of(self.spots), self.task.beat, self.studio.reel.beats
        unit = "segment" if self.task.kind == "plan" else "round"
        yield Phase(unit=unit, index=beat, of=of, state="start", cells=spans(frames))
        yield from self.events
        yield Phase(unit=unit, index=beat, of=of, state="end", cells=spans(frames))
        assert self.images is not None
        yield from self.studio.previews(frames, self.images)


def crew(s: SimpleNamespace, noise: Noise, meter: Meter) -> Steps:
    """Plan and fill at the same time. s: beats, steps, temperature, anew, workers, previews."""
    studio = Studio(s, noise, meter)
    slots = slots_of(s.beats, s.workers)
    jobs = {slot.task: Job(slot.task, studio) for slot in slots}
    hands = [hands_of(studio, worker) for worker in range(s.workers)]
    roles = [(net.name, role) for hand in hands[1:] for net, role in zip(hand, ROLES.values(), strict=True)]
    yield from studio.begin("Keys and gaps side by side", keys=True, more_nets=roles, workers=s.workers)
    stopped, began = threading.Event(), time.perf_counter()

    def work(worker: int) -> None:
        for slot in slots:
            if slot.worker != worker:
                continue
            waits = Task("plan", slot.task.beat - (slot.task.kind == "plan"))
            while waits in jobs and not jobs[waits].over.wait(TICK):
                if stopped.is_set():
                    return
            if stopped.is_set() or (waits in jobs and jobs[waits].error):
                return
            jobs[slot.task].run(hands[worker], worker, began)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in range(s.workers)]
    for thread in threads:
        thread.start()
    try:
        for slot in sorted(slots, key=lambda slot: (slot.stop, slot.worker)):
            job = jobs[slot.task]
            while not job.over.wait(TICK):
                meter.ask()
            yield from job.told()
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    yield from studio.end()
    yield Measure(name="links", value=s.beats + 1, unit="links to the last frame")
    return studio.summary(s.beats + 1, (s.beats + 1) * s.steps, sum(hand.net.calls for hand in hands))
