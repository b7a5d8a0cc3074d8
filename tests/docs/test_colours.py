"""The how-to page about `def` and `async def`."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from dualroute import DualRoute, PlainTextResponse, Route, SyncRequest
from dualroute.testclient import TestClient
from tests.conftest import Serve
from tests.docs.examples import EXAMPLES
from tests.docs.pages import Page, importing

PAGE = Page("how-to/colours.md")


def test_both_kinds_stand_side_by_side(serve: Serve) -> None:
    first, second = PAGE.apps()
    for app in (first, second):
        client = serve(app)
        assert client.get("/stock/6").json() == {"product": 6, "stock": 42}
        assert client.get("/prices").json() == {"here": 3, "there": 4}
        assert client.get("/greetings/Ada").json() == {"hello": "Ada"}
        assert client.post("/greetings/Ada", json=1).json() == {"hello": "Ada", "told": 1}
        assert client.get("/folder").text.endswith(" files\n")
    client = serve(second)
    assert client.get("/slow-stock/1").json()["stock"] == 7
    assert client.get("/ping").text == "pong\n"
    assert client.get("/version").text == "1.0\n"


def test_what_is_said_of_threads_is_so() -> None:
    app = PAGE.apps()[-1]
    assert (app.max_threads, app.max_waiting) == (100, 200)
    usual = DualRoute()
    assert (usual.max_threads, usual.max_waiting) == (40, 1000)
    assert "40 unless you say otherwise" in PAGE.text
    assert "1,000 unless you say otherwise" in PAGE.text


@pytest.mark.parametrize(("inline", "elsewhere"), [(False, True), (True, False)])
def test_a_def_runs_where_it_is_said_to(inline: bool, elsewhere: bool) -> None:
    async def loop(request: Any) -> PlainTextResponse:
        return PlainTextResponse(threading.current_thread().name)

    def where(request: SyncRequest) -> PlainTextResponse:
        return PlainTextResponse(threading.current_thread().name)

    app = DualRoute([Route("/loop", loop), Route("/where", where, sync_to_thread=not inline)])
    with TestClient(app) as client:
        assert (client.get("/where").text != client.get("/loop").text) is elsewhere
    with TestClient(app, protocol="wsgi") as client:
        assert client.get("/where").text == threading.current_thread().name
        assert client.get("/loop").text != threading.current_thread().name


def test_the_page_quotes_the_quick_start() -> None:
    (block,) = [block.text for block in PAGE.of("python") if "class Greeting" in block.text]
    quoted = block[block.index("class Greeting") :].partition("\n\n\n")[0]
    assert quoted in (EXAMPLES / "quick_start.py").read_text(encoding="utf-8")


def test_the_quick_start(serve: Serve) -> None:
    with importing(EXAMPLES) as load:
        client = serve(load("quick_start").app)
        assert client.get("/").text == "Hello from http://testserver/\n"
        assert client.get("/pause/0.01").text == "Done.\n"
        assert client.get("/greetings/Ada").json() == {"hello": "Ada"}
        told = client.post("/greetings/Ada", json=["tea"])
        assert (told.status_code, told.json()) == (201, {"hello": "Ada", "told": ["tea"]})
        assert client.put("/greetings/Ada").status_code == 405


def test_the_quick_start_has_a_websocket() -> None:
    with (
        importing(EXAMPLES) as load,
        TestClient(load("quick_start").app) as client,
        client.websocket_connect("/echo") as session,
    ):
        session.send_text("hello")
        assert session.receive_text() == "hello"


def test_the_costs_are_those_that_were_measured() -> None:
    figures = Page("performance.md").text
    least, most = map(int, re.findall(r"some (\d+) to (\d+) µs", PAGE.text)[0])
    ways = ("`def` under ASGI, one at a time", "`def` under ASGI, 64 at once", "`async def` under WSGI")
    for way in ways:
        (measured,) = re.findall(rf"^\| {re.escape(way)} \| \*\*(\d+)\*\* \|", figures, re.MULTILINE)
        assert least <= int(measured) <= most, way
