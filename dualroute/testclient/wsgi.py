"""A request to a WSGI app (PEP 3333), in the thread of the test."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx

from dualroute.failures import unhandled
from dualroute.testclient.checks import AnswerStream, Checked, ProtocolViolation, raise_later, require
from dualroute.types import ExcInfo

__all__ = ["WSGIAnswer", "WSGITransport"]

_STATUS = re.compile(r"[1-9][0-9]{2} [^\x00-\x1f\x7f]*")

# PEP 3333, "Other HTTP Features", and RFC 2616 section 13.5.1, to which it refers.
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
    )
)


class WSGITransport(httpx.BaseTransport):
    """Calls a WSGI app as a server does.

    Args:
        app: the app.
        raise_server_exceptions: whether its exceptions are raised in the test.
        root_path: where the app is mounted: SCRIPT_NAME.
        client: the address of the client.
    """

    def __init__(self, app: Any, raise_server_exceptions: bool, root_path: str, client: tuple[str, int]) -> None:
        self.app = app
        self.raise_server_exceptions = raise_server_exceptions
        self.root_path = root_path
        self.client = client
        self._open: set[WSGIAnswer] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = WSGIAnswer(self.app, request, self.raise_server_exceptions)
        self._open.add(answer)
        answer.forget = self._open.discard
        return answer.response(_environ(request, self.root_path, self.client))

    def close(self) -> None:
        """Leave what is still open."""
        for answer in list(self._open):
            answer.leave()


def _environ(request: httpx.Request, root_path: str, client: tuple[str, int]) -> dict[str, Any]:
    url = request.url
    raw_path, _, query = url.raw_path.partition(b"?")
    path, prefix = unquote_to_bytes(raw_path), root_path.encode()
    if prefix and (path == prefix or path.startswith(prefix + b"/")):
        path = path[len(prefix) :]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": prefix.decode("latin-1"),
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": url.host,
        "SERVER_PORT": str(url.port or (443 if url.scheme == "https" else 80)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url.scheme,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    for raw_name, raw_value in request.headers.raw:
        if b"_" in raw_name:
            continue  # the environ could not tell it from the name with a hyphen, so servers leave it out
        key = raw_name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
            key = f"HTTP_{key}"
        value = raw_value.decode("latin-1")
        if key in environ:
            value = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
        environ[key] = value
    return environ


class _Upload(io.RawIOBase):
    """The body of a request as a file."""

    def __init__(self, pieces: Iterator[bytes], answer: WSGIAnswer) -> None:
        self._pieces = pieces
        self._answer = answer
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            while not self._rest:
                self._rest = next(self._pieces)
        except StopIteration:
            return 0
        except BaseException as error:
            self._answer.upload_error = error
            raise
        piece = self._rest[: len(buffer)]
        self._rest = self._rest[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)


class WSGIAnswer:
    """One request to a WSGI app, under way.

    Args:
        app: the app.
        request: the request.
        raise_server_exceptions: whether exceptions are raised in the test.

    `upload_error` is what reading the body of the request failed with.
    """

    upload_error: BaseException | None = None
    forget: Callable[[WSGIAnswer], object] | None = None

    def __init__(self, app: Any, request: httpx.Request, raise_server_exceptions: bool) -> None:
        self._app = app
        self._request = request
        self._raise = raise_server_exceptions
        self._errors: list[BaseException] = []
        self._context = copy_context()
        self._context.run(unhandled.set, self._errors)
        self._checked: Checked | None = None
        self._result: Any = None
        self._iterator: Any = None
        # What came before the response was returned: by `write`, or in looking for the status.
        self._ready: list[bytes] = []
        self._sent = False
        self._closed = False

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Take the status and the headers from the app, as PEP 3333 has it ("The start_response Callable").

        Raises ProtocolViolation; and the exception in `exc_info`, where the response has begun.
        """
        require(type(status) is str, f"the status is a str, not {status!r}")
        require(_STATUS.fullmatch(status), f"the status is not of the form '200 OK': {status!r}")
        require(type(headers) is list, f"the headers are a list, not {type(headers).__name__}")
        raw: list[tuple[bytes, bytes]] = []
        for header in headers:
            require(
                type(header) is tuple and len(header) == 2 and all(type(text) is str for text in header),
                f"a header is a tuple of two strs, not {header!r}",
            )
            name, value = header
            require(name.lower() not in _HOP_BY_HOP, f"the header {name!r} is the server's business")
            try:
                raw.append((name.encode("latin-1"), value.encode("latin-1")))
            except UnicodeEncodeError:
                raise ProtocolViolation(f"a header has only characters of Latin-1, unlike {header!r}") from None
        checked = Checked(self._request.method, int(status[:3]), raw)
        try:
            if exc_info is None:
                require(self._checked is None, "start_response was called twice, the second time without exc_info")
            elif self._sent:
                raise exc_info[1].with_traceback(exc_info[2])
        finally:
            exc_info = None  # no cycle
        self._checked = checked
        return self._write

    def _write(self, data: bytes) -> None:
        self._ready.append(self._counted(data))

    def _counted(self, data: Any) -> bytes:
        require(type(data) is bytes, f"the body is of bytes, and not of {type(data).__name__}: {data!r:.100}")
        if self._checked is None:
            raise ProtocolViolation("a piece of the body came before start_response was called")
        self._sent = self._sent or bool(data)
        return self._checked.count(data)

    def response(self, environ: dict[str, Any]) -> httpx.Response:
        """Call the app, and return its response when that has begun.  Raises what the app failed with."""
        assert isinstance(self._request.stream, httpx.SyncByteStream)
        environ["wsgi.input"] = io.BufferedReader(_Upload(iter(self._request.stream), self))
        failure: Exception | None = None
        try:
            self._call(environ)
        except Exception as error:
            failure = error
        except BaseException:
            self.leave()
            raise
        if failure is not None:
            self.leave()
            self._raise_failure(failure)
            return httpx.Response(500, request=self._request, extensions=_HTTP)
        checked = self._checked
        assert checked is not None, "the status comes with the first piece"
        if self.upload_error is not None or (self._errors and self._raise):
            for _ in self.pieces():
                pass
        return httpx.Response(
            checked.status, headers=checked.headers, stream=AnswerStream(self), request=self._request, extensions=_HTTP
        )

    def _call(self, environ: dict[str, Any]) -> None:
        self._result = self._context.run(self._app, environ, self.start_response)
        require(
            hasattr(self._result, "__iter__") and not isinstance(self._result, str | bytes),
            f"the app returned {type(self._result).__name__}, and not an iterable of bytes",
        )
        self._iterator = self._context.run(iter, self._result)
        # An app may call start_response as late as for its first piece.
        while self._checked is None and self._advance():
            pass
        require(self._checked is not None, "the app did not call start_response")

    def _advance(self) -> bool:
        """Get the next piece ready; tell whether there was one."""
        piece = self._context.run(next, self._iterator, _END)
        if piece is _END:
            return False
        self._ready.append(self._counted(piece))
        return True

    def pieces(self) -> Iterator[bytes]:
        failure: Exception | None = None
        try:
            while True:
                while self._ready:
                    piece = self._ready.pop(0)
                    if piece:
                        yield piece
                if not self._advance():
                    break
            assert self._checked is not None, "what has pieces has a status"
            self._checked.end()
        except GeneratorExit:
            raise
        except Exception as error:
            failure = error
        except BaseException:
            self.leave()
            raise
        if failure is None:
            self.close()
            return
        self.leave()
        self._raise_failure(failure)
        raise httpx.RemoteProtocolError("the app cut its response short", request=self._request) from failure

    def close(self) -> None:
        if not self._closed:
            self._raise_failure(self._close())

    def leave(self) -> None:
        """End the request, whatever the app failed with."""
        if not self._closed:
            self._close()

    def _close(self) -> Exception | None:
        """Close the iterable, and return what that failed with."""
        self._closed = True
        try:
            close = getattr(self._result, "close", None)
            if close is not None:
                self._context.run(close)
        except Exception as error:
            return error
        finally:
            if self.forget is not None:
                self.forget(self)
        return None

    def _raise_failure(self, failure: BaseException | None) -> None:
        """Raise what the app failed with, if the test wants to see it."""
        if self.upload_error is not None:
            raise_later(self.upload_error)
        if isinstance(failure, ProtocolViolation):
            raise_later(failure)
        if self._raise and (self._errors or failure is not None):
            raise_later(self._errors[0] if self._errors else failure)  # type: ignore[arg-type]  # one of them is there


_END: Any = object()
_HTTP: dict[str, Any] = {"http_version": b"HTTP/1.1"}
