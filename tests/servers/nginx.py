"""A real nginx as a process, with whatever configuration a test has for it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.launching import BOUND, eventually, free_port

__all__ = ["Nginx", "require_nginx"]

TEMPORARY = "".join(
    f"{name}_temp_path {{folder}}/{name.rpartition('_')[2]};\n"
    for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
"""Where nginx puts what it takes in; it may not write where it would by itself."""


def require_nginx(who: str) -> None:
    """Skip the test where there is no nginx."""
    if shutil.which("nginx") is None:
        pytest.skip(f"{who} needs nginx")


class Nginx:
    """An nginx that runs, as one process.

    Args:
        folder: where it keeps its files.
        configure: returns the configuration for its ports.
        number: how many ports it has.
    """

    host = "127.0.0.1"

    def __init__(self, folder: Path, configure: Callable[[list[int]], str], number: int = 1) -> None:
        self.folder = folder
        self._configuration = folder / "nginx.conf"
        for attempt in range(5):
            self.ports = [free_port() for _ in range(number)]
            self._configuration.write_text(configure(self.ports))
            if self._start():
                return
            self.stop()
            # Somebody else may have taken a port meanwhile; then another one will do.
            if "in use" not in self.output or attempt == 4:
                break
        raise AssertionError(f"nginx did not start:\n{self.output}")

    def _start(self) -> bool:
        with (self.folder / "nginx.output").open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *("nginx", "-p", str(self.folder), "-c", str(self._configuration)),
                    *("-g", "daemon off; master_process off;"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return eventually(lambda: "no" if self.process.poll() is not None else self._listens() and "yes", "nginx") == (
            "yes"
        )

    def _listens(self) -> bool:
        try:
            for port in self.ports:
                socket.create_connection((self.host, port), BOUND).close()
        except OSError:
            return False
        return True

    def connect(self, timeout: float = BOUND) -> socket.socket:
        """Return a new connection to the first of its ports."""
        return socket.create_connection((self.host, self.ports[0]), timeout)

    @property
    def output(self) -> str:
        """What it has said so far, by its log and by itself."""
        return "".join(
            (self.folder / name).read_text(errors="replace")
            for name in ("nginx.log", "nginx.output")
            if (self.folder / name).exists()
        )

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
