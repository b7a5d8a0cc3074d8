"""The candidates of Quart.  Its JSON is made to look as everybody else's does."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from quart import Quart, Response, jsonify, request
from quart.json.provider import DefaultJSONProvider
from quart.views import MethodView

from tests.benchmarks import asked
from tests.benchmarks.harness import App

__all__ = ["ASGI"]


class _Compact(DefaultJSONProvider):
    def response(self, *args: Any, **kwargs: Any) -> Any:
        return self._app.response_class(asked.dumps(args[0]), mimetype=self.mimetype)


class _Quart(Quart):
    json_provider_class = _Compact


def _text(text: str, status: int = 200) -> Response:
    return Response(text, status, mimetype="text/plain")


async def hello_async(**params: Any) -> Response:
    return _text(asked.TEXT)


def hello_def() -> Response:
    return _text(asked.TEXT)


async def user(id: int) -> Any:
    return jsonify({"id": id})


async def echo() -> Any:
    return jsonify(await request.get_json())


async def form() -> Response:
    fields = await request.form
    return _text(fields[asked.FIELD])


class Hello(MethodView):
    init_every_request = False

    async def get(self) -> Response:
        return _text(asked.TEXT)


async def plain_error(error: Any) -> Response:
    return _text(error.name, error.code)


def _app(endpoint: Any, *paths: str, method: str = "GET") -> Quart:
    app = _Quart(__name__, static_folder=None)
    for status in (404, 405):
        app.register_error_handler(status, plain_error)
    for index, path in enumerate(paths):
        app.add_url_rule(path, f"endpoint{index}", endpoint, methods=[method])
    return app


def _at(path: str, endpoint: Any, method: str = "GET") -> asked.Maker:
    return lambda stack: _app(endpoint, path, method=method)


async def before() -> None:
    pass


def after(name: str, value: str) -> Any:
    async def hook(response: Any) -> Any:
        response.headers[name] = value
        return response

    return hook


def _in_layers(stack: ExitStack) -> App:
    app = _app(hello_async, "/hello")
    for header in asked.LAYERS:
        app.before_request(before)
        app.after_request(after(*header))
    return app


def _many(stack: ExitStack) -> App:
    paths = [path.replace("{id:int}", "<int:id>").replace("{name}", "<name>") for path in asked.PATHS]
    return _app(hello_async, *paths)


ASGI: asked.Candidates = {
    asked.ASYNC: {"Quart": _at("/hello", hello_async)},
    asked.DEF: {"Quart": _at("/hello", hello_def)},
    asked.CLASS: {"Quart": _at("/hello", Hello.as_view("hello"))},
    asked.JSON: {"Quart": _at("/users/<int:id>", user)},
    asked.ECHO: {"Quart": _at("/echo", echo, "POST")},
    asked.MIDDLEWARE: {"Quart": _in_layers},
    asked.WRONG_PATH: {"Quart": _at("/hello", hello_async)},
    asked.WRONG_METHOD: {"Quart": _at("/hello", hello_async)},
    asked.FORM: {"Quart": _at("/form", form, "POST")},
    asked.MANY: {"Quart": _many},
}
