"""What it costs to show a run: processor time of the page's stream over that of the bare engine."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid

from benchmarks.row import Row, table
from components.host import _text
from components.serve import Desk, Pool
from engines import catalog, measure, run

SLUG = "assd"
PAIRS = 21


def bare(seed: int) -> float:
    """Processor seconds of a default run whose events nobody looks at."""
    start = time.process_time()
    for _ in run(SLUG, seed=seed):
        pass
    return time.process_time() - start


async def streamed(desk: Desk, seed: int) -> float:
    """Processor seconds, all threads, of the same run as the page gets it: queued, cut into frames, written as JSON."""
    start = time.process_time()
    request = {"run": str(uuid.uuid4()), "exhibit": SLUG, "seed": seed}
    async for frame in desk.stream_run(request, "bench"):
        _text(frame)
    return time.process_time() - start


async def ratios(pairs: int) -> list[float]:
    """Streamed over bare, one ratio a seed, in ABBA order."""
    desk = Desk(catalog.EXHIBITS, run, measure, Pool(slots=1, measures=0))
    bare(1), await streamed(desk, 1)
    out = []
    for i in range(pairs):
        seed = 100 + i
        if i % 2:
            a, b = bare(seed), await streamed(desk, seed)
        else:
            b, a = await streamed(desk, seed), bare(seed)
        out.append(b / a)
    return out


def main(pairs: int = PAIRS) -> list[Row]:
    found = asyncio.run(ratios(pairs))
    return [Row("page stream over bare engine, processor time", statistics.median(found), "x", 1.10,
                f"median of {pairs} pairs, ABBA, one process")]


if __name__ == "__main__":
    print(table(main()))
