"""`python -m benchmarks [NAME …]`: runs the named benchmarks, or all, and prints one table in Markdown."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable

from benchmarks import (
    backends,
    bytes_per_event,
    cold_start,
    decode,
    first_page,
    first_paint,
    load,
    memory,
    previews,
    scrub,
    stream_tax,
)
from benchmarks.readme import BACKENDS, TIMINGS
from benchmarks.row import HEAD, Row, table

ALL: dict[str, Callable[[], list[Row]]] = {
    "stream_tax": stream_tax.main,
    "previews": previews.main,
    "first_paint": first_paint.main,
    "scrub": scrub.main,
    "bytes_per_event": bytes_per_event.main,
    "first_page": first_page.main,
    "cold_start": cold_start.main,
    "memory": memory.main,
    "decode": decode.main,
    "load": load.main,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(ALL)}, or backends")
    parser.add_argument("--save", action="store_true",
                        help="keep the figures for the README (`benchmarks/*.md`); those of others stay")
    args = parser.parse_args()
    if args.names == ["backends"]:  # a table of its own
        text = backends.main(args.save)
        if args.save:
            BACKENDS.write_text(text + "\n")
        return
    names = args.names or list(ALL)
    for name in names:
        if name not in ALL:
            parser.error(f"there is no benchmark {name!r}; there are {', '.join(ALL)}")
    rows = []
    for name in names:
        print(f"{name} …", file=sys.stderr)
        rows += ALL[name]()
    print(table(rows))
    if args.save:
        kept = TIMINGS.read_text().split("\n\n")[0].splitlines()[2:] if args.names and TIMINGS.exists() else []
        machine = f"Python {platform.python_version()}, {platform.machine()}, headless Chromium."
        TIMINGS.write_text(f"{with_new(kept, rows)}\n\n{machine}\n")
    sys.exit(any(r.met is False for r in rows))


def with_new(kept: list[str], rows: list[Row]) -> str:
    """The table of lines kept from before, each replaced where it was measured again, new ones behind them."""
    new = {row.what: row.line() for row in rows}
    lines = [new.pop(line.split("|")[1].strip(), line) for line in kept]
    return "\n".join([HEAD, *lines, *new.values()])


if __name__ == "__main__":
    main()
