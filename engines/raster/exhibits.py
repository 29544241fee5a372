"""The exhibit of painting code by code."""

from __future__ import annotations

from types import SimpleNamespace

from engines.exhibit import Answer, Beat, Bool, Claim, Exhibit, Float, Int, Lane, Paper, Question
from engines.raster import canvas, claims, guidance, random_order, raster
from engines.scene_settings import CAPTION


def _raster_nets(s: SimpleNamespace) -> list[str]:
    return [raster.NET, canvas.VQ]


def _random_nets(s: SimpleNamespace) -> list[str]:
    return [random_order.NET, canvas.VQ]


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
        Float(name="guidance", default=guidance.BEST, min=1.0, max=8.0, step=0.25, label="Guidance",
              help="How strongly the caption pulls; 1 adds nothing to what the network learned. Far above the default, "
              "colours and shapes turn crude."),
        Int(name="steps", default=64, min=1, max=64, label="Steps", unit="calls",
            help="Calls of the second picture. Below 64 several codes are drawn at once, blind to each other."),
        Float(name="temperature", default=1.0, min=0.1, max=1.5, step=0.1, label="Temperature",
              help="How freely the model chooses among likely codes."),
        Bool(name="previews", default=True, label="Show it growing",
             help="Sketch unfinished pictures on the way, by a small network. They never count in a lane's time."),
        Int(name="top_k", default=0, min=0, max=512, label="Top k", unit="codes", advanced=True,
            help="Draw among the k likeliest codes only; 0 keeps all."),
        Float(name="top_p", default=1.0, min=0.05, max=1.0, step=0.05, label="Top p", advanced=True,
              help="Draw among the likeliest codes that together reach this share; 1 keeps all."),
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

EXHIBITS = (RASTER,)
