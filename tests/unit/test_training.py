"""Recipes learn, resume to the same numbers, and are judged against the grammar's own figures."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engines import training, weights
from engines.any_order import model as any_order
from engines.any_order import train as any_order_train
from engines.errors import Refused
from engines.next_token import model as next_token
from engines.next_token import train as next_token_train
from engines.training import Recipe
from engines.worlds import stories

TINY = {"vocab": 14, "layers": 1, "width": 32, "heads": 2, "hidden": 48, "length": 12}


def counting(count: int, seed: int) -> np.ndarray:
    """Toy stories (count, 13): words that count upwards from a random one, 6 to 11 of them, END, PAD."""
    draw = np.random.default_rng(seed)
    cells = np.zeros((count, 13), dtype=np.int64)
    for row in cells:
        length = draw.integers(6, 12)
        row[:length] = 4 + (draw.integers(10) + np.arange(length)) % 10
        row[length] = next_token.END
    return cells


def tiny(family: str) -> training.Recipe:
    """A family's own recipe with its own loss, on a small network and toy stories."""
    recipe, network = {
        "next_token": (next_token_train.RECIPES["next_token/target"], next_token.Network),
        "any_order": (any_order_train.RECIPES["any_order/subset"], any_order.Network),
    }[family]

    def judge(network: torch.nn.Module) -> dict[str, float]:
        total = 0.0
        for batch in training.by_length(counting(64, 10**6), next_token.END, 32, 0):
            total += recipe.loss(network, batch, torch.Generator().manual_seed(0))[0].item()
        return {"nll": total}

    return replace(
        recipe,
        build=lambda: network(**TINY),
        batches=lambda part: training.by_length(counting(128, part), next_token.END, 32, part),
        judge=judge,
        learning_rate=1e-2,
        average=0.9,
    )


@pytest.mark.parametrize("family", ["next_token", "any_order"])
def test_a_recipe_learns_and_leaves_a_network_that_loads(family, tmp_path):
    recipe, lines = tiny(family), []
    torch.manual_seed(0)
    before = recipe.judge(recipe.build())["nll"]
    after = training.fit(recipe, steps=80, folder=tmp_path, report=lines.append)["nll"]
    # Six lengths, so six batches: an untrained network pays log 11 or more in each.
    assert before > 6 * 2 and after < 0.6 * before
    network = weights.read(tmp_path / "network.safetensors", type(recipe.build()))
    assert recipe.judge(network)["nll"] == pytest.approx(after), "the judgement is of the stored network"
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert last["final"] and last["step"] == 80 and lines


def test_an_interrupted_run_ends_with_the_same_numbers(tmp_path):
    recipe = tiny("any_order")
    training.fit(recipe, steps=12, folder=tmp_path / "whole")

    class PulledPlug(Exception):
        pass

    calls = []

    def loss(*arguments):
        calls.append(1)
        if len(calls) > 7:
            raise PulledPlug
        return recipe.loss(*arguments)

    with pytest.raises(PulledPlug):
        training.fit(replace(recipe, loss=loss), steps=12, folder=tmp_path / "cut", every=0)
    training.fit(recipe, steps=12, folder=tmp_path / "cut")
    whole, cut = (
        weights.read(tmp_path / name / "network.safetensors", any_order.Network) for name in ("whole", "cut")
    )
    for one, two in zip(whole.parameters(), cut.parameters(), strict=True):
        assert torch.equal(one, two)


def test_another_seed_gives_another_network_and_does_not_mix_with_an_old_run(tmp_path):
    recipe = tiny("next_token")
    training.fit(recipe, steps=2, folder=tmp_path / "a", seed=0)
    training.fit(recipe, steps=2, folder=tmp_path / "b", seed=1)
    a, b = (weights.read(tmp_path / name / "network.safetensors", next_token.Network) for name in "ab")
    assert not torch.equal(a.embed, b.embed)
    with pytest.raises(Refused, match="seed 0"):
        training.fit(recipe, steps=2, folder=tmp_path / "a", seed=1)


def test_a_budget_of_seconds_is_kept(tmp_path):
    training.fit(tiny("next_token"), seconds=0.5, folder=tmp_path)
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] > 3 and 0.5 <= last["seconds"] < 3


def test_a_pause_does_not_use_up_the_budget(tmp_path, monkeypatch):
    recipe, hours = tiny("next_token"), []
    clock = time.monotonic
    monkeypatch.setattr(training.time, "monotonic", lambda: clock() + sum(hours))

    def loss(*arguments):
        if not hours:
            hours.append(3_600)
        return recipe.loss(*arguments)

    training.fit(replace(recipe, loss=loss), seconds=training.PAUSE + 0.3, folder=tmp_path)
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["step"] > 3


def test_a_finished_run_is_not_trained_further(tmp_path):
    recipe = tiny("next_token")
    training.fit(recipe, steps=3, folder=tmp_path)
    training.fit(recipe, steps=3, folder=tmp_path)
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["step"] == 3


def test_the_learning_rate_rises_then_falls_to_zero():
    rates = [training.schedule(i / 1_000, 0.02) for i in range(1_001)]
    top = rates.index(max(rates))
    assert rates[top] == 1 and top == 20 and 0 < rates[0] < 0.05
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_every_story_is_used_once_and_no_batch_mixes_lengths():
    cells = counting(300, 5)
    batches = training.by_length(cells, next_token.END, 16, 0)
    rows = sorted(tuple(row.tolist()) for batch in batches for row in batch)
    assert rows == sorted(tuple(int(v) for v in row if v) for row in cells)
    for batch in batches:
        assert len(batch) <= 16 and (batch[:, -1] == next_token.END).all()
        assert (batch != next_token.PAD).all() and (batch[:, :-1] != next_token.END).all()


def test_a_stream_repeats_itself_and_moves_on():
    calls = []

    def sample(seeds: np.ndarray) -> np.ndarray:
        calls.append((int(seeds[0]), len(seeds)))
        return counting(len(seeds), int(seeds[0]))

    def rows(part: int) -> list[list[int]]:
        batches = training.story_batches(sample, range(100, 1_000), next_token.END, 8, part, count=40)
        return [row.tolist() for batch in batches for row in batch]

    first, second, third = rows(0), rows(1), rows(2)
    assert sorted(first) == sorted(second) and first != second, "the same stories in another order"
    assert sorted(first) != sorted(third)
    assert calls == [(100, 40), (140, 40)] and rows(0) == first


def test_an_order_shows_what_is_visible_first_and_blanks_from_left_to_right():
    order = any_order_train.ascending(50, 20, 8, torch.Generator().manual_seed(1))
    assert order.shape == (50, 21) and (order.sort(dim=1).values == torch.arange(21)).all()
    assert (order[:, 12] == 20).all(), "END is given, the last of the visible cells"
    assert (order[:, :12].diff(dim=1) > 0).all() and (order[:, 13:].diff(dim=1) > 0).all()
    assert len({tuple(row) for row in order.tolist()}) == 50, "each row has blanks of its own"


def test_a_loss_counts_every_blank_and_only_blanks():
    cells = torch.from_numpy(counting(64, 0))
    cells = training.by_length(cells.numpy(), next_token.END, 64, 0)[0]
    seen = []

    class Uniform(torch.nn.Module):
        def forward(self, order, values, prompt, ahead, known):
            blanks = order.shape[1] - prompt
            seen.append((order.shape[1] - 1, blanks))
            assert prompt <= known < order.shape[1]
            for row, cells in zip(order, ahead, strict=True):
                assert set(cells.tolist()) <= set(row[known + 1 :].tolist()), "only later blanks, each once"
                assert len(set(cells.tolist())) == len(cells)
            return torch.zeros(len(order), blanks + ahead.shape[1], 14)

    worth = math.log(14)
    for step in range(200):
        value, weight = any_order_train.loss(Uniform(), cells, torch.Generator().manual_seed(step))
        assert value.item() == pytest.approx(worth) or value.item() == pytest.approx(1.5 * worth)
        assert weight == len(cells) / any_order_train.BATCH
    length = cells.shape[1] - 1
    counts = {blanks for _, blanks in seen}
    assert counts == set(range(1, length + 1)), "from one blank to nothing but blanks"


def test_all_recipes_are_found_by_name_and_others_are_refused():
    found = training.recipes()
    assert {"next_token/target", "next_token/draft", "any_order/subset"} <= set(found)
    assert all(name == recipe.name for name, recipe in found.items())
    with pytest.raises(Refused, match="did you mean .*next_token/target"):
        training.main(["next_token/tagret"])
    with pytest.raises(Refused, match="any_order/.* and others"):
        training.main(["?"])
    with pytest.raises(Refused):
        training.main([])


@pytest.mark.parametrize(
    ("name", "limit"), [("next_token/target", 1.2e6), ("next_token/draft", 0.1e6), ("any_order/subset", 1.2e6),
                      ("any_order/ordered", 1.2e6)]
)
def test_a_network_stays_within_its_parameters(name, limit):
    assert 0.2 * limit < sum(value.numel() for value in training.recipes()[name].build().parameters()) <= limit


class GrammarNextToken(torch.nn.Module):
    """The grammar's own next-cell law in place of a trained network."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        rows = [
            [stories.automaton().next_distribution(row[1 : i + 1]) for i in range(len(row))]
            for row in tokens.tolist()
        ]
        return torch.from_numpy(np.array(rows)).log()


class GrammarAnySubset(torch.nn.Module):
    """The grammar's exact conditionals along an order in place of a trained network."""

    def forward(self, order: torch.Tensor, values: torch.Tensor, prompt: int) -> torch.Tensor:
        (cells,), (words,) = order.tolist(), values.tolist()
        rows = []
        for rank in range(prompt, len(cells)):
            visible = np.full(len(cells), -1)
            visible[cells[:rank]] = words[:rank]
            rows.append(stories.automaton().marginals(visible)[cells[rank]])
        return torch.from_numpy(np.array(rows)).log()[None]


def test_the_grammar_itself_is_judged_to_have_no_gap_left_to_right():
    score = next_token_train.judge(GrammarNextToken(), 6)
    assert score["gap"] == pytest.approx(0, abs=1e-6) and score["nll"] > 10


def test_the_grammar_itself_is_judged_to_have_no_gap_on_any_subset():
    score = any_order_train.judge(GrammarAnySubset(), 4)
    assert score["gap"] == pytest.approx(0, abs=1e-6) and score["exact"] > 0


def test_the_grammar_itself_is_judged_to_have_no_gap_in_any_order():
    score = any_order_train.judge_orders(GrammarAnySubset(), 3)
    for name in ("gap", "gap_ascending", "gap_bisection", "gap_random"):
        assert score[name] == pytest.approx(0, abs=1e-6), name


def test_an_untrained_network_is_judged_to_be_far_off():
    for train, name in ((next_token_train, "next_token/target"), (any_order_train, "any_order/subset")):
        assert train.judge(train.RECIPES[name].build(), 4)["gap"] > 100


def test_readers_come_after_what_they_read() -> None:
    def recipe(name: str, *after: str) -> Recipe:
        return Recipe(name, nn.Module, lambda part: [], lambda *_: None, lambda _: {}, steps=1, after=after)  # type: ignore[arg-type, return-value]

    known = {r.name: r for r in (recipe("c", "b"), recipe("a"), recipe("b", "a"), recipe("d", "elsewhere"))}
    assert training.in_order(["c", "b", "d", "a"], known) == ["d", "a", "b", "c"]
    assert training.in_order(["c"], known) == ["c"]  # what it reads is stored already
    with pytest.raises(Refused, match="wait for one another"):
        training.in_order(["x", "y"], {"x": recipe("x", "y"), "y": recipe("y", "x")})


def test_the_table_shows_the_last_judgement_and_what_failed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    lines = ['{"step": 5, "seconds": 1.0, "loss": 2.5}', '{"step": 9, "seconds": 3.2, "judge": {"psnr": 31.25}}']
    (tmp_path / "a" / "log.jsonl").write_text("\n".join(lines))
    shown = training.table(["a", "b"], tmp_path).splitlines()
    assert "psnr 31.25" in shown[1] and "2.5000" in shown[1] and "no result" in shown[2]


def test_every_net_is_trained_behind_the_tokenizer_whose_codes_it_reads():
    known = training.recipes()
    place = {name: i for i, name in enumerate(training.in_order(list(known), known))}
    for reader, read in (("raster/raster", "tokenizers/vq"), ("raster/random", "tokenizers/vq"),
                         ("next_scale/var", "tokenizers/scales"), ("masked_continuous/mar", "tokenizers/vae"),
                         ("masked_continuous/maskgit", "tokenizers/vq"), ("tokenizers/vq", "scenes/judge_inner")):
        assert place[read] < place[reader], reader
