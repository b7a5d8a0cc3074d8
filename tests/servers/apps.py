"""What all the servers serve: one app object, and a few smaller ones.  Nothing here knows which server it is under.

It is imported by the server processes, as `apps`.  A test and its process share a folder (its name is in the
environment): the app writes there what it has seen, one JSON object to a line, and waits for files that the test makes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from dualroute import (
    ClientDisconnect,
    DualRoute,
    HTMLResponse,
    HTTPEndpoint,
    HTTPException,
    JSONResponse,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    StreamingResponse,
    SyncRequest,
    WebSocket,
    WebSocketEndpoint,
    WebSocketRoute,
)

FOLDER = Path(os.environ.get("DUALROUTE_TEST_FOLDER", "."))
PATIENCE = 25.0
"""How many seconds a handler waits for a file, which is more than a test ever takes to make it."""

MIB = 1024 * 1024


def report(kind: str, **fields: Any) -> None:
    """Tell the test.  One write in append mode, so that the lines of several processes stay whole."""
    line = json.dumps({"kind": kind, "pid": os.getpid(), **fields}) + "\n"
    with open(FOLDER / "events", "ab", buffering=0) as file:
        file.write(line.encode())


class _Reporter(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        traceback = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        report("log", logger=record.name, level=record.levelname, message=record.getMessage(), traceback=traceback)


logging.basicConfig()  # for the eyes; servers that have set up the root logger keep what they have
logging.getLogger("dualroute").addHandler(_Reporter())
logging.getLogger("dualroute").setLevel(logging.INFO)


def wait_for_file(name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (FOLDER / name).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the test has not made {name}")
        time.sleep(0.01)


async def await_file(name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (FOLDER / name).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the test has not made {name}")
        await asyncio.sleep(0.01)


# Answers at once


def hello(request: SyncRequest) -> Response:
    return PlainTextResponse("hello from a def")


async def hello_async(request: Request) -> Response:
    return PlainTextResponse("hello from an async def")


class Verbs(HTTPEndpoint):
    """Every verb but HEAD and OPTIONS, in both colours."""

    def get(self, request: SyncRequest) -> Response:
        return PlainTextResponse("GET")

    async def post(self, request: Request) -> Response:
        return PlainTextResponse("POST " + (await request.text()))

    def put(self, request: SyncRequest) -> Response:
        return PlainTextResponse("PUT " + request.text())

    async def patch(self, request: Request) -> Response:
        return PlainTextResponse("PATCH " + (await request.text()))

    def delete(self, request: SyncRequest) -> Response:
        return PlainTextResponse("DELETE")

    async def query(self, request: Request) -> Response:
        return PlainTextResponse("QUERY " + (await request.text()))


class OwnHeadAndOptions(HTTPEndpoint):
    def head(self, request: SyncRequest) -> Response:
        return Response(headers={"x-answered-by": "head", "content-length": "12"})

    async def options(self, request: Request) -> Response:
        return PlainTextResponse("options", headers={"x-answered-by": "options"})


def user(request: SyncRequest, user_id: int, name: str) -> Response:
    return JSONResponse({"user_id": user_id, "name": name, "path": request.path})


async def rest_of_path(request: Request) -> Response:
    return JSONResponse({"rest": request.path_params["rest"], "path": request.path, "url": str(request.url)})


def query(request: SyncRequest) -> Response:
    return JSONResponse([[key, value] for key, value in request.query_params.multi_items()])


async def headers(request: Request) -> Response:
    return JSONResponse(dict(request.headers.items()))


def about(request: SyncRequest) -> Response:
    return JSONResponse(
        {
            "protocol": "asgi" if request.environ is None else "wsgi",
            "method": request.method,
            "url": str(request.url),
            "base_url": str(request.base_url),
            "root_path": request.root_path,
            "path": request.path,
            "host": request.url.hostname,
            "client": request.client.host if request.client else None,
            "user_url": str(request.url_for("user", user_id=7, name="ü")),
            "inner_url": str(request.url_for("inner:about")),
            "socket_url": str(request.url_for("echo_text", room="a")),
        }
    )


def cookies(request: SyncRequest) -> Response:
    response = JSONResponse(request.cookies)
    response.set_cookie("first", "1", httponly=True)
    response.set_cookie("second", "zwei, 2; zwo")
    response.delete_cookie("third")
    return response


def page(request: SyncRequest) -> Response:
    return HTMLResponse("<p>Grüße</p>", headers={"x-latin": "caf\xe9", "X-Mixed-Case": "yes"})


def no_content(request: SyncRequest) -> Response:
    return Response(status_code=204)


async def not_modified(request: Request) -> Response:
    return Response("not to be sent", status_code=304, headers={"etag": '"x"'})


def odd_status(request: SyncRequest) -> Response:
    return PlainTextResponse("odd", status_code=int(request.query_params["status"]))


# Bodies


async def echo_json(request: Request) -> Response:
    return JSONResponse(await request.json())


def echo_json_sync(request: SyncRequest) -> Response:
    return JSONResponse(request.json())


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


def echo_sync(request: SyncRequest) -> Response:
    return Response(request.body(), media_type="application/octet-stream")


def _digest(digest: Any, size: int) -> Response:
    return JSONResponse({"size": size, "sha256": digest.hexdigest()})


async def digest(request: Request) -> Response:
    seen, size = hashlib.sha256(), 0
    async for piece in request.stream():
        seen.update(piece)
        size += len(piece)
    return _digest(seen, size)


def digest_sync(request: SyncRequest) -> Response:
    seen, size = hashlib.sha256(), 0
    for piece in request.stream():
        seen.update(piece)
        size += len(piece)
    return _digest(seen, size)


async def upload(request: Request) -> Response:
    """Report what came of the body, and how it ended."""
    token, size = request.query_params["token"], 0
    report("upload began", token=token)
    try:
        async for piece in request.stream():
            size += len(piece)
            report("upload piece", token=token, size=size)
    except BaseException as error:
        report("upload", token=token, size=size, error=type(error).__name__)
        raise
    report("upload", token=token, size=size, error=None)
    return PlainTextResponse(str(size))


def upload_sync(request: SyncRequest) -> Response:
    token, size = request.query_params["token"], 0
    report("upload began", token=token)
    try:
        for piece in request.stream():
            size += len(piece)
            report("upload piece", token=token, size=size)
    except BaseException as error:
        report("upload", token=token, size=size, error=type(error).__name__)
        raise
    report("upload", token=token, size=size, error=None)
    return PlainTextResponse(str(size))


async def recovers(request: Request) -> Response:
    """Answer in any case: a client that closed only its own side can read it."""
    try:
        await request.body()
    except ClientDisconnect:
        return PlainTextResponse("the body was cut short")
    return PlainTextResponse("the body came whole")


def large(request: SyncRequest) -> Response:
    return Response(bytes(8 * MIB), media_type="application/octet-stream")


def large_stream(request: SyncRequest) -> Response:
    return StreamingResponse((bytes(MIB // 4) for _ in range(32)), media_type="application/octet-stream")


async def large_stream_async(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield bytes(MIB // 4)

    return StreamingResponse(pieces(), media_type="application/octet-stream")


# Streams


def held_stream(request: SyncRequest) -> Response:
    token = request.query_params["token"]

    def pieces() -> Iterator[str]:
        yield "first,"
        wait_for_file(token)
        yield "second"

    return StreamingResponse(pieces(), media_type="text/plain")


async def held_stream_async(request: Request) -> Response:
    token = request.query_params["token"]

    async def pieces() -> AsyncIterator[str]:
        yield "first,"
        await await_file(token)
        yield "second"

    return StreamingResponse(pieces(), media_type="text/plain")


_T = TypeVar("_T")

_kept: list[Any] = []


def kept(pieces: _T) -> _T:
    """Return an iterator, and hold it: so it ends by being closed, and not by being forgotten."""
    _kept.append(pieces)
    return pieces


def endless(request: SyncRequest) -> Response:
    """Go on until closed, and say so."""
    token = request.query_params["token"]

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(65_536)
                time.sleep(0.001)
        finally:
            report("closed", token=token)

    return StreamingResponse(kept(pieces()), media_type="application/octet-stream")


async def endless_async(request: Request) -> Response:
    token = request.query_params["token"]

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(65_536)
                await asyncio.sleep(0.001)
        finally:
            report("closed", token=token)

    return StreamingResponse(kept(pieces()), media_type="application/octet-stream")


async def waiting_async(request: Request) -> Response:
    """Send one piece and wait: a server that tells of a client that goes meanwhile has this cancelled."""
    token = request.query_params["token"]

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await await_file(f"never-{token}")
        finally:
            report("closed", token=token)

    return StreamingResponse(pieces(), media_type="application/octet-stream")


# Errors


class Boom(Exception):
    """Raised by handlers; its text must reach the log and never the client."""


def fail(request: SyncRequest) -> Response:
    raise Boom(f"secret-{request.query_params['token']}")


async def fail_async(request: Request) -> Response:
    raise Boom(f"secret-{request.query_params['token']}")


def refuse(request: SyncRequest) -> Response:
    raise HTTPException(418, "short and stout", headers={"x-tea": "pot"})


def fail_at_once(request: SyncRequest) -> Response:
    """Fail before the first piece of the body."""
    token = request.query_params["token"]

    def pieces() -> Iterator[bytes]:
        raise Boom(f"secret-{token}")
        yield b""

    return StreamingResponse(pieces())


def fail_later(request: SyncRequest) -> Response:
    """Fail after the first piece of the body."""
    token = request.query_params["token"]

    def pieces() -> Iterator[bytes]:
        yield b"first"
        wait_for_file(token)
        raise Boom(f"secret-{token}")

    return StreamingResponse(pieces())


async def fail_later_async(request: Request) -> Response:
    token = request.query_params["token"]

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await await_file(token)
        raise Boom(f"secret-{token}")

    return StreamingResponse(pieces())


def fail_with_length(request: SyncRequest) -> Response:
    """Announce ten bytes, and fail after five."""
    token = request.query_params["token"]

    def pieces() -> Iterator[bytes]:
        yield b"first"
        wait_for_file(token)
        raise Boom(f"secret-{token}")

    return StreamingResponse(pieces(), headers={"content-length": "10"})


# One request beside another

own_token: ContextVar[str | None] = ContextVar("own_token", default=None)


def bind_token(connection: Any) -> Generator[Any, Any, Response]:
    """Bind a context variable, and put what it is bound to in the end into a header."""
    found = own_token.get()
    own_token.set(connection.headers.get("x-token"))
    response: Response = yield connection
    response.headers["x-context"] = f"{found} {own_token.get()}"
    return response


def pause(request: Request | SyncRequest) -> float:
    return float(request.query_params.get("pause", "0"))


def context(request: SyncRequest) -> Response:
    seen = own_token.get()
    own_token.set(f"{seen}-handled")
    time.sleep(pause(request))
    return PlainTextResponse(f"{seen} {own_token.get()}")


async def context_async(request: Request) -> Response:
    seen = own_token.get()
    own_token.set(f"{seen}-handled")
    await asyncio.sleep(pause(request))
    return PlainTextResponse(f"{seen} {own_token.get()}")


def context_stream(request: SyncRequest) -> Response:
    def pieces() -> Iterator[str]:
        for _ in range(3):
            yield f"{own_token.get()} "
            time.sleep(pause(request))

    return StreamingResponse(pieces())


async def context_body(request: Request) -> Response:
    body = await request.text()
    return PlainTextResponse(f"{own_token.get()} {body}")


async def held(request: Request) -> Response:
    token = request.query_params["token"]
    report("held", token=token)
    await await_file(token)
    return PlainTextResponse("released")


def held_sync(request: SyncRequest) -> Response:
    token = request.query_params["token"]
    report("held", token=token)
    wait_for_file(token)
    return PlainTextResponse("released")


tasks: set[asyncio.Task[None]] = set()


async def loop(request: Request) -> Response:
    """Tell which loop this runs on."""
    return JSONResponse({"pid": os.getpid(), "loop": id(asyncio.get_running_loop()), "thread": threading.get_ident()})


async def background(request: Request) -> Response:
    """Start a task that goes on after the response."""
    token = request.query_params["token"]

    async def go_on() -> None:
        await await_file(token)
        report("background", token=token, loop=id(asyncio.get_running_loop()))

    task = asyncio.create_task(go_on())
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return PlainTextResponse("started")


def process(request: SyncRequest) -> Response:
    return JSONResponse({"pid": os.getpid(), "parent": os.getppid()})


# Websockets


class EchoText(WebSocketEndpoint):
    encoding = "text"

    async def on_connect(self, websocket: WebSocket, **path_params: Any) -> None:
        await websocket.accept()
        await websocket.send_text(f"room {path_params['room']}")

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_text(f"echo {data}")

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        report("disconnect", room=websocket.path_params["room"], code=close_code)


class EchoBytes(WebSocketEndpoint):
    encoding = "bytes"

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_bytes(data[::-1])


class EchoJSON(WebSocketEndpoint):
    encoding = "json"

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_json({"echo": data})


async def ws_number(websocket: WebSocket, number: int) -> None:
    await websocket.accept()
    await websocket.send_json({"number": number, "path": websocket.path, "query": dict(websocket.query_params)})
    await websocket.close(4000 + number, "grüß dich")


async def ws_protocol(websocket: WebSocket) -> None:
    offered = websocket.subprotocols
    await websocket.accept(subprotocol="beta" if "beta" in offered else None, headers={"x-extra": "yes"})
    await websocket.send_json(offered)
    # The one who reads last sees the other's close frame.
    with contextlib.suppress(Exception):
        await websocket.receive_text()


async def ws_refuse(websocket: WebSocket) -> None:
    await websocket.close()


async def ws_forbid(websocket: WebSocket) -> None:
    raise HTTPException(401, "who are you?")


async def ws_fail(websocket: WebSocket) -> None:
    await websocket.accept()
    raise Boom(f"secret-{websocket.query_params['token']}")


async def ws_fail_early(websocket: WebSocket) -> None:
    raise Boom(f"secret-{websocket.query_params['token']}")


app = DualRoute(
    routes=[
        Route("/", hello),
        Route("/async", hello_async),
        Route("/verbs", Verbs),
        Route("/own", OwnHeadAndOptions),
        Route("/users/{user_id:int}/{name}", user, name="user"),
        Route("/größe/{rest:path}", rest_of_path),
        Route("/rest/{rest:path}", rest_of_path),
        Route("/query", query),
        Route("/headers", headers),
        Route("/about", about),
        Mount("/inner", routes=[Route("/about", about, name="about")], name="inner"),
        Route("/cookies", cookies),
        Route("/page", page),
        Route("/no-content", no_content, methods=["GET", "DELETE"]),
        Route("/not-modified", not_modified),
        Route("/odd-status", odd_status),
        Route("/without-slash", hello),
        Route("/with-slash/", hello),
        Route("/echo/json/async", echo_json, methods=["POST"]),
        Route("/echo/json/def", echo_json_sync, methods=["POST"]),
        Route("/echo/async", echo, methods=["POST"]),
        Route("/echo/def", echo_sync, methods=["POST"]),
        Route("/digest/async", digest, methods=["POST"]),
        Route("/digest/def", digest_sync, methods=["POST"]),
        Route("/upload/async", upload, methods=["POST"]),
        Route("/upload/def", upload_sync, methods=["POST"]),
        Route("/recovers", recovers, methods=["POST"]),
        Route("/ignores", hello, methods=["POST"]),
        Route("/large/body", large),
        Route("/large/def", large_stream),
        Route("/large/async", large_stream_async),
        Route("/held-stream/def", held_stream),
        Route("/held-stream/async", held_stream_async),
        Route("/endless/def", endless),
        Route("/endless/async", endless_async),
        Route("/waiting", waiting_async),
        Route("/fail/def", fail),
        Route("/fail/async", fail_async),
        Route("/fail/at-once", fail_at_once),
        Route("/fail/later/def", fail_later),
        Route("/fail/later/async", fail_later_async),
        Route("/fail/later/length", fail_with_length),
        Route("/refuse", refuse),
        Route("/context/def", context, middleware=[bind_token]),
        Route("/context/async", context_async, middleware=[bind_token]),
        Route("/context/stream", context_stream, middleware=[bind_token]),
        Route("/context/body", context_body, methods=["POST"], middleware=[bind_token]),
        Route("/held/async", held),
        Route("/held/def", held_sync),
        Route("/loop", loop),
        Route("/background", background),
        Route("/process", process),
        WebSocketRoute("/ws/text/{room}", EchoText, name="echo_text"),
        WebSocketRoute("/ws/bytes", EchoBytes),
        WebSocketRoute("/ws/json", EchoJSON),
        WebSocketRoute("/ws/number/{number:int}", ws_number),
        WebSocketRoute("/ws/protocol", ws_protocol),
        WebSocketRoute("/ws/refuse", ws_refuse),
        WebSocketRoute("/ws/forbid", ws_forbid),
        WebSocketRoute("/ws/fail", ws_fail),
        WebSocketRoute("/ws/fail-early", ws_fail_early),
    ]
)

# Apps of other kinds

router = Router(
    [
        Route("/", hello),
        Route("/async", hello_async),
        Route("/users/{user_id:int}/{name}", user, name="user"),
        WebSocketRoute("/ws/bytes", EchoBytes),
    ]
)

route = Route("/", hello)

response = PlainTextResponse("always this")
