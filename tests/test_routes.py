"""What one route tells of itself, and of a scope: for code that looks for the route of a request by itself."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import pytest

from dualroute import DualRoute, Host, Mount, PlainTextResponse, Response, Route, Router, SyncRequest, WebSocketRoute
from dualroute.routing import BaseRoute, Match
from tests.conftest import Serve


def get(request: SyncRequest) -> Response:
    return PlainTextResponse("got")


async def live(websocket: Any) -> None:
    await websocket.accept()


def scope(path: str, **further: Any) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"API.example.org:81")], **further}


ROUTE = Route("/users/{n:int}", get)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (scope("/users/5"), Match.FULL),
        (scope("/users/5", method="HEAD"), Match.FULL),
        (scope("/users/5", method="POST"), Match.PARTIAL),
        (scope("/base/users/5", root_path="/base"), Match.FULL),
        (scope("/users/5", root_path="/users"), Match.NONE),
        (scope("/users/x"), Match.NONE),
        (scope("/users/5/"), Match.NONE),
        (scope("/users/5", type="websocket"), Match.NONE),
        (scope("users"), Match.NONE),
    ],
)
def test_a_route_takes_a_path_and_a_method(given: dict[str, Any], match: Match) -> None:
    found, inside = ROUTE.matches(given)
    assert found is match
    assert inside.get("endpoint") is (None if match is Match.NONE else get)
    assert inside.get("path_params") == ({"n": 5} if match is Match.FULL else None)


def test_a_websocket_route_takes_websockets() -> None:
    route = WebSocketRoute("/live/{name}", live)
    assert route.matches(scope("/live/a", type="websocket")) == (
        Match.FULL,
        {"endpoint": live, "path_params": {"name": "a"}},
    )
    assert route.matches(scope("/live/a"))[0] is Match.NONE


def test_a_mount_takes_what_is_below_it_and_says_where_that_is() -> None:
    mount = Mount("/a/{n:int}", routes=[Route("/b/{m}", get)])
    outer = scope("/base/a/5/b/c", root_path="/base", path_params={"k": 1})
    match, inside = mount.matches(outer)
    assert match is Match.FULL
    assert inside["endpoint"] is mount.app
    assert inside["root_path"] == "/base/a/5"
    assert inside["path_params"] == {"k": 1, "n": 5}
    match, further = mount.routes[0].matches({**outer, **inside})
    assert (match, further["path_params"]) == (Match.FULL, {"k": 1, "n": 5, "m": "c"})
    assert mount.matches(scope("/a/5"))[0] is Match.NONE
    assert mount.matches(scope("/a/x/b"))[0] is Match.NONE


def test_a_mount_may_have_no_prefix() -> None:
    match, inside = Mount("", routes=[ROUTE]).matches(scope("/users/5"))
    assert (match, inside.get("root_path", "")) == (Match.FULL, "")


def test_a_host_takes_what_is_for_it() -> None:
    host = Host("{sub}.example.org", app=Router([ROUTE]))
    assert host.matches(scope("/x")) == (Match.FULL, {"endpoint": host.app, "path_params": {"sub": "api"}})
    assert Host("example.org", app=get).matches(scope("/x"))[0] is Match.NONE


def template(routes: Iterable[BaseRoute], scope: Any) -> str | None:
    """Return the path template of a request: what metrics go by."""
    for route in routes:
        match, inside = route.matches(scope)
        if match is Match.NONE:
            continue
        path: str = getattr(route, "path", "")
        return path + (template(getattr(route, "routes", ()), {**scope, **inside}) or "")
    return None


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", "/"),
        ("/api/v1/users/5", "/api/{version}/users/{n:int}"),
        ("/apples", "None"),
        ("/api/v1/x", "/api/{version}"),
    ],
)
def test_a_middleware_finds_the_template_of_a_request_inside_mounts_as_well(
    serve: Serve, path: str, found: str
) -> None:
    seen: list[str] = []

    def naming(request: Any) -> Generator[Any, Any, Response]:
        response: Response = yield request
        seen.append(str(template(request.app.routes, request.scope)))
        return response

    app = DualRoute([Route("/", get), Mount("/api/{version}", routes=[ROUTE])], middleware=[naming])
    inner = DualRoute([Mount("/inner", app=app)])
    for client in (serve(app), serve(app, root_path="/base")):
        client.get(path)
        assert seen == [found]
        seen.clear()
    assert serve(inner).get("/inner/users").status_code == 404


def test_a_route_shows_its_paths_as_an_expression_and_as_a_format() -> None:
    assert ROUTE.path_regex.fullmatch("/users/12")
    assert not ROUTE.path_regex.fullmatch("/users/x")
    assert ROUTE.path_format == "/users/{n}"
    mount = Mount("/a/{n:int}", routes=[])
    found = mount.path_regex.fullmatch("/a/5/b/c")
    assert found is not None
    assert found.groupdict() == {"n": "5", "path": "b/c"}
    assert mount.path_format == "/a/{n}/{path}"
    assert Host("{sub}.example.org", app=get).path_format == "/{path}"
    for route, names in ((ROUTE, ["n"]), (mount, ["n"]), (Host("{sub}.example.org", app=get), ["sub"])):
        assert list(route.param_convertors) == names
