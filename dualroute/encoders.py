"""Encoders: what a response's body goes through on its way out, piece by piece.

An encoder is fed the pieces of one body in order, and asked for the rest when there are no more.  It is plain
computation, so either adapter can apply it wherever it has a piece in hand: in the thread that made the piece, or,
where the event loop made it, in place if it is small and in a thread if it is not (`dualroute.streams.Encoding`).
Nothing is collected on the way.
"""

from __future__ import annotations

__all__ = ["INLINE_SIZE", "Encoder"]

INLINE_SIZE: int = 16_384
"""How many bytes an event loop encodes in place; to compress more takes longer than to have a thread do it."""


class Encoder:
    """The base of encoders; one that changes nothing.

    What `feed` returns should be all that the client needs to make use of the piece: a stream is not to stand still
    because an encoder waits for more.
    """

    def feed(self, piece: bytes) -> bytes:
        """Return what a piece becomes, which may be nothing yet."""
        return piece

    def flush(self) -> bytes:
        """Return what comes after the last piece."""
        return b""
