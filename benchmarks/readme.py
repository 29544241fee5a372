"""`python -m benchmarks.readme`: the README's tables of claims and networks, written anew from what is stored.

The claims come from `assets/claims/`, the networks from the metadata of `assets/weights/`; the table of timings stands
in the README as `python -m benchmarks --save` printed it last. A test compares, so no figure is typed by hand.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from engines import weights
from engines.catalog import EXHIBITS

ROOT = Path(__file__).parent.parent
TIMINGS, BACKENDS = ROOT / "benchmarks" / "timings.md", ROOT / "benchmarks" / "backends.md"
JUDGED = ("gap", "bits", "objects", "scenes", "psnr", "rmse", "direct")
UNIT = {"gap": "% over exact", "bits": "bits a character", "objects": "% objects", "scenes": "% scenes", "psnr": "dB",
        "rmse": "rms error", "direct": "squared error at once"}


def figure(value: Any, unit: str = "") -> str:
    """A number with 3 significant digits and its unit."""
    if value is None:
        return ""
    shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{shown} {unit}".strip()


def found(claim: dict[str, Any]) -> str:
    """What was measured: the number, and its interval where it has one."""
    if claim["kind"] == "law":
        return f"p = {claim['p']:.3g} (n = {claim['n']:,})"
    if claim["kind"] in ("exact", "count") and claim.get("low") == claim.get("high"):
        return f"{figure(claim['here'], claim.get('unit', ''))} (n = {claim['n']:,})"
    low, high = figure(claim.get("low")), figure(claim.get("high"))
    return f"{figure(claim['here'], claim.get('unit', ''))} [{low}, {high}] (n = {claim['n']:,})"


def claims() -> str:
    """One line a claim: exhibit, sentence, what was found, what the paper has, and whether it holds."""
    lines = ["| exhibit | claim | here | paper | holds |", "|---|---|---|---|---|"]
    for slug, exhibit in EXHIBITS.items():
        # The sentence as the page has it now; the figures are the stored ones.
        says = {claim.id: claim.text for claim in exhibit.claims}
        path = ROOT / "assets" / "claims" / f"{slug}.json"
        stored = json.loads(path.read_text())["claims"] if path.exists() else []
        for claim in stored:
            holds = {True: "yes", False: "**no**", None: "report"}[claim.get("holds")]
            paper = figure(claim["paper"].get("value"), claim["paper"].get("unit", ""))
            lines.append(f"| `{slug}` | {says.get(claim['id'], claim['text'])} | {found(claim)} | {paper} | {holds} |")
    return "\n".join(lines)


def networks() -> str:
    """One line a network: parameters, bytes, training, what its judge said of the stored file."""
    lines = ["| network | parameters | stored | training | judged |", "|---|---|---|---|---|"]
    for line in weights.ledger():
        if "params" not in line:
            continue
        training = weights.record(line["name"])["training"]
        score = training.get("judge", {})
        judged = ", ".join(f"{score[key]:.3g} {UNIT[key]}" for key in JUDGED if key in score)
        time = f"{training['steps']:,} steps, {training['seconds'] / 60:.0f} min"
        lines.append(
            f"| `{line['name']}` | {line['params'] / 1e6:.2f} M | {line['bytes'] / 1e6:.2f} MB | {time} | {judged} |"
        )
    return "\n".join(lines)


def timings() -> str:
    return TIMINGS.read_text().strip() if TIMINGS.exists() else ""


def backends() -> str:
    return BACKENDS.read_text().strip() if BACKENDS.exists() else ""


def render(text: str) -> str:
    """The README with its generated tables replaced."""
    for name, make in (("claims", claims), ("networks", networks), ("backends", backends), ("timings", timings)):
        block = f"<!-- {name}: python -m benchmarks.readme -->\n{make()}\n<!-- end -->"
        text, count = re.subn(rf"<!-- {name}:.*?<!-- end -->", lambda _, b=block: b, text, flags=re.S)  # type: ignore[misc]
        if count != 1:
            sys.exit(f"README.md has {count} places for {name}; it needs one")
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(render(readme.read_text()))
