"""Message delegates whose clients leave or read slowly, and what a request leaves behind.

Each test of behaviour runs in all the ways that lead to an endpoint: see `tests.mounted_asgi_helper`.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from dualroute import DualRoute, Mount, PlainTextResponse, Request, Response, Route
from dualroute.delegates import HTTPServerRequest
from tests.conftest import Serve
from tests.delegate_helper import OK, Answering, Delegated, Recorder, later
from tests.garbage import garbage_of
from tests.mounted_asgi_helper import TIMEOUT, WAYS, ASGIConversation, Gate, Upload, Way, errors, transparent
from tests.test_delegates_running import assert_soon
from tests.transports import EventLoopThread


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, event_loop_thread: EventLoopThread) -> Iterator[Way]:
    made = Way(request.param, event_loop_thread)
    yield made
    made.close()


@pytest.fixture(params=["asgi-bare", "asgi-wrapped"])
def asgi(request: pytest.FixtureRequest, event_loop_thread: EventLoopThread) -> Iterator[Way]:
    """For what WSGI servers do not tell: that a client has gone before something is sent to it."""
    made = Way(request.param, event_loop_thread)
    yield made
    made.close()


class Kept:
    """Makes delegates of a class, and keeps them if told to."""

    def __init__(self, kind: Any, *, hold: bool = True) -> None:
        self.kind = kind
        self.hold = hold
        self.made: list[Any] = []
        self.told: list[str] = []
        self.ready = Gate()

    def __call__(self, request: HTTPServerRequest) -> Any:
        delegate = self.kind(request, self.told)
        delegate.ready = self.ready
        if self.hold:
            self.made.append(delegate)
        return delegate


# The client goes


def test_a_client_that_goes_before_a_late_answer(asgi: Way, caplog: pytest.LogCaptureFixture) -> None:
    class Waiting(Recorder):
        ready: Gate

        def finish(self) -> None:
            super().finish()
            self.ready.open()

    kept = Kept(Waiting)
    conversation = asgi.open(asgi.app(Delegated(kept)))
    assert kept.ready.reached()
    assert kept.told == ["headers", "finish"]
    conversation.leave()
    assert kept.told == ["headers", "finish", "close"]
    assert errors(caplog) == []
    (delegate,) = kept.made
    with pytest.raises(ConnectionResetError):
        asyncio.run(write_late(delegate))
    assert not delegate.connection._outgoing.pieces, "what nobody takes is not kept"


async def write_late(delegate: Recorder) -> None:
    written = delegate.connection.write_headers(OK, {}, b"to nobody")
    delegate.connection.write(b"more, not awaited")
    await written


def test_a_client_that_goes_while_the_end_is_awaited(asgi: Way, caplog: pytest.LogCaptureFixture) -> None:
    class Waiting(Recorder):
        ready: Gate

        async def finish(self) -> None:
            self.ready.open()
            await self.closed.wait()
            self.told.append("ended")

    kept = Kept(Waiting, hold=False)
    conversation = asgi.open(asgi.app(Delegated(kept)))
    assert kept.ready.reached()
    conversation.leave()
    assert kept.told == ["headers", "close", "ended"], "what it was at is given time to end"
    assert errors(caplog) == []


def test_a_client_that_goes_while_its_answer_is_streamed(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    raised = Gate()

    class Streaming(Recorder):
        def finish(self) -> None:
            super().finish()
            later(self.stream())

        async def stream(self) -> None:
            self.connection.write_headers(OK, {})
            try:
                while True:
                    await self.connection.write(b"x" * 100_000)
            except ConnectionResetError:
                raised.open()

    kept = Kept(Streaming, hold=False)
    conversation = way.open(way.app(Delegated(kept)), slow=True)
    assert conversation.piece()
    conversation.leave()
    assert raised.reached()
    assert_soon(lambda: kept.told == ["headers", "finish", "close"])
    assert errors(caplog) == []


def test_a_client_that_goes_while_a_method_of_the_delegate_awaits_a_write(
    way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Bare under ASGI the write fails.  Where the delegate has a task of its own, that may be cancelled before."""
    monkeypatch.setattr("dualroute_asgi.sessions.GRACE", TIMEOUT)
    ended: list[str] = []

    class Streaming(Recorder):
        async def finish(self) -> None:
            self.connection.write_headers(OK, {})
            try:
                while True:
                    await self.connection.write(b"x" * 100_000)
            except (ConnectionResetError, asyncio.CancelledError) as error:
                ended.append(type(error).__name__)
                raise

    kept = Kept(Streaming, hold=False)
    conversation = way.open(way.app(Delegated(kept)), slow=True)
    assert conversation.piece()
    began = time.monotonic()
    conversation.leave()
    assert time.monotonic() - began < TIMEOUT / 2
    assert len(ended) == 1
    assert ended[0] == "ConnectionResetError" or not way.direct
    assert kept.told == ["headers", "close"]
    assert errors(caplog) == []


def test_a_client_that_goes_in_the_middle_of_its_upload(asgi: Way, caplog: pytest.LogCaptureFixture) -> None:
    more = threading.Event()
    kept = Kept(Recorder)
    conversation = asgi.open(asgi.app(Delegated(kept)), "POST", upload=Upload([b"one", more], cut=True, chunked=True))
    assert_soon(lambda: "data" in kept.told)
    more.set()
    conversation.leave()
    assert kept.told == ["headers", "data", "close"]
    assert errors(caplog) == []


def test_a_client_that_goes_after_the_response_goes_unnoticed(way: Way) -> None:
    kept = Kept(Answering)
    conversation = way.open(way.app(Delegated(kept)))
    assert conversation.finish().body == b"OK"
    assert kept.told == ["headers", "finish"]


def test_a_request_that_is_cancelled_closes_the_delegate(asgi: Way) -> None:
    """As servers do at their shutdown."""
    kept = Kept(Recorder)
    conversation = asgi.open(asgi.app(Delegated(kept)))
    assert_soon(lambda: kept.told == ["headers", "finish"])
    assert isinstance(conversation, ASGIConversation)
    conversation.task.cancel()
    asgi._open.remove(conversation)
    assert_soon(lambda: kept.told == ["headers", "finish", "close"])


# Slow clients, and how much is held


def test_a_delegate_that_awaits_its_writes_waits_for_a_slow_client(way: Way) -> None:
    written = 0

    class Streaming(Recorder):
        async def finish(self) -> None:
            nonlocal written
            self.connection.write_headers(OK, {})
            for _ in range(100):
                await self.connection.write(b"x" * 10_000)
                written += 1
            self.connection.finish()

    conversation = way.open(way.app(Delegated(Kept(Streaming, hold=False), buffer_size=50_000)), slow=True)
    assert conversation.piece()
    time.sleep(0.1)
    assert 0 < written < 30
    assert sum(map(len, conversation.finish().pieces)) == 1_000_000


def test_a_delegate_that_awaits_reads_no_faster_than_it_writes(asgi: Way) -> None:
    received = 0

    class Echo(Recorder):
        def headers_received(self, start_line: Any, headers: Any) -> None:
            self.connection.write_headers(OK, {})

        def data_received(self, chunk: bytes) -> Any:
            nonlocal received
            received += 1
            return self.connection.write(chunk)

        def finish(self) -> None:
            self.connection.finish()

    app = asgi.app(Delegated(Kept(Echo, hold=False), buffer_size=50_000))
    conversation = asgi.open(app, "POST", upload=Upload([b"x" * 10_000] * 100, chunked=True), slow=True)
    assert conversation.piece()
    time.sleep(0.1)
    assert 0 < received < 30
    assert sum(map(len, conversation.finish().pieces)) == 1_000_000


class Zeros(Sequence[bytes]):
    """The pieces of an upload, made as they are asked for."""

    def __init__(self, size: int, count: int) -> None:
        self._size, self._count = size, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if index >= self._count:
            raise IndexError(index)
        return bytes(self._size)


class ZeroInput:
    """The same as a ``wsgi.input``."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int) -> bytes:
        piece = bytes(min(size, self.left))
        self.left -= len(piece)
        return piece


@pytest.mark.parametrize("direction", ["down", "through"])
def test_64_mib_take_little_memory(way: Way, direction: str) -> None:
    size, count = 65_536, 1024

    class Streaming(Recorder):
        def headers_received(self, start_line: Any, headers: Any) -> None:
            self.connection.write_headers(OK, {})

        def data_received(self, chunk: bytes) -> Any:
            return self.connection.write(chunk)

        async def finish(self) -> None:
            if direction == "down":
                for _ in range(count):
                    await self.connection.write(bytes(size))
            self.connection.finish()

    app = way.app(Delegated(Kept(Streaming, hold=False)))
    upload = Upload()
    extra: dict[str, Any] = {}
    if direction == "through":
        upload = Upload(Zeros(size, count) if way.protocol == "asgi" else (), chunked=True)
        extra = {"wsgi.input": ZeroInput(size * count)} if way.protocol == "wsgi" else {}
    tracemalloc.start()
    try:
        conversation = way.open(app, "POST", upload=upload, slow=True, extra=extra)
        got = 0
        while (piece := conversation.piece()) is not None:
            got += len(piece)
            conversation.answer.pieces.clear()
            if isinstance(conversation, ASGIConversation):
                del conversation.messages[1:-1]
        conversation.leave()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert got == size * count
    assert peak < 8 * 1_048_576, f"{peak} bytes were held at once"


# What a request leaves behind


@pytest.mark.parametrize("kind", ["answering", "forgetful", "failing", "late", "streaming"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_request_leaves_no_cycle(serve: Serve, kind: str, wrapped: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        def finish(self) -> None:
            raise ValueError("failed")

    class Late(Recorder):
        def finish(self) -> None:
            asyncio.get_running_loop().call_soon(self.answer)

    class Streaming(Recorder):
        async def finish(self) -> None:
            self.connection.write_headers(OK, {})
            for _ in range(3):
                await self.connection.write(b"piece")
            await self.connection.finish()

    kinds: dict[str, Callable[..., Any]] = {
        "answering": Answering,
        "forgetful": Recorder,
        "failing": Failing,
        "late": Late,
        "streaming": Streaming,
    }

    async def hello(request: Request) -> Response:
        return PlainTextResponse("hello")

    middleware = [transparent] if wrapped else []
    app = DualRoute([Route("/hello", hello), Mount("/m", app=Delegated(kinds[kind]))], middleware=middleware)
    client = serve(app)

    caplog.set_level(100)  # a log record would keep the traceback
    assert garbage_of(lambda: client.get("/m/"), 20) < garbage_of(lambda: client.get("/hello"), 20) + 20


def test_a_delegate_is_freed_when_its_request_is_over(way: Way) -> None:
    freed: list[weakref.ref[Any]] = []

    def make(request: HTTPServerRequest) -> Any:
        delegate = Answering(request)
        freed.append(weakref.ref(delegate))
        return delegate

    gc.collect()
    gc.disable()
    try:
        assert way.ask(way.app(Delegated(make)), "POST", upload=Upload([b"x"])).body == b"OK"
        deadline = time.monotonic() + TIMEOUT
        while freed[0]() is not None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert freed[0]() is None
    finally:
        gc.enable()
