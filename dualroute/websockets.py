"""WebSocket: a session with one peer, on ASGI.

The methods keep the ASGI event order (specification, "WebSocket"): a handshake is accepted, or refused by closing or
by a denial response; then messages go both ways; then either side closes.  A call out of order raises RuntimeError
that says what the state is.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from dualroute.connection import HTTPConnection, Place, StateT
from dualroute.datastructures import MutableHeaders
from dualroute.exceptions import HTTPException, WebSocketDisconnect, WebSocketException
from dualroute.exchange import Call
from dualroute.responses import PlainTextResponse, Response
from dualroute.targets import Target
from dualroute.types import Message, Receive, Scope, Send

if TYPE_CHECKING:
    from dualroute.exchange import Driver
    from dualroute.limits import Limits

__all__ = [
    "MalformedMessage",
    "StateT",
    "WebSocket",
    "WebSocketClose",
    "WebSocketDisconnect",
    "WebSocketDisconnected",
    "WebSocketState",
]

logger: logging.Logger = logging.getLogger("dualroute")


class WebSocketState(enum.Enum):
    """How far one side of a websocket has come."""

    CONNECTING = 0
    CONNECTED = 1
    DISCONNECTED = 2
    RESPONSE = 3
    """The handshake is being refused by an HTTP response."""


class MalformedMessage(WebSocketException, ValueError):
    """A message is not of the kind that was expected.  Unless it is caught, the websocket is closed with 1003.

    Args:
        reason: what the peer is told.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(1003, reason)


class WebSocketDisconnected(RuntimeError):
    """Something was to be sent or received on a websocket that is not open, or no longer."""


class WebSocket(HTTPConnection[StateT]):
    """A websocket.

    Args:
        scope: an ASGI scope of type "websocket".
        receive: the ASGI receive callable.
        send: the ASGI send callable.
    """

    is_websocket: ClassVar[bool] = True

    client_state: WebSocketState
    """How far the peer has come."""
    application_state: WebSocketState
    """How far this side has come."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope)
        self._open(receive, send)

    @classmethod
    def served(
        cls, scope: Scope, target: Target, place: Place, receive: Receive, send: Send, bridge: Any = None
    ) -> Self:
        """Return the websocket for a scope whose target was read before: how a dispatcher makes one.

        Args:
            scope: the ASGI scope.
            target: what was read of it.
            place: where routing led, with the limits that count there.
            receive: the ASGI receive callable.
            send: the ASGI send callable.
            bridge: does what needs a thread or a clock (`dualroute_asgi.sockets`).
        """
        self = cls.opened(scope, None, place, None)
        self._target = target
        self._open(receive, send)
        self._bridge = bridge
        self._limits = place.limits
        return self

    def _open(self, receive: Receive, send: Send) -> None:
        self._receive_event = receive
        self._send_event = send
        self._bridge: Any = None
        self._limits: Limits | None = None
        self.client_state = self.application_state = WebSocketState.CONNECTING

    @property
    def driver(self) -> Driver:
        driver: Driver = self._require_bridge("what is inside a middleware needs")
        return driver

    def inside_session(self, scope: Scope, receive: Receive, send: Send) -> Self:
        """Return this websocket as it goes on behind an ASGI middleware: see `inside_scope`.

        Args:
            scope: what the middleware has passed on.
            receive: where events come from now; those that this one's limits refuse do not come so far.
            send: where they go to.
        """
        view = self.inside_scope(scope, None)
        view._open(receive, send)
        view._bridge = self._bridge
        return view

    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols that the peer offers, in its order of preference."""
        return list(self.scope.get("subprotocols") or ())

    async def receive(self) -> Message:
        """Return the next event from the server.

        Raises WebSocketDisconnected after the disconnect event, and WebSocketException for a message that is larger,
        or does not come within the time, that `Limits` allow; unless it is caught, the websocket is closed.
        """
        if self.client_state is WebSocketState.DISCONNECTED:
            raise WebSocketDisconnected("nothing can be received: the websocket was disconnected")
        message = await (self._receive_event() if self._limits is None else self._receive_within(self._limits))
        kind = message["type"]
        if self.client_state is WebSocketState.CONNECTING:
            if kind == "websocket.connect":
                self.client_state = WebSocketState.CONNECTED
                return message
            if kind != "websocket.disconnect":
                raise RuntimeError(f"the server sent {kind!r} before 'websocket.connect'")
        if kind == "websocket.disconnect":
            self.client_state = WebSocketState.DISCONNECTED
        elif kind != "websocket.receive":
            raise RuntimeError(f"the server sent {kind!r} on an open websocket")
        return message

    async def _receive_within(self, limits: Limits) -> Message:
        timeout, size = limits.idle_timeout, limits.max_message_size
        if timeout is None or self._bridge is None or self.application_state is not WebSocketState.CONNECTED:
            message = await self._receive_event()
        else:
            try:
                message = await self._bridge.within(timeout, self._receive_event)
            except TimeoutError:
                raise WebSocketException(1001, f"no message came for {timeout:g} s") from None
        if size is not None and message["type"] == "websocket.receive" and _size_of(message, size) > size:
            logger.warning("websocket %s: a message of more than %d bytes was refused", self.printable_path, size)
            raise WebSocketException(1009, f"a message may have {size} bytes")
        return message

    def from_thread(self, function: Any, *args: Any) -> Any:
        """Await ``function(*args)`` on the event loop, from a thread that waits: what a SyncWebSocket does."""
        return self._require_bridge().from_thread(function, *args)

    async def in_thread(self, function: Any, *args: Any) -> Any:
        """Call `function` in a thread of the pool, and return what it returns."""
        return await self._require_bridge().in_thread(function, *args)

    def _require_bridge(self, who: str = "def methods need") -> Any:
        if self._bridge is None:
            raise RuntimeError(f"{who} a websocket that came through a DualRoute, a Router or another app")
        return self._bridge

    async def send(self, message: Message) -> None:
        """Send an event to the server.

        Raises RuntimeError for one out of order, WebSocketDisconnected after the last one, and WebSocketDisconnect
        where the peer is gone.
        """
        kind = message["type"]
        state = self.application_state
        if state is WebSocketState.CONNECTING:
            if kind == "websocket.accept":
                self.application_state = WebSocketState.CONNECTED
            elif kind == "websocket.close":
                self.application_state = WebSocketState.DISCONNECTED
            elif kind == "websocket.http.response.start":
                self.application_state = WebSocketState.RESPONSE
            else:
                raise RuntimeError(f"{kind!r} can't be sent: accept the websocket first")
        elif state is WebSocketState.CONNECTED:
            if kind == "websocket.close":
                self.application_state = WebSocketState.DISCONNECTED
            elif kind != "websocket.send":
                raise RuntimeError(f"{kind!r} can't be sent: the websocket was accepted before")
        elif state is WebSocketState.RESPONSE:
            if kind != "websocket.http.response.body":
                raise RuntimeError(f"{kind!r} can't be sent: the handshake is being refused by a response")
            if not message.get("more_body"):
                self.application_state = WebSocketState.DISCONNECTED
        else:
            raise WebSocketDisconnected(f"{kind!r} can't be sent: the websocket was closed")
        await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        try:
            await self._send_event(message)
        except Exception as error:
            if not _tells_of_a_close(error):
                raise
            self.application_state = WebSocketState.DISCONNECTED
            raise WebSocketDisconnect(1006) from None

    def choose_subprotocol(self, supported: Iterable[str]) -> str | None:
        """Return the first of `supported` that the peer offers, to accept with; None where it offers none of them.

        Args:
            supported: the subprotocols that the app speaks, the one that it likes best first.
        """
        offered = self.subprotocols
        return next((name for name in supported if name in offered), None)

    async def accept(
        self,
        subprotocol: str | None = None,
        headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """Accept the handshake.

        Args:
            subprotocol: one of `subprotocols`, or None.
            headers: further headers for the handshake's response: a mapping of text, or pairs of bytes.

        Raises ValueError for a subprotocol that the peer has not offered, which it would not take (RFC 6455 section
        4.1).
        """
        if subprotocol is not None and subprotocol not in self.subprotocols:
            raise ValueError(f"the peer has not offered the subprotocol {subprotocol!r}, but {self.subprotocols}")
        if self.client_state is WebSocketState.CONNECTING:
            message = await self.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code") or 1006, message.get("reason"))
        if headers is None:
            raw: list[tuple[bytes, bytes]] = []
        elif isinstance(headers, Mapping):
            raw = MutableHeaders(cast("Mapping[str, str]", headers)).raw
        else:
            raw = list(headers)
        await self.send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": raw})

    def _require_accepted(self) -> None:
        if self.application_state is WebSocketState.CONNECTING:
            raise WebSocketDisconnected("nothing can be received yet: accept the websocket first")

    async def _receive_message(self) -> Message:
        self._require_accepted()
        message = await self.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1005, message.get("reason"))
        return message

    async def receive_text(self) -> str:
        """Return the next message, which must be text.

        Raises WebSocketDisconnect where the websocket closed, and MalformedMessage for bytes.
        """
        text: str | None = (await self._receive_message()).get("text")
        if text is None:
            raise MalformedMessage("expected text messages")
        return text

    async def receive_bytes(self) -> bytes:
        """Return the next message, which must be bytes.

        Raises WebSocketDisconnect where the websocket closed, and MalformedMessage for text.
        """
        data: bytes | None = (await self._receive_message()).get("bytes")
        if data is None:
            raise MalformedMessage("expected bytes messages")
        return data

    async def receive_json(self, mode: str = "text") -> Any:
        """Return the next message parsed as JSON.

        Args:
            mode: "text" or "binary", the kind of message it must be.

        Raises WebSocketDisconnect where the websocket closed, and MalformedMessage for what is no JSON.
        """
        return decode_json_message(await (self.receive_text() if _text_mode(mode) else self.receive_bytes()))

    async def iter_text(self) -> AsyncIterator[str]:
        """Yield text messages until the websocket closes."""
        try:
            while True:
                yield await self.receive_text()
        except WebSocketDisconnect:
            return

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Yield bytes messages until the websocket closes."""
        try:
            while True:
                yield await self.receive_bytes()
        except WebSocketDisconnect:
            return

    async def iter_json(self, mode: str = "text") -> AsyncIterator[Any]:
        """Yield messages parsed as JSON until the websocket closes."""
        try:
            while True:
                yield await self.receive_json(mode)
        except WebSocketDisconnect:
            return

    async def send_text(self, data: str) -> None:
        """Send a text message."""
        await self.send({"type": "websocket.send", "text": data})

    async def send_bytes(self, data: bytes) -> None:
        """Send a bytes message."""
        await self.send({"type": "websocket.send", "bytes": data})

    async def send_json(self, data: Any, mode: str = "text") -> None:
        """Send a value as JSON, in a message of kind `mode`: "text" or "binary"."""
        import json

        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        if _text_mode(mode):
            await self.send_text(text)
        else:
            await self.send_bytes(text.encode())

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the websocket; before it was accepted, refuse the handshake (the peer then sees status 403).

        Args:
            code: the close code (RFC 6455 section 7.4).
            reason: the close reason, at most 123 bytes of UTF-8.

        Where the server takes no code between 1000 and 3000 from an application, as daphne does, the peer gets one that
        is 3000 higher: 4003 for 1003.

        Raises ValueError for a code that may not be sent, and for a reason that is longer.
        """
        if not _may_be_sent(code):
            raise ValueError(
                f"{code} is no code to close a websocket with; an app has 1000, 1001, 1003, 1007 to 1014, and 3000 to"
                " 4999 (RFC 6455 section 7.4)"
            )
        if reason is not None and len(reason.encode()) > _LONGEST_REASON:
            raise ValueError(f"the reason to close a websocket has at most 123 bytes of UTF-8: {reason!r}")
        message: Message = {"type": "websocket.close", "code": code, "reason": reason or ""}
        try:
            await self.send(message)
        except Exception as error:
            if isinstance(error, WebSocketDisconnect | WebSocketDisconnected) or not 1000 < code < 3000:
                raise
            await self._pass_on({**message, "code": code + 3000})

    async def send_denial_response(self, response: Response) -> None:
        """Refuse the handshake by an HTTP response; by a plain refusal (403) where the server can't send one.

        Raises RuntimeError where the websocket was accepted.
        """
        if self.application_state is not WebSocketState.CONNECTING:
            raise RuntimeError("the handshake can't be refused: the websocket was accepted or closed before")
        if "websocket.http.response" not in (self.scope.get("extensions") or {}):
            await self.close()
            return
        headers, _ = response.raw_wire("GET")
        await self.send(
            {
                "type": "websocket.http.response.start",
                "status": response.status_code,
                "headers": headers,
            }
        )
        await self.send({"type": "websocket.http.response.body", "body": response.body})

    async def finish(self, response: Response | None = None) -> None:
        """Bring the session to its end after its endpoint has: refuse with `response`, or close what is still open."""
        try:
            if self.application_state is WebSocketState.CONNECTING:
                if response is not None:
                    await self.send_denial_response(response)
                else:
                    await self.close()
            elif (
                self.application_state is WebSocketState.CONNECTED
                and self.client_state is not WebSocketState.DISCONNECTED
            ):
                await self.close(1000 if response is None else 1011)
        except WebSocketDisconnect:
            pass

    def refuse(self, error: Exception | None) -> Generator[Call, Any, Response | None]:
        """Answer an error: close with the code of a WebSocketException, refuse with the status of an HTTPException.

        Args:
            error: the exception, or None for one that nobody handled, which was logged.
        """
        if isinstance(error, WebSocketDisconnect):
            return None
        still_connecting = self.application_state is WebSocketState.CONNECTING
        if isinstance(error, HTTPException) and still_connecting:
            return error.response()
        if error is None and still_connecting:
            return PlainTextResponse("Internal Server Error", status_code=500)
        if self.application_state in (WebSocketState.CONNECTING, WebSocketState.CONNECTED):
            code, reason = (error.code, error.reason) if isinstance(error, WebSocketException) else (1011, "")
            code = code if _may_be_sent(code) else 1011
            reason = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
            if self.client_state is not WebSocketState.DISCONNECTED:
                yield Call.known(self._close_quietly, (code, reason), True)
        return None

    async def _close_quietly(self, code: int, reason: str) -> None:
        try:
            await self.close(code, reason)
        except WebSocketDisconnect:
            pass


class WebSocketClose:
    """An ASGI app that refuses a handshake, or closes a websocket that was accepted.

    Args:
        code: the close code (RFC 6455 section 7.4).
        reason: the close reason, at most 123 bytes of UTF-8.
    """

    def __init__(self, code: int = 1000, reason: str | None = None) -> None:
        self.code = code
        self.reason: str = reason or ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the event that closes the websocket."""
        await send({"type": "websocket.close", "code": self.code, "reason": self.reason})


def decode_json_message(data: str | bytes | None) -> Any:
    """Parse a message as JSON.  Raises MalformedMessage."""
    import json

    try:
        return json.loads(data or "")
    except (ValueError, RecursionError):
        raise MalformedMessage("expected JSON messages") from None


_LONGEST_REASON = 123
"""How many bytes a control frame has room for behind the code (RFC 6455 section 5.5)."""


def _may_be_sent(code: int) -> bool:
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


def _tells_of_a_close(error: Exception) -> bool:
    """Tell whether a server's `send` has failed since the websocket is closed.

    The specification has it raise OSError.  Gunicorn's worker lets through what uvloop raises, and daphne what autobahn
    raises.
    """
    return (
        isinstance(error, OSError)
        or (isinstance(error, RuntimeError) and "the handler is closed" in str(error))
        or type(error).__name__ == "Disconnected"
    )


def _size_of(message: Message, limit: int) -> int:
    text = message.get("text")
    if text is None:
        return len(message.get("bytes") or b"")
    # Looked at closely only where that decides.
    return len(text) if len(text) > limit else len(text.encode(errors="surrogatepass"))


def _text_mode(mode: str) -> bool:
    if mode not in ("text", "binary"):
        raise ValueError(f"the mode of a JSON message is 'text' or 'binary', not {mode!r}")
    return mode == "text"
