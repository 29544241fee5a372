"""Readers: what depends on what, the lanes' events, and the claims with their broken twins. Networks are real ones with
random weights."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engines import events as ev
from engines.errors import Refused
from engines.nn import count_parameters
from engines.recognition import claims, strip, train
from engines.recognition.cppd import at_once
from engines.recognition.exhibits import READ
from engines.recognition.model import CAUSAL, CPPD, SILENT, Causal, Cppd, counts, smoothed
from engines.runtime import Trial, complete, run
from engines.worlds import words

SMALL: dict[str, Any] = {"width": 64, "heads": 2, "depth": 1, "hidden": 48, "grid": [2, 32],
                         "wide": 96, "classes": words.CLASSES, "slots": words.SLOTS}
MADE = {CPPD: lambda: Cppd(**SMALL), SILENT: lambda: Cppd(**SMALL, sides=0), CAUSAL: lambda: Causal(**SMALL)}


def make(name: str) -> Any:
    torch.manual_seed(5)
    return MADE[name]().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def nets() -> dict[str, Any]:
    return {name: make(name) for name in MADE}


@pytest.fixture
def stand_in(nets):
    return lambda name: nets[name].session()


@pytest.fixture(scope="module")
def drawn() -> words.Strips:
    return words.draw(range(40, 44))


def trial(claim: str, effort: float = 0.02, **more: Any) -> Trial:
    return Trial(READ, next(c for c in READ.claims if c.id == claim), effort, **more)


# what depends on what


@torch.inference_mode()
def test_side_heads_and_class_nodes_have_no_voice_when_reading(drawn):
    net = make(CPPD)
    before = net.read(net.see(drawn.image)).logits
    for part in (net.count_fc, net.slot_fc):
        torch.nn.init.normal_(part.weight)
    torch.nn.init.normal_(net.char_node)
    assert torch.equal(net.read(net.see(drawn.image)).logits, before)
    torch.nn.init.normal_(net.blocks[net.depth].kv.weight, std=0.3)  # the counting branch itself is asked
    assert not torch.allclose(net.read(net.see(drawn.image)).logits, before)


@torch.inference_mode()
def test_class_nodes_cannot_reach_the_strip(nets, drawn):
    net = nets[CPPD]
    v = net.looked_at(net.see(drawn.image))
    assert torch.allclose(net.count(v, nodes=True)[1], net.count(v)[1], atol=1e-6)


@pytest.mark.parametrize("name", [CPPD, SILENT])
@torch.inference_mode()
def test_a_slot_changes_its_own_row_only(name, drawn):
    net = make(name)
    x = net.see(drawn.image)
    before = net.read(x).logits
    net.pos_node[4] += 1.0
    moved = (net.read(x).logits - before).abs().amax((0, 2)) > 1e-5
    assert moved.tolist() == [slot == 4 for slot in range(words.SLOTS)]


@torch.inference_mode()
def test_a_letter_changes_only_what_is_written_behind_it(nets, drawn):
    net = nets[CAUSAL]
    told = net.told(net.see(drawn.image))
    before = torch.randint(1, 27, (4, words.SLOTS), generator=torch.Generator().manual_seed(1))
    other = before.clone()
    other[:, 5] = other[:, 5] % 26 + 1
    moved = (net.write(before, told).logits - net.write(other, told).logits).abs().amax((0, 2)) > 1e-5
    assert moved.tolist() == [slot >= 5 for slot in range(words.SLOTS)]


@torch.inference_mode()
def test_letters_by_cache_are_letters_without(nets, drawn):
    net = nets[CAUSAL]
    x = net.see(drawn.image)
    written = net.read(x)
    letters = written.logits.argmax(-1)
    before = torch.cat([torch.full((4, 1), net.first), letters[:, :-1]], 1)
    assert torch.allclose(net.write(before, net.told(x)).logits, written.logits, atol=1e-5)


@pytest.mark.parametrize("name", MADE)
@torch.inference_mode()
def test_a_strip_is_read_alike_alone_and_in_company(name, nets, drawn):
    net = nets[name]
    among, alone = (net.read(net.see(image)) for image in (drawn.image, drawn.image[2:3]))
    assert torch.allclose(among.logits[2:3], alone.logits, atol=1e-4)
    looks = net.looked(among)
    assert looks.shape == (4, words.SLOTS, 64) and torch.allclose(looks.sum(-1), torch.ones(4, words.SLOTS), atol=1e-5)


# what is learned


def test_counts_are_letters_and_the_end(drawn):
    found = counts(drawn.slots, words.CLASSES)
    for row, slots in zip(found.tolist(), drawn.slots.tolist(), strict=True):
        text = words.spelled(slots)
        assert row[0] == 1 and sum(row) == len(text) + 1
        assert [row[words.LETTERS.index(c) + 1] for c in set(text)] == [text.count(c) for c in set(text)]


def test_the_smoothed_loss_has_a_mass_of_one_and_skips_what_is_behind_the_end():
    logits = torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(2))
    target = torch.tensor([[2, 0, words.NOTHING]])
    rest = 0.1 / 4
    wanted = [-sum((0.9 if c == t else rest) * logits[0, i].log_softmax(-1)[c] for c in range(5))
              for i, t in enumerate([2, 0])]
    assert smoothed(logits, target).item() == pytest.approx(float(sum(wanted) / 2), abs=1e-6)


def test_side_losses_are_off_where_they_should_be(drawn):
    for name, on in ((CPPD, True), (SILENT, False)):
        net = MADE[name]()
        net.loss(drawn.image, drawn.slots).backward()
        assert (net.count_fc.weight.grad is not None) == on and (net.slot_fc.weight.grad is not None) == on


def test_readers_are_equally_large_and_as_small_as_they_must_be():
    sizes = {name: count_parameters(recipe.build()) for name, recipe in train.RECIPES.items()}
    assert max(sizes.values()) <= 800_000
    assert max(sizes.values()) / min(sizes.values()) <= 1.05, sizes


def test_readers_see_the_same_strips_in_the_same_order():
    recipes = list(train.RECIPES.values())
    assert {(r.batches, r.steps, r.learning_rate, r.muon) for r in recipes} == {
        (train.strips, train.STEPS, recipes[0].learning_rate, True)}


@pytest.mark.parametrize("name", MADE)
def test_a_few_steps_bring_the_loss_down(name, drawn):
    torch.manual_seed(1)
    net = MADE[name]()
    steps = torch.optim.AdamW(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = net.loss(drawn.image, drawn.slots)
        losses.append(loss.item())
        steps.zero_grad()
        loss.backward()
        steps.step()
    assert losses[-1] < losses[0] - 0.3


# what the lanes tell


@pytest.mark.parametrize("lane", READ.lanes)
def test_lanes_say_what_they_did(lane, stand_in):
    events = list(run(READ, {"word": "lantern"}, 3, lanes=[lane], nets=stand_in))
    ev.check(events)
    done = events[-1]
    assert done.reason == "finished" and done.summary["printed"] == "lantern"
    decoder = [e for e in events if isinstance(e, ev.Forward) and e.net.endswith(".decoder")]
    commits = [e for e in events if isinstance(e, ev.Commit)]
    assert len(decoder) == len(commits) == done.summary["calls"]
    assert (len(commits) == 1) == (lane != "causal") or done.summary["read"] == ""
    said = [value for e in commits for value in e.values]
    assert "".join(said).removesuffix("end") == done.summary["read"]
    begin = events[0]
    assert begin.canvases[0]["printed"] == "lantern" and len(begin.canvases[0]["spans"]) == 7


def test_a_held_letter_changes_no_other_slot_at_once(stand_in):
    """In slots that are read at once; letter by letter the ones behind it may change."""
    plain = next(e for e in run(READ, {}, 4, lanes=["cppd"], nets=stand_in) if isinstance(e, ev.Commit))
    cell = 0
    value = "q" if plain.values[0] != "q" else "x"
    change = {"do": "force", "lane": "cppd", "cell": cell, "value": value}
    held = [e for e in run(READ, {}, 4, [change], lanes=["cppd"], nets=stand_in) if isinstance(e, ev.Commit)]
    assert (held[0].cells, held[0].values, held[0].origin) == ([0], [value], "forced")
    if plain.values[0] != "end":
        assert [(e.values, e.origin) for e in held[1:]] == [(plain.values[1:], "sampled")]


def test_what_nobody_looks_at_is_left_out(stand_in):
    events = list(run(READ, {}, 4, lanes=["cppd"], nets=stand_in, quiet=True))
    assert not [e for e in events if isinstance(e, ev.Measure) or e.kind == "preview" and e.name != "strip"]


@pytest.mark.parametrize("word", ["two words", "Fox", "abcdefghijklm", "naïve"])
def test_words_without_slots_or_signs_are_refused(word):
    with pytest.raises(Refused, match="word"):
        READ.parse({"word": word})


def test_settings_change_the_print_and_not_the_word():
    def shown(**given: Any) -> words.Strips:
        meter = SimpleNamespace(preview=nullcontext)
        return strip.strip_of(READ.parse(given), 8, meter).drawn

    own = shown()
    for given in ({"face": "hand"}, {"bent": 2.0}, {"grain": 3.0}, {"crossed": "yes"}):
        other = shown(**given)
        assert torch.equal(own.slots, other.slots) and not torch.equal(own.image, other.image), given


def test_looks_are_counted_on_true_places():
    looks = torch.zeros(1, 2, 64)
    looks[0, 0, [0, 32]] = 0.5  # the first column of tokens, pixels 0 to 4
    looks[0, 1, 33] = 1.0  # 4 to 8
    spans = torch.tensor([[[0.0, 2.0], [2.0, 40.0]]])
    assert strip.on_letter(looks, spans, 32)[0].tolist() == [0.5, 1.0]


# the claims


def twin_calls(s: Any, noise: Any, meter: Any) -> Any:
    """Asks its decoder twice."""
    for event in at_once(s, noise, meter, CPPD, "twice"):
        yield event
        if isinstance(event, ev.Forward) and event.net.endswith(".decoder"):
            net = strip.decoder_of(meter, CPPD)
            net(torch.zeros(1, 64, SMALL["width"]))
            yield net.forward(reads=[], computes=[], predicts=[], mode="step")
    return {"read": "", "printed": "", "right": False, "calls": 2}


def test_calls_are_counted_from_traces(stand_in):
    fine = list(claims.calls(trial("calls", 0.2, nets=stand_in)))[-1]
    assert fine["holds"] and fine["here"] == 1
    assert not list(claims.calls(trial("calls", 0.2, nets=stand_in, subject=twin_calls)))[-1]["holds"]


@pytest.fixture
def stored(monkeypatch, nets):
    monkeypatch.setattr(claims.weights, "load", lambda name: nets[name])


def test_random_readers_are_not_accurate(stored):
    claim = trial("accuracy")
    out = complete(claim.claim, list(claims.accuracy(claim))[-1])
    assert not out["holds"] and out["reason"]


class Knows(torch.nn.Module):
    """Reads every strip of these seeds right, by having been told."""

    def __init__(self, truth: torch.Tensor):
        super().__init__()
        self.truth, self.at = truth, 0

    def see(self, image: torch.Tensor) -> torch.Tensor:
        return image

    def read(self, x: torch.Tensor) -> Any:
        part = self.truth[self.at : self.at + len(x)]
        self.at += len(x)
        return SimpleNamespace(logits=torch.nn.functional.one_hot(part.clamp_min(0), words.CLASSES).float())


def test_a_reader_that_knows_is_accurate(stored):
    claim = trial("accuracy")
    drawn = claims.strips_of(claim.seeds(claim.size(claims.STRIPS, 64)))
    assert len(drawn) == 1  # two threads ask otherwise
    claim.subject = Knows(torch.cat([part.slots for part in drawn]))
    out = complete(claim.claim, list(claims.accuracy(claim))[-1])
    assert out["holds"] and out["here"] > 90


def test_side_tasks_and_looks_are_reported(stored):
    for name, measure in (("without-counting-and-ordering", claims.without_sides),
                          ("looks-at-its-letter", claims.looks_at_its_letter)):
        claim = trial(name)
        out = complete(claim.claim, list(measure(claim))[-1])
        assert np.isfinite([out["here"], out["low"], out["high"]]).all() and out["points"]


def test_a_race_is_lost_by_a_reader_that_dawdles(stored, nets):
    class Slow(Cppd):
        def read(self, x):
            for _ in range(30):
                out = super().read(x)
            return out

    slow = Slow(**SMALL).eval()
    claim = trial("decoder-wall", subject=slow)
    out = complete(claim.claim, list(claims.decoder_wall(claim))[-1])
    assert out["holds"] is not True and {p["x"] for p in out["points"]} == {"8 letters", "12 letters"}
