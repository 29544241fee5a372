"""From the start of the process to a page that can be used, as after a Space slept: `python -m benchmarks.cold_start`.

The browser is there already, and asks again until the server answers; the clock stops when the page has drawn its home
and, once more, when a fresh run on an exhibit has written its first word. Two cores, as on the smallest Space.
"""

from __future__ import annotations

import statistics
import time
from contextlib import suppress

from playwright.sync_api import Browser, Error

from benchmarks.row import Row, table
from benchmarks.served import chromium, free_port, started, two_cores

STARTS = 5


def opened(browser: Browser, url: str, query: str, until: str, start: float) -> float:
    """Seconds from `start` until the page shows `until`."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    while True:
        with suppress(Error):
            page.goto(f"{url}/{query}", wait_until="commit")
            break
        time.sleep(0.1)
    page.wait_for_selector(until, timeout=120_000)
    took = time.monotonic() - start
    page.close()
    return took


def cold(browser: Browser) -> tuple[float, float]:
    """(seconds to a drawn home page, to the first word of a fresh run) after one start of the app."""
    port = free_port()
    start = time.monotonic()
    url = f"http://127.0.0.1:{port}"
    with started(port):
        home = opened(browser, url, "", "main.home .door", start)
        run = opened(browser, url, "?exhibit=next-token&seed=4", '.uf-cell[data-state="committed"]', start)
    return home, run


def main(starts: int = STARTS) -> list[Row]:
    with two_cores() as cores, chromium() as browser:
        cold(browser)  # files are read into the machine's memory once; a Space's own first read is its host's affair
        found = [cold(browser) for _ in range(starts)]
    home, run = (statistics.median(times) for times in zip(*found, strict=True))
    how = f"median of {starts} starts, {cores} for app and browser together"
    return [
        Row("cold start: to a usable page", home, "s", 10, how),
        Row("cold start: to the first word of a fresh run", run, "s", None, "the same starts"),
    ]


if __name__ == "__main__":
    print(table(main()))
