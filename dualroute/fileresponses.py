"""FileResponse: a file as a response, with conditions, ranges and a name for the download.

What is to be sent depends on the request and on the file, so it is settled when an endpoint or a middleware has
returned the response, by a `Call` that may block (see `Response.incomplete`): the file is opened, looked at and, where
it is small, read in one visit of a thread.  From then on there is a response like any other, whose body is bytes or a
`FileBody`.
"""

from __future__ import annotations

import io
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dualroute.bodies import BUFFER_SIZE
from dualroute.conditional import narrow
from dualroute.exceptions import ResponseCut
from dualroute.exchange import Call
from dualroute.foreign import StreamingHandler
from dualroute.mediatypes import guess_media_type
from dualroute.ranges import MAX_RANGES, Part
from dualroute.responses import Response

if TYPE_CHECKING:
    from dualroute.background import BackgroundTask, BackgroundTasks
    from dualroute.connection import HTTPConnection

__all__ = ["FileBody", "FileResponse", "content_disposition", "open_file"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FROM_FILE = ("etag", "last-modified")
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)


class FileResponse(Response):
    """A file.

    It has an ETag and a Last-Modified, is answered 304 or 412 where the request says so, and in parts (206, 416) where
    it asks for ranges; a request for more than `max_ranges` gets the whole.  The file is opened, off the event loop,
    when the response has been returned; what it is then is what is sent, and the conditions and ranges of the request
    are those of RFC 9110.  They do not apply to another status than 200, nor to other methods than GET and HEAD.

    Args:
        path: the file.
        status_code: the HTTP status.
        headers: further headers; an ETag or a Last-Modified here comes before those made up.
        media_type: the media type; guessed from `filename` or `path` where it is None.
        background: what to run after the response was sent, whatever came of the conditions.
        filename: the name that a client is to save it by.
        stat_result: what `os.stat` said of the file, where that is known, to have the headers at once.
        content_disposition_type: "attachment", or "inline" for what a browser is to show.
        method: not used; it is there for code written for older versions of Starlette.

    A file that can't be sent (it is not there, is no regular file, may not be read) raises RuntimeError from the
    endpoint that returned it, which is a 500 unless an exception handler makes another answer of it.  One that is cut
    off while it is being sent cuts the response short.

    Raises ValueError for a `content_disposition_type` that is no token.
    """

    chunk_size: int = 64 * 1024
    """How many bytes are read at a time; a file that has no more is read at once."""
    max_ranges: int = MAX_RANGES
    """How many ranges a request may ask for before it gets the whole file."""

    incomplete: bool = True
    _handler: ClassVar[StreamingHandler]

    def __init__(
        self,
        path: str | os.PathLike[str],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | BackgroundTasks | None = None,
        filename: str | None = None,
        stat_result: os.stat_result | None = None,
        content_disposition_type: str = "attachment",
        method: str | None = None,
    ) -> None:
        self.path: str | os.PathLike[str] = path
        self.filename: str | None = filename
        self.stat_result: os.stat_result | None = stat_result
        if media_type is None:
            media_type = guess_media_type(filename or path) or "application/octet-stream"
        self._describe(status_code, media_type)
        if background is not None:
            self.background: BackgroundTask | BackgroundTasks | None = background
        self._set_headers(headers, None, "application/octet-stream")
        self.headers.setdefault("accept-ranges", "bytes")
        if filename is not None:
            self.headers.setdefault("content-disposition", content_disposition(filename, content_disposition_type))
        elif content_disposition_type not in ("attachment", "inline"):
            content_disposition("", content_disposition_type)
        self._given: frozenset[str] = frozenset(name for name, _ in self.headers._list)
        if stat_result is not None:
            self.set_stat_headers(stat_result)

    def set_stat_headers(self, stat_result: os.stat_result) -> None:
        """Set what follows from a file's size and time; an ETag or a Last-Modified that was given stays."""
        self.headers["content-length"] = str(stat_result.st_size)
        for name, value in zip(_FROM_FILE, (_etag(stat_result), _http_date(stat_result.st_mtime)), strict=True):
            if name not in self._given and value is not None:
                self.headers[name] = value

    def completion(self, connection: HTTPConnection) -> Call:
        """Return the call that opens the file, and returns the response to send in place of this one."""
        return Call.known(self._open, (connection,), False, False, self._handler)

    def _open(self, connection: HTTPConnection) -> Response:
        try:
            file, stat_result = open_file(self.path)
        except (OSError, ValueError) as error:
            raise RuntimeError(f"The file at path {os.fspath(self.path)} {_why(error)}") from error
        return self.complete(connection, file, stat_result)

    def complete(self, connection: HTTPConnection, file: io.FileIO, stat_result: os.stat_result) -> Response:
        """Return the response to a request, given the file; `file` is closed with that, or by then.

        It may block.  This response stays as it is, and can answer further requests.
        """
        response = self._copy()
        try:
            response.set_stat_headers(stat_result)
            size = stat_result.st_size
            in_parts = response.headers.get("accept-ranges") == "bytes"
            parts = narrow(response, connection, size if in_parts else None, self.max_ranges)
            sends = connection.method != "HEAD" and (parts is None or parts)
            if not sends or (parts is None and not size):
                file.close()
                return response
            body = FileBody(self.path, file, stat_result, parts, connection, self.chunk_size)
        except BaseException:
            file.close()
            raise
        connection.closing.append(body.close)
        # A handshake that is refused by a file gets it in one piece.
        is_small = int(response.headers["content-length"]) <= self.chunk_size or connection.is_websocket
        if is_small and not body.native():
            try:
                response.body = b"".join(body)
            finally:
                body.close()
        else:
            response.body_iterator = body
        return response

    def _copy(self) -> Self:
        response = type(self).__new__(type(self))
        response.__dict__.update(self.__dict__)
        for name in ("dispatcher", "asgi", "wsgi"):
            response.__dict__.pop(name, None)
        response.headers = self.headers.mutablecopy()
        response.incomplete = False
        return response


def _never_called(connection: Any) -> Any:
    raise NotImplementedError


# What remembers, for an adapter with threads, how long it takes to open a file.
FileResponse._handler = StreamingHandler(_never_called, buffer_size=BUFFER_SIZE, reads_body=False)


class FileBody:
    """A file, or parts of it, as the body of a response.

    Args:
        path: the file.
        file: the file, opened.
        stat_result: what it was when it was opened.
        parts: what to send, or None for the whole.
        connection: the request.
        chunk_size: how many bytes to read at a time.

    Raises EOFError while it is iterated over where the file has become shorter.
    """

    carries_end: ClassVar[bool] = True
    """What is handed over can have something called when the server has sent it."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        file: io.FileIO,
        stat_result: os.stat_result,
        parts: list[Part] | None,
        connection: HTTPConnection,
        chunk_size: int,
    ) -> None:
        self._path = path
        self._file = file
        self._size = stat_result.st_size
        self._parts: list[Part] = [(0, self._size)] if parts is None else parts
        self._connection = connection
        self._chunk_size = chunk_size
        self._next = 0
        self._position = 0
        self._untouched = True
        self._wrapper: Any = None
        self._sends_path = False
        if parts is None and not connection.is_websocket:
            self._find_ways()

    def _find_ways(self) -> None:
        """Find out whether the server can send a whole file by itself."""
        environ = self._connection.environ
        if environ is not None:
            self._wrapper = environ.get("wsgi.file_wrapper")
        else:
            extensions = (self._connection._given_scope or {}).get("extensions") or {}
            self._sends_path = "http.response.pathsend" in extensions

    def native(self) -> bool:
        """Tell whether the server can send this by itself, and nobody has touched it."""
        return self._untouched and (self._wrapper is not None or self._sends_path)

    def hand_over(self, end: Callable[[Exception | None], object] | None = None) -> Any:
        """Return what the server is to send: an iterable (WSGI), or an event (ASGI).

        Args:
            end: called by an iterable when it is closed, with the error that has cut it short, if there was one.
        """
        self._untouched = False
        if self._sends_path:
            # The file stays open until the request is over, and is closed then in a thread.
            return {"type": "http.response.pathsend", "path": os.path.abspath(self._path)}
        file = _HandedOver(self._path, os.dup(self._file.fileno()), self._size, end)
        self.close()
        return self._wrapper(file, self._chunk_size)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._untouched = False
        while self._next < len(self._parts):
            part = self._parts[self._next]
            if isinstance(part, bytes):
                self._next += 1
                return part
            start, stop = part
            if self._position < start or self._position >= stop:
                self._file.seek(start)
                self._position = start
            data = self._file.read(min(self._chunk_size, stop - self._position))
            if not data:
                raise EOFError(_shorter(self._path, self._size))
            self._position += len(data)
            if self._position == stop:
                self._next += 1
            return data
        raise StopIteration

    def _forget(self) -> None:
        closing = self._connection.closing
        if self.close in closing:
            closing.remove(self.close)

    def close(self) -> None:
        """Close the file, once."""
        self._forget()
        self._file.close()


class _HandedOver(io.FileIO):
    """A file that the server sends by itself, by a system call or by reading it.

    Servers do not look whether as much came out of it as they have announced, so it looks itself.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        descriptor: int,
        size: int,
        end: Callable[[Exception | None], object] | None,
    ) -> None:
        super().__init__(descriptor, "rb")
        self._path = path
        self._size = size
        self._end = end
        self._cut = False

    def read(self, size: int | None = -1, /) -> bytes:
        position = self.tell()
        data = super().read(-1 if size is None else size)
        if not data and size and position < self._size:
            self._cut = True
            raise ResponseCut
        return data

    def close(self) -> None:
        if self.closed:
            return
        try:
            cut = self._cut or os.fstat(self.fileno()).st_size < self._size
        finally:
            super().close()
        end, self._end = self._end, None
        if end is not None:
            end(EOFError(_shorter(self._path, self._size)) if cut else None)


def open_file(path: str | os.PathLike[str]) -> tuple[io.FileIO, os.stat_result]:
    """Open a regular file to read it, without waiting for anything, and say what it is.

    Raises OSError where it can't be opened or is not a regular file, and ValueError for what can't be a path.
    """
    file = io.FileIO(path, "rb", opener=_opener)
    try:
        stat_result = os.fstat(file.fileno())
        if not stat.S_ISREG(stat_result.st_mode):
            raise IsADirectoryError(f"{os.fspath(path)} is not a regular file")
    except BaseException:
        file.close()
        raise
    return file, stat_result


def _opener(path: str, flags: int) -> int:
    # A named pipe that nobody writes to would be waited for.
    return os.open(path, _OPEN_FLAGS | getattr(os, "O_NONBLOCK", 0))


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "does not exist."
    if isinstance(error, IsADirectoryError):
        return "is not a file."
    return f"can't be read: {error.strerror if isinstance(error, OSError) and error.strerror else error}."


def _shorter(path: str | os.PathLike[str], size: int) -> str:
    return f"the file at path {os.fspath(path)} has become shorter than the {size} bytes that were announced"


def _etag(stat_result: os.stat_result) -> str:
    return f'"{stat_result.st_mtime_ns:x}-{stat_result.st_size:x}"'


def _http_date(timestamp: float) -> str | None:
    """Return a time as HTTP writes it (RFC 9110 section 5.6.7); None for one that no clock can have shown."""
    try:
        moment = time.gmtime(timestamp)
    except (OSError, OverflowError, ValueError):
        return None
    return (
        f"{_DAYS[moment.tm_wday]}, {moment.tm_mday:02} {_MONTHS[moment.tm_mon - 1]} {moment.tm_year:04}"
        f" {moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02} GMT"
    )


def content_disposition(filename: str, disposition: str = "attachment") -> str:
    """Return the value of a Content-Disposition header (RFC 6266).

    A name that is more than plain ASCII is given twice: as it is, and as near to it as ASCII gets for clients that know
    no better.  What may not stand in a header or in a file's name is replaced by an underscore in the latter.

    Args:
        filename: the name.
        disposition: the type, a token: "attachment" or "inline".

    Raises ValueError for a type that is no token.
    """
    import re
    from unicodedata import combining, normalize
    from urllib.parse import quote

    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", disposition):
        raise ValueError(f"a content disposition type is a token such as 'attachment' or 'inline', not {disposition!r}")
    plain = "".join(character for character in normalize("NFKD", filename) if not combining(character))
    plain = re.sub(r'[^\x20-\x7e]|["\\/%]', "_", plain)
    value = f'{disposition}; filename="{plain or "download"}"'
    if plain == filename:
        return value
    name = quote(filename.encode("utf-8", "replace"), safe="!#$&+-.^_`|~")
    return f"{value}; filename*=utf-8''{name}"
