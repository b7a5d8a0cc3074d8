"""What the tests of middleware share: one site with every kind of answer, and handshakes of websockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from dualroute import (
    DualRoute,
    HTTPException,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)
from tests.websocket_helper import converse

PIECES = [b"first piece,", b"second piece,", b"third piece"] * 20
WHOLE = b"".join(PIECES)


def plain(request: SyncRequest) -> Response:
    return PlainTextResponse("plain")


async def asynchronous(request: Request) -> Response:
    return PlainTextResponse("asynchronous")


def stream(request: SyncRequest) -> Response:
    return StreamingResponse(iter(PIECES), media_type="text/plain")


async def async_stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in PIECES:
            await asyncio.sleep(0)
            yield piece

    return StreamingResponse(pieces(), media_type="text/plain")


def fail(request: SyncRequest) -> Response:
    raise LookupError("boom")


async def async_fail(request: Request) -> Response:
    raise LookupError("boom")


def fail_at_once(request: SyncRequest) -> Response:
    def pieces() -> Iterator[bytes]:
        raise LookupError("boom")
        yield b""

    return StreamingResponse(pieces(), media_type="text/plain")


def teapot(request: SyncRequest) -> Response:
    raise HTTPException(418, "short and stout")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("served")
    await websocket.close()


def flask_app() -> Any:
    import flask

    app = flask.Flask("inner")

    @app.get("/stream")
    def stream() -> Any:
        return flask.Response(iter(PIECES), mimetype="text/plain")

    @app.get("/text")
    def text() -> Any:
        return flask.Response(WHOLE, mimetype="text/plain", headers={"etag": '"v1"'})

    @app.get("/about")
    def about() -> Any:
        return {"url": flask.request.url, "client": flask.request.remote_addr, "root": flask.request.script_root}

    return app


def fastapi_app() -> Any:
    import fastapi
    from fastapi.responses import StreamingResponse as Streaming

    app = fastapi.FastAPI()

    @app.get("/stream")
    async def stream() -> Any:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in PIECES:
                yield piece

        return Streaming(pieces(), media_type="text/plain")

    @app.get("/text")
    def text() -> Any:
        return {"text": WHOLE.decode()}

    def about(request: Any) -> Any:
        client = request.client
        return {
            "url": str(request.url),
            "client": client and client.host,
            "root": request.scope["root_path"],
            "base": str(request.base_url),
        }

    about.__annotations__["request"] = fastapi.Request  # which it looks for among the names of this module
    app.get("/about")(about)
    return app


def site(middleware: Sequence[Any], *routes: Any, **options: Any) -> DualRoute:
    """Return an app with every kind of answer inside `middleware`."""
    return DualRoute(
        [
            Route("/", plain),
            Route("/async", asynchronous),
            Route("/stream", stream),
            Route("/async-stream", async_stream),
            Route("/fail", fail),
            Route("/async-fail", async_fail),
            Route("/fail-at-once", fail_at_once),
            Route("/teapot", teapot),
            WebSocketRoute("/ws", echo),
            Mount("/flask", app=flask_app()),
            Mount("/fastapi", app=fastapi_app()),
            *routes,
        ],
        middleware=middleware,
        **options,
    )


def handshake(app: Any, path: str = "/ws", headers: dict[str, str] | None = None, **keys: Any) -> dict[str, Any]:
    """Return the first thing that an app answers to a websocket handshake."""
    raw = [(b"host", b"testserver")] if headers is None or "host" not in headers else []
    raw += [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    extensions: dict[str, Any] = {"websocket.http.response": {}}
    return converse(app, path, **{"headers": raw, "extensions": extensions, **keys})[0]


def denied(message: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """Return the status and the headers with which a handshake was refused."""
    assert message["type"] == "websocket.http.response.start", message
    return message["status"], {name.decode(): value.decode("latin-1") for name, value in message["headers"]}


def accepted(message: dict[str, Any]) -> bool:
    """Tell whether a handshake was accepted."""
    return bool(message["type"] == "websocket.accept")
