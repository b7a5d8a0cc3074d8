"""Message delegates behind routers, in an app: what stands around an endpoint stands around them too."""

from __future__ import annotations

import gc
from collections.abc import Generator
from typing import Any

import pytest

from dualroute import DualRoute, Mount, PlainTextResponse, Request, Response
from dualroute.delegates import HTTPConnection, HTTPMessageDelegate, HTTPServerConnectionDelegate, HTTPServerRequest
from dualroute.limits import Limits
from dualroute.rules import Router, RuleRouter
from tests.conftest import Serve
from tests.delegate_helper import OK
from tests.garbage import garbage_of
from tests.mounted_asgi_helper import errors, transparent


class Answering(HTTPMessageDelegate):
    def __init__(self, connection: HTTPConnection, told: list[str]) -> None:
        self.connection = connection
        self.told = told
        self.body = b""

    def headers_received(self, start_line: Any, headers: Any) -> None:
        self.told.append(f"{start_line.method} {start_line.path}")

    def data_received(self, chunk: bytes) -> None:
        self.body += chunk

    def finish(self) -> None:
        self.told.append("finish")
        self.connection.write_headers(OK, {"Content-Type": "text/plain"}, b"got " + self.body)
        self.connection.finish()

    def on_connection_close(self) -> None:
        self.told.append("close")


class Forgetful(Answering):
    def finish(self) -> None:
        self.told.append("finish")


class Failing(Answering):
    def finish(self) -> None:
        raise LookupError("failed")


class Custom(Router):
    """Finds a delegate of a class for every request."""

    def __init__(self, kind: type[Answering]) -> None:
        self.kind = kind
        self.told: list[str] = []

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        return self.kind(request.connection, self.told)


class Starter(HTTPServerConnectionDelegate):
    def __init__(self, kind: type[Answering]) -> None:
        self.kind = kind
        self.told: list[str] = []

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return self.kind(request_conn, self.told)


@pytest.fixture(params=["router", "mounted", "rule", "mounted rule"])
def around(request: pytest.FixtureRequest) -> Any:
    """A function that returns an app for a kind of delegates, and the list of what they are told."""

    def make(kind: type[Answering], **options: Any) -> tuple[Any, list[str]]:
        inner: Any
        if "rule" in request.param:
            target = Starter(kind)
            inner = RuleRouter([("/.*" if "mounted" in request.param else "/m/.*", target)])
            told = target.told
        else:
            inner = Custom(kind)
            told = inner.told
        if "mounted" in request.param:
            return DualRoute([Mount("/m", app=inner)], **options), told
        return DualRoute(fallback=inner, **options), told

    return make


def test_a_delegate_is_found_and_run(serve: Serve, around: Any, request: pytest.FixtureRequest) -> None:
    app, told = around(Answering)
    answer = serve(app).post("/m/caf%C3%A9?q=1", content=b"some")
    assert (answer.status_code, answer.text) == (200, "got some")
    below = "" if "mounted" in request.node.callspec.params["around"] else "/m"
    assert told == [f"POST {below}/caf%C3%A9?q=1", "finish"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_delegate_that_never_answers_is_noticed_at_once(
    serve: Serve, around: Any, wrapped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the collector's help: nothing on a request's way may hold its delegate."""
    app, told = around(Forgetful, middleware=[transparent] if wrapped else [])
    client = serve(app)
    gc.collect()
    gc.disable()
    try:
        assert client.get("/m/").status_code == 500
    finally:
        gc.enable()
    assert told[1:] == ["finish"]
    assert len(errors(caplog)) == 1
    assert "nobody is left to make one" in caplog.text


def test_middleware_sees_its_response(serve: Serve, around: Any) -> None:
    def marking(connection: Any) -> Generator[Any, Any, Response]:
        response: Response = yield connection
        response.headers["x-marked"] = str(response.status_code)
        return response

    app, _ = around(Answering, middleware=[marking])
    answer = serve(app).get("/m/")
    assert answer.headers["x-marked"] == "200"
    assert answer.text == "got "


def test_a_middleware_that_answers_itself_leaves_the_delegate_untold(serve: Serve, around: Any) -> None:
    def refusing(connection: Any) -> Generator[Any, Any, Response]:
        return PlainTextResponse("no", status_code=401)
        yield

    app, told = around(Answering, middleware=[refusing])
    assert serve(app).get("/m/").status_code == 401
    assert told == []


def test_exception_handlers_answer_for_it(serve: Serve, around: Any) -> None:
    async def answer(request: Request, error: Exception) -> Response:
        return PlainTextResponse(str(error), status_code=410)

    app, told = around(Failing, exception_handlers={LookupError: answer})
    response = serve(app).get("/m/")
    assert (response.status_code, response.text) == (410, "failed")
    assert told[1:] == ["close"]


def test_limits_hold_for_it(serve: Serve, around: Any) -> None:
    app, told = around(Answering, limits=Limits(max_body_size=3))
    client = serve(app)
    assert client.post("/m/", content=b"123").text == "got 123"
    told.clear()
    assert client.post("/m/", content=b"1234").status_code == 413
    assert "finish" not in told


@pytest.mark.parametrize("kind", [Answering, Forgetful, Failing])
def test_a_request_leaves_no_cycle(
    serve: Serve, around: Any, kind: type[Answering], caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = around(kind)

    async def hello(request: Request) -> Response:
        return PlainTextResponse("hello")

    app.add_route("/hello", hello)
    client = serve(app)

    caplog.set_level(100)  # a log record would keep the traceback
    assert garbage_of(lambda: client.get("/m/"), 20) < garbage_of(lambda: client.get("/hello"), 20) + 20
