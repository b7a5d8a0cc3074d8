"""Routes, mounts, hosts and routers: what is declared is what answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from inspect import signature
from typing import Any

import httpx
import pytest

from dualroute import (
    DualRoute,
    Host,
    HTTPEndpoint,
    HTTPException,
    JSONResponse,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    SyncRequest,
    WebSocket,
    WebSocketEndpoint,
    WebSocketRoute,
)
from dualroute.connection import HTTPConnection
from dualroute.middleware import Middleware
from dualroute.middleware.cors import CORSMiddleware
from tests.conftest import Serve
from tests.websocket_helper import closed_with, converse, messages, text

Steps = Generator[Any, Any, Response]


def exactly(message: str) -> str:
    return f"^{re.escape(message)}$"


def says(answer: str) -> Callable[[SyncRequest], Response]:
    def endpoint(request: SyncRequest) -> Response:
        return PlainTextResponse(answer)

    return endpoint


async def where(request: Request) -> Response:
    """Answer with where the request was led."""
    return JSONResponse(
        {
            "path": request.scope["path"],
            "root_path": request.scope["root_path"],
            "params": request.path_params,
            "url": str(request.url),
            "base_url": str(request.base_url),
        }
    )


def whereabouts(response: httpx.Response) -> tuple[str, str]:
    """Return the path and the root_path that the handler saw."""
    assert response.status_code == 200, response.text
    shown = response.json()
    return shown["path"], shown["root_path"]


def marking(name: str) -> Callable[[HTTPConnection], Steps]:
    """Return a middleware that writes its name into a header, the outermost one last."""

    def middleware(connection: HTTPConnection) -> Steps:
        response = yield connection
        response.headers["passed"] = ", ".join([*response.headers.getlist("passed"), name])
        return response  # type: ignore[no-any-return]  # what a yield gives is Any

    return middleware


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


class Verbs(HTTPEndpoint):
    def get(self, request: SyncRequest) -> Response:
        return PlainTextResponse("got")

    async def post(self, request: Request) -> Response:
        return PlainTextResponse("posted")


# Route


def test_a_route_takes_its_arguments_by_name() -> None:
    middleware = marking("m")
    route = Route(
        "/users/{id:int}",
        endpoint=where,
        methods=["get", "POST"],
        name="user",
        include_in_schema=False,
        middleware=[middleware],
        sync_to_thread=False,
    )
    assert (route.path, route.endpoint, route.name, route.include_in_schema) == (
        "/users/{id:int}",
        where,
        "user",
        False,
    )
    assert route.methods == {"GET", "HEAD", "POST"}
    assert route.middleware == (middleware,)
    assert list(route.param_convertors) == ["id"]
    assert repr(route) == "Route('/users/{id:int}')"


def test_a_function_takes_get_and_head_unless_told_otherwise(serve: Serve) -> None:
    route = Route("/", says("hi"))
    assert route.methods == {"GET", "HEAD"}
    assert (route.name, route.include_in_schema) == ("endpoint", True)
    client = serve(Router([route]))
    assert [client.request(method, "/").status_code for method in ("GET", "HEAD", "POST", "PUT", "DELETE")] == [
        200,
        200,
        405,
        405,
        405,
    ]


@pytest.mark.parametrize("methods", [["POST"], ("POST",), {"post"}, {"POST": None}.keys()])
def test_methods_may_be_any_iterable_in_either_case(serve: Serve, methods: Any) -> None:
    client = serve(Router([Route("/", says("hi"), methods=methods)]))
    assert client.post("/").text == "hi"
    assert client.get("/").headers["allow"] == "OPTIONS, POST"


@pytest.mark.parametrize(
    ("methods", "error", "message"),
    [
        ("GET", TypeError, "Route('/'): methods is a list of names, not the string 'GET'"),
        ([], ValueError, "Route('/'): methods is empty; leave it out for the endpoint's own"),
        (["GET POST"], ValueError, "Route('/'): 'GET POST' is no HTTP method"),
        ([""], ValueError, "Route('/'): '' is no HTTP method"),
        ([None], ValueError, "Route('/'): None is no HTTP method"),
    ],
)
def test_malformed_methods_are_refused(methods: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=exactly(message)):
        Route("/", where, methods=methods)


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        (None, "Route('/'): an endpoint is a function or an HTTPEndpoint class, not None"),
        ("where", "Route('/'): an endpoint is a function or an HTTPEndpoint class, not 'where'"),
        (dict, "Route('/'): builtins.dict is a class, but no HTTPEndpoint"),
    ],
)
def test_what_is_no_endpoint_is_refused(endpoint: Any, message: str) -> None:
    with pytest.raises(TypeError, match=exactly(message)):
        Route("/", endpoint)


@pytest.mark.parametrize(
    "make",
    [
        lambda middleware: Route("/", where, middleware=middleware),
        lambda middleware: WebSocketRoute("/", echo, middleware=middleware),
        lambda middleware: Mount("/m", routes=[], middleware=middleware),
        lambda middleware: Host("h", Router(), middleware=middleware),
        lambda middleware: DualRoute(middleware=middleware),
    ],
)
@pytest.mark.parametrize("bad", [None, 3, "m", Verbs])
def test_middleware_that_can_not_be_called_is_refused(make: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(TypeError, match="a middleware is a generator function"):
        make([bad])


@pytest.mark.parametrize("alone", [Middleware(CORSMiddleware), CORSMiddleware(), CORSMiddleware])
def test_one_middleware_is_no_list_of_them(alone: Any) -> None:
    for make in (lambda: Route("/", where, middleware=alone), lambda: DualRoute(middleware=alone)):
        with pytest.raises(TypeError, match=r"middleware is a list, so put dualroute.middleware..+ into one"):
            make()


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (lambda limits: Route("/", where, limits=limits), "Route('/')"),
        (lambda limits: WebSocketRoute("/", echo, limits=limits), "WebSocketRoute('/')"),
        (lambda limits: Mount("/m", routes=[], limits=limits), "Mount('/m')"),
        (lambda limits: Host("h", Router(), limits=limits), "Host('h')"),
        (lambda limits: DualRoute(limits=limits), "DualRoute"),
    ],
)
def test_limits_are_limits(make: Callable[[Any], Any], place: str) -> None:
    with pytest.raises(TypeError, match=exactly(f"{place}: limits are Limits(…), not 1024")):
        make(1024)


# Declaring, on a DualRoute and on a Router alike


@pytest.fixture(params=[DualRoute, Router])
def declaring(request: pytest.FixtureRequest) -> DualRoute | Router:
    made: DualRoute | Router = request.param()
    return made


def test_route_decorates_functions_and_classes(serve: Serve, declaring: DualRoute | Router) -> None:
    @declaring.route("/f", methods=["PUT"], name="function", include_in_schema=False, middleware=[marking("m")])
    def function(request: SyncRequest) -> Response:
        return PlainTextResponse("function")

    @declaring.route("/c")
    class Class(Verbs):
        pass

    client = serve(declaring)
    response = client.put("/f")
    assert (response.text, response.headers["passed"]) == ("function", "m")
    assert (client.get("/c").text, client.post("/c").text) == ("got", "posted")
    assert [(route.name, route.include_in_schema) for route in declaring.routes] == [
        ("function", False),
        ("Class", True),
    ]
    assert callable(function)
    assert issubclass(Class, Verbs)


def test_add_route_mount_and_host_append(serve: Serve, declaring: DualRoute | Router) -> None:
    declaring.host("api.test", says("api"), name="api", middleware=[marking("h")])
    declaring.add_route("/a", says("a"), ["POST"], "name", False, middleware=[marking("r")])
    declaring.mount("/m", says("mounted"), name="m", middleware=[marking("m")])
    client = serve(declaring)
    assert client.post("/a").text == "a"
    assert client.post("/a").headers["passed"] == "r"
    assert (client.get("/m/x").text, client.get("/m/x").headers["passed"]) == ("mounted", "m")
    response = client.get("/a", headers={"host": "api.test"})
    assert (response.text, response.headers["passed"]) == ("api", "h")
    assert [route.name for route in declaring.routes] == ["api", "name", "m"]


def test_websocket_routes_are_declared_likewise(declaring: DualRoute | Router) -> None:
    @declaring.websocket_route("/decorated", name="d")
    async def decorated(websocket: WebSocket) -> None:
        await echo(websocket)

    declaring.add_websocket_route("/added", echo, name="a")
    assert [route.name for route in declaring.routes] == ["d", "a"]
    for path in ("/decorated", "/added"):
        assert messages(converse(declaring, path, text("hi"))) == ["hi"]
    assert callable(decorated)


def test_the_routes_of_an_app_are_those_of_its_router() -> None:
    app = DualRoute([Route("/", where)])
    assert app.routes is app.router.routes
    assert [route.path for route in app.routes] == ["/"]


# Mount


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/app/", 200),
        ("/app/x", 200),
        ("/apple", 404),
        ("/app.x", 404),
        ("/ap", 404),
        ("/App/x", 404),
        ("/x/app/", 404),
    ],
)
def test_a_mount_takes_whole_segments(serve: Serve, path: str, status: int) -> None:
    assert serve(Router([Mount("/app", says("in"))])).get(path).status_code == status


@pytest.mark.parametrize("prefix", ["/app", "/app/", "/app//"])
def test_a_slash_at_the_end_of_a_mounts_path_does_not_count(serve: Serve, prefix: str) -> None:
    mount = Mount(prefix, routes=[Route("/x", where)])
    assert mount.path == "/app"
    assert whereabouts(serve(Router([mount])).get("/app/x")) == ("/app/x", "/app")


@pytest.mark.parametrize("prefix", ["", "/"])
def test_a_mount_at_the_root_takes_everything_and_adds_no_root_path(serve: Serve, prefix: str) -> None:
    client = serve(Router([Mount(prefix, routes=[Route("/", where), Route("/x", where)])]))
    assert whereabouts(client.get("/")) == ("/", "")
    assert whereabouts(client.get("/x")) == ("/x", "")


def test_the_path_keeps_the_prefix_while_the_root_path_grows(serve: Serve) -> None:
    client = serve(
        DualRoute(
            [
                Route("/x", where),
                Mount(
                    "/a",
                    routes=[Route("/x", where), Mount("/b/c", DualRoute([Mount("/d", Router([Route("/", where)]))]))],
                ),
                Mount("/{tenant}-{n:int}", routes=[Route("/x/{id}", where)]),
                Mount("/f", where),
            ]
        )
    )
    assert whereabouts(client.get("/x")) == ("/x", "")
    assert whereabouts(client.get("/a/x")) == ("/a/x", "/a")
    assert whereabouts(client.get("/a/b/c/d/")) == ("/a/b/c/d/", "/a/b/c/d")
    assert whereabouts(client.get("/f/deep/er")) == ("/f/deep/er", "/f")
    response = client.get("/acme%20co-7/x/1")
    assert whereabouts(response) == ("/acme co-7/x/1", "/acme co-7")
    assert response.json()["params"] == {"tenant": "acme co", "n": 7, "id": "1"}


@pytest.mark.parametrize("root_path", ["/srv", "/srv/"])
def test_a_servers_root_path_stands_before_that_of_mounts(serve: Serve, root_path: str) -> None:
    client = serve(DualRoute([Route("/", where), Mount("/m", routes=[Route("/x", where)])]), root_path=root_path)
    assert whereabouts(client.get("/")) == ("/srv/", "/srv")
    response = client.get("/m/x?q=1")
    assert whereabouts(response) == ("/srv/m/x", "/srv/m")
    assert response.json()["url"] == "http://testserver/srv/m/x?q=1"
    assert response.json()["base_url"] == "http://testserver/srv/"


def test_a_root_path_beyond_ascii_is_decoded_alike(serve: Serve) -> None:
    client = serve(DualRoute([Mount("/m", routes=[Route("/é", where)])]), root_path="/sé")
    response = client.get("/m/é")
    assert whereabouts(response) == ("/sé/m/é", "/sé/m")
    assert response.json()["url"] == "http://testserver/s%C3%A9/m/%C3%A9"


@pytest.mark.protocol("asgi")  # what some ASGI servers do; WSGI keeps the two apart
def test_a_scope_whose_path_lacks_the_root_path_is_read_all_the_same(serve: Serve) -> None:
    app = DualRoute([Mount("/m", routes=[Route("/x", where)])])
    client = serve(app, extra={"root_path": "/srv", "path": "/m/x"})
    assert whereabouts(client.get("/")) == ("/srv/m/x", "/srv/m")


@pytest.mark.protocol("asgi")  # likewise
def test_a_root_path_is_taken_off_whole_segments_only(serve: Serve) -> None:
    client = serve(DualRoute([Route("/srvice", where)]), extra={"root_path": "/srv", "path": "/srvice"})
    assert whereabouts(client.get("/")) == ("/srv/srvice", "/srv")


@pytest.mark.protocol("asgi")  # the ways of ASGI servers; SCRIPT_NAME and PATH_INFO leave no room for them
@pytest.mark.parametrize("path", ["/srv/m/x", "/srv//m/x", "/m/x"])
def test_a_root_path_that_ends_in_a_slash_is_understood_however_the_path_is_joined_to_it(
    serve: Serve, path: str
) -> None:
    # uvicorn puts root_path in front of the path as it is: --root-path /srv/ gives /srv//m/x.
    app = DualRoute([Mount("/m", routes=[Route("/x", where)])])
    client = serve(app, extra={"root_path": "/srv/", "path": path})
    assert whereabouts(client.get("/")) == ("/srv/m/x", "/srv/m")


def test_a_mount_takes_either_an_app_or_routes() -> None:
    for arguments in ({}, {"app": Router(), "routes": []}):
        with pytest.raises(TypeError, match=exactly("Mount('/m') takes either app= or routes=")):
            Mount("/m", **arguments)  # type: ignore[arg-type]  # the mistake is the point


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Mount("/{rest:path}", routes=[]),
            ValueError,
            "Mount('/{rest:path}'): a prefix can't hold a parameter that spans segments",
        ),
        (
            lambda: Mount("/{path}", routes=[]),
            ValueError,
            "Mount('/{path}'): a prefix's parameter can't be called 'path', which stands for what follows",
        ),
        (
            lambda: Mount("/m", app=3),
            TypeError,
            "Mount('/m'): an endpoint is a function or an HTTPEndpoint class, not 3",
        ),
        (lambda: Host("", Router()), ValueError, "a host is a name with an optional port, without slashes: ''"),
        (lambda: Host("a/b", Router()), ValueError, "a host is a name with an optional port, without slashes: 'a/b'"),
        (
            lambda: Host("{h:path}.test", Router()),
            ValueError,
            "Host('{h:path}.test'): a host can't hold a path parameter",
        ),
        (
            lambda: Host("{a}.{a}", Router()),
            ValueError,
            "parameter 'a' is repeated in '{a}.{a}'",
        ),
        (
            lambda: Router([where]),  # type: ignore[list-item]  # the mistake is the point
            TypeError,
            f"routes are Route, WebSocketRoute, Mount and Host objects, not {__name__}.where",
        ),
        (
            lambda: Router(where),  # type: ignore[arg-type]  # likewise
            TypeError,
            f"routes is a list of Route, WebSocketRoute, Mount and Host objects, not {__name__}.where",
        ),
        (
            lambda: DualRoute(Route("/", where)),  # type: ignore[arg-type]  # likewise
            TypeError,
            "routes is a list of Route, WebSocketRoute, Mount and Host objects, not Route('/')",
        ),
        (
            lambda: Route(where, "/"),  # type: ignore[arg-type]  # likewise
            TypeError,
            f"a path is a str, and comes first; {__name__}.where is none",
        ),
        (
            lambda: Mount(None, routes=[]),  # type: ignore[arg-type]  # likewise
            TypeError,
            "a path is a str, and comes first; None is none",
        ),
        (
            lambda: Host(Router, "h.test"),  # type: ignore[arg-type]  # likewise
            TypeError,
            "a host is a str, and comes first; dualroute.routing.Router is none",
        ),
    ],
)
def test_mistakes_in_containers_are_refused_when_they_are_made(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=exactly(message)):
        make()


def test_a_mounted_class_answers_every_path_by_its_methods(serve: Serve) -> None:
    client = serve(Router([Mount("/m", Verbs)]))
    assert (client.get("/m/a/b").text, client.post("/m/").text) == ("got", "posted")
    response = client.delete("/m/")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")


def test_a_mount_passes_its_parameters_to_a_mounted_function(serve: Serve) -> None:
    def endpoint(request: SyncRequest, tenant: str) -> Response:
        return PlainTextResponse(tenant)

    assert serve(Router([Mount("/{tenant}", endpoint)])).get("/acme/x").text == "acme"


def test_a_handler_reaches_the_parameters_of_enclosing_mounts_by_the_request(serve: Serve) -> None:
    def endpoint(request: SyncRequest, id: int) -> Response:
        return JSONResponse([id, request.path_params])

    client = serve(Router([Mount("/{tenant}", routes=[Route("/{id:int}", endpoint)])]))
    assert client.get("/acme/3").json() == [3, {"tenant": "acme", "id": 3}]


# Slash redirects


def location(client: httpx.Client, path: str, method: str = "GET") -> str | None:
    response = client.request(method, path)
    if response.status_code != 307:
        return None
    return response.headers["location"]


def test_a_missing_or_extra_slash_is_redirected_both_ways(serve: Serve) -> None:
    client = serve(Router([Route("/with/", says("w")), Route("/without", says("o")), Mount("/m", says("m"))]))
    assert location(client, "/with") == "/with/"
    assert location(client, "/without/") == "/without"
    assert location(client, "/m") == "/m/"
    assert location(client, "/neither") is None
    assert client.get("/with", follow_redirects=True).text == "w"


def test_a_redirect_keeps_the_query_as_it_was_sent(serve: Serve) -> None:
    client = serve(Router([Route("/a/", says("a"))]))
    assert location(client, "/a?x=1&y=%2F%20+&z") == "/a/?x=1&y=%2F%20+&z"
    assert location(client, "/a?") == "/a/"


def test_a_redirect_is_relative_and_percent_encoded(serve: Serve) -> None:
    client = serve(Router([Route("/{x}/", says("x"))]))
    assert location(client, "/caf%C3%A9%20%3F%23%25") == "/caf%C3%A9%20%3F%23%25/"


def test_a_redirect_keeps_the_root_path(serve: Serve) -> None:
    client = serve(Router([Mount("/m", routes=[Route("/a/", says("a"))])]), root_path="/srv")
    assert location(client, "/m/a") == "/srv/m/a/"


def test_a_request_for_the_bare_root_path_is_led_to_its_slash(serve: Serve) -> None:
    extra = {"path": "/srv", "root_path": "/srv", "SCRIPT_NAME": "/srv", "PATH_INFO": ""}
    client = serve(Router([Route("/", says("root"))]), extra=extra)
    assert location(client, "/?q=1") == "/srv/?q=1"


def test_a_redirect_inside_a_mount_starts_from_the_whole_path(serve: Serve) -> None:
    client = serve(
        Router([Mount("/m", DualRoute([Route("/a", says("a")), Mount("/n", routes=[Route("/", says("n"))])]))])
    )
    assert location(client, "/m/a/") == "/m/a"
    assert location(client, "/m/n") == "/m/n/"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("//evil.example/x", "/.//evil.example/x/"),
        ("///evil.example", "/.///evil.example/"),
        ("/%5Cevil.example", "/%5Cevil.example/"),
        ("/%5C%5Cevil.example", "/%5C%5Cevil.example/"),
        ("//evil.example/%2e%2e", "/.//evil.example/../"),
        ("/%0D%0ASet-Cookie:a=b", "/%0D%0ASet-Cookie:a=b/"),
        ("/%09/evil.example", "/%09/evil.example/"),
        ("/http://evil.example", "/http://evil.example/"),
    ],
)
def test_a_redirect_never_leads_off_site(serve: Serve, path: str, expected: str) -> None:
    client = serve(Router([Route("/{rest:path}/", says("in"))]))
    response = client.get(httpx.URL("http://testserver", raw_path=path.encode()))
    assert (response.status_code, response.headers["location"]) == (307, expected)
    target = httpx.URL("http://testserver/").join(response.headers["location"])
    assert target.host == "testserver"


def test_a_path_that_matches_as_it_is_is_never_redirected(serve: Serve) -> None:
    client = serve(Router([Route("/a/", says("slash")), Route("/{x}", says("bare"))]))
    assert client.get("/a").text == "bare"
    assert client.get("/a/").text == "slash"


def test_a_wrong_method_is_405_before_it_is_a_redirect(serve: Serve) -> None:
    client = serve(Router([Route("/a", says("a"), methods=["POST"]), Route("/a/", says("b"))]))
    assert client.get("/a").status_code == 405


def test_a_redirect_does_not_look_at_the_method(serve: Serve) -> None:
    client = serve(Router([Route("/a/", says("a"), methods=["POST"])]))
    assert location(client, "/a", "POST") == "/a/"
    assert location(client, "/a", "GET") == "/a/"


@pytest.mark.parametrize(
    "app",
    [
        Router([Route("/a/", says("a")), Mount("/m", says("m"))], redirect_slashes=False),
        DualRoute([Route("/a/", says("a")), Mount("/m", says("m"))], redirect_slashes=False),
    ],
)
def test_redirects_can_be_turned_off(serve: Serve, app: Any) -> None:
    client = serve(app)
    assert [client.get(path).status_code for path in ("/a", "/m", "/a/")] == [404, 404, 200]


def test_redirects_can_be_turned_off_for_a_mounted_router_alone(serve: Serve) -> None:
    inner = Router([Route("/a/", says("a"))], redirect_slashes=False)
    client = serve(Router([Mount("/m", inner), Route("/b/", says("b"))]))
    assert client.get("/m/a").status_code == 404
    assert location(client, "/b") == "/b/"


# Defaults


def test_a_default_takes_what_matches_no_route(serve: Serve) -> None:
    client = serve(DualRoute([Route("/a", says("a"))], fallback=where))
    assert client.get("/a").text == "a"
    assert whereabouts(client.get("/b/c")) == ("/b/c", "")
    assert client.delete("/b/c").status_code == 200
    assert client.post("/a").status_code == 405


def test_a_default_may_be_a_router_or_an_app_with_a_default_of_its_own(serve: Serve) -> None:
    last = DualRoute([Route("/c", says("c"))], fallback=says("last"))
    client = serve(Router([Route("/a", says("a"))], default=Router([Route("/b", says("b"))], default=last)))
    assert [client.get(path).text for path in ("/a", "/b", "/c", "/d")] == ["a", "b", "c", "last"]


def test_a_default_router_answers_404_and_405_itself(serve: Serve) -> None:
    client = serve(Router(default=Router([Route("/b", says("b"))])))
    assert client.get("/x").status_code == 404
    response = client.post("/b")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_a_default_class_answers_405_for_the_verbs_it_lacks(serve: Serve) -> None:
    client = serve(Router(default=Verbs))
    assert (client.get("/x").text, client.post("/y").text) == ("got", "posted")
    response = client.delete("/x")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")


def test_a_default_inside_a_mount_keeps_to_the_mount(serve: Serve) -> None:
    client = serve(Router([Mount("/m", Router([Route("/a", says("a"))], default=where)), Route("/b", says("b"))]))
    assert whereabouts(client.get("/m/x")) == ("/m/x", "/m")
    assert client.get("/x").status_code == 404
    assert client.get("/b").text == "b"


def test_a_default_may_be_set_and_taken_away(serve: Serve) -> None:
    router = Router()
    client = serve(router)
    router.default = says("default")
    assert client.get("/x").text == "default"
    router.default = None
    assert client.get("/x").status_code == 404


# Everything is an app


STANDALONE: dict[str, tuple[Any, str]] = {
    "Route": (Route("/a", says("hi")), "/a"),
    "Mount": (Mount("/m", routes=[Route("/a", says("hi"))]), "/m/a"),
    "Host": (Host("testserver", Router([Route("/a", says("hi"))])), "/a"),
    "Router": (Router([Route("/a", says("hi"))]), "/a"),
    "DualRoute": (DualRoute([Route("/a", says("hi"))]), "/a"),
}


@pytest.mark.parametrize("kind", STANDALONE)
def test_each_kind_of_route_is_an_app_that_answers_404_and_405_itself(serve: Serve, kind: str) -> None:
    app, path = STANDALONE[kind]
    client = serve(app)
    assert client.get(path).text == "hi"
    assert client.post(path).status_code == 405
    assert client.get("/other").status_code == 404


def test_an_endpoint_class_is_an_app(serve: Serve) -> None:
    client = serve(Verbs)
    assert (client.get("/any/path").text, client.post("/").text) == ("got", "posted")
    response = client.delete("/")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert client.options("/").headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert client.head("/").content == b""


def test_a_response_is_an_app(serve: Serve) -> None:
    client = serve(PlainTextResponse("always", status_code=203, headers={"x": "y"}))
    for method in ("GET", "POST", "DELETE"):
        response = client.request(method, "/any/path/")
        assert (response.status_code, response.text, response.headers["x"]) == (203, "always", "y")


def test_a_standalone_websocket_route_serves_its_path_and_closes_the_others() -> None:
    route = WebSocketRoute("/ws", echo)
    assert messages(converse(route, "/ws", text("a"), text("b"))) == ["a", "b"]
    refused = converse(route, "/other")
    assert (messages(refused), closed_with(refused)) == ([], 1000)
    assert not any(event["type"] == "websocket.accept" for event in refused)


def test_a_standalone_websocket_route_is_404_to_plain_requests(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    assert serve(WebSocketRoute("/ws", echo)).get("/ws").status_code == 404


def test_a_websocket_class_is_404_to_plain_requests(serve: Serve) -> None:
    class Chat(WebSocketEndpoint):
        pass

    assert serve(Chat).get("/").status_code == 404
    assert serve(Router([Mount("/m", Chat)])).get("/m/").status_code == 404


def test_an_app_called_with_neither_protocols_arguments_says_what_servers_pass() -> None:
    app: Any = DualRoute()
    with pytest.raises(TypeError, match=r"DualRoute was called with 0 arguments \(none\); a server calls it with"):
        app()
    with pytest.raises(TypeError, match=r"DualRoute was called with 2 arguments \(int, str\); a server calls it with"):
        app(1, "x")


# Middleware around routes


def test_middleware_runs_from_the_app_through_mounts_to_the_route(serve: Serve) -> None:
    inner = DualRoute([Route("/x", says("x"), middleware=[marking("route 1"), marking("route 2")])])
    inner.add_middleware(marking("inner app"))
    app = DualRoute(
        [
            Mount("/m", routes=[Mount("/n", inner, middleware=[marking("mount n")])], middleware=[marking("mount m")]),
            Host("other.test", Router([Route("/x", says("other"))]), middleware=[marking("host")]),
            Route("/plain", says("plain")),
        ],
        middleware=[marking("app 1"), marking("app 2")],
    )
    client = serve(app)
    assert client.get("/m/n/x").headers["passed"] == ("route 2, route 1, inner app, mount n, mount m, app 2, app 1")
    assert client.get("/plain").headers["passed"] == "app 2, app 1"
    assert client.get("/x", headers={"host": "other.test"}).headers["passed"] == "host, app 2, app 1"


def test_a_miss_passes_the_middleware_of_the_app_and_of_the_mount_it_lies_in(serve: Serve) -> None:
    app = DualRoute(
        [
            Mount("/m", routes=[Route("/x", says("x"), middleware=[marking("route")])], middleware=[marking("mount")]),
        ],
        middleware=[marking("app")],
    )
    client = serve(app)
    assert client.get("/m/none").headers["passed"] == "mount, app"
    assert client.post("/m/x").headers["passed"] == "mount, app"
    assert client.options("/m/x").headers["passed"] == "mount, app"
    assert client.get("/none").headers["passed"] == "app"
    assert client.get("/m/x/").headers["passed"] == "app"


def test_middleware_added_later_goes_outside_until_a_request_was_served(serve: Serve) -> None:
    app = DualRoute([Route("/", says("x"))], middleware=[marking("first")])
    app.add_middleware(marking("second"))
    client = serve(app)
    assert client.get("/").headers["passed"] == "first, second"
    with pytest.raises(RuntimeError, match=exactly("middleware can't be added once the app has served a request")):
        app.add_middleware(marking("late"))


# An app inside an app


def nested() -> DualRoute:
    def fails(request: SyncRequest) -> Response:
        raise LookupError("inner")

    async def refuses(request: Request) -> Response:
        raise HTTPException(410)

    def answer(name: str) -> Callable[[Any, Exception], Response]:
        def handler(request: Any, error: Exception) -> Response:
            return PlainTextResponse(f"{name}: {type(error).__name__}", status_code=418)

        return handler

    inner = DualRoute(
        [Route("/fails", fails), Route("/refuses", refuses), Route("/app", shows_app)],
        exception_handlers={LookupError: answer("inner"), 404: answer("inner 404")},
    )
    inner.state.name = "inner"
    outer = DualRoute(
        [Mount("/in", inner), Route("/fails", fails), Route("/app", shows_app)],
        exception_handlers={LookupError: answer("outer"), 410: answer("outer 410"), 404: answer("outer 404")},
    )
    outer.state.name = "outer"
    return outer


def shows_app(request: SyncRequest) -> Response:
    return PlainTextResponse(request.app.state.name)


def test_the_innermost_app_with_a_handler_answers(serve: Serve) -> None:
    client = serve(nested())
    assert client.get("/in/fails").text == "inner: LookupError"
    assert client.get("/fails").text == "outer: LookupError"
    assert client.get("/in/refuses").text == "outer 410: HTTPException"


def test_a_404_in_a_mounted_app_is_answered_by_its_handlers(serve: Serve) -> None:
    client = serve(nested())
    assert client.get("/in/none").text == "inner 404: HTTPException"
    assert client.get("/none").text == "outer 404: HTTPException"


def test_request_app_is_the_innermost_app(serve: Serve) -> None:
    client = serve(nested())
    assert client.get("/in/app").text == "inner"
    assert client.get("/app").text == "outer"


def test_the_scope_tells_of_app_router_route_and_endpoint(serve: Serve) -> None:
    seen: dict[str, Any] = {}

    async def endpoint(request: Request) -> Response:
        seen.update(request.scope)
        seen["request"] = request
        return Response(status_code=204)

    route = Route("/{id:int}", endpoint)
    app = DualRoute([Mount("/m", routes=[route])])
    assert serve(app).get("/m/5").status_code == 204
    assert seen["app"] is app
    assert seen["router"] is app
    assert seen["route"] is route
    assert seen["endpoint"] is endpoint
    assert seen["path_params"] == {"id": 5}
    assert seen["request"].route is route
    assert seen["request"].app is app


def test_a_bare_router_has_no_app(serve: Serve) -> None:
    def endpoint(request: SyncRequest) -> Response:
        return PlainTextResponse(repr(request.app))

    assert serve(Router([Route("/", endpoint)])).get("/").text == "None"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_threads": 0}, ValueError, "max_threads must be at least 1, not 0"),
        (
            {"exception_handlers": {"x": where}},
            TypeError,
            "an exception handler is for a status or an Exception class, not 'x'",
        ),
        (
            {"exception_handlers": {KeyboardInterrupt: where}},
            TypeError,
            "an exception handler is for a status or an Exception class, not <class 'KeyboardInterrupt'>",
        ),
        ({"exception_handlers": {404: "page"}}, TypeError, "an exception handler is a function, not 'page'"),
        (
            {"exception_handlers": {404: where}},
            TypeError,
            f"an exception handler takes the request and the exception, which {__name__}.where{signature(where)} can't",
        ),
        ({"max_threads": "4"}, ValueError, "max_threads must be at least 1, not '4'"),
        ({"max_waiting": None}, ValueError, "max_waiting must be at least 0, not None"),
        (
            {"asgi_middleware": CORSMiddleware},
            TypeError,
            "DualRoute: asgi_middleware is a list, so put dualroute.middleware.cors.CORSMiddleware into one",
        ),
        (
            {"wsgi_middleware": ["ProxyFix"]},
            TypeError,
            "DualRoute: wsgi_middleware takes callables that are given the WSGI app and return one, not 'ProxyFix'",
        ),
        (
            {"asgi_middleware": [Middleware(CORSMiddleware)]},
            TypeError,
            (
                "DualRoute: asgi_middleware takes callables that are given the ASGI app and return one, not"
                " Middleware(CORSMiddleware); Middleware(…) goes into middleware="
            ),
        ),
    ],
)
def test_wrong_arguments_of_an_app_are_refused(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=exactly(message)):
        DualRoute(**arguments)


@pytest.mark.parametrize("side", ["asgi", "wsgi"])
def test_what_is_wrapped_around_one_side_has_to_be_an_app(side: str) -> None:
    def forgetful(app: Any) -> None:
        return None

    options: Any = {f"{side}_middleware": [forgetful]}
    app = DualRoute(**options)
    with pytest.raises(
        TypeError, match=rf"forgetful in {side}_middleware returned None; it must return an {side.upper()} app"
    ):
        getattr(app, side)


def test_middleware_for_one_protocol_goes_round_that_side_alone(serve: Serve, protocol: str) -> None:
    calls: list[str] = []

    def around_asgi(app: Any) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            calls.append("asgi")
            await app(scope, receive, send)

        return wrapped

    def around_wsgi(name: str) -> Callable[[Any], Any]:
        def wrap(app: Any) -> Any:
            def wrapped(environ: Any, start_response: Any) -> Any:
                calls.append(name)
                return app(environ, start_response)

            return wrapped

        return wrap

    app = DualRoute(
        [Route("/", says("x"))],
        asgi_middleware=[around_asgi],
        wsgi_middleware=[around_wsgi("outer"), around_wsgi("inner")],
    )
    assert serve(app).get("/").text == "x"
    assert calls == (["asgi"] if protocol == "asgi" else ["outer", "inner"])
