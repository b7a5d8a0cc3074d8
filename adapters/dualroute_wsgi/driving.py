"""Exchanges, driven in a thread of a WSGI server: a `def` is called in place, an `async def` runs on the worker's loop.

Where the time for a response is limited, neither holds the server's thread for longer: a `def` that may block is then
called in a helper's thread.  The loop, and asyncio with it, is loaded when the first `async def` needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextvars import Context
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from dualroute.contexts import bind_all
from dualroute.exchange import Call, raised
from dualroute.timeouts import PATIENCE, TimeLimit

if TYPE_CHECKING:
    from dualroute_wsgi.body import HandOverChannel
    from dualroute_wsgi.helpers import HelperVisit
    from dualroute_wsgi.loop import LoopVisit

__all__ = ["drive", "run_async", "until_elsewhere", "within"]

GRACE = 5.0
"""How many seconds a call that is cancelled has to come to an end."""

_T = TypeVar("_T")


def drive(
    exchange: Generator[Call, Any, _T], context: Context, channel: HandOverChannel, call: Call | None = None
) -> _T:
    """Perform what an exchange asks for until it returns.

    Args:
        exchange: the exchange.
        context: the context that it runs in; nothing may be running in it.
        channel: that of its request.
        call: what the exchange has asked for already, if it was begun: something that is done elsewhere.
    """
    resume: Callable[[Any], Call] = exchange.send
    outcome: Any = None
    limit = channel.time_limit
    try:
        while True:
            # A context can't be entered twice, so this thread leaves it while the loop works in it.
            if call is None:
                asked = context.run(until_elsewhere, exchange, resume, outcome, limit)
                if not isinstance(asked, Call):
                    return asked
                call = asked
            try:
                if limit is not None and limit.applies_to(call):
                    own = context.copy()  # what is given up may go on in it
                    outcome = within(limit, call, own, channel)
                    context.run(bind_all, own)
                else:
                    outcome = run_async(call.function, call.args, context, channel)
                resume = exchange.send
            except BaseException as error:
                outcome, resume = error, exchange.throw
            call = None
    finally:
        outcome = None  # an exception would hold this frame, and this frame it
        context.run(exchange.close)


def until_elsewhere(
    exchange: Generator[Call, Any, _T], resume: Callable[[Any], Call], outcome: Any, limit: TimeLimit | None = None
) -> Call | _T:
    """Advance an exchange, calling each `def` in place, until it asks for what is done elsewhere, or returns.

    That is each `async def`; and where there is a limit to the time, each `def` that may block.
    """
    try:
        call = resume(outcome)
        while not call.is_async:
            if limit is not None and not call.inline and limit.applies_to(call):
                break
            try:
                outcome = call.function(*call.args)
            except BaseException as error:
                call = exchange.throw(raised(error))
            else:
                call = exchange.send(outcome)
        return call
    except StopIteration as stop:
        value: _T = stop.value
        return value
    finally:
        outcome = None  # as in drive


def run_async(function: Callable[..., Any], args: tuple[Any, ...], context: Context, channel: HandOverChannel) -> Any:
    """Await ``function(*args)`` on the worker's loop while the current thread waits; return what it returns.

    Args:
        function: returns a coroutine.
        args: its arguments.
        context: the context it runs in; nothing may be running in it.
        channel: that of its request.
    """
    return _loops().worker_loop().run(function, args, context, channel.desk_here())


@cache
def _loops() -> ModuleType:
    # An import statement takes a microsecond each time.
    from dualroute_wsgi import loop

    return loop


def within(limit: TimeLimit, call: Call, context: Context, channel: HandOverChannel) -> Any:
    """Perform a call elsewhere in the time that is left, or raise HandlerTimeout."""
    desk = channel.desk_here()
    visit: LoopVisit | HelperVisit
    if call.is_async:
        visit = _loops().worker_loop().visit(desk)
    else:
        from dualroute_wsgi.helpers import HelperVisit

        if not channel.places.acquire(timeout=limit.left_for(call)):
            raise limit.exceeded_by(call)
        visit = HelperVisit(desk, channel.places)
    in_time = True
    try:
        visit.start(call.function, call.args, context)
        in_time = desk.is_over(visit, limit.left_for(call))
        is_over = in_time or desk.abandon(visit, PATIENCE)
    except BaseException:
        # A signal, such as the one by which gunicorn ends a worker that takes too long.
        desk.abandon(visit, GRACE)
        raise
    if not is_over:
        raise limit.exceeded_by(call, visit)
    try:
        return visit.outcome()
    except BaseException:
        if in_time:
            raise
        raise limit.exceeded_by(call) from None
    finally:
        del visit  # an exception in it would hold this frame, and this frame the visit
