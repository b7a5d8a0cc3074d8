"""The candidates of Starlette; and under WSGI Starlette through a2wsgi, for its coroutines there."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import a2wsgi
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.benchmarks import asked
from tests.benchmarks.harness import App
from tests.benchmarks.layers import ASGILayer
from tests.benchmarks.raw import loop_in_thread

__all__ = ["ASGI", "WSGI"]


async def hello_async(request: Request) -> Response:
    return PlainTextResponse(asked.TEXT)


def hello_def(request: Request) -> Response:
    return PlainTextResponse(asked.TEXT)


async def user(request: Request) -> Response:
    return JSONResponse({"id": request.path_params["id"]})


async def echo(request: Request) -> Response:
    return JSONResponse(await request.json())


async def form(request: Request) -> Response:
    fields = await request.form()
    return PlainTextResponse(fields[asked.FIELD])


class Hello(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse(asked.TEXT)


class BaseLayer(BaseHTTPMiddleware):
    def __init__(self, app: Any, name: str, value: str) -> None:
        super().__init__(app)
        self.name = name
        self.value = value

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers[self.name] = self.value
        return response


def _at(path: str, endpoint: Any, **options: Any) -> asked.Maker:
    return lambda stack: Starlette(routes=[Route(path, endpoint, **options)])


def _in_layers(kind: Any) -> asked.Maker:
    return lambda stack: Starlette(
        routes=[Route("/hello", hello_async)],
        middleware=[Middleware(kind, name, value) for name, value in asked.LAYERS],
    )


def _many(stack: ExitStack) -> App:
    return Starlette(routes=[Route(path, hello_async) for path in asked.PATHS])


def _under_wsgi(stack: ExitStack) -> App:
    # It would start a thread like this one by itself, and never end it.
    return a2wsgi.ASGIMiddleware(_at("/hello", hello_async)(stack), loop=loop_in_thread(stack))


ASGI: asked.Candidates = {
    asked.ASYNC: {"Starlette": _at("/hello", hello_async)},
    asked.DEF: {"Starlette": _at("/hello", hello_def)},
    asked.CLASS: {"Starlette": _at("/hello", Hello)},
    asked.JSON: {"Starlette": _at("/users/{id:int}", user)},
    asked.ECHO: {"Starlette": _at("/echo", echo, methods=["POST"])},
    asked.MIDDLEWARE: {
        "Starlette, ASGI middleware": _in_layers(ASGILayer),
        "Starlette, BaseHTTPMiddleware": _in_layers(BaseLayer),
    },
    asked.WRONG_PATH: {"Starlette": _at("/hello", hello_async)},
    asked.WRONG_METHOD: {"Starlette": _at("/hello", hello_async)},
    asked.FORM: {"Starlette": _at("/form", form, methods=["POST"])},
    asked.MANY: {"Starlette": _many},
}

WSGI: asked.Candidates = {asked.ASYNC: {"Starlette, through a2wsgi": _under_wsgi}}
