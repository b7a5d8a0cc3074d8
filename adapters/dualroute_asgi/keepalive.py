"""A piece that goes out whenever a stream has nothing to say for a while."""

from __future__ import annotations

import asyncio
from typing import Any

from dualroute.streams import Encoding, KeepAlive
from dualroute.types import Send

__all__ = ["KeptAlive"]


class KeptAlive:
    """A `send` that sends by itself where it is not called for a while.

    The body goes on being made in the request's own task, whose context it has and whose cancellation; only the pieces
    that fill its silence come from another.

    Args:
        send: the ASGI send callable.
        start: the event that starts the response.
        keep_alive: what to send, and when.
        encoding: what pieces of the stream go through, if anything.
    """

    started: bool = False
    """True once the response has started."""

    def __init__(
        self, send: Send, start: dict[str, Any], keep_alive: KeepAlive, encoding: Encoding | None = None
    ) -> None:
        self.send: Send = send
        self._start = start
        self._keep_alive = keep_alive
        self._encoding = encoding
        self._lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + keep_alive.first
        self._ended = False
        self._task = asyncio.create_task(self._fill())

    async def __call__(self, message: Any) -> None:
        """Send an event of the stream."""
        async with self._lock:
            self._due = self._loop.time() + self._keep_alive.every
            if message["type"] == "http.response.start":
                await self._begin()
                return
            self._ended = not message.get("more_body")
            await self.send(message)

    async def _begin(self) -> None:
        if not self.started:
            self.started = True
            await self.send(self._start)

    async def _fill(self) -> None:
        try:
            while not self._ended:
                wait = self._due - self._loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                    continue
                async with self._lock:
                    if self._ended or self._due > self._loop.time():
                        continue
                    await self._begin()
                    piece = self._keep_alive.piece
                    if self._encoding is not None:
                        piece = self._encoding.feed(piece)
                    await self.send({"type": "http.response.body", "body": piece, "more_body": True})
                    self._due = self._loop.time() + self._keep_alive.every
        except OSError:
            pass  # the client is gone, as the stream will find for itself

    def stop(self) -> None:
        """Send no more."""
        self._ended = True
        self._task.cancel()
