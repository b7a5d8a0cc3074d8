"""What stands around a mounted WSGI app: middleware, exception handlers, background tasks, contexts; no cycles."""

from __future__ import annotations

import contextvars
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from dualroute import (
    BackgroundTask,
    DualRoute,
    Host,
    HTTPException,
    JSONResponse,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    SyncRequest,
    WSGIApp,
)
from tests.conftest import Serve
from tests.garbage import garbage_of
from tests.mounted_wsgi_helper import (
    TEXT,
    Ask,
    Body,
    Environ,
    answering,
    ask_fixture,
    logged,
    records,
)

__all__ = ["ask_fixture"]

# What stands around it


def test_middleware_sees_and_changes_the_response(ask: Ask) -> None:
    seen: list[tuple[int, str | None]] = []

    def mark(connection: Any) -> Any:
        response = yield connection
        seen.append((response.status_code, response.headers.get("x-a")))
        response.headers["x-mark"] = connection.path
        return response

    for result in ([b"x"], lambda: iter([b"x"])):
        app = DualRoute([Mount("/old", app=answering(result, "201 Made", [*TEXT, ("X-A", "1")]))], middleware=[mark])
        answer = ask(app, path="/old/x")
        assert (answer.status, answer.body, answer.header("x-mark")) == (201, b"x", "/old/x")
    assert seen == [(201, "1")] * 2


@pytest.mark.parametrize("pieces", [[], [b"x"], [b"x", b"y"]])
def test_what_is_iterated_over_is_a_stream_to_middleware_however_soon_it_ended(ask: Ask, pieces: list[bytes]) -> None:
    # Or whether it is compressed, and what by, would go by how quick a thread was.
    streamed: list[bool] = []

    def note(connection: Any) -> Any:
        response = yield connection
        streamed.append(response.body_iterator is not None)
        return response

    app = DualRoute(fallback=answering(lambda: iter(pieces), "200 OK", TEXT), middleware=[note])
    for _ in range(20):
        assert ask(app).body == b"".join(pieces)
    assert streamed == [True] * 20


@pytest.mark.protocol("wsgi")  # ASGI has no reason phrases
def test_a_status_that_middleware_changed_has_its_own_reason(ask: Ask) -> None:
    def change(connection: Any) -> Any:
        response = yield connection
        response.status_code = 404
        return response

    answer = ask(DualRoute(fallback=answering([b"x"], "200 Fine"), middleware=[change]))
    assert (answer.status, answer.reason) == (404, "Not Found")


def test_middleware_may_answer_without_the_app(ask: Ask) -> None:
    called: list[Environ] = []

    def refuse(connection: Any) -> Generator[Any, Any, Response]:
        return PlainTextResponse("no", status_code=403)
        yield connection

    app = DualRoute([Mount("/old", app=lambda environ, start_response: called.append(environ), middleware=[refuse])])
    answer = ask(app, path="/old/x")
    assert (answer.status, answer.body, called) == (403, b"no", [])


def failing(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", TEXT)
    raise LookupError("failed")


def failing_at_once(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", TEXT)
    raise LookupError("failed")
    yield b""


@pytest.mark.parametrize("app", [failing, failing_at_once])
@pytest.mark.parametrize("colour", ["def", "async def"])
def test_an_exception_of_the_app_is_for_the_exception_handlers(ask: Ask, app: Any, colour: str) -> None:
    def handle(request: SyncRequest, error: Exception) -> Response:
        return PlainTextResponse(f"{request.path}: {error}", status_code=404)

    async def handle_async(request: Request, error: Exception) -> Response:
        return PlainTextResponse(f"{request.path}: {error}", status_code=404)

    handlers: Any = {LookupError: handle if colour == "def" else handle_async}
    answer = ask(DualRoute([Mount("/old", app=app)], exception_handlers=handlers), path="/old/x")
    assert (answer.status, answer.body) == (404, b"/old/x: failed")


@pytest.mark.parametrize("app", [failing, failing_at_once])
def test_an_exception_of_the_app_passes_through_middleware(
    ask: Ask, app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def look(connection: Any) -> Any:
        try:
            return (yield connection)
        except LookupError as error:
            seen.append(str(error))
            raise

    assert ask(DualRoute(fallback=app, middleware=[look])).status == 500
    assert seen == ["failed"]
    assert "LookupError" in logged(caplog)


@pytest.mark.parametrize("error", [StopIteration(), RuntimeError("x"), KeyError("x")])
def test_an_exception_that_nobody_handles_is_a_500(
    ask: Ask, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: Environ, start_response: Any) -> Any:
        raise error

    answer = ask(DualRoute(fallback=app))
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert len(records(caplog)) == 1


def test_an_http_exception_of_the_app_is_answered(ask: Ask) -> None:
    def app(environ: Environ, start_response: Any) -> Any:
        raise HTTPException(418)

    assert ask(DualRoute(fallback=app)).status == 418


def test_an_exception_after_the_response_has_started_is_logged_once_and_cuts_it(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    # BAD_INPUTS 30
    body = Body(b"one", LookupError("half-way"))
    answer = ask(DualRoute([Mount("/old", app=body.app())]), path="/old/x")
    assert (answer.status, answer.body, answer.cut) == (200, b"one", True)
    line = logged(caplog)
    assert "/old/x" in line
    assert "cut short" in line
    assert "half-way" in line
    body.assert_closed_once()


def not_found(request: SyncRequest, error: Exception) -> Response:
    return PlainTextResponse("our own 404", status_code=404)


@pytest.mark.parametrize("form", [list, iter])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("registered", [False, True])
def test_error_answers_are_the_app_s_own_unless_they_are_to_be_intercepted(
    ask: Ask, protocol: str, form: Any, intercept: bool, registered: bool
) -> None:
    legacy = answering(lambda: form([b"its ", b"own"]), "404 Gone Fishing", [*TEXT, ("x-a", "1")])
    app = DualRoute(
        [Mount("/old", app=WSGIApp(legacy, intercept_errors=intercept))],
        exception_handlers={404: not_found} if registered else {},
    )
    answer = ask(app, path="/old/x")
    if intercept and registered:
        assert (answer.status, answer.body, answer.header("x-a")) == (404, b"our own 404", None)
    else:
        assert (answer.status, answer.body, answer.header("x-a")) == (404, b"its own", "1")
        assert answer.reason == ("Gone Fishing" if protocol == "wsgi" else "")


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "399 Odd"])
def test_what_is_no_error_is_never_intercepted(ask: Ask, status: str) -> None:
    app = WSGIApp(answering([b"x"], status), intercept_errors=True)
    handlers: Any = {int(status[:3]): not_found}
    assert ask(DualRoute(fallback=app, exception_handlers=handlers)).body == b"x"


# Background tasks, context variables, memory


@pytest.mark.parametrize("form", ["list", "iterator"])
def test_background_tasks_run_after_the_body_was_closed(ask: Ask, form: str) -> None:
    body = Body(b"one", b"two")
    log: list[tuple[str, int, int]] = []

    def attach(connection: Any) -> Any:
        response = yield connection
        response.background = BackgroundTask(lambda: log.append(("task", body.closed, body.given)))
        return response

    app = body.app() if form == "iterator" else answering([b"onetwo"])
    assert ask(DualRoute(fallback=app, middleware=[attach])).body == b"onetwo"
    assert log == [("task", *((1, 2) if form == "iterator" else (0, 0)))]


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.mark.parametrize("form", ["list", "generator"])
def test_context_variables_go_in_and_come_out(ask: Ask, form: str) -> None:
    seen: list[str] = []

    def outer(connection: Any) -> Any:
        variable.set("outer")
        response = yield connection
        seen.append(variable.get())
        return response

    def call(environ: Environ, start_response: Any) -> Any:
        seen.append(variable.get())
        variable.set("app")
        start_response("200 OK", TEXT)
        return [b"x"]

    def generator(environ: Environ, start_response: Any) -> Any:
        seen.append(variable.get())
        variable.set("app")
        start_response("200 OK", TEXT)
        yield b"one"
        seen.append(variable.get())
        yield b"two"

    ask(DualRoute(fallback=call if form == "list" else generator, middleware=[outer]))
    assert seen[0] == "outer"
    assert seen[1:] == ["app"] * (len(seen) - 1)
    assert len(seen) == (2 if form == "list" else 3)
    assert variable.get() == "unset"


def test_apps_of_one_app_s_requests_share_nothing_by_context(ask: Ask) -> None:
    seen: list[str] = []

    def app(environ: Environ, start_response: Any) -> Any:
        seen.append(variable.get())
        variable.set("left behind")
        start_response("200 OK", TEXT)
        return [b"x"]

    served = DualRoute(fallback=app, max_threads=1)
    for _ in range(3):
        ask(served)
    assert seen == ["unset"] * 3


def in_the_call(environ: Environ, start_response: Any) -> Any:
    return [b"x"]


def reads_on(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", TEXT)
    yield b"one"
    yield environ["wsgi.input"].read()


def writes(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", TEXT)(b"one")
    return [b"two"]


def transparent(connection: Any) -> Generator[Any, Any, Response]:
    response: Response = yield connection
    return response


def broken(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", TEXT)
    yield b"one"
    raise LookupError("half-way")


class Class:
    """PEP 3333's own class pattern: what it returns holds start_response."""

    def __init__(self, environ: Environ, start_response: Any) -> None:
        self.environ = environ
        self.start_response = start_response

    def __iter__(self) -> Iterator[bytes]:
        self.start_response("200 OK", TEXT)
        yield b"one"
        yield b"two"


def test_a_class_whose_instances_are_the_response_is_an_app(ask: Ask) -> None:
    assert ask(DualRoute([Mount("/old", app=Class)]), path="/old/x").body == b"onetwo"


def cut_short(environ: Environ, start_response: Any) -> Any:
    environ["wsgi.input"].read()
    return [b""]


LEFT_BEHIND: dict[str, tuple[Any, dict[str, Any]]] = {
    "a list": (answering([b"x"]), {}),
    "a generator": (reads_on, {"body": [b"x" * 10]}),
    "a long response": (answering(lambda: iter([bytes(100_000)] * 30)), {}),
    "write": (writes, {}),
    "a class": (Class, {}),
    "an error": (failing, {}),
    "an error in a generator": (failing_at_once, {}),
    "an error half-way": (broken, {}),
    "a broken app": (in_the_call, {}),
    "a request cut short": (cut_short, {"method": "POST", "body": [b"x"], "announced": 9, "short": True}),
    "a client that left": (answering(lambda: iter([b"x"] * 10)), {"take": 2}),
    "an intercepted error": (WSGIApp(answering(lambda: iter([b"x"]), "404 No"), intercept_errors=True), {}),
}


@pytest.mark.parametrize("middleware", [(), (transparent,)], ids=["bare", "in-middleware"])
@pytest.mark.parametrize("what", LEFT_BEHIND)
def test_a_request_leaves_no_cycle(
    ask: Ask,
    what: str,
    middleware: tuple[Any, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    legacy, options = LEFT_BEHIND[what]
    app = DualRoute([Mount("/old", app=legacy)], middleware=middleware)
    plain = DualRoute(fallback=lambda request: PlainTextResponse("x"))
    caplog.set_level(100)  # a log record would keep the traceback
    requests = 50

    def garbage(app: Any, **options: Any) -> int:
        return garbage_of(lambda: ask(app, path="/old/x", validate=False, times=requests, **options), 1, 1)

    # An event loop leaves some when it ends; a request to a plain handler shows how much.
    # Now and then it is more, where a thread was late to let go.
    assert min(garbage(app, **options) for _ in range(3)) < garbage(plain) + 3 * requests


# Limits of what can be mounted


def test_what_is_served_on_a_host_has_all_of_this(serve: Serve) -> None:
    app = DualRoute([Host("old.example", app=answering([b"old"]))], fallback=lambda request: JSONResponse("new"))
    client = serve(app)
    assert client.get("http://old.example/x").content == b"old"
    assert client.get("http://new.example/x").json() == "new"


@pytest.mark.parametrize(("options", "error"), [({"buffer_size": 0}, ValueError), ({"max_threads": 0}, ValueError)])
def test_options_out_of_range_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        WSGIApp(answering([]), **options)


def test_what_is_no_wsgi_app_is_refused() -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None: ...

    for wrong, words in ((3, "not 3"), (asgi, "like an ASGI one"), (WSGIApp(answering([])), "the application itself")):
        with pytest.raises(TypeError, match=words):
            WSGIApp(wrong)  # type: ignore[arg-type]  # the mistakes
