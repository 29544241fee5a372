"""Text in pieces: what is stored, how it is read, what its recipes learn from and are judged by; no grammar anywhere.

The text that recipes learn from is made here: plays whose lines are stories.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engines import catalog, training, weights
from engines import events as ev
from engines.any_order import exhibits as any_order
from engines.any_order import page as any_order_page
from engines.any_order import train as any_order_train
from engines.errors import BadWeights, Refused, Unreachable
from engines.next_token import exhibits as next_token
from engines.next_token import page, speculative
from engines.next_token import train as next_token_train
from engines.noise import Noise
from engines.runtime import Meter, run
from engines.worlds import shakespeare, stories

ASKED = {"text": "shakespeare"}


@pytest.fixture(scope="session")
def play() -> str:
    """Some 60,000 characters of speeches, in signs that the stored pieces have."""
    rows = stories.sample(range(300))
    return "".join(f"{'ROMEO' if i % 3 else 'JULIET'}:\n{stories.decode(row)}\n\n" for i, row in enumerate(rows))


@pytest.fixture
def corpus(play, tmp_path, monkeypatch):
    file = tmp_path / "play.txt"
    file.write_text(play)
    monkeypatch.setenv(shakespeare.VARIABLE, str(file))
    return file


@pytest.fixture
def offered(monkeypatch):
    """The exhibits as they are once the networks are stored, on fresh networks."""
    torch.manual_seed(0)
    fresh = {name: training.recipes()[name].build().eval() for name in
             ("next_token/shakespeare", "next_token/shakespeare_draft", "any_order/shakespeare")}
    monkeypatch.setattr(weights, "_guests", {name: (net, "0" * 64) for name, net in fresh.items()})
    shown = {e.slug: e for e in next_token.offered()}
    text = any_order.texts.offer({"stories": "stories", "shakespeare": "Shakespeare"})
    shown["assd"] = replace(any_order.ASSD, settings=(*text, *any_order.ASSD.settings))
    for slug, exhibit in shown.items():
        monkeypatch.setitem(catalog.EXHIBITS, slug, exhibit)
    yield shown
    weights.load.cache_clear()
    weights._warm.cache_clear()


# what is stored -----------------------------------------------------------------------------------------


def test_the_stored_pieces_read_a_text_and_give_it_back():
    stored = shakespeare.pieces()
    assert len(stored.words) == shakespeare.PIECES == len(set(stored.words))
    assert stored.words[:4] == stories.SPECIALS
    for text in ("But soft, what light through yonder window breaks?", "JULIET:\nAy me!\n\n", *stored.passages[:20]):
        ids = stored.encode(text)
        assert stored.decode(ids) == text and min(ids) >= 4 and len(ids) < len(text)


@pytest.mark.parametrize("typed", ["<end>", "caf\u00e9", "4", "\x00", "\u202e", "\U0001f600", "[MASK]"])
def test_a_sign_that_the_text_never_uses_is_refused_and_nothing_typed_is_a_special_piece(typed):
    with pytest.raises(Refused, match="never uses the sign"):
        shakespeare.pieces().encode(f"fair {typed}")


def test_passages_fill_a_page_and_are_small_enough_to_ship():
    rows = [shakespeare.passage(seed) for seed in range(len(shakespeare.pieces().passages))]
    assert {len(row) for row in rows} == {stories.LENGTH - 1} and len({tuple(row) for row in rows}) > 60
    assert shakespeare.vocabulary_file().stat().st_size < 80_000 and shakespeare.pairs_file().stat().st_size < 120_000


def test_pieces_and_passages_are_made_again_from_a_text_the_same_each_time(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(shakespeare, "FOLDER", tmp_path)
    shakespeare.store()
    first = shakespeare.vocabulary_file().read_text()
    shakespeare.store()
    body = json.loads(first)
    assert shakespeare.vocabulary_file().read_text() == first and body["passages"]
    _, _, held = shakespeare.parts(corpus.read_text())
    assert all(passage in held for passage in body["passages"])


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"pieces": ["a"], "merges": [["b", "c"]], "passages": []}', b"\xff"])
def test_a_damaged_vocabulary_is_one_line_that_names_the_file(damage, tmp_path, monkeypatch):
    monkeypatch.setattr(shakespeare, "FOLDER", tmp_path)
    shakespeare.vocabulary_file().write_bytes(damage)
    with pytest.raises(BadWeights, match=r"shakespeare\.json is missing or damaged"):
        shakespeare.pieces.__wrapped__()


# the whole text -----------------------------------------------------------------------------------------


def test_held_out_parts_are_not_learned_from(play):
    learned, validation, test = shakespeare.parts(play)
    assert learned + validation + test == play
    assert len(learned) / len(play) == pytest.approx(0.9, abs=0.02)


def test_windows_begin_lines_and_come_from_the_training_part(corpus):
    learned = shakespeare.parts(corpus.read_text())[0]
    stored, seen = shakespeare.pieces(), []
    for batch in shakespeare.batches(4, part=0, shortest=17, end=True):
        assert batch.shape[0] == 4 and 17 <= batch.shape[1] <= stories.LENGTH and (batch[:, -1] == stories.END).all()
        seen += [stored.decode(row.tolist()) for row in batch]
    assert all(f"\n{text}" in f"\n{learned}" for text in seen)
    again = [row.tolist() for batch in shakespeare.batches(4, 0, 17, True) for row in batch]
    other = [row.tolist() for batch in shakespeare.batches(4, 1, 17, True) for row in batch]
    assert [stored.decode(row) for row in again] == seen and again != other


def test_without_a_text_and_without_a_network_a_recipe_says_what_to_do(tmp_path, monkeypatch):
    import huggingface_hub  # noqa: PLC0415 - its client is replaced by one that finds no network

    class Nobody:
        def dataset_info(self, *_, **__):
            raise huggingface_hub.errors.OfflineModeIsEnabled("offline")

    monkeypatch.delenv(shakespeare.VARIABLE, raising=False)
    monkeypatch.setattr(shakespeare, "DEFAULT", tmp_path / "tinyshakespeare.txt")
    monkeypatch.setattr(huggingface_hub, "HfApi", Nobody)
    with pytest.raises(Unreachable, match="no tinyshakespeare.txt here.*no network") as caught:
        shakespeare.source()
    assert "--text FILE" in caught.value.fix
    monkeypatch.setenv(shakespeare.VARIABLE, str(tmp_path / "nothing.txt"))
    with pytest.raises(Refused, match="no text file"):
        shakespeare.source()


@pytest.mark.parametrize(("data", "said"), [(b"short", "at least"), (b"\xff" * 30_000, "as text"),
                                            (b"no blank line " * 3_000, "no blank lines")])
def test_a_file_that_teaches_nothing_is_refused(tmp_path, data, said):
    file = tmp_path / "x.txt"
    file.write_bytes(data)
    with pytest.raises(Refused, match=said):
        shakespeare.parts(shakespeare.read(file))


# recipes ------------------------------------------------------------------------------------------------


RECIPES = [("next_token/shakespeare", next_token_train), ("next_token/shakespeare_draft", next_token_train),
           ("any_order/shakespeare", any_order_train)]


@pytest.mark.parametrize(("name", "train"), RECIPES)
def test_a_recipe_learns_from_a_made_text_resumes_and_is_judged_in_bits(name, train, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "BATCH", 4)
    kind = type(train.RECIPES[name].build())
    tiny = {"vocab": shakespeare.PIECES, "layers": 1, "width": 16, "heads": 2, "hidden": 16, "length": 64}
    short = replace(
        train.RECIPES[name], build=lambda: kind(**tiny), batches=lambda part: shakespeare.batches(4, part, 20, True),
        judge=lambda net: (next_token_train.pieces_judge if "next" in name else any_order_train.pieces_judge)(net, 6),
        learning_rate=2e-2, average=0.8)
    torch.manual_seed(0)
    before = short.judge(short.build())
    training.fit(short, steps=6, folder=tmp_path)
    after = training.fit(short, steps=24, folder=tmp_path)
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["step"] == 24
    assert after["bits"] < before["bits"] - 0.2 and after["characters"] == before["characters"]


@pytest.mark.parametrize(("name", "train"), RECIPES)
def test_a_network_stays_within_its_size(name, train):
    count = sum(p.numel() for p in train.RECIPES[name].build().parameters())
    assert count <= (0.2e6 if name.endswith("draft") else 1.2e6)


def test_bits_are_those_of_an_even_guess_for_a_net_that_guesses_evenly(corpus):
    class Even(torch.nn.Module):
        def forward(self, tokens):
            return torch.zeros(*tokens.shape, shakespeare.PIECES)

    score = next_token_train.pieces_judge(Even(), 5)
    rows = shakespeare.held_out(5)
    assert score["nll"] == pytest.approx(math.log(shakespeare.PIECES), rel=1e-5)
    assert score["bits"] == pytest.approx(rows.size * math.log2(shakespeare.PIECES) / shakespeare.characters(rows))
    assert shakespeare.characters(rows) == sum(len(shakespeare.pieces().decode(row.tolist())) for row in rows)


def test_hidden_pieces_are_read_but_never_asked_for():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, tokens):
            seen.append(tokens)
            return torch.zeros(*tokens.shape, 40)

    cells = torch.randint(4, 40, (8, 50))
    value, _ = next_token_train.pieces_loss(Spy(), cells, torch.Generator().manual_seed(1))
    share = (seen[0] == stories.MASK).float().mean().item()
    assert 0.05 < share < 0.16 and (seen[0][:, 0] == stories.BOS).all() and value.item() == pytest.approx(math.log(40))


# on the page --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", ["next-token", "speculative", "assd"])
def test_a_run_in_pieces_is_sound_and_shows_nothing_that_only_a_grammar_knows(offered, slug):
    exhibit = catalog.EXHIBITS[slug]
    events = list(run(slug, ASKED, seed=5, lanes=list(exhibit.lanes)))
    ev.check(events)
    ends = [e for e in events if isinstance(e, ev.Done)]
    assert len(ends) == len(exhibit.lanes) and all(e.reason == "finished" and "valid" not in e.summary for e in ends)
    assert not any("truth" in (getattr(e, "dists", None) or {}) for e in events)
    assert all(e.canvases[0]["spaced"] is True for e in events if isinstance(e, ev.Begin))
    given = next(e.given["values"] for e in events if isinstance(e, ev.Begin))
    assert given and all(v in shakespeare.pieces().words for v in given)
    stops = [b for b in exhibit.beats if not b.only or b.only == ASKED]
    assert len(stops) >= 3 and not any("grammar" in b.text for b in stops)


@pytest.mark.parametrize("draft", ["net", "bigram", "copy", "uniform", "target"])
def test_every_draft_guesses_in_pieces(offered, draft):
    events = list(run("speculative", ASKED | {"draft": draft}, seed=2, lanes=["speculative"]))
    ev.check(events)
    assert isinstance(events[-1], ev.Done) and events[-1].summary["words"] == stories.LENGTH


def test_own_words_and_forced_pieces_are_those_of_the_text_that_was_chosen(offered):
    events = list(run("next-token", ASKED | {"words": "But soft, what light"}, seed=1, lanes=["filtered"]))
    assert "".join(events[0].given["values"]) == "But soft, what light"
    force = [{"do": "force", "cell": 20, "value": " love"}]
    events = list(run("next-token", ASKED, seed=1, interventions=force, lanes=["filtered"]))
    assert next(e for e in events if isinstance(e, ev.Commit) and e.cells == [20]).values == [" love"]
    with pytest.raises(Refused, match="not a word"):
        list(run("next-token", seed=1, interventions=force, lanes=["filtered"]))
    with pytest.raises(Refused, match="a page holds") as caught:
        list(run("next-token", ASKED | {"words": "o " * 70}))
    assert caught.value.field == "words"
    with pytest.raises(Refused, match="63"):
        list(run("assd", ASKED | {"story": "o " * 80}))


def test_a_text_is_offered_only_where_its_networks_are(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    for exhibit in next_token.offered():
        assert "text" not in [s.name for s in exhibit.settings]
    monkeypatch.setattr(page, "VOICES", page.VOICES | {"stories": replace(page.VOICES["stories"], target="a/b")})
    assert not page.VOICES["stories"].stored()


def test_counted_pairs_are_a_law_over_pieces():
    table = np.exp(shakespeare.pairs())
    assert table.shape == (shakespeare.PIECES,) * 2 and np.isfinite(table).all() and (table[:, 0:4] < 1e-99).all()
    stored = shakespeare.pieces()
    after = table[stored.words.index(" my")]
    assert stored.words[int(after.argmax())].startswith(" ") and after.max() > 10


def test_the_law_of_a_text_in_pieces_is_kept_by_the_lane_that_stories_use():
    """The draft reads the voice's own tokens: a lane that fell back to STORIES would crash or name foreign words."""
    kind = page.text_of(SimpleNamespace(text="shakespeare"))
    settings = SimpleNamespace(text="shakespeare", words="", given=3, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0,
                               lenience=1.0, draft="copy", gamma=3)

    def table(tokens, predict):
        z = np.full((predict, len(kind.words)), -np.inf)
        z[:, [40, 41]] = 0.0
        return z

    events = list(speculative.speculative(settings, Noise(1), Meter(lambda name: table)))
    written = {v for e in events if isinstance(e, ev.Commit) for v in e.values}
    assert written == {kind.words[40], kind.words[41]}
    assert any_order_page.text_of(SimpleNamespace(text="shakespeare")) is kind
