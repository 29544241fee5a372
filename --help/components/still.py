"""The first thing on the home page: one frame of the hero's recorded run as a static drawing.

`python -m components.still` writes `assets/first.svg`; `page_data.first_paint` puts it into the page, so that it stands
there before any script runs. It is generated from `assets/traces`, never drawn by hand: run the command again whenever
the hero's run is recorded anew (a test compares).

The drawing holds the frame twice, for a wide and for a narrow window, and takes its colours from the page. Letters
have the widths of Georgia, about the middle of the book faces; every word is centred on its place, so that other faces
fit as well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from components.recorded import HERO, ROOT, read

SIGNS = {".": "full stop", ",": "comma"}
MARKS = {"proposed": "?", "accepted": "✓", "rejected": "✕", "withdrawn": "↺"}
# advance widths of Georgia, thousandths of an em
WIDTHS = dict(zip("abcdefghijklmnopqrstuvwxyz", (
    504, 560, 454, 575, 484, 325, 510, 582, 293, 291, 535, 287, 880, 591, 539, 571, 560, 410, 432, 346, 576, 497, 738,
    504, 493, 443), strict=True)) | {".": 270, ",": 270}
FONT = 24.0  # px, as in the hero
BLANK = 7 * 0.5 * FONT  # 7ch
BOX, LINE, GAP = 30.0, 44.0, 9.0
TOP = 62.0  # of the first line of words, under the lane's head


@dataclass
class Cell:
    state: str = "masked"
    value: str | None = None
    struck: str | None = None
    blank: bool = True
    call: int = 0
    touched: int = -1


@dataclass
class Frame:
    """What one lane looks like after its event n."""

    lane: str
    n: int
    title: str = ""
    cells: list[Cell] = field(default_factory=list)
    decisions: list[list[int]] = field(default_factory=list)
    calls: int = 0
    t: float = 0.0  # ms of this lane's own compute
    note: str = ""
    words: tuple[str, str] = ("", "")  # what was guessed, what it prefers

    def fresh(self, cell: Cell) -> bool:
        return cell.touched == self.calls

    @property
    def blanks(self) -> int:
        return sum(c.blank for c in self.cells)

    @property
    def written(self) -> int:
        return sum(c.blank and c.state == "committed" for c in self.cells)


def expand(cells: list[Any]) -> list[int]:
    return [i for c in cells for i in (range(*c) if isinstance(c, list) else [c])]


def frame(trace: list[dict[str, Any]], lane: str, n: int) -> Frame:
    """Replay a lane up to and with its event n: the part of the player's reducer that a still needs."""
    out = Frame(lane, n)
    for e in trace:
        if e.get("lane") != lane or e["n"] > n:
            continue
        kind, cells = e["kind"], expand(e.get("cells", []))
        out.t = e.get("t", out.t)
        if kind == "begin":
            out.title = e["title"]
            out.cells = [Cell() for _ in range(e["canvases"][0]["shape"][0])]
            given = e.get("given") or {"cells": [], "values": []}
            for i, value in zip(expand(given["cells"]), given["values"], strict=True):
                out.cells[i] = Cell("given", value, blank=False)
        elif kind == "forward":
            out.calls = e["calls"]
        elif kind == "note":
            out.note = e["text"]
            args = e.get("args", {})
            out.words = (args.get("word", ""), args.get("other", ""))
        if kind == "commit":
            out.decisions.append(cells)
        for k, i in enumerate(cells):
            cell = out.cells[i]
            if kind in ("propose", "accept", "reject", "commit", "withdraw"):
                cell.touched = out.calls
            if kind == "propose":
                cell.state, cell.value, cell.struck = "proposed", e["values"][k], None
            elif kind == "accept":
                cell.state = "accepted"
            elif kind == "reject":
                cell.state, cell.struck = "rejected", cell.value
                cell.value = (e.get("replacement") or [None] * len(cells))[k]
            elif kind == "commit":
                # the mark of a verdict stays until the next call
                cell.state, cell.value, cell.call = "committed", e["values"][k], out.calls
                cell.struck = None if cell.struck == cell.value else cell.struck
            elif kind == "withdraw":
                cell.state = "withdrawn"
    return out


def telling(trace: list[dict[str, Any]]) -> tuple[str, int] | None:
    """(lane, n) of the most telling moment: the narrated repair of a word by a word.

    First the one where the guess fitted worst (in tenths of its ratio), then the one that shows most kinds of cells,
    then the later, because more is written by then. Without a repair, the last event of the first lane.
    """
    events = [e for e in trace if "kind" in e]
    if not events:
        return None
    lane = events[0]["lane"]
    best = None
    ratio = 1.0
    for e in events:
        if e["kind"] == "reject" and e["lane"] == lane:
            ratio = e.get("ratio", [1.0])[0]
        if e["kind"] != "note" or e["lane"] != lane or "other" not in e.get("args", {}):
            continue
        now = frame(trace, lane, e["n"])
        kinds = len({(c.state, now.fresh(c), bool(c.struck)) for c in now.cells})
        plain = e["args"]["word"].isalpha() and e["args"]["other"].isalpha()
        score = (plain, -round(ratio, 1), kinds, e["n"])
        if best is None or score > best[0]:
            best = (score, e["n"])
    return (lane, best[1]) if best else (lane, [e["n"] for e in events if e["lane"] == lane][-1])


# ---- the drawing


def width(word: str) -> float:
    return sum(WIDTHS.get(c, 560) for c in word) / 1000 * FONT


@dataclass
class Box:
    x: float
    y: float
    w: float
    row: int

    @property
    def middle(self) -> float:
        return self.x + self.w / 2


def lay(cells: list[Cell], room: float, pitch: float) -> list[Box]:
    """Words into lines as the page of words does: blanks of one width, a given sign hugs the word before it."""
    boxes: list[Box] = []
    x, row = 0.0, 0
    i = 0
    while i < len(cells):
        group = [i]
        while group[-1] + 1 < len(cells) and not cells[group[-1] + 1].blank and cells[group[-1] + 1].value in SIGNS:
            group.append(group[-1] + 1)
        sizes = [BLANK if cells[k].blank else width(cells[k].value or "") + (2 if k > i else 6) for k in group]
        if x and x + sum(sizes) > room:
            x, row = 0.0, row + 1
        for w in sizes:
            boxes.append(Box(x, TOP + row * pitch, w, row))
            x += w
        x += GAP
        i = group[-1] + 1
    return boxes


def draw(now: Frame, room: float, words: dict[str, str]) -> tuple[str, float]:
    """(markup of one layout, its height) for a window `room` px wide."""
    boxes = lay(now.cells, room, 52.0 if room > 600 else 48.0)
    height = boxes[-1].y + LINE + 6
    parts = [_head(now, room, words), _thread(now, boxes)]
    for i, (cell, box) in enumerate(zip(now.cells, boxes, strict=True)):
        if cell.blank:
            parts.append(_cell(now, cell, box))
        elif cell.value in SIGNS and i and not now.cells[i - 1].blank:
            continue  # written together with the word before it
        else:
            tail = "".join(t.value or "" for t in _tail(now.cells, i))
            parts.append(_text(box.middle, box.y + 22, "word", f"{cell.value}{tail}"))
    return "".join(parts), height


def _tail(cells: list[Cell], i: int) -> list[Cell]:
    """The given signs right after cell i."""
    end = i + 1
    while end < len(cells) and not cells[end].blank and cells[end].value in SIGNS:
        end += 1
    return cells[i + 1 : end]


def _num(x: float) -> str:
    return f"{x:.1f}".rstrip("0").rstrip(".")


def _text(x: float, y: float, kind: str, said: str, extra: str = "") -> str:
    return f'<text x="{_num(x)}" y="{_num(y)}" class="fs-{kind}"{extra}>{escape(said)}</text>'


def _head(now: Frame, room: float, words: dict[str, str]) -> str:
    wide = room > 600
    facts = words["stage.blanks"].format(n=now.written, m=now.blanks)
    clock = words["stage.ms"].format(n=f"{now.t:.1f}" if now.t < 10 else round(now.t))
    facts = f"{facts}\u2002 {clock}"
    title = f'<text x="0" y="20" class="fs-title">{escape(now.title)}'
    if wide:
        title += f'<tspan dx="12" class="fs-fact">{escape(facts)}</tspan></text>'
    else:
        title += f"</text>{_text(0, 42, 'fact', facts)}"
    most = now.blanks
    rows = min(3, -(-most // (28 if wide else 14)))
    columns = -(-most // rows)
    step = min(11.0, (220 if wide else 132) / columns)
    left = room - columns * step - (84 if wide else 0)
    middle = 14 if wide else 37
    on = lambda k: ' class="fs-on"' if k < now.calls else ""  # noqa: E731
    dots = "".join(
        f'<circle cx="{_num(left + (k % columns + 0.5) * step)}" '
        f'cy="{_num(middle + (k // columns - (rows - 1) / 2) * 8.5)}" r="{_num(min(step * 0.36, 3.6))}"{on(k)}/>'
        for k in range(most)
    )
    count = f'<tspan class="fs-count">{now.calls}</tspan> {escape(words["stage.calls"])}'
    calls = f'<text x="{_num(room)}" y="20" class="fs-fact" text-anchor="end">{count}</text>'
    return f'{title}<g class="fs-dots">{dots}</g>{calls}'


def _look(now: Frame, cell: Cell) -> str:
    if cell.state == "withdrawn" and not now.fresh(cell):
        return "masked"
    if cell.state == "committed" and now.fresh(cell) and not cell.struck:
        return "accepted"
    return cell.state


def _cell(now: Frame, cell: Cell, box: Box) -> str:
    look = _look(now, cell)
    middle = box.middle
    word = cell.value if look != "masked" else None
    fresh = " fs-fresh" if now.fresh(cell) else ""
    out = f'<rect x="{_num(box.x + 1)}" y="{_num(box.y)}" width="{_num(box.w - 2)}" height="{BOX:.0f}" rx="4" '
    out += f'class="fs-{look}{fresh}"/>'
    if look == "accepted":
        out += f'<rect x="{_num(box.x + 3)}" y="{_num(box.y + 2)}" width="{_num(box.w - 6)}" height="26" rx="2" '
        out += 'class="fs-inner"/>'
    if word:
        scale = min(1.0, (BLANK - 12) / max(width(word), 1))
        size = f' style="font-size:{_num(FONT * scale)}px"' if scale < 1 else ""
        out += _text(middle, box.y + 22, "word", word, f' data-look="{look}"{size}')
    if cell.struck and cell.state in ("rejected", "committed"):
        out += _text(middle, box.y + 42, "struck", SIGNS.get(cell.struck, cell.struck))
    sign = MARKS.get(look) if look in MARKS else str(cell.call) if cell.call else None
    if sign:
        x, y = box.x + box.w - 1, box.y
        out += f'<circle cx="{_num(x)}" cy="{_num(y)}" r="7.5" class="fs-badge" data-look="{look}"/>'
        out += _text(x, y + 3.6, "sign", sign)
    return out


def _thread(now: Frame, boxes: list[Box]) -> str:
    """Arcs between decisions on one line of words, a swing through the gutter to another; old ones fade."""
    out = ""
    links = [(a, b) for a, b in zip(now.decisions, now.decisions[1:], strict=False)]
    for age, (before, after) in enumerate(reversed(links[-8:])):
        strength = 0.95 * 0.74**age
        start = boxes[before[-1]]
        for cell in after:
            end = boxes[cell]
            if start.row == end.row:
                reach = end.middle - start.middle
                lift = min(5 + abs(reach) * 0.03, 11) * 1.33
                lean = min(abs(reach) * 0.22, 40) * (1 if reach > 0 else -1)
                y = start.y - lift
                path = (f"M{_num(start.middle)} {_num(start.y)} C{_num(start.middle + lean)} {_num(y)} "
                        f"{_num(end.middle - lean)} {_num(y)} {_num(end.middle)} {_num(end.y)}")
            elif end.row == start.row + 1:
                y1, y2 = start.y + BOX, end.y
                path = (f"M{_num(start.middle)} {_num(y1)} C{_num(start.middle)} {_num(y1 + (y2 - y1) * 0.88)} "
                        f"{_num(end.middle)} {_num(y1 + (y2 - y1) * 0.4)} {_num(end.middle)} {_num(y2)}")
            else:
                continue
            out += f'<path d="{path}" style="opacity:{strength:.2f}"/>'
    return f'<g class="fs-thread">{out}</g>'


def svg(assets: Path = ROOT / "assets") -> str:
    """The file's text. Raises LookupError without a recorded run of the hero."""
    trace = read(assets=assets)
    spot = telling(trace)
    if spot is None:
        raise LookupError(f"there is no recorded run of {HERO}")
    words = json.loads((assets / "strings" / "en.json").read_text(encoding="utf-8"))
    now = frame(trace, *spot)
    story = " ".join(_said(now, c) for c in now.cells)
    sizes, drawings = {}, []
    for kind, room in (("wide", 968.0), ("narrow", 358.0)):
        inside, height = draw(now, room, words)
        sizes[kind] = (room, height)
        drawings.append(f'<svg class="fs-{kind}" viewBox="0 0 {room:.0f} {height:.0f}">{inside}</svg>')
    style = (ROOT / "components" / "home" / "first.css").read_text(encoding="utf-8").split("*/", 1)[1].strip()
    for kind, (w, h) in sizes.items():
        style = style.replace(kind.upper(), f"{w:.0f}/{h:.0f}")
    room, height = sizes["wide"]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="first-still" role="img" width="{room:.0f}" '
        f'height="{height:.0f}" aria-label="{escape(now.title)}: {escape(story)}">\n<style>{style}</style>\n'
        '<defs><pattern id="fs-hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(-45)">'
        '<rect width="6" height="6" style="fill:var(--masked-fill,#F6F4F0)"/>'
        '<path d="M0 3h6" style="stroke:var(--hatch,#CBC5BC)"/></pattern></defs>\n' + "\n".join(drawings) + "\n</svg>\n"
    )


def _said(now: Frame, cell: Cell) -> str:
    look = _look(now, cell)
    return "…" if look in ("masked", "withdrawn") or cell.value is None else cell.value


def main() -> None:
    path = ROOT / "assets" / "first.svg"
    path.write_text(svg(), encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    main()
