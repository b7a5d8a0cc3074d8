"""Who may open a websocket: a check of the Origin header (RFC 6455 section 10.2).

A browser lets any page open a websocket to any server, and sends the cookies along; nothing but this header tells
where the page came from.  What is no browser need not send one, and may send any: this is no authentication.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any
from urllib.parse import urlsplit

from dualroute.middleware import covers
from dualroute.responses import PlainTextResponse, Response

__all__ = ["check_origin"]

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def check_origin(*origins: str, required: bool = False) -> Callable[[Any], Generator[Any, Any, Response | None]]:
    """Return a middleware that refuses (403) a websocket handshake from a page of another origin.

    Args:
        origins: those that may open one, such as ``https://example.org``; where none is named, the app's own host.
        required: True to refuse a handshake without an Origin header too, as all that are not a browser's may be.

    Raises ValueError for what is no origin: a scheme, a host, perhaps a port, and nothing else.
    """
    allowed = frozenset(_checked(origin) for origin in origins)

    @covers("websocket")
    def origin_check(connection: Any) -> Generator[Any, Any, Response | None]:
        origin = connection.headers.get("origin")
        if origin is None:
            passes = not required
        elif allowed:
            passes = _parsed(origin) in allowed
        else:
            url = connection.base_url
            scheme = "https" if connection.scheme in ("wss", "https") else "http"
            passes = _parsed(origin) == _parsed(f"{scheme}://{url.netloc}") is not None
        if not passes:
            return PlainTextResponse("Forbidden: a page of this origin may not open this websocket", status_code=403)
        served: Response | None = yield connection
        return served

    return origin_check


def _parsed(origin: str) -> tuple[str, str, int] | None:
    """Return an origin's scheme, host and port, or None for what is none, such as ``null``."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or parts.fragment:
        return None
    if parts.username is not None:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def _checked(origin: str) -> tuple[str, str, int]:
    parsed = _parsed(origin)
    if parsed is None:
        raise ValueError(f"an origin is a scheme and a host, such as 'https://example.org', and not {origin!r}")
    return parsed
