"""The end of an exchange: the body of a streaming response, and what is left to do once it was sent.

An iterable is advanced where its colour is at home, by whichever adapter.  What is to be closed is asked for by
yielding a `Call`, as in a request's exchange, and both adapters drive that in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dualroute.callables import describe, is_async_callable
from dualroute.exchange import Call, NextPiece
from dualroute.responses import Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["BodyFailed", "BodyStream", "Encoding", "KeepAlive", "close_all", "is_native"]

logger: logging.Logger = logging.getLogger("dualroute")

_T = TypeVar("_T")


class BodyFailed(Exception):
    """The iterable of a response raised `error`; what else goes wrong while sending is not its doing."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error: Exception = error


class KeepAlive(NamedTuple):
    """What to send where a body that is iterated over asynchronously has nothing to say: its attribute `keep_alive`.

    Args:
        first: after how many seconds without a first piece it is sent.
        every: after how many seconds without another.
        piece: what is sent.
    """

    first: float
    every: float
    piece: bytes


def is_native(response: Response) -> bool:
    """Tell whether the body of a response is something that the server can send by itself, as it is.

    Such a body has a method `native`, which tells so, and `hand_over`, which returns what the server is to be given.
    """
    native = getattr(response.body_iterator, "native", None)
    return native is not None and not response.encoders and bool(native())


class Encoding:
    """The encoders of one response, one after the other, the first of which gets the body as it was made.

    Args:
        response: a response that has some.
    """

    def __init__(self, response: Response) -> None:
        self._encoders = response.encoders
        self._ended = False

    def feed(self, piece: bytes) -> bytes:
        """Return what a piece becomes.  Raises BodyFailed."""
        try:
            for encoder in self._encoders:
                if piece:
                    piece = encoder.feed(piece)
        except Exception as error:
            raise BodyFailed(error) from error
        return piece

    def end(self) -> bytes:
        """Return what comes after the last piece.  Raises BodyFailed."""
        self._ended = True
        rest = b""
        try:
            for encoder in self._encoders:
                rest = (encoder.feed(rest) if rest else b"") + encoder.flush()
        except Exception as error:
            raise BodyFailed(error) from error
        return rest

    def advance(self, fetch: Callable[[], bytes | None]) -> bytes | None:
        """Return the next piece that is not empty, or None after the last.

        Args:
            fetch: does the same with the pieces as they were made.

        Raises BodyFailed.
        """
        while not self._ended:
            piece = fetch()
            encoded = self.end() if piece is None else self.feed(piece)
            if encoded:
                return encoded
        return None

    async def advance_async(self, fetch: Callable[[], Awaitable[bytes | None]]) -> bytes | None:
        """Do the same where `fetch` is an `async def`."""
        while not self._ended:
            piece = await fetch()
            encoded = self.end() if piece is None else self.feed(piece)
            if encoded:
                return encoded
        return None


class BodyStream:
    """The pieces of a response's `body_iterator`.

    Args:
        response: a response that has one.

    `is_async` is the colour of the iterable, and so of the method that advances it.  `encoding` is what the pieces
    have yet to go through: `advance`, which is called in a thread, sees to that itself; what `advance_async` gives is
    the adapter's to encode, which knows where there is a thread for it.
    """

    def __init__(self, response: Response) -> None:
        self._response = response
        self._body: Any = response.body_iterator
        self._iterator: Any = None
        self._ended = False
        self.is_async: bool = isinstance(self._body, AsyncIterable)
        self.encoding: Encoding | None = Encoding(response) if response.encoders else None

    def advance(self) -> bytes | None:
        """Return the next piece that is not empty, or None after the last, where the iterable is not async.

        Raises BodyFailed.
        """
        return self._advance() if self.encoding is None else self.encoding.advance(self._advance)

    def _advance(self) -> bytes | None:
        if self._ended:
            return None
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            for piece in self._iterator:
                data = piece if type(piece) is bytes else bytes(self._response.encode(piece))
                if data:
                    return data
        except Exception as error:
            raise BodyFailed(error) from error
        self._ended = True
        return None

    async def advance_async(self) -> bytes | None:
        """Return the next piece that is not empty, or None after the last, where the iterable is async.

        Raises BodyFailed.
        """
        if self._ended:
            return None
        try:
            if self._iterator is None:
                self._iterator = aiter(self._body)
            async for piece in self._iterator:
                data = piece if type(piece) is bytes else bytes(self._response.encode(piece))
                if data:
                    return data
        except Exception as error:
            raise BodyFailed(error) from error
        self._ended = True
        return None

    def next_piece(self) -> Call:
        """Return the call that gives the next piece as it is sent, or None after the last.  It raises BodyFailed."""
        if self.is_async:
            return NextPiece.known(self._advance_encoded if self.encoding is not None else self.advance_async, (), True)
        return NextPiece.known(self.advance, (), False)

    async def _advance_encoded(self) -> bytes | None:
        assert self.encoding is not None, "this is for bodies that are encoded"
        return await self.encoding.advance_async(self.advance_async)

    def close(self) -> Generator[Call, Any, None]:
        """Close the iterator and the iterable, each if it can be closed; they are often the same."""
        yield Call.known(self.close_async if self.is_async else self.close_in_place, (), self.is_async)

    def close_in_place(self) -> None:
        """Do in place what `close` asks for, where the iterable is not async."""
        for thing in self._open():
            function = getattr(thing, "close", None)
            if function is not None:
                try:
                    function()
                except Exception:
                    logger.exception("closing the body of a response failed")

    async def close_async(self) -> None:
        """Await what `close` asks for, where the iterable is async."""
        for thing in self._open():
            function = getattr(thing, "aclose", None) or getattr(thing, "close", None)
            if function is not None:
                try:
                    closing = function()
                    if isinstance(closing, Awaitable):
                        await closing
                except Exception:
                    logger.exception("closing the body of a response failed")

    def _open(self) -> tuple[Any, ...]:
        return (self._body,) if self._iterator is self._body else (self._iterator, self._body)


def close_all(connection: HTTPConnection) -> Generator[Call, Any, None]:
    """Call what a request has to have called in its end, the last one first.

    One whose attribute `inline` is true does not block, and so may run on the event loop.
    """
    closing = connection.closing
    while closing:
        function = closing.pop()
        try:
            yield Call.known(function, (), is_async_callable(function), getattr(function, "inline", False))
        except Exception:
            method, path = connection.method, connection.printable_path
            logger.exception("%s failed at the end of %s %s", describe(function), method, path)
