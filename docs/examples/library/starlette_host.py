"""Starlette: uvicorn library.starlette_host:app."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from library.shop import status


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("the shop")


app = Starlette(routes=[Route("/", home), Mount("/status", app=status)])
