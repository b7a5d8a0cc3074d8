"""Mounted ASGI applications: what they are told of a request, and that their responses are as they made them.

Each test of behaviour runs in all the ways that lead into an application: see `tests.mounted_asgi_helper`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from dualroute import (
    DualRoute,
    Host,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
)
from dualroute_asgi.mounted import ASGIApp
from tests.conftest import Serve
from tests.mounted_asgi_helper import (
    WAYS,
    Receive,
    Recorder,
    Send,
    Way,
    answering,
    respond,
    transparent,
)
from tests.transports import EventLoopThread


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, event_loop_thread: EventLoopThread) -> Iterator[Way]:
    made = Way(request.param, event_loop_thread)
    yield made
    made.close()


# Where the application finds itself


@pytest.mark.parametrize(
    ("path", "root_path", "app_path", "app_root_path"),
    [
        ("/m/x/y", "", "/m/x/y", "/m"),
        ("/m/", "", "/m/", "/m"),
        ("/m/x", "/outer", "/outer/m/x", "/outer/m"),
        ("/m/é", "/ö", "/ö/m/é", "/ö/m"),
    ],
)
def test_at_a_mount_the_root_path_ends_with_the_prefix_and_the_path_is_whole(
    way: Way, path: str, root_path: str, app_path: str, app_root_path: str
) -> None:
    seen = Recorder()
    assert way.ask(way.app(seen), path=path, root_path=root_path).status == 200
    assert (seen.scope["path"], seen.scope["root_path"]) == (app_path, app_root_path)


def test_in_nested_mounts_the_root_path_is_all_of_their_prefixes(way: Way) -> None:
    seen = Recorder()
    app = way.around([Mount("/a", routes=[Mount("/b", app=Router([Mount("/c", app=seen)]))])])
    way.ask(app, path="/a/b/c/d", root_path="/r")
    assert (seen.scope["path"], seen.scope["root_path"]) == ("/r/a/b/c/d", "/r/a/b/c")


def test_in_an_application_inside_another_the_root_path_is_all_of_their_prefixes(way: Way) -> None:
    seen = Recorder()
    way.ask(way.around([Mount("/a", app=DualRoute([Mount("/b", app=seen)]))]), path="/a/b/c")
    assert (seen.scope["path"], seen.scope["root_path"]) == ("/a/b/c", "/a/b")


@pytest.mark.parametrize("root_path", ["", "/outer"])
def test_a_fallback_sees_the_path_untouched(way: Way, root_path: str) -> None:
    seen = Recorder()
    way.ask(way.around([Route("/x", lambda request: Response())], fallback=seen), path="/y/z", root_path=root_path)
    assert (seen.scope["path"], seen.scope["root_path"]) == (root_path + "/y/z", root_path)


@pytest.mark.parametrize("path", ["/x/", "/x/y/", "//x"])
def test_a_path_that_is_another_with_a_slash_is_no_redirect_before_a_fallback(way: Way, path: str) -> None:
    seen = Recorder()
    way.ask(way.around([Route("/x", lambda request: Response())], fallback=seen), path=path)
    assert seen.scope["path"] == path


def test_a_fallback_takes_a_method_that_no_route_has_where_it_is_told_to(way: Way) -> None:
    seen = Recorder()
    routes = [Route("/x", lambda request: Response())]
    assert way.ask(way.around(routes, fallback=seen), "DELETE", "/x").status == 405
    assert way.ask(way.around(routes, fallback=seen, fallback_on_405=True), "DELETE", "/x").status == 200
    assert (seen.scope["method"], seen.scope["path"]) == ("DELETE", "/x")


def test_behind_a_host_the_path_is_untouched(way: Way) -> None:
    seen = Recorder()
    app = way.around([Host("{name}.example.org", app=seen)])
    way.ask(app, path="/y", extra=_host(way, "one.example.org:81"))
    assert (seen.scope["path"], seen.scope["root_path"], seen.scope["path_params"]) == ("/y", "", {"name": "one"})


def _host(way: Way, host: str) -> dict[str, Any]:
    return {"headers": [(b"host", host.encode())]} if way.protocol == "asgi" else {"HTTP_HOST": host}


def test_an_application_served_by_itself_sees_the_path_untouched(way: Way) -> None:
    seen = Recorder()
    app = ASGIApp(seen)
    assert way.ask(way.around([], fallback=app) if way.wrapped else app, path="/y", root_path="/r").status == 200
    assert (seen.scope["path"], seen.scope["root_path"]) == ("/r/y", "/r")


def test_the_parameters_of_mounts_are_kept(way: Way) -> None:
    seen = Recorder()
    way.ask(way.around([Mount("/{tenant:int}", routes=[Mount("/{kind}", app=seen)])]), path="/7/x/y")
    assert (seen.scope["path_params"], seen.scope["root_path"]) == ({"tenant": 7, "kind": "x"}, "/7/x")


def test_a_function_with_parameters_in_a_mount_is_an_endpoint_and_no_application(way: Way) -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse("endpoint")

    assert way.ask(way.app(endpoint)).body == b"endpoint"


# What it is told


def test_the_scope_is_one_of_the_specification(way: Way) -> None:
    seen = Recorder()
    way.ask(way.app(seen), "PATCH", "/m/a%?b=%20c&d", headers=[("x-a", "1"), ("content-type", "text/x")])
    scope = dict(seen.scope)
    assert scope["asgi"]["version"] == "3.0"
    assert scope["type"] == "http"
    assert (scope["http_version"], scope["method"], scope["scheme"]) == ("1.1", "PATCH", "http")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/m/a%", b"/m/a%25", b"b=%20c&d")
    assert sorted(scope["headers"]) == [(b"content-type", b"text/x"), (b"host", b"testserver"), (b"x-a", b"1")]
    assert tuple(scope["client"]) == ("127.0.0.1", 50000)
    assert tuple(scope["server"]) == ("testserver", 80)
    assert scope["extensions"] == {} if not way.direct else "extensions" not in scope


def test_where_the_server_knows_no_client_there_is_none(way: Way) -> None:
    seen = Recorder()
    extra: dict[str, Any] = {"client": None} if way.protocol == "asgi" else {"REMOTE_ADDR": ""}
    way.ask(way.app(seen), extra=extra)
    assert seen.scope["client"] is None


def test_what_routing_leaves_in_a_scope_does_not_reach_the_application(way: Way) -> None:
    seen = Recorder()
    names: set[str] = set()

    def looks(connection: Any) -> Generator[Any, Any, Any]:
        names.update(connection.scope)
        return (yield connection)

    way.ask(way.app(seen, middleware=[looks] if way.wrapped else []))
    assert not {"app", "router", "route", "endpoint"} & set(seen.scope)
    assert not way.wrapped or {"app", "router", "route", "endpoint"} <= names


def test_the_scope_is_the_application_s_own(way: Way) -> None:
    inner_paths: list[Any] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        scope["path"] = "/changed"
        scope["root_path"] = "/changed"
        scope["state"]["changed"] = True
        scope["extensions"] = {"changed": {}}
        await respond(send)

    def looks(connection: Any) -> Generator[Any, Any, Any]:
        response = yield connection
        inner_paths.append((connection.path, connection.scope["path"], connection.scope["root_path"]))
        inner_paths.append(hasattr(connection.state, "changed"))
        return response

    way.ask(way.app(application, middleware=[looks] if way.wrapped else []))
    assert inner_paths == ([("/m/", "/m/", "/m"), False] if way.wrapped else [])


def test_extensions_are_those_of_the_server_where_the_application_is_given_its_send(way: Way) -> None:
    seen = Recorder()
    offered: dict[str, Any] = {"http.response.trailers": {}}
    way.ask(way.app(seen), extra={"extensions": offered} if way.protocol == "asgi" else {})
    assert seen.scope["extensions"] == (offered if way.direct else {})


def test_the_state_of_the_request_is_the_application_s_state(way: Way) -> None:
    seen = Recorder()

    def marks(connection: Any) -> Generator[Any, Any, Any]:
        connection.state.user = "ada"
        return (yield connection)

    app = way.around([Mount("/m", app=seen, middleware=[marks])])
    way.ask(app)
    way.ask(app)
    first, second = (scope["state"] for scope in seen.scopes)
    assert (first, second) == ({"user": "ada"}, {"user": "ada"})
    assert first is not second


def test_each_request_has_a_state_of_its_own(way: Way) -> None:
    seen: list[Any] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            seen.append(dict(scope["state"]))
            scope["state"]["left"] = True
            await respond(send)

    app = way.app(application)
    way.ask(app)
    way.ask(app)
    assert seen == [{}, {}]


@pytest.mark.parametrize("target", ["http://testserver/m/x", "https://testserver:8000/m/x"])
def test_an_absolute_target_is_cut_down_to_its_path(way: Way, target: str) -> None:
    seen = Recorder()
    extra: dict[str, Any] = (
        {"path": target, "raw_path": target.encode()} if way.protocol == "asgi" else {"PATH_INFO": target}
    )
    assert way.ask(way.app(seen), extra=extra).status == 200
    assert (seen.scope["path"], seen.scope["root_path"]) == ("/m/x", "/m")
    assert seen.scope["raw_path"] == b"/m/x"


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("target", ["http://testserver", "@testserver", "m/x"])
def test_a_target_without_a_path_is_refused_before_the_application(way: Way, target: str, fallback: bool) -> None:
    seen = Recorder()
    extra: dict[str, Any] = (
        {"path": target, "raw_path": target.encode()} if way.protocol == "asgi" else {"PATH_INFO": target}
    )
    app = way.around([], fallback=seen) if fallback else way.app(seen)
    assert way.ask(app, extra=extra).status == 400
    assert seen.scopes == []


def test_a_header_with_an_underscore_is_dropped(way: Way) -> None:
    """Under WSGI the server has to drop it, since an environ shows both as one; here, as the likes of gunicorn do."""
    seen = Recorder()
    spoofed = [("x_user", "mallory")] if way.protocol == "asgi" else []
    way.ask(way.app(seen), headers=[*spoofed, ("x-user", "ada")])
    assert [pair for pair in seen.scope["headers"] if b"user" in pair[0]] == [(b"x-user", b"ada")]


def test_repeated_cookie_headers_are_one(way: Way) -> None:
    seen = Recorder()
    way.ask(way.app(seen), headers=[("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2")])
    assert [value for name, value in seen.scope["headers"] if name == b"cookie"] == [b"a=1; b=2"]


def test_latin_1_bytes_in_headers_are_kept_both_ways(way: Way) -> None:
    seen = Recorder()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await seen(scope, receive, lambda message: asyncio.sleep(0))
        await respond(send, headers=[(b"x-b", b"\xe9\xff\x80")])

    answer = way.ask(way.app(application), headers=[("x-a", "\xfc\xff\x80")])
    assert dict(seen.scope["headers"])[b"x-a"] == b"\xfc\xff\x80"
    assert answer.header("x-b") == "\xe9\xff\x80"


# Responses as they are


def test_a_response_is_as_the_application_made_it(serve: Serve) -> None:
    headers = [(b"content-type", b"text/x"), (b"x-a", b"1")]
    client = serve(DualRoute([Mount("/m", app=answering(b"one", b"two", status=201, headers=headers))]))
    response = client.post("/m/x")
    assert (response.status_code, response.content) == (201, b"onetwo")
    assert response.headers["content-type"] == "text/x"
    assert response.headers["x-a"] == "1"


def test_a_response_without_a_content_type_is_left_without(way: Way) -> None:
    answer = way.ask(way.app(answering(b"x", headers=[(b"x-a", b"1")])))
    assert (answer.status, answer.body, answer.headers) == (200, b"x", [("x-a", "1")])


def test_repeated_response_headers_are_kept_in_order(way: Way) -> None:
    headers = [(b"set-cookie", b"a=1"), (b"x-a", b"1"), (b"set-cookie", b"b=2")]
    answer = way.ask(way.app(answering(b"x", headers=headers)))
    assert answer.headers == [("set-cookie", "a=1"), ("x-a", "1"), ("set-cookie", "b=2")]


def test_headers_may_be_any_iterable_of_pairs(way: Way) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        headers = iter([[b"x-a", b"1"], [b"x-b", b"2"]])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x"})

    assert way.ask(way.app(application)).headers == [("x-a", "1"), ("x-b", "2")]


def test_headers_may_be_left_out(way: Way) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    answer = way.ask(way.app(application))
    assert (answer.status, answer.headers, answer.body, answer.cut) == (200, [], b"", False)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(way: Way, status: int) -> None:
    answer = way.ask(way.app(answering(status=status, headers=[(b"etag", b'"a"')])))
    assert (answer.status, answer.headers, answer.body) == (status, [("etag", '"a"')], b"")


@pytest.mark.parametrize("pieces", [(b"",), (b"abc",), (b"a", b"b", b"c")])
def test_head_has_the_headers_and_no_body(serve: Serve, pieces: tuple[bytes, ...]) -> None:
    """With a middleware around it.  Bare, a server is sent what the application sends, and drops the body itself."""
    headers = [(b"content-length", b"3"), (b"content-type", b"text/x")]
    app = DualRoute([Mount("/m", app=answering(*pieces, headers=headers))], middleware=[transparent])
    response = serve(app).head("/m/")
    assert (response.status_code, response.content) == (200, b"")
    assert (response.headers["content-length"], response.headers["content-type"]) == ("3", "text/x")


def test_head_reaches_the_application_as_head(way: Way) -> None:
    seen = Recorder()
    assert way.ask(way.app(seen), "HEAD").status == 200
    assert seen.scope["method"] == "HEAD"


@pytest.mark.parametrize("method", ["OPTIONS", "PROPFIND", "MADE-UP"])
def test_any_method_reaches_the_application(way: Way, method: str) -> None:
    seen = Recorder()
    assert way.ask(way.app(seen), method).status == 200
    assert seen.scope["method"] == method
