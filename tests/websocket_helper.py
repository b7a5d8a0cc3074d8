"""A websocket peer for tests: plays one session with an ASGI app in-process and tells what the app sent."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote


def text(data: str) -> dict[str, Any]:
    """Return the event that brings a text message."""
    return {"type": "websocket.receive", "text": data}


def data(data: bytes) -> dict[str, Any]:
    """Return the event that brings a bytes message."""
    return {"type": "websocket.receive", "bytes": data}


def websocket_scope(path: str, **keys: Any) -> dict[str, Any]:
    """Return a websocket scope for `path`, with further or other keys."""
    path, _, query = path.partition("?")
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
        "subprotocols": [],
        "state": {},
        **keys,
    }


def converse(app: Any, path: str, *events: dict[str, Any], code: int = 1000, **keys: Any) -> list[dict[str, Any]]:
    """Play a session: connect, send `events`, then go away.  Return what the app sent.

    Args:
        app: the ASGI app.
        path: the path, with a query if need be.
        events: what the peer sends, each when the app asks for it: see `text` and `data`.
        code: the close code with which it goes.
        keys: further keys of the scope.
    """
    sent: list[dict[str, Any]] = []
    coming = [{"type": "websocket.connect"}, *events, {"type": "websocket.disconnect", "code": code}]

    async def receive() -> dict[str, Any]:
        if not coming:
            raise AssertionError("the app asked for an event after the disconnect")
        return coming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(dict(message))

    async def session() -> None:
        await asyncio.wait_for(app(websocket_scope(path, **keys), receive, send), 30)

    asyncio.run(session())
    return sent


def messages(sent: list[dict[str, Any]]) -> list[str | bytes]:
    """Return the texts and bytes of the messages among what an app sent."""
    return [
        event["text"] if event.get("text") is not None else event["bytes"]
        for event in sent
        if event["type"] == "websocket.send"
    ]


def closed_with(sent: list[dict[str, Any]]) -> int | None:
    """Return the code with which an app closed or refused the session, or None where it did neither."""
    codes = [event["code"] for event in sent if event["type"] == "websocket.close"]
    return codes[-1] if codes else None
