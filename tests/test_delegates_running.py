"""Message delegates at work, in all the ways that lead to an endpoint: see `tests.mounted_asgi_helper`."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dualroute import HTTPException, Mount
from dualroute.delegates import HTTPOutputError, HTTPServerRequest, ResponseStartLine
from dualroute.limits import Limits
from tests.delegate_helper import OK, Answering, Delegated, Recorder, later
from tests.mounted_asgi_helper import TIMEOUT, WAYS, Answer, Gate, Upload, Way, errors
from tests.transports import EventLoopThread


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, event_loop_thread: EventLoopThread) -> Iterator[Way]:
    made = Way(request.param, event_loop_thread)
    yield made
    made.close()


class Kept:
    """Makes delegates, and keeps what they are told."""

    def __init__(self, kind: Callable[[HTTPServerRequest, list[str]], Any]) -> None:
        self.kind = kind
        self.told = Told()

    def __call__(self, request: HTTPServerRequest) -> Any:
        return self.kind(request, self.told)


class Told(list[str]):
    """What a delegate was told; pieces of the body that follow each other count once."""

    def append(self, word: str) -> None:
        if self[-1:] != [word]:
            super().append(word)


def ask(way: Way, kind: Any, method: str = "GET", path: str = "/m/", **options: Any) -> tuple[Answer, list[str]]:
    """Return the answer, and what the delegate was told."""
    kept = Kept(kind)
    return way.ask(way.app(Delegated(kept)), method, path, **options), kept.told


def test_a_delegate_is_told_of_its_request_in_order(way: Way) -> None:
    class Echo(Recorder):
        def finish(self) -> None:
            super().finish()
            assert self.start_line is not None
            line = f"{self.start_line.method} {self.start_line.path} {self.start_line.version} "
            self.answer(line.encode() + self.headers["X-Some"].encode() + b" " + self.body, **{"X-Own": "mine"})

    answer, told = ask(way, Echo, "POST", "/m/a b?c=d", headers=[("x-some", "value")], upload=Upload([b"one ", b"two"]))
    assert answer.status == 200
    assert answer.body == b"POST /a%20b?c=d HTTP/1.1 value one two"
    assert answer.header("x-own") == "mine"
    assert answer.header("content-length") == str(len(answer.body))
    assert answer.header("content-type") == "application/octet-stream"
    assert told == ["headers", "data", "finish"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_without_a_body(way: Way, chunked: bool) -> None:
    answer, told = ask(way, Answering, "POST", upload=Upload(chunked=chunked))
    assert (answer.status, answer.body) == (200, b"OK")
    assert told == ["headers", "finish"]


def test_what_a_delegate_returns_is_awaited(way: Way) -> None:
    class Slow(Recorder):
        async def headers_received(self, start_line: Any, headers: Any) -> None:
            await asyncio.sleep(0.001)
            self.told.append("headers")

        async def data_received(self, chunk: bytes) -> None:
            self.told.append("(")
            await asyncio.sleep(0.001)
            self.told.append(")")

        async def finish(self) -> None:
            await asyncio.sleep(0.001)
            self.answer()
            self.told.append("finish")

    answer, told = ask(way, Slow, "POST", upload=Upload([bytes(100_000), bytes(100_000)]))
    assert answer.body == b"OK"
    assert told[0] == "headers"
    assert told[-1] == "finish"
    pairs = "".join(told[1:-1])
    assert pairs
    assert pairs == "()" * (len(pairs) // 2)


# Early and late answers


@pytest.mark.parametrize("upload", [Upload(), Upload([b"x" * 100_000] * 3)], ids=["empty", "long"])
def test_an_answer_before_the_request_has_ended(way: Way, upload: Upload) -> None:
    """As in Tornado: nothing more is delivered, and the delegate is told that it is over in place of `finish`."""

    class Early(Recorder):
        def headers_received(self, start_line: Any, headers: Any) -> None:
            super().headers_received(start_line, headers)
            self.answer()

    answer, told = ask(way, Early, "POST", upload=upload)
    assert (answer.status, answer.body) == (200, b"OK")
    assert told == ["headers", "close"]


def test_an_answer_half_way_through_the_request(way: Way) -> None:
    class Early(Recorder):
        def data_received(self, chunk: bytes) -> None:
            super().data_received(chunk)
            self.answer()

    answer, told = ask(way, Early, "POST", upload=Upload([b"x" * 100_000] * 3))
    assert (answer.status, answer.body) == (200, b"OK")
    assert told == ["headers", "data", "close"]


@pytest.mark.parametrize("way", ["asgi-bare", "asgi-wrapped"], indirect=True)
def test_an_answer_by_a_task_while_more_of_the_request_is_awaited(way: Way) -> None:
    """Under WSGI the server's thread is at the upload then, and the answer goes out after it."""
    never = threading.Event()

    class Early(Recorder):
        def data_received(self, chunk: bytes) -> None:
            super().data_received(chunk)
            asyncio.get_running_loop().call_later(0.01, self.answer)

    try:
        answer, told = ask(way, Early, "POST", upload=Upload([b"x", never], chunked=True))
    finally:
        never.set()
    assert (answer.status, answer.body) == (200, b"OK")
    assert told == ["headers", "data", "close"]


def test_an_answer_from_a_task_after_the_end(way: Way) -> None:
    class Late(Recorder):
        def finish(self) -> None:
            super().finish()
            later(self.respond())

        async def respond(self) -> None:
            await asyncio.sleep(0.01)
            self.connection.write_headers(OK, {})
            for piece in (b"one", b"two"):
                await self.connection.write(piece)
                await asyncio.sleep(0)
            await self.connection.finish()
            self.told.append("answered")

    answer, told = ask(way, Late)
    assert answer.body == b"onetwo"
    assert told[:2] == ["headers", "finish"]
    assert "close" not in told


def test_a_response_begins_while_the_request_still_comes(way: Way) -> None:
    """Under WSGI a piece may have to wait for the thread that is at the upload: docs/architecture.md."""
    more = threading.Event()
    sent = Gate()

    class Echo(Recorder):
        def headers_received(self, start_line: Any, headers: Any) -> None:
            self.connection.write_headers(OK, {})

        def data_received(self, chunk: bytes) -> Any:
            sent.open()
            return self.connection.write(chunk)

        def finish(self) -> None:
            self.connection.finish()

    app = way.app(Delegated(Kept(Echo)))
    if way.protocol == "wsgi":
        more.set()
    conversation = way.open(app, "POST", upload=Upload([b"one", more, b"two"], chunked=True))
    assert conversation.piece() == b"one" or way.protocol == "wsgi"
    assert sent.reached()
    more.set()
    assert conversation.finish().body == b"onetwo"


@pytest.mark.parametrize("place", ["constructor", "find_handler"])
def test_what_is_written_before_the_delegate_runs_is_kept(way: Way, place: str) -> None:
    class Eager(Recorder):
        def __init__(self, request: HTTPServerRequest, told: list[str]) -> None:
            super().__init__(request, told)
            if place == "constructor":
                self.connection.write_headers(OK, {"X-Early": "1"}, b"first ")

        def finish(self) -> None:
            super().finish()
            self.connection.write(b"last")
            self.connection.finish()

    def make(request: HTTPServerRequest, told: list[str]) -> Eager:
        if place == "find_handler":
            request.connection.write_headers(OK, {"X-Early": "1"}, b"first ")
        return Eager(request, told)

    answer, told = ask(way, make)
    assert (answer.body, answer.header("x-early")) == (b"first last", "1")
    assert told == ["headers", "finish"]


def test_a_task_that_the_constructor_starts(way: Way) -> None:
    """It may write, and wait, before the delegate has been told anything."""

    class Eager(Recorder):
        def __init__(self, request: HTTPServerRequest, told: list[str]) -> None:
            super().__init__(request, told)
            later(self.respond())

        async def respond(self) -> None:
            await self.connection.write_headers(OK, {}, b"one")
            for _ in range(10):
                await self.connection.write(b"two")
            await self.connection.finish()

    answer, _ = ask(way, Eager)
    assert answer.body == b"one" + b"two" * 10


def test_a_result_that_cannot_be_awaited_is_dropped(way: Way) -> None:
    class Counting(Answering):
        def data_received(self, chunk: bytes) -> Any:
            super().data_received(chunk)
            return len(chunk)

    answer, told = ask(way, Counting, "POST", upload=Upload([b"x"]))
    assert answer.body == b"OK"
    assert told == ["headers", "data", "finish"]


# Methods and statuses without a body


@pytest.mark.parametrize(
    ("method", "status", "length"), [("HEAD", 200, "2"), ("GET", 304, "2"), ("GET", 204, None), ("HEAD", 204, None)]
)
def test_responses_that_have_no_body(way: Way, method: str, status: int, length: str | None) -> None:
    class Body(Recorder):
        def finish(self) -> None:
            self.connection.write_headers(ResponseStartLine("HTTP/1.1", status, ""), {"Content-Length": "2"}, b"O")
            self.connection.write(b"K and more")
            self.connection.finish()

    answer, _ = ask(way, Body, method)
    assert (answer.status, answer.body, answer.cut) == (status, b"", False)
    assert answer.header("content-length") == length


def test_headers_about_the_connection_are_left_to_the_server(way: Way) -> None:
    class Chunked(Recorder):
        def finish(self) -> None:
            self.connection.write_headers(OK, {"Transfer-Encoding": "chunked", "Connection": "close", "X-A": "1"}, b"x")
            self.connection.finish()

    answer, _ = ask(way, Chunked)
    assert answer.body == b"x"
    assert answer.header("x-a") == "1"
    assert answer.header("transfer-encoding") is None
    assert answer.header("connection") is None


def test_an_empty_response(way: Way) -> None:
    class Empty(Recorder):
        def finish(self) -> None:
            self.connection.write_headers(ResponseStartLine("HTTP/1.1", 599, "Odd"), {}, b"")
            self.connection.write(b"")
            self.connection.finish()

    answer, _ = ask(way, Empty)
    assert (answer.status, answer.body, answer.cut) == (599, b"", False)


# Failures


@pytest.mark.parametrize("color", ["def", "async def"])
@pytest.mark.parametrize("method", ["headers_received", "data_received", "finish"])
def test_a_method_that_fails_is_a_500(way: Way, method: str, color: str, caplog: pytest.LogCaptureFixture) -> None:
    def failing(self: Any, *args: Any) -> None:
        self.connection.write_headers(OK, {}, b"not sent")
        raise ValueError("broken")

    async def failing_later(self: Any, *args: Any) -> None:
        await asyncio.sleep(0)
        raise ValueError("broken")

    kind = type("Failing", (Recorder,), {method: failing if color == "def" else failing_later})
    answer, told = ask(way, kind, "POST", upload=Upload([b"x"]))
    if method == "data_received" and color == "def":
        # What was written before the failure may have been sent by then, or not.
        assert answer.status == 500 or answer.cut
    else:
        assert answer.status == 500
    assert told[-1] == "close"
    assert told.count("close") == 1
    assert len(errors(caplog)) == 1
    assert "broken" in caplog.text


def test_an_http_exception_is_the_response(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(Recorder):
        def headers_received(self, start_line: Any, headers: Any) -> None:
            raise HTTPException(403)

    answer, told = ask(way, Refusing, "POST", upload=Upload([b"x"]))
    assert answer.status == 403
    assert told == ["close"]
    assert errors(caplog) == []


def test_a_failure_after_the_first_piece_cuts_the_response(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        async def finish(self) -> None:
            self.connection.write_headers(OK, {})
            await self.connection.write(b"some")
            await asyncio.sleep(0.05)
            raise ValueError("broken")

    answer, told = ask(way, Failing)
    assert (answer.status, answer.body, answer.cut) == (200, b"some", True)
    assert told == ["headers", "close"]
    assert len(errors(caplog)) == 1
    assert "cut short" in errors(caplog)[0]


@pytest.mark.parametrize("color", ["def", "async def"])
def test_a_failure_after_the_response_is_only_logged(way: Way, color: str, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Answering):
        def finish(self) -> Any:
            super().finish()
            if color == "def":
                raise ValueError("too late")
            return self.fail()

        async def fail(self) -> None:
            await asyncio.sleep(0)
            raise ValueError("too late")

    answer, told = ask(way, Failing)
    assert (answer.status, answer.body, answer.cut) == (200, b"OK", False)
    assert_soon(lambda: len(errors(caplog)) == 1)
    assert_soon(lambda: told == ["headers", "finish"] or told == ["headers", "finish", "close"])
    assert "too late" in caplog.text


def test_an_on_connection_close_that_fails_is_logged(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        def headers_received(self, start_line: Any, headers: Any) -> None:
            self.answer()

        def on_connection_close(self) -> None:
            raise ValueError("broken")

    answer, _ = ask(way, Failing)
    assert answer.body == b"OK"
    assert_soon(lambda: len(errors(caplog)) == 1 and "on_connection_close failed" in errors(caplog)[0])


@pytest.mark.parametrize("mistake", ["more", "less"])
@pytest.mark.parametrize("caught", [False, True])
def test_a_wrong_length_is_a_500(way: Way, mistake: str, caught: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(Recorder):
        def finish(self) -> None:
            self.connection.write_headers(OK, {"Content-Length": "3"}, b"ab")
            try:
                if mistake == "more":
                    self.connection.write(b"cd")
                else:
                    self.connection.finish()
            except HTTPOutputError:
                if not caught:
                    raise

    answer, told = ask(way, Wrong)
    assert answer.status == 500
    assert told == (["headers"] if caught else ["headers", "close"]), "one that returned from finish() is held no more"
    assert len(errors(caplog)) == 1
    assert f"bytes {mistake}" in caplog.text


@pytest.mark.parametrize("mistake", ["more", "less"])
def test_a_wrong_length_that_comes_out_later_cuts_the_response(
    way: Way, mistake: str, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[BaseException] = []

    class Wrong(Recorder):
        def finish(self) -> None:
            later(self.respond())

        async def respond(self) -> None:
            self.connection.write_headers(OK, {"Content-Length": "3"})
            await self.connection.write(b"ab")
            await asyncio.sleep(0.05)
            try:
                if mistake == "more":
                    self.connection.write(b"cd")
                else:
                    self.connection.finish()
            except HTTPOutputError as error:
                raised.append(error)

    answer, _ = ask(way, Wrong)
    assert (answer.status, answer.body, answer.cut) == (200, b"ab", True)
    assert len(raised) == 1, "the mistake is also the caller's"
    assert len(errors(caplog)) == 1
    assert f"bytes {mistake}" in caplog.text


def test_a_mistake_in_a_task_is_the_tasks(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(Recorder):
        def finish(self) -> None:
            later(self.respond())

        async def respond(self) -> None:
            with pytest.raises(RuntimeError, match="before write_headers"):
                self.connection.write(b"x")
            self.answer()
            with pytest.raises(RuntimeError, match="after finish"):
                self.connection.write(b"x")

    answer, _ = ask(way, Wrong)
    assert (answer.status, answer.body) == (200, b"OK")
    assert errors(caplog) == []


def test_a_connection_is_written_to_on_its_own_loop_only(way: Way) -> None:
    said: list[str] = []

    class Threaded(Recorder):
        async def finish(self) -> None:
            await asyncio.to_thread(self.write)
            self.answer()

        def write(self) -> None:
            for call in (self.answer, self.connection.finish):
                with pytest.raises(RuntimeError) as raised:
                    call()
                said.append(str(raised.value))

    answer, _ = ask(way, Threaded)
    assert answer.body == b"OK"
    assert len(said) == 2
    assert all("call_soon_threadsafe" in text for text in said)


@pytest.mark.parametrize("method", ["headers_received", "data_received", "finish"])
def test_a_delegate_that_cancels_itself_is_a_500(way: Way, method: str, caplog: pytest.LogCaptureFixture) -> None:
    async def cancelling(self: Any, *args: Any) -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    answer, told = ask(way, type("Cancelling", (Recorder,), {method: cancelling}), "POST", upload=Upload([b"x"]))
    assert answer.status == 500
    assert told[-1] == "close"
    assert "Cancelling cancelled itself" in caplog.text


def test_what_a_delegate_does_after_its_response_is_not_cut_off(way: Way) -> None:
    """Under ASGI the request waits for it; under WSGI it goes on by itself."""

    class Lingering(Answering):
        async def finish(self) -> None:
            super().finish()
            await asyncio.sleep(0.02)
            self.told.append("ended")

    answer, told = ask(way, Lingering)
    assert answer.body == b"OK"
    if way.protocol == "wsgi":
        assert_soon(lambda: "ended" in told)
    assert told == ["headers", "finish", "ended"]


# Nobody left to answer


def test_a_delegate_that_nobody_holds_and_that_did_not_answer_is_a_500(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    gc.collect()
    gc.disable()  # no cycle may stand in the way of noticing it at once
    try:
        answer, told = ask(way, Recorder, "POST", upload=Upload([b"x"]))
    finally:
        gc.enable()
    assert answer.status == 500
    assert told == ["headers", "data", "finish"]
    assert len(errors(caplog)) == 1
    assert "Recorder has returned from finish() without a response" in caplog.text


@pytest.mark.parametrize("begun", [False, True])
def test_a_task_that_gives_up_leaves_nobody_to_answer(way: Way, begun: bool, caplog: pytest.LogCaptureFixture) -> None:
    class GivesUp(Recorder):
        def finish(self) -> None:
            later(self.give_up())

        async def give_up(self) -> None:
            if begun:
                self.connection.write_headers(OK, {}, b"some")
            await asyncio.sleep(0.05)

    answer, _ = ask(way, GivesUp)
    assert (answer.status, answer.cut) == ((200, True) if begun else (500, False))
    assert "nobody is left to make one" in caplog.text


def test_a_delegate_that_drops_its_connection_hears_the_request_to_its_end(way: Way) -> None:
    class Drops(Recorder):
        def headers_received(self, start_line: Any, headers: Any) -> None:
            del self.connection

    answer, told = ask(way, Drops, "POST", upload=Upload([b"x"]))
    assert answer.status == 500
    assert told == ["data", "finish"]


# Limits


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_a_413(way: Way, chunked: bool, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(Answering)
    app = way.around([Mount("/m", app=Delegated(kept), limits=Limits(max_body_size=10))])
    answer = way.ask(app, "POST", upload=Upload([b"12345", b"678901"], chunked=chunked))
    assert answer.status == 413
    assert "finish" not in kept.told
    assert kept.told == [] or kept.told[-1] == "close"
    assert errors(caplog) == []


def test_a_body_that_is_cut_short_closes_the_delegate(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    answer, told = ask(way, Answering, "POST", upload=Upload([b"12345"], cut=True))
    assert answer.status in (0, 400)
    assert told == ["headers", "data", "close"]
    assert errors(caplog) == []


# What nobody awaits


def test_what_is_written_need_not_be_awaited(way: Way, recwarn: pytest.WarningsRecorder) -> None:
    class Careless(Recorder):
        def finish(self) -> None:
            self.connection.write_headers(OK, {})
            for _ in range(100):
                self.connection.write(b"piece")
            self.connection.finish()

    answer, _ = ask(way, Careless)
    assert answer.body == b"piece" * 100
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


def test_what_is_written_may_be_awaited_twice_and_together(way: Way) -> None:
    class Careful(Recorder):
        def finish(self) -> None:
            later(self.respond())

        async def respond(self) -> None:
            written = [self.connection.write_headers(OK, {}), *(self.connection.write(b"x") for _ in range(5))]
            await asyncio.gather(*map(asyncio.ensure_future, written))
            for item in written:
                await item
            await self.connection.finish()

    answer, _ = ask(way, Careful)
    assert answer.body == b"xxxxx"


def assert_soon(condition: Callable[[], bool]) -> None:
    """Under WSGI a delegate goes on after its response on its own: wait for that."""
    deadline = time.monotonic() + TIMEOUT
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()
