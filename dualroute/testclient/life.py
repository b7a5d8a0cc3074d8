"""The event loop of a client, in a thread, and the lifespan of the app on it (ASGI specification, "Lifespan")."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from typing import Any

from dualroute.failures import unhandled
from dualroute.testclient.checks import ProtocolViolation, raise_later
from dualroute.types import Message

__all__ = ["GRACE", "Life", "LoopThread", "Watched"]

logger: logging.Logger = logging.getLogger("dualroute")

GRACE = 5.0
"""How many seconds what is to end has for that, before it is cancelled; and then once more, before it is left alone."""


class LoopThread:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self._winding_up: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._work, name="dualroute-testclient", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                self.loop.run_forever()
                break
            except (KeyboardInterrupt, SystemExit):
                continue  # a task's, which has it too: it is raised in the test
        self.loop.close()

    def soon(self, function: Callable[..., object], *args: Any, context: Context | None = None) -> bool:
        """Have the loop call a function; tell whether there is still a loop to do so."""
        try:
            self.loop.call_soon_threadsafe(function, *args, context=context)
        except RuntimeError:
            return False
        return True

    def stop(self) -> None:
        """Cancel what runs, and stop when it has ended, or after a while."""

        async def wind_up() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=GRACE)
            await self.loop.shutdown_asyncgens()
            self.loop.stop()

        def begin() -> None:
            self._winding_up = self.loop.create_task(wind_up())

        self.soon(begin)

    def close(self) -> None:
        """Stop, and wait for that."""
        self.stop()
        if threading.current_thread() is not self._thread:
            self._thread.join(2 * GRACE)


class Watched:
    """A call of an app in a task on a loop, and what it has to tell the thread of the test.

    Args:
        thread: where the loop is.

    `inbox` is what there is to be told; the call itself comes last.  `errors` are the exceptions that nobody handled.
    """

    def __init__(self, thread: LoopThread) -> None:
        self.thread: LoopThread = thread
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.errors: list[BaseException] = []
        self.task: asyncio.Task[None] | None = None
        self.ended: bool = False
        """Whether the thread of the test knows that the call has ended."""

    def begin(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start the call, in a copy of this thread's context."""
        context = copy_context()
        context.run(unhandled.set, self.errors)

        def start() -> None:
            self.task = self.thread.loop.create_task(function(), context=context)
            self.task.add_done_callback(lambda task: self.inbox.put(self))

        if not self.thread.soon(start, context=context):
            raise RuntimeError("the client was closed")

    def take(self, timeout: float | None = None) -> Any:
        """Return what comes next.  Raises queue.Empty."""
        item = self.inbox.get(timeout=timeout)
        if item is self:
            self.ended = True
        return item

    def await_end(self, serve: Callable[[Any], object], timeout: float | None = None) -> bool:
        """Wait for the end of the call, and tell whether it came."""
        try:
            while not self.ended:
                serve(self.take(timeout))
        except Empty:
            return False
        return True

    def cancel(self) -> None:
        """Cancel the call."""
        if self.task is not None:
            self.thread.soon(self.task.cancel)

    def failure(self) -> BaseException | None:
        """Return what the call raised, after it has ended."""
        task = self.task
        if task is None or not task.done():
            return None
        if task.cancelled():
            return RuntimeError("the call of the app was cancelled")
        return task.exception()


class Life(Watched):
    """The lifespan of an ASGI app, from its start-up to its shutdown.

    Args:
        app: the app.
        thread: the loop that its requests run on too.
        state: what its start-up leaves for its requests.
    """

    def __init__(self, app: Any, thread: LoopThread, state: dict[str, Any]) -> None:
        super().__init__(thread)
        self._app = app
        self._state = state
        self._asked = False
        self._events: asyncio.Queue[Message] = asyncio.Queue()

    async def _call(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        self._asked = True
        return await self._events.get()

    async def _send(self, message: Message) -> None:
        self.inbox.put(message)

    def startup(self) -> None:
        """Run the start-up.  Raises what it failed with.

        An app that raises before it asks for the first event, or returns, has no lifespan, and that is all right.
        """
        self.begin(self._call)
        self.thread.soon(self._events.put_nowait, {"type": "lifespan.startup"})
        message = self.take()
        if message is self:
            error = self.failure()
            if error is not None and self._asked:
                raise_later(error)
            return
        if message["type"] == "lifespan.startup.complete":
            return
        self._fail(message, "startup")

    def shutdown(self) -> None:
        """Run the shutdown.  Raises what it failed with, or RuntimeError where it takes too long."""
        if self.ended:
            return
        self.thread.soon(self._events.put_nowait, {"type": "lifespan.shutdown"})
        try:
            message = self.take(2 * GRACE)
        except Empty:
            self.cancel()
            self.await_end(_ignore, GRACE)
            raise RuntimeError(f"the app's shutdown did not end within {2 * GRACE:g} s, and was cancelled") from None
        if message is not self and message["type"] == "lifespan.shutdown.complete":
            if not self.await_end(_ignore, GRACE):
                self.cancel()
            if not self.errors:
                return
        if message is self or message["type"] == "lifespan.shutdown.complete":
            error = self.errors[0] if self.errors else self.failure()
            if error is not None:
                raise_later(error)
            return
        self._fail(message, "shutdown")

    def _fail(self, message: Message, event: str) -> None:
        if message["type"] != f"lifespan.{event}.failed":
            self.cancel()
            raise ProtocolViolation(f"the app answered lifespan.{event} by {message['type']!r}")
        # The exception itself, which many frameworks raise after they have told of it, says more than the message.
        self.await_end(_ignore, GRACE)
        error = self.errors[0] if self.errors else self.failure()
        raise_later(error or RuntimeError(f"the app's {event} failed: {message.get('message') or ''}"))


def _ignore(item: Any) -> None:
    pass
