"""The tutorial, followed from its page: its files are written, its commands run, and what they print is compared."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.docs.pages import ROOT, Block, Page
from tests.servers.launching import BOUND, START, STOP, eventually
from tests.test_cli import free_port

PAGE = Page("tutorial.md")

INSTALLING = 300.0
"""How many seconds a command may take that installs something."""

SERVING = {
    "dualroute run": ("--port {port}", "^PATH "),
    "uvicorn": ("--port {port}", "Uvicorn running on"),
    "gunicorn": ("--bind 127.0.0.1:{port}", "Listening at"),
}
"""The commands that go on until stopped: the option by which each listens elsewhere, and what it prints then."""


class Reader:
    """Someone who does what the page says, in a folder and an environment of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder
        self.port = free_port()
        self._before: list[str] = []
        self._server: subprocess.Popen[bytes] | None = None
        self._output = folder.parent / "output"
        self.printed = ""
        # Nothing of the environment that the tests run in, but how to reach a package index; on the path there is the
        # Python that it was made of, and what the system has.
        (folder.parent / "bin").mkdir()
        (folder.parent / "bin" / "python").symlink_to(Path(sys.executable).resolve())
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        self._environ = {
            **kept,
            "HOME": os.environ.get("HOME", str(folder)),
            "PATH": os.pathsep.join([str(folder.parent / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def type(self, command: str) -> None:
        """Do what a line of the page says."""
        command = self._elsewhere(command)
        serving = next((program for program in SERVING if command.startswith(f"{program} ")), None)
        if command.startswith(("cd ", ". ")):
            self._before.append(command)
            self.place = Path(self._run("pwd").strip())
        elif serving is not None:
            option, word = SERVING[serving]
            self._serve(f"{command} {option.format(port=self.port)}", word)
        else:
            self.printed += self._as_in_the_page(self._run(command))

    def write(self, block: Block) -> None:
        assert block.file is not None
        path = self.place / block.file
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def _elsewhere(self, command: str) -> str:
        """Return a command with the ports that are free here, and the checkout in place of the package index."""
        for number in (0, 1):
            command = command.replace(f"127.0.0.1:800{number}", f"127.0.0.1:{self.port + number}")
        return re.sub(r'"(dualroute\[[\w,]+\])"', rf'"\1 @ {ROOT.as_uri()}"', command)

    def _as_in_the_page(self, output: str) -> str:
        for number in (0, 1):
            output = output.replace(f"127.0.0.1:{self.port + number}", f"127.0.0.1:800{number}")
        return output

    def _run(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", "\n".join([*self._before, command])],
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if "curl" not in command else subprocess.DEVNULL,
            text=True,
            timeout=INSTALLING,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{self.served}"
        return done.stdout

    def _serve(self, command: str, word: str) -> None:
        self.stop()
        with self._output.open("wb") as output:
            server = self._server = subprocess.Popen(
                ["sh", "-ec", "\n".join([*self._before, f"exec {command}"])],
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

        def ready() -> bool:
            assert server.poll() is None, self.served
            return re.search(word, self.served, re.M) is not None

        eventually(ready, command, START)
        self.printed = self._as_in_the_page(self.served)

    @property
    def served(self) -> str:
        """What the server has printed."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def stop(self) -> None:
        """Press Ctrl-C, where a server runs."""
        server, self._server = self._server, None
        if server is not None:
            os.kill(server.pid, signal.SIGINT)
            try:
                server.wait(STOP)
            finally:
                if server.poll() is None:
                    os.killpg(server.pid, signal.SIGKILL)
                    server.wait()
            assert "Traceback" not in self.served, self.served


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "empty").mkdir()
    reader = Reader(tmp_path / "empty")
    yield reader
    reader.stop()


def same(text: str) -> str:
    """Return what is printed without what differs from run to run."""
    return re.sub(r"in \d+\.\d+s", "in 0.00s", text.strip())


@pytest.mark.timeout(600)
def test_the_tutorial_from_nothing_to_its_tests(reader: Reader) -> None:
    compared = 0
    for block in PAGE.blocks:
        if block.file is not None:
            reader.write(block)
        elif block.language == "sh":
            reader.printed = ""
            for line in block.text.splitlines():
                reader.type(line)
        elif block.language == "text":
            assert same(block.text) in same(reader.printed), f"{PAGE.name}:{block.line}\n{reader.printed}"
            compared += 1
        else:
            pytest.fail(f"{PAGE.name}:{block.line} is a block of {block.language!r} that nobody does anything with")
    assert compared >= 14
    websocket_counts(reader)


def websocket_counts(reader: Reader) -> None:
    """Ask the websocket of the last server as its page does."""
    with (
        socket.create_connection(("127.0.0.1", reader.port), BOUND) as connection,
        connect(f"ws://127.0.0.1:{reader.port}/count", sock=connection, open_timeout=BOUND) as session,
    ):
        session.send("wren")
        assert session.recv(timeout=BOUND) == "wren: 2"
