"""gunicorn with gevent, where a thread is a greenlet: `async def` works there as well, or is refused in one line."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.servers.conftest import Start, client_of
from tests.servers.launching import GEVENT, Running
from tests.servers.wire import connected

HOOKS = ("--config", "python:dualroute_wsgi.gunicorn")
APP = "gevent_apps:app"


@pytest.mark.parametrize("options", [(), (*HOOKS, "--preload")], ids=["", "hooks and preload"])
def test_both_colours_work_side_by_side(start: Start, token: str, options: tuple[str, ...]) -> None:
    server = start(GEVENT, APP, options=options)
    asks_for = {
        "/hello/def": (200, "hello True"),
        "/hello/async": (200, "hello True"),
        "/inner/hello": (200, "hello True"),
        "/pool": (200, "pool"),
        f"/network?address={server.address}": (200, "hello True"),
        "/slow/def": (503, "Service Unavailable: there was no answer within 0.2 s"),
        "/slow/async": (503, "Service Unavailable: there was no answer within 0.2 s"),
    }

    def ask(path: str) -> tuple[int, str]:
        answer = client.get(path)
        return answer.status_code, answer.text

    paths = [*asks_for] * 4
    with client_of(server) as client, ThreadPoolExecutor(len(paths)) as threads:
        assert list(threads.map(ask, paths)) == [asks_for[path] for path in paths]
        assert client.post("/upload", content=bytes(4_000_000)).text == "4000000"
    gone(server, token)
    assert server.stop() == 0
    kinds = ("startup", "plain startup", "plain shutdown", "shutdown")
    assert [event["kind"] for event in server.events_of(*kinds)] == list(kinds)
    assert not server.logged("unhandled")


def gone(server: Running, token: str) -> None:
    """Leave a stream half-way, and see that it is closed."""
    with connected(server) as wire:
        wire.send(f"GET /endless?token={token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert wire.socket.recv(65_536)
    server.event("closed", token=token)


def test_a_def_may_run_an_event_loop_of_its_own_while_the_worker_s_goes_on(start: Start) -> None:
    server = start(GEVENT, APP)
    with client_of(server) as client, ThreadPoolExecutor(8) as threads:
        others = [threads.submit(client.get, "/hello/async") for _ in range(50)]
        for _ in range(8):  # one at a time: two of them in one thread are one too many for asyncio
            assert client.get("/own-loop").text == "own loop"
        assert {other.result().text for other in others} == {"hello True"}
        assert client.get("/hello/async").text == "hello True"


def test_an_event_loop_that_would_stop_every_greenlet_is_refused_in_one_line_at_start_up(start: Start) -> None:
    server = start(GEVENT, "gevent_apps:stateless", options=HOOKS, environ={"DUALROUTE_TEST_POLICY": "1"})
    reason = "`async def` can't be served by gevent in this process: the event loop policy asks for gevent_apps._Loop"
    (record,) = server.logged(reason)  # before anything was asked for
    assert (record["level"], record["traceback"]) == ("ERROR", "")
    with client_of(server) as client:
        assert client.get("/def").text == "def"
        assert client.get("/async").status_code == 500
        assert client.get("/def").text == "def", "nothing has stopped"
    (_, error) = server.logged(reason)
    assert f"RuntimeError: {reason}" in error["traceback"]
