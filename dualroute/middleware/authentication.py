"""Authentication: a backend finds out who the client is, before the endpoint is called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

from dualroute.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, UnauthenticatedUser
from dualroute.callables import describe, is_async_callable
from dualroute.exchange import Call
from dualroute.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["AuthenticationMiddleware"]


class AuthenticationMiddleware:
    """Fills in `request.user` and `request.auth`, of requests and of websocket handshakes.

    Args:
        backend: has an `authenticate` method, `def` or `async def`: see `AuthenticationBackend`.
        on_error: called with the request and the AuthenticationError, `def` or `async def`; returns the response.  By
            default that is the error's text with status 400.  It refuses a websocket handshake too.
        sync_to_thread: False for a `def` that never blocks: it then costs no thread under ASGI.

    Raises TypeError for a backend that has no such method.
    """

    __covers__: frozenset[str] = frozenset(("http", "websocket"))

    def __init__(
        self,
        backend: AuthenticationBackend,
        on_error: Callable[[Any, AuthenticationError], Any] | None = None,
        *,
        sync_to_thread: bool = True,
    ) -> None:
        authenticate = getattr(backend, "authenticate", None)
        if isinstance(backend, type) or not callable(authenticate):
            raise TypeError(
                "AuthenticationMiddleware: the backend is an object with a method `authenticate`;"
                f" {describe(backend) if isinstance(backend, type) else repr(backend)} is not"
            )
        if on_error is not None and not callable(on_error):
            raise TypeError(f"AuthenticationMiddleware: on_error is a function, not {on_error!r}")
        self.backend: AuthenticationBackend = backend
        self._authenticate: Callable[..., Any] = authenticate
        self._is_async = is_async_callable(authenticate)
        self._inline = not sync_to_thread and not self._is_async
        self._on_error = on_error

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response | None]:
        """Find out who the client is, and go on."""
        seen = connection.in_colour(self._is_async)
        try:
            found = yield Call.known(self._authenticate, (seen,), self._is_async, self._inline)
            if isinstance(found, Awaitable):  # a `def` that hands on a coroutine
                found = yield Call.known(_wait_for, (found,), True)
        except AuthenticationError as error:
            if self._on_error is None:
                return PlainTextResponse(str(error), status_code=400)
            is_async = is_async_callable(self._on_error)
            answer: Response = yield Call.known(self._on_error, (connection.in_colour(is_async), error), is_async)
            return answer
        auth, user = (AuthCredentials(), UnauthenticatedUser()) if found is None else found
        connection.attach("auth", auth)
        connection.attach("user", user)
        response: Response | None = yield connection
        return response


async def _wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
