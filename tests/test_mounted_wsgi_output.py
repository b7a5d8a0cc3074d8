"""The response of a mounted WSGI app is closed always and exactly once, and never while it is iterated over."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from dualroute import DualRoute, HTTPException, Limits, PlainTextResponse, WSGIApp
from tests.mounted_wsgi_helper import (
    TEXT,
    Ask,
    Body,
    Environ,
    answering,
    ask_fixture,
    logged,
    records,
)

__all__ = ["ask_fixture"]

asgi_only = pytest.mark.protocol("asgi")  # only there do a thread and the server's own loop meet
wsgi_only = pytest.mark.protocol("wsgi")

# Closed always, exactly once, and never while it is iterated over


@pytest.mark.parametrize("buffer_size", [500, 1_048_576])
@pytest.mark.parametrize("pieces", [(), (b"",), (b"one",), (b"one", b"", b"two"), (b"x" * 1000,) * 20])
def test_closed_at_the_normal_end(ask: Ask, pieces: tuple[bytes, ...], buffer_size: int) -> None:
    body = Body(*pieces)
    answer = ask(DualRoute(fallback=WSGIApp(body.app(), buffer_size=buffer_size)))
    assert (answer.body, body.given) == (b"".join(pieces), len(pieces))
    body.assert_closed_once()


@pytest.mark.parametrize("endless", [False, True])
@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("GET", "204 None")])
def test_closed_where_no_body_is_sent(ask: Ask, method: str, status: str, endless: bool) -> None:
    body = Body(b"one", b"two", endless=endless)
    headers = TEXT if method == "HEAD" else []
    answer = ask(DualRoute(fallback=WSGIApp(body.app(status, headers), buffer_size=500)), method)
    assert (answer.status, answer.body) == (int(status[:3]), b"")
    body.assert_closed_once()


@pytest.mark.parametrize("given", [0, 1, 2, 30])
def test_closed_after_an_exception_in_the_iteration(ask: Ask, given: int, caplog: pytest.LogCaptureFixture) -> None:
    body = Body(*[b"x" * 100] * given, LookupError("oops"), b"never")
    answer = ask(DualRoute(fallback=WSGIApp(body.app(), buffer_size=1000)))
    assert (answer.status, answer.cut) == ((200, True) if given else (500, False))
    assert body.pieces == [b"never"]
    body.assert_closed_once()
    assert "LookupError('oops')" in logged(caplog)


def test_closed_after_an_exception_in_iter(ask: Ask) -> None:
    body = Body()

    class Broken:
        close = body.close

        def __iter__(self) -> Iterator[bytes]:
            raise LookupError("oops")

    assert ask(DualRoute(fallback=answering(Broken))).status == 500
    body.assert_closed_once()


@pytest.mark.parametrize("wrong", ["text", 3])
@pytest.mark.parametrize("given", [0, 2])
def test_closed_after_a_piece_that_is_no_bytes(ask: Ask, wrong: Any, given: int) -> None:
    body = Body(*[b"x"] * given, wrong)
    assert ask(DualRoute(fallback=body.app())).status == (200 if given else 500)
    body.assert_closed_once()


def test_closed_where_start_response_was_never_called(ask: Ask) -> None:
    body = Body(b"one", b"two")

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        return body

    assert ask(DualRoute(fallback=app)).status == 500
    body.assert_closed_once()


def test_closed_where_start_response_is_called_twice_while_iterating(ask: Ask) -> None:
    starts: list[Any] = []
    body = Body(lambda: starts[0]("200 OK", TEXT) and b"", b"never")

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        starts.append(start_response)
        return body

    assert ask(DualRoute(fallback=app)).status == 500
    body.assert_closed_once()


@pytest.mark.parametrize("written", [b"", b"one"])
def test_closed_after_write(ask: Ask, written: bytes) -> None:
    body = Body(b"two")

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)(written)
        return body

    assert ask(DualRoute(fallback=app)).body == written + b"two"
    body.assert_closed_once()


def test_a_generator_is_closed(ask: Ask) -> None:
    ended: list[str] = []

    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        try:
            while True:
                yield b"x"
        finally:
            ended.append("ended")

    ask(DualRoute(fallback=WSGIApp(app, buffer_size=500)), take=3)
    gc.collect()
    assert ended == ["ended"]


@pytest.mark.parametrize("given", [0, 1])
def test_an_error_in_close_is_logged_and_the_response_stands(
    ask: Ask, given: int, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[int] = []

    class Broken(Body):
        def close(self) -> None:
            closed.append(1)
            raise LookupError("closing")

    answer = ask(DualRoute(fallback=Broken(*[b"one"] * given).app()))
    assert (answer.status, answer.body, closed) == (200, b"one" * given, [1])
    line = logged(caplog)
    assert "close() of the response of the WSGI app tests.mounted_wsgi_helper.Body.app" in line
    assert "closing" in line


@pytest.mark.parametrize("way", ["disconnect", "send"])
@pytest.mark.parametrize("take", [-1, 0, 1, 2, 30])
@pytest.mark.parametrize("buffer_size", [1000, 1_048_576])
def test_closed_where_the_client_leaves(
    ask: Ask, way: str, take: int, buffer_size: int, caplog: pytest.LogCaptureFixture
) -> None:
    # BAD_INPUTS 24
    body = Body(b"one", *[b"x" * 1000] * 2000, endless=buffer_size == 1000)
    answer = ask(DualRoute(fallback=WSGIApp(body.app(), buffer_size=buffer_size)), take=take, way=way)
    assert len(answer.pieces) <= 60
    body.assert_closed_once()
    assert body.given <= 3000
    assert records(caplog) == [], "nobody's fault"


@wsgi_only
@pytest.mark.parametrize("take", [0, 1, 2, 5])
def test_closed_once_by_a_server_that_closes_twice(take: int) -> None:
    body = Body(b"one", b"two")
    result: Any = DualRoute(fallback=body.app())(Ask("wsgi").environ(), lambda *args: None)
    pieces = iter(result)
    for _ in range(take):
        next(pieces, None)
    assert body.closed == 0
    result.close()
    result.close()
    body.assert_closed_once()


@wsgi_only
def test_closed_where_the_server_refuses_the_response() -> None:
    body = Body(b"one", b"two")

    def refuses(status: str, headers: Any, exc_info: Any = None) -> Any:
        raise AssertionError("no such status here")

    with pytest.raises(AssertionError, match="no such status"):
        DualRoute(fallback=body.app())(Ask("wsgi").environ(), refuses)
    body.assert_closed_once()


@wsgi_only  # on an event loop, these end the loop
@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
@pytest.mark.parametrize("given", [0, 1])
def test_closed_where_the_worker_is_told_to_stop(ask: Ask, error: BaseException, given: int) -> None:
    body = Body(*[b"one"] * given, error)
    with pytest.raises(type(error)):
        ask(DualRoute(fallback=body.app()))
    body.assert_closed_once()


@pytest.mark.parametrize("pieces", [(b"one",), (b"x" * 400,) * 50])
@pytest.mark.parametrize("what", ["replaces", "raises", "raises HTTP", "adds"])
def test_closed_where_middleware_does_something_else(ask: Ask, what: str, pieces: tuple[bytes, ...]) -> None:
    body = Body(*pieces)
    closed_before: list[int] = []

    def meddle(connection: Any) -> Any:
        response = yield connection
        closed_before.append(body.closed)
        if what == "replaces":
            return PlainTextResponse("another")
        if what == "raises":
            raise LookupError("oops")
        if what == "raises HTTP":
            raise HTTPException(418)
        response.headers["x-a"] = "1"
        return response

    answer = ask(DualRoute(fallback=WSGIApp(body.app(), buffer_size=1000), middleware=[meddle]))
    expected = {
        "replaces": (200, b"another"),
        "raises": (500, b"Internal Server Error"),
        "adds": (200, b"".join(pieces)),
    }
    assert (answer.status, answer.body) == expected.get(what, (418, b"I'm a Teapot"))
    body.assert_closed_once()


@pytest.mark.parametrize("pieces", [(b"one",), (b"x" * 400,) * 50])
@pytest.mark.parametrize("handled", [True, False])
def test_closed_where_an_exception_handler_answers_in_its_place(
    ask: Ask, pieces: tuple[bytes, ...], handled: bool
) -> None:
    body = Body(*pieces)
    legacy = WSGIApp(body.app("404 No"), intercept_errors=True, buffer_size=1000)
    handlers: Any = {404: lambda request, error: PlainTextResponse("ours", status_code=404)} if handled else {}
    answer = ask(DualRoute(fallback=legacy, exception_handlers=handlers))
    assert (answer.status, answer.body) == (404, b"ours" if handled else b"".join(pieces))
    body.assert_closed_once()


def test_closed_where_the_intercepted_answer_is_not_taken_to_its_end(ask: Ask) -> None:
    body = Body(endless=True)
    legacy = WSGIApp(body.app("404 No"), intercept_errors=True, buffer_size=1000)
    ask(DualRoute(fallback=legacy), take=2)
    body.assert_closed_once()


def test_closed_where_the_request_body_was_too_large(ask: Ask) -> None:
    body = Body(b"one", b"two")

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        try:
            environ["wsgi.input"].read()
        except OSError:
            pass
        return body

    served = DualRoute(fallback=WSGIApp(app, buffer_size=10), limits=Limits(max_body_size=150_000))
    assert ask(served, "POST", body=[b"x" * 60_000] * 3, announced=None).status == 413
    body.assert_closed_once()
