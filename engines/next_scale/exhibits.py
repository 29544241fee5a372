"""The exhibits of drawing scale by scale."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

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
)
from engines.next_scale import claims, scene
from engines.next_scale.sample import DEFAULTS, NET, TOKENIZER
from engines.next_scale.var import var
from engines.scene_settings import CAPTION

SCALES, CODES = 6, 512


def _nets(s: SimpleNamespace) -> list[str]:
    return [NET, TOKENIZER]


def codes(s: SimpleNamespace) -> dict[Any, int]:
    """What a user may force a cell to: any code of the codebook."""
    return {code: code for code in range(CODES)}


VAR = Exhibit(
    slug="var",
    title="Scale by scale",
    line="A picture grows from one code to a grid of 64. Each scale is drawn in one call and adds what the blurred "
    "picture before it still lacks.",
    paper=Paper(
        title="Visual Autoregressive Modeling: Scalable Image Generation via Next-Scale Prediction",
        authors="Tian, Jiang, Yuan, Peng, Wang", venue="NeurIPS 2024, best paper", arxiv="2404.02905",
        links={"paper": "https://arxiv.org/abs/2404.02905", "code": "https://github.com/FoundationVision/VAR"},
    ),
    family="next_scale",
    map={"what": "pictures", "order": "coarse to fine", "at_once": "a whole scale", "revisable": False},
    settings=(
        CAPTION,
        Float(name="guidance", default=DEFAULTS["guidance"], min=0, max=6, step=0.5, label="Guidance",
              help="How much the caption is preferred to no caption. 0 asks with the caption only."),
        Int(name="stop", default=SCALES, min=1, max=SCALES, label="Stop after scale",
            help="Decode what has been drawn up to this scale."),
        Int(name="keep", default=0, min=0, max=SCALES, label="Keep scales",
            help="Take the first scales from another picture and go on with this caption."),
        Choice(name="region", default="none", label="Draw anew", choices=scene.REGIONS,
               help="Keep another picture and draw only this part of it, with this caption."),
        Bool(name="ramp", default=DEFAULTS["ramp"], label="Guidance grows", advanced=True,
             help="From nothing at the first scale to all of it at the last, as in the paper's code."),
        Float(name="temperature", default=DEFAULTS["temperature"], min=0.5, max=1.5, step=0.1, label="Temperature",
              advanced=True, help="How freely it chooses among likely codes. Ours; the paper keeps 1."),
        Int(name="top_k", default=DEFAULTS["top_k"], min=0, max=CODES, label="Top k", unit="codes", advanced=True,
            help="Draw from the k likeliest codes only; 0 takes all."),
        Float(name="top_p", default=DEFAULTS["top_p"], min=0.05, max=1, step=0.01, label="Top p", advanced=True,
              help="Draw from the likeliest codes that together have this probability; 1 takes all."),
        scene.OTHER,
        Cells(name="region_cells", default="", label="Your own part", max=scene.SIDE**2, advanced=True,
              help='Places of the 8 x 8 grid to draw anew, row by row, such as "18-21,26-29".'),
        Bool(name="previews", default=True, label="Show it growing",
             help="Sketch the picture after each scale, by a small network. It never counts in the lane's time."),
    ),
    lanes={
        "var": Lane(decode=var, title="Scale by scale", nets=_nets, vocabulary=codes,
                    line="Six calls: 1, 4, 9, 16, 36 and 64 codes."),
        # Its guidance is on another scale (1 is none), so it keeps its own best.
        "raster": LaneRef(slug="raster", lane="raster", title="Row by row", line="64 calls, one code each.",
                          settings={"order": "raster", "guidance": claims.BEST, "ramp": False}),
    },
    beats=(
        Beat(text="The picture begins as a single code. It knows the caption, and stands for the whole picture.",
             look="stage", when={"kind": "commit", "lane": "var"}),
        Beat(text="The next scale has four codes, drawn in one call. Each adds what the blur before it still lacks.",
             look="stage", when={"kind": "phase", "lane": "var", "index": 1}),
        Beat(text="Codes of one scale are drawn at once, each on its own. Every one saw the same blurred picture.",
             look="inspector", when={"kind": "phase", "lane": "var", "index": 3}),
        Beat(text="Coarser scales are not computed again: their keys and values wait in the cache.",
             look="timeline", when={"kind": "phase", "lane": "var", "index": 5}),
        Beat(text="All six scales take six calls, against 64. The last scale alone has as many codes as the picture "
             "drawn row by row.", look="claim", when={"kind": "done", "lane": "var"}),
    ),
    question=Question(
        text="The 64 codes of the last scale are drawn independently. What keeps the two halves of one cube from "
        "getting different colours?",
        answers=(
            Answer(text="The coarser scales have settled the colour already", right=True,
                   why="All 64 codes see the same blurred picture. A mistake of this kind would be seen at the first "
                   "scales, where a code covers a whole cube."),
            Answer(text="Each code sees the codes to its left",
                   why="That is the lane row by row. Inside a scale no code knows what its neighbours drew."),
            Answer(text="A final pass repairs the colours", why="There is none: the sixth call is the last."),
        ),
    ),
    claims=(
        Claim(id="calls-6-vs-64", kind="exact", must=True, title="Six calls, not 64",
              text="A picture takes 6 calls of the network scale by scale and 64 row by row.",
              unit="share of runs", baseline="row by row: one call for each of 64 codes",
              paper={"value": 10, "unit": "calls", "where": "10 scales for 256 pixels, against 256 codes; section 4"},
              measure=claims.calls_6_vs_64),
        Claim(id="wall", kind="time", must=True, title="At least twice as fast",
              text="Time of a picture row by row over time of a picture scale by scale: one thread, one picture, both "
              "cached, equal parameters, no previews, the last decode included.",
              unit="times faster", baseline="row by row on its own codes, equal parameters, cached",
              paper={"value": 20, "unit": "times", "where": "abstract: about 20 times faster inference"},
              threshold={"op": ">=", "value": 2}, measure=claims.wall),
        Claim(id="judge-non-inferior", kind="difference", must=True, title="And not worse",
              text="Objects of the caption that a judge finds in the picture, scale by scale minus row by row, is not "
              "below -3 points. Each with its own codes and its own best guidance; equal parameters.",
              unit="points of objects right", baseline="row by row, the same captions and seeds",
              paper={"value": None, "unit": "", "where": "FID 18.65 to 1.80; no caption is judged there"},
              threshold={"op": ">=", "value": -3}, measure=claims.judge_non_inferior),
        Claim(id="guidance-ramp", kind="difference", must=False, title="What guidance does",
              text="Objects right with growing guidance of 1.5 minus without; and how far two pictures of one caption "
              "lie apart.",
              unit="points of objects right", baseline="no guidance, same captions and seeds",
              paper={"value": None, "unit": "", "where": "table 3 lists guidance among the gains in FID"},
              measure=claims.guidance_ramp),
        Claim(id="more-scales-less-error", kind="trend", must=False, title="Every scale helps",
              text="The error of a real picture rebuilt from its codes, with one more scale over without; the worst "
              "step of the five.",
              unit="error over error", baseline="the same pictures with one scale less",
              paper={"value": None, "unit": "", "where": "section 3.2, algorithm 1"},
              measure=claims.more_scales_less_error),
    ),
    difficulty=2, minutes=4, seed=40,
    why_this_seed="four toys, none like another, three of them side by side",
)

EXHIBITS = (VAR,)
