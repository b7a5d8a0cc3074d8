"""One table of requests against one app: the same answer on both protocols, and the one that is expected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dualroute import (
    ClientDisconnect,
    DualRoute,
    HTTPEndpoint,
    HTTPException,
    JSONResponse,
    Mount,
    PlainTextResponse,
    RedirectResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)
from tests.parity.cases import CASES, Case
from tests.parity.servers import Answer, by_asgi, by_wsgi


class Missing(Exception):
    pass


def hello(request: Any) -> Response:
    return PlainTextResponse("hello")


def number(request: Any, number: int) -> Response:
    return JSONResponse({"number": number})


def echo(request: Any, text: str) -> Response:
    return JSONResponse(text)


def stream(request: Any, kind: str = "") -> Response:
    def pieces() -> Iterator[bytes]:
        if kind == "broken":
            raise LookupError(kind)
        yield from () if kind == "empty" else (b"one", b"two", b"three")

    return StreamingResponse(pieces(), media_type="text/plain")


def stream_async(request: Any, kind: str = "") -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        if kind == "broken":
            raise LookupError(kind)
        for piece in () if kind == "empty" else (b"one", b"two", b"three"):
            yield piece

    return StreamingResponse(pieces(), media_type="text/plain")


def status(request: Any, code: int) -> Response:
    return Response(b"" if code in (204, 304) else str(code), code, media_type=None if code < 299 else "text/plain")


def set_cookies(request: Any) -> Response:
    response = PlainTextResponse("")
    response.set_cookie("a", "1 ; é")
    response.set_cookie("b", "2", max_age=10, httponly=True)
    response.delete_cookie("c")
    return response


def teapot(request: Any) -> Response:
    raise HTTPException(418, "short and stout", {"x-pot": "tea"})


def missing(request: Any) -> Response:
    raise Missing


def fail(request: Any) -> Response:
    raise LookupError("a secret")


def none_returned(request: Any) -> Any:
    return None


def hop(request: Any) -> Response:
    return PlainTextResponse("", headers={"connection": "close", "transfer-encoding": "chunked", "x-a": "1"})


def url(request: Any) -> Response:
    assert request.url.path.startswith(request.base_url.path)
    return JSONResponse(str(request.url))


def header(request: Any) -> Response:
    return JSONResponse(request.headers.get("x-user"))


def cookies(request: Any) -> Response:
    return JSONResponse(request.cookies)


def query(request: Any) -> Response:
    return JSONResponse(dict(request.query_params))


def latin1(request: Any) -> Response:
    return PlainTextResponse("", headers={"x-name": "café"})


def unsendable(request: Any, what: str) -> Response:
    response = PlainTextResponse("")
    if what == "header-value":
        response.headers["x-a"] = "1\r\nx-evil: 1"
    elif what == "header-name":
        response.headers["x-a: 1\r\nx-evil"] = "1"
    elif what == "cookie":
        response.set_cookie("a\r\nx-evil", "1")
    elif what == "cookie-path":
        response.set_cookie("a", "1", path="/\r\nx-evil: 1")
    elif what == "redirect":
        return RedirectResponse("/\r\nx-evil: 1")
    elif what == "nul":
        return PlainTextResponse("", headers={"x-a": "1\0"})
    return response


def body(request: SyncRequest) -> Response:
    return PlainTextResponse(request.body())


async def body_async(request: Request) -> Response:
    return PlainTextResponse(await request.body())


def read_json(request: SyncRequest) -> Response:
    return JSONResponse(request.json())


async def read_json_async(request: Request) -> Response:
    return JSONResponse(await request.json())


def disconnect(request: SyncRequest) -> Response:
    try:
        request.body()
    except ClientDisconnect as error:
        return PlainTextResponse(type(error).__name__)
    return PlainTextResponse("all there")


async def disconnect_async(request: Request) -> Response:
    try:
        await request.body()
    except ClientDisconnect as error:
        return PlainTextResponse(type(error).__name__)
    return PlainTextResponse("all there")


class Endpoint(HTTPEndpoint):
    def get(self, request: Any) -> Response:
        return PlainTextResponse("get")

    async def post(self, request: Any) -> Response:
        return PlainTextResponse("post")


async def websocket(websocket: WebSocket) -> None:
    await websocket.accept()


def routes(is_async: bool) -> list[Route]:
    """Return the routes of one colour."""

    def coloured(function: Any) -> Any:
        if not is_async:
            return function

        async def function_async(request: Any, **path_params: Any) -> Response:
            response: Response = function(request, **path_params)
            return response

        return function_async

    return [
        Route("/hello", coloured(hello)),
        Route("/items/{number:int}", coloured(number)),
        Route("/echo/{text}", coloured(echo)),
        Route("/stream", coloured(stream_async if is_async else stream)),
        Route("/stream/{kind}", coloured(stream_async if is_async else stream)),
        Route("/status/{code:int}", coloured(status)),
        Route("/cookies/set", coloured(set_cookies)),
        Route("/cookies", coloured(cookies)),
        Route("/teapot", coloured(teapot)),
        Route("/missing", coloured(missing)),
        Route("/fail", coloured(fail)),
        Route("/none-returned", coloured(none_returned)),
        Route("/hop", coloured(hop)),
        Route("/dir/", coloured(hello)),
        Route("/url", coloured(url)),
        Route("/header", coloured(header)),
        Route("/query", coloured(query)),
        Route("/latin1", coloured(latin1)),
        Route("/unsendable/{what}", coloured(unsendable)),
        Route("/body", body_async if is_async else body, methods=["POST"]),
        Route("/json", read_json_async if is_async else read_json, methods=["POST"]),
        Route("/disconnect", disconnect_async if is_async else disconnect, methods=["POST"]),
    ]


async def handle_missing(request: Request, error: Exception) -> Response:
    return PlainTextResponse("handled", status_code=404)


APP = DualRoute(
    [
        Mount("/def", routes=routes(False)),
        Mount("/async", routes=routes(True)),
        Route("/class", Endpoint),
        Route("/url", url),
        Route("//evil.example/dir/", hello),
        WebSocketRoute("/ws", websocket),
    ],
    exception_handlers={Missing: handle_missing},
)


@pytest.fixture(scope="module", autouse=True)
def announced() -> None:
    """Let the WSGI side say what it says once, so that no case has it in its log."""
    by_wsgi(APP, CASES[0].sent)


def answers(case: Case, caplog: pytest.LogCaptureFixture) -> Iterator[tuple[str, Answer, list[str]]]:
    for name, ask in (("asgi", by_asgi), ("wsgi", by_wsgi)):
        caplog.clear()
        answer = ask(APP, case.sent)
        yield (
            name,
            answer,
            [
                record.getMessage()
                for record in caplog.records
                if record.name == "dualroute" and record.levelname in ("WARNING", "ERROR")
            ],
        )


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_both_protocols_answer_alike(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    (_, asgi, asgi_logs), (_, wsgi, wsgi_logs) = answers(case, caplog)
    assert asgi == wsgi
    assert asgi_logs == wsgi_logs


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_answer_is_the_one_expected(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    for protocol, answer, logs in answers(case, caplog):
        assert (protocol, answer.status) == (protocol, case.status), answer.body[:200]
        if case.body is not None:
            assert (protocol, answer.body) == (protocol, case.body)
        for name, value in case.headers.items():
            assert (protocol, answer.header(name)) == (protocol, [] if value is None else [value])
        assert (protocol, len(logs)) == (protocol, case.logs), logs
        assert "x-evil" not in dict(answer.headers)


def test_the_table_has_no_name_twice() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
