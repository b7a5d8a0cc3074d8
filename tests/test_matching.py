"""The index: declared order decides, whatever the tree below it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualroute import (
    Convertor,
    DualRoute,
    Host,
    HTTPEndpoint,
    JSONResponse,
    Mount,
    PlainTextResponse,
    Response,
    Route,
    Router,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
    register_url_convertor,
)
from dualroute.convertors import CONVERTOR_TYPES
from dualroute.matching import HTTP, WEBSOCKET, Miss, Table
from tests.conftest import Serve


def says(text: str) -> Callable[[SyncRequest], Response]:
    def endpoint(request: SyncRequest) -> Response:
        return PlainTextResponse(text)

    return endpoint


def route(path: str, *methods: str) -> Route:
    """Return a route that answers with its own path template."""
    return Route(path, says(path), methods=methods or None)


def answers(client: httpx.Client, *paths: str) -> list[str | int]:
    """Return the text of each answer, or its status where that is not 200."""
    found: list[str | int] = []
    for path in paths:
        response = client.get(path)
        found.append(response.text if response.status_code == 200 else response.status_code)
    return found


# Order and backtracking


def test_the_first_route_that_matches_wins_whatever_is_more_specific(serve: Serve) -> None:
    client = serve(Router([route("/users/{name}"), route("/users/me"), route("/{rest:path}"), route("/about")]))
    assert answers(client, "/users/me", "/about") == ["/users/{name}", "/{rest:path}"]


def test_a_specific_route_declared_first_is_tried_first(serve: Serve) -> None:
    client = serve(Router([route("/users/me"), route("/users/{name}")]))
    assert answers(client, "/users/me", "/users/you") == ["/users/me", "/users/{name}"]


def test_of_two_routes_for_one_path_the_first_wins(serve: Serve) -> None:
    client = serve(Router([Route("/a", says("first")), Route("/a", says("second"))]))
    assert answers(client, "/a") == ["first"]


def test_a_dead_end_leads_back_to_the_parameters_beside_it(serve: Serve) -> None:
    client = serve(Router([route("/a/{x}/c/{y}"), route("/a/b/d/{y}")]))
    assert answers(client, "/a/b/c/1", "/a/b/d/1", "/a/z/c/1", "/a/z/d/1") == [
        "/a/{x}/c/{y}",
        "/a/b/d/{y}",
        "/a/{x}/c/{y}",
        404,
    ]


def test_dead_ends_at_several_levels_lead_back(serve: Serve) -> None:
    client = serve(
        Router(
            [route("/a/b/c/d"), route("/a/b/{x}/e"), route("/a/{x}/c/f"), route("/{x}/b/c/g"), route("/{x}/{y}/{z}/h")]
        )
    )
    assert answers(client, *(f"/a/b/c/{last}" for last in "defghi")) == [
        "/a/b/c/d",
        "/a/b/{x}/e",
        "/a/{x}/c/f",
        "/{x}/b/c/g",
        "/{x}/{y}/{z}/h",
        404,
    ]


def test_typed_parameters_side_by_side_are_tried_in_order(serve: Serve) -> None:
    client = serve(
        Router([route("/{v:int}"), route("/{v:float}"), route("/{a}-{b}"), route("/{v}"), route("/{v:uuid}")])
    )
    assert answers(client, "/1", "/1.5", "/x-y", "/x", "/12345678123456781234567812345678") == [
        "/{v:int}",
        "/{v:float}",
        "/{a}-{b}",
        "/{v}",
        "/{v:int}",
    ]


def test_a_path_tail_keeps_its_place_in_the_order(serve: Serve) -> None:
    client = serve(
        Router([route("/a/b"), route("/a/{rest:path}"), route("/a/c"), route("/{rest:path}.js"), route("/a/{x}/d")])
    )
    assert answers(client, "/a/b", "/a/c", "/a/x/d", "/x/y.js", "/a/y.js") == [
        "/a/b",
        "/a/{rest:path}",
        "/a/{rest:path}",
        "/{rest:path}.js",
        "/a/{rest:path}",
    ]


# Methods


def test_another_route_for_the_path_may_have_the_method(serve: Serve) -> None:
    client = serve(Router([Route("/{x}", says("get")), Route("/a", says("post"), methods=["POST"])]))
    assert client.get("/a").text == "get"
    assert client.post("/a").text == "post"
    assert client.post("/b").status_code == 405


def test_405_lists_the_methods_of_every_route_for_the_path_sorted(serve: Serve) -> None:
    client = serve(
        Router(
            [
                route("/a", "PUT"),
                route("/{x}", "GET"),
                route("/{rest:path}", "DELETE", "POST"),
                Mount("/a", routes=[route("/", "PATCH")]),
                route("/b", "QUERY"),
            ]
        )
    )
    response = client.patch("/a")
    assert response.status_code == 405
    assert response.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT"
    assert response.text == "Method Not Allowed"


def test_405_counts_the_routes_inside_mounts(serve: Serve) -> None:
    client = serve(
        Router(
            [
                Mount("/m", routes=[route("/a", "PUT"), Mount("/", routes=[route("/a", "PATCH")])]),
                Mount("/{x}", routes=[route("/a", "POST"), route("/b", "DELETE")]),
            ]
        )
    )
    response = client.get("/m/a")
    assert (response.status_code, response.headers["allow"]) == (405, "OPTIONS, PATCH, POST, PUT")


def test_a_head_request_is_answered_by_a_get_handler_without_a_body(serve: Serve) -> None:
    response = serve(Router([route("/a")])).head("/a")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == "2"


def test_a_head_request_to_a_path_without_get_is_405(serve: Serve) -> None:
    response = serve(Router([route("/a", "POST")])).head("/a")
    assert (response.status_code, response.headers["allow"]) == (405, "OPTIONS, POST")
    assert response.content == b""


def test_options_is_answered_with_allow_where_no_handler_takes_it(serve: Serve) -> None:
    client = serve(Router([route("/a", "GET"), route("/{x}", "DELETE")]))
    response = client.options("/a")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"
    assert client.options("/nowhere/else").status_code == 404


def test_options_goes_to_the_handler_that_takes_it(serve: Serve) -> None:
    client = serve(Router([route("/a", "GET"), Route("/{x}", says("mine"), methods=["OPTIONS"])]))
    assert client.options("/a").text == "mine"
    assert client.post("/a").headers["allow"] == "GET, HEAD, OPTIONS"


def test_options_of_a_class_is_its_own_method(serve: Serve) -> None:
    class Resource(HTTPEndpoint):
        def options(self, request: SyncRequest) -> Response:
            return Response(status_code=204, headers={"allow": "mine"})

    response = serve(Router([Route("/a", Resource)])).options("/a")
    assert (response.status_code, response.headers["allow"]) == (204, "mine")


# Mounts


def test_a_mount_in_which_nothing_matches_declines(serve: Serve) -> None:
    client = serve(
        Router(
            [
                Mount("/m", routes=[route("/a"), Mount("/n", routes=[route("/b")])]),
                Mount("/m", routes=[Route("/c", says("second mount"))]),
                Route("/m/n/d", says("route")),
                Mount("/", routes=[Route("/m/n/e", says("root mount"))]),
            ]
        )
    )
    assert answers(client, "/m/a", "/m/n/b", "/m/c", "/m/n/d", "/m/n/e", "/m/n/f") == [
        "/a",
        "/b",
        "second mount",
        "route",
        "root mount",
        404,
    ]


def test_a_mount_in_which_only_the_method_is_wrong_declines(serve: Serve) -> None:
    client = serve(Router([Mount("/m", routes=[route("/a", "POST")]), Route("/m/a", says("after"))]))
    assert client.get("/m/a").text == "after"


def test_a_mounted_endpoint_takes_everything_below_it(serve: Serve) -> None:
    client = serve(Router([route("/m/first"), Mount("/m", says("mounted")), route("/m/second")]))
    assert answers(client, "/m/first", "/m/second", "/m/", "/m/x/y") == ["/m/first", "mounted", "mounted", "mounted"]
    assert client.delete("/m/x").text == "mounted"


def test_a_router_with_a_default_never_declines(serve: Serve) -> None:
    inner = Router([route("/a")], default=says("default"))
    client = serve(Router([Mount("/m", inner), Route("/m/b", says("never"))]))
    assert answers(client, "/m/a", "/m/b") == ["/a", "default"]


def test_parameters_of_mounts_and_hosts_are_merged_with_those_of_the_route(serve: Serve) -> None:
    def show(request: SyncRequest) -> Response:
        return JSONResponse(request.path_params)

    inner = Router([Mount("/{b:int}", routes=[Route("/{c}/{a}", show)])])
    client = serve(Router([Host("{h}.example.org", Router([Mount("/x/{a}", inner)]))]))
    response = client.get("/x/outer/2/3/inner", headers={"host": "sub.example.org"})
    assert response.json() == {"h": "sub", "a": "inner", "b": 2, "c": "3"}


def test_a_convertor_failing_in_a_mounts_prefix_falls_on(serve: Serve) -> None:
    client = serve(Router([Mount("/{x:int}", routes=[route("/a")]), Mount("/{x}", routes=[Route("/a", says("str"))])]))
    assert answers(client, "/1/a", "/x/a", "/" + "9" * 5000 + "/a") == ["/a", "str", "str"]


# Hosts


def host_app() -> Router:
    return Router(
        [
            Host("api.example.org", says("api")),
            Host("WWW.Example.org:8080", says("www")),
            Host("{sub}.example.org", says("sub")),
            Host("{a}-{b:int}.example.net", says("mixed")),
            Host("{any}", Router([Route("/only", says("any"))])),
            Route("/{rest:path}", says("no host")),
        ]
    )


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("api.example.org", "api"),
        ("API.Example.ORG", "api"),
        ("api.example.org:8000", "api"),
        ("www.example.org", "www"),
        ("www.example.org:8080", "www"),
        ("www.example.org:9", "www"),
        ("shop.example.org", "sub"),
        ("Shop.Example.Org:1", "sub"),
        ("deep.shop.example.org", "sub"),
        (".example.org", "no host"),
        ("example.org", "no host"),
        ("api.example.orgx", "no host"),
        ("apixexample.org", "no host"),
        ("x-7.example.net", "mixed"),
        ("x-y.example.net", "no host"),
        ("[::1]:80", "no host"),
    ],
)
def test_hosts_match_without_port_and_in_any_case(serve: Serve, host: str, answer: str) -> None:
    assert serve(host_app()).get("/", headers={"host": host}).text == answer


def test_a_host_declines_what_it_has_no_route_for(serve: Serve) -> None:
    client = serve(host_app())
    assert client.get("/only", headers={"host": "other.test"}).text == "any"
    assert client.get("/else", headers={"host": "other.test"}).text == "no host"


def test_a_host_parameter_is_in_lower_case_whatever_was_sent(serve: Serve) -> None:
    def show(request: SyncRequest) -> Response:
        return PlainTextResponse(request.path_params["sub"])

    client = serve(Router([Host("{sub}.example.org", show)]))
    assert client.get("/", headers={"host": "ShOp.example.org"}).text == "shop"


def test_a_host_keeps_its_place_in_the_order(serve: Serve) -> None:
    client = serve(Router([route("/a"), Host("testserver", says("host")), route("/b")]))
    assert answers(client, "/a", "/b") == ["/a", "host"]


# Routes that change while the app runs

Change = Callable[[Any], Any]

CHANGES: dict[str, tuple[Change, list[str]]] = {
    "append": (lambda routes: routes.append(Route("/{x}", says("new"))), ["a", "b", "new"]),
    "extend": (lambda routes: routes.extend([route("/c"), Route("/c", says("new"))]), ["a", "b", "/c"]),
    "insert": (lambda routes: routes.insert(0, Route("/{x}", says("new"))), ["new", "new", "new"]),
    "insert at the end": (lambda routes: routes.insert(9, Route("/{x}", says("new"))), ["a", "b", "new"]),
    "+=": (lambda routes: routes.__iadd__([Route("/c", says("new"))]), ["a", "b", "new"]),
    "item": (lambda routes: routes.__setitem__(0, Route("/a", says("new"))), ["new", "b", "404"]),
    "slice": (lambda routes: routes.__setitem__(slice(None), [Route("/c", says("new"))]), ["404", "404", "new"]),
    "del": (lambda routes: routes.__delitem__(0), ["404", "b", "404"]),
    "remove": (lambda routes: routes.remove(routes[1]), ["a", "404", "404"]),
    "pop": (lambda routes: routes.pop(), ["a", "404", "404"]),
    "pop and append": (lambda routes: (routes.pop(), routes.append(Route("/c", says("new")))), ["a", "404", "new"]),
    "clear": (lambda routes: routes.clear(), ["404", "404", "404"]),
    "*=": (lambda routes: routes.__imul__(2), ["a", "b", "404"]),
    "reverse": (lambda routes: (routes.append(Route("/a", says("new"))), routes.reverse()), ["new", "b", "404"]),
    "sort": (
        lambda routes: (routes.append(Route("/{x}", says("new"))), routes.sort(key=lambda item: -len(item.path))),
        ["new", "new", "new"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("where", ["app", "router", "mount", "mounted router", "mounted app", "host"])
def test_the_next_request_sees_a_change_of_the_routes(serve: Serve, change: str, where: str) -> None:
    act, expected = CHANGES[change]
    inside = [Route("/a", says("a")), Route("/b", says("b"))]
    served: Any
    routes: Any
    prefix = "/m"
    if where == "app":
        served, prefix = DualRoute(inside), ""
        routes = served.router.routes
    elif where == "router":
        served, prefix = Router(inside), ""
        routes = served.routes
    elif where == "mount":
        mount = Mount("/m", routes=inside)
        served, routes = DualRoute([mount]), mount.routes
    elif where == "mounted router":
        router = Router(inside)
        served, routes = DualRoute([Mount("/m", router)]), router.routes
    elif where == "mounted app":
        app = DualRoute(inside)
        served, routes = DualRoute([Mount("/m", app)]), app.routes
    else:
        router, prefix = Router(inside), ""
        served, routes = DualRoute([Host("testserver", router)]), router.routes
    client = serve(served)
    paths = [prefix + path for path in ("/a", "/b", "/c")]
    assert answers(client, *paths) == ["a", "b", 404]
    act(routes)
    assert [str(answer) for answer in answers(client, *paths)] == expected


def test_routes_may_be_set_anew(serve: Serve) -> None:
    router = Router([route("/a")])
    client = serve(router)
    assert answers(client, "/a") == ["/a"]
    router.routes = [route("/b")]
    assert answers(client, "/a", "/b") == [404, "/b"]


def test_a_route_may_be_added_while_a_request_is_served(serve: Serve) -> None:
    app = DualRoute()

    @app.route("/grow")
    def grow(request: SyncRequest) -> Response:
        app.add_route("/grown", says("grown"))
        return PlainTextResponse("done")

    client = serve(app)
    assert answers(client, "/grown", "/grow", "/grown") == [404, "done", "grown"]


@pytest.mark.parametrize("not_a_route", [None, "x", says("x"), Router(), object()])
@pytest.mark.parametrize("how", ["append", "extend", "insert", "item", "slice", "+="])
def test_what_is_no_route_is_refused_when_it_is_put_in(not_a_route: Any, how: str) -> None:
    routes: Any = Router([route("/a")]).routes
    put: dict[str, Callable[[], Any]] = {
        "append": lambda: routes.append(not_a_route),
        "extend": lambda: routes.extend([not_a_route]),
        "insert": lambda: routes.insert(0, not_a_route),
        "item": lambda: routes.__setitem__(0, not_a_route),
        "slice": lambda: routes.__setitem__(slice(0, 1), [not_a_route]),
        "+=": lambda: routes.__iadd__([not_a_route]),
    }
    with pytest.raises(TypeError, match="routes are Route, WebSocketRoute, Mount and Host objects, not "):
        put[how]()
    assert [item.path for item in routes] == ["/a"]


def test_a_mounted_app_takes_what_its_first_segment_leads_to(serve: Serve) -> None:
    app = DualRoute(
        routes=[
            route("/ab/before"),
            Mount("/ab", app=says("ab")),
            Mount("/a", app=says("a")),
            route("/a/after"),
            route("/{name}/after"),
            Mount("/abc", app=says("abc")),
            Mount("/get", app=OnlyGet),
            Mount("/get", app=says("any")),
        ],
        redirect_slashes=False,
    )
    client = serve(app)
    assert answers(client, "/ab/before", "/ab/x", "/a/", "/a/after") == ["/ab/before", "ab", "a", "a"]
    assert answers(client, "/abc/after", "/abc/x", "/abcd/after") == ["/{name}/after", "abc", "/{name}/after"]
    # What is mounted takes what begins with the segment and a slash.
    assert answers(client, "/a", "/ab", "/abc", "/x", "//a/x") == [404] * 5
    assert (client.get("/get/x").text, client.post("/get/x").text) == ("got", "any")


@pytest.mark.parametrize(
    "before", ["/a/{name}", "/a/{name}/", "/{name}/x", "/{name:int}{rest}/x", "/{rest:path}", "/{name}/{rest:path}"]
)
@pytest.mark.parametrize("walked", [False, True])
def test_what_was_declared_before_a_mounted_app_comes_first(serve: Serve, before: str, walked: bool) -> None:
    others = [route("/o/{one}-{two}"), route("/o/{one}-{two}/")]  # with these, so many segments need a walk
    app = DualRoute(routes=[route(before), *(others if walked else []), Mount("/a", app=says("a"))])
    path = "/a/x/" if before.endswith("}/") else "/1a/x" if "int" in before else "/a/x"
    assert answers(serve(app), path, "/a/x/x/x") == [before, before if "path" in before else "a"]


def test_a_host_that_was_declared_before_a_mounted_app_comes_first(serve: Serve) -> None:
    app = DualRoute(routes=[Host("a.test", app=says("host")), Mount("/a", app=says("mount"))])
    client = serve(app)
    assert [client.get("/a/x", headers={"host": host}).text for host in ("a.test", "b.test")] == ["host", "mount"]


# The index against a plain scan.  What follows knows nothing of trees and segments: each template is one regular
# expression against the rest of the path, and the entries are tried one after the other.


class EvenConvertor(Convertor[int]):
    regex = "[0-9]+"

    def convert(self, value: str) -> int:
        if int(value) % 2:
            raise ValueError(value)
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


@pytest.fixture(autouse=True, scope="module")
def _even() -> Iterator[None]:
    register_url_convertor("even", EvenConvertor())
    yield
    del CONVERTOR_TYPES["even"]


@dataclass
class Declared:
    """A route, a mount or a host, as a test declares it."""

    label: str
    kind: str
    path: str
    methods: frozenset[str] = frozenset()
    children: list[Declared] = field(default_factory=list)


REGEXES: dict[str, str] = {"str": "[^/]+", "int": "[0-9]+", "even": "[0-9]+", "path": ".*"}
CONVERT: dict[str, Callable[[str], Any]] = {"str": str, "int": int, "even": EvenConvertor().convert, "path": str}


def scan_template(template: str, text: str, after: str) -> tuple[dict[str, Any], str] | None:
    """Match `template` and then the regex `after`; return the parameters and what `after` took."""
    pieces = re.split(r"\{(\w+)(?::(\w+))?\}", template)
    pattern = re.escape(pieces[0])
    kinds = {}
    for name, kind, literal in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        kinds[name] = kind or "str"
        pattern += f"(?P<{name}>{REGEXES[kinds[name]]})" + re.escape(literal)
    found = re.fullmatch(f"{pattern}(?P<rest_>{after})", text, re.DOTALL)
    if found is None:
        return None
    try:
        return {name: CONVERT[kind](found[name]) for name, kind in kinds.items()}, found["rest_"]
    except ValueError:
        return None


@dataclass
class Scan:
    """A linear search, in declared order."""

    kind: str
    method: str
    host: str
    allowed: set[str] = field(default_factory=set)

    def find(self, table: list[Declared], path: str) -> tuple[list[str], dict[str, Any]] | None:
        for declared in table:
            found = self.try_one(declared, path)
            if found is not None:
                return found
        return None

    def try_one(self, declared: Declared, path: str) -> tuple[list[str], dict[str, Any]] | None:
        if declared.kind in ("mount", "app"):
            matched = scan_template(declared.path.rstrip("/"), path, "/.*")
        elif declared.kind == "host":
            matched = scan_template(declared.path, self.host, "")
            if matched is not None:
                matched = matched[0], path
        elif declared.kind == self.kind:
            matched = scan_template(declared.path, path, "")
        else:
            return None
        if matched is None:
            return None
        params, rest = matched
        if declared.kind in ("mount", "host"):
            inside = self.find(declared.children, rest)
            return None if inside is None else ([declared.label, *inside[0]], {**params, **inside[1]})
        if declared.kind == "app" and self.kind == "websocket":
            return None
        if self.kind == "http" and declared.methods and self.method not in declared.methods:
            self.allowed |= declared.methods
            return None
        return [declared.label], params


SEGMENTS = ["", "a", "b", "a-b", "1", "2", "12", "a.j", "é"]
TEMPLATE_SEGMENTS = [
    *("a", "b", "a-b", "1", "", "é", "a.j"),
    *("{%s}", "{%s}", "{%s:int}", "{%s:even}", "{%s}.j", "{%s}-{%s}", "a{%s}", "{%s:int}{%s}"),
]
TAIL_SEGMENTS = ["{%s:path}", "{%s:path}", "a{%s:path}", "{%s:path}/b", "{%s:path}/{%s}", "{%s:path}.j"]
HOSTS = ["h.test", "i.test", "h.other", "1.test"]
HOST_TEMPLATES = ["h.test", "i.test", "{%s}.test", "{%s:int}.test", "{%s:even}.test", "{%s}"]
METHODS = ["GET", "POST", "PUT"]


def named(template: str) -> str:
    """Name the parameters of a template x0, x1, …; mounts and routes share names, so that the inner one must win."""
    count = template.count("%s")
    return template % tuple(f"x{number}" for number in range(count))


templates = st.builds(
    lambda segments, tail: named("/" + "/".join([*segments, *tail])),
    st.lists(st.sampled_from(TEMPLATE_SEGMENTS), max_size=3),
    st.one_of(st.just([]), st.just([""]), st.sampled_from(TAIL_SEGMENTS).map(lambda tail: [tail])),
)
prefixes = st.lists(st.sampled_from(TEMPLATE_SEGMENTS), max_size=2).map(
    lambda segments: named("/" + "/".join(segments)).rstrip("/")
)


def answered(methods: set[str]) -> frozenset[str]:
    """Return the methods that a route takes: GET brings HEAD along."""
    return frozenset(methods) | ({"HEAD"} if "GET" in methods else set())


http_routes = st.builds(
    lambda path, methods: Declared("", "http", path, answered(methods)),
    templates,
    st.sets(st.sampled_from(METHODS), min_size=1, max_size=2),
)
websocket_routes = st.builds(lambda path: Declared("", "websocket", path), templates)
# Mounts that take all that begins so, or some methods of it.
apps = st.builds(
    lambda path, methods: Declared("", "app", path, methods),
    prefixes,
    st.sampled_from([frozenset[str](), frozenset[str](), answered({"GET"})]),
)
leaves = st.one_of(http_routes, http_routes, http_routes, websocket_routes, apps)


def containers(inside: st.SearchStrategy[Declared]) -> st.SearchStrategy[Declared]:
    children = st.lists(inside, max_size=4)
    return st.one_of(
        st.builds(lambda path, routes: Declared("", "mount", path, children=routes), prefixes, children),
        st.builds(
            lambda host, routes: Declared("", "host", named(host), children=routes),
            st.sampled_from(HOST_TEMPLATES),
            children,
        ),
    )


def filled(shape: list[bool], literals: list[str], parameters: list[str], methods: frozenset[str]) -> Declared:
    """Return a route whose segments are literals where `shape` says so, and otherwise parameters."""
    segments = [
        one if is_literal else other for is_literal, one, other in zip(shape, literals, parameters, strict=False)
    ]
    return Declared("", "http", named("/" + "/".join([*segments, "z"])), methods)


tables = st.one_of(
    st.lists(st.recursive(leaves, containers, max_leaves=6), min_size=1, max_size=8),
    # Many routes whose parameters are in the same places, with now and then something else between them.
    st.builds(
        lambda shape, fillings, others: [*others[:1], *(filled(shape, *filling) for filling in fillings), *others[1:]],
        st.lists(st.booleans(), min_size=1, max_size=3),
        st.lists(
            st.tuples(
                st.lists(st.sampled_from(["a", "b", "1"]), min_size=3, max_size=3),
                st.lists(st.sampled_from(["{%s}", "{%s}", "{%s:int}", "{%s:even}", "{%s}.j"]), min_size=3, max_size=3),
                st.sets(st.sampled_from(METHODS), min_size=1, max_size=2).map(answered),
            ),
            min_size=1,
            max_size=6,
        ),
        st.lists(st.recursive(leaves, containers, max_leaves=3), max_size=2),
    ),
)
paths = st.builds(
    lambda segments, last: "/" + "/".join([*segments, *last]),
    st.lists(st.sampled_from(SEGMENTS), max_size=4),
    st.one_of(st.just([]), st.sampled_from(SEGMENTS).map(lambda segment: [segment]), st.just(["z"])),
)
requests = st.tuples(
    st.sampled_from(["http", "http", "http", "websocket"]), st.sampled_from(METHODS), st.sampled_from(HOSTS), paths
)


async def websocket_endpoint(websocket: WebSocket) -> None:
    raise NotImplementedError


class OnlyGet(HTTPEndpoint):
    def get(self, request: SyncRequest) -> Response:
        return PlainTextResponse("got")


def build(declared: Declared, label: str, labels: dict[int, str], keep: list[Any]) -> Any:
    """Make the real thing, and remember which is which."""
    declared.label = label
    made: Any
    if declared.kind == "http":
        made = Route(declared.path, says(label), methods=sorted(declared.methods - {"HEAD"}))
    elif declared.kind == "websocket":
        made = WebSocketRoute(declared.path, websocket_endpoint)
    elif declared.kind == "app":
        made = Mount(declared.path, app=OnlyGet if declared.methods else says(label))
    else:
        inside = [build(child, f"{label}.{number}", labels, keep) for number, child in enumerate(declared.children)]
        made = Mount(declared.path, routes=inside) if declared.kind == "mount" else Host(declared.path, Router(inside))
    labels[id(made)] = label
    keep.append(made)
    return made


def depth_of(table: list[Declared], trail: list[str]) -> int:
    """Return how many segments the mounts on a trail take."""
    depth = 0
    for label in trail:
        step = next(declared for declared in table if declared.label == label)
        depth += step.path.rstrip("/").count("/") if step.kind in ("mount", "app") else 0
        table = step.children
    return depth


def check(table: Table, labels: dict[int, str], declared: list[Declared], request: tuple[str, str, str, str]) -> None:
    kind, method, host, path = request
    scan = Scan(kind, method, host)
    expected = scan.find(declared, path)
    number = HTTP if kind == "http" else WEBSOCKET
    # By a walk, and by what may find it without one.
    walked, looked = Miss(), Miss()
    for miss, found in (
        (walked, table.match(number, method, host, path.split("/")[1:], 0, walked)),
        (looked, table.find(number, method, host, path, looked)),
    ):
        if expected is None:
            assert found is None
            assert miss.allowed == scan.allowed
            assert miss.partial == bool(scan.allowed)
        else:
            assert found is not None
            assert ([labels[id(step)] for step in found[0]], found[1]) == expected
            assert found[2] == depth_of(declared, expected[0])


@settings(max_examples=600, deadline=None)
@given(tables, st.lists(requests, min_size=1, max_size=12), st.data())
def test_the_index_answers_as_a_scan_in_declared_order_does(
    declared: list[Declared], asked: list[tuple[str, str, str, str]], data: st.DataObject
) -> None:
    labels: dict[int, str] = {}
    keep: list[Any] = []
    made = [build(item, str(number), labels, keep) for number, item in enumerate(declared)]
    # Some of the routes come when the index is already in use.
    begin = data.draw(st.integers(0, len(made)))
    router = Router(made[:begin])
    for request in asked[:2]:
        check(router.table, labels, declared[:begin], request)
    router.routes.extend(made[begin:])
    for request in asked:
        check(router.table, labels, declared, request)
    # And the order may change under it.
    order = data.draw(st.permutations(range(len(made))))
    router.routes[:] = [made[number] for number in order]
    for request in asked:
        check(router.table, labels, [declared[number] for number in order], request)


# The cost


class CountingDict(dict[str, Any]):
    """The literals below a node, counting how often they are looked into: once each time the node is walked."""

    looks = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.looks += 1
        return super().get(key, default)


def count_walks(router: Router) -> list[CountingDict]:
    """Have each node of the tree count how often it is walked."""
    router.table.match(HTTP, "GET", "h", [""], 0, Miss())  # builds the tree
    counters = []
    pending = [router.table._trees[HTTP].root]
    while pending:
        node = pending.pop()
        pending += [*node.literals.values(), *(after for _, after in node.patterns)]
        pending += [after for after in (node.whole, node.digits) if after is not None]
        counter = CountingDict(node.literals)
        node.literals = counter
        counters.append(counter)
    return counters


@pytest.mark.parametrize("parameter", ["{%s}", "{%s}a", "{%s:int}"])
def test_a_walk_visits_each_node_of_an_adversarys_table_at_most_once(parameter: str) -> None:
    # Every literal stands beside a parameter at every level, and all that leads to the last one fits.
    depth = 9
    table: list[Any] = []
    for number in range(2**depth):
        choices = [number >> level & 1 for level in range(depth)]
        segments = [parameter % f"x{level}" if choice else "1a" for level, choice in enumerate(choices)]
        table.append(Route("/" + "/".join(segments) + "/end", says("end")))
    router = Router(table)
    counters = count_walks(router)
    path = ["1a"] * depth
    assert router.table.match(HTTP, "GET", "h", [*path, "end"], 0, Miss()) is not None
    assert router.table.match(HTTP, "GET", "h", [*path, "nothing"], 0, Miss()) is None
    assert max(counter.looks for counter in counters) <= 2  # two walks
    assert sum(counter.looks for counter in counters) <= 2 * len(counters)


def test_the_steps_do_not_grow_with_the_number_of_routes() -> None:
    def walked(count: int) -> int:
        router = Router([Route(f"/r{number}/{{x}}/end", says("end")) for number in range(count)])
        counters = count_walks(router)
        assert router.table.match(HTTP, "GET", "h", ["r7", "v", "end"], 0, Miss()) is not None
        return sum(counter.looks for counter in counters)

    assert walked(10) == walked(1000)
