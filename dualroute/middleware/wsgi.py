"""WSGIMiddleware: middleware that others have written for WSGI applications (PEP 3333), around what is further in.

    app = DualRoute(routes, middleware=[WSGIMiddleware(ProfilerMiddleware, sort_by=("time",))])

It is made once, and works on both protocols, wherever middleware is taken.  Under WSGI it is called in the server's
thread, and under ASGI in a thread of the pool, with the rest of the exchange inside it: each `def` there is called in
the same thread, while an `async def` runs on the event loop and the thread waits.  Inside it, `request.environ` is what
the middleware has passed on, under ASGI too.  What is to touch WSGI alone may as well go into `wsgi_middleware=`.

Routing has been done before any middleware: a path that it rewrites leads nowhere else.  It is for requests; websocket
handshakes pass it by.

To mount a WSGI application takes no middleware: hand it to a `Mount`, a `Host` or `fallback=` as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from dualroute.exchange import Nest, Outermost
from dualroute.foreign import protocol_of

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection
    from dualroute.exchange import Plan
    from dualroute.responses import Response

__all__ = ["WSGIMiddleware"]


class WSGIMiddleware:
    """A WSGI middleware class with its options, as a middleware for both protocols.

    Args:
        cls: the class, or a function; it is called with a WSGI application and the rest, and returns another one.
        args: further positional arguments.
        options: keyword arguments.

    Raises TypeError where what comes of that is called like an ASGI application, or can't be called, and what `cls`
    raises.

    Starlette has a class of this name that makes an ASGI application of a WSGI one: given a WSGI application and
    nothing else, this returns a `WSGIApp`, which can be mounted.
    """

    def __new__(cls, *args: Any, **options: Any) -> Any:
        """Return a middleware, or a WSGIApp."""
        app = args[0] if len(args) == 1 and not options else None
        if callable(app) and not isinstance(app, type) and protocol_of(app) == "WSGI":
            from dualroute.applications import foreign_class

            return foreign_class("WSGI")(app)
        return super().__new__(cls)

    def __init__(self, cls: Callable[..., Any], *args: Any, **options: Any) -> None:
        from dualroute.applications import surrounding_class

        self.cls: Callable[..., Any] = cls
        self._surrounding: Any = surrounding_class("WSGI")(cls, args, options)

    def __outermost__(self, plan: Plan) -> Any:
        """Return what answers requests by itself, where this is the outermost middleware of `plan`."""
        return Outermost(self._surrounding.respond_around, plan, is_async=False)

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response | None]:
        """Have the middleware answer, with what is further in inside it."""
        surrounding = self._surrounding
        call = Nest.known(surrounding.respond_around, (connection,), False, False, surrounding.handler)
        response: Response | None = yield call
        return response
