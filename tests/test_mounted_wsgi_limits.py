"""Limits around mounted WSGI apps: a 413, whatever the app makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from dualroute import (
    DualRoute,
    Host,
    Limits,
    Mount,
    PlainTextResponse,
    Response,
    Router,
    SyncRequest,
    WSGIApp,
)
from dualroute.bodies import BUFFER_SIZE
from tests.mounted_wsgi_helper import (
    Ask,
    Environ,
    Reader,
    answering,
    ask_fixture,
    piece,
    read_first,
    records,
    run,
    upload_of,
)

__all__ = ["ask_fixture"]

asgi_only = pytest.mark.protocol("asgi")  # only there do a thread and the server's own loop meet
wsgi_only = pytest.mark.protocol("wsgi")

# Limits


def limited(where: str, legacy: Any, limits: Limits) -> DualRoute:
    if where == "DualRoute":
        return DualRoute([Mount("/old", app=legacy)], limits=limits)
    if where == "fallback":
        return DualRoute(fallback=legacy, limits=limits)
    if where == "Mount":
        return DualRoute([Mount("/old", app=legacy, limits=limits)])
    if where == "Mount around":
        return DualRoute([Mount("/old", app=Router([Mount("/x", app=legacy)]), limits=limits)])
    if where == "inner DualRoute":
        return DualRoute([Mount("/old", app=DualRoute(fallback=legacy, limits=limits))], limits=Limits(max_body_size=1))
    return DualRoute([Host("testserver", app=legacy, limits=limits)], limits=Limits(max_body_size=1))


PLACES = ["DualRoute", "fallback", "Mount", "Mount around", "inner DualRoute", "Host"]


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("swallow", [False, True])
@pytest.mark.parametrize("announced", [-1, None], ids=["length", "chunks"])
@pytest.mark.parametrize("buffer_size", [10, BUFFER_SIZE])
def test_a_body_beyond_the_limit_is_a_413_whatever_the_app_makes_of_it(
    ask: Ask, where: str, swallow: bool, announced: int | None, buffer_size: int, caplog: pytest.LogCaptureFixture
) -> None:
    # BAD_INPUTS 16
    reader = Reader(lambda file: b"".join(iter(lambda: file.read(100), b"")), swallow=swallow)
    app = limited(where, WSGIApp(reader, buffer_size=buffer_size), Limits(max_body_size=150_000))
    body = [b"x" * 50_000] * 3
    assert ask(app, "POST", "/old/x/", body=body, announced=announced).status == 200
    assert reader.got == b"".join(body)
    reader.got = None
    answer = ask(app, "POST", "/old/x/", body=[*body, b"x"], announced=announced)
    assert (answer.status, b"150000" in answer.body) == (413, True)
    assert reader.got is None
    assert not records(caplog, 40)


def test_an_announced_length_beyond_the_limit_never_reaches_the_app(ask: Ask) -> None:
    called: list[Environ] = []
    app = DualRoute(fallback=lambda environ, start_response: called.append(environ), limits=Limits(max_body_size=9))
    assert ask(app, "POST", body=[b"0123456789"]).status == 413
    assert called == []


@pytest.mark.parametrize("reads", [True, False])
def test_what_reading_beyond_the_limit_raises_is_an_oserror(ask: Ask, reads: bool) -> None:
    reader = Reader(lambda file: file.read(), swallow=True)
    app = DualRoute(fallback=WSGIApp(reader, buffer_size=10), limits=Limits(max_body_size=100_000))
    assert ask(app, "POST", body=[b"x" * 60_000] * 2, announced=None).status == 413
    assert isinstance(reader.error, OSError)
    assert getattr(reader.error, "status_code", None) == 413


@asgi_only  # a WSGI server reads no more than the length says
def test_the_limit_counts_what_comes_and_not_what_was_announced(ask: Ask) -> None:
    # BAD_INPUTS 16
    reader = Reader(lambda file: file.read(), swallow=True)
    app = DualRoute(fallback=reader, limits=Limits(max_body_size=5))
    assert ask(app, "POST", body=[b"012", b"345"], announced=3).status == 413


@wsgi_only
def test_a_length_that_understates_is_all_that_is_read(ask: Ask) -> None:
    # BAD_INPUTS 16
    reader = Reader(lambda file: file.read())
    app = DualRoute(fallback=reader, limits=Limits(max_body_size=5))
    assert ask(app, "POST", body=[b"012345"], announced=3).status == 200
    assert reader.got == b"012"


def test_a_413_has_its_exception_handler(ask: Ask) -> None:
    def handle(request: SyncRequest, error: Exception) -> Response:
        return PlainTextResponse("ours", status_code=413)

    reader = Reader(lambda file: file.read(), swallow=True)
    app = DualRoute(fallback=reader, limits=Limits(max_body_size=5), exception_handlers={413: handle})
    for announced in (-1, None):
        assert ask(app, "POST", body=[b"012345"], announced=announced).body == b"ours"


@pytest.mark.parametrize("size", [5, 6])
def test_a_limit_counts_for_middleware_that_reads_first(ask: Ask, size: int) -> None:
    reader = Reader(lambda file: file.read())
    app = DualRoute(fallback=reader, limits=Limits(max_body_size=5), middleware=[read_first])
    assert ask(app, "POST", body=[b"x" * size], announced=None).status == (200 if size == 5 else 413)


@asgi_only
def test_what_is_announced_beyond_the_limit_is_answered_without_waiting_for_it(protocol: str) -> None:
    async def main() -> None:
        app = DualRoute(fallback=answering([b"x"]), limits=Limits(max_body_size=5))
        peer = upload_of(app, [("content-length", "6")], [piece(b"012345", False)])
        await peer.start()
        assert (peer.answer.status, peer.received) == (413, 0)

    run(main())
