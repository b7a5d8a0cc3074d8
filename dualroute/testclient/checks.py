"""What an answer of an app is held against, on either protocol, and what becomes of its exceptions."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, NoReturn, Protocol

import httpx

__all__ = ["Answer", "AnswerStream", "Checked", "ProtocolViolation", "raise_later", "require"]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class ProtocolViolation(AssertionError):
    """The app broke the rules of its protocol; a real server would answer 500, cut the connection, or worse."""


def require(rule: object, message: str) -> None:
    """Raise ProtocolViolation with a message where a rule does not hold."""
    if not rule:
        raise ProtocolViolation(message)


class Checked:
    """The status and headers of an answer, and the count of its body.

    Args:
        method: that of the request.
        status: the status code.
        headers: pairs of bytes.

    Raises ProtocolViolation for what may not be sent.
    """

    def __init__(self, method: str, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        require(200 <= status <= 999, f"the status is {status}; an answer has one from 200 on")
        for name, value in headers:
            require(_TOKEN.fullmatch(name), f"{name!r} is no header name")
            require(not _BAD_IN_VALUE.search(value), f"the header {name!r} has a control character in it: {value!r}")
        self.status: int = status
        self.headers: list[tuple[bytes, bytes]] = headers
        self._shown = method != "HEAD"
        self._bodiless = status in (204, 304)
        lengths = {value for name, value in headers if name.lower() == b"content-length"}
        require(len(lengths) <= 1, f"the answer has Content-Length headers that differ: {sorted(lengths)}")
        text = lengths.pop() if lengths else b""
        require(not text or text.isdigit(), f"the Content-Length is {text!r}")
        self._length = int(text) if text and self._shown and not self._bodiless else None
        self._counted = 0

    def count(self, data: bytes) -> bytes:
        """Take a piece of the body, and return what a client gets to see of it.  Raises ProtocolViolation."""
        self._counted += len(data)
        if not self._shown:
            return b""  # servers leave the body of an answer to HEAD out
        require(not (self._bodiless and data), f"an answer with status {self.status} has a body: {data[:60]!r}")
        length = self._length
        require(
            length is None or self._counted <= length, f"the Content-Length is {length}, and {self._counted} bytes came"
        )
        return data

    def end(self) -> None:
        """Take note that the body is complete.  Raises ProtocolViolation where it is too short."""
        length = self._length
        require(
            length is None or self._counted == length,
            f"the Content-Length is {length}, and only {self._counted} bytes came",
        )


class Answer(Protocol):
    """A request under way, as the client sees it."""

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes; in the end raise what the app failed with."""
        ...

    def close(self) -> None:
        """End the request, the client leaving if the body was not complete; raise what the app failed with."""
        ...


class AnswerStream(httpx.SyncByteStream):
    """The body of an httpx response, as an answer gives it.

    Args:
        answer: the answer.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.pieces()

    def close(self) -> None:
        """End the request.  What it failed with is raised, unless another exception is on its way."""
        under_way: Any = sys.exc_info()[1]
        try:
            self._answer.close()
        except BaseException:
            if under_way is None or isinstance(under_way, GeneratorExit):
                raise


def raise_later(error: BaseException) -> NoReturn:
    """Raise an exception of the app in the test, with the traceback that it has, and leave no cycle behind."""
    try:
        raise error
    finally:
        del error
