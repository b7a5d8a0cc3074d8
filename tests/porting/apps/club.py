"""A club's pages: who is signed in, by a session or by a password in the request; a chat; a picture for each member.

It is modelled on the pages of Starlette's documentation about authentication, middleware, sessions and websockets.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    UnauthenticatedUser,
    requires,
)
from starlette.background import BackgroundTask
from starlette.datastructures import MutableHeaders, UploadFile
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.exceptions import HTTPException, WebSocketException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.websockets import WebSocket, WebSocketDisconnect

PASSWORDS = {"ada": "engine", "grace": "moth"}
BOARD = {"grace"}


class Member(BaseUser):
    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def display_name(self) -> str:
        return self.name.title()

    @property
    def identity(self) -> str:
        return f"member:{self.name}"


def is_right(name: str, password: str) -> bool:
    return secrets.compare_digest(PASSWORDS.get(name, "").encode(), password.encode()) and name in PASSWORDS


class SessionOrPassword(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        name = conn.session.get("member")
        if name is None:
            if "Authorization" not in conn.headers:
                return None
            scheme, _, credentials = conn.headers["Authorization"].partition(" ")
            if scheme.lower() != "basic":
                return None
            try:
                name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
            except (ValueError, binascii.Error):
                raise AuthenticationError("These credentials can't be read") from None
            if not is_right(name, password):
                raise AuthenticationError(f"Wrong password for {name}")
        return AuthCredentials(["member", "board"] if name in BOARD else ["member"]), Member(name)


def refused(conn: HTTPConnection, exc: Exception) -> Response:
    return PlainTextResponse(str(exc), status_code=401, headers={"www-authenticate": 'Basic realm="club"'})


async def home(request: Request) -> Response:
    if isinstance(request.user, UnauthenticatedUser):
        return PlainTextResponse("Hello, stranger")
    return PlainTextResponse(f"Hello, {request.user.display_name} ({request.user.identity})")


class Login(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return HTMLResponse(f"<form method=post><input name=name><input name=password></form>{request.url.query}")

    async def post(self, request: Request) -> Response:
        form = await request.form()
        name, password = str(form.get("name", "")), str(form.get("password", ""))
        if not is_right(name, password):
            return HTMLResponse("<p>Try again</p>", status_code=403)
        request.session["member"] = name
        request.session.setdefault("visits", []).append(1)
        return RedirectResponse(request.query_params.get("next", "/"), status_code=303)


async def logout(request: Request) -> Response:
    request.session.clear()
    return RedirectResponse(request.url_for("home"), status_code=303)


async def visits(request: Request) -> Response:
    request.session["visits"] = [*request.session.get("visits", []), 1]
    return JSONResponse({"visits": len(request.session["visits"]), "scopes": request.auth.scopes})


@requires("member", redirect="login")
async def profile(request: Request) -> Response:
    return JSONResponse({"name": request.user.display_name, "scopes": request.auth.scopes})


@requires(["member", "board"])
def treasury(request: Request) -> Response:
    return PlainTextResponse("42 pounds, 10 shillings")


@requires("board", status_code=404)
async def vault(request: Request) -> Response:
    return PlainTextResponse("a moth")


class Picture(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        pictures: dict[str, tuple[str, bytes]] = request.app.state.pictures
        if request.path_params["name"] not in pictures:
            raise HTTPException(404, "no picture")
        kind, data = pictures[request.path_params["name"]]

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 4096):
                yield data[start : start + 4096]

        return StreamingResponse(pieces(), media_type=kind, headers={"content-length": str(len(data))})

    @requires("member")
    async def post(self, request: Request) -> Response:
        async with request.form() as form:
            upload = form["picture"]
            if not isinstance(upload, UploadFile):
                raise HTTPException(400, "a picture is a file")
            data = await upload.read()
            kind = upload.content_type or "application/octet-stream"
        request.app.state.pictures[request.path_params["name"]] = kind, data
        return JSONResponse({"name": upload.filename, "size": len(data)}, status_code=201)

    @requires("board")
    async def delete(self, request: Request) -> Response:
        del request.app.state.pictures[request.path_params["name"]]
        return Response(status_code=204)


async def post_letter(outbox: list[str], to: str, *, text: str) -> None:
    outbox.append(f"to {to}: {text}")


@requires("member")
async def write(request: Request) -> Response:
    letter = await request.json()
    task = BackgroundTask(post_letter, request.app.state.outbox, letter["to"], text=letter["text"])
    return JSONResponse({"posted": True}, status_code=202, background=task)


async def outbox(request: Request) -> Response:
    return JSONResponse(request.app.state.outbox)


async def minutes(request: Request) -> Response:
    response = PlainTextResponse("The chair opened the meeting. " * 50)
    headers: MutableHeaders = response.headers
    headers.setdefault("x-pages", "3")
    headers.append("vary", "Accept-Language")
    return response


async def minutes_as_read(request: Request) -> Response:
    def pieces() -> Any:
        for number in range(60):
            yield f"{number}. The chair read on.\n"

    return StreamingResponse(pieces(), media_type="text/plain")


class Chat(WebSocketEndpoint):
    encoding = "json"

    async def on_connect(self, websocket: WebSocket) -> None:
        if not websocket.user.is_authenticated:
            await websocket.close(WS_1008_POLICY_VIOLATION)
            return
        await websocket.accept(subprotocol="chat" if "chat" in websocket.scope["subprotocols"] else None)
        room = self.room_of(websocket)
        room.append(websocket)
        await self.tell(room, {"joined": websocket.user.display_name, "there": len(room)})

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        if data == {"do": "leave"}:
            await websocket.close(4000, "left")
            return
        await self.tell(self.room_of(websocket), {"from": websocket.user.display_name, "says": data})

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        room = self.room_of(websocket)
        if websocket in room:
            room.remove(websocket)
            await self.tell(room, {"gone": websocket.user.display_name, "code": close_code})

    def room_of(self, websocket: WebSocket) -> list[WebSocket]:
        rooms: dict[str, list[WebSocket]] = websocket.app.state.rooms
        return rooms.setdefault(websocket.path_params["room"], [])

    async def tell(self, room: list[WebSocket], what: dict[str, Any]) -> None:
        for member in list(room):
            await member.send_json(what)


@requires("member")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json({"path": websocket.url.path, "loud": websocket.query_params.get("loud")})
    try:
        while True:
            text = await websocket.receive_text()
            if text == "fail":
                raise WebSocketException(code=4001, reason="as you wish")
            await websocket.send_text(text.upper() if "loud" in websocket.query_params else text)
    except WebSocketDisconnect as gone:
        websocket.app.state.outbox.append(f"echo ended with {gone.code}")


async def count(websocket: WebSocket) -> None:
    await websocket.accept()
    async for data in websocket.iter_bytes():
        await websocket.send_bytes(len(data).to_bytes(2, "big"))


app = Starlette(
    routes=[
        Route("/", home, name="home"),
        Route("/login", Login, name="login"),
        Route("/logout", logout, methods=["POST"]),
        Route("/visits", visits),
        Route("/profile", profile),
        Route("/treasury", treasury),
        Route("/vault", vault),
        Route("/pictures/{name}", Picture),
        Route("/letters", write, methods=["POST"]),
        Route("/outbox", outbox),
        Mount("/minutes", routes=[Route("/", minutes), Route("/read", minutes_as_read)]),
        WebSocketRoute("/chat/{room}", Chat),
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/count", count),
    ],
    middleware=[
        Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "testserver", "*.club.test"]),
        Middleware(
            CORSMiddleware,
            allow_origins=["https://friends.test"],
            allow_origin_regex=r"https://.*\.club\.test",
            allow_methods=["GET", "POST"],
            allow_headers=["X-Letter"],
            allow_credentials=True,
            expose_headers=["X-Pages"],
            max_age=60,
        ),
        Middleware(
            SessionMiddleware, secret_key="not so secret", session_cookie="club", same_site="strict", max_age=900
        ),
        Middleware(AuthenticationMiddleware, backend=SessionOrPassword(), on_error=refused),
    ],
)
app.add_middleware(GZipMiddleware, minimum_size=500, compresslevel=6)
app.state.pictures = {}
app.state.outbox = []
app.state.rooms = {}
