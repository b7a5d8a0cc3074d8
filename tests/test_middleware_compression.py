"""CompressionMiddleware and GZipMiddleware: what is compressed, by what, and how streams stay streams."""

from __future__ import annotations

import asyncio
import gzip
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import brotli
import pytest
import zstandard

from dualroute import Request, Response, Route, StreamingResponse, SyncRequest
from dualroute.middleware import compression
from dualroute.middleware.compression import CompressionMiddleware, preferred_encoding
from dualroute.middleware.gzip import GZipMiddleware
from tests.conftest import Serve
from tests.middleware_helper import PIECES, WHOLE, accepted, handshake, site
from tests.transports import EventLoopThread, call_wsgi

LARGE = b"a large body, " * 20_000


def expanded(coding: str | None, data: bytes) -> bytes:
    if coding == "gzip":
        return gzip.decompress(data)
    if coding == "br":
        return bytes(brotli.decompress(data))
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


def raw(client: Any, path: str, accept: str | None = "gzip", method: str = "GET", **options: Any) -> Any:
    """Return an answer, and its body as it came."""
    headers = {"accept-encoding": accept} if accept is not None else {}
    if accept is None:
        client.headers.pop("accept-encoding", None)
    with client.stream(method, path, headers=headers, **options) as answer:
        return answer, b"".join(answer.iter_raw())


def answering(response: Any) -> Any:
    def endpoint(request: SyncRequest) -> Response:
        made: Response = response()
        return made

    return endpoint


def app(*middleware: Any, **endpoints: Any) -> Any:
    return site(
        middleware or [CompressionMiddleware()],
        Route("/large", answering(lambda: Response(LARGE, media_type="text/plain"))),
        *(Route(f"/{name}", answering(endpoint)) for name, endpoint in endpoints.items()),
    )


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize(
    "path", ["/large", "/stream", "/async-stream", "/flask/stream", "/flask/text", "/fastapi/stream", "/fastapi/text"]
)
def test_bodies_of_every_kind_by_every_coding(serve: Serve, path: str, coding: str) -> None:
    client = serve(app())
    answer, data = raw(client, path, coding)
    _, expected = raw(client, path, "identity")
    assert answer.headers["content-encoding"] == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert expanded(coding, data) == expected
    assert expected in (LARGE, WHOLE) or path == "/fastapi/text"
    assert len(data) < len(expected)
    assert answer.headers.get("content-length") in (None, str(len(data)))
    assert "accept-ranges" not in answer.headers


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, br", "br"),
        ("zstd;q=0, *", "br"),
        ("gzip;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, identity;q=0.4", "gzip"),
        ("identity", None),
        ("deflate", None),
        ("gzip;q=abc", None),
        ("gzip;q=" + "9" * 5000, None),
        (",;,q=;;", None),
        ("gzipper", None),
        ("", None),
        (None, None),
    ],
)
def test_the_client_s_preference_counts(serve: Serve, accept: str | None, coding: str | None) -> None:
    answer, data = raw(serve(app()), "/large", accept)
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert expanded(coding, data) == LARGE


def test_nothing_is_preferred_where_nothing_is_offered() -> None:
    assert preferred_encoding("*", ()) is None


@pytest.mark.parametrize(("size", "in_thread"), [(32_767, False), (32_768, True)])
def test_a_large_body_is_compressed_in_a_thread_under_asgi(
    serve: Serve, protocol: str, monkeypatch: pytest.MonkeyPatch, size: int, in_thread: bool
) -> None:
    threads: list[str] = []
    feed = compression._GZip.feed

    def noting(self: Any, piece: bytes) -> bytes:
        threads.append(threading.current_thread().name)
        return feed(self, piece)

    async def sized(request: Request) -> Response:
        return Response(b"x" * size)

    monkeypatch.setattr(compression._GZip, "feed", noting)
    raw(serve(site([GZipMiddleware()], Route("/sized", sized))), "/sized")
    assert [name == "dualroute-handler" for name in threads] == [in_thread and protocol == "asgi"]


PLAIN: dict[str, Any] = {
    "small": lambda: Response(b"x" * 499, media_type="text/plain"),
    "encoded": lambda: Response(LARGE, headers={"content-encoding": "br"}),
    "part": lambda: Response(LARGE, 206, headers={"content-range": "bytes 0-279999/300000"}),
    "no-content": lambda: Response(status_code=204),
    "image": lambda: Response(LARGE, media_type="image/png"),
    "video": lambda: StreamingResponse(iter([LARGE]), media_type="video/mp4"),
    "grpc": lambda: Response(LARGE, media_type="application/grpc+proto"),
    "no-transform": lambda: Response(LARGE, headers={"cache-control": "public, No-Transform"}),
    "digest": lambda: Response(LARGE, headers={"repr-digest": "sha-256=:x:"}),
    "empty": lambda: Response(headers={"content-length": "0"}),
    "small-stream": lambda: StreamingResponse(iter([b"abc"]), headers={"content-length": "3"}),
}


@pytest.mark.parametrize("path", PLAIN)
def test_what_is_left_as_it_is(serve: Serve, path: str) -> None:
    answer, data = raw(serve(app(**PLAIN)), f"/{path}")
    assert answer.headers.get("content-encoding") == ("br" if path == "encoded" else None)
    assert "vary" not in answer.headers
    assert data == PLAIN[path]().body or path in ("video", "small-stream")


def test_options(serve: Serve) -> None:
    small = {"small": PLAIN["small"], "png": PLAIN["image"]}
    client = serve(app(GZipMiddleware(minimum_size=0, compresslevel=1, exclude_content_types=["text/*"]), **small))
    assert "content-encoding" not in raw(client, "/small")[0].headers
    assert raw(client, "/png")[0].headers["content-encoding"] == "gzip"
    client = serve(app(CompressionMiddleware(499, ["br", "gzip"], levels={"br": 1}), **small))
    assert raw(client, "/small", "zstd, gzip, br")[0].headers["content-encoding"] == "br"
    fast, slow = (len(raw(serve(app(GZipMiddleware(compresslevel=n))), "/large")[1]) for n in (1, 9))
    assert slow < fast


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minimum_size": -1}, "minimum_size is a number of bytes, not -1"),
        ({"encodings": "gzip"}, "lists of str"),
        ({"encodings": ["deflate"]}, "'deflate' is no coding"),
        ({"levels": {"br": 12}}, "the level of 'br' is 0 to 11, not 12"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        CompressionMiddleware(**options)


def test_a_coding_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"'br' needs the package 'brotli': pip install 'dualroute\[compression\]'"):
        CompressionMiddleware(encodings=["br"])
    assert CompressionMiddleware()._encodings == ("gzip",)


@pytest.mark.parametrize("path", ["/large", "/stream", "/async-stream", "/flask/text"])
def test_head_has_the_headers_of_get(serve: Serve, path: str) -> None:
    client = serve(app())
    answer, _ = raw(client, path)
    head, data = raw(client, path, method="HEAD")
    assert data == b""
    names = {"content-encoding", "vary", "content-type", "etag"}
    assert {name: head.headers.get(name) for name in names} == {name: answer.headers.get(name) for name in names}
    assert head.headers.get("content-length") in (None, answer.headers.get("content-length"))


def test_a_strong_etag_becomes_weak(serve: Serve) -> None:
    tagged = {
        "strong": lambda: Response(LARGE, headers={"etag": '"v1"', "accept-ranges": "bytes"}),
        "weak": lambda: Response(LARGE, headers={"etag": 'W/"v1"'}),
        "same": lambda: Response(status_code=304, headers={"etag": '"v1"'}),
    }
    client = serve(app(**tagged))
    for path in ("/strong", "/weak", "/flask/text"):
        assert raw(client, path)[0].headers["etag"] == 'W/"v1"'
    answer, _ = raw(client, "/strong", "identity")
    assert (answer.headers["etag"], answer.headers["accept-ranges"]) == ('"v1"', "bytes")
    answer, _ = raw(client, "/same")
    assert (answer.status_code, answer.headers["vary"]) == (304, "Accept-Encoding")
    assert "content-encoding" not in answer.headers


def test_it_is_done_once(serve: Serve) -> None:
    answer, data = raw(serve(app(GZipMiddleware(), CompressionMiddleware())), "/stream", "gzip")
    assert (answer.headers["content-encoding"], gzip.decompress(data)) == ("gzip", WHOLE)


@pytest.mark.parametrize("path", ["/fail", "/fail-at-once", "/none", "/teapot"])
def test_errors_are_what_they_were(serve: Serve, path: str) -> None:
    plain, compressed = (serve(site(middleware)).get(path) for middleware in ([], [CompressionMiddleware(0)]))
    assert (compressed.status_code, compressed.text) == (plain.status_code, plain.text)


EVENTS = [f"id: {n}\ndata: event {n}\n\n".encode() for n in range(5)]


class Held:
    """A stream of events, each held back until the one before has been read by the client."""

    def __init__(self) -> None:
        self.read = -1

    def events(self) -> Iterator[bytes]:
        for number, event in enumerate(EVENTS):
            assert self.read == number - 1, "the event before was not sent by itself"
            yield event

    async def events_async(self) -> AsyncIterator[bytes]:
        for number, event in enumerate(EVENTS):
            while self.read < number - 1:
                await asyncio.sleep(0.001)
            yield event


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_each_event_of_a_stream_is_sent_when_it_comes(coding: str, event_loop_thread: EventLoopThread) -> None:
    held = Held()

    def decompressor() -> Any:
        if coding == "gzip":
            return zlib.decompressobj(31).decompress
        if coding == "br":
            return brotli.Decompressor().process
        return zstandard.ZstdDecompressor().decompressobj().decompress

    async def stream(request: Request) -> Response:
        return StreamingResponse(held.events_async(), media_type="text/event-stream")

    async def main() -> list[bytes]:
        expand = decompressor()
        seen: list[bytes] = []
        never = asyncio.Event()
        first = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            if first:
                return first.pop()
            await never.wait()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body" and message["body"]:
                event = expand(message["body"])
                if event:
                    seen.append(event)
                    held.read += 1

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/events",
            "headers": [(b"host", b"h"), (b"accept-encoding", coding.encode())],
        }
        await asyncio.wait_for(site([CompressionMiddleware()], Route("/events", stream))(scope, receive, send), 30)
        return seen

    assert event_loop_thread.run(main()) == EVENTS


@pytest.mark.protocol("wsgi")
def test_each_event_of_a_stream_is_given_when_it_comes_under_wsgi(protocol: str) -> None:
    import io
    import sys

    held = Held()

    def stream(request: SyncRequest) -> Response:
        return StreamingResponse(held.events(), media_type="text/event-stream")

    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/events",
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_ACCEPT_ENCODING": "gzip",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    expand = zlib.decompressobj(31)
    seen: list[bytes] = []

    def taking(environ: Any, start_response: Any) -> Iterator[bytes]:
        pieces = site([GZipMiddleware()], Route("/events", stream))(environ, start_response)
        try:
            for piece in pieces:
                if event := expand.decompress(piece):
                    seen.append(event)
                    held.read += 1
                yield piece
        finally:
            pieces.close()

    call_wsgi(taking, environ, validate=False)
    assert seen == EVENTS
    assert len(PIECES) == 60


def test_websockets_pass() -> None:
    assert accepted(handshake(app()))
