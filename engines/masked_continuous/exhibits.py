"""The exhibits of this room: `mar` here, what guesses ahead for it in cspd_exhibits.py."""

from __future__ import annotations

from types import SimpleNamespace

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
from engines.masked_continuous import canvas, claims
from engines.masked_continuous.cspd_exhibits import CSPD
from engines.masked_continuous.mar import mar
from engines.masked_continuous.maskgit import maskgit
from engines.masked_continuous.model import NET, TWIN, VAE, VQ
from engines.scene_settings import CAPTION


def _mar_nets(s: SimpleNamespace) -> list[str]:
    return [NET, VAE]


def _maskgit_nets(s: SimpleNamespace) -> list[str]:
    return [TWIN, VQ]


MAR = Exhibit(
    slug="mar",
    title="Sets out of noise",
    line="Each patch is eight plain numbers, not a code. A transformer says what a set of patches needs; a tiny "
    "diffusion draws it.",
    paper=Paper(
        title="Autoregressive Image Generation without Vector Quantization",
        authors="Li, Tian, Li, Deng, He", venue="NeurIPS 2024", arxiv="2406.11838",
        links={"paper": "https://arxiv.org/abs/2406.11838", "code": "https://github.com/LTH14/mar",
               "the discrete twin (MaskGIT)": "https://arxiv.org/abs/2202.04200"},
    ),
    family="masked_continuous",
    map={"what": "pictures", "order": "set by set", "at_once": "few, then many", "revisable": False},
    settings=(
        CAPTION,
        canvas.ORDER,
        Int(name="sets", default=16, min=1, max=64, label="Sets", unit="calls",
            help="In how many sets the 64 places are drawn. The first sets are small, the last are large; with 64 each "
            "set is one place."),
        Int(name="inner", default=25, min=5, max=100, label="Inner steps", unit="steps",
            help="Steps from noise to token, for each set. They are calls of the small head, not of the transformer."),
        Float(name="guidance", default=claims.BEST[NET].guidance, min=1.0, max=6.0, step=0.25, label="Guidance",
              help="How strongly the caption pulls; 1 adds nothing to what the network learned."),
        Float(name="temperature", default=claims.BEST[NET].tau, min=0.0, max=1.2, step=0.05, label="Temperature",
              help="How much noise the inner steps add on the way. 1 is the paper's; less keeps colours apart. At 0 a "
              "token is decided by where it starts."),
        Bool(name="previews", default=True, label="Show it growing",
             help="Sketch unfinished pictures on the way, by a small network. They never count in a lane's time."),
        Choice(name="schedule", default="linear", label="Guidance over time", advanced=True,
               choices={"linear": "rises set by set", "constant": "full from the start"},
               help="Rising guidance leaves the first places free and makes the last ones follow."),
        Float(name="gumbel", default=4.5, min=0.0, max=10.0, step=0.5, label="Noise on confidence", advanced=True,
              help="For the picture of codes: how much chance there is in which codes count as sure. It fades out."),
    ),
    lanes={
        "mar": Lane(decode=mar, title="Continuous tokens", nets=_mar_nets, interventions=("reseed",),
                    line="Eight numbers a place, drawn by a diffusion head."),
        "maskgit": Lane(decode=maskgit, title="Codes, surest first", nets=_maskgit_nets, vocabulary=canvas.vocabulary,
                        line="The same transformer, one of 512 codes a place."),
        "one-by-one": LaneRef(slug="mar", lane="mar", title="Continuous, one at a time", settings={"sets": 64},
                              default=False, line="64 sets of one place each."),
    },
    beats=(
        Beat(text="The transformer sees the caption and the places that are done. For each open place it says what is "
             "needed there, but draws nothing.", look="timeline", when={"kind": "forward", "lane": "mar", "net": NET}),
        Beat(text="A small head turns noise into tokens: one set, many short steps, each place by itself.",
             look="stage", when={"kind": "preview", "lane": "mar", "name": "denoise"}),
        Beat(text="Eight plain numbers are written for each place. There is no list of codes that they must come from.",
             look="stage", when={"kind": "commit", "lane": "mar"}),
        Beat(text="The twin draws a code for every open place, keeps the surest and forgets the rest.",
             look="inspector", when={"kind": "withdraw", "lane": "maskgit"}),
        Beat(text="Sets grow along a cosine: one place first, many at the end, when there is much to look at.",
             look="timeline", when={"kind": "measure", "lane": "mar", "name": "places_a_call"}),
        Beat(text="With 16 sets, 16 calls of the transformer draw 64 places. The head's steps are many, but each is "
             "cheap.", look="claim", when={"kind": "done", "lane": "mar"}),
    ),
    question=Question(
        text="The paper draws 256 tokens in 64 sets. How many are in the first set, and how many in the last?",
        answers=(
            Answer(text="1 and 6", right=True,
                   why="After the first, floor(256 cos(π/128)) = 255 stay hidden; before the last, 6 are left. Most "
                   "are drawn late, when there is much to look at."),
            Answer(text="4 and 4", why="Those would be equal sets. The cosine starts flat: the first sets are small."),
            Answer(text="6 and 1", why="The other way round: with nothing on the canvas, many at once would not fit "
                   "together."),
        ),
    ),
    claims=(
        Claim(id="calls-vs-sets", kind="exact", must=True, title="One call of the transformer for each set",
              text="The transformer is called once a set, the head once an inner step of each set, and every place is "
              "drawn exactly once.",
              unit="share of runs", baseline="one place a set: 64 calls of the transformer",
              paper={"value": 1, "unit": "", "where": "section 3.4"}, measure=claims.calls_vs_sets),
        Claim(id="judge", kind="ratio", must=True, title="What was asked for is there",
              text="At least 93 % of objects have the right shape, colour, size and place, and at least 80 % of scenes "
              "are wholly right.",
              unit="share of objects right", baseline="held-out captions, guidance at its best",
              paper={"value": None, "unit": "", "where": "ours: the paper has class labels only"},
              measure=claims.judge),
        Claim(id="diffusion-loss-vs-discrete", kind="difference", must=False, title="Do plain numbers beat codes?",
              text="Percent of objects right with continuous tokens, minus that with codes. The transformer is the "
              "same; the tokenizers and the heads differ.",
              unit="points", baseline="the discrete twin: same transformer, sets, captions and guidance rule",
              paper={"value": None, "unit": "", "where": "table 1: a lower FID with plain numbers in every variant; "
                     "our FD-mini is among the points"},
              measure=claims.diffusion_loss_vs_discrete),
        Claim(id="temperature", kind="trend", must=False, title="Temperature is variety",
              text="Two pictures of one caption lie further apart at temperature 1 than at 0.",
              unit="percent of the range of a pixel", baseline="temperature 0, the same captions and noise",
              paper={"value": None, "unit": "", "where": "section 3.2: fidelity against diversity"},
              measure=claims.temperature),
    ),
    difficulty=3, minutes=4, seed=65,
    why_this_seed="four toys, no shape and no colour twice, which both ways of drawing get right",
)

EXHIBITS = (MAR, CSPD)
