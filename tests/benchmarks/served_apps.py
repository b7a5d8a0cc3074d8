"""What the servers of `served` serve: the candidates by protocol and path, each in a process of its own.

The server processes import this module, and ask it for the attribute that `Candidate.attribute` names; only that app
is made, and only its framework imported.

Nobody may answer from a cache that is looked up by the URL, since a benchmark asks for one URL only.  Litestar and
BlackSheep keep one in front of their routing; theirs is switched off.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from tests.benchmarks.harness import RAW, Answer, App

__all__ = ["ANSWERS", "CANDIDATES", "FLASK", "HELLO", "OURS", "PATHS", "REFERENCES", "USER", "Candidate"]

OURS = "dualroute"

HELLO = "hello"
USER = "JSON"
FLASK = "mounted Flask"

PATHS = {HELLO: "/hello", USER: "/users/42", FLASK: "/legacy/hello"}
"""What is asked for, by name: a text, JSON with the parameter of the path in it, a text by a Flask app in a mount."""

ANSWERS = {HELLO: Answer(200, b"hello, world"), USER: Answer(200, b'{"id":42}'), FLASK: Answer(200, b"hello, world")}


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


_dumps = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))


# The raw callables, and Flask with nothing around it but what makes it ASGI.


def _raw_asgi() -> App:
    from tests.benchmarks import raw

    return raw.asgi(ANSWERS[HELLO])


def _raw_asgi_user() -> App:
    from tests.benchmarks import raw

    return raw.asgi_user


def _raw_wsgi() -> App:
    from tests.benchmarks import raw

    return raw.wsgi(ANSWERS[HELLO])


def _raw_wsgi_user() -> App:
    from tests.benchmarks import raw

    return raw.wsgi_user


def _flask(path: str) -> Any:
    """Return a Flask app with a text at `path`, and JSON at ``/users/{id}``."""
    import flask

    app = flask.Flask("served")

    def hello() -> flask.Response:
        return flask.Response("hello, world", mimetype="text/plain")

    def user(id: int) -> flask.Response:
        # jsonify would end the line.
        return flask.Response(_dumps({"id": id}), mimetype="application/json")

    app.add_url_rule(path, view_func=hello)
    app.add_url_rule("/users/<int:id>", view_func=user)
    return app


def _flask_alone() -> App:
    app: App = _flask("/hello")
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


# dualroute


def _ours_asgi() -> App:
    from tests.benchmarks import ours

    return ours.hello(ours.hello_async)


def _ours_asgi_user() -> App:
    from tests.benchmarks import ours

    return ours.user(ours.user_async)


def _ours_wsgi() -> App:
    from tests.benchmarks import ours

    return ours.hello(ours.hello_def)


def _ours_wsgi_user() -> App:
    from tests.benchmarks import ours

    return ours.user(ours.user_def)


def _ours_mounted() -> App:
    from dualroute import DualRoute, Mount, WSGIApp

    return DualRoute(routes=[Mount("/legacy", app=WSGIApp(_flask("/hello")))])


# ASGI frameworks


def _starlette() -> App:
    from tests.benchmarks import starlettes

    return starlettes.hello(starlettes.hello_async)


def _starlette_user() -> App:
    from tests.benchmarks import starlettes

    return starlettes.user()


def _starlette_mounted() -> App:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/legacy", app=_a2wsgi("/hello"))])


def _falcon_asgi() -> App:
    from tests.benchmarks import falcons

    app: App = falcons.asgi(falcons.HelloAsync(), "/hello")
    return app


def _falcon_asgi_user() -> App:
    from tests.benchmarks import falcons

    app: App = falcons.asgi(falcons.UserAsync(), "/users/{id:int}")
    return app


# Neither BlackSheep nor Litestar is needed to check the types here, hence `import_module`.


def _blacksheep() -> App:
    blacksheep: Any = import_module("blacksheep")
    routing: Any = import_module("blacksheep.server.routing")
    cached = routing.Router.get_match_by_method_and_path
    routing.Router.get_match_by_method_and_path = getattr(cached, "__wrapped__", cached)
    app = blacksheep.Application(router=routing.Router())

    async def hello() -> Any:
        return blacksheep.text("hello, world")

    async def user(id: int) -> Any:
        return blacksheep.json({"id": id})

    app.router.add_get("/hello", hello)
    app.router.add_get("/users/{int:id}", user)
    made: App = app
    return made


def _blacksheep_mounted() -> App:
    app: Any = _blacksheep()
    app.mount("/legacy", _a2wsgi("/hello"))
    made: App = app
    return made


def _litestar() -> App:
    litestar: Any = import_module("litestar")

    async def hello() -> str:
        return "hello, world"

    async def user(id: int) -> dict[str, int]:
        return {"id": id}

    text = litestar.get("/hello", media_type=litestar.MediaType.TEXT)(hello)
    return _litestar_of([text, litestar.get("/users/{id:int}")(user)])


def _litestar_mounted() -> App:
    litestar: Any = import_module("litestar")
    bridge: Any = _a2wsgi("/hello/")  # a mount of Litestar's puts a slash at the end

    async def legacy(scope: Any, receive: Any, send: Any) -> None:
        await bridge(scope, receive, send)

    return _litestar_of([litestar.asgi("/legacy", is_mount=True, copy_scope=True)(legacy)])


def _litestar_of(handlers: list[Any]) -> App:
    litestar: Any = import_module("litestar")
    app = litestar.Litestar(handlers, openapi_config=None)
    router = app.asgi_router
    router.handle_routing = router._handle_routing
    made: App = app
    return made


# WSGI frameworks


def _falcon_wsgi() -> App:
    from tests.benchmarks import falcons

    app: App = falcons.wsgi(falcons.Hello(), "/hello")
    return app


def _falcon_wsgi_user() -> App:
    from tests.benchmarks import falcons

    app: App = falcons.wsgi(falcons.User(), "/users/{id:int}")
    return app


def _bottle() -> App:
    import bottle

    app = bottle.Bottle(autojson=False)
    app.install(bottle.JSONPlugin(json_dumps=_dumps))

    def hello() -> str:
        bottle.response.content_type = "text/plain; charset=utf-8"
        return "hello, world"

    def user(id: int) -> dict[str, int]:
        return {"id": id}

    app.route("/hello", callback=hello)
    app.route("/users/<id:int>", callback=user)
    made: App = app
    return made


def _bottle_mounted() -> App:
    app: Any = _bottle()
    app.mount("/legacy/", _flask("/hello"))
    made: App = app
    return made


def _dispatcher_mounted() -> App:
    from werkzeug.exceptions import NotFound
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    return DispatcherMiddleware(NotFound(), {"/legacy": _flask("/hello")})


def _django() -> App:
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse, JsonResponse
    from django.urls import path

    def hello(request: Any) -> Any:
        return HttpResponse(b"hello, world", content_type="text/plain; charset=utf-8")

    def user(request: Any, id: int) -> Any:
        return JsonResponse({"id": id}, json_dumps_params={"ensure_ascii": False, "separators": (",", ":")})

    urls = type("urls", (), {"urlpatterns": [path("hello", hello), path("users/<int:id>", user)]})
    # No middleware, as nobody has any here.
    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=urls, SECRET_KEY="served", MIDDLEWARE=[])
    django.setup()
    app: App = get_wsgi_application()
    return app


def _candidates(
    protocol: str, path: str, *rows: tuple[str, Callable[[], App], tuple[str, ...]]
) -> dict[str, Candidate]:
    attribute = f"{protocol}_{path}".lower().replace(" ", "_")
    return {
        name: Candidate(name, f"{attribute}_{number}", make, modules)
        for number, (name, make, modules) in enumerate(rows)
    }


CANDIDATES: Mapping[str, Mapping[str, Mapping[str, Candidate]]] = {
    "asgi": {
        HELLO: _candidates(
            "asgi",
            HELLO,
            (RAW, _raw_asgi, ()),
            (OURS, _ours_asgi, ()),
            ("Starlette", _starlette, ("starlette",)),
            ("Falcon", _falcon_asgi, ("falcon",)),
            ("BlackSheep", _blacksheep, ("blacksheep",)),
            ("Litestar", _litestar, ("litestar",)),
        ),
        USER: _candidates(
            "asgi",
            USER,
            (RAW, _raw_asgi_user, ()),
            (OURS, _ours_asgi_user, ()),
            ("Starlette", _starlette_user, ("starlette",)),
            ("Falcon", _falcon_asgi_user, ("falcon",)),
            ("BlackSheep", _blacksheep, ("blacksheep",)),
            ("Litestar", _litestar, ("litestar",)),
        ),
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
        HELLO: _candidates(
            "wsgi",
            HELLO,
            (RAW, _raw_wsgi, ()),
            (OURS, _ours_wsgi, ()),
            ("Falcon", _falcon_wsgi, ("falcon",)),
            ("Bottle", _bottle, ("bottle",)),
            ("Flask", _flask_alone, ("flask",)),
            ("Django", _django, ("django",)),
        ),
        USER: _candidates(
            "wsgi",
            USER,
            (RAW, _raw_wsgi_user, ()),
            (OURS, _ours_wsgi_user, ()),
            ("Falcon", _falcon_wsgi_user, ("falcon",)),
            ("Bottle", _bottle, ("bottle",)),
            ("Flask", _flask_alone, ("flask",)),
            ("Django", _django, ("django",)),
        ),
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
