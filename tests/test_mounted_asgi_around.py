"""What stands around mounted ASGI applications: middleware, exception handlers, limits, context variables.

Each test of behaviour runs in all the ways that lead into an application: see `tests.mounted_asgi_helper`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from dualroute import (
    DualRoute,
    HTTPException,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    SyncRequest,
)
from dualroute.background import BackgroundTask
from dualroute.exceptions import ClientDisconnect
from dualroute.limits import Limits
from dualroute_asgi.mounted import ASGIApp
from tests.conftest import Serve
from tests.garbage import garbage_of
from tests.mounted_asgi_helper import (
    TIMEOUT,
    WAYS,
    Gate,
    Receive,
    Recorder,
    Send,
    Upload,
    Way,
    answering,
    end,
    errors,
    more,
    read,
    reports,
    respond,
    start,
    transparent,
)
from tests.transports import EventLoopThread


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, event_loop_thread: EventLoopThread) -> Iterator[Way]:
    made = Way(request.param, event_loop_thread)
    yield made
    made.close()


# What stands around it


def marks(name: str) -> Any:
    def middleware(connection: Any) -> Generator[Any, Any, Any]:
        response = yield connection
        response.headers.append("x-around", name)
        return response

    return middleware


def test_middleware_of_app_and_mount_are_around_it(serve: Serve) -> None:
    typed = answering(b"x", headers=[(b"content-type", b"text/x")])
    app = DualRoute([Mount("/m", app=typed, middleware=[marks("mount")])], middleware=[marks("app")])
    response = serve(app).get("/m/")
    assert (response.headers["x-around"], response.content) == ("mount, app", b"x")


def test_middleware_may_answer_early(way: Way) -> None:
    seen = Recorder()

    def refuses(connection: Any) -> Generator[Any, Any, Any]:
        return PlainTextResponse("refused", 403)
        yield

    answer = way.ask(way.app(seen, middleware=[refuses]))
    assert (answer.status, answer.body, seen.scopes) == (403, b"refused", [])


def test_middleware_sees_what_the_application_raises(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        raise LookupError("here")

    def catches(connection: Any) -> Generator[Any, Any, Any]:
        try:
            return (yield connection)
        except LookupError as error:
            return PlainTextResponse(f"caught {error}")

    assert way.ask(way.app(application, middleware=[catches])).body == b"caught here"
    assert reports(caplog) == []


def test_middleware_that_replaces_a_streamed_response_ends_the_application(way: Way) -> None:
    ended = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, b"one")
        try:
            await asyncio.Event().wait()
        finally:
            ended.open()

    def replaces(connection: Any) -> Generator[Any, Any, Any]:
        yield connection
        return PlainTextResponse("replaced")

    assert way.ask(way.app(application, middleware=[replaces])).body == b"replaced"
    assert ended.is_open(), "when the request is over, so is the application"


def test_middleware_that_fails_after_the_application_has_begun_ends_it(way: Way) -> None:
    ended = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, b"one")
        try:
            await asyncio.Event().wait()
        finally:
            ended.open()

    def fails(connection: Any) -> Generator[Any, Any, Any]:
        yield connection
        raise LookupError

    assert way.ask(way.app(application, middleware=[fails])).status == 500
    assert ended.is_open()


def handled(request: Any, error: Exception) -> Response:
    return PlainTextResponse(f"handled {type(error).__name__}", 418)


async def handled_async(request: Any, error: Exception) -> Response:
    return handled(request, error)


@pytest.mark.parametrize("handler", [handled, handled_async])
def test_an_exception_handler_answers_what_the_application_raises(way: Way, handler: Any) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        raise LookupError

    answer = way.ask(way.app(application, exception_handlers={LookupError: handler}))
    assert (answer.status, answer.body) == (418, b"handled LookupError")


def test_an_exception_that_nobody_handles_is_a_500_with_one_log_line(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        raise LookupError("here")

    assert way.ask(way.app(application)).status == 500
    assert reports(caplog) == ["unhandled exception in GET /m/"]
    assert "LookupError: here" in caplog.text


def test_an_http_exception_that_the_application_raises_is_its_answer(way: Way) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        raise HTTPException(409, "taken")

    answer = way.ask(way.app(application))
    assert (answer.status, answer.body) == (409, b"taken")


def test_an_exception_handler_that_reads_the_body_does_not_wait_for_what_the_application_has_read(way: Way) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await read(receive)
        raise LookupError

    async def handler(request: Request, error: Exception) -> Response:
        try:
            return PlainTextResponse(await asyncio.wait_for(request.body(), TIMEOUT))
        except TimeoutError:
            return PlainTextResponse("waited in vain")
        except RuntimeError:
            return PlainTextResponse("read before")

    app = way.app(application, exception_handlers={LookupError: handler})
    assert way.ask(app, "POST", upload=Upload([b"abc"])).body == b"read before"


def test_error_answers_stand_though_there_is_a_handler_for_their_status(way: Way) -> None:
    app = way.app(answering(b"its own", status=404), exception_handlers={404: handled})
    answer = way.ask(app)
    assert (answer.status, answer.body) == (404, b"its own")


@pytest.mark.parametrize(("pieces", "ends"), [((b"its own",), 0), ((b"its ", b"own"), 0), ((b"its own",), 1)])
def test_intercepted_error_answers_are_the_handler_s(way: Way, pieces: tuple[bytes, ...], ends: int) -> None:
    ended = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        try:
            await answering(*pieces, status=404)(scope, receive, send)
            await asyncio.sleep(0)
        finally:
            ended.open()

    app = way.app(ASGIApp(application, intercept_errors=True, lifespan=False), exception_handlers={404: handled})
    answer = way.ask(app)
    assert (answer.status, answer.body) == (418, b"handled AppAnswered")
    assert ended.reached()


@pytest.mark.parametrize("status", [200, 302, 399, 400, 404, 503])
def test_intercepted_answers_stand_where_nobody_handles_their_status(way: Way, status: int) -> None:
    app = way.app(ASGIApp(answering(b"its ", b"own", status=status, headers=[(b"x-a", b"1")]), intercept_errors=True))
    answer = way.ask(app)
    assert (answer.status, answer.body, answer.headers) == (status, b"its own", [("x-a", "1")])


@pytest.mark.parametrize(("status", "answered"), [(399, 399), (400, 418), (599, 418)])
def test_only_error_answers_are_intercepted(way: Way, status: int, answered: int) -> None:
    mounted = ASGIApp(answering(b"x", status=status), intercept_errors=True, lifespan=False)
    assert way.ask(way.app(mounted, exception_handlers={status: handled})).status == answered


def test_a_background_task_of_middleware_runs_after_the_response(way: Way) -> None:
    done: list[str] = []
    release = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, b"one")
        await release.wait()
        await end(send, b"two")

    def adds(connection: Any) -> Generator[Any, Any, Any]:
        response = yield connection
        response.background = BackgroundTask(done.append, "task")
        return response

    conversation = way.open(way.app(application, middleware=[adds]))
    assert (conversation.piece(), done) == (b"one", [])
    release.open()
    assert (conversation.finish().body, done) == (b"onetwo", ["task"])


variable: ContextVar[str] = ContextVar("variable", default="unbound")


def test_context_variables_reach_the_application_and_its_own_reach_middleware(way: Way) -> None:
    seen: list[str] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        seen.append(variable.get())
        variable.set("by the application")
        await start(send)
        await more(send, b"one")
        seen.append(variable.get())
        await end(send)

    def binds(connection: Any) -> Generator[Any, Any, Any]:
        variable.set("by the middleware")
        response = yield connection
        seen.append(variable.get())
        return response

    assert way.ask(way.app(application, middleware=[binds])).status == 200
    assert sorted(seen) == ["by the application", "by the application", "by the middleware"]
    assert seen[0] == "by the middleware"
    assert variable.get() == "unbound"


def test_what_the_application_binds_is_not_there_for_the_next_request(way: Way) -> None:
    seen: list[str] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        seen.append(variable.get())
        variable.set("by the application")
        await respond(send)

    app = way.app(application)
    way.ask(app)
    way.ask(app)
    assert seen == ["unbound", "unbound"]


# Limits


@pytest.mark.parametrize("swallow", [False, True])
@pytest.mark.parametrize(
    "upload",
    [
        Upload([b"12345678", b"9"]),
        Upload([b"12345678", b"9"], chunked=True),
        Upload([b"12345678", b"9"], chunked=True, announced=1),
    ],
    ids=["length", "chunked", "understated"],
)
def test_a_body_beyond_the_limit_is_413(
    way: Way, upload: Upload, swallow: bool, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[bytes] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        try:
            while (message := await receive()).get("more_body"):
                received.append(message["body"])
        except Exception:
            if not swallow:
                raise
        await respond(send, b"taken")

    answer = way.ask(way.app(application, limits=Limits(max_body_size=8)), "POST", upload=upload)
    assert answer.status == 413
    assert sum(len(piece) for piece in received) <= 8
    assert errors(caplog) == []


def test_a_body_within_the_limit_is_taken(way: Way) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await respond(send, await read(receive) or b"")

    app = way.app(application, limits=Limits(max_body_size=8))
    assert way.ask(app, "POST", upload=Upload([b"1234", b"5678"])).body == b"12345678"
    assert way.ask(app, "POST", upload=Upload([b"1234", b"5678"], chunked=True)).body == b"12345678"


def test_a_body_announced_beyond_the_limit_is_413_before_the_application_is_called(way: Way) -> None:
    seen = Recorder()
    app = way.app(seen, limits=Limits(max_body_size=8))
    assert way.ask(app, "POST", upload=Upload([b"123456789"])).status == 413
    assert seen.scopes == []


def test_the_limit_of_a_mount_is_for_the_application_inside(way: Way) -> None:
    seen = Recorder()
    app = way.around([Mount("/m", app=seen, limits=Limits(max_body_size=1)), Mount("/n", app=seen)])
    assert way.ask(app, "POST", "/m/", upload=Upload([b"12"])).status == 413
    assert way.ask(app, "POST", "/n/", upload=Upload([b"12"])).status == 200


# Bodies cut short


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("gives_up", [False, True])
def test_a_body_cut_short_is_a_disconnect(
    way: Way, chunked: bool, gives_up: bool, caplog: pytest.LogCaptureFixture
) -> None:
    types: list[str] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        for _ in range(10):
            message = await receive()
            types.append(message["type"])
            if message["type"] == "http.disconnect":
                break
            assert message["more_body"]
        if gives_up:
            raise LookupError("as frameworks do, each by a class of its own")
        await respond(send)

    answer = way.ask(way.app(application), "POST", upload=Upload([b"abc"], chunked=chunked, cut=True))
    assert types == ["http.request", "http.disconnect"]
    assert answer.status == (400 if gives_up else 200)
    assert errors(caplog) == []


def test_an_exception_handler_is_told_of_a_body_cut_short(way: Way) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        assert await read(receive) is None
        raise LookupError

    app = way.app(application, exception_handlers={ClientDisconnect: handled})
    answer = way.ask(app, "POST", upload=Upload([b"abc"], cut=True))
    assert answer.body == b"handled ClientDisconnect"


# Memory


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", ["short", "stream", "fails", "returns nothing", "fails half-way"])
def test_a_request_leaves_no_cycle(
    serve: Serve,
    kind: str,
    wrapped: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await read(receive)
        if kind == "fails":
            raise ValueError("failed")
        if kind == "returns nothing":
            return
        await start(send, headers=[(b"content-type", b"text/x")])
        if kind != "short":
            await more(send, b"one")
            await asyncio.sleep(0)
        if kind == "fails half-way":
            raise ValueError("failed")
        await end(send, b"two")

    def hello(request: SyncRequest) -> Response:
        return PlainTextResponse("hello")

    middleware = [transparent] if wrapped else []
    mounted = ASGIApp(application, lifespan=False)
    client = serve(DualRoute([Mount("/m", app=mounted), Route("/hello", hello)], middleware=middleware))

    def get(url: str) -> None:
        try:
            client.get(url)
        except ConnectionResetError:
            assert kind == "fails half-way"

    caplog.set_level(100)  # a log record would keep the traceback
    # httpx and the transports leave some; a request to a plain handler shows how much.
    assert garbage_of(lambda: get("/m/"), 20) < garbage_of(lambda: get("/hello"), 20) + 20
