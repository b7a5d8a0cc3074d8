"""The differences that can't be removed, one by one, as `docs/parity.md` lists them; and that each test named there is.

Each of these asks both protocols and expects two answers.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from dualroute import DualRoute, Mount, PlainTextResponse, Request, Response, Route, StreamingResponse, SyncRequest
from tests.parity.servers import Sent, as_sent_by_asgi, as_sent_by_wsgi, by_asgi, by_wsgi, environ_of, scope_of
from tests.servers.wire_cases import CASES
from tests.transports import call_wsgi

ROOT = Path(__file__).parents[2]


def both(app: Any, sent: Sent) -> tuple[bytes, bytes]:
    return by_asgi(app, sent).body, by_wsgi(app, sent).body


def test_the_raw_path_is_made_up_under_wsgi() -> None:
    def show(request: Any) -> Response:
        return PlainTextResponse(request.scope["raw_path"])

    app = DualRoute([Route("/{rest:path}", show)])
    assert both(app, Sent(b"/a%2fb%7E")) == (b"/a%2fb%7E", b"/a/b~")


def test_a_target_that_is_no_path_below_a_root_path() -> None:
    app = DualRoute([Route("/", lambda request: PlainTextResponse(""))])
    sent = Sent(b"ftp://x/a", root_path="/base")
    assert (by_asgi(app, sent).status, by_wsgi(app, sent).status) == (404, 400)


def test_a_client_that_has_gone_is_noticed_by_asgi_alone() -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(str(await request.is_disconnected()))

    def stream(request: Any) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(20):
                await asyncio.sleep(0.001)
            yield b"late"

        return StreamingResponse(pieces())

    app = DualRoute([Route("/", endpoint, methods=["POST"]), Route("/stream", stream, methods=["POST"])])
    headers = ((b"host", b"testserver"), (b"content-length", b"5"))
    assert both(app, Sent(b"/", "POST", headers, b"abc", cut=True)) == (b"True", b"False")
    sent = Sent(b"/stream", "POST", headers, b"abc", cut=True)
    assert asyncio.run(as_sent_by_asgi(app, sent)).body == b""
    assert as_sent_by_wsgi(app, sent).body == b"late"


def test_a_def_on_the_event_loop_can_not_wait_for_a_body(caplog: pytest.LogCaptureFixture) -> None:
    def echo(request: SyncRequest) -> Response:
        return PlainTextResponse(request.body())

    app = DualRoute([Route("/", echo, methods=["POST"], sync_to_thread=False)])
    sent = Sent(b"/", "POST", ((b"host", b"testserver"), (b"content-length", b"3")), b"abc")
    assert both(app, sent) == (b"Internal Server Error", b"abc")
    assert "can't wait for a request body" in caplog.text


def test_the_lifespan_begins_with_the_first_request_under_wsgi() -> None:
    begun: list[str] = []

    @contextlib.contextmanager
    def lifespan(app: Any) -> Iterator[None]:
        begun.append("begun")
        yield

    def app() -> DualRoute:
        return DualRoute([Route("/", lambda request: PlainTextResponse(""))], lifespan=lifespan)

    async def start() -> None:
        events: asyncio.Queue[Any] = asyncio.Queue()
        told: asyncio.Queue[Any] = asyncio.Queue()
        life = asyncio.create_task(app()({"type": "lifespan", "asgi": {}}, events.get, told.put))
        await events.put({"type": "lifespan.startup"})
        assert await told.get() == {"type": "lifespan.startup.complete"}
        await events.put({"type": "lifespan.shutdown"})
        await life

    asyncio.run(start())
    assert begun == ["begun"]
    begun.clear()
    served = app()
    served.wsgi  # noqa: B018  # what a server imports and keeps
    assert begun == []
    by_wsgi(served, Sent(b"/"))
    assert begun == ["begun"]
    served.wsgi_adapter.shutdown()


def test_what_the_server_handed_over_is_there_by_its_protocol() -> None:
    def show(request: Any) -> Response:
        environ = request.environ
        return PlainTextResponse("None" if environ is None else environ["SERVER_SOFTWARE"])

    app = DualRoute([Route("/", show)])
    sent = Sent(b"/")
    assert by_asgi(app, sent).body == b"None"
    assert call_wsgi(app, {**environ_of(sent), "SERVER_SOFTWARE": "server/1"})[2] == [b"server/1"]


def test_a_reason_phrase_goes_out_by_wsgi_alone() -> None:
    def inner(environ: Any, start_response: Any) -> Any:
        start_response("299 As You Like It", [("Content-Type", "text/plain")])
        return [b""]

    app = DualRoute([Mount("/", inner)])
    assert by_asgi(app, Sent(b"/")).status == 299
    assert call_wsgi(app, environ_of(Sent(b"/")))[0] == "299 As You Like It"


def test_a_body_in_answer_to_head_is_left_to_an_asgi_server() -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"body"})

    app = DualRoute([Mount("/", inner)])
    sent = Sent(b"/", "HEAD")
    assert scope_of(sent)["method"] == "HEAD"
    assert (asyncio.run(as_sent_by_asgi(app, sent)).body, by_wsgi(app, sent).body) == (b"body", b"")


def test_a_mounted_app_that_fails_in_a_body_that_is_not_sent_is_told_of_by_asgi_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"body", "more_body": True})
        raise ValueError("within the body")

    app = DualRoute([Mount("/", inner)])
    by_asgi_answer = asyncio.run(as_sent_by_asgi(app, Sent(b"/", "HEAD")))
    assert (by_asgi_answer.status, by_asgi_answer.error) == (200, "ResponseCut")
    assert "within the body" in caplog.text
    by_wsgi_answer = as_sent_by_wsgi(app, Sent(b"/", "HEAD"))
    assert (by_wsgi_answer.status, by_wsgi_answer.error) == (200, "")


def rows_below(heading: str) -> list[str]:
    """Return the rows of the table in a section of the document."""
    text = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][2:]


def named_tests() -> list[str]:
    return [name for row in rows_below("What is not") for name in re.findall(r"`(tests/[\w/]+\.py::\w+)`", row)]


def test_each_difference_that_is_listed_has_its_test() -> None:
    assert len(named_tests()) == len(rows_below("What is not")) >= 8
    for name in named_tests():
        path, _, function = name.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_each_habit_of_a_server_that_is_listed_has_its_case() -> None:
    rows = rows_below("What servers make of it")
    assert len(rows) >= 8
    known = {case.name.partition(" (")[0] for case in CASES}  # less the colour
    for row in rows:
        named = re.findall("`([^`]+)`", row.split("|")[-2])
        assert named
        assert set(named) <= known


def test_each_test_of_a_difference_is_listed() -> None:
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    shown = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    own = {name.partition("::")[2] for name in named_tests() if name.startswith("tests/parity/test_differences.py")}
    assert own == {name for name in shown if not name.startswith("test_each_")}
