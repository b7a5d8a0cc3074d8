"""``timeout=``: a response that is not there in time is answered for with 503, on both protocols."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dualroute import (
    BackgroundTask,
    Call,
    DualRoute,
    Host,
    HTTPEndpoint,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    StreamingResponse,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)
from dualroute.concurrency import run_in_threadpool
from dualroute.exceptions import HandlerTimeout
from dualroute.middleware import Middleware
from dualroute.middleware.base import BaseHTTPMiddleware
from dualroute.middleware.wsgi import WSGIMiddleware
from dualroute.testclient import TestClient
from tests.around_helper import AROUND, ECHO_PATHS, ECHOES
from tests.conftest import Serve

SHORT = 0.3
"""How many seconds there are where they are to be over."""

LONG = 60.0
"""How many there are where they are not."""


class Handlers:
    """Handlers that go on until they are let go, and what became of them."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.ended: list[str] = []
        self.over = threading.Event()

    def plain(self, request: SyncRequest) -> Response:
        try:
            assert self.go_on.wait(LONG)
            return PlainTextResponse("late")
        finally:
            self.ended.append("plain")
            self.over.set()

    async def asynchronous(self, request: Request) -> Response:
        try:
            await asyncio.sleep(LONG)
            return PlainTextResponse("late")
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            self.over.set()
            raise

    async def in_a_thread(self, request: Request) -> Response:
        return await run_in_threadpool(self.plain, request)  # type: ignore[arg-type]

    async def stubborn(self, request: Request) -> Response:
        try:
            while not self.go_on.is_set():
                try:
                    await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    pass
            return PlainTextResponse("late")
        finally:
            self.ended.append("stubborn")
            self.over.set()

    def wsgi(self, environ: Any, start_response: Any) -> Any:
        assert self.go_on.wait(LONG)
        start_response("200 OK", [("content-type", "text/plain")])
        return Closing(self)

    def routes(self) -> list[Any]:
        return [
            Route("/plain", self.plain),
            Route("/async", self.asynchronous),
            Route("/in-a-thread", self.in_a_thread),
            Route("/stubborn", self.stubborn),
            Mount("/wsgi", app=self.wsgi),
        ]


class Closing:
    def __init__(self, handlers: Handlers) -> None:
        self.handlers = handlers

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"late"])

    def close(self) -> None:
        self.handlers.ended.append("closed")
        self.handlers.over.set()


@pytest.fixture
def handlers() -> Iterator[Handlers]:
    handlers = Handlers()
    yield handlers
    handlers.go_on.set()


AROUND_TIMED = {**AROUND, "in all of them": [item for items in AROUND.values() for item in items]}


@pytest.fixture(params=AROUND_TIMED)
def around(request: pytest.FixtureRequest) -> list[Any]:
    """What stands around the handlers."""
    return AROUND_TIMED[str(request.param)]


def await_end(caplog: pytest.LogCaptureFixture) -> str:
    """Wait until it is logged that what was answered for has ended, and return that."""
    for _ in range(2000):
        for message in [*logged(caplog, logging.WARNING), *logged(caplog, logging.ERROR)]:
            if "which was answered for with 503, has" in message:
                return message
        time.sleep(0.01)
    raise AssertionError("nothing was logged")


def logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if record.levelno == level and "WSGI has" not in record.msg
    ]


def test_an_async_def_is_cancelled_and_answered_for(
    serve: Serve, handlers: Handlers, around: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(DualRoute(handlers.routes(), middleware=around, timeout=SHORT))
    answer = client.get("/async")
    assert (answer.status_code, answer.text) == (503, "Service Unavailable: there was no answer within 0.3 s")
    assert handlers.ended == ["cancelled"]
    (message,) = logged(caplog, logging.WARNING)
    assert message.startswith("GET /async: ")
    assert "Handlers.asynchronous took longer than 0.3 s: it was given up" in message
    assert not logged(caplog, logging.ERROR)


@pytest.mark.parametrize(
    ("path", "ended"), [("/plain", "plain"), ("/in-a-thread", "plain"), ("/stubborn", "stubborn"), ("/wsgi/", "closed")]
)
def test_what_can_not_be_stopped_is_answered_for_and_logged_as_still_running(
    protocol: Any, handlers: Handlers, around: list[Any], path: str, ended: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    app = DualRoute(handlers.routes(), middleware=around, timeout=SHORT)
    with TestClient(app, protocol=protocol) as client, client.stream("GET", path) as answer:
        # The answer is there, whole, while the handler goes on.
        assert answer.status_code == 503
        assert next(answer.iter_raw()).startswith(b"Service Unavailable")
        assert handlers.ended == []
        (message,) = logged(caplog, logging.ERROR)
        assert "took longer than 0.3 s and is still running: it was answered for with 503" in message
        handlers.go_on.set()
    await_end(caplog)
    assert handlers.over.wait(LONG)
    assert handlers.ended == [ended]


def test_what_goes_on_is_logged_when_it_ends_and_what_is_open_is_closed_then(
    protocol: Any, handlers: Handlers, caplog: pytest.LogCaptureFixture
) -> None:
    closed = threading.Event()
    caplog.set_level(logging.WARNING)

    def handler(request: SyncRequest) -> Response:
        request.closing.append(closed.set)
        handlers.plain(request)
        assert not closed.is_set()
        raise LookupError("too late")

    with TestClient(DualRoute([Route("/", handler, timeout=SHORT)]), protocol=protocol) as client:
        with client.stream("GET", "/") as answer:
            assert answer.status_code == 503
            assert next(answer.iter_raw())
            handlers.go_on.set()
        assert closed.wait(LONG)
    assert "has failed after" in await_end(caplog)


def test_a_response_that_comes_too_late_is_closed(protocol: Any, handlers: Handlers) -> None:
    def handler(request: SyncRequest) -> Response:
        handlers.plain(request)
        handlers.over.clear()
        return StreamingResponse(Closing(handlers))

    with TestClient(DualRoute([Route("/", handler, timeout=SHORT)]), protocol=protocol) as client:
        with client.stream("GET", "/") as answer:
            assert answer.status_code == 503
            assert next(answer.iter_raw())
            handlers.go_on.set()
        assert handlers.over.wait(LONG)
    assert handlers.ended[0] == "plain"


def test_the_innermost_that_is_set_counts(serve: Serve, handlers: Handlers) -> None:
    def quick(request: SyncRequest) -> Response:
        return PlainTextResponse(str(request.path_params.get("seconds")))

    async def takes_longer(request: Request) -> Response:
        await asyncio.sleep(3 * SHORT)
        return PlainTextResponse("there")

    class Endpoint(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            return await takes_longer(request)

    inner = DualRoute([Route("/", takes_longer), Route("/long", takes_longer, timeout=LONG)], timeout=SHORT)
    app = DualRoute(
        [
            Route("/quick", quick),
            Route("/longer", takes_longer, timeout=LONG),
            Route("/any", takes_longer, timeout=math.inf),
            Route("/class", Endpoint, timeout=LONG),
            Route("/app", Endpoint),
            Mount(
                "/mount", routes=[Route("/", takes_longer), Route("/short", takes_longer, timeout=SHORT)], timeout=LONG
            ),
            Mount("/inner", app=inner, timeout=LONG),
            Host("h.example", Router([Route("/longer", takes_longer)]), timeout=SHORT),
        ],
        timeout=SHORT,
    )
    client = serve(app)
    statuses = {
        "/quick": 200,
        "/longer": 200,
        "/any": 200,
        "/class": 200,
        "/app": 503,
        "/mount/": 200,
        "/mount/short": 503,
        "/inner/": 503,
        "/inner/long": 200,
        "/none": 404,
    }
    assert {path: client.get(path).status_code for path in statuses} == statuses
    host = DualRoute([Host("h.example", Router([Route("/", takes_longer)]), timeout=SHORT)])
    assert serve(host).get("/", headers={"host": "h.example"}).status_code == 503


@pytest.mark.parametrize("path", ECHO_PATHS)
def test_bodies_are_read_where_there_is_a_limit(serve: Serve, around: list[Any], path: str) -> None:
    body = b"0123456789" * 30_000
    client = serve(DualRoute(ECHOES, middleware=around, timeout=LONG))
    assert client.post(path, content=body).content == body
    assert client.post(path, content=iter([body] * 3)).content == body * 3


def test_a_stream_has_all_the_time_once_it_has_begun(
    serve: Serve, around: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"first"
        time.sleep(1.5 * SHORT)
        yield b"second"

    async def async_pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(1.5 * SHORT)
        yield b"second"

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(async_pieces())(scope, receive, send)

    def wsgi(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("content-type", "text/plain")])
        return pieces()

    routes = [
        Route("/plain", lambda request: StreamingResponse(pieces())),
        Route("/async", lambda request: StreamingResponse(async_pieces())),
        Mount("/asgi", app=asgi),
        Mount("/wsgi", app=wsgi),
    ]
    client = serve(DualRoute(routes, middleware=around, timeout=SHORT))
    for path in ("/plain", "/async", "/asgi/", "/wsgi/"):
        assert client.get(path).content == b"firstsecond"
    assert not logged(caplog, logging.ERROR)


def test_a_stream_has_all_the_time_to_be_closed_too(serve: Serve, around: list[Any]) -> None:
    closed: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.sleep(1.5 * SHORT)
            yield b"second"
        finally:
            await asyncio.sleep(SHORT)
            closed.append("closed")

    class OnlyTheFirst:
        """Closes what it is around half-way."""

        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Iterator[bytes]:
            body = self.app(environ, start_response)
            yield next(iter(body))
            time.sleep(2 * SHORT)
            body.close()

    app = DualRoute(
        [Route("/", lambda request: StreamingResponse(pieces()))],
        middleware=[*around, WSGIMiddleware(OnlyTheFirst)],
        timeout=SHORT,
    )
    assert serve(app).get("/").content == b"first"
    assert closed == ["closed"]


def test_middleware_and_exception_handlers_see_it_and_have_all_the_time(serve: Serve, handlers: Handlers) -> None:
    async def save() -> str:
        await asyncio.sleep(2 * SHORT)
        return "saved"

    def saving(connection: Any) -> Any:
        response = yield connection
        response.headers["x-saved"] = yield Call(save)
        return response

    def catching(connection: Any) -> Any:
        try:
            response = yield connection
        except HandlerTimeout as error:  # a handler's is made a response before anybody sees it
            raise AssertionError from error
        return response

    async def answer(request: Request, error: HandlerTimeout) -> Response:
        await asyncio.sleep(2 * SHORT)
        return PlainTextResponse(f"{error.status_code} after {error.timeout} s", status_code=504)

    app = DualRoute(
        handlers.routes(),
        middleware=[saving, catching],
        exception_handlers={HandlerTimeout: answer},
        timeout=SHORT,
    )
    response = serve(app).get("/async")
    assert (response.status_code, response.text) == (504, "503 after 0.3 s")
    assert response.headers["x-saved"] == "saved"


def test_calls_of_middleware_are_timed_too(serve: Serve, handlers: Handlers) -> None:
    def looking_up(connection: Any) -> Any:
        try:
            yield Call(handlers.asynchronous, connection)
        except HandlerTimeout:
            return PlainTextResponse("nobody knows", status_code=503)
        return (yield connection)

    client = serve(
        DualRoute([Route("/", lambda request: PlainTextResponse(""))], middleware=[looking_up], timeout=SHORT)
    )
    assert client.get("/").text == "nobody knows"


def test_middleware_that_takes_too_long_by_itself_is_given_up(serve: Serve) -> None:
    class Slow:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(LONG)

    class SlowDispatch(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            await asyncio.sleep(LONG)
            raise AssertionError

    for middleware in (Slow, SlowDispatch):
        app = DualRoute(
            [Route("/", lambda request: PlainTextResponse(""))], middleware=[Middleware(middleware)], timeout=SHORT
        )
        assert serve(app).get("/").status_code == 503


def test_a_handler_that_makes_something_of_its_cancellation_may_answer(serve: Serve) -> None:
    async def handler(request: Request) -> Response:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            return PlainTextResponse("what there is")
        raise AssertionError

    async def failing(request: Request) -> Response:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            raise LookupError("while it was given up") from None
        raise AssertionError

    client = serve(DualRoute([Route("/", handler), Route("/failing", failing)], timeout=SHORT))
    assert client.get("/").text == "what there is"
    assert client.get("/failing").status_code == 503


def test_a_handler_waits_no_longer_for_a_thread_than_there_is_time(protocol: Any, handlers: Handlers) -> None:
    called: list[str] = []

    def never(request: SyncRequest) -> Response:
        called.append("called")
        return PlainTextResponse("")

    app = DualRoute([*handlers.routes(), Route("/never", never)], timeout=SHORT, max_threads=1)
    with TestClient(app, protocol=protocol) as client:
        with client.stream("GET", "/plain") as answer:
            assert answer.status_code == 503
            assert next(answer.iter_raw())
            assert client.get("/never").status_code == 503
            assert called == []
            handlers.go_on.set()
        assert handlers.over.wait(LONG)


def test_background_tasks_have_all_the_time(serve: Serve) -> None:
    ran: list[str] = []

    async def later() -> None:
        await asyncio.sleep(2 * SHORT)
        ran.append("later")

    def handler(request: SyncRequest) -> Response:
        return PlainTextResponse("", background=BackgroundTask(later))

    assert serve(DualRoute([Route("/", handler)], timeout=SHORT)).get("/").status_code == 200
    assert ran == ["later"]


def test_context_variables_are_as_they_are_without_a_limit(serve: Serve, around: list[Any]) -> None:
    from tests.around_helper import async_telling, inner_variable, outer_variable, telling

    def binding(connection: Any) -> Any:
        outer_variable.set("by the middleware")
        response = yield connection
        response.headers["x-inner"] = inner_variable.get()
        return response

    routes = [Route("/", telling), Route("/async", async_telling)]
    client = serve(DualRoute(routes, middleware=[binding, *around], timeout=LONG))
    for path in ("/", "/async"):
        answer = client.get(path)
        assert (answer.text, answer.headers["x-inner"]) == ("by the middleware", "by the handler")


@pytest.mark.protocol("asgi")
def test_websockets_are_not_timed(protocol: str) -> None:
    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        await asyncio.sleep(3 * SHORT)
        await websocket.send_text("still there")

    with TestClient(DualRoute([WebSocketRoute("/", live)], timeout=SHORT)).websocket_connect("/") as websocket:
        assert websocket.receive_text() == "still there"


@pytest.mark.parametrize("timeout", [0, -1, "5", True, math.nan])
def test_what_is_no_timeout_is_refused_where_it_is_written(timeout: Any) -> None:
    makers: list[Any] = [
        lambda: DualRoute(timeout=timeout),
        lambda: Route("/x", lambda request: Response(), timeout=timeout),
        lambda: Mount("/x", routes=[], timeout=timeout),
        lambda: Host("x.example", Router(), timeout=timeout),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="timeout is a positive number of seconds, or None, not"):
            make()


def test_a_wsgi_app_is_told_that_it_may_be_called_from_several_threads(serve: Serve) -> None:
    def told(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("content-type", "text/plain")])
        return [str(environ["wsgi.multithread"]).encode()]

    app = DualRoute([Mount("/app", app=told)], timeout=LONG)
    assert serve(app, extra={"wsgi.multithread": False}).get("/app/").text == "True"


def test_one_thread_is_enough_for_the_middleware_of_both_kinds(serve: Serve) -> None:
    app = DualRoute(
        ECHOES, middleware=[WSGIMiddleware(lambda app: app), *AROUND["in a dispatch"]], timeout=LONG, max_threads=1
    )
    client = serve(app)
    assert [client.post(path, content=b"x").text for path in ECHO_PATHS] == ["x"] * len(ECHO_PATHS)


@pytest.mark.protocol("asgi")  # under WSGI it is the server's thread that waits, and the server that gives it up
@pytest.mark.parametrize("colour", ["plain", "async"])
def test_a_handler_that_waits_for_a_body_is_given_up(
    protocol: str, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    routes = [
        Route("/plain", ECHOES[0].endpoint, methods=["POST"]),
        Route("/async", ECHOES[1].endpoint, methods=["POST"]),
    ]
    app = DualRoute(routes, timeout=SHORT)

    async def converse() -> list[Any]:
        coming: list[Any] = [{"type": "http.request", "body": b"begun", "more_body": True}]
        sent: list[Any] = []

        async def receive() -> Any:
            if coming:
                return coming.pop()
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": f"/{colour}",
            "headers": [(b"host", b"testserver"), (b"content-length", b"10")],
            "query_string": b"",
        }
        await asyncio.wait_for(app.asgi(scope, receive, send), LONG)
        return sent

    assert asyncio.run(converse())[0]["status"] == 503
    (message,) = logged(caplog, logging.WARNING)
    assert "it was given up" in message
