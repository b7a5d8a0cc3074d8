"""Faults on real servers: what fails, who leaves, what is full, and that nothing is left of it afterwards."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.servers.conftest import Start, client_of
from tests.servers.launching import STOP, Running, Server, by_name, eventually, running
from tests.servers.test_streams import failing_half_way, logged_once
from tests.servers.wire import Wire, connected, opened

APP = "fault_apps:app"
WSGI = ("gunicorn-sync", "gunicorn-gthread", "granian-wsgi", "waitress")
ASGI = ("uvicorn-httptools", "gunicorn-asgi", "hypercorn", "granian-asgi")

COLOURS = pytest.mark.parametrize("colour", ["def", "async"])


def chosen(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("chosen", [by_name(name) for name in names], ids=str)


@pytest.fixture(scope="module", params=[by_name(name) for name in (*WSGI, *ASGI)], ids=str)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from running(request.param, tmp_path_factory.mktemp("faults"), APP)


def answers(server: Running) -> None:
    """See that the server answers in both colours."""
    with client_of(server) as client:
        assert client.get("/").text == client.get("/async").text == "hello"


def counts(server: Running) -> dict[str, Any]:
    with client_of(server) as client:
        found: dict[str, Any] = client.get("/counts").json()
        return found


def are_back(server: Running, before: dict[str, Any]) -> None:
    """Wait until there are no more threads, tasks and files than before, in the same process."""

    def is_back() -> bool:
        now.update(client.get("/counts").json())
        return now["pid"] == before["pid"] and all(now[name] <= before[name] for name in ("tasks", "threads", "files"))

    now: dict[str, Any] = {}
    # One connection for all: what a server keeps of each that was closed takes some of them a while.
    with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
        try:
            eventually(is_back, f"no more than {before}")
        except AssertionError as error:
            raise AssertionError(f"{error}, but {now}") from None


def warmed_up(server: Running) -> dict[str, Any]:
    """Have everything there that is kept for further requests, and count."""
    asks = ["/pause", "/async"] * 6  # no more than may wait for the four threads
    with client_of(server) as client, ThreadPoolExecutor(12) as threads:
        list(threads.map(client.get, asks))
        client.post("/upload/def", files={"file": bytes(2_000_000)})
        client.post("/upload/async", files={"file": bytes(2_000_000)})
    return counts(server)


# What fails

FAILING = ("handler", "before", "after", "call", "stream", "background")


@COLOURS
@pytest.mark.parametrize("where", FAILING)
def test_what_fails_is_logged_once_and_closed(served: Running, token: str, where: str, colour: str) -> None:
    fail(served, token, where, colour)
    assert logged_once(served, token)
    # The middleware around it, and the stream.
    expected = 2 if where == "stream" else 1
    eventually(lambda: len(served.events("closed", token=token)) >= expected, "what was open is closed")
    assert len(served.events("closed", token=token)) == expected
    answers(served)


def fail(server: Running, token: str, where: str, colour: str) -> None:
    if where == "stream":
        assert failing_half_way(server, f"/fail/stream/{colour}", token) == (b"first", not server.server.cut_download)
        return
    with connected(server) as wire:
        wire.send(f"GET /fail/{where}/{colour}?token={token} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        answer = wire.read()
    assert b"Traceback" not in answer.body
    assert token.encode() not in answer.body
    if where == "background":
        assert (answer.status, answer.text) == (200, "answered")
    else:
        assert (answer.status, answer.text) == (500, "Internal Server Error")


def test_nothing_is_left_of_what_failed(served: Running, token: str) -> None:
    before = warmed_up(served)
    for number in range(3):
        for where in FAILING:
            for colour in ("def", "async"):
                fail(served, f"{token}-{number}-{where}-{colour}", where, colour)
    are_back(served, before)


# Who leaves

_POST = "POST /upload/{colour}?token={token} HTTP/1.1\r\nHost: h\r\n"
_FORM = "Content-Type: multipart/form-data; boundary=x\r\n"
_PART = '--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
_STREAM = "GET /fail/stream/{colour}?token={token} HTTP/1.1\r\nHost: h\r\n\r\n"
_HELD = "GET /held/{colour}?token={token} HTTP/1.1\r\nHost: h\r\n\r\n"

LEAVING = {
    "at once": "",
    "within the request line": "GET /he",
    "within the head": "GET / HTTP/1.1\r\nHos",
    "before the body": _POST + _FORM + "Content-Length: 5000000\r\n\r\n",
    "within the body": _POST + _FORM + "Content-Length: 5000000\r\n\r\n" + _PART + "x" * 100_000,
    "within a chunk": _POST + _FORM + "Transfer-Encoding: chunked\r\n\r\nFFFFF\r\n" + _PART + "x" * 100_000,
    "before the response": _HELD,
    "within the response": _STREAM,
}


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_a_client_that_leaves_leaves_nothing(served: Running, token: str, how: str) -> None:
    before = warmed_up(served)
    for number, (when, text) in enumerate(LEAVING.items()):
        for colour in ("def", "async"):
            own = f"{token}-{number}-{colour}"
            with connected(served) as wire:
                wire.send(text.format(colour=colour, token=own).encode())
                if when == "within the response":
                    assert wire.socket.recv(65_536)
                elif when == "before the response":
                    served.event("held", token=own)
                if how == "resets":
                    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            served.release(own)
            answers(served)
    are_back(served, before)
    # Where the stream had been left before it failed there is nothing to tell; where not, it is told once.
    told = [event for event in served.events("log", level="ERROR") if token in event["traceback"]]
    assert all("secret-" in event["traceback"] for event in told)
    assert len(told) <= 2
    assert served.output.count(f"secret-{token}") == len(told)
    eventually(lambda: len([e for e in served.events("closed") if e["token"].startswith(token)]) == 4, "all is closed")


@pytest.mark.parametrize("how", ["closes", "resets", "breaks off in a frame"])
def test_a_client_that_leaves_a_websocket_leaves_nothing(served: Running, token: str, how: str) -> None:
    if served.server.protocol == "wsgi":
        with connected(served) as wire:
            wire.send(_handshake(token))
            assert wire.read().status == 501, "there are none to leave"
        return
    with opened(served, f"/talk?token={token}-warm") as websocket:
        websocket.send("there")
        assert websocket.recv() == "there"
    served.event("closed", token=f"{token}-warm")
    before = warmed_up(served)
    for number in range(3):
        own = f"{token}-{number}"
        with connected(served) as wire:
            wire.send(_handshake(own))
            assert _accepted(wire)
            if how == "breaks off in a frame":
                wire.send(b"\x81\xfe\x10\x00abcd")  # four of 4096 bytes
            elif how == "resets":
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        served.event("closed", token=own)
        answers(served)
    are_back(served, before)
    assert not [event for event in served.events("log", level="ERROR") if token in event["message"]]


def _handshake(token: str) -> bytes:
    return (
        f"GET /talk?token={token} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def _accepted(wire: Wire) -> bool:
    head = b""
    while b"\r\n\r\n" not in head:
        more = wire.socket.recv(65_536)
        assert more, head
        head += more
    return head.startswith(b"HTTP/1.1 101")


# What stands still, or is full


def begun(server: Running, threads: ThreadPoolExecutor, client: httpx.Client, path: str, kind: str) -> Any:
    """Send a request that waits for a file, and wait until it is there; return the answer to be."""
    token = path.rpartition("=")[2]
    future: Future[httpx.Response] = threads.submit(client.get, path)
    server.event(kind, token=token)
    return future


def test_an_event_loop_that_is_blocked_goes_on_and_loses_nothing(served: Running, token: str) -> None:
    with client_of(served) as client, ThreadPoolExecutor(8) as threads:
        blocked = begun(served, threads, client, f"/block/async?token={token}", "blocking")
        others = [threads.submit(client.get, path) for path in ("/async", "/", "/async")]
        if served.server.protocol == "wsgi" and served.server.concurrent:
            assert client.get("/").text == "hello", "a `def` has nothing to do with the event loop there"
        time.sleep(0.1)
        assert not others[0].done()
        served.release(token)
        assert blocked.result(STOP).text == "blocked"
        assert [other.result(STOP).text for other in others] == ["hello"] * 3


# A WSGI server has its own threads, and its own queue.
@pytest.mark.parametrize("served", [by_name(name) for name in ASGI], indirect=True, ids=str)
def test_threads_that_are_full_have_so_many_wait_and_refuse_the_rest(served: Running, token: str) -> None:
    with client_of(served) as client, ThreadPoolExecutor(16) as threads:
        tokens = [f"{token}-{number}" for number in range(4)]
        held = [begun(served, threads, client, f"/held/def?token={own}", "held") for own in tokens]
        waiting: list[Future[httpx.Response]] = []

        def is_full() -> bool:
            # What is answered at once was refused; the others wait.
            waiting.append(threads.submit(client.get, "/"))
            return sum(future.done() and future.result().status_code == 503 for future in waiting) > 0

        eventually(is_full, "one is refused")
        answer = client.get("/")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.get("/async").text == "hello"
        for own in tokens:
            served.release(own)
        assert [future.result(STOP).text for future in held] == ["released"] * 4
        statuses = [future.result(STOP).status_code for future in waiting]
        assert statuses.count(200) == 2
        assert set(statuses) == {200, 503}
    assert len(served.logged("all 4 threads are taken")) == 1
    answers(served)


@chosen("gunicorn-gthread", "uvicorn-httptools")
def test_an_upload_to_a_disk_that_is_full_is_a_500_and_the_next_one_is_taken(start: Start, chosen: Server) -> None:
    server = start(chosen, APP, environ={"DUALROUTE_TEST_FILE_SIZE": "2000000"})
    before = warmed_up(server)
    with client_of(server) as client:
        for colour in ("def", "async"):
            for _ in range(3):
                logged = len(server.logged("OSError"))
                answer = client.post(f"/upload/{colour}", files={"file": bytes(4_000_000)})
                assert (answer.status_code, answer.text) == (500, "Internal Server Error")
                eventually(lambda: len(server.logged("OSError")) == logged + 1, "it is logged")  # noqa: B023
                assert client.post(f"/upload/{colour}", files={"file": bytes(1_500_000)}).json() == {"file": 1_500_000}
    assert len(server.events("log", level="ERROR")) == 6
    are_back(server, before)


# A sync worker has one connection at a time.
@chosen(*(name for name in (*WSGI, *ASGI) if name != "gunicorn-sync"))
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts what is open in /proc")
def test_more_connections_than_file_descriptors_are_outlived(start: Start, chosen: Server) -> None:
    server = start(chosen, APP)
    before = warmed_up(server)
    with client_of(server) as client:
        assert client.post("/spare-files?number=8").text == "limited"
    with contextlib.ExitStack() as crowd:
        sockets = [crowd.enter_context(server.connect()) for _ in range(40)]
        for connection in sockets:
            with contextlib.suppress(OSError):  # it may have been sent away
                connection.sendall(b"GET /async HTTP/1.1\r\nHost: h\r\n\r\n")
        # Some are answered, and the others wait in the system's queue.
        eventually(lambda: len(select.select(sockets, [], [], 0)[0]) >= 5, "some are answered")

    def is_back() -> bool:
        try:
            answers(server)
        except httpx.HTTPError:
            return False
        return True

    eventually(is_back, "it answers in both colours")
    assert not server.events("log", level="ERROR", logger="dualroute")
    if counts(server)["pid"] == before["pid"]:  # a server may have begun another worker
        are_back(server, before)


# How a worker ends


@chosen("gunicorn-gthread", "gunicorn-asgi", "uvicorn-httptools", "hypercorn", "granian-asgi")
def test_sigterm_loses_none_of_the_requests_in_flight(start: Start, token: str, chosen: Server) -> None:
    server = start(chosen, APP)
    with client_of(server) as client, ThreadPoolExecutor(8) as threads:
        tokens = [f"{token}-{number}" for number in range(4)]
        held = [
            begun(server, threads, client, f"/held/{('def', 'async')[number % 2]}?token={own}", "held")
            for number, own in enumerate(tokens)
        ]
        with connected(server) as wire:
            if chosen.protocol == "asgi":  # the threads of the other one are all taken
                wire.send(f"POST /upload/async HTTP/1.1\r\nHost: h\r\n{_FORM}Content-Length: 400\r\n\r\n".encode())
            os.kill(server.process.pid, signal.SIGTERM)
            time.sleep(0.3)  # time for it to stop too early, if it does
            assert not any(future.done() for future in held)
            for own in tokens:
                server.release(own)
            assert [future.result(STOP).text for future in held] == ["released"] * 4
            if chosen.protocol == "asgi":
                end = b"\r\n--x--\r\n"
                wire.send(_PART.encode() + b"y" * (400 - len(_PART) - len(end)) + end)
                answer = wire.read()
                assert answer.status in (0, 200), answer  # a server may have no patience with an upload
    server.wait()
    assert len(server.events("shutdown")) == len(server.events("startup"))
    assert "Traceback" not in server.output


@chosen("gunicorn-sync", "gunicorn-gthread", "gunicorn-asgi")
@COLOURS
def test_a_worker_that_is_killed_is_followed_by_a_clean_one(
    start: Start, token: str, chosen: Server, colour: str
) -> None:
    server = start(chosen, APP)
    answers(server)
    first = counts(server)["pid"]
    with connected(server) as wire:
        wire.send(f"GET /held/{colour}?token={token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        server.event("held", token=token)
        os.kill(first, signal.SIGKILL)
        assert wire.read().status == 0, "the client is not kept waiting"

    def is_another() -> bool:
        try:
            return bool(counts(server)["pid"] != first)
        except httpx.HTTPError:
            return False

    eventually(is_another, "another worker answers")
    answers(server)
    second = counts(server)
    assert [event["pid"] for event in server.events("startup")] == [first, second["pid"]]
    assert not server.events("shutdown")
    assert server.stop() == 0
    assert [event["pid"] for event in server.events("shutdown")] == [second["pid"]]
