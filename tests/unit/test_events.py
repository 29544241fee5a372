"""The vocabulary: codec, the rules of a trace, the digest, and what a trace file refuses."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import events as ev
from engines.errors import BadTrace

GOOD = [
    ev.Begin(lane="a", n=0, title="t", canvases=[{"id": "s", "kind": "tokens", "shape": [3]}],
             given={"cells": [0], "values": ["fox"]}),
    ev.Forward(lane="a", n=1, t=0.5, net="x", mode="step", reads=[0], computes=[1], predicts=[1], calls=1, nfe=1),
    ev.Propose(lane="a", n=2, t=0.6, cells=[[1, 3]], values=["ran", "."], p=[0.5, 0.25]),
    ev.Accept(lane="a", n=3, t=0.7, cells=[1], p=[0.5], q=[0.5], ratio=[1.0], u=[0.2]),
    ev.Commit(lane="a", n=4, t=0.8, cells=[1], values=["ran"], p=[0.5], origin="accepted"),
    ev.Withdraw(lane="a", n=5, t=0.9, cells=[2], why="discard"),
    ev.Done(lane="a", n=6, t=1.0, reason="finished"),
]


def test_a_sound_trace_passes_and_survives_the_codec():
    ev.check(GOOD)
    again = [ev.from_json(json.loads(json.dumps(e.to_json()))) for e in GOOD]
    assert [e.to_json() for e in again] == [e.to_json() for e in GOOD]


@pytest.mark.parametrize(
    ("index", "change", "word"),
    [
        (1, {"n": 5}, "n should be"),
        (3, {"t": 0.1}, "falls"),
        (1, {"calls": 0}, "counters"),
        (1, {"computes": [3]}, "not on the canvas"),
        (2, {"cells": [[0, 2]]}, "cannot be proposed"),
        (2, {"p": [0.5]}, "entries"),
        (3, {"cells": [0]}, "no draft"),
        (4, {"cells": [0]}, "already"),
        (4, {"canvas": "other"}, "unknown canvas"),
        (5, {"cells": [0]}, "nothing to withdraw"),
    ],
)
def test_a_trace_that_contradicts_itself_is_refused(index, change, word):
    broken = list(GOOD)
    broken[index] = replace(broken[index], **change)
    with pytest.raises(BadTrace, match=word):
        ev.check(broken)


def test_a_lane_ends_exactly_once():
    with pytest.raises(BadTrace, match="ends once"):
        ev.check(GOOD[:-1])
    with pytest.raises(BadTrace, match="ends once"):
        ev.check([*GOOD[:-1], GOOD[-1], replace(GOOD[-1], n=7)])


def test_the_digest_ignores_time_and_lane_order_but_not_values():
    other = [replace(e, lane="b") for e in GOOD]
    assert ev.digest(GOOD + other) == ev.digest(other + [replace(e, t=e.t * 3) for e in GOOD])
    changed = list(GOOD)
    changed[4] = replace(changed[4], values=["sat"])
    assert ev.digest(changed) != ev.digest(GOOD)


def test_a_trace_file_round_trips_and_refuses_tampering():
    text = ev.write_trace({"exhibit": "x"}, GOOD)
    head, events = ev.read_trace(text)
    assert head["exhibit"] == "x" and len(events) == len(GOOD)
    with pytest.raises(BadTrace, match="changed after"):
        ev.read_trace(text.replace('"values":["ran"]', '"values":["sat"]'))
    with pytest.raises(BadTrace, match="version 9"):
        ev.read_trace(text.replace('"trace":1', '"trace":9'))


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "null\n1", '{"trace":1}\n{"kind":"boo"}', '{"trace":1}\nnot json', "[" * 100_000,
             '{"trace":1}\n{"kind":"done","reason":"${x}"}', '{"trace":1}\n{"kind":"begin"}',
             '{"trace":1}\n{"kind":"commit","cells":"x","values":[],"p":[],"origin":"sampled","lane":"a","n":0}'],
)
def test_a_damaged_file_is_one_clear_error(text):
    with pytest.raises(BadTrace) as info:
        ev.read_trace(text)
    assert "\n" not in str(info.value)


@given(st.sets(st.integers(0, 200)))
@settings(max_examples=200, deadline=None)
def test_spans_and_expand_are_inverse(cells):
    ordered = sorted(cells)
    assert ev.expand(ev.spans(ordered)) == ordered


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
junk = st.recursive(
    leaves, lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=6), x, max_size=4), max_leaves=12
)


@given(st.lists(junk, max_size=4), st.sampled_from(sorted(ev.KINDS)))
@settings(max_examples=300, deadline=None)
def test_no_json_crashes_the_reader(rows, kind):
    rows = [r | {"kind": kind} if isinstance(r, dict) else r for r in rows]
    text = "\n".join(json.dumps(r) for r in [{"trace": 1}, *rows])
    with pytest.raises(BadTrace):
        ev.read_trace(text)


def test_six_significant_digits_and_no_nan():
    e = ev.Measure(name="x", value=float("nan"), unit="u", x=1 / 3)
    assert e.to_json()["x"] == 0.333333
    assert "NaN" not in json.dumps(e.to_json())
