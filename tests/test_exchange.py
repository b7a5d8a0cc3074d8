"""The exchange: middleware, exception handlers and clean-up around an endpoint, the same in both colours."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest

from dualroute import (
    Call,
    ClientDisconnect,
    DualRoute,
    HTTPException,
    JSONResponse,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    StreamingResponse,
    SyncRequest,
)
from dualroute.connection import HTTPConnection
from dualroute.exchange import Plan, exchange
from tests.conftest import Serve
from tests.transports import EventLoopThread

Steps = Generator[Any, Any, Any]
HERE = __name__


def plain(request: SyncRequest) -> Response:
    return PlainTextResponse("plain")


async def asynchronous(request: Request) -> Response:
    return PlainTextResponse("async")


def raises(error: BaseException | type[BaseException]) -> Callable[[SyncRequest], Response]:
    def endpoint(request: SyncRequest) -> Response:
        raise error

    return endpoint


def async_raises(error: BaseException | type[BaseException]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        raise error

    return endpoint


def app_with(endpoint: Any, *middleware: Any, **options: Any) -> DualRoute:
    return DualRoute([Route("/", endpoint)], middleware=middleware, **options)


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[type[BaseException]]:
    """Return the exceptions that were logged with their tracebacks."""
    found = []
    for record in caplog.records:
        if record.exc_info:
            assert record.name == "dualroute"
            assert record.levelno == logging.ERROR
            error = record.exc_info[1]
            assert error is not None
            assert error.__traceback__ is not None
            found.append(type(error))
    return found


COLOURS = pytest.mark.parametrize("failing", [raises, async_raises], ids=["def", "async def"])


# Middleware


def test_middleware_runs_outermost_first_on_the_way_in_and_last_on_the_way_out(serve: Serve) -> None:
    events: list[str] = []

    def noting(name: str) -> Callable[[HTTPConnection], Steps]:
        def middleware(connection: HTTPConnection) -> Steps:
            events.append(f"{name} in")
            response = yield connection
            events.append(f"{name} out")
            return response

        return middleware

    def endpoint(request: SyncRequest) -> Response:
        events.append("endpoint")
        return PlainTextResponse("x")

    serve(app_with(endpoint, noting("a"), noting("b"), noting("c"))).get("/")
    assert events == ["a in", "b in", "c in", "endpoint", "c out", "b out", "a out"]


@pytest.mark.parametrize("endpoint", [plain, asynchronous])
def test_middleware_may_change_or_replace_the_response(serve: Serve, endpoint: Any) -> None:
    def changes(connection: HTTPConnection) -> Steps:
        response = yield connection
        response.headers["x-seen"] = response.body.decode()
        return response

    def replaces(connection: HTTPConnection) -> Steps:
        response = yield connection
        return PlainTextResponse(f"replaced {response.body.decode()}", status_code=203)

    response = serve(app_with(endpoint, replaces, changes)).get("/")
    assert (response.status_code, response.text) == (203, f"replaced {endpoint.__name__.removesuffix('hronous')}")


def test_returning_before_the_yield_answers_early(serve: Serve) -> None:
    def early(connection: HTTPConnection) -> Steps:
        if connection.headers.get("x-early"):
            return PlainTextResponse("early", status_code=203)
        return (yield connection)

    def inner(connection: HTTPConnection) -> Steps:
        response = yield connection
        response.headers["x-inner"] = "1"
        return response

    client = serve(app_with(plain, early, inner))
    response = client.get("/", headers={"x-early": "1"})
    assert (response.status_code, response.text, "x-inner" in response.headers) == (203, "early", False)
    response = client.get("/")
    assert (response.text, response.headers["x-inner"]) == ("plain", "1")


@COLOURS
def test_an_exception_is_seen_at_the_yield(serve: Serve, failing: Any, caplog: pytest.LogCaptureFixture) -> None:
    def catches(connection: HTTPConnection) -> Steps:
        try:
            return (yield connection)
        except ZeroDivisionError as error:
            return PlainTextResponse(f"caught {error}", status_code=422)

    response = serve(app_with(failing(ZeroDivisionError("it")), catches)).get("/")
    assert (response.status_code, response.text) == (422, "caught it")
    assert tracebacks(caplog) == []


def test_an_exception_with_a_handler_is_a_response_at_the_yield(serve: Serve) -> None:
    def sees(connection: HTTPConnection) -> Steps:
        response = yield connection
        response.headers["x-status"] = str(response.status_code)
        return response

    app = app_with(
        raises(LookupError),
        sees,
        exception_handlers={LookupError: lambda request, error: Response(status_code=404, media_type="text/plain")},
    )
    assert serve(app).get("/").headers["x-status"] == "404"
    assert serve(app_with(raises(HTTPException(410)), sees)).get("/").headers["x-status"] == "410"
    assert serve(DualRoute(middleware=[sees])).get("/none").headers["x-status"] == "404"


def test_middleware_does_io_in_either_colour_by_a_call(serve: Serve) -> None:
    def load(token: str) -> str:
        return f"{token} by def in {threading.current_thread().name}"

    async def async_load(token: str) -> str:
        await asyncio.sleep(0)
        return f"{token} by async def"

    class Loader:
        async def __call__(self, token: str) -> str:
            return f"{token} by instance"

    def loads(connection: HTTPConnection) -> Steps:
        first = yield Call(load, "a")
        second = yield Call(async_load, "b")
        third = yield Call(Loader(), "c")
        response = yield connection
        after = yield Call(async_load, "d")
        response.headers["x-loaded"] = ", ".join([first.partition(" in")[0], second, third, after])
        return response

    for endpoint in (plain, asynchronous):
        response = serve(app_with(endpoint, loads)).get("/")
        assert response.headers["x-loaded"] == "a by def, b by async def, c by instance, d by async def"


def test_what_a_call_raises_comes_out_of_its_yield(serve: Serve) -> None:
    def fails() -> None:
        raise KeyError("plain")

    async def async_fails() -> None:
        raise KeyError("async")

    def catches(connection: HTTPConnection) -> Steps:
        caught = []
        for function in (fails, async_fails):
            try:
                yield Call(function)
            except KeyError as error:
                caught.append(error.args[0])
        response = yield connection
        response.headers["x-caught"] = ",".join(caught)
        return response

    assert serve(app_with(plain, catches)).get("/").headers["x-caught"] == "plain,async"


def test_middleware_may_ask_the_inside_again(serve: Serve) -> None:
    attempts: list[int] = []

    async def flaky(request: Request) -> Response:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("not yet")
        return PlainTextResponse("at last")

    def retries(connection: HTTPConnection) -> Steps:
        for _ in range(5):
            try:
                return (yield connection)
            except ConnectionError:
                continue
        raise AssertionError

    assert serve(app_with(flaky, retries)).get("/").text == "at last"
    assert len(attempts) == 3


def test_middleware_knows_the_route_and_shares_the_state(serve: Serve) -> None:
    def fills(connection: HTTPConnection) -> Steps:
        connection.state.user = "ann"
        response = yield connection
        response.headers["x-route"] = connection.route.name
        response.headers["x-params"] = repr(connection.path_params)
        response.headers["x-back"] = connection.state.back
        return response

    def endpoint(request: SyncRequest) -> Response:
        request.state.back = "b"
        return PlainTextResponse(request.state.user)

    app = DualRoute([Route("/{id:int}", endpoint, name="it")], middleware=[fills])
    response = serve(app).get("/5")
    assert response.text == "ann"
    assert (response.headers["x-route"], response.headers["x-params"], response.headers["x-back"]) == (
        "it",
        "{'id': 5}",
        "b",
    )


def test_an_httpexception_in_middleware_passes_the_outer_middleware_as_a_response(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    def outer(connection: HTTPConnection) -> Steps:
        response = yield connection
        seen.append(response.status_code)
        return response

    def before(connection: HTTPConnection) -> Steps:
        raise HTTPException(401, "no entry", {"www-authenticate": "Basic"})
        yield connection

    def after(connection: HTTPConnection) -> Steps:
        yield connection
        raise HTTPException(402)

    response = serve(app_with(plain, outer, before)).get("/")
    assert (response.status_code, response.text, response.headers["www-authenticate"]) == (401, "no entry", "Basic")
    assert serve(app_with(plain, outer, after)).get("/").status_code == 402
    assert seen == [401, 402]
    assert tracebacks(caplog) == []


# Mistakes in middleware and endpoints, named in the log


def returns_nothing(connection: HTTPConnection) -> Steps:
    yield connection


def returns_text(connection: HTTPConnection) -> Steps:
    yield connection
    return "text"


def no_generator(connection: HTTPConnection) -> Any:
    return PlainTextResponse("x")


async def coroutine_middleware(connection: HTTPConnection) -> Any:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("middleware", "message"),
    [
        (returns_nothing, f"middleware {HERE}.returns_nothing returned None; it must return a Response"),
        (returns_text, f"middleware {HERE}.returns_text returned a str; it must return a Response"),
        (
            no_generator,
            f"middleware {HERE}.no_generator returned a PlainTextResponse; it must be a generator function",
        ),
    ],
)
def test_a_wrong_middleware_is_named_in_the_log(
    serve: Serve, middleware: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = serve(app_with(plain, middleware)).get("/")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert tracebacks(caplog) == [TypeError]
    assert message in caplog.text


def test_a_coroutine_function_as_middleware_is_refused_before_a_request_meets_it() -> None:
    with pytest.raises(TypeError, match="coroutine_middleware"):
        app_with(plain, coroutine_middleware)


def returns_int(request: SyncRequest) -> Any:
    return 3


async def async_returns_none(request: Request) -> Any:
    return None


def returns_dict(request: SyncRequest) -> Any:
    return {"a": 1}


@pytest.mark.parametrize(
    ("endpoint", "returned"), [(returns_int, "a int"), (async_returns_none, "None"), (returns_dict, "a dict")]
)
def test_a_wrong_return_value_of_an_endpoint_is_named_in_the_log(
    serve: Serve, endpoint: Any, returned: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert serve(app_with(endpoint)).get("/").status_code == 500
    assert f"{HERE}.{endpoint.__name__} returned {returned}; an endpoint must return a Response" in caplog.text
    assert tracebacks(caplog) == [TypeError]


def test_a_wrong_return_value_of_an_exception_handler_is_named_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(request: Any, error: Exception) -> Any:
        return "text"

    assert serve(app_with(raises(LookupError), exception_handlers={LookupError: handler})).get("/").status_code == 500
    assert "handler returned a str; an endpoint must return a Response" in caplog.text


# Exception handlers


class Base(Exception):
    pass


class Middle(Base):
    pass


class Leaf(Middle):
    pass


def answering(name: str) -> Callable[[Any, Exception], Response]:
    def handler(request: Any, error: Exception) -> Response:
        return PlainTextResponse(f"{name} {type(request).__name__} {type(error).__name__}", status_code=418)

    return handler


def async_answering(name: str) -> Callable[[Any, Exception], Awaitable[Response]]:
    async def handler(request: Any, error: Exception) -> Response:
        return answering(name)(request, error)

    return handler


@COLOURS
@pytest.mark.parametrize(("make", "kind"), [(answering, "SyncRequest"), (async_answering, "Request")])
def test_an_exception_handler_is_called_in_its_own_colour(
    serve: Serve, failing: Any, make: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = serve(app_with(failing(Leaf), exception_handlers={Leaf: make("leaf")})).get("/")
    assert (response.status_code, response.text) == (418, f"leaf {kind} Leaf")
    assert tracebacks(caplog) == []


@pytest.mark.parametrize(
    ("error", "answer"),
    [(Leaf, "middle"), (Middle, "middle"), (Base, "base"), (KeyError, "lookup"), (IndexError, "lookup")],
)
def test_the_nearest_class_in_the_mro_has_the_handler(serve: Serve, error: type[Exception], answer: str) -> None:
    handlers: dict[Any, Any] = {
        Exception: answering("rim"),
        Base: answering("base"),
        Middle: answering("middle"),
        LookupError: answering("lookup"),
    }
    assert serve(app_with(raises(error), exception_handlers=handlers)).get("/").text.startswith(f"{answer} ")


def test_a_status_comes_before_a_class_and_a_class_before_the_default(serve: Serve) -> None:
    class Teapot(HTTPException):
        pass

    handlers: dict[Any, Any] = {404: answering("404"), HTTPException: answering("class"), Teapot: answering("teapot")}
    app = DualRoute(
        [
            Route("/403", raises(HTTPException(403))),
            Route("/404", raises(Teapot(404))),
            Route("/410", raises(Teapot(410))),
        ],
        exception_handlers=handlers,
    )
    client = serve(app)
    assert client.get("/403").text.startswith("class ")
    assert client.get("/404").text.startswith("404 ")
    assert client.get("/410").text.startswith("teapot ")
    assert client.get("/none").text == "404 SyncRequest HTTPException"
    assert client.post("/403").text == "class SyncRequest HTTPException"


def test_exception_handlers_can_be_declared_by_decorator_and_method(serve: Serve) -> None:
    app = DualRoute([Route("/", raises(Leaf))])

    @app.exception_handler(404)
    async def not_found(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"path": request.path, "detail": error.detail}, status_code=error.status_code)

    app.add_exception_handler(Base, answering("base"))
    client = serve(app)
    assert client.get("/none").json() == {"path": "/none", "detail": "Not Found"}
    assert client.get("/").text.startswith("base ")
    assert callable(not_found)


def test_the_answer_to_an_httpexception_has_its_detail_and_headers(serve: Serve) -> None:
    app = DualRoute(
        [
            Route("/phrase", raises(HTTPException(404))),
            Route("/detail", raises(HTTPException(400, "because", {"x-why": "so"}))),
            Route("/odd", raises(HTTPException(499))),
            Route("/empty", raises(HTTPException(204))),
            Route("/not-modified", raises(HTTPException(304, headers={"etag": '"x"'}))),
        ]
    )
    client = serve(app)
    assert client.get("/phrase").text == "Not Found"
    response = client.get("/detail")
    assert (response.status_code, response.text, response.headers["x-why"]) == (400, "because", "so")
    assert (client.get("/odd").status_code, client.get("/odd").text) == (499, "Status 499")
    assert (client.get("/empty").status_code, client.get("/empty").content) == (204, b"")
    assert client.get("/not-modified").headers["etag"] == '"x"'
    assert str(HTTPException(404)) == "404: Not Found"
    assert repr(HTTPException(404)) == "HTTPException(status_code=404, detail='Not Found')"


def test_a_handler_may_raise_another_exception_that_has_a_handler(serve: Serve) -> None:
    def refuses(request: Any, error: Exception) -> Response:
        raise HTTPException(404, "from the handler") from error

    handlers: dict[Any, Any] = {LookupError: refuses, 404: answering("404")}
    assert (
        serve(app_with(raises(KeyError), exception_handlers=handlers)).get("/").text == "404 SyncRequest HTTPException"
    )
    response = serve(app_with(raises(KeyError), exception_handlers={LookupError: refuses})).get("/")
    assert (response.status_code, response.text) == (404, "from the handler")


def test_a_handler_that_fails_itself_is_not_asked_twice(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[Exception] = []

    def failing_handler(request: Any, error: Exception) -> Response:
        asked.append(error)
        raise KeyError("again")

    def passes_on(connection: HTTPConnection) -> Steps:
        return (yield connection)

    app = app_with(raises(KeyError("first")), passes_on, passes_on, exception_handlers={KeyError: failing_handler})
    assert serve(app).get("/").status_code == 500
    assert [error.args for error in asked] == [("first",)]
    assert tracebacks(caplog) == [KeyError]


def test_the_next_request_asks_the_handler_again(serve: Serve) -> None:
    client = serve(app_with(raises(Leaf), exception_handlers={Leaf: answering("leaf")}))
    assert [client.get("/").status_code for _ in range(3)] == [418, 418, 418]


def test_a_handled_error_clears_the_way_for_the_next(serve: Serve) -> None:
    # One error is handled inside, a middleware then raises another: its handler is asked in turn.
    def fails_after(connection: HTTPConnection) -> Steps:
        yield connection
        raise LookupError("outer")

    app = app_with(
        raises(Leaf), fails_after, exception_handlers={Leaf: answering("leaf"), LookupError: answering("outer")}
    )
    assert serve(app).get("/").text == "outer SyncRequest LookupError"


# What nobody handles


@COLOURS
def test_an_unhandled_error_is_logged_once_with_its_traceback_and_answered_without(
    serve: Serve, failing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def passes_on(connection: HTTPConnection) -> Steps:
        return (yield connection)

    response = serve(app_with(failing(Leaf("the secret")), passes_on, passes_on)).get("/?q=1")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert tracebacks(caplog) == [Leaf]
    assert "unhandled exception in GET /" in caplog.text
    assert "the secret" in caplog.text
    assert "in endpoint" in caplog.text


@pytest.mark.parametrize("key", [500, Exception])
@pytest.mark.parametrize("make", [answering, async_answering])
def test_a_handler_for_500_or_exception_answers_what_nobody_else_handles_and_the_error_is_logged(
    serve: Serve, key: Any, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def sees_the_exception(connection: HTTPConnection) -> Steps:
        try:
            return (yield connection)
        except Leaf:
            seen.append("exception")
            raise

    app = app_with(raises(Leaf), sees_the_exception, exception_handlers={key: make("rim")})
    response = serve(app).get("/")
    assert response.text == f"rim {'SyncRequest' if make is answering else 'Request'} Leaf"
    assert seen == ["exception"]
    assert tracebacks(caplog) == [Leaf]


def test_a_handler_for_exception_leaves_httpexceptions_alone(serve: Serve) -> None:
    client = serve(app_with(raises(HTTPException(403)), exception_handlers={Exception: answering("rim")}))
    assert (client.get("/").status_code, client.get("/none").status_code) == (403, 404)


def test_a_handler_for_500_takes_an_httpexception_of_that_status(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(app_with(raises(HTTPException(500)), exception_handlers={500: answering("500")}))
    assert client.get("/").text == "500 SyncRequest HTTPException"


def test_a_failing_500_handler_is_answered_and_both_errors_are_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(request: Any, error: Exception) -> Response:
        raise ZeroDivisionError

    response = serve(app_with(raises(Leaf), exception_handlers={Exception: fails})).get("/")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert tracebacks(caplog) == [Leaf, ZeroDivisionError]


def test_a_body_cut_short_is_400_and_no_traceback(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dualroute")
    response = serve(app_with(raises(ClientDisconnect))).get("/")
    assert response.status_code == 400
    assert tracebacks(caplog) == []
    assert "GET /: the request body was cut short" in caplog.text


def test_a_router_without_an_app_answers_errors_too(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    response = serve(Router([Route("/", raises(Leaf))])).get("/")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert tracebacks(caplog) == [Leaf]


def test_an_error_in_an_inner_app_may_be_answered_by_the_outer_rim(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    inner = DualRoute([Route("/", raises(Leaf))], exception_handlers={LookupError: answering("inner")})
    app = DualRoute([Mount("/m", inner)], exception_handlers={Exception: answering("outer")})
    assert serve(app).get("/m/").text == "outer SyncRequest Leaf"
    assert tracebacks(caplog) == [Leaf]


# Clean-up


class Trace:
    """A middleware that notes how it was left."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def named(self, name: str) -> Callable[[HTTPConnection], Steps]:
        def middleware(connection: HTTPConnection) -> Steps:
            self.events.append(f"{name} in")
            try:
                return (yield connection)
            except BaseException as error:
                self.events.append(f"{name} sees {type(error).__name__}")
                raise
            finally:
                self.events.append(f"{name} out")

        return middleware


def early(connection: HTTPConnection) -> Steps:
    return PlainTextResponse("early")
    yield connection


def fails_before(connection: HTTPConnection) -> Steps:
    raise Leaf
    yield connection


def fails_after(connection: HTTPConnection) -> Steps:
    yield connection
    raise Leaf


@pytest.mark.parametrize(
    ("endpoint", "innermost", "seen"),
    [
        (plain, None, ""),
        (asynchronous, None, ""),
        (raises(HTTPException(400)), None, ""),
        (raises(Leaf), None, "Leaf"),
        (async_raises(Leaf), None, "Leaf"),
        (returns_int, None, "TypeError"),
        (plain, early, ""),
        (plain, fails_before, "Leaf"),
        (plain, fails_after, "Leaf"),
        (plain, returns_nothing, "TypeError"),
        (plain, no_generator, "TypeError"),
    ],
)
def test_clean_up_runs_exactly_once_on_every_path(
    serve: Serve, endpoint: Any, innermost: Any, seen: str, caplog: pytest.LogCaptureFixture
) -> None:
    trace = Trace()
    layers = [trace.named("a"), trace.named("b"), *([innermost] if innermost else [])]
    serve(app_with(endpoint, *layers)).get("/")
    expected = ["a in", "b in"]
    for name in "ba":
        expected += [f"{name} sees {seen}"] if seen else []
        expected += [f"{name} out"]
    assert trace.events == expected


def begin(plan: Plan) -> tuple[Any, Call]:
    """Start an exchange by hand; return it with the first call that it asks for."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"h")], "scheme": "http"}
    running = exchange(plan, Request(scope))
    return running, running.send(None)


def endpoint_call(connection: Any) -> Call:
    return Call(plain, connection)


def test_an_exchange_that_is_closed_half_way_cleans_up_from_the_inside_out() -> None:
    trace = Trace()
    running, call = begin(Plan(endpoint_call, [trace.named("a"), trace.named("b")]))
    assert call.function is plain
    running.close()
    assert trace.events == ["a in", "b in", "b sees GeneratorExit", "b out", "a sees GeneratorExit", "a out"]
    running.close()
    assert len(trace.events) == 6


def test_a_layer_is_closed_with_its_exchange_though_others_hold_on_to_it() -> None:
    trace = Trace()
    held: list[Steps] = []

    def held_elsewhere(connection: HTTPConnection) -> Steps:
        layer = trace.named("a")(connection)
        held.append(layer)
        return layer

    running, _ = begin(Plan(endpoint_call, [held_elsewhere]))
    running.close()
    assert trace.events == ["a in", "a sees GeneratorExit", "a out"]


def test_an_exchange_that_is_closed_during_a_call_of_a_middleware_cleans_up_too() -> None:
    trace = Trace()

    def calls(connection: HTTPConnection) -> Steps:
        try:
            yield Call(plain, connection)
            raise AssertionError
        finally:
            trace.events.append("calls out")

    running, _ = begin(Plan(endpoint_call, [trace.named("a"), calls]))
    running.close()
    assert trace.events == ["a in", "calls out", "a sees GeneratorExit", "a out"]


@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_a_cancellation_passes_every_layer_and_no_handler(error: type[BaseException]) -> None:
    trace = Trace()
    handlers: dict[Any, Any] = {Exception: answering("rim"), 500: answering("500")}
    running, _ = begin(Plan(endpoint_call, [trace.named("a"), trace.named("b")], [handlers]))
    with pytest.raises(error):
        running.throw(error())
    assert trace.events == [
        "a in",
        "b in",
        f"b sees {error.__name__}",
        "b out",
        f"a sees {error.__name__}",
        "a out",
    ]


@pytest.mark.protocol("asgi")  # a WSGI server can't cancel
def test_cancelling_the_task_of_a_request_cleans_up_once(event_loop_thread: EventLoopThread) -> None:
    trace = Trace()
    sent: list[Any] = []

    async def scenario() -> None:
        arrived = asyncio.Event()

        async def waits(request: Request) -> Response:
            arrived.set()
            try:
                await asyncio.Event().wait()
            finally:
                trace.events.append("endpoint out")
            raise AssertionError

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"h")], "scheme": "http"}
        task = asyncio.ensure_future(app_with(waits, trace.named("a"), trace.named("b"))(scope, receive, send))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    event_loop_thread.run(scenario())
    assert trace.events == [
        "a in",
        "b in",
        "endpoint out",
        "b sees CancelledError",
        "b out",
        "a sees CancelledError",
        "a out",
    ]
    assert sent == []


def test_layers_are_done_before_a_stream_is_sent(serve: Serve) -> None:
    trace = Trace()

    def body() -> Generator[str, None, None]:
        trace.events.append("body")
        yield "x"

    def endpoint(request: SyncRequest) -> Response:
        return StreamingResponse(body(), media_type="text/plain")

    assert serve(app_with(endpoint, trace.named("a"))).get("/").text == "x"
    assert trace.events == ["a in", "a out", "body"]


# Call and the wider terms


def test_a_call_knows_its_colour() -> None:
    assert Call(plain, 1).is_async is False
    assert Call(asynchronous, 1).is_async is True
    assert re.fullmatch(r"Call\(<function plain at .*>, \*\(1,\)\)", repr(Call(plain, 1)))
