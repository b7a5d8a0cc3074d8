"""Mixed traffic for a minute, or for ten with ``DUALROUTE_TEST_FULL=1``: nothing of it stays in the server.

Counted after a warm-up and in the end, while nothing else goes on: memory, threads, files and tasks.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.servers.conftest import Start, client_of
from tests.servers.launching import BOUND, Running, by_name, eventually
from tests.servers.test_crossed import Lane, ask_all

logger = logging.getLogger(__name__)

FULL = os.environ.get("DUALROUTE_TEST_FULL") == "1"
SECONDS = 600.0 if FULL else 60.0
WARM_UP = SECONDS / 3
AT_ONCE = 4
"""How many clients each server has; they pause in between, so that a machine with two cores can do other things too."""

SERVERS = ("gunicorn-gthread", "uvicorn-httptools", *(("gunicorn-asgi", "granian-asgi") if FULL else ()))

GROWTH, GROWTH_IN_BYTES = 0.02, 2 * 1024 * 1024
"""What memory may have grown by: the larger of the two."""


class Soak(Lane):
    """A client that also uploads files, and vanishes now and then."""

    async def ask(self, number: int) -> None:
        special = {5: self._upload, 6: self._vanish_in_download, 7: self._vanish_in_upload}.get(number % 8)
        if special is None:
            await super().ask(number)
        else:
            await special(number, f"{self.name}-{number}", ("def", "async")[number // 8 % 2])
        await asyncio.sleep(0.005)

    async def _upload(self, number: int, token: str, colour: str) -> None:
        parts = {
            "token": ("", token.encode()),
            "file": ('; filename="f"', bytes(1_500_000 if number % 16 == 5 else 2_000)),
        }
        body = b"".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"{further}\r\n\r\n'.encode() + content + b"\r\n"
            for name, (further, content) in parts.items()
        )
        head = self._head("POST", f"form/{colour}", token, "multipart/form-data; boundary=x", len(body) + 7)
        status, _, answer = await self._exchange(head + body + b"--x--\r\n")
        assert status == 200
        assert answer.count(token.encode()) == 7
        self.done[f"upload {colour}"] += 1

    async def _vanish_in_download(self, number: int, token: str, colour: str) -> None:
        reader, writer = await asyncio.open_connection(self.server.host, self.server.port)
        writer.write(self._head("GET", f"stream/{colour}", token, pause=0.02))
        assert await reader.readuntil(b"\r\n\r\n")
        self._vanish(writer, number)
        self.done["vanished in download"] += 1

    async def _vanish_in_upload(self, number: int, token: str, colour: str) -> None:
        _, writer = await asyncio.open_connection(self.server.host, self.server.port)
        writer.write(self._head("POST", f"body/{colour}", token, "text/plain", 1_000_000) + bytes(100_000))
        await writer.drain()
        self._vanish(writer, number)
        self.done["vanished in upload"] += 1

    @staticmethod
    def _vanish(writer: asyncio.StreamWriter, number: int) -> None:
        if number // 16 % 2:
            writer.transport.abort()
        else:
            writer.close()

    @staticmethod
    def _head(method: str, path: str, token: str, kind: str = "", length: int = 0, pause: float = 0.001) -> bytes:
        content = f"Content-Type: {kind}\r\nContent-Length: {length}\r\n" if length else ""
        return (
            f"{method} /{path}/{token}?token={token}&pause={pause} HTTP/1.1\r\nHost: soak\r\nX-Token: {token}\r\n"
            f"Cookie: token={token}\r\n{content}\r\n"
        ).encode()


def soak(servers: list[Running], seconds: float, numbers: Iterator[int]) -> Counter[str]:
    """Have traffic with all servers for so long; return how many exchanges there were of each kind."""

    async def drive(lane: Soak, until: float) -> Counter[str]:
        try:
            while time.monotonic() < until:
                await asyncio.wait_for(lane.ask(next(numbers)), BOUND)
        finally:
            lane.close()
        return lane.done

    async def main() -> Counter[str]:
        until = time.monotonic() + seconds
        lanes = [Soak(server, number) for server in servers for number in range(AT_ONCE)]
        return sum(await asyncio.gather(*(drive(lane, until) for lane in lanes)), Counter())

    return asyncio.run(main())


def measured(server: Running, until: Callable[[dict[str, Any]], bool] = bool) -> dict[str, Any]:
    """Return the least of what several counts in a row find, taken until they are as they should be, or for a while."""

    def is_settled() -> bool:
        now = client.get("/counts", headers={"x-token": "counts"}).json()
        counted.append(now)
        for name, value in now.items():
            least[name] = min(value, least.get(name, value))
        time.sleep(0.1)
        return len(counted) >= 10 and until(least)

    least: dict[str, Any] = {}
    counted: list[Any] = []
    # One connection for all: what a server keeps of each that was closed takes some of them a while.
    with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
        try:
            eventually(is_settled, "it is settled")
        except AssertionError:
            pass  # what there is instead is told by who asked
    return least


def tasks(server: Running) -> list[str]:
    """Return what each task in a server is in."""
    with client_of(server) as client:
        found: list[str] = client.get("/tasks", headers={"x-token": "tasks"}).json()
        return found


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
@pytest.mark.timeout(SECONDS + 300)
def test_nothing_piles_up(start: Start) -> None:
    # One arena for all threads: how an allocator spreads its blocks over several is not what is asked for.
    environ = {"MALLOC_ARENA_MAX": "1"}
    servers = [start(by_name(name), "crossed_apps:app", environ=environ) for name in SERVERS]
    numbers = itertools.count()
    for server in servers:
        ask_all(server, 500)  # at once: then all the threads that there may be are there
    soak(servers, WARM_UP, numbers)
    before = [measured(server) for server in servers]
    done = soak(servers, SECONDS - WARM_UP, numbers)
    logger.info("%d exchanges: %s", sum(done.values()), dict(done))
    assert {"websocket", "upload def", "upload async", "vanished in download", "vanished in upload"} <= set(done)
    for server, start_counts in zip(servers, before, strict=True):
        allowed = {**start_counts, "memory": start_counts["memory"] + _growth(start_counts["memory"])}

        def is_flat(now: dict[str, Any], allowed: dict[str, Any] = allowed) -> bool:
            return all(now[name] <= allowed[name] for name in ("memory", "threads", "files", "tasks", "loops"))

        after = measured(server, is_flat)
        logger.info("%s: %s -> %s", server.server, start_counts, after)
        assert after["pid"] == start_counts["pid"]
        assert is_flat(after), f"{server.server}: {start_counts} became {after}; {tasks(server)}"
        assert "Traceback" not in server.output


def _growth(memory: int) -> int:
    return max(int(memory * GROWTH), GROWTH_IN_BYTES)
