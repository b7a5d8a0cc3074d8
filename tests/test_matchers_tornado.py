"""The matchers beside Tornado's own: the same questions to both, and the same answers.

Where we chose another answer, the case is in a table of its own that holds what each gives.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import pytest
from tornado import httputil
from tornado import routing as tornado

from dualroute import rules as ours
from dualroute.delegates import HTTPServerRequest
from dualroute.targets import target_from_scope


def our_request(uri: str = "/", headers: dict[str, str] | None = None) -> HTTPServerRequest:
    path, _, query = uri.partition("?")
    given = {"Host": "example.com", **(headers or {})}
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": unquote(path),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
    }
    target = target_from_scope(scope)
    return HTTPServerRequest(scope, None, target, target.path)


def their_request(uri: str = "/", headers: dict[str, str] | None = None) -> httputil.HTTPServerRequest:
    return httputil.HTTPServerRequest(
        start_line=httputil.RequestStartLine("GET", uri, "HTTP/1.1"),
        headers=httputil.HTTPHeaders({"Host": "example.com", **(headers or {})}),
    )


def outcome(call: Any, *args: Any) -> Any:
    """Return what a call gives; "refused" for what either refuses in its own way, or fails at."""
    try:
        return call(*args)
    except (AssertionError, ValueError, TypeError):
        return "refused"


# Paths

PATTERNS: list[str | re.Pattern[str]] = [
    "/",
    "/handler",
    "/handler$",
    "/handler/",
    "/handler/?",
    "^/handler",
    ".*",
    "",
    "/.*",
    "/app1.*",
    "/app1/.*",
    r"/([0-9]{4})/([a-z-]+)/",
    r"/(\d+)",
    r"/([^/]+)",
    r"/([^/]*)",
    r"/(.*)",
    r"/(.+)/(.+)",
    r"/(?P<year>\d{4})/(?P<slug>[^/]+)",
    r"/(?P<rest>.*)",
    r"/page(/\d+)?",
    r"/page(?:/(\d+))?",
    r"/page(?:/(?P<number>\d+))?",
    r"/(a)|/(b)",
    r"/a|/b",
    r"/x(?:a|b)y",
    r"/caf%C3%A9",
    r"/(caf%C3%A9)",
    r"/feed\.xml",
    r"/feed.xml",
    r"/(?i:READ)",
    r"/\(paren\)",
    r"/a\$",
    r"/(?=h)handler",
    re.compile("/handler"),
    re.compile("/handler$"),
    re.compile("/(handler|page)"),
    re.compile("/HANDLER$", re.IGNORECASE),
    re.compile("handler"),
    re.compile("/ (.*) # the rest", re.VERBOSE),
]

PATHS = [
    "/",
    "/handler",
    "/handler/",
    "/handlers",
    "/handler?query=1",
    "/HANDLER",
    "/app1",
    "/app1/",
    "/app1/x/y",
    "/app12",
    "/2024/a-slug/",
    "/2024/a-slug",
    "/2024/a/b",
    "/12",
    "/page",
    "/page/",
    "/page/3",
    "/a",
    "/b",
    "/xay",
    "/caf%C3%A9",
    "/a%20b",
    "/a%25b",
    "/a+b",
    "/100%25/x",
    "/a%3Fb/c%23d",
    "/feed.xml",
    "/feedxxml",
    "/read",
    "/(paren)",
    "/a$",
    "//",
    "//double//slash",
    "/a%0Ab",
    "/%00",
    "/~user/@me;v=1,2:3&!*'",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_a_path_matches_alike(pattern: Any, path: str) -> None:
    theirs = tornado.PathMatches(pattern).match(their_request(path))
    assert ours.PathMatches(pattern).match(our_request(path)) == theirs


DIFFERENT_PATHS: list[tuple[str, str, Any, Any, str]] = [
    # pattern, path, what Tornado gives, what we give, why
    ("/a%20b", "/a b", None, {}, "a server lets no space through; here the path is encoded anew"),
    ("/%7Euser", "/%7Euser", {}, None, "encoded anew, what needs no encoding has none"),
    ("/~user", "/%7Euser", None, {}, "the other way round: one spelling of a path is enough"),
    ("/caf%c3%a9", "/caf%c3%a9", {}, None, "hexadecimal digits are capitals"),
    ("/caf%C3%A9", "/caf%c3%a9", None, {}, "the same"),
    (
        "/(.*)/(.*)",
        "/a%2Fb",
        None,
        {"path_args": [b"a", b"b"], "path_kwargs": {}},
        "an encoded slash is a slash, since WSGI servers decode it",
    ),
]


@pytest.mark.parametrize(("pattern", "path", "theirs", "mine", "why"), DIFFERENT_PATHS)
def test_a_path_matches_otherwise_by_choice(pattern: str, path: str, theirs: Any, mine: Any, why: str) -> None:
    assert tornado.PathMatches(pattern).match(their_request(path)) == theirs
    assert ours.PathMatches(pattern).match(our_request(path)) == mine


# Hosts

HOST_PATTERNS: list[str | re.Pattern[str]] = [
    "example.com",
    r"example\.com",
    r"example\.com$",
    r".*\.example\.com",
    r"(www|api)\.example\.com",
    ".*",
    "EXAMPLE.com",
    r"127\.0\.0\.1",
    r"\[::1\]",
    r"::1",
    re.compile("example"),
    re.compile("EXAMPLE", re.IGNORECASE),
    re.compile("com"),
]
HOSTS = [
    "example.com",
    "example.com:80",
    "example.com:8000",
    "EXAMPLE.com:8000",
    "www.example.com",
    "example.com.evil.org",
    "examplexcom",
    "127.0.0.1:8888",
    "[::1]:8888",
    "localhost",
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("pattern", HOST_PATTERNS, ids=str)
def test_a_host_matches_alike(pattern: Any, host: str) -> None:
    theirs = tornado.HostMatches(pattern).match(their_request(headers={"Host": host}))
    assert ours.HostMatches(pattern).match(our_request(headers={"Host": host})) == theirs


class Application:
    def __init__(self, default_host: str) -> None:
        self.default_host = default_host


@pytest.mark.parametrize("headers", [{}, {"X-Real-Ip": "10.0.0.1"}, {"x-real-ip": ""}])
@pytest.mark.parametrize("default_host", ["example.com", "example.com.evil.org", "example.org", ""])
@pytest.mark.parametrize("pattern", ["example.com$", "example", ".*$"])
def test_a_default_host_matches_alike(pattern: str, default_host: str, headers: dict[str, str]) -> None:
    application = Application(default_host)
    theirs = tornado.DefaultHostMatches(application, re.compile(pattern)).match(their_request(headers=headers))
    assert ours.DefaultHostMatches(application, re.compile(pattern)).match(our_request(headers=headers)) == theirs


def test_any_request_matches_alike() -> None:
    assert ours.AnyMatches().match(our_request("/x")) == tornado.AnyMatches().match(their_request("/x")) == {}


# Reverse

REVERSALS: list[tuple[str | re.Pattern[str], list[tuple[Any, ...]]]] = [
    ("/handler", [(), (1,)]),
    ("^/handler$", [()]),
    (r"/([0-9]{4})/([a-z-]+)/", [(2024, "slug"), ("2024", b"slug"), (2024,), (), (1, 2, 3)]),
    (r"/(?P<year>\d{4})/(?P<slug>[^/]+)", [(2024, "a slug"), ()]),
    (
        r"/([^/]+)",
        [("a b",), ("a/b",), ("caf\xe9",), (b"caf\xc3\xa9",), ("50%",), ("?#&=+",), ("~-_.",), (None,), (1.5,)],
    ),
    (r"/(.*)", [("",), ("a/b/c",), ("\n",)]),
    (r"/(a|b)", [("a",), ("neither",)]),
    (r"/feed\.xml", [()]),
    (r"/feed.xml", [()]),
    (r"/x\-y/(\d+)\.html", [(7,)]),
    (r"/((a)b)", [("ab",), ("ab", "a")]),
    (r"/(?:a)/(b)", [("b",)]),
    (r"/\d+", [()]),
    (r"/\d+/(x)", [("x",)]),
    (re.compile("/handler"), [()]),
    ("", [()]),
    ("/a b", [()]),
]


@pytest.mark.parametrize(
    ("pattern", "args"), [(pattern, args) for pattern, arguments in REVERSALS for args in arguments], ids=str
)
def test_a_path_is_reversed_alike(pattern: Any, args: tuple[Any, ...]) -> None:
    theirs = outcome(tornado.PathMatches(pattern).reverse, *args)
    assert outcome(ours.PathMatches(pattern).reverse, *args) == theirs


DIFFERENT_REVERSALS: list[tuple[str, tuple[Any, ...], Any, Any, str]] = [
    # pattern, arguments, what Tornado gives, what we give, why
    ("/app.*", (), "/app.*", "refused", "there is no one URL"),
    ("/a|/b", (), "/a|/b", "refused", "the same"),
    ("/x[0-9]", (), "/x[0-9]", "refused", "the same"),
    ("/page(/[0-9]+)?", ("/3",), "/page/3?", "refused", "the group may be left out"),
    ("/page(?:/([0-9]+))?", ("3",), "refused", "refused", "there Tornado refuses too"),
    ("/handler/?", (), "/handler/?", "/handler/", "an optional character is there"),
    ("/(x)/?", ("x",), "/x/?", "/x/", "the same"),
    (r"/\(paren\)", (), "refused", "/(paren)", "an escaped parenthesis is no group"),
    (r"/caf%C3%A9/(x)", ("x",), "refused", "/caf%C3%A9/x", "Tornado takes the percent sign for a place of its own"),
    ("/[(](x)", ("x",), "refused", "refused", "a class that is not in a group"),
]


@pytest.mark.parametrize(("pattern", "args", "theirs", "mine", "why"), DIFFERENT_REVERSALS)
def test_a_path_is_reversed_otherwise_by_choice(
    pattern: str, args: tuple[Any, ...], theirs: Any, mine: Any, why: str
) -> None:
    assert outcome(tornado.PathMatches(pattern).reverse, *args) == theirs
    assert outcome(ours.PathMatches(pattern).reverse, *args) == mine


@pytest.mark.parametrize("name", ["AnyMatches", "HostMatches", "DefaultHostMatches"])
def test_the_others_have_no_path(name: str) -> None:
    args: dict[str, tuple[Any, ...]] = {"HostMatches": ("h",), "DefaultHostMatches": (None, re.compile("h"))}
    for module in (tornado, ours):
        assert getattr(module, name)(*args.get(name, ())).reverse("x") is None


# What is refused when made


@pytest.mark.parametrize("pattern", [r"/(a)/(?P<b>b)", r"/(?P<a>a)/(b)/(?P<c>c)"])
def test_groups_of_both_kinds_are_refused_by_both(pattern: str) -> None:
    with pytest.raises(AssertionError):
        tornado.PathMatches(pattern)
    with pytest.raises(ValueError, match="either all have names or none has"):
        ours.PathMatches(pattern)


# Routers


class Target:
    """A target of no kind that either knows."""

    def __init__(self, name: str) -> None:
        self.name = name


def routed(module: Any, request: Any) -> Any:
    """Return what a router's `get_target_delegate` was called with, in the end."""

    class Recording(module.ReversibleRuleRouter):  # type: ignore[misc]  # either's
        def get_target_delegate(self, target: Any, request: Any, **target_params: Any) -> Any:
            return None if target.name == "decline" else (target.name, target_params)

    router = Recording(
        [
            module.Rule(module.HostMatches("api.example.com"), Target("host"), name="host"),
            ("/a/(.*)", Target("a"), {"x": 1}, "a"),
            (module.PathMatches("/b/(?P<n>[0-9]+)"), Target("b")),
            module.URLSpec("/c", Target("c"), {"y": 2}, "c"),
            ["/decline", Target("decline")],
            ("/decline", Target("accepted")),
            module.Rule(module.PathMatches("/[a-c].*"), Target("last")),
        ]
    )
    return router.find_handler(request)


@pytest.mark.parametrize("host", ["example.com", "api.example.com:8000"])
@pytest.mark.parametrize("path", ["/a/x%20y", "/a/", "/b/12", "/b/x", "/c", "/c/", "/decline", "/"])
def test_a_router_finds_the_same_target_with_the_same_parameters(path: str, host: str) -> None:
    headers = {"Host": host}
    assert routed(ours, our_request(path, headers)) == routed(tornado, their_request(path, headers))
