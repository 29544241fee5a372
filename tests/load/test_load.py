"""A small crowd for some seconds: `python -m benchmarks.load` in short. Frames are exact; times only not absurd."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from benchmarks import load
from benchmarks.served import Server, served
from benchmarks.wire import Run
from components.recorded import read

pytestmark = pytest.mark.alone  # it times what a neighbour would slow down

LIVE, VIEWERS, SECONDS = 3, 8, 5.0
SLOW = 10.0  # a machine that is busy with something else may be ten times slower than the page promises


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as server:
        load.settle(server)
        yield server


def test_a_crowd_loses_no_frame_and_everybody_is_served(server):
    seen = load.at_once(server.url, SECONDS, LIVE, VIEWERS, count=1)
    assert seen.trouble == []
    assert seen.runs >= LIVE and seen.tab_runs >= 1 and len(seen.views) == VIEWERS
    assert load.p95(seen.first) < SLOW * 1.0 and load.p95(seen.tabs) < SLOW * 1.0


def test_runs_leave_nothing_behind_and_a_stop_is_quick(server):
    before, after, seen = load.memory(server, 12, 24)
    assert seen.trouble == [] and after / before < 1.05
    assert seen.idle and load.p95(seen.idle) < SLOW * 0.1


def frames() -> tuple[Run, list[dict]]:
    """A recorded run as a server would send it, ten events a frame."""
    head, *events = read("assd")
    cut = [{"events": events[i : i + 10]} for i in range(0, len(events), 10)]
    run = Run()
    sent = [{"run": run.id, "seq": i, **f} for i, f in enumerate(cut)]
    sent[-1]["end"] = {"digest": head["digest"], "reason": "finished"}
    return run, json.loads(json.dumps(sent))


def lose(sent: list[dict]) -> list[dict]:
    return sent[:3] + sent[4:]


def swap(sent: list[dict]) -> list[dict]:
    return [sent[0], sent[2], sent[1], *sent[3:]]


def twice(sent: list[dict]) -> list[dict]:
    return sent[:3] + sent[2:]


def change(sent: list[dict]) -> list[dict]:
    next(e for f in sent for e in f["events"] if e["kind"] == "commit")["values"][0] += "x"
    return sent


def cut(sent: list[dict]) -> list[dict]:
    return sent[:-1]


def stranger(sent: list[dict]) -> list[dict]:
    sent[2]["run"] = "another"
    return sent


@pytest.mark.parametrize("harm", [None, lose, swap, twice, change, cut, stranger])
def test_the_client_itself_would_notice(harm):
    run, sent = frames()
    for frame in harm(sent) if harm else sent:
        run.take(frame, 0.0)
    run.check()
    assert bool(run.trouble) == bool(harm)
