"""One request in a mounted ASGI application that has a task of its own.

What it sends is kept until that is asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from dualroute.bodies import Channel, streamable
from dualroute.contexts import bind_all
from dualroute.exceptions import ClientDisconnect
from dualroute.foreign import AppBroken, MountedResponse
from dualroute.types import Message, Scope
from dualroute_asgi.body import BridgedChannel
from dualroute_asgi.messages import piece_from, response_from, returned_early, send_tells
from dualroute_asgi.sending import Turns

if TYPE_CHECKING:
    from dualroute_asgi.mounted import ASGIApp

__all__ = ["GRACE", "Session"]

logger: logging.Logger = logging.getLogger("dualroute")

GRACE = 5.0
"""How many seconds an application has to end after its request was given up."""

_PIECE_SIZE = 256
"""How many bytes a piece counts for, beside its own, so that tiny ones are bounded too."""

_DISCONNECT: Message = {"type": "http.disconnect"}


class Session:
    """One request in an application, and the pieces of its response."""

    known: Any = ()
    """As `Passage.known`, of which there is no use here."""

    def __init__(self, app: ASGIApp, scope: Scope, channel: Channel, *, waits: bool) -> None:
        self._app = app
        self._scope = scope
        self._channel = channel
        # Whether whoever ends the session waits for what the application does after its response.
        self._waits = waits
        # Where another thread sends the pieces, the other half of them is on the way there.
        self.buffer_size: int = app.buffer_size if waits else app.buffer_size // 2
        self._source: Channel | None = None
        self._told_end = False
        self._told_cut = False
        self._task: asyncio.Task[None] | None = None
        self._started = False
        self._response: MountedResponse | None = None
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._complete = False
        # Whether the body came in more than one piece.  It is a stream then, also where all of it is there by now:
        # what middleware sees of it is not to go by who was quicker.
        self._in_pieces = False
        self._failure: BaseException | None = None
        # True once nobody wants the rest of the response, and what says whether sending tells of it.
        self._gone = False
        self._versions = scope.get("asgi")
        self._turns: Turns | None = None
        # True for an application that did not end though it was given up.
        self._abandoned = False
        # Waited for by the consumer, by the application's send, and by its receive after the body.
        self._news: asyncio.Event = asyncio.Event()
        self._room: asyncio.Event | None = None
        self._over: asyncio.Event = asyncio.Event()

    # The application's side.

    async def _run(self) -> None:
        # Not kept, since it may lead here.
        scope, self._scope = self._scope, {}
        await self._app.app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if self._source is None:
            self._source = streamable(self._channel)
        if not self._told_end and not self._over.is_set():
            try:
                piece = await self._source.receive()
            except ClientDisconnect:
                self._told_cut = True
                return dict(_DISCONNECT)
            self._told_end = not piece or self._source.ended
            return {"type": "http.request", "body": piece, "more_body": not self._told_end}
        await self._until_over()
        return dict(_DISCONNECT)

    async def _until_over(self) -> None:
        """Wait until the response is complete, or given up, or the client has gone."""
        if not isinstance(self._channel, BridgedChannel) or self._over.is_set():
            await self._over.wait()
            return
        watching = asyncio.ensure_future(self._channel.watch())
        ending = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait([watching, ending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            ending.cancel()
        if not self._over.is_set():
            self._give_up()

    def _give_up(self) -> None:
        self._gone = True
        self._over.set()
        if self._room is not None:
            self._room.set()

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            if self._started:
                raise AppBroken(f"{self._app.described()} sent {kind!r} twice")
            self._response = response_from(self._app, message)
            self._started = True
        elif kind == "http.response.body":
            if not self._started:
                raise AppBroken(f"{self._app.described()} sent {kind!r} before 'http.response.start'")
            if self._complete:
                raise AppBroken(f"{self._app.described()} sent {kind!r} after the end of its response")
            piece = piece_from(self._app, message)
            if self._gone:
                await self._drop()
                return
            if piece:
                self._pieces.append(bytes(piece))
                self._size += len(piece) + _PIECE_SIZE
            if not message.get("more_body"):
                self._complete = True
                self._over.set()
                self._news.set()
            elif piece:
                self._in_pieces = True
                self._news.set()
                while self._size >= self.buffer_size and not self._gone:
                    self._room = asyncio.Event()
                    await self._room.wait()
        else:
            # Trailers, pushes, paths of files: extensions that were not offered.
            logger.debug("%s sent %r, which is dropped", self._app.described(), kind)

    async def _drop(self) -> None:
        """Take a piece that nobody wants any more.  The application has been cancelled, or told of it."""
        if send_tells(self._versions):
            raise ConnectionResetError("the client is gone")
        if self._turns is None:
            self._turns = Turns()
        elif self._turns.due():
            await asyncio.sleep(0)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # Through its traceback an exception holds who awaits this, so neither it nor the task is kept for longer.
        self._task = None
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self._complete:
            if isinstance(failure, Exception):
                self._app.failed_after_response(failure)
        elif self._gone:
            self._failure = ClientDisconnect()
        elif failure is None:
            self._failure = AppBroken(returned_early(self._app, started=self._started))
        else:
            self._failure = failure
        self._news.set()

    # The side of whoever answers the request.

    async def begin(self) -> MountedResponse:
        """Return the response, when there is a piece of its body; all of the body, where that came as one piece."""
        context = copy_context()
        self._task = asyncio.create_task(self._run(), context=context)
        self._task.add_done_callback(self._ended)
        await self._news.wait()
        bind_all(context)
        # Not kept, since it is going to hold this.
        response, self._response = self._response, None
        if self._failure is not None and not self._complete and not self._pieces:
            try:
                self._raise_failure()
            except Exception as error:
                if self._told_cut:
                    raise ClientDisconnect from error
                raise
        assert response is not None, "there is no piece without a response"
        if self._complete and not self._in_pieces:
            response.body = self._pieces.popleft() if self._pieces else b""
        else:
            response.body_iterator = self
        return response

    @property
    def client_left(self) -> bool:
        """Whether the client is known to have gone, or the request was given up."""
        return self._gone

    @property
    def cut_short(self) -> bool:
        """Whether the client stopped short of the end of the request body."""
        return self._channel.cut_short

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        assert failure is not None
        if isinstance(failure, asyncio.CancelledError):
            failure = AppBroken(f"{self._app.described()} cancelled itself")
        try:
            raise failure
        finally:
            del self, failure  # the exception would hold this frame, and this frame it

    def has_more(self) -> bool:
        """Tell whether there will be something to wait for when the response was sent."""
        return self._task is not None and not self._task.done() and (self._waits or not self._complete)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._complete:
                raise StopAsyncIteration
            if self._failure is not None:
                self._raise_failure()
            self._news.clear()
            await self._news.wait()
        piece = self._pieces.popleft()
        self._size -= len(piece) + _PIECE_SIZE
        if self._room is not None and self._size <= self.buffer_size // 2:
            self._room.set()
            self._room = None
        return piece

    async def aclose(self) -> None:
        """End the session: cancel the application, unless its response is complete, and wait for it to end."""
        task = self._task
        if task is None or task.done() or self._abandoned:
            return
        if self._complete:
            if self._waits:
                await asyncio.wait([task])
            return
        self._give_up()
        task.cancel()
        _, running = await asyncio.wait([task], timeout=GRACE)
        if running:
            self._abandoned = True
            logger.error("%s goes on %g s after its request was given up", self._app.described(), GRACE)
