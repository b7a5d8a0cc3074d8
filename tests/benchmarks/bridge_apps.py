"""The foreign apps that the bridges mount: one of each kind for each thing that is measured.

Bodies come in pieces of CHUNK bytes.  Each piece is new memory, so that a bridge which holds many of them is seen to,
and differs from its neighbours, so that one which is lost or out of order is seen too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b, shake_128
from typing import Any

from tests.benchmarks.harness import App

CHUNK = 65_536
"""How many bytes a piece of a body has."""

HELLO = b"hello, world"

_KINDS = 251
_BLOCK = shake_128().digest(CHUNK + _KINDS)


def piece(index: int) -> bytes:
    """Return piece number `index` of any body."""
    start = index % _KINDS
    return _BLOCK[start : start + CHUNK]


def pieces(size: int) -> Iterator[bytes]:
    """Yield a body of `size` bytes, a multiple of CHUNK."""
    for index in range(size // CHUNK):
        yield piece(index)


class Tally:
    """What has come of a body: how many bytes and, where that is asked for, which."""

    def __init__(self, *, digest: bool) -> None:
        self.count = 0
        self._digest = blake2b(digest_size=16) if digest else None

    def add(self, data: bytes) -> None:
        self.count += len(data)
        if self._digest is not None:
            self._digest.update(data)

    def told(self) -> bytes:
        """Return it as text, which is what the upload apps answer."""
        told = f"{self.count} bytes"
        return (told if self._digest is None else f"{told}, digest {self._digest.hexdigest()}").encode()


def told(size: int, *, digest: bool) -> bytes:
    """Return what a Tally of a whole body tells."""
    tally = Tally(digest=digest)
    for data in pieces(size):
        tally.add(data)
    return tally.told()


def wsgi_hello(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(HELLO)))])
    return [HELLO]


class ClosingBody:
    """A body such as Werkzeug's responses are: an iterator with a close() that has to be called."""

    opened = 0
    closed = 0

    def __init__(self, data: bytes) -> None:
        self._rest = iter((data,))
        type(self).opened += 1

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._rest)

    def close(self) -> None:
        type(self).closed += 1


def wsgi_closing(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(HELLO)))])
    return ClosingBody(HELLO)


def not_closed() -> str | None:
    """Return what is to be said of a bridge that has served `wsgi_closing`, since this was last called."""
    missed = ClosingBody.opened - ClosingBody.closed
    ClosingBody.opened = ClosingBody.closed = 0
    return "does not call close()" if missed else None


def wsgi_download(size: int) -> App:
    """Return a WSGI app that answers `size` bytes."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return pieces(size)

    return app


def wsgi_upload(environ: Any, start_response: Any) -> Any:
    """Answer what was uploaded, with its digest under ``/digest``.

    It reads until nothing more comes, with a Content-Length too: that is right wherever the input ends.
    """
    tally = Tally(digest=environ["PATH_INFO"].endswith("/digest"))
    read = environ["wsgi.input"].read
    while data := read(CHUNK):
        tally.add(data)
    body = tally.told()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def wsgi_sleep(seconds: float) -> App:
    """Return a WSGI app that sleeps before it answers."""

    def app(environ: Any, start_response: Any) -> Any:
        time.sleep(seconds)
        return wsgi_hello(environ, start_response)

    return app


async def asgi_hello(scope: Any, receive: Any, send: Any) -> None:
    await _answer(send, HELLO)


def asgi_download(size: int) -> App:
    """Return an ASGI app that answers `size` bytes."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/octet-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for data in pieces(size):
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


async def asgi_upload(scope: Any, receive: Any, send: Any) -> None:
    """Answer what was uploaded, with its digest under ``/digest``."""
    tally = Tally(digest=scope["path"].endswith("/digest"))
    more = True
    while more:
        message = await receive()
        tally.add(message.get("body", b""))
        more = message.get("more_body", False)
    await _answer(send, tally.told())


def asgi_sleep(seconds: float) -> App:
    """Return an ASGI app that sleeps before it answers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(seconds)
        await _answer(send, HELLO)

    return app


async def _answer(send: Any, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@dataclass(frozen=True)
class Apps:
    """The apps of one protocol."""

    hello: App
    download: Callable[[int], App]
    upload: App
    sleep: Callable[[float], App]


WSGI = Apps(wsgi_hello, wsgi_download, wsgi_upload, wsgi_sleep)
ASGI = Apps(asgi_hello, asgi_download, asgi_upload, asgi_sleep)
