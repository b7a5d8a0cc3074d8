"""The how-to pages: their code blocks run, and give what the text says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve

PAGES = Path(__file__).parent.parent / "docs" / "how-to"


def run_page(name: str) -> dict[str, Any]:
    """Run the Python blocks of a page, one after the other, and return what they define."""
    namespace: dict[str, Any] = {"__name__": name}
    text = (PAGES / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert blocks, f"{name} has no code"
    for block in blocks:
        exec(compile(block, name, "exec"), namespace)  # that is what is tested
    return namespace


def test_coming_from_tornado(serve: Serve) -> None:
    page = run_page("tornado.md")
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


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_the_code_of_every_page_runs(page: str) -> None:
    run_page(page)
