"""Drives a mounted ASGI application by hand, in each of the four ways that lead into it.

Under either protocol an application may stand bare or with a middleware around it.  Under ASGI those are two ways in:
bare, it is awaited with the server's own `receive` and `send`; otherwise it runs in a task of its own.  A `Way` asks
in one of the four, and the answer has the same form in each.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from dualroute import DualRoute, Mount
from dualroute.exceptions import ResponseCut
from dualroute.foreign import protocol_of
from dualroute_asgi.mounted import ASGIApp
from tests.transports import EventLoopThread

TIMEOUT = 20
"""How many seconds anything here may take before it counts as hanging."""

WAYS = ("asgi-bare", "asgi-wrapped", "wsgi-bare", "wsgi-wrapped")

Receive = Callable[[], Any]
Send = Callable[[Any], Any]
Headers = Sequence[tuple[str, str]]


def transparent(connection: Any) -> Generator[Any, Any, Any]:
    """A middleware that changes nothing."""
    response = yield connection
    return response


class Gate:
    """An event that coroutines of any loop wait for and any thread opens."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def open(self) -> None:
        with self._lock:
            self._opened.set()
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            loop.call_soon_threadsafe(_settle, future)

    def reached(self) -> bool:
        """Wait in a thread until it is open; tell whether it is."""
        return self._opened.wait(TIMEOUT)

    def is_open(self) -> bool:
        return self._opened.is_set()

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._opened.is_set():
                return
            future = loop.create_future()
            self._waiting.append((loop, future))
        await future


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass
class Answer:
    """What came of a request: how far the response got, and whether it was cut."""

    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    cut: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name]
        return ", ".join(values) if values else None


@dataclass
class Upload:
    """A request body.

    Args:
        pieces: as they come; an event among them is waited for in between.
        chunked: True for a body without a length.
        announced: the Content-Length, where it is not the true one.
        cut: True where the client goes before the end.
    """

    pieces: Sequence[bytes | threading.Event] = ()
    chunked: bool = False
    announced: int | None = None
    cut: bool = False

    def headers(self) -> list[tuple[str, str]]:
        length = sum(len(piece) for piece in self.pieces if isinstance(piece, bytes)) + (5 if self.cut else 0)
        headers = []
        if not self.chunked and (length or self.announced is not None):
            headers.append(("content-length", str(length if self.announced is None else self.announced)))
        if self.chunked:
            headers.append(("transfer-encoding", "chunked"))
            if self.announced is not None:
                headers.append(("content-length", str(self.announced)))
        return headers


class Way:
    """One of `WAYS`."""

    def __init__(self, name: str, loop: EventLoopThread) -> None:
        self.name = name
        self.protocol, _, around = name.partition("-")
        self.wrapped = around == "wrapped"
        self._loop = loop
        self._open: list[Conversation] = []

    @property
    def direct(self) -> bool:
        """Whether the application is given the server's own receive and send."""
        return self.name == "asgi-bare"

    def app(self, app: Any, path: str = "/m", **options: Any) -> DualRoute:
        """Return an app with `app` mounted in it; a function that does not know of lifespans is spared one."""
        mounted = ASGIApp(app, lifespan=False) if inspect.isfunction(app) and protocol_of(app) == "ASGI" else app
        return self.around([Mount(path, app=mounted)], **options)

    def around(self, routes: Iterable[Any], **options: Any) -> DualRoute:
        """Return an app around routes, with a middleware if this way has one."""
        middleware = [*options.pop("middleware", ()), *([transparent] if self.wrapped else [])]
        return DualRoute(list(routes), middleware=middleware, **options)

    def open(
        self,
        app: Any,
        method: str = "GET",
        path: str = "/m/",
        *,
        headers: Headers = (),
        upload: Upload | None = None,
        root_path: str = "",
        slow: bool = False,
        extra: dict[str, Any] | None = None,
    ) -> Conversation:
        """Send a request, and return the conversation to go on with.

        Args:
            app: the app.
            method: the HTTP method.
            path: the decoded path, with a query if need be.
            headers: the request headers, beside those about the body.
            upload: the request body.
            root_path: where the server says that the app is mounted.
            slow: True for a server that takes a piece only when the test does.
            extra: further keys of the scope or environ.
        """
        upload = upload or Upload()
        path, _, query = path.partition("?")
        request = _Request(
            method, path, query, root_path, [("host", "testserver"), *headers, *upload.headers()], upload, extra or {}
        )
        conversation: Conversation
        if self.protocol == "asgi":
            conversation = ASGIConversation(app, request, self._loop, slow=slow)
        else:
            conversation = WSGIConversation(app, request)
        self._open.append(conversation)
        return conversation

    def ask(self, app: Any, method: str = "GET", path: str = "/m/", **options: Any) -> Answer:
        """Send a request, and return the whole answer."""
        return self.open(app, method, path, **options).finish()

    def close(self) -> None:
        for conversation in self._open:
            conversation.leave()


@dataclass
class _Request:
    method: str
    path: str
    query: str
    root_path: str
    headers: list[tuple[str, str]]
    upload: Upload
    extra: dict[str, Any]


class Conversation:
    """One request, taken as far as a test says.  `answer` is what has come of it so far."""

    answer: Answer

    def piece(self) -> bytes | None:
        """Take the next piece of the body, waiting for it; None after the last, or where the response was cut."""
        raise NotImplementedError

    def leave(self) -> None:
        """Have the client go, and wait until the app is done with the request."""
        raise NotImplementedError

    def over(self) -> bool:
        """Tell whether the server is done with the request."""
        raise NotImplementedError

    def finish(self) -> Answer:
        """Take the rest, and wait until the app is done with the request."""
        while self.piece() is not None:
            pass
        self.leave()
        return self.answer


class ASGIConversation(Conversation):
    """A strict server: what is out of order, it refuses."""

    def __init__(self, app: Any, request: _Request, loop: EventLoopThread, *, slow: bool) -> None:
        self.answer = Answer()
        self.messages: list[dict[str, Any]] = []
        self.violations: list[str] = []
        self._upload = request.upload
        self._uploading: Iterator[bytes | threading.Event] = iter(request.upload.pieces)
        self._uploaded = False
        self._loop = loop
        self._pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._complete = False
        self._slow = slow
        self._ended = False
        raw_path = quote(request.root_path + request.path).encode()
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": request.root_path + request.path,
            "raw_path": raw_path,
            "query_string": request.query.encode("latin-1"),
            "root_path": request.root_path,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers],
            "client": ("127.0.0.1", 50000),
            "server": ("testserver", 80),
            "state": {},
            **request.extra,
        }
        made: Future[None] = asyncio.run_coroutine_threadsafe(self._prepare(), loop.loop)
        made.result(TIMEOUT)
        self.task: Future[Any] = asyncio.run_coroutine_threadsafe(self._serve(app, scope), loop.loop)

    async def _prepare(self) -> None:
        self._gone = asyncio.Event()
        self._credit = asyncio.Semaphore(0)

    async def _serve(self, app: Any, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
        except ResponseCut:
            self.answer.cut = True
        finally:
            self._ended = True
            self._pieces.put(None)

    async def _receive(self) -> dict[str, Any]:
        if not self._uploaded and not self._gone.is_set():
            for piece in self._uploading:
                if isinstance(piece, bytes):
                    return {"type": "http.request", "body": piece, "more_body": True}
                while not piece.is_set():
                    await asyncio.sleep(0.001)
            self._uploaded = True
            if self._upload.cut:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": b"", "more_body": False}
        if not self._upload.cut:
            await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if self._gone.is_set() and not self._complete:
            raise OSError("the client is gone")
        expected = "http.response.body" if self.messages else "http.response.start"
        if kind != expected or self._complete:
            self.violations.append(kind)
            raise RuntimeError(f"{kind!r} is out of order here")
        self.messages.append(message)
        if kind == "http.response.start":
            self.answer.status = message["status"]
            self.answer.headers = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())
            ]
            return
        body = message.get("body", b"")
        if not isinstance(body, bytes):
            self.violations.append(f"a body of type {type(body).__name__}")
            raise TypeError("a body is bytes")
        if body:
            self._pieces.put(body)
            if self._slow:
                await self._credit.acquire()
        if not message.get("more_body"):
            self._complete = True
            self._pieces.put(None)
            self._gone.set()  # a receive after the response gives http.disconnect

    async def _go(self) -> None:
        self._gone.set()
        for _ in range(50):  # what waits for a disconnect hears of it before a send does
            await asyncio.sleep(0)
        self._slow = False
        self._credit.release()

    def piece(self) -> bytes | None:
        piece = self._pieces.get(timeout=TIMEOUT)
        if piece is not None:
            self.answer.pieces.append(piece)
            if self._slow:
                self._loop.loop.call_soon_threadsafe(self._credit.release)
        return piece

    def over(self) -> bool:
        return self._ended

    def leave(self) -> None:
        if not self._ended and not self._complete:
            asyncio.run_coroutine_threadsafe(self._go(), self._loop.loop)
        self.task.result(TIMEOUT)
        assert self.violations == [], "the server was sent what is out of order"


class WSGIConversation(Conversation):
    def __init__(self, app: Any, request: _Request) -> None:
        self.answer = Answer()
        self._closed = False
        self._started = 0
        upload = request.upload
        self.environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": request.root_path.encode().decode("latin-1"),
            "PATH_INFO": request.path.encode().decode("latin-1"),
            "QUERY_STRING": request.query,
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "50000",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": Input(upload),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if upload.chunked:
            self.environ["wsgi.input_terminated"] = True
        for name, given in request.headers:
            value = given
            key = name.upper().replace("-", "_")
            if key not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
                key = "HTTP_" + key
            if key in self.environ:
                value = self.environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
            self.environ[key] = value
        self.environ.update(request.extra)
        self._result: Iterable[bytes] = app(self.environ, self._start_response)
        self._iterator = iter(self._result)

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self._started += 1
        assert self._started == 1, "start_response is called exactly once"
        code, _, self.answer.reason = status.partition(" ")
        self.answer.status = int(code)
        self.answer.headers = list(headers)

    def piece(self) -> bytes | None:
        while True:
            try:
                piece: bytes = next(self._iterator)
            except StopIteration:
                return None
            except ResponseCut:
                self.answer.cut = True
                return None
            if piece:
                self.answer.pieces.append(piece)
                return piece

    def over(self) -> bool:
        return self._closed

    def leave(self) -> None:
        if not self._closed:
            self._closed = True
            close = getattr(self._result, "close", None)
            if close is not None:
                close()


class Input(io.RawIOBase):
    """A ``wsgi.input`` that gives an upload piece by piece."""

    def __init__(self, upload: Upload) -> None:
        super().__init__()
        self._upload = upload
        self._items = list(upload.pieces)

    def read(self, size: int = -1) -> bytes:
        while self._items:
            item = self._items.pop(0)
            if isinstance(item, bytes):
                if 0 <= size < len(item):
                    self._items.insert(0, item[size:])
                    item = item[:size]
                return item
            assert item.wait(TIMEOUT)
        if self._upload.cut and self._upload.chunked:
            raise OSError("the connection was lost in mid-chunk")
        return b""


# Applications


def answering(*pieces: bytes, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> Any:
    """Return an application that answers with pieces."""

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for piece in pieces[:-1]:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": pieces[-1] if pieces else b""})

    return application


async def respond(
    send: Send, body: bytes = b"", status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send a whole response."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def start(send: Send, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def more(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def end(send: Send, body: bytes = b"") -> None:
    await send({"type": "http.response.body", "body": body})


async def read(receive: Receive) -> bytes | None:
    """Return the whole request body, or None where it was cut short."""
    body: bytes = b""
    while True:
        message: dict[str, Any] = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


class Recorder:
    """An application that keeps the scopes it is called with."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        self.scopes.append(scope)
        await respond(send)

    @property
    def scope(self) -> Any:
        (scope,) = self.scopes
        return scope


def reports(caplog: Any) -> list[str]:
    """Return what dualroute logged, from INFO up."""
    return [record.getMessage() for record in caplog.records if record.name == "dualroute"]


def errors(caplog: Any) -> list[str]:
    """Return what dualroute logged as an error."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "dualroute" and record.levelname in ("ERROR", "CRITICAL")
    ]
