"""The exhibit of drafted continuous tokens."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from engines.exhibit import Answer, Beat, Bool, Choice, Claim, Exhibit, Float, Int, Lane, Paper, Question
from engines.masked_continuous import canvas, cspd_claims
from engines.masked_continuous.cspd import alone, cspd, draft, target
from engines.masked_continuous.model import DRAFT, NET, VAE
from engines.scene_settings import CAPTION


def _both(s: SimpleNamespace) -> list[str]:
    return [NET, DRAFT, VAE]


def _big(s: SimpleNamespace) -> list[str]:
    return [NET, VAE]


def _small(s: SimpleNamespace) -> list[str]:
    return [DRAFT, VAE]


CSPD = Exhibit(
    slug="cspd",
    title="Guesses out of noise",
    line="A small net guesses patches that are plain numbers. A big net starts from the same noise, sees how far it "
    "would have come out elsewhere, and keeps a guess or draws anew.",
    paper=Paper(
        title="Continuous Speculative Decoding for Autoregressive Image Generation",
        authors="Wang, Zhang, Ding, Yang, Li, Xiang", venue="arXiv 2024", arxiv="2411.11925",
        links={"paper": "https://arxiv.org/abs/2411.11925", "code": "https://github.com/MarkXCloud/CSpD",
               "the nets that it speeds up (MAR)": "https://arxiv.org/abs/2406.11838",
               "the rule for words": "https://arxiv.org/abs/2211.17192"},
    ),
    family="masked_continuous",
    map={"what": "pictures", "order": "set by set", "at_once": "four sets", "revisable": True},
    settings=(
        CAPTION,
        replace(canvas.ORDER, help="Which places come first: a name, or cells that you paint."),
        Int(name="gamma", default=4, min=1, max=16, label="Sets guessed ahead", unit="sets",
            help="So many sets are guessed before the big net is called once to check them all."),
        Float(name="share", default=0.05, min=0.0, max=1.0, step=0.05, label="Big net alone at first",
              help="Share of the sets that the big net draws itself, while there is little to look at. At 1 nothing is "
              "guessed."),
        Bool(name="aligned", default=True, label="Shared noise",
             help="Both nets start from the same noise and add the same noise on the way, so they come out nearer to "
             "each other. Off: the big net has noise of its own."),
        Choice(name="rule", default="exact", label="Rule",
               choices={"exact": "keeps the big net's odds", "paper": "the paper's Σ", "code": "Σ as in its code"},
               help="Σ multiplies a guess's chance to stay by how much wider the small net's steps spread than the big "
               "one's, all multiplied. We found that the odds are then no longer the big net's: see the claims."),
        Float(name="inner_temperature", default=1.0, min=1.0, max=64.0, step=1.0, label="Inner temperature",
              help="How forgiving the check is. 1 is exact. The official code has 42: nearly every guess stays, and "
              "the odds are no longer those of the big net."),
        Float(name="guidance", default=2.0, min=1.0, max=5.0, step=0.25, label="Guidance",
              help="How strongly the caption pulls; 1 adds nothing to what the networks learned."),
        Bool(name="previews", default=True, label="Show it growing",
             help="Sketch unfinished pictures on the way, and tell how the two nets walked. Never counted in a lane's "
             "time."),
        Int(name="sets", default=16, min=2, max=64, label="Sets", unit="sets", advanced=True,
            help="In how many sets the 64 places are drawn or guessed. The first are small, the last are large."),
        Int(name="inner", default=25, min=5, max=50, label="Inner steps", unit="steps", advanced=True,
            help="Steps from noise to token, the same for both nets."),
        Int(name="finish", default=160, min=0, max=400, label="Where the last step begins", unit="of 1,000",
            advanced=True,
            help="How much noise is left before the last step, and so how widely it spreads. At 0, as officially, it "
            "is so sharp that an exact check keeps nothing. Up to about 200 pictures are hardly worse."),
        Float(name="temperature", default=0.8, min=0.1, max=1.2, step=0.05, label="Temperature", advanced=True,
              help="How much noise the inner steps add. 1 is the paper's; less keeps colours apart."),
        Choice(name="schedule", default="constant", label="Guidance over time", advanced=True,
               choices={"constant": "full from the start", "linear": "rises set by set"},
               help="Rising guidance is told to a check as strongly as to the last set of its round, so it pulls more "
               "there than set by set. Constant guidance is equal in all lanes."),
    ),
    lanes={
        "cspd": Lane(decode=cspd, title="Guess and check", nets=_both, interventions=("reseed",),
                     line="The small net guesses four sets, the big one checks them in one call."),
        "target": Lane(decode=target, title="Big net, set by set", nets=_big, interventions=("reseed",),
                       line="One call for each set."),
        "alone": Lane(decode=alone, title="Big net, same rounds, no guesses", nets=_big, interventions=("reseed",),
                      default=False, line="It draws in each round what it would have checked."),
        "draft": Lane(decode=draft, title="Small net only", nets=_small, interventions=("reseed",), default=False,
                      line="All guesses stay: nobody checks."),
    },
    beats=(
        Beat(text="The big net draws the first place itself: the paper found that on an empty canvas few guesses stay.",
             look="stage", when={"kind": "forward", "lane": "cspd", "mode": "prefill"}),
        Beat(text="The small net guesses, set after set. Each guess begins as noise, and that noise is kept for later.",
             look="stage", when={"kind": "propose", "lane": "cspd"}),
        Beat(text="One call of the big net for all of them: from the same noise it walks to each place itself. How far "
             "do the two end apart? Choose a square and see both walks.",
             look="inspector", when={"kind": "forward", "lane": "cspd", "mode": "verify", "net": NET}),
        Beat(text="A guess stays with chance p over q: how likely it is to the big net, over how likely to the small "
             "one. Here most must go: eight numbers have to fit at once.",
             look="inspector", when={"kind": "reject", "lane": "cspd"}),
        Beat(text="What is refused is drawn anew from what is left of p above q, by trying until one fits. So the odds "
             "are the big net's, exactly.", look="stage",
             when={"kind": "commit", "lane": "cspd", "origin": "repaired"}),
        Beat(text="Five calls of the big net instead of sixteen, whatever was kept. But the same five calls without "
             "any guesses give the same odds: switch on that lane and compare the clocks.", look="claim",
             when={"kind": "done", "lane": "cspd"}),
    ),
    question=Question(
        text="The big net gets noise of its own instead of sharing the small net's. What changes?",
        answers=(
            Answer(text="More guesses are drawn anew", right=True,
                   why="The nets come out further apart, so fewer guesses stay. The calls are as many as before, and a "
                   "token drawn anew is as good: it has the big net's odds."),
            Answer(text="The picture gets worse", why="An exact check keeps the big net's odds whatever the guesses "
                   "were. Bad guesses are only thrown away more often."),
            Answer(text="It takes many more calls", why="For words, yes: there a refused guess ends the round. Here "
                   "every place gets a token in each round, kept or drawn anew."),
        ),
    ),
    claims=(
        Claim(id="law-toy-aligned", kind="law", must=True, title="The odds are those of the big net",
              text="With shared noise and without Σ, what is kept or drawn anew has exactly the target's law, on a "
              "line and on a plane where that law is known; four broken checks are caught.",
              unit="", baseline="the target's own law, worked out by hand",
              paper={"value": None, "unit": "", "where": "abstract: the output distribution is preserved"},
              measure=cspd_claims.law),
        Claim(id="acceptance-with-alignment", kind="difference", must=True, title="Shared noise keeps more guesses",
              text="The chance of a guess to stay, with shared noise minus with separate noise, by the trained nets.",
              unit="chance to stay", baseline="the same guesses, checked with noise of the target's own",
              paper={"value": None, "unit": "", "where": "trajectory alignment raises acceptance"},
              measure=cspd_claims.alignment),
        Claim(id="wall", kind="time", must=False, title="Is it faster?",
              text="Time of a picture drawn set by set by the big net, over time with guesses and checks.",
              unit="times faster", baseline="the big net, the same sets, inner steps and guidance",
              paper={"value": 2.33, "unit": "x", "where": "abstract of the first version, on a GPU"},
              measure=cspd_claims.wall),
        Claim(id="ratio-sigma-breaks-the-law", kind="ratio", must=False, title="Σ bends the odds",
              text="Our own finding: with Σ in the check, tokens spread wider than the target's. The spread on the "
              "line, over the target's.",
              unit="spread over the target's", baseline="the same check without Σ: 1",
              paper={"value": None, "unit": "", "where": "not in the paper, which keeps Σ; measured here"},
              measure=cspd_claims.sigma),
        Claim(id="judge", kind="difference", must=False, title="What was asked for is there",
              text="Percent of objects that a judge finds right, with guesses and checks minus set by set.",
              unit="points", baseline="the big net, set by set, the same captions",
              paper={"value": None, "unit": "", "where": "FID nearly unchanged"}, measure=cspd_claims.judge_),
    ),
    difficulty=4, minutes=5, seed=65,
    why_this_seed="four toys, no shape and no colour twice, and about one guess in seven kept",
)
