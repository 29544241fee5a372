"""A real app server and a real Chromium. Missing either is a failure, not a reason to skip.

UNFOLD_CHROMIUM: the browser's path (default /usr/bin/chromium).
UNFOLD_URL, UNFOLD_SLOW_URL: test servers that run already.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("UNFOLD_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Open = Callable[..., Page]


def _serve(script: Path) -> Iterator[str]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, str(script), "--port", str(port), "--host", "127.0.0.1"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            if server.poll() is not None:
                assert server.stderr
                pytest.fail(f"{script.name} ended at once: {server.stderr.read()[-2000:]}")
            try:
                urllib.request.urlopen(f"{url}/unfold/alive", timeout=2).read()
                break
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.25)
        else:
            pytest.fail(f"{script.name} did not answer within a minute")
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of the app, started once for all tests."""
    yield from _address("UNFOLD_URL", ROOT / "app.py")


@pytest.fixture(scope="session")
def slow_server() -> Iterator[str]:
    """The same app with an engine that takes its time, so that there is something to stop."""
    yield from _address("UNFOLD_SLOW_URL", Path(__file__).with_name("slow_app.py"))


def _address(variable: str, script: Path) -> Iterator[str]:
    if given := os.environ.get(variable):
        yield given.rstrip("/")
    else:
        yield from _serve(script)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.fail(f"no Chromium at {CHROMIUM}; install it or set UNFOLD_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, server: str) -> Iterator[Open]:
    """visit(query, width=…, dark=…, base=…) -> a page that has drawn itself; complaints end in page.trouble."""
    contexts = []

    def open_page(
        query: str = "",
        *,
        width: int = 1440,
        height: int = 900,
        dark: bool = False,
        base: str = server,
        still: bool = False,
    ) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if still else "no-preference",
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.trouble = []  # type: ignore[attr-defined]
        page.outside = []  # type: ignore[attr-defined]
        page.on("console", lambda m: page.trouble.append(m.text) if m.type == "error" else None)  # type: ignore[attr-defined]
        page.on("pageerror", lambda e: page.trouble.append(str(e)))  # type: ignore[attr-defined]
        page.on(
            "request",
            lambda r: (
                page.outside.append(r.url)  # type: ignore[attr-defined]
                if not r.url.startswith((base, "data:", "blob:"))
                else None
            ),
        )
        page.goto(f"{base}/{query}")
        page.wait_for_selector("#unfold-main")
        return page

    yield open_page
    for context in contexts:
        context.close()
