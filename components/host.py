"""The one Gradio component and the routes beside it.

Gradio carries the queue, the streaming and the API; the page draws itself, in an element of its own
beside Gradio's (whose style sheet would reach into it). The host's template is constant and holds no
placeholder, because `gr.HTML` evaluates what a template renders as JavaScript: data reaches the page as
values only, and the DOM by `textContent` only.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from components.page_data import first_paint
from components.recorded import ROOT, portrait, trace_file, trace_text
from components.serve import Desk
from engines.errors import UnfoldError

PUBLIC = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
TEMPLATE = "<div></div>"

# Values can come before the module: they are kept until it takes over. Gradio finds the names of the
# events that Python listens to, 'run' and 'measure', in this text.
ON_LOAD = """
const frames = [];
let take = (frame) => frames.push(frame);
watch('value', () => props.value && take(JSON.parse(props.value)));
const send = (name, data) => (name === 'measure' ? trigger('measure', data) : trigger('run', data));
const base = new URL('unfold/', document.baseURI).href;
import(base + 'shell/shell.js')
  .then((shell) => shell.open({ base, send, server }))
  .then((page) => { take = (frame) => page.receive(frame); frames.splice(0).forEach(take); })
  .catch((error) => {
    console.error(error);
    document.getElementById('unfold-page').textContent = 'Unfold could not start. Reload the page to try again.';
  });
"""


def host(desk: Desk) -> gr.HTML:
    """Holds the wire. Its value is the newest frame, as JSON, of whatever the page asked for.

    A function and not a subclass: Gradio writes a stub file beside every module that subclasses a component.
    """

    def cancel(run_id: str) -> bool:
        return desk.pool.cancel(str(run_id)[:64])

    def cancel_measure(run_id: str) -> bool:
        return desk.pool.cancel(str(run_id)[:64])

    def refetch(asked: Any) -> list[dict[str, Any]]:
        """asked: [run, number of the first frame]; Gradio hands over several arguments as one list."""
        match asked:
            case [str(run_id), int(start)]:
                return desk.pool.refetch(run_id[:64], start)
        return []

    return gr.HTML(
        html_template=TEMPLATE,
        js_on_load=ON_LOAD,
        apply_default_css=False,
        padding=False,
        elem_id="unfold",
        server_functions=[cancel, refetch, cancel_measure],
    )


def build(desk: Desk) -> gr.Blocks:
    """The Blocks: one host and its two events."""

    async def run(event: gr.EventData, request: gr.Request) -> AsyncIterator[str]:
        async for frame in desk.stream_run(event._data, request.session_hash or ""):
            yield _text(frame)

    async def measure(event: gr.EventData, request: gr.Request) -> AsyncIterator[str]:
        async for frame in desk.stream_measure(event._data, request.session_hash or ""):
            yield _text(frame)

    def leave(request: gr.Request) -> None:
        desk.pool.cancel_session(request.session_hash or "")

    with gr.Blocks(title="Unfold", analytics_enabled=False, fill_width=True) as blocks:
        wire = host(desk)
        # the pool bounds and orders the runs; Gradio's own limits would queue them a second time, unseen
        quiet: dict[str, Any] = {
            "show_progress": "hidden",
            "trigger_mode": "multiple",
            "concurrency_limit": None,
            "api_visibility": "private",
        }
        wire.run(run, None, wire, **quiet)
        wire.measure(measure, None, wire, **quiet)
        blocks.unload(leave)
    return blocks


def _text(data: Any) -> str:
    """JSON without a `<`, so that nothing on the way can take a word for markup."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def launch_options(data: Mapping[str, Any], assets: Path = ROOT / "assets") -> dict[str, Any]:
    """What `launch` needs besides host and port: theme, our routes, the first paint."""
    theme = gr.themes.Base(font=["ui-sans-serif", "system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    head, body = first_paint(data, assets)
    return {
        "theme": theme,
        "ssr_mode": False,
        "footer_links": [],
        "quiet": True,
        "share": False,
        "show_error": False,
        "run_history": False,
        "strict_cors": True,
        "max_file_size": "1mb",
        "favicon_path": str(ROOT / "components" / "shell" / "logo.svg"),
        "app_kwargs": {"routes": routes(data, assets), "middleware": [Middleware(FirstPaint, head=head, body=body)]},
    }


@lru_cache(maxsize=256)
def _packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def _answer(request: Request, body: bytes, media: str) -> Response:
    """A body that is always the same, packed once: Gradio would pack it anew for every visitor."""
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = _packed(body), "gzip"
    return Response(body, media_type=media, headers=headers)


def routes(data: Mapping[str, Any], assets: Path) -> list[BaseRoute]:
    """Static modules, page data and recorded traces, under `unfold/`. Only what a browser needs is public."""
    page = _text(data).encode()
    known = {e["slug"] for e in data["exhibits"]}

    async def page_json(request: Request) -> Response:
        return _answer(request, page, "application/json")

    async def alive(_: Request) -> Response:
        return JSONResponse({"alive": True}, headers={"Cache-Control": "no-store"})

    async def trace(request: Request) -> Response:
        slug = request.path_params["slug"]
        try:
            body = trace_text(slug, assets) if slug in known else b""
        except UnfoldError as error:
            return Response(str(error), 500, media_type="text/plain")
        if not body:
            return Response("no such trace", 404)
        headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        path = trace_file(slug, assets)
        if path and path.suffix == ".gz" and "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["Content-Encoding"] = path.read_bytes(), "gzip"  # whole, as was seen: it could be unpacked
        return Response(body, media_type="application/x-ndjson", headers=headers)

    drawn = cache(lambda slug: portrait(slug, assets))

    async def portraits(request: Request) -> Response:
        slug = request.path_params["slug"]
        try:
            body = drawn(slug) if slug in known else b""
        except UnfoldError as error:
            return Response(str(error), 500, media_type="text/plain")
        if not body:
            return Response("no such trace", 404)
        return _answer(request, body, "application/x-ndjson")

    async def codes(request: Request) -> Response:
        path = assets / "codes" / f"{request.path_params['name']}.png"
        if f"unfold/codes/{path.name}" not in data["codes"].values():
            return Response("no such sheet", 404)
        return FileResponse(path, media_type="image/png", headers={"Cache-Control": "no-cache"})

    folder = ROOT / "components"

    async def module(request: Request) -> Response:
        path = (folder / request.path_params["path"]).resolve()
        if not path.is_relative_to(folder) or path.suffix not in PUBLIC or not path.is_file():
            return Response("no such file", 404)
        return _answer(request, path.read_bytes(), PUBLIC[path.suffix])

    return [
        Route("/unfold/page.json", page_json),
        Route("/unfold/alive", alive),
        Route("/unfold/traces/{slug}.jsonl", trace),
        Route("/unfold/portraits/{slug}.jsonl", portraits),
        Route("/unfold/codes/{name}.png", codes),
        Route("/unfold/{path:path}", module),
    ]


class FirstPaint:
    """Puts our head, and the element of the page with a still of the hero, into the HTML that Gradio serves.

    Gradio adds a `head` by script, seconds after the page arrived; a first paint has to be in the document.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], head: str, body: str):
        self.app, self.head, self.body = app, head.encode(), body.encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        start: dict[str, Any] = {}
        whole = bytearray()

        async def hold(message: dict[str, Any]) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            whole.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            page = bytes(whole)
            headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
            if any(k.lower() == b"content-type" and v.startswith(b"text/html") for k, v in headers):
                page = page.replace(b"</head>", self.head + b"</head>", 1)
                page = page.replace(b"<gradio-app", self.body + b"<gradio-app", 1)
            headers.append((b"content-length", str(len(page)).encode()))
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, hold)
