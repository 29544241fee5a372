"""How the claims about painting by diagonals are measured. Each function takes a `Trial`.

`trial.subject` replaces what is put to the test: the lane's decode loop (`calls`, `wall`), {network's name: network}
(`judge_non_inferior`, `opinions`, `price`) or the network (`only_earlier_diagonals`).
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engines import stats, weights
from engines.raster import nar, random_order, raster
from engines.raster.canvas import CELLS, SIDE, VQ
from engines.raster.claims import judged, network
from engines.raster.neighbours import Neighbours, mix
from engines.runtime import Trial
from engines.scene_settings import held_out
from engines.tally import counted, race
from engines.tokenizers.cache import encode

Result = dict[str, Any]
CALLS = 2 * SIDE - 1
# How far behind, in percent of objects, still counts as no worse.
MARGIN = 5
PART = 128


def calls(trial: Trial) -> Iterator[Result]:
    """Runs of both lanes: a call for each diagonal, one for each code, and every cell drawn once."""
    yield from counted(trial.with_subject("nar"), {"nar": (CALLS, CELLS), "raster": (CELLS, CELLS)})


def wall(trial: Trial) -> Iterator[Result]:
    """Time of a picture row by row over time of a picture by diagonals, whole lanes, last decode included."""
    yield race(trial.with_subject("nar"), "raster", "nar")


# Who paints in judge-non-inferior: title, network, order of the any-order network, and how.
PAINTERS: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "by diagonals, 15 calls": (nar.NET, None, {}),
    "row by row, 64 calls": (raster.NET, None, {}),
    "any order, 15 calls": (random_order.NET, "random", {"steps": CALLS}),
}


def judge_non_inferior(trial: Trial) -> Iterator[Result]:
    """Percent of objects right, by diagonals minus row by row, the same captions; its low end must reach -MARGIN."""
    n = trial.size(256, 32)
    right: dict[str, list[float]] = {name: [] for name in PAINTERS}
    whole: dict[str, list[bool]] = {name: [] for name in PAINTERS}
    there: list[int] = []
    for start in range(0, n, PART):
        seeds = trial.seeds(n)[start : start + PART]
        for title, (name, order, how) in PAINTERS.items():
            _, score, objects = judged(trial, name, order, seeds, **how)
            right[title] += score.right.sum(1).tolist()
            whole[title] += score.scene.tolist()
        there += (objects[..., 0] >= 0).sum(1).tolist()
        ours, theirs, _ = (100 * np.array(right[title]) for title in PAINTERS)
        points = []
        for title in PAINTERS:
            own = stats.ratio_of_means((100 * np.array(right[title])).tolist(), there)
            points.append({"x": title, "y": own["here"], "low": own["low"], "high": own["high"],
                           "scenes": float(np.mean(whole[title]))})
        yield stats.ratio_of_means((ours - theirs).tolist(), there) | {"points": points, "conditions": {"batch": 64}}


class RowByRow:
    """How a network sees whose mask is causal row by row, whatever the order of its inputs: the broken twin."""

    def __init__(self, network: Neighbours):
        rank = network.order
        self.mask = torch.ones(network.prefix + CELLS, network.prefix + CELLS, dtype=torch.bool).tril()
        self.mask[network.prefix :, network.prefix :] = rank[None] <= rank[:, None]

    def __call__(self, start: int, stop: int, device: Any = None) -> Tensor:
        return self.mask[start:stop, :stop]


def row_by_row(network: Neighbours) -> Neighbours:
    """The same network with the wrong mask."""
    twin = copy(network)
    twin.__dict__["sight"] = RowByRow(network)
    return twin


@torch.no_grad()
def agreement(network: Neighbours, codes: Tensor, objects: Tensor) -> tuple[int, int]:
    """(pairs as they should be, pairs) of one picture, codes (64,) and objects (4, 4): each cell's code is changed, and
    of the mixed logits, bit for bit, those on its own diagonal and before must stay, those on the next must not."""
    order = network.order
    distance = order // SIDE + order % SIDE
    condition = network.condition(objects.expand(CELLS, -1, -1))
    plain = codes.expand(CELLS, -1)
    # Row i of the batch has cell order[i] changed. Both batches are of one shape, so that rounding is the same.
    changed = plain.scatter(1, order[:, None], ((codes[order] + 1) % network.config["vocab"])[:, None])
    differs = (network(*condition, plain) != network(*condition, changed)).any(-1)
    stays = distance[None] <= distance[:, None]
    follows = distance[None] == distance[:, None] + 1
    return int((~differs & stays).sum() + (differs & follows).sum()), int(stays.sum() + follows.sum())


def only_earlier_diagonals(trial: Trial) -> Iterator[Result]:
    """Every pair of cells, along codes of held-out scenes; the twin whose mask is causal row by row must be caught."""
    net = cast(Neighbours, trial.subject or weights.load(nar.NET))
    seeds = [held_out(seed) for seed in trial.seeds(trial.size(10))]
    codes, objects = encode(VQ, cast(range, seeds))
    good = total = 0
    twin = agreement(row_by_row(net), codes[0], objects[0])
    points = [{"x": "mask causal row by row, on purpose", "y": twin[0] / twin[1], "n": twin[1],
               "caught": twin[0] < twin[1]}]
    for one, caption in zip(codes, objects, strict=True):
        trial.ask()
        fine, pairs = agreement(net, one, caption)
        good, total = good + fine, total + pairs
        yield stats.exact(good, total) | {"holds": good == total and points[0]["caught"], "points": points,
                                          "conditions": {"batch": CELLS}}


@torch.no_grad()
def surprise(logits: Tensor, wanted: Tensor) -> np.ndarray:
    """(n,) mean nats a code of logits (n, N, V) and codes (n, N)."""
    return F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none").mean(1).numpy()


WAYS = {"both": 0.5, "the left one alone": 1.0, "the upper one alone": 0.0}


def opinions(trial: Trial) -> Iterator[Result]:
    """Nats a code of held-out scenes from one neighbour alone, the better of the two, minus from both; and objects that
    are right when pictures are painted so."""
    net = network(trial, nar.NET)
    seeds = trial.seeds(trial.size(192, 16))
    codes, objects = encode(VQ, cast(range, [held_out(seed) for seed in seeds]))
    with torch.no_grad():
        ranked = codes[:, net.order]
        heard = torch.cat([net.opinions(*net.condition(part), some[:, :-1])
                           for part, some in zip(objects.split(PART), ranked.split(PART), strict=True)])
    nats = {way: surprise(mix(heard, share), ranked) for way, share in WAYS.items()}
    best = min(list(WAYS)[1:], key=lambda way: nats[way].mean())
    out = stats.mean((nats[best] - nats["both"]).tolist())
    points = [{"x": way, "y": one["here"], "low": one["low"], "high": one["high"]}
              for way, one in ((way, stats.mean(nats[way].tolist())) for way in WAYS)]
    yield out | {"points": points, "holds": None}
    for point, share in zip(points, WAYS.values(), strict=True):
        some = seeds[:PART]
        _, score, captions = judged(trial, nar.NET, None, some, share=share)
        point["objects"] = 100 * float(score.right.sum() / (captions[..., 0] >= 0).sum())
    yield out | {"points": points}


def price(trial: Trial) -> Iterator[Result]:
    """Nats a code of held-out scenes, by diagonals minus row by row, the same codes."""
    ours, theirs = network(trial, nar.NET), network(trial, raster.NET)
    nats: dict[str, list[float]] = {"by diagonals": [], "row by row": []}
    seeds = trial.seeds(trial.size(256, 16))
    for start in range(0, len(seeds), PART):
        trial.ask()
        codes, objects = encode(VQ, cast(range, [held_out(seed) for seed in seeds[start : start + PART]]))
        with torch.no_grad():
            nats["by diagonals"] += surprise(ours(*ours.condition(objects), codes), codes[:, ours.order]).tolist()
            nats["row by row"] += surprise(theirs(*theirs.condition(objects), codes[:, :-1]), codes).tolist()
        points = [{"x": name, "y": float(np.mean(values))} for name, values in nats.items()]
        more = np.subtract(nats["by diagonals"], nats["row by row"])
        yield stats.mean(more.tolist()) | {"points": points, "conditions": {"batch": PART}}
