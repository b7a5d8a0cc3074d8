"""Rule-based routing, with the names and the behaviour of `tornado.routing`, on both protocols.

A `Router` is asked by `find_handler` who answers a request.  A `RuleRouter` asks its rules in order: a `Rule` has a
matcher (`dualroute.matchers`), which says whether a request is for it, and a target, which takes it or declines.  The
first rule that matches and whose target does not decline wins.  A target is

* an HTTPEndpoint or a WebSocketEndpoint class, or a function: given what the pattern's groups matched;
* another router of either kind, a DualRoute, a WSGI or an ASGI app: sees the same path again, since rules strip
  nothing off it;
* a connection delegate (`dualroute.delegates`).

Every router is an app on both protocols, may be mounted, and may be the target of a rule.  Matchers see the path below
the mounts around the router.

Rules whose matcher is a plain `PathMatches` are found by the index: a tree of path segments says which of them can
match, and the rules' own patterns decide, in order.  All others are always asked.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from dualroute.datastructures import URLPath
from dualroute.delegates import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    ResponseStartLine,
)
from dualroute.matchers import (
    AnyMatches,
    DefaultHostMatches,
    HostMatches,
    Matcher,
    MethodMatches,
    PathMatches,
    groups_of,
    has_methods,
    methods_wanted,
)
from dualroute.matching import HTTP, WEBSOCKET
from dualroute.routes import CountingList
from dualroute.routing import RoutesItself
from dualroute.ruleindex import RuleIndex
from dualroute.steps import HandlerDelegate, Search, Step, search_of

if TYPE_CHECKING:
    from dualroute.dispatch import Dispatcher
    from dualroute.faces import Face

__all__ = [
    "AnyMatches",
    "DefaultHostMatches",
    "HandlerDelegate",
    "HostMatches",
    "Matcher",
    "MethodMatches",
    "PathMatches",
    "ReversibleRouter",
    "ReversibleRuleRouter",
    "Router",
    "Rule",
    "RuleRouter",
    "URLSpec",
]

logger: logging.Logger = logging.getLogger("dualroute")

_RuleLike: TypeAlias = "Rule | Sequence[Any]"


class Router(RoutesItself, HTTPServerConnectionDelegate):
    """The base of all rule routers; one's own override `find_handler`.

    A router is an app on both protocols, and may be mounted or be a rule's target.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Here and not in __init__, which Tornado's routers have no need to call.
        self = super().__new__(cls)
        self._pass_for_asgi()
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("find_handler", "get_target_delegate", "process_rule", "start_request"):
            if inspect.iscoroutinefunction(getattr(cls, name, None)):
                raise TypeError(f"{cls.__qualname__}.{name} must be a plain def; what it finds may be async def")

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Return what answers a request, or None where this router has nothing for it.

        That is an endpoint (a class or a function), an app, a message delegate, or what `find_handler`,
        `get_target_delegate` or `DualRoute.get_handler_delegate` returned.

        It may be called more than once for a request, a slash redirect or a websocket handshake being looked for.  It
        runs on the event loop under ASGI, so it must not block.

        Args:
            request: the request.
            kwargs: what the matcher of a rule around this router gave.
        """
        raise NotImplementedError(f"{type(self).__name__} has no find_handler")

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Return what answers the request of a connection: a delegate that answers 404 where nothing else does."""
        request = HTTPServerRequest(*request_conn._facts)
        request._connection, request._server_connection = request_conn, server_conn  # type: ignore[assignment]  # any
        result = self.find_handler(request)
        if isinstance(result, HTTPMessageDelegate) and not isinstance(result, HandlerDelegate):
            return result
        from dualroute.faces import found_by

        found = found_by(self, self._face.memory, search_of(request), request, result)
        return _NotFound(request_conn) if found is None else HandlerDelegate(found)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Return the path of the rule or route called `name`, percent-encoded.

        Args:
            name: its name.
            path_params: a value for each named group, or ``path_args=`` with those of groups without names.

        Raises NoMatchFound where there is none of that name with those parameters.
        """
        return self._face.url_path_for(name, **path_params)

    @property
    def _face(self) -> Face:
        face: Any = self.dispatcher.router
        return face  # type: ignore[no-any-return]  # its type is not loaded

    def _make_dispatcher(self) -> Dispatcher:
        from dualroute.dispatch import Dispatcher
        from dualroute.faces import Face

        return Dispatcher(Face(self))


class ReversibleRouter(Router):
    """A router that finds URLs by names; one's own override `reverse_url` too."""

    def reverse_url(self, name: str, *args: Any) -> str | None:
        """Return the path of the rule called `name` with `args` for its groups, or None where there is no such rule."""
        raise NotImplementedError(f"{type(self).__name__} has no reverse_url")


class _NotFound(HTTPMessageDelegate):
    def __init__(self, connection: HTTPConnection) -> None:
        self.connection = connection

    def finish(self) -> None:
        headers = HTTPHeaders({"Content-Type": "text/plain; charset=utf-8", "Content-Length": "9"})
        self.connection.write_headers(ResponseStartLine("HTTP/1.1", 404, "Not Found"), headers, b"Not Found")
        self.connection.finish()


class Rule:
    """What to ask of a request, and who gets it.

    Args:
        matcher: says whether a request is for this rule.
        target: who gets it: see the module; or the full name of it, ``"package.module.Name"``, which is imported now.
        target_kwargs: what an endpoint class is made with: see `HTTPEndpoint.initialize`.
        name: the name for reverse look-up.

    Raises TypeError for a matcher that is none, and ImportError for a name that can't be imported.  A target is looked
    at when the rule is put into a router, which may know more kinds of them.
    """

    def __init__(
        self,
        matcher: Matcher,
        target: Any,
        target_kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        if isinstance(matcher, type) or not isinstance(matcher, Matcher):
            hint = "; a pattern goes into PathMatches(…)" if isinstance(matcher, str) or hasattr(matcher, "sub") else ""
            raise TypeError(f"the matcher of a rule is a Matcher, not {matcher!r}{hint}")
        if target_kwargs is not None and not isinstance(target_kwargs, Mapping):
            raise TypeError(f"target_kwargs is a dict, not {target_kwargs!r}")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"the name of a rule is a string, not {name!r}")
        self.matcher: Matcher = matcher
        self.target: Any = _imported(target) if isinstance(target, str) else target
        self.target_kwargs: dict[str, Any] = dict(target_kwargs or {})
        self.name: str | None = name

    _step: Step | None = None
    _delegated: Step | None = None

    @property
    def endpoint(self) -> Any:
        """The target, as routes call what they lead to."""
        return self.target

    def reverse(self, *args: Any) -> str | None:
        """Return the path that `args` lead to by this rule, or None where its matcher knows none."""
        return self.matcher.reverse(*args)

    def __repr__(self) -> str:
        kwargs = f", target_kwargs={self.target_kwargs!r}" if self.target_kwargs else ""
        name = f", name={self.name!r}" if self.name else ""
        return f"{type(self).__name__}({self.matcher!r}, {_shown(self.target)}{kwargs}{name})"

    def step(self) -> Step:
        """Return what stands for this rule in a trail.  Raises TypeError for a target that is none."""
        step = self._step
        if step is None or step.app is not self.target:
            step = self._step = Step(
                self.target,
                rule=self,
                groups=groups_of(self.matcher),
                target_kwargs=self.target_kwargs,
                where=repr(self),
            )
        return step

    def step_if_any(self) -> Step | None:
        """Return what stands for this rule, or None where only a router with targets of its own knows the target."""
        try:
            return self.step()
        except (TypeError, ValueError):
            return None

    def delegated_step(self) -> Step:
        """Return what stands for this rule where it led to a message delegate."""
        if self._delegated is None:
            self._delegated = Step(HTTPServerConnectionDelegate(), rule=self, where=repr(self))
        return self._delegated


def _shown(target: Any) -> str:
    from dualroute.foreign import shown

    return shown(target) if callable(target) else repr(target)


def _imported(name: str) -> Any:
    module, dot, attribute = name.rpartition(".")
    if not dot:
        raise ImportError(f"the target of a rule is named in full, 'package.module.Name', not {name!r}")
    try:
        return getattr(importlib.import_module(module), attribute)
    except AttributeError:
        raise ImportError(f"there is no {attribute!r} in {module!r}, which is to be the target of a rule") from None


class URLSpec(Rule):
    """A rule for a path.

    Args:
        pattern: as for PathMatches.
        handler: the target.
        kwargs: what an endpoint class is made with.
        name: the name for reverse look-up.
    """

    def __init__(self, pattern: Any, handler: Any, kwargs: Mapping[str, Any] | None = None, name: str | None = None):
        matcher = PathMatches(pattern)
        super().__init__(matcher, handler, kwargs, name)
        self.regex: re.Pattern[str] = matcher.regex
        self.handler_class: Any = self.target
        self.kwargs = kwargs

    def __repr__(self) -> str:
        kwargs = f", kwargs={self.target_kwargs!r}" if self.target_kwargs else ""
        name = f", name={self.name!r}" if self.name else ""
        return f"{type(self).__name__}({self.regex.pattern!r}, {_shown(self.target)}{kwargs}{name})"


class _RuleList(CountingList):
    """A router's rules."""

    __slots__ = ("_lenient",)

    def __init__(self, lenient: bool) -> None:
        # A router with targets of its own kinds finds out about them when a request comes.
        self._lenient = lenient
        super().__init__()

    def checked(self, item: Any) -> Any:
        if not isinstance(item, Rule):
            raise TypeError(
                f"rules are Rule objects, not {type(item).__name__}: {item!r}; add_rules() takes tuples too"
            )
        try:
            item.step()
        except (TypeError, ValueError):
            if not self._lenient:
                raise
        return item


class RuleRouter(Router):
    """A router that asks its rules, in order.

    Args:
        rules: Rule objects, tuples or lists of Rule's arguments, in which a string stands for PathMatches of it.

    Raises TypeError for what can be no rule, and for endpoints that can't take what the rule's pattern gives.
    """

    def __init__(self, rules: Iterable[_RuleLike] | None = None) -> None:
        lenient = type(self).get_target_delegate is not RuleRouter.get_target_delegate
        self._rules = _RuleList(lenient)
        self._index = RuleIndex(self._rules)
        if rules:
            self.add_rules(rules)

    @property
    def rules(self) -> CountingList:
        """The rules.  The list may be changed at any time; the next request sees it.

        A rule's matcher is read when the rule is put in: put another rule in rather than another matcher into the rule.
        """
        return self._rules

    @rules.setter
    def rules(self, rules: Iterable[Rule]) -> None:
        self._rules[:] = list(rules)

    def add_rules(self, rules: Iterable[_RuleLike]) -> None:
        """Append rules; each goes through `process_rule` first."""
        for rule in rules:
            self._rules.append(self.process_rule(_rule(rule)))

    def process_rule(self, rule: Rule) -> Rule:
        """Return a rule as it is to be added: the same one, changed perhaps, or another.  Override to do so.

        A target that is a list of rules becomes a router of them.
        """
        if isinstance(rule.target, list | tuple):
            rule.target = ReversibleRuleRouter(rule.target)
        return rule

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Return what `get_target_delegate` returns for the first rule that matches and whose target takes it."""
        search = search_of(request)
        before = search.rule
        candidates = self._index.candidates(request.path)
        for rule in candidates:
            params = rule.matcher.match(request)
            if params is None:
                continue
            if rule.target_kwargs:
                params = {**params, "target_kwargs": rule.target_kwargs}
            search.rule = rule
            delegate = self.get_target_delegate(rule.target, request, **params)
            if delegate is not None and not (isinstance(delegate, HandlerDelegate) and delegate.declines):
                return delegate
        search.rule = before
        if self._index.has_methods and search.kind == HTTP:
            self._note_methods(candidates, request, search)
        return None

    def get_target_delegate(self, target: Any, request: HTTPServerRequest, **target_params: Any) -> Any:
        """Return what answers a request for a target, or None where it declines.  Override to have more kinds of them.

        Args:
            target: the target of the rule that matched.
            request: the request.
            target_params: what the matcher gave, and the rule's `target_kwargs`.
        """
        if isinstance(target, Router):
            return target.find_handler(request, **target_params)
        search = search_of(request)
        if isinstance(target, HTTPServerConnectionDelegate):
            if search.kind == WEBSOCKET:
                return None
            return target.start_request(request.server_connection, request.connection)
        if not callable(target):
            return None
        rule = search.rule
        if rule is not None and rule.target is target:
            step = rule.step()
        else:
            step = self._face.memory.step(target, rule, f"{type(self).__qualname__}.get_target_delegate")
        if step.is_endpoint and not target_params.keys() <= _KNOWN_PARAMS:
            unknown = ", ".join(sorted(target_params.keys() - _KNOWN_PARAMS))
            raise TypeError(f"{step!r}: an endpoint takes path_args, path_kwargs and target_kwargs, not {unknown}")
        given = target_params.get
        delegate = step.answer(search, given("path_args"), given("path_kwargs"), given("target_kwargs"))
        return None if delegate.declines else delegate

    def _note_methods(self, candidates: list[Rule], request: HTTPServerRequest, search: Search) -> None:
        """Note by which methods the request would have been answered, for a 405."""
        for rule in candidates:
            wanted = methods_wanted(rule.matcher, request) if has_methods(rule.matcher) else None
            if not wanted or search.method in wanted:
                continue
            step = rule.step_if_any()
            if step is None:
                continue
            entry = step.entry
            if entry is not None:
                wanted = frozenset(method for method in wanted if search.with_method(method).enter(entry) is not None)
            if wanted:
                search.miss.allowed |= wanted
                if not search.miss.partial:
                    search.miss.partial, search.miss.trail = True, (step,)


_KNOWN_PARAMS = frozenset(("path_args", "path_kwargs", "target_kwargs"))


def _rule(rule: Any) -> Rule:
    """Return the rule that a Rule, or a tuple or a list of its arguments, is."""
    if isinstance(rule, Rule):
        return rule
    if not isinstance(rule, tuple | list) or not 2 <= len(rule) <= 4:
        raise TypeError(f"a rule is a Rule, or a tuple (matcher, target[, target_kwargs[, name]]), not {rule!r}")
    matcher, *rest = rule
    return Rule(PathMatches(matcher) if isinstance(matcher, str) else matcher, *rest)


class ReversibleRuleRouter(ReversibleRouter, RuleRouter):
    """A RuleRouter that finds URLs by the names of its rules, and of those in routers inside it.

    Args:
        rules: as for RuleRouter.  Where two have the same name, that of the later one counts, and a warning is logged.
    """

    def __init__(self, rules: Iterable[_RuleLike] | None = None) -> None:
        self.named_rules: dict[str, Rule] = {}
        super().__init__(rules)

    def process_rule(self, rule: Rule) -> Rule:
        """Return a rule as it is to be added: see `RuleRouter.process_rule`."""
        rule = super().process_rule(rule)
        if rule.name:
            if rule.name in self.named_rules:
                logger.warning("more than one rule is named %r; the last one counts: %r", rule.name, rule)
            self.named_rules[rule.name] = rule
        return rule

    def reverse_url(self, name: str, *args: Any) -> str | None:
        """Return the path of the rule called `name` with `args` for its groups, or None where there is no such rule.

        Routers of either kind and DualRoutes that rules lead to are asked after the router's own rules.

        Raises ValueError for a wrong number of arguments, and for a pattern that can't be turned into a URL.
        """
        rule = self.named_rules.get(name)
        if rule is not None:
            return rule.reverse(*args)
        for rule in self._rules:
            if hasattr(rule.target, "reverse_url"):
                path: str | None = rule.target.reverse_url(name, *args)
                if path is not None:
                    return path
        return None
