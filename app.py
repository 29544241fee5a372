"""Builds the page from the catalogue and serves it: `python app.py [--port 7860] [--host 127.0.0.1]`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile

try:
    tempfile.gettempdir()  # Gradio cannot even be imported without one
except OSError:
    sys.exit("unfold: no folder for temporary files has room. Free some space, or let TMPDIR name a folder that has.")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before Gradio is imported: it reads it once

from components.host import build, launch_options  # noqa: E402
from components.page_data import page_data  # noqa: E402
from components.serve import Desk  # noqa: E402
from engines import catalog, measure, run  # noqa: E402
from engines.errors import UnfoldError  # noqa: E402
from engines.next_token import checkpoints  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="Unfold: a playground of decoding orders.")
    parser.add_argument("--port", type=int, default=None, help="default: the first free one from 7860 on")
    parser.add_argument("--host", default=None, help="default: this machine only")
    parser.add_argument("--checkpoint", metavar="hub:ORG/NAME", help="offer the text of a public network too")
    parser.add_argument("--draft", metavar="hub:ORG/NAME", help="a smaller one of the same series that guesses for it")
    args = parser.parse_args()
    if args.draft and not args.checkpoint:
        parser.error("--draft guesses for a --checkpoint; name that too")
    try:
        if args.checkpoint:
            checkpoints.offer(args.checkpoint, args.draft)
        options = launch_options(page_data(catalog.EXHIBITS))
    except UnfoldError as error:
        sys.exit(f"unfold: {error}. {error.fix}")
    desk = Desk(catalog.EXHIBITS, run, measure)
    desk.warm()
    build(desk).queue(max_size=256).launch(server_name=args.host, server_port=args.port, **options)


if __name__ == "__main__":
    main()
