"""What runs out in a process: room on the disk, file descriptors; and a wall clock that jumps."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from dualroute import (
    DualRoute,
    EventSourceResponse,
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Request,
    Response,
    Route,
    SyncRequest,
)
from dualroute.staticfiles import StaticFiles
from dualroute.testclient import TestClient
from dualroute_wsgi import loop as worker_loops

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts what is open in /proc")


@contextlib.contextmanager
def limited(kind: int, value: int) -> Iterator[None]:
    """Have this process keep to a limit for a while."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def errors(caplog: pytest.LogCaptureFixture) -> int:
    """Count what was logged with the operating system's reason."""
    found = [record.exc_info[1] for record in caplog.records if record.levelno >= logging.ERROR and record.exc_info]
    return sum(isinstance(error, OSError) or isinstance(error and error.__cause__, OSError) for error in found)


def sizes_of(form: Any) -> dict[str, int]:
    return {name: file.size for name, file in form.items()}


def sizes(request: SyncRequest) -> Response:
    with request.form() as form:
        return JSONResponse(sizes_of(form))


async def sizes_async(request: Request) -> Response:
    async with request.form() as form:
        return JSONResponse(sizes_of(form))


def kept(request: SyncRequest) -> Response:
    """Leave the files to the end of the request."""
    return JSONResponse(sizes_of(request.form()))


@pytest.mark.parametrize("path", ["/def", "/async", "/kept"])
def test_a_disk_that_is_full_while_an_upload_is_kept_is_a_500(
    protocol: Any, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = DualRoute(
        [
            Route("/def", sizes, methods=["POST"]),
            Route("/async", sizes_async, methods=["POST"]),
            Route("/kept", kept, methods=["POST"]),
        ]
    )
    with TestClient(app, protocol=protocol, raise_server_exceptions=False) as client:
        files = {"first": bytes(1_500_000), "second": bytes(4_000_000)}
        assert client.post(path, files=files).json() == {"first": 1_500_000, "second": 4_000_000}
        before = open_files()
        with limited(resource.RLIMIT_FSIZE, 2_000_000):  # Python has the signal for that ignored
            answer = client.post(path, files=files)
            assert (answer.status_code, answer.text) == (500, "Internal Server Error")
            assert errors(caplog) == 1
            assert open_files() == before, "the file that was there, and the one that was too large"
            assert client.post(path, files={"file": bytes(1_500_000)}).json() == {"file": 1_500_000}
        assert client.post(path, files=files).status_code == 200
        assert open_files() == before


def test_file_descriptors_that_are_used_up_are_a_500_and_no_404(
    protocol: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("a file")
    app = DualRoute(
        [
            Route("/", lambda request: PlainTextResponse("hello")),
            Route("/file", lambda request: FileResponse(tmp_path / "file")),
            Route("/upload/def", sizes, methods=["POST"]),
            Route("/upload/async", sizes_async, methods=["POST"]),
        ]
    )
    app.mount("/static", StaticFiles(directory=tmp_path))
    upload = {"file": bytes(1_500_000)}
    asks: dict[str, Any] = {
        "/file": lambda client: client.get("/file"),
        "/static/file": lambda client: client.get("/static/file"),
        "/upload/def": lambda client: client.post("/upload/def", files=upload),
        "/upload/async": lambda client: client.post("/upload/async", files=upload),
    }
    with TestClient(app, protocol=protocol, raise_server_exceptions=False) as client:
        for ask in asks.values():
            assert ask(client).status_code == 200
        before = open_files()
        with limited(resource.RLIMIT_NOFILE, 4):
            for number, (path, ask) in enumerate(asks.items()):
                answer = ask(client)
                assert (path, answer.status_code, answer.text) == (path, 500, "Internal Server Error")
                assert errors(caplog) == number + 1
                assert client.get("/").text == "hello"
        assert open_files() == before
        for ask in asks.values():
            assert ask(client).status_code == 200


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # asyncio's own of a half-made loop
@pytest.mark.protocol("wsgi")  # an ASGI server has made its event loop before
def test_a_worker_that_can_make_no_event_loop_makes_it_at_the_next_request(
    protocol: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0)
        return PlainTextResponse("hello")

    monkeypatch.setattr(worker_loops, "_worker_loop", None)
    # A record of the error would hold the half-made loop beyond this test, and so beyond its filter.
    monkeypatch.setattr(logging.getLogger("dualroute"), "disabled", True)
    try:
        with TestClient(DualRoute([Route("/", handler)]), protocol=protocol, raise_server_exceptions=False) as client:
            before = open_files()
            with limited(resource.RLIMIT_NOFILE, 4):
                assert client.get("/").status_code == 500
            gc.collect()  # what asyncio had made of it so far
            assert open_files() == before
            assert client.get("/").text == "hello"
    finally:
        worker_loops.close_worker_loop()


def test_a_wall_clock_that_jumps_changes_nothing_that_takes_time(
    protocol: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    jumped = 0.0

    def jump(by: float) -> None:
        nonlocal jumped
        jumped += by

    def quick(request: SyncRequest) -> Response:
        jump(86_400)
        time.sleep(0.01)
        return PlainTextResponse("quick")

    async def quick_async(request: Request) -> Response:
        jump(86_400)
        await asyncio.sleep(0.01)
        return PlainTextResponse("quick")

    def slow(request: SyncRequest) -> Response:
        jump(-86_400)
        time.sleep(1)
        return PlainTextResponse("slow")

    async def slow_async(request: Request) -> Response:
        jump(-86_400)
        await asyncio.sleep(60)
        return PlainTextResponse("slow")

    async def events(request: Request) -> Response:
        async def all_events() -> AsyncIterator[str]:
            for number in range(3):
                jump(-86_400 if number % 2 else 86_400)
                await asyncio.sleep(0.02)
                yield str(number)

        return EventSourceResponse(all_events())

    def jumping(by: float) -> Any:
        def middleware(request: Any) -> Any:
            jump(by)
            response = yield request
            return response

        return middleware

    monkeypatch.setattr(time, "time", lambda: now() + jumped)
    handlers: dict[str, Any] = {
        "/quick/def": quick,
        "/quick/async": quick_async,
        "/slow/def": slow,
        "/slow/async": slow_async,
    }
    routes = [Route(path, handler) for path, handler in handlers.items()]
    app = DualRoute(
        [
            *(Route(path, handler, timeout=30 if "quick" in path else 0.1) for path, handler in handlers.items()),
            Route("/events", events),
        ]
    )
    with TestClient(app, protocol=protocol) as client:
        for colour in ("def", "async"):
            assert client.get(f"/quick/{colour}").text == "quick"
            assert client.get(f"/slow/{colour}").status_code == 503
            # Also when it jumps between two of the calls of which the time is limited.
            for path, limit, by in ((f"/quick/{colour}", 30, 86_400), (f"/slow/{colour}", 0.1, -86_400)):
                around = DualRoute(routes, middleware=[jumping(by)], timeout=limit)
                with TestClient(around, protocol=protocol) as other:
                    assert other.get(path).status_code == client.get(path).status_code
        text = client.get("/events").text
        assert [line for line in text.splitlines() if line.startswith("data")] == ["data: 0", "data: 1", "data: 2"]
    assert abs(jumped) > 0
