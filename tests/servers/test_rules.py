"""Tornado's page on routing, and message delegates that stream, on real servers of both protocols."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.servers.conftest import client_of
from tests.servers.launching import Running, Server, by_name, eventually, running
from tests.servers.wire import connected

MIB = 1024 * 1024
NAMES = ("gunicorn-gthread", "uvicorn", "gunicorn-asgi", "hypercorn", "granian-asgi", "granian-wsgi", "waitress")


@pytest.fixture(scope="module", params=[by_name(name) for name in NAMES], ids=str)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running server of `rules_apps:app`; it is started once for all tests of this file."""
    server: Server = request.param
    yield from running(server, tmp_path_factory.mktemp(f"rules-{server}"), "rules_apps:app")


@pytest.fixture
def client(served: Running) -> Iterator[httpx.Client]:
    with client_of(served) as client:
        yield client


def told(served: Running, token: str) -> list[str]:
    return [event["event"] for event in served.events("delegate", token=token)]


# The documentation's blocks


@pytest.mark.parametrize(
    "path", ["/custom/any/where", "/targets/handler", "/targets/callable", "/targets/router/of/ours"]
)
def test_delegates_and_callables_say_ok(client: httpx.Client, path: str) -> None:
    for answer in (client.get(path), client.post(path, content=b"x" * 100_000)):
        assert (answer.status_code, answer.content) == (200, b"OK")
        assert answer.headers["content-length"] == "2"
    assert client.head(path).status_code == 200


def test_what_no_rule_takes_is_not_found(client: httpx.Client) -> None:
    assert client.get("/targets/nowhere").status_code == 404
    assert client.get("/delegates/nowhere").status_code == 404


def test_a_router_by_method(client: httpx.Client, token: str) -> None:
    path = f"/method/{token}"
    assert client.get(path).status_code == 404
    assert client.post(path, content=b"stored").status_code == 200
    assert client.get(path).content == b"stored"


def test_nested_routers_choose_by_host(client: httpx.Client) -> None:
    path = "/nested/app1/handler"
    assert client.get(path, headers={"Host": "example.com"}).text == f"handler {path}"
    assert client.get(path, headers={"Host": "example.org"}).status_code == 404


@pytest.mark.parametrize("app", ["app1", "app2"])
def test_a_router_between_applications(client: httpx.Client, app: str) -> None:
    path = f"/between/{app}/handler"
    assert client.get(path).text == f"handler {path}"
    assert client.get(f"/between/{app}/other").status_code == 404


@pytest.mark.parametrize("written", ["rule", "tuple", "simple"])
def test_rules_may_be_written_in_three_ways(client: httpx.Client, written: str) -> None:
    assert client.get(f"/written/{written}").text == "target"
    assert client.post(f"/written/{written}").status_code == 405


def test_names_are_reversed(client: httpx.Client) -> None:
    assert client.get("/reversible/named/a b").text == "/named/a%20b"


# Delegates that stream


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_is_streamed_in_and_its_echo_out(
    served: Running, client: httpx.Client, token: str, chunked: bool
) -> None:
    """Its client writes and reads at once."""
    block = os.urandom(65_536)
    size = 16 * MIB
    with connected(served) as wire:
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        wire.send(f"POST /delegates/echo HTTP/1.1\r\nHost: h\r\nX-Token: {token}\r\n{framing}\r\n\r\n".encode())

        def upload() -> None:
            for _ in range(size // len(block)):
                wire.send(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
            if chunked:
                wire.send(b"0\r\n\r\n")

        uploading = threading.Thread(target=upload)
        uploading.start()
        answer = wire.read()
        uploading.join()
    assert (answer.status, answer.complete) == (200, True)
    assert answer.body == block * (size // len(block))
    eventually(lambda: told(served, token) == ["finish"], "the delegate hears of the end")


def test_an_answer_comes_later_and_piece_by_piece(served: Running, client: httpx.Client, token: str) -> None:
    served.release(f"{token}-start")
    with client.stream("POST", "/delegates/waiting", content=b"x" * 1000, headers={"X-Token": token}) as answer:
        pieces = answer.iter_text()
        text = ""
        while "first," not in text:
            text += next(pieces)
        assert text == "first,"
        served.release(f"{token}-end")
        assert text + "".join(pieces) == "first,second"
    assert told(served, token) == ["finish"]


def test_a_client_that_leaves_a_stream_closes_the_delegate(served: Running, token: str) -> None:
    with connected(served) as wire:
        wire.send(f"GET /delegates/endless HTTP/1.1\r\nHost: h\r\nX-Token: {token}\r\n\r\n".encode())
        for _ in range(3):
            assert wire.socket.recv(65_536)
    eventually(lambda: sorted(told(served, token)) == ["close", "finish", "reset"], "the delegate is told")
    assert not served.logged("/delegates/endless"), "that is nothing to warn of"


def test_a_client_that_leaves_before_the_answer_closes_the_delegate(served: Running, token: str) -> None:
    """A WSGI server notices when something is sent."""
    with connected(served) as wire:
        wire.send(f"GET /delegates/waiting HTTP/1.1\r\nHost: h\r\nX-Token: {token}\r\n\r\n".encode())
        eventually(lambda: told(served, token) == ["finish"], "the request has come")
    if served.server.protocol == "asgi":
        eventually(lambda: told(served, token) == ["finish", "close"], "the delegate is told")
    served.release(f"{token}-start")
    served.release(f"{token}-end")
    with client_of(served) as client:
        assert client.get("/custom/").content == b"OK"
    assert not [event for event in served.logged("/delegates/waiting") if event["level"] == "ERROR"]


def test_an_upload_that_stops_short_closes_the_delegate(served: Running, token: str) -> None:
    with connected(served) as wire:
        head = f"POST /delegates/waiting HTTP/1.1\r\nHost: h\r\nX-Token: {token}\r\nContent-Length: 100\r\n\r\n"
        wire.send(head.encode() + b"x" * 10)
        wire.half_close()
        wire.read()
    if served.server.cut_upload == "told":
        eventually(lambda: told(served, token) == ["close"], "the delegate is told")
    else:
        assert told(served, token) == []


def test_an_early_answer_ends_the_delivery_of_the_request(served: Running, token: str) -> None:
    with connected(served) as wire:
        head = f"POST /delegates/early HTTP/1.1\r\nHost: h\r\nX-Token: {token}\r\nContent-Length: 100000\r\n\r\n"
        wire.send(head.encode())
        wire.send(b"x" * 100_000)
        answer = wire.read()
    assert (answer.status, answer.body) == (200, b"early")
    eventually(lambda: told(served, token) == ["close"], "the delegate is told that it is over")


@pytest.mark.parametrize(
    ("kind", "said"), [("failing", "secret-{}"), ("forgetful", "Forgetful has returned from finish")]
)
def test_a_delegate_that_fails_is_a_500(
    served: Running, client: httpx.Client, token: str, kind: str, said: str
) -> None:
    answer = client.get(f"/delegates/{kind}", headers={"X-Token": token})
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    eventually(lambda: served.logged(said.format(token)), "the failure is logged")
