"""What is matched: tables of routes, and for each the requests that are looked up, with the answers that they must get.

Routes are written as dualroute's paths.  Each takes GET alone.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = [
    "HOSTS",
    "LOOKUPS",
    "MOUNTS",
    "PARAMETER",
    "PATHS",
    "SHAPES",
    "Answer",
    "Asked",
    "Declared",
    "Shape",
    "chains",
    "combinations",
    "rest",
    "rest_lookups",
    "rest_more",
]

PATHS = "paths"
HOSTS = "hosts"
MOUNTS = "mounts"

PARAMETER = re.compile(r"\{(\w+)(?::(\w+))?\}")
"""A parameter in a path: its name, and its convertor where it has one."""


@dataclass(frozen=True)
class Answer:
    """What a look-up comes to: 200 with the route and the texts of its parameters, 404, or 405."""

    status: int
    route: str = ""
    params: Mapping[str, str] = field(default_factory=dict)


NOT_FOUND = Answer(404)
NOT_ALLOWED = Answer(405)


@dataclass(frozen=True)
class Asked:
    """A request, and the answer to it."""

    path: str
    answer: Answer
    method: str = "GET"
    host: str = "bench.example"


@dataclass(frozen=True)
class Declared:
    """A table before anybody has made it.

    Args:
        kind: PATHS, or HOSTS or MOUNTS for a table of tables.
        groups: the routes by the host or the mount that they are behind; all behind "" for PATHS.
    """

    kind: str
    groups: Mapping[str, Sequence[str]]


def _paths(routes: Sequence[str]) -> Declared:
    return Declared(PATHS, {"": routes})


# Tables of REST shape

LOOKUPS = (
    "first, with parameters",
    "middle, with parameters",
    "last, with parameters",
    "last, static",
    "404, no such resource",
    "404, in the last segment",
    "405, last route",
)
"""The kinds of look-ups in a table of REST shape."""


def rest(count: int) -> Declared:
    """Return a table of so many routes: for every other one, a resource and what is inside it."""
    return _paths([route for i in range(count // 2) for route in (_static(i), _item(i))])


def rest_lookups(count: int) -> dict[str, Asked]:
    """Return a request of each kind for a table of REST shape."""
    last = count // 2 - 1
    inside = f"{_static(last)}/7/items/lamp"
    asked = (
        _found(0),
        _found(last // 2),
        _found(last),
        Asked(_static(last), Answer(200, _static(last))),
        Asked("/api/v1/unknown", NOT_FOUND),
        Asked(f"{inside}/more", NOT_FOUND),
        Asked(inside, NOT_ALLOWED, method="POST"),
    )
    return dict(zip(LOOKUPS, asked, strict=True))


def rest_more(count: int, extra: int) -> tuple[str, Asked]:
    """Return a route that a table of REST shape does not have, one for each `extra`, and a request for it."""
    i = count // 2 + extra
    return _item(i), _found(i)


def _static(i: int) -> str:
    return f"/api/v1/resource{i}"


def _item(i: int) -> str:
    return f"{_static(i)}/{{id:int}}/items/{{name}}"


def _found(i: int) -> Asked:
    return Asked(f"{_static(i)}/7/items/lamp", Answer(200, _item(i), {"id": "7", "name": "lamp"}))


# Other shapes


@dataclass(frozen=True)
class Shape:
    """A kind of table.

    Args:
        name: what the rows are called.
        make: returns the table of a size, one look-up that finds its last route and one that finds nothing.
        sizes: a small one and a large one.
        routes: how many routes a size comes to.
    """

    name: str
    make: Callable[[int], tuple[Declared, Asked, Asked]]
    sizes: tuple[int, int] = (10, 1000)
    routes: Callable[[int], int] = int


def _hosts(count: int) -> tuple[Declared, Asked, Asked]:
    groups = {f"h{i}.example": [f"/page{i}/{{name}}"] for i in range(count)}
    last = count - 1
    answer = Answer(200, f"/page{last}/{{name}}", {"name": "lamp"})
    path = f"/page{last}/lamp"
    return (
        Declared(HOSTS, groups),
        Asked(path, answer, host=f"h{last}.example"),
        Asked(path, NOT_FOUND, host="unknown.example"),
    )


def _mounts(count: int) -> tuple[Declared, Asked, Asked]:
    groups = {f"/m{i}": [f"/list{i}", f"/item{i}/{{name}}", f"/about{i}"] for i in range(count)}
    last = count - 1
    answer = Answer(200, f"/item{last}/{{name}}", {"name": "lamp"})
    return (
        Declared(MOUNTS, groups),
        Asked(f"/m{last}/item{last}/lamp", answer),
        Asked(f"/m{last}/unknown/lamp", NOT_FOUND),
    )


def _tails(count: int) -> tuple[Declared, Asked, Asked]:
    route = f"/files{count - 1}/{{rest:path}}"
    return (
        _paths([f"/files{i}/{{rest:path}}" for i in range(count)]),
        Asked(f"/files{count - 1}/a/b/c.txt", Answer(200, route, {"rest": "a/b/c.txt"})),
        Asked("/unknown/a/b/c.txt", NOT_FOUND),
    )


def _mixed(count: int) -> tuple[Declared, Asked, Asked]:
    route = f"/files{count - 1}/{{name}}.{{ext}}"
    return (
        _paths([f"/files{i}/{{name}}.{{ext}}" for i in range(count)]),
        Asked(f"/files{count - 1}/lamp.txt", Answer(200, route, {"name": "lamp", "ext": "txt"})),
        Asked(f"/files{count - 1}/lamp", NOT_FOUND),
    )


def _late(count: int) -> tuple[Declared, Asked, Asked]:
    routes = [f"/a/b/c/d/e/r{i}" for i in range(count)]
    return _paths(routes), Asked(routes[-1], Answer(200, routes[-1])), Asked("/a/b/c/d/e/unknown", NOT_FOUND)


def _tenants(count: int) -> tuple[Declared, Asked, Asked]:
    route = f"/{{tenant}}/r{count - 1}"
    return (
        _paths([f"/{{tenant}}/r{i}" for i in range(count)]),
        Asked(f"/acme/r{count - 1}", Answer(200, route, {"tenant": "acme"})),
        Asked("/acme/unknown", NOT_FOUND),
    )


def _distinct(count: int) -> tuple[Declared, Asked, Asked]:
    return (
        _paths([f"/{{a}}-x{i}" for i in range(count)]),
        Asked(f"/lamp-x{count - 1}", Answer(200, f"/{{a}}-x{count - 1}", {"a": "lamp"})),
        Asked("/lamp-unknown", NOT_FOUND),
    )


def combinations(depth: int) -> list[str]:
    """Return an adversary's routes: each level is a literal or a parameter, in every combination, and then an end."""
    levels = [("a", f"{{p{level}}}") for level in range(depth)]
    # The literals come last, so that the last route has no parameter.
    return ["/" + "/".join((*route, "end")) for route in itertools.product(*(level[::-1] for level in levels))]


def _combinations(depth: int) -> tuple[Declared, Asked, Asked]:
    routes = combinations(depth)
    first = Answer(200, routes[0], {f"p{level}": "b" for level in range(depth)})
    return _paths(routes), Asked("/b" * depth + "/end", first), Asked("/a" * depth + "/unknown", NOT_FOUND)


def chains(depth: int) -> list[str]:
    """Return an adversary's few routes: literals of which one is a parameter, at each level, and two ends of its own.

    The path that has nothing but literals fits all of them up to the end, and none by its literals alone.
    """
    return [
        "/" + "/".join(["a"] * level + [f"{{p{level}}}"] + ["a"] * (depth - level - 1) + [f"{end}{level}"])
        for level in range(depth)
        for end in ("end", "other")
    ]


def _chains(depth: int) -> tuple[Declared, Asked, Asked]:
    routes = chains(depth)
    path = "/a" * depth
    return _paths(routes), Asked(f"{path}/end0", Answer(200, routes[0], {"p0": "a"})), Asked(f"{path}/no", NOT_FOUND)


SHAPES = (
    Shape("hosts", _hosts),
    Shape("mounts of 3 routes", _mounts),
    Shape("tails after N prefixes", _tails),
    Shape("mixed segments after N prefixes", _mixed),
    Shape("differing late", _late),
    Shape("starting with a parameter", _tenants),
    Shape("distinct parameters at one node", _distinct),
    Shape("adversary: all combinations", _combinations, sizes=(3, 10), routes=lambda depth: 2**depth),
    Shape("adversary: chains", _chains, sizes=(3, 10), routes=lambda depth: 2 * depth),
)
