"""TestClient over HTTP, on both protocols."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, Literal

import httpx
import pytest

from dualroute import (
    BackgroundTask,
    DualRoute,
    HTTPEndpoint,
    HTTPException,
    JSONResponse,
    Mount,
    PlainTextResponse,
    RedirectResponse,
    Request,
    Response,
    Route,
    Router,
    StreamingResponse,
    SyncRequest,
    WSGIApp,
)
from dualroute.failures import unhandled
from dualroute.testclient import ProtocolViolation, TestClient

Protocol = Literal["asgi", "wsgi"]
Connect = Callable[..., TestClient]


@pytest.fixture
def connect(protocol: Protocol) -> Iterator[Connect]:
    clients: list[TestClient] = []

    def make(app: Any, **options: Any) -> TestClient:
        clients.append(TestClient(app, protocol=protocol, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def hello(request: SyncRequest) -> Response:
    return PlainTextResponse("hello")


async def hello_async(request: Request) -> Response:
    return PlainTextResponse("hello")


colours = pytest.mark.parametrize("endpoint", [hello, hello_async])


# Requests and responses


@colours
def test_a_request_is_answered(connect: Connect, endpoint: Any) -> None:
    response = connect(DualRoute([Route("/", endpoint)])).get("/")
    assert (response.status_code, response.text, response.http_version) == (200, "hello", "HTTP/1.1")


def test_the_app_sees_what_was_sent(connect: Connect) -> None:
    def show(request: SyncRequest) -> Response:
        assert request.client is not None
        return JSONResponse(
            {
                "method": request.method,
                "url": str(request.url),
                "client": list(request.client),
                "agent": request.headers["user-agent"],
                "x": request.headers["x-one"],
                "body": request.body().decode(),
            }
        )

    client = connect(DualRoute([Route("/é/{rest:path}", show, methods=["PUT"])]), headers={"X-One": "1"})
    assert client.put("/é/a%2fb?q=ü", content="text").json() == {
        "method": "PUT",
        "url": "http://testserver/%C3%A9/a/b?q=%C3%BC",
        "client": ["testclient", 50000],
        "agent": "testclient",
        "x": "1",
        "body": "text",
    }


def test_cookies_are_kept_from_one_request_to_the_next(connect: Connect) -> None:
    def login(request: SyncRequest) -> Response:
        response = PlainTextResponse("in")
        response.set_cookie("session", "s1")
        response.set_cookie("theme", "dark")
        return response

    def whoami(request: SyncRequest) -> Response:
        return JSONResponse(dict(sorted(request.cookies.items())))

    client = connect(DualRoute([Route("/login", login), Route("/me", whoami)]), cookies={"first": "0"})
    assert client.get("/me").json() == {"first": "0"}
    client.get("/login")
    assert client.get("/me").json() == {"first": "0", "session": "s1", "theme": "dark"}


def test_redirects_are_followed_unless_told_otherwise(connect: Connect) -> None:
    def away(request: SyncRequest) -> Response:
        return RedirectResponse("/")

    app = DualRoute([Route("/", hello), Route("/away", away), Route("/slash/", hello)])
    assert connect(app).get("/away").text == "hello"
    assert connect(app, root_path="/base").get("/slash").text == "hello"
    assert connect(app, follow_redirects=False).get("/away").status_code == 307


@pytest.mark.parametrize("path", ["/items", "/base/items"])
def test_a_root_path_may_be_left_out(connect: Connect, path: str) -> None:
    def show(request: SyncRequest) -> Response:
        return JSONResponse([request.scope["root_path"], request.url.path])

    client = connect(DualRoute([Route("/items", show)]), root_path="/base/")
    assert client.get(path).json() == ["/base", "/base/items"]


def test_an_answer_to_head_has_no_body(connect: Connect) -> None:
    response = connect(DualRoute([Route("/", hello)])).head("/")
    assert (response.content, response.headers["content-length"]) == (b"", "5")


def test_context_variables_of_the_test_are_there_for_the_app(connect: Connect) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    variable.set("by the test")

    async def show(request: Request) -> Response:
        return PlainTextResponse(variable.get())

    assert connect(DualRoute([Route("/", show)])).get("/").text == "by the test"


# Exceptions


class Boom(Exception):
    pass


def boom(request: SyncRequest) -> Response:
    raise Boom("boom")


async def boom_async(request: Request) -> Response:
    raise Boom("boom")


def _late() -> Iterator[bytes]:
    yield b"piece"
    raise Boom("late")


async def _late_async() -> AsyncIterator[bytes]:
    yield b"piece"
    raise Boom("late")


def late(request: SyncRequest) -> Response:
    return StreamingResponse(_late())


async def late_async(request: Request) -> Response:
    return StreamingResponse(_late_async())


@pytest.mark.parametrize("endpoint", [boom, boom_async, late, late_async])
def test_an_unhandled_exception_is_raised_in_the_test(connect: Connect, endpoint: Any) -> None:
    client = connect(DualRoute([Route("/", endpoint), Route("/hello", hello)]))
    with pytest.raises(Boom) as caught:
        client.get("/")
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert endpoint.__name__ in names or f"_{endpoint.__name__}" in names
    assert client.get("/hello").text == "hello"


@pytest.mark.parametrize("endpoint", [boom, boom_async])
def test_or_answered_as_it_is_for_a_client(connect: Connect, endpoint: Any) -> None:
    client = connect(DualRoute([Route("/", endpoint)]), raise_server_exceptions=False)
    response = client.get("/")
    assert (response.status_code, response.text) == (500, "Internal Server Error")


@pytest.mark.parametrize("endpoint", [late, late_async])
def test_a_response_that_breaks_off_does_so_for_the_client(connect: Connect, endpoint: Any) -> None:
    client = connect(DualRoute([Route("/", endpoint)]), raise_server_exceptions=False)
    with client.stream("GET", "/") as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"piece"
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)


def test_an_exception_is_raised_although_a_handler_for_500_has_made_an_answer(connect: Connect) -> None:
    def answer(request: SyncRequest, error: Exception) -> Response:
        return PlainTextResponse("sorry", status_code=500)

    app = DualRoute([Route("/", boom)], exception_handlers={500: answer})
    assert connect(app, raise_server_exceptions=False).get("/").text == "sorry"
    with pytest.raises(Boom):
        connect(app).get("/")


def test_an_exception_that_was_handled_is_not_raised(connect: Connect) -> None:
    def answer(request: SyncRequest, error: Exception) -> Response:
        return PlainTextResponse("handled", status_code=418)

    def unavailable(request: SyncRequest) -> Response:
        raise HTTPException(503)

    app = DualRoute([Route("/", boom), Route("/503", unavailable)], exception_handlers={Boom: answer})
    client = connect(app)
    assert client.get("/").text == "handled"
    assert client.get("/503").status_code == 503


def test_the_exception_of_a_background_task_is_raised(connect: Connect) -> None:
    def fail() -> None:
        raise Boom("after")

    def endpoint(request: SyncRequest) -> Response:
        return PlainTextResponse("sent", background=BackgroundTask(fail))

    app = DualRoute([Route("/", endpoint)])
    assert connect(app, raise_server_exceptions=False).get("/").text == "sent"
    with pytest.raises(Boom):
        connect(app).get("/")


def test_an_exception_of_the_test_is_not_replaced_by_one_of_the_app(connect: Connect) -> None:
    ran = threading.Event()

    def fail() -> None:
        ran.set()
        raise Boom("after")

    def endpoint(request: SyncRequest) -> Response:
        return PlainTextResponse("sent", background=BackgroundTask(fail))

    client = connect(DualRoute([Route("/", endpoint)]))
    with pytest.raises(ZeroDivisionError), client.stream("GET", "/"):
        raise ZeroDivisionError
    assert ran.wait(30)


def test_the_original_context_of_an_exception_stays(connect: Connect) -> None:
    def chained(request: SyncRequest) -> Iterator[bytes]:
        yield b"piece"
        try:
            raise LookupError
        except LookupError:
            raise Boom  # noqa: B904  # the implicit context is the point

    def endpoint(request: SyncRequest) -> Response:
        return StreamingResponse(chained(request))

    with pytest.raises(Boom) as caught:
        connect(DualRoute([Route("/", endpoint)])).get("/")
    assert isinstance(caught.value.__context__, LookupError)


def test_nothing_keeps_exceptions_where_no_test_client_asks(caplog: pytest.LogCaptureFixture) -> None:
    assert unhandled.get() is None
    app = DualRoute([Route("/", boom)])
    assert httpx.Client(transport=httpx.WSGITransport(app), base_url="http://testserver").get("/").status_code == 500
    assert unhandled.get() is None


def test_background_tasks_have_run_when_the_response_is_there(connect: Connect) -> None:
    done: list[str] = []

    async def task() -> None:
        await asyncio.sleep(0.01)
        done.append("task")

    def endpoint(request: SyncRequest) -> Response:
        return PlainTextResponse("sent", background=BackgroundTask(task))

    connect(DualRoute([Route("/", endpoint)])).get("/")
    assert done == ["task"]


# Streams


def test_a_stream_comes_piece_by_piece(connect: Connect) -> None:
    taken = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"first"
        assert taken.wait(30)
        yield b"second"

    def endpoint(request: SyncRequest) -> Response:
        return StreamingResponse(pieces())

    with connect(DualRoute([Route("/", endpoint)])).stream("GET", "/") as response:
        got = response.iter_raw()
        assert next(got) == b"first"
        taken.set()
        assert list(got) == [b"second"]


def test_so_does_one_of_an_async_def(connect: Connect) -> None:
    taken = threading.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        while not taken.is_set():
            await asyncio.sleep(0.001)
        yield b"second"

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(pieces())

    with connect(DualRoute([Route("/", endpoint)])).stream("GET", "/") as response:
        got = response.iter_raw()
        assert next(got) == b"first"
        taken.set()
        assert list(got) == [b"second"]


@pytest.mark.parametrize("colour", ["def", "async def"])
def test_a_response_is_not_made_far_ahead_of_the_test_that_reads_it(connect: Connect, colour: str) -> None:
    made: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(200):
            made.append(number)
            yield b"x" * 100_000

    async def pieces_async() -> AsyncIterator[bytes]:
        for piece in pieces():
            yield piece

    def endpoint(request: SyncRequest) -> Response:
        return StreamingResponse(pieces() if colour == "def" else pieces_async())

    with connect(DualRoute([Route("/", endpoint)])).stream("GET", "/") as response:
        assert next(response.iter_raw())
        time.sleep(0.1)
        assert len(made) < 50


def test_a_client_may_leave_an_endless_response(connect: Connect) -> None:
    closed = threading.Event()

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
        finally:
            closed.set()

    def endpoint(request: SyncRequest) -> Response:
        return StreamingResponse(pieces())

    client = connect(DualRoute([Route("/", endpoint)]))
    with client.stream("GET", "/") as response:
        assert next(response.iter_raw())
    assert closed.wait(30)


def test_a_client_may_leave_an_async_response_that_waits(connect: Connect) -> None:
    closed = threading.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.sleep(3600)
        finally:
            closed.set()

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(pieces())

    client = connect(DualRoute([Route("/", endpoint)]))
    with client.stream("GET", "/") as response:
        assert next(response.iter_raw()) == b"first"
    assert closed.wait(30)


def test_an_asgi_app_is_told_that_the_client_has_left() -> None:
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        except OSError as error:
            told.append(error)
        told.append(await receive())
        await send({"type": "http.response.body", "body": b"x"})

    with TestClient(app) as client, client.stream("GET", "/") as response:
        assert next(response.iter_raw()) == b"x"
    assert isinstance(told[0], OSError)
    assert told[1:] == [{"type": "http.disconnect"}]


def test_a_response_that_was_left_open_is_left_when_the_client_closes(connect: Connect) -> None:
    closed = threading.Event()

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
        finally:
            closed.set()

    def endpoint(request: SyncRequest) -> Response:
        return StreamingResponse(pieces())

    with connect(DualRoute([Route("/", endpoint)])) as client:
        response = client.send(client.build_request("GET", "/"), stream=True)
        assert next(response.iter_raw())
    assert closed.wait(30)


@pytest.mark.parametrize("colour", ["def", "async def"])
def test_an_upload_is_streamed(connect: Connect, colour: str) -> None:
    def add_up(request: SyncRequest) -> Response:
        return PlainTextResponse(str(sum(len(piece) for piece in request.stream())))

    async def add_up_async(request: Request) -> Response:
        return PlainTextResponse(str(sum([len(piece) async for piece in request.stream()])))

    def upload() -> Iterator[bytes]:
        for _ in range(300):
            yield b"x" * 1000
            yield b""

    app = DualRoute([Route("/", add_up if colour == "def" else add_up_async, methods=["POST"])])
    assert connect(app).post("/", content=upload()).text == "300000"


def test_an_upload_is_read_in_the_thread_of_the_test(connect: Connect) -> None:
    threads = set()

    def upload() -> Iterator[bytes]:
        threads.add(threading.get_ident())
        yield b"x"

    async def read(request: Request) -> Response:
        return Response(await request.body())

    connect(DualRoute([Route("/", read, methods=["POST"])])).post("/", content=upload())
    assert threads == {threading.get_ident()}


def test_an_upload_that_fails_raises_its_own_exception(connect: Connect) -> None:
    def upload() -> Iterator[bytes]:
        yield b"x"
        raise Boom("the test's own")

    async def read(request: Request) -> Response:
        return Response(await request.body())

    with pytest.raises(Boom, match="the test's own"):
        connect(DualRoute([Route("/", read, methods=["POST"])])).post("/", content=upload())


def test_files_are_uploaded(connect: Connect) -> None:
    async def read(request: Request) -> Response:
        return PlainTextResponse(str(b"the file" in await request.body()))

    client = connect(DualRoute([Route("/", read, methods=["POST"])]))
    assert client.post("/", files={"file": b"the file"}).text == "True"


# Apps


class Home(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("home")


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"home"]


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"home"})


@pytest.mark.parametrize(
    "app",
    [
        Router([Route("/", Home)]),
        Home,
        WSGIApp(wsgi_app),
        DualRoute([Mount("/", app=asgi_app)]),
        PlainTextResponse("home"),
    ],
    ids=["Router", "HTTPEndpoint", "WSGIApp", "a mounted app", "a response"],
)
def test_any_app_of_ours_is_served_by_both_protocols(connect: Connect, app: Any) -> None:
    with connect(app) as client:
        assert client.get("/").text == "home"


def test_a_foreign_app_is_served_by_its_own_protocol(protocol: Protocol, connect: Connect) -> None:
    with connect(asgi_app if protocol == "asgi" else wsgi_app) as client:
        assert client.get("/").text == "home"


def test_and_by_no_other(protocol: Protocol) -> None:
    with pytest.raises(TypeError, match=r"pass protocol='(wsgi|asgi)', or (WSGI|ASGI)App"):
        TestClient(wsgi_app if protocol == "asgi" else asgi_app, protocol=protocol)


@pytest.mark.parametrize(
    ("app", "options", "message"),
    [
        (hello, {}, "neither like a WSGI app"),
        (None, {}, "takes an application, not None"),
        (Home, {"protocol": "rsgi"}, "protocol is 'asgi' or 'wsgi', not 'rsgi'"),
        (Home, {"backend": "trio"}, "runs an app on asyncio, and has no backend 'trio'"),
        (Home, {"root_path": "api"}, "root_path starts with a slash"),
    ],
)
def test_what_makes_no_client_is_refused(app: Any, options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        TestClient(app, **options)


def test_middleware_of_the_protocol_is_passed_through(connect: Connect) -> None:
    def tagged_wsgi(app: Any) -> Any:
        def tag(environ: Any, start_response: Any) -> Any:
            return app(environ, lambda status, headers, *rest: start_response(status, [*headers, ("X-Tag", "1")]))

        return tag

    def tagged_asgi(app: Any) -> Any:
        async def tag(scope: Any, receive: Any, send: Any) -> None:
            async def tagging(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], (b"x-tag", b"1")]}
                await send(message)

            await app(scope, receive, tagging)

        return tag

    app = DualRoute([Route("/", hello)], asgi_middleware=[tagged_asgi], wsgi_middleware=[tagged_wsgi])
    with connect(app) as client:
        assert client.get("/").headers["x-tag"] == "1"


# Threads and loops


def test_a_client_works_from_several_threads(connect: Connect) -> None:
    def echo(request: SyncRequest, number: int) -> Response:
        return PlainTextResponse(str(number))

    client = connect(DualRoute([Route("/{number:int}", echo)]))
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda number: client.get(f"/{number}").text, range(40)))
    assert texts == [str(number) for number in range(40)]


def test_a_client_works_within_a_running_event_loop(connect: Connect) -> None:
    async def main() -> str:
        return connect(DualRoute([Route("/", hello_async)])).get("/").text

    assert asyncio.run(main()) == "hello"


def test_a_handler_may_use_a_client_of_its_own(connect: Connect) -> None:
    inner = connect(DualRoute([Route("/", hello_async)]))

    def endpoint(request: SyncRequest) -> Response:
        return PlainTextResponse("inner " + inner.get("/").text)

    assert connect(DualRoute([Route("/", endpoint)])).get("/").text == "inner hello"


def _loops() -> int:
    return sum(thread.name == "dualroute-testclient" for thread in threading.enumerate())


def test_a_client_that_is_forgotten_takes_its_thread_with_it() -> None:
    before = _loops()
    client = TestClient(DualRoute([Route("/", hello_async)]))
    assert client.get("/").text == "hello"
    (thread,) = [item for item in threading.enumerate() if item.name == "dualroute-testclient"][before:]
    del client
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


def test_all_requests_of_a_client_run_on_one_loop(connect: Connect) -> None:
    loops = []

    async def endpoint(request: Request) -> Response:
        loops.append(asyncio.get_running_loop())
        return PlainTextResponse("")

    with connect(DualRoute([Route("/", endpoint)])) as client:
        client.get("/")
        client.get("/")
    assert len(set(loops)) == 1


def test_a_client_can_be_used_again_after_its_block(connect: Connect) -> None:
    client = connect(DualRoute([Route("/", hello)]))
    for _ in range(2):
        with client:
            assert client.get("/").text == "hello"
        assert client.get("/").text == "hello"
    with client, pytest.raises(RuntimeError, match="already"):
        client.__enter__()


# Importing


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=None
    )


def test_the_package_does_not_import_it() -> None:
    code = "import sys, dualroute; print([name for name in sys.modules if 'testclient' in name or 'httpx' in name])"
    assert run(code).stdout.strip() == "[]"


def test_without_httpx_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['httpx'] = None; import dualroute.testclient"
    assert "pip install 'dualroute[testclient]'" in run(code).stderr


# By httpx alone


def test_httpx_can_call_an_app_by_itself_for_tests_that_are_async() -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(f"hello {await request.json()}")

    async def main() -> str:
        transport = httpx.ASGITransport(DualRoute([Route("/", endpoint, methods=["POST"])]))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return (await client.post("/", json=5)).text

    assert asyncio.run(main()) == "hello 5"


# What is held against the rules


def _wsgi(*, status: Any = "200 OK", headers: Any = None, body: Any = (b"",), times: int = 1) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        for _ in range(times):
            start_response(status, [] if headers is None else headers)
        return body

    return app


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (_wsgi(status="200"), "not of the form '200 OK'"),
        (_wsgi(status=b"200 OK"), "the status is a str"),
        (_wsgi(headers=()), "the headers are a list"),
        (_wsgi(headers=[["A", "b"]]), "a header is a tuple of two strs"),
        (_wsgi(headers=[("A", b"b")]), "a header is a tuple of two strs"),
        (_wsgi(headers=[("A b", "c")]), "is no header name"),
        (_wsgi(headers=[("A", "b\r\nC: d")]), "control character"),
        (_wsgi(headers=[("A", "\u20ac")]), "Latin-1"),
        (_wsgi(headers=[("Connection", "close")]), "the server's business"),
        (_wsgi(headers=[("Content-Length", "1")], body=[b"ab"]), "the Content-Length is 1, and 2 bytes came"),
        (_wsgi(headers=[("Content-Length", "3")], body=[b"ab"]), "the Content-Length is 3, and only 2 bytes came"),
        (_wsgi(status="204 No Content", body=[b"ab"]), "status 204 has a body"),
        (_wsgi(body=["text"]), "of bytes, and not of str"),
        (_wsgi(body=b"bytes"), "returned bytes, and not an iterable"),
        (_wsgi(body=None), "returned NoneType, and not an iterable"),
        (_wsgi(times=0), "before start_response|did not call start_response"),
        (_wsgi(times=2), "called twice"),
    ],
)
@pytest.mark.parametrize("raise_server_exceptions", [True, False])
def test_a_mistake_of_a_wsgi_app_shows(app: Any, message: str, raise_server_exceptions: bool) -> None:
    with (
        TestClient(app, protocol="wsgi", raise_server_exceptions=raise_server_exceptions) as client,
        pytest.raises(ProtocolViolation, match=message),
    ):
        client.get("/")


START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"ab"}


def _asgi(*messages: dict[str, Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        for message in messages:
            await send(message)

    return app


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (_asgi(BODY), "before http.response.start"),
        (_asgi(START, START), "http.response.start twice"),
        (_asgi(START, BODY, BODY), "after the response was complete"),
        (_asgi({**START, "headers": [("a", "b")]}), "a pair of bytes"),
        (_asgi({**START, "headers": [(b"a", b"b\r\n")]}), "control character"),
        (_asgi({**START, "status": 100}), "the status is 100"),
        (_asgi({**START, "headers": [(b"content-length", b"1")]}, BODY), "the Content-Length is 1, and 2 bytes came"),
        (_asgi({**START, "headers": [(b"content-length", b"3")]}, BODY), "the Content-Length is 3, and only 2"),
        (_asgi({**START, "status": 204}, BODY), "status 204 has a body"),
        (_asgi(START, {**BODY, "body": "text"}), "a body of str, not bytes"),
        (_asgi({"type": "http.response.push"}), "does not offer"),
    ],
)
@pytest.mark.parametrize("raise_server_exceptions", [True, False])
def test_a_mistake_of_an_asgi_app_shows(app: Any, message: str, raise_server_exceptions: bool) -> None:
    client = TestClient(app, raise_server_exceptions=raise_server_exceptions)
    with client, pytest.raises(ProtocolViolation, match=message):
        client.get("/")


@pytest.mark.parametrize("app", [_asgi(), _asgi(START), _asgi(START, {**BODY, "more_body": True})])
def test_an_asgi_app_that_returns_too_early_shows(app: Any) -> None:
    with TestClient(app) as client, pytest.raises(ProtocolViolation, match="returned"):
        client.get("/")


def test_the_old_ways_of_wsgi_work() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", [])
        write(b"written ")
        yield b""
        try:
            raise LookupError
        except LookupError:
            with pytest.raises(LookupError):
                start_response("500 Oh", [], sys.exc_info())  # too late
        yield b"yielded"

    with TestClient(app, protocol="wsgi") as client:
        assert client.get("/").text == "written yielded"


def test_a_wsgi_app_may_change_its_mind_before_anything_is_sent() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise LookupError
        except LookupError:
            start_response("404 Not Found", [], sys.exc_info())
        return [b"gone"]

    with TestClient(app, protocol="wsgi") as client:
        assert client.get("/").status_code == 404


def test_a_wsgi_app_can_read_its_input_in_every_way() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        body = environ["wsgi.input"]
        return [body.readline(), body.read(1), *body.readlines(), body.read()]

    with TestClient(app, protocol="wsgi") as client:
        assert client.post("/", content=iter([b"on", b"e\ntw", b"o\nthree"])).content == b"one\ntwo\nthree"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "dualroute")
