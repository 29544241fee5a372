"""Dragging the playhead over a run of a thousand events: the time between frames while the pointer moves."""

from __future__ import annotations

import math
import statistics

from benchmarks.row import Row, table
from benchmarks.served import chromium, served

RUN = "?exhibit=assd&seed=1&share=95&k=2&lanes=assd,one-by-one,ngram,parallel"
MOVES = 600

# Two clocks a frame: from frame to frame, and the work from the frame's start until its picture is handed over.
WATCH = """
() => {
  window.frames_ = []; window.work_ = [];
  const port = new MessageChannel();
  let last = 0, began = 0;
  port.port1.onmessage = () => window.work_.push(performance.now() - began);
  const tick = (now) => {
    if (!window.watching) return;
    if (last) window.frames_.push(now - last);
    last = now; began = performance.now();
    port.port2.postMessage(0);
    requestAnimationFrame(tick);
  };
  window.watching = true;
  requestAnimationFrame(tick);
}
"""


def drag(moves: int) -> tuple[list[float], list[float], int]:
    """(ms between frames, ms of work a frame, events of the run) while the pointer sweeps to and fro."""
    with served() as server, chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{server.url}/{RUN}")
        page.wait_for_selector("main[data-run=over]", timeout=90_000)
        page.get_by_role("button", name="To the end").click()
        events = int(page.get_by_role("slider", name="Where in the run").get_attribute("aria-valuemax") or 0)
        box = page.locator(".uf-strips").bounding_box()
        assert box
        y = box["y"] + box["height"] / 2
        left, room = box["x"] + 150, box["width"] - 170
        page.mouse.move(left, y)
        page.mouse.down()
        for i in range(60):  # once over everything, so that nothing is drawn for the first time
            page.mouse.move(left + room * i / 60, y)
        page.evaluate(WATCH)
        for i in range(moves):
            page.mouse.move(left + room * (0.5 - 0.5 * math.cos(i / 40)), y)
        page.evaluate("window.watching = false")
        page.mouse.up()
        return page.evaluate("window.frames_"), page.evaluate("window.work_"), events


def main(moves: int = MOVES) -> list[Row]:
    frames, work, events = drag(moves)
    late = statistics.quantiles(frames, n=20)[-1]
    return [
        # a frame of a 60 Hz screen is 16.67 ms long
        Row("scrubbing: time between frames", statistics.median(frames), "ms", 16.7,
            f"median of {len(frames)} frames, {events} events in 4 lanes; 95 % within {late:.0f} ms"),
        Row("scrubbing: work a frame", statistics.median(work), "ms", None, "script, layout and paint; same frames"),
    ]


if __name__ == "__main__":
    print(table(main()))
