"""The how-to page about migrating a Flask app: its steps, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.docs.pages import Page, importing
from tests.docs.steps import EXAMPLES, is_quoted, require_quoted, run_python, run_tests
from tests.frameworks.sites import SERVERS, all_at_once
from tests.servers.conftest import client_of
from tests.servers.launching import Running, by_name

PAGE = Page("how-to/flask.md")
FRONT, MOVED, SHARED = range(3)


def written(folder: Path, step: int) -> Path:
    """Write the files of the page to a folder, `main.py` as it is after a step."""
    PAGE.write(folder)
    versions = [block.text for block in PAGE.blocks if block.file == "main.py"]
    assert len(versions) == 3
    (folder / "main.py").write_text(versions[step])
    return folder


@pytest.fixture
def main(tmp_path: Path, step: int) -> Iterator[Any]:
    with importing(written(tmp_path, step)) as import_module:
        yield import_module("main")


at = partial(pytest.mark.parametrize, "step")


@at([FRONT])
def test_in_front_all_is_as_before(serve: Serve, main: Any) -> None:
    client = serve(main.app)
    assert "Hello, stranger" in client.get("/").text
    assert "Welcome. Hello, Ada" in client.post("/login", data={"name": "Ada"}, follow_redirects=True).text
    assert client.get("/account").json() == {"customer": "Ada"}
    assert client.get("/products/1").json() == {"id": 1, "name": "Teapot"}
    assert "<h1>Not Found</h1>" in client.get("/nowhere").text


@at([MOVED])
def test_what_was_moved_is_answered_here_and_the_rest_there(serve: Serve, main: Any) -> None:
    client = serve(main.app)
    assert client.get("/products/1").json()["url"] == "http://testserver/products/1"
    assert client.get("/products/2").text == "There is no product 2"
    assert 'href="/products/1"' in client.get("/").text
    refused = client.post("/products/1")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert "<h1>Not Found</h1>" in client.get("/products/x").text


@at([SHARED])
def test_the_session_is_one(serve: Serve, main: Any) -> None:
    client = serve(main.app)
    assert client.get("/account").text == "Log in first"
    done = client.post("/login", data={"name": "Ada"})
    assert (done.status_code, done.headers["location"]) == (303, "http://testserver/")
    assert "HttpOnly" in done.headers["set-cookie"]
    assert client.get("/account").json() == {"customer": "Ada"}
    assert "Cookie" in client.get("/account").headers["vary"]
    assert "Welcome. Hello, Ada" in client.get("/").text  # by Flask
    assert "Welcome" not in client.get("/").text
    assert serve(main.app).get("/account", headers={"cookie": "session=forged"}).status_code == 401


def test_each_page_is_served_by_the_commands(tmp_path: Path) -> None:
    commands = [line for block in PAGE.of("sh") for line in block.text.splitlines()]
    assert commands == ["gunicorn main:app", "uvicorn main:app", "dualroute routes --legacy main.py"]
    folders = {server: tmp_path / server for server in SERVERS}
    for folder in folders.values():
        folder.mkdir()
        written(folder, SHARED)
    starts = {
        server: partial(Running, by_name(server), folder, "main:app", path=folder) for server, folder in folders.items()
    }
    with all_at_once(starts) as processes:
        for running in processes.values():
            with client_of(running, follow_redirects=True) as client:
                assert "Welcome. Hello, Ada" in client.post("/login", data={"name": "Ada"}).text
                assert client.get("/account").json() == {"customer": "Ada"}


def test_the_command_tells_what_is_left(tmp_path: Path) -> None:
    written(tmp_path, MOVED)
    printed = run_python(tmp_path, "-m", "dualroute", "routes", "--legacy", "main.py")
    (shown,) = (block.text for block in PAGE.of("text"))
    assert printed.endswith(shown)


def test_hooks_and_error_handlers(serve: Serve) -> None:
    client = serve(PAGE.run()["hooked"])
    home = client.get("/")
    assert (home.json(), home.headers["x-log"]) == ({"path": "/"}, "before, view, after")
    assert client.get("/missing").json() == {"error": "not here"}
    assert client.get("/", headers={"x-maintenance": "1"}).status_code == 503


def test_a_rule_that_only_builds_urls_keeps_the_links(tmp_path: Path) -> None:
    with importing(written(tmp_path, FRONT)) as import_module:
        app = import_module("links").app
    with app.test_request_context():
        assert app.url_for("product", product_id=7) == "/products/7"
    assert app.test_client().get("/products/7").status_code == 404


def test_static_files_move_under_their_path(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, FRONT)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "shop.css").write_text("body { color: navy }")
    monkeypatch.chdir(tmp_path)
    with importing(tmp_path) as import_module:
        moved = import_module("static_moved")
    client = serve(moved.app)
    with moved.flask_app.test_request_context():
        path = moved.flask_app.url_for("static", filename="shop.css")
    part = client.get(path, headers={"range": "bytes=0-3"})
    assert (part.status_code, part.text) == (206, "body")
    assert client.get("/static/other.css").text == "Not Found"  # and no page of Flask's
    assert "Hello, stranger" in client.get("/").text


def test_the_tests_of_the_old_app_go_on(tmp_path: Path) -> None:
    run_tests(written(tmp_path, SHARED), passed=1)


def test_what_is_quoted_is_in_the_example() -> None:
    require_quoted(PAGE, 2)
    example = (EXAMPLES / "migrate_flask.py").read_text()
    (block,) = (block for block in PAGE.blocks if block.file == "flask_session.py")
    method = block.text[block.text.index("        flask_app, interface") :]
    assert is_quoted(method, example)
