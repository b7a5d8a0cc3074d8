"""The request body under ASGI, for handlers of either colour."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from dualroute.bodies import ReceiveChannel
from dualroute.types import Message, Receive, Scope

__all__ = ["BridgedChannel"]

READ_AHEAD = 1_048_576
"""How many bytes of a body are read before a `def` handler gets a thread, so that a slow upload holds none."""


class BridgedChannel(ReceiveChannel):
    """A body that a thread can read too, by having the event loop receive for it.

    Args:
        receive: the ASGI receive callable.
        scope: the ASGI scope, of type "http".
    """

    __slots__ = ("_loop", "_next_event", "_queued", "_scope")

    def __init__(self, receive: Receive, scope: Scope) -> None:
        super().__init__(self._next)
        self._next_event = receive
        self._scope = scope
        self._queued: deque[Message] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def _next(self) -> Message:
        return self._queued.popleft() if self._queued else await self._next_event()

    async def read_ahead(self) -> None:
        """Get ready to be read from a thread: receive a body of up to READ_AHEAD bytes, if the request has one."""
        self._loop = asyncio.get_running_loop()
        if self.ended or not _has_body(self._scope):
            return
        size = sum(len(message.get("body") or b"") for message in self._queued)
        while size <= READ_AHEAD:
            if self._queued and not self._queued[-1].get("more_body"):
                return
            message = await self._next_event()
            self._queued.append(message)
            size += len(message.get("body") or b"")

    def read(self) -> bytes:
        while not self.ended:
            piece = self.accept(self._queued.popleft() if self._queued else self._receive_from_thread())
            if piece:
                return piece
        return self._after_end()

    def _receive_from_thread(self) -> Message:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError(
                "a `def` handler that runs on the event loop (sync_to_thread=False) can't wait for a request body;"
                " make it async def, or let it have a thread"
            )
        assert self._loop is not None, "read_ahead() comes before a thread reads"
        return asyncio.run_coroutine_threadsafe(self._receive_for_thread(), self._loop).result()

    async def _receive_for_thread(self) -> Message:
        return await self._next_event()

    async def gone(self) -> bool:
        """Tell whether the client has gone, looking at events that are there without waiting for one."""
        if not self.disconnected and self.ended:
            waiting: Any = asyncio.ensure_future(self._next_event())
            await asyncio.sleep(0)
            if waiting.done():
                self.accept(waiting.result())
            else:
                waiting.cancel()
        return self.disconnected

    async def watch(self) -> None:
        """Return when the client has gone.

        Pieces of the body that come meanwhile are kept for whoever reads it.  Beyond READ_AHEAD of them nothing more
        is received here, and so no disconnect noticed, until some have been read: sending will then notice it.
        """
        while True:
            size = sum(len(message.get("body") or b"") for message in self._queued)
            if size > READ_AHEAD:
                await asyncio.Event().wait()
            message = await self._next_event()
            if message["type"] == "http.disconnect":
                self.disconnected = True
                self._queued.append(message)
                return
            self._queued.append(message)


def _has_body(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return True
    # HTTP/2 and later frame a body without either header.
    return scope.get("http_version", "1.1") not in ("1.0", "1.1") and scope["method"] in (
        "POST",
        "PUT",
        "PATCH",
        "QUERY",
    )
