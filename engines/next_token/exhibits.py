"""The exhibits of left-to-right writing: what the page says of them, their settings, lanes and claims."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from engines.errors import Refused
from engines.exhibit import (
    Answer,
    Beat,
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
from engines.next_token import claims, page
from engines.next_token.beam import beam
from engines.next_token.drafts import pairs
from engines.next_token.gap_exhibits import REASONING_GAP
from engines.next_token.next_token import next_token
from engines.next_token.speculative import speculative
from engines.worlds.texts import offer

WORDS = Words(name="words", default="", label="First words", check=page.check_words,
              help="Words to start from; leave it empty to begin with those of the seed's text.")
GIVEN = Int(name="given", default=6, min=0, max=20, label="Words given", unit="words",
            help="How many words of the seed's text stand on the page at the start.")
TEMPERATURE = Float(name="temperature", default=1.0, min=0.0, max=2.0, step=0.1, label="Temperature",
                    help="Below 1 the likely words gain, above 1 the unlikely ones; 0 always takes the likeliest.")
TOP_K = Int(name="top_k", default=0, min=0, max=100, label="Top-k", help="Keep only the k likeliest words; 0 is off.")
TOP_P = Float(name="top_p", default=1.0, min=0.05, max=1.0, step=0.05, label="Top-p",
              help="Keep the smallest set of words that holds this much probability; 1 is off.")
MIN_P = Float(name="min_p", default=0.0, min=0.0, max=0.5, step=0.01, label="Min-p",
              help="Keep words at least this likely, as a share of the likeliest; 0 is off.")
BEAMS = Int(name="beams", default=4, min=1, max=8, label="Beams", unit="beginnings",
            help="How many beginnings beam search keeps at a time. It throws no dice and uses no filter.")
TYPICAL = Float(name="typical_p", default=1.0, min=0.05, max=1.0, step=0.05, label="Typical",
                help="Keep the words about as surprising as a word is here on average, until they hold this much "
                "probability; 1 is off. It may cut the likeliest word.")


def _target(s: SimpleNamespace) -> list[str]:
    return [page.voice(s).target]


def _warm(s: SimpleNamespace) -> None:
    kind = page.text_of(s)
    if kind.grammar:
        kind.grammar()
    if getattr(s, "draft", "") == "bigram":
        pairs(kind)


def _pair(s: SimpleNamespace) -> list[str]:
    voice = page.voice(s)
    return [voice.target, voice.small] if s.draft == "net" and voice.small else [voice.target]


def _drafted(s: SimpleNamespace, seed: int) -> None:
    """Refuse who cannot guess this text."""
    voice = page.voice(s)
    if s.draft == "net" and not voice.small:
        raise Refused("no small model came with this text; let copying, anything or the big model guess, "
                      "or name one with --draft", "draft")
    if s.draft == "bigram" and not voice.text().pairs:
        raise Refused("nobody counted the word pairs of this text; let copying, anything or the big model guess",
                      "draft")


NEXT_TOKEN = Exhibit(
    slug="next-token",
    title="One word at a time",
    line="The model gives every word a chance. A filter trims the list, and dice choose from what is left.",
    paper=Paper(
        title="The Curious Case of Neural Text Degeneration",
        authors="Holtzman, Buys, Du, Forbes, Choi", venue="ICLR 2020", arxiv="1904.09751",
        links={"paper": "https://arxiv.org/abs/1904.09751", "top-k": "https://arxiv.org/abs/1805.04833",
               "min-p": "https://arxiv.org/abs/2407.01082", "typical": "https://arxiv.org/abs/2202.00666"},
    ),
    family="next_token",
    map={"what": "words", "order": "left to right", "at_once": "one", "revisable": False},
    settings=(TEMPERATURE, replace(TOP_P, default=0.9), MIN_P, TOP_K, TYPICAL, BEAMS, GIVEN, WORDS),
    lanes={
        "filtered": Lane(decode=next_token, title="With your filters", nets=_target,
                    vocabulary=page.vocabulary, warm=_warm,
                         line="Drawn from the words that pass."),
        "plain": LaneRef(slug="next-token", lane="filtered", title="Without filters",
                         settings={"temperature": 1.0, "top_p": 1.0, "min_p": 0.0, "top_k": 0, "typical_p": 1.0},
                         line="The same dice, the model's full list."),
        "beam": Lane(decode=beam, title="Beam search", nets=_target, warm=_warm, default=False, interventions=(),
                     line="No dice: the most probable beginnings are kept, the others cut."),
    },
    beats=(
        Beat(text="The model reads what stands on the page and gives each word of its language a chance.",
             look="inspector", when={"kind": "commit", "lane": "filtered"}),
        Beat(text="A filter cuts the unlikely tail. What is left is scaled up to one, and a number is drawn.",
             look="inspector", when={"kind": "commit", "lane": "filtered", "n": 12}),
        Beat(text="Both lanes use the same random numbers. Where they part, the filter made the difference.",
             look="stage", when={"kind": "note"}),
        Beat(text="The upright line is the true chance: a grammar made these stories. The model has never seen it.",
             look="inspector", when={"kind": "done", "lane": "filtered"}, only={"text": "stories"}),
    ),
    question=Question(
        text="Top-p is 0.9 and the likeliest word has a chance of 0.95. How many words can be drawn?",
        answers=(
            Answer(text="One", right=True, why="It crosses 0.9 alone, so the set ends with it."),
            Answer(text="Two", why="The set ends with the word that crosses 0.9, and that is the first one."),
            Answer(text="None, 0.95 is over the limit", why="The word that crosses the limit always stays."),
        ),
    ),
    claims=(
        Claim(id="kept-set-equals-reference", kind="exact", must=True, title="The filters are the published ones",
              text="Top-k, top-p, min-p and typical sampling keep exactly the words that a plain reference keeps.",
              unit="share of random cases that agree", paper={"value": 1, "unit": "", "where": "definitions"},
              measure=claims.kept_set_equals_reference),
        Claim(id="filters-vs-validity", kind="difference", must=False, title="Filters trade variety for validity",
              text="Cutting the tail at top-p 0.8 makes more stories grammatical; each knob's curve is below.",
              unit="share of valid stories, minus that without filters", baseline="the same net and seeds, no filter",
              paper={"value": None, "unit": "", "where": "1904.09751, section 4: qualitative"},
              threshold={"op": ">", "value": 0.0}, measure=claims.filters_vs_validity),
        Claim(id="beam-finds-more-probable-less-diverse", kind="difference", must=False,
              title="Beam search: more probable, more alike",
              text="Beam search writes a more probable story than dice do, and its four best stories are more alike.",
              unit="nats, log p of its story minus log p of a drawn one",
              baseline="four stories drawn from the same opening, without filters",
              paper={"value": None, "unit": "", "where": "1904.09751, figure 2: qualitative"},
              measure=claims.beam_against_dice),
    ),
    difficulty=1, minutes=2, seed=7,
)


SPECULATIVE = Exhibit(
    slug="speculative",
    title="Guess ahead, then check",
    line="A small model guesses a few words ahead. The big one checks them all in a single call.",
    paper=Paper(
        title="Fast Inference from Transformers via Speculative Decoding",
        authors="Leviathan, Kalman, Matias", venue="ICML 2023", arxiv="2211.17192",
        links={"paper": "https://arxiv.org/abs/2211.17192", "the same idea (Chen et al.)": "https://arxiv.org/abs/2302.01318"},
    ),
    family="next_token",
    map={"what": "words", "order": "left to right", "at_once": "several, checked", "revisable": False},
    settings=(
        Choice(name="draft", default="net", label="Who guesses",
               choices={"net": "small model", "bigram": "word pairs", "copy": "copying", "uniform": "anything",
                        "target": "the big model"},
               help="The small model is much smaller than the big one; word pairs and copying need no model."),
        Int(name="gamma", default=4, min=1, max=10, label="Guesses a round", unit="words",
            help="How many words are guessed before each check (the paper's gamma)."),
        TEMPERATURE, GIVEN, WORDS,
        replace(TOP_P, advanced=True), replace(TOP_K, advanced=True), replace(MIN_P, advanced=True),
        Float(name="lenience", default=1.0, min=0.5, max=1.0, step=0.05, label="Lenience", advanced=True,
              help="Below 1 the check is milder and faster, and the text no longer has the big model's odds."),
    ),
    lanes={
        "speculative": Lane(decode=speculative, title="Guess ahead, then check", nets=_pair,
                    vocabulary=page.vocabulary, warm=_warm,
                            line="Several words for one call of the big model."),
        "next-token": LaneRef(slug="next-token", lane="filtered", title="One word at a time",
                              line="One call of the big model for each word."),
    },
    beats=(
        Beat(text="The small model writes ahead in pencil, one word after another.", look="stage",
             when={"kind": "propose", "lane": "speculative"}),
        Beat(text="One call of the big model gives its own chances for every pencilled place at once.", look="timeline",
             when={"kind": "forward", "lane": "speculative", "mode": "verify"}),
        Beat(text="A guess stays if a random number falls below p/q: the big model's chance over the small model's.",
             look="inspector", when={"kind": "accept", "lane": "speculative"}),
        Beat(text="Else a word comes from where p is above q: chances the guess left out. So the odds stay p.",
             look="inspector", when={"kind": "reject", "lane": "speculative"}),
        Beat(text="Calls saved are not seconds saved: guessing costs time too. Both are measured below.", look="claim",
             when={"kind": "done", "lane": "speculative"}),
    ),
    question=Question(
        text="The guesses of draft A stay 82 % of the time, at a third of the big model's cost; those of B 75 %, at a "
        "fiftieth. Seven guesses a round. Which is faster?",
        answers=(
            Answer(text="B", right=True, why="B is 3.2 times as fast as no draft, A 1.3 times: seven "
                   "guesses of A cost more than two big calls."),
            Answer(text="A, more of its guesses stay", why="Seven guesses of A cost more than two big calls."),
            Answer(text="Neither, a check is always needed", why="One check covers all seven guesses."),
        ),
    ),
    claims=(
        Claim(id="law", kind="law", must=True, title="The text keeps the big model's odds",
              text="Each text is as likely as the big model alone would make it; three broken rules are caught.",
              unit="p-value", paper={"value": None, "unit": "", "where": "appendix A.1"}, measure=claims.law),
        Claim(id="tokens-per-call-formula", kind="ratio", must=True, title="Words a round follow the formula",
              text="If each of γ guesses stays with chance α, a round writes 1 + α + α² + … + αᵞ words.",
              unit="measured over formula", paper={"value": 1, "unit": "", "where": "eq. 1"},
              measure=claims.tokens_per_call_formula),
        Claim(id="calls-saved", kind="ratio", must=True, title="Fewer calls of the big model",
              text="Each call of the big model writes more than one word.", unit="words a call",
              baseline="one word at a time: 1", threshold={"op": ">", "value": 1.0},
              paper={"value": None, "unit": "", "where": "table 2: 1.4 to 3.4 times faster on T5-XXL"},
              measure=claims.calls_saved),
        Claim(id="wall", kind="time", must=False, title="And time?",
              text="Writing a word with drafts takes less time than without.", unit="times faster, per word",
              baseline="the same target, cached, one word at a time",
              paper={"value": 2.6, "unit": "x", "where": "table 2, T5-XXL with T5-small, temperature 1"},
              measure=claims.wall),
        Claim(id="better-draft-is-not-faster", kind="ratio", must=False, title="The better draft is not the faster one",
              text="The draft whose guesses stay most often is not the one that writes fastest.",
              unit="its time over the fastest draft's", paper={"value": 1.7, "unit": "x", "where": "table 2: T5-small "
              "2.6 times, T5-large 1.4 times"}, measure=claims.better_draft_is_not_faster),
    ),
    difficulty=2, minutes=3, seed=16,
    why_this_seed="six of the draft's guesses fall, a name and an animal among them", together=_drafted,
)


def offered() -> tuple[Exhibit, ...]:
    """Both, with a choice of text if there is one: of those whose networks are here, checkpoints included."""
    text = offer({name: voice.text().label for name, voice in page.VOICES.items() if voice.stored()})
    return tuple(replace(e, settings=(*text, *e.settings)) for e in (NEXT_TOKEN, SPECULATIVE))


EXHIBITS = (*offered(), REASONING_GAP)
