"""StaticFiles: what is found below a directory, what never is, and in which form it is sent."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import dualroute.fileresponses as fileresponses
import dualroute.staticfiles as staticfiles
from dualroute import DualRoute, HTTPException, Mount, PlainTextResponse, Request, Response, Route
from dualroute.staticfiles import StaticFiles
from dualroute_asgi.threads import ThreadPool
from tests.conftest import Serve


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory to serve, with something beside it that is nobody's business."""
    folder = tmp_path / "static"
    (folder / "css").mkdir(parents=True)
    (folder / "docs" / "empty").mkdir(parents=True)
    (folder / "app.css").write_text("plain")
    (folder / "css" / "base.css").write_text("base")
    (folder / "docs" / "index.html").write_text("docs")
    (folder / "index.html").write_text("home")
    (folder / "404.html").write_text("not here")
    (folder / "grüße ü.txt").write_text("umlaut")
    (folder / "..hidden").write_text("dots")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "static_x").mkdir()
    (tmp_path / "static_x" / "secret.txt").write_text("secret")
    return folder


def mounted(root: Path, **options: Any) -> DualRoute:
    return DualRoute([Mount("/static", app=StaticFiles(directory=root, **options), name="static")])


def test_a_file_is_found_below_the_mount_and_by_itself(serve: Serve, root: Path) -> None:
    app = mounted(root)
    for client, prefix in ((serve(app), "/static"), (serve(StaticFiles(directory=str(root))), "")):
        for _ in range(2):
            answer = client.get(f"{prefix}/css/base.css")
            assert (answer.status_code, answer.text) == (200, "base")
            assert answer.headers["content-type"] == "text/css; charset=utf-8"
            assert answer.headers["etag"]
            assert "cache-control" not in answer.headers
            assert "vary" not in answer.headers
    assert app.url_path_for("static", path="/css/base.css") == "/static/css/base.css"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/app.css", "plain"),
        ("//app.css", "plain"),
        ("/css//base.css", "base"),
        ("/./css/./base.css", "base"),
        ("/%61pp.css", "plain"),
        ("/gr%C3%BC%C3%9Fe%20%C3%BC.txt", "umlaut"),
        ("/..hidden", "dots"),
    ],
)
def test_a_path_is_read_as_file_systems_read_it(serve: Serve, root: Path, path: str, text: str) -> None:
    answer = raw_get(serve(mounted(root)), "/static" + path)
    assert (answer.status_code, answer.text) == (200, text)


def raw_get(client: httpx.Client, path: str) -> httpx.Response:
    """GET a path as it is; httpx would tidy it up."""
    request: Any = client.build_request("GET", "/")
    request.url = SimpleNamespace(raw_path=path.encode("ascii"), scheme="http", host="testserver", port=None)
    response: httpx.Response = client._transport.handle_request(request)
    response.read()
    return response


TRAVERSALS = [
    "/../secret.txt",
    "/css/../../secret.txt",
    "/css/../app.css",
    "/%2e%2e/secret.txt",
    "/%2e%2e%2fsecret.txt",
    "/..%2fsecret.txt",
    "/..%5csecret.txt",
    "/..\\secret.txt",
    "/css\\base.css",
    "/css%5cbase.css",
    "/\\\\host\\share\\x",
    "//host/share/x",
    "/../static_x/secret.txt",
    "_x/secret.txt",
    "/..",
    "/../",
    "/C:/secret.txt",
    "/C:secret.txt",
    "/c:%5csecret.txt",
    "/css/c:/x",
    "/app.css%00",
    "/%00",
    "/app.css%00.html",
    "/css/%00/../base.css",
    "/absent.css",
    "/css",
    "/css/",
    "/",
    "/app.css/",
    "/app.css/x",
    "/" + "a" * 300,
    "/" + "a/" * 3000,
    "/" + "a" * 100_000,
    "/.../secret.txt",
    "/~root/x",
    "/%252e%252e/secret.txt",
    "/%2fetc%2fpasswd",
    "/etc/passwd",
    "//etc/passwd",
    "/app.css::$DATA",
    "/%0a",
    "/?x",
    "/*",
]


@pytest.mark.parametrize("path", TRAVERSALS, ids=[path[:30] for path in TRAVERSALS])
@pytest.mark.parametrize("follow_symlink", [False, True])
def test_what_is_no_file_below_is_not_found(
    serve: Serve, root: Path, path: str, follow_symlink: bool, caplog: Any
) -> None:
    answer = raw_get(serve(mounted(root, follow_symlink=follow_symlink)), "/static" + path)
    assert (answer.status_code, answer.text) == (404, "Not Found")
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_absolute_paths_are_refused_by_the_look_up_itself(root: Path) -> None:
    files = StaticFiles(directory=root)
    for path in ("/etc/passwd", "\\etc\\passwd", "../secret.txt", str(root / "app.css")):
        assert files.lookup_path(path)[1] is None


@pytest.mark.parametrize("name", ["con", "NUL.css", "com1", "lpt¹.txt", "aux .txt", "a.css.", "a.css ", "a:b"])
def test_under_windows_devices_and_streams_are_refused_before_the_file_system_is_asked(
    serve: Serve, root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staticfiles, "_WINDOWS", True)
    monkeypatch.setattr(StaticFiles, "lookup_path", lambda *args: pytest.fail("it was asked"))
    assert serve(mounted(root)).get(f"/static/css/{name}").status_code == 404


# Links


@pytest.fixture
def linked(root: Path) -> Path:
    (root / "out.txt").symlink_to(root.parent / "secret.txt")
    (root / "outside").symlink_to(root.parent / "static_x")
    (root / "inside.css").symlink_to(root / "app.css")
    (root / "circle").symlink_to(root / "circle")
    (root / "app.css.gz").symlink_to(root.parent / "secret.txt")
    (root / "index.htm").symlink_to("/etc/passwd")
    return root


def test_links_do_not_lead_out_unless_they_may(serve: Serve, linked: Path) -> None:
    never, may = (serve(mounted(linked, follow_symlink=follow)) for follow in (False, True))
    for path in ("out.txt", "outside/secret.txt", "index.htm", "circle"):
        assert never.get(f"/static/{path}").status_code == 404
    for path in ("out.txt", "outside/secret.txt"):
        assert may.get(f"/static/{path}").text == "secret"
    assert may.get("/static/circle").status_code == 404
    for client in (never, may):
        assert client.get("/static/inside.css").text == "plain"
    answer = never.get("/static/app.css", headers={"accept-encoding": "gzip"})
    assert answer.text == "plain"
    assert "content-encoding" not in answer.headers


def test_the_directory_may_be_a_link_that_is_set_anew(serve: Serve, root: Path) -> None:
    link = root.parent / "current"
    link.symlink_to(root)
    client = serve(mounted(link))
    assert client.get("/static/app.css").text == "plain"
    other = root.parent / "other"
    other.mkdir()
    (other / "app.css").write_text("other")
    link.unlink()
    link.symlink_to(other)
    assert client.get("/static/app.css").text == "other"


# What is there and can't be sent


def test_a_pipe_a_socket_and_a_device_are_not_found_and_not_waited_for(serve: Serve, root: Path) -> None:
    os.mkfifo(root / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    try:
        here = os.getcwd()
        os.chdir(root)  # a socket's path is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        (root / "zero").symlink_to("/dev/zero")
        client = serve(mounted(root, follow_symlink=True))
        for name in ("pipe", "socket", "zero"):
            assert client.get(f"/static/{name}").status_code == 404
    finally:
        listener.close()


def test_a_pipe_put_in_a_file_s_place_is_not_waited_for(
    serve: Serve, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = StaticFiles(directory=root).lookup_path("app.css")
    (root / "app.css").unlink()
    os.mkfifo(root / "app.css")
    monkeypatch.setattr(StaticFiles, "lookup_path", lambda *args: looked_up)
    assert serve(mounted(root)).get("/static/app.css").status_code == 404


def test_a_file_that_disappears_is_not_found(serve: Serve, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = StaticFiles(directory=root).lookup_path("app.css")
    (root / "app.css").unlink()
    monkeypatch.setattr(StaticFiles, "lookup_path", lambda *args: looked_up)
    assert serve(mounted(root)).get("/static/app.css").status_code == 404


def test_a_compressed_file_that_disappears_is_replaced_by_the_plain_one(
    serve: Serve, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StaticFiles, "_encodings_of", lambda *args: ["br"])
    answer = serve(mounted(root)).get("/static/app.css", headers={"accept-encoding": "br"})
    assert (answer.status_code, answer.text, answer.headers["accept-ranges"]) == (200, "plain", "bytes")
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("where", ["look-up", "open"])
def test_what_may_not_be_read_is_not_found_and_the_log_says_so(
    serve: Serve, root: Path, where: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def refuse(*args: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    client = serve(mounted(root))
    if where == "open":
        monkeypatch.setattr(fileresponses, "_opener", refuse)
        assert client.get("/static/app.css").status_code == 404
    else:
        with monkeypatch.context() as patch:
            patch.setattr(os, "stat", refuse)
            status_code = client.get("/static/app.css").status_code
        assert status_code == 404
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "dualroute")
    assert "app.css can't be read: Permission denied" in record.getMessage()


def test_a_huge_file_is_sent_in_pieces(serve: Serve, root: Path) -> None:
    with open(root / "huge.bin", "wb") as file:
        file.truncate(1 << 40)
    client = serve(mounted(root))
    answer = client.head("/static/huge.bin")
    assert answer.headers["content-length"] == str(1 << 40)
    answer = client.get("/static/huge.bin", headers={"range": f"bytes={(1 << 39) + 1}-{(1 << 39) + 300000}"})
    assert answer.status_code == 206
    assert answer.content == bytes(300_000)


# Requests


def test_a_file_is_conditional_and_has_ranges(serve: Serve, root: Path) -> None:
    client = serve(mounted(root))
    first = client.get("/static/app.css")
    for headers in ({"if-none-match": first.headers["etag"]}, {"if-modified-since": first.headers["last-modified"]}):
        answer = client.get("/static/app.css", headers=headers)
        assert (answer.status_code, answer.content) == (304, b"")
    answer = client.get("/static/app.css", headers={"range": "bytes=1-2"})
    assert (answer.status_code, answer.text) == (206, "la")
    head = client.head("/static/app.css")
    assert (head.status_code, head.content, dict(head.headers)) == (200, b"", dict(first.headers))


def test_other_methods_are_not_allowed(serve: Serve, root: Path) -> None:
    client = serve(mounted(root))
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = client.request(method, "/static/app.css", content=b"x")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    answer = client.options("/static/app.css")
    assert (answer.status_code, answer.headers["allow"]) == (200, "GET, HEAD, OPTIONS")


def test_the_exception_handlers_and_the_middleware_around_it_apply(serve: Serve, root: Path) -> None:
    def middleware(connection: Any) -> Generator[Any, Any, Any]:
        response = yield connection
        response.headers["x-seen"] = "yes"
        return response

    async def lost(request: Request, error: HTTPException) -> Response:
        return PlainTextResponse("lost", status_code=404)

    app = DualRoute(
        [Mount("/static", app=StaticFiles(directory=root), middleware=[middleware])], exception_handlers={404: lost}
    )
    client = serve(app)
    assert client.get("/static/app.css").headers["x-seen"] == "yes"
    assert client.get("/static/absent").text == "lost"


# html


def test_html_has_indexes_and_a_page_for_what_is_not_there(serve: Serve, root: Path) -> None:
    client = serve(mounted(root, html=True))
    for path, status_code, text in (
        ("/static/", 200, "home"),
        ("/static/index.html", 200, "home"),
        ("/static/docs/", 200, "docs"),
        ("/static/docs/?a=b", 200, "docs"),
        ("/static/app.css", 200, "plain"),
        ("/static/absent", 404, "not here"),
        ("/static/docs/empty/", 404, "not here"),
        ("/static/docs/empty", 404, "not here"),
        ("/static/css/", 404, "not here"),
        ("/static/404.html", 200, "not here"),
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (status_code, text), path
        assert answer.headers["content-type"].startswith("text/css" if path.endswith("css") else "text/html")
    # What is no path at all is no page either.
    assert raw_get(client, "/static/../x").text == "Not Found"


def test_a_directory_without_its_slash_is_redirected(serve: Serve, root: Path) -> None:
    (root / "ü?").mkdir()
    (root / "ü?" / "index.html").write_text("odd")
    client = serve(mounted(root, html=True))
    for path, location in (
        ("/static/docs", "/static/docs/"),
        ("/static/docs?a=1&b=%C3%BC", "/static/docs/?a=1&b=%C3%BC"),
        ("/static/%C3%BC%3F", "/static/%C3%BC%3F/"),
        ("/static", "/static/"),
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (307, location)
        assert client.get(path, follow_redirects=True).status_code == 200


@pytest.mark.parametrize("path", ["//docs", "///docs", "//docs?x", "/%2Fdocs", "//docs//."])
def test_a_redirect_never_leads_elsewhere(serve: Serve, root: Path, path: str) -> None:
    answer = raw_get(serve(StaticFiles(directory=root, html=True)), path)
    location = answer.headers["location"]
    assert answer.status_code == 307
    assert location.startswith("/")
    assert httpx.URL("http://testserver/x").join(location).host == "testserver"


def test_without_html_there_are_no_indexes(serve: Serve, root: Path) -> None:
    client = serve(mounted(root))
    for path in ("/static/", "/static/docs/", "/static/docs"):
        assert client.get(path, follow_redirects=True).status_code == 404


def test_a_page_for_what_is_not_there_has_no_conditions(serve: Serve, root: Path) -> None:
    answer = serve(mounted(root, html=True)).get("/static/no", headers={"if-none-match": "*", "range": "bytes=0-1"})
    assert (answer.status_code, answer.text) == (404, "not here")


# Encodings


@pytest.fixture
def compressed(root: Path) -> Path:
    for extension, text in ((".gz", "gzipped"), (".br", "brotli"), (".zst", "zstandard")):
        (root / f"app.css{extension}").write_text(text)
    (root / "css" / "base.css.gz").write_text("gzipped base")
    same = (root / "app.css").stat().st_mtime_ns
    for extension in ("", ".gz", ".br", ".zst"):
        os.utime(root / f"app.css{extension}", ns=(same, same))
    return root


def get_encoded(client: httpx.Client, path: str, accept: str | None, **headers: str) -> httpx.Response:
    """GET what is not really compressed."""
    request = client.build_request("GET", path, headers={"accept-encoding": accept or "", **headers})
    if accept is None:
        del request.headers["accept-encoding"]
    response = client.send(request, stream=True)
    response._content = b"".join(response.iter_raw())
    return response


@pytest.mark.parametrize(
    ("accept", "encoding", "text"),
    [
        ("gzip, deflate, br, zstd", "br", "brotli"),
        ("gzip, zstd", "zstd", "zstandard"),
        ("gzip", "gzip", "gzipped"),
        ("GZIP", "gzip", "gzipped"),
        ("*", "br", "brotli"),
        ("br;q=0.1, gzip", "gzip", "gzipped"),
        ("br;q=0, *", "zstd", "zstandard"),
        ("deflate", None, "plain"),
        ("identity", None, "plain"),
        ("gzip;q=0", None, "plain"),
        ("gzip;q=0.5, identity", None, "plain"),
        ("gzip;q=9, br;q=x", None, "plain"),
        ("", None, "plain"),
        (None, None, "plain"),
    ],
)
def test_a_file_is_sent_in_the_best_coding_that_it_is_there_in(
    serve: Serve, compressed: Path, accept: str | None, encoding: str | None, text: str
) -> None:
    answer = get_encoded(serve(mounted(compressed)), "/static/app.css", accept)
    assert answer.status_code == 200
    assert answer.headers.get("content-encoding") == encoding
    assert answer.content.decode() == text
    assert answer.headers["content-length"] == str(len(text))
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["accept-ranges"] == ("bytes" if encoding is None else "none")


def test_each_coding_has_an_etag_of_its_own(serve: Serve, compressed: Path) -> None:
    (compressed / "app.css").write_text("1234567")
    same = (compressed / "app.css.gz").stat().st_mtime_ns
    os.utime(compressed / "app.css", ns=(same, same))
    client = serve(mounted(compressed))
    codings = ("br", "zstd", "gzip", "identity")
    tags = [get_encoded(client, "/static/app.css", coding).headers["etag"] for coding in codings]
    assert len(set(tags)) == 4
    for coding, tag in zip(codings, tags, strict=True):
        answer = get_encoded(client, "/static/app.css", coding, **{"if-none-match": tag})
        assert (answer.status_code, answer.headers["vary"]) == (304, "Accept-Encoding")
        assert get_encoded(client, "/static/app.css", "deflate", **{"if-none-match": tag}).status_code == (
            304 if coding == "identity" else 200
        )


def test_ranges_are_of_the_plain_file(serve: Serve, compressed: Path) -> None:
    client = serve(mounted(compressed))
    answer = get_encoded(client, "/static/app.css", "br", range="bytes=0-2")
    assert (answer.status_code, answer.content) == (206, b"pla")
    assert "content-encoding" not in answer.headers
    tag = get_encoded(client, "/static/app.css", "br").headers["etag"]
    answer = get_encoded(client, "/static/app.css", "br", range="bytes=0-2", **{"if-range": tag})
    assert (answer.status_code, answer.content) == (200, b"plain")


def test_codings_can_be_left_alone(serve: Serve, compressed: Path) -> None:
    answer = get_encoded(serve(mounted(compressed, precompressed=False)), "/static/app.css", "br, gzip")
    assert (answer.content, answer.headers.get("vary")) == (b"plain", None)


def test_a_compressed_file_can_be_asked_for_by_its_own_name(serve: Serve, compressed: Path) -> None:
    answer = get_encoded(serve(mounted(compressed)), "/static/app.css.gz", "gzip")
    assert (answer.content, answer.headers["content-type"]) == (b"gzipped", "application/gzip")
    assert "content-encoding" not in answer.headers


# Caching


@pytest.mark.parametrize(
    ("name", "immutable"),
    [
        ("app.3f2a9c1d.js", True),
        ("app-3f2a9c1d0b77.css", True),
        ("a.b.0123456789abcdef0123456789abcdef.map", True),
        ("report-20240115.pdf", False),
        ("app.deadbeef.js", False),
        ("app.3f2a9c1.js", False),
        ("app.3F2A9C1D.js", False),
        ("app3f2a9c1d.js", False),
        ("3f2a9c1d.js", False),
        ("app.js", False),
    ],
)
def test_a_name_with_a_hash_in_it_is_kept_for_good(serve: Serve, root: Path, name: str, immutable: bool) -> None:
    (root / name).write_text("x")
    client = serve(mounted(root))
    answer = client.get(f"/static/{name}")
    expected = "public, max-age=31536000, immutable" if immutable else None
    assert answer.headers.get("cache-control") == expected
    not_modified = client.get(f"/static/{name}", headers={"if-none-match": "*"})
    assert not_modified.headers.get("cache-control") == expected
    assert "cache-control" not in serve(mounted(root, immutable=None)).get(f"/static/{name}").headers


def test_hashes_may_look_otherwise(serve: Serve, root: Path) -> None:
    (root / "index-BzGhKx_2.js").write_text("x")
    client = serve(mounted(root, immutable=r"-[A-Za-z0-9_-]{8}\.js$"))
    assert "immutable" in client.get("/static/index-BzGhKx_2.js").headers["cache-control"]
    assert "cache-control" not in client.get("/static/app.css").headers


# Directories and packages


def test_a_missing_directory_is_an_error_when_it_is_made(root: Path) -> None:
    with pytest.raises(RuntimeError, match=r"Directory '.*absent' does not exist"):
        StaticFiles(directory=root / "absent")
    with pytest.raises(RuntimeError, match=r"Directory '.*app.css' is not a directory"):
        StaticFiles(directory=root / "app.css")
    with pytest.raises(TypeError, match="needs a directory=, or packages="):
        StaticFiles()


def test_a_directory_may_come_later(serve: Serve, root: Path, caplog: Any) -> None:
    late = root / "late"
    client = serve(mounted(late, check_dir=False))
    assert client.get("/static/x").status_code == 500
    assert "late' does not exist" in caplog.text
    late.mkdir()
    (late / "x").write_text("x")
    assert client.get("/static/x").text == "x"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, folder, file in (("pack_one", "statics", "one.txt"), ("pack_two", "assets", "app.css")):
        (tmp_path / name / folder).mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / folder / file).write_text(name)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_packages_bring_directories(serve: Serve, root: Path, packages: Path) -> None:
    files = StaticFiles(directory=root, packages=["pack_one", ("pack_two", "assets")])
    client = serve(files)
    assert client.get("/one.txt").text == "pack_one"
    assert client.get("/app.css").text == "plain", "the directory comes first"
    assert serve(StaticFiles(packages=[("pack_two", "assets")])).get("/app.css").text == "pack_two"
    assert "pack_one" not in sys.modules, "nothing is imported for it"


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("no_such_package_here", "there is no package 'no_such_package_here'"),
        ("no_such.package_here", "there is no package"),
        (("pack_one", "absent"), "there is no directory 'absent' in the package 'pack_one'"),
        ("pack_two", "there is no directory 'statics' in the package 'pack_two'"),
        ("colorsys", "there is no package 'colorsys'"),
    ],
)
def test_a_package_that_has_none_is_an_error_when_it_is_made(packages: Path, package: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        StaticFiles(packages=[package])
    with pytest.raises(TypeError, match="is a list of names, not the string"):
        StaticFiles(packages="pack_one")


# Threads


@pytest.mark.protocol("asgi")  # the pool is there
@pytest.mark.parametrize(
    "make", [lambda root: ("app.css", 5), lambda root: ("half.bin", 500_000)], ids=["small", "half a megabyte"]
)
def test_a_request_takes_one_visit_of_a_thread_and_the_loop_does_nothing_itself(
    serve: Serve,
    root: Path,
    make: Callable[[Path], tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    event_loop_thread: Any,
) -> None:
    name, size = make(root)
    if name not in os.listdir(root):
        (root / name).write_bytes(bytes(size))
    visits: list[Any] = []
    asking: set[int] = set()
    real_start, real_lookup, real_open = ThreadPool.start, StaticFiles.lookup_path, fileresponses.open_file

    def start(self: ThreadPool, *args: Any) -> Any:
        visits.append(args)
        return real_start(self, *args)

    def lookup_path(self: StaticFiles, path: str) -> Any:
        asking.add(threading.get_ident())
        return real_lookup(self, path)

    def open_file(path: Any) -> Any:
        asking.add(threading.get_ident())
        return real_open(path)

    monkeypatch.setattr(ThreadPool, "start", start)
    monkeypatch.setattr(StaticFiles, "lookup_path", lookup_path)
    monkeypatch.setattr(staticfiles, "open_file", open_file)
    client = serve(mounted(root))
    for _ in range(3):
        visits.clear()
        assert len(client.get(f"/static/{name}").content) == size
        assert len(visits) == 1
    assert asking
    assert event_loop_thread._thread.ident not in asking


def test_it_stands_beside_other_routes(serve: Serve, root: Path) -> None:
    async def home(request: Request) -> Response:
        return PlainTextResponse(str(request.url_for("static", path="/app.css")))

    app = DualRoute([Route("/", home), Mount("/static", app=StaticFiles(directory=root), name="static")])
    client = serve(app)
    assert client.get("/").text == "http://testserver/static/app.css"
    assert client.get(client.get("/").text).text == "plain"
    assert serve(app, root_path="/base").get("/static/app.css").text == "plain"


# Subclasses


class SinglePage(StaticFiles):
    """What is not there is the page, which finds its way by itself: as written for Starlette."""

    async def get_response(self, path: str, scope: Any) -> Any:
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or scope["method"] not in ("GET", "HEAD"):
                raise
            return await super().get_response("index.html", scope)


class SinglePageSync(StaticFiles):
    def get_response(self, path: str, scope: Any) -> Any:
        try:
            return super().get_response(path, scope)
        except HTTPException:
            return super().get_response("index.html", scope)


@pytest.mark.parametrize("cls", [SinglePage, SinglePageSync])
def test_get_response_may_be_overridden_in_either_colour(serve: Serve, root: Path, cls: type[StaticFiles]) -> None:
    (root / "404.html").unlink()
    for client, prefix in (
        (serve(DualRoute([Mount("/app", app=cls(directory=root))])), "/app"),
        (serve(cls(directory=root)), ""),
    ):
        assert client.get(f"{prefix}/app.css").text == "plain"
        answer = client.get(f"{prefix}/somewhere/else")
        assert (answer.status_code, answer.text) == (200, "home")
        assert client.get(f"{prefix}/app.css", headers={"if-none-match": answer.headers["etag"]}).status_code == 200
        assert client.get(f"{prefix}/x", headers={"if-none-match": answer.headers["etag"]}).status_code == 304
        assert client.get(f"{prefix}/app.css", headers={"range": "bytes=1-2"}).text == "la"
        assert client.post(f"{prefix}/app.css").status_code == 405


def test_an_async_override_may_return_a_response_of_its_own(serve: Serve, root: Path) -> None:
    class Elsewhere(StaticFiles):
        async def get_response(self, path: str, scope: Any) -> Any:
            return fileresponses.FileResponse(root / "index.html") if path == "x" else PlainTextResponse(path)

    client = serve(Elsewhere(directory=root))
    assert (client.get("/x").text, client.get("/y/z").text) == ("home", os.path.join("y", "z"))


def test_get_path_may_be_overridden(serve: Serve, root: Path) -> None:
    class Prefixed(StaticFiles):
        def get_path(self, scope: Any) -> Any:
            return os.path.join("css", super().get_path(scope) or "")

    assert serve(Prefixed(directory=root)).get("/base.css").text == "base"


def test_file_response_may_be_overridden(serve: Serve, root: Path) -> None:
    class Uncached(StaticFiles):
        def file_response(self, *args: Any, **kwargs: Any) -> Response:
            response = super().file_response(*args, **kwargs)
            response.headers["cache-control"] = "no-store"
            return response

    client = serve(Uncached(directory=root, html=True))
    for path, status in (("/app.css", 200), ("/docs/", 200), ("/nothing", 404)):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (status, "no-store")


def test_what_an_override_refuses_is_refused(serve: Serve, root: Path) -> None:
    class Guarded(StaticFiles):
        def file_response(self, full_path: Any, *args: Any, **kwargs: Any) -> Response:
            if str(full_path).endswith(".css"):
                raise HTTPException(403)
            return super().file_response(full_path, *args, **kwargs)

    client = serve(Guarded(directory=root))
    assert (client.get("/app.css").status_code, client.get("/index.html").status_code) == (403, 200)
