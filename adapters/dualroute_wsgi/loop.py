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
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from queue import Empty
from typing import Any

from dualroute.concurrency import threads
from dualroute.contexts import bind_all
from dualroute.lifespan import Lifespan
from dualroute.streams import BodyStream, KeepAlive
from dualroute_wsgi import greenlets
from dualroute_wsgi.desk import Desk
from dualroute_wsgi.life import Living
from dualroute_wsgi.parking import ParkingLoop

__all__ = ["LoopVisit", "Pour", "WorkerLoop", "worker_loop"]

logger: logging.Logger = logging.getLogger("dualroute")

GRACE = 5.0
"""How many seconds a coroutine that is cancelled, and the loop at exit, have to come to an end."""

_PIECE_SIZE = 256
"""How many bytes a piece that waits to be sent counts for, beside its own, so that tiny ones are bounded too."""


class LoopVisit:
    """One coroutine on the loop, for a thread that waits at a desk.

    Args:
        desk: where to say that it is over.
        loop: the worker's event loop.
    """

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
        self.desk = desk
        self._loop = loop
        self._is_given_up = False
        self.task: asyncio.Task[Any] | None = None
        self.failure: BaseException | None = None

    def start(self, function: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...], context: Context) -> None:
        """Have ``function(*args)`` awaited on the loop, in `context`, in which nothing else may be running."""
        self._loop.call_soon_threadsafe(self.begin, function, args, context)

    def begin(self, function: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...], context: Context) -> None:
        """Do so now.  Called on the loop."""
        try:
            self.task = self._loop.create_task(self._serve(function, args), context=context)
            self.task.add_done_callback(self._end)
        except BaseException as error:
            self.failure = error
            self.desk.inbox.put(self)

    async def _serve(self, function: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...]) -> Any:
        _leave_threads()
        return await function(*args)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self.desk.inbox.put(self)

    def outcome(self) -> Any:
        """Return what the coroutine returned, or raise what it raised, after it has ended.  That can be asked once."""
        failure, task = self.failure, self.task
        # Not kept: an exception may hold the frames of those who waited for this, and so this.
        self.failure = self.task = None
        try:
            if failure is not None:
                raise failure
            assert task is not None, "a visit that did not fail has a task"
            if task.cancelled():
                if self._is_given_up:
                    raise asyncio.CancelledError
                raise RuntimeError("a handler raised CancelledError, but its request was not cancelled")
            return task.result()
        finally:
            del self, failure, task  # the exception would hold this frame, and this frame it

    def cancel(self) -> None:
        """Cancel the coroutine."""
        self._is_given_up = True

        def cancel() -> None:
            if self.task is not None:
                self.task.cancel()
            else:  # the signal came before the coroutine was even handed over
                self.desk.inbox.put(self)

        try:
            self._loop.call_soon_threadsafe(cancel)
        except RuntimeError:
            self.desk.inbox.put(self)  # the loop was closed: nothing runs on it any more


class BriefVisit(LoopVisit):
    """A coroutine on the loop, in a context that nobody else uses: it is over before its task has quite ended.

    The server's thread need not wait for the loop to come round once more, for which that would look whether anybody
    else has something for it.
    """

    task: asyncio.Task[Any] | None
    failure: BaseException | None
    _is_told: bool = False
    _result: Any = None

    async def _serve(self, function: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...]) -> None:
        _leave_threads()
        try:
            self._result = await function(*args)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.failure = error
        self._is_told = True
        if self.task is not None:
            # The loop would come round once more for it, and the server's thread wait for that.
            self.task.remove_done_callback(self._end)
        self.desk.inbox.put(self)

    def _end(self, task: asyncio.Task[Any]) -> None:
        if not self._is_told:
            super()._end(task)

    def outcome(self) -> Any:
        if not self._is_told or self.failure is not None:
            return super().outcome()
        result, self._result, self.task = self._result, None, None
        return result


class Pour:
    """The pieces of a body of the loop's colour, made there ahead of the server's thread that sends them.

    Args:
        stream: the body.
        desk: where the thread takes them.
        context: the context that they are made in; nothing may be running in it.
        buffer_size: how many bytes may wait to be sent.
        keep_alive: what the thread sends where there is nothing to take for a while.
    """

    def __init__(
        self,
        stream: BodyStream,
        desk: Desk,
        context: Context,
        buffer_size: int,
        keep_alive: KeepAlive | None = None,
    ) -> None:
        assert desk.loop is not None, "it is the desk of a request that the loop has to do with"
        self._stream = stream
        self._desk = desk
        self._loop: asyncio.AbstractEventLoop = desk.loop
        self._context = context
        self._buffer_size = buffer_size
        self._keep_alive = keep_alive
        self._patience = None if keep_alive is None else keep_alive.first
        self._visit: LoopVisit | None = None
        self._ended = False
        # Counted on one side each, so no lock is needed.
        self._made = 0
        self._sent = 0
        self._room: asyncio.Event | None = None

    async def _pour(self) -> None:
        put = self._desk.inbox.put
        room = asyncio.Event()
        while (piece := await self._stream.advance_async()) is not None:
            self._made += len(piece) + _PIECE_SIZE
            put(piece)
            while self._made - self._sent >= self._buffer_size:
                room.clear()
                self._room = room
                if self._made - self._sent >= self._buffer_size:  # looked at once more, now that the thread will tell
                    await room.wait()

    def fetch(self) -> bytes | None:
        """Return the next piece, or None after the last.  Called in the server's thread.  Raises BodyFailed."""
        if self._ended:
            return None
        if self._visit is None:
            self._visit = LoopVisit(self._desk, self._loop)
            self._visit.start(self._pour, (), self._context)
        try:
            item = self._desk.take(self._visit, self._patience)
        except Empty:
            assert self._keep_alive is not None, "only then is there a limit to waiting"
            return self._keep_alive.piece
        finally:
            if self._keep_alive is not None:
                self._patience = self._keep_alive.every
        if item is self._visit:
            self._ended = True
            self._visit = None  # whose failure leads here
            try:
                item.outcome()
            finally:
                del item  # its exception would hold this frame, and this frame it
            return None
        self._sent += len(item) + _PIECE_SIZE
        room = self._room
        if room is not None and self._made - self._sent <= self._buffer_size // 2:
            self._room = None
            self._loop.call_soon_threadsafe(room.set)
        piece: bytes = item
        return piece

    def stop(self) -> Context:
        """End the making of pieces, and return the context to close the body in."""
        if self._visit is not None and not self._ended:
            self._ended = True
            if not self._desk.abandon(self._visit, GRACE):
                self._context = self._context.copy()  # it goes on in its own
        return self._context


class WorkerLoop:
    """An event loop in a thread.  Raises RuntimeError where threads are greenlets, and it would stop all of them."""

    def __init__(self) -> None:
        if (obstacle := greenlets.obstacle()) is not None:
            raise RuntimeError(obstacle)
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self._hand_over: Callable[..., object] = self.loop.call_soon_threadsafe
        if type(self.loop) is asyncio.SelectorEventLoop:  # so no policy asks for another kind
            self.loop.close()
            self.loop = loop = ParkingLoop()
            self._hand_over = loop.hand_over
        self._lives: list[Living] = []
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="dualroute-loop", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                self.loop.run_forever()
                return
            except (KeyboardInterrupt, SystemExit):
                # A coroutine's, which has it too: it is raised in the server's thread, where it belongs.
                continue

    def run(
        self, function: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...], context: Context, desk: Desk
    ) -> Any:
        """Await ``function(*args)`` on the loop; return what it returns, or raise what it raises.

        Args:
            function: returns a coroutine.
            args: its arguments.
            context: the context it runs in a copy of; what it binds is bound in there afterwards.
            desk: where the calling thread waits meanwhile, and reads the body of the request that this is for.

        Raises RuntimeError in the loop's own thread, which can't wait for itself.
        """
        own = context.copy()
        visit = BriefVisit(self.serving(desk), self.loop)
        try:
            self._hand_over(visit.begin, function, args, own)
            desk.is_over(visit)
        except BaseException:
            # A signal, such as the one by which gunicorn ends a worker that takes too long.
            desk.abandon(visit, GRACE)
            raise
        try:
            return visit.outcome()
        finally:
            del visit  # an exception in it would hold this frame, and this frame the visit
            context.run(bind_all, own)

    def visit(self, desk: Desk) -> LoopVisit:
        """Return a visit to be waited for at `desk`.  Raises RuntimeError in the loop's own thread."""
        return LoopVisit(self.serving(desk), self.loop)

    def serving(self, desk: Desk) -> Desk:
        """Return a desk at which things are waited for that run here.  Raises RuntimeError in the loop's own thread."""
        if threading.get_ident() == self._thread.ident:
            raise RuntimeError("the WSGI side was called on its own event loop, which can't wait for itself")
        desk.loop = self.loop
        return desk

    def live(self, lifespan: Lifespan) -> None:
        """Run a start-up, and have its shutdown run before the loop is closed.

        Raises what the start-up failed with.
        """
        living = Living(lifespan, self.loop, GRACE)
        self._lives.append(living)
        try:
            living.start()
        except BaseException:
            self._lives.remove(living)
            raise

    def end(self, lifespan: Lifespan) -> None:
        """Run the shutdown of what `live` started.  Raises RuntimeError for what failed."""
        for living in self._lives:
            if living.lifespan is lifespan:
                self._lives.remove(living)
                asyncio.run_coroutine_threadsafe(living.end(), self.loop).result()
                break
        if lifespan.failures:
            raise RuntimeError("; ".join(lifespan.failures))

    def close(self) -> None:
        """Shut down what was started, cancel what still runs, and stop; each within GRACE seconds."""
        if self._closing or self.loop.is_closed() or threading.current_thread() is self._thread:
            return
        self._closing = True

        async def wind_up() -> None:
            for living in reversed(self._lives):
                await living.end()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=GRACE)
            await self.loop.shutdown_asyncgens()
            self.loop.stop()

        asyncio.run_coroutine_threadsafe(wind_up(), self.loop)
        parts = 1 + sum(living.lifespan.remaining for living in self._lives)
        self._thread.join((GRACE + 1) * parts + 1)
        if not self._thread.is_alive():
            self.loop.close()
        else:
            logger.error("the worker's event loop did not come to an end within %g s", (GRACE + 1) * parts + 1)


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


def close_worker_loop() -> None:
    """Close this process's event loop, if there is one."""
    if _worker_loop is not None:
        _worker_loop.close()


os.register_at_fork(after_in_child=_forget)
atexit.register(close_worker_loop)


def _leave_threads() -> None:
    # Where an ASGI server's thread waits for this, its pool must not be waited for in turn.
    if threads.get() is not None:
        threads.set(None)
