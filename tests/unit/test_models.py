"""The networks see exactly what they may see, and a cache never changes an answer."""

import math

import pytest
import torch

from engines.any_order import model as any_order
from engines.next_token import model as next_token

SHAPE = {"vocab": 23, "layers": 3, "width": 32, "heads": 2, "hidden": 48, "length": 20}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def causal():
    torch.manual_seed(1)
    return next_token.Network(**SHAPE).eval()


@pytest.fixture
def subset():
    torch.manual_seed(2)
    return any_order.Network(**SHAPE).eval()


def words(count: int, seed: int = 0) -> list[int]:
    return torch.randint(4, SHAPE["vocab"], (count,), generator=torch.Generator().manual_seed(seed)).tolist()


# Causal


def test_a_cached_step_equals_the_full_forward(causal):
    tokens = [next_token.BOS, *words(15)]
    full = causal(torch.tensor([tokens]))[0].detach()
    session = causal.session()
    torch.testing.assert_close(session(tokens[:6], 6), full[:6], **CLOSE)
    for stop in range(7, len(tokens) + 1):
        torch.testing.assert_close(session(tokens[:stop], 1), full[stop - 1 : stop], **CLOSE)
        assert session.last == {"reads": list(range(stop - 1)), "computes": [stop - 1]}


def test_rolling_back_and_going_on_differently_equals_a_fresh_start(causal):
    base, other = [next_token.BOS, *words(9)], words(4, seed=9)
    session = causal.session()
    session(base, 1)
    branch = base[:5] + other
    torch.testing.assert_close(session(branch, 4), causal(torch.tensor([branch]))[0, -4:].detach(), **CLOSE)
    shared = next(i for i in range(10) if branch[i] != base[i])
    assert session.last["reads"] == list(range(min(shared, 5)))
    assert session.last["computes"] == list(range(min(shared, 5), 9))


def test_asking_again_recomputes_only_what_is_asked_for(causal):
    tokens = [next_token.BOS, *words(9)]
    session = causal.session()
    first = session(tokens, 3)
    torch.testing.assert_close(session(tokens, 3), first, **CLOSE)
    assert session.last["computes"] == [7, 8, 9]
    torch.testing.assert_close(session(tokens[:8], 1), first[:1], **CLOSE)


def test_a_position_never_sees_what_comes_after_it(causal):
    tokens = torch.tensor([[next_token.BOS, *words(9)]])
    changed = tokens.clone()
    changed[0, 6] = 4 + (changed[0, 6] - 3) % 19
    before, after = causal(tokens), causal(changed)
    torch.testing.assert_close(before[0, :6], after[0, :6], rtol=0, atol=0)
    assert not torch.allclose(before[0, 6], after[0, 6])


def test_a_session_that_failed_half_way_does_not_believe_its_cache(causal, monkeypatch):
    tokens = [next_token.BOS, *words(9)]
    session = causal.session()
    session(tokens, 1)
    write = session.cache.write

    def break_late(layer, *arguments):
        if layer == 2:
            raise RuntimeError("interrupted")
        return write(layer, *arguments)

    monkeypatch.setattr(session.cache, "write", break_late)
    with pytest.raises(RuntimeError):
        session([*tokens[:4], *words(5, seed=9)], 1)
    monkeypatch.undo()
    grown = [*tokens, 7]
    torch.testing.assert_close(session(grown, 1), causal(torch.tensor([grown]))[0, -1:].detach(), **CLOSE)


def test_special_cells_are_never_predicted(causal, subset):
    logits = causal.session()([next_token.BOS, *words(3)], 1)
    assert torch.isinf(logits[0, [next_token.PAD, next_token.BOS, next_token.MASK]]).all()
    assert torch.isfinite(logits[0, [next_token.END, 4, 22]]).all()
    logits = subset.session()([3], [next_token.END], 1, [0], [1])
    assert (logits[0, :4] == -math.inf).all() and torch.isfinite(logits[0, 4:]).all()


@pytest.mark.parametrize(("tokens", "predict"), [([], 0), ([2, 5], 3), ([5, 6], 1), ([2] * 22, 1), ([2, 5], 0)])
def test_a_causal_call_that_makes_no_sense_is_refused(causal, tokens, predict):
    with pytest.raises(ValueError):
        causal.session()(tokens, predict)


def test_two_sessions_do_not_disturb_each_other(causal):
    a, b = causal.session(), causal.session()
    left, right = [next_token.BOS, *words(6)], [next_token.BOS, *words(6, seed=4)]
    a(left, 1)
    b(right, 1)
    grown = [*left, 7]
    torch.testing.assert_close(a(grown, 1), causal(torch.tensor([grown]))[0, -1:].detach(), **CLOSE)


# Any subset

VISIBLE = [1, 4, 5, 9]
BLANKS = [0, 2, 3, 6, 7, 8]


def question(seed: int = 0) -> tuple[list[int], list[int]]:
    """Ten cells in rank order, four of them given, and values for all."""
    return VISIBLE + BLANKS, words(10, seed)


def test_one_call_scores_all_blanks_as_the_training_forward_does(subset):
    cells, values = question()
    joint = subset(torch.tensor([cells]), torch.tensor([values]), 4)[0].detach()
    checked = subset.session()(cells, values, 4, BLANKS, list(range(4, 10)))
    torch.testing.assert_close(checked, joint, **CLOSE)


def test_guesses_ahead_in_training_are_the_drafts_of_decoding(subset):
    cells, values = question()
    ahead = subset(torch.tensor([cells]), torch.tensor([values]), 4, torch.tensor([[3, 8]]), 5)[0, 6:].detach()
    draft = subset.session()(cells[:5], values[:5], 4, [3, 8], [5, 5])
    torch.testing.assert_close(ahead, draft, **CLOSE)


def test_one_by_one_with_a_cache_equals_one_call(subset):
    cells, values = question()
    joint = subset(torch.tensor([cells]), torch.tensor([values]), 4)[0].detach()
    session = subset.session()
    for n in range(4, 10):
        logits = session(cells[:n], values[:n], 4, [cells[n]], [n])
        torch.testing.assert_close(logits, joint[n - 4 : n - 3], **CLOSE)
        new = cells[:4] if n == 4 else [cells[n - 1]]
        assert session.last == {"reads": cells[: n - len(new)], "computes": [*new, cells[n]]}


def test_the_first_guess_of_a_draft_equals_the_first_check(subset):
    cells, values = question()
    session = subset.session()
    draft = session(cells[:5], values[:5], 4, cells[5:8], [5, 5, 5])
    check = session(cells[:8], values[:8], 4, cells[5:8], [5, 6, 7])
    torch.testing.assert_close(draft[0], check[0], **CLOSE)
    assert not torch.allclose(draft[1], check[1], atol=1e-3), "the second guess did not know the first"
    assert session.last["reads"] == cells[:5], "what the draft computed is not computed again"
    assert session.last["computes"] == [*cells[5:7], *cells[5:8]], "nobody looks at the last draft"


def test_asking_other_blanks_of_the_same_cells_computes_no_content(subset):
    cells, values = question()
    session = subset.session()
    session(cells[:6], values[:6], 4, [6], [6])
    again = session(cells[:6], values[:6], 4, [7, 8], [6, 5])
    assert session.last == {"reads": cells[:6], "computes": [7, 8]}
    torch.testing.assert_close(again, subset.session()(cells[:6], values[:6], 4, [7, 8], [6, 5]), **CLOSE)


def test_a_rejected_draft_is_forgotten(subset):
    cells, values = question()
    session = subset.session()
    session(cells[:8], values[:8], 4, cells[5:8], [5, 6, 7])
    repaired = [*values[:6], 4 + (values[6] - 3) % 19]
    logits = session(cells[:7], repaired, 4, [cells[7]], [7])
    fresh = subset.session()(cells[:7], repaired, 4, [cells[7]], [7])
    torch.testing.assert_close(logits, fresh, **CLOSE)
    assert session.last["reads"] == cells[:6]


@pytest.mark.parametrize("rank", [4, 6, 8])
def test_a_rank_changes_only_what_comes_after_it(subset, rank):
    cells, values = question()
    changed = list(values)
    changed[rank] = 4 + (changed[rank] - 3) % 19
    sees = list(range(4, 10))
    before = subset.session()(cells, values, 4, BLANKS, sees)
    after = subset.session()(cells, changed, 4, BLANKS, sees)
    for i, seen in enumerate(sees):
        same = torch.allclose(before[i], after[i], atol=1e-6)
        assert same == (seen <= rank), f"the query that sees {seen} ranks, after a change at rank {rank}"


def test_prompt_cells_see_each_other_both_ways(subset):
    cells, values = question()
    # The same prompt in another order is the same question.
    swapped = [3, 1, 0, 2]
    one = subset.session()(cells[:4], values[:4], 4, [0], [4])
    two = subset.session()([cells[i] for i in swapped], [values[i] for i in swapped], 4, [0], [4])
    torch.testing.assert_close(one, two, **CLOSE)


def test_a_changed_prompt_is_computed_anew(subset):
    cells, values = question()
    session = subset.session()
    session(cells[:6], values[:6], 4, [6], [6])
    longer = session(cells[:6], values[:6], 5, [6], [6])
    torch.testing.assert_close(longer, subset.session()(cells[:6], values[:6], 5, [6], [6]), **CLOSE)
    assert session.last["reads"] == []


def test_a_subset_session_that_failed_half_way_does_not_believe_its_cache(subset, monkeypatch):
    cells, values = question()
    session = subset.session()
    session(cells[:9], values[:9], 4, [cells[9]], [9])
    write = session.cache.write

    def break_late(layer, *arguments):
        if layer == 2:
            raise RuntimeError("interrupted")
        return write(layer, *arguments)

    monkeypatch.setattr(session.cache, "write", break_late)
    with pytest.raises(RuntimeError):
        session(cells[:8], [*values[:5], *words(3, seed=9)], 4, [cells[8]], [8])
    monkeypatch.undo()
    logits = session(cells[:9], values[:9], 4, [cells[9]], [9])
    torch.testing.assert_close(logits, subset.session()(cells[:9], values[:9], 4, [cells[9]], [9]), **CLOSE)


def test_with_nothing_known_only_bos_answers(subset):
    session = subset.session()
    first = session([], [], 0, [0, 5], [0, 0])
    assert torch.isfinite(first[:, 4:]).all() and not torch.allclose(first[0], first[1])
    # What the query must not see cannot leak into it.
    for value in (5, 9):
        logits = subset.session()([2], [value], 0, [0, 3], [0, 1])
        torch.testing.assert_close(logits[0], first[0], **CLOSE)


def test_a_query_stays_the_same_in_company(subset):
    cells, values = question()
    alone = subset.session()(cells[:4], values[:4], 4, [6], [4])
    together = subset.session()(cells[:4], values[:4], 4, [0, 6, 8], [4, 4, 4])
    torch.testing.assert_close(together[1:2], alone, **CLOSE)


def test_the_mask_is_the_one_of_the_paper():
    mask = any_order.oracle_mask(4, 2, [2, 3, 4])
    assert mask.int().tolist() == [
        [1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]


@pytest.mark.parametrize(
    "call",
    [
        ([1], [5], 1, [], []),
        ([1], [5], 1, [2], [2]),
        ([1], [5], 2, [2], [1]),
        ([1], [5], 1, [1], [1]),
        ([1, 1], [5, 6], 1, [2], [2]),
        ([1], [5], 1, [20], [1]),
        ([-1], [5], 1, [2], [1]),
        ([1], [5, 6], 1, [2], [1]),
        ([1, 2], [5, 6], 2, [3], [1]),
    ],
)
def test_a_subset_call_that_makes_no_sense_is_refused(subset, call):
    with pytest.raises(ValueError):
        subset.session()(*call)


# several continuations at once --------------------------------------------------------------------------


def grow(session, steps: int = 8) -> tuple[list[list[int]], torch.Tensor]:
    """Branches of a text that fork, cross and end, as in a beam search; the last rows and their logits."""
    rows = [[next_token.BOS, *words(3)]]
    for step in range(steps):
        session(rows)
        forks = [[*rows[i % len(rows)], 4 + (5 * step + i) % 19] for i in range(min(4, 1 + step))]
        rows = forks[::-1] if step % 2 else forks
    return rows, session(rows)


def test_several_texts_in_one_call_are_what_each_is_alone(causal):
    rows, logits = grow(causal.session().beams(4))
    for row, own in zip(rows, logits, strict=True):
        torch.testing.assert_close(own, causal.session()(row, 1)[0], **CLOSE)


def test_only_the_newest_cell_of_each_beam_is_computed(causal):
    session = causal.session().beams(4)
    rows, _ = grow(session)
    assert session.last == {"reads": list(range(len(rows[0]) - 1)), "computes": [len(rows[0]) - 1]}
    session([[next_token.BOS, 5, 6]])
    assert session.last["reads"] == [], "a text that nothing led to is computed anew"


def test_a_cache_whose_rows_are_not_reordered_is_noticed(causal, monkeypatch):
    monkeypatch.setattr("engines.nn.Cache.reorder", lambda self, rows, stop: None)
    rows, logits = grow(causal.session().beams(4))
    alone = torch.stack([causal.session()(row, 1)[0] for row in rows])
    assert not torch.allclose(logits, alone, atol=1e-3)


@pytest.mark.parametrize("texts", [[], [[2, 5]] * 5, [[2, 5], [2]], [[5, 2]], [[2] + [5] * 64 + [5]]])
def test_a_call_with_texts_that_do_not_fit_together_is_refused(causal, texts):
    with pytest.raises(ValueError):
        causal.session().beams(4)(texts)
