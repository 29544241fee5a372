"""One training loop for all recipes: seeded, resumable, and able to fill a given time.

A `Recipe` says what is built, what a batch is, and what the loss and the judge are; `fit` does the rest: AdamW with
a warm-up and a cosine to zero, clipping, a running average of the weights (what is exported), checkpoints, a log
line every few seconds, and an export with a fresh judgement every few minutes.

The schedule follows the fraction of the budget that is gone, in steps or in seconds, whichever is further. With
`steps` a run is reproducible from its seed; with `seconds` it uses what a machine can do in that time.
"""

import datetime
import difflib
import io
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines import weights
from engines.errors import Refused

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs"
PAUSE = 30.0


@dataclass(frozen=True)
class Recipe:
    """How one network is made.

    batches(part) yields the batches (a tensor, or a tuple of them) of the part-th piece of an endless stream, always
    the same ones for the same part.
    loss(network, batch, generator) is a mean over what the batch predicts, in nats, and the batch's weight (1 = full).
    judge(network) measures the network as stored: {"nll", "exact", "gap"} and more; gap in percent.
    after: recipes whose stored networks this one reads, such as the tokenizer of its codes.
    """

    name: str
    build: Callable[[], nn.Module]
    batches: Callable[[int], Iterable[Any]]
    loss: Callable[[nn.Module, Any, torch.Generator], tuple[Tensor, float]]
    judge: Callable[[nn.Module], dict[str, float]]
    steps: int
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    warmup: float = 0.02
    average: float = 0.998
    muon: bool = False
    after: tuple[str, ...] = ()


def by_length(cells: np.ndarray, end: int, batch: int, seed: int) -> list[Tensor]:
    """Cut stories (S, 64) into batches of one length each, shuffled: list of (b, n + 1) int64, the last column END.

    A length with few stories gives a small batch instead of none, so that every story is seen equally often.
    """
    order = np.random.default_rng(seed)
    lengths = (cells == end).argmax(axis=1) + 1
    pieces: list[Tensor] = []
    for length in np.unique(lengths):
        group = order.permutation(np.flatnonzero(lengths == length))
        for part in np.array_split(group, math.ceil(len(group) / batch)):
            pieces.append(torch.from_numpy(np.ascontiguousarray(cells[part, :length])).long())
    return [pieces[i] for i in order.permutation(len(pieces))]


@lru_cache(maxsize=1)
def _sampled(sample: Callable[[np.ndarray], np.ndarray], first: int, count: int) -> np.ndarray:
    return sample(np.arange(first, first + count))


def story_batches(
    sample: Callable[[np.ndarray], np.ndarray],
    seeds: range,
    end: int,
    batch: int,
    part: int,
    *,
    count: int = 4_096,
    passes: int = 2,
) -> list[Tensor]:
    """Batches of part 0, 1, … of an endless stream: `count` stories of the seed range, as in `by_length`.

    Each story comes `passes` times, in other company: sampling must not cost more than a tenth of the training.
    """
    first = seeds.start + part // passes * count % (len(seeds) - count)
    return by_length(_sampled(sample, first, count), end, batch, part)


def schedule(fraction: float, warmup: float) -> float:
    """Factor on the learning rate after this fraction of the budget: up in a line, down to zero along a cosine."""
    if fraction < warmup:
        return max(fraction / warmup, 0.01)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (fraction - warmup) / (1 - warmup))))


def optimizers_for(recipe: Recipe, network: nn.Module) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters; with `muon`, Muon for the matrices inside the blocks and AdamW for the rest."""
    inner, matrices, gains = [], [], []
    for name, parameter in network.named_parameters():
        if parameter.dim() == 1:
            gains.append(parameter)
        elif recipe.muon and name.startswith("blocks."):
            inner.append(parameter)
        else:
            matrices.append(parameter)
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": gains, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)
    ]
    if inner:
        # With this adjustment its steps are as large as AdamW's, so both follow one learning rate.
        optimizers.append(
            torch.optim.Muon(
                inner, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        )
    return optimizers


def on(device: str, batch: Any) -> Any:
    """A batch, or a tuple of tensors, moved to the device."""
    return tuple(part.to(device) for part in batch) if isinstance(batch, tuple) else batch.to(device)


def write_json_line(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def fit(
    recipe: Recipe,
    *,
    device: str = "cpu",
    seed: int = 0,
    steps: int | None = None,
    seconds: float | None = None,
    folder: Path | None = None,
    export: Path | None = None,
    every: float = 300.0,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, float]:
    """Train until `steps` or `seconds` (of the run as a whole, pauses not counted) are used up; resume from folder.

    Every `every` seconds: a checkpoint, an export to `export`, and a judgement of the exported file. Returns the last.
    """
    folder = folder or RUNS / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log = folder / "checkpoint.pt", folder / "log.jsonl"
    steps = steps or (recipe.steps if seconds is None else sys.maxsize)

    torch.manual_seed(seed)
    network = recipe.build().to(device)
    averaged = [parameter.detach().clone() for parameter in network.parameters()]
    optimizers = optimizers_for(recipe, network)
    step, before, part, index = 0, 0.0, 0, 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        if saved["seed"] != seed:
            raise Refused(f"{folder} holds a run with seed {saved['seed']}; use that seed or another folder", "seed")
        network.load_state_dict(saved["network"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        averaged = saved["averaged"]
        step, before, part, index = saved["step"], saved["seconds"], saved["part"], saved["index"]
    last = time.monotonic()

    def elapsed() -> float:
        nonlocal before, last
        # A process that was stopped or a laptop that slept did not train: a long silence counts as PAUSE.
        now = time.monotonic()
        before, last = before + min(now - last, PAUSE), now
        return before

    def used() -> float:
        return max(step / steps, elapsed() / seconds if seconds else 0.0)

    def keep(final: bool) -> dict[str, float]:
        state = {
            "seed": seed,
            "network": network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "averaged": averaged,
            "step": step,
            "seconds": elapsed(),
            "part": part,
            "index": index,
        }
        packed = io.BytesIO()
        torch.save(state, packed)
        weights.replace(checkpoint, packed.getvalue())
        shadow = recipe.build()
        with torch.no_grad():
            for target, value in zip(shadow.parameters(), averaged, strict=True):
                target.copy_(value)
            for held, now in zip(shadow.buffers(), network.buffers(), strict=True):
                held.copy_(now)
        target_file = export or folder / "network.safetensors"
        training = {
            "recipe": recipe.name,
            "seed": seed,
            "steps": step,
            "seconds": round(elapsed()),
            "loss": round(smooth, 4) if math.isfinite(smooth) else None,
            "finished": final,
            "date": datetime.date.today().isoformat(),
        }
        weights.save(shadow, target_file, training)
        score = recipe.judge(weights.read(target_file, type(shadow)))
        weights.annotate(target_file, judge=score)
        write_json_line(log, {"step": step, "seconds": round(elapsed(), 1), "judge": score, "final": final})
        report(f"{recipe.name} step {step} {elapsed():.0f} s judge " + json.dumps(score))
        return score

    smooth, told, kept = math.nan, elapsed(), elapsed()
    generator = torch.Generator(device="cpu")
    network.train()
    while used() < 1:
        for position, batch in enumerate(recipe.batches(part)):
            if position < index:
                continue
            # Each step draws from a generator of its own, so a resumed run draws what the unbroken one would have.
            generator.manual_seed(seed * 1_000_003 + step)
            rate = recipe.learning_rate * schedule(used(), recipe.warmup)
            loss, weight = recipe.loss(network, on(device, batch), generator)
            network.zero_grad(set_to_none=True)
            (loss * weight).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
            step, index = step + 1, position + 1
            with torch.no_grad():
                decay = min(recipe.average, (1 + step) / (10 + step))
                torch._foreach_lerp_(averaged, list(network.parameters()), 1 - decay)
            if step % 20 == 0 or step == 1:
                value = float(loss.detach())
                smooth = value if math.isnan(smooth) else 0.9 * smooth + 0.1 * value
                if elapsed() - told > 15:
                    told = elapsed()
                    line = {
                        "step": step,
                        "seconds": round(told, 1),
                        "loss": round(smooth, 4),
                        "lr": rate,
                    }
                    write_json_line(log, line)
                    report(f"{recipe.name} {json.dumps(line)}")
            if used() >= 1:
                break
            if elapsed() - kept > every:
                keep(final=False)
                kept = elapsed()
        else:
            part, index = part + 1, 0
    return keep(final=True)


def recipes() -> dict[str, Recipe]:
    """All recipes of all families: every `engines/<family>/train.py` lists its own in RECIPES."""
    found: dict[str, Recipe] = {}
    for path in sorted(Path(__file__).parent.glob("*/train.py")):
        found.update(import_module(f"engines.{path.parent.name}.train").RECIPES)
    return found


def train_one(
    name: str, device: str, steps: int | None, seconds: float | None, seed: int, runs: Path | str, export: bool
) -> None:
    """Train one recipe on one thread, progress on stderr."""
    torch.set_num_threads(1)
    fit(
        recipes()[name],
        device=device,
        seed=seed,
        steps=steps,
        seconds=seconds,
        folder=Path(runs) / name,
        export=weights.path_of(name) if export else None,
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )


def main(
    names: Sequence[str] = (),
    device: str = "cpu",
    jobs: int = 1,
    *,
    every_recipe: bool = False,
    steps: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    runs: Path | str = RUNS,
    export: bool = True,
) -> int:
    """Train the named recipes, `jobs` at a time, each on one thread; progress on stderr, at the end a table on stdout.

    With export, checkpoints land in assets/weights as they get better; without, beside the log in `runs`.
    """
    known = recipes()
    names = list(known) if every_recipe else list(names)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        asked = unknown[0] if unknown else ""
        raise Refused(f"no recipe called {asked!r}; {like(asked, known)}", "recipe")
    names = in_order(names, known)
    if jobs > 1 and len(names) > 1:
        worst = _in_parallel(names, known, device, jobs, steps, seconds, seed, runs, export)
    else:
        worst = 0
        for name in names:
            train_one(name, device, steps, seconds, seed, runs, export)
    print(table(names, Path(runs)))
    return worst


def like(name: str, known: Iterable[str]) -> str:
    """The recipes that were perhaps meant; where none looks like it, one of each family."""
    near = difflib.get_close_matches(name[:80], known)
    first = {one.partition("/")[0]: one for one in sorted(known, reverse=True)}
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(first.values()))} and others"


def in_order(names: Sequence[str], known: dict[str, Recipe]) -> list[str]:
    """The same recipes, each behind those whose networks it reads."""
    left, out = list(names), []
    while left:
        ready = [name for name in left if not set(known[name].after) & set(left)]
        if not ready:
            raise Refused(f"recipes wait for one another: {', '.join(left)}", "recipe")
        out += ready
        left = [name for name in left if name not in ready]
    return out


def table(names: Sequence[str], runs: Path) -> str:
    """What the runs came to, from their logs: a line each with steps, seconds, loss and the judge's figures."""
    lines = [f"{'recipe':28} {'steps':>7} {'seconds':>8} {'loss':>8}  judge"]
    for name in names:
        log = runs / name / "log.jsonl"
        written = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        judged = [line for line in written if "judge" in line]
        losses = [line["loss"] for line in written if "loss" in line]
        if not judged:
            lines.append(f"{name:28} {'-':>7} {'-':>8} {'-':>8}  no result; see the messages above")
            continue
        last = judged[-1]
        score = ", ".join(f"{key} {value:.4g}" for key, value in last["judge"].items())
        loss = f"{losses[-1]:8.4f}" if losses else f"{'-':>8}"
        lines.append(f"{name:28} {last['step']:7d} {last['seconds']:8.0f} {loss}  {score}")
    return "\n".join(lines)


def judge(name: str) -> dict[str, float]:
    """What the recipe's judge says of the stored network, written into its training record."""
    known = recipes()
    if name not in known:
        raise Refused(f"no recipe called {name!r}; {like(name, known)}", "recipe")
    torch.set_num_threads(1)
    score = known[name].judge(weights.load(name))
    weights.annotate(weights.path_of(name), judge=score)
    return score


def _in_parallel(names: list[str], known: dict[str, Recipe], device: str, jobs: int, *rest: Any) -> int:
    """One process a recipe, so that a fault in one leaves the others alone; readers wait for what they read."""
    steps, seconds, seed, runs, export = rest
    waiting, worst = list(names), 0
    running: dict[str, subprocess.Popen[bytes]] = {}
    while waiting or running:
        busy = {*waiting, *running}
        for name in [name for name in waiting if not set(known[name].after) & busy][: jobs - len(running)]:
            waiting.remove(name)
            asked = (name, device, steps, seconds, seed, str(runs), export)
            call = f"from engines.training import train_one; train_one(*{asked!r})"
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            running[name] = subprocess.Popen([sys.executable, "-c", call], cwd=ROOT, env=environment)
        time.sleep(0.5)
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                worst = max(worst, abs(process.returncode))
    return worst
