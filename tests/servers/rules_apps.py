"""Tornado's page on routing, block by block, as one app; imported by the server processes, as `rules_apps`.

The blocks are ported by renaming: the import, ``Application`` to DualRoute, ``RequestHandler`` to HTTPEndpoint with the
request as an argument.  Each is mounted at a path of its own, so that one server serves them all.  The rest are
delegates that stream.
"""

# The examples are not annotated, and neither is what surrounds them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"

from __future__ import annotations

import asyncio

from apps import await_file, report  # type: ignore[import-not-found]  # it stands beside this file

from dualroute import DualRoute, HTTPEndpoint, HTTPException, Mount, PlainTextResponse, Route
from dualroute.delegates import HTTPHeaders, HTTPMessageDelegate, HTTPServerConnectionDelegate, ResponseStartLine
from dualroute.rules import HostMatches, PathMatches, ReversibleRuleRouter, Router, Rule, RuleRouter

OK = ResponseStartLine("HTTP/1.1", 200, "OK")


# The first block: routing without an application.


class CustomRouter(Router):
    def find_handler(self, request, **kwargs):
        # some routing logic providing a suitable HTTPMessageDelegate instance
        return MessageDelegate(request.connection)


class MessageDelegate(HTTPMessageDelegate):
    def __init__(self, connection):
        self.connection = connection

    def finish(self):
        self.connection.write_headers(
            ResponseStartLine("HTTP/1.1", 200, "OK"), HTTPHeaders({"Content-Length": "2"}), b"OK"
        )
        self.connection.finish()


# The second: routing by method.

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
        super().__init__()
        self.app = app

    def find_handler(self, request, **kwargs):
        handler = GetResource if request.method == "GET" else PostResource
        return self.app.get_handler_delegate(request, handler, path_args=[request.path])


# The third, fourth and fifth: the kinds of targets.


class ConnectionDelegate(HTTPServerConnectionDelegate):
    def start_request(self, server_conn, request_conn):
        return MessageDelegate(request_conn)


def request_callable(request):
    request.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
    request.finish()


targets = RuleRouter(
    [
        Rule(PathMatches("/handler"), ConnectionDelegate()),
        Rule(PathMatches("/callable"), request_callable),
        Rule(PathMatches("/router.*"), CustomRouter()),
    ]
)


# The sixth and seventh: applications as targets.


async def handler(request):
    return PlainTextResponse(f"handler {request.path}")


nested = RuleRouter(
    [
        Rule(
            HostMatches("example.com"),
            RuleRouter(
                [
                    Rule(PathMatches("/app1/.*"), DualRoute([Route("/app1/handler", handler)])),
                ]
            ),
        )
    ]
)

app1 = DualRoute([Route("/app1/handler", handler)])
app2 = DualRoute([Route("/app2/handler", handler)])

between = RuleRouter([Rule(PathMatches("/app1.*"), app1), Rule(PathMatches("/app2.*"), app2)])


async def named(request, name):
    return PlainTextResponse(reversible.reverse_url("named", name))


reversible = ReversibleRuleRouter([Rule(PathMatches("/named/(.*)"), named, name="named")])


# The last three: how rules may be written.


class Target(HTTPEndpoint):
    def get(self, request):
        return PlainTextResponse("target")


written = RuleRouter(
    [
        Rule(PathMatches("/rule"), Target),
        (PathMatches("/tuple"), Target),
        ("/simple", Target),
    ]
)


# Delegates that stream.


class Echo(HTTPMessageDelegate):
    """Answers with what comes, as it comes."""

    def __init__(self, connection):
        self.connection = connection

    def headers_received(self, start_line, headers):
        self.token = headers.get("X-Token", "")
        self.connection.write_headers(OK, {"Content-Type": "application/octet-stream"})

    def data_received(self, chunk):
        return self.connection.write(chunk)

    def finish(self):
        self.connection.finish()
        report("delegate", token=self.token, event="finish")

    def on_connection_close(self):
        report("delegate", token=self.token, event="close")


class Waiting(Echo):
    """Answers later, piece by piece, when the test has made a file."""

    def headers_received(self, start_line, headers):
        self.token = headers["X-Token"]

    def data_received(self, chunk):
        pass

    def finish(self):
        report("delegate", token=self.token, event="finish")
        self.task = asyncio.ensure_future(self.respond())

    async def respond(self):
        try:
            await await_file(f"{self.token}-start")
            await self.connection.write_headers(OK, {"Content-Type": "text/plain"}, b"first,")
            await await_file(f"{self.token}-end")
            self.connection.write(b"second")
            await self.connection.finish()
        except ConnectionResetError:
            report("delegate", token=self.token, event="reset")


class Endless(Waiting):
    """Answers without an end."""

    async def respond(self):
        self.connection.write_headers(OK, {"Content-Type": "application/octet-stream"})
        try:
            while True:
                await self.connection.write(bytes(65_536))
        except ConnectionResetError:
            report("delegate", token=self.token, event="reset")


class Early(Waiting):
    """Answers before it has seen the request's body."""

    def headers_received(self, start_line, headers):
        super().headers_received(start_line, headers)
        self.connection.write_headers(OK, {"Content-Length": "5", "Content-Type": "text/plain"}, b"early")
        self.connection.finish()


class Failing(Waiting):
    """Fails when it is told of the end."""

    def finish(self):
        raise RuntimeError(f"secret-{self.token}")


class Forgetful(Waiting):
    """Never answers."""

    def finish(self):
        pass


class Delegates(Router):
    kinds = {  # noqa: RUF012  # as an example would have it
        "/echo": Echo,
        "/waiting": Waiting,
        "/endless": Endless,
        "/early": Early,
        "/failing": Failing,
        "/forgetful": Forgetful,
    }

    def find_handler(self, request, **kwargs):
        kind = self.kinds.get(request.path)
        return kind and kind(request.connection)


app = DualRoute(
    [
        Mount("/custom", app=CustomRouter()),
        Mount("/method", app=HTTPMethodRouter(DualRoute())),
        Mount("/targets", app=targets),
        Mount("/nested", app=nested),
        Mount("/between", app=between),
        Mount("/written", app=written),
        Mount("/reversible", app=reversible),
        Mount("/delegates", app=Delegates()),
    ]
)
