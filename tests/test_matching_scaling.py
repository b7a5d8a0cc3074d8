"""How many steps a look-up takes, by the table that it is in.

Steps are lines of dualroute that run, so nothing here depends on a clock.  What counts is how they grow:

* In a table of REST shape there are as many for 5,000 routes as for 10.
* A walk comes by each node of the tree that fits the path once at most, and then asks each route that fits.  So the
  steps are bounded by a constant times the nodes that fit and the parameters of the routes that do, of either of which
  there are no more than segments in all that is declared.  In an adversary's table of all combinations, of 2^k routes
  over k levels, 2^(k+1) - 1 nodes fit, and the routes have k 2^(k-1) parameters; in one of 2k routes whose paths leave
  a chain of literals at each level, (k + 1)(k + 2) / 2 nodes fit, so the steps grow with the square of k.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import dualroute
from dualroute.matching import Found, Miss
from dualroute.responses import Response
from dualroute.routing import Route, Router
from tests.benchmarks.matching_peers import look_up
from tests.benchmarks.matching_tables import LOOKUPS, Answer, chains, combinations, rest, rest_lookups

HOME = str(Path(dualroute.__file__).parent)

SLACK = 1.2
"""For steps that there are once for each look-up, or for each segment of its path."""


async def endpoint(request: Any) -> Response:
    raise NotImplementedError


def table(paths: Sequence[str]) -> Router:
    return Router([Route(path, endpoint, methods=["GET"]) for path in paths])


def outcome(result: Found | Miss) -> Answer:
    if isinstance(result, Miss):
        return Answer(405 if result.partial else 404)
    trail, params, *_ = result
    return Answer(200, trail[-1].path, {name: str(value) for name, value in params.items()})


def steps(router: Router, path: str, method: str = "GET") -> int:
    """Return how many lines of dualroute a look-up runs, in a table that has been looked into before."""
    look_up(router, method, path)
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(HOME):
            return None
        if event == "line":
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        look_up(router, method, path)
    finally:
        sys.settrace(before)
    assert count, "nothing was counted"
    return count


@pytest.fixture(scope="module")
def routers() -> dict[int, Router]:
    return {size: table(rest(size).groups[""]) for size in (10, 100, 5000)}


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_a_large_table_takes_as_many_steps_as_a_small_one(routers: dict[int, Router], lookup: str) -> None:
    counts = {}
    for size, router in routers.items():
        asked = rest_lookups(size)[lookup]
        assert outcome(look_up(router, asked.method, asked.path)) == asked.answer
        counts[size] = steps(router, asked.path, asked.method)
    assert len(set(counts.values())) == 1, counts


def test_a_route_added_to_a_table_in_use_does_not_make_later_lookups_longer(routers: dict[int, Router]) -> None:
    asked = rest_lookups(10)["last, with parameters"]
    router = table(rest(10).groups[""])
    before = steps(router, asked.path)
    for i in range(100):
        router.routes.append(Route(f"/api/v1/added{i}/{{id:int}}", endpoint, methods=["GET"]))
        assert isinstance(look_up(router, "GET", f"/api/v1/added{i}/1"), tuple)
    assert steps(router, asked.path) == before


def fitting_combinations(depth: int) -> int:
    return (2 << depth) - 1


def fitting_chains(depth: int) -> int:
    return (depth + 1) * (depth + 2) // 2


@pytest.mark.parametrize(
    ("end", "method", "status"), [("no", "GET", 404), ("end", "POST", 405), ("end", "GET", 200), ("end/no", "GET", 404)]
)
def test_all_combinations_of_literals_and_parameters_take_steps_for_each_node_that_fits(
    end: str, method: str, status: int
) -> None:
    """The bound is a constant times 2^(k+1) - 1 nodes, which is proportional to the 2^k routes.

    Where the routes themselves fit, their k 2^(k-1) parameters count as well.
    """
    relative = []
    for depth in (4, 6, 8, 10):
        router = table(combinations(depth))
        path = "/a" * depth + f"/{end}"
        assert outcome(look_up(router, method, path)).status == status
        parameters = depth * (1 << depth - 1) if end == "end" else 0
        relative.append(steps(router, path, method) / (fitting_combinations(depth) + parameters))
    assert max(relative) <= relative[0] * SLACK, relative


@pytest.mark.parametrize(
    ("end", "method", "status"),
    [("no", "GET", 404), ("end0", "POST", 405), ("end0", "GET", 200), ("other0", "GET", 200)],
)
def test_chains_that_leave_the_literals_at_each_level_take_steps_that_grow_with_the_square(
    end: str, method: str, status: int
) -> None:
    """The bound is a constant times (k + 1)(k + 2) / 2 nodes, for 2k routes."""
    relative = []
    for depth in (5, 10, 20, 30):
        router = table(chains(depth))
        path = "/a" * depth + f"/{end}"
        assert outcome(look_up(router, method, path)).status == status
        relative.append(steps(router, path, method) / fitting_chains(depth))
    assert max(relative) <= relative[0] * SLACK, relative


def test_a_path_of_many_segments_takes_steps_for_as_many_as_fit() -> None:
    """What follows where nothing fits any more is not looked at."""
    router = table(rest(10).groups[""])
    assert steps(router, "/api/v1/unknown" + "/x" * 1000) == steps(router, "/api/v1/unknown/x")
