"""Who a client is and what it may do: what `AuthenticationMiddleware` and its backends deal in, and `requires`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec
from urllib.parse import urlencode

from dualroute.callables import describe, is_async_callable
from dualroute.exceptions import HTTPException, WebSocketException
from dualroute.responses import RedirectResponse, Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = [
    "AuthCredentials",
    "AuthenticationBackend",
    "AuthenticationError",
    "BaseUser",
    "SimpleUser",
    "UnauthenticatedUser",
    "has_required_scope",
    "requires",
]

_P = ParamSpec("_P")

_NAMES = ("request", "websocket", "connection", "conn")


class AuthenticationError(Exception):
    """Raised by a backend where what the client brought to prove itself is no good."""


class AuthCredentials:
    """What a client may do.

    Args:
        scopes: names, which `requires` asks for.
    """

    def __init__(self, scopes: Sequence[str] | None = None) -> None:
        self.scopes: list[str] = list(scopes or ())


class BaseUser:
    """Who a client is; the base of classes for that."""

    @property
    def is_authenticated(self) -> bool:
        """Whether the client has proved who it is."""
        raise NotImplementedError

    @property
    def display_name(self) -> str:
        """The name for people."""
        raise NotImplementedError

    @property
    def identity(self) -> str:
        """The name for programs."""
        raise NotImplementedError


class SimpleUser(BaseUser):
    """A user with a name and nothing else.

    Args:
        username: the name.
    """

    def __init__(self, username: str) -> None:
        self.username: str = username

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return self.username

    @property
    def identity(self) -> str:
        return self.username


class UnauthenticatedUser(BaseUser):
    """Nobody in particular."""

    @property
    def is_authenticated(self) -> bool:
        return False

    @property
    def display_name(self) -> str:
        return ""

    @property
    def identity(self) -> str:
        return ""


class AuthenticationBackend:
    """Finds out who a client is; the base of backends."""

    def authenticate(
        self, conn: Any
    ) -> tuple[AuthCredentials, BaseUser] | Awaitable[tuple[AuthCredentials, BaseUser] | None] | None:
        """Return what the client may do and who it is, or None for nobody.  It may be `def` or `async def`.

        Args:
            conn: the request or the websocket handshake.

        Raises AuthenticationError where what the client brought is no good.
        """
        raise NotImplementedError


def has_required_scope(conn: HTTPConnection, scopes: Sequence[str]) -> bool:
    """Tell whether a client has all of these scopes."""
    return all(scope in conn.auth.scopes for scope in scopes)


def requires(
    scopes: str | Sequence[str], status_code: int = 403, redirect: str | None = None
) -> Callable[[Callable[_P, Any]], Callable[_P, Any]]:
    """Let only clients with these scopes call an endpoint: a function of either colour, a method, or a websocket's.

    Others get the status, or are redirected (303) to the route called `redirect`, with the URL that they asked for as
    the query parameter ``next``.  A websocket handshake is refused with the status; a websocket that was accepted
    before is closed with 1008.

    Args:
        scopes: one scope or several.
        status_code: the status for a client that lacks one.
        redirect: the name of a route to go to in place of that.

    Raises TypeError for a function without an argument called ``request`` or ``websocket``.
    """
    wanted = [scopes] if isinstance(scopes, str) else list(scopes)

    def decorate(function: Callable[_P, Any]) -> Callable[_P, Any]:
        if isinstance(function, type) or not callable(function):
            raise TypeError(f"requires() goes on functions and methods, not on {function!r}")
        names = list(inspect.signature(function).parameters)
        found = [name for name in names if name in _NAMES]
        if not found:
            raise TypeError(
                f"requires() goes on a function with an argument called 'request' or 'websocket';"
                f" {describe(function)}({', '.join(names)}) has none"
            )
        name, index = found[0], names.index(found[0])

        def refusal(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Response | None:
            connection: HTTPConnection = args[index] if index < len(args) else kwargs[name]
            if has_required_scope(connection, wanted):
                return None
            if connection.is_websocket:
                from dualroute.websockets import WebSocket, WebSocketState

                if isinstance(connection, WebSocket) and connection.application_state is not WebSocketState.CONNECTING:
                    raise WebSocketException(1008)
            elif redirect is not None:
                query = urlencode({"next": str(connection.url)})
                return RedirectResponse(f"{connection.url_for(redirect)}?{query}", status_code=303)
            raise HTTPException(status_code)

        if is_async_callable(function):

            @functools.wraps(function)
            async def asynchronous(*args: _P.args, **kwargs: _P.kwargs) -> Any:
                answer = refusal(args, kwargs)
                return answer if answer is not None else await function(*args, **kwargs)

            return asynchronous

        @functools.wraps(function)
        def plain(*args: _P.args, **kwargs: _P.kwargs) -> Any:
            answer = refusal(args, kwargs)
            return answer if answer is not None else function(*args, **kwargs)

        return plain

    return decorate
