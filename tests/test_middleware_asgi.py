"""Middleware that was written for ASGI applications, inside ours: on both protocols, around both colours of handler."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from dualroute import (
    BackgroundTask,
    DualRoute,
    EventSourceResponse,
    Limits,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    SyncRequest,
    WebSocket,
    WebSocketDisconnect,
    WebSocketRoute,
)
from dualroute.middleware import Middleware
from dualroute.middleware.asgi import ASGIMiddleware
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
from tests.middleware_helper import accepted, denied, handshake, site
from tests.websocket_helper import converse


@pytest.fixture(params=AROUND)
def around(request: pytest.FixtureRequest) -> list[Any]:
    """What stands around the middleware that is tested."""
    return AROUND[str(request.param)]


class Stamping:
    """Adds a header to every response."""

    def __init__(self, app: Any, name: str = "x-stamp", *, value: str = "yes") -> None:
        self.app = app
        self.header = (name.encode(), value.encode())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def stamping(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], self.header]}
            await send(message)

        await self.app(scope, receive, stamping)


# The responses of every kind of handler


@pytest.mark.parametrize("path", PATHS)
def test_every_response_goes_through_and_is_otherwise_as_it_was(serve: Serve, around: list[Any], path: str) -> None:
    bare = serve(site([])).get(path)
    answer = serve(site([*around, Middleware(Stamping), generator])).get(path)
    assert answer.headers.pop("x-stamp") == "yes"
    assert (answer.status_code, answer.content, answer.headers) == (bare.status_code, bare.content, bare.headers)


@pytest.mark.parametrize("path", ["/", "/async", "/stream", "/async-stream"])
def test_head_is_answered_without_a_body(serve: Serve, around: list[Any], path: str) -> None:
    answer = serve(site([*around, Middleware(Stamping)])).head(path)
    assert (answer.status_code, answer.content, answer.headers["x-stamp"]) == (200, b"", "yes")


def test_it_stands_wherever_middleware_does_with_its_options(serve: Serve) -> None:
    app = DualRoute(
        [
            Route("/route", plain, middleware=[Middleware(Stamping, value="route")]),
            Mount("/mount", routes=[Route("/", plain)], middleware=[Middleware(Stamping, "x-stamp", value="mount")]),
        ],
        middleware=[Middleware(Stamping, value="app"), ASGIMiddleware(lambda inner: Stamping(inner, value="function"))],
    )
    app.add_middleware(Stamping, value="added")
    client = serve(app)
    assert client.get("/route").headers.get_list("x-stamp") == ["route", "function", "app", "added"]
    assert client.get("/mount/").headers.get_list("x-stamp") == ["mount", "function", "app", "added"]
    assert client.get("/none").headers.get_list("x-stamp") == ["function", "app", "added"]


def plain(request: SyncRequest) -> Response:
    return PlainTextResponse("plain")


def test_it_is_made_once(serve: Serve) -> None:
    made: list[str] = []

    def factory(app: Any) -> Any:
        made.append("made")
        return app

    client = serve(site([Middleware(factory)]))
    for path in ("/", "/async", "/none"):
        client.get(path)
    assert made == ["made"]


# What it does to the request


def test_what_it_changes_of_the_scope_is_what_is_seen_inside(serve: Serve, around: list[Any]) -> None:
    class Changing:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope["headers"].append((b"x-new", b"new"))
            scope["state"]["number"] = 3
            scope["user"] = "somebody"
            scope["session"] = {"key": "value"}
            scope = {**scope, "scheme": "https", "client": ("203.0.113.9", 81), "query_string": b"q=changed", "x": "y"}
            await self.app(scope, receive, send)

    def told(request: Any) -> Response:
        assert request.scope["x"] == "y"
        return PlainTextResponse(
            f"{request.headers['x-new']} {request.state.number} {request.user} {request.session['key']}"
            f" {request.url} {request.client.host} {request.client.port} {request.query_params['q']}"
        )

    async def async_told(request: Request) -> Response:
        return told(request)

    def flask_told(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("content-type", "text/plain")])
        return [f"{environ['HTTP_X_NEW']} {environ['wsgi.url_scheme']} {environ['REMOTE_ADDR']}".encode()]

    routes = [Route("/", told), Route("/async", async_told), Mount("/wsgi", app=flask_told)]
    client = serve(DualRoute(routes, middleware=[*around, Middleware(Changing)]))
    text = "new 3 somebody value https://testserver{} 203.0.113.9 81 changed"
    assert client.get("/?q=given").text == text.format("/?q=changed")
    assert client.get("/async?q=given").text == text.format("/async?q=changed")
    assert client.get("/wsgi/").text == "new https 203.0.113.9"


def test_what_it_changes_is_not_seen_outside(serve: Serve) -> None:
    class Changing:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope["headers"].append((b"x-new", b"new"))
            await self.app({**scope, "scheme": "https"}, receive, send)

    def outside(connection: Any) -> Any:
        response = yield connection
        response.headers["x-outside"] = f"{connection.url.scheme} {'x-new' in connection.headers}"
        return response

    client = serve(site([outside, Middleware(Changing)]))
    assert client.get("/").headers["x-outside"] == client.get("/async").headers["x-outside"] == "http False"


def test_another_host_is_that_of_urls_and_a_path_leads_nowhere_else(serve: Serve, around: list[Any]) -> None:
    class Changing:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app({**scope, "headers": [(b"host", b"other.example")], "path": "/elsewhere"}, receive, send)

    def where(request: SyncRequest) -> Response:
        return PlainTextResponse(str(request.url_for("where")) + " " + request.url.path)

    client = serve(DualRoute([Route("/here", where)], middleware=[*around, Middleware(Changing)]))
    assert client.get("/here").text == "http://other.example/here /here"


class Shouting:
    """Hands on the body in capitals, as it comes."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def shouting() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                message = {**message, "body": message.get("body", b"").upper()}
            return message

        await self.app(scope, shouting, send)


@pytest.mark.parametrize("path", ECHO_PATHS)
def test_a_body_is_read_as_it_hands_it_on(serve: Serve, around: list[Any], path: str) -> None:
    client = serve(DualRoute(ECHOES, middleware=[*around, Middleware(Shouting)]))
    assert client.post(path, content=BODY).content == BODY.upper()
    assert client.post(path, content=iter([BODY, BODY])).content == (BODY + BODY).upper()
    client = serve(DualRoute(ECHOES, middleware=[*around, Middleware(Stamping)]))
    assert client.post(path, content=BODY).content == BODY


def test_one_that_reads_the_body_and_hands_on_nothing_keeps_nobody_waiting(serve: Serve, around: list[Any]) -> None:
    class Draining:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            while (await receive()).get("more_body"):
                pass

            async def wrapped() -> Any:
                return await receive()

            await self.app(scope, wrapped if scope["query_string"] else receive, send)

    def unread(request: SyncRequest) -> Response:
        return PlainTextResponse("unread")

    client = serve(DualRoute([Route("/", unread, methods=["POST"])], middleware=[*around, Middleware(Draining)]))
    for url in ("/", "/?wrapped"):
        assert client.post(url, content=BODY).text == client.post(url, content=iter([BODY, b"x"])).text == "unread"


def test_limits_count_what_it_hands_on(serve: Serve, around: list[Any]) -> None:
    app = DualRoute(ECHOES, middleware=[*around, Middleware(Shouting)], limits=Limits(max_body_size=len(BODY)))
    client = serve(app)
    for path in ("/", "/async"):
        assert client.post(path, content=BODY).status_code == 200
        assert client.post(path, content=iter([BODY, b"x"])).status_code == 413


def test_limits_of_forms_hold_inside_it(serve: Serve, around: list[Any]) -> None:
    async def async_fields(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.form())))

    def fields(request: SyncRequest) -> Response:
        return PlainTextResponse(str(len(request.form())))

    routes = [Route("/", fields, methods=["POST"]), Route("/async", async_fields, methods=["POST"])]
    app = DualRoute(routes, middleware=[*around, Middleware(Shouting)], limits=Limits(max_form_fields=2))
    client = serve(app)
    for path in ("/", "/async"):
        assert client.post(path, data={"a": "1", "b": "2"}).text == "2"
        assert client.post(path, data={"a": "1", "b": "2", "c": "3"}).status_code == 413


def test_context_variables_go_in_and_come_out(serve: Serve, around: list[Any]) -> None:
    class Binding:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            token = outer_variable.set("by the middleware")

            async def noting(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], (b"x-inner", inner_variable.get().encode())]}
                await send(message)

            try:
                await self.app(scope, receive, noting)
            finally:
                outer_variable.reset(token)

    routes = [Route("/", telling), Route("/async", async_telling)]
    client = serve(DualRoute(routes, middleware=[*around, Middleware(Binding), generator]))
    for path in ("/", "/async"):
        answer = client.get(path)
        assert (answer.text, answer.headers["x-inner"]) == ("by the middleware", "by the handler")


# What it does to the response


def test_an_answer_of_its_own_keeps_the_handler_from_being_called(serve: Serve, around: list[Any]) -> None:
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("refused", status_code=403)(scope, receive, send)

    called: list[str] = []

    def handler(request: SyncRequest) -> Response:
        called.append("handler")
        return PlainTextResponse("handler")

    routes = [Route("/", handler)]
    answer = serve(DualRoute(routes, middleware=[*around, Middleware(lambda app: refusing)])).get("/")
    assert (answer.status_code, answer.text, called) == (403, "refused", [])


def test_it_sees_exceptions_and_may_answer_them(serve: Serve, around: list[Any]) -> None:
    class Catching:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                await self.app(scope, receive, send)
            except LookupError as error:
                await PlainTextResponse(f"caught {error}", status_code=500)(scope, receive, send)

    client = serve(site([*around, Middleware(Catching)]))
    for path in ("/fail", "/async-fail", "/fail-at-once"):
        assert client.get(path).text == "caught boom"


def test_what_it_does_not_take_is_logged_once(
    serve: Serve, around: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(site([*around, Middleware(Stamping)]))
    for path in ("/fail", "/async-fail", "/fail-at-once"):
        caplog.clear()
        assert client.get(path).status_code == 500
        assert ["boom" in error for error in errors(caplog.records)] == [True]


def test_an_exception_handler_outside_has_what_comes_out_of_it(serve: Serve, around: list[Any]) -> None:
    class Failing:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            raise KeyError("middleware")

    app = DualRoute(
        [Route("/", plain)],
        middleware=[*around, Middleware(Failing)],
        exception_handlers={KeyError: lambda request, error: PlainTextResponse(f"handled {error}")},
    )
    assert serve(app).get("/").text == "handled 'middleware'"


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_a_stream_goes_out_as_it_is_made_and_ends_when_the_client_goes(
    protocol: Any, around: list[Any], path: str
) -> None:
    endless = Endless([*around, Middleware(Stamping)])
    with TestClient(endless.app, protocol=protocol) as client, client.stream("GET", path) as answer:
        assert answer.headers["x-stamp"] == "yes"
        assert next(answer.iter_raw()).startswith(b"piece")
    assert endless.closed.wait(20)


def test_a_stream_that_fails_half_way_is_cut_and_seen(
    protocol: Any, around: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    class Watching:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                await self.app(scope, receive, send)
            except LookupError as error:
                seen.append(str(error))
                raise

    app = DualRoute([Route("/", failing_half_way)], middleware=[*around, Middleware(Watching)])
    client = TestClient(app, protocol=protocol, raise_server_exceptions=False)
    with pytest.raises(httpx.RemoteProtocolError), client.stream("GET", "/") as answer:
        answer.read()
    assert seen == ["half-way"]
    assert ["half-way" in error for error in errors(caplog.records)] == [True]


def test_background_tasks_run_after_the_response_whatever_it_is(serve: Serve, around: list[Any]) -> None:
    ran: list[str] = []

    class Replacing:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def drop(message: Any) -> None:
                assert not ran

            await self.app(scope, receive, drop)
            await PlainTextResponse("replaced")(scope, receive, send)

    def handler(request: SyncRequest) -> Response:
        return PlainTextResponse("x", background=BackgroundTask(ran.append, "ran"))

    for middleware, text in ((Middleware(Stamping), "x"), (Middleware(Replacing), "replaced")):
        ran.clear()
        client = serve(DualRoute([Route("/", handler)], middleware=[*around, middleware]))
        assert (client.get("/").text, ran) == (text, ["ran"])


# Not in a WSGI middleware, which has nothing to say while it waits.
@pytest.mark.parametrize("around", [around for name, around in AROUND.items() if name != "in a WSGI middleware"])
def test_comments_keep_a_silent_stream_of_events_alive(protocol: Any, around: list[Any]) -> None:
    go_on = threading.Event()

    async def events() -> AsyncIterator[str]:
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        yield "event"

    app = DualRoute(
        [Route("/", lambda request: EventSourceResponse(events(), ping=0.05))],
        middleware=[*around, Middleware(Stamping)],
    )
    with TestClient(app, protocol=protocol) as client, client.stream("GET", "/") as answer:
        pieces = answer.iter_raw()
        assert next(pieces).startswith(b":")
        go_on.set()
        assert b"data: event" in b"".join(pieces)


def test_it_may_call_what_is_inside_again(serve: Serve, around: list[Any]) -> None:
    class Retrying:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                await self.app(scope, receive, send)
            except LookupError:
                await self.app(scope, receive, send)

    client = serve(DualRoute([Route("/", FailsOnce())], middleware=[*around, Middleware(Retrying)]))
    assert client.get("/").text == "second"


@pytest.mark.protocol("asgi")  # a WSGI server can't tell that a request is to be given up
def test_a_request_that_is_cancelled_is_so_inside(
    protocol: str, around: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    handler = Cancelled()
    asyncio.run(handler.cancel_in([*around, Middleware(Stamping)]))
    assert handler.cancelled
    assert not errors(caplog.records)


# What is wrong with it


def test_one_that_answers_nothing_is_named(serve: Serve, around: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    class Silent:
        def __init__(self, app: Any) -> None:
            pass

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            pass

    assert serve(site([*around, Middleware(Silent)])).get("/").status_code == 500
    assert "Silent returned without a response" in caplog.text


def test_a_scope_of_its_own_making_is_refused(
    serve: Serve, around: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    class Foreign:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app({"type": "http", "path": "/", "headers": []}, receive, send)

    assert serve(site([*around, Middleware(Foreign)])).get("/").status_code == 500
    assert "Foreign has called what it is around with a scope that is not made of its own" in caplog.text


def test_what_is_no_asgi_middleware_is_refused_when_it_is_made() -> None:
    def wsgi(app: Any) -> Any:
        def application(environ: Any, start_response: Any) -> Any:
            return app(environ, start_response)

        return application

    with pytest.raises(TypeError, match=r"is not called like an ASGI application; write WSGIMiddleware\(wsgi, …\)"):
        Middleware(wsgi)
    with pytest.raises(TypeError, match="makes None, which is not called like an ASGI application"):
        ASGIMiddleware(lambda app: None)
    with pytest.raises(TypeError, match="unexpected keyword argument 'valeu'"):
        Middleware(Stamping, valeu="x")


# Websockets


class Speaking:
    """Speaks in capitals, and hears in small letters."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def hearing() -> Any:
            message = await receive()
            return {**message, "text": message["text"].lower()} if message.get("text") else message

        async def speaking(message: Any) -> None:
            await send({**message, "text": message["text"].upper()} if message.get("text") else message)

        scope["state"]["said"] = "by the middleware"
        await self.app(scope, hearing, speaking)


async def answering(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(f"{await websocket.receive_text()} {websocket.state.said}")


@pytest.mark.protocol("asgi")
def test_events_of_websockets_go_through_it_both_ways(protocol: str, around: list[Any]) -> None:
    app = DualRoute([WebSocketRoute("/ws", answering)], middleware=[*around, Middleware(Speaking)])
    with TestClient(app).websocket_connect("/ws") as websocket:
        websocket.send_text("Hello")
        assert websocket.receive_text() == "HELLO BY THE MIDDLEWARE"
        with pytest.raises(WebSocketDisconnect):
            websocket.receive_text()


@pytest.mark.protocol("asgi")
def test_a_handshake_may_be_refused_by_it_and_inside_it(protocol: str, around: list[Any]) -> None:
    class Refusing:
        def __init__(self, app: Any) -> None:
            pass

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.close", "code": 1008})

    assert accepted(handshake(site([*around, Middleware(Stamping)])))
    assert handshake(site([*around, Middleware(Refusing)]))["type"] == "websocket.close"
    assert denied(handshake(site([*around, Middleware(Stamping)]), "/none"))[0] == 404


@pytest.mark.protocol("asgi")
def test_limits_of_websockets_hold_inside_it(protocol: str, around: list[Any]) -> None:
    app = DualRoute(
        [WebSocketRoute("/ws", answering)],
        middleware=[*around, Middleware(Stamping)],
        limits=Limits(max_message_size=3),
    )
    events: list[Any] = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "long"}]
    messages = converse(app, "/ws", *events[1:])
    assert messages[-1] == {"type": "websocket.close", "code": 1009, "reason": "a message may have 3 bytes"}
