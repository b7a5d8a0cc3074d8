"""The site that the wire cases are asked of: what it answers depends on the request and on nothing else.

It tells of each request that gets as far as the app, before anything of dualroute has looked at it, so that a test can
tell a server's refusal from ours and knows what the server made of the bytes.  The request says by its header X-Token
which one it is.

Importing this does nothing: servers serve it by `wire_apps`, and the tests in process make a site of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from dualroute import (
    DualRoute,
    FileResponse,
    HTTPEndpoint,
    HTTPException,
    JSONResponse,
    Limits,
    Mount,
    PlainTextResponse,
    RedirectResponse,
    Request,
    Response,
    Route,
    StaticFiles,
    StreamingResponse,
    SyncRequest,
    SyncWebSocket,
    WebSocket,
    WebSocketEndpoint,
    WebSocketRoute,
)
from dualroute.middleware.proxy_headers import ProxyHeadersMiddleware
from dualroute.middleware.trustedhost import TrustedHostMiddleware
from dualroute_asgi import ASGIApp
from dualroute_wsgi import WSGIApp

__all__ = ["site"]

Report = Callable[..., None]

ALPHABET = b"abcdefghijklmnopqrstuvwxyz"


# What the server hands over


def _told_by_scope(scope: Any) -> dict[str, Any]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]} | {value}" if name in headers else value
    server, client = scope.get("server"), scope.get("client")
    return {
        "protocol": scope["type"],
        "method": scope.get("method", "GET"),
        "path": scope["path"],
        "scheme": scope.get("scheme") or "http",
        "server": f"{server[0]}:{server[1]}" if server and server[1] else None,
        "client": client[0] or None if client else None,
        "headers": headers,
    }


def _told_by_environ(environ: dict[str, Any]) -> dict[str, Any]:
    headers = {
        key.removeprefix("HTTP_").replace("_", "-").lower(): value
        for key, value in environ.items()
        if (key.startswith("HTTP_") and key != "HTTP_CONTENT_LENGTH") or key in ("CONTENT_LENGTH", "CONTENT_TYPE")
    }
    return {
        "protocol": "wsgi",
        "method": environ["REQUEST_METHOD"],
        "path": (environ["SCRIPT_NAME"] + environ["PATH_INFO"]).encode("latin-1").decode("utf-8", "replace"),
        "scheme": environ["wsgi.url_scheme"],
        "server": f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}",
        "client": environ.get("REMOTE_ADDR") or None,
        "headers": headers,
    }


class _WatchedInput:
    """A ``wsgi.input`` that counts what is taken of it and sees how that ends."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.taken, self.ended = 0, "open"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def _note(self, data: bytes, size: int) -> bytes:
        self.taken += len(data)
        if not data and size:
            self.ended = "end"
        return data

    def read(self, size: int = -1) -> bytes:
        try:
            return self._note(self._source.read(size), size)
        except Exception as error:
            self.ended = type(error).__name__
            raise

    def readline(self, size: int = -1) -> bytes:
        return self._note(self._source.readline(size), size)


class _WatchedResult:
    """The iterable of a WSGI app, which tells when it is closed."""

    def __init__(self, result: Iterable[bytes], tell: Callable[[], None]) -> None:
        self._result = result
        self._tell = tell

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._result)

    def close(self) -> None:
        try:
            close = getattr(self._result, "close", None)
            if close is not None:
                close()
        finally:
            self._tell()


def _watched_by_asgi(report: Report) -> Callable[[Any], Any]:
    def around(app: Any) -> Any:
        async def call(scope: Any, receive: Any, send: Any) -> None:
            told = _told_by_scope(scope) if scope["type"] in ("http", "websocket") else {"headers": {}}
            token = told["headers"].get("x-token")
            if token is None:
                await app(scope, receive, send)
                return
            report("handed", token=token, **told)
            taken, ended = 0, "open"

            async def counted() -> Any:
                nonlocal taken, ended
                event = await receive()
                if event["type"] == "http.request":
                    taken += len(event.get("body", b""))
                    ended = ended if event.get("more_body") else "end"
                elif ended == "open":
                    ended = event["type"]
                return event

            try:
                await app(scope, counted, send)
            finally:
                report("taken", token=token, taken=taken, ended=ended)

        return call

    return around


def _watched_by_wsgi(report: Report) -> Callable[[Any], Any]:
    def around(app: Any) -> Any:
        def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            told = _told_by_environ(environ)
            token = told["headers"].get("x-token")
            if token is None:
                result: Iterable[bytes] = app(environ, start_response)
                return result
            report("handed", token=token, **told)
            source = environ["wsgi.input"] = _WatchedInput(environ["wsgi.input"])
            return _WatchedResult(
                app(environ, start_response),
                lambda: report("taken", token=token, taken=source.taken, ended=source.ended),
            )

        return call

    return around


# Endpoints that read no body: each is written once, and given both colours


def hello(request: Any) -> Response:
    return PlainTextResponse("hello")


def rest_of_path(request: Any, rest: str) -> Response:
    return JSONResponse({"rest": rest, "path": request.path})


def url(request: Any) -> Response:
    assert request.path.endswith(request.url.path.removeprefix(request.root_path)), "what is routed is what is shown"
    return PlainTextResponse(str(request.url))


def query(request: Any) -> Response:
    return JSONResponse([list(pair) for pair in request.query_params.multi_items()])


def header(request: Any, name: str) -> Response:
    return JSONResponse(request.headers.get(name))


def cookies(request: Any) -> Response:
    return JSONResponse(request.cookies)


def set_cookies(request: Any) -> Response:
    response = PlainTextResponse("")
    response.set_cookie("first", "1", httponly=True)
    response.set_cookie("second", "zwei, 2; zwo")
    response.delete_cookie("third")
    return response


def status(request: Any, code: int) -> Response:
    return Response(b"" if code in (204, 304) else str(code), code, media_type="text/plain")


def latin(request: Any) -> Response:
    return PlainTextResponse("", headers={"x-latin": "café"})


def teapot(request: Any) -> Response:
    raise HTTPException(418, "short and stout", headers={"x-pot": "tea"})


def fail(request: Any) -> Response:
    raise LookupError("a secret of the server")


def unsendable(request: Any, what: str) -> Response:
    """Put what the client gave into the head of the response."""
    value = request.query_params["value"]
    if what == "redirect":
        return RedirectResponse(value)
    response = PlainTextResponse("")
    if what == "value":
        response.headers["x-value"] = value
    elif what == "name":
        response.headers[value] = "1"
    elif what == "cookie":
        response.set_cookie("name", "1", path=value)
    return response


def download(folder: Path) -> Callable[[Any], Response]:
    def file(request: Any) -> Response:
        return FileResponse(folder / "alphabet.txt", media_type="text/plain")

    return file


class Verbs(HTTPEndpoint):
    """Some verbs, and attributes that no request is to reach."""

    secret = "a secret of the class"

    def get(self, request: SyncRequest) -> Response:
        return PlainTextResponse("GET")

    async def post(self, request: Request) -> Response:
        return PlainTextResponse("POST")

    def query(self, request: SyncRequest) -> Response:
        return PlainTextResponse("QUERY")

    def helper(self, request: SyncRequest) -> Response:
        raise AssertionError("reached by a method that is none")


# Endpoints that are written twice


def stream(request: SyncRequest) -> Response:
    return StreamingResponse(iter([b"one", b"two", b"three"]), media_type="text/plain")


async def stream_async(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"two", b"three"):
            yield piece

    return StreamingResponse(pieces(), media_type="text/plain")


def broken_stream(request: SyncRequest) -> Response:
    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise LookupError("a secret of the server")

    return StreamingResponse(pieces(), media_type="text/plain")


async def broken_stream_async(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        raise LookupError("a secret of the server")

    return StreamingResponse(pieces(), media_type="text/plain")


def endless(report: Report) -> tuple[Callable[[SyncRequest], Response], Callable[[Request], Any]]:
    """Return endpoints whose bodies have no end, and which tell when they are closed."""

    def plain(request: SyncRequest) -> Response:
        token = request.headers["x-token"]

        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    yield bytes(65_536)
            finally:
                report("closed", token=token)

        return StreamingResponse(pieces())

    async def coloured(request: Request) -> Response:
        token = request.headers["x-token"]

        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(65_536)
            finally:
                report("closed", token=token)

        return StreamingResponse(pieces())

    return plain, coloured


def echo(request: SyncRequest) -> Response:
    return Response(request.body(), media_type="application/octet-stream")


async def echo_async(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


def read_json(request: SyncRequest) -> Response:
    return JSONResponse(request.json())


async def read_json_async(request: Request) -> Response:
    return JSONResponse(await request.json())


def _fields(form: Any) -> Response:
    return JSONResponse(
        [[name, value if isinstance(value, str) else {"file": value.filename}] for name, value in form.multi_items()]
    )


def form(request: SyncRequest) -> Response:
    with request.form() as form:
        return _fields(form)


async def form_async(request: Request) -> Response:
    async with request.form() as form:
        return _fields(form)


def upload(report: Report) -> tuple[Callable[[SyncRequest], Response], Callable[[Request], Any]]:
    """Return endpoints that tell what came of the body, and how it ended for them."""

    def plain(request: SyncRequest) -> Response:
        size, error = 0, None
        try:
            for piece in request.stream():
                size += len(piece)
        except Exception as failure:
            error = type(failure).__name__
            raise
        finally:
            report("uploaded", token=request.headers["x-token"], size=size, error=error)
        return PlainTextResponse(str(size))

    async def coloured(request: Request) -> Response:
        size, error = 0, None
        try:
            async for piece in request.stream():
                size += len(piece)
        except Exception as failure:
            error = type(failure).__name__
            raise
        finally:
            report("uploaded", token=request.headers["x-token"], size=size, error=error)
        return PlainTextResponse(str(size))

    return plain, coloured


async def websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


def echoing(wanted: str | None) -> tuple[type[WebSocketEndpoint], type[WebSocketEndpoint]]:
    """Return endpoints that send back what they get of one encoding."""

    class Plain(WebSocketEndpoint):
        encoding = wanted

        def on_receive(self, websocket: SyncWebSocket, data: Any) -> None:
            websocket.send_text(str(data))

    class Coloured(WebSocketEndpoint):
        encoding = wanted

        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            await websocket.send_text(str(data))

    return Plain, Coloured


# Mounted apps that break their protocol


def _wsgi_no_reason(environ: Any, start_response: Any) -> Any:
    start_response("200", [])
    return [b"a body"]


def _wsgi_no_start(environ: Any, start_response: Any) -> Any:
    return [b"a body"]


def _wsgi_nothing(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return None


def _wsgi_text(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return ["text"]


def _wsgi_header(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("x-a", "1\r\nx-evil: 1")])
    return [b"a body"]


async def _asgi_no_reason(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": "200", "headers": []})
    await send({"type": "http.response.body", "body": b"a body"})


async def _asgi_no_start(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b"a body"})


async def _asgi_nothing(scope: Any, receive: Any, send: Any) -> None:
    return None


async def _asgi_text(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": "text"})


async def _asgi_header(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1\r\nx-evil: 1")]})
    await send({"type": "http.response.body", "body": b"a body"})


_BREAKING: dict[str, tuple[Any, Any]] = {
    "no-reason": (_wsgi_no_reason, _asgi_no_reason),
    "no-start": (_wsgi_no_start, _asgi_no_start),
    "nothing": (_wsgi_nothing, _asgi_nothing),
    "text": (_wsgi_text, _asgi_text),
    "header": (_wsgi_header, _asgi_header),
}


# The site


def _async(function: Callable[..., Response]) -> Callable[..., Any]:
    async def coloured(request: Request, **path_params: Any) -> Response:
        return function(request, **path_params)

    return coloured


def _routes(report: Report, folder: Path, colour: int) -> list[Any]:
    """Return the routes of one colour: 0 for `def` and 1 for `async def`."""

    def both(function: Callable[..., Response]) -> Callable[..., Any]:
        return _async(function) if colour else function

    return [
        Route("/hello", both(hello)),
        Route("/rest/{rest:path}", both(rest_of_path)),
        Route("/url", both(url)),
        Route("/query", both(query)),
        Route("/header/{name}", both(header)),
        Route("/cookies", both(cookies)),
        Route("/set-cookies", both(set_cookies)),
        Route("/status/{code:int}", both(status)),
        Route("/latin", both(latin)),
        Route("/teapot", both(teapot)),
        Route("/fail", both(fail)),
        Route("/unsendable/{what}", both(unsendable)),
        Route("/file", both(download(folder))),
        Route("/with-slash/", both(hello)),
        Route("/without-slash", both(hello)),
        Route("/stream", (stream, stream_async)[colour]),
        Route("/broken-stream", (broken_stream, broken_stream_async)[colour]),
        Route("/endless", endless(report)[colour]),
        Route("/echo", (echo, echo_async)[colour], methods=["POST"]),
        Route("/json", (read_json, read_json_async)[colour], methods=["POST"]),
        Route("/form", (form, form_async)[colour], methods=["POST"]),
        Route("/upload", upload(report)[colour], methods=["POST"]),
        *(WebSocketRoute(f"/ws/{encoding}", echoing(encoding)[colour]) for encoding in ("text", "bytes", "json")),
        WebSocketRoute("/ws/limited", echoing(None)[colour], limits=Limits(max_message_size=10)),
        Mount(
            "/limited",
            routes=[
                Route("/echo", (echo, echo_async)[colour], methods=["POST"], limits=Limits(max_body_size=10)),
                Route(
                    "/form",
                    (form, form_async)[colour],
                    methods=["POST"],
                    limits=Limits(max_form_fields=3, max_form_files=2, max_part_size=100, max_part_header_size=1000),
                ),
            ],
        ),
        Mount(
            "/breaks",
            routes=[
                Mount(f"/{what}", app=ASGIApp(apps[1]) if colour else WSGIApp(apps[0]))
                for what, apps in _BREAKING.items()
            ],
        ),
    ]


def _files(folder: Path) -> None:
    """Make the files that the site serves, and some beside them that it must not."""
    for name in ("static", "static_x"):
        (folder / name).mkdir()
        (folder / name / "a.txt").write_bytes(name.encode())
    (folder / "secret.txt").write_bytes(b"a secret of the file system")
    (folder / "alphabet.txt").write_bytes(ALPHABET)
    (folder / "static" / "out.txt").symlink_to(folder / "secret.txt")


def site(report: Report, folder: Path) -> DualRoute:
    """Return the site.

    Args:
        report: called with what there is to tell, a kind and fields.
        folder: an empty folder, for the files that are served.
    """
    _files(folder)
    return DualRoute(
        [
            Mount("/def", routes=_routes(report, folder, 0)),
            Mount("/async", routes=_routes(report, folder, 1)),
            Route("/", hello),
            Route("/url", url),
            Route("/verbs", Verbs),
            Route("//evil.example/dir/", hello),
            Mount("/static", app=StaticFiles(directory=folder / "static")),
            Mount(
                "/trusting",
                routes=[Route("/hello", hello)],
                middleware=[TrustedHostMiddleware(["example.com"], www_redirect=False)],
            ),
            Mount(
                "/proxied",
                routes=[Route("/url", url)],
                middleware=[ProxyHeadersMiddleware(["192.0.2.1"], x_for=1, x_proto=1, x_host=1)],
            ),
            WebSocketRoute("/ws", websocket),
        ],
        asgi_middleware=[_watched_by_asgi(report)],
        wsgi_middleware=[_watched_by_wsgi(report)],
    )
