"""The how-to page about websockets; the chat itself has tests of its own."""

from __future__ import annotations

from typing import Any

import pytest

from dualroute.testclient import TestClient, WebSocketDenialResponse, WebSocketDisconnect
from tests.docs.examples import EXAMPLES
from tests.docs.pages import Page

PAGE = Page("how-to/websockets.md")


@pytest.fixture(scope="module")
def apps() -> list[Any]:
    return PAGE.apps()


def test_a_session(apps: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with TestClient(apps[0]) as client, client.websocket_connect("/rooms/tea/live") as session:
        session.send_json({"say": "hello"})
        assert session.receive_json() == {"room": "tea", "said": "hello"}
        session.close(4001)
    assert capsys.readouterr().out == "tea: closed with 4001\n"


@pytest.mark.parametrize(("text", "code"), [("{", 1003), ("[]", 1008)])
def test_what_is_no_message_ends_it(apps: list[Any], text: str, code: int) -> None:
    with TestClient(apps[0]) as client, client.websocket_connect("/rooms/tea/live") as session:
        session.send_text(text)
        with pytest.raises(WebSocketDisconnect) as closed:
            session.receive_json()
        assert closed.value.code == code


def test_one_path_may_have_both(apps: list[Any], protocol: Any) -> None:
    with TestClient(apps[0], protocol=protocol) as client:
        assert client.get("/echo").text == "Open a websocket here.\n"
        if protocol == "asgi":
            with client.websocket_connect("/echo") as session:
                session.send_text("a")
                assert session.receive_text() == "a"
        else:
            with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/echo"):
                pass
            assert refused.value.status_code == 501


def test_a_page_may_ask(apps: list[Any], protocol: Any) -> None:
    with TestClient(apps[1], protocol=protocol) as client:
        assert client.get("/rooms/tea/live").json() == {"websockets": protocol == "asgi"}


def test_other_origins_and_large_messages_are_kept_out(apps: list[Any]) -> None:
    with TestClient(apps[1]) as client:
        headers = {"origin": "https://elsewhere.example"}
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            client.websocket_connect("/rooms/tea/live", headers=headers),
        ):
            pass
        assert refused.value.status_code == 403
        with client.websocket_connect("/rooms/tea/live") as session:
            session.send_text("x" * (16 * 1024 + 1))
            with pytest.raises(WebSocketDisconnect) as closed:
                session.receive_text()
            assert closed.value.code == 1009


def test_the_page_quotes_the_chat() -> None:
    program = (EXAMPLES / "chat" / "main.py").read_text(encoding="utf-8")
    for name in ("Member", "Live"):
        (block,) = [block.text for block in PAGE.of("python") if f"class {name}" in block.text]
        quoted = block[block.index(f"class {name}") :].partition("\n\n\n")[0].rstrip()
        assert quoted in program
    page = (EXAMPLES / "chat" / "page.html").read_text(encoding="utf-8")
    scripts = PAGE.of("js")
    assert len(scripts) == 3
    for script in scripts:
        assert script.text in page
