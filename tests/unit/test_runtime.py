"""The scheduler and the meter: order, clocks, cancel, ceilings, failures, and what is refused before a run."""

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from engines import catalog, runtime
from engines import events as ev
from engines.errors import Cancelled, Refused, Unmetered
from engines.exhibit import Cells, Lane
from engines.runtime import Meter, Trial, run

BASE = catalog.EXHIBITS["assd"]


def exhibit(**lanes):
    """The assd exhibit's data with other decode loops."""
    made = {k: Lane(decode=f, title=k, line=k, nets=lambda s: []) for k, f in lanes.items()}
    return replace(BASE, slug="test", lanes=made)


def begin(n=3):
    return ev.Begin(title="t", canvases=[{"id": "s", "kind": "tokens", "shape": [n]}])


def commit(cell):
    return ev.Commit(cells=[cell], values=["x"], p=[1.0], origin="sampled")


def steady(settings, noise, meter):
    yield begin()
    for i in range(3):
        yield commit(i)
    return {"ok": True}


def burn(ms):
    end = time.thread_time_ns() + ms * 1e6
    while time.thread_time_ns() < end:
        pass


def slow(settings, noise, meter):
    yield begin()
    for i in range(3):
        burn(10)
        yield commit(i)


def test_the_lane_that_has_computed_least_goes_next():
    events = list(run(exhibit(slow=slow, quick=steady)))
    ev.check(events)
    kinds = [(e.lane, e.kind) for e in events]
    assert kinds.index(("quick", "done")) < [i for i, k in enumerate(kinds) if k == ("slow", "commit")][1]
    assert [e for e in events if e.kind == "done" and e.lane == "quick"][0].summary == {"ok": True}
    assert next(e for e in events if e.kind == "done" and e.lane == "slow").t >= 30


def test_previews_are_not_in_the_lanes_clock():
    def lane(settings, noise, meter):
        yield begin()
        with meter.preview():
            burn(30)
        yield commit(0)

    assert list(run(exhibit(a=lane)))[-1].t < 10


def test_a_call_is_timed_by_its_lanes_clock_so_that_others_do_not_count():
    """What others compute meanwhile, here a wait, is in no lane's time and in no call's; with workers it is in both."""

    def lane(settings, noise, meter):
        net = meter.net("n")
        yield begin(1)
        net()
        yield net.forward([], [0], [0], "step")
        yield commit(0)

    alone = exhibit(a=lane)
    with_workers = replace(alone, lanes={"a": replace(alone.lanes["a"], workers=True)})
    for own, low, high in ((alone, 0, 20), (with_workers, 30, 1e4)):
        events = list(run(own, nets=lambda name: lambda: time.sleep(0.03)))
        ms = next(e.ms for e in events if e.kind == "forward")
        assert low < ms < high and ms <= events[-1].t


def test_a_lane_that_breaks_fails_in_one_line_and_the_other_goes_on():
    def broken(settings, noise, meter):
        yield begin()
        raise ZeroDivisionError("a\nb")

    events = list(run(exhibit(bad=broken, good=steady)))
    failed = next(e for e in events if e.kind == "failed")
    assert failed.code == "internal" and "ZeroDivisionError" in failed.message and failed.fix
    assert any(e.kind == "done" and e.lane == "good" for e in events)


def test_cancel_is_asked_before_every_evaluation():
    calls = []

    def lane(settings, noise, meter):
        net = meter.net("n")
        yield begin()
        while True:
            net()
            yield net.forward([], [0], [0], "step")

    events = list(run(exhibit(a=lane), cancel=lambda: len(calls) >= 5, nets=lambda n: lambda: calls.append(1)))
    assert len(calls) == 5 and events[-1].reason == "cancelled"


def test_a_lane_without_end_meets_the_ceiling(monkeypatch):
    monkeypatch.setattr(runtime, "MAX_LANE_EVENTS", 50)

    def lane(settings, noise, meter):
        yield begin()
        while True:
            yield ev.Note(key="k", text="still here")

    events = list(run(exhibit(a=lane)))
    assert len(events) == 51 and events[-1].reason == "ceiling"


def test_an_unmetered_call_is_an_error():
    meter = Meter(lambda name: lambda: 1)
    net = meter.net("n")
    with pytest.raises(Unmetered):
        net.forward([], [], [], "step")
    net()
    with pytest.raises(Unmetered):
        net()


def test_closing_the_iterator_releases_the_lanes_and_emits_nothing():
    closed = []

    def lane(settings, noise, meter):
        try:
            yield begin()
            yield commit(0)
        finally:
            closed.append(True)

    iterator = run(exhibit(a=lane))
    next(iterator)
    iterator.close()
    assert closed == [True]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"exhibit": "nothing"}, "there are"),
        ({"exhibit": "assd", "settings": {"k": 99}}, "from 1 to 20"),
        ({"exhibit": "assd", "settings": {"k": True}}, "k is"),
        ({"exhibit": "assd", "settings": {"evil": 1}}, "no setting"),
        ({"exhibit": "assd", "settings": {"story": "a" * 100_000}}, "100,000"),
        ({"exhibit": "assd", "settings": {"story": "fox\x07"}}, r"U\+0007"),
        ({"exhibit": "assd", "settings": {"story": "fox \u202e"}}, r"U\+202E"),
        ({"exhibit": "assd", "settings": {"story": "${alert(1)}"}}, "do not know"),
        ({"exhibit": "assd", "settings": {"blanks": "63"}}, "does not exist"),
        ({"exhibit": "assd", "settings": {"blanks": "5-2"}}, "blanks is"),
        ({"exhibit": "assd", "seed": -1}, "seed"),
        ({"exhibit": "assd", "seed": "x"}, "seed"),
        ({"exhibit": "assd", "lanes": ["x"]}, "no lane"),
        ({"exhibit": "assd", "lanes": []}, "choose a lane"),
    ],
)
def test_bad_input_is_refused_before_the_first_event(arguments, word):
    with pytest.raises(Refused, match=word) as info:
        run(**arguments)
    assert "\n" not in str(info.value) and len(str(info.value)) < 400


def test_cells_have_one_spelling():
    cells = Cells(name="c", default="", label="", help="")
    assert cells.parse("9-11, 3") == "3,9,10,11" == cells.parse([3, 9, 10, 11])
    assert Cells.list(cells.parse("")) == []


def test_claim_seeds_do_not_depend_on_anybodys_wish():
    claim = BASE.claims[0]
    assert Trial(BASE, claim).seeds(3) == Trial(BASE, claim).seeds(3)
    assert Trial(BASE, claim).seeds(3)[0] != Trial(BASE, BASE.claims[1]).seeds(3)[0]


def test_cancelling_a_measurement_stops_it():
    with pytest.raises(Cancelled):
        list(runtime.measure("next-token", claims=["kept-set-equals-reference"], cancel=lambda: True))


def test_verdicts_use_the_conservative_end():
    over = {"op": ">", "value": 1.0}
    assert runtime.verdict(over, {"low": 1.1, "high": 1.3}) is True
    assert runtime.verdict(over, {"low": 0.9, "high": 1.3}) is None
    assert runtime.verdict(over, {"low": 0.7, "high": 0.9}) is False


def test_settings_are_plain_data():
    assert vars(BASE.parse({})) == vars(SimpleNamespace(**{s.name: s.default for s in BASE.settings}))
