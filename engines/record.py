"""Recorded runs and shipped claim results: what the page shows before anybody presses a button."""

from __future__ import annotations

import gzip
import json
import platform
import zlib
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from engines import events as ev
from engines import runtime, weights
from engines.errors import BadTrace, UnfoldError

ASSETS = Path(__file__).parent.parent / "assets"


def trace_path(slug: str) -> Path:
    return ASSETS / "traces" / f"{slug}.jsonl.gz"


def claims_path(slug: str) -> Path:
    return ASSETS / "claims" / f"{slug}.json"


def record(slug: str) -> str:
    """Run the exhibit with its own seed and `recorded` settings, store the trace, and say how large it is."""
    exhibit = runtime.resolve(slug)
    out = list(runtime.run(exhibit, exhibit.recorded))
    ev.check(out)
    text = ev.write_trace(runtime.header(exhibit, exhibit.recorded, None) | {"date": date.today().isoformat()}, out)
    path = trace_path(slug)
    weights.replace(path, gzip.compress(text.encode(), mtime=0))
    return f"{len(out)} events, {path.stat().st_size / 1000:.1f} kB"


def read(slug: str) -> tuple[dict[str, Any], list[ev.Event]]:
    """Header and events of the recorded run. Raises BadTrace where it is missing or damaged."""
    path = trace_path(slug)
    try:
        return ev.read_trace(gzip.decompress(path.read_bytes()).decode())
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, BadTrace) as error:
        why = f" ({error})" if isinstance(error, BadTrace) else ""
        raise BadTrace(f"{path.name} cannot be read{why}; run `python -m engines record {slug}`") from error


def untimed(events: list[ev.Event]) -> list[dict[str, Any]]:
    """Events per lane without `t` and `*_ms`: what must be equal when a run is repeated."""
    rows = [replace(e, t=0.0).to_json() for e in sorted(events, key=lambda e: (e.lane, e.n))]
    return [{k: v for k, v in r.items() if k != "t" and k != "ms" and not k.endswith("_ms")} for r in rows]


def check(slug: str) -> bool:
    """Does running it again give the recorded events?"""
    head, events = read(slug)
    again = list(runtime.run(slug, head["settings"], head["seed"], head["interventions"]))
    return untimed(again) == untimed(events)


def save_claims(slug: str, results: list[dict[str, Any]]) -> None:
    """Store final results with date, machine and the digests of the nets that they were measured on."""
    path = claims_path(slug)
    exhibit = runtime.resolve(slug)
    parsed = exhibit.parse({})
    nets = sorted({n for name in exhibit.lanes for lane, own in [runtime.lane_of(exhibit, name, parsed)]
                   for n in lane.nets(own)})
    models = {n: weights.sha256(n) for n in nets}
    before = load_claims(slug)
    # figures of other networks must not get the digests of these
    old = before["claims"] if before.get("models") == models else []
    kept = {r["id"]: r for r in [*old, *results]}
    body = {"exhibit": slug, "date": date.today().isoformat(), "machine": f"{platform.machine()}, one thread, CPU",
            "models": models, "claims": [kept[c.id] for c in exhibit.claims if c.id in kept]}
    weights.replace(path, (json.dumps(body, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode())


def load_claims(slug: str) -> dict[str, Any]:
    """The shipped results of an exhibit, no claims if it has none yet. Raises UnfoldError if the file is damaged."""
    path = claims_path(slug)
    try:
        stored = json.loads(path.read_text()) if path.exists() else {"claims": []}
        return stored | {"claims": [r | {"id": r["id"]} for r in stored["claims"]]}  # no id: damaged too
    except (ValueError, TypeError, KeyError) as error:
        raise UnfoldError(f"{path.name} is damaged; delete it and run `python -m engines measure {slug} --save`"
                          ) from error
