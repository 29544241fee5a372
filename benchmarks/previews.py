"""What unfinished pictures cost: processor time of a picture lane that shows itself growing, over one that does not."""

from __future__ import annotations

import statistics
import time

from benchmarks.row import Row, table
from engines import catalog, run
from engines.exhibit import Lane

PAIRS = 21


def seconds(slug: str, lane: str, seed: int, previews: bool) -> float:
    start = time.process_time()
    for _ in run(slug, {"previews": previews}, seed, lanes=[lane]):
        pass
    return time.process_time() - start


def ratios(slug: str, lane: str, pairs: int) -> list[float]:
    """With previews over without, one ratio a seed, in ABBA order."""
    seconds(slug, lane, 1, True)
    out = []
    for i in range(pairs):
        order = (True, False) if i % 2 else (False, True)
        took = {on: seconds(slug, lane, 100 + i, on) for on in order}
        out.append(took[True] / took[False])
    return out


def main(pairs: int = PAIRS) -> list[Row]:
    rows = []
    for slug, exhibit in catalog.EXHIBITS.items():
        if not any(s.name == "previews" for s in exhibit.settings):
            continue
        for name, lane in exhibit.lanes.items():
            if isinstance(lane, Lane):
                rows.append(Row(f"lane with previews over without, `{slug}` {name}",
                                statistics.median(ratios(slug, name, pairs)), "x", 1.10,
                                f"processor time, median of {pairs} pairs, ABBA; not on the lane's clock"))
    return rows


if __name__ == "__main__":
    print(table(main()))
