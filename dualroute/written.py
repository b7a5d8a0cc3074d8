r"""Responses written to their request: Tornado's oldest way to answer, for functions that are targets of rules.

    def answer(request):
        request.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        request.finish()

What is written is a whole HTTP message, status line, headers and body.  It is taken apart when the function returns,
and becomes a response like any other; what can't be taken apart is an error of the function's.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any

from dualroute.callables import describe
from dualroute.connection import HTTPConnection
from dualroute.delegates import HTTPServerRequest
from dualroute.foreign import MountedResponse
from dualroute.requests import Request, SyncRequest
from dualroute.responses import Response

__all__ = ["MalformedResponse", "WritableRequest", "WritableSyncRequest", "parsed", "writing"]

_STATUS_LINE = re.compile(r"HTTP/1\.[01] ([0-9]{3})(?: (.*))?")
_HEADER = re.compile(r"([^\s:]+):[ \t]*(.*?)[ \t]*")


class MalformedResponse(ValueError):
    """What a function wrote to its request is no HTTP response."""


class _Writable:
    """What both colours of writable requests have."""

    _pieces: list[bytes]
    _finished: bool
    _view: HTTPServerRequest | None
    _environ: Any
    _given_scope: Any
    _target: Any
    _mounted: str

    def write(self, chunk: bytes) -> None:
        """Write a part of the response, status line and headers first.  It is sent when the function has returned.

        Raises TypeError for what is no bytes, and RuntimeError after `finish`.
        """
        if not isinstance(chunk, bytes | bytearray | memoryview):
            raise TypeError(f"what is written to a request must be bytes, not {type(chunk).__name__}")
        if self._finished:
            raise RuntimeError("write() was called after finish()")
        self._pieces.append(bytes(chunk))

    def finish(self) -> None:
        """End the response.  Raises RuntimeError where it was ended before."""
        if self._finished:
            raise RuntimeError("finish() was called twice; a response is finished once, when all is written")
        self._finished = True

    @property
    def _seen(self) -> HTTPServerRequest:
        if self._view is None:
            path = self._target.path[len(self._mounted) :]
            self._view = HTTPServerRequest(self._given_scope, self._environ, self._target, path)
        return self._view

    @property
    def uri(self) -> str:
        """The percent-encoded path below the mounts, and the query."""
        return self._seen.uri

    @property
    def query(self) -> str:
        """The query string as sent, without its question mark."""
        return self._seen.query

    @property
    def version(self) -> str:
        """Always "HTTP/1.1"."""
        return self._seen.version

    @property
    def host(self) -> str:
        """The Host header, or what stands in for it."""
        return self._seen.host

    @property
    def host_name(self) -> str:
        """The host in lower case, without its port."""
        return self._seen.host_name

    @property
    def protocol(self) -> str:
        """The scheme, http or https."""
        return self._seen.protocol

    @property
    def remote_ip(self) -> str:
        """The peer's address."""
        return self._seen.remote_ip

    @property
    def arguments(self) -> dict[str, list[bytes]]:
        """The arguments of the query: the values of each name."""
        return self._seen.arguments

    @property
    def query_arguments(self) -> dict[str, list[bytes]]:
        """The same as `arguments`."""
        return self._seen.query_arguments

    def full_url(self) -> str:
        """Return the whole URL."""
        return self._seen.full_url()


class WritableRequest(_Writable, Request):
    """A request that an `async def` function may write its response to."""


class WritableSyncRequest(_Writable, SyncRequest):
    """A request that a `def` function may write its response to."""


def writing(function: Callable[..., Any], is_async: bool) -> Callable[..., Any]:
    """Return a function that calls `function` with a writable request, and returns what it returns or has written."""
    if is_async:

        async def answer_async(request: HTTPConnection, /, *args: Any, **kwargs: Any) -> Any:
            writable = _writable(request, WritableRequest)
            return _answer(function, writable, await function(writable, *args, **kwargs))

        return functools.update_wrapper(answer_async, function)

    def answer(request: HTTPConnection, /, *args: Any, **kwargs: Any) -> Any:
        writable = _writable(request, WritableSyncRequest)
        result = function(writable, *args, **kwargs)
        if isinstance(result, Awaitable):
            return _later(function, writable, result)
        return _answer(function, writable, result)

    return functools.update_wrapper(answer, function)


async def _later(function: Any, request: Any, result: Awaitable[Any]) -> Any:
    """Answer by what a plain function handed on to be awaited."""
    return _answer(function, request, await result)


def _writable(request: HTTPConnection, cls: Any) -> Any:
    writable: Any = request._as(cls)
    writable._pieces, writable._finished, writable._view = [], False, None
    return writable


def _answer(function: Any, request: _Writable, result: Any) -> Any:
    pieces = request._pieces
    if result is not None:
        if pieces:
            raise RuntimeError(f"{describe(function)} wrote to its request and returned something as well")
        return result
    if not request._finished:
        if pieces:
            raise RuntimeError(f"{describe(function)} wrote to its request and did not finish() it")
        raise TypeError(
            f"{describe(function)} returned None; it must return a Response, or write one to its request and finish()"
        )
    try:
        return parsed(b"".join(pieces), request._target.method)
    except ValueError as error:
        raise MalformedResponse(f"{describe(function)} wrote no HTTP response to its request: {error}") from error


def parsed(message: bytes, method: str) -> Response:
    """Return the response that an HTTP/1 message holds (RFC 9112 section 6).

    Args:
        message: the whole of it.
        method: the method of the request.

    Raises ValueError, quoting the line, for what is none.
    """
    head, end, body = message.partition(b"\r\n\r\n")
    if not end:
        raise ValueError("there is no empty line (\\r\\n\\r\\n) after the headers" if message else "it is empty")
    first, *lines = head.decode("latin-1").split("\r\n")
    start = _STATUS_LINE.fullmatch(first)
    if start is None:
        raise ValueError(f"the status line {first!r} is not of the form 'HTTP/1.1 200 OK'")
    if int(start[1]) < 200:
        raise ValueError(f"the status line {first!r} is that of an interim response, which is the server's affair")
    headers: list[tuple[str, str]] = []
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise ValueError(f"the header line {line!r} is not of the form 'Name: value'")
        headers.append((match[1], match[2]))
        if match[1].lower() == "transfer-encoding":
            raise ValueError(f"the header line {line!r} is the server's affair; write the body as it is")
    response = MountedResponse(int(start[1]), headers, start[2] or None)
    has_body = response.wire(method)[1]
    lengths = response.headers.getlist("content-length")
    if not lengths and has_body:
        response.headers["content-length"] = str(len(body))
    if lengths and (has_body or body) and lengths != [str(len(body))]:
        raise ValueError(f"the Content-Length is {', '.join(lengths)}, and the body has {len(body)} bytes")
    if "content-type" not in response.headers and response.status_code not in (204, 304):
        response.headers["content-type"] = "application/octet-stream"
    response.body = body if has_body else b""
    return response
