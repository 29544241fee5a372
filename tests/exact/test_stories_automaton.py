"""The automaton against enumeration of every story of small grammars, written separately from it."""

import re

import numpy as np
import pytest
from scipy.stats import chisquare

from engines.errors import Refused
from engines.worlds import stories
from engines.worlds.stories import END, HIDDEN, PAD, Grammar, compile_grammar, words_of

RULES = {
    "story": "@who @thing a (fox *3|old owl|) {who.name} had {thing.a} . (<habit> *2|) (one day|one night *3) <end> .",
    "habit": "(daily *2|at noon) {who.she} (rang it|hid {thing.a} *2) .",
    "end": "({who.name} lost it *2|it was lost|{who.name} slept (, and {who.she} dreamt|*3))",
}
TABLES = {
    "who": {"mina": {"name": "mina", "she": "she"}, "pip": {"name": "pip", "she": "he"},
            "otto": {"name": "otto", "she": "he"}},
    "thing": {"bell": {"a": "a (red *3|) bell"}, "kite": {"a": "(a kite|an old kite *2)"}},
}
DRAWS = {
    "who": (None, {"": {"mina": 3, "pip": 2, "otto": 1}}),
    "thing": ("who", {"mina": {"bell": 3, "kite": 1}, "pip": {"kite": 1}, "otto": {"bell": 1, "kite": 1}}),
}
GRAMMAR = Grammar(RULES, TABLES, DRAWS)
VOCAB = (*stories.SPECIALS, *words_of(GRAMMAR))
N = 34  # cells of the canvas used here: more than the longest small story


def enumerate_stories(grammar):
    """{text: p} by brute force: a recursive walk over templates, sharing only the parser with the compiler."""
    out = {}

    def write(items, memory, words, p):
        if not items:
            out[words] = out.get(words, 0.0) + p
            return
        item, rest = items[0], items[1:]
        if item[0] == "word":
            write(rest, memory, (*words, item[1]), p)
        elif item[0] == "choice":
            for q, inner in item[1]:
                write((*inner, *rest), memory, words, p * q)
        elif item[0] == "rule":
            write((*stories.parse(grammar.rules[item[1]]), *rest), memory, words, p)
        elif item[0] == "read":
            text = grammar.tables[item[1]][memory[item[1]]][item[2]]
            write((*stories.parse(text), *rest), memory, words, p)
        else:
            parent, table = grammar.draws[item[1]]
            row = table[memory[parent] if parent else ""]
            for value, weight in row.items():
                write(rest, {**memory, item[1]: value}, words, p * weight / sum(row.values()))

    write(stories.parse(grammar.rules["story"]), {}, (), 1.0)
    return out


@pytest.fixture(scope="module")
def small():
    table = enumerate_stories(GRAMMAR)
    ids = np.full((len(table), N), PAD)
    for row, words in zip(ids, table):
        row[: len(words)] = [VOCAB.index(w) for w in words]
        row[len(words)] = END
    return compile_grammar(GRAMMAR, VOCAB), ids, np.array(list(table.values()))


def agreeing(ids, p, visible):
    keep = np.all((visible == HIDDEN) | (ids == visible), axis=1)
    return ids[keep], p[keep]


def masks(ids, count=40):
    """Visible cells of every kind: none, some of a story, a prefix, a suffix."""
    rng = np.random.default_rng(5)
    yield np.full(N, HIDDEN)
    for k in range(count):
        row = ids[rng.integers(len(ids))].copy()
        if k % 4 == 0:
            row[rng.integers(1, 12):] = HIDDEN
        elif k % 4 == 1:
            row[: rng.integers(1, 20)] = HIDDEN
        else:
            row[rng.random(N) < rng.uniform(0.3, 1.0)] = HIDDEN
        yield row


def test_every_story_has_its_enumerated_probability(small):
    automaton, ids, p = small
    assert 500 < len(ids) and abs(p.sum() - 1) < 1e-12
    assert np.allclose(np.exp(automaton.log_probs(ids)), p, rtol=1e-9, atol=0)
    assert automaton.log_prob(ids[7]) == pytest.approx(np.log(p[7]), abs=1e-9)
    cut = ids[7][: np.argmax(ids[7] == END) + 1]
    assert automaton.log_prob(cut) == pytest.approx(np.log(p[7]), abs=1e-9)  # with or without PAD
    assert automaton.log_prob(cut[:-1]) == -np.inf


def test_it_is_deterministic(small):
    automaton, _, _ = small
    assert np.all(np.diff(automaton.key) > 0)  # one edge at most per (state, word)
    assert np.all(automaton.dst[:-1] > automaton.src[:-1])  # and acyclic, but for the PAD loop at the end


def test_entropy_and_length_equal_enumeration(small):
    automaton, ids, p = small
    assert automaton.entropy() == pytest.approx(-np.sum(p * np.log(p)), abs=1e-9)
    assert automaton.mean_length() == pytest.approx(np.sum(p * np.sum(ids != PAD, axis=1)), abs=1e-9)


def test_next_distribution_equals_enumeration(small):
    automaton, ids, p = small
    rng = np.random.default_rng(1)
    for _ in range(60):
        row = ids[rng.integers(len(ids))]
        cut = int(rng.integers(0, np.argmax(row == END) + 2))
        visible = np.where(np.arange(N) < cut, row, HIDDEN)
        rest, weight = agreeing(ids, p, visible)
        want = np.bincount(rest[:, cut], weight, len(VOCAB)) / weight.sum()
        assert np.abs(automaton.next_distribution(row[:cut]) - want).max() < 1e-9
    assert automaton.next_distribution([END]).sum() == 0


def test_marginals_and_visible_probability_equal_enumeration(small):
    automaton, ids, p = small
    for visible in masks(ids):
        rest, weight = agreeing(ids, p, visible)
        assert automaton.log_prob_visible(visible) == pytest.approx(np.log(weight.sum()), abs=1e-9)
        want = np.stack([np.bincount(rest[:, i], weight, len(VOCAB)) for i in range(N)]) / weight.sum()
        assert np.abs(automaton.marginals(visible) - want).max() < 1e-9


def test_total_correlation_equals_enumeration(small):
    automaton, ids, p = small
    rng = np.random.default_rng(2)
    seen = []
    for visible in masks(ids):
        hidden = np.flatnonzero(visible == HIDDEN)
        cells = np.sort(rng.choice(hidden, min(len(hidden), int(rng.integers(1, 6))), replace=False))
        rest, weight = agreeing(ids, p, visible)
        weight = weight / weight.sum()
        joint = {}
        for row, w in zip(rest[:, cells], weight):
            joint[tuple(row)] = joint.get(tuple(row), 0.0) + w
        want = sum(w * np.log(w) for w in joint.values())
        for cell in cells:
            q = np.bincount(rest[:, cell], weight)
            want -= np.sum(q[q > 0] * np.log(q[q > 0]))
        assert automaton.total_correlation(visible, cells) == pytest.approx(want, abs=1e-9)
        seen.append(want)
    assert max(seen) > 0.5  # the cases are not all trivial


def test_impossible_cells_are_refused(small):
    automaton, _, _ = small
    visible = np.full(N, HIDDEN)
    visible[0] = stories.BOS
    assert automaton.log_prob_visible(visible) == -np.inf
    with pytest.raises(Refused):
        automaton.marginals(visible)


def p_value(found, ids, p):
    """Chi-square of sampled rows against exact p; outcomes expected fewer than 10 times share one bin."""
    index = {tuple(row): k for k, row in enumerate(ids)}
    counts = np.bincount([index[tuple(row)] for row in found], minlength=len(ids))
    rare = p * len(found) < 10
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(p[~rare], p[rare].sum()) * len(found)
    return chisquare(observed[expected > 0], expected[expected > 0]).pvalue


def test_samples_follow_p_and_a_broken_twin_is_caught(small):
    automaton, ids, p = small
    assert p_value(automaton.sample(range(20_000), N), ids, p) > 1e-3
    flat = {name: re.sub(r"\s*\*[\d.]+", "", rule) for name, rule in RULES.items()}
    twin = compile_grammar(Grammar(flat, TABLES, DRAWS), VOCAB)  # all weights of the templates forgotten
    assert p_value(twin.sample(range(20_000), N), ids, p) < 1e-6


def test_conditional_samples_follow_the_posterior_and_a_broken_twin_is_caught(small):
    automaton, ids, p = small
    visible = np.full(N, HIDDEN)
    first = ids[np.argmax(p)]
    visible[np.argmax(first == END)] = END  # the length is known, and one word near the end
    at = np.argmax(first == VOCAB.index("one"))
    visible[at] = first[at]
    rest, weight = agreeing(ids, p, visible)
    weight = weight / weight.sum()
    assert len(rest) > 5
    uniforms = np.random.default_rng(3).random((1_000, N))
    found = [automaton.sample_given(visible, u) for u in uniforms]
    assert p_value(found, rest, weight) > 1e-3
    assert p_value(found, rest, np.full(len(rest), 1 / len(rest))) < 1e-6  # the right stories, all alike


def test_the_whole_world_agrees_with_its_samples():
    """STORIES is too large to enumerate: mean surprise of samples against exact entropy, within 4 s.e."""
    automaton = stories.automaton()
    nll = -automaton.log_probs(stories.sample(np.arange(20_000) + stories.TEST.start))
    assert abs(nll.mean() - automaton.entropy()) < 4 * nll.std() / np.sqrt(len(nll))


def test_the_chain_rule_holds_on_whole_stories():
    automaton = stories.automaton()
    rng = np.random.default_rng(0)
    for story in stories.sample(range(5)):
        log_p = automaton.log_prob(story)
        steps = [np.log(automaton.next_distribution(story[:i])[story[i]]) for i in range(int(np.sum(story != PAD)))]
        assert sum(steps) == pytest.approx(log_p, abs=1e-9)
        visible = np.where(rng.random(len(story)) < 0.5, story, HIDDEN)  # and filling in any order
        start, total = automaton.log_prob_visible(visible), 0.0
        for cell in rng.permutation(np.flatnonzero(visible == HIDDEN)):
            total += np.log(automaton.marginals(visible)[cell, story[cell]])
            visible[cell] = story[cell]
        assert start + total == pytest.approx(log_p, abs=1e-8)


def test_the_stored_automaton_is_the_compiled_one():
    compiled, stored = stories.compile_grammar(stories.GRAMMAR, stories.VOCAB), stories.automaton()
    assert stories.COMPILED.exists()
    for name in ("first_edge", "word", "dst"):
        assert np.array_equal(getattr(stored, name), getattr(compiled, name))
    assert np.allclose(stored.p, compiled.p, rtol=1e-15, atol=0)


def test_a_stored_automaton_of_another_grammar_is_not_believed(tmp_path, monkeypatch):
    path = tmp_path / "stories.npz"
    with np.load(stories.COMPILED) as z:
        np.savez(path, **{k: z[k] for k in z.files if k != "grammar"}, grammar="another")
    monkeypatch.setattr(stories, "COMPILED", path)
    calls = []
    monkeypatch.setattr(stories, "compile_grammar", lambda *a: calls.append(a))
    stories.automaton.__wrapped__()
    path.write_bytes(b"damaged")
    stories.automaton.__wrapped__()
    assert len(calls) == 2
