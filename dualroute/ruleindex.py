"""The index over rules: which of them may match a path, in order, at a cost that grows with the path alone.

The tree of `dualroute.matching` holds the rules whose pattern can be read (`dualroute.patterns`).  It only proposes;
the pattern itself decides afterwards.  Every other rule is proposed for every path, so that none is passed over
unasked.
"""

from __future__ import annotations

from typing import Any

from dualroute.matchers import PathMatches, has_methods
from dualroute.matching import HTTP, WEBSOCKET, Entry, Tree
from dualroute.paths import Template
from dualroute.patterns import placements
from dualroute.routes import CountingList

__all__ = ["RuleIndex"]


class RuleIndex:
    """Which rules may match a path, in order.

    Args:
        rules: the rules; it follows their changes.
    """

    def __init__(self, rules: CountingList) -> None:
        self._rules = rules
        self._seen = (-1, 0)
        self._tree = Tree()
        self._always: list[tuple[int, Any]] = []
        self.has_methods: bool = False
        """Whether a MethodMatches may be in the way of a rule."""

    def _follow(self) -> None:
        rules, (revision, count) = self._rules, self._seen
        now = (rules.revision, len(rules))
        # Built aside unless there are but new ones, so that a thread that is walking the old tree goes on with it.
        fresh = now[0] != revision
        tree, always, start = (Tree(), [], 0) if fresh else (self._tree, self._always, count)
        wanting = False if fresh else self.has_methods
        for order in range(start, now[1]):
            rule = rules[order]
            places = placements(rule.matcher.regex) if type(rule.matcher) is PathMatches else None
            wanting = wanting or has_methods(rule.matcher)
            if places is None:
                always.append((order, rule))
                continue
            entry = Entry(rule, _NO_PATH, kinds=(HTTP, WEBSOCKET))
            entry.order = order
            for segments in places:
                tree.place(entry, segments)
        self._tree, self._always, self._seen, self.has_methods = tree, always, now, wanting

    def candidates(self, path: str) -> list[Any]:
        """Return the rules that may match a path; the others do not."""
        rules = self._rules
        if (rules.revision, len(rules)) != self._seen:
            self._follow()
        hits = self._tree.hits("", path.split("/")[1:], 0)
        if len(hits) == 1 and not self._always:
            return [hits[0][1].target]
        found = [(hit[0], hit[1].target) for hit in hits]
        found += self._always
        found.sort(key=_by_order)
        return [rule for _, rule in found]


def _by_order(item: tuple[int, Any]) -> int:
    return item[0]


_NO_PATH = Template("", prefix=True)
