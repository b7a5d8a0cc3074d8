"""Why a request leads where it does: which routes were tried, and what each of them had against it.

The index itself is asked, one route at a time: a table of a single entry is a table like any other, so a reason can't
be other than what happens to a request.  Only where such a table finds nothing is it looked into why, by trying the
same entry with one of its demands left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from dualroute.convertors import CONVERTOR_TYPES, PathConvertor, StringConvertor
from dualroute.exceptions import HTTPException
from dualroute.faces import Face
from dualroute.inspection import RouteInfo, described
from dualroute.matching import HTTP, WEBSOCKET, Entry, Found, Miss, Table
from dualroute.paths import Parameter, Tail, Template
from dualroute.routing import Host, Router, router_of
from dualroute.targets import Target, target_from_scope

__all__ = ["Explanation", "Step", "explain", "explain_target"]

_METHOD = "WEBSOCKET"
"""Asks for a websocket handshake."""


@dataclass
class Step:
    """A route that was looked at.

    Args:
        route: the route.
        outcome: "wins", "inside" (a mount or a host that leads to the one that wins), "lost", or "not reached".
        reason: "method", "convertor", "path", "host", "kind" (a websocket for a request, or the other way round),
            "inside" (nothing in the mount matches), "order" (it would match, but comes after the one that wins),
            "default" (a default is asked only where no path fits), or "".
        detail: the reason in words.
        steps: the routes inside that were looked at.
        is_default: whether it is what a router asks where none of its routes match.
    """

    route: Any
    outcome: str
    reason: str = ""
    detail: str = ""
    steps: list[Step] = field(default_factory=list)
    is_default: bool = False

    @property
    def matches(self) -> bool:
        """Whether it takes the request."""
        return self.outcome in ("wins", "inside") or self.reason == "order"


@dataclass
class Explanation:
    """Where a request leads, and why.

    Args:
        outcome: "match", "default" (nothing matched, and there is a fallback), "redirect", "405", "options", "404",
            "400", or "500" (a convertor failed).
        detail: the outcome in words.
        trail: the routes that lead to what answers, from the outermost mount; empty where nothing matched.
        params: the path's parameters.
        location: where a redirect leads.
        allowed: the methods that the path takes, where it is not taken for its method.
        steps: the routes that were looked at, in order.
    """

    outcome: str
    detail: str
    trail: tuple[Any, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    location: str | None = None
    allowed: tuple[str, ...] = ()
    steps: list[Step] = field(default_factory=list)

    def as_values(self) -> dict[str, Any]:
        """Return this as values that JSON can hold."""
        defaults = [step.route for step in _all(self.steps) if step.is_default]
        return {
            "outcome": self.outcome,
            "detail": self.detail,
            "trail": [_brief(route, route in defaults) for route in self.trail],
            "params": {name: repr(value) for name, value in self.params.items()},
            "location": self.location,
            "allowed": list(self.allowed),
            "steps": [_step_values(step) for step in self.steps],
        }


def _step_values(step: Step) -> dict[str, Any]:
    return {
        **_brief(step.route, step.is_default),
        "outcome": step.outcome,
        "reason": step.reason,
        "detail": step.detail,
        "steps": [_step_values(inner) for inner in step.steps],
    }


def _brief(route: Any, is_default: bool) -> RouteInfo:
    info = described(route)
    if is_default:
        info.update(kind="default", own="*")
    return {key: info[key] for key in ("kind", "own", "name", "methods", "endpoint", "defined")}


def explain(app: Any, method: str, url: str) -> Explanation:
    """Return where a request leads.

    Args:
        app: the app.
        method: the HTTP method, or WEBSOCKET for a handshake.
        url: a path, or a whole URL, whose host then counts; ``ws:`` and ``wss:`` ask for a handshake too.
    """
    if router_of(app) is None:
        return Explanation("match", "the app is no DualRoute and no Router: it takes every request")
    try:
        # A path may start with two slashes, which in a URL stand before a host.
        parts = urlsplit(f"http://localhost{url}" if url.startswith("/") else url)
    except ValueError as error:
        return Explanation("400", f"{url!r} is no URL: {error}")
    kind = WEBSOCKET if method.upper() == _METHOD or parts.scheme in ("ws", "wss") else HTTP
    path, host = parts.path or ("/" if parts.netloc else ""), parts.netloc or "localhost"
    scope = {
        "type": "http" if kind == HTTP else "websocket",
        "method": "GET" if kind == WEBSOCKET else method.upper(),
        "path": unquote(path),
        "raw_path": quote(path, safe="/%", errors="surrogateescape").encode(),
        "query_string": b"",
        "headers": [(b"host", host.encode("utf-8", "replace"))],
    }
    try:
        target = target_from_scope(scope)
    except HTTPException as error:
        return Explanation("400", error.detail)
    return explain_target(app, kind, target)


def explain_target(app: Any, kind: int, target: Target) -> Explanation:
    """Return where a request leads: `kind` is as for the index, `target` as `dualroute.targets` reads it."""
    router = router_of(app)
    assert router is not None, "an app with routes"
    segments = target.path.split("/")[1:] if target.path else [""]
    asked = _Asked(kind, target.method, target.host, segments)
    try:
        found, location, miss = getattr(app, "dispatcher", router.dispatcher).decide(kind, target)
    except Exception as error:  # a convertor of the user's
        return Explanation("500", f"a convertor failed: {type(error).__name__}: {error}")
    steps = [] if "\0" in target.path else asked.steps(router, 0, ())
    _point_out(steps, found[0] if found is not None else ())
    allowed = tuple(sorted(miss.allowed | {"OPTIONS"})) if miss.partial else ()
    if found is not None:
        trail, params, *_ = found
        default = trail[0] is router.default_route
        words = "no route matches; it goes to the fallback" if default else "this route answers"
        return Explanation("default" if default else "match", words, trail, params, steps=steps)
    if location is not None:
        words = "only with a slash added or taken off does it match; it is redirected (307)"
        return Explanation("redirect", words, location=location, steps=steps)
    if miss.partial:
        outcome = "options" if target.method == "OPTIONS" else "405"
        words = "the path takes " + ", ".join(allowed)
        words += "; OPTIONS is answered with that list" if outcome == "options" else f", and not {target.method}"
        return Explanation(outcome, words, allowed=allowed, steps=steps)
    return Explanation("404", "nothing matches", steps=steps)


def _point_out(steps: Sequence[Step], trail: Sequence[Any]) -> None:
    """Mark the routes that lead to what answers; those after them, and any others that match, were not reached."""
    reached = True
    for step in steps:
        if trail and step.route is trail[0] and reached and step.matches:
            step.outcome, reached = ("inside" if len(trail) > 1 else "wins"), False
            step.reason = step.detail = ""
            _point_out(step.steps, trail[1:])
            continue
        _pass_over(step, reached)


def _pass_over(step: Step, reached: bool) -> None:
    if not reached:
        step.outcome = "not reached"
    if step.reason == "order":
        step.detail = "it would match, but comes after the one that wins"
        if reached and step.is_default:
            step.reason, step.detail = "default", "it is asked only where no path fits"
        elif reached:
            step.detail = "it would match"
    for inner in step.steps:
        _pass_over(inner, reached)


class _One(list[Any]):
    """The source of a table of one entry."""

    version = revision = 0

    def entries(self) -> Iterator[Entry]:
        yield from self


@dataclass(frozen=True)
class _Asked:
    """A request, as the index knows it."""

    kind: int
    method: str
    host: str
    segments: Sequence[str]

    def steps(self, router: Router, start: int, around: tuple[Router, ...]) -> list[Step]:
        """Return what each route of a router has against the request, or nothing; the default is the last."""
        if around.count(router) > len(self.segments):  # mounted inside itself, below an empty path
            return []
        if isinstance(router, Face):  # what `find_handler` looks at is its own affair
            return []
        around = (*around, router)
        steps = [self._step(route, start, around) for route in router.routes]
        default = router.default_route
        if default is not None and self._ask(next(default.entries()), start) is not None:
            steps.append(replace(self._step(default, start, around), is_default=True))
        return steps

    def _ask(self, entry: Entry, start: int, miss: Miss | None = None) -> Found | None:
        table = Table(_One([_One([entry])]))
        return table.match(self.kind, self.method, self.host, self.segments, start, Miss() if miss is None else miss)

    def _step(self, route: Any, start: int, around: tuple[Router, ...]) -> Step:
        failed: Step | None = None
        for entry in route.entries():
            try:
                step = self._entry_step(route, entry, start, around)
            except Exception as error:  # a convertor that is not reached may fail unseen
                step = Step(route, "lost", "convertor", f"it failed: {type(error).__name__}: {error}")
            if step.matches:
                return step
            failed = failed or step
        assert failed is not None, "a route has an entry"
        return failed

    def _entry_step(self, route: Any, entry: Entry, start: int, around: tuple[Router, ...]) -> Step:
        if self.kind not in entry.kinds:
            takes = "websockets" if entry.kinds == (WEBSOCKET,) else "no websockets" if entry.kinds else "nothing"
            return Step(route, "lost", "kind", f"it takes {takes}" + (" only" if takes == "websockets" else ""))
        router = getattr(route, "router", None) if entry.child is not None else None
        inside: Router | None = None if isinstance(router, Face) else router
        if inside is not None:
            entry.child = None  # asked by itself first, and then what is inside
        miss = Miss()
        found = self._ask(entry, start, miss)
        if found is None:
            if miss.partial:
                takes = ", ".join(sorted(miss.allowed))
                return Step(route, "lost", "method", f"the path fits, but it takes {takes}, and not {self.method}")
            reason, detail = self._why_not(route, entry, start)
            return Step(route, "lost", reason, detail)
        if inside is None:
            return Step(route, "lost", "order")
        _, _, depth, _ = found
        steps = self.steps(inside, depth, around)
        own = [step for step in steps if not step.is_default]
        # A default inside is not asked where a path inside takes other methods: see `dualroute.matching`.
        partial = any(step.reason == "method" for step in _all(own))
        if any(step.matches for step in own) or (len(own) < len(steps) and not partial and steps[-1].matches):
            return Step(route, "lost", "order", steps=steps)
        return Step(route, "lost", "inside", "it fits, but nothing inside does", steps)

    def _why_not(self, route: Any, entry: Entry, start: int) -> tuple[str, str]:
        """Return why the host or the path does not fit an entry."""
        host = isinstance(route, Host)
        template = route.template
        text = self.host if host else "/" + "/".join(self.segments[start:])
        typed = [
            part
            for part in template.parts
            if isinstance(part, Parameter) and type(part.convertor) not in (StringConvertor, PathConvertor)
        ]
        spans = any(isinstance(segment, Tail) for segment in template.segments)
        for loose in ("str", "path") if spans else ("str",):
            found = self._loosely(entry, template, typed, loose, start, host)
            if found is not None:
                alone = [one for one in typed if self._loosely(entry, template, [one], loose, start, host) is not None]
                _, params, *_ = found
                texts = [(one, params[one.name]) for one in alone[:1] or typed]
                said = [f"{one.name!r} ({_kind(one)}) does not take {text!r}" for one, text in texts]
                return "convertor", " or ".join(said)
        if host:
            return "host", f"the host is {text!r}"
        return "path", self._nearly(entry, start) or f"{text!r} does not fit"

    def _loosely(
        self, entry: Entry, template: Template, loosened: Sequence[Parameter], kind: str, start: int, host: bool
    ) -> Found | None:
        """Ask an entry in whose template some parameters take any text, and that demands nothing else."""
        source = template.source
        for one in loosened:
            before, _, after = source.partition(f"{{{one.name}:")
            source = f"{before}{{{one.name}:{kind}}}{after.partition('}')[2]}"
        if not loosened or (host and kind == "path"):
            return None
        loose = Template(source, host=host, prefix=entry.prefix)
        return self._ask(
            Entry(
                entry.target,
                entry.path if host else loose,
                kinds=entry.kinds,
                prefix=entry.prefix,
                host=loose if host else None,
            ),
            start,
        )

    def _nearly(self, entry: Entry, start: int) -> str:
        segments = self.segments
        if entry.prefix or len(segments) - start < 1:
            return ""
        if segments[-1] == "" and len(segments) - start > 1:
            other, words = segments[:-1], "taken off"
        else:
            other, words = [*segments, ""], "added"
        if _Asked(self.kind, self.method, self.host, other)._ask(entry, start) is not None:
            return f"it fits with a slash {words} at the end"
        return ""


def _all(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from _all(step.steps)


def _kind(parameter: Parameter) -> str:
    known = [name for name, convertor in CONVERTOR_TYPES.items() if convertor is parameter.convertor]
    return known[0] if known else type(parameter.convertor).__name__
