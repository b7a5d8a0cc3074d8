"""Websockets of mounted ASGI applications: on ASGI only, and answered 501 under WSGI."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from dualroute import DualRoute, Host, Mount, PlainTextResponse, Response, Router, WebSocketException, covers
from dualroute.exceptions import HTTPException
from dualroute_asgi.mounted import ASGIApp
from tests.mounted_asgi_helper import TIMEOUT, Receive, Send, Way, errors, reports, respond
from tests.transports import EventLoopThread
from tests.websocket_helper import closed_with, converse, data, messages, text, websocket_scope

DENIABLE: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}


class Echo:
    """An application that accepts, echoes until the peer goes, and keeps its scopes."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.codes: list[int] = []

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        self.scopes.append(scope)
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.accept", "subprotocol": None, "headers": [(b"x-a", b"1")]})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message.get("bytes"), "text": message.get("text")})
        assert message["type"] == "websocket.disconnect"
        self.codes.append(message["code"])

    @property
    def scope(self) -> Any:
        (scope,) = self.scopes
        return scope


@covers("http", "websocket")
def transparent(connection: Any) -> Generator[Any, Any, Any]:
    return (yield connection)


MIDDLEWARE = pytest.mark.parametrize("middleware", [[], [transparent]], ids=["bare", "wrapped"])


@MIDDLEWARE
def test_an_application_accepts_echoes_and_learns_how_it_ended(middleware: list[Any]) -> None:
    echo = Echo()
    sent = converse(DualRoute([Mount("/m", app=echo)], middleware=middleware), "/m/x", text("a"), data(b"b"), code=4321)
    assert sent[0] == {"type": "websocket.accept", "subprotocol": None, "headers": [(b"x-a", b"1")]}
    assert messages(sent) == ["a", b"b"]
    assert closed_with(sent) is None, "the peer has gone: there is nothing to close"
    assert echo.codes == [4321]


@pytest.mark.parametrize(
    ("path", "root_path", "app_path", "app_root_path"),
    [
        ("/m/x/y?a=1", "", "/m/x/y", "/m"),
        ("/m/", "", "/m/", "/m"),
        ("/outer/m/x?a=1", "/outer", "/outer/m/x", "/outer/m"),
    ],
)
@MIDDLEWARE
def test_the_path_is_split_as_it_is_for_requests(
    middleware: list[Any], path: str, root_path: str, app_path: str, app_root_path: str
) -> None:
    echo = Echo()
    app = DualRoute([Mount("/m", app=echo)], middleware=middleware)
    converse(app, path, root_path=root_path, subprotocols=["one"], extensions={"made.up": {}})
    assert (echo.scope["path"], echo.scope["root_path"]) == (app_path, app_root_path)
    assert echo.scope["query_string"] == (b"a=1" if "?" in path else b"")
    assert (echo.scope["subprotocols"], echo.scope["extensions"]) == (["one"], {"made.up": {}})
    assert not {"app", "router", "route", "endpoint"} & set(echo.scope)


@pytest.mark.parametrize(
    ("around", "path", "root_path", "params"),
    [
        (lambda app: {"routes": [Mount("/{a}", routes=[Mount("/b", app=app)])]}, "/x/b/c", "/x/b", {"a": "x"}),
        (lambda app: {"routes": [Mount("/a", app=DualRoute([Mount("/b", app=app)]))]}, "/a/b/c", "/a/b", {}),
        (lambda app: {"routes": [Host("{name}.example.org", app=app)]}, "/x", "", {"name": "one"}),
        (lambda app: {"routes": [Mount("/a", app=Router([]))], "fallback": app}, "/a/x", "", {}),
    ],
    ids=["mounts", "applications", "host", "fallback"],
)
@MIDDLEWARE
def test_nested_mounts_hosts_and_fallbacks_lead_to_it(
    middleware: list[Any], around: Any, path: str, root_path: str, params: dict[str, Any]
) -> None:
    echo = Echo()
    app = DualRoute(**around(echo), middleware=middleware)
    assert messages(converse(app, path, text("a"), headers=[(b"host", b"one.example.org")])) == ["a"]
    assert (echo.scope["path"], echo.scope["root_path"], echo.scope["path_params"]) == (path, root_path, params)


def test_an_application_served_by_itself_has_websockets() -> None:
    echo = Echo()
    assert messages(converse(ASGIApp(echo, lifespan=False), "/x", text("a"))) == ["a"]
    assert (echo.scope["path"], echo.scope["root_path"]) == ("/x", "")


@MIDDLEWARE
def test_an_application_closes_with_a_code(middleware: list[Any]) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4000, "reason": "enough"})

    sent = converse(DualRoute([Mount("/m", app=application)], middleware=middleware), "/m/")
    assert sent[1:] == [{"type": "websocket.close", "code": 4000, "reason": "enough"}]


@MIDDLEWARE
def test_an_application_denies_by_a_response_of_its_own(middleware: list[Any]) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 418, "headers": [(b"x-a", b"1")]})
        await send({"type": "websocket.http.response.body", "body": b"no ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"tea"})

    sent = converse(DualRoute([Mount("/m", app=application)], middleware=middleware), "/m/", **DENIABLE)
    assert sent == [
        {"type": "websocket.http.response.start", "status": 418, "headers": [(b"x-a", b"1")]},
        {"type": "websocket.http.response.body", "body": b"no ", "more_body": True},
        {"type": "websocket.http.response.body", "body": b"tea"},
    ]


@MIDDLEWARE
@pytest.mark.parametrize("received", [False, True])
def test_an_application_that_returns_without_accepting_refuses(middleware: list[Any], received: bool) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if received:
            await receive()

    sent = converse(DualRoute([Mount("/m", app=application)], middleware=middleware), "/m/", **DENIABLE)
    assert [event["type"] for event in sent] == ["websocket.close"]


@MIDDLEWARE
def test_an_application_that_returns_leaves_the_session_closed(middleware: list[Any]) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    sent = converse(DualRoute([Mount("/m", app=application)], middleware=middleware), "/m/")
    assert [event["type"] for event in sent] == ["websocket.accept", "websocket.close"]
    assert closed_with(sent) == 1000


@MIDDLEWARE
def test_an_application_that_raises_before_accepting_is_a_500(
    middleware: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        raise LookupError("here")

    app = DualRoute([Mount("/m", app=application)], middleware=middleware)
    sent = converse(app, "/m/", **DENIABLE)
    assert sent[0]["status"] == 500
    assert [event["type"] for event in converse(app, "/m/")] == ["websocket.close"]
    assert reports(caplog) == ["unhandled exception in GET /m/"] * 2
    assert "LookupError: here" in caplog.text


@MIDDLEWARE
def test_an_application_that_raises_after_accepting_is_closed_with_1011(
    middleware: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise LookupError("here")

    assert closed_with(converse(DualRoute([Mount("/m", app=application)], middleware=middleware), "/m/")) == 1011
    assert reports(caplog) == ["unhandled exception in GET /m/"]


@pytest.mark.parametrize(("error", "code"), [(WebSocketException(4001), 4001), (HTTPException(409), 409)])
@MIDDLEWARE
def test_an_exception_of_ours_says_how_it_is_refused(middleware: list[Any], error: Exception, code: int) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        raise error

    first = converse(DualRoute([Mount("/m", app=application)], middleware=middleware), "/m/", **DENIABLE)[0]
    assert first.get("code", first.get("status")) == code


@MIDDLEWARE
def test_an_exception_handler_sees_what_the_application_raises(middleware: list[Any]) -> None:
    seen: list[Exception] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        raise LookupError

    def handler(websocket: Any, error: Exception) -> Response:
        seen.append(error)
        return PlainTextResponse("handled", 418)

    app = DualRoute([Mount("/m", app=application)], middleware=middleware, exception_handlers={LookupError: handler})
    assert converse(app, "/m/", **DENIABLE)[0]["status"] == 418
    assert len(seen) == 1


def test_middleware_that_covers_websockets_is_around_it_and_other_middleware_is_not() -> None:
    log: list[str] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        log.append(f"application {scope['state']}")
        await receive()
        await send({"type": "websocket.accept"})

    @covers("websocket")
    def around(connection: Any) -> Generator[Any, Any, Any]:
        connection.state.user = "ada"
        log.append("in")
        outcome = yield connection
        log.append(f"out {outcome}")
        return outcome

    def others(connection: Any) -> Generator[Any, Any, Any]:
        log.append("http only")
        return (yield connection)

    converse(DualRoute([Mount("/m", app=application, middleware=[around, others])]), "/m/")
    assert log == ["in", "application {'user': 'ada'}", "out None"]


def test_middleware_may_deny_before_the_application() -> None:
    echo = Echo()

    @covers("websocket")
    def denies(connection: Any) -> Generator[Any, Any, Any]:
        return PlainTextResponse("no", 401)
        yield

    sent = converse(DualRoute([Mount("/m", app=echo)], middleware=[denies]), "/m/", **DENIABLE)
    assert (sent[0]["status"], echo.scopes) == (401, [])


def test_middleware_sees_what_the_application_raises() -> None:
    seen: list[str] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise LookupError("here")

    @covers("websocket")
    def catches(connection: Any) -> Generator[Any, Any, Any]:
        try:
            return (yield connection)
        except LookupError as error:
            seen.append(str(error))
            return None

    sent = converse(DualRoute([Mount("/m", app=application)], middleware=[catches]), "/m/")
    assert (seen, closed_with(sent)) == (["here"], 1000)


@MIDDLEWARE
def test_a_send_to_a_peer_that_is_gone_is_an_os_error_in_the_application(
    middleware: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[Exception] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await send({"type": "websocket.send", "text": "x"})
        except OSError as error:
            raised.append(error)
            raise

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            raise ConnectionResetError

    app = DualRoute([Mount("/m", app=application)], middleware=middleware)
    asyncio.run(asyncio.wait_for(app(websocket_scope("/m/"), receive, send), TIMEOUT))
    assert len(raised) == 1


@MIDDLEWARE
def test_an_application_that_ends_by_the_peer_s_going_is_no_error(
    middleware: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "x"})

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            raise ConnectionResetError

    app = DualRoute([Mount("/m", app=application)], middleware=middleware)
    asyncio.run(asyncio.wait_for(app(websocket_scope("/m/"), receive, send), TIMEOUT))
    assert errors(caplog) == []


@MIDDLEWARE
def test_sending_and_receiving_go_on_at_once(middleware: list[Any]) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        await receive()
        await send({"type": "websocket.accept"})

        async def receives() -> None:
            while (message := await receive())["type"] == "websocket.receive":
                await queue.put(message["text"])
            await queue.put(None)

        async with asyncio.TaskGroup() as group:
            group.create_task(receives())
            while (item := await queue.get()) is not None:
                await send({"type": "websocket.send", "text": item})

    events = [text(str(number)) for number in range(20)]
    sent = converse(DualRoute([Mount("/m", app=application)], middleware=middleware), "/m/", *events)
    assert messages(sent) == [str(number) for number in range(20)]


@MIDDLEWARE
def test_the_state_of_the_lifespan_is_there(middleware: list[Any]) -> None:
    states: list[Any] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pool"] = "one"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            states.append(scope["state"])

    async def main() -> None:
        app = DualRoute([Mount("/m", app=application)], middleware=middleware)
        started = asyncio.Event()
        events: asyncio.Queue[Any] = asyncio.Queue()

        async def started_send(message: Any) -> None:
            started.set()

        lifespan = asyncio.create_task(app({"type": "lifespan"}, events.get, started_send))
        events.put_nowait({"type": "lifespan.startup"})
        await asyncio.wait_for(started.wait(), TIMEOUT)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            pass

        await app(websocket_scope("/m/", state={"outer": 1}), receive, send)
        events.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait_for(lifespan, TIMEOUT)

    asyncio.run(main())
    assert states == [{"pool": "one", "outer": 1}]


# Under WSGI


@pytest.mark.parametrize("fallback", [False, True])
def test_under_wsgi_a_handshake_is_answered_501(
    event_loop_thread: EventLoopThread, fallback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Any] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        asked.append(scope)
        await respond(send, b"x")

    mounted = ASGIApp(application, lifespan=False)
    app = DualRoute([], fallback=mounted) if fallback else DualRoute([Mount("/m", app=mounted)])
    way = Way("wsgi-bare", event_loop_thread)
    headers = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "x")]
    answer = way.ask(app, path="/m/x", headers=headers)
    assert answer.status == 501
    assert b"websocket" in answer.body
    assert asked == []
    assert len(reports(caplog)) == 1
    assert way.ask(app, path="/m/x").body == b"x"
