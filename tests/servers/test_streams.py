"""Responses that come piece by piece, clients that leave, and handlers that fail."""

from __future__ import annotations

import httpx
import pytest

from tests.servers.launching import Running, eventually
from tests.servers.wire import connected

COLOURS = pytest.mark.parametrize("colour", ["def", "async"])


@COLOURS
def test_a_piece_arrives_while_the_next_one_is_held_back(
    server: Running, client: httpx.Client, token: str, colour: str
) -> None:
    with client.stream("GET", f"/held-stream/{colour}?token={token}") as answer:
        pieces = answer.iter_text()
        text = ""
        while "first," not in text:
            text += next(pieces)
        assert text == "first,"
        server.release(token)
        assert text + "".join(pieces) == "first,second"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@COLOURS
def test_a_client_gone_half_way_closes_the_iterable(server: Running, token: str, colour: str) -> None:
    with connected(server) as wire:
        wire.send(f"GET /endless/{colour}?token={token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        for _ in range(3):
            assert wire.socket.recv(65_536)
        assert not server.events("closed", token=token)
    server.event("closed", token=token)
    assert not server.logged(f"/endless/{colour}"), "that is nothing to warn of"
    assert len(server.events("closed", token=token)) == 1


@pytest.mark.servers(protocol="asgi")  # WSGI has no way to tell before something is sent
def test_a_client_gone_while_nothing_is_sent_closes_the_iterable(server: Running, token: str) -> None:
    with connected(server) as wire:
        wire.send(f"GET /waiting?token={token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert wire.socket.recv(65_536)
        assert not server.events("closed", token=token)
    server.event("closed", token=token)
    assert not server.logged("/waiting")


@pytest.mark.parametrize("path", ["/fail/def", "/fail/async", "/fail/at-once"])
def test_an_error_before_the_response_is_a_500_that_tells_nothing(
    server: Running, client: httpx.Client, token: str, path: str
) -> None:
    answer = client.get(path, params={"token": token})
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert logged_once(server, token)


@COLOURS
def test_an_error_in_a_chunked_response_cuts_it_short(server: Running, token: str, colour: str) -> None:
    answer = failing_half_way(server, f"/fail/later/{colour}", token)
    assert answer == (b"first", not server.server.cut_download)
    assert logged_once(server, token)


def test_an_error_in_a_response_with_a_length_cuts_it_short(server: Running, token: str) -> None:
    assert failing_half_way(server, "/fail/later/length", token) == (b"first", False)
    assert logged_once(server, token)


def test_a_client_library_notices_that_a_response_was_cut_short(
    server: Running, client: httpx.Client, token: str
) -> None:
    server.release(token)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        client.get(f"/fail/later/length?token={token}")
    assert client.get("/").status_code == 200


def failing_half_way(server: Running, path: str, token: str) -> tuple[bytes, bool]:
    with connected(server) as wire:
        wire.send(f"GET {path}?token={token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        first = wire.socket.recv(65_536)
        while not first.rstrip().endswith(b"first"):
            more = wire.socket.recv(65_536)
            assert more, first
            first += more
        server.release(token)
        wire.unread(first)
        answer = wire.read()
    assert answer.status == 200
    return answer.body, answer.complete


def logged_once(server: Running, token: str) -> bool:
    """Tell whether the error was logged with its traceback, by dualroute, and by nobody else."""
    secret = f"secret-{token}"
    eventually(lambda: server.logged(secret), "the error is logged")
    (record,) = server.logged(secret)
    assert (record["logger"], record["level"]) == ("dualroute", "ERROR")
    assert "Traceback" in record["traceback"]
    assert f"Boom: {secret}" in record["traceback"]
    eventually(lambda: secret in server.output, "the error is printed")
    return server.output.count(secret) == 1


def test_an_http_exception_is_answered_with_its_status_text_and_headers(client: httpx.Client) -> None:
    answer = client.get("/refuse")
    assert (answer.status_code, answer.text, answer.headers["x-tea"]) == (418, "short and stout", "pot")
