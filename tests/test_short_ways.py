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
