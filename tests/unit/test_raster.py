"""Painting code by code: identities of the two networks, their caches, the schedule, guidance, and the lanes' events.

Networks are real ones with random weights; the tokenizer is a stand-in that paints a code as a grey.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from painters import CAPTIONS, CLOSE, SMALL, Greys, codes, ids_of, make

from engines import events as ev
from engines.noise import Noise
from engines.painting import Painter
from engines.raster import canvas as sheet
from engines.raster import claims, guidance, nar, random_order, raster, sampler, train
from engines.raster.exhibits import RASTER
from engines.raster.guidance import Rule, guide, law
from engines.raster.model import NETWORKS, RandomOrder, Raster, rope_table, rotate
from engines.raster.neighbours import Neighbours
from engines.raster.sampler import in_order, in_raster, keyed, paint, schedule
from engines.runtime import Meter, Trial, run
from engines.scene_settings import asked
from engines.worlds import scenes


@pytest.fixture(scope="module")
def rows() -> Raster:
    return make(Raster)


@pytest.fixture(scope="module")
def free() -> RandomOrder:
    return make(RandomOrder)


@pytest.fixture
def stand_in(rows, free):
    known = {raster.NET: rows, random_order.NET: free}
    return lambda name: Greys() if name in (sheet.VQ, f"{sheet.VQ}_sketch") else known[name].session()


def orders(count: int, cells: int = 64) -> torch.Tensor:
    made = torch.Generator().manual_seed(5)
    return torch.stack([torch.randperm(cells, generator=made) for _ in range(count)])


# Networks


def test_a_zero_head_costs_log_v_at_the_first_step():
    batch = (codes(3, 64), CAPTIONS)
    for kind, loss in ((Raster, train.raster_loss), (RandomOrder, train.random_loss)):
        value, weight = loss(kind(**SMALL), batch, torch.Generator().manual_seed(0))
        assert value.item() == pytest.approx(math.log(512), abs=1e-5) and weight == 1.0


def test_both_networks_are_as_large_as_they_may_be_and_equal_but_for_one_vector():
    counts = [sum(p.numel() for p in kind(**(train.SHAPE | {"vocab": 512, "side": 8})).parameters())
              for kind in NETWORKS]
    assert max(counts) <= 1_200_000 and counts[1] - counts[0] == train.SHAPE["width"]


def test_a_turn_depends_on_differences_of_rows_and_columns_only():
    turn = rope_table(4, 16, 1)[1:]
    q, k = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(1))

    def match(a: int, b: int) -> float:
        return float((rotate(q, turn[a : a + 1]) * rotate(k, turn[b : b + 1])).sum())

    # one step down and two to the right, from two places
    assert match(0, 6) == pytest.approx(match(9, 15), abs=1e-5)
    assert match(0, 6) != pytest.approx(match(0, 9), abs=1e-3)


def test_a_cell_never_sees_what_comes_after_it(rows, free):
    tokens, order = codes(1, 64), orders(1)
    other = tokens.clone()
    late = int(order[0, 40])
    other[0, late] = (other[0, late] + 1) % 512
    condition = free.condition(CAPTIONS[:1])
    a, b = free(*condition, tokens, order), free(*condition, other, order)
    torch.testing.assert_close(a[0, :41], b[0, :41], rtol=0, atol=0)
    assert not torch.allclose(a[0, 41], b[0, 41])
    changed = tokens.clone()
    changed[0, 30] = (changed[0, 30] + 1) % 512
    a, b = (rows(*rows.condition(CAPTIONS[:1]), t[:, :-1]) for t in (tokens, changed))
    torch.testing.assert_close(a[0, :31], b[0, :31], rtol=0, atol=0)
    assert not torch.allclose(a[0, 31], b[0, 31])


def test_the_random_order_net_is_told_where_a_code_goes(free):
    tokens, order = codes(1, 64), orders(1)
    other = order.clone()
    other[0, [20, 50]] = order[0, [50, 20]]
    condition = free.condition(CAPTIONS[:1])
    a, b = free(*condition, tokens, order), free(*condition, tokens, other)
    torch.testing.assert_close(a[0, :20], b[0, :20], rtol=0, atol=0)
    assert (a[0, 20] - b[0, 20]).abs().max() > 1e-3


def test_a_dropped_caption_says_nothing(rows):
    keep = torch.tensor([False, False, False])
    prefix, place = rows.condition(CAPTIONS, keep)
    assert torch.equal(prefix[0], prefix[1]) and torch.equal(place[0], place[2])
    told = rows.condition(CAPTIONS, ~keep)
    torch.testing.assert_close(told[1], rows.condition(CAPTIONS)[1])
    assert not torch.equal(told[0][0], told[0][1])


def test_cached_steps_equal_the_full_forward_for_both_rows_of_a_pair(rows):
    tokens = codes(3, 64)
    session = rows.session(6)
    null = torch.zeros(3, dtype=torch.bool)
    full = torch.stack([rows(*rows.condition(CAPTIONS), tokens[:, :-1]),
                        rows(*rows.condition(CAPTIONS, null), tokens[:, :-1])])
    for n in range(64):
        z = session(CAPTIONS, tokens[:, :n], True)
        torch.testing.assert_close(z[:, :, 0], full[:, :, n], **CLOSE)
        assert session.last["computes"] == ([n - 1] if n else [])
        assert session.last["reads"] == list(range(n - 1))


def test_cached_steps_equal_the_full_forward_in_any_order(free):
    tokens, order = codes(3, 64), orders(3)
    drawn = tokens.gather(1, order)
    full = free(*free.condition(CAPTIONS), tokens, order)
    session = free.session(3)
    for n in range(64):
        z = session(CAPTIONS, order[:, :n], drawn[:, :n], order[:, n : n + 1], False)
        torch.testing.assert_close(z[0, :, 0], full[:, n], **CLOSE)
    assert session.last["computes"] == order[0, 62:].tolist()


def test_several_at_a_time_the_cache_is_put_back_into_the_layout_of_training(free):
    tokens, order = codes(2, 64), orders(2)
    drawn, objects = tokens.gather(1, order), CAPTIONS[:2]
    full = free(*free.condition(objects), tokens, order)
    session, done = free.session(2), 0
    for count in schedule(64, 9):
        call = (objects, order[:, :done], drawn[:, :done], order[:, done : done + count], False)
        z = session(*call)
        torch.testing.assert_close(z, free.session(2)(*call), **CLOSE)
        # The first query of a call sees just what training would have shown it.
        torch.testing.assert_close(z[0, :, 0], full[:, done], **CLOSE)
        assert set(session.last["reads"]).isdisjoint(session.last["computes"])
        done += count


def test_going_back_and_on_differently_equals_a_fresh_start(rows, free):
    tokens, other, objects = codes(1, 20), codes(1, 20, seed=9), CAPTIONS[:1]
    session = rows.session()
    session(objects, tokens, True)
    branch = torch.cat([tokens[:, :7], other[:, :5]], dim=1)
    torch.testing.assert_close(session(objects, branch, True), rows.session()(objects, branch, True), **CLOSE)
    assert session.last["reads"] == list(range(7))
    # Another caption, then none of the pair: nothing of the old cache may be believed.
    for call in ((CAPTIONS[1:2], branch, True), (CAPTIONS[1:2], branch, False), (objects, branch[:, :0], False)):
        torch.testing.assert_close(session(*call), rows.session()(*call), **CLOSE)
    session = free.session()
    cells = torch.arange(20)[None]
    session(objects, cells, tokens, torch.tensor([[30, 31]]), True)
    call = (objects, cells, torch.cat([tokens[:, :7], other[:, :13]], dim=1), torch.tensor([[40]]), True)
    torch.testing.assert_close(session(*call), free.session()(*call), **CLOSE)


def test_a_session_that_failed_half_way_does_not_believe_its_cache(rows, monkeypatch):
    tokens, objects = codes(1, 12), CAPTIONS[:1]
    session = rows.session()
    session(objects, tokens, True)
    write = session.cache.write

    def break_late(layer: int, *rest: Any) -> Any:
        if layer == 1:
            raise RuntimeError("interrupted")
        return write(layer, *rest)

    monkeypatch.setattr(session.cache, "write", break_late)
    with pytest.raises(RuntimeError):
        session(objects, torch.cat([tokens[:, :4], codes(1, 6, seed=2)], dim=1), True)
    monkeypatch.undo()
    torch.testing.assert_close(session(objects, tokens, True), rows.session()(objects, tokens, True), **CLOSE)


# Schedule and guidance


@pytest.mark.parametrize("cells", [1, 5, 16, 63, 64, 256])
def test_a_schedule_draws_every_cell_once_in_at_most_the_steps_asked_for(cells):
    for steps in range(1, cells + 1):
        counts = schedule(cells, steps)
        assert sum(counts) == cells and min(counts) >= 1 and len(counts) == steps
    assert schedule(cells, cells) == [1] * cells


def test_schedules_of_the_paper_start_with_single_cells_and_grow():
    counts = schedule(256, 88)
    assert counts[:8] == [1] * 8 and sum(counts) == 256 and len(counts) == 88
    assert np.mean(counts[-20:]) > 3 * np.mean(counts[:20])


def test_guidance_of_one_is_the_conditional_law_and_more_pulls_away_from_the_other():
    z = torch.randn(2, 1, 1, 9, generator=torch.Generator().manual_seed(2))
    alone, none, more = (guide(z, Rule(guidance=s), 0, 64)[0, 0] for s in (1.0, 0.0, 3.0))
    np.testing.assert_allclose(alone, z[0, 0, 0].double(), atol=1e-12)
    np.testing.assert_allclose(none, z[1, 0, 0].double(), atol=1e-12)
    np.testing.assert_allclose(more - alone, 2 * (alone - none), atol=1e-6)
    assert not Rule(guidance=1.0).guided and Rule(guidance=1.25).guided
    np.testing.assert_array_equal(guide(z[:1], Rule(guidance=1.0), 0, 64)[0, 0], z[0, 0, 0].double())


def test_a_ramp_rises_with_the_share_of_cells_and_an_interval_ends_guidance():
    rule = Rule(guidance=3.0, start=1.0)
    assert [rule.scale(n, 64) for n in (0, 32, 64)] == [1.0, 2.0, 3.0]
    ended = Rule(guidance=3.0, interval=4)
    assert [ended.scale(n, 64) for n in (0, 5, 6)] == [3.0, 3.0, 1.0]


def test_filters_apply_to_every_row_of_a_batch():
    z = np.log(np.array([[[0.5, 0.3, 0.15, 0.05]], [[0.05, 0.15, 0.3, 0.5]]]))
    np.testing.assert_allclose(law(z, Rule(top_k=2))[:, 0], [[0.625, 0.375, 0, 0], [0, 0, 0.375, 0.625]])
    np.testing.assert_allclose(law(z, Rule(top_p=0.6))[:, 0], [[0.625, 0.375, 0, 0], [0, 0, 0.375, 0.625]])
    np.testing.assert_allclose(law(z, Rule(temperature=0))[:, 0], [[1, 0, 0, 0], [0, 0, 0, 1]])


# Decoding


@pytest.mark.parametrize("settings", [{}, {"guidance": 1.0, "top_k": 40}, {"order": "27,28,3", "steps": 12}])
def test_the_lanes_keep_the_rules_and_paint_what_the_batched_sampler_paints(stand_in, rows, free, settings):
    events = list(run(RASTER, settings, seed=11, nets=stand_in))
    ev.check(events)
    assert {e.reason for e in events if isinstance(e, ev.Done)} == {"finished"}
    parsed = RASTER.parse(settings)
    objects = asked("", 11)
    rule = sheet.rule_of(parsed)
    assert ids_of(events, "raster") == paint(rows, objects, [11], rule)[0].tolist()

    def order(seed: int) -> list[int]:
        return random_order.ORDER.cells_of(parsed.order, 8, 8, Noise(seed))

    assert ids_of(events, "any-order") == paint(free, objects, [11], rule, order, parsed.steps)[0].tolist()


def test_a_picture_does_not_depend_on_its_batch(rows, free):
    together = paint(free, CAPTIONS, [4, 5, 6], Rule(), lambda seed: train.shuffled(seed), steps=20)
    alone = paint(free, CAPTIONS[1:2], [5], Rule(), lambda seed: train.shuffled(seed), steps=20)
    assert torch.equal(together[1:2], alone)
    assert torch.equal(paint(rows, CAPTIONS, [4, 5, 6], Rule())[2:], paint(rows, CAPTIONS[2:], [6], Rule()))


@pytest.mark.parametrize("order", ["raster", "snake", "columns", "spiral", "random", "63,0,9-12"])
def test_commits_come_in_the_order_that_was_asked_for_one_a_call(stand_in, order):
    events = list(run(RASTER, {"order": order, "previews": False}, seed=3, lanes=["any-order"], nets=stand_in))
    commits = [e for e in events if isinstance(e, ev.Commit)]
    wanted = random_order.ORDER.cells_of(order, 8, 8, Noise(3))
    assert [ev.expand(e.cells) for e in commits] == [[cell] for cell in wanted]
    calls = [e for e in events if isinstance(e, ev.Forward) and e.net == random_order.NET]
    assert [e.calls for e in calls] == list(range(1, 65)) and calls[-1].nfe == 128


def test_steps_are_calls_and_cells_of_a_step_are_one_decision(stand_in):
    events = list(run(RASTER, {"steps": 22}, seed=3, lanes=["any-order"], nets=stand_in))
    calls = [e for e in events if isinstance(e, ev.Forward) and e.net == random_order.NET]
    commits = [ev.expand(e.cells) for e in events if isinstance(e, ev.Commit)]
    assert len(calls) == len(commits) == 22 and [len(c) for c in commits] == schedule(64, 22)
    assert [ev.expand(e.predicts) for e in calls] == commits


def test_without_guidance_there_is_one_evaluation_a_code_and_one_distribution(stand_in):
    events = list(run(RASTER, {"guidance": 1.0}, seed=3, lanes=["raster"], nets=stand_in))
    last = [e for e in events if isinstance(e, ev.Forward) and e.net == raster.NET][-1]
    assert (last.calls, last.nfe) == (64, 64)
    assert all(set(e.dists) == {"guided"} for e in events if isinstance(e, ev.Commit))


def test_known_codes_come_first_and_are_seen_by_all_that_follow(free):
    order, given = orders(2), codes(2, 10)
    session = free.session(2)
    objects = CAPTIONS[:2]
    counts = schedule(54, 54)
    ids = in_order(session, objects, order, keyed([1, 2]), Rule(guidance=1.0), counts, known=given)
    assert torch.equal(ids.gather(1, order[:, :10]), given)
    other = in_order(session, objects, order, keyed([1, 2]), Rule(guidance=1.0), counts, known=(given + 1) % 512)
    assert (ids != other).gather(1, order[:, 10:]).any()


def test_a_lane_can_begin_with_known_codes(free):
    canvas = sheet.Canvas(CAPTIONS[:1], orders(1)[0].tolist())
    canvas.known = [(cell, 7) for cell in canvas.order[:20]]
    canvas.prompt = 20
    meter = Meter(lambda name: free.session() if name == random_order.NET else Greys())
    paint = Painter(meter, sheet.VQ)
    begin = sheet.begin(canvas, "", random_order.NET, paint)
    assert ev.expand(begin.given["cells"]) == canvas.order[:20]
    events = list(random_order.fill(canvas, 64, Rule(), Noise(1), meter, paint))
    assert sum(len(e.cells) for e in events if isinstance(e, ev.Commit)) == 44 and not canvas.left
    assert [v for _, v in canvas.known[:20]] == [7] * 20


def test_forcing_a_code_leaves_the_noise_of_the_others(stand_in):
    plain = list(run(RASTER, seed=3, lanes=["raster"], nets=stand_in))
    at = next(e.n for e in plain if isinstance(e, ev.Forward) and ev.expand(e.predicts) == [40])
    force = {"do": "force", "lane": "raster", "cell": 40, "value": 17, "after": at}
    forced = list(run(RASTER, seed=3, interventions=[force], lanes=["raster"], nets=stand_in))
    ev.check(forced)
    a, b = ids_of(plain, "raster"), ids_of(forced, "raster")
    assert b[40] == 17 and a[:40] == b[:40]
    held = next(e for e in forced if isinstance(e, ev.Commit) and ev.expand(e.cells) == [40])
    assert held.origin == "forced"


def test_bars_are_what_the_network_said_with_guidance_and_without_a_caption(stand_in, rows):
    events = list(run(RASTER, {"guidance": 3.0}, seed=3, lanes=["raster"], nets=stand_in))
    first = next(e for e in events if isinstance(e, ev.Commit))
    z = rows.session()(asked("", 3), codes(1, 0), True)[:, 0, 0].double()
    wanted = {"guided": (z[1] + 3 * (z[0] - z[1])).softmax(0), "unconditional": z[1].softmax(0)}
    for name, p in wanted.items():
        bars = first.dists[name][0]
        assert {v for v, _ in bars["top"]} >= set(p.topk(sheet.SHOWN).indices.tolist())
        assert all(q == pytest.approx(float(p[v]), abs=1e-6) for v, q in bars["top"])
    assert first.p == [pytest.approx(float(wanted["guided"][first.values[0]]), abs=1e-6)]


def test_the_pull_of_the_caption_is_told_once_for_all_cells(stand_in):
    events = list(run(RASTER, seed=3, lanes=["any-order"], nets=stand_in))
    (pull,) = [e for e in events if isinstance(e, ev.Measure)]
    wanted = random_order.ORDER.cells_of("spiral", 8, 8, Noise(3))
    assert pull.cells == wanted and len(pull.values) == 64
    # A forward pass under a caption and under none tells the same of the cell that was drawn last.
    last = [e for e in events if isinstance(e, ev.Commit)][-1]
    shown = [dict(map(tuple, last.dists[name][0]["top"]))[last.values[0]] for name in ("guided", "unconditional")]
    assert pull.values[-1] == pytest.approx(math.log(shown[0] / shown[1]), abs=1e-6)


def test_previews_are_sparse_off_the_clock_and_can_be_switched_off(stand_in):
    shown = [e for e in run(RASTER, seed=3, lanes=["raster"], nets=stand_in) if isinstance(e, ev.Preview)]
    assert [e.level for e in shown] == [*range(sheet.EVERY, 64, sheet.EVERY), 64]
    off = list(run(RASTER, {"previews": False}, seed=3, lanes=["raster"], nets=stand_in))
    assert [e.level for e in off if isinstance(e, ev.Preview)] == [64]
    assert sum(e.net == sheet.VQ for e in off if isinstance(e, ev.Forward)) == 1


def test_a_default_run_stays_within_the_budget_of_a_trace(stand_in):
    events = list(run(RASTER, nets=stand_in))
    assert len(events) <= 3_000 and len(ev.write_trace({"exhibit": "raster"}, events)) <= 2_000_000
    for event in events:
        if isinstance(event, ev.Commit):
            assert set(event.dists) == {"guided", "unconditional"}
            assert all(len(d["top"]) <= sheet.SHOWN + 1 for rows_ in event.dists.values() for d in rows_)


# Claims


def trial(claim: str, **more: Any) -> Trial:
    return Trial(RASTER, next(c for c in RASTER.claims if c.id == claim), **more)


@pytest.fixture
def loaded(monkeypatch, rows, free):
    """Small random networks and grey pictures in the place of the stored ones."""
    known = {raster.NET: rows, random_order.NET: free, sheet.VQ: Greys()}
    monkeypatch.setattr(claims.weights, "load", known.__getitem__)
    return known


def test_the_cache_claim_holds_and_falls_for_a_cache_that_is_off_by_one(loaded):
    *_, good = claims.cached_equals_full(trial("cached-equals-full", effort=0.15))
    assert good["holds"] and good["here"] == 1 and good["n"] == 2 * 2 * (64 + 128)

    def shifted(network: Any, count: int) -> Any:
        session = network.session(count)
        write = session.cache.write

        def off_by_one(layer: int, start: int, k: torch.Tensor, v: torch.Tensor) -> Any:
            keys, values = write(layer, start, k, v)
            # A key is paired with its neighbour's value.
            return torch.cat([keys[:, :, :start].roll(1, 2), keys[:, :, start:]], dim=2), values

        session.cache.write = off_by_one
        return session

    *_, bad = claims.cached_equals_full(trial("cached-equals-full", effort=0.15, subject=shifted))
    assert bad["holds"] is False and bad["here"] < 0.5


def test_the_judge_claim_falls_for_random_weights(loaded, monkeypatch):
    def nothing_right(images: torch.Tensor, objects: torch.Tensor) -> Any:
        assert images.shape == (len(objects), 3, 64, 64)
        return SimpleNamespace(right=torch.zeros(len(objects), 4, dtype=torch.bool),
                               scene=torch.zeros(len(objects), dtype=torch.bool))

    def all_right(images: torch.Tensor, objects: torch.Tensor) -> Any:
        return SimpleNamespace(right=objects[..., 0] >= 0, scene=torch.ones(len(objects), dtype=torch.bool))

    for answer, holds in ((nothing_right, False), (all_right, True)):
        monkeypatch.setattr(claims.judges, "score", answer)
        *_, result = claims.judge(trial("judge", effort=0.06))
        assert result["holds"] is holds and result["n"] == 61


def test_the_price_of_an_order_is_told_for_every_way(loaded, monkeypatch):
    monkeypatch.setattr(claims.judges, "score", lambda images, objects: SimpleNamespace(
        right=objects[..., 0] >= 0, scene=torch.ones(len(objects), dtype=torch.bool)))
    monkeypatch.setattr(claims.judges, "features", lambda images: images.flatten(1)[:, :6])
    *_, result = claims.order_cost(trial("order-cost", effort=0.1))
    assert [p["x"] for p in result["points"][1:]] == [way[0] for way in claims.WAYS]
    assert result["here"] == 0 and all(p["fd"] >= 0 for p in result["points"])


def test_default_settings_are_the_rule_that_claims_use():
    assert sheet.rule_of(RASTER.parse({})) == Rule() and RASTER.parse({}).guidance == guidance.BEST


# Training


KINDS = {raster.NET: Raster, random_order.NET: RandomOrder, nar.NET: Neighbours}


@pytest.mark.parametrize("name", list(train.RECIPES))
def test_a_recipe_learns_from_batches_that_it_is_given(name):
    recipe = train.RECIPES[name]
    torch.manual_seed(0)
    network = KINDS[name](**SMALL)
    generator = torch.Generator().manual_seed(1)
    batch = (codes(4, 64) % 7, scenes.captions(range(4)))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        value, _ = recipe.loss(network, batch, generator)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_network_that_knows_every_code_where_it_is_asked_has_no_loss():
    wanted = codes(3, 64)

    class Knows(Raster):
        def forward(self, prefix: Any, place: Any, tokens: Any) -> Any:
            assert torch.equal(tokens, wanted[:, :-1])
            return 50.0 * torch.nn.functional.one_hot(wanted, 512)

    class KnowsOrder(RandomOrder):
        def forward(self, prefix: Any, place: Any, tokens: Any, order: Any) -> Any:  # type: ignore[override]
            assert torch.equal(tokens, wanted)
            return 50.0 * torch.nn.functional.one_hot(wanted.gather(1, order), 512)

    for network, loss in ((Knows, train.raster_loss), (KnowsOrder, train.random_loss)):
        value, _ = loss(network(**SMALL), (wanted, CAPTIONS), torch.Generator().manual_seed(0))
        assert value.item() < 1e-6


def test_random_orders_of_training_are_permutations_and_differ_by_row():
    seen: list[torch.Tensor] = []

    class Spy(RandomOrder):
        def forward(self, prefix: Any, place: Any, tokens: Any, order: Any) -> Any:  # type: ignore[override]
            seen.append(order)
            return super().forward(prefix, place, tokens, order)

    for step in range(2):
        train.random_loss(Spy(**SMALL), (codes(3, 64), CAPTIONS), torch.Generator().manual_seed(step))
    assert all(torch.equal(o.sort(dim=1).values, torch.arange(64).expand(3, -1)) for o in seen)
    assert not torch.equal(seen[0][0], seen[0][1]) and not torch.equal(seen[0], seen[1])
    assert sampler.ROWS >= 64


def test_plain_samplers_take_any_draw(rows):
    first = in_raster(rows.session(1), CAPTIONS[:1], lambda cells, p: torch.from_numpy(p.argmax(-1)),
                      Rule(guidance=1.0))
    again = paint(rows, CAPTIONS[:1], [0], Rule(guidance=1.0, temperature=0))
    assert torch.equal(first, again)
