"""Connections to a server: HTTP/1.1 by hand, for what httpx refuses to send or hides, and websockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.servers.launching import BOUND, Running

__all__ = ["Answer", "Wire", "connected", "exchange", "opened"]


@dataclass
class Answer:
    """An answer as it came; `status` is 0 where the server said nothing."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool
    """Whether the body ended where the headers said that it would."""
    closed_with: int | None = None
    """The code that a websocket was closed with, 0 where it was without; None where there was none."""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def text(self) -> str:
        return self.body.decode()


class Wire:
    """A connection to a server."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = b""
        self._gives_up = False
        self.reset = False
        """Whether the server broke the connection off instead of closing it."""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def half_close(self) -> None:
        """Close this side; the server can still answer."""
        self.socket.shutdown(socket.SHUT_WR)

    def give_up_after(self, seconds: float) -> None:
        """Take a server that is silent for so long for one that has broken the connection off."""
        self.socket.settimeout(seconds)
        self._gives_up = True

    def unread(self, data: bytes) -> None:
        """Put back what was taken from the socket."""
        self._buffer = data + self._buffer

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65_536)
        except (ConnectionResetError, TimeoutError) as error:
            if isinstance(error, TimeoutError) and not self._gives_up:
                raise
            self.reset = True
            return False
        self._buffer += data
        return bool(data)

    def _line(self) -> bytes | None:
        while b"\n" not in self._buffer:
            if not self._more():
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size and self._more():
            pass
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def first_line(self) -> str:
        """Read the first line of an answer."""
        return (self._line() or b"").decode("latin-1")

    def read(self, *, head: bool = False) -> Answer:
        """Read one answer; with `head`, one that has no body by the request's method."""
        first = self._line()
        if first is None:
            return Answer(0, [], b"", complete=False)
        status = int(first.split()[1])
        headers: list[tuple[str, str]] = []
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.strip().lower(), value.strip()))
        if line is None:
            return Answer(status, headers, b"", complete=False)
        if status == 100:
            return self.read(head=head)
        answer = Answer(status, headers, b"", complete=True)
        if head or status in (101, 103, 204, 304):
            return answer
        length = answer.header("content-length")
        if "chunked" in (answer.header("transfer-encoding") or "").lower():
            answer.body, answer.complete = self._chunks()
        elif length is not None:
            answer.body = self._exactly(int(length))
            answer.complete = len(answer.body) == int(length)
        else:
            answer.body = self.rest()
            answer.complete = not self.reset
        return answer

    def _chunks(self) -> tuple[bytes, bool]:
        body = b""
        while True:
            line = self._line()
            if not line:
                return body, False
            size = int(line.partition(b";")[0], 16)
            chunk = self._exactly(size)
            body += chunk
            if len(chunk) < size:
                return body, False
            end = self._line()
            if size == 0 or end is None:
                return body, end is not None

    def frame(self) -> tuple[int, bytes] | None:
        """Read a frame of a websocket: its opcode and what is in it; None where there is none any more."""
        head = self._exactly(2)
        if len(head) < 2:
            return None
        size = head[1] & 127
        if size > 125:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8))
        return head[0] & 15, self._exactly(size)

    def rest(self) -> bytes:
        """Read until the server closes."""
        while self._more():
            pass
        data, self._buffer = self._buffer, b""
        return data


@contextmanager
def connected(server: Running) -> Iterator[Wire]:
    with server.connect() as connection:
        yield Wire(connection)


def exchange(server: Running, request: bytes, *, head: bool = False) -> Answer:
    """Send a request on a connection of its own and read the answer."""
    with connected(server) as wire:
        wire.send(request)
        return wire.read(head=head)


@contextmanager
def opened(server: Running, path: str, **options: Any) -> Iterator[ClientConnection]:
    """A websocket to `server`; the options are those of `websockets.sync.client.connect`."""
    # The socket is made here so that no proxy comes between.
    with (
        server.connect() as connection,
        connect(f"ws://{server.address}{path}", sock=connection, open_timeout=BOUND, **options) as client,
    ):
        yield client
