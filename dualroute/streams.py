"""The body of a streaming response, got piece by piece: an exchange of its own.

Like a request's exchange, it says what it needs done by yielding a `Call` and is sent the outcome, so that the two
adapters drive it in the same way, whichever the colour of the iterable.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Generator
from typing import Any

from dualroute.exchange import Call
from dualroute.responses import Response

__all__ = ["BodyFailed", "BodyStream"]

logger: logging.Logger = logging.getLogger("dualroute")

_END: Any = object()


class BodyFailed(Exception):
    """The iterable of a response raised `error`; what else goes wrong while sending is not its doing."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error: Exception = error


class BodyStream:
    """The pieces of a response's `body_iterator`.

    Args:
        response: a response that has one.
    """

    def __init__(self, response: Response) -> None:
        self._response = response
        self._body: Any = response.body_iterator
        self._iterator: Any = None
        self._ended = False

    def fetch(self) -> Generator[Call, Any, bytes | None]:
        """Return the next piece that is not empty, or None after the last.  Raises BodyFailed."""
        body = self._body
        is_async = isinstance(body, AsyncIterable)
        advance: Any = anext if is_async else next
        try:
            if self._iterator is None:
                self._iterator = aiter(body) if is_async else (yield Call.known(iter, (body,), False))
            while not self._ended:
                piece = yield Call.known(advance, (self._iterator, _END), is_async)
                if piece is _END:
                    self._ended = True
                    break
                data = self._response.encode(piece)
                if data:
                    return data
            return None
        except Exception as error:
            raise BodyFailed(error) from error

    def close(self) -> Generator[Call, Any, None]:
        """Close the iterator and the iterable, each if it can be closed; they are often the same."""
        for thing in (self._iterator, self._body) if self._iterator is not self._body else (self._body,):
            aclose = getattr(thing, "aclose", None)
            close = getattr(thing, "close", None)
            try:
                if aclose is not None:
                    yield Call.known(aclose, (), True)
                elif close is not None:
                    yield Call.known(close, (), False)
            except Exception:
                logger.exception("closing the body of a response failed")
