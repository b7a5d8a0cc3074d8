"""The threads that `def` handlers run in under ASGI.

An executor's hop costs more than it need: two chained futures and a condition for each call.  Here a call goes into
a `SimpleQueue` and its result comes back by one `call_soon_threadsafe`.  What an executor keeps is kept: the caller's
context variables, exceptions with their tracebacks, a bound on the threads, and none of them before the first need.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, Protocol

__all__ = ["Receiver", "ThreadPool", "bind_all"]


class _Outcome(asyncio.Future[Any]):
    """The result of a call in a thread.

    A call that has not begun is given up when its task is cancelled.  One that has begun can't be stopped, so the
    task goes on waiting for it, and is cancelled when it ends: then no handler outlives its request's clean-up.
    """

    def __init__(self, *, loop: asyncio.AbstractEventLoop, on_cancel: Callable[[], object] | None) -> None:
        super().__init__(loop=loop)
        self._on_cancel = on_cancel
        # Whoever takes the one claim has decided: the thread to begin the call, or cancel() to give it up.
        self._claim = [True]

    def claim(self) -> bool:
        """Decide about the call; False where it was decided before."""
        try:
            return self._claim.pop()
        except IndexError:
            return False

    def cancel(self, msg: Any = None) -> bool:
        if self.claim():
            return super().cancel(msg)
        if self._on_cancel is not None and not self.done():
            self._on_cancel()
        # asyncio.Task takes False to mean that this can't be cancelled, and cancels itself at its next step.
        return False

    def report(self, result: Any, error: BaseException | None) -> None:
        """Take the outcome.  Called in the thread."""
        try:
            self.get_loop().call_soon_threadsafe(self.settle, result, error)
        except RuntimeError:
            pass  # the loop was closed meanwhile: nobody waits

    def settle(self, result: Any, error: BaseException | None) -> None:
        """Take the outcome.  Called on the loop."""
        if self.done():
            return
        if error is None:
            self.set_result(result)
        elif isinstance(error, StopIteration):
            # A future can't carry StopIteration, which would end the coroutine that awaits it.
            wrapped = RuntimeError("a function called in a thread raised StopIteration")
            wrapped.__cause__ = error
            self.set_exception(wrapped)
        else:
            self.set_exception(error)


class Receiver(Protocol):
    """Who is told of a call in a thread."""

    def claim(self) -> bool:
        """Tell whether the call is still wanted; asked once, when its turn has come."""
        ...

    def report(self, result: Any, error: BaseException | None) -> None:
        """Take the outcome.  Called in the thread."""
        ...


_Job = tuple[Context, Callable[..., Any], tuple[Any, ...], Receiver]


class ThreadPool:
    """At most `size` threads, started when they are needed and kept.

    Args:
        size: how many calls may run at once; further ones wait their turn.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._crew = _Crew()
        # Those who wait for the next tick of a loop.
        self._tick: tuple[asyncio.AbstractEventLoop, list[Callable[[], object]]] | None = None

    async def run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        *,
        on_cancel: Callable[[], object] | None = None,
    ) -> Any:
        """Call `function` in a thread and return what it returns, or raise what it raises.

        It runs in a copy of the caller's context, and the context variables that it binds are bound for the caller.

        Args:
            function: the callable.
            args: its positional arguments.
            on_cancel: called where the caller is cancelled while `function` runs, to have it come to an end early.
        """
        outcome = _Outcome(loop=asyncio.get_running_loop(), on_cancel=on_cancel)
        context = self.start(function, args, outcome)
        try:
            return await outcome
        finally:
            del outcome  # its exception would hold this frame, and this frame it
            bind_all(context)

    def start(self, function: Callable[..., Any], args: tuple[Any, ...], receiver: Receiver) -> Context:
        """Have `function` called in a thread and `receiver` told; return the context that it runs in."""
        context = copy_context()
        self._crew.take((context, function, args, receiver), self.size)
        return context

    def alone(self) -> bool:
        """Tell whether one call at most is under way."""
        crew = self._crew
        return crew.threads - crew.idle + crew.waiting <= 1

    def listen_later(self, function: Callable[[], object], delay: float) -> None:
        """Have `function` called on the loop in `delay` seconds at most; one timer serves all that come meanwhile."""
        loop = asyncio.get_running_loop()
        if self._tick is None or self._tick[0] is not loop:
            tick = self._tick = (loop, [])
            loop.call_later(delay, self._listen, tick)
        self._tick[1].append(function)

    def _listen(self, tick: tuple[asyncio.AbstractEventLoop, list[Callable[[], object]]]) -> None:
        if self._tick is tick:
            self._tick = None
        for function in tick[1]:
            function()

    def close(self) -> None:
        """Let the threads end when they have done what is queued.  Later calls start others."""
        crew, self._crew = self._crew, _Crew()
        crew.dismiss()


class _Crew:
    """The threads of a pool from one close() to the next."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self.threads = 0
        self.idle = 0
        self.waiting = 0

    def take(self, job: _Job, size: int) -> None:
        """Queue a call, and start a thread for it where none is idle and there are fewer than `size`."""
        with self._lock:
            if self.waiting >= self.idle and self.threads < size:
                threading.Thread(target=self._work, name="dualroute-handler", daemon=True).start()
                self.threads += 1
                # Counted as idle from here, so that the next call does not start a thread in place of this one.
                self.idle += 1
            self.waiting += 1
        self._jobs.put(job)

    def dismiss(self) -> None:
        for _ in range(self.threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            with self._lock:
                self.waiting -= 1
                self.idle -= 1
            context, function, args, receiver = job
            if receiver.claim():
                result: Any = None
                failure: BaseException | None = None
                try:
                    result = context.run(function, *args)
                except BaseException as error:
                    failure = error
                # As good as idle: who hears of the outcome may have the next call, and is to find this thread for it.
                with self._lock:
                    self.idle += 1
                receiver.report(result, failure)
                # Not kept until the next call comes.
                del result, failure
            else:
                with self._lock:
                    self.idle += 1
            del job, context, function, args, receiver


def bind_all(context: Context) -> None:
    """Bind, in the current context, the variables that are bound otherwise in `context`."""
    current = copy_context()
    for variable, value in context.items():
        if variable not in current or current[variable] is not value:
            variable.set(value)
