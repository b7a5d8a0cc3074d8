"""Tornado's page on routing: its routers and rules, ported by renaming the import, run as they are written.

Each test holds one code block.  What changes besides the import: a handler is given the request and returns a response
(``RequestHandler`` is HTTPEndpoint, ``HTTPError`` is HTTPException, ``self.finish(x)`` returns a PlainTextResponse),
``Application`` is DualRoute, and ``HTTPServer(router)`` is left out, since a router is served as it is.
"""

# The examples are not annotated, and neither is what surrounds them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"

from __future__ import annotations

from dualroute import DualRoute, HTTPEndpoint, HTTPException, PlainTextResponse, Route
from dualroute.delegates import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    ResponseStartLine,
)
from dualroute.rules import (
    AnyMatches,
    HostMatches,
    PathMatches,
    ReversibleRuleRouter,
    Router,
    Rule,
    RuleRouter,
    URLSpec,
)
from tests.conftest import Serve


class MessageDelegate(HTTPMessageDelegate):
    def __init__(self, connection):
        self.connection = connection

    def finish(self):
        self.connection.write_headers(
            ResponseStartLine("HTTP/1.1", 200, "OK"), HTTPHeaders({"Content-Length": "2"}), b"OK"
        )
        self.connection.finish()


class Handler(HTTPEndpoint):
    def get(self, request, *args, **kwargs):
        return PlainTextResponse(f"handler {args} {kwargs}")


class Handler1(HTTPEndpoint):
    def get(self, request):
        return PlainTextResponse("handler 1")


class Handler2(HTTPEndpoint):
    def get(self, request):
        return PlainTextResponse("handler 2")


def test_a_router_of_ones_own(serve: Serve) -> None:
    class CustomRouter(Router):
        def find_handler(self, request, **kwargs):
            # some routing logic providing a suitable HTTPMessageDelegate instance
            return MessageDelegate(request.connection)

    router = CustomRouter()
    assert serve(router).get("/any/where").content == b"OK"


def test_routing_by_method(serve: Serve) -> None:
    resources: dict = {}

    class GetResource(HTTPEndpoint):
        def get(self, request, path):
            if path not in resources:
                raise HTTPException(404)

            return PlainTextResponse(resources[path])

    class PostResource(HTTPEndpoint):
        def post(self, request, path):
            resources[path] = request.body()
            return PlainTextResponse("")

    class HTTPMethodRouter(Router):
        def __init__(self, app):
            self.app = app

        def find_handler(self, request, **kwargs):
            handler = GetResource if request.method == "GET" else PostResource
            return self.app.get_handler_delegate(request, handler, path_args=[request.path])

    router = HTTPMethodRouter(DualRoute())
    client = serve(router)
    assert client.get("/a").status_code == 404
    assert client.post("/a", content=b"one").status_code == 200
    assert client.post("/b%20c", content=b"two").status_code == 200
    assert client.get("/a").text == "one"
    assert client.get("/b%20c").text == "two"
    refused = client.put("/a")
    assert (refused.status_code, refused.headers["allow"]) == (405, "OPTIONS, POST")


def test_a_connection_delegate_as_a_target(serve: Serve) -> None:
    class ConnectionDelegate(HTTPServerConnectionDelegate):
        def start_request(self, server_conn, request_conn):
            return MessageDelegate(request_conn)

    router = RuleRouter(
        [
            Rule(PathMatches("/handler"), ConnectionDelegate()),
            # ... more rules
        ]
    )
    assert serve(router).get("/handler").content == b"OK"
    assert serve(router).get("/handlers").status_code == 404


def test_a_callable_as_a_target(serve: Serve) -> None:
    def request_callable(request):
        request.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        request.finish()

    router = RuleRouter([Rule(PathMatches("/callable"), request_callable)])
    answer = serve(router).get("/callable")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"OK", "2")


def test_another_router_as_a_target(serve: Serve) -> None:
    class CustomRouter(Router):
        def find_handler(self, request, **kwargs):
            return MessageDelegate(request.connection)

    router = RuleRouter([Rule(PathMatches("/router.*"), CustomRouter())])
    assert serve(router).get("/router/x").content == b"OK"
    assert serve(router).get("/x").status_code == 404


def test_nested_routers_and_an_application(serve: Serve) -> None:
    router = RuleRouter(
        [
            Rule(
                HostMatches("example.com"),
                RuleRouter([Rule(PathMatches("/app1/.*"), DualRoute([Route(r"/app1/handler", Handler)]))]),
            ),
        ]
    )
    assert serve(router, base_url="http://example.com").get("/app1/handler").text == "handler () {}"
    assert serve(router, base_url="http://example.com:8000").get("/app1/handler").text == "handler () {}"
    assert serve(router, base_url="http://example.com").get("/app1/other").status_code == 404
    assert serve(router, base_url="http://example.org").get("/app1/handler").status_code == 404


def test_routing_between_applications(serve: Serve) -> None:
    app1 = DualRoute(
        [
            Route(r"/app1/handler", Handler1),
            # other handlers ...
        ]
    )

    # An application whose routes are rules.
    app2 = DualRoute(
        fallback=RuleRouter(
            [
                (r"/app2/handler", Handler2),
                # other handlers ...
            ]
        )
    )

    router = RuleRouter([Rule(PathMatches("/app1.*"), app1), Rule(PathMatches("/app2.*"), app2)])
    client = serve(router)
    assert client.get("/app1/handler").text == "handler 1"
    assert client.get("/app2/handler").text == "handler 2"
    assert client.get("/app2/other").status_code == 404
    assert client.get("/app3/handler").status_code == 404


def test_the_three_ways_to_write_a_rule(serve: Serve) -> None:
    Target = Handler

    for router in (
        RuleRouter(
            [
                Rule(PathMatches("/handler"), Target),
                # ... more rules
            ]
        ),
        RuleRouter(
            [
                (PathMatches("/handler"), Target),
            ]
        ),
        RuleRouter(
            [
                ("/handler", Target),
            ]
        ),
    ):
        assert serve(router).get("/handler").text == "handler () {}"
        assert serve(router).get("/handler/").status_code == 404


# What the reference says below the examples


def test_named_rules_are_reversed() -> None:
    router = ReversibleRuleRouter(
        [
            URLSpec(r"/article/(\d+)/(.*)", Handler, name="article"),
            Rule(PathMatches("/app/.*"), ReversibleRuleRouter([("/app/(?P<page>.*)", Handler, {}, "page")])),
        ]
    )
    assert router.reverse_url("article", 12, "caf\xe9 & more") == "/article/12/caf%C3%A9%20%26%20more"
    assert router.reverse_url("page", "a/b") == "/app/a/b"
    assert router.reverse_url("none") is None


def test_target_kwargs_reach_the_handlers_constructor(serve: Serve) -> None:
    class ErrorHandler(HTTPEndpoint):
        def initialize(self, status_code):
            self.status_code = status_code

        def get(self, request):
            raise HTTPException(self.status_code)

    router = RuleRouter(
        [("/gone", ErrorHandler, {"status_code": 410}), Rule(AnyMatches(), ErrorHandler, {"status_code": 404})]
    )
    assert serve(router).get("/gone").status_code == 410
    assert serve(router).get("/else").status_code == 404


def test_process_rule_may_change_and_replace_rules(serve: Serve) -> None:
    class Prefixed(RuleRouter):
        def process_rule(self, rule):
            assert isinstance(rule.matcher, PathMatches)
            return Rule(PathMatches("/v1" + rule.matcher.regex.pattern), rule.target, rule.target_kwargs, rule.name)

    router = Prefixed([("/handler", Handler)])
    router.add_rules([(r"/x/(\d+)", Handler)])
    assert serve(router).get("/v1/handler").text == "handler () {}"
    assert serve(router).get("/v1/x/3").text == "handler ('3',) {}"
    assert serve(router).get("/handler").status_code == 404


def test_get_target_delegate_may_be_extended_to_further_kinds_of_targets(serve: Serve) -> None:
    class Handlers(RuleRouter):
        def __init__(self, app, rules=None):
            self.app = app
            super().__init__(rules)

        def get_target_delegate(self, target, request, **target_params):
            if isinstance(target, dict):
                return self.app.get_handler_delegate(request, target[request.method], **target_params)
            return super().get_target_delegate(target, request, **target_params)

    router = Handlers(DualRoute(), [(r"/by/(\w+)", {"GET": Handler}), ("/plain", Handler)])
    assert serve(router).get("/by/method").text == "handler ('method',) {}"
    assert serve(router).get("/plain").text == "handler () {}"
