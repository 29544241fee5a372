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

from components import still
from components.recorded import HERO, ROOT, read, trace_file
from engines.errors import UnfoldError

VERSION = "0.1.0"


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
        one["portrait"] = f"unfold/portraits/{slug}.jsonl" if trace else None
        described.append(one)
    strings = _json(assets / "strings" / "en.json") or {}
    hero = HERO if HERO in exhibits else next(iter(exhibits), None)
    spot = still.telling(read(HERO, assets)) if hero == HERO else None
    return {
        "exhibits": described,
        "strings": strings,
        "hero": hero,
        # sheets of patches, by tokenizer: what the numbers of a picture mean
        "codes": {f.stem: f"unfold/codes/{f.name}" for f in sorted((assets / "codes").glob("*.png"))},
        # the moment that the still shows: there the player takes over
        "telling": {"lane": spot[0], "n": spot[1]} if spot else None,
        "version": VERSION,
    }


def first_paint(data: Mapping[str, Any], assets: Path = ROOT / "assets") -> tuple[str, str]:
    """(head, body): what the served HTML itself holds, so that something stands there before any script runs.

    The body is the top of the home page as `home.js` will draw it, with the still of the hero
    (`assets/first.svg`) in place of the player; `shell.js` replaces it. Both go into the document as HTML: all that is
    put in here is either a file of ours or escaped.
    """
    head = (
        # the shell's resets come first, so that the viewer's own rules win over them
        '<link rel="stylesheet" href="unfold/shell/shell.css"><link rel="stylesheet" href="unfold/theme/theme.css">'
        '<link rel="preload" href="unfold/theme/stage.css" as="style">'
        # all at once: one after another, as they name each other, they would come in five rounds
        + "".join(f'<link rel="modulepreload" href="unfold/{path}">' for path in _modules())
        + '<link rel="preload" href="unfold/page.json" as="fetch" crossorigin="anonymous">'
        f"<script>{_THEME_BEFORE_PAINT}</script>"
    )
    words = {key: escape(value) for key, value in data["strings"].items() if isinstance(value, str)}
    drawing = assets / "first.svg"
    picture = drawing.read_text(encoding="utf-8") if drawing.is_file() else ""
    note = still.frame(read(HERO, assets), spot["lane"], spot["n"]) if (spot := data.get("telling")) else None
    said = f'<p class="uf-note-text">{_underlined(note)}</p>' if note else ""
    body = (
        '<div id="unfold-page" class="unfold"><div class="first-paint"><header class="page-header">'
        '<div class="header-inner"><span class="brand"><img class="logo" src="unfold/shell/logo.svg" alt="">'
        '<span class="wordmark">unfold</span></span></div></header>'
        '<div class="page-body"><main class="home"><section class="hero">'
        f'<h1>{words.get("home.headline", "Unfold")}</h1>'
        f'<div class="hero-body"><div class="hero-stage">{picture}</div><div class="note-line uf-note">{said}</div>'
        f'<p class="hero-caption">{escape(caption(data))}</p></div>'
        f'<div class="hero-foot"><span class="run-button hero-enter">{words.get("home.invitation", "")}</span></div>'
        "</section></main></div></div></div>"
    )
    return head, body


def _modules() -> list[str]:
    folder = ROOT / "components"
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.js"))


def caption(data: Mapping[str, Any]) -> str:
    """Which recorded run stands on the home page, and why that one."""
    hero = next((e for e in data["exhibits"] if e["slug"] == data["hero"]), None)
    if hero is None:
        return ""
    why = hero.get("why_this_seed")
    form = data["strings"].get("hero.caption.why" if why else "hero.caption", "")
    return str(form).replace("{seed}", str(hero.get("seed", 1))).replace("{why}", str(why))


def _underlined(now: still.Frame) -> str:
    """The narration of a frame as HTML, the model's words underlined as on the page."""
    said = escape(now.note)
    draft, kept = (escape(w) for w in now.words)
    for word, kind in ((kept, "word"), (draft, "draft")):
        at = said.rfind(f" {word}") + 1 if word else 0
        if at:
            mark = f'<span class="uf-note-word" data-kind="{kind}">{word}</span>'
            said = said[:at] + mark + said[at + len(word) :]
    return said


# The theme is chosen before the first pixel: link, then memory, then the system. It has to run inline.
_THEME_BEFORE_PAINT = (
    "(function(){var t=new URLSearchParams(location.search).get('theme');"
    "try{t=t||localStorage.getItem('unfold.theme')}catch(e){}"
    "if(t!=='dark'&&t!=='light')t=matchMedia('(prefers-color-scheme: dark)').matches?'dark':'light';"
    "document.documentElement.classList.toggle('dark',t==='dark');"
    "document.documentElement.dataset.exhibit=new URLSearchParams(location.search).get('exhibit')||''})()"
)


def _json(path: Path) -> Any:
    """What a file of ours holds, None without it. Raises UnfoldError, naming it, if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError as error:
        raise UnfoldError(f"{path.parent.name}/{path.name} is damaged ({error})", "Fetch the file again.") from error
