"""Codes that steer a denoiser: what depends on what, the lane's events, and the claims with their broken twins.

Networks are real ones with random weights, small except for the picture, which the judge wants at 64 x 64.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from engines import events as ev
from engines.next_x import claims, dar, train
from engines.next_x.dar import GROUPS, TOKENS, TOLD
from engines.next_x.exhibits import D_AR
from engines.next_x.model import NET, SHIFT, TOKENIZER, Line, Sequential, advance, cut, joined, shifted
from engines.noise import Noise
from engines.raster import raster
from engines.raster.guidance import Rule
from engines.raster.model import Raster
from engines.raster.sampler import in_raster, keyed, paint
from engines.runtime import Trial, complete, run
from engines.scene_settings import held_out
from engines.worlds import scenes

SMALL = {"size": 64, "patches": [16, 16], "widths": [32, 32, 32], "depths": [1, 1, 2], "heads": [2, 2, 2],
         "hidden": [48, 48, 48], "tokens": TOKENS, "groups": GROUPS, "codes": 512, "channels": 4}
CAPTIONS = scenes.captions(range(100, 103))


def make_tokenizer() -> Sequential:
    torch.manual_seed(4)
    net = Sequential(**SMALL).eval()  # type: ignore[arg-type]
    torch.nn.init.normal_(net.out.weight, std=0.2)
    torch.nn.init.normal_(net.codes.weight)
    return net.requires_grad_(False)


@pytest.fixture(scope="module")
def tokenizer() -> Sequential:
    return make_tokenizer()


@pytest.fixture(scope="module")
def line() -> Line:
    torch.manual_seed(3)
    net = Line(vocab=512, layers=2, width=32, heads=2, hidden=48, side=TOKENS).eval()
    torch.nn.init.normal_(net.head, std=0.15)
    return net.requires_grad_(False)


@pytest.fixture
def stand_in(tokenizer, line):
    known = {NET: line, TOKENIZER: tokenizer}
    return lambda name: known[name].session()


@pytest.fixture
def loaded(monkeypatch, tokenizer, line):
    """Small random networks in the place of the stored ones."""
    known, stored = {NET: line, TOKENIZER: tokenizer}, claims.weights.load
    monkeypatch.setattr(claims.weights, "load", lambda name: known[name] if name in known else stored(name))
    return known


def codes(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(512, (count, TOKENS), generator=torch.Generator().manual_seed(seed))


def look(net: Sequential, ids: torch.Tensor) -> torch.Tensor:
    return F.embedding(ids, net.codebook)


# What depends on what


@torch.no_grad()
def test_a_step_hears_the_codes_before_its_end_and_none_behind(tokenizer):
    ids = codes(2)
    for i in (0, 7, 40, 63):
        other = ids.clone()
        other[:, i + 1 :] = (other[:, i + 1 :] + 1) % 512
        mine, theirs = tokenizer.condition(look(tokenizer, ids)), tokenizer.condition(look(tokenizer, other))
        assert torch.equal(mine[:, : i + 1], theirs[:, : i + 1])
        assert i == 63 or not torch.equal(mine[:, i + 1 :], theirs[:, i + 1 :])
        changed = ids.clone()
        changed[:, i] = (changed[:, i] + 1) % 512
        assert not torch.equal(tokenizer.condition(look(tokenizer, changed))[:, -1], mine[:, -1])


@torch.no_grad()
def test_the_codes_of_a_picture_hear_all_of_it_and_the_queries_before_them(tokenizer):
    image = scenes.draw(range(2)).image
    z, _ = tokenizer.features(image)
    other = image.clone()
    other[:, :, -16:, -16:] += 0.5
    assert ((tokenizer.features(other)[0] - z).abs().amax(-1) > 0).all()
    asked = tokenizer.query.clone()
    try:
        tokenizer.query[20] += 1
        assert torch.equal(tokenizer.features(image)[0][:, :20], z[:, :20])
        assert ((tokenizer.features(image)[0][:, 20:] - z[:, 20:]).abs().amax(-1) > 0).all()
    finally:
        tokenizer.query.copy_(asked)


@torch.no_grad()
def test_a_query_begins_with_what_the_rounded_codes_before_it_left_out(tokenizer):
    image, rounds = scenes.draw(range(2)).image, []

    def settle(z: torch.Tensor, spoilt: int) -> torch.Tensor:
        rounds.append(tokenizer.round(z))
        return -rounds[-1] if len(rounds) == spoilt + 1 else rounds[-1]

    z, q = tokenizer.features(image)
    assert torch.equal(q, look(tokenizer, tokenizer.encode(image)))
    for spoilt in (0, 3):
        rounds.clear()
        other, _ = tokenizer.features(image, lambda z: settle(z, spoilt))  # noqa: B023
        end = (spoilt + 1) * TOLD
        assert torch.equal(other[:, :end], z[:, :end])
        assert ((other[:, end:] - z[:, end:]).abs().amax(-1) > 0).all()
        lacks = tokenizer.lacking(image, q[:, :end]) + tokenizer.condition(q)[:, end - TOLD : end, tokenizer.line :]
        assert torch.allclose(lacks, tokenizer.parts(image), atol=1e-5)


@torch.no_grad()
def test_the_small_picture_of_a_group_is_what_all_groups_so_far_add_up_to(tokenizer):
    told = tokenizer.condition(look(tokenizer, codes(2)))
    own = tokenizer.hint(told[..., : tokenizer.line])
    for g in range(GROUPS):
        so_far = sum(own[:, h * TOLD : (h + 1) * TOLD] for h in range(g + 1))
        assert torch.allclose(told[:, g * TOLD : (g + 1) * TOLD, tokenizer.line :], so_far, atol=1e-5)


def test_only_codes_up_to_the_end_of_a_group_learn_from_its_step():
    net = Sequential(**SMALL).train()  # type: ignore[arg-type]
    torch.nn.init.normal_(net.out.weight, std=0.2)
    net.codes.seen.fill_(10**4)
    torch.nn.init.normal_(net.codes.weight)
    image = scenes.draw(range(2)).image
    for group in (0, 3, 7):
        net.zero_grad()
        made, _, rounding, _ = net.loss(image, torch.full((2,), group / GROUPS), torch.randn(image.shape))
        ((made - image).square().mean() + rounding).backward()
        heard = net.query.grad.abs().sum(1) > 0
        end = (group + 1) * TOLD
        assert heard[end - TOLD : end].all() and not heard[end:].any()


@torch.no_grad()
def test_every_second_picture_is_met_later_as_the_network_itself_has_it(tokenizer):
    image, even = scenes.draw(range(4)).image, torch.tensor([0.1, 0.8]).repeat_interleave(4)
    noise = torch.randn(8, *image.shape[1:])
    other = torch.cat([torch.randn_like(noise[:4]), noise[4:]])
    made, theirs = (tokenizer.loss(image, even, drawn).x1[4:] for drawn in (noise, other))
    same = torch.tensor([torch.equal(a, b) for a, b in zip(made, theirs, strict=True)])
    assert same.tolist() == [True, False, True, False]


def test_groups_and_times_are_the_papers():
    net = make_tokenizer()
    assert [net.first(t) for t in (0, 0.0624, 0.0625, 0.9, 0.9374, 1.0)] == [0, 0, 8, 56, 56, 56]
    assert net.times() == pytest.approx([t / (t + SHIFT * (1 - t)) for t in [i / 8 for i in range(9)]])
    assert net.times(3) == pytest.approx([*net.times()[:3], 1.0])
    assert float(shifted(torch.tensor(0.5), 1.0)) == 0.5


def test_steps_of_the_sampler_are_eulers_or_look_back_once():
    """Along a velocity that grows in a line Euler errs by one step's length, and looking back by its square."""
    n = 64
    for multistep, wanted in ((True, 1 / n**2), (False, 1 / n)):
        x, before = torch.zeros(()), None
        for k in range(n):
            v = torch.tensor(2 * k / n)
            x, before = advance(x, v, before if multistep else None, 1 / n), v
        assert abs(float(x) - 1) == pytest.approx(wanted, rel=1e-3)


@torch.no_grad()
def test_the_denoiser_says_one_thing_as_a_picture_and_as_a_velocity(tokenizer):
    x, t = torch.randn(2, 3, 64, 64), torch.tensor([0.1, 0.7])
    told = tokenizer.condition(look(tokenizer, codes(2)))[:, :TOLD]
    x1, v = tokenizer.estimate(x, t, told)
    assert torch.allclose(x + (1 - t)[:, None, None, None] * v, x1, atol=1e-5)


def test_a_small_picture_is_shared_among_the_codes_of_a_group_and_put_together_again(tokenizer):
    image = torch.arange(3 * 16 * 16.0).view(1, 3, 16, 16)
    parts = cut(image, TOLD)
    assert parts.shape == (1, TOLD, 96) and torch.equal(joined(parts, 16), image)
    assert torch.equal(parts[0, 3].view(3, 4, 8), image[0, :, 4:8, 8:])
    scene = scenes.draw(range(1)).image
    other = scene.clone()
    other[..., 48:, 32:] = -other[..., 48:, 32:]
    first = [cut(F.avg_pool2d(x, 4), TOLD) for x in (scene, other)]
    assert (first[0] != first[1]).any(-1)[0].tolist() == [False] * 7 + [True]


# The lane


def lane(stand_in, **settings: Any) -> list[ev.Event]:
    return list(run(D_AR, settings, seed=3, lanes=["d-ar"], nets=stand_in))


def data(events: list[ev.Event], name: str, level: int | None = None) -> list[str]:
    return [e.data for e in events if isinstance(e, ev.Preview) and e.name == name and level in (None, e.level)]


def test_each_full_group_makes_one_step_before_the_next_code_is_drawn(stand_in):
    events = lane(stand_in)
    ev.check(events)
    told = [("code" if e.net == NET else "step") for e in events if isinstance(e, ev.Forward)]
    assert told == (["code"] * TOLD + ["step"]) * GROUPS
    steps = [e for e in events if isinstance(e, ev.Forward) and e.net == TOKENIZER]
    assert [ev.expand(e.reads) for e in steps] == [list(range((k + 1) * TOLD)) for k in range(GROUPS)]
    shown = [(e.name, e.level) for e in events if isinstance(e, ev.Preview)]
    assert shown == [("noisy", 0), *[pair for k in range(8) for pair in (("picture", k), ("noisy", k + 1))][:-1],
                     ("picture", GROUPS)]


@pytest.mark.parametrize("sampler", ["ab2", "euler"])
def test_the_lane_shows_the_pictures_of_a_batch_bit_for_bit(stand_in, loaded, sampler):
    events = lane(stand_in, sampler=sampler)
    ids = torch.tensor([claims.written(events)])
    jumps, last = claims.jumps(ids, [3], sampler == "ab2")
    assert [dar.picture("", 0, image).data for image in jumps[0]] == data(events, "picture")[:GROUPS]
    assert dar.picture("", 0, last[0], lossless=True).data == data(events, "picture")[-1]
    whole = loaded[TOKENIZER].decode(ids, dar.start(Noise(3)), sampler == "ab2").clamp(-1, 1)
    assert torch.equal(whole, last)
    if sampler == "euler":  # the last plain step goes where the last jump goes
        assert torch.allclose(jumps[0, -1], last[0], atol=1e-5)


def test_scrambled_last_codes_change_the_last_step_and_nothing_before_it(loaded):
    ids = codes(2)
    other = ids.clone()
    other[:, -TOLD:] = codes(2, seed=9)[:, -TOLD:]
    (jumps, last), (theirs, end) = (claims.jumps(some, [1, 2]) for some in (ids, other))
    assert torch.equal(jumps[:, :-1], theirs[:, :-1])
    assert not torch.equal(jumps[:, -1], theirs[:, -1]) and not torch.equal(last, end)
    first = ids.clone()
    first[:, :TOLD] = codes(2, seed=9)[:, :TOLD]
    assert all(not torch.equal(jumps[:, k], claims.jumps(first, [1, 2])[0][:, k]) for k in range(GROUPS))


def test_kept_groups_are_given_and_cost_no_call(stand_in, tokenizer):
    events = lane(stand_in, keep=3)
    begin = events[0]
    assert isinstance(begin, ev.Begin) and begin.given["cells"] == list(range(3 * TOLD))
    image = scenes.render(torch.tensor([dar.OTHER.rows("", dar.held_out(4))]), [dar.held_out(4)]).image
    assert begin.given["values"] == tokenizer.encode(image)[0, : 3 * TOLD].tolist()
    calls = [e for e in events if isinstance(e, ev.Forward)]
    assert [e.net for e in calls[:3]] == [TOKENIZER] * 3 and sum(e.net == NET for e in calls) == TOKENS - 3 * TOLD
    everything = lane(stand_in, keep=GROUPS)
    assert not any(isinstance(e, ev.Commit) for e in everything) and isinstance(everything[-1], ev.Done)


def test_a_forced_code_leaves_all_steps_before_its_group(stand_in):
    plain = lane(stand_in)
    at = next(e.n for e in plain if isinstance(e, ev.Forward) and ev.expand(e.predicts) == [20])
    force = {"do": "force", "lane": "d-ar", "cell": 20, "value": 5, "after": at}
    forced = list(run(D_AR, seed=3, interventions=[force], lanes=["d-ar"], nets=stand_in))
    ev.check(forced)
    for level in range(GROUPS):
        same = data(plain, "picture", level) == data(forced, "picture", level)
        assert same == (level < 20 // TOLD)


def test_without_previews_only_the_finished_picture_is_shown(stand_in):
    assert [(e.name, e.level) for e in lane(stand_in, previews=False) if isinstance(e, ev.Preview)] == [
        ("picture", GROUPS)]


# The network over codes


def test_the_network_is_as_large_as_the_row_by_row_one():
    def size(net: torch.nn.Module) -> int:
        return sum(p.numel() for p in net.parameters())

    assert size(train.line()) == size(Raster(vocab=512, side=8, **train.SHAPE))
    assert size(train.tokenizer()) <= 1_100_000


def test_given_codes_are_kept_and_heard(line):
    session, given = line.session(4), codes(2)[:, :16]
    ids = in_raster(session, CAPTIONS[:2], keyed([1, 2]), Rule(), TOKENS, given)
    assert torch.equal(ids[:, :16], given)
    other = in_raster(session, CAPTIONS[:2], keyed([1, 2]), Rule(), TOKENS, (given + 1) % 512)
    assert (ids[:, 16:] != other[:, 16:]).any()
    free = paint(line, CAPTIONS[:2], [1, 2], Rule())
    assert torch.equal(paint(line, CAPTIONS[:2], [1, 2], Rule(), known=free[:, :24]), free)


# The recipe


def test_times_meet_all_groups_equally_and_each_picture_in_both_halves():
    net, seen = make_tokenizer(), torch.zeros(GROUPS)
    for step in range(50):
        even = train.even_times(16, GROUPS, torch.Generator().manual_seed(step))
        assert even.shape == (32,) and even.min() >= 0 and even.max() < 1
        group = torch.tensor([net.first(float(t)) for t in even]) // TOLD
        assert (group[:16] < 4).all() and (group[16:] >= 4).all()
        seen += torch.bincount(group, minlength=GROUPS)
    assert (seen == 200).all()


def test_the_tokenizer_learns_from_its_recipe():
    torch.manual_seed(0)
    net = Sequential(**SMALL).train()  # type: ignore[arg-type]
    scene = scenes.draw(range(8))
    batch, optimizer = (scene.image, scene.segmentation > 0), torch.optim.AdamW(net.parameters(), 1e-2)
    losses = []
    for step in range(24):
        loss, _ = train.tokenizer_loss(net, batch, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3]), losses


# Claims


def trial(claim: str, **more: Any) -> Trial:
    return Trial(D_AR, next(c for c in D_AR.claims if c.id == claim), **more)


def verdict(claim: str, **more: Any) -> dict[str, Any]:
    asked = trial(claim, **more)
    *_, last = asked.claim.measure(asked)
    return complete(asked.claim, last)


def test_looks_that_come_nearer_hold_and_looks_in_disorder_do_not(loaded):
    def nearer(ids: torch.Tensor, seeds: Any) -> tuple[torch.Tensor, torch.Tensor]:
        last = torch.zeros(len(ids), 3, 64, 64)
        noise = torch.randn(len(ids), GROUPS, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        return last[:, None] + noise * torch.linspace(1, 0.1, GROUPS)[:, None, None, None], last

    def swapped(ids: torch.Tensor, seeds: Any) -> tuple[torch.Tensor, torch.Tensor]:
        jumps, last = nearer(ids, seeds)
        return jumps[:, [0, 1, 2, 4, 3, 5, 6, 7]], last

    assert verdict("previews-converge", effort=0.06, subject=nearer)["holds"] is True
    assert verdict("previews-converge", effort=0.06, subject=swapped)["holds"] is False


def test_looks_that_come_nearer_to_the_encoded_picture_hold_and_the_same_look_eight_times_does_not(loaded):
    asked = trial("each-group-adds", effort=0.06)
    true = scenes.draw([held_out(seed) for seed in asked.seeds(asked.size(256, 32))]).image

    def nearer(ids: torch.Tensor, seeds: Any) -> tuple[torch.Tensor, torch.Tensor]:
        assert torch.equal(ids, loaded[TOKENIZER].encode(true))
        noise = torch.randn(len(ids), GROUPS, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        return true[:, None] + noise * torch.linspace(1, 0.1, GROUPS)[:, None, None, None], noise[:, 0]

    def again(ids: torch.Tensor, seeds: Any) -> tuple[torch.Tensor, torch.Tensor]:
        jumps, last = nearer(ids, seeds)
        return jumps[:, -1:].expand(-1, GROUPS, -1, -1, -1), last

    assert verdict("each-group-adds", effort=0.06, subject=nearer)["holds"] is True
    assert verdict("each-group-adds", effort=0.06, subject=again)["holds"] is False


def test_the_stored_tokenizer_tells_more_with_each_of_its_first_groups():
    """A tokenizer whose groups all tell the same picture, as ours once did, is found out."""
    asked = trial("each-group-adds", effort=0.125)
    *_, last = claims.groups_add(asked)
    far = [point["y"] for point in last["points"]]
    assert all(now < 0.95 * before for before, now in zip(far[:4], far[1:5], strict=True)), far
    assert far[-1] < 0.07 and far[0] > 2 * far[-1]


def test_a_network_that_does_not_listen_keeps_no_layout(loaded):
    got = verdict("prefix-keeps-layout", effort=0.08)
    assert got["holds"] is not True and [p["x"] for p in got["points"]] == [0, *claims.KEPT]


def test_the_lane_is_the_plain_loop_and_a_loop_of_its_own_is_found_out(loaded, stand_in, monkeypatch):
    assert verdict("plain-next-token", effort=0.16, nets=stand_in)["here"] == 1

    def backwards(s: SimpleNamespace, noise: Noise, meter: Any) -> Any:
        return (yield from dar.d_ar(s, Noise(noise.seed + 1), meter))

    assert verdict("plain-next-token", effort=0.16, nets=stand_in, subject=backwards)["holds"] is False
    monkeypatch.setattr(dar, "write", lambda *how: raster.write(*how))
    assert verdict("plain-next-token", effort=0.16, nets=stand_in)["holds"] is False


def test_a_reference_is_another_scene_than_the_captions():
    seeds = trial("prefix-keeps-layout").seeds(20)
    mine, theirs = claims.captions_of(seeds), claims.captions_of([seed + 10**6 for seed in seeds])
    assert (mine != theirs).flatten(1).any(1).all()


def test_exhibit_borrows_the_plain_lane_with_the_same_settings():
    from engines.runtime import lane_of  # noqa: PLC0415

    s = D_AR.parse({"guidance": 2.5, "temperature": 0.7})
    _, own = lane_of(D_AR, "raster", s)
    assert (own.guidance, own.temperature) == (2.5, 0.7)
    assert replace(Rule(), guidance=own.guidance) == dar.sheet.rule_of(s).__class__(guidance=2.5)
