"""Websockets, which only ASGI has: endpoints, functions, refusals, and calls out of order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from dualroute import (
    Call,
    DualRoute,
    HTTPException,
    Mount,
    PlainTextResponse,
    Response,
    Route,
    Router,
    WebSocket,
    WebSocketDisconnect,
    WebSocketEndpoint,
    WebSocketException,
    WebSocketRoute,
    covers,
)
from dualroute.websockets import WebSocketClose, WebSocketDisconnected, WebSocketState

TIMEOUT = 20
"""How many seconds anything here may take before it counts as hanging."""

Message = dict[str, Any]


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def within_bounds() -> Any:
        return await asyncio.wait_for(main, TIMEOUT)

    return asyncio.run(within_bounds())


# asgiref has no annotations for it.
_communicator: Any = ApplicationCommunicator


class Session:
    """A peer's websocket, by way of a server that hands the events on.

    Args:
        app: the application.
        path: the path of the handshake.
        denial: True for a server that can answer a handshake with a response ("websocket.http.response").
        headers: the headers of the handshake.
    """

    def __init__(
        self,
        app: Any,
        path: str = "/ws",
        *,
        denial: bool = False,
        headers: list[tuple[bytes, bytes]] | None = None,
        subprotocols: list[str] | None = None,
    ) -> None:
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": path,
            "query_string": b"q=1",
            "root_path": "",
            "headers": [(b"host", b"testserver"), *(headers or [])],
            "subprotocols": subprotocols or [],
            "extensions": {"websocket.http.response": {}} if denial else {},
        }
        self._communicator: Any = _communicator(app, scope)

    async def put(self, kind: str, **parts: Any) -> None:
        await self._communicator.send_input({"type": f"websocket.{kind}", **parts})

    async def get(self) -> Message:
        message: Message = await self._communicator.receive_output(TIMEOUT)
        return message

    async def connect(self) -> Message:
        """Begin the handshake, and return what the app says to it."""
        await self.put("connect")
        return await self.get()

    async def say(self, text: str) -> None:
        await self.put("receive", text=text)

    async def say_bytes(self, data: bytes) -> None:
        await self.put("receive", bytes=data)

    async def leave(self, code: int | None = 1001) -> None:
        await self.put("disconnect", code=code)

    async def end(self) -> None:
        """Wait for the app to return, and see that it sent nothing that was not asked for."""
        await self._communicator.wait(TIMEOUT)
        assert self._communicator.output_queue.empty(), self._communicator.output_queue


def serving(endpoint: Any, path: str = "/ws", **options: Any) -> DualRoute:
    return DualRoute([WebSocketRoute(path, endpoint)], **options)


ACCEPTED: Message = {"type": "websocket.accept", "subprotocol": None, "headers": []}


def closing(code: int, reason: str = "") -> Message:
    return {"type": "websocket.close", "code": code, "reason": reason}


def own_records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "dualroute"]


# WebSocketEndpoint


class Recorder(WebSocketEndpoint):
    """An endpoint that notes its events in `log`."""

    log: list[Any] = []  # noqa: RUF012  # set anew by `recorder`

    async def on_connect(self, websocket: WebSocket, **path_params: Any) -> None:
        self.log.append(("connect", path_params))
        await websocket.accept()

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        self.log.append(("receive", data))
        if data == "fail":
            raise LookupError("on_receive")
        if data == "close":
            await websocket.close(4000, "asked to")

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        self.log.append(("disconnect", close_code))


def recorder(encoding: str | None) -> type[Recorder]:
    return type("RecorderOfTest", (Recorder,), {"encoding": encoding, "log": []})


@pytest.mark.parametrize(
    ("encoding", "sent", "received"),
    [
        (None, {"text": "a"}, "a"),
        (None, {"bytes": b"a"}, b"a"),
        (None, {"text": "", "bytes": None}, ""),
        ("text", {"text": "a"}, "a"),
        ("text", {"text": "a", "bytes": None}, "a"),
        ("bytes", {"bytes": b"a"}, b"a"),
        ("bytes", {"text": None, "bytes": b""}, b""),
        ("json", {"text": '{"a": [1]}'}, {"a": [1]}),
        ("json", {"bytes": b'{"a": [1]}'}, {"a": [1]}),
    ],
)
def test_an_endpoint_is_given_what_its_encoding_says(encoding: str | None, sent: Message, received: Any) -> None:
    endpoint = recorder(encoding)

    async def main() -> None:
        session = Session(serving(endpoint))
        assert await session.connect() == ACCEPTED
        await session.put("receive", **sent)
        await session.leave(1001)
        await session.end()

    run(main())
    assert endpoint.log == [("connect", {}), ("receive", received), ("disconnect", 1001)]


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [
        ("text", {"bytes": b"a"}),
        ("bytes", {"text": "a"}),
        ("json", {"text": "{"}),
        ("json", {"text": ""}),
        ("json", {"bytes": b"\xff"}),
        ("json", {"text": "[" * 100_000}),
    ],
)
def test_data_of_the_wrong_kind_closes_with_1003_and_one_line_in_the_log(
    encoding: str, sent: Message, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = recorder(encoding)

    async def main() -> None:
        session = Session(serving(endpoint))
        await session.connect()
        await session.put("receive", **sent)
        message = await session.get()
        assert (message["type"], message["code"]) == ("websocket.close", 1003)
        assert message["reason"].startswith("expected ")
        await session.end()

    run(main())
    assert endpoint.log == [("connect", {}), ("disconnect", 1003)]
    (record,) = own_records(caplog)
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert "/ws closed with 1003: expected" in record.getMessage()


@pytest.mark.parametrize(("code", "seen"), [(1000, 1000), (1001, 1001), (4999, 4999), (1005, 1005)])
def test_on_disconnect_is_told_the_peer_s_close_code(code: int, seen: int) -> None:
    endpoint = recorder(None)

    async def main() -> None:
        session = Session(serving(endpoint))
        await session.connect()
        await session.leave(code)
        await session.end()

    run(main())
    assert endpoint.log[-1] == ("disconnect", seen)


def test_on_connect_may_refuse_the_handshake_by_closing() -> None:
    log: list[str] = []

    class Refusing(WebSocketEndpoint):
        async def on_connect(self, websocket: WebSocket, **path_params: Any) -> None:
            await websocket.close(4001, "not today")

        async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
            log.append("disconnect")

    async def main() -> Message:
        session = Session(serving(Refusing))
        message = await session.connect()
        await session.end()
        return message

    assert run(main()) == closing(4001, "not today")
    assert log == [], "what was never connected does not disconnect"


def test_on_connect_that_neither_accepts_nor_closes_refuses() -> None:
    class Undecided(WebSocketEndpoint):
        async def on_connect(self, websocket: WebSocket, **path_params: Any) -> None:
            pass

    async def main() -> Message:
        session = Session(serving(Undecided))
        message = await session.connect()
        await session.end()
        return message

    assert run(main()) == closing(1000)


@pytest.mark.parametrize("style", ["by name", "all of them", "none"])
def test_on_connect_gets_path_params_as_it_asks_for_them(style: str) -> None:
    seen: list[Any] = []

    class ByName(WebSocketEndpoint):
        async def on_connect(self, websocket: WebSocket, room: str, number: int) -> None:
            seen.append((room, number))

    class AllOfThem(WebSocketEndpoint):
        async def on_connect(self, websocket: WebSocket, **path_params: Any) -> None:
            seen.append((path_params["room"], path_params["number"]))

    class Without(WebSocketEndpoint):
        async def on_connect(self, websocket: WebSocket) -> None:
            seen.append((self.scope["path_params"]["room"], websocket.path_params["number"]))

    endpoint = {"by name": ByName, "all of them": AllOfThem, "none": Without}[style]

    async def main() -> None:
        session = Session(serving(endpoint, "/{room}/{number:int}"), "/tea/7")
        await session.connect()
        await session.end()

    run(main())
    assert seen == [("tea", 7)]


def test_an_exception_in_on_receive_closes_with_1011_is_logged_once_and_disconnects(
    caplog: pytest.LogCaptureFixture,
) -> None:
    endpoint = recorder("text")

    async def main() -> Message:
        session = Session(serving(endpoint))
        await session.connect()
        await session.say("fail")
        message = await session.get()
        await session.end()
        return message

    assert run(main()) == closing(1011)
    assert endpoint.log[-1] == ("disconnect", 1011)
    (record,) = own_records(caplog)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def test_on_receive_may_close() -> None:
    endpoint = recorder("text")

    async def main() -> Message:
        session = Session(serving(endpoint))
        await session.connect()
        await session.say("close")
        message = await session.get()
        await session.leave(4000)
        await session.end()
        return message

    assert run(main()) == closing(4000, "asked to")
    assert endpoint.log[-1] == ("disconnect", 4000)


def test_each_session_has_an_instance_of_its_own() -> None:
    seen: list[WebSocketEndpoint] = []

    class Counting(WebSocketEndpoint):
        async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
            seen.append(self)

    async def main() -> None:
        app = serving(Counting)
        for _ in range(2):
            session = Session(app)
            await session.connect()
            await session.leave()
            await session.end()

    run(main())
    assert len({id(endpoint) for endpoint in seen}) == 2


def test_an_endpoint_class_is_an_asgi_app_by_itself() -> None:
    endpoint: Any = recorder("text")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        # asgiref's communicator takes a class for an app of ASGI 2; servers of today do not.
        await endpoint(scope, receive, send)

    async def main() -> None:
        session = Session(app)
        assert await session.connect() == ACCEPTED
        await session.say("a")
        await session.leave()
        await session.end()

    run(main())
    assert endpoint.log == [("connect", {}), ("receive", "a"), ("disconnect", 1001)]


# Functions


def test_a_function_gets_path_params_by_name() -> None:
    async def greet(websocket: WebSocket, name: str) -> None:
        await websocket.accept()
        await websocket.send_text(f"hello {name}, {websocket.query_params['q']}")
        await websocket.close()

    async def main() -> list[Message]:
        session = Session(serving(greet, "/{name}"), "/you")
        messages = [await session.connect(), await session.get(), await session.get()]
        await session.end()
        return messages

    assert run(main()) == [ACCEPTED, {"type": "websocket.send", "text": "hello you, 1"}, closing(1000)]


@pytest.mark.parametrize(
    ("headers", "raw"),
    [
        ({"X-A": "1"}, [(b"x-a", b"1")]),
        ([(b"x-a", b"1"), (b"x-a", b"2")], [(b"x-a", b"1"), (b"x-a", b"2")]),
    ],
    ids=["mapping", "pairs of bytes"],
)
def test_accept_takes_a_subprotocol_and_headers_in_both_forms(headers: Any, raw: list[tuple[bytes, bytes]]) -> None:
    async def choose(websocket: WebSocket) -> None:
        await websocket.accept(websocket.subprotocols[1], headers)

    async def main() -> Message:
        session = Session(serving(choose), subprotocols=["a", "b"])
        message = await session.connect()
        assert await session.get() == closing(1000)
        await session.end()
        return message

    assert run(main()) == {"type": "websocket.accept", "subprotocol": "b", "headers": raw}


def test_a_function_that_returns_without_closing_is_closed_for() -> None:
    async def short(websocket: WebSocket) -> None:
        await websocket.accept()

    async def main() -> Message:
        session = Session(serving(short))
        assert await session.connect() == ACCEPTED
        message = await session.get()
        await session.end()
        return message

    assert run(main()) == closing(1000)


def test_a_function_that_returns_without_accepting_refuses() -> None:
    async def short(websocket: WebSocket) -> None:
        pass

    async def main() -> Message:
        session = Session(serving(short))
        message = await session.connect()
        await session.end()
        return message

    assert run(main()) == closing(1000)


def test_a_function_that_returns_after_the_peer_left_is_not_closed_for() -> None:
    async def short(websocket: WebSocket) -> None:
        await websocket.accept()
        with pytest.raises(WebSocketDisconnect):
            await websocket.receive_text()

    async def main() -> None:
        session = Session(serving(short))
        assert await session.connect() == ACCEPTED
        await session.leave()
        await session.end()

    run(main())


def test_messages_of_each_kind_go_both_ways() -> None:
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.send_bytes(await websocket.receive_bytes())
        await websocket.send_json(await websocket.receive_json())
        await websocket.send_json(await websocket.receive_json("binary"), "binary")

    async def main() -> list[Message]:
        session = Session(serving(echo))
        await session.connect()
        await session.say("é")
        await session.say_bytes(b"\xff")
        await session.say('{"a":"é"}')
        await session.say_bytes(b"[1]")
        return [await session.get() for _ in range(5)]

    assert run(main()) == [
        {"type": "websocket.send", "text": "é"},
        {"type": "websocket.send", "bytes": b"\xff"},
        {"type": "websocket.send", "text": '{"a":"é"}'},
        {"type": "websocket.send", "bytes": b"[1]"},
        closing(1000),
    ]


@pytest.mark.parametrize("kind", ["text", "bytes", "json"])
def test_iter_gives_messages_until_the_peer_leaves(kind: str) -> None:
    seen: list[Any] = []

    async def listen(websocket: WebSocket) -> None:
        await websocket.accept()
        iterate: Callable[[], Any] = getattr(websocket, f"iter_{kind}")
        async for item in iterate():
            seen.append(item)
        seen.append("left")

    async def main() -> None:
        session = Session(serving(listen))
        await session.connect()
        for number in (1, 2):
            if kind == "bytes":
                await session.say_bytes(b"%d" % number)
            else:
                await session.say(str(number))
        await session.leave()
        await session.end()

    run(main())
    assert seen == {"text": ["1", "2", "left"], "bytes": [b"1", b"2", "left"], "json": [1, 2, "left"]}[kind]


@pytest.mark.parametrize(
    ("receive", "sent"), [("text", {"bytes": b"a"}), ("bytes", {"text": "a"}), ("json", {"text": "{"})]
)
def test_in_a_function_too_data_of_the_wrong_kind_closes_with_1003(
    receive: str, sent: Message, caplog: pytest.LogCaptureFixture
) -> None:
    async def listen(websocket: WebSocket) -> None:
        await websocket.accept()
        await getattr(websocket, f"receive_{receive}")()

    async def main() -> Message:
        session = Session(serving(listen))
        await session.connect()
        await session.put("receive", **sent)
        message = await session.get()
        await session.end()
        return message

    message = run(main())
    assert (message["type"], message["code"]) == ("websocket.close", 1003)
    assert all(record.exc_info is None for record in own_records(caplog))


def test_a_disconnect_carries_its_code_and_reason() -> None:
    seen: list[Any] = []

    async def listen(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await websocket.receive_text()
        except WebSocketDisconnect as gone:
            seen.append((gone.code, gone.reason, websocket.client_state))

    async def main() -> None:
        session = Session(serving(listen))
        await session.connect()
        await session.put("disconnect", code=4321, reason="bye")
        await session.end()

    run(main())
    assert seen == [(4321, "bye", WebSocketState.DISCONNECTED)]


def test_an_unhandled_disconnect_ends_the_session_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async def listen(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()

    async def main() -> None:
        session = Session(serving(listen))
        await session.connect()
        await session.leave()
        await session.end()

    run(main())
    assert own_records(caplog) == []


class _Closed(ConnectionError, RuntimeError):
    """As gunicorn has it."""


class Disconnected(RuntimeError):
    """As autobahn has it, and so daphne."""


@pytest.mark.parametrize(
    "error",
    [
        OSError("gone"),
        _Closed("gone"),
        RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed"),
        Disconnected("Attempt to send on a closed protocol"),
    ],
)
def test_a_peer_that_is_gone_while_something_is_sent_to_it_is_a_disconnect(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    seen: list[int] = []

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await websocket.send_text("a")
        except WebSocketDisconnect as gone:
            seen.append(gone.code)
            raise

    async def main() -> None:
        app: Any = serving(talk)

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            if message["type"] == "websocket.send":
                raise error
            assert message["type"] == "websocket.accept", "nothing is sent to who is gone"

        scope = {"type": "websocket", "path": "/ws", "headers": [(b"host", b"testserver")]}
        await app(scope, receive, send)

    run(main())
    assert seen == [1006]
    assert own_records(caplog) == []


@pytest.mark.parametrize(("code", "sent"), [(None, 4003), (1011, 4011), (1000, 1000), (3001, 3001)])
def test_a_server_that_takes_no_such_close_code_is_given_one_of_the_app_s_own(
    caplog: pytest.LogCaptureFixture, code: int | None, sent: int
) -> None:
    closed: list[int] = []

    class Endpoint(WebSocketEndpoint):
        encoding = "bytes"

        async def on_connect(self, websocket: WebSocket) -> None:
            await websocket.accept()
            if code is not None:
                await websocket.close(code)

    async def main() -> None:
        app: Any = serving(Endpoint)
        events = [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": "no bytes"} if code is None else {"type": "websocket.disconnect"},
        ]

        async def receive() -> Message:
            return events.pop(0)

        async def send(message: Message) -> None:
            if message["type"] == "websocket.close":
                if message["code"] != 1000 and message["code"] < 3000:  # as autobahn does
                    raise Exception(f"invalid close code {message['code']}")
                closed.append(message["code"])

        await app({"type": "websocket", "path": "/ws", "headers": [(b"host", b"testserver")]}, receive, send)

    run(main())
    assert closed == [sent]
    assert not [record for record in own_records(caplog) if record.levelname == "ERROR"]


def test_a_disconnect_before_accept_is_a_disconnect_in_accept(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []

    async def accept(websocket: WebSocket) -> None:
        try:
            await websocket.accept()
        except WebSocketDisconnect as gone:
            seen.append(gone.code)
            raise

    async def main() -> None:
        session = Session(serving(accept))
        await session.leave(1006)
        await asyncio.wait_for(_ended(session), TIMEOUT)

    run(main())
    assert seen == [1006]
    assert own_records(caplog) == []


async def _ended(session: Session) -> None:
    await session._communicator.wait(TIMEOUT)


# Calls out of order


OUT_OF_ORDER: dict[str, tuple[Callable[[WebSocket], Coroutine[Any, Any, Any]], str]] = {
    "receive before accept": (lambda ws: ws.receive_text(), "accept the websocket first"),
    "send before accept": (lambda ws: ws.send_text("a"), "accept the websocket first"),
}
AFTER_ACCEPT: dict[str, tuple[Callable[[WebSocket], Coroutine[Any, Any, Any]], str]] = {
    "accept twice": (lambda ws: ws.accept(), "was accepted before"),
    "deny after accept": (lambda ws: ws.send_denial_response(Response()), "accepted or closed before"),
}
AFTER_CLOSE: dict[str, tuple[Callable[[WebSocket], Coroutine[Any, Any, Any]], str]] = {
    "send after close": (lambda ws: ws.send_text("a"), "was closed"),
    "close twice": (lambda ws: ws.close(), "was closed"),
    "accept after close": (lambda ws: ws.accept(), "was closed"),
}


@pytest.mark.parametrize(
    ("before", "step", "message"),
    [
        *(pytest.param("", *case, id=name) for name, case in OUT_OF_ORDER.items()),
        *(pytest.param("accept", *case, id=name) for name, case in AFTER_ACCEPT.items()),
        *(pytest.param("close", *case, id=name) for name, case in AFTER_CLOSE.items()),
    ],
)
def test_a_call_out_of_order_says_what_is_wrong(
    before: str, step: Callable[[WebSocket], Coroutine[Any, Any, Any]], message: str
) -> None:
    seen: list[str] = []

    async def disordered(websocket: WebSocket) -> None:
        if before:
            await websocket.accept()
        if before == "close":
            await websocket.close()
        with pytest.raises(RuntimeError, match=message) as caught:
            await step(websocket)
        seen.append(str(caught.value))

    async def main() -> None:
        session = Session(serving(disordered))
        await session.connect()
        if before:
            await session.get()
        await session.end()

    run(main())
    assert len(seen) == 1


def test_receiving_after_the_disconnect_says_what_is_wrong() -> None:
    seen: list[str] = []

    async def listen(websocket: WebSocket) -> None:
        await websocket.accept()
        with pytest.raises(WebSocketDisconnect):
            await websocket.receive_text()
        with pytest.raises(WebSocketDisconnected, match="was disconnected") as caught:
            await websocket.receive_text()
        seen.append(str(caught.value))

    async def main() -> None:
        session = Session(serving(listen))
        await session.connect()
        await session.leave()
        await session.end()

    run(main())
    assert len(seen) == 1


def test_an_unknown_json_mode_is_refused() -> None:
    async def listen(websocket: WebSocket) -> None:
        await websocket.accept()
        with pytest.raises(ValueError, match="'text' or 'binary', not 'xml'"):
            await websocket.send_json({}, "xml")

    async def main() -> None:
        session = Session(serving(listen))
        await session.connect()
        assert await session.get() == closing(1000)
        await session.end()

    run(main())


# Refusals


DENIAL_HEADERS = [(b"content-length", b"2"), (b"content-type", b"text/plain; charset=utf-8")]


@pytest.mark.parametrize("denial", [True, False])
def test_a_denial_response_is_sent_where_the_server_can_and_closes_where_it_can_not(denial: bool) -> None:
    async def deny(websocket: WebSocket) -> None:
        await websocket.send_denial_response(PlainTextResponse("no", status_code=429, headers={"x-a": "1"}))

    async def main() -> list[Message]:
        session = Session(serving(deny), denial=denial)
        messages = [await session.connect()]
        if denial:
            messages.append(await session.get())
        await session.end()
        return messages

    if denial:
        start, body = run(main())
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
        assert sorted(start["headers"]) == sorted([*DENIAL_HEADERS, (b"x-a", b"1")])
        assert body == {"type": "websocket.http.response.body", "body": b"no"}
    else:
        assert run(main()) == [closing(1000)]


@pytest.mark.parametrize("denial", [True, False])
def test_an_http_exception_before_accept_denies_with_its_status(denial: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def deny(websocket: WebSocket) -> None:
        raise HTTPException(401, "who are you?", {"www-authenticate": "Basic"})

    async def main() -> Message:
        session = Session(serving(deny), denial=denial)
        message = await session.connect()
        if denial:
            assert (await session.get())["body"] == b"who are you?"
        await session.end()
        return message

    message = run(main())
    if denial:
        assert message["status"] == 401
        assert (b"www-authenticate", b"Basic") in message["headers"]
    else:
        assert message == closing(1000)
    assert own_records(caplog) == []


@pytest.mark.parametrize("denial", [True, False])
def test_an_exception_before_accept_denies_with_500_and_is_logged_once(
    denial: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(websocket: WebSocket) -> None:
        raise LookupError("a secret")

    async def main() -> Message:
        session = Session(serving(fail), denial=denial)
        message = await session.connect()
        if denial:
            assert b"secret" not in (await session.get())["body"]
        await session.end()
        return message

    message = run(main())
    assert message["status"] == 500 if denial else message == closing(1000)
    (record,) = own_records(caplog)
    assert record.exc_info is not None


def test_an_exception_after_accept_closes_with_1011_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(websocket: WebSocket) -> None:
        await websocket.accept()
        raise LookupError("a secret")

    async def main() -> Message:
        session = Session(serving(fail))
        await session.connect()
        message = await session.get()
        await session.end()
        return message

    assert run(main()) == closing(1011)
    (record,) = own_records(caplog)
    assert record.exc_info is not None


@pytest.mark.parametrize("accepted", [True, False])
def test_a_websocket_exception_closes_with_its_code_and_reason(
    accepted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(websocket: WebSocket) -> None:
        if accepted:
            await websocket.accept()
        raise WebSocketException(4003, "never")

    async def main() -> Message:
        session = Session(serving(fail))
        message = await session.connect()
        if accepted:
            message = await session.get()
        await session.end()
        return message

    assert run(main()) == closing(4003, "never")
    assert own_records(caplog) == []


def test_an_exception_after_close_is_logged_and_nothing_more_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()
        raise LookupError

    async def main() -> None:
        session = Session(serving(fail))
        await session.connect()
        assert await session.get() == closing(1000)
        await session.end()

    run(main())
    assert len(own_records(caplog)) == 1


@pytest.mark.parametrize("denial", [True, False])
@pytest.mark.parametrize("path", ["/none", "/http", "/mount/none"])
def test_a_handshake_for_no_websocket_route_is_refused(path: str, denial: bool) -> None:
    app = DualRoute(
        [
            Route("/http", lambda request: PlainTextResponse("")),
            Mount("/mount", routes=[Route("/none", lambda request: PlainTextResponse(""))]),
        ]
    )

    async def main() -> Message:
        session = Session(app, path, denial=denial)
        message = await session.connect()
        if denial:
            await session.get()
        await session.end()
        return message

    message = run(main())
    assert message["status"] == 404 if denial else message == closing(1000)


def test_a_handshake_with_a_malformed_target_is_refused() -> None:
    async def never(websocket: WebSocket) -> None:
        raise AssertionError

    async def main() -> Message:
        session = Session(serving(never), denial=True, headers=[(b"host", b"second")])
        message = await session.connect()
        await session.get()
        await session.end()
        return message

    assert run(main())["status"] == 400


@pytest.mark.parametrize(
    "app", [Router([WebSocketRoute("/ws", recorder(None))]), WebSocketRoute("/ws", recorder(None))]
)
def test_routers_and_routes_by_themselves_serve_and_refuse(app: Any) -> None:
    async def main() -> None:
        session = Session(app)
        assert await session.connect() == ACCEPTED
        await session.leave()
        await session.end()
        session = Session(app, "/none")
        assert await session.connect() == closing(1000)
        await session.end()

    run(main())


# Middleware


def test_middleware_that_covers_websockets_is_around_the_session_and_other_is_not_called() -> None:
    log: list[str] = []

    @covers("http", "websocket")
    def covering(connection: Any) -> Generator[Any, Any, Any]:
        log.append(f"before {connection.is_websocket}")
        yield Call(log.append, "a call")
        connection.state.token = "t"
        response = yield connection
        log.append(f"after {response}")
        return response

    def other(connection: Any) -> Generator[Any, Any, Any]:
        log.append("never")
        return (yield connection)

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        log.append(f"session {websocket.state.token}")

    app = DualRoute([WebSocketRoute("/ws", talk, middleware=[other, covering])], middleware=[other])

    async def main() -> None:
        session = Session(app)
        assert await session.connect() == ACCEPTED
        assert await session.get() == closing(1000)
        await session.end()

    run(main())
    assert log == ["before True", "a call", "session t", "after None"]


@pytest.mark.parametrize("denial", [True, False])
def test_middleware_denies_a_handshake_by_a_response(denial: bool) -> None:
    @covers("websocket")
    def deny(connection: Any) -> Generator[Any, Any, Any]:
        return PlainTextResponse("no", status_code=403)
        yield

    async def never(websocket: WebSocket) -> None:
        raise AssertionError

    async def main() -> Message:
        session = Session(serving(never, middleware=[deny]), denial=denial)
        message = await session.connect()
        if denial:
            assert (await session.get())["body"] == b"no"
        await session.end()
        return message

    message = run(main())
    assert message["status"] == 403 if denial else message == closing(1000)


def test_middleware_sees_the_exception_of_a_session(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    @covers("websocket")
    def watching(connection: Any) -> Generator[Any, Any, Any]:
        try:
            return (yield connection)
        except LookupError as error:
            seen.append(str(error))
            raise

    async def fail(websocket: WebSocket) -> None:
        await websocket.accept()
        raise LookupError("reason")

    async def main() -> Message:
        session = Session(serving(fail, middleware=[watching]))
        await session.connect()
        message = await session.get()
        await session.end()
        return message

    assert run(main()) == closing(1011)
    assert seen == ["reason"]
    assert len(own_records(caplog)) == 1


def test_a_cancelled_session_runs_its_clean_up_and_the_cancellation_reaches_the_server() -> None:
    log: list[str] = []

    class Waiting(WebSocketEndpoint):
        async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
            log.append(f"disconnect {close_code}")

    async def main() -> None:
        app: Any = serving(Waiting)
        accepted = asyncio.Event()
        events: asyncio.Queue[Message] = asyncio.Queue()
        events.put_nowait({"type": "websocket.connect"})

        async def send(message: Message) -> None:
            assert message["type"] == "websocket.accept"
            accepted.set()

        scope = {"type": "websocket", "path": "/ws", "headers": [(b"host", b"testserver")]}
        task = asyncio.create_task(app(scope, events.get, send))
        await accepted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert log == ["disconnect 1011"]


# An app that closes


@pytest.mark.parametrize(("args", "code", "reason"), [((), 1000, ""), ((1013, "later"), 1013, "later")])
def test_an_app_that_closes_refuses_a_handshake(args: tuple[Any, ...], code: int, reason: str) -> None:
    async def main() -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        await WebSocketClose(*args)({"type": "websocket"}, receive, send)
        return sent

    assert run(main()) == [{"type": "websocket.close", "code": code, "reason": reason}]


def test_an_app_that_closes_can_be_mounted() -> None:
    async def main() -> None:
        session = Session(DualRoute([Mount("/closed", app=WebSocketClose(code=1013))]), "/closed/x")
        assert await session.connect() == closing(1013)
        await session.end()

    run(main())


# A decoding of one's own


def test_an_endpoint_may_decode_messages_by_itself() -> None:
    class Lines(WebSocketEndpoint):
        async def decode(self, websocket: WebSocket, message: Any) -> Any:
            return (await super().decode(websocket, message)).split(",")

        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            await websocket.send_json(data)

    async def main() -> Message:
        session = Session(serving(Lines))
        assert await session.connect() == ACCEPTED
        await session.say("a,b")
        answer = await session.get()
        await session.leave()
        await session.end()
        return answer

    assert run(main()) == {"type": "websocket.send", "text": '["a","b"]'}
