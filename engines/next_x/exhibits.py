"""The exhibit of codes that steer a diffusion."""

from __future__ import annotations

from types import SimpleNamespace

from engines.exhibit import Answer, Beat, Bool, Choice, Claim, Exhibit, Float, Lane, LaneRef, Paper, Question
from engines.next_x import claims, dar
from engines.next_x.model import NET, TOKENIZER
from engines.raster.canvas import vocabulary
from engines.raster.exhibits import CUTS, TEMPERATURE
from engines.scene_settings import CAPTION


def _nets(s: SimpleNamespace) -> list[str]:
    return [NET, TOKENIZER]


D_AR = Exhibit(
    slug="d-ar",
    title="Words that denoise",
    line="A language model writes 64 codes, left to right. After every eighth, the noise is cleared one step further.",
    paper=Paper(
        title="D-AR: Diffusion via Autoregressive Models", authors="Gao, Shou", venue="ICLR 2026", arxiv="2505.23660",
        links={"paper": "https://arxiv.org/abs/2505.23660", "code": "https://github.com/showlab/D-AR"},
    ),
    family="next_x",
    map={"what": "pictures", "order": "coarse to fine", "at_once": "one", "revisable": False},
    settings=(
        CAPTION,
        dar.KEEP,
        Float(name="guidance", default=claims.GUIDANCE, min=1.0, max=8.0, step=0.25, label="Guidance",
              help="How strongly the caption pulls; 1 adds nothing to what the network learned."),
        Choice(name="sampler", default="ab2", choices={"ab2": "looks back one step", "euler": "plain"}, label="Steps",
               help="How a denoising step is made: with the last direction in mind (Adams-Bashforth, as in the paper's "
               "code), or straight on (Euler)."),
        TEMPERATURE,
        Bool(name="previews", default=True, label="Show it growing",
             help="Show the noisy canvas and the picture it would jump to. They never count in a lane's time."),
        dar.OTHER,
        *CUTS,
    ),
    lanes={
        "d-ar": Lane(decode=dar.d_ar, title="Group by group", nets=_nets, vocabulary=vocabulary,
                     line="Codes in a line; each full group makes one denoising step."),
        "raster": LaneRef(slug="raster", lane="raster", title="Row by row",
                          line="The same network and loop; codes are places, shown when they are painted."),
    },
    beats=(
        Beat(text="Left, pure noise. It is cleared in eight steps, and each waits to be told what to look for.",
             look="stage", when={"kind": "begin", "lane": "d-ar"}),
        Beat(text="The model that tells it is a plain language model: one call, one code, from left to right.",
             look="timeline", when={"kind": "forward", "lane": "d-ar", "mode": "step"}),
        Beat(text="Eight codes are there: the first step is made. On the right, the picture it would jump to now: "
             "places first, shapes not yet.",
             look="stage", when={"kind": "preview", "lane": "d-ar", "name": "picture", "level": 0}),
        Beat(text="Half of the codes. The toys have their shapes; what is left are edges, shadows and the table.",
             look="stage", when={"kind": "preview", "lane": "d-ar", "name": "picture", "level": 3}),
        Beat(text="Row by row, half of the codes are half of the picture, and the rest is blank.",
             look="stage", when={"kind": "done", "lane": "raster"}),
        Beat(text="Keep the first groups of another picture under Controls, and its layout stays under your caption.",
             look="claim", when={"kind": "done", "lane": "d-ar"}),
    ),
    question=Question(
        text="We scramble the last eight of the 64 codes. What changes?",
        answers=(
            Answer(text="Only the last denoising step: edges and grain", right=True,
                   why="Seven steps were made before these codes existed. All earlier looks stay, bit for bit."),
            Answer(text="The lower right corner",
                   why="That is what the last codes are row by row. Here each group speaks to the whole picture."),
            Answer(text="Everything: a diffusion starts anew",
                   why="A step is never taken back. What the first groups settled stands when the last one comes."),
        ),
    ),
    claims=(
        Claim(id="previews-converge", kind="trend", must=True, title="Looks come nearer to the end",
              text="Distance from the picture it would jump to, to the finished one: it falls in the mean from every "
              "group to the next. Shown is the smallest of the seven falls.",
              unit="of a pixel's half range", baseline="the look before it, same pictures",
              threshold={"op": ">", "value": 0.0},
              paper={"value": None, "unit": "", "where": "figure of streaming previews, no number"},
              measure=claims.previews_converge),
        Claim(id="each-group-adds", kind="trend", must=False, title="Each group tells something new",
              text="Distance from the picture it would jump to, to a real picture that was encoded: it falls in the "
              "mean from every group to the next. Shown is the smallest of the seven falls.",
              unit="of a pixel's half range", baseline="the look before it, same pictures",
              threshold={"op": ">", "value": 0.0},
              paper={"value": None, "unit": "", "where": "by design: each step is told what it still needs, no number"},
              measure=claims.groups_add),
        Claim(id="prefix-keeps-layout", kind="difference", must=True, title="The first groups hold the layout",
              text="Of the nine places, the share that is taken or free as in a reference, with its first two groups "
              "given under another caption, minus without them.",
              unit="points", baseline="the same captions and seeds, no groups given",
              threshold={"op": ">", "value": 0.0},
              paper={"value": None, "unit": "", "where": "figure of layout control, no number"},
              measure=claims.prefix_keeps_layout),
        Claim(id="plain-next-token", kind="exact", must=True, title="The loop is plain next-token decoding",
              text="Code for code, the lane writes what the plain row-by-row loop writes with the same network and the "
              "same random numbers; both lanes call one and the same function for each code.",
              unit="share of pictures", baseline="the loop of the row-by-row lane",
              paper={"value": 1, "unit": "", "where": "section 1: a standard next-token model, unchanged"},
              measure=claims.plain_next_token),
        Claim(id="judge", kind="difference", must=False, title="What it costs beside places",
              text="Objects right in held-out captions, group by group minus row by row.",
              unit="points",
              baseline="row by row: same network size, number of codes, captions; each at its best guidance",
              paper={"value": None, "unit": "", "where": "ImageNet 256, FID 2.09 (D-AR-XL); LlamaGen-XL 2.62"},
              measure=claims.judge),
    ),
    difficulty=2, minutes=4, seed=111,
    why_this_seed="three toys, right in the end in both lanes; in the first look all are round (found among 128 seeds)",
)

EXHIBITS = (D_AR,)
