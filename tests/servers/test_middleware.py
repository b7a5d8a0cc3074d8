"""Every middleware at once, on real servers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import httpx
import pytest

from tests.servers.conftest import Start, client_of
from tests.servers.launching import Running, by_name, running
from tests.servers.wire import connected, exchange, opened

SERVERS = ("gunicorn-gthread", "gunicorn-asgi", "uvicorn")
# uvicorn reads such headers itself unless it is told not to, and then shows the client in place of the proxy.
OWN_HEADERS = {"uvicorn": ("--no-proxy-headers",)}
PROXY = {"x-forwarded-proto": "https", "x-forwarded-for": "9.9.9.9, 203.0.113.9", "x-forwarded-host": "a.example.org"}


@pytest.fixture(scope="module", params=SERVERS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with an app inside all of them."""
    server = by_name(request.param)
    yield from running(server, tmp_path_factory.mktemp("site"), "middleware_apps:app", OWN_HEADERS.get(server.name, ()))


@pytest.fixture
def client(site: Running) -> Iterator[httpx.Client]:
    with client_of(site, headers=PROXY) as client:
        yield client


@pytest.mark.parametrize("path", ["/about", "/about-async"])
def test_all_of_them_do_their_work(client: httpx.Client, path: str) -> None:
    headers = {"x-user": "tom", "x-request-id": "abc", "origin": "https://example.org", "accept-encoding": "gzip"}
    answer = client.get(path, headers=headers)
    told = answer.json()
    assert told["url"] == f"https://a.example.org{path}"
    assert (told["client"], told["id"], told["user"], told["visits"]) == ("203.0.113.9", "abc", "tom", 1)
    assert answer.headers["x-request-id"] == "abc"
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    assert answer.headers["content-encoding"] == "gzip"
    assert {name.strip() for name in answer.headers["vary"].split(",")} == {"Origin", "Accept-Encoding", "Cookie"}
    assert answer.headers["ratelimit-limit"] == "10000"
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert client.get(path, headers={**headers, "cookie": cookie}).json()["visits"] == 2
    assert client.get(path).status_code == 403


def test_each_of_them_refuses(client: httpx.Client, site: Running) -> None:
    answer = client.get("/about", headers={"x-forwarded-proto": "http"})
    assert (answer.status_code, answer.headers["location"]) == (307, "https://a.example.org/about")
    assert client.get("/", headers={"x-forwarded-host": "evil.example"}).text == "Invalid host header"
    preflight = {"origin": "https://example.org", "access-control-request-method": "PUT"}
    assert client.options("/about", headers=preflight).text == "OK"
    assert client.options("/about", headers={**preflight, "origin": "https://evil.example"}).status_code == 400
    assert sorted(client.get("/limited").status_code for _ in range(2)) == [200, 429]
    answer = client.get("/fail", headers={"origin": "https://example.org", "accept": "text/html"})
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    name = answer.headers["x-request-id"]
    site.event("named", request_id=name, message="unhandled exception in GET /fail")


@pytest.mark.parametrize("path", ["/events", "/events-async"])
def test_events_come_one_by_one_and_compressed(client: httpx.Client, site: Running, token: str, path: str) -> None:
    with client.stream("GET", path, params={"token": token}, headers={"accept-encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        expand = zlib.decompressobj(31)
        pieces = answer.iter_raw()
        seen = b""
        while seen != b"data: one\n\n":
            seen += expand.decompress(next(pieces))
        site.release(token)
        for piece in pieces:
            seen += expand.decompress(piece)
    assert seen == b"data: one\n\ndata: two\n\n"


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_large_bodies_and_mounted_apps(client: httpx.Client, coding: str) -> None:
    answer = client.get("/large", headers={"accept-encoding": coding})
    assert answer.headers["content-encoding"] == coding
    if coding == "gzip":
        assert answer.text == "a large body, " * 100_000
    answer = client.get("/legacy/", headers={"accept-encoding": coding})
    assert (answer.headers["content-encoding"], answer.headers["etag"]) == (coding, 'W/"v1"')
    if coding == "gzip":
        first, _, rest = answer.text.partition("\n")
        assert first == "https a.example.org 203.0.113.9"
        assert rest == "a legacy piece, " * 200_000


def test_head_and_a_mounted_app_s_file(site: Running) -> None:
    headers = "".join(f"{name}: {value}\r\n" for name, value in PROXY.items())
    request = f"HEAD /large HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Accept-Encoding: gzip\r\n\r\n"
    answer = exchange(site, request.encode(), head=True)
    assert (answer.status, answer.header("content-encoding"), answer.body) == (200, "gzip", b"")


def test_a_client_gone_half_way_closes_what_is_compressed(site: Running, token: str) -> None:
    headers = "".join(f"{name}: {value}\r\n" for name, value in PROXY.items())
    with connected(site) as wire:
        wire.send(
            f"GET /endless?token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Accept-Encoding: gzip\r\n\r\n".encode()
        )
        for _ in range(3):
            assert wire.socket.recv(65_536)
        assert not site.events("closed", token=token)
    site.event("closed", token=token)


@pytest.mark.parametrize("site", [name for name in SERVERS if by_name(name).protocol == "asgi"], indirect=True)
def test_handshakes_of_websockets(site: Running) -> None:
    with opened(site, "/chat", additional_headers={**PROXY, "x-user": "tom", "x-request-id": "abc"}) as session:
        assert session.recv() == "wss tom abc"
    for status, headers in ((403, PROXY), (307, {**PROXY, "x-forwarded-proto": "http"})):
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **HANDSHAKE}.items())
        answer = exchange(site, f"GET /chat HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode())
        assert answer.status == (status if site.server.denial else 403)


HANDSHAKE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize("name", ["gunicorn-gthread", "uvicorn"])
def test_the_page_about_an_error(start: Start, name: str) -> None:
    site = start(by_name(name), "middleware_apps:debugging", OWN_HEADERS.get(name, ()))
    with client_of(site, headers=PROXY) as client:
        page = client.get("/fail", headers={"accept": "text/html"})
        assert page.status_code == 500
        assert "LookupError: boom" in page.text
        assert "middleware_apps.py" in page.text
        assert "dear-secret" not in page.text.partition("<table>")[2]
