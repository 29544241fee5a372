"""Painting by diagonals: which neighbours a cell hears, what it may depend on, the cache, the lane and its claims.

Networks are real ones with random weights; the tokenizer is a stand-in that paints a code as a grey.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from painters import CAPTIONS, CLOSE, SMALL, Greys, codes, ids_of, make

from engines import backends, catalog, record
from engines import events as ev
from engines.raster import canvas as sheet
from engines.raster import claims, nar, nar_claims, random_order, raster, sampler, train
from engines.raster.exhibits import NAR, RASTER
from engines.raster.guidance import Rule
from engines.raster.model import RandomOrder, Raster, RasterSession
from engines.raster.neighbours import Neighbours, diagonals, mix
from engines.raster.sampler import paint
from engines.runtime import Trial, complete, run
from engines.scene_settings import asked
from engines.worlds import scenes

DISTANCE = [cell // 8 + cell % 8 for cell in range(64)]


@pytest.fixture(scope="module")
def network() -> Neighbours:
    return make(Neighbours)


@pytest.fixture(scope="module")
def known(network) -> dict[str, Any]:
    return {nar.NET: network, raster.NET: make(Raster), random_order.NET: make(RandomOrder), sheet.VQ: Greys()}


@pytest.fixture
def stand_in(known, monkeypatch):
    monkeypatch.setitem(catalog.EXHIBITS, "raster", RASTER)
    return lambda name: Greys() if name.startswith("tokenizers") else known[name].session()


# Which cells, and whom they hear


@pytest.mark.parametrize("side", [1, 2, 4, 8, 16])
def test_diagonals_hold_every_cell_once_in_2n_minus_1_steps(side):
    groups = diagonals(side)
    assert sorted(cell for group in groups for cell in group) == list(range(side * side))
    assert len(groups) == 2 * side - 1 and max(map(len, groups)) == side
    for d, group in enumerate(groups):
        assert len(group) == (d + 1 if d < side else 2 * side - 1 - d)
        assert all(cell // side + cell % side == d for cell in group) and group == sorted(group)


def test_a_cell_hears_its_left_neighbours_right_head_and_its_upper_neighbours_lower_one(network):
    order = network.order.tolist()
    assert network.sources[0].tolist() == [0, 1]  # both of the condition
    for rank, (left, above) in enumerate(network.sources.tolist()):
        if rank == 0:
            continue
        row, column = divmod(order[rank], 8)
        want = [(row * 8 + column - 1, 0) if column else None, ((row - 1) * 8 + column, 1) if row else None]
        got = [(order[source // 2 - 1], source % 2) for source in (left, above)]
        assert got == [want[0] or want[1], want[1] or want[0]]


def test_an_input_sees_the_condition_and_all_diagonals_up_to_its_own(network):
    order, seen = network.order, network.sight(0, network.prefix + 64)
    distance = torch.tensor(DISTANCE)[order]
    assert torch.equal(seen[4:, 4:], distance[None] <= distance[:, None])
    assert seen[4:, :4].all() and torch.equal(seen[:4], torch.ones(4, 68, dtype=torch.bool).tril())
    assert seen.sum(1).tolist()[4:] == [4 + sum(x <= d for x in DISTANCE) for d in distance.tolist()]


def test_an_input_is_told_what_lies_where_it_points(network):
    prefix, told = network.condition(CAPTIONS[:1])
    _, place = super(type(network.condition), network.condition).forward(CAPTIONS[:1])
    down = place @ network.condition.down.T
    torch.testing.assert_close(told[:, 0], place[:, 0] + down[:, 0], **CLOSE)
    rank = {cell: i for i, cell in enumerate(network.order.tolist())}
    torch.testing.assert_close(told[:, rank[9] + 1], place[:, 10] + down[:, 17], **CLOSE)
    torch.testing.assert_close(told[:, rank[15] + 1], down[:, 23], **CLOSE)  # nothing stands to the right of it
    torch.testing.assert_close(told[:, rank[57] + 1], place[:, 58], **CLOSE)  # nor below this one


def test_opinions_are_mixed_by_the_share_of_the_left_one():
    heard = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(mix(heard), (heard[:, 0] + heard[:, 1]) / 2)
    assert torch.equal(mix(heard, 1.0), heard[:, 0]) and torch.equal(mix(heard, 0.0), heard[:, 1])
    torch.testing.assert_close(mix(heard, 0.25), 0.25 * heard[:, 0] + 0.75 * heard[:, 1])


def test_the_heads_are_two_and_the_lower_one_reads_a_block_later(network):
    twin = make(Neighbours)
    condition, tokens = network.condition(CAPTIONS), codes(3, 63)
    plain = network.opinions(*condition, tokens)
    assert (plain[:, 9:, 0] - plain[:, 9:, 1]).abs().max() > 0.1
    torch.nn.init.zeros_(twin.blocks[-1].down)
    changed = twin.opinions(*twin.condition(CAPTIONS), tokens)
    right = network.sources % 2 == 0
    assert torch.equal(plain[:, right], changed[:, right])
    assert not torch.allclose(plain[:, ~right], changed[:, ~right], atol=1e-3)


# Causality


def test_logits_depend_on_earlier_diagonals_only_and_on_all_of_the_one_before(network):
    good, pairs = nar_claims.agreement(network, codes(1, 64)[0], CAPTIONS[0])
    assert good == pairs == sum(a <= b for a in DISTANCE for b in DISTANCE) + sum(
        a == b + 1 for a in DISTANCE for b in DISTANCE)


def test_other_masks_are_caught(network):
    """Causal row by row, causal within a diagonal from its top down, and one that sees the next diagonal."""
    rank = torch.arange(68)
    within = rank[None] <= rank[:, None]
    reach = torch.tensor([4] * 4 + [4 + sum(x <= d + 1 for x in DISTANCE) for d in sorted(DISTANCE)])
    ahead = rank[None] < reach[:, None]
    one, caption = codes(1, 64)[0], CAPTIONS[0]
    good, pairs = nar_claims.agreement(nar_claims.row_by_row(network), one, caption)
    assert good < 0.9 * pairs
    for mask in (within, ahead):
        twin = nar_claims.row_by_row(network)
        twin.__dict__["sight"] = lambda start, stop, device=None, mask=mask: mask[start:stop, :stop]
        good, pairs = nar_claims.agreement(twin, one, caption)
        assert good < pairs


# The cache


def test_cached_steps_equal_one_pass_for_both_rows_of_a_pair(network):
    tokens = codes(3, 64)
    ranked, session = tokens[:, network.order], network.session(6)
    null = torch.zeros(3, dtype=torch.bool)
    full = torch.stack([network.opinions(*network.condition(CAPTIONS, keep), ranked[:, :-1]) for keep in (~null, null)])
    for d, n in enumerate(network.done[:-1]):
        z = session(CAPTIONS, ranked[:, :n], True)
        torch.testing.assert_close(z, full[:, :, n : network.done[d + 1]], **CLOSE)
        assert session.last["computes"] == (network.groups[d - 1] if d else [])
        assert session.last["reads"] == [cell for group in network.groups[: max(0, d - 1)] for cell in group]


def test_going_back_into_a_diagonal_computes_the_whole_of_it_again(network, monkeypatch):
    one, other = codes(1, 36), codes(1, 36, seed=9)
    branch = torch.cat([one[:, :12], other[:, 12:]], dim=1)  # parts in the middle of the fifth diagonal
    fresh = network.session()(CAPTIONS[:1], branch, True)
    session = network.session()
    session(CAPTIONS[:1], one, True)
    torch.testing.assert_close(session(CAPTIONS[:1], branch, True), fresh, **CLOSE)
    assert session.last["reads"] == network.order[:10].tolist()
    # A session that keeps what did not change by itself is another network.
    monkeypatch.setattr(type(session), "begin", RasterSession.begin)
    session.reset()
    session(CAPTIONS[:1], one, True)
    assert (session(CAPTIONS[:1], branch, True) - fresh).abs().max() > 1e-3


def test_other_captions_and_guidance_forget_the_cache_and_parts_of_diagonals_are_refused(network):
    tokens, session = codes(1, 15), network.session()
    session(CAPTIONS[:1], tokens, True)
    for call in ((CAPTIONS[1:2], tokens, True), (CAPTIONS[1:2], tokens, False), (CAPTIONS[:1], tokens[:, :0], False)):
        torch.testing.assert_close(session(*call), network.session()(*call), **CLOSE)
    for n in (2, 14, 64):
        with pytest.raises(ValueError, match="diagonals"):
            session(CAPTIONS[:1], codes(1, n), True)


def test_a_graph_of_the_step_answers_as_torch_does(network, tmp_path):
    path = tmp_path / "nar.onnx"
    path.write_bytes(backends.export(network))
    graph, tokens = backends.load(network, path), codes(1, 64)
    plain, fast = network.session(), network.session(step=graph)
    for n in network.done[:-1]:
        torch.testing.assert_close(fast(CAPTIONS[:1], tokens[:, :n], True), plain(CAPTIONS[:1], tokens[:, :n], True),
                                   **CLOSE)
    assert graph.fits(network.example())


# Sizes and training


def test_it_is_as_large_as_it_may_be_and_as_its_baseline_within_5_percent():
    sizes = {"vocab": 512, "side": 8}
    ours, theirs = (sum(p.numel() for p in kind(**(shape | sizes)).parameters())
                    for kind, shape in ((Neighbours, train.TWO_HEADS), (Raster, train.SHAPE)))
    assert ours <= 1_200_000 and 0.95 <= ours / theirs <= 1.05
    assert train.TWO_HEADS["layers"] == train.SHAPE["layers"]


def test_zero_heads_cost_log_v_and_a_network_that_knows_costs_nothing():
    wanted = codes(3, 64)
    value, weight = train.neighbours_loss(Neighbours(**SMALL), (wanted, CAPTIONS), torch.Generator().manual_seed(0))
    assert value.item() == pytest.approx(math.log(512), abs=1e-5) and weight == 1.0

    class Knows(Neighbours):
        def opinions(self, prefix: Any, place: Any, tokens: Any) -> Any:
            assert torch.equal(tokens, wanted[:, self.order[:-1]])
            sure = 50.0 * torch.nn.functional.one_hot(wanted[:, self.order], 512)
            return torch.stack([sure, sure], dim=2)

    value, _ = train.neighbours_loss(Knows(**SMALL), (wanted, CAPTIONS), torch.Generator().manual_seed(0))
    assert value.item() < 1e-6


# The lane


@pytest.mark.parametrize("settings", [{}, {"guidance": 1.0, "top_k": 40}, {"mix": 0.0, "temperature": 0.5}])
def test_the_lane_keeps_the_rules_and_paints_what_the_batched_sampler_paints(stand_in, network, settings):
    events = list(run(NAR, settings, seed=11, lanes=["nar"], nets=stand_in))
    ev.check(events)
    parsed = NAR.parse(settings)
    alone = paint(network, asked("", 11), [11], sheet.rule_of(parsed), share=parsed.mix)
    assert ids_of(events, "nar") == alone[0].tolist()
    calls = [e for e in events if isinstance(e, ev.Forward) and e.net == nar.NET]
    commits = [e for e in events if isinstance(e, ev.Commit)]
    assert [ev.expand(e.cells) for e in commits] == diagonals(8) == [
        sorted(ev.expand(e.predicts), key=lambda cell: cell // 8) for e in calls]
    assert [e.calls for e in calls] == list(range(1, 16)) and calls[-1].nfe == (15 if settings.get("guidance") else 30)


def test_a_picture_does_not_depend_on_its_batch(network):
    together = paint(network, CAPTIONS, [4, 5, 6], Rule())
    assert torch.equal(together[1:2], paint(network, CAPTIONS[1:2], [5], Rule()))


def test_bars_are_what_each_neighbour_said_and_edges_have_one(stand_in, network):
    events = list(run(NAR, {"guidance": 3.0}, seed=3, lanes=["nar"], nets=stand_in))
    first, _, third = [e for e in events if isinstance(e, ev.Commit)][:3]
    assert first.dists["left"] == first.dists["above"] == [None]
    ids = torch.tensor([ids_of(events, "nar")])
    z = network.session()(asked("", 3), ids[:, network.order[:3]], True)[:, 0].double()
    said = (z[1] + 3 * (z[0] - z[1])).softmax(-1)
    assert set(third.dists) == {"left", "above", "guided", "unconditional"} and third.cells == [2, 9, 16]
    assert third.dists["above"][0] is None and third.dists["left"][2] is None
    for name, i, head in (("left", 0, 0), ("left", 1, 0), ("above", 1, 1), ("above", 2, 1)):
        bars = third.dists[name][i]["top"]
        assert len(bars) >= 5 and all(q == pytest.approx(float(said[i, head, v]), abs=1e-5) for v, q in bars)


def test_disagreement_is_told_of_every_cell_with_two_neighbours(stand_in):
    events = list(run(NAR, seed=3, lanes=["nar"], nets=stand_in))
    told = [e for e in events if isinstance(e, ev.Measure) and e.name == "disagreement"]
    assert len(told) == 13 and sorted(told[-1].cells) == [c for c in range(64) if c // 8 and c % 8]
    assert all(0 <= v <= 1 for v in told[-1].values)
    one, other = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.0, 1.0])
    assert nar.divergence(one, other) == pytest.approx(1) and nar.divergence(one, one) == 0


def test_a_quarrel_is_told_with_what_came_of_it():
    canvas = sheet.Canvas(CAPTIONS[:1], list(range(64)), known=[(cell, 7) for cell in range(10)])
    p, q = np.full(512, 0.2 / 511), np.full(512, 0.2 / 511)
    p[3], q[7] = 0.8, 0.8
    heard = {"left": [p, None], "above": [q, q]}
    (_, note) = nar.told(canvas, [9, 1], heard, {})
    assert note.text == ("Row 2, column 2: the left neighbour wants code 3 (80 %), the upper one code 7 (80 %). "
                         "Drawn from their mix: 7, the upper one's.")
    assert [e.kind for e in nar.told(canvas, [9, 1], heard, {})] == ["measure"]  # not two so soon
    canvas.told = -64
    assert [e.kind for e in nar.told(canvas, [9, 1], {"left": [q, None], "above": [q, q]}, {})] == ["measure"]


def test_forcing_a_code_leaves_what_came_before_and_its_own_diagonal(stand_in):
    plain = list(run(NAR, seed=3, lanes=["nar"], nets=stand_in))
    at = next(e.n for e in plain if isinstance(e, ev.Forward) and 26 in ev.expand(e.predicts))
    force = {"do": "force", "lane": "nar", "cell": 26, "value": 17, "after": at}
    forced = list(run(NAR, seed=3, interventions=[force], lanes=["nar"], nets=stand_in))
    ev.check(forced)
    assert record.untimed(forced[: at + 1]) == record.untimed(plain[: at + 1])
    a, b = ids_of(plain, "nar"), ids_of(forced, "nar")
    assert b[26] == 17 and all(a[c] == b[c] for c in range(64) if DISTANCE[c] <= DISTANCE[26] and c != 26)
    assert any(a[c] != b[c] for c in range(64) if DISTANCE[c] > DISTANCE[26])


def test_the_default_settings_are_those_of_the_baseline(stand_in):
    theirs = RASTER.parse({})
    ours = NAR.parse({})
    assert sheet.rule_of(ours) == sheet.rule_of(theirs) == Rule() and ours.mix == 0.5


# Claims


def trial(claim: str, **more: Any) -> Trial:
    return Trial(NAR, next(c for c in NAR.claims if c.id == claim), **more)


def judgement(claim: str, **more: Any) -> dict[str, Any]:
    own = trial(claim, **more)
    *_, last = own.claim.measure(own)
    return complete(own.claim, last)


def one_by_one(s: Any, noise: Any, meter: Any) -> Any:
    """A lane that paints in the order of the diagonals, but asks for one code at a time."""
    yield from raster.raster(s, noise, meter)


def test_calls_are_counted_on_runs_and_a_row_by_row_lane_in_disguise_is_caught(stand_in):
    assert judgement("calls-2n-1", effort=0.1, nets=stand_in)["holds"]
    bad = judgement("calls-2n-1", effort=0.1, nets=stand_in, subject=one_by_one)
    assert bad["holds"] is False and {p["x"]: p["y"] for p in bad["points"]} == {"nar": 64, "raster": 64}


def test_time_is_of_whole_lanes_and_falls_for_one_that_is_no_faster(stand_in):
    size = trial("wall", nets=stand_in).claim
    assert size.threshold == {"op": ">=", "value": 2}
    bad = judgement("wall", nets=stand_in, subject=one_by_one)
    assert bad["holds"] is not True and bad["conditions"]["parameters"].keys() == {"nar", "raster"}


@pytest.fixture
def loaded(known, monkeypatch):
    monkeypatch.setattr(claims.weights, "load", known.__getitem__)
    monkeypatch.setattr(nar_claims.weights, "load", known.__getitem__)
    monkeypatch.setattr(nar_claims, "encode", lambda name, seeds: (codes(len(seeds), 64), scenes.captions(list(seeds))))
    return known


def test_pictures_are_judged_by_both_networks_and_worse_ones_make_the_claim_fall(loaded, monkeypatch):
    painted: list[str] = []
    painter = sampler.paint

    def watched(net: Any, objects: Any, seeds: Any, *rest: Any, **how: Any) -> Any:
        painted.append(type(net).__name__)
        assert type(net) is not RandomOrder or how["steps"] == 15
        return painter(net, objects, seeds, *rest, **how)

    def score(fine: dict[str, bool]) -> Any:
        return lambda images, objects: SimpleNamespace(
            right=(objects[..., 0] >= 0) & fine[painted[-1]],
            scene=torch.full((len(objects),), fine[painted[-1]]))

    monkeypatch.setattr(claims, "paint", watched)
    for ours, holds in ((True, True), (False, False)):
        painted.clear()
        monkeypatch.setattr(claims.judges, "score", score({"Neighbours": ours, "Raster": True, "RandomOrder": True}))
        result = judgement("judge-non-inferior", effort=0.14)
        assert result["holds"] is holds and result["here"] == (0 if ours else -100)
        assert painted == ["Neighbours", "Raster", "RandomOrder"]


def test_the_claim_of_causality_holds_and_its_twin_falls(loaded, network):
    good = judgement("logit-depends-on-earlier-diagonals-only", effort=0.2)
    assert good["holds"] and good["n"] == 2 * 2556 and good["points"][0]["caught"]
    bad = judgement("logit-depends-on-earlier-diagonals-only", effort=0.2, subject=nar_claims.row_by_row(network))
    assert bad["holds"] is False and bad["here"] < 0.9


def test_one_opinion_is_compared_with_both_and_the_price_with_the_baseline(loaded, monkeypatch):
    monkeypatch.setattr(claims.judges, "score", lambda images, objects: SimpleNamespace(
        right=objects[..., 0] >= 0, scene=torch.ones(len(objects), dtype=torch.bool)))
    result = judgement("mix", effort=0.1)
    assert [p["x"] for p in result["points"]] == list(nar_claims.WAYS) and result["points"][0]["objects"] == 100
    both, *alone = (p["y"] for p in result["points"])
    assert result["here"] == pytest.approx(min(alone) - both, abs=1e-5)

    class Twice(Neighbours):
        """The lower head says just what the right one says of the cell."""

        def opinions(self, *given: Any) -> Any:
            left = super().opinions(*given)[..., :1, :]
            return left.expand(*left.shape[:-2], 2, -1)

    same = make(Twice)
    assert judgement("mix", effort=0.1, subject={nar.NET: same})["here"] == pytest.approx(0, abs=1e-6)
    price = judgement("price", effort=0.05)
    assert price["here"] == pytest.approx(price["points"][0]["y"] - price["points"][1]["y"], abs=1e-5)


def test_the_exhibit_asks_of_a_grid_what_the_order_answers():
    right = next(a for a in NAR.question.answers if a.right)
    assert right.text == f"{len(diagonals(16))} calls, {max(map(len, diagonals(16)))} places"
    assert replace(NAR, slug="x").lanes["any-order"].settings["steps"] == len(diagonals(8))


def test_where_nobody_looks_the_same_codes_are_painted_without_what_was_heard(stand_in):
    events = [list(run(NAR, seed=3, lanes=["nar"], nets=stand_in, quiet=quiet)) for quiet in (False, True)]
    assert ids_of(events[0], "nar") == ids_of(events[1], "nar")
    assert all("left" not in e.dists for e in events[1] if isinstance(e, ev.Commit))
    assert not any(isinstance(e, ev.Measure) and e.name == "disagreement" for e in events[1])
