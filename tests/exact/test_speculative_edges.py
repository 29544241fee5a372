"""Exact speculation where it could quietly go wrong: perfect drafts, greedy text, the free word, temperature and
filters, drafts from counting, the end of the page, and caches that were not rolled back.

Laws are chi-square tests on table models, as in test_laws.py: the real loop must fit (p > 1e-3), and a loop with one
line broken must be caught by the same test on the same number of draws (p < 1e-6).
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from engines import events as ev
from engines import stats
from engines.any_order import claims as any_order
from engines.any_order import model as any_order_model
from engines.any_order.assd import EXACT as ASSD
from engines.any_order.assd import Rule, fill
from engines.any_order.ngram import ContextNGram
from engines.any_order.page import Page
from engines.next_token import model as next_token_model
from engines.next_token import page
from engines.next_token.claims import PLAIN
from engines.next_token.drafts import DRAFTS, SMALL
from engines.next_token.next_token import TARGET
from engines.next_token.speculative import EXACT, speculative
from engines.noise import Noise
from engines.runtime import Meter, run
from engines.sampling import softmax, standardise
from engines.tables import AnySubsetTable, CausalTable, chain_joint
from engines.worlds import stories

DRAWS = 2_000
WORD = {w: i for i, w in enumerate(stories.VOCAB)}


@pytest.fixture
def bare(monkeypatch):
    """Without the charts of the page, which take most of a table run's time and no part in its law."""
    monkeypatch.setattr(page, "truth", lambda kind, meter, text: None)
    monkeypatch.setattr(page, "dists", lambda kind, x, **named: {})


def fits(counts, law):
    return stats.chi_square(counts, law)["p"] > 1e-3


def caught(counts, law):
    return stats.chi_square(counts, law)["p"] < 1e-6


# left to right ------------------------------------------------------------------------------------------


class Shaped(CausalTable):
    """A table whose rows already went through temperature and filters: what the law of the text must be then."""

    def __init__(self, table: CausalTable, **knobs):
        super().__init__(table.seed, table.words, table.length, table.context, table.sharp)
        self.knobs = knobs

    def row(self, prefix):
        with np.errstate(divide="ignore"):
            return np.log(standardise(super().row(prefix), **self.knobs))


def texts(target, small=None, n=DRAWS, rule=EXACT, make=Noise, **change) -> Counter:
    """n texts that the lane writes, as far as the target's table reaches."""
    settings = SimpleNamespace(**PLAIN | {"draft": "net", "gamma": 3} | change)
    nets = {TARGET: target, SMALL: small}
    out: Counter = Counter()
    for seed in range(n):
        cells = {e.cells[0]: WORD[e.values[0]]
                 for e in speculative(settings, make(seed), Meter(nets.__getitem__), rule) if isinstance(e, ev.Commit)}
        out[tuple(cells[i] for i in range(target.length))] += 1
    return out


BIG, SMALLER = CausalTable(21, length=2), CausalTable(22, length=2)
FILTERS = {"temperature": 1.3, "top_k": 3, "top_p": 0.8, "min_p": 0.2}


def test_temperature_and_filters_give_their_own_law_and_not_the_plain_one(bare):
    plain = texts(BIG, SMALLER)
    for knobs in ({"temperature": 0.5}, FILTERS):
        law = {x: p for x, p in Shaped(BIG, **knobs).law().items() if p > 0}
        assert fits(texts(BIG, SMALLER, **knobs), law), knobs
        assert caught(plain, law), f"the same test must see that {knobs} were forgotten"


def test_a_ratio_that_forgets_the_drafts_temperature_is_caught(bare):
    """The draft guesses at temperature T; judged as if it had guessed at 1, the text leans to one side."""
    def forgot(p, q, x):
        plain = q**0.5 / (q**0.5).sum()  # softmax(z) again, from softmax(z / 0.5)
        return p[x] / plain[x]

    twin = texts(BIG, CausalTable(28, length=2), temperature=0.5, rule=replace(EXACT, ratio=forgot))
    assert caught(twin, Shaped(BIG, temperature=0.5).law())


class LastRowLate:
    """A target whose last row is that of the position before: the free word from the wrong place."""

    params, bytes, cache_bytes = 0, 0, 0

    def __init__(self, table):
        self.table, self.length = table, table.length

    def __call__(self, tokens, predict):
        z = self.table(tokens, predict)
        return z if predict == 1 else np.concatenate([z[:-1], z[-2:-1]])


class FreeWordFromTheDraftsNumber(Noise):
    """The free word is drawn with the number that its neighbour's draft was drawn with."""

    def draw(self, stream, cells, p):
        if stream == "token":
            self._visits[("draft", cells[0] - 1)] -= 1
            return super().draw("draft", [cells[0] - 1], p)
        return super().draw(stream, cells, p)


def test_the_free_word_has_the_targets_law_at_its_own_place(bare):
    """With the target as its own draft every second cell is a free word."""
    own = {"gamma": 1, "draft": "target"}
    assert fits(texts(BIG, **own), BIG.law())
    assert caught(texts(LastRowLate(BIG), **own), BIG.law())
    assert caught(texts(BIG, make=FreeWordFromTheDraftsNumber, **own), BIG.law())


def test_guesses_that_are_impossible_or_copied_or_missing_leave_the_law_alone(bare):
    assert fits(texts(BIG, draft="uniform", gamma=1), BIG.law())
    target = CausalTable(23, words=2, length=4)  # two words, so that there is something to copy
    assert fits(texts(target, draft="copy"), target.law())
    assert caught(texts(target, draft="copy", rule=replace(EXACT, ratio=lambda p, q, x: 1.0)), target.law())


def verdicts(events):
    return [e for e in events if isinstance(e, ev.Accept | ev.Reject)]


@pytest.mark.parametrize(("seed", "gamma"), [(1, 1), (2, 4), (3, 10)])
def test_a_target_that_drafts_for_itself_keeps_every_guess(seed, gamma):
    """With the stored net: one position at a time and many at once differ in the last bits only."""
    events = list(run("speculative", {"draft": "target", "gamma": gamma, "given": 0}, seed, lanes=["speculative"]))
    judged = verdicts(events)
    assert judged and all(isinstance(e, ev.Accept) and e.ratio[0] > 1 - 1e-4 for e in judged)
    repaired = [e for e in events if isinstance(e, ev.Commit) and e.origin == "repaired"]
    assert not repaired and events[-1].summary["accepted"] == events[-1].summary["tested"] == len(judged)


def written(events, lane):
    return [(e.cells, e.values) for e in ev.of_lane(events, lane) if isinstance(e, ev.Commit)]


@pytest.mark.parametrize("draft", list(DRAFTS))
def test_greedy_text_is_the_same_with_and_without_drafts(draft):
    """At temperature 0 nothing is left to chance: any draft, any seed, the same words."""
    events = list(run("speculative", {"draft": draft, "temperature": 0, "given": 3, "gamma": 5}, 2))
    one_by_one = written(events, "next-token")
    assert written(events, "speculative") == one_by_one and len(one_by_one) > 25


@pytest.mark.parametrize("draft", list(DRAFTS))
def test_greedy_text_is_the_same_on_table_models_that_draft_badly(draft, nets):
    for seed in range(8):
        events = list(run("speculative", {"draft": draft, "temperature": 0, "given": seed % 4}, seed, nets=nets))
        assert written(events, "speculative") == written(events, "next-token")


def test_greedy_text_changes_when_a_wrong_guess_is_kept(nets):
    """The twin of the two tests above."""
    settings = SimpleNamespace(**PLAIN | {"draft": "net", "gamma": 4, "temperature": 0.0})
    kept = replace(EXACT, ratio=lambda p, q, x: 1.0)

    def values(rule):
        return [e.values for e in speculative(settings, Noise(1), Meter(nets), rule) if isinstance(e, ev.Commit)]

    assert values(kept) != values(EXACT)


@pytest.mark.parametrize("draft", list(DRAFTS))
@pytest.mark.parametrize("gamma", [1, 10])
def test_a_text_without_an_end_fills_the_page_and_not_a_cell_more(draft, gamma):
    """The last rounds have less room than gamma; the last free cell is never worth a guess."""
    nets = {TARGET: CausalTable(3, 6, 99, 1), SMALL: CausalTable(4, 6, 99, 1)}
    events = list(run("speculative", {"draft": draft, "gamma": gamma, "given": 0}, 1, lanes=["speculative"],
                      nets=nets.__getitem__))
    ev.check(events)
    cells = sorted(c for e in events if isinstance(e, ev.Commit) for c in ev.expand(e.cells))
    assert cells == list(range(stories.LENGTH)) and events[-1].reason == "finished"
    proposed = [c for e in events if isinstance(e, ev.Propose) for c in ev.expand(e.cells)]
    assert max(proposed, default=0) < stories.LENGTH - 1


# any order ----------------------------------------------------------------------------------------------

JOINT = chain_joint()
GIVEN = {0: 1, 4: 2}
BLANKS = [1, 2, 3, 5]  # neighbours, so that guesses depend on one another; cell 0 is given, so that counting can start


def tempered_law(temperature: float) -> dict[tuple[int, ...], float]:
    """p(page) of one by one at this temperature: a product of softened conditionals, in the order of the blanks."""
    table, law = AnySubsetTable(JOINT), {}
    for values in itertools.product(range(4), repeat=len(BLANKS)):
        known, p = dict(GIVEN), 1.0
        for cell, value in zip(BLANKS, values, strict=True):
            z = table(list(known), list(known.values()), len(GIVEN), [cell], [len(known)])
            p *= softmax(z, temperature)[0][value]
            known[cell] = value
        law[tuple(v for _, v in sorted(known.items()))] = p
    return law


class Misaligned(AnySubsetTable):
    """The free word's question sees one draft too few."""

    def __call__(self, cells, values, prompt, targets, sees):
        return super().__call__(cells, values, prompt, targets, [*sees[:-1], sees[-1] - (len(set(sees)) > 1)])


def pages(n=DRAWS, rule=ASSD, make=Noise, table=AnySubsetTable, counts=None, k=3, **change) -> Counter:
    """n toy pages, filled by the lane's own loop; counts: a class that guesses by counting, or None."""
    settings = SimpleNamespace(**{"k": k, "temperature": 1.0, "r_atol": 0.0, "bonus": False} | change)
    net, out = table(JOINT), Counter()
    for seed in range(n):
        sheet = Page(6, BLANKS, list(GIVEN.items()), len(GIVEN), any_order.TOY)
        guesses = counts(sheet) if counts else None
        for _ in fill(sheet, settings, make(seed), Meter(lambda name: net), rule, guesses):
            pass
        out[tuple(v for _, v in sorted(sheet.known))] += 1
    return out


def test_filled_pages_have_the_law_of_one_by_one_at_their_temperature():
    law = tempered_law(0.4)
    assert fits(pages(temperature=0.4), law)
    assert caught(pages(), law)


def test_at_temperature_one_the_law_of_one_by_one_is_the_joint_law():
    joint = AnySubsetTable(JOINT).law(GIVEN)
    assert tempered_law(1.0) == pytest.approx(joint)


def test_the_free_word_of_a_page_has_its_law():
    law = AnySubsetTable(JOINT).law(GIVEN)
    assert fits(pages(k=1, bonus=True), law)
    assert caught(pages(k=1, bonus=True, table=Misaligned), law)


class FirstGuessStays(Noise):
    """Lemma 1 where it does not hold: the first guess of a round stays unasked, as the net's own may."""

    fresh = False

    def draw(self, stream, cells, p):
        self.fresh = self.fresh or stream == "draft"
        return super().draw(stream, cells, p)

    def accept(self, cells, ratio):
        first, self.fresh = self.fresh, False
        return super().accept(cells, [1.0] if first else ratio)


class ReportsWordCounts(ContextNGram):
    """Guesses by pairs of words and reports the counts of single words: q is not what was drawn from."""

    def guess(self, cells, noise):
        P, drafts = super().guess(cells, noise)
        return np.stack([self.law(None)] * len(P)), drafts


def test_guesses_by_counting_leave_the_law_alone():
    assert fits(pages(k=4, counts=ContextNGram), AnySubsetTable(JOINT).law(GIVEN))
    assert fits(pages(k=2, counts=ContextNGram, bonus=True, temperature=0.5), tempered_law(0.5))


@pytest.mark.parametrize("twin", [
    pytest.param({"rule": replace(ASSD, ratio=lambda p, q, x: 1.0)}, id="every guess is kept"),
    pytest.param({"rule": replace(ASSD, correct=lambda noise, cell, q, p: noise.draw("residual", [cell], q[None])[0])},
                 id="repaired from the whole law"),
    pytest.param({"rule": Rule(check=False)}, id="never checked"),
    pytest.param({"make": FirstGuessStays}, id="the first guess stays unasked"),
    pytest.param({"counts": ReportsWordCounts}, id="another q than was drawn from"),
])
def test_broken_guesses_by_counting_are_caught(twin):
    assert caught(pages(**{"k": 4, "counts": ContextNGram} | twin), AnySubsetTable(JOINT).law(GIVEN))


# caches -------------------------------------------------------------------------------------------------


def stale(events) -> list[str]:
    """What a net read from its cache without having computed it, in this lane, for the value that stands there now.

    A verify's last question asks for a cell whose own value nobody looks at yet, so it caches nothing for that cell.
    """
    wrong = []
    values, drafts, held = {}, {}, {}
    for e in events:
        if isinstance(e, ev.Begin) and e.given:
            values = dict(zip(ev.expand(e.given["cells"]), e.given["values"], strict=True))
        elif isinstance(e, ev.Propose):
            drafts |= dict(zip(ev.expand(e.cells), e.values, strict=True))
        elif isinstance(e, ev.Commit | ev.Withdraw):
            for cell in ev.expand(e.cells):
                drafts.pop(cell, None)
            if isinstance(e, ev.Commit):
                values |= dict(zip(ev.expand(e.cells), e.values, strict=True))
        elif isinstance(e, ev.Forward):
            now, own = values | drafts, held.setdefault(e.net, {})
            computed = set(ev.expand(e.computes))
            wrong += [f"event {e.n}: cell {c} is both cached and computed" for c in computed & set(ev.expand(e.reads))]
            for cell in set(ev.expand(e.reads)) - computed:
                if own.get(cell) != now.get(cell) or cell not in own:
                    wrong.append(f"event {e.n}: {e.net} reads cell {cell} as {own.get(cell)}, not {now.get(cell)}")
            own |= {c: now[c] for c in computed - set(ev.expand(e.predicts)[-1:]) if c in now}
    return wrong


RUNS = [
    *(("speculative", "speculative", {"draft": d, "gamma": 6, "temperature": 1.4}) for d in DRAFTS),
    ("speculative", "next-token", {}), ("next-token", "filtered", {}),
    ("assd", "assd", {"k": 8, "share": 80, "temperature": 1.4}), ("assd", "assd", {"k": 3, "bonus": True}),
    ("assd", "ngram", {"k": 6, "share": 60}), ("assd", "ngram", {"k": 2, "bonus": True}), ("assd", "one-by-one", {}),
    ("assd", "parallel", {"k": 6}),
]


@pytest.mark.parametrize(("slug", "lane", "settings"), RUNS, ids=str)
def test_what_is_read_from_a_cache_was_computed_before_and_is_not_stale(slug, lane, settings):
    events = list(run(slug, settings, 1, lanes=[lane]))
    assert stale(events) == []
    forwards = [e for e in events if isinstance(e, ev.Forward)]
    assert sum(len(set(ev.expand(e.reads)) - set(ev.expand(e.computes))) for e in forwards) > 50, "the cache is used"


@pytest.mark.parametrize(("model", "broken", "slug", "more"), [
    pytest.param(next_token_model, lambda a, b: len(b), "speculative", {}, id="believes what was never computed"),
    pytest.param(any_order_model, lambda a, b: min(len(a), len(b)), "assd", {"k": 12, "share": 90},
                 id="believes a rejected word"),
])
def test_a_cache_that_is_not_rolled_back_is_seen(monkeypatch, model, broken, slug, more):
    """The twin: how much of the cache still holds is told wrongly."""
    monkeypatch.setattr(model, "common_prefix", broken)
    runs = (list(run(slug, {"temperature": 1.4} | more, seed, lanes=[slug])) for seed in range(1, 7))
    assert any(stale(events) for events in runs), "with so many guesses a round some fall, whatever the net"
