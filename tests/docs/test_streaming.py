"""The how-to page about streaming."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dualroute import DualRoute, Response, Route, StreamingResponse
from dualroute.testclient import TestClient
from tests.conftest import Serve
from tests.docs.examples import EXAMPLES
from tests.docs.pages import Page

PAGE = Page("how-to/streaming.md")
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def app() -> Any:
    return PAGE.apps()[-1]


def test_bodies_are_read_as_they_come(serve: Serve, app: Any) -> None:
    client = serve(app)
    body = bytes(range(256)) * 1000
    for content in (body, iter([body[:10], body[10:]])):
        assert client.post("/measure", content=content).json() == {"size": len(body)}
    assert client.post("/digest", content=body).json() == {"sha256": hashlib.sha256(body).hexdigest()}


def test_each_route_has_its_limit(serve: Serve, app: Any) -> None:
    client = serve(app)
    assert client.post("/digest", content=bytes(MIB)).status_code == 200
    assert client.post("/digest", content=iter([bytes(MIB), b"x"])).status_code == 413
    assert client.post("/measure", content=bytes(2 * MIB)).json() == {"size": 2 * MIB}


def test_forms_with_files(serve: Serve, app: Any) -> None:
    client = serve(app)
    files = [("picture", ("a.png", b"\x89PNG...")), ("picture", ("b.txt", b"text"))]
    assert client.post("/pictures", data={"title": "Two"}, files=files).text.splitlines() == [
        "Two:",
        "a.png, 7 bytes: a PNG",
        "b.txt, 4 bytes: no PNG",
    ]
    document = {"document": ("c.txt", b"12345")}
    assert client.post("/documents", files=document).text == "c.txt: 5 bytes"
    assert client.post("/documents", files=[("document", ("c.txt", b"1"))] * 2).status_code == 413


def test_what_is_made_on_the_way(serve: Serve, app: Any) -> None:
    client = serve(app)
    assert client.get("/countdown").text == "3\n2\n1\n"
    report = client.get("/report").text.splitlines()
    assert (len(report), report[-1]) == (1001, "row 999,998001")


def test_a_file_in_ranges(serve: Serve, app: Any) -> None:
    client = serve(app)
    whole = client.get("/manual")
    assert whole.headers["content-disposition"] == 'inline; filename="manual.txt"'
    assert client.get("/manual", headers={"if-none-match": whole.headers["etag"]}).status_code == 304
    part = client.get("/manual", headers={"range": "bytes=5-11", "if-range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, whole.content[5:12])


def test_events(serve: Serve, app: Any) -> None:
    client = serve(app)
    answer = client.get("/events")
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text == (
        'retry: 1000\n\nevent: headline\nid: 1\ndata: {"text":"first"}\n\n'
        'event: headline\nid: 2\ndata: {"text":"second"}\n\n'
    )
    assert '"first"' not in client.get("/events", headers={"last-event-id": "1"}).text


def test_a_client_that_goes_has_the_iterable_closed(protocol: Any) -> None:
    ended: list[str] = []

    def endless(request: Any) -> Response:
        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    yield b"x" * 65536
            finally:
                ended.append("def")

        return StreamingResponse(pieces())

    async def async_endless(request: Any) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 65536
            finally:
                ended.append("async def")

        return StreamingResponse(pieces())

    app = DualRoute([Route("/def", endless), Route("/async", async_endless)])
    with TestClient(app, protocol=protocol) as client:
        for path in ("/def", "/async"):
            with client.stream("GET", path) as answer:
                next(answer.iter_raw())
    assert ended == ["def", "async def"]


def test_the_page_quotes_the_examples() -> None:
    uploads = (EXAMPLES / "uploads" / "main.py").read_text(encoding="utf-8")
    (writing,) = [block.text for block in PAGE.of("python") if "def writing" in block.text]
    assert writing[writing.index("@contextmanager") :] in uploads
    (script,) = PAGE.of("js")
    events = (EXAMPLES / "events.py").read_text(encoding="utf-8").splitlines()
    lines = iter(events)
    for line in script.text.splitlines():
        assert line in lines, f"{line!r} is not in the example, or not in this order"
