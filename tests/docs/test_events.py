"""The headlines: server-sent events in a browser, and what a client that comes back is told, on both protocols."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from dualroute.testclient import TestClient
from tests.docs.browser import Browser
from tests.docs.examples import EXAMPLES, served
from tests.docs.pages import importing
from tests.servers import launching
from tests.servers.conftest import client_of
from tests.servers.launching import Running, by_name

NAMES = ("uvicorn", "gunicorn-gthread")

GUNICORN = by_name("gunicorn-gthread")
SERVERS = (
    by_name("uvicorn"),
    # A thread for each stream; and since it is not told that a client has gone, it would wait for those in the end.
    replace(GUNICORN, command=(*GUNICORN.command, "--threads", "16", "--graceful-timeout", "1")),
)
TARGET = "events:app"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    with served(TARGET, tmp_path_factory.mktemp("events"), *SERVERS) as running:
        yield running


@pytest.fixture(params=NAMES)
def server(request: pytest.FixtureRequest, servers: dict[str, Running]) -> Running:
    return servers[request.param]


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with client_of(server) as client:
        yield client


def events(client: httpx.Client, number: int, last: str | None = None) -> list[dict[str, str]]:
    """Read so many events of the stream as their fields, and leave."""
    headers = {} if last is None else {"last-event-id": last}
    found: list[dict[str, str]] = []
    event: dict[str, str] = {}
    with client.stream("GET", "/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            else:
                found.append(event)
                event = {}
            if len(found) == number:
                break
    return found


def texts(found: list[dict[str, str]]) -> list[str]:
    return [json.loads(event["data"])["text"] for event in found if "data" in event]


def test_tabs_show_what_is_published(server: Running, browser: Browser) -> None:
    url = f"{server.url}/"
    with browser.tab(url) as one, browser.tab(url) as other:
        for tab in (one, other):
            tab.wait_for("document.body.innerText.includes('Connected.')")
        one.fill("[name=text]", "<i>First</i> things & more")
        one.click("form button")
        for tab in (one, other):
            tab.wait_for("document.querySelector('li')?.textContent === '<i>First</i> things & more'")
        assert one.run("document.querySelector('[name=text]').value") == ""
        other.fill("[name=text]", "second")
        other.click("form button")
        for tab in (one, other):
            tab.wait_for("document.querySelector('li').textContent === 'second'")
        ids = [tab.run("[...document.querySelectorAll('li')].map(item => item.dataset.id)")[:2] for tab in (one, other)]
        assert ids[0] == ids[1]


def test_a_browser_comes_back_by_itself(tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    with ExitStack() as stack:
        server = Running(by_name("uvicorn"), tmp_path / "first", TARGET, path=EXAMPLES)
        stack.callback(server.kill)
        tab = stack.enter_context(browser.tab(f"{server.url}/"))
        tab.wait_for("document.body.innerText.includes('Connected.')")
        server.kill()
        tab.wait_for("document.body.innerText.includes('The connection was lost')")
        monkeypatch.setattr(launching, "free_port", lambda: server.port)
        again = Running(by_name("uvicorn"), tmp_path / "second", TARGET, path=EXAMPLES)
        stack.callback(again.kill)
        with client_of(again) as client:
            client.post("/events", content="after the break")
        tab.wait_for("document.querySelector('li')?.textContent === 'after the break'")
        assert "Connected." in tab.text


def test_who_comes_back_is_told_what_was_missed(client: httpx.Client) -> None:
    ids = [client.post("/events", content=f"number {n}").json()["id"] for n in range(3)]
    first = events(client, 1)
    assert first == [{"retry": "1000"}]
    found = events(client, 3, ids[0])
    assert texts(found) == ["number 1", "number 2"]
    assert [(event["event"], event["id"]) for event in found[1:]] == [("headline", ids[1]), ("headline", ids[2])]


@pytest.mark.parametrize("last", ["", "another-1", "x", "-", "99999999999999999999999"])
def test_an_id_that_says_nothing_gets_all_that_is_kept(client: httpx.Client, last: str) -> None:
    known = client.post("/events", content=f"for {last}").json()["id"]
    number = int(known.partition("-")[2])
    found = events(client, number + 1, last)
    assert len(texts(found)) == number
    assert found[-1]["id"] == known


def test_what_is_no_headline_is_refused(client: httpx.Client) -> None:
    assert client.post("/events", content=" \n").status_code == 422
    assert client.post("/events", content="x" * 2001).status_code == 413


def test_silence_is_filled_with_comments(protocol: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with importing(EXAMPLES):
        example: Any = importlib.import_module("events")
        monkeypatch.setattr(example, "PING", 0.05)
        with TestClient(example.app, protocol=protocol) as client, client.stream("GET", "/events") as answer:
            lines = answer.iter_lines()
            comments = 0
            while comments < 3:
                comments += next(lines).startswith(":")


def test_only_so_many_are_kept() -> None:
    with importing(EXAMPLES):
        example: Any = importlib.import_module("events")
        headlines = example.Headlines()
        for number in range(example.KEPT + 5):
            headlines.publish(str(number))
        assert len(headlines._kept) == example.KEPT
