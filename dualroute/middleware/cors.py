"""Cross-origin resource sharing (the Fetch standard, "CORS protocol"): which other sites' scripts may read answers."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator
from typing import TYPE_CHECKING, Any

from dualroute.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["CORSMiddleware"]

ALL_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY")
# They need no leave (the Fetch standard, "CORS-safelisted request-header").
SAFELISTED_HEADERS = frozenset(("Accept", "Accept-Language", "Content-Language", "Content-Type"))


class CORSMiddleware:
    """Answers preflight requests, and tells browsers which origins may read the other answers, errors included.

    On a single route it sees only what that route answers, so put it around an application or a mount, where
    preflight requests for every path inside pass through it.

    Args:
        allow_origins: origins such as ``https://example.org``; ``*`` for any.
        allow_methods: methods; ``*`` for all the usual ones.
        allow_headers: request headers beyond those that need no leave; ``*`` for any.
        allow_credentials: True to let cookies and the like be sent along.
        allow_origin_regex: a pattern that an allowed origin has to match as a whole.
        allow_private_network: True to let public sites call this server in a private network.
        expose_headers: response headers that scripts may read.
        max_age: how many seconds a browser may keep the answer to a preflight request.

    Raises TypeError or ValueError for options that no request could be allowed by.
    """

    def __init__(
        self,
        allow_origins: Collection[str] = (),
        allow_methods: Collection[str] = ("GET",),
        allow_headers: Collection[str] = (),
        allow_credentials: bool = False,
        allow_origin_regex: str | None = None,
        allow_private_network: bool = False,
        expose_headers: Collection[str] = (),
        max_age: int = 600,
    ) -> None:
        for name, given in (
            ("allow_origins", allow_origins),
            ("allow_methods", allow_methods),
            ("allow_headers", allow_headers),
            ("expose_headers", expose_headers),
        ):
            if isinstance(given, str):
                raise TypeError(f"CORSMiddleware: {name} is a list of str, not {given!r}: write [{given!r}]")
        for origin in allow_origins:
            if origin not in ("*", "null") and not re.fullmatch(r"[a-zA-Z][\w+.-]*://[^/?#\s]+", origin):
                raise ValueError(
                    f"CORSMiddleware: {origin!r} is no origin; one is a scheme and a host, perhaps with a port, and no"
                    " path: 'https://example.org'"
                )
        self._origins = frozenset(allow_origins)
        self._any_origin = "*" in allow_origins
        self._regex = None if allow_origin_regex is None else re.compile(allow_origin_regex)
        self._methods = ALL_METHODS if "*" in allow_methods else tuple(allow_methods)
        self._any_header = "*" in allow_headers
        headers = sorted(SAFELISTED_HEADERS.union(allow_headers))
        self._headers = frozenset(name.lower() for name in headers)
        self._private_network = allow_private_network
        # With credentials, a browser takes no "*" for an answer.
        self._names_origin = not self._any_origin or allow_credentials
        self._simple: dict[str, str] = {}
        if not self._names_origin:
            self._simple["access-control-allow-origin"] = "*"
        if allow_credentials:
            self._simple["access-control-allow-credentials"] = "true"
        self._preflight = {
            "vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers,"
            " Access-Control-Request-Private-Network",
            **self._simple,
            "access-control-allow-methods": ", ".join(self._methods),
            "access-control-max-age": str(max_age),
        }
        if not self._any_header:
            self._preflight["access-control-allow-headers"] = ", ".join(headers)
        if expose_headers:
            self._simple["access-control-expose-headers"] = ", ".join(expose_headers)
        PlainTextResponse(headers={**self._preflight, **self._simple})  # refuses what can't be sent

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response]:
        """Answer a preflight request, or label the answer to another."""
        headers = connection.headers
        origin = _sendable(headers.get("origin"))
        if origin is not None and connection.method == "OPTIONS" and "access-control-request-method" in headers:
            return self._preflight_response(origin, connection)

        def label(response: Response) -> None:
            if origin is not None and (self._any_origin or self.is_allowed_origin(origin)):
                response.headers.update(self._simple)
                if self._names_origin:
                    response.headers["access-control-allow-origin"] = origin
            # Without an Origin nothing is said to anybody, so that a cache has to tell the two apart.
            response.headers.add_vary_header("Origin")

        connection.amend(label)
        response: Response = yield connection
        label(response)
        return response

    def is_allowed_origin(self, origin: str) -> bool:
        """Tell whether scripts of an origin may read answers."""
        if self._any_origin or origin in self._origins:
            return True
        return self._regex is not None and self._regex.fullmatch(origin) is not None

    def _preflight_response(self, origin: str, connection: HTTPConnection) -> Response:
        asked = connection.headers
        headers = dict(self._preflight)
        refused = []
        if not self.is_allowed_origin(origin):
            refused.append("origin")
        elif self._names_origin:
            headers["access-control-allow-origin"] = origin
        if asked["access-control-request-method"] not in self._methods:
            refused.append("method")
        wanted = asked.get("access-control-request-headers")
        if wanted is not None:
            names = [name.strip().lower() for name in wanted.split(",")]
            if self._any_header and _sendable(wanted):
                headers["access-control-allow-headers"] = wanted
            elif not self._headers.issuperset(filter(None, names)):
                refused.append("headers")
        if "access-control-request-private-network" in asked:
            if self._private_network:
                headers["access-control-allow-private-network"] = "true"
            else:
                refused.append("private-network")
        # A browser looks at the headers alone, but a person may look at the text.
        if refused:
            return PlainTextResponse(f"Disallowed CORS {', '.join(refused)}", status_code=400, headers=headers)
        return PlainTextResponse("OK", headers=headers)


def _sendable(value: str | None) -> str | None:
    """Return what a client sent, if it can be sent back."""
    return value if value and not any(character in value for character in "\r\n\0") else None
