"""The short ways by which a foreign app or middleware is answered for: each gives what the long way gives."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakSet

import pytest

from dualroute import (
    BackgroundTask,
    DualRoute,
    HTTPException,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
)
from dualroute.middleware import Middleware
from dualroute.middleware.wsgi import WSGIMiddleware
from dualroute_wsgi.loop import worker_loop
from tests.around_helper import generator
from tests.conftest import Serve

TEXT = [("Content-Type", "text/plain")]


class Closing:
    """What an application returns that is closed in the end."""

    closed = 0

    def __init__(self, *pieces: bytes, fails: bool = False) -> None:
        self._pieces = iter(pieces)
        self._fails = fails

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        for piece in self._pieces:
            return piece
        if self._fails:
            raise LookupError("half-way")
        raise StopIteration

    def close(self) -> None:
        Closing.closed += 1


def answering(result: Callable[[], Any], status: str = "200 OK", headers: Any = TEXT) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return result()

    return app


def telling(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", TEXT)
    names = ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_METHOD", "HTTP_X_A", "wsgi.input_terminated")
    return [repr([environ.get(name) for name in names]).encode(), environ["wsgi.input"].read()]


def failing(environ: Any, start_response: Any) -> Any:
    raise LookupError("boom")


def silent(environ: Any, start_response: Any) -> Any:
    return []


def writing(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", TEXT)(b"written ")
    return [b"returned"]


WSGI_APPS: dict[str, Any] = {
    "a list": answering(lambda: [b"whole"]),
    "a list of several": answering(lambda: [b"in", b"", b"parts"]),
    "an empty list": answering(list, "404 Not Here"),
    "a tuple": answering(lambda: (b"whole",)),
    "an iterator": answering(lambda: iter([b"", b"one", b"two"])),
    "an iterator to close": answering(lambda: Closing(b"one", b"two")),
    "an empty one": answering(Closing),
    "without a body": answering(lambda: [b""], "204 No Content", [("Content-Length", "0"), ("X-A", "a")]),
    "not modified": answering(Closing, "304 Not Modified", [*TEXT, ("ETag", '"a"')]),
    "about the connection": answering(
        lambda: [b"x"], "200 OK", [*TEXT, ("Connection", "close"), ("Set-Cookie", "a=b")]
    ),
    "what it is told": telling,
    "written": writing,
    "bytes": answering(lambda: b"bytes"),
    "None": answering(lambda: None),
    "text": answering(lambda: ["text"]),
    "a status that is none": answering(lambda: [b"x"], "OK"),
    "a header with a line in it": answering(lambda: [b"x"], "200 OK", [("X-A", "a\r\nb")]),
    "a header that is no text": answering(lambda: [b"x"], "200 OK", [("X-A", 1)]),
    "no start": silent,
    "a failure": failing,
    "a failure at once": answering(lambda: Closing(fails=True)),
}


# Tasks on the worker's loop that wait for ever, for a client that has gone.
lasting: WeakSet[Any] = WeakSet()


def settle() -> None:
    """Give what is under way on the worker's loop the time to end: what fails after its response is logged by then."""

    async def until_alone() -> None:
        under_way: set[Any] = set()
        for _ in range(200):
            under_way = asyncio.all_tasks() - {asyncio.current_task(), *lasting}
            if not under_way:
                return
            await asyncio.sleep(0.001)
        lasting.update(under_way)

    asyncio.run_coroutine_threadsafe(until_alone(), worker_loop().loop).result(60)


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the errors in the log were about."""
    settle()
    return [repr(record.exc_info and record.exc_info[1]) for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("name", WSGI_APPS)
def test_a_wsgi_app_with_nothing_around_it(serve: Serve, name: str, caplog: pytest.LogCaptureFixture) -> None:
    def answers(middleware: list[Any], **options: Any) -> Any:
        caplog.clear()
        Closing.closed = 0
        client = serve(DualRoute([Mount("/old", app=WSGI_APPS[name])], middleware=middleware, **options))
        responses = [client.request(method, path, **more) for method, path, more in REQUESTS]
        told = [(answer.status_code, answer.content, answer.headers.multi_items()) for answer in responses]
        return told, failures(caplog), Closing.closed

    assert answers([]) == answers([generator])
    handlers = {LookupError: lambda request, error: PlainTextResponse(f"handled {error}")}
    assert answers([], exception_handlers=handlers) == answers([generator], exception_handlers=handlers)


REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/old/path?q=a", {"headers": {"x-a": "a"}}),
    ("GET", "/old", {}),
    ("GET", "/old/p%C3%A4th", {}),
    ("HEAD", "/old/path", {}),
    ("POST", "/old/path", {"content": b"body"}),
    ("POST", "/old/path", {"content": b""}),
    ("DELETE", "/old/path", {"headers": {"content-length": "0"}}),
]


def sending(*messages: dict[str, Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain"), *headers]}


def piece(body: Any, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def asgi_telling(scope: Any, receive: Any, send: Any) -> None:
    names = (
        "root_path",
        "path",
        "raw_path",
        "query_string",
        "method",
        "path_params",
        "state",
        "app",
        "route",
        "endpoint",
    )
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    scope["state"]["left"] = "here"
    await send(start())
    await send(piece(repr([scope.get(name) for name in names]).encode() + body))


async def asgi_failing(scope: Any, receive: Any, send: Any) -> None:
    raise LookupError("boom")


async def asgi_failing_after_its_start(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    raise LookupError("boom")


async def asgi_failing_in_the_end(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    await send(piece(b"whole"))
    raise LookupError("too late")


ASGI_APPS: dict[str, Any] = {
    "whole": sending(start(), piece(b"whole")),
    "pieces": sending(start(), piece(b"one", more=True), piece(b"", more=True), piece(b"two")),
    "nothing": sending(start(404), piece(b"")),
    "a bytearray": sending(start(), piece(bytearray(b"bytes"))),
    "without a body": sending({**start(204), "headers": [(b"x-a", b"a")]}, piece(b"")),
    "what it is told": asgi_telling,
    "text": sending(start(), piece("text")),
    "a status that is none": sending({**start(), "status": 20}, piece(b"x")),
    "a header with a line in it": sending(start(200, (b"x-a", b"a\r\nb")), piece(b"x")),
    "a header with no name": sending(start(200, (b"x a", b"b")), piece(b"x")),
    "a header of text": sending(start(200, ("x-a", "b")), piece(b"x")),  # type: ignore[arg-type]  # which is wrong
    "two starts": sending(start(), start(), piece(b"x")),
    "no start": sending(piece(b"x")),
    "no end": sending(start()),
    "no response": sending(),
    "what nobody knows": sending(start(), {"type": "http.response.unknown"}, piece(b"x")),
    "a failure": asgi_failing,
    "a failure after the start": asgi_failing_after_its_start,
    "a failure in the end": asgi_failing_in_the_end,
}


@pytest.mark.parametrize("name", ASGI_APPS)
def test_an_asgi_app_with_nothing_around_it(serve: Serve, name: str, caplog: pytest.LogCaptureFixture) -> None:
    def answers(middleware: list[Any], **options: Any) -> Any:
        caplog.clear()
        client = serve(DualRoute([Mount("/old", app=ASGI_APPS[name])], middleware=middleware, **options))
        responses = [client.request(method, path, **more) for method, path, more in REQUESTS]
        # What follows the headers of an answer to HEAD is the server's to leave out, as it does for any application.
        told = [
            (answer.status_code, answer.request.method == "HEAD" or answer.content, answer.headers.multi_items())
            for answer in responses
        ]
        return told, failures(caplog)

    assert answers([]) == answers([generator])
    handlers = {LookupError: lambda request, error: PlainTextResponse(f"handled {error}")}
    assert answers([], exception_handlers=handlers) == answers([generator], exception_handlers=handlers)


# Middleware inside one another: nothing stands between two of a kind but on the long way


class Around:
    """The base of middleware for ASGI: hands on what it gets."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def changing(message: Any) -> None:
            await send(self.change(message))

        await self.app(self.scope(scope), receive, changing)

    def scope(self, scope: Any) -> Any:
        return scope

    def change(self, message: Any) -> Any:
        return message


class Stamps(Around):
    def change(self, message: Any) -> Any:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-stamp", b"yes")]
        return message


class StampsInPlace(Around):
    def change(self, message: Any) -> Any:
        if message["type"] == "http.response.start":
            message["headers"].insert(0, (b"X-Stamp", b"yes"))
        return message


class SpoilsHeaders(Around):
    def change(self, message: Any) -> Any:
        if message["type"] == "http.response.start":
            message["headers"].append((b"x-a", b"a\r\nb"))
        return message


class SpoilsBodies(Around):
    def change(self, message: Any) -> Any:
        return {**message, "body": "text"} if message.get("body") else message


class TakesBodies(Around):
    def change(self, message: Any) -> Any:
        if message["type"] == "http.response.start":
            return {**message, "status": 204}
        return message


class ChangesScope(Around):
    def scope(self, scope: Any) -> Any:
        scope["headers"].append((b"x-a", b"changed"))
        scope["state"]["told"] = "yes"
        return {**scope, "query_string": b"q=changed", "path": "/elsewhere", "user": "somebody"}


class MakesGet(Around):
    def scope(self, scope: Any) -> Any:
        return {**scope, "method": "GET"}


class Shouts(Around):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def shouting() -> Any:
            message = await receive()
            return {**message, "body": message.get("body", b"").upper()}

        await self.app(scope, shouting, send)


class FailsFirst(Around):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("first")


class FailsLast(Around):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)
        raise LookupError("last")


class FailsSending(Around):
    def change(self, message: Any) -> Any:
        raise LookupError("sending")


class Refuses(Around):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise HTTPException(403, "refused")


class Catches(Around):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self.app(scope, receive, send)
        except LookupError as error:
            await PlainTextResponse(f"caught {error}", status_code=500)(scope, receive, send)


class Retries(Around):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def nowhere(message: Any) -> None:
            pass

        if scope["method"] != "POST":  # whose body is there only once
            await self.app(scope, receive, nowhere)
        await self.app(scope, receive, send)


class Answers(Around):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send(start(201, (b"connection", b"close")))
        await send(piece(bytearray(b"in "), more=True))
        await send(piece(b"pieces"))


class SaysNothing(Around):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        pass


class OnlyStarts(Around):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send(start())


class CancelsItself(Around):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError


ASGI_KINDS = list(Around.__subclasses__())


class WSGIAround:
    """The same for WSGI."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.app(environ, start_response)


class WSGIStamps(WSGIAround):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        def stamping(status: str, headers: Any, exc_info: Any = None) -> Any:
            return start_response(status, [*headers, ("X-Stamp", "yes")])

        return self.app(environ, stamping)


class WSGISpoilsHeaders(WSGIAround):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        def spoiling(status: str, headers: Any, exc_info: Any = None) -> Any:
            return start_response(status, [*headers, ("x-a", "a\r\nb")])

        return self.app(environ, spoiling)


class WSGIGenerates(WSGIAround):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        for piece in self.app(environ, start_response):
            yield piece.upper()


class WSGIChanges(WSGIAround):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        environ = {**environ, "HTTP_X_A": "changed", "QUERY_STRING": "q=changed", "x.told": "yes"}
        return self.app(environ, start_response)


class WSGIShouts(WSGIAround):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        body = environ["wsgi.input"].read().upper()
        environ.update({"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
        return self.app(environ, start_response)


class WSGIFailsFirst(WSGIAround):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        raise LookupError("first")


class WSGIFailsLast(WSGIAround):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.app(environ, start_response)
        raise LookupError("last")


class WSGIRefuses(WSGIAround):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        raise HTTPException(403, "refused")


class WSGICatches(WSGIAround):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        try:
            return list(self.app(environ, start_response))
        except LookupError as error:
            start_response("500 Caught", TEXT, sys.exc_info())
            return [f"caught {error}".encode()]


class WSGIRetries(WSGIAround):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] != "POST":  # as above
            self.app(environ, lambda status, headers, exc_info=None: None)
        return self.app(environ, start_response)


class WSGIAnswers(WSGIAround):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        start_response("201 Made", [*TEXT, ("Connection", "close")])
        return Closing(b"in ", b"pieces")


class WSGISaysNothing(WSGIAround):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        return [b"x"]


WSGI_KINDS = [WSGIAround, *WSGIAround.__subclasses__()]


def told_of(request: Any) -> str:
    names = ("path", "root_path", "query_string", "method", "user")
    return f"{request.path} {request.query_params} {request.headers.get('x-a')} {request.method} " + repr(
        [request.scope.get(name) for name in names] + [request.state._state]
    )


def telling_handler(request: SyncRequest) -> Response:
    return PlainTextResponse(told_of(request), background=BackgroundTask(ran.append, "telling"))


async def async_telling_handler(request: Request) -> Response:
    return PlainTextResponse(told_of(request), background=BackgroundTask(ran.append, "telling"))


async def echoing(request: Request) -> Response:
    return StreamingResponse(request.stream(), background=BackgroundTask(ran.append, "echoing"))


def failing_handler(request: SyncRequest) -> Response:
    raise LookupError("boom")


ran: list[str] = []

ROUTES: list[Any] = [
    Route("/", telling_handler),
    Route("/async", async_telling_handler),
    Route("/echo", echoing, methods=["POST"]),
    Route("/fail", failing_handler),
    Mount("/old", app=telling),
]

ASKED: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/?q=a", {"headers": {"x-a": "a"}}),
    ("GET", "/async?q=a", {}),
    ("HEAD", "/async", {}),
    ("POST", "/echo", {"content": b"body"}),
    ("GET", "/fail", {}),
    ("GET", "/old/path", {}),
    ("GET", "/none", {}),
]


def answers_of(serve: Serve, caplog: pytest.LogCaptureFixture, middleware: list[Any], handlers: Any) -> Any:
    """Return all that can be told of how an app with this middleware answers."""
    caplog.clear()
    ran.clear()
    client = serve(DualRoute(ROUTES, middleware=middleware, exception_handlers=handlers))
    told: list[Any] = []
    for method, path, more in ASKED:
        try:
            answer = client.request(method, path, **more)
        except Exception as error:
            told.append((path, repr(error)))
        else:
            content = method == "HEAD" or answer.content
            told.append((path, answer.status_code, content, sorted(answer.headers.multi_items())))
    return told, failures(caplog), list(ran)


def pairs(kinds: list[Any], *common: Any) -> list[Any]:
    """Return each kind in each of the common ones, and around each of them."""
    found = {
        (outer, inner): None
        for common_one in common
        for kind in kinds
        for outer, inner in ((kind, common_one), (common_one, kind))
    }
    return [pytest.param(*pair, id=f"{pair[0].__name__}-{pair[1].__name__}") for pair in found]


HANDLERS: dict[Any, Any] = {LookupError: lambda request, error: PlainTextResponse(f"handled {error}")}


@pytest.mark.parametrize(("outer", "inner"), pairs(ASGI_KINDS, Stamps, ChangesScope, Shouts, Retries))
def test_an_asgi_middleware_in_another(serve: Serve, outer: Any, inner: Any, caplog: pytest.LogCaptureFixture) -> None:
    for handlers in ({}, HANDLERS):
        chained = answers_of(serve, caplog, [Middleware(outer), Middleware(inner)], handlers)
        apart = answers_of(serve, caplog, [Middleware(outer), generator, Middleware(inner), generator], handlers)
        assert chained == apart


@pytest.mark.protocol("asgi")  # under WSGI nobody tells of a client that goes
@pytest.mark.parametrize("middleware", [[], [Middleware(Stamps)], [Middleware(Stamps), Middleware(Stamps)]])
def test_what_is_sent_without_end_and_without_waiting_ends_when_the_client_goes(middleware: list[Any]) -> None:
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        while True:
            await send(piece(b"piece", more=True))

    async def receive() -> Any:
        await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"testserver")]}
    app = DualRoute(fallback=endless, middleware=middleware)
    asyncio.run(asyncio.wait_for(app.asgi(scope, receive, send), 20))


@pytest.mark.parametrize(("outer", "inner"), pairs(WSGI_KINDS, WSGIStamps, WSGIChanges, WSGIShouts, WSGIRetries))
def test_a_wsgi_middleware_in_another(serve: Serve, outer: Any, inner: Any, caplog: pytest.LogCaptureFixture) -> None:
    if (outer, inner) == (WSGIRetries, WSGIShouts):
        return  # where there is no body, to read it twice is an error on the long way alone
    for handlers in ({}, HANDLERS):
        chained = answers_of(serve, caplog, [WSGIMiddleware(outer), WSGIMiddleware(inner)], handlers)
        apart = answers_of(
            serve, caplog, [WSGIMiddleware(outer), generator, WSGIMiddleware(inner), generator], handlers
        )
        assert chained == apart
