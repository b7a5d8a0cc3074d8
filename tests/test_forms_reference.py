"""The reader of urlencoded forms beside one that takes them apart byte by byte, as simply as can be."""

from __future__ import annotations

import asyncio
import itertools
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

import dualroute.formreaders
from dualroute import Limits, Request, SyncRequest
from dualroute.charsets import codec_for
from dualroute.exceptions import BodyTooLarge, HTTPException, MultiPartException
from dualroute.formreaders import UrlEncodedReader
from dualroute.forms import parse_async, reader_for
from dualroute.multipart import MultipartReader


class Plain:
    """The same reader, with no thought of time."""

    def __init__(self, limits: Limits, charset: str | None) -> None:
        self.limits = limits
        self.charset = charset
        self.size = 0
        self.open = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def feed(self, piece: bytes) -> None:
        self.size += len(piece)
        self.check("max_text_size", self.size, "the text of a form may have {} bytes")
        for number in piece:
            if number == ord("&"):
                self.end()
            else:
                self.open += bytes([number])
                self.check("max_part_size", len(self.open) - 1, "a field of a form may have {} bytes")

    def end(self) -> None:
        if self.open:
            name, _, value = self.open.partition(b"=")
            self.check("max_part_size", len(name) + len(value), "a field of a form may have {} bytes")
            self.fields.append((self.unquoted(name), self.unquoted(value)))
            self.check("max_form_fields", len(self.fields), "a form may have {} fields")
            self.open = b""

    def finish(self) -> list[tuple[str, str]]:
        self.end()
        told = [value.decode("latin-1") for name, value in self.fields if name == b"_charset_" and value]
        codec = codec_for([*told, self.charset or "utf-8"][0])
        if codec is None and self.fields:
            raise MultiPartException("the charset of the form is unknown")
        try:
            return [(name.decode(codec or ""), value.decode(codec or "")) for name, value in self.fields]
        except ValueError:
            raise MultiPartException(f"the form has a field that is not text in {codec}") from None

    def check(self, limit: str, size: int, message: str) -> None:
        most = getattr(self.limits, limit)
        if most is not None and size > most:
            raise BodyTooLarge(most, message.format(most))

    @staticmethod
    def unquoted(data: bytes) -> bytes:
        return unquote_to_bytes(data.replace(b"+", b" "))


def outcome(reader: Any, pieces: Iterable[bytes]) -> Any:
    """Return the fields, or after how many pieces which exception was raised."""
    index = 0
    try:
        for index, piece in enumerate(pieces):  # noqa: B007
            reader.feed(piece)
        index = -1
        return list(reader.finish())
    except HTTPException as error:
        return index, type(error), error.status_code, error.detail


def cut(body: bytes, places: Sequence[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(at)]


SIGNS = st.sampled_from(
    [
        *(b"&", b"&", b"&", b"=", b"=", b"=", b"+", b"%", b"a", b"b", b"_", b"&&", b"a=b&", b"=&", b"long enough"),
        *(b"%41", b"%4", b"%zz", b"%%", b"%26", b"%3D", b"%3d", b"%25", b"%2B", b"%5F", b"%00", b"%\n", b"%\r\n"),
        *(b"\x1e", b"\x1f", b"%1E", b"%1f", b"\n", b"\r", b"\0", b"%0D%0A", b"\\", b"\\x41", b"%\r"),
        *("é".encode(), "日本".encode(), b"%C3%A9", b"%c3", b"%A9", b"\xff", b"\xc3", b"\xa9", b"%E2%82%AC", b"%FF"),
        *(b"&_charset_=latin-1", b"&_charset_=utf-8&", b"_charset_", b"&%5Fcharset%5f=cp1251&", b"&_charset_=none"),
    ]
)
BODIES = st.lists(SIGNS, max_size=40).map(b"".join) | st.binary(max_size=60)
REGULAR = st.lists(st.tuples(SIGNS, SIGNS), min_size=1, max_size=20).map(
    lambda pairs: b"&".join(b"=".join(side.translate(None, b"&=") for side in pair) for pair in pairs)
)
LIMITS = st.builds(
    Limits,
    max_form_fields=st.none() | st.integers(0, 12),
    max_part_size=st.none() | st.integers(0, 12),
    max_text_size=st.none() | st.integers(0, 120),
)
CHARSETS = st.sampled_from([None, None, None, "utf-8", "UTF8", "latin-1", "cp1251", "utf-16", "unknown"])


@settings(deadline=None, max_examples=1500)
@given(
    body=BODIES | REGULAR,
    places=st.lists(st.integers(0, 10_000), max_size=8),
    limits=st.just(Limits()) | LIMITS,
    charset=CHARSETS,
    block=st.sampled_from([1, 7, 65_536]),
)
@example(body=b"a=%C3%A9&%5Fcharset%5f=cp1251", places=[], limits=Limits(), charset=None, block=65_536)
@example(body=b"a&b=c=d&%41", places=[], limits=Limits(), charset=None, block=65_536)
@example(body=b"a=%3D&b=%", places=[], limits=Limits(), charset=None, block=65_536)
@example(body=b"a=%3D%\nx&b=%1f", places=[], limits=Limits(), charset=None, block=65_536)
@example(body=b"a=1&b=2&c=%1F", places=[3], limits=Limits(max_form_fields=3), charset=None, block=1)
@example(body=b"abc=de&12345&1=2345&", places=[4, 5], limits=Limits(max_part_size=5), charset=None, block=7)
def test_a_form_is_read_as_the_plain_way_reads_it(
    body: bytes, places: list[int], limits: Limits, charset: str | None, block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Blocks of this size would be 64 KiB in earnest.
        patch.setattr(dualroute.formreaders, "BLOCK_SIZE", block)
        for pieces in ([body], cut(body, places), [bytes([number]) for number in body]):
            assert outcome(UrlEncodedReader(limits, charset), pieces) == outcome(Plain(limits, charset), pieces)


@pytest.mark.parametrize("unit", [b"a=b&", b"a=%41&", b"a&", b"%&a=b=c&", b"n=+%3D%26&", b"&"])
def test_a_form_of_many_blocks_is_read_as_the_plain_way_reads_it(unit: bytes) -> None:
    limits = Limits(max_form_fields=None)
    body = unit * (100_000 // len(unit)) + b"last=%C3%A9"
    for pieces in ([body], cut(body, range(0, len(body), 7_001))):
        assert outcome(UrlEncodedReader(limits), pieces) == outcome(Plain(limits, None), pieces)


@pytest.mark.parametrize("charset", [None, "latin-1"])
@pytest.mark.parametrize("unit", [b"a=%&", b"a=b&"])
def test_a_long_form_is_taken_apart_in_steps(unit: bytes, charset: str | None) -> None:
    body = unit * 100_000
    limits = Limits(max_form_fields=None)
    reader = UrlEncodedReader(limits, charset)
    reader.feed(body)
    steps = sum(1 for _ in reader.steps())
    assert 6 <= steps <= 8
    assert reader.finish() == outcome(UrlEncodedReader(limits, charset), [body])
    short = UrlEncodedReader(limits, charset)
    short.feed(unit)
    assert not list(short.steps())


def test_the_event_loop_turns_while_a_long_form_is_taken_apart() -> None:
    turns = 0

    async def main() -> None:
        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def pieces() -> AsyncIterator[bytes]:
            yield b"a=%26&" * 100_000

        task = asyncio.create_task(turn())
        items = await parse_async(UrlEncodedReader(Limits(max_form_fields=None)), pieces())
        assert len(items) == 100_000
        task.cancel()

    asyncio.run(main())
    assert turns >= 8


@pytest.mark.parametrize("unit", [b"a=", b"ab", b"&&", b"a&"])
@pytest.mark.parametrize("size", [2, 1000])
def test_what_waits_for_the_rest_of_a_form_takes_no_more_than_its_size(unit: bytes, size: int) -> None:
    reader = UrlEncodedReader(Limits(max_form_fields=None, max_part_size=None))
    tracemalloc.start()
    try:
        for _ in range(1_000_000 // size):
            reader.feed(unit * (size // 2))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_300_000
    assert peak < 2_600_000


# The type


PARAMETERS = st.lists(
    st.sampled_from([";", " ", "\t", "charset=utf-8", 'charset="latin1"', "boundary=x", 'boundary="a;b"', "=", "x"]),
    max_size=6,
).map("".join)
KINDS = ("multipart/form-data", "application/x-www-form-urlencoded")


@given(
    kind=st.sampled_from([*KINDS, "Multipart/Form-Data", " application/x-www-form-urlencoded\t", "text/plain", ""]),
    rest=PARAMETERS,
)
def test_the_type_is_read_as_werkzeug_reads_it(kind: str, rest: str) -> None:
    name, options = parse_options_header(kind + rest)
    if name.lower() == "multipart/form-data" and "boundary" not in options:
        with pytest.raises(MultiPartException, match="boundary"):
            reader_for(kind + rest, Limits())
        return
    reader = reader_for(kind + rest, Limits())
    classes: dict[str, Any] = dict(zip(KINDS, (MultipartReader, UrlEncodedReader), strict=True))
    assert type(reader) is classes.get(name.lower(), type(None))
    if reader is not None:
        assert reader._charset == options.get("charset")


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [(b"content-type", b"a/b")],
        [(b"Content-Type", b"a/b; x=\xe9")],
        [(b"content-type", b"a/b"), (b"x", b"y"), (b"CONTENT-TYPE", b"c/d")],
        [(b"content_type", b"a/b")],
        [(b"content-type", b"")],
    ],
)
def test_the_type_alone_is_the_one_among_the_headers(sent: list[tuple[bytes, bytes]]) -> None:
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": sent}
    request: Any = Request(scope)
    alone = request._content_type()
    assert alone == request.headers.get("content-type")
    assert request._content_type() == alone


@pytest.mark.parametrize("sent", [{}, {"CONTENT_TYPE": "a/b"}, {"CONTENT_TYPE": ""}, {"HTTP_CONTENT_TYPE": "a/b"}])
def test_so_it_is_in_an_environ(sent: dict[str, str]) -> None:
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "SERVER_NAME": "a", "SERVER_PORT": "80", **sent}
    request: Any = SyncRequest.from_environ({**environ, "wsgi.url_scheme": "http", "wsgi.input": None})
    alone = request._content_type()
    assert alone == request.headers.get("content-type")
    assert request._content_type() == alone
