"""What the servers of `served` serve: the candidates by protocol and path, each in a process of its own.

The server processes import this module, and ask it for the attribute that `Candidate.attribute` names; only that app
is made, and only its framework imported.

Nobody may answer from a cache that is looked up by the URL, since a benchmark asks for one URL only: the modules of
the peers switch theirs off.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tests.benchmarks import asked
from tests.benchmarks.harness import OURS, RAW, Answer, App

__all__ = ["ANSWERS", "CANDIDATES", "FLASK", "HELLO", "OURS", "PATHS", "REFERENCES", "USER", "Candidate"]

HELLO = "hello"
USER = "JSON"
FLASK = "mounted Flask"

PATHS = {HELLO: "/hello", USER: "/users/42", FLASK: "/legacy/hello"}
"""What is asked for, by name: a text, JSON with the parameter of the path in it, a text by a Flask app in a mount."""

ANSWERS: Mapping[str, Answer] = {HELLO: asked.HELLO, USER: asked.USER, FLASK: asked.HELLO}


@dataclass(frozen=True)
class Candidate:
    """An app that is compared.

    Args:
        name: what the table calls it.
        attribute: the attribute of this module that a server is told to serve.
        make: makes the app.
        modules: what it is made of, as far as that need not be installed.
    """

    name: str
    attribute: str
    make: Callable[[], App]
    modules: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """Why it can't take part here, or nothing."""
        absent = [module for module in self.modules if importlib.util.find_spec(module) is None]
        return f"{' and '.join(absent)} not installed" if absent else ""


def _in_process(module: str, protocol: str, question: str, name: str) -> Callable[[], App]:
    """Return what makes a candidate that takes part in process as well (`cases`)."""

    def make() -> App:
        offered: asked.Candidates = getattr(import_module(f"tests.benchmarks.{module}"), protocol.upper())
        return offered[question][name](ExitStack())

    return make


# Flask, for the mounts, and bridges to it


def _flask(path: str) -> Any:
    """Return a Flask app with a text at `path`."""
    import flask

    app = flask.Flask("served")

    def hello() -> flask.Response:
        return flask.Response("hello, world", mimetype="text/plain")

    app.add_url_rule(path, view_func=hello)
    return app


def _flask_at_path() -> App:
    """Return Flask unmounted: its route has the whole path."""
    app: App = _flask(PATHS[FLASK])
    return app


def _a2wsgi(path: str) -> App:
    import a2wsgi

    return a2wsgi.WSGIMiddleware(_flask(path))


def _a2wsgi_at_path() -> App:
    return _a2wsgi(PATHS[FLASK])


# Frameworks with Flask mounted


def _ours_mounted() -> App:
    from dualroute import DualRoute, Mount, WSGIApp

    return DualRoute(routes=[Mount("/legacy", app=WSGIApp(_flask("/hello")))])


def _starlette_mounted() -> App:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/legacy", app=_a2wsgi("/hello"))])


def _blacksheep_mounted() -> App:
    # Neither BlackSheep nor Litestar is needed to check the types here, hence `import_module`.
    app: Any = import_module("blacksheep").Application()
    app.mount("/legacy", _a2wsgi("/hello"))
    made: App = app
    return made


def _litestar_mounted() -> App:
    litestar: Any = import_module("litestar")
    bridge: Any = _a2wsgi("/hello/")  # a mount of Litestar's puts a slash at the end

    async def legacy(scope: Any, receive: Any, send: Any) -> None:
        await bridge(scope, receive, send)

    app = litestar.Litestar([litestar.asgi("/legacy", is_mount=True, copy_scope=True)(legacy)], openapi_config=None)
    app.asgi_router.handle_routing = app.asgi_router._handle_routing
    made: App = app
    return made


def _bottle_mounted() -> App:
    import bottle

    app: Any = bottle.Bottle()
    app.mount("/legacy/", _flask("/hello"))
    made: App = app
    return made


def _dispatcher_mounted() -> App:
    from werkzeug.exceptions import NotFound
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    return DispatcherMiddleware(NotFound(), {"/legacy": _flask("/hello")})


Row = tuple[str, Callable[[], App], tuple[str, ...]]


def _candidates(protocol: str, path: str, *rows: Row) -> dict[str, Candidate]:
    attribute = f"{protocol}_{path}".lower().replace(" ", "_")
    return {
        name: Candidate(name, f"{attribute}_{number}", make, modules)
        for number, (name, make, modules) in enumerate(rows)
    }


def _known(protocol: str, path: str, question: str, peers: Mapping[str, str]) -> dict[str, Candidate]:
    """Return the candidates that take part in process as well; `peers` are by name the packages they come in."""

    def row(name: str, module: str, *packages: str) -> Row:
        return name, _in_process(module, protocol, question, name), packages

    return _candidates(
        protocol,
        path,
        row(RAW, "raw"),
        row(OURS, "ours"),
        *(row(name, f"{package}s", package) for name, package in peers.items()),
    )


_ASGI_PEERS = {"Starlette": "starlette", "Falcon": "falcon", "BlackSheep": "blacksheep", "Litestar": "litestar"}
_WSGI_PEERS = {"Falcon": "falcon", "Bottle": "bottle", "Flask": "flask", "Django": "django"}

CANDIDATES: Mapping[str, Mapping[str, Mapping[str, Candidate]]] = {
    "asgi": {
        HELLO: _known("asgi", HELLO, asked.ASYNC, _ASGI_PEERS),
        USER: _known("asgi", USER, asked.JSON, _ASGI_PEERS),
        FLASK: _candidates(
            "asgi",
            FLASK,
            ("Flask in a2wsgi", _a2wsgi_at_path, ("flask", "a2wsgi")),
            (OURS, _ours_mounted, ("flask",)),
            ("Starlette, a2wsgi", _starlette_mounted, ("starlette", "flask", "a2wsgi")),
            ("BlackSheep, a2wsgi", _blacksheep_mounted, ("blacksheep", "flask", "a2wsgi")),
            ("Litestar, a2wsgi", _litestar_mounted, ("litestar", "flask", "a2wsgi")),
        ),
    },
    "wsgi": {
        HELLO: _known("wsgi", HELLO, asked.DEF, _WSGI_PEERS),
        USER: _known("wsgi", USER, asked.JSON, _WSGI_PEERS),
        FLASK: _candidates(
            "wsgi",
            FLASK,
            ("Flask", _flask_at_path, ("flask",)),
            (OURS, _ours_mounted, ("flask",)),
            ("DispatcherMiddleware", _dispatcher_mounted, ("flask",)),
            ("Bottle", _bottle_mounted, ("bottle", "flask")),
        ),
    },
}
"""By protocol, path and name.  The first of each path is the one that the others are compared with."""

REFERENCES: Mapping[str, Mapping[str, str]] = {
    protocol: {path: next(iter(candidates)) for path, candidates in paths.items()}
    for protocol, paths in CANDIDATES.items()
}


def __getattr__(name: str) -> App:
    for paths in CANDIDATES.values():
        for candidates in paths.values():
            for candidate in candidates.values():
                if candidate.attribute == name:
                    return candidate.make()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
