"""Steps: how what a rule router finds takes its place beside routes.

A rule router is asked by `find_handler`, and may answer with an endpoint, an app, or a message delegate.  The rest of
the house wants a `Found`: a trail of routes that a plan can be made of and kept.  A `Step` is such a route, made once
for each rule and for each handler that a router names again and again; a `Search` is the question as the index puts it,
carried along by the request that matchers see; and a `HandlerDelegate` is an answer on its way out.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterable, Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any, NoReturn

from dualroute.callables import describe
from dualroute.datastructures import URLPath
from dualroute.delegates import HTTPMessageDelegate, HTTPServerConnectionDelegate, HTTPServerRequest
from dualroute.endpoints import HTTPEndpoint, WebSocketEndpoint, check_initialize, http_handlers, websocket_handler
from dualroute.foreign import ForeignApp, foreign_app
from dualroute.handlers import Handler
from dualroute.matchers import Groups, PathMatches
from dualroute.matching import HTTP, WEBSOCKET, Entry, Found, Given, Miss, enter
from dualroute.paths import Template
from dualroute.routing import Container
from dualroute.rulehandlers import (
    Arguments,
    RuleHandler,
    SessionHandler,
    expected_by,
    is_function_endpoint,
    require_call,
)
from dualroute.serving import Servable
from dualroute.targets import Target, target_from_environ, target_from_scope

if TYPE_CHECKING:
    from dualroute.applications import DualRoute

__all__ = [
    "HandlerDelegate",
    "Memory",
    "Search",
    "Step",
    "delegated",
    "handler_delegate",
    "search_of",
]

_NO_PATH = Template("", prefix=True)
_KEPT_LIMIT = 1000


class Search:
    """What a rule router is asked for, as the index puts it: see `Table.match`.

    `rule` is the rule that led to the target last looked at.
    """

    __slots__ = ("given", "host", "kind", "method", "miss", "rule", "segments", "start")

    def __init__(
        self, kind: int, method: str, host: str, segments: Sequence[str], start: int, miss: Miss, given: Given
    ) -> None:
        self.kind: int = kind
        self.method: str = method
        self.host: str = host
        self.segments: Sequence[str] = segments
        self.start: int = start
        self.miss: Miss = miss
        self.given: Given = given
        self.rule: Any = None

    def request(self) -> HTTPServerRequest:
        """Return the request that matchers see."""
        scope, environ, target = self.given or (None, None, None)
        if target is None and scope is not None:
            target = target_from_scope(scope)
        elif target is None and environ is not None:
            target = target_from_environ(environ)
        if target is None:  # a question about the table, where there is no request
            path = "/" + "/".join(self.segments)
            target = Target(self.method, "", path, self.host, self.host)
            scope = {"type": "http", "method": self.method, "path": path, "headers": []}
        elif target.method != self.method:
            target = target._replace(method=self.method)
        # The path "" below a root path has the segments of "/".
        path = "/" + "/".join(self.segments[self.start :]) if target.path else ""
        request = HTTPServerRequest(scope, environ, target, path)
        request._search = self
        return request

    def with_method(self, method: str) -> Search:
        """Return the same search for another method, with reasons of its own."""
        return Search(self.kind, method, self.host, self.segments, self.start, self.miss.anew(), self.given)

    def enter(self, entry: Entry) -> Found | None:
        """Return the match behind an entry that the path leads to, or None with the reasons noted."""
        return enter(
            entry, (), self.start, self.kind, self.method, self.host, self.segments, self.start, self.miss, self.given
        )


def search_of(request: HTTPServerRequest) -> Search:
    """Return the search that a request is about; a new one where it came with a connection."""
    search: Search | None = request._search
    if search is None:
        target = request._target
        segments = target.path.split("/")[1:] or [""]
        start = len(segments) - len(request._path.split("/")[1:] or [""])
        given = (request._scope, request._environ, target)
        search = Search(HTTP, target.method, target.host, segments, start, Miss(), given)
        request._search = search
    return search


class Step(Container):
    """What a rule leads to, or a handler that a router found, as the last route of a trail.

    Args:
        target: an endpoint, an app, a router, a connection delegate, or anything.
        rule: the rule whose target it is, if any.
        groups: what the rule's matcher gives to the target, where that is known.
        target_kwargs: what an endpoint class is to be made with, where that is known.
        where: how an error message names the place.

    `entry` is how the index enters it; None where the target is none that can be entered.

    Raises TypeError for an endpoint that can't be called as it would be.
    """

    entry: Entry | None = None
    is_endpoint: bool = False
    """True where the target is an endpoint of ours, which takes arguments."""
    handlers: dict[str, Handler]
    websocket_handler: Handler | None
    bare_handler: Handler | None = None
    foreign: ForeignApp | None = None

    def __init__(
        self,
        target: Any,
        *,
        rule: Any = None,
        groups: Groups | None = None,
        target_kwargs: Mapping[str, Any] | None = None,
        where: str,
    ) -> None:
        self.rule = rule
        self.template = _NO_PATH
        self._groups = groups
        self._target_kwargs = target_kwargs
        self._where = where
        self._delegates = isinstance(target, HTTPServerConnectionDelegate) and not isinstance(target, Servable)
        super().__init__(target, None, (), None, None, ())
        kinds, methods = self._kinds_and_methods()
        if kinds:
            self.entry = Entry(self, _NO_PATH, kinds=kinds, methods=methods, prefix=True, child=self.finder)

    def __repr__(self) -> str:
        return self._where

    @property
    def path(self) -> str:
        """What the rule wants, for people to read: the pattern where it is a pattern."""
        matcher = None if self.rule is None else self.rule.matcher
        return matcher.regex.pattern if isinstance(matcher, PathMatches) else repr(matcher)

    def _take_endpoint(self, app: Any, params: tuple[str, ...]) -> None:
        where, groups, kwargs = self._where, self._groups, self._target_kwargs
        if self._delegates:
            return
        if isinstance(app, type) and issubclass(app, (HTTPEndpoint, WebSocketEndpoint)):
            self.is_endpoint = True
            if issubclass(app, WebSocketEndpoint):
                websocket_handler(app, params=expected_by(app.on_connect, groups), where=where, made_with=None)
                if groups is not None and groups.positions:
                    require_call(app.on_connect, 2, groups, where)
                self.websocket_handler = SessionHandler(app.dispatch, where=where, owner=app)
            else:
                make = functools.partial(RuleHandler, groups=groups)
                self.handlers = http_handlers(app, None, params=(), where=where, make=make)
            if kwargs is not None:
                # A matcher that is not known may have more of them.
                check_initialize(app, kwargs, where, wholly=groups is not None)
            return
        if not isinstance(app, HTTPEndpoint | WebSocketEndpoint) and not is_function_endpoint(app, groups):
            self.foreign = foreign_app(app, groups.names if groups else (), where)
        if self.foreign is not None:
            self.handlers = {"*": self.foreign.handler}
            self.bare_handler = self.foreign.bare_handler
            self.websocket_handler = self.foreign.websocket_handler
            return
        if kwargs:
            raise TypeError(
                f"{where}: target_kwargs are for the constructor of an endpoint class; {describe(app)} is a function"
            )
        self.is_endpoint = True
        make = functools.partial(RuleHandler, groups=groups)
        self.handlers = http_handlers(app, ("*",), params=(), where=where, make=make)

    def _around(self, own: dict[str, Any], inside: URLPath) -> URLPath:
        return inside

    def handler_for(self, method: str) -> Handler:
        if not self.handlers:
            return _message_delegates().handler
        return super().handler_for(method)

    def answer(
        self,
        search: Search,
        path_args: Iterable[Any] | None = None,
        path_kwargs: Mapping[str, Any] | None = None,
        target_kwargs: Mapping[str, Any] | None = None,
    ) -> HandlerDelegate:
        """Return how a search ends here."""
        entry = self.entry
        if entry is None or search.kind not in entry.kinds:
            return HandlerDelegate(None, declines=True)
        found = search.enter(entry)
        if found is None:
            # An endpoint that lacks the method ends the search, as Tornado has it: that is a 405.
            return HandlerDelegate(None, declines=not self.is_endpoint)
        if self.is_endpoint:
            args = Arguments.of(path_args or (), path_kwargs or {}, target_kwargs or {})
            found = (found[0], dict(args.named), found[2], args)
        return HandlerDelegate(found)


def _message_delegates() -> ForeignApp:
    from dualroute.applications import message_delegates

    return message_delegates()


class HandlerDelegate(HTTPMessageDelegate):
    """What `find_handler` returns for an endpoint or an app: where the request goes, as the index has it.

    It is answered by the router that returns it, and by nothing else.

    Args:
        found: the match; None where the endpoint lacks the method, or declines.
        declines: True where later rules are to be tried.
    """

    def __init__(self, found: Found | None, *, declines: bool = False) -> None:
        self.found: Found | None = found
        self.declines: bool = declines

    def __repr__(self) -> str:
        if self.found is None:
            return f"<HandlerDelegate, which {'declines' if self.declines else 'lacks the method'}>"
        return f"<HandlerDelegate of {self.found[0][-1]!r}>"

    def _by_hand(self) -> NoReturn:
        raise RuntimeError(f"{self!r} is answered by the router that returns it; it can't be fed by hand")

    def headers_received(self, start_line: Any, headers: Any) -> NoReturn:
        """Raise RuntimeError."""
        self._by_hand()

    def data_received(self, chunk: bytes) -> NoReturn:
        """Raise RuntimeError."""
        self._by_hand()

    def finish(self) -> NoReturn:
        """Raise RuntimeError."""
        self._by_hand()


class Memory:
    """The steps of what a router names by itself, so that plans for them can be kept.

    A target is worth keeping when it is named a second time; what is made for one request is gone by then.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, ...], Step] = {}
        self._seen: dict[tuple[int, ...], weakref.ref[Any]] = {}

    def step(self, target: Any, rule: Any, where: str) -> Step:
        """Return the step for a target.  Raises TypeError for what can be none."""
        # A bound method is another object each time, and known by what it is bound to.
        anchor, function = (target.__self__, target.__func__) if isinstance(target, MethodType) else (target, None)
        key = (id(anchor), id(function), id(rule))
        step = self._kept.get(key)
        if step is not None:
            return step
        step = Step(target, rule=rule, where=where)
        seen = self._seen.get(key)
        if seen is not None and seen() is anchor:
            if len(self._kept) >= _KEPT_LIMIT:
                self._kept.clear()
            self._kept[key] = step
            return step
        step.passing = True
        try:
            if len(self._seen) >= _KEPT_LIMIT:
                self._seen.clear()
            self._seen[key] = weakref.ref(anchor)
        except TypeError:
            pass
        return step


class _Surroundings(Container):
    """An app as it stands around an endpoint that is none of its routes."""

    assumed = True

    def __init__(self, app: DualRoute) -> None:
        self.template = _NO_PATH
        super().__init__(app, None, (), None, None, ())
        self.memory = Memory()

    def __repr__(self) -> str:
        return f"{type(self.app).__name__}.get_handler_delegate"


def handler_delegate(
    app: DualRoute,
    request: HTTPServerRequest,
    handler: Any,
    target_kwargs: Mapping[str, Any] | None,
    path_args: Sequence[str | bytes | None] | None,
    path_kwargs: Mapping[str, str | bytes | None] | None,
) -> HandlerDelegate:
    """Return an endpoint in the surroundings of an app: see `DualRoute.get_handler_delegate`."""
    search = search_of(request)
    around = app.__dict__.get("_surroundings")
    if not isinstance(around, _Surroundings):
        around = app.__dict__["_surroundings"] = _Surroundings(app)
    step = around.memory.step(handler, search.rule, repr(around))
    if not step.is_endpoint:
        raise TypeError(f"{around!r} takes an endpoint, a class or a function, not {handler!r}")
    if target_kwargs and not isinstance(handler, type):
        raise TypeError(f"{around!r}: target_kwargs are for an endpoint class; {describe(handler)} is a function")
    before = search.miss.partial
    delegate = step.answer(search, path_args, path_kwargs, target_kwargs)
    if delegate.found is not None:
        trail, params, depth, args = delegate.found
        delegate.found = (around, *trail), params, depth, args
    elif search.miss.partial and not before:
        search.miss.trail = (around, *search.miss.trail)
    return delegate


def delegated(search: Search, delegate: HTTPMessageDelegate, request: HTTPServerRequest) -> Found | None:
    """Return the match for a message delegate; None for a websocket, which it can't serve."""
    if search.kind == WEBSOCKET:
        return None
    rule = search.rule
    step = _DELEGATED if rule is None else rule.delegated_step()
    return (step,), {}, search.start, (delegate, request.connection)


class _DelegatedTarget(HTTPServerConnectionDelegate):
    """Stands for the target of whatever was found without a rule."""


_DELEGATED = Step(_DelegatedTarget(), where="HTTPMessageDelegate")
