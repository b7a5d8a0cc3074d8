"""The uploads: the progress bar in a browser, and files that come down in ranges, on both protocols."""

from __future__ import annotations

import importlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dualroute.testclient import TestClient
from tests.docs.browser import Browser
from tests.docs.examples import EXAMPLES, served
from tests.docs.pages import importing
from tests.servers.conftest import client_of
from tests.servers.launching import Running, eventually

MIB = 1024 * 1024
MOST = 8 * MIB
NAMES = ("uvicorn", "gunicorn-gthread")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    folder = tmp_path_factory.mktemp("uploads")
    environ = {"UPLOADS": str(folder / "files"), "UPLOADS_MAX_SIZE": str(MOST)}
    with served("uploads.main:app", folder, *NAMES, environ=environ) as running:
        yield running


@pytest.fixture(params=NAMES)
def server(request: pytest.FixtureRequest, servers: dict[str, Running]) -> Running:
    return servers[request.param]


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with client_of(server) as client:
        yield client


def files(server: Running) -> Path:
    return Path(server.environ["UPLOADS"])


def some_bytes(size: int) -> bytes:
    """Return as many bytes, each eight of them unlike all others."""
    return b"".join(number.to_bytes(8, "big") for number in range(size // 8))


def left_over(server: Running) -> list[str]:
    return [path.name for path in files(server).iterdir() if path.name.startswith(".")]


def test_a_file_goes_up_with_a_progress_bar(server: Running, browser: Browser, tmp_path: Path) -> None:
    name = f"große datei & {server.server}.bin"
    content = some_bytes(3 * MIB)
    (tmp_path / name).write_bytes(content)
    with browser.tab(f"{server.url}/") as tab:
        tab.narrow(upload=3 * MIB)  # a second for the file, so that there is something to see
        tab.run(
            "window.seen = []; window.bar = document.querySelector('progress');"
            " new MutationObserver(() => seen.push([bar.value, bar.offsetParent !== null]))"
            ".observe(bar, {attributes: true, attributeFilter: ['value']})"
        )
        tab.choose("[name=file]", tmp_path / name)
        tab.click("form button")
        tab.wait_for(f"document.body.innerText.includes({json.dumps(f'{name} is here.')})")
        link = tab.wait_for(
            f"[...document.querySelectorAll('a')].find(link => link.innerText === {json.dumps(name)})?.href"
        )
        seen, shown = zip(*tab.run("seen"), strict=True)
        assert not tab.shows("progress")
    assert list(seen) == sorted(seen)
    assert seen[-1] == 1
    assert any(0 < value < 1 for value in seen)
    assert all(shown)
    with client_of(server) as client:
        answer = client.get(link)
    assert answer.content == content
    assert answer.headers["content-disposition"].startswith("attachment; ")


def test_an_upload_can_be_cancelled_and_leaves_nothing(server: Running, browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "cancelled.bin"
    path.write_bytes(some_bytes(MOST))  # for eight seconds, of which the test waits for the first
    with browser.tab(f"{server.url}/") as tab:
        tab.narrow(upload=MIB)
        tab.choose("[name=file]", path)
        tab.click("form button")
        tab.wait_for("document.querySelector('progress').value > 0")
        eventually(lambda: left_over(server), "the first of it is on disk")
        tab.click("#cancel")
        tab.wait_for("document.body.innerText.includes('Cancelled.')")
    eventually(lambda: not left_over(server), "what had come of it is gone")
    assert not (files(server) / path.name).exists()


def test_a_file_that_is_too_large_is_not_sent(server: Running, browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(MOST + 1))
    with browser.tab(f"{server.url}/") as tab:
        tab.choose("[name=file]", path)
        tab.click("form button")
        tab.wait_for("document.body.innerText.includes('a file may have 8.0 MiB')")
    assert not (files(server) / path.name).exists()


def test_and_where_it_is_sent_it_is_413_and_leaves_nothing(server: Running, client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:  # without a length, so that the server has to count
        for _ in range(MOST // MIB):
            yield bytes(MIB)
        yield b"x"

    assert client.put("/files/most.bin", content=bytes(MOST)).status_code == 201
    assert client.put("/files/large.bin", content=pieces()).status_code == 413
    answer = client.post("/files", files={"file": ("large.bin", bytes(MOST + 1))})
    assert answer.status_code == 413
    assert not (files(server) / "large.bin").exists()
    assert not left_over(server)


def test_a_page_without_a_script_sends_a_form(server: Running, client: httpx.Client) -> None:
    name, content = f"form-{server.server}.txt", some_bytes(2 * MIB)
    answer = client.post("/files", files=[("file", (name, content)), ("file", ("second.txt", b"2"))])
    assert (answer.status_code, answer.headers["location"]) == (303, f"{server.url}/")
    assert client.get(f"/files/{name}").content == content
    assert {"name": "second.txt", "size": 1, "url": f"{server.url}/files/second.txt"} in client.get("/files").json()
    assert client.post("/files", data={"file": "no file"}).status_code == 303
    assert client.delete(f"/files/{name}").status_code == 204
    assert client.get(f"/files/{name}").status_code == 404


def test_a_download_resumes_where_it_was_cut_off(server: Running, client: httpx.Client) -> None:
    content = some_bytes(3 * MIB)
    client.put("/files/resumed.bin", content=content)
    got = b""
    with client.stream("GET", "/files/resumed.bin") as answer:
        assert answer.headers["accept-ranges"] == "bytes"
        etag = answer.headers["etag"]
        for piece in answer.iter_raw():
            got += piece
            if len(got) >= MIB:
                break  # the connection is closed by this
    rest = client.get("/files/resumed.bin", headers={"range": f"bytes={len(got)}-", "if-range": etag})
    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes {len(got)}-{len(content) - 1}/{len(content)}"
    assert got + rest.content == content
    assert client.get("/files/resumed.bin", headers={"if-none-match": etag}).status_code == 304
    assert client.get("/files/resumed.bin", headers={"range": f"bytes={len(content)}-"}).status_code == 416

    client.put("/files/resumed.bin", content=b"another file")  # then what there is of the old one is of no use
    whole = client.get("/files/resumed.bin", headers={"range": "bytes=5-", "if-range": etag})
    assert (whole.status_code, whole.content) == (200, b"another file")


def test_a_client_that_goes_half_way_leaves_nothing(server: Running) -> None:
    before = set(left_over(server))
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            b"PUT /files/half.bin HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n" + bytes(3_000_000)
        )
        eventually(lambda: set(left_over(server)) - before, "the first half is on disk")
    eventually(lambda: not set(left_over(server)) - before, "it is gone")
    assert not (files(server) / "half.bin").exists()


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (".hidden", 400),
        ("a%5Cb", 400),
        ("a%00", 404),
        ("%2e%2e", 400),
        ("..%2Fx", 404),
        ("a%0Ab", 400),
        ("x" * 201, 400),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(server: Running, name: str, status: int) -> None:
    request = f"PUT /files/{name} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(request.encode())
        assert connection.makefile("rb").readline().split()[1] == str(status).encode()


def test_names_are_checked_by_the_form_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UPLOADS", str(tmp_path / "files"))
    with importing(EXAMPLES):
        app: Any = importlib.import_module("uploads.main").app
        with TestClient(app) as client:
            assert client.post("/files", files={"file": ("../x", b"x")}).status_code == 400
    assert [path.name for path in tmp_path.rglob("*")] == ["files"]
