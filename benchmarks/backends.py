"""Torch against ONNX Runtime for every stored network: the work that a lane gives it, once by each, in turn.

`python -m benchmarks backends` measures; with `--save` a graph stays where it takes 10 % less time and says the same to
1e-4, is deleted where not, and the table is kept for the README. Processor time of one thread: others who compute on
the same machine count less than on a clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engines import backends, weights
from engines.worlds import scenes

GAIN, EQUAL, ROUNDS = 0.9, 1e-4, 31
Work = Callable[[], Tensor]


def decoder(session: Any) -> Work:
    """One picture."""
    features, = session.example()
    x = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    return lambda: session.step(x)


def causal(session: Any) -> Work:
    """The 32nd word; the 31 before it are in the cache."""
    text = [session.begin] + [4 + 7 * i % 400 for i in range(31)]
    session(text, 1)
    return lambda: session(text, 1)


def any_subset(session: Any) -> Work:
    """A guess of 5 words behind 30 known ones and a check of 4, two calls."""
    cells, values, blanks = list(range(30)), [4 + 7 * i % 400 for i in range(30)], list(range(30, 35))

    def work() -> Tensor:
        guess = session(cells, values, 20, blanks, [30] * 5)
        check = session([*cells, *blanks[:4]], [*values, 5, 6, 7, 8], 20, blanks, list(range(30, 35)))
        return torch.cat([guess, check])

    return work


def rows(session: Any) -> Work:
    """Code 33 of 64, guided, so two rows; the 32 before it are in the cache."""
    objects, codes = torch.full((1, 4, 4), -1), torch.arange(32)[None]
    session(objects, codes[:, :31], True)
    return lambda: session(objects, codes, True)


def any_order(session: Any) -> Work:
    """Code 33 of 64 in any order, guided, so two rows; the 32 before it are in the cache."""
    objects, cells = torch.full((1, 4, 4), -1), torch.arange(33)[None]
    return lambda: session(objects, cells[:, :32], cells[:, :32], cells[:, 32:], True)


def diagonal(session: Any) -> Work:
    """Diagonal 9 of 15, seven codes, guided, so two rows; eight are read and the 28 before them are in the cache."""
    objects, codes = torch.full((1, 4, 4), -1), torch.arange(36)[None]
    session(objects, codes[:, :28], True)
    return lambda: session(objects, codes, True)


def scales(session: Any) -> Work:
    """All six scales of a picture, guided, so two rows."""
    caption, keep = session.network.nothing()
    canvas = [torch.zeros(2, p * p, session.network.config["channels"]) for p in session.network.scales]

    def work() -> Tensor:
        session.reset()
        return torch.cat([session(k, x, caption, keep) for k, x in enumerate(canvas)], dim=1)

    return work


def masked(session: Any) -> Work:
    """What 24 of 64 places say of 8 others, guided, so two rows."""
    objects, visible, wanted = torch.full((1, 4, 4), -1), torch.arange(24)[None], torch.arange(24, 32)[None]
    tokens = session.network.blank(1, 24)
    return lambda: session(tokens, visible, objects, True, wanted)


def inner_step(session: Any) -> Work:
    """One inner step of eight tokens, guided, so sixteen rows."""
    x, y = (torch.randn(16, part.shape[1], generator=torch.Generator().manual_seed(1))
            for part in session.head.head.example())
    return lambda: session.head.step(x, y)


def page(session: Any) -> Work:
    """A page of 64 words read."""
    return lambda: session([[session.network.mask] * 64], sigma=[1.0] if session.network.told else None)


def points(session: Any) -> Work:
    """32 points moved by one network of the bank."""
    x, which = torch.linspace(-1, 1, 64).view(1, 32, 2), session.bank.example()[1]
    return lambda: session.step(x, which)


def walks(session: Any) -> Work:
    """Six series of 24 steps, decoded from their latents."""
    z = torch.randn(6, *session.network.example()[0].shape[1:], generator=torch.Generator().manual_seed(1))
    return lambda: session.step(z)


def judge(session: Any) -> Work:
    """64 pictures read."""
    pictures = scenes.draw(scenes.TEST[:64]).image
    return lambda: session(pictures)


def sketch(session: Any) -> Work:
    """One picture."""
    return lambda: session.step(*session.example())


WORK: dict[str, Callable[[Any], Work]] = {
    **dict.fromkeys(("tokenizers/scales", "tokenizers/vq", "tokenizers/vae"), decoder),
    **dict.fromkeys(("tokenizers/scales_sketch", "tokenizers/vq_sketch", "tokenizers/vae_sketch"), sketch),
    "next_token/target": causal,
    "next_token/draft": causal,
    "next_token/shakespeare": causal,
    "next_token/shakespeare_draft": causal,
    "any_order/subset": any_subset,
    "any_order/ordered": any_subset,
    "any_order/shakespeare": any_subset,
    "raster/raster": rows,
    "raster/random": any_order,
    "neighbours/nar": diagonal,
    "next_scale/var": scales,
    "masked_continuous/mar": masked,
    "masked_continuous/mar.head": inner_step,
    "masked_continuous/draft": masked,
    "masked_continuous/draft.head": inner_step,
    "masked_continuous/maskgit": masked,
    "discrete_diffusion/radd": page,
    "discrete_diffusion/sedd": page,
    "density/dae": points,
    "density/rcae": points,
    "density/tied": points,
    "density/plain": points,
    "time_series/linear": walks,
    "time_series/circle": walks,
    "time_series/gru": walks,
    "time_series/independent": walks,
    "time_series/holes-30": walks,
    "time_series/holes-50": walks,
    "time_series/holes-70": walks,
    "scenes/judge_scoring": judge,
    "scenes/judge_inner": judge,
}


def milliseconds(work: Work, times: int) -> float:
    start = time.thread_time_ns()
    for _ in range(times):
        work()
    return (time.thread_time_ns() - start) / times / 1e6


@torch.inference_mode()
def measured(name: str, graph: backends.Graph, rounds: int = ROUNDS) -> dict[str, Any]:
    """{"name", "what", "torch", "onnx", "ratio", "difference"}: ms, and torch's over ONNX Runtime's."""
    whole, _, part = name.partition(".")
    network, make = weights.load(whole), WORK[name]
    eager, onnx = make(weights.bind(network)), make(weights.bind(network, **{part or "step": graph}))
    want, got = eager(), onnx()
    seen = want.isfinite()
    difference = float((want - got)[seen].abs().max()) if torch.equal(seen, got.isfinite()) else float("inf")
    pairs = []
    # About 30 ms: the weights of the one push those of the other out of the processor's caches.
    times = max(1, round(30 / milliseconds(eager, 3)))
    for i in range(rounds):  # ABBA: whoever comes second finds another machine than whoever comes first
        if i % 2:
            a, b = milliseconds(eager, times), milliseconds(onnx, times)
        else:
            b, a = milliseconds(onnx, times), milliseconds(eager, times)
        pairs.append((a, b))
    what = (make.__doc__ or "").strip().rstrip(".")
    return {"name": name, "what": what[0].lower() + what[1:], "difference": difference,
            "torch": statistics.median(a for a, _ in pairs), "onnx": statistics.median(b for _, b in pairs),
            "ratio": statistics.median(a / b for a, b in pairs)}


def used(row: dict[str, Any]) -> bool:
    return row["ratio"] * GAIN >= 1 and row["difference"] <= EQUAL


def line(row: dict[str, Any]) -> str:
    return (f"| `{row['name']}` | {row['what']} | {row['torch']:.3g} | {row['onnx']:.3g} | {row['ratio']:.2f} | "
            f"{row['difference']:.1e} | {'yes' if used(row) else 'no'} |")


HEAD = ("| network | work | torch, ms | ONNX Runtime, ms | times faster | largest difference | used |\n"
        "|---|---|---|---|---|---|---|")


def main(save: bool) -> str:
    """The table, in Markdown. Graphs that are not stored are exported for it."""
    torch.set_num_threads(1)
    rows = []
    for name in (n for n in WORK if weights.has(n.partition(".")[0])):
        network, path = weights.module(name), weights.graph_path(name)
        kept = path.exists()
        if not kept:
            weights.replace(path, backends.export(network))
        try:
            rows.append(measured(name, backends.load(network, path)))
        finally:
            if not (used(rows[-1]) if save else kept):
                path.unlink()
        print(line(rows[-1]), flush=True)
    return "\n".join([HEAD, *map(line, rows)])
