"""README: its code does on both protocols what it says, and what it names is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from dualroute.cli import parser
from tests.conftest import Serve
from tests.docs.pages import DOCS, ROOT, Page, importing
from tests.websocket_helper import converse, messages, text

README = Page("../README.md")


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("readme")
    README.write(folder)
    with importing(folder) as import_module:
        yield import_module("main")


def test_its_app_answers_by_both_protocols(main: Any, serve: Serve) -> None:
    client = serve(main.app)
    assert client.get("/").text == "Hello from http://testserver/"
    assert client.get("/users/7").json() == {"id": 7}
    saved = client.post("/users/7", json={"name": "Ada"})
    assert (saved.status_code, saved.json()) == (201, {"id": 7, "saved": {"name": "Ada"}})
    assert client.get("/users/seven").status_code == 404
    refused = client.delete("/users/7")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")


def test_its_websocket_echoes(main: Any) -> None:
    assert messages(converse(main.app, "/echo", text("one"), text("two"))) == ["one", "two"]


@pytest.mark.protocol("wsgi")
@pytest.mark.filterwarnings("ignore")
def test_without_websockets_a_handshake_is_answered_in_words(main: Any, serve: Serve) -> None:
    asked = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": "x" * 22 + "==",
        "sec-websocket-version": "13",
    }
    answer = serve(main.app).get("/echo", headers=asked)
    assert answer.status_code == 501
    assert "ASGI server" in answer.text


def test_the_commands_that_it_names_are_there() -> None:
    lines = re.findall(r"`dualroute ((?:match|check|routes|run) [^`]+)`", README.text)
    assert len(lines) >= 3
    for line in lines:
        parser().parse_args(line.split())


def test_it_leads_to_each_guide_and_shows_one_picture() -> None:
    links = re.findall(r"\]\((?!https:)([^)#]+)", README.text)
    guides = {f"docs/how-to/{path.name}" for path in (DOCS / "how-to").glob("*.md")}
    assert guides - {"docs/how-to/index.md"} <= set(links)
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README.text)
    assert len(pictures) == 1
    assert (ROOT / pictures[0]).is_file()
