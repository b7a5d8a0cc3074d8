"""WSGIApp: a WSGI application as an endpoint (PEP 3333), for either protocol.

It is called in the server's own thread under WSGI, and in a thread of the pool under ASGI.  What it reads and what it
gives is the same there: the adapter's channel and the response's iterable are all that it touches.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, ClassVar

from dualroute.bodies import BUFFER_SIZE, CHUNK_SIZE, Channel, streamable
from dualroute.exceptions import BodyTooLarge, ClientDisconnect
from dualroute.foreign import (
    DEFAULT_MAX_THREADS,
    INSIDE,
    AppBroken,
    ForeignApp,
    MountedResponse,
    StreamingHandler,
    note_depth,
)
from dualroute.translation import environ_from_scope, has_untrue_length, wsgi_text
from dualroute.types import Environ, ExcInfo

if TYPE_CHECKING:
    from dualroute.handlers import Handler
    from dualroute.requests import SyncRequest
    from dualroute.responses import Response

__all__ = ["FileWrapper", "Reply", "WSGIApp"]

logger: logging.Logger = logging.getLogger("dualroute")

# Latin-1 is what WSGI has for text ("Unicode Issues"), and a reason has no control characters (RFC 9112 section 4).
# The packages of applications that read no body without a Content-Length.
_NEED_LENGTH = frozenset(("bottle", "django"))

_STATUS = re.compile(r"([1-9][0-9]{2}) ([\x20-\x7e\x80-\xff]*)")


@lru_cache(256)
def _parsed(status: str) -> tuple[int, str] | None:
    match = _STATUS.fullmatch(status)
    return None if match is None else (int(match[1]), match[2])


class WSGIApp(ForeignApp):
    """A WSGI application, on both protocols.

    It is an app by itself, to be handed to any server, and it is what a Mount, a Host or a fallback makes of a WSGI
    application.  Under ASGI the environ has the scope in ``dualroute.scope``, and the application runs in a thread,
    which it holds neither while a request of up to `buffer_size` bytes is still coming in nor while a response waits
    for the client.

    Args:
        app: the application, called with an environ and ``start_response``.
        buffer_size: how many bytes at most wait between the application and an ASGI server, each way.
        intercept_errors: True to have the exception handlers for a status answer where the application answers with
            an error status (400 and up); by default its own answer stands.
        max_threads: how many requests may be in the application at once, where this object is served by itself under
            ASGI.
        needs_length: True for an application that reads no body without a Content-Length: one that comes without and
            does not end within `buffer_size` is then kept in a temporary file before the application is called.  Where
            it is None, that is done for those known to be so, Django and Bottle.

    Raises TypeError for what can't be called, or is called like an ASGI application.
    """

    protocol: ClassVar[str] = "WSGI"

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        buffer_size: int = BUFFER_SIZE,
        intercept_errors: bool = False,
        max_threads: int = DEFAULT_MAX_THREADS,
        needs_length: bool | None = None,
    ) -> None:
        super().__init__(app, buffer_size=buffer_size, intercept_errors=intercept_errors, max_threads=max_threads)
        if needs_length is None:
            needs_length = type(app).__module__.partition(".")[0] in _NEED_LENGTH
        self.needs_length: bool = needs_length
        self.handler: Handler = StreamingHandler(self.respond, buffer_size=buffer_size)

    def respond(self, request: SyncRequest) -> Response:
        """Call the application, and return its response; the body is yet to be iterated over.

        Raises what the application raises, BodyTooLarge, and AppBroken where it does not keep to PEP 3333.
        """
        environ = self._environ_without_body(request, request._mounted)
        if environ is not None:
            reply = Reply(self, environ, request)
            try:
                response = reply.begin()
            except BaseException:
                reply.close()
                raise
            return self._answered(response) if self.intercept_errors else response
        channel = request._body_channel
        channel.require_within_limit()
        environ = self._environ(request, channel, request._mounted)
        return self._answered(self._reply(request, environ, channel))

    def _environ_without_body(self, request: SyncRequest, mounted: str) -> Environ | None:
        """Return the environ for the application where there is no body to read, and so need be no channel for it.

        That is what most requests need, under WSGI.  None for any other.
        """
        given = request._environ
        if given is None or request._opener is None or _may_bring_body(given):
            return None
        environ = dict(given)
        note_depth(request, environ, self)
        self._place(request, environ, mounted)
        if "wsgi.file_wrapper" not in environ:
            environ["wsgi.file_wrapper"] = FileWrapper
        environ.pop(INSIDE, None)
        environ["wsgi.input_terminated"] = True
        environ["wsgi.input"] = io.BytesIO()
        return environ

    def _reply(self, request: SyncRequest, environ: Environ, channel: Channel) -> Response:
        """Call the application, and return its response."""
        reply = Reply(self, environ, request)
        limit = channel.limit
        try:
            response = reply.begin()
            channel.require_kept(limit)
        except BaseException as error:
            reply.close()
            channel.require_kept(limit)
            if channel.cut_short and isinstance(error, Exception) and not isinstance(error, ClientDisconnect):
                raise ClientDisconnect from error
            raise
        return response

    def _place(self, request: SyncRequest, environ: Environ, mounted: str) -> None:
        """Say in an environ, which is a copy of the server's, where the application is mounted."""
        path: str = environ.get("PATH_INFO", "")
        if not mounted:
            if path.startswith("/"):
                return
        elif path.isascii() and path.startswith(mounted) and not environ.get("SCRIPT_NAME"):
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = mounted, path[len(mounted) :]
            return
        target = request._target
        environ["SCRIPT_NAME"] = wsgi_text(target.root_path + mounted)
        environ["PATH_INFO"] = wsgi_text(target.path[len(mounted) :])

    def _environ(self, request: SyncRequest, channel: Channel, mounted: str) -> Environ:
        """Return the environ for the application, which is mounted at `mounted`."""
        environ = request.environ
        if environ is None:
            target = request._target
            if mounted:
                target = target._replace(root_path=target.root_path + mounted, path=target.path[len(mounted) :])
            environ = environ_from_scope(request._given_scope or {}, target)
            environ["wsgi.file_wrapper"] = FileWrapper
            length_counts = "HTTP_TRANSFER_ENCODING" not in environ
        else:
            environ = dict(environ)
            self._place(request, environ, mounted)
            environ.setdefault("wsgi.file_wrapper", FileWrapper)
            length_counts = not has_untrue_length(environ)
        if not length_counts:
            environ.pop("CONTENT_LENGTH", None)
        environ.pop(INSIDE, None)
        note_depth(request, environ, self)
        if channel.time_limit is not None:
            environ["wsgi.multithread"] = True  # what is answered for may go on beside the next request
        environ["wsgi.input_terminated"] = True
        environ["wsgi.input"] = self._input(environ, channel, request)
        return environ

    def _input(self, environ: Environ, channel: Channel, request: SyncRequest) -> IO[bytes]:
        nothing = channel.body is None and not channel.may_have_body() and not channel.cut_short
        # What middleware has streamed away is an error, and not an empty body.
        if nothing and not (channel.consumed and _announces_body(environ)):
            return io.BytesIO()
        # One that was cut short while middleware read it says so to whoever reads on.
        source = channel if channel.cut_short else streamable(channel)
        begun: list[bytes] = []
        whole: IO[bytes] | None = None
        size = 0
        if not environ.get("CONTENT_LENGTH"):
            # Many applications read nothing without a length.  A body that is there in full has one.
            piece = b"more"
            try:
                while size <= self.buffer_size and (piece := source.read()):
                    begun.append(piece)
                    size += len(piece)
                if not piece:
                    whole = io.BytesIO(b"".join(begun))
                elif self.needs_length:
                    whole = self._spooled(source, begun, request)
                    size = whole.seek(0, io.SEEK_END)
                    whole.seek(0)
            except ClientDisconnect:
                pass  # which reading on will raise again
        if whole is None:
            return io.BufferedReader(RawInput(source, begun), CHUNK_SIZE)
        environ["CONTENT_LENGTH"] = str(size)
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        return whole

    def _spooled(self, source: Channel, begun: list[bytes], request: SyncRequest) -> IO[bytes]:
        from tempfile import TemporaryFile

        file = TemporaryFile()  # noqa: SIM115  # closed with the request
        request.closing.append(file.close)
        file.writelines(begun)
        del begun[:]
        while piece := source.read():
            file.write(piece)
        return file


def _may_bring_body(environ: Environ) -> bool:
    """Tell whether a request may have a body, by what a WSGI server says of it."""
    if environ.get("CONTENT_LENGTH", "") not in ("", "0") or environ.get("HTTP_TRANSFER_ENCODING"):
        return True
    # HTTP/2 and later frame a body without either header.  Without an end, it could not be read.
    protocol: str = environ.get("SERVER_PROTOCOL", "")
    return bool(environ.get("wsgi.input_terminated")) and not protocol.startswith("HTTP/1.")


def _announces_body(environ: Environ) -> bool:
    return "HTTP_TRANSFER_ENCODING" in environ or environ.get("CONTENT_LENGTH", "").strip("0") != ""


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
