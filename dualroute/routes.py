"""What the four kinds of route have in common: the base class, the list that a router keeps them in, reverse look-up.

A reverse look-up asks the routes in order.  The first that has the name and takes just the parameters that were given
answers; where a value does not suit it, a later route of the same name may answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dualroute.datastructures import URLPath
from dualroute.exceptions import NoMatchFound
from dualroute.matching import Entry
from dualroute.middleware import Middleware
from dualroute.paths import Template, nearest
from dualroute.serving import Servable

if TYPE_CHECKING:
    from dualroute.applications import DualRoute
    from dualroute.dispatch import Dispatcher
    from dualroute.handlers import Handler
    from dualroute.limits import Limits

__all__ = ["BaseRoute", "RouteList", "first_path", "reverse"]


class BaseRoute(Servable):
    """What the four kinds of route have in common."""

    name: str | None
    middleware: tuple[Middleware, ...]
    limits: Limits | None = None
    template: Template
    inner_app: DualRoute | None = None
    """The application that it leads to, with middleware and handlers of its own; None for anything else."""
    bare_handler: Handler | None = None
    """What answers in place of the handler where nothing stands around the route."""

    def entries(self) -> Iterator[Entry]:
        """Yield this route as the index wants it, anew for each table."""
        raise NotImplementedError

    def names(self) -> Iterator[str]:
        """Yield every name that `url_path_for` takes here."""
        raise NotImplementedError

    def reverse(self, name: str, params: Mapping[str, Any]) -> URLPath | None:
        """Return the path for `name`, or None where this route does not have it, or takes other parameters.

        Raises ValueError for a value that a convertor refuses.
        """
        raise NotImplementedError

    def signatures(self, name: str) -> Iterator[set[str]]:
        """Yield the names of the parameters that each route called `name` takes, those of mounts around it included."""
        raise NotImplementedError

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Return the path of the route called `name`, percent-encoded.

        Raises NoMatchFound where no route here has that name and takes those parameters.
        """
        return reverse([self], name, path_params)

    def _make_dispatcher(self) -> Dispatcher:
        from dualroute.routing import Router

        return Router(routes=[self], redirect_slashes=False).dispatcher


class RouteList(list[Any]):
    """A router's routes: a list that counts its changes, so that the index knows when to follow."""

    __slots__ = ("revision",)

    revision: int
    """Raised by every change but an append."""

    def __init__(self, routes: Iterable[Any] = ()) -> None:
        self.revision = 0
        super().__init__()
        self.extend(routes)

    def append(self, route: Any) -> None:
        super().append(_checked_route(route))

    def extend(self, routes: Iterable[Any]) -> None:
        super().extend([_checked_route(route) for route in routes])

    def __iadd__(self, routes: Iterable[Any]) -> RouteList:  # type: ignore[misc]  # as list's own
        self.extend(routes)
        return self

    def insert(self, index: Any, route: Any) -> None:
        super().insert(index, _checked_route(route))
        self.revision += 1

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            value = [_checked_route(route) for route in value]
        else:
            _checked_route(value)
        super().__setitem__(index, value)
        self.revision += 1

    def __delitem__(self, index: Any) -> None:
        super().__delitem__(index)
        self.revision += 1

    def __imul__(self, count: Any) -> RouteList:  # type: ignore[misc]  # as list's own
        super().__imul__(count)
        self.revision += 1
        return self

    def pop(self, index: Any = -1) -> Any:
        route = super().pop(index)
        self.revision += 1
        return route

    def remove(self, route: Any) -> None:
        super().remove(route)
        self.revision += 1

    def clear(self) -> None:
        super().clear()
        self.revision += 1

    def reverse(self) -> None:
        super().reverse()
        self.revision += 1

    def sort(self, **options: Any) -> None:
        super().sort(**options)
        self.revision += 1


def _checked_route(route: Any) -> Any:
    if not isinstance(route, BaseRoute):
        raise TypeError(
            f"routes are Route, WebSocketRoute, Mount and Host objects, not {type(route).__name__}: {route!r}"
        )
    return route


def reverse(routes: Sequence[BaseRoute], name: str, params: Mapping[str, Any]) -> URLPath:
    """Return the path of the first of `routes` that has `name` and takes `params`.  Raises NoMatchFound."""
    try:
        path = first_path(routes, name, params)
    except ValueError as error:
        raise NoMatchFound(name, params, f": {error}") from error
    if path is not None:
        # A path that starts with two slashes would name a host where it stands alone (RFC 3986 section 4.2).
        return URLPath(f"/.{path}", path.protocol, path.host) if path.startswith("//") else path
    names = [known for route in routes for known in route.names()]
    if name in names:
        raise NoMatchFound(name, params, f"; a route of that name takes other parameters{_taken(routes, name)}")
    raise NoMatchFound(name, params, nearest(name, names))


def first_path(routes: Sequence[BaseRoute], name: str, params: Mapping[str, Any]) -> URLPath | None:
    """Return the first path for `name`, or None; where every route of that name refused a value, raise why."""
    refused: ValueError | None = None
    for route in routes:
        try:
            path = route.reverse(name, params)
        except ValueError as error:
            refused = refused or error
            continue
        if path is not None:
            return path
    if refused is not None:
        raise refused
    return None


def _taken(routes: Sequence[BaseRoute], name: str) -> str:
    """Describe the parameters that the routes called `name` take, mounts around them included."""
    found = [sorted(params) for route in routes for params in route.signatures(name)]
    return ": " + " or ".join(", ".join(params) or "none" for params in found) if found else ""
