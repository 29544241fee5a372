"""The exhibit of series that one matrix carries from step to step."""

from __future__ import annotations

from engines.exhibit import Answer, Beat, Bool, Choice, Claim, Exhibit, Float, Int, Lane, Paper, Question
from engines.time_series import claims
from engines.time_series.gru import GRU, INDEPENDENT, gru, independent
from engines.time_series.linear import examples, linear, lost, name_of

KVAE = Exhibit(
    slug="kvae",
    title="Carried by one matrix",
    line="A network turns a series into latents that one matrix moves on, step by step. Its eigenvalues say what will "
    "live on and what will die away.",
    paper=Paper(
        title="Generative Modeling of Regular and Irregular Time Series Data via Koopman VAEs",
        authors="Naiman, Erichson, Ren, Mahoney, Azencot", venue="ICLR 2024", arxiv="2310.02619",
        links={"paper": "https://arxiv.org/abs/2310.02619", "code": "https://github.com/azencot-group/KoVAE",
               "reading holes (NCDE)": "https://arxiv.org/abs/2005.08926"},
    ),
    family="time_series",
    map={"what": "series", "order": "left to right", "at_once": "one step of all channels", "revisable": False},
    settings=(
        Choice(name="trained", default="linear", label="The matrix comes from",
               choices={"linear": "whole series", "circle": "whole series, on the circle",
                        "holes-30": "series with 30 % missing", "holes-50": "series with 50 % missing",
                        "holes-70": "series with 70 % missing"},
               help="What its network learned from. On the circle: training pulled every eigenvalue to modulus 1."),
        Int(name="steps", default=24, min=12, max=96, step=12, label="Steps", unit="steps",
            help="How long the series become. The networks learned from 24 steps; beyond, they are on their own."),
        Int(name="samples", default=6, min=1, max=64, label="Series", unit="series",
            help="How many are made at once. Each starts from a latent of its own."),
        Float(name="noise", default=1.0, min=0.0, max=1.5, step=0.1, label="Chance in a step",
              help="At 0 only the matrix, or the network, moves a latent after its first step; 1 is as trained."),
        Bool(name="previews", default=True, label="Show it growing", advanced=True,
             help="Decode the unfinished walks on the way. That never counts in a lane's time."),
    ),
    lanes={
        "linear": Lane(decode=linear, title="One matrix", nets=lambda s: [name_of(s)], interventions=("reseed",),
                       warm=lambda s: examples(lost(s)),
                       line="The paper's linear prior: the next latent is the last one times a matrix, and chance."),
        "gru": Lane(decode=gru, title="Official code's GRU", nets=lambda s: [GRU], interventions=("reseed",),
                    line="What the authors' code draws from: a recurrent network, asked to be nearly linear."),
        "independent": Lane(decode=independent, title="No dynamics", nets=lambda s: [INDEPENDENT], default=False,
                            interventions=("reseed",),
                            line="Every latent drawn by itself: what is left to the decoder."),
    },
    beats=(
        Beat(text="A swinging pendulum, measured 24 times: its angle and its speed. An encoder reads 256 such series "
             "into latents, 16 numbers a step.", look="stage", when={"kind": "forward", "lane": "linear"}),
        Beat(text="Least squares finds the one matrix that best moves each latent to the next. It is solved, not "
             "trained. The points are its eigenvalues.", look="stage",
             when={"kind": "commit", "lane": "linear", "canvas": "spectrum"}),
        Beat(text="Inside the circle something dies away, on it goes on for ever. How far round it stands says how "
             "fast it turns: a real swing takes about 21 steps.", look="stage",
             when={"kind": "note", "lane": "linear", "key": "kvae.spectrum"}),
        Beat(text="Now every latent is the one before it times the matrix, plus a little chance. The curves in pencil "
             "are what the decoder makes of the walks so far.", look="stage",
             when={"kind": "preview", "lane": "linear", "name": "series", "nth": 5}),
        Beat(text="The authors' code calls a recurrent network for each step instead. Ask both for four times as many "
             "steps as they learned.", look="claim", when={"kind": "done", "lane": "gru"}),
    ),
    question=Question(
        text="All eigenvalues have modulus 0.9. What does a generated swing do within 24 steps?",
        answers=(
            Answer(text="It dies: about a twelfth is left", right=True, why="0.9 to the power 24 is 0.08."),
            Answer(text="It goes on as before", why="For that the modulus must be 1. 0.9 to the power 24 is 0.08."),
            Answer(text="It loses a tenth and stays there", why="It loses a tenth in every step: 0.9 to the power 24."),
        ),
    ),
    claims=(
        Claim(id="constraint-moves-spectrum", kind="ratio", must=True, title="Eigenvalues go where physics says",
              text="Asking for modulus 1 in training brings the eigenvalues to the unit circle: their mean distance "
              "from it, with the constraint over without.",
              unit="times the distance", baseline="the same network and data without the constraint",
              threshold={"op": "<", "value": claims.LESS},
              paper={"value": None, "unit": "", "where": "section on physics-constrained generation: figures only"},
              measure=claims.constraint_moves_spectrum),
        Claim(id="prior-rollout-vs-gru", kind="difference", must=False, title="Past the trained length",
              text="After four times the trained length, how far the swing is from that of real series: one matrix "
              "minus the official code's GRU.",
              unit="of a real swing", baseline="the official code's prior, as many parameters",
              threshold={"op": "<", "value": 0.0},
              paper={"value": None, "unit": "", "where": "not reported"}, measure=claims.prior_rollout_vs_gru),
        Claim(id="discriminative-score", kind="difference", must=False, title="Hard to tell from real ones",
              text="A classifier finds series of the linear prior harder to tell from real ones than series of a "
              "network without dynamics.",
              unit="discriminative score, minus that without dynamics", baseline="N(0, I) at every step, same size",
              threshold={"op": "<", "value": 0.0},
              paper={"value": None, "unit": "", "where": "abstract: lower than GANs and VAEs; tables on other data"},
              measure=claims.discriminative_score),
        Claim(id="predictive-score", kind="difference", must=False, title="As useful as real ones",
              text="A predictor trained on series of the linear prior errs less on real ones than one trained on "
              "series of a network without dynamics.",
              unit="mean absolute error, minus that without dynamics", baseline="N(0, I) at every step, same size",
              threshold={"op": "<", "value": 0.0},
              paper={"value": None, "unit": "", "where": "abstract: lower than GANs and VAEs; tables on other data"},
              measure=claims.predictive_score),
        Claim(id="irregular-30-50-70", kind="difference", must=False, title="Learning from series with holes",
              text="Discriminative score of networks that saw 70, 50 or 30 % of the steps, on average, minus that of "
              "one that saw all.",
              unit="discriminative score", baseline="the network that saw whole series, as many parameters",
              paper={"value": None, "unit": "", "where": "tables for 30, 50 and 70 % on other data"},
              measure=claims.irregular),
    ),
    difficulty=2, minutes=4, seed=10,
)

EXHIBITS = (KVAE,)
