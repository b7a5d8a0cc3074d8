"""The candidates of Starlette."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


async def hello_async(request: Request) -> Response:
    return PlainTextResponse("hello, world")


def hello_def(request: Request) -> Response:
    return PlainTextResponse("hello, world")


async def user_async(request: Request) -> Response:
    return JSONResponse({"id": request.path_params["id"]})


class Hello(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("hello, world")


def hello(endpoint: Any) -> Starlette:
    """Return an app with `endpoint` at ``/hello``."""
    return Starlette(routes=[Route("/hello", endpoint)])


def user() -> Starlette:
    """Return an app with ``/users/{id:int}``."""
    return Starlette(routes=[Route("/users/{id:int}", user_async)])


def many(paths: list[str]) -> Starlette:
    """Return an app with every one of `paths`."""
    return Starlette(routes=[Route(path, hello_async) for path in paths])
