"""What the four kinds of route have in common: the base class, the list that a router keeps them in, reverse look-up.

A reverse look-up asks the routes in order.  The first that has the name and takes just the parameters that were given
answers; where a value does not suit it, a later route of the same name may answer.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from dualroute.callables import describe
from dualroute.datastructures import URLPath
from dualroute.exceptions import HTTPException, NoMatchFound
from dualroute.matching import HTTP, WEBSOCKET, Entry, Miss, Table
from dualroute.middleware import MiddlewareFunction
from dualroute.paths import Template, compile_path, nearest
from dualroute.serving import Servable
from dualroute.targets import target_from_scope
from dualroute.types import Scope

if TYPE_CHECKING:
    import re

    from dualroute.applications import DualRoute
    from dualroute.convertors import Convertor
    from dualroute.dispatch import Dispatcher
    from dualroute.handlers import Handler
    from dualroute.limits import Limits

__all__ = ["BaseRoute", "CountingList", "Match", "RouteList", "first_path", "path_by_args", "reverse", "standing_alone"]


class Reversible(Protocol):
    """What names lead back to paths in: a route, or a router; for the methods see `BaseRoute`."""

    def names(self) -> Iterator[str]: ...
    def reverse(self, name: str, params: Mapping[str, Any], /) -> URLPath | None: ...
    def reverse_args(self, name: str, args: tuple[Any, ...], /) -> URLPath | None: ...
    def signatures(self, name: str, /) -> Iterator[tuple[str, ...]]: ...


class Match(enum.Enum):
    """What a route by itself makes of a scope: see `BaseRoute.matches`.

    A member is equal to that of the same name in Starlette's class `Match`, which middleware of others compares with.
    """

    NONE = 0
    PARTIAL = 1
    """It takes the path, and not the method."""
    FULL = 2

    def __eq__(self, other: object) -> bool:
        same_kind = type(other).__name__ == "Match" and isinstance(other, enum.Enum)
        return self is other or (same_kind and getattr(other, "name", None) == self.name)

    def __hash__(self) -> int:
        return hash(self.name)


class _Alone:
    """A route, as if it were the only one and had nothing inside: a source of a table."""

    version = revision = 0

    def __init__(self, route: BaseRoute) -> None:
        self._route = route

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> _Alone:
        return self

    def entries(self) -> Iterator[Entry]:
        for entry in self._route.entries():
            entry.child = None
            yield entry


class BaseRoute(Servable):
    """What the four kinds of route have in common."""

    name: str | None
    middleware: tuple[MiddlewareFunction, ...]
    limits: Limits | None = None
    timeout: float | None = None
    template: Template
    inner_app: DualRoute | None = None
    """The application that it leads to, with middleware and handlers of its own; None for anything else."""
    bare_handler: Handler | None = None
    """What answers in place of the handler where nothing stands around the route."""
    rule: Any = None
    """The rule that it stands for, where it is made of one (`dualroute.rules`); requests name that as their route."""
    passing: bool = False
    """True for what is made for one request, and is not worth remembering."""
    assumed: bool = False
    """True for what puts an app around an endpoint that is none of its routes, unless it is around it anyway."""

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

    def signatures(self, name: str) -> Iterator[tuple[str, ...]]:
        """Yield the names of the parameters that each route called `name` takes, those of mounts around it first."""
        raise NotImplementedError

    def reverse_args(self, name: str, args: tuple[Any, ...]) -> URLPath | None:
        """Return the path for `name` with `args` for its parameters in order, those of mounts around it first.

        None where this route does not have the name, or takes another number of them.  Raises ValueError for a value
        that a convertor refuses.
        """
        raise NotImplementedError

    @property
    def param_convertors(self) -> dict[str, Convertor[Any]]:
        """The convertor of each of its own parameters."""
        return self.template.convertors

    @property
    def path_regex(self) -> re.Pattern[str]:
        """The paths that it takes, as a regular expression; what follows a prefix is the group ``path``.

        It is there to be looked at: requests are not matched by it.
        """
        return compile_path(self._path_template())[0]

    @property
    def path_format(self) -> str:
        """The paths that it takes, as a format string; what follows a prefix is ``{path}``."""
        return compile_path(self._path_template())[1]

    def _path_template(self) -> str:
        entry = next(self.entries())
        return f"{entry.path.source}/{{path:path}}" if entry.prefix or entry.host is not None else entry.path.source

    def matches(self, scope: Scope) -> tuple[Match, dict[str, Any]]:
        """Tell whether this route by itself takes what a scope is for, as middleware of others asks Starlette's routes.

        Routing does not come by here.

        Args:
            scope: an ASGI scope of type "http" or "websocket".  A mount has what is behind ``root_path`` to itself.
                That of a connection is taken as it is outside of all mounts of its app.

        Returns what it makes of that, and the keys that the scope is to have behind it: endpoint, path_params, and for
        a mount root_path.  A Mount or a Host takes what lies in it, whether or not something inside does.
        """
        try:
            root_path = scope.get("dualroute.root_path", scope.get("root_path"))
            target = target_from_scope({**scope, "root_path": root_path})
        except HTTPException:
            return Match.NONE, {}
        kind = WEBSOCKET if scope["type"] == "websocket" else HTTP
        segments = target.path.split("/")[1:] if target.path else [""]
        miss = Miss()
        found = Table(_Alone(self)).match(kind, target.method, target.host, segments, 0, miss)
        if found is None and not miss.partial:
            return Match.NONE, {}
        child: dict[str, Any] = {"endpoint": getattr(self, "endpoint", None)}
        if found is not None:
            _, params, depth, _ = found
            child["path_params"] = {**scope.get("path_params", {}), **params}
            if depth:
                taken = "/".join(segments[:depth])
                child["root_path"] = child["dualroute.root_path"] = f"{target.root_path}/{taken}"
        return Match.PARTIAL if found is None else Match.FULL, child

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Return the path of the route called `name`, percent-encoded.

        Raises NoMatchFound where no route here has that name and takes those parameters.
        """
        return reverse([self], name, path_params)

    def _make_dispatcher(self) -> Dispatcher:
        from dualroute.routing import Router

        return Router(routes=[self], redirect_slashes=False).dispatcher


class CountingList(list[Any]):
    """A list that counts its changes, so that an index over it knows when to follow."""

    __slots__ = ("revision", "version")

    version: int
    """Raised by every change."""
    revision: int
    """Raised by every change but an append."""

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self.version = self.revision = 0
        super().__init__()
        self.extend(items)

    def checked(self, item: Any) -> Any:
        """Return an item to be taken in.  Raises TypeError for what can be none."""
        raise NotImplementedError

    def _note_change(self) -> None:
        # In this order: who sees the new version has the new revision to go by.
        self.revision += 1
        self.version += 1

    def append(self, item: Any) -> None:
        super().append(self.checked(item))
        self.version += 1

    def extend(self, items: Iterable[Any]) -> None:
        super().extend([self.checked(item) for item in items])
        self.version += 1

    def __iadd__(self, items: Iterable[Any]) -> Self:  # type: ignore[misc]  # as list's own
        self.extend(items)
        return self

    def insert(self, index: Any, item: Any) -> None:
        super().insert(index, self.checked(item))
        self._note_change()

    def __setitem__(self, index: Any, value: Any) -> None:
        value = [self.checked(item) for item in value] if isinstance(index, slice) else self.checked(value)
        super().__setitem__(index, value)
        self._note_change()

    def __delitem__(self, index: Any) -> None:
        super().__delitem__(index)
        self._note_change()

    def __imul__(self, count: Any) -> Self:  # type: ignore[misc]  # as list's own
        super().__imul__(count)
        self._note_change()
        return self

    def pop(self, index: Any = -1) -> Any:
        item = super().pop(index)
        self._note_change()
        return item

    def remove(self, item: Any) -> None:
        super().remove(item)
        self._note_change()

    def clear(self) -> None:
        super().clear()
        self._note_change()

    def reverse(self) -> None:
        super().reverse()
        self._note_change()

    def sort(self, **options: Any) -> None:
        super().sort(**options)
        self._note_change()


class RouteList(CountingList):
    """A router's routes."""

    __slots__ = ()

    def __init__(self, routes: Iterable[Any] = ()) -> None:
        if not isinstance(routes, Iterable):
            raise TypeError(f"routes is a list of Route, WebSocketRoute, Mount and Host objects, not {_shown(routes)}")
        super().__init__(routes)

    def checked(self, item: Any) -> Any:
        if not isinstance(item, BaseRoute):
            raise TypeError(f"routes are Route, WebSocketRoute, Mount and Host objects, not {_shown(item)}")
        return item


def _shown(given: Any) -> str:
    return describe(given) if callable(given) and not isinstance(given, BaseRoute) else repr(given)


def reverse(routes: Sequence[Reversible], name: str, params: Mapping[str, Any]) -> URLPath:
    """Return the path of the first of `routes` that has `name` and takes `params`.  Raises NoMatchFound."""
    try:
        path = first_path(routes, name, params)
    except ValueError as error:
        raise NoMatchFound(name, params, f": {error}") from error
    if path is not None:
        return standing_alone(path)
    names = [known for route in routes for known in route.names()]
    if name in names:
        raise NoMatchFound(name, params, f"; a route of that name takes other parameters{_taken(routes, name)}")
    raise NoMatchFound(name, params, nearest(name, names))


def first_path(routes: Sequence[Reversible], name: str, params: Mapping[str, Any]) -> URLPath | None:
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


def standing_alone(path: URLPath) -> URLPath:
    """Return a path as it may stand without a host: two slashes at its start would name one (RFC 3986 section 4.2)."""
    return URLPath(f"/.{path}", path.protocol, path.host) if path.startswith("//") else path


def path_by_args(routes: Sequence[Reversible], name: str, args: tuple[Any, ...]) -> URLPath | None:
    """Return the first path for `name` with its parameters in order, or None where no route has that name.

    Raises ValueError where a route has that name and takes other parameters, or refuses a value.
    """
    refused: ValueError | None = None
    for route in routes:
        try:
            path = route.reverse_args(name, args)
        except ValueError as error:
            refused = refused or error
            continue
        if path is not None:
            return path
    if refused is None and any(name in route.names() for route in routes):
        refused = ValueError(f"{name!r} takes other parameters than {args!r}{_taken(routes, name)}")
    if refused is not None:
        raise refused
    return None


def _taken(routes: Sequence[Reversible], name: str) -> str:
    """Describe the parameters that the routes called `name` take, mounts around them included."""
    found = [sorted(params) for route in routes for params in route.signatures(name)]
    return ": " + " or ".join(", ".join(params) or "none" for params in found) if found else ""
