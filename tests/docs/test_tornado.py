"""The how-to page about coming from Tornado."""

from __future__ import annotations

from tests.conftest import Serve
from tests.docs.pages import Page


def test_coming_from_tornado(serve: Serve) -> None:
    page = Page("how-to/tornado.md").run()
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
