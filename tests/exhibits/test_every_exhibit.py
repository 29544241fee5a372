"""One suite that every exhibit of the catalogue passes, with the stored networks."""

from __future__ import annotations

import json

import pytest

from engines import catalog, record, weights
from engines import events as ev
from engines.errors import Refused
from engines.exhibit import RESERVED, Lane, LaneRef
from engines.runtime import lane_of, measure, run

SLUGS = list(catalog.EXHIBITS)


@pytest.fixture(scope="module", params=SLUGS)
def default(request):
    """(exhibit, all events of its default run with every lane)."""
    exhibit = catalog.EXHIBITS[request.param]
    return exhibit, list(run(exhibit, lanes=list(exhibit.lanes)))


def test_the_default_run_keeps_the_rules_and_the_budget(default):
    exhibit, events = default
    ev.check(events)
    ends = [e for e in events if isinstance(e, ev.Done)]
    assert [e.reason for e in ends] == ["finished"] * len(exhibit.lanes)
    assert len(events) <= 3_000
    assert sum(e.t for e in ends) <= 10_000
    text = ev.write_trace({"exhibit": exhibit.slug}, events)
    assert len(text) <= 2_000_000
    assert ev.digest(ev.read_trace(text)[1]) == ev.digest(events)


def test_the_same_seed_gives_the_same_events(default):
    exhibit, events = default
    again = list(run(exhibit, lanes=list(exhibit.lanes)))
    assert record.untimed(again) == record.untimed(events)
    other = list(run(exhibit, seed=exhibit.seed + 1, lanes=list(exhibit.lanes)))
    assert ev.digest(other) != ev.digest(events)


def test_a_lane_alone_is_the_lane_in_company(default):
    exhibit, events = default
    for lane in exhibit.lanes:
        alone = list(run(exhibit, lanes=[lane]))
        assert record.untimed(alone) == record.untimed(list(ev.of_lane(events, lane)))


def test_forcing_a_cell_keeps_what_came_before_and_holds_the_value(default):
    exhibit, events = default
    for name, lane in exhibit.lanes.items():
        if isinstance(lane, LaneRef) or "force" not in lane.interventions:
            continue
        own = list(ev.of_lane(events, name))
        at, commit = next((i, e) for i, e in enumerate(own) if isinstance(e, ev.Commit) and i > len(own) // 2)
        after = max(i for i, e in enumerate(own[:at]) if isinstance(e, ev.Forward | ev.Phase))
        cell = ev.expand(commit.cells)[0]
        value = next(w for w in lane.vocabulary(exhibit.parse({})) if str(w).isalnum() and w not in commit.values)
        force = {"do": "force", "lane": name, "cell": cell, "value": value, "after": after}
        branch = list(run(exhibit, interventions=[force], lanes=[name]))
        assert record.untimed(branch[: after + 1]) == record.untimed(own[: after + 1])
        held = [e for e in branch if isinstance(e, ev.Commit) and cell in ev.expand(e.cells)]
        assert held[-1].values[ev.expand(held[-1].cells).index(cell)] == value and held[-1].origin == "forced"
        ev.check(branch)


def test_cancel_ends_every_lane_at_once(default):
    exhibit, _ = default
    seen, stop = [], []
    for event in run(exhibit, cancel=lambda: bool(stop)):
        seen.append(event)
        if len(seen) == 12:
            stop.append(True)
    ends = [e for e in seen if isinstance(e, ev.Done)]
    assert [e.reason for e in ends if e.reason != "finished"] and len(seen) <= 12 + len(exhibit.default_lanes())


@pytest.mark.parametrize("slug", SLUGS)
def test_settings_describe_check_and_refuse_themselves(slug):
    exhibit = catalog.EXHIBITS[slug]
    assert json.dumps(exhibit.describe())
    for s in exhibit.settings:
        assert s.name not in RESERVED
        assert s.parse(s.default) == s.default
        for bad in (None, [], {}, "\x00", "\u202e", "9" * 100_000, "${1}", float("nan"), 1e99, "<b>"):
            try:
                exhibit.parse({s.name: bad})
            except Refused as error:
                assert error.field == s.name and len(str(error)) < 500 and "\n" not in str(error)
            else:
                assert s.kind in ("cells", "words", "bool") and not bad, (s.name, bad)
        for end in ("min", "max"):
            if s.kind in ("int", "float"):
                s.parse(getattr(s, end))
                with pytest.raises(Refused, match=f"to {s.max:g}"):
                    s.parse(getattr(s, end) + (1 if end == "max" else -1) * 1000)
    with pytest.raises(Refused, match="no setting"):
        exhibit.parse({"nonsense": 1})


@pytest.mark.parametrize("slug", SLUGS)
def test_texts_are_complete_and_questions_have_one_answer(slug):
    exhibit = catalog.EXHIBITS[slug]
    assert 3 <= len(exhibit.beats) <= 6
    assert sum(a.right for a in exhibit.question.answers) == 1
    assert len({c.id for c in exhibit.claims}) == len(exhibit.claims)
    for lane in exhibit.lanes.values():
        assert lane.title and lane.line
    assert len(exhibit.default_lanes()) == 2
    for name in exhibit.lanes:
        assert isinstance(lane_of(exhibit, name, exhibit.parse({}))[0], Lane)


@pytest.mark.parametrize("slug", SLUGS)
def test_beats_stop_at_events_that_happen(slug):
    exhibit = catalog.EXHIBITS[slug]
    events = [e.to_json() for e in run(exhibit, exhibit.recorded)]
    for beat in exhibit.beats:
        kinds = {e["kind"] for e in events}
        assert beat.when["kind"] in kinds, beat.text


@pytest.mark.parametrize(
    ("intervention", "word"),
    [
        ("x", "must be"),
        ({"do": "explode"}, "must be"),
        ({"do": "force", "cell": 1}, "lacks"),
        ({"do": "force", "cell": 1, "value": "zebra-crossing"}, "not a word"),
        ({"do": "force", "cell": "1", "value": "fox"}, "whole number"),
        ({"do": "force", "cell": 1, "value": "fox", "evil": 1}, "no field"),
        ({"do": "force", "lane": "nowhere", "cell": 1, "value": "fox"}, "no lane"),
        ({"do": "force", "cell": 1, "value": ["fox"]}, "not a word"),
        ({"do": "force", "cell": 5_000, "value": None}, "cell 5000 does not exist"),
        ({"do": "reseed"}, "lacks"),
    ],
)
@pytest.mark.parametrize("slug", SLUGS)
def test_interventions_that_make_no_sense_are_refused(slug, intervention, word):
    parsed = catalog.EXHIBITS[slug].parse({})
    lanes = {n: lane for n, lane in catalog.EXHIBITS[slug].lanes.items() if isinstance(lane, Lane)}
    forced = {n: lane for n, lane in lanes.items() if lane.vocabulary and "force" in lane.interventions}
    if isinstance(intervention, dict) and intervention["do"] == "force":
        # Not every lane can be forced: a token of plain numbers cannot be named.
        name, lane = next(iter((forced or lanes).items()))
        intervention = {"lane": name} | intervention
        if not forced and word in ("not a word", "cell 5000 does not exist"):
            word = "does not support 'force'"
        elif intervention.get("cell") == 5_000:
            intervention["value"] = next(iter(lane.vocabulary(parsed)))
    with pytest.raises(Refused, match=word):
        list(run(slug, interventions=[intervention]))


@pytest.mark.parametrize("slug", SLUGS)
def test_the_recorded_run_is_sound_and_is_what_running_it_gives(slug):
    head, events = record.read(slug)
    ev.check(events)
    assert head["exhibit"] == slug and record.trace_path(slug).stat().st_size <= 80_000
    assert record.check(slug)


@pytest.mark.parametrize("slug", SLUGS)
def test_shipped_claims_are_complete_current_and_honest(slug):
    exhibit, shipped = catalog.EXHIBITS[slug], record.load_claims(slug)
    assert [c["id"] for c in shipped["claims"]] == [c.id for c in exhibit.claims]
    assert shipped["models"] == {n: weights.sha256(n) for n in shipped["models"]}
    for claim, result in zip(exhibit.claims, shipped["claims"], strict=True):
        assert result["final"] and result["n"] > 0
        if claim.must:
            assert result["holds"] is True, result


@pytest.mark.parametrize(("slug", "claim"), [("assd", "nfe-bound"), ("next-token", "kept-set-equals-reference")])
def test_a_claim_can_be_measured_again_and_says_so(slug, claim):
    results = list(measure(slug, effort=0.1, claims=[claim]))
    assert [r["final"] for r in results][-1] is True and not any(r["final"] for r in results[:-1])
    assert results[-1]["holds"] and {"here", "low", "high", "n", "conditions"} <= set(results[-1])
