"""The how-to page about reaching all websockets: its example, with a real Redis and several real servers."""

from __future__ import annotations

import asyncio
import importlib
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.docs.operating import commands, started
from tests.docs.pages import DOCS
from tests.docs.redis_server import RedisServer, require_redis
from tests.servers.conftest import client_of
from tests.servers.launching import BOUND, Running, eventually
from tests.servers.wire import opened

PAGE = "how-to/websocket-fan-out.md"
EXAMPLES = DOCS / "examples"
ASGI, WSGI = commands(PAGE)


class Crowd:
    """A Redis, two servers by ASGI, and one by WSGI."""

    def __init__(self, redis: RedisServer, servers: list[Running], wsgi: Running) -> None:
        self.redis = redis
        self.servers = servers
        self.wsgi = wsgi

    def wait_until_all_listen(self) -> None:
        for server in self.servers:
            eventually(lambda server=server: is_listening(server), "Redis is heard")  # type: ignore[misc]


def is_listening(server: Running) -> bool:
    with client_of(server) as client:
        # Whichever worker answers: all of them have to.
        return all(client.get("/health").json()["listening"] for _ in range(6))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    require_redis("the example")
    folder = tmp_path_factory.mktemp("crowd")
    with ExitStack() as stack:
        redis = RedisServer(folder)
        stack.callback(redis.stop)

        def start(name: str, command: object) -> Running:
            (folder / name).mkdir()
            environ = {"REDIS_URL": redis.url}
            return stack.enter_context(started(command, folder / name, path=EXAMPLES, environ=environ))  # type: ignore[arg-type]

        crowd = Crowd(redis, [start("first", ASGI), start("second", ASGI)], start("wsgi", WSGI))
        crowd.wait_until_all_listen()
        yield crowd


@pytest.fixture
def clients(crowd: Crowd) -> Iterator[list[ClientConnection]]:
    crowd.wait_until_all_listen()
    with ExitStack() as stack:
        yield [stack.enter_context(opened(server, "/messages")) for server in crowd.servers * 2]


def heard(client: ClientConnection, number: int) -> list[str]:
    return [str(client.recv(timeout=BOUND)) for _ in range(number)]


def test_all_hear_everything_in_one_order(crowd: Crowd, clients: list[ClientConnection]) -> None:
    settle(clients)
    for number in range(5):
        for name, client in enumerate(clients):
            client.send(f"{name}: {number}")
    first, *others = [heard(client, 5 * len(clients)) for client in clients]
    assert sorted(first) == sorted(f"{name}: {number}" for name in range(len(clients)) for number in range(5))
    assert others == [first] * len(others)


def settle(clients: list[ClientConnection]) -> None:
    """Wait until each client is in the set of its worker's: it hears what it says itself."""
    words = [secrets.token_hex(4) for _ in clients]
    for client, word in zip(clients, words, strict=True):
        client.send(word)
        while str(client.recv(timeout=BOUND)) != word:
            pass
    last = "all are here"
    clients[0].send(last)
    for client in clients:
        while str(client.recv(timeout=BOUND)) != last:
            pass


def test_what_is_posted_to_a_wsgi_server_is_heard(crowd: Crowd, clients: list[ClientConnection]) -> None:
    settle(clients)
    with client_of(crowd.wsgi) as client:
        assert client.post("/messages", content="hello from WSGI").status_code == 202
    assert [heard(client, 1) for client in clients] == [["hello from WSGI"]] * len(clients)


def test_a_client_that_does_not_read_holds_up_nobody_and_is_given_up(
    crowd: Crowd,
) -> None:
    server = crowd.servers[0]
    with ExitStack() as stack:
        # Uncompressed, since to compress this much takes its time.
        clients = [stack.enter_context(opened(each, "/messages", compression=None)) for each in crowd.servers]
        settle(clients)
        narrow = stack.enter_context(socket.socket())
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        narrow.settimeout(BOUND)
        narrow.connect((server.host, server.port))
        narrow.sendall(
            f"GET /messages HTTP/1.1\r\nHost: {server.address}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert narrow.recv(4096).startswith(b"HTTP/1.1 101")
        # From here on it reads nothing.  Each message is heard by the others before the next one is said.
        said = 0
        while "too slow" not in server.output:
            text = f"{said} {secrets.token_hex(30_000)}"
            clients[0].send(text)
            assert [heard(client, 1) for client in clients] == [[text]] * 2
            said += 1
            assert said < 1000, "the buffers on the way are not as large as that"
        taken = b""
        while piece := narrow.recv(1 << 20):
            taken += piece
    assert said > 100
    assert len(taken) < said * 60_000, "it was given up before it was told everything"
    assert taken.endswith(b"\x03\xf5too slow"), "closed with 1013"


def test_messages_flow_again_after_redis_was_away(crowd: Crowd, clients: list[ClientConnection]) -> None:
    settle(clients)
    crowd.redis.stop()
    try:
        eventually(lambda: not any(is_listening(server) for server in crowd.servers), "it is noticed")
        for server in (crowd.servers[0], crowd.wsgi):
            with client_of(server) as client:
                answer = client.post("/messages", content="into the void")
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        clients[0].send("anybody there?")
        with pytest.raises(ConnectionClosed) as closed:
            clients[0].recv(timeout=BOUND)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
    finally:
        crowd.redis.start()
    crowd.wait_until_all_listen()
    settle(clients[1:])


def test_a_redis_that_says_no_word_is_given_up(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    fan_out = importlib.import_module("fan_out")
    monkeypatch.setattr(fan_out, "SILENCE", 0.2)  # or this takes its time

    async def until(hub: Any, listens: bool) -> None:
        async with asyncio.timeout(BOUND):
            while hub.is_listening is not listens:
                await asyncio.sleep(0.01)

    async def listen() -> None:
        hub = fan_out.Hub(crowd.redis.url)
        async with hub.running():
            await until(hub, True)
            await asyncio.sleep(1)
            assert hub.is_listening, "silence alone is no reason: a ping is answered"
            # The connection stays, and nothing comes by it.
            crowd.redis.process.send_signal(signal.SIGSTOP)
            try:
                await until(hub, False)
            finally:
                crowd.redis.process.send_signal(signal.SIGCONT)
            await until(hub, True)

    asyncio.run(listen())


def test_it_stops_while_clients_are_there(crowd: Crowd) -> None:
    crowd.wait_until_all_listen()
    server = crowd.servers[1]  # which no test needs after this one
    with opened(server, "/messages") as client:
        settle([client])
        server.process.terminate()
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=BOUND)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    server.wait()
    assert "never retrieved" not in server.output
    assert "Traceback" not in server.output


def test_the_numbers_of_the_page_are_those_of_the_example() -> None:
    text = (EXAMPLES / "fan_out.py").read_text()
    page = (DOCS / PAGE).read_text()
    assert "BACKLOG = 100\n" in text
    assert "A hundred messages later" in page
    assert "max_message_size=64 * 1024" in text
    assert pytest.approx(6.5e6, rel=0.02) == 100 * 64 * 1024
