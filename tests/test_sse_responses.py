"""Server-sent events: how they are written, what keeps a stream alive, and what ends it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualroute import DualRoute, Request, Response, Route, SyncRequest
from dualroute.sse import EventSourceResponse, ServerSentEvent
from tests.conftest import Serve
from tests.event_source_helper import Event, parsed


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (ServerSentEvent("a"), "data: a\n\n"),
        (ServerSentEvent(""), "data: \n\n"),
        (ServerSentEvent("a\nb\r\nc\rd\n"), "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
        (ServerSentEvent(" a"), "data:  a\n\n"),
        (ServerSentEvent("a\u2028b\x0bc\x85d"), "data: a\u2028b\x0bc\x85d\n\n"),
        (ServerSentEvent("é€😀"), "data: é€😀\n\n"),
        (ServerSentEvent({"a": ["é", None]}), 'data: {"a":["é",null]}\n\n'),
        (ServerSentEvent(0), "data: 0\n\n"),
        (ServerSentEvent(False), "data: false\n\n"),
        (ServerSentEvent("a", event="tick", id="7", retry=100), "event: tick\nid: 7\nretry: 100\ndata: a\n\n"),
        (ServerSentEvent(id=""), "id: \n\n"),
        (ServerSentEvent(retry=0), "retry: 0\n\n"),
        (ServerSentEvent(comment="a\nb"), ": a\n: b\n\n"),
        (ServerSentEvent("a", comment="c"), ": c\ndata: a\n\n"),
        (ServerSentEvent(), ""),
    ],
)
def test_how_an_event_is_written(event: ServerSentEvent, text: str) -> None:
    assert event.encode() == text.encode()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_is_said_comes_back(text: str) -> None:
    (event,) = parsed(ServerSentEvent(text).encode())
    assert event.data == text.replace("\r\n", "\n").replace("\r", "\n")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")))
def test_whatever_it_is_called_comes_back(text: str) -> None:
    (event,) = parsed(ServerSentEvent("x", event=text, id=text).encode())
    assert (event.id, event.event) == (text, text or "message")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"data": "x", "event": "a\nb"}, ValueError, "the event of a server-sent event is one line"),
        ({"data": "x", "event": "a\rb"}, ValueError, "is one line"),
        ({"id": "a\nb"}, ValueError, "the id of a server-sent event is one line"),
        ({"id": "a\0b"}, ValueError, "holds a NUL"),
        ({"id": 7}, TypeError, "the id of a server-sent event is a str, not int: 7"),
        ({"data": "x", "event": b"a"}, TypeError, "the event of a server-sent event is a str"),
        ({"comment": 1}, TypeError, "the comment of"),
        ({"retry": -1}, ValueError, "retry is a number of milliseconds"),
        ({"retry": 1.5}, TypeError, "retry is a whole number of milliseconds, not 1.5"),
        ({"retry": True}, TypeError, "retry is a whole number"),
        ({"event": "done"}, ValueError, "an event without data reaches nobody: give 'done' data"),
    ],
)
def test_what_a_client_would_drop_or_take_for_something_else_is_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ServerSentEvent(**options)


@pytest.mark.parametrize("content", ["text", b"bytes", {"data": "x"}, 7, None])
def test_a_response_takes_an_iterable_of_events(content: Any) -> None:
    with pytest.raises(TypeError, match="takes an iterable or an async iterable of events, not"):
        EventSourceResponse(content)


@pytest.mark.parametrize("ping", [0, -1, float("nan")])
def test_a_ping_takes_time(ping: float) -> None:
    with pytest.raises(ValueError, match="ping is a number of seconds above 0, or None"):
        EventSourceResponse([], ping=ping)


EVENTS: list[Any] = ["one", {"data": {"n": 2}, "id": "2", "event": "num"}, ServerSentEvent("three\n3")]


def a_list() -> Any:
    return EVENTS


def a_generator() -> Iterator[Any]:
    yield from EVENTS


async def an_async_generator() -> AsyncIterator[Any]:
    for event in EVENTS:
        yield event


SOURCES = pytest.mark.parametrize("source", [a_list, a_generator, an_async_generator])


def app_for(make: Callable[[Any], Response]) -> DualRoute:
    async def handler(request: Request) -> Response:
        return make(request)

    def handler_sync(request: SyncRequest) -> Response:
        return make(request)

    return DualRoute([Route("/async", handler), Route("/def", handler_sync)])


@SOURCES
@pytest.mark.parametrize("path", ["/async", "/def"])
def test_a_response_says_what_its_events_say(serve: Serve, source: Callable[[], Any], path: str) -> None:
    answer = serve(app_for(lambda request: EventSourceResponse(source()))).get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers
    assert "content-encoding" not in answer.headers
    assert answer.text == 'data: one\n\nevent: num\nid: 2\ndata: {"n":2}\n\ndata: three\ndata: 3\n\n'
    assert parsed(answer.content) == [
        Event("message", "one", ""),
        Event("num", '{"n":2}', "2"),
        Event("message", "three\n3", "2"),
    ]


def test_headers_that_are_given_come_first() -> None:
    response = EventSourceResponse([], 202, {"Cache-Control": "no-store"})
    assert (response.status_code, response.headers["cache-control"]) == (202, "no-store")


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (7, "an event is a ServerSentEvent, a mapping of its fields or a str, not int: 7"),
        (b"data: x\n\n", "not bytes"),
        (None, "not NoneType"),
        ({"date": "x"}, "has data, event, id, retry and comment, not 'date'; for a value that is to be sent as JSON"),
        ({"data": object()}, "not JSON serializable"),
        ("\ud800", "surrogates not allowed"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_what_is_no_event_is_an_error_in_the_log(
    serve: Serve, event: Any, message: str, is_async: bool, caplog: Any
) -> None:
    closed: list[str] = []

    def events() -> Iterator[Any]:
        try:
            yield event
        finally:
            closed.append("closed")

    async def async_events() -> AsyncIterator[Any]:
        try:
            yield event
        finally:
            closed.append("closed")

    make: Any = async_events if is_async else events
    answer = serve(app_for(lambda request: EventSourceResponse(make()))).get("/async")
    assert answer.status_code == 500
    assert message in caplog.text
    assert closed == ["closed"]


def test_a_client_that_comes_back_says_what_it_has_got(serve: Serve) -> None:
    seen: list[Any] = []

    def make(request: Any) -> Response:
        seen.append(request.last_event_id)
        return EventSourceResponse([])

    client = serve(app_for(make))
    for path in ("/async", "/def"):
        client.get(path)
        client.get(path, headers={"last-event-id": "7"})
        client.get(path, headers=[(b"last-event-id", "é€".encode())])
        client.get(path, headers=[(b"last-event-id", b"\xff")])
    assert seen == [None, "7", "é€", "\ufffd"] * 2


# What keeps it alive


def test_comments_fill_the_silence_of_an_async_iterable(serve: Serve) -> None:
    silence: list[str] = []
    heard = threading.Event()

    async def events() -> AsyncIterator[str]:
        yield "one"
        async with asyncio.timeout(20):
            while not heard.is_set():
                await asyncio.sleep(0.01)
        yield "two"

    def transform(connection: Any) -> Generator[Any, Any, Any]:
        """Listen to what goes by, which the pieces of a keep-alive do not."""
        response = yield connection
        silence.append(type(response.body_iterator).__name__)
        return response

    app = app_for(lambda request: EventSourceResponse(events(), ping=0.05))
    app.add_middleware(transform)
    threading.Timer(0.5, heard.set).start()
    answer = serve(app).get("/async")
    assert [event.data for event in parsed(answer.content)] == ["one", "two"]
    assert answer.text.startswith("data: one\n\n: keep-alive\n\n: keep-alive\n\n")
    assert answer.text.endswith(": keep-alive\n\ndata: two\n\n")
    assert silence == ["_AsyncEvents"]


def test_a_stream_that_has_nothing_to_say_yet_begins_anyway(serve: Serve) -> None:
    async def events() -> AsyncIterator[str]:
        await asyncio.sleep(0.4)
        yield "late"

    answer = serve(app_for(lambda request: EventSourceResponse(events(), ping=60))).get("/async")
    assert answer.text == ": keep-alive\n\ndata: late\n\n"


def test_there_need_be_none(serve: Serve) -> None:
    async def events() -> AsyncIterator[str]:
        await asyncio.sleep(0.3)
        yield "late"

    answer = serve(app_for(lambda request: EventSourceResponse(events(), ping=None))).get("/async")
    assert answer.text == "data: late\n\n"


def test_an_error_after_a_comment_cuts_the_stream(serve: Serve, caplog: Any) -> None:
    async def events() -> AsyncIterator[str]:
        await asyncio.sleep(0.4)
        raise RuntimeError("nothing comes")
        yield ""

    client = serve(app_for(lambda request: EventSourceResponse(events())))
    with pytest.raises((ConnectionResetError, AssertionError)):
        client.get("/async")
    (record,) = caplog.records
    assert "which is cut short" in record.getMessage()


def test_a_body_that_was_transformed_is_not_disturbed(serve: Serve) -> None:
    async def events() -> AsyncIterator[str]:
        await asyncio.sleep(0.3)
        yield "late"

    def transform(connection: Any) -> Generator[Any, Any, Any]:
        response = yield connection
        body = response.body_iterator

        async def upper() -> AsyncIterator[bytes]:
            async for piece in body:
                yield piece.upper()

        response.body_iterator = upper()
        return response

    app = app_for(lambda request: EventSourceResponse(events(), ping=0.05))
    app.add_middleware(transform)
    assert serve(app).get("/async").text == "DATA: LATE\n\n"


def test_context_variables_and_timeouts_of_a_generator_are_its_own(serve: Serve) -> None:
    tasks: set[Any] = set()

    async def events() -> AsyncIterator[str]:
        async with asyncio.timeout(20):
            for number in range(3):
                tasks.add(asyncio.current_task())
                await asyncio.sleep(0.1)
                yield str(number)

    answer = serve(app_for(lambda request: EventSourceResponse(events(), ping=0.03))).get("/async")
    assert [event.data for event in parsed(answer.content)] == ["0", "1", "2"]
    assert len(tasks) == 1, "one task makes them all"


@pytest.mark.protocol("asgi")  # the other has one thread that sends, and nobody to interrupt it
def test_nothing_goes_out_behind_the_end(protocol: str, event_loop_thread: Any) -> None:
    async def events() -> AsyncIterator[str]:
        yield "one"

    async def converse() -> list[Any]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if not sent:
                return {"type": "http.request"}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            await asyncio.sleep(0.1)
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": "/async",
            "query_string": b"",
            "headers": [],
        }
        await app_for(lambda request: EventSourceResponse(events(), ping=0.01))(scope, receive, send)
        await asyncio.sleep(0.3)
        return sent

    start, *bodies = event_loop_thread.run(converse())
    assert start["type"] == "http.response.start"
    assert [bool(message.get("more_body")) for message in bodies] == [True] * (len(bodies) - 1) + [False]


def test_head_is_answered_at_once(serve: Serve) -> None:
    async def events() -> AsyncIterator[str]:
        pytest.fail("nobody wants them")
        yield ""

    answer = serve(app_for(lambda request: EventSourceResponse(events()))).head("/async")
    assert (answer.status_code, answer.content) == (200, b"")
