"""What `dualroute match` says is what happens to a request: the reasons are compared with the dispatcher's decision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualroute import Convertor, DualRoute, Host, Mount, Route, Router, WebSocketRoute, register_url_convertor
from dualroute.convertors import CONVERTOR_TYPES
from dualroute.explaining import Explanation, Step, explain, explain_target
from dualroute.matching import HTTP, WEBSOCKET
from dualroute.targets import Target


def home(request: Any) -> Any: ...


async def live(websocket: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...


def walked(steps: list[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from walked(step.steps)


def winners(steps: list[Step]) -> list[Any]:
    """Return the routes that are said to lead to what answers."""
    for step in steps:
        if step.outcome in ("wins", "inside"):
            return [step.route, *winners(step.steps)]
    return []


def reasons(explanation: Explanation) -> list[tuple[str, str, str]]:
    return [(repr(step.route), step.outcome, step.reason) for step in walked(explanation.steps)]


# Against the dispatcher

SEGMENTS = ["a", "b", "", "{x}", "{n:int}", "a{m:int}", "{u:uuid}", "{rest:path}"]
paths = st.lists(st.sampled_from(SEGMENTS[:-1]), min_size=1, max_size=3, unique=True).map(lambda it: "/" + "/".join(it))
whole_paths = paths | st.just("/a/{rest:path}") | st.just("/{rest:path}")
methods = st.sampled_from([["GET"], ["POST"], ["GET", "POST"], ["PUT"]])


def own(path: str, depth: int) -> str:
    """Return a path whose parameters have names of their own at each depth."""
    for name in ("x", "n", "m", "u", "rest"):
        path = path.replace(f"{{{name}", f"{{{name}{depth}")
    return path


def some_routes(depth: int) -> st.SearchStrategy[list[Any]]:
    kinds = [
        st.builds(lambda path, method: Route(own(path, depth), home, methods=method), whole_paths, methods),
        st.builds(lambda path: WebSocketRoute(own(path, depth), live), whole_paths),
        st.builds(lambda path: Mount(own(path, depth), app=wsgi), paths),
    ]
    if depth < 2:
        inner = st.builds(
            lambda routes, default: Router(routes, default=default),
            some_routes(depth + 1),
            st.sampled_from([None, None, wsgi, home]),
        )
        kinds.append(st.builds(lambda path, app: Mount(own(path, depth), app=app), paths | st.just(""), inner))
        kinds.append(
            st.builds(
                lambda host, app: Host(host, app=app),
                st.sampled_from(["h", f"{{s{depth}}}.h", f"{{s{depth}:int}}.h"]),
                inner,
            )
        )
    return st.lists(st.one_of(kinds), max_size=4)


apps = st.builds(
    lambda routes, fallback, on_405, slashes: DualRoute(
        routes, fallback=fallback, fallback_on_405=on_405 and fallback is not None, redirect_slashes=slashes
    ),
    some_routes(0),
    st.sampled_from([None, wsgi, home]),
    st.booleans(),
    st.sampled_from([None, True, False]),
)
asked_paths = st.lists(st.sampled_from(["a", "b", "", "7", "a7", "x"]), min_size=0, max_size=4).map(
    lambda it: "/" + "/".join(it)
)


@settings(max_examples=400, deadline=None)
@given(apps, asked_paths, st.sampled_from(["GET", "POST", "PUT", "OPTIONS"]), st.sampled_from(["h", "7.h", "x.h", "i"]))
def test_what_is_said_is_what_the_dispatcher_decides(app: DualRoute, path: str, method: str, host: str) -> None:
    for kind in (HTTP, WEBSOCKET):
        target = Target("GET" if kind == WEBSOCKET else method, "", path, host, host)
        found, location, miss = app.dispatcher.decide(kind, target)
        said = explain_target(app, kind, target)
        assert said.trail == (found[0] if found is not None else ())
        assert said.location == location
        assert winners(said.steps) == list(said.trail)
        before = []
        for step in said.steps:
            if step.outcome in ("wins", "inside"):
                break
            before.append(step)
        # What was passed over has a reason, which is not that it matches.
        assert all(not step.matches for step in before), reasons(said)
        assert all(step.reason and step.detail for step in before)
        if found is None and location is None and kind == HTTP:
            by_method = any(step.reason == "method" for step in walked(said.steps))
            assert by_method == miss.partial == (said.outcome in ("405", "options"))
            assert (said.outcome == "404") == (not miss.partial)


def test_the_strategy_makes_tables_in_which_something_matches() -> None:
    seen: set[str] = set()

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(apps, asked_paths)
    def look(app: DualRoute, path: str) -> None:
        said = explain_target(app, HTTP, Target("GET", "", path, "7.h", "7.h"))
        seen.add(said.outcome)
        seen.update(step.reason for step in walked(said.steps))

    look()
    outcomes = {"match", "default", "redirect", "405", "404"}
    assert seen >= outcomes | {"method", "convertor", "path", "host", "kind", "inside", "order"}


# The words

APP = DualRoute(
    [
        Route("/", home),
        Mount(
            "/users",
            routes=[
                Route("/{id:int}", home, methods=["GET", "POST"]),
                Route("/{name}", home),
                Route("/{name}/x", home, methods=["PUT"]),
            ],
        ),
        WebSocketRoute("/live", live),
        Host("{shop:int}.example.org", app=Router([Route("/", home)])),
        Route("/notes/", home),
        Route("/files/{rest:path}", home),
    ]
)


@pytest.mark.parametrize(
    ("method", "url", "outcome", "told"),
    [
        (
            "GET",
            "/users/7",
            "match",
            ("Route('/{name}')", "order", "but comes after the one that wins"),
        ),
        ("GET", "/users/bob", "match", ("Route('/{id:int}')", "convertor", "'id' (int) does not take 'bob'")),
        ("PUT", "/users/7", "405", ("Route('/{id:int}')", "method", "it takes GET, HEAD, POST, and not PUT")),
        ("OPTIONS", "/users/7", "options", ("Route('/{id:int}')", "method", "not OPTIONS")),
        ("GET", "/users/a/b", "404", ("Mount('/users')", "inside", "nothing inside does")),
        ("GET", "/notes", "redirect", ("Route('/notes/')", "path", "it fits with a slash added at the end")),
        ("GET", "/live", "404", ("WebSocketRoute('/live')", "kind", "it takes websockets only")),
        ("WEBSOCKET", "/", "404", ("Route('/')", "kind", "it takes no websockets")),
        ("GET", "ws://localhost/live", "match", None),
        ("get", "/files/a/b?c=d", "match", None),
        ("GET", "http://example.org/x", "404", ("Host('{shop:int}.example.org')", "host", "the host is 'example.org'")),
        (
            "GET",
            "http://a.example.org/x",
            "404",
            ("Host('{shop:int}.example.org')", "convertor", "'shop' (int) does not take 'a'"),
        ),
        ("GET", "http://7.example.org:8000", "match", None),
        ("GET", "/caf%C3%A9", "404", None),
        ("GET", "/%ff", "400", None),
        ("GET", "/\udcff", "400", None),  # how Python shows an argument that is no text
        ("GET", "http://\udcff/", "400", None),
        ("GET", "users", "400", None),
        ("GET", "http://[::1/", "400", None),
        ("GET", "http://a b/", "400", None),
        ("GET", "//users/7", "404", None),
    ],
)
def test_the_reasons(method: str, url: str, outcome: str, told: tuple[str, str, str] | None) -> None:
    said = explain(APP, method, url)
    assert said.outcome == outcome, said
    if told is not None:
        (step,) = [step for step in walked(said.steps) if repr(step.route) == told[0]]
        assert step.reason == told[1]
        assert told[2] in step.detail


def test_an_app_that_is_none_of_ours_takes_everything() -> None:
    assert explain(wsgi, "GET", "/").outcome == "match"


def test_a_convertor_that_fails_is_told() -> None:
    class Failing(Convertor[str]):
        regex = "[a-z]+"

        def convert(self, value: str) -> str:
            raise LookupError(value)

    register_url_convertor("failing", Failing())
    try:
        app = DualRoute([Route("/a", home), Route("/{x:failing}", home)])
    finally:
        del CONVERTOR_TYPES["failing"]
    assert explain(app, "GET", "/b").outcome == "500"
    said = explain(app, "GET", "/a")
    assert said.outcome == "match"
    assert said.steps[1].detail == "it failed: LookupError: a"


def test_a_router_mounted_inside_itself() -> None:
    router = Router([Route("/x", home)])
    router.routes.append(Mount("/a", app=router))
    assert explain(router, "GET", "/a/a/a/x").outcome == "match"
    assert explain(router, "GET", "/a/a/a/y").outcome == "404"


def test_a_default_inside_a_mount_is_not_asked_where_a_path_takes_other_methods() -> None:
    app = DualRoute([Mount("/a", app=Router([Route("/x", home, methods=["PUT"])], default=wsgi)), Route("/a/x", home)])
    said = explain(app, "GET", "/a/x")
    assert said.trail == (app.routes[1],)
    assert [(step.outcome, step.reason) for step in walked(said.steps)] == [
        ("lost", "inside"),
        ("lost", "method"),
        ("lost", "default"),
        ("wins", ""),
    ]
    assert explain(app, "GET", "/a/y").trail[0] is app.routes[0]
