"""A plain WSGI app and a plain ASGI app mounted in one DualRoute, each under servers of both protocols.

Bodies of 128 MiB are what memory is measured with; with DUALROUTE_TEST_FULL=1 in the environment they have 1 GiB.
``--log-cli-level=info`` shows by how much it grew.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.conftest import Start, client_of
from tests.servers.launching import BOUND, Running, Server, by_name, eventually, running, workers
from tests.servers.wire import Wire, connected

logger = logging.getLogger(__name__)

MIB = 1024 * 1024

KINDS = pytest.mark.parametrize("kind", ["wsgi", "asgi"])
WAYS = pytest.mark.parametrize("way", ["bare", "around"])
LEAVES = pytest.mark.parametrize("leaves", ["RST", "FIN"])
CHUNKED = pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])

ASGI = ("uvicorn-httptools", "uvicorn-h11", "hypercorn", "gunicorn-asgi", "granian-asgi")
WSGI = ("gunicorn-gthread", "gunicorn-sync", "granian-wsgi", "waitress")


def each(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("served", [by_name(name) for name in names], ids=str, indirect=True, scope="module")


def chosen(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("chosen", [by_name(name) for name in names], ids=str)


EACH = each(*ASGI, *WSGI)


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running server of `mounted_apps:app`; it is started once for all tests of this file."""
    server: Server = request.param
    yield from running(server, tmp_path_factory.mktemp(f"mounted-{server}"), "mounted_apps:app")


def stats(client: httpx.Client) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/stats").json()
    return answer


def errors(server: Running) -> int:
    return len(server.events("log", level="ERROR"))


def leave(wire: Wire, how: str) -> None:
    """Leave without waiting for anything."""
    if how == "RST":
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        wire.half_close()
    wire.socket.close()


def ended_once(server: Running, token: str, path: str = "/bare/wsgi") -> str:
    """Wait until a response has come to its end, see that it does so once, and return how it did."""
    event = server.event("closed", token=token)
    with client_of(server) as client:
        assert client.get(f"{path}/hello").status_code == 200
    assert len(server.events("closed", token=token)) == 1
    how: str = event["how"]
    return how


# Slow clients


class Crowd:
    """Clients that send one byte a second, and clients that read one byte a second.

    Args:
        server: where to.
        uploads: the paths of the former, half of them with a length and half in chunks.
        downloads: those of the latter.
    """

    def __init__(self, server: Running, uploads: list[str], downloads: list[str]) -> None:
        self._uploads: list[tuple[socket.socket, bytes]] = []
        self._downloads: list[socket.socket] = []
        self.ended: list[str] = []
        self.rounds = 0
        for number, path in enumerate(uploads):
            chunked = number % 2 == 1
            framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 1000"
            connection = self._connect(server, f"POST {path} HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n")
            self._uploads.append((connection, b"1\r\nx\r\n" if chunked else b"x"))
        for path in downloads:
            self._downloads.append(self._connect(server, f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._trickle)
        self._thread.start()

    def _connect(self, server: Running, request: str) -> socket.socket:
        connection = socket.socket()
        # So that the kernel holds little of what is not read yet.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(BOUND)
        connection.connect((server.host, server.port))
        connection.sendall(request.encode())
        connection.setblocking(False)
        return connection

    def _trickle(self) -> None:
        while not self._stopped.wait(1):
            for connection, piece in self._uploads:
                try:
                    connection.send(piece)
                    self.ended.append(f"an upload was answered: {connection.recv(200)!r}")
                except BlockingIOError:
                    pass
                except OSError as error:
                    self.ended.append(f"an upload was broken off: {error!r}")
            for connection in self._downloads:
                try:
                    if not connection.recv(1):
                        self.ended.append("a download ended")
                except BlockingIOError:
                    pass
                except OSError as error:
                    self.ended.append(f"a download was broken off: {error!r}")
            self.rounds += 1

    def drop(self) -> None:
        """Let all of them go, every other one by a reset."""
        self._stopped.set()
        self._thread.join()
        everybody = [connection for connection, _ in self._uploads] + self._downloads
        for number, connection in enumerate(everybody):
            if number % 4 < 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()


SLOW = 200


@pytest.mark.parametrize(
    ("name", "target", "threads"),
    [
        ("uvicorn-httptools", "mounted_apps:few_threads", 4),
        ("uvicorn-httptools", "mounted_apps:app", 40),
        ("hypercorn", "mounted_apps:few_threads", 4),
        ("gunicorn-asgi", "mounted_apps:few_threads", 4),
    ],
)
def test_slow_clients_starve_nobody(start: Start, name: str, target: str, threads: int) -> None:
    # One connection for all questions: those of others leave tasks of the server's own behind for a while.  Gunicorn
    # would end it where there is no question for two seconds.
    server = start(by_name(name), target, ("--keep-alive", "60") if name.startswith("gunicorn") else ())
    with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
        before = stats(client)
        crowd = a_crowd(server)
        try:
            eventually(lambda: stats(client)["opened"] == SLOW, "each download has begun")
            eventually(lambda: stats(client)["tasks"] >= before["tasks"] + 2 * SLOW, "each upload has begun")
            eventually(lambda: stats(client)["inside"] == 0, "the threads have left them")
            eventually(lambda: crowd.rounds >= 2, "the slow clients have gone on")
            stats(client)
            for way in ("bare", "around") * 10:
                path = f"/{way}/wsgi"
                assert client.get(f"{path}/hello").json()["inside"] <= 2
                assert client.post(f"{path}/upload", content=bytes(2 * MIB)).text == str(2 * MIB)
                assert len(client.get(f"{path}/download?size={2 * MIB}").content) == 2 * MIB
            after = stats(client)
            assert after["peak"] <= 3, "the slow ones take no part in it"
            assert after["inside"] == 0
            assert after["threads"] <= threads
            assert not server.events("upload began"), "an upload that comes slowly waits outside"
            assert not crowd.ended
        finally:
            crowd.drop()
        eventually(lambda: stats(client)["open"] == 0, "all responses are closed")
        eventually(
            lambda: len(server.events("upload", error="OSError")) == SLOW, "the app hears of each upload cut short"
        )
        eventually(lambda: stats(client)["tasks"] <= before["tasks"] + 5, "all tasks have ended")
        after = stats(client)
        assert after["inside"] == 0
        assert after["threads"] <= threads
        assert client.get("/bare/wsgi/hello").json()["inside"] == 1
    closed = Counter(event["token"] for event in server.events("closed"))
    assert closed == {f"down-{number}": 1 for number in range(SLOW)}
    assert len(server.events("upload")) == SLOW
    assert errors(server) == 0


def a_crowd(server: Running) -> Crowd:
    ways = ("bare", "around")
    uploads = [f"/{ways[number // 2 % 2]}/wsgi/upload?token=up-{number}" for number in range(SLOW)]
    # Some smaller than what may wait to be sent, and some larger.
    downloads = [
        f"/{ways[number // 2 % 2]}/wsgi/download?token=down-{number}&size={(600 * 1024, 8 * MIB)[number % 2]}"
        for number in range(SLOW)
    ]
    return Crowd(server, uploads, downloads)


# Memory

SIZE = 1024 * MIB if os.environ.get("DUALROUTE_TEST_FULL") == "1" else 128 * MIB

GROWTH = 16 * MIB + 2 * MIB
"""By how much the peak may grow: 16 MiB, and 1 MiB that waits each way."""


PAUSE = 0.5


def pull(server: Running, path: str, pause: float = 0) -> int:
    """Read a response as fast as it comes, after a pause, and return how many bytes its body had."""
    with connected(server) as wire:
        wire.send(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += wire.socket.recv(1)
        assert head.startswith(b"HTTP/1.1 200")
        time.sleep(pause)
        total, buffer = 0, bytearray(MIB)
        while size := wire.socket.recv_into(buffer):
            total += size
        return total


def push(server: Running, path: str, size: int, *, chunked: bool) -> int:
    """Send a body of `size` bytes as fast as it goes, and return how many of them were counted."""
    piece = os.urandom(65_536)
    block = b"10000\r\n" + piece + b"\r\n" if chunked else piece
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    with connected(server) as wire:
        wire.send(f"POST {path} HTTP/1.1\r\nHost: h\r\n{framing}\r\nConnection: close\r\n\r\n".encode())
        for _ in range(size // len(piece)):
            wire.send(block)
        if chunked:
            wire.send(b"0\r\n\r\n")
        return int(wire.read().body)


def peak(pid: int) -> int:
    """Return how many bytes a process has had in memory at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of another process is read from /proc")
@pytest.mark.timeout(600)
@chosen("uvicorn-httptools", "gunicorn-gthread")
@KINDS
@WAYS
def test_memory_does_not_grow_with_a_body(start: Start, chosen: Server, kind: str, way: str) -> None:
    server = start(chosen, "mounted_apps:app")
    path = f"/{way}/{kind}"
    with client_of(server) as client:
        pid = stats(client)["pid"]

    def carry(size: int) -> Iterator[str]:
        assert pull(server, f"{path}/download?size={size}") == size
        yield "down"
        assert pull(server, f"{path}/download?size={size}", PAUSE) == size
        yield "down, read late"
        assert push(server, f"{path}/upload", size, chunked=False) == size
        yield "up, with a length"
        assert push(server, f"{path}/upload", size, chunked=True) == size
        yield "up, in chunks"
        assert push(server, f"{path}/upload?pause={PAUSE}", size, chunked=True) == size
        yield "up, read late"

    list(carry(65_536))
    before = peak(pid)
    growth: dict[str, float] = {}
    for what in carry(SIZE):
        growth[what] = round((peak(pid) - before) / MIB, 1)
    logger.info("%s, %s: MiB over %.0f: %s", chosen, path, before / MIB, growth)
    assert max(growth.values()) <= GROWTH / MIB, f"MiB over {before / MIB:.0f}: {growth}"


# Clients that leave


@EACH
@KINDS
@WAYS
@LEAVES
def test_a_client_gone_in_a_download_ends_the_response_once(
    served: Running, token: str, kind: str, way: str, leaves: str
) -> None:
    before = errors(served)
    path = f"/{way}/{kind}"
    with connected(served) as wire:
        wire.send(f"GET {path}/endless?token={token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        for _ in range(3):
            assert wire.socket.recv(65_536)
        assert not served.events("closed", token=token)
        leave(wire, leaves)
    how = ended_once(served, token, path)
    # An ASGI app hears of it by whichever comes first: its receive, its send, or being cancelled.
    heard = ("cancelled", "http.disconnect", "ClientDisconnected", "ConnectionResetError")
    assert how in (("close",) if kind == "wsgi" else heard)
    assert errors(served) == before, "that is nothing to warn of"


@EACH
@KINDS
@WAYS
@LEAVES
def test_a_client_that_reads_no_further_and_leaves_ends_the_response_once(
    served: Running, token: str, kind: str, way: str, leaves: str
) -> None:
    before = errors(served)
    path = f"/{way}/{kind}"
    with connected(served) as wire:
        wire.send(f"GET {path}/download?token={token}&size={64 * MIB} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert wire.socket.recv(1)
        leave(wire, leaves)
    ended_once(served, token, path)
    assert errors(served) == before


@EACH
@WAYS
def test_an_asgi_app_that_does_not_listen_ends_too(served: Running, token: str, way: str) -> None:
    path = f"/{way}/asgi"
    with connected(served) as wire:
        wire.send(f"GET {path}/sender?token={token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        for _ in range(3):
            assert wire.socket.recv(65_536)
        leave(wire, "RST")
    try:
        eventually(lambda: served.events("closed", token=token), "it ends")
    finally:
        served.release(token)
    assert ended_once(served, token, path) not in ("done", "http.disconnect")


@each(*ASGI, "gunicorn-gthread", "gunicorn-sync")  # the others go on taking what there is, and wait for more
@WAYS
def test_an_asgi_app_that_sleeps_is_cancelled(served: Running, token: str, way: str) -> None:
    with connected(served) as wire:
        wire.send(f"GET /{way}/asgi/sleeper?token={token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert wire.socket.recv(65_536)
        leave(wire, "RST")
    served.release(token)  # now it sends a little more, by which a WSGI server notices
    # One that has the server's own send is told by that first.
    assert ended_once(served, token) in ("cancelled", *(["ConnectionResetError"] if way == "bare" else []))


@each(*ASGI)  # WSGI has no way to tell before something is sent
@WAYS
@LEAVES
def test_a_client_gone_while_nothing_is_sent_ends_an_asgi_app(
    served: Running, token: str, way: str, leaves: str
) -> None:
    before = errors(served)
    with connected(served) as wire:
        wire.send(f"GET /{way}/asgi/waiting?token={token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert wire.socket.recv(65_536)
        assert not served.events("closed", token=token)
        leave(wire, leaves)
    assert ended_once(served, token) in ("cancelled", "http.disconnect")
    assert errors(served) == before


@each(*ASGI)
@WAYS
@LEAVES
def test_a_client_gone_before_the_response_ends_an_asgi_app(served: Running, token: str, way: str, leaves: str) -> None:
    before = errors(served)
    with connected(served) as wire:
        wire.send(f"GET /{way}/asgi/patient?token={token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        served.event("waiting", token=token)
        leave(wire, leaves)
    assert ended_once(served, token) in ("cancelled", "http.disconnect")
    assert errors(served) == before


def cut_upload(server: Running, path: str, *, chunked: bool, leaves: str, began: str | None) -> None:
    framing = (
        "Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n" if chunked else "Content-Length: 100\r\n\r\n0123456789"
    )
    with connected(server) as wire:
        wire.send(f"POST {path} HTTP/1.1\r\nHost: h\r\n{framing}".encode())
        if began is not None:
            server.event("upload began", token=began)
        else:
            time.sleep(0.1)  # nothing is called before the body is there, the first MiB of it or all
        leave(wire, leaves)


@EACH
@KINDS
@WAYS
@LEAVES
@CHUNKED
def test_a_client_gone_in_an_upload_is_told_to_the_app(
    served: Running, token: str, kind: str, way: str, leaves: str, chunked: bool
) -> None:
    before = errors(served)
    path = f"/{way}/{kind}"
    outcome = served.server.cut_chunks if chunked else served.server.cut_upload
    waits = outcome == "refused" or kind == "wsgi"
    cut_upload(served, f"{path}/upload?token={token}", chunked=chunked, leaves=leaves, began=None if waits else token)
    if outcome == "refused":
        with client_of(served) as client:
            assert client.get(f"{path}/hello").status_code == 200
        assert not served.events("upload began", token=token)
        return
    event = served.event("upload", token=token)
    assert event["size"] <= 10
    told = "OSError" if kind == "wsgi" else "http.disconnect"
    assert event["error"] == (None if outcome == "hidden" else told)
    with client_of(served) as client:
        assert client.get(f"{path}/hello").status_code == 200
    assert len(served.events("upload", token=token)) == 1
    assert errors(served) == before


@each(*ASGI, *(name for name in WSGI if by_name(name).cut_upload == "told"))  # the others do not call the app
@KINDS
@WAYS
@LEAVES
@CHUNKED
def test_a_client_gone_in_an_upload_ends_the_response_once(
    served: Running, token: str, kind: str, way: str, leaves: str, chunked: bool
) -> None:
    path = f"/{way}/{kind}"
    cut_upload(
        served,
        f"{path}/pipe?token={token}",
        chunked=chunked,
        leaves=leaves,
        began=None if kind == "wsgi" else token,
    )
    ended_once(served, token, path)
    assert len(served.events("upload", token=token)) == 1


# Responses that fail


@EACH
@KINDS
@WAYS
@pytest.mark.parametrize("length", [None, 10], ids=["chunked", "length"])
def test_a_body_that_fails_is_cut_and_logged_once(
    served: Running, token: str, kind: str, way: str, length: int | None
) -> None:
    query = f"token={token}" + (f"&length={length}" if length else "")
    with connected(served) as wire:
        wire.send(f"GET /{way}/{kind}/fail?{query} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        first = wire.socket.recv(65_536)
        while not first.rstrip().endswith(b"first"):
            more = wire.socket.recv(65_536)
            assert more, first
            first += more
        served.release(token)
        wire.unread(first)
        answer = wire.read()
    assert (answer.status, answer.body) == (200, b"first")
    assert answer.complete == (length is None and not served.server.cut_download)
    assert ended_once(served, token) == ("close" if kind == "wsgi" else "Boom")
    secret = f"secret-{token}"
    (record,) = eventually(lambda: served.logged(secret), "the error is logged")
    assert (record["logger"], record["level"]) == ("dualroute", "ERROR")
    eventually(lambda: secret in served.output, "the error is printed")
    assert served.output.count(secret) == 1


# Servers that end


@contextmanager
def downloads(server: Running, name: str, tokens: dict[str, str]) -> Iterator[dict[str, Wire]]:
    """Begin a download from each of the apps, and read the first of it."""
    wires: dict[str, Wire] = {}
    try:
        for path, token in tokens.items():
            connection = socket.create_connection((server.host, server.port), timeout=BOUND)
            wires[path] = wire = Wire(connection)
            wire.send(f"GET {path}/{name}?token={token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            first = connection.recv(65_536)
            while not first.rpartition(b"\r\n\r\n")[2]:
                first += connection.recv(65_536)
            wire.unread(first)
        yield wires
    finally:
        for wire in wires.values():
            wire.socket.close()


def tokens_for(token: str) -> dict[str, str]:
    return {f"/{way}/{kind}": f"{token}-{way}-{kind}" for way in ("bare", "around") for kind in ("wsgi", "asgi")}


@chosen("uvicorn-httptools", "hypercorn", "gunicorn-asgi", "gunicorn-gthread")
def test_sigterm_lets_downloads_finish(start: Start, token: str, chosen: Server) -> None:
    server = start(chosen, "mounted_apps:app")
    tokens = tokens_for(token)
    with downloads(server, "held", tokens) as wires:
        os.kill(server.process.pid, signal.SIGTERM)
        time.sleep(0.5)  # time for it to stop too early, if it does
        assert not server.events("closed")
        for name in tokens.values():
            server.release(name)
        answers = {path: wire.read() for path, wire in wires.items()}
    found = {path: (answer.body, answer.complete) for path, answer in answers.items()}
    assert found == dict.fromkeys(tokens, (b"first,second", True))
    server.wait()
    ends = Counter((event["token"], event["how"]) for event in server.events("closed"))
    assert ends == {(name, "close" if path.endswith("wsgi") else "done"): 1 for path, name in tokens.items()}
    assert "Traceback" not in server.output


# Of the others, gunicorn's WSGI workers and hypercorn wait for the client, and are killed in the end if they have to.
@pytest.mark.parametrize(
    ("name", "options", "number"),
    [
        ("uvicorn-httptools", ("--timeout-graceful-shutdown", "1"), signal.SIGTERM),
        # It would kill the worker after a SIGTERM as soon as that has stopped waiting.
        ("gunicorn-asgi", (), signal.SIGQUIT),
    ],
)
def test_a_server_that_ends_in_a_download_ends_the_response_once(
    start: Start, token: str, name: str, options: tuple[str, ...], number: signal.Signals
) -> None:
    server = start(by_name(name), "mounted_apps:app", options=options)
    tokens = tokens_for(token)
    with downloads(server, "tidy", tokens):
        os.kill(server.process.pid, number)
        server.wait()
    ends = Counter(event["token"] for event in server.events("closed"))
    assert ends == dict.fromkeys(tokens.values(), 1)
    assert errors(server) == 0


# Lifespans

NO_EXIT = ("waitress", "granian-wsgi")
"""The servers whose processes end without any chance to do something, but for granian's on some Pythons."""


def lives(server: Running) -> dict[int, Counter[tuple[str, int, int]]]:
    """Return what each process has reported of its lifespan: what, on which loop, in which thread."""
    found: dict[int, Counter[tuple[str, int, int]]] = {}
    for kind in ("startup", "shutdown"):
        for event in server.events(kind):
            found.setdefault(event["pid"], Counter())[kind, event["loop"], event["thread"]] += 1
    return found


def test_each_worker_has_a_lifespan_of_its_own(start: Start) -> None:
    server = start(workers(by_name("gunicorn-preload"), 2), "mounted_apps:lively")
    seen: dict[int, dict[str, Any]] = {}

    def both_answered() -> bool:
        with client_of(server) as client:
            for _ in range(8):
                answer = client.get("/asgi/life").json()
                assert answer["state"] == answer["pid"], "the state that its own start-up has set"
                assert seen.setdefault(answer["pid"], answer) == answer, "always the same loop"
        return len(seen) == 2

    eventually(both_answered, "both workers answer")
    assert server.process.pid not in seen
    started = server.events("startup")
    assert sorted(event["pid"] for event in started) == sorted(seen), "once for each"
    assert {event["parent"] for event in started} == {server.process.pid}, "after the fork"
    assert not server.events("shutdown")
    assert server.stop() == 0
    assert lives(server) == {
        pid: {(kind, answer["loop"], answer["thread"]): 1 for kind in ("startup", "shutdown")}
        for pid, answer in seen.items()
    }
    assert errors(server) == 0


@chosen("gunicorn-preload", "gunicorn-sync", "gunicorn-gthread")
def test_a_worker_that_is_recycled_has_its_shutdown(start: Start, chosen: Server, tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    config.write_text("def post_worker_init(worker):\n    worker.log.info('Worker is ready')\n")
    options = ("--config", str(config), "--max-requests", "4")
    server = start(workers(chosen, 2), "mounted_apps:lively", options=options)
    seen: dict[int, dict[str, Any]] = {}

    def several_answered() -> bool:
        with client_of(server) as client:
            for _ in range(6):
                try:
                    answer = client.get("/asgi/life").json()
                except httpx.TransportError:  # the worker that had it in its queue has ended
                    continue
                assert answer["state"] == answer["pid"]
                assert seen.setdefault(answer["pid"], answer) == answer
        return len(seen) >= 5

    eventually(several_answered, "workers follow one another")

    def settled() -> bool:
        output = server.output
        ended = output.count("Autorestarting worker")
        return output.count("Booting worker") == output.count("Worker is ready") == ended + 2

    # gunicorn loses a signal for a worker that has been forked and not yet set its handlers, and waits for it.
    eventually(settled, "both workers are ready")
    assert server.stop() == 0
    assert lives(server) == {
        pid: {(kind, answer["loop"], answer["thread"]): 1 for kind in ("startup", "shutdown")}
        for pid, answer in seen.items()
    }
    assert errors(server) == 0


@chosen("gunicorn-gthread", "gunicorn-asgi", "uvicorn-httptools", "hypercorn", "granian-asgi", *NO_EXIT)
def test_a_lifespan_is_run_once_whatever_the_server(start: Start, chosen: Server) -> None:
    server = start(chosen, "mounted_apps:lively")
    with client_of(server) as client:
        answer = client.get("/asgi/life").json()
        assert client.get("/asgi/life").json() == answer
    assert answer["state"] == answer["pid"]
    server.stop()
    lived = {(kind, answer["loop"], answer["thread"]): 1 for kind in ("startup", "shutdown")}
    cut = {("startup", answer["loop"], answer["thread"]): 1}
    assert lives(server)[answer["pid"]] in ((lived, cut) if chosen.name in NO_EXIT else (lived,))
    assert list(lives(server)) == [answer["pid"]]


# Apps that nothing is around


@chosen("uvicorn-httptools", "hypercorn", "gunicorn-asgi", "granian-asgi", "gunicorn-gthread")
def test_a_wsgi_app_is_served_straight(start: Start, token: str, chosen: Server) -> None:
    server = start(chosen, "mounted_apps:straight_wsgi")
    served_straight(server, token)
    assert ended_once(server, token, "") == "close"


@chosen("gunicorn-gthread", "gunicorn-sync", "granian-wsgi", "waitress", "uvicorn-httptools")
def test_an_asgi_app_is_served_straight(start: Start, token: str, chosen: Server) -> None:
    server = start(chosen, "mounted_apps:straight_asgi")
    served_straight(server, token)
    assert ended_once(server, token, "") == "done"
    with client_of(server) as client:
        answer = client.get("/any/life").json()
    assert answer["state"] == answer["pid"], "its lifespan too"
    assert [event["pid"] for event in server.events("startup")] == [answer["pid"]]
    server.stop()
    ended = [event["loop"] for event in server.events("shutdown")]
    assert ended == [answer["loop"]] or (ended == [] and chosen.name in NO_EXIT)


def served_straight(server: Running, token: str) -> None:
    with client_of(server) as client:
        assert client.get("/hello").status_code == 200
        assert len(client.get(f"/any/path/download?token={token}&size={8 * MIB}").content) == 8 * MIB
        assert client.post("/upload", content=bytes(8 * MIB)).text == str(8 * MIB)
        assert client.post("/upload", content=(bytes(MIB) for _ in range(8))).text == str(8 * MIB)
        assert client.get("/unknown").status_code == 500
