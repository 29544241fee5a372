"""The app with 40 ms between events, for tests of Stop and of the queue."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from components.host import build, launch_options
from components.page_data import page_data
from components.serve import Desk, Pool
from engines import catalog, measure, run
from engines.events import Event


def slowly(*args: Any) -> Iterator[Event]:
    """The events of `run`, checked at once as `run` does, then one every 40 ms."""
    events = run(*args)

    def steps() -> Iterator[Event]:
        for event in events:
            time.sleep(0.04)
            yield event

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
