"""Whatever is sent, the answer is a run that keeps the rules, or one line that says what to change.

    python -m pytest tests/fuzz                               # some 2,300 cases, always the same ones
    python -m pytest tests/fuzz --hypothesis-profile=long     # more than 10,000, new ones each time

Every exhibit of the catalogue takes part by itself: its settings, lanes and words say what can be drawn, and its
networks are stood in for by random ones of one layer.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.recorded import trace_text
from components.serve import Desk, Pool
from engines import catalog, measure
from engines import events as ev
from engines.errors import BadTrace, Refused, UnfoldError
from engines.runtime import run
from tests.fuzz import strategies as fuzz

pytestmark = pytest.mark.timeout(3_600)  # the long form takes its time
# Cases of the short form; `long` multiplies them.
ACCEPTED, WRONG, TRACES, LINKS, REQUESTS = 520, 700, 500, 300, 150
LONG = 5
QUIET = dict(deadline=None, suppress_health_check=list(HealthCheck), database=None)
counts: Counter[str] = Counter()


def cases(n: int) -> settings:
    long = settings.get_current_profile_name() == "long"
    return settings(max_examples=n * LONG if long else n, derandomize=not long, **QUIET)


def line(error: UnfoldError) -> None:
    """An error is one line a person can read, whatever was typed."""
    said = str(error)
    assert said and "\n" not in said and len(said) < 600 and "Traceback" not in said, said
    assert not isinstance(error, BadTrace) or error.code == 4


def whole(events: list[ev.Event], lanes: int) -> None:
    """A run that keeps the rules, each lane ended by Done, or by a Failed that refuses in one line."""
    ev.check(events)
    ends = [e for e in events if isinstance(e, ev.Done | ev.Failed)]
    assert len(ends) == lanes
    for end in ends:
        assert isinstance(end, ev.Done) or end.code == "refused", end.message
    text = ev.write_trace({"exhibit": "x"}, events)
    assert ev.read_trace(text)[1]


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """The stand-ins' numbers are made once, when the first case asks: they must not depend on what ran before."""
    torch.manual_seed(0)


@cases(ACCEPTED)
@given(fuzz.request(wrong=False), st.integers(0, 9))
def test_what_is_meant_well_runs_to_done(request: dict[str, Any], shown: int) -> None:
    """Every tenth as a viewer sees it, with the grammar's own answer; the rest as it is measured, without."""
    counts["cases"] += 1
    try:
        out = list(run(request["exhibit"], request["settings"], request["seed"], request["interventions"],
                       lanes=request["lanes"], nets=fuzz.nets, quiet=bool(shown)))
    except Refused as error:  # settings that contradict one another, a cell that this page lacks
        line(error)
        counts["refused"] += 1
        return
    whole(out, len(request["lanes"]))
    ends = [e for e in out if isinstance(e, ev.Done | ev.Failed)]
    counts["done"] += all(isinstance(e, ev.Done) and e.reason == "finished" for e in ends)


@cases(WRONG)
@given(fuzz.request(wrong=True))
def test_what_is_meant_ill_is_refused_in_one_line(request: dict[str, Any]) -> None:
    counts["cases"] += 1
    stop = iter([False] * 40)  # a few that get through need not run to their end
    try:
        out = list(run(request["exhibit"], request["settings"], request["seed"], request["interventions"],
                       cancel=lambda: next(stop, True), lanes=request["lanes"], nets=fuzz.nets, quiet=True))
    except UnfoldError as error:
        line(error)
        counts["refused"] += 1
        return
    lanes = request["lanes"] if request["lanes"] is not None else catalog.EXHIBITS[request["exhibit"]].default_lanes()
    whole(out, len(set(lanes)))


def recorded() -> dict[str, list[str]]:
    """The first events of each recorded run: harm done to a short trace is as telling as to a long one."""
    return {slug: trace_text(slug).decode().splitlines()[:40] for slug in catalog.EXHIBITS}


TRACE_LINES = recorded()


@cases(TRACES)
@given(st.data())
def test_a_damaged_trace_is_named_in_one_line(data: st.DataObject) -> None:
    counts["cases"] += 1
    slug = data.draw(st.sampled_from(list(TRACE_LINES)))
    try:
        ev.read_trace(data.draw(fuzz.damaged(TRACE_LINES[slug])))
    except BadTrace as error:
        line(error)


@cases(LINKS)
@given(st.data())
def test_the_text_of_a_link_becomes_settings_or_one_line(data: st.DataObject) -> None:
    """What the page's link says arrives as text; each setting has to make sense of it or say what it wants."""
    counts["cases"] += 1
    exhibit = catalog.EXHIBITS[data.draw(st.sampled_from(list(catalog.EXHIBITS)))]
    setting = data.draw(st.sampled_from(exhibit.settings))
    value = data.draw(st.one_of(st.text(), st.sampled_from(fuzz.NASTY), fuzz.good(setting).map(str)))
    try:
        parsed = setting.parse(value)
    except Refused as error:
        line(error)
        assert error.field == setting.name
    else:
        assert setting.parse(parsed) == parsed and setting.parse(setting.parse(str(parsed))) == parsed


@cases(REQUESTS)
@given(st.one_of(fuzz.ANYTHING, fuzz.request(wrong=True)), st.booleans())
def test_the_server_answers_anything_with_frames(request: Any, fresh: bool) -> None:
    """As a page's line carries it: never an engine that broke, and always an end or a reason."""
    counts["cases"] += 1
    if isinstance(request, dict):
        request = {"run": str(uuid.uuid4()) if fresh else request.get("seed"), **request}

    def quick(slug: str, given: Any, seed: Any, changes: Any, cancel: Any, lanes: Any) -> Any:
        stop = iter([False] * 20)
        return run(slug, given, seed, changes, lambda: next(stop, True), lanes, fuzz.nets, True)

    async def frames() -> list[dict[str, Any]]:
        desk = Desk(catalog.EXHIBITS, quick, measure, POOL)
        return [f async for f in desk.stream_run(request, "page")]

    sent = THREAD.submit(lambda: asyncio.run(frames())).result()
    last = sent[-1]
    assert "end" in last or "refused" in last
    for frame in sent:
        assert "broke" not in str(frame.get("failed", "")), frame
        assert len(str(frame.get("refused", ""))) < 900
    json.dumps(sent, allow_nan=False)


POOL = Pool(slots=1)
THREAD = ThreadPoolExecutor(1)


def test_there_were_enough_cases_and_enough_of_them_ran() -> None:
    """Runs last in this file: strategies that drift into refusing everything would prove nothing."""
    if counts["cases"] < ACCEPTED + WRONG:
        pytest.fail(f"only {counts['cases']} cases ran; run the whole file")
    long = settings.get_current_profile_name() == "long"
    print(dict(counts))
    assert counts["cases"] >= (10_000 if long else 2_000)
    assert counts["done"] >= 500
