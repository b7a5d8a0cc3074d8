"""The pieces of a body that a thread makes and the event loop sends, a bounded number of bytes between them.

A thread comes for a *visit*: it makes pieces until the body ends or `buffer_size` bytes wait to be sent, and then
leaves for other work.  When half of them have been sent, another visit begins.  So a response that is ready costs one
visit, a long one costs a visit for every so many bytes and not one for each piece, and a client that reads slowly
holds no thread.

What a thread has made is put into a deque.  For the first QUIET seconds of a visit the loop is not woken by it but
looks by itself in the end: most visits are over by then, and two threads that wake one another for each piece spend
more time on that than on the pieces.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextvars import Context
from typing import Any, Self

from dualroute.contexts import bind_all
from dualroute.responses import Response
from dualroute.streams import BodyFailed, BodyStream, is_native
from dualroute_asgi.threads import Pace, Receiver, ThreadPool

__all__ = ["Pump"]

_PIECE_SIZE = 256
"""How many bytes a piece counts for, beside its own, so that tiny ones are bounded too."""

QUIET = 0.004
"""How many seconds a visit goes on before each piece that it makes wakes the event loop."""

_END: Any = object()


class _Visit(Receiver):
    """One go of a thread."""

    context: Context

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._claim = [True]
        self.failure: BaseException | None = None
        self.ended = False

    def report(self, result: Any, error: BaseException | None) -> None:
        self.failure = error
        self.ended = True
        self._pump._quiet = False
        self._pump._put_item(self)


class _Wait(asyncio.Future[None]):
    """A wait for a visit to give something.

    A visit that has begun can't be stopped at once: it is told, and the wait goes on until it has heard.
    """

    def __init__(self, pump: Pump) -> None:
        super().__init__(loop=pump._loop)
        self._pump = pump

    def cancel(self, msg: Any = None) -> bool:
        if self._pump._give_up_visit():
            return super().cancel(msg)
        # asyncio.Task takes False to mean that this can't be cancelled, and cancels itself at its next step.
        return False


class Pump:
    """An async iterator over the pieces of a body that is iterated over in threads.

    Args:
        threads: where the visits are made.
        buffer_size: how many bytes may wait to be sent before a visit ends.
        on_cancel: called where a visit under way is to end early, once it was given up.
        quiet: False to have the loop woken by the first piece of a visit.
        pace: remembers how long visits take.
    """

    # On the class until they change, since most pumps are made for one short visit.
    _stream: BodyStream | None = None
    has_pieces: bool = False
    """True where there is, or was, a body to make pieces of."""
    # Counted on one side each, so no lock is needed.
    _made: int = 0
    _sent: int = 0
    _woken: bool = False
    _quiet: bool = False
    _wait: _Wait | None = None
    _visit: _Visit | None = None
    # Where the loop is to stand still for the visit: see `ThreadPool.note_start`.
    _over: threading.Lock | None = None
    _stopping: bool = False
    _closed: bool = False
    _ended: bool = False
    # Set when it has been closed; there once somebody is at it.
    _closing: asyncio.Event | None = None

    def __init__(
        self,
        threads: ThreadPool,
        buffer_size: int,
        on_cancel: Callable[[], object] | None = None,
        *,
        quiet: bool = True,
        pace: Pace | None = None,
    ) -> None:
        self._threads = threads
        self._buffer_size = buffer_size
        self._on_cancel = on_cancel
        self._starts_quiet = quiet
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        # Pieces, _END, a BodyFailed, and each visit after all that it gave.
        self._items: deque[Any] = deque()

    @classmethod
    def over(cls, stream: BodyStream, threads: ThreadPool, buffer_size: int) -> Self:
        """Return a pump for a body that is there."""
        pump = cls(threads, buffer_size)
        pump._stream = stream
        pump.has_pieces = True
        return pump

    # In the thread of a visit.

    def _begin(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        response = function(*args)
        if isinstance(response, Response) and response.body_iterator is not None and not is_native(response):
            # Before the loop can see the response, to which it gives this pump for a body.
            self._stream = BodyStream(response)
            self.has_pieces = True
        # The loop is not woken for it: what follows does that.
        self._items.append(response)
        if self._stream is not None:
            self._make()

    def _make(self) -> None:
        stream = self._stream
        assert stream is not None, "there is a body to make pieces of"
        try:
            while not self._stopping:
                if self._made - self._sent >= self._buffer_size:
                    return
                piece = stream.advance()
                if piece is None:
                    self._put_item(_END)
                    break
                self._made += len(piece) + _PIECE_SIZE
                self._put_item(piece)
        except BodyFailed as failed:
            self._put_item(failed)
        self._close()

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close_in_place()
        self._closed = True

    def _put_item(self, item: Any) -> None:
        self._items.append(item)
        if not self._woken and not self._quiet:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                pass  # the loop was closed meanwhile: nobody waits

    # On the loop.

    def _wake(self) -> None:
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    def _start_visit(self, function: Callable[..., Any], *args: Any) -> _Visit:
        self._visit = visit = _Visit(self)
        if self._starts_quiet:
            self._quiet = True
            self._threads.listen_later(self.listen, QUIET)
        self._threads.note_start(visit, self._pace)
        if visit.over is not None:
            self._over = visit.over
            # Nobody needs to be woken before the loop has stood still.
            self._woken = True
        visit.context = self._threads.start(function, args, visit)
        return visit

    def listen(self) -> None:
        """Be woken by each piece from now on."""
        self._quiet = False
        if self._items:
            self._wake()

    def _give_up_visit(self) -> bool:
        """Have the visit end early; tell whether it had not even begun."""
        self._stopping = True
        visit = self._visit
        if visit is None:
            return True
        if visit.claim():
            self._visit = None
            return True
        visit.give_up()
        if self._on_cancel is not None:
            self._on_cancel()
        return False

    async def _hear(self) -> None:
        """Wait until there is an item."""
        over, self._over = self._over, None
        if over is not None and not self._items:
            self._threads.stand_still(over, self._pace)
        while not self._items:
            self._wait = _Wait(self)
            self._woken = False
            try:
                # Looked at once more, now that whatever comes wakes the loop.
                if not self._items:
                    await self._wait
            finally:
                self._wait = None

    async def _next_item(self) -> Any:
        """Return what comes next of the visit under way; the visit itself when it is over."""
        await self._hear()
        return self._items.popleft()

    async def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Call `function` in a thread and return what it returns; pieces of a response's body are made at once.

        The body of a response becomes this pump, however much of it was made by then: middleware sees a stream.
        """
        visit = self._start_visit(self._begin, function, args)
        items = self._items
        try:
            await self._hear()
            outcome = items.popleft()
            if not self.has_pieces and outcome is not visit and not items:
                await self._hear()
        except asyncio.CancelledError:
            await self.close_async()
            raise
        bind_all(visit.context)
        if outcome is visit:
            self._visit = None  # which knows this pump
            failure = visit.failure
            assert failure is not None, "a visit without an outcome has failed"
            try:
                raise failure
            finally:
                del failure, visit, outcome  # the exception would hold this frame, and this frame it
        if not self.has_pieces:
            self._visit = None
            items.clear()
            return outcome
        outcome.body_iterator = self
        return outcome

    def take_whole(self) -> bytes | None:
        """Return the body where all of it was made and nothing of it taken yet, which ends this; otherwise None."""
        items = self._items
        if not (self._closed and len(items) > 1 and items[-1] is self._visit and items[-2] is _END):
            return None
        items.pop()
        items.pop()
        whole = b"".join(items)
        items.clear()
        self._visit = self._stream = None
        self._ended = True
        return whole

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self.advance_async()
        except BodyFailed as failed:
            raise failed.error from None
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def advance_async(self) -> bytes | None:
        """Return the next piece, or None after the last.  Raises BodyFailed."""
        while not self._ended:
            if self._made - self._sent <= self._buffer_size // 2:
                self._go_on()
            item = self._items.popleft() if self._items else await self._next_item()
            if type(item) is bytes:
                self._sent += len(item) + _PIECE_SIZE
                return item
            if item is _END:
                self._ended = True
            elif isinstance(item, BodyFailed):
                self._ended = True
                try:
                    raise item
                finally:
                    del item  # it would hold this frame, and this frame it
            else:
                self._note(item)
        return None

    def _note(self, visit: _Visit) -> None:
        """Take in that a visit is over.  Raises what it failed with, if that was not the body's doing."""
        bind_all(visit.context)
        if visit is self._visit:
            self._visit = None
        if visit.failure is not None:
            self._ended = True
            raise visit.failure

    def _go_on(self) -> None:
        """Start another visit, where the one before was left because enough was made."""
        visit = self._visit
        if self._closed or self._stopping or (visit is not None and (not visit.ended or visit.failure is not None)):
            return
        if visit is not None:
            bind_all(visit.context)
        self._start_visit(self._make)

    async def close_async(self) -> None:
        """Close the body, once the visit under way is over.

        Who has taken the body and the end of its request may both do so, at the same time; the one waits for the other.
        """
        if self._closing is not None:
            await self._closing.wait()
            return
        self._closing = asyncio.Event()
        try:
            await self._close_async()
        finally:
            self._closing.set()

    async def _close_async(self) -> None:
        cancelled: BaseException | None = None
        if self._visit is not None and not self._ended:
            self._give_up_visit()
        self._ended = True
        if self._visit is None and self._stream is None:
            self._closed = True
        while self._visit is not None or not self._closed:
            if self._visit is None:
                self._start_visit(self._close)
            try:
                item = await self._next_item()
            except asyncio.CancelledError as error:
                cancelled = error
                self._stopping = True
                continue
            if self._visit is not None and item is self._visit:
                bind_all(self._visit.context)
                self._visit = None
        self._stream = None  # which leads to the response, whose body this may be
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled

    aclose = close_async
