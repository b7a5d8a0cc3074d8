"""An app that says of each request everything by which it can be told from others, for server processes.

A middleware binds the request's token to a context variable and puts it into the state; each handler waits a moment, so
that others come in between, and then says what it finds.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextvars import ContextVar
from typing import Any

from dualroute import (
    DualRoute,
    JSONResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)
from dualroute.middleware import covers

own: ContextVar[str | None] = ContextVar("own", default=None)


@covers("http", "websocket")
def bind(connection: Any) -> Generator[Any, Any, Any]:
    """Bind the token of a request, and say in a header what was bound before, and what is in the end."""
    before, token = own.get(), connection.headers.get("x-token")
    own.set(token)
    connection.state.token = token
    response = yield connection
    if response is not None:
        response.headers["x-own"] = f"{before} {own.get()} {connection.state.token}"
    return response


def found(connection: Any, **further: Any) -> dict[str, Any]:
    """Return what a request shows of its token, by each way that there is."""
    return {
        "path": connection.path_params["token"],
        "query": connection.query_params["token"],
        "header": connection.headers["x-token"],
        "cookie": connection.cookies["token"],
        "context": own.get(),
        "state": connection.state.token,
        **further,
    }


def pause(connection: Any) -> float:
    return float(connection.query_params["pause"])


def plain(request: SyncRequest) -> Response:
    time.sleep(pause(request))
    return JSONResponse(found(request))


async def plain_async(request: Request) -> Response:
    await asyncio.sleep(pause(request))
    return JSONResponse(found(request))


def body(request: SyncRequest) -> Response:
    time.sleep(pause(request))
    return JSONResponse(found(request, body=request.text()))


async def body_async(request: Request) -> Response:
    await asyncio.sleep(pause(request))
    return JSONResponse(found(request, body=await request.text()))


def form(request: SyncRequest) -> Response:
    time.sleep(pause(request))
    return JSONResponse(found(request, body=request.form()["token"]))


async def form_async(request: Request) -> Response:
    token = (await request.form())["token"]
    await asyncio.sleep(pause(request))
    return JSONResponse(found(request, body=token))


def stream(request: SyncRequest) -> Response:
    def pieces() -> Iterator[str]:
        for _ in range(3):
            yield f"{own.get()} {request.state.token} "
            time.sleep(pause(request))

    return StreamingResponse(pieces(), media_type="text/plain")


async def stream_async(request: Request) -> Response:
    async def pieces() -> AsyncIterator[str]:
        for _ in range(3):
            yield f"{own.get()} {request.state.token} "
            await asyncio.sleep(pause(request))

    return StreamingResponse(pieces(), media_type="text/plain")


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await asyncio.sleep(pause(websocket))
        await websocket.send_json(found(websocket, body=text))


async def counts(request: Request) -> Response:
    """Count what must not pile up in this process."""
    gc.collect()
    _trim_memory()
    loops = [thing for thing in gc.get_objects() if isinstance(thing, asyncio.AbstractEventLoop)]
    return JSONResponse(
        {
            "pid": os.getpid(),
            "tasks": len(asyncio.all_tasks()),
            "loops": sum(not loop.is_closed() for loop in loops),
            # A server's own are no threads of Python's.
            "threads": sum(not isinstance(thread, threading._DummyThread) for thread in threading.enumerate()),
            "files": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
            "memory": _memory(),
        }
    )


async def tasks(request: Request) -> Response:
    """Tell what each task waits for: the functions that it is in, the outermost first."""

    def inside(task: asyncio.Task[Any]) -> Iterator[str]:
        coroutine: Any = task.get_coro()
        while coroutine is not None:
            yield getattr(coroutine, "__qualname__", type(coroutine).__name__)
            coroutine = getattr(coroutine, "cr_await", None)

    return JSONResponse([" > ".join(inside(task)) for task in asyncio.all_tasks()])


def _memory() -> int:
    """Return how many bytes of memory this process has filled, as far as the system tells.

    Pages of program files are left out: they come and go as the machine has room for them.
    """
    try:
        with open("/proc/self/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Anonymous:"))
    except OSError:
        return 0


def _trim_memory() -> None:
    """Have the allocator give back what it keeps for later, where it is glibc's: that is not what grows."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        pass


app = DualRoute(
    [
        Route("/counts", counts),
        Route("/tasks", tasks),
        Route("/plain/def/{token}", plain),
        Route("/plain/async/{token}", plain_async),
        Route("/body/def/{token}", body, methods=["POST"]),
        Route("/body/async/{token}", body_async, methods=["POST"]),
        Route("/form/def/{token}", form, methods=["POST"]),
        Route("/form/async/{token}", form_async, methods=["POST"]),
        Route("/stream/def/{token}", stream),
        Route("/stream/async/{token}", stream_async),
        WebSocketRoute("/talk/{token}", talk),
    ],
    middleware=[bind],
    max_threads=8,
)
