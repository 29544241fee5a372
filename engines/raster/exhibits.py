"""The exhibits of painting code by code, and by diagonals."""

from __future__ import annotations

from types import SimpleNamespace

from engines.exhibit import Answer, Beat, Bool, Claim, Exhibit, Float, Int, Lane, LaneRef, Paper, Question
from engines.raster import canvas, claims, guidance, nar, nar_claims, random_order, raster
from engines.scene_settings import CAPTION


def _raster_nets(s: SimpleNamespace) -> list[str]:
    return [raster.NET, canvas.VQ]


def _nar_nets(s: SimpleNamespace) -> list[str]:
    return [nar.NET, canvas.VQ]


def _random_nets(s: SimpleNamespace) -> list[str]:
    return [random_order.NET, canvas.VQ]


GUIDANCE = Float(
    name="guidance", default=guidance.BEST, min=1.0, max=8.0, step=0.25, label="Guidance",
    help="How strongly the caption pulls; 1 adds nothing to what the network learned. Far above the default, colours "
    "and shapes turn crude.",
)
TEMPERATURE = Float(name="temperature", default=1.0, min=0.1, max=1.5, step=0.1, label="Temperature",
                    help="How freely the model chooses among likely codes.")
CUTS = (
    Int(name="top_k", default=0, min=0, max=512, label="Top k", unit="codes", advanced=True,
        help="Draw among the k likeliest codes only; 0 keeps all."),
    Float(name="top_p", default=1.0, min=0.05, max=1.0, step=0.05, label="Top p", advanced=True,
          help="Draw among the likeliest codes that together reach this share; 1 keeps all."),
)
DRAWING = (
    TEMPERATURE,
    Bool(name="previews", default=True, label="Show it growing",
         help="Sketch unfinished pictures on the way, by a small network. They never count in a lane's time."),
    *CUTS,
)

RASTER = Exhibit(
    slug="raster",
    title="Code by code",
    line="A picture is 64 numbers. A language model writes them one after another: row by row, or in whatever order "
    "you paint.",
    paper=Paper(
        title="Autoregressive Model Beats Diffusion: Llama for Scalable Image Generation",
        authors="Sun, Jiang, Chen, Zhang, Peng, Luo, Yuan", venue="2024", arxiv="2406.06525",
        links={"paper": "https://arxiv.org/abs/2406.06525",
               "code": "https://github.com/FoundationVision/LlamaGen",
               "any order (RandAR)": "https://arxiv.org/abs/2412.01827",
               "code of RandAR": "https://github.com/ziqipang/RandAR"},
    ),
    family="raster",
    map={"what": "pictures", "order": "one by one", "at_once": "one, or several unchecked", "revisable": False},
    settings=(
        CAPTION,
        random_order.ORDER,
        GUIDANCE,
        Int(name="steps", default=64, min=1, max=64, label="Steps", unit="calls",
            help="Calls of the second picture. Below 64 several codes are drawn at once, blind to each other."),
        *DRAWING,
        Bool(name="ramp", default=False, label="Rising guidance", advanced=True,
             help="The second picture starts at guidance 1 and reaches the full one at its last code, as in RandAR."),
    ),
    lanes={
        "raster": Lane(decode=raster.raster, title="Row by row", nets=_raster_nets, vocabulary=canvas.vocabulary,
                       line="A network that knows this one order."),
        "any-order": Lane(decode=random_order.any_order, title="In any order", nets=_random_nets,
                          vocabulary=canvas.vocabulary,
                          line="A network that is told where each code goes."),
    },
    beats=(
        Beat(text="A picture is cut into 8 by 8 places, each with one of 512 codes. The model writes the codes; a "
             "decoder turns them into pixels.", look="stage", when={"kind": "begin", "lane": "raster"}),
        Beat(text="One call, one code. It sees the caption and every code before it, nothing after it.",
             look="timeline", when={"kind": "forward", "lane": "raster", "mode": "step"}),
        Beat(text="Each call reads twice, with the caption and without. The difference is stretched: that is guidance.",
             look="inspector", when={"kind": "commit", "lane": "raster"}),
        Beat(text="This network is first told where the next code goes. So the path is yours: paint one.",
             look="stage", when={"kind": "commit", "lane": "any-order"}),
        Beat(text="Freedom has a price: it had to learn every order, with as many numbers as the other has for one.",
             look="claim", when={"kind": "done", "lane": "any-order"}),
    ),
    question=Question(
        text="The row-by-row network is asked to start in the middle. What happens?",
        answers=(
            Answer(text="It cannot: it never learned what to do there", right=True,
                   why="Where a code goes is told by how many came before it. The middle is code 28, after 27 others."),
            Answer(text="It paints the same picture in another order",
                   why="It would write the code of the top left corner, whatever place you have in mind."),
            Answer(text="It paints more slowly",
                   why="The cost is one call a code in any order. What is missing is training, not speed."),
        ),
    ),
    claims=(
        Claim(id="judge", kind="ratio", must=True, title="It paints what the caption says",
              text="Of the objects in held-out captions, the share that a judge finds right in shape, colour, size and "
              "place; at least 97 %, and at least 90 % of scenes wholly right, at the best guidance.",
              unit="share of objects", baseline="the captions themselves",
              threshold={"op": ">=", "value": claims.OBJECTS},
              paper={"value": None, "unit": "", "where": "ours; the paper reports FID and IS on ImageNet"},
              measure=claims.judge),
        Claim(id="cached-equals-full", kind="exact", must=True, title="The cache changes nothing",
              text="Along the same codes, every logit from the cache equals that of the whole sequence to 1e-4, for "
              "both networks, with the caption and without.",
              unit="share of cells", baseline="no cache, same network",
              paper={"value": 1, "unit": "", "where": "arithmetic"}, measure=claims.cached_equals_full),
        Claim(id="order-cost", kind="difference", must=False, title="What freedom of order costs",
              text="Objects right in random order by the any-order network, minus row by row by the network that "
              "knows only that.",
              unit="points", baseline="row-by-row network, same size, same captions, same guidance",
              paper={"value": None, "unit": "", "where": "RandAR, table of orders: FID by order on ImageNet"},
              measure=claims.order_cost),
    ),
    difficulty=1, minutes=3, seed=19,
    why_this_seed="four toys, big and small, and an order that meets them from outside",
)

NAR = Exhibit(
    slug="nar",
    title="By diagonals",
    line="A picture grows out of its top left corner. All places equally far from it are chosen in one call, each "
    "after hearing its neighbours on the left and above.",
    paper=Paper(
        title="Neighboring Autoregressive Modeling for Efficient Visual Generation",
        authors="He, He, He, Chen, Zhou, Zhang, Zhuang", venue="2025", arxiv="2503.10696",
        links={"paper": "https://arxiv.org/abs/2503.10696", "code": "https://github.com/ThisisBillhe/NAR"},
    ),
    family="raster",
    map={"what": "pictures", "order": "by diagonals", "at_once": "a diagonal, unchecked", "revisable": False},
    settings=(
        CAPTION,
        Float(name="mix", default=0.5, min=0.0, max=1.0, step=0.05, label="Left neighbour's say",
              help="Where two neighbours speak, how much the left one counts. At 1 the upper one is not heard, at 0 "
              "the left one."),
        GUIDANCE,
        *DRAWING,
    ),
    lanes={
        "nar": Lane(decode=nar.nar, title="By diagonals", nets=_nar_nets, vocabulary=canvas.vocabulary,
                    line="15 calls: 1, 2, 3 … 8 … 3, 2, 1 codes."),
        "raster": LaneRef(slug="raster", lane="raster", title="Row by row", line="64 calls, one code each."),
        "any-order": LaneRef(slug="raster", lane="any-order", title="Anywhere, 15 calls", default=False,
                             line="As many calls, but a code is told where it goes and has no neighbour to ask.",
                             settings={"order": "random", "steps": nar_claims.CALLS, "ramp": False}),
    },
    beats=(
        Beat(text="The corner comes first. The network then says two things about it: what stands to its right, and "
             "what stands below.", look="stage", when={"kind": "phase", "lane": "nar", "index": 1}),
        Beat(text="Each place of the next diagonal has a neighbour on its left and one above. Both have an opinion of "
             "it; the average is what is drawn from.", look="stage", when={"kind": "phase", "lane": "nar", "index": 4}),
        Beat(text="A whole arrow: this neighbour's favourite code was chosen. A broken one: another was. Click a "
             "place to see both opinions and their mix.", look="inspector",
             when={"kind": "phase", "lane": "nar", "index": 7}),
        Beat(text="The widest diagonal has eight places, all in one call. They do not see each other's codes: that is "
             "the risk taken.", look="timeline", when={"kind": "phase", "lane": "nar", "index": 8}),
        Beat(text="15 calls, where row by row takes 64. Has the picture paid for it?", look="claim",
             when={"kind": "done", "lane": "nar"}),
    ),
    question=Question(
        text="A bigger picture has 16 by 16 places. How many calls does it take by diagonals, and how many places has "
        "the widest one?",
        answers=(
            Answer(text="31 calls, 16 places", right=True,
                   why="16 steps to the far end of the first row, 15 more down to the last corner. Row by row would "
                   "take 256."),
            Answer(text="60 calls, 8 places",
                   why="Four times as many places do not make four times as many diagonals: their number grows with "
                   "the side, not with the area."),
            Answer(text="16 calls, 31 places", why="No diagonal is longer than the side of the picture."),
        ),
    ),
    claims=(
        Claim(id="calls-2n-1", kind="exact", must=True, title="15 calls, not 64",
              text="A picture of 8 by 8 codes takes 2 · 8 - 1 = 15 calls by diagonals and 64 row by row.",
              unit="share of runs", baseline="row by row: one call for each of 64 codes",
              paper={"value": 31, "unit": "calls", "where": "16 x 16 codes, against 256; the official decoding loop"},
              measure=nar_claims.calls),
        Claim(id="wall", kind="time", must=True, title="At least twice as fast",
              text="Time of a picture row by row over time of a picture by diagonals: one thread, one picture, the "
              "same kind of network, both cached, no previews, the last decode included.",
              unit="times faster", baseline="row by row, equal parameters, same codes, cache and guidance",
              paper={"value": 2.4, "unit": "times",
                     "where": "abstract: throughput over PAR-4X, which draws four at once"},
              threshold={"op": ">=", "value": 2}, measure=nar_claims.wall),
        Claim(id="judge-non-inferior", kind="difference", must=True, title="And not much worse",
              text="Objects of the caption that a judge finds in the picture, by diagonals minus row by row, is not "
              "below -5 points: same codes, captions, guidance, parameters and training steps.",
              unit="points of objects right", baseline="row by row, the same captions and seeds",
              paper={"value": None, "unit": "", "where": "reports FID on ImageNet and GenEval; not our captions"},
              threshold={"op": ">=", "value": -nar_claims.MARGIN}, measure=nar_claims.judge_non_inferior),
        Claim(id="logit-depends-on-earlier-diagonals-only", kind="exact", must=True,
              title="Only earlier diagonals count",
              text="Another code on a place's own diagonal or a later one leaves its mixed logits as they are, bit for "
              "bit; one on the diagonal before changes them. A mask that is causal row by row is caught.",
              unit="share of pairs of places", baseline="the same network, one code changed",
              paper={"value": 1, "unit": "", "where": "the proximity-aware mask"},
              measure=nar_claims.only_earlier_diagonals),
        Claim(id="mix", kind="difference", must=False, title="Two opinions are better than one",
              text="Nats a code on held-out scenes if only one neighbour is heard, the better of the two, minus both. "
              "The network was trained to be heard twice.",
              unit="nats a code", baseline="the same network, one head",
              paper={"value": None, "unit": "", "where": "the mixing of heads; we have not read their ablation"},
              threshold={"op": ">", "value": 0}, measure=nar_claims.opinions),
        Claim(id="price", kind="difference", must=False, title="What drawing together costs",
              text="Nats a code on held-out scenes by diagonals minus row by row: codes drawn together cannot know "
              "each other.",
              unit="nats a code", baseline="row by row, the same codes, equal parameters",
              paper={"value": None, "unit": "", "where": "ours"}, measure=nar_claims.price),
    ),
    difficulty=2, minutes=3, seed=19,
    why_this_seed="four toys, big and small",
)

EXHIBITS = (RASTER, NAR)
