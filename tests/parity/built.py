"""An app made of a drawn table: plain values, which JSON can hold, in; a DualRoute out.

What endpoints and middleware see is noted in a list, so that two runs can be compared.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

from dualroute import (
    Call,
    DualRoute,
    Host,
    HTTPEndpoint,
    Limits,
    Mount,
    PlainTextResponse,
    Response,
    Route,
    Router,
    StaticFiles,
    WebSocketRoute,
)
from dualroute.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from dualroute.middleware import Middleware
from dualroute.middleware.asgi import ASGIMiddleware
from dualroute.middleware.authentication import AuthenticationMiddleware
from dualroute.middleware.base import BaseHTTPMiddleware
from dualroute.middleware.body_limit import RequestBodyLimitMiddleware
from dualroute.middleware.compression import CompressionMiddleware
from dualroute.middleware.cors import CORSMiddleware
from dualroute.middleware.errors import ServerErrorMiddleware
from dualroute.middleware.gzip import GZipMiddleware
from dualroute.middleware.httpsredirect import HTTPSRedirectMiddleware
from dualroute.middleware.proxy_headers import ProxyHeadersMiddleware
from dualroute.middleware.rate_limit import MemoryStore, RateLimitMiddleware
from dualroute.middleware.request_id import RequestIDMiddleware
from dualroute.middleware.sessions import SessionMiddleware
from dualroute.middleware.trustedhost import TrustedHostMiddleware
from dualroute.middleware.wsgi import WSGIMiddleware
from dualroute.rules import RuleRouter
from tests.parity.behaviours import Odd, Options, Seen, Teapot, coloured, sample_folder

__all__ = ["FOREIGN_CLOSED", "FOREIGN_OPENED", "MIDDLEWARE", "build"]

FOREIGN_OPENED = "the body of a mounted app is begun"
FOREIGN_CLOSED = "the body of a mounted app is closed"

METHODS = ("get", "post", "put", "delete")


def build(table: dict[str, Any], seen: Seen) -> DualRoute:
    """Return the app.  Raises ValueError or TypeError for a table that the framework refuses."""
    return DualRoute(
        [_route(route, seen) for route in table["routes"]],
        middleware=_stack(table, seen),
        exception_handlers=_handlers(table, seen),
        redirect_slashes=table.get("redirect_slashes"),
        fallback=_foreign(table["fallback"], seen) if table.get("fallback") else None,
        fallback_on_405=bool(table.get("fallback") and table.get("fallback_on_405")),
        limits=Limits(**table["limits"]) if table.get("limits") else None,
        lifespan=_lifespan(table["lifespan"], seen) if table.get("lifespan") else None,
    )


def _stack(place: dict[str, Any], seen: Seen) -> list[Any]:
    return [_middleware(options, seen) for options in place.get("middleware", ())]


def _route(route: dict[str, Any], seen: Seen) -> Any:
    around = _stack(route, seen)
    limits = Limits(**route["limits"]) if route.get("limits") else None
    match route["kind"]:
        case "route":
            endpoint, options = _endpoint(route, seen)
            return Route(
                route["path"],
                endpoint,
                methods=route.get("methods"),
                name=route.get("name"),
                middleware=around,
                limits=limits,
                **options,
            )
        case "mount":
            inner = [_route(each, seen) for each in route["routes"]]
            name = route.get("name")
            return Mount(route["path"], routes=inner, name=name, middleware=around, limits=limits)
        case "host":
            inner = [_route(each, seen) for each in route["routes"]]
            return Host(route["host"], Router(inner), name=route.get("name"), middleware=around, limits=limits)
        case "app":
            return Mount(route["path"], app=build(route["app"], seen), name=route.get("name"), middleware=around)
        case "foreign":
            return Mount(route["path"], app=_foreign(route, seen), middleware=around, limits=limits)
        case "static":
            return Mount(
                route["path"], app=StaticFiles(directory=sample_folder(), html=route["html"]), middleware=around
            )
        case "rules":
            rules = [(rule["pattern"], _endpoint(rule, seen)[0]) for rule in route["rules"]]
            return Mount(route["path"], app=RuleRouter(rules), middleware=around)
        case "websocket":
            return WebSocketRoute(route["path"], _websocket)
    raise ValueError(route["kind"])


async def _websocket(websocket: Any) -> None:
    await websocket.close()


def _endpoint(route: dict[str, Any], seen: Seen) -> tuple[Any, dict[str, Any]]:
    does, colour = route["does"], route["colour"]
    if colour == "inline":
        return coloured(does, seen, False), {"sync_to_thread": False}
    if colour in ("def", "async def"):
        return coloured(does, seen, colour == "async def"), {}
    # A class, each of whose methods has a colour in turn.
    methods: dict[str, Any] = {}
    for number, method in enumerate(route.get("class_methods", METHODS)):
        methods[method.lower()] = _method(coloured(does, seen, number % 2 == 0), number % 2 == 0)
    return type("Drawn", (HTTPEndpoint,), methods), {}


def _method(function: Callable[[Any], Any], is_async: bool) -> Callable[..., Any]:
    async def asynchronous(self: Any, request: Any, *args: Any, **params: Any) -> Any:
        return await function(request)

    def synchronous(self: Any, request: Any, *args: Any, **params: Any) -> Any:
        return function(request)

    return asynchronous if is_async else synchronous


# Exception handlers and lifespans.


def _handlers(table: dict[str, Any], seen: Seen) -> dict[Any, Any]:
    keys: dict[str, Any] = {"teapot": Teapot, "exception": Exception, "404": 404, "405": 405, "500": 500, "409": 409}
    keys["odd"] = Odd
    return {keys[name]: _handler(name, colour, seen) for name, colour in table.get("handlers", {}).items()}


def _handler(name: str, colour: str, seen: Seen) -> Any:
    def synchronous(request: Any, error: Exception) -> Response:
        seen.append((name, type(error).__name__, str(error)))
        if colour == "fails":
            raise LookupError("the handler fails")
        return PlainTextResponse(f"{name}: {error}", getattr(error, "status_code", 418), {"x-handled": name})

    async def asynchronous(request: Any, error: Exception) -> Response:
        return synchronous(request, error)

    return asynchronous if colour == "async def" else synchronous


def _lifespan(kind: str, seen: Seen) -> Any:
    @contextlib.asynccontextmanager
    async def asynchronous(app: Any) -> AsyncIterator[dict[str, Any]]:
        seen.append("start")
        yield {"pool": "open"}
        seen.append("stop")

    @contextlib.contextmanager
    def plain(app: Any) -> Iterator[dict[str, Any]]:
        seen.append("start")
        yield {"pool": "open"}
        seen.append("stop")

    return asynchronous if kind == "async def" else plain


# Apps of other kinds.


def _foreign(options: dict[str, Any], seen: Seen) -> Any:
    status, headers, pieces = options["status"], options["headers"], options["pieces"]
    raw = [piece.encode("latin-1") for piece in pieces]
    fails = options.get("fails")

    def wsgi(environ: Any, start_response: Any) -> Any:
        seen.append(("wsgi", environ["REQUEST_METHOD"], environ["SCRIPT_NAME"], environ["PATH_INFO"]))
        if options.get("reads"):
            length = int(environ.get("CONTENT_LENGTH") or 0)
            seen.append(environ["wsgi.input"].read(length))
        if fails == "before":
            raise Teapot("in a WSGI app")
        start_response(f"{status} Told", [tuple(pair) for pair in headers])
        return made()

    def made() -> Iterator[bytes]:
        seen.append(FOREIGN_OPENED)
        try:
            yield from raw
            if fails == "within":
                raise Teapot("within a WSGI app")
        finally:
            seen.append(FOREIGN_CLOSED)

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")
        root_path = scope["root_path"]
        seen.append(("asgi", scope["method"], root_path, scope["path"].removeprefix(root_path)))
        if options.get("reads"):
            body, more = b"", True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            seen.append(body)
        if fails == "before":
            raise Teapot("in an ASGI app")
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        for piece in raw:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if fails == "within":
            raise Teapot("within an ASGI app")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return wsgi if options["protocol"] == "WSGI" else asgi


# Middleware.


def _noting(options: Options, seen: Seen) -> Any:
    name, does = options.get("name", "m"), options.get("does", "")

    async def on_loop(value: str) -> str:
        return value.upper()

    def middleware(connection: Any) -> Generator[Any, Any, Any]:
        seen.append((name, "in", connection.method, connection.path))
        if does == "early":
            return PlainTextResponse("early", 202)
        if does == "fails before":
            raise Teapot(name)
        if does in ("calls", "calls async"):
            seen.append((yield Call(on_loop if does == "calls async" else str.upper, name)))
        try:
            response = yield connection
            if does == "again":
                response = yield connection
        except Exception as error:
            seen.append((name, "sees", type(error).__name__, str(error)))
            if does == "swallows":
                return PlainTextResponse("swallowed", 500)
            raise
        finally:
            seen.append((name, "out"))
        if does == "amends":
            connection.amend(lambda answer: answer.headers.append("x-amended", name))
        response.headers[f"x-{name}"] = str(response.status_code)
        if does == "calls after":
            seen.append((yield Call(on_loop, name)))
        if does == "fails after":
            raise ValueError(name)
        if does == "another":
            return PlainTextResponse("another", 203)
        return None if does == "nothing" else response

    return middleware


def _based(options: Options, seen: Seen) -> Any:
    does = options.get("does", "")

    class Asynchronous(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            seen.append(("base in", request.method, request.path))
            if does == "reads":
                seen.append(await request.body())
            if does == "early":
                return PlainTextResponse("early")
            response = await call_next(request)
            response.headers["x-base"] = str(response.status_code)
            return response

    class Synchronous(BaseHTTPMiddleware):
        def dispatch(self, request: Any, call_next: Any) -> Any:
            seen.append(("base in", request.method, request.path))
            if does == "reads":
                seen.append(request.body())
            if does == "early":
                return PlainTextResponse("early")
            response = call_next(request)
            response.headers["x-base"] = str(response.status_code)
            return response

    return Middleware(Asynchronous if options["is_async"] else Synchronous)


def _pure_asgi(options: Options, seen: Seen) -> Any:
    class Pure:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await self.app(scope, receive, send)
                return
            seen.append(("asgi in", scope["method"], scope["path"]))

            async def sending(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], (b"x-asgi", b"1")]}
                await send(message)

            await self.app(scope, receive, sending)

    return ASGIMiddleware(Pure)


def _pure_wsgi(options: Options, seen: Seen) -> Any:
    class Pure:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Any:
            seen.append(("wsgi in", environ["REQUEST_METHOD"], environ["PATH_INFO"]))

            def starting(status: str, headers: Any, *exc_info: Any) -> Any:
                return start_response(status, [*headers, ("x-wsgi", "1")], *exc_info)

            return self.app(environ, starting)

    return WSGIMiddleware(Pure)


class _Backend(AuthenticationBackend):
    """Takes whom the header names."""

    def authenticate(self, conn: Any) -> Any:
        name = conn.headers.get("x-name")
        if name == "nobody":
            raise AuthenticationError("not you")
        return (AuthCredentials([name]), SimpleUser(name)) if name else None


class _AsyncBackend(_Backend):
    async def authenticate(self, conn: Any) -> Any:
        return super().authenticate(conn)


def _error_page(request: Any, error: Exception) -> Response:
    return PlainTextResponse(f"page: {type(error).__name__}", 500)


MIDDLEWARE: dict[str, Callable[[Options, Seen], Any]] = {
    "noting": _noting,
    "base": _based,
    "asgi": _pure_asgi,
    "wsgi": _pure_wsgi,
    "compression": lambda options, seen: CompressionMiddleware(minimum_size=options["minimum_size"]),
    "gzip": lambda options, seen: GZipMiddleware(minimum_size=options["minimum_size"]),
    "cors": lambda options, seen: CORSMiddleware(**options["options"]),
    "trusted": lambda options, seen: TrustedHostMiddleware(options["hosts"], www_redirect=options["www"]),
    "https": lambda options, seen: HTTPSRedirectMiddleware(),
    "proxy": lambda options, seen: ProxyHeadersMiddleware("127.0.0.1", **options["options"]),
    "session": lambda options, seen: SessionMiddleware("a secret of the tests"),
    "request id": lambda options, seen: RequestIDMiddleware(generate=lambda: "generated"),
    "body limit": lambda options, seen: RequestBodyLimitMiddleware(options["size"]),
    "rate": lambda options, seen: RateLimitMiddleware(2, store=MemoryStore(clock=lambda: 1_700_000_000.0)),
    "errors": lambda options, seen: ServerErrorMiddleware(_error_page),
    "authentication": lambda options, seen: AuthenticationMiddleware(
        _AsyncBackend() if options["is_async"] else _Backend()
    ),
}


def _middleware(options: Options, seen: Seen) -> Any:
    return MIDDLEWARE[options["is"]](options, seen)
