"""The how-to page about coming from Starlette: its application under Starlette, and ported by the page's commands."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dualroute.testclient import TestClient, WebSocketDenialResponse
from tests.conftest import Serve
from tests.docs.pages import Page, importing
from tests.docs.steps import run_python
from tests.frameworks.sites import SERVERS, all_at_once
from tests.servers.conftest import client_of
from tests.servers.launching import BOUND, Running, by_name

PAGE = Page("how-to/starlette.md")


def port(folder: Path) -> Path:
    """Write the application of the page to a folder, and port it by the page's commands."""
    PAGE.write(folder)
    commands = [line for block in PAGE.of("sh") for line in block.text.splitlines()]
    assert commands[2:] == ["uvicorn shop:app", "gunicorn shop:app"]
    assert shutil.which("sed")
    for command in commands[:2]:
        subprocess.run(["bash", "-c", command], cwd=folder, check=True, timeout=BOUND)
    assert "starlette." not in (folder / "shop.py").read_text()
    return folder


@pytest.fixture
def ported(tmp_path: Path) -> Iterator[Any]:
    with importing(port(tmp_path)) as import_module:
        yield import_module("shop").app


@pytest.fixture
def original(tmp_path: Path) -> Iterator[Any]:
    folder = tmp_path / "original"
    folder.mkdir()
    PAGE.write(folder)
    with importing(folder) as import_module:
        yield import_module("shop").app


def visit(client: Any) -> list[Any]:
    """Ask everything there is, and return the answers."""
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/", {}),
        ("GET", "/blocking?a=1&b=%C3%BC", {}),
        ("GET", "/shop/M", {}),
        ("GET", "/shop/XL", {}),
        ("GET", "/shop/", {}),
        ("POST", "/shop/L", {"json": {"number": 2}}),
        ("POST", "/shop/L", {"json": {"number": 1}}),
        ("POST", "/shop/L", {"json": {"number": 9}}),
        ("GET", "/blocking", {"headers": {"host": "api.example.org"}}),
        ("GET", "/", {"headers": {"host": "api.example.org"}}),
        ("DELETE", "/blocking", {}),
    ]
    answers = [client.request(method, path, **options) for method, path, options in asked]
    return [(answer.status_code, answer.text, answer.headers.get("x-stamp")) for answer in answers]


def test_it_answers_as_under_starlette_by_both_protocols(ported: Any, original: Any, protocol: str) -> None:
    with TestClient(original) as client:
        theirs = visit(client)
    with TestClient(ported, protocol=protocol) as ours:  # type: ignore[arg-type]  # one of the two
        assert visit(ours) == theirs
    assert theirs[0] == (200, "Shirts: http://testserver/shop/L", "GET")
    assert [status for status, *_ in theirs] == [200, 200, 200, 404, 200, 201, 201, 409, 200, 200, 405]


def test_a_websocket_by_asgi_and_a_reason_by_wsgi(ported: Any, protocol: str) -> None:
    with TestClient(ported, protocol=protocol) as client:  # type: ignore[arg-type]  # one of the two
        if protocol == "wsgi":
            with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/echo"):
                pass
            assert refused.value.status_code == 501
            return
        with client.websocket_connect("/echo") as session:
            session.send_text("hello")
            assert session.receive_text() == "HELLO"


def test_it_is_served_by_the_commands(tmp_path: Path) -> None:
    folders = {server: tmp_path / server for server in SERVERS}
    for folder in folders.values():
        folder.mkdir()
        port(folder)
    starts = {
        server: partial(Running, by_name(server), folder, "shop:app", path=folder) for server, folder in folders.items()
    }
    with all_at_once(starts) as processes:
        for running in processes.values():
            with client_of(running) as client:
                assert client.get("/").text == f"Shirts: {running.url}/shop/L"


def test_the_commands_list_and_compare(tmp_path: Path) -> None:
    port(tmp_path)
    for command in ("routes", "check"):
        run_python(tmp_path, "-m", "dualroute", command, "shop.py")


def test_a_def_reads_a_body_too(serve: Serve) -> None:
    client = serve(PAGE.run()["app"])
    assert client.post("/save", json=[1]).json() == {"saved": [1]}
    assert client.post("/save/x", json=[1]).json() == {"saved": [1], "as": "x"}
