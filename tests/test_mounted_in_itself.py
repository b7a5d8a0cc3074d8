"""Apps that lead back into themselves: each request has an answer, and none runs into Python's limit on recursion."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from dualroute import DualRoute, Host, Mount, PlainTextResponse, Request, Response, Route, SyncRequest, WebSocket
from dualroute.exceptions import NoMatchFound
from dualroute.matching import MAX_DEPTH, Table
from dualroute.middleware import Middleware
from dualroute.middleware.base import BaseHTTPMiddleware
from dualroute.routing import WebSocketRoute
from dualroute.rules import RuleRouter
from dualroute.testclient import TestClient, WebSocketDisconnect
from dualroute_asgi import ASGIApp
from dualroute_wsgi import WSGIApp
from tests.conftest import Serve


def plain(request: SyncRequest) -> Response:
    return PlainTextResponse(f"def {request.path.count('/m')}")


async def plain_async(request: Request) -> Response:
    return PlainTextResponse(f"async {request.path.count('/m')}")


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


def app_with(*routes: Any) -> DualRoute:
    return DualRoute(
        [Route("/def", plain), Route("/async", plain_async), WebSocketRoute("/talk", talk), *routes], max_threads=4
    )


def within(mount: Callable[[DualRoute], Any]) -> Callable[[], DualRoute]:
    """Return what makes an app and appends to its routes what `mount` makes of it."""

    def make() -> DualRoute:
        app = app_with()
        app.routes.append(mount(app))
        return app

    return make


def around(dispatch: Any) -> Callable[[], DualRoute]:
    return within(lambda app: Mount("/m", app=app, middleware=[Middleware(BaseHTTPMiddleware, dispatch=dispatch)]))


def test_two_ways_into_the_same_are_gone_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_with()
    app.routes.extend([Mount("/{a}", app=app), Mount("/{b}", app=app), Mount("", routes=[Mount("/{c}", app=app)])])
    client = serve(app)
    searches = 0
    match = Table.match

    def counted(*args: Any) -> Any:
        nonlocal searches
        searches += 1
        return match(*args)

    monkeypatch.setattr(Table, "match", counted)
    counts = []
    for length in (8, 16):
        searches = 0
        assert client.get("/x" * length).status_code == 404
        counts.append(searches)
    assert counts[1] < 6 * counts[0], "they double with each segment where each way is gone"
    assert client.get("/x/y/z/def").text.startswith("def")
    assert client.post("/x/y/z/def").headers["allow"] == "GET, HEAD, OPTIONS"


async def passes(request: Request, call_next: Any) -> Any:
    return await call_next(request)


def passes_in_thread(request: SyncRequest, call_next: Any) -> Any:
    return call_next(request)


def generator(connection: Any) -> Any:
    return (yield connection)


def two() -> DualRoute:
    first = app_with()
    first.routes.append(Mount("/m", app=app_with(Mount("/m", app=first))))
    return first


class Wrapped:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


# What takes a segment of the path at each level
STEPS = {
    "directly": within(lambda app: Mount("/m", app=app)),
    "its router": within(lambda app: Mount("/m", app=app.router)),
    "a in b in a": two,
    "a generator around it": within(lambda app: Mount("/m", app=app, middleware=[generator])),
    "BaseHTTPMiddleware around it": around(passes),
    "BaseHTTPMiddleware around it, in threads": around(passes_in_thread),
    "a rule router around it": within(lambda app: Mount("/m", app=RuleRouter([("/.*", app)]))),
    "its ASGI side": within(lambda app: Mount("/m", app=ASGIApp(app.asgi))),
    "its WSGI side": within(lambda app: Mount("/m", app=WSGIApp(app.wsgi))),
    "an ASGI middleware around it": within(lambda app: Mount("/m", app=Wrapped(app))),
}


def fallback(side: Callable[[DualRoute], Any]) -> Callable[[], DualRoute]:
    def make() -> DualRoute:
        app = app_with()
        app.router.default = side(app)
        return app

    return make


def two_at_once() -> DualRoute:
    first, second = app_with(), app_with()
    first.routes[:0] = [Mount("", app=second), Mount("", app=first), Mount("", app=second)]
    second.routes[:0] = [Mount("", app=first), Mount("", app=second)]
    return first


# What takes nothing of the path, and so has no end
CIRCLES = {
    "a mount": within(lambda app: Mount("", app=app)),
    "a host": within(lambda app: Host("testserver", app=app)),
    "a fallback": fallback(lambda app: app),
    "several, before everything else": two_at_once,
    "a rule router": within(lambda app: Mount("", app=RuleRouter([("/.*", app)]))),
    "its ASGI side": within(lambda app: Mount("", app=ASGIApp(app.asgi))),
    "its WSGI side": within(lambda app: Mount("", app=WSGIApp(app.wsgi))),
    "its ASGI side as a fallback": fallback(lambda app: ASGIApp(app.asgi)),
}


@pytest.mark.parametrize("how", STEPS)
def test_a_path_leads_so_deep_and_no_deeper(protocol: Any, how: str, caplog: pytest.LogCaptureFixture) -> None:
    levels = MAX_DEPTH // 2 - 1  # a rule router in each is a level, too
    with TestClient(STEPS[how](), protocol=protocol) as client:
        for colour in ("def", "async"):
            for depth in (0, 1, levels):
                assert client.get("/m" * depth + f"/{colour}").text == f"{colour} {depth}"
                assert client.get("/m" * depth + "/nothing").status_code == 404
            for depth in (MAX_DEPTH + 1, 2000):
                answer = client.get("/m" * depth + f"/{colour}")
                assert (answer.status_code, answer.text) == (404, "Not Found")
            assert client.get(f"/{colour}").text == f"{colour} 0"
    said = [record for record in caplog.records if "leads back into itself" in record.getMessage()]
    assert len(said) in (0, 4), "where apps call one another, one line for each"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("how", CIRCLES)
def test_a_circle_is_left(protocol: Any, how: str, caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(CIRCLES[how](), protocol=protocol) as client:
        for colour in ("def", "async"):
            assert client.get(f"/{colour}").text == f"{colour} 0"
        answer = client.get("/nothing")
        assert (answer.status_code, answer.text) == (404, "Not Found")
        answer = client.post("/def")
        if how in (
            "its ASGI side",
            "its WSGI side",
        ):  # it takes every method, and ends as the path that leads nowhere does
            assert answer.status_code == 404
        else:
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.protocol("asgi")  # WSGI has no websockets
@pytest.mark.parametrize("how", STEPS)
def test_a_websocket_leads_no_deeper(protocol: Any, how: str) -> None:
    with TestClient(STEPS[how](), protocol=protocol) as client:
        if "WSGI" not in how:
            with client.websocket_connect("/m/talk") as websocket, pytest.raises(WebSocketDisconnect):
                websocket.receive_text()
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/m" * 2000 + "/talk"):
            pass


def test_reverse_look_up_comes_to_an_end() -> None:
    for make in (*STEPS.values(), *CIRCLES.values()):
        app = make()
        assert app.url_path_for("plain") == "/def"
        with pytest.raises(NoMatchFound, match="nothing"):
            app.url_path_for("nothing")
