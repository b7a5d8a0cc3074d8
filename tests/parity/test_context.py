"""Context variables, which loggers and tracers rely on: they go in and come out alike, whatever the colours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from dualroute import Call, DualRoute, JSONResponse, PlainTextResponse, Response, Route, StreamingResponse
from tests.conftest import Serve

COLOURS = pytest.mark.parametrize("colour", ["def", "async def"])
variable: ContextVar[str] = ContextVar("variable", default="unset")


def in_colour(colour: str, function: Callable[..., Response]) -> Callable[..., Any]:
    """Return `function` as a `def` or as an `async def` that gives others a turn before and after."""

    async def function_async(*args: Any) -> Response:
        await asyncio.sleep(0)
        response = function(*args)
        await asyncio.sleep(0)
        return response

    return function if colour == "def" else function_async


def seen_and_bound(request: Any) -> Response:
    seen = variable.get()
    variable.set("by the handler")
    return PlainTextResponse(seen)


@COLOURS
def test_what_middleware_binds_the_handler_sees_and_what_the_handler_binds_middleware_sees(
    serve: Serve, colour: str
) -> None:
    def middleware(connection: Any) -> Generator[Any, Any, Any]:
        variable.set("by middleware")
        response = yield connection
        response.headers["x-after"] = variable.get()
        return response

    app = DualRoute([Route("/", in_colour(colour, seen_and_bound))], middleware=[middleware])
    response = serve(app).get("/")
    assert (response.text, response.headers["x-after"]) == ("by middleware", "by the handler")


@COLOURS
def test_what_a_handler_binds_before_it_fails_middleware_and_the_exception_handler_see(
    serve: Serve, colour: str
) -> None:
    def fail(request: Any) -> Response:
        variable.set("by the handler")
        raise LookupError

    def handle(request: Any, error: Exception) -> Response:
        return PlainTextResponse(variable.get())

    def middleware(connection: Any) -> Generator[Any, Any, Any]:
        response = yield connection
        response.headers["x-after"] = variable.get()
        return response

    app = DualRoute(
        [Route("/", in_colour(colour, fail))],
        middleware=[middleware],
        exception_handlers={LookupError: in_colour(colour, handle)},
    )
    response = serve(app).get("/")
    assert (response.text, response.headers["x-after"]) == ("by the handler", "by the handler")


@pytest.mark.parametrize("call_colour", ["def", "async def"])
@COLOURS
def test_what_a_call_of_middleware_binds_everything_further_in_sees(
    serve: Serve, colour: str, call_colour: str
) -> None:
    def bind(value: str) -> Any:
        variable.set(value)

    def middleware(connection: Any) -> Generator[Any, Any, Any]:
        yield Call(in_colour(call_colour, bind), "by the call")
        return (yield connection)

    app = DualRoute([Route("/", in_colour(colour, seen_and_bound))], middleware=[middleware])
    assert serve(app).get("/").text == "by the call"


@COLOURS
def test_nothing_leaks_to_the_next_request(serve: Serve, colour: str) -> None:
    client = serve(DualRoute([Route("/", in_colour(colour, seen_and_bound))]))
    assert [client.get("/").text for _ in range(3)] == ["unset"] * 3
    assert variable.get() == "unset"


@pytest.mark.parametrize("body_colour", ["def", "async def"])
@COLOURS
def test_a_streaming_body_sees_what_the_handler_bound_and_keeps_what_it_binds(
    serve: Serve, colour: str, body_colour: str
) -> None:
    def pieces() -> Iterator[str]:
        for number in range(3):
            seen = variable.get()
            variable.set(f"by piece {number}")
            yield f"{seen};"

    async def pieces_async() -> AsyncIterator[str]:
        for piece in pieces():
            await asyncio.sleep(0)
            yield piece

    def stream(request: Any) -> Response:
        variable.set("by the handler")
        return StreamingResponse(pieces() if body_colour == "def" else pieces_async(), media_type="text/plain")

    client = serve(DualRoute([Route("/", in_colour(colour, stream))]))
    assert [client.get("/").text for _ in range(2)] == ["by the handler;by piece 0;by piece 1;"] * 2
    assert variable.get() == "unset"


@pytest.mark.parametrize("body_colour", ["def", "async def"])
def test_a_streaming_body_that_is_closed_early_sees_its_variables_in_its_clean_up(
    serve: Serve, body_colour: str
) -> None:
    seen: list[str] = []

    def pieces() -> Iterator[str]:
        try:
            yield "one"
            raise LookupError
        finally:
            seen.append(variable.get())

    async def pieces_async() -> AsyncIterator[str]:
        try:
            yield "one"
            raise LookupError
        finally:
            seen.append(variable.get())

    def stream(request: Any) -> Response:
        variable.set("by the handler")
        return StreamingResponse(pieces() if body_colour == "def" else pieces_async(), media_type="text/plain")

    with pytest.raises(ConnectionResetError):
        serve(DualRoute([Route("/", stream)])).get("/")
    assert seen == ["by the handler"]


@COLOURS
def test_requests_at_once_keep_their_variables_apart(serve: Serve, colour: str) -> None:
    def bind(request: Any, name: str) -> Response:
        before = variable.get()
        variable.set(name)
        return JSONResponse([before, variable.get()])

    def bind_sync(request: Any, name: str) -> Response:
        return bind(request, name)

    async def bind_async(request: Any, name: str) -> Response:
        response = bind(request, name)
        await asyncio.sleep(0)
        assert variable.get() == name
        return response

    client = serve(DualRoute([Route("/{name}", bind_sync if colour == "def" else bind_async)]))
    assert [client.get(f"/{name}").json() for name in "abc"] == [["unset", name] for name in "abc"]
