"""No request leaves a reference cycle behind, an error's traceback included: what it took is freed when it is over."""

from __future__ import annotations

import gc
from collections.abc import Generator
from typing import Any

import pytest

from dualroute import DualRoute, HTTPException, PlainTextResponse, Request, Response, Route, SyncRequest
from tests.conftest import Serve

REQUESTS = 20


def hello(request: SyncRequest) -> Response:
    return PlainTextResponse("hello")


async def async_hello(request: Request) -> Response:
    return PlainTextResponse("hello")


def fails(request: SyncRequest) -> Response:
    raise ValueError("failed")


async def async_fails(request: Request) -> Response:
    raise ValueError("failed")


async def refuses(request: Request) -> Response:
    raise HTTPException(418)


def transparent(connection: Any) -> Generator[Any, Any, Response]:
    response: Response = yield connection
    return response


ROUTES = [
    Route("/hello", hello),
    Route("/async-hello", async_hello),
    Route("/fails", fails),
    Route("/async-fails", async_fails),
    Route("/refuses", refuses),
]


@pytest.mark.parametrize("middleware", [(), (transparent, transparent)], ids=["bare", "in-middleware"])
@pytest.mark.parametrize("path", [*(route.path for route in ROUTES), "/nowhere"])
def test_a_request_leaves_no_cycle(
    serve: Serve, path: str, middleware: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(DualRoute(ROUTES, middleware=middleware))

    def garbage_of(url: str) -> int:
        """Return how many objects only the collector could free after some requests."""
        caplog.set_level(100)  # a log record would keep the traceback
        for _ in range(3):
            client.get(url)
        gc.collect()
        gc.disable()
        try:
            for _ in range(REQUESTS):
                client.get(url)
            return gc.collect()
        finally:
            gc.enable()

    # httpx and the transports leave some; a request to a plain handler shows how much.
    assert garbage_of(path) < garbage_of("/hello") + REQUESTS
