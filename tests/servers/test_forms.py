"""Forms and uploads on real servers.

Memory is measured with an upload of 64 MiB; with DUALROUTE_TEST_FULL=1 in the environment it has 256 MiB.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.conftest import Start, client_of
from tests.servers.launching import BOUND, Running, Server, by_name, eventually, running
from tests.servers.wire import Answer, connected, exchange

logger = logging.getLogger(__name__)

MIB = 1024 * 1024
BOUNDARY = "b0undary"
TYPE = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
URLENCODED = {"content-type": "application/x-www-form-urlencoded"}
END = f"--{BOUNDARY}--\r\n".encode()

COLOURS = pytest.mark.parametrize("colour", ["def", "async"])
CHUNKED = pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])


def each(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("served", [by_name(name) for name in names], ids=str, indirect=True, scope="module")


SERVERS = ("uvicorn-httptools", "granian-asgi", "gunicorn-asgi", "gunicorn-gthread", "granian-wsgi", "waitress")
EACH = each("hypercorn", *SERVERS)
# Hypercorn goes on holding a connection whose body an app does not want, until it is stopped itself.
EACH_THAT_DROPS_BODIES = each(*SERVERS)


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running server of `form_apps:app`; it is started once for all tests of this file."""
    server: Server = request.param
    yield from running(server, tmp_path_factory.mktemp(f"forms-{server}"), "form_apps:app")


def part(disposition: str, value: bytes = b"") -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + value + b"\r\n"


def sent(server: Running, path: str, body: bytes, *, chunked: bool = False, headers: Any = TYPE) -> Answer:
    """Post a body while reading the answer: a server need not take the rest of a body that is not wanted."""
    pieces = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]
    if chunked:
        pieces = [f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces] + [b"0\r\n\r\n"]
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    further = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with connected(server) as wire:
        wire.send(f"POST {path} HTTP/1.1\r\nHost: h\r\n{framing}\r\n{further}Connection: close\r\n\r\n".encode())

        def push() -> None:
            try:
                for piece in pieces:
                    wire.send(piece)
            except OSError:
                pass

        sender = threading.Thread(target=push)
        sender.start()
        try:
            return wire.read()
        finally:
            try:
                wire.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sender.join(BOUND)


def no_traceback(server: Running) -> None:
    assert "Traceback" not in server.output
    assert not server.events("log", level="ERROR")


def files_open(server: Running) -> int:
    with client_of(server) as client:
        return int(client.get("/stats").json()["files"])


@EACH
@COLOURS
@CHUNKED
def test_a_form_comes_whole(served: Running, colour: str, chunked: bool) -> None:
    data = os.urandom(3 * MIB + 1)
    body = part('name="f"; filename="ü.bin"', data) + part('name="a"', "é\r\n".encode()) + END
    answer = sent(served, f"/read/{colour}", body, chunked=chunked)
    file = ["f", "ü.bin", None, len(data), hashlib.sha256(data).hexdigest()]
    assert json.loads(answer.body) == [file, ["a", "é\r\n"]]
    answer = sent(served, f"/read/{colour}", b"a=1&b=%C3%A9+", chunked=chunked, headers=URLENCODED)
    assert json.loads(answer.body) == [["a", "1"], ["b", "é "]]


@EACH
@COLOURS
def test_files_are_closed_with_their_request(served: Running, colour: str) -> None:
    before = files_open(served)
    body = part('name="f"; filename="x"', b"x" * 2 * MIB) * 3 + END
    for _ in range(3):
        answer = sent(served, f"/kept/{colour}", body)
        assert json.loads(answer.body) == ["f"] * 3
        assert sent(served, f"/kept/{colour}", body[: -len(END)]).status == 400
    eventually(lambda: files_open(served) <= before, "files are closed")
    no_traceback(served)


MALFORMED: dict[str, tuple[dict[str, str], bytes, int]] = {
    "no boundary": ({"content-type": "multipart/form-data"}, part('name="a"') + END, 400),
    "long boundary": ({"content-type": f"multipart/form-data; boundary={'x' * 4000}"}, END, 400),
    "no end": (TYPE, part('name="a"', b"x" * 100_000), 400),
    "no end of headers": (TYPE, f"--{BOUNDARY}\r\n".encode() + b"X: y\r\n" * 20_000, 400),
    "not text": (TYPE, part('name="a"', b"\xff") + END, 400),
    "junk": (TYPE, b"\r\n" * 100_000, 400),
    "too many fields": (TYPE, part('name="a"', b"1") * 100_000 + END, 413),
    "too many files": (TYPE, part('name="a"; filename="x"', b"1") * 1001 + END, 413),
    "huge field": (TYPE, part('name="a"', b"x" * 2 * MIB) + END, 413),
    "urlencoded flood": (URLENCODED, b"a=1&" * 100_000, 413),
    "urlencoded huge field": (URLENCODED, b"a=" + b"x" * 2 * MIB, 413),
}


@EACH_THAT_DROPS_BODIES
@COLOURS
@CHUNKED
@pytest.mark.parametrize("what", MALFORMED)
def test_a_bad_form_is_refused_in_plain_text(served: Running, colour: str, chunked: bool, what: str) -> None:
    headers, body, status = MALFORMED[what]
    logged = len(served.events("log", level="INFO"))
    answer = sent(served, f"/read/{colour}", body, chunked=chunked, headers=headers)
    if answer.status:  # or it closed the connection on the rest of a body that is not wanted, and the answer was lost
        assert answer.status == status
        assert (answer.header("content-type") or "").startswith("text/plain")
        assert answer.text.startswith({400: "Bad Request: ", 413: "Content Too Large: "}[status])
    lines = eventually(lambda: served.events("log", level="INFO")[logged:], "it is logged")
    assert len([line for line in lines if f"POST /read/{colour}: " in line["message"]]) == 1
    no_traceback(served)


@EACH_THAT_DROPS_BODIES
@COLOURS
@CHUNKED
@pytest.mark.parametrize("size", [200_000, 2 * MIB])
def test_limits_hold(served: Running, colour: str, chunked: bool, size: int) -> None:
    body = part('name="f"; filename="x"', b"x" * size) + END
    answer = sent(served, f"/limited/{colour}", body, chunked=chunked)
    assert answer.status in (413, 0)  # 0: as above
    no_traceback(served)


@EACH
@COLOURS
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "mid-chunk"])
def test_an_upload_cut_short_is_a_client_disconnect(served: Running, token: str, colour: str, chunked: bool) -> None:
    outcome = served.server.cut_chunks if chunked else served.server.cut_upload
    before = files_open(served)
    body = part('name="e"; filename="x"', b"x" * 2 * MIB) + part('name="f"; filename="x"', b"x" * 1000)
    head = f"POST /read/{colour}?token={token} HTTP/1.1\r\nHost: h\r\nContent-Type: {TYPE['content-type']}\r\n"
    if chunked:
        framing, body = "Transfer-Encoding: chunked", f"{len(body) + 10:x}\r\n".encode() + body
    else:
        framing = f"Content-Length: {len(body) + 10}"
    with connected(served) as wire:
        wire.send(f"{head}{framing}\r\n\r\n".encode() + body)
        time.sleep(0.1)
        wire.half_close()
        wire.read()
    if outcome != "refused":
        event = served.event("form", token=token)
        # Where the server takes what came for all there was, the form has no end.
        assert event["error"] == ("MultiPartException" if outcome == "hidden" else "ClientDisconnect")
    eventually(lambda: files_open(served) <= before, "files are closed")
    no_traceback(served)


@EACH
@COLOURS
def test_a_length_that_is_too_short_ends_the_form_within_a_part(served: Running, colour: str) -> None:
    body = part('name="a"', b"x" * 100) + END
    answer = exchange(
        served,
        f"POST /read/{colour} HTTP/1.1\r\nHost: h\r\nContent-Type: {TYPE['content-type']}\r\n"
        f"Content-Length: {len(body) - 30}\r\nConnection: close\r\n\r\n".encode()
        + body[:-30],
    )
    assert (answer.status, answer.text) == (400, "Bad Request: the form can't be read: it ends within a part")


# Memory

SIZE = 256 * MIB if os.environ.get("DUALROUTE_TEST_FULL") == "1" else 64 * MIB
GROWTH = 16 * MIB


def push(server: Running, path: str, size: int, *, chunked: bool) -> Any:
    """Upload a file of `size` bytes, and return what the handler says of it."""
    piece = os.urandom(65_536)
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n".encode()
    end = b"\r\n" + END
    total = len(head) + size + len(end)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {total}"

    def framed(data: bytes) -> bytes:
        return f"{len(data):x}\r\n".encode() + data + b"\r\n" if chunked else data

    block = framed(piece)
    with connected(server) as wire:
        wire.send(
            f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: {TYPE['content-type']}\r\n{framing}\r\n"
            "Connection: close\r\n\r\n".encode()
            + framed(head)
        )
        for _ in range(size // len(piece)):
            wire.send(block)
        wire.send(framed(end) + (b"0\r\n\r\n" if chunked else b""))
        answer = wire.read()
    digest = hashlib.sha256()
    for _ in range(size // len(piece)):
        digest.update(piece)
    assert answer.status == 200, answer
    return answer.text, digest.hexdigest()


def peak(pid: int) -> int:
    """Return how many bytes a process has had in memory at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of another process is read from /proc")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("chosen", [by_name("uvicorn-httptools"), by_name("gunicorn-gthread")], ids=str)
@COLOURS
def test_memory_does_not_grow_with_an_upload(start: Start, chosen: Server, colour: str) -> None:
    server = start(chosen, "form_apps:app")
    with client_of(server) as client:
        pid = client.get("/stats").json()["pid"]
    open_before = files_open(server)
    for chunked in (False, True):
        push(server, f"/read/{colour}", 2 * MIB, chunked=chunked)
    before = peak(pid)
    for chunked in (False, True):
        text, digest = push(server, f"/read/{colour}", SIZE, chunked=chunked)
        assert f'["f","x",null,{SIZE},"{digest}"]' in text
        grown = peak(pid) - before
        logger.info("%s, %s: %.1f MiB over %.0f", chosen, colour, grown / MIB, before / MIB)
        assert grown <= GROWTH
    eventually(lambda: files_open(server) <= open_before, "files are closed")
