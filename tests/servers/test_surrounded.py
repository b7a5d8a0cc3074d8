"""Middleware that others have written, and time limits, on real servers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.servers.conftest import Start, client_of
from tests.servers.launching import Running, by_name, eventually, running
from tests.servers.wire import connected, opened

SERVERS = ("gunicorn-sync", "gunicorn-gthread", "gunicorn-asgi", "uvicorn")
FURTHER = ("hypercorn", "granian-asgi", "granian-wsgi", "waitress")
ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module", params=SERVERS)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with an app inside ASGI middleware from the package index."""
    yield from running(by_name(request.param), tmp_path_factory.mktemp("shop"), "surrounded_apps:app")


@pytest.fixture(scope="module", params=SERVERS)
def wsgi_shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The same with WSGI middleware."""
    yield from running(by_name(request.param), tmp_path_factory.mktemp("shop"), "surrounded_apps:wsgi_style")


@pytest.fixture(scope="module", params=(*SERVERS, *FURTHER))
def timed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with an app whose responses have 0.3 s."""
    yield from running(by_name(request.param), tmp_path_factory.mktemp("timed"), "timed_apps:timed")


def metrics(client: httpx.Client) -> dict[str, float]:
    """Return how many requests were counted, by path and status."""
    pattern = re.compile(r'shop_requests_total\{.*path="(.*?)",status_code="(\d+)"\} ([0-9.]+)')
    found = pattern.findall(client.get("/metrics/").text)
    return {f"{path} {status}": float(number) for path, status, number in found}


@pytest.mark.parametrize("path", ["/named", "/async-named"])
def test_a_request_is_named_counted_and_traced(shop: Running, path: str) -> None:
    with client_of(shop) as client:
        before = metrics(client).get(f"{path}/{{number:int}} 200", 0)
        answer = client.get(f"{path}/7", headers={"x-request-id": ID})
        assert answer.json() == {"id": ID, "header": ID, "number": 7}
        assert answer.headers["x-request-id"] == ID
        assert answer.headers["x-stamp"] == answer.headers["x-sync-stamp"] == f"GET {ID}"
        made_up = client.get(f"{path}/8").json()
        assert made_up["id"] == made_up["header"] != ID
        assert eventually(lambda: metrics(client).get(f"{path}/{{number:int}} 200") == before + 2, "it is counted")
    traced = shop.event("sentry transaction", request_id=ID, url=f"{shop.url}{path}/7")
    assert traced["name"].endswith(path.strip("/").replace("-", "_"))
    assert traced["user"] == "user 7"  # which the handler bound


@pytest.mark.parametrize("path", ["/fail", "/async-fail"])
def test_an_error_is_told_of_and_answered(shop: Running, path: str) -> None:
    with client_of(shop) as client:
        answer = client.get(path, headers={"x-request-id": ID})
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")
        assert eventually(lambda: metrics(client).get(f"{path} 500"), "it is counted")
    assert shop.event("sentry event", url=f"{shop.url}{path}", request_id=ID)["error"] == "boom"


def test_bodies_and_background_tasks(shop: Running) -> None:
    body = b"0123456789" * 100_000
    with client_of(shop) as client:
        answer = client.post("/echo", content=body, headers={"x-request-id": ID})
        assert answer.content == body
    shop.event("after", id=ID)


@pytest.mark.parametrize("path", ["/pieces", "/async-pieces"])
def test_a_stream_goes_through_and_ends_with_its_client(shop: Running, token: str, path: str) -> None:
    with connected(shop) as wire:
        wire.send(f"GET {path}?token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        seen = b""
        while b"first" not in seen:
            seen += wire.socket.recv(65_536)
        assert not shop.events("closed", token=token)
        shop.release(token)
        assert wire.socket.recv(65_536)
    shop.event("closed", token=token)


def test_requests_at_once_keep_apart(shop: Running) -> None:
    def ask(number: int) -> bool:
        name = f"{number:032x}"
        path = ("/named", "/async-named")[number % 2]
        answer = client.get(f"{path}/{number}", headers={"x-request-id": name})
        return bool(answer.json() == {"id": name, "header": name, "number": number})

    with client_of(shop) as client, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(160)))


@pytest.mark.parametrize("shop", ["gunicorn-asgi", "uvicorn"], indirect=True)
def test_websockets_go_through_it(shop: Running) -> None:
    with opened(shop, "/chat", additional_headers={"x-request-id": ID}) as session:
        session.send("hello")
        assert session.recv() == f"hello {ID}"


@pytest.mark.parametrize("path", ["/named", "/async-named"])
def test_wsgi_middleware_too(wsgi_shop: Running, path: str) -> None:
    with client_of(wsgi_shop) as client:
        answer = client.get(f"{path}/7", headers={"x-request-id": ID})
        assert answer.json() == {"id": ID, "header": ID, "number": 7}
        assert answer.headers["x-sync-stamp"] == f"GET {ID}"
        body = b"0123456789" * 100_000
        assert client.post("/echo", content=body).content == body
        assert client.get("/url", headers={"x-forwarded-host": "a.example"}).text == "http://a.example/url"
        assert client.get("/fail").status_code == 500
    assert wsgi_shop.event("sentry event", error="boom")["url"].endswith("/fail")


# Time limits


@pytest.mark.parametrize("path", ["/wait", "/async-wait", "/wsgi-wait/"])
def test_what_takes_too_long_is_answered_for_while_it_goes_on(timed: Running, token: str, path: str) -> None:
    with client_of(timed) as client:
        answer = client.get(path, params={"token": token})
        assert (answer.status_code, answer.text) == (503, "Service Unavailable: there was no answer within 0.3 s")
        timed.event("begun", token=token)
        if path == "/async-wait":
            timed.event("ended", token=token)
            return
        # The server goes on serving, and so does the handler.
        assert client.get("/quick").text == "quick"
        assert not timed.events("ended", token=token)
        timed.release(token)
        timed.event("ended", token=token)


def test_a_connection_is_kept_after_that(timed: Running, token: str) -> None:
    with client_of(timed, limits=httpx.Limits(max_keepalive_connections=1)) as client:
        assert client.get("/wait", params={"token": token}).status_code == 503
        for _ in range(3):
            assert client.get("/quick").text == "quick"
        timed.release(token)


@pytest.mark.parametrize("path", ["/size", "/async-size"])
def test_uploads_are_read_inside_a_limit(timed: Running, path: str) -> None:
    with client_of(timed) as client:
        assert client.post(path, content=b"x" * 3_000_000).text == "3000000"
        if timed.server.name != "waitress":  # it refuses nothing, and keeps no order: see what launching tells of it
            assert client.post(path, content=iter([b"x" * 50_000] * 20)).text == "1000000"


# uvicorn waits for threads of a request that it has answered.
def test_a_worker_ends_while_something_goes_on(start: Start, token: str) -> None:
    server = start(by_name("gunicorn-gthread"), "timed_apps:timed")
    with client_of(server) as client:
        assert client.get("/wait", params={"token": token}).status_code == 503
    server.stop()
    assert not server.events("ended", token=token)
