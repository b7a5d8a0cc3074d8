"""Who matches: dualroute, two by hand that say how fast Python could be, and the matchers of other frameworks.

Each candidate makes its own kind of table of the routes that are declared, and is called as its own framework calls
it, below everything else that happens to a request.  What a framework would have made of the request by then (an
environ, a scope, its request object) is made beforehand.  No candidate may answer from a cache by URL: where a peer
has one, the function beneath is called.

A peer's modules are imported when it is made, so that one that is not installed can be left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from inspect import unwrap
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

from dualroute.matching import HTTP, Found, Miss
from dualroute.routing import Host, Mount, Route, Router
from tests.benchmarks.matching_tables import HOSTS, MOUNTS, PARAMETER, PATHS, Answer, Asked, Declared

__all__ = ["BARE", "CANDIDATES", "DICT", "OURS", "Call", "Candidate", "available", "look_up"]

OURS = "dualroute"
BARE = "bare trie"
DICT = "dict look-up"

NOT_FOUND = Answer(404)
NOT_ALLOWED = Answer(405)


def look_up(router: Router, method: str, path: str, host: str = "bench.example") -> Found | Miss:
    """Ask dualroute's index, as its dispatcher does: the one place in which the benchmarks and tests know how."""
    miss = Miss()
    return router.table.find(HTTP, method, host, path, miss) or miss


class Call(NamedTuple):
    """A look-up, ready to be timed.

    Args:
        function: called with `args`; what it returns is the answer in the candidate's own words, exceptions included.
        args: its arguments.
        read: turns that into an Answer; not timed.
        awaited: whether `function` has to be awaited.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    read: Callable[[Any], Answer]
    awaited: bool = False


class Candidate:
    """Makes tables, and looks up requests in them."""

    name: ClassVar[str]
    modules: ClassVar[tuple[str, ...]] = ()
    """What it is imported from."""
    kinds: ClassVar[frozenset[str]] = frozenset({PATHS})
    """Which kinds of tables it can make."""
    remark: ClassVar[str] = ""
    """What to know of its figures."""
    unable: ClassVar[Mapping[str, str]] = {}
    """Why it is left out, by the name of a shape or a look-up."""
    slow: ClassVar[bool] = False
    """Whether a table of some thousand routes takes it seconds."""
    weighed: ClassVar[int | None] = None
    """How many routes at most its memory is measured with; as many as there are where it is None."""

    def __init__(self) -> None:
        self.imported: dict[str, Any] = {name: import_module(name) for name in self.modules}

    def build(self, declared: Declared) -> Any:
        """Return the table, ready for look-ups."""
        raise NotImplementedError

    def add(self, table: Any, route: str) -> None:
        """Put one more route into a table of PATHS that is in use."""
        raise NotImplementedError

    def call(self, table: Any, asked: Asked) -> Call:
        """Return the look-up of a request."""
        raise NotImplementedError


def _translated(route: str, parameter: Callable[[str, str], str], literal: Callable[[str], str] = str) -> str:
    """Return a path in another syntax, which `parameter` makes of a name and a convertor ("str" where it has none)."""
    text, at = "", 0
    for match in PARAMETER.finditer(route):
        text += literal(route[at : match.start()]) + parameter(match[1], match[2] or "str")
        at = match.end()
    return text + literal(route[at:])


def _texts(params: Mapping[str, Any] | None) -> dict[str, str]:
    """Return parameters as text, so that they can be compared, whether converted or not."""
    return {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in (params or {}).items()}


async def _endpoint(*args: Any) -> Any:
    """Stand for a user's code; nobody calls it."""


# By hand

_CHILD = 0
_METHODS = 1


class Bare(Candidate):
    """A dict of segments for each node, and no way back: what pure Python can do at best."""

    name = BARE
    unable: ClassVar = {
        "tails after N prefixes": "has whole segments only",
        "mixed segments after N prefixes": "has whole segments only",
        "distinct parameters at one node": "has whole segments only",
        "adversary: chains": "does not go back",
    }

    def build(self, declared: Declared) -> Any:
        root: dict[Any, Any] = {}
        for route in declared.groups[""]:
            self.add(root, route)
        return root

    def add(self, table: Any, route: str) -> None:
        node = table
        for segment in route.split("/")[1:]:
            match = PARAMETER.fullmatch(segment)
            if match is None:
                node = node.setdefault(segment, {})
            else:
                node = node.setdefault(_CHILD, (match[1], int if match[2] == "int" else str, {}))[2]
        node.setdefault(_METHODS, {})["GET"] = route

    def call(self, table: Any, asked: Asked) -> Call:
        return Call(_walk, (table, asked.method, asked.path), _read_bare)


def _walk(root: dict[Any, Any], method: str, path: str) -> Any:
    node = root
    params: dict[str, Any] = {}
    for segment in path.split("/")[1:]:
        after = node.get(segment)
        if after is None:
            child = node.get(_CHILD)
            if child is None or not segment:
                return 404
            name, convert, after = child
            try:
                params[name] = convert(segment)
            except ValueError:
                return 404
        node = after
    methods = node.get(_METHODS)
    if methods is None:
        return 404
    endpoint = methods.get(method)
    if endpoint is None:
        return 405
    return endpoint, params


def _read_bare(result: Any) -> Answer:
    return Answer(result) if isinstance(result, int) else Answer(200, result[0], _texts(result[1]))


class Dict(Candidate):
    """One dict of whole paths, for those that have no parameters."""

    name = DICT
    unable: ClassVar = {
        **dict.fromkeys(
            ("first, with parameters", "middle, with parameters", "last, with parameters", "405, last route"),
            "static paths only",
        ),
        **dict.fromkeys(
            (*Bare.unable, "starting with a parameter", "adversary: all combinations"), "static paths only"
        ),
    }

    def build(self, declared: Declared) -> Any:
        table: dict[str, dict[str, str]] = {}
        for route in declared.groups[""]:
            self.add(table, route)
        return table

    def add(self, table: Any, route: str) -> None:
        table[route] = {"GET": route}

    def call(self, table: Any, asked: Asked) -> Call:
        return Call(_get, (table, asked.method, asked.path), _read_bare)


def _get(table: dict[str, dict[str, str]], method: str, path: str) -> Any:
    methods = table.get(path)
    if methods is None:
        return 404
    endpoint = methods.get(method)
    if endpoint is None:
        return 405
    return endpoint, {}


# Ours


class Ours(Candidate):
    name = OURS
    kinds = frozenset({PATHS, HOSTS, MOUNTS})

    def build(self, declared: Declared) -> Any:
        if declared.kind == PATHS:
            return Router(self._routes(declared.groups[""]))
        kind: Callable[[str, Router], Any] = Host if declared.kind == HOSTS else Mount
        return Router([kind(place, Router(self._routes(routes))) for place, routes in declared.groups.items()])

    def _routes(self, routes: Iterable[str]) -> list[Any]:
        return [Route(route, _endpoint, methods=["GET"]) for route in routes]

    def add(self, table: Any, route: str) -> None:
        table.routes.append(Route(route, _endpoint, methods=["GET"]))

    def call(self, table: Any, asked: Asked) -> Call:
        return Call(look_up, (table, asked.method, asked.path, asked.host), self._read)

    def _read(self, result: Found | Miss) -> Answer:
        if isinstance(result, Miss):
            return NOT_ALLOWED if result.partial else NOT_FOUND
        trail, params, *_ = result
        return Answer(200, trail[-1].path, _texts(params))


# Peers


class Litestar(Candidate):
    """ASGIRouter: a trie beside a set of static paths.

    `handle_routing` is `_handle_routing` behind a cache, as is the conversion of parameters, of which no URL may be
    answered either: what they wrap is called.
    """

    name = "Litestar"
    modules = ("litestar", "litestar._asgi.asgi_router", "litestar._asgi.routing_trie.traversal", "litestar.utils")
    unable: ClassVar = {
        "mixed segments after N prefixes": "has whole segments only",
        "distinct parameters at one node": "has whole segments only",
        "adversary: chains": "does not go back",
    }
    slow = True
    weighed = 1000  # What it takes grows with the square, to minutes where allocations are traced.

    def __init__(self) -> None:
        super().__init__()
        self._litestar = self.imported["litestar"]
        self._errors = import_module("litestar.exceptions")
        self._normalize = self.imported["litestar.utils"].normalize_path
        traversal = self.imported["litestar._asgi.routing_trie.traversal"]
        # A copy of the function, in which the conversion is the uncached one: the module is left as it is.
        function = traversal.parse_path_to_route
        names = {**vars(traversal), "parse_path_params": unwrap(traversal.parse_path_params)}
        self._find = type(function)(function.__code__, names, function.__name__, function.__defaults__)
        self._find.__kwdefaults__ = function.__kwdefaults__

    def build(self, declared: Declared) -> Any:
        app = self._litestar.Litestar([self._handler(route) for route in declared.groups[""]], openapi_config=None)
        return app.asgi_router, app

    def _handler(self, route: str) -> Any:
        path = _translated(route, lambda name, kind: f"{{{name}:{kind}}}")
        return self._litestar.get(path, opt={"route": route})(_litestar_endpoint)

    def add(self, table: Any, route: str) -> None:
        _, app = table
        app.register(self._handler(route))

    def call(self, table: Any, asked: Asked) -> Call:
        router, _ = table
        parse, normalize, error = self._find, self._normalize, self._errors.HTTPException

        def find(method: str, path: str) -> Any:
            try:
                # What `_handle_routing` does, and before it the router for the path.
                return parse(
                    mount_paths_regex=router._mount_paths_regex,
                    mount_routes=router._mount_routes,
                    path=normalize(path),
                    plain_routes=router._plain_routes,
                    root_node=router.root_route_map_node,
                    method=method,
                )
            except error as raised:
                return raised

        return Call(find, (asked.method, asked.path), self._read)

    def _read(self, result: Any) -> Answer:
        if isinstance(result, Exception):
            return Answer(getattr(result, "status_code", 500))
        _, handler, _, params, _ = result
        return Answer(200, handler.opt["route"], {name: text.lstrip("/") for name, text in _texts(params).items()})


async def _litestar_endpoint() -> None:
    """Stand for a user's code: Litestar wants to see annotations."""


class Aiohttp(Candidate):
    """UrlDispatcher: an index by the literal prefix of a path, walked from its end."""

    name = "aiohttp"
    modules = ("aiohttp.web",)
    kinds = frozenset({PATHS, HOSTS, MOUNTS})
    remark = "does not convert"

    def build(self, declared: Declared) -> Any:
        web = self.imported["aiohttp.web"]
        app, names = web.Application(), {}
        for place, routes in declared.groups.items():
            inner = app if declared.kind == PATHS else web.Application()
            for route in routes:
                names[self._add(inner, route)] = route
            if declared.kind == MOUNTS:
                app.add_subapp(place, inner)
            elif declared.kind == HOSTS:
                app.add_domain(place, inner)
        return app, names

    def _add(self, app: Any, route: str) -> Any:
        kinds = {"str": "", "int": r":\d+", "path": ":.*"}
        path = _translated(route, lambda name, kind: f"{{{name}{kinds[kind]}}}")
        return app.router.add_route("GET", path, _endpoint)

    def add(self, table: Any, route: str) -> None:
        app, names = table
        names[self._add(app, route)] = route

    def call(self, table: Any, asked: Asked) -> Call:
        app, names = table
        request = SimpleNamespace(
            method=asked.method, rel_url=SimpleNamespace(path_safe=asked.path), headers={"Host": asked.host}
        )

        def read(result: Any) -> Answer:
            error = result.http_exception
            return Answer(error.status) if error is not None else Answer(200, names[result.route], _texts(result))

        return Call(app.router.resolve, (request,), read, awaited=True)


class Falcon(Candidate):
    """CompiledRouter: the tree as one function of generated code."""

    name = "Falcon"
    modules = ("falcon.routing",)
    slow = True

    def build(self, declared: Declared) -> Any:
        router = self.imported["falcon.routing"].CompiledRouter()
        for route in declared.groups[""]:
            self.add(router, route)
        return router

    def add(self, table: Any, route: str) -> None:
        table.add_route(route, _Resource(route))

    def call(self, table: Any, asked: Asked) -> Call:
        router = table

        def find(method: str, path: str) -> Any:
            found = router.find(path)
            if found is None:
                return None
            resource, methods, params, _ = found
            return resource, methods[method], params

        return Call(find, (asked.method, asked.path), self._read)

    def _read(self, result: Any) -> Answer:
        if result is None:
            return NOT_FOUND
        resource, responder, params = result
        if not isinstance(getattr(responder, "__self__", None), _Resource):
            # The responder that Falcon puts in for methods that a resource lacks.
            return NOT_ALLOWED
        return Answer(200, resource.route, _texts(params))


class _Resource:
    def __init__(self, route: str) -> None:
        self.route = route

    def on_get(self, request: Any, response: Any, **params: Any) -> None:
        """Stand for a user's code."""


class Sanic(Candidate):
    """BaseRouter of sanic-routing, as Sanic's own router beneath its cache: generated code."""

    name = "sanic-routing"
    modules = ("sanic_routing", "sanic_routing.exceptions")
    unable: ClassVar = {
        "mixed segments after N prefixes": "only as a regex",
        "distinct parameters at one node": "only as a regex",
    }
    kinds = frozenset({PATHS, HOSTS})
    slow = True

    def build(self, declared: Declared) -> Any:
        class Generated(self.imported["sanic_routing"].BaseRouter):  # type: ignore[misc]  # its base is a value
            DEFAULT_METHOD = "GET"
            ALLOWED_METHODS = ("GET", "POST")

            def get(self, path: str, method: str, host: str | None) -> Any:
                return self.resolve(path, method=method, extra={"host": host} if host else None)

        router = Generated()
        for place, routes in declared.groups.items():
            for route in routes:
                self._add(router, route, {"host": place} if declared.kind == HOSTS else None)
        router.finalize()
        return router

    def _add(self, router: Any, route: str, requirements: dict[str, str] | None = None) -> None:
        path = _translated(route, lambda name, kind: f"<{name}:{kind}>")
        router.add(path, route, methods=["GET"], requirements=requirements)

    def add(self, table: Any, route: str) -> None:
        table.reset()
        self._add(table, route)
        table.finalize()

    def call(self, table: Any, asked: Asked) -> Call:
        get = table.get
        exceptions = self.imported["sanic_routing.exceptions"]
        errors = exceptions.NotFound, exceptions.NoMethod

        def find(path: str, method: str, host: str) -> Any:
            try:
                return get(path, method, host)
            except errors as raised:
                return raised

        def read(result: Any) -> Answer:
            if isinstance(result, exceptions.NoMethod):
                return NOT_ALLOWED
            if isinstance(result, Exception):
                return NOT_FOUND
            _, handler, params = result
            return Answer(200, handler, _texts(params))

        return Call(find, (asked.path, asked.method, asked.host), read)


class Bottle(Candidate):
    """Router: a dict of static paths, and regular expressions of up to 99 routes each."""

    name = "Bottle"
    modules = ("bottle",)
    slow = True

    def build(self, declared: Declared) -> Any:
        router = self.imported["bottle"].Router()
        for route in declared.groups[""]:
            self.add(router, route)
        return router

    def add(self, table: Any, route: str) -> None:
        kinds = {"str": "", "int": ":int", "path": ":path"}
        table.add(_translated(route, lambda name, kind: f"<{name}{kinds[kind]}>"), "GET", route)

    def call(self, table: Any, asked: Asked) -> Call:
        match, error = table.match, self.imported["bottle"].HTTPError

        def find(environ: dict[str, Any]) -> Any:
            try:
                return match(environ)
            except error as raised:
                return raised

        return Call(find, ({"REQUEST_METHOD": asked.method, "PATH_INFO": asked.path},), self._read)

    def _read(self, result: Any) -> Answer:
        if isinstance(result, Exception):
            return Answer(getattr(result, "status_code", 500))
        return Answer(200, result[0], _texts(result[1]))


class Werkzeug(Candidate):
    """MapAdapter over a Map: a state machine of literals and regular expressions.  The binding is not timed."""

    name = "Werkzeug"
    modules = ("werkzeug.routing", "werkzeug.exceptions")
    kinds = frozenset({PATHS, HOSTS})

    def build(self, declared: Declared) -> Any:
        routing = self.imported["werkzeug.routing"]
        hosts = declared.kind == HOSTS
        return routing.Map(
            [
                self._rule(route, host=place if hosts else None)
                for place, routes in declared.groups.items()
                for route in routes
            ],
            host_matching=hosts,
        )

    def _rule(self, route: str, host: str | None = None) -> Any:
        kinds = {"str": "", "int": "int:", "path": "path:"}
        path = _translated(route, lambda name, kind: f"<{kinds[kind]}{name}>")
        return self.imported["werkzeug.routing"].Rule(path, endpoint=route, methods=["GET"], host=host)

    def add(self, table: Any, route: str) -> None:
        table.add(self._rule(route))

    def call(self, table: Any, asked: Asked) -> Call:
        match = table.bind(asked.host).match
        error = self.imported["werkzeug.exceptions"].HTTPException

        def find(path: str, method: str) -> Any:
            try:
                return match(path, method, return_rule=True)
            except error as raised:
                return raised

        return Call(find, (asked.path, asked.method), self._read)

    def _read(self, result: Any) -> Answer:
        if isinstance(result, Exception):
            return Answer(getattr(result, "code", 500))
        rule, params = result
        return Answer(200, rule.endpoint, _texts(params))


class Tornado(Candidate):
    """Application.find_handler: rules, asked one by one."""

    name = "Tornado"
    modules = ("tornado.web", "tornado.routing", "tornado.httputil")
    kinds = frozenset({PATHS, HOSTS, MOUNTS})
    remark = "does not convert"
    unable: ClassVar = {"405, last route": "its handlers look at the method"}

    def build(self, declared: Declared) -> Any:
        app = self.imported["tornado.web"].Application()
        for place, routes in declared.groups.items():
            if declared.kind == HOSTS:
                app.add_handlers(re.escape(place), [self._rule(route) for route in routes])
            elif declared.kind == MOUNTS:
                inner = type(app.wildcard_router)(app, [self._rule(route, place) for route in routes])
                app.wildcard_router.add_rules([(f"{re.escape(place)}/.*", inner)])
            else:
                app.wildcard_router.add_rules([self._rule(route) for route in routes])
        return app

    def _rule(self, route: str, prefix: str = "") -> tuple[Any, ...]:
        kinds = {"str": "[^/]+", "int": "[0-9]+", "path": ".*"}
        pattern = _translated(prefix + route, lambda name, kind: f"(?P<{name}>{kinds[kind]})", re.escape)
        return pattern, self.imported["tornado.web"].RequestHandler, {"route": route}

    def add(self, table: Any, route: str) -> None:
        table.wildcard_router.add_rules([self._rule(route)])

    def call(self, table: Any, asked: Asked) -> Call:
        httputil = self.imported["tornado.httputil"]
        request = httputil.HTTPServerRequest(
            start_line=httputil.RequestStartLine(asked.method, asked.path, "HTTP/1.1"),
            headers=httputil.HTTPHeaders({"Host": asked.host}),
        )
        return Call(table.find_handler, (request,), self._read)

    def _read(self, result: Any) -> Answer:
        if "route" not in result.handler_kwargs:
            return NOT_FOUND
        return Answer(200, result.handler_kwargs["route"], _texts(result.path_kwargs))


class BlackSheep(Candidate):
    """Router: the routes of a method, asked one by one.

    `get_match` asks a cached method, in the place of which stands what that wraps.
    """

    name = "BlackSheep"
    modules = ("blacksheep", "blacksheep.server.routing")
    kinds = frozenset({PATHS, HOSTS})
    remark = "does not convert"
    unable: ClassVar = {
        "405, last route": "answers 404",
        "mixed segments after N prefixes": "has no second parameter in a segment",
    }

    def build(self, declared: Declared) -> Any:
        router_class = self.imported["blacksheep.server.routing"].Router
        names: dict[bytes, str] = {}
        inner = [router_class(host=place) if declared.kind == HOSTS else router_class() for place in declared.groups]
        for router, routes in zip(inner, declared.groups.values(), strict=True):
            for route in routes:
                self._add(router, names, route)
        router = router_class(sub_routers=inner) if declared.kind == HOSTS else inner[0]
        router.get_match_by_method_and_path = partial(unwrap(router_class.get_match_by_method_and_path), router)
        router.apply_routes()
        router.sort_routes()
        return router, names

    def _add(self, router: Any, names: dict[bytes, str], route: str) -> None:
        kinds = {"str": "", "int": "int:", "path": "path:"}
        path = _translated(route, lambda name, kind: f"{{{kinds[kind]}{name}}}")
        router.add("GET", path, _endpoint)
        names[path.encode()] = route

    def add(self, table: Any, route: str) -> None:
        router, names = table
        self._add(router, names, route)
        router.apply_routes()
        router.sort_routes()

    def call(self, table: Any, asked: Asked) -> Call:
        router, names = table
        headers = [(b"Host", asked.host.encode())]
        request = self.imported["blacksheep"].Request(asked.method, asked.path.encode(), headers)

        def read(result: Any) -> Answer:
            if result is None:
                return NOT_FOUND
            return Answer(200, names[result.pattern], _texts(result.values))

        return Call(router.get_match, (request,), read)


class Starlette(Candidate):
    """Router: its routes, asked one by one.  What it does after a miss, to look for slash redirects, is left out."""

    name = "Starlette"
    modules = ("starlette.routing",)
    kinds = frozenset({PATHS, HOSTS, MOUNTS})

    def build(self, declared: Declared) -> Any:
        routing = self.imported["starlette.routing"]
        router = routing.Router()
        for place, routes in declared.groups.items():
            inner = router if declared.kind == PATHS else routing.Router()
            for route in routes:
                self.add(inner, route)
            if declared.kind != PATHS:
                router.routes.append((routing.Mount if declared.kind == MOUNTS else routing.Host)(place, inner))
        return router

    def add(self, table: Any, route: str) -> None:
        table.routes.append(self.imported["starlette.routing"].Route(route, _endpoint, methods=["GET"]))

    def call(self, table: Any, asked: Asked) -> Call:
        routing = self.imported["starlette.routing"]
        router_class, full, none = routing.Router, routing.Match.FULL, routing.Match.NONE

        def find(router: Any, scope: dict[str, Any]) -> Any:
            partial = None
            for route in router.routes:
                match, child_scope = route.matches(scope)
                if match is full:
                    app = getattr(route, "app", None)
                    if isinstance(app, router_class):
                        return find(app, {**scope, **child_scope})
                    return route, child_scope
                if match is not none and partial is None:
                    partial = 405
            return partial

        scope = {
            "type": "http",
            "method": asked.method,
            "path": asked.path,
            "root_path": "",
            "headers": [(b"host", asked.host.encode())],
        }
        return Call(find, (table, scope), self._read)

    def _read(self, result: Any) -> Answer:
        if not isinstance(result, tuple):
            return NOT_FOUND if result is None else Answer(result)
        route, child_scope = result
        return Answer(200, route.path, _texts(child_scope["path_params"]))


CANDIDATES: tuple[type[Candidate], ...] = (
    Bare,
    Dict,
    Ours,
    Litestar,
    Aiohttp,
    Falcon,
    Sanic,
    Bottle,
    Werkzeug,
    Tornado,
    BlackSheep,
    Starlette,
)


def available() -> tuple[dict[str, Candidate], dict[str, str]]:
    """Return the candidates by name, and for those that can't take part, why."""
    candidates: dict[str, Candidate] = {}
    missing: dict[str, str] = {}
    for kind in CANDIDATES:
        try:
            candidates[kind.name] = kind()
        except ImportError:
            missing[kind.name] = "not installed"
    return candidates, missing
