"""Reverse look-up: from a name and parameters to a path or a URL."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dualroute import (
    DualRoute,
    Host,
    HTTPEndpoint,
    Mount,
    NoMatchFound,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)
from dualroute.datastructures import URL, URLPath
from tests.conftest import Serve


def exactly(message: str) -> str:
    return f"^{re.escape(message)}$"


async def user(request: Request) -> Response:
    return PlainTextResponse("user")


def static(request: SyncRequest) -> Response:
    return PlainTextResponse("static")


async def live(websocket: WebSocket) -> None:
    await websocket.accept()


class Detail(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("detail")


def make_app() -> DualRoute:
    sub = Router(
        [Mount("/users", name="users", routes=[Route("/", user, name="list"), Route("/{name}", user, name="one")])]
    )
    return DualRoute(
        [
            Route("/", user, name="homepage"),
            Route("/users/{username}", user, name="user_detail"),
            Route("/items/{id:int}/{rest:path}", user, name="item"),
            Route("/detail", Detail),
            Route("/unnamed/{id:int}", user),
            Mount(
                "/people",
                name="people",
                routes=[
                    Route("/", user, name="list"),
                    Route("/{name}", user, name="one"),
                    Mount("/deep", sub, name="deep"),
                ],
            ),
            Mount("/static", app=static, name="static"),
            Mount("/{tenant}/files", app=static, name="files"),
            Mount("/inner", routes=[Route("/x/{y}", user, name="inside")]),
            Mount("/app", DualRoute([Route("/z", user, name="zed")]), name="app"),
            Host("{subdomain}.example.org", name="sub", app=sub),
            Host("API.example.org:3600", name="api", app=Router([Route("/v1", user, name="v1")])),
            Host("anonymous.example.org", Router([Route("/hidden", user, name="hidden")])),
            WebSocketRoute("/live/{room}", live, name="live"),
        ]
    )


NAMES: list[tuple[str, dict[str, Any], str, str]] = [
    ("homepage", {}, "/", ""),
    ("user_detail", {"username": "me"}, "/users/me", ""),
    ("user_detail", {"username": "ü b/".rstrip("/")}, "/users/%C3%BC%20b", ""),
    ("user_detail", {"username": "a?b#c%d"}, "/users/a%3Fb%23c%25d", ""),
    ("item", {"id": 7, "rest": "a/b c"}, "/items/7/a/b%20c", ""),
    ("item", {"rest": "", "id": "7"}, "/items/7/", ""),
    ("Detail", {}, "/detail", ""),
    ("user", {"id": 3}, "/unnamed/3", ""),
    ("people:list", {}, "/people/", ""),
    ("people:one", {"name": "x"}, "/people/x", ""),
    ("people:deep:users:one", {"name": "x"}, "/people/deep/users/x", ""),
    ("static", {"path": "/css/base.css"}, "/static/css/base.css", ""),
    ("static", {"path": "css/base.css"}, "/static/css/base.css", ""),
    ("static", {"path": ""}, "/static/", ""),
    ("static", {"path": "/ü x"}, "/static/%C3%BC%20x", ""),
    ("files", {"tenant": "acme co", "path": "/x"}, "/acme%20co/files/x", ""),
    ("people", {"path": "/anything"}, "/people/anything", ""),
    ("inside", {"y": 1}, "/inner/x/1", ""),
    ("app:zed", {}, "/app/z", ""),
    ("sub:users:list", {"subdomain": "shop"}, "/users/", "shop.example.org"),
    ("sub:users:one", {"subdomain": "shop", "name": "me"}, "/users/me", "shop.example.org"),
    ("sub", {"subdomain": "shop", "path": "/x"}, "/x", "shop.example.org"),
    ("api:v1", {}, "/v1", "api.example.org:3600"),
    ("hidden", {}, "/hidden", "anonymous.example.org"),
    ("live", {"room": "1"}, "/live/1", ""),
]


@pytest.mark.parametrize(("name", "params", "path", "host"), NAMES)
def test_url_path_for_returns_the_encoded_path(name: str, params: dict[str, Any], path: str, host: str) -> None:
    app = make_app()
    found = app.url_path_for(name, **params)
    assert isinstance(found, URLPath)
    assert (str(found), found.host) == (path, host)
    assert app.router.url_path_for(name, **params) == found


def url_app(name: str, params: dict[str, Any]) -> DualRoute:
    """Return the app above with a page, at three depths, that answers with a URL."""

    def page(request: SyncRequest) -> Response:
        return PlainTextResponse(str(request.url_for(name, **params)))

    async def async_page(request: Request) -> Response:
        return PlainTextResponse(str(request.url_for(name, **params)))

    app = make_app()
    app.routes.insert(0, Mount("/at", routes=[Mount("/depth", DualRoute([Route("/page", async_page)]))]))
    app.routes.insert(0, Route("/page", page))
    return app


@pytest.mark.parametrize(("name", "params", "path", "host"), NAMES)
@pytest.mark.parametrize("root_path", ["", "/srv"])
@pytest.mark.parametrize("page", ["/page", "/at/depth/page"])
def test_url_for_returns_an_absolute_url_whatever_the_depth(
    serve: Serve, page: str, root_path: str, name: str, params: dict[str, Any], path: str, host: str
) -> None:
    client = serve(url_app(name, params), root_path=root_path, base_url="http://testserver:8001")
    scheme = "ws" if name == "live" else "http"
    assert client.get(page).text == f"{scheme}://{host or 'testserver:8001'}{root_path}{path}"


def test_url_for_keeps_to_https(serve: Serve) -> None:
    assert serve(url_app("homepage", {}), base_url="https://testserver").get("/page").text == "https://testserver/"
    client = serve(url_app("live", {"room": "1"}), base_url="https://testserver")
    assert client.get("/page").text == "wss://testserver/live/1"


def test_url_for_is_a_url_whose_parts_can_be_changed(serve: Serve) -> None:
    def page(request: SyncRequest) -> Response:
        url = request.url_for("page")
        assert isinstance(url, URL)
        return PlainTextResponse(str(url.include_query_params(page=2)))

    assert serve(DualRoute([Route("/page", page)])).get("/page").text == "http://testserver/page?page=2"


def test_a_url_leads_back_to_its_route(serve: Serve) -> None:
    def show(request: SyncRequest) -> Response:
        return PlainTextResponse(repr(request.path_params))

    app = DualRoute([Mount("/{m}", routes=[Route("/{a}-{n:int}/{rest:path}", show, name="r")], name="m")])
    params = {"m": "ü ?", "a": "#%2F;", "n": 3, "rest": "x/ y/"}
    assert serve(app).get(str(app.url_path_for("m:r", **params))).text == repr(params)


def test_of_several_routes_with_a_name_the_one_that_takes_the_parameters_is_meant() -> None:
    routes = [
        Route("/users", user, name="users"),
        Route("/users/{id:int}", user, name="users"),
        Route("/users/{id:int}/{tab}", user, name="users"),
        Route("/again", user, name="users"),
    ]
    for app, prefix in ((Router(routes), ""), (Router([Mount("/m", routes=routes)]), "/m")):
        assert app.url_path_for("users") == f"{prefix}/users"
        assert app.url_path_for("users", id=1) == f"{prefix}/users/1"
        assert app.url_path_for("users", id=1, tab="x") == f"{prefix}/users/1/x"


def test_a_value_that_one_route_refuses_may_suit_the_next_of_that_name() -> None:
    routes = [Route("/n/{key:int}", user, name="show"), Route("/s/{key}", user, name="show")]
    assert Router(routes).url_path_for("show", key="abc") == "/s/abc"
    assert Router([Mount("/m", routes=routes)]).url_path_for("show", key="abc") == "/m/s/abc"
    assert Router([Mount("/m", routes=routes, name="m")]).url_path_for("m:show", key="abc") == "/m/s/abc"
    assert Router([Host("h", Router(routes), name="m")]).url_path_for("m:show", key="abc") == "/s/abc"


def test_a_parameter_may_be_called_name_or_self() -> None:
    app = DualRoute([Route("/{name}/{self}", user, name="odd")])
    assert app.url_path_for("odd", name="n", self="s") == "/n/s"


def test_routes_by_themselves_reverse_too() -> None:
    assert Route("/users/{id:int}", user, name="one").url_path_for("one", id=1) == "/users/1"
    mount = Mount("/m", routes=[Route("/x", user, name="x")], name="m")
    assert mount.url_path_for("m:x") == "/m/x"
    path = Host("a.test", Router([Route("/x", user, name="x")]), name="h").url_path_for("h:x")
    assert (path, path.host) == ("/x", "a.test")
    assert WebSocketRoute("/ws", live, name="ws").url_path_for("ws").protocol == "websocket"


def test_the_host_in_front_keeps_its_parameters_as_given() -> None:
    app = DualRoute([Host("{sub}.example.org:81", Router([Route("/", user, name="home")]), name="site")])
    path = app.url_path_for("site:home", sub="Shop")
    assert path.host == "Shop.example.org:81"
    assert str(path.make_absolute_url("https://else.test/srv/")) == "https://Shop.example.org:81/srv/"


@pytest.mark.parametrize(
    "sub", ["evil.test/", "evil.test?", "evil.test#", "user@evil.test", "a b", "evil.test:80", "ü", ""]
)
def test_a_host_parameter_that_is_no_part_of_a_host_is_refused(sub: str) -> None:
    app = DualRoute([Host("{sub}.example.org", Router([Route("/", user, name="home")]), name="site")])
    with pytest.raises(NoMatchFound):
        app.url_path_for("site:home", sub=sub)


# Misses


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("homepgae", {}, "no route named 'homepgae' takes no parameters; did you mean 'homepage'?"),
        ("zzz", {}, "no route named 'zzz' takes no parameters"),
        ("zzz", {"a": 1, "b": "x"}, "no route named 'zzz' takes a=1, b='x'"),
        ("people:ones", {"name": "x"}, "no route named 'people:ones' takes name='x'; did you mean 'people:one'?"),
        (
            "user_detail",
            {},
            "no route named 'user_detail' takes no parameters; a route of that name takes other parameters: username",
        ),
        (
            "user_detail",
            {"username": "x", "extra": 1},
            (
                "no route named 'user_detail' takes username='x', extra=1; "
                "a route of that name takes other parameters: username"
            ),
        ),
        (
            "homepage",
            {"x": 1},
            "no route named 'homepage' takes x=1; a route of that name takes other parameters: none",
        ),
        (
            "item",
            {"id": 1},
            "no route named 'item' takes id=1; a route of that name takes other parameters: id, rest",
        ),
        (
            "files",
            {"path": "/x"},
            "no route named 'files' takes path='/x'; a route of that name takes other parameters: path, tenant",
        ),
        (
            "static",
            {},
            "no route named 'static' takes no parameters; a route of that name takes other parameters: path",
        ),
        (
            "sub:users:one",
            {"name": "x"},
            (
                "no route named 'sub:users:one' takes name='x'; "
                "a route of that name takes other parameters: name, subdomain"
            ),
        ),
        (
            "user",
            {"id": -1},
            (
                "no route named 'user' takes id=-1: parameter 'id' of '/unnamed/{id:int}': "
                "negative integers are not supported: -1"
            ),
        ),
        (
            "user_detail",
            {"username": "a/b"},
            (
                "no route named 'user_detail' takes username='a/b': parameter 'username' of '/users/{username}': "
                "must not contain a slash: 'a/b'"
            ),
        ),
        (
            "people:one",
            {"name": ""},
            "no route named 'people:one' takes name='': parameter 'name' of '/{name}': must not be empty",
        ),
        (
            "files",
            {"tenant": "", "path": "x"},
            (
                "no route named 'files' takes tenant='', path='x': parameter 'tenant' of '/{tenant}/files': "
                "must not be empty"
            ),
        ),
        ("people:", {}, "no route named 'people:' takes no parameters; did you mean 'people'?"),
        ("", {}, "no route named '' takes no parameters"),
    ],
)
def test_a_miss_quotes_the_name_and_the_parameters_and_says_what_is_near(
    name: str, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(NoMatchFound, match=exactly(message)) as caught:
        make_app().url_path_for(name, **params)
    assert caught.value.name == name
    assert caught.value.path_params == params


def test_a_miss_names_each_set_of_parameters_that_the_name_takes() -> None:
    app = Router([Route("/a/{x}", user, name="a"), Mount("/{m}", routes=[Route("/{y}", user, name="a")])])
    with pytest.raises(NoMatchFound, match=r"a route of that name takes other parameters: x or m, y$"):
        app.url_path_for("a")


def test_a_miss_in_url_for_is_an_error_of_the_handler(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    assert serve(url_app("nothing", {})).get("/page").status_code == 500
    assert "no route named 'nothing' takes no parameters" in caplog.text


def test_url_for_needs_a_router() -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"h")], "scheme": "http"}
    with pytest.raises(RuntimeError, match="url_for needs a connection that came through a Router or a DualRoute"):
        Request(scope).url_for("x")
    assert str(Request({**scope, "app": make_app()}).url_for("homepage")) == "http://h/"


# URLPath


@pytest.mark.parametrize(
    ("path", "base", "url"),
    [
        (URLPath("/x"), "http://h", "http://h/x"),
        (URLPath("/x"), "https://h/srv/", "https://h/srv/x"),
        (URLPath("/x", protocol="http"), "ws://h/", "http://h/x"),
        (URLPath("/x", protocol="http"), "wss://h/", "https://h/x"),
        (URLPath("/x", protocol="websocket"), "http://h/", "ws://h/x"),
        (URLPath("/x", protocol="websocket"), "https://h/", "wss://h/x"),
        (URLPath("/x", host="other:81"), "https://h/srv", "https://other:81/srv/x"),
        (URLPath("/x"), "http://u:p@h:8/", "http://u:p@h:8/x"),
    ],
)
def test_a_path_becomes_an_absolute_url(path: URLPath, base: str, url: str) -> None:
    assert str(path.make_absolute_url(base)) == url
    assert path.make_absolute_url(URL(base)) == url


def test_a_url_path_is_for_http_or_websocket() -> None:
    with pytest.raises(ValueError, match="the protocol of a URLPath is 'http' or 'websocket', not 'ftp'"):
        URLPath("/", protocol="ftp")


def test_a_path_that_starts_with_two_slashes_does_not_name_a_host() -> None:
    app = DualRoute([Route("/{rest:path}", static, name="rest")])
    assert app.url_path_for("rest", rest="/evil.example/x") == "/.//evil.example/x"
