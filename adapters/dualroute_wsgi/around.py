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
from dualroute.responses import status_line
from dualroute.streams import BodyFailed, BodyStream
from dualroute.types import Environ, StartResponse
from dualroute_wsgi.mounted import RawInput, WSGIApp

if TYPE_CHECKING:
    from typing import IO

    from dualroute.exchange import Inside
    from dualroute.requests import SyncRequest
    from dualroute.responses import Response

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
        channel = request._body_channel
        channel.require_within_limit()
        environ = self._environ(request, channel, "")
        environ[INSIDE] = crossing = _Crossing(request, inside)
        crossing.given = environ["wsgi.input"]
        response = self._reply(request, environ, channel)
        response.background = crossing.background
        return response

    def _input(self, environ: Environ, channel: Channel, request: SyncRequest) -> IO[bytes]:
        # Nothing is read before the middleware does: it may leave the body to what is further in.
        return io.BufferedReader(RawInput(_Later(channel), []), CHUNK_SIZE)

    def _inside(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """What is further in, as the application that the middleware is around."""
        crossing = environ.get(INSIDE)
        if crossing is None:
            raise AppBroken(
                f"{self.described()} has called what it is around with an environ that is not made of its own"
            )
        result: Iterable[bytes] = crossing.respond(environ, start_response)
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


class _Crossing(Crossing):
    given: Any = None
    """The ``wsgi.input`` that the middleware was given."""

    def respond(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Have what is further in answer the request."""
        outer: Channel = self.connection._body_channel
        # A body that the middleware has not touched is read where it comes from.
        channel = outer if environ.get("wsgi.input") is self.given else outer.over_input(environ)
        connection = self.connection.inside_environ(environ, channel)
        response = self.answered(channel.drive(self.inside.exchange(connection)))
        headers, has_body = response.wire(connection.method)
        start_response(status_line(response.status_code, response.reason), list(headers))
        if response.body_iterator is None:
            return [response.body] if has_body else []
        return _Pieces(response, channel, has_body=has_body)


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
