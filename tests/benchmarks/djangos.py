"""The candidates of Django, by its two handlers: no middleware but what a case asks for, no app, no database.

Its settings are one to a process, and each candidate has URLs of its own: so they are told to it by its requests.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import django
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpResponse, HttpResponseNotAllowed
from django.test.utils import override_settings
from django.urls import path
from django.utils.decorators import sync_and_async_middleware
from django.views import View

from tests.benchmarks import asked
from tests.benchmarks.harness import App

__all__ = ["ASGI", "WSGI"]


def _text(text: str, status: int = 200) -> Any:
    return HttpResponse(text.encode(), status=status, content_type="text/plain; charset=utf-8")


def _json(value: Any) -> Any:
    return HttpResponse(asked.dumps(value).encode(), content_type="application/json")


def _not_allowed() -> Any:
    return HttpResponseNotAllowed(["GET"], b"Method Not Allowed", content_type="text/plain; charset=utf-8")


def hello_def(request: Any, **params: Any) -> Any:
    return _text(asked.TEXT) if request.method == "GET" else _not_allowed()


async def hello_async(request: Any, **params: Any) -> Any:
    return _text(asked.TEXT) if request.method == "GET" else _not_allowed()


def user_def(request: Any, id: int) -> Any:
    return _json({"id": id})


async def user_async(request: Any, id: int) -> Any:
    return _json({"id": id})


def echo_def(request: Any) -> Any:
    return _json(json.loads(request.body))


async def echo_async(request: Any) -> Any:
    return _json(json.loads(request.body))


def form_def(request: Any) -> Any:
    return _text(request.POST[asked.FIELD])


async def form_async(request: Any) -> Any:
    return _text(request.POST[asked.FIELD])


class HelloDef(View):  # type: ignore[misc]  # which has no types
    def get(self, request: Any) -> Any:
        return _text(asked.TEXT)


class HelloAsync(View):  # type: ignore[misc]  # which has no types
    async def get(self, request: Any) -> Any:
        return _text(asked.TEXT)


def not_found(request: Any, exception: Any) -> Any:
    return _text("Not Found", 404)


class _URLs:
    """What Django takes for a module of URLs."""

    def __init__(self, view: Any, paths: Sequence[str]) -> None:
        spelled = [at[1:].replace("{id:int}", "<int:id>").replace("{name}", "<name>") for at in paths]
        self.urlpatterns = [path(at, view) for at in spelled]
        self.handler404 = not_found


def layer(index: int) -> Any:
    name, value = asked.LAYERS[index]

    def middleware(get_response: Any) -> Any:
        if iscoroutinefunction(get_response):

            async def call_async(request: Any) -> Any:
                response = await get_response(request)
                response.headers[name] = value
                return response

            return call_async

        def call(request: Any) -> Any:
            response = get_response(request)
            response.headers[name] = value
            return response

        return call

    return sync_and_async_middleware(middleware)


layer_1, layer_2, layer_3, layer_4, layer_5 = (layer(index) for index in range(5))
_LAYERS = [f"{__name__}.layer_{number}" for number in range(1, 6)]


def _app(stack: ExitStack, kind: Any, view: Any, paths: Sequence[str], middleware: Sequence[str] = ()) -> App:
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="", USE_I18N=False)
        django.setup()
    # A line for each 404 would be all that they are about.
    logger = logging.getLogger("django.request")
    stack.callback(logger.setLevel, logger.level)
    logger.setLevel(logging.CRITICAL)
    request_kind: Any = WSGIRequest if kind is WSGIHandler else ASGIRequest
    urls = _URLs(view, paths)
    handler = type("Handler", (kind,), {"request_class": type("Request", (request_kind,), {"urlconf": urls})})
    with override_settings(MIDDLEWARE=list(middleware)):
        app: App = handler()
    return app


def _wsgi(view: Any, *paths: str, middleware: Sequence[str] = ()) -> asked.Maker:
    return lambda stack: _app(stack, WSGIHandler, view, paths, middleware)


def _asgi(view: Any, *paths: str, middleware: Sequence[str] = ()) -> asked.Maker:
    return lambda stack: _app(stack, ASGIHandler, view, paths, middleware)


def _wsgi_many(stack: ExitStack) -> App:
    return _app(stack, WSGIHandler, hello_def, asked.PATHS)


def _asgi_many(stack: ExitStack) -> App:
    return _app(stack, ASGIHandler, hello_async, asked.PATHS)


ASGI: asked.Candidates = {
    asked.ASYNC: {"Django": _asgi(hello_async, "/hello")},
    asked.DEF: {"Django": _asgi(hello_def, "/hello")},
    asked.CLASS: {"Django": _asgi(HelloAsync.as_view(), "/hello")},
    asked.JSON: {"Django": _asgi(user_async, "/users/{id:int}")},
    asked.ECHO: {"Django": _asgi(echo_async, "/echo")},
    asked.MIDDLEWARE: {"Django": _asgi(hello_async, "/hello", middleware=_LAYERS)},
    asked.WRONG_PATH: {"Django": _asgi(hello_async, "/hello")},
    asked.WRONG_METHOD: {"Django": _asgi(hello_async, "/hello")},
    asked.FORM: {"Django": _asgi(form_async, "/form")},
    asked.MANY: {"Django": _asgi_many},
}

WSGI: asked.Candidates = {
    asked.DEF: {"Django": _wsgi(hello_def, "/hello")},
    asked.ASYNC: {"Django": _wsgi(hello_async, "/hello")},
    asked.CLASS: {"Django": _wsgi(HelloDef.as_view(), "/hello")},
    asked.JSON: {"Django": _wsgi(user_def, "/users/{id:int}")},
    asked.ECHO: {"Django": _wsgi(echo_def, "/echo")},
    asked.MIDDLEWARE: {"Django": _wsgi(hello_def, "/hello", middleware=_LAYERS)},
    asked.WRONG_PATH: {"Django": _wsgi(hello_def, "/hello")},
    asked.WRONG_METHOD: {"Django": _wsgi(hello_def, "/hello")},
    asked.FORM: {"Django": _wsgi(form_def, "/form")},
    asked.MANY: {"Django": _wsgi_many},
}
