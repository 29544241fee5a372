"""Beam search against all texts of a table model, written out one by one; and searches with one line broken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engines import events as ev
from engines.next_token.beam import beam, best
from engines.noise import Noise
from engines.runtime import Meter, measure, run
from engines.tables import CausalTable
from engines.worlds import stories

WORDS = list(stories.VOCAB)


def search(table: Any, beams: int, choose: Any = best) -> tuple[list[ev.Event], list[tuple[tuple[int, ...], float]]]:
    """The lane's events, and [(ids without END, log p)] of the stories that were left."""
    steps, events = beam(SimpleNamespace(words="", given=0, beams=beams), Noise(1), Meter(lambda _: table), choose), []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as stop:
            told = stop.value["stories"]
            break
    return events, [(tuple(WORDS.index(w) for w in s["text"] if w != "<end>"), s["log_prob"]) for s in told]


def ranking(table: CausalTable) -> list[tuple[tuple[int, ...], float]]:
    return sorted(table.law().items(), key=lambda item: -item[1])


@pytest.mark.parametrize("seed", range(6))
def test_a_search_that_is_wide_enough_finds_the_most_probable_texts_in_their_order(seed):
    """Of 2 x 2 x 2 x 2 texts, 8 beams keep every beginning of three words, so the 8 best texts are found."""
    table = CausalTable(seed, words=2, length=4)
    got, want = search(table, 8)[1], ranking(table)[:8]
    assert [text for text, _ in got] == [text for text, _ in want]
    np.testing.assert_allclose([log_p for _, log_p in got], np.log([p for _, p in want]), rtol=1e-9)


@pytest.mark.parametrize("broken", [
    pytest.param(lambda scores, n: np.argsort(scores, kind="stable")[:n], id="the least probable"),
    pytest.param(lambda scores, n: np.random.default_rng(len(scores)).permutation(len(scores))[:n], id="any"),
    pytest.param(lambda scores, n: best(scores, n + 1)[len(scores) > 1 :], id="all but the best"),
])
def test_a_search_that_keeps_other_beginnings_is_caught(broken):
    for seed in range(6):
        table = CausalTable(seed, words=2, length=4)
        assert [text for text, _ in search(table, 8, broken)[1]] != [text for text, _ in ranking(table)[:8]]


def test_one_beam_is_the_greedy_text():
    for seed in range(6):
        table, text = CausalTable(seed, words=6, length=5), ()
        for _ in range(5):
            text += (int(table.row(text).argmax()),)
        assert search(table, 1)[1][0][0] == text


class Garden(CausalTable):
    """The likeliest first word leads to ten even ones, the second likeliest to a sure one."""

    def row(self, prefix):
        z = np.full(len(WORDS), -np.inf)
        if len(prefix) >= 2:
            z[stories.END] = 0.0
        elif not prefix:
            z[self.ids[:2]] = np.log([0.6, 0.4])
        elif prefix[0] == self.ids[0]:
            z[self.ids] = 0.0
        else:
            z[self.ids[3]] = 0.0
        return z


def test_two_beams_see_through_a_tempting_first_word_and_one_does_not():
    table = Garden(0, words=10, length=2)
    assert search(table, 1)[1][0][0][0] == table.ids[0]
    events, told = search(table, 2)
    assert told[0][0] == (table.ids[1], table.ids[3])
    assert [n.key for n in events if isinstance(n, ev.Note)] == ["beam.overtaken", "beam.end"]


def test_the_events_tell_a_tree_whose_branches_end_as_they_should():
    events = list(run("next-token", {"beams": 4, "given": 4}, 3, lanes=["beam"]))
    ev.check(events)
    alive: dict[int, int] = {}
    parents, written, best_left = {-1: -1}, {}, []
    for e in events:
        if isinstance(e, ev.Propose):
            assert e.node and e.parent and e.score and e.score == sorted(e.score, reverse=True) and len(e.node) == 8
            assert all(parent == -1 or parent in alive for parent in e.parent), "a branch grows from what was cut"
            parents |= dict(zip(e.node, e.parent, strict=True))
            alive |= dict.fromkeys(e.node, e.cells[0])
        elif isinstance(e, ev.Withdraw):
            assert e.why == "prune" and all(alive.pop(node) == cell for node, cell in zip(e.node, e.cells, strict=True))
            best_left.append(len(set(alive) - {parents[node] for node in alive}))
        elif isinstance(e, ev.Commit):
            written |= dict(zip(ev.expand(e.cells), e.values, strict=True))
            alive = {node: cell for node, cell in alive.items() if cell not in ev.expand(e.cells)}
    assert max(best_left) <= 2 * 4, "4 that go on and at most 4 that are finished"
    assert not alive
    assert [*written.values()] == events[-1].summary["stories"][0]["text"][4:]


def test_the_claim_falls_for_a_search_that_keeps_any_beginning():
    """Random survivors are no more probable than drawn texts: far from it, they take words that nobody would draw."""
    rng = np.random.default_rng(0)
    *_, real = measure("next-token", effort=0.1, claims=["beam-finds-more-probable-less-diverse"])
    *_, broken = measure("next-token", effort=0.1, claims=["beam-finds-more-probable-less-diverse"],
                         subject=lambda scores, n: rng.permutation(len(scores))[:n])
    assert real["holds"] is True and broken["holds"] is False
