"""The worker's event loop: one per process, in a thread of its own, for as long as the process lives.

It is started on first need and so after a fork: never at import, and a child of a process that has one starts its
own.  Since it goes on living, a connection pool that one handler opens serves the next one, and a task that a handler
starts goes on after the response.

While a coroutine runs here for a request, the server's thread waits.  It can be given work meanwhile: the body of the
request is read in that thread, because it is the one that the server meant to read it.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualroute_wsgi.adapter import HandOverChannel

__all__ = ["WorkerLoop", "worker_loop"]

GRACE = 5.0
"""How many seconds a coroutine that is cancelled, and the loop at exit, have to come to an end."""


class _Errand:
    """A function for the waiting thread to call, and where its outcome goes."""

    __slots__ = ("function", "future")

    def __init__(self, function: Callable[[], bytes], future: asyncio.Future[bytes]) -> None:
        self.function = function
        self.future = future


class _Visit:
    """One coroutine on the loop, and the thread that waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.inbox: SimpleQueue[_Errand | None] = SimpleQueue()
        self.task: asyncio.Task[Any] | None = None
        self.failure: BaseException | None = None
        self._reading: asyncio.Future[bytes] | None = None

    def begin(self, function: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...], context: Context) -> None:
        """Start the coroutine.  Called on the loop."""
        try:
            self.task = self.loop.create_task(_coroutine(function, args), context=context)
            self.task.add_done_callback(self._end)
        except BaseException as error:
            self.failure = error
            self.inbox.put(None)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self.inbox.put(None)

    async def hand_over(self, function: Callable[[], bytes]) -> bytes:
        """Have the waiting thread call `function`.  One that is given up is still under way, and is taken up again."""
        if self._reading is None:
            self._reading = self.loop.create_future()
            self.inbox.put(_Errand(function, self._reading))
        reading = self._reading
        try:
            return await asyncio.shield(reading)
        finally:
            if reading.done():
                self._reading = None

    def wait(self) -> None:
        """Wait until the coroutine has ended, running its errands.  Called in the server's thread."""
        while (errand := self.inbox.get()) is not None:
            piece, failure = b"", None
            try:
                piece = errand.function()
            except Exception as error:
                failure = error
            self.loop.call_soon_threadsafe(_settle, errand.future, piece, failure)

    def abandon(self) -> None:
        """Cancel the coroutine and wait a while for it to end.  Called in the server's thread."""

        def cancel() -> None:
            if self.task is not None:
                self.task.cancel()
            else:  # the signal came before the coroutine was even handed over
                self.inbox.put(None)

        try:
            self.loop.call_soon_threadsafe(cancel)
        except RuntimeError:
            return  # the loop was closed: nothing runs on it any more
        try:
            while self.inbox.get(timeout=GRACE) is not None:
                pass
        except Empty:
            pass


class WorkerLoop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="dualroute-loop", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(
        self,
        function: Callable[..., Coroutine[Any, Any, Any]],
        args: tuple[Any, ...],
        context: Context,
        channel: HandOverChannel,
    ) -> Any:
        """Await ``function(*args)`` on the loop; return what it returns, or raise what it raises.

        Args:
            function: returns a coroutine.
            args: its arguments.
            context: the context it runs in; nothing may be running in it.
            channel: the body of the request that this is for, which is read in the calling thread meanwhile.

        Raises RuntimeError in the loop's own thread, which can't wait for itself.
        """
        if threading.get_ident() == self._thread.ident:
            raise RuntimeError("the WSGI side was called on its own event loop, which can't wait for itself")
        visit = _Visit(self.loop)
        channel.hand_over = visit.hand_over
        try:
            self.loop.call_soon_threadsafe(visit.begin, function, args, context)
            visit.wait()
        except BaseException:
            # A signal, such as the one by which gunicorn ends a worker that takes too long.
            visit.abandon()
            raise
        finally:
            channel.hand_over = None
        try:
            if visit.failure is not None:
                raise visit.failure
            assert visit.task is not None, "a visit that did not fail has a task"
            if visit.task.cancelled():
                raise RuntimeError("a handler raised CancelledError, but its request was not cancelled")
            return visit.task.result()
        finally:
            del visit  # an exception in it would hold this frame, and this frame the visit

    def close(self) -> None:
        """Cancel what still runs, and stop; GRACE seconds at most."""
        if self.loop.is_closed() or threading.current_thread() is self._thread:
            return

        async def wind_up() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=GRACE)
            await self.loop.shutdown_asyncgens()
            self.loop.stop()

        asyncio.run_coroutine_threadsafe(wind_up(), self.loop)
        self._thread.join(GRACE + 1)
        if not self._thread.is_alive():
            self.loop.close()


_worker_loop: WorkerLoop | None = None
_starting = threading.Lock()


def worker_loop() -> WorkerLoop:
    """Return this process's event loop, started if there is none yet."""
    global _worker_loop
    if _worker_loop is None:
        with _starting:
            if _worker_loop is None:
                _worker_loop = WorkerLoop()
    return _worker_loop


def _forget() -> None:
    """Leave the parent's loop to the parent: a fork copies the object and not the thread."""
    global _worker_loop, _starting
    _worker_loop = None
    _starting = threading.Lock()


def _close_at_exit() -> None:
    if _worker_loop is not None:
        _worker_loop.close()


os.register_at_fork(after_in_child=_forget)
atexit.register(_close_at_exit)


async def _coroutine(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return await function(*args)


def _settle(future: asyncio.Future[bytes], piece: bytes, failure: Exception | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(piece)
    else:
        future.set_exception(failure)
