"""What a newcomer does: README's commands, typed as they stand at a terminal, on a machine with Python and a shell.

On the path is a folder with links to one Python and to the shell, and nothing else; of the environment there is what
pip goes by.  The checkout is a copy of its own, and so is the virtual environment.
"""

from __future__ import annotations

import configparser
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from dualroute.cli import parser
from tests.docs.pages import ROOT, Block, Page
from tests.servers.launching import free_port

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="types at a terminal as Linux has them"),
    pytest.mark.timeout(600),
]

README = Page("../README.md")
RUN_EXAMPLE, RUN_TESTS, SERVE = README.of("sh")

TOOLS = ("sh", "uname")  # the script that activates a virtual environment asks for the latter
PIPS_OWN = re.compile(r"PIP_\w+|HOME|XDG_\w+|(?:https?|no|all)_proxy|SSL_CERT_\w+|REQUESTS_CA_BUNDLE", re.I)

PROMPT = "newcomer: "
BOUND = 240.0  # seconds for one command, downloads included


class Terminal:
    """A shell at a terminal, and what it has printed.

    Args:
        folder: where it starts.
        environ: its environment.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.output = ""
        self._master, slave = os.openpty()
        name = os.ttyname(slave)
        # Who leads a session and opens a terminal has it for its own: Ctrl-C then reaches what runs there.
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec sh -i <{name} >{name} 2>&1"],
            cwd=folder,
            env={**environ, "PS1": PROMPT, "TERM": "dumb", "VIRTUAL_ENV_DISABLE_PROMPT": "1"},
            start_new_session=True,
        )
        self._typed_at = 0
        self._wait_for_prompt()
        os.close(slave)  # not before the shell has it open: a terminal that nobody has open is gone

    def type(self, text: str) -> None:
        """Type a line."""
        self._typed_at = len(self.output)
        os.write(self._master, text.encode() + b"\n")

    def run(self, line: str) -> str:
        """Type a command, wait until it is over and went well, and return what it printed."""
        self.type(line)
        self._wait_for_prompt()
        printed = self.printed
        assert self.status() == 0, f"{line}\n{printed}"
        return printed

    def interrupt(self) -> None:
        """Press Ctrl-C, and wait for what runs to end."""
        os.write(self._master, b"\x03")
        self._wait_for_prompt()

    def status(self) -> int:
        """Ask how the last command ended."""
        self.type("echo ended with $?")
        status = int(self.wait_for(r"ended with (\d+)\r")[1])
        self._wait_for_prompt()  # which would be taken for that after the next line
        return status

    @property
    def printed(self) -> str:
        """What was printed since the last line was typed, that line included as it is echoed."""
        return self.output[self._typed_at :].replace("\r\n", "\n")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until something has been printed since the last line was typed."""
        deadline = time.monotonic() + BOUND
        while True:
            if found := re.search(pattern, self.output[self._typed_at :]):
                return found
            if time.monotonic() > deadline or not self._read():
                raise AssertionError(f"{pattern!r} was not printed:\n{self.printed}")

    def _wait_for_prompt(self) -> None:
        # Not the prompt before the line that was typed.
        self.wait_for(rf"(?:^|\n){re.escape(PROMPT)}$")

    def _read(self) -> bool:
        readable, _, _ = select.select([self._master], [], [], 1)
        if readable:
            try:
                self.output += os.read(self._master, 65536).decode(errors="replace")
            except OSError:  # the shell has ended
                return False
        return True

    def close(self) -> None:
        os.close(self._master)  # by which all that runs there is told to go
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def copy_of_the_checkout(folder: Path) -> None:
    """Copy what a clone would have, or what was unpacked where there is no repository."""
    found = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if found.returncode == 0:
        for name in found.stdout.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
    else:
        ours = ("dualroute", "adapters", "docs", "tests")
        for name in ours:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in ROOT.iterdir():
            if path.is_file():
                shutil.copy2(path, folder / path.name)


class Newcomer:
    """A folder with a copy of the checkout, and a terminal in it whenever one is wanted."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.checkout = home / "dualroute"
        self.checkout.mkdir()
        copy_of_the_checkout(self.checkout)
        tools = home / "tools"
        tools.mkdir()
        python = getattr(sys, "_base_executable", sys.executable)
        for name in ("python", "python3"):
            (tools / name).symlink_to(Path(python).resolve())
        for name in TOOLS:
            if (path := shutil.which(name)) is not None:
                (tools / name).symlink_to(path)
        self._environ = {name: value for name, value in os.environ.items() if PIPS_OWN.fullmatch(name)}
        self._environ["PATH"] = str(tools)
        self._terminals: list[Terminal] = []
        self.terminal(self.checkout, activated=False).run(f"python3 -m venv {home / 'venv'}")

    def terminal(self, folder: Path, environ: Mapping[str, str] | None = None, *, activated: bool = True) -> Terminal:
        terminal = Terminal(folder, {**self._environ, **(environ or {})})
        self._terminals.append(terminal)
        if activated:
            terminal.run(f". {self.home / 'venv' / 'bin' / 'activate'}")
        return terminal

    def close(self) -> None:
        for terminal in self._terminals:
            terminal.close()


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    newcomer = Newcomer(tmp_path_factory.mktemp("newcomer"))
    yield newcomer
    newcomer.close()


def lines_of(block: Block) -> list[str]:
    return block.text.splitlines()


def two_free_ports() -> int:
    """Return a free port that another one comes after."""
    while True:
        port = free_port()
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port + 1))
            return port


def served_at(terminal: Terminal, port: int) -> list[str]:
    """Wait until `dualroute run` says that both servers are there, and return where."""
    return [terminal.wait_for(rf"{kind} +(http://\S+:{at})")[1] for kind, at in (("ASGI", port), ("WSGI", port + 1))]


def test_the_ports_are_those_that_readme_names() -> None:
    options = parser().parse_args(["run", "main.py"])
    told = re.search(r"uvicorn \(port (\d+)\) and gunicorn \(port (\d+)\)", README.text.replace("\n", " "))
    assert told is not None
    assert (int(told[1]), int(told[2])) == (options.port, options.port + 1)


def test_the_example_runs_on_both_servers(newcomer: Newcomer) -> None:
    (line,) = lines_of(RUN_EXAMPLE)
    terminal = newcomer.terminal(newcomer.checkout)
    port = two_free_ports()
    terminal.type(f"{line} --port {port}")  # which may be taken by somebody else here, unlike on a newcomer's machine
    by_asgi, by_wsgi = served_at(terminal, port)
    made = httpx.post(f"{by_asgi}/api/notes", json={"title": "Milk", "text": "two litres"})
    assert made.status_code == 201
    for path in ("/", "/api/notes", "/api/notes/1", "/api/notes/2", "/nowhere"):
        one, other = httpx.get(by_asgi + path), httpx.get(by_wsgi + path)
        assert (one.status_code, one.text) == (other.status_code, other.text)
    assert "Milk" in httpx.get(by_wsgi).text
    terminal.interrupt()
    assert terminal.status() == 0
    assert "Traceback" not in terminal.output


@pytest.mark.usefixtures("newcomer")
def test_tox_knows_what_there_is_to_do(newcomer: Newcomer) -> None:
    (line,) = lines_of(RUN_TESTS)
    # That would run this test too, so it is only asked what it would run.
    printed = newcomer.terminal(newcomer.checkout).run(f"{line} list --no-desc")
    configuration = configparser.ConfigParser(interpolation=None)
    configuration.read(newcomer.checkout / "tox.ini")
    wanted = configuration["tox"]["env_list"].replace("\n", ",").split(",")
    assert {name.strip() for name in wanted} - {""} <= set(printed.split())


@pytest.mark.parametrize("number", range(len(lines_of(SERVE))), ids=[line.split()[0] for line in lines_of(SERVE)])
def test_any_server_takes_the_code_of_readme(newcomer: Newcomer, tmp_path: Path, number: int) -> None:
    README.write(tmp_path)
    line = lines_of(SERVE)[number].partition("#")[0].strip()
    port = two_free_ports()
    # Each server's own way to be told of another port than the one that README has.
    environ = {"UVICORN_PORT": str(port)} if line.startswith("uvicorn") else {}
    if line.startswith("gunicorn"):
        environ = {"GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}"}
    terminal = newcomer.terminal(tmp_path, environ)
    terminal.type(f"{line} --port {port}" if line.startswith("dualroute") else line)
    if line.startswith("dualroute"):
        addresses = served_at(terminal, port)
    else:
        terminal.wait_for(rf"127\.0\.0\.1:{port}")
        addresses = [f"http://127.0.0.1:{port}"]
    for address in addresses:
        assert asked(address) == {
            "GET /": (200, f"Hello from {address}/"),
            "GET /users/7": (200, '{"id":7}'),
            "POST /users/7": (201, '{"id":7,"saved":{"name":"Ada"}}'),
            "GET /users/seven": (404, "Not Found"),
        }
    if not line.startswith("gunicorn"):
        with connect(f"{addresses[0]}/echo".replace("http", "ws")) as websocket:
            websocket.send("hello")
            assert websocket.recv(30) == "hello"
    terminal.interrupt()
    assert "Traceback" not in terminal.output
    for address in addresses:
        with pytest.raises(httpx.ConnectError):
            httpx.get(address)


def asked(address: str) -> dict[str, tuple[int, str]]:
    """Return what README's app answers."""
    with httpx.Client(base_url=address, transport=httpx.HTTPTransport(retries=5), timeout=30) as client:
        answers = [
            client.get("/"),
            client.get("/users/7"),
            client.post("/users/7", json={"name": "Ada"}),
            client.get("/users/seven"),
        ]
    return {f"{one.request.method} {one.request.url.path}": (one.status_code, one.text) for one in answers}
