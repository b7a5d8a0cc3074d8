"""The URL maps of other frameworks, read by duck typing: no framework is imported that the app has not imported.

Read are Flask and Quart (a Werkzeug map), Django, Bottle, and Starlette with what is built on it, such as FastAPI.
Each URL comes out as a `LegacyURL`: what its framework says of it, for people, and the *parts* from which sample paths
are made (`dualroute.samples`), for the comparison with other routes (`dualroute.migration`).

Frameworks keep such things where they like, and users subclass them.  So whatever goes wrong with one URL costs that
URL its samples and nothing else.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from dualroute.callables import describe
from dualroute.samples import NoSample, Part, choice, regex_groups

__all__ = ["ANY", "WEBSOCKET", "LegacyURL", "listed", "unwrapped"]

ANY: tuple[str, ...] = ("any",)
"""The methods of a URL whose framework does not tell them."""
WEBSOCKET: tuple[str, ...] = ("websocket",)
"""The methods of a URL that takes websockets."""

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

_Shapes: TypeAlias = tuple[tuple[Part, ...], ...]

# Where a middleware or an adapter keeps the app inside it.
_INSIDE = ("app", "application", "wsgi_app", "wsgi_application", "asgi_app", "__self__")


@dataclass
class LegacyURL:
    """One URL of an app's map.

    Args:
        path: as the framework writes it, without a host.
        methods: the HTTP methods; `ANY` or `WEBSOCKET`.
        endpoint: what answers it, by the framework's name for that.
        shapes: what its paths are made of, in each of several ways where something is optional; None where that can't
            be told.
        host: as the framework writes it; empty where any host will do.
        host_parts: what its host is made of.
        accepts: tells whether a sample path is really one of this URL's.
    """

    path: str
    methods: tuple[str, ...]
    endpoint: str
    shapes: _Shapes | None
    host: str = ""
    host_parts: tuple[Part, ...] = ()
    accepts: Callable[[str], bool] | None = None


def unwrapped(app: Any) -> Any:
    """Return the app whose URL map can be read: `app` itself, one inside middleware around it, or None."""
    for _ in range(10):
        if _reader(app) is not None:
            return app
        if isinstance(getattr(app, "mounts", None), dict):  # Werkzeug's DispatcherMiddleware: one of several apps
            return None
        app = next((inside for name in _INSIDE if callable(inside := getattr(app, name, None))), None)
    return None


def listed(app: Any) -> list[LegacyURL]:
    """Return the URLs of an app that `unwrapped` has returned, in the order of its map.

    Raises whatever its framework raises, where there is no reading the map.
    """
    reader = _reader(app)
    assert reader is not None, "asked for what can be read"
    return list(reader(app))


def _reader(app: Any) -> Callable[[Any], Iterator[LegacyURL]] | None:
    classes = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(app).__mro__}
    if "django.core.handlers.base.BaseHandler" in classes:
        return _django
    if hasattr(getattr(app, "url_map", None), "iter_rules"):
        return _werkzeug
    if "bottle.Bottle" in classes:
        return _bottle
    if any(name.startswith("starlette.") for name in classes) and isinstance(getattr(app, "routes", None), list):
        return _starlette
    return None


def _shape(make: Callable[[], Iterable[Part]]) -> _Shapes | None:
    """Return the one shape that a function makes, or None where it can't."""
    try:
        return (tuple(make()),)
    except Exception:  # NoSample, or a converter of the user's
        return None


def _told(methods: Iterable[str] | None) -> tuple[str, ...]:
    """Return methods without HEAD and OPTIONS, which frameworks add to any others."""
    if methods is None:
        return ANY
    upper = sorted({method.upper() for method in methods})
    return tuple(method for method in upper if method not in ("HEAD", "OPTIONS")) or tuple(upper)


# Flask and Quart: https://werkzeug.palletsprojects.com/en/stable/routing/


def _werkzeug(app: Any) -> Iterator[LegacyURL]:
    server_name = str((getattr(app, "config", None) or {}).get("SERVER_NAME") or "").partition(":")[0]
    for rule in app.url_map.iter_rules():
        if rule.build_only:
            continue
        sides = _shape(partial(_rule_parts, rule))
        shapes: _Shapes | None = None
        host_parts: tuple[Part, ...] = ()
        if sides is not None:
            bar = sides[0].index("|")
            shapes, host_parts = (sides[0][bar + 1 :],), sides[0][:bar]
        host = rule.host or ""
        if rule.subdomain:
            host = f"{rule.subdomain}.{server_name}"
            host_parts = (*host_parts, f".{server_name}")
        methods = WEBSOCKET if rule.websocket else _told(rule.methods)
        yield LegacyURL(rule.rule, methods, str(rule.endpoint), shapes, host, host_parts)


def _rule_parts(rule: Any) -> Iterator[Part]:
    """Yield the parts of a rule: those of its host, a bar, those of its path."""
    for is_dynamic, text in rule._trace:
        if is_dynamic:
            converter = rule._converters[text]
            yield choice(text, converter.regex, converter.to_python)
        else:
            yield text


# Django: https://docs.djangoproject.com/en/stable/topics/http/urls/


def _django(handler: Any) -> Iterator[LegacyURL]:
    from importlib import import_module

    resolver = import_module("django.urls").get_resolver()
    # The outermost pattern is the regular expression for the first slash.
    yield from _django_patterns(resolver, resolver.url_patterns, "", (("/",),), ())


def _django_patterns(
    resolver: Any, patterns: Iterable[Any], around: str, shapes: _Shapes | None, namespaces: tuple[str, ...]
) -> Iterator[LegacyURL]:
    """Yield the URLs of patterns inside an include().

    Args:
        resolver: the outermost one.
        patterns: those inside.
        around: the include()'s own pattern, put together as Django does it for `ResolverMatch.route`.
        shapes: of the include().
        namespaces: those around.
    """
    for entry in patterns:
        try:
            behind: _Shapes | None = tuple(_django_shapes(entry.pattern))
        except Exception:  # NoSample, or a converter of the user's
            behind = None
        here = None if shapes is None or behind is None else tuple((*a, *b) for a in shapes for b in behind)
        route = around + str(entry.pattern).removeprefix("^") if around else str(entry.pattern)
        if hasattr(entry, "url_patterns"):
            inner = (*namespaces, entry.namespace) if entry.namespace else namespaces
            yield from _django_patterns(resolver, entry.url_patterns, route, here, inner)
            continue
        view = getattr(entry.callback, "view_class", None) or getattr(entry.callback, "cls", entry.callback)
        name = f" ({':'.join((*namespaces, entry.name))})" if entry.name else ""
        yield LegacyURL(
            "/" + route.removeprefix("^").removesuffix("$").removesuffix(r"\Z"),
            _django_methods(entry.callback),
            describe(view) + name,
            here,
            accepts=partial(_django_accepts, resolver, route, entry.callback),
        )


def _django_accepts(resolver: Any, route: str, view: Any, path: str) -> bool:
    try:
        match = resolver.resolve(path)
    except Exception:  # Resolver404, or a converter of the user's
        return False
    return match.func is view and match.route == route


def _django_shapes(pattern: Any) -> Iterator[tuple[Part, ...]]:
    if hasattr(pattern, "_route"):
        convertors = {name: (item.regex, item.to_python) for name, item in pattern.converters.items()}
        yield tuple(_fields(str(pattern), r"<(?:[^>:]+:)?([^>]+)>", convertors))
    elif hasattr(pattern, "_regex"):
        # What Django itself uses to make paths from regular expressions; what it can't read it refuses.
        normalize = sys.modules["django.utils.regex_helper"].normalize
        groups = {name: (regex, None) for name, regex in regex_groups(str(pattern)).items()}
        for text, _ in normalize(str(pattern)):
            yield tuple(_fields(text, r"%\((\w+)\)s", groups))
    else:
        yield (str(pattern),)  # the language, of i18n_patterns()


def _django_methods(view: Any) -> tuple[str, ...]:
    if isinstance(actions := getattr(view, "actions", None), dict):  # a viewset of Django REST framework
        return _told(actions)
    cls = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if cls is not None:
        return _told([name for name in cls.http_method_names if hasattr(cls, name)])
    while view is not None:
        # The decorator require_http_methods keeps its list in a closure.
        inner = getattr(view, "__func__", view)
        if "request_method_list" in getattr(getattr(inner, "__code__", None), "co_freevars", ()):
            return _told(inspect.getclosurevars(inner).nonlocals["request_method_list"])
        view = getattr(view, "__wrapped__", None)
    return ANY


# Bottle: https://bottlepy.org/docs/stable/routing.html


def _bottle(app: Any) -> Iterator[LegacyURL]:
    for route in app.routes:
        methods = ANY if route.method in ("ANY", "PROXY") else (route.method,)
        mounted = route.config.get("mountpoint.target")
        yield LegacyURL(
            route.rule,
            methods,
            describe(route.callback if mounted is None else mounted),
            _shape(partial(_bottle_parts, app.router, route.rule)),
        )


def _bottle_parts(router: Any, rule: str) -> Iterator[Part]:
    for key, mode, conf in router._itertokens(rule):
        if not mode:
            yield key
            continue
        regex, convert, _ = router.filters["re" if mode == "default" else mode](None if mode == "default" else conf)
        yield choice(key or mode, regex, convert)


# Starlette and FastAPI: https://www.starlette.io/routing/


def _starlette(app: Any) -> Iterator[LegacyURL]:
    yield from _starlette_routes(app.routes, "", (), "", ())


def _starlette_routes(
    routes: Iterable[Any],
    path: str,
    parts: tuple[Part, ...] | None,
    host: str,
    host_parts: tuple[Part, ...] | None,
) -> Iterator[LegacyURL]:
    """Yield the URLs of routes below a path and behind a host, whose parts are None where they can't be told."""
    for route in _flat(routes):
        here, behind, ending = path, parts, ""
        at, at_parts = host, host_parts
        if hasattr(route, "host"):
            at, at_parts = route.host, _starlette_parts(route.host_format, route)
        elif hasattr(route, "path"):
            here += route.path
            own = _starlette_parts(getattr(route, "path_format", None), route)
            behind = None if parts is None or own is None else (*parts, *own)
            if behind is not None and hasattr(route, "routes"):
                behind = (*behind[:-2], str(behind[-2]).removesuffix("/"))  # without the "/{path}" of a Mount
        else:  # a user's own kind of route
            here, behind = f"{path}?", None
        inside = getattr(route, "routes", None)
        if inside:
            yield from _starlette_routes(inside, here, behind, at, at_parts)
            continue
        if inside is None:
            endpoint = getattr(route, "endpoint", route)
            methods = _starlette_methods(route, endpoint)
        else:  # a Mount or a Host of what has no routes
            endpoint, methods, ending = route.app, ANY, "/*"
            behind = None if behind is None else (*behind, "/", choice("path", ".*"))
        shapes = None if behind is None or at_parts is None else (behind,)
        yield LegacyURL(here + ending, methods, describe(endpoint), shapes, at, at_parts or ())


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    """Yield the routes, with those of an included FastAPI router as they look from outside."""
    for route in routes:
        contexts = getattr(route, "effective_route_contexts", None)
        if contexts is None:
            yield route
        else:
            yield from (getattr(context, "starlette_route", None) or context for context in contexts())


def _starlette_parts(template: str | None, route: Any) -> tuple[Part, ...] | None:
    if template is None:
        return None
    convertors = {name: (item.regex, item.convert) for name, item in route.param_convertors.items()}
    shape = _shape(lambda: _fields(template, r"\{(\w+)\}", convertors))
    return None if shape is None else shape[0]


def _starlette_methods(route: Any, endpoint: Any) -> tuple[str, ...]:
    if not hasattr(route, "methods"):
        return WEBSOCKET if hasattr(route, "path") else ANY
    if not route.methods and isinstance(endpoint, type):
        return _told([method for method in _METHODS if hasattr(endpoint, method.lower())])
    return _told(route.methods or None)


def _fields(template: str, field: str, convertors: dict[str, Any]) -> Iterator[Part]:
    """Yield the parts of a template: the text, and a choice for each field.

    Args:
        template: the text.
        field: the regular expression of a field; its one group is the name.
        convertors: by name, the regular expression of what is taken and, or None, the function that converts it.
    """
    pieces = re.split(field, template)
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            if piece:
                yield piece
        elif piece in convertors:
            # A group without a name is called `_0` by Django and counted from 1 by people.
            name = f"group {int(piece[1:]) + 1}" if re.fullmatch(r"_\d+", piece) else piece
            yield choice(name, *convertors[piece])
        else:
            raise NoSample(f"{piece}: what it takes is not known")
