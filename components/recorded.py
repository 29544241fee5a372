"""Where recorded runs lie, and which of them stands on the home page."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from engines.errors import UnfoldError

ROOT = Path(__file__).resolve().parent.parent
HERO = "assd"


def trace_file(slug: str, assets: Path = ROOT / "assets") -> Path | None:
    """The recorded run of an exhibit, gzipped or plain; None if none was recorded."""
    for name in (f"{slug}.jsonl.gz", f"{slug}.jsonl"):
        if (path := assets / "traces" / name).is_file():
            return path
    return None


def trace_text(slug: str, assets: Path = ROOT / "assets") -> bytes:
    """The recorded run of an exhibit as JSON lines; empty if there is none. Raises UnfoldError if it is damaged."""
    path = trace_file(slug, assets)
    if path is None:
        return b""
    raw = path.read_bytes()
    try:
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise UnfoldError(
            f"traces/{path.name} is damaged ({error})", f"Record it again: `python -m engines record {slug}`."
        ) from error


def read(slug: str = HERO, assets: Path = ROOT / "assets") -> list[dict[str, Any]]:
    """Header and events of a recorded run as plain data; empty if there is none."""
    try:
        return [json.loads(line) for line in trace_text(slug, assets).splitlines() if line]
    except ValueError as error:
        raise UnfoldError(
            f"the trace of {slug} is damaged ({error})", f"Record it again: `python -m engines record {slug}`."
        ) from error


def portrait(slug: str, assets: Path = ROOT / "assets") -> bytes:
    """Of a recorded run what its portrait on the map is drawn from, as JSON lines: the first lane's cells, evaluation
    by evaluation (where values are places, these too), and its last picture. Empty if there is none."""
    events = [e for e in read(slug, assets) if "kind" in e]
    own = [e for e in events if e["lane"] == events[0]["lane"]]
    last = next((e for e in reversed(own) if e["kind"] == "preview" and e.get("name") == "picture"), None)
    canvases = [c for e in own[:1] for c in e.get("canvases", ())]
    kept = {"begin": ("canvases", "given"), "forward": (), "commit": ("canvas", "cells")}
    lines = [{k: e[k] for k in ("kind", "lane", *kept[e["kind"]], *["values"][: _placed(e, canvases)]) if k in e}
             for e in own if e["kind"] in kept]
    return b"".join(json.dumps(line).encode() + b"\n" for line in [*lines, *([last] if last else [])])


def _placed(event: dict[str, Any], canvases: list[dict[str, Any]]) -> bool:
    """Are the values of this event what a portrait draws: points of the plane, or a finished series?"""
    if event["kind"] != "commit" or not canvases:
        return False
    if canvases[0]["kind"] == "series":
        return bool(event.get("canvas") == canvases[1]["id"])
    return bool(canvases[0]["kind"] == "plane")
