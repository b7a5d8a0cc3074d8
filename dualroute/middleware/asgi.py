"""ASGIMiddleware: middleware that others have written for ASGI applications, around what is further in.

    app = DualRoute(routes, middleware=[Middleware(CorrelationIdMiddleware, header_name="X-Request-ID")])

`Middleware` takes such a class where the application that it wants to be around is its first argument, and called `app`
or the like; `ASGIMiddleware` takes any, and any function that returns an ASGI application.  It is made once, and works
on both protocols, for requests and for websocket handshakes, wherever middleware is taken.

Under ASGI it is awaited where it stands, with the rest of the exchange inside it; around it, a response that it makes
is handed on piece by piece.  Under WSGI it runs on the worker's event loop, and each `def` inside it in the server's
thread, so a request changes threads a few times.  What is to touch ASGI alone may as well go into `asgi_middleware=`.

Routing has been done before any middleware: a path that it rewrites leads nowhere else.  It is not told of lifespans.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, ClassVar

from dualroute.exchange import Nest, Outermost

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection
    from dualroute.exchange import Plan
    from dualroute.responses import Response

__all__ = ["ASGIMiddleware"]


class ASGIMiddleware:
    """An ASGI middleware class with its options, as a middleware for both protocols.

    Args:
        cls: the class, or a function; it is called with an ASGI application and the rest, and returns another one.
        args: further positional arguments.
        options: keyword arguments.

    Raises TypeError where what comes of that is called like a WSGI application, and what `cls` raises.
    """

    __covers__: ClassVar[frozenset[str]] = frozenset(("http", "websocket"))

    def __init__(self, cls: Callable[..., Any], *args: Any, **options: Any) -> None:
        from dualroute.applications import surrounding_class

        self.cls: Callable[..., Any] = cls
        self._surrounding: Any = surrounding_class("ASGI")(cls, args, options)

    def __outermost__(self, plan: Plan) -> Any:
        """Return what answers requests by itself, where this is the outermost middleware of `plan`."""
        return Outermost(self._surrounding.respond_around, plan, is_async=True)

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response | None]:
        """Have the middleware answer, with what is further in inside it."""
        answer = self._surrounding.serve_around if connection.is_websocket else self._surrounding.respond_around
        response: Response | None = yield Nest.known(answer, (connection,), True)
        return response
