"""Ranges: what is asked for, what is sent, and what is as good as no range at all (RFC 9110 section 14)."""

from __future__ import annotations

import email
import os
import re
from pathlib import Path
from time import perf_counter

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualroute import DualRoute, Request, Response, Route, SyncRequest
from dualroute.fileresponses import FileResponse
from dualroute.ranges import RangeNotSatisfiable, parse_ranges
from tests.conftest import Serve

CONTENT = bytes(range(256)) * 40
SIZE = len(CONTENT)


@pytest.mark.parametrize(
    ("header", "ranges"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-", [(0, 100)]),
        ("bytes=10-19", [(10, 20)]),
        ("bytes=99-", [(99, 100)]),
        ("bytes=90-1000", [(90, 100)]),
        ("bytes=-1", [(99, 100)]),
        ("bytes=-1000", [(0, 100)]),
        ("bytes=-100", [(0, 100)]),
        ("bytes= 1-2 ,\t4-5", [(1, 3), (4, 6)]),
        ("BYTES=1-2", [(1, 3)]),
        ("bytes=,1-2,,", [(1, 3)]),
        ("bytes=1-2,200-300", [(1, 3)]),
        ("bytes=50-59,10-19", [(10, 20), (50, 60)]),
        ("bytes=0-9,5-14,15-19", [(0, 20)]),
        ("bytes=0-9,0-9,0-9,0-9", [(0, 10)]),
        ("bytes=5-" + "9" * 5000, [(5, 100)]),
        ("bytes=-" + "0" * 5000 + "7", [(93, 100)]),
        ("bytes=" + "0" * 5000 + "3-4", [(3, 5)]),
    ],
)
def test_ranges(header: str, ranges: list[tuple[int, int]]) -> None:
    assert parse_ranges(header, 100) == ranges


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-4",
        "bytes=1-2,5-4",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1.0-2",
        "bytes=²-³",
        "bytes=0x1-0x2",
        "bytes 1-2",
        "lines=1-2",
        "seconds=1-2",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 202, 2)),
    ],
)
def test_what_is_malformed_or_too_much_is_no_range(header: str) -> None:
    assert parse_ranges(header, 100) is None


@pytest.mark.parametrize("asked", ["100-", "100-200", "-0", "200-300,400-", "9" * 99 + "-"])
def test_ranges_that_all_lie_behind_the_end_can_not_be_had(asked: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_ranges(f"bytes={asked}", 100)


def test_of_nothing_there_are_no_ranges() -> None:
    assert parse_ranges("bytes=0-", 0) is None
    assert parse_ranges("bytes=-5", 0) is None


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=20), st.integers(1, 150))
def test_what_is_sent_is_what_was_asked_for_once_each(pairs: list[tuple[int, int]], size: int) -> None:
    header = "bytes=" + ",".join(f"{min(pair)}-{max(pair)}" for pair in pairs)
    wanted = {n for pair in pairs for n in range(min(pair), max(pair) + 1) if n < size}
    try:
        ranges = parse_ranges(header, size)
    except RangeNotSatisfiable:
        assert not wanted
        return
    if ranges is None:
        assert not pairs
        return
    sent = [n for start, stop in ranges for n in range(start, stop)]
    assert sent == sorted(wanted)


@given(st.text(alphabet="0123456789-,= \tbytes", max_size=60))
def test_no_header_is_an_error(text: str) -> None:
    try:
        ranges = parse_ranges(text, 50)
    except RangeNotSatisfiable:
        return
    assert ranges is None or all(0 <= start < stop <= 50 for start, stop in ranges)


@pytest.mark.parametrize("item", ["0-,", "-1,", ",", " ", "0-0 ,", "1" * 50 + "-,", "9-8,"])
def test_a_long_header_takes_time_by_its_length(item: str) -> None:
    def cost(count: int) -> float:
        started = perf_counter()
        try:
            parse_ranges("bytes=" + item * count, 1000, max_ranges=10**9)
        except RangeNotSatisfiable:
            pass
        return perf_counter() - started

    few = min(cost(2_000) for _ in range(3))
    many = min(cost(20_000) for _ in range(3))
    assert many < few * 60 + 0.05


# As answers


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> httpx.Client:
    path = tmp_path / "f.bin"
    path.write_bytes(CONTENT)

    async def file(request: Request) -> Response:
        status_code = int(request.query_params.get("status", 200))
        return FileResponse(path, status_code, media_type="application/x-own")

    async def body(request: Request) -> Response:
        response = Response(CONTENT, media_type="application/x-own")
        response.add_etag()
        return response.make_conditional(request, accept_ranges=True)

    return serve(DualRoute([Route("/file", file, methods=["GET", "POST"]), Route("/body", body)]))


BOTH = pytest.mark.parametrize("path", ["/file", "/body"])


@BOTH
@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=-10", SIZE - 10, SIZE), ("bytes=5-", 5, SIZE), ("bytes=7-10,9-20", 7, 21)],
)
def test_one_range(client: httpx.Client, path: str, header: str, start: int, stop: int) -> None:
    answer = client.get(path, headers={"range": header})
    assert answer.status_code == 206
    assert answer.content == CONTENT[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(stop - start)
    assert answer.headers["content-type"] == "application/x-own"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"]


@BOTH
def test_several_ranges_are_parts(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"range": "bytes=5000-5009,0-9,-5"})
    assert answer.status_code == 206
    assert answer.headers["content-length"] == str(len(answer.content))
    assert "content-range" not in answer.headers
    kind = answer.headers["content-type"]
    assert re.fullmatch(r"multipart/byteranges; boundary=[0-9a-f]{32}", kind)
    message = email.message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + answer.content)
    parts = [(part["content-range"], part["content-type"], part.get_payload(decode=True)) for part in message.walk()][
        1:
    ]
    assert parts == [
        (f"bytes {start}-{stop - 1}/{SIZE}", "application/x-own", CONTENT[start:stop])
        for start, stop in ((0, 10), (5000, 5010), (SIZE - 5, SIZE))
    ]


def test_parts_of_a_big_file(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "big"
    content = os.urandom(700_000)
    path.write_bytes(content)

    def file(request: SyncRequest) -> Response:
        return FileResponse(path)

    client = serve(DualRoute([Route("/", file)]))
    for _ in range(2):
        answer = client.get("/", headers={"range": "bytes=1-300000,400000-"})
        assert answer.headers["content-length"] == str(len(answer.content))
        assert content[1:300_001] in answer.content
        assert content[400_000:] in answer.content
        assert len(answer.content) < 601_000


@BOTH
@pytest.mark.parametrize("header", [f"bytes={SIZE}-", "bytes=-0"])
def test_a_range_behind_the_end_is_a_416_that_tells_the_length(client: httpx.Client, path: str, header: str) -> None:
    answer = client.get(path, headers={"range": header})
    assert (answer.status_code, answer.text) == (416, "Range Not Satisfiable")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-length"] == "21"
    assert "etag" not in answer.headers


@BOTH
@pytest.mark.parametrize(
    "header", ["bytes=5-4", "rows=1-2", "bytes=x", "bytes=" + ",".join(f"{n * 3}-{n * 3}" for n in range(101))]
)
def test_no_range_is_the_whole(client: httpx.Client, path: str, header: str) -> None:
    answer = client.get(path, headers={"range": header})
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert "content-range" not in answer.headers


def test_ranges_are_for_get_and_for_200(client: httpx.Client) -> None:
    headers = {"range": "bytes=0-9"}
    assert client.head("/file", headers=headers).status_code == 200
    assert client.head("/file", headers=headers).headers["content-length"] == str(SIZE)
    assert client.post("/file", headers=headers).status_code == 200
    answer = client.get("/file?status=404", headers=headers)
    assert (answer.status_code, answer.content) == (404, CONTENT)


@BOTH
def test_if_range_has_the_rest_only_of_the_same(client: httpx.Client, path: str) -> None:
    whole = client.get(path)
    validators = [whole.headers["etag"]]
    if path == "/file":
        validators.append(whole.headers["last-modified"])
    for validator in validators:
        answer = client.get(path, headers={"range": "bytes=5-9", "if-range": validator})
        assert (answer.status_code, answer.content) == (206, CONTENT[5:10])
    for validator in ('"other"', f"W/{validators[0]}", "Thu, 01 Jan 1970 00:00:00 GMT", "rubbish", ""):
        answer = client.get(path, headers={"range": "bytes=5-9", "if-range": validator})
        assert (answer.status_code, answer.content) == (200, CONTENT)
    # Without a range it says nothing (section 13.1.5).
    assert client.get(path, headers={"if-range": '"other"'}).status_code == 200


def test_an_empty_file_has_no_ranges(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    client = serve(FileResponse(tmp_path / "empty"))
    for header in ("bytes=0-", "bytes=-1", "bytes=5-"):
        answer = client.get("/", headers={"range": header})
        assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")
