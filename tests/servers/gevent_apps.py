"""Apps for a worker whose threads are greenlets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

from apps import endless_async, report  # type: ignore[import-not-found]  # it stands beside this file

from dualroute import (
    DualRoute,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    SyncRequest,
)
from dualroute.concurrency import run_in_threadpool


@contextlib.asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    await asyncio.sleep(0.01)
    report("startup")
    yield {"started": True}
    await asyncio.sleep(0.01)
    report("shutdown")


async def _said(text: str) -> str:
    await asyncio.sleep(0.05)
    return text


@contextlib.contextmanager
def plain_lifespan(app: Any) -> Iterator[None]:
    """Run an event loop of its own, as it may."""
    report(asyncio.run(_said("plain startup")))
    yield
    report(asyncio.run(_said("plain shutdown")))


def hello(request: SyncRequest) -> Response:
    return PlainTextResponse(f"hello {request.state.started}")


async def hello_async(request: Request) -> Response:
    await asyncio.sleep(0.01)
    return PlainTextResponse(f"hello {request.state.started}")


def own_loop(request: SyncRequest) -> Response:
    return PlainTextResponse(asyncio.run(_said("own loop")))


async def pool(request: Request) -> Response:
    def wait() -> str:
        time.sleep(0.05)
        return "pool"

    return PlainTextResponse(await run_in_threadpool(wait))


async def network(request: Request) -> Response:
    """Ask this same process, by a socket that the event loop watches."""
    reader, writer = await asyncio.open_connection(*request.query_params["address"].split(":"))
    writer.write(b"GET /hello/def HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return PlainTextResponse(answer.rpartition(b"\r\n")[2])


async def upload(request: Request) -> Response:
    size = 0
    async for piece in request.stream():
        await asyncio.sleep(0)
        size += len(piece)
    return PlainTextResponse(str(size))


def slow(request: SyncRequest) -> Response:
    time.sleep(1)
    return PlainTextResponse("")


async def slow_async(request: Request) -> Response:
    await asyncio.sleep(60)
    return PlainTextResponse("")


app = DualRoute(
    [
        Route("/hello/def", hello),
        Route("/hello/async", hello_async),
        Route("/own-loop", own_loop),
        Route("/pool", pool),
        Route("/network", network),
        Route("/upload", upload, methods=["POST"]),
        Route("/slow/def", slow, timeout=0.2),
        Route("/slow/async", slow_async, timeout=0.2),
        Route("/endless", endless_async),
        Mount("/inner", app=DualRoute([Route("/hello", hello)], lifespan=plain_lifespan)),
    ],
    lifespan=lifespan,
)

# An app in a process whose event loops would stop every greenlet while they wait.


class _Loop(asyncio.SelectorEventLoop):
    pass


if os.environ.get("DUALROUTE_TEST_POLICY"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.14 on

        class _Policy(asyncio.DefaultEventLoopPolicy):
            _loop_factory = _Loop

        asyncio.set_event_loop_policy(_Policy())


def text(request: SyncRequest) -> Response:
    return PlainTextResponse("def")


async def text_async(request: Request) -> Response:
    return PlainTextResponse("async def")


stateless = DualRoute([Route("/def", text), Route("/async", text_async)])
