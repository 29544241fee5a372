"""The exhibits of filling blanks in any order."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from engines.any_order import claims, orders, page
from engines.any_order.assd import assd, assd_ngram, one_by_one, parallel
from engines.exhibit import (
    Answer,
    Beat,
    Bool,
    Cells,
    Choice,
    Claim,
    Exhibit,
    Float,
    Int,
    Lane,
    LaneRef,
    Paper,
    Question,
    Words,
)
from engines.worlds import texts


def _net(s: SimpleNamespace) -> list[str]:
    return [page.net_of(s)]


def _warm(s: SimpleNamespace) -> None:
    if grammar := page.text_of(s).grammar:
        grammar()


ASSD = Exhibit(
    slug="assd",
    title="Guess, then check",
    line="One model guesses several blanks at once, then checks its own guesses. The stories come out as if it had "
    "written one word at a time.",
    paper=Paper(
        title="Self-Speculative Decoding Accelerates Lossless Inference in Any-Order and Any-Subset Autoregressive "
        "Models",
        authors="Guo, Ermon", venue="ICLR 2026", arxiv="2504.20456",
        links={"paper": "https://arxiv.org/abs/2504.20456",
               "code": "https://github.com/gabeguo/any-order-speculative-decoding"},
    ),
    family="any_order",
    map={"what": "words", "order": "any blanks", "at_once": "several, checked", "revisable": False},
    settings=(
        Int(name="share", default=40, min=5, max=95, step=5, label="Blanks", unit="%",
            help="How much of the story is blank. Or click words on the page to blank them."),
        Choice(name="pattern", default="random", label="Where",
               choices={"random": "scattered", "prefix": "start", "sandwich": "middle", "suffix": "end"},
               help="Scattered, or one stretch of the story."),
        Int(name="k", default=5, min=1, max=20, label="Guesses a round", unit="words",
            help="How many blanks are guessed in one call. One guess a round costs more calls than it saves."),
        Float(name="temperature", default=1.0, min=0.3, max=1.5, step=0.1, label="Temperature",
              help="How freely the model chooses among likely words."),
        orders.BlankOrder(name="order", label="Order", cells=texts.LENGTH,
                          help="Left to right is what the paper trains. Every other order is filled by a net that "
                          "learned left to right and far apart; of any further order it knows less."),
        Cells(name="blanks", default="", label="Your blanks", max=texts.LENGTH,
              help='Cells to blank, such as "3,5,9-12"; empty lets the seed choose.'),
        Words(name="story", default="", label="Your story", check=page.check_story,
              help="A story of your own, in the words that the model knows; empty takes the seed's."),
        Bool(name="bonus", default=False, label="A free word", advanced=True,
             help="When every guess stays, the same call can fill one more blank. Ours, not the paper's."),
        Float(name="r_atol", default=0.0, min=0.0, max=0.1, step=0.01, label="Relaxed check", advanced=True,
              help="How much milder the check is. Above 0 more guesses stay, and stories lose their odds."),
    ),
    lanes={
        "assd": Lane(decode=assd, title="Guess, then check", nets=_net,
                    vocabulary=page.vocabulary, warm=_warm,
                     line="Two calls a round, several words."),
        "one-by-one": Lane(decode=one_by_one, title="One by one", nets=_net,
                    vocabulary=page.vocabulary, warm=_warm,
                           line="One call for each blank."),
        "ngram": Lane(decode=assd_ngram, title="Guess by counting", nets=_net,
                    vocabulary=page.vocabulary, warm=_warm,
                      default=False, line="Guesses come from pairs of words on this page."),
        "parallel": Lane(decode=parallel, title="Guess and never check", nets=_net,
                    vocabulary=page.vocabulary, warm=_warm,
                         default=False, line="Fewest calls, but the words need not fit together."),
        "far-apart": LaneRef(slug="assd", lane="assd", title="Guess far apart", settings={"order": "bisection"},
                             default=False, line="The middle of the longest gap first."),
    },
    beats=(
        Beat(text="In one call the model reads the page once, and guesses several blanks. No guess sees another.",
             look="stage", when={"kind": "propose", "lane": "assd"}),
        Beat(text="A second call checks them: what would the same model have said, knowing the guesses before each?",
             look="timeline", when={"kind": "forward", "lane": "assd", "mode": "verify"}),
        Beat(text="The first guess of a round always stays: the check sees the same page, so it says the same.",
             look="inspector", when={"kind": "accept", "lane": "assd"}),
        Beat(text="A guess that does not fit is replaced, and the round ends there. Two calls, at least two blanks.",
             look="inspector", when={"kind": "reject", "lane": "assd"}),
        Beat(text="With two or more guesses a round it never needs more calls than blanks, and every story keeps its "
             "odds.", look="claim", when={"kind": "done", "lane": "assd"}),
    ),
    question=Question(
        text="Suppose every guess after the first is wrong. How many calls for 20 blanks, five guesses a round?",
        answers=(
            Answer(text="20, as many as one by one", right=True, why="Each round of two calls still fixes two words."),
            Answer(text="40, twice as many", why="The replacement fills a second blank in every round."),
            Answer(text="8, two for each five blanks", why="That is the best case, when every guess stays."),
        ),
    ),
    claims=(
        Claim(id="nfe-bound", kind="exact", must=True, title="Never more calls than blanks",
              text="With two or more guesses a round, no run needs more calls than it has blanks.",
              unit="share of runs", baseline="one by one: exactly as many calls as blanks",
              paper={"value": 1, "unit": "", "where": "theorem 1"}, measure=claims.nfe_bound),
        Claim(id="law", kind="law", must=True, title="The same odds as one by one",
              text="Each filled page is as likely as one word at a time would make it; two broken samplers are caught.",
              unit="p-value", paper={"value": None, "unit": "", "where": "theorem 2"}, measure=claims.law),
        Claim(id="nfe-ratio", kind="ratio", must=False, title="How many calls it saves",
              text="Calls of guess-then-check divided by calls of one by one, five guesses a round, "
              "40 % of the story blank. Below 1 it saves.",
              unit="calls over calls", baseline="one by one, same net, same pages, same cache",
              paper={"value": 0.893, "unit": "", "where": "WikiText, 5 % visible, k = 5"}, measure=claims.nfe_ratio),
        Claim(id="tokens-per-round-self-vs-ngram", kind="difference", must=False, title="Its own guesses beat counting",
              text="Words fixed a round: the model's own guesses minus guesses by counted word pairs.",
              unit="words a round", baseline="the n-gram draft, same net as judge",
              paper={"value": 1.09, "unit": "words a round", "where": "2.24 against 1.15, WikiText"},
              measure=claims.self_vs_ngram),
        Claim(id="free-bonus-token", kind="ratio", must=False, title="A word for free",
              text="Taking one more word from a check whose guesses all stayed needs fewer calls.",
              unit="calls with over calls without", baseline="without the free word",
              paper={"value": None, "unit": "", "where": "ours, not in the paper"}, measure=claims.free_bonus_token),
        Claim(id="order-matters", kind="ratio", must=False, title="The order decides how many calls",
              text="With nine words of ten blank, filling them far apart takes fewer calls than from left to right, "
              "the order that the paper trains.",
              unit="calls far apart over calls from left to right",
              baseline="left to right, with the same net, on the same pages, five guesses a round",
              paper={"value": None, "unit": "", "where": "ours; the paper compares no orders"},
              measure=claims.order_matters),
    ),
    difficulty=2, minutes=3, seed=44, together=page.together,
    why_this_seed="a whole story in less than half the calls, with two guesses that do not fit: “he” has to become "
    "“she”, and “ending” a “page”",
)

_TEXTS = {name: voice.text().label for name, voice in page.VOICES.items() if voice.stored()}
EXHIBITS = (replace(ASSD, settings=(*texts.offer(_TEXTS), *ASSD.settings)),)
