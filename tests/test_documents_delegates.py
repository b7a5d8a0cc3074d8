"""The message delegates of Tornado's page on routing, ported by renaming the import, run as they are written.

Each test holds one code block.  ``HTTPServer(router)`` is left out: a router is served as it is.  All run on both
protocols.
"""

# The examples are not annotated, and neither is what surrounds them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"

from __future__ import annotations

from dualroute.applications import DualRoute
from dualroute.delegates import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    ResponseStartLine,
)
from dualroute.routing import Mount
from dualroute.rules import HostMatches, PathMatches, Router, Rule, RuleRouter
from tests.conftest import Serve


class MessageDelegate(HTTPMessageDelegate):
    def __init__(self, connection):
        self.connection = connection

    def finish(self):
        self.connection.write_headers(
            ResponseStartLine("HTTP/1.1", 200, "OK"),
            HTTPHeaders({"Content-Length": "2"}),
            b"OK",
        )
        self.connection.finish()


class CustomRouter(Router):
    def find_handler(self, request, **kwargs):
        # some routing logic providing a suitable HTTPMessageDelegate instance
        return MessageDelegate(request.connection)


class ConnectionDelegate(HTTPServerConnectionDelegate):
    def start_request(self, server_conn, request_conn):
        return MessageDelegate(request_conn)


def assert_ok(answer) -> None:
    assert (answer.status_code, answer.content) == (200, b"OK")
    assert answer.headers["content-length"] == "2"


def test_a_router_of_ones_own(serve: Serve) -> None:
    router = CustomRouter()
    client = serve(router)
    assert_ok(client.get("/"))
    assert_ok(client.post("/any/where?at=all", content=b"x" * 100_000))
    assert client.head("/").content == b""


def test_a_connection_delegate_is_a_rules_target(serve: Serve) -> None:
    router = RuleRouter(
        [
            Rule(PathMatches("/handler"), ConnectionDelegate()),
            # ... more rules
        ]
    )
    client = serve(router)
    assert_ok(client.get("/handler"))
    assert client.get("/other").status_code == 404


def test_another_router_is_a_rules_target(serve: Serve) -> None:
    router = RuleRouter(
        [
            Rule(PathMatches("/router.*"), CustomRouter()),
        ]
    )
    client = serve(router)
    assert_ok(client.put("/router/of/ours", content=b"x"))
    assert client.get("/other").status_code == 404


def test_routers_nest(serve: Serve) -> None:
    router = RuleRouter(
        [
            Rule(
                HostMatches("example.com"),
                RuleRouter(
                    [
                        Rule(PathMatches("/app1/.*"), ConnectionDelegate()),
                    ]
                ),
            ),
        ]
    )
    assert_ok(serve(router, base_url="http://example.com").get("/app1/handler"))
    assert serve(router, base_url="http://example.org").get("/app1/handler").status_code == 404


def test_they_work_below_a_mount_in_an_app(serve: Serve) -> None:
    app = DualRoute([Mount("/below", app=RuleRouter([("/handler", ConnectionDelegate())]))])
    client = serve(app)
    assert_ok(client.get("/below/handler"))
    assert client.get("/handler").status_code == 404
