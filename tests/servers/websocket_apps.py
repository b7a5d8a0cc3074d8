"""Websockets whose methods are `def`, that have limits, subprotocols and origins, for the server processes."""

from __future__ import annotations

import os
import threading
from typing import Any

from apps import report  # type: ignore[import-not-found]  # it is beside this one in the server's process

from dualroute import DualRoute, Limits, SyncWebSocket, WebSocket, WebSocketEndpoint, WebSocketRoute, check_origin


class Plain(WebSocketEndpoint):
    encoding = "text"

    def on_connect(self, websocket: SyncWebSocket, token: str) -> None:
        websocket.accept()
        websocket.send_text(threading.current_thread().name)

    def on_receive(self, websocket: SyncWebSocket, data: str) -> None:
        if data == "flood":
            for _ in range(200):
                websocket.send_bytes(bytes(100_000))
        elif data == "close":
            websocket.close(4000, "grüß dich")
        else:
            websocket.send_text(f"echo {data}")

    def on_disconnect(self, websocket: SyncWebSocket, close_code: int) -> None:
        report("ended", token=websocket.path_params["token"], code=close_code)


MESSAGE = os.urandom(100_000)  # which no compression makes small
MESSAGES = 300
"""Far more than buffers on the way hold."""


class Pouring(WebSocketEndpoint):
    """Sends as fast as it can, and tells how far it has come."""

    encoding = "text"

    async def on_receive(self, websocket: WebSocket, data: str) -> None:
        for number in range(MESSAGES):
            await websocket.send_bytes(MESSAGE)
            report("sent", token=data, number=number)


class PlainPouring(WebSocketEndpoint):
    encoding = "text"

    def on_receive(self, websocket: SyncWebSocket, data: str) -> None:
        for number in range(MESSAGES):
            websocket.send_bytes(MESSAGE)
            report("sent", token=data, number=number)


class Echo(WebSocketEndpoint):
    subprotocols = ("v2", "v1")

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_text(f"echo {len(data)}")


app = DualRoute(
    [
        WebSocketRoute("/plain/{token}", Plain),
        WebSocketRoute("/pouring", Pouring),
        WebSocketRoute("/plain-pouring", PlainPouring),
        WebSocketRoute("/limited", Echo, limits=Limits(max_message_size=1000)),
        WebSocketRoute("/idle", Echo, limits=Limits(idle_timeout=0.5)),
        WebSocketRoute("/own", Echo, middleware=[check_origin()]),
    ]
)
