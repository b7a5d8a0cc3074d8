"""The raw callables: the same answers made by hand, and bare ways across from one colour to the other."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any

from asgiref.sync import async_to_sync

from tests.benchmarks.harness import Answer, App

PREFIX = len("/users/")


def asgi(answer: Answer) -> App:
    """Return an ASGI app that gives `answer`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(_start(answer.status, b"text/plain; charset=utf-8", answer.body))
        await send({"type": "http.response.body", "body": answer.body})

    return app


def wsgi(answer: Answer) -> App:
    """Return a WSGI app that gives `answer`."""
    line = f"{answer.status} {HTTPStatus(answer.status).phrase}"

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(line, [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(answer.body)))])
        return [answer.body]

    return app


async def asgi_user(scope: Any, receive: Any, send: Any) -> None:
    """Answer ``/users/{id}``."""
    body = _json({"id": int(scope["path"][PREFIX:])})
    await send(_start(200, b"application/json", body))
    await send({"type": "http.response.body", "body": body})


def wsgi_user(environ: Any, start_response: Any) -> list[bytes]:
    """Answer ``/users/{id}``."""
    body = _json({"id": int(environ["PATH_INFO"][PREFIX:])})
    start_response("200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))])
    return [body]


def asgi_in_executor(answer: Answer) -> App:
    """Return an ASGI app whose body comes out of asyncio's own executor."""

    def handler() -> bytes:
        return answer.body

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = await asyncio.get_running_loop().run_in_executor(None, handler)
        await send(_start(answer.status, b"text/plain; charset=utf-8", body))
        await send({"type": "http.response.body", "body": body})

    return app


def wsgi_on_loop(answer: Answer, stack: ExitStack) -> App:
    """Return a WSGI app whose body comes from a coroutine on a loop that lives in another thread."""
    loop = loop_in_thread(stack)

    def ask() -> bytes:
        return asyncio.run_coroutine_threadsafe(_give(answer.body), loop).result()

    return _wsgi_asking(answer, ask)


def loop_in_thread(stack: ExitStack) -> asyncio.AbstractEventLoop:
    """Return an event loop that runs in a thread of its own, until the stack is closed."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stack.callback(loop.close)
    stack.callback(thread.join)
    stack.callback(loop.call_soon_threadsafe, loop.stop)
    return loop


def wsgi_async_to_sync(answer: Answer) -> App:
    """Return a WSGI app whose body comes from a coroutine by asgiref's `async_to_sync`, as in Flask and Django."""

    def ask() -> bytes:
        return async_to_sync(_give)(answer.body)

    return _wsgi_asking(answer, ask)


async def _give(body: bytes) -> bytes:
    return body


def _wsgi_asking(answer: Answer, ask: Callable[[], bytes]) -> App:
    line = f"{answer.status} {HTTPStatus(answer.status).phrase}"

    def app(environ: Any, start_response: Any) -> list[bytes]:
        body = ask()
        start_response(line, [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))])
        return [body]

    return app


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _start(status: int, content_type: bytes, body: bytes) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-type", content_type), (b"content-length", str(len(body)).encode())],
    }
