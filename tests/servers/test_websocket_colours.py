"""Websocket endpoints with `def` methods, limits, subprotocols and origins, with a real client on real servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import InvalidStatus

from tests.servers.launching import BOUND, Running, by_name, eventually, running
from tests.servers.test_websockets import closed
from tests.servers.wire import opened

MESSAGES = 300
"""How many websocket_apps sends there."""


@pytest.fixture(scope="module", params=["uvicorn", "hypercorn", "granian-asgi", "gunicorn-asgi"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    chosen = by_name(request.param)
    yield from running(chosen, tmp_path_factory.mktemp(chosen.name), "websocket_apps:app")


def test_plain_methods_serve_many_at_once(site: Running, token: str) -> None:
    def talk(number: int) -> None:
        with opened(site, f"/plain/{token}-{number}") as client:
            assert client.recv(timeout=BOUND) == "dualroute-handler"
            for turn in range(5):
                client.send(f"{number} {turn}")
                assert client.recv(timeout=BOUND) == f"echo {number} {turn}"

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(talk, range(20)))
    for number in range(20):
        site.event("ended", token=f"{token}-{number}")


def test_a_plain_method_closes_with_a_code_and_a_reason(site: Running, token: str) -> None:
    with opened(site, f"/plain/{token}") as client:
        client.recv(timeout=BOUND)
        client.send("close")
        assert closed(client) == (4000, "grüß dich")
    site.event("ended", token=token)


def test_a_peer_that_goes_while_a_plain_method_sends_holds_no_thread(site: Running, token: str) -> None:
    for number in range(3):
        with opened(site, f"/plain/{token}-{number}", close_timeout=1) as client:
            client.recv(timeout=BOUND)
            client.send("flood")
            client.recv(timeout=BOUND)
            client.socket.close()
    for number in range(3):
        site.event("ended", token=f"{token}-{number}")
    with opened(site, f"/plain/{token}") as client:
        assert client.recv(timeout=BOUND) == "dualroute-handler"
    assert "Traceback" not in site.output


@pytest.mark.parametrize("path", ["/pouring", "/plain-pouring"])
def test_who_sends_waits_for_a_peer_that_does_not_read(site: Running, token: str, path: str) -> None:
    def sent() -> int:
        return len(site.events("sent", token=token))

    with opened(site, path, max_queue=4) as client:
        client.send(token)
        seen = -1
        while seen != (seen := sent()) or not seen:  # until it comes no farther
            time.sleep(0.5)
        assert seen < MESSAGES
        for _ in range(MESSAGES):
            assert len(client.recv(timeout=BOUND)) == 100_000
        eventually(lambda: sent() == MESSAGES, "all are sent")


def test_a_message_beyond_the_limit_closes_with_1009(site: Running) -> None:
    with opened(site, "/limited") as client:
        client.send("x" * 1000)
        assert client.recv(timeout=BOUND) == "echo 1000"
        client.send("x" * 1001)
        assert closed(client) == (1009, "a message may have 1000 bytes")


def test_a_peer_that_says_nothing_is_closed(site: Running) -> None:
    with opened(site, "/idle") as client:
        client.send("x")
        assert client.recv(timeout=BOUND) == "echo 1"
        assert closed(client) == (1001, "no message came for 0.5 s")


def test_the_subprotocol_that_the_endpoint_likes_best_is_chosen(site: Running) -> None:
    with opened(site, "/limited", subprotocols=["v1", "v2"]) as client:
        assert client.subprotocol == "v2"
    with opened(site, "/limited", subprotocols=["v1"]) as client:
        assert client.subprotocol == "v1"


def test_a_page_of_another_origin_is_refused(site: Running) -> None:
    with opened(site, "/own", origin=site.url) as client:
        client.send("x")
        assert client.recv(timeout=BOUND) == "echo 1"
    with opened(site, "/own") as client:
        client.send("x")
        assert client.recv(timeout=BOUND) == "echo 1"
    with pytest.raises(InvalidStatus) as refused, opened(site, "/own", origin="http://evil.example"):
        pass
    assert refused.value.response.status_code == 403
