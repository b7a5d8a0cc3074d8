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

One with options is a class whose instances are such functions (``def __call__(self, connection)`` is the generator):
``CORSMiddleware(allow_origins=["*"])``.  Those of the framework are in the modules beside this one, under the names
that Starlette gave them.

`Middleware(cls, …)` also takes classes that want an application to be around, as its first argument: subclasses of
`BaseHTTPMiddleware` (`dualroute.middleware.base`) and ASGI middleware (`dualroute.middleware.asgi`).  For WSGI
middleware there is `WSGIMiddleware(cls, …)` (`dualroute.middleware.wsgi`).  All of them work on both protocols, but a
generator costs less.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

from dualroute.callables import describe, is_async_callable
from dualroute.exchange import Call

__all__ = ["Call", "Middleware", "MiddlewareFunction", "covers"]

MiddlewareFunction: TypeAlias = Callable[..., Generator[Any, Any, Any]]
"""Called with the connection; yields it, or a Call; returns the Response."""

_M = TypeVar("_M", bound=Callable[..., Any])


class Middleware:
    """A middleware class with its options: ``Middleware(CORSMiddleware, allow_origins=["*"])``.

    It is the same as the instance that it makes, ``CORSMiddleware(allow_origins=["*"])``, and made at once.

    Args:
        cls: the class, or any other callable that returns a generator function; or one whose first argument is an
            application and called `app`, or the like: a BaseHTTPMiddleware, or an ASGI middleware.
        args: its positional arguments.
        options: its keyword arguments.

    Raises TypeError for a class whose instances are no middleware here, and what `cls` raises.
    """

    def __init__(self, cls: Callable[..., Any], *args: Any, **options: Any) -> None:
        if not callable(cls):
            raise TypeError(f"Middleware takes a middleware class and its options, not {cls!r}")
        self.cls: Callable[..., Any] = cls
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = options
        made = _around_app(cls, args, options) if _wraps_an_app(cls) else cls(*args, **options)
        (self.function,) = checked_middleware([made], repr(self))

    function: MiddlewareFunction
    """What was made: the generator function."""

    def __call__(self, connection: Any) -> Generator[Any, Any, Any]:
        """Return the generator for a connection."""
        return self.function(connection)

    def __iter__(self) -> Iterator[Any]:
        """Yield the class, its positional arguments and its options, as Starlette's does."""
        yield from (self.cls, self.args, self.kwargs)

    def __repr__(self) -> str:
        options = [repr(arg) for arg in self.args] + [f"{key}={value!r}" for key, value in self.kwargs.items()]
        return f"Middleware({', '.join([getattr(self.cls, '__name__', repr(self.cls)), *options])})"


def _wraps_an_app(cls: Callable[..., Any]) -> bool:
    """Tell whether a middleware class is made around an application, as those of one protocol are."""
    if hasattr(cls, "dispatch_func"):  # a BaseHTTPMiddleware, whatever its signature
        return True
    try:
        parameters = list(inspect.signature(cls).parameters.values())
    except (TypeError, ValueError):
        return False
    if not parameters or parameters[0].default is not inspect.Parameter.empty:
        return False
    return parameters[0].name in _NAMES_OF_APPS


_NAMES_OF_APPS = frozenset(("app", "application", "asgi_app", "asgi_application", "wsgi_app", "wsgi_application"))


def _around_app(cls: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return the middleware that a class makes which wants an application to be around."""
    from dualroute.middleware.base import BaseHTTPMiddleware

    if isinstance(cls, type) and issubclass(cls, BaseHTTPMiddleware):
        return cls(_further_in, *args, **options).around
    from dualroute.middleware.asgi import ASGIMiddleware

    return ASGIMiddleware(cls, *args, **options)


def _further_in(*args: Any) -> Any:
    """Stand for the app that a BaseHTTPMiddleware is around inside an application; `call_next` does not call it."""
    raise RuntimeError("inside an application, what is further in is called by call_next")


def covers(*kinds: str) -> Callable[[_M], _M]:
    """Say which connections a middleware is for: a decorator.

    Around a websocket, the yield gives None once the session has ended, which is then what to return.  A Response
    returned without a yield refuses the handshake.

    Args:
        kinds: "http", "websocket" or both.

    Raises ValueError for anything else.
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


def checked_middleware(middleware: Iterable[MiddlewareFunction] | None, where: str) -> tuple[MiddlewareFunction, ...]:
    """Return middleware as a tuple of generator functions; None is no middleware.

    Raises TypeError for what can be none.
    """
    if callable(middleware):
        raise TypeError(f"{where}: middleware is a list, so put {describe(middleware)} into one")
    checked = tuple(item.function if isinstance(item, Middleware) else item for item in middleware or ())
    for item in checked:
        if isinstance(item, type):
            raise TypeError(
                f"{where}: a middleware is a generator function, or an instance of a class of such; {describe(item)} is"
                f" the class: write {item.__name__}(…) or Middleware({item.__name__}, …)"
            )
        if not callable(item) or is_async_callable(item) or inspect.isasyncgenfunction(item):
            shown = describe(item) if callable(item) else repr(item)
            raise TypeError(
                f"{where}: a middleware is a generator function (`response = yield connection`), in plain `def`;"
                f" {shown} is not"
            )
    return checked
