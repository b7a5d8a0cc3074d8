"""The candidates of dualroute.  Each app goes to both drivers as it is: it serves either protocol."""

from __future__ import annotations

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


async def hello_async(request: Request) -> Response:
    return PlainTextResponse("hello, world")


def hello_def(request: SyncRequest) -> Response:
    return PlainTextResponse("hello, world")


async def user_async(request: Request, id: int) -> Response:
    return JSONResponse({"id": id})


def user_def(request: SyncRequest, id: int) -> Response:
    return JSONResponse({"id": id})


class HelloAsync(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("hello, world")


class HelloDef(HTTPEndpoint):
    def get(self, request: SyncRequest) -> Response:
        return PlainTextResponse("hello, world")


def hello(endpoint: Any, *, sync_to_thread: bool = True) -> DualRoute:
    """Return an app with `endpoint` at ``/hello``."""
    return DualRoute(routes=[Route("/hello", endpoint, sync_to_thread=sync_to_thread)])


def user(endpoint: Any) -> DualRoute:
    """Return an app with `endpoint` at ``/users/{id:int}``."""
    return DualRoute(routes=[Route("/users/{id:int}", endpoint)])


def many(endpoint: Any, paths: list[str]) -> DualRoute:
    """Return an app with `endpoint` at every one of `paths`."""
    return DualRoute(routes=[Route(path, endpoint) for path in paths])
