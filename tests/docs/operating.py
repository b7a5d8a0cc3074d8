"""The commands and configurations of the pages about servers, started as they stand there but for ports and folders."""

from __future__ import annotations

import shlex
import shutil
import signal
import socket
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docs.pages import Page
from tests.servers.launching import Running, Server, connect_to_socket, require

__all__ = ["Command", "OnSocket", "all_started", "commands", "started"]

_BINDS = {
    "gunicorn": ("--bind", "127.0.0.1:{port}"),
    "uvicorn": ("--port", "{port}"),
    "hypercorn": ("--bind", "127.0.0.1:{port}"),
    "granian": ("--port", "{port}"),
}
"""How each server is told its port, where a command leaves that to the server."""

_MODULES = {"uvicorn_worker.UvicornWorker": "uvicorn_worker", "worker.Worker": "uvicorn_worker", "gevent": "gevent"}
"""What a worker class needs."""

_ASGI_WORKERS = frozenset(("asgi", "uvicorn_worker.UvicornWorker", "worker.Worker"))


@dataclass(frozen=True)
class Command:
    """A command of a page that starts a server.

    Args:
        line: as it stands in the page.
        environ: the variables that it sets.
        server: what it starts, on a port of its own.
        target: the app.
    """

    line: str
    environ: Mapping[str, str]
    server: Server
    target: str

    def __str__(self) -> str:
        return self.line.replace("/", "|")

    @classmethod
    def of(cls, line: str) -> Command:
        words = shlex.split(line, comments=True)
        environ = dict(word.split("=", 1) for word in words if _is_assignment(word))
        program, *options, target = [word for word in words if not _is_assignment(word)]
        program = program.rpartition("/")[2]
        bound = any("8000" in option or option.startswith("unix:") or option in ("--uds", "--fd") for option in options)
        # What is in braces would be taken for a place to fill.
        given = [option.replace("{", "{{").replace("}", "}}").replace("8000", "{port}") for option in options]
        server = Server(
            line,
            _protocol(program, options),
            (program, *(() if bound else _BINDS[program]), *given),
            (program, *(_MODULES[option] for option in options if option in _MODULES)),
        )
        return cls(line, environ, server, target)


def _is_assignment(word: str) -> bool:
    return word.partition("=")[0].isupper() and "=" in word and not word.startswith("-")


def _protocol(program: str, options: list[str]) -> str:
    if program == "granian":
        return options[options.index("--interface") + 1]
    return "asgi" if program != "gunicorn" or not _ASGI_WORKERS.isdisjoint(options) else "wsgi"


def commands(page: str) -> list[Command]:
    """Return the commands of a page that start servers: one in each line of its blocks of shell."""
    return [
        Command.of(line)
        for block in Page(page).of("sh")
        for line in block.text.splitlines()
        if _starts_a_server(line.split())
    ]


def _starts_a_server(words: list[str]) -> bool:
    programs = [word for word in words if not _is_assignment(word)]
    return bool(programs) and programs[0] in _BINDS and ":" in words[-1]


@contextmanager
def started(
    command: Command, folder: Path, *, path: Path, kind: type[Running] = Running, **options: Any
) -> Iterator[Running]:
    """Run a command.

    Args:
        command: which.
        folder: an empty folder, where the process runs.
        path: the folder that the page's modules are in.
        kind: what to run it as.
        options: as of `Running`.
    """
    require(command.server)
    environ = {**command.environ, **options.pop("environ", {})}
    process = kind(command.server, folder, command.target, environ=environ, path=path, **options)
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def all_started(chosen: Iterable[Command], folder: Path, *, path: Path) -> Iterator[dict[str, Running]]:
    """Run commands side by side, those whose server is installed; yields what runs by its command's line.

    Each ends in good order, or by the signal that it was sent.
    """
    present = [command for command in chosen if not command.server.missing]

    def start(number: int) -> Running:
        place = folder / str(number)
        place.mkdir()
        for file in path.glob("*.conf.py"):
            # gunicorn reads it by itself where its command says nothing else.
            if present[number].line == "gunicorn main:app":
                shutil.copy(file, place)
        command = present[number]
        return Running(command.server, place, command.target, environ=command.environ, path=path)

    running: list[Running] = []
    with ThreadPoolExecutor() as threads:
        try:
            # Whatever did start is stopped, whichever did not.
            futures = [threads.submit(start, number) for number in range(len(present))]
            wait(futures)
            running = [future.result() for future in futures if future.exception() is None]
            for future in futures:
                future.result()
            yield {command.line: server for command, server in zip(present, running, strict=True)}
        finally:
            statuses = list(threads.map(Running.stop, running))
    assert set(statuses) <= {0, -signal.SIGTERM}, statuses


class OnSocket(Running):
    """A server at a unix socket, which its command names by a relative path."""

    def connect_directly(self, timeout: float) -> socket.socket:
        (path,) = (word.removeprefix("unix:") for word in self.command if word.endswith(".sock"))
        return connect_to_socket(self.folder / path, timeout)
