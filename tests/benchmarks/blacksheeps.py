"""The candidates of BlackSheep, whose core is compiled with Cython.

It has no 405, and calls a `def` on the event loop.  The look-ups that it keeps by URL are switched off.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from blacksheep import Application, Request, Response, Router, TextContent, json, text
from blacksheep.server.controllers import Controller

from tests.benchmarks import asked
from tests.benchmarks.harness import App

__all__ = ["ASGI"]


class _Router(Router):
    get_match_by_method_and_path: Any = Router.get_match_by_method_and_path.__wrapped__


async def hello(request: Request) -> Response:
    return text(asked.TEXT)


async def user(id: int) -> Response:
    return json({"id": id})


async def echo(request: Request) -> Response:
    return json(await request.json())


async def form(request: Request) -> Response:
    fields: Any = await request.form()
    return text(fields[asked.FIELD])


async def not_found(*args: Any) -> Response:
    return Response(404, content=TextContent("Not Found"))


def layer(name: str, value: str) -> Any:
    header = (name.encode(), value.encode())

    async def middleware(request: Request, handler: Callable[[Request], Any]) -> Response:
        response: Response = await handler(request)
        response.add_header(*header)
        return response

    return middleware


def _app(*paths: str, method: str = "GET", endpoint: Any = hello) -> Application:
    app = Application(router=_Router())
    for path in paths:
        app.router.add(method, path, endpoint)
    return app


def _at(path: str, endpoint: Any, method: str = "GET") -> asked.Maker:
    return lambda stack: _app(path, method=method, endpoint=endpoint)


def _in_layers(stack: ExitStack) -> App:
    app = _app("/hello")
    app.middlewares.extend(layer(*header) for header in asked.LAYERS)
    return app


def _class(stack: ExitStack) -> App:
    app = _app()

    class Hello(Controller):
        @app.controllers_router.get("/hello")
        async def get(self, request: Request) -> Response:
            return text(asked.TEXT)

    return app


def _lacking(stack: ExitStack) -> App:
    app = _app("/hello")
    app.exceptions_handlers[404] = not_found
    return app


def _many(stack: ExitStack) -> App:
    return _app(*(path.replace("{id:int}", "{int:id}") for path in asked.PATHS))


ASGI: asked.Candidates = {
    asked.ASYNC: {"BlackSheep": _at("/hello", hello)},
    asked.CLASS: {"BlackSheep": _class},
    asked.JSON: {"BlackSheep": _at("/users/{int:id}", user)},
    asked.ECHO: {"BlackSheep": _at("/echo", echo, "POST")},
    asked.MIDDLEWARE: {"BlackSheep": _in_layers},
    asked.WRONG_PATH: {"BlackSheep": _lacking},
    asked.FORM: {"BlackSheep": _at("/form", form, "POST")},
    asked.MANY: {"BlackSheep": _many},
}
