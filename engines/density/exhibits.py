"""The exhibit of auto-encoders that learn the slope of a density."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

from engines.density import claims
from engines.density.metropolis import ERROR, LEARNED, NETS, TRUE, UNTRAINED, metropolis
from engines.density.model import NOISE, PLAIN
from engines.exhibit import Answer, Beat, Choice, Claim, Exhibit, Float, Int, Lane, Paper, Question


def _own(s: SimpleNamespace) -> list[str]:
    return [NETS[s.net]]


def _plain(s: SimpleNamespace) -> list[str]:
    return [PLAIN]


def _none(s: SimpleNamespace) -> list[str]:
    return []


DAE_SCORE = Exhibit(
    slug="dae-score",
    title="What noise teaches",
    line="A network learns to take noise off points. Its corrections turn out to point uphill, to where data are "
    "dense: enough to draw new points by.",
    paper=Paper(
        title="What Regularized Auto-Encoders Learn from the Data-Generating Distribution",
        authors="Alain, Bengio", venue="JMLR 2014", arxiv="1211.4246",
        links={"paper": "https://arxiv.org/abs/1211.4246"},
    ),
    family="density",
    map={"what": "points in the plane", "order": "step by step", "at_once": "one jump a walker", "revisable": False},
    settings=(
        Choice(name="density", default="eight", label="Data",
               choices={"eight": "eight blobs", "moons": "moons", "spiral": "spiral", "blobs": "two blobs"},
               help="Where the points lie that the network was trained on."),
        Choice(name="sigma", default="0.2", label="Noise in training", choices={f"{x:g}": f"{x:g}" for x in NOISE},
               help="How far training points were shaken (σ). The arrows are those of the data blurred by so much."),
        Choice(name="net", default="dae", label="Network",
               choices={"dae": "takes noise off", "rcae": "contracts", "tied": "takes noise off, tied weights"},
               help="Trained on noisy points; or on clean ones, with a price on its own slope; or on noisy ones with "
               "one matrix for both layers, so that its arrows are a true gradient."),
        Float(name="step", default=0.3, min=0.05, max=1.0, step=0.05, label="Size of a jump",
              help="How far a proposed jump reaches. Short jumps are mostly taken and lead nowhere fast."),
        Int(name="walkers", default=8, min=1, max=32, label="Walkers", unit="chains",
            help="How many chains walk at the same time. They do not see one another."),
        Int(name="steps", default=100, min=10, max=1000, step=10, label="Steps", unit="jumps",
            help="How many jumps each walker is offered."),
        Int(name="path", default=4, min=1, max=16, label="Points on the way", unit="arrows", advanced=True,
            help="At how many points along a jump the arrows are asked; their sum tells how much denser its end is."),
    ),
    lanes={
        "score": Lane(decode=partial(metropolis, way=LEARNED), title="Learned arrows", nets=_own,
                      interventions=("reseed",), line="Jumps are judged by adding up the network's arrows on the way."),
        "error": Lane(decode=partial(metropolis, way=ERROR), title="Error as energy", nets=_own,
                      interventions=("reseed",),
                      line="The same network and jumps; a place counts as dense where the network changes little."),
        "exact": Lane(decode=partial(metropolis, way=TRUE), title="True arrows", nets=_none, default=False,
                      interventions=("reseed",), line="The best denoiser there is, from a formula; no network."),
        "plain": Lane(decode=partial(metropolis, way=UNTRAINED), title="Trained without noise", nets=_plain,
                      default=False, interventions=("reseed",),
                      line="With nothing to take off it learned to leave points alone: no arrows, any jump will do."),
    },
    beats=(
        Beat(text="Each arrow is one correction: where the network would move a point that stands there. Thin lines "
             "are the truth.", look="stage", when={"kind": "preview", "lane": "score", "name": "error"}),
        Beat(text="A walker proposes a random jump. Is it denser over there? Nobody can say how dense a place is.",
             look="stage", when={"kind": "propose", "lane": "score"}),
        Beat(text="But arrows along the way can be added up, like steps uphill and downhill. That tells the ratio.",
             look="timeline", when={"kind": "forward", "lane": "score"}),
        Beat(text="Downhill jumps are taken only by chance: a random number must fall below the ratio.",
             look="inspector", when={"kind": "reject", "lane": "score"}),
        Beat(text="The other walkers trust the network's error instead. It is also small on ridges and saddles, so "
             "they gather where no data are.", look="stage", when={"kind": "done", "lane": "error"}),
        Beat(text="Less noise, truer arrows, until the network's own mistakes take over.", look="claim",
             when={"kind": "done", "lane": "score"}),
    ),
    question=Question(
        text="Midway between two equal blobs stands a point. Which way does the denoiser move it?",
        answers=(
            Answer(text="Nowhere", right=True,
                   why="Both blobs pull alike. The error there is zero although hardly any data are: small error does "
                   "not mean dense."),
            Answer(text="To the nearer blob", why="Both are equally near, so their pulls cancel."),
            Answer(text="Far away, it is not data",
                   why="A denoiser moves points towards data, here to both sides at once, which is nowhere."),
        ),
    ),
    claims=(
        Claim(id="score-cosine-rises", kind="difference", must=True, title="Less noise, truer arrows",
              text="The arrows point along the data's own slope the better the smaller the noise: cosine at noise 0.1 "
              "minus that at 0.4, all four shapes.",
              unit="cosine", baseline="the data's score in closed form",
              paper={"value": None, "unit": "", "where": "main theorem: exact as noise goes to zero"},
              threshold={"op": ">", "value": 0.0}, measure=claims.score_cosine_rises),
        Claim(id="field-to-score-scale", kind="ratio", must=True, title="Divided by σ², not by anything else",
              text="The correction over σ² gets nearer to the data's slope: its error at noise 0.1 over that at 0.4.",
              unit="error over error", baseline="the data's score in closed form",
              paper={"value": None, "unit": "", "where": "main theorem: r(x) = x + σ² ∇log p(x) + o(σ²)"},
              threshold={"op": "<=", "value": 0.6}, measure=claims.field_to_score_scale),
        Claim(id="samples-match", kind="difference", must=False, title="Walkers end where the data are",
              text="Where 32 walkers of each run end cannot be told from exact samples of the blurred data; walkers "
              "that trust the error can.",
              unit="energy distance", baseline="exact samples of the blurred density; the same walk with true arrows",
              paper={"value": None, "unit": "", "where": "sampling experiments: shown as pictures"},
              measure=claims.samples_match),
        Claim(id="contractive-equals-denoising", kind="ratio", must=False, title="Two losses, one field",
              text="A price on the network's own slope teaches the same arrows as noise does, the more so the smaller "
              "the noise: how far they are apart at 0.1 over at 0.4.",
              unit="apart over apart", baseline="same network, data and steps of training",
              paper={"value": None, "unit": "", "where": "section 3: equal up to o(σ²)"},
              threshold={"op": "<", "value": 1.0}, measure=claims.contractive_equals_denoising),
    ),
    difficulty=2, minutes=3, seed=1,
)

EXHIBITS = (DAE_SCORE,)
