"""RawInput: what a mounted WSGI application reads a request body from, as ``wsgi.input`` (PEP 3333)."""

from __future__ import annotations

import io
from typing import Any

from dualroute.bodies import Channel
from dualroute.exceptions import BodyTooLarge, ClientDisconnect

__all__ = ["InputCutShort", "InputTooLarge", "RawInput"]


class RawInput(io.RawIOBase):
    """The pieces of a request body, for a BufferedReader to make ``wsgi.input`` of."""

    def __init__(self, channel: Channel, begun: list[bytes]) -> None:
        super().__init__()
        self._channel = channel
        self._begun = begun
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._piece
        if not piece:
            piece = memoryview(self._begun.pop(0) if self._begun else self._read())
        size = min(len(piece), len(buffer))
        buffer[:size] = piece[:size]
        self._piece = piece[size:]
        return size

    def _read(self) -> bytes:
        try:
            return self._channel.read()
        except ClientDisconnect as error:
            raise InputCutShort("the client stopped short of the end of the request body") from error
        except BodyTooLarge as error:
            raise InputTooLarge(self._channel.limit or 0) from error


class InputCutShort(ClientDisconnect, OSError):
    """What reading ``wsgi.input`` raises where the client has gone; applications expect an OSError."""


class InputTooLarge(BodyTooLarge, OSError):
    """What reading ``wsgi.input`` raises beyond the limit."""
