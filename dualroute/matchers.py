"""Matchers: what a rule asks of a request.

A matcher is asked whether a request is one of its own.  It answers None where it is not, and otherwise with a dict of
what the rule's target is to be given: usually an empty one, and for paths what the groups of the pattern matched.
Matchers combine: ``a & b`` wants both, ``a | b`` either, and ``~a`` anything that `a` does not want.

Path patterns see the path percent-encoded, always in the same way: as `dualroute.paths.quote_path` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from dualroute.endpoints import checked_methods
from dualroute.patterns import template_of

if TYPE_CHECKING:
    from dualroute.delegates import HTTPServerRequest

__all__ = [
    "AnyMatches",
    "DefaultHostMatches",
    "Groups",
    "HostMatches",
    "Matcher",
    "MethodMatches",
    "PathMatches",
    "groups_of",
    "has_methods",
    "methods_wanted",
    "path_matcher",
    "reverse_by_name",
]


class Groups(NamedTuple):
    """What a pattern gives to a target: so many values by position, or these by name."""

    positions: int
    names: tuple[str, ...]


class Matcher:
    """The base of all matchers; one's own override `match`, and `reverse` where there is a URL to give."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Return what the target is to be given, or None where the request is not for it.

        `path_args` (a list), `path_kwargs` (a dict) and `target_kwargs` (a dict) are what endpoints know; a router that
        overrides `get_target_delegate` is given whatever else is in the dict.  It may be asked more than once for a
        request: for a slash redirect, say, or to find out whether a 405 is due.
        """
        raise NotImplementedError(f"{type(self).__name__} has no match")

    def reverse(self, *args: Any) -> str | None:
        """Return the path that `args` lead to, or None where this matcher knows none."""
        return None

    def __and__(self, other: Matcher) -> Matcher:
        return _Both(self, other) if isinstance(other, Matcher) else NotImplemented

    def __or__(self, other: Matcher) -> Matcher:
        return _Either(self, other) if isinstance(other, Matcher) else NotImplemented

    def __invert__(self) -> Matcher:
        return _Not(self)


class AnyMatches(Matcher):
    """Matches any request."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {}

    def __repr__(self) -> str:
        return "AnyMatches()"


class HostMatches(Matcher):
    """Matches requests by their host: its name in lower case, without the port.

    Args:
        host_pattern: a regular expression for the whole name, or a compiled one, which is used as it is (`re.match`).
    """

    def __init__(self, host_pattern: str | re.Pattern[str]) -> None:
        self.host_pattern: re.Pattern[str] = _compiled(host_pattern, self)

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {} if self.host_pattern.match(request.host_name) else None

    def __repr__(self) -> str:
        return f"HostMatches({self.host_pattern.pattern!r})"


class DefaultHostMatches(Matcher):
    """Matches every request where the application's `default_host` is of a certain form.

    Never where the request has the header X-Real-Ip: it came through a load balancer, which knows the host.

    Args:
        application: has the `default_host`; there is no match where it is None.
        host_pattern: a regular expression for the whole name, or a compiled one.
    """

    def __init__(self, application: Any, host_pattern: str | re.Pattern[str]) -> None:
        self.application = application
        self.host_pattern: re.Pattern[str] = _compiled(host_pattern, self)

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        if "X-Real-Ip" in request.headers:
            return None
        host = getattr(self.application, "default_host", None)
        return {} if host is not None and self.host_pattern.match(host) else None

    def __repr__(self) -> str:
        return f"DefaultHostMatches({self.application!r}, {self.host_pattern.pattern!r})"


class MethodMatches(Matcher):
    """Matches requests by their HTTP method; GET brings HEAD along, as it does everywhere.

    Where nothing but this stands between a path and its rule, the answer is 405.

    Args:
        methods: the methods, or a list of them.
    """

    def __init__(self, *methods: str | Iterable[str]) -> None:
        if len(methods) == 1 and not isinstance(methods[0], str):
            methods = tuple(methods[0])
        wrong = [method for method in methods if not isinstance(method, str)]
        if wrong or not methods:
            shown = repr(wrong[0]) if wrong else "nothing"
            raise TypeError(f"MethodMatches takes the names of methods, not {shown}")
        self._written = tuple(checked_methods([str(method) for method in methods], "MethodMatches"))
        self.methods: frozenset[str] = frozenset((*self._written, *(["HEAD"] if "GET" in self._written else ())))

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {} if request.method in self.methods else None

    def __repr__(self) -> str:
        return f"MethodMatches({', '.join(map(repr, self._written))})"


class PathMatches(Matcher):
    """Matches requests by their path, percent-encoded.

    What the pattern's groups match is given to the target: by name where they have names, by position where they have
    none.  It is percent-decoded to bytes, and None for a group that did not take part.

    Args:
        path_pattern: a regular expression for the whole path (a ``$`` is added to it), or a compiled one, which is used
            as it is (`re.match`).

    Raises ValueError for a pattern that does not compile, or has groups of both kinds.
    """

    def __init__(self, path_pattern: str | re.Pattern[str]) -> None:
        self.regex: re.Pattern[str] = _compiled(path_pattern, self)
        if len(self.regex.groupindex) not in (0, self.regex.groups):
            raise ValueError(
                f"the groups of a path's pattern either all have names or none has: {self.regex.pattern!r};"
                " (?:…) is a group that counts for nothing"
            )

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        match = self.regex.match(request.path)
        if match is None:
            return None
        if not self.regex.groups:
            return {}
        if self.regex.groupindex:
            named = {name: _unquoted(text) for name, text in match.groupdict().items()}
            return {"path_args": [], "path_kwargs": named}
        return {"path_args": [_unquoted(text) for text in match.groups()], "path_kwargs": {}}

    def reverse(self, *args: Any) -> str | None:
        """Return the pattern with `args` for its groups, each percent-encoded but for its slashes.

        Raises ValueError for a pattern that has no one URL, and for another number of arguments than groups.
        """
        parts = template_of(self.regex)
        if len(args) != self.regex.groups:
            raise ValueError(
                f"the pattern {self.regex.pattern!r} takes {self.regex.groups} argument"
                f"{'' if self.regex.groups == 1 else 's'}, not {len(args)}: {args!r}"
            )
        values = iter(args)
        return "".join([_quoted(next(values)) if part is None else part for part in parts])

    def __repr__(self) -> str:
        return f"PathMatches({self.regex.pattern!r})"


def _compiled(pattern: Any, matcher: Matcher) -> re.Pattern[str]:
    """Return a pattern compiled, closed by a ``$`` where it was text."""
    name = type(matcher).__name__
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return pattern
    if not isinstance(pattern, str):
        raise TypeError(f"{name} takes a str or a compiled pattern of str, not {pattern!r}")
    try:
        return re.compile(pattern if pattern.endswith("$") else f"{pattern}$")
    except re.error as error:
        raise ValueError(f"{name}: {pattern!r} is no regular expression: {error}") from error


def _unquoted(text: str | None) -> bytes | None:
    return None if text is None else unquote_to_bytes(text)


def _quoted(value: Any) -> str:
    return quote(value if isinstance(value, str | bytes) else str(value))


class _Pair(Matcher):
    """Two matchers in one."""

    sign = ""

    def __init__(self, first: Matcher, second: Matcher) -> None:
        self.parts = (first, second)

    def reverse(self, *args: Any) -> str | None:
        """Return the path that the first part which knows one gives."""
        refused: ValueError | None = None
        for part in self.parts:
            try:
                path = part.reverse(*args)
            except ValueError as error:
                refused = refused or error
                continue
            if path is not None:
                return path
        if refused is not None:
            raise refused
        return None

    def __repr__(self) -> str:
        return f"({self.parts[0]!r} {self.sign} {self.parts[1]!r})"


class _Both(_Pair):
    """Matches where both parts do, and gives what both give."""

    sign = "&"

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        first = self.parts[0].match(request)
        if first is None:
            return None
        second = self.parts[1].match(request)
        return None if second is None else _merged(first, second)


class _Either(_Pair):
    """Matches where one of the parts does, and gives what the first of them gives."""

    sign = "|"

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        first = self.parts[0].match(request)
        return self.parts[1].match(request) if first is None else first


class _Not(Matcher):
    """Matches where another matcher does not."""

    def __init__(self, part: Matcher) -> None:
        self.part = part

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {} if self.part.match(request) is None else None

    def __repr__(self) -> str:
        return f"~{self.part!r}"


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two matchers gave: lists one after the other, dicts in one, of anything else the later one."""
    merged = dict(first)
    for name, value in second.items():
        if name == "path_args" and name in merged:
            merged[name] = [*merged[name], *value]
        elif name in ("path_kwargs", "target_kwargs") and name in merged:
            merged[name] = {**merged[name], **value}
        else:
            merged[name] = value
    return merged


# What a router wants to know of a matcher.


def groups_of(matcher: Any) -> Groups | None:
    """Return what a matcher gives to its target; None where that is known only when it has matched."""
    if isinstance(matcher, PathMatches) and type(matcher).match is PathMatches.match:
        names = tuple(matcher.regex.groupindex)
        return Groups(0 if names else matcher.regex.groups, names)
    if type(matcher) in (AnyMatches, HostMatches, DefaultHostMatches, MethodMatches):
        return Groups(0, ())
    return None


def path_matcher(matcher: Any) -> PathMatches | None:
    """Return the first PathMatches in a matcher, or None."""
    if isinstance(matcher, PathMatches):
        return matcher
    for part in matcher.parts if isinstance(matcher, _Pair) else ():
        found = path_matcher(part)
        if found is not None:
            return found
    return None


def reverse_by_name(matcher: Any, params: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the arguments for a matcher's `reverse` that `params` come to; nothing where they do not fit."""
    if set(params) <= {"path_args"}:
        yield tuple(params.get("path_args", ()))
        return
    path = path_matcher(matcher)
    if path is not None and params.keys() == path.regex.groupindex.keys():
        yield tuple(params[name] for name in path.regex.groupindex)


def methods_wanted(matcher: Any, request: HTTPServerRequest) -> frozenset[str] | None:
    """Return the methods by which `matcher` would match; None where more than the method is in the way.

    Args:
        matcher: one that does not match.
        request: the request that it does not match.
    """
    if type(matcher) is MethodMatches:
        return matcher.methods
    if type(matcher) is _Both:
        wanted: frozenset[str] | None = None
        for part in matcher.parts:
            if part.match(request) is not None:
                continue
            methods = methods_wanted(part, request)
            if methods is None:
                return None
            wanted = methods if wanted is None else wanted & methods
        return wanted or None
    if type(matcher) is _Either:
        either = [methods_wanted(part, request) for part in matcher.parts]
        found = frozenset().union(*(methods for methods in either if methods is not None))
        return found or None
    return None


def has_methods(matcher: Any) -> bool:
    """Tell whether `methods_wanted` may have anything to say of a matcher."""
    return type(matcher) is MethodMatches or (
        isinstance(matcher, _Pair) and any(has_methods(part) for part in matcher.parts)
    )
