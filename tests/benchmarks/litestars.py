"""The candidates of Litestar.

The look-ups that it keeps by URL are switched off.  Its JSON is msgspec's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any
from unittest import mock

from litestar import Controller, Litestar, MediaType, Request, Response, get, post
from litestar._asgi.routing_trie import traversal
from litestar.middleware import DefineMiddleware
from litestar.params import FromPath

from tests.benchmarks import asked
from tests.benchmarks.harness import App
from tests.benchmarks.layers import ASGILayer

__all__ = ["ASGI"]


@get("/hello", media_type=MediaType.TEXT)
async def hello_async() -> str:
    return asked.TEXT


@get("/hello", media_type=MediaType.TEXT, sync_to_thread=True)
def hello_def() -> str:
    return asked.TEXT


@get("/users/{id:int}")
async def user(id: FromPath[int]) -> dict[str, int]:
    return {"id": id}


@post("/echo", status_code=200)
async def echo(request: Request[Any, Any, Any]) -> Any:
    return await request.json()


@post("/form", status_code=200, media_type=MediaType.TEXT)
async def form(request: Request[Any, Any, Any]) -> str:
    fields = await request.form()
    return str(fields[asked.FIELD])


class Hello(Controller):
    path = "/hello"

    @get(media_type=MediaType.TEXT)
    async def get(self) -> str:
        return asked.TEXT


def plain_error(request: Any, error: Any) -> Response[str]:
    return Response(error.detail, status_code=error.status_code, media_type=MediaType.TEXT)


def _app(stack: ExitStack, handler: Any, middleware: Sequence[DefineMiddleware] = ()) -> App:
    app = Litestar(
        [handler],
        exception_handlers={404: plain_error, 405: plain_error},
        logging_config=None,
        middleware=middleware,
        openapi_config=None,
    )
    router: Any = app.asgi_router
    router.handle_routing = router._handle_routing
    uncached = getattr(traversal.parse_path_params, "__wrapped__", traversal.parse_path_params)
    stack.enter_context(mock.patch.object(traversal, "parse_path_params", uncached))
    return app


def _with(handler: Any) -> asked.Maker:
    return lambda stack: _app(stack, handler)


def _many(stack: ExitStack) -> App:
    @get([path.replace("{name}", "{name:str}") for path in asked.PATHS], media_type=MediaType.TEXT)
    async def item() -> str:
        return asked.TEXT

    return _app(stack, item)


def _in_layers(stack: ExitStack) -> App:
    return _app(
        stack, hello_async, [DefineMiddleware(ASGILayer, name=name, value=value) for name, value in asked.LAYERS]
    )


ASGI: asked.Candidates = {
    asked.ASYNC: {"Litestar": _with(hello_async)},
    asked.DEF: {"Litestar": _with(hello_def)},
    asked.CLASS: {"Litestar": _with(Hello)},
    asked.JSON: {"Litestar": _with(user)},
    asked.ECHO: {"Litestar": _with(echo)},
    asked.MIDDLEWARE: {"Litestar": _in_layers},
    asked.WRONG_PATH: {"Litestar": _with(hello_async)},
    asked.WRONG_METHOD: {"Litestar": _with(hello_async)},
    asked.FORM: {"Litestar": _with(form)},
    asked.MANY: {"Litestar": _many},
}
