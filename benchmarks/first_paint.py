"""Click on Run to the first painted cell, and the home page's first painted story, in a real Chromium."""

from __future__ import annotations

import statistics

from playwright.sync_api import Browser, Page

from benchmarks.row import Row, table
from benchmarks.served import Server, chromium, served
from components.recorded import read
from engines import catalog

CLICKS = 20
WARM = 2  # the first run of a page opens its wire

# The clock starts at the click and stops in the first task after the frame that drew a guess, a word or a place of
# the new run: the lanes are emptied by the click, so a written cell after an empty moment is the new run's.
WATCH = """
() => {
  const button = document.querySelector('.run-button');
  const lanes = document.querySelector('.lanes');
  const some = (kind, states) => states.map((s) => `.${kind}[data-state=${s}]`);
  const written = [...some('uf-cell', ['proposed', 'accepted', 'rejected', 'committed', 'lit']),
    ...some('uf-square', ['proposed', 'waiting', 'shown', 'noise']),
    ...some('uf-frame', ['given', 'committed'])].join();
  const port = new MessageChannel();
  let start = 0, emptied = false;
  window.paints = [];
  button.addEventListener('click', () => { start = performance.now(); emptied = false; }, true);
  port.port1.onmessage = () => { if (start) { window.paints.push(performance.now() - start); start = 0; } };
  new MutationObserver(() => {
    if (!start) return;
    const any = lanes.querySelector(written);
    if (!any) emptied = true;
    else if (emptied) port.port2.postMessage(0);
  }).observe(lanes, { childList: true, subtree: true, attributes: true });
}
"""


def clicks(page: Page, count: int) -> list[float]:
    """Milliseconds from click to paint for `count` runs with a fresh seed each, after a few that do not count."""
    page.evaluate(WATCH)
    for i in range(WARM + count):
        page.fill(".seed-field", str(1000 + i))
        page.locator(".seed-field").blur()
        page.wait_for_timeout(500)  # as after a pause: the wire is idle
        page.click(".run-button")
        page.wait_for_function("n => window.paints.length === n", arg=i + 1, timeout=20_000)
        page.wait_for_selector("main[data-run=over]", timeout=30_000)
    return page.evaluate("window.paints")[WARM:]


def open_exhibit(browser: Browser, server: Server, slug: str) -> Page:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{server.url}/?exhibit={slug}")
    page.wait_for_selector("main[data-run=recorded], main[data-run=over]", timeout=60_000)
    page.wait_for_timeout(4_000)  # the server warms its networks after it starts
    return page


def home(browser: Browser, server: Server, times: int = 7) -> float:
    """Median milliseconds from navigation to the painted still of the home page."""
    found = []
    for _ in range(times):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(
            "new PerformanceObserver(l => { for (const e of l.getEntries()) window.still ??= e.startTime; })"
            ".observe({ type: 'paint', buffered: true });"
        )
        page.goto(server.url)
        page.wait_for_function("window.still && document.querySelector('.first-still, main.home')")
        found.append(page.evaluate("window.still"))
        page.close()
    return statistics.median(found)


def of_cells() -> tuple[str, ...]:
    """The exhibits that write words, paint squares or make films: what the clock above can see."""
    kinds = {slug: next(e for e in read(slug) if e.get("kind") == "begin")["canvases"][0]["kind"]
             for slug in catalog.EXHIBITS}
    seen = ("tokens", "strip", "grid", "list", "pyramid", "frames")
    return tuple(slug for slug, kind in kinds.items() if kind in seen)


def main(count: int = CLICKS, slugs: tuple[str, ...] = ()) -> list[Row]:
    rows = []
    with served() as server, chromium() as browser:
        for slug in slugs or of_cells():
            page = open_exhibit(browser, server, slug)
            paints = clicks(page, count)
            page.close()
            spread = f"quartiles {statistics.quantiles(paints)[0]:.0f} to {statistics.quantiles(paints)[2]:.0f}"
            rows.append(Row(f"Run to first painted cell, `{slug}`", statistics.median(paints), "ms", 150,
                            f"median of {count} clicks, {spread}"))
        still = home(browser, server)
        rows.append(Row("home: first painted story", still, "ms", 1200, "median of 7 visits, cold cache"))
    return rows


if __name__ == "__main__":
    print(table(main()))
