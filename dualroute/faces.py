"""Faces: a rule router as the rest of the house sees it.

The dispatcher, mounts, reverse look-up and the lifespan know routers that have a table and a list of routes.  A `Face`
stands before a rule router and has both: the table asks `find_handler`, and the routes are the steps of the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dualroute import routing
from dualroute.datastructures import URLPath
from dualroute.delegates import HTTPMessageDelegate, HTTPServerRequest
from dualroute.matchers import groups_of, path_matcher, reverse_by_name
from dualroute.matching import Found, Given, Miss, segments_of
from dualroute.routes import RouteList, path_by_args, reverse
from dualroute.rules import ReversibleRouter, ReversibleRuleRouter, Router, Rule, RuleRouter
from dualroute.steps import HandlerDelegate, Memory, Search, Step, delegated

__all__ = ["Face", "found_by"]


def found_by(router: Router, memory: Memory, search: Search, request: HTTPServerRequest, result: Any) -> Found | None:
    """Return the match that a router's answer amounts to.  Raises TypeError for one that is no answer."""
    if result is None:
        return None
    if isinstance(result, HandlerDelegate):
        return result.found
    if isinstance(result, HTTPMessageDelegate):
        return delegated(search, result, request)
    where = f"{type(router).__qualname__}.find_handler"
    if callable(result):
        return memory.step(result, search.rule, where).answer(search).found
    raise TypeError(
        f"{where} returned {result!r}; it must return an endpoint, an app, a message delegate, what get_target_delegate"
        " or get_handler_delegate returned, or None"
    )


class _Asked:
    """A rule router in the place of a table: see `dualroute.matching.Finder`."""

    default = None

    def __init__(self, router: Router, memory: Memory) -> None:
        self._router = router
        self._memory = memory

    def find(self, kind: int, method: str, host: str, path: str, miss: Miss, given: Given = None) -> Found | None:
        return self.match(kind, method, host, segments_of(path), 0, miss, given)

    def match(
        self, kind: int, method: str, host: str, segments: Sequence[str], start: int, miss: Miss, given: Given = None
    ) -> Found | None:
        search = Search(kind, method, host, segments, start, miss, given)
        request = search.request()
        return found_by(self._router, self._memory, search, request, self._router.find_handler(request))

    def match_default(
        self, kind: int, method: str, host: str, segments: Sequence[str], start: int, miss: Miss, given: Given = None
    ) -> Found | None:
        return None


class Face(routing.Router):
    """A rule router as the rest of the house sees it: its rules as routes, and names that lead back to paths."""

    table: Any

    def __init__(self, router: Router) -> None:
        super().__init__(redirect_slashes=False)
        self.asked = router
        self.memory: Memory = Memory()
        self.table = _Asked(router, self.memory)
        self._seen = (0, 0)

    @property
    def routes(self) -> RouteList:
        """What stands for the rules whose targets are known."""
        if isinstance(self.asked, RuleRouter):
            rules = self.asked.rules
            now = (rules.revision, len(rules))
            if now != self._seen:
                self._routes = RouteList(_steps(rules))
                self._seen = now
        return self._routes

    @routes.setter
    def routes(self, routes: Any) -> None:
        raise AttributeError("the routes of a rule router are its rules")

    def _named(self) -> list[Rule]:
        if not isinstance(self.asked, RuleRouter):
            return []
        return [rule for rule in reversed(self.asked.rules) if rule.name]

    def names(self) -> Iterator[str]:
        yield from (str(rule.name) for rule in self._named())
        yield from super().names()

    def reverse(self, name: str, params: Mapping[str, Any]) -> URLPath | None:
        for rule in self._named():
            for args in reverse_by_name(rule.matcher, params) if rule.name == name else ():
                path = rule.reverse(*args)
                if path is not None:
                    return URLPath(path)
        if params.keys() <= {"path_args"}:
            path = self._asked_reverse(name, tuple(params.get("path_args", ())))
            if path is not None:
                return URLPath(path)
        return super().reverse(name, params)

    def reverse_args(self, name: str, args: tuple[Any, ...]) -> URLPath | None:
        for rule in self._named():
            path = rule.reverse(*args) if rule.name == name else None
            if path is not None:
                return URLPath(path)
        path = self._asked_reverse(name, args)
        return path_by_args(self.routes, name, args) if path is None else URLPath(path)

    def signatures(self, name: str) -> Iterator[tuple[str, ...]]:
        for rule in self._named():
            groups = groups_of(path_matcher(rule.matcher)) if rule.name == name else None
            if groups is not None:
                yield groups.names or ("path_args",) * bool(groups.positions)
        yield from super().signatures(name)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        return reverse([self], name, path_params)

    def _asked_reverse(self, name: str, args: tuple[Any, ...]) -> str | None:
        """Ask a router that finds URLs in a way of its own."""
        router = self.asked
        if not isinstance(router, ReversibleRouter):
            return None
        own = type(router).reverse_url is not ReversibleRuleRouter.reverse_url
        return router.reverse_url(name, *args) if own else None


def _steps(rules: Iterable[Rule]) -> Iterator[Step]:
    steps = (rule.step_if_any() for rule in rules)
    return (step for step in steps if step is not None)
