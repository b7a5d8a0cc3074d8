"""Mounted WSGI apps in threads: streamed as it comes, bounded, and ended with care when somebody leaves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from dualroute import Call, DualRoute, Mount, PlainTextResponse, Response, SyncRequest, WSGIApp
from dualroute.streams import BodyStream
from dualroute_asgi import pump, threads
from dualroute_asgi.pump import Pump
from dualroute_asgi.threads import ThreadPool
from tests.mounted_wsgi_helper import (
    TEXT,
    TIMEOUT,
    Answer,
    Ask,
    Body,
    Environ,
    Pairs,
    Peer,
    answering,
    ask_fixture,
    piece,
    run,
)

__all__ = ["ask_fixture"]

asgi_only = pytest.mark.protocol("asgi")  # only there do a thread and the server's own loop meet
wsgi_only = pytest.mark.protocol("wsgi")


def peer_of(app: Any, path: str = "/", method: str = "GET", headers: Pairs = ()) -> Peer:
    return Peer(app, Ask("asgi").scope(method, path, headers), [piece(b"", False)])


def waits_for(event: threading.Event, data: bytes) -> Callable[[], bytes]:
    """Return a piece for a Body: one that takes until `event` is set."""

    def wait() -> bytes:
        assert event.wait(TIMEOUT)
        return data

    return wait


@asgi_only
def test_a_loop_that_looks_while_a_visit_begins_sees_the_response_as_it_is(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    listen = Pump.listen

    def look(pump: Pump) -> None:
        listen(pump)
        looked.set()

    class Slow(BodyStream):
        def __init__(self, response: Response) -> None:
            assert looked.wait(TIMEOUT)
            time.sleep(0.05)  # in which the loop would go on with what it has seen
            super().__init__(response)

    monkeypatch.setattr(Pump, "listen", look)
    monkeypatch.setattr(pump, "BodyStream", Slow)
    app = WSGIApp(answering(lambda: Body(b"one ", b"two")))

    async def main() -> None:
        looked.set()
        for _ in range(2):  # from the second one on the loop looks by itself
            peer = peer_of(app)
            await asyncio.wait_for(peer.start(), TIMEOUT)
            assert b"".join(peer.pieces) == b"one two"
            looked.clear()

    run(main())


# An event loop that stands still for short visits


@asgi_only
@pytest.mark.parametrize("briefly", [0.0, TIMEOUT])
def test_answers_are_the_same_where_the_event_loop_stands_still(
    protocol: str, monkeypatch: pytest.MonkeyPatch, briefly: float
) -> None:
    stood: list[float] = []
    stand_still = ThreadPool.stand_still

    def count(pool: ThreadPool, over: Any, pace: Any) -> None:
        stood.append(briefly)
        stand_still(pool, over, pace)

    monkeypatch.setattr(threads, "WATCHED", 0)
    monkeypatch.setattr(threads, "BRIEFLY", briefly)
    monkeypatch.setattr(ThreadPool, "stand_still", count)
    pieces = [b"x" * 100_000] * 30  # more than a visit makes
    app = WSGIApp(answering(lambda: Body(*pieces)))

    async def main() -> None:
        for _ in range(3):
            peer = peer_of(app)
            await asyncio.wait_for(peer.start(), TIMEOUT)
            assert b"".join(peer.pieces) == b"".join(pieces)

    run(main())
    assert len(stood) >= (3 if briefly else 1)


# A client or a server that goes while a thread is at work


@asgi_only
@pytest.mark.parametrize("ending", ["disconnect", "cancel"])
@pytest.mark.parametrize("given", [0, 1])
def test_closed_only_once_the_iteration_under_way_is_over(protocol: str, ending: str, given: int) -> None:
    go_on, inside = threading.Event(), threading.Event()

    def wait() -> bytes:
        inside.set()
        return waits_for(go_on, b"late")()

    body = Body(*[b"one"] * given, wait, endless=True)

    async def main() -> None:
        peer = peer_of(DualRoute(fallback=body.app()))
        task = peer.start()
        await peer.until(lambda: len(peer.pieces) == given)
        assert await asyncio.to_thread(inside.wait, TIMEOUT)
        if ending == "cancel":
            task.cancel()
        else:
            peer.disconnect()
        for _ in range(50):
            await asyncio.sleep(0)
        assert (body.closed, task.done()) == (0, False)
        go_on.set()
        if given == 0 and ending == "disconnect":
            # Before the response has started nobody watches: that shows when it is sent.
            await peer.until(lambda: len(peer.pieces) > 0)
        if ending == "cancel":
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            await task
        body.assert_closed_once()
        if given or ending == "cancel":
            assert body.given == given + 1, "nothing more is made"

    run(main())


@asgi_only
def test_closed_where_the_server_stops_while_the_app_is_called(protocol: str) -> None:
    go_on, inside = threading.Event(), threading.Event()
    body = Body(b"one", endless=True)

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        inside.set()
        assert go_on.wait(TIMEOUT)
        return body

    async def main() -> None:
        peer = peer_of(DualRoute(fallback=app))
        task = peer.start()
        assert await asyncio.to_thread(inside.wait, TIMEOUT)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done(), "a call that has begun is waited for"
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert peer.sent == []

    run(main())
    body.assert_closed_once()


@asgi_only
def test_a_request_is_not_over_before_close_is(protocol: str) -> None:
    go_on, inside, closing, close = (threading.Event() for _ in range(4))

    class Slow(Body):
        def close(self) -> None:
            closing.set()
            assert close.wait(TIMEOUT)
            super().close()

    body = Slow(b"one", endless=True)

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        inside.set()
        assert go_on.wait(TIMEOUT)
        return body

    async def main() -> None:
        task = peer_of(DualRoute(fallback=app)).start()
        assert await asyncio.to_thread(inside.wait, TIMEOUT)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        assert await asyncio.to_thread(closing.wait, TIMEOUT)
        await asyncio.wait([task], timeout=0.05)  # time enough for a task that would not wait
        assert not task.done()
        close.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    body.assert_closed_once()


@asgi_only
def test_middleware_may_replace_a_response_that_a_thread_is_at(protocol: str) -> None:
    go_on, inside = threading.Event(), threading.Event()

    def wait() -> bytes:
        inside.set()
        return waits_for(go_on, b"two")()

    body = Body(b"one", wait, endless=True)

    def replace(connection: Any) -> Any:
        yield connection
        assert (yield Call(inside.wait, TIMEOUT))
        return PlainTextResponse("another")

    async def main() -> None:
        peer = peer_of(DualRoute(fallback=body.app(), middleware=[replace]))
        task = peer.start()
        await peer.until(lambda: len(peer.sent) == 2)
        await asyncio.wait([task], timeout=0.05)  # time enough for whoever would close it meanwhile
        assert (task.done(), body.closed) == (False, 0)
        go_on.set()
        await task
        assert peer.answer.body == b"another"

    run(main())
    body.assert_closed_once()


@asgi_only
@pytest.mark.parametrize("ending", ["disconnect", "cancel"])
def test_closed_where_the_client_does_not_read_and_the_end_comes(protocol: str, ending: str) -> None:
    body = Body(endless=True)

    async def main() -> None:
        app = DualRoute(fallback=WSGIApp(body.app(), buffer_size=1000), max_threads=1)
        peer = peer_of(app)
        peer.reading.clear()
        task = peer.start()
        await peer.until(lambda: len(peer.sent) > 0)
        if ending == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            peer.disconnect()
            await task

    run(main())
    body.assert_closed_once()


@asgi_only
@pytest.mark.parametrize("ending", ["disconnect", "cancel"])
def test_closed_once_there_is_a_thread_for_it(protocol: str, ending: str) -> None:
    # BAD_INPUTS 24 and 25: the pool is full when the client goes.
    go_on, inside = threading.Event(), threading.Event()
    body = Body(endless=True)

    def busy(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        inside.set()
        assert go_on.wait(TIMEOUT)
        return [b"busy"]

    async def main() -> None:
        app = DualRoute([Mount("/busy", app=busy)], fallback=WSGIApp(body.app(), buffer_size=1000), max_threads=1)
        parked = peer_of(app)
        parked.reading.clear()
        parked_task = parked.start()
        await parked.until(lambda: len(parked.sent) > 0)
        other = peer_of(app, "/busy/")
        other_task = other.start()
        assert await asyncio.to_thread(inside.wait, TIMEOUT)
        if ending == "cancel":
            parked_task.cancel()
        else:
            parked.disconnect()
        for _ in range(50):
            await asyncio.sleep(0)
        assert body.closed == 0, "a body is closed in a thread, and there is none"
        parked_task.cancel()  # an impatient server
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait([parked_task, other_task])
        assert other.answer.body == b"busy"
        body.assert_closed_once()

    run(main())


@asgi_only
def test_a_request_that_is_given_up_before_there_was_a_thread_never_reaches_the_app(protocol: str) -> None:
    go_on, inside = threading.Event(), threading.Event()
    calls: list[str] = []

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        calls.append(environ["PATH_INFO"])
        start_response("200 OK", TEXT)
        inside.set()
        assert go_on.wait(TIMEOUT)
        return [b"x"]

    async def main() -> None:
        served = DualRoute(fallback=app, max_threads=1)
        first = peer_of(served, "/first")
        first_task = first.start()
        assert await asyncio.to_thread(inside.wait, TIMEOUT)
        second = peer_of(served, "/second").start()
        for _ in range(10):
            await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        go_on.set()
        await first_task
        assert first.answer.body == b"x"

    run(main())
    assert calls == ["/first"]


@asgi_only
def test_a_stress_of_clients_that_leave_closes_each_body_once(protocol: str) -> None:
    bodies: list[Body] = []

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        body = Body(*[b"x" * 300] * 20, endless=len(bodies) % 3 == 0)
        bodies.append(body)
        return body

    async def main() -> None:
        served = DualRoute(fallback=WSGIApp(app, buffer_size=1500), max_threads=3)

        async def client(number: int) -> None:
            peer = peer_of(served)
            task = peer.start()
            await peer.until(lambda: len(peer.pieces) >= number % 19)
            for _ in range(number % 7):
                await asyncio.sleep(0)
            if number % 2:
                task.cancel()
            else:
                peer.disconnect()
            await asyncio.wait([task])

        await asyncio.gather(*map(client, range(150)))

    run(main())
    assert len(bodies) > 100
    for body in bodies:
        body.assert_closed_once()


# Streamed as it comes, within bounds


def test_the_first_piece_arrives_while_the_app_still_waits(ask: Ask, protocol: str) -> None:
    go_on = threading.Event()
    body = Body(b"one", b"two", waits_for(go_on, b"three"))
    app = DualRoute(fallback=body.app())
    if protocol == "wsgi":
        pieces: Any = app(Ask("wsgi").environ(), lambda *args: None)
        assert (next(pieces), body.given) == (b"one", 1)
        assert (next(pieces), body.given) == (b"two", 2)
        go_on.set()
        assert [*pieces] == [b"three"]
        pieces.close()
        return

    async def main() -> None:
        peer = peer_of(app)
        task = peer.start()
        await peer.until(lambda: peer.pieces == [b"one", b"two"])
        go_on.set()
        await task
        assert peer.pieces == [b"one", b"two", b"three"]

    run(main())


@asgi_only
def test_each_piece_is_sent_when_it_is_there(protocol: str) -> None:
    events = [threading.Event() for _ in range(5)]
    body = Body(*[waits_for(event, b"%d" % number) for number, event in enumerate(events)])

    async def main() -> None:
        peer = peer_of(DualRoute(fallback=body.app()))
        task = peer.start()
        for number, event in enumerate(events):
            event.set()
            await peer.until(lambda: len(peer.pieces) == number + 1)  # noqa: B023  # awaited within the turn
        await task
        assert peer.pieces == [b"0", b"1", b"2", b"3", b"4"]

    run(main())


@asgi_only
@pytest.mark.parametrize(("size", "ahead"), [(0, 5), (100, 4), (600, 3), (5000, 2)])
def test_what_is_read_ahead_is_bounded(protocol: str, size: int, ahead: int) -> None:
    count = 40
    body = Body(*[b"x" * (size or 1)] * count)

    async def main() -> None:
        legacy = WSGIApp(body.app(), buffer_size=1000)
        app = DualRoute([Mount("/other", app=answering([b"other"]))], fallback=legacy, max_threads=1)
        peer = peer_of(app)
        peer.reading.clear()
        task = peer.start()
        await peer.until(lambda: len(peer.sent) > 0)
        # The only thread there is answers another request, so it has left this one.
        other = peer_of(app, "/other/")
        await other.start()
        assert other.answer.body == b"other"
        assert 1 <= body.given <= ahead
        peer.reading.set()
        await task
        assert (body.given, len(peer.answer.body)) == (count, count * (size or 1))

    run(main())
    body.assert_closed_once()


@wsgi_only
def test_under_wsgi_nothing_is_read_ahead(ask: Ask) -> None:
    body = Body(b"one", b"two", b"three")
    pieces: Any = DualRoute(fallback=body.app())(Ask("wsgi").environ(), lambda *args: None)
    assert [(item, body.given) for item in pieces] == [(b"one", 1), (b"two", 2), (b"three", 3)]
    pieces.close()


@asgi_only
def test_slow_readers_hold_no_thread(protocol: str) -> None:
    # BAD_INPUTS 25
    bodies: list[Body] = []

    def endless(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        bodies.append(Body(*[b"%04d" % number for number in range(500)]))
        return bodies[-1]

    async def main() -> None:
        app = DualRoute(
            [Mount("/quick", app=answering([b"quick"]))], fallback=WSGIApp(endless, buffer_size=2000), max_threads=1
        )
        slow = [peer_of(app) for _ in range(5)]
        for peer in slow:
            peer.reading.clear()
        tasks = [peer.start() for peer in slow]
        for peer in slow:
            await peer.until(lambda: len(peer.sent) > 0)  # noqa: B023  # awaited within the turn
        for _ in range(3):
            quick = peer_of(app, "/quick/")
            await quick.start()
            assert quick.answer.body == b"quick"
        assert max(body.given for body in bodies) < 20
        for peer in slow:
            peer.reading.set()
        await asyncio.gather(*tasks)
        for peer in slow:
            assert peer.answer.body == b"".join(b"%04d" % number for number in range(500))

    run(main())
    for body in bodies:
        body.assert_closed_once()


# How often a thread is asked for


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows with each call that goes to a thread."""
    started: list[Any] = []
    start = ThreadPool.start

    def counted(self: ThreadPool, function: Any, *args: Any) -> Any:
        started.append(function)
        return start(self, function, *args)

    monkeypatch.setattr(ThreadPool, "start", counted)
    return started


def echo(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [environ["wsgi.input"].read()]


def written(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)(b"one")
    return [b"two"]


def a_file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    import io

    start_response("200 OK", TEXT)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(bytes(200_000)))
    return wrapped


@asgi_only
@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize(
    ("app", "options"),
    [
        (answering([b"x"]), {}),
        (answering([b"one", b"two"]), {}),
        (answering([]), {}),
        (answering([b"x"]), {"method": "HEAD"}),
        (answering([bytes(5_000_000)]), {}),
        (echo, {"method": "POST", "body": [b"x" * 1000] * 10}),
        (echo, {"method": "POST", "body": [b"x" * 1000] * 10, "announced": None}),
        (written, {}),
        (a_file, {}),
        (answering(lambda: iter([b"one", b"two"])), {}),
        (answering("no response"), {}),
    ],
)
def test_a_ready_response_is_one_hop(
    ask: Ask, app: Any, options: dict[str, Any], middleware: bool, starts: list[Any]
) -> None:
    def mark(connection: Any) -> Any:
        response = yield connection
        response.headers["x-a"] = "1"
        return response

    ask(DualRoute(fallback=app, middleware=[mark] if middleware else []), **options)
    assert len(starts) == 1


@asgi_only
def test_a_long_response_is_a_hop_for_each_buffer_and_not_for_each_piece(ask: Ask, starts: list[Any]) -> None:
    count, size, buffer_size = 400, 1000, 50_000
    answer = ask(DualRoute(fallback=WSGIApp(answering(lambda: iter([bytes(size)] * count)), buffer_size=buffer_size)))
    assert len(answer.body) == count * size
    assert len(starts) <= 3 * (count * (size + 256) // buffer_size + 1)


def test_a_ready_response_goes_out_in_one_piece(ask: Ask) -> None:
    assert ask(DualRoute(fallback=answering([b"one", b"", b"two"]))).pieces == [b"onetwo"]


@asgi_only
def test_max_threads_of_an_app_that_is_served_by_itself(protocol: str) -> None:
    lock = threading.Lock()
    running: list[int] = []
    most: list[int] = []
    arrived, go_on = threading.Semaphore(0), threading.Event()

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        with lock:
            running.append(1)
            most.append(len(running))
        arrived.release()
        assert go_on.wait(TIMEOUT)
        with lock:
            running.pop()
        start_response("200 OK", TEXT)
        return [b"x"]

    async def main() -> list[Answer]:
        served = WSGIApp(app, max_threads=2)
        peers = [peer_of(served) for _ in range(5)]
        tasks = [peer.start() for peer in peers]
        for _ in range(2):
            assert await asyncio.to_thread(arrived.acquire, timeout=TIMEOUT)
        go_on.set()
        await asyncio.gather(*tasks)
        return [peer.answer for peer in peers]

    assert [answer.body for answer in run(main())] == [b"x"] * 5
    assert max(most) == 2


@asgi_only
def test_a_thread_is_free_for_others_while_a_handler_of_ours_streams(protocol: str) -> None:
    def ours(request: SyncRequest) -> Response:
        return PlainTextResponse("ours")

    body = Body(endless=True)

    async def main() -> None:
        app = DualRoute([Mount("/old", app=WSGIApp(body.app(), buffer_size=1000))], fallback=ours, max_threads=1)
        parked = peer_of(app, "/old/")
        parked.reading.clear()
        task = parked.start()
        await parked.until(lambda: len(parked.sent) > 0)
        other = peer_of(app)
        await other.start()
        assert other.answer.body == b"ours"
        parked.disconnect()
        await task

    run(main())
    body.assert_closed_once()
