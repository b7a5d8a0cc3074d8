"""An app to break things in, for server processes: each of its ways to fail says what was closed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

from apps import (  # type: ignore[import-not-found]  # it stands beside this file
    await_file,
    held,
    held_sync,
    report,
    wait_for_file,
)

from dualroute import (
    BackgroundTask,
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
from dualroute.exchange import Call


class Boom(Exception):
    """Its text must reach the log and never the client."""


def boom(connection: Any) -> Boom:
    return Boom(f"secret-{connection.query_params['token']}")


def hello(request: SyncRequest) -> Response:
    return PlainTextResponse("hello")


async def hello_async(request: Request) -> Response:
    return PlainTextResponse("hello")


def pause(request: SyncRequest) -> Response:
    """Take long enough for others to need threads of their own."""
    time.sleep(0.1)
    return PlainTextResponse("hello")


# What fails


def fail(request: SyncRequest) -> Response:
    raise boom(request)


async def fail_async(request: Request) -> Response:
    raise boom(request)


def stream(request: SyncRequest) -> Response:
    token = request.query_params["token"]

    def pieces() -> Iterator[bytes]:
        try:
            yield b"first"
            wait_for_file(token)
            raise boom(request)
        finally:
            report("closed", token=token)

    return StreamingResponse(pieces())


async def stream_async(request: Request) -> Response:
    token = request.query_params["token"]

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await await_file(token)
            raise boom(request)
        finally:
            report("closed", token=token)

    return StreamingResponse(pieces())


def background(request: SyncRequest) -> Response:
    return PlainTextResponse("answered", background=BackgroundTask(fail, request))


async def background_async(request: Request) -> Response:
    return PlainTextResponse("answered", background=BackgroundTask(fail_async, request))


def before(connection: Any) -> Generator[Any, Any, Response]:
    raise boom(connection)
    yield connection


def after(connection: Any) -> Generator[Any, Any, Response]:
    yield connection
    raise boom(connection)


def in_call(connection: Any) -> Generator[Any, Any, Response]:
    yield Call(fail, connection)
    response: Response = yield connection
    return response


def closing(connection: Any) -> Generator[Any, Any, Response]:
    """Stand around all the others, and see that it is left in each case."""
    try:
        response: Response = yield connection
        return response
    finally:
        report("closed", token=connection.query_params["token"])


# What stands in the way


def block(request: SyncRequest) -> Response:
    """Stop the event loop, if this runs on one."""
    token = request.query_params["token"]
    report("blocking", token=token)
    wait_for_file(token)
    return PlainTextResponse("blocked")


async def block_async(request: Request) -> Response:
    return block(request)  # type: ignore[arg-type]  # as people do


# Uploads


def sizes_of(form: Any) -> dict[str, int]:
    return {name: file.size for name, file in form.items()}


def upload(request: SyncRequest) -> Response:
    with request.form() as form:
        return JSONResponse(sizes_of(form))


async def upload_async(request: Request) -> Response:
    async with request.form() as form:
        return JSONResponse(sizes_of(form))


async def spare_files(request: Request) -> Response:
    """Leave this process so many file descriptors, beside those that are open."""
    highest = max(map(int, os.listdir("/proc/self/fd")))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + int(request.query_params["number"]), hard))
    return PlainTextResponse("limited")


# Websockets


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    token = websocket.query_params["token"]
    try:
        async for text in websocket.iter_text():
            await websocket.send_text(text)
    finally:
        report("closed", token=token)


# What there is left of


async def counts(request: Request) -> Response:
    return JSONResponse(
        {
            "pid": os.getpid(),
            "tasks": len(asyncio.all_tasks()),
            # A server's own are no threads of Python's.
            "threads": sum(not isinstance(thread, threading._DummyThread) for thread in threading.enumerate()),
            "files": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
        }
    )


@contextlib.asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    report("startup")
    yield
    report("shutdown")


app = DualRoute(
    [
        Route("/", hello),
        Route("/async", hello_async),
        Route("/pause", pause),
        Route("/counts", counts),
        Mount(
            "/fail",
            routes=[
                Route("/handler/def", fail),
                Route("/handler/async", fail_async),
                Route("/stream/def", stream),
                Route("/stream/async", stream_async),
                Route("/background/def", background),
                Route("/background/async", background_async),
                Route("/before/def", hello, middleware=[before]),
                Route("/before/async", hello_async, middleware=[before]),
                Route("/after/def", hello, middleware=[after]),
                Route("/after/async", hello_async, middleware=[after]),
                Route("/call/def", hello, middleware=[in_call]),
                Route("/call/async", hello_async, middleware=[in_call]),
            ],
            middleware=[closing],
        ),
        Route("/block/def", block),
        Route("/block/async", block_async),
        Route("/held/def", held_sync),
        Route("/held/async", held),
        Route("/upload/def", upload, methods=["POST"]),
        Route("/upload/async", upload_async, methods=["POST"]),
        Route("/spare-files", spare_files, methods=["POST"]),
        WebSocketRoute("/talk", talk),
    ],
    lifespan=lifespan,
    max_threads=4,
    max_waiting=2,
)

# A process in which no file may be larger than this; writing on fails as on a disk that is full
if limit := os.environ.get("DUALROUTE_TEST_FILE_SIZE"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
