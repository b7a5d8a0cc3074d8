"""Files, static files, server-sent events and early hints on real servers."""

from __future__ import annotations

import hashlib
import importlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.event_source_helper import Parser
from tests.servers.conftest import client_of
from tests.servers.launching import BOUND, SERVERS, Running, Server, eventually, running
from tests.servers.wire import connected, exchange

MIB = 1024 * 1024
BIG, HALF = 24 * MIB, MIB // 2

NATIVE = ("gunicorn-sync", "gunicorn-gthread", "gunicorn-preload", "waitress", "granian-asgi")
"""The servers that send a file by themselves: by ``wsgi.file_wrapper``, or by ``http.response.pathsend``."""

PLACES = pytest.mark.parametrize("place", ["/file/def?name=", "/file/async?name=", "/static/"])


def chosen(*names: str, **facts: Any) -> pytest.MarkDecorator:
    """Run a test on these servers, or on those of which all this is true."""
    found = [
        server for server in SERVERS if (not names or server.name in names) and facts.items() <= vars(server).items()
    ]
    return pytest.mark.parametrize("served", found, ids=str, indirect=True, scope="module")


EACH = chosen()
CONCURRENT = chosen(concurrent=True)


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running server of `file_apps:app`; it is started once for all tests of this file."""
    server: Server = request.param
    yield from running(server, tmp_path_factory.mktemp(f"files-{server}"), "file_apps:app")


def content(served: Running, name: str) -> bytes:
    return (served.folder / "static" / name).read_bytes()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Files


@EACH
@PLACES
@pytest.mark.parametrize("name", ["app.css", "half", "big"])
def test_a_file_comes_whole_and_the_connection_serves_on(served: Running, place: str, name: str) -> None:
    expected = content(served, name)
    with client_of(served, limits=httpx.Limits(max_keepalive_connections=1)) as client:
        for _ in range(3):
            answer = client.get(place + name, headers={"accept-encoding": "identity"})
            assert answer.status_code == 200
            assert digest(answer.content) == digest(expected)
            assert answer.headers["content-length"] == str(len(expected))
            assert answer.headers["x-native"] == str(served.server.name in NATIVE)
            assert client.get("/").text == "hello"


@EACH
@PLACES
def test_a_file_has_ranges_and_conditions(served: Running, place: str) -> None:
    expected = content(served, "big")
    with client_of(served) as client:
        answer = client.get(f"{place}big", headers={"range": "bytes=1000000-3000000"})
        assert (answer.status_code, digest(answer.content)) == (206, digest(expected[1_000_000:3_000_001]))
        assert answer.headers["content-range"] == f"bytes 1000000-3000000/{BIG}"
        answer = client.get(f"{place}big", headers={"range": "bytes=0-9,-2000000"})
        assert answer.status_code == 206
        assert answer.headers["content-length"] == str(len(answer.content))
        assert expected[-2_000_000:] in answer.content
        assert client.get(f"{place}big", headers={"range": f"bytes={BIG}-"}).status_code == 416
        head = client.head(f"{place}big")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(BIG), b"")
        answer = client.get(f"{place}big", headers={"if-none-match": head.headers["etag"]})
        assert (answer.status_code, answer.content) == (304, b"")
        answer = client.get(f"{place}big", headers={"if-match": '"other"'})
        assert (answer.status_code, answer.text) == (412, "Precondition Failed")


@EACH
@pytest.mark.parametrize("colour", ["def", "async"])
def test_what_runs_afterwards_runs_when_the_file_was_sent(served: Running, token: str, colour: str) -> None:
    with client_of(served) as client:
        assert client.get(f"/file/{colour}?name=half&token={token}").content == content(served, "half")
        served.event("after", token=token)
        assert client.get("/").text == "hello"
    assert len(served.events("after", token=token)) == 1


@EACH
def test_a_download_has_its_name_in_utf8(served: Running) -> None:
    with client_of(served) as client:
        answer = client.get("/file/def?name=app.css&as=Gr%C3%BC%C3%9Fe%0D%0A%22.css")
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"Gru_e___.css\"; filename*=utf-8''Gr%C3%BC%C3%9Fe%0D%0A%22.css"
    )


@EACH
@PLACES
def test_a_file_that_shrinks_while_it_is_sent_cuts_the_answer(served: Running, place: str, token: str) -> None:
    path = served.folder / "static" / token
    path.write_bytes(content(served, "big"))
    with socket.socket() as connection:
        # Little is on the way between them, so that the server is still at it.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.settimeout(BOUND)
        connection.connect((served.host, served.port))
        connection.sendall(f"GET {place}{token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        received = connection.recv(4096)
        os.truncate(path, MIB)
        try:
            if served.server.protocol == "wsgi":  # what an app's body comes to, an ASGI server counts itself
                connection.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            while data := connection.recv(65_536):
                received += data
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert len(received) < BIG
    assert received.count(b"HTTP/1.1 ") == 1, "no further answer may be taken for the rest of the file"
    with client_of(served) as client:
        assert client.get("/").text == "hello"


@EACH
@PLACES
def test_a_client_that_leaves_half_way_leaves_no_file_open(served: Running, place: str, token: str) -> None:
    (served.folder / "static" / token).write_bytes(content(served, "big"))
    for _ in range(3):
        with connected(served) as wire:
            wire.send(f"GET {place}{token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            assert wire.socket.recv(65_536)
    if Path("/proc/self/fd").is_dir():
        eventually(lambda: not opened(served, token), "the files are closed")


def opened(served: Running, name: str) -> list[str]:
    """Return what a server's processes have open under a name."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.endswith(f"/{name}"):
            found.append(str(link))
    return found


@chosen(protocol="asgi")
@PLACES
def test_slow_clients_hold_no_thread(served: Running, place: str) -> None:
    """There are two threads and six clients that have enough for now."""
    slow = []
    try:
        for _ in range(6):
            connection = socket.create_connection((served.host, served.port), timeout=BOUND)
            slow.append(connection)
            connection.sendall(f"GET {place}big HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            assert connection.recv(4096)
        time.sleep(0.2)
        with client_of(served) as client:
            assert client.get("/").text == "hello"
            assert client.get("/static/app.css").text == "plain"
    finally:
        for connection in slow:
            connection.close()


# Static files


@EACH
def test_static_files_stay_below_their_directory(served: Running) -> None:
    logged = len(served.events("log", level="ERROR"))
    for path in (
        "/static/../secret",
        "/static/%2e%2e/secret",
        "/static/..%2fsecret",
        "/static/..%5csecret",
        "/static/%5c..%5csecret",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/app.css%00",
        "/static/absent",
        "/static/" + "a" * 1000,
        "/static/C:%5csecret",
    ):
        answer = exchange(served, f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        # Some servers refuse such a target themselves.
        assert answer.status in (400, 404), path
        assert b"secret" not in answer.body
    assert len(served.events("log", level="ERROR")) == logged


@EACH
def test_a_compressed_file_is_sent_to_those_who_take_it(served: Running) -> None:
    for accept, encoding, name in (("gzip, br", "gzip", "app.css.gz"), ("identity", None, "app.css")):
        request = f"GET /static/app.css HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accept}\r\n\r\n"
        answer = exchange(served, request.encode())
        assert (answer.status, answer.header("content-encoding"), answer.body) == (200, encoding, content(served, name))
        assert answer.header("vary") == "Accept-Encoding"


@EACH
def test_a_directory_is_answered_by_its_index(served: Running) -> None:
    with client_of(served) as client:
        assert client.get("/html/").text == "home"
        answer = client.get("/html")
        assert (answer.status_code, answer.headers["location"]) == (307, "/html/")


# Server-sent events


class EventSource:
    """A client as a browser has it: it parses what comes, and comes back with the last id."""

    def __init__(self, served: Running, path: str) -> None:
        self._served = served
        self._path = path
        self.parser = Parser()

    def __enter__(self) -> EventSource:
        self._client = client_of(self._served)
        headers = {"accept": "text/event-stream"}
        if self.parser.last_event_id:
            headers["last-event-id"] = self.parser.last_event_id
        self._stream = self._client.stream("GET", self._path, headers=headers)
        self.answer = self._stream.__enter__()
        self._pieces = self.answer.iter_raw()
        return self

    def __exit__(self, *args: Any) -> None:
        self._stream.__exit__(*args)
        self._client.close()

    def until(self, condition: Any) -> None:
        while not condition():
            self.parser.feed(next(self._pieces))


@EACH
def test_events_come_as_they_happen_and_a_client_goes_on_where_it_was(served: Running, token: str) -> None:
    source = EventSource(served, f"/events?token={token}")
    parser = source.parser
    with source:
        assert source.answer.status_code == 200
        assert source.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert not parser.events, "the headers come before the first event"
        for number in (1, 2):
            served.release(f"{token}-{number}")
            source.until(lambda number=number: len(parser.events) == number)
        assert [(event.event, event.data, event.id) for event in parser.events] == [
            ("count", '{"number":1,"text":"é\\n"}', "1"),
            ("count", '{"number":2,"text":"é\\n"}', "2"),
        ]
        assert parser.retry == 50
        heard = len(parser.comments)
        source.until(lambda: len(parser.comments) >= heard + 2)
    served.event("closed", token=token)
    assert len(served.events("closed", token=token)) == 1
    with source:
        served.release(f"{token}-3")
        source.until(lambda: len(parser.events) == 3)
        assert parser.events[-1].id == "3"
    assert [event["last"] for event in served.events("opened", token=token)] == [None, "2"]
    eventually(lambda: len(served.events("closed", token=token)) == 2, "the second is closed")
    assert not served.logged("/events")


@CONCURRENT
def test_events_of_many_clients_hold_up_nobody(served: Running, token: str) -> None:
    sources = [EventSource(served, f"/events?token={token}-{number}") for number in range(3)]
    for source in sources:
        source.__enter__()
    try:
        with client_of(served) as client:
            assert client.get("/").text == "hello"
        for number, source in enumerate(sources):
            served.release(f"{token}-{number}-1")
            source.until(lambda source=source: source.parser.events)
    finally:
        for source in sources:
            source.__exit__(None, None, None)
    for number in range(len(sources)):
        # A WSGI server finds out with the next comment; no stream is to be left when it stops.
        served.event("closed", token=f"{token}-{number}")


@EACH
def test_events_of_a_plain_iterable(served: Running) -> None:
    with client_of(served) as client:
        answer = client.get("/events/def")
    assert answer.text == "".join(f"id: {number}\ndata: {number}\n\n" for number in range(3))


# Early hints


@EACH
@pytest.mark.parametrize("colour", ["def", "async"])
def test_early_hints_come_before_the_answer_where_the_server_has_them(served: Running, colour: str) -> None:
    with connected(served) as wire:
        wire.send(f"GET /hints/{colour} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        answer = wire.read(head=False)
        links = []
        while answer.status == 103:
            links += [value for name, value in answer.headers if name == "link"]
            answer = wire.read()
    assert (answer.status, answer.text) == (200, "after the hints")
    if served.server.name in ("gunicorn-sync", "gunicorn-gthread", "gunicorn-preload"):
        assert links == ["</app.css>; rel=preload; as=style", "</app.js>; rel=preload; as=script"]
    else:
        assert links == []


@chosen("hypercorn")  # the only one here that offers the extension, and over HTTP/2 alone
@pytest.mark.parametrize("colour", ["def", "async"])
def test_early_hints_by_the_asgi_extension(served: Running, colour: str) -> None:
    config = importlib.import_module("h2.config")  # hypercorn needs it, and it has no types
    h2 = importlib.import_module("h2.connection")
    client = h2.H2Connection(config=config.H2Configuration(header_encoding="utf-8"))
    seen: list[tuple[str, list[str]]] = []
    body = b""
    with connected(served) as wire:
        client.initiate_connection()
        request = {":method": "GET", ":path": f"/hints/{colour}", ":scheme": "http", ":authority": "h"}
        client.send_headers(1, list(request.items()), end_stream=True)
        wire.send(client.data_to_send())
        ended = False
        while not ended:
            for event in client.receive_data(wire.socket.recv(65_536)):
                headers = getattr(event, "headers", None) or []
                if headers:
                    links = [value for name, value in headers if name == "link"]
                    seen.append((dict(headers)[":status"], links))
                body += getattr(event, "data", b"") or b""
                ended = ended or type(event).__name__ == "StreamEnded"
            wire.send(client.data_to_send())
    hints = [link for status, links in seen[:-1] for link in links]
    assert {status for status, _ in seen[:-1]} == {"103"}
    assert hints == ["</app.css>; rel=preload; as=style", "</app.js>; rel=preload; as=script"]
    assert (seen[-1], body) == (("200", []), b"after the hints")
