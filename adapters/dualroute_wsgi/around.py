"""A WSGI middleware, around what is further in than it: `dualroute.middleware.wsgi`.

It is an application like any mounted one, but that what it calls in turn is the rest of the exchange.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from dualroute.bodies import CHUNK_SIZE, Channel, streamable
from dualroute.callables import describe
from dualroute.exchange import only
from dualroute.foreign import INSIDE, AppBroken, Crossing, require_made_for
from dualroute.middleware.wsgi import WSGIMiddleware
from dualroute.responses import Response
from dualroute.streams import BodyFailed, BodyStream
from dualroute.types import Environ, StartResponse
from dualroute_wsgi.inputs import RawInput
from dualroute_wsgi.mounted import WSGIApp
from dualroute_wsgi.replies import Reply

if TYPE_CHECKING:
    from dualroute.exchange import Exchange, Inside
    from dualroute.requests import SyncRequest

__all__ = ["WSGISurrounding"]


class WSGISurrounding(WSGIApp):
    """A WSGI application that is made around what is further in.

    Args:
        cls: makes the application, from the one that it is to be around.
        args: its further positional arguments.
        options: its keyword arguments.

    Raises TypeError for what can be no WSGI application.
    """

    def __init__(self, cls: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if not callable(cls):
            raise TypeError(f"WSGIMiddleware takes a middleware class and its options, not {cls!r}")
        app: Any = cls(self._inside, *args, **options)
        require_made_for("WSGI", app, cls)
        super().__init__(app)
        self.cls: Callable[..., Any] = cls

    def described(self) -> str:
        return f"the WSGI middleware {describe(self.cls)}"

    def respond_around(self, request: SyncRequest, inside: Inside) -> Response:
        """Call the middleware, and return its response: see `WSGIApp.respond`."""
        crossing = _Crossing(request, inside)
        environ = self._environ_without_body(request, "")
        if environ is not None:
            channel = None
            crossing.enter(environ)
            reply = Reply(self, environ, request)
            try:
                response: Response = reply.begin()
            except BaseException:
                reply.close()
                raise
        else:
            channel = request._body_channel
            channel.require_within_limit()
            environ = self._environ(request, channel, "")
            crossing.enter(environ)
            response = self._reply(request, environ, channel)
        if crossing.background is not None:
            response.background = crossing.background
        return response

    def _input(self, environ: Environ, channel: Channel, request: SyncRequest) -> Any:
        return InputLater(channel)

    def _inside(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """What is further in, as the application that the middleware is around."""
        crossing = environ.get(INSIDE)
        if crossing is None:
            raise AppBroken(
                f"{self.described()} has called what it is around with an environ that is not made of its own"
            )
        following = crossing.inside.following
        result: Iterable[bytes]
        if type(following) is WSGIMiddleware and crossing.may_pass_on(environ):
            result = crossing.pass_on(following._surrounding, environ, start_response)
        else:
            result = crossing.answer(None, environ, start_response)
        return result


class _Later(Channel):
    """A body that is taken to be read by the middleware when it begins to."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._source: Channel | None = None

    def read(self) -> bytes:
        if self._source is None:
            self._source = self._channel if self._channel.cut_short else streamable(self._channel)
        return self._source.read()


class InputLater:
    """A ``wsgi.input`` that is made when it is first looked at.

    Nothing is read before the middleware does: it may leave the body to what is further in, as most do.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the file that this is, once it was looked at."""
        if name.startswith("__"):  # of which the file's own class has what counts
            raise AttributeError(name)
        if name == "_file":
            value: Any = io.BufferedReader(RawInput(_Later(self._channel), []), CHUNK_SIZE)
        else:
            value = getattr(self._file, name)
        setattr(self, name, value)
        return value

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)

    def __next__(self) -> bytes:
        line: bytes = next(self._file)
        return line


class _Crossing(Crossing):
    _given: Any = None
    """The ``wsgi.input`` that the outermost middleware of a chain was given."""
    _passed: bool = False
    _environ: Environ
    """What it was given all in all."""

    def enter(self, environ: Environ) -> None:
        """Take note of what the middleware is given, and let it lead here."""
        self._given = environ["wsgi.input"]
        self._environ = dict(environ)  # without what leads here: no cycle
        environ[INSIDE] = self

    def may_pass_on(self, environ: Environ) -> bool:
        """Tell whether the next middleware may have what this one has passed on, with nothing between them."""
        # One that calls what is further in again can't have the body anew, and is to be told so.
        if self._passed or environ.get("wsgi.input") is not self._given:
            return False
        # Nobody wants to count or to time what goes from one to the next.
        connection = self.connection
        if connection._opener is not None:
            return True
        channel: Channel = connection._body_channel
        return channel.limit is None and channel.time_limit is None

    def pass_on(self, surrounding: WSGISurrounding, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Have the next middleware answer, which is one of this kind: without a response that is made for it."""
        self._passed = True
        inner = _Crossing(self.connection, self.inside.inner)
        inner.outer = self
        inner._given, inner._environ = self._given, self._environ
        reply = Reply(surrounding, {**environ, INSIDE: inner}, self.connection)
        try:
            response = reply.begin()
        except BaseException as error:
            reply.close()
            if not isinstance(error, Exception):
                raise
            return self.answer(error, environ, start_response)
        status, headers, has_body = response.head(environ["REQUEST_METHOD"])
        start_response(status, headers)
        if response.body_iterator is None:
            return [response.body] if has_body else []
        return reply if has_body else _Pieces(response, self.connection._body_channel, has_body=False)

    def answer(self, error: Exception | None, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the request by what is further in.

        Args:
            error: what has come out of it already, if it has failed.
            environ: what the middleware has passed on.
            start_response: likewise.
        """
        connection = self.connection
        # A body that the middleware has not touched is read where it comes from.
        if environ.get("wsgi.input") is not self._given:
            connection = connection.inside_environ(environ, connection._body_channel.over_input(environ))
        elif connection._environ is None or environ != {**self._environ, INSIDE: environ[INSIDE]}:
            connection = connection.inside_environ(environ, connection._body_channel)
        response = self.answered(self._response(connection) if error is None else self._recovered(connection, error))
        status, headers, has_body = response.head(environ["REQUEST_METHOD"])
        start_response(status, headers)
        if response.body_iterator is None:
            return [response.body] if has_body else []
        return _Pieces(response, connection._body_channel, has_body=has_body)

    def _response(self, connection: Any) -> Response | None:
        """Return the response of what is further in."""
        inside = self.inside
        if inside.following is not None or (connection._opener is None and connection._channel.time_limit is not None):
            return self._driven(connection, inside.exchange(connection))
        # The endpoint may as well be called here, without an exchange.
        try:
            call = inside.plan.endpoint(connection)
            result = self._driven(connection, only(call)) if call.is_async else call.function(*call.args)
        except Exception as error:
            return self._driven(connection, inside.recover(connection, error))
        if isinstance(result, Response) and not result.incomplete:
            return result
        return self._driven(connection, inside.settle(connection, call, result))

    def _recovered(self, connection: Any, error: Exception) -> Response | None:
        """Return the response to what has come out of the next middleware."""
        error = self.cause_of(error, cut_short=connection._opener is None and connection._channel.cut_short)
        return self._driven(connection, self.inside.recover(connection, error))

    def _driven(self, connection: Any, exchange: Exchange) -> Response | None:
        channel: Channel = connection._body_channel
        return channel.drive(exchange)


class _Pieces:
    """The body of what is further in, as the middleware iterates over it."""

    def __init__(self, response: Response, channel: Channel, *, has_body: bool) -> None:
        self._stream = BodyStream(response)
        self._channel = channel
        self._ended = not has_body

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            piece: bytes | None = None if self._ended else self._channel.drive(only(self._stream.next_piece()))
        except BodyFailed as failed:
            raise failed.error from None
        if piece is None:
            self._ended = True
            raise StopIteration
        return piece

    def close(self) -> None:
        """Close the body."""
        self._channel.drive(self._stream.close())
