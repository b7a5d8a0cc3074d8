"""The answer to what nobody handles: a plain 500, a handler's, or, in debug mode, a page that shows the error."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from dualroute.callables import is_async_callable
from dualroute.exceptions import ClientDisconnect, HTTPException
from dualroute.exchange import Call, log_unhandled
from dualroute.responses import HTMLResponse, PlainTextResponse, Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["ServerErrorMiddleware"]


class ServerErrorMiddleware:
    """Answers exceptions that no exception handler takes, and logs them.

    An application does so without it: this is for another answer somewhere inside, and for debugging.
    ``DualRoute(debug=True)`` puts it outermost.  There is no ExceptionMiddleware, since exception handlers work at
    every layer.

    Args:
        handler: called with the request and the exception, `def` or `async def`; returns the response.
        debug: True to answer by a page with the traceback, the source lines and the variables (text without the
            variables where the client takes no HTML).  It is for development: what it shows is nobody else's business.

    Raises TypeError for a handler that is none.
    """

    def __init__(self, handler: Callable[[Any, Exception], Any] | None = None, debug: bool = False) -> None:
        if handler is not None and not callable(handler):
            raise TypeError(f"ServerErrorMiddleware: the handler is a function, not {handler!r}")
        self.handler: Callable[[Any, Exception], Any] | None = handler
        self.debug: bool = debug

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response]:
        """Answer what comes out as an exception."""
        try:
            response: Response = yield connection
        except (HTTPException, ClientDisconnect):
            raise
        except Exception as error:
            if not self.debug and self.handler is None:
                raise
            log_unhandled(connection, error)
            failure = error
        else:
            return response
        try:
            if self.debug:
                # Sources are read from files, and variables may take their time to describe themselves.
                return connection.amended((yield Call(debug_response, connection, failure)))
            assert self.handler is not None, "without a handler the exception goes on"
            is_async = is_async_callable(self.handler)
            answer: Response = yield Call.known(self.handler, (connection.in_colour(is_async), failure), is_async)
            return connection.amended(answer) if isinstance(answer, Response) else answer
        finally:
            del failure  # no cycle with the traceback, in which this frame is


def debug_response(connection: HTTPConnection, error: Exception) -> Response:
    """Return the page, or the text, that shows an error."""
    headers = {"cache-control": "no-store", "x-robots-tag": "none"}
    if "text/html" in connection.headers.get("accept", ""):
        from dualroute.middleware.debugpage import debug_page

        return HTMLResponse(debug_page(connection, error), status_code=500, headers=headers)
    import traceback

    text = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace")
    return PlainTextResponse(text, status_code=500, headers=headers)
