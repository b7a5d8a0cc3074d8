"""Websockets on the ASGI servers, and what the WSGI servers say to a handshake."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from tests.servers.launching import BOUND, Running, eventually
from tests.servers.wire import exchange, opened

on_asgi = pytest.mark.servers(protocol="asgi")
on_wsgi = pytest.mark.servers(protocol="wsgi")

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n"
)


def closed(client: ClientConnection) -> tuple[int | None, str]:
    """Wait for the server to close, and return the code and the reason."""
    with pytest.raises(ConnectionClosed):
        client.recv(timeout=BOUND)
    return client.close_code, client.close_reason or ""


def refused(server: Running, path: str) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as raised, opened(server, path):
        pass
    return raised.value.response.status_code, bytes(raised.value.response.body or b"")


@on_asgi
def test_text_is_echoed_and_path_parameters_arrive(server: Running, token: str) -> None:
    with opened(server, f"/ws/text/{token}%20%C3%BC") as client:
        assert client.recv(timeout=BOUND) == f"room {token} ü"
        for message in ("hello", "ü 🐍", "", "x" * 100_000):
            client.send(message)
            assert client.recv(timeout=BOUND) == f"echo {message}"


@on_asgi
def test_bytes_are_echoed(server: Running) -> None:
    with opened(server, "/ws/bytes") as client:
        for message in (b"\x00\xff", b"abc" * 100_000):
            client.send(message)
            assert client.recv(timeout=BOUND) == message[::-1]


@on_asgi
def test_json_is_echoed(server: Running) -> None:
    with opened(server, "/ws/json") as client:
        client.send(json.dumps({"a": ["ü"]}))
        assert json.loads(client.recv(timeout=BOUND)) == {"echo": {"a": ["ü"]}}


@on_asgi
@pytest.mark.parametrize(
    ("path", "message"), [("/ws/bytes", "text"), ("/ws/text/a", b"bytes"), ("/ws/json", "{")], ids=str
)
def test_data_of_the_wrong_kind_closes_with_1003(server: Running, path: str, message: str | bytes) -> None:
    with opened(server, path) as client:
        if path == "/ws/text/a":
            client.recv(timeout=BOUND)
        client.send(message)
        assert closed(client)[0] == 1003


@on_asgi
def test_the_server_closes_with_its_code_and_reason(server: Running) -> None:
    with opened(server, "/ws/number/7?a=b") as client:
        assert json.loads(client.recv(timeout=BOUND)) == {"number": 7, "path": "/ws/number/7", "query": {"a": "b"}}
        assert closed(client) == (4007, "grüß dich")


@on_asgi
def test_the_clients_close_code_is_told(server: Running, token: str) -> None:
    with opened(server, f"/ws/text/{token}") as client:
        client.recv(timeout=BOUND)
        client.close(4001, "enough")
    code = server.event("disconnect", room=token)["code"]
    assert code == 4001 if server.server.close_codes else code in (1000, 1006)


@on_asgi
def test_a_client_that_vanishes_is_a_disconnect(server: Running, token: str) -> None:
    with opened(server, f"/ws/text/{token}") as client:
        client.recv(timeout=BOUND)
        client.socket.shutdown(socket.SHUT_RDWR)
    assert server.event("disconnect", room=token)["code"] in (1005, 1006)
    assert not server.logged(token)


@on_asgi
def test_a_subprotocol_and_headers_are_sent_with_the_acceptance(server: Running) -> None:
    with opened(server, "/ws/protocol", subprotocols=["alpha", "beta"]) as client:
        assert client.subprotocol == "beta"
        assert json.loads(client.recv(timeout=BOUND)) == ["alpha", "beta"]
        assert client.response is not None
        assert ("x-extra" in client.response.headers) is server.server.accept_headers
    with opened(server, "/ws/protocol") as client:
        assert client.subprotocol is None
        assert json.loads(client.recv(timeout=BOUND)) == []


@on_asgi
def test_a_handshake_is_refused_with_403(server: Running) -> None:
    assert refused(server, "/ws/refuse")[0] == 403


@on_asgi
def test_a_handshake_is_refused_with_the_status_of_an_http_exception(server: Running) -> None:
    status, body = refused(server, "/ws/forbid")
    assert (status, body) == (401, b"who are you?") if server.server.denial else status == 403


@on_asgi
@pytest.mark.parametrize("path", ["/ws/nowhere", "/ws/number/x", "/"])
def test_a_handshake_for_a_path_without_a_websocket_is_refused(server: Running, path: str) -> None:
    assert refused(server, path)[0] == (404 if server.server.denial else 403)


@on_asgi
def test_an_error_closes_with_1011_and_is_logged_once(server: Running, token: str) -> None:
    with opened(server, f"/ws/fail?token={token}") as client:
        assert closed(client) == (1011, "")
    eventually(lambda: server.logged(f"secret-{token}"), "the error is logged")
    assert len(server.logged(f"secret-{token}")) == 1
    assert server.output.count(f"secret-{token}") == 1


@on_asgi
def test_an_error_before_the_acceptance_refuses_and_is_logged_once(server: Running, token: str) -> None:
    status, body = refused(server, f"/ws/fail-early?token={token}")
    assert status == (500 if server.server.denial else 403)
    assert b"secret" not in body
    eventually(lambda: server.logged(f"secret-{token}"), "the error is logged")
    assert len(server.logged(f"secret-{token}")) == 1


@on_asgi
def test_many_websockets_at_once_each_get_their_own_messages(server: Running, token: str) -> None:
    def talk(number: int) -> None:
        with opened(server, f"/ws/text/{token}-{number}") as client:
            assert client.recv(timeout=BOUND) == f"room {token}-{number}"
            for turn in range(5):
                client.send(f"{number} {turn}")
                assert client.recv(timeout=BOUND) == f"echo {number} {turn}"

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(talk, range(20)))
    for number in range(20):
        server.event("disconnect", room=f"{token}-{number}")


@on_wsgi
def test_a_handshake_is_501_and_names_asgi_servers(server: Running) -> None:
    answer = exchange(server, HANDSHAKE.format(path="/ws/bytes").encode())
    assert answer.status == 501
    assert "websocket" in answer.text
    assert "ASGI server" in answer.text
    assert "uvicorn" in answer.text
    assert server.events("log", level="WARNING", logger="dualroute")
    assert server.logged("websocket handshake for /ws/bytes refused")
    assert exchange(server, HANDSHAKE.format(path="/ws/nowhere").encode()).status == 404


@on_wsgi
def test_the_routes_that_wsgi_can_not_serve_are_logged_once(server: Running, client: httpx.Client) -> None:
    client.get("/")
    messages = server.logged("WSGI has no websockets")
    assert len(messages) == 1
    assert "/ws/text/{room}" in messages[0]["message"]


def test_plain_http_to_a_websocket_is_the_same_404(client: httpx.Client) -> None:
    for method in ("GET", "POST"):
        answer = client.request(method, "/ws/bytes")
        assert (answer.status_code, answer.text) == (404, "Not Found")
