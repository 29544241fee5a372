"""The catalogue as the plain data from which the page draws itself.

The page fetches this once as JSON, beside the host and not as one of its props: Gradio stringifies all
props of a component at each frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"
HERO = "assd"


def page_data(exhibits: Mapping[str, Any], assets: Path = ROOT / "assets") -> dict[str, Any]:
    """Everything the page shows before a run: exhibits, their shipped results and traces, and the words.

    exhibits: slug -> Exhibit, in the order of the catalogue. Claims and traces that do not exist yet are
    absent, never invented.
    """
    described = []
    for slug, exhibit in exhibits.items():
        one = dict(exhibit.describe())
        claims = _json(assets / "claims" / f"{slug}.json") or {}
        results = claims.get("claims", [])
        one["results"] = {r["id"]: r for r in (results.values() if isinstance(results, dict) else results)}
        one["results_meta"] = {k: claims[k] for k in ("date", "machine") if k in claims}
        trace = trace_file(slug, assets)
        one["trace"] = f"unfold/traces/{trace.name.removesuffix('.gz')}" if trace else None
        described.append(one)
    strings = _json(assets / "strings" / "en.json") or {}
    hero = HERO if HERO in exhibits else next(iter(exhibits), None)
    return {"exhibits": described, "strings": strings, "hero": hero, "version": VERSION}


def trace_file(slug: str, assets: Path = ROOT / "assets") -> Path | None:
    """The recorded run of an exhibit, gzipped or plain; None if none was recorded."""
    for name in (f"{slug}.jsonl.gz", f"{slug}.jsonl"):
        if (path := assets / "traces" / name).is_file():
            return path
    return None


def first_paint(data: Mapping[str, Any], assets: Path = ROOT / "assets") -> tuple[str, str]:
    """(head, body): what the served HTML itself holds, so that something stands there before any script runs.

    The body is the still of the hero, `assets/first.svg` where it exists, under the headline of the home
    page. It stands inside the element of the page; `shell.js` replaces it. Both go into the document as HTML: all
    that is put in here is either a file of ours or escaped.
    """
    words = data["strings"]
    still = assets / "first.svg"
    drawing = still.read_text(encoding="utf-8") if still.is_file() else ""
    head = (
        # the shell's resets come first, so that the viewer's own rules win over them
        '<link rel="stylesheet" href="unfold/shell/shell.css"><link rel="stylesheet" href="unfold/theme/theme.css">'
        '<link rel="modulepreload" href="unfold/shell/shell.js">'
        '<link rel="preload" href="unfold/page.json" as="fetch" crossorigin="anonymous">'
        f"<script>{_THEME_BEFORE_PAINT}</script>"
    )
    body = (
        '<div id="unfold-page" class="unfold"><div class="first-inner">'
        f'<p class="first-headline">{escape(str(words.get("home.headline", "Unfold")))}</p>{drawing}</div></div>'
    )
    return head, body


# The theme is chosen before the first pixel: link, then memory, then the system. It has to run inline.
_THEME_BEFORE_PAINT = (
    "(function(){var t=new URLSearchParams(location.search).get('theme');"
    "try{t=t||localStorage.getItem('unfold.theme')}catch(e){}"
    "if(t!=='dark'&&t!=='light')t=matchMedia('(prefers-color-scheme: dark)').matches?'dark':'light';"
    "document.documentElement.classList.toggle('dark',t==='dark');"
    "document.documentElement.dataset.exhibit=new URLSearchParams(location.search).get('exhibit')||''})()"
)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
