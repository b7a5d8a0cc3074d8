"""Files, static files, server-sent events and early hints, for the servers of `test_files`: see `apps`.

What is sent lies in the folder that a test and its process share.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
from collections.abc import AsyncIterator, Generator
from typing import Any

from apps import FOLDER, await_file, report  # type: ignore[import-not-found]  # a server finds it beside this

from dualroute import (
    BackgroundTask,
    DualRoute,
    EventSourceResponse,
    FileResponse,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    ServerSentEvent,
    StaticFiles,
    SyncRequest,
)
from dualroute.streams import is_native

MIB = 1024 * 1024


def _make_files() -> None:
    (FOLDER / "static").mkdir(exist_ok=True)
    (FOLDER / "static" / "app.css").write_text("plain")
    (FOLDER / "static" / "app.css.gz").write_bytes(gzip.compress(b"plain"))
    (FOLDER / "static" / "index.html").write_text("home")
    (FOLDER / "secret").write_text("secret")
    for name, size in (("big", 24 * MIB), ("half", MIB // 2)):
        with open(FOLDER / "static" / name, "wb") as file:
            for number in range(size // 4096):
                file.write(number.to_bytes(4, "big") * 1024)


_make_files()


def hello(request: SyncRequest) -> Response:
    return PlainTextResponse("hello")


def _file(request: Any) -> Response:
    query = request.query_params
    background = BackgroundTask(report, "after", token=query["token"]) if "token" in query else None
    return FileResponse(FOLDER / "static" / query["name"], background=background, filename=query.get("as"))


def file(request: SyncRequest) -> Response:
    return _file(request)


async def file_async(request: Request) -> Response:
    return _file(request)


def how(connection: Any) -> Generator[Any, Any, Response]:
    """Tell whether the server is going to send the body by itself."""
    response: Response = yield connection
    response.headers["x-native"] = str(is_native(response))
    return response


async def events(request: Request) -> Response:
    """Count on from the last event that the client has got; each number waits for the test."""
    token = request.query_params["token"]
    ping = float(request.query_params.get("ping", "0.2"))

    async def numbers() -> AsyncIterator[ServerSentEvent]:
        report("opened", token=token, last=request.last_event_id)
        try:
            for number in itertools.count(int(request.last_event_id or 0) + 1):
                await await_file(f"{token}-{number}")
                yield ServerSentEvent({"number": number, "text": "é\n"}, id=str(number), event="count", retry=50)
        finally:
            report("closed", token=token)

    return EventSourceResponse(numbers(), ping=ping)


def events_sync(request: SyncRequest) -> Response:
    return EventSourceResponse(ServerSentEvent(str(number), id=str(number)) for number in range(3))


LINKS = ["</app.css>; rel=preload; as=style", "</app.js>; rel=preload; as=script"]


def hints(request: SyncRequest) -> Response:
    request.send_early_hints(LINKS)
    return PlainTextResponse("after the hints")


async def hints_async(request: Request) -> Response:
    await request.send_early_hints(LINKS[:1])
    await asyncio.sleep(0)
    await request.send_early_hints(LINKS[1:])
    return PlainTextResponse("after the hints")


app = DualRoute(
    [
        Route("/", hello),
        Route("/file/def", file),
        Route("/file/async", file_async),
        Mount("/static", app=StaticFiles(directory=FOLDER / "static"), name="static"),
        Mount("/html", app=StaticFiles(directory=FOLDER / "static", html=True)),
        Route("/events", events),
        Route("/events/def", events_sync),
        Route("/hints/def", hints),
        Route("/hints/async", hints_async),
    ],
    middleware=[how],
    max_threads=2,
)
