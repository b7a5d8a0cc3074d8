"""A name for each request: on the response, for the handlers, and on every line that is logged for it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from dualroute.datastructures import MutableHeaders
from dualroute.responses import Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["RequestIDFilter", "RequestIDMiddleware", "request_id"]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being answered; None outside of one."""

# What can stand in a header, a log line and a URL without harm; a client chooses it.
_WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")


def new_id() -> str:
    """Return 32 random hexadecimal digits."""
    from secrets import token_hex

    return token_hex(16)


class RequestIDMiddleware:
    """Gives each request an id: in ``request.state.request_id``, in the variable `request_id` and on the response.

    One that comes with the request is kept if it is well-formed: at most 128 letters, digits and ``. _ : + / = @ -``,
    the first a letter or digit.

    Args:
        header: the header, in both directions.
        accept: False to pass over an id that comes with the request.
        generate: makes one; it must not block.

    Raises ValueError for what can be no header name.
    """

    __covers__: frozenset[str] = frozenset(("http", "websocket"))

    def __init__(
        self, header: str = "x-request-id", *, accept: bool = True, generate: Callable[[], str] = new_id
    ) -> None:
        MutableHeaders({header: ""})
        self._header = header.lower()
        self._accept = accept
        self._generate = generate

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response | None]:
        """Name the request, and label its response."""
        given = connection.headers.get(self._header) if self._accept else None
        name = given if given is not None and _WELL_FORMED.fullmatch(given) else self._generate()
        connection.state.request_id = name
        request_id.set(name)

        def label(response: Response) -> None:
            response.headers[self._header] = name

        connection.amend(label)
        response: Response | None = yield connection
        if response is not None:
            label(response)
        return response


class RequestIDFilter(logging.Filter):
    """Gives log records a ``request_id``, for a format such as ``%(request_id)s %(message)s``; ``-`` outside requests.

    It goes on a handler, so that the records of every logger pass it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Take any record, and name its request."""
        record.request_id = request_id.get() or "-"
        return True
