"""What a next-scale network may see, how its codes are drawn, and that the lane says what it does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engines import weights
from engines.errors import Refused
from engines.events import Begin, Commit, Done, Forward, Measure, Phase, Preview, check, expand
from engines.next_scale import exhibits, train
from engines.next_scale.exhibits import VAR
from engines.next_scale.model import Block, Network
from engines.next_scale.sample import (
    DEFAULTS,
    NET,
    TOKENIZER,
    canvases,
    filtered,
    guide,
    keyed,
    paint,
    sample,
    strength,
)
from engines.next_scale.train import SHAPE
from engines.nn import count_parameters
from engines.painting import picture
from engines.runtime import run
from engines.sampling import kept
from engines.scene_settings import held_out
from engines.tokenizers.model import MultiScale
from engines.tokenizers.sketch import Sketch
from engines.worlds import scenes

SCALES = [1, 2, 3, 4, 6, 8]
ENDS = np.cumsum([p * p for p in SCALES]).tolist()
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def tokenizer():
    torch.manual_seed(3)
    net = MultiScale(widths=[8, 8, 8], blocks=1, channels=4, groups=4, stem=2, codes=32, scales=SCALES, phis=4).eval()
    with torch.no_grad():
        net.codebook.normal_()  # codes that differ enough to be seen
    return net.requires_grad_(False)


@pytest.fixture(scope="module")
def network():
    return lively(Network(vocab=32, channels=4, layers=3, width=32, heads=2, hidden=48, scales=SCALES))


def lively(net: Network) -> Network:
    """The official start has all branches nearly closed; a test wants them wide open."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        net.word.weight.mul_(3)  # eyes for the canvas
        net.head.weight.mul_(0.3)  # and doubts
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def captions():
    return scenes.captions(range(4))


@pytest.fixture(scope="module")
def ids():
    return torch.randint(32, (4, ENDS[-1]), generator=torch.Generator().manual_seed(1))


def whole(tokenizer, ids):
    """Canvases of all scales, zeros for the first."""
    canvas = canvases(tokenizer, ids)
    return torch.cat([canvas.new_zeros(len(ids), 1, canvas.shape[-1]), canvas], dim=1)


def logits(network, tokenizer, captions, ids, keep=None):
    return network(*network.condition(captions, keep), canvases(tokenizer, ids))


def span(k):
    return slice(ENDS[k] - SCALES[k] ** 2, ENDS[k])


# What is seen


@pytest.mark.parametrize("k", range(6))
def test_codes_of_a_scale_change_later_scales_only(network, tokenizer, captions, ids, k):
    changed = ids.clone()
    changed[:, span(k)] = (changed[:, span(k)] + 7) % 32
    before, after = (logits(network, tokenizer, captions, some) for some in (ids, changed))
    torch.testing.assert_close(before[:, : ENDS[k]], after[:, : ENDS[k]], rtol=0, atol=0)
    if k == 5:
        assert torch.equal(canvases(tokenizer, ids), canvases(tokenizer, changed)), "nothing of the last scale enters"
    for later in range(k + 1, 6):
        assert not torch.allclose(before[:, span(later)], after[:, span(later)], atol=1e-3)


@pytest.mark.parametrize("k", [2, 5])
def test_inside_a_scale_every_place_sees_every_other(network, tokenizer, captions, ids, k):
    condition, canvas = network.condition(captions), canvases(tokenizer, ids)
    before = network(*condition, canvas)
    first, last = span(k).start, span(k).stop - 1
    for moved, other in ((last, first), (first, last)):
        shown = canvas.clone()
        shown[:, moved - 1] += 1.0
        after = network(*condition, shown)
        assert not torch.allclose(before[:, other], after[:, other], atol=1e-4), "causal inside a scale"
        torch.testing.assert_close(before[:, : span(k).start], after[:, : span(k).start], rtol=0, atol=0)


def test_places_of_a_scale_can_be_renumbered(network, tokenizer, captions, ids):
    # Their position, canvas and caption travel along, so nothing else may tell them apart.
    k, order = 3, torch.randperm(16, generator=torch.Generator().manual_seed(2))
    moved = span(k).start + order
    prefix, place = network.condition(captions)
    canvas = canvases(tokenizer, ids)
    before = network(prefix, place, canvas)
    other = Network(**network.config).eval()
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        other.position[span(k)] = network.position[moved]
    shown, there = canvas.clone(), place.clone()
    shown[:, span(k).start - 1 : span(k).stop - 1] = canvas[:, moved - 1]
    there[:, span(k)] = place[:, moved]
    after = other(prefix, there, shown)
    torch.testing.assert_close(after[:, span(k)], before[:, moved], **CLOSE)
    torch.testing.assert_close(after[:, span(5)], before[:, span(5)], **CLOSE)


def test_a_dropped_caption_leaves_no_trace(network, tokenizer, captions, ids):
    null = torch.zeros(4, dtype=torch.bool)
    one = logits(network, tokenizer, captions, ids, null)
    two = logits(network, tokenizer, captions.flip(0), ids, null)
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert not torch.allclose(one[:, :1], logits(network, tokenizer, captions, ids)[:, :1], atol=1e-3)
    mixed = torch.tensor([True, False, True, False])
    some = logits(network, tokenizer, captions, ids, mixed)
    torch.testing.assert_close(some[1::2], one[1::2], **CLOSE)


def test_a_place_is_told_what_stands_there(network, captions):
    # At scale 3 each place covers one cell of the caption's table.
    prefix, place = network.condition(captions)
    cells = network.captions(captions)[1]
    torch.testing.assert_close(place[:, span(2)], cells, **CLOSE)
    torch.testing.assert_close(place[:, 0], cells.mean(1), **CLOSE)
    assert prefix.shape == (4, 4, 32) and place.shape == (4, 130, 32)


# Sessions


def test_scale_by_scale_with_a_cache_equals_one_call(network, tokenizer, captions, ids):
    canvas, session = whole(tokenizer, ids), network.session(4)
    full = logits(network, tokenizer, captions, ids)
    for k in range(6):
        torch.testing.assert_close(session(k, canvas[:, span(k)], captions), full[:, span(k)], **CLOSE)
        assert session.last == {"reads": list(range(span(k).start)), "computes": list(range(ENDS[k]))[span(k)]}


def test_several_scales_in_one_call_equal_one_by_one(network, tokenizer, captions, ids):
    canvas, session = whole(tokenizer, ids), network.session(4)
    full = logits(network, tokenizer, captions, ids)
    torch.testing.assert_close(session(2, canvas[:, : ENDS[2]], captions), full[:, : ENDS[2]], **CLOSE)
    torch.testing.assert_close(session(4, canvas[:, ENDS[2] : ENDS[4]]), full[:, ENDS[2] : ENDS[4]], **CLOSE)
    torch.testing.assert_close(session(5, canvas[:, span(5)]), full[:, span(5)], **CLOSE)


def test_a_session_forgets_when_told_and_grows_when_it_must(network, tokenizer, captions, ids):
    canvas, session = whole(tokenizer, ids), network.session()
    session(0, canvas[:2, :1], captions[:2])
    small = session.cache_bytes
    session.reset()
    torch.testing.assert_close(
        session(0, canvas[:, :1], captions), logits(network, tokenizer, captions, ids)[:, :1], **CLOSE)
    assert session.cache_bytes == 2 * small
    with pytest.raises(ValueError, match="is wanted"):
        session(1, canvas[:2, span(1)])


def test_sessions_that_fail_half_way_do_not_believe_their_cache(network, tokenizer, captions, ids, monkeypatch):
    canvas, session = whole(tokenizer, ids), network.session(4)
    session(1, canvas[:, : ENDS[1]], captions)
    write = session.cache.write

    def break_late(layer, *rest):
        if layer == 1:
            raise RuntimeError("interrupted")
        return write(layer, *rest)

    monkeypatch.setattr(session.cache, "write", break_late)
    with pytest.raises(RuntimeError):
        session(2, canvas[:, span(2)] + 1)
    monkeypatch.undo()
    full = logits(network, tokenizer, captions, ids)
    torch.testing.assert_close(session(2, canvas[:, span(2)]), full[:, span(2)], **CLOSE)


def test_calls_that_make_no_sense_are_refused(network, captions):
    session = network.session()
    blank = torch.zeros(4, 1, 4)
    with pytest.raises(ValueError, match="caption"):
        session(0, blank)
    with pytest.raises(ValueError, match="is wanted"):
        session(1, blank, captions)
    session.reset()
    session(0, blank, captions)
    for k in (0, 6):
        with pytest.raises(ValueError, match="next one"):
            session(k, blank)
    with pytest.raises(ValueError, match="one cell"):
        Network(vocab=8, channels=4, layers=1, width=8, heads=1, hidden=8, scales=[2, 4])


def test_the_network_is_small_and_is_stored_and_read_as_it_is(tmp_path):
    net = Network(vocab=512, channels=16, scales=SCALES, **SHAPE)
    assert count_parameters(net) <= 1_200_000
    weights.save(net, tmp_path / "var.safetensors", {})
    again = weights.read(tmp_path / "var.safetensors", Network)
    objects = scenes.captions(range(2))
    canvas = torch.randn(2, 129, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(again(*again.condition(objects), canvas), net(*net.condition(objects), canvas),
                                   rtol=0, atol=0.02)


def test_both_ways_to_adapt_and_both_attentions_have_the_same_cache(tokenizer, captions, ids):
    for shared, cosine in ((1, 0), (0, 1), (0, 0)):
        net = lively(Network(vocab=32, channels=4, layers=2, width=16, heads=2, hidden=16, scales=SCALES,
                             shared=shared, cosine=cosine))
        canvas, session = whole(tokenizer, ids), net.session(4)
        steps = [session(k, canvas[:, span(k)], captions) for k in range(6)]
        torch.testing.assert_close(torch.cat(steps, 1), logits(net, tokenizer, captions, ids), **CLOSE)
        assert (net.blocks[0].table is None) == (not shared) and isinstance(net.blocks[0], Block)


# Drawing


def test_guidance_of_nothing_is_the_captioned_half(network, tokenizer, captions, ids):
    pair = torch.randn(2, 3, 32)
    assert torch.equal(guide(pair, 0.0), pair[:1])
    torch.testing.assert_close(guide(pair, 1.5), 2.5 * pair[:1] - 1.5 * pair[1:])
    draw = keyed(range(4), SCALES)
    alone = sample(network, tokenizer, captions, draw, guidance=0.0)[0]
    ramped = sample(network, tokenizer, captions, keyed(range(4), SCALES), guidance=4.0)[0]
    assert torch.equal(alone[0], ramped[0]), "the first scale is never guided"
    assert not torch.equal(torch.cat(alone, 1), torch.cat(ramped, 1))


def test_without_guidance_no_half_is_computed_for_it(network, tokenizer, captions):
    class Spy:
        rows = 0

        def session(self, rows):
            self.rows = rows
            return network.session(rows)

    for guidance, rows in ((0.0, 4), (1.5, 8)):
        spy = Spy()
        sample(spy, tokenizer, captions, keyed(range(4), SCALES), guidance=guidance)
        assert spy.rows == rows


def test_guidance_grows_from_nothing_to_all_of_it():
    assert [strength(k, 6, 1.5, True) for k in range(6)] == pytest.approx([0, 0.3, 0.6, 0.9, 1.2, 1.5])
    assert [strength(k, 6, 1.5, False) for k in range(6)] == [1.5] * 6


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (1, 1.0), (5, 1.0), (0, 0.5), (7, 0.8), (40, 0.96)])
def test_filters_keep_what_the_shared_filter_keeps(top_k, top_p):
    z = torch.randn(6, 32, generator=torch.Generator().manual_seed(top_k)) * 3
    p = filtered(z, 0.8, top_k, top_p)
    torch.testing.assert_close(p.sum(-1), torch.ones(6, dtype=torch.float64))
    for row, law in zip(z.double(), p.numpy(), strict=True):
        full = torch.softmax(row / 0.8, -1).numpy()
        keep = kept(full, top_k, top_p)
        assert (law > 0).tolist() == keep.tolist()
        np.testing.assert_allclose(law, np.where(keep, full, 0) / full[keep].sum(), rtol=1e-9, atol=1e-12)
    if top_k == 1:
        assert torch.equal(p.argmax(-1), z.argmax(-1)) and (p > 0).sum() == 6


def test_top_k_of_one_takes_the_likeliest_code_everywhere(network, tokenizer, captions):
    one = sample(network, tokenizer, captions, keyed(range(4), SCALES), top_k=1)[0]
    other = sample(network, tokenizer, captions, keyed(range(90, 94), SCALES), top_k=1)[0]
    assert torch.equal(torch.cat(one, 1), torch.cat(other, 1))


# The lane


@pytest.fixture(scope="module")
def nets(network, tokenizer):
    sketch = Sketch(channels=tokenizer.config["channels"], width=8, narrow=4, layers=1).eval()
    return lambda name: {NET: network, TOKENIZER: tokenizer, f"{TOKENIZER}_sketch": sketch}[name].session()


@pytest.fixture(scope="module")
def go(nets):
    def go(seed=7, interventions=(), **settings):
        return list(run(VAR, settings, seed, interventions, lanes=["var"], nets=nets))

    return go


def commits(events):
    return {cell: value for e in events if isinstance(e, Commit)
            for cell, value in zip(expand(e.cells), e.values, strict=True)}


def test_a_picture_takes_six_calls_and_each_scale_is_one_decision(go):
    events = go()
    check(events)
    calls = [e for e in events if isinstance(e, Forward) and e.net == NET]
    drawn = [e for e in events if isinstance(e, Commit)]
    assert [e.calls for e in calls] == [1, 2, 3, 4, 5, 6] and [e.nfe for e in calls] == [2, 4, 6, 8, 10, 12]
    for k, (call, commit) in enumerate(zip(calls, drawn, strict=True)):
        own = list(range(ENDS[k]))[span(k)]
        assert expand(call.reads) == list(range(own[0])) and expand(call.computes) == own == expand(call.predicts)
        assert expand(commit.cells) == own and set(commit.dists) == {"conditional", "guided"}
        assert all(len(d["top"]) <= 6 and isinstance(d["top"][0][0], int) for d in commit.dists["guided"])
    guidance = [e.value for e in events if isinstance(e, Measure) and e.name == "guidance"]
    assert guidance == pytest.approx([strength(k, 6, DEFAULTS["guidance"], True) for k in range(6)])
    assert [e.kind for e in events[-3:]] == ["forward", "preview", "done"]
    assert isinstance(events[-1], Done) and events[-1].summary["calls"] == 6


def test_the_lane_and_the_plain_sampler_draw_the_same_codes(go, network, tokenizer):
    objects = scenes.captions([held_out(s) for s in (7, 8)])
    r = torch.cat(sample(network, tokenizer, objects, keyed([7, 8], SCALES))[0], dim=1)
    for row, seed in zip(r.tolist(), (7, 8), strict=True):
        assert [v for _, v in sorted(commits(go(seed)).items())] == row
    both = paint(network, tokenizer, objects, [7, 8], batch=1)
    torch.testing.assert_close(both, paint(network, tokenizer, objects, [7, 8]), rtol=0, atol=1e-4)


def test_the_running_picture_is_the_sum_of_the_scales(go):
    events = go()
    shown = [(e.name, e.level, e.net) for e in events if isinstance(e, Preview)]
    assert shown == [("picture", k, f"{TOKENIZER}_sketch") for k in range(6)] + [("picture", 5, None)]
    quiet = go(previews=False)
    assert [(e.name, e.level) for e in quiet if isinstance(e, Preview)] == [("picture", 5)]
    assert commits(quiet) == commits(events)


def test_previews_are_not_on_the_clock(go):
    loud, quiet = (min(go(previews=on)[-1].t for _ in range(3)) for on in (True, False))
    assert loud < 1.5 * quiet + 5


def test_without_guidance_one_evaluation_a_call(go):
    calls = [e for e in go(guidance=0) if isinstance(e, Forward) and e.net == NET]
    assert [e.nfe for e in calls] == [1, 2, 3, 4, 5, 6]


def test_stopping_early_computes_and_commits_no_more(go):
    events = go(stop=3)
    assert sorted(commits(events)) == list(range(14))
    assert max(e.calls for e in events if isinstance(e, Forward)) == 3
    full = commits(go())
    assert commits(events) == {c: v for c, v in full.items() if c < 14}


def other_codes(seed, tokenizer):
    image = scenes.draw([held_out(seed + 1)]).image
    return torch.cat(tokenizer.encode(image), dim=1)[0].tolist()


@pytest.mark.parametrize("keep", [1, 3, 6])
def test_kept_scales_are_given_and_cost_one_call_together(go, tokenizer, keep):
    events = go(keep=keep)
    check(events)
    begin = events[0]
    assert isinstance(begin, Begin)
    assert expand(begin.given["cells"]) == list(range(ENDS[keep - 1]))
    assert begin.given["values"] == other_codes(7, tokenizer)[: ENDS[keep - 1]]
    assert sorted(commits(events)) == list(range(ENDS[keep - 1], 130))
    calls = [e for e in events if isinstance(e, Forward) and e.net == NET]
    assert len(calls) == 6 - keep
    if calls:
        assert calls[0].mode == "prefill" and expand(calls[0].computes) == list(range(ENDS[keep]))
    shown = [e for e in events if isinstance(e, Phase) and e.state == "start"]
    assert len(shown) == 6, "a scale that was given has its Phase and no Forward"


def test_given_codes_are_a_part_of_the_picture(go, tokenizer):
    f_hat, codes = tokenizer.zero(1), torch.tensor([other_codes(7, tokenizer)])
    for k in range(6):
        f_hat = tokenizer.add(f_hat, k, codes[:, span(k)])
    shown = [e for e in go(keep=6) if isinstance(e, Preview)]
    assert shown[0].name == "other" and shown[-1] == replace(
        picture("picture", 5, tokenizer.decode(f_hat)[0], lossless=True), lane="var", n=shown[-1].n, t=shown[-1].t)


def test_a_kept_first_scale_moves_the_rest(go):
    kept_, free = commits(go(keep=1)), commits(go())
    assert [kept_[c] for c in range(1, 130)] != [free[c] for c in range(1, 130)]


@pytest.mark.parametrize(
    "settings", [{"region": "left"}, {"region_cells": "0-3,8-11"}, {"region": "middle", "keep": 2}])
def test_outside_the_region_the_other_picture_stays(go, tokenizer, settings):
    events = go(**settings)
    check(events)
    given = dict(zip(expand(events[0].given["cells"]), events[0].given["values"], strict=True))
    codes = other_codes(7, tokenizer)
    assert all(codes[c] == v for c, v in given.items())
    assert sorted([*given, *commits(events)]) == list(range(130))
    finest = {c - ENDS[4] for c in commits(events) if c >= ENDS[4]}
    wanted = {"left": {8 * r + c for r in range(8) for c in range(4)},
              "middle": {8 * r + c for r in range(2, 6) for c in range(2, 6)}}
    assert finest == wanted.get(settings.get("region"), {0, 1, 2, 3, 8, 9, 10, 11})
    assert 0 in given, "a region of at most half the picture leaves the first scale alone"


def test_a_region_of_the_whole_picture_is_a_fresh_picture(go):
    assert commits(go(region_cells="0-63")) == commits(go())


def test_a_forced_code_holds_and_leaves_what_came_before(go):
    free = go()
    after = next(e.n for e in free if isinstance(e, Forward) and e.calls == 3)
    value = (commits(free)[6] + 5) % 32
    branch = go(interventions=[{"do": "force", "lane": "var", "cell": 6, "value": value, "after": after}])
    check(branch)
    held = next(e for e in branch if isinstance(e, Commit) and e.origin == "forced")
    assert held.cells == [6] and held.values == [value]
    before, now = commits(free), commits(branch)
    assert [c for c in range(14) if before[c] != now[c]] == [6], "the others of its scale do not see it"
    assert any(before[c] != now[c] for c in range(14, 130)), "the finer scales do"


def test_a_typed_caption_is_drawn_and_a_wrong_one_refused(go):
    events = go(caption="a large red sphere in the middle")
    assert "large red sphere in the middle" in events[1].text and commits(events) != commits(go())
    with pytest.raises(Refused, match="shape"):
        go(caption="a large red elephant in the middle")


def test_the_default_settings_are_those_of_judge_and_claims():
    defaults = vars(VAR.parse({}))
    assert {name: defaults[name] for name in DEFAULTS} == DEFAULTS
    assert set(exhibits.codes(VAR.parse({}))) == set(range(512))


def test_only_codes_may_be_forced(go):
    with pytest.raises(Refused, match="not a word"):
        go(interventions=[{"do": "force", "lane": "var", "cell": 1, "value": 512}])


def test_a_mask_that_is_causal_inside_a_scale_would_be_seen(network, tokenizer, captions, ids):
    twin = Network(**network.config).eval()
    twin.load_state_dict(network.state_dict())
    twin.mask = torch.ones_like(network.mask).tril()
    full = logits(twin, tokenizer, captions, ids)
    session, canvas = twin.session(4), whole(tokenizer, ids)
    first = session(0, canvas[:, :1], captions)
    cached = [first] + [session(k, canvas[:, span(k)]) for k in range(1, 6)]
    assert not torch.allclose(torch.cat(cached, 1), full, atol=1e-3), "its cached decode is not what it was trained for"


def test_claims_replace_the_lane_by_their_subject():
    from engines.runtime import Trial  # noqa: PLC0415

    def twin(s, noise, meter):
        yield Begin(title="", canvases=[])

    trial = Trial(VAR, VAR.claims[0], subject=twin).with_subject("var")
    assert trial.exhibit.lanes["var"].decode is twin and replace(trial) is not trial


def test_the_blocks_are_adapted_by_the_mean_of_the_prefix(network, captions):
    prefix = network.condition(captions)[0]
    mean = network.modulations(prefix.mean(1, keepdim=True))
    for one, two in zip(network.modulations(prefix)[0], mean[0], strict=True):
        for a, b in zip(one, two, strict=True):
            torch.testing.assert_close(a, b, **CLOSE)
    assert not torch.allclose(network.modulations(prefix)[1], network.modulations(prefix[:, :1])[1], atol=1e-3)


def test_the_recipe_learns_and_repeats_itself(tokenizer, captions, ids, monkeypatch):
    monkeypatch.setattr(train, "tokenizer", lambda device: tokenizer)
    torch.manual_seed(0)
    net = Network(vocab=32, channels=4, layers=1, width=32, heads=2, hidden=32, scales=SCALES)
    step = torch.optim.AdamW(net.parameters(), lr=1e-2)
    losses = []
    for i in range(40):
        loss, weight = train.loss(net, (ids, captions), torch.Generator().manual_seed(i))
        again = train.loss(net, (ids, captions), torch.Generator().manual_seed(i))[0]
        assert torch.equal(loss, again) and weight == 4 / train.BATCH
        net.zero_grad()
        loss.backward()
        step.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(np.log(32), abs=0.1) and losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None and bool(p.grad.any()) for name, p in net.named_parameters())
