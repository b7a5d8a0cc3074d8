"""The how-to page about coming from Tornado."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from dualroute.testclient import TestClient, WebSocketDenialResponse
from tests.conftest import Serve
from tests.docs.pages import Page
from tests.servers.conftest import client_of
from tests.servers.launching import by_name
from tests.servers.launching import running as started

PAGE = Page("how-to/tornado.md")

BEFORE = """
import asyncio, sys
import tornado.web
from before import Note

async def main():
    tornado.web.Application([(r"/notes/(\\w+)", Note)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_coming_from_tornado(serve: Serve) -> None:
    page = PAGE.run()
    rules = serve(page["app"], base_url="http://www.example.com")
    assert rules.put("/books/Emma", content="1815").status_code == 201
    assert rules.get("/books/Emma").json() == {"kind": "book", "name": "Emma", "value": "1815"}
    assert rules.get("/papers/x").json() == {"kind": "paper", "name": "x", "value": None}
    assert rules.get("/papers/x", headers={"host": "other.org"}).status_code == 404
    assert rules.get("/books/Emma", headers={"host": "other.org"}).status_code == 200

    site = serve(page["site"])
    assert site.get("/").text == "http://testserver/api/books/Emma"
    assert site.get("/api/books/Emma").json()["value"] == "1815"

    everything = serve(page["everything"])
    assert everything.get("/books/Emma").json()["value"] == "1815"
    assert everything.get("/api/books/Emma").json()["value"] == "1815"
    assert page["everything"].reverse_url("home") == "/"
    assert page["site"].url_path_for("api:book", path_args=["Emma"]) == "/api/books/Emma"


def test_a_handler_that_was_ported(serve: Serve) -> None:
    notes = serve(PAGE.run()["notes"])
    assert notes.get("/notes/a").status_code == 404
    saved = notes.post("/notes/a", data={"text": "buy milk"})
    assert (saved.status_code, saved.text) == (201, "saved")
    assert saved.cookies["last"] == "a"
    told = notes.get("/notes/a?q=x")
    assert told.json() == {"name": "a", "text": "buy milk", "q": "x"}
    assert told.headers["x-length"] == "8"


def test_the_handler_before_it_was_ported_answered_alike(tmp_path: Path) -> None:
    PAGE.write(tmp_path)
    (tmp_path / "serve.py").write_text(BEFORE)
    server = replace(by_name("uvicorn"), command=("serve", "{port}"), modules=("tornado",))
    for running in started(server, tmp_path, "", path=tmp_path):
        with client_of(running) as notes:
            assert notes.get("/notes/a").status_code == 404
            saved = notes.post("/notes/a", data={"text": "buy milk"})
            assert (saved.status_code, saved.text) == (201, "saved")
            assert saved.cookies["last"] == "a"
            told = notes.get("/notes/a?q=x")
            assert told.json() == {"name": "a", "text": "buy milk", "q": "x"}
            assert told.headers["x-length"] == "8"


def test_a_websocket_is_a_rule_s_target(protocol: Literal["asgi", "wsgi"]) -> None:
    client = TestClient(PAGE.run()["shouting"], protocol=protocol)
    if protocol == "wsgi":
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/shout/tea"):
            pass
        assert refused.value.status_code == 501
        return
    with client.websocket_connect("/shout/tea") as session:
        session.send_text("hello")
        assert session.receive_text() == "tea: HELLO"


def test_routers_and_delegates_of_one_s_own(serve: Serve) -> None:
    nested = PAGE.run()["nested"]
    client = serve(nested)
    assert client.post("/count", content=b"x" * 100_000).text == "100000 bytes"
    assert client.get("/raw").text == "OK"
    assert client.get("/files/a").status_code == 404
    files = serve(nested, base_url="http://files.example.com")
    assert files.get("/files/a").text == "read /files/a"
    written = files.post("/files/a")
    assert (written.status_code, written.text) == (201, "written /files/a")
