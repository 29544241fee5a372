"""How the claims about planned films are measured. Each function takes a `Trial`.

`trial.subject` replaces what is put to the test: a decode loop in place of the planned lane's (`links`), a network
(`drift`), or how gaps are filled (`batched_fill`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from engines import stats, weights
from engines.events import Begin, Event, Forward, expand
from engines.noise import Noise
from engines.runtime import Trial, abreast
from engines.scene_settings import held_out
from engines.video.crew import slots_of
from engines.video.model import NET, VAE, Planner, Session, Work, patches, unpatched
from engines.video.reel import STRIDE, Reel, Spot, fills, given, next_frames, plan
from engines.video.schedule import makespan, schedule
from engines.worlds import judges, scenes

Result = dict[str, Any]
BEATS, STEPS, TEMPERATURE = 7, 6, 0.5
ROWS = 16  # films in one batch
PARTS = 64  # pictures decoded or looked at in one call
# Ways to make a film, and whether frames that start a beat are read anew.
WAYS = {"keys first": False, "frame by frame": False, "frame by frame, read anew": True}
LATE = 2  # beats that count as the end
LOOKS = (2, 7, 9)  # frames of a beat that are looked at: two of gaps and a key, none in the middle of a move
REDRAWS = 200  # bootstraps of FD-mini, which is dear


# links-in-the-chain -------------------------------------------------------------------------------------


class Depth(NamedTuple):
    """How far a frame is from the given one: painted frames in a row, and evaluations that wait for one another."""

    links: int
    calls: int


def depths(events: Sequence[Event]) -> dict[int, Depth]:
    """The depth of every frame of a lane, from what each evaluation read and painted."""
    begin = cast(Begin, events[0])
    painters = {net["id"] for net in begin.nets if net["role"] == "target"}
    found = {frame: Depth(0, 0) for frame in expand((begin.given or {})["cells"])}
    calls = dict.fromkeys(painters, 0)
    for e in events:
        if isinstance(e, Forward) and e.net in painters:
            more, calls[e.net] = e.calls - calls[e.net], e.calls
            reads = [found[frame] for frame in expand(e.reads)]
            depth = Depth(1 + max(d.links for d in reads), more + max(d.calls for d in reads))
            found |= dict.fromkeys(expand(e.predicts), depth)
    return found


def links(trial: Trial) -> Iterator[Result]:
    """The deepest frame of a film of S beats: it hangs on S + 1 links if planned, on (F - 1) S frame by frame.

    Counted at several lengths; shown is the share at the length of the page.
    """
    trial = trial.with_subject("mmpl")
    good, points, share, lengths = 0, [], 1.0, (2, 4, BEATS)
    for beats in lengths:
        trial.ask()
        deepest = {}
        for lane, way in zip(("mmpl", "frame"), WAYS, strict=False):
            events = trial.run(trial.seeds(1)[0], {"beats": beats, "previews": False}, lane)
            at = depths(events)
            deepest[lane] = Depth(max(d.links for d in at.values()), max(d.calls for d in at.values()))
            points.append({"x": f"{len(at)} frames, {way}", "y": deepest[lane].links,
                           "calls_in_a_row": deepest[lane].calls})
        planned, plain = deepest["mmpl"], deepest["frame"]
        good += planned == (beats + 1, STEPS * (beats + 1)) and plain == (STRIDE * beats, STEPS * STRIDE * beats)
        share = planned.links / plain.links
    wrong = {} if good == len(lengths) else {"holds": False, "reason": "a chain is not as long as it should be"}
    yield {"here": share, "low": share, "high": share, "n": len(lengths), "points": points, **wrong}


# drift --------------------------------------------------------------------------------------------------


@torch.inference_mode()
def made(net: Planner, seeds: Sequence[int], way: str, anew: bool = False, steps: int = STEPS) -> Reel:
    """The films of these seeds, as the lanes make them, all in one batch."""
    vae = cast(Any, weights.load(VAE))
    reel, session = Reel(seeds, BEATS, given(seeds, vae)[1], temperature=TEMPERATURE), net.session()

    def paint(spots: Sequence[Spot]) -> None:
        reel.put(spots, session(reel.work(spots), steps))

    def start(beat: int) -> None:
        if beat and anew:
            reel.starts[beat] = patches(vae.encode(vae.decode(unpatched(reel.x[:, beat * STRIDE]))))

    if way.startswith("frame by frame"):
        for spot in next_frames(BEATS):
            if spot.job.beside == 0:
                start(spot.beat)
            paint([spot])
        return reel
    for beat in range(BEATS):
        start(beat)
        paint([plan(beat)])
    for beat in range(BEATS):
        paint(fills(beat))
    return reel


class Seen(NamedTuple):
    """Of N films, n frames of every beat: toys right and there (N, S n), the judge's features (N, S n, d)."""

    right: np.ndarray
    there: np.ndarray
    features: Tensor

    @staticmethod
    def join(parts: Sequence[Seen]) -> Seen:
        right, there, features = zip(*parts, strict=True)
        return Seen(np.concatenate(right), np.concatenate(there), torch.cat(features))


def looks() -> list[int]:
    """The frames of a film that are looked at."""
    return [beat * STRIDE + k for beat in range(BEATS) for k in LOOKS]


@torch.inference_mode()
def looked_at(images: Tensor, reel: Reel) -> Seen:
    """images (N · S n, 3, 64, 64), the frames of a film side by side."""
    films = len(reel.x)
    told = torch.stack([reel.told(frame) for frame in looks()], 1).flatten(0, 1)
    right, there = judges.score(images, told).right.sum(1), (told[..., 0] >= 0).sum(1)
    features = judges.features(images)
    return Seen(right.view(films, -1).numpy(), there.view(films, -1).numpy(), features.unflatten(0, (films, -1)))


@torch.inference_mode()
def each_way(net: Planner, seeds: Sequence[int], ways: Mapping[str, bool] = WAYS) -> dict[str, Seen]:
    """What the judge sees in films of the same scripts: made in these ways, true ones, and if nothing ever moved."""
    vae, found = cast(Any, weights.load(VAE)), {}
    for way, anew in ways.items():
        reel = made(net, seeds, way, anew)
        latents = reel.latents(looks())
        found[way] = looked_at(torch.cat([vae.decode(part) for part in latents.split(PARTS)]), reel)
    film = scenes.film([held_out(seed) for seed in seeds], BEATS, STRIDE + 1, [0, *looks()])
    first, rest = film.images[:, :1], film.images[:, 1:]
    still = looked_at(first.expand_as(rest).flatten(0, 1), reel)
    return found | {"true films": looked_at(rest.flatten(0, 1), reel), "first frame, held": still}


def window(beat: int, beats: int = 1) -> slice:
    """Frames of beats beat, beat + 1, … among those that are looked at."""
    return slice(beat * len(LOOKS), (beat + beats) * len(LOOKS))


def fd(a: Seen, b: Seen, where: slice, pick: np.ndarray | None = None) -> float:
    rows = torch.arange(len(a.features)) if pick is None else torch.from_numpy(pick)
    return judges.fd_mini(*(seen.features[rows][:, where].flatten(0, 1) for seen in (a, b)))


def right(seen: Seen) -> np.ndarray:
    """Of each film (N,): the toys that are right in its last beats, in percent."""
    late = window(BEATS - LATE, LATE)
    return cast(np.ndarray, 100 * seen.right[:, late].sum(1) / seen.there[:, late].sum(1))


def drift(trial: Trial) -> Iterator[Result]:
    """Both lanes start from the same true frame; what is left in the last two beats: toys right, and FD-mini."""
    net = trial.subject or cast(Planner, weights.load(NET))
    seeds = trial.seeds(trial.size(96, ROWS))
    chunks = [seeds[i : i + ROWS] for i in range(0, len(seeds), ROWS)]

    def work(some: Sequence[int]) -> dict[str, Seen]:
        trial.ask()
        return each_way(net, some)

    parts: list[dict[str, Seen]] = []
    for i, part in enumerate(abreast(work, chunks)):
        parts.append(part)
        if i + 1 in (max(1, len(chunks) // 2), len(chunks)):
            yield _drift({way: Seen.join([one[way] for one in parts]) for way in part})


def _drift(seen: dict[str, Seen]) -> Result:
    plain, planned, true = seen["frame by frame"], seen["keys first"], seen["true films"]
    # To drift less than noise does is no merit: a planned film must also tell more than its first frame does.
    moves = stats.mean((right(planned) - right(seen["first frame, held"])).tolist())
    found = stats.mean((right(planned) - right(plain)).tolist())
    late, rng = window(BEATS - LATE, LATE), np.random.default_rng(0)
    picks = [rng.integers(len(true.right), size=len(true.right)) for _ in range(REDRAWS)]
    more = [fd(plain, true, late, pick) - fd(planned, true, late, pick) for pick in picks]
    low, high = np.percentile(more, [2.5, 97.5])
    points = []
    for way, own in seen.items():
        for beat in range(BEATS):
            where = window(beat)
            found_, there = own.right[:, where].sum(1), own.there[:, where].sum(1)
            share = stats.ratio_of_means((100 * found_).tolist(), there.tolist())
            points.append({"x": f"{way}, beat {beat + 1}", "y": share["here"], "low": share["low"],
                           "high": share["high"], "fd_mini": fd(own, true, where)})
    told = {"batch": ROWS, "steps": STEPS, "temperature": TEMPERATURE, "FD-mini of the last beats":
            f"{fd(planned, true, late):.3f} keys first, {fd(plain, true, late):.3f} frame by frame, "
            f"difference [{low:.3f}, {high:.3f}]"}
    holds = bool(found["low"] > 0 and low > 0 and moves["low"] > 0)
    why = {} if holds else {"reason": "keys first is not surely better in both toys right and FD-mini"}
    return found | {"holds": holds, "points": points, "conditions": told} | why


# batched-fill, two-workers ------------------------------------------------------------------------------


def one_batch(reel: Reel, session: Session, gaps: Sequence[Spot]) -> None:
    reel.put(gaps, session(reel.work(gaps), STEPS))


def one_by_one(reel: Reel, session: Session, gaps: Sequence[Spot]) -> None:
    for gap in gaps:
        reel.put([gap], session(reel.work([gap]), STEPS))


@torch.inference_mode()
def batched_fill(trial: Trial) -> Iterator[Result]:
    """Time to fill the 21 gaps of a planned film one after the other, and all in one batch; the frames are the same."""
    together: Callable[..., None] = trial.subject or one_batch
    net, vae = cast(Planner, weights.load(NET)), cast(Any, weights.load(VAE))
    seeds, session = trial.seeds(8), net.session()
    gaps = [gap for beat in range(BEATS) for gap in fills(beat)]
    reels = []
    for seed in seeds:
        reel = Reel([seed], BEATS, given([seed], vae)[1], temperature=TEMPERATURE)
        for beat in range(BEATS):
            reel.put([plan(beat)], session(reel.work([plan(beat)]), STEPS))
        reels.append(reel)
    apart = 0.0
    for reel, seed in zip(reels[:2], seeds, strict=False):
        filled = []
        for way in (one_by_one, together):
            reel.noises = [Noise(seed)]  # both draw their numbers for the first time
            reel.x[:, [frame for gap in gaps for frame in gap.frames]] = 0
            way(reel, session, gaps)
            filled.append(reel.x.clone())
        apart = max(apart, float((filled[0] - filled[1]).abs().max()))

    def timed(way: Callable[..., None]) -> Callable[[int], float]:
        def once(i: int) -> float:
            with torch.inference_mode():
                way(reels[i % len(reels)], session, gaps)
            return 1.0

        return once

    found = stats.abba(timed(one_by_one), timed(together), trial.size(31, 21), trial.ask)
    if apart > 1e-4:
        found |= {"holds": False, "reason": f"the frames differ by {apart:.2g}"}
    yield found | {"conditions": {"gaps": len(gaps), "batch": len(gaps), "frames differ by at most": apart}}


def two_workers(trial: Trial) -> Iterator[Result]:
    """Wall time of the lane with real workers: one against two. What could be had: see the points."""
    def timed(workers: int) -> Callable[[int], float]:
        def once(i: int) -> float:
            trial.run(trial.seeds(8)[i % 8], {"workers": workers, "previews": False}, "crew", quiet=True)
            return 1.0

        return once

    found = stats.abba(timed(1), timed(2), trial.size(21), trial.ask)
    # The CPU clock is that of the thread that waits for the workers: it says nothing here.
    for key in ("holds", "reason", "cpu_ratio"):
        found.pop(key, None)
    plan_ms, fill_ms = _costs(trial)
    ideal = {p: makespan(schedule([plan_ms] * BEATS, [fill_ms] * BEATS, 1))
             / makespan(schedule([plan_ms] * BEATS, [fill_ms] * BEATS, p)) for p in (2, 4, 8)}
    points = [{"x": "two workers, measured", "y": found["here"], "low": found["low"], "high": found["high"]},
              {"x": "two threads on work that waits for nothing, measured", "y": calibrated()}]
    points += [{"x": f"{p} workers, computed from the times of single jobs", "y": ratio} for p, ratio in ideal.items()]
    told = {"threads": "one a worker", "plan takes, ms": round(plan_ms, 2), "fill takes, ms": round(fill_ms, 2),
            "tasks": len(slots_of(BEATS, 2))}
    yield found | {"points": points, "conditions": told}


def _costs(trial: Trial) -> tuple[float, float]:
    """Median milliseconds of a plan and of a fill with one worker, all its evaluations together."""
    costs: dict[bool, list[float]] = {True: [], False: []}
    for seed in trial.seeds(3):
        ms = 0.0
        for e in trial.run(seed, {"workers": 1, "previews": False}, "crew", quiet=True):
            if isinstance(e, Forward):
                ms += e.ms
                if e.net == VAE and e.reads != e.predicts and len(expand(e.reads)) > 1:
                    frames = expand(e.reads)  # a job ends with the decoding of its frames
                    costs[len(frames) == 3].append(ms)
                    ms = 0.0
    return float(np.median(costs[True])), float(np.median(costs[False]))


def calibrated(walks: int = 24) -> float:
    """How many times faster two threads do independent walks than one thread, on this machine, now."""
    net = cast(Planner, weights.load(NET))

    def some(n: int) -> None:
        session = net.session()
        with torch.inference_mode():
            for _ in range(n):
                session(Work.blank(plan(0).job), STEPS)

    def timed(threads: int) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(some, [walks // threads] * threads))
        return time.perf_counter() - start

    timed(2)
    return float(np.median([timed(1) / timed(2) for _ in range(7)]))
