"""Message delegates to test with, and a way to run them without a rule router."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dualroute.delegates import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine, ResponseStartLine
from dualroute_asgi.delegates import DelegateApp
from tests.mounted_asgi_helper import Gate

OK = ResponseStartLine("HTTP/1.1", 200, "OK")


class Found:
    """A request as `DelegateApp` reads it, when routing has found a delegate."""

    def __init__(self, request: Any, args: tuple[Any, ...]) -> None:
        self._path_args = args
        self._body_channel = request._body_channel


class Delegated(DelegateApp):
    """Answers every request by a delegate: ``Mount("/m", app=Delegated(make))``.

    Args:
        make: called with the HTTPServerRequest; returns the delegate.
    """

    def __init__(self, make: Callable[[HTTPServerRequest], HTTPMessageDelegate], **options: Any) -> None:
        super().__init__(**options)
        self.make = make

    def _scope(self, connection: Any) -> Any:
        target = connection._target
        path = target.path[len(connection._mounted) :]
        request = HTTPServerRequest(connection._given_scope, connection._environ, target, path)
        self.found = Found(connection, (self.make(request), request.connection))  # held, as the request itself is
        return super()._scope(self.found)  # type: ignore[arg-type]


class Recorder(HTTPMessageDelegate):
    """Notes what it is told, in `told`, and opens `closed` when its client has gone.

    Args:
        request: what it answers.
        told: where to note it, if several are to share a list.
    """

    def __init__(self, request: HTTPServerRequest, told: list[str] | None = None) -> None:
        self.connection = request.connection
        self.told: list[str] = [] if told is None else told
        self.closed = Gate()
        self.body = b""
        self.start_line: RequestStartLine | None = None
        self.headers = HTTPHeaders()

    def headers_received(self, start_line: RequestStartLine, headers: HTTPHeaders) -> Any:
        self.told.append("headers")
        self.start_line, self.headers = start_line, headers

    def data_received(self, chunk: bytes) -> Any:
        assert chunk, "an empty piece is not delivered"
        self.told.append("data")
        self.body += chunk

    def finish(self) -> Any:
        self.told.append("finish")

    def on_connection_close(self) -> Any:
        self.told.append("close")
        self.closed.open()

    def answer(self, body: bytes = b"OK", **headers: str) -> None:
        """Answer at once."""
        self.connection.write_headers(OK, {"Content-Length": str(len(body)), **headers}, body)
        self.connection.finish()


class Answering(Recorder):
    """Answers OK when the request is complete."""

    def finish(self) -> Any:
        super().finish()
        self.answer()


def later(coroutine: Any) -> asyncio.Task[Any]:
    """Start a task that somebody holds until it is done."""
    task = asyncio.get_running_loop().create_task(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


_tasks: set[asyncio.Task[Any]] = set()
