"""A Django project on its way to dualroute: what was moved is answered by dualroute, and the rest by Django as before.

    dualroute run docs/examples/migrate_django/main.py              serve it, by uvicorn and by gunicorn at once
    dualroute routes --legacy docs/examples/migrate_django/main.py  print what was moved, and what is left

It needs Django: ``python -m pip install django``.  This file stands where ``wsgi.py`` stood.  `get_asgi_application`
would do as well for a project that has async views; either of them works under both servers.
"""

import asyncio
import os
import random

from django.core.wsgi import get_wsgi_application

from dualroute import DualRoute, HTTPException, JSONResponse, Request, Route, SyncRequest, WebSocket, WebSocketRoute
from migrate_django.views import QUOTES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "migrate_django.settings")

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


# What Django never had.


async def surprise(websocket: WebSocket) -> None:
    """Send a quote for each message."""
    await websocket.accept()
    async for _ in websocket.iter_text():
        await websocket.send_text(random.choice(list(QUOTES.values())))


app = DualRoute(
    routes=[
        Route("/quotes/", quotes),
        Route("/quotes/{number:int}/", quote),
        WebSocketRoute("/surprise/", surprise),
    ],
    fallback=get_wsgi_application(),
)
