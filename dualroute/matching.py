"""The index: which route answers a path, in declared order, at a cost that grows with the path and not the table.

Every router has one `Table`.  It holds its entries in a tree of path segments: below a node, literal segments are
looked up in a dict, while segments with parameters are tried one by one, equal ones sharing an edge.  A walk
collects each entry whose path fits (a handful, however many routes there are), sorts those by the order in which
they were declared, and takes the first that the rest of the request fits too: convertors, method, and for a
`Mount` or a `Host` a match inside it.  So the tree only makes the search short; declared order decides.

An entry with a table of its own (`child`) that finds nothing inside declines, and the next entry is tried.  What is
inside need not be a table: anything that is asked like one will do (`Finder`), such as a rule router.

The matcher takes plain values and returns plain values: it sees neither scope nor environ nor request.  A miss
carries its reasons, from which 405 and its ``Allow`` are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from dualroute.convertors import Convertor
from dualroute.paths import Literal, Pattern, Segment, Tail, Template, Whole

__all__ = ["HTTP", "WEBSOCKET", "Entry", "Finder", "Found", "Given", "Hit", "Miss", "Source", "Table", "Tree", "enter"]

HTTP = 0
"""The kind of a request."""
WEBSOCKET = 1
"""The kind of a websocket handshake."""

_ANY_HOST = re.compile("[^/]+").fullmatch


class Source(Protocol):
    """What a table is made from: a sequence of routes that counts its changes."""

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

    __slots__ = ("child", "convertors", "host", "kinds", "methods", "order", "path", "prefix", "target")

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
        self.convertors: tuple[tuple[str, Convertor[Any]], ...] = tuple((host or path).convertors.items())


class Found(NamedTuple):
    """A match: the targets from the outermost mount to the route, the parameters, and the depth of the mounts.

    `depth` is how many segments the mounts took together; `args` are the parameters that have a place and no name.
    """

    trail: tuple[Any, ...]
    params: dict[str, Any]
    depth: int
    args: tuple[Any, ...] = ()


class Miss:
    """Why nothing matched, gathered during the search.

    `allowed` holds the methods of every route whose path fits.  `trail` leads to the first of those routes, or, where
    there is none, to the first mount that the path lies in: the place whose error handlers answer.
    """

    __slots__ = ("allowed", "partial", "trail")

    def __init__(self) -> None:
        self.allowed: set[str] = set()
        self.partial: bool = False
        self.trail: tuple[Any, ...] = ()


Hit: TypeAlias = tuple[int, Entry, tuple[str, ...], int]
"""An entry whose path fits: its order, itself, the texts of its parameters, and where its path ends."""


class _Node:
    __slots__ = ("literals", "mounts", "params", "routes", "tails")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        # The node behind each distinct parameter segment, in no particular order.
        self.params: list[tuple[Whole | Pattern, _Node]] = []
        self.tails: list[tuple[Tail, Entry]] = []
        self.routes: list[Entry] = []
        self.mounts: list[Entry] = []

    def step(self, segment: Literal | Whole | Pattern) -> _Node:
        """Return the node behind `segment`, made if it is new."""
        if isinstance(segment, Literal):
            node = self.literals.get(segment.text)
            if node is None:
                node = self.literals[segment.text] = _Node()
            return node
        for known, node in self.params:
            if type(known) is type(segment) and (
                isinstance(known, Whole) or (isinstance(segment, Pattern) and known.source == segment.source)
            ):
                return node
        node = _Node()
        self.params.append((segment, node))
        return node


class Tree:
    """The entries of one kind."""

    __slots__ = ("host_patterns", "hosts", "root")

    def __init__(self) -> None:
        self.root: _Node = _Node()
        self.hosts: dict[str, list[Entry]] = {}
        self.host_patterns: list[tuple[Callable[[str], re.Match[str] | None], tuple[int, ...], Entry]] = []

    def add(self, entry: Entry) -> None:
        if entry.host is not None:
            self._add_host(entry, entry.host)
            return
        self.place(entry, entry.path.segments)

    def place(self, entry: Entry, segments: Sequence[Segment]) -> None:
        """Put an entry where a path of these segments leads."""
        node = self.root
        for segment in segments:
            if isinstance(segment, Tail):
                node.tails.append((segment, entry))
                return
            node = node.step(segment)
        (node.mounts if entry.prefix else node.routes).append(entry)

    def _add_host(self, entry: Entry, host: Template) -> None:
        segment = host.segments[0]
        if isinstance(segment, Literal):
            self.hosts.setdefault(segment.text, []).append(entry)
        elif isinstance(segment, Whole):
            self.host_patterns.append((_ANY_HOST, (0,), entry))
        else:
            assert segment.fullmatch is not None, "a host template holds no path convertor"
            self.host_patterns.append((segment.fullmatch, segment.groups, entry))

    def hits(self, host: str, segments: Sequence[str], start: int) -> list[Hit]:
        """Collect every entry whose host and path fit, with the texts of its parameters and where its path ends."""
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
                for entry in node.mounts:
                    found.append((entry.order, entry, texts, at))
                segment = segments[at]
                for tail, entry in node.tails:
                    rest = "/".join(segments[at:])
                    if tail.fullmatch is None:
                        found.append((entry.order, entry, (*texts, rest), end))
                        continue
                    match = tail.fullmatch(rest)
                    if match is not None:
                        found.append((entry.order, entry, texts + _texts(match, tail.groups), end))
                for param, after in node.params:
                    if isinstance(param, Whole):
                        if segment:
                            pending.append((after, at + 1, (*texts, segment)))
                        continue
                    match = param.fullmatch(segment)
                    if match is not None:
                        pending.append((after, at + 1, texts + _texts(match, param.groups)))
                following = node.literals.get(segment)
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

    __slots__ = ("_count", "_next_order", "_revision", "_source", "_trees", "default")

    def __init__(self, source: Source, default: Entry | None = None) -> None:
        self._source = source
        self.default: Entry | None = default
        self._revision = -1
        self._count = 0
        self._next_order = 0
        self._trees = (Tree(), Tree())

    def _follow(self) -> None:
        source = self._source
        revision, count = source.revision, len(source)
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

    def match(
        self, kind: int, method: str, host: str, segments: Sequence[str], start: int, miss: Miss, given: Given = None
    ) -> Found | None:
        """Find the first entry that takes the request, or None, with the reasons added to `miss`.

        Args:
            kind: HTTP or WEBSOCKET.
            method: the HTTP method; not looked at for a websocket.
            host: the host in lower case without its port.
            segments: the path cut at its slashes, the empty text before the first one left out.
            start: the first segment that is this table's business.
            miss: gathers why entries were passed over.
            given: what the server handed over; for finders inside.
        """
        source = self._source
        if len(source) != self._count or source.revision != self._revision:
            self._follow()
        if not source:
            return None
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
    if texts:
        try:
            for (name, convertor), text in zip(entry.convertors, texts, strict=True):
                params[name] = convertor.convert(text)
        except ValueError:
            return None
    target = entry.target
    child = entry.child() if entry.child is not None else None
    if child is None:
        methods = entry.methods
        if methods is None or kind == WEBSOCKET or method in methods:
            return Found((target,), params, at if entry.prefix else start)
        miss.allowed |= methods
        if not miss.partial:
            miss.partial = True
            miss.trail = (target,)
        return None
    inner = Miss()
    found = child.match(kind, method, host, segments, at, inner, given)
    if found is None and not inner.partial:
        found = child.match_default(kind, method, host, segments, at, inner, given)
    if found is not None:
        return Found((target, *found.trail), {**params, **found.params}, found.depth, found.args)
    miss.allowed |= inner.allowed
    if (inner.partial and not miss.partial) or not miss.trail:
        miss.trail = (target, *inner.trail)
    miss.partial = miss.partial or inner.partial
    return None


def _by_order(hit: Hit) -> int:
    return hit[0]
