"""Rule routers: order, declining, what targets are given, and how they stand beside routes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from dualroute import (
    DualRoute,
    Host,
    HTTPEndpoint,
    Limits,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    SyncRequest,
    WebSocket,
    WebSocketEndpoint,
    rules,
)
from dualroute.delegates import HTTPMessageDelegate, HTTPServerConnectionDelegate, HTTPServerRequest
from dualroute.matchers import AnyMatches, HostMatches, Matcher, MethodMatches, PathMatches
from dualroute.matching import WEBSOCKET
from dualroute.rules import ReversibleRuleRouter, Rule, RuleRouter, URLSpec
from dualroute.steps import Search
from tests.conftest import Serve
from tests.websocket_helper import converse, text


def says(text: str) -> Callable[..., Response]:
    """Return an endpoint that answers with `text` and what it was given."""

    def endpoint(request: SyncRequest, *args: Any, **kwargs: Any) -> Response:
        given = [repr(arg) for arg in args] + [f"{name}={value!r}" for name, value in kwargs.items()]
        return PlainTextResponse(" ".join([text, *given]))

    return endpoint


class Item(HTTPEndpoint):
    def get(self, request: SyncRequest, *args: Any, **kwargs: Any) -> Response:
        return PlainTextResponse(f"get {args} {kwargs}")

    async def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return PlainTextResponse(f"post {args} {kwargs}")


class Echo(WebSocketEndpoint):
    encoding = "text"

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_text(f"{data} {websocket.path_args} {websocket.path_params}")


class Declining(rules.Router):
    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        return None


# Order, and declining


def test_the_first_rule_that_matches_wins_however_its_pattern_looks(serve: Serve) -> None:
    router = RuleRouter(
        [
            ("/a/b", says("literal")),
            ("/a/.*", says("rest")),
            (r"/(?:a|b)/\w+", says("pattern")),
            (re.compile("/").pattern + ".*", says("all")),
            ("/b/late", says("too late")),
        ]
    )
    client = serve(router)
    assert [client.get(path).text for path in ("/a/b", "/a/c", "/b/late", "/c")] == [
        "literal",
        "rest",
        "pattern",
        "all",
    ]


DECLINING: dict[str, Any] = {
    "a router of rules": lambda: RuleRouter([("/other", says("inner"))]),
    "rules in a list": lambda: [("/other", says("inner"))],
    "a router of one's own": Declining,
    "a DualRoute": lambda: DualRoute([Route("/other", says("inner"))]),
    "a DualRoute with other methods": lambda: DualRoute([Route("/x", says("inner"), methods=["PUT"])]),
    "a Router": lambda: Router([Route("/other", says("inner"))]),
    "a Mount": lambda: Mount("/m", routes=[Route("/x", says("inner"))]),
    "a Route": lambda: Route("/other", says("inner")),
    "a websocket endpoint": lambda: Echo,
}


@pytest.mark.parametrize("make", DECLINING.values(), ids=DECLINING)
def test_a_target_that_declines_lets_the_next_rule_try(make: Any, serve: Serve) -> None:
    router = RuleRouter([("/x", make()), ("/x", says("next"))])
    assert serve(router).get("/x").text == "next"


def test_an_endpoint_without_the_method_does_not_decline(serve: Serve) -> None:
    router = RuleRouter([("/x", Item), ("/x", says("next")), ("/.*", says("last"))])
    answer = serve(router).put("/x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    options = serve(router).options("/x")
    assert (options.status_code, options.headers["allow"]) == (200, "GET, HEAD, OPTIONS, POST")
    assert serve(router).head("/x").status_code == 200


def test_outside_the_router_things_go_on_as_after_any_partial_match(serve: Serve) -> None:
    inner = RuleRouter([("/x", Item)])
    app = DualRoute([Mount("/m", app=inner), Route("/m/x", says("route"), methods=["PUT"])])
    assert serve(app).put("/m/x").text == "route"
    assert serve(app).delete("/m/x").headers["allow"] == "GET, HEAD, OPTIONS, POST, PUT"


def test_a_missing_method_inside_an_app_is_a_405_where_no_later_rule_answers(serve: Serve) -> None:
    router = RuleRouter([("/.*", DualRoute([Route("/x", says("inner"))])), ("/y", says("y"))])
    answer = serve(router).put("/x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_405_comes_from_the_app_in_which_the_path_was_found(serve: Serve) -> None:
    app = DualRoute(
        [Route("/x", says("inner"))],
        exception_handlers={405: lambda request, error: PlainTextResponse("its own", status_code=405)},
    )
    assert serve(RuleRouter([("/.*", app)])).put("/x").text == "its own"


# Methods


def test_a_rule_for_other_methods_makes_405_out_of_404(serve: Serve) -> None:
    path = PathMatches("/x")
    router = RuleRouter(
        [
            Rule(path & MethodMatches("POST"), says("post")),
            Rule(MethodMatches("PUT", "PATCH") & path, says("put")),
            Rule(PathMatches("/y") & (MethodMatches("DELETE") | HostMatches("elsewhere")), says("y")),
            Rule(PathMatches("/z") & ~MethodMatches("GET"), says("z")),
        ]
    )
    client = serve(router)
    assert client.post("/x").text == "post"
    assert client.put("/x").text == "put"
    answer = client.get("/x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, PATCH, POST, PUT")
    assert client.options("/x").headers["allow"] == "OPTIONS, PATCH, POST, PUT"
    assert client.get("/y").headers["allow"] == "DELETE, OPTIONS"
    assert client.get("/z").status_code == 404
    assert client.get("/nowhere").status_code == 404


def test_get_brings_head_along(serve: Serve) -> None:
    router = RuleRouter([Rule(MethodMatches("GET"), says("read")), Rule(MethodMatches(["POST", "put"]), says("write"))])
    client = serve(router)
    assert client.head("/x").status_code == 200
    assert client.put("/x").text == "write"
    assert client.delete("/x").headers["allow"] == "GET, HEAD, OPTIONS, POST, PUT"


def test_a_method_counts_only_where_the_target_would_have_answered(serve: Serve) -> None:
    writing = DualRoute([Route("/x", says("x"), methods=["POST"])])
    router = RuleRouter(
        [
            Rule(MethodMatches("GET"), DualRoute([Route("/y", says("y"))])),
            Rule(MethodMatches("POST", "PUT"), writing),
            Rule(MethodMatches("DELETE"), RuleRouter([("/z", says("z"))])),
            Rule(MethodMatches("PATCH") & PathMatches("/i"), Item),
        ]
    )
    client = serve(router)
    assert client.get("/nowhere").status_code == 404
    assert client.get("/x").headers["allow"] == "OPTIONS, POST"
    assert client.get("/z").headers["allow"] == "DELETE, OPTIONS"
    assert client.get("/i").status_code == 404  # it would not have taken PATCH either


# What a target is given


@pytest.mark.parametrize(
    ("pattern", "path", "given"),
    [
        ("/x", "/x", ""),
        (r"/(\d+)/([a-z]*)", "/12/", " '12' ''"),
        ("/(.*)", "/caf%C3%A9%20%25/b", " 'café %/b'"),
        (r"/page(?:/(\d+))?", "/page", " None"),
        (r"/(?P<year>\d+)/(?P<slug>[^/]+)", "/2024/a%20b", " year='2024' slug='a b'"),
        (r"/(?P<a>a)?b", "/b", " a=None"),
    ],
)
def test_a_function_is_given_what_the_groups_matched(pattern: str, path: str, given: str, serve: Serve) -> None:
    assert serve(RuleRouter([(pattern, says("f"))])).get(path).text == f"f{given}"


def test_both_colours_and_classes_are_given_it(serve: Serve) -> None:
    async def coroutine(request: Request, number: str) -> Response:
        return PlainTextResponse(f"async {number}")

    def plain(request: SyncRequest, number: str, more: str = "default") -> Response:
        return PlainTextResponse(f"def {number} {more}")

    router = RuleRouter([(r"/a/(\d+)", coroutine), (r"/d/(\d+)", plain), (r"/c/(\d+)", Item), (r"/n/(?P<n>\d+)", Item)])
    client = serve(router)
    assert [client.get(path).text for path in ("/a/1", "/d/1", "/c/1", "/n/1")] == [
        "async 1",
        "def 1 default",
        "get ('1',) {}",
        "get () {'n': '1'}",
    ]
    assert client.post("/c/2").text == "post ('2',) {}"


def test_a_group_that_cuts_a_character_in_two_is_a_400(serve: Serve) -> None:
    router = RuleRouter([("/(caf%C3)%A9", says("f"))])
    assert serve(router).get("/caf%C3%A9").status_code == 400


def test_the_request_knows_the_rule_and_what_it_gave(serve: Serve) -> None:
    seen: list[Any] = []

    def endpoint(request: SyncRequest, *args: Any, **kwargs: Any) -> Response:
        seen.append(
            (request.route, request.path_args, request.path_params, request.app, request.root_path, request.path)
        )
        assert request.scope["endpoint"] is endpoint
        return PlainTextResponse(f"{args} {kwargs}")

    by_place, by_name = Rule(PathMatches("/p/(.)"), endpoint), URLSpec("/n/(?P<n>.)", endpoint)
    app = DualRoute([Mount("/m/{mount:int}", app=RuleRouter([by_place, by_name]))])
    client = serve(app, root_path="/base")
    assert client.get("/m/1/p/x").text == "('x',) {}"
    assert client.get("/m/1/n/x").text == "() {'n': 'x'}"
    assert seen == [
        (by_place, ("x",), {"mount": 1}, app, "/base/m/1", "/base/m/1/p/x"),
        (by_name, (), {"mount": 1, "n": "x"}, app, "/base/m/1", "/base/m/1/n/x"),
    ]


def test_routes_have_no_parameters_without_names(serve: Serve) -> None:
    def endpoint(request: SyncRequest) -> Response:
        return PlainTextResponse(repr(request.path_args))

    assert serve(DualRoute([Route("/{x}", endpoint)])).get("/x").text == "()"


def test_what_is_inside_sees_the_same_path_again(serve: Serve) -> None:
    def endpoint(request: SyncRequest) -> Response:
        return PlainTextResponse(f"{request.root_path} {request.path}")

    app = DualRoute([Mount("/app", routes=[Route("/x", endpoint)])])
    router = RuleRouter([("/app/.*", RuleRouter([("/app/.*", app)]))])
    assert serve(router, root_path="/base").get("/app/x").text == "/base/app /base/app/x"


def test_combined_matchers_give_what_both_give(serve: Serve) -> None:
    class Gives(Matcher):
        def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
            return {"path_args": ["more"], "path_kwargs": {"k": "v"}, "target_kwargs": {"made": "so"}}

    class Made(HTTPEndpoint):
        def initialize(self, made: str) -> None:
            self.made = made

        def get(self, request: SyncRequest, *args: Any, **kwargs: Any) -> Response:
            return PlainTextResponse(f"{args} {kwargs} {self.made}")

    router = RuleRouter(
        [Rule(PathMatches("/(a)") & Gives(), Made), Rule(PathMatches("/(b)") & Gives(), Made, {"made": "by the rule"})]
    )
    assert serve(router).get("/a").text == "('a', 'more') {'k': 'v'} so"
    assert serve(router).get("/b").text == "('b', 'more') {'k': 'v'} by the rule"


def test_arguments_that_do_not_fit_are_a_500_where_they_are_known_too_late_to_refuse(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def endpoint(request: SyncRequest) -> Response:
        raise AssertionError

    router = RuleRouter([Rule(PathMatches("/(a)") & AnyMatches(), endpoint)])
    assert serve(router).get("/a").status_code == 500
    assert "takes 1 positional argument but 2 were given" in caplog.text


def test_what_a_matcher_gives_beyond_that_is_an_error_for_an_endpoint(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(Matcher):
        def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
            return {"odd": 1}

    assert serve(RuleRouter([Rule(Odd(), says("f"))])).get("/").status_code == 500
    assert "an endpoint takes path_args, path_kwargs and target_kwargs, not odd" in caplog.text
    assert serve(RuleRouter([Rule(Odd(), DualRoute([Route("/", says("in"))]))])).get("/").text == "in"


def test_a_router_of_ones_own_is_given_what_the_matcher_gave(serve: Serve) -> None:
    class Telling(rules.Router):
        def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
            return lambda request: PlainTextResponse(str(sorted(kwargs.items())))

    router = RuleRouter([("/(.*)", Telling(), {"a": 1})])
    assert serve(router).get("/x").text == "[('path_args', [b'x']), ('path_kwargs', {}), ('target_kwargs', {'a': 1})]"


# target_kwargs


class Kept(HTTPEndpoint):
    def initialize(self, database: str, *, mode: str = "r") -> None:
        self.database, self.mode = database, mode

    def get(self, request: SyncRequest) -> Response:
        return PlainTextResponse(f"{self.database} {self.mode}")


def test_target_kwargs_reach_initialize(serve: Serve) -> None:
    router = RuleRouter([("/a", Kept, {"database": "A"}), URLSpec("/b", Kept, {"database": "B", "mode": "w"})])
    assert serve(router).get("/a").text == "A r"
    assert serve(router).get("/b").text == "B w"


def test_a_constructor_of_ones_own_is_given_them_as_well(serve: Serve) -> None:
    class Constructed(HTTPEndpoint):
        def __init__(self, database: str) -> None:
            super().__init__()
            self.database = database

        def get(self, request: SyncRequest) -> Response:
            return PlainTextResponse(self.database)

    assert serve(RuleRouter([("/a", Constructed, {"database": "A"})])).get("/a").text == "A"


def test_a_route_can_lead_to_a_class_whose_initialize_needs_nothing(serve: Serve) -> None:
    class Ready(HTTPEndpoint):
        def initialize(self, text: str = "ready") -> None:
            self.text = text

        def get(self, request: SyncRequest) -> Response:
            return PlainTextResponse(self.text)

    assert serve(DualRoute([Route("/", Ready)])).get("/").text == "ready"
    with pytest.raises(
        TypeError, match=r"Kept.initialize.* can't be called with the target_kwargs that there are \(none\)"
    ):
        Route("/", Kept)


@pytest.mark.parametrize("kwargs", [{}, {"databse": "A"}, {"database": "A", "more": 1}])
def test_target_kwargs_that_do_not_fit_are_refused_when_the_rule_is_added(kwargs: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"Rule\(PathMatches\('/a\$'\).*Kept.initialize\(.*can't be called with"):
        RuleRouter([("/a", Kept, kwargs)])
    if kwargs:
        with pytest.raises(TypeError, match="Item"):
            RuleRouter([("/a", Item, kwargs)])


def test_a_function_has_no_constructor_for_them() -> None:
    with pytest.raises(TypeError, match="target_kwargs are for the constructor of an endpoint class"):
        RuleRouter([("/a", says("f"), {"a": 1})])


# Rule routers as apps


APPS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda router: router,
    "Mount": lambda router: Mount("", app=router),
    "Host": lambda router: Host("testserver", app=router),
    "a Router's default": lambda router: Router(default=router),
    "a DualRoute's fallback": lambda router: DualRoute(fallback=router),
    "in a rule": lambda router: RuleRouter([Rule(AnyMatches(), router)]),
    "behind routes": lambda router: DualRoute([Route("/other", says("other"))], fallback=router),
}


@pytest.mark.parametrize("place", APPS.values(), ids=APPS)
def test_a_rule_router_is_an_app_wherever_apps_go(place: Any, serve: Serve) -> None:
    class Custom(rules.Router):
        def __init__(self) -> None:
            """Tornado's need not call the base's."""

        def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
            return says(f"custom {request.path}") if request.path.startswith("/x") else None

    for router, said in ((RuleRouter([("/x", says("rule"))]), "rule"), (Custom(), "custom /x")):
        client = serve(place(router))
        assert client.get("/x").text == said
        assert client.post("/x").text == said
        assert client.get("/y").status_code == 404
        assert client.get("/other/").status_code in (307, 404)


def test_a_mounted_one_matches_the_path_below_and_redirects_nothing(serve: Serve) -> None:
    app = DualRoute([Mount("/r", app=RuleRouter([("/", says("root")), ("/x", says("x")), ("/y/", says("y"))]))])
    client = serve(app)
    assert client.get("/r/").text == "root"
    assert client.get("/r/x").text == "x"
    assert [client.get(path).status_code for path in ("/r", "/r/x/", "/r/y", "/x")] == [404, 404, 404, 404]


def test_the_path_may_be_empty_below_a_root_path(serve: Serve, protocol: str) -> None:
    router = RuleRouter([("", says("empty")), ("/", says("slash"))])
    assert serve(router, root_path="/base").get("/").text == "slash"
    extra = {"path": "/base"} if protocol == "asgi" else {"PATH_INFO": ""}
    assert serve(router, root_path="/base", extra=extra).get("/").text == "empty"


def test_query_and_host_and_protocol_are_there_for_find_handler(serve: Serve) -> None:
    class Telling(rules.Router):
        def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
            told = f"{request.method} {request.uri} {request.host} {request.host_name} {request.query_arguments}"
            return lambda request: PlainTextResponse(told)

    answer = serve(Telling(), base_url="http://Example.com:8000").get("/a%20b?q=1&q=%C3%A9")
    assert answer.text == "GET /a%20b?q=1&q=%C3%A9 example.com:8000 example.com {'q': [b'1', b'\\xc3\\xa9']}"


# Foreign apps, and further kinds of targets


def wsgi_app(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("content-type", "text/plain")])
    return [f"wsgi {environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()]


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    body = f"asgi {scope['root_path']} {scope['path']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("app", [wsgi_app, asgi_app])
def test_a_foreign_app_sees_the_path_as_it_is(app: Any, serve: Serve) -> None:
    router = RuleRouter([("/legacy(/.*)?", app)])
    assert serve(router, root_path="/base").get("/legacy/x").text.split(" ")[-1].endswith("/legacy/x")
    assert serve(DualRoute([Mount("/m", app=router)])).get("/m/legacy/x").status_code == 200
    assert serve(router).get("/else").status_code == 404


def test_a_function_is_told_from_an_app_by_its_parameters(serve: Serve) -> None:
    def two(first: Any, second: str) -> Response:
        return PlainTextResponse(f"endpoint {second}")

    def environ_first(environ: Any, respond: Any) -> Any:
        return wsgi_app(environ, respond)

    client = serve(RuleRouter([("/e/(.*)", two), ("/w/(.*)", environ_first)]))
    assert client.get("/e/x").text == "endpoint x"
    assert client.get("/w/x").text.startswith("wsgi")


def test_a_target_may_be_named(serve: Serve) -> None:
    router = RuleRouter([("/x", f"{__name__}.Item")])
    assert router.rules[0].target is Item
    assert serve(router).get("/x").status_code == 200


def test_a_list_of_rules_is_a_router(serve: Serve) -> None:
    router = RuleRouter([(HostMatches("testserver"), [("/x", says("x"), None, "name")])])
    assert serve(router).get("/x").text == "x"
    assert isinstance(router.rules[0].target, ReversibleRuleRouter)


# What find_handler returns


class Finds(rules.Router):
    """Returns the same again and again."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        return self.result

    def method(self, request: SyncRequest) -> Response:
        return PlainTextResponse("method")


class AnyItem(HTTPEndpoint):
    def get(self, request: SyncRequest) -> Response:
        return PlainTextResponse("class")


FINDS: dict[str, tuple[Any, str]] = {
    "a class": (AnyItem, "class"),
    "a function": (says("function"), "function"),
    "a DualRoute": (DualRoute([Route("/x", says("app"))]), "app"),
    "a Router": (Router([Route("/x", says("router"))]), "router"),
    "a route": (Route("/x", says("route")), "route"),
    "a rule router": (RuleRouter([("/x", says("rule"))]), "rule"),
    "a WSGI app": (wsgi_app, "wsgi  /x"),
    "a response": (PlainTextResponse("response"), "response"),
}


@pytest.mark.parametrize(("result", "text"), FINDS.values(), ids=FINDS)
def test_find_handler_may_return(result: Any, text: str, serve: Serve) -> None:
    client = serve(Finds(result))
    assert [client.get("/x").text for _ in range(3)] == [text] * 3
    nested = serve(RuleRouter([("/x", Finds(result)), ("/.*", says("next"))]))
    assert [nested.get("/x").text for _ in range(3)] == [text] * 3


def test_find_handler_may_return_a_bound_method(serve: Serve) -> None:
    router = Finds(None)
    router.result = router.method
    client = serve(router)
    assert [client.get("/x").text for _ in range(3)] == ["method"] * 3
    (step,) = router.dispatcher.router.memory._kept.values()  # type: ignore[attr-defined]  # it is a Face
    assert not step.passing


def test_what_it_returns_may_lack_the_method(serve: Serve) -> None:
    answer = serve(Finds(AnyItem)).put("/x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("result", [42, "text", object(), [AnyItem], dict, int])
def test_anything_else_is_an_error_that_names_the_router(
    result: Any, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    assert serve(Finds(result)).get("/x").status_code == 500
    assert "Finds.find_handler" in caplog.text


def test_what_is_made_for_one_request_is_not_kept(serve: Serve) -> None:
    class PerRequest(rules.Router):
        def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
            def endpoint(found: SyncRequest) -> Response:
                return PlainTextResponse(request.path)

            return endpoint

    router = PerRequest()
    client = serve(router)
    assert [client.get(f"/{number}").text for number in range(20)] == [f"/{number}" for number in range(20)]
    assert len(router.dispatcher.router.memory._kept) <= 2  # type: ignore[attr-defined]  # it is a Face
    assert sum(map(len, router.dispatcher._plans)) <= 2


def test_what_is_named_again_is_kept(serve: Serve) -> None:
    router = Finds(AnyItem)
    client = serve(router)
    for _ in range(5):
        client.get("/x")
    assert sum(map(len, router.dispatcher._plans)) == 1


def test_an_exception_in_it_is_answered_like_one_in_a_handler(serve: Serve) -> None:
    class Failing(rules.Router):
        def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
            raise KeyError(request.path)

    app = DualRoute(
        fallback=Failing(), exception_handlers={KeyError: lambda request, error: PlainTextResponse(f"no {error}")}
    )
    assert serve(app).get("/x").text == "no '/x'"


def test_it_must_not_be_a_coroutine_function() -> None:
    with pytest.raises(TypeError, match=r"Late.find_handler must be a plain def"):

        class Late(rules.Router):
            async def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
                return None


def test_a_router_without_it_says_so(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    assert serve(rules.Router()).get("/").status_code == 500
    assert "Router has no find_handler" in caplog.text


def test_a_router_can_be_started_by_a_connection_delegate(serve: Serve) -> None:
    class Wrapping(HTTPServerConnectionDelegate):
        def __init__(self, router: rules.Router) -> None:
            self.router = router

        def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
            return self.router.start_request(server_conn, request_conn)

    inner = RuleRouter([("/m/x", AnyItem), ("/m/app/.*", DualRoute([Route("/m/app/y", says("y"))]))])
    app = DualRoute([Mount("/m", app=RuleRouter([("/.*", Wrapping(RuleRouter([("/x", AnyItem)])))]))])
    assert serve(app).get("/m/x").text == "class"
    missing = serve(app).get("/m/y")
    assert (missing.status_code, missing.text) == (404, "Not Found")
    router = RuleRouter([("/.*", Wrapping(inner))])
    assert serve(router).get("/m/x").text == "class"
    assert serve(router).get("/m/app/y").text == "y"


# get_handler_delegate


class ByApp(rules.Router):
    def __init__(self, app: DualRoute, handler: Any, **given: Any) -> None:
        self.app, self.handler, self.given = app, handler, given

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        return self.app.get_handler_delegate(request, self.handler, **self.given)


def marking(name: str) -> Any:
    def middleware(connection: Any) -> Any:
        response = yield connection
        response.headers["x-through"] = " ".join(filter(None, [response.headers.get("x-through"), name]))
        return response

    return middleware


def test_a_handler_delegate_stands_in_its_apps_surroundings(serve: Serve) -> None:
    def failing(request: SyncRequest) -> Response:
        raise KeyError("x")

    app = DualRoute(
        middleware=[marking("app")],
        exception_handlers={KeyError: lambda request, error: PlainTextResponse("handled")},
        limits=Limits(max_body_size=3),
    )
    for _ in range(3):
        answer = serve(ByApp(app, failing)).get("/")
        assert (answer.text, answer.headers["x-through"]) == ("handled", "app")

    def reading(request: SyncRequest) -> Response:
        return PlainTextResponse(f"{len(request.body())} {request.app is app}")

    assert serve(ByApp(app, reading)).post("/", content=b"123").text == "3 True"
    assert serve(ByApp(app, reading)).post("/", content=b"1234").status_code == 413
    refused = serve(ByApp(app, AnyItem)).put("/")
    assert (refused.status_code, refused.headers["x-through"]) == (405, "app")


def test_around_itself_the_app_is_there_once(serve: Serve) -> None:
    app = DualRoute([Route("/route", says("route"))], middleware=[marking("app")])
    app.router.default = ByApp(app, AnyItem)
    assert serve(app).get("/x").headers["x-through"] == "app"
    outer = DualRoute([Mount("/in", app=app)], middleware=[marking("outer")])
    assert serve(outer).get("/in/x").headers["x-through"] == "app outer"


def test_it_is_given_arguments_as_text_or_bytes(serve: Serve) -> None:
    given = {"path_args": ["a%20b", b"caf\xc3\xa9", None], "path_kwargs": {"k": b"v"}}
    assert serve(ByApp(DualRoute(), Item, **given)).get("/").text == "get ('a%20b', 'café', None) {'k': 'v'}"
    assert serve(ByApp(DualRoute(), Kept, target_kwargs={"database": "A"})).get("/").text == "A r"


def test_it_takes_endpoints_and_nothing_else(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    assert serve(ByApp(DualRoute(), Router())).get("/").status_code == 500
    assert "DualRoute.get_handler_delegate takes an endpoint, a class or a function" in caplog.text
    assert serve(ByApp(DualRoute(), says("f"), target_kwargs={"a": 1})).get("/").status_code == 500
    assert "target_kwargs are for an endpoint class" in caplog.text


def test_it_is_answered_by_routers_and_not_by_hand() -> None:
    delegate = rules.HandlerDelegate(None)
    with pytest.raises(RuntimeError, match="answered by the router that returns it"):
        delegate.headers_received(None, None)


# Websockets


class Greeting(WebSocketEndpoint):
    encoding = "text"

    def initialize(self, greeting: str) -> None:
        self.greeting = greeting

    async def on_connect(self, websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        await websocket.send_text(f"{self.greeting} {room}")


def test_a_websocket_endpoint_is_a_target() -> None:
    router = RuleRouter(
        [
            ("/echo/(.*)", Item),
            (r"/echo/(\w+)", Echo),
            (r"/named/(?P<room>\w+)", Greeting, {"greeting": "hello"}),
            (r"/placed/(\w+)", Greeting, {"greeting": "hi"}),
            ("/app/.*", DualRoute([Mount("/app/{n:int}", app=RuleRouter([("/echo", Echo)]))])),
        ]
    )

    def texts(path: str) -> list[str]:
        return [event["text"] for event in converse(router, path, text("x")) if event["type"] == "websocket.send"]

    assert texts("/echo/a") == ["x ('a',) {}"]
    assert texts("/named/r") == ["hello r"]
    assert texts("/placed/r") == ["hi r"]
    assert texts("/app/1/echo") == ["x () {'n': 1}"]
    assert [event["type"] for event in converse(router, "/nowhere")] == ["websocket.close"]


def test_a_websocket_endpoint_that_can_not_take_the_groups_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Greeting.*wants 'room'"):
        RuleRouter([("/x", Greeting, {"greeting": "hi"})])
    with pytest.raises(TypeError, match="target_kwargs"):
        RuleRouter([("/(x)", Greeting)])

    class Named(WebSocketEndpoint):
        async def on_connect(self, websocket: WebSocket, **path_params: Any) -> None:
            raise AssertionError

    with pytest.raises(TypeError, match=r"Named.on_connect.*can't be called with .*1 by position"):
        RuleRouter([("/(x)", Named)])


def test_a_message_delegate_serves_no_websockets() -> None:
    router = RuleRouter([("/x", HTTPServerConnectionDelegate()), ("/x", Echo)])
    assert next(event["type"] for event in converse(router, "/x")) == "websocket.accept"
    app = DualRoute([Mount("", app=Finds(HTTPMessageDelegate())), Mount("", app=Echo)])
    assert next(event["type"] for event in converse(app, "/x")) == "websocket.accept"


def test_a_handshake_over_plain_http_is_a_501(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    headers = {"connection": "upgrade", "upgrade": "websocket"}
    assert serve(RuleRouter([("/echo", Echo)])).get("/echo", headers=headers).status_code == 501
    assert "websocket handshake" in caplog.text


def test_a_handler_delegate_may_decline(serve: Serve) -> None:
    app = DualRoute()
    seen: list[Any] = []

    class Mixed(RuleRouter):
        def get_target_delegate(self, target: Any, request: HTTPServerRequest, **target_params: Any) -> Any:
            if target == "by the app":
                return app.get_handler_delegate(request, Echo, **target_params)
            seen.append(super().get_target_delegate(target, request, **target_params))
            return seen[-1]

    router = Mixed([Rule(PathMatches("/x"), Echo), ("/x", says("next"))])
    router.rules[0].target = "by the app"
    assert serve(router).get("/x").text == "next"
    router.rules[0].target = Echo
    assert serve(router).get("/x").text == "next"
    assert None in seen


def test_a_rule_that_declined_is_not_the_route_of_what_is_found_after(serve: Serve) -> None:
    def fallback(request: SyncRequest) -> Response:
        return PlainTextResponse(repr(request.route))

    class WithFallback(RuleRouter):
        def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
            return super().find_handler(request, **kwargs) or fallback

    router = WithFallback([("/x", Declining())])
    assert serve(router).get("/x").text.endswith("WithFallback.find_handler")


def test_what_a_matcher_gave_is_left_as_it_was(serve: Serve) -> None:
    given: dict[str, Any] = {}

    class Sharing(Matcher):
        def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
            return given

    assert serve(RuleRouter([Rule(Sharing(), Kept, {"database": "A"})])).get("/").text == "A r"
    assert given == {}


# The list of rules


def test_the_rules_may_be_changed_at_any_time(serve: Serve) -> None:
    router = RuleRouter([("/x", says("first"))])
    client = serve(router)
    assert client.get("/x").text == "first"
    router.rules.append(Rule(PathMatches("/y"), says("appended")))
    assert client.get("/y").text == "appended"
    router.rules.insert(0, Rule(AnyMatches(), says("inserted")))
    assert client.get("/x").text == "inserted"
    del router.rules[0]
    assert client.get("/x").text == "first"
    router.rules = [Rule(PathMatches("/x"), says("replaced"))]
    assert client.get("/x").text == "replaced"
    assert client.get("/y").status_code == 404
    router.rules[0].target = says("changed")
    assert client.get("/x").text == "changed"


def test_a_matcher_of_ones_own_is_always_asked(serve: Serve) -> None:
    class Lower(PathMatches):
        def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
            return {} if self.regex.match(request.path.lower()) else None

    assert serve(RuleRouter([(Lower("/x"), says("x"))])).get("/X").text == "x"


# What is refused when made

MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (lambda: RuleRouter([("/x",)]), r"a rule is a Rule, or a tuple \(matcher, target.*not \('/x',\)"),
    (lambda: RuleRouter([("/x", Item, {}, "name", 1)]), "a rule is a Rule, or a tuple"),
    (lambda: RuleRouter(["/x"]), "a rule is a Rule, or a tuple.* not '/x'"),
    (lambda: RuleRouter([{"/x": Item}]), "a rule is a Rule"),  # type: ignore[list-item]  # the mistake
    (lambda: RuleRouter([(re.compile("/x"), Item)]), "the matcher of a rule is a Matcher, not re.compile.*PathMatches"),
    (lambda: Rule("/x", Item), r"the matcher of a rule is a Matcher, not '/x'; a pattern goes into PathMatches"),  # type: ignore[arg-type]  # the mistake
    (lambda: Rule(PathMatches, Item), "the matcher of a rule is a Matcher, not <class"),  # type: ignore[arg-type]  # the mistake
    (lambda: Rule(AnyMatches(), Item, "name"), "target_kwargs is a dict, not 'name'"),  # type: ignore[arg-type]  # the mistake
    (lambda: Rule(AnyMatches(), Item, {}, 3), "the name of a rule is a string, not 3"),  # type: ignore[arg-type]  # the mistake
    (lambda: RuleRouter([("/x", 42)]), "42"),
    (lambda: RuleRouter([("/x", None)]), "None"),
    (lambda: RuleRouter([("/x", Item())]), r"name the class .*Item itself"),
    (lambda: RuleRouter([("/x", dict)]), "dict"),
    (lambda: RuleRouter([("/(a)/(b)", AnyItem)]), r"AnyItem.get\(.*can't be called with.*2 by position"),
    (lambda: RuleRouter([("/(?P<a>a)", AnyItem)]), r"AnyItem.get\(.*can't be called with.*'a' by name"),
    (lambda: RuleRouter([("/x", lambda request, needed: None)]), "can't be called with.*missing a required argument"),
    (lambda: RuleRouter([("/x", generator)]), "is a generator function"),
    (
        lambda: RuleRouter().rules.append(("/x", Item)),
        r"rules are Rule objects, not tuple: .*add_rules\(\) takes tuples",
    ),
]


def generator(request: SyncRequest) -> Any:
    yield b""


@pytest.mark.parametrize(("make", "message"), MISTAKES)
def test_a_mistake_is_refused_when_it_is_made(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"(?s){message}"):
        make()


@pytest.mark.parametrize("name", ["Item", "tests.nowhere.Item", "tests.test_rules.Nothing"])
def test_a_target_that_can_not_be_imported_is_refused(name: str) -> None:
    with pytest.raises(ImportError):
        Rule(AnyMatches(), name)


def test_a_router_with_targets_of_its_own_takes_anything(serve: Serve) -> None:
    class Texts(RuleRouter):
        def get_target_delegate(self, target: Any, request: HTTPServerRequest, **target_params: Any) -> Any:
            if isinstance(target, int):
                return says(f"number {target}")
            return super().get_target_delegate(target, request, **target_params)

    client = serve(Texts([("/n", 42), ("/none", None), ("/x", says("x"))]))
    assert client.get("/n").text == "number 42"
    assert client.get("/none").status_code == 404
    assert client.get("/x").text == "x"


# Beside the index of routes


def test_a_search_without_a_request_has_one_made_up() -> None:
    router = RuleRouter([(HostMatches("h") & PathMatches("/x"), says("x"))])
    found = router.dispatcher.router.table.match(WEBSOCKET, "GET", "h", ["x"], 0, _miss())
    assert found is None
    found = router.dispatcher.router.table.match(0, "GET", "h", ["x"], 0, _miss())
    assert found is not None


def _miss() -> Any:
    from dualroute.matching import Miss

    return Miss()


def test_a_search_tells_its_request_from_another() -> None:
    search = Search(0, "GET", "h", ["a", "b"], 1, _miss(), None)
    assert search.request().path == "/b"
    assert search.with_method("PUT").request().method == "PUT"


# What the rest of the house sees of the rules


def test_the_route_table_shows_them() -> None:
    from dualroute.inspection import route_table, summary_rows

    router = RuleRouter(
        [
            ("/a", Item, {}, "a"),
            Rule(HostMatches("h") & PathMatches("/b"), says("b")),
            ("/app/.*", DualRoute([Route("/app/x", Item, name="x")])),
        ]
    )
    rows = [
        ("/a$", "rule", "a", "tests.test_rules.Item"),
        ("(HostMatches('h$') & PathMatches('/b$'))", "rule", "", "tests.test_rules.says.<locals>.endpoint"),
        ("/app/.*$", "rule", "", "dualroute.applications.DualRoute"),
        ("  /app/x", "GET, HEAD, POST", "x", "tests.test_rules.Item"),
    ]
    assert list(summary_rows(route_table(router))) == rows
    mounted = list(summary_rows(route_table(DualRoute([Mount("/m", app=router)]))))
    assert mounted[0] == ("/m/*", "mount", "", "dualroute.rules.RuleRouter")
    assert mounted[1:] == [("  " + row[0], *row[1:]) for row in rows]


def test_apps_in_rules_have_their_lifespan() -> None:
    from dualroute.lifespan import Lifespan

    assert Lifespan(DualRoute([Mount("/m", app=RuleRouter([("/.*", asgi_app)]))]).router).needed()
    assert Lifespan(RuleRouter([("/.*", RuleRouter([("/.*", asgi_app)]))]).dispatcher.router).needed()
    assert not Lifespan(RuleRouter([("/.*", wsgi_app)]).dispatcher.router).needed()


def test_websockets_in_rules_are_named_where_there_are_none() -> None:
    from dualroute.dispatch import websocket_paths

    router = RuleRouter([("/ws", Echo), ("/in/.*", RuleRouter([(r"/in/(\d+)", Echo)])), ("/http", Item)])
    app = DualRoute([Mount("/m", app=router)])
    assert websocket_paths(app.router) == ["/m/ws$", r"/m/in/(\d+)$"]


def test_a_mount_as_a_target_or_in_a_mount_keeps_its_prefix(serve: Serve) -> None:
    inner = Mount("/in", routes=[Route("/x", says("x"))])
    client = serve(DualRoute([Mount("/out", app=inner)]))
    assert client.get("/out/in/x").text == "x"
    assert client.get("/out/x").status_code == 404
    assert serve(RuleRouter([("/.*", inner)])).get("/in/x").text == "x"
