"""The ASGI adapter where it meets the server: disconnects, cancellation, streams, threads, lifespan."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from time import monotonic
from typing import Any

import pytest

from dualroute import (
    Call,
    ClientDisconnect,
    DualRoute,
    HTTPEndpoint,
    JSONResponse,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
)
from dualroute.bodies import BUFFER_SIZE
from dualroute.exceptions import ResponseCut
from dualroute_asgi import ASGIAdapter
from tests.mounted_asgi_helper import transparent

TIMEOUT = 20
"""How many seconds anything here may take before it counts as hanging."""

DISCONNECT = {"type": "http.disconnect"}
COLOURS = pytest.mark.parametrize("colour", ["def", "async def"])


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def within_bounds() -> Any:
        return await asyncio.wait_for(main, TIMEOUT)

    return asyncio.run(within_bounds())


def piece(body: bytes, more_body: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more_body}


class Peer:
    """A server's side of one request: `events` holds what the app receives, `sent` what it sends.

    Args:
        app: the application.
        method: the HTTP method.
        path: the path.
        headers: the request headers.
        events: what the app receives at once; more may be put later.
    """

    def __init__(
        self,
        app: Any,
        method: str = "GET",
        path: str = "/",
        headers: list[tuple[bytes, bytes]] | None = None,
        events: list[dict[str, Any]] | None = None,
    ) -> None:
        self.app = app
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": headers or [],
        }
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for event in events if events is not None else [piece(b"", False)]:
            self.events.put_nowait(event)
        self.sent: list[dict[str, Any]] = []
        self.received = 0
        self._news = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        event = await self.events.get()
        self.received += 1
        self._news.set()
        return event

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        self._news.set()
        await asyncio.sleep(0)

    def start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.app(self.scope, self.receive, self.send))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; it is looked at whenever something was sent or received."""
        while not condition():
            self._news.clear()
            await self._news.wait()

    async def answer(self) -> tuple[int, bytes]:
        await self.app(self.scope, self.receive, self.send)
        return self.status, self.body

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


def one_route(endpoint: Any, **options: Any) -> DualRoute:
    return DualRoute([Route("/", endpoint, methods=["GET", "POST"])], **options)


class Body:
    """The body of a response, in either colour, that counts how often it is closed.

    Args:
        colour: "def" for an iterable, "async def" for an async one.
        pieces: what it gives; an exception among them is raised.
        at_end: what becomes of it then: it ends, goes on for ever, or waits for ever.
    """

    def __init__(self, colour: str, *pieces: bytes | Exception, at_end: str = "end") -> None:
        self.colour = colour
        self.pieces = pieces
        self.at_end = at_end
        self.given = 0
        self.closed = 0

    def response(self) -> StreamingResponse:
        return StreamingResponse(self._iterate() if self.colour == "def" else self._iterate_async())

    def endpoint(self) -> Callable[[Any], Response]:
        def stream(request: Any) -> Response:
            return self.response()

        return stream

    def _iterate(self) -> Iterator[bytes]:
        try:
            for item in self.pieces:
                self.given += 1
                if isinstance(item, Exception):
                    raise item
                yield item
            while self.at_end != "end":
                self.given += 1
                yield b"more"
        finally:
            self.closed += 1

    async def _iterate_async(self) -> AsyncIterator[bytes]:
        try:
            for item in self.pieces:
                self.given += 1
                if isinstance(item, Exception):
                    raise item
                yield item
            if self.at_end == "wait":
                await asyncio.Event().wait()
            while self.at_end == "go on":
                self.given += 1
                yield b"more"
        finally:
            self.closed += 1


def own_records(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "dualroute"]


# The client goes


@COLOURS
def test_a_disconnect_during_an_upload_is_a_client_disconnect_in_the_handler(colour: str) -> None:
    seen: list[str] = []

    def read(request: SyncRequest) -> Response:
        try:
            request.body()
        except ClientDisconnect:
            seen.append("disconnected")
        return PlainTextResponse("")

    async def read_async(request: Request) -> Response:
        try:
            await request.body()
        except ClientDisconnect:
            seen.append("disconnected")
        return PlainTextResponse("")

    async def main() -> None:
        peer = Peer(
            one_route(read if colour == "def" else read_async), "POST", headers=[(b"content-length", b"9")], events=[]
        )
        task = peer.start()
        peer.events.put_nowait(piece(b"one"))
        await peer.until(lambda: peer.received == 1)
        peer.events.put_nowait(DISCONNECT)
        await task

    run(main())
    assert seen == ["disconnected"]


def test_nothing_is_received_any_more_when_a_request_is_over() -> None:
    """A `def` that reads has the event loop receive for it, which is ahead of it."""

    def read_some(request: SyncRequest) -> Response:
        pieces = iter(request.stream())
        return Response(next(pieces) + next(pieces))

    async def main() -> set[asyncio.Task[Any]]:
        before = asyncio.all_tasks()
        events = [piece(bytes(BUFFER_SIZE)), piece(b"two")]
        peer = Peer(one_route(read_some), "POST", headers=[(b"transfer-encoding", b"chunked")], events=events)
        assert await peer.answer() == (200, bytes(BUFFER_SIZE) + b"two")
        await asyncio.sleep(0)  # for what was cancelled to end
        return asyncio.all_tasks() - before

    assert run(main()) == set()


@pytest.mark.parametrize("middleware", [[], [transparent]], ids=["bare", "wrapped"])
@pytest.mark.parametrize("last", [b"two", ValueError("half-way")], ids=["ends", "fails"])
@pytest.mark.parametrize("kind", ["def", "async def", "mounted ASGI app"])
def test_nobody_watches_for_a_client_any_more_when_its_stream_is_over(
    kind: str, last: bytes | Exception, middleware: list[Any]
) -> None:
    """The connection may stay open for long."""

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await Body("async def", b"one", last).response()(scope, receive, send)

    async def main() -> set[asyncio.Task[Any]]:
        before = asyncio.all_tasks()
        stream = Body(kind, b"one", last).endpoint()
        routes = [Mount("/", mounted) if kind == "mounted ASGI app" else Route("/", stream)]
        peer = Peer(DualRoute(routes, middleware=middleware))
        with contextlib.suppress(ResponseCut):
            await peer.start()
        assert peer.body[:3] == b"one"
        await asyncio.sleep(0)  # for what was cancelled to end
        return asyncio.all_tasks() - before

    assert run(main()) == set()


@pytest.mark.parametrize(("colour", "at_end"), [("def", "go on"), ("async def", "go on"), ("async def", "wait")])
def test_a_disconnect_during_a_stream_closes_its_iterable_once(
    colour: str, at_end: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = Body(colour, b"one", at_end=at_end)

    async def main() -> None:
        peer = Peer(one_route(body.endpoint()))
        task = peer.start()
        await peer.until(lambda: len(peer.sent) >= 2)
        peer.events.put_nowait(DISCONNECT)
        await task
        assert peer.sent[1] == {"type": "http.response.body", "body": b"one", "more_body": True}
        assert all(message["more_body"] for message in peer.sent[1:]), "the response was not ended as if complete"

    run(main())
    assert body.closed == 1
    assert own_records(caplog) == []


def test_a_disconnect_is_noticed_in_a_stream_that_never_waits() -> None:
    ended: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        deadline = monotonic() + TIMEOUT
        try:
            while monotonic() < deadline:
                yield b"piece"
            ended.append("its client has never left")
        finally:
            ended.append("closed")

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(pieces())

    async def main() -> None:
        peer = Peer(one_route(endpoint))

        async def send(message: dict[str, Any]) -> None:
            """Take it without waiting, as servers do once there is nobody to send it to."""

        task = asyncio.create_task(peer.app(peer.scope, peer.receive, send))
        asyncio.get_running_loop().call_later(0.02, peer.events.put_nowait, DISCONNECT)
        await task

    asyncio.run(main())
    assert ended == ["closed"]


@COLOURS
def test_after_a_disconnect_during_a_stream_the_server_s_task_is_not_left_cancelled(colour: str) -> None:
    body = Body(colour, b"one", at_end="go on")

    async def main() -> int:
        peer = Peer(one_route(body.endpoint()))

        async def serve() -> int:
            await peer.app(peer.scope, peer.receive, peer.send)
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()

        task = asyncio.create_task(serve())
        await peer.until(lambda: len(peer.sent) >= 2)
        peer.events.put_nowait(DISCONNECT)
        return await task

    assert run(main()) == 0


def test_a_stream_that_takes_the_disconnect_for_itself_leaves_the_task_as_it_was() -> None:
    async def stubborn() -> AsyncIterator[bytes]:
        yield b"one"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield b"two"

    async def main() -> int:
        peer = Peer(one_route(lambda request: StreamingResponse(stubborn())))

        async def serve() -> int:
            await peer.app(peer.scope, peer.receive, peer.send)
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()

        task = asyncio.create_task(serve())
        await peer.until(lambda: len(peer.sent) >= 2)
        peer.events.put_nowait(DISCONNECT)
        return await task

    assert run(main()) == 0


@COLOURS
def test_a_send_that_fails_during_a_stream_closes_its_iterable_once(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = Body(colour, b"one", b"two", b"three")

    async def main() -> None:
        peer = Peer(one_route(body.endpoint()))

        async def send(message: dict[str, Any]) -> None:
            if message.get("body") == b"two":
                raise OSError("the client is gone")

        await peer.app(peer.scope, peer.receive, send)

    run(main())
    assert body.closed == 1
    assert body.given == 2 or colour == "def"  # which is read ahead
    assert own_records(caplog) == []


def test_a_send_that_fails_for_a_short_response_ends_the_request_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        peer = Peer(one_route(lambda request: PlainTextResponse("x")))

        async def send(message: dict[str, Any]) -> None:
            raise ConnectionResetError

        await peer.app(peer.scope, peer.receive, send)

    run(main())
    assert own_records(caplog) == []


def test_is_disconnected_tells_when_the_client_has_gone() -> None:
    async def main() -> list[bool]:
        answers: list[bool] = []
        go_on = asyncio.Event()

        async def get(request: Request) -> Response:
            answers.append(await request.is_disconnected())
            peer.events.put_nowait(DISCONNECT)
            answers.append(await request.is_disconnected())
            answers.append(await request.is_disconnected())
            go_on.set()
            return PlainTextResponse("")

        peer = Peer(one_route(get))
        await peer.answer()
        return answers

    assert run(main()) == [False, True, True]


def test_is_disconnected_takes_nothing_of_the_body_away() -> None:
    async def main() -> tuple[int, bytes]:
        async def post(request: Request) -> Response:
            seen = [await request.is_disconnected()]
            body = await request.body()
            seen.append(await request.is_disconnected())
            return JSONResponse([body.decode(), *seen])

        events = [piece(b"one"), piece(b"two"), piece(b"three", False)]
        return await Peer(one_route(post), "POST", headers=[(b"content-length", b"11")], events=events).answer()

    assert run(main()) == (200, b'["onetwothree",false,false]')


def test_a_stream_may_ask_whether_the_client_has_gone() -> None:
    ended: list[str] = []

    async def ticks(request: Request) -> AsyncIterator[bytes]:
        try:
            while not await request.is_disconnected():
                yield b"tick"
        finally:
            ended.append("ticks")

    async def get(request: Request) -> Response:
        return StreamingResponse(ticks(request))

    async def main() -> None:
        peer = Peer(one_route(get))
        task = peer.start()
        await peer.until(lambda: len(peer.sent) > 3)
        peer.events.put_nowait(DISCONNECT)
        await task

    run(main())
    assert ended == ["ticks"]


# Cancellation from outside


@COLOURS
def test_a_cancellation_runs_the_clean_up_of_every_layer_once_and_reaches_the_server(colour: str) -> None:
    log: list[str] = []

    def layer(name: str) -> Callable[[Any], Generator[Any, Any, Any]]:
        def middleware(connection: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield connection)
            except asyncio.CancelledError:
                log.append(f"{name} was cancelled")
                yield Call(log.append, f"{name} cleaned up by a call")
                raise
            finally:
                log.append(f"{name} ended")

        return middleware

    async def main() -> None:
        started = threading.Event()
        go_on = threading.Event()

        def wait(request: SyncRequest) -> Response:
            started.set()
            assert go_on.wait(TIMEOUT)
            log.append("handler ended")
            return PlainTextResponse("")

        async def wait_async(request: Request) -> Response:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                log.append("handler ended")
            return PlainTextResponse("")

        app = DualRoute(
            [Route("/", wait if colour == "def" else wait_async, middleware=[layer("inner")])],
            middleware=[layer("outer")],
        )
        peer = Peer(app)
        task = peer.start()
        assert await asyncio.to_thread(started.wait, TIMEOUT)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert peer.sent == []

    run(main())
    assert log == [
        "handler ended",
        "inner was cancelled",
        "inner cleaned up by a call",
        "inner ended",
        "outer was cancelled",
        "outer cleaned up by a call",
        "outer ended",
    ]


@COLOURS
def test_a_cancellation_during_a_stream_closes_its_iterable_once_and_reaches_the_server(colour: str) -> None:
    body = Body(colour, b"one", at_end="go on")

    async def main() -> None:
        peer = Peer(one_route(body.endpoint()))
        task = peer.start()
        await peer.until(lambda: len(peer.sent) >= 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert body.closed == 1


def test_a_cancellation_that_meets_a_disconnect_reaches_the_server() -> None:
    body = Body("async def", b"one", at_end="wait")

    async def main() -> None:
        peer = Peer(one_route(body.endpoint()))
        task = peer.start()
        await peer.until(lambda: len(peer.sent) >= 2)
        peer.events.put_nowait(DISCONNECT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert body.closed == 1


def test_a_cancellation_ends_the_wait_of_a_def_handler_for_its_body() -> None:
    seen: list[str] = []

    def read(request: SyncRequest) -> Response:
        try:
            for _ in request.stream():
                pass
        except ClientDisconnect:
            seen.append("disconnected")
            raise
        return PlainTextResponse("")

    async def main() -> None:
        size = BUFFER_SIZE + 1
        headers = [(b"content-length", b"%d" % (size + 100))]
        peer = Peer(one_route(read), "POST", headers=headers, events=[piece(b"x" * size)])
        waiting = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if peer.received:
                waiting.set()
            return await peer.receive()

        task = asyncio.create_task(peer.app(peer.scope, receive, peer.send))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert seen == ["disconnected"]


# Responses


@COLOURS
def test_an_error_after_the_response_started_is_logged_once_and_cuts_the_connection(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = Body(colour, b"one", LookupError("half-way"))
    peers: list[Peer] = []

    async def main() -> None:
        peers.append(Peer(one_route(body.endpoint())))
        await peers[0].answer()

    with pytest.raises(ResponseCut) as caught:
        run(main())
    assert isinstance(caught.value, ConnectionResetError)
    assert [message.get("more_body") for message in peers[0].sent] == [None, True], "the client can tell"
    (record,) = [record for record in caplog.records if record.name == "dualroute"]
    assert record.levelname == "ERROR"
    assert "cut short" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)
    assert body.closed == 1


@COLOURS
def test_an_error_before_the_first_piece_is_a_500(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    body = Body(colour, LookupError("at once"))

    async def main() -> tuple[int, bytes]:
        return await Peer(one_route(body.endpoint())).answer()

    assert run(main()) == (500, b"Internal Server Error")
    assert len(own_records(caplog)) == 1
    assert body.closed == 1


@COLOURS
def test_a_piece_that_is_no_bytes_before_the_response_started_is_a_500(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = Body(colour, 3)  # type: ignore[arg-type]  # the mistake

    async def main() -> tuple[int, bytes]:
        return await Peer(one_route(body.endpoint())).answer()

    assert run(main()) == (500, b"Internal Server Error")
    assert len(own_records(caplog)) == 1
    assert "TypeError" in caplog.text


@COLOURS
def test_head_never_iterates_and_closes_the_iterable(colour: str) -> None:
    class Untouched:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError("iterated")

        def close(self) -> None:
            self.closed += 1

    class AsyncUntouched:
        closed = 0

        def __aiter__(self) -> AsyncIterator[bytes]:
            raise AssertionError("iterated")

        async def aclose(self) -> None:
            self.closed += 1

    body: Any = Untouched() if colour == "def" else AsyncUntouched()

    async def main() -> Peer:
        peer = Peer(one_route(lambda request: StreamingResponse(body)), "HEAD")
        assert await peer.answer() == (200, b"")
        return peer

    assert len(run(main()).sent) == 2
    assert body.closed == 1


@COLOURS
def test_both_an_iterable_and_its_iterator_are_closed_once(colour: str) -> None:
    closed: list[str] = []

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            try:
                yield b"one"
                yield b"two"
            finally:
                closed.append("iterator")

        def close(self) -> None:
            closed.append("iterable")

    class AsyncPieces:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                yield b"one"
                yield b"two"
            finally:
                closed.append("iterator")

        async def aclose(self) -> None:
            closed.append("iterable")

    content = Pieces() if colour == "def" else AsyncPieces()

    async def main() -> None:
        peer = Peer(one_route(lambda request: StreamingResponse(content)))
        task = peer.start()
        await peer.until(lambda: len(peer.sent) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert closed == ["iterator", "iterable"]


@COLOURS
def test_an_error_while_closing_is_logged_and_the_response_stands(
    colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"one"])

        def close(self) -> None:
            raise LookupError("closing")

    class AsyncPieces:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"one"

        async def aclose(self) -> None:
            raise LookupError("closing")

    content = Pieces() if colour == "def" else AsyncPieces()

    async def main() -> tuple[int, bytes]:
        return await Peer(one_route(lambda request: StreamingResponse(content))).answer()

    assert run(main()) == (200, b"one")
    assert own_records(caplog) == ["closing the body of a response failed"]


def test_a_piece_of_its_own_colour_is_asked_for_when_the_one_before_was_taken() -> None:
    body = Body("async def", b"one", b"two", b"three")

    async def main() -> None:
        peer = Peer(one_route(body.endpoint()))
        taken: list[tuple[bytes, int]] = []

        async def send(message: dict[str, Any]) -> None:
            for _ in range(20):  # time enough for whoever would run ahead
                await asyncio.sleep(0)
            if message["type"] == "http.response.body":
                taken.append((message["body"], body.given))

        await peer.app(peer.scope, peer.receive, send)
        assert taken == [(b"one", 1), (b"two", 2), (b"three", 3), (b"", 3)]

    run(main())


def test_pieces_that_a_thread_makes_are_ahead_of_those_taken_by_a_buffer_at_most() -> None:
    size = BUFFER_SIZE // 4
    body = Body("def", *[bytes(size)] * 40)

    async def main() -> None:
        peer = Peer(one_route(body.endpoint()))
        taken = 0
        ahead: list[int] = []

        async def send(message: dict[str, Any]) -> None:
            nonlocal taken
            if message["type"] == "http.response.body":
                taken += 1
                if taken % 5 == 0:
                    await asyncio.sleep(0.02)  # time enough for whoever would run ahead
                ahead.append(body.given - taken)

        await peer.app(peer.scope, peer.receive, send)
        assert (taken, body.given, body.closed) == (41, 40, 1)
        assert 1 <= max(ahead) <= 5

    run(main())


@COLOURS
def test_empty_pieces_are_not_sent(colour: str) -> None:
    body = Body(colour, b"", b"one", b"", b"two", b"")

    async def main() -> list[dict[str, Any]]:
        peer = Peer(one_route(body.endpoint()))
        await peer.answer()
        return peer.sent[1:]

    assert [message["body"] for message in run(main())] == [b"one", b"two", b""]


@COLOURS
def test_a_response_may_stream_the_body_of_its_request_in_order(colour: str) -> None:
    def echo(request: SyncRequest) -> Response:
        return StreamingResponse(request.stream())

    async def echo_async(request: Request) -> Response:
        return StreamingResponse(request.stream())

    numbers = [b"%05d," % number for number in range(500)]

    async def main() -> bytes:
        headers = [(b"transfer-encoding", b"chunked")]
        peer = Peer(one_route(echo if colour == "def" else echo_async), "POST", headers=headers, events=[])

        async def upload() -> None:
            for count, number in enumerate(numbers):
                peer.events.put_nowait(piece(number))
                for _ in range(count % 7):  # in bursts, and with pauses
                    await asyncio.sleep(0)
            peer.events.put_nowait(piece(b"", False))

        (_, body), _ = await asyncio.gather(peer.answer(), upload())
        return body

    assert run(main()) == b"".join(numbers)


@COLOURS
def test_a_response_may_stream_a_request_body_beyond_what_is_kept(colour: str) -> None:
    def echo(request: SyncRequest) -> Response:
        return StreamingResponse(request.stream())

    async def echo_async(request: Request) -> Response:
        return StreamingResponse(request.stream())

    count, chunk = 40, b"x" * 65_536

    async def main() -> int:
        headers = [(b"transfer-encoding", b"chunked")]
        events = [*(piece(chunk) for _ in range(count)), piece(b"", False)]
        peer = Peer(one_route(echo if colour == "def" else echo_async), "POST", headers=headers, events=events)
        _, body = await peer.answer()
        return len(body)

    assert run(main()) == count * len(chunk)


# Threads


def test_def_handlers_have_as_many_threads_as_max_threads_allows() -> None:
    lock = threading.Lock()
    running = most = 0
    go_on = threading.Event()
    arrived = threading.Semaphore(0)

    def get(request: SyncRequest) -> Response:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        arrived.release()
        assert go_on.wait(TIMEOUT)
        with lock:
            running -= 1
        return PlainTextResponse("done")

    async def main() -> list[tuple[int, bytes]]:
        app = one_route(get, max_threads=2)
        tasks = [asyncio.create_task(Peer(app).answer()) for _ in range(5)]
        for _ in range(2):
            assert await asyncio.to_thread(arrived.acquire, timeout=TIMEOUT)
        go_on.set()
        return await asyncio.gather(*tasks)

    assert run(main()) == [(200, b"done")] * 5
    assert most == 2


def test_an_adapter_s_own_max_threads_comes_before_the_app_s() -> None:
    app = one_route(lambda request: PlainTextResponse(""), max_threads=2)
    assert (ASGIAdapter(app).threads.size, ASGIAdapter(app, max_threads=3).threads.size) == (2, 3)


@pytest.mark.parametrize("form", ["route", "endpoint"])
def test_with_sync_to_thread_false_a_def_handler_runs_on_the_event_loop(form: str) -> None:
    def get(request: SyncRequest) -> Response:
        return JSONResponse(threading.current_thread() is threading.main_thread())

    class Endpoint(HTTPEndpoint):
        sync_to_thread = False

        def get(self, request: SyncRequest) -> Response:
            return get(request)

    route = Route("/", get, sync_to_thread=False) if form == "route" else Route("/", Endpoint)

    async def main() -> tuple[int, bytes]:
        return await Peer(DualRoute([route])).answer()

    assert run(main()) == (200, b"true")


def test_a_def_handler_on_the_event_loop_that_wants_a_body_is_told_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def post(request: SyncRequest) -> Response:
        return PlainTextResponse(request.body())

    async def main() -> tuple[int, bytes]:
        app = DualRoute([Route("/", post, methods=["POST"], sync_to_thread=False)])
        return await Peer(app, "POST", headers=[(b"content-length", b"3")], events=[piece(b"abc", False)]).answer()

    assert run(main())[0] == 500
    assert "make it async def, or let it have a thread" in caplog.text


def test_a_slow_upload_to_a_def_handler_holds_no_thread() -> None:
    def post(request: SyncRequest) -> Response:
        return PlainTextResponse(request.body())

    async def main() -> None:
        app = one_route(post, max_threads=1)
        slow = Peer(app, "POST", headers=[(b"content-length", b"6")], events=[piece(b"abc")])
        upload = slow.start()
        await slow.until(lambda: slow.received == 1)
        assert await Peer(app, "POST").answer() == (200, b"")
        slow.events.put_nowait(piece(b"def", False))
        await upload
        assert (slow.status, slow.body) == (200, b"abcdef")

    run(main())


def test_a_body_beyond_the_read_ahead_limit_is_read_from_the_thread() -> None:
    chunk = b"x" * 65_536
    count = 3 * BUFFER_SIZE // len(chunk)
    received_before: list[int] = []

    async def main() -> tuple[int, bytes]:
        def post(request: SyncRequest) -> Response:
            received_before.append(peer.received)
            return PlainTextResponse(str(sum(len(data) for data in request.stream())))

        headers = [(b"content-length", b"%d" % (count * len(chunk)))]
        events = [*(piece(chunk) for _ in range(count)), piece(b"", False)]
        peer = Peer(one_route(post), "POST", headers=headers, events=events)
        return await peer.answer()

    assert run(main()) == (200, str(count * len(chunk)).encode())
    assert received_before[0] <= BUFFER_SIZE // len(chunk) + 1


def test_tiny_pieces_are_read_ahead_within_bounds_too() -> None:
    count = 20_000
    received_before: list[int] = []

    async def main() -> tuple[int, bytes]:
        def post(request: SyncRequest) -> Response:
            received_before.append(peer.received)
            return PlainTextResponse("unread")

        headers = [(b"transfer-encoding", b"chunked")]
        peer = Peer(one_route(post), "POST", headers=headers, events=[piece(b"x") for _ in range(count)])
        return await peer.answer()

    assert run(main()) == (200, b"unread")
    assert received_before[0] < count


def test_a_request_without_a_body_is_not_received_for() -> None:
    async def main() -> int:
        peer = Peer(one_route(lambda request: PlainTextResponse("")))
        await peer.answer()
        return peer.received

    assert run(main()) == 0


@pytest.mark.parametrize("sync_to_thread", [True, False])
def test_stop_iteration_from_a_handler_is_a_500(sync_to_thread: bool, caplog: pytest.LogCaptureFixture) -> None:
    def get(request: SyncRequest) -> Response:
        raise StopIteration

    async def main() -> tuple[int, bytes]:
        return await Peer(DualRoute([Route("/", get, sync_to_thread=sync_to_thread)])).answer()

    assert run(main()) == (500, b"Internal Server Error")
    assert len(own_records(caplog)) == 1


# Other scopes


def test_lifespan_events_are_answered() -> None:
    sent: list[str] = []

    async def main() -> None:
        events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> dict[str, Any]:
            return next(events)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message["type"])

        app: Any = one_route(lambda request: PlainTextResponse(""))
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    run(main())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_the_threads_end_with_the_lifespan_and_an_app_may_have_another() -> None:
    threads: list[threading.Thread] = []

    def get(request: SyncRequest) -> Response:
        threads.append(threading.current_thread())
        return PlainTextResponse("")

    async def main() -> None:
        app: Any = one_route(get)
        for _ in range(2):
            events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            lifespan = asyncio.create_task(app({"type": "lifespan"}, events.get, sent.put))
            events.put_nowait({"type": "lifespan.startup"})
            await sent.get()
            assert await Peer(app).answer() == (200, b"")
            events.put_nowait({"type": "lifespan.shutdown"})
            await lifespan
            await asyncio.to_thread(threads[-1].join, TIMEOUT)
            assert not threads[-1].is_alive()

    run(main())
    assert len(threads) == 2


def test_a_scope_of_another_type_is_refused_by_name() -> None:
    async def main() -> None:
        app: Any = one_route(lambda request: PlainTextResponse(""))
        peer = Peer(app)
        await app({"type": "carrier-pigeon"}, peer.receive, peer.send)

    with pytest.raises(ValueError, match="not 'carrier-pigeon'"):
        run(main())
