"""A FastAPI app as one finds them, and the objects by which dualroute serves it."""

from __future__ import annotations

import asyncio
import gc
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    FastAPI,
    File,
    Form,
    HTTPException,
    Request,
    Response,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from dualroute import ASGIApp
from tests.frameworks.placing import in_all_places
from tests.servers.apps import report


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    report("startup")
    yield {"pool": "an open pool"}
    await asyncio.sleep(0)
    report("shutdown")


legacy = FastAPI(title="Legacy", lifespan=lifespan)
shop = APIRouter(prefix="/shop")


class Item(BaseModel):
    name: str
    price: float = 1.0


class OutOfStockError(Exception):
    pass


async def opened(token: str = "") -> AsyncIterator[str]:
    """Stand for a database session of an `async def` dependency."""
    report("opened", token=token)
    try:
        yield "a session"
    except HTTPException as error:
        report("rolled back", token=token, status=error.status_code)
        raise
    finally:
        report("closed", token=token)


def opened_in_a_thread(token: str = "") -> Iterator[str]:
    report("opened", token=token)
    try:
        yield "a session in a thread"
    finally:
        report("closed", token=token)


Session = Annotated[str, Depends(opened)]
ThreadSession = Annotated[str, Depends(opened_in_a_thread)]


@legacy.middleware("http")
async def mark(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers["x-legacy"] = "fastapi"
    return response


@legacy.exception_handler(OutOfStockError)
async def out_of_stock(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": f"{request.url.path}: out of stock"}, status_code=409)


@legacy.get("/")
async def index() -> str:
    return "the legacy index"


@shop.get("/items/{item_id}")
async def item(request: Request, item_id: int, q: str | None = None) -> dict[str, Any]:
    return {
        "id": item_id,
        "q": q,
        "here": str(request.url_for("item", item_id=item_id)),
        "url": str(request.url),
        "base_url": str(request.base_url),
        "root_path": request.scope["root_path"],
        "path": request.scope["path"],
        "client": request.client is not None,
        "pool": request.state.pool,
    }


@shop.get("/def")
def in_a_thread(request: Request) -> dict[str, Any]:
    return {"pool": request.state.pool, "here": request.url.path}


@shop.post("/items", status_code=201)
async def create(item: Item) -> Item:
    return item


@shop.get("/list/")
async def items() -> str:
    return "the list"


@shop.get("/sold-out")
async def sold_out() -> None:
    raise OutOfStockError


@legacy.get("/session")
async def session(session: Session) -> str:
    return session


@legacy.get("/thread-session")
def thread_session(session: ThreadSession) -> str:
    return session


@legacy.get("/session-refused")
async def session_refused(session: Session) -> str:
    raise HTTPException(403, "not you")


@legacy.post("/upload")
async def upload(file: Annotated[UploadFile, File()], note: Annotated[str, Form()]) -> dict[str, Any]:
    data = await file.read()
    return {"name": file.filename, "type": file.content_type, "size": len(data), "sha": digest(data), "note": note}


@legacy.put("/digest")
async def digest_body(request: Request) -> str:
    sha = hashlib.sha256()
    async for piece in request.stream():
        sha.update(piece)
    return sha.hexdigest()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@legacy.get("/background")
async def background(tasks: BackgroundTasks, token: str) -> str:
    tasks.add_task(report, "background", token=token)
    return "done, nearly"


@legacy.get("/stream")
async def stream(session: Session) -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        for number in range(5):
            yield f"{number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(pieces(), media_type="text/plain")


@legacy.get("/endless")
async def endless(token: str) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.005)
        finally:
            report("generator closed", token=token)

    return StreamingResponse(pieces(), media_type="text/plain")


@legacy.get("/collect")
async def collect() -> str:
    gc.collect()
    return "collected"


@legacy.get("/boom")
async def boom() -> None:
    raise LookupError("boom")


@legacy.websocket("/ws/{room}")
async def talk(websocket: WebSocket, room: str) -> None:
    await websocket.accept(subprotocol="chat" if "chat" in websocket.scope["subprotocols"] else None)
    try:
        await websocket.send_json(
            {
                "room": room,
                "url": str(websocket.url),
                "pool": websocket.state.pool,
                "q": websocket.query_params.get("q"),
            }
        )
        async for text in websocket.iter_text():
            if text == "close":
                await websocket.close(4001, "as told")
                break
            await websocket.send_text(f"echo {text}")
    except WebSocketDisconnect:
        pass
    finally:
        report("websocket ended", room=room)


legacy.include_router(shop)


straight = ASGIApp(legacy)
app = in_all_places(legacy)
