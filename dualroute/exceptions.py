"""The exceptions that handlers raise and meet."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from dualroute.responses import PlainTextResponse, Response

__all__ = [
    "BodyTooLarge",
    "ClientDisconnect",
    "HTTPException",
    "HandlerTimeout",
    "MalformedBody",
    "MultiPartException",
    "NoMatchFound",
    "ResponseCut",
    "TooBusy",
    "WebSocketDisconnect",
    "WebSocketException",
]


class HTTPException(Exception):
    """Raised by a handler or a middleware to answer with an error status.

    Args:
        status_code: the HTTP status, 400 to 599 (any status is taken).
        detail: the text of the answer; the status's reason phrase where it is None.
        headers: further response headers.
    """

    def __init__(self, status_code: int, detail: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        if detail is None:
            try:
                detail = HTTPStatus(status_code).phrase
            except ValueError:
                detail = f"Status {status_code}"
        self.status_code = status_code
        self.detail = detail
        self.headers = headers
        super().__init__(status_code, detail)

    def __str__(self) -> str:
        return f"{self.status_code}: {self.detail}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(status_code={self.status_code!r}, detail={self.detail!r})"

    def response(self) -> Response:
        """Return the answer that is given where no exception handler makes another."""
        if self.status_code in (204, 205, 304):
            return Response(status_code=self.status_code, headers=self.headers)
        return PlainTextResponse(self.detail, status_code=self.status_code, headers=self.headers)


class MalformedBody(HTTPException, ValueError):
    """The body of a request is not what its reader was asked for, such as JSON that does not parse: status 400.

    Args:
        detail: what the client is told.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(400, detail)


class MultiPartException(MalformedBody):
    """A form can't be parsed: status 400.

    Args:
        message: why.
    """

    def __init__(self, message: str) -> None:
        super().__init__(f"Bad Request: {message}")
        self.message = message


class BodyTooLarge(HTTPException):
    """The body of a request has more of something than `Limits` allow: status 413.

    Args:
        limit: how much is allowed.
        message: of what; bytes of the whole body where it is None.
    """

    def __init__(self, limit: int, message: str | None = None) -> None:
        self.limit = limit
        self.message: str = message or f"the request body may have {limit} bytes"
        super().__init__(413, f"Content Too Large: {self.message}")


class HandlerTimeout(HTTPException):
    """A response was not there within the ``timeout=`` that its route has: status 503.

    Args:
        timeout: how many seconds there were.
    """

    def __init__(self, timeout: float) -> None:
        super().__init__(503, f"Service Unavailable: there was no answer within {timeout:g} s")
        self.timeout = timeout


class TooBusy(HTTPException):
    """A request needs a thread, and too many wait for one already: status 503.  It may be sent again in a second."""

    def __init__(self) -> None:
        super().__init__(503, "Service Unavailable: too many requests wait", headers={"retry-after": "1"})


class ClientDisconnect(Exception):
    """The client went away, or stopped short of the body length that it had announced."""


class ResponseCut(ConnectionResetError):
    """Raised towards the server to cut a connection whose response failed half-way, after the failure was logged.

    It is a connection reset by name and number, so that servers which pass over those in silence do so here.
    """

    def __init__(self) -> None:
        import errno

        super().__init__(errno.ECONNRESET, "the response failed half-way and was cut short; the cause is logged above")


class WebSocketException(Exception):
    """Raised by a websocket handler to close the connection.

    Args:
        code: the close code (RFC 6455 section 7.4).
        reason: the close reason, at most 123 bytes of UTF-8.
    """

    def __init__(self, code: int, reason: str | None = None) -> None:
        self.code = code
        self.reason: str = reason or ""
        super().__init__(code, self.reason)

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class WebSocketDisconnect(Exception):
    """The peer closed the websocket, or it broke.

    Args:
        code: the close code: 1005 where the peer gave none, 1006 where the connection broke.
        reason: the close reason.
    """

    def __init__(self, code: int = 1000, reason: str | None = None) -> None:
        self.code = code
        self.reason: str = reason or ""
        super().__init__(code, self.reason)


class NoMatchFound(Exception):
    """No route has the name and takes the parameters that a reverse look-up asked for.

    Args:
        name: the name that was asked for.
        path_params: the parameters that were given with it.
        reason: what is known about why, such as the nearest name that exists.
    """

    def __init__(self, name: str, path_params: Mapping[str, Any], reason: str = "") -> None:
        given = ", ".join(f"{key}={value!r}" for key, value in path_params.items())
        super().__init__(f"no route named {name!r} takes {given or 'no parameters'}{reason}")
        self.name = name
        self.path_params: dict[str, Any] = dict(path_params)
