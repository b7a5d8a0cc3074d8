"""Asks a mounted WSGI app by hand, as a server of either protocol does, since much of it shows only there.

A test takes the `ask` fixture, which a module gets by importing `ask_fixture`, and so runs on both protocols.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, unquote_to_bytes
from wsgiref.validate import validator

import pytest

from dualroute import Call
from dualroute.exceptions import ResponseCut

TIMEOUT = 20
"""How many seconds anything here may take before it counts as hanging."""

DISCONNECT = {"type": "http.disconnect"}
TEXT = [("content-type", "text/plain")]

Environ = dict[str, Any]
Pairs = Sequence[tuple[str, str]]


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def within_bounds() -> Any:
        return await asyncio.wait_for(main, TIMEOUT)

    return asyncio.run(within_bounds())


def piece(body: bytes, more_body: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more_body}


@dataclass
class Answer:
    """What came back; `cut` tells that it broke off in a way that the client can tell."""

    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    cut: bool = False
    result: Any = None

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name]
        return ", ".join(values) if values else None


class BrokenInput(io.RawIOBase):
    """A ``wsgi.input`` whose chunks break off."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body

    def read(self, size: int = -1) -> bytes:
        if not self.body:
            raise ValueError("invalid chunk")  # servers raise what they like
        data, self.body = self.body[:size], self.body[size:]
        return data


class Peer:
    """An ASGI server's side of one request: `events` holds what the app receives, `sent` what it sends."""

    def __init__(self, app: Any, scope: dict[str, Any], events: Iterable[dict[str, Any]] = ()) -> None:
        self.app = app
        self.scope = scope
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for event in events:
            self.events.put_nowait(event)
        self.sent: list[dict[str, Any]] = []
        self.received = 0
        # Cleared to be a client that does not read.
        self.reading = asyncio.Event()
        self.reading.set()
        self.gone_after: int | None = None
        self.gone_error: Exception | None = None
        self._news = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        event = await self.events.get()
        self.received += 1
        self._news.set()
        return event

    async def send(self, message: dict[str, Any]) -> None:
        if self.gone_after is not None and len(self.pieces) >= self.gone_after and (self.sent or self.gone_after < 0):
            if self.gone_error is not None:
                raise self.gone_error
            self.disconnect()
        self.sent.append(message)
        self._news.set()
        await asyncio.sleep(0)
        await self.reading.wait()

    def disconnect(self) -> None:
        self.events.put_nowait(DISCONNECT)

    def start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.app(self.scope, self.receive, self.send))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; it is looked at whenever something was sent or received."""
        while not condition():
            self._news.clear()
            await self._news.wait()

    @property
    def pieces(self) -> list[bytes]:
        return [message["body"] for message in self.sent[1:] if message.get("body")]

    @property
    def answer(self) -> Answer:
        answer = Answer()
        if self.sent:
            start = self.sent[0]
            answer.status = start["status"]
            answer.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
            answer.pieces = self.pieces
            answer.cut = len(self.sent) < 2 or bool(self.sent[-1].get("more_body"))
        return answer


class Ask:
    """Asks an app as a server of one protocol does: see `__call__`."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol

    def __call__(
        self,
        app: Any,
        method: str = "GET",
        path: str = "/",
        *,
        query: str = "",
        root_path: str = "",
        http_version: str = "1.1",
        headers: Pairs = (),
        body: Sequence[bytes] = (),
        announced: int | None = -1,
        short: bool = False,
        take: int | None = None,
        way: str = "disconnect",
        scope: dict[str, Any] | None = None,
        environ: dict[str, Any] | None = None,
        without: Sequence[str] = (),
        validate: bool = True,
        times: int = 1,
    ) -> Answer:
        """Send a request, and return the answer once the app has brought it to its end.

        Args:
            app: the app.
            method: the HTTP method.
            path: the path, percent-encoded.
            query: the query string.
            root_path: where the server says that the app is mounted.
            http_version: the version.
            headers: request headers; a Host is added.
            body: the pieces of the body.
            announced: the Content-Length; None to send chunks, -1 for the length of `body` if there is one.
            short: True for a client that leaves after `body`.
            take: after how many pieces of the response the client leaves; -1 for before it started.
            way: how that shows under ASGI: "disconnect" (an event) or "send" (which raises OSError).
            scope: further keys of the scope.
            environ: further keys of the environ.
            without: keys to leave out of the scope.
            validate: False to do without PEP 3333's validator between the server and the app.
            times: how often to ask; the last answer is returned.
        """
        length = sum(map(len, body))
        if announced == -1:
            announced = length or None
            chunked = False
        else:
            chunked = announced is None
        headers = list(headers)
        names = {name.lower() for name, _ in headers}
        if "host" not in names:
            headers.append(("Host", "testserver"))
        if chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        elif announced is not None and "content-length" not in names:
            headers.append(("Content-Length", str(announced)))
        if self.protocol == "asgi":
            made = self.scope(method, path, headers, query, root_path, http_version)
            made.update(scope or {})
            for key in without:
                del made[key]
            return self._ask_asgi(app, made, body, short, take, way, times)
        answer = Answer()
        for _ in range(times):
            content = (BrokenInput if short and chunked else io.BytesIO)(b"".join(body))
            given = self.environ(method, path, headers, query, root_path, http_version, content)
            if any(name.lower() == "transfer-encoding" for name, _ in headers):
                given["wsgi.input_terminated"] = True
            answer = self._ask_wsgi(app, {**given, **(environ or {})}, take, validate)
        return answer

    def scope(
        self,
        method: str = "GET",
        path: str = "/",
        headers: Pairs = (),
        query: str = "",
        root_path: str = "",
        http_version: str = "1.1",
    ) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": http_version,
            "method": method,
            "scheme": "http",
            "path": root_path + unquote(path),
            "raw_path": (root_path + path).encode(),
            "query_string": query.encode("latin-1"),
            "root_path": root_path,
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            "client": ("127.0.0.1", 50000),
            "server": ("testserver", 80),
        }

    def environ(
        self,
        method: str = "GET",
        path: str = "/",
        headers: Pairs = (),
        query: str = "",
        root_path: str = "",
        http_version: str = "1.1",
        content: Any = None,
        extra: dict[str, Any] | None = None,
    ) -> Environ:
        environ: Environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": root_path.encode().decode("latin-1"),
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": f"HTTP/{http_version}",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "50000",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO() if content is None else content,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in headers:
            key = name.upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = f"HTTP_{key}"
            joint = "; " if key == "HTTP_COOKIE" else ","
            environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
        return {**environ, **(extra or {})}

    def _ask_asgi(
        self,
        app: Any,
        scope: dict[str, Any],
        body: Sequence[bytes],
        short: bool,
        take: int | None,
        way: str,
        times: int,
    ) -> Answer:
        async def once() -> Answer:
            peer = Peer(app, scope, [*map(piece, body), DISCONNECT if short else piece(b"", False)])
            peer.gone_after = take
            if way == "send":
                peer.gone_error = OSError("the client is gone")
            try:
                await peer.start()
            except ResponseCut:
                assert peer.answer.cut, "a response that was complete is not cut"
            return peer.answer

        async def main() -> Answer:
            answer = await once()
            for _ in range(times - 1):
                answer = await once()
                await asyncio.sleep(0.001)
            if times > 1:
                await asyncio.sleep(0.05)  # threads and the loop's timers let go of what they hold
            return answer

        answer: Answer = run(main())
        return answer

    def _ask_wsgi(self, app: Any, environ: Environ, take: int | None, validate: bool) -> Answer:
        answer = Answer()
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started.append((status, headers))
            return lambda data: None

        checked = validate and isinstance(environ["wsgi.input"], io.BytesIO) and environ["PATH_INFO"].startswith("/")
        answer.result = (validator(app) if checked else app)(environ, start_response)
        pieces = iter(answer.result)
        try:
            while take is None or len(answer.pieces) < take:
                answer.pieces.append(next(pieces))
        except StopIteration:
            pass
        except ResponseCut:
            answer.cut = True
        finally:
            close = getattr(answer.result, "close", None)
            if close is not None:
                close()
        ((status, headers),) = started
        answer.headers = headers
        code, _, answer.reason = status.partition(" ")
        answer.status = int(code)
        return answer


@pytest.fixture(name="ask")
def ask_fixture(protocol: str) -> Ask:
    return Ask(protocol)


class Body:
    """The body of an app's response, that notes how it is treated.

    Args:
        pieces: what it gives; a function among them is called for it, and an exception is raised.
        endless: True to go on for ever.
    """

    def __init__(self, *pieces: Any, endless: bool = False) -> None:
        self.pieces = list(pieces)
        self.endless = endless
        self.given = 0
        self.closed = 0
        self.overlapped = False
        self._inside = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.overlapped |= bool(self._inside or self.closed)
        self._inside += 1
        try:
            return self._next()
        finally:
            self._inside -= 1

    def _next(self) -> bytes:
        self.given += 1
        if self.pieces:
            item: Any = self.pieces.pop(0)
            if callable(item):
                item = item()
            if isinstance(item, BaseException):
                raise item
            data: bytes = item
            return data
        if self.endless:
            return b"more"
        self.given -= 1
        raise StopIteration

    def close(self) -> None:
        self.overlapped |= bool(self._inside)
        self.closed += 1

    def app(self, status: str = "200 OK", headers: Pairs = TEXT) -> Callable[[Environ, Any], Any]:
        def wsgi(environ: Environ, start_response: Any) -> Iterable[bytes]:
            start_response(status, list(headers))
            return self

        return wsgi

    def assert_closed_once(self) -> None:
        assert self.closed == 1
        assert not self.overlapped, "never closed while it is iterated over, nor iterated over once closed"


def records(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "dualroute" and record.levelno >= level]


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return the one line that was logged, with the error that it shows."""
    (record,) = records(caplog)
    error = record.exc_info[1] if record.exc_info else None
    return f"{record.getMessage()}: {error!r}"


def answering(result: Any, status: Any = "200 OK", headers: Any = TEXT) -> Callable[[Environ, Any], Any]:
    """Return an app that gives `result`, or what that returns if it is a function."""

    def wsgi(environ: Environ, start_response: Any) -> Any:
        start_response(status, list(headers) if isinstance(headers, list) else headers)
        return result() if callable(result) else result

    return wsgi


class Reader:
    """A WSGI app that reads its body by a function, and keeps what came of that.

    Args:
        read: called with ``wsgi.input``.
        swallow: True to answer 200 whatever reading raised.
    """

    def __init__(self, read: Callable[[Any], Any], *, swallow: bool = False) -> None:
        self.read = read
        self.swallow = swallow
        self.got: Any = None
        self.error: BaseException | None = None
        self.environ: Environ = {}

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        self.environ = environ
        try:
            self.got = self.read(environ["wsgi.input"])
        except Exception as error:
            self.error = error
            if not self.swallow:
                raise
        start_response("200 OK", TEXT)
        return [b"read"]


def upload_of(app: Any, headers: Pairs, events: Iterable[dict[str, Any]] = ()) -> Peer:
    return Peer(app, Ask("asgi").scope("POST", "/", headers), events)


def read_first(connection: Any) -> Generator[Any, Any, Any]:
    body = yield Call(connection.body)
    response = yield connection
    response.headers["x-size"] = str(len(body))
    return response
