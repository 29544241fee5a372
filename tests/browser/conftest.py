"""A real app server and a real Chromium. Missing either is a failure, not a reason to skip.

UNFOLD_CHROMIUM: the browser's path (default /usr/bin/chromium).
UNFOLD_URL, UNFOLD_SLOW_URL: test servers that run already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from benchmarks.served import ROOT, address
from benchmarks.served import chromium as a_chromium

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of the app, started once for all tests."""
    with address("UNFOLD_URL", ROOT / "app.py") as url:
        yield url


@pytest.fixture(scope="session")
def slow_server() -> Iterator[str]:
    """The same app with an engine that takes its time, so that there is something to stop."""
    with address("UNFOLD_SLOW_URL", Path(__file__).with_name("slow_app.py")) as url:
        yield url


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with a_chromium() as browser:
        yield browser


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
