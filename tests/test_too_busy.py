"""Threads that are all taken: a bounded number of requests waits, the next is refused, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync

from dualroute import DualRoute, FileResponse, Mount, PlainTextResponse, Request, Response, Route, SyncRequest
from dualroute.concurrency import run_in_threadpool
from dualroute.exceptions import TooBusy
from dualroute.middleware import Middleware
from dualroute.middleware.base import BaseHTTPMiddleware
from dualroute.testclient import TestClient
from tests.servers.launching import eventually

SIZE = 2
PATIENCE = 30
"""How many seconds something may take that is over at once."""


class Busy:
    """An app whose two threads can be kept, in which one more request may wait."""

    def __init__(self, folder: Path) -> None:
        self.go_on = threading.Event()
        self.held = 0
        self.called: list[str] = []
        file = folder / "file"
        file.write_text("a file")

        def hold(request: SyncRequest) -> Response:
            self.held += 1
            assert self.go_on.wait(PATIENCE)
            return PlainTextResponse("held")

        def quick(request: SyncRequest) -> Response:
            self.called.append(request.path)
            return PlainTextResponse("quick")

        async def asynchronous(request: Request) -> Response:
            return PlainTextResponse("async")

        async def a_file(request: Request) -> Response:
            self.called.append(request.path)
            return FileResponse(file)

        async def passes(request: Request, call_next: Any) -> Any:
            return await call_next(request)

        def pass_on(connection: Any) -> Any:
            response = yield connection
            return response

        self.app = DualRoute(
            [
                Route("/hold", hold),
                Route("/quick", quick),
                Route("/async", asynchronous),
                Route("/file", a_file),
                Mount("/generator", routes=[Route("/quick", quick)], middleware=[pass_on]),
                Mount(
                    "/base",
                    routes=[Route("/quick", quick)],
                    middleware=[Middleware(BaseHTTPMiddleware, dispatch=passes)],
                ),
                Mount("/limited", routes=[Route("/quick", quick)], timeout=PATIENCE),
            ],
            max_threads=SIZE,
            max_waiting=1,
        )
        self.pool: Any = None

    @property
    def waiting(self) -> int:
        crew = self.app.asgi.threads._crew
        return int(crew.waiting - crew.idle)


@pytest.fixture
def busy(tmp_path: Path) -> Busy:
    return Busy(tmp_path)


@pytest.fixture
def client(busy: Busy) -> Iterator[httpx.Client]:
    with TestClient(busy.app) as client:
        yield client


@pytest.fixture
def full(busy: Busy, client: httpx.Client) -> Iterator[list[Future[httpx.Response]]]:
    """What is under way: two requests that hold the threads, and one that waits for them."""
    with ThreadPoolExecutor(16) as threads:
        try:
            yield filled(busy, client, threads)
        finally:
            busy.go_on.set()


def filled(busy: Busy, client: httpx.Client, threads: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
    busy.held = 0
    under_way = [threads.submit(client.get, "/hold") for _ in range(SIZE)]
    eventually(lambda: busy.held == SIZE, "the threads are taken")
    under_way.append(threads.submit(client.get, "/quick"))
    eventually(lambda: busy.waiting == 1, "a request waits")
    return under_way


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "answered 503" in record.getMessage()]


@pytest.mark.parametrize("path", ["/quick", "/generator/quick", "/base/quick", "/limited/quick"])
def test_a_request_too_many_is_refused_and_told_when_to_come_again(
    busy: Busy, client: httpx.Client, full: list[Future[httpx.Response]], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.text == "Service Unavailable: too many requests wait"
        assert client.get("/async").text == "async"
    assert busy.called == []
    assert refusals(caplog) == [
        "all 2 threads are taken and 1 calls wait for one: what needs a thread is answered 503 for now"
    ]
    busy.go_on.set()
    assert [future.result(PATIENCE).text for future in full] == ["held", "held", "quick"]
    assert client.get(path).text == "quick"


def test_it_is_said_again_when_it_happens_again(
    busy: Busy, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPoolExecutor(4) as threads:
        for times in (1, 2):
            under_way = filled(busy, client, threads)
            assert client.get("/quick").status_code == 503
            assert len(refusals(caplog)) == times
            busy.go_on.set()
            assert all(future.result(PATIENCE).status_code == 200 for future in under_way)
            busy.go_on.clear()
            assert client.get("/quick").status_code == 200


def test_what_an_async_handler_has_begun_waits_its_turn(
    busy: Busy, client: httpx.Client, full: list[Future[httpx.Response]]
) -> None:
    with ThreadPoolExecutor(1) as threads:
        file = threads.submit(client.get, "/file")
        eventually(lambda: busy.waiting == 2, "the file is waited for")
        busy.go_on.set()
        assert file.result(PATIENCE).text == "a file"


def test_an_exception_handler_may_answer(busy: Busy) -> None:
    async def answer(request: Request, error: Exception) -> Response:
        return PlainTextResponse(type(error).__name__, status_code=503)

    busy.app.add_exception_handler(TooBusy, answer)
    with TestClient(busy.app) as client, ThreadPoolExecutor(4) as threads:
        try:
            filled(busy, client, threads)
            assert client.get("/quick").text == "TooBusy"
        finally:
            busy.go_on.set()


def test_a_number_that_can_be_none_is_refused() -> None:
    with pytest.raises(ValueError, match="max_waiting must be at least 0, not -1"):
        DualRoute(max_waiting=-1)


def test_without_a_place_to_wait_a_request_is_refused_at_once(busy: Busy) -> None:
    busy.app.max_waiting = 0
    with TestClient(busy.app) as client, ThreadPoolExecutor(4) as threads:
        try:
            held = [threads.submit(client.get, "/hold") for _ in range(SIZE)]
            eventually(lambda: busy.held == SIZE, "the threads are taken")
            assert client.get("/quick").status_code == 503
        finally:
            busy.go_on.set()
        assert [future.result(PATIENCE).text for future in held] == ["held", "held"]
        assert client.get("/quick").text == "quick"


# A `def` that calls back into `async def`, in all of the threads there are

_Deep = Callable[[int], Coroutine[Any, Any, str]]
_WAYS: dict[str, Callable[[_Deep, int, asyncio.AbstractEventLoop], str]] = {
    "asyncio.run": lambda deep, levels, loop: asyncio.run(deep(levels)),
    "async_to_sync": lambda deep, levels, loop: async_to_sync(deep)(levels),
    "the event loop": lambda deep, levels, loop: asyncio.run_coroutine_threadsafe(deep(levels), loop).result(PATIENCE),
}


@pytest.mark.parametrize("way", _WAYS)
def test_threads_that_wait_for_what_needs_a_thread_have_others(protocol: Any, way: str) -> None:
    size = 3
    all_here = threading.Barrier(size)

    async def deep(levels: int) -> str:
        loop = asyncio.get_running_loop()
        if levels == 0:
            return await run_in_threadpool(lambda: "deep")
        return await run_in_threadpool(lambda: _WAYS[way](deep, levels - 1, loop))

    def handler(request: SyncRequest) -> Response:
        all_here.wait(PATIENCE)
        return PlainTextResponse(_WAYS[way](deep, 2, loops[0]))

    async def note_loop(request: Request) -> Response:
        loops.append(asyncio.get_running_loop())
        return PlainTextResponse("")

    loops: list[asyncio.AbstractEventLoop] = []
    app = DualRoute([Route("/", handler), Route("/note", note_loop)], max_threads=size, max_waiting=0)
    with TestClient(app, protocol=protocol) as client, ThreadPoolExecutor(size) as threads:
        client.get("/note")
        asked = [threads.submit(client.get, "/") for _ in range(size)]
        assert [future.result(PATIENCE).text for future in asked] == ["deep"] * size
