"""Mounted ASGI applications over time: bodies as they come, and work that goes on after them.

Each test of behaviour runs in all the ways that lead into an application: see `tests.mounted_asgi_helper`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from dualroute.bodies import BUFFER_SIZE
from dualroute_asgi.mounted import ASGIApp
from tests.mounted_asgi_helper import (
    TIMEOUT,
    WAYS,
    Gate,
    Receive,
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
)
from tests.transports import EventLoopThread


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, event_loop_thread: EventLoopThread) -> Iterator[Way]:
    made = Way(request.param, event_loop_thread)
    yield made
    made.close()


@pytest.fixture(params=[name for name in WAYS if name != "asgi-bare"])
def apart(request: pytest.FixtureRequest, event_loop_thread: EventLoopThread) -> Iterator[Way]:
    """The ways in which the application has a task of its own."""
    made = Way(request.param, event_loop_thread)
    yield made
    made.close()


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    body = await read(receive)
    await respond(send, b"cut short" if body is None else body)


# The request body


@pytest.mark.parametrize(
    "upload",
    [
        Upload([]),
        Upload([b"abc"]),
        Upload([b"a", b"b", b"c"]),
        Upload([b"x" * 100_000, b"y" * 100_000]),
        Upload([], chunked=True),
        Upload([b"a", b"b", b"c"], chunked=True),
        # RFC 9112 section 6.3: the length is not to be trusted beside a Transfer-Encoding.
        Upload([b"a", b"b", b"c"], chunked=True, announced=1),
        Upload([b"a", b"b", b"c"], chunked=True, announced=100),
    ],
    ids=["none", "one", "three", "large", "chunked none", "chunked", "understated", "overstated"],
)
def test_the_request_body_arrives_whole(way: Way, upload: Upload) -> None:
    answer = way.ask(way.app(echo), "POST", upload=upload)
    assert answer.body == b"".join(piece for piece in upload.pieces if isinstance(piece, bytes))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_body_there_is_one_event_that_is_empty_and_the_last(way: Way, method: str) -> None:
    events: list[Any] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        events.append(await receive())
        await respond(send)

    way.ask(way.app(application), method)
    assert events == [{"type": "http.request", "body": b"", "more_body": False}]


def test_pieces_of_the_body_come_as_events_of_which_only_the_last_is_the_last(way: Way) -> None:
    events: list[Any] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        while not events or events[-1]["more_body"]:
            events.append(await receive())
        await respond(send)

    way.ask(way.app(application), "POST", upload=Upload([b"ab", b"cd", b"ef"]))
    assert all(event["type"] == "http.request" for event in events)
    assert b"".join(event["body"] for event in events) == b"abcdef"
    assert [event["more_body"] for event in events] == [True] * (len(events) - 1) + [False]
    # Under WSGI the length tells which is the last; the server of these tests sends an empty one for that.
    assert len(events) == (3 if way.protocol == "wsgi" else 4)


@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_arrives_as_it_comes(way: Way, chunked: bool) -> None:
    arrived = threading.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        first = await receive()
        arrived.set()
        await respond(send, first["body"] + b"|" + (await read(receive) or b""))

    # The second piece comes when the first has arrived.
    upload = Upload([b"one", arrived, b"two"], chunked=chunked)
    assert way.ask(way.app(application), "POST", upload=upload).body == b"one|two"


def test_a_request_body_need_not_be_read(way: Way) -> None:
    assert way.ask(way.app(answering(b"x")), "POST", upload=Upload([b"abc"])).body == b"x"


def test_the_body_can_be_read_while_the_response_goes_out(way: Way) -> None:
    """Under WSGI one thread does both, so while it waits for the client to send, nothing goes out."""
    taken = threading.Event()
    if way.protocol == "wsgi":
        taken.set()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, b"begun|")
        await end(send, await read(receive) or b"")

    conversation = way.open(way.app(application), "POST", upload=Upload([b"one", taken, b"two"]))
    assert conversation.piece() == b"begun|"
    taken.set()
    assert conversation.finish().body == b"begun|onetwo"


def test_receiving_and_sending_may_go_on_at_once_in_tasks(way: Way) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def reads() -> None:
            while (message := await receive())["more_body"]:
                await pieces.put(message["body"])
            await pieces.put(message["body"])
            await pieces.put(None)

        async def sends() -> None:
            await start(send)
            while (piece := await pieces.get()) is not None:
                await more(send, piece)
            await end(send)

        async with asyncio.TaskGroup() as group:
            group.create_task(reads())
            group.create_task(sends())

    upload = Upload([b"%d," % number for number in range(100)])
    assert way.ask(way.app(application), "POST", upload=upload).body == b"".join(upload.pieces)  # type: ignore[arg-type]  # all bytes


def test_a_task_that_listens_for_the_disconnect_beside_the_stream_is_in_nobody_s_way(way: Way) -> None:
    """As frameworks do it that are written with anyio."""
    cancelled = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        async def listens() -> None:
            try:
                while (await receive())["type"] != "http.disconnect":
                    pass
            except anyio.get_cancelled_exc_class():
                cancelled.open()
                raise

        async with anyio.create_task_group() as group:
            group.start_soon(listens)
            await start(send)
            for _ in range(3):
                await more(send, b"x")
                await anyio.sleep(0)
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await end(send, b"y")

    assert way.ask(way.app(application), "POST", upload=Upload([b"abc"])).body == b"xxxy"
    assert cancelled.is_open()


# The response


def test_the_first_piece_reaches_the_server_while_the_application_waits(way: Way) -> None:
    release = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send, 203)
        await more(send, b"one")
        await release.wait()
        await end(send, b"two")

    conversation = way.open(way.app(application))
    assert (conversation.piece(), conversation.answer.status) == (b"one", 203)
    release.open()
    assert conversation.piece() == b"two"
    assert conversation.finish().body == b"onetwo"


def test_each_piece_reaches_the_server_as_it_comes(way: Way) -> None:
    gates = [Gate() for _ in range(5)]

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        for number, gate in enumerate(gates):
            await gate.wait()
            await more(send, b"%d" % number)
        await end(send)

    gates[0].open()
    conversation = way.open(way.app(application))
    for number, following in enumerate([*gates[1:], Gate()]):
        assert conversation.piece() == b"%d" % number
        following.open()
    assert conversation.piece() is None


@pytest.mark.parametrize(
    ("pieces", "body"),
    [([b""], b""), ([b"abc"], b"abc"), ([b"a", b"", b"b", b""], b"ab"), ([b"", b"", b"c"], b"c"), ([b"", b""], b"")],
)
def test_the_pieces_of_a_response_come_in_order_and_empty_ones_do_not_end_it(
    way: Way, pieces: list[bytes], body: bytes
) -> None:
    answer = way.ask(way.app(answering(*pieces)))
    assert (answer.status, answer.body, answer.cut) == (200, body, False)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_piece_is_taken_as_it_was_when_it_was_sent(apart: Way, kind: Any) -> None:
    buffer = bytearray(b"one")

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, kind(buffer))
        buffer[:] = b"two"
        await end(send, kind(buffer))

    assert apart.ask(apart.app(application)).body == b"onetwo"


@pytest.mark.parametrize("size", [10, 1_000])
def test_the_application_s_send_waits_where_the_server_takes_nothing(way: Way, size: int) -> None:
    sent = 0

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal sent
        await start(send)
        for _ in range(20_000):
            await more(send, bytes(size))
            sent += 1
        await end(send)

    conversation = way.open(way.app(ASGIApp(application, buffer_size=10_000, lifespan=False)), slow=True)
    assert conversation.piece() == bytes(size)
    _settled(lambda: sent)
    assert sent * (size + 256) <= 10_000 + 5 * (size + 256)
    for _ in range(100):
        assert conversation.piece() == bytes(size)
    conversation.leave()
    assert sent < 20_000


def test_the_application_s_send_waits_when_all_buffers_are_full(way: Way) -> None:
    sent = 0

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal sent
        await start(send)
        for _ in range(1_000):
            await more(send, bytes(10_000))
            sent += 1
        await end(send)

    conversation = way.open(way.app(application), slow=True)
    assert conversation.piece() == bytes(10_000)
    _settled(lambda: sent)
    assert sent * 10_000 <= 2 * BUFFER_SIZE + 50_000
    assert len(conversation.finish().body) == 10_000_000


def test_a_buffer_is_refilled_as_the_server_takes(way: Way) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        for number in range(3_000):
            await more(send, b"%06d" % number)
        await end(send)

    answer = way.ask(way.app(ASGIApp(application, buffer_size=1_000, lifespan=False)), slow=True)
    assert answer.body == b"".join(b"%06d" % number for number in range(3_000))


def _settled(value: Any) -> None:
    """Wait until a value no longer changes."""
    last, same = None, 0
    waiting = threading.Event()
    for _ in range(1_000):
        waiting.wait(0.01)
        same = same + 1 if value() == last else 0
        last = value()
        if same == 20:
            return
    raise AssertionError("it goes on and on")


# After the body


def test_receive_after_the_body_waits_until_the_response_is_over(way: Way) -> None:
    received = Gate()
    events: list[Any] = []
    gate = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        async def listens() -> None:
            events.append(await receive())
            received.open()

        await read(receive)
        listening = asyncio.create_task(listens())
        await start(send)
        await more(send, b"one")
        await gate.wait()
        await asyncio.sleep(0)
        assert not received.is_open(), "the response is not over yet"
        await end(send, b"two")
        await asyncio.wait_for(listening, TIMEOUT)

    conversation = way.open(way.app(application), "POST", upload=Upload([b"abc"]))
    assert conversation.piece() == b"one"
    gate.open()
    assert conversation.finish().body == b"onetwo"
    assert received.reached()
    assert events == [{"type": "http.disconnect"}]


@pytest.mark.parametrize("read_before", [False, True])
def test_receive_after_the_whole_response_is_a_disconnect(
    way: Way, read_before: bool, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Any] = []
    received = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if read_before:
            await read(receive)
        await respond(send, b"x")
        while not events or events[-1]["type"] == "http.request":
            events.append(await asyncio.wait_for(receive(), TIMEOUT))
        received.open()

    assert way.ask(way.app(application), "POST", upload=Upload([b"abc"])).body == b"x"
    assert received.reached()
    assert events[-1]["type"] == "http.disconnect"
    assert reports(caplog) == []


def test_work_after_the_response_goes_on(way: Way) -> None:
    """Under WSGI the server's thread does not wait for it; under ASGI its task does, as it does for other apps."""
    release, done = Gate(), Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await respond(send, b"x")
        await release.wait()
        done.open()

    conversation = way.open(way.app(application))
    assert conversation.piece() == b"x"
    if way.protocol == "wsgi":
        assert conversation.finish().body == b"x"
        assert not done.is_open()
    else:
        assert conversation.piece() is None, "the response is complete at once"
        assert not conversation.over()
    release.open()
    assert done.reached()


def test_work_after_a_streamed_response_goes_on(way: Way) -> None:
    release, done = Gate(), Gate()
    taken = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, b"one")
        await taken.wait()
        await end(send, b"two")
        await release.wait()
        done.open()

    conversation = way.open(way.app(application))
    assert conversation.piece() == b"one"
    taken.open()
    assert (conversation.piece(), conversation.piece()) == (b"two", None)
    if way.protocol == "wsgi":
        conversation.leave()
    else:
        assert not conversation.over()
    assert not done.is_open()
    release.open()
    assert done.reached()


@pytest.mark.parametrize("streamed", [False, True])
def test_work_after_the_response_that_fails_is_logged_once_and_the_response_stands(
    way: Way, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        if streamed:
            await more(send, b"x")
            await asyncio.sleep(0)
        await end(send, b"y")
        await asyncio.sleep(0)
        raise LookupError("afterwards")

    answer = way.ask(way.app(application))
    assert (answer.status, answer.body, answer.cut) == (200, b"xy" if streamed else b"y", False)
    _until(lambda: errors(caplog))
    (line,) = errors(caplog)
    assert line.endswith("application failed after its response")
    assert "LookupError: afterwards" in caplog.text


def _until(condition: Any) -> None:
    waiting = threading.Event()
    for _ in range(TIMEOUT * 100):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come about")
