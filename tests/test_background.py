"""Background tasks: run after the response, in order, in either colour, on both protocols."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest

from dualroute import (
    BackgroundTask,
    BackgroundTasks,
    DualRoute,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
)
from dualroute.exceptions import ResponseCut
from tests.conftest import Serve


class Log(list[str]):
    """What happened, in order."""

    def note(self, what: str, *, twice: bool = False) -> None:
        self.extend([what] * (1 + twice))

    async def note_async(self, what: str) -> None:
        self.append(what)

    def body(self) -> Iterator[bytes]:
        try:
            yield b"body"
        finally:
            self.append("closed")

    async def body_async(self) -> AsyncIterator[bytes]:
        try:
            yield b"body"
        finally:
            self.append("closed")


@pytest.fixture
def log() -> Log:
    return Log()


def app_of(*answers: Response) -> DualRoute:
    """An app that gives these answers, one after the other."""
    left = list(answers)
    return DualRoute([Route("/", lambda request: left.pop(0))])


def test_a_task_of_either_colour_runs_after_the_response(log: Log, serve: Serve) -> None:
    client = serve(
        app_of(
            PlainTextResponse("a", background=BackgroundTask(log.note, "def", twice=True)),
            JSONResponse(1, background=BackgroundTask(log.note_async, "async")),
            RedirectResponse("/x", background=BackgroundTask(log.note, "redirect")),
        )
    )
    assert client.get("/").text == "a"
    assert client.get("/").text == "1"
    assert client.get("/").status_code == 307
    assert log == ["def", "def", "async", "redirect"]


def test_a_body_is_closed_before_the_tasks_run(log: Log, serve: Serve) -> None:
    client = serve(
        app_of(
            StreamingResponse(log.body(), background=BackgroundTask(log.note, "after")),
            StreamingResponse(log.body_async(), background=BackgroundTask(log.note_async, "after")),
        )
    )
    assert client.get("/").text == "body"
    assert log == ["closed", "after"]
    assert client.get("/").text == "body"
    assert log == ["closed", "after"] * 2


def test_several_run_in_order(log: Log, serve: Serve) -> None:
    tasks = BackgroundTasks([BackgroundTask(log.note, "1")])
    tasks.add_task(log.note_async, "2")
    tasks.add_task(log.note, "3")
    serve(app_of(Response(background=tasks))).get("/")
    assert log == ["1", "2", "3"]


def test_one_that_fails_is_logged_and_those_after_it_are_left_out(
    log: Log, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise LookupError("in the background")

    tasks = BackgroundTasks([BackgroundTask(log.note, "1"), BackgroundTask(fail), BackgroundTask(log.note, "3")])
    assert serve(app_of(PlainTextResponse("sent", background=tasks))).get("/").text == "sent"
    assert log == ["1"]
    (record,) = [record for record in caplog.records if record.name == "dualroute"]
    assert "fail failed" in record.getMessage()
    assert record.exc_info is not None


def test_middleware_may_set_one(log: Log, serve: Serve) -> None:
    def auditing(connection: Any) -> Generator[Any, Any, Response]:
        response: Response = yield connection
        response.background = BackgroundTask(log.note, f"{connection.method} {response.status_code}")
        return response

    client = serve(DualRoute([Route("/", lambda request: Response())], middleware=[auditing]))
    client.get("/")
    client.get("/missing")
    assert log == ["GET 200", "GET 404"]


def test_a_response_whose_handling_failed_runs_none(log: Log, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def failing(connection: Any) -> Generator[Any, Any, Response]:
        yield connection
        raise LookupError

    response = Response(background=BackgroundTask(log.note, "never"))
    client = serve(DualRoute([Route("/", lambda request: response)], middleware=[failing]))
    assert client.get("/").status_code == 500
    assert log == []


@pytest.mark.parametrize("pieces", [0, 2])
def test_a_response_whose_body_failed_runs_none(
    pieces: int, log: Log, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Iterator[bytes]:
        yield from [b"piece"] * pieces
        raise LookupError

    client = serve(app_of(StreamingResponse(broken(), background=BackgroundTask(log.note, "never"))))
    if pieces:
        with pytest.raises(ResponseCut):
            client.get("/")
    else:
        assert client.get("/").status_code == 500
    assert log == []


def test_what_cannot_be_called_is_no_task() -> None:
    with pytest.raises(TypeError, match="a background task is a function, not 5"):
        BackgroundTask(5)  # type: ignore[arg-type]  # the mistake is the point


def test_tasks_can_be_run_by_hand() -> None:
    log = Log()
    tasks = BackgroundTasks([BackgroundTask(log.note, "def", twice=True), BackgroundTask(log.note_async, "async")])
    assert isinstance(tasks, BackgroundTask)

    async def main() -> None:
        await tasks()
        await BackgroundTask(log.note_async, what="alone")()

    asyncio.run(main())
    assert log == ["def", "def", "async", "alone"]


def test_a_task_run_by_hand_fails_and_leaves_out_those_after_it() -> None:
    log = Log()

    def fail() -> None:
        raise LookupError("no")

    async def main() -> None:
        await BackgroundTasks([BackgroundTask(fail), BackgroundTask(log.note, "never")])()

    with pytest.raises(LookupError, match="no"):
        asyncio.run(main())
    assert log == []


def test_tasks_run_others_as_a_task(serve: Serve) -> None:
    log = Log()

    def get(request: SyncRequest) -> Response:
        inner = BackgroundTasks([BackgroundTask(log.note, "one"), BackgroundTask(log.note_async, "two")])
        return PlainTextResponse("", background=BackgroundTasks([inner, BackgroundTask(log.note, "three")]))

    assert serve(DualRoute([Route("/", get)])).get("/").status_code == 200
    assert log == ["one", "two", "three"]
