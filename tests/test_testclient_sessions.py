"""TestClient: the lifespan, and websockets."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
import starlette.applications
import starlette.responses
import starlette.routing

from dualroute import (
    ASGIApp,
    DualRoute,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    WebSocket,
    WebSocketEndpoint,
    WebSocketException,
    WebSocketRoute,
)
from dualroute.testclient import (
    ProtocolViolation,
    TestClient,
    WebSocketDenialResponse,
    WebSocketDisconnect,
)

Protocol = Literal["asgi", "wsgi"]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "dualroute")


class Boom(Exception):
    pass


# The lifespan


def living(events: list[str], *, fails: str = "") -> Any:
    """Return a Starlette app whose lifespan leaves its traces."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        events.append("startup")
        if fails == "startup":
            raise Boom("at the start")
        yield {"pool": "open"}
        if fails == "shutdown":
            raise Boom("at the end")
        events.append("shutdown")

    async def show(request: Any) -> Any:
        events.append("request")
        return starlette.responses.PlainTextResponse(request.state.pool)

    return starlette.applications.Starlette(routes=[starlette.routing.Route("/", show)], lifespan=lifespan)


@pytest.mark.parametrize("times", [1, 2])
def test_the_lifespan_of_what_is_mounted_is_run_by_the_with_block(protocol: Protocol, times: int) -> None:
    events: list[str] = []
    app = DualRoute([Mount("/", app=living(events))])
    client = TestClient(app, protocol=protocol)
    for _ in range(times):
        with client:
            assert events[-1] == "startup"
            assert client.get("/").text == "open"
    assert events == ["startup", "request", "shutdown"] * times


def test_an_app_may_be_served_by_both_protocols_at_once() -> None:
    events: list[str] = []
    app = DualRoute([Mount("/", app=living(events))])
    with TestClient(app) as one, TestClient(app, protocol="wsgi") as other:
        assert one.get("/").text == other.get("/").text == "open"
    assert events == ["startup", "startup", "request", "request", "shutdown", "shutdown"]


def test_a_start_up_that_fails_is_raised(protocol: Protocol) -> None:
    app = DualRoute([Mount("/", app=living([], fails="startup"))])
    with pytest.raises(RuntimeError, match="at the start"), TestClient(app, protocol=protocol):
        pytest.fail("the block was entered")


@pytest.mark.parametrize("event", ["startup", "shutdown"])
def test_of_a_foreign_app_it_is_the_exception_itself(event: str) -> None:
    events: list[str] = []
    with pytest.raises(Boom), TestClient(living(events, fails=event)) as client:
        assert client.get("/").text == "open"
    assert events == (["startup"] if event == "startup" else ["startup", "request"])


def test_a_shutdown_that_fails_does_not_replace_the_failure_of_the_test() -> None:
    with pytest.raises(ZeroDivisionError), TestClient(living([], fails="shutdown")):
        raise ZeroDivisionError


def test_an_app_without_a_lifespan_is_served_without() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"served"})

    with TestClient(app) as client:
        assert client.get("/").text == "served"


def test_an_app_that_says_that_it_failed_and_no_more_is_believed() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="the app's startup failed: no database"), TestClient(app):
        pytest.fail("the block was entered")


def test_a_shutdown_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualroute.testclient.life.GRACE", 0.05)
    cancelled = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    with pytest.raises(RuntimeError, match="did not end within"), TestClient(app):
        pass
    assert cancelled.wait(30)


def test_without_a_with_block_nothing_is_started_under_asgi() -> None:
    events: list[str] = []
    client = TestClient(living(events), raise_server_exceptions=False)
    assert client.get("/").status_code == 500  # as there is no state
    client.close()
    assert "startup" not in events


def test_a_task_of_a_handler_goes_on_until_the_block_ends() -> None:
    ended: list[str] = []
    tasks = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("cancelled")

    async def start(request: Request) -> Response:
        tasks.append(asyncio.create_task(work()))
        return PlainTextResponse("")

    with TestClient(DualRoute([Route("/", start)])) as client:
        client.get("/")
        client.get("/")
        assert ended == []
    assert ended == ["cancelled"] * 2


# WebSockets


class Live(WebSocketEndpoint):
    encoding = "json"

    async def on_connect(self, websocket: WebSocket, **path_params: Any) -> None:
        await websocket.accept(
            subprotocol=websocket.subprotocols[-1] if websocket.subprotocols else None, headers={"x-live": "1"}
        )

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_json(data)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{websocket.query_params.get('q', '')}{text}")
        await websocket.send_bytes(text.encode())


async def closes(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close(4000, "enough")


async def refuses(websocket: WebSocket) -> None:
    await websocket.close(4001, "no")


async def denies(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("who are you?", status_code=401, headers={"x-why": "1"}))


async def fails(websocket: WebSocket) -> None:
    raise Boom


async def fails_later(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    raise Boom


async def throws(websocket: WebSocket) -> None:
    await websocket.accept()
    raise WebSocketException(4002, "thrown")


async def binary(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(await websocket.receive_json("binary"), "binary")


app = DualRoute(
    [
        WebSocketRoute("/live", Live),
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/closes", closes),
        WebSocketRoute("/refuses", refuses),
        WebSocketRoute("/denies", denies),
        WebSocketRoute("/fails", fails),
        WebSocketRoute("/fails_later", fails_later),
        WebSocketRoute("/throws", throws),
        WebSocketRoute("/binary", binary),
    ]
)


@pytest.mark.parametrize("url", ["/echo?q=1", "ws://testserver/echo?q=1", "http://testserver/echo?q=1"])
@pytest.mark.parametrize("around", [app, DualRoute([Mount("/", app=ASGIApp(app))])], ids=["ours", "mounted"])
def test_messages_go_both_ways(url: str, around: DualRoute) -> None:
    with TestClient(around).websocket_connect(url) as session:
        for text in ("a", "b"):
            session.send_text(text)
            assert session.receive_text() == f"1{text}"
            assert session.receive_bytes() == text.encode()


def test_json_and_a_subprotocol() -> None:
    with TestClient(app).websocket_connect("/live", ["v1", "v2"]) as session:
        assert session.accepted_subprotocol == "v2"
        assert (b"x-live", b"1") in session.extra_headers
        session.send_json({"é": 1})
        assert session.receive_json() == {"é": 1}
    with TestClient(app).websocket_connect("/binary") as session:
        session.send_json([1], mode="binary")
        assert session.receive_json(mode="binary") == [1]


def test_the_handshake_carries_what_the_client_has() -> None:
    async def show(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(
            [str(websocket.url), websocket.cookies, websocket.headers["x-a"], websocket.headers["x-b"]]
        )

    client = TestClient(
        DualRoute([WebSocketRoute("/ws", show)]),
        base_url="https://example.org/",
        cookies={"c": "1"},
        headers={"X-A": "a"},
    )
    with client.websocket_connect("/ws", headers={"X-B": "b"}, params={"q": "1"}) as session:
        assert session.receive_json() == ["wss://example.org/ws?q=1", {"c": "1"}, "a", "b"]


def test_the_handshake_takes_what_any_request_takes() -> None:
    async def show(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(websocket.cookies)

    with TestClient(DualRoute([WebSocketRoute("/ws", show)])).websocket_connect("/ws", cookies={"c": "1"}) as session:
        assert session.receive_json() == {"c": "1"}


def test_the_app_closes() -> None:
    with TestClient(app).websocket_connect("/closes") as session, pytest.raises(WebSocketDisconnect) as caught:
        session.receive_text()
    assert (caught.value.code, caught.value.reason) == (4000, "enough")


def test_the_app_refuses() -> None:
    with pytest.raises(WebSocketDisconnect) as caught, TestClient(app).websocket_connect("/refuses"):
        pytest.fail("the block was entered")
    assert (caught.value.code, caught.value.reason) == (4001, "no")
    assert not isinstance(caught.value, WebSocketDenialResponse)


def test_the_app_denies_by_a_response() -> None:
    with pytest.raises(WebSocketDenialResponse) as caught, TestClient(app).websocket_connect("/denies"):
        pytest.fail("the block was entered")
    denial = caught.value
    assert (denial.status_code, denial.text, denial.headers["x-why"], denial.code) == (401, "who are you?", "1", 1006)
    assert str(denial) == "the websocket was refused with status 401: who are you?"


def test_a_path_that_is_none_is_404() -> None:
    with pytest.raises(WebSocketDenialResponse) as caught, TestClient(app).websocket_connect("/none"):
        pytest.fail("the block was entered")
    assert caught.value.status_code == 404


@pytest.mark.parametrize("path", ["/fails", "/fails_later"])
def test_an_exception_of_the_endpoint_is_raised(path: str) -> None:
    def talk() -> None:
        with TestClient(app).websocket_connect(path) as session:
            session.send_text("go")
            session.receive_text()

    with pytest.raises(Boom):
        talk()


def test_an_exception_is_raised_at_the_end_of_the_block_at_the_latest() -> None:
    with pytest.raises(Boom), TestClient(app).websocket_connect("/fails_later") as session:
        session.send_text("go")


def test_or_is_what_a_client_would_see() -> None:
    client = TestClient(app, raise_server_exceptions=False)
    with pytest.raises(WebSocketDenialResponse, match="500"), client.websocket_connect("/fails"):
        pytest.fail("the block was entered")
    with client.websocket_connect("/fails_later") as session:
        session.send_text("go")
        with pytest.raises(WebSocketDisconnect) as caught:
            session.receive_text()
    assert caught.value.code == 1011


def test_a_websocket_exception_closes() -> None:
    with TestClient(app).websocket_connect("/throws") as session, pytest.raises(WebSocketDisconnect) as caught:
        session.receive_text()
    assert (caught.value.code, caught.value.reason) == (4002, "thrown")


def test_the_app_learns_how_the_session_was_closed() -> None:
    codes: list[Any] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await websocket.receive_text()
        except WebSocketDisconnect as gone:
            codes.append((gone.code, gone.reason))

    client = TestClient(DualRoute([WebSocketRoute("/", endpoint)]))
    with client.websocket_connect("/") as session:
        session.close(4003, "bye")
    with client.websocket_connect("/"):
        pass
    assert codes == [(4003, "bye"), (1000, "")]


def test_the_peer_may_leave_while_the_app_sends() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text("x")
            await asyncio.sleep(0)

    with TestClient(DualRoute([WebSocketRoute("/", endpoint)])).websocket_connect("/") as session:
        assert session.receive_text() == "x"


def test_that_the_peer_has_left_is_no_failure_of_the_app() -> None:
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "text": "x"})
            await asyncio.sleep(0)

    with TestClient(endless).websocket_connect("/") as session:
        assert session.receive_text() == "x"


def test_an_app_that_does_not_end_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualroute.testclient.sessions.GRACE", 0.05)
    cancelled = threading.Event()

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    with TestClient(DualRoute([WebSocketRoute("/", endpoint)])) as client:
        with client.websocket_connect("/"):
            pass
        assert cancelled.wait(30)


def test_an_app_that_neither_accepts_nor_refuses_shows() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        pass

    with pytest.raises(ProtocolViolation, match="without accepting"), TestClient(silent).websocket_connect("/"):
        pytest.fail("the block was entered")


def test_a_session_needs_its_block() -> None:
    session = TestClient(app).websocket_connect("/echo")
    with pytest.raises(RuntimeError, match=r"with client.websocket_connect"):
        session.send_text("x")


def test_on_wsgi_the_answer_says_why_there_are_none() -> None:
    client = TestClient(app, protocol="wsgi")
    with pytest.raises(WebSocketDenialResponse, match=r"no websockets") as caught, client.websocket_connect("/echo"):
        pytest.fail("the block was entered")
    assert caught.value.status_code == 501


def test_two_sessions_talk_through_the_app() -> None:
    waiting: list[WebSocket] = []

    async def relay(websocket: WebSocket) -> None:
        await websocket.accept()
        waiting.append(websocket)
        async for text in websocket.iter_text():
            for other in waiting:
                if other is not websocket:
                    await other.send_text(text)

    with (
        TestClient(DualRoute([WebSocketRoute("/", relay)])) as client,
        client.websocket_connect("/") as one,
        client.websocket_connect("/") as other,
    ):
        one.send_text("over")
        other.send_text("and back")
        assert (one.receive_text(), other.receive_text()) == ("and back", "over")
