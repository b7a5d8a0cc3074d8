"""Routes: what is declared, and how a name leads back to a path.

A router holds an ordered list of routes.  A `Route` answers requests, a `WebSocketRoute` websockets; a `Mount` puts
an app or more routes below a path prefix, and a `Host` puts one behind a host name.  The first route that matches
wins, in the order of the list; the index in `dualroute.matching` only finds it quickly.

A `Mount` or a `Host` around routes in which nothing matches declines, and the routes after it are tried.  Where
nothing matches anywhere, the answer (404, or 405 with the methods that every route for the path takes) comes from the
place where it would have been expected: the first mount that the path lies in, with its middleware and its handlers.

Every route is an app too: handed to a server by itself, it answers 404 to what it does not match.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from dualroute.datastructures import URLPath
from dualroute.endpointroutes import Route, WebSocketRoute
from dualroute.endpoints import WebSocketEndpoint, http_handlers, websocket_handler
from dualroute.exceptions import NoMatchFound
from dualroute.foreign import ForeignApp, foreign_app
from dualroute.handlers import Handler
from dualroute.lifespan import AppLifespan, LifespanFunction, app_lifespan
from dualroute.limits import Limits, checked_limits
from dualroute.matching import HTTP, WEBSOCKET, Entry, Finder, Table
from dualroute.middleware import MiddlewareFunction, checked_middleware
from dualroute.paths import Tail, Template, quote_path, require_str
from dualroute.routes import BaseRoute, Match, RouteList, first_path, path_by_args, reverse, standing_alone
from dualroute.serving import Servable
from dualroute.targets import require_host
from dualroute.timeouts import checked_timeout

if TYPE_CHECKING:
    from dualroute.applications import DualRoute
    from dualroute.dispatch import Dispatcher
    from dualroute.paths import compile_path
    from dualroute.types import Endpoint, WebSocketHandler

__all__ = [
    "BaseRoute",
    "Host",
    "Match",
    "Mount",
    "NoMatchFound",
    "Route",
    "Router",
    "WebSocketRoute",
    "compile_path",
]

_E = TypeVar("_E", bound="Endpoint")
_W = TypeVar("_W", bound="WebSocketHandler")
_T = TypeVar("_T")

_asked: ContextVar[frozenset[Any]] = ContextVar("dualroute_asked", default=frozenset())


def _ask_once(question: tuple[Any, ...], ask: Callable[[], _T], nothing: _T) -> _T:
    """Return what `ask` returns, or `nothing` within the same question: a router may be mounted inside itself."""
    asked = _asked.get()
    if question in asked:
        return nothing
    token = _asked.set(asked | {question})
    try:
        return ask()
    finally:
        _asked.reset(token)


class Container(BaseRoute):
    """A route that leads to an app: a Mount or a Host."""

    foreign: ForeignApp | None = None
    """The foreign app, where it leads to one."""

    def __init__(
        self,
        app: Any,
        name: str | None,
        middleware: Sequence[MiddlewareFunction] | None,
        limits: Limits | None,
        timeout: float | None,
        params: Collection[str],
    ) -> None:
        self.app = app
        self.name = name
        self.middleware: tuple[MiddlewareFunction, ...] = checked_middleware(middleware, repr(self))
        self.limits: Limits | None = checked_limits(limits, repr(self))
        self.timeout: float | None = checked_timeout(timeout, repr(self))
        self.router: Router | None = router_of(app)
        self.handlers: dict[str, Handler] = {}
        self.websocket_handler: Handler | None = None
        if self.router is None:
            self._take_endpoint(app, tuple(params))
        elif hasattr(app, "exception_handlers"):
            self.inner_app: DualRoute | None = app
        self._pass_for_asgi()

    def _take_endpoint(self, app: Any, params: tuple[str, ...]) -> None:
        if isinstance(app, type) and issubclass(app, WebSocketEndpoint):
            self.websocket_handler = websocket_handler(app, params=params, where=repr(self))
            return
        self.foreign = foreign = foreign_app(app, params, repr(self))
        if foreign is None:
            self.handlers = http_handlers(
                app, None if isinstance(app, type) else ("*",), params=params, where=repr(self)
            )
            return
        self.handlers = {"*": foreign.handler}
        self.bare_handler: Handler | None = foreign.bare_handler
        self.websocket_handler = foreign.websocket_handler

    @property
    def endpoint(self) -> Any:
        """The app, as other routes call what they lead to."""
        return self.app

    @property
    def routes(self) -> Sequence[Any]:
        """The routes inside; none where the app is an endpoint."""
        return self.router.routes if self.router is not None else ()

    def finder(self) -> Finder | None:
        """Return what finds the answer inside, or None where the app is an endpoint."""
        return self.router.table if self.router is not None else None

    def handler_for(self, method: str) -> Handler:
        """Return what answers `method` where the app is an endpoint or a foreign app."""
        return self.handlers.get(method) or self.handlers["*"]

    def _kinds_and_methods(self) -> tuple[tuple[int, ...], frozenset[str] | None]:
        if self.router is not None:
            return (HTTP, WEBSOCKET), None
        kinds = (HTTP,) if self.handlers else ()
        if self.websocket_handler is not None:
            kinds = (*kinds, WEBSOCKET)
        return kinds, None if "*" in self.handlers else frozenset(self.handlers)

    def names(self) -> Iterator[str]:
        router = self.router
        inside: list[str] = [] if router is None else _ask_once(("names", router), lambda: list(router.names()), [])
        if self.name is None:
            yield from inside
        else:
            yield self.name
            yield from (f"{self.name}:{name}" for name in inside)

    def signatures(self, name: str) -> Iterator[tuple[str, ...]]:
        own = tuple(self.template.convertors)
        if name == self.name:
            yield (*own, "path")
        inner = self._inner_name(name)
        router = self.router
        if inner is not None and router is not None:
            inside: list[tuple[str, ...]] = _ask_once(
                ("signatures", router, inner), lambda: list(router.signatures(inner)), []
            )
            yield from ((*own, *params) for params in inside)

    def _inner_name(self, name: str) -> str | None:
        """Return `name` as the routes inside know it, or None where it is none of theirs."""
        if self.name is None:
            return name
        return name[len(self.name) + 1 :] if name.startswith(f"{self.name}:") else None

    def _reverse_inside(self, name: str, params: Mapping[str, Any]) -> tuple[dict[str, Any], URLPath] | None:
        """Look `name` up inside; return the container's own parameters with the path that goes behind them."""
        own = {key: value for key, value in params.items() if key in self.template.convertors}
        if len(own) < len(self.template.convertors):
            return None
        rest = {key: value for key, value in params.items() if key not in own}
        if name == self.name and rest.keys() == {"path"}:
            return own, URLPath("/" + quote_path(str(rest["path"]).lstrip("/")))
        inner = self._inner_name(name)
        router = self.router
        if router is None or inner is None:
            return None
        inside = _ask_once(("path", router, inner, *sorted(rest)), lambda: router.reverse(inner, rest), None)
        return None if inside is None else (own, inside)

    def reverse(self, name: str, params: Mapping[str, Any]) -> URLPath | None:
        found = self._reverse_inside(name, params)
        return None if found is None else self._around(*found)

    def reverse_args(self, name: str, args: tuple[Any, ...]) -> URLPath | None:
        own = dict(zip(self.template.convertors, args, strict=False))
        rest = args[len(own) :]
        if len(own) < len(self.template.convertors):
            return None
        if name == self.name and len(rest) == 1:
            return self.reverse(name, {**own, "path": rest[0]})
        inner = self._inner_name(name)
        router = self.router
        if router is None or inner is None:
            return None
        inside = _ask_once(("path", router, inner, len(rest)), lambda: router.reverse_args(inner, rest), None)
        return None if inside is None else self._around(own, inside)

    def _around(self, own: dict[str, Any], inside: URLPath) -> URLPath:
        """Return the path to what is at `inside` below this, whose own parameters are `own`."""
        raise NotImplementedError


class Mount(Container):
    """An app, or more routes, below a path prefix.

    Args:
        path: the prefix, which may hold parameters; its trailing slash does not count.  It takes whole segments, so
            ``/app`` takes ``/app/x`` and never ``/apple``.
        app: a WSGI or an ASGI app, a Router, a DualRoute, an endpoint function or class; in place of `routes`.
        routes: the routes below it.
        name: the first part of the names inside (``{name}:{route}``); without one, the names inside stand as they are.
        middleware: generator middleware around everything inside, outermost first.
        limits: how much of a request is taken inside; those of the app around it where it is None.
        timeout: how many seconds there are for a response inside, as for Route.

    Raises ValueError for a malformed path, and TypeError for an app that is none.
    """

    def __init__(
        self,
        path: str,
        app: Any = None,
        routes: Sequence[BaseRoute] | None = None,
        name: str | None = None,
        *,
        middleware: Sequence[MiddlewareFunction] | None = None,
        limits: Limits | None = None,
        timeout: float | None = None,
    ) -> None:
        self.template: Template = Template(path, prefix=True)
        self.path: str = self.template.source
        if (app is None) == (routes is None):
            raise TypeError(f"{self!r} takes either app= or routes=")
        if any(isinstance(segment, Tail) for segment in self.template.segments):
            raise ValueError(f"{self!r}: a prefix can't hold a parameter that spans segments")
        if "path" in self.template.convertors:
            raise ValueError(f"{self!r}: a prefix's parameter can't be called 'path', which stands for what follows")
        inside = Router(routes=routes) if app is None else app
        super().__init__(inside, name, middleware, limits, timeout, self.template.convertors)

    def __repr__(self) -> str:
        return f"Mount({self.path!r})"

    def entries(self) -> Iterator[Entry]:
        kinds, methods = self._kinds_and_methods()
        yield Entry(self, self.template, kinds=kinds, methods=methods, prefix=True, child=self.finder)

    def _around(self, own: dict[str, Any], inside: URLPath) -> URLPath:
        return URLPath(quote_path(self.template.fill(own)) + inside, inside.protocol, inside.host)


class Host(Container):
    """An app behind a host name.

    Args:
        host: the host, which may hold parameters: ``{subdomain}.example.org``.  A port in it is used for URLs and not
            for matching.  Case does not count.
        app: a WSGI or an ASGI app, a Router, a DualRoute, an endpoint function or class.
        name: the first part of the names inside (``{name}:{route}``).
        middleware: generator middleware around everything inside, outermost first.
        limits: how much of a request is taken inside; those of the app around it where it is None.
        timeout: how many seconds there are for a response inside, as for Route.

    Raises ValueError for a malformed host, and TypeError for an app that is none.
    """

    def __init__(
        self,
        host: str,
        app: Any,
        name: str | None = None,
        *,
        middleware: Sequence[MiddlewareFunction] | None = None,
        limits: Limits | None = None,
        timeout: float | None = None,
    ) -> None:
        require_str(host, "host")
        if not host or "/" in host:
            raise ValueError(f"a host is a name with an optional port, without slashes: {host!r}")
        self.host = host
        # The port goes, but not the colon of a convertor, which stands inside braces.
        name_only = host[: host.rindex(":")] if host.rpartition(":")[2].isdecimal() else host
        self.template: Template = Template(name_only, host=True)
        self._written = Template(host, host=True)
        if any(isinstance(segment, Tail) for segment in self.template.segments):
            raise ValueError(f"{self!r}: a host can't hold a path parameter")
        super().__init__(app, name, middleware, limits, timeout, self.template.convertors)

    def __repr__(self) -> str:
        return f"Host({self.host!r})"

    def entries(self) -> Iterator[Entry]:
        kinds, methods = self._kinds_and_methods()
        yield Entry(self, _NO_PATH, kinds=kinds, methods=methods, host=self.template, child=self.finder)

    def _around(self, own: dict[str, Any], inside: URLPath) -> URLPath:
        return URLPath(inside, inside.protocol, host=require_host(self._written.fill(own)))


_NO_PATH = Template("", prefix=True)


class RouteDeclarations:
    """The methods and decorators that declare routes, on Router and DualRoute alike."""

    @property
    def _declared(self) -> RouteList:
        raise NotImplementedError

    def add_route(
        self,
        path: str,
        route: Endpoint,
        methods: Iterable[str] | None = None,
        name: str | None = None,
        include_in_schema: bool = True,
        **options: Any,
    ) -> None:
        """Append a Route from `path` to the endpoint `route`; the rest is as for Route."""
        self._declared.append(
            Route(path, route, methods=methods, name=name, include_in_schema=include_in_schema, **options)
        )

    def add_websocket_route(self, path: str, route: WebSocketHandler, name: str | None = None, **options: Any) -> None:
        """Append a WebSocketRoute from `path` to the endpoint `route`; the rest is as for WebSocketRoute."""
        self._declared.append(WebSocketRoute(path, route, name=name, **options))

    def route(
        self,
        path: str,
        methods: Iterable[str] | None = None,
        name: str | None = None,
        include_in_schema: bool = True,
        **options: Any,
    ) -> Callable[[_E], _E]:
        """Decorate an endpoint, function or class, to answer `path`; the rest is as for Route."""

        def declare(endpoint: _E) -> _E:
            self.add_route(path, endpoint, methods, name, include_in_schema, **options)
            return endpoint

        return declare

    def websocket_route(self, path: str, name: str | None = None, **options: Any) -> Callable[[_W], _W]:
        """Decorate an endpoint, function or class, to serve websockets at `path`; the rest is as for WebSocketRoute."""

        def declare(endpoint: _W) -> _W:
            self.add_websocket_route(path, endpoint, name, **options)
            return endpoint

        return declare

    def mount(self, path: str, app: Any, name: str | None = None, **options: Any) -> None:
        """Append a Mount of `app` below `path`."""
        self._declared.append(Mount(path, app=app, name=name, **options))

    def host(self, host: str, app: Any, name: str | None = None, **options: Any) -> None:
        """Append a Host that puts `app` behind the host name `host`."""
        self._declared.append(Host(host, app=app, name=name, **options))


class Router(RouteDeclarations, Servable):
    """An ordered list of routes, and an app by itself: routing without an application around it.

    Args:
        routes: the routes, in the order in which they are tried.
        redirect_slashes: True to redirect (307) a path that only matches with a slash added to or taken off its end.
            Where it is None, that is done unless there is a foreign app as the `default`: a redirect is a guess at
            what was meant, and such an app has an answer of its own.
        default: what takes the requests that match no route, in place of 404: an endpoint, a Router, a DualRoute, a
            WSGI or an ASGI app.
        lifespan: as for DualRoute; it is called with this router.
        middleware: generator middleware around everything inside, outermost first.
    """

    def __init__(
        self,
        routes: Iterable[BaseRoute] | None = None,
        redirect_slashes: bool | None = None,
        default: Any = None,
        *,
        lifespan: LifespanFunction | None = None,
        middleware: Sequence[MiddlewareFunction] | None = None,
        on_startup: None = None,
        on_shutdown: None = None,
    ) -> None:
        self.middleware: tuple[MiddlewareFunction, ...] = checked_middleware(middleware, type(self).__name__)
        self.lifespan: AppLifespan | None = app_lifespan(lifespan, self, on_startup, on_shutdown)
        self._routes = RouteList(routes or ())
        self._redirects = redirect_slashes
        self.table: Table = Table(self._routes)
        self.default = default
        self._pass_for_asgi()

    @property
    def routes(self) -> RouteList:
        """The routes.  The list may be changed at any time; the next request sees it."""
        return self._routes

    @routes.setter
    def routes(self, routes: Iterable[BaseRoute]) -> None:
        self._routes[:] = list(routes)

    @property
    def default(self) -> Any:
        """What takes the requests that match no route; None for 404."""
        return self._default

    @default.setter
    def default(self, app: Any) -> None:
        route = None if app is None else Mount("", app=app)
        self._default = app
        self.default_route: Mount | None = route
        self.table.default = None if route is None else next(route.entries())

    @property
    def foreign_default(self) -> ForeignApp | None:
        """The foreign app that takes the requests that match no route, if it is one."""
        return None if self.default_route is None else self.default_route.foreign

    @property
    def redirect_slashes(self) -> bool:
        """Whether a path that only matches with a slash added to or taken off its end is redirected."""
        return self.foreign_default is None if self._redirects is None else self._redirects

    @redirect_slashes.setter
    def redirect_slashes(self, redirect_slashes: bool | None) -> None:
        self._redirects = redirect_slashes

    @property
    def _declared(self) -> RouteList:
        return self._routes

    def names(self) -> Iterator[str]:
        """Yield every name that `url_path_for` takes."""
        for route in self.routes:
            yield from route.names()

    def reverse(self, name: str, params: Mapping[str, Any]) -> URLPath | None:
        """Return the path for `name`, or None: see `BaseRoute.reverse`."""
        return first_path(self.routes, name, params)

    def signatures(self, name: str) -> Iterator[tuple[str, ...]]:
        """Yield the names of the parameters that each route called `name` takes: see `BaseRoute.signatures`."""
        for route in self.routes:
            yield from route.signatures(name)

    def reverse_args(self, name: str, args: tuple[Any, ...]) -> URLPath | None:
        """Return the path for `name`, or None: see `BaseRoute.reverse_args`."""
        return path_by_args(self.routes, name, args)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Return the path of the route called `name`, percent-encoded.

        Args:
            name: a route's name, with those of the mounts around it in front: ``users:detail``.
            path_params: a value for each parameter; ``path=`` for a mounted app.

        Raises NoMatchFound where no route has that name and takes those parameters.
        """
        return reverse(self.routes, name, path_params)

    def reverse_url(self, name: str, /, *args: Any) -> str | None:
        """Return the path of the route called `name`, percent-encoded, or None where no route has that name.

        Args:
            name: a route's name, as for `url_path_for`.
            args: a value for each parameter, in their order in the path, those of mounts around the route first.

        Raises ValueError where the route takes other parameters.
        """
        path = self.reverse_args(name, args)
        return None if path is None else standing_alone(path)

    def _make_dispatcher(self) -> Dispatcher:
        from dualroute.dispatch import Dispatcher

        return Dispatcher(self)


class RoutesItself(Servable):
    """A router that finds its answers in a way of its own, and not by a list of routes: those of `dualroute.rules`.

    Its dispatcher's router stands for it wherever routers are asked for routes, names and answers.
    """


def router_of(app: Any) -> Router | None:
    """Return the router inside an app of ours, or None for anything else."""
    if isinstance(app, Router):
        return app
    router = None if isinstance(app, RoutesItself | BaseRoute) else getattr(app, "router", None)
    if isinstance(router, Router):
        return router
    if isinstance(app, Servable) and not isinstance(app, ForeignApp):  # a route, or a response
        return app.dispatcher.router
    return None


def __getattr__(name: str) -> Any:
    # Of use to code that was written for Starlette, and to nothing here.
    if name == "compile_path":
        from dualroute.paths import compile_path

        return compile_path
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
