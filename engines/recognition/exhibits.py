"""The exhibit of words that are read off pictures, all letters at once."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from engines.exhibit import Answer, Beat, Claim, Exhibit, Lane, Paper, Question
from engines.recognition import claims
from engines.recognition.causal import causal
from engines.recognition.cppd import cppd, silent
from engines.recognition.model import CAUSAL, CPPD, SILENT
from engines.recognition.strip import SETTINGS, vocabulary


def _only(name: str) -> Callable[[SimpleNamespace], list[str]]:
    def nets(_: SimpleNamespace) -> list[str]:
        return [name]

    return nets


READ = Exhibit(
    slug="cppd",
    title="A word at a glance",
    line="A printed word is read in one call: every letter finds its own place. Beside it, letter by letter.",
    paper=Paper(
        title="Context Perception Parallel Decoder for Scene Text Recognition", authors="Du et al.",
        venue="TPAMI 2025", arxiv="2307.12270",
        links={"paper": "https://arxiv.org/abs/2307.12270", "code": "https://github.com/Topdu/OpenOCR"},
    ),
    family="recognition",
    map={"what": "printed words", "order": "all at once", "at_once": "all", "revisable": False},
    settings=SETTINGS,
    lanes={
        "cppd": Lane(decode=cppd, title="All letters at once", nets=_only(CPPD), vocabulary=vocabulary,
                     line="One call. It learned to count letters and to order them on the side."),
        "causal": Lane(decode=causal, title="Letter by letter", nets=_only(CAUSAL), vocabulary=vocabulary,
                       line="A call for each letter, which hears the letters before it; as large a network."),
        "silent": Lane(decode=silent, title="Plain parallel", nets=_only(SILENT), vocabulary=vocabulary, default=False,
                       line="The same layers, one call too, but trained on letters alone: no counting, no ordering."),
    },
    beats=(
        Beat(text="A word, printed crooked and noisy. Both readers look at the strip once, with equal eyes.",
             look="stage", when={"kind": "forward", "lane": "cppd", "mode": "prefill"}),
        Beat(text="On the side, one reader learned to count: how often is each letter in there, wherever it stands?",
             look="stage", when={"kind": "preview", "lane": "cppd", "name": "counts"}),
        Beat(text="All letters, in one call. No slot has heard what another one reads.",
             look="stage", when={"kind": "commit", "lane": "cppd"}),
        Beat(text="Where each slot looked: it found its own letter, though nobody ever told it where letters stand.",
             look="stage", when={"kind": "preview", "lane": "cppd", "name": "look"}),
        Beat(text="The other reader is still writing: a call for each letter, and one more to say that it ends.",
             look="timeline", when={"kind": "done", "lane": "causal"}),
    ),
    question=Question(
        text="Counting is only learned, never asked. We delete the counting answers when a word is read. What changes?",
        answers=(
            Answer(text="Nothing: the letters stay the same, bit for bit", right=True,
                   why="The counts were homework. What they taught is in the features that the slots look at."),
            Answer(text="Words get too long or too short",
                   why="No slot ever hears how many letters were counted; END is a sign that a slot reads."),
            Answer(text="Double letters get lost",
                   why="A slot sees its own place in the strip. The counts are not a vote, so none is missing."),
        ),
    ),
    claims=(
        Claim(id="calls", kind="exact", must=True, title="One call instead of one a letter",
              text="Calls of the decoder: one at once; letter by letter one for each letter and one for the end.",
              unit="share of strips", baseline="letter by letter",
              paper={"value": None, "unit": "", "where": "section 3, inference: one call"}, measure=claims.calls),
        Claim(id="decoder-wall", kind="time", must=True, title="The decoder is faster",
              text="Time letter by letter over time at once, one strip at a time, decoder only: at least 1.8 times at "
              "8 letters and 2.5 times at 12. Shown is 12.",
              unit="times faster", baseline="letter by letter: as large, with its cache",
              threshold={"op": ">=", "value": claims.FASTER[12]},
              paper={"value": 7.2, "unit": "times", "where": "whole readers on a GPU, 8.0 ms; NRTR 57.8 ms"},
              measure=claims.decoder_wall),
        Claim(id="whole-reader-wall", kind="time", must=False, title="The whole reader",
              text="The same with the encoder, at 12 letters. Both need it, and it takes the same time.",
              unit="times faster", baseline="letter by letter: as large, with its cache",
              threshold={"op": ">", "value": 1.0},
              paper={"value": 7.2, "unit": "times", "where": "8.0 ms; NRTR 57.8 ms"},
              measure=claims.whole_reader_wall),
        Claim(id="accuracy", kind="difference", must=True, title="As accurate as letter by letter",
              text="Strips read without a mistake: at most a point less than letter by letter, and more than plain "
              "parallel. Half of the texts are letters at random.",
              unit="points", baseline="letter by letter, as large; and plain parallel, the same layers with side "
              "losses off: equal strips and steps",
              threshold={"op": ">", "value": -claims.MARGIN},
              paper={"value": 1.5, "unit": "points", "where": "common benchmarks, 96.40 against NRTR's 94.89"},
              measure=claims.accuracy),
        Claim(id="without-counting-and-ordering", kind="difference", must=False, title="What the side tasks bring",
              text="Strips read without a mistake, with counting and ordering learned on the side minus without; layer "
              "for layer the same network.",
              unit="points", baseline="the same layers, strips and steps, side losses off",
              threshold={"op": ">", "value": 0.0},
              paper={"value": None, "unit": "", "where": "ablation of both branches"},
              measure=claims.without_sides),
        Claim(id="looks-at-its-letter", kind="difference", must=False, title="Each slot looks at its own letter",
              text="Share of a slot's look that lies on the letter it reads, at once minus plain parallel, which looks "
              "elsewhere and reads most strips right all the same. Where letters stand is known from printing them.",
              unit="points", baseline="plain parallel, same strips",
              threshold={"op": ">", "value": 0.0},
              paper={"value": None, "unit": "", "where": "figures of attention, no number"},
              measure=claims.looks_at_its_letter),
    ),
    difficulty=1, minutes=3, seed=194,
    why_this_seed="a word with two double letters on a bend, which both readers read right",
)

EXHIBITS = (READ,)
