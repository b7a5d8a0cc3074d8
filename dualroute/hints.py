"""Early hints (103, RFC 8297): what a client may fetch while the answer is still being made.  And pushes, before them.

Which way there is, the server says: the event of the ASGI extension ``http.response.early_hint``, or the callable
``wsgi.early_hints`` in the environ (gunicorn).  Where it says nothing, there is none, and hints are left out: they are
never more than a convenience.  A push (RFC 9113 section 8.4) has an event alone, that of ``http.response.push``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from dualroute.datastructures import MutableHeaders

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection
    from dualroute.types import Message

__all__ = ["all_links", "hint_event", "hint_function", "push_event"]

# What of a request holds for another that the server makes in its place.
_COPIED = ("accept", "accept-encoding", "accept-language", "cache-control", "user-agent")

logger: logging.Logger = logging.getLogger("dualroute")


def _headers(links: Iterable[str]) -> list[tuple[str, str]]:
    """Return the Link headers.  Raises TypeError or ValueError for what may not be one."""
    return MutableHeaders.of([("link", link) for link in links]).multi_items()


def all_links(links: str | Iterable[str], further: Iterable[str]) -> list[str]:
    """Return the links that were given: one, or several in a list, and further ones."""
    return [*([links] if isinstance(links, str) else links), *further]


def hint_event(connection: HTTPConnection[Any], links: Iterable[str]) -> Message | None:
    """Return the ASGI event that sends `links`, or None where the server has none."""
    headers = _headers(links)
    scope = connection._given_scope
    if scope is None or "http.response.early_hint" not in (scope.get("extensions") or {}):
        return None
    return {"type": "http.response.early_hint", "links": [value.encode("latin-1") for _, value in headers]}


def hint_function(connection: HTTPConnection[Any], links: Iterable[str]) -> Callable[[], None] | None:
    """Return what sends `links` under WSGI, called in the server's thread; None where the server has nothing for it."""
    headers = _headers(links)
    send = None if connection.environ is None else connection.environ.get("wsgi.early_hints")
    if send is None:
        return None

    def function() -> None:
        try:
            send(headers)
        except OSError:
            logger.debug("%s %s: the client went away", connection.method, connection.printable_path)

    return function


def push_event(connection: HTTPConnection[Any], path: str) -> Message | None:
    """Return the ASGI event that has the server push what is at `path`, or None where it has none."""
    scope = connection._given_scope
    if scope is None or "http.response.push" not in (scope.get("extensions") or {}):
        return None
    headers = [header for header in connection.headers.raw if header[0].decode("latin-1") in _COPIED]
    return {"type": "http.response.push", "path": path, "headers": headers}
