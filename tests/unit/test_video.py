"""Films: what a job sees, gaps in one batch, chains of links, real workers, and the claims with their broken twins.

The planner is a small one with random weights; the autoencoder is the stored one.
"""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
import torch

from engines import events as ev
from engines import record, weights
from engines.errors import Cancelled
from engines.runtime import Trial, complete, run
from engines.video import claims, crew, mmpl, train
from engines.video.exhibits import MMPL
from engines.video.model import FILLS, FRAMES, KEYS, NET, PLAN, Planner, Work, following, patches, unpatched, walk
from engines.video.reel import STRIDE, Reel, fills, keys_of, next_frames, plan
from engines.video.schedule import Task, makespan, schedule
from engines.worlds import scenes

QUICK = {"beats": 3, "steps": 2}


def make_planner() -> Planner:
    torch.manual_seed(5)
    net = Planner(width=32, heads=2, hidden=48, layers=1).eval()
    torch.nn.init.normal_(net.out.weight, std=0.05)
    return net.requires_grad_(False)


@pytest.fixture(scope="module")
def net() -> Planner:
    return make_planner()


@pytest.fixture
def stand_in(net):
    return lambda name: net.session() if name == NET else weights.session(name)


@pytest.fixture
def loaded(monkeypatch, net):
    """The small random planner in the place of the stored one."""
    stored = weights.load
    monkeypatch.setattr(claims.weights, "load", lambda name: net if name == NET else stored(name))


@pytest.fixture
def films(stand_in):
    return lambda lane, **settings: list(run(MMPL, QUICK | settings, seed=4, lanes=[lane], nets=stand_in))


def reel(count: int = 2, beats: int = 3, first: int = 20) -> Reel:
    generator = torch.Generator().manual_seed(0)
    return Reel(range(first, first + count), beats, torch.randn(count, 64, 8, generator=generator))


def painted(events: list[ev.Event]) -> dict[int, str]:
    """Each frame's picture as it was sent."""
    return {e.level: e.data for e in events if isinstance(e, ev.Preview) and e.name == "frame"}


# The world


def test_a_film_goes_on_where_a_beat_ended_and_a_part_of_it_is_the_same_film():
    whole = scenes.film(range(6), 3, 5)
    assert whole.images.shape == (6, 13, 3, 64, 64) and whole.objects.shape == (6, 4, 4, 4)
    for joint in range(4):
        still = scenes.render(whole.objects[:, joint], range(6)).image
        assert torch.allclose(whole.images[:, 4 * joint], still, atol=1e-5)
    some = scenes.film(range(6), 3, 5, only=[7, 2])
    assert torch.equal(some.images, whole.images[:, [2, 7]])
    # A row is one toy: its shape and colour never change.
    assert (whole.objects[..., 1:3] == whole.objects[:, :1, :, 1:3]).all()


# The network


def test_patches_are_2_by_2_places_and_can_be_undone():
    x = torch.randn(3, 5, 64, 8)
    assert patches(x).shape == (3, 5, 16, 32) and torch.equal(unpatched(patches(x)), x)
    corner = x.unflatten(-2, (8, 8))[..., :2, :2, :].flatten(-3)
    assert torch.equal(patches(x)[..., 0, :], corner)


def test_the_stored_planner_is_small_and_knows_every_job():
    net = train.planner()
    assert net.session().params <= 800_000
    net.session().warm()
    assert sorted(k for job in (PLAN, *FILLS) for k in job.frames) == list(range(1, FRAMES))


def test_a_network_that_says_no_change_leaves_the_known_frame_and_the_last_step_is_the_guess(net):
    still = Planner(width=32, heads=2, hidden=48, layers=1).requires_grad_(False)
    work = Work.blank(following(3))._replace(beside=torch.randn(1, 16, 32), noise=torch.randn(1, 1, 16, 32))
    assert torch.allclose(still.session()(work, 4)[:, 0], work.beside, atol=1e-5)
    steps = list(walk(lambda x, t: x * 0 + 3, torch.zeros(1, 1, 16, 32), 4))
    assert torch.allclose(torch.stack([x.mean() for _, x in steps]), torch.tensor([0.75, 1.5, 2.25, 3.0]))


def test_what_a_job_is_not_shown_does_not_matter_and_what_it_is_shown_does(net):
    """Noise out of the frames that a spot does not read must not reach it."""
    for spot in (plan(1), *fills(1), next_frames(3)[13]):
        a, b = reel(), reel()
        a.x = torch.randn(a.x.shape, generator=torch.Generator().manual_seed(1))
        b.x = torch.randn(b.x.shape, generator=torch.Generator().manual_seed(2))
        b.x[:, spot.reads] = a.x[:, spot.reads]
        session = net.session()
        assert torch.equal(session(a.work([spot]), 2), session(b.work([spot]), 2))
        for frame in spot.reads:
            c = reel()
            c.x = a.x.clone()
            c.x[:, frame] += 1
            assert not torch.equal(session(c.work([spot]), 2), session(reel_like(a).work([spot]), 2))


def reel_like(other: Reel) -> Reel:
    made = reel()
    made.x = other.x.clone()
    return made


# One batch, or one by one


@torch.inference_mode()
def filled(net: Planner, way: Any) -> torch.Tensor:
    made, session = reel(), net.session()
    for beat in range(3):
        made.put([plan(beat)], session(made.work([plan(beat)]), 2))
    way(made, session, [gap for beat in range(3) for gap in fills(beat)])
    return made.x


def noise_by_place(made: Reel, session: Any, gaps: list) -> None:
    """A broken batch: noise goes by the place in the batch, not by the frame."""
    work = made.work(gaps)
    made.put(gaps, session(work._replace(noise=work.noise.flip(0)), 2))


def test_gaps_in_one_batch_are_those_filled_one_by_one(net, monkeypatch):
    monkeypatch.setattr(claims, "STEPS", 2)
    alone = filled(net, claims.one_by_one)
    assert torch.allclose(filled(net, claims.one_batch), alone, atol=1e-5)
    assert not torch.allclose(filled(net, noise_by_place), alone, atol=1e-2)


def test_the_lane_paints_the_same_film_whichever_way_and_a_claim_paints_it_too(films, net, monkeypatch):
    together, one = films("mmpl"), films("mmpl", gaps="one")
    assert painted(together) == painted(one) and len(painted(one)) == 28
    monkeypatch.setattr(claims, "BEATS", 3)
    vae = weights.load("tokenizers/vae")
    for lane, way in (("mmpl", "keys first"), ("frame", "frame by frame")):
        for anew in (False, True):
            images = vae.decode(claims.made(net, [4], way, anew, 2).latents(range(1, 28)))
            sent = painted(films(lane, anew=anew))
            data = [mmpl.picture("frame", 0, image, quality=mmpl.QUALITY).data for image in images]
            assert sum(data[i] == sent[i + 1] for i in range(27)) >= 25  # batches differ in the last digit


# The lanes


def test_every_frame_is_painted_once_by_the_network_from_true_or_painted_frames(films):
    for lane, links in (("mmpl", 4), ("frame", 27), ("crew", 4)):
        events = films(lane)
        ev.check(events)
        calls = [e for e in events if isinstance(e, ev.Forward) and e.net.startswith(NET)]
        assert sorted(f for e in calls for f in ev.expand(e.predicts)) == list(range(1, 28))
        known = {0}
        for e in calls:
            assert set(ev.expand(e.reads)) <= known
            known |= set(ev.expand(e.predicts))
        assert max(d.links for d in claims.depths(events).values()) == links == events[-1].summary["links"]
        assert max(d.calls for d in claims.depths(events).values()) == 2 * links == events[-1].summary["calls in a row"]


def test_plans_see_one_frame_and_gaps_the_keys_at_their_ends(films):
    calls = [e for e in films("mmpl", gaps="one") if isinstance(e, ev.Forward) and e.net == NET]
    for beat, e in enumerate(calls[:3]):
        assert ev.expand(e.reads) == [STRIDE * beat] and ev.expand(e.predicts) == [STRIDE * beat + k for k in KEYS]
    for e in calls[3:]:
        (a, b), gap = ev.expand(e.reads), ev.expand(e.predicts)
        assert gap == list(range(a + 1, b)) and {a, b} <= {0, *keys_of(3)}


def test_the_last_key_of_a_beat_is_the_first_frame_of_the_next_and_only_reading_it_anew_changes_it(films, net):
    made = reel()
    made.x = torch.randn(made.x.shape)
    assert torch.equal(made.at(1, 0), made.at(0, STRIDE))
    made.starts[1] = torch.zeros_like(made.at(1, 0))
    assert not made.at(1, 0).any() and made.at(0, STRIDE).any()
    anew, not_anew = films("mmpl", anew=True), films("mmpl")
    encoders = [e for e in anew if isinstance(e, ev.Forward) and e.net == mmpl.ENCODER]
    assert [ev.expand(e.reads) for e in encoders] == [[9], [18]]
    assert not [e for e in not_anew if isinstance(e, ev.Forward) and e.net == mmpl.ENCODER]
    assert all(painted(anew)[k] == painted(not_anew)[k] for k in KEYS)
    assert any(painted(anew)[k + STRIDE] != painted(not_anew)[k + STRIDE] for k in KEYS)


def test_a_film_of_one_beat_is_the_first_plan_of_a_longer_one(net):
    one, long = reel(beats=1), reel(beats=3)
    for made in (one, long):
        made.put([plan(0)], net.session()(made.work([plan(0)]), 3))
    assert torch.equal(one.x[:, : STRIDE + 1], long.x[:, : STRIDE + 1]) and not long.x[:, STRIDE + 1 :].any()


def test_previews_change_nothing_but_what_is_seen(films):
    shown, hidden = films("mmpl"), films("mmpl", previews=False)
    assert ev.digest(shown) == ev.digest(hidden) and not painted(hidden)


# Workers


def test_a_schedule_wastes_no_work_and_is_never_shorter_than_it_can_be():
    rng = random.Random(0)
    for _ in range(60):
        beats, workers, plan_first = rng.randint(1, 9), rng.randint(1, 8), rng.random() < 0.5
        plans, gaps = ([rng.uniform(0.2, 3) for _ in range(beats)] for _ in range(2))
        slots = schedule(plans, gaps, workers, plan_first)
        assert len(slots) == len({slot.task for slot in slots}) == 2 * beats
        work = sum(plans) + sum(gaps)
        assert sum(slot.stop - slot.start for slot in slots) == pytest.approx(work)
        chain = sum(plans) + (gaps[-1] if not plan_first else max(gaps))
        assert makespan(slots) >= max(work / workers, chain) - 1e-9
        if workers == 1:
            assert makespan(slots) == pytest.approx(work)
        at = {slot.task: slot for slot in slots}
        for slot in slots:
            if slot.task.kind == "fill":
                assert slot.start >= at[Task("plan", beats - 1 if plan_first else slot.task.beat)].stop
            elif slot.task.beat:
                assert slot.start >= at[Task("plan", slot.task.beat - 1)].stop
        for one, next_ in zip(slots, slots[1:], strict=False):
            same = [s for s in slots if s.worker == one.worker]
            assert all(a.stop <= b.start + 1e-9 for a, b in zip(same, same[1:], strict=False)), next_


def test_workers_paint_the_same_film_and_both_work_each_with_its_own_count(films):
    alone, two = films("mmpl"), films("crew")
    assert painted(two) == painted(alone)
    calls = [e for e in two if isinstance(e, ev.Forward) and e.net.startswith(NET)]
    assert {(e.worker, e.net) for e in calls} == {(0, NET), (1, f"{NET}.2")}
    for name in (NET, f"{NET}.2"):
        own = [e.calls for e in calls if e.net == name]
        assert own == list(range(2, 2 * len(own) + 1, 2))
    assert two[-1].summary["calls"] == 2 * len(calls) == 12
    assert record.untimed(films("crew")) == record.untimed(two)


def test_a_job_begins_when_what_it_needs_is_there_on_the_clock_that_workers_share(films):
    calls = [e for e in films("crew") if isinstance(e, ev.Forward) and e.net.startswith(NET)]
    over = {frame: e.start_ms + e.ms for e in calls for frame in ev.expand(e.predicts)}
    for e in calls:
        assert all(e.start_ms >= over.get(frame, 0.0) - 0.01 for frame in ev.expand(e.reads))
    for worker in (0, 1):
        own = sorted((e.start_ms, e.start_ms + e.ms) for e in calls if e.worker == worker)
        assert all(a[1] <= b[0] + 0.01 for a, b in zip(own, own[1:], strict=False))


def test_one_worker_does_all_jobs_in_turn(films):
    calls = [e for e in films("crew", workers=1) if isinstance(e, ev.Forward) and e.net.startswith(NET)]
    assert {e.worker for e in calls} == {0} and len(calls) == 6


def test_a_lane_with_workers_runs_after_the_others(stand_in):
    events = list(run(MMPL, QUICK, seed=4, lanes=["crew", "mmpl"], nets=stand_in))
    first = next(i for i, e in enumerate(events) if e.lane == "crew")
    assert all(e.lane == "mmpl" for e in events[:first]) and isinstance(events[first - 1], ev.Done)


def test_stop_ends_the_workers_too(stand_in):
    before, seen = threading.active_count(), []
    for e in run(MMPL, {"beats": 6}, seed=4, lanes=["crew"], nets=stand_in, cancel=lambda: len(seen) >= 6):
        seen.append(e)
    assert isinstance(seen[-1], ev.Done) and seen[-1].reason == "cancelled"
    assert threading.active_count() == before


def test_what_breaks_in_a_worker_is_told_by_the_lane(stand_in):
    class Broken:
        net, cache_bytes = make_planner(), 0

        def __call__(self, *_: Any) -> None:
            raise Cancelled("stopped")

    *_, last = run(MMPL, QUICK, seed=4, lanes=["crew"], nets=lambda n: Broken() if n == NET else stand_in(n))
    assert isinstance(last, ev.Done) and last.reason == "cancelled"


# Training


def test_a_step_teaches_all_jobs_and_reaches_every_parameter():
    torch.manual_seed(0)
    net = Planner(width=32, heads=2, hidden=48, layers=2)
    objects, hops = scenes.script(range(8), 1)
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    # Every frame is a little brighter than the one before it.
    x = torch.randn(8, 1, 16, 32, generator=generator) + 0.3 * torch.arange(11)[:, None, None]
    batch = x, objects[:, 0], objects[:, 1], hops[:, 0]

    @torch.no_grad()
    def mean() -> float:
        fixed = torch.Generator().manual_seed(2)
        return sum(float(train.loss(net, batch, fixed)[0]) for _ in range(16)) / 16

    before = mean()
    for _ in range(60):
        value, weight = train.loss(net, batch, generator)
        net.zero_grad()
        value.backward()
        optimizer.step()
    assert weight == 0.5 and mean() < 0.7 * before
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_next_frames_get_as_many_rows_as_planning_and_filling():
    kinds = [job.task for job in train.jobs_of(1, torch.Generator().manual_seed(0))]
    assert kinds.count(2) == kinds.count(0) + kinds.count(1)
    for seed in range(40):
        for job in train.jobs_of(0, torch.Generator().manual_seed(seed)):
            assert job.beside >= 0 and (job.other is None or job.other >= 0)  # nothing before the film


# Claims


def trial(claim: str, stand_in: Any, effort: float = 1.0, subject: Any = None) -> dict[str, Any]:
    one = next(c for c in MMPL.claims if c.id == claim)
    *_, last = one.measure(Trial(MMPL, one, effort, subject=subject, nets=stand_in))
    return complete(one, last)


def test_links_are_counted_and_a_lane_that_goes_frame_by_frame_is_caught(stand_in):
    found = trial("links-in-the-chain", stand_in)
    assert found["holds"] and found["here"] == pytest.approx(8 / 63)
    assert trial("links-in-the-chain", stand_in, subject=mmpl.frame_by_frame)["holds"] is False


def test_one_batch_must_paint_the_same_frames_and_take_less_time(stand_in, loaded):
    def lazy(made: Reel, session: Any, gaps: list) -> None:
        """Fills nothing, in no time."""

    assert trial("batched-fill", stand_in, 0.01, lazy)["holds"] is False
    assert trial("batched-fill", stand_in, 0.01, claims.one_by_one)["holds"] is not True


def test_a_network_that_learned_nothing_drifts_either_way(stand_in):
    assert trial("drift", stand_in, 1 / 6, make_planner())["holds"] is False


def test_expected_costs_are_patches():
    assert (crew.PLAN_COST, crew.FILL_COST) == (48, 96)
    assert len(crew.slots_of(4, 2)) == 8
