"""The how-to page about security settings: what its app refuses, and what it sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from dualroute.testclient import TestClient
from tests.conftest import Serve
from tests.docs.pages import Page, importing

PAGE = "how-to/security.md"
BASE = "https://shop.example"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("SHOP_HOSTS", "shop.example,testserver")
    monkeypatch.setenv("SHOP_SECRETS", "new secret,old secret")
    monkeypatch.setenv("SHOP_API_KEY", "key")
    monkeypatch.setenv("SHOP_PROXIES", "127.0.0.1,10.0.0.0/8")
    Page(PAGE).write(tmp_path)
    with importing(tmp_path) as load:
        yield load("shop")


@pytest.fixture
def client(serve: Serve, shop: ModuleType) -> httpx.Client:
    return serve(shop.app, base_url=BASE)


def test_every_answer_has_the_headers(client: httpx.Client, shop: ModuleType) -> None:
    for answer in (
        client.get("/"),
        client.get("/none"),
        client.post("/"),
        client.get("/", headers={"host": "evil.example"}),
    ):
        assert shop.HEADERS.items() <= dict(answer.headers).items()
        assert "x-request-id" in answer.headers


def test_a_handler_may_have_a_header_of_its_own(client: httpx.Client, shop: ModuleType) -> None:
    assert client.post("/sign-in").status_code == 204
    assert client.get("/account").headers["cache-control"] == "no-store"


def test_a_session(client: httpx.Client) -> None:
    assert client.get("/account").status_code == 401
    answer = client.post("/sign-in")
    cookie = answer.headers["set-cookie"].lower()
    assert all(attribute in cookie for attribute in ("secure", "httponly", "samesite=lax", "max-age=28800"))
    assert client.get("/account").json() == {"user": "ann"}


def test_other_hosts_and_plain_http(client: httpx.Client, serve: Serve, shop: ModuleType) -> None:
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    plain = serve(shop.app, base_url="http://shop.example").get("/account?a=b")
    assert (plain.status_code, plain.headers["location"]) == (307, "https://shop.example/account?a=b")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 204),
        ({"sec-fetch-site": "same-origin"}, 204),
        ({"sec-fetch-site": "none"}, 204),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "https://shop.example"}, 204),
        ({"origin": "https://evil.shop.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_what_changes_something_comes_from_the_same_site(
    client: httpx.Client, headers: dict[str, str], status: int
) -> None:
    assert client.post("/sign-in", headers=headers).status_code == status
    assert client.get("/", headers=headers).status_code == 200


def test_the_sign_in_has_a_limit_of_its_own(client: httpx.Client) -> None:
    assert [client.post("/sign-in").status_code for _ in range(6)] == [204] * 5 + [429]
    answer = client.get("/")
    assert (answer.status_code, answer.headers["ratelimit-limit"]) == (200, "300")


def test_bodies_have_limits(client: httpx.Client) -> None:
    mib = 1024 * 1024
    assert client.post("/uploads", files={"file": ("../../x", b"x" * 2 * mib)}).json()["size"] == 2 * mib
    assert client.post("/uploads", files={"file": ("x", b"x" * 21 * mib)}).status_code == 413
    assert client.post("/uploads", files=[("file", b"x"), ("file", b"y")]).status_code == 413


def test_an_upload_is_not_stored_by_the_name_that_it_came_with(client: httpx.Client) -> None:
    stored = client.post("/uploads", files={"file": ("../../x", b"x")}).json()["stored"]
    assert len(stored) == 32
    assert stored.isalnum()


def test_other_origins_read_what_they_may(client: httpx.Client) -> None:
    allowed = client.get("/", headers={"origin": "https://partner.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://partner.example"
    assert "access-control-allow-origin" not in client.get("/", headers={"origin": "https://evil.example"}).headers


def test_the_key_is_compared_and_not_shown(client: httpx.Client, shop: ModuleType) -> None:
    assert client.get("/admin").status_code == 403
    assert client.get("/admin", headers={"x-api-key": "wrong"}).status_code == 403
    assert client.get("/admin", headers={"x-api-key": "key"}).text == "admin"
    assert "key" not in repr(shop.API_KEY)


def test_an_error_tells_nothing(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    # Without the file that it expects, the handler fails.
    answer = client.post("/uploads", data={"other": "x"})
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "KeyError" in caplog.text


@pytest.mark.protocol("asgi")  # there are no websockets by WSGI
@pytest.mark.parametrize(("origin", "opens"), [(BASE, True), ("https://evil.example", False), (None, False)])
def test_a_websocket_is_for_pages_of_the_same_origin(
    protocol: str, shop: ModuleType, origin: str | None, opens: bool
) -> None:
    headers: dict[str, Any] = {} if origin is None else {"origin": origin}
    with TestClient(shop.app, base_url=BASE) as client:
        if opens:
            with client.websocket_connect("/live", headers=headers) as websocket:
                websocket.send_text("hello")
                assert websocket.receive_text() == "hello"
        else:
            with (
                pytest.raises(Exception, match="Forbidden"),
                client.websocket_connect("/live", headers=headers),
            ):
                pass


def test_the_page_names_what_is_in_the_document() -> None:
    text = Page("../SECURITY.md").text
    for name in ("Servers", "Defaults", "What we promise"):
        assert f"## {name}" in text
