"""Names that lead back to paths, through rules and routes alike."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from dualroute import DualRoute, Host, Mount, NoMatchFound, PlainTextResponse, Response, Route, Router, SyncRequest
from dualroute.datastructures import URLPath
from dualroute.matchers import AnyMatches, HostMatches, Matcher, MethodMatches, PathMatches
from dualroute.rules import ReversibleRouter, ReversibleRuleRouter, Rule, RuleRouter, URLSpec
from tests.conftest import Serve


def any_endpoint(request: SyncRequest, *args: Any, **kwargs: Any) -> Response:
    return PlainTextResponse("")


# By rules


def test_rules_are_reversed_by_their_names() -> None:
    router = ReversibleRuleRouter(
        [
            URLSpec("/home", any_endpoint, name="home"),
            (r"/year/(\d+)/(.*)", any_endpoint, {}, "year"),
            Rule(PathMatches(r"/n/(?P<a>\d+)-(?P<b>\d+)"), any_endpoint, name="named"),
            Rule(AnyMatches(), any_endpoint, name="any"),
        ]
    )
    assert router.reverse_url("home") == "/home"
    assert router.reverse_url("year", 2024, "a/b c") == "/year/2024/a/b%20c"
    assert router.reverse_url("named", 1, 2) == "/n/1-2"
    assert router.reverse_url("any") is None
    assert router.reverse_url("unknown", 1) is None
    with pytest.raises(ValueError, match=re.escape(r"'/home$' takes 0 arguments, not 1: (1,)")):
        router.reverse_url("home", 1)


def test_a_name_used_twice_is_warned_of_and_the_later_counts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dualroute"):
        router = ReversibleRuleRouter([("/a", any_endpoint, {}, "x"), ("/b", any_endpoint, {}, "x")])
    assert "more than one rule is named 'x'" in caplog.text
    assert router.reverse_url("x") == "/b"
    assert router.url_path_for("x") == "/b"


def test_nested_routers_are_asked_after_the_routers_own_rules() -> None:
    inner = ReversibleRuleRouter([("/in/(.*)", any_endpoint, {}, "in"), ("/in", any_endpoint, {}, "out")])
    router = ReversibleRuleRouter([("/in.*", inner), ("/out", any_endpoint, {}, "out")])
    assert router.reverse_url("in", "x") == "/in/x"
    assert router.reverse_url("out") == "/out"
    between = ReversibleRuleRouter([("/.*", ReversibleRuleRouter([("/.*", inner)]))])
    assert between.reverse_url("in", "x") == "/in/x"


def test_as_in_tornado_a_plain_rule_router_keeps_its_names_from_reverse_url() -> None:
    plain = RuleRouter([("/a", any_endpoint, {}, "a")])
    assert ReversibleRuleRouter([("/.*", plain)]).reverse_url("a") is None
    assert plain.url_path_for("a") == "/a"
    assert ReversibleRuleRouter([("/.*", plain)]).url_path_for("a") == "/a"


def test_a_router_of_ones_own_is_asked() -> None:
    class Own(ReversibleRouter):
        def reverse_url(self, name: str, *args: Any) -> str | None:
            return f"/own/{'/'.join(args)}" if name == "own" else None

    router = ReversibleRuleRouter([(AnyMatches(), Own())])
    assert router.reverse_url("own", "a", "b") == "/own/a/b"
    assert router.reverse_url("other") is None
    assert DualRoute([Mount("/m", app=router)]).reverse_url("own", "a") == "/m/own/a"
    assert DualRoute([Mount("/m", app=Own())]).url_path_for("own", path_args=("a",)) == "/m/own/a"


def test_a_router_without_reverse_url_says_so() -> None:
    with pytest.raises(NotImplementedError, match="ReversibleRouter has no reverse_url"):
        ReversibleRouter().reverse_url("x")


def test_combined_matchers_are_reversed_by_the_first_part_that_can() -> None:
    both = HostMatches("h") & PathMatches("/a/(.*)") & MethodMatches("GET")
    either = (PathMatches("/a.*") & AnyMatches()) | PathMatches("/b/(?P<x>.)")
    router = ReversibleRuleRouter(
        [
            Rule(both, any_endpoint, name="both"),
            Rule(either, any_endpoint, name="either"),
            Rule(~PathMatches("/c"), any_endpoint, name="not"),
        ]
    )
    assert router.reverse_url("both", "x") == "/a/x"
    assert router.reverse_url("either", "x") == "/b/x"
    assert router.reverse_url("not") is None
    with pytest.raises(ValueError, match=r"takes 1 argument, not 2|can't be turned"):
        router.reverse_url("either", "x", "y")
    assert router.url_path_for("both", path_args=("x",)) == "/a/x"


def test_a_matcher_of_ones_own_may_know_its_path() -> None:
    class Shard(Matcher):
        def reverse(self, *args: Any) -> str | None:
            return f"/shard/{args[0]}"

    assert ReversibleRuleRouter([(Shard(), any_endpoint, {}, "shard")]).reverse_url("shard", 3) == "/shard/3"


IRREVERSIBLE = {
    "/a(/b)?": r"the group (/b) repeats or is optional (?)",
    "/a|/b": "it has alternatives outside its groups",
    "/a.*": "'.*' is not in a group",
    r"/\d": r"'\\\\d' is not in a group",
    "/((a)b)": "it has groups inside of groups",
    "/(a)*": "the group (a) repeats or is optional (*)",
    "/(?=a)(b)": "'(?=a)' is not in a group",
}


@pytest.mark.parametrize("pattern", IRREVERSIBLE)
def test_a_pattern_without_one_url_is_refused_with_the_reason(pattern: str) -> None:
    message = f"the pattern {pattern + '$'!r} can't be turned into a URL: {IRREVERSIBLE[pattern]}"
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its whole text is compared
        ReversibleRuleRouter([(pattern, any_endpoint, {}, "x")]).reverse_url("x", "a")
    assert str(caught.value) == message.replace("\\\\\\\\", "\\\\")


# By routes, by position


def test_routes_are_reversed_by_position_outer_mounts_first() -> None:
    app = DualRoute(
        [
            Route("/users/{user_id:int}/{page}", any_endpoint, name="user"),
            Mount("/m/{a}", name="m", routes=[Route("/x/{b:int}", any_endpoint, name="x")]),
            Mount("/plain/{a}", routes=[Route("/y", any_endpoint, name="y")]),
            Mount("/static", app=Router(), name="static"),
            Host("{sub}.example.org", app=Router([Route("/h/{n}", any_endpoint, name="h")]), name="host"),
        ]
    )
    assert app.reverse_url("user", 1, "a b") == "/users/1/a%20b"
    assert app.reverse_url("m:x", "first", 2) == "/m/first/x/2"
    assert app.reverse_url("y", "a") == "/plain/a/y"
    assert app.reverse_url("static", "css/a.css") == "/static/css/a.css"
    host = app.reverse_url("host:h", "api", 3)
    assert isinstance(host, URLPath)
    assert (host, host.host) == ("/h/3", "api.example.org")
    assert app.router.reverse_url("y", "a") == "/plain/a/y"
    assert app.reverse_url("unknown") is None
    with pytest.raises(ValueError, match=re.escape("'user' takes other parameters than (1,): page, user_id")):
        app.reverse_url("user", 1)
    with pytest.raises(ValueError, match="user_id"):
        app.reverse_url("user", "one", "x")


def test_a_path_that_starts_with_two_slashes_is_written_so_that_it_names_no_host() -> None:
    app = DualRoute([Route("//{x}", any_endpoint, name="x")])
    assert app.reverse_url("x", "evil") == "/.//evil"


# Each through to names on the other side


def test_names_are_found_through_rules_and_routes_alike(serve: Serve) -> None:
    seen: list[str] = []

    def endpoint(request: SyncRequest, *args: Any, **kwargs: Any) -> Response:
        seen.append(str(request.url_for("m:rule", path_args=(1,))))
        return PlainTextResponse("")

    rule_router = ReversibleRuleRouter(
        [
            (r"/rule/(\d+)", endpoint, {}, "rule"),
            (r"/named/(?P<a>\d+)/(?P<b>.)", endpoint, {}, "named"),
            ("/app/.*", DualRoute([Route("/app/{n:int}", endpoint, name="inner")])),
        ]
    )
    app = DualRoute([Mount("/m/", app=rule_router, name="m"), Mount("/u", app=rule_router)])
    assert app.url_path_for("m:rule", path_args=(1,)) == "/m/rule/1"
    assert app.url_path_for("m:named", b="x", a=2) == "/m/named/2/x"
    assert app.url_path_for("m:inner", n=3) == "/m/app/3"
    assert app.url_path_for("rule", path_args=[1]) == "/u/rule/1"
    assert app.reverse_url("m:rule", 1) == "/m/rule/1"
    assert app.reverse_url("m:named", 2, "x") == "/m/named/2/x"
    assert app.reverse_url("m:inner", 3) == "/m/app/3"
    assert rule_router.reverse_url("inner", 3) == "/app/3"
    assert rule_router.url_path_for("inner", n=3) == "/app/3"
    assert rule_router.url_path_for("named", a=1, b="b") == "/named/1/b"
    serve(app, root_path="/base").get("/m/rule/7")
    assert seen == ["http://testserver/base/m/rule/1"]


def test_what_is_not_found_names_what_there_is() -> None:
    router = ReversibleRuleRouter([(r"/rule/(\d+)", any_endpoint, {}, "rule"), (r"/n/(?P<a>.)", any_endpoint, {}, "n")])
    app = DualRoute([Mount("/m", app=router, name="m")])
    with pytest.raises(NoMatchFound, match="did you mean 'm:rule'"):
        app.url_path_for("m:rul")
    with pytest.raises(NoMatchFound, match="takes other parameters: a"):
        app.url_path_for("m:n", b=1)
    with pytest.raises(NoMatchFound, match=r"takes 1 argument, not 2: \(1, 2\)"):
        app.url_path_for("m:rule", path_args=(1, 2))
