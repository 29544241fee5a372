"""How the claims about codes that steer denoising are measured. Each function takes a `Trial`.

`trial.subject` replaces what is put to the test: a function from codes and seeds to previews (`previews_converge`), a
network over codes (`prefix_keeps_layout`, `judge`), a decode loop in place of the lane's (`plain_next_token`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from engines import stats, weights
from engines.events import Commit, Event
from engines.next_x import dar
from engines.next_x.dar import GROUPS, TOLD
from engines.next_x.model import NET, TOKENIZER, Sequential
from engines.raster import raster
from engines.raster.canvas import rule_of
from engines.raster.claims import picture_of
from engines.raster.guidance import BEST, Rule
from engines.raster.sampler import ROWS, paint
from engines.runtime import Trial
from engines.scene_settings import asked, captions_of, held_out
from engines.worlds import judges, scenes

Result = dict[str, Any]
# codes (n, 64), a seed a picture -> the jumps after each group (n, 8, 3, 64, 64) and the pictures (n, 3, 64, 64)
Previews = Callable[[Tensor, Sequence[int]], tuple[Tensor, Tensor]]
GUIDANCE = 2.5
KEPT = (1, 2, 4)
LED_BY = 2


def tokenizer() -> Sequential:
    return cast(Sequential, weights.load(TOKENIZER))


def network(trial: Trial) -> Any:
    return trial.subject or weights.load(NET)


@torch.inference_mode()
def jumps(ids: Tensor, seeds: Sequence[int], multistep: bool = True) -> tuple[Tensor, Tensor]:
    """All pictures that the lanes of these seeds jump to on their way along codes ids, and the finished ones."""
    net = tokenizer()
    way = list(net.walk(ids, dar.starts(seeds), multistep))
    seen, last = torch.stack([x1 for x1, _ in way], dim=1), way[-1][1]
    return (seen / net.std).clamp(-1, 1), (last / net.std).clamp(-1, 1)


def parts(ids: Tensor, seeds: Sequence[int]) -> list[tuple[Tensor, Sequence[int]]]:
    return [(ids[i : i + ROWS], seeds[i : i + ROWS]) for i in range(0, len(seeds), ROWS)]


def previews_converge(trial: Trial) -> Iterator[Result]:
    """Root mean square distance of each jump to the finished picture; every group must bring it down in the mean."""
    seeds = trial.seeds(trial.size(256, 32))
    ids = paint(weights.load(NET), captions_of(seeds), seeds, Rule(GUIDANCE), ask=trial.ask)
    yield from _falls(trial, seeds, ids, None)


def groups_add(trial: Trial) -> Iterator[Result]:
    """The same to the picture that was encoded: whether each group tells something new of it."""
    seeds = trial.seeds(trial.size(256, 32))
    true = scenes.draw([held_out(seed) for seed in seeds]).image
    with torch.inference_mode():
        ids = torch.cat([tokenizer().encode(part) for part in true.split(ROWS)])
    for result in _falls(trial, seeds, ids, true):
        far = [point["y"] for point in result["points"]]
        early = 100 * (far[0] - far[4]) / max(far[0] - far[-1], 1e-9)
        yield result | {"reason": f"Groups 2 to 5 bring {early:.0f} % of the whole fall, the last three the rest."}


def _falls(trial: Trial, seeds: Sequence[int], ids: Tensor, goals: Tensor | None) -> Iterator[Result]:
    """goals (n, 3, 64, 64): what the jumps along ids shall come near to; the finished pictures if None."""
    previews: Previews = trial.subject or jumps
    far: list[np.ndarray] = []
    for part, some in parts(ids, seeds):
        trial.ask()
        seen, last = previews(part, some)
        goal = last if goals is None else goals[len(far) : len(far) + len(some)]
        far += list((seen - goal[:, None]).square().mean((2, 3, 4)).sqrt().numpy())
        if len(far) == len(seeds) or len(far) == 2 * ROWS:
            yield _fall(np.stack(far))


def _fall(far: np.ndarray) -> Result:
    """far (n, 8): distances by group. The least of the 7 mean falls from one group to the next decides."""
    falls = [stats.mean((far[:, g] - far[:, g + 1]).tolist()) for g in range(GROUPS - 1)]
    least = min(falls, key=lambda fall: fall["low"])
    always = float((np.diff(far, axis=1) < 0).all(axis=1).mean())
    points = [{"x": g + 1, "y": own["here"], "low": own["low"], "high": own["high"]}
              for g in range(GROUPS) for own in [stats.mean(far[:, g].tolist())]]
    told = {"batch": ROWS, "guidance": GUIDANCE, "falls in every step": always}
    return least | {"points": points, "conditions": told}


def places(images: Tensor) -> Tensor:
    """(n, 9) bool: where the scoring judge sees a toy."""
    return judges.read(images).shape >= 0


def prefix_keeps_layout(trial: Trial) -> Iterator[Result]:
    """Share of the nine cells that are taken, or free, as in a reference: with its first groups given, and without.

    Each picture has a caption of its own, drawn apart from the reference's; seeds and captions are the same in both.
    """
    seeds = trial.seeds(trial.size(160, 32))
    net, captions = network(trial), captions_of(seeds)
    references = captions_of([seed + 10**6 for seed in seeds])
    given = []
    for i, seed in enumerate(seeds):
        image = scenes.render(references[i : i + 1], [held_out(seed + 10**6)]).image
        with torch.inference_mode():
            given.append(tokenizer().encode(image))
    codes = torch.cat(given)
    layout = judges.targets(references)[..., 0] >= 0

    def agree(groups: int) -> np.ndarray:
        known = codes[:, : groups * TOLD] if groups else None
        ids = paint(net, captions, seeds, Rule(GUIDANCE), ask=trial.ask, known=known)
        return (places(dar.decoded(tokenizer(), ids, seeds)) == layout).float().mean(1).numpy()

    chance = agree(0)
    points = [{"x": 0, "y": float(chance.mean())}]
    out: Result = {}
    for groups in KEPT:
        held = agree(groups)
        own = stats.mean(held.tolist())
        points.append({"x": groups, "y": own["here"], "low": own["low"], "high": own["high"]})
        if groups == LED_BY:
            out = stats.mean((100 * (held - chance)).tolist())
        if out:
            yield out | {"points": list(points), "conditions": {"batch": ROWS, "guidance": GUIDANCE, "groups": LED_BY}}


def written(events: Sequence[Event]) -> list[int]:
    """The codes that a lane wrote, in the order of writing."""
    return [value for e in events if isinstance(e, Commit) for value in e.values]


def plain_next_token(trial: Trial) -> Iterator[Result]:
    """The lane's codes, and those of the loop that knows nothing of groups or pixels, on the same numbers."""
    trial = trial.with_subject("d-ar")
    n, good = trial.size(24, 8), 0
    shared = float(dar.write is raster.write)
    for i, seed in enumerate(trial.seeds(n)):
        trial.ask()
        s = trial.exhibit.parse({"previews": False})
        events = trial.run(seed, vars(s), "d-ar")
        plain = paint(weights.load(NET), asked(s.caption, seed), [seed], rule_of(s))[0].tolist()
        good += bool(shared) and written(events) == plain
        if i in (n // 4, n - 1):
            yield stats.exact(good, i + 1) | {"points": [{"x": "one function for a turn of both lanes", "y": shared}]}


def judge(trial: Trial) -> Iterator[Result]:
    """Percent of objects right, group by group minus row by row: same captions, numbers, sizes; each at its best."""
    seeds = trial.seeds(trial.size(320, ROWS))
    captions = captions_of(seeds)
    real = judges.features(scenes.draw([held_out(seed + 10**8) for seed in seeds]).image)
    there = (captions[..., 0] >= 0).sum(1).tolist()
    right: dict[str, list[float]] = {}
    points: list[dict[str, Any]] = []
    by_rows, by_groups, real_ones = "row by row", "group by group", "codes of real pictures"

    def note(name: str, images: Tensor) -> None:
        score = judges.score(images, captions)
        right[name] = score.right.sum(1).tolist()
        own = stats.ratio_of_means(right[name], there)
        points.append({"x": name, "y": own["here"], "low": own["low"], "high": own["high"],
                       "scenes": float(score.scene.float().mean()),
                       "fd": judges.fd_mini(judges.features(images), real)})

    with torch.inference_mode():
        codes = paint(weights.load(raster.NET), captions, seeds, Rule(BEST), ask=trial.ask)
        note(by_rows, picture_of(codes))
        ids = paint(network(trial), captions, seeds, Rule(GUIDANCE), ask=trial.ask)
        note(by_groups, dar.decoded(tokenizer(), ids, seeds))
        true = scenes.render(captions, [held_out(seed) for seed in seeds]).image
        ids = torch.cat([tokenizer().encode(part) for part in true.split(ROWS)])
        note(real_ones, dar.decoded(tokenizer(), ids, seeds))
    lost = (100 * np.subtract(right[by_groups], right[by_rows])).tolist()
    kept, drawn = (100 * next(p["y"] for p in points if p["x"] == name) for name in (real_ones, by_groups))
    costs = "its tokenizer" if 100 - kept > kept - drawn else "the network over its codes"
    yield stats.ratio_of_means(lost, there) | {
        "points": points, "conditions": {"batch": ROWS, "guidance": GUIDANCE},
        "reason": f"Of real pictures' objects {kept:.0f} % are read right after encoding, of drawn ones {drawn:.0f} %: "
        f"{costs} costs more."}
