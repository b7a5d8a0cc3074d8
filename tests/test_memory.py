"""No request leaves a reference cycle behind, an error's traceback included: what it took is freed when it is over."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Generator
from typing import Any

import httpx
import pytest

from dualroute import (
    DualRoute,
    HTTPException,
    PlainTextResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
)
from tests.around_helper import AROUND
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


async def pieces() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


def transparent(connection: Any) -> Generator[Any, Any, Response]:
    response: Response = yield connection
    return response


ROUTES = [
    Route("/hello", hello),
    Route("/async-hello", async_hello),
    Route("/fails", fails),
    Route("/async-fails", async_fails),
    Route("/refuses", refuses),
    Route("/stream", lambda request: StreamingResponse(iter([b"one", b"two"]))),
    Route("/async-stream", lambda request: StreamingResponse(pieces())),
]


MIDDLEWARE = {"bare": [], "in generators": [transparent, transparent], **AROUND}


@pytest.mark.parametrize("timeout", [None, 60], ids=["untimed", "timed"])
@pytest.mark.parametrize("around", MIDDLEWARE)
@pytest.mark.parametrize("path", [*(route.path for route in ROUTES), "/nowhere"])
def test_a_request_leaves_no_cycle(
    serve: Serve, path: str, around: str, timeout: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(100)  # a log record would keep the traceback
    bare = serve(DualRoute(ROUTES))
    client = serve(DualRoute(ROUTES, middleware=MIDDLEWARE[around], timeout=timeout))

    def garbage_of(client: httpx.Client, url: str) -> int:
        """Return how many objects only the collector could free after some requests."""
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
    assert garbage_of(client, path) < garbage_of(bare, "/hello") + REQUESTS
