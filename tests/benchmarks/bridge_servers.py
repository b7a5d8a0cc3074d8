"""What plays the server and its client for the bridges, in process.

The client's socket never fills: `send` returns without waiting, and a WSGI response is iterated over as fast as it
gives.  So what is timed is the bridge and not the sending, and one that makes the app wait for the server pays for
each wait, as it does behind a server whose socket has room.  A client that reads slowly (`Traffic.pause`) shows what
a bridge holds.  Likewise each piece of an upload is there as soon as it is asked for.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from tests.benchmarks.bridge_apps import CHUNK, Tally, piece
from tests.benchmarks.harness import Answer, App, ASGIDriver, Driver, WSGIDriver

__all__ = ["ASGIServer", "Traffic", "WSGIServer", "server"]

_KEPT = 256
_PAUSED_AT = 1_048_576


@dataclass(frozen=True)
class Traffic:
    """One kind of request, and the client that makes it.

    Args:
        down: how many bytes the answer that is timed has.
        up: how many bytes are uploaded, a multiple of CHUNK.
        announced: True for a Content-Length; by default the upload is chunked.
        at_once: how many clients there are.  They make one request each at the same time, and that is timed as one.
        pause: how many seconds the client lets pass after each MiB that it has read.
    """

    down: int
    up: int = 0
    announced: bool = False
    at_once: int = 1
    pause: float = 0.0

    @property
    def volume(self) -> int:
        """How many bytes are carried in either direction."""
        return self.down + self.up

    @property
    def framing(self) -> tuple[str, str]:
        """The header of an upload."""
        return ("content-length", str(self.up)) if self.announced else ("transfer-encoding", "chunked")


def server(protocol: str, traffic: Traffic) -> Driver:
    """Return the server of a protocol, "asgi" or "wsgi"."""
    return ASGIServer(traffic) if protocol == "asgi" else WSGIServer(traffic)


class _Client:
    """What the client of one request has seen."""

    def __init__(self, traffic: Traffic, *, digest: bool) -> None:
        self.status = 0
        self._kept = b""
        self._tally = Tally(digest=digest)
        self._traffic = traffic

    def take(self, data: bytes) -> bool:
        """Take a piece of the answer, and tell whether a pause is due."""
        before = self._tally.count
        self._tally.add(data)
        if self._tally.count <= _KEPT:
            self._kept += data
        return bool(self._traffic.pause) and before // _PAUSED_AT != self._tally.count // _PAUSED_AT

    def answer(self) -> Answer:
        """Return what was answered: the body, or the tally of one that is too long to be kept."""
        return Answer(self.status, self._kept if self._tally.count <= _KEPT else self._tally.told())

    def check(self) -> None:
        """Raise AssertionError unless the answer has the length that it should have."""
        assert self.status == 200, f"status {self.status}"
        assert self._tally.count == self._traffic.down, f"{self._tally.count} bytes, not {self._traffic.down}"


class _ASGIClient(_Client):
    def __init__(self, traffic: Traffic, *, digest: bool = False) -> None:
        super().__init__(traffic, digest=digest)
        self._given = 0
        self._pieces = traffic.up // CHUNK
        self._asked = False
        self._complete = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        given = self._given
        if given < self._pieces:
            self._given = given + 1
            return {"type": "http.request", "body": piece(given), "more_body": given + 1 < self._pieces}
        if not self._pieces and not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._complete.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        data = message.get("body", b"")
        if data and self.take(data):
            await asyncio.sleep(self._traffic.pause)
        if not message.get("more_body"):
            self._complete.set()


class ASGIServer(ASGIDriver):
    """Calls an ASGI app."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__("POST" if traffic.up else "GET", "/")
        self._traffic = traffic
        if traffic.up:
            name, value = traffic.framing
            self._scope["headers"].append((name.encode("ascii"), value.encode("ascii")))

    def answer(self, app: App) -> Answer:
        client = _ASGIClient(self._traffic, digest=True)

        async def serve() -> None:
            await app({**self._scope, "path": "/digest", "raw_path": b"/digest"}, client.receive, client.send)

        self._runner.run(serve())
        return client.answer()

    async def _time(self, app: App, count: int) -> float:
        at_once = self._traffic.at_once
        for _ in range(_warm_ups(self._traffic)):
            await self._serve(app)
        started = perf_counter()
        for _ in range(count):
            if at_once == 1:
                await self._serve(app)
            else:
                await asyncio.gather(*(self._serve(app) for _ in range(at_once)))
        return perf_counter() - started

    async def _serve(self, app: App) -> None:
        client = _ASGIClient(self._traffic)
        await app(dict(self._scope), client.receive, client.send)
        client.check()


class _Input:
    """The ``wsgi.input`` of an upload: at most a piece at a time, as it comes off the wire."""

    def __init__(self, size: int) -> None:
        self._given = 0
        self._pieces = size // CHUNK
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            if self._given == self._pieces:
                return b""
            self._rest = piece(self._given)
            self._given += 1
        if size < 0 or size >= len(self._rest):
            data, self._rest = self._rest, b""
        else:
            data, self._rest = self._rest[:size], self._rest[size:]
        return data


class WSGIServer(WSGIDriver):
    """Calls a WSGI app."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__("POST" if traffic.up else "GET", "/")
        self._traffic = traffic
        # As servers do that take a chunked body off the wire.
        self._environ["wsgi.input_terminated"] = True
        if traffic.up:
            self._environ["CONTENT_LENGTH" if traffic.announced else "HTTP_TRANSFER_ENCODING"] = traffic.framing[1]
        self._threads = ThreadPoolExecutor(traffic.at_once)

    def answer(self, app: App) -> Answer:
        client = _Client(self._traffic, digest=True)
        self._serve(app, client, path="/digest")
        return client.answer()

    def time(self, app: App, count: int) -> float:
        at_once = self._traffic.at_once
        for _ in range(_warm_ups(self._traffic)):
            self._serve_checked(app)
        started = perf_counter()
        for _ in range(count):
            if at_once == 1:
                self._serve_checked(app)
            else:
                for _done in self._threads.map(self._serve_checked, [app] * at_once):
                    pass
        return perf_counter() - started

    def _serve_checked(self, app: App) -> None:
        client = _Client(self._traffic, digest=False)
        self._serve(app, client)
        client.check()

    def _serve(self, app: App, client: _Client, path: str = "/") -> None:
        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            client.status = int(status.partition(" ")[0])

        environ = {**self._environ, "PATH_INFO": path, "wsgi.input": _Input(self._traffic.up)}
        result = app(environ, start_response)
        try:
            for data in result:
                if client.take(data):
                    time.sleep(self._traffic.pause)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def close(self) -> None:
        self._threads.shutdown()


def _warm_ups(traffic: Traffic) -> int:
    """Return how many requests come before those that are timed: none where a request takes long anyway."""
    return 0 if traffic.at_once > 1 or traffic.volume > CHUNK else 3
