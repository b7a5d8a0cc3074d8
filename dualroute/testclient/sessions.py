"""A websocket, played from the thread of the test (ASGI specification, "HTTP & WebSocket")."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from dualroute.exceptions import WebSocketDisconnect
from dualroute.testclient.asgi import PeerGone, is_from_leaving
from dualroute.testclient.checks import ProtocolViolation, raise_later, require
from dualroute.testclient.life import GRACE, LoopThread, Watched
from dualroute.types import Message, Scope

__all__ = ["WebSocketDenialResponse", "WebSocketTestSession"]

logger: logging.Logger = logging.getLogger("dualroute")


class WebSocketDenialResponse(httpx.Response, WebSocketDisconnect):  # type: ignore[misc]  # nobody pickles one
    """The handshake was refused by an HTTP response, which this is; `code` is 1006, as for any that came to nothing.

    Args:
        response: the response, read to its end.
    """

    def __init__(self, response: httpx.Response) -> None:
        WebSocketDisconnect.__init__(self, 1006)
        httpx.Response.__init__(
            self, response.status_code, headers=response.headers, content=response.content, request=response.request
        )

    def __str__(self) -> str:
        return f"the websocket was refused with status {self.status_code}: {self.text[:1000]}"


class WebSocketTestSession:
    """A websocket with the app, opened by a ``with`` block and closed at its end.

    It is made by `TestClient.websocket_connect`.

    Entering raises WebSocketDisconnect where the app refuses, a WebSocketDenialResponse where it does so by a response
    or the protocol is WSGI, which has no websockets; and what the app fails with.
    """

    accepted_subprotocol: str | None
    """The subprotocol that the app chose."""
    extra_headers: list[tuple[bytes, bytes]]
    """The headers of its answer to the handshake."""

    def __init__(
        self,
        app: Any,
        request: httpx.Request,
        scope: Scope | None,
        thread: Callable[[], LoopThread],
        answer: Callable[[httpx.Request], httpx.Response],
        raise_server_exceptions: bool,
    ) -> None:
        self.app: Any = app
        self.scope: Scope | None = scope
        self.accepted_subprotocol = None
        self.extra_headers = []
        self._request = request
        self._thread = thread
        self._answer = answer
        self._raise = raise_server_exceptions
        self._peer: _Peer | None = None

    def __enter__(self) -> Self:
        if self.scope is None:
            response = self._answer(self._request)
            try:
                response.read()
            finally:
                response.close()
            raise WebSocketDenialResponse(response)
        self._peer = _Peer(self.app, self._thread(), self.scope, self._raise)
        self._peer.begin(self._peer.call)
        self.send({"type": "websocket.connect"})
        try:
            message = self.receive()
            self._raise_on_close(message)
            require(
                message["type"] == "websocket.accept",
                f"the app sent {message['type']!r} before it accepted the websocket",
            )
        except BaseException:
            self._peer.leave(1006, "", quietly=True)
            raise
        self.accepted_subprotocol = message.get("subprotocol")
        self.extra_headers = [(bytes(name), bytes(value)) for name, value in message.get("headers") or ()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened().leave(1000, "", quietly=error is not None)

    def _opened(self) -> _Peer:
        if self._peer is None:
            raise RuntimeError("the websocket is opened by a with block: with client.websocket_connect(…) as session")
        return self._peer

    def _raise_on_close(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.close":
            self._opened().raise_noted()
            raise WebSocketDisconnect(message.get("code") or 1000, message.get("reason"))
        if kind == "websocket.http.response.start":
            pieces: list[bytes] = []
            more = True
            while more:
                body = self.receive()
                require(
                    body["type"] == "websocket.http.response.body", f"the app sent {body['type']!r} within a denial"
                )
                pieces.append(body.get("body", b""))
                more = body.get("more_body", False)
            self._opened().raise_noted()
            raise WebSocketDenialResponse(
                httpx.Response(
                    message["status"],
                    headers=list(message.get("headers") or ()),
                    content=b"".join(pieces),
                    request=self._request,
                )
            )

    def send(self, message: Message) -> None:
        """Hand the app an event."""
        self._opened().send(message)

    def send_text(self, data: str) -> None:
        """Send a text message."""
        self.send({"type": "websocket.receive", "text": data})

    def send_bytes(self, data: bytes) -> None:
        """Send a bytes message."""
        self.send({"type": "websocket.receive", "bytes": data})

    def send_json(self, data: Any, mode: Literal["text", "binary"] = "text") -> None:
        """Send a value as JSON, in a message of kind `mode`."""
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        if mode == "text":
            self.send_text(text)
        else:
            self.send_bytes(text.encode())

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the websocket from this side."""
        self._opened().disconnect(code, reason or "")

    def receive(self) -> Message:
        """Return the next event from the app.

        Raises what the app failed with, and WebSocketDisconnect where it has ended: 1011 where it failed
        (``raise_server_exceptions=False``), and 1006 where it did not close the websocket.
        """
        return self._opened().receive()

    def receive_text(self) -> str:
        """Return the next message, which must be text.  Raises WebSocketDisconnect where the app closed."""
        text = self._receive_message("text")
        assert isinstance(text, str)
        return text

    def receive_bytes(self) -> bytes:
        """Return the next message, which must be bytes.  Raises WebSocketDisconnect where the app closed."""
        data = self._receive_message("bytes")
        assert isinstance(data, bytes)
        return data

    def receive_json(self, mode: Literal["text", "binary"] = "text") -> Any:
        """Return the next message, of kind `mode`, parsed as JSON.  Raises WebSocketDisconnect where the app closed."""
        return json.loads(self.receive_text() if mode == "text" else self.receive_bytes())

    def _receive_message(self, kind: str) -> Any:
        message = self.receive()
        self._raise_on_close(message)
        data = message.get(kind)
        if message["type"] != "websocket.send" or data is None:
            raise AssertionError(f"expected a message of {kind}; the app sent {dict(message)!r:.200}")
        return data


class _Peer(Watched):
    """The other end of a websocket."""

    def __init__(self, app: Any, thread: LoopThread, scope: Scope, raise_server_exceptions: bool) -> None:
        super().__init__(thread)
        self._app = app
        self._scope = scope
        self._raise = raise_server_exceptions
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        # On the loop's side.
        self._gone = False
        self._accepted = False
        # On the test's.
        self._disconnected = False
        self._cancelled = False
        self._told = False

    async def call(self) -> None:
        """Call the app."""
        await self._app(self._scope, self._events.get, self._send)

    async def _send(self, message: Message) -> None:
        if self._gone:
            raise PeerGone
        kind = message["type"]
        self._accepted = self._accepted or kind == "websocket.accept"
        if kind == "websocket.close":
            self._leave(message.get("code") or 1000, message.get("reason") or "")
        self.inbox.put(message)

    def _leave(self, code: int, reason: str) -> None:
        if not self._gone:
            self._gone = True
            self._events.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})

    def send(self, message: Message) -> None:
        if not self.thread.soon(self._events.put_nowait, message):
            raise RuntimeError("the client was closed")

    def disconnect(self, code: int, reason: str) -> None:
        if not self._disconnected:
            self._disconnected = True
            self.thread.soon(self._leave, code, reason)

    def receive(self) -> Message:
        message: Any = self if self.ended else self.take()
        if message is not self:
            return message  # type: ignore[no-any-return]
        self._raise_failure()
        if not self._accepted:
            if self._raise:
                raise ProtocolViolation("the app returned without accepting or refusing the websocket")
            raise WebSocketDenialResponse(httpx.Response(500))
        raise WebSocketDisconnect(1011 if self.failure() else 1006)

    def leave(self, code: int, reason: str, *, quietly: bool) -> None:
        """Close the websocket and wait for the app to end.  Raises what it failed with, unless `quietly`."""
        self.disconnect(code, reason)
        if not self.await_end(_ignore, GRACE):
            self._cancelled = True
            self.cancel()
            if not self.await_end(_ignore, GRACE):
                logger.warning("the websocket %s goes on after its peer has left", self._scope["path"])
        if not quietly and not self._told:
            self._raise_failure()

    def raise_noted(self) -> None:
        """Raise the first exception that nobody handled, if the test wants to see it."""
        if self.errors and self._raise:
            self._told = True
            raise_later(self.errors[0])

    def _raise_failure(self) -> None:
        self.raise_noted()
        error = self.failure()
        if error is None or not self._raise:
            return
        if self._disconnected and (self._cancelled or is_from_leaving(error)):
            return
        self._told = True
        raise_later(error)


def _ignore(item: Any) -> None:
    pass
