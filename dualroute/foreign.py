"""Foreign apps: WSGI and ASGI applications of other frameworks, as endpoints.

A mounted WSGI app is a `def` endpoint that returns a response, and a mounted ASGI app an `async def` one.  So each
works on both protocols, and the middleware, exception handlers and limits around it apply as they do to any endpoint.
`WSGIApp` and `ASGIApp` (in the adapters) are the two kinds; what they share is here, and how an app's kind is told.

An app is told by the arguments it is called with: ``(environ, start_response)`` or ``(scope, receive, send)``.  A
function that takes one argument, or further ones that are parameters of the path, is an endpoint and no app.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Collection, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, ClassVar

from dualroute.bodies import BUFFER_SIZE
from dualroute.callables import describe, is_async_callable
from dualroute.datastructures import MutableHeaders
from dualroute.exceptions import ClientDisconnect, HTTPException
from dualroute.exchange import Call
from dualroute.handlers import Handler
from dualroute.matching import MAX_DEPTH
from dualroute.responses import Response
from dualroute.serving import Servable

if TYPE_CHECKING:
    from dualroute.background import BackgroundTask, BackgroundTasks
    from dualroute.connection import HTTPConnection
    from dualroute.dispatch import Dispatcher
    from dualroute.exchange import Inside

__all__ = [
    "INSIDE",
    "AppAnswered",
    "AppBroken",
    "Crossing",
    "ForeignApp",
    "MountedResponse",
    "foreign_app",
    "note_depth",
    "protocol_of",
    "require_made_for",
]

logger: logging.Logger = logging.getLogger("dualroute")

DEFAULT_MAX_THREADS = 40


class AppBroken(RuntimeError):
    """A mounted app broke the rules of its protocol.  It becomes a 500 like any error of a handler."""


class AppAnswered(HTTPException):
    """A mounted app answered with an error status, and has ``intercept_errors`` set.

    The exception handler for the status may make another answer; `response()` is the app's own.
    """

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status_code)
        self._answer = answer

    def response(self) -> Response:
        """Return the app's own answer."""
        return self._answer


class MountedResponse(Response):
    """What a mounted app answered, before it is sent: its status and headers, and its body or where that comes from.

    Args:
        status_code: the HTTP status.
        headers: pairs of text.
        reason: the reason phrase, where the app gave one.

    Raises ValueError or TypeError for a header that may not be sent: see `MutableHeaders`.
    """

    def __init__(self, status_code: int, headers: Iterable[tuple[str, str]], reason: str | None = None) -> None:
        self.status_code: int = status_code
        self._headers = MutableHeaders.of(headers)
        self._given = (status_code, reason)

    @property
    def reason(self) -> str | None:  # type: ignore[override]  # read by those who send it, and by nobody set
        """The reason phrase that the app gave, for the status that it gave."""
        status_code, reason = self._given
        return reason if status_code == self.status_code else None


INSIDE = "dualroute.inside"
"""Where the scope or environ that a middleware is given leads to its `Crossing`."""


_DEPTH = "dualroute.depth"


def note_depth(connection: HTTPConnection, given: MutableMapping[str, Any], app: ForeignApp) -> None:
    """Note in the scope or environ that an app is given how many apps it is inside of.

    Raises HTTPException(404) where there are more than `MAX_DEPTH`: one that has been mounted inside itself has no end.
    """
    outside = connection._environ if connection._environ is not None else connection._given_scope
    depth = 1 + ((outside or {}).get(_DEPTH) or 0)
    if depth > MAX_DEPTH:
        logger.warning("%s leads back into itself, and was left after %d times: 404", app.described(), MAX_DEPTH)
        raise HTTPException(404)
    given[_DEPTH] = depth


class Crossing:
    """One connection on its way through a middleware that was written for one protocol.

    Args:
        connection: the connection as it is outside.
        inside: what is further in.
    """

    background: BackgroundTask | BackgroundTasks | None = None
    """What is to run after the response: that of what is further in, whatever the middleware makes of its response."""

    outer: Crossing | None = None
    """That of the middleware around this one, where nothing is between them."""

    def __init__(self, connection: HTTPConnection, inside: Inside) -> None:
        self.connection: Any = connection
        self.inside: Inside = inside

    def cause_of(self, error: Exception, *, cut_short: bool) -> Exception:
        """Return what an error comes down to: where the client stopped short, that, whatever was made of it."""
        if not cut_short or isinstance(error, ClientDisconnect):
            return error
        gone = ClientDisconnect()
        gone.__cause__ = error
        return gone

    def answered(self, response: Response | None) -> Response:
        """Take in the response of what is further in, and return it."""
        assert response is not None, "the exchange of a request returns a response"
        crossing: Crossing | None = self
        while crossing is not None:
            crossing.background = response.background
            crossing = crossing.outer
        return response


_ARTICLES = {"ASGI": "an", "WSGI": "a"}


class ForeignApp(Servable):
    """The base of WSGIApp and ASGIApp.

    Args:
        app: the application.
        buffer_size: how many bytes at most wait between the app and the server, each way, where they run in different
            threads.
        intercept_errors: True to have the exception handlers for a status answer where the app answers with an error
            status (400 and up); by default the app's own answer stands.
        max_threads: how many requests may be in threads at once, where this is served as it is and not mounted.

    Raises TypeError for what can't be called, or takes the arguments of the other protocol.
    """

    protocol: ClassVar[str] = ""
    """Which protocol the app speaks: "WSGI" or "ASGI"."""

    has_lifespan: bool = False
    """Whether it has a start-up and a shutdown."""
    handler: Handler
    """What answers a request."""
    bare_handler: Handler | None = None
    """What answers it where nothing stands around the app."""
    websocket_handler: Handler | None = None
    """What serves a websocket."""

    def __init__(
        self,
        app: Any,
        *,
        buffer_size: int = BUFFER_SIZE,
        intercept_errors: bool = False,
        max_threads: int = DEFAULT_MAX_THREADS,
    ) -> None:
        name = type(self).__name__
        kind = f"{_ARTICLES[self.protocol]} {self.protocol}"
        if not callable(app):
            raise TypeError(f"{name} takes {kind} application, not {app!r}")
        if isinstance(app, ForeignApp):
            raise TypeError(f"{name} takes the application itself, not {app!r}")
        told = protocol_of(app)
        if told is not None and told != self.protocol:
            raise TypeError(
                f"{name} takes {kind} application; {shown(app)} is called like {_ARTICLES[told]} {told} one"
            )
        if buffer_size < 1:
            raise ValueError(f"buffer_size is a number of bytes, at least 1, not {buffer_size}")
        if max_threads < 1:
            raise ValueError(f"max_threads must be at least 1, not {max_threads}")
        self.app: Any = app
        self.buffer_size: int = buffer_size
        self.intercept_errors: bool = intercept_errors
        self.max_threads: int = max_threads
        self._pass_for_asgi()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({shown(self.app)})"

    def share_life(self, other: ForeignApp) -> None:
        """Have the same start-up and shutdown as `other`, which is around the same app."""

    async def startup(self) -> None:
        """Start what has to be there before the first request.  Raises what that failed with."""

    async def shutdown(self, grace: float) -> None:
        """End what was started, within `grace` seconds."""

    def described(self) -> str:
        """Return how a log line or an error names the app."""
        return f"the {self.protocol} app {shown(self.app)}"

    def _answered(self, response: Response) -> Response:
        """Return a response of the app's, or raise AppAnswered where the exception handlers are to have a say."""
        if self.intercept_errors and response.status_code >= 400:
            raise AppAnswered(response)
        return response

    def _make_dispatcher(self) -> Dispatcher:
        from dualroute.dispatch import Dispatcher
        from dualroute.routing import Router

        return Dispatcher(Router(default=self))


class StreamingHandler(Handler):
    """A `def` that returns a response; where it runs in a thread, that thread may as well read on in its body.

    Args:
        function: called with the request; returns a response.
        buffer_size: how many bytes may be read ahead of what was sent.
        reads_body: False for one that has no use for the body of the request.

    `gives_pieces` tells whether the last response had a body to iterate over, as a guess at the next one.
    """

    __slots__ = ("buffer_size", "gives_pieces", "reads_body")

    def __init__(self, function: Callable[..., Any], *, buffer_size: int, reads_body: bool = True) -> None:
        super().__init__(function)
        self.buffer_size: int = buffer_size
        self.reads_body: bool = reads_body
        self.gives_pieces: bool = False

    def call(self, connection: Any) -> Call:
        return Call.known(self.function, (connection,), False, False, self)


def protocol_of(app: Any) -> str | None:
    """Tell by its signature whether a callable is a WSGI or an ASGI app; None where it is neither, or can't be told."""
    required, most = _arity(app)
    if is_async_callable(app):
        return "ASGI" if required <= 3 <= most and required > 1 else None
    if required == 2:
        return "WSGI"
    return "ASGI" if required == 3 else None


def require_made_for(protocol: str, app: Any, cls: Callable[..., Any]) -> None:
    """Raise TypeError unless `app`, which a middleware class has made, may be an application of `protocol`."""
    told = protocol_of(app) if callable(app) else None
    if callable(app) and told in (None, protocol):
        return
    name = describe(cls).rpartition(".")[2]
    hint = "" if told is None else f"; write {'WSGIMiddleware' if told == 'WSGI' else 'Middleware'}({name}, …)"
    raise TypeError(
        f"{describe(cls)} takes an application to be around, and makes {shown(app) if callable(app) else repr(app)},"
        f" which is not called like {_ARTICLES[protocol]} {protocol} application{hint}"
    )


def _arity(app: Any) -> tuple[int, float]:
    """Return how many positional arguments a callable must and may be given; (0, inf) where that can't be told."""
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):  # some callables written in C have no signature
        call = getattr(app, "__call__", app)  # noqa: B004  # an instance may have one of its own, in a slot
        if not inspect.ismethod(call):
            return 0, float("inf")
        parameters = inspect.signature(call).parameters.values()
    required, most = 0, 0.0
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = float("inf")
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            required += parameter.default is parameter.empty
    return required, most


def foreign_app(app: Any, params: Collection[str], where: str) -> ForeignApp | None:
    """Return the foreign app that `app` is, or None where it is to be taken for an endpoint.

    Args:
        app: what was given to a Mount, a Host, or as a default or fallback.
        params: the names of the path parameters there.
        where: how an error message names the place.

    Raises TypeError for a callable that fits no protocol.
    """
    if isinstance(app, ForeignApp):
        return app
    if not callable(app) or _is_endpoint(app, params):
        return None
    protocol = protocol_of(app)
    if protocol is None:
        raise TypeError(
            f"{where}: {shown(app)}{_signature(app)} is neither an endpoint, called with a request, nor a WSGI app,"
            " called with (environ, start_response), nor an ASGI app, called with (scope, receive, send); if it is an"
            " app, say so by WSGIApp(…) or ASGIApp(…)"
        )
    from dualroute.applications import foreign_class

    return foreign_class(protocol)(app)


def _is_endpoint(app: Any, params: Collection[str]) -> bool:
    if isinstance(app, type):
        from dualroute.endpoints import HTTPEndpoint

        return issubclass(app, HTTPEndpoint)
    try:
        parameters = list(inspect.signature(app).parameters.values())
    except (TypeError, ValueError):
        return False
    taken = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    if not taken:
        return False
    if taken[0].name in ("request", "connection"):
        return True
    # The request comes first, and what is required beyond it can only be parameters of the path.
    return all(item.name in params for item in taken[1:] if item.default is item.empty)


def _signature(app: Any) -> str:
    try:
        return str(inspect.signature(app))
    except (TypeError, ValueError):
        return ""


def shown(app: Any) -> str:
    """Return how a message names an app: a function or class by its name, an instance by its class and itself."""
    if inspect.isroutine(app) or isinstance(app, type) or hasattr(app, "func"):
        return describe(app)
    text = repr(app)
    name = describe(app)
    return name if text.startswith(f"<{name} object at") else f"{name} {text}"[:200]
