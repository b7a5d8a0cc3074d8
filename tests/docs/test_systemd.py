"""The how-to page about systemd: its units as systemd reads them, and what they start, with a socket handed over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import Page
from tests.servers.launching import BOUND, STOP, connect_to_socket, eventually
from tests.servers.wire import Answer, Wire

PAGE = "how-to/systemd.md"
SERVICES = ("app-wsgi.service", "app-asgi.service")

# What systemd does with a socket: it is descriptor 3, and two variables say so.
ACTIVATE = """
import os, sys
number, *words = sys.argv[1:]
os.dup2(int(number), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(words[0], words)
"""


def unit(name: str) -> ConfigParser:
    (block,) = (block for block in Page(PAGE).of("ini") if block.file == name)
    parser = ConfigParser(interpolation=None, strict=True, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names are case-sensitive there
    parser.read_string(block.text.replace("\\\n", ""))
    return parser


def installed(written: Path, folder: Path) -> None:
    """Write the units to a folder, with the programs and the folders of this machine in them."""
    for path in written.glob("app-*"):
        text = path.read_text()
        text = text.replace("/srv/app/venv/bin/", f"{Path(sys.executable).parent}/").replace("/srv/app", str(written))
        (folder / path.name).write_text(text)


def analyze(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("the units need systemd-analyze, to be looked at")
    return subprocess.run(
        ["systemd-analyze", *arguments], cwd=folder, capture_output=True, text=True, timeout=BOUND, check=False
    )


def test_systemd_has_nothing_to_say_about_the_units(written: Path, tmp_path: Path) -> None:
    installed(written, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 4
    found = analyze("verify", "--man=no", "--recursive-errors=no", *names, folder=tmp_path)
    ours = [line for line in (found.stdout + found.stderr).splitlines() if "app-" in line]
    assert ours == []


@pytest.mark.parametrize("name", SERVICES)
def test_what_the_units_are_allowed_is_little(written: Path, tmp_path: Path, name: str) -> None:
    installed(written, tmp_path)
    # In tenths: a unit that sets nothing has 9.6.
    found = analyze("security", "--offline=yes", "--threshold=20", "--no-pager", name, folder=tmp_path)
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr


def test_both_units_are_allowed_the_same() -> None:
    wsgi, asgi = ({**unit(name)["Service"]} for name in SERVICES)
    differing = {key for key in wsgi.keys() | asgi.keys() if wsgi.get(key) != asgi.get(key)}
    assert differing == {"Type", "NotifyAccess", "ExecStart"}


def test_what_is_left_is_killed_after_the_servers_have_given_up_themselves() -> None:
    for name in SERVICES:
        service = unit(name)["Service"]
        words = service["ExecStart"].split()
        (graceful,) = (int(words[index + 1]) for index, word in enumerate(words) if "graceful" in word)
        assert graceful < int(service["TimeoutStopSec"])


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(os.path.relpath(tmp_path / "app.sock"))
        opened.listen(16)
        yield opened


@contextmanager
def activated(name: str, listener: socket.socket, written: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run what a unit starts, as it stands there, with the socket that systemd would hand over."""
    program, *options = unit(name)["Service"]["ExecStart"].split()
    command = [sys.executable, "-m", program.rpartition("/")[2], *options]
    environ = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "GREETING": "good day"}
    with (tmp_path / "output").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", ACTIVATE, str(listener.fileno()), *command],
            cwd=written,
            env=environ,
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


@contextmanager
def asked(tmp_path: Path) -> Iterator[Wire]:
    with connect_to_socket(tmp_path / "app.sock", STOP) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n")
        yield Wire(connection)


def pid_in(answer: Answer) -> int:
    """Return the worker that a right answer is from."""
    assert answer.status == 200
    told = json.loads(answer.body)
    assert told["greeting"] == "good day"
    return int(told["pid"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_request_waits_while_the_server_restarts_and_a_reload_brings_new_workers(
    name: str, written: Path, tmp_path: Path, listener: socket.socket
) -> None:
    for is_first in (True, False):
        # It comes before there is a server.
        with asked(tmp_path) as early, activated(name, listener, written, tmp_path) as process:
            pids = {pid_in(early.read())}

            def answers(number: int, pids: set[int] = pids) -> bool:
                with asked(tmp_path) as another:
                    answer = another.read()
                # A worker of uvicorn's that stops resets what it has just accepted.
                pids.update([pid_in(answer)] if answer.status else [])
                return len(pids) == number

            # gunicorn loses a signal for a worker that has been forked and not yet set its handlers, and waits for it.
            eventually(lambda: answers(2), "both workers answer")
            if is_first:
                os.kill(process.pid, signal.SIGHUP)
                eventually(lambda: answers(4), "so do two others")
                assert process.poll() is None, "the main process stays"
            process.terminate()
            assert process.wait(STOP) in (0, -signal.SIGTERM)


def test_gunicorn_tells_systemd_when_it_is_ready(written: Path, tmp_path: Path, listener: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(STOP)
        with activated(SERVICES[0], listener, written, tmp_path):
            assert notified.recv(1000).startswith(b"READY=1")
