"""The candidates of Falcon, whose endpoints are always methods of a resource.

Its errors and its JSON are made to look as everybody else's do; by default the former are JSON documents, negotiated,
and the latter has spaces in it.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import falcon
import falcon.asgi
from falcon.media import JSONHandler

_dumps = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))


class Hello:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "hello, world"


class HelloAsync:
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "hello, world"


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


class Item:
    def on_get(self, req: falcon.Request, resp: falcon.Response, **params: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "hello, world"


class ItemAsync:
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **params: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "hello, world"


def wsgi(resource: Any, *paths: str) -> Any:
    """Return a WSGI app with `resource` at every one of `paths`."""
    return _app(falcon.App(), resource, paths)


def asgi(resource: Any, *paths: str) -> Any:
    """Return an ASGI app with `resource` at every one of `paths`."""
    return _app(falcon.asgi.App(), resource, paths)


def _app(app: Any, resource: Any, paths: tuple[str, ...]) -> Any:
    app.resp_options.media_handlers[falcon.MEDIA_JSON] = JSONHandler(dumps=_dumps)
    app.set_error_serializer(_plain_error)
    for path in paths:
        app.add_route(path, resource)
    return app


def _plain_error(req: Any, resp: Any, error: falcon.HTTPError) -> None:
    resp.content_type = falcon.MEDIA_TEXT
    resp.text = error.title.partition(" ")[2]


def _text() -> str:
    return "hello, world"
