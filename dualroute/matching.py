"""The index: which route answers a path, in declared order, at a cost that grows with the path and not the table.

Every router has one `Table`, and declared order decides in it; the rest only makes the search short.

* All entries are in a tree of path segments: below a node, literal segments are looked up in a dict, and so is the
  one node behind all parameters that take any segment, or any digits; other parameters are tried one by one, equal
  ones sharing an edge.  A walk collects each entry whose path fits (a handful, however many routes there are), sorts
  those by the order in which they were declared, and takes the first that the rest of the request fits too:
  convertors, method, and for a `Mount` or a `Host` a match inside it.
* Most requests need no walk.  A path without parameters is looked up as it is (`Tree.literals`).  One with parameters
  is looked up by what stands in its other segments, where all routes of that many segments have their parameters in
  the same places (`Shape`).  A mounted app is looked up by the first segment (`Tree.prefixes`).  Each is only taken
  where nothing that was declared earlier fits as well; otherwise, and for a miss that is not certain, there is the
  walk.

An entry with a table of its own (`child`) that finds nothing inside declines, and the next entry is tried.  What is
inside need not be a table: anything that is asked like one will do (`Finder`), such as a rule router.  One that leads
back into itself without a step along the path declines at once, and so does whatever lies deeper than `MAX_DEPTH`.

The matcher takes plain values and returns plain values: it sees neither scope nor environ nor request.  A miss
carries its reasons, from which 405 and its ``Allow`` are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Protocol, TypeAlias

from dualroute.convertors import Convertor, IntegerConvertor, PathConvertor, StringConvertor
from dualroute.paths import Digits, Literal, Pattern, Segment, Tail, Template, Whole

__all__ = [
    "HTTP",
    "MAX_DEPTH",
    "WEBSOCKET",
    "Entry",
    "Finder",
    "Found",
    "Given",
    "Hit",
    "Miss",
    "Source",
    "Table",
    "Tree",
    "enter",
    "segments_of",
]

HTTP = 0
"""The kind of a request."""
WEBSOCKET = 1
"""The kind of a websocket handshake."""

MAX_DEPTH = 50
"""How many mounts, hosts, defaults and rules a match may lie inside of: one mounted inside itself has no end."""

_ANY_HOST = re.compile("[^/]+").fullmatch


class Source(Protocol):
    """What a table is made from: a sequence of routes that counts its changes."""

    version: int
    """Raised by every change."""
    revision: int
    """Raised by every change but an append."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


Given: TypeAlias = Any
"""What the server handed over, for a finder that wants more than plain values: (scope, environ, target), or None.

A table hands it on and never looks into it.
"""


class Finder(Protocol):
    """What finds the answer to a request: a Table, or what stands in the place of one."""

    def find(self, kind: int, method: str, host: str, path: str, miss: Miss, given: Given = None) -> Found | None:
        """Find what takes the request, or None: as `match` does, where nothing has taken part of the path."""
        ...

    def match(
        self, kind: int, method: str, host: str, segments: Sequence[str], start: int, miss: Miss, given: Given = None
    ) -> Found | None:
        """Find what takes the request, or None: see `Table.match`."""
        ...

    def match_default(
        self, kind: int, method: str, host: str, segments: Sequence[str], start: int, miss: Miss, given: Given = None
    ) -> Found | None:
        """Find what takes a request that `match` found nothing for, or None."""
        ...


class Entry:
    """One route as the index sees it.

    Args:
        target: what was declared; handed back in `Found`, never looked into.
        path: its path template; for a prefix, the part before the rest.
        kinds: those of HTTP and WEBSOCKET that it answers.
        methods: the HTTP methods it takes, or None for all.
        prefix: True where anything may follow the path (a Mount).
        host: for a Host, its template; the path is then empty.
        child: returns what finds the answer inside a Mount or a Host, or None where all that fits is taken.
    """

    __slots__ = ("captures", "child", "found", "host", "kinds", "methods", "order", "path", "prefix", "target", "trail")

    def __init__(
        self,
        target: Any,
        path: Template,
        *,
        kinds: tuple[int, ...],
        methods: frozenset[str] | None = None,
        prefix: bool = False,
        host: Template | None = None,
        child: Callable[[], Finder | None] | None = None,
    ) -> None:
        self.target: Any = target
        self.path: Template = path
        self.kinds: tuple[int, ...] = kinds
        self.methods: frozenset[str] | None = methods
        self.prefix: bool = prefix
        self.host: Template | None = host
        self.child: Callable[[], Finder | None] | None = child
        self.order: int = 0
        self.captures: tuple[Capture, ...] = _captures(host or path, in_host=host is not None)
        self.trail: tuple[Any, ...] = (target,)
        self.found: Found = (self.trail, _NO_PARAMS, len(path.segments) if prefix else 0, ())
        """The match of a path without parameters."""


Conversion: TypeAlias = Callable[[str], Any]
Capture: TypeAlias = tuple[str, int, Conversion | None, Callable[[str], Any] | None]
"""How a parameter is got: its name, its place, what it is converted by, and what tells whether a text fits it.

The place is the number of a segment, or, below zero, ``~`` the place among the texts that patterns gave.  It is
converted by nothing where it is text, and by `int` where that does; then it is plain whether a text fits.
"""


def _captures(template: Template, *, in_host: bool) -> tuple[Capture, ...]:
    captures: list[Capture] = []
    if not template.convertors:
        return ()
    parameters = iter(template.convertors.items())
    texts = 0
    for at, segment in enumerate(template.segments):
        if isinstance(segment, Literal):
            continue
        if isinstance(segment, Pattern | Tail):
            count = len(segment.groups)
            alone = count == 1 and isinstance(segment, Pattern) and segment.alone
        else:
            count, alone = 1, True
        for _ in range(count):
            name, convertor = next(parameters)
            fits = segment.fullmatch if isinstance(segment, Pattern | Tail | Digits) else None
            if in_host or not alone:
                captures.append((name, ~texts, _conversion(convertor), fits))
                texts += 1
            else:
                captures.append((name, at, _conversion(convertor), fits))
    return tuple(captures)


def _conversion(convertor: Convertor[Any]) -> Conversion | None:
    if type(convertor) in (StringConvertor, PathConvertor):
        return None
    return int if type(convertor) is IntegerConvertor else convertor.convert


Found: TypeAlias = tuple[tuple[Any, ...], dict[str, Any], int, tuple[Any, ...]]
"""A match: the targets from the outermost mount to the route, the parameters by name, how many segments the mounts took
together, and the parameters that have a place and no name.

It is a plain tuple, because one with names takes longer to make than some matches take to find.
"""

_NO_PARAMS: dict[str, Any] = {}
"""Those of every path that has none; never changed."""


class Miss:
    """Why nothing matched, gathered during the search.

    `allowed` holds the methods of every route whose path fits.  `trail` leads to the first of those routes, or, where
    there is none, to the first mount that the path lies in: the place whose error handlers answer.
    """

    allowed: frozenset[str] = frozenset()
    partial: bool = False
    trail: tuple[Any, ...] = ()
    # Where it is looked: in which finder, from which segment on, and inside what.
    _finder: Finder | None = None
    _at: int = 0
    _outer: Miss | None = None
    _depth: int = 0
    # Whether it was cut short because it led back into something that it lies inside of.
    _circular: bool = False
    # The searches inside that have found nothing, by where they looked; shared by all of one request.
    _vain: dict[tuple[Finder, int, int], Miss] | None = None

    def inside(self, finder: Finder, at: int) -> Miss | None:
        """Return one for a search in `finder` from segment `at` on, or None where that is not to be searched.

        One that is `over` has been searched before, in vain: what is mounted in two places can be come to by many ways.
        """
        outer: Miss | None = self
        while outer is not None and outer._at == at:
            if outer._finder is finder:
                circular: Miss | None = self
                while circular is not outer and circular is not None:
                    circular._circular = True
                    circular = circular._outer
                return None
            outer = outer._outer
        if self._depth == MAX_DEPTH:
            return None
        if self._vain is None:
            self._vain = {}
        inner = self._vain.get((finder, at, self._depth))
        if inner is None:
            inner = Miss()
            inner._finder, inner._at, inner._outer, inner._depth = finder, at, self, self._depth + 1
            inner._vain = self._vain
        return inner

    @property
    def over(self) -> bool:
        """Whether the search has come to its end, and found nothing."""
        return self._outer is None and self._depth > 0

    def end(self) -> None:
        """Take note that it has found nothing, if that is so wherever it is come to from."""
        outer = self._outer
        assert outer is not None, "it is inside another one"
        assert self._finder is not None, "it looks somewhere"
        assert self._vain is not None, "it shares that of the one around it"
        if not self._circular:
            self._vain[self._finder, self._at, outer._depth] = self
            self._outer = None

    def anew(self) -> Miss:
        """Return one for another search at the same place."""
        miss = Miss()
        miss._finder, miss._at, miss._outer, miss._depth = self._finder, self._at, self._outer, self._depth
        return miss


Hit: TypeAlias = tuple[int, Entry, tuple[str, ...], int]
"""An entry whose path fits: its order, itself, the texts of its parameters, and where its path ends."""


class _Node:
    __slots__ = ("branches", "digits", "literals", "mounts", "patterns", "routes", "tails", "whole")

    def __init__(self) -> None:
        # What a node does not have is shared by all that do not have it: most have little.
        self.literals: dict[str, _Node] = _NONE
        self.branches: bool = False
        """Whether there is anything but literals to look at while the path goes on."""
        self.whole: _Node | None = None
        self.digits: _Node | None = None
        # The node behind each distinct pattern, in no particular order.
        self.patterns: tuple[tuple[Pattern, _Node], ...] = ()
        self.tails: tuple[tuple[Tail, Entry], ...] = ()
        self.routes: tuple[Entry, ...] = ()
        self.mounts: tuple[Entry, ...] = ()

    def step(self, segment: Literal | Whole | Digits | Pattern) -> _Node:
        """Return the node behind `segment`, made if it is new."""
        if isinstance(segment, Literal):
            node = self.literals.get(segment.text)
            if node is None:
                node = _Node()
                if self.literals is _NONE:
                    self.literals = {segment.text: node}
                else:
                    self.literals[segment.text] = node
            return node
        if isinstance(segment, Whole):
            node = self.whole = self.whole or _Node()
        elif isinstance(segment, Digits):
            node = self.digits = self.digits or _Node()
        else:
            for known, node in self.patterns:
                if known.source == segment.source:
                    return node
            node = _Node()
            self.patterns = (*self.patterns, (segment, node))
        self.branches = True
        return node


_NONE: dict[str, _Node] = {}


class Shape:
    """The routes of so many segments that have parameters, all of them in the same places.

    A path is cut into pieces: what stands before the first parameter is one, and each segment from there on.

    Args:
        places: the numbers of the segments that are parameters.
        size: how many segments there are.
    """

    __slots__ = ("cuts", "literals", "places", "routes")

    def __init__(self, places: tuple[int, ...], size: int) -> None:
        first = places[0]
        self.places: tuple[int, ...] = places
        self.cuts: int = size - first
        """How many slashes a path is cut at, from its end."""
        self.literals: tuple[int, ...] = tuple([at - first + 1 for at in range(first, size) if at not in places])
        """The numbers of the pieces that are literal, beside the first."""
        self.routes: dict[str, Any] = {}
        """By the literal pieces, one dict inside the other, the first route that was declared: what `find` needs."""

    def add(self, entry: Entry) -> None:
        """Take in a route of this shape, unless there is one before it."""
        pieces = entry.path.source.rsplit("/", self.cuts)
        *outer, last = [pieces[at] for at in (0, *self.literals)]
        routes = self.routes
        for text in outer:
            routes = routes.setdefault(text, {})
        before = self.places[0] - 1
        captures = tuple([(name, at - before, _checked(convert, fits)) for name, at, convert, fits in entry.captures])
        routes.setdefault(last, (entry.methods, entry.trail, captures))


def _checked(convert: Conversion | None, fits: Callable[[str], Any] | None) -> Conversion | None:
    """Return a conversion that raises ValueError for what does not fit, but for the two that are plain."""
    if convert is None or convert is int:
        return convert

    def checked(text: str) -> Any:
        if fits is not None and not fits(text):
            raise ValueError
        return convert(text)

    return checked


class Tree:
    """The entries of one kind."""

    __slots__ = (
        "crowded",
        "has_spans",
        "heads",
        "host_patterns",
        "hosts",
        "is_open",
        "literals",
        "prefixes",
        "root",
        "shapes",
    )

    def __init__(self) -> None:
        self.root: _Node = _Node()
        self.hosts: dict[str, list[Entry]] = {}
        self.host_patterns: list[tuple[Callable[[str], re.Match[str] | None], tuple[int, ...], Entry]] = []
        self.literals: dict[str, Entry] = {}
        """By a path without parameters, the first entry that it fits, where that is a route for this path alone."""
        self.prefixes: dict[str, Entry] = {}
        """By a first segment with its slash, the mount of an app that takes what begins so before anything else."""
        self.shapes: dict[int, Shape] = {}
        """By how many segments there are, where all routes of so many have one shape."""
        self.crowded: set[int] = {0}
        """How many segments there are where they do not; the empty path, which is taken for a slash, has none."""
        self.has_spans: bool = False
        """Whether there are entries that take paths of any length."""
        self.heads: set[str] = set()
        """The first segments of the paths of those, as far as these are literal."""
        self.is_open: bool = False
        """Whether one of them takes any first segment, or goes by the host."""

    def add(self, entry: Entry) -> None:
        """Put an entry in, declared later than those that are there."""
        if entry.host is not None:
            self._add_host(entry, entry.host)
            self.has_spans = self.is_open = True
            return
        segments = entry.path.segments
        first = segments[0] if segments else None
        if entry.prefix or isinstance(segments[-1], Tail):
            self.has_spans = True
            if isinstance(first, Literal):
                root = self.root
                if len(segments) == 1 and not (self.is_open or root.branches or first.text in root.literals):
                    self.prefixes[f"/{first.text}"] = entry
                self.heads.add(first.text)
            else:
                self.is_open = True
        elif entry.child is None:
            self._note_route(entry, segments)
        self.place(entry, segments)

    def _note_route(self, entry: Entry, segments: Sequence[Any]) -> None:
        """Take note of a route that may be found without a walk."""
        if not entry.captures:
            path = entry.path.source
            if not (self.hosts or self.host_patterns or self.hits("", path.split("/"), 1)):
                self.literals[path] = entry
            return
        size = len(segments)
        places = tuple([at for at, segment in enumerate(segments) if not isinstance(segment, Literal)])
        shape = self.shapes.get(size)
        if shape is None and size not in self.crowded:
            shape = self.shapes[size] = Shape(places, size)
        if shape is None or shape.places != places or any(capture[1] < 0 for capture in entry.captures):
            self.shapes.pop(size, None)
            self.crowded.add(size)
        elif not self.is_open and not (self.heads and (places[0] == 0 or segments[0].text in self.heads)):
            shape.add(entry)
        # else it is for a walk to find what was declared before: there is one wherever there are entries of that kind

    def place(self, entry: Entry, segments: Sequence[Segment]) -> None:
        """Put an entry where a path of these segments leads."""
        node = self.root
        for segment in segments:
            if isinstance(segment, Tail):
                node.tails = (*node.tails, (segment, entry))
                node.branches = True
                return
            node = node.step(segment)
        if entry.prefix:
            node.mounts = (*node.mounts, entry)
            node.branches = True
        else:
            node.routes = (*node.routes, entry)

    def _add_host(self, entry: Entry, host: Template) -> None:
        segment = host.segments[0]
        if isinstance(segment, Literal):
            self.hosts.setdefault(segment.text, []).append(entry)
        elif isinstance(segment, Whole):
            self.host_patterns.append((_ANY_HOST, (0,), entry))
        elif isinstance(segment, Digits):
            self.host_patterns.append((segment.fullmatch, (0,), entry))
        else:
            assert segment.fullmatch is not None, "a host template holds no path convertor"
            self.host_patterns.append((segment.fullmatch, segment.groups, entry))

    def hits(self, host: str, segments: Sequence[str], start: int) -> list[Hit]:
        """Collect every entry whose host and path fit, with the texts of its patterns and where its path ends."""
        found: list[Hit] = []
        if self.hosts:
            found.extend((entry.order, entry, (), start) for entry in self.hosts.get(host, ()))
        for fullmatch, groups, entry in self.host_patterns:
            match = fullmatch(host)
            if match is not None:
                found.append((entry.order, entry, _texts(match, groups), start))
        end = len(segments)
        node = self.root
        at = start
        texts: tuple[str, ...] = ()
        # Branches still to walk.  A node stands at one depth, so a walk visits it at most once: the steps are bounded
        # by the nodes that fit the path, however the table is made.
        pending: list[tuple[_Node, int, tuple[str, ...]]] = []
        while True:
            if at < end:
                segment = segments[at]
                following = node.literals.get(segment)
                if node.branches:
                    for entry in node.mounts:
                        found.append((entry.order, entry, texts, at))
                    if node.tails:
                        rest = "/".join(segments[at:])
                        for tail, entry in node.tails:
                            if tail.fullmatch is None:
                                found.append((entry.order, entry, (*texts, rest), end))
                                continue
                            match = tail.fullmatch(rest)
                            if match is not None:
                                found.append((entry.order, entry, texts + _texts(match, tail.groups), end))
                    for pattern, after in node.patterns:
                        match = pattern.fullmatch(segment)
                        if match is not None:
                            own = texts if pattern.alone else texts + _texts(match, pattern.groups)
                            pending.append((after, at + 1, own))
                    if node.digits is not None and segment.isdigit() and segment.isascii():
                        if following is None:
                            following = node.digits
                        else:
                            pending.append((node.digits, at + 1, texts))
                    if node.whole is not None and segment:
                        if following is None:
                            following = node.whole
                        else:
                            pending.append((node.whole, at + 1, texts))
                if following is not None:
                    node = following
                    at += 1
                    continue
            else:
                for entry in node.routes:
                    found.append((entry.order, entry, texts, at))
            if not pending:
                return found
            node, at, texts = pending.pop()


def segments_of(path: str) -> list[str]:
    """Return a path cut at its slashes, the empty text before the first one left out."""
    return path.split("/")[1:] if path else [""]


def _texts(match: re.Match[str], groups: tuple[int, ...]) -> tuple[str, ...]:
    return tuple([match[group] or "" for group in groups])


class Table:
    """The index over a list of routes.

    It follows its source: routes appended since the last look-up are added to the tree, and any other change rebuilds
    it.

    Args:
        source: the routes; each has a method `entries()` that returns new `Entry` objects for it.
        default: the entry that takes what no other does, or None: see `match_default`.
    """

    __slots__ = ("_count", "_next_order", "_revision", "_trees", "_version", "default", "source")

    def __init__(self, source: Source, default: Entry | None = None) -> None:
        self.source: Source = source
        self.default: Entry | None = default
        self._version = self._revision = -1
        self._count = 0
        self._next_order = 0
        self._trees = (Tree(), Tree())

    def _follow(self) -> None:
        source = self.source
        version, revision, count = source.version, source.revision, len(source)
        if revision != self._revision:
            # Built aside and then put in place, so that a thread that is walking the old trees goes on with those.
            trees, start, order = (Tree(), Tree()), 0, 0
        else:
            trees, start, order = self._trees, self._count, self._next_order
        for position in range(start, count):
            for entry in source[position].entries():
                entry.order = order
                order += 1
                for kind in entry.kinds:
                    trees[kind].add(entry)
        self._trees, self._revision, self._count, self._next_order = trees, revision, count, order
        self._version = version

    def literal(self, path: str) -> Any:
        """Return the target that takes every request for a path whose method it has, whatever the host; or None."""
        if self.source.version != self._version:
            self._follow()
        entry = self._trees[HTTP].literals.get(path)
        return None if entry is None else entry.target

    def find(self, kind: int, method: str, host: str, path: str, miss: Miss, given: Given = None) -> Found | None:
        """Find the first entry that takes the request, or None, with the reasons added to `miss`.

        Args:
            kind: HTTP or WEBSOCKET.
            method: the HTTP method; not looked at for a websocket.
            host: the host in lower case without its port.
            path: the whole path.
            miss: gathers why entries were passed over.
            given: what the server handed over; for finders inside.
        """
        if self.source.version != self._version:
            self._follow()
        tree = self._trees[kind]
        entry = tree.literals.get(path)
        if entry is not None:
            if entry.methods is None or method in entry.methods:
                return entry.found
            return self.match(kind, method, host, segments_of(path), 0, miss, given)
        size = path.count("/")
        shape = tree.shapes.get(size)
        if shape is not None:
            pieces = path.rsplit("/", shape.cuts)
            route: Any = shape.routes.get(pieces[0])
            for at in shape.literals:
                if route is None:
                    break
                route = route.get(pieces[at])
            if route is not None:
                methods, trail, captures = route
                if methods is None or method in methods:
                    params: dict[str, Any] = {}
                    try:
                        for name, at, convert in captures:
                            text = pieces[at]
                            if convert is None:
                                if not text:
                                    break
                                params[name] = text
                            elif convert is int:
                                if not text.isdigit() or not text.isascii():
                                    break
                                params[name] = int(text)
                            else:
                                params[name] = convert(text)
                        else:
                            return trail, params, 0, ()
                    except ValueError:
                        pass
                # Others may still fit the path.
                return self.match(kind, method, host, segments_of(path), 0, miss, given)
        if tree.has_spans:
            cut = path.find("/", 1)
            entry = tree.prefixes.get(path[:cut])
            if (
                entry is not None
                and cut > 0
                and (entry.methods is None or method in entry.methods or kind == WEBSOCKET)
                and (entry.child is None or entry.child() is None)
            ):
                return entry.found
            return self.match(kind, method, host, segments_of(path), 0, miss, given)
        if size in tree.crowded:
            return self.match(kind, method, host, segments_of(path), 0, miss, given)
        return None

    def match(
        self, kind: int, method: str, host: str, segments: Sequence[str], start: int, miss: Miss, given: Given = None
    ) -> Found | None:
        """Find it in a path that was cut at its slashes: the segments from `start` on are this table's business.

        The empty text before the first slash is no segment.  The other arguments are those of `find`.
        """
        if self.source.version != self._version:
            self._follow()
        hits = self._trees[kind].hits(host, segments, start)
        if len(hits) > 1:
            hits.sort(key=_by_order)
        for _, entry, texts, at in hits:
            found = enter(entry, texts, at, kind, method, host, segments, start, miss, given)
            if found is not None:
                return found
        return None

    def match_default(
        self, kind: int, method: str, host: str, segments: Sequence[str], start: int, miss: Miss, given: Given = None
    ) -> Found | None:
        """Ask the default entry, if there is one; the arguments are those of `match`, which comes first."""
        entry = self.default
        if entry is None or kind not in entry.kinds:
            return None
        return enter(entry, (), start, kind, method, host, segments, start, miss, given)


def enter(
    entry: Entry,
    texts: tuple[str, ...],
    at: int,
    kind: int,
    method: str,
    host: str,
    segments: Sequence[str],
    start: int,
    miss: Miss,
    given: Given = None,
) -> Found | None:
    """Return the match behind an entry whose path fits, or None where the rest of the request does not fit."""
    params: dict[str, Any] = {}
    if entry.captures:
        try:
            for name, place, convert, _ in entry.captures:
                text = segments[start + place] if place >= 0 else texts[~place]
                params[name] = text if convert is None else convert(text)
        except ValueError:
            return None
    target = entry.target
    child = entry.child() if entry.child is not None else None
    if child is None:
        methods = entry.methods
        if methods is None or kind == WEBSOCKET or method in methods:
            return entry.trail, params, at if entry.prefix else start, ()
        miss.allowed |= methods
        if not miss.partial:
            miss.partial = True
            miss.trail = entry.trail
        return None
    inner = miss.inside(child, at)
    if inner is None:
        return None
    if not inner.over:
        found = child.match(kind, method, host, segments, at, inner, given)
        if found is None and not inner.partial:
            found = child.match_default(kind, method, host, segments, at, inner, given)
        if found is not None:
            trail, inner_params, depth, args = found
            return (target, *trail), {**params, **inner_params}, depth, args
        inner.end()
    miss.allowed |= inner.allowed
    if (inner.partial and not miss.partial) or not miss.trail:
        miss.trail = (target, *inner.trail)
    miss.partial = miss.partial or inner.partial
    return None


_by_order = itemgetter(0)
