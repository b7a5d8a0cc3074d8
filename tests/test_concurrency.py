"""Calling what blocks from an `async def`, on both protocols."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from dualroute import (
    BackgroundTask,
    Call,
    DualRoute,
    JSONResponse,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
    WSGIApp,
)
from dualroute.concurrency import iterate_in_threadpool, run_in_threadpool, run_until_first_complete
from dualroute.concurrency import threads as serving_threads
from dualroute_asgi.concurrency import spare_pool
from tests.conftest import Serve

user: ContextVar[str] = ContextVar("user", default="nobody")


def blocking(first: Any, *, second: Any = None) -> list[Any]:
    asyncio_runs = True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio_runs = False
    assert not asyncio_runs, "a thread of the pool has no event loop"
    seen = user.get()
    user.set("bound in the thread")
    return [first, second, seen, threading.current_thread().name]


def test_a_function_is_called_in_a_thread_with_its_arguments_and_the_context(serve: Serve) -> None:
    async def handler(request: Request) -> Response:
        user.set("the handler's")
        result = await run_in_threadpool(blocking, 1, second=2)
        return JSONResponse([*result, user.get()])

    answer = serve(DualRoute([Route("/", handler)])).get("/")
    assert answer.json() == [1, 2, "the handler's", "dualroute-handler", "bound in the thread"]


def test_what_it_raises_comes_out(serve: Serve) -> None:
    def fails() -> None:
        raise LookupError("from the thread")

    async def handler(request: Request) -> Response:
        with pytest.raises(LookupError, match="from the thread"):
            await run_in_threadpool(fails)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await run_in_threadpool(next, iter(()))
        return PlainTextResponse("")

    assert serve(DualRoute([Route("/", handler)])).get("/").status_code == 200


def test_the_event_loop_goes_on_meanwhile(serve: Serve) -> None:
    async def handler(request: Request) -> Response:
        go = threading.Event()

        async def let_go() -> None:
            go.set()

        waiting = asyncio.create_task(run_in_threadpool(go.wait, 20))
        await asyncio.create_task(let_go())
        return JSONResponse(await waiting)

    assert serve(DualRoute([Route("/", handler)])).get("/").json() is True


def test_the_threads_are_the_app_s_own_under_asgi_and_the_process_s_under_wsgi(serve: Serve, protocol: str) -> None:
    at_once: list[int] = []
    inside = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal inside
        with lock:
            inside += 1
            at_once.append(inside)
        time.sleep(0.02)
        with lock:
            inside -= 1

    async def handler(request: Request) -> Response:
        await asyncio.gather(*(run_in_threadpool(work) for _ in range(12)))
        return PlainTextResponse("")

    assert serve(DualRoute([Route("/", handler)], max_threads=3)).get("/").status_code == 200
    assert len(at_once) == 12
    if protocol == "asgi":
        assert max(at_once) <= 3
    else:
        assert 3 < max(at_once) <= spare_pool().size


def test_middleware_bodies_and_background_tasks_have_them_too(serve: Serve) -> None:
    names: list[str] = []

    def note() -> str:
        names.append(threading.current_thread().name)
        return names[-1]

    async def note_async() -> None:
        await run_in_threadpool(note)

    def middleware(connection: Any) -> Generator[Any, Any, Response]:
        yield Call(note_async)
        response: Response = yield connection
        return response

    async def handler(request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            yield await run_in_threadpool(note)

        return StreamingResponse(pieces(), media_type="a/b", background=BackgroundTask(note_async))

    client = serve(DualRoute([Route("/", handler)], middleware=[middleware]))
    assert client.get("/").text == "dualroute-handler"
    assert names == ["dualroute-handler"] * 3


def test_the_threads_are_the_same_when_a_mounted_app_makes_its_stream_in_one(serve: Serve) -> None:
    """In that thread, there are others."""
    found: list[Any] = []

    async def look() -> None:
        found.append(serving_threads.get())

    def looking(request: Any) -> Any:
        yield Call(look)
        response = yield request
        yield Call(look)
        return response

    def wsgi_app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("content-type", "text/plain")])
        yield b"one"
        time.sleep(0.05)  # in which the event loop comes for the first piece
        yield b"two"

    answer = serve(DualRoute([Mount("/", wsgi_app)], middleware=[looking])).get("/")
    assert answer.text == "onetwo"
    first, second = found
    assert first is second


def test_an_iterator_is_advanced_in_threads(serve: Serve) -> None:
    loops: list[bool] = []

    def numbers() -> Iterator[int]:
        for number in range(3):
            try:
                asyncio.get_running_loop()
                loops.append(True)
            except RuntimeError:
                loops.append(False)
            yield number

    async def handler(request: Request) -> Response:
        found: list[Any] = [number async for number in iterate_in_threadpool(numbers())]
        found += [number async for number in iterate_in_threadpool([7, None])]
        return JSONResponse(found)

    assert serve(DualRoute([Route("/", handler)])).get("/").json() == [0, 1, 2, 7, None]
    assert loops == [False] * 3


def test_an_iterator_that_fails_fails(serve: Serve) -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise LookupError

    async def handler(request: Request) -> Response:
        found = []
        try:
            async for number in iterate_in_threadpool(numbers()):
                found.append(number)
        except LookupError:
            found.append(-1)
        return JSONResponse(found)

    assert serve(DualRoute([Route("/", handler)])).get("/").json() == [1, -1]


def test_the_first_coroutine_to_end_ends_the_others(serve: Serve) -> None:
    cancelled: list[str] = []

    async def handler(request: Request) -> Response:
        async def forever(name: str) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(name)
                raise

        async def ends(after: int) -> None:
            for _ in range(after):
                await asyncio.sleep(0)

        async def fails() -> None:
            await asyncio.sleep(0)
            raise LookupError

        await run_until_first_complete((forever, {"name": "a"}), (ends, {"after": 3}), (forever, {"name": "b"}))
        with pytest.raises(LookupError):
            await run_until_first_complete((fails, {}), (forever, {"name": "c"}))
        await run_until_first_complete()
        return PlainTextResponse("")

    assert serve(DualRoute([Route("/", handler)])).get("/").status_code == 200
    assert sorted(cancelled) == ["a", "b", "c"]


def test_an_event_loop_that_no_server_runs_has_threads() -> None:
    async def main() -> list[Any]:
        assert serving_threads.get() is None
        return await run_in_threadpool(blocking, 1)

    assert asyncio.run(main())[0] == 1


@pytest.mark.protocol("asgi")
def test_an_async_handler_in_a_mounted_wsgi_app_does_not_wait_for_the_thread_that_waits_for_it(serve: Serve) -> None:
    async def inner(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(blocking, 1))

    # The only thread of the outer app's is taken by the inner one.
    outer = DualRoute(fallback=WSGIApp(DualRoute([Route("/", inner)]).wsgi), max_threads=1)
    assert serve(outer, extra={}).get("/").json()[0] == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_process_with_threads_has_threads_of_its_own() -> None:
    async def main() -> int:
        return await run_in_threadpool(os.getpid)

    assert asyncio.run(main()) == os.getpid()
    child = os.fork()
    if not child:
        try:
            found = asyncio.run(asyncio.wait_for(main(), 10))
            os._exit(0 if found == os.getpid() else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_cancelled_caller_waits_for_the_thread(serve: Serve) -> None:
    events: list[str] = []

    async def handler(request: Request) -> Response:
        began, go = threading.Event(), threading.Event()

        def work() -> None:
            began.set()
            go.wait(20)
            events.append("worked")

        task = asyncio.create_task(run_in_threadpool(work))
        while not began.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        events.append("cancelled")
        return PlainTextResponse("")

    assert serve(DualRoute([Route("/", handler)])).get("/").status_code == 200
    assert events == ["worked", "cancelled"]


def in_place(request: SyncRequest) -> Response:
    return PlainTextResponse("")


@pytest.mark.protocol("wsgi")
def test_a_def_handler_under_wsgi_has_nothing_to_do_with_it(serve: Serve) -> None:
    assert serve(DualRoute([Route("/", in_place)])).get("/").status_code == 200
    assert serving_threads.get() is None
