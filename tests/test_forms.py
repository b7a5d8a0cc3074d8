"""`request.form()` in both colours, on both protocols."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import AsyncIterator, Generator
from tempfile import SpooledTemporaryFile
from typing import Any

import httpx
import pytest

import dualroute.multipart
from dualroute import (
    Call,
    ClientDisconnect,
    DualRoute,
    HTTPException,
    JSONResponse,
    Limits,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
)
from dualroute.datastructures import FormData, Headers, SyncFormData, SyncUploadFile, UploadFile
from dualroute.exceptions import BodyTooLarge, MultiPartException
from dualroute.formparsers import FormParser, MultiPartParser
from tests.conftest import Serve
from tests.transports import call_wsgi

MIB = 1024 * 1024
BOUNDARY = "b0undary"
TYPE = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
LIMITS = ("max_files", "max_fields", "max_part_size", "max_text_size", "max_file_size")


def part(disposition: str, value: bytes = b"") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def show(request: SyncRequest) -> Response:
    given: dict[str, Any] = {name: int(value) for name, value in request.query_params.items() if name in LIMITS}
    items: list[Any] = []
    with request.form(**given) as form:
        assert isinstance(form, SyncFormData)
        for name, value in form.multi_items():
            if isinstance(value, str):
                items.append([name, value])
            else:
                assert isinstance(value, SyncUploadFile)
                items.append([name, value.filename, value.content_type, value.size, value.read().decode("latin-1")])
    return JSONResponse(items)


async def show_async(request: Request) -> Response:
    given: dict[str, Any] = {name: int(value) for name, value in request.query_params.items() if name in LIMITS}
    items: list[Any] = []
    async with request.form(**given) as form:
        assert isinstance(form, FormData)
        for name, value in form.multi_items():
            if isinstance(value, str):
                items.append([name, value])
            else:
                assert isinstance(value, UploadFile)
                data = await value.read()
                items.append([name, value.filename, value.content_type, value.size, data.decode("latin-1")])
    return JSONResponse(items)


HANDLERS = pytest.mark.parametrize("handler", [show, show_async], ids=["def", "async def"])
CHUNKED = pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])


def posting(handler: Any, **options: Any) -> DualRoute:
    return DualRoute([Route("/", handler, methods=["POST", "PUT"])], **options)


def send(client: httpx.Client, body: bytes, *, chunked: bool = False, path: str = "/") -> httpx.Response:
    content: Any = iter([body[at : at + 1000] for at in range(0, len(body), 1000)]) if chunked else body
    return client.post(path, content=content, headers=TYPE)


@HANDLERS
def test_a_form_as_a_client_library_sends_it(serve: Serve, handler: Any) -> None:
    client = serve(posting(handler))
    assert client.post("/", data={"a": ["1", "ü"], "b": ""}).json() == [["a", "1"], ["a", "ü"], ["b", ""]]
    answer = client.post(
        "/", data={"a": "1"}, files=[("f", ("ü.txt", b"x\r\n", "text/plain")), ("f", ("2", b"", "image/png"))]
    )
    assert answer.json() == [["a", "1"], ["f", "ü.txt", "text/plain", 3, "x\r\n"], ["f", "2", "image/png", 0, ""]]


@CHUNKED
@HANDLERS
@pytest.mark.parametrize("size", [0, 5000, MIB, MIB + 1, 3 * MIB + 7])
def test_a_file_of_any_size_comes_whole(serve: Serve, handler: Any, size: int, chunked: bool) -> None:
    content = (b"0123456789\r\n" * (size // 12 + 1))[:size]
    body = part('name="f"; filename="x"', content) + part('name="a"', b"1") + END
    answer = send(serve(posting(handler)), body, chunked=chunked)
    assert answer.json() == [["f", "x", None, size, content.decode()], ["a", "1"]]


@HANDLERS
@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json", "multipart/mixed; boundary=x", ";"])
def test_a_body_of_another_type_is_an_empty_form_and_is_not_read(
    serve: Serve, handler: Any, content_type: str | None
) -> None:
    def body_too(request: SyncRequest) -> Response:
        request.form()
        return Response(request.body(), media_type="a/b")

    headers = {"content-type": content_type} if content_type else {}
    assert serve(posting(handler)).post("/", content=b"a=1", headers=headers).json() == []
    assert serve(posting(body_too)).post("/", content=b"a=1", headers=headers).content == b"a=1"


@HANDLERS
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("Multipart/Form-Data; Boundary=b0undary", part('name="a"', b"\xc3\xa9") + END),
        ('multipart/form-data; charset=latin-1; boundary="b0undary"', part('name="a"', b"\xe9") + END),
        ("application/x-www-form-urlencoded", b"a=%C3%A9"),
        ("APPLICATION/X-WWW-FORM-URLENCODED; charset=ISO-8859-1", b"a=%E9"),
    ],
)
def test_the_type_may_be_written_in_many_ways(serve: Serve, handler: Any, content_type: str, body: bytes) -> None:
    answer = serve(posting(handler)).post("/", content=body, headers={"content-type": content_type})
    assert answer.json() == [["a", "é"]]


@HANDLERS
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", END),
        ("multipart/form-data; boundary=", END),
        (f"multipart/form-data; boundary={'x' * 5000}", END),
        ("multipart/form-data; boundary=b0undary", b""),
        ("multipart/form-data; boundary=b0undary", b"x"),
        ("multipart/form-data; boundary=b0undary", part('name="a"', b"1")),
        ("multipart/form-data; boundary=b0undary", part("no", b"1") + END),
        ("multipart/form-data; boundary=b0undary", part('name="a"', b"\xff") + END),
        ("multipart/form-data; boundary=b0undary", b"--b0undary\r\n" + b"x: y\r\n" * 20_000),
        ("multipart/form-data; boundary=b0undary; charset=no-such", part('name="a"', b"x") + END),
        ("application/x-www-form-urlencoded", b"a=%FF"),
        ("application/x-www-form-urlencoded; charset=no-such", b"a=1"),
    ],
)
def test_a_malformed_form_is_400_and_one_line_in_the_log(
    serve: Serve, handler: Any, content_type: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dualroute")
    answer = serve(posting(handler)).post("/", content=body, headers={"content-type": content_type})
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.startswith("Bad Request: ")
    (record,) = [record for record in caplog.records if record.name == "dualroute"]
    assert (record.levelname, record.getMessage()) == ("INFO", f"POST /: {answer.text}")
    assert record.exc_info is None


# Limits


@HANDLERS
@CHUNKED
@pytest.mark.parametrize(
    ("name", "argument", "most", "body"),
    [
        ("max_form_files", "max_files", 1, part('name="f"; filename="x"') * 2 + END),
        ("max_form_fields", "max_fields", 2, part('name="f"') * 3 + END),
        ("max_part_size", "max_part_size", 10, part('name="f"', b"x" * 11) + END),
        ("max_text_size", "max_text_size", 20, part('name="f"', b"x" * 10) * 2 + END),
        ("max_file_size", "max_file_size", 10, part('name="f"; filename="x"', b"x" * 11) + END),
    ],
)
def test_each_limit_holds_for_an_app_and_for_a_call(
    serve: Serve, handler: Any, name: str, argument: str, most: int, body: bytes, chunked: bool
) -> None:
    assert send(serve(posting(handler)), body, chunked=chunked).status_code == 200
    answers = [
        send(serve(posting(handler, limits=Limits(**{name: most}))), body, chunked=chunked),
        send(serve(posting(handler)), body, path=f"/?{argument}={most}", chunked=chunked),
        send(serve(posting(handler, limits=Limits(**{name: most + 5}))), body, path=f"/?{argument}={most}"),
    ]
    assert [answer.status_code for answer in answers] == [413] * 3
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].text.startswith("Content Too Large: ")
    assert str(most) in answers[0].text
    more = serve(posting(handler, limits=Limits(**{name: most})))
    assert send(more, body, path=f"/?{argument}={most * 2}", chunked=chunked).status_code == 200


@HANDLERS
def test_the_limit_on_the_whole_body_holds_for_forms(serve: Serve, handler: Any) -> None:
    client = serve(posting(handler, limits=Limits(max_body_size=1000)))
    body = part('name="f"; filename="x"', b"x" * 1000) + END
    for chunked in (False, True):
        assert send(client, body, chunked=chunked).status_code == 413


def test_limits_add_up_from_the_outside_in(serve: Serve) -> None:
    app = DualRoute(
        [
            Route("/", show, methods=["POST"]),
            Route("/more", show, methods=["POST"], limits=Limits(max_form_fields=3)),
            Mount(
                "/inner",
                app=DualRoute(
                    [Route("/", show, methods=["POST"], limits=Limits(max_body_size=None))],
                    limits=Limits(max_part_size=2),
                ),
                limits=Limits(max_part_size=5, max_form_fields=4),
            ),
        ],
        limits=Limits(max_form_fields=1, max_body_size=1000),
    )
    client = serve(app)

    def status(path: str, fields: int, size: int) -> int:
        return send(client, part('name="a"', b"x" * size) * fields + END, path=path).status_code

    assert [status("/", 1, 500), status("/", 2, 1), status("/", 1, 1000)] == [200, 413, 413]
    assert [status("/more", 3, 1), status("/more", 4, 1), status("/more", 1, 1000)] == [200, 413, 413]
    assert [status("/inner/", 4, 2), status("/inner/", 5, 1), status("/inner/", 1, 3)] == [200, 413, 413]
    filler = part('name="f"; filename="x"', b"x" * 5000)
    assert send(client, filler + END, path="/inner/").status_code == 200


def test_infinity_lifts_a_limit_as_in_starlette(serve: Serve) -> None:
    async def count(request: Request) -> Response:
        form = await request.form(max_fields=float("inf"), max_part_size=10)
        return PlainTextResponse(str(len(form.multi_items())))

    assert serve(posting(count)).post("/", content=b"a=1&" * 3000, headers=URLENCODED).text == "3000"


URLENCODED = {"content-type": "application/x-www-form-urlencoded"}


@HANDLERS
def test_100_000_tiny_fields_are_413(serve: Serve, handler: Any) -> None:
    client = serve(posting(handler))
    assert send(client, part('name="a"', b"1") * 100_000 + END).status_code == 413
    assert client.post("/", content=b"a=1&" * 100_000, headers=URLENCODED).status_code == 413


# Shared


@pytest.mark.parametrize("first", ["body", "form"])
@pytest.mark.parametrize("colour", ["def", "async def"])
def test_the_body_may_be_read_before_the_form_and_not_after_it(serve: Serve, colour: str, first: str) -> None:
    def both(request: SyncRequest) -> Response:
        try:
            for name in (first, "form", "body"):
                getattr(request, name)()
        except RuntimeError as error:
            return PlainTextResponse(str(error))
        return JSONResponse([request.form()["a"], request.body().decode()])

    async def both_async(request: Request) -> Response:
        try:
            for name in (first, "form", "body"):
                await getattr(request, name)()
        except RuntimeError as error:
            return PlainTextResponse(str(error))
        return JSONResponse([(await request.form())["a"], (await request.body()).decode()])

    answer = serve(posting(both if colour == "def" else both_async)).post("/", content=b"a=1", headers=URLENCODED)
    if first == "body":
        assert answer.json() == ["1", "a=1"]
    else:
        assert "streamed before; read it with body()" in answer.text


def test_the_form_is_one_for_middleware_handlers_and_exception_handlers_of_both_colours(serve: Serve) -> None:
    seen: list[Any] = []

    def looking(request: Any) -> Generator[Any, Any, Response]:
        form = yield Call(request.form)
        seen.append(form)
        upload = form["f"]
        seen.append((yield Call(upload.read, 2)))
        response: Response = yield request
        return response

    async def handler(request: Request) -> Response:
        form = await request.form()
        assert form is await request.form()
        seen.append(form)
        upload = form["f"]
        assert isinstance(upload, UploadFile)
        seen.append(await upload.read(2))
        await upload.seek(100)
        await upload.write(b"!")
        raise LookupError

    def failed(request: SyncRequest, error: Exception) -> Response:
        form = request.form()
        upload = form["f"]
        assert isinstance(upload, SyncUploadFile)
        assert (upload.filename, upload.size) == ("x", 7)
        upload.seek(0)
        return JSONResponse([upload.read(6).decode(), form["a"]])

    client = serve(posting(handler, middleware=[looking], exception_handlers={LookupError: failed}))
    answer = send(client, part('name="f"; filename="x"', b"abcdef") + part('name="a"', b"1") + END)
    assert answer.json() == ["abcdef", "1"]
    assert seen[0] is seen[2]
    assert isinstance(seen[0], FormData)
    assert [seen[1], seen[3]] == [b"ab", b"cd"]


@pytest.mark.parametrize("colour", ["def", "async def"])
def test_a_refused_form_is_refused_again(serve: Serve, colour: str) -> None:
    def refused(request: SyncRequest, error: HTTPException) -> Response:
        request.close()
        try:
            request.form()
        except HTTPException as again:
            return JSONResponse([type(again).__name__, str(again) == str(error)], status_code=again.status_code)
        return PlainTextResponse("taken")

    async def refused_async(request: Request, error: HTTPException) -> Response:
        await request.close()
        try:
            await request.form()
        except HTTPException as again:
            return JSONResponse([type(again).__name__, str(again) == str(error)], status_code=again.status_code)
        return PlainTextResponse("taken")

    handlers: dict[Any, Any] = {HTTPException: refused if colour == "def" else refused_async}
    client = serve(posting(show, exception_handlers=handlers, limits=Limits(max_part_size=1)))
    answer = send(client, b"x")
    assert (answer.status_code, answer.json()) == (400, ["MultiPartException", True])
    answer = send(client, part('name="a"', b"12") + END)
    assert (answer.status_code, answer.json()) == (413, ["BodyTooLarge", True])


# Files end with their request


class Opened:
    """Remembers the files that forms opened, and in which thread each was written on disk and closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[Any] = []
        self.threads: set[int] = set()
        base: Any = SpooledTemporaryFile
        opened = self

        class Spooled(base):  # type: ignore[misc]
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                opened.files.append(self)

            def _note(self) -> None:
                if self._rolled:
                    opened.threads.add(threading.get_ident())

            def rollover(self) -> None:
                super().rollover()
                self._note()

            def write(self, data: Any) -> Any:
                result = super().write(data)
                self._note()
                return result

            def read(self, *args: Any) -> Any:
                self._note()
                return super().read(*args)

            def seek(self, *args: Any) -> Any:
                self._note()
                return super().seek(*args)

            def close(self) -> None:
                self._note()
                super().close()

        monkeypatch.setattr(dualroute.multipart, "SpooledTemporaryFile", Spooled)

    def all_closed(self) -> bool:
        return bool(self.files) and all(file.closed for file in self.files)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(monkeypatch)


SIZES = pytest.mark.parametrize("size", [10, 2 * MIB], ids=["small", "large"])


@pytest.mark.parametrize("colour", ["def", "async def"])
@pytest.mark.parametrize("ends", ["returns", "raises", "streams"])
@SIZES
def test_files_are_closed_when_the_request_is_over(
    serve: Serve, colour: str, ends: str, size: int, opened: Opened
) -> None:
    seen: list[bool] = []

    def handler(request: SyncRequest) -> Response:
        form = request.form()
        file = form["f"]
        assert isinstance(file, SyncUploadFile)
        seen.append(file.file.closed)
        if ends == "raises":
            raise HTTPException(418)
        if ends == "streams":
            return StreamingResponse(iter(lambda: file.read(100_000), b""), media_type="a/b")
        return PlainTextResponse("")

    async def handler_async(request: Request) -> Response:
        form = await request.form()
        file = form["f"]
        assert isinstance(file, UploadFile)
        seen.append(file.file.closed)
        if ends == "raises":
            raise HTTPException(418)

        async def pieces() -> AsyncIterator[bytes]:
            while piece := await file.read(100_000):
                yield piece

        if ends == "streams":
            return StreamingResponse(pieces(), media_type="a/b")
        return PlainTextResponse("")

    client = serve(posting(handler if colour == "def" else handler_async))
    answer = send(client, part('name="f"; filename="x"', b"x" * size) + part('name="g"; filename="y"', b"y") + END)
    assert answer.status_code == (418 if ends == "raises" else 200)
    assert len(answer.content) == {"returns": 0, "raises": len("I'm a Teapot"), "streams": size}[ends]
    assert seen == [False]
    assert len(opened.files) == 2
    assert opened.all_closed()


@HANDLERS
@SIZES
@pytest.mark.parametrize("rest", [b"", b"\r\n--b0undary\r\nX: y\r\n\r\n", part('name="a"', b"x" * 2 * MIB)])
def test_files_are_closed_where_a_form_fails_half_way(
    serve: Serve, handler: Any, size: int, rest: bytes, opened: Opened
) -> None:
    body = part('name="e"; filename="x"', b"x" * 10) + part('name="f"; filename="x"', b"x" * size)
    assert send(serve(posting(handler)), body + rest).status_code in (400, 413)
    assert len(opened.files) == 2
    assert opened.all_closed()


@HANDLERS
@SIZES
def test_files_are_closed_where_the_client_leaves(protocol: str, handler: Any, size: int, opened: Opened) -> None:
    body = part('name="e"; filename="x"', b"x" * size) + part('name="f"; filename="x"', b"x" * 70_000)
    status = cut_short(protocol, posting(handler), body)
    assert status == 400
    assert opened.all_closed()


def cut_short(protocol: str, app: Any, body: bytes) -> int:
    """Upload a body whose end does not come, and return the status of the answer."""
    if protocol == "wsgi":
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "SERVER_NAME": "h",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": TYPE["content-type"],
            "CONTENT_LENGTH": str(len(body) + 100),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        return int(call_wsgi(app, environ)[0].split()[0])

    async def main() -> int:
        events: list[dict[str, Any]] = [
            {"type": "http.request", "body": body[at : at + 65_536], "more_body": True}
            for at in range(0, len(body), 65_536)
        ]
        events.append({"type": "http.disconnect"})
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return events.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": [
                (b"host", b"h"),
                (b"content-type", TYPE["content-type"].encode()),
                (b"content-length", str(len(body) + 100).encode()),
            ],
        }
        await app(scope, receive, send)
        return int(sent[0]["status"])

    return asyncio.run(main())


@pytest.mark.protocol("asgi")
def test_files_are_closed_where_the_request_is_cancelled(opened: Opened) -> None:
    body = part('name="e"; filename="x"', b"x" * 2 * MIB) + part('name="f"; filename="x"', b"x" * 70_000)

    async def main() -> None:
        began = asyncio.Event()
        events = [{"type": "http.request", "body": body, "more_body": True}]

        async def receive() -> dict[str, Any]:
            if events:
                return events.pop(0)
            began.set()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            raise AssertionError

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": [
                (b"host", b"h"),
                (b"content-type", TYPE["content-type"].encode()),
                (b"transfer-encoding", b"chunked"),
            ],
        }
        task = asyncio.create_task(posting(show_async)(scope, receive, send))
        await asyncio.wait_for(began.wait(), 10)
        assert opened.files
        assert not opened.all_closed()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert opened.all_closed()


@HANDLERS
def test_no_event_loop_touches_the_disk(serve: Serve, handler: Any, opened: Opened) -> None:
    loops: set[int] = set()

    async def where(request: Request) -> Response:
        loops.add(threading.get_ident())
        return PlainTextResponse("")

    app = DualRoute([Route("/", handler, methods=["POST"]), Route("/where", where)])
    client = serve(app)
    assert client.get("/where").status_code == 200
    body = part('name="f"; filename="x"', b"x" * 3 * MIB) + part('name="g"; filename="y"', b"y") + END
    assert send(client, body).status_code == 200
    assert opened.all_closed()
    assert opened.threads
    assert not opened.threads & loops


@HANDLERS
def test_a_small_form_asks_for_no_thread(
    protocol: str, serve: Serve, handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dualroute_asgi import ThreadPool

    hops: list[Any] = []
    start = ThreadPool.start

    def counted(self: Any, function: Any, *args: Any) -> Any:
        hops.append(function)
        return start(self, function, *args)

    monkeypatch.setattr(ThreadPool, "start", counted)
    client = serve(posting(handler))
    assert send(client, part('name="f"; filename="x"', b"x" * 1000) + END).status_code == 200
    assert len(hops) == (protocol == "asgi" and handler is show)


def test_many_files_are_not_all_held_in_memory(opened: Opened, serve: Serve) -> None:
    on_disk: list[int] = []

    def count(request: SyncRequest) -> Response:
        request.form()
        on_disk.append(sum(file._rolled for file in opened.files))
        return PlainTextResponse("")

    client = serve(posting(count))
    assert send(client, part('name="f"; filename="x"', b"x" * MIB) * 12 + END).status_code == 200
    assert send(client, part('name="f"; filename="x"', b"x" * 1000) * 100 + END).status_code == 200
    assert on_disk == [4, 4], "8 MiB are held, and small files in any case"


# By hand


def stream_of(*pieces: bytes) -> Any:
    async def stream() -> Any:
        for piece in pieces:
            yield piece

    return stream()


def test_the_parsers_by_starlette_s_names() -> None:
    async def main() -> None:
        parser = FormParser(Headers({"content-type": "x; charset=latin-1"}), stream_of(b"a=1&b", b"=%E9"))
        form = await parser.parse()
        assert form.multi_items() == [("a", "1"), ("b", "é")]
        body = part('name="a"', b"1") + part('name="f"; filename="x"', b"data") + END
        form = await MultiPartParser(Headers(TYPE), stream_of(body[:50], body[50:]), max_files=1).parse()
        file = form["f"]
        assert isinstance(file, UploadFile)
        assert (form["a"], file.filename, await file.read()) == ("1", "x", b"data")
        await form.close()
        assert file.file.closed
        with pytest.raises(MultiPartException) as caught:
            await MultiPartParser(Headers({"content-type": "multipart/form-data"}), stream_of(body)).parse()
        assert caught.value.message == "the form can't be read: its Content-Type has no boundary"
        with pytest.raises(BodyTooLarge):
            await MultiPartParser(Headers(TYPE), stream_of(body), max_files=0).parse()
        with pytest.raises(BodyTooLarge):
            await FormParser(Headers(), stream_of(b"a&b"), max_fields=1).parse()

    asyncio.run(main())


def test_a_parser_s_own_size_for_memory_counts() -> None:
    class Small(MultiPartParser):
        spool_max_size = 10

    async def main() -> None:
        form = await Small(Headers(TYPE), stream_of(part('name="f"; filename="x"', b"x" * 11) + END)).parse()
        file: Any = form["f"]
        assert file.file._rolled
        assert await file.read() == b"x" * 11
        await form.close()

    asyncio.run(main())


def test_a_request_made_by_hand_has_a_form() -> None:
    async def main() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"a=1"}

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "headers": [(b"host", b"h"), (b"content-type", b"application/x-www-form-urlencoded")],
        }
        request = Request(scope, receive)
        assert (await request.form())["a"] == "1"
        await request.close()
        form = request.form()
        assert not asyncio.iscoroutine(form), "one that is not awaited is nothing to warn of"

    asyncio.run(main())


def test_a_disconnect_comes_out_of_the_form(protocol: str) -> None:
    seen: list[str] = []

    async def handler(request: Request) -> Response:
        try:
            await request.form()
        except ClientDisconnect:
            seen.append("gone")
            raise
        return PlainTextResponse("")

    assert cut_short(protocol, posting(handler), part('name="a"', b"1")) == 400
    assert seen == ["gone"]
