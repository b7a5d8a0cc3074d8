"""Reading forms with no I/O: what is taken, what is refused, and that the pieces they come in make no difference."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import dualroute.multipart
from dualroute import Limits
from dualroute.exceptions import BodyTooLarge, HTTPException, MultiPartException
from dualroute.formreaders import FormReader, UrlEncodedReader
from dualroute.forms import parse
from dualroute.multipart import BLOCK_SIZE, MultipartReader

B = "----B"

Shown = list[tuple[str, Any]]


def part(disposition: str, value: bytes = b"", *headers: str, newline: bytes = b"\r\n") -> bytes:
    lines = [f"Content-Disposition: form-data; {disposition}", *headers]
    return b"".join([b"--", B.encode(), newline, *(line.encode() + newline for line in lines), newline, value, newline])


END = f"--{B}--\r\n".encode()


def shown(items: Iterable[tuple[str, Any]]) -> Shown:
    """Return fields with their files read and closed."""
    result: Shown = []
    for name, value in items:
        if isinstance(value, str):
            result.append((name, value))
        else:
            content = value.read()
            assert value.size == len(content)
            result.append((name, (value.filename, value.content_type, content)))
            value.close()
    return result


def multipart(*pieces: bytes, limits: Limits | None = None, charset: str | None = None, boundary: str = B) -> Shown:
    return shown(parse(MultipartReader(boundary, limits or Limits(), charset), pieces))


def urlencoded(*pieces: bytes, limits: Limits | None = None, charset: str | None = None) -> Shown:
    return shown(parse(UrlEncodedReader(limits or Limits(), charset), pieces))


def refused(body: bytes, limits: Limits | None = None) -> tuple[int, str]:
    with pytest.raises(HTTPException) as caught:
        multipart(body, limits=limits)
    return caught.value.status_code, caught.value.detail


# What is taken


def test_fields_and_files_come_in_order() -> None:
    body = (
        part('name="a"', b"1")
        + part('name="f"; filename="x.txt"', b"line\r\n\r\n--other\r\n", "Content-Type: text/x-y")
        + part('name="a"', "ü\r\n".encode())
        + END
    )
    assert multipart(body) == [("a", "1"), ("f", ("x.txt", "text/x-y", b"line\r\n\r\n--other\r\n")), ("a", "ü\r\n")]


@pytest.mark.parametrize(
    ("disposition", "name", "filename"),
    [
        ('name="a"; filename="C:\\\\dir\\\\x.txt"', "a", "C:\\dir\\x.txt"),
        ('name="a"; filename="q\\"uo\\"te;.txt"', "a", 'q"uo"te;.txt'),
        ('name="a%22b"; filename="%22.txt"', 'a"b', '".txt'),
        ('name="é"; filename="日本.txt"', "é", "日本.txt"),
        ("name=a; filename*=UTF-8''na%C3%AFve%20.txt", "a", "naïve .txt"),
        ("name=a; filename*0=one; filename*1=two.txt", "a", "onetwo.txt"),
        ('name="a"; filename=""', "a", ""),
        ('NAME="a"; FileName="x"', "a", "x"),
        ('name=""; filename="../../etc/passwd"', "", "../../etc/passwd"),
    ],
)
def test_names_are_read_as_clients_write_them(disposition: str, name: str, filename: str) -> None:
    assert multipart(part(disposition, b"x") + END) == [(name, (filename, None, b"x"))]


def test_a_file_input_that_was_left_empty_is_an_empty_file() -> None:
    body = part('name="f"; filename=""', b"", "Content-Type: application/octet-stream") + END
    assert multipart(body) == [("f", ("", "application/octet-stream", b""))]


def test_a_folded_header_is_one_header() -> None:
    body = part('name="a";\r\n filename="x"', b"1", "X-A: 1\r\n\t2", "Content-Type:text/plain") + END
    assert multipart(body) == [("a", ("x", "text/plain", b"1"))]


@pytest.mark.parametrize(
    "body",
    [
        b"preamble\r\n" + part('name="a"', b"1") + END,
        b"\r\n" + part('name="a"', b"1") + END,
        part('name="a"', b"1") + END + b"epilogue\r\n" + part('name="b"', b"2") + END,
        part('name="a"', b"1") + END.rstrip(),
        part('name="a"', b"1", newline=b"\n") + END,
        part('name="a"', b"1").replace(b"B\r\n", b"B \t \r\n") + END.replace(b"--\r\n", b"-- \r\n"),
        b"x" * (BLOCK_SIZE - 1000) + b"\r\n" + part('name="a"', b"1") + END,
        part('name="a"', b"1") + END + b"x" * 5 * BLOCK_SIZE,
    ],
    ids=["preamble", "break first", "epilogue", "no last break", "LF", "padding", "long preamble", "long epilogue"],
)
def test_what_stands_around_parts_is_passed_over(body: bytes) -> None:
    assert multipart(body) == [("a", "1")]


@pytest.mark.parametrize(
    "data", [b"\r", b"\n", b"\r\n", b"\r\r\n", b"\r\n--", b"\r\n------", b"\r\n------Bx\r\n", b"--"]
)
def test_line_breaks_and_what_looks_like_a_boundary_are_data(data: bytes) -> None:
    body = part('name="f"; filename="x"', b"a" + data) + part('name="g"; filename="x"', data) + END
    assert multipart(body) == [("f", ("x", None, b"a" + data)), ("g", ("x", None, data))]


def test_a_form_without_parts_is_empty() -> None:
    assert multipart(END) == []


@pytest.mark.parametrize("size", range(BLOCK_SIZE - 120, BLOCK_SIZE + 10))
def test_a_boundary_may_lie_anywhere_in_a_block(size: int) -> None:
    body = part('name="f"; filename="x"', b"x" * (size - 70)) + part('name="a"', b"1") + END
    assert multipart(body) == [("f", ("x", None, b"x" * (size - 70))), ("a", "1")]


def test_a_urlencoded_form() -> None:
    assert urlencoded(b"a=1&b=x+y%26%3D&a=&flag&&%C3%A9=%c3%a9&c=d=e&=z&") == [
        *(("a", "1"), ("b", "x y&="), ("a", ""), ("flag", ""), ("é", "é"), ("c", "d=e"), ("", "z"))
    ]
    assert urlencoded() == urlencoded(b"") == urlencoded(b"&&&") == []
    assert urlencoded(b"a=100%&b=%zz%4") == [("a", "100%"), ("b", "%zz%4")]


# Charsets


@pytest.mark.parametrize("charset", ["ISO-8859-1", "latin1", "windows-1252"])
def test_text_is_in_the_charset_that_the_form_names(charset: str) -> None:
    assert urlencoded(b"a=%E9", charset=charset) == [("a", "é")]
    assert multipart(part('name="a"', b"\xe9") + END, charset=charset) == [("a", "é")]
    own = part('name="a"', b"\xe9", f'Content-Type: text/plain; charset="{charset}"')
    assert multipart(own + part('name="b"', "é".encode()) + END) == [("a", "é"), ("b", "é")]
    told = part('name="_charset_"', charset.encode())
    assert multipart(part('name="a"', b"\xe9") + told + END) == [("a", "é"), ("_charset_", charset)]
    assert urlencoded(b"a=%E9&_charset_=" + charset.encode()) == [("a", "é"), ("_charset_", charset)]


@pytest.mark.parametrize(
    "body",
    [
        part('name="a"', b"\xe9"),
        part('name="a"', b"1", "Content-Type: text/plain; charset=no-such"),
        part('name="a"', b"1", "Content-Type: text/plain; charset=punycode"),
        part('name="a"', b"1", "Content-Type: text/plain; charset=a\0b"),
        part('name="_charset_"', b"\xff\xff"),
        part('name="aé"').replace("é".encode(), b"\xe9"),
    ],
)
def test_text_that_can_not_be_decoded_is_400(body: bytes) -> None:
    assert refused(body + END)[0] == 400


@pytest.mark.parametrize("body", [b"a=%E9", b"a=\xff", b"%FF=a", b"a=1&_charset_=unknown"])
def test_so_it_is_in_a_urlencoded_form(body: bytes) -> None:
    with pytest.raises(MultiPartException):
        urlencoded(body)


# What is malformed


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "it has no boundary"),
        (b"nothing of the kind", "it has no boundary"),
        (part('name="a"', b"1"), "it ends within a part"),
        (part('name="a"', b"1") + f"--{B}".encode(), "it ends within a part"),
        (part('name="a"', b"1") + f"--{B}\r\n".encode(), "it ends within a part"),
        (part('name="a"', b"1")[:30], "it ends within a part"),
        (part("x=1", b"1") + END, "a part has no name"),
        (b"--" + B.encode() + b"\r\nX: y\r\n\r\n1\r\n" + END, "the headers of a part are malformed"),
        (part('name="a\0"', b"1") + END, "the headers of a part are malformed"),
        (part("name=a; filename*=UTF-8''x%00", b"1") + END, "the headers of a part are malformed"),
        (b"x" * (BLOCK_SIZE + 1) + b"\r\n" + part('name="a"', b"1") + END, "it does not begin with its boundary"),
        (part('name="a"', b"1") + END[:-4] + b" " * 2 * BLOCK_SIZE, "a boundary has no end"),
    ],
)
def test_a_malformed_form_is_400(body: bytes, reason: str) -> None:
    assert refused(body) == (400, f"Bad Request: the form can't be read: {reason}")


@pytest.mark.parametrize("boundary", [None, "", "x" * 71, "x" * 100_000, "é", "a\nb", "a\0", "ends "])
def test_what_can_be_no_boundary_is_400(boundary: str | None) -> None:
    with pytest.raises(MultiPartException, match="boundary"):
        MultipartReader(boundary, Limits())


@pytest.mark.parametrize("boundary", ["x", "x" * 70, "'()+_,-./:=? x", "a.*[b"])
def test_what_can_be_one_is_taken_literally(boundary: str) -> None:
    delimiter = b"--" + boundary.encode()
    body = part('name="a"', b"1").replace(b"--" + B.encode(), delimiter) + delimiter + b"--"
    assert multipart(body, boundary=boundary) == [("a", "1")]


def test_headers_without_end_are_400_at_their_limit() -> None:
    head = b"--" + B.encode() + b"\r\n"
    for endless in (b"X: y\r\n", b"x", b" folded\r\n"):
        reader = MultipartReader(B, Limits())
        with pytest.raises(MultiPartException, match="headers of a part may have 8192 bytes"):
            reader.feed(head + endless * 100_000)


@pytest.mark.parametrize("missing", [0, 1])
def test_headers_are_counted_to_the_byte(missing: int) -> None:
    body = part('name="a"', b"1", "X: " + "y" * 200) + END
    size = body.index(b"\r\n\r\n") - len(B) - 4
    limits = Limits(max_part_header_size=size - missing)
    assert multipart(body, limits=limits) == [("a", "1")] if not missing else refused(body, limits)[0] == 400


def test_many_headers_are_400() -> None:
    body = part('name="a"', b"1", *["X: y"] * 31) + END
    assert multipart(body) == [("a", "1")]
    assert refused(body, Limits(max_part_headers=31)) == (
        400,
        "Bad Request: the form can't be read: a part may have 31 headers",
    )


# Limits


@pytest.mark.parametrize(
    ("limits", "more"),
    [
        (Limits(max_form_fields=2), part('name="c"', b"")),
        (Limits(max_form_files=1), part('name="c"; filename=""', b"")),
        (Limits(max_part_size=100), part('name="c"', b"x" * 101)),
        (Limits(max_text_size=102, max_form_fields=None), part('name="c"', b"x" * 100)),
        (Limits(max_file_size=100), part('name="c"; filename="x"', b"x" * 101)),
    ],
)
def test_a_multipart_form_beyond_a_limit_is_413(limits: Limits, more: bytes) -> None:
    body = part('name="a"', b"x" * 10) + part('name="f"; filename="x"', b"x" * 100) + part('name="b"', b"x" * 90)
    assert len(multipart(body + END, limits=limits)) == 3
    status, detail = refused(body + more + END, limits)
    assert status == 413
    assert detail.startswith("Content Too Large: ")


@pytest.mark.parametrize(
    ("limits", "taken", "beyond"),
    [
        (Limits(max_form_fields=2), b"a=1&&b", b"a=1&b&c"),
        (Limits(max_part_size=5), b"abc=de&12345", b"abc=def"),
        (Limits(max_part_size=5), b"12345", b"123456"),
        (Limits(max_text_size=10), b"a=1&b=2&&&", b"a=1&b=2&&&&"),
    ],
)
def test_a_urlencoded_form_beyond_a_limit_is_413(limits: Limits, taken: bytes, beyond: bytes) -> None:
    urlencoded(taken, limits=limits)
    urlencoded(*(bytes([byte]) for byte in taken), limits=limits)
    for pieces in ([beyond], [bytes([byte]) for byte in beyond]):
        with pytest.raises(BodyTooLarge) as caught:
            urlencoded(*pieces, limits=limits)
        assert caught.value.status_code == 413


def test_none_lifts_a_limit() -> None:
    limits = Limits(max_form_fields=None, max_part_size=None, max_text_size=None)
    assert len(urlencoded(b"a&" * 5000, limits=limits)) == 5000
    assert len(urlencoded(b"a" * 2_000_000, limits=limits)[0][0]) == 2_000_000


def test_a_limit_is_noticed_while_reading() -> None:
    def endless(start: bytes, more: bytes) -> Iterable[bytes]:
        yield start
        while True:
            yield more

    with pytest.raises(BodyTooLarge, match="1000 fields"):
        parse(UrlEncodedReader(Limits()), endless(b"", b"a=1&" * 100))
    with pytest.raises(BodyTooLarge, match="a field"):
        parse(UrlEncodedReader(Limits()), endless(b"a=", b"1" * 1000))
    with pytest.raises(BodyTooLarge, match="text"):
        parse(UrlEncodedReader(Limits()), endless(b"", b"&" * 1000))
    for start, more, what in (
        (b"", part('name="a"', b"1"), "1000 fields"),
        (b"", part('name="a"; filename=""', b"1"), "1000 files"),
        (part('name="a"'), b"x" * 1000, "a field"),
        (part('name="a"; filename="x"'), b"x" * 1000, "a file"),
    ):
        reader = MultipartReader(B, Limits(max_file_size=10_000_000))
        with pytest.raises(BodyTooLarge, match=what):
            parse(reader, endless(start, more))
        assert all(file.closed for file in reader.files), "what was begun is closed"


# Pieces

TOKENS = (
    *(b"\r\n--B", b"\r\n--B", b"--B", b"\r\n", b"\r", b"\n", b"-", b"--", b" ", b"\t", b"x", b"\r\n\r\n", b"\xff"),
    b'Content-Disposition: form-data; name="a"\r\n\r\n',
    b'\r\n--B\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\n',
)


def outcome(pieces: Iterable[bytes]) -> Any:
    reader = MultipartReader("B", Limits())
    try:
        return shown(parse(reader, pieces))
    except MultiPartException as error:
        assert all(file.closed for file in reader.files)
        return error.message


def cut(body: bytes, places: list[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(at)]


@settings(deadline=None, max_examples=300)
@given(
    tokens=st.lists(st.sampled_from(TOKENS), max_size=30),
    places=st.lists(st.integers(0, 2000), max_size=6),
    block=st.integers(70, 140),
)
@example(tokens=[b"x", b"\r\n--B", b"-", b"-"], places=[60, 61, 62], block=70)
@example(tokens=[*TOKENS[:2], *[TOKENS[-1]] * 3, b"\r\n--B", b" ", TOKENS[-1]], places=[], block=88)
def test_pieces_and_blocks_make_no_difference(tokens: list[bytes], places: list[int], block: int) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"".join(tokens) + b"\r\n--B--\r\n"
    whole = outcome([body])
    assert outcome(cut(body, places)) == whole
    assert outcome(bytes([byte]) for byte in body) == whole
    with pytest.MonkeyPatch.context() as patch:
        # Blocks of this size would be 64 KiB in earnest.
        patch.setattr(dualroute.multipart, "BLOCK_SIZE", block)
        in_blocks = outcome([body])
    assert in_blocks == whole


@settings(deadline=None, max_examples=200)
@given(body=st.binary(max_size=60) | st.text("a=&%4é+", max_size=60).map(str.encode), places=st.lists(st.integers(0)))
def test_pieces_make_no_difference_to_a_urlencoded_form(body: bytes, places: list[int]) -> None:
    def outcome(pieces: Iterable[bytes]) -> Any:
        try:
            return urlencoded(*pieces)
        except MultiPartException as error:
            return error.message

    whole = outcome([body])
    assert outcome(cut(body, places)) == whole
    assert outcome(bytes([byte]) for byte in body) == whole


# Time

TINY = part('name="a"', b"1")
ANY = Limits(max_form_fields=None, max_text_size=None, max_part_size=None, max_form_files=None)
BOUNDARY_LIKE = b"\r\n--" + B.encode()[:-1]

LONG: dict[str, tuple[Any, bytes, bytes, bytes]] = {
    "tiny fields": (MultipartReader, b"", TINY, END),
    "one file": (MultipartReader, part('name="f"; filename="x"')[:-2], b"x" * 100, b"\r\n" + END),
    "line breaks": (MultipartReader, part('name="f"; filename="x"')[:-2], b"\r\n", b"\r\n" + END),
    "CRs": (MultipartReader, part('name="f"; filename="x"')[:-2], b"\r", b"\r\n" + END),
    "almost boundaries": (MultipartReader, part('name="f"; filename="x"')[:-2], BOUNDARY_LIKE, b"\r\n" + END),
    "boundaries with junk": (
        MultipartReader,
        part('name="f"; filename="x"')[:-2],
        b"\r\n--" + B.encode() + b" x",
        b"\r\n" + END,
    ),
    "padding": (
        MultipartReader,
        part('name="f"; filename="x"')[:-2],
        b"\r\n--" + B.encode() + b" " * 500 + b"x",
        b"\r\n" + END,
    ),
    "epilogue": (MultipartReader, END, BOUNDARY_LIKE, b""),
    "urlencoded": (UrlEncodedReader, b"", b"a=%41&", b""),
    "ampersands": (UrlEncodedReader, b"", b"&", b""),
    "one field": (UrlEncodedReader, b"a=", b"%41", b""),
}


@pytest.mark.parametrize("pieces", [1, 7, 65_536, None], ids=["1", "7", "64 KiB", "whole"])
@pytest.mark.parametrize("kind", LONG)
def test_time_grows_with_the_size_alone(kind: str, pieces: int | None) -> None:
    cls, start, unit, end = LONG[kind]

    def taken(size: int) -> float:
        body = start + unit * (size // len(unit)) + end
        cuts = [body[at : at + pieces] for at in range(0, len(body), pieces)] if pieces else [body]
        reader: FormReader = cls(B, ANY) if cls is MultipartReader else cls(ANY)
        began = time.process_time()
        items = parse(reader, cuts)
        spent = time.process_time() - began
        for file in reader.files:
            file.close()
        assert items or kind in ("epilogue", "ampersands")
        return spent

    # Four times the input takes four times as long, or sixteen times where time grows with the square.
    size = 100_000 if pieces and pieces < 10 else 300_000
    ratios = []
    for _ in range(4):
        small, large = min(taken(size), taken(size)), taken(4 * size)
        ratios.append(large / max(small, 0.004))
        if ratios[-1] < 9:
            return
    pytest.fail(f"four times the input took {ratios} times as long")
