"""The end of an exchange: the body of a streaming response, and what is left to do once it was sent.

An iterable is advanced where its colour is at home, by whichever adapter.  What is to be closed is asked for by
yielding a `Call`, as in a request's exchange, and both adapters drive that in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Awaitable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dualroute.callables import describe, is_async_callable
from dualroute.exchange import Call
from dualroute.responses import Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["BodyFailed", "BodyStream", "KeepAlive", "awaited", "close_all", "is_native"]

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


def is_native(body: Any) -> bool:
    """Tell whether the body of a response is something that the server can send by itself, as it is.

    Such a body has a method `native`, which tells so, and `hand_over`, which returns what the server is to be given.
    """
    native = getattr(body, "native", None)
    return native is not None and bool(native())


class BodyStream:
    """The pieces of a response's `body_iterator`.

    Args:
        response: a response that has one.

    `is_async` is the colour of the iterable, and so of the method that advances it.
    """

    def __init__(self, response: Response) -> None:
        self._response = response
        self._body: Any = response.body_iterator
        self._iterator: Any = None
        self._ended = False
        self.is_async: bool = isinstance(self._body, AsyncIterable)

    def advance(self) -> bytes | None:
        """Return the next piece that is not empty, or None after the last, where the iterable is not async.

        Raises BodyFailed.
        """
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
            logger.exception("%s failed at the end of %s %s", describe(function), connection.method, connection.path)


async def awaited(calls: Generator[Call, Any, _T]) -> _T:
    """Perform calls that are all `async def`, where this is awaited, and return what the generator returns."""
    try:
        call = calls.send(None)
        while True:
            try:
                outcome = await call.function(*call.args)
            except BaseException as error:
                call = calls.throw(error)
            else:
                call = calls.send(outcome)
    except StopIteration as stop:
        value: _T = stop.value
        return value
    finally:
        calls.close()
