"""Bayes nets are exact, training texts keep what they promise, and chains of a perfect model give the true answer."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from engines.events import Commit, Done, Measure, Propose, check
from engines.next_token import gap_text as text
from engines.next_token.gap_chains import at_once, elsewhere, freely, scaffolded
from engines.next_token.gap_exhibits import REASONING_GAP
from engines.next_token.model import END
from engines.noise import Noise
from engines.runtime import run
from engines.worlds import bayes


@pytest.fixture(scope="module")
def small():
    return bayes.random_net(3, variables=6, edges=6)


def brute(net, target, given):
    """p(target = 1 | given) from the definition: products of table rows over all states."""
    total = [0.0, 0.0]
    for x in product((0, 1), repeat=net.size):
        if all(x[i] == v for i, v in given.items()):
            p = 1.0
            for i, own in enumerate(net.parents):
                one = float(net.tables[i][tuple(x[k] for k in own)])
                p *= one if x[i] else 1 - one
            total[x[target]] += p
    return total[1] / sum(total)


def test_questions_are_answered_as_by_the_definition(small):
    for given, target in product(range(6), repeat=2):
        if given != target:
            for v in (0, 1):
                assert small.p(target, {given: v}) == pytest.approx(brute(small, target, {given: v}), abs=1e-12)
    assert small.p(2, {0: 1, 4: 0}) == pytest.approx(brute(small, 2, {0: 1, 4: 0}), abs=1e-12)
    assert small.table(range(6)).sum() == pytest.approx(1)
    assert np.isnan(small.p(0, {0: 1, 1: 0})) == (small.table((), {0: 1, 1: 0}) == 0)


def test_draws_follow_the_joint(small):
    seen = np.bincount(small.sample(5, 60_000) @ (1 << np.arange(6)[::-1]), minlength=64) / 60_000
    assert np.abs(seen - small.table(range(6)).ravel()).max() < 0.01


def test_nets_are_drawn_as_the_paper_says_and_stored_as_drawn():
    for net in bayes.nets():
        assert len(net.edges) == bayes.EDGES and net.order, "as many edges as asked for, no cycle"
    first = bayes.nets()[0]
    same = [net for net in map(bayes.random_net, range(40)) if net.parents == first.parents]
    assert not same or same[0].held_out == first.held_out


@pytest.mark.parametrize("k", range(bayes.NETS))
def test_held_out_pairs_are_apart_and_tell_about_one_another(k):
    net = bayes.nets()[k]
    assert len(net.held_out) == bayes.HELD_OUT
    for a, b in net.held_out:
        assert net.distances[a][b] >= bayes.APART
        cut = net.scaffold(a, b)
        assert cut and not {a, b} & set(cut) and net.separated(a, b, cut)
        assert not any(net.separated(a, b, [c for c in cut if c != left]) for left in cut), "none of it is idle"
        assert not net.separated(a, b, [])
    assert bayes.telling(net) > 0.05


def test_what_separates_makes_independent_and_what_does_not_need_not(small):
    for a, b, c in product(range(6), repeat=3):
        if len({a, b, c}) == 3 and small.separated(a, b, [c]):
            assert small.p(b, {a: 0, c: 1}) == pytest.approx(small.p(b, {a: 1, c: 1}), abs=1e-9, nan_ok=True)
    collider = bayes.BayesNet(((), (), (0, 1)), (np.array(0.5), np.array(0.5), np.array([[0.1, 0.9], [0.9, 0.1]])))
    assert collider.separated(0, 1, []) and not collider.separated(0, 1, [2])


@pytest.mark.parametrize("kind", text.KINDS)
def test_no_training_text_holds_a_held_out_pair_but_where_it_should(kind):
    rows, broken = text.samples(kind, 7, 150), 0
    for row, k in zip(rows, np.repeat(np.arange(bayes.NETS), 150), strict=True):
        cells = row[: list(row).index(END)].tolist()
        assert cells[0] == text.TARGET
        assert {text.named(t)[0] for t in (cells[1], *cells[2::2])} == {k}, "every net has names of its own"
        names = [text.named(t)[1] for t in cells[2::2]]
        assert all(text.VALUE <= v < text.VALUE + 2 for v in cells[3::2])
        assert names[-1] == text.named(cells[1])[1], "the target's line is the last"
        assert len(set(names)) == len(names) or len(names) == 2
        broken += any(set(pair) <= set(names) for pair in bayes.nets()[k].held_out)
    assert (broken > 0) == (kind == "seen")


def test_local_texts_stay_in_a_neighbourhood_and_wrong_ones_in_another():
    net, other, rng = bayes.nets()[0], bayes.other(0), np.random.default_rng(1)

    def stretch(kind, around):
        shown = [text.variables(net, around, kind, rng) for _ in range(400)]
        return np.mean([net.distances[v[0]].get(v[-1], 6) for v in shown if len(v) > 1])

    assert stretch("local", net) < 2 < 3 < stretch("wrong", other)
    assert text.company("local", 0, net.held_out[0][1])[net.held_out[0][0]] == 0


def perfect(name):
    return text.Exact()


def answered(lane, nets=perfect, **settings):
    events = list(run(REASONING_GAP, {"world": "2", **settings}, 5, lanes=[lane], nets=nets))
    check(events)
    assert isinstance(events[-1], Done) and events[-1].reason == "finished"
    return events


@pytest.mark.parametrize("lane", ["free", "scaffold", "negative"])
@pytest.mark.parametrize("pair", [1, 8])
def test_chains_of_a_perfect_model_average_to_the_true_answer(lane, pair):
    told = [answered(lane, pair=pair, value="1", chains=50)[-1].summary]
    told += [list(run(REASONING_GAP, {"world": "2", "pair": pair, "value": "1", "chains": 50}, seed, lanes=[lane],
                      nets=perfect))[-1].summary for seed in range(6, 12)]
    estimates = [s["estimate"] for s in told]
    assert np.mean(estimates) == pytest.approx(told[0]["truth"], abs=0.04)


def test_a_perfect_model_is_right_at_once():
    for value in ("0", "1"):
        summary = answered("direct", pair=3, value=value)[-1].summary
        assert summary["estimate"] == pytest.approx(summary["truth"], abs=1e-9) and summary["calls"] == 1


class Flipped(text.Exact):
    """A model that is wrong about every value."""

    def __call__(self, tokens, predict):
        z = super().__call__(tokens, predict)
        z[:, [text.VALUE, text.VALUE + 1]] = z[:, [text.VALUE + 1, text.VALUE]]
        return z


class Local(text.Exact):
    """It knows a value only from what is two edges away at most: what else was written makes no difference to it."""

    def __call__(self, tokens, predict):
        net, body = bayes.nets()[text.named(tokens[2])[0]], list(tokens[text.HEAD :])
        if len(body) % 2:
            i = text.named(body[-1])[1]
            lines = [body[k : k + 2] for k in range(0, len(body) - 1, 2)]
            near = [line for line in lines if net.distances[i].get(text.named(line[0])[1], 9) <= 2]
            tokens = [*tokens[: text.HEAD], *(t for line in near for t in line), body[-1]]
        return super().__call__(tokens, predict)


def mean_error(lane, nets, **settings):
    """Mean squared error over all questions of one net."""
    out = []
    for pair, value in product(range(1, 2 * bayes.HELD_OUT + 1), "01"):
        summary = list(run(REASONING_GAP, {"world": "2", "pair": pair, "value": value, **settings}, 3, lanes=[lane],
                           nets=nets))[-1].summary
        out.append((summary["estimate"] - summary["truth"]) ** 2)
    return float(np.mean(out))


def test_a_model_that_knows_neighbours_only_gains_by_the_right_steps_and_not_by_wrong_ones():
    direct = mean_error("direct", lambda name: Local())
    assert mean_error("scaffold", lambda name: Local(), chains=20) < 0.5 * direct
    assert mean_error("negative", lambda name: Local(), chains=20) > 0.6 * direct
    assert mean_error("scaffold", lambda name: Local(), chains=1) > mean_error("scaffold", lambda n: Local(), chains=20)


def test_a_model_that_is_wrong_about_every_value_is_found_out():
    assert mean_error("direct", lambda name: Flipped()) > 0.2


def test_a_chain_draws_from_the_model_and_never_from_the_world(monkeypatch):
    monkeypatch.setattr(bayes.BayesNet, "sample", lambda *_: pytest.fail("a lane drew from the true net"))
    names = lambda open_, target: np.array([float(i == target) + 1e-9 for i in open_])  # noqa: E731
    events = list(run(REASONING_GAP, {"chains": 3}, 5, lanes=["free"], nets=lambda name: text.Exact(names)))
    assert not [e for e in events if isinstance(e, Commit)], "it names the target at once"
    assert len([e for e in events if isinstance(e, Propose)]) == 3


def test_plans():
    net, q = bayes.nets()[0], bayes.nets()[0].questions[0]
    noise = Noise(3)
    apt, off = scaffolded(net, q, noise), elsewhere(net, q, noise)
    assert at_once(net, q, noise) == [] and freely(net, q, noise) is None
    assert len(off) == len(apt) and not set(off) & {*apt, q.given, q.target}


def test_more_chains_leave_the_first_ones_as_they_were():
    few, many = (answered("free", pair=2, value="0", chains=m) for m in (3, 9))

    def of(events):
        return [e.value for e in events if isinstance(e, Measure) and e.name == "estimate"]

    assert of(few) == of(many)[:3]


def test_forcing_a_value_changes_its_chain_and_no_other():
    base = answered("free", pair=2, value="0", chains=3)
    commit = next(e for e in base if isinstance(e, Commit))
    force = {"do": "force", "lane": "free", "cell": commit.cells[0], "value": 1 - commit.values[0],
             "after": commit.n - 1}
    other = list(run(REASONING_GAP, {"world": "2", "pair": 2, "value": "0", "chains": 3}, 5, [force], lanes=["free"],
                     nets=perfect))
    held = next(e for e in other if isinstance(e, Commit) and e.cells == commit.cells)
    assert held.origin == "forced" and held.values == [1 - commit.values[0]]
    rest = [[replace(e, t=0, n=0).to_json() for e in run_ if isinstance(e, Commit) and e.cells[0] >= bayes.VARIABLES]
            for run_ in (base, other)]
    assert rest[0] == rest[1]
