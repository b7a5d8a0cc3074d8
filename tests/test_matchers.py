"""Matchers: those that Tornado does not have, and how all of them combine."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import pytest

from dualroute import DualRoute
from dualroute.delegates import HTTPServerRequest
from dualroute.matchers import (
    AnyMatches,
    DefaultHostMatches,
    HostMatches,
    Matcher,
    MethodMatches,
    PathMatches,
    methods_wanted,
)
from dualroute.targets import Target


def request(path: str = "/", method: str = "GET", host: str = "h", **headers: str) -> HTTPServerRequest:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPServerRequest({"type": "http", "headers": pairs}, None, Target(method, "", path, host, host), path)


class Gives(Matcher):
    def __init__(self, **given: Any) -> None:
        self.given = given

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return self.given


class Never(Matcher):
    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return None


# Methods


@pytest.mark.parametrize(
    ("matcher", "methods"),
    [
        (MethodMatches("GET"), {"GET", "HEAD"}),
        (MethodMatches("post", "Put"), {"POST", "PUT"}),
        (MethodMatches(["DELETE", "PATCH"]), {"DELETE", "PATCH"}),
        (MethodMatches({"M-SEARCH"}), {"M-SEARCH"}),
    ],
)
def test_methods(matcher: MethodMatches, methods: set[str]) -> None:
    assert matcher.methods == methods
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get"):
        assert (matcher.match(request(method=method)) is not None) == (method in methods)
    assert matcher.reverse() is None


# Paths


def test_a_path_is_seen_in_one_encoding() -> None:
    assert request("/a b/caf\xe9/100%").path == "/a%20b/caf%C3%A9/100%25"
    assert PathMatches("/(.*)").match(request("/a b\xe9%")) == {"path_args": [b"a b\xc3\xa9%"], "path_kwargs": {}}


def test_a_host_is_seen_in_lower_case_and_without_its_port() -> None:
    assert HostMatches("h").match(request(host="h")) == {}
    assert HostMatches("h").match(request(host="hh")) is None


def test_a_default_host_is_that_of_a_dualroute() -> None:
    app = DualRoute(default_host="example.com")
    assert DefaultHostMatches(app, r"example\.com").match(request()) == {}
    assert DefaultHostMatches(app, "example").match(request()) is None
    assert DefaultHostMatches(app, re.compile("example")).match(request()) == {}
    assert DefaultHostMatches(app, r"example\.com").match(request(x_real_ip="10.0.0.1")) is None
    assert DefaultHostMatches(DualRoute(), ".*").match(request()) is None
    assert DefaultHostMatches(object(), ".*").match(request()) is None


# Combining


A, B = (
    Gives(path_args=[1], path_kwargs={"a": 1}, target_kwargs={"x": 1}, odd="a"),
    Gives(path_args=[2], path_kwargs={"a": 2, "b": 2}, target_kwargs={"y": 2}, odd="b"),
)
MERGED = {"path_args": [1, 2], "path_kwargs": {"a": 2, "b": 2}, "target_kwargs": {"x": 1, "y": 2}, "odd": "b"}


@pytest.mark.parametrize(
    ("matcher", "given"),
    [
        (A & B, MERGED),
        (A & AnyMatches(), A.given),
        (AnyMatches() & B, B.given),
        (A & Never(), None),
        (Never() & A, None),
        (A | B, A.given),
        (Never() | B, B.given),
        (Never() | Never(), None),
        (~A, None),
        (~Never(), {}),
        (~~A, {}),
        ((A | B) & ~Never() & AnyMatches(), A.given),
    ],
)
def test_matchers_combine(matcher: Matcher, given: Any) -> None:
    assert matcher.match(request()) == given


def test_what_a_part_gave_is_left_as_it_was() -> None:
    assert A.given["path_args"] == [1]
    (A & B).match(request())
    assert (A.given["path_args"], A.given["path_kwargs"]) == ([1], {"a": 1})


def test_the_second_part_is_not_asked_in_vain() -> None:
    class Asked(Matcher):
        def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
            raise AssertionError

    assert (Never() & Asked()).match(request()) is None
    assert (AnyMatches() | Asked()).match(request()) == {}


@pytest.mark.parametrize("other", ["x", None, 3])
def test_only_matchers_combine(other: Any) -> None:
    for combine in (operator.and_, operator.or_):
        with pytest.raises(TypeError):
            combine(AnyMatches(), other)
        with pytest.raises(TypeError):
            combine(other, AnyMatches())


def test_they_show_how_they_were_made() -> None:
    combined = ~HostMatches("h") & (PathMatches("/x") | MethodMatches("GET", "PUT")) | AnyMatches()
    assert (
        repr(combined) == "((~HostMatches('h$') & (PathMatches('/x$') | MethodMatches('GET', 'PUT'))) | AnyMatches())"
    )
    assert repr(DefaultHostMatches(None, "h")) == "DefaultHostMatches(None, 'h$')"


def test_a_matcher_without_match_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Matcher has no match"):
        Matcher().match(request())


# By which methods there would be a match


@pytest.mark.parametrize(
    ("matcher", "methods"),
    [
        (MethodMatches("POST"), {"POST"}),
        (PathMatches("/") & MethodMatches("POST"), {"POST"}),
        (PathMatches("/other") & MethodMatches("POST"), None),
        (MethodMatches("POST") & PathMatches("/other"), None),
        (MethodMatches("POST", "PUT") & MethodMatches("PUT", "PATCH"), {"PUT"}),
        (MethodMatches("POST") & MethodMatches("PUT"), None),
        (MethodMatches("POST") | PathMatches("/other"), {"POST"}),
        (MethodMatches("POST") | MethodMatches("PUT"), {"POST", "PUT"}),
        (~MethodMatches("GET"), None),
        (Never(), None),
    ],
)
def test_the_methods_in_the_way_are_known(matcher: Matcher, methods: set[str] | None) -> None:
    assert methods_wanted(matcher, request("/")) == methods


# Mistakes

MISTAKES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: PathMatches(b"/x"), TypeError, "PathMatches takes a str or a compiled pattern of str, not b'/x'"),  # type: ignore[arg-type]  # the mistake
    (lambda: PathMatches(re.compile(b"/x")), TypeError, "PathMatches takes a str or a compiled pattern of str"),  # type: ignore[arg-type]  # the mistake
    (lambda: HostMatches(None), TypeError, "HostMatches takes a str or a compiled pattern of str, not None"),  # type: ignore[arg-type]  # the mistake
    (lambda: PathMatches("/(x"), ValueError, r"PathMatches: '/\(x' is no regular expression: "),
    (lambda: PathMatches("/(x)/(?P<y>y)"), ValueError, r"either all have names or none has: .*\(\?:…\) is a group"),
    (MethodMatches, TypeError, "MethodMatches takes the names of methods, not nothing"),
    (lambda: MethodMatches([]), TypeError, "MethodMatches takes the names of methods"),
    (lambda: MethodMatches(1), TypeError, "int"),  # type: ignore[arg-type]  # the mistake
    (lambda: MethodMatches("GET", ["PUT"]), TypeError, r"not \['PUT'\]"),
    (lambda: MethodMatches("GET PUT"), ValueError, "'GET PUT' is no HTTP method"),
]


@pytest.mark.parametrize(("make", "error", "message"), MISTAKES)
def test_a_mistake_is_refused_when_it_is_made(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
