"""BaseHTTPMiddleware: middleware as a method that is given the request and a function that has it answered.

    class Timing(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            started = perf_counter()
            response = await call_next(request)
            response.headers["server-timing"] = f"app;dur={(perf_counter() - started) * 1000:.1f}"
            return response

    app = DualRoute(routes, middleware=[Middleware(Timing)])

It is there for code that was written so for Starlette; a generator (`dualroute.middleware`) says the same in fewer
words, and costs less.  `dispatch` may as well be a `def`, with a `call_next` that is called and not awaited.

What is further in is an exchange inside that of the request, and what `call_next` returns is the response that came of
it: nothing is streamed from one task to another.  So a body stays as it is, a client that goes is noticed as it is
everywhere, background tasks run when the response was sent, and context variables go in and come out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from dualroute.background import BackgroundTasks
from dualroute.bodies import ReceiveChannel
from dualroute.callables import describe, is_async_callable
from dualroute.connection import HTTPConnection
from dualroute.exchange import Inside, Nest, only
from dualroute.responses import Response
from dualroute.serving import Servable
from dualroute.streams import BodyFailed, BodyStream

if TYPE_CHECKING:
    from dualroute.dispatch import Dispatcher

__all__ = ["BaseHTTPMiddleware", "DispatchFunction", "RequestResponseEndpoint", "SyncRequestResponseEndpoint"]

RequestResponseEndpoint: TypeAlias = Callable[[Any], Awaitable[Response]]
"""The `call_next` of an `async def`: given the request, and awaited for the response."""

SyncRequestResponseEndpoint: TypeAlias = Callable[[Any], Response]
"""The `call_next` of a `def`: given the request, and called for the response."""

DispatchFunction: TypeAlias = Callable[[Any, Any], "Awaitable[Response] | Response"]
"""`dispatch`, in either colour."""


class BaseHTTPMiddleware(Servable):
    """The base of middleware that is written as a method `dispatch`.

    In the middleware of an application, a mount, a host or a route, write ``Middleware(cls, **options)``.  An instance
    that is made with an app, `cls(app, **options)`, is an app by itself, on both protocols.

    Args:
        app: what it is around.
        dispatch: the function to call in place of the method, with the request and `call_next`.

    Raises TypeError for what can't be a dispatch function.
    """

    __covers__: ClassVar[frozenset[str]] = frozenset(("http",))

    dispatch_func: Any = None
    """What is called: `dispatch`, or the function in its place."""

    def __init__(self, app: Any, dispatch: DispatchFunction | None = None) -> None:
        if dispatch is not None and not callable(dispatch):
            raise TypeError(f"{type(self).__name__}: dispatch is a function, not {dispatch!r}")
        self.app = app
        self.dispatch_func = self.dispatch if dispatch is None else dispatch
        self._pass_for_asgi()

    def dispatch(self, request: Any, call_next: Any) -> Any:
        """Return the response, by ``await call_next(request)`` or without: an `async def`, or a `def`.

        Args:
            request: a `Request`; where this is a `def`, a `SyncRequest`.
            call_next: has the rest of the application answer; awaited, or where this is a `def`, called.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method dispatch, and was given no function for it")

    @property
    def cls(self) -> Any:
        """What names this middleware where it is listed: its class, or the function that it was given."""
        return self.dispatch_func if type(self) is BaseHTTPMiddleware else type(self)

    def around(self, connection: HTTPConnection) -> Generator[Any, Any, Response | None]:
        """What stands in a chain of middleware for this: a generator function."""
        is_async = is_async_callable(self.dispatch_func)
        connection.scope  # noqa: B018  # made now, so that views of either colour share it
        call = Nest.known(self._dispatch_async if is_async else self._dispatch, (connection,), is_async)
        response: Response | None = yield call
        return response

    async def _dispatch_async(self, connection: HTTPConnection, inside: Inside) -> Response:
        passed: list[PassedBody] = []

        async def call_next(request: HTTPConnection) -> Response:
            inner = _going_on(connection, request)
            response = await inner.driver.drive_async(inside.exchange(inner))
            assert response is not None, "the exchange of a request returns a response"
            passed.append(AsyncPassedBody(response, inner))
            return passed[-1].response

        response: Any = None
        try:
            response = await self.dispatch_func(connection.in_colour(True), call_next)
        finally:
            _settle(passed, response)
        return self._checked(response)

    def _dispatch(self, connection: HTTPConnection, inside: Inside) -> Response:
        passed: list[PassedBody] = []

        def call_next(request: HTTPConnection) -> Response:
            inner = _going_on(connection, request)
            response = inner.driver.drive(inside.exchange(inner))
            assert response is not None, "the exchange of a request returns a response"
            passed.append(SyncPassedBody(response, inner))
            return passed[-1].response

        response: Any = None
        try:
            response = self.dispatch_func(connection.in_colour(False), call_next)
        finally:
            _settle(passed, response)
        return self._checked(response)

    def _checked(self, response: Any) -> Response:
        """Return what `dispatch` returned.  Raises TypeError where it is no response."""
        if not isinstance(response, Response):
            raise TypeError(
                f"{describe(self.dispatch_func)} returned {_shown(response)}; it must return a Response, such as the"
                " one that call_next gave it"
            )
        return response

    def _make_dispatcher(self) -> Dispatcher:
        from dualroute.applications import DualRoute

        return DualRoute(fallback=self.app, middleware=[self.around], redirect_slashes=False).dispatcher


def _shown(value: Any) -> str:
    # By its kind alone: a scope holds what a client has sent.
    return "None" if value is None else f"a {type(value).__name__}"


def _going_on(connection: HTTPConnection, request: HTTPConnection) -> HTTPConnection:
    """Return the connection that goes on to what is further in: the one there was, unless one was made by hand."""
    if not isinstance(request, HTTPConnection):
        raise TypeError(f"call_next takes the request, not {_shown(request)}")
    channel, outer = request._channel, connection._channel
    if channel is outer or request._given_scope is None:
        return connection
    if type(channel) is ReceiveChannel:
        assert outer is not None, "a request that came through an app has a body"
        return connection.inside_scope(request._given_scope, outer.over(channel._receive))
    return connection.inside_scope(request._given_scope, outer)


def _settle(passed: list[PassedBody], response: Any) -> None:
    """Make ready to be sent what `dispatch` returned, whatever it is; None where it failed."""
    for body in passed:
        body.settle(response if isinstance(response, Response) else Response())


class PassedBody:
    """The `body_iterator` of what `call_next` returns: the pieces of the body, whether or not it is there in full.

    Args:
        inner: the response of what is further in.
        connection: its request.
    """

    def __init__(self, inner: Response, connection: HTTPConnection) -> None:
        self._inner = inner
        self._driver = connection.driver
        self._closing = connection.closing
        self._stream = None if inner.body_iterator is None else BodyStream(inner)
        self._is_begun = False
        self.response: Response = inner.copied()
        """What `call_next` returns."""
        self.response.body_iterator = self  # type: ignore[assignment]  # both kinds are iterable
        self.response.encoders = ()

    def _begin(self) -> BodyStream | None:
        self._is_begun = True
        return self._stream

    def settle(self, response: Response) -> None:
        """Put the body itself in place of this where `response` has this for its body, and nobody has begun it.

        Otherwise it is closed when the request is over.
        """
        inner, stream = self._inner, self._stream
        if inner.background is not None and response is not self.response:
            # It belongs to what was done, whatever is said of that.
            tasks = [inner.background] if response.background is None else [inner.background, response.background]
            response.background = BackgroundTasks(tasks)
        body: Any = response.body_iterator
        if body is self and stream is None:
            if response is not self.response:
                response.body = inner.body
            response.body_iterator = (response.body,) if response.encoders else None
        elif body is self and not self._is_begun:
            response.body_iterator = inner.body_iterator
            response.encoders = (*inner.encoders, *response.encoders)
        elif stream is not None:
            self._closing.append(stream.close_async if stream.is_async else stream.close_in_place)


class AsyncPassedBody(PassedBody):
    """The same for a `dispatch` that is `async def`: it is iterated over by ``async for``."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if (stream := self._begin()) is None:
            yield self._inner.body
            return
        try:
            while (piece := await self._driver.drive_async(only(stream.next_piece()))) is not None:
                yield piece
        except BodyFailed as failed:
            raise failed.error from None


class SyncPassedBody(PassedBody):
    """The same for one that is a `def`."""

    def __iter__(self) -> Iterator[bytes]:
        if (stream := self._begin()) is None:
            yield self._inner.body
            return
        try:
            while (piece := self._driver.drive(only(stream.next_piece()))) is not None:
                yield piece
        except BodyFailed as failed:
            raise failed.error from None
