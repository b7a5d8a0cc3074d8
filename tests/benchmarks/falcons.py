"""The candidates of Falcon, whose endpoints are always methods of a resource.

Its errors and its JSON are made to look as everybody else's do; by default the former are JSON documents, negotiated,
and the latter has spaces in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import falcon
import falcon.asgi
from falcon.media import JSONHandler

from tests.benchmarks import asked

__all__ = ["ASGI", "WSGI"]


class Hello:
    def on_get(self, req: falcon.Request, resp: falcon.Response, **params: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = asked.TEXT


class HelloAsync:
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **params: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = asked.TEXT


class HelloInThread:
    """A `def` under ASGI: Falcon leaves the hop to whoever writes the responder."""

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        text: Any = await falcon.sync_to_async(_text)
        resp.text = text


class User:
    def on_get(self, req: falcon.Request, resp: falcon.Response, id: int) -> None:
        resp.media = {"id": id}


class UserAsync:
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, id: int) -> None:
        resp.media = {"id": id}


class Echo:
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = req.get_media()


class EchoAsync:
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.media = await req.get_media()


class Form:
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = req.get_media()[asked.FIELD]


class FormAsync:
    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        fields: Any = await req.get_media()
        resp.text = fields[asked.FIELD]


class Layer:
    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value

    def process_request(self, req: Any, resp: Any) -> None:
        pass

    def process_response(self, req: Any, resp: Any, resource: Any, req_succeeded: bool) -> None:
        resp.set_header(self.name, self.value)


class LayerAsync:
    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value

    async def process_request(self, req: Any, resp: Any) -> None:
        pass

    async def process_response(self, req: Any, resp: Any, resource: Any, req_succeeded: bool) -> None:
        resp.set_header(self.name, self.value)


def _text() -> str:
    return asked.TEXT


def _plain_error(req: Any, resp: Any, error: falcon.HTTPError) -> None:
    resp.content_type = falcon.MEDIA_TEXT
    resp.text = error.title.partition(" ")[2]


def _app(app: Any, resource: Any, paths: Sequence[str]) -> Any:
    app.resp_options.media_handlers[falcon.MEDIA_JSON] = JSONHandler(dumps=asked.dumps)
    app.set_error_serializer(_plain_error)
    for path in paths:
        app.add_route(path, resource)
    return app


def _wsgi(resource: Any, *paths: str, middleware: Any = None) -> asked.Maker:
    return lambda stack: _app(falcon.App(middleware=middleware), resource, paths)


def _asgi(resource: Any, *paths: str, middleware: Any = None) -> asked.Maker:
    return lambda stack: _app(falcon.asgi.App(middleware=middleware), resource, paths)


def _wsgi_many(stack: ExitStack) -> Any:
    return _app(falcon.App(), Hello(), asked.PATHS)


def _asgi_many(stack: ExitStack) -> Any:
    return _app(falcon.asgi.App(), HelloAsync(), asked.PATHS)


_LAYERS = [Layer(*header) for header in asked.LAYERS]
_LAYERS_ASYNC = [LayerAsync(*header) for header in asked.LAYERS]

ASGI: asked.Candidates = {
    asked.ASYNC: {"Falcon": _asgi(HelloAsync(), "/hello")},
    asked.DEF: {"Falcon": _asgi(HelloInThread(), "/hello")},
    asked.CLASS: {"Falcon": _asgi(HelloAsync(), "/hello")},
    asked.JSON: {"Falcon": _asgi(UserAsync(), "/users/{id:int}")},
    asked.ECHO: {"Falcon": _asgi(EchoAsync(), "/echo")},
    asked.MIDDLEWARE: {"Falcon": _asgi(HelloAsync(), "/hello", middleware=_LAYERS_ASYNC)},
    asked.WRONG_PATH: {"Falcon": _asgi(HelloAsync(), "/hello")},
    asked.WRONG_METHOD: {"Falcon": _asgi(HelloAsync(), "/hello")},
    asked.FORM: {"Falcon": _asgi(FormAsync(), "/form")},
    asked.MANY: {"Falcon": _asgi_many},
}

WSGI: asked.Candidates = {
    asked.DEF: {"Falcon": _wsgi(Hello(), "/hello")},
    asked.CLASS: {"Falcon": _wsgi(Hello(), "/hello")},
    asked.JSON: {"Falcon": _wsgi(User(), "/users/{id:int}")},
    asked.ECHO: {"Falcon": _wsgi(Echo(), "/echo")},
    asked.MIDDLEWARE: {"Falcon": _wsgi(Hello(), "/hello", middleware=_LAYERS)},
    asked.WRONG_PATH: {"Falcon": _wsgi(Hello(), "/hello")},
    asked.WRONG_METHOD: {"Falcon": _wsgi(Hello(), "/hello")},
    asked.FORM: {"Falcon": _wsgi(Form(), "/form")},
    asked.MANY: {"Falcon": _wsgi_many},
}
