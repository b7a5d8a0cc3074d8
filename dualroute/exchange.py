"""The exchange: one request, as a generator that says what it needs done.

The core does no I/O.  It yields a `Call`, an adapter performs that in its own way, and the outcome is sent back in
(or thrown in, where it failed).  Both adapters drive the same generator, so what happens to a request is written
here once:

    middleware, outermost first → endpoint → exception handlers → middleware again → a Response

A `Plan` is all that the exchange needs to know of the routing: it is made for a route once and kept.

An exception is turned into a response by the handler registered for it as soon as it leaves a layer, so that every
layer further out sees a response.  One that nobody registered for travels outward through the layers, each of which
may catch it, and becomes a logged 500 at the rim.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator, Sequence
from types import GeneratorType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeAlias, TypeVar

from dualroute.callables import describe, is_async_callable
from dualroute.connection import Place
from dualroute.exceptions import (
    BodyTooLarge,
    ClientDisconnect,
    HTTPException,
    MalformedBody,
    WebSocketDisconnect,
    WebSocketException,
)
from dualroute.failures import note
from dualroute.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection
    from dualroute.handlers import Handler
    from dualroute.lifespan import AppLifespan
    from dualroute.limits import Limits

__all__ = [
    "Call",
    "Driver",
    "Exchange",
    "Inside",
    "Layers",
    "Nest",
    "NextPiece",
    "Outermost",
    "Plan",
    "after",
    "after_failure",
    "enter",
    "exchange",
    "finish",
    "only",
    "perform",
    "perform_async",
    "raised",
    "raising",
]

logger: logging.Logger = logging.getLogger("dualroute")

_T = TypeVar("_T")


class Call:
    """Something for the adapter to do: call `function` with `args`, in whichever colour it has.

    Middleware yields one to do I/O: ``user = yield Call(load_user, token)`` works for a `def` and for an `async def`
    `load_user`, on both protocols.

    Args:
        function: the callable.
        args: its positional arguments.

    `is_async` is its colour; `inline` is True for a `def` that never blocks, and so may run on the event loop.
    `handler` is what it is a call of, where that is known.
    """

    __slots__ = ("args", "function", "handler", "inline", "is_async")

    nests: ClassVar[bool] = False
    """True for a `Nest`."""
    is_timed: ClassVar[bool] = True
    """False for a `NextPiece`, which has all the time it wants."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.function: Callable[..., Any] = function
        self.args: tuple[Any, ...] = args
        self.is_async: bool = is_async_callable(function)
        self.inline: bool = False
        self.handler: Handler | None = None

    @classmethod
    def known(
        cls,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        is_async: bool,
        inline: bool = False,
        handler: Handler | None = None,
    ) -> Self:
        """Return a call whose colour was found out before."""
        call = cls.__new__(cls)
        call.function = function
        call.args = args
        call.is_async = is_async
        call.inline = inline
        call.handler = handler
        return call

    @property
    def named(self) -> Callable[..., Any]:
        """The callable as its author knows it."""
        return self.function if self.handler is None else self.handler.function

    def __repr__(self) -> str:
        return f"Call({self.function!r}, *{self.args!r})"


class Nest(Call):
    """A call of something that has what is further in done by itself, and not by the exchange around it.

    A middleware yields one in place of the connection, and is sent what `function` returned: the response.  The last
    argument of `function` is an `Inside`, which the exchange adds.  What it gets of that, its `exchange` method, it has
    done by the connection's `driver`.
    """

    __slots__ = ()

    nests: ClassVar[bool] = True


class NextPiece(Call):
    """A call for the next piece of a body, which may come after the response is there."""

    __slots__ = ()

    is_timed: ClassVar[bool] = False


class Inside:
    """What is further in than a middleware.

    Args:
        plan: the plan.
        index: the place in it of the middleware around all that.
    """

    __slots__ = ("_inner", "index", "plan")

    def __init__(self, plan: Plan, index: int) -> None:
        self.plan: Plan = plan
        self.index: int = index
        self._inner: Inside | None = None

    @property
    def is_bare(self) -> bool:
        """Whether nothing stands around the middleware that would have to see the response."""
        return self.index == 0 and self.plan.limits is None and self.plan.timeout is None

    @property
    def layers(self) -> int:
        """How many middleware there are from this one inwards."""
        return len(self.plan.middleware) - self.index

    @property
    def following(self) -> Middleware | None:
        """The next middleware; None where the endpoint is what is further in."""
        middleware, index = self.plan.middleware, self.index + 1
        return middleware[index] if index < len(middleware) else None

    @property
    def inner(self) -> Inside:
        """What is further in than the next middleware."""
        if self._inner is None:
            self._inner = Inside(self.plan, self.index + 1)
        return self._inner

    def settle(self, connection: HTTPConnection, call: Call, result: Any) -> Exchange:
        """Return the exchange that makes a response of what the endpoint has returned."""
        return _result(self.plan, connection, call, result)

    def recover(self, connection: HTTPConnection, error: Exception) -> Exchange:
        """Return the exchange that answers what has come out of all that, or raises it where nobody takes it."""
        return _failure(self.plan, connection, error)

    def exchange(self, connection: HTTPConnection) -> Exchange:
        """Return the exchange that answers `connection`, a new one each time."""
        return _inwards(self.plan, self.index + 1, connection)


Exchange: TypeAlias = Generator[Call, Any, Response | None]
"""Yields calls, is sent their outcomes, and returns the response (None for a websocket that was served)."""

Middleware: TypeAlias = Callable[..., Generator[Any, Any, Any]]


class Plan(Place):
    """How a matched route is answered.

    Args:
        endpoint: given the connection, returns the `Call` that answers it, or raises.
        middleware: the generator functions around it, outermost first.
        handlers: mappings from exception class or status to handler, the innermost app's first.
        is_async: the endpoint's colour, and so that of the connection it wants.
        route: the route that matched, or None.
        app: the app that it belongs to, or None.
        limits: the limits that were set around it, each from the innermost that sets it, or None.
        timeout: how many seconds there are until the response has to be there, or None.
        router: the outermost router or application.
        direct: what answers, where an adapter may call it without an exchange.
    """

    __slots__ = ("alone", "direct", "endpoint", "handlers", "is_async", "lives", "middleware", "timeout")

    lives: tuple[AppLifespan, ...]
    """The lifespans of the apps that it goes through, the outermost first."""

    def __init__(
        self,
        endpoint: Callable[[Any], Call],
        middleware: Sequence[Middleware] = (),
        handlers: Sequence[dict[Any, Any]] = (),
        *,
        is_async: bool = True,
        route: Any = None,
        app: Any = None,
        limits: Limits | None = None,
        timeout: float | None = None,
        router: Any = None,
        direct: Handler | None = None,
    ) -> None:
        super().__init__(route, app, router, limits)
        self.endpoint: Callable[[Any], Call] = endpoint
        self.middleware: tuple[Middleware, ...] = tuple(middleware)
        self.handlers: tuple[dict[Any, Any], ...] = tuple(handlers)
        self.is_async: bool = is_async
        self.timeout: float | None = timeout
        self.direct: Handler | None = direct
        """Its `invoke` is called with the connection, in its colour, between `enter` and `leave` where there is
        middleware.  What is no response that is there is for `after`, and an exception for `after_failure`: either is
        the rest of the exchange."""
        self.alone: Handler | Outermost | None = None
        """What answers for all of the plan where a server is of its own colour, if there is such: a middleware that
        has what is further in done by itself, or what reads on in its response.  As `direct`, but with no layers."""
        self.lives = ()

    def handler_for(self, error: Exception, *, last: bool) -> Any:
        """Return the exception handler for `error`, or None.

        A handler for the status of an HTTPException comes before one for a class, and a nearer class before a
        farther one.  Handlers for Exception itself and for 500 are for what nobody else handles: they count only
        where `last` is true.
        """
        for handlers in self.handlers:
            if isinstance(error, HTTPException) and error.status_code in handlers:
                return handlers[error.status_code]
            for cls in type(error).__mro__:
                if cls in handlers and (cls is not Exception or last):
                    return handlers[cls]
            if last and 500 in handlers and not isinstance(error, HTTPException):
                return handlers[500]
        return None


class Outermost:
    """The outermost middleware of a plan, where an adapter calls it by itself: see `Plan.alone`.

    Args:
        function: called with the connection and what is further in; returns a response that is there.
        plan: the plan.
        is_async: the colour of the function.
    """

    inline: bool = False

    def __init__(self, function: Callable[..., Any], plan: Plan, *, is_async: bool) -> None:
        self.is_async: bool = is_async
        inside = Inside(plan, 0)
        self.invoke: Callable[[Any], Any] = lambda connection: function(connection, inside)

    def call(self, connection: Any) -> Call:
        """Return the call of it."""
        return Call.known(self.invoke, (connection,), self.is_async)


class Driver(Protocol):
    """What has an exchange done that is inside another one's call: an adapter, for one connection.

    `drive_async` is for an `async def`, and `drive` for a `def`, which then waits.  Either performs each call in the
    colour that it has.  What is bound to context variables inside is bound for the caller afterwards.
    """

    async def drive_async(self, exchange: Generator[Call, Any, _T], /) -> _T:
        """Perform what `exchange` asks for, and return what it returns."""
        ...

    def drive(self, exchange: Generator[Call, Any, _T], /) -> _T:
        """Do the same, from a thread."""
        ...


def perform(exchange: Generator[Call, Any, _T], run_async: Callable[[Call], Any]) -> _T:
    """Drive an exchange in a thread: each `def` is called in place.

    Args:
        exchange: the exchange.
        run_async: has an `async def` run, and waits for it.
    """
    try:
        call = exchange.send(None)
        while True:
            try:
                outcome = run_async(call) if call.is_async else call.function(*call.args)
            except BaseException as error:
                call = exchange.throw(raised(error))
            else:
                call = exchange.send(outcome)
    except StopIteration as stop:
        value: _T = stop.value
        return value
    finally:
        exchange.close()


async def perform_async(exchange: Generator[Call, Any, _T], run_sync: Callable[[Call], Awaitable[Any]]) -> _T:
    """Drive an exchange on an event loop: each `async def` is awaited in place.

    Args:
        exchange: the exchange.
        run_sync: has a `def` that may block called elsewhere.
    """
    try:
        call = exchange.send(None)
        while True:
            try:
                if call.is_async:
                    outcome = await call.function(*call.args)
                elif call.inline:
                    outcome = call.function(*call.args)
                else:
                    outcome = await run_sync(call)
            except BaseException as error:
                call = exchange.throw(raised(error))
            else:
                call = exchange.send(outcome)
    except StopIteration as stop:
        value: _T = stop.value
        return value
    finally:
        exchange.close()


def raised(error: BaseException) -> BaseException:
    """Return what a call has failed with, as the exchange and all that is in it are to see it.

    StopIteration ends the generator or the coroutine that it is raised in (PEP 479), wherever that happens to be.
    """
    if not isinstance(error, StopIteration):
        return error
    failure = RuntimeError("a function raised StopIteration")
    failure.__cause__ = error
    return failure


def only(call: Call) -> Generator[Call, Any, Any]:
    """Return an exchange of one call."""
    return (yield call)


def exchange(plan: Plan, connection: HTTPConnection, begun: Exchange | None = None) -> Exchange:
    """Answer `connection` by `plan`: the whole of a request.

    Whoever drives it must close it in the end (``finally: exchange.close()``), so that the clean-up of every layer
    runs when a request is given up half-way.

    Args:
        plan: the plan.
        connection: the connection.
        begun: what is left of an exchange that an adapter has begun by itself: see `Plan.direct`.
    """
    try:
        if begun is not None:
            return (yield from begun)
        if plan.middleware:
            return (yield from _inwards(plan, 0, connection))
        return (yield from _endpoint(plan, connection))
    except Exception as error:
        response = yield from _recover(plan, connection, error, last=True)
        return response if response is None else connection.amended(response)


# What an adapter may do in place of an exchange: see `Plan.direct`.

Layers: TypeAlias = "list[Generator[Any, Any, Any]]"
"""The middleware that are open, from the outermost on."""


def enter(plan: Plan, connection: HTTPConnection) -> Layers | Exchange:
    """Begin the middleware of a plan, until each has asked for what is further in.

    Returns them; or, where one does anything else, the exchange that goes on from there.
    """
    layers: Layers = []
    for place, function in enumerate(plan.middleware):
        try:
            layer = function(connection)
            if layer.__class__ is not GeneratorType:
                _require_generator(layer, function)
            layers.append(layer)
            step = layer.send(None)
        except BaseException as error:
            if len(layers) == place:
                layers.append(_NOT_BEGUN)
            return exchange(plan, connection, _inwards(plan, 0, connection, layers, _raise_again(error)))
        if step is not connection:
            return exchange(plan, connection, _inwards(plan, 0, connection, layers, _ask_again(step)))
    return layers


def leave(plan: Plan, connection: HTTPConnection, layers: Layers, response: Response) -> Response | Exchange:
    """Give the response of an endpoint to the middleware that `enter` has begun, the innermost first.

    Returns what the outermost made of it; or, where one does anything else, the exchange that goes on from there.
    """
    response = response.copied()  # as in `_endpoint`
    while layers:
        try:
            step = layers[-1].send(response)
        except StopIteration as stop:
            if stop.value is response:
                layers.pop()
                continue
            return exchange(plan, connection, _inwards(plan, 0, connection, layers, _raise_again(stop)))
        except BaseException as error:
            return exchange(plan, connection, _inwards(plan, 0, connection, layers, _raise_again(error)))
        return exchange(plan, connection, _inwards(plan, 0, connection, layers, _ask_again(step)))
    return response


def finish(plan: Plan, connection: HTTPConnection, result: Any, layers: Layers) -> Response | Exchange:
    """Return the response that comes of what an endpoint has returned, or the exchange that goes on from there."""
    if not isinstance(result, Response) or result.incomplete:
        return after(plan, connection, result, layers)
    return leave(plan, connection, layers, result) if layers else result


def after(plan: Plan, connection: HTTPConnection, result: Any, layers: Layers | None = None) -> Exchange:
    """Return the rest of the exchange of a plan whose endpoint was called by itself, and returned `result`."""
    handler = plan.alone if plan.direct is None else plan.direct
    assert handler is not None, "only then is it called by itself"
    inner = _result(plan, connection, handler.call(connection), result)
    return exchange(plan, connection, _inwards(plan, 0, connection, layers, inner=inner) if layers else inner)


def after_failure(
    plan: Plan, connection: HTTPConnection, error: BaseException, layers: Layers | None = None
) -> Exchange:
    """Return the rest of the exchange of a plan whose endpoint was called by itself, and raised `error`."""
    inner = _failure(plan, connection, error)
    return exchange(plan, connection, _inwards(plan, 0, connection, layers, inner=inner) if layers else inner)


def _ask_again(step: Any) -> Callable[[Any], Any]:
    return lambda outcome: step


def _raise_again(error: BaseException) -> Callable[[Any], Any]:
    kept = [error]

    def resume(outcome: Any) -> Any:
        raise kept.pop()  # not kept, since its traceback leads here

    return resume


def raising(error: BaseException) -> Exchange:
    """Return an exchange that raises an error."""
    try:
        raise error
    finally:
        del error  # no cycle with the traceback, in which this frame is
    yield  # for this to be a generator


def _failure(plan: Plan, connection: HTTPConnection, error: BaseException) -> Exchange:
    error = raised(error)
    try:
        if isinstance(error, Exception):
            return (yield from _recover(plan, connection, error, last=False))
        raise error
    finally:
        del error  # no cycle with the traceback, in which this frame is


def _result(plan: Plan, connection: HTTPConnection, call: Call, result: Any) -> Exchange:
    """Make a response that can be sent of what an endpoint returned."""
    try:
        if not isinstance(result, Response):
            result = yield from _settle(connection, call, result)
        elif result.incomplete:
            if call.handler is not None:
                call.handler.complete_in_place()
            result = yield from _complete(connection, result)
        # Middleware may change it, and the endpoint may have it for other requests as well.
        return result.copied() if plan.middleware and isinstance(result, Response) else result
    except Exception as error:
        return (yield from _recover(plan, connection, error, last=False))


def _endpoint(plan: Plan, connection: HTTPConnection) -> Exchange:
    try:
        call = plan.endpoint(connection)
        result = yield call
    except Exception as error:
        return (yield from _recover(plan, connection, error, last=False))
    if isinstance(result, Response) and not result.incomplete:
        return result.copied() if plan.middleware else result
    return (yield from _result(plan, connection, call, result))


def _complete(connection: HTTPConnection, response: Response) -> Exchange:
    """Have a response that depends on the request made into the one to send."""
    completed: Response = yield response.completion(connection)
    return completed


def _settle(connection: HTTPConnection, call: Call, result: Any) -> Exchange:
    """Make a response of what an endpoint returned, where it is none yet."""
    if isinstance(result, Awaitable):
        # A plain function that hands on a coroutine: a decorator written without `async`, for instance.
        result = yield Call.known(_wait_for, (result,), True)
    if isinstance(result, Response) or (result is None and connection.is_websocket):
        if result is not None and result.incomplete:
            return (yield from _complete(connection, result))
        return result
    raise TypeError(
        f"{describe(call.named)} returned {_shown(result)}; an endpoint must return a Response "
        "(PlainTextResponse, JSONResponse, …)"
    )


async def _wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _shown(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _inwards(
    plan: Plan,
    index: int,
    connection: HTTPConnection,
    layers: Layers | None = None,
    resume: Callable[[Any], Any] | None = None,
    inner: Exchange | None = None,
) -> Exchange:
    """Answer `connection` by the middleware from `index` on, and the endpoint inside it.

    The layers that are open are on a stack here, and not generators inside one another: through those, each step and
    each exception would pass all layers that are further out.

    Args:
        plan: the plan.
        index: the first middleware.
        connection: the connection.
        layers: those that were begun before.
        resume: returns what the last of them has asked for, or raises what it has raised.
        inner: what is left of the endpoint's part, where that was begun before.
    """
    middleware = plan.middleware
    layers = [] if layers is None else layers
    # What the innermost layer that is open was given for its yield.
    given: Any = None
    outcome: Any = None
    failure: BaseException | None = None
    is_resumed = resume is not None
    try:
        while True:
            at = index + len(layers)
            has_answer = at >= len(middleware) and not is_resumed
            if is_resumed:
                is_resumed = False
            elif has_answer:
                try:
                    outcome = yield from inner or _endpoint(plan, connection)
                except GeneratorExit:
                    raise
                except BaseException as error:
                    failure = error
                inner = None
            else:
                layers.append(_NOT_BEGUN)
                resume = None
            # Until a layer asks for what is further in.
            while True:
                if has_answer:
                    # It is for the innermost layer that is open.
                    if failure is not None:
                        if not layers:
                            raise failure
                        # Cancellation too: each layer sees it at its yield, as it would in a `with` block.
                        resume, outcome, failure = _throw_into(layers[-1]), failure, None
                    elif layers:
                        given = outcome
                        resume = layers[-1].send
                    else:
                        return outcome  # type: ignore[no-any-return]  # a response, or None of a websocket
                    has_answer = False
                try:
                    if resume is None:
                        layer = layers[-1] = middleware[at](connection)
                        if layer.__class__ is not GeneratorType:
                            _require_generator(layer, middleware[at])
                        given = None
                        resume = layer.send
                    step = resume(outcome)
                except StopIteration as stop:
                    outcome = stop.value
                except BaseException as error:
                    outcome, failure = None, error
                else:
                    outcome = None
                    if not isinstance(step, Call):
                        break
                    if step.nests:
                        step.args = (*step.args, Inside(plan, index + len(layers) - 1))
                    try:
                        outcome, resume = (yield step), layers[-1].send
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        outcome, resume = error, _throw_into(layers[-1])
                    continue
                # The layer has come to its end.
                layers.pop()
                has_answer = True
                if outcome is given and outcome is not None:
                    continue
                if isinstance(outcome, Response) and not outcome.incomplete:
                    # One of its own may be for other requests as well: as at the endpoint.
                    if index + len(layers):
                        outcome = outcome.copied()
                elif isinstance(failure, Exception) or (failure is None and not _is_served(outcome, connection)):
                    try:
                        outcome = yield from _mended(plan, index + len(layers), connection, outcome, failure)
                        failure = None
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        failure = error
    finally:
        outcome = failure = None  # an exception would hold this frame, and this frame it
        _close(layers)


def _is_served(outcome: Any, connection: HTTPConnection) -> bool:
    return outcome is None and connection.is_websocket


_NOT_BEGUN: Generator[Any, Any, Any] = (nothing for nothing in tuple[Any, ...]())


def _throw_into(layer: Generator[Any, Any, Any]) -> Callable[[Any], Any]:
    return layer.throw


def _require_generator(layer: Any, function: Middleware) -> None:
    if not isinstance(layer, Generator):
        raise TypeError(f"middleware {describe(function)} returned {_shown(layer)}; it must be a generator function")


def _mended(plan: Plan, index: int, connection: HTTPConnection, returned: Any, failure: Exception | None) -> Exchange:
    """Make a response of what a middleware has returned that is none to be sent, or of what it has raised."""
    try:
        if failure is not None:
            raise failure
        if isinstance(returned, Response):
            return (yield from _complete(connection, returned))
        raise TypeError(
            f"middleware {describe(plan.middleware[index])} returned {_shown(returned)}; it must return a Response,"
            " such as the one that its yield gave it"
        )
    except Exception as error:
        return (yield from _recover(plan, connection, error, last=False))
    finally:
        del failure  # as above


def _close(layers: list[Generator[Any, Any, Any]]) -> None:
    """Close the layers of an exchange that is given up, from the inside out."""
    try:
        while layers:
            layer = layers.pop()
            if isinstance(layer, Generator):
                layer.close()
    finally:
        if layers:
            _close(layers)


def _recover(plan: Plan, connection: HTTPConnection, error: Exception, *, last: bool) -> Exchange:
    """Turn an exception into a response, or raise it where nobody at this place handles it.

    A handler may itself raise: what it raises is looked up anew, so one that answers LookupError with
    HTTPException(404) gets the 404 handler's answer.  No handler is asked twice in a request.
    """
    asked = connection.asked_handlers
    while True:
        handler = plan.handler_for(error, last=last)
        if handler is not None and handler not in asked:
            asked.append(handler)
            if last and not isinstance(error, HTTPException):
                log_unhandled(connection, error)
            try:
                return (yield from _ask(handler, connection, error))
            except Exception as another:
                error = another
                continue
        if isinstance(error, HTTPException | ClientDisconnect | WebSocketException | WebSocketDisconnect):
            return (yield from _default_answer(connection, error))
        if not last:
            try:
                raise error
            finally:
                del error  # no cycle with the traceback, in which this frame is
        log_unhandled(connection, error)
        return (yield from _server_error(connection))


def _ask(handler: Any, connection: HTTPConnection, error: Exception) -> Exchange:
    is_async = is_async_callable(handler)
    call = Call.known(handler, (connection.in_colour(is_async), error), is_async)
    result = yield call
    response = yield from _settle(connection, call, result)
    return response if response is None else response.copied()


def stream_failed(connection: HTTPConnection, response: Response, error: Exception, *, started: bool) -> Response:
    """Log the failure of a response's body, and return the answer to give if it has not `started`.

    What was to run after the response is left out.
    """
    response.background = None
    note(error)
    logger.error(
        "unhandled exception in the body of the response to %s %s%s",
        connection.method,
        connection.printable_path,
        ", which is cut short" if started else "",
        exc_info=error,
    )
    answer = PlainTextResponse("Internal Server Error", status_code=500)
    return answer if started else connection.amended(answer)


def _default_answer(connection: HTTPConnection, error: Exception) -> Exchange:
    if connection.is_websocket:
        return (yield from connection.refuse(error))
    if isinstance(error, HTTPException):
        if isinstance(error, MalformedBody | BodyTooLarge) and not connection.form_refused:
            logger.info("%s %s: %s", connection.method, connection.printable_path, error.detail)
        return error.response()
    # The client sent less than it announced.  It is most likely gone, but may have closed only its own side.
    logger.info("%s %s: the request body was cut short", connection.method, connection.printable_path)
    return PlainTextResponse("Bad Request: the request body was cut short", status_code=400)


def _server_error(connection: HTTPConnection) -> Exchange:
    if connection.is_websocket:
        return (yield from connection.refuse(None))
    return PlainTextResponse("Internal Server Error", status_code=500)


def log_unhandled(connection: HTTPConnection, error: Exception) -> None:
    """Log an exception that no handler took."""
    note(error)
    logger.error("unhandled exception in %s %s", connection.method, connection.printable_path, exc_info=error)
