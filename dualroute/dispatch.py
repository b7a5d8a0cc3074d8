"""The dispatcher: from what a server hands over to an exchange that an adapter can drive.

It reads the target, asks the index, and decides what follows from the outcome: a route's plan, a slash redirect, the
router's default, 405 and OPTIONS from the methods that the path takes, 404, or 501 for a websocket handshake that
came as a plain request.  All of it is neutral; both adapters open their requests here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from dualroute.connection import HTTPConnection, quote_query
from dualroute.endpoints import METHODS
from dualroute.exceptions import HTTPException
from dualroute.exchange import Call, Exchange, Plan, exchange
from dualroute.foreign import StreamingHandler
from dualroute.handlers import Handler
from dualroute.lifespan import lives_of, states_of
from dualroute.matching import HTTP, WEBSOCKET, Found, Given, Miss, Source, Table, segments_of
from dualroute.middleware import covering
from dualroute.paths import printable, quote_path
from dualroute.requests import Request, SyncRequest
from dualroute.responses import RedirectResponse, Response
from dualroute.routing import Host, Mount, Router, WebSocketRoute
from dualroute.targets import Target, is_plain, known_host_in, known_hosts, target_from_environ, target_from_scope
from dualroute.timeouts import TimeLimit, innermost_timeout
from dualroute.types import Environ, Receive, Scope, Send
from dualroute.websockets import WebSocket

if TYPE_CHECKING:
    from dualroute.applications import DualRoute
    from dualroute.lifespan import Lifespan
    from dualroute.limits import Limits

__all__ = ["Dispatcher", "websocket_paths"]

logger: logging.Logger = logging.getLogger("dualroute")

_NO_WEBSOCKETS = (
    "this path is a websocket, and the server that answers here has no websockets; serve the app with an ASGI server "
    "that has them, as are uvicorn with the websockets package, hypercorn, granian --interface asgi or gunicorn -k asgi"
)
_PLANS_LIMIT = 10_000
_new = HTTPConnection.__new__


_Routed: TypeAlias = tuple[Plan, dict[str, Any], str, tuple[Any, ...]]
"""Where a target led: how to answer it, the path's parameters, the part of the path that mounts took, and those
parameters that have no names."""


class Dispatcher:
    """The neutral core of one served object.

    Args:
        router: its routes.
        app: the application around them, if there is one.
    """

    def __init__(self, router: Router, app: DualRoute | None = None) -> None:
        self.router = router
        self.app = app
        self._outermost: Any = router if app is None else app
        self._falls_back_on_405 = app is not None and app.fallback_on_405
        # The plans of 404 and 405, by that, by what is allowed, and by the mounts that answer.
        self._refusals: dict[tuple[int, str | None, tuple[Any, ...]], Plan] = {}
        # The values of Allow, by the methods that routes take.
        self._allows: dict[frozenset[str], str] = {}
        # By kind, and then by what was matched and the method.  What matched is kept alive by this, so the limit is
        # there for tables that keep changing.
        self._plans: tuple[dict[tuple[tuple[Any, ...], str], Plan], ...] = ({}, {})
        # The plans of routes whose path is all literal, by that path and the method, for as long as the routes stay as
        # they are.  What is in here was found by the index before.
        self._literals: dict[tuple[str, str], Plan] = {}
        self._table: Table | None = router.table if isinstance(router.table, Table) else None
        self._routes: Source = self._table.source if self._table is not None else _NO_ROUTES
        self._seen = -1

    @classmethod
    def for_response(cls, response: Response) -> Dispatcher:
        """Return a dispatcher that answers every request with `response`."""

        def respond(request: Request) -> Response:
            return response

        router = _AlwaysRouter(respond)
        assert router.default_route is not None, "it leads to the function"
        # It needs no thread, nor a look at a body that whoever answers by this may have read before.
        router.default_route.handlers["*"].inline = True
        return cls(router)

    def open_scope(self, scope: Scope, opener: tuple[Any, ...], lifespan: Lifespan | None = None) -> tuple[Any, Plan]:
        """Return the request and the plan for an ASGI scope of type "http".

        Args:
            scope: the scope.
            opener: makes the channel for the body when it is first wanted: a callable and its arguments.
            lifespan: what is running for the server, if anything is.
        """
        path, method, host = scope["path"], scope["method"], known_host_in(scope["headers"])
        if host is not None and not scope.get("root_path"):
            if self._routes.version == self._seen:
                plan = self._literals.get((path, method))
                if plan is not None:
                    return self._opened(scope, None, plan, opener, lifespan), plan
            if is_plain(path):
                return self._look_up(scope, None, path, method, host, opener, lifespan)
        return self._open(scope, None, opener, lifespan)

    def open_environ(
        self, environ: Environ, opener: tuple[Any, ...], lifespan: Lifespan | None = None
    ) -> tuple[Any, Plan]:
        """Return the request and the plan for a WSGI environ: see `open_scope`."""
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        host = known_hosts.get(environ.get("HTTP_HOST", ""))
        if host is not None and not environ.get("SCRIPT_NAME") and "HTTP_UPGRADE" not in environ:
            if self._routes.version == self._seen:
                plan = self._literals.get((path, method))
                if plan is not None:
                    return self._opened(None, environ, plan, opener, lifespan), plan
            if is_plain(path):
                return self._look_up(None, environ, path, method, host, opener, lifespan)
        return self._open(None, environ, opener, lifespan)

    # What a request goes through, from the shortest way to the longest: `open_…` answers for a literal path that it
    # has seen, `_look_up` for what the index finds at once, and `_open` for everything.

    def _opened(
        self,
        scope: Scope | None,
        environ: Environ | None,
        plan: Plan,
        opener: tuple[Any, ...],
        lifespan: Lifespan | None,
    ) -> Any:
        # What `HTTPConnection.opened` does, without the call: this is what every request comes by.
        request = _new(Request if plan.is_async else SyncRequest)
        request._given_scope = scope
        request._environ = environ
        request._place = plan
        request._opener = opener
        if plan.lives:
            request.lives_in(*states_of(plan.lives, lifespan, scope is not None and "state" in scope))
        if plan.timeout is not None:
            channel = request._channel
            assert channel is not None, "a request has one"
            channel.time_limit = TimeLimit(plan.timeout)
        return request

    def _look_up(
        self,
        scope: Scope | None,
        environ: Environ | None,
        path: str,
        method: str,
        host: str,
        opener: tuple[Any, ...],
        lifespan: Lifespan | None,
    ) -> tuple[Any, Plan]:
        """Open a request for a plain path of a server that has not mounted the app."""
        miss = Miss()
        try:
            found = self.router.table.find(HTTP, method, host, path, miss, (scope, environ, None))
            if found is None:
                # Routing has no use for the authority: the request reads its target by itself, when it is asked for it.
                target = Target(method, "", path, host, host)
                plan, params, mounted, args = self._route(target, scope, environ, miss)
                request = self._opened(scope, environ, plan, opener, lifespan)
                request.matched(params, mounted, args)
                return request, plan
            trail, params, depth, args = found
            plan = self._plans[HTTP].get((trail, method)) or self._plan(trail, HTTP, method)
        except Exception:  # a convertor of the user's, most likely
            return self._open(scope, environ, opener, lifespan)
        request = self._opened(scope, environ, plan, opener, lifespan)
        if params:
            request.path_params = params
        if depth:
            request._mounted = _first_segments(path, depth)
        elif not params and len(trail) == 1:
            self._note_literal(trail[0], method, path, plan)
        request._path_args = args
        return request, plan

    def _open(
        self,
        scope: Scope | None,
        environ: Environ | None,
        opener: tuple[Any, ...],
        lifespan: Lifespan | None,
    ) -> tuple[Any, Plan]:
        """Open a request, whatever it is for."""
        try:
            if scope is not None:
                target = target_from_scope(scope)
            else:
                assert environ is not None, "there is a scope or an environ"
                target = target_from_environ(environ)
        except HTTPException as error:
            is_malformed = True
            scope, environ, target = _stand_ins(scope, environ)
            plan, params, mounted, args = self._refuse(error, HTTP)
        else:
            is_malformed = False
            try:
                plan, params, mounted, args = self._route(target, scope, environ)
            except Exception as error:  # a convertor of the user's, most likely; answered like an error in a handler
                plan, params, mounted, args = self._miss(error, ())
        request = self._opened(scope, environ, plan, opener, lifespan)
        if is_malformed:
            request.is_malformed = True
        request._target = target
        request.matched(params, mounted, args)
        return request, plan

    def open_websocket(
        self, scope: Scope, receive: Receive, send: Send, lifespan: Lifespan | None = None, bridge: Any = None
    ) -> tuple[WebSocket, Exchange]:
        """Return the websocket and its exchange.

        Args:
            scope: the ASGI scope, of type "websocket".
            receive: the ASGI receive callable.
            send: the ASGI send callable.
            lifespan: what is running for the server, if anything is.
            bridge: what the websocket has for threads and the time.
        """
        try:
            target = target_from_scope(scope)
        except HTTPException as error:
            target = _UNREADABLE
            plan, params, mounted, args = self._refuse(error, WEBSOCKET)
        else:
            try:
                plan, params, mounted, args = self._route_websocket(target, scope)
            except Exception as error:
                plan, params, mounted, args = self._miss(error, (), kind=WEBSOCKET)
        websocket = WebSocket.served(scope, target, plan, receive, send, bridge)
        websocket.is_malformed = target is _UNREADABLE
        websocket.matched(params, mounted, args)
        if plan.lives:
            websocket.lives_in(*states_of(plan.lives, lifespan, "state" in scope))
        return websocket, exchange(plan, websocket)

    def _route_websocket(self, target: Target, scope: Scope) -> _Routed:
        found, miss = self._find(WEBSOCKET, target, (scope, None, target))
        if found is None:
            return self._miss(HTTPException(404), miss.trail, kind=WEBSOCKET)
        return self._found(found, WEBSOCKET, target)

    def _route(
        self, target: Target, scope: Scope | None, environ: Environ | None, known: Miss | None = None
    ) -> _Routed:
        if environ is not None and "HTTP_UPGRADE" in environ and self._is_handshake(target, environ):
            return self._miss(self._refuse_websocket(target), ())
        if not self.router.routes and self.router.foreign_default is not None and "\0" not in target.path:
            # A foreign app by itself, or one whose migration has not begun: there is nothing to look for.
            return self._found(((self.router.default_route,), {}, 0, ()), HTTP, target)
        found, location, miss = self.decide(HTTP, target, (scope, environ, target), known)
        if found is not None:
            return self._found(found, HTTP, target)
        if location is not None:
            return self._respond(lambda: RedirectResponse(_with_query(location, scope, environ)), ())
        if miss.partial:
            return self._wrong_method(target.method, miss)
        if scope is not None and self._is_handshake(target, scope):
            return self._miss(self._refuse_websocket(target), ())
        return self._refusal(404, None, miss.trail)

    def decide(
        self, kind: int, target: Target, given: Given = None, known: Miss | None = None
    ) -> tuple[Found | None, str | None, Miss]:
        """Return where a request leads: to a match, or to another location, or nowhere, with the reasons.

        Args:
            kind: HTTP or WEBSOCKET.
            target: what it is for.
            given: what the server handed over, or None where there is no request: `dualroute.matching.Given`.
            known: why the index has nothing for it, where that is known.
        """
        found, miss = (None, known) if known is not None else self._find(kind, target, given)
        redirects = self.router.redirect_slashes
        if kind == WEBSOCKET or (found is not None and (target.path or not redirects)):
            return found, None, miss
        if miss.partial and not self._falls_back_on_405:
            return None, None, miss
        if redirects and not miss.partial:
            location = self._slash_redirect(target, found is not None, given)
            if location is not None:
                return None, location, miss
        return self._default(kind, target, miss, given), None, miss

    def _default(self, kind: int, target: Target, miss: Miss, given: Given) -> Found | None:
        table = self.router.table
        if table.default is None or "\0" in target.path:
            return None
        return table.match_default(kind, target.method, target.host, segments_of(target.path), 0, miss, given)

    def _find(self, kind: int, target: Target, given: Given) -> tuple[Found | None, Miss]:
        miss = Miss()
        if "\0" in target.path:
            return None, miss
        found = self.router.table.find(kind, target.method, target.host, target.path, miss, given)
        if found is None and kind == WEBSOCKET:
            found = self._default(kind, target, miss, given)
        return found, miss

    def _slash_redirect(self, target: Target, matched_empty: bool, given: Given) -> str | None:
        """Return where to redirect a path that only matches with its last slash added or taken off.

        The answer is relative to the host, so that nothing in the request can lead off-site: a path that starts with
        two slashes is written ``/.//…``, since ``//…`` alone would name a host (RFC 3986 section 4.2).
        """
        path = target.path
        if matched_empty:
            other = "/"
        elif path in ("", "/"):
            return None
        else:
            other = path[:-1] if path.endswith("/") else path + "/"
            miss = Miss()
            if "\0" in other:
                return None
            found = self.router.table.find(HTTP, target.method, target.host, other, miss, given)
            trail = miss.trail if found is None else found[0]
            if (found is None and not miss.partial) or not all(_redirects(step) for step in trail):
                return None
        location = quote_path(target.root_path + other)
        return f"/.{location}" if location.startswith("//") else location

    def _is_handshake(self, target: Target, raw: Any) -> bool:
        if "HTTP_UPGRADE" in raw:
            upgrade = raw["HTTP_UPGRADE"]
        else:
            upgrade = ""
            for name, value in raw.get("headers", ()):
                if name == b"upgrade":
                    upgrade += value.decode("latin-1")
        if not upgrade or "websocket" not in upgrade.lower():
            return False
        given = (None, raw, target) if "REQUEST_METHOD" in raw else (raw, None, target)
        return self._find(WEBSOCKET, target, given)[0] is not None

    def _refuse_websocket(self, target: Target) -> HTTPException:
        logger.warning("websocket handshake for %s refused: %s", printable(target.path), _NO_WEBSOCKETS)
        return HTTPException(501, f"Not Implemented: {_NO_WEBSOCKETS}")

    def _found(self, found: Found, kind: int, target: Target) -> _Routed:
        trail, params, depth, args = found
        method = target.method
        plan = self._plans[kind].get((trail, method)) or self._plan(trail, kind, method)
        mounted = _first_segments(target.path, depth) if depth else ""
        return plan, params or {}, mounted, args  # those that are none are shared

    def _note_literal(self, route: Any, method: str, path: str, plan: Plan) -> None:
        """Keep the plan for a path, where the next request for it is certain to be led to it again."""
        if self._table is None or self._table.literal(path) is not route or method not in METHODS:
            return
        version = self._routes.version
        if version != self._seen:
            self._literals.clear()
            self._seen = version
        self._literals[path, method] = plan

    def _plan(self, trail: tuple[Any, ...], kind: int, method: str) -> Plan:
        middleware, handlers, app = self._surroundings(trail, kind)
        route = trail[-1]
        limits = self._limits(trail)
        timeout = self._timeout(trail)
        handler: Any = route.websocket_handler if kind == WEBSOCKET else route.handler_for(method)
        if kind == HTTP and not middleware and limits is None and timeout is None:
            handler = route.bare_handler or handler
        shown = route if route.rule is None else route.rule
        plan = Plan(
            handler.call,
            middleware,
            handlers,
            is_async=handler.is_async,
            route=shown,
            app=app,
            limits=limits,
            timeout=timeout,
            router=self._outermost,
            direct=handler if type(handler) is Handler and timeout is None else None,
        )
        if kind == HTTP and timeout is None:
            plan.alone = _alone(plan, handler)
        plan.lives = lives_of(self.router, trail)
        # A client may make methods up, and an endpoint that takes any would have each of them remembered.
        if method in METHODS and not any(step.passing for step in trail):
            plans = self._plans[kind]
            if len(plans) >= _PLANS_LIMIT:
                plans.clear()
            plans[trail, method] = plan
        return plan

    def _limits(self, trail: tuple[Any, ...]) -> Limits | None:
        limits: Limits | None = self.app.limits if self.app is not None else None
        for step in trail:
            for inner in (step.limits, step.inner_app and step.inner_app.limits):
                if inner is not None:
                    limits = inner.inside(limits)
        return limits

    def _timeout(self, trail: tuple[Any, ...]) -> float | None:
        timeouts = [self.app.timeout if self.app is not None else None]
        for step in trail:
            timeouts += [step.timeout, step.inner_app and step.inner_app.timeout]
        return innermost_timeout(*timeouts)

    def _surroundings(self, trail: tuple[Any, ...], kind: int) -> tuple[list[Any], list[dict[Any, Any]], Any]:
        """Return the middleware around a trail (outermost first), the exception handlers (innermost first), the app."""
        name = "websocket" if kind == WEBSOCKET else "http"
        app: Any = self.app
        middleware: list[Any] = list(app.middleware) if app is not None else []
        middleware.extend(self.router.middleware)
        handlers: list[dict[Any, Any]] = [app.exception_handlers] if app is not None else []
        around: list[Any] = [app]
        if app is not None:
            app.freeze()
        for step in trail:
            middleware.extend(step.middleware)
            if step.inner_app is not None and not (step.assumed and step.inner_app in around):
                around.append(step.inner_app)
                app = step.inner_app
                app.freeze()
                middleware.extend(app.middleware)
                handlers.insert(0, app.exception_handlers)
            if (router := getattr(step, "router", None)) is not None:
                middleware.extend(router.middleware)
        return [item for item in middleware if covering(item, name)], handlers, app

    def _miss(self, error: Exception, trail: tuple[Any, ...], kind: int = HTTP) -> _Routed:
        def endpoint(connection: Any) -> Call:
            if type(error) is HTTPException:
                # A new one each time: through its traceback, the one that this function holds would hold this function.
                raise HTTPException(error.status_code, error.detail, error.headers)
            raise error

        # The answer comes from the mounts on the way, but a route that did not match has no say in it.
        containers = tuple(step for step in trail if hasattr(step, "routes"))
        middleware, handlers, app = self._surroundings(containers, kind)
        plan = Plan(endpoint, middleware, handlers, app=app, router=self._outermost)
        plan.lives = lives_of(self.router, containers)
        return plan, {}, "", ()

    def _refusal(self, status_code: int, allow: str | None, trail: tuple[Any, ...]) -> _Routed:
        """Answer a request that nothing takes; its plan is kept."""
        containers = tuple([step for step in trail if hasattr(step, "routes")]) if trail else ()
        plan = self._refusals.get((status_code, allow, containers))
        if plan is None:
            refusal = _Refusal(HTTPException(status_code, headers=None if allow is None else {"allow": allow}))
            middleware, handlers, app = self._surroundings(containers, HTTP)
            direct: Any = None if middleware else refusal
            plan = Plan(refusal.call, middleware, handlers, app=app, router=self._outermost, direct=direct)
            plan.lives = lives_of(self.router, containers)
            if not any(step.passing for step in containers):
                if len(self._refusals) >= _PLANS_LIMIT:
                    self._refusals.clear()
                self._refusals[status_code, allow, containers] = plan
        return plan, {}, "", ()

    def _refuse(self, error: HTTPException, kind: int) -> _Routed:
        logger.info("refused: %s", error.detail)
        return self._miss(error, (), kind)

    def _respond(self, make: Callable[[], Response], trail: tuple[Any, ...]) -> _Routed:
        def respond(connection: Any) -> Response:
            return make()

        def endpoint(connection: Any) -> Call:
            return Call.known(respond, (connection,), False, True)

        containers = tuple(step for step in trail if hasattr(step, "routes"))
        middleware, handlers, app = self._surroundings(containers, HTTP)
        plan = Plan(endpoint, middleware, handlers, app=app, router=self._outermost)
        plan.lives = lives_of(self.router, containers)
        return plan, {}, "", ()

    def _wrong_method(self, method: str, miss: Miss) -> _Routed:
        """Answer 405, or OPTIONS where no handler takes it (RFC 9110 sections 15.5.6 and 9.3.7)."""
        known = self._allows.get(miss.allowed)
        if known is None:
            known = ", ".join(sorted(miss.allowed | {"OPTIONS"}))
            if len(self._allows) >= _PLANS_LIMIT:
                self._allows.clear()
            self._allows[miss.allowed] = known
        allow = known
        if method == "OPTIONS":
            return self._respond(lambda: Response(headers={"allow": allow}), miss.trail)
        return self._refusal(405, allow, miss.trail)


def websocket_paths(router: Router, prefix: str = "", around: tuple[Router, ...] = ()) -> list[str]:
    """Return the paths of the websocket routes in a router, those inside mounts and hosts included."""
    paths: list[str] = []
    if router in around:  # a router may be mounted inside itself
        return paths
    for route in router.routes:
        if isinstance(route, WebSocketRoute):
            paths.append(prefix + route.path)
        elif isinstance(route, Mount | Host) and route.router is not None:
            inner = prefix + (route.path if isinstance(route, Mount) else "")
            paths.extend(websocket_paths(route.router, inner, (*around, router)))
        elif route.rule is not None and route.router is not None:
            paths.extend(websocket_paths(route.router, prefix, (*around, router)))
        elif route.rule is not None and route.websocket_handler is not None and route.foreign is None:
            paths.append(prefix + str(getattr(route, "path", "")))
    return paths


class _AlwaysRouter(Router):
    """A router that leads everything to one function, redirecting nothing."""

    def __init__(self, endpoint: Any) -> None:
        super().__init__(default=endpoint, redirect_slashes=False)


class _Refusal:
    """Answers with an error: a handler that needs nothing of the request (see `Plan.direct`)."""

    is_async = False
    inline = True

    def __init__(self, error: HTTPException) -> None:
        self._error = error
        # Nobody changes it: where there is middleware, the error is raised.
        self._response = error.response()

    def invoke(self, connection: Any) -> Response:
        """Return the answer, or raise the error where an exception handler may want it."""
        if any(connection._place.handlers):
            self.call(connection)
        return self._response

    def call(self, connection: Any) -> NoReturn:
        """Raise the error."""
        error = self._error
        # A new one each time: through its traceback, one that is kept would hold whatever it has passed through.
        raise HTTPException(error.status_code, error.detail, error.headers)


class _NoRoutes:
    """The routes of a router whose answers are found in another way."""

    version = 0


_NO_ROUTES: Any = _NoRoutes()

_UNREADABLE = Target("GET", "", "/", "localhost", "localhost")
"""Stands for a target that could not be read."""


def _stand_ins(scope: Scope | None, environ: Environ | None) -> tuple[Scope | None, Environ | None, Target]:
    """Return what stands for a request whose target could not be read, so that all middleware sees the same of it."""
    if scope is not None:
        method: str = scope["method"]
        scope = {**scope, "root_path": "", "path": "/", "raw_path": b"/"}
    else:
        assert environ is not None, "there is a scope or an environ"
        method = environ["REQUEST_METHOD"]
        environ = {**environ, "SCRIPT_NAME": "", "PATH_INFO": "/"}
    return scope, environ, _UNREADABLE._replace(method=method)


def _alone(plan: Plan, handler: Any) -> Any:
    """Return what answers by itself for all of a plan, if there is such: see `Plan.alone`."""
    if not plan.middleware:
        return handler if type(handler) is StreamingHandler else None
    make = getattr(plan.middleware[0], "__outermost__", None)
    return None if make is None else make(plan)


def _first_segments(path: str, count: int) -> str:
    if count == 1:
        return path[: path.find("/", 1)]
    return "/".join(path.split("/", count + 1)[: count + 1])


def _redirects(step: Any) -> bool:
    router = getattr(step, "router", None)
    return router is None or bool(router.redirect_slashes)


def _with_query(location: str, scope: Scope | None, environ: Environ | None) -> str:
    if environ is not None:
        query = str(environ.get("QUERY_STRING", ""))
    else:
        query = (scope or {}).get("query_string", b"").decode("latin-1")
    return f"{location}?{quote_query(query)}" if query else location
