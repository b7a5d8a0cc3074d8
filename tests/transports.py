"""httpx transports that call an app as a server would, one for each protocol.

They go through the app's own `__call__`, and hand over what real servers do: percent-decoded paths, Latin-1 strings
under WSGI, lower-case byte headers under ASGI.  The WSGI one runs under `wsgiref.validate`.
"""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote, unquote_to_bytes
from wsgiref.validate import validator

import httpx


class EventLoopThread:
    """An event loop in a thread, for ASGI apps to run on."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Any, timeout: float = 30.0) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def close(self) -> None:
        async def wind_up() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.loop.shutdown_asyncgens()

        self.run(wind_up())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


def body_chunks(request: httpx.Request) -> list[bytes]:
    assert isinstance(request.stream, httpx.SyncByteStream)
    return [chunk for chunk in request.stream if chunk]


class ASGITransport(httpx.BaseTransport):
    """Calls `app` as an ASGI server does.

    Args:
        app: the application.
        loop: where to run it.
        root_path: what the server says the app is mounted at; put in front of the path, as the specification wants.
        scope: further keys of the scope.
    """

    def __init__(
        self, app: Any, loop: EventLoopThread, root_path: str = "", scope: dict[str, Any] | None = None
    ) -> None:
        self.app = app
        self.loop = loop
        self.root_path = root_path
        self.scope = scope or {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raw_path, _, query = request.url.raw_path.partition(b"?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": self.root_path + unquote(raw_path.decode("ascii")),
            "raw_path": self.root_path.encode() + raw_path,
            "query_string": query,
            "root_path": self.root_path,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 50000),
            "server": (request.url.host, request.url.port or 80),
            "state": {},
            **self.scope,
        }
        return self.loop.run(self._exchange(scope, body_chunks(request)))  # type: ignore[no-any-return]

    async def _exchange(self, scope: dict[str, Any], chunks: list[bytes]) -> httpx.Response:
        pending = [
            {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
            for index, chunk in enumerate(chunks)
        ] or [{"type": "http.request", "body": b"", "more_body": False}]
        over = asyncio.Event()
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if pending:
                return pending.pop(0)
            # As servers do: an app may wait for this before it returns.
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(dict(message))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                over.set()

        await self.app(scope, receive, send)
        start, *rest = sent
        assert start["type"] == "http.response.start"
        assert all(message["type"] == "http.response.body" for message in rest)
        assert [bool(message.get("more_body")) for message in rest] == [True] * (len(rest) - 1) + [False]
        return httpx.Response(
            start["status"],
            headers=start["headers"],
            stream=httpx.ByteStream(b"".join(message.get("body", b"") for message in rest)),
        )


class WSGITransport(httpx.BaseTransport):
    """Calls `app` as a WSGI server does.

    Args:
        app: the application.
        root_path: SCRIPT_NAME.
        environ: further keys of the environ.
    """

    def __init__(self, app: Any, root_path: str = "", environ: dict[str, Any] | None = None) -> None:
        self.app = app
        self.root_path = root_path
        self.environ = environ or {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raw_path, _, query = request.url.raw_path.partition(b"?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": self.root_path.encode().decode("latin-1"),
            "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
            "QUERY_STRING": query.decode("latin-1"),
            "SERVER_NAME": request.url.host,
            "SERVER_PORT": str(request.url.port or 80),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "50000",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": request.url.scheme,
            "wsgi.input": io.BytesIO(b"".join(body_chunks(request))),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for raw_name, raw_value in request.headers.raw:
            key = raw_name.decode("latin-1").upper().replace("-", "_")
            if key not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
                key = "HTTP_" + key
            value = raw_value.decode("latin-1")
            if key in environ:
                value = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
            environ[key] = value
        if environ.get("HTTP_TRANSFER_ENCODING"):
            environ["wsgi.input_terminated"] = True
        environ.update(self.environ)
        status, text_headers, chunks = call_wsgi(self.app, environ)
        headers = [(item[0].encode("latin-1"), item[1].encode("latin-1")) for item in text_headers]
        return httpx.Response(int(status.split()[0]), headers=headers, stream=httpx.ByteStream(b"".join(chunks)))


def call_wsgi(
    app: Any,
    environ: dict[str, Any],
    *,
    validate: bool = True,
    started: list[tuple[str, list[tuple[str, str]]]] | None = None,
    chunks: list[bytes] | None = None,
) -> tuple[str, list[tuple[str, str]], list[bytes]]:
    """Call a WSGI app, read its response to the end and close it; return the status line, headers and chunks.

    What an app has sent before it failed is in the lists `started` and `chunks`, where they are given.
    """
    started = [] if started is None else started
    chunks = [] if chunks is None else chunks

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        started.append((status, headers))
        return lambda data: None

    served = validator(app) if validate and isinstance(environ["wsgi.input"], io.BytesIO) else app
    result: Iterable[bytes] = served(environ, start_response)
    try:
        chunks.extend(_bytes_of(result))
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    assert len(started) == 1, "start_response is called exactly once"
    return *started[0], chunks


def _bytes_of(result: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in result:
        assert isinstance(chunk, bytes)
        yield chunk
