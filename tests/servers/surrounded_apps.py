"""Apps inside middleware that others have written, and inside time limits, for server processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import sentry_sdk
from apps import await_file, report, wait_for_file  # type: ignore[import-not-found]  # it stands beside this file
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from prometheus_client import CollectorRegistry, make_wsgi_app
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
from sentry_sdk.transport import Transport
from starlette_exporter import PrometheusMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from dualroute import (
    BackgroundTask,
    DualRoute,
    JSONResponse,
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
from dualroute.middleware import Middleware
from dualroute.middleware.base import BaseHTTPMiddleware
from dualroute.middleware.wsgi import WSGIMiddleware


class Reporting(Transport):
    """Has what would be sent to Sentry reported to the test."""

    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            told = item.payload.json or {}
            if item.type not in ("event", "transaction"):
                continue
            values = (told.get("exception") or {}).get("values") or [{}]
            report(
                f"sentry {item.type}",
                name=told.get("transaction"),
                url=(told.get("request") or {}).get("url"),
                error=values[-1].get("value"),
                request_id=(told.get("tags") or {}).get("transaction_id"),
                user=(told.get("user") or {}).get("id"),
            )


sentry_sdk.init(
    dsn="http://key@127.0.0.1/1",
    transport=Reporting,
    traces_sample_rate=1.0,
    auto_enabling_integrations=False,
    shutdown_timeout=0,
)


def named(request: SyncRequest, number: int) -> Response:
    sentry_sdk.set_user({"id": f"user {number}"})
    return JSONResponse({"id": correlation_id.get(), "header": request.headers["x-request-id"], "number": number})


async def async_named(request: Request, number: int) -> Response:
    await asyncio.sleep(0)
    sentry_sdk.set_user({"id": f"user {number}"})
    return JSONResponse({"id": correlation_id.get(), "header": request.headers["x-request-id"], "number": number})


def fail(request: SyncRequest) -> Response:
    raise LookupError("boom")


async def async_fail(request: Request) -> Response:
    raise LookupError("boom")


async def echo(request: Request) -> Response:
    return StreamingResponse(request.stream(), background=BackgroundTask(report, "after", id=correlation_id.get()))


def pieces(request: SyncRequest) -> Response:
    token = request.query_params["token"]

    def made() -> Iterator[bytes]:
        try:
            yield b"first"
            wait_for_file(token)
            while True:
                yield b"piece" * 1000
        finally:
            report("closed", token=token)

    return StreamingResponse(made())


def async_pieces(request: SyncRequest) -> Response:
    token = request.query_params["token"]

    async def made() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await await_file(token)
            while True:
                yield b"piece" * 1000
        finally:
            report("closed", token=token)

    return StreamingResponse(made())


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(f"{await websocket.receive_text()} {correlation_id.get()}")


ROUTES: list[Any] = [
    Route("/named/{number:int}", named),
    Route("/async-named/{number:int}", async_named),
    Route("/fail", fail),
    Route("/async-fail", async_fail),
    Route("/echo", echo, methods=["POST"]),
    Route("/pieces", pieces),
    Route("/async-pieces", async_pieces),
    WebSocketRoute("/chat", chat),
]


class Stamping(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-stamp"] = f"{request.method} {correlation_id.get()}"
        return response


class SyncStamping(BaseHTTPMiddleware):
    def dispatch(self, request: SyncRequest, call_next: Any) -> Response:
        response: Response = call_next(request)
        response.headers["x-sync-stamp"] = f"{request.method} {correlation_id.get()}"
        return response


registry = CollectorRegistry()
app = DualRoute(
    [*ROUTES, Mount("/metrics", app=make_wsgi_app())],
    middleware=[
        Middleware(PrometheusMiddleware, app_name="shop", prefix="shop", group_paths=True),
        Middleware(SentryAsgiMiddleware),
        Middleware(CorrelationIdMiddleware),
        Middleware(Stamping),
        Middleware(SyncStamping),
    ],
)

wsgi_style = DualRoute(
    [
        *ROUTES,
        Route("/url", lambda request: PlainTextResponse(str(request.url))),
    ],
    middleware=[
        WSGIMiddleware(ProxyFix, x_host=1),
        WSGIMiddleware(SentryWsgiMiddleware),
        Middleware(CorrelationIdMiddleware),
        Middleware(SyncStamping),
    ],
)
