"""Our first page over a bare page of the same Gradio: bytes on the wire, and time until it stands."""

from __future__ import annotations

import statistics
import time

from playwright.sync_api import Browser

from benchmarks.row import Row, table
from benchmarks.served import ROOT, chromium, served

PAIRS = 7
QUIET_S = 2.0  # what comes later than this after the last answer is not the first page
BARE, OURS = "#bare", "main.home .door"


def visit(browser: Browser, url: str, until: str) -> tuple[float, float]:
    """(kB received, seconds from navigation until `until` stands) in a browser that has nothing of the page."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    tools = context.new_cdp_session(page)
    tools.send("Network.enable")
    received = 0.0
    last = time.monotonic()

    def take(message: dict) -> None:
        nonlocal received, last
        received += message["encodedDataLength"]
        last = time.monotonic()

    tools.on("Network.loadingFinished", take)
    start = time.monotonic()
    page.goto(url, wait_until="commit")
    page.wait_for_selector(until, state="attached", timeout=60_000)
    took = time.monotonic() - start
    while time.monotonic() - last < QUIET_S:
        page.wait_for_timeout(100)
    context.close()
    return received / 1000, took


def main(pairs: int = PAIRS) -> list[Row]:
    bare: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    with served(ROOT / "benchmarks" / "bare_gradio.py") as a, served() as b, chromium() as browser:
        for url, until in ((a.url, BARE), (b.url, OURS)):
            visit(browser, url, until)  # the server's own first answer
        for i in range(pairs):
            order = [(bare, a.url, BARE), (ours, b.url, OURS)]
            for found, url, until in order if i % 2 else order[::-1]:
                found.append(visit(browser, url, until))
    more = statistics.median(o[0] - e[0] for o, e in zip(ours, bare, strict=True))
    later = statistics.median(o[1] - e[1] for o, e in zip(ours, bare, strict=True))
    kb, s = (statistics.median(v) for v in zip(*bare, strict=True))
    how = f"median of {pairs} pairs, cold cache; the bare page: {kb:.0f} kB, {s:.2f} s"
    return [
        Row("home over a bare Gradio page: bytes", more, "kB", 150, how),
        Row("home over a bare Gradio page: until it stands", later, "s", 0.3, "same visits"),
    ]


if __name__ == "__main__":
    print(table(main()))
