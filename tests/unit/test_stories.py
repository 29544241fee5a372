"""STORIES as a world: sizes, splits, seeds, text in and out, and what must come back correctly later."""

import numpy as np
import pytest

from engines.errors import Refused
from engines.worlds import stories
from engines.worlds.stories import END, HIDDEN, PAD, VOCAB

EXAMPLE = (
    "once, in a small harbour town, a fox named mina kept a brass bell. every morning she rang it for the boats. "
    "one night the bell was gone, so mina asked the old owl. the owl had kept it dry, and gave it back to her."
)


@pytest.fixture(scope="module")
def sampled():
    return stories.sample(range(2_000))


def valid(text):
    return stories.automaton().is_valid([*stories.encode(text), END])


def test_sizes():
    automaton = stories.automaton()
    assert automaton.states <= 20_000
    assert 300 <= len(VOCAB) <= 500 and len(set(VOCAB)) == len(VOCAB)
    assert VOCAB[:4] == stories.SPECIALS
    assert automaton.shortest >= 31 and automaton.longest <= stories.LENGTH  # END counted
    assert 0.7 < automaton.entropy() / automaton.mean_length() < 1.8


def test_samples_are_stories(sampled):
    assert sampled.shape == (2_000, 64) and sampled.dtype == np.int64
    assert np.all(np.isfinite(stories.automaton().log_probs(sampled)))
    length = np.argmax(sampled == END, axis=1)
    assert length.min() >= 30 and length.max() <= 63
    assert np.all((sampled == PAD) == (np.arange(64) > length[:, None]))
    assert len({row.tobytes() for row in sampled}) == len(sampled)


def test_nearly_every_word_is_used():
    seen = np.unique(stories.sample(range(20_000)))
    assert len(seen) >= len(VOCAB) - 10  # BOS and MASK never, the rarest words perhaps not


def test_a_story_depends_on_its_seed_alone(sampled):
    assert np.array_equal(stories.sample([17, 3, 17]), sampled[[17, 3, 17]])
    far = [stories.VALIDATION.start, stories.TEST.stop - 1]
    assert np.array_equal(stories.sample(far)[1], stories.sample(far[1:])[0])


def test_splits_do_not_meet():
    splits = [stories.TRAIN, stories.VALIDATION, stories.TEST]
    for before, after in zip(splits, splits[1:]):
        assert before.stop <= after.start


def test_text_round_trip(sampled):
    for row in sampled[:50]:
        text = stories.decode(row)
        assert stories.encode(text) == row[: np.argmax(row == END)].tolist()
        assert " ," not in text and " ." not in text and text.endswith(".")
    assert stories.decode([stories.BOS, *stories.encode("a fox"), stories.MASK, END, PAD]) == "a fox _"


def test_an_unknown_word_is_refused_with_three_that_are_near():
    with pytest.raises(Refused) as caught:
        stories.encode("once, in a small harber town")
    assert "harber" in str(caught.value) and "harbour" in str(caught.value)
    assert str(caught.value).split("Nearest: ")[1].count(",") == 2
    for odd in ("<mask>", "fox!", "狐", "x" * 10_000):
        with pytest.raises(Refused):
            stories.encode(odd)


@pytest.mark.parametrize("right, wrong", [
    ("so mina asked", "so tilly asked"),
    ("morning she rang", "morning he rang"),
    ("back to her", "back to him"),
    ("she rang it", "she lit it"),
    ("the bell was", "the drum was"),
    ("for the boats", "for the bees"),
    (". the owl had", ". the gull had"),
    ("a brass bell", "an brass bell"),
])
def test_what_is_remembered_comes_back(right, wrong):
    assert valid(EXAMPLE) and right in EXAMPLE
    assert not valid(EXAMPLE.replace(right, wrong))


def test_articles_fit(sampled):
    for row in sampled:
        words = stories.decode(row).split()
        for article, word in zip(words, words[1:]):
            if article in ("a", "an"):
                assert (article == "an") == (word[0] in "aeiou" or word.startswith("hones")), (article, word)


def test_far_cells_depend_on_one_another():
    """The second name is as uncertain as the first until either is seen, and then it is certain."""
    automaton = stories.automaton()
    ids = np.array([*stories.encode(EXAMPLE), END])
    first, second = np.flatnonzero(ids == VOCAB.index("mina"))
    she, her = np.flatnonzero(ids == VOCAB.index("she"))[0], np.flatnonzero(ids == VOCAB.index("her"))[0]
    visible = ids.copy()
    visible[[first, second, she, her]] = HIDDEN
    before = automaton.marginals(visible)[second]
    assert np.count_nonzero(before) == 8
    entropy = -np.sum(before[before > 0] * np.log(before[before > 0]))
    assert automaton.total_correlation(visible, [first, second]) == pytest.approx(entropy, abs=1e-9)
    visible[first] = ids[first]
    assert automaton.marginals(visible)[[second, her], ids[[second, her]]] == pytest.approx(1.0, abs=1e-12)
