"""What a message delegate has written, on its way to whoever sends it.

A delegate writes whenever it likes and does not wait.  What it writes is checked at once, so that a mistake shows where
it was made, and put in line here.  Whoever runs the delegate (`Runner`) takes it from the line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Generator, Mapping
from typing import Any, NoReturn, Protocol

from dualroute.datastructures import Headers, MutableHeaders
from dualroute.foreign import MountedResponse

__all__ = ["NOBODY", "HTTPOutputError", "Outgoing", "Runner", "Written", "piece_of", "response_for"]

NOBODY = "nobody takes the response any more: the client is gone, or the request has failed"
"""What an error says where what was written is in vain."""


class HTTPOutputError(RuntimeError):
    """A delegate wrote more, or less, than the Content-Length of its response says."""


class Runner(Protocol):
    """Runs a delegate, and takes what it writes."""

    def require_loop(self) -> None:
        """Raise RuntimeError where this is not the event loop that the delegate runs on."""

    def notify(self) -> None:
        """Take note that something was written, or went wrong."""

    def until_taken(self, count: int) -> Coroutine[Any, Any, None]:
        """Wait until `count` pieces were taken.  Raises ConnectionResetError where they never will be."""
        raise NotImplementedError


class Outgoing:
    """What was written to a connection and not yet taken.

    It is apart from the connection, so that whoever runs the delegate need not hold that: a connection that nobody
    holds is one that nobody will ever answer on.
    """

    __slots__ = (
        "closed",
        "failure",
        "finished",
        "has_body",
        "method",
        "pieces",
        "put",
        "remaining",
        "response",
        "runner",
        "taken",
    )

    def __init__(self, method: str) -> None:
        self.method: str = method
        self.response: MountedResponse | None = None
        """Its status and headers, once written."""
        self.has_body: bool = False
        """Whether a body may follow them."""
        self.pieces: deque[bytes] = deque()
        self.finished: bool = False
        """True once the delegate has finished its response."""
        self.failure: str | None = None
        """What was wrong with the length of what it wrote."""
        self.closed: bool = False
        """True once nobody takes anything any more."""
        self.remaining: int | None = None
        """How many bytes the Content-Length wants yet."""
        self.put: int = 0
        self.taken: int = 0
        """How many pieces were ever put in line and taken; the end of the response counts as one."""
        self.runner: Runner | None = None

    def start(self, response: MountedResponse) -> None:
        """Take in the status and the headers."""
        length = length_of(response.headers)
        headers, self.has_body = response.wire(self.method)
        if len(headers) != len(response.headers):
            response.headers = MutableHeaders.of(headers)
        if response.status_code not in (204, 304):
            response.headers.setdefault("content-type", "application/octet-stream")
        if self.has_body:
            self.remaining = length
        self.response = response

    def add(self, chunk: bytes) -> None:
        """Take in a piece of the body.  Raises HTTPOutputError."""
        if not chunk or not self.has_body:
            return
        if self.remaining is not None:
            if len(chunk) > self.remaining:
                self.fail(f"{len(chunk) - self.remaining} bytes more were written than the Content-Length says")
            self.remaining -= len(chunk)
        if not self.closed:
            self.pieces.append(chunk)
        self.put += 1

    def fail(self, reason: str) -> NoReturn:
        """Raise HTTPOutputError, and see to it that the response fails by it, whoever catches that."""
        self.failure = reason
        self.notify()
        raise HTTPOutputError(reason)

    def notify(self) -> None:
        if self.runner is not None:
            self.runner.notify()


class Written:
    """What writing returns: awaited, it waits until what was written has been taken."""

    __slots__ = ("_count", "_outgoing")

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._count = outgoing.put

    def __await__(self) -> Generator[Any, Any, None]:
        outgoing = self._outgoing
        if outgoing.runner is None and not outgoing.closed:
            yield  # it is kept until the delegate runs; let others run meanwhile
        if outgoing.taken < self._count:
            if outgoing.closed:
                raise ConnectionResetError(NOBODY)
            if outgoing.runner is not None:
                yield from outgoing.runner.until_taken(self._count).__await__()


def response_for(start_line: Any, headers: Any) -> MountedResponse:
    """Return the response that a start line and headers begin, checked."""
    if not isinstance(start_line, tuple) or len(start_line) != 3:
        raise TypeError(f"write_headers() takes a ResponseStartLine(version, code, reason), not {start_line!r}")
    code = start_line[1]
    if not isinstance(code, int) or not 200 <= code <= 999:
        raise ValueError(
            f"the status of a response is a number from 200 up, not {code!r}"
            + ("; interim responses (1xx) are the server's affair" if code in range(100, 200) else "")
        )
    if isinstance(headers, Headers):
        pairs: Any = headers.multi_items()
    else:
        pairs = headers.items() if isinstance(headers, Mapping) else headers
    return MountedResponse(code, pairs)


def piece_of(chunk: Any) -> bytes:
    """Return a piece of a body as bytes.  Raises TypeError where it is nothing of the kind."""
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, bytearray | memoryview):  # which may change before it is sent
        return bytes(chunk)
    raise TypeError(f"what is written to a connection must be bytes, not {type(chunk).__name__}")


def length_of(headers: Headers) -> int | None:
    """Return the Content-Length, or None where there is none.  Raises ValueError for one that is no number."""
    values = set(headers.getlist("content-length"))
    if not values:
        return None
    value = values.pop()
    if values or not (value.isascii() and value.isdecimal()):
        raise ValueError(f"the Content-Length must be one number of bytes, not {', '.join([value, *values])!r}")
    return int(value)
