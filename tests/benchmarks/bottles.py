"""The candidates of Bottle."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import bottle as untyped

from tests.benchmarks import asked
from tests.benchmarks.harness import App

__all__ = ["WSGI"]

bottle: Any = untyped


def hello(**params: Any) -> Any:
    bottle.response.content_type = "text/plain; charset=utf-8"
    return asked.TEXT


def user(id: int) -> Any:
    return {"id": id}


def echo() -> Any:
    return bottle.request.json


def form() -> Any:
    bottle.response.content_type = "text/plain; charset=utf-8"
    return bottle.request.forms[asked.FIELD]


def plain_error(error: Any) -> Any:
    bottle.response.content_type = "text/plain; charset=utf-8"
    return error.status_line.partition(" ")[2]


def _app(endpoint: Any, *paths: str, method: str = "GET") -> Any:
    app = bottle.Bottle()
    app.config["json.enable"] = False
    app.install(bottle.JSONPlugin(asked.dumps))
    for status in (404, 405):
        app.error(status)(plain_error)
    for path in paths:
        app.route(path, method, endpoint)
    return app


def _at(path: str, endpoint: Any, method: str = "GET") -> asked.Maker:
    return lambda stack: _app(endpoint, path, method=method)


def before() -> None:
    pass


def after(name: str, value: str) -> Any:
    def hook() -> None:
        bottle.response.set_header(name, value)

    return hook


def _in_layers(stack: ExitStack) -> App:
    app = _app(hello, "/hello")
    for header in asked.LAYERS:
        app.add_hook("before_request", before)
        app.add_hook("after_request", after(*header))
    layered: App = app
    return layered


def _many(stack: ExitStack) -> App:
    app: App = _app(hello, *(path.replace("{id:int}", "<id:int>").replace("{name}", "<name>") for path in asked.PATHS))
    return app


WSGI: asked.Candidates = {
    asked.DEF: {"Bottle": _at("/hello", hello)},
    asked.JSON: {"Bottle": _at("/users/<id:int>", user)},
    asked.ECHO: {"Bottle": _at("/echo", echo, "POST")},
    asked.MIDDLEWARE: {"Bottle": _in_layers},
    asked.WRONG_PATH: {"Bottle": _at("/hello", hello)},
    asked.WRONG_METHOD: {"Bottle": _at("/hello", hello)},
    asked.FORM: {"Bottle": _at("/form", form, "POST")},
    asked.MANY: {"Bottle": _many},
}
