"""Exchanges, driven on an event loop: an `async def` is awaited in place, a `def` gets a thread.

Where a `def` has an exchange done that is inside its own call, it drives that itself: each `def` of it is called in
place, and each `async def` runs on the loop meanwhile.  While such a thread waits, what is inside has other threads
than those it was taken from: threads that wait for one another's turn would wait for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dualroute.bodies import BUFFER_SIZE
from dualroute.concurrency import threads
from dualroute.contexts import bind_all
from dualroute.exchange import Call, perform
from dualroute.foreign import StreamingHandler
from dualroute.responses import Response
from dualroute.timeouts import PATIENCE, TimeLimit
from dualroute_asgi.pump import Pump
from dualroute_asgi.sending import failure_of
from dualroute_asgi.threads import Receiver, ThreadPool, this_thread

if TYPE_CHECKING:
    from dualroute.handlers import Handler
    from dualroute_asgi.body import BridgedChannel

__all__ = ["LoopVisits", "call_in_thread", "drive", "outwait"]

_T = TypeVar("_T")


async def drive(
    exchange: Generator[Call, Any, _T],
    pool: ThreadPool,
    channel: Callable[[], BridgedChannel] | None = None,
    limit: TimeLimit | None = None,
    *,
    refusable: bool = False,
) -> _T:
    """Perform what an exchange asks for until it returns.

    Args:
        exchange: the exchange.
        pool: the threads for each `def`.
        channel: returns that of its request, if it has to do with one that came over ASGI; most have no need of it.
        limit: the time that there is for it, if that is limited.
        refusable: True where nothing was done for the request yet, so that it may be refused for want of a thread.
    """
    try:
        call = exchange.send(None)
        while True:
            try:
                if refusable and not call.inline and (call.handler is not None or not call.is_async):
                    refusable = False
                    if not call.is_async:
                        pool.require_room()
                if limit is not None and limit.applies_to(call):
                    outcome = await _within(limit, call, pool, channel and channel())
                elif call.is_async:
                    outcome = await call.function(*call.args)
                elif call.inline:
                    outcome = call.function(*call.args)
                else:
                    outcome = await _in_thread(call, pool, channel and channel())
            except BaseException as error:
                call = exchange.throw(failure_of(error))
            else:
                call = exchange.send(outcome)
    except StopIteration as stop:
        value: _T = stop.value
        return value
    finally:
        exchange.close()


async def call_in_thread(handler: Handler, request: Any, pool: ThreadPool) -> Any:
    """Call a `def` of a route with a request, in a thread; return what it returns."""
    channel: BridgedChannel = request._channel
    pool.require_room()
    if channel.prepare(BUFFER_SIZE):
        await channel.read_ahead()
    return await pool.run(handler.invoke, (request,), on_cancel=channel.wake_thread, pace=handler)


async def _in_thread(call: Call, pool: ThreadPool, channel: BridgedChannel | None) -> Any:
    if channel is None:
        return await pool.run(call.function, call.args, pace=call.handler)
    handler = call.handler
    if not isinstance(handler, StreamingHandler):
        if channel.prepare(BUFFER_SIZE):
            await channel.read_ahead()
        return await pool.run(call.function, call.args, on_cancel=channel.wake_thread, pace=handler)
    if channel.prepare(handler.buffer_size) and handler.reads_body:
        await channel.read_ahead()
    pump = Pump(pool, handler.buffer_size, channel.wake_thread, quiet=handler.gives_pieces, pace=handler)
    outcome = await pump.call(call.function, call.args)
    handler.gives_pieces = pump.has_pieces
    if isinstance(outcome, Response) and outcome.body_iterator is pump:
        # A body can't be closed while a thread is at it: so this comes before what the function left to be closed.
        call.args[0].closing.append(pump.aclose)
    return outcome


async def _within(limit: TimeLimit, call: Call, pool: ThreadPool, channel: BridgedChannel | None) -> Any:
    """Perform a call in the time that is left, or raise HandlerTimeout."""
    if call.inline:
        return call.function(*call.args)  # it does not wait for anything
    context = copy_context()
    recorded: _Recorded | None = None
    if call.is_async:
        work = _awaited(call)
    else:
        recorded = _Recorded(call.function)
        work = _in_thread(Call.known(recorded, call.args, False, False, call.handler), pool, channel)
    task = asyncio.get_running_loop().create_task(work, context=context)
    try:
        await asyncio.wait((task,), timeout=limit.left_for(call))
        in_time = task.done()
        if not in_time:
            task.cancel()
            await asyncio.wait((task,), timeout=PATIENCE)
    except asyncio.CancelledError:
        task.cancel()
        await _end_of(task)
        raise
    if not task.done():
        raise limit.exceeded_by(call, _Straggler(task, recorded))
    bind_all(context)
    if recorded is not None:
        recorded.forget()
    try:
        if not in_time and (task.cancelled() or task.exception() is not None):
            raise limit.exceeded_by(call)
        return task.result()
    finally:
        del task  # its exception would hold this frame, and this frame it


async def _end_of(task: asyncio.Task[Any]) -> None:
    """Wait until a task is done, however often that is cancelled: nobody else would wait for it."""
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            pass


class _Recorded:
    """A function that is called in a thread, and what came of it: the task that waits for that may be cancelled."""

    result: Any = None
    failure: BaseException | None = None

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        try:
            self.result = self._function(*args)
            return self.result
        except BaseException as error:
            self.failure = error
            raise

    def forget(self) -> None:
        """Keep neither any longer: through its traceback, an exception holds who called this, and so this."""
        self.result = self.failure = None


class _Straggler(NamedTuple):
    """A call that goes on though it was answered for."""

    task: asyncio.Task[Any]
    recorded: _Recorded | None


async def outwait(limit: TimeLimit, pool: ThreadPool) -> None:
    """Wait for what goes on though it was answered for: it may use what the request has open."""
    while limit.stragglers:
        call, (task, recorded) = limit.stragglers.pop()
        await asyncio.wait((task,))
        if recorded is not None:
            response, failure = recorded.result, recorded.failure
            recorded.forget()
        else:
            failure = None if task.cancelled() else task.exception()
            response = None if task.cancelled() or failure is not None else task.result()
        await drive(limit.settle(call, response, failure), pool)


class LoopVisits:
    """What the threads of one connection have the event loop run for them while they wait.

    Args:
        loop: the event loop.
        limit: the time that there is for the response, if that is limited.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: TimeLimit | None = None) -> None:
        self._loop = loop
        self._limit = limit

    def drive(self, exchange: Generator[Call, Any, _T]) -> _T:
        """Perform what an exchange asks for until it returns.  Called in a thread, which waits."""
        return perform(exchange, self._run)

    def _run(self, call: Call) -> Any:
        context = copy_context()
        pool = threads.get()
        assert isinstance(pool, ThreadPool), "this thread's own pool has said which threads there are for the inside"
        outcome: Future[Any] = Future()
        limit = self._limit
        is_timed = limit is not None and limit.applies_to(call)
        coroutine = _within(limit, call, pool, None) if limit is not None and is_timed else _awaited(call)
        self._loop.call_soon_threadsafe(self._begin, coroutine, context, outcome, this_thread.call)
        try:
            return outcome.result()
        finally:
            del outcome  # its exception would hold this frame, and this frame it
            bind_all(context)

    def _begin(
        self, coroutine: Coroutine[Any, Any, Any], context: Context, outcome: Future[Any], caller: Receiver | None
    ) -> None:
        task: asyncio.Task[Any] = self._loop.create_task(coroutine, context=context)
        if caller is not None:
            if caller.awaited is None:
                caller.awaited = []
            caller.awaited.append(task)
            if caller.given_up:
                task.cancel()
        task.add_done_callback(lambda task: self._end(task, outcome, caller))

    def _end(self, task: asyncio.Task[Any], outcome: Future[Any], caller: Receiver | None) -> None:
        if caller is not None and caller.awaited is not None:
            caller.awaited.remove(task)
        if task.cancelled():
            outcome.set_exception(asyncio.CancelledError())
        elif (failure := task.exception()) is not None:
            outcome.set_exception(failure)
        else:
            outcome.set_result(task.result())


async def _awaited(call: Call) -> Any:
    try:
        return await call.function(*call.args)
    except asyncio.CancelledError as error:
        failure = failure_of(error)
        if failure is error:
            raise
        raise failure from error
