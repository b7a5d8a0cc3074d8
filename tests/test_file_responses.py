"""FileResponse: a file in full, its headers, its name, what goes wrong with it, and who sends it."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import dualroute.fileresponses as fileresponses
from dualroute import BackgroundTask, DualRoute, Mount, PlainTextResponse, Request, Response, Route, SyncRequest
from dualroute.responses import FileResponse
from dualroute.staticfiles import StaticFiles
from dualroute_asgi.threads import ThreadPool
from tests.conftest import Serve
from tests.transports import call_wsgi

BIG = 3_000_000


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "hello.txt"
    path.write_text("hello world")
    return path


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(BIG))
    return path


COLOURS = pytest.mark.parametrize("colour", ["def", "async def"])


def app_for(make: Callable[[], Response], colour: str = "async def", **options: Any) -> DualRoute:
    """Return an app that answers everything with what `make` returns, in a handler of a colour."""

    def handler(request: SyncRequest) -> Response:
        return make()

    async def handler_async(request: Request) -> Response:
        return make()

    endpoint = handler if colour == "def" else handler_async
    return DualRoute([Route("/", endpoint, methods=["GET", "POST"])], **options)


@COLOURS
def test_a_file_is_sent_with_what_is_known_of_it(serve: Serve, text: Path, colour: str) -> None:
    client = serve(app_for(lambda: FileResponse(text), colour))
    for _ in range(3):
        answer = client.get("/")
        assert (answer.status_code, answer.content) == (200, b"hello world")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["content-length"] == "11"
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["etag"].startswith('"')
        modified = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(text.stat().st_mtime))
        assert answer.headers["last-modified"] == modified
        assert "content-disposition" not in answer.headers


@COLOURS
def test_a_big_file_is_sent_whole(serve: Serve, big: Path, colour: str) -> None:
    client = serve(app_for(lambda: FileResponse(big), colour))
    for _ in range(2):
        answer = client.get("/")
        assert answer.content == big.read_bytes()
        assert answer.headers["content-length"] == str(BIG)
        assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_048_576, 1_048_577])
def test_a_file_of_any_size_is_sent_whole(serve: Serve, tmp_path: Path, size: int) -> None:
    path = tmp_path / "some.bin"
    path.write_bytes(os.urandom(size))
    answer = serve(app_for(lambda: FileResponse(path))).get("/")
    assert answer.content == path.read_bytes()
    assert answer.headers["content-length"] == str(size)


@COLOURS
def test_head_has_the_headers_and_no_body(serve: Serve, big: Path, colour: str) -> None:
    client = serve(app_for(lambda: FileResponse(big), colour))
    answer = client.head("/")
    assert (answer.status_code, answer.content) == (200, b"")
    got = client.get("/")
    assert dict(answer.headers) == dict(got.headers)


def test_the_etag_follows_the_file(serve: Serve, text: Path) -> None:
    client = serve(app_for(lambda: FileResponse(text)))
    first = client.get("/").headers["etag"]
    assert client.get("/").headers["etag"] == first
    text.write_text("hello there")
    os.utime(text, ns=(1, text.stat().st_mtime_ns + 1))
    assert client.get("/").headers["etag"] != first


def test_headers_that_are_given_come_first(serve: Serve, text: Path) -> None:
    headers = {"ETag": '"mine"', "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT", "Content-Length": "3", "x-a": "b"}
    answer = serve(app_for(lambda: FileResponse(text, headers=headers))).get("/")
    assert answer.headers["etag"] == '"mine"'
    assert answer.headers["last-modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert answer.headers["x-a"] == "b"
    assert answer.headers["content-length"] == "11", "there is one true length"


def test_what_stat_said_gives_the_headers_at_once_and_the_file_those_that_are_sent(serve: Serve, text: Path) -> None:
    before = text.stat()
    response = FileResponse(text, stat_result=before)
    assert response.headers["content-length"] == "11"
    assert response.headers["etag"]
    assert response.headers["last-modified"]
    text.write_text("longer than it was")
    answer = serve(app_for(lambda: response)).get("/")
    assert answer.text == "longer than it was"
    assert answer.headers["content-length"] == "18"
    assert answer.headers["etag"] != response.headers["etag"]


def test_a_file_response_can_be_sent_again_and_is_an_app(serve: Serve, text: Path) -> None:
    response = FileResponse(text, status_code=201)
    for app in (response, app_for(lambda: response), DualRoute([Mount("/", app=response)])):
        client = serve(app)
        for _ in range(2):
            answer = client.get("/")
            assert (answer.status_code, answer.text) == (201, "hello world")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.b.JS", "text/javascript; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.woff2", "font/woff2"),
        ("a.wasm", "application/wasm"),
        ("a.tar.gz", "application/gzip"),
        ("a.nothing", "application/octet-stream"),
        ("css", "application/octet-stream"),
        (".css", "application/octet-stream"),
    ],
)
def test_the_type_is_that_of_the_name(name: str, media_type: str) -> None:
    assert FileResponse(f"/somewhere.txt/{name}").headers["content-type"] == media_type
    assert FileResponse("/x.txt", filename=name).headers["content-type"] == media_type
    assert FileResponse(f"/{name}", media_type="text/x-own").headers["content-type"] == "text/x-own; charset=utf-8"


# Names for the download


@pytest.mark.parametrize(
    ("filename", "value"),
    [
        ("report.pdf", 'attachment; filename="report.pdf"'),
        ("a b.pdf", 'attachment; filename="a b.pdf"'),
        ("Grüße.txt", "attachment; filename=\"Gru_e.txt\"; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt"),
        ("你好.txt", "attachment; filename=\"__.txt\"; filename*=utf-8''%E4%BD%A0%E5%A5%BD.txt"),
        ('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=utf-8''a%22b.txt"),
        ("a\\b/c%d.txt", "attachment; filename=\"a_b_c_d.txt\"; filename*=utf-8''a%5Cb%2Fc%25d.txt"),
        ("a\r\nb: c=d", "attachment; filename=\"a__b: c=d\"; filename*=utf-8''a%0D%0Ab%3A%20c%3Dd"),
        ("a\0;x=y", "attachment; filename=\"a_;x=y\"; filename*=utf-8''a%00%3Bx%3Dy"),
        ("\udcff", "attachment; filename=\"_\"; filename*=utf-8''%3F"),
        ("", 'attachment; filename="download"'),
    ],
)  # fmt: skip
def test_a_name_is_given_in_utf8_and_in_ascii_and_breaks_out_of_neither(filename: str, value: str) -> None:
    assert FileResponse("/x", filename=filename).headers["content-disposition"] == value


def test_a_name_may_go_with_a_file_that_is_to_be_shown(serve: Serve, text: Path) -> None:
    client = serve(app_for(lambda: FileResponse(text, filename="é.txt", content_disposition_type="inline")))
    value = client.get("/").headers["content-disposition"]
    assert value == "inline; filename=\"e.txt\"; filename*=utf-8''%C3%A9.txt"


@pytest.mark.parametrize("kind", ["", "a b", 'a"', "a;b", "a\r\nb", "ü"])
@pytest.mark.parametrize("filename", [None, "x"])
def test_a_disposition_is_a_token(kind: str, filename: str | None) -> None:
    with pytest.raises(ValueError, match="is a token such as 'attachment' or 'inline', not"):
        FileResponse("/x", filename=filename, content_disposition_type=kind)


# What can't be sent


def absent(folder: Path) -> Path:
    return folder / "absent"


def directory(folder: Path) -> Path:
    return folder


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "x"


def impossible(folder: Path) -> Path:
    return folder / "a\0b"


def device(folder: Path) -> Path:
    return Path("/dev/zero")


WRONG = [
    (absent, "does not exist"),
    (directory, "is not a file"),
    (pipe, "is not a file"),
    (device, "is not a file"),
    (below_a_file, "does not exist"),
    (impossible, "can't be read"),
]


@COLOURS
@pytest.mark.parametrize(("make", "message"), WRONG)
def test_what_can_not_be_sent_is_an_error_of_the_handler(
    serve: Serve, tmp_path: Path, make: Callable[[Path], Path], message: str, colour: str, caplog: Any
) -> None:
    path = make(tmp_path)
    seen: list[Exception] = []

    def handle(request: SyncRequest, error: Exception) -> Response:
        seen.append(error)
        return PlainTextResponse("gone", status_code=410)

    client = serve(app_for(lambda: FileResponse(path), colour, exception_handlers={RuntimeError: handle}))
    for _ in range(2):
        answer = client.get("/")
        assert (answer.status_code, answer.text) == (410, "gone")
        assert message in str(seen.pop())
        assert str(tmp_path) not in answer.text
    assert serve(app_for(lambda: FileResponse(path), colour)).get("/").status_code == 500
    assert message in caplog.text


def test_a_file_that_may_not_be_read_is_an_error_too(
    serve: Serve, text: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    # Tests may run as a user who may read everything.
    def refuse(*args: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fileresponses, "_opener", refuse)
    assert serve(app_for(lambda: FileResponse(text))).get("/").status_code == 500
    assert "can't be read: Permission denied" in caplog.text


def test_a_file_that_has_gone_since_stat_is_an_error_too(serve: Serve, text: Path) -> None:
    response = FileResponse(text, stat_result=text.stat())
    text.unlink()
    assert serve(app_for(lambda: response)).get("/").status_code == 500


@COLOURS
def test_a_file_that_shrinks_while_it_is_sent_cuts_the_answer(
    serve: Serve, big: Path, colour: str, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fileresponses.FileBody.__next__
    bodies: list[Any] = []

    def advance(self: Any) -> bytes:
        bodies.append(self)
        if self._position > 500_000:
            os.truncate(big, 100_000)
        return real(self)

    monkeypatch.setattr(fileresponses.FileBody, "__next__", advance)
    client = serve(app_for(lambda: FileResponse(big, background=BackgroundTask(pytest.fail, "after a cut")), colour))
    with pytest.raises((ConnectionResetError, AssertionError)):
        client.get("/")
    assert "has become shorter than the 3000000 bytes" in caplog.text
    assert all(body._file.closed for body in bodies)


def test_a_small_file_that_shrinks_before_it_is_read_is_an_error(
    serve: Serve, text: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    real = fileresponses.open_file

    def open_and_truncate(path: Any) -> Any:
        opened = real(path)
        os.truncate(path, 3)
        return opened

    monkeypatch.setattr(fileresponses, "open_file", open_and_truncate)
    assert serve(app_for(lambda: FileResponse(text))).get("/").status_code == 500
    assert "has become shorter" in caplog.text


# Who opens it, where, and who closes it


class Watched:
    """Which files are open, and which threads have touched one."""

    def __init__(self) -> None:
        self.files: list[Any] = []
        self.threads: set[int] = set()

    @property
    def all_closed(self) -> bool:
        return all(file.closed for file in self.files)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    seen = Watched()

    class File(io.FileIO):
        closings = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            seen.threads.add(threading.get_ident())
            super().__init__(*args, **options)
            seen.files.append(self)

        def read(self, size: int | None = -1, /) -> Any:
            seen.threads.add(threading.get_ident())
            return super().read(size)

        def close(self) -> None:
            if not self.closed:
                seen.threads.add(threading.get_ident())
                self.closings += 1
            super().close()

    monkeypatch.setattr(io, "FileIO", File)
    return seen


WAYS = {
    "whole": ("GET", {}),
    "head": ("HEAD", {}),
    "range": ("GET", {"range": "bytes=1-200000"}),
    "ranges": ("GET", {"range": "bytes=1-2,100-200000"}),
    "beyond": ("GET", {"range": "bytes=99999999-"}),
    "unchanged": ("GET", {"if-none-match": "*"}),
    "changed": ("GET", {"if-match": '"x"'}),
}


@COLOURS
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [10, BIG])
def test_the_file_is_opened_once_and_closed_and_never_on_the_event_loop(
    serve: Serve,
    protocol: str,
    tmp_path: Path,
    watched: Watched,
    colour: str,
    way: str,
    size: int,
    event_loop_thread: Any,
) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(size))
    client = serve(app_for(lambda: FileResponse(path), colour))
    method, headers = WAYS[way]
    for _ in range(2):
        watched.files.clear()
        client.request(method, "/", headers=headers)
        assert [file.closings for file in watched.files] == [1]
    if protocol == "asgi":
        assert event_loop_thread._thread.ident not in watched.threads
    else:
        assert watched.threads == {threading.get_ident()}


@COLOURS
def test_a_response_that_a_middleware_drops_is_closed(serve: Serve, big: Path, watched: Watched, colour: str) -> None:
    def middleware(connection: Any) -> Generator[Any, Any, Any]:
        yield connection
        return PlainTextResponse("instead")

    for dropping in (middleware, failing):
        client = serve(app_for(lambda: FileResponse(big), colour, middleware=[dropping]))
        for _ in range(2):
            client.get("/")
    assert len(watched.files) == 4
    assert [file.closings for file in watched.files] == [1] * 4


def failing(connection: Any) -> Generator[Any, Any, Any]:
    yield connection
    raise RuntimeError("after the file")


@COLOURS
def test_a_middleware_sees_a_response_like_any_other_and_may_change_its_body(
    serve: Serve, big: Path, watched: Watched, colour: str
) -> None:
    def shouting(connection: Any) -> Generator[Any, Any, Any]:
        response: Any = yield connection
        assert isinstance(response, FileResponse)
        assert response.headers["content-length"] == str(BIG)
        body: Any = response.body_iterator
        if isinstance(body, fileresponses.FileBody):
            response.body_iterator = (bytes(len(piece)) for piece in body)
        else:

            async def zeros() -> AsyncIterator[bytes]:
                async for piece in body:
                    yield bytes(len(piece))

            response.body_iterator = zeros()
        return response

    client = serve(app_for(lambda: FileResponse(big), colour, middleware=[shouting]))
    for _ in range(2):
        assert client.get("/").content == bytes(BIG)
    assert watched.all_closed


def test_a_middleware_and_an_exception_handler_may_answer_with_a_file(serve: Serve, text: Path) -> None:
    def early(connection: Any) -> Generator[Any, Any, Any]:
        if connection.query_params.get("early"):
            return FileResponse(text)
        return (yield connection)

    def outer(connection: Any) -> Generator[Any, Any, Any]:
        response = yield connection
        response.headers["x-length"] = response.headers["content-length"]
        return response

    async def page(request: Request, error: Exception) -> Response:
        return FileResponse(text, status_code=404)

    app = DualRoute([], middleware=[outer, early], exception_handlers={404: page})
    client = serve(app)
    for query, status_code in (("?early=1", 200), ("", 404)):
        answer = client.get(f"/{query}")
        assert (answer.status_code, answer.text, answer.headers["x-length"]) == (status_code, "hello world", "11")


def test_what_is_to_run_afterwards_runs_whatever_was_asked_for(serve: Serve, text: Path) -> None:
    ran: list[str] = []

    def make() -> Response:
        return FileResponse(text, background=BackgroundTask(ran.append, "ran"))

    client = serve(app_for(make))
    for method, headers in WAYS.values():
        client.request(method, "/", headers=headers)
    assert len(ran) == len(WAYS)


@COLOURS
@pytest.mark.protocol("asgi")  # the pool is there
@pytest.mark.parametrize("size", [10, 65_536, 500_000])
def test_a_file_takes_one_visit_of_a_thread(
    serve: Serve, tmp_path: Path, colour: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(size))
    visits: list[Any] = []
    real = ThreadPool.start

    def start(self: ThreadPool, function: Any, args: Any, receiver: Any) -> Any:
        visits.append(function)
        return real(self, function, args, receiver)

    monkeypatch.setattr(ThreadPool, "start", start)
    client = serve(app_for(lambda: FileResponse(path), colour))
    client.get("/")  # a `def` handler is known by then to return files
    visits.clear()
    assert len(client.get("/").content) == size
    # A `def` handler's thread opens the file, and reads it where it is small.
    assert len(visits) == (2 if colour == "def" and size > 65_536 else 1)


# What the server can do by itself


class Wrapper:
    """A server's ``wsgi.file_wrapper``."""

    def __init__(self, filelike: Any, block_size: int = 8192) -> None:
        self.filelike = filelike
        self.block_size = block_size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.filelike.read(self.block_size), b"")

    def close(self) -> None:
        self.filelike.close()


def environ_for(method: str = "GET", **further: Any) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": None,
        "wsgi.file_wrapper": Wrapper,
        **further,
    }


@COLOURS
@pytest.mark.parametrize("with_background", [False, True])
def test_a_whole_file_goes_to_the_wsgi_server_s_file_wrapper(
    big: Path, watched: Watched, colour: str, with_background: bool
) -> None:
    ran: list[str] = []
    background = BackgroundTask(ran.append, "ran") if with_background else None
    app = app_for(lambda: FileResponse(big, background=background), colour)
    started: list[Any] = []
    result: Any = app(environ_for(), lambda *args: started.append(args))
    assert type(result) is Wrapper
    assert started[0][0] == "200 OK"
    assert os.fstat(result.filelike.fileno()).st_size == BIG
    assert b"".join(result) == big.read_bytes()
    assert not ran
    result.close()
    result.close()
    assert watched.all_closed
    assert ran == ["ran"] * with_background


@pytest.mark.parametrize("way", [way for way in WAYS if way != "whole"])
def test_nothing_else_does(big: Path, way: str) -> None:
    method, headers = WAYS[way]
    further = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    result: Any = app_for(lambda: FileResponse(big))(environ_for(method, **further), lambda *args: None)
    assert not isinstance(result, Wrapper)
    list(result)
    getattr(result, "close", lambda: None)()


def test_nor_a_file_that_a_middleware_has_changed(big: Path) -> None:
    def middleware(connection: Any) -> Generator[Any, Any, Any]:
        response = yield connection
        response.body_iterator = iter([b"".join(response.body_iterator)])
        return response

    _, _, chunks = call_wsgi(app_for(lambda: FileResponse(big), middleware=[middleware]), environ_for(), validate=False)
    assert b"".join(chunks) == big.read_bytes()


@COLOURS
@pytest.mark.parametrize("reads", [True, False])
def test_a_file_that_shrinks_in_the_server_s_hands_is_noticed_when_it_is_closed(
    big: Path, colour: str, reads: bool, caplog: Any
) -> None:
    background = BackgroundTask(pytest.fail, "after a cut")
    app = app_for(lambda: FileResponse(big, background=background), colour)
    result: Any = app(environ_for(), lambda *args: None)
    os.truncate(big, 1000)
    if reads:
        with pytest.raises(ConnectionResetError):
            list(result)
    with pytest.raises(ConnectionResetError):
        result.close()
    assert result.filelike.closed
    assert caplog.text.count("has become shorter") == 1


@pytest.mark.protocol("asgi")
@COLOURS
def test_a_whole_file_goes_to_the_asgi_server_by_its_path(
    protocol: str, big: Path, watched: Watched, colour: str, event_loop_thread: Any
) -> None:
    app = app_for(lambda: FileResponse(big), colour)

    def ask(method: str, *headers: tuple[bytes, bytes]) -> list[Any]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": "/",
            "query_string": b"",
            "headers": list(headers),
            "extensions": {"http.response.pathsend": {}},
        }
        event_loop_thread.run(app(scope, receive, send))
        return sent

    for _ in range(2):
        start, body = ask("GET")
        assert start["status"] == 200
        assert dict(start["headers"])[b"content-length"] == str(BIG).encode()
        assert body == {"type": "http.response.pathsend", "path": str(big)}
    start, body = ask("HEAD")
    assert body == {"type": "http.response.body", "body": b""}
    start, *bodies = ask("GET", (b"range", b"bytes=0-99"))
    assert start["status"] == 206
    assert b"".join(message["body"] for message in bodies) == big.read_bytes()[:100]
    assert watched.all_closed
    assert event_loop_thread._thread.ident not in watched.threads


@pytest.mark.protocol("asgi")  # a WSGI server's thread reads when it is told to
@pytest.mark.parametrize("make", [FileResponse, lambda path: StaticFiles(directory=path.parent)])
def test_a_file_does_not_wait_for_an_upload_that_nobody_reads(
    protocol: str, text: Path, make: Callable[[Path], Any], event_loop_thread: Any
) -> None:
    app = make(text)
    if isinstance(app, Response):
        app = app_for(lambda: make(text))
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/" if isinstance(app, DualRoute) else "/hello.txt",
        "query_string": b"",
        "headers": [(b"content-length", b"10")],
    }
    event_loop_thread.run(app(scope, receive, send))
    assert sent[0]["status"] == 200
    assert sent[1]["body"] == b"hello world"


def test_it_is_not_loaded_before_it_is_used() -> None:
    import subprocess
    import sys

    script = (
        "import sys, dualroute, dualroute.responses;"
        "assert not [name for name in sys.modules if name.split('.')[-1] in"
        " ('fileresponses', 'conditional', 'ranges', 'staticfiles', 'sse', 'negotiation', 'hints', 'cookies')];"
        "from dualroute.responses import FileResponse; assert FileResponse is dualroute.FileResponse"
    )
    path = os.pathsep.join(str(Path(module).parents[1]) for module in (fileresponses.__file__,))
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env={**os.environ, "PYTHONPATH": path})
