"""Real servers as real processes: how each is started, waited for, listened to and stopped.

What a server does in its own way is data on its `Server` below; a test asks for the fact and never for the name.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import pytest

__all__ = ["APPS", "GEVENT", "SERVERS", "Running", "Server", "by_name", "connect_to_socket", "eventually"]

APPS = Path(__file__).parent
"""The folder of the module `apps`."""

START = 60.0
"""How many seconds a server has to answer its first request."""

STOP = 30.0
"""How many seconds a server has to end after SIGTERM."""

BOUND = 20.0
"""How many seconds anything else may take."""

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Server:
    """A server and its options.

    Args:
        name: what the tests call it.
        protocol: "wsgi" or "asgi".
        command: what follows ``python -m``; ``{port}`` stands for the port, and the app comes last.
        modules: what has to be installed for it.
        root_path: the options that mount the app at ``/base``, or None where there are none.
        root_environ: the environment variables that do so.
        root_in_target: whether the path that a client asks for then begins with ``/base``; otherwise the server takes
            it that a proxy in front has cut that off.
        concurrent: whether one process answers several requests at once.
        graceful: whether SIGTERM lets a request that is being answered finish.
        cut_upload: what comes of a request body that stops short: "told", the handler gets ClientDisconnect;
            "refused", the server waits for the whole body first and never calls the app.
        cut_chunks: the same for a chunked one; "hidden", the app can't tell it from one that came whole.
        cut_download: whether a chunked response that fails half-way looks different to the client from one that ends.
        cookies: what the server makes of two Cookie headers, ``a=1`` and ``b=2``.
        underscores: whether it hands over a header with an underscore as if it had a hyphen.
        latin_headers: whether bytes beyond ASCII in a header value pass it as they are, both ways.
        root_for_no_path: whether it hands over ``/`` for an absolute-form target without a path (``http://host``).
        leading_slashes: whether it hands over more than one slash at the start of a path.
        name_without_host: its own name, which stands in for a missing Host header.
        close_codes: whether it tells the code that a client closed a websocket with.
        all_close_codes: whether it closes one with any code that an app may give.
        accept_headers: whether it sends the further headers with which a websocket was accepted.
        denial: whether it can answer a websocket handshake with a status other than 403.
        chunks_after_head: whether it ends its answer to HEAD with a last chunk, where it would send chunks to GET.
        reads_chunks: whether an app gets a chunked body without the chunks.
        ends_failed: whether it ends the connection when the app fails half-way in a response.
        compiled: whether it has to be compiled, so that it may be missing anywhere.
        program: whether it is a program beside Python, and no module that Python runs.
    """

    name: str
    protocol: str
    command: tuple[str, ...]
    modules: tuple[str, ...]
    root_path: tuple[str, ...] | None = None
    root_environ: Mapping[str, str] = field(default_factory=dict)
    root_in_target: bool = True
    concurrent: bool = True
    graceful: bool = True
    cut_upload: str = "told"
    cut_chunks: str = "told"
    cut_download: bool = True
    cookies: str = "a=1; b=2"
    underscores: bool = False
    latin_headers: bool = True
    root_for_no_path: bool = False
    leading_slashes: bool = True
    name_without_host: str = "127.0.0.1"
    close_codes: bool = True
    all_close_codes: bool = True
    accept_headers: bool = True
    denial: bool = True
    chunks_after_head: bool = False
    reads_chunks: bool = True
    ends_failed: bool = True
    compiled: bool = False
    program: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def missing(self) -> str:
        """Why it can't be started here, or nothing."""
        if not hasattr(signal, "SIGKILL"):
            return "these tests need POSIX signals and process groups"
        absent = [module for module in self.modules if importlib.util.find_spec(module) is None]
        return f"{self.name} needs {' and '.join(absent)}, not installed on this Python" if absent else ""


def _gunicorn(name: str, protocol: str, *options: str, **facts: Any) -> Server:
    command = ("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "1", *options)
    return Server(name, protocol, command, ("gunicorn",), **facts)


def _uvicorn(name: str, *options: str, modules: tuple[str, ...], **facts: Any) -> Server:
    command = ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", *options)
    return Server(
        name,
        "asgi",
        command,
        ("uvicorn", "websockets", *modules),
        root_path=("--root-path", "/base"),
        root_in_target=False,
        **facts,
    )


def _version(package: str) -> tuple[int, ...]:
    """Return the version of a package that is installed; nothing where it is not."""
    try:
        return tuple(int(part) for part in version(package).split(".") if part.isdecimal())
    except PackageNotFoundError:
        return ()


def _granian(interface: str, **facts: Any) -> Server:
    command = ("granian", "--host", "127.0.0.1", "--port", "{port}", "--interface", interface)
    return Server(
        f"granian-{interface}",
        interface,
        command,
        ("granian",),
        root_path=("--url-path-prefix", "/base"),
        **facts,
    )


_GUNICORN_WSGI: dict[str, Any] = {
    "root_path": (),
    "root_environ": {"SCRIPT_NAME": "/base"},
    "cookies": "a=1,b=2",
}

SERVERS = (
    _gunicorn("gunicorn-sync", "wsgi", concurrent=False, **_GUNICORN_WSGI),
    _gunicorn("gunicorn-gthread", "wsgi", "--threads", "4", **_GUNICORN_WSGI),
    _gunicorn("gunicorn-asgi", "asgi", "-k", "asgi", root_path=("--root-path", "/base"), denial=False),
    _gunicorn("gunicorn-preload", "wsgi", "--threads", "4", "--preload", **_GUNICORN_WSGI),
    _uvicorn("uvicorn", modules=()),
    _uvicorn("uvicorn-h11", "--http", "h11", "--loop", "asyncio", modules=("h11",)),
    _uvicorn("uvicorn-httptools", "--http", "httptools", modules=("httptools",)),
    Server(
        "hypercorn",
        "asgi",
        ("hypercorn", "--bind", "127.0.0.1:{port}"),
        ("hypercorn",),
        root_path=("--root-path", "/base"),
        close_codes=False,
    ),
    _granian("asgi", accept_headers=False, root_for_no_path=True),
    _granian(
        "wsgi",
        cut_chunks="hidden",
        cut_download=_version("granian") >= (2, 8, 8),
        underscores=True,
        latin_headers=False,
        cookies="a=1;b=2",
        root_for_no_path=True,
    ),
    Server(
        "waitress",
        "wsgi",
        ("waitress", "--listen", "127.0.0.1:{port}"),
        ("waitress",),
        root_path=("--url-prefix", "/base"),
        graceful=False,
        cut_upload="refused",
        cut_chunks="refused",
        cookies="a=1, b=2",
        chunks_after_head=True,
        leading_slashes=False,
        name_without_host="waitress.invalid",
    ),
)


GEVENT = replace(_gunicorn("gunicorn-gevent", "wsgi", "-k", "gevent", **_GUNICORN_WSGI), modules=("gunicorn", "gevent"))
"""Whose threads are greenlets.  It answers for what a thread may do otherwise there, and is gunicorn for the rest."""


def by_name(name: str) -> Server:
    return next(server for server in SERVERS if server.name == name)


def workers(server: Server, number: int) -> Server:
    """Return a server of one worker process with so many of them."""
    return replace(server, command=tuple(str(number) if part == "1" else part for part in server.command))


def require(server: Server) -> None:
    """Skip the test where the server can't be had; fail it where the server should be there."""
    if server.missing:
        expected = sys.version_info < (3, 14) and not server.compiled
        if os.environ.get("DUALROUTE_TEST_INSTALLED") == "1" and expected:
            pytest.fail(server.missing)
        pytest.skip(server.missing)


def eventually(condition: Callable[[], _T], what: str, timeout: float = BOUND) -> _T:
    """Return what `condition` returns once that is true."""
    deadline = time.monotonic() + timeout
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not so after {timeout:g} s")
        time.sleep(0.01)


class Running:
    """A server that runs.

    Args:
        server: which.
        folder: an empty folder, the process's working directory and the place where the app and a test meet.
        target: the app.
        options: further options of the server.
        environ: further environment variables.
        path: the folder that the app's module is in.
    """

    def __init__(
        self,
        server: Server,
        folder: Path,
        target: str = "apps:app",
        options: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
        path: Path = APPS,
    ) -> None:
        self.server = server
        self.folder = folder
        self._output = folder / "output"
        self.environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(path), os.environ.get("PYTHONPATH")))),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            "DUALROUTE_TEST_FOLDER": str(folder),
            "HOME": str(folder),  # gunicorn keeps its control socket there
            "NO_COLOR": "1",
            **(environ or {}),
        }
        for attempt in range(5):
            self.port = free_port()
            if self._start((*options, target)):
                return
            self.kill()
            # Somebody else may have taken the port meanwhile; then another one will do.
            if "in use" not in self.output or attempt == 4:
                break
        raise AssertionError(f"{server} did not start: {self.command}\n{self.output}")

    def _start(self, arguments: tuple[str, ...]) -> bool:
        name, *options = (option.format(port=self.port) for option in self.server.command)
        program = [str(Path(sys.executable).parent / name)] if self.server.program else [sys.executable, "-m", name]
        self.command = [*program, *options, *arguments]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            if self._answers():
                return True
            time.sleep(0.02)
        return False

    def _answers(self) -> bool:
        return self._reaches(self.connect_directly)

    def _reaches(self, connect: Callable[[float], socket.socket]) -> bool:
        """Tell whether a request is answered, in whatever way."""
        try:
            with connect(START) as connection:
                connection.sendall(b"OPTIONS / HTTP/1.1\r\nHost: waiting\r\nConnection: close\r\n\r\n")
                return bool(connection.recv(1))
        except OSError:
            return False

    host = "127.0.0.1"

    def connect(self, timeout: float = BOUND) -> socket.socket:
        """Return a new connection to the server, by whatever is in front of it."""
        return self.connect_directly(timeout)

    def connect_directly(self, timeout: float) -> socket.socket:
        """Return a new connection to the server itself."""
        return socket.create_connection((self.host, self.port), timeout)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def output(self) -> str:
        """What the server has printed so far."""
        return self._output.read_text(errors="replace")

    def events(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Return what the app has reported: the reports of `kind` with these fields, so far."""
        try:
            # A line that is just being written has no end yet.
            lines = (self.folder / "events").read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []
        wanted = {"kind": kind, **fields}
        return [event for event in map(json.loads, lines) if wanted.items() <= event.items()]

    def events_of(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the reports of any of these kinds so far, in the order in which they came."""
        try:
            lines = (self.folder / "events").read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []
        return [event for event in map(json.loads, lines) if event["kind"] in kinds]

    @property
    def told(self) -> int:
        """How much the app has reported so far: where `told_since` is to begin."""
        try:
            return (self.folder / "events").stat().st_size
        except FileNotFoundError:
            return 0

    def told_since(self, start: int) -> list[dict[str, Any]]:
        """Return all reports of any kind since `start`."""
        try:
            with (self.folder / "events").open("rb") as file:
                file.seek(start)
                return [json.loads(line) for line in file.read().split(b"\n")[:-1]]
        except FileNotFoundError:
            return []

    def event(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Wait for a report of `kind` with these fields, and return it."""
        return eventually(lambda: self.events(kind, **fields), f"report of {kind!r} with {fields}")[0]

    def logged(self, text: str) -> list[dict[str, Any]]:
        """Return what was logged with `text` in the message or the traceback."""
        return [event for event in self.events("log") if text in event["message"] or text in event["traceback"]]

    def release(self, token: str) -> None:
        """Let the handlers that wait for `token` go on."""
        (self.folder / token).touch()

    def stop(self) -> int:
        """End the server by SIGTERM, see that nothing of it is left, and return its exit status."""
        printed = len(self.output)
        if self.process.poll() is None:
            self.process.terminate()
        status = self.wait()
        assert "Traceback" not in self.output[printed:], f"{self.server} while it ended:\n{self.output[printed:]}"
        return status

    def wait(self) -> int:
        """See that the server ends and leaves no process behind, and return its exit status."""
        try:
            status = self.process.wait(STOP)
            eventually(lambda: not self._group_lives(), f"{self.server} ends with all its children", STOP)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.server} did not end in {STOP:g} s:\n{self.output[-5000:]}") from None
        finally:
            self.kill()
        return status

    def _group_lives(self) -> bool:
        # The server leads a process group of its own, in which its children are.
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # macOS, of a group that has only zombies in it
            return False
        return True

    def kill(self) -> None:
        """End whatever is left of the server, at once."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self.process.wait()


# Below those that the system gives to whoever connects.  Each process of a test run has some of its own: two that chose
# the same one would both start a server on it, and the one that comes too late would be taken for the other.
_PORTS = 2_500
_SLOT = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_ports = itertools.count(os.getpid() * 61)


def free_port() -> int:
    """Return a port that is free, and that no other process of this test run chooses."""
    while True:
        port = 10_000 + _SLOT * _PORTS + next(_ports) % _PORTS
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def connect_to_socket(path: Path, timeout: float) -> socket.socket:
    """Return a new connection to whoever listens at a unix socket."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        # A path may have some hundred characters only.
        connection.connect(os.path.relpath(path))
    except OSError:
        connection.close()
        raise
    return connection


def running(server: Server, folder: Path, *args: Any, **options: Any) -> Iterator[Running]:
    """Yield a server that runs, and stop it afterwards: the body of a fixture."""
    require(server)
    process = Running(server, folder, *args, **options)
    try:
        yield process
    finally:
        process.stop()
