"""SyncWebSocket: a websocket for the `def` methods of a WebSocketEndpoint, which run in a thread.

It has the names of `WebSocket`, without the need to await.  Each call is done on the event loop while the thread waits,
so one that sends to a slow peer waits as long as `await websocket.send_text(…)` would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from dualroute.connection import HTTPConnection
from dualroute.types import Message
from dualroute.websockets import WebSocket, WebSocketState

__all__ = ["SyncWebSocket"]


class SyncWebSocket(HTTPConnection):
    """What a `def` method of a WebSocketEndpoint gets in place of a WebSocket.

    There is nothing to receive by: that is what `on_receive` is for.
    """

    __slots__ = ("_websocket",)

    is_websocket: ClassVar[bool] = True

    _websocket: WebSocket

    @classmethod
    def over(cls, websocket: WebSocket) -> SyncWebSocket:
        """Return a view of a websocket; both share the state."""
        view = websocket._as(cls)
        assert isinstance(view, cls)
        view._websocket = websocket
        return view

    @property
    def client_state(self) -> WebSocketState:
        """How far the peer has come."""
        return self._websocket.client_state

    @property
    def application_state(self) -> WebSocketState:
        """How far this side has come."""
        return self._websocket.application_state

    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols that the peer offers, in its order of preference."""
        return self._websocket.subprotocols

    def choose_subprotocol(self, supported: Iterable[str]) -> str | None:
        """As `WebSocket.choose_subprotocol`."""
        return self._websocket.choose_subprotocol(supported)

    def send(self, message: Message) -> None:
        """As `WebSocket.send`."""
        self._websocket.from_thread(self._websocket.send, message)

    def accept(
        self,
        subprotocol: str | None = None,
        headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """As `WebSocket.accept`."""
        self._websocket.from_thread(self._websocket.accept, subprotocol, headers)

    def send_text(self, data: str) -> None:
        """Send a text message."""
        self._websocket.from_thread(self._websocket.send_text, data)

    def send_bytes(self, data: bytes) -> None:
        """Send a bytes message."""
        self._websocket.from_thread(self._websocket.send_bytes, data)

    def send_json(self, data: Any, mode: str = "text") -> None:
        """Send a value as JSON, in a message of kind `mode`: "text" or "binary"."""
        self._websocket.from_thread(self._websocket.send_json, data, mode)

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """As `WebSocket.close`."""
        self._websocket.from_thread(self._websocket.close, code, reason)
