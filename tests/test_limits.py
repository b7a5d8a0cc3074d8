"""Limits on request bodies: the bytes that come are counted, on both protocols, for handlers of both colours."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import fields
from typing import Any

import httpx
import pytest

from dualroute import (
    DualRoute,
    Host,
    HTTPException,
    Limits,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    SyncRequest,
)
from tests.conftest import Serve


def size(request: SyncRequest) -> Response:
    return PlainTextResponse(str(len(request.body())))


async def size_async(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


def streamed(request: SyncRequest) -> Response:
    return PlainTextResponse(str(sum(len(piece) for piece in request.stream())))


async def streamed_async(request: Request) -> Response:
    return PlainTextResponse(str(sum([len(piece) async for piece in request.stream()])))


def unread(request: SyncRequest) -> Response:
    return PlainTextResponse("unread")


HANDLERS = pytest.mark.parametrize("handler", [size, size_async, streamed, streamed_async])


def post(client: httpx.Client, size: int, *, chunked: bool, path: str = "/") -> httpx.Response:
    if chunked:
        pieces = [b"x" * min(1000, size - at) for at in range(0, size, 1000)]
        return client.post(path, content=iter(pieces))
    return client.post(path, content=b"x" * size)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@HANDLERS
def test_a_body_up_to_the_limit_is_taken_and_one_beyond_it_is_413(handler: Any, chunked: bool, serve: Serve) -> None:
    client = serve(DualRoute([Route("/", handler, methods=["POST"])], limits=Limits(max_body_size=5000)))
    assert post(client, 5000, chunked=chunked).text == "5000"
    refused = post(client, 5001, chunked=chunked)
    assert (refused.status_code, refused.text) == (413, "Content Too Large: the request body may have 5000 bytes")
    assert post(client, 3_000_000, chunked=chunked).status_code == 413


def test_a_handler_that_does_not_read_the_body_is_not_bothered(serve: Serve) -> None:
    client = serve(DualRoute([Route("/", unread, methods=["POST"])], limits=Limits(max_body_size=1)))
    assert post(client, 100, chunked=False).text == "unread"


def test_the_innermost_that_sets_a_limit_counts(serve: Serve) -> None:
    methods = ["POST"]
    app = DualRoute(
        [
            Route("/outer", size, methods=methods),
            Route("/own", size, methods=methods, limits=Limits(max_body_size=30)),
            Route("/any", size, methods=methods, limits=Limits(max_body_size=None)),
            Route("/other", size, methods=methods, limits=Limits(max_file_size=5)),
            Mount(
                "/mount",
                routes=[
                    Route("/", size, methods=methods),
                    Route("/own", size, methods=methods, limits=Limits(max_body_size=None)),
                    Route("/other", size, methods=methods, limits=Limits()),
                ],
                limits=Limits(max_body_size=20),
            ),
            Mount("/app", app=DualRoute([Route("/", size, methods=methods)], limits=Limits(max_body_size=40))),
            Host("h.example", app=size_async, limits=Limits(max_body_size=50)),
        ],
        limits=Limits(max_body_size=10),
    )
    client = serve(app)
    for path, most in (
        *(("/outer", 10), ("/own", 30), ("/other", 10)),
        *(("/mount/", 20), ("/mount/other", 20), ("/app/", 40)),
    ):
        assert post(client, most, chunked=False, path=path).text == str(most)
        assert post(client, most + 1, chunked=False, path=path).status_code == 413
    for path in ("/any", "/mount/own"):
        assert post(client, 10_000, chunked=False, path=path).text == "10000"
    client = serve(app, base_url="http://h.example")
    assert post(client, 50, chunked=True, path="/x").text == "50"
    assert post(client, 51, chunked=True, path="/x").status_code == 413


def test_an_exception_handler_may_answer_and_middleware_may_read(serve: Serve) -> None:
    def reading(connection: Any) -> Generator[Any, Any, Response]:
        response: Response = yield connection
        response.headers["x-outside"] = "yes"
        return response

    def too_large(request: SyncRequest, error: HTTPException) -> Response:
        return PlainTextResponse(f"handled {error.status_code}", 413)

    client = serve(
        DualRoute(
            [Route("/", size_async, methods=["POST"])],
            limits=Limits(max_body_size=3),
            middleware=[reading],
            exception_handlers={413: too_large},
        )
    )
    refused = post(client, 4, chunked=True)
    assert (refused.status_code, refused.text, refused.headers["x-outside"]) == (413, "handled 413", "yes")


def test_reading_on_after_the_limit_raises_again(serve: Serve) -> None:
    async def twice(request: Request) -> Response:
        failures = 0
        for _ in range(2):
            try:
                await request.body()
            except HTTPException as error:
                failures += error.status_code == 413
            except RuntimeError:
                failures += 10
        return PlainTextResponse(str(failures))

    client = serve(DualRoute([Route("/", twice, methods=["POST"])], limits=Limits(max_body_size=3)))
    assert post(client, 4, chunked=False).text == "11"


NAMES = [field.name for field in fields(Limits) if field.init]


@pytest.mark.parametrize("value", [-1, -100, 1.5, "1"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_limit_is_refused(name: str, value: Any) -> None:
    if name == "idle_timeout" and value == 1.5:
        value = 0  # half a second more is fine for a time, and no time at all is not
    with pytest.raises(ValueError, match=f"{name} is a number of [a-z]+, or None for any number, not {value!r}"):
        Limits(**{name: value})


def test_limits_show_what_counts() -> None:
    assert (Limits().max_body_size, Limits().max_form_fields, Limits().max_part_size) == (None, 1000, 1024 * 1024)
    assert "max_form_fields=5, max_form_files=1000" in repr(Limits(max_form_fields=5))
    assert Limits(max_form_fields=5) == Limits(max_form_fields=5) != Limits(max_form_fields=6)
    assert hash(Limits(max_form_fields=5)) == hash(Limits(max_form_fields=5))


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_that_is_not_set_is_the_outer_one_s(name: str) -> None:
    outer = Limits(**{name: 5})
    assert getattr(Limits().inside(outer), name) == 5
    assert getattr(Limits(**{name: None}).inside(outer), name) is None
    assert getattr(Limits(**{name: 1}).inside(outer), name) == 1
    assert getattr(outer.inside(Limits(**{name: 7})), name) == 5
    other = next(each for each in NAMES if each != name)
    assert Limits(**{other: 3}).inside(outer) == Limits(**{name: 5, other: 3})
    assert outer.inside(None) is outer
