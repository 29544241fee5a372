"""How the claims about painting code by code are measured. Each function takes a `Trial`.

What is put to the test comes from the trial's `subject` where there is one: {network's name: network} for the claims
about pictures, a function network -> session for the claim about caches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from engines import stats, weights
from engines.noise import Noise
from engines.raster import random_order, raster
from engines.raster.canvas import CELLS, SIDE, VQ
from engines.raster.guidance import Rule, guide, law
from engines.raster.model import RandomOrder
from engines.raster.sampler import ROWS, keyed, paint, schedule
from engines.runtime import Trial
from engines.scene_settings import captions_of, held_out
from engines.worlds import judges, scenes

Result = dict[str, Any]
OBJECTS, SCENES = 0.97, 0.90
CLOSE = 1e-4
# Steps of the runs in which the any-order network draws several codes at once.
TOGETHER = 8
# What is painted for the price of freedom: title, network, order (None: the only one that it knows).
WAYS = (
    ("row-by-row net, row by row", raster.NET, None),
    ("any-order net, row by row", random_order.NET, "raster"),
    ("any-order net, from the edge inwards", random_order.NET, "spiral"),
    ("any-order net, at random", random_order.NET, "random"),
)


def network(trial: Trial, name: str) -> Any:
    """The stored network of this name, or the one that a test hands in."""
    return (trial.subject or {}).get(name) or weights.load(name)


def order_of(name: str) -> Callable[[int], Sequence[int]]:
    """seed -> cells, as the lane has them."""
    return lambda seed: random_order.ORDER.cells_of(name, SIDE, SIDE, Noise(seed))


@torch.no_grad()
def picture_of(codes: Tensor) -> Tensor:
    return torch.cat([cast(Any, weights.load(VQ)).decode(part) for part in codes.split(ROWS)])


def judged(
    trial: Trial, name: str, order: str | None, seeds: Sequence[int], **how: Any
) -> tuple[Tensor, judges.Score, Tensor]:
    """Pictures of the captions of these seeds, at the best guidance, what the scoring judge says, and the captions.

    how: what `sampler.paint` takes beside.
    """
    objects = captions_of(seeds)
    codes = paint(network(trial, name), objects, seeds, Rule(), order_of(order) if order else None,
                  ask=trial.ask, **how)
    images = picture_of(codes)
    return images, judges.score(images, objects), objects


def judge(trial: Trial) -> Iterator[Result]:
    """Objects right (shape, colour, size and cell) and scenes wholly right; both shares must hold."""
    right: list[float] = []
    there: list[float] = []
    whole: list[float] = []
    seeds = trial.seeds(trial.size(1_024))
    for start in range(0, len(seeds), 256):
        _, score, objects = judged(trial, raster.NET, None, seeds[start : start + 256])
        right += score.right.sum(1).tolist()
        there += (objects[..., 0] >= 0).sum(1).tolist()
        whole += score.scene.tolist()
        of_objects, of_scenes = stats.ratio_of_means(right, there), stats.share(int(sum(whole)), len(whole))
        holds = None
        if of_objects["low"] >= OBJECTS and of_scenes["low"] >= SCENES:
            holds = True
        elif of_objects["high"] < OBJECTS or of_scenes["high"] < SCENES:
            holds = False
        yield of_objects | {"holds": holds, "points": [
            {"x": "objects right", "y": of_objects["here"], "low": of_objects["low"], "high": of_objects["high"]},
            {"x": "scenes wholly right", "y": of_scenes["here"], "low": of_scenes["low"], "high": of_scenes["high"]},
        ], "conditions": {"batch": ROWS, "guidance": Rule().guidance}}


def cached_equals_full(trial: Trial) -> Iterator[Result]:
    """Every cell's logits, both rows of the pair, from the cache and from one pass over the whole sequence."""
    session_of = trial.subject or (lambda net, rows: net.session(rows))
    good, total, points = 0, 0, []
    seeds = list(trial.seeds(trial.size(16)))
    objects = captions_of(seeds)
    for name in (raster.NET, random_order.NET):
        trial.ask()
        net = cast(Any, weights.load(name))
        gap = _gaps(net, session_of(net, 2 * len(seeds)), objects, seeds)
        good, total = good + int((gap <= CLOSE).sum()), total + gap.numel()
        points.append({"x": name, "y": float(gap.max()), "n": gap.numel()})
        yield stats.exact(good, total) | {"points": list(points), "conditions": {"batch": 2 * len(seeds)}}


@torch.no_grad()
def _gaps(net: Any, session: Any, objects: Tensor, seeds: Sequence[int]) -> Tensor:
    """(2, B, cells): largest difference between the logits of a cell, cached and full, along codes that were drawn.

    Both networks are compared with the pass that training uses. Codes that the any-order network draws together do
    not see each other, which no training pass shows; those calls are compared with a session that never saw another.
    """
    rows, pick = len(seeds), keyed(seeds)
    values = torch.zeros(rows, 0, dtype=torch.long)
    condition = net.condition(objects.repeat(2, 1, 1), torch.arange(2 * rows) < rows)
    cached: list[Tensor] = []
    if not isinstance(net, RandomOrder):
        for cell in range(CELLS):
            cached.append(session(objects, values, True))
            values = torch.cat([values, _drawn(cached[-1], pick, torch.full((rows, 1), cell))], dim=1)
        full = net(*condition, values[:, :-1].repeat(2, 1))
        return (torch.cat(cached, dim=2) - full.unflatten(0, (2, rows))).abs().amax(-1)
    order, gaps = torch.tensor([order_of("random")(seed) for seed in seeds]), []
    for targets in order.split(1, dim=1):
        cached.append(session(objects, order[:, : values.shape[1]], values, targets, True))
        values = torch.cat([values, _drawn(cached[-1], pick, targets)], dim=1)
    codes = torch.empty_like(values).scatter(1, order, values)
    full = net(*condition, codes.repeat(2, 1), order.repeat(2, 1))
    gaps.append((torch.cat(cached, dim=2) - full.unflatten(0, (2, rows))).abs().amax(-1))
    session.reset()
    values = values[:, :0]
    for targets in order.split(schedule(CELLS, TOGETHER), dim=1):
        call = (objects, order[:, : values.shape[1]], values, targets, True)
        z = session(*call)
        gaps.append((z - net.session(2 * rows)(*call)).abs().amax(-1))
        values = torch.cat([values, _drawn(z, pick, targets)], dim=1)
    return torch.cat(gaps, dim=2)


def _drawn(z: Tensor, pick: Callable[[Tensor, np.ndarray], Tensor], cells: Tensor) -> Tensor:
    return pick(cells, law(guide(z, Rule(), 0, CELLS), Rule()))


def order_cost(trial: Trial) -> Iterator[Result]:
    """Objects right by network and order, the same captions and seeds; random order minus row by row leads."""
    seeds = trial.seeds(trial.size(192, at_least=32))
    real = [judges.features(scenes.draw([held_out(seed + far) for seed in seeds]).image) for far in (10**8, 2 * 10**8)]
    points = [{"x": "two sets of real scenes", "fd": judges.fd_mini(*real)}]
    shares: list[list[float]] = []
    there: list[float] = []
    for title, name, order in WAYS:
        images, score, objects = judged(trial, name, order, seeds)
        there = (objects[..., 0] >= 0).sum(1).tolist()
        shares.append(score.right.sum(1).tolist())
        own = stats.ratio_of_means(shares[-1], there)
        points.append({"x": title, "y": own["here"], "low": own["low"], "high": own["high"],
                       "scenes": float(score.scene.float().mean()),
                       "fd": judges.fd_mini(judges.features(images), real[0])})
        if len(shares) > 1:
            lost = 100 * np.subtract(shares[-1], shares[0])
            yield stats.ratio_of_means(lost.tolist(), there) | {
                "points": list(points), "conditions": {"batch": ROWS, "pictures": len(seeds)}}
