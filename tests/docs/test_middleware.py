"""The how-to page about middleware."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from dualroute import DualRoute, Route
from dualroute.testclient import TestClient, WebSocketDenialResponse
from tests.conftest import Serve
from tests.docs.pages import Page

PAGE = Page("how-to/middleware.md")


@pytest.fixture(scope="module")
def apps() -> list[Any]:
    return PAGE.apps()


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return PAGE.run()


def test_a_generator_is_around_every_answer(serve: Serve, apps: list[Any]) -> None:
    client = serve(apps[0])
    for path, status in (("/", 200), ("/nowhere", 404)):
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.headers["server-timing"].startswith("app;dur=")


def test_the_order_is_as_it_is_told(serve: Serve, apps: list[Any]) -> None:
    answer = serve(apps[1]).get("/inner/")
    assert answer.headers.get_list("x-passed") == ["route", "mount", "inner", "outer"]


def test_early_answers_calls_and_errors(serve: Serve, apps: list[Any]) -> None:
    client = serve(apps[2])
    token = {"authorization": "Bearer sesame"}
    for path, text in (("/", "home"), ("/greeting", "Hello, Ali\n")):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=token).text == text
    signature = hmac.new(b"secret", b"body", hashlib.sha256).hexdigest()
    for path in ("/take", "/take-async"):
        assert client.post(path, content=b"body").status_code == 401
        assert client.post(path, content=b"other", headers={"x-signature": signature}).status_code == 401
        assert client.post(path, content=b"body", headers={"x-signature": signature}).text == "body"
    broken = client.get("/divide")
    assert (broken.status_code, broken.text) == (500, "That did not work out.\n")


def test_options(serve: Serve, apps: list[Any], page: dict[str, Any]) -> None:
    client = serve(apps[3])
    assert client.get("/").headers["cache-control"] == "max-age=60"
    assert "cache-control" not in client.get("/nowhere").headers
    with pytest.raises(ValueError, match="max_age is a number of seconds, not -1"):
        page["CacheControl"](max_age=-1)


def test_a_body_is_changed_on_its_way(serve: Serve, apps: list[Any]) -> None:
    client = serve(apps[4])
    home = client.get("/")
    assert (home.text, home.headers["content-length"]) == ("HOME", "4")
    streamed = client.get("/streamed")
    assert (streamed.text, "content-length" in streamed.headers) == ("ONE, TWO\n", False)


def test_websockets(apps: list[Any]) -> None:
    app = apps[5]
    with TestClient(app) as client:
        with client.websocket_connect("/echo?token=sesame") as session:
            session.send_text("a")
            assert session.receive_text() == "a"
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/echo"):
            pass
        assert refused.value.status_code == 403
        client.get("/")
    assert app.state.seen == 3


def test_what_others_have_written(serve: Serve, apps: list[Any]) -> None:
    answer = serve(apps[6]).get("/", headers={"x-forwarded-for": "192.0.2.7", "user-agent": "me"})
    assert answer.text == "192.0.2.7"
    assert (answer.headers["x-greeted"], answer.headers["x-tag"]) == ("me", "blue")


def test_a_500_may_be_amended(serve: Serve) -> None:
    def labelled(connection: Any) -> Any:
        connection.amend(lambda response: response.headers.update({"x-a": "b"}))
        return (yield connection)

    def broken(request: Any) -> Any:
        raise LookupError

    answer = serve(DualRoute([Route("/", broken)], middleware=[labelled])).get("/")
    assert (answer.status_code, answer.headers["x-a"]) == (500, "b")
    assert 'connection.amend(lambda response: response.headers.update({"x-a": "b"}))' in PAGE.text
