"""Conditional requests: the table of RFC 9110 section 13.2.2, for files and for any response with an ETag."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest

from dualroute import DualRoute, HTMLResponse, Request, Response, Route, StreamingResponse, SyncRequest
from dualroute.fileresponses import FileResponse
from tests.conftest import Serve

WHEN = 1_700_000_000
BEFORE, THEN, AFTER = (formatdate(WHEN + seconds, usegmt=True) for seconds in (-1, 0, 1))
ETAG = '"e"'
COMMON = {"etag": ETAG, "last-modified": THEN, "cache-control": "max-age=5", "set-cookie": "a=b", "vary": "x"}


@pytest.fixture
def client(serve: Serve, tmp_path: Path) -> httpx.Client:
    path = tmp_path / "f.html"
    path.write_text("content")

    def file(request: SyncRequest) -> Response:
        return FileResponse(path, headers=COMMON, status_code=int(request.query_params.get("status", 200)))

    async def body(request: Request) -> Response:
        response = HTMLResponse("content", headers=COMMON, status_code=int(request.query_params.get("status", 200)))
        return response.make_conditional(request)

    methods = ["GET", "POST"]
    return serve(DualRoute([Route("/file", file, methods=methods), Route("/body", body, methods=methods)]))


BOTH = pytest.mark.parametrize("path", ["/file", "/body"])


@BOTH
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("headers", "status_code"),
    [
        ({}, 200),
        ({"if-none-match": ETAG}, 304),
        ({"if-none-match": "W/" + ETAG}, 304),
        ({"if-none-match": '"a", "e", "b"'}, 304),
        ({"if-none-match": '"a","b,e"'}, 200),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": " * "}, 304),
        ({"if-none-match": '"a"'}, 200),
        ({"if-none-match": ""}, 200),
        ({"if-none-match": "rubbish, \\"}, 200),
        ({"if-modified-since": THEN}, 304),
        ({"if-modified-since": AFTER}, 304),
        ({"if-modified-since": BEFORE}, 200),
        ({"if-modified-since": "Tuesday, 14-Nov-23 22:13:20 GMT"}, 304),
        ({"if-modified-since": "Tue Nov 14 22:13:20 2023"}, 304),
        ({"if-modified-since": "rubbish"}, 200),
        ({"if-modified-since": "Mon, 01 Jan 0001 00:00:00 +9999"}, 200),
        ({"if-modified-since": "Mon, 99 Jan 99999999999999999999 00:00:00 GMT"}, 200),
        ({"if-none-match": '"a"', "if-modified-since": AFTER}, 200),
        ({"if-none-match": ETAG, "if-modified-since": BEFORE}, 304),
        ({"if-match": ETAG}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"a", "e"'}, 200),
        ({"if-match": '"a"'}, 412),
        ({"if-match": "W/" + ETAG}, 412),
        ({"if-match": ""}, 412),
        ({"if-unmodified-since": THEN}, 200),
        ({"if-unmodified-since": AFTER}, 200),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"if-unmodified-since": "rubbish"}, 200),
        ({"if-match": ETAG, "if-unmodified-since": BEFORE}, 200),
        ({"if-match": ETAG, "if-none-match": ETAG}, 304),
        ({"if-match": '"a"', "if-none-match": ETAG}, 412),
        ({"if-unmodified-since": BEFORE, "if-modified-since": AFTER}, 412),
        ({"if-none-match": ETAG, "range": "bytes=0-1"}, 304),
    ],
)
def test_preconditions(client: httpx.Client, path: str, method: str, headers: dict[str, str], status_code: int) -> None:
    answer = client.request(method, path, headers=headers)
    assert answer.status_code == status_code
    assert answer.text == (
        "" if method == "HEAD" else {200: "content", 304: "", 412: "Precondition Failed"}[status_code]
    )


@BOTH
def test_a_304_keeps_what_caches_need_and_has_nothing_of_the_content(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"if-none-match": "*"})
    assert dict(answer.headers) == {"etag": ETAG, "cache-control": "max-age=5", "set-cookie": "a=b", "vary": "x"}


@BOTH
def test_a_412_is_not_to_be_taken_for_the_content(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"if-match": '"a"'})
    assert dict(answer.headers) == {
        "set-cookie": "a=b",
        "vary": "x",
        "content-type": "text/plain; charset=utf-8",
        "content-length": "19",
    }


@BOTH
def test_what_was_acted_on_is_answered_for(client: httpx.Client, path: str) -> None:
    assert client.post(path, headers={"if-none-match": ETAG}).status_code == 200
    assert client.post(path, headers={"if-match": '"a"'}).status_code == 200


@BOTH
def test_an_error_has_no_conditions(client: httpx.Client, path: str) -> None:
    answer = client.get(f"{path}?status=404", headers={"if-none-match": ETAG})
    assert (answer.status_code, answer.text) == (404, "content")


def test_an_etag_is_made_from_the_body() -> None:
    first, same, other = Response("a"), Response(b"a"), Response("b")
    for response in (first, same, other):
        response.add_etag()
    assert first.headers["etag"] == same.headers["etag"] != other.headers["etag"]
    kept = Response("a", headers={"etag": '"own"'})
    kept.add_etag()
    assert kept.headers["etag"] == '"own"'
    weak = Response("a")
    weak.add_etag(weak=True)
    assert weak.headers["etag"] == "W/" + first.headers["etag"]


def test_an_etag_is_made_from_no_body_that_is_not_there() -> None:
    for response in (StreamingResponse([b"a"]), FileResponse("/x")):
        with pytest.raises(TypeError, match="is not known, so no ETag can be made from it"):
            response.add_etag()


@pytest.mark.parametrize("colour", ["def", "async def"])
@pytest.mark.parametrize("headers", [{"if-none-match": '"s"'}, {"if-match": '"x"'}])
def test_a_stream_that_nobody_wants_is_closed(serve: Serve, colour: str, headers: dict[str, str]) -> None:
    closed: list[str] = []

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            pytest.fail("nobody wants it")

        def close(self) -> None:
            closed.append("closed")

    class AsyncPieces:
        def __aiter__(self) -> AsyncIterator[bytes]:
            pytest.fail("nobody wants it")

        async def aclose(self) -> None:
            closed.append("closed")

    def handler(request: SyncRequest) -> Response:
        return StreamingResponse(Pieces(), headers={"etag": '"s"'}).make_conditional(request)

    async def handler_async(request: Request) -> Response:
        return StreamingResponse(AsyncPieces(), headers={"etag": '"s"'}).make_conditional(request)

    endpoint: Any = handler if colour == "def" else handler_async
    answer = serve(DualRoute([Route("/", endpoint)])).get("/", headers=headers)
    assert answer.status_code in (304, 412)
    assert closed == ["closed"]
