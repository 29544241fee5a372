"""The lanes that guess and check: what is called when, what shared noise means, and that nothing else decides.

The networks are small and untrained, with random numbers also where training starts from zeros.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from test_masked_continuous import SHAPE, Watched, blank, perfect, shaken

from engines import events as ev
from engines.masked_continuous import cspd_claims, train
from engines.masked_continuous.checked import Plan, paint_checked
from engines.masked_continuous.cspd import check_of, rule_of
from engines.masked_continuous.cspd_exhibits import CSPD
from engines.masked_continuous.model import DRAFT, NET, VAE, Mar
from engines.masked_continuous.sampler import Rule
from engines.masked_continuous.sets import Round, rounds
from engines.masked_continuous.verdict import Check, judge
from engines.nn import count_parameters
from engines.runtime import Trial, run
from engines.scene_settings import asked

HEAD = f"{NET}.head"


@pytest.fixture(scope="module")
def nets() -> dict[str, Any]:
    """A target, and a draft that says nearly the same, so that some guesses stay and some go."""
    torch.manual_seed(0)
    big = shaken(Mar(channels=8, head=[1, 24], **SHAPE))
    small = deepcopy(big)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter += 0.01 * torch.randn(parameter.shape)
    return {NET: big, DRAFT: small}


def lane(nets: dict[str, Any], name: str = "cspd", seed: int = 1, interventions: Any = (), **settings: Any) -> Any:
    """(events, the latents (L, C) that were decoded last)."""
    tokenizer = Watched()
    own: dict[str, Callable[[], Any]] = {n: net.session for n, net in nets.items()}
    provide = own | {VAE: lambda: tokenizer, f"{VAE}_sketch": Watched}
    settings = {"inner": 6, "previews": False} | settings
    made = list(run(CSPD, settings, seed, interventions, lanes=[name], nets=lambda net: provide[net]()))
    assert isinstance(made[-1], ev.Done) and made[-1].reason == "finished", made[-1]
    ev.check(made)
    assert tokenizer.seen is not None
    return made, tokenizer.seen[0]


def of(events: list[Any], kind: type) -> list[Any]:
    return [e for e in events if isinstance(e, kind)]


# rounds -------------------------------------------------------------------------------------------------


def test_rounds_cover_all_sets_in_order():
    assert rounds(16, 4, 0.05) == [Round(0, 1, False), Round(1, 5, True), Round(5, 9, True), Round(9, 13, True),
                                   Round(13, 16, True)]
    for sets, gamma, share in ((2, 16, 0.0), (64, 3, 0.5), (7, 1, 0.9), (16, 4, 1.0)):
        plan = rounds(sets, gamma, share)
        assert [k for r in plan for k in range(r.first, r.stop)] == list(range(sets))
        assert all(r.stop - r.first <= (gamma if r.drafted else 1) for r in plan)
    assert not any(r.drafted for r in rounds(16, 4, 1.0))


# lanes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gamma", "share", "guidance"), [(4, 0.05, 2.0), (1, 0.0, 1.0), (16, 0.3, 3.0)])
def test_the_target_is_called_once_a_round_and_the_draft_once_a_set(nets, gamma, share, guidance):
    events, _ = lane(nets, gamma=gamma, share=share, guidance=guidance)
    plan = rounds(16, gamma, share)
    calls = {e.net: e.calls for e in of(events, ev.Forward)}
    guessed = sum(r.stop - r.first for r in plan if r.drafted)
    assert calls[NET] == len(plan) and calls[HEAD] == 6 * len(plan)
    assert calls[DRAFT] == guessed and calls[f"{DRAFT}.head"] == 6 * guessed
    # Each check is one evaluation, of all places of the round, that reads what is verified and no guess.
    done: set[int] = set()
    for e in events:
        if isinstance(e, ev.Forward) and e.net == NET:
            assert set(ev.expand(e.reads)) == done and (e.mode == "prefill" or set(ev.expand(e.computes)) == done)
        elif isinstance(e, ev.Commit):
            done |= set(ev.expand(e.cells))
    assert done == set(range(64))


def test_each_guess_is_judged_by_its_own_number(nets):
    events, _ = lane(nets, inner_temperature=6.0, finish=300)
    proposed = {c for e in of(events, ev.Propose) for c in ev.expand(e.cells)}
    judged: dict[int, bool] = {}
    for e in of(events, ev.Accept) + of(events, ev.Reject):
        for cell, ratio, u in zip(ev.expand(e.cells), e.ratio, e.u, strict=True):
            judged[cell] = u < ratio
            assert isinstance(e, ev.Accept) is judged[cell] and 0 <= ratio <= 1
    assert set(judged) == proposed and len(proposed) == 63
    origin = {c: e.origin for e in of(events, ev.Commit) for c in ev.expand(e.cells)}
    assert all(origin[c] == ("accepted" if stays else "repaired") for c, stays in judged.items())
    summary = events[-1].summary
    assert summary["tested"] == 63 and summary["accepted"] == sum(judged.values()) and summary["failed"] == 0
    assert 0 < summary["accepted"] < 63, "a test in which all go the same way would say little"


def test_a_share_of_one_is_the_target_alone(nets):
    whole, tokens = lane(nets, share=1.0)
    assert not of(whole, ev.Propose)
    assert torch.equal(tokens, lane(nets, "target")[1])


def test_a_draft_that_is_the_target_is_always_right(nets):
    """γ = 1: the picture is bit for bit the target's own; Σ = 1 whatever the rule."""
    same = {NET: nets[NET], DRAFT: nets[NET]}
    plain = lane(same, "target")[1]
    for rule in ("exact", "paper", "code"):
        events, tokens = lane(same, gamma=1, rule=rule)
        assert not of(events, ev.Reject) and torch.equal(tokens, plain)


def test_the_noise_is_shared_or_it_is_not(nets):
    """The guesses are the same either way; what the target makes of them is not. Calls stay as they are."""
    one, other = (lane(nets, aligned=aligned, previews=True)[0] for aligned in (True, False))
    first = [next(e for e in events if isinstance(e, ev.Preview) and e.name == "walks") for events in (one, other)]
    arrays = [np.frombuffer(b64decode(e.data), "<f2").reshape(e.shape) for e in first]
    points = arrays[0].shape[1] // 2
    begins = [(a[:, 0], a[:, points]) for a in arrays]
    assert np.array_equal(*begins[0]) and not np.array_equal(*begins[1]), "where both walks start"
    assert np.array_equal(arrays[0][:, points:], arrays[1][:, points:]), "the draft's own walk"
    assert [e.net for e in of(one, ev.Forward)] == [e.net for e in of(other, ev.Forward)]


def test_a_forgiving_check_keeps_more(nets):
    kept = [lane(nets, inner_temperature=T)[0][-1].summary["accepted"] for T in (1.0, 64.0)]
    assert kept[0] < kept[1]


def test_previews_and_walks_change_nothing_else(nets):
    plain, tokens = lane(nets)
    shown, same = lane(nets, previews=True)
    assert torch.equal(tokens, same)
    assert [e.name for e in of(shown, ev.Preview)].count("walks") == 4 and len(of(shown, ev.Preview)) > 20
    told = [[e.kind for e in events if not isinstance(e, ev.Preview)] for events in (shown, plain)]
    assert told[0] == told[1]


def test_bells_are_those_of_the_run(nets):
    """Where a guess was kept, the token that stands is the guess; the guess lies where the draft's bell put it."""
    events, _ = lane(nets, previews=True, finish=300, inner_temperature=6.0)
    raw = next(e for e in events if isinstance(e, ev.Preview) and e.name == "bells")
    bells = np.frombuffer(b64decode(raw.data), "<f2").reshape(raw.shape)[..., 0].astype(float)
    cells = ev.expand(next(e for e in events if isinstance(e, ev.Phase) and e.index == raw.level).cells)
    origin = {c: e.origin for e in of(events, ev.Commit) for c in ev.expand(e.cells)}
    assert len(cells) == len(bells) and (bells[:, :3] > 0).all()
    assert all(bool(b[3] == b[4]) is (origin[c] == "accepted") for c, b in zip(cells, bells, strict=True))
    assert (abs(bells[:, 3]) < 5 * bells[:, 2]).all()


@pytest.mark.parametrize("name", ["cspd", "alone", "target", "draft"])
def test_a_picture_of_a_batch_is_the_one_that_its_seed_gives_on_the_page(nets, name):
    seeds, more = [4, 11, 12], {"inner": 6, "inner_temperature": 6.0, "finish": 300}
    s = CSPD.parse(more)
    plan = rounds(s.sets, s.gamma, s.share) if name in ("cspd", "alone") else rounds(s.sets, 1, 1)
    big, small = nets[DRAFT if name == "draft" else NET], nets[DRAFT] if name == "cspd" else None
    objects = torch.cat([asked("", seed) for seed in seeds])
    made, tally = paint_checked(big, small, objects, seeds, rule_of(s), Plan(plan, check_of(s)))
    for i, seed in enumerate(seeds):
        events, tokens = lane(nets, name, seed, **more)
        assert torch.allclose(tokens, made[i], atol=2e-3), (tokens - made[i]).abs().max()
        if name == "cspd":
            assert tally.tested[i] == 63 and tally.kept[i] == events[-1].summary["accepted"]


def test_the_last_step_adds_noise_and_mar_does_not(nets):
    """`finish` moves the last step; at 0 it is so sharp that the exact check keeps nothing of two strangers."""
    sharp, wide = (lane(nets, finish=finish)[0][-1].summary["accepted"] for finish in (0, 400))
    assert sharp == 0 <= wide


def test_the_draft_is_small():
    assert count_parameters(train.build_draft()) <= 0.4e6


# claims -------------------------------------------------------------------------------------------------


def trial(claim: str, **more: Any) -> Trial:
    return Trial(CSPD, next(c for c in CSPD.claims if c.id == claim), **more)


def test_more_guesses_with_shared_noise_is_not_said_of_equal_chances():
    def better(s: Any, captions: Any, seeds: Any, ask: Any) -> list[float]:
        return [0.1 + 0.05 * s.aligned + 0.001 * (i % 7) for i in range(len(seeds))]

    def deaf(s: Any, captions: Any, seeds: Any, ask: Any) -> list[float]:
        return [0.1 + 0.001 * ((i * (2 + s.aligned)) % 7) for i in range(len(seeds))]

    *_, good = cspd_claims.alignment(trial("acceptance-with-alignment", effort=0.5, subject=better))
    *_, bad = cspd_claims.alignment(trial("acceptance-with-alignment", effort=0.5, subject=deaf))
    assert good["holds"] is True and len(good["points"]) == 4 and bad["holds"] is not True


def test_sigma_is_not_blamed_where_it_plays_no_part():
    def without(noise: Any, cells: Any, x: Any, p: Any, q: Any, check: Check) -> Any:
        return judge(noise, cells, x, p, q, Check())

    *_, bent = cspd_claims.sigma(trial("ratio-sigma-breaks-the-law", effort=0.34))
    *_, straight = cspd_claims.sigma(trial("ratio-sigma-breaks-the-law", effort=0.34, subject=without))
    assert bent["holds"] is True and bent["low"] > 1 and straight["holds"] is False


def test_the_judge_compares_the_lanes():
    def painted(s: Any, kind: str, captions: torch.Tensor, seeds: Any) -> torch.Tensor:
        return (blank if kind == "cspd" else perfect)(captions, seeds, Rule())

    *_, got = cspd_claims.judge_(trial("judge", effort=0.125, subject=painted))
    assert got["high"] < -50 and len(got["points"]) == 5
