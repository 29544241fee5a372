"""A class on one small machine: live runs and viewers at once, for minutes; frames, waiting times, memory.

    python -m benchmarks.load               # about ten minutes: the crowd, 500 runs for memory, 200 runs in one tab
    python -m benchmarks.load --seconds 20  # a glance

Live runs are a closed loop: each page starts its next run when the last one is over, and stops every fifth. Viewers
come at times fixed beforehand, whether or not the server keeps up. A run's first event counts from the click to the
first event that paints. `Stop to idle` counts from when Stop reaches the server to when nothing works for that run and
its last frame goes out; what the page waits in all is told beside it, with the line both ways and a busy client in it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, fields
from multiprocessing import get_context
from pathlib import Path

import httpx
import numpy as np
from playwright.sync_api import Page

from benchmarks.first_paint import WATCH
from benchmarks.row import Row, table
from benchmarks.served import Server, chromium, served, two_cores
from benchmarks.wire import API, Run, Wire
from engines import catalog, record
from engines import events as ev

LIVE, TABS, VIEWERS, SECONDS = 5, 3, 200, 180.0  # with the three tabs, eight runs are live
EVERY_S = 20.0  # a viewer looks at a recorded run for so long, then opens the next
STOP_EVERY, STOP_AFTER = 5, 40
FEW, MANY, HEAP_RUNS = 50, 500, 200
BEHIND = 19


@dataclass
class Seen:
    """What a crowd saw, in seconds. idle, waits: of a stop in the server, and as its page saw it. views: from when a
    view was due until it was whole.

    whole: runs, and texts: recorded ones, {(exhibit, as it came)}, that are still to be checked.
    """

    runs: int = 0
    whole: list[Run] = field(default_factory=list)
    texts: set[tuple[str, str]] = field(default_factory=set)
    first: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    views: list[float] = field(default_factory=list)
    tabs: list[float] = field(default_factory=list)
    tab_runs: int = 0
    trouble: list[str] = field(default_factory=list)

    def take(self, run: Run) -> None:
        self.runs += 1
        self.whole.append(run)
        if run.first is not None:
            self.first.append(run.first)
        if run.server_idle is not None and run.idle is not None:
            self.idle.append(run.server_idle)
            self.waits.append(run.idle)

    def check(self) -> None:
        """Every frame and every recorded run; when the crowd is gone, because it would hold up the others' clocks."""
        for run in self.whole:
            run.check()
            self.trouble += [*run.trouble, *filter(None, [run.refused])]
        for slug, text in self.texts:
            with suppress(ev.BadTrace):
                if ev.read_trace(text)[0]["digest"] == record.read(slug)[0]["digest"]:
                    continue
            self.trouble.append(f"the trace of {slug} came damaged")
        self.whole, self.texts = [], set()


def p95(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.quantile(found, 0.95)) if found else float("nan")


def rss(server: Server) -> float:
    """Resident memory of the server in MB."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


def browser_of(url: str) -> httpx.AsyncClient:
    """A client of its own for each page, as browsers are: a pool that hundreds share looks through all of its
    connections at each request, and then it is the crowd that is slow."""
    return httpx.AsyncClient(base_url=url, timeout=60, verify=False)


async def live(url: str, seen: Seen, number: int, more: Callable[[], bool]) -> None:
    """One page that runs one exhibit after the other, each with a new seed, and stops every fifth run."""
    slugs = list(catalog.EXHIBITS)
    async with browser_of(url) as client:
        wire = await Wire.open(client)
        for i in range(1_000_000):
            if not more():
                return
            stop = STOP_AFTER if i % STOP_EVERY == STOP_EVERY - 1 else None
            seen.take(await wire.run(stop, check=False, exhibit=slugs[(number + i) % len(slugs)],
                                     seed=1000 * number + i))


async def viewer(url: str, seen: Seen, due: float, end: float) -> None:
    """Somebody who watches recorded runs: a page that stays open, and every so often another trace."""
    await asyncio.sleep(max(0.0, due - time.monotonic()))
    async with browser_of(url) as client, client.stream("GET", f"{API}/heartbeat/{uuid.uuid4().hex[:12]}"):
        slugs = list(catalog.EXHIBITS)
        for i in range(1_000_000):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if due >= end:
                return
            slug = slugs[i % len(slugs)]
            page = await client.get("/", params={"exhibit": slug})
            data = await client.get("/unfold/page.json")
            trace = await client.get(f"/unfold/traces/{slug}.jsonl")
            seen.views.append(time.monotonic() - due)
            if (page.status_code, data.status_code, trace.status_code) != (200, 200, 200):
                seen.trouble.append(f"a view of {slug} failed")
            seen.texts.add((slug, trace.text))
            due += EVERY_S


def together(seen: Seen, work: Iterable[Awaitable[None]]) -> Seen:
    """All pages of one kind on one clock. Whatever goes wrong is one more trouble of what was seen."""

    async def told(page: Awaitable[None]) -> None:
        try:
            await page
        except httpx.HTTPError as error:
            seen.trouble.append(f"{type(error).__name__}: {error}")

    async def pages() -> None:
        await asyncio.gather(*map(told, work))

    asyncio.run(pages())
    seen.check()
    return seen


def live_pages(url: str, seconds: float, count: int) -> Seen:
    seen, end = Seen(), time.monotonic() + seconds
    return together(seen, (live(url, seen, i, lambda: time.monotonic() < end) for i in range(count)))


def viewers_of(url: str, seconds: float, count: int) -> Seen:
    seen, begin = Seen(), time.monotonic()
    spread = min(EVERY_S, seconds)
    return together(seen, (viewer(url, seen, begin + spread * i / count, begin + seconds) for i in range(count)))


def tab_run(page: Page, seed: int) -> None:
    """Press Run with this seed and wait for the end."""
    page.fill(".seed-field", str(seed))
    page.locator(".seed-field").blur()
    page.click(".run-button")
    page.wait_for_selector("main[data-run=running], main[data-run=queued], main[data-run=over]")
    page.wait_for_selector("main[data-run=over]", timeout=90_000)


def open_tab(browser: object, url: str, slug: str) -> Page:
    page: Page = browser.new_page(viewport={"width": 1280, "height": 800})  # type: ignore[attr-defined]
    page.goto(f"{url}/?exhibit={slug}")
    page.wait_for_selector("main[data-run=recorded], main[data-run=over]", timeout=90_000)
    return page


def tabs(url: str, seconds: float, count: int) -> Seen:
    """Real browsers as a control: the same waiting times, as painted; and no complaint on any page.

    They paint without a GPU on the server's own two cores, which a class does not, so they come after it.
    """
    os.nice(BEHIND)
    slugs, seen = list(catalog.EXHIBITS), Seen()
    with chromium() as browser:
        pages = [open_tab(browser, url, slugs[i % len(slugs)]) for i in range(count)]
        for page in pages:
            page.on("pageerror", lambda error: seen.trouble.append(f"a tab: {error}"))
            page.evaluate(WATCH)
        end = time.monotonic() + seconds
        for i in range(1_000_000):
            if time.monotonic() > end:
                break
            for j, page in enumerate(pages):  # all press Run, then all are waited for
                page.fill(".seed-field", str(100_000 + 10 * i + j))
                page.locator(".seed-field").blur()
                page.click(".run-button")
            for page in pages:
                page.wait_for_function("n => window.paints.length >= n", arg=i + 1, timeout=90_000)
                page.wait_for_selector("main[data-run=over]", timeout=90_000)
                seen.tab_runs += 1
        for page in pages:
            seen.tabs += [t / 1000 for t in page.evaluate("window.paints")]
            lanes = page.locator(".uf-lane").count()
            page.locator(".as-text > summary").click()
            page.wait_for_selector(".as-text tbody tr")
            done = [r for r in page.locator(".as-text tbody tr").all_inner_texts() if "finished" in r]
            if len(done) != lanes:
                seen.trouble.append(f"a tab shows {len(done)} of {lanes} lanes whole")
    return seen


def at_once(url: str, seconds: float, lives: int, viewers: int, count: int) -> Seen:
    """Live pages, viewers and real tabs together, each kind in a process of its own: in one, two hundred viewers
    would hold up the clock by which a live page's wait is taken."""
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as processes:
        kinds = [processes.submit(work, url, seconds, n)
                 for work, n in ((live_pages, lives), (viewers_of, viewers), (tabs, count)) if n]
        found = [kind.result() for kind in kinds]
    return Seen(**{f.name: sum((getattr(seen, f.name) for seen in found), type(getattr(found[0], f.name))())
                   for f in fields(Seen) if f.name not in ("whole", "texts")})


def memory(server: Server, few: int, many: int) -> tuple[float, float, Seen]:
    """(MB after `few` runs, MB after `many`, what was seen), four pages at a time."""
    seen = Seen()
    at_few: list[float] = []

    def more() -> bool:
        if seen.runs >= few and not at_few:
            at_few.append(rss(server))
        return seen.runs < many

    async def work() -> None:
        await asyncio.gather(*(live(server.url, seen, i, more) for i in range(4)))

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(work())).result()
    after = rss(server)
    seen.check()
    return at_few[0], after, seen


def heap(url: str, runs: int, warm: int = 5) -> float:
    """MB by which one tab's heap grows over so many runs, after a collection before and after."""
    with chromium() as browser:
        page = open_tab(browser, url, next(iter(catalog.EXHIBITS)))
        tools = page.context.new_cdp_session(page)

        def used() -> float:
            tools.send("HeapProfiler.collectGarbage")
            return tools.send("Runtime.getHeapUsage")["usedSize"] / 1e6

        for i in range(warm):
            tab_run(page, 300_000 + i)
        before = used()
        for i in range(runs):
            tab_run(page, 310_000 + i)
        return used() - before


def rows_of(seen: Seen, seconds: float, lives: int, viewers: int) -> list[Row]:
    for line in dict.fromkeys(seen.trouble):
        print(f"trouble: {line}", file=sys.stderr)
    who = f"{lives + (TABS if seen.tab_runs else 0)} live pages, {viewers} viewers, {seconds:.0f} s"
    return [
        Row("under load: frames lost or out of order", len(seen.trouble), "", 0,
            f"{seen.runs + seen.tab_runs} runs and {len(seen.views)} views, every one checked; {who}"),
        Row("under load: click to first event", 1000 * p95(seen.first), "ms", 1000, f"95 % within; {seen.runs} runs"),
        Row("under load: the same in real tabs, as painted", 1000 * p95(seen.tabs), "ms", 1000,
            f"95 % within; {seen.tab_runs} runs in {TABS} tabs"),
        Row("under load: Stop to idle", 1000 * p95(seen.idle), "ms", 100,
            f"95 % within; {len(seen.idle)} stops, from when they reach the server"),
        Row("under load: the same as pages see it", 1000 * p95(seen.waits), "ms", None,
            f"95 % within, half within {1000 * float(np.median(seen.waits or [np.nan])):.0f} ms; pages, viewers and "
            "tabs work on the server's own two cores"),
        Row("under load: a recorded run opened", 1000 * p95(seen.views), "ms", None,
            f"95 % within; {len(seen.views)} views, from when each was due"),
    ]


def settle(server: Server, seconds: float = 4.0) -> None:
    """The server warms its networks after it starts."""
    with suppress(httpx.HTTPError):
        httpx.get(f"{server.url}/")
    time.sleep(seconds)


def main(seconds: float = SECONDS, viewers: int = VIEWERS, many: int = MANY, heap_runs: int = HEAP_RUNS) -> list[Row]:
    with two_cores(), served() as server:
        settle(server)
        seen = at_once(server.url, seconds, LIVE, viewers, TABS)
        rows = rows_of(seen, seconds, LIVE, viewers)
    with two_cores(), served() as server:
        settle(server)
        few = min(FEW, many // 2)
        before, after, seen = memory(server, few, many)
        for line in dict.fromkeys(seen.trouble):
            print(f"trouble: {line}", file=sys.stderr)
        rows.append(Row(f"server memory after {many} runs over that after {few}", after / before, "x", 1.05,
                        f"{before:.0f} MB, then {after:.0f} MB; {len(seen.trouble)} troubles"))
        rows.append(Row(f"heap of one tab: growth over {heap_runs} runs", heap(server.url, heap_runs), "MB", 10,
                        "after a collection"))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--viewers", type=int, default=VIEWERS)
    parser.add_argument("--runs", type=int, default=MANY, help="for the server's memory")
    parser.add_argument("--heap-runs", type=int, default=HEAP_RUNS)
    args = parser.parse_args()
    found = main(args.seconds, args.viewers, args.runs, args.heap_runs)
    print(table(found))
    sys.exit(any(r.met is False for r in found))
