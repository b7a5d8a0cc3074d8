"""One object, both protocols: what makes an app callable by any server.

``app(environ, start_response)`` is WSGI and ``app(scope, receive, send)`` is ASGI.  They are told apart by what is
passed, and each goes to its side: `app.wsgi` or `app.asgi`, made when first used.

Servers guess which of the two an app speaks by asking whether its ``__call__`` is a coroutine function (uvicorn,
hypercorn), and expect ASGI where it is.  Ours is a plain function, since for WSGI it must return an iterable, so it
has to look like one: `inspect.iscoroutinefunction` reads the flags of ``__code__``, from anything that is like a
function, on every Python from 3.11 on.  (The mark that Python 3.12 has for this is not read by 3.11's inspect, and
asgiref's needs asyncio, which a WSGI worker does not load.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from types import CodeType, MethodType
from typing import TYPE_CHECKING, Any

from dualroute.lazily import Lazily

if TYPE_CHECKING:
    from dualroute.dispatch import Dispatcher

__all__ = ["DualCall", "Servable"]

_NOTHING: Any = object()


async def _asgi_shape(scope: Any, receive: Any, send: Any) -> None:
    """What ``__call__`` looks like to a server that sniffs."""


class DualCall:
    """A ``__call__`` that takes both protocols and passes for a coroutine function."""

    __code__: CodeType = _asgi_shape.__code__
    __defaults__ = None
    __kwdefaults__ = None
    __annotations__: dict[str, Any] = {}
    __name__ = "__call__"

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __call__(self, app: Any, scope: Any = _NOTHING, receive: Any = _NOTHING, send: Any = _NOTHING) -> Any:
        return Servable.__call__(app, scope, receive, send)


_dual_call = DualCall()


class Servable:
    """The base of everything that can be handed to a server: DualRoute, Router, the routes, responses."""

    # The WSGI side without what is wrapped around it, once it was made.

    def _pass_for_asgi(self) -> None:
        """Let servers that sniff find a coroutine function.

        Set on the instance, because Python looks ``__call__`` up on the class when the object is called, and on the
        instance when somebody only looks: so calls stay as fast as they were.
        """
        # Not into `__dict__`, whose being asked for makes each instance larger.
        object.__setattr__(self, "__call__", MethodType(_dual_call, self))

    def __call__(self, scope: Any = _NOTHING, receive: Any = _NOTHING, send: Any = _NOTHING) -> Any:
        """Serve a request: ``(scope, receive, send)`` returns an awaitable, ``(environ, start_response)`` an iterable.

        Raises TypeError for anything else.
        """
        if send is not _NOTHING:
            return self._call_asgi(scope, receive, send)
        if receive is not _NOTHING and isinstance(scope, dict) and "REQUEST_METHOD" in scope:
            return self.wsgi(scope, receive)
        raise TypeError(wrong_call(self, [item for item in (scope, receive) if item is not _NOTHING]))

    if TYPE_CHECKING:
        _call_asgi: Callable[..., Any]
    else:
        # Bound once, since each call of an object that is no function binds its method anew.
        _call_asgi = Lazily(lambda self: self.asgi.__call__)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """What finds the answer to a request: the neutral core behind both sides."""
        return self._make_dispatcher()

    def _make_dispatcher(self) -> Dispatcher:
        raise NotImplementedError

    @cached_property
    def asgi(self) -> Any:
        """This app as an ASGI app and nothing else."""
        from dualroute.applications import asgi_side

        return asgi_side(self)

    @cached_property
    def wsgi_adapter(self) -> Any:
        """The WSGI adapter by itself, for who runs the start-up and the shutdown of a process by hand."""
        from dualroute.applications import wsgi_adapter

        return wsgi_adapter(self)

    @cached_property
    def wsgi(self) -> Any:
        """This app as a WSGI app and nothing else."""
        from dualroute.applications import wsgi_side

        return wsgi_side(self)

    def __rsgi_init__(self, loop: Any) -> None:
        """Refuse granian's own protocol when the worker starts, not at each request."""
        raise SystemExit(_RSGI)


_RSGI = "dualroute serves ASGI and WSGI, not RSGI: pass --interface asgi or --interface wsgi to granian"


def wrong_call(app: Any, args: list[Any]) -> str:
    """Return what to tell somebody who called an app with neither protocol's arguments."""
    if len(args) == 2 and hasattr(args[0], "proto"):
        return _RSGI
    return (
        f"{type(app).__name__} was called with {len(args)} argument{'' if len(args) == 1 else 's'} "
        f"({', '.join(type(item).__name__ for item in args) or 'none'}); a server calls it with "
        "(environ, start_response) for WSGI or (scope, receive, send) for ASGI"
    )
