"""Sets of continuous tokens: which places are drawn when, what a call may see, and what training teaches.

The networks are small and untrained, with random numbers also where training starts from zeros.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from engines import events as ev
from engines import training, weights
from engines.errors import Refused
from engines.masked_continuous import canvas, claims, sampler, train
from engines.masked_continuous.diffloss import STEPS, TOP, Head, Schedule, guided, losses, noised, ours, step
from engines.masked_continuous.exhibits import MAR
from engines.masked_continuous.mar import mar
from engines.masked_continuous.model import NET, TWIN, VAE, VQ, Mar, Masked
from engines.masked_continuous.sampler import Rule
from engines.masked_continuous.sets import guidance_at, lengths, sets_of
from engines.noise import Noise
from engines.runtime import Trial, run
from engines.scene_settings import asked
from engines.worlds import scenes

SHAPE: dict[str, Any] = {"length": 64, "slots": 4, "classes": 0, "layers": [1, 1], "widths": [32, 32],
                         "heads": [2, 2], "hidden": [32, 32]}


def shaken(network: Any) -> Any:
    """Every parameter moved, so that nothing is silent because training starts it at zero."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=g)
    return network.eval()


@pytest.fixture(scope="module")
def nets() -> dict[str, Any]:
    torch.manual_seed(0)
    return {NET: shaken(Mar(channels=8, head=[1, 24], **SHAPE)), TWIN: shaken(Masked(codes=512, **SHAPE))}


class Watched:
    """A tokenizer's session that paints nothing and remembers the last thing it decoded."""

    params, cache_bytes = 0, 0

    def __init__(self) -> None:
        self.seen: torch.Tensor | None = None

    def decode(self, tokens: torch.Tensor, known: Any = None) -> torch.Tensor:
        return torch.zeros(len(tokens), 3, 64, 64)

    decode_partial = step = decode

    def session(self, step: Any) -> Watched:
        """One that decodes by `step`, which paints nothing either."""
        return self

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        self.seen = tokens.clone()
        return self.decode(tokens)


def lane(nets: dict[str, Any], name: str, seed: int = 1, interventions: Any = (), **settings: Any) -> Any:
    """(events, what was decoded last) of one lane on the small networks."""
    tokenizer = Watched()
    own = {NET: nets[NET].session, TWIN: nets[TWIN].session, VAE: lambda: tokenizer, VQ: lambda: tokenizer}
    provide = own | {f"{net}_sketch": Watched for net in (VAE, VQ)}
    made = list(run(MAR, settings, seed, interventions, lanes=[name], nets=lambda net: provide[net]()))
    assert isinstance(made[-1], ev.Done) and made[-1].reason == "finished", made[-1]
    return made, tokenizer.seen


# sets and guidance --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sets", [1, 2, 3, 7, 16, 33, 63, 64])
def test_sets_are_disjoint_never_empty_and_cover_the_picture(sets):
    order = np.random.default_rng(sets).permutation(64).tolist()
    chosen = sets_of(order, sets)
    assert len(chosen) == sets and all(chosen)
    assert sorted(cell for one in chosen for cell in one) == list(range(64))


def test_as_many_sets_as_places_draw_one_at_a_time():
    assert all(len(one) == 1 for one in sets_of(list(range(64)), 64))


def test_a_permutation_is_consumed_from_its_end():
    order = np.random.default_rng(0).permutation(64).tolist()
    chosen = sets_of(order, 64)
    assert [one[0] for one in chosen] == order[::-1]
    hidden = lengths(64, 8)
    for k, one in enumerate(sets_of(order, 8)):
        assert set(order[: hidden[k]]).isdisjoint(one) and one == order[hidden[k] : hidden[k] + len(one)]


def test_256_tokens_in_64_sets_start_with_one_and_end_with_six():
    """The question of the exhibit, with the paper's numbers."""
    chosen = sets_of(list(range(256)), 64)
    assert (len(chosen[0]), len(chosen[-1])) == (1, 6)
    assert [256, *lengths(256, 64)][1] == math.floor(256 * math.cos(math.pi / 128)) == 255
    right = next(answer for answer in MAR.question.answers if answer.right)
    assert right.text == "1 and 6"


def test_set_sizes_grow_along_the_cosine():
    sizes = [len(one) for one in sets_of(list(range(64)), 16)]
    assert sizes[0] == 1 and sizes[-1] == 6 and sum(sizes[:8]) < 20


def test_guidance_rises_with_progress_and_never_quite_arrives():
    L, w = 64, 3.0
    rising = [guidance_at(w, "linear", m, L) for m in lengths(L, 16)]
    assert rising == sorted(rising) and rising[-1] == pytest.approx(1 + (w - 1) * (L - 1) / L)
    assert rising[0] == pytest.approx(1 + (w - 1) * (L - lengths(L, 16)[0]) / L)
    assert {guidance_at(w, "constant", m, L) for m in lengths(L, 16)} == {w}
    assert guidance_at(1.0, "linear", 5, L) == 1


# the head -----------------------------------------------------------------------------------------------


def test_an_untrained_head_says_nothing_so_its_first_error_is_one_a_channel():
    torch.manual_seed(0)
    head, g, full = Head(8, 32, 3, 48), torch.Generator().manual_seed(0), Schedule()
    x_0, eps = torch.randn(4_000, 8, generator=g), torch.randn(4_000, 8, generator=g)
    t = torch.randint(STEPS, (4_000,), generator=g)
    out = head(noised(full, x_0, t, eps), t, torch.randn(4_000, 32, generator=g))
    assert not out.any()
    mse, _ = losses(full, out, x_0, t, eps)
    assert mse.mean().item() == pytest.approx(1, abs=4 * math.sqrt(2 / 32_000))


def test_the_bound_teaches_the_variance_only():
    full, g = Schedule(), torch.Generator().manual_seed(0)
    out = torch.randn(49, 16, generator=g, requires_grad=True)
    x_0, eps, t = torch.randn(49, 8, generator=g), torch.randn(49, 8, generator=g), torch.arange(20, 1000, 20)
    losses(full, out, x_0, t, eps)[1].sum().backward()
    assert out.grad is not None
    assert not out.grad[:, :8].any() and (out.grad[:, 8:] != 0).all()


def test_without_temperature_only_the_start_decides(nets):
    g, session = torch.Generator().manual_seed(0), nets[NET].session().head
    z, start = torch.randn(6, 32, generator=g), torch.randn(6, 8, generator=g)
    one, two = (torch.randn(9, 6, 8, generator=g) for _ in range(2))
    with torch.inference_mode():
        cold = [session(z, start, noise, ours(9), 1.0, 0.0) for noise in (one, two)]
        warm = [session(z, start, noise, ours(9), 1.0, 1.0) for noise in (one, two)]
        moved = session(z, start + 1, one, ours(9), 1.0, 0.0)
    assert torch.equal(*cold) and not torch.equal(*warm) and not torch.equal(cold[0], moved)


def test_the_last_inner_step_adds_no_noise():
    schedule, x = Schedule(7), torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    out = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
    for i in range(7):
        quiet, loud = step(schedule, out, x, i, torch.zeros(5, 8)), step(schedule, out, x, i, torch.ones(5, 8))
        assert torch.equal(quiet[0], loud[0]) is (i == 0)
        assert torch.equal(quiet[1], loud[1])


def test_a_guided_pair_is_the_two_halves_carried_along_together(nets):
    """The session leaves out the half without a caption's own walk, which is thrown away in the end."""
    head, clock, g = nets[NET].head, ours(8), torch.Generator().manual_seed(3)
    z, start, noise = (torch.randn(*s, generator=g) for s in ((10, 32), (5, 8), (8, 5, 8)))
    with torch.inference_mode():
        short = nets[NET].session().head(z, start, noise, clock, 2.5, 0.9)
        x = torch.cat([start, start])
        for turn, i in enumerate(reversed(range(8))):
            out = guided(head(torch.cat([x[:5], x[:5]]), torch.full((10,), clock.times[i]), z), 2.5)
            x, _ = step(clock, out, x, i, noise[turn].repeat(2, 1), 0.9)
    assert torch.allclose(short, x[:5], atol=1e-5)


def test_our_schedule_starts_where_a_head_of_minutes_can_be_trusted():
    assert ours(25).times[0] == 0 and ours(25).times[-1] == TOP - 1 and len(ours(25)) == 25
    assert ours(100).unscale[-1] < 20 < 10_000 < Schedule(100).unscale[-1]
    assert ours(25).signal[-1] < 0.07, "so little of a token is left that pure noise may stand for it"


# the backbone -------------------------------------------------------------------------------------------


def ask(net: Any, tokens: torch.Tensor, visible: list[int], objects: torch.Tensor, pair: bool = False) -> torch.Tensor:
    with torch.inference_mode():
        return net.session()(canvas.at(tokens, visible), torch.tensor([visible]), objects, pair)


@pytest.mark.parametrize("name", [NET, TWIN])
def test_a_call_sees_the_visible_tokens_and_no_others(nets, name):
    tokens = torch.randint(512, (1, 64)) if name == TWIN else torch.randn(1, 64, 8)
    changed, objects = tokens.clone(), scenes.captions([5])
    changed[0, 10] += 1
    hidden, shown = [c for c in range(64) if c % 3], [c for c in range(64) if c % 5 == 0]
    assert 10 in hidden and 10 in shown
    rest = [c for c in range(64) if c != 10 and c % 3 == 0]
    assert torch.equal(ask(nets[name], tokens, rest, objects), ask(nets[name], changed, rest, objects))
    gap = (ask(nets[name], tokens, shown, objects) - ask(nets[name], changed, shown, objects)).abs().amax(-1)
    assert (gap > 0).all(), "one visible token reaches every place"


@pytest.mark.parametrize("name", [NET, TWIN])
def test_the_second_half_of_a_pair_does_not_know_the_caption(nets, name):
    tokens = torch.zeros(1, 64, dtype=torch.long) if name == TWIN else torch.zeros(1, 64, 8)
    one, two = (ask(nets[name], tokens, [3, 7], scenes.captions([seed]), pair=True) for seed in (1, 2))
    assert torch.equal(one[1], two[1]) and not torch.equal(one[0], two[0])
    assert torch.allclose(ask(nets[name], tokens, [3, 7], scenes.captions([1])), one[:1], atol=1e-5)


def test_a_caption_speaks_to_the_places_of_its_cell(nets):
    """The words for one cell reach the decoder at the places that the cell covers, not only through the slots."""
    net = nets[NET]
    objects = torch.tensor([[[0, 1, 2, 1]] + [[-1] * 4] * 3])
    other = objects.clone()
    other[0, 0, 2] = 5
    (_, one), (_, two) = net.told(objects), net.told(other)
    moved = (one - two).abs().sum(-1)[0].view(8, 8) > 0
    assert moved[:3, :3].all() and not moved[3:].any() and not moved[:, 3:].any()


def test_a_session_forgets_a_caption_when_another_one_comes(nets):
    session = nets[NET].session()
    with torch.inference_mode():
        calls = [session(torch.zeros(1, 0, 8), torch.zeros(1, 0, dtype=torch.long), scenes.captions([seed]), pair)
                 for seed, pair in ((1, True), (2, True), (1, False), (1, True))]
    assert torch.equal(calls[0], calls[3]) and not torch.equal(calls[0], calls[1]) and len(calls[2]) == 1


# lanes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["random", "raster", "spiral", "9,54,18-20"])
def test_the_lane_draws_places_in_the_order_that_was_asked_for(nets, order):
    events, _ = lane(nets, "mar", order=order, sets=64, inner=5, previews=False)
    drawn = [cell for e in events if isinstance(e, ev.Commit) for cell in ev.expand(e.cells)]
    assert drawn == canvas.ORDER.cells_of(order, 8, 8, Noise(1))
    if order[0] == "9":
        assert drawn[:5] == [9, 54, 18, 19, 20]


@pytest.mark.parametrize(("sets", "guidance"), [(1, 2.0), (5, 1.0), (16, 3.0)])
def test_a_picture_of_a_batch_is_the_one_that_its_seed_gives_on_the_page(nets, sets, guidance):
    rule, seeds = Rule(sets=sets, inner=6, guidance=guidance, tau=0.9), [4, 11, 12]
    objects = torch.cat([asked("", seed) for seed in seeds])
    settings = {"sets": sets, "guidance": guidance}
    latents, codes = (f(nets[n], objects, seeds, rule)
                      for f, n in ((sampler.paint, NET), (sampler.paint_codes, TWIN)))
    for i, seed in enumerate(seeds):
        made = lane(nets, "mar", seed, **settings, inner=6, temperature=0.9, previews=False)[1]
        assert torch.allclose(made[0], latents[i], atol=1e-4)
        assert torch.equal(lane(nets, "maskgit", seed, **settings, previews=False)[1][0], codes[i])


@pytest.mark.parametrize("name", ["mar", "maskgit"])
def test_a_lane_obeys_the_rules_of_traces_and_shows_its_sets(nets, name):
    events, _ = lane(nets, name)
    ev.check(events)
    text = ev.write_trace({"exhibit": "mar"}, events)
    assert len(events) < 400 and ev.digest(ev.read_trace(text)[1]) == ev.digest(events)
    shown = [e for e in events if isinstance(e, ev.Preview)]
    # Patches stand for codes, so fewer pictures are needed; of numbers nothing could be seen.
    levels = range(1, 15, 2) if name == "mar" else range(3, 15, 4)
    assert [e.level for e in shown if e.name == "picture"] == [*levels, 16]
    assert len([e for e in shown if e.name == "denoise"]) == (12 if name == "mar" else 0)
    assert not [e for e in lane(nets, name, previews=False)[0] if isinstance(e, ev.Preview) and e.level < 16]


def test_previews_change_nothing_else(nets):
    assert torch.equal(lane(nets, "mar", inner=5)[1], lane(nets, "mar", inner=5, previews=False)[1])


def test_a_continuous_token_cannot_be_forced_but_its_noise_can_be_drawn_anew(nets):
    force = {"do": "force", "lane": "mar", "cell": 3, "value": 1}
    with pytest.raises(Refused, match="does not support"):
        lane(nets, "mar", interventions=[force])
    plain, _ = lane(nets, "mar", inner=5, previews=False)
    middle = [e.n for e in plain if isinstance(e, ev.Phase)][16]
    other = lane(nets, "mar", inner=5, previews=False,
                 interventions=[{"do": "reseed", "lane": "mar", "after": middle, "seed": 99}])
    told = [[e.to_json() for e in events if isinstance(e, ev.Commit)] for events in (plain, other[0])]
    assert [e["cells"] for e in told[0]] == [e["cells"] for e in told[1]], "the order was drawn before"
    assert not torch.equal(lane(nets, "mar", inner=5, previews=False)[1], other[1])


# the discrete twin --------------------------------------------------------------------------------------


def test_the_surest_codes_stay_and_the_rest_are_forgotten(nets):
    events, _ = lane(nets, "maskgit", gumbel=0.0, sets=8, previews=False)
    m = lengths(64, 8)
    proposals = [e for e in events if isinstance(e, ev.Propose)]
    commits = [e for e in events if isinstance(e, ev.Commit)]
    gone = [e for e in events if isinstance(e, ev.Withdraw)]
    assert len(proposals) == len(commits) == 8 and len(gone) == 7
    for k, (drafts, kept) in enumerate(zip(proposals, commits, strict=True)):
        worth = dict(zip(ev.expand(drafts.cells), drafts.p, strict=True))
        cells = ev.expand(kept.cells)
        assert len(worth) == [64, *m][k] and len(worth) - len(cells) == m[k]
        left = [worth[c] for c in worth if c not in cells]
        assert not left or min(worth[c] for c in cells) >= max(left)


def test_noise_on_confidence_fades_out_and_is_gumbel():
    u = np.random.default_rng(0).random(20_000)
    drawn = sampler.confidence(np.ones_like(u), u, 4.5, 0.5) / (4.5 * 0.5)
    assert stats.kstest(drawn, "gumbel_r").pvalue > 1e-3
    p = np.array([0.2, 0.9])
    assert np.allclose(sampler.confidence(p, u[:2], 4.5, 1.0), np.log(p))
    assert np.isfinite(sampler.confidence(np.array([0.0, 1.0]), np.array([0.0, 0.5]), 4.5, 0.0)).all()


def test_a_forced_code_is_held_until_it_is_kept(nets):
    plain, codes = lane(nets, "maskgit", previews=False)
    value = (int(codes[0, 30]) + 7) % 512
    force = {"do": "force", "lane": "maskgit", "cell": 30, "value": value, "after": -1}
    events, codes = lane(nets, "maskgit", previews=False, interventions=[force])
    ev.check(events)
    assert int(codes[0, 30]) == value
    forced = [e for e in events if isinstance(e, ev.Commit) and e.origin == "forced"]
    assert [ev.expand(e.cells) for e in forced] == [[30]] and forced[0].values == [value]
    with pytest.raises(Refused, match="not a word"):
        lane(nets, "maskgit", interventions=[force | {"value": 512}])


# training -----------------------------------------------------------------------------------------------


def test_mask_ratios_are_those_of_the_papers():
    u = (np.arange(4_000) + 0.5) / 4_000
    law = stats.truncnorm((0.7 - 1) / 0.25, 0, loc=1, scale=0.25)
    ours_ = [train.mostly(x) for x in u]
    assert ours_ == [math.ceil(64 * r - 1e-9) for r in law.ppf(u)] and (min(ours_), max(ours_)) == (45, 64)
    assert [train.cosine(x) for x in (0.0, 0.5, 0.999)] == [64, 46, 1]


def test_hidden_and_visible_places_are_everything_once():
    g = torch.Generator().manual_seed(0)
    visible, hidden = train.split(20, 50, g)
    assert visible.shape == (20, 14) and hidden.shape == (20, 50)
    assert (torch.cat([visible, hidden], dim=1).sort(dim=1).values == torch.arange(64)).all()
    assert len({tuple(row) for row in hidden.tolist()}) == 20


@pytest.mark.parametrize("name", [NET, TWIN])
def test_a_loss_is_about_hidden_places_and_reaches_every_parameter(nets, name):
    make, loss = ((Mar, train.mar_loss), (Masked, train.maskgit_loss))[name == TWIN]
    more = {"codes": 512} if name == TWIN else {"channels": 8, "head": [1, 24]}
    net = shaken(make(**more, **SHAPE))
    objects = scenes.captions(range(16))
    tokens = torch.randint(512, (16, 64)) if name == TWIN else torch.randn(16, 64, 8)
    value, weight = loss(net, (tokens, objects), torch.Generator().manual_seed(0))
    again, _ = loss(net, (tokens, objects), torch.Generator().manual_seed(0))
    assert value.item() == again.item() and weight == 16 / train.BATCH
    value.backward()
    untouched = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not untouched


@pytest.mark.parametrize("name", [NET, TWIN])
def test_a_recipe_learns_and_leaves_a_network_that_loads(name, tmp_path):
    """Tokens that the caption decides: a network that listens can do far better than one that does not."""
    recipe = train.RECIPES[name]
    objects = scenes.captions(range(64))
    key = (objects[:, 0, 1:].clamp_min(0) * torch.tensor([1, 4, 32])).sum(-1)
    code = (key[:, None] * 5 + torch.arange(64) // 8) % 32
    tokens = code if name == TWIN else torch.stack([torch.sin(code * (c + 1) / 7.0) for c in range(8)], dim=-1)
    make = Masked if name == TWIN else Mar
    more = {"codes": 32} if name == TWIN else {"channels": 8, "head": [1, 32]}

    def judged(network: Any) -> dict[str, float]:
        with torch.no_grad():
            seeds = (torch.Generator().manual_seed(i) for i in range(4))
            return {"loss": sum(recipe.loss(network, (tokens, objects), g)[0].item() for g in seeds) / 4}

    small = replace(recipe, build=lambda: make(**more, **SHAPE), judge=judged, average=0.9, learning_rate=5e-3,
                    batches=lambda part: [(tokens[i : i + 32], objects[i : i + 32]) for i in (0, 32)])
    torch.manual_seed(0)
    before = judged(small.build())["loss"]
    after = training.fit(small, steps=40, folder=tmp_path)["loss"]
    assert after < 0.8 * before
    network = weights.read(tmp_path / "network.safetensors", make)
    assert judged(network)["loss"] == pytest.approx(after), "the judgement is of the stored network"


def test_networks_stay_within_their_parameters():
    mar_net, twin = train.build_mar(), train.build_maskgit()
    head = sum(p.numel() for p in mar_net.head.parameters())
    body = sum(p.numel() for p in mar_net.parameters()) - head
    both = sum(p.numel() for p in twin.parameters())
    assert 0.6e6 < body <= 1.2e6 and 0.2e6 < head <= 0.8e6 and 0.6e6 < both <= 1.2e6
    same = {n for n, _ in mar_net.named_parameters()} & {n for n, _ in twin.named_parameters()}
    shared = sum(p.numel() for n, p in twin.named_parameters() if n in same)
    assert shared / body > 0.95, "the twins differ in their tokens, not in their transformer"


# claims -------------------------------------------------------------------------------------------------


def trial(nets: dict[str, Any], claim: str, **more: Any) -> Trial:
    provide = {NET: nets[NET].session, TWIN: nets[TWIN].session, VAE: Watched, VQ: Watched}
    found = next(c for c in MAR.claims if c.id == claim)
    return Trial(MAR, found, nets=lambda name: provide[name](), **more)


def twice(s: SimpleNamespace, noise: Noise, meter: Any) -> Any:
    """A lane that asks its backbone twice a set."""
    for event in (steps := mar(s, noise, meter)):
        yield event
        if isinstance(event, ev.Phase) and event.state == "start" and event.index == 0:
            net = meter.net(NET)
            net(torch.zeros(1, 0, 8), torch.zeros(1, 0, dtype=torch.long), asked("", 1), False)
            yield net.forward([], range(64), range(64), mode="step")
    steps.close()


def fewer(s: SimpleNamespace, noise: Noise, meter: Any) -> Any:
    """A lane that takes one inner step less than it was asked for."""
    return (yield from mar(SimpleNamespace(**vars(s) | {"inner": s.inner - 1}), noise, meter))


def merged(s: SimpleNamespace, noise: Noise, meter: Any) -> Any:
    """A lane that draws all places at once, whatever it was asked for."""
    return (yield from mar(SimpleNamespace(**vars(s) | {"sets": 1}), noise, meter))


def test_calls_are_as_many_as_sets_and_broken_lanes_are_caught(nets):
    *_, good = claims.calls_vs_sets(trial(nets, "calls-vs-sets", effort=0.25))
    assert good["holds"] and good["n"] == 10
    for broken in (twice, fewer, merged):
        *_, bad = claims.calls_vs_sets(trial(nets, "calls-vs-sets", effort=0.25, subject=broken))
        assert bad["holds"] is False, broken


def perfect(captions: torch.Tensor, seeds: Any, rule: Rule) -> torch.Tensor:
    return scenes.render(captions, list(seeds)).image


def blank(captions: torch.Tensor, seeds: Any, rule: Rule) -> torch.Tensor:
    return torch.zeros(len(captions), 3, 64, 64)


def deaf(captions: torch.Tensor, seeds: Any, rule: Rule) -> torch.Tensor:
    """Pictures of other captions."""
    return scenes.draw([seed + 7 for seed in seeds]).image


def test_the_judge_believes_the_world_itself_and_not_pictures_of_something_else(nets):
    *_, good = claims.judge(trial(nets, "judge", effort=1 / 16, subject=perfect))
    assert good["holds"] is not False and good["here"] > 0.97
    for broken in (blank, deaf):
        *_, bad = claims.judge(trial(nets, "judge", effort=1 / 16, subject=broken))
        assert bad["holds"] is False


def test_the_comparison_with_codes_tells_which_is_better(nets):
    better, worse_ = {"continuous": perfect, "discrete": blank}, {"continuous": deaf, "discrete": perfect}
    for subject, sign in ((better, 1), (worse_, -1)):
        *_, got = claims.diffusion_loss_vs_discrete(
            trial(nets, "diffusion-loss-vs-discrete", effort=0.25, subject=subject))
        assert sign * got["low"] > 0 and sign * got["high"] > 0
        fd = {p["x"].removesuffix(": FD-mini"): p["y"] for p in got["points"]}
        assert (fd["discrete"] > 10 * fd["other real"]) is (sign > 0), "grey pictures look like none"


def test_temperature_is_variety_and_a_painter_that_ignores_it_is_caught(nets):
    def varied(captions: torch.Tensor, seeds: Any, rule: Rule) -> torch.Tensor:
        g = torch.Generator().manual_seed(seeds[0])
        return (perfect(captions, range(len(captions)), rule)
                + 0.2 * rule.tau * torch.randn(len(captions), 3, 64, 64, generator=g)).clamp(-1, 1)

    *_, good = claims.temperature(trial(nets, "temperature", effort=0.25, subject=varied))
    assert good["holds"] and len(good["points"]) == len(claims.TEMPERATURES)
    *_, bad = claims.temperature(trial(nets, "temperature", effort=0.25,
                                       subject=lambda c, s, rule: varied(c, s, replace(rule, tau=1.0))))
    assert bad["holds"] is not True
