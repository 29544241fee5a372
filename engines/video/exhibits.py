"""The exhibit of films whose key frames are planned first."""

from __future__ import annotations

from types import SimpleNamespace

from engines.exhibit import Answer, Beat, Bool, Choice, Claim, Exhibit, Float, Int, Lane, Paper, Question
from engines.video import claims
from engines.video.crew import crew
from engines.video.mmpl import frame_by_frame, mmpl
from engines.video.model import NET, VAE


def _nets(s: SimpleNamespace) -> list[str]:
    return [NET, VAE]


MMPL = Exhibit(
    slug="mmpl",
    title="Keys first, gaps later",
    line="A film of 64 frames: 21 key frames are planned in a short chain, then all the gaps are filled at once.",
    paper=Paper(
        title="Macro-from-Micro Planning for High-Quality and Parallelized Autoregressive Long Video Generation",
        authors="Xiang, Chen, Zhang, Wang, et al.", venue="arXiv 2025", arxiv="2508.03334",
        links={"paper": "https://arxiv.org/abs/2508.03334"},
    ),
    family="video",
    map={"what": "films", "order": "coarse to fine", "at_once": "many", "revisable": False},
    settings=(
        Int(name="beats", default=claims.BEATS, min=2, max=10, label="Beats", unit="beats",
            help="A beat is ten frames in which one or two toys move; its last frame is the first of the next one."),
        Int(name="steps", default=claims.STEPS, min=2, max=16, label="Steps", unit="steps",
            help="Denoising steps for every plan, gap or frame. Each is one call of the network."),
        Choice(name="gaps", default="together", choices={"together": "all in one batch", "one": "one by one"},
               label="Fill gaps", help="The frames are the same either way; the time is not."),
        Bool(name="anew", default=False, label="Read keys anew",
             help="Decode the frame that starts a beat and encode it again, in all lanes. The paper does so; how, is "
             "our reading. Here it changes little."),
        Float(name="temperature", default=claims.TEMPERATURE, min=0.0, max=1.0, label="Temperature", advanced=True,
              help="How strong the noise is that every frame starts from, in all lanes; 1 is what was trained."),
        Int(name="workers", default=2, min=1, max=2, label="Workers", unit="workers", advanced=True,
            help="For the lane with real workers: how many threads plan and fill side by side."),
        Bool(name="previews", default=True, label="Show the frames",
             help="Send each frame as a picture. That never counts in a lane's time; making the picture does."),
    ),
    lanes={
        "mmpl": Lane(decode=mmpl, title="Keys first", nets=_nets, interventions=("reseed",),
                     line="Three keys of a beat at a time, beat after beat; then every gap between two keys."),
        "frame": Lane(decode=frame_by_frame, title="Frame by frame", nets=_nets, interventions=("reseed",),
                      line="The same network; each frame from the two before it."),
        "crew": Lane(decode=crew, title="Two workers", nets=_nets, interventions=("reseed",), default=False,
                     workers=True,
                     line="One worker plans on while the other fills what is planned. On the clock of the wall."),
    },
    beats=(
        Beat(text="The first frame is given, and for every beat which toys are there before and after. All else is "
             "painted by one small network.", look="stage", when={"kind": "note", "lane": "mmpl", "key": "mmpl.asked"}),
        Beat(text="Three key frames at once, from the first frame alone. The last of them starts the next plan.",
             look="stage", when={"kind": "phase", "lane": "mmpl", "unit": "segment", "state": "end", "index": 0}),
        Beat(text="The whole film stands on a few keys, and there were only as many links as beats.",
             look="stage", when={"kind": "note", "lane": "mmpl", "key": "mmpl.planned"}),
        Beat(text="Every gap knows its two ends and needs nothing else. So all gaps are filled in one go.",
             look="stage", when={"kind": "phase", "lane": "mmpl", "unit": "round", "state": "end"}),
        Beat(text="Frame by frame, a mistake is handed on 63 times. Compare the last beats.",
             look="stage", when={"kind": "done", "lane": "frame"}),
        Beat(text="We could read the paper's abstract and summaries, not its details. Where keys stand, how a key is "
             "read anew and how work is shared out is our reading.", look="claim",
             when={"kind": "done", "lane": "mmpl"}),
    ),
    question=Question(
        text="64 frames in 7 beats. Through how many painted frames does a mistake travel to the last gap?",
        answers=(
            Answer(text="8", right=True,
                   why="Seven plans hang on one another by their last keys, and one fill comes on top."),
            Answer(text="21", why="There are 21 keys, but the three of a beat are painted together, not in a row."),
            Answer(text="63", why="That is frame by frame: every frame leans on the one before it."),
        ),
    ),
    claims=(
        Claim(id="links-in-the-chain", kind="count", must=True, title="A short chain",
              text="Painted frames in a row up to the deepest frame, keys first over frame by frame, counted from what "
              "every call read: S + 1 against 9 S for S beats. Shown is the share for 7 beats.",
              unit="of the links frame by frame", baseline="frame by frame, same network and film",
              threshold={"op": "<=", "value": 0.2},
              paper={"value": None, "unit": "", "where": "abstract: few links, no number"}, measure=claims.links),
        Claim(id="drift", kind="difference", must=True, title="Less drift",
              text="Both ways start from the same true frame. Toys right in the last two beats, keys first minus frame "
              "by frame. It holds only if FD-mini of these beats to the true films is lower too.",
              unit="points", baseline="frame by frame: same network, training, steps and first frames",
              threshold={"op": ">", "value": 0.0},
              paper={"value": None, "unit": "", "where": "abstract: drift is reduced, no number read"},
              measure=claims.drift),
        Claim(id="batched-fill", kind="time", must=True, title="All gaps at once are faster",
              text="Wall time of filling the 21 gaps one by one, over that of one batch. The frames are the same.",
              unit="times", baseline="the same gaps one by one, same noise", threshold={"op": ">=", "value": 1.5},
              paper={"value": None, "unit": "", "where": "abstract: filled in parallel, no number read"},
              measure=claims.batched_fill),
        Claim(id="two-workers", kind="time", must=False, title="Two real workers",
              text="Wall time of planning and filling with one worker, over that with two that do both at once.",
              unit="times", baseline="one worker, same jobs", threshold={"op": ">", "value": 1.0},
              paper={"value": None, "unit": "", "where": "abstract: adaptive scheduling over GPUs, no number read"},
              measure=claims.two_workers),
    ),
    difficulty=2, minutes=5, seed=15,
    why_this_seed="three toys: planned, they last; frame by frame, some are lost by the end, more than in most films",
)

EXHIBITS = (MMPL,)
