"""What users write, and no type checker minds."""

from __future__ import annotations

import functools
import math
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from werkzeug.middleware.proxy_fix import ProxyFix

from dualroute import (
    BackgroundTask,
    Call,
    ClientDisconnect,
    DualRoute,
    Host,
    HTMLResponse,
    HTTPEndpoint,
    HTTPException,
    JSONResponse,
    Limits,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    StreamingResponse,
    SyncRequest,
    WebSocket,
    WebSocketEndpoint,
    WebSocketRoute,
    covers,
    status,
)
from dualroute.config import Config
from dualroute.connection import HTTPConnection
from dualroute.datastructures import URL, CommaSeparatedStrings, MultiDict, MutableHeaders, Secret, State
from dualroute.middleware import Middleware
from dualroute.middleware.asgi import ASGIMiddleware
from dualroute.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint, SyncRequestResponseEndpoint
from dualroute.middleware.wsgi import WSGIMiddleware
from dualroute.responses import ContentStream
from dualroute.routing import Match, compile_path
from dualroute.schemas import SchemaGenerator
from dualroute.templating import Jinja2Templates
from dualroute.types import ASGIApp, ASGIApplication, Flow, Lifespan, Message, Receive, Scope, Send
from dualroute.websockets import WebSocketClose

# Handlers of both colours


def home(request: SyncRequest) -> PlainTextResponse:
    body: bytes = request.body()
    return PlainTextResponse(body, background=BackgroundTask(print, "after"))


async def upload(request: Request) -> Response:
    total = 0
    async for piece in request.stream():
        total += len(piece)
    data: Any = await request.json()
    return JSONResponse({"total": total, "data": data}, status_code=status.HTTP_201_CREATED)


async def user(request: Request, user_id: int) -> Response:
    address: str | None = request.client.host if request.client else None
    url: URL = request.url_for("user", user_id=user_id)
    return PlainTextResponse(f"{url} {address}")


def either(request: HTTPConnection, *, name: str = "") -> Response:
    if name == "nobody":
        raise HTTPException(404, headers={"x-name": name})
    return HTMLResponse(name)


def untyped(request):  # type: ignore[no-untyped-def]
    return Response()


def streamed(request: SyncRequest) -> StreamingResponse:
    def pieces() -> Iterator[bytes | str]:
        yield b"one"
        yield "two"

    return StreamingResponse(pieces())


async def streamed_async(request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        yield "one"

    return StreamingResponse(pieces(), media_type="text/plain")


class Callable:
    async def __call__(self, request: Request) -> Response:
        return Response()

    def method(self, request: SyncRequest) -> Response:
        return Response()


# Classes


class Notes(HTTPEndpoint):
    def get(self, request: SyncRequest) -> Response:
        return Response()

    async def post(self, request: Request) -> Response:
        return Response(await request.body())


class Chat(WebSocketEndpoint):
    encoding = "json"

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_json(data)


async def live(websocket: WebSocket, room: str) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text + room)


# Middleware


def timing(connection: HTTPConnection) -> Flow:
    number: str = yield Call(load, 7)
    response: Response = yield connection
    response.headers["x-number"] = number
    response.headers["server-timing"] = "app"
    return response


@covers("http", "websocket")
def tracing(connection: Any) -> Generator[Any, Any, Any]:
    return (yield connection)


def load(number: int) -> str:
    return str(number)


class Stamping(BaseHTTPMiddleware):
    def __init__(self, app: Any, name: str = "x-stamp") -> None:
        super().__init__(app)
        self.name = name

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        await request.body()
        response = await call_next(request)
        response.headers[self.name] = request.method
        return response


class SyncStamping(BaseHTTPMiddleware):
    def dispatch(self, request: SyncRequest, call_next: SyncRequestResponseEndpoint) -> Response:
        response = call_next(request)
        response.headers["x-size"] = str(len(request.body()))
        return response


async def dispatching(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


class Pure:
    def __init__(self, app: ASGIApplication, level: int = 1) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


surrounded = DualRoute(
    middleware=[
        Middleware(Stamping, name="x-name"),
        Middleware(SyncStamping),
        Middleware(BaseHTTPMiddleware, dispatch=dispatching),
        Middleware(Pure, level=2),
        ASGIMiddleware(Pure, 2),
        WSGIMiddleware(ProxyFix, x_for=1),
    ],
    timeout=30,
)
surrounded.add_middleware(Pure, level=3)


# Exception handlers


def not_found(request: SyncRequest, error: HTTPException) -> Response:
    return PlainTextResponse(error.detail, error.status_code)


async def gone(request: Request, error: ClientDisconnect) -> Response:
    return Response()


app = DualRoute(
    [
        Route("/", home, sync_to_thread=False),
        Route("/upload", upload, methods=["POST"], limits=Limits(max_body_size=10), timeout=0.5),
        Route("/users/{user_id:int}", user, name="user", middleware=[timing]),
        Route("/either/{name}", either),
        Route("/untyped", untyped),
        Route("/partial", functools.partial(either, name="x")),
        Route("/instance", Callable()),
        Route("/method", Callable().method),
        Route("/any", lambda request: Response()),
        Mount("/notes", routes=[Route("/", Notes)], name="notes", timeout=math.inf),
        Host("{sub}.example.org", app=Router([Route("/", streamed), Route("/a", streamed_async)])),
        WebSocketRoute("/chat", Chat),
        WebSocketRoute("/live/{room}", live),
    ],
    middleware=[tracing],
    exception_handlers={404: not_found, ClientDisconnect: gone},
)
app.state.pool = object()
state: State = app.state
app.add_route("/more", home, ["GET"])
app.add_websocket_route("/socket/{room}", live)
app.add_middleware(timing)
app.add_exception_handler(500, not_found)


@app.route("/decorated", methods=["PUT"])
async def decorated(request: Request) -> Response:
    return Response()


@app.websocket_route("/decorated")
async def decorated_live(websocket: WebSocket) -> None:
    await websocket.close()


@app.exception_handler(ValueError)
async def refused(request: Request, error: ValueError) -> Response:
    return PlainTextResponse(str(error), 400)


# Settings, templates, schemas

config = Config(".env")
debug: bool = config("DEBUG", cast=bool, default=False)
name: str = config("NAME")
port: int = config("PORT", cast=int, default=8000)
key: Secret = config("KEY", cast=Secret)
hosts: CommaSeparatedStrings = config("HOSTS", cast=CommaSeparatedStrings)
maybe: str | None = config("MAYBE", default=None)

templates = Jinja2Templates("templates", context_processors=[lambda request: {"user": request.state.user}])
schemas = SchemaGenerator({"openapi": "3.1.0"})


def page(request: SyncRequest) -> Response:
    return templates.TemplateResponse(request, "page.html", {"a": 1}, status_code=404)


async def schema(request: Request) -> Response:
    return schemas.OpenAPIResponse(request)


# Code that was written for Starlette


class Shared(TypedDict):
    number: int


async def typed(request: Request[Shared]) -> Response:
    number: int = request.state["number"]
    method: str = request["method"]
    await request.send_push_promise("/app.css")
    await request.send_early_hints("</app.css>; rel=preload; as=style")
    return JSONResponse([number, method, request.get("client"), dict(request)])


def typed_sync(request: SyncRequest[Shared]) -> Response:
    return JSONResponse(request.state["number"])


async def typed_live(websocket: WebSocket[Shared]) -> None:
    await websocket.send_json(websocket.state["number"])


def default_state(request: Request) -> State:
    return request.state


@asynccontextmanager
async def lifespan(app: DualRoute) -> AsyncIterator[Mapping[str, Any]]:
    yield {"number": 1}


with_lifespan: Lifespan[DualRoute] = lifespan
typed_app = DualRoute(
    [
        Route("/typed", typed),
        Route("/typed-sync", typed_sync),
        WebSocketRoute("/typed-live", typed_live),
        Mount("/closed", app=WebSocketClose(code=1013)),
    ],
    lifespan=with_lifespan,
)


class Tagging:
    """A middleware of ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("x-tag", URL(scope=scope).path)
            await send(message)

        await self.app(scope, receive, send_tagged)


def found(scope: Scope) -> str | None:
    for route in app.routes:
        match, inside = route.matches(scope)
        if match is Match.FULL:
            return f"{route.path_format} {inside['path_params']}"
    return None


pattern, path_format, convertors = compile_path("/users/{user_id:int}")
changed = MultiDict([("a", 1)])
changed.setlist("a", [1, 2])


def sent(content: ContentStream) -> Response:
    response = StreamingResponse(content, background=BackgroundTask(print))
    response.raw_headers.append((b"x-a", b"1"))
    return response
