"""Request bodies: whole, in chunks, large, malformed and cut short."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.servers.conftest import client_of
from tests.servers.launching import Running, eventually
from tests.servers.wire import connected, exchange

COLOURS = pytest.mark.parametrize("colour", ["def", "async"])

MIB = 1024 * 1024


def in_chunks(*pieces: bytes) -> Iterator[bytes]:
    # httpx sends what a generator gives as chunks.
    yield from pieces


@COLOURS
def test_json_is_echoed(client: httpx.Client, colour: str) -> None:
    value = {"text": "ü 🐍", "list": [1, 2.5, None, True], "nested": {"a": {}}}
    answer = client.post(f"/echo/json/{colour}", json=value)
    assert (answer.status_code, answer.json()) == (200, value)
    assert answer.headers["content-type"] == "application/json"


@COLOURS
@pytest.mark.parametrize("body", [b"{", b"\xff", b"", b"[" * 100_000], ids=["cut", "latin", "empty", "deep"])
def test_what_is_no_json_is_400(client: httpx.Client, colour: str, body: bytes) -> None:
    assert client.post(f"/echo/json/{colour}", content=body).status_code == 400


@COLOURS
def test_a_body_comes_whole_with_a_length_and_in_chunks(client: httpx.Client, colour: str) -> None:
    for size in (0, 1, 65_536, 200_001):
        body = bytes(range(256)) * (size // 256 + 1)
        body = body[:size]
        answer = client.post(f"/echo/{colour}", content=body)
        assert answer.content == body, "with a length"
        half = size // 2
        answer = client.post(f"/echo/{colour}", content=in_chunks(body[:half], body[half:]))
        assert answer.content == body, "in chunks"


@COLOURS
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_8_mib_go_up(client: httpx.Client, colour: str, chunked: bool) -> None:
    pieces = [bytes([number]) * (MIB // 4) for number in range(32)]
    whole = b"".join(pieces)
    answer = client.post(f"/digest/{colour}", content=in_chunks(*pieces) if chunked else whole)
    assert answer.json() == {"size": 8 * MIB, "sha256": hashlib.sha256(whole).hexdigest()}


@pytest.mark.parametrize("path", ["/large/body", "/large/def", "/large/async"])
def test_8_mib_come_down(client: httpx.Client, path: str) -> None:
    assert len(client.get(path).content) == 8 * MIB


def test_8_mib_come_down_to_a_client_of_http_1_0(server: Running) -> None:
    with connected(server) as wire:
        wire.send(b"GET /large/def HTTP/1.0\r\nHost: h\r\n\r\n")
        answer = wire.read()  # uvicorn sends chunks with httptools, which no client of 1.0 can read
    assert (answer.status, len(answer.body), answer.complete) == (200, 8 * MIB, True)


@COLOURS
def test_a_body_that_is_announced_waits_for_the_word(server: Running, colour: str) -> None:
    with connected(server) as wire:
        wire.send(
            f"POST /echo/{colour} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n".encode()
        )
        assert wire.socket.recv(len(b"HTTP/1.1 100")) == b"HTTP/1.1 100"
        wire.send(b"hello")
        rest = wire.socket.recv(65_536)
        while b"hello" not in rest:
            more = wire.socket.recv(65_536)
            assert more, rest
            rest += more
        assert b"HTTP/1.1 200" in rest


@COLOURS
@pytest.mark.servers(cut_upload="told")  # the others call the app when the whole body is there
def test_pieces_of_a_body_come_as_they_are_sent(server: Running, token: str, colour: str) -> None:
    with connected(server) as wire:
        wire.send(
            f"POST /upload/{colour}?token={token} HTTP/1.1\r\nHost: h\r\nContent-Length: 2097153\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        wire.send(b"x" * 2 * MIB)
        event = server.event("upload piece", token=token)
        assert event["size"] < 2 * MIB + 1, "the last byte is not sent yet"
        assert not server.events("upload", token=token)
        wire.send(b"x")
        answer = wire.read()
    assert (answer.status, answer.text) == (200, str(2 * MIB + 1))


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_that_nobody_reads_does_not_spoil_the_next_request(server: Running, chunked: bool) -> None:
    body = b"GET /no-content HTTP/1.1\r\n\r\n" * 4000

    def answered(method: str, path: str, content: bytes | Iterator[bytes] = b"") -> httpx.Response | None:
        try:
            return client.request(method, path, content=content)
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            return None  # the server closed the connection, rather than go on in the middle of what it did not want

    with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
        for _ in range(3):
            answer = answered("POST", "/ignores", in_chunks(body) if chunked else body)
            assert answer is None or answer.text == "hello from a def"
            answer = answered("GET", "/users/1/a")
            assert answer is None or answer.json()["user_id"] == 1
    with client_of(server) as client:
        assert client.get("/users/1/a").json()["user_id"] == 1


@COLOURS
@pytest.mark.parametrize("leaves", ["half-closes", "closes"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_cut_short_is_a_client_disconnect(
    server: Running, token: str, colour: str, leaves: str, chunked: bool
) -> None:
    outcome = server.server.cut_chunks if chunked else server.server.cut_upload
    head = f"POST /upload/{colour}?token={token} HTTP/1.1\r\nHost: h\r\n"
    body = (
        "Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n" if chunked else "Content-Length: 100\r\n\r\n0123456789"
    )
    with connected(server) as wire:
        wire.send((head + body).encode())
        if outcome == "refused" or (server.server.protocol == "asgi" and colour == "def"):
            time.sleep(0.1)  # nothing is called before the body is there, the first MiB of it or all
        else:
            server.event("upload began", token=token)
        if leaves == "half-closes":
            wire.half_close()
            answer = wire.read()
            # Where the server gives an answer to one who has stopped sending, it is not as if all were well.
            assert answer.status in ((200,) if outcome == "hidden" else (0, 400))
    if outcome == "refused":
        with connected(server) as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert wire.read().status == 200
        assert not server.events("upload began", token=token)
        return
    event = server.event("upload", token=token)
    assert event["size"] <= 10
    assert event["error"] == (None if outcome == "hidden" else "ClientDisconnect")
    eventually(
        lambda: outcome == "hidden" or server.events("log", level="INFO", message=f"POST /upload/{colour}: {CUT}"), CUT
    )
    assert not server.logged(f"unhandled exception in POST /upload/{colour}")


CUT = "the request body was cut short"


def test_a_handler_may_answer_although_the_body_was_cut_short(server: Running) -> None:
    with connected(server) as wire:
        wire.send(b"POST /recovers HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n0123456789")
        time.sleep(0.05)
        wire.half_close()
        answer = wire.read()
    # Many servers take a client that has stopped sending for one that has gone.
    assert answer.status in (0, 200, 400)
    if answer.status == 200:
        assert answer.text == "the body was cut short"


@COLOURS
def test_a_chunk_that_is_none_is_400(server: Running, token: str, colour: str) -> None:
    answer = exchange(
        server,
        f"POST /upload/{colour}?token={token} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
        "Connection: close\r\n\r\n5\r\nhello\r\nzz\r\n0\r\n\r\n".encode(),
    )
    assert answer.status == (200 if server.server.cut_chunks == "hidden" else 400)


@COLOURS
def test_a_length_beside_chunks_is_not_trusted(server: Running, colour: str) -> None:
    answer = exchange(
        server,
        f"POST /echo/{colour} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n"
        "Connection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode(),
    )
    assert answer.status == 400 or (answer.status, answer.body) == (200, b"hello")
