"""A Bottle app in every place that it can have, under a server of either protocol: always the same app."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from tests.frameworks.sites import Site, Sites, same_url
from tests.servers.launching import eventually

SITES = Sites("bottle_app", needs=("bottle",))

PAYLOAD = bytes(range(256)) * 1000


def test_a_view_knows_where_it_is(site: Site, client: httpx.Client) -> None:
    told = client.get("/items/7", params={"q": "ü b"}).json()
    assert (told["id"], told["q"]) == (7, "ü b")
    assert told["path"] == "/items/7"
    assert client.get("/").text == "the legacy index"
    if site.root.isascii():  # Bottle leaves a SCRIPT_NAME as WSGI transports it, one character for each byte
        assert told["script_name"] == f"{site.root}/"
        assert told["here"] == f"{site.root}/items/7"
        assert same_url(told["url"].partition("?")[0], f"{site.url}/items/7")


def test_sessions_live_in_a_cookie(client: httpx.Client) -> None:
    assert [client.get("/count").json()["count"] for _ in range(3)] == [1, 2, 3]


def test_a_file_is_uploaded(client: httpx.Client) -> None:
    data = b"x" * 700_000
    answer = client.post("/upload", files={"file": ("b.bin", data)}, data={"note": "größer"})
    assert answer.json() == {"name": "b.bin", "size": len(data), "note": "größer"}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 900_000])
def test_a_body_arrives_whole(client: httpx.Client, chunked: bool, size: int) -> None:
    data = b"y" * size
    content = iter([data[:1000], data[1000:]]) if chunked else data
    assert client.put("/digest", content=content).text == hashlib.sha256(data).hexdigest()


@pytest.mark.places("straight")
def test_a_chunked_body_beyond_the_buffer_arrives_whole(client: httpx.Client) -> None:
    data = b"y" * 1_500_000
    answer = client.put("/digest", content=iter([data]))
    assert answer.text == hashlib.sha256(data).hexdigest()


def test_a_file_is_downloaded_whole_in_part_and_not_at_all(client: httpx.Client) -> None:
    whole = client.get("/download")
    assert whole.content == PAYLOAD
    assert whole.headers["content-type"] == "application/x-payload"
    part = client.get("/download", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, PAYLOAD[10:20])
    known = client.get("/download", headers={"if-none-match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert client.head("/download").headers["content-length"] == str(len(PAYLOAD))


def test_a_stream_is_closed_once(site: Site, client: httpx.Client, token: str) -> None:
    assert client.get("/stream", params={"token": token}).text == "0\n1\n2\n3\n4\n"
    site.running.event("closed", token=token)
    client.get("/")
    assert len(site.running.events("closed", token=token)) == 1


def test_the_error_pages_are_bottles(site: Site, client: httpx.Client) -> None:
    missing = client.get("/n%C3%B6/x")
    assert (missing.status_code, missing.text) == (404, "the legacy app has no /nö/x")
    wrong = client.post("/items/1")
    assert wrong.status_code == 405
    assert "GET" in wrong.headers["allow"]
    boom = client.get("/boom")
    assert boom.status_code == 500
    assert "Internal Server Error" in boom.text
    eventually(lambda: "LookupError: boom" in site.running.output, "the traceback is printed")
