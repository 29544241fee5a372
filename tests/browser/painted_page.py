"""A page with only the parts that draw: the modules of `components/` served as they are, runs from `painted_runs`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import painted_runs
from playwright.sync_api import Browser, BrowserContext, Page

from engines.exhibit import Cells, Exhibit
from engines.scene_settings import Objects, Order

ROOT = Path(__file__).resolve().parents[2]
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png"}
LANES = {"raster": ["raster", "random"], "nar": ["nar", "raster"], "var": ["var", "raster"], "given": ["var"],
         "mar": ["mar"]}
TITLES = {"raster": "Row by row", "random": "In any order", "nar": "By diagonals", "var": "Scale by scale",
          "mar": "By sets"}

CAPTION = Objects(name="caption", default="", label="Scene", help="What stands on the table.")
ORDER = Order(name="order", default="raster", label="Order", help="Which place is chosen first.")
PART = Cells(name="part", default="", label="Draw anew", help="Only these places.", max=64)

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="/unfold/shell/shell.css"><link rel="stylesheet" href="/unfold/theme/theme.css">
</head><body style="margin:0"><div id="unfold-page"></div><script type="module">
import { mountPage } from "/unfold/shell/shell.js";
import { Player } from "/unfold/player/player.js";
const data = await (await fetch("/unfold/page.json")).json();
window.sent = [];
window.players = [];
const listen = Player.prototype.on;
Player.prototype.on = function (...rest) {
  if (!window.players.includes(this)) window.players.push(this);
  return listen.apply(this, rest);
};
const transport = {
  run: (request) => (window.sent.push(request), "0".repeat(32)), measure: () => "", cancel: async () => true,
  cancelMeasure: async () => true, refetch: async () => [], alive: async () => true,
  trace: async (url) => (await fetch("/" + url)).text(),
};
window.page = mountPage(document.getElementById("unfold-page"), { data, transport });
</script></body></html>"""


def exhibit(slug: str) -> dict[str, Any]:
    """As much of an exhibit's description as the page needs."""
    settings = [CAPTION.describe(), (PART if slug == "given" else ORDER).describe()]
    lanes = [{"id": i, "title": TITLES[i], "line": "", "default": True} for i in LANES[slug]]
    return {
        "slug": slug, "title": TITLES.get(slug, "Coarse to fine"), "line": "A picture, drawn as a line of choices.",
        "family": "raster", "map": {"what": "pictures"}, "difficulty": 1, "minutes": 4, "seed": 7, "beats": [],
        "paper": {"title": "A paper", "authors": "Its authors", "venue": "2026", "arxiv": "", "links": {}},
        "settings": settings, "lanes": lanes, "question": None, "claims": [],
        "interventions": {i: ["force"] for i in LANES[slug]}, "recorded": {}, "results": {}, "results_meta": {},
        "trace": f"unfold/traces/{slug}.jsonl",
    }


def page_data() -> dict[str, Any]:
    strings = json.loads((ROOT / "assets" / "strings" / "en.json").read_text(encoding="utf-8"))
    return {"exhibits": [exhibit(s) for s in LANES], "strings": strings, "hero": "raster", "version": "0",
            "codes": {"vq": "unfold/codes.png", "scales": "unfold/codes.png"}}


def files() -> dict[str, tuple[str, bytes]]:
    """Everything beside `components/`: path -> (type, bytes)."""
    made = {f"/unfold/traces/{name}.jsonl": ("application/x-ndjson", text.encode())
            for name, text in painted_runs.recordings().items()}
    made["/unfold/codes.png"] = ("image/png", painted_runs.sheet(painted_runs.codebook()))
    made["/unfold/page.json"] = ("application/json", json.dumps(page_data()).encode())
    made["/"] = ("text/html; charset=utf-8", PAGE.encode())
    return made


def shown(exhibit: Exhibit, lanes: list[str], slug: str = "") -> dict[str, Any]:
    """A real exhibit as the page is told of it, with these lanes only and nothing measured or recorded."""
    told = exhibit.describe() | {"recorded": {}, "results": {}, "results_meta": {}}
    slug = slug or exhibit.slug
    return told | {"slug": slug, "trace": f"unfold/traces/{slug}.jsonl",
                   "lanes": [lane | {"default": True} for lane in told["lanes"] if lane["id"] in lanes]}


def pages(exhibits: list[dict[str, Any]], traces: dict[str, str]) -> dict[str, tuple[str, bytes]]:
    """What to serve for these exhibits and their traces, {slug: text}; the first is the home page's."""
    data = page_data() | {"exhibits": exhibits, "hero": exhibits[0]["slug"], "codes": {}}
    made = {f"/unfold/traces/{name}.jsonl": ("application/x-ndjson", text.encode()) for name, text in traces.items()}
    return made | {"/unfold/page.json": ("application/json", json.dumps(data).encode()),
                   "/": ("text/html; charset=utf-8", PAGE.encode())}


@contextmanager
def windows(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """window(url, wait for, width=…, height=…, dark=…) -> a page that moves no more than it must.

    All are closed in the end; then none may have thrown an error.
    """
    contexts: list[BrowserContext] = []
    trouble: list[str] = []

    def window(url: str, wait: str, *, width: int = 1440, height: int = 900, dark: bool = False) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce",
                                       color_scheme="dark" if dark else "light")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda e: trouble.append(str(e)))
        page.goto(url)
        page.wait_for_selector(wait, state="attached")
        return page

    yield window
    for context in contexts:
        context.close()
    assert trouble == []


@contextmanager
def serving(made: dict[str, tuple[str, bytes]]) -> Iterator[str]:
    """The address of a small server of these files and of `components/`, while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            file = (ROOT / "components" / path.removeprefix("/unfold/")).resolve()
            if path in made:
                kind, body = made[path]
            elif file.is_file() and file.is_relative_to(ROOT / "components") and file.suffix in TYPES:
                kind, body = TYPES[file.suffix], file.read_bytes()
            else:
                kind, body = "", b""
            self.send_response(200 if kind else 404)
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def seek(page: Page, at: int) -> None:
    """Move the playhead and wait until all that it shows is decoded and drawn."""
    page.evaluate("""async (at) => {
        const [player] = players;
        player.pause();
        player.seek(at < 0 ? player.length : at);
        const { shotsOf } = await import('/unfold/stage/picture.js');
        const shots = shotsOf(player);
        while (shots.waiting.size) await new Promise((r) => setTimeout(r, 20));
        for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
    }""", at)
