"""The exhibit of chains of thought in a world that was read in parts."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from engines.exhibit import Answer, Beat, Choice, Claim, Exhibit, Int, Lane, Paper, Question
from engines.next_token import gap_claims as claims
from engines.next_token.gap_chains import (
    MAX_CHAINS,
    NETS,
    WORLDS,
    Plan,
    answer,
    at_once,
    elsewhere,
    freely,
    scaffolded,
)
from engines.worlds import bayes


def _net(s: SimpleNamespace) -> list[str]:
    return [NETS[s.training]]


def _warm(s: SimpleNamespace) -> None:
    bayes.nets()


def values(s: SimpleNamespace) -> dict[Any, int]:
    """What a user may force at a variable."""
    return {0: 0, 1: 1}


def _lane(plan: Plan, title: str, line: str, **more: Any) -> Lane:
    return Lane(decode=partial(answer, plan=plan, title=title), title=title, line=line, nets=_net, warm=_warm, **more)


REASONING_GAP = Exhibit(
    slug="reasoning-gap",
    title="Why think step by step?",
    line="The network has read many short texts, never one with both of these variables. Asked for one given the "
    "other, it does better if it may first write down what lies between.",
    paper=Paper(
        title="Why think step by step? Reasoning emerges from the locality of experience",
        authors="Prystawski, Li, Goodman", venue="NeurIPS 2023", arxiv="2304.03843",
        links={"paper": "https://arxiv.org/abs/2304.03843",
               "code": "https://github.com/benpry/why-think-step-by-step"},
    ),
    family="next_token",
    map={"what": "values of variables", "order": "the model chooses", "at_once": "one", "revisable": False},
    settings=(
        Choice(name="training", default="local", label="What it read",
               choices={"local": "neighbourhoods", "full": "all at once", "wrong": "wrong neighbourhoods"},
               help="Texts about a variable and those near it; about all variables; or about variables that are near "
               "each other in another net. No text ever held both variables of the question."),
        Int(name="chains", default=10, min=1, max=MAX_CHAINS, label="Chains", unit="chains",
            help="How many times the model thinks aloud; its answers are averaged."),
        Choice(name="world", default=WORLDS[2], label="Net", choices={w: w for w in WORLDS},
               help="Which of ten random nets of twenty-six yes-or-no variables. The network has read about all."),
        Int(name="pair", default=0, min=0, max=2 * bayes.HELD_OUT, label="Question",
            help="Which variable is given and which is asked for; 0 lets the seed choose."),
        Choice(name="value", default="seed", label="Given value", choices={"seed": "the seed's", "0": "0", "1": "1"},
               help="What the given variable is."),
    ),
    lanes={
        "free": _lane(freely, "Thinking freely", "The model names the next variable itself, draws its value, and goes "
                      "on until it names the one asked for.", vocabulary=values),
        "direct": _lane(at_once, "Answering at once", "No steps: the answer is read straight after the question.",
                        interventions=("reseed",)),
        "scaffold": _lane(scaffolded, "The right steps", "The variables that separate the two in the graph, nearest "
                          "first; the model draws their values.", vocabulary=values, default=False),
        "negative": _lane(elsewhere, "Wrong steps", "As many variables, but such as have nothing to do with it.",
                          vocabulary=values, default=False),
    },
    beats=(
        Beat(text="The filled node is given, the double ring is asked for. Discs show how often training told of a "
             "variable together with the one asked for: never of the given one.", look="stage",
             when={"kind": "measure", "lane": "free", "name": "company"}),
        Beat(text="The model names a variable and draws its value. That is a local question, as in its training.",
             look="inspector", when={"kind": "commit", "lane": "free"}),
        Beat(text="The chain walks through the net until it names the target. Then the answer is read, not drawn.",
             look="stage", when={"kind": "propose", "lane": "free"}),
        Beat(text="One chain can go astray: its values were drawn by chance. The mean of many is what counts.",
             look="stage", when={"kind": "measure", "lane": "free", "name": "estimate", "nth": 9}),
        Beat(text="Answered at once, the same network falls back on what is usual for the target.", look="stage",
             when={"kind": "propose", "lane": "direct"}),
        Beat(text="Let it read all variables at once, and the gap is gone: then nothing lies between.", look="claim",
             when={"kind": "done", "lane": "free"}),
    ),
    question=Question(
        text="The model may think aloud ONCE, then its answer is read. Is that better than answering at once?",
        answers=(
            Answer(text="No, worse", right=True,
                   why="A single chain draws its steps by chance, so it is all or nothing. In the paper its error is "
                   "0.062 against 0.027 at once; ten chains averaged reach 0.014."),
            Answer(text="Yes, thinking helps",
                   why="Averaged over many chains it does. A single chain adds the chance of its own dice."),
            Answer(text="It makes no difference", why="The dice of a single chain make its answer worse on average."),
        ),
    ),
    claims=(
        Claim(id="gap-local", kind="difference", must=True, title="Thinking helps where reading was local",
              text="Squared error of answers at once minus that of ten free chains, on pairs three or more edges apart "
              "and never read together. In smaller nets, of 16 and 20 variables, ours learned to answer at once too: "
              "no gap.",
              unit="squared error", baseline="the same network, the same questions, answered at once",
              paper={"value": 0.0132, "unit": "squared error", "where": "its data: 0.0272 at once, 0.0140 free; mean "
                     "of ten nets"},
              threshold={"op": ">", "value": 0.0}, measure=claims.gap_local),
        Claim(id="gap-full-observation", kind="difference", must=True, title="No gap where all was read together",
              text="Trained on texts with all variables, ten free chains gain next to nothing: at most 0.02, a quarter "
              "of what an answer is off that ignores what is given.",
              unit="squared error", baseline="the same network, the same questions, answered at once",
              paper={"value": -0.0015, "unit": "squared error", "where": "its data: 0.0347 at once, 0.0362 free"},
              threshold={"op": "<=", "value": 0.02}, measure=claims.gap_full_observation),
        Claim(id="one-chain-vs-ten", kind="ratio", must=False, title="Once is not enough",
              text="Error of a single free chain over that of ten averaged.", unit="error over error",
              baseline="the same chains, the first of them alone",
              paper={"value": 4.4, "unit": "error over error", "where": "its data: 0.0621 with one chain, 0.0140 with "
                     "ten"},
              threshold={"op": ">=", "value": 2.0}, measure=claims.one_chain_vs_ten),
        Claim(id="data-efficiency", kind="ratio", must=False, title="Thinking in place of seeing",
              text="Error of ten free chains on pairs never read together, over that of answering at once after "
              "reading them together, as many tokens.",
              unit="error over error", baseline="the same network and tokens, every text with all variables",
              paper={"value": 1.0, "unit": "error over error", "where": "its data: 0.0140 against 0.0140 at the end of "
                     "training"},
              threshold={"op": "<=", "value": 1.0}, measure=claims.data_efficiency),
    ),
    difficulty=2, minutes=3, seed=16, why_this_seed="at once it is far off, ten chains come near the truth",
)
