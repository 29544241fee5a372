"""Rules, pages, sessions and loops of unmasking."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engines import catalog, record, training, weights
from engines import events as ev
from engines.discrete_diffusion import losses, rules, train
from engines.discrete_diffusion import page as pages
from engines.discrete_diffusion.answers import Grammar, alone, together
from engines.discrete_diffusion.claims import PLAIN, TOY, quiet, toy_page
from engines.discrete_diffusion.exhibits import EXHIBITS
from engines.discrete_diffusion.model import Network
from engines.discrete_diffusion.radd import TWIN, expected_nfe
from engines.discrete_diffusion.unmask import NET, unmask
from engines.errors import Refused
from engines.noise import Noise
from engines.runtime import Net, run
from engines.tables import MaskedTable, chain_joint
from engines.worlds import stories
from engines.worlds.stories import HIDDEN

TINY = {"vocab": 14, "layers": 2, "width": 32, "heads": 2, "hidden": 48, "length": 12}


@pytest.fixture(autouse=True)
def _on_show(monkeypatch):
    for exhibit in EXHIBITS:
        monkeypatch.setitem(catalog.EXHIBITS, exhibit.slug, exhibit)


def spoken(told: int = 0, **shape: Any) -> Network:
    torch.manual_seed(told)
    network = Network(**TINY | shape, told=told)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def nets():
    shape = {"vocab": len(stories.VOCAB), "layers": 1, "length": 64, "never": (2, 3)}
    made = {NET: spoken(**shape), TWIN: spoken(4, **shape)}
    return lambda name: made[name].session()


# rules --------------------------------------------------------------------------------------------------


def test_equal_steps_sum_to_the_cells_and_differ_by_one():
    for cells in range(1, 30):
        for steps in range(1, cells + 4):
            n = rules.equal_steps(cells, steps)
            assert sum(n) == cells and len(n) == steps and max(n) - min(n) <= 1 and n == sorted(n, reverse=True)


@pytest.mark.parametrize(("amount", "wanted"), [("threshold", 2), ("factor", 3), ("budget", 3)])
def test_how_many_on_a_worked_example(amount, wanted):
    c, h = np.array([0.95, 0.9, 0.8, 0.3]), np.array([0.1, 0.2, 0.3, 1.0])
    # factor: 2 · 0.05, 3 · 0.1, 4 · 0.2 lie below 1, 5 · 0.7 does not; budget: 0.1 + 0.2 + 0.3 <= 0.6
    assert rules.how_many(amount, c, h, 0.9, 1.0, 0.61) == wanted


def test_limits_of_the_how_many_rules():
    c, h = np.array([0.99, 0.6, 0.5]), np.array([0.1, 0.5, 0.7])
    assert rules.how_many("threshold", c, h, 1.01, 0, 0) == 1 and rules.how_many("threshold", c, h, 0.0, 0, 0) == 3
    assert rules.how_many("factor", c, h, 0, 1e-9, 0) == 1 and rules.how_many("budget", c, h, 0, 0, 0.0) == 1


def test_scores_agree_with_their_definitions():
    p = np.array([[0.5, 0.3, 0.2], [0.9, 0.1, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    ask = lambda order: rules.scores(order, p, p.max(1), [4, 5, 6], Noise(0))  # noqa: E731
    assert ask("confidence").tolist() == p.max(1).tolist()
    np.testing.assert_allclose(ask("margin"), [0.2, 0.8, 0.0], atol=1e-12)
    np.testing.assert_allclose(ask("entropy"), [-1.0297, -0.3251, -math.log(3)], atol=1e-4)
    assert ask("left").argmax() == 0 and 0 <= ask("random").min()
    tied = rules.ranked(np.zeros(3), 0.0, [4, 5, 6], Noise(0), np.zeros(3))
    assert tied == [0, 1, 2], "ties go to the left"
    assert rules.ranked(np.array([0.0, 9.0, 5.0]), 0.0, [4, 5, 6], Noise(0), np.array([1, 2, 1])) == [2, 0, 1]


def test_a_loose_order_is_drawn_from_the_softmax_of_the_scores():
    score, first = np.array([0.9, 0.5]), 0
    for seed in range(4_000):
        first += rules.ranked(score, 0.5, [0, 1], Noise(seed), np.zeros(2))[0] == 0
    wanted = math.exp(1.8) / (math.exp(1.8) + math.exp(1.0))
    assert abs(first / 4_000 - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 4_000)


def test_blocks_are_cut_by_place_from_the_first_hidden_cell():
    assert rules.blocks([3, 4, 7, 9, 10], 4) == [[3, 4], [7, 9, 10]]
    assert rules.blocks([], 4) == [] and rules.blocks([5, 6], 1) == [[5], [6]]


def test_nothing_filtered_is_the_very_distribution():
    p = np.array([[0.7, 0.2, 0.1]])
    assert rules.drawn_from(p) is p
    np.testing.assert_allclose(rules.drawn_from(p, top_p=0.75), [[7 / 9, 2 / 9, 0]])
    np.testing.assert_allclose(rules.drawn_from(p, temperature=0), [[1, 0, 0]])
    np.testing.assert_allclose(rules.drawn_from(p, top_k=1), [[1, 0, 0]])


# loops on a table ---------------------------------------------------------------------------------------


def toy(seed: int = 3, **settings: Any) -> tuple[pages.Page, list[ev.Event]]:
    page, meter = toy_page(), quiet()
    s = SimpleNamespace(**PLAIN | settings)
    table = Net("table", MaskedTable(chain_joint()), meter)
    return page, list(alone(unmask(page, s, Noise(seed), meter), table))


def commits(events: list[ev.Event]) -> list[list[int]]:
    return [e.cells for e in events if isinstance(e, ev.Commit)]


def calls(events: list[ev.Event]) -> int:
    return sum(isinstance(e, ev.Forward) for e in events)


def test_extremes_of_the_settings():
    assert commits(toy(block=1)[1]) == commits(toy(order="left")[1]) == [[0], [2], [3], [5]]
    assert commits(toy(order="confidence", amount="threshold", tau=0.0)[1]) == [[0, 2, 3, 5]]
    assert len(commits(toy(order="confidence", amount="threshold", tau=1.1)[1])) == 4
    assert len(commits(toy(steps=1)[1])) == 1 and [len(c) for c in commits(toy(steps=3)[1])] == [2, 1, 1]


@pytest.mark.parametrize("order", list(rules.ORDERS))
@pytest.mark.parametrize("amount", list(rules.AMOUNTS))
@pytest.mark.parametrize("block", [2, 64])
def test_every_rule_fills_every_cell_once(order, amount, block):
    page, events = toy(order=order, amount=amount, block=block, steps=3)
    assert not page.masked and sorted(c for own in commits(events) for c in own) == [0, 2, 3, 5]
    assert page.x[1] == 0 and page.x[4] == 2, "what was given stays"


def test_guidance_of_nought_asks_once_and_more_asks_twice_and_pulls():
    assert toy()[0].x == toy(guidance=0.0)[0].x
    plain, guided = toy(guidance=0.0)[1], toy(guidance=2.0)[1]
    pick = lambda events: max(e.nfe for e in events if isinstance(e, ev.Forward))  # noqa: E731
    assert pick(plain) == calls(plain) == calls(guided) and pick(guided) == 2 * calls(guided)


def test_guidance_against_nothing_given_is_no_guidance():
    def without(guidance: float) -> list[int]:
        page, meter = pages.Page([HIDDEN] * 6, 6, [], TOY[:4]), quiet()
        s = SimpleNamespace(**PLAIN | {"guidance": guidance})
        list(alone(unmask(page, s, Noise(1), meter), Net("table", MaskedTable(chain_joint()), meter)))
        return page.x

    assert without(0.0) == without(2.0)


def test_a_step_of_coins_that_opens_nothing_is_not_paid_for():
    for seed in range(6):
        kept, anew = toy(seed, order="coin", steps=40, cache="exact"), toy(seed, order="coin", steps=40)
        assert kept[0].x == anew[0].x and commits(kept[1]) == commits(anew[1])
        assert calls(kept[1]) == len(commits(kept[1])) <= 4 < calls(anew[1])


def test_remasking_really_takes_words_back_and_ends():
    taken = 0
    for seed in range(12):
        page, events = toy(seed, remask=0.3, steps=8)
        back = [c for e in events if isinstance(e, ev.Withdraw) for c in e.cells]
        taken += len(back)
        assert not page.masked and sorted(c for own in commits(events) for c in own) == sorted([0, 2, 3, 5, *back])
        assert {e.why for e in events if isinstance(e, ev.Withdraw)} <= {"remask"}
    assert taken > 0
    assert not any(isinstance(e, ev.Withdraw) for e in toy(remask=0.0)[1])


def test_rows_together_are_the_rows_alone():
    s, table = SimpleNamespace(**PLAIN | {"order": "confidence", "steps": 3}), MaskedTable(chain_joint())
    filled = [toy_page() for _ in range(5)]
    traces = together([unmask(p, s, Noise(seed), quiet()) for seed, p in enumerate(filled)], table, "table")
    for seed, (page, events) in enumerate(zip(filled, traces, strict=True)):
        lonely, own = toy(seed, order="confidence", steps=3)
        assert page.x == lonely.x
        assert [replace(e, ms=0, mode="") if isinstance(e, ev.Forward) else e for e in events[:-1]] == [
            replace(e, ms=0, mode="") if isinstance(e, ev.Forward) else e for e in own]


# the network's session ----------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [0, 4])
def test_a_session_says_what_the_network_says_and_never_what_is_impossible(told):
    network = spoken(told, never=(2, 3))
    rows = [[5, 14, 14, 7, 14, 9], [14, 14, 6, 6, 1, 1]]
    sigma = [0.4, 2.0] if told else None
    raw = network(torch.tensor(rows), torch.tensor(sigma) if told else None)[..., :-1]
    torch.testing.assert_close(network.session()(rows, sigma=sigma), raw)
    torch.testing.assert_close(network.session()(rows, [1, 4], sigma=sigma), raw[:, [1, 4]])
    assert raw[..., [2, 3]].isneginf().all()
    if told:
        assert not torch.allclose(raw, network(torch.tensor(rows), torch.tensor([2.0, 0.4]))[..., :-1])


def test_the_cache_of_a_block_is_exact_while_the_rest_stands_still_and_only_then():
    network, page = spoken(), [5, 6, 14, 14, 14, 14]
    session = network.session()
    session([page], keep=True)
    whole = network.session()([page], [2, 3])
    torch.testing.assert_close(session([page], [2, 3], computes=[2, 3]), whole)
    torch.testing.assert_close(session([page], [2, 3], computes=[2, 3, 4, 5]), whole)
    changed = [5, 6, 8, 14, 14, 14]
    first = session([changed], [3], computes=[2, 3])
    assert not torch.allclose(first, network.session()([changed], [3])), "cells behind the block remember the old page"
    assert session.cache_bytes > 0
    with pytest.raises(ValueError, match="compute a whole page first"):
        network.session()([page], [2], computes=[2])
    with pytest.raises(ValueError, match="must be computed"):
        session([page], [1], computes=[2])


def test_a_network_that_is_told_the_time_must_be_told():
    with pytest.raises(ValueError, match="sigma"):
        spoken(4)(torch.tensor([[1, 2]]))


# pages of stories ---------------------------------------------------------------------------------------


def test_the_exact_conditionals_of_the_grammar_answer_like_a_network():
    story = stories.sample([stories.TEST[5]])[0]
    row = [int(v) for v in story]
    row[3] = len(stories.VOCAB)
    z = Grammar()([row], [3])
    assert np.exp(z[0, 0]).sum() == pytest.approx(1) and np.exp(z[0, 0, story[3]]) > 0
    broken = list(row)
    broken[4] = broken[5] = int(story[3])
    answers = Grammar()
    before = answers([row], [3])
    np.testing.assert_array_equal(answers([broken], [3]), before), "where nothing fits it repeats itself"


def test_a_told_end_is_on_the_page_and_a_free_one_must_be_written():
    s = SimpleNamespace(story="", blanks="", pattern="random", share=50, ending="told")
    told = pages.open_page(s, Noise(5))
    free = pages.open_page(SimpleNamespace(**vars(s) | {"ending": "free"}), Noise(5))
    assert told.x[told.shown] == stories.END and not told.masked[-1] >= told.shown and len(told.x) == 64
    assert free.shown == 64 and free.masked[-1] == 63 and told.never and not free.never
    assert told.masked == [c for c in free.masked if c < told.shown]
    assert pages.laws(told, np.zeros((1, 464)))[0, stories.END] == 0 < pages.laws(free, np.zeros((1, 464)))[0, 1]


def test_the_reader_is_silent_when_nobody_looks_and_tells_a_clash_once():
    s = SimpleNamespace(story="", blanks="2,3", pattern="random", share=50, ending="told")
    page = pages.open_page(s, Noise(5))
    meter = quiet()
    assert not pages.Reader(page, meter).on
    meter.quiet = False
    reader = pages.Reader(page, meter)
    assert reader.truth([2]).sum() == pytest.approx(1) and reader.pay([2], page.x) == 0 <= reader.pay([2, 3], page.x)
    page.x[2] = page.x[3] = stories.VOCAB.index("the")
    note = reader.clash([2, 3])
    assert "clash" in note.text and reader.truth([2]) is None and reader.clash([2]) is None


def loud(nets: Any, slug: str, seed: int = 4, lanes: Any = None, changes: Any = (), **settings: Any) -> list[ev.Event]:
    return list(run(slug, {"share": 20} | settings, seed, changes, lanes=lanes, nets=nets))


@pytest.mark.parametrize(("slug", "lanes", "settings"), [
    ("masked-diffusion", ["unmask", "one-by-one"], {}),
    ("masked-diffusion", ["random", "remask"], {"remask": 0.1}),
    ("masked-diffusion", ["unmask", "oracle"], {"temperature": 0.5, "top_p": 0.9}),
    ("masked-diffusion", ["unmask"], {"cache": "dual", "block": 4, "guidance": 1.0}),
    ("masked-diffusion", ["unmask"], {"cache": "prefix", "block": 4, "ending": "late"}),
    ("masked-diffusion", ["unmask"], {"order": "coin", "cache": "exact", "order_temperature": 0.5}),
    ("radd", ["radd", "sedd"], {}), ("radd", ["ordered", "uncached"], {"top_k": 5, "steps": 16}),
])
def test_lanes_keep_the_rules_of_events_and_can_be_replayed(nets, slug, lanes, settings):
    events = loud(nets, slug, lanes=lanes, **settings)
    ev.check(events)
    ends = [e for e in events if isinstance(e, ev.Done)]
    assert [e.reason for e in ends] == ["finished"] * len(lanes)
    assert record.untimed(events) == record.untimed(loud(nets, slug, lanes=lanes, **settings))
    assert not any(isinstance(e, ev.Failed) for e in events)
    for e in ends:
        assert {"blanks", "calls", "nfe", "steps", "valid", "price"} <= set(e.summary)


def test_cached_cells_are_read_and_not_computed(nets):
    events = loud(nets, "masked-diffusion", lanes=["unmask"], cache="dual", block=8, pattern="suffix", share=60)
    some = [e for e in events if isinstance(e, ev.Forward) and e.reads]
    assert some and all(not set(ev.expand(e.reads)) & set(ev.expand(e.computes)) for e in some)
    assert all(len(ev.expand(e.computes)) <= 8 and e.cache_bytes > 0 for e in some)


@pytest.mark.parametrize(("slug", "lane"), [("masked-diffusion", "unmask"), ("masked-diffusion", "remask"),
                                            ("radd", "radd"), ("radd", "sedd")])
def test_a_word_that_a_user_holds_is_written_next_and_stays(nets, slug, lane):
    own = loud(nets, slug, lanes=[lane], steps=12)
    cell = next(e for e in own if isinstance(e, ev.Commit) and e.n > len(own) // 2).cells[0]
    after = [e.n for e in own if isinstance(e, ev.Forward)][1]
    force = [{"do": "force", "lane": lane, "cell": cell, "value": "pancakes", "after": after}]
    branch = loud(nets, slug, lanes=[lane], changes=force, steps=12)
    assert record.untimed(branch[: after + 1]) == record.untimed(own[: after + 1])
    held = [e for e in branch if isinstance(e, ev.Commit) and e.origin == "forced"]
    assert [e.cells for e in held] == [[cell]] and held[0].values == ["pancakes"]
    between = [e for e in branch[after + 1 : held[0].n] if isinstance(e, ev.Commit)]
    assert not between or slug == "radd", "the rules open it before all others"
    assert not [e for e in branch[held[0].n :] if isinstance(e, ev.Withdraw) and cell in e.cells]


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(Refused, match="grammar has no keys"):
        list(run("masked-diffusion", {"oracle": True, "cache": "dual"}, 1))
    with pytest.raises(Refused, match="cell 63 does not exist"):
        list(run("radd", {"blanks": "63"}, 1))


def test_expected_evaluations_are_the_papers_formula_and_never_more_than_cells():
    for n, wanted in ((8, 7.89), (16, 13.97), (32, 20.41), (128, 28.41), (256, 30.14)):
        assert expected_nfe(n, 32) == pytest.approx(n * (1 - (1 - 1 / n) ** 32)) == pytest.approx(wanted, abs=0.01)
    assert expected_nfe(10**6, 32) == pytest.approx(32, abs=0.01) and expected_nfe(64, 32, 1) == 1
    curve = [expected_nfe(64, 32, k) for k in range(1, 65)]
    assert curve == sorted(curve)


# losses and recipes -------------------------------------------------------------------------------------


def test_an_untrained_network_pays_an_even_guess():
    shape = train.SHAPE | {"layers": 1, "width": 16, "heads": 2}
    cells = train.batches(0)[0][:8]
    for told, loss in ((0, train.loss), (4, train.twin_loss)):
        network = Network(**shape, hidden=16, told=told)
        values = [loss(network, cells, torch.Generator().manual_seed(i))[0].item() for i in range(60 if told else 2)]
        if told:  # score entropy scatters around it, and here nothing is forbidden: the score has no sum to keep
            assert np.mean(values) == pytest.approx(math.log(464), rel=0.25)
        else:
            assert values == pytest.approx([math.log(462)] * 2, rel=1e-5)


def test_score_entropy_of_a_true_conditional_is_its_cross_entropy():
    network, t = spoken(), torch.tensor([0.3, 0.9])
    x_0 = torch.randint(4, 14, (2, 12), generator=torch.Generator().manual_seed(1))
    x_t = losses.masked_exactly(x_0, torch.tensor([4, 9]), torch.rand(2, 12), network.mask)
    assert ((x_t == network.mask).sum(1) == torch.tensor([4, 9])).all()
    q = network.log_q(x_t)
    torch.testing.assert_close(losses.t_dse(losses.radd_score(q, t), x_0, x_t, t, network.mask),
                               losses.t_dce(losses.misses(q, x_0, x_t, network.mask), t), rtol=1e-4, atol=1e-4)


def test_what_is_told_is_never_masked_and_the_rest_evenly():
    cells = torch.cat(train.batches(0)[:8])
    may = train.maskable(cells, torch.Generator().manual_seed(0))
    whole = may.all(1)
    assert 0.35 < whole.float().mean() < 0.65
    assert ((cells[~whole] > 3) == may[~whole]).all()


@pytest.mark.parametrize("name", list(train.RECIPES))
def test_a_recipe_learns_and_leaves_a_network_that_loads(name, tmp_path):
    recipe = train.RECIPES[name]
    told = train.TWIN_TOLD if name.endswith("sedd") else 0
    shape = train.SHAPE | {"layers": 1, "width": 32, "heads": 2, "hidden": 32, "told": told}
    cells = train.batches(0)
    small = replace(recipe, build=lambda: Network(**shape), batches=lambda part: [b[:8] for b in cells[1:9]],
                    judge=lambda network: {"nll": recipe.loss(network, cells[0], torch.Generator())[0].item()},
                    average=0.5, learning_rate=1e-2)
    after = training.fit(small, steps=25, folder=tmp_path)["nll"]
    assert after < 5.5 < math.log(462)
    assert weights.read(tmp_path / "network.safetensors", Network).config == shape | {"never": [2, 3]}


def test_both_recipes_are_equal_in_parameters_and_within_their_limit():
    sizes = [sum(p.numel() for p in recipe.build().parameters()) for recipe in train.RECIPES.values()]
    assert max(sizes) <= 1.2e6 and max(sizes) / min(sizes) < 1.01
    assert set(train.RECIPES) == {NET, TWIN}


def test_the_grammar_itself_is_judged_to_have_no_gap():
    class Exact:
        told, mask = 0, len(stories.VOCAB)

        def log_q(self, ids: torch.Tensor) -> torch.Tensor:
            z = Grammar()(ids.tolist())
            return torch.from_numpy(z).log_softmax(-1).float()

    score = train.judge(Exact(), 5)
    assert score["gap"] == pytest.approx(0, abs=1e-3) and score["exact"] > 0
