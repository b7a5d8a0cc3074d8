"""The short ways by which a foreign app or middleware is answered for: each gives what the long way gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dualroute import DualRoute, Mount, PlainTextResponse
from tests.around_helper import generator
from tests.conftest import Serve

TEXT = [("Content-Type", "text/plain")]


class Closing:
    """What an application returns that is closed in the end."""

    closed = 0

    def __init__(self, *pieces: bytes, fails: bool = False) -> None:
        self._pieces = iter(pieces)
        self._fails = fails

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        for piece in self._pieces:
            return piece
        if self._fails:
            raise LookupError("half-way")
        raise StopIteration

    def close(self) -> None:
        Closing.closed += 1


def answering(result: Callable[[], Any], status: str = "200 OK", headers: Any = TEXT) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return result()

    return app


def telling(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", TEXT)
    names = ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_METHOD", "HTTP_X_A", "wsgi.input_terminated")
    return [repr([environ.get(name) for name in names]).encode(), environ["wsgi.input"].read()]


def failing(environ: Any, start_response: Any) -> Any:
    raise LookupError("boom")


def silent(environ: Any, start_response: Any) -> Any:
    return []


def writing(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", TEXT)(b"written ")
    return [b"returned"]


WSGI_APPS: dict[str, Any] = {
    "a list": answering(lambda: [b"whole"]),
    "a list of several": answering(lambda: [b"in", b"", b"parts"]),
    "an empty list": answering(list, "404 Not Here"),
    "a tuple": answering(lambda: (b"whole",)),
    "an iterator": answering(lambda: iter([b"", b"one", b"two"])),
    "an iterator to close": answering(lambda: Closing(b"one", b"two")),
    "an empty one": answering(Closing),
    "without a body": answering(lambda: [b""], "204 No Content", [("Content-Length", "0"), ("X-A", "a")]),
    "not modified": answering(Closing, "304 Not Modified", [*TEXT, ("ETag", '"a"')]),
    "about the connection": answering(
        lambda: [b"x"], "200 OK", [*TEXT, ("Connection", "close"), ("Set-Cookie", "a=b")]
    ),
    "what it is told": telling,
    "written": writing,
    "bytes": answering(lambda: b"bytes"),
    "None": answering(lambda: None),
    "text": answering(lambda: ["text"]),
    "a status that is none": answering(lambda: [b"x"], "OK"),
    "a header with a line in it": answering(lambda: [b"x"], "200 OK", [("X-A", "a\r\nb")]),
    "a header that is no text": answering(lambda: [b"x"], "200 OK", [("X-A", 1)]),
    "no start": silent,
    "a failure": failing,
    "a failure at once": answering(lambda: Closing(fails=True)),
}


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the errors in the log were about."""
    return [repr(record.exc_info and record.exc_info[1]) for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("name", WSGI_APPS)
def test_a_wsgi_app_with_nothing_around_it(serve: Serve, name: str, caplog: pytest.LogCaptureFixture) -> None:
    def answers(middleware: list[Any], **options: Any) -> Any:
        caplog.clear()
        Closing.closed = 0
        client = serve(DualRoute([Mount("/old", app=WSGI_APPS[name])], middleware=middleware, **options))
        responses = [client.request(method, path, **more) for method, path, more in REQUESTS]
        told = [(answer.status_code, answer.content, answer.headers.multi_items()) for answer in responses]
        return told, failures(caplog), Closing.closed

    assert answers([]) == answers([generator])
    handlers = {LookupError: lambda request, error: PlainTextResponse(f"handled {error}")}
    assert answers([], exception_handlers=handlers) == answers([generator], exception_handlers=handlers)


REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/old/path?q=a", {"headers": {"x-a": "a"}}),
    ("GET", "/old", {}),
    ("GET", "/old/p%C3%A4th", {}),
    ("HEAD", "/old/path", {}),
    ("POST", "/old/path", {"content": b"body"}),
    ("POST", "/old/path", {"content": b""}),
    ("DELETE", "/old/path", {"headers": {"content-length": "0"}}),
]


def sending(*messages: dict[str, Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain"), *headers]}


def piece(body: Any, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def asgi_telling(scope: Any, receive: Any, send: Any) -> None:
    names = (
        "root_path",
        "path",
        "raw_path",
        "query_string",
        "method",
        "path_params",
        "state",
        "app",
        "route",
        "endpoint",
    )
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    scope["state"]["left"] = "here"
    await send(start())
    await send(piece(repr([scope.get(name) for name in names]).encode() + body))


async def asgi_failing(scope: Any, receive: Any, send: Any) -> None:
    raise LookupError("boom")


async def asgi_failing_after_its_start(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    raise LookupError("boom")


async def asgi_failing_in_the_end(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    await send(piece(b"whole"))
    raise LookupError("too late")


ASGI_APPS: dict[str, Any] = {
    "whole": sending(start(), piece(b"whole")),
    "pieces": sending(start(), piece(b"one", more=True), piece(b"", more=True), piece(b"two")),
    "nothing": sending(start(404), piece(b"")),
    "a bytearray": sending(start(), piece(bytearray(b"bytes"))),
    "without a body": sending({**start(204), "headers": [(b"x-a", b"a")]}, piece(b"")),
    "what it is told": asgi_telling,
    "text": sending(start(), piece("text")),
    "a status that is none": sending({**start(), "status": 20}, piece(b"x")),
    "a header with a line in it": sending(start(200, (b"x-a", b"a\r\nb")), piece(b"x")),
    "a header with no name": sending(start(200, (b"x a", b"b")), piece(b"x")),
    "a header of text": sending(start(200, ("x-a", "b")), piece(b"x")),  # type: ignore[arg-type]  # which is wrong
    "two starts": sending(start(), start(), piece(b"x")),
    "no start": sending(piece(b"x")),
    "no end": sending(start()),
    "no response": sending(),
    "what nobody knows": sending(start(), {"type": "http.response.unknown"}, piece(b"x")),
    "a failure": asgi_failing,
    "a failure after the start": asgi_failing_after_its_start,
    "a failure in the end": asgi_failing_in_the_end,
}


@pytest.mark.parametrize("name", ASGI_APPS)
def test_an_asgi_app_with_nothing_around_it(serve: Serve, name: str, caplog: pytest.LogCaptureFixture) -> None:
    def answers(middleware: list[Any], **options: Any) -> Any:
        caplog.clear()
        client = serve(DualRoute([Mount("/old", app=ASGI_APPS[name])], middleware=middleware, **options))
        responses = [client.request(method, path, **more) for method, path, more in REQUESTS]
        # What follows the headers of an answer to HEAD is the server's to leave out, as it does for any application.
        told = [
            (answer.status_code, answer.request.method == "HEAD" or answer.content, answer.headers.multi_items())
            for answer in responses
        ]
        return told, failures(caplog)

    assert answers([]) == answers([generator])
    handlers = {LookupError: lambda request, error: PlainTextResponse(f"handled {error}")}
    assert answers([], exception_handlers=handlers) == answers([generator], exception_handlers=handlers)
