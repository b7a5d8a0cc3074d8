"""The chat: in a browser, two tabs talking, and by hand."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from dualroute.testclient import TestClient, WebSocketDenialResponse, WebSocketDisconnect
from tests.docs.browser import Browser, Tab
from tests.docs.examples import EXAMPLES, served
from tests.docs.pages import importing
from tests.servers import launching
from tests.servers.conftest import client_of
from tests.servers.launching import Running, by_name
from tests.servers.wire import opened

TARGET = "chat.main:app"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    with served(TARGET, tmp_path_factory.mktemp("chat"), "uvicorn", "gunicorn-sync") as running:
        yield running


@pytest.fixture(scope="module")
def chat() -> Iterator[Any]:
    with importing(EXAMPLES):
        yield importlib.import_module("chat.main")


def join(tab: Tab, name: str) -> None:
    tab.fill("[name=name]", name)
    assert not tab.shows("#talk")
    tab.click("#join button")
    tab.wait_for("document.querySelector('#state').dataset.state === 'connected'")
    assert tab.shows("#talk")
    assert not tab.shows("#join")


def say(tab: Tab, text: str) -> None:
    tab.fill("[name=text]", text)
    tab.click("#talk button")


def wait_for_text(tab: Tab, text: str) -> None:
    tab.wait_for(f"document.body.innerText.includes({json.dumps(text)})")


def test_two_tabs_talk(servers: dict[str, Running], browser: Browser) -> None:
    url = servers["uvicorn"].url
    with (
        browser.tab(f"{url}/") as ada,
        browser.tab(f"{url}/rooms/lobby") as grace,
        browser.tab(f"{url}/rooms/2") as joe,
    ):
        assert ada.run("location.pathname") == "/rooms/lobby"
        for tab, name in ((ada, "Ada"), (joe, "Joe"), (grace, "Grace")):
            join(tab, name)
        wait_for_text(ada, "Grace has joined.")
        wait_for_text(ada, "Here: Ada, Grace")
        say(ada, "Hello, <b>you</b> & all")
        wait_for_text(grace, "Ada: Hello, <b>you</b> & all")
        say(grace, "Grüße 🐍")
        wait_for_text(ada, "Grace: Grüße 🐍")
        assert ada.run("document.querySelector('[name=text]').value") == ""
        assert "Hello" not in joe.text
        assert "Here: Joe" in joe.text
        with browser.tab(f"{url}/rooms/lobby") as late:
            join(late, "Late")
            wait_for_text(ada, "Here: Ada, Grace, Late")
        wait_for_text(ada, "Late has left.")
        wait_for_text(grace, "Here: Ada, Grace\n")


def test_a_page_that_has_lost_its_server_comes_back(
    tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    server = Running(by_name("uvicorn"), first, TARGET, path=EXAMPLES)
    with ExitStack() as stack, browser.tab(f"{server.url}/rooms/lobby") as tab:
        stack.callback(server.kill)
        join(tab, "Ada")
        server.stop()
        tab.wait_for("document.querySelector('#state').dataset.state === 'lost'")
        wait_for_text(tab, "Trying again in")
        monkeypatch.setattr(launching, "free_port", lambda: server.port)
        again = Running(by_name("uvicorn"), second, TARGET, path=EXAMPLES)
        stack.callback(again.kill)
        tab.wait_for("document.querySelector('#state').dataset.state === 'connected'")
        wait_for_text(tab, "Here: Ada")


def test_by_wsgi_the_page_says_what_is_missing(servers: dict[str, Running], browser: Browser) -> None:
    server = servers["gunicorn-sync"]
    with browser.tab(f"{server.url}/") as tab:
        tab.fill("[name=name]", "Ada")
        tab.click("#join button")
        tab.wait_for("document.querySelector('#state').dataset.state === 'unavailable'")
        assert "it is served over WSGI, which has no websockets" in tab.text
        assert "dualroute run" in tab.text
        assert not tab.shows("#talk")
    with pytest.raises(InvalidStatus) as refused, opened(server, "/rooms/lobby/live?name=Ada"):
        pass
    assert refused.value.response.status_code == 501
    assert b"serve the app with an ASGI server" in bytes(refused.value.response.body or b"")


def test_a_page_can_ask_whether_there_are_websockets(servers: dict[str, Running]) -> None:
    for name, has in (("uvicorn", True), ("gunicorn-sync", False)):
        with client_of(servers[name]) as client:
            assert client.get("/rooms/lobby/live").json() == {"websockets": has}


def test_the_session(chat: Any) -> None:
    with TestClient(chat.app) as client:
        with client.websocket_connect("/rooms/tea/live?name=Ada") as ada:
            assert ada.receive_json() == {"joined": "Ada", "here": ["Ada"]}
            with client.websocket_connect("/rooms/tea/live?name=Ada") as twin:
                assert ada.receive_json() == {"joined": "Ada", "here": ["Ada", "Ada"]}
                assert twin.receive_json() == {"joined": "Ada", "here": ["Ada", "Ada"]}
                twin.send_json({"say": "two of us"})
                assert ada.receive_json() == {"name": "Ada", "said": "two of us", "here": ["Ada", "Ada"]}
            assert ada.receive_json() == {"left": "Ada", "here": ["Ada"]}
        assert chat.rooms == {}


@pytest.mark.parametrize(
    ("text", "code"),
    [("{", 1003), ("[]", 1008), ('{"say": ""}', 1008), ('{"say": 1}', 1008), (json.dumps({"say": "x" * 2001}), 1008)],
)
def test_what_is_no_message_ends_the_session(chat: Any, text: str, code: int) -> None:
    with TestClient(chat.app) as client, client.websocket_connect("/rooms/tea/live?name=Ada") as session:
        session.receive_json()
        session.send_text(text)
        with pytest.raises(WebSocketDisconnect) as closed:
            session.receive_json()
        assert closed.value.code == code


def test_a_name_is_required_and_the_page_is_told(chat: Any) -> None:
    with TestClient(chat.app) as client:
        for name in ("", "%20", "x" * 41):
            with client.websocket_connect(f"/rooms/tea/live?name={name}") as session:
                with pytest.raises(WebSocketDisconnect) as closed:
                    session.receive_json()
                assert (closed.value.code, closed.value.reason) == (4000, "A name has 1 to 40 characters.")
    assert chat.rooms == {}


def test_a_page_of_another_origin_is_refused(chat: Any) -> None:
    with TestClient(chat.app) as client:
        headers = {"origin": "https://elsewhere.example"}
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            client.websocket_connect("/rooms/tea/live?name=Ada", headers=headers),
        ):
            pass
        assert refused.value.status_code == 403


def test_who_does_not_read_loses_the_oldest_messages(chat: Any) -> None:
    class Slow:
        """A websocket whose peer takes nothing."""

        sent: list[Any]

        def __init__(self) -> None:
            self.sent = []
            self.may_go_on = asyncio.Event()

        async def send_json(self, data: Any) -> None:
            await self.may_go_on.wait()
            self.sent.append(data["number"])

    async def talk() -> list[int]:
        slow = Slow()
        member = chat.Member(slow, "Slow")
        for number in range(1000):
            member.tell({"number": number})
        slow.may_go_on.set()
        while len(slow.sent) < 100:
            await asyncio.sleep(0)
        member.leave()
        return slow.sent

    assert asyncio.run(talk()) == list(range(900, 1000))
