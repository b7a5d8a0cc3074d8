"""WSGIAdapter: drives exchanges for a WSGI server, and hands it what they return (PEP 3333).

A `def` is called where it stands; an `async def` runs on the worker's one event loop while the server's thread waits.
The loop, and asyncio with it, is loaded when the first `async def` needs it.

Each exchange has a context of its own, in which every part of it runs, streaming the body included: what one request
binds to a context variable is not there for the next request of the thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from dualroute.bodies import InputChannel
from dualroute.dispatch import websocket_paths
from dualroute.exceptions import ResponseCut
from dualroute.exchange import Call, stream_failed
from dualroute.responses import Response, status_line
from dualroute.serving import Servable
from dualroute.streams import BodyFailed, BodyStream
from dualroute.types import Environ, StartResponse

if TYPE_CHECKING:
    from dualroute.requests import SyncRequest

__all__ = ["WSGIAdapter"]

logger: logging.Logger = logging.getLogger("dualroute")

_T = TypeVar("_T")


class HandOverChannel(InputChannel):
    """A body that an `async def` handler can read too, by having the server's thread read for it."""

    # Set while a coroutine runs for this request: awaits a function that is to be called in the server's thread.
    hand_over: Callable[[Callable[[], bytes]], Any] | None = None

    async def receive(self) -> bytes:
        if self.ended:
            return self._after_end()
        if self.hand_over is None:
            raise RuntimeError("the request is over: its body can no longer be read")
        piece: bytes = await self.hand_over(self.read)
        return piece


class WSGIAdapter:
    """A DualRoute, a Router or another servable object as a WSGI application.

    Args:
        app: the object.
    """

    def __init__(self, app: Servable) -> None:
        self.app = app
        self._dispatcher = app.dispatcher
        self._announced = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if not self._announced:
            self._announce()
        context = copy_context()
        channel = HandOverChannel(environ)
        request, exchange = context.run(self._dispatcher.open_request, None, environ, channel)
        response = _drive(exchange, context, channel)
        assert response is not None, "the exchange of a request returns a response"
        if response.body_iterator is not None:
            return self._stream(request, response, start_response, context, channel)
        headers, has_body = response.wire(request.method)
        start_response(status_line(response.status_code), list(headers))
        return [response.body] if has_body else []

    def _announce(self) -> None:
        """Say once which routes this side can't serve."""
        self._announced = True
        paths = websocket_paths(self._dispatcher.router)
        if paths:
            logger.warning("WSGI has no websockets: %s can only be served by an ASGI server", ", ".join(paths))

    def _stream(
        self,
        request: SyncRequest,
        response: Response,
        start_response: StartResponse,
        context: Context,
        channel: HandOverChannel,
    ) -> Iterable[bytes]:
        headers, has_body = response.wire(request.method)
        pieces = _Pieces(request, response, context, channel)
        if not has_body:
            pieces.close()
            start_response(status_line(response.status_code), list(headers))
            return []
        # The first piece comes before the status, so that a body that fails at once is a 500.
        try:
            pieces.prepare()
        except BodyFailed as failed:
            pieces.close()
            answer = stream_failed(request, failed.error, started=False)
            headers, _ = answer.wire(request.method)
            start_response(status_line(answer.status_code), list(headers))
            return [answer.body]
        except BaseException:
            pieces.close()
            raise
        start_response(status_line(response.status_code), list(headers))
        return pieces


class _Pieces:
    """The pieces of a response's body: what the server iterates over."""

    def __init__(self, request: SyncRequest, response: Response, context: Context, channel: HandOverChannel) -> None:
        self._request = request
        self._stream = BodyStream(response)
        self._context = context
        self._channel = channel
        self._first: bytes | None = None
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece, self._first = self._first, None
        if piece is None:
            try:
                piece = self._fetch()
            except BodyFailed as failed:
                stream_failed(self._request, failed.error, started=True)
                raise ResponseCut from None
        if piece is None:
            raise StopIteration
        return piece

    def prepare(self) -> None:
        """Get the first piece ready.  Raises BodyFailed."""
        self._first = self._fetch()

    def _fetch(self) -> bytes | None:
        return _drive(self._stream.fetch(), self._context, self._channel)

    def close(self) -> None:
        """Close the body.  The server calls this in the end, however that comes about."""
        if not self._closed:
            self._closed = True
            _drive(self._stream.close(), self._context, self._channel)


def _drive(exchange: Generator[Call, Any, _T], context: Context, channel: HandOverChannel) -> _T:
    """Perform what an exchange asks for until it returns."""
    resume: Callable[[Any], Call] = exchange.send
    outcome: Any = None
    try:
        while True:
            # A context can't be entered twice, so this thread leaves it while the loop works in it.
            call = context.run(_until_async, exchange, resume, outcome)
            if not isinstance(call, Call):
                return call
            try:
                outcome = _run_async(call.function, call.args, context, channel)
                resume = exchange.send
            except BaseException as error:
                outcome, resume = error, exchange.throw
    finally:
        outcome = None  # an exception would hold this frame, and this frame it
        context.run(exchange.close)


def _until_async(exchange: Generator[Call, Any, _T], resume: Callable[[Any], Call], outcome: Any) -> Call | _T:
    """Advance an exchange, calling each `def` in place, until it asks for an `async def` or returns."""
    try:
        call = resume(outcome)
        while not call.is_async:
            try:
                outcome = call.function(*call.args)
            except BaseException as error:
                call = exchange.throw(error)
            else:
                call = exchange.send(outcome)
        return call
    except StopIteration as stop:
        value: _T = stop.value
        return value
    finally:
        outcome = None  # as in _drive


def _run_async(function: Callable[..., Any], args: tuple[Any, ...], context: Context, channel: HandOverChannel) -> Any:
    from dualroute_wsgi.loop import worker_loop

    return worker_loop().run(function, args, context, channel)
