"""The candidates of Flask.  Its JSON is made to look as everybody else's does."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from flask import Flask, Response, jsonify, request
from flask.json.provider import DefaultJSONProvider
from flask.views import MethodView

from tests.benchmarks import asked
from tests.benchmarks.harness import App

__all__ = ["WSGI"]


class _Compact(DefaultJSONProvider):
    compact = True
    ensure_ascii = False
    sort_keys = False

    def response(self, *args: Any, **kwargs: Any) -> Response:
        return Response(asked.dumps(args[0]), mimetype=self.mimetype)


class _Flask(Flask):
    json_provider_class = _Compact


def _text(text: str, status: int = 200) -> Response:
    return Response(text, status, mimetype="text/plain")


def hello_def(**params: Any) -> Response:
    return _text(asked.TEXT)


async def hello_async() -> Response:
    return _text(asked.TEXT)


def user(id: int) -> Response:
    return jsonify({"id": id})


def echo() -> Response:
    return jsonify(request.get_json())


def form() -> Response:
    return _text(request.form[asked.FIELD])


class Hello(MethodView):
    init_every_request = False

    def get(self) -> Response:
        return _text(asked.TEXT)


def plain_error(error: Any) -> Response:
    return _text(error.name, error.code)


def _app(endpoint: Any, *paths: str, method: str = "GET") -> Flask:
    app = _Flask(__name__, static_folder=None)
    for status in (404, 405):
        app.register_error_handler(status, plain_error)
    for index, path in enumerate(paths):
        app.add_url_rule(path, f"endpoint{index}", endpoint, methods=[method])
    return app


def _at(path: str, endpoint: Any, method: str = "GET") -> asked.Maker:
    return lambda stack: _app(endpoint, path, method=method)


def before() -> None:
    pass


def after(name: str, value: str) -> Any:
    def hook(response: Response) -> Response:
        response.headers[name] = value
        return response

    return hook


def _in_layers(stack: ExitStack) -> App:
    app = _app(hello_def, "/hello")
    for header in asked.LAYERS:
        app.before_request(before)
        app.after_request(after(*header))
    return app


def _many(stack: ExitStack) -> App:
    return _app(hello_def, *(path.replace("{id:int}", "<int:id>").replace("{name}", "<name>") for path in asked.PATHS))


WSGI: asked.Candidates = {
    asked.DEF: {"Flask": _at("/hello", hello_def)},
    asked.ASYNC: {"Flask": _at("/hello", hello_async)},
    asked.CLASS: {"Flask": _at("/hello", Hello.as_view("hello"))},
    asked.JSON: {"Flask": _at("/users/<int:id>", user)},
    asked.ECHO: {"Flask": _at("/echo", echo, "POST")},
    asked.MIDDLEWARE: {"Flask": _in_layers},
    asked.WRONG_PATH: {"Flask": _at("/hello", hello_def)},
    asked.WRONG_METHOD: {"Flask": _at("/hello", hello_def)},
    asked.FORM: {"Flask": _at("/form", form, "POST")},
    asked.MANY: {"Flask": _many},
}
