"""The pages of explanation: what they say of the apps that they show, and their drawings."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import Serve
from tests.docs.pages import DOCS, Page

DRAWINGS = sorted((DOCS / "explanation").glob("*.svg"))


def test_the_exchange(serve: Serve) -> None:
    page = Page("explanation/exchange.md").run()
    assert page["in_a_thread"].body == page["on_a_loop"].body == b"hello, Ada"
    client = serve(page["app"])
    assert client.get("/", headers={"x-token": "s3cret"}).json() == {"user": "ada"}
    assert client.get("/").json() == {"user": None}


def test_colours(serve: Serve, protocol: str) -> None:
    client = serve(Page("explanation/colours.md").run()["app"])
    own, other = ("/async-def", "/def") if protocol == "asgi" else ("/def", "/async-def")
    assert client.get(own).text == "in place"
    assert client.get(other).text == "one hop"


def test_matching(serve: Serve) -> None:
    page = Page("explanation/matching.md").run()
    users = serve(page["app"])
    assert users.get("/users/me").text == "anybody"
    assert users.get("/files/7").text == "by number"
    assert users.get("/files/seven").text == "by name"
    assert users.put("/files/7").text == "changed"
    refused = users.delete("/files/7")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS, PUT"
    outer = serve(page["outer"])
    assert outer.get("/api/version").text == "outer"
    assert outer.get("/api/other").status_code == 404


# Drawings


def rules(style: str) -> dict[str, dict[str, str]]:
    """Return what a piece of a style sheet says, by selector."""
    found = re.findall(r"([.\w]+) \{ ([^{}]*?);? \}", style)
    return {name: dict(part.split(": ", 1) for part in text.split("; ")) for name, text in found}


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_there_are_drawings() -> None:
    assert [path.stem for path in DRAWINGS] == ["colours", "exchange"]


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.stem)
def test_a_drawing_says_in_words_what_it_shows(path: Path) -> None:
    root = ElementTree.parse(path).getroot()  # noqa: S314  # a file of ours
    svg = "{http://www.w3.org/2000/svg}"
    assert root.attrib["role"] == "img"
    for name in root.attrib["aria-labelledby"].split():
        assert [part.text for part in root.iter() if part.get("id") == name and (part.text or "").strip()], name
    used = {name for part in root.iter() for name in part.get("class", "").split()}
    (style,) = [part.text or "" for part in root.iter(f"{svg}style")]
    assert {f".{name}" for name in used} <= set(rules(style))


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.stem)
def test_a_drawing_can_be_read_in_the_light_and_in_the_dark(path: Path) -> None:
    style = path.read_text("utf-8").split("<style>")[1].split("</style>")[0]
    light, dark = (rules(part) for part in style.split("@media (prefers-color-scheme: dark)"))
    for said in (light, {name: {**light.get(name, {}), **dark.get(name, {})} for name in light}):
        grounds = [
            fill["fill"] for name, fill in said.items() if name in (".card", ".box", ".lane", ".core", ".handler")
        ]
        texts = [said[name]["fill"] for name in ("text", ".quiet", ".hopped") if name in said]
        assert grounds
        for text in texts:
            assert min(contrast(text, ground) for ground in grounds) >= 4.5
