"""Content negotiation: the best of what is on offer, by what a client says it takes."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest

from dualroute import DualRoute, JSONResponse, Request, Response, Route, SyncRequest
from dualroute.negotiation import best_encoding, best_language, best_media_type
from tests.conftest import Serve

HTML, JSON, XML = "text/html", "application/json", "application/xml"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("header", "offers", "best"),
    [
        (None, [JSON, HTML], JSON),
        ("", [JSON, HTML], JSON),
        ("*/*", [JSON, HTML], JSON),
        (BROWSER, [JSON, HTML], HTML),
        (BROWSER, [JSON, XML], XML),
        (BROWSER, [JSON], JSON),
        ("application/json", [HTML, JSON], JSON),
        ("application/json", [HTML], None),
        ("APPLICATION/JSON", [JSON], JSON),
        ("text/*", [JSON, HTML], HTML),
        ("text/*;q=0.5, text/html;q=0.1, text/plain", ["text/html", "text/css"], "text/css"),
        ("text/html;q=0, */*", [HTML, JSON], JSON),
        ("text/html;q=0, */*", [HTML], None),
        ("*/*;q=0", [HTML], None),
        ("text/html;level=1, text/html;q=0.2", ["text/html;level=1"], "text/html;level=1"),
        ("application/json;q=2", [JSON], None),
        ("rubbish", [JSON], None),
        (";;;,,,===", [JSON], None),
        (None, [], None),
        ("*/*", [], None),
    ],
)
def test_media_types(header: str | None, offers: list[str], best: str | None) -> None:
    assert best_media_type(header, offers) == best
    assert best_media_type(header, iter(offers)) == best


@pytest.mark.parametrize("offer", ["html", "", "/", "text/", "/html"])
def test_an_offer_is_a_media_type(offer: str) -> None:
    with pytest.raises(ValueError, match="is no media type such as 'text/html'"):
        best_media_type(None, [offer])


@pytest.mark.parametrize(
    ("header", "offers", "best"),
    [
        (None, ["en", "de"], "en"),
        ("de", ["en", "de"], "de"),
        ("de-AT, en;q=0.5", ["en", "de"], "en"),
        ("de-AT", ["en", "de"], "de"),
        ("de", ["en", "de-AT"], "de-AT"),
        ("fr", ["en", "de"], None),
        ("*", ["en", "de"], "en"),
        ("DE_at", ["de-AT"], "de-AT"),
        ("de;q=0, *", ["de", "en"], "en"),
    ],
)
def test_languages(header: str | None, offers: list[str], best: str | None) -> None:
    assert best_language(header, offers) == best


@pytest.mark.parametrize(
    ("header", "offers", "best"),
    [
        (None, ["br", "gzip"], None),
        ("", ["br", "gzip"], None),
        ("gzip, br", ["br", "gzip"], "br"),
        ("gzip, br;q=0.9", ["br", "gzip"], "gzip"),
        ("*", ["br", "gzip"], "br"),
        ("*;q=0.1, br;q=0", ["br", "gzip"], "gzip"),
        ("identity, gzip;q=0.9", ["gzip"], None),
        ("identity;q=0.5, gzip;q=0.9", ["gzip"], "gzip"),
        ("identity", ["gzip"], None),
        ("deflate", ["gzip"], None),
    ],
)
def test_encodings(header: str | None, offers: list[str], best: str | None) -> None:
    assert best_encoding(header, offers) == best


def test_a_request_tells(serve: Serve) -> None:
    def told(request: Any) -> Response:
        return JSONResponse(
            [
                request.accepts("text/html"),
                request.accepts("image/*"),
                request.preferred_type([JSON, HTML]),
                request.preferred_language(["en", "de"]),
                request.preferred_encoding(["br", "gzip"]),
            ]
        )

    def handler(request: SyncRequest) -> Response:
        return told(request)

    async def handler_async(request: Request) -> Response:
        return told(request)

    client = serve(DualRoute([Route("/def", handler), Route("/async", handler_async)]))
    for path in ("/def", "/async"):
        headers = {"accept": "text/html", "accept-language": "de", "accept-encoding": "gzip"}
        assert client.get(path, headers=headers).json() == [True, False, HTML, "de", "gzip"]
        # Several headers of a name are one list.
        several = [("accept", "text/html;q=0.1"), ("accept", "application/json")]
        assert client.get(path, headers=several).json()[:3] == [True, False, JSON]


@pytest.mark.parametrize(
    "item", ["a/b,", "text/html;q=0.1,", ",", '"', '\\"', ";", "a/b;c=d", "a/b;c*=utf-8''x,", "*/*,"]
)
def test_a_long_header_takes_time_by_its_length(item: str) -> None:
    def cost(count: int) -> float:
        started = process_time()
        for best in (best_media_type, best_language, best_encoding):
            best(item * count, ["text/html", "application/json"])
        return process_time() - started

    few = min(cost(200) for _ in range(3))
    many = min(cost(2_000) for _ in range(3))
    assert many < few * 60 + 0.1
