"""The exhibits of discrete diffusion over stories."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from engines import story_settings
from engines.discrete_diffusion import claims, page, radd_claims, rules
from engines.discrete_diffusion.radd import TWIN, radd, sedd
from engines.discrete_diffusion.unmask import NET, masked_diffusion
from engines.errors import Refused
from engines.exhibit import (
    Answer,
    Beat,
    Bool,
    Choice,
    Claim,
    Exhibit,
    Float,
    Int,
    Lane,
    LaneRef,
    Paper,
    Question,
)
from engines.story_settings import BLANKS, PATTERN, SHARE, story_of_ones_own
from engines.worlds import stories
from engines.worlds.texts import STORIES


def _net(s: SimpleNamespace) -> list[str]:
    return [] if getattr(s, "oracle", False) else [NET]


def _twin(s: SimpleNamespace) -> list[str]:
    return [TWIN]


def _warm(s: SimpleNamespace) -> None:
    stories.automaton()


STORY = story_of_ones_own(lambda s: STORIES)


def _story_only(s: SimpleNamespace, seed: int) -> None:
    story_settings.together(STORIES, s, seed)


def _together(s: SimpleNamespace, seed: int) -> None:
    """Refuse what contradicts itself: blanks that are not there, a cache that nothing is left for, coins that count."""
    _story_only(s, seed)
    if s.cache in ("prefix", "dual") and s.oracle:
        raise Refused("cache: the grammar has no keys and values to keep; choose none or exact, or ask the network",
                      "cache")


ENDING = Choice(name="ending", default="told", label="The end", advanced=True,
                choices={"told": "is told", "free": "any time", "late": "last"},
                help="Is the length of the story known? If not, the model must also write its end and what lies behind "
                "it; “last” opens those cells only when nothing else is left.")
TOP_P = Float(name="top_p", default=1.0, min=0.05, max=1.0, step=0.05, label="Top-p", advanced=True,
              help="Keep the smallest set of words that holds this much probability; 1 is off.")

MASKED_DIFFUSION = Exhibit(
    slug="masked-diffusion",
    title="Out of the blanks, in any order",
    line="One network says what every blank might hold, all at once. Which blanks to open, and how many in one call, "
    "is up to a rule.",
    paper=Paper(
        title="Simple and Effective Masked Diffusion Language Models; Large Language Diffusion Models; Fast-dLLM",
        authors="Sahoo et al.; Nie et al.; Wu et al.", venue="NeurIPS 2024 and after", arxiv="2406.07524",
        links={"paper": "https://arxiv.org/abs/2406.07524", "LLaDA": "https://arxiv.org/abs/2502.09992",
               "Dream": "https://arxiv.org/abs/2508.15487", "Fast-dLLM": "https://arxiv.org/abs/2505.22618"},
    ),
    family="discrete_diffusion",
    map={"what": "words", "order": "any blanks", "at_once": "as many as the rule allows", "revisable": False},
    settings=(
        Choice(name="order", default="confidence", label="Which first", choices=rules.ORDERS,
               help="The surest word, the clearest lead over the second, the least open question, chance, from left to "
               "right; or each blank opens by a coin of its own, and then “how many” has no say."),
        Choice(name="amount", default="threshold", label="How many", choices=rules.AMOUNTS,
               help="All that are sure enough; as many as are sure together; as many as fit into a budget of doubt; or "
               "equally many in each step. At least one."),
        Float(name="tau", default=0.9, min=0.5, max=1.0, step=0.01, label="Sure means at least",
              help="For “all that are sure”: the chance that a word must have (τ)."),
        Int(name="steps", default=16, min=1, max=64, label="Steps",
            help="For “equal steps” and for coins: in how many steps the blanks are opened."),
        replace(SHARE, default=60, max=100),
        PATTERN,
        Int(name="block", default=64, min=1, max=64, label="Block", unit="cells",
            help="Blocks of so many cells are finished from left to right. 64 is the whole page, 1 is left to right."),
        Float(name="temperature", default=1.0, min=0.0, max=1.5, step=0.1, label="Temperature",
              help="How freely words are drawn. At 0 each blank takes its likeliest word."),
        BLANKS,
        STORY,
        Bool(name="oracle", default=False, label="Ask the grammar",
             help="The exact chances take the network's place: what is left of the errors is the rule's own."),
        Float(name="factor", default=1.0, min=0.2, max=2.0, step=0.1, label="Factor", advanced=True,
              help="For “sure together”: n words are opened while (n + 1) times the doubt of the least sure stays "
              "below it. Up to 1 this is safe."),
        Float(name="gamma", default=0.5, min=0.0, max=3.0, step=0.1, label="Budget", unit="nats", advanced=True,
              help="For “within a budget”: the doubt (entropy) that one step may take on, all its words together."),
        Choice(name="cache", default="none", label="Cache", advanced=True,
               choices={"none": "none", "exact": "unchanged pages", "prefix": "words before the block",
                        "dual": "all but the block"},
               help="What is not computed again. Unchanged pages: the same answer. The other two keep what the rest of "
               "the page was like when the block began: faster, and only nearly the same."),
        Float(name="guidance", default=0.0, min=0.0, max=3.0, step=0.25, label="Guidance", advanced=True,
              help="How strongly the given words pull. Above 0 the page is also read without them: two evaluations a "
              "call."),
        Float(name="remask", default=0.0, min=0.0, max=0.3, step=0.01, label="Hide again", advanced=True,
              help="An extra that none of these papers has: after each of the first steps every written word is hidden "
              "again with this chance."),
        TOP_P,
        Float(name="order_temperature", default=0.0, min=0.0, max=1.0, step=0.05, label="Loose order", advanced=True,
              help="Above 0 the order is drawn, the surest more often first, instead of kept strictly."),
        ENDING,
    ),
    lanes={
        "unmask": Lane(decode=masked_diffusion, title="Your rules", nets=_net, vocabulary=page.vocabulary, warm=_warm,
                       line="As many blanks a call as the rule allows."),
        "one-by-one": LaneRef(slug="masked-diffusion", lane="unmask", title="One at a time",
                              settings={"amount": "fixed", "steps": 64},
                              line="The same network and order, one blank a call."),
        "random": LaneRef(slug="masked-diffusion", lane="unmask", title="Any, in equal steps", default=False,
                          settings={"order": "random", "amount": "fixed"},
                          line="Which blanks are opened is left to chance, equally many in each step."),
        "oracle": LaneRef(slug="masked-diffusion", lane="unmask", title="Your rules, exact chances", default=False,
                          settings={"oracle": True, "cache": "none"},
                          line="The grammar answers in place of the network."),
        "remask": LaneRef(slug="masked-diffusion", lane="unmask", title="Extra: words hidden again", default=False,
                          settings={"remask": 0.05}, line="Not in these papers: written words can be taken back."),
        "causal": LaneRef(slug="next-token", lane="filtered", title="Left to right only", default=False,
                          settings={"given": 6, "words": "", "temperature": 1.0, "top_p": 1.0, "min_p": 0.0,
                                    "top_k": 0},
                          line="A network as large that sees only what stands before, from six words on."),
    },
    beats=(
        Beat(text="The network reads the page once and says what every blank might hold. The bars show how sure it is.",
             look="stage", when={"kind": "measure", "lane": "unmask", "name": "confidence"}),
        Beat(text="All blanks that are sure enough are opened in this one call. They could not see each other.",
             look="stage", when={"kind": "commit", "lane": "unmask"}),
        Beat(text="If none is sure, one is opened all the same: the surest. Then the page is read again.",
             look="timeline", when={"kind": "note", "lane": "unmask"}),
        Beat(text="Each word was one of several. The upright line is its true chance, given all that stood there.",
             look="inspector", when={"kind": "commit", "lane": "one-by-one"}),
        Beat(text="Fewer calls, and as many good stories? Both are measured below, for each rule.", look="claim",
             when={"kind": "done", "lane": "unmask"}),
    ),
    question=Question(
        text="Two blanks, and only “New York” or “Los Angeles” fit, both equally likely. Both are opened at once. How "
        "often is it nonsense?",
        answers=(
            Answer(text="Half the time", right=True,
                   why="Each blank flips its own coin. Both are only half sure, so a rule that asks for 90 % waits."),
            Answer(text="Never", why="Opened together, the blanks cannot see each other: “New Angeles” can happen."),
            Answer(text="A quarter of the time",
                   why="Of four equally likely pairs two are nonsense: “New Angeles” and “Los York”."),
        ),
    ),
    claims=(
        Claim(id="price-of-parallelism", kind="exact", must=True, title="What opening together costs",
              text="With exact chances, the gap between what is written and the truth is the total correlation of the "
              "blanks opened together, to a millionth.",
              unit="nats, largest difference", baseline="every page enumerated",
              paper={"value": 0, "unit": "nats", "where": "an identity; Fast-dLLM: the curse of parallel decoding"},
              measure=claims.price_of_parallelism),
        Claim(id="law-random-one-by-one", kind="law", must=True, title="One at a time, in random order, is fair",
              text="Pages filled one random blank at a time have the model's own odds. The surest first, or two at a "
              "time, do not: both are caught.",
              unit="p-value", paper={"value": None, "unit": "", "where": "2406.07524 and 2406.03736: any-order view"},
              measure=claims.law_random_one_by_one),
        Claim(id="calls-at-equal-validity", kind="ratio", must=True, title="Fewer calls, as many good stories",
              text="Opening all that are at least 90 % sure takes at most half the calls of one at a time and loses at "
              "most 3 points of validity, on stories with 40 % blanks at temperature 0.",
              unit="times fewer calls", baseline="one at a time: same network, order, blanks and noise",
              paper={"value": 2.45, "unit": "x", "where": "Fast-dLLM on GSM8K: 16.5 against 6.73 tokens a second"},
              threshold={"op": ">=", "value": 2.0}, measure=claims.calls_at_equal_validity),
        Claim(id="rules-curve", kind="difference", must=False, title="Which rule is worth its calls",
              text="With a quarter as many calls as blanks, the least open blanks first write more valid stories than "
              "random ones, by 5 points or more.",
              unit="share of valid stories", baseline="random blanks, as many calls",
              paper={"value": None, "unit": "", "where": "Dream: entropy recommended; figures on other tasks"},
              threshold={"op": ">=", "value": 0.05}, measure=claims.rules_curve),
        Claim(id="parallel-theorem", kind="exact", must=True, title="When opening together is safe",
              text="If n words each have more than 1 − ε, and (n + 1) ε is at most 1, the likeliest words one by one "
              "are the likeliest together. No counter-example in random joints.",
              unit="share of joints", baseline="joints where two or more words qualify",
              paper={"value": 1, "unit": "", "where": "Fast-dLLM, theorem 1"}, measure=claims.parallel_theorem),
        Claim(id="block-size", kind="difference", must=False, title="Blocks, when the end must be written",
              text="Writing in blocks from left to right gives more valid stories than opening the whole page in any "
              "order.",
              unit="share of valid stories, best block minus whole page", baseline="the whole page, as many steps",
              paper={"value": 0.092, "unit": "", "where": "LLaDA on GSM8K: 78.6 in blocks of 8, 69.4 without"},
              threshold={"op": ">", "value": 0.0}, measure=claims.block_size),
    ),
    difficulty=2, minutes=4, seed=7, together=_together,
)

RADD = Exhibit(
    slug="radd",
    title="Not told the time",
    line="A diffusion network that does not know how far it has come. When a step opens nothing, its last answer still "
    "holds, and nothing need be computed.",
    paper=Paper(
        title="Your Absorbing Discrete Diffusion Secretly Models the Conditional Distributions of Clean Data",
        authors="Ou, Nie, Xue, Zhu, Sun, Li, Li", venue="ICLR 2025", arxiv="2406.03736",
        links={"paper": "https://arxiv.org/abs/2406.03736", "code": "https://github.com/ML-GSAI/RADD",
               "the timed twin (SEDD)": "https://arxiv.org/abs/2310.16834"},
    ),
    family="discrete_diffusion",
    map={"what": "words", "order": "any blanks", "at_once": "each by its own coin", "revisable": False},
    settings=(
        Int(name="steps", default=64, min=1, max=512, label="Steps",
            help="In how many steps noise becomes text. More steps, fewer words opened at once."),
        replace(SHARE, default=100, max=100),
        PATTERN,
        Bool(name="cache", default=True, label="Keep the answer",
             help="Use the last answer again when the page has not changed. The text stays the same."),
        Choice(name="order", default="diffusion", label="Order",
               choices={"diffusion": "by coins", "forward": "left to right", "backward": "right to left",
                        "random": "random"},
               help="By coins is diffusion. The others open one blank a step: the same network, one word at a time."),
        BLANKS,
        STORY,
        TOP_P,
        Int(name="top_k", default=0, min=0, max=100, label="Top-k", advanced=True,
            help="Keep only the k likeliest words; 0 is off."),
        ENDING,
    ),
    lanes={
        "radd": Lane(decode=radd, title="Not told the time", nets=_net, vocabulary=page.vocabulary, warm=_warm,
                     line="Asked only when a word has been opened."),
        "sedd": Lane(decode=sedd, title="Told the time", nets=_twin, vocabulary=page.vocabulary, warm=_warm,
                     line="The same size, asked at every step: its answer changes with the clock."),
        "uncached": LaneRef(slug="radd", lane="radd", title="Not told the time, no memory", settings={"cache": False},
                            default=False, line="The same text, asked at every step."),
        "ordered": LaneRef(slug="radd", lane="radd", title="One at a time, random order", settings={"order": "random"},
                           default=False, line="The same network, one blank a step."),
    },
    beats=(
        Beat(text="The page starts blank. In each step every blank tosses a coin: open, or wait.", look="stage",
             when={"kind": "commit", "lane": "radd"}),
        Beat(text="Some steps open nothing. This network is not told the time, so its answer is still true: no call.",
             look="timeline", when={"kind": "note", "lane": "radd", "key": "diffusion.unchanged"}),
        Beat(text="Its twin is told how noisy the page is. At every step that changes, so every step costs a call.",
             look="timeline", when={"kind": "forward", "lane": "sedd"}),
        Beat(text="The curve counts calls; the dashed line is what the paper predicts.", look="stage",
             when={"kind": "measure", "lane": "radd", "name": "expected"}),
        Beat(text="However many steps: never more calls than words. All of it is measured below.", look="claim",
             when={"kind": "done", "lane": "radd"}),
    ),
    question=Question(
        text="We double the steps from 128 to 256, for a text of 32 words. How many more times is the network asked?",
        answers=(
            Answer(text="Fewer than 2 more", right=True,
                   why="From 28.4 to 30.1 calls: almost every word was already opened alone, and 32 is the most."),
            Answer(text="128 more", why="Only a step that follows a change costs a call. Most of them change nothing."),
            Answer(text="Twice as often", why="There are 32 words to open, so there can never be more than 32 calls."),
        ),
    ),
    claims=(
        Claim(id="nfe-law", kind="ratio", must=True, title="How often it is asked",
              text="Calls counted in runs of n steps over l blanks follow n (1 − (1 − 1/n)ˡ) within 3 %, for n from 8 "
              "to 512. What the network says makes no difference to it.",
              unit="counted over formula, at the worst n",
              paper={"value": 1, "unit": "", "where": "section 4.1"}, measure=radd_claims.nfe_law),
        Claim(id="cache-is-exact", kind="exact", must=True, title="The same text, fewer calls",
              text="With and without the cache, the same words are written in the same steps.", unit="share of runs",
              baseline="the same network asked at every step", paper={"value": 1, "unit": "", "where": "section 4.1"},
              measure=radd_claims.cache_is_exact),
        Claim(id="four-losses-agree", kind="difference", must=True, title="Four losses are one",
              text="t-DSE, t-DCE, λ-DCE and the any-order loss of the trained network agree within three standard "
              "errors; two broken ones do not.",
              unit="standard errors, largest gap", paper={"value": 0, "unit": "", "where": "theorem 2"},
              measure=radd_claims.four_losses_agree),
        Claim(id="time-net-cannot-cache", kind="exact", must=True, title="Told the time, answers age",
              text="When a page stays the same from one step to the next, the timed network's answer changes each "
              "time, the other's never.",
              unit="share of unchanged steps", baseline="the network that is not told the time",
              paper={"value": 1, "unit": "", "where": "section 4.1"}, measure=radd_claims.time_net_cannot_cache),
        Claim(id="radd-vs-sedd-bound", kind="difference", must=False, title="Is less told more learnt?",
              text="The bound on held-out stories is lower for the network that is not told the time.",
              unit="nats a story, told minus not told", baseline="the timed twin: equal parameters, stories, steps",
              paper={"value": None, "unit": "", "where": "table 1: perplexity 37.5 against 40.6 on WikiText-103"},
              threshold={"op": ">", "value": 0.0}, measure=radd_claims.radd_vs_sedd_bound),
    ),
    difficulty=3, minutes=4, seed=7, together=_story_only,
)

EXHIBITS = (MASKED_DIFFUSION, RADD)
