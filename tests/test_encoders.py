"""Encoders: `Response.transform` on bodies of every kind, applied piece by piece on both protocols."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from dualroute import Call, DualRoute, Mount, Request, Response, Route, StreamingResponse, SyncRequest, exchange
from dualroute.connection import HTTPConnection
from dualroute.encoders import INLINE_SIZE, Encoder
from tests.conftest import Serve
from tests.transports import call_wsgi


class Brackets(Encoder):
    """Puts brackets around each piece, and an end behind the last."""

    def __init__(self, marks: str = "[]!", threads: list[str] | None = None) -> None:
        self.marks = marks.encode()
        self.threads = threads

    def feed(self, piece: bytes) -> bytes:
        if self.threads is not None:
            self.threads.append(threading.current_thread().name)
        return self.marks[:1] + piece + self.marks[1:2]

    def flush(self) -> bytes:
        return self.marks[2:]


def transforming(*encoders: Any) -> Any:
    def middleware(connection: HTTPConnection) -> Generator[Any, Any, Response]:
        response: Response = yield connection
        for make in encoders:
            response.transform(make())
        return response

    return middleware


def whole(request: SyncRequest) -> Response:
    return Response(b"whole")


def pieces(request: SyncRequest) -> Response:
    body: list[str | bytes] = ["a", b"", b"b"]
    return StreamingResponse(iter(body), headers={"content-length": "2"})


async def async_pieces(request: Request) -> Response:
    async def body() -> AsyncIterator[str | bytes]:
        yield "a"
        yield b""
        await asyncio.sleep(0.001)
        yield b"b"

    return StreamingResponse(body(), headers={"content-length": "2"})


def nothing(request: SyncRequest) -> Response:
    return StreamingResponse(iter([]))


def wsgi_app(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", "2")])
    return iter([b"a", b"b"])


HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"2")]


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b"b"})


ROUTES = [
    Route("/whole", whole),
    Route("/pieces", pieces),
    Route("/async", async_pieces),
    Route("/nothing", nothing),
    Mount("/wsgi", app=wsgi_app),
    Mount("/asgi", app=asgi_app),
]


@pytest.mark.parametrize("path", ["/pieces", "/async", "/wsgi/", "/asgi/"])
def test_the_pieces_of_a_body_go_through_one_by_one(serve: Serve, path: str) -> None:
    answer = serve(DualRoute(ROUTES, middleware=[transforming(Brackets)])).get(path)
    # A mounted WSGI app that is done in one visit of a thread has its body in one piece.
    assert answer.text in ("[a][b]!", "[ab]!")
    assert answer.headers.get("content-length") in (None, "5")
    answer = serve(DualRoute(ROUTES, middleware=[transforming(Brackets)])).head(path)
    assert (answer.status_code, answer.text) == (200, "")


def test_a_whole_body_goes_through_at_once(serve: Serve) -> None:
    answer = serve(DualRoute(ROUTES, middleware=[transforming(Brackets)])).get("/whole")
    assert (answer.text, answer.headers["content-length"]) == ("[whole]!", "8")


@pytest.mark.parametrize("path", ["/whole", "/pieces", "/async"])
def test_encoders_stand_one_after_the_other(serve: Serve, path: str) -> None:
    app = DualRoute(ROUTES, middleware=[transforming(Brackets, lambda: Brackets("()?"))])
    assert serve(app).get(path).text == {"/whole": "([whole]!)?"}.get(path, "([a])([b])(!)?")


def test_an_empty_stream_is_what_comes_after_the_last_piece(serve: Serve) -> None:
    assert serve(DualRoute(ROUTES, middleware=[transforming(Brackets)])).get("/nothing").text == "!"


def test_one_that_keeps_pieces_back_is_asked_for_them_in_the_end(serve: Serve) -> None:
    class Keeps(Encoder):
        def __init__(self) -> None:
            self.kept = b""

        def feed(self, piece: bytes) -> bytes:
            self.kept += piece
            return b""

        def flush(self) -> bytes:
            return self.kept

    for path in ("/pieces", "/async", "/wsgi/", "/asgi/"):
        assert serve(DualRoute(ROUTES, middleware=[transforming(Keeps)])).get(path).text == "ab"


class Fails(Encoder):
    def feed(self, piece: bytes) -> bytes:
        raise LookupError("boom")


@pytest.mark.parametrize("path", ["/whole", "/pieces", "/async", "/asgi/"])
def test_one_that_fails_is_a_500_that_is_logged(serve: Serve, path: str, caplog: pytest.LogCaptureFixture) -> None:
    answer = serve(DualRoute(ROUTES, middleware=[transforming(Fails)])).get(path)
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    errors = [record.exc_info and record.exc_info[0] for record in caplog.records if record.levelname == "ERROR"]
    assert errors == [LookupError]


def test_no_piece_is_made_while_it_is_dealt_with_that_one_has_failed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Both would run in the context of the request, which only one at a time can."""
    goes_on: list[Any] = []
    ended: list[str] = []

    async def coloured(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            event = asyncio.Event()
            loop = asyncio.get_running_loop()
            goes_on.append(lambda: loop.call_soon_threadsafe(event.set))
            try:
                yield b"a"
                await event.wait()
                yield b"b"
            finally:
                ended.append("ended")

        return StreamingResponse(body())

    def log(*args: Any, **options: Any) -> None:
        told(*args, **options)
        goes_on[0]()
        time.sleep(0.05)  # in which it would

    told = exchange.logger.error
    monkeypatch.setattr(exchange.logger, "error", log)
    app = DualRoute([Route("/", coloured)], middleware=[transforming(Fails)])
    assert serve(app).get("/").status_code == 500
    assert (len(goes_on), ended) == (1, ["ended"])
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [LookupError]


@pytest.mark.parametrize("colour", ["def", "async def", "wsgi", "asgi"])
def test_large_pieces_are_encoded_in_a_thread_and_never_on_the_loop(serve: Serve, protocol: str, colour: str) -> None:
    threads: list[str] = []
    large = [b"x" * (INLINE_SIZE + 1)] * 100

    def body(request: SyncRequest) -> Response:
        return StreamingResponse(iter(large))

    async def async_body(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in large:
                yield piece

        return StreamingResponse(pieces())

    def wsgi_app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("content-type", "text/plain")])
        return iter(large)

    async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        for piece in large:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    routes: dict[str, Callable[[], Any]] = {
        "def": lambda: Route("/", body),
        "async def": lambda: Route("/", async_body),
        "wsgi": lambda: Mount("/", app=wsgi_app),
        "asgi": lambda: Mount("/", app=asgi_app),
    }
    client = serve(DualRoute([routes[colour]()], middleware=[transforming(lambda: Brackets(threads=threads))]))
    assert len(client.get("/").content) == 100 * (INLINE_SIZE + 3) + 1
    assert len(threads) == 100
    if protocol == "asgi":
        assert {name.split("_")[0] for name in threads} == {"dualroute-handler"}
    else:
        assert set(threads) == {threading.current_thread().name}


def test_a_whole_body_may_be_left_to_a_thread(serve: Serve, protocol: str) -> None:
    threads: list[str] = []

    def middleware(connection: HTTPConnection) -> Generator[Any, Any, Response]:
        response: Response = yield connection
        yield Call(response.transform, Brackets(threads=threads))
        return response

    async def endpoint(request: Request) -> Response:
        return Response(b"whole")

    assert serve(DualRoute([Route("/", endpoint)], middleware=[middleware])).get("/").text == "[whole]!"
    assert ("dualroute-handler" in threads[0]) == (protocol == "asgi")


@pytest.mark.protocol("wsgi")  # which has files that a server sends by itself
def test_a_file_of_the_server_s_own_is_not_handed_over_as_it_is(protocol: str) -> None:
    import io
    import sys

    class Wrapper:
        def __init__(self, file: Any, size: int = 1) -> None:
            self.file = file

        def __iter__(self) -> Any:
            return iter(self.file)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("content-type", "text/plain")])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"a\nb\n"))

    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": Wrapper,
    }
    outer = DualRoute([Mount("/", app=app)], middleware=[transforming(Brackets)])
    assert b"".join(call_wsgi(outer, environ)[2]) == b"[a\n][b\n]!"
