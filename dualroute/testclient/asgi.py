"""A request to an ASGI app (ASGI specification, "HTTP & WebSocket"), played from the thread of the test.

The app runs in a task on the client's loop.  A piece of its response is made when the one before it has been taken,
so nothing is buffered; a piece of the request's body is asked of the thread of the test, whose iterator it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import httpx

from dualroute.testclient.checks import AnswerStream, Checked, ProtocolViolation, raise_later, require
from dualroute.testclient.life import GRACE, LoopThread, Watched
from dualroute.types import Message

__all__ = ["ASGIAnswer", "ASGITransport", "PeerGone", "connection_scope", "is_from_leaving"]

logger: logging.Logger = logging.getLogger("dualroute")

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class PeerGone(OSError):
    """Raised towards the app where it sends to a client that has left."""

    def __init__(self) -> None:
        super().__init__("the client has left")


class ASGITransport(httpx.BaseTransport):
    """Calls an ASGI app as a server does.

    Args:
        app: the app.
        thread: returns the loop to run it on.
        raise_server_exceptions: whether its exceptions are raised in the test.
        root_path: where the app is mounted.
        client: the address of the client.
        state: what the app's start-up left for its requests.
    """

    def __init__(
        self,
        app: Any,
        thread: Callable[[], LoopThread],
        raise_server_exceptions: bool,
        root_path: str,
        client: tuple[str, int],
        state: dict[str, Any],
    ) -> None:
        self.app = app
        self.thread = thread
        self.raise_server_exceptions = raise_server_exceptions
        self.root_path = root_path
        self.client = client
        self.state = state
        self._open: set[ASGIAnswer] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        scope = {
            **connection_scope(request, self.root_path, self.client, self.state),
            "type": "http",
            "method": request.method,
            "extensions": {},
        }
        answer = ASGIAnswer(self.app, self.thread(), scope, request, self.raise_server_exceptions)
        self._open.add(answer)
        answer.forget = self._open.discard
        return answer.response()

    def close(self) -> None:
        """Leave what is still open."""
        for answer in list(self._open):
            answer.leave()


def connection_scope(
    request: httpx.Request, root_path: str, client: tuple[str, int], state: dict[str, Any]
) -> dict[str, Any]:
    """Return what the scopes of a request and of a websocket have in common."""
    url = request.url
    raw_path, _, query = url.raw_path.partition(b"?")
    path = unquote(raw_path.decode("ascii"))
    if root_path and path != root_path and not path.startswith(f"{root_path}/"):
        # The path holds the root path; a test may leave it out.
        path, raw_path = root_path + path, root_path.encode() + raw_path
    return {
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": url.scheme,
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": root_path,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": client,
        "server": (url.host, url.port or _PORTS.get(url.scheme)),
        "state": state.copy(),
    }


class ASGIAnswer(Watched):
    """One request to an ASGI app, under way.

    Args:
        app: the app.
        thread: the loop that it runs on.
        scope: the scope.
        request: what the scope is of, and the body.
        raise_server_exceptions: whether exceptions are raised in the test.
    """

    def __init__(
        self, app: Any, thread: LoopThread, scope: dict[str, Any], request: httpx.Request, raise_server_exceptions: bool
    ) -> None:
        super().__init__(thread)
        self._app = app
        self._scope = scope
        self._request = request
        self._raise = raise_server_exceptions
        self.forget: Callable[[ASGIAnswer], object] | None = None
        # On the loop's side.
        self._upload: Any = iter(request.stream)  # type: ignore[arg-type]  # a client that is not async has no other
        self._uploaded = False
        self._reading: asyncio.Future[bytes | None] | None = None
        self._sending: asyncio.Future[None] | None = None
        self._over = asyncio.Event()
        self._gone = False
        self._checked: Checked | None = None
        self._complete = False
        # Whether the response is what was made of a failure; one that comes later is raised at the end.
        self._failed_first = False
        # On the test's.
        self._upload_error: BaseException | None = None
        self._left = False
        self._closed = False
        self._body_ended = False

    # What the app calls.

    async def _call(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> Message:
        while not self._uploaded and not self._gone:
            if isinstance(self._request.stream, httpx.ByteStream):
                self._uploaded = True
                return {"type": "http.request", "body": b"".join(self._request.stream), "more_body": False}
            if self._reading is None:
                self._reading = self.thread.loop.create_future()
                self.inbox.put(self._reading)
            # One that is given up is still under way, and is taken up again.
            piece = await asyncio.shield(self._reading)
            self._reading = None
            if piece is None:
                break
            self._uploaded = not piece
            return {"type": "http.request", "body": piece, "more_body": bool(piece)}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if self._gone:
            raise PeerGone
        if kind == "http.response.start":
            require(self._checked is None, "the app sent http.response.start twice")
            headers = _checked_headers(message.get("headers", ()))
            self._checked = Checked(self._request.method, message["status"], headers)
            self._failed_first = bool(self.errors)
            self.inbox.put(self._checked)
            return
        require(kind == "http.response.body", f"the app sent {kind!r} to a request, which the server does not offer")
        checked = self._checked
        if checked is None:
            raise ProtocolViolation("the app sent http.response.body before http.response.start")
        require(not self._complete, "the app sent http.response.body after the response was complete")
        data = message.get("body", b"")
        require(
            isinstance(data, bytes | bytearray | memoryview), f"the app sent a body of {type(data).__name__}, not bytes"
        )
        data = checked.count(bytes(data))
        if not message.get("more_body", False):
            checked.end()
            self._complete = True
            self._over.set()
            self.inbox.put((data, None))
        elif data:
            self._sending = self.thread.loop.create_future()
            self.inbox.put((data, self._sending))
            await self._sending

    def _leave(self) -> None:
        self._gone = True
        self._over.set()
        if self._reading is not None:
            _settle(self._reading, None)
        if self._sending is not None and not self._sending.done():
            self._sending.set_exception(PeerGone())

    # What the test's thread does.

    def response(self) -> httpx.Response:
        """Start the request, and return its response when that has begun.  Raises what the app failed with."""
        self.begin(self._call)
        try:
            start: Any = None
            while not self.ended and start is None:
                start = self._serve(self.take())
        except BaseException:  # a signal, or a body that can't be read
            self.leave()
            raise
        if start is None:
            return self._without_response()
        if self._failed_first and self._raise:
            for _ in self.pieces():
                pass
        return httpx.Response(
            start.status, headers=start.headers, stream=AnswerStream(self), request=self._request, extensions=_HTTP
        )

    def _without_response(self) -> httpx.Response:
        self._close()
        self._raise_failure()
        if self._raise:
            raise ProtocolViolation("the app returned without a response")
        return httpx.Response(500, request=self._request, extensions=_HTTP)

    def pieces(self) -> Iterator[bytes]:
        try:
            while not self.ended and not self._body_ended:
                item = self._serve(self.take())
                if isinstance(item, tuple):
                    data, sending = item
                    if sending is None:
                        self._body_ended = True
                    else:
                        self.thread.soon(_settle, sending, None)
                    if data:
                        yield data
        except GeneratorExit:
            raise
        except BaseException:
            self.leave()
            raise
        self._close()
        self._raise_failure()
        if not self._complete:
            if self._raise:
                raise ProtocolViolation("the app returned before its response was complete")
            raise httpx.RemoteProtocolError("the app cut its response short", request=self._request)

    def close(self) -> None:
        if not self._closed:
            self._close()
            self._raise_failure()

    def leave(self) -> None:
        """End the request, whatever the app failed with."""
        if not self._closed:
            self._close()

    def _close(self) -> None:
        """Wait for the call to end; if the response is not complete, leave before that."""
        self._closed = True
        if not self.ended and not self._complete:
            self._left = True
            self.thread.soon(self._leave)
            if not self.await_end(self._drop, GRACE):
                self.cancel()
                if not self.await_end(self._drop, GRACE):
                    logger.warning("%s goes on after its client has left", self._request)
        else:
            # Background tasks, which the server's own task waits for too.
            self.await_end(self._serve)
        if self.forget is not None:
            self.forget(self)

    def _drop(self, item: Any) -> None:
        if isinstance(item, asyncio.Future):
            self.thread.soon(_settle, item, None)

    def _serve(self, item: Any) -> Any:
        """Return an item of the inbox; read a piece of the body, where that is what it asks for."""
        if not isinstance(item, asyncio.Future):
            return item if item is not self else None
        try:
            piece = next((piece for piece in self._upload if piece), b"")
        except BaseException as error:
            self._upload_error = error
            raise
        self.thread.soon(_settle, item, piece)
        return None

    def _raise_failure(self) -> None:
        """Raise what the app failed with, if the test wants to see it."""
        error = self.failure()
        if self._left and error is not None and (is_from_leaving(error) or (self.task and self.task.cancelled())):
            error = None
        if isinstance(error, ProtocolViolation):
            raise_later(error)
        if self._raise and self.errors:
            error = self.errors[0]
        if error is not None and self._raise:
            raise_later(error)


_HTTP: dict[str, Any] = {"http_version": b"HTTP/1.1"}


def is_from_leaving(error: BaseException | None) -> bool:
    """Tell whether an exception comes from sending to a client that has left."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, PeerGone):
            return True
        error = error.__cause__ or error.__context__
        seen += 1
    return False


def _checked_headers(headers: Any) -> list[tuple[bytes, bytes]]:
    pairs = [tuple(pair) for pair in headers]
    for pair in pairs:
        require(
            len(pair) == 2 and isinstance(pair[0], bytes) and isinstance(pair[1], bytes),
            f"a header is a pair of bytes, not {pair!r}",
        )
    return [(name, value) for name, value in pairs]


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)
