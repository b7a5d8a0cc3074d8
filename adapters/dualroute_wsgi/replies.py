"""Reply: what a mounted WSGI application answers, by start_response, write() and the iterable it returns (PEP 3333)."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dualroute.bodies import CHUNK_SIZE
from dualroute.foreign import AppBroken, MountedResponse
from dualroute.types import Environ, ExcInfo

if TYPE_CHECKING:
    from dualroute.requests import SyncRequest
    from dualroute_wsgi.mounted import WSGIApp

__all__ = ["FileWrapper", "Reply"]

logger: logging.Logger = logging.getLogger("dualroute")

# Latin-1 is what WSGI has for text ("Unicode Issues"), and a reason has no control characters (RFC 9112 section 4).
_STATUS = re.compile(r"([1-9][0-9]{2}) ([\x20-\x7e\x80-\xff]*)")


@lru_cache(256)
def _parsed(status: str) -> tuple[int, str] | None:
    match = _STATUS.fullmatch(status)
    return None if match is None else (int(match[1]), match[2])


class Reply:
    """What an application answers: first its status and headers, then the pieces of its body."""

    # On the class until they change, since most replies are a list and have little to remember.
    _started: MountedResponse | None = None
    _committed: bool = False
    _result: Any = None
    _iterator: Iterator[Any] | None = None
    # The next piece, where it was got before it was asked for.
    _pending: bytes | None = None
    # What went through write(): where it is written, and how far it was read.
    _written: Any = None
    _read_to: int = 0
    _closed: bool = False
    _native: bool = False
    carries_end: bool = False

    def __init__(self, app: WSGIApp, environ: Environ, request: SyncRequest) -> None:
        self._app = app
        self._environ = environ
        self._request = request

    def begin(self) -> MountedResponse:
        """Call the application, and iterate over what it returns until there is a piece to send."""
        result = self._result = self._app.app(self._environ, self.start_response)
        kind = type(result)
        if kind is list or kind is tuple:
            response = self._require_start()
            if self._written is None:
                response.body = result[0] if len(result) == 1 and type(result[0]) is bytes else self._join(result)
                self._committed = True
                return response
        elif isinstance(result, bytes | str) or not (hasattr(result, "__iter__") or hasattr(result, "__getitem__")):
            returned = "None" if result is None else f"a {kind.__name__}"
            raise AppBroken(f"{self._app.described()} returned {returned}; it must return an iterable of bytes")
        self._request.closing.append(self.close)
        wrapper = self._environ["wsgi.file_wrapper"]
        # What the server made itself is left for it as it is: it may send the file by a system call.
        if wrapper is not FileWrapper and isinstance(wrapper, type) and isinstance(result, wrapper):
            self._native = True
        if not self._native or self._started is None or self._written is not None:
            self._pending = self._advance()
        response = self._require_start()
        self._committed = True
        # The response leads here from now on, and nothing leads back: no cycle.
        self._started = None
        response.body_iterator = self
        return response

    def _require_start(self) -> MountedResponse:
        if self._started is None:
            raise AppBroken(f"{self._app.described()} did not call start_response")
        return self._started

    def _join(self, pieces: Any) -> bytes:
        return b"".join([self._checked(piece) for piece in pieces])

    def _checked(self, piece: Any) -> bytes:
        if not isinstance(piece, bytes):
            raise AppBroken(f"{self._app.described()} gave a {type(piece).__name__} for a piece of its body, not bytes")
        return piece

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Take the status and the headers (see PEP 3333 on this callable)."""
        if exc_info is not None:
            try:
                if self._committed:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._started is not None or self._committed:
            raise AppBroken(f"{self._app.described()} called start_response twice, and without exc_info")
        parsed = _parsed(status) if isinstance(status, str) else None
        if parsed is None:
            raise AppBroken(
                f"{self._app.described()} gave the status {status!r}; it must be three digits, a space and a reason"
            )
        try:
            self._started = MountedResponse(parsed[0], headers, parsed[1])
        except (TypeError, ValueError) as error:
            raise AppBroken(f"{self._app.described()} gave a response header that can't be sent: {error}") from error
        return self.write

    def write(self, data: bytes) -> None:
        """Take a piece of the body the old way; it is kept, in a file beyond `buffer_size`, until the app returns."""
        if self._written is None:
            from tempfile import SpooledTemporaryFile

            self._written = SpooledTemporaryFile(self._app.buffer_size)  # noqa: SIM115  # closed with the reply
        self._written.seek(0, io.SEEK_END)
        self._written.write(self._checked(data))
        self._committed = self._committed or bool(data)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece, self._pending = self._pending, None
        if piece is None:
            piece = self._advance()
            if piece is None:
                raise StopIteration
        return piece

    def _advance(self) -> bytes | None:
        """Return the next piece that is not empty, or None after the last."""
        if self._iterator is None:
            self._iterator = iter(self._result)
        for piece in self._iterator:
            data = piece if type(piece) is bytes else self._checked(piece)
            if data:
                if self._written is not None:
                    self.write(data)  # behind what was written before it
                    break
                return data
        if self._written is not None:
            self._written.seek(self._read_to)
            written: bytes = self._written.read(CHUNK_SIZE)
            self._read_to += len(written)
            return written or None
        return None

    def native(self) -> bool:
        """Tell whether the application returned the server's own file wrapper, and nobody has touched it."""
        return self._native and self._iterator is None

    def hand_over(self, end: Callable[[Exception | None], object] | None = None) -> Any:
        """Return what the application returned; it is the server's to close from then on."""
        self._closed = True
        self._request.closing.remove(self.close)
        result, self._result = self._result, None
        return result

    def close(self) -> None:
        """Close what the application returned, once (PEP 3333)."""
        if self._closed:
            return
        self._closed = True
        closing = self._request.closing
        if self.close in closing:
            closing.remove(self.close)
        if self._written is not None:
            self._written.close()
        # Not kept: what an application returns may hold start_response, and so this.
        result, self._result, self._iterator = self._result, None, None
        close = getattr(result, "close", None)
        if close is not None:
            try:
                close()
            except Exception:
                logger.exception("close() of the response of %s failed", self._app.described())


class FileWrapper:
    """``wsgi.file_wrapper`` where the server has none: the content of a file, piece by piece.

    Args:
        filelike: has `read`, and perhaps `close`.
        block_size: how many bytes to read at a time.  It is a suggestion: fewer than 64 KiB are not worth a trip.
    """

    def __init__(self, filelike: Any, block_size: int = CHUNK_SIZE) -> None:
        self.filelike: Any = filelike
        self._size = max(block_size, CHUNK_SIZE)
        if hasattr(filelike, "close"):
            self.close: Callable[[], object] = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data: bytes = self.filelike.read(self._size)
        if not data:
            raise StopIteration
        return data
