"""The WSGI adapter where it meets the server: PEP 3333 to the letter."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from dualroute import (
    DualRoute,
    JSONResponse,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    StreamingResponse,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)
from dualroute.bodies import BUFFER_SIZE
from dualroute.exceptions import ResponseCut
from dualroute_wsgi import WSGIAdapter
from tests.conftest import Serve
from tests.transports import call_wsgi

TIMEOUT = 20
"""How many seconds anything here may take before it counts as hanging."""

COLOURS = pytest.mark.parametrize("colour", ["def", "async def"])


class Input(io.RawIOBase):
    """A ``wsgi.input`` that notes what is asked of it.

    Args:
        items: what each read gives: bytes, or an exception to raise.
    """

    def __init__(self, *items: bytes | BaseException) -> None:
        super().__init__()
        self.items = list(items)
        self.sizes: list[int] = []
        self.threads: set[int] = set()

    def read(self, size: int = -1) -> bytes:
        self.sizes.append(size)
        self.threads.add(threading.get_ident())
        if not self.items:
            return b""
        item = self.items.pop(0)
        if isinstance(item, BaseException):
            raise item
        assert len(item) <= size
        return item


def environ(method: str = "GET", path: str = "/", body: Any = b"", **further: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body) if isinstance(body, bytes) else body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if isinstance(body, bytes) and body:
        made["CONTENT_LENGTH"] = str(len(body))
    return {**made, **further}


class Server:
    """A server that takes a response as far as it is told to."""

    def __init__(self, app: Any, environ: dict[str, Any]) -> None:
        self.started: list[tuple[str, list[tuple[str, str]]]] = []
        self.result: Iterable[bytes] = app(environ, self.start_response)
        self.pieces: Iterator[bytes] = iter(self.result)

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.started.append((status, headers))

    @property
    def status(self) -> str:
        ((status, _),) = self.started
        return status

    def close(self) -> None:
        close = getattr(self.result, "close", None)
        if close is not None:
            close()


class Body:
    """The body of a response, in either colour, that counts how often it is closed."""

    def __init__(self, colour: str, *pieces: bytes | Exception) -> None:
        self.colour = colour
        self.pieces = pieces
        self.given = 0
        self.closed = 0

    def endpoint(self) -> Callable[[Any], Response]:
        def stream(request: Any) -> Response:
            content = self._iterate() if self.colour == "def" else self._iterate_async()
            return StreamingResponse(content, media_type="text/plain")

        return stream

    def _iterate(self) -> Iterator[bytes]:
        try:
            for item in self.pieces:
                self.given += 1
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed += 1

    async def _iterate_async(self) -> AsyncIterator[bytes]:
        try:
            for item in self.pieces:
                self.given += 1
                await asyncio.sleep(0)
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed += 1


def one_route(endpoint: Any, **options: Any) -> DualRoute:
    return DualRoute([Route("/", endpoint, methods=["GET", "POST"])], **options)


def own_records(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "dualroute"]


# The status, the headers, bodies that are none


@pytest.mark.parametrize(
    ("status_code", "line"),
    [(200, "200 OK"), (404, "404 Not Found"), (299, "299 Status 299"), (599, "599 Status 599")],
)
def test_a_status_line_has_a_reason_phrase_for_any_code(status_code: int, line: str) -> None:
    app = one_route(lambda request: PlainTextResponse("x", status_code=status_code))
    assert call_wsgi(app, environ())[0] == line


def test_the_headers_are_a_list_of_the_server_s_own() -> None:
    response = PlainTextResponse("x", headers={"x-a": "1"})
    server = Server(one_route(lambda request: response), environ())
    ((_, headers),) = server.started
    assert type(headers) is list
    assert all(type(pair) is tuple and type(pair[0]) is type(pair[1]) is str for pair in headers)
    headers.append(("x-server", "1"))
    assert "x-server" not in response.headers


def test_a_short_response_is_its_body_in_one_piece() -> None:
    assert call_wsgi(one_route(lambda request: PlainTextResponse("abc")), environ())[2] == [b"abc"]


def test_head_has_the_headers_of_get_and_no_body() -> None:
    app = one_route(lambda request: PlainTextResponse("abc"))
    status, headers, chunks = call_wsgi(app, environ("HEAD"))
    assert (status, dict(headers)["content-length"], chunks) == ("200 OK", "3", [])


@pytest.mark.parametrize("status_code", [204, 304])
@pytest.mark.parametrize("content", ["short", "def", "async def"])
def test_204_and_304_have_no_body(status_code: int, content: str) -> None:
    body = Body(content, b"x")

    def get(request: SyncRequest) -> Response:
        response = Response(b"x") if content == "short" else body.endpoint()(request)
        response.status_code = status_code
        del response.headers["content-type"]
        return response

    _, headers, chunks = call_wsgi(one_route(get), environ())
    assert chunks == []
    assert status_code == 304 or "content-length" not in dict(headers)
    assert body.given == 0


@pytest.mark.parametrize("status_code", [204, 304])
def test_204_and_304_have_no_content_type(status_code: int) -> None:
    app = one_route(lambda request: PlainTextResponse("x", status_code=status_code))
    assert "content-type" not in dict(call_wsgi(app, environ())[1])


@COLOURS
def test_head_never_iterates_and_closes_the_iterable(colour: str) -> None:
    class Untouched:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError("iterated")

        def close(self) -> None:
            self.closed += 1

    class AsyncUntouched:
        closed = 0

        def __aiter__(self) -> AsyncIterator[bytes]:
            raise AssertionError("iterated")

        async def aclose(self) -> None:
            self.closed += 1

    body: Any = Untouched() if colour == "def" else AsyncUntouched()
    assert (
        call_wsgi(one_route(lambda request: StreamingResponse(body, media_type="text/plain")), environ("HEAD"))[2] == []
    )
    assert body.closed == 1


# Streams


def test_a_piece_of_its_own_colour_is_asked_for_when_the_server_asks() -> None:
    body = Body("def", b"one", b"two", b"three")
    server = Server(validator(one_route(body.endpoint())), environ())
    given = [(piece, body.given) for piece in server.pieces]
    server.close()
    assert given == [(b"one", 1), (b"two", 2), (b"three", 3)]


def test_pieces_that_the_loop_makes_are_ahead_of_those_taken_by_a_buffer_at_most() -> None:
    size = BUFFER_SIZE // 4
    body = Body("async def", *[bytes(size)] * 40)
    server = Server(validator(one_route(body.endpoint())), environ())
    ahead = []
    for taken, _ in enumerate(server.pieces, 1):
        if taken % 5 == 0:
            time.sleep(0.02)  # time enough for whoever would run ahead
        ahead.append(body.given - taken)
    server.close()
    assert (body.given, body.closed) == (40, 1)
    assert 1 <= max(ahead) <= 5


@COLOURS
def test_the_status_is_there_before_the_first_piece_is_taken(colour: str) -> None:
    server = Server(one_route(Body(colour, b"one").endpoint()), environ())
    assert server.status == "200 OK"
    server.close()


@COLOURS
def test_empty_pieces_are_left_out(colour: str) -> None:
    # PEP 3333 has a server flush headers with the first piece that is not empty; an empty one is of no use to it.
    assert call_wsgi(one_route(Body(colour, b"", b"one", b"", b"two", b"").endpoint()), environ())[2] == [
        b"one",
        b"two",
    ]


@COLOURS
def test_a_stream_without_pieces_is_an_empty_body(colour: str) -> None:
    body = Body(colour)
    assert call_wsgi(one_route(body.endpoint()), environ())[2] == []
    assert body.closed == 1


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 4])
@COLOURS
def test_close_closes_the_iterable_once_however_far_the_server_came(colour: str, taken: int) -> None:
    body = Body(colour, b"one", b"two", b"three")
    server = Server(one_route(body.endpoint()), environ())
    for _ in range(taken):
        next(server.pieces, None)
    server.close()
    server.close()
    assert body.closed == 1


@COLOURS
def test_both_an_iterable_and_its_iterator_are_closed_once(colour: str) -> None:
    closed: list[str] = []

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            try:
                yield b"one"
                yield b"two"
            finally:
                closed.append("iterator")

        def close(self) -> None:
            closed.append("iterable")

    class AsyncPieces:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                yield b"one"
                yield b"two"
            finally:
                closed.append("iterator")

        async def aclose(self) -> None:
            closed.append("iterable")

    content = Pieces() if colour == "def" else AsyncPieces()
    server = Server(one_route(lambda request: StreamingResponse(content, media_type="text/plain")), environ())
    next(server.pieces)
    server.close()
    server.close()
    assert closed == ["iterator", "iterable"]


@COLOURS
def test_an_error_after_the_response_started_is_logged_once_and_cuts_the_connection(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = Body(colour, b"one", LookupError("half-way"))
    server = Server(one_route(body.endpoint()), environ())
    assert next(server.pieces) == b"one"
    with pytest.raises(ResponseCut):
        next(server.pieces)
    server.close()
    (record,) = [record for record in caplog.records if record.name == "dualroute"]
    assert "cut short" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)
    assert body.closed == 1


@COLOURS
def test_an_error_before_the_first_piece_is_a_500(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    body = Body(colour, LookupError("at once"))
    status, headers, chunks = call_wsgi(one_route(body.endpoint()), environ())
    assert (status, chunks) == ("500 Internal Server Error", [b"Internal Server Error"])
    assert dict(headers)["content-length"] == str(len(chunks[0]))
    assert len(own_records(caplog)) == 1
    assert body.closed == 1


@COLOURS
def test_an_error_while_closing_is_logged_and_kept_from_the_server(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"one"])

        def close(self) -> None:
            raise LookupError("closing")

    class AsyncPieces:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"one"

        async def aclose(self) -> None:
            raise LookupError("closing")

    content = Pieces() if colour == "def" else AsyncPieces()
    assert call_wsgi(one_route(lambda request: StreamingResponse(content, media_type="text/plain")), environ())[2] == [
        b"one"
    ]
    assert own_records(caplog) == ["closing the body of a response failed"]


@COLOURS
def test_a_response_may_stream_the_body_of_its_request(colour: str) -> None:
    def echo(request: SyncRequest) -> Response:
        return StreamingResponse(request.stream())

    async def echo_async(request: Request) -> Response:
        return StreamingResponse(request.stream())

    app = one_route(echo if colour == "def" else echo_async)
    given = Input(b"one", b"two", b"three")
    assert call_wsgi(app, environ("POST", body=given, CONTENT_LENGTH="11"))[2] == [b"one", b"two", b"three"]
    assert given.threads == {threading.get_ident()}


# The body of the request


def body_of(colour: str) -> Any:
    def read(request: SyncRequest) -> Response:
        return PlainTextResponse(request.body())

    async def read_async(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    return one_route(read if colour == "def" else read_async)


@COLOURS
def test_the_body_is_read_in_the_server_s_thread_and_never_beyond_its_length(colour: str) -> None:
    given = Input(b"abc", b"de", b"f")
    assert call_wsgi(body_of(colour), environ("POST", body=given, CONTENT_LENGTH="6"))[2] == [b"abcdef"]
    assert given.sizes == [6, 3, 1]
    assert given.threads == {threading.get_ident()}


@pytest.mark.parametrize("length", [None, "", "0", "-1", "abc", "+3", "٣", pytest.param("9" * 5000, id="5000 digits")])
@COLOURS
def test_without_a_length_nothing_is_read(colour: str, length: str | None) -> None:
    given = Input(AssertionError("read"))
    further = {} if length is None else {"CONTENT_LENGTH": length}
    assert call_wsgi(body_of(colour), environ("POST", body=given, **further))[2] == [b""]
    assert given.sizes == []


@pytest.mark.parametrize("length", [{}, {"CONTENT_LENGTH": "3"}], ids=["chunks", "chunks and a length"])
@COLOURS
def test_chunks_that_the_server_has_not_read_are_411_and_not_a_body(colour: str, length: dict[str, str]) -> None:
    given = Input(AssertionError("read"))
    status, _, chunks = call_wsgi(
        body_of(colour), environ("POST", body=given, HTTP_TRANSFER_ENCODING="chunked", **length)
    )
    assert status == "411 Length Required"
    assert chunks == [b"Length Required: the server that answers here takes no body in chunks"]


@COLOURS
def test_without_a_length_an_input_that_ends_is_read_to_its_end(colour: str) -> None:
    given = Input(b"abc", b"def", b"")
    made = {**environ("POST", body=given), "wsgi.input_terminated": True}
    assert call_wsgi(body_of(colour), made)[2] == [b"abcdef"]


@pytest.mark.parametrize("failure", [OSError("reset"), ValueError("a server's own"), EOFError()])
@COLOURS
def test_an_input_that_fails_is_a_client_that_left(colour: str, failure: Exception) -> None:
    given = Input(b"abc", failure)
    status, _, _ = call_wsgi(body_of(colour), environ("POST", body=given, CONTENT_LENGTH="6"))
    assert status == "400 Bad Request"


@COLOURS
def test_a_body_is_not_read_before_it_is_asked_for(colour: str) -> None:
    def get(request: SyncRequest) -> Response:
        return PlainTextResponse("unread")

    async def get_async(request: Request) -> Response:
        return PlainTextResponse("unread")

    given = Input(AssertionError("read"))
    app = one_route(get if colour == "def" else get_async)
    assert call_wsgi(app, environ("POST", body=given, CONTENT_LENGTH="6"))[2] == [b"unread"]


def test_a_task_that_outlives_its_request_is_told_that_the_body_is_gone() -> None:
    outcome: list[str] = []
    over = threading.Event()
    told = threading.Event()

    async def later(request: Request) -> None:
        assert await asyncio.to_thread(over.wait, TIMEOUT)
        try:
            await request.body()
        except RuntimeError as error:
            outcome.append(str(error))
        told.set()

    tasks: set[asyncio.Task[None]] = set()

    async def post(request: Request) -> Response:
        tasks.add(asyncio.create_task(later(request)))
        return PlainTextResponse("")

    call_wsgi(one_route(post), environ("POST", body=b"abc"))
    over.set()
    assert told.wait(TIMEOUT)
    assert "the request is over" in outcome[0]


def test_reading_again_after_a_timeout_loses_nothing() -> None:
    go_on = threading.Event()
    timed_out: list[bool] = []

    class Slow(Input):
        def read(self, size: int = -1) -> bytes:
            if self.sizes:
                assert go_on.wait(TIMEOUT)
            return super().read(size)

    async def post(request: Request) -> Response:
        pieces: list[bytes] = []
        stream = aiter(request.stream())
        pieces.append(await anext(stream))
        try:
            await asyncio.wait_for(anext(stream), 0.01)
        except TimeoutError:
            timed_out.append(True)
            go_on.set()
        pieces.extend([piece async for piece in stream])
        return PlainTextResponse(b"".join(pieces))

    given = Slow(b"one", b"two", b"three")
    assert call_wsgi(one_route(post), environ("POST", body=given, CONTENT_LENGTH="11"))[2] == [b"onetwothree"]
    assert timed_out == [True]


# WebSockets, which WSGI does not have


async def echo(websocket: WebSocket) -> None:
    raise AssertionError("never called")


def with_websockets() -> DualRoute:
    return DualRoute(
        [
            Route("/", lambda request: PlainTextResponse("home")),
            Mount("/live", routes=[WebSocketRoute("/{room}", echo)]),
            WebSocketRoute("/ws", echo),
        ]
    )


HANDSHAKE = {"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade", "HTTP_SEC_WEBSOCKET_VERSION": "13"}


@pytest.mark.parametrize("path", ["/ws", "/live/room"])
@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "h2c, websocket"])
def test_a_websocket_handshake_is_a_501_that_names_asgi_servers(
    path: str, upgrade: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = with_websockets()
    call_wsgi(app, environ())
    caplog.clear()
    status, _, chunks = call_wsgi(app, environ(path=path, **{**HANDSHAKE, "HTTP_UPGRADE": upgrade}))
    assert status == "501 Not Implemented"
    for word in (b"websocket", b"ASGI", b"uvicorn", b"hypercorn", b"granian"):
        assert word in chunks[0]
    (message,) = own_records(caplog)
    assert path in message
    assert "refused" in message


def test_a_handshake_for_a_path_without_a_websocket_is_a_request_like_any_other() -> None:
    app = with_websockets()
    assert call_wsgi(app, environ(**HANDSHAKE))[0] == "200 OK"
    assert call_wsgi(app, environ(path="/none", **HANDSHAKE))[0] == "404 Not Found"


def test_a_handshake_that_a_plain_server_gives_an_asgi_app_is_the_same_501(serve: Serve) -> None:
    client = serve(with_websockets())
    response = client.get("/ws", headers={"upgrade": "websocket", "connection": "upgrade"})
    assert (response.status_code, "ASGI" in response.text) == (501, True)


def test_a_plain_request_to_a_websocket_route_is_a_404(serve: Serve) -> None:
    response = serve(with_websockets()).get("/ws")
    assert (response.status_code, response.text) == (404, "Not Found")


def test_the_websocket_routes_that_can_not_be_served_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    app = with_websockets()
    for _ in range(3):
        call_wsgi(app, environ())
    (message,) = own_records(caplog)
    assert "/live/{room}, /ws" in message
    assert "ASGI" in message


def test_without_websocket_routes_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    call_wsgi(one_route(lambda request: PlainTextResponse("")), environ())
    assert own_records(caplog) == []


# The adapter by itself


def test_an_adapter_serves_a_router_too() -> None:
    router = Router([Route("/", lambda request: JSONResponse(request.app is None))])
    assert call_wsgi(WSGIAdapter(router), environ())[2] == [b"true"]


def test_the_middleware_of_one_side_is_for_that_side_alone(serve: Serve, protocol: str) -> None:
    def wsgi_mark(app: Any) -> Any:
        def marked(environ: Any, start_response: Any) -> Any:
            def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
                return start_response(status, [*headers, ("x-side", "wsgi")])

            return app(environ, start)

        return marked

    def asgi_mark(app: Any) -> Any:
        async def marked(scope: Any, receive: Any, send: Any) -> None:
            async def mark(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"x-side", b"asgi")]
                await send(message)

            await app(scope, receive, mark)

        return marked

    app = one_route(lambda request: PlainTextResponse(""), asgi_middleware=[asgi_mark], wsgi_middleware=[wsgi_mark])
    assert serve(app).get("/").headers["x-side"] == protocol
