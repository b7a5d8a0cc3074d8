"""The request body under ASGI, for handlers of either colour."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import deque
from typing import Any

from dualroute.bodies import ReceiveChannel
from dualroute.types import Message, Receive, Scope

__all__ = ["BridgedChannel"]

READ_AHEAD = 1_048_576
"""How many bytes of a body are read before a `def` handler gets a thread, so that a slow upload holds none."""

_EVENT_SIZE = 256
"""How many bytes an event that is kept counts for, beside those of its body, so that tiny pieces are bounded too."""


class BridgedChannel(ReceiveChannel):
    """A body that a thread can read too, by having the event loop receive for it.

    Several may want the next event: whoever reads the body, `watch` and `gone`.  One of them receives at a time, and
    what is not for it is kept, in order, for the reader.

    Args:
        receive: the ASGI receive callable.
        scope: the ASGI scope, of type "http".
    """

    # What was ever put into `_kept` and taken out of it: each is counted on one side, so no lock is needed.
    _put: int = 0
    _took: int = 0
    _receiving: bool = False
    # Set when whoever receives has ended, for those who wait for that.
    _freed: asyncio.Event | None = None
    # Set by the reader for a watcher that waits for room.
    _room: asyncio.Event | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _thread_waits: concurrent.futures.Future[Message] | None = None
    _given_up: bool = False

    def __init__(self, receive: Receive, scope: Scope) -> None:
        super().__init__(receive)
        self._scope = scope
        self._kept: deque[Message] = deque()

    async def receive(self) -> bytes:
        while not self.ended:
            piece = self.accept(await self._next())
            if piece:
                return piece
        return self._after_end()

    async def _next(self) -> Message:
        """Return the next event for the reader."""
        while not self._kept:
            if not self._receiving:
                return await self._get()
            await self._until_freed()
        return self._take()

    async def _pull(self) -> None:
        """Receive an event and keep it, or wait until somebody who is at it has received one."""
        if self._receiving:
            await self._until_freed()
        else:
            self._keep(await self._get())

    async def _get(self) -> Message:
        self._receiving = True
        try:
            return await self._receive()
        finally:
            self._free()

    def _free(self) -> None:
        self._receiving = False
        if self._freed is not None:
            self._freed.set()
            self._freed = None

    async def _until_freed(self) -> None:
        if self._freed is None:
            self._freed = asyncio.Event()
        await self._freed.wait()

    def _keep(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self.disconnected = True
        self._put += _size(message)
        self._kept.append(message)

    def _take(self) -> Message:
        message = self._kept.popleft()
        self._took += _size(message)
        if self._room is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._room.set)
        return message

    def _full(self) -> bool:
        return self._put - self._took > READ_AHEAD

    async def read_ahead(self) -> None:
        """Get ready to be read from a thread: receive a body of up to READ_AHEAD bytes, if the request has one."""
        self._loop = asyncio.get_running_loop()
        if self.ended or not _has_body(self._scope):
            return
        while not self._full():
            if self._kept and not self._kept[-1].get("more_body"):
                return
            await self._pull()

    def read(self) -> bytes:
        while not self.ended:
            piece = self.accept(self._take() if self._kept else self._receive_from_thread())
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
        waiting = self._thread_waits = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
        if self._given_up:
            waiting.cancel()
        try:
            return waiting.result()
        except concurrent.futures.CancelledError:
            # The request was cancelled, or its event loop ends: there is no more of the body for this thread.
            return {"type": "http.disconnect"}
        finally:
            self._thread_waits = None

    def give_up(self) -> None:
        """Have no thread wait for more of the body: its reader gets ClientDisconnect.  Called on the loop."""
        self._given_up = True
        if self._thread_waits is not None:
            self._thread_waits.cancel()

    async def gone(self) -> bool:
        """Tell whether the client has gone, looking at events that are there without waiting for one."""
        while not self.disconnected and not self._receiving and not self._full():
            self._receiving = True
            waiting: asyncio.Future[Any] = asyncio.ensure_future(self._receive())
            try:
                await asyncio.sleep(0)
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.wait([waiting])
            finally:
                waiting.cancel()
                self._free()
            if waiting.cancelled():
                break
            self._keep(waiting.result())
        return self.disconnected

    async def watch(self) -> None:
        """Return when the client has gone.

        Pieces of the body that come meanwhile are kept for whoever reads it.  Beyond READ_AHEAD of them nothing more
        is received here, and so no disconnect noticed, until some have been read: sending will then notice it.
        """
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        while not self.disconnected:
            if self._full():
                self._room.clear()
                await self._room.wait()
            else:
                await self._pull()


def _size(message: Message) -> int:
    return len(message.get("body") or b"") + _EVENT_SIZE


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
