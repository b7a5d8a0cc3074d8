"""Targets: what of a request goes into its answer, such as ranges, conditions and paths of files."""

from __future__ import annotations

import os
import re
import tempfile
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from werkzeug.http import parse_options_header

from dualroute import Response, SyncRequest
from dualroute.exceptions import HTTPException
from dualroute.fileresponses import content_disposition
from dualroute.middleware.debugpage import debug_page
from dualroute.ranges import MAX_RANGES, RangeNotSatisfiable, multipart, parse_ranges
from dualroute.staticfiles import StaticFiles
from tests.fuzz.given import scope_of
from tests.fuzz.registry import Choices, target

HOST = (b"host", b"site.example")


def _ranges(data: bytes, size: int = 50) -> list[tuple[int, int]] | None:
    try:
        return parse_ranges(data.decode("latin-1"), size)
    except RangeNotSatisfiable:
        return []


@target(
    read=lambda data: _ranges(b"bytes=" + data),
    grows=((b"1", b" ", b"x"), (b"", b"1", b"-"), (b"1-", b"1", b""), (b"-", b"0", b"x"), (b"", b"0-0,", b"")),
)
def ranges(data: bytes) -> None:
    """Ranges are inside the file, apart and in order, and what is sent of them is as long as announced."""
    choices = Choices(data)
    size = choices.one_of((50, 1, 0, 10**9))
    for text in (choices.rest, b"bytes=" + choices.rest):
        found = _ranges(text, size)
        if not found:
            continue
        assert len(found) <= MAX_RANGES
        assert all(0 <= start < stop <= size for start, stop in found)
        assert all(before[1] < after[0] for before, after in pairwise(found))
        parts, length, _ = multipart(found, size, "text/plain")
        assert length == sum(len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts)


_CONDITIONS = (b"if-none-match", b"if-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range")
_BODY = b"0123456789" * 5


def _conditional(lines: list[tuple[bytes, bytes]]) -> Response:
    response = Response(_BODY, headers={"etag": '"v1"', "last-modified": "Wed, 21 Oct 2015 07:28:00 GMT"})
    return response.make_conditional(SyncRequest(scope_of(b"/", [HOST, *lines])), accept_ranges=True)


@target(
    read=lambda data: [_conditional([(name, data)]) for name in _CONDITIONS],
    grows=((b"x", b" ", b"x"), (b"x", b"\t", b"x"), (b'"', b" ", b"x"), (b'W/"', b'"', b"x"), (b'"v"', b" ,", b"x")),
)
def conditions(data: bytes) -> None:
    """Conditions have the answer be whole, a part of the whole, or one of the statuses that stand for none of it."""
    choices = Choices(data)
    asked = [(choices.one_of(_CONDITIONS), choices.rest.translate(None, b"\r\n\0"))]
    if choices.number(2):
        asked.append((b"range", b"bytes=1-3"))
    answer = _conditional(asked)
    assert answer.status_code in (200, 206, 304, 412, 416)
    if answer.status_code != 304:
        assert answer.headers["content-length"] == str(len(answer.body))
    if answer.status_code == 200:
        assert answer.body == _BODY
    elif answer.status_code == 206 and "multipart" not in answer.headers["content-type"]:
        assert answer.body in _BODY


@cache
def _site() -> tuple[StaticFiles, str]:
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    _folders.append(folder)  # removed at the end of the process
    home = Path(folder.name)
    for name in ("static", "static/sub", "static_x"):
        (home / name).mkdir()
    (home / "secret").write_bytes(b"secret")
    (home / "static_x" / "secret").write_bytes(b"secret")
    for name in ("a.txt", "a.txt.gz", "sub/b.txt", "sub/index.html", "é", "404.html"):
        (home / "static" / name).write_bytes(b"public")
    (home / "static" / "out").symlink_to(home / "secret")
    (home / "static" / "up").symlink_to(home)
    (home / "static" / "out.gz").symlink_to(home / "secret")
    (home / "static" / "in").symlink_to(home / "static" / "a.txt")
    return StaticFiles(directory=home / "static", html=True), os.path.realpath(home / "static")


_folders: list[Any] = []


def _file(data: bytes) -> Response | None:
    files, _ = _site()
    try:
        request = SyncRequest(scope_of(b"/" + data, [HOST, (b"accept-encoding", b"gzip")]))
        path = files.get_path(request)
        response: Response | None = None if path is None else files.get_response(path, request)
    except HTTPException as error:
        assert error.status_code in (400, 404)
        return None
    return response


@target(read=_file, grows=((b"", b"a/", b""), (b"", b"../", b""), (b"", b"/", b""), (b"a", b"%20", b"")))
def static_path(data: bytes) -> None:
    """No path leads out of the directory, and no redirect to another host."""
    response = _file(data)
    if response is None:
        return
    if response.status_code in (301, 302, 307, 308):
        led = urlsplit(urljoin("https://site.example/", response.headers["location"]))
        assert led.netloc == "site.example"
        return
    body: Any = response.body_iterator
    assert (response.body if body is None else b"".join(body)) == b"public"
    if body is not None:
        body.close()


@target(read=lambda data: content_disposition(data.decode("utf-8", "replace")))
def download_name(data: bytes) -> None:
    """A file's name goes out as one name in one line, and is read back as it was."""
    name = data.decode("utf-8", "ignore")
    value = content_disposition(name)
    assert value.isascii()
    assert value.isprintable()
    kind, options = parse_options_header(value)
    assert kind == "attachment"
    assert options["filename"] == (name or "download") or "filename*" not in value or not name.isprintable()


def _page(data: bytes) -> str:
    text = data.decode("latin-1")
    lines = [HOST, (b"x-data", data), (b"authorization", b"Bearer hunter2")]
    return debug_page(SyncRequest(scope_of(b"/", lines, data)), ValueError(text))


@target(
    read=_page,
    grows=((b"password=", b"'", b""), (b"", b"token ", b""), (b"", b"_token", b""), (b"a://", b"a:", b"@")),
)
def debug_html(data: bytes) -> None:
    """The page that shows an error shows what a client sent as text, and nobody's password."""
    page = _page(data)
    assert page.count("<script") == 0
    assert not re.search(r"hunter2", page)
