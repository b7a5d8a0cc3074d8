"""An app whose responses have a limited time, for server processes."""

from __future__ import annotations

import asyncio
from typing import Any

from apps import report, wait_for_file  # type: ignore[import-not-found]  # it stands beside this file

from dualroute import DualRoute, Mount, PlainTextResponse, Request, Response, Route, SyncRequest


def wait(request: SyncRequest) -> Response:
    token = request.query_params["token"]
    report("begun", token=token)
    wait_for_file(token)
    report("ended", token=token)
    return PlainTextResponse("late")


async def async_wait(request: Request) -> Response:
    token = request.query_params["token"]
    report("begun", token=token)
    try:
        await asyncio.sleep(60)
    finally:
        report("ended", token=token)
    return PlainTextResponse("late")


def wsgi_wait(environ: Any, start_response: Any) -> Any:
    token = environ["QUERY_STRING"].partition("=")[2]
    report("begun", token=token)
    wait_for_file(token)
    report("ended", token=token)
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"late"]


def size(request: SyncRequest) -> Response:
    return PlainTextResponse(str(len(request.body())))


async def async_size(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


timed = DualRoute(
    [
        Route("/wait", wait),
        Route("/async-wait", async_wait),
        Mount("/wsgi-wait", app=wsgi_wait),
        Route("/quick", lambda request: PlainTextResponse("quick")),
        Route("/size", size, methods=["POST"], timeout=30),
        Route("/async-size", async_size, methods=["POST"], timeout=30),
    ],
    timeout=0.3,
)
