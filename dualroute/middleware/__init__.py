"""Middleware: a generator function around everything further in, written once for both protocols.

    def timing(connection):
        started = perf_counter()
        response = yield connection  # everything inside happens here
        response.headers["server-timing"] = f"app;dur={(perf_counter() - started) * 1000:.1f}"
        return response

Returning before the yield answers early.  An exception from inside comes out of the yield.  I/O is done by yielding
a `Call`, whose outcome the yield then gives: ``user = yield Call(load_user, token)``.

A generator runs on the event loop under ASGI and in the worker's thread under WSGI, so between its yields it must not
block.  It covers requests; a websocket handshake passes only through middleware marked by `covers`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeAlias, TypeVar

from dualroute.callables import describe, is_async_callable
from dualroute.exchange import Call

__all__ = ["Call", "Middleware", "covers"]

Middleware: TypeAlias = Callable[..., Generator[Any, Any, Any]]
"""Called with the connection; yields it, or a Call; returns the Response."""

_M = TypeVar("_M", bound=Callable[..., Any])


def covers(*kinds: str) -> Callable[[_M], _M]:
    """Say which connections a middleware is for: "http", "websocket" or both.

    Around a websocket, the yield gives None once the session has ended, which is then what to return.  A Response
    returned without a yield refuses the handshake.
    """
    unknown = [kind for kind in kinds if kind not in ("http", "websocket")]
    if unknown or not kinds:
        raise ValueError(
            f"a middleware covers 'http', 'websocket' or both, not {', '.join(map(repr, kinds)) or 'nothing'}"
        )

    def mark(middleware: _M) -> _M:
        middleware.__covers__ = frozenset(kinds)  # type: ignore[attr-defined]  # a mark of our own on a function
        return middleware

    return mark


def covering(middleware: Any, kind: str) -> bool:
    """Tell whether `middleware` is for connections of `kind`."""
    return kind in getattr(middleware, "__covers__", ("http",))


def checked_middleware(middleware: Iterable[Middleware], where: str) -> tuple[Middleware, ...]:
    """Return middleware as a tuple.  Raises TypeError for what can be none."""
    checked = tuple(middleware)
    for item in checked:
        if isinstance(item, type) or not callable(item) or is_async_callable(item) or inspect.isasyncgenfunction(item):
            shown = describe(item) if callable(item) else repr(item)
            raise TypeError(
                f"{where}: a middleware is a generator function (`response = yield connection`), in plain `def`;"
                f" {shown} is not"
            )
    return checked
