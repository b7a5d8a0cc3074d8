"""Names for what crosses the border between a server and this package.

The shapes are those of PEP 3333 and of the ASGI specification.  They are kept as plain aliases, because
the servers hand over plain dicts and callables, and because importing `asgiref.typing` costs a WSGI worker
ten milliseconds for names that only a type checker reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractAsyncContextManager
    from typing import Concatenate

    from dualroute.connection import HTTPConnection
    from dualroute.endpoints import HTTPEndpoint, WebSocketEndpoint
    from dualroute.exchange import Call
    from dualroute.requests import Request, SyncRequest
    from dualroute.responses import Response
    from dualroute.websockets import WebSocket

__all__ = [
    "ASGIApp",
    "AppType",
    "AsyncHandler",
    "Endpoint",
    "Environ",
    "ExcInfo",
    "ExceptionHandler",
    "Flow",
    "HTTPExceptionHandler",
    "Lifespan",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "StartResponse",
    "StatefulLifespan",
    "StatelessLifespan",
    "SyncHandler",
    "WebSocketExceptionHandler",
    "WebSocketHandler",
]

Scope: TypeAlias = MutableMapping[str, Any]
"""An ASGI connection scope."""

Message: TypeAlias = MutableMapping[str, Any]
"""An ASGI event."""

Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

Environ: TypeAlias = dict[str, Any]
"""A WSGI environ."""

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType]


class StartResponse(Protocol):
    """The second argument of a WSGI application (PEP 3333, "The start_response() Callable")."""

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """Take the status line and the header list; return the legacy `write` callable."""
        ...


WSGIApplication: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]
ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""Any ASGI application.  (The class that mounts one is `dualroute.ASGIApp`.)"""

# What a user writes.  A handler's colour says which request it is given; path parameters come by name.  In quotes, so
# that naming them imports nothing.

SyncHandler: TypeAlias = "Callable[Concatenate[SyncRequest[Any], ...], Response]"
AsyncHandler: TypeAlias = "Callable[Concatenate[Request[Any], ...], Awaitable[Response]]"

Endpoint: TypeAlias = "SyncHandler | AsyncHandler | type[HTTPEndpoint]"
"""What answers requests: a `def` taking a SyncRequest, an `async def` taking a Request, or an HTTPEndpoint class."""

WebSocketHandler: TypeAlias = "Callable[Concatenate[WebSocket[Any], ...], Awaitable[object]] | type[WebSocketEndpoint]"
"""What serves websockets: an `async def` taking a WebSocket, or a WebSocketEndpoint class."""

Flow: TypeAlias = "Generator[HTTPConnection | Call, Any, Response | None]"
"""What a middleware returns, for its annotation: it yields the connection, or a Call, and returns the response."""

ExceptionHandler: TypeAlias = "Callable[[Any, Any], Response | Awaitable[Response | None] | None]"
"""What answers an exception: a `def` or an `async def` taking the request and the exception."""

HTTPExceptionHandler: TypeAlias = "Callable[[Request[Any], Exception], Response | Awaitable[Response]]"
"""An exception handler for requests, in the form that Starlette has it in."""

WebSocketExceptionHandler: TypeAlias = "Callable[[WebSocket[Any], Exception], Awaitable[None]]"
"""An exception handler for websockets, in the form that Starlette has it in."""

AppType = TypeVar("AppType")
"""The app that a lifespan is called with."""

# What these return is named in quotes, which keeps contextlib out of it; what is subscribed later has to be there.

StatelessLifespan: TypeAlias = Callable[[AppType], "AbstractAsyncContextManager[None]"]
"""A lifespan that leaves nothing for requests."""

StatefulLifespan: TypeAlias = Callable[[AppType], "AbstractAsyncContextManager[Mapping[str, Any]]"]
"""A lifespan that yields what requests find in their state."""

Lifespan: TypeAlias = StatelessLifespan[AppType] | StatefulLifespan[AppType]
"""A lifespan, for annotations: ``Lifespan[DualRoute]``."""
