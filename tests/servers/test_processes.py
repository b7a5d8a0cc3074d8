"""Servers as processes: how they start on what they are given, where they mount it, and how they end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.servers.conftest import Start, client_of
from tests.servers.launching import APPS, BOUND, SERVERS, STOP, Server, by_name, eventually, free_port, require
from tests.servers.wire import exchange, opened


def servers(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("chosen", [by_name(name) for name in names], ids=str)


ROOTED = [server for server in SERVERS if server.root_path is not None and server.name != "gunicorn-preload"]


@pytest.mark.parametrize("chosen", ROOTED, ids=str)
def test_a_root_path_is_taken_off_the_path_and_put_into_urls(start: Start, chosen: Server) -> None:
    server = start(chosen, options=chosen.root_path, environ=chosen.root_environ)
    root = "/base" if chosen.root_in_target else ""
    with client_of(server) as client:
        about = client.get(f"{root}/about").json()
        assert about["root_path"] == "/base"
        assert about["path"] == "/base/about"
        assert about["url"] == f"{server.url}/base/about"
        assert about["base_url"] == f"{server.url}/base/"
        assert about["user_url"] == f"{server.url}/base/users/7/%C3%BC"
        assert client.get(f"{root}/inner/about").json()["root_path"] == "/base/inner"
        redirect = client.get(f"{root}/with-slash?a=b")
        assert (redirect.status_code, redirect.headers["location"]) == (307, "/base/with-slash/?a=b")
        assert client.get(f"{root}/").text == "hello from a def"
        rest = client.get(f"{root}/rest/base/x").json()
        assert (rest["rest"], rest["path"]) == ("base/x", "/base/rest/base/x")
        assert client.get(f"{root}/rest/%ff").status_code == 400
        assert client.get(f"{root}/nowhere").status_code == 404
    absolute = exchange(server, f"GET http://h{root}/about HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    assert (absolute.status, json.loads(absolute.body)["path"]) == (200, "/base/about")
    if chosen.protocol == "asgi":
        with opened(server, f"{root}/ws/number/3") as websocket:
            assert json.loads(websocket.recv(timeout=BOUND))["path"] == "/base/ws/number/3"


@servers("gunicorn-sync", "gunicorn-asgi", "uvicorn", "hypercorn", "granian-asgi", "granian-wsgi", "waitress")
def test_an_endpoint_class_is_an_app(start: Start, chosen: Server) -> None:
    server = start(chosen, "apps:Verbs")
    with client_of(server) as client:
        assert client.get("/").text == "GET"
        assert client.get("/any/path").text == "GET"
        assert client.post("/", content=b"x").text == "POST x"
        assert client.put("/", content=b"x").text == "PUT x"
        head = client.head("/")
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "3")
        wrong = client.request("PROPFIND", "/")
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY"


@servers("gunicorn-sync", "uvicorn", "hypercorn", "granian-wsgi")
def test_a_router_is_an_app(start: Start, chosen: Server) -> None:
    server = start(chosen, "apps:router")
    with client_of(server) as client:
        assert client.get("/").text == "hello from a def"
        assert client.get("/async").text == "hello from an async def"
        assert client.get("/users/3/x").json()["user_id"] == 3
        assert client.get("/nowhere").status_code == 404
        assert client.post("/").status_code == 405


@servers("gunicorn-sync", "uvicorn")
def test_a_route_is_an_app(start: Start, chosen: Server) -> None:
    server = start(chosen, "apps:route")
    with client_of(server) as client:
        assert client.get("/").text == "hello from a def"
        assert client.get("/nowhere").status_code == 404
        assert client.post("/").status_code == 405


@servers("gunicorn-sync", "uvicorn")
def test_a_response_is_an_app(start: Start, chosen: Server) -> None:
    server = start(chosen, "apps:response")
    with client_of(server) as client:
        for method in ("GET", "POST"):
            assert client.request(method, "/any/path").text == "always this"
        assert client.head("/").content == b""


def test_granian_without_an_interface_is_told_which_to_pass(tmp_path: Path) -> None:
    require(by_name("granian-asgi"))
    command = [sys.executable, "-m", "granian", "--host", "127.0.0.1", "--port", str(free_port()), "apps:app"]
    path = os.pathsep.join(filter(None, (str(APPS), os.environ.get("PYTHONPATH"))))
    environ = {**os.environ, "PYTHONPATH": path, "DUALROUTE_TEST_FOLDER": str(tmp_path), "NO_COLOR": "1"}
    ended = subprocess.run(
        command,
        check=False,
        cwd=tmp_path,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    printed = ended.stdout + ended.stderr
    assert printed.count("--interface asgi or --interface wsgi") == 1, printed
    assert "Traceback" not in printed, printed
    assert ended.returncode == 1


def test_two_preloaded_workers_both_run_async_handlers(start: Start) -> None:
    chosen = by_name("gunicorn-preload")
    chosen = replace(chosen, command=tuple("2" if part == "1" else part for part in chosen.command))
    server = start(chosen)

    def both_answered() -> bool:
        with client_of(server) as client, ThreadPoolExecutor(4) as threads:
            for seen in threads.map(lambda _: client.get("/loop").json(), range(8)):
                found.setdefault(seen["pid"], set()).add(seen["loop"])
        return len(found) == 2

    found: dict[int, set[int]] = {}
    eventually(both_answered, "both workers answer")
    assert all(len(loops) == 1 for loops in found.values()), "one loop for each"
    assert server.process.pid not in found


@pytest.mark.parametrize("chosen", [server for server in SERVERS if server.graceful], ids=str)
@pytest.mark.parametrize("colour", ["async", "def"])
def test_sigterm_lets_a_request_finish(start: Start, token: str, chosen: Server, colour: str) -> None:
    server = start(chosen)
    with client_of(server) as client, ThreadPoolExecutor(1) as threads:
        held = threads.submit(client.get, f"/held/{colour}?token={token}")
        server.event("held", token=token)
        os.kill(server.process.pid, signal.SIGTERM)
        time.sleep(0.5)  # time for it to stop too early, if it does
        server.release(token)
        answer = held.result(STOP)
        assert (answer.status_code, answer.text) == (200, "released")
    server.wait()
    assert "Traceback" not in server.output


def test_what_waits_on_the_workers_loop_does_not_hold_up_its_end(start: Start, token: str) -> None:
    server = start(by_name("gunicorn-gthread"))
    with client_of(server) as client:
        assert client.get(f"/background?token={token}").text == "started"
    assert server.stop() == 0
    assert "Traceback" not in server.output


def test_a_port_is_free_again_after_the_end(start: Start) -> None:
    server = start(by_name("uvicorn-h11"))
    with client_of(server) as client:
        assert client.get("/").status_code == 200
    server.stop()
    with pytest.raises(httpx.ConnectError), client_of(server) as client:
        client.get("/")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((server.host, server.port))


def test_the_wire_reads_an_answer_as_it_came(start: Start) -> None:
    answer = exchange(start(by_name("waitress")), b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (answer.status, answer.text, answer.complete) == (404, "Not Found", True)
