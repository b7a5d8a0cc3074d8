"""DelegateApp: runs Tornado's message delegates, on either protocol.

A delegate is run as a mounted ASGI application is (`dualroute_asgi.mounted`), so limits, streaming, cancellation and
clients that leave are what they are there.  What is added here is how a delegate is told of its request, and how what
it writes, at any time and without waiting, becomes what an application sends.

One task takes what was written and sends it.  Another tells the delegate of its request, where that can't be done at
once, and then looks out for the client's leaving.  So a response may begin before the request has ended, and a delegate
that waits holds up neither the other side nor its own answer.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from dualroute.bodies import BUFFER_SIZE
from dualroute.callables import describe
from dualroute.exceptions import BodyTooLarge, ClientDisconnect
from dualroute.foreign import AppBroken
from dualroute.outgoing import NOBODY, HTTPOutputError, Outgoing
from dualroute.types import Message, Receive, Scope, Send
from dualroute_asgi import sessions
from dualroute_asgi.mounted import ASGIApp

if TYPE_CHECKING:
    from dualroute import connection, delegates
    from dualroute.handlers import Handler

__all__ = ["DelegateApp"]

logger: logging.Logger = logging.getLogger("dualroute")

_RUN = "dualroute.delegate"


class DelegateApp(ASGIApp):
    """What answers the requests for which routing has found a message delegate.

    Their ``path_args`` are the delegate and its connection.  One of these serves all of them.

    Args:
        buffer_size: how many bytes of a response at most are taken from a delegate before they can be sent.
    """

    def __init__(self, *, buffer_size: int = BUFFER_SIZE) -> None:
        super().__init__(_run, buffer_size=buffer_size, lifespan=False)
        self.websocket_handler: Handler | None = None

    def described(self) -> str:
        return "a message delegate"

    def _scope(self, connection: connection.HTTPConnection) -> Scope:
        request: Any = connection
        delegate, answering = request._path_args
        # Held by nothing but the delegate's own side from here on: see `_Run`.
        request._path_args = ()
        run = _Run(delegate, answering, request._body_channel.may_have_body())
        return {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "extensions": {}, _RUN: run}


async def _run(scope: Scope, receive: Receive, send: Send) -> None:
    run: _Run = scope.pop(_RUN)
    await run.run(receive, send)


class _Run:
    """A delegate's answering of one request.

    Args:
        delegate: the delegate.
        connection: what it answers on.
        may_have_body: False for a request known to have none.
    """

    def __init__(
        self, delegate: delegates.HTTPMessageDelegate, connection: delegates.HTTPConnection, may_have_body: bool
    ) -> None:
        self._delegate: delegates.HTTPMessageDelegate | None = delegate
        self._name = describe(type(delegate))
        self._opening = connection._opening()
        self._outgoing: Outgoing = connection._outgoing
        self._loop = asyncio.get_running_loop()
        # Once the delegate has been told everything, only those who hold the connection can answer.  Where the last
        # of them goes, this hears of it, on whichever thread.
        loop, outgoing, lost = self._loop, self._outgoing, weakref.WeakMethod(self._lost)
        self._connection: weakref.ref[Any] = weakref.ref(
            connection, lambda _: None if outgoing.finished else _call_soon(loop, lost)
        )
        # For then; until then it is held.
        self._held_weakly: weakref.ref[Any] = weakref.ref(delegate)
        self._more_body = may_have_body
        # True once it knows that its request has ended, and once it has returned from being told.
        self._finishing = False
        self._told = False
        self._failure: Exception | None = None
        self._news: asyncio.Future[None] | None = None
        self._takers: list[asyncio.Future[None]] = []
        self._feed: asyncio.Task[None] | None = None
        self._finish: asyncio.Task[None] | None = None
        self._receiving = False

    # What the connection asks of whoever runs its delegate: see `dualroute.outgoing.Runner`.

    def require_loop(self) -> None:
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if not here:
            raise RuntimeError(
                "a connection is written to on the event loop that its delegate runs on, and nowhere else;"
                " use loop.call_soon_threadsafe(connection.write, …)"
            )

    def notify(self) -> None:
        news = self._news
        if news is not None and not news.done():
            news.set_result(None)

    async def until_taken(self, count: int) -> None:
        outgoing = self._outgoing
        while outgoing.taken < count:
            if outgoing.closed:
                raise ConnectionResetError(NOBODY)
            taker = self._loop.create_future()
            self._takers.append(taker)
            await taker

    def _note_taken(self) -> None:
        takers, self._takers = self._takers, []
        for taker in takers:
            if not taker.done():
                taker.set_result(None)

    # Telling the delegate.

    async def run(self, receive: Receive, send: Send) -> None:
        """Tell the delegate of its request, and send what it writes until its response is complete."""
        outgoing = self._outgoing
        outgoing.runner = self
        complete = left = False
        try:
            self._begin(receive)
            await self._send(send)
            complete = True
        except (ClientDisconnect, OSError):
            left = True
            raise
        finally:
            try:
                await self._close(complete=complete, left=left)
            finally:
                outgoing.closed = True
                outgoing.runner = None
                outgoing.pieces.clear()
                self._note_taken()
                # Not kept, since through its traceback it holds this.
                failure, self._failure = self._failure, None
        if failure is not None and not isinstance(failure, ClientDisconnect | BodyTooLarge):
            try:
                raise failure  # it is only reported: the response has gone out
            finally:
                del self, failure  # the exception would hold this frame, and this frame it

    def _begin(self, receive: Receive) -> None:
        """Tell the delegate what can be told without waiting, and have a task tell the rest."""
        try:
            assert self._delegate is not None
            waiting = _awaitable(self._delegate.headers_received(*self._opening))
            if waiting is None and not self._more_body and not self._outgoing.finished:
                self._tell_end()
            if waiting is not None or not self._outgoing.finished:
                self._feed = asyncio.create_task(self._tell(receive, waiting))
        except Exception as error:
            self._fail(error)

    async def _tell(self, receive: Receive, waiting: Awaitable[None] | None) -> None:
        """Tell the delegate what it was not told at once, and of the client's leaving."""
        try:
            if waiting is not None:
                await waiting
                waiting = None
            while self._more_body and self._is_open():
                message = await self._receive(receive)
                if message["type"] != "http.request":
                    raise ClientDisconnect
                self._more_body = bool(message.get("more_body"))
                piece = message.get("body")
                if piece and self._is_open():
                    assert self._delegate is not None
                    waiting = _awaitable(self._delegate.data_received(piece))
                    if waiting is not None:
                        await waiting
                        waiting = None
                del message, piece
            if not self._finishing and self._is_open():
                self._tell_end()
            while self._is_open():
                if (await self._receive(receive))["type"] != "http.request":
                    raise ClientDisconnect
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            self._fail(AppBroken(f"{self._name} cancelled itself"), error)
        except Exception as error:
            self._fail(error)
        finally:
            del waiting

    def _is_open(self) -> bool:
        """Tell whether a response is still to come."""
        return not self._outgoing.finished and not self._outgoing.closed

    async def _receive(self, receive: Receive) -> Message:
        self._receiving = True
        try:
            return await receive()
        finally:
            self._receiving = False

    def _tell_end(self) -> None:
        assert self._delegate is not None
        self._finishing = True
        waiting = _awaitable(self._delegate.finish())
        if waiting is None:
            self._let_go()
        else:
            self._finish = asyncio.create_task(self._wait_for_end(waiting))

    async def _wait_for_end(self, waiting: Awaitable[None]) -> None:
        try:
            await waiting
            del waiting
            self._let_go()
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            self._fail(AppBroken(f"{self._name} cancelled itself"), error)
        except Exception as error:
            self._fail(error)

    def _let_go(self) -> None:
        """Hold the delegate no longer: it was told everything."""
        self._told = True
        self._delegate = None
        if self._connection() is None:
            self._lost()

    def _lost(self) -> None:
        """Take note that nobody holds the connection any more."""
        if self._told and not self._outgoing.finished and self._outgoing.failure is None:
            self._fail(
                AppBroken(f"{self._name} has returned from finish() without a response, and nobody is left to make one")
            )

    def _fail(self, error: Exception, cause: BaseException | None = None) -> None:
        if self._failure is None and self._outgoing.runner is self:
            if cause is not None:
                error.__cause__ = cause
            self._failure = error
            self.notify()

    # Sending what it writes.

    async def _send(self, send: Send) -> None:
        outgoing = self._outgoing
        started = False
        while True:
            while not outgoing.finished and not outgoing.pieces:
                self._require_well()
                self._news = self._loop.create_future()
                await self._news
                self._news = None
            self._require_well()
            piece = outgoing.pieces.popleft() if outgoing.pieces else b""
            last = outgoing.finished and not outgoing.pieces
            if not started:
                started = True
                assert outgoing.response is not None, "what is written begins with the headers"
                status = outgoing.response.status_code
                await send({"type": "http.response.start", "status": status, "headers": outgoing.response.raw_headers})
            await send({"type": "http.response.body", "body": piece, "more_body": not last})
            outgoing.taken = outgoing.put if last else outgoing.taken + 1
            if self._takers:
                self._note_taken()
            if last:
                return

    def _require_well(self) -> None:
        """Raise what stands in the way of a response that is not finished."""
        if self._outgoing.finished:
            return
        if self._failure is not None:
            self._raise_failure()
        if self._outgoing.failure is not None:
            raise HTTPOutputError(self._outgoing.failure)

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        assert failure is not None
        try:
            raise failure
        finally:
            del self, failure  # the exception would hold this frame, and this frame it

    # The end.

    async def _close(self, *, complete: bool, left: bool) -> None:
        """Tell the delegate that it is over, where it can't know by itself, and wait for what it is at.

        That may take as long as it likes where the response is `complete`, and a while where the client has `left`.
        Otherwise it is cancelled.
        """
        outgoing = self._outgoing
        if not outgoing.finished:
            outgoing.closed = True
            self._note_taken()
            await self._tell_close()
        # Neither is kept, since what a cancelled task raised holds this.
        feed, self._feed = self._feed, None
        finish, self._finish = self._finish, None
        if feed is not None and self._receiving:
            feed.cancel()
        under_way = [task for task in (feed, finish) if task is not None and not task.done()]
        if under_way:
            if not complete and not left:
                for task in under_way:
                    task.cancel()
            try:
                await asyncio.wait(under_way, timeout=None if complete else sessions.GRACE)
            finally:
                for task in under_way:
                    task.cancel()
        if outgoing.finished and not self._told:
            # Its response was finished before its request, or its finish() failed after that.
            await self._tell_close()

    async def _tell_close(self) -> None:
        delegate = self._delegate if self._delegate is not None else self._held_weakly()
        self._delegate = None
        if delegate is None:
            return
        try:
            waiting = _awaitable(delegate.on_connection_close())
            if waiting is not None:
                await waiting
        except Exception:
            logger.exception("%s.on_connection_close failed", self._name)


def _call_soon(loop: asyncio.AbstractEventLoop, method: weakref.WeakMethod[Any]) -> None:
    function = method()
    if function is not None and not loop.is_closed():
        loop.call_soon_threadsafe(function)


def _awaitable(result: object) -> Awaitable[Any] | None:
    """Return what a method of a delegate returned, if that is to be awaited."""
    return result if result is not None and isinstance(result, Awaitable) else None


def _is_cancelled() -> bool:
    """Tell whether the current task is being cancelled, by others."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
