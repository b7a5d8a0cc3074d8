"""Both servers in miniature, for `dualroute check`: one request, handed to an app by ASGI and by WSGI in this process.

They do what servers do and no more.  The ASGI one has an event loop in a thread of its own; the WSGI one calls the app
in a thread for each request, so that a response which does not end can be left behind.
"""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, unquote_to_bytes

__all__ = ["PROTOCOLS", "Answer", "Asked", "Players"]

PROTOCOLS = ("ASGI", "WSGI")

GRACE = 5.0
"""How many seconds a lifespan may take to end."""


@dataclass(frozen=True)
class Asked:
    """A request, as it stands on the wire.

    Args:
        method: the method.
        target: path and query, percent-encoded.
        headers: pairs of text; Host and Content-Length are added where they are missing.
        body: the body.
        origin: where the request comes from, in words.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    origin: str = ""

    def whole_headers(self) -> list[tuple[str, str]]:
        """Return the headers, with those that a client adds."""
        names = {name.lower() for name, _ in self.headers}
        headers = [] if "host" in names else [("host", "localhost")]
        headers += [(name.lower(), value) for name, value in self.headers]
        if self.body and "content-length" not in names:
            headers.append(("content-length", str(len(self.body))))
        return headers


@dataclass
class Answer:
    """What an app answered: status, headers and body as far as they came.

    Args:
        error: how the response failed, or "".
    """

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    error: str = ""


class Players:
    """Plays both servers for an app, within a ``with`` block, which runs its lifespan by either protocol.

    Args:
        app: an app of ours.
        timeout: how many seconds a response may take before its client leaves.
    """

    def __init__(self, app: Any, timeout: float) -> None:
        self._app = app
        self._timeout = timeout
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._state: dict[str, Any] = {}
        self._life: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def __enter__(self) -> Self:
        """Run the start-up by both protocols.  Raises RuntimeError, and under WSGI what the app fails with."""
        self._thread.start()
        self._on_loop(self._start(), None)
        self._app.wsgi_adapter.startup()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._app.wsgi_adapter.shutdown()
        self._on_loop(self._stop(), None)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GRACE)

    def ask(self, protocol: str, asked: Asked) -> Answer:
        """Have the app answer a request by a protocol."""
        return self._by_asgi(asked) if protocol == "ASGI" else self._by_wsgi(asked)

    def _on_loop(self, coroutine: Any, timeout: float | None) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    # ASGI

    async def _start(self) -> None:
        told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        self._life = asyncio.create_task(self._app.asgi(scope, self._events.get, told.put))
        await self._events.put({"type": "lifespan.startup"})
        message = await told.get()
        if message["type"] == "lifespan.startup.failed":
            raise RuntimeError(message.get("message") or "the start-up failed")

    async def _stop(self) -> None:
        await self._events.put({"type": "lifespan.shutdown"})
        if self._life is not None:
            await asyncio.wait([self._life], timeout=GRACE)

    def _by_asgi(self, asked: Asked) -> Answer:
        answer: Answer = self._on_loop(self._exchange(asked), None)
        return answer

    async def _exchange(self, asked: Asked) -> Answer:
        answer = Answer()
        gone, complete = asyncio.Event(), asyncio.Event()
        events = [{"type": "http.request", "body": asked.body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if events:
                return events.pop(0)
            leaving = [asyncio.ensure_future(event.wait()) for event in (gone, complete)]
            try:
                await asyncio.wait(leaving, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in leaving:
                    task.cancel()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if gone.is_set():
                raise OSError("the client is gone")
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = [
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]
                ]
            elif message["type"] == "http.response.body":
                answer.body += message.get("body", b"")
                if not message.get("more_body"):
                    complete.set()

        task = asyncio.ensure_future(self._app.asgi(self._scope(asked), receive, send))
        done, _ = await asyncio.wait([task], timeout=self._timeout)
        if not done:
            if not complete.is_set():  # else it is background tasks that go on
                answer.error = unfinished(self._timeout)
            gone.set()
            await asyncio.wait([task], timeout=1)
            task.cancel()
        elif not task.cancelled() and (failure := task.exception()) is not None:
            answer.error = "the response was cut short" if answer.status else type(failure).__name__
        return answer

    def _scope(self, asked: Asked) -> dict[str, Any]:
        path, _, query = asked.target.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": asked.method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in asked.whole_headers()],
            "client": ("127.0.0.1", 50000),
            "server": ("localhost", 80),
            "state": dict(self._state),
            "extensions": {},
        }

    # WSGI

    def _by_wsgi(self, asked: Asked) -> Answer:
        answer, ended, left = Answer(), threading.Event(), threading.Event()

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            answer.status = int(status[:3])
            answer.headers = [(name.lower(), value) for name, value in headers]
            return answer.body.extend

        def call() -> None:
            result: Any = ()
            try:
                result = self._app.wsgi(self._environ(asked), start_response)
                for piece in result:
                    if left.is_set():
                        break
                    answer.body += piece
            except Exception as failure:
                answer.error = "the response was cut short" if answer.status else type(failure).__name__
            finally:
                if not left.is_set():
                    ended.set()
                if hasattr(result, "close"):
                    result.close()

        threading.Thread(target=call, daemon=True).start()
        if not ended.wait(self._timeout):
            left.set()
            return Answer(answer.status, list(answer.headers), answer.body[:], unfinished(self._timeout))
        return answer

    def _environ(self, asked: Asked) -> dict[str, Any]:
        path, _, query = asked.target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": asked.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "50000",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(asked.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in asked.whole_headers():
            if "_" in name:
                continue
            key = name.upper().replace("-", "_")
            key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
            if key in environ:
                separator = "; " if key == "HTTP_COOKIE" else ","
                environ[key] = f"{environ[key]}{separator}{value}"
            else:
                environ[key] = value
        return environ


def unfinished(timeout: float) -> str:
    """Return what is said of a response that goes on for too long."""
    return f"not complete after {timeout:g} s"
