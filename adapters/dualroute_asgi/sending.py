"""Responses on their way to an ASGI `send`: the events they amount to, and a body piece by piece."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, Protocol

from dualroute.bodies import BUFFER_SIZE
from dualroute.encoders import INLINE_SIZE
from dualroute.exchange import raised
from dualroute.responses import Response
from dualroute.streams import BodyFailed, BodyStream, Encoding, KeepAlive
from dualroute.types import Send
from dualroute_asgi.keepalive import KeptAlive
from dualroute_asgi.pump import Pump
from dualroute_asgi.threads import ThreadPool

__all__ = ["Delivery", "Pieces", "Turns", "failure_of", "pieces_of", "send_whole", "start_event"]

_PATIENCE = 0.004
"""For how many seconds at most a response is sent in one go, before others on the event loop have their turn."""


class Pieces(Protocol):
    """A body, as the event loop takes it: already encoded, where it has to be."""

    async def advance_async(self) -> bytes | None:
        """Return the next piece that is not empty, or None after the last.  Raises BodyFailed."""
        ...

    async def close_async(self) -> None:
        """Close it, whether or not it has ended."""
        ...


def pieces_of(response: Response, threads: ThreadPool) -> Pieces:
    """Return the pieces of a body that is iterated over, in either colour."""
    body: Any = response.body_iterator
    stream: BodyStream | Pump
    encoding: Encoding | None = None
    if isinstance(body, Pump):
        stream = body
        if response.encoders:
            encoding = Encoding(response)
    else:
        stream = BodyStream(response)
        if stream.is_async:
            encoding = stream.encoding
        else:
            stream = Pump.over(stream, threads, BUFFER_SIZE)
    return stream if encoding is None else EncodedPieces(stream, encoding, threads)


class EncodedPieces:
    """The pieces of a body that the event loop has, encoded: small ones in place, others in a thread."""

    def __init__(self, stream: BodyStream | Pump, encoding: Encoding, threads: ThreadPool) -> None:
        self._stream = stream
        self._encoding = encoding
        self._threads: ThreadPool | None = threads
        self._ended = False

    def alone(self) -> Encoding:
        """Return the encoding, for others to use as well; from now on it is used on the event loop and nowhere else."""
        self._threads = None
        return self._encoding

    async def advance_async(self) -> bytes | None:
        """Return the next piece that is not empty, or None after the last.  Raises BodyFailed."""
        while not self._ended:
            piece = await self._stream.advance_async()
            if piece is None:
                self._ended = True
                piece = self._encoding.end()
            elif len(piece) > INLINE_SIZE and self._threads is not None:
                piece = await self._threads.run(self._encoding.feed, (piece,))
            else:
                piece = self._encoding.feed(piece)
            if piece:
                return piece
        return None

    async def close_async(self) -> None:
        """Close the body."""
        await self._stream.close_async()


class Turns:
    """Gives others on the event loop their turn, where neither sending nor making pieces has waited for long.

    Nobody would ever notice otherwise that a client has gone.
    """

    # Whether the event loop was asked to say that it has gone round.
    _asked: bool = False

    def __init__(self) -> None:
        self._since = monotonic()

    def due(self) -> bool:
        """Tell whether to wait for a turn of the event loop: not where it had one by itself."""
        if monotonic() - self._since <= _PATIENCE:
            return False
        if self._asked:
            return True
        # To wait here without need would have an application be cancelled in its `send`, where it hardly ever is by
        # the server; and what is left then of its stream may be kept until the garbage collector comes.
        self._asked = True
        asyncio.get_running_loop().call_soon(self._gone_round)
        return False

    def _gone_round(self) -> None:
        self._asked = False
        self._since = monotonic()


class Delivery:
    """A body that is sent piece by piece.

    Args:
        response: the response.
        method: the method of the request.
        send: the ASGI send callable.
        pieces: the pieces of the body.

    `started` tells whether anything was sent; the status goes out with the first piece.
    """

    started: bool = False

    def __init__(self, response: Response, method: str, send: Send, pieces: Pieces) -> None:
        self._response = response
        self._method = method
        self._send = send
        self._pieces = pieces

    async def run(self) -> None:
        """Send all of it.  Raises BodyFailed, and what sending raises."""
        response, pieces = self._response, self._pieces
        headers, has_body = response.raw_wire(self._method)
        start = start_event(response.status_code, headers)
        send = self._send
        kept_alive: KeptAlive | None = None
        keep_alive: KeepAlive | None = getattr(response.body_iterator, "keep_alive", None)
        if keep_alive is not None and has_body:
            encoding = pieces.alone() if isinstance(pieces, EncodedPieces) else None
            send = kept_alive = KeptAlive(send, start, keep_alive, encoding)
        try:
            # The status goes out with the first piece, as it does under WSGI; so a body that fails at once is a 500.
            piece = await _next_piece(pieces) if has_body else None
            turns = Turns()
            while piece is not None:
                if not self.started:
                    await send(start)
                    self.started = True
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                if turns.due():
                    await asyncio.sleep(0)
                piece = await _next_piece(pieces)
            if not self.started:
                await send(start)
            await send({"type": "http.response.body", "body": b""})
        finally:
            if kept_alive is not None:
                kept_alive.stop()
                self.started = self.started or kept_alive.started


async def send_whole(response: Response, method: str, send: Send) -> None:
    """Send a response whose body is there."""
    headers, has_body = response.raw_wire(method)
    await send(start_event(response.status_code, headers))
    await send({"type": "http.response.body", "body": response.body if has_body else b""})


async def _next_piece(pieces: Pieces) -> bytes | None:
    try:
        return await pieces.advance_async()
    except asyncio.CancelledError as error:
        failure = failure_of(error)
        if isinstance(failure, Exception):
            raise BodyFailed(failure) from error
        raise


def failure_of(error: BaseException) -> BaseException:
    """Return what a call failed with: a CancelledError of its own making is an error like any other."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling():
        failure = RuntimeError("a handler raised CancelledError, but its request was not cancelled")
        failure.__cause__ = error
        return failure
    return raised(error)


def start_event(status_code: int, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Return the event that starts a response."""
    return {"type": "http.response.start", "status": status_code, "headers": headers}
