"""Responses that functions write to their request."""

from __future__ import annotations

from typing import Any

import pytest

from dualroute import DualRoute, Mount, PlainTextResponse, Request, Response, SyncRequest
from dualroute.rules import RuleRouter
from dualroute.written import WritableRequest, WritableSyncRequest, parsed
from tests.conftest import Serve

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


def writer(*pieces: bytes, finish: bool = True) -> Any:
    def write(request: WritableSyncRequest) -> None:
        for piece in pieces:
            request.write(piece)
        if finish:
            request.finish()

    return write


def async_writer(*pieces: bytes) -> Any:
    async def write(request: WritableRequest) -> None:
        for piece in pieces:
            request.write(piece)
        request.finish()

    return write


@pytest.mark.parametrize("make", [writer, async_writer])
def test_what_is_written_is_the_response(make: Any, serve: Serve) -> None:
    head = b"HTTP/1.0 201 Made Up\r\nX-One: 1\r\nset-cookie:a=b\r\nSet-Cookie: c=d \r\nContent-Type: text/x\r\n\r\n"
    answer = serve(RuleRouter([("/x", make(head[:20], head[20:], b"bo", b"dy"))])).post("/x")
    assert (answer.status_code, answer.content) == (201, b"body")
    assert answer.headers.get_list("set-cookie") == ["a=b", "c=d"]
    assert answer.headers["content-length"] == "4"
    assert answer.headers["content-type"] == "text/x"


def test_a_function_that_hands_on_a_coroutine_may_write_too(serve: Serve) -> None:
    async def write(request: Any) -> None:
        request.write(OK)
        request.finish()

    def hand_on(request: Any) -> Any:
        return write(request)

    assert serve(RuleRouter([("/x", hand_on)])).get("/x").content == b"OK"


def test_head_gets_no_body(serve: Serve) -> None:
    answer = serve(RuleRouter([("/x", writer(OK))])).head("/x")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "2")


def test_a_response_may_be_returned_as_anywhere(serve: Serve) -> None:
    def sync(request: SyncRequest) -> Response:
        return PlainTextResponse(f"{request.method} {len(request.body())}")

    async def coroutine(request: Request) -> Response:
        return PlainTextResponse(f"{request.method} {len(await request.body())}")

    router = RuleRouter([("/s", sync), ("/a", coroutine)])
    assert serve(router).post("/s", content=b"12").text == "POST 2"
    assert serve(router).post("/a", content=b"123").text == "POST 3"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_request_has_tornados_names_besides_our_own(asynchronous: bool, serve: Serve) -> None:
    def tell(request: Any) -> Response:
        told = [
            request.uri, request.query, request.host, request.host_name, request.protocol, request.version,
            request.remote_ip, request.arguments, request.query_arguments, request.full_url(),
            request.path, request.root_path, request.headers["x-a"], request.path_args,
        ]  # fmt: skip
        return PlainTextResponse("\n".join(map(str, told)))

    async def tell_async(request: Any) -> Response:
        return tell(request)

    app = DualRoute([Mount("/m", app=RuleRouter([("/(.*)", drop(tell_async) if asynchronous else drop(tell))]))])
    answer = serve(app, root_path="/base", base_url="http://testserver:8000").get("/m/a%20b?q=1", headers={"x-a": "A"})
    assert answer.text.split("\n") == [
        "/a%20b?q=1", "q=1", "testserver:8000", "testserver", "http", "HTTP/1.1",
        "127.0.0.1", "{'q': [b'1']}", "{'q': [b'1']}", "http://testserver:8000/base/m/a%20b?q=1",
        "/base/m/a b", "/base/m", "A", "('a b',)",
    ]  # fmt: skip


def drop(function: Any) -> Any:
    """Return a function of the same colour that passes on the request alone."""
    import inspect

    if inspect.iscoroutinefunction(function):

        async def dropping_async(request: Any, path: str) -> Any:
            return await function(request)

        return dropping_async

    def dropping(request: Any, path: str) -> Any:
        return function(request)

    return dropping


# What is wrong


MALFORMED: dict[bytes, str] = {
    b"": "it is empty",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n": "there is no empty line",
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nOK": "there is no empty line",
    b"200 OK\r\n\r\n": "the status line '200 OK' is not of the form",
    b"HTTP/2 200\r\n\r\n": "the status line 'HTTP/2 200' is not of the form",
    b"HTTP/1.1 20 OK\r\n\r\n": "the status line 'HTTP/1.1 20 OK' is not of the form",
    b"HTTP/1.1 100 Continue\r\n\r\n": "that of an interim response",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n": "the header line 'no colon' is not of the form 'Name: value'",
    b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n": "the header line 'A : b' is not of the form",
    b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n": "the header line ' c' is not of the form",
    b"HTTP/1.1 200 OK\r\nA\xe9: b\r\n\r\n": "is no header name",
    b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n": "b",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": "the server's affair; write the body as it is",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nOK": "the Content-Length is 3, and the body has 2 bytes",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nOK": "the Content-Length is 1, and the body has 2 bytes",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nOK": "the Content-Length is 2, 2",
    b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nOK": "the Content-Length is two",
}


@pytest.mark.parametrize("message", MALFORMED)
def test_what_is_no_response_is_a_500_that_says_so(
    message: bytes, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    assert serve(RuleRouter([("/x", writer(message))])).get("/x").status_code == 500
    assert MALFORMED[message] in caplog.text
    assert "wrote no HTTP response to its request" in caplog.text


def returning(value: Any, *pieces: bytes) -> Any:
    def write(request: Any) -> Any:
        for piece in pieces:
            request.write(piece)
        return value

    return write


def late(request: Any) -> None:
    request.finish()
    request.write(b"x")


def twice(request: Any) -> None:
    request.finish()
    request.finish()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (returning(None), "returned None; it must return a Response, or write one to its request and finish()"),
        (returning(None, OK), "wrote to its request and did not finish() it"),
        (returning(PlainTextResponse("x"), OK), "wrote to its request and returned something as well"),
        (returning(3), "an endpoint must return a Response"),
        (writer("text"), "what is written to a request must be bytes, not str"),  # type: ignore[arg-type]  # the mistake
        (late, "write() was called after finish()"),
        (twice, "finish() was called twice"),
    ],
)
def test_a_function_that_goes_about_it_wrongly_is_a_500(
    function: Any, message: str, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    assert serve(RuleRouter([("/x", function)])).get("/x").status_code == 500
    assert message in caplog.text


# Parsing


def test_a_body_without_a_length_is_what_follows_the_headers() -> None:
    response = parsed(b"HTTP/1.1 200\r\n\r\na\r\n\r\nb", "GET")
    assert (response.status_code, response.body, response.headers["content-length"]) == (200, b"a\r\n\r\nb", "6")
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.reason is None


def test_statuses_without_a_body_have_none() -> None:
    response = parsed(b"HTTP/1.1 204 No Content\r\n\r\n", "GET")
    assert (response.body, "content-length" in response.headers, "content-type" in response.headers) == (
        b"",
        False,
        False,
    )
    assert parsed(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET").headers["content-length"] == "5"
    assert parsed(b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\n", "HEAD").reason == "Fine"
