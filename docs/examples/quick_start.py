"""Quick start: one `app`, any server.

    dualroute run docs/examples/quick_start.py

serves it by uvicorn and by gunicorn at once.  From within this folder each of them takes it by itself as well:
``uvicorn quick_start:app``, ``gunicorn quick_start:app``.
"""

import asyncio

from dualroute import (
    DualRoute,
    HTTPEndpoint,
    JSONResponse,
    PlainTextResponse,
    Request,
    Response,
    Route,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)


def home(request: SyncRequest) -> Response:
    """A `def` gets a SyncRequest: nothing in it has to be awaited."""
    return PlainTextResponse(f"Hello from {request.url}\n")


async def pause(request: Request, seconds: float) -> Response:
    """An `async def` gets a Request, and may await."""
    await asyncio.sleep(min(seconds, 1))
    return PlainTextResponse("Done.\n")


class Greeting(HTTPEndpoint):
    """A method for each HTTP method, of either colour."""

    async def get(self, request: Request, name: str) -> Response:
        return JSONResponse({"hello": name})

    def post(self, request: SyncRequest, name: str) -> Response:
        return JSONResponse({"hello": name, "told": request.json()}, status_code=201)


async def echo(websocket: WebSocket) -> None:
    """Websockets need an ASGI server; a WSGI server answers the handshake 501."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


app = DualRoute(
    [
        Route("/", home),
        Route("/pause/{seconds:float}", pause),
        Route("/greetings/{name}", Greeting),
        WebSocketRoute("/echo", echo),
    ]
)
