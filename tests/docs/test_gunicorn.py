"""The how-to page about gunicorn: each command in it is run, and asked."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.operating import Command, all_started, commands, started
from tests.servers.conftest import client_of
from tests.servers.launching import BOUND, Running, eventually, require
from tests.servers.wire import opened

PAGE = "how-to/gunicorn.md"
COMMANDS = commands(PAGE)


@pytest.fixture(scope="module")
def servers(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    with all_started(COMMANDS, tmp_path_factory.mktemp("servers"), path=written) as servers:
        yield servers


def test_the_page_has_a_command_for_each_kind_of_worker() -> None:
    assert len(COMMANDS) == 6
    lines = [command.line for command in COMMANDS]
    assert all(any(kind in line for line in lines) for kind in ("--threads", "-k gevent", "-k asgi", "--preload"))
    assert sum(command.server.protocol == "asgi" for command in COMMANDS) == 1


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_serves_the_app(command: Command, servers: dict[str, Running]) -> None:
    require(command.server)
    server = servers[command.line]
    with client_of(server) as client:
        pids = {client.get(path).json()["pid"] for path in ("/", "/later") * 8}
    assert server.process.pid not in pids, "a worker answers"
    if command.server.protocol == "asgi":
        with opened(server, "/echo") as websocket:
            websocket.send("hello")
            assert websocket.recv(timeout=BOUND) == "hello"
    else:
        assert handshake(server) == (501, True)


def handshake(server: Running) -> tuple[int, bool]:
    """Return the status of a websocket's handshake, and whether the answer names servers that take one."""
    with client_of(server) as client:
        headers = {
            "connection": "upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        answer = client.get("/echo", headers=headers)
    return answer.status_code, "uvicorn" in answer.text


def test_the_configuration_is_read(servers: dict[str, Running]) -> None:
    server = servers["gunicorn main:app"]
    with client_of(server) as client:
        client.get("/", headers={"x-forwarded-for": "198.51.100.7"})
    eventually(lambda: "198.51.100.7 [" in server.output, "the access log has its format")
    assert "gthread" in server.output
    assert server.output.count("Booting worker") == 2


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_hup_loads_new_code_unless_it_was_loaded_before_the_fork(written: Path, tmp_path: Path, preload: bool) -> None:
    (command,) = [
        command for command in COMMANDS if "--threads" in command.line and ("--preload" in command.line) == preload
    ]
    code = tmp_path / "code"
    shutil.copytree(written, code)
    running = tmp_path / "running"
    running.mkdir()
    with started(command, running, path=code) as server, client_of(server) as client:
        old = client.get("/").json()
        text = (code / "main.py").read_text()
        (code / "main.py").write_text(text.replace('"release": 1,', '"release": 20,'))
        os.kill(server.process.pid, signal.SIGHUP)
        eventually(lambda: server.output.count("Booting worker") == 4, "new workers")
        eventually(lambda: server.output.count("Worker exiting") == 2, "the old workers have gone")
        new = client.get("/").json()
        assert (old["release"], new["release"]) == (1, 1 if preload else 20)
        assert old["pid"] != new["pid"]


def test_a_start_up_that_fails_ends_gunicorn(written: Path, tmp_path: Path) -> None:
    code = tmp_path / "code"
    shutil.copytree(written, code)
    text = (code / "main.py").read_text()
    (code / "main.py").write_text(text.replace("    yield {", "    raise LookupError('no pool')\n    yield {"))
    running = tmp_path / "running"
    running.mkdir()
    with pytest.raises(AssertionError, match="no pool"), started(COMMANDS[0], running, path=code):
        pass
