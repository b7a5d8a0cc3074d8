"""DualRoute, the application: routes, middleware and exception handlers put together, and the two adapters around them.

This is the composition root: the one module of the core that names an adapter, and it does so only when a server
first calls for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dualroute.callables import describe
from dualroute.datastructures import State, URLPath
from dualroute.lifespan import LifespanFunction, app_lifespan
from dualroute.limits import Limits, checked_limits
from dualroute.middleware import Middleware, MiddlewareFunction, checked_middleware
from dualroute.routes import BaseRoute, RouteList
from dualroute.routing import RouteDeclarations, Router
from dualroute.serving import Servable
from dualroute.timeouts import checked_timeout

if TYPE_CHECKING:
    from dualroute.delegates import HTTPServerRequest
    from dualroute.dispatch import Dispatcher
    from dualroute.foreign import ForeignApp
    from dualroute.steps import HandlerDelegate
    from dualroute.types import ExceptionHandler
    from dualroute_asgi import ASGIAdapter
    from dualroute_wsgi import WSGIAdapter

__all__ = ["DualRoute"]

_F = TypeVar("_F", bound="ExceptionHandler")


class DualRoute(RouteDeclarations, Servable):
    """An application that any WSGI or ASGI server takes as it is.

    Args:
        routes: the routes, in the order in which they are tried.
        middleware: generator middleware around everything, outermost first.
        exception_handlers: by exception class or by status, a function taking the request and the exception, `def` or
            `async def`, that returns the response.
        redirect_slashes: True to redirect (307) a path that only matches with a slash added to or taken off its end.
            Where it is None, that is done unless there is a foreign app as the `fallback`.
        fallback: what takes the requests that match no route, in place of 404: a WSGI or an ASGI app, such as the one
            that this app is to replace route by route; also an endpoint, a Router or a DualRoute.
        fallback_on_405: True to send there too what matches a route by its path and none by its method.
        limits: how much of a request is taken.
        timeout: how many seconds there are for a response to be there, after which the answer is 503; a mount or a
            route may have another (see `dualroute.timeouts`).
        lifespan: what comes before the first request of a process, and after its last one: a function that takes the
            app and returns a context manager, such as one decorated with ``@contextlib.asynccontextmanager`` or
            ``@contextlib.contextmanager``.  The keys of the dict that it yields are attributes of `request.state` and
            `websocket.state`.
        max_threads: how many `def` handlers may run at once under ASGI.
        max_waiting: how many requests may wait there for one of those threads; the next one that needs a thread is
            answered 503 (`TooBusy`).  Under WSGI requests wait in the server, before they reach the app.
        default_host: the host that `DefaultHostMatches` rules go by.
        debug: True to have an error that nobody handles answered by a page that shows it: see `ServerErrorMiddleware`.
            It shows source code and variables, so it is for development alone.
        asgi_middleware: callables that wrap the ASGI side alone, outermost first: each takes an ASGI app and returns
            one.
        wsgi_middleware: the same for the WSGI side.

    `state` is a place for whatever the app's handlers share.

    Raises TypeError or ValueError for what can't be a route, a middleware, an exception handler, a fallback or a
    lifespan.  Starlette's `on_startup` and `on_shutdown` are refused: a lifespan does what they did.
    """

    def __init__(
        self,
        routes: Iterable[BaseRoute] | None = None,
        *,
        middleware: Sequence[MiddlewareFunction] | None = None,
        exception_handlers: Mapping[int | type[Exception], ExceptionHandler] | None = None,
        redirect_slashes: bool | None = None,
        fallback: Any = None,
        fallback_on_405: bool = False,
        limits: Limits | None = None,
        timeout: float | None = None,
        lifespan: LifespanFunction | None = None,
        max_threads: int = 40,
        max_waiting: int = 1000,
        default_host: str | None = None,
        debug: bool = False,
        asgi_middleware: Sequence[Callable[[Any], Any]] = (),
        wsgi_middleware: Sequence[Callable[[Any], Any]] = (),
        on_startup: None = None,
        on_shutdown: None = None,
    ) -> None:
        if isinstance(routes, bool):
            raise TypeError("DualRoute takes its routes first; write debug=True, and routes=")
        if not isinstance(max_threads, int) or max_threads < 1:
            raise ValueError(f"max_threads must be at least 1, not {max_threads!r}")
        if not isinstance(max_waiting, int) or max_waiting < 0:
            raise ValueError(f"max_waiting must be at least 0, not {max_waiting!r}")
        if fallback_on_405 and fallback is None:
            raise ValueError("fallback_on_405 needs a fallback")
        self.router: Router = Router(routes, redirect_slashes=redirect_slashes, default=fallback)
        self.router.lifespan = app_lifespan(lifespan, self, on_startup, on_shutdown)
        self.fallback_on_405 = fallback_on_405
        self.limits: Limits | None = checked_limits(limits, "DualRoute")
        self.timeout: float | None = checked_timeout(timeout, "DualRoute")
        self.middleware: list[MiddlewareFunction] = list(checked_middleware(middleware, "DualRoute"))
        self._debug = False
        self._frozen = False
        self.debug = debug
        self.exception_handlers: dict[int | type[Exception], ExceptionHandler] = {}
        for key, handler in (exception_handlers or {}).items():
            self.add_exception_handler(key, handler)
        self.max_threads = max_threads
        self.max_waiting = max_waiting
        self.default_host = default_host
        self.asgi_middleware: tuple[Callable[[Any], Any], ...] = _wrappers(asgi_middleware, "ASGI")
        self.wsgi_middleware: tuple[Callable[[Any], Any], ...] = _wrappers(wsgi_middleware, "WSGI")
        self.state: State = State()
        self._pass_for_asgi()

    @property
    def routes(self) -> RouteList:
        """The routes.  The list may be changed at any time; the next request sees it."""
        return self.router.routes

    @property
    def fallback(self) -> Any:
        """What takes the requests that match no route; None for 404."""
        return self.router.default

    @property
    def _declared(self) -> RouteList:
        return self.router.routes

    @property
    def debug(self) -> bool:
        """Whether errors are shown to the client; settled once requests have been served."""
        return self._debug

    @debug.setter
    def debug(self, debug: bool) -> None:
        if debug == self._debug:
            return
        if self._frozen:
            raise RuntimeError("debug can't be changed once the app has served a request")
        self._debug = debug
        if debug:
            from dualroute.middleware.errors import ServerErrorMiddleware

            self.middleware.insert(0, ServerErrorMiddleware(debug=True))
        else:
            del self.middleware[0]

    @overload
    def add_middleware(self, middleware_class: MiddlewareFunction | Middleware) -> None: ...
    @overload
    def add_middleware(self, middleware_class: type[Any], *args: Any, **options: Any) -> None: ...

    def add_middleware(self, middleware_class: Any, *args: Any, **options: Any) -> None:
        """Put a middleware around those there are.

        Args:
            middleware_class: a middleware class, which is called with the rest, or a middleware that was made.
            args: positional arguments of the class.
            options: its options.

        Raises RuntimeError once requests have been served, and TypeError for what can be no middleware.
        """
        if self._frozen:
            raise RuntimeError("middleware can't be added once the app has served a request")
        middleware = middleware_class
        if isinstance(middleware, type) or args or options:
            middleware = Middleware(middleware, *args, **options)
        outermost = 1 if self._debug else 0  # the debug page stays outside
        self.middleware[outermost:outermost] = checked_middleware([middleware], "DualRoute.add_middleware")

    def add_exception_handler(self, exc_class_or_status_code: int | type[Exception], handler: ExceptionHandler) -> None:
        """Have `handler` answer exceptions of a class, or HTTPExceptions of a status.

        Args:
            exc_class_or_status_code: the class, its subclasses included, or the status.  500 and Exception stand for
                what nothing else handles.
            handler: called with the request and the exception; a `def` or an `async def` that returns the response.

        Raises TypeError for what can be neither of these.
        """
        key = exc_class_or_status_code
        if not (isinstance(key, int) or (isinstance(key, type) and issubclass(key, Exception))):
            raise TypeError(f"an exception handler is for a status or an Exception class, not {key!r}")
        if not callable(handler):
            raise TypeError(f"an exception handler is a function, not {handler!r}")
        _require_two_arguments(handler)
        self.exception_handlers[key] = handler

    def exception_handler(self, exc_class_or_status_code: int | type[Exception]) -> Callable[[_F], _F]:
        """Decorate an exception handler: see `add_exception_handler`.

        Args:
            exc_class_or_status_code: the class or the status.
        """

        def declare(handler: _F) -> _F:
            self.add_exception_handler(exc_class_or_status_code, handler)
            return handler

        return declare

    def freeze(self) -> None:
        """Note that requests are being served by the middleware there is."""
        self._frozen = True

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Return the path of the route called `name`: see `Router.url_path_for`."""
        return self.router.url_path_for(name, **path_params)

    def reverse_url(self, name: str, /, *args: Any) -> str | None:
        """Return the path of the route called `name`, or None: see `Router.reverse_url`."""
        return self.router.reverse_url(name, *args)

    def get_handler_delegate(
        self,
        request: HTTPServerRequest,
        handler: Any,
        target_kwargs: Mapping[str, Any] | None = None,
        path_args: Sequence[str | bytes | None] | None = None,
        path_kwargs: Mapping[str, str | bytes | None] | None = None,
    ) -> HandlerDelegate:
        """Return what a rule router may answer a request with: an endpoint in this app's surroundings.

        The app's middleware, exception handlers and limits stand around the endpoint; its routes are not looked at.

        Args:
            request: the request that the router was asked for.
            handler: an HTTPEndpoint or WebSocketEndpoint class, or a function.
            target_kwargs: what the class is made with: see `HTTPEndpoint.initialize`.
            path_args: what its methods are given by position after the request; bytes are decoded as UTF-8.
            path_kwargs: what they are given by name.

        Raises TypeError for what can't be an endpoint.
        """
        from dualroute.steps import handler_delegate

        return handler_delegate(self, request, handler, target_kwargs, path_args, path_kwargs)

    def _make_dispatcher(self) -> Dispatcher:
        from dualroute.dispatch import Dispatcher

        return Dispatcher(self.router, self)


def asgi_side(app: Servable) -> Any:
    """Return the ASGI adapter around `app`, in the ASGI middleware of a DualRoute."""
    from dualroute_asgi import ASGIAdapter

    side: ASGIAdapter = ASGIAdapter(app)
    return _wrapped(side, getattr(app, "asgi_middleware", ()), "ASGI")


def wsgi_side(app: Servable) -> Any:
    """Return the WSGI adapter around `app`, in the WSGI middleware of a DualRoute."""
    return _wrapped(app.wsgi_adapter, getattr(app, "wsgi_middleware", ()), "WSGI")


def wsgi_adapter(app: Servable) -> WSGIAdapter:
    """Return a WSGI adapter around `app`."""
    from dualroute_wsgi import WSGIAdapter

    return WSGIAdapter(app)


def foreign_class(protocol: str) -> type[ForeignApp]:
    """Return the class that mounts apps of a protocol, "WSGI" or "ASGI"."""
    if protocol == "WSGI":
        from dualroute_wsgi.mounted import WSGIApp

        return WSGIApp
    from dualroute_asgi.mounted import ASGIApp

    return ASGIApp


def surrounding_class(protocol: str) -> Any:
    """Return the class that has a middleware of a protocol, "WSGI" or "ASGI", around what is further in."""
    if protocol == "WSGI":
        from dualroute_wsgi.around import WSGISurrounding

        return WSGISurrounding
    from dualroute_asgi.around import ASGISurrounding

    return ASGISurrounding


def message_delegates() -> ForeignApp:
    """Return the app that runs Tornado's message delegates; there is one for each process."""
    global _message_delegates
    if _message_delegates is None:
        from dualroute_asgi.delegates import DelegateApp

        _message_delegates = DelegateApp()
    return _message_delegates


_message_delegates: ForeignApp | None = None


def loop_side() -> Any:
    """Return the module that does what `dualroute.concurrency` needs an event loop for."""
    import dualroute_asgi.concurrency

    return dualroute_asgi.concurrency


def _wrapped(side: Any, middleware: Sequence[Callable[[Any], Any]], protocol: str) -> Any:
    for wrap in reversed(middleware):
        side = wrap(side)
        if not callable(side):
            raise TypeError(
                f"{describe(wrap)} in {protocol.lower()}_middleware returned {side!r:.80}; it must return an"
                f" {protocol} app"
            )
    return side


def _wrappers(given: Any, protocol: str) -> tuple[Callable[[Any], Any], ...]:
    """Return what wraps one side of an app.  Raises TypeError for what can't."""
    name = f"{protocol.lower()}_middleware"
    if callable(given):
        raise TypeError(f"DualRoute: {name} is a list, so put {describe(given)} into one")
    wrappers = tuple(given)
    for item in wrappers:
        if not callable(item) or isinstance(item, Middleware):
            hint = "; Middleware(…) goes into middleware=" if isinstance(item, Middleware) else ""
            raise TypeError(
                f"DualRoute: {name} takes callables that are given the {protocol} app and return one, not"
                f" {item!r}{hint}"
            )
    return wrappers


def _require_two_arguments(handler: Callable[..., Any]) -> None:
    import inspect

    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        raise TypeError(
            "an exception handler takes the request and the exception, which"
            f" {describe(handler)}{inspect.signature(handler)} can't"
        ) from None
    except ValueError:
        pass  # some callables written in C have no signature
