"""An app inside every middleware there is, for server processes: imported by them, as `middleware_apps`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

from apps import await_file, report, wait_for_file  # type: ignore[import-not-found]  # it stands beside this file

from dualroute import (
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
from dualroute.authentication import AuthCredentials, AuthenticationBackend, SimpleUser, requires
from dualroute.middleware import Middleware
from dualroute.middleware.authentication import AuthenticationMiddleware
from dualroute.middleware.compression import CompressionMiddleware
from dualroute.middleware.cors import CORSMiddleware
from dualroute.middleware.errors import ServerErrorMiddleware
from dualroute.middleware.httpsredirect import HTTPSRedirectMiddleware
from dualroute.middleware.proxy_headers import ProxyHeadersMiddleware
from dualroute.middleware.rate_limit import RateLimitMiddleware
from dualroute.middleware.request_id import RequestIDFilter, RequestIDMiddleware
from dualroute.middleware.sessions import SessionMiddleware
from dualroute.middleware.trustedhost import TrustedHostMiddleware


class ByHeader(AuthenticationBackend):
    """Believes whoever says a name."""

    def authenticate(self, conn: Any) -> tuple[AuthCredentials, SimpleUser] | None:
        name = conn.headers.get("x-user")
        return None if name is None else (AuthCredentials(["user"]), SimpleUser(name))


class _Reporter(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        report("named", request_id=vars(record)["request_id"], message=record.getMessage())


_reporter = _Reporter()
_reporter.addFilter(RequestIDFilter())
logging.getLogger("dualroute").addHandler(_reporter)


def facts(request: Any) -> dict[str, Any]:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return {
        "url": str(request.url),
        "client": request.client and request.client.host,
        "id": request.state.request_id,
        "user": request.user.display_name,
        "visits": request.session["visits"],
        "padding": "x" * 1000,
    }


@requires("user")
def about(request: SyncRequest) -> Response:
    return JSONResponse(facts(request))


@requires("user")
async def about_async(request: Request) -> Response:
    return JSONResponse(facts(request))


def events(request: SyncRequest) -> Response:
    token = request.query_params["token"]

    def pieces() -> Iterator[bytes]:
        yield b"data: one\n\n"
        wait_for_file(token)
        yield b"data: two\n\n"

    return StreamingResponse(pieces(), media_type="text/event-stream")


async def events_async(request: Request) -> Response:
    token = request.query_params["token"]

    async def pieces() -> AsyncIterator[bytes]:
        yield b"data: one\n\n"
        await await_file(token)
        yield b"data: two\n\n"

    return StreamingResponse(pieces(), media_type="text/event-stream")


def large(request: SyncRequest) -> Response:
    return PlainTextResponse("a large body, " * 100_000)


def endless(request: SyncRequest) -> Response:
    token = request.query_params["token"]

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"0123456789" * 1000
        finally:
            report("closed", token=token)

    return StreamingResponse(pieces())


def fail(request: SyncRequest) -> Response:
    password = "dear-secret"  # noqa: F841  # for the page to hide
    raise LookupError("boom")


def legacy(environ: Any, start_response: Any) -> Iterator[bytes]:
    """A WSGI app with a response that comes in pieces."""
    start_response("200 OK", [("content-type", "text/plain"), ("etag", '"v1"')])
    yield f"{environ['wsgi.url_scheme']} {environ['HTTP_HOST']} {environ['REMOTE_ADDR']}\n".encode()
    for _ in range(1000):
        yield b"a legacy piece, " * 200


@requires("user")
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(f"{websocket.url.scheme} {websocket.user.display_name} {websocket.state.request_id}")
    await websocket.close()


def made(*, debug: bool = False) -> DualRoute:
    return DualRoute(
        [
            Route("/", lambda request: PlainTextResponse("up")),
            Route("/about", about),
            Route("/about-async", about_async),
            Route("/events", events),
            Route("/events-async", events_async),
            Route("/large", large),
            Route("/endless", endless),
            Route("/fail", fail),
            Route(
                "/limited",
                lambda request: PlainTextResponse("ok"),
                middleware=[RateLimitMiddleware(1, 100_000)],
            ),
            Mount("/legacy", app=legacy),
            WebSocketRoute("/chat", chat),
        ],
        middleware=[
            ProxyHeadersMiddleware(x_for=1, x_proto=1, x_host=1),
            Middleware(RequestIDMiddleware),
            Middleware(ServerErrorMiddleware),
            Middleware(CORSMiddleware, allow_origins=["https://example.org"], allow_methods=["*"]),
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "*.example.org", "waiting"]),
            HTTPSRedirectMiddleware(),
            CompressionMiddleware(),
            Middleware(SessionMiddleware, secret_key="k", https_only=True),
            Middleware(AuthenticationMiddleware, backend=ByHeader()),
            RateLimitMiddleware(10_000, 100_000),
        ],
        debug=debug,
    )


app = made()
debugging = made(debug=True)
