"""The public names, and what an app looks like to the servers that are to call it."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import io
import pkgutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import dualroute
from dualroute import (
    DualRoute,
    EventSourceResponse,
    Host,
    HTMLResponse,
    HTTPEndpoint,
    JSONResponse,
    Mount,
    PlainTextResponse,
    RedirectResponse,
    Request,
    Response,
    Route,
    Router,
    StaticFiles,
    StreamingResponse,
    WebSocket,
    WebSocketEndpoint,
    WebSocketRoute,
    rules,
)
from dualroute.rules import RuleRouter


def modules() -> list[str]:
    """Return the names of all public modules of the three packages."""
    names: list[str] = []
    for package in ("dualroute", "dualroute_asgi", "dualroute_wsgi"):
        paths = importlib.import_module(package).__path__
        names.append(package)
        names.extend(found.name for found in pkgutil.walk_packages(paths, f"{package}."))
    return [name for name in names if not any(part.startswith("_") for part in name.split("."))]


@pytest.mark.parametrize("name", modules())
def test_a_public_module_lists_its_names_and_has_them(name: str) -> None:
    module = importlib.import_module(name)
    if name in COMMANDS and not hasattr(module, "__all__"):
        return
    names: list[str] = module.__all__
    assert len(names) == len(set(names))
    assert [item for item in names if not hasattr(module, item)] == []
    assert [item for item in names if item.startswith("_") and item != "__version__"] == []


COMMANDS = ("dualroute.cli", "dualroute.supervisor")
"""Modules that are run and not imported, whose names are nobody's business."""


@pytest.mark.parametrize("name", modules())
def test_a_public_module_says_what_it_is_for(name: str) -> None:
    assert (importlib.import_module(name).__doc__ or "").strip()


def test_everything_that_the_package_lists_can_be_imported_from_it() -> None:
    scope: dict[str, Any] = {}
    exec("from dualroute import *", scope)
    assert set(dualroute.__all__) <= scope.keys()


def test_what_the_package_lists_is_sorted_and_documented() -> None:
    assert dualroute.__all__ == sorted(dualroute.__all__)
    undocumented = [
        name for name in dualroute.__all__ if name != "__version__" and not inspect.getdoc(getattr(dualroute, name))
    ]
    assert undocumented == []


# What servers sniff


def home(request: Any) -> Response:
    return PlainTextResponse("home")


async def live(websocket: WebSocket) -> None:
    await websocket.accept()


class Home(HTTPEndpoint):
    def get(self, request: Any) -> Response:
        return PlainTextResponse("home")


class Finding(rules.Router):
    """A rule router whose constructor does not call its base's, as Tornado's need not."""

    def __init__(self) -> None:
        pass

    def find_handler(self, request: Any, **kwargs: Any) -> Any:
        return home if request.path == "/" else None


APPS: dict[str, Callable[[], Any]] = {
    "DualRoute": lambda: DualRoute([Route("/", home)]),
    "Router": lambda: Router([Route("/", home)]),
    "Route": lambda: Route("/", home),
    "WebSocketRoute": lambda: WebSocketRoute("/", live),
    "Mount": lambda: Mount("", app=home),
    "Host": lambda: Host("testserver", app=home),
    "rules.Router": Finding,
    "RuleRouter": lambda: RuleRouter([("/", home)]),
    "Response": lambda: Response(b"home", media_type="text/plain"),
    "PlainTextResponse": lambda: PlainTextResponse("home"),
    "HTMLResponse": lambda: HTMLResponse("home"),
    "JSONResponse": lambda: JSONResponse("home"),
    "RedirectResponse": lambda: RedirectResponse("/home"),
    "EventSourceResponse": lambda: EventSourceResponse([], headers={"x": "y"}),
    "StaticFiles": lambda: StaticFiles(directory=tempfile.gettempdir()),
    "StreamingResponse": lambda: StreamingResponse([b"home"], media_type="text/plain"),
}
every_app = pytest.mark.parametrize("make", APPS.values(), ids=APPS)


@every_app
def test_an_app_looks_like_a_coroutine_function_to_inspect(make: Callable[[], Any]) -> None:
    app = make()
    assert inspect.iscoroutinefunction(app.__call__)
    assert callable(app)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="deprecated in favour of inspect's")
@every_app
def test_an_app_looks_like_a_coroutine_function_to_asyncio(make: Callable[[], Any]) -> None:
    assert asyncio.iscoroutinefunction(make().__call__)


@pytest.mark.parametrize("endpoint", [Home, WebSocketEndpoint])
def test_an_endpoint_class_looks_like_an_asgi_app(endpoint: Any) -> None:
    # uvicorn asks for __await__ on a class, hypercorn for the colour of __call__.
    assert hasattr(endpoint, "__await__")
    assert inspect.iscoroutinefunction(endpoint.__call__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert asyncio.iscoroutinefunction(endpoint.__call__)


# Calling


def environ() -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def scope() -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
    }


def by_wsgi(app: Any) -> tuple[int, bytes]:
    started: list[str] = []
    result = app(environ(), lambda status, headers, exc_info=None: started.append(status))
    try:
        body = b"".join(result)
    finally:
        getattr(result, "close", lambda: None)()
    return int(started[0][:3]), body


def by_asgi(app: Any) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if sent:
            await asyncio.Event().wait()
        return {"type": "http.request"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def main() -> None:
        await app(scope(), receive, send)

    asyncio.run(main())
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


ANSWERS = {
    "RedirectResponse": (307, b""),
    "WebSocketRoute": (404, b"Not Found"),
    "JSONResponse": (200, b'"home"'),
    "EventSourceResponse": (200, b""),
    "StaticFiles": (404, b"Not Found"),
}
SIDES: dict[str, Callable[[Any], tuple[int, bytes]]] = {"asgi": by_asgi, "wsgi": by_wsgi}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("way", ["app(…)", "app.__call__(…)", "app.asgi or app.wsgi"])
@pytest.mark.parametrize("name", APPS)
def test_an_app_answers_by_both_protocols_however_it_is_called(name: str, way: str, side: str) -> None:
    app = APPS[name]()
    called = {"app(…)": app, "app.__call__(…)": app.__call__, "app.asgi or app.wsgi": getattr(app, side)}[way]
    assert SIDES[side](called) == ANSWERS.get(name, (200, b"home"))


@pytest.mark.parametrize("side", SIDES)
def test_an_endpoint_class_answers_by_both_protocols(side: str) -> None:
    assert SIDES[side](Home) == (200, b"home")


def test_an_endpoint_instance_answers_by_asgi() -> None:
    assert by_asgi(Home()) == (200, b"home")


def test_the_iterable_of_an_endpoint_class_is_closed() -> None:
    closed: list[str] = []

    class Stream(HTTPEndpoint):
        def get(self, request: Any) -> Response:
            def pieces() -> Any:
                try:
                    yield b"one"
                    yield b"two"
                finally:
                    closed.append("closed")

            return StreamingResponse(pieces(), media_type="text/plain")

    application: Any = Stream
    result = application(environ(), lambda status, headers, exc_info=None: None)
    assert next(iter(result)) == b"one"
    result.close()
    assert closed == ["closed"]


@pytest.mark.parametrize("args", [(), (1,), (1, 2), ({}, lambda: None), ({"type": "http"}, 2)])
@every_app
def test_any_other_call_raises_a_type_error_that_names_both_protocols(
    make: Callable[[], Any], args: tuple[Any, ...]
) -> None:
    app = make()
    with pytest.raises(TypeError, match=r"\(environ, start_response\) for WSGI or \(scope, receive, send\) for ASGI"):
        app(*args)


def test_an_endpoint_class_called_with_anything_else_raises_a_type_error() -> None:
    application: Any = Home
    with pytest.raises(TypeError, match="for WSGI or"):
        application({"type": "http"})


class RSGIScope:
    """What granian passes as the first of two arguments."""

    proto = "http"
    method = "GET"


@pytest.mark.parametrize("app", [DualRoute([Route("/", home)]), Router(), Home], ids=["DualRoute", "Router", "class"])
def test_a_call_by_rsgi_says_which_option_granian_takes(app: Any) -> None:
    with pytest.raises(TypeError, match="pass --interface asgi or --interface wsgi to granian"):
        app(RSGIScope(), object())


def test_a_worker_of_granian_is_told_at_its_start() -> None:
    with pytest.raises(SystemExit, match="--interface asgi"):
        DualRoute([]).__rsgi_init__(None)


def test_a_call_without_arguments_is_a_type_error_as_uvicorn_s_probe_for_a_factory_wants() -> None:
    app: Any = DualRoute([])
    with pytest.raises(TypeError, match="0 arguments"):
        app()


def test_requests_have_the_same_names_in_both_colours() -> None:
    def public(cls: type[Any]) -> set[str]:
        return {name for name in dir(cls) if not name.startswith("_")}

    assert public(Request) == public(dualroute.SyncRequest)
