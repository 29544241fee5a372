"""The app with 40 ms between events, for tests of Stop and of the queue; and with seeds that go wrong.

A test asks for trouble by the seed of its run, so that the page itself is the one that everybody gets.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from components.host import build, launch_options
from components.page_data import page_data
from components.serve import Desk, Pool
from engines import catalog, measure, run
from engines.errors import BadWeights, Refused
from engines.events import Event, Failed, from_json
from tests.browser.payloads import ALL, poisoned

DIES, NO_WEIGHTS, LANE_BREAKS, HURTS, HURTS_AT_ONCE, HURTS_BY_REFUSAL = range(660, 666)
AFTER = 30  # events before trouble comes


def slowly(slug: str, settings: Any, seed: Any, *rest: Any) -> Iterator[Event]:
    """The events of `run`, checked at once as `run` does, then one every 40 ms."""
    events = run(slug, settings, seed, *rest)

    def steps() -> Iterator[Event]:
        broken: set[str] = set()
        for i, event in enumerate(events):
            if event.lane in broken:
                continue
            time.sleep(0.01 if seed == HURTS else 0.04)
            if seed == NO_WEIGHTS:
                raise BadWeights("next_token/target.safetensors is cut short; fetch it again")
            if seed == HURTS_AT_ONCE:
                raise BadWeights(f"x is cut short {ALL}", f"fetch it again {ALL}")
            if seed == HURTS_BY_REFUSAL:
                raise Refused(f"no such word {ALL}", "story")
            if seed == DIES and i == AFTER:
                raise SystemExit(1)
            if seed in (LANE_BREAKS, HURTS) and i > AFTER and not broken:
                broken.add(event.lane)
                event = Failed(lane=event.lane, n=event.n, t=event.t, code="internal", message="ValueError: secret",
                               fix="Try another seed.")
            yield from_json(poisoned(event.to_json())) if seed == HURTS else event

    return steps()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--host")
    args = parser.parse_args()
    blocks = build(Desk(catalog.EXHIBITS, slowly, measure, Pool(live=2)))
    blocks.queue(max_size=256).launch(
        server_name=args.host, server_port=args.port, **launch_options(page_data(catalog.EXHIBITS))
    )
