"""No request leaves a reference cycle behind, an error's traceback included: what it took is freed when it is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from typing import Any

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
from tests.garbage import garbage_of

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


MIDDLEWARE: dict[str, list[Any]] = {"bare": [], "in generators": [transparent, transparent], **AROUND}


CASES: list[tuple[str, str, float | None]] = [
    (path, around, None) for path in [*(route.path for route in ROUTES), "/nowhere"] for around in MIDDLEWARE
]
CASES += [(path, around, 60) for path in ("/hello", "/fails", "/async-fails") for around in ("bare", *AROUND)]


@pytest.mark.parametrize(("path", "around", "timeout"), CASES)
def test_a_request_leaves_no_cycle(
    serve: Serve, path: str, around: str, timeout: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(100)  # a log record would keep the traceback
    bare = serve(DualRoute(ROUTES))
    client = serve(DualRoute(ROUTES, middleware=MIDDLEWARE[around], timeout=timeout))

    # httpx and the transports leave some; a request to a plain handler shows how much.
    left_by_plain = garbage_of(lambda: bare.get("/hello"), REQUESTS)
    assert garbage_of(lambda: client.get(path), REQUESTS) < left_by_plain + REQUESTS
