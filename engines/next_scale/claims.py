"""How the claims about drawing scale by scale are measured. Each function takes a `Trial`.

`trial.subject` replaces what is put to the test: a lane's decode loop (`calls`, `wall`), a painter of pictures
(`judge_non_inferior`, `guidance_ramp`) or a tokenizer (`more_scales_less_error`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engines import stats, weights
from engines.next_scale.sample import DEFAULTS, NET, TOKENIZER, paint
from engines.raster.claims import picture_of
from engines.raster.guidance import BEST, Rule
from engines.raster.sampler import paint as paint_codes
from engines.runtime import Trial, threads
from engines.scene_settings import captions_of, held_out
from engines.tally import counted, race, runner
from engines.worlds import judges, scenes

Result = dict[str, Any]
# captions (n, 4, 4), one seed a picture -> pictures (n, 3, 64, 64)
Pictures = Callable[[Tensor, Sequence[int]], Tensor]
BATCH = 64


def scale_by_scale(captions: Tensor, seeds: Sequence[int], **how: Any) -> Tensor:
    return paint(weights.load(NET), weights.load(TOKENIZER), captions, seeds, **how)


def row_by_row(captions: Tensor, seeds: Sequence[int]) -> Tensor:
    """The baseline: its own network and tokenizer, guidance at its best, the same filters."""
    rule = Rule(guidance=BEST, top_k=DEFAULTS["top_k"], top_p=DEFAULTS["top_p"], temperature=DEFAULTS["temperature"])
    return picture_of(paint_codes(weights.load("raster/raster"), captions, seeds, rule))


def calls_6_vs_64(trial: Trial) -> Iterator[Result]:
    """Runs of both lanes: one call for each of the 6 scales, one for each of the 64 codes, and every cell drawn."""
    yield from counted(trial.with_subject("var"), {"var": (6, 130), "raster": (64, 64)})


def wall(trial: Trial) -> Iterator[Result]:
    """Time of a picture row by row over time of a picture scale by scale, whole lanes, last decode included."""
    trial = trial.with_subject("var")
    seeds = trial.seeds(100)

    def batch(pictures: Pictures) -> Callable[[int], float]:
        def paint_some(i: int) -> float:
            some = seeds[16 * i % 64 : 16 * i % 64 + 16]
            return float(len(pictures(captions_of(some), some)))

        return paint_some

    def point(name: str, got: Result) -> Result:
        return {"x": name, "y": got["here"], "low": got["low"], "high": got["high"], "n": got["n"]}

    out = race(trial, "raster", "var")
    points = [point("one picture, one thread", out)]
    yield out | {"points": list(points)}
    if trial.nets is not None:  # what is only reported needs the stored networks
        return
    points.append(point("16 pictures, one thread", stats.abba(batch(row_by_row), batch(scale_by_scale), 21, trial.ask)))
    yield out | {"points": list(points)}
    with threads(2):
        slow, fast = runner(trial, "raster"), runner(trial, "var")
        points.append(point("one picture, two threads", stats.abba(slow, fast, 21, trial.ask)))
    yield out | {"points": points}


def right(images: Tensor, captions: Tensor) -> np.ndarray:
    """Percent of each caption's objects that the scoring judge finds, (n,)."""
    there = captions[..., 0] >= 0
    found = judges.score(images, captions).right & there
    return (100 * found.sum(1) / there.sum(1)).numpy()


def judge_non_inferior(trial: Trial) -> Iterator[Result]:
    """Percent of objects right, scale by scale minus row by row, the same captions; its low end must reach -3."""
    ours: Pictures = trial.subject or scale_by_scale
    n = trial.size(1_024, BATCH)
    kinds: dict[str, Pictures] = {"scale by scale": ours, "row by row": row_by_row}
    got: dict[str, list[float]] = {name: [] for name in kinds}
    whole: dict[str, list[bool]] = {name: [] for name in kinds}
    for start in range(0, n, BATCH):
        trial.ask()
        seeds = trial.seeds(n)[start : start + BATCH]
        captions = captions_of(seeds)
        for name, pictures in kinds.items():
            images = pictures(captions, seeds)
            got[name] += right(images, captions).tolist()
            whole[name] += judges.score(images, captions).scene.tolist()
        out = stats.mean(np.subtract(got["scale by scale"], got["row by row"]).tolist())
        points = [{"x": f"{name}: objects right, %", "y": float(np.mean(got[name]))} for name in kinds]
        points += [{"x": f"{name}: scenes wholly right, %", "y": 100 * float(np.mean(whole[name]))} for name in kinds]
        out |= {"points": points, "conditions": {"batch": BATCH}}
        if start == 0:
            yield out
    yield out


STRENGTHS = {
    "none": {"guidance": 0.0},
    "1.5, growing": {"guidance": 1.5},
    "1.5, constant": {"guidance": 1.5, "ramp": False},
    "4, growing": {"guidance": 4.0},
    "4, constant": {"guidance": 4.0, "ramp": False},
}


def guidance_ramp(trial: Trial) -> Iterator[Result]:
    """Percent of objects right with growing guidance minus without; `spread` is how far two pictures of a caption lie
    apart (root mean square over pixels)."""
    pictures: Callable[..., Tensor] = trial.subject or scale_by_scale
    n = trial.size(192, 8)
    seeds = trial.seeds(2 * n)
    captions = captions_of(seeds[:n])
    found: dict[str, np.ndarray] = {}
    points = []
    for name, how in STRENGTHS.items():
        trial.ask()
        one, two = (pictures(captions, some, **how) for some in (seeds[:n], seeds[n:]))
        found[name] = (right(one, captions) + right(two, captions)) / 2
        spread = (one - two).square().mean((1, 2, 3)).sqrt().numpy()
        own = stats.mean(found[name].tolist())
        points.append({"x": name, "y": own["here"], "low": own["low"], "high": own["high"],
                       "spread": float(spread.mean())})
        if name == "1.5, growing":
            out = stats.mean((found[name] - found["none"]).tolist())
            yield out | {"points": list(points), "holds": None}
    yield out | {"points": points, "holds": True if out["low"] > 0 else False if out["high"] <= 0 else None}


@torch.inference_mode()
def errors_by_scale(tokenizer: Any, images: Tensor) -> np.ndarray:
    """(K, n): mean squared error per pixel of pictures decoded from their first 1, 2, …, K scales."""
    pictures = map(tokenizer.decode, tokenizer.running(tokenizer.encode(images)))
    return np.stack([(picture - images).square().mean((1, 2, 3)).numpy() for picture in pictures])


def more_scales_less_error(trial: Trial) -> Iterator[Result]:
    """Held-out scenes through the tokenizer: error with k + 1 scales over error with k, the worst step of all."""
    tokenizer = trial.subject or weights.load(TOKENIZER)
    n, parts = trial.size(512, BATCH), []
    for start in range(0, n, BATCH):
        trial.ask()
        images = scenes.draw([held_out(seed) for seed in trial.seeds(n)[start : start + BATCH]]).image
        parts.append(errors_by_scale(tokenizer, images))
        if start == 0 or start + BATCH >= n:
            e = np.concatenate(parts, axis=1)
            steps = [stats.ratio_of_means(e[k + 1], e[k]) for k in range(len(e) - 1)]
            means = [stats.mean(row) for row in e]
            points = [{"x": f"{k + 1} scales", "y": m["here"], "low": m["low"], "high": m["high"]}
                      for k, m in enumerate(means)]
            falls = float((np.diff(e, axis=0) < 0).all(axis=0).mean())
            points.append({"x": "pictures whose error falls at every scale, %", "y": 100 * falls})
            worst = max(steps, key=lambda step: step["here"])
            yield worst | {"points": points, "holds": worst["high"] < 1}
