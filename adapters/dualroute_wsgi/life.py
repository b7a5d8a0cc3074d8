"""A lifespan in a WSGI worker: one task on the worker's event loop, from before the first request to the end.

What is `async def` in it is awaited in that task.  A plain context manager gets a thread, where it may block, and run
an event loop of its own; it is the same one for its start-up and its shutdown, which comes when the process ends and
Python starts no threads any more.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any

from dualroute.exchange import Call
from dualroute.lifespan import GivenUp, Lifespan

__all__ = ["Living"]


class Living:
    """A lifespan from its start-up to its shutdown.

    Args:
        lifespan: what is to be run.
        loop: the worker's event loop.
        grace: how many seconds each part of the shutdown may take.
    """

    def __init__(self, lifespan: Lifespan, loop: asyncio.AbstractEventLoop, grace: float) -> None:
        self.lifespan = lifespan
        self._loop = loop
        self._grace = grace
        self._started: Future[None] = Future()
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # The thread of each plain context manager, by the identity of the context that it has.
        self._threads: dict[int, _Thread] = {}

    def start(self) -> None:
        """Run the start-up.  Called in a server's thread.  Raises what it failed with."""
        self._loop.call_soon_threadsafe(self._begin)
        try:
            self._started.result()
        except BaseException:
            if not self._started.done():  # a signal, by which the server ends
                asyncio.run_coroutine_threadsafe(self.end(), self._loop)
            raise

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._live())

    async def _live(self) -> None:
        try:
            await self._drive(self.lifespan.startup(self._grace))
        except BaseException as error:
            self._dismiss()
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        await self._ending.wait()
        await self._drive(self.lifespan.shutdown())
        self._dismiss()

    def _dismiss(self) -> None:
        for thread in self._threads.values():
            thread.dismiss()

    async def end(self) -> None:
        """Run the shutdown, or give the start-up up.  Called on the loop."""
        if self._task is None or self._task.done():
            return
        self._ending.set()
        if not self._started.done():
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _drive(self, calls: Generator[Call, Any, None]) -> None:
        try:
            call = calls.send(None)
            while True:
                # A second more than a mounted app has, which looks at the clock itself.
                bound = asyncio.timeout(self._grace + 1 if self.lifespan.ending else None)
                try:
                    async with bound:
                        outcome = await self._perform(call)
                except BaseException as error:
                    call = calls.throw(GivenUp(self._grace + 1) if bound.expired() else error)
                else:
                    call = calls.send(outcome)
        except StopIteration:
            return
        finally:
            calls.close()

    async def _perform(self, call: Call) -> Any:
        if call.is_async:
            return await call.function(*call.args)
        context = id(getattr(call.function, "__self__", None))
        thread = self._threads.get(context)
        if thread is None:
            thread = self._threads[context] = _Thread()
        return await asyncio.wrap_future(thread.call(call.function, call.args))


class _Thread:
    """A thread that calls what it is given."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = (
            queue.SimpleQueue()
        )
        # A daemon: one that does not come to an end is not waited for.
        threading.Thread(target=self._work, name="dualroute-lifespan", daemon=True).start()

    def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Future[Any]:
        future: Future[Any] = Future()
        self._jobs.put((future, function, args))
        return future

    def dismiss(self) -> None:
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function, args = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)
            del job, future, function, args
