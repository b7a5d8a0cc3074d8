"""Requests beside one another: on threads, on loops, in their own contexts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.servers.conftest import client_of
from tests.servers.launching import Running


def test_50_requests_at_once_each_get_their_own_answer(server: Running) -> None:
    def ask(number: int) -> None:
        token, pause = f"own-{number}", number % 7 / 500
        kind = ("def", "async", "stream", "body")[number % 4]
        url = f"/context/{kind}?pause={pause}"
        headers = {"x-token": token}
        if kind == "body":
            answer = client.post(url, headers=headers, content=f"body of {number}")
        else:
            answer = client.get(url, headers=headers)
        expected = {
            "def": f"{token} {token}-handled",
            "async": f"{token} {token}-handled",
            "stream": f"{token} " * 3,
            "body": f"{token} body of {number}",
        }
        assert answer.text == expected[kind]
        after = f"{token}-handled" if kind in ("def", "async") else token
        assert answer.headers["x-context"] == f"None {after}", "nothing was left from another request"

    # Every connection is kept: httpx closes those that are too many, and now and then one that a thread has just taken.
    with client_of(server, limits=httpx.Limits(max_keepalive_connections=50)) as client, ThreadPoolExecutor(50) as pool:
        list(pool.map(ask, range(50)))


def test_one_connection_does_not_carry_a_context_to_its_next_request(server: Running) -> None:
    with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
        for number in range(8):
            kind = ("def", "async", "stream")[number % 3]
            answer = client.get(f"/context/{kind}", headers={"x-token": f"t{number}"})
            assert answer.headers["x-context"].startswith("None ")


def test_async_handlers_of_a_process_share_one_loop(server: Running) -> None:
    with client_of(server) as client, ThreadPoolExecutor(8) as threads:
        loops = list(threads.map(lambda _: client.get("/loop").json(), range(16)))
    assert len({(seen["pid"], seen["loop"], seen["thread"]) for seen in loops}) == 1


def test_a_task_goes_on_after_the_response(server: Running, client: httpx.Client, token: str) -> None:
    assert client.get(f"/background?token={token}").text == "started"
    assert not server.events("background", token=token)
    server.release(token)
    event = server.event("background", token=token)
    assert event["loop"] == client.get("/loop").json()["loop"]


@pytest.mark.servers(concurrent=True)
@pytest.mark.parametrize("colour", ["async", "def"])
def test_slow_handlers_do_not_block_others(server: Running, client: httpx.Client, token: str, colour: str) -> None:
    tokens = [f"{token}-{number}" for number in range(2)]

    def wait(name: str) -> str:
        return client.get(f"/held/{colour}?token={name}").text

    with ThreadPoolExecutor(2) as threads:
        held: list[Any] = [threads.submit(wait, name) for name in tokens]
        for name in tokens:
            server.event("held", token=name)
        try:
            assert client.get("/").text == "hello from a def"
            assert client.get("/async").text == "hello from an async def"
            assert client.post("/echo/async", content=b"body").content == b"body"
            assert not any(future.done() for future in held)
        finally:
            for name in tokens:
                server.release(name)
        assert [future.result() for future in held] == ["released", "released"]
