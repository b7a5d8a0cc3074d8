"""Apps of other frameworks that have a dualroute app inside, each as a user would put it there.

A server calls one of the functions for its app.  The framework is imported there, so that each process has but one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from dualroute import (
    DualRoute,
    JSONResponse,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)

PREFIX = "/ours"


def about(request: Request | SyncRequest) -> dict[str, Any]:
    return {
        "url": str(request.url),
        "base_url": str(request.base_url),
        "root_path": request.root_path,
        "path": request.path,
        "thing": str(request.url_for("thing", thing_id=7)),
        "inner": str(request.url_for("inner:thing", thing_id=8)),
    }


def where(request: SyncRequest) -> Response:
    return JSONResponse(about(request))


async def where_async(request: Request) -> Response:
    await asyncio.sleep(0)
    return JSONResponse(about(request))


def thing(request: SyncRequest, thing_id: int) -> Response:
    return JSONResponse({"thing_id": thing_id})


async def echo(request: Request) -> Response:
    return Response(await request.body())


def echo_in_def(request: SyncRequest) -> Response:
    return Response(request.body())


async def stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(5):
            await asyncio.sleep(0)
            yield b"%d\n" % number

    return StreamingResponse(pieces())


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json({"url": str(websocket.url), "thing": str(websocket.url_for("thing", thing_id=7))})
    async for text in websocket.iter_text():
        await websocket.send_text(f"echo {text}")


def no_path(request: SyncRequest, error: Exception) -> Response:
    return PlainTextResponse(f"ours has no {request.path}", status_code=404)


def ours() -> DualRoute:
    inner = [
        Route("/where", where_async),
        Route("/things/{thing_id:int}", thing, name="thing"),
    ]
    return DualRoute(
        routes=[
            Route("/", where),
            Route("/where", where),
            Route("/where-async", where_async),
            Route("/things/{thing_id:int}", thing, name="thing"),
            Route("/list/", where),
            Route("/echo", echo, methods=["POST"]),
            Route("/echo-in-def", echo_in_def, methods=["POST"]),
            Route("/stream", stream),
            WebSocketRoute("/talk/{room}", talk),
            Mount("/inner", name="inner", routes=inner),
        ],
        exception_handlers={404: no_path},
    )


def in_fastapi() -> Any:
    from fastapi import FastAPI

    host = FastAPI()

    @host.get("/")
    async def index() -> str:
        return "the host's"

    host.mount(PREFIX, ours())
    return host


def in_starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Mount, Route

    async def index(request: Any) -> Any:
        return JSONResponse("the host's")

    return Starlette(routes=[Route("/", index), Mount(PREFIX, app=ours())])


def in_flask() -> Any:
    from flask import Flask, jsonify
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    host = Flask(__name__)

    @host.route("/")
    def index() -> Any:
        return jsonify("the host's")

    host.wsgi_app = DispatcherMiddleware(host.wsgi_app, {PREFIX: ours()})  # type: ignore[method-assign]  # as Flask tells to
    return host


def django_views() -> None:
    import django
    from django.conf import settings
    from django.http import HttpRequest, JsonResponse
    from django.urls import path

    def index(request: HttpRequest) -> JsonResponse:
        return JsonResponse("the host's", safe=False)

    settings.configure(
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=(path("", index),),
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    )
    django.setup()


def beside_django_wsgi() -> Any:
    django_views()
    from django.core.wsgi import get_wsgi_application

    django_app = get_wsgi_application()
    new_app = ours()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        path = environ["PATH_INFO"]
        if path == PREFIX or path.startswith(f"{PREFIX}/"):
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + PREFIX
            environ["PATH_INFO"] = path[len(PREFIX) :]
            return new_app(environ, start_response)
        return django_app(environ, start_response)

    return application


ASGI = Callable[[Any, Any, Any], Awaitable[None]]


def dispatching(django_app: ASGI, new_app: ASGI) -> ASGI:
    """Return what a user's asgi.py dispatches by."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            root_path = scope.get("root_path", "") + PREFIX
            if scope["path"] == root_path or scope["path"].startswith(f"{root_path}/"):
                return await new_app({**scope, "root_path": root_path}, receive, send)
        elif hasattr(new_app, "router"):
            return await new_app(scope, receive, send)
        return await django_app(scope, receive, send)

    return application


def beside_django_asgi() -> Any:
    django_views()
    from django.core.asgi import get_asgi_application

    return dispatching(get_asgi_application(), ours())


def beside_quart() -> Any:
    from quart import Quart, jsonify

    host = Quart(__name__)

    @host.route("/")
    async def index() -> Any:
        return jsonify("the host's")

    host.asgi_app = dispatching(host.asgi_app, ours())  # type: ignore[assignment,method-assign]  # as Quart tells to
    return host


def by_hypercorn() -> Any:
    from hypercorn.middleware import DispatcherMiddleware
    from quart import Quart, jsonify

    host = Quart(__name__)

    @host.route("/")
    async def index() -> Any:
        return jsonify("the host's")

    return DispatcherMiddleware({PREFIX: ours(), "": host})
