"""Middleware that was written for WSGI applications, inside ours: on both protocols, around both colours of handler."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import Any
from wsgiref.validate import validator

import httpx
import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

from dualroute import BackgroundTask, DualRoute, Limits, Mount, PlainTextResponse, Request, Response, Route, SyncRequest
from dualroute.middleware import Middleware
from dualroute.middleware.wsgi import WSGIMiddleware
from dualroute.testclient import TestClient
from tests.around_helper import (
    AROUND,
    BODY,
    ECHO_PATHS,
    ECHOES,
    PATHS,
    Cancelled,
    Endless,
    FailsOnce,
    async_telling,
    errors,
    failing_half_way,
    generator,
    inner_variable,
    outer_variable,
    telling,
)
from tests.conftest import Serve
from tests.middleware_helper import accepted, handshake, site


@pytest.fixture(params=AROUND)
def around(request: pytest.FixtureRequest) -> list[Any]:
    """What stands around the middleware that is tested."""
    return AROUND[str(request.param)]


class Stamping:
    """Adds a header to every response."""

    def __init__(self, app: Any, name: str = "x-stamp", *, value: str = "yes") -> None:
        self.app = app
        self.header = (name, value)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        def stamping(status: str, headers: Any, exc_info: Any = None) -> Any:
            return start_response(status, [*headers, self.header])

        return self.app(environ, stamping)


# The responses of every kind of handler


@pytest.mark.parametrize("path", PATHS)
def test_every_response_goes_through_and_is_otherwise_as_it_was(serve: Serve, around: list[Any], path: str) -> None:
    bare = serve(site([])).get(path)
    answer = serve(site([*around, WSGIMiddleware(Stamping), generator])).get(path)
    assert answer.headers.pop("x-stamp") == "yes"
    assert (answer.status_code, answer.content, answer.headers) == (bare.status_code, bare.content, bare.headers)


@pytest.mark.parametrize("path", ["/", "/async", "/stream", "/async-stream"])
def test_what_it_is_given_and_what_it_is_around_keep_to_pep_3333(serve: Serve, around: list[Any], path: str) -> None:
    client = serve(site([*around, WSGIMiddleware(validator)]))
    assert client.get(path).content == serve(site([])).get(path).content
    assert client.head(path).status_code == 200


def test_it_stands_wherever_middleware_does_with_its_options(serve: Serve) -> None:
    app = DualRoute(
        [
            Route("/route", telling, middleware=[WSGIMiddleware(Stamping, value="route")]),
            Mount(
                "/mount", routes=[Route("/", telling)], middleware=[WSGIMiddleware(Stamping, "x-stamp", value="mount")]
            ),
        ],
        middleware=[WSGIMiddleware(Stamping, value="app")],
    )
    app.add_middleware(WSGIMiddleware(Stamping, value="added"))
    client = serve(app)
    assert client.get("/route").headers.get_list("x-stamp") == ["route", "app", "added"]
    assert client.get("/mount/").headers.get_list("x-stamp") == ["mount", "app", "added"]
    assert client.get("/none").headers.get_list("x-stamp") == ["app", "added"]


# What it does to the request


def test_what_it_changes_of_the_environ_is_what_is_seen_inside(serve: Serve, around: list[Any]) -> None:
    class Changing:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Any:
            environ = {**environ, "HTTP_X_NEW": "new", "QUERY_STRING": "q=changed", "x.user": "somebody"}
            return self.app(environ, start_response)

    def told(request: Any) -> Response:
        return PlainTextResponse(
            f"{request.headers['x-new']} {request.query_params['q']} {request.environ['x.user']} {request.url.query}"
            f" {dict(request.scope['headers'])[b'x-new'].decode()}"
        )

    async def async_told(request: Request) -> Response:
        return told(request)

    async def asgi_told(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        await PlainTextResponse(headers[b"x-new"] + scope["query_string"])(scope, receive, send)

    def wsgi_told(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("content-type", "text/plain")])
        return [f"{environ['HTTP_X_NEW']} {environ['x.user']}".encode()]

    routes = [Route("/", told), Route("/async", async_told), Mount("/asgi", asgi_told), Mount("/wsgi", wsgi_told)]
    client = serve(DualRoute(routes, middleware=[*around, WSGIMiddleware(Changing)]))
    for path in ("/", "/async"):
        assert client.get(f"{path}?q=given").text == "new changed somebody q=changed new"
    assert client.get("/asgi/").text == "newq=changed"
    assert client.get("/wsgi/").text == "new somebody"


def test_one_of_werkzeugs_tells_of_the_proxys_client(serve: Serve, around: list[Any]) -> None:
    def where(request: SyncRequest) -> Response:
        assert request.client is not None
        return PlainTextResponse(f"{request.url_for('where')} {request.client.host}")

    client = serve(DualRoute([Route("/", where)], middleware=[*around, WSGIMiddleware(ProxyFix, x_host=1)]))
    headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https", "x-forwarded-host": "other.example"}
    assert client.get("/", headers=headers).text == "https://other.example/ 203.0.113.9"


class Shouting:
    """Hands on the body in capitals."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        body = environ["wsgi.input"].read().upper()
        environ.update({"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        return self.app(environ, start_response)


@pytest.mark.parametrize("path", ECHO_PATHS)
def test_a_body_is_read_as_it_hands_it_on(serve: Serve, around: list[Any], path: str) -> None:
    client = serve(DualRoute(ECHOES, middleware=[*around, WSGIMiddleware(Shouting)]))
    assert client.post(path, content=BODY).content == BODY.upper()
    assert client.post(path, content=iter([BODY, BODY])).content == (BODY + BODY).upper()
    client = serve(DualRoute(ECHOES, middleware=[*around, WSGIMiddleware(Stamping)]))
    assert client.post(path, content=BODY).content == BODY
    assert client.post(path, content=iter([BODY, BODY])).content == BODY + BODY


def test_limits_count_what_it_reads(serve: Serve, around: list[Any]) -> None:
    app = DualRoute(ECHOES, middleware=[*around, WSGIMiddleware(Shouting)], limits=Limits(max_body_size=len(BODY)))
    client = serve(app)
    for path in ("/", "/async"):
        assert client.post(path, content=BODY).status_code == 200
        assert client.post(path, content=iter([BODY, b"x"])).status_code == 413


def test_context_variables_go_in_and_come_out(serve: Serve, around: list[Any]) -> None:
    class Binding:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Any:
            outer_variable.set("by the middleware")

            def noting(status: str, headers: Any, exc_info: Any = None) -> Any:
                return start_response(status, [*headers, ("x-inner", inner_variable.get())])

            return self.app(environ, noting)

    def outside(connection: Any) -> Any:
        response = yield connection
        response.headers["x-outside"] = f"{outer_variable.get()}, {inner_variable.get()}"
        return response

    routes = [Route("/", telling), Route("/async", async_telling)]
    client = serve(DualRoute(routes, middleware=[outside, *around, WSGIMiddleware(Binding), generator]))
    for path in ("/", "/async"):
        answer = client.get(path)
        assert (answer.text, answer.headers["x-inner"]) == ("by the middleware", "by the handler")
        assert answer.headers["x-outside"] == "by the middleware, by the handler"


# What it does to the response


def test_an_answer_of_its_own_keeps_the_handler_from_being_called(serve: Serve, around: list[Any]) -> None:
    def refusing(environ: Any, start_response: Any) -> Any:
        start_response("403 Not You", [("content-type", "text/plain")])
        return [b"refused"]

    called: list[str] = []

    def handler(request: SyncRequest) -> Response:
        called.append("handler")
        return PlainTextResponse("handler")

    routes = [Route("/", handler)]
    answer = serve(DualRoute(routes, middleware=[*around, WSGIMiddleware(lambda app: refusing)])).get("/")
    assert (answer.status_code, answer.text, called) == (403, "refused", [])


def test_pieces_can_be_changed_on_their_way(serve: Serve, around: list[Any]) -> None:
    class Louder:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Iterator[bytes]:
            for piece in self.app(environ, start_response):
                yield piece.upper()

    client = serve(site([*around, WSGIMiddleware(Louder)]))
    for path in ("/", "/stream", "/async-stream", "/flask/stream"):
        assert client.get(path).content == serve(site([])).get(path).content.upper()


def test_it_sees_exceptions_and_may_answer_them(serve: Serve, around: list[Any]) -> None:
    class Catching:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Any:
            try:
                return list(self.app(environ, start_response))
            except LookupError as error:
                import sys

                start_response("500 Oh", [("content-type", "text/plain")], sys.exc_info())
                return [f"caught {error}".encode()]

    client = serve(site([*around, WSGIMiddleware(Catching)]))
    for path in ("/fail", "/async-fail", "/fail-at-once"):
        assert client.get(path).text == "caught boom"


def test_what_it_does_not_take_is_logged_once(
    serve: Serve, around: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(site([*around, WSGIMiddleware(Stamping)]))
    for path in ("/fail", "/async-fail", "/fail-at-once"):
        caplog.clear()
        assert client.get(path).status_code == 500
        assert ["boom" in error for error in errors(caplog.records)] == [True]


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_a_stream_goes_out_as_it_is_made_and_ends_when_the_client_goes(
    protocol: Any, around: list[Any], path: str
) -> None:
    endless = Endless([*around, WSGIMiddleware(Stamping)])
    with TestClient(endless.app, protocol=protocol) as client, client.stream("GET", path) as answer:
        assert answer.headers["x-stamp"] == "yes"
        assert next(answer.iter_raw()).startswith(b"piece")
    assert endless.closed.wait(20)


def test_a_stream_that_fails_half_way_is_cut_and_logged_once(
    protocol: Any, around: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = DualRoute([Route("/", failing_half_way)], middleware=[*around, WSGIMiddleware(Stamping)])
    client = TestClient(app, protocol=protocol, raise_server_exceptions=False)
    with pytest.raises(httpx.RemoteProtocolError), client.stream("GET", "/") as answer:
        answer.read()
    assert ["half-way" in error for error in errors(caplog.records)] == [True]


def test_background_tasks_run_after_the_response_whatever_it_is(serve: Serve, around: list[Any]) -> None:
    ran: list[str] = []

    class Replacing:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Any:
            self.app(environ, lambda status, headers, exc_info=None: None)
            start_response("200 OK", [("content-type", "text/plain")])
            assert not ran
            return [b"replaced"]

    def handler(request: SyncRequest) -> Response:
        return PlainTextResponse("x", background=BackgroundTask(ran.append, "ran"))

    for middleware, text in ((Stamping, "x"), (Replacing, "replaced")):
        ran.clear()
        client = serve(DualRoute([Route("/", handler)], middleware=[*around, WSGIMiddleware(middleware)]))
        assert (client.get("/").text, ran) == (text, ["ran"])


def test_it_may_call_what_is_inside_again(serve: Serve, around: list[Any]) -> None:
    class Retrying:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Any:
            try:
                return self.app(environ, start_response)
            except LookupError:
                return self.app(environ, start_response)

    client = serve(DualRoute([Route("/", FailsOnce())], middleware=[*around, WSGIMiddleware(Retrying)]))
    assert client.get("/").text == "second"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_around_it_may_throw_its_answer_away_and_ask_again(
    serve: Serve, around: list[Any], method: str, path: str
) -> None:
    """Of the first answer, nobody has taken any piece: what makes them is given up, and the request is not."""

    def again(connection: Any) -> Any:
        yield connection
        response = yield connection
        return response

    client = serve(site([again, *around, WSGIMiddleware(Stamping)]))
    bare = serve(site([])).request(method, path)
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["x-stamp"]) == (bare.status_code, "yes")
    assert answer.content == (b"" if method == "HEAD" else bare.content)


@pytest.mark.protocol("asgi")  # a WSGI server can't tell that a request is to be given up
def test_a_request_that_is_cancelled_is_so_inside(
    protocol: str, around: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    handler = Cancelled()
    asyncio.run(handler.cancel_in([*around, WSGIMiddleware(Stamping)]))
    assert handler.cancelled
    assert not errors(caplog.records)


@pytest.mark.protocol("asgi")
def test_one_that_goes_on_though_its_request_was_cancelled_has_nothing_to_wait_for(
    protocol: str, around: list[Any]
) -> None:
    tries: list[type[BaseException]] = []

    class Stubborn:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Any:
            for _ in range(3):
                try:
                    return self.app(environ, start_response)
                except BaseException as error:
                    tries.append(type(error))
            raise AssertionError("it was cancelled each time")

    handler = Cancelled()
    asyncio.run(handler.cancel_in([*around, WSGIMiddleware(Stubborn)]))
    assert len(tries) == 3


# What is wrong with it


def test_one_that_answers_nothing_is_named(serve: Serve, around: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    def silent(environ: Any, start_response: Any) -> Any:
        return []

    assert serve(site([*around, WSGIMiddleware(lambda app: silent)])).get("/").status_code == 500
    assert "did not call start_response" in caplog.text


def test_an_environ_of_its_own_making_is_refused(
    serve: Serve, around: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    class Foreign:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Any:
            return self.app({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, start_response)

    assert serve(site([*around, WSGIMiddleware(Foreign)])).get("/").status_code == 500
    assert "Foreign has called what it is around with an environ that is not made of its own" in caplog.text


def test_what_is_no_wsgi_middleware_is_refused_when_it_is_made() -> None:
    def asgi(app: Any) -> Any:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)

        return application

    with pytest.raises(TypeError, match=r"is not called like a WSGI application; write Middleware\(asgi, …\)"):
        WSGIMiddleware(asgi)
    with pytest.raises(TypeError, match="makes None, which is not called like a WSGI application"):
        WSGIMiddleware(lambda app: None)
    with pytest.raises(TypeError, match="takes a middleware class and its options, not 'profiler'"):
        WSGIMiddleware("profiler")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword argument 'valeu'"):
        WSGIMiddleware(Stamping, valeu="x")
    assert repr(Middleware(asgi)) == "Middleware(asgi)"


def test_around_an_application_it_is_what_can_be_mounted(serve: Serve) -> None:
    import flask

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("content-type", "text/plain")])
        return [b"function"]

    flask_app = flask.Flask("inner")
    flask_app.add_url_rule("/", view_func=lambda: "flask", endpoint="flask")
    app = DualRoute([Mount("/flask", WSGIMiddleware(flask_app)), Mount("/function", WSGIMiddleware(application))])
    client = serve(app)
    assert (client.get("/flask/").text, client.get("/function/").text) == ("flask", "function")


@pytest.mark.protocol("asgi")
def test_websockets_pass_it_by(protocol: str, around: list[Any]) -> None:
    assert accepted(handshake(site([*around, WSGIMiddleware(Stamping)])))
