"""A plain WSGI app and a plain ASGI app, and what mounts them; imported by the server processes, as `mounted_apps`.

The two do the same under the same names.  Each tells the test when a response of its has come to its end, and how:
the WSGI app when `close()` is called, the ASGI app when it ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

from apps import FOLDER, Boom, await_file, report, wait_for_file  # type: ignore[import-not-found]  # it stands beside this file

from dualroute import ASGIApp, DualRoute, JSONResponse, Mount, Request, Response, Route, WSGIApp

CHUNK = 65_536
"""How many bytes a piece of a body has."""

_KINDS = 251
_BLOCK = os.urandom(CHUNK + _KINDS)


def pieces(size: int) -> Iterator[bytes]:
    """Yield `size` bytes, each piece in memory of its own."""
    for index in range(0, size, CHUNK):
        start = index // CHUNK % _KINDS
        yield _BLOCK[start : start + min(CHUNK, size - index)]


class _Counts:
    """How many threads are inside the WSGI app, and how many were at most since that was last asked."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.peak = 0
        self.opened = 0
        self.closed = 0


counts = _Counts()


@contextmanager
def _inside() -> Iterator[None]:
    with counts.lock:
        counts.inside += 1
        counts.peak = max(counts.peak, counts.inside)
    try:
        yield
    finally:
        with counts.lock:
            counts.inside -= 1


# The WSGI app


class Body:
    """The body of a response, which takes `closing` seconds to close and says when it is closed."""

    def __init__(self, token: str | None, source: Iterator[bytes], closing: float = 0) -> None:
        self._token = token
        self._source = source
        self._closing = closing
        with counts.lock:
            counts.opened += 1

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with _inside():
            return next(self._source)

    def close(self) -> None:
        time.sleep(self._closing)
        with counts.lock:
            counts.closed += 1
        if self._token is not None:
            report("closed", token=self._token, how="close")


def _endless() -> Iterator[bytes]:
    for piece in pieces(1 << 50):
        yield piece
        time.sleep(0.001)


def _held(token: str) -> Iterator[bytes]:
    yield b"first,"
    wait_for_file(token)
    yield b"second"


def _fails(token: str) -> Iterator[bytes]:
    yield b"first"
    wait_for_file(token)
    raise Boom(f"secret-{token}")


def _read(environ: dict[str, Any], token: str | None) -> Iterator[bytes]:
    """Yield the request's body to its end, and report how it ended."""
    if token is not None:
        report("upload began", token=token)
    size = 0
    error = None
    try:
        while piece := environ["wsgi.input"].read(CHUNK):
            size += len(piece)
            yield piece
    except OSError as failure:
        error = "OSError"
        raise failure
    finally:
        if token is not None:
            report("upload", token=token, size=size, error=error)


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Do what the last part of the path names."""
    with _inside():
        query = {name: values[-1] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
        token = query.get("token", "")
        headers = [("Content-Type", "application/octet-stream")]
        size = query.get("size", "0")
        body: list[bytes] | Iterator[bytes]
        match environ["PATH_INFO"].rpartition("/")[2]:
            case "hello":
                body = [json.dumps({"inside": counts.inside, "pid": os.getpid()}).encode()]
            case "download":
                headers.append(("Content-Length", size))
                body = Body(query.get("token"), pieces(int(size)))
            case "endless":
                body = Body(token, _endless())
            case "tidy":
                body = Body(token, _endless(), closing=0.3)
            case "held":
                body = Body(token, _held(token))
            case "fail":
                if "length" in query:
                    headers.append(("Content-Length", query["length"]))
                body = Body(token, _fails(token))
            case "upload":
                time.sleep(float(query.get("pause", "0")))
                total = sum(map(len, _read(environ, query.get("token"))))
                body = [str(total).encode()]
            case "pipe":
                body = Body(token, _read(environ, token))
            case other:
                raise LookupError(other)
        if isinstance(body, list):
            headers.append(("Content-Length", str(sum(map(len, body)))))
        start_response("200 OK", headers)
        return body


# The ASGI app


async def _answer(send: Any, body: bytes) -> None:
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _begin(send: Any, length: str | None = None) -> None:
    headers = [(b"content-type", b"application/octet-stream")]
    if length is not None:
        headers.append((b"content-length", length.encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _more(send: Any, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


class _Gone(Exception):
    """The application has seen http.disconnect."""


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _Gone


async def _send_on(send: Any, token: str) -> None:
    for piece in pieces(1 << 50):
        await _more(send, piece)
        await asyncio.sleep(0.001)
        if (FOLDER / token).exists():  # the test has seen enough
            break


async def _send_while_there(receive: Any, send: Any, token: str) -> None:
    """Send on, and look out for http.disconnect meanwhile, as frameworks do."""
    looking = asyncio.ensure_future(_until_gone(receive))
    sending = asyncio.ensure_future(_send_on(send, token))
    try:
        done, _ = await asyncio.wait([looking, sending], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        for task in (looking, sending):
            task.cancel()
        await asyncio.gather(looking, sending, return_exceptions=True)


async def _receive_all(receive: Any, token: str | None) -> AsyncIterator[bytes]:
    """Yield the request's body to its end, and report how it ended."""
    if token is not None:
        report("upload began", token=token)
    size = 0
    error: str | None = "cancelled"
    try:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                error = "http.disconnect"
                raise _Gone
            size += len(message["body"])
            more = message.get("more_body", False)
            if message["body"]:
                yield message["body"]
        error = None
    finally:
        if token is not None:
            report("upload", token=token, size=size, error=error)


async def _respond(name: str, query: dict[str, str], receive: Any, send: Any) -> None:
    token = query.get("token", "")
    match name:
        case "hello":
            await _answer(send, json.dumps({"pid": os.getpid()}).encode())
        case "download":
            await _begin(send, query["size"])
            for piece in pieces(int(query["size"])):
                await _more(send, piece)
            await send({"type": "http.response.body"})
        case "endless":
            await _begin(send)
            await _send_while_there(receive, send, token)
        case "sleeper":
            await _begin(send)
            await _more(send, b"first")
            await await_file(token)
            for piece in pieces(2 * CHUNK):
                await _more(send, piece)
            await await_file(f"never-{token}")
        case "tidy":
            await _begin(send)
            try:
                await _send_while_there(receive, send, token)
            finally:
                await asyncio.sleep(0.3)
        case "sender":
            await _begin(send)
            await _send_on(send, token)
        case "patient":
            report("waiting", token=token)
            await _until_gone(receive)
        case "waiting":
            await _begin(send)
            await _more(send, b"first")
            await _until_gone(receive)
        case "held":
            await _begin(send)
            await _more(send, b"first,")
            await await_file(token)
            await send({"type": "http.response.body", "body": b"second"})
        case "fail":
            await _begin(send, query.get("length"))
            await _more(send, b"first")
            await await_file(token)
            raise Boom(f"secret-{token}")
        case "upload":
            await asyncio.sleep(float(query.get("pause", "0")))
            total = 0
            async for piece in _receive_all(receive, query.get("token")):
                total += len(piece)
            await _answer(send, str(total).encode())
        case "pipe":
            await _begin(send)
            async for piece in _receive_all(receive, token):
                await _more(send, piece)
            await send({"type": "http.response.body"})
        case _:
            raise LookupError(name)


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Do what the last part of the path names."""
    if scope["type"] == "lifespan":
        await _live(scope, receive, send)
        return
    query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()}
    name = scope["path"].rpartition("/")[2]
    if name == "life":
        await _answer(send, json.dumps({**_here(), "state": scope["state"].get("started")}).encode())
        return
    how = "done"
    try:
        await _respond(name, query, receive, send)
    except _Gone:
        how = "http.disconnect"
    except asyncio.CancelledError:
        how = "cancelled"
        raise
    except BaseException as error:
        how = type(error).__name__
        raise
    finally:
        if "token" in query:
            report("closed", token=query["token"], how=how)


def _here() -> dict[str, Any]:
    return {"pid": os.getpid(), "loop": id(asyncio.get_running_loop()), "thread": threading.get_ident()}


async def _live(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    # A worker of its own, and a loop of its own: two numbers may be alike in two processes, so the pid goes with them.
    scope["state"]["started"] = os.getpid()
    report("startup", **_here(), parent=os.getppid())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    report("shutdown", **_here())
    await send({"type": "lifespan.shutdown.complete"})


# What mounts them


def around(connection: Any) -> Generator[Any, Any, Response]:
    """Mark the responses of what is inside."""
    response: Response = yield connection
    response.headers["x-around"] = "yes"
    return response


async def stats(request: Request) -> Response:
    """Tell how the process stands, and count the peak anew."""
    with counts.lock:
        answer = {
            "pid": os.getpid(),
            "inside": counts.inside,
            "peak": counts.peak,
            "open": counts.opened - counts.closed,
            "opened": counts.opened,
            "tasks": len(asyncio.all_tasks()),
            "threads": sum(thread.name == "dualroute-handler" for thread in threading.enumerate()),
        }
        counts.peak = counts.inside
    return JSONResponse(answer)


def _routes() -> list[Any]:
    return [
        Route("/stats", stats),
        Mount("/bare/wsgi", wsgi),
        Mount("/bare/asgi", asgi),
        Mount("/around", routes=[Mount("/wsgi", wsgi), Mount("/asgi", asgi)], middleware=[around]),
    ]


app = DualRoute(routes=_routes())

few_threads = DualRoute(routes=_routes(), max_threads=4)

lively = DualRoute(routes=[Mount("/asgi", asgi)])

straight_wsgi = WSGIApp(wsgi)

straight_asgi = ASGIApp(asgi)
