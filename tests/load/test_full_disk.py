"""A server that can write no byte to any file, as on a full disk: pages open and runs are whole all the same."""

from __future__ import annotations

import asyncio
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from benchmarks.served import ROOT, served
from benchmarks.wire import Run, Wire
from components.recorded import read

pytestmark = pytest.mark.alone  # it times what a neighbour would slow down

SLUGS = ("assd", "var")
# Sockets are no files: only what would go to the disk fails (EFBIG; Python ignores the signal that comes with it).
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
START = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"


def script(folder: Path, *lines: str) -> Path:
    path = folder / "started.py"
    path.write_text(START + "\n".join(lines))
    return path


async def runs(url: str) -> list[Run]:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        return [await (await Wire.open(client)).run(exhibit=slug) for slug in SLUGS]


def test_a_server_whose_disk_is_full_opens_pages_and_computes_runs(tmp_path):
    with served(script(tmp_path, "import app", FULL, "app.main()")) as server:
        assert b"unfold-page" in urllib.request.urlopen(server.url, timeout=30).read()
        with ThreadPoolExecutor(1) as thread:  # the browser tests' own loop runs in this one
            found = thread.submit(lambda: asyncio.run(runs(server.url))).result()
        for run, slug in zip(found, SLUGS, strict=True):
            assert run.trouble == []
            assert run.end == {"digest": read(slug)[0]["digest"], "reason": "finished"}


def test_a_start_on_a_full_disk_is_one_line(tmp_path):
    said = "^started.py ended at once: unfold: no folder for temporary files has room.*TMPDIR.*\n$"
    with pytest.raises(RuntimeError, match=said), served(script(tmp_path, FULL, "import app")):
        pass


def test_that_disk_is_full(tmp_path):
    write = f"import pathlib; pathlib.Path({str(tmp_path / 'x')!r}).write_bytes(b'x')"
    with pytest.raises(RuntimeError, match="File too large"), served(script(tmp_path, FULL, write)):
        pass
