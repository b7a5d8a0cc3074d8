"""The index over rules: it may pass over no rule that matches, and order decides."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualroute import PlainTextResponse
from dualroute.delegates import HTTPServerRequest
from dualroute.matchers import AnyMatches, HostMatches, PathMatches
from dualroute.paths import Literal, Tail
from dualroute.patterns import placements
from dualroute.rules import Rule, RuleRouter
from dualroute.targets import Target


def answer_any(request: Any, *args: Any, **kwargs: Any) -> Any:
    return PlainTextResponse("")


def request(path: str) -> HTTPServerRequest:
    target = Target("GET", "/base", path, "h", "h")
    return HTTPServerRequest({"type": "http", "headers": []}, None, target, path)


# Pieces of patterns, of which most are understood and some are not; paths are made of the same characters.
PIECES = [
    "a", "b", "-", r"\.", ".", "/", r"\/", "/?", "//", "(a)", "(a|b)", "(?:a|b)", "(a/b)", "(?:/a)?", "(/b)?", "(.*)",
    ".*", "[ab]", "[^/]", "[^/]*", "[^a]", "[^a]+", "[]/]", "[^]/]", r"[\W]", r"[\w-]", r"\w", r"\w+", r"\W", r"\d*",
    r"\S", "a?", "a*", "a{2}", "a{,2}", "/{1,2}", "{", "}", "|", "^", "$", "(?=a)", "(?!a)", r"\b", "((a)b)", "(|/)",
    "(?i:A)", "a*?", "a++", "(?#x)", "(?#(|)", "[(]", "[|]", r"\(", r"\|", r"\$", "%2F", "%20", " ", "\n",
]  # fmt: skip

patterns = st.lists(st.sampled_from(PIECES), max_size=7).map("".join)
texts = st.lists(st.sampled_from(["a", "b", "ab", "-", ".", "/", "//", "x", "{", "(", "|", "$", " "]), max_size=8)
paths = st.one_of(st.just(""), texts.map("".join).map("/".__add__))


def matcher_of(pattern: str, compiled: bool, flags: int) -> PathMatches | None:
    try:
        return PathMatches(re.compile(pattern, flags) if compiled else pattern)
    except (ValueError, re.error, OverflowError):
        return None


matchers = st.one_of(
    st.builds(
        matcher_of,
        st.one_of(patterns, patterns.map("/".__add__)),
        st.booleans(),
        st.sampled_from([0, 0, 0, re.I, re.X, re.S]),
    ),
    st.sampled_from([AnyMatches(), HostMatches("h"), HostMatches("other"), PathMatches("/a") & HostMatches("h")]),
).filter(lambda matcher: matcher is not None)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.timeout(600)  # many examples, and perhaps much else to do on the machine
@settings(max_examples=1500, deadline=None)
@given(st.lists(matchers, min_size=1, max_size=8), st.lists(paths, min_size=1, max_size=5))
def test_the_first_rule_that_matches_is_found_as_by_trying_each(table: list[Any], asked: list[str]) -> None:
    rules = [Rule(matcher, answer_any) for matcher in table]
    router = RuleRouter()
    router._rules._lenient = True  # the groups of these patterns are nobody's business here
    router.add_rules(rules)
    for path in asked:
        expected = [rule for rule in rules if rule.matcher.match(request(path)) is not None]
        candidates = router._index.candidates(request(path).path)
        assert [rule for rule in candidates if rule.matcher.match(request(path)) is not None] == expected
        found = router.find_handler(request(path))
        assert (None if found is None else found.found[0][-1].rule) is (expected[0] if expected else None)


changes = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.just(0), patterns.map("/".__add__)),
        st.tuples(st.just("insert"), st.integers(0, 5), patterns.map("/".__add__)),
        st.tuples(st.just("delete"), st.integers(0, 5), st.just("")),
        st.tuples(st.just("reverse"), st.just(0), st.just("")),
    ),
    max_size=6,
)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@settings(max_examples=300, deadline=None)
@given(changes, paths)
def test_it_follows_every_change_of_the_list(steps: list[tuple[str, int, str]], path: str) -> None:
    router = RuleRouter([("/a", answer_any), ("/.*", answer_any)])
    for change, at, pattern in steps:
        matcher = matcher_of(pattern, False, 0)
        if change == "append" and matcher is not None:
            router.rules.append(Rule(matcher, answer_any))
        elif change == "insert" and matcher is not None:
            router.rules.insert(at, Rule(matcher, answer_any))
        elif change == "delete" and at < len(router.rules):
            del router.rules[at]
        elif change == "reverse":
            router.rules.reverse()
        asked = request(path)
        matching = [rule for rule in router._index.candidates(asked.path) if rule.matcher.match(asked) is not None]
        assert matching == [rule for rule in router.rules if rule.matcher.match(request(path)) is not None]


# Where patterns stand

EXACT: dict[str, list[int]] = {
    # The pattern, and how many segments each of its places has.
    "/": [1],
    "/a/b": [2],
    r"/a/(\d+)/([^/]+)": [3],
    r"/a\.b/[^/]*/x": [3],
    "/a/?": [1, 2],
    "^/a$": [1],
    "/(?:a|b)/(c|d)+": [2],
    r"/\d{4}/[\w-]+/": [3],
}


@pytest.mark.parametrize("pattern", EXACT)
def test_a_pattern_that_can_be_read_stands_at_its_end(pattern: str) -> None:
    places = placements(PathMatches(pattern).regex)
    assert places is not None
    assert [len(place) for place in places] == EXACT[pattern]
    assert not any(isinstance(segment, Tail) for place in places for segment in place)


@pytest.mark.parametrize(
    "pattern", ["/a/.*", "/a/(.*)", "/a/(b/c)?", "/a/[^x]", r"/a/\W", "/a/(?=b)b", "/a/b/?c", r"/a/\Bb", r"/a/(b)\1"]
)
def test_one_that_may_leave_its_segment_stands_before_that(pattern: str) -> None:
    places = placements(PathMatches(pattern).regex)
    assert places is not None
    (place,) = places
    assert place[0] == Literal("a")
    if pattern == r"/a/\Bb":
        assert len(place) == 2
    else:
        assert isinstance(place[-1], Tail)


@pytest.mark.parametrize("pattern", [".*", "", "a", "/a|/b", "(/a)", "/?a", "(?i)/a", "/a(?#comment)", "/+", "[/]a"])
def test_one_that_can_not_be_read_stands_nowhere(pattern: str) -> None:
    assert placements(PathMatches(pattern).regex) is None


@pytest.mark.parametrize(
    ("pattern", "flags", "path"),
    [("/HANDLER$", re.IGNORECASE, "/handler"), ("/ a # comment\n$", re.VERBOSE, "/a"), (r"/\w$", re.ASCII, "/a")],
)
def test_one_with_flags_stands_nowhere(pattern: str, flags: int, path: str) -> None:
    regex = re.compile(pattern, flags)
    assert placements(regex) is None
    (rule,) = RuleRouter([(PathMatches(regex), answer_any)])._index.candidates(path)
    assert rule.matcher.match(request(path)) == {}


def test_a_compiled_one_without_an_end_may_be_followed_by_anything() -> None:
    places = placements(re.compile("/a/b"))
    assert places is not None
    (place,) = places
    assert place[0] == Literal("a")
    assert isinstance(place[1], Tail)


def test_rules_in_other_places_are_not_tried() -> None:
    router = RuleRouter([(f"/section{number}/(\\d+)/edit", answer_any) for number in range(500)])
    candidates = router._index.candidates("/section77/5/edit")
    assert [rule.matcher.regex.pattern for rule in candidates] == [r"/section77/(\d+)/edit$"]
