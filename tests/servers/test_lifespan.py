"""Lifespans on real servers: when they begin and end, in which process, and what comes of one that fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.conftest import Start, client_of
from tests.servers.launching import APPS, BOUND, STOP, Running, Server, by_name, eventually, free_port, require, workers
from tests.servers.test_mounted import NO_EXIT
from tests.servers.wire import opened

APP = "lifespan_apps:app"
HOOKS = ("--config", "python:dualroute_wsgi.gunicorn")
GUNICORN = ("gunicorn-sync", "gunicorn-gthread", "gunicorn-preload")
ASGI = ("uvicorn", "hypercorn", "granian-asgi", "gunicorn-asgi")


def chosen(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("chosen", [by_name(name) for name in names], ids=str)


def lives(server: Running) -> dict[int, list[str]]:
    """Return what each process has reported, in order."""
    found: dict[int, list[str]] = {}
    for event in server.events_of("startup", "shutdown", "plain-startup", "plain-shutdown", "failing"):
        found.setdefault(event["pid"], []).append(event["kind"])
    return found


STARTED = ["startup", "plain-startup"]
WHOLE = [*STARTED, "plain-shutdown", "shutdown"]


def seen_by(server: Running) -> dict[str, Any]:
    """Return what handlers of each colour find in the state; all of it is of the process that answers."""
    with client_of(server) as client:
        answer: dict[str, Any] = client.get("/state").json()
        assert answer["started"] == answer["pid"]
        asynchronous = client.get("/async").json()
        assert asynchronous["started"] == asynchronous["pid"]
        assert asynchronous["here"], "the loop of the lifespan is that of async handlers"
        assert "plain" not in answer
        inside = client.get("/in/state").json()
        assert inside["plain"] == inside["started"] == inside["pid"]
    return answer


@chosen(*GUNICORN, *ASGI, *NO_EXIT)
def test_a_process_has_one_lifespan_and_its_requests_the_state(start: Start, chosen: Server) -> None:
    server = start(chosen, APP)
    pid = seen_by(server)["pid"]
    if chosen.protocol == "asgi":
        with opened(server, "/ws") as websocket:
            assert f'"started":{pid}' in str(websocket.recv(timeout=BOUND))
    server.stop()
    assert lives(server) in ({pid: WHOLE}, {pid: STARTED if chosen.name in NO_EXIT else WHOLE})
    assert not server.logged("Traceback")


@chosen(*GUNICORN)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: str(number.name))
def test_the_hooks_run_it_when_a_worker_boots_and_ends(start: Start, chosen: Server, number: signal.Signals) -> None:
    server = start(workers(chosen, 2), APP, options=HOOKS)
    # More workers than requests so far.
    eventually(lambda: len(server.events("plain-startup")) == 2, "both workers have started")
    assert {event["parent"] for event in server.events("startup")} == {server.process.pid}, "after the fork"
    assert seen_by(server)["pid"] in lives(server)
    time.sleep(0.5)  # as below
    os.kill(server.process.pid, number)
    server.wait()
    assert list(lives(server).values()) == [WHOLE, WHOLE]
    assert "Traceback" not in server.output


@chosen("gunicorn-sync", "gunicorn-gthread", "waitress", "uvicorn")
def test_ctrl_c_shuts_down(start: Start, chosen: Server) -> None:
    server = start(chosen, APP)
    pid = seen_by(server)["pid"]
    # gunicorn's gthread may hang, whatever the app, where the signal comes while a request ends: its handler takes a
    # lock that the thread which it interrupts may hold.
    time.sleep(0.5)
    os.kill(server.process.pid, signal.SIGINT)
    server.wait()
    assert lives(server) == {pid: WHOLE}


@chosen("gunicorn-sync", "gunicorn-gthread")
def test_recycled_workers_each_have_their_own(start: Start, chosen: Server) -> None:
    server = start(workers(chosen, 2), APP, options=(*HOOKS, "--max-requests", "3"))

    def several() -> bool:
        with client_of(server) as client:
            for _ in range(6):
                try:
                    answer = client.get("/state").json()
                except httpx.TransportError:  # the worker that had it in its queue has ended
                    continue
                assert answer["started"] == answer["pid"]
        return len(lives(server)) >= 5

    eventually(several, "workers follow one another")

    def settled() -> bool:
        ended = server.output.count("Autorestarting worker")
        return (
            server.output.count("Booting worker") - ended == Counter(map(tuple, lives(server).values()))[*STARTED] == 2
        )

    # gunicorn loses a signal for a worker that has been forked and not yet set its handlers, and waits for it.
    eventually(settled, "both workers have started")
    server.stop()
    assert [life for life in lives(server).values() if life != WHOLE] == []
    assert "Traceback" not in server.output


@chosen("gunicorn-sync", "gunicorn-gthread")
@pytest.mark.parametrize("hooks", [(), HOOKS], ids=["bare", "hooks"])
def test_a_reload_by_signal_ends_the_old_and_starts_the_new(
    start: Start, chosen: Server, hooks: tuple[str, ...]
) -> None:
    server = start(chosen, APP, options=hooks)
    old = seen_by(server)["pid"]
    os.kill(server.process.pid, signal.SIGHUP)
    eventually(lambda: lives(server)[old] == WHOLE, "the old worker has shut down")
    with client_of(server) as client:
        new = client.get("/state").json()["pid"]
    assert new != old
    server.stop()
    assert lives(server) == {old: WHOLE, new: WHOLE}


@chosen("gunicorn-sync", "gunicorn-gthread")
def test_the_reloader_ends_the_old_and_starts_the_new(start: Start, tmp_path: Path, chosen: Server) -> None:
    watched = tmp_path / "watched"
    watched.touch()
    options = (*HOOKS, "--reload", "--reload-engine", "poll", "--reload-extra-file", str(watched))
    server = start(chosen, APP, options=options)
    old = seen_by(server)["pid"]

    def touched() -> bool:
        # Once more each time, since the reloader may not have looked at it before.
        os.utime(watched)
        return lives(server)[old] == WHOLE and len(lives(server)) >= 2

    eventually(touched, "the worker was exchanged")
    server.stop()
    assert [life for life in lives(server).values() if life != WHOLE] == []


# A start-up that fails


def ended(server: Server, folder: Path, *options: str) -> tuple[int, str]:
    """Start a server whose app can't start, and return its exit code and what it has printed."""
    require(server)
    (folder / "broken").touch()
    command = [sys.executable, "-m", *(part.format(port=free_port()) for part in server.command), *options, APP]
    ran = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(APPS), os.environ.get("PYTHONPATH")))),
            "DUALROUTE_TEST_FOLDER": str(folder),
            "DUALROUTE_TEST_BROKEN": str(folder / "broken"),
            "HOME": str(folder),
            "NO_COLOR": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STOP,
    )
    return ran.returncode, ran.stdout


@chosen(*GUNICORN)
def test_a_start_up_that_fails_at_boot_stops_gunicorn_with_the_reason(tmp_path: Path, chosen: Server) -> None:
    code, printed = ended(chosen, tmp_path, *HOOKS)
    assert code == 3
    assert "LookupError: no database here" in printed
    assert "Worker failed to boot" in printed


@chosen(*ASGI)
def test_a_start_up_that_fails_stops_an_asgi_server_with_the_reason(tmp_path: Path, chosen: Server) -> None:
    code, printed = ended(chosen, tmp_path)
    assert code != 0 or chosen.name == "hypercorn"  # whose parent does not mind
    assert "the start-up failed: LookupError: no database here" in printed


def broken(start: Start, tmp_path: Path, server: Server) -> Running:
    (tmp_path / "broken").touch()
    return start(server, APP, environ={"DUALROUTE_TEST_BROKEN": str(tmp_path / "broken")})


@chosen("gunicorn-sync", "gunicorn-gthread", "gunicorn-preload")
def test_one_that_fails_at_the_first_request_ends_the_worker_and_the_next_one_tries_again(
    start: Start, tmp_path: Path, chosen: Server
) -> None:
    server = broken(start, tmp_path, chosen)  # its first request was that by which we saw that it runs
    assert server.event("log", level="CRITICAL")["message"] == (
        "the start-up failed, and this worker ends: LookupError: no database here"
    )

    def failed_again() -> bool:
        with client_of(server) as client:
            try:
                answer = client.get("/state")
            except httpx.TransportError:
                return False
        assert answer.status_code == 503, "no app that is half started serves"
        return len(lives(server)) >= 2

    eventually(failed_again, "another worker has failed too")
    (tmp_path / "broken").unlink()

    def answered() -> bool:
        with client_of(server) as client:
            try:
                return client.get("/state").status_code == 200
            except httpx.TransportError:
                return False

    eventually(answered, "the cause is gone, and a new worker serves")
    server.stop()
    counts = Counter(map(tuple, lives(server).values()))
    assert counts.pop(tuple(WHOLE)) == 1
    assert set(counts) == {("failing",)}, "each worker has tried once"


@chosen("waitress", "granian-wsgi")
def test_one_that_fails_at_the_first_request_ends_the_server(start: Start, tmp_path: Path, chosen: Server) -> None:
    server = broken(start, tmp_path, chosen)
    server.wait()
    assert "the start-up failed, and this worker ends: LookupError: no database here" in server.output
    assert list(lives(server).values()) == [["failing"]]


# A shutdown that hangs


@chosen("gunicorn-sync", "gunicorn-gthread")
@pytest.mark.parametrize("what", ["async", "plain"])
@pytest.mark.parametrize("hooks", [(), HOOKS], ids=["bare", "hooks"])
def test_a_shutdown_that_hangs_is_given_up_and_said(
    start: Start, chosen: Server, what: str, hooks: tuple[str, ...]
) -> None:
    server = start(chosen, APP, options=hooks, environ={"DUALROUTE_TEST_HANGS": what})
    pid = seen_by(server)["pid"]
    assert server.stop() == 0
    done = ["plain-shutdown"] if what == "async" else ["shutdown"]
    assert lives(server) == {pid: [*STARTED, *done]}
    assert len(server.logged("was given up after 6 s")) == 1


# Servers that run none, and both at once


def test_a_server_told_to_run_none_has_it_run_late(start: Start) -> None:
    server = start(by_name("uvicorn"), APP, options=("--lifespan", "off"))
    pid = seen_by(server)["pid"]
    assert len(server.logged("the server has run no lifespan")) == 1
    os.kill(server.process.pid, signal.SIGINT)
    server.wait()
    assert lives(server) == {pid: WHOLE}, "this signal lets uvicorn close its loop in good order"


def test_a_host_that_passes_none_on_has_it_run_late(start: Start) -> None:
    server = start(by_name("uvicorn"), "lifespan_apps:hosted", options=("--factory",))
    pid = seen_by(server)["pid"]
    assert len(server.logged("the server has run no lifespan")) == 1
    server.stop()
    assert list(lives(server)) == [pid]


def test_dualroute_run_gives_each_process_its_own(tmp_path: Path) -> None:
    command = Server("dualroute run", "both", ("dualroute", "run", "--port", "{port}"), ("gunicorn", "uvicorn"))
    require(command)
    server = Running.__new__(Running)
    server.server, server.folder, server._output = command, tmp_path, tmp_path / "output"
    for _ in range(5):
        server.port = free_port()
        if server.port < 65535:
            break
    with server._output.open("wb") as output:
        server.process = subprocess.Popen(
            [sys.executable, "-m", "dualroute", "run", "--port", str(server.port), str(APPS / "lifespan_apps.py")],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, (str(APPS), os.environ.get("PYTHONPATH")))),
                "DUALROUTE_TEST_FOLDER": str(tmp_path),
                "HOME": str(tmp_path),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        eventually(lambda: len(server.events("plain-startup")) == 2, "both servers have started")
        for port in (server.port, server.port + 1):

            def answered(port: int = port) -> Any:
                try:
                    return httpx.get(f"http://127.0.0.1:{port}/state", trust_env=False, timeout=BOUND).json()
                except httpx.TransportError:
                    return None

            answer = eventually(answered, "both answer")
            assert answer["started"] == answer["pid"]
        server.process.terminate()
        assert server.wait() == 0
    finally:
        server.kill()
    assert list(lives(server).values()) == [WHOLE, WHOLE]


def test_dualroute_run_says_why_a_start_up_failed(tmp_path: Path) -> None:
    server = replace(by_name("gunicorn-gthread"), command=("dualroute", "run", "--wsgi", "--port", "{port}"))
    require(server)
    (tmp_path / "lifespan_apps.py").write_text((APPS / "lifespan_apps.py").read_text())
    code, printed = ended(server, tmp_path)
    assert code != 0
    assert "LookupError: no database here" in printed
