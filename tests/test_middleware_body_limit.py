"""RequestBodyLimitMiddleware: bodies that are larger are 413, as `Limits` have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dualroute import DualRoute, Limits, Mount, PlainTextResponse, Request, Response, Route, SyncRequest
from dualroute.middleware import Middleware
from dualroute.middleware.body_limit import RequestBodyLimitMiddleware
from tests.conftest import Serve
from tests.middleware_helper import accepted, handshake, site


def size(request: SyncRequest) -> Response:
    return PlainTextResponse(str(len(request.body())))


async def size_async(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


def unread(request: SyncRequest) -> Response:
    return PlainTextResponse("unread")


async def mounted(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http", "it has no lifespan"
    read, more = 0, True
    while more:
        message = await receive()
        read += len(message.get("body", b""))
        more = message.get("more_body", False)
    await PlainTextResponse(str(read))(scope, receive, send)


def limited(limit: int, *, route: int | None = None, limits: Limits | None = None) -> DualRoute:
    further = () if route is None else (RequestBodyLimitMiddleware(route),)
    return DualRoute(
        [
            Route("/def", size, methods=["POST"], middleware=further, limits=limits),
            Route("/async", size_async, methods=["POST"], middleware=further, limits=limits),
            Route("/unread", unread, methods=["POST"]),
            Mount("/asgi", app=mounted, middleware=further, limits=limits),
        ],
        middleware=[Middleware(RequestBodyLimitMiddleware, max_body_size=limit)],
    )


PATHS = pytest.mark.parametrize("path", ["/def", "/async", "/asgi/"])
FRAMINGS = pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])


def body(size: int, chunked: bool) -> Any:
    def pieces() -> Iterator[bytes]:
        yield from (b"x" * min(10, size - at) for at in range(0, size, 10))

    return pieces() if chunked else b"x" * size


@PATHS
@FRAMINGS
def test_a_body_up_to_the_limit_is_taken_and_one_beyond_it_is_413(serve: Serve, path: str, chunked: bool) -> None:
    client = serve(limited(100))
    answer = client.post(path, content=body(100, chunked))
    assert (answer.status_code, answer.text) == (200, "100")
    assert client.post(path, content=body(101, chunked)).status_code == 413


@PATHS
@FRAMINGS
@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"limit": 50, "route": 100}, 100),
        ({"limit": 100, "route": 50}, 50),
        ({"limit": 100, "limits": Limits(max_body_size=50)}, 50),
        ({"limit": 50, "limits": Limits(max_body_size=100)}, 50),
        ({"limit": 50, "route": 200, "limits": Limits(max_body_size=100)}, 100),
        ({"limit": 50, "limits": Limits(max_body_size=None)}, 50),
        ({"limit": 50, "limits": Limits(max_form_files=1)}, 50),
    ],
    ids=str,
)
def test_the_innermost_counts_unless_limits_are_smaller(
    serve: Serve, path: str, chunked: bool, options: Any, allowed: int
) -> None:
    client = serve(limited(**options))
    assert client.post(path, content=body(allowed, chunked)).text == str(allowed)
    assert client.post(path, content=body(allowed + 1, chunked)).status_code == 413


def test_a_body_that_nobody_reads_is_nobody_s_business(serve: Serve) -> None:
    assert serve(limited(1)).post("/unread", content=b"much").text == "unread"


def test_requests_without_a_body_and_websockets_are_left_alone(serve: Serve) -> None:
    app = site([RequestBodyLimitMiddleware(0)])
    assert serve(app).get("/").text == "plain"
    assert accepted(handshake(app))


@pytest.mark.parametrize("limit", [-1, 1.5, None, "1"])
def test_what_is_no_number_of_bytes_is_refused(limit: Any) -> None:
    with pytest.raises(ValueError, match="max_body_size is a number of bytes, not "):
        RequestBodyLimitMiddleware(limit)
