"""The raw callables: the same answers made by hand, and bare ways across from one colour to the other."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_plus

from asgiref.sync import async_to_sync

from tests.benchmarks import asked
from tests.benchmarks.harness import RAW, Answer, App

__all__ = ["ASGI", "IN_EXECUTOR", "ON_LOOP", "TO_SYNC", "WSGI", "loop_in_thread"]

IN_EXECUTOR = "raw, in an executor"
ON_LOOP = "raw, on a loop in a thread"
TO_SYNC = "raw, async_to_sync"

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_PREFIX = len("/users/")
_ASKED = f"&{asked.FIELD}=".encode()


def asgi(answer: Answer, headers: Iterable[tuple[str, str]] = ()) -> App:
    """Return an ASGI app that gives `answer`."""
    further = [(name.encode(), value.encode()) for name, value in headers]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(_start(answer.status, _TEXT, answer.body, further))
        await send({"type": "http.response.body", "body": answer.body})

    return app


def wsgi(answer: Answer, headers: Iterable[tuple[str, str]] = ()) -> App:
    """Return a WSGI app that gives `answer`."""
    line = f"{answer.status} {HTTPStatus(answer.status).phrase}"
    further = list(headers)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(line, [*_headers(_TEXT, answer.body), *further])
        return [answer.body]

    return app


async def asgi_user(scope: Any, receive: Any, send: Any) -> None:
    """Answer ``/users/{id}``."""
    await _answer(send, _JSON, asked.dumps({"id": int(scope["path"][_PREFIX:])}).encode())


def wsgi_user(environ: Any, start_response: Any) -> list[bytes]:
    """Answer ``/users/{id}``."""
    body = asked.dumps({"id": int(environ["PATH_INFO"][_PREFIX:])}).encode()
    start_response("200 OK", _headers(_JSON, body))
    return [body]


async def asgi_echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the document that was sent."""
    await _answer(send, _JSON, asked.dumps(json.loads(await _body(receive))).encode())


def wsgi_echo(environ: Any, start_response: Any) -> list[bytes]:
    """Answer with the document that was sent."""
    body = asked.dumps(json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))).encode()
    start_response("200 OK", _headers(_JSON, body))
    return [body]


async def asgi_form(scope: Any, receive: Any, send: Any) -> None:
    """Answer with one field of the form that was sent."""
    await _answer(send, _TEXT, _field(await _body(receive)))


def wsgi_form(environ: Any, start_response: Any) -> list[bytes]:
    """Answer with one field of the form that was sent."""
    body = _field(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    start_response("200 OK", _headers(_TEXT, body))
    return [body]


def asgi_in_executor(answer: Answer) -> App:
    """Return an ASGI app whose body comes out of asyncio's own executor."""

    def handler() -> bytes:
        return answer.body

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await _answer(send, _TEXT, await asyncio.get_running_loop().run_in_executor(None, handler))

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
        start_response(line, _headers(_TEXT, body))
        return [body]

    return app


def _field(sent: bytes) -> bytes:
    """Return the field of a form that is asked for.

    The others are not looked at: a compiled parser takes less time for them than any loop here would.
    """
    return unquote_plus(sent.partition(_ASKED)[2].partition(b"&")[0].decode()).encode()


async def _body(receive: Any) -> bytes:
    pieces = []
    more = True
    while more:
        message = await receive()
        pieces.append(message["body"])
        more = message["more_body"]
    return b"".join(pieces)


async def _answer(send: Any, content_type: str, body: bytes) -> None:
    await send(_start(200, content_type, body, ()))
    await send({"type": "http.response.body", "body": body})


def _headers(content_type: str, body: bytes) -> list[tuple[str, str]]:
    return [("content-type", content_type), ("content-length", str(len(body)))]


def _start(status: int, content_type: str, body: bytes, further: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            *further,
        ],
    }


ASGI: asked.Candidates = {
    asked.ASYNC: {RAW: lambda stack: asgi(asked.HELLO)},
    asked.DEF: {RAW: lambda stack: asgi(asked.HELLO), IN_EXECUTOR: lambda stack: asgi_in_executor(asked.HELLO)},
    asked.CLASS: {RAW: lambda stack: asgi(asked.HELLO)},
    asked.JSON: {RAW: lambda stack: asgi_user},
    asked.ECHO: {RAW: lambda stack: asgi_echo},
    asked.MIDDLEWARE: {RAW: lambda stack: asgi(asked.HELLO, asked.LAYERS)},
    asked.WRONG_PATH: {RAW: lambda stack: asgi(asked.NOT_FOUND)},
    asked.WRONG_METHOD: {RAW: lambda stack: asgi(asked.NOT_ALLOWED)},
    asked.FORM: {RAW: lambda stack: asgi_form},
    asked.MANY: {RAW: lambda stack: asgi(asked.HELLO)},
}

WSGI: asked.Candidates = {
    asked.DEF: {RAW: lambda stack: wsgi(asked.HELLO)},
    asked.ASYNC: {
        RAW: lambda stack: wsgi(asked.HELLO),
        ON_LOOP: lambda stack: wsgi_on_loop(asked.HELLO, stack),
        TO_SYNC: lambda stack: wsgi_async_to_sync(asked.HELLO),
    },
    asked.CLASS: {RAW: lambda stack: wsgi(asked.HELLO)},
    asked.JSON: {RAW: lambda stack: wsgi_user},
    asked.ECHO: {RAW: lambda stack: wsgi_echo},
    asked.MIDDLEWARE: {RAW: lambda stack: wsgi(asked.HELLO, asked.LAYERS)},
    asked.WRONG_PATH: {RAW: lambda stack: wsgi(asked.NOT_FOUND)},
    asked.WRONG_METHOD: {RAW: lambda stack: wsgi(asked.NOT_ALLOWED)},
    asked.FORM: {RAW: lambda stack: wsgi_form},
    asked.MANY: {RAW: lambda stack: wsgi(asked.HELLO)},
}
