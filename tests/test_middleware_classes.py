"""Middleware with options: a class, an instance of it, or `Middleware(cls, …)`, wherever middleware is taken."""

from __future__ import annotations

import inspect
import re
from collections.abc import Generator
from importlib import import_module
from typing import Any

import pytest

from dualroute import DualRoute, Host, Mount, PlainTextResponse, Response, Route, Router
from dualroute.connection import HTTPConnection
from dualroute.inspection import route_table
from dualroute.middleware import Middleware
from dualroute.middleware.gzip import GZipMiddleware
from dualroute.middleware.httpsredirect import HTTPSRedirectMiddleware
from tests.conftest import Serve
from tests.middleware_helper import plain, site


class Stamp:
    """A middleware class of a user's own."""

    def __init__(self, name: str = "x-stamp", *, value: str = "yes") -> None:
        if not value:
            raise ValueError("no value")
        self.name = name
        self.value = value

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response]:
        response: Response = yield connection
        response.headers.append(self.name, self.value)
        return response


def test_a_class_an_instance_and_a_middleware_object_are_the_same_everywhere(serve: Serve) -> None:
    app = DualRoute(
        [
            Route("/route", plain, middleware=[Middleware(Stamp, value="route")]),
            Mount("/mount", routes=[Route("/", plain)], middleware=[Middleware(Stamp, "x-stamp", value="mount")]),
            Host("h.example", app=Router([Route("/", plain)]), middleware=[Stamp(value="host")]),
        ],
        middleware=[Middleware(Stamp, value="app"), Stamp(value="instance")],
    )
    app.add_middleware(Stamp, value="added")
    app.add_middleware(Stamp(value="as instance"))
    app.add_middleware(Middleware(Stamp, value="as object"))
    client = serve(app)
    around = ["instance", "app", "added", "as instance", "as object"]
    assert client.get("/route").headers.get_list("x-stamp") == ["route", *around]
    assert client.get("/mount/").headers.get_list("x-stamp") == ["mount", *around]
    assert client.get("/", headers={"host": "h.example"}).headers.get_list("x-stamp") == ["host", *around]
    assert client.get("/none").headers.get_list("x-stamp") == around


def test_a_function_may_make_the_generator_function(serve: Serve) -> None:
    def stamping(value: str) -> Any:
        def middleware(connection: Any) -> Generator[Any, Any, Response]:
            response: Response = yield connection
            response.headers["x-stamp"] = value
            return response

        return middleware

    assert serve(site([Middleware(stamping, "made")])).get("/").headers["x-stamp"] == "made"


def test_a_middleware_object_shows_what_it_is_made_of() -> None:
    middleware = Middleware(Stamp, "x-a", value="b")
    assert repr(middleware) == "Middleware(Stamp, 'x-a', value='b')"
    assert (
        (middleware.cls, middleware.args, middleware.kwargs) == (Stamp, ("x-a",), {"value": "b"}) == tuple(middleware)
    )


def test_a_router_may_have_middleware_of_its_own(serve: Serve) -> None:
    inner = Router([Route("/", plain)], middleware=[Stamp(value="inner")])
    router = Router(
        [Route("/", plain), Mount("/inner", app=inner, middleware=[Stamp(value="mount")])],
        middleware=[Middleware(Stamp, value="outer")],
    )
    for app in (router, DualRoute([Mount("", app=router)]), DualRoute(fallback=router)):
        client = serve(app)
        assert client.get("/").headers.get_list("x-stamp") == ["outer"]
        assert client.get("/inner/").headers.get_list("x-stamp") == ["inner", "mount", "outer"]
        assert client.get("/inner/none").headers.get_list("x-stamp") == ["inner", "mount", "outer"]
    (_, mount) = route_table(router)
    assert len(mount["middleware"]) == 3


def test_none_is_no_middleware(serve: Serve) -> None:
    routes = [
        Route("/", plain, middleware=None),
        Mount("/mount", routes=[Route("/", plain)], middleware=None),
        Host("h.example", app=Router(middleware=None), middleware=None),
    ]
    assert serve(DualRoute(routes, middleware=None)).get("/").text == "plain"


CLASSES: list[Any] = [Stamp]


class WrapsAnApp:
    def __init__(self, app: Any, level: int = 1) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError


class NoGenerator:
    async def __call__(self, connection: Any) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Middleware(Stamp, valeu="x"), "valeu"),
        (lambda: Middleware(Stamp, value=""), "no value"),
        (lambda: Middleware("cors"), "takes a middleware class and its options, not 'cors'"),  # type: ignore[arg-type]
        (lambda: Middleware(WrapsAnApp, levle=2), "levle"),
        (lambda: Middleware(NoGenerator), "a middleware is a generator function"),
        (lambda: DualRoute(middleware=CLASSES), r"Stamp is the class: write Stamp\(…\) or Middleware\(Stamp, …\)"),
        (lambda: Route("/x", plain, middleware=CLASSES), r"Route\('/x'\): .*Stamp is the class"),
        (lambda: DualRoute().add_middleware(WrapsAnApp, levle=2), "levle"),
        (lambda: DualRoute().add_middleware(Stamp, valeu="x"), "valeu"),
    ],
)
def test_what_can_be_no_middleware_is_refused_when_it_is_made(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.compile(message, re.DOTALL)):
        make()


def test_add_middleware_is_refused_once_requests_were_served(serve: Serve) -> None:
    app = site([])
    serve(app).get("/")
    with pytest.raises(RuntimeError, match="once the app has served"):
        app.add_middleware(HTTPSRedirectMiddleware)


def test_an_answer_from_outside_of_all_middleware_is_amended_by_those_that_ask_for_it(serve: Serve) -> None:
    seen: list[str] = []

    def amending(name: str) -> Any:
        def middleware(connection: HTTPConnection) -> Generator[Any, Any, Response]:
            def amend(response: Response) -> None:
                seen.append(name)
                response.headers["x-amended"] = name

            connection.amend(amend)
            response: Response = yield connection
            return response

        return middleware

    def handle(request: Any, error: Exception) -> Response:
        return PlainTextResponse("handled", status_code=500)

    client = serve(site([amending("outer"), amending("inner")]))
    assert client.get("/fail").headers["x-amended"] == "outer"
    assert seen == ["inner", "outer"]
    assert client.get("/fail-at-once").headers["x-amended"] == "outer"
    assert "x-amended" not in client.get("/").headers
    client = serve(site([amending("outer")], exception_handlers={Exception: handle}))
    answer = client.get("/fail")
    assert (answer.text, answer.headers["x-amended"]) == ("handled", "outer")


@pytest.mark.parametrize("path", ["/", "/fail", "/refused"])
def test_a_response_that_is_kept_for_many_requests_is_not_changed_for_the_others(serve: Serve, path: str) -> None:
    kept = PlainTextResponse("kept " * 1000)

    def endpoint(request: Any) -> Response:
        return kept

    def failing(request: Any) -> Response:
        raise LookupError

    def handle(request: Any, error: Exception) -> Response:
        return kept

    def refusing(connection: Any) -> Any:
        if connection.path == "/refused":
            return kept
        response = yield connection
        return response

    def counting(connection: Any) -> Any:
        response = yield connection
        response.headers.append("x-count", "1")
        return response

    app = DualRoute(
        [Route("/", endpoint), Route("/fail", failing)],
        middleware=[GZipMiddleware(), counting, refusing],
        exception_handlers={LookupError: handle},
    )
    client = serve(app)
    for coding in ("gzip", "identity", "gzip"):
        answer = client.get(path, headers={"accept-encoding": coding})
        assert (answer.text, answer.headers.get_list("x-count")) == ("kept " * 1000, ["1"])
        assert ("content-encoding" in answer.headers) == (coding == "gzip")
    assert set(kept.headers) == {"content-length", "content-type"}


def test_starlette_s_names_are_in_starlette_s_modules() -> None:
    for module, name in {
        "authentication": "AuthenticationMiddleware",
        "cors": "CORSMiddleware",
        "errors": "ServerErrorMiddleware",
        "gzip": "GZipMiddleware",
        "httpsredirect": "HTTPSRedirectMiddleware",
        "sessions": "SessionMiddleware",
        "trustedhost": "TrustedHostMiddleware",
    }.items():
        theirs = getattr(import_module(f"starlette.middleware.{module}"), name)
        ours = getattr(import_module(f"dualroute.middleware.{module}"), name)
        options = inspect.signature(theirs).parameters.keys() - {"app"}
        assert options <= inspect.signature(ours).parameters.keys(), name
