"""A Starlette app in every place that it can have, under a server of either protocol: always the same app."""

from __future__ import annotations

import hashlib
import json

import httpx
import pytest

from tests.frameworks.sites import Site, Sites, same_url
from tests.servers.launching import BOUND, eventually

SITES = Sites("starlette_app", needs=("starlette",))

PAYLOAD = bytes(range(256)) * 1000


def test_an_endpoint_knows_where_it_is(site: Site, client: httpx.Client) -> None:
    told = client.get("/shop/items/7", params={"q": ["ü", "a b"]}).json()
    assert (told["id"], told["q"], told["pool"]) == (7, ["ü", "a b"], "an open pool")
    assert told["root_path"] == f"{site.root}/shop"
    assert same_url(told["here"], f"{site.url}/shop/items/7")
    assert same_url(told["file"], f"{site.url}/files/payload.bin")
    assert same_url(told["url"].partition("?")[0], f"{site.url}/shop/items/7")
    assert client.get("/").text == "the legacy index"
    assert client.get("/shop/def").text == "from a thread"


def test_redirects_lead_back_into_the_app(site: Site, client: httpx.Client) -> None:
    answer = client.post("/leave")
    assert answer.status_code == 303
    assert same_url(answer.headers["location"], f"{site.url}/")
    slash = client.get("/shop/def/")
    assert slash.status_code == 307
    assert same_url(slash.headers["location"], f"{site.url}/shop/def")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 1_500_000])
def test_a_body_arrives_whole(client: httpx.Client, chunked: bool, size: int) -> None:
    data = b"y" * size
    content = iter([data[:1000], data[1000:]]) if chunked else data
    assert client.put("/digest", content=content).text == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("path", ["/download", "/files/payload.bin"])
def test_a_file_is_downloaded_whole_in_part_and_not_at_all(client: httpx.Client, path: str) -> None:
    whole = client.get(path)
    assert whole.content == PAYLOAD
    part = client.get(path, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, PAYLOAD[10:20])
    assert client.head(path).headers["content-length"] == str(len(PAYLOAD))
    if path != "/download":  # a FileResponse by itself answers no If-None-Match
        known = client.get(path, headers={"if-none-match": whole.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")


def test_a_stream_comes_whole(client: httpx.Client) -> None:
    assert client.get("/stream").text == "0\n1\n2\n3\n4\n"
    assert client.head("/stream").content == b""


def test_its_own_middleware_compresses(client: httpx.Client) -> None:
    answer = client.get("/zip/", headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == "again and " * 1000


def test_the_error_pages_are_starlettes(site: Site, client: httpx.Client) -> None:
    missing = client.get("/n%C3%B6/x")
    assert missing.status_code == 404
    assert same_url(missing.text, f"the legacy app has no {site.root}/nö/x")
    wrong = client.delete("/stream")
    assert wrong.status_code == 405
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "HEAD"}
    boom = client.get("/boom")
    assert (boom.status_code, boom.text) == (500, "Internal Server Error")
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
    with site.websocket(f"/ws/{token}") as client:
        told = json.loads(client.recv(timeout=BOUND))
        assert told["pool"] == "an open pool"
        assert same_url(told["url"], f"ws{site.url.removeprefix('http')}/ws/{token}")
        client.send(b"\x00\x01")
        assert client.recv(timeout=BOUND) == b"\x01\x00"
    site.running.event("websocket ended", room=token)
    assert site.refused("/ws/closed") == 403
