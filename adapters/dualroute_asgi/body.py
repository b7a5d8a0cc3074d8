"""The request body under ASGI, for handlers of either colour."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from dualroute.bodies import BUFFER_SIZE, Channel, InputChannel, ReceiveChannel
from dualroute.concurrency import run_in_threadpool, threads
from dualroute.types import Environ, Message, Receive, Scope, Send
from dualroute_asgi.driving import LoopVisits, drive
from dualroute_asgi.sending import Pieces, pieces_of
from dualroute_asgi.threads import ThreadPool, this_thread

if TYPE_CHECKING:
    from dualroute.responses import Response

__all__ = ["BridgedChannel"]

_T = TypeVar("_T")

_EVENT_SIZE = 256
"""How many bytes an event that is kept counts for, beside those of its body, so that tiny pieces are bounded too."""


class BridgedChannel(ReceiveChannel):
    """A body that a thread can read too, by having the event loop receive for it.

    Several may want the next event: whoever reads the body, `watch` and `gone`.  One of them receives at a time, and
    what is not for it is kept, in order, for the reader.  While a thread reads, the loop goes on receiving, so that
    the thread finds something there each time but the first.

    Args:
        receive: the ASGI receive callable.
        scope: the ASGI scope, of type "http".
        send: the ASGI send callable, for a mounted app that may use it as it is.
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
    # How many bytes may be kept, what goes on receiving while a thread reads, and what it failed with.
    _buffer_size: int = BUFFER_SIZE
    _has_body: bool | None = None
    _filler: asyncio.Task[None] | None = None
    _filler_wanted: bool = False
    _failure: Exception | None = None
    # True once the last event has been received.
    _complete: bool = False
    # True once nothing more is received, for the request is over.
    _closed: bool = False
    # Held by a thread that waits for an event to be kept.
    _thread_waits: threading.Lock | None = None
    # False for what a middleware gives, which is not asked for before somebody wants it.
    _reads_ahead: bool = True
    # What threads have the loop run, once one does.
    _visits: LoopVisits | None = None

    def __init__(self, receive: Receive, scope: Scope, send: Send | None = None) -> None:
        self._receive = receive
        self._scope = scope
        self.send: Send | None = send
        self._kept: deque[Message] = deque()

    async def send_event(self, message: Message) -> None:
        if self.send is not None:
            await self.send(message)

    def send_event_from_thread(self, message: Message) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            return  # a `def` on the event loop, which can't wait for it
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self.send_event(message), self._loop).result()

    async def drive_async(self, exchange: Generator[Any, Any, _T]) -> _T:
        return await drive(exchange, self._pool(), lambda: self, self.time_limit, refusable=True)

    def drive(self, exchange: Generator[Any, Any, _T]) -> _T:
        assert self._loop is not None, "prepare() comes before a thread"
        if self._visits is None:
            self._visits = LoopVisits(self._loop, self.time_limit)
        return self._visits.drive(exchange)

    def _pool(self) -> ThreadPool:
        pool = threads.get()
        assert isinstance(pool, ThreadPool), "who serves a request has said which its threads are"
        return pool

    def over(self, receive: Receive) -> BridgedChannel:
        channel = BridgedChannel(receive, self._scope, self.send)
        channel._loop = self._loop
        channel._has_body = True
        channel._reads_ahead = False
        return self._share_limits(channel)

    def over_input(self, environ: Environ) -> Channel:
        return self._share_limits(_InputInThread(environ, self))

    def pieces_of(self, response: Response) -> Pieces:
        return pieces_of(response, self._pool())

    def may_have_body(self) -> bool:
        if self._has_body is None:
            self._has_body = _has_body(self._scope)
        return self._has_body and not self.ended

    async def receive(self) -> bytes:
        self.require_within_limit()
        while not self.ended:
            piece = self.accept(await self.next_event())
            if piece:
                return piece if self.limit is None else self._count(piece)
        return self._after_end()

    async def next_event(self) -> Message:
        """Return the next event for the reader; `receive` and `read` make pieces of them."""
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
            message = await self._receive()
        finally:
            self._free()
        if not message.get("more_body"):  # http.disconnect too
            self._complete = True
        return message

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
        self.wake_thread()

    def wake_thread(self) -> None:
        """Have the thread that waits for an event, if one does, look whether there is one, or it was given up."""
        # Only read here, since the thread may be putting another one there.
        waiting = self._thread_waits
        if waiting is not None:
            try:
                waiting.release()
            except RuntimeError:
                pass  # it was released before

    def _take(self) -> Message:
        message = self._kept.popleft()
        self._took += _size(message)
        if self._room is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._room.set)
        return message

    def _full(self) -> bool:
        return self._put - self._took > self._buffer_size

    def prepare(self, buffer_size: int) -> bool:
        """Get ready to be read from a thread; tell whether there is something to `read_ahead`."""
        self._loop = asyncio.get_running_loop()
        self._buffer_size = buffer_size
        return self._reads_ahead and not self.too_large and self.may_have_body()

    async def read_ahead(self) -> None:
        """Receive a body, up to the buffer's size, so that an upload that comes slowly holds no thread."""
        await self._fill()

    async def _fill(self) -> None:
        """Receive until enough is kept."""
        while not self._complete and not self._full():
            await self._pull()

    def read(self) -> bytes:
        self.require_within_limit()
        while not self.ended:
            piece = self.accept(self._take() if self._kept else self._wait_in_thread())
            if not self._filler_wanted and not self._complete and self._put - self._took <= self._buffer_size // 2:
                self._want_filler()
            if piece:
                return piece if self.limit is None else self._count(piece)
        return self._after_end()

    def _wait_in_thread(self) -> Message:
        """Return the next event, received by the loop meanwhile."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError(
                "a `def` handler that runs on the event loop (sync_to_thread=False) can't wait for a request body;"
                " make it async def, or let it have a thread"
            )
        while True:
            waiting = threading.Lock()
            waiting.acquire()
            self._thread_waits = waiting
            # What came before the lock was there to be released is seen here.
            if not self._kept and self._failure is None and not self._gives_up() and self._want_filler():
                waiting.acquire()
            self._thread_waits = None
            if self._kept:
                return self._take()
            if self._failure is not None:
                raise self._failure
            if self._gives_up() or self._loop is None or self._loop.is_closed():
                # The call was given up, or the request is over: there is no more of the body for this thread.
                return {"type": "http.disconnect"}

    def _gives_up(self) -> bool:
        call = this_thread.call
        return self._closed or (call is not None and call.given_up)

    def _want_filler(self) -> bool:
        """Have the loop receive until enough is kept; tell whether there is a loop to do so.  Called in a thread."""
        assert self._loop is not None, "prepare() comes before a thread reads"
        self._filler_wanted = True
        try:
            self._loop.call_soon_threadsafe(self._start_filler)
        except RuntimeError:  # it was closed
            return False
        return True

    def _start_filler(self) -> None:
        self._filler_wanted = False
        if self._closed:
            self.wake_thread()
        elif self._filler is None or self._filler.done():  # one that is done may not have said so yet
            assert self._loop is not None
            self._filler = self._loop.create_task(self._fill())
            self._filler.add_done_callback(self._filler_ended)

    def _filler_ended(self, filler: asyncio.Task[None]) -> None:
        if filler is self._filler:
            self._filler = None
        error = None if filler.cancelled() else filler.exception()
        if isinstance(error, Exception):
            self._failure = error
        if filler.cancelled():
            self._closed = True  # the event loop ends, if it was not `close`
        if self._kept or self._failure is not None or self._closed:
            self.wake_thread()

    def close(self) -> None:
        """Stop receiving: the request is over."""
        self._closed = True
        if self._filler is not None:
            self._filler.cancel()

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

        Pieces of the body that come meanwhile are kept for whoever reads it.  Beyond BUFFER_SIZE of them nothing more
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


class _InputInThread(InputChannel):
    """A body that a WSGI middleware gives, and that is read in a thread.

    Args:
        environ: what the middleware has passed on.
        outer: the channel of the request.
    """

    def __init__(self, environ: Environ, outer: BridgedChannel) -> None:
        super().__init__(environ)
        self.outer = outer

    async def receive(self) -> bytes:
        return await run_in_threadpool(self.read)


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
