"""The how-to page about uvicorn and the other ASGI servers: each command in it is run, and asked."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.docs.operating import Command, all_started, commands, started
from tests.servers.conftest import client_of
from tests.servers.launching import BOUND, Running, eventually, require
from tests.servers.wire import opened

PAGE = "how-to/uvicorn.md"
COMMANDS = commands(PAGE)


@pytest.fixture(scope="module")
def servers(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    with all_started(COMMANDS, tmp_path_factory.mktemp("servers"), path=written) as servers:
        yield servers


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_serves_the_app(command: Command, servers: dict[str, Running]) -> None:
    require(command.server)
    server = servers[command.line]
    with client_of(server) as client:
        assert client.get("/").json()["release"] == 1
        told = {"x-forwarded-for": "203.0.113.9, 127.0.0.1", "x-forwarded-proto": "https", "host": "example.org"}
        answer = client.get("/where", headers=told).json()
        assert answer["url"] == "https://example.org/where"
        assert answer["client"] == "127.0.0.1", "one proxy is believed, and by one reader"
        assert ("uvloop" in answer["loop"]) == ("--loop asyncio" not in command.line and uses_uvloop(command))
    with opened(server, "/echo") as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=BOUND) == "hello"
        websocket.send("x" * (64 * 1024 + 1))
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=BOUND)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def uses_uvloop(command: Command) -> bool:
    return "hypercorn" not in command.line


def test_the_page_has_a_command_for_each_server() -> None:
    assert len(COMMANDS) == 8


def release(client: httpx.Client) -> int | None:
    try:
        return int(client.get("/").json()["release"])
    except httpx.TransportError:  # a worker that stops resets what it has just accepted
        return None


def test_hup_has_the_workers_replaced_and_a_stop_closes_websockets_with_1012(written: Path, tmp_path: Path) -> None:
    code = tmp_path / "code"
    shutil.copytree(written, code)
    running = tmp_path / "running"
    running.mkdir()
    with started(COMMANDS[0], running, path=code) as server, client_of(server) as client:
        assert client.get("/").json()["release"] == 1
        text = (code / "main.py").read_text()
        (code / "main.py").write_text(text.replace('"release": 1,', '"release": 20,'))
        os.kill(server.process.pid, signal.SIGHUP)
        eventually(lambda: {release(client) for _ in range(8)} == {20}, "new code")
        with opened(server, "/echo") as websocket:
            server.process.terminate()
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv(timeout=BOUND)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
