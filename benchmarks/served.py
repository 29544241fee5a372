"""A real app server and a real Chromium, for benchmarks and for the browser tests.

UNFOLD_CHROMIUM: the browser's path (default /usr/bin/chromium).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = os.environ.get("UNFOLD_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Server:
    """A running app. cpu() is all processor time it has used so far, in seconds."""

    url: str
    pid: int

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def two_cores() -> Iterator[str]:
    """What is started inside has two cores, as on the smallest Space. Yields how many there are, in words."""
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_cores)[:2])
    try:
        yield f"{min(2, len(all_cores))} cores"
    finally:
        os.sched_setaffinity(0, all_cores)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def started(port: int, script: Path = ROOT / "app.py") -> Iterator[subprocess.Popen]:
    """The app behind `script` as a process of its own, from its very start; ended on leaving."""
    process = subprocess.Popen(
        [sys.executable, str(script), "--port", str(port), "--host", "127.0.0.1"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@contextmanager
def served(script: Path = ROOT / "app.py", wait_s: float = 180.0, port: int | None = None) -> Iterator[Server]:
    """The app behind `script`, on a free port unless one is given, once it answers. Raises RuntimeError if it ends, or
    does not answer in time."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    with started(port, script) as process:
        end = time.monotonic() + wait_s
        while True:
            if process.poll() is not None:
                assert process.stderr
                raise RuntimeError(f"{script.name} ended at once: {process.stderr.read()[-2000:]}")
            try:
                urllib.request.urlopen(f"{url}/unfold/alive", timeout=2).read()
                break
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                if time.monotonic() > end:
                    raise RuntimeError(f"{script.name} did not answer within {wait_s:.0f} s") from None
                time.sleep(0.25)
        yield Server(url, process.pid)


@contextmanager
def address(variable: str = "UNFOLD_URL", script: Path = ROOT / "app.py") -> Iterator[str]:
    """The URL of a server that runs already, if the environment names one, else of a fresh one."""
    if given := os.environ.get(variable):
        yield given.rstrip("/")
        return
    with served(script) as server:
        yield server.url


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser. Raises RuntimeError where there is none."""
    if not Path(CHROMIUM).exists():
        raise RuntimeError(f"no Chromium at {CHROMIUM}; install it or set UNFOLD_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
