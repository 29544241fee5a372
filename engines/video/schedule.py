"""Who does what, and when: plans form a chain, fills wait for their plan only, workers take what is ready.

Source: the adaptive scheduling of arXiv 2508.03334, in our reading: beat s is filled as soon as it is planned, while
planning goes on; a job goes to the worker that is free first. Costs are in any unit. Dispatch is settled before the
work starts, so a run with real workers does the same jobs in the same places every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Task(NamedTuple):
    """Plan a beat ("plan"), or fill it ("fill")."""

    kind: str
    beat: int


class Slot(NamedTuple):
    """A task, the worker that does it, from when to when."""

    task: Task
    worker: int
    start: float
    stop: float


def schedule(plan: Sequence[float], fill: Sequence[float], workers: int, plan_first: bool = False) -> list[Slot]:
    """The slots of a film whose beats cost plan[s] and fill[s], ordered by start, then worker.

    A plan that is ready goes before every fill: all else waits for it. plan_first: nothing is filled before the last
    plan is made.
    """
    beats = len(plan)
    free = [0.0] * workers
    ready = {Task("plan", 0): 0.0}
    slots: list[Slot] = []
    while ready:
        # Of all (task, worker) what can start first; then plans before fills, early beats before late ones.
        start, _, _, task, worker = min(
            (max(at, free[w]), task.kind == "fill", task.beat, task, w) for task, at in ready.items()
            for w in range(workers)
        )
        del ready[task]
        stop = start + (plan if task.kind == "plan" else fill)[task.beat]
        slots.append(Slot(task, worker, start, stop))
        free[worker] = stop
        if task.kind == "plan":
            last = task.beat + 1 == beats
            if not last:
                ready[Task("plan", task.beat + 1)] = stop
            if not plan_first:
                ready[Task("fill", task.beat)] = stop
            elif last:
                ready |= {Task("fill", beat): stop for beat in range(beats)}
    return sorted(slots, key=lambda slot: (slot.start, slot.worker))


def makespan(slots: Sequence[Slot]) -> float:
    """When the last worker is done."""
    return max(slot.stop for slot in slots)
