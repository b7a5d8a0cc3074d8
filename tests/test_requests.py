"""What a request shows, and reading its body: in both colours, on both protocols."""

from __future__ import annotations

import asyncio
import io
import json
import pickle
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypedDict, cast

import pytest

from dualroute import (
    Call,
    ClientDisconnect,
    DualRoute,
    HTTPException,
    JSONResponse,
    Limits,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    SyncRequest,
)
from dualroute.exceptions import MalformedBody
from dualroute.requests import decode_json
from dualroute.testclient import TestClient
from dualroute.types import ExceptionHandler
from tests.conftest import Serve
from tests.transports import call_wsgi

Endpoint = Callable[..., Any]
COLOURS = pytest.mark.parametrize("colour", ["def", "async def"])
READERS = ("body", "text", "json", "stream")


def answering(colour: str, show: Callable[[Any], Any]) -> Endpoint:
    """Return an endpoint of `colour` that answers with what `show` makes of the request, as JSON."""

    def answer(request: SyncRequest) -> Response:
        return JSONResponse(show(request))

    async def answer_async(request: Request) -> Response:
        return JSONResponse(show(request))

    return answer if colour == "def" else answer_async


def reading(colour: str, *names: str) -> Endpoint:
    """Return an endpoint of `colour` that reads the body by the methods `names`, and answers with their outcomes."""

    def read(request: SyncRequest) -> Response:
        outcomes: list[str] = []
        for name in names:
            try:
                value = list(request.stream()) if name == "stream" else getattr(request, name)()
            except RuntimeError as error:
                value = str(error)
            outcomes.append(repr(b"".join(value) if name == "stream" and isinstance(value, list) else value))
        return JSONResponse(outcomes)

    async def read_async(request: Request) -> Response:
        outcomes: list[str] = []
        for name in names:
            try:
                value = [piece async for piece in request.stream()] if name == "stream" else await _of(request, name)
            except RuntimeError as error:
                value = str(error)
            outcomes.append(repr(b"".join(value) if name == "stream" and isinstance(value, list) else value))
        return JSONResponse(outcomes)

    return read if colour == "def" else read_async


async def _of(request: Request, name: str) -> Any:
    return await getattr(request, name)()


class Pieces(io.RawIOBase):
    """A ``wsgi.input`` that gives one of `pieces` at a read, and in the end nothing, or the error `failure`."""

    def __init__(self, pieces: tuple[bytes, ...], failure: Exception | None = None) -> None:
        super().__init__()
        self.pieces = list(pieces)
        self.failure = failure

    def read(self, size: int = -1) -> bytes:
        if self.pieces:
            piece = self.pieces.pop(0)
            if 0 <= size < len(piece):
                self.pieces.insert(0, piece[size:])
                piece = piece[:size]
            return piece
        if self.failure is not None:
            raise self.failure
        return b""


def upload(
    protocol: str, app: Any, *pieces: bytes, length: int | None = None, chunked: bool = False, cut: bool = False
) -> tuple[int, bytes]:
    """POST `pieces` to ``/`` as they come over a slow connection; `cut` ends it before the body does."""
    if protocol == "asgi":
        return asyncio.run(_upload_asgi(app, pieces, length, chunked, cut))
    broken = OSError("a chunk was cut short") if cut and chunked else None
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": Pieces(pieces, broken),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    if chunked:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        environ["wsgi.input_terminated"] = True
    status, _, chunks = call_wsgi(app, environ)
    return int(status[:3]), b"".join(chunks)


async def _upload_asgi(
    app: Any, pieces: tuple[bytes, ...], length: int | None, chunked: bool, cut: bool
) -> tuple[int, bytes]:
    headers = [] if length is None else [(b"content-length", str(length).encode())]
    if chunked:
        headers.append((b"transfer-encoding", b"chunked"))
    events: list[dict[str, Any]] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    events.append({"type": "http.disconnect"} if cut else {"type": "http.request", "body": b"", "more_body": False})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return events.pop(0) if events else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": headers,
    }
    await asyncio.wait_for(app(scope, receive, send), 20)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def one_route(endpoint: Endpoint, **options: Any) -> DualRoute:
    return DualRoute([Route("/", endpoint, methods=["GET", "POST"])], **options)


# What a request shows


@COLOURS
def test_a_handler_gets_the_request_class_of_its_colour(serve: Serve, colour: str) -> None:
    client = serve(one_route(answering(colour, lambda request: type(request).__name__)))
    assert client.get("/").json() == {"def": "SyncRequest", "async def": "Request"}[colour]


@COLOURS
def test_method_url_and_base_url(serve: Serve, colour: str) -> None:
    def show(request: Any) -> Any:
        return [request.method, str(request.url), str(request.base_url), request.url.path, request.url.query]

    app = DualRoute([Mount("/in", routes=[Route("/{name}", answering(colour, show), methods=["PUT"])])])
    client = serve(app, root_path="/röt", base_url="https://example.org:8443")
    assert client.put("/in/caf%C3%A9?a=1&b=%20").json() == [
        "PUT",
        "https://example.org:8443/r%C3%B6t/in/caf%C3%A9?a=1&b=%20",
        "https://example.org:8443/r%C3%B6t/",
        "/r%C3%B6t/in/caf%C3%A9",
        "a=1&b=%20",
    ]


def test_an_url_leaves_its_scheme_s_own_port_out(serve: Serve) -> None:
    client = serve(one_route(answering("def", lambda request: str(request.url))), base_url="https://example.org:443")
    assert client.get("/").json() == "https://example.org/"


def test_headers_are_found_in_any_case(serve: Serve) -> None:
    def show(request: Any) -> Any:
        return [request.headers["X-Token"], request.headers["x-token"], "X-TOKEN" in request.headers]

    assert serve(one_route(answering("def", show))).get("/", headers={"x-Token": "t"}).json() == ["t", "t", True]


def test_a_repeated_header_is_one_value_joined_by_commas_and_cookies_by_semicolons(serve: Serve) -> None:
    def show(request: Any) -> Any:
        return [request.headers["x-a"], request.headers.getlist("x-a"), request.headers["cookie"], request.cookies]

    client = serve(one_route(answering("def", show)))
    headers = [("X-A", "1"), ("Cookie", "a=1"), ("X-A", "2, 3"), ("Cookie", "b=2")]
    assert client.get("/", headers=headers).json() == ["1,2, 3", ["1,2, 3"], "a=1; b=2", {"a": "1", "b": "2"}]


def test_content_type_and_length_are_headers_like_any_other(serve: Serve) -> None:
    def show(request: Any) -> Any:
        return [request.headers["content-type"], request.headers["content-length"]]

    client = serve(one_route(answering("def", show)))
    assert client.post("/", content=b"abc", headers={"content-type": "a/b"}).json() == ["a/b", "3"]


def test_latin1_bytes_in_a_header_value_are_preserved(serve: Serve) -> None:
    def show(request: Any) -> Any:
        return request.headers["x-name"]

    client = serve(one_route(answering("def", show)))
    assert client.get("/", headers=[(b"x-name", b"caf\xe9 \xff")]).json() == "café ÿ"


def test_query_params_keep_repeated_and_blank_values(serve: Serve) -> None:
    def show(request: Any) -> Any:
        return [request.query_params.multi_items(), request.query_params["a"], request.query_params.getlist("a")]

    client = serve(one_route(answering("def", show)))
    assert client.get("/?a=1&a=2&b=&c=%C3%A9+x").json() == [
        [["a", "1"], ["a", "2"], ["b", ""], ["c", "é x"]],
        "2",
        ["1", "2"],
    ]


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        ("a=1; b=2", {"a": "1", "b": "2"}),
        ("a=1;b=2 ; a=3", {"a": "3", "b": "2"}),
        ('q="x y"; b=2', {"q": "x y", "b": "2"}),
        ('json={"k":[1,2]}; b=2', {"json": '{"k":[1,2]}', "b": "2"}),
        ("a=x y; b=2", {"a": "x y", "b": "2"}),
        ("a/b=1; [x]=2; c=3", {"a/b": "1", "[x]": "2", "c": "3"}),
        ("; ;a=1;;", {"a": "1"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=", {"a": ""}),
    ],
)
def test_cookies_are_read_leniently(serve: Serve, header: str, cookies: dict[str, str]) -> None:
    client = serve(one_route(answering("def", lambda request: request.cookies)))
    assert client.get("/", headers={"cookie": header}).json() == cookies


def test_cookies_hold_utf8(serve: Serve) -> None:
    client = serve(one_route(answering("def", lambda request: request.cookies)))
    assert client.get("/", headers=[(b"cookie", "a=é".encode())]).json() == {"a": "é"}


def test_without_a_cookie_header_there_are_no_cookies(serve: Serve) -> None:
    assert serve(one_route(answering("def", lambda request: request.cookies))).get("/").json() == {}


def test_client_is_the_peer_s_address(serve: Serve) -> None:
    client = serve(one_route(answering("def", lambda request: [*request.client, request.client.host])))
    assert client.get("/").json() == ["127.0.0.1", 50000, "127.0.0.1"]


def test_client_is_none_on_a_unix_socket(serve: Serve, protocol: str) -> None:
    extra: dict[str, Any] = {"client": None} if protocol == "asgi" else {"REMOTE_ADDR": ""}
    assert serve(one_route(answering("def", lambda request: request.client)), extra=extra).get("/").json() is None


@COLOURS
def test_path_params_are_converted_and_come_by_name_too(serve: Serve, colour: str) -> None:
    def get(request: SyncRequest, number: int, name: str) -> Response:
        return JSONResponse([number, name, request.path_params])

    async def get_async(request: Request, number: int, name: str) -> Response:
        return JSONResponse([number, name, request.path_params])

    app = DualRoute([Route("/{number:int}/{name}", get if colour == "def" else get_async)])
    assert serve(app).get("/7/x%20y").json() == [7, "x y", {"number": 7, "name": "x y"}]


def test_app_route_and_state(serve: Serve) -> None:
    seen: list[Any] = []

    def get(request: SyncRequest) -> Response:
        seen.extend([request.app, request.route])
        return JSONResponse([request.state.token, request.app.state.name])

    def middleware(connection: Any) -> Generator[Any, Any, Any]:
        connection.state.token = "t"
        return (yield connection)

    app = one_route(get, middleware=[middleware])
    app.state.name = "n"
    assert serve(app).get("/").json() == ["t", "n"]
    assert seen == [app, app.router.routes[0]]


def test_the_state_of_one_request_is_not_that_of_the_next(serve: Serve) -> None:
    def show(request: Any) -> Any:
        known = "token" in request.state
        request.state.token = "t"
        return known

    client = serve(one_route(answering("def", show)))
    assert [client.get("/").json(), client.get("/").json()] == [False, False]


def test_scope_has_the_same_keys_and_values_on_both_protocols(serve: Serve, protocol: str) -> None:
    seen: list[dict[str, Any]] = []

    def get(request: SyncRequest, name: str) -> Response:
        seen.append(dict(request.scope))
        return PlainTextResponse("")

    app = DualRoute([Mount("/m", routes=[Route("/{name}", get)])])
    client = serve(app, root_path="/base")
    assert client.get("/m/caf%C3%A9?q=1", headers=[("X-A", "1"), ("Cookie", "a=1")]).status_code == 200
    (scope,) = seen
    headers = dict(scope.pop("headers"))
    assert {name: headers[name] for name in (b"host", b"x-a", b"cookie")} == {
        b"host": b"testserver",
        b"x-a": b"1",
        b"cookie": b"a=1",
    }
    mount = cast(Mount, app.router.routes[0])
    expected: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/base/m/café",
        "raw_path": b"/base/m/caf%C3%A9",
        "query_string": b"q=1",
        "root_path": "/base/m",
        "dualroute.root_path": "/base",
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
        "state": {},
        "path_params": {"name": "café"},
        "app": app,
        "router": app,
        "route": mount.routes[0],
        "endpoint": get,
    }
    if protocol == "wsgi":
        expected["extensions"] = {}
    assert scope == expected


def test_a_request_is_a_mapping_of_its_scope_and_equal_to_itself_alone(serve: Serve) -> None:
    def show(request: Any) -> Any:
        return [request["method"], request == request, request in {request}, repr(request)]

    client = serve(one_route(answering("def", show)))
    assert client.get("/").json() == ["GET", True, True, "<SyncRequest GET />"]


# Bodies


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("name", READERS)
@COLOURS
def test_a_body_is_the_same_bytes_four_ways_round(serve: Serve, colour: str, name: str, chunked: bool) -> None:
    data = b'["' + b"\xc3\xa9" * 100_000 + b'"]'
    pieces = [data[at : at + 7001] for at in range(0, len(data), 7001)]
    client = serve(one_route(reading(colour, name)))
    sent = client.post("/", content=iter(pieces) if chunked else data)
    text = '["' + "é" * 100_000 + '"]'
    expected: Any = {"body": data, "stream": data, "text": text, "json": ["é" * 100_000]}[name]
    assert sent.json() == [repr(expected)]


@COLOURS
def test_a_request_without_a_body_has_an_empty_one(serve: Serve, colour: str) -> None:
    client = serve(one_route(reading(colour, "body", "text", "stream")))
    assert client.get("/").json() == ["b''", "''", "b''"]


@COLOURS
def test_a_stream_gives_pieces_as_they_come(protocol: str, colour: str) -> None:
    def lengths(request: SyncRequest) -> Response:
        return JSONResponse([piece.decode() for piece in request.stream()])

    async def lengths_async(request: Request) -> Response:
        return JSONResponse([piece.decode() async for piece in request.stream()])

    app = one_route(lengths if colour == "def" else lengths_async)
    assert upload(protocol, app, b"one", b"two", b"three", length=11) == (200, b'["one","two","three"]')


@COLOURS
def test_a_body_read_as_one_may_be_read_again_in_any_form(serve: Serve, colour: str) -> None:
    client = serve(one_route(reading(colour, "json", "body", "stream", "stream", "text")))
    assert client.post("/", content=b"[1]").json() == ["[1]", "b'[1]'", "b'[1]'", "b'[1]'", "'[1]'"]


@COLOURS
def test_a_body_that_was_streamed_can_not_be_read_twice(serve: Serve, colour: str) -> None:
    client = serve(one_route(reading(colour, "stream", "stream", "body")))
    first, second, third = client.post("/", content=b"abc").json()
    assert first == "b'abc'"
    assert "streamed before" in second
    assert "streamed before" in third


@pytest.mark.parametrize(("chunked", "length"), [(False, 100), (True, None)], ids=["length", "mid-chunk"])
@COLOURS
def test_a_body_cut_short_is_a_client_disconnect_in_the_handler(
    protocol: str, colour: str, chunked: bool, length: int | None
) -> None:
    seen: list[bytes] = []

    def read(request: SyncRequest) -> Response:
        try:
            seen.extend(request.stream())
        except ClientDisconnect:
            return PlainTextResponse("gone")
        return PlainTextResponse("all there")

    async def read_async(request: Request) -> Response:
        try:
            async for piece in request.stream():
                seen.append(piece)
        except ClientDisconnect:
            return PlainTextResponse("gone")
        return PlainTextResponse("all there")

    app = one_route(read if colour == "def" else read_async)
    assert upload(protocol, app, b"one", b"two", length=length, chunked=chunked, cut=True) == (200, b"gone")
    assert b"".join(seen) == b"onetwo"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "POST /: Bad Request: the body is not valid JSON: Expecting value: line 1 column 1 (char 0)"),
        ({"limits": Limits(max_body_size=3)}, "POST /: Content Too Large: the request body may have 3 bytes"),
    ],
    ids=["malformed", "too large"],
)
@COLOURS
def test_a_body_that_is_refused_is_logged_once(
    protocol: str, colour: str, options: dict[str, Any], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = one_route(reading(colour, "json"), **options)
    with caplog.at_level("INFO", "dualroute"):
        assert upload(protocol, app, b"what", length=4)[0] in (400, 413)
    assert [record.getMessage() for record in caplog.records if record.name == "dualroute"] == [line]


@pytest.mark.parametrize("name", READERS)
@COLOURS
def test_an_unhandled_client_disconnect_is_a_400_and_no_traceback(
    protocol: str, colour: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "dualroute"):
        status, _ = upload(protocol, one_route(reading(colour, name)), b"one", length=100, cut=True)
    assert status == 400
    assert [record.getMessage() for record in caplog.records if record.name == "dualroute"] == [
        "POST /: the request body was cut short"
    ]
    assert all(record.exc_info is None for record in caplog.records)


@COLOURS
def test_reading_on_after_a_client_disconnect_raises_it_again(protocol: str, colour: str) -> None:
    def read(request: SyncRequest) -> Response:
        for _ in range(2):
            with pytest.raises((ClientDisconnect, RuntimeError)):
                request.body()
        return PlainTextResponse("twice")

    async def read_async(request: Request) -> Response:
        for _ in range(2):
            with pytest.raises((ClientDisconnect, RuntimeError)):
                await request.body()
        return PlainTextResponse("twice")

    app = one_route(read if colour == "def" else read_async)
    assert upload(protocol, app, b"one", length=100, cut=True) == (200, b"twice")


@COLOURS
def test_beside_a_transfer_encoding_the_content_length_is_not_trusted(protocol: str, colour: str) -> None:
    app = one_route(reading(colour, "body"))
    status, answer = upload(protocol, app, b"abc", b"defgh", length=3, chunked=True)
    assert (status, answer) == (200, b"[\"b'abcdefgh'\"]")


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"\xff\xfe\xff", b'"\xff"', b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000],
    ids=["cut", "empty", "no text", "not utf-8", "deep", "deep and closed"],
)
@COLOURS
def test_json_that_is_none_is_a_400(serve: Serve, colour: str, body: bytes) -> None:
    response = serve(one_route(reading(colour, "json"))).post("/", content=body)
    assert response.status_code == 400
    assert response.text.startswith("Bad Request: the")


@pytest.mark.parametrize("kind", [ValueError, json.JSONDecodeError, HTTPException])
def test_a_handler_may_catch_json_that_is_none_as_what_it_is_elsewhere(serve: Serve, kind: type[Exception]) -> None:
    def read(request: SyncRequest) -> Response:
        try:
            return JSONResponse(request.json())
        except kind as error:
            return PlainTextResponse(str(error), status_code=422)

    response = serve(one_route(read)).post("/", content=b"{")
    expected = "400: Bad Request: the body is not valid JSON: Expecting property name enclosed in double quotes"
    assert (response.status_code, response.text.partition(": line")[0]) == (422, expected)


def test_an_exception_handler_for_json_that_is_none_comes_before_one_for_every_http_exception(serve: Serve) -> None:
    async def read(request: Request) -> Response:
        return JSONResponse(await request.json())

    def malformed(request: SyncRequest, error: json.JSONDecodeError) -> Response:
        return PlainTextResponse(f"{error.msg} at {error.pos} of {error.doc!r}", status_code=422)

    def other(request: SyncRequest, error: HTTPException) -> Response:
        return PlainTextResponse("something else", status_code=error.status_code)

    handlers: dict[int | type[Exception], ExceptionHandler] = {HTTPException: other, json.JSONDecodeError: malformed}
    client = serve(DualRoute(routes=[Route("/", read, methods=["POST"])], exception_handlers=handlers))
    assert client.post("/", content=b"[1,]").text.endswith(" of '[1,]'")
    assert client.post("/", content=b"\xff").text == "something else"


def test_the_error_of_json_that_is_none_can_be_pickled() -> None:
    with pytest.raises(MalformedBody) as raised:
        decode_json(b"nil")
    copied = pickle.loads(pickle.dumps(raised.value))  # noqa: S301  # what was pickled here
    assert (type(copied), copied.pos, str(copied)) == (type(raised.value), 0, str(raised.value))


def test_a_request_is_read_like_its_scope(serve: Serve) -> None:
    async def look(request: Request) -> Response:
        assert dict(request.items()) == request.scope
        assert list(request) == list(request.keys()) == list(request.scope)
        assert list(request.values()) == list(request.scope.values())
        assert len(request) == len(request.scope)
        assert "session" not in request
        return JSONResponse([request["path"], request.get("session", "none"), "method" in request, bool(request)])

    assert serve(DualRoute(routes=[Route("/x", look)])).get("/x").json() == ["/x", "none", True, True]


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain; charset=latin-1", b"caf\xe9", "café"),
        ('text/plain; charset="UTF-16"', "café".encode("utf-16"), "café"),
        ("text/plain", "café".encode(), "café"),
    ],
)
@COLOURS
def test_text_is_decoded_by_the_charset_of_its_type(
    serve: Serve, colour: str, content_type: str, body: bytes, text: str
) -> None:
    client = serve(one_route(reading(colour, "text")))
    assert client.post("/", content=body, headers={"content-type": content_type}).json() == [repr(text)]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "text/plain; charset=no-such", "text/plain; charset=hex", "text/plain; charset=punycode"],
)
@COLOURS
def test_text_that_can_not_be_decoded_is_a_400(serve: Serve, colour: str, content_type: str) -> None:
    client = serve(one_route(reading(colour, "text")))
    assert client.post("/", content=b"\xff", headers={"content-type": content_type}).status_code == 400


# Bodies shared with middleware and exception handlers


@COLOURS
@pytest.mark.parametrize("reader", ["def", "async def"])
def test_middleware_reads_the_body_by_a_call_and_the_handler_reads_it_again(
    serve: Serve, colour: str, reader: str
) -> None:
    def middleware(connection: Any) -> Generator[Any, Any, Any]:
        body = yield Call(connection.in_colour(reader == "async def").body)
        response = yield connection
        response.headers["x-body"] = body.decode()
        return response

    response = serve(one_route(reading(colour, "body"), middleware=[middleware])).post("/", content=b"abc")
    assert (response.json(), response.headers["x-body"]) == (["b'abc'"], "abc")


@COLOURS
def test_middleware_reads_the_body_of_the_connection_it_was_given(serve: Serve, colour: str) -> None:
    def middleware(connection: Any) -> Generator[Any, Any, Any]:
        body = yield Call(connection.body)
        connection.state.size = len(body)
        return (yield connection)

    app = one_route(answering(colour, lambda request: request.state.size), middleware=[middleware])
    assert serve(app).post("/", content=b"abc").json() == 3


@pytest.mark.parametrize("handler_colour", ["def", "async def"])
@COLOURS
def test_an_exception_handler_of_either_colour_sees_the_same_body_and_state(
    serve: Serve, colour: str, handler_colour: str
) -> None:
    def fail(request: SyncRequest) -> Response:
        request.state.read = request.body().decode()
        raise LookupError

    async def fail_async(request: Request) -> Response:
        request.state.read = (await request.body()).decode()
        raise LookupError

    def handle(request: SyncRequest, error: LookupError) -> Response:
        return JSONResponse([request.state.read, request.body().decode(), type(request).__name__])

    async def handle_async(request: Request, error: LookupError) -> Response:
        return JSONResponse([request.state.read, (await request.body()).decode(), type(request).__name__])

    app = one_route(
        fail if colour == "def" else fail_async,
        exception_handlers={LookupError: handle if handler_colour == "def" else handle_async},
    )
    expected = {"def": "SyncRequest", "async def": "Request"}[handler_colour]
    assert serve(app).post("/", content=b"abc").json() == ["abc", "abc", expected]


@pytest.mark.parametrize("handler_colour", ["def", "async def"])
@COLOURS
def test_an_exception_handler_reads_a_body_that_the_handler_did_not(
    serve: Serve, colour: str, handler_colour: str
) -> None:
    def fail(request: Any) -> Response:
        raise LookupError

    async def fail_async(request: Any) -> Response:
        raise LookupError

    def handle(request: SyncRequest, error: LookupError) -> Response:
        return PlainTextResponse(request.body())

    async def handle_async(request: Request, error: LookupError) -> Response:
        return PlainTextResponse(await request.body())

    app = one_route(
        fail if colour == "def" else fail_async,
        exception_handlers={LookupError: handle if handler_colour == "def" else handle_async},
    )
    assert serve(app).post("/", content=iter([b"abc", b"def"])).text == "abcdef"


def test_a_handler_that_leaves_the_body_unread_is_answered(serve: Serve) -> None:
    client = serve(one_route(answering("def", lambda request: "unread")))
    assert client.post("/", content=b"x" * 2_000_000).json() == "unread"


# Requests made by hand


SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/a",
    "query_string": b"q=1",
    "headers": [(b"host", b"example.org"), (b"x-a", b"1")],
}


def environ_by_hand(body: bytes = b"") -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a",
        "QUERY_STRING": "q=1",
        "HTTP_HOST": "example.org",
        "HTTP_X_A": "1",
        "SERVER_NAME": "example.org",
        "SERVER_PORT": "80",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
    }


def test_a_request_by_hand_reads_from_its_receive() -> None:
    events: Iterator[dict[str, Any]] = iter(
        [
            {"type": "http.request", "body": b"ab", "more_body": True},
            {"type": "http.request", "body": b"c", "more_body": False},
        ]
    )

    async def receive() -> dict[str, Any]:
        return next(events)

    request = Request(SCOPE, receive)
    assert (request.method, str(request.url), request.headers["x-a"]) == ("POST", "http://example.org/a?q=1", "1")
    assert asyncio.run(request.body()) == b"abc"


def test_a_request_by_hand_without_receive_has_no_body_to_read() -> None:
    with pytest.raises(RuntimeError, match="without a receive callable"):
        asyncio.run(Request(SCOPE).body())


def test_a_sync_request_by_hand_can_not_read_from_receive() -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("never called")

    with pytest.raises(RuntimeError, match="make a Request and await that"):
        SyncRequest(SCOPE, receive).body()


def test_a_sync_request_from_an_environ_reads_its_input() -> None:
    request = SyncRequest.from_environ(environ_by_hand(b"abc"))
    assert (request.method, str(request.url), request.query_params["q"]) == ("POST", "http://example.org/a?q=1", "1")
    assert request.body() == b"abc"
    assert request.environ is not None
    assert request.scope["path"] == "/a"


def test_a_request_from_an_environ_reads_its_input() -> None:
    request = Request.from_environ(environ_by_hand(b"abc"))
    assert isinstance(request, Request)
    assert asyncio.run(request.body()) == b"abc"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Request({**SCOPE, "path": "a"}),
        lambda: SyncRequest.from_environ({**environ_by_hand(), "HTTP_HOST": "a/?x"}),
    ],
    ids=["path", "host"],
)
def test_a_request_by_hand_of_a_malformed_target_is_a_400(make: Callable[[], Any]) -> None:
    with pytest.raises(HTTPException) as caught:
        make()
    assert caught.value.status_code == 400


def test_url_for_by_hand_says_that_it_needs_a_router() -> None:
    with pytest.raises(RuntimeError, match="Router or a DualRoute"):
        Request(SCOPE).url_for("home")


def test_a_handler_that_raises_cancelled_error_of_its_own_is_answered_500(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def endpoint(request: Request) -> Response:
        raise asyncio.CancelledError

    response = serve(DualRoute([Route("/", endpoint)])).get("/")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert "its request was not cancelled" in caplog.text


# The mapping that a request is


def test_a_request_is_a_mapping(serve: Serve) -> None:
    def get(request: SyncRequest) -> Response:
        assert isinstance(request, Mapping)
        assert dict(request) == dict(request.scope)
        return PlainTextResponse(request["path"])

    assert serve(Router([Route("/x", get)])).get("/x").text == "/x"


def test_a_request_is_true_without_a_scope_being_made(serve: Serve) -> None:
    def get(request: SyncRequest) -> Response:
        assert request
        assert request._scope is None
        return PlainTextResponse("")

    assert serve(Router([Route("/", get)])).get("/").status_code == 200


class Shared(TypedDict):
    number: int


def test_a_request_s_class_takes_the_type_of_its_state(protocol: Any) -> None:
    async def get(request: Request[Shared]) -> Response:
        return PlainTextResponse(str(request.state["number"] + 1))

    def get_sync(request: SyncRequest[Shared]) -> Response:
        return PlainTextResponse(str(request.state["number"] + 2))

    @contextmanager
    def lifespan(app: Any) -> Iterator[Shared]:
        yield {"number": 1}

    app = DualRoute([Route("/async", get), Route("/def", get_sync)], lifespan=lifespan)
    with TestClient(app, protocol=protocol) as client:
        assert (client.get("/async").text, client.get("/def").text) == ("2", "3")


# Pushes


@pytest.mark.parametrize("path", ["/async", "/def"])
def test_nothing_is_pushed_where_the_server_can_not(serve: Serve, path: str) -> None:
    answer = serve(PUSHING).get(path)
    assert (answer.status_code, answer.text) == (200, "pushed")


async def pushing_async(request: Request) -> Response:
    await request.send_push_promise("/app.css")
    return PlainTextResponse("pushed")


def pushing(request: SyncRequest) -> Response:
    request.send_push_promise("/app.css")
    return PlainTextResponse("pushed")


PUSHING = Router([Route("/async", pushing_async), Route("/def", pushing)])


def http_scope(path: str, extension: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "2",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"accept", b"*/*"), (b"user-agent", b"me"), (b"cookie", b"a=1"), (b"host", b"x")],
        "extensions": {extension: {}},
    }


@pytest.mark.protocol("asgi")
@pytest.mark.parametrize("path", ["/async", "/def"])
def test_a_server_that_can_is_told_what_to_push(protocol: str, path: str, event_loop_thread: Any) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    event_loop_thread.run(PUSHING(http_scope(path, "http.response.push"), receive, send))
    headers = [(b"accept", b"*/*"), (b"user-agent", b"me")]
    assert sent.pop(0) == {"type": "http.response.push", "path": "/app.css", "headers": headers}
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


@pytest.mark.protocol("asgi")
def test_a_request_made_by_hand_sends_its_events(protocol: str, event_loop_thread: Any) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"body"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        request = Request(http_scope("/", "http.response.early_hint"), receive, send)
        await request.send_early_hints("</a>", "</b>")
        await request.send_early_hints(["</c>"])
        assert await request.body() == b"body"
        quiet = Request(http_scope("/", "http.response.early_hint"), receive)
        await quiet.send_early_hints("</a>")

    event_loop_thread.run(main())
    assert sent == [
        {"type": "http.response.early_hint", "links": [b"</a>", b"</b>"]},
        {"type": "http.response.early_hint", "links": [b"</c>"]},
    ]
