"""The route table as plain values: what `dualroute routes` prints, and what any other tool may read.

Each route is a dict that JSON can hold, with the routes inside a mount, a host or a default below it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from dualroute.callables import describe
from dualroute.middleware import covering
from dualroute.routing import Host, Mount, Router, RoutesItself, WebSocketRoute, router_of

__all__ = ["RouteInfo", "described", "flattened", "route_table", "summary_rows"]

RouteInfo = dict[str, Any]
"""What is known of a route.

kind: "route", "websocket", "mount", "host", "rule" or "default";
own: its own path (or host), as declared; of a rule, its pattern, or what else its matcher wants;
path: the whole path, mounts included; it ends in ``/*`` for a mount, and in ``*`` for a default;
host: the host around it, or None;
name: its own name, and `full_name` as `url_for` takes it, or None;
methods: the HTTP methods, sorted; empty where it takes any, or is a websocket;
endpoint: what answers, by module and name; "" where there are only routes inside;
colour: "def", "async def", both, "def, inline" (see `sync_to_thread`), or the kind of a foreign app;
protocols: those of "ASGI" and "WSGI" on which it answers;
middleware: what stands around it, outermost first, that of apps and mounts further out included;
defined: file and line of what answers, or None;
routes: what is inside.
"""

BOTH: Final = ("ASGI", "WSGI")
NO_WSGI: Final = "websocket (ASGI only)"


@dataclass(frozen=True)
class _Place:
    """Where routes stand: what is around them."""

    path: str = ""
    name: str = ""
    host: str | None = None
    middleware: tuple[Any, ...] = ()
    routers: tuple[Any, ...] = ()


def route_table(app: Any) -> list[RouteInfo]:
    """Return the routes of an app in the order in which they are tried, the default last.

    An app that has no routes, being no DualRoute, Router or Mount, has an empty table.
    """
    return list(_routes(app, _Place(middleware=tuple(getattr(app, "middleware", ())))))


def flattened(table: Sequence[RouteInfo]) -> Iterator[RouteInfo]:
    """Yield every route that answers something: all but those that only hold others.

    Args:
        table: what `route_table` returned.
    """
    for info in table:
        if info["endpoint"] or not info["routes"]:
            yield info
        yield from flattened(info["routes"])


def summary_rows(table: Sequence[RouteInfo], depth: int = 0) -> Iterator[tuple[str, str, str, str]]:
    """Yield path, methods, name and endpoint of each route; those inside others are indented.

    Args:
        table: what `route_table` returned.
        depth: how deep to indent the outermost.
    """
    for info in table:
        path = f"{info['own']}/*" if info["kind"] == "mount" else info["own"]
        yield "  " * depth + path, takes(info), info["name"] or "", info["endpoint"]
        yield from summary_rows(info["routes"], depth + 1)


def takes(info: Mapping[str, Any]) -> str:
    """Return in words what a route answers."""
    if info["kind"] == "websocket":
        return NO_WSGI
    if info["kind"] in ("mount", "host", "rule"):
        return str(info["kind"])
    return ", ".join(info["methods"])


def _routes(app: Any, place: _Place) -> Iterator[RouteInfo]:
    router = router_of(app) if isinstance(app, RoutesItself) else getattr(app, "router", app)
    if router in place.routers:  # mounted inside itself
        return
    place = replace(place, routers=(*place.routers, router))
    for route in getattr(router, "routes", ()):
        yield _described(route, place)
    if isinstance(router, Router) and router.default_route is not None:
        info = _described(router.default_route, place)
        info.update(kind="default", own="*", path=f"{place.path}*" if place.path.endswith("/") else f"{place.path}/*")
        yield info


def described(route: Any) -> RouteInfo:
    """Return what is known of a route by itself, with the routes inside it."""
    return _described(route, _Place())


def _described(route: Any, place: _Place) -> RouteInfo:
    rule = getattr(route, "rule", None)
    container = isinstance(route, Mount | Host) or (rule is not None and route.router is not None)
    target = _target(route)
    inner = getattr(route, "inner_app", None)
    router = getattr(route, "router", None)
    own_and_inner = [item for owner in (route, inner, router) for item in getattr(owner, "middleware", ())]
    around = (*place.middleware, *own_and_inner)
    own = route.host if isinstance(route, Host) else str(getattr(route, "path", repr(route)))
    path = place.path + ("" if isinstance(route, Host) else own)
    name = getattr(rule or route, "name", None)
    inside = replace(
        place,
        path=path if rule is None else place.path,  # a rule strips nothing
        name=f"{place.name}{name}:" if name and rule is None else place.name,
        host=own if isinstance(route, Host) else place.host,
        middleware=around,
    )
    routes = list(_routes(route.app, inside)) if container and route.router is not None else []
    if isinstance(route, WebSocketRoute):
        kind = "websocket"
        around = tuple(item for item in around if covering(item, "websocket"))
    elif rule is not None:
        kind = "rule"
    else:
        kind = "host" if isinstance(route, Host) else "mount" if container else "route"
    return {
        "kind": kind,
        "own": own,
        "path": f"{path}/*" if container and rule is None else path,
        "host": inside.host,
        "name": name,
        "full_name": f"{place.name}{name}" if name else None,
        "methods": sorted(getattr(route, "methods", None) or _methods_of(route)),
        "endpoint": "" if isinstance(target, Router) else describe(target),
        "colour": _colour(route),
        "protocols": list(_protocols(route)),
        "middleware": [_middleware_name(item) for item in around],
        "defined": _defined(target, is_app=getattr(route, "foreign", None) is not None),
        "routes": routes,
    }


def _methods_of(route: Any) -> set[str]:
    """Return the methods that an endpoint class takes which a rule leads to."""
    return set(route.handlers) - {"*"} if getattr(route, "rule", None) is not None else set()


def _target(route: Any) -> Any:
    foreign = getattr(route, "foreign", None)
    if foreign is not None:
        return foreign.app
    return getattr(route, "app", None) or getattr(route, "endpoint", route)


def _handlers(route: Any) -> list[Any]:
    found = [*(getattr(route, "handlers", None) or {}).values(), getattr(route, "websocket_handler", None)]
    return [handler for handler in found if handler is not None]


def _colour(route: Any) -> str:
    if isinstance(route, Mount | Host) or getattr(route, "rule", None) is not None:
        if route.router is not None:
            return ""
        if route.foreign is not None:
            return f"{'ASGI' if route.foreign.handler.is_async else 'WSGI'} app"
    colours = {
        "async def" if handler.is_async else "def, inline" if handler.inline else "def" for handler in _handlers(route)
    }
    return " and ".join(sorted(colours, reverse=True))


def _protocols(route: Any) -> tuple[str, ...]:
    only_websockets = isinstance(route, WebSocketRoute) or (
        isinstance(route, Mount | Host) and route.router is None and not route.handlers
    )
    return BOTH[:1] if only_websockets else BOTH


def _middleware_name(middleware: Any) -> str:
    owner = getattr(middleware, "__self__", middleware)
    return describe(getattr(owner, "cls", None) or middleware)


def _defined(target: Any, *, is_app: bool) -> str | None:
    """Return file and line of a function or a class, or of an object's class; an app's own class tells nothing."""
    if isinstance(target, Router):
        return None
    while isinstance(target, functools.partial):
        target = target.func
    if not (inspect.isroutine(target) or isinstance(target, type)):
        if is_app:
            return None
        target = type(target)
    target = inspect.unwrap(target)
    code = getattr(target, "__code__", None)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    try:
        return f"{inspect.getsourcefile(target)}:{inspect.findsource(target)[1] + 1}"
    except (OSError, TypeError):  # written in C, or typed at a prompt
        return None
