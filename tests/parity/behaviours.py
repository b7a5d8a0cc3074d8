"""What the endpoints of drawn tables do, each of it in either colour.

A behaviour is a generator that is given the request, the options it was drawn with, and the list in which it notes what
it saw.  It yields what a `def` has at once and an `async def` awaits, and returns the response.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from functools import cache
from typing import Any

from dualroute import (
    BackgroundTask,
    FileResponse,
    HTTPException,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from dualroute.background import BackgroundTasks

__all__ = ["BEHAVIOURS", "FILE", "STREAM_CLOSED", "Behaviour", "Odd", "Teapot", "coloured", "sample_folder"]

Options = dict[str, Any]
Seen = list[Any]
Behaviour = Callable[[Any, Options, Seen], Generator[Any, Any, Any]]

STREAM_CLOSED = "the body of a stream is closed"
FILE = b"".join(b"line %04d\n" % number for number in range(2000))
MODIFIED = 1_700_000_000


class Teapot(Exception):
    """An exception that some tables have a handler for."""


class Odd(HTTPException):
    """An HTTPException of a class of its own."""


@cache
def sample_folder() -> str:
    """Return a folder of files for FileResponse and StaticFiles, the same for the whole process."""
    folder = tempfile.TemporaryDirectory(prefix="parity-")
    atexit.register(folder.cleanup)
    for name, content in (("file.txt", FILE), ("empty.bin", b""), ("index.html", b"<p>index</p>"), ("é.txt", b"e")):
        path = os.path.join(folder.name, name)
        with open(path, "wb") as file:
            file.write(content)
        os.utime(path, (MODIFIED, MODIFIED))
    return folder.name


def _text(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    return PlainTextResponse(options.get("text", "text"), options.get("status", 200), options.get("headers"))
    yield


def _json(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    return JSONResponse(options.get("value"), headers=options.get("headers"))
    yield


def _bytes(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    return Response(options["body"].encode("latin-1"), options.get("status", 200), media_type=options.get("type"))
    yield


def _bare(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    return Response(status_code=options["status"])
    yield


def _echo(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    told = {
        "method": request.method,
        "path": request.path,
        "root_path": request.root_path,
        "url": str(request.url),
        "base_url": str(request.base_url),
        "query_string": request.query_string,
        "query": request.query_params.multi_items(),
        # An environ has no order.
        "headers": sorted(request.headers.items()),
        "cookies": request.cookies,
        "client": request.client,
        "params": {name: repr(value) for name, value in request.path_params.items()},
        "args": [repr(value) for value in request.path_args],
        "state": {key: value for key, value in request.state._state.items() if key != "closing"},
        "scope": [
            request.scope[key]
            for key in ("type", "method", "path", "root_path", "query_string", "scheme", "http_version", "server")
        ],
        "accepts": [request.accepts("text/html"), request.preferred_type(["text/plain", "application/json"])],
        "languages": request.preferred_language(["de", "en"]),
        "codings": request.preferred_encoding(["gzip", "br"]),
        "event": request.last_event_id,
    }
    seen.append(told)
    return PlainTextResponse(repr(told))
    yield


def _url_for(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    return PlainTextResponse(str(request.url_for(options["name"], **options.get("params", {}))))
    yield


def _read(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    how = options["how"]
    try:
        if how == "body":
            read: Any = yield request.body()
        elif how == "twice":
            read = (yield request.body()), (yield request.body()), (yield request.text())
        elif how == "stream":
            read = b"".join((yield request.stream()))
        elif how == "body, then stream":
            read = (yield request.body()), b"".join((yield request.stream()))
        elif how == "stream, then body":
            read = b"".join((yield request.stream())), (yield request.body())
        elif how == "text":
            read = yield request.text()
        elif how == "json":
            read = yield request.json()
        elif how == "body, then form":
            yield request.body()
            read = yield from _form(request, options)
        else:
            read = yield from _form(request, options)
    except Exception as error:
        seen.append(("failed", type(error).__name__, str(error)))
        if options.get("catches"):
            return PlainTextResponse(type(error).__name__)
        raise
    seen.append(("read", read))
    return PlainTextResponse(repr(read))


def _form(request: Any, options: Options) -> Generator[Any, Any, Any]:
    form = yield request.form(**options.get("limits", {}))
    read: list[tuple[Any, ...]] = []
    for name, value in form.multi_items():
        if isinstance(value, str):
            read.append((name, value))
        else:
            read.append((name, value.filename, value.content_type, value.size, (yield value.read())))
    return read


def _stream(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    pieces = [piece.encode("latin-1") for piece in options["pieces"]]
    failing: int | None = options.get("fails")

    def made() -> Iterator[bytes]:
        try:
            for number, piece in enumerate(pieces):
                if number == failing:
                    raise Teapot(number)
                yield piece
            if failing is not None and failing >= len(pieces):
                raise Teapot("at the end")
        finally:
            seen.append(STREAM_CLOSED)

    async def made_async() -> AsyncIterator[bytes]:
        for piece in made():
            yield piece

    is_async = options["is_async"]
    return StreamingResponse(
        made_async() if is_async else made(),
        headers=options.get("headers"),
        media_type=options.get("type", "text/plain"),
        background=BackgroundTask(seen.append, "streamed") if options.get("background") else None,
    )
    yield


def _file(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    return FileResponse(os.path.join(sample_folder(), options["name"]), filename=options.get("filename"))
    yield


def _redirect(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    return RedirectResponse(options["to"], options.get("status", 307))
    yield


def _cookies(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    response = PlainTextResponse("cookies")
    for name, value, attributes in options["cookies"]:
        response.set_cookie(name, value, **attributes)
    response.delete_cookie("gone")
    return response
    yield


def _raise(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    what = options["what"]
    if what == "stop":
        return StopIteration("a stray one")  # which a generator can't raise: see `coloured`
    if what == "http":
        raise HTTPException(options["status"], options.get("detail"), options.get("headers"))
    raise {
        "teapot": Teapot("short and stout"),
        "odd": Odd(409, "odd"),
        "value": ValueError("nobody handles this"),
        "lookup": KeyError("key"),
        "os": OSError("a file is missing"),
        "timeout": TimeoutError("slow"),
        "group": ExceptionGroup("several", [ValueError("a"), Teapot("b")]),
    }[what]
    yield


def _background(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    async def later(what: str) -> None:
        seen.append(("later", what))

    def fails() -> None:
        seen.append("fails")
        raise ValueError("in the background")

    tasks = BackgroundTasks()
    tasks.add_task(seen.append, "plain")
    tasks.add_task(later, "async")
    if options.get("fails"):
        tasks.add_task(fails)
    tasks.add_task(seen.append, "last")
    return PlainTextResponse("background", background=tasks)
    yield


def _closing(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    async def close() -> None:
        seen.append("closed on a loop")

    request.closing.append(lambda: seen.append("closed"))
    request.closing.append(close)
    return PlainTextResponse("closing")
    yield


def _conditional(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    response = PlainTextResponse("0123456789" * 3)
    if options.get("modified"):
        response.headers["last-modified"] = "Tue, 14 Nov 2023 22:13:20 GMT"
    response.add_etag(weak=bool(options.get("weak")))
    return response.make_conditional(request, accept_ranges=True)
    yield


def _session(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    count = request.session.get("count", 0) + 1
    if options.get("clears"):
        request.session.clear()
    else:
        request.session["count"] = count
    return PlainTextResponse(str(count))
    yield


def _user(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    return PlainTextResponse(f"{request.user.display_name} {sorted(request.auth.scopes)}")
    yield


def _hints(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    yield request.send_early_hints("</style.css>; rel=preload")
    return PlainTextResponse("hinted")


def _returns(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    return {"none": None, "text": "text", "class": PlainTextResponse, "tuple": (200, "ok")}[options["what"]]
    yield


def _header(request: Any, options: Options, seen: Seen) -> Generator[Any, Any, Any]:
    response = PlainTextResponse("headers")
    for name, value in options["headers"]:
        response.headers.append(name, value)
    return response
    yield


BEHAVIOURS: dict[str, Behaviour] = {
    "text": _text,
    "json": _json,
    "bytes": _bytes,
    "bare": _bare,
    "echo": _echo,
    "url_for": _url_for,
    "read": _read,
    "stream": _stream,
    "file": _file,
    "redirect": _redirect,
    "cookies": _cookies,
    "raise": _raise,
    "background": _background,
    "closing": _closing,
    "conditional": _conditional,
    "session": _session,
    "user": _user,
    "hints": _hints,
    "returns": _returns,
    "header": _header,
}


def coloured(options: Options, seen: Seen, is_async: bool) -> Callable[..., Any]:
    """Return an endpoint that does what it was drawn to do, as a `def` or an `async def`."""
    behaviour = BEHAVIOURS[options["do"]]

    def begin(request: Any) -> Generator[Any, Any, Any]:
        seen.append((options["do"], request.method, request.path))
        return behaviour(request, options, seen)

    async def asynchronous(request: Any, *args: Any, **params: Any) -> Any:
        steps = begin(request)
        step: Callable[[], Any] = lambda: next(steps)  # noqa: E731  # it is bound anew below
        while True:
            try:
                asked = step()
            except StopIteration as end:
                return _returned(end.value)
            try:
                value = await _awaited(asked)
            except Exception as error:
                step = _thrown(steps, error)
            else:
                step = _sent(steps, value)

    def synchronous(request: Any, *args: Any, **params: Any) -> Any:
        steps = begin(request)
        step: Callable[[], Any] = lambda: next(steps)  # noqa: E731
        while True:
            try:
                asked = step()
            except StopIteration as end:
                return _returned(end.value)
            try:
                value = list(asked) if isinstance(asked, Iterator) else asked
            except Exception as error:
                step = _thrown(steps, error)
            else:
                step = _sent(steps, value)

    return asynchronous if is_async else synchronous


def _returned(value: Any) -> Any:
    if isinstance(value, StopIteration):
        raise value
    return value


async def _awaited(asked: Awaitable[Any] | AsyncIterator[Any]) -> Any:
    if isinstance(asked, AsyncIterator):
        return [piece async for piece in asked]
    return await asked


def _sent(steps: Generator[Any, Any, Any], value: Any) -> Callable[[], Any]:
    return lambda: steps.send(value)


def _thrown(steps: Generator[Any, Any, Any], error: Exception) -> Callable[[], Any]:
    return lambda: steps.throw(error)
