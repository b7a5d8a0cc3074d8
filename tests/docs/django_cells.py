"""The column of Django in README's table, as Django itself fills it: prints it as JSON.

A process of its own, since there is one set of settings to a process.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.urls import path, reverse

from tests.transports import ASGITransport, EventLoopThread, WSGITransport
from tests.websocket_helper import websocket_scope

loops: list[asyncio.AbstractEventLoop] = []
threads: list[threading.Thread] = []


def plain(request: Any, **params: Any) -> Any:
    threads.append(threading.current_thread())
    return HttpResponse(b"plain")


async def coloured(request: Any) -> Any:
    loops.append(asyncio.get_running_loop())
    return HttpResponse(b"coloured")


def stamped(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def middleware(request: Any) -> Any:
        response = get_response(request)
        response.headers["x-stamp"] = "1"
        return response

    return middleware


urlpatterns = [path("plain", plain), path("coloured", coloured), path("items/<int:number>", plain, name="item")]


def lines_of_lookup(count: int) -> int:
    """Return how many lines run to find the last of so many routes."""
    from django.urls.resolvers import RegexPattern, URLResolver

    resolver = URLResolver(RegexPattern(r"^/"), [path(f"r{index}/<int:id>", plain) for index in range(count)])
    asked = f"/r{count - 1}/7"
    resolver.resolve(asked)
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    sys.settrace(trace)
    try:
        resolver.resolve(asked)
    finally:
        sys.settrace(None)
    return lines


def cells() -> dict[str, str]:
    import httpx
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application
    from django.template import Context, Engine

    by_wsgi, by_asgi = get_wsgi_application(), get_asgi_application()
    loop = EventLoopThread()
    wsgi = httpx.Client(transport=WSGITransport(by_wsgi), base_url="http://testserver")
    asgi = httpx.Client(transport=ASGITransport(by_asgi, loop), base_url="http://testserver")
    told = {
        "is served by WSGI servers": "yes" if wsgi.get("/plain").text == "plain" else "no",
        "is served by ASGI servers": "yes" if asgi.get("/plain").text == "plain" else "no",
    }
    try:
        crossed = httpx.Client(transport=ASGITransport(by_wsgi, loop), base_url="http://testserver").get("/plain")
        told["one object for both"] = "yes" if crossed.text == "plain" else "no"
    except TypeError:
        told["one object for both"] = "no"

    told["`def` handlers under ASGI"] = "in a thread" if threads[-1] is not loop._thread else "no"
    for _ in range(2):
        assert wsgi.get("/coloured").text == "coloured"
    told["`async def` handlers under WSGI"] = "on one loop" if loops[0] is loops[1] else "a loop each"
    try:
        asyncio.run(by_asgi(websocket_scope("/plain"), None, None))
        told["websockets"] = "yes"
    except ValueError:
        told["websockets"] = "no"
    stamps = [client.get("/plain").headers.get("x-stamp") for client in (wsgi, asgi)]
    told["one middleware for both protocols"] = "yes" if stamps == ["1", "1"] else "no"
    told["a look-up among more routes takes"] = (
        "longer" if lines_of_lookup(1000) > 3 * lines_of_lookup(10) else "as long"
    )
    told["URLs by name"] = "yes" if reverse("item", args=[7]) == "/items/7" else "no"
    rendered = Engine().from_string("{{ who }}").render(Context({"who": "<you>"}))
    told["templates"] = "yes" if rendered == "&lt;you&gt;" else "no"
    parts = ("django.db.models", "django.db.migrations", "django.contrib.admin")
    told["database models, migrations, an admin site"] = (
        "yes" if all(importlib.util.find_spec(part) is not None for part in parts) else "no"
    )
    loop.close()
    return told


if __name__ == "__main__":
    settings.configure(
        ROOT_URLCONF=__name__, MIDDLEWARE=[f"{__name__}.stamped"], ALLOWED_HOSTS=["*"], SECRET_KEY="of no use"
    )
    sys.stdout.write(json.dumps(cells()))
