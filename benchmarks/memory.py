"""The most memory that the server ever held, after every exhibit ran on every lane with every choice it offers."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from benchmarks.row import Row, table
from benchmarks.served import served
from benchmarks.wire import Wire
from engines import catalog, weights
from engines.exhibit import Choice, Exhibit
from engines.runtime import lane_of

TARGET_MB = 1500


def variants(exhibit: Exhibit) -> list[dict[str, Any]]:
    """Settings that between them load every network the exhibit can use: each choice once, the rest as usual."""
    return [{}] + [{s.name: value} for s in exhibit.settings if isinstance(s, Choice) for value in s.choices]


def networks(exhibit: Exhibit, settings: dict[str, Any]) -> set[str]:
    found = (lane_of(exhibit, name, exhibit.parse(settings)) for name in exhibit.lanes)
    return {net for lane, own in found for net in lane.nets(own)}


async def run_all(url: str) -> tuple[int, set[str]]:
    """(runs, networks that they loaded). Raises RuntimeError where a run did not come whole."""
    runs, loaded = 0, set[str]()
    async with httpx.AsyncClient(base_url=url, timeout=300) as client:
        wire = await Wire.open(client)
        for slug, exhibit in catalog.EXHIBITS.items():
            for settings in variants(exhibit):
                run = await wire.run(exhibit=slug, settings=settings, lanes=list(exhibit.lanes))
                if run.trouble or run.refused:
                    raise RuntimeError(f"{slug} {settings}: {run.refused or run.trouble[0]}")
                runs, loaded = runs + 1, loaded | networks(exhibit, settings)
    return runs, loaded


def peak_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1000


def main() -> list[Row]:
    with served() as server, ThreadPoolExecutor(1) as thread:
        runs, loaded = thread.submit(lambda: asyncio.run(run_all(server.url))).result()
        peak = peak_mb(server.pid)
    stored = sum("params" in line for line in weights.ledger())
    return [Row("server: peak memory with all networks loaded", peak, "MB", TARGET_MB,
                f"{runs} runs of {len(catalog.EXHIBITS)} exhibits, all lanes; {len(loaded)} of {stored} stored "
                "networks, the others only train and judge")]


if __name__ == "__main__":
    print(table(main()))
