"""What a type checker makes of TestClient: these lines are read by mypy and pyright, and hardly run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, assert_type

import httpx
import pytest

from dualroute import DualRoute, PlainTextResponse, Request, Route
from dualroute.testclient import TestClient, WebSocketDenialResponse, WebSocketDisconnect, WebSocketTestSession


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("home")


app = DualRoute([Route("/", home)])


@pytest.fixture
def client(protocol: Literal["asgi", "wsgi"]) -> Iterator[TestClient]:
    with TestClient(app, protocol=protocol, headers={"x-a": "1"}, cookies={"c": "1"}) as client:
        assert_type(client, TestClient)
        yield client


def test_requests(client: TestClient) -> None:
    assert_type(client.get("/"), httpx.Response)
    with client.stream("GET", "/") as response:
        assert_type(response, httpx.Response)
    assert client.get("/").text == "home"


def test_sessions(client: TestClient) -> None:
    def talk() -> None:
        with client.websocket_connect("/none", ["v1"]) as session:
            assert_type(session, WebSocketTestSession)
            assert_type(session.receive_text(), str)
            assert_type(session.receive_bytes(), bytes)
            assert_type(session.accepted_subprotocol, str | None)

    with pytest.raises(WebSocketDisconnect) as caught:
        talk()
    denial = caught.value
    assert isinstance(denial, WebSocketDenialResponse)
    assert_type(denial.status_code, int)
    assert_type(denial.code, int)


def test_what_it_is_not_called_with() -> None:
    with pytest.raises(ValueError, match="rsgi"):
        TestClient(app, protocol="rsgi")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
