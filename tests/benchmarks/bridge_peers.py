"""The bridges that are compared: ours, those of others, and the shortest way across that can be written by hand.

A maker takes the app to mount, the number of threads to serve it with (None for the bridge's own default) and a stack
for what has to be closed; it returns the app that the server calls, or says why there is none.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http import HTTPStatus
from queue import SimpleQueue
from typing import Any

import a2wsgi
from asgiref.wsgi import WsgiToAsgi
from uvicorn.middleware.wsgi import _WSGIMiddleware

from dualroute import ASGIApp, DualRoute, WSGIApp
from tests.benchmarks.harness import RAW, App, Unable
from tests.benchmarks.raw import loop_in_thread

__all__ = ["MAKERS", "OURS", "Maker", "Unable"]


Maker = Callable[[App, int | None, ExitStack], App | Unable]


def _mounted(kind: Callable[..., Any]) -> Maker:
    def make(app: App, threads: int | None, stack: ExitStack) -> App:
        bridge: App = kind(app) if threads is None else kind(app, max_threads=threads)
        stack.callback(_end_threads, bridge)
        return bridge

    return make


def _end_threads(bridge: Any) -> None:
    if "asgi" in vars(bridge):  # made when a server first calls for it
        bridge.asgi.threads.close()


def _fallback(app: App, **options: Any) -> DualRoute:
    return DualRoute(fallback=app, **options)


def _a2wsgi_under_asgi(app: App, threads: int | None, stack: ExitStack) -> App:
    bridge = a2wsgi.WSGIMiddleware(app) if threads is None else a2wsgi.WSGIMiddleware(app, workers=threads)
    stack.callback(bridge.executor.shutdown)
    return bridge


def _a2wsgi_under_wsgi(app: App, threads: int | None, stack: ExitStack) -> App:
    # It would start a thread like this one by itself, and never end it.
    return a2wsgi.ASGIMiddleware(app, loop=loop_in_thread(stack))


def _asgiref(app: App, threads: int | None, stack: ExitStack) -> App | Unable:
    if threads is not None:
        return Unable("has one thread for all requests")
    bridge: App = WsgiToAsgi(app)  # type: ignore[no-untyped-call]  # asgiref has annotated only a part of itself
    return bridge


def _uvicorn(app: App, threads: int | None, stack: ExitStack) -> App:
    with warnings.catch_warnings():
        # It recommends a2wsgi, which is what the public name would give us.
        warnings.simplefilter("ignore", DeprecationWarning)
        bridge = _WSGIMiddleware(app) if threads is None else _WSGIMiddleware(app, workers=threads)
    stack.callback(bridge.executor.shutdown)
    return bridge


def _raw_under_asgi(app: App, threads: int | None, stack: ExitStack) -> App:
    """Mount a WSGI app by one hop to an executor.

    A body of one piece comes back with the hop, and of a longer one each piece has the loop send it.
    """
    executor = None if threads is None else stack.enter_context(ThreadPoolExecutor(threads))

    def call(environ: dict[str, Any], loop: asyncio.AbstractEventLoop, send: Any) -> list[dict[str, Any]]:
        waiting: list[dict[str, Any]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            waiting.append({"type": "http.response.start", "status": int(status[:3]), "headers": raw})

        def flush() -> None:
            for message in waiting:
                asyncio.run_coroutine_threadsafe(send(message), loop).result()
            waiting.clear()

        body = app(environ, start_response)
        try:
            for data in body:
                if len(waiting) > 1:
                    flush()
                waiting.append({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            if hasattr(body, "close"):
                body.close()
        waiting[-1]["more_body"] = False
        return waiting

    async def bridge(scope: Any, receive: Any, send: Any) -> None:
        loop = asyncio.get_running_loop()
        environ = {
            "REQUEST_METHOD": scope["method"],
            "PATH_INFO": scope["path"],
            "wsgi.input": _ReceivedInput(receive, loop),
            **{f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode() for name, value in scope["headers"]},
        }
        for message in await loop.run_in_executor(executor, call, environ, loop, send):
            await send(message)

    return bridge


class _ReceivedInput:
    """A wsgi.input that gives what `receive` does, piece by piece."""

    def __init__(self, receive: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._receive = receive
        self._loop = loop
        self._more = True

    def read(self, size: int = -1) -> bytes:
        if not self._more:
            return b""
        message = asyncio.run_coroutine_threadsafe(self._receive(), self._loop).result()
        self._more = message.get("more_body", False)
        body: bytes = message["body"]
        return body


def _raw_under_wsgi(app: App, threads: int | None, stack: ExitStack) -> App:
    """Mount an ASGI app by a loop in a thread.

    It asks the server's thread for each piece of the request, and waits until each piece of the response is taken.
    """
    loop = loop_in_thread(stack)

    def bridge(environ: Any, start_response: Any) -> Any:
        events: SimpleQueue[Any] = SimpleQueue()

        async def ask(message: Any) -> Any:
            outcome = loop.create_future()
            events.put((message, outcome))
            return await outcome

        async def receive() -> Any:
            return await ask(None)

        async def send(message: Any) -> None:
            if message.get("more_body"):
                await ask(message)
            else:
                events.put((message, None))

        asyncio.run_coroutine_threadsafe(app(_scope(environ), receive, send), loop)
        return respond(environ, start_response, events)

    def respond(environ: Any, start_response: Any, events: SimpleQueue[Any]) -> Any:
        request = _requested(environ)
        while True:
            message, waits = events.get()
            outcome = None
            if message is None:
                outcome = next(request)
            elif message["type"] == "http.response.start":
                headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
                start_response(f"{message['status']} {HTTPStatus(message['status']).phrase}", headers)
            else:
                if message["body"]:
                    yield message["body"]
                if waits is None:
                    return
            if waits is not None:
                loop.call_soon_threadsafe(waits.set_result, outcome)

    return bridge


def _requested(environ: Any) -> Iterator[dict[str, Any]]:
    """Yield the events of a request body, which ends where the input does."""
    data = True
    while data:
        data = environ["wsgi.input"].read(65_536)
        yield {"type": "http.request", "body": data, "more_body": bool(data)}


def _scope(environ: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "headers": [
            (key[5:].lower().replace("_", "-").encode(), value.encode())
            for key, value in environ.items()
            if key.startswith("HTTP_")
        ],
    }


OURS: dict[str, tuple[str, str]] = {"asgi": ("WSGIApp", "DualRoute"), "wsgi": ("ASGIApp", "DualRoute")}
"""Which candidates are ours, by the protocol of the server."""

MAKERS: dict[str, dict[str, Maker]] = {
    # The server speaks ASGI and the app is WSGI.
    "asgi": {
        RAW: _raw_under_asgi,
        "WSGIApp": _mounted(WSGIApp),
        "DualRoute": _mounted(_fallback),
        "a2wsgi": _a2wsgi_under_asgi,
        "asgiref": _asgiref,
        "uvicorn": _uvicorn,
    },
    # The server speaks WSGI and the app is ASGI.
    "wsgi": {
        RAW: _raw_under_wsgi,
        "ASGIApp": _mounted(ASGIApp),
        "DualRoute": _mounted(_fallback),
        "a2wsgi": _a2wsgi_under_wsgi,
    },
}
"""The candidates, by the protocol of the server and by name."""
