"""BaseHTTPMiddleware: `dispatch` in either colour, around handlers of either colour."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from dualroute import (
    BackgroundTask,
    Call,
    DualRoute,
    Host,
    HTTPException,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    StreamingResponse,
    SyncRequest,
)
from dualroute.exceptions import ClientDisconnect
from dualroute.inspection import route_table
from dualroute.middleware import Middleware
from dualroute.middleware.base import BaseHTTPMiddleware
from dualroute.testclient import TestClient
from tests.around_helper import (
    ECHOES,
    Cancelled,
    Endless,
    FailsOnce,
    async_telling,
    errors,
    inner_variable,
    outer_variable,
    telling,
)
from tests.conftest import Serve
from tests.middleware_helper import PIECES, WHOLE, accepted, handshake, site


def colours(before: Callable[[Any], Any], after: Callable[[Any], Any] = lambda response: response) -> list[Any]:
    """Return two middleware that do the same, one for each colour of `dispatch`."""

    class Asynchronous(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            answer: Response | None = before(request)
            return after(await call_next(request)) if answer is None else answer

    class Plain(BaseHTTPMiddleware):
        def dispatch(self, request: SyncRequest, call_next: Any) -> Response:
            answer: Response | None = before(request)
            return after(call_next(request)) if answer is None else answer

    return [Middleware(Asynchronous), Middleware(Plain)]


def stamp(response: Response) -> Response:
    response.headers["x-stamp"] = "yes"
    return response


@pytest.fixture(params=[0, 1], ids=["async dispatch", "def dispatch"])
def colour(request: pytest.FixtureRequest) -> int:
    return int(request.param)


# The responses of every kind of handler


@pytest.mark.parametrize("path", ["/", "/async", "/stream", "/async-stream", "/flask/stream", "/teapot", "/none"])
def test_every_response_goes_through_and_is_otherwise_as_it_was(serve: Serve, colour: int, path: str) -> None:
    bare = serve(site([])).get(path)
    answer = serve(site([colours(lambda request: None, stamp)[colour]])).get(path)
    assert answer.headers.pop("x-stamp") == "yes"
    assert (answer.status_code, answer.content, answer.headers) == (bare.status_code, bare.content, bare.headers)


def test_the_request_has_the_colour_of_dispatch_and_is_that_of_the_handler(serve: Serve, colour: int) -> None:
    seen: list[Any] = []

    def note(request: Any) -> None:
        seen.append(type(request))
        request.state.user = "somebody"
        request.scope["x-key"] = "value"

    def handler(request: SyncRequest) -> Response:
        return PlainTextResponse(f"{request.state.user} {request.scope['x-key']}")

    async def async_handler(request: Request) -> Response:
        return PlainTextResponse(f"{request.state.user} {request.scope['x-key']}")

    routes = [Route("/", handler), Route("/async", async_handler)]
    client = serve(DualRoute(routes, middleware=[colours(note)[colour]]))
    assert client.get("/").text == client.get("/async").text == "somebody value"
    assert seen == [[Request, SyncRequest][colour]] * 2


@pytest.mark.parametrize("path", ["/", "/async"])
@pytest.mark.parametrize("way", ["attach", "scope"])
def test_what_it_makes_for_the_handler_is_there_whatever_the_colours(
    serve: Serve, colour: int, path: str, way: str
) -> None:
    def make(request: Any) -> None:
        made = {"user": "somebody", "auth": ["read"], "session": {"cart": 1}}
        for name, value in made.items():
            if way == "attach":
                request.attach(name, value)
            else:
                request.scope[name] = value

    def told(request: Any) -> Response:
        return PlainTextResponse(f"{request.user} {request.auth} {request.session}")

    def handler(request: SyncRequest) -> Response:
        return told(request)

    async def async_handler(request: Request) -> Response:
        return told(request)

    routes = [Route("/", handler), Route("/async", async_handler)]
    client = serve(DualRoute(routes, middleware=[colours(make)[colour]]))
    assert client.get(path).text == "somebody ['read'] {'cart': 1}"


def test_an_answer_of_its_own_keeps_the_handler_from_being_called(serve: Serve, colour: int) -> None:
    called: list[str] = []

    def handler(request: SyncRequest) -> Response:
        called.append("handler")
        return PlainTextResponse("handler")

    early = colours(lambda request: PlainTextResponse("early", status_code=401))[colour]
    client = serve(DualRoute([Route("/", handler)], middleware=[early]))
    assert (client.get("/").status_code, client.get("/").text, called) == (401, "early", [])


def test_the_function_may_be_given(serve: Serve) -> None:
    async def dispatch(request: Request, call_next: Any) -> Response:
        return stamp(await call_next(request))

    def sync_dispatch(request: SyncRequest, call_next: Any) -> Response:
        return stamp(call_next(request))

    for function in (dispatch, sync_dispatch):
        client = serve(site([Middleware(BaseHTTPMiddleware, dispatch=function)]))
        assert client.get("/").headers["x-stamp"] == "yes"


def test_options_and_the_place_of_the_app_in_the_signature_are_up_to_the_class(serve: Serve) -> None:
    class Named(BaseHTTPMiddleware):
        def __init__(self, *args: Any, name: str, **options: Any) -> None:
            super().__init__(*args, **options)
            self.name = name

        async def dispatch(self, request: Request, call_next: Any) -> Response:
            response: Response = await call_next(request)
            response.headers.append("x-name", self.name)
            return response

    app = DualRoute(
        [
            Mount("/mount", routes=[Route("/", plain)], middleware=[Middleware(Named, name="mount")]),
            Host("h.example", Router([Route("/", plain)]), middleware=[Middleware(Named, name="host")]),
            Route("/route", plain, middleware=[Middleware(Named, name="route")]),
        ],
        middleware=[Middleware(Named, name="app")],
    )
    app.add_middleware(Named, name="added")
    client = serve(app)
    assert client.get("/mount/").headers.get_list("x-name") == ["mount", "app", "added"]
    assert client.get("/", headers={"host": "h.example"}).headers.get_list("x-name") == ["host", "app", "added"]
    assert client.get("/route").headers.get_list("x-name") == ["route", "app", "added"]
    assert client.get("/none").headers.get_list("x-name") == ["app", "added"]
    assert route_table(app)[-1]["middleware"][0].endswith("Named")


def plain(request: SyncRequest) -> Response:
    return PlainTextResponse("plain")


def test_an_instance_around_an_app_is_an_app_on_both_protocols(serve: Serve) -> None:
    import flask

    class Stamping(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            return stamp(await call_next(request))

    flask_app = flask.Flask("inner")
    flask_app.add_url_rule("/flask", view_func=lambda: "flask", endpoint="flask")

    async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"asgi"})

    inner: list[Any] = [flask_app, asgi_app, DualRoute([Route("/flask", plain)])]
    for app, text in zip(inner, ["flask", "asgi", "plain"], strict=True):
        answer = serve(Stamping(app)).get("/flask")
        assert (answer.text, answer.headers["x-stamp"]) == (text, "yes")


# Bodies of requests


def test_a_body_that_was_read_is_there_for_the_handler(serve: Serve, colour: int) -> None:
    class Asynchronous(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            assert await request.body() == b"body"
            return await call_next(request)  # type: ignore[no-any-return]

    class Plain(BaseHTTPMiddleware):
        def dispatch(self, request: SyncRequest, call_next: Any) -> Response:
            assert request.body() == b"body"
            return call_next(request)  # type: ignore[no-any-return]

    client = serve(DualRoute(ECHOES, middleware=[Middleware([Asynchronous, Plain][colour])]))
    assert client.post("/", content=b"body").text == client.post("/async", content=b"body").text == "body"
    assert client.post("/async-stream", content=iter([b"bo", b"dy"])).text == "body"


def test_a_body_that_was_not_read_is_left_to_the_handler(serve: Serve, colour: int) -> None:
    client = serve(DualRoute(ECHOES, middleware=[colours(lambda request: None)[colour]]))
    body = b"0123456789" * 30_000
    assert client.post("/", content=body).content == client.post("/async", content=body).content == body
    assert client.post("/async-stream", content=iter([body] * 3)).content == body * 3


def test_a_request_made_anew_goes_on_with_its_own_headers_and_body(serve: Serve) -> None:
    class Rewriting(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            body = (await request.body()).upper()

            async def receive() -> Any:
                return {"type": "http.request", "body": body, "more_body": False}

            headers = [*request.scope["headers"], (b"x-new", b"new")]
            return await call_next(Request({**request.scope, "headers": headers}, receive))  # type: ignore[no-any-return]

    class Replaying(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            async def receive() -> Any:
                return {"type": "http.request", "body": b"replayed", "more_body": False}

            return await call_next(Request(request.scope, receive))  # type: ignore[no-any-return]

    def header(request: SyncRequest) -> Response:
        return PlainTextResponse(request.headers["x-new"])

    client = serve(DualRoute([*ECHOES, Route("/header", header)], middleware=[Middleware(Rewriting)]))
    assert client.get("/header").text == "new"
    client = serve(DualRoute(ECHOES, middleware=[Middleware(Replaying)]))
    assert client.post("/", content=b"body").text == client.post("/async", content=b"body").text == "replayed"


# Bodies of responses


@pytest.mark.parametrize("path", ["/", "/stream", "/async-stream", "/flask/stream"])
def test_the_body_of_any_response_can_be_read_and_replaced(serve: Serve, path: str, colour: int) -> None:
    class Asynchronous(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            response = await call_next(request)
            body = b"".join([piece async for piece in response.body_iterator])
            return PlainTextResponse(body.upper(), status_code=response.status_code)

    class Plain(BaseHTTPMiddleware):
        def dispatch(self, request: SyncRequest, call_next: Any) -> Response:
            response = call_next(request)
            return PlainTextResponse(b"".join(response.body_iterator).upper(), status_code=response.status_code)

    bare = serve(site([])).get(path)
    answer = serve(site([Middleware([Asynchronous, Plain][colour])])).get(path)
    assert (answer.status_code, answer.content) == (200, bare.content.upper())


@pytest.mark.parametrize("path", ["/", "/stream", "/async-stream"])
def test_pieces_can_be_changed_on_their_way(serve: Serve, path: str, colour: int) -> None:
    class Asynchronous(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            response = await call_next(request)
            pieces = response.body_iterator

            async def louder() -> AsyncIterator[bytes]:
                async for piece in pieces:
                    yield piece.upper()

            response.body_iterator = louder()
            return response  # type: ignore[no-any-return]

    class Plain(BaseHTTPMiddleware):
        def dispatch(self, request: SyncRequest, call_next: Any) -> Response:
            response = call_next(request)
            return StreamingResponse(piece.upper() for piece in response.body_iterator)

    bare = serve(site([])).get(path)
    assert serve(site([Middleware([Asynchronous, Plain][colour])])).get(path).content == bare.content.upper()


@pytest.mark.parametrize("path", ["/", "/stream", "/async-stream"])
def test_a_body_that_was_handed_on_to_another_response_is_sent(serve: Serve, path: str, colour: int) -> None:
    def wrap(response: Response) -> Response:
        return StreamingResponse(response.body_iterator, media_type="text/plain")  # type: ignore[arg-type]

    bare = serve(site([])).get(path)
    assert serve(site([colours(lambda request: None, wrap)[colour]])).get(path).content == bare.content


def test_a_body_that_nobody_has_touched_is_the_handlers_own(serve: Serve, colour: int) -> None:
    seen: list[Any] = []
    pieces = [iter(PIECES)]

    def handler(request: SyncRequest) -> Response:
        return StreamingResponse(pieces[0])

    def outermost(connection: Any) -> Any:
        response = yield connection
        seen.append(response.body_iterator)
        return response

    client = serve(
        DualRoute([Route("/", handler, sync_to_thread=False)], middleware=[outermost, colours(lambda r: None)[colour]])
    )
    assert client.get("/").content == WHOLE
    assert seen == pieces


def test_a_stream_in_place_of_which_something_else_was_sent_is_closed(serve: Serve, colour: int) -> None:
    closed = threading.Event()

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter(PIECES)

        def close(self) -> None:
            closed.set()

    def handler(request: SyncRequest) -> Response:
        return StreamingResponse(Body())

    def fail(response: Response) -> Response:
        raise HTTPException(418, "other")

    for after in (lambda response: PlainTextResponse("other"), fail):
        closed.clear()
        app = DualRoute([Route("/", handler)], middleware=[colours(lambda request: None, after)[colour]])
        assert serve(app).get("/").text == "other"
        assert closed.wait(20)


@pytest.mark.parametrize("path", ["/plain", "/async"])
def test_a_stream_goes_out_as_it_is_made_and_ends_when_the_client_goes(protocol: Any, path: str, colour: int) -> None:
    endless = Endless([colours(lambda request: None, stamp)[colour]])
    with TestClient(endless.app, protocol=protocol) as client, client.stream("GET", path) as answer:
        assert answer.headers["x-stamp"] == "yes"
        assert next(answer.iter_raw()).startswith(b"piece")
    assert endless.closed.wait(20)


# What comes after, and around


def test_background_tasks_run_whatever_is_sent(serve: Serve, colour: int) -> None:
    ran: list[str] = []

    def handler(request: SyncRequest) -> Response:
        return PlainTextResponse("x", background=BackgroundTask(ran.append, "handler"))

    def replace(response: Response) -> Response:
        return PlainTextResponse("y", background=BackgroundTask(ran.append, "middleware"))

    serve(DualRoute([Route("/", handler)], middleware=[colours(lambda request: None)[colour]])).get("/")
    assert ran == ["handler"]
    serve(DualRoute([Route("/", handler)], middleware=[colours(lambda request: None, replace)[colour]])).get("/")
    assert ran == ["handler", "handler", "middleware"]


@pytest.mark.parametrize("path", ["/", "/async"])
def test_context_variables_go_in_and_come_out(serve: Serve, path: str, colour: int) -> None:
    def note(response: Response) -> Response:
        response.headers["x-inner"] = inner_variable.get()
        return response

    def outermost(connection: Any) -> Any:
        response = yield connection
        response.headers["x-outer"] = f"{inner_variable.get()}, {outer_variable.get()}"
        return response

    binding = colours(lambda request: outer_variable.set("by the middleware") and None, note)[colour]
    routes = [Route("/", telling), Route("/async", async_telling)]
    client = serve(DualRoute(routes, middleware=[outermost, binding]))
    answer = client.get(path)
    assert answer.text == "by the middleware"
    assert answer.headers["x-inner"] == "by the handler"
    assert answer.headers["x-outer"] == "by the handler, by the middleware"
    assert inner_variable.get() == outer_variable.get() == "unset"


def test_dispatch_sees_exceptions_and_may_answer_them(serve: Serve, colour: int) -> None:
    class Asynchronous(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            try:
                return await call_next(request)  # type: ignore[no-any-return]
            except LookupError as error:
                return PlainTextResponse(f"caught {error}")

    class Plain(BaseHTTPMiddleware):
        def dispatch(self, request: SyncRequest, call_next: Any) -> Response:
            try:
                return call_next(request)  # type: ignore[no-any-return]
            except LookupError as error:
                return PlainTextResponse(f"caught {error}")

    client = serve(site([Middleware([Asynchronous, Plain][colour])]))
    assert client.get("/fail").text == client.get("/async-fail").text == "caught boom"
    assert client.get("/teapot").status_code == 418  # which is a response by then


def test_what_dispatch_does_not_take_is_logged_once(
    serve: Serve, colour: int, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(site([colours(lambda request: None)[colour]]))
    for path in ("/fail", "/async-fail"):
        caplog.clear()
        assert client.get(path).status_code == 500
        assert ["boom" in error for error in errors(caplog.records)] == [True]


def test_an_http_exception_of_dispatch_is_an_answer(serve: Serve, colour: int) -> None:
    def refuse(request: Any) -> None:
        raise HTTPException(403, "not you")

    assert serve(site([colours(refuse)[colour]])).get("/").text == "not you"


def test_what_is_no_response_is_an_error_that_names_the_function(
    serve: Serve, colour: int, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(site([colours(lambda request: None, lambda response: None)[colour]]))
    assert client.get("/").status_code == 500
    assert "dispatch returned None; it must return a Response" in caplog.text


def test_without_a_dispatch_there_is_an_error_that_says_so(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    assert serve(site([Middleware(BaseHTTPMiddleware)])).get("/").status_code == 500
    assert "BaseHTTPMiddleware has no method dispatch" in caplog.text
    with pytest.raises(TypeError, match="dispatch is a function, not 3"):
        Middleware(BaseHTTPMiddleware, dispatch=3)


@pytest.mark.protocol("asgi")  # a WSGI server can't tell that a request is to be given up
def test_a_request_that_is_cancelled_is_so_inside(protocol: str, colour: int, caplog: pytest.LogCaptureFixture) -> None:
    handler = Cancelled()
    asyncio.run(handler.cancel_in([colours(lambda request: None)[colour]]))
    assert handler.cancelled
    assert not errors(caplog.records)


def test_call_next_may_be_called_again(serve: Serve, colour: int) -> None:
    class Asynchronous(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            try:
                return await call_next(request)  # type: ignore[no-any-return]
            except LookupError:
                return await call_next(request)  # type: ignore[no-any-return]

    class Plain(BaseHTTPMiddleware):
        def dispatch(self, request: SyncRequest, call_next: Any) -> Response:
            try:
                return call_next(request)  # type: ignore[no-any-return]
            except LookupError:
                return call_next(request)  # type: ignore[no-any-return]

    client = serve(DualRoute([Route("/", FailsOnce())], middleware=[Middleware([Asynchronous, Plain][colour])]))
    assert client.get("/").text == "second"


def test_what_call_next_is_called_with_by_mistake_is_told_by_its_kind_alone(serve: Serve, colour: int) -> None:
    class Asynchronous(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            return await call_next(request.scope)  # type: ignore[no-any-return]

    class Plain(BaseHTTPMiddleware):
        def dispatch(self, request: SyncRequest, call_next: Any) -> Response:
            return call_next(request.scope)  # type: ignore[no-any-return]

    def told(request: Any, error: Exception) -> Response:
        return PlainTextResponse(str(error))

    app = DualRoute(
        [Route("/", FailsOnce())],
        middleware=[Middleware([Asynchronous, Plain][colour])],
        exception_handlers={TypeError: told},
    )
    # A scope holds cookies.
    assert serve(app).get("/", headers={"cookie": "a=1"}).text == "call_next takes the request, not a dict"


def test_it_stands_among_generators_and_theirs_do_io(serve: Serve, colour: int) -> None:
    async def look_up() -> str:
        return "found"

    def generator(connection: Any) -> Any:
        value = yield Call(look_up)
        response = yield connection
        response.headers.append("x-around", value)
        return response

    first, second = colours(lambda request: None, stamp)
    answer = serve(site([generator, first, generator, second, generator])).get("/async")
    assert (answer.headers.get_list("x-around"), answer.headers["x-stamp"]) == (["found"] * 3, "yes")


def test_a_client_that_stops_short_is_a_disconnect_in_dispatch_too(serve: Serve, colour: int) -> None:
    def refuse(request: Any) -> None:
        raise ClientDisconnect

    assert serve(site([colours(refuse)[colour]])).get("/").status_code == 400


@pytest.mark.protocol("asgi")
def test_websockets_pass_it_by(protocol: str, colour: int) -> None:
    def refuse(request: Any) -> None:
        raise AssertionError("a websocket is no request")

    assert accepted(handshake(site([colours(refuse)[colour]])))


def test_many_requests_at_once_do_not_wait_for_one_anothers_threads(colour: int) -> None:
    # Each of them has a thread for `dispatch`, and waits in it for a handler that needs one as well.
    from dualroute.concurrency import run_in_threadpool

    async def handler(request: Request) -> Response:
        return PlainTextResponse(await run_in_threadpool(lambda: "from a thread"))

    both = colours(lambda request: None)
    app = DualRoute([Route("/", handler)], middleware=[both[colour], both[1], both[0], both[1]], max_threads=2)
    with TestClient(app, protocol="asgi") as client:
        answers: list[str] = []
        threads = [threading.Thread(target=lambda: answers.append(client.get("/").text)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert answers == ["from a thread"] * 12
