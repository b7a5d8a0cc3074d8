"""A Starlette app as one finds them, and the objects by which dualroute serves it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Mount as StarletteMount
from starlette.routing import Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from dualroute import ASGIApp
from tests.frameworks.placing import in_all_places
from tests.servers.apps import FOLDER, report

PAYLOAD = bytes(range(256)) * 1000
Path(FOLDER, "files").mkdir(exist_ok=True)
Path(FOLDER, "files", "payload.bin").write_bytes(PAYLOAD)


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    report("startup")
    yield {"pool": "an open pool"}
    report("shutdown")


async def index(request: Request) -> PlainTextResponse:
    return PlainTextResponse("the legacy index")


class Item(HTTPEndpoint):
    async def get(self, request: Request) -> JSONResponse:
        return JSONResponse(
            {
                "id": request.path_params["item_id"],
                "here": str(request.url_for("shop:item", item_id=7)),
                "file": str(request.url_for("files", path="/payload.bin")),
                "url": str(request.url),
                "root_path": request.scope["root_path"],
                "pool": request.state.pool,
                "q": request.query_params.getlist("q"),
            }
        )


def in_a_thread(request: Request) -> PlainTextResponse:
    return PlainTextResponse("from a thread")


async def leave(request: Request) -> RedirectResponse:
    return RedirectResponse(request.url_for("index"), status_code=303)


async def digest(request: Request) -> PlainTextResponse:
    return PlainTextResponse(hashlib.sha256(await request.body()).hexdigest())


async def stream(request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(5):
            await asyncio.sleep(0)
            yield b"%d\n" % number

    return StreamingResponse(pieces(), media_type="text/plain")


async def download(request: Request) -> FileResponse:
    return FileResponse(FOLDER / "files" / "payload.bin")


async def compressed(request: Request) -> PlainTextResponse:
    return PlainTextResponse("again and " * 1000)


async def boom(request: Request) -> PlainTextResponse:
    raise LookupError("boom")


async def not_found(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse(f"the legacy app has no {request.url.path}", status_code=404)


async def talk(websocket: WebSocket) -> None:
    if websocket.path_params["room"] == "closed":
        await websocket.close(4003)
        return
    await websocket.accept()
    await websocket.send_json({"pool": websocket.state.pool, "url": str(websocket.url)})
    async for data in websocket.iter_bytes():
        await websocket.send_bytes(data[::-1])
    report("websocket ended", room=websocket.path_params["room"])


legacy = Starlette(
    routes=[
        Route("/", index, name="index"),
        StarletteMount(
            "/shop", name="shop", routes=[Route("/items/{item_id:int}", Item, name="item"), Route("/def", in_a_thread)]
        ),
        Route("/leave", leave, methods=["POST"]),
        Route("/digest", digest, methods=["PUT"]),
        Route("/stream", stream),
        Route("/download", download),
        Route("/boom", boom),
        StarletteMount(
            "/zip",
            routes=[Route("/", compressed)],
            middleware=[Middleware(GZipMiddleware)],
        ),
        StarletteMount("/files", app=StaticFiles(directory=FOLDER / "files"), name="files"),
        WebSocketRoute("/ws/{room}", talk),
    ],
    exception_handlers={404: not_found},
    lifespan=lifespan,
)

straight = ASGIApp(legacy)
app = in_all_places(legacy)
