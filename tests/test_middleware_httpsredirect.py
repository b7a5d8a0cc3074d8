"""HTTPSRedirectMiddleware."""

from __future__ import annotations

import pytest

from dualroute.middleware.httpsredirect import HTTPSRedirectMiddleware
from tests.conftest import Serve
from tests.middleware_helper import accepted, denied, handshake, site

APP = site([HTTPSRedirectMiddleware()])


@pytest.mark.parametrize(
    ("host", "location"),
    [
        ("example.org", "https://example.org/a%20b?c=d"),
        ("example.org:80", "https://example.org/a%20b?c=d"),
        ("example.org:443", "https://example.org/a%20b?c=d"),
        ("example.org:8000", "https://example.org:8000/a%20b?c=d"),
        ("[::1]:80", "https://[::1]/a%20b?c=d"),
        ("[::80]", "https://[::80]/a%20b?c=d"),
        ("example.org:65535", "https://example.org:65535/a%20b?c=d"),
    ],
)
def test_http_is_redirected(serve: Serve, host: str, location: str) -> None:
    answer = serve(APP).post("/a b?c=d", headers={"host": host})
    assert (answer.status_code, answer.headers["location"]) == (307, location)


@pytest.mark.parametrize("host", ["example.org:99999", "a/?x", "[example.org]"])
def test_what_is_malformed_is_not_redirected(serve: Serve, host: str) -> None:
    assert serve(APP).get("/a", headers={"host": host}).status_code == 400
    assert denied(handshake(APP, "/ws", {"host": host}))[0] == 400


def test_https_passes(serve: Serve) -> None:
    assert serve(APP, base_url="https://testserver").get("/").text == "plain"


def test_websockets_are_redirected_to_wss() -> None:
    status, headers = denied(handshake(APP, "/ws?a=1"))
    assert (status, headers["location"]) == (307, "wss://testserver/ws?a=1")
    assert accepted(handshake(APP, scheme="wss"))
