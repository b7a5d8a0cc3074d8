"""A Django project on its way to dualroute: what was moved is answered by dualroute, and the rest by Django as before.

    dualroute run docs/examples/migrate_django/main.py              serve it, by uvicorn and by gunicorn at once
    dualroute routes --legacy docs/examples/migrate_django/main.py  print what was moved, and what is left

It needs Django: ``python -m pip install django``.  This file stands where ``wsgi.py`` stood; `get_asgi_application`
would do as well, since either works under both servers.

A view of Django's takes any method unless it refuses some itself, as `quote` does not; so the table says "in part" of
it: a POST there is answered 405 now.
"""

import asyncio
import os

from django.core.wsgi import get_wsgi_application

from dualroute import (
    DualRoute,
    HTTPException,
    JSONResponse,
    RedirectResponse,
    Request,
    Response,
    Route,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)
from dualroute.middleware import Middleware
from migrate_django.shared import SharedWithDjango
from migrate_django.views import QUOTES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "migrate_django.settings")
project = get_wsgi_application()

# What was moved, at the same paths: Django's end in a slash.


def quotes(request: SyncRequest) -> JSONResponse:
    return JSONResponse({text: str(request.url_for("quote", number=number)) for number, text in QUOTES.items()})


async def quote(request: Request, number: int) -> JSONResponse:
    if number not in QUOTES:
        raise HTTPException(404, f"There is no quote {number}")
    return JSONResponse({"text": QUOTES[number], "likes": await ask_likes(number)})


async def ask_likes(number: int) -> int:
    """Stand for a request to another service."""
    await asyncio.sleep(0.01)
    return number * 10


def like(request: SyncRequest) -> Response:
    request.session["likes"] = request.session.get("likes", 0) + 1
    return RedirectResponse(request.base_url, status_code=303)


# What Django never had.


async def search(websocket: WebSocket) -> None:
    """Answer whatever is typed with the quotes that hold it."""
    await websocket.accept()
    async for typed in websocket.iter_text():
        await websocket.send_json([text for text in QUOTES.values() if typed.lower() in text.lower()])


app = DualRoute(
    routes=[
        Route("/quotes/", quotes),
        Route("/quotes/{number:int}/", quote),
        Route("/like/", like, methods=["POST"], middleware=[Middleware(SharedWithDjango)]),
        WebSocketRoute("/search/", search),
    ],
    fallback=project,
)
