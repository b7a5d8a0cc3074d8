"""Redirects to the same URL over TLS."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from dualroute.responses import RedirectResponse, Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["HTTPSRedirectMiddleware"]


class HTTPSRedirectMiddleware:
    """Redirects http to https, and ws to wss (307).

    Behind a proxy that ends TLS, put `ProxyHeadersMiddleware` further out, or every request is redirected for ever.
    """

    __covers__: frozenset[str] = frozenset(("http", "websocket"))

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response | None]:
        """Redirect the connection, or let it pass."""
        scheme = {"http": "https", "ws": "wss"}.get(connection.scheme)
        if scheme is None or connection.is_malformed:
            response: Response | None = yield connection
            return response
        authority = connection.target.authority
        if authority.endswith((":80", ":443")):
            authority = authority.rpartition(":")[0]
        return RedirectResponse(connection.url.replace(scheme=scheme, netloc=authority))
