"""What travels: bytes of the frames a page gets, against sending everything again with each frame."""

from __future__ import annotations

import asyncio
import json
import uuid

from benchmarks.row import Row, table
from components.host import _text
from components.serve import Desk, Pool
from engines import catalog, measure, run


async def frames(desk: Desk, slug: str) -> list[dict]:
    """The frames of an exhibit's default run, as they leave the server while it computes."""
    request = {"run": str(uuid.uuid4()), "exhibit": slug}
    return [f async for f in desk.stream_run(request, "bench")]


def sizes(sent: list[dict]) -> tuple[int, int, int]:
    """(bytes of the frames, bytes if each carried all events so far, events)."""
    new = whole = events = 0
    so_far = 0
    for frame in sent:
        own = sum(len(json.dumps(e, separators=(",", ":"))) + 1 for e in frame.get("events", []))
        size = len(_text(frame).encode())
        so_far += own
        new += size
        whole += size - own + so_far
        events += len(frame.get("events", []))
    return new, whole, events


async def measured() -> dict[str, tuple[int, int, int]]:
    desk = Desk(catalog.EXHIBITS, run, measure, Pool(slots=1, measures=0))
    await frames(desk, next(iter(catalog.EXHIBITS)))  # warm
    return {slug: sizes(await frames(desk, slug)) for slug in catalog.EXHIBITS}


def main() -> list[Row]:
    found = asyncio.run(measured())
    new, whole, events = (sum(f[i] for f in found.values()) for i in range(3))
    return [
        Row("bytes of the stream an event", new / events, "bytes", None,
            f"default runs of {len(found)} exhibits, {events} events, JSON before compression"),
        Row("sending the whole run with each frame instead", whole / new, "x more", None, "same frames"),
    ]


if __name__ == "__main__":
    print(table(main()))
