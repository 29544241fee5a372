"""What a visitor, a link or a broken file could send, drawn from each exhibit's own settings, lanes and words.

Half of what is drawn is meant to be accepted and run to its end; the rest is as wrong as Hypothesis can make it.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from hypothesis import strategies as st

from engines import catalog, weights
from engines.exhibit import Exhibit, Lane, LaneRef, Setting
from engines.runtime import lane_of, resolve

NASTY = ("", " ", "\x00", "\u202e", "${window.hurt=1}", "<img src=x onerror=hurt>", "9" * 400, "-1", "1e999", "NaN",
         "../../etc/passwd", "__proto__", "💥", "the fox", "3-", "1,,2", "0-99999", "true", "None", "\ud800")
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(NASTY))
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6)
SEEDS = st.integers(0, 2**53 - 1)


def good(setting: Setting) -> st.SearchStrategy[Any]:
    """Values that the setting takes, sometimes as the text of a link. Kinds that are not named keep their default."""
    if setting.kind == "int":
        low, high = setting.min, min(setting.max, setting.min + 24)  # type: ignore[attr-defined]
        values: st.SearchStrategy[Any] = st.integers(low, high)
    elif setting.kind == "float":
        values = st.floats(setting.min, setting.max, allow_nan=False)  # type: ignore[attr-defined]
    elif setting.kind == "bool":
        values = st.booleans()
    elif setting.kind == "choice":
        values = st.sampled_from(sorted(setting.choices))  # type: ignore[attr-defined]
    elif setting.kind == "cells":
        values = st.lists(st.integers(0, 24), max_size=8).map(lambda cells: ",".join(map(str, cells)))
    else:
        values = st.just(setting.default)
    return st.one_of(st.just(setting.default), values, values.map(lambda v: str(v).lower()))


def settings_of(exhibit: Exhibit, wrong: bool) -> st.SearchStrategy[dict[str, Any]]:
    each = {s.name: st.one_of(good(s), ANYTHING) if wrong else good(s) for s in exhibit.settings}
    known = st.fixed_dictionaries({}, optional=each)
    return st.one_of(known, st.dictionaries(st.text(max_size=8), ANYTHING, max_size=3)) if wrong else known


@cache
def words(slug: str, lane: str, text: str | None) -> tuple[Any, ...]:
    """Values that may be forced on a lane that writes this kind of text; some numbers where it has no list."""
    exhibit = resolve(slug)
    found, own = lane_of(exhibit, lane, exhibit.parse({} if text is None else {"text": text}))
    return tuple(found.vocabulary(own)) if found.vocabulary else tuple(range(8))


def supported(lane: Lane | LaneRef) -> tuple[str, ...]:
    return lane.interventions if isinstance(lane, Lane) else supported(resolve(lane.slug).lanes[lane.lane])


@st.composite
def intervention(draw: st.DrawFn, exhibit: Exhibit, text: str | None = None) -> dict[str, Any]:
    """One that its lane supports, at a cell that small pages may or may not have."""
    lanes = [name for name, lane in exhibit.lanes.items() if supported(lane)]
    lane = draw(st.sampled_from(lanes))
    do = draw(st.sampled_from(supported(exhibit.lanes[lane])))
    change: dict[str, Any] = {"do": do, "lane": lane}
    if do == "force":
        cells = st.integers(0, 15) | st.integers(0, 70)
        change |= {"cell": draw(cells), "value": draw(st.sampled_from(words(exhibit.slug, lane, text)))}
    else:
        change["seed"] = draw(SEEDS)
    if draw(st.booleans()):
        change["after"] = draw(st.integers(-1, 60))
    return change


@st.composite
def request(draw: st.DrawFn, wrong: bool) -> dict[str, Any]:
    """A run as a page or a link would ask for it."""
    exhibit = catalog.EXHIBITS[draw(st.sampled_from(list(catalog.EXHIBITS)))]
    out: dict[str, Any] = {"exhibit": exhibit.slug, "settings": draw(settings_of(exhibit, wrong))}
    lanes = list(exhibit.lanes)
    texts = next((s.choices for s in exhibit.settings if s.name == "text"), {})  # type: ignore[attr-defined]
    text = next((t for t in texts if t == out["settings"].get("text")), None)
    interventions = intervention(exhibit, text) if any(map(supported, exhibit.lanes.values())) else st.nothing()
    if not wrong:
        out["seed"] = draw(SEEDS)
        most = draw(st.sampled_from([1, 1, 2]))
        out["lanes"] = draw(st.lists(st.sampled_from(lanes), min_size=1, max_size=most, unique=True))
        out["interventions"] = draw(st.lists(interventions, max_size=2))
        return out
    out["seed"] = draw(SEEDS | ANYTHING)
    out["lanes"] = draw(st.lists(st.sampled_from(lanes) | st.sampled_from(NASTY), max_size=3) | st.none())
    odd = st.dictionaries(st.sampled_from(["do", "lane", "cell", "value", "after", "seed", "x"]), ANYTHING, max_size=5)
    broken = st.builds(lambda change, more: {**change, **more}, interventions, odd)
    out["interventions"] = draw(st.lists(st.one_of(interventions, odd, broken, ANYTHING), max_size=3))
    return out


@st.composite
def damaged(draw: st.DrawFn, lines: list[str]) -> str:
    """A trace file with some harm done: lines lost, doubled or swapped, fields changed, text cut or made up."""
    rows = list(lines)
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, len(rows) - 1)) if rows else 0
        how = draw(st.sampled_from(["drop", "twice", "swap", "field", "field", "field", "cut", "text"]))
        if not rows:
            break
        if how == "drop":
            del rows[i]
        elif how == "twice":
            rows.insert(i, rows[i])
        elif how == "swap":
            j = draw(st.integers(0, len(rows) - 1))
            rows[i], rows[j] = rows[j], rows[i]
        elif how == "cut":
            rows[i] = rows[i][: draw(st.integers(0, len(rows[i])))]
        elif how == "text":
            rows[i] = draw(st.text(max_size=40))
        else:
            try:
                row = json.loads(rows[i])
                name = draw(st.sampled_from(sorted(row)) | st.text(max_size=6))
            except (ValueError, TypeError):
                continue
            rows[i] = json.dumps({**row, name: draw(ANYTHING)})
    return "\n".join(rows)


@cache
def tiny(name: str) -> Any:
    """A network of the stored one's class and sizes, with one layer where it has several, and random numbers.

    No weights are read but the configuration: the loops, caches and sessions are the real ones, the numbers are not.
    """
    described = weights.record(name)
    kind = weights.networks(name.split("/")[0])[described["class"]]
    config = described["config"]
    # A network of several stacks has a number of layers for each.
    one = {key: [1] * len(n) if isinstance(n, list) else 1 for key, n in config.items() if key in ("layers", "depth")}
    small = config | one
    return kind(**small).eval().requires_grad_(False)


def nets(name: str) -> Any:
    """A decode session on `tiny(name)`."""
    return weights.bind(tiny(name))
