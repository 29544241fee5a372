"""Captions as tokens: what each row and each place of a canvas is told, and what the null caption hides."""

import pytest
import torch

from engines.captions import ObjectTokens, cover, dropped


@pytest.fixture
def tokens() -> ObjectTokens:
    torch.manual_seed(0)
    return ObjectTokens(16)


def caption(*rows: tuple[int, int, int, int]) -> torch.Tensor:
    return torch.tensor([[*rows, *[(-1, -1, -1, -1)] * (4 - len(rows))]])


def test_only_the_cell_of_an_object_is_told_about_it(tokens: ObjectTokens) -> None:
    one, other = caption((4, 1, 2, 0)), caption((4, 1, 3, 0))
    (prefix_a, cells_a), (prefix_b, cells_b) = tokens(one), tokens(other)
    assert (cells_a != cells_b).any(dim=2).flatten().tolist() == [c == 4 for c in range(9)]
    assert (prefix_a != prefix_b).any(dim=2).flatten().tolist() == [True, False, False, False]


def test_the_null_caption_says_nothing(tokens: ObjectTokens) -> None:
    both = torch.cat([caption((0, 0, 0, 0)), caption((8, 3, 7, 1), (2, 1, 1, 1))])
    prefix, cells = tokens(both, torch.tensor([False, False]))
    assert torch.equal(prefix[0], prefix[1]) and torch.equal(cells[0], cells[1])
    kept, _ = tokens(both, torch.tensor([True, False]))
    assert torch.equal(kept[0], tokens(both)[0][0]) and torch.equal(kept[1], prefix[1])


def test_the_order_of_rows_does_not_move_objects(tokens: ObjectTokens) -> None:
    a, b = (1, 2, 3, 0), (7, 0, 5, 1)
    assert torch.equal(tokens(caption(a, b))[1], tokens(caption(b, a))[1])


@pytest.mark.parametrize("side", [1, 2, 3, 4, 6, 8])
def test_cover_shares_are_areas(side: int) -> None:
    share = cover(side, side)
    assert share.shape == (side * side, 9)
    assert torch.allclose(share.sum(1), torch.ones(side * side), atol=1e-6)
    # Every cell has a ninth of the canvas.
    assert torch.allclose(share.mean(0), torch.full((9,), 1 / 9), atol=1e-6)
    if side == 3:
        assert torch.allclose(share, torch.eye(9), atol=1e-6)
    if side == 8:
        assert share[0, 0] == pytest.approx(1) and share[63, 8] == pytest.approx(1)


def test_about_a_tenth_is_dropped() -> None:
    kept = dropped(10_000, 0.1, torch.Generator().manual_seed(0)).float().mean()
    assert 0.88 < kept < 0.92
