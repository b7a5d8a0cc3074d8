"""Chat: an HTTPEndpoint hands over the page of a room, a WebSocketEndpoint serves those who are in it.

    dualroute run docs/examples/chat/main.py

Open the ASGI address in two tabs and talk.  The WSGI address has the same page, which says there that websockets need
another server.  From docs/examples, ``uvicorn chat.main:app`` serves it as well.

Who is in a room is known to one process.  For several workers see docs/how-to/websocket-fan-out.md.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from dualroute import (
    DualRoute,
    HTMLResponse,
    HTTPEndpoint,
    JSONResponse,
    Limits,
    RedirectResponse,
    Request,
    Response,
    Route,
    SyncRequest,
    WebSocket,
    WebSocketEndpoint,
    WebSocketException,
    WebSocketRoute,
    check_origin,
)
from dualroute.exceptions import WebSocketDisconnect

PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
MAX_NAME = 40  # characters
MAX_TEXT = 2_000  # characters


class Member:
    """Someone in a room.  What they are told is sent by a task of their own, so that nobody waits for anybody."""

    def __init__(self, websocket: WebSocket, name: str) -> None:
        self.name = name
        self._outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue(100)
        self._sending = asyncio.create_task(self._send(websocket))

    def tell(self, message: dict[str, Any]) -> None:
        if self._outbox.full():  # they do not read: the oldest message is lost to them
            self._outbox.get_nowait()
        self._outbox.put_nowait(message)

    def leave(self) -> None:
        self._sending.cancel()

    async def _send(self, websocket: WebSocket) -> None:
        with suppress(WebSocketDisconnect):  # they are gone, which on_disconnect is about to be told
            while True:
                await websocket.send_json(await self._outbox.get())


# Only code on the one event loop of the process touches these, so they need no lock.
rooms: dict[str, list[Member]] = {}


def tell(room: str, **message: Any) -> None:
    """Tell everybody in a room, and who is in it."""
    members = rooms.get(room, [])
    for member in members:
        member.tell({**message, "here": sorted(member.name for member in members)})


class Lobby(HTTPEndpoint):
    def get(self, request: SyncRequest) -> Response:
        return RedirectResponse(request.url_for("room", room="lobby"))


class Room(HTTPEndpoint):
    """The page, the same for all rooms."""

    async def get(self, request: Request) -> Response:
        return HTMLResponse(PAGE)


class Live(HTTPEndpoint):
    """What the page asks where its websocket could not be opened: whether there are any at this address."""

    async def get(self, request: Request) -> Response:
        # A request that came by WSGI has an environ; where it came by ASGI there are websockets.
        return JSONResponse({"websockets": request.environ is None}, headers={"cache-control": "no-store"})


class Talk(WebSocketEndpoint):
    """One member's session.  Each session has an instance of its own."""

    encoding = "json"

    async def on_connect(self, websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        name = websocket.query_params.get("name", "").strip()
        if not 0 < len(name) <= MAX_NAME:
            # After the acceptance, since a page is not told why a handshake was refused.
            await websocket.close(4000, f"A name has 1 to {MAX_NAME} characters.")
            return  # on_receive and on_disconnect are not called then
        self.room = room
        self.member = Member(websocket, name)
        rooms.setdefault(room, []).append(self.member)
        tell(room, joined=name)

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        text = data.get("say") if isinstance(data, dict) else None
        if not isinstance(text, str) or not 0 < len(text.strip()) <= MAX_TEXT:
            raise WebSocketException(1008, f"A message has 1 to {MAX_TEXT} characters.")
        tell(self.room, name=self.member.name, said=text)

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        members = rooms[self.room]
        members.remove(self.member)
        if not members:
            del rooms[self.room]
        self.member.leave()
        tell(self.room, left=self.member.name)


app = DualRoute(
    [
        Route("/", Lobby),
        Route("/rooms/{room}", Room, name="room"),
        Route("/rooms/{room}/live", Live),
        # One path for both: a handshake goes to the websocket, any other request to the route before.
        WebSocketRoute(
            "/rooms/{room}/live",
            Talk,
            middleware=[check_origin()],  # or the pages of any other site could talk in the name of a visitor
            limits=Limits(max_message_size=16 * 1024),
        ),
    ]
)
