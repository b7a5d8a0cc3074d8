"""Mounted ASGI applications that break the rules of their protocol: a clean 500 and a log line that names them.

Each test of behaviour runs in all the ways that lead into an application: see `tests.mounted_asgi_helper`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

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


def app_broken(caplog: pytest.LogCaptureFixture) -> str:
    """Return what the AppBroken in the one log line says."""
    (record,) = [record for record in caplog.records if record.name == "dualroute"]
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    error = record.exc_info[1]
    assert type(error).__name__ == "AppBroken"
    return str(error)


async def nothing(scope: Any, receive: Receive, send: Send) -> None:
    pass


async def only_start(scope: Any, receive: Receive, send: Send) -> None:
    await start(send)


async def empty_piece(scope: Any, receive: Receive, send: Send) -> None:
    await start(send)
    await more(send, b"")


async def body_first(scope: Any, receive: Receive, send: Send) -> None:
    await end(send, b"x")


async def starts_twice(scope: Any, receive: Receive, send: Send) -> None:
    await start(send)
    await start(send)


@pytest.mark.parametrize(
    ("application", "complaint"),
    [
        (nothing, "nothing returned without a response"),
        (only_start, "only_start returned before the end of its response"),
        (empty_piece, "empty_piece returned before the end of its response"),
        (body_first, "body_first sent 'http.response.body' before 'http.response.start'"),
        (starts_twice, "starts_twice sent 'http.response.start' twice"),
    ],
)
def test_a_response_that_does_not_come_about_is_a_500(
    way: Way, application: Any, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = way.ask(way.app(application))
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert app_broken(caplog).endswith(complaint)
    assert app_broken(caplog).startswith("the ASGI app ")


def test_an_instance_is_named_by_its_class(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    class Shop:
        async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
            pass

    assert way.ask(way.app(ASGIApp(Shop(), lifespan=False))).status == 500
    assert "Shop returned without a response" in app_broken(caplog)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_response_that_stops_half_way_is_cut_and_logged_once(
    way: Way, at_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    taken = Gate()

    async def stops(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, b"one")
        if not at_once:
            await taken.wait()

    conversation = way.open(way.app(stops))
    assert conversation.piece() == b"one"
    taken.open()
    answer = conversation.finish()
    assert (answer.status, answer.body, answer.cut) == (200, b"one", True)
    assert app_broken(caplog).endswith("stops returned before the end of its response")


STATUSES: list[Any] = ["200", b"200", None, 99, 1000, -200, 200.0, True]


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_that_is_none_is_a_500(way: Way, status: Any, caplog: pytest.LogCaptureFixture) -> None:
    answer = way.ask(way.app(answering(b"x", status=status)))
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert f"gave the status {status!r}" in app_broken(caplog)


def test_no_status_is_a_500(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "headers": []})

    assert way.ask(way.app(application)).status == 500
    assert "gave the status None" in app_broken(caplog)


@pytest.mark.parametrize("status", [200, 299, 418, 599, 999])
def test_any_status_of_three_digits_is_sent(way: Way, status: int) -> None:
    assert way.ask(way.app(answering(b"x", status=status))).status == status


BAD_HEADERS: list[Any] = [
    [(b"x-a", b"one\r\nx-b: two")],
    [(b"x-a", b"one\ntwo")],
    [(b"x-a", b"one\rtwo")],
    [(b"x-a", b"one\0two")],
    [(b"x-a\r\nx-b", b"1")],
    [(b"x a", b"1")],
    [(b"", b"1")],
    [("x-a", "1")],
    [(b"x-a", 1)],
    [(b"x-a",)],
    [b"x-a"],
    7,
    [(b"location", b"/x\r\nset-cookie: a=1")],
    [(b"set-cookie", b"a=1\r\nx-b: 1")],
]


@pytest.mark.parametrize("headers", BAD_HEADERS, ids=repr)
def test_a_header_that_can_t_be_sent_is_a_500_before_anything_is_sent(
    way: Way, headers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x"})

    answer = way.ask(way.app(application))
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert not {name for name, _ in answer.headers} & {"x-a", "x-b", "set-cookie", "location"}
    assert "gave a response header that can't be sent" in app_broken(caplog)


@pytest.mark.parametrize("body", ["text", 5, [b"x"]], ids=repr)
@pytest.mark.parametrize("more_body", [False, True])
def test_a_body_that_is_no_bytes_is_a_500(
    way: Way, body: Any, more_body: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await send({"type": "http.response.body", "body": body, "more_body": more_body})

    answer = way.ask(way.app(application))
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert "application" in app_broken(caplog)


# What the application is told


def test_the_application_is_told_what_it_did_wrong_and_may_go_on(way: Way) -> None:
    raised: list[str] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        for message in (
            {"type": "http.response.body", "body": b"x"},
            {"type": "http.response.start", "status": "200"},
            {"type": "http.response.start", "status": 201},
            {"type": "http.response.start", "status": 202},
            {"type": "http.response.body", "body": b"x", "more_body": True},
            {"type": "http.response.start", "status": 203},
            {"type": "http.response.body", "body": b"y"},
            {"type": "http.response.body", "body": b"z"},
            {"type": "http.response.start", "status": 204},
        ):
            try:
                await send(message)
                raised.append("")
            except Exception as error:
                raised.append(str(error))

    answer = way.ask(way.app(application))
    assert (answer.status, answer.body) == (201, b"xy")
    for line, complaint in zip(
        raised,
        [
            "before 'http.response.start'",
            "gave the status '200'",
            "",
            "twice",
            "",
            "twice",
            "",
            "after the end",
            "twice",
        ],
        strict=True,
    ):
        assert complaint in line
        assert bool(complaint) == bool(line)


def test_a_body_after_the_end_is_an_error_in_the_application_and_the_response_stands(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    raised = Gate()

    async def goes_on(scope: Any, receive: Receive, send: Send) -> None:
        await respond(send, b"x")
        try:
            await end(send, b"y")
        except Exception:
            raised.open()
            raise

    answer = way.ask(way.app(goes_on))
    assert (answer.status, answer.body, answer.cut) == (200, b"x", False)
    assert raised.reached()
    waited = 0
    while not errors(caplog) and waited < TIMEOUT * 100:
        asyncio.run(asyncio.sleep(0.01))
        waited += 1
    (line,) = errors(caplog)
    assert line.endswith("goes_on failed after its response")


def test_a_message_without_a_type_is_a_500(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send({"status": 200})

    assert way.ask(way.app(application)).status == 500
    assert len(errors(caplog)) == 1


# Extensions that were not offered


def test_trailers_are_dropped(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1")], "trailers": True})
        await more(send, b"one")
        await end(send, b"two")
        await send({"type": "http.response.trailers", "headers": [(b"x-b", b"1")], "more_trailers": False})

    answer = way.ask(way.app(application))
    assert (answer.status, answer.body, answer.cut) == (200, b"onetwo", False)
    assert answer.headers == [("x-a", "1")]
    assert reports(caplog) == []


@pytest.mark.parametrize("kind", ["http.response.push", "http.response.debug", "made.up"])
def test_messages_that_nobody_knows_are_dropped(way: Way, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": kind})
        await start(send)
        await send({"type": kind})
        await more(send, b"one")
        await send({"type": kind})
        await end(send, b"two")
        await send({"type": kind})

    answer = way.ask(way.app(application))
    assert (answer.status, answer.body, answer.cut) == (200, b"onetwo", False)
    assert reports(caplog) == []


def test_an_extension_that_the_server_offers_reaches_it_where_the_application_is_bare(
    event_loop_thread: EventLoopThread,
) -> None:
    sent: list[Any] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "trailers": True})
        await end(send, b"x")
        await send({"type": "http.response.trailers", "headers": [], "more_trailers": False})

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "2",
        "method": "GET",
        "path": "/m/",
        "query_string": b"",
        "headers": [],
        "extensions": {"http.response.trailers": {}},
    }
    way = Way("asgi-bare", event_loop_thread)
    event_loop_thread.run(way.app(application)(scope, receive, send))
    assert [message["type"] for message in sent] == [
        "http.response.start",
        "http.response.body",
        "http.response.trailers",
    ]
    assert sent[0]["trailers"] is True


# Cancellation that is the application's own


def test_an_application_that_raises_cancelled_error_by_itself_is_a_500(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    assert way.ask(way.app(application)).status == 500
    assert len(errors(caplog)) == 1


def test_an_application_that_raises_cancelled_error_half_way_is_cut(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, b"one")
        raise asyncio.CancelledError

    answer = way.ask(way.app(application))
    assert (answer.status, answer.body, answer.cut) == (200, b"one", True)
    assert len(errors(caplog)) == 1


def test_the_server_s_task_is_left_uncancelled(event_loop_thread: EventLoopThread) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    for name in ("asgi-bare", "asgi-wrapped"):
        way = Way(name, event_loop_thread)
        app = way.app(application)

        async def serve(scope: Any, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)  # noqa: B023
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

        assert way.ask(serve).status == 500


def test_an_application_that_fails_after_it_read_the_body_does_not_hang(way: Way) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        raise LookupError

    assert way.ask(way.app(application), "POST", upload=Upload([b"abc"])).status == 500
