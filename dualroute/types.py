"""Names for what crosses the border between a server and this package.

The shapes are those of PEP 3333 and of the ASGI specification.  They are kept as plain aliases, because
the servers hand over plain dicts and callables, and because importing `asgiref.typing` costs a WSGI worker
ten milliseconds for names that only a type checker reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from types import TracebackType
from typing import Any, Protocol, TypeAlias

__all__ = [
    "Environ",
    "ExcInfo",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "StartResponse",
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
