"""What most requests are answered by is shorter than the general way; here the same requests take both.

The short ways: a literal path leads to its plan, what the index finds without a walk is opened at once, an endpoint is
called without an exchange, its middleware begun and ended without one, and a 404 or 405 is made once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import Any

import httpx
import pytest

from dualroute import (
    BackgroundTask,
    DualRoute,
    HTTPEndpoint,
    HTTPException,
    JSONResponse,
    Limits,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
    dispatch,
)
from dualroute.datastructures import Headers
from dualroute.dispatch import Dispatcher
from dualroute.exchange import Call, Plan
from dualroute.matching import Found, Miss, Table, segments_of
from dualroute.responses import FileResponse
from tests.conftest import Serve

seen: list[Any] = []
"""What handlers and middleware were given, in order."""

SHARED = PlainTextResponse("shared", headers={"x-own": "1"})
OWN = SHARED.headers.items()


class Teapot(Exception):
    pass


class Odd(HTTPException):
    pass


def answers(kind: str, request: Any) -> Any:
    """Return what an endpoint of a kind returns, or raise what it raises."""
    seen.append((kind, request.method, request.path, dict(request.path_params), request.state._state.copy()))
    match kind:
        case "text":
            return PlainTextResponse("text")
        case "bytes":
            return Response(b"\x00\x01")
        case "empty":
            return Response(status_code=204)
        case "not modified":
            return Response("x", status_code=304)
        case "json":
            return JSONResponse({"ä": 1}, status_code=201, headers={"X-Own": "2"})
        case "cookie":
            response = PlainTextResponse("cookie")
            response.set_cookie("a", "b")
            return response
        case "shared":
            return SHARED
        case "background":
            return PlainTextResponse("later", background=BackgroundTask(seen.append, "ran"))
        case "closing":
            request.closing.append(lambda: seen.append("closed"))
            return PlainTextResponse("closing")
        case "stream":
            return StreamingResponse(iter([b"a", b"b"]), media_type="text/plain")
        case "file":
            return FileResponse(__file__)
        case "none":
            return None
        case "http error":
            raise HTTPException(418, "short and stout", {"x-own": "3"})
        case "handled":
            raise Teapot("handled")
        case "odd":
            raise Odd(409)
        case "error":
            raise ValueError("nobody handles this")
        case "not sendable":
            return PlainTextResponse("x", headers={"x-bad": "a\r\nb"})
    raise AssertionError(kind)


KINDS = (
    *("text", "bytes", "empty", "not modified", "json", "cookie", "shared", "background", "closing", "stream", "file"),
    *("none", "http error", "handled", "odd", "error", "not sendable"),
)


def endpoint(kind: str, colour: str) -> Any:
    async def asynchronous(request: Request) -> Any:
        return answers(kind, request)

    def synchronous(request: SyncRequest) -> Any:
        return answers(kind, request)

    class Asynchronous(HTTPEndpoint):
        async def get(self, request: Request) -> Any:
            return answers(kind, request)

    return {"async def": asynchronous, "def": synchronous, "class": Asynchronous}[colour]


def seeing(name: str, does: str = "") -> Callable[[Any], Generator[Any, Any, Any]]:
    """Return a middleware that takes note of what it sees, and does something of its own."""

    def middleware(connection: Any) -> Generator[Any, Any, Any]:
        seen.append(f"{name} in")
        if does == "early":
            return PlainTextResponse("early")
        if does == "fails before":
            raise Teapot(name)
        if does == "calls":
            seen.append((yield Call(str.upper, name)))
        try:
            response = yield connection
            if does == "again":
                response = yield connection
        except Exception as error:
            seen.append(f"{name} sees {error!r}")
            raise
        finally:
            seen.append(f"{name} out")
        response.headers[f"x-{name}"] = str(response.status_code)
        if does == "calls after":
            seen.append((yield Call(str.upper, f"{name} after")))
        if does == "fails after":
            raise ValueError(name)
        if does == "another":
            return PlainTextResponse("another", 202)
        if does == "shared":
            return SHARED
        return None if does == "nothing" else response

    return middleware


DOES = (*("", "early", "fails before", "calls", "again", "calls after", "fails after", "another", "shared", "nothing"),)


async def on_teapot(request: Any, error: Exception) -> Response:
    return PlainTextResponse(f"teapot {error}", 418)


def on_conflict(request: Any, error: Exception) -> Response:
    return PlainTextResponse("conflict", 409)


def without_short_ways(patch: pytest.MonkeyPatch) -> None:
    """Have every request take the general way."""

    class Indirect(Plan):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "direct": None})

    def walk(table: Table, kind: int, method: str, host: str, path: str, miss: Miss, given: Any = None) -> Found | None:
        return table.match(kind, method, host, segments_of(path), 0, miss, given)

    patch.setattr(dispatch, "Plan", Indirect)
    patch.setattr(dispatch, "known_hosts", {})
    patch.setattr(dispatch, "known_host_in", lambda headers: None)
    patch.setattr(Dispatcher, "_note_literal", lambda *args: None)
    patch.setattr(Table, "find", walk)


def shown(response: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    dated = ("date", "last-modified", "etag")
    return (
        response.status_code,
        [item for item in response.headers.multi_items() if item[0] not in dated],
        response.content,
    )


def ask(serve: Serve, make: Callable[[], DualRoute], *requests: tuple[str, str]) -> list[Any]:
    """Return what is answered and seen when an app is asked for everything three times over."""
    client = serve(make())
    told: list[Any] = []
    for _ in range(3):
        for method, path in requests:
            seen.clear()
            told.append((method, path, shown(client.request(method, path, follow_redirects=False)), list(seen)))
    return told


def both_ways(
    serve: Serve, caplog: pytest.LogCaptureFixture, make: Callable[[], DualRoute], *requests: tuple[str, str]
) -> list[Any]:
    """Ask by the short ways and by the general one, and return what came of both if it is the same."""
    results = []
    for is_short in (True, False):
        caplog.clear()
        with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.INFO, "dualroute"):
            if not is_short:
                without_short_ways(patch)
            told = ask(serve, make, *requests)
        logged = [
            (record.levelname, record.getMessage(), str((record.exc_info or (0, 0))[1])) for record in caplog.records
        ]
        results.append((told, logged))
    assert results[0] == results[1]
    assert SHARED.headers.items() == OWN, "middleware has changed a response that is for other requests as well"
    told, _ = results[0]
    return told


@pytest.mark.parametrize("colour", ["async def", "def", "class"])
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_an_endpoint_does(serve: Serve, caplog: pytest.LogCaptureFixture, kind: str, colour: str) -> None:
    def make() -> DualRoute:
        return DualRoute(
            [Route("/a", endpoint(kind, colour)), Route("/p/{x:int}/{y}", endpoint(kind, colour))],
            exception_handlers={Teapot: on_teapot, 409: on_conflict},
        )

    told = both_ways(serve, caplog, make, ("GET", "/a"), ("HEAD", "/a"), ("GET", "/p/1/b"), ("GET", "/a?q=1"))
    assert all(item[3] for item in told)


@pytest.mark.parametrize("colour", ["async def", "def"])
@pytest.mark.parametrize("does", DOES)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("kind", ["text", "shared", "handled", "error"])
def test_whatever_a_middleware_does(
    serve: Serve, caplog: pytest.LogCaptureFixture, kind: str, place: int, does: str, colour: str
) -> None:
    def make() -> DualRoute:
        middleware = [seeing(name, does if number == place else "") for number, name in enumerate("abc")]
        return DualRoute(
            [Route("/a", endpoint(kind, colour), middleware=middleware[2:])],
            middleware=middleware[:2],
            exception_handlers={Teapot: on_teapot},
        )

    both_ways(serve, caplog, make, ("GET", "/a"), ("HEAD", "/a"))


@pytest.mark.parametrize("handlers", [{}, {404: on_conflict}, {HTTPException: on_teapot}])
@pytest.mark.parametrize("middleware", [[], [seeing("a")]])
def test_what_nothing_takes(
    serve: Serve, caplog: pytest.LogCaptureFixture, handlers: dict[Any, Any], middleware: list[Any]
) -> None:
    def make() -> DualRoute:
        inner = Route("/in", endpoint("text", "async def"))
        return DualRoute(
            [
                Route("/a", endpoint("text", "async def"), methods=["GET", "PUT"]),
                Route("/a/{x:int}", endpoint("text", "async def"), methods=["DELETE"]),
                Route("/dir/", endpoint("text", "def")),
                Mount("/m", routes=[inner], middleware=[seeing("m")]),
                Mount("/{who}", routes=[Route("/in/{x}", endpoint("text", "def"))]),
            ],
            exception_handlers=handlers,
            middleware=middleware,
        )

    requests = [
        *(
            ("GET", path)
            for path in ("/", "/nowhere", "/a/x", "/a/1/2", "/dir", "/m", "/m/x", "/m/in/", "/b/in/1", "//a")
        ),
        *(
            (method, path)
            for method in ("POST", "OPTIONS", "GET", "HEAD")
            for path in ("/a", "/a/1", "/m/in", "/%00", "/é")
        ),
    ]
    both_ways(serve, caplog, make, *requests)


@pytest.mark.parametrize("colour", ["async def", "def"])
def test_limits_and_bodies(serve: Serve, caplog: pytest.LogCaptureFixture, colour: str) -> None:
    async def asynchronous(request: Request) -> Response:
        return PlainTextResponse(await request.body() or b"nothing".decode())

    def synchronous(request: SyncRequest) -> Response:
        return PlainTextResponse(request.body() or b"nothing".decode())

    def make() -> DualRoute:
        function = asynchronous if colour == "async def" else synchronous
        return DualRoute([Route("/a", function, methods=["GET", "POST"])], limits=Limits(max_body_size=4))

    results = []
    for is_short in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not is_short:
                without_short_ways(patch)
            client = serve(make())
            results.append(
                [shown(client.post("/a", content=body)) for _ in range(2) for body in (b"", b"1234", b"12345")]
            )
    assert results[0] == results[1]
    assert [status for status, *_ in results[0]] == [200, 200, 413] * 2


def test_changed_routes_are_seen_by_the_short_ways(serve: Serve) -> None:
    app = DualRoute([Route("/a", endpoint("text", "async def"))])
    client = serve(app)
    for _ in range(2):
        assert client.get("/a").text == "text"
    app.routes.insert(0, Route("/{x}", endpoint("json", "def")))
    for _ in range(2):
        assert client.get("/a").status_code == 201
    del app.routes[0]
    for _ in range(2):
        assert client.get("/a").text == "text"
    del app.routes[0]
    assert client.get("/a").status_code == 404


def test_headers_follow_the_body_until_somebody_looks_at_them() -> None:
    response = PlainTextResponse("four")
    response.body = b"seven!!"
    assert response.wire("GET") == ([("content-length", "7"), ("content-type", "text/plain; charset=utf-8")], True)
    assert response.raw_wire("GET")[0] == [(name.encode(), value.encode()) for name, value in response.wire("GET")[0]]
    assert isinstance(response.headers, Headers)
    assert response.headers["content-length"] == "7"
