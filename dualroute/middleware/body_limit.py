"""A limit on request bodies as a middleware, under the name that Starlette has it by."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection
    from dualroute.responses import Response

__all__ = ["RequestBodyLimitMiddleware"]


class RequestBodyLimitMiddleware:
    """Has a request body of more bytes answered 413: what ``Limits(max_body_size=…)`` does, as a middleware.

    Of several of these the innermost counts.  Beside `Limits`, the smaller number counts, since a middleware is not
    told which of the two is further in; so use `Limits` alone where a route is to take more than its app.

    Args:
        max_body_size: how many bytes a body may have.

    Raises ValueError for what is no number of bytes.
    """

    def __init__(self, max_body_size: int) -> None:
        if not isinstance(max_body_size, int) or max_body_size < 0:
            raise ValueError(f"RequestBodyLimitMiddleware: max_body_size is a number of bytes, not {max_body_size!r}")
        self.max_body_size = max_body_size

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response]:
        """Set the limit for what is further in."""
        connection.limit_body(self.max_body_size)
        response: Response = yield connection
        return response
