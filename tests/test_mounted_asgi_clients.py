"""Mounted ASGI applications whose requests end early or are many: clients that go, failures half-way, the one loop.

Each test of behaviour runs in all the ways that lead into an application: see `tests.mounted_asgi_helper`.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from dualroute import DualRoute, Mount
from dualroute_asgi.mounted import ASGIApp
from dualroute_wsgi.loop import worker_loop
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
    transparent,
)
from tests.test_loop import python
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


@pytest.fixture
def wsgi(event_loop_thread: EventLoopThread) -> Iterator[Way]:
    """For what is about a WSGI worker alone."""
    made = Way("wsgi-bare", event_loop_thread)
    yield made
    made.close()


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    body = await read(receive)
    await respond(send, b"cut short" if body is None else body)


# The client goes


@pytest.mark.parametrize("waits_in", ["receive", "send"])
def test_a_client_that_goes_half_way_ends_the_application(
    way: Way, waits_in: str, caplog: pytest.LogCaptureFixture
) -> None:
    ended = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await read(receive)
        await start(send)
        await more(send, b"one")
        try:
            while waits_in == "send":
                await more(send, bytes(100_000))
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            ended.open()

    conversation = way.open(way.app(application), slow=True)
    assert conversation.piece() == b"one"
    conversation.leave()
    assert ended.is_open(), "the request is not over before the application is"
    assert errors(caplog) == []


def test_a_client_that_goes_half_way_ends_an_application_that_waits_for_something_else(
    way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Bare under ASGI, it is told by receive and send, and cancelled after a while."""
    monkeypatch.setattr("dualroute_asgi.sessions.GRACE", 0.05 if way.direct else TIMEOUT)
    ended = Gate()
    cancelling: list[int] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, b"one")
        try:
            await asyncio.Event().wait()
        finally:
            ended.open()

    app = way.app(application)

    async def serve(scope: Any, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        task = asyncio.current_task()
        assert task is not None
        cancelling.append(task.cancelling())

    conversation = way.open(serve if way.protocol == "asgi" else app)
    assert conversation.piece() == b"one"
    conversation.leave()
    assert ended.is_open()
    assert errors(caplog) == []
    assert cancelling == ([0] if way.protocol == "asgi" else []), "the server's task is not left cancelled"


@pytest.mark.parametrize("name", ["asgi-bare", "asgi-wrapped"])
def test_a_client_that_goes_before_the_response_is_no_failure_of_the_application(
    name: str, event_loop_thread: EventLoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    """WSGI servers tell nobody of it."""
    waiting = Gate()
    events: list[str] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await read(receive)
        waiting.open()
        events.append((await receive())["type"])

    way = Way(name, event_loop_thread)
    conversation = way.open(way.app(application), "POST", upload=Upload([b"abc"]))
    assert waiting.reached()
    conversation.leave()
    assert events == ["http.disconnect"]
    assert errors(caplog) == []


def test_a_send_after_the_client_went_is_an_error_in_the_application(way: Way) -> None:
    raised: list[Exception] = []
    done = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, b"one")
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            pass
        for final in (False, True):
            try:
                await send({"type": "http.response.body", "body": b"two", "more_body": not final})
            except OSError as error:
                raised.append(error)
        done.open()

    conversation = way.open(way.app(application), "POST", upload=Upload([b"abc"]))
    assert conversation.piece() == b"one"
    conversation.leave()
    assert done.reached()
    assert len(raised) == 2
    assert conversation.answer.body == b"one"


def test_an_application_that_will_not_end_is_waited_for_within_a_bound(
    apart: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dualroute_asgi.sessions.GRACE", 0.05)
    release, ended = Gate(), Gate()

    async def stubborn(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, b"one")
        while not release.is_open():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass
        ended.open()

    conversation = apart.open(apart.app(stubborn))
    assert conversation.piece() == b"one"
    conversation.leave()
    assert not ended.is_open()
    (line,) = errors(caplog)
    assert "stubborn goes on 0.05 s after its request was given up" in line
    release.open()
    assert ended.reached()


def test_a_client_whose_going_is_received_and_felt_by_send_at_once_ends_the_request_cleanly() -> None:
    ended: list[str] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        try:
            await more(send, b"one")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("ended")

    async def main() -> None:
        going, taking, failing = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def receive() -> Any:
            await going.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                taking.set()
                await failing.wait()
                raise OSError("the client is gone")

        app = DualRoute([Mount("/m", app=ASGIApp(application, lifespan=False))], middleware=[transparent])
        serving = asyncio.create_task(app(http_scope(), receive, send))
        await asyncio.wait_for(taking.wait(), TIMEOUT)
        going.set()
        failing.set()
        await asyncio.wait([serving], timeout=TIMEOUT)
        assert not serving.cancelled(), "nobody cancelled it"
        await serving

    asyncio.run(main())
    assert ended == ["ended"]


@pytest.mark.parametrize("middleware", [[], [transparent]], ids=["bare", "wrapped"])
def test_a_request_that_is_cancelled_before_the_response_ends_the_application(
    middleware: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Some ASGI servers cancel the task when the client goes, and all do when they stop."""
    ended: list[str] = []

    async def main() -> None:
        begun = asyncio.Event()

        async def application(scope: Any, receive: Receive, send: Send) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append("ended")

        async def never(*message: Any) -> Any:
            raise AssertionError("nothing is received or sent")

        app = DualRoute([Mount("/m", app=ASGIApp(application, lifespan=False))], middleware=middleware)
        serving = asyncio.create_task(app(http_scope(), never, never))
        await asyncio.wait_for(begun.wait(), TIMEOUT)
        serving.cancel()
        await asyncio.wait([serving], timeout=TIMEOUT)
        assert serving.cancelled()

    asyncio.run(main())
    assert ended == ["ended"]
    assert errors(caplog) == []


@pytest.mark.parametrize("fails_at", [b"one", b"two"])
@pytest.mark.parametrize("middleware", [[], [transparent]], ids=["bare", "wrapped"])
def test_a_send_of_the_server_s_that_fails_is_no_failure_of_the_application(
    middleware: list[Any], fails_at: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Only ASGI tells the application, and of these two ways only the bare one as it happens."""

    async def main() -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": await asyncio.Event().wait()}

        async def send(message: Any) -> None:
            if message.get("body") == fails_at:
                raise ConnectionResetError

        app = DualRoute([Mount("/m", app=ASGIApp(answering(b"one", b"two"), lifespan=False))], middleware=middleware)
        await asyncio.wait_for(app(http_scope(), receive, send), TIMEOUT)

    asyncio.run(main())
    assert errors(caplog) == []


@pytest.mark.parametrize("middleware", [[], [transparent]], ids=["bare", "wrapped"])
def test_a_client_that_has_gone_ends_a_stream_though_the_server_s_send_does_not_tell(
    middleware: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[BaseException] = []

    async def main() -> None:
        taken, going = asyncio.Event(), asyncio.Event()

        async def application(scope: Any, receive: Receive, send: Send) -> None:
            await start(send)
            try:
                while True:
                    await more(send, b"x")
                    await asyncio.sleep(0)
            except BaseException as error:
                ended.append(error)
                raise

        async def receive() -> Any:
            await going.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            taken.set()

        app = DualRoute([Mount("/m", app=ASGIApp(application, lifespan=False))], middleware=middleware)
        serving = asyncio.create_task(app(http_scope(), receive, send))
        await asyncio.wait_for(taken.wait(), TIMEOUT)
        going.set()
        await asyncio.wait_for(serving, TIMEOUT)

    asyncio.run(main())
    (error,) = ended
    assert isinstance(error, asyncio.CancelledError if middleware else OSError)
    assert errors(caplog) == []


# What the version of the specification has `send` do once the client has gone: nothing before 2.4, then it raises.
OLD, NEW = "2.3", "2.4"


async def leave_from(
    application: Any,
    spec_version: str,
    middleware: list[Any],
    before: Callable[[], None] | None = None,
    after: Callable[[], None] | None = None,
) -> None:
    """Ask an application whose server's `send` never tells anything, and leave it after some pieces.

    With `before` or `after`, that comes some time after each piece, and calls the one just before it or the other just
    after it.
    """
    leaving, sent = asyncio.Event(), 0

    def leave() -> None:
        if sent >= 4:
            leaving.set()

    def later() -> None:
        if before is not None:
            before()
        leave()
        if after is not None:
            after()

    async def receive() -> Any:
        if not begun:
            begun.append(True)
            return {"type": "http.request"}
        await leaving.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal sent
        sent += 1
        if before is None and after is None:
            leave()
        elif message["type"] == "http.response.body":
            asyncio.get_running_loop().call_later(0.006, later)

    begun: list[bool] = []
    app = DualRoute([Mount("/m", app=ASGIApp(application, lifespan=False))], middleware=middleware)
    await asyncio.wait_for(app(http_scope(spec_version), receive, send), TIMEOUT)


@pytest.mark.parametrize("middleware", [[], [transparent]], ids=["bare", "wrapped"])
@pytest.mark.parametrize("spec_version", [OLD, NEW])
def test_send_tells_that_the_client_has_gone_as_the_version_of_the_specification_says(
    spec_version: str, middleware: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[BaseException | None] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await read(receive)
        listening = asyncio.ensure_future(receive())
        await start(send)
        try:
            while not listening.done():
                await more(send, b"x")
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            assert middleware, "with nothing around it, it is told and no more"
            await listening
        assert listening.result()["type"] == "http.disconnect"
        for message in ({"body": b"y", "more_body": True}, {"body": b"z"}):
            try:
                await send({"type": "http.response.body", **message})
            except OSError as error:
                outcomes.append(error)
            else:
                outcomes.append(None)

    asyncio.run(leave_from(application, spec_version, middleware))
    assert [type(outcome) for outcome in outcomes] == [
        ConnectionResetError if spec_version == NEW else type(None) for _ in range(2)
    ]
    assert errors(caplog) == []


@pytest.mark.parametrize("middleware", [[], [transparent]], ids=["bare", "wrapped"])
def test_an_application_that_goes_on_though_it_was_told_is_ended(
    middleware: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither it nor the server's `send` ever waits for anything."""
    monkeypatch.setattr("dualroute_asgi.sessions.GRACE", 0.05)
    ended: list[BaseException] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await read(receive)
        listening = asyncio.create_task(receive())
        await start(send)
        try:
            while True:
                await more(send, b"x")
        except BaseException as error:
            ended.append(error)
            raise
        finally:
            assert listening.done()

    asyncio.run(leave_from(application, OLD, middleware))
    assert [type(error) for error in ended] == [asyncio.CancelledError]
    assert errors(caplog) == []


@pytest.mark.parametrize("middleware", [[], [transparent]], ids=["bare", "wrapped"])
@pytest.mark.parametrize("goes_on", ["before", "after"])
def test_a_stream_of_starlette_is_closed_at_once_when_its_client_has_gone(
    goes_on: str, middleware: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Where `send` fails, or is cancelled, it is closed when the garbage collector comes, and no sooner.

    The stream goes on in the same turn of the event loop in which the client goes, just before it or just after.
    """
    from starlette.responses import StreamingResponse

    closed: list[str] = []
    gates: list[asyncio.Event] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x"
                    gates.append(asyncio.Event())
                    await gates[-1].wait()
            finally:
                closed.append("closed")

        await StreamingResponse(pieces())(scope, receive, send)

    def go_on() -> None:
        gates[-1].set()

    async def main() -> None:
        for _ in range(5):
            await leave_from(application, OLD, middleware, **{goes_on: go_on})
        await asyncio.sleep(0)
        assert len(closed) == 5, "not by the end of the event loop, which closes what is left"

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
    assert errors(caplog) == []


def http_scope(spec_version: str = "2.0") -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec_version},
        "http_version": "1.1",
        "method": "GET",
        "path": "/m/",
        "query_string": b"",
        "headers": [],
    }


def test_many_slow_downloads_leave_others_their_answers(way: Way) -> None:
    release = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == "/m/quick":
            await respond(send, b"quick")
            return
        await start(send)
        await more(send, b"one")
        await release.wait()
        await end(send, b"two")

    app = way.app(application)
    slow = [way.open(app, slow=True) for _ in range(100)]
    assert [conversation.piece() for conversation in slow] == [b"one"] * 100
    assert way.ask(app, path="/m/quick").body == b"quick"
    release.open()
    assert {conversation.finish().body for conversation in slow} == {b"onetwo"}


def test_many_slow_uploads_leave_others_their_answers(way: Way) -> None:
    app = way.app(echo)
    come = threading.Event()
    answers: list[bytes] = []
    begun = threading.Barrier(51)

    def upload() -> None:
        begun.wait(TIMEOUT)
        answers.append(way.ask(app, "POST", upload=Upload([b"one", come, b"two"])).body)

    threads = [threading.Thread(target=upload) for _ in range(50)]
    for thread in threads:
        thread.start()
    begun.wait(TIMEOUT)
    assert way.ask(app, "POST", upload=Upload([b"quick"])).body == b"quick"
    come.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert answers == [b"onetwo"] * 50


# Half-way


@pytest.mark.parametrize("at_once", [False, True])
def test_an_exception_after_the_first_piece_cuts_the_connection_and_is_logged_once(
    way: Way, at_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    taken = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, b"one")
        if not at_once:
            await taken.wait()
        raise LookupError("half-way")

    conversation = way.open(way.app(application))
    assert conversation.piece() == b"one"
    taken.open()
    answer = conversation.finish()
    assert (answer.status, answer.body, answer.cut) == (200, b"one", True)
    assert reports(caplog) == ["unhandled exception in the body of the response to GET /m/, which is cut short"]
    assert caplog.text.count("LookupError: half-way") == 1


def test_pieces_that_were_sent_before_an_exception_are_not_lost(way: Way) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        for number in range(50):
            await more(send, b"%d," % number)
        raise LookupError

    answer = way.ask(way.app(application))
    assert (answer.body, answer.cut) == (b"".join(b"%d," % number for number in range(50)), True)


def test_an_exception_in_streaming_reaches_no_exception_handler(way: Way) -> None:
    asked: list[Exception] = []

    def handler(request: Any, error: Exception) -> Any:
        asked.append(error)

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await start(send)
        await more(send, b"one")
        raise LookupError

    assert way.ask(way.app(application, exception_handlers={LookupError: handler, 500: handler})).cut
    assert asked == []


# The worker's loop, under WSGI


def test_applications_run_on_the_worker_s_one_loop(wsgi: Way) -> None:
    loops: set[Any] = set()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        loops.add(asyncio.get_running_loop())
        await respond(send)

    wsgi.ask(wsgi.app(application))
    wsgi.ask(wsgi.around([Mount("/m", app=ASGIApp(application, lifespan=False))]))
    assert loops == {worker_loop().loop}


def test_a_task_that_an_application_starts_goes_on_after_the_response(way: Way) -> None:
    release, done = Gate(), Gate()
    tasks: set[asyncio.Task[None]] = set()

    async def background() -> None:
        await release.wait()
        done.open()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        tasks.add(asyncio.create_task(background()))
        await respond(send)

    way.ask(way.app(application))
    assert not done.is_open()
    release.open()
    assert done.reached()


def test_the_body_is_read_in_the_server_s_thread(wsgi: Way) -> None:
    threads: list[Any] = []

    class Noting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            threads.append(threading.current_thread())
            return True

    assert wsgi.ask(wsgi.app(echo), "POST", upload=Upload([b"one", Noting(), b"two"])).body == b"onetwo"
    assert threads == [threading.current_thread()]


def test_the_server_s_thread_is_not_held_by_an_application_of_another_request(wsgi: Way) -> None:
    release = Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == "/m/waits":
            await release.wait()
        await respond(send, scope["path"].encode())

    app = wsgi.app(application)
    answers: list[bytes] = []
    thread = threading.Thread(target=lambda: answers.append(wsgi.ask(app, path="/m/waits").body))
    thread.start()
    assert wsgi.ask(app, path="/m/other").body == b"/m/other"
    release.open()
    thread.join(TIMEOUT)
    assert answers == [b"/m/waits"]


def test_a_middleware_that_reads_the_body_before_the_application_leaves_it_the_body(way: Way) -> None:
    from dualroute import Call

    def reads(connection: Any) -> Generator[Any, Any, Any]:
        connection.state.size = len((yield Call(connection.body)))
        return (yield connection)

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        body = await read(receive) or b""
        await respond(send, b"%d %s" % (scope["state"]["size"], body))

    app = way.app(application, middleware=[reads])
    assert way.ask(app, "POST", upload=Upload([b"abc", b"def"])).body == b"6 abcdef"


def test_an_application_that_exits_leaves_the_worker_s_loop_alive() -> None:
    """In an interpreter of its own, whose loop may be lost."""
    ran = python("""
        import threading
        from dualroute import Mount
        from dualroute_asgi.mounted import ASGIApp

        async def application(scope, receive, send):
            if not answers:
                sys.exit(3)
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"answered"})

        def ask():
            try:
                answers.append(call(app))
            except SystemExit:
                answers.append("exited")

        app = DualRoute([Mount("/", app=ASGIApp(application, lifespan=False))])
        answers = []
        for _ in range(2):
            thread = threading.Thread(target=ask, daemon=True)
            thread.start()
            thread.join(5)
        print(answers[1:], flush=True)
        os._exit(0)
    """)
    assert ran.stdout == "['answered']\n"
