"""A real Redis as a process."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.servers.launching import BOUND, eventually, free_port

__all__ = ["RedisServer", "require_redis"]


def require_redis(who: str) -> None:
    """Skip the test where there is no redis-server."""
    if shutil.which("redis-server") is None:
        pytest.skip(f"{who} needs redis-server")


class RedisServer:
    """A Redis that runs, and keeps nothing on disk.

    Args:
        folder: its working directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, at the port that it had before."""
        with (self.folder / "redis.output").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port)),
                    *("--save", "", "--appendonly", "no", "--dir", str(self.folder)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        eventually(self._answers, "Redis answers")

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "redis.output").read_text(errors="replace")
        return self.ask("PING") == "+PONG"

    def ask(self, command: str) -> str:
        """Send a command, and return the first line of the answer; nothing where there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), BOUND) as connection:
                connection.sendall(f"{command}\r\n".encode())
                return connection.recv(4096).decode().partition("\r\n")[0]
        except OSError:
            return ""

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(BOUND)
