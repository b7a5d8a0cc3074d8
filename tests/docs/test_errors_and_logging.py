"""The how-to page about errors and logging: what is answered, and what the lines of the log say."""

from __future__ import annotations

import gzip
import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import brotli
import httpx
import pytest

from tests.conftest import Serve
from tests.docs.operating import Command, commands, started
from tests.docs.pages import importing
from tests.servers.conftest import client_of
from tests.servers.launching import eventually

PAGE = "how-to/errors-and-logging.md"


@pytest.fixture
def shop(written: Path) -> Iterator[ModuleType]:
    with importing(written) as load:
        yield load("shop")


@pytest.fixture
def client(serve: Serve, shop: ModuleType) -> httpx.Client:
    return serve(shop.app)


def records(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "dualroute" and record.levelno == level]


@pytest.mark.parametrize(
    ("path", "status", "answer"),
    [
        ("/buy/cow", 200, None),
        ("/buy/unicorn", 409, {"error": "out of stock"}),
        ("/buy/horse", 404, {"error": "no such thing"}),
        ("/none", 404, {"error": "Not Found"}),
        ("/slow", 503, {"error": "try again"}),
    ],
)
def test_errors_are_answered_by_the_nearest_handler(
    client: httpx.Client, path: str, status: int, answer: dict[str, str] | None
) -> None:
    got = client.get(path)
    assert got.status_code == status
    assert answer is None or got.json() == answer
    assert "x-request-id" in got.headers


def test_headers_of_an_error_are_kept(client: httpx.Client) -> None:
    assert client.get("/buy/horse").headers["cache-control"] == "max-age=60"
    assert client.get("/slow").headers["retry-after"] == "1"
    assert client.post("/buy/cow").headers["allow"]


def test_a_mistake_is_logged_and_answered_with_the_id(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.get("/buy/xxx", headers={"x-request-id": "request-7"})
    assert (answer.status_code, answer.json()) == (500, {"error": "our mistake", "id": "request-7"})
    assert records(caplog, logging.ERROR) == ["unhandled exception in GET /buy/xxx"]


def test_levels(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "dualroute")
    client.get("/buy/horse")
    client.get("/none")
    assert records(caplog, logging.INFO) == records(caplog, logging.ERROR) == []
    client.get("/slow")
    assert len(records(caplog, logging.WARNING)) == 1
    assert "took longer than 0.2 s" in records(caplog, logging.WARNING)[0]
    client.get("/", headers={"host": "no host"})
    assert len(records(caplog, logging.INFO)) == 1


@pytest.mark.parametrize("command", commands(PAGE), ids=str)
def test_each_line_has_the_id_of_its_request(command: Command, tmp_path: Path, written: Path) -> None:
    with started(command, tmp_path, path=written) as server:
        with client_of(server) as client:
            for name in ("first", "second"):
                client.get("/buy/xxx", headers={"x-request-id": f"request-{name}"})
        eventually(lambda: server.output.count("ZeroDivisionError") == 2, "both are logged")
        lines = server.output.splitlines()
        for name in ("first", "second"):
            ours = [line for line in lines if f"[request-{name}]" in line]
            assert [re.sub(r"^\S+ \S+ ", "", line) for line in ours] == [
                f"INFO shop [request-{name}] wanted: xxx",
                f"ERROR dualroute [request-{name}] unhandled exception in GET /buy/xxx",
            ]


def test_json_lines(written: Path) -> None:
    program = """
import logging
import jsonlogs
from dualroute.middleware.request_id import request_id
logging.getLogger("a").info("outside %d", 1)
request_id.set("request-7")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("b").exception("inside")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=written, capture_output=True, text=True, check=True)
    outside, inside = map(json.loads, done.stderr.splitlines())
    assert (outside["logger"], outside["level"], outside["message"], outside["request_id"]) == (
        "a",
        "INFO",
        "outside 1",
        "-",
    )
    assert (inside["request_id"], "ZeroDivisionError" in inside["traceback"]) == ("request-7", True)


def test_the_access_log_of_a_middleware(serve: Serve, written: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "access")
    with importing(written) as load:
        client = serve(load("access").app)
        client.get("/")
        client.get("/no%0Ane")
    lines = [record.getMessage() for record in caplog.records if record.name == "access"]
    assert re.fullmatch(r"GET / 200 \d+\.\d ms", lines[0])
    assert re.fullmatch(r"GET /no\S*ne 404 \d+\.\d ms", lines[1])


class Collector(BaseHTTPRequestHandler):
    """Takes what is sent to Sentry."""

    told: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        lines = {"gzip": gzip.decompress, "br": brotli.decompress, None: bytes}[self.headers["content-encoding"]](body)
        # A header for all, then for each item a header and the item.
        items = list(map(json.loads, lines.splitlines()))[1:]
        self.told.extend(item for header, item in batched(items) if header["type"] == "event")
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        pass


def batched(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(items[::2], items[1::2], strict=True)


@pytest.mark.parametrize("line", ["uvicorn reporting:app", "gunicorn --threads 2 reporting:app"])
def test_sentry_gets_what_nothing_handles(line: str, written: Path, tmp_path: Path) -> None:
    Collector.told.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as sentry:
        threading.Thread(target=sentry.serve_forever).start()
        environ = {"SENTRY_DSN": f"http://key@127.0.0.1:{sentry.server_port}/1"}
        try:
            with (
                started(Command.of(line), tmp_path, path=written, environ=environ) as server,
                client_of(server) as client,
            ):
                assert client.get("/").status_code == 200
                assert client.get("/fail").status_code == 500
                eventually(lambda: Collector.told, "it is sent")
                told = list(Collector.told)
        finally:
            sentry.shutdown()
    assert [event["exception"]["values"][-1]["value"] for event in told] == ["boom"]
    assert told[0]["request"]["url"] == f"{server.url}/fail"
