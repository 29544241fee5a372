"""A page without a browser: the queue's own endpoints by httpx, with every frame checked as it comes."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from gradio_client.utils import apply_diff

from engines import events as ev

API = "/gradio_api"
PAINTED = ("propose", "commit", "preview")


@dataclass
class Run:
    """What one run sent. Times in seconds: `first` from the click to the first painted event, `idle` from Stop to the
    end, `server_idle` that part of it which lies in the server. trouble: what was wrong with its frames, in words;
    empty if all came, once each, in order."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    events: list[dict[str, Any]] = field(default_factory=list)
    frames: int = 0
    first: float | None = None
    idle: float | None = None
    server_idle: float | None = None
    end: dict[str, Any] | None = None
    refused: str = ""
    trouble: list[str] = field(default_factory=list)

    def take(self, frame: dict[str, Any], clock: float) -> None:
        """One frame, `clock` seconds after the click."""
        if frame["run"] != self.id:
            self.trouble.append("a frame of another run")
            return
        if frame["seq"] != self.frames:
            self.trouble.append(f"frame {frame['seq']} came where {self.frames} was due")
        self.frames = frame["seq"] + 1
        for event in frame.get("events", ()):
            if self.first is None and event["kind"] in PAINTED:
                self.first = clock
            self.events.append(event)
        self.end = frame.get("end", self.end)
        self.refused = frame.get("refused", {}).get("message", self.refused)
        if "failed" in frame:
            self.trouble.append(frame["failed"]["message"])

    def check(self) -> None:
        """Hold the whole run against the rules of events, and its digest against what the server wrote."""
        if self.end is None:
            self.trouble.append("the run did not end")
            return
        try:
            events = [ev.from_json(e) for e in self.events]
            if events:
                ev.check(events)
            digest = self.end.get("digest")  # absent where the run was stopped before its first turn
            if digest is not None and digest != ev.digest(events):
                self.trouble.append("the digest does not fit what came")
        except ev.BadTrace as error:
            self.trouble.append(str(error))


class Wire:
    """One page's line to the server."""

    def __init__(self, client: httpx.AsyncClient, function: int, component: int):
        self.client, self.function, self.component = client, function, component
        self.session = uuid.uuid4().hex[:12]

    @classmethod
    async def open(cls, client: httpx.AsyncClient) -> Wire:
        """client has the server's address as `base_url`."""
        config = (await client.get("/config")).json()
        targets = ((d["id"], t) for d in config["dependencies"] for t in d["targets"])
        function, component = next((i, t[0]) for i, t in targets if t[1] == "run")
        return cls(client, function, component)

    async def call(self, name: str, *data: Any) -> Any:
        """A server function of the page: cancel, refetch."""
        body = {"data": data[0] if len(data) == 1 else list(data), "component_id": self.component,
                "session_hash": self.session, "fn_name": name}
        answer = await self.client.post(f"{API}/component_server", json=body)
        answer.raise_for_status()
        return answer.json()

    async def join(self, request: dict[str, Any]) -> None:
        """Ask for a run. request: as the page sends it, with its own fresh `run`."""
        body = {"data": [], "fn_index": self.function, "session_hash": self.session, "event_data": request,
                "trigger_id": self.component}
        answer = await self.client.post(f"{API}/queue/join", json=body)
        answer.raise_for_status()

    async def frames(self) -> AsyncIterator[dict[str, Any]]:
        """Frames as they come, until the stream of this page closes."""
        value: Any = None
        async with self.client.stream("GET", f"{API}/queue/data", params={"session_hash": self.session}) as stream:
            async for line in stream.aiter_lines():
                message = json.loads(line.removeprefix("data:")) if line.strip() else {}
                data = message.get("output", {}).get("data") or []
                # the first value comes whole, later ones as changes; the last message repeats the last value
                if message.get("msg") == "process_generating" and data:
                    value = data[0] if isinstance(data[0], str) else apply_diff(value, data[0])
                    yield json.loads(value)
                elif message.get("msg") in ("unexpected_error", "process_completed") and not message.get("success"):
                    raise httpx.RemoteProtocolError(f"the server said {line[:200]}")

    async def run(self, stop_after: int | None = None, check: bool = True, **request: Any) -> Run:
        """A whole run of `request` (exhibit, seed, …), stopped after that many events if so asked.

        check: hold it against the rules at once; many pages on one clock do so later (`Run.check`).
        """
        run = Run()
        start = time.perf_counter()
        stopped: float | None = None
        await self.join({"run": run.id, **request})
        async for frame in self.frames():
            run.take(frame, time.perf_counter() - start)
            if stopped is None and stop_after is not None and len(run.events) >= stop_after and run.end is None:
                stopped = time.perf_counter()
                await self.call("cancel", run.id)
            if stopped is not None and run.end is not None and run.idle is None:
                run.idle = time.perf_counter() - stopped
                if "idle_ms" in run.end:  # else it was over before Stop came
                    run.server_idle = run.end["idle_ms"] / 1000
        if check:
            run.check()
        return run
