"""A Quart app in every place that it can have, under a server of either protocol: always the same app."""

from __future__ import annotations

import hashlib
import json

import httpx
import pytest

from tests.frameworks.sites import Site, Sites, same_url
from tests.servers.launching import BOUND, eventually

SITES = Sites("quart_app", needs=("quart",))


def test_a_view_knows_where_it_is(site: Site, client: httpx.Client) -> None:
    answer = client.get("/shop/items/7", params={"q": ["ü", "a b"]})
    assert answer.status_code == 200
    assert answer.headers["x-legacy"] == "quart"
    told = answer.json()
    assert (told["id"], told["q"]) == (7, ["ü", "a b"])
    assert told["script_root"] == site.root
    assert told["path"] == "/shop/items/7"
    assert same_url(told["here"], f"{site.place.prefix}/shop/items/7")
    assert same_url(told["external"], f"{site.url}/")
    assert client.get("/").text == "the legacy index"
    assert client.get("/shop/def").text == "from a thread"


def test_a_redirect_leads_back_into_the_app(site: Site, client: httpx.Client) -> None:
    answer = client.post("/leave")
    assert answer.status_code == 302
    assert same_url(answer.headers["location"], f"{site.place.prefix}/")


def test_sessions_live_in_a_cookie(client: httpx.Client) -> None:
    assert [client.get("/count").json()["count"] for _ in range(3)] == [1, 2, 3]


def test_a_file_is_uploaded(client: httpx.Client) -> None:
    data = b"x" * 700_000
    answer = client.post("/upload", files={"file": ("bücher.bin", data)}, data={"note": "größer"})
    assert answer.json() == {"name": "bücher.bin", "size": len(data), "note": "größer"}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 1_500_000])
def test_a_body_arrives_whole(client: httpx.Client, chunked: bool, size: int) -> None:
    data = b"y" * size
    content = iter([data[:1000], data[1000:]]) if chunked else data
    assert client.put("/digest", content=content).text == hashlib.sha256(data).hexdigest()


def test_a_stream_comes_whole(client: httpx.Client) -> None:
    assert client.get("/stream").text == "0\n1\n2\n3\n4\n"
    assert client.head("/stream").content == b""


def test_teardown_runs_once(site: Site, client: httpx.Client, token: str) -> None:
    client.get("/", params={"token": token})
    site.running.event("teardown", token=token)
    client.get("/")
    assert len(site.running.events("teardown", token=token)) == 1


def test_the_error_pages_are_quarts(site: Site, client: httpx.Client) -> None:
    missing = client.get("/n%C3%B6/x")
    assert (missing.status_code, missing.text) == (404, "the legacy app has no /nö/x")
    wrong = client.post("/shop/items/1")
    assert wrong.status_code == 405
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    boom = client.get("/boom")
    assert boom.status_code == 500
    assert "<h1>Internal Server Error</h1>" in boom.text
    eventually(lambda: "LookupError: boom" in site.running.output, "the traceback is printed")


def test_the_start_up_ran_once_in_the_worker(site: Site, client: httpx.Client) -> None:
    client.get("/")
    assert len(site.running.events("startup")) == 1
    assert site.running.events("shutdown") == []


@pytest.mark.protocol("wsgi")
def test_a_websocket_is_refused_where_the_server_has_none(site: Site, token: str) -> None:
    assert site.refused(f"/ws/{token}") == 501


@pytest.mark.protocol("asgi")
def test_a_websocket_talks_where_the_server_has_them(site: Site, token: str) -> None:
    with site.websocket(f"/ws/{token}?q=%C3%BC") as client:
        told = json.loads(client.recv(timeout=BOUND))
        assert told == {"room": token, "root": site.root, "q": "ü"}
        client.send("ü 🐍")
        assert client.recv(timeout=BOUND) == "echo ü 🐍"
    site.running.event("websocket ended", room=token)
