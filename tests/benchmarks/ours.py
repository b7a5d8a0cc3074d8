"""The candidates of dualroute.  Each app goes to both drivers as it is: it serves either protocol."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from dualroute import (
    DualRoute,
    HTTPEndpoint,
    JSONResponse,
    PlainTextResponse,
    Request,
    Response,
    Route,
    SyncRequest,
)
from dualroute.middleware import Middleware
from dualroute.middleware.base import BaseHTTPMiddleware
from dualroute.middleware.wsgi import WSGIMiddleware
from tests.benchmarks import asked
from tests.benchmarks.harness import OURS
from tests.benchmarks.layers import ASGILayer, WSGILayer

__all__ = ["ASGI", "FUNCTION", "WSGI"]

FUNCTION = f"{OURS}, function"


async def hello_async(request: Request) -> Response:
    return PlainTextResponse(asked.TEXT)


def hello_def(request: SyncRequest) -> Response:
    return PlainTextResponse(asked.TEXT)


async def user_async(request: Request, id: int) -> Response:
    return JSONResponse({"id": id})


def user_def(request: SyncRequest, id: int) -> Response:
    return JSONResponse({"id": id})


async def echo_async(request: Request) -> Response:
    return JSONResponse(await request.json())


def echo_def(request: SyncRequest) -> Response:
    return JSONResponse(request.json())


async def form_async(request: Request) -> Response:
    form = await request.form()
    return PlainTextResponse(form[asked.FIELD])


def form_def(request: SyncRequest) -> Response:
    return PlainTextResponse(request.form()[asked.FIELD])


class HelloAsync(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse(asked.TEXT)


class HelloDef(HTTPEndpoint):
    def get(self, request: SyncRequest) -> Response:
        return PlainTextResponse(asked.TEXT)


def layer(name: str, value: str) -> Callable[[Any], Generator[Any, Any, Response]]:
    """Return a middleware of the framework's own kind."""

    def middleware(connection: Any) -> Generator[Any, Any, Response]:
        response: Response = yield connection
        response.headers[name] = value
        return response

    return middleware


class BaseLayer(BaseHTTPMiddleware):
    def __init__(self, app: Any, name: str, value: str) -> None:
        super().__init__(app)
        self.name = name
        self.value = value

    async def dispatch(self, request: Any, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers[self.name] = self.value
        return response


class BaseLayerDef(BaseHTTPMiddleware):
    def __init__(self, app: Any, name: str, value: str) -> None:
        super().__init__(app)
        self.name = name
        self.value = value

    def dispatch(self, request: Any, call_next: Any) -> Response:
        response: Response = call_next(request)
        response.headers[self.name] = self.value
        return response


def _hello(endpoint: Any, **options: Any) -> asked.Maker:
    return _at("/hello", endpoint, **options)


def _at(path: str, endpoint: Any, **options: Any) -> asked.Maker:
    return lambda stack: DualRoute(routes=[Route(path, endpoint, **options)])


def _many(endpoint: Any) -> asked.Maker:
    return lambda stack: DualRoute(routes=[Route(path, endpoint) for path in asked.PATHS])


def _in_layers(endpoint: Any, make: Callable[[str, str], Any]) -> asked.Maker:
    return lambda stack: DualRoute(
        routes=[Route("/hello", endpoint)], middleware=[make(name, value) for name, value in asked.LAYERS]
    )


ASGI: asked.Candidates = {
    asked.ASYNC: {OURS: _hello(hello_async)},
    asked.DEF: {OURS: _hello(hello_def), f"{OURS}, sync_to_thread=False": _hello(hello_def, sync_to_thread=False)},
    asked.CLASS: {OURS: _hello(HelloAsync), FUNCTION: _hello(hello_async)},
    asked.JSON: {OURS: _at("/users/{id:int}", user_async)},
    asked.ECHO: {OURS: _at("/echo", echo_async, methods=["POST"])},
    asked.MIDDLEWARE: {
        OURS: _in_layers(hello_async, layer),
        f"{OURS}, BaseHTTPMiddleware": _in_layers(hello_async, lambda *header: Middleware(BaseLayer, *header)),
        f"{OURS}, ASGI middleware": _in_layers(hello_async, lambda *header: Middleware(ASGILayer, *header)),
    },
    asked.WRONG_PATH: {OURS: _hello(hello_async)},
    asked.WRONG_METHOD: {OURS: _hello(hello_async)},
    asked.FORM: {OURS: _at("/form", form_async, methods=["POST"])},
    asked.MANY: {OURS: _many(hello_async)},
}

WSGI: asked.Candidates = {
    asked.DEF: {OURS: _hello(hello_def)},
    asked.ASYNC: {OURS: _hello(hello_async)},
    asked.CLASS: {OURS: _hello(HelloDef), FUNCTION: _hello(hello_def)},
    asked.JSON: {OURS: _at("/users/{id:int}", user_def)},
    asked.ECHO: {OURS: _at("/echo", echo_def, methods=["POST"])},
    asked.MIDDLEWARE: {
        OURS: _in_layers(hello_def, layer),
        f"{OURS}, BaseHTTPMiddleware": _in_layers(hello_def, lambda *header: Middleware(BaseLayerDef, *header)),
        f"{OURS}, WSGI middleware": _in_layers(hello_def, lambda *header: WSGIMiddleware(WSGILayer, *header)),
        f"{OURS}, ASGI middleware": _in_layers(hello_def, lambda *header: Middleware(ASGILayer, *header)),
    },
    asked.WRONG_PATH: {OURS: _hello(hello_def)},
    asked.WRONG_METHOD: {OURS: _hello(hello_def)},
    asked.FORM: {OURS: _at("/form", form_def, methods=["POST"])},
    asked.MANY: {OURS: _many(hello_def)},
}
