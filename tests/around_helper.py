"""What the tests of middleware share that was written for one protocol: what stands around it, and what is inside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

from dualroute import DualRoute, Mount, PlainTextResponse, Request, Response, Route, StreamingResponse, SyncRequest
from dualroute.middleware import Middleware
from dualroute.middleware.base import BaseHTTPMiddleware
from dualroute.middleware.wsgi import WSGIMiddleware

outer_variable: ContextVar[str] = ContextVar("outer_variable", default="unset")
"""Bound by a middleware."""

inner_variable: ContextVar[str] = ContextVar("inner_variable", default="unset")
"""Bound by a handler."""


def generator(connection: Any) -> Any:
    response = yield connection
    return response


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response


AROUND: dict[str, list[Any]] = {
    "outermost": [],
    "in a generator": [generator],
    "in a dispatch": [Middleware(Passing)],
    "in an ASGI middleware": [Middleware(lambda app: app)],
    "in a WSGI middleware": [WSGIMiddleware(lambda app: app)],
}
"""Where a middleware may stand: each of these is around it."""

PATHS = [
    "/",
    "/async",
    "/stream",
    "/async-stream",
    "/flask/stream",
    "/flask/about",
    "/fastapi/text",
    "/teapot",
    "/none",
]
"""Those of `tests.middleware_helper.site`."""


# Handlers that send back what they get


def echo(request: SyncRequest) -> Response:
    return Response(request.body())


async def async_echo(request: Request) -> Response:
    return Response(await request.body())


def echo_stream(request: SyncRequest) -> Response:
    return StreamingResponse(request.stream())


async def async_echo_stream(request: Request) -> Response:
    return StreamingResponse(request.stream())


def wsgi_echo(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("content-type", "text/plain")])
    return [environ["wsgi.input"].read()]


ECHOES: list[Any] = [
    Route("/", echo, methods=["POST"]),
    Route("/async", async_echo, methods=["POST"]),
    Route("/stream", echo_stream, methods=["POST"]),
    Route("/async-stream", async_echo_stream, methods=["POST"]),
    Mount("/wsgi", app=wsgi_echo),
]
ECHO_PATHS = ["/", "/async", "/stream", "/async-stream", "/wsgi/"]
BODY = b"0123456789abcdef" * 20_000


# Handlers that look at what is bound, and bind something


def telling(request: SyncRequest) -> Response:
    inner_variable.set("by the handler")
    return PlainTextResponse(outer_variable.get())


async def async_telling(request: Request) -> Response:
    inner_variable.set("by the handler")
    return PlainTextResponse(outer_variable.get())


class Endless:
    """An app with streams that never end, of both colours; `closed` is set when one is closed."""

    def __init__(self, middleware: list[Any]) -> None:
        self.closed = threading.Event()
        self.app = DualRoute(
            [
                Route("/plain", lambda request: StreamingResponse(self._pieces())),
                Route("/async", lambda request: StreamingResponse(self._async_pieces())),
            ],
            middleware=middleware,
        )

    def _pieces(self) -> Iterator[bytes]:
        try:
            while True:
                yield b"piece" * 100
        finally:
            self.closed.set()

    async def _async_pieces(self) -> AsyncIterator[bytes]:
        try:
            while True:
                await asyncio.sleep(0)
                yield b"piece" * 100
        finally:
            self.closed.set()


def failing_half_way(request: SyncRequest) -> Response:
    def pieces() -> Iterator[bytes]:
        yield b"begun"
        raise LookupError("half-way")

    return StreamingResponse(pieces())


class Cancelled:
    """A handler that waits to be cancelled, and tells when it begins and when it was."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = False

    async def __call__(self, request: Request) -> Response:
        self.begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise AssertionError("nobody has cancelled it")

    async def cancel_in(self, middleware: list[Any]) -> None:
        """Have it called by an ASGI server inside `middleware`, and cancel that."""

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            raise AssertionError("nothing is answered")

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"testserver")]}
        app = DualRoute([Route("/", self)], middleware=middleware)
        task = asyncio.ensure_future(app.asgi(scope, receive, send))
        await asyncio.wait_for(self.begun.wait(), 20)
        task.cancel()
        await asyncio.wait([task], timeout=20)
        assert task.cancelled()


class FailsOnce:
    """A handler that fails each first time of two."""

    def __init__(self) -> None:
        self.tries = 0

    def __call__(self, request: SyncRequest) -> Response:
        self.tries += 1
        if self.tries % 2:
            raise LookupError
        return PlainTextResponse("second")


def errors(records: Any) -> list[str]:
    """Return what the errors in a log were about."""
    return [str(record.exc_info) for record in records if record.levelname == "ERROR"]
