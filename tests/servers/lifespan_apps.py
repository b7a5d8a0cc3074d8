"""Apps with lifespans, for the server processes; a test says by a file that a start-up is to fail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from apps import report  # type: ignore[import-not-found]  # it is beside this one in the server's process

from dualroute import (
    DualRoute,
    JSONResponse,
    Mount,
    Request,
    Response,
    Route,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)

BROKEN = Path(os.environ.get("DUALROUTE_TEST_BROKEN", "/nowhere"))
HANGS = os.environ.get("DUALROUTE_TEST_HANGS", "")


@contextlib.asynccontextmanager
async def lifespan(app: DualRoute) -> AsyncIterator[dict[str, Any]]:
    if BROKEN.exists():
        report("failing")
        raise LookupError("no database here")
    report("startup", parent=os.getppid(), loop=id(asyncio.get_running_loop()))
    async with asyncio.TaskGroup() as group:  # which has to end in the task that it began in
        ticking = group.create_task(asyncio.Event().wait())
        yield {"started": os.getpid(), "loop": id(asyncio.get_running_loop())}
        ticking.cancel()
    if HANGS == "async":
        await asyncio.Event().wait()
    report("shutdown")


@contextlib.contextmanager
def plain(app: DualRoute) -> Iterator[dict[str, Any]]:
    report("plain-startup", thread=threading.current_thread().name)
    yield {"plain": os.getpid()}
    if HANGS == "plain":
        time.sleep(600)
    report("plain-shutdown")


def state(request: SyncRequest) -> Response:
    return JSONResponse({**request.state._state, "pid": os.getpid()})


async def state_async(request: Request) -> Response:
    here = id(asyncio.get_running_loop()) == request.state.loop
    return JSONResponse({**request.state._state, "pid": os.getpid(), "here": here})


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json({"started": websocket.state.started, "pid": os.getpid()})


app = DualRoute(
    [
        Route("/state", state),
        Route("/async", state_async),
        WebSocketRoute("/ws", talk),
        Mount("/in", DualRoute([Route("/state", state)], lifespan=plain)),
    ],
    lifespan=lifespan,
)


def hosted() -> Any:
    """Return a host that passes no lifespan on to what is mounted in it."""
    from starlette.applications import Starlette
    from starlette.routing import Mount as StarletteMount

    return Starlette(routes=[StarletteMount("/", app)])
