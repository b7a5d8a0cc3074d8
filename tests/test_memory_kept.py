"""Nothing is kept of a request that is over: after two thousand there is as much in use as after one thousand.

The apps are called directly, since what a client or a server keeps is not looked at here.
"""

from __future__ import annotations

import asyncio
import gc
import io
import sys
from collections.abc import Callable, Generator
from typing import Any

import pytest

from dualroute import (
    DualRoute,
    HTTPEndpoint,
    JSONResponse,
    PlainTextResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
)

REQUESTS = 1_000

# Threads have a few more in use at one time than at another; a block for each request would be a thousand.
FEW = 100


def hello(request: SyncRequest) -> Response:
    return PlainTextResponse("hello")


async def async_hello(request: Request) -> Response:
    return PlainTextResponse("hello")


class Hello(HTTPEndpoint):
    async def post(self, request: Request) -> Response:
        return PlainTextResponse("hello")


def user(request: SyncRequest, id: int) -> Response:
    return JSONResponse({"id": id})


def echo(request: SyncRequest) -> Response:
    return JSONResponse(request.json())


async def async_echo(request: Request) -> Response:
    return JSONResponse(await request.json())


async def form(request: Request) -> Response:
    fields = await request.form()
    return PlainTextResponse(fields["field"])


def stream(request: SyncRequest) -> Response:
    return StreamingResponse(iter([b"one", b"two"]))


def fails(request: SyncRequest) -> Response:
    raise ValueError("failed")


def around(connection: Any) -> Generator[Any, Any, Response]:
    response: Response = yield connection
    response.headers["x-around"] = "yes"
    return response


ROUTES = [
    Route("/hello", hello, methods=["POST"]),
    Route("/async-hello", async_hello, methods=["POST"]),
    Route("/class", Hello),
    Route("/users/{id:int}", user, methods=["POST"]),
    Route("/echo", echo, methods=["POST"]),
    Route("/async-echo", async_echo, methods=["POST"]),
    Route("/form", form, methods=["POST"]),
    Route("/stream", stream, methods=["POST"]),
    Route("/fails", fails, methods=["POST"]),
    Route("/get", hello),
]

JSON = ("application/json", b'{"id": 42}')
FORM = ("application/x-www-form-urlencoded", b"field=value&other=value")

ASKED = [
    ("/hello", 200, JSON),
    ("/async-hello", 200, JSON),
    ("/class", 200, JSON),
    ("/users/42", 200, JSON),
    ("/echo", 200, JSON),
    ("/async-echo", 200, JSON),
    ("/form", 200, FORM),
    ("/stream", 200, JSON),
    ("/fails", 500, JSON),
    ("/get", 405, JSON),
    ("/nowhere/{}", 404, JSON),  # each time another
]


async def serve_asgi(app: Any, path: str, status: int, sent: tuple[str, bytes], times: int) -> None:
    content_type, body = sent
    statuses = set()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    for index in range(times):
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive(messages: Any = messages) -> Any:
            for message in messages:
                return message
            await asyncio.get_running_loop().create_future()

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path.format(index),
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"host", b"testserver"),
                (b"content-type", content_type.encode()),
                (b"content-length", str(len(body)).encode()),
            ],
        }
        await app(scope, receive, send)
    assert statuses == {status}


def serve_wsgi(app: Any, path: str, status: int, sent: tuple[str, bytes], times: int) -> None:
    content_type, body = sent
    statuses = set()

    def start_response(line: str, headers: Any, exc_info: Any = None) -> Any:
        statuses.add(int(line[:3]))

    for index in range(times):
        environ = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": path.format(index),
            "QUERY_STRING": "",
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        result = app(environ, start_response)
        for _ in result:
            pass
        if hasattr(result, "close"):
            result.close()
    assert statuses == {status}


def kept(serve: Callable[[int], object]) -> int:
    """Return how many blocks more are in use after two thousand requests than after one thousand.

    Where it is more than a few, ask again with a thousand more: what each request leaves shows every time.
    """
    serve(REQUESTS)
    least = sys.maxsize
    for _ in range(5):
        gc.collect()
        before = sys.getallocatedblocks()
        serve(REQUESTS)
        gc.collect()
        least = min(least, sys.getallocatedblocks() - before)
        if least < FEW:
            break
    return least


@pytest.mark.parametrize(
    ("path", "status", "sent", "middleware"),
    [
        *(pytest.param(*asked, [], id=asked[0]) for asked in ASKED),
        *(pytest.param(*asked, [around] * 3, id=f"{asked[0]} in middleware") for asked in ASKED[:2]),
    ],
)
def test_nothing_is_kept_of_a_request(
    protocol: str,
    path: str,
    status: int,
    sent: tuple[str, bytes],
    middleware: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(100)  # a log record would keep the traceback
    app = DualRoute(ROUTES, middleware=middleware)
    if protocol == "asgi":
        with asyncio.Runner() as runner:
            more = kept(lambda times: runner.run(serve_asgi(app, path, status, sent, times)))
    else:
        more = kept(lambda times: serve_wsgi(app, path, status, sent, times))
    assert more < FEW, f"{more} blocks more are in use after {REQUESTS:,} more requests"
