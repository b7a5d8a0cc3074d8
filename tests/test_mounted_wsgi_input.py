"""The request bodies of mounted WSGI apps: ``wsgi.input``, streamed, counted and cut short, on either protocol."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from wsgiref.validate import validator

import pytest

from dualroute import (
    Call,
    ClientDisconnect,
    DualRoute,
    Limits,
    Mount,
    PlainTextResponse,
    Response,
    SyncRequest,
    WSGIApp,
)
from dualroute.bodies import BUFFER_SIZE
from tests.mounted_wsgi_helper import (
    TEXT,
    TIMEOUT,
    Ask,
    Environ,
    Pairs,
    Peer,
    Reader,
    answering,
    ask_fixture,
    logged,
    piece,
    read_first,
    records,
    run,
    upload_of,
)

__all__ = ["ask_fixture"]

asgi_only = pytest.mark.protocol("asgi")  # only there do a thread and the server's own loop meet
wsgi_only = pytest.mark.protocol("wsgi")


LINES = b"one\ntwo\n\nfour" + b"x" * 300 + b"\n" + b"\n".join(b"line %d" % number for number in range(300)) + b"\nend"


def by_readinto(file: Any) -> Any:
    if not hasattr(file, "readinto"):
        return LINES
    buffer = bytearray(100)
    content = b""
    while size := file.readinto(buffer):
        content += buffer[:size]
    return content


def by_read1(file: Any) -> Any:
    return b"".join(iter(lambda: file.read1(100), b"")) if hasattr(file, "read1") else LINES


WAYS: dict[str, Callable[[Any], Any]] = {
    "read()": lambda file: [file.read(), file.read(), file.read(5)],
    "read(-1)": lambda file: [file.read(-1), file.read()],
    "read(0)": lambda file: [file.read(0), file.read(0), file.read(3), file.read(0), file.read()],
    "read(n)": lambda file: [*iter(lambda: file.read(7), b"")],
    "read(more than there is)": lambda file: [file.read(10_000_000), file.read(1)],
    "readline()": lambda file: [*iter(file.readline, b""), file.readline()],
    "readline(n)": lambda file: [
        file.readline(2),
        file.readline(2),
        file.readline(0),
        *iter(lambda: file.readline(50), b""),
    ],
    "readlines()": lambda file: [file.readlines(), file.readlines()],
    "readlines(n)": lambda file: [file.readlines(10), file.readlines(10), file.readlines()],
    "iteration": lambda file: [*file],
    "a bit of each": lambda file: [file.read(2), file.readline(), next(iter(file)), file.read(3), *file],
    "readinto()": by_readinto,
    "read1()": by_read1,
}


@pytest.mark.parametrize("buffer_size", [100, BUFFER_SIZE])
@pytest.mark.parametrize("announced", [-1, None], ids=["length", "chunks"])
@pytest.mark.parametrize("step", [1, 13, 1000, 10_000])
@pytest.mark.parametrize("way", WAYS)
def test_the_body_is_read_like_any_file(ask: Ask, way: str, step: int, announced: int | None, buffer_size: int) -> None:
    reader = Reader(WAYS[way])
    body = [LINES[at : at + step] for at in range(0, len(LINES), step)]
    app = DualRoute([Mount("/old", app=WSGIApp(reader, buffer_size=buffer_size))])
    assert ask(app, "POST", "/old/x", body=body, announced=announced).status == 200
    assert reader.got == WAYS[way](io.BytesIO(LINES))


@pytest.mark.parametrize("announced", [-1, None], ids=["length", "chunks"])
@pytest.mark.parametrize("count", [1, 5, 60])
def test_bodies_below_and_beyond_the_buffer_come_through_whole(ask: Ask, count: int, announced: int | None) -> None:
    # BAD_INPUTS 17.  60 pieces are more than any buffer holds.
    chunk = bytes(range(256)) * 256
    reader = Reader(lambda file: b"".join(iter(lambda: file.read(100_000), b"")))
    app = DualRoute(fallback=WSGIApp(validator(reader)))
    assert ask(app, "POST", body=[chunk] * count, announced=announced).status == 200
    assert reader.got == chunk * count


def test_an_app_that_does_not_read_its_body_is_fine(ask: Ask) -> None:
    for size in (10, 3 * BUFFER_SIZE):
        assert ask(DualRoute(fallback=answering([b"unread"])), "POST", body=[bytes(size)]).body == b"unread"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_without_a_body_the_input_is_empty(ask: Ask, method: str) -> None:
    reader = Reader(lambda file: [file.read(), file.readline(), [*file]])
    assert ask(DualRoute(fallback=reader), method).status == 200
    assert reader.got == [b"", b"", []]


@wsgi_only  # under ASGI nothing would be received
def test_without_a_length_or_an_end_nothing_is_read(ask: Ask) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("this would wait for the next request")

    reader = Reader(lambda file: file.read())
    ask(DualRoute(fallback=reader), "POST", environ={"wsgi.input": Endless()}, validate=False)
    assert reader.got == b""


@pytest.mark.parametrize("announced", [-1, None], ids=["length", "chunks"])
def test_an_upload_may_be_answered_while_it_is_read(ask: Ask, announced: int | None) -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        while data := environ["wsgi.input"].read(50_000):
            yield data

    chunk = bytes(range(256)) * 256
    answer = ask(DualRoute(fallback=app), "POST", body=[chunk] * 60, announced=announced)
    assert (answer.status, answer.body) == (200, chunk * 60)


# CONTENT_LENGTH and Transfer-Encoding


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_a_body_of_chunks_that_fits_the_buffer_has_a_length(ask: Ask, size: int) -> None:
    reader = Reader(lambda file: file.read())
    body = [bytes(size)] if size else []
    ask(DualRoute(fallback=WSGIApp(reader, buffer_size=1000)), "POST", body=body, announced=None)
    assert (reader.environ.get("CONTENT_LENGTH"), reader.got) == (str(size), bytes(size))
    assert "HTTP_TRANSFER_ENCODING" not in reader.environ


def test_a_body_of_chunks_beyond_the_buffer_has_none(ask: Ask) -> None:
    reader = Reader(lambda file: file.read())
    ask(DualRoute(fallback=WSGIApp(reader, buffer_size=1000)), "POST", body=[bytes(600)] * 300, announced=None)
    assert reader.got == bytes(180_000)
    assert "CONTENT_LENGTH" not in reader.environ
    assert reader.environ["HTTP_TRANSFER_ENCODING"] == "chunked"
    assert reader.environ["wsgi.input_terminated"] is True


def test_an_app_that_needs_a_length_has_one_for_any_body(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    made: list[Any] = []
    temporary = tempfile.TemporaryFile

    def spy() -> Any:
        made.append(temporary())
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", spy)
    reader = Reader(lambda file: [file.readline(), file.read(5), file.read()])
    content = LINES * 100
    served = DualRoute(fallback=WSGIApp(reader, buffer_size=1000, needs_length=True))
    for body, announced in (([content[:600]], None), ([content], None), ([content], -1)):
        assert ask(served, "POST", body=body, announced=announced).status == 200
        whole = b"".join(body)
        assert reader.got == [whole[:4], whole[4:9], whole[9:]]
        assert reader.environ["CONTENT_LENGTH"] == str(len(whole))
        assert "HTTP_TRANSFER_ENCODING" not in reader.environ
    assert [file.closed for file in made] == [True], "only a long one without a length is put by"


def test_a_body_for_an_app_that_needs_a_length_may_be_cut_short_or_too_large(ask: Ask) -> None:
    reader = Reader(lambda file: file.read())
    legacy = WSGIApp(reader, buffer_size=1000, needs_length=True)
    served = DualRoute(fallback=legacy, limits=Limits(max_body_size=200_000))
    body = [bytes(70_000)] * 2
    assert ask(served, "POST", body=body, announced=None, short=True).status == 400
    check_cut(reader.error)
    assert ask(served, "POST", body=body * 2, announced=None).status == 413


@pytest.mark.parametrize("buffer_size", [4, 1000])
@pytest.mark.parametrize("length", ["3", "9999", "10"])
def test_a_length_beside_a_transfer_encoding_is_not_trusted(ask: Ask, length: str, buffer_size: int) -> None:
    # BAD_INPUTS 14
    reader = Reader(lambda file: file.read())
    headers = [("content-length", length), ("transfer-encoding", "chunked")]
    ask(
        DualRoute(fallback=WSGIApp(reader, buffer_size=buffer_size)), "POST", headers=headers, body=[b"01234", b"56789"]
    )
    assert reader.got == b"0123456789"
    assert reader.environ.get("CONTENT_LENGTH") == (None if buffer_size == 4 else "10")


@asgi_only  # WSGI shows no HTTP/2
def test_http_2_frames_a_body_without_a_length(protocol: str) -> None:
    reader = Reader(lambda file: file.read())
    scope = Ask("asgi").scope("POST", http_version="2")

    async def main() -> None:
        await Peer(DualRoute(fallback=reader), scope, [piece(b"one"), piece(b"two", False)]).start()

    run(main())
    assert (reader.got, reader.environ["CONTENT_LENGTH"]) == (b"onetwo", "6")


# A body that others read too


@pytest.mark.parametrize("announced", [-1, None], ids=["length", "chunks"])
@pytest.mark.parametrize("size", [0, 10, 3 * BUFFER_SIZE])
def test_a_body_that_middleware_has_read_is_there_for_the_app(ask: Ask, size: int, announced: int | None) -> None:
    reader = Reader(lambda file: file.read())
    body = [b"x" * size] if size else []
    answer = ask(DualRoute(fallback=reader, middleware=[read_first]), "POST", body=body, announced=announced)
    assert (answer.status, answer.header("x-size"), reader.got) == (200, str(size), b"x" * size)
    if size == 10:
        assert reader.environ["CONTENT_LENGTH"] == "10"


@pytest.mark.parametrize("size", [10, 3 * BUFFER_SIZE])
def test_a_body_that_middleware_has_streamed_away_is_an_error_and_not_empty(
    ask: Ask, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    def drain(connection: Any) -> Any:
        yield Call(lambda: [*connection.stream()])
        return (yield connection)

    reader = Reader(lambda file: file.read())
    assert ask(DualRoute(fallback=reader, middleware=[drain]), "POST", body=[b"x" * size]).status == 500
    assert reader.got is None
    assert "the body was streamed before" in logged(caplog)


def test_middleware_that_has_streamed_no_body_does_no_harm(ask: Ask) -> None:
    def drain(connection: Any) -> Any:
        yield Call(lambda: [*connection.stream()])
        return (yield connection)

    reader = Reader(lambda file: file.read())
    assert ask(DualRoute(fallback=reader, middleware=[drain])).status == 200
    assert reader.got == b""


# Cut short


def check_cut(error: BaseException | None) -> None:
    assert isinstance(error, OSError)
    assert isinstance(error, ClientDisconnect)


CUTS = pytest.mark.parametrize(
    ("announced", "buffer_size"), [(100_000, 1000), (100_000, BUFFER_SIZE), (None, 1000), (None, BUFFER_SIZE)]
)


@CUTS
@pytest.mark.parametrize("sent", [(), (b"abc",), (b"x" * 600,) * 100])
def test_a_body_cut_short_is_an_oserror_and_a_400(
    ask: Ask, sent: tuple[bytes, ...], announced: int | None, buffer_size: int, caplog: pytest.LogCaptureFixture
) -> None:
    # BAD_INPUTS 15
    caplog.set_level("INFO")
    reader = Reader(lambda file: b"".join(iter(lambda: file.read(8192), b"")))
    app = DualRoute([Mount("/old", app=WSGIApp(reader, buffer_size=buffer_size))])
    answer = ask(app, "POST", "/old/x", body=sent, announced=announced, short=True)
    assert (answer.status, answer.body) == (400, b"Bad Request: the request body was cut short")
    check_cut(reader.error)
    assert "/old/x: the request body was cut short" in logged(caplog)


@CUTS
def test_what_came_before_the_cut_can_be_read(ask: Ask, announced: int | None, buffer_size: int) -> None:
    got: list[Any] = []

    def read(file: Any) -> None:
        got.append(file.read(3))
        got.append(file.readline(5))
        for _ in range(3):
            with pytest.raises(ClientDisconnect) as caught:
                file.read(1)
            got.append(caught.type.__mro__)

    app = DualRoute(fallback=WSGIApp(Reader(read), buffer_size=buffer_size))
    answer = ask(app, "POST", body=[b"abc", b"de\n"], announced=announced, short=True)
    assert answer.status == 200, "the app made its peace with it"
    assert got[:2] == [b"abc", b"de\n"]
    assert all(OSError in mro for mro in got[2:])


@CUTS
def test_an_app_that_takes_the_cut_for_itself_answers(ask: Ask, announced: int | None, buffer_size: int) -> None:
    reader = Reader(lambda file: file.read(), swallow=True)
    answer = ask(
        DualRoute(fallback=WSGIApp(reader, buffer_size=buffer_size)),
        "POST",
        body=[b"abc"],
        announced=announced,
        short=True,
    )
    assert (answer.status, answer.body) == (200, b"read")
    check_cut(reader.error)


def test_an_app_that_fails_over_a_cut_body_is_a_400_too(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Environ, start_response: Any) -> Any:
        try:
            environ["wsgi.input"].read()
        except OSError:
            raise LookupError("no such field") from None

    assert ask(DualRoute(fallback=app), "POST", body=[b"abc"], announced=9, short=True).status == 400
    assert not records(caplog, 40), "no error of ours"


def test_a_cut_body_is_a_client_disconnect_for_exception_handlers_and_middleware(ask: Ask) -> None:
    seen: list[BaseException] = []

    def look(connection: Any) -> Any:
        try:
            return (yield connection)
        except ClientDisconnect as error:
            seen.append(error)
            raise

    def handle(request: SyncRequest, error: Exception) -> Response:
        return PlainTextResponse("ours", status_code=499)

    for app in (
        DualRoute([Mount("", app=Reader(lambda file: file.read()), middleware=[look])]),
        DualRoute(fallback=Reader(lambda file: file.read()), exception_handlers={ClientDisconnect: handle}),
    ):
        answer = ask(app, "POST", body=[b"abc"], announced=9, short=True)
        assert answer.status == (499 if app.exception_handlers else 400)


@CUTS
def test_a_body_that_middleware_found_cut_short_is_so_for_the_app_too(
    ask: Ask, announced: int | None, buffer_size: int, caplog: pytest.LogCaptureFixture
) -> None:
    def peek(connection: Any) -> Any:
        try:
            yield Call(connection.body)
        except ClientDisconnect:
            pass  # the app shall say what comes of it
        return (yield connection)

    reader = Reader(lambda file: file.read())
    app = DualRoute(fallback=WSGIApp(reader, buffer_size=buffer_size), middleware=[peek])
    assert ask(app, "POST", body=[b"abc"], announced=announced, short=True).status == 400
    check_cut(reader.error)
    assert not records(caplog, 40)


def test_an_app_that_does_not_read_a_cut_body_answers(ask: Ask) -> None:
    app = DualRoute(fallback=answering([b"unread"]))
    assert ask(app, "POST", body=[b"abc"], announced=9, short=True).body == b"unread"


def test_a_cut_while_the_response_streams_cuts_that(ask: Ask) -> None:
    closed: list[str] = []

    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        try:
            yield b"one"
            yield environ["wsgi.input"].read()
        finally:
            closed.append("closed")

    answer = ask(DualRoute(fallback=app), "POST", body=[b"abc"], announced=9, short=True)
    assert (answer.body, answer.cut, closed) == (b"one", True, ["closed"])


# A slow upload, and one that ends while the app waits for it


@asgi_only
def test_a_slow_upload_that_fits_the_buffer_holds_no_thread(protocol: str) -> None:
    # BAD_INPUTS 25
    reader = Reader(lambda file: file.read())

    async def main() -> None:
        app = DualRoute([Mount("/other", app=answering([b"other"]))], fallback=reader, max_threads=1)
        slow = [upload_of(app, [("content-length", "6")], [piece(b"abc")]) for _ in range(5)]
        tasks = [peer.start() for peer in slow]
        for peer in slow:
            await peer.until(lambda: peer.received == 1)  # noqa: B023  # awaited within the turn
        other = Peer(app, Ask("asgi").scope(path="/other/"), [piece(b"", False)])
        await other.start()
        assert other.answer.body == b"other"
        for peer in slow:
            peer.events.put_nowait(piece(b"def", False))
        await asyncio.gather(*tasks)
        assert [peer.answer.body for peer in slow] == [b"read"] * 5

    run(main())
    assert reader.got == b"abcdef"


@asgi_only
@pytest.mark.parametrize("length", [[("content-length", "4003")], [("transfer-encoding", "chunked")]])
def test_beyond_the_buffer_the_app_waits_for_what_comes(protocol: str, length: Pairs) -> None:
    first = threading.Event()
    got: list[bytes] = []

    def read(file: Any) -> None:
        got.append(file.read(4000))
        first.set()
        got.append(file.read(1))
        got.append(file.read())

    async def main() -> None:
        peer = upload_of(DualRoute(fallback=WSGIApp(Reader(read), buffer_size=1000)), length, [piece(b"x" * 4000)])
        task = peer.start()
        assert await asyncio.to_thread(first.wait, TIMEOUT)
        for data in (b"a", b"b", b"c"):
            await asyncio.sleep(0)
            peer.events.put_nowait(piece(data))
        peer.events.put_nowait(piece(b"", False))
        await task
        assert peer.answer.status == 200

    run(main())
    assert got == [b"x" * 4000, b"a", b"bc"]


@asgi_only
@pytest.mark.parametrize("ending", ["disconnect", "cancel"])
def test_an_app_that_waits_for_its_body_is_told_of_the_end(protocol: str, ending: str) -> None:
    # BAD_INPUTS 24
    first = threading.Event()

    def read(file: Any) -> None:
        assert len(file.read(4000)) == 4000
        first.set()
        file.read(1)

    reader = Reader(read)

    async def main() -> None:
        app = DualRoute(fallback=WSGIApp(reader, buffer_size=1000))
        peer = upload_of(app, [("content-length", "5000")], [piece(b"x" * 4000)])
        task = peer.start()
        assert await asyncio.to_thread(first.wait, TIMEOUT)
        if ending == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert peer.sent == []
        else:
            peer.disconnect()
            await task
            assert peer.answer.status == 400

    run(main())
    check_cut(reader.error)


@asgi_only
def test_an_upload_that_nobody_reads_is_received_up_to_the_buffer(protocol: str) -> None:
    received: list[int] = []
    peers: list[Peer] = []

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        received.append(peers[0].received)
        start_response("200 OK", TEXT)
        return [b"unread"]

    async def main() -> None:
        served = DualRoute(fallback=WSGIApp(app, buffer_size=5000))
        peers.append(upload_of(served, [("content-length", "100000")], [piece(b"x" * 1000) for _ in range(100)]))
        await peers[0].start()

    run(main())
    assert received[0] <= 5


@wsgi_only
def test_under_wsgi_a_body_with_a_length_is_not_read_before_the_app_does(ask: Ask) -> None:
    class Untouched(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("read")

    given = {"wsgi.input": Untouched(), "CONTENT_LENGTH": "9"}
    assert ask(DualRoute(fallback=answering([b"x"])), "POST", environ=given, validate=False).body == b"x"


def pieces_of(content: bytes, step: int) -> Sequence[bytes]:
    return [content[at : at + step] for at in range(0, len(content), step)]


@pytest.mark.parametrize("step", [1, 7, 100])
def test_the_validator_is_content_with_the_input(ask: Ask, step: int) -> None:
    def read(file: Any) -> Any:
        return [file.read(3), file.readline(), file.readline(4), file.readlines(), file.read(1)]

    content = b"one,two\nthree\nfour\nfive"
    reader = Reader(read)
    app = DualRoute(fallback=WSGIApp(validator(reader), buffer_size=10))
    assert ask(app, "POST", body=pieces_of(content, step), announced=None).status == 200
    assert reader.got == read(io.BytesIO(content))
