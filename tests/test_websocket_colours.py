"""WebSocketEndpoint methods in either colour, limits of messages and of waiting, subprotocols, origins, closing."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from dualroute import (
    DualRoute,
    Limits,
    Mount,
    SyncWebSocket,
    WebSocket,
    WebSocketEndpoint,
    WebSocketException,
    WebSocketRoute,
    check_origin,
)
from tests.mounted_asgi_helper import TIMEOUT
from tests.websocket_helper import closed_with, converse, data, messages, text, websocket_scope


def thread() -> str:
    return threading.current_thread().name


class Plain(WebSocketEndpoint):
    encoding = "json"
    log: list[Any] = []  # noqa: RUF012  # cleared by each test

    def on_connect(self, websocket: SyncWebSocket, room: str) -> None:
        websocket.state.room = room
        websocket.accept(headers={"x-room": room})
        websocket.send_text(thread())

    def on_receive(self, websocket: SyncWebSocket, data: Any) -> None:
        websocket.send_json([websocket.state.room, data])
        websocket.send_bytes(b"\x00")

    def on_disconnect(self, websocket: SyncWebSocket, close_code: int) -> None:
        self.log.append((thread(), close_code, websocket.path, websocket.client_state.name))


class Mixed(WebSocketEndpoint):
    async def on_connect(self, websocket: WebSocket, **path_params: Any) -> None:
        assert thread() == "MainThread"
        await websocket.accept()

    def on_receive(self, websocket: SyncWebSocket, data: Any) -> None:
        websocket.send_text(thread())
        if data == "close":
            websocket.close(4000, "asked to")
        if data == "raise":
            raise WebSocketException(4001, "no")
        if data == "break":
            raise LookupError

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        assert thread() == "MainThread"
        Plain.log.append(close_code)


@pytest.fixture(autouse=True)
def _log() -> None:
    Plain.log.clear()


def test_plain_methods_run_in_the_pool_and_need_not_await() -> None:
    app = DualRoute([WebSocketRoute("/{room}", Plain)])
    sent = converse(app, "/a", text('{"x":1}'), code=1001)
    assert sent[0] == {"type": "websocket.accept", "subprotocol": None, "headers": [(b"x-room", b"a")]}
    assert messages(sent) == ["dualroute-handler", '["a",{"x":1}]', b"\x00"]
    assert Plain.log == [("dualroute-handler", 1001, "/a", "DISCONNECTED")]


@pytest.mark.parametrize(
    ("said", "code", "seen"), [("x", None, 1000), ("close", 4000, 1000), ("raise", 4001, 4001), ("break", 1011, 1011)]
)
def test_colours_mix_and_errors_of_a_plain_method_close(said: str, code: int | None, seen: int) -> None:
    sent = converse(DualRoute([WebSocketRoute("/", Mixed)]), "/", text(said))
    assert messages(sent) == ["dualroute-handler"]
    assert closed_with(sent) == code
    assert Plain.log == [seen]


def test_a_plain_method_waits_for_a_slow_peer_and_does_not_hold_up_the_loop() -> None:
    ticks = 0

    async def main() -> None:
        nonlocal ticks
        coming = [{"type": "websocket.connect"}, text("x"), {"type": "websocket.disconnect", "code": 1000}]
        order: list[str] = []

        async def receive() -> Any:
            return coming.pop(0)

        async def send(message: Any) -> None:
            nonlocal ticks
            if message["type"] == "websocket.send":
                for _ in range(10):
                    await asyncio.sleep(0.001)
                    ticks += 1
                order.append("sent")

        await asyncio.wait_for(DualRoute([WebSocketRoute("/", Mixed)])(websocket_scope("/"), receive, send), TIMEOUT)
        assert order == ["sent"]

    asyncio.run(main())
    assert ticks == 10


# The thread may not be waiting yet.
@pytest.mark.parametrize("pause", [0, 0.1])
def test_a_cancelled_session_does_not_leave_its_thread_waiting(pause: float) -> None:
    async def main() -> None:
        coming = [{"type": "websocket.connect"}, text("x")]
        sending = asyncio.Event()

        async def receive() -> Any:
            return coming.pop(0)

        async def send(message: Any) -> None:
            if message["type"] == "websocket.send":
                sending.set()
                await asyncio.Event().wait()  # the peer takes nothing

        app = DualRoute([WebSocketRoute("/", Mixed)])
        session = asyncio.create_task(app(websocket_scope("/"), receive, send))
        await asyncio.wait_for(sending.wait(), TIMEOUT)
        await asyncio.sleep(pause)
        session.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(session, TIMEOUT)

    asyncio.run(main())


def test_a_websocket_made_by_hand_has_no_threads() -> None:
    async def main() -> None:
        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            raise AssertionError

        with pytest.raises(RuntimeError, match="def methods need a websocket that came through a DualRoute"):
            await Plain().dispatch(WebSocket({**websocket_scope("/a"), "path_params": {"room": "a"}}, receive, send))

    asyncio.run(main())


# Limits


class Echo(WebSocketEndpoint):
    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await (websocket.send_text(data) if isinstance(data, str) else websocket.send_bytes(data))

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        Plain.log.append(close_code)


@pytest.mark.parametrize(
    "app",
    [
        DualRoute([WebSocketRoute("/", Echo)], limits=Limits(max_message_size=4)),
        DualRoute([WebSocketRoute("/", Echo, limits=Limits(max_message_size=4))], limits=Limits(max_message_size=1)),
        DualRoute([Mount("/", routes=[WebSocketRoute("/", Echo)], limits=Limits(max_message_size=4))]),
    ],
    ids=["app", "route", "mount"],
)
@pytest.mark.parametrize(
    ("said", "fits"),
    [
        (text("abcd"), True),
        (text("abcde"), False),
        (text("üü"), True),
        (text("üüx"), False),
        (data(b"abcd"), True),
        (data(b"abcde"), False),
    ],
)
def test_a_message_beyond_the_limit_closes_with_1009(app: Any, said: Any, fits: bool) -> None:
    sent = converse(app, "/", said)
    assert len(messages(sent)) == fits
    assert closed_with(sent) == (None if fits else 1009)
    assert Plain.log == [1000 if fits else 1009]


def test_a_peer_that_says_nothing_is_closed_after_a_while() -> None:
    async def main() -> list[Any]:
        sent: list[Any] = []
        coming = [{"type": "websocket.connect"}, text("x")]

        async def receive() -> Any:
            if coming:
                return coming.pop(0)
            return await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        app = DualRoute([WebSocketRoute("/", Echo)], limits=Limits(idle_timeout=0.05))
        await asyncio.wait_for(app(websocket_scope("/"), receive, send), TIMEOUT)
        return sent

    sent = asyncio.run(main())
    assert messages(sent) == ["x"]
    assert sent[-1] == {"type": "websocket.close", "code": 1001, "reason": "no message came for 0.05 s"}
    assert Plain.log == [1001]


@pytest.mark.parametrize("options", [{"max_message_size": -1}, {"idle_timeout": 0}, {"idle_timeout": -1.0}])
def test_limits_that_can_be_none_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} is a number of"):
        Limits(**options)


# Subprotocols


class Chat(WebSocketEndpoint):
    subprotocols = ("chat.v2", "chat.v1")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["chat.v1", "chat.v2"], "chat.v2"), (["other", "chat.v1"], "chat.v1"), (["other"], None), ([], None)],
)
def test_the_first_subprotocol_that_both_speak_is_accepted(offered: list[str], chosen: str | None) -> None:
    sent = converse(DualRoute([WebSocketRoute("/", Chat)]), "/", subprotocols=offered)
    assert sent[0]["subprotocol"] == chosen


def test_a_subprotocol_that_was_not_offered_is_refused_when_accepting() -> None:
    seen: list[str] = []

    async def serve(websocket: WebSocket) -> None:
        with pytest.raises(ValueError, match="has not offered the subprotocol 'b'") as caught:
            await websocket.accept("b")
        seen.append(str(caught.value))
        await websocket.accept("a")

    assert converse(DualRoute([WebSocketRoute("/", serve)]), "/", subprotocols=["a"])[0]["subprotocol"] == "a"
    assert len(seen) == 1


# Closing


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 2999, 5000])
def test_a_code_that_may_not_be_sent_is_refused(code: int) -> None:
    async def serve(websocket: WebSocket) -> None:
        await websocket.accept()
        with pytest.raises(ValueError, match=f"{code} is no code to close a websocket with"):
            await websocket.close(code)

    assert closed_with(converse(DualRoute([WebSocketRoute("/", serve)]), "/")) == 1000


def test_a_reason_that_is_too_long_is_refused_and_cut_where_it_is_an_errors() -> None:
    long = "ü" * 62

    async def serve(websocket: WebSocket) -> None:
        await websocket.accept()
        with pytest.raises(ValueError, match="at most 123 bytes"):
            await websocket.close(1000, long)
        raise WebSocketException(1006, long)

    sent = converse(DualRoute([WebSocketRoute("/", serve)]), "/")
    assert sent[-1] == {"type": "websocket.close", "code": 1011, "reason": "ü" * 61}


# Origins


def asked(origin: str | None, *origins: str, scheme: str = "ws", host: str = "testserver", **options: Any) -> str:
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    app = DualRoute([WebSocketRoute("/", Chat)], middleware=[check_origin(*origins, **options)])
    sent = converse(app, "/", headers=headers, scheme=scheme, extensions={"websocket.http.response": {}})
    return str(sent[0].get("status", sent[0]["type"]))


ACCEPTED = "websocket.accept"


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "outcome"),
    [
        ("http://testserver", "ws", "testserver", ACCEPTED),
        ("http://TESTserver:80", "ws", "testserver", ACCEPTED),
        ("http://testserver:8000", "ws", "testserver:8000", ACCEPTED),
        ("https://testserver", "wss", "testserver", ACCEPTED),
        (None, "ws", "testserver", ACCEPTED),
        ("https://testserver", "ws", "testserver", "403"),
        ("http://testserver:8001", "ws", "testserver:8000", "403"),
        ("http://evil.example", "ws", "testserver", "403"),
        ("http://testserver.evil.example", "ws", "testserver", "403"),
        ("null", "ws", "testserver", "403"),
        ("", "ws", "testserver", "403"),
        ("http://testserver:port", "ws", "testserver", "403"),
        ("http://user@testserver", "ws", "testserver", "403"),
        ("http://testserver/path", "ws", "testserver", "403"),
        ("http://[::1", "ws", "testserver", "403"),
    ],
)
def test_a_page_of_the_apps_own_origin_may_open_a_websocket(
    origin: str | None, scheme: str, host: str, outcome: str
) -> None:
    assert asked(origin, scheme=scheme, host=host) == outcome


def test_origins_that_are_named_may_and_no_others() -> None:
    named = ("https://example.org", "http://localhost:3000")
    assert asked("https://example.org", *named) == ACCEPTED
    assert asked("https://EXAMPLE.org:443", *named) == ACCEPTED
    assert asked("http://localhost:3000", *named) == ACCEPTED
    assert asked("http://testserver", *named) == "403"
    assert asked("https://exampleXorg", *named) == "403"
    assert asked("https://sub.example.org", *named) == "403"
    assert asked("http://localhost", *named) == "403"


def test_an_origin_may_be_required() -> None:
    assert asked(None, required=True) == "403"
    assert asked("http://testserver", required=True) == ACCEPTED


@pytest.mark.parametrize("origin", ["example.org", "*", "https://example.org/", "ftp://example.org", "https://", ""])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="an origin is a scheme and a host"):
        check_origin(origin)
