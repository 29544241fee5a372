"""WORDS: what is printed is what the labels say, where they say, and a seed is a strip."""

from __future__ import annotations

import pytest
import torch

from engines.worlds import words
from engines.worlds.words import LETTERS, Look, draw, letters_of, look_of, render, spelled, text_of

CLEAN = Look(face="plain")


def test_a_seed_is_a_strip_whatever_stands_beside_it():
    alone, among = draw([7]), draw([3, 7, 11])
    assert torch.equal(alone.slots[0], among.slots[1])
    # a longer neighbour widens the sheet that is sampled, so the last bits may differ
    assert (alone.image[0] - among.image[1]).abs().max() < 1e-3
    assert not torch.allclose(among.image[0], among.image[1])


def test_slots_spell_the_text_and_end():
    texts = ["a", "lantern", "abcdefghijkl"]
    slots = render(texts, [CLEAN] * 3, range(3)).slots
    assert [spelled(row) for row in slots.tolist()] == texts
    for text, row in zip(texts, slots.tolist(), strict=True):
        assert row[len(text)] == words.END and all(x == words.NOTHING for x in row[len(text) + 1 :])


def test_texts_are_half_letters_half_words():
    texts = [text_of(seed) for seed in range(600)]
    share = sum(text in words.known() for text in texts) / len(texts)
    assert 0.42 < share < 0.6
    assert {len(text) for text in texts} == set(range(1, 13))
    assert len(letters_of(3, 12)) == 12 and set("".join(texts)) == set(LETTERS)


@pytest.mark.parametrize("face", words.FACES)
def test_ink_stands_where_the_spans_say(face):
    """Each letter taken out of a word: what changes lies on its span, but for the hair of its neighbours."""
    look, text = Look(face=face), "mowing"
    drawn = render([text], [look], [1])
    background = drawn.image[0, 0, 0, 0]
    ink = (drawn.image[0, 0] - background).abs().sum(0)
    left, right = drawn.spans[0, 0, 0].item(), drawn.spans[0, len(text) - 1, 1].item()
    columns = torch.arange(words.WIDTH) + 0.5
    assert ink[(columns > left - 1) & (columns < right + 1)].sum() / ink.sum() > 0.97
    edges = drawn.spans[0, : len(text)]
    assert (edges[1:, 0] - edges[:-1, 1]).abs().max() < 0.01
    for i in range(len(text)):
        a, b = edges[i].tolist()
        assert ink[(columns > a) & (columns < b)].sum() > 0.5


def test_spans_shift_with_the_word():
    here, there = (render(["fox"], [Look(face="plain", left=x)], [1]) for x in (0.0, 3.0))
    assert torch.allclose(there.spans[0, :3] - here.spans[0, :3], torch.full((3, 2), 3.0), atol=1e-4)
    assert here.spans[0, 3:].isnan().all()


def test_looks_are_varied():
    looks = [look_of(seed) for seed in range(300)]
    assert {look.face for look in looks} == set(words.FACES)
    assert 0.1 < sum(look.bar >= 0 for look in looks) / 300 < 0.3
    assert min(abs(look.ink - look.ground) for look in looks) > 0.15


def test_noise_blur_and_line_change_the_strip_and_not_the_labels():
    plain = render(["fox"], [CLEAN], [5])
    for change in ({"noise": 0.1}, {"blur": 0.8}, {"bar": 16.0}, {"curve": 4.0}):
        other = render(["fox"], [Look(face="plain", **change)], [5])
        assert not torch.allclose(plain.image, other.image) and torch.equal(plain.slots, other.slots)
        assert other.image.min() >= -1 and other.image.max() <= 1


@pytest.mark.parametrize("text", ["", "abcdefghijklm", "Fox", "a b", "é"])
def test_what_is_no_word_is_refused(text):
    with pytest.raises(ValueError, match="one to 12 letters"):
        render([text], [CLEAN], [1])
