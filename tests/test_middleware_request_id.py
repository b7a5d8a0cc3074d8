"""RequestIDMiddleware: a name for each request."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dualroute import PlainTextResponse, Request, Response, Route, StreamingResponse, SyncRequest
from dualroute.middleware.request_id import RequestIDFilter, RequestIDMiddleware, request_id
from tests.conftest import Serve
from tests.middleware_helper import accepted, denied, handshake, site


def name(request: SyncRequest) -> Response:
    return PlainTextResponse(f"{request.state.request_id} {request_id.get()}")


async def name_async(request: Request) -> Response:
    return PlainTextResponse(f"{request.state.request_id} {request_id.get()}")


def name_stream(request: SyncRequest) -> Response:
    def pieces() -> Iterator[str]:
        yield f"{request.state.request_id} "
        yield str(request_id.get())

    return StreamingResponse(pieces())


async def name_async_stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[str]:
        yield f"{request.state.request_id} "
        yield str(request_id.get())

    return StreamingResponse(pieces())


PATHS: dict[str, Any] = {
    "/name": name,
    "/name-async": name_async,
    "/name-stream": name_stream,
    "/name-async-stream": name_async_stream,
}


def app(**options: Any) -> Any:
    return site([RequestIDMiddleware(**options)], *(Route(path, endpoint) for path, endpoint in PATHS.items()))


@pytest.mark.parametrize("path", PATHS)
def test_a_request_has_an_id_wherever_one_looks(serve: Serve, path: str) -> None:
    client = serve(app())
    answer = client.get(path)
    made = answer.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert answer.text == f"{made} {made}"
    assert client.get(path).headers["x-request-id"] != made
    answer = client.get(path, headers={"x-request-id": "Root=1-67891233-abcdef:1/2.3_4+5@6"})
    assert answer.headers["x-request-id"] == "Root=1-67891233-abcdef:1/2.3_4+5@6"
    assert answer.text.split()[0] == answer.headers["x-request-id"]
    assert request_id.get() is None


@pytest.mark.parametrize("given", ["", "a b", "a,b", "ä", "<script>", "-x", "a" * 129, '"', "a%0a"])
def test_what_is_not_well_formed_is_replaced(serve: Serve, given: str) -> None:
    answer = serve(app()).get("/name", headers=[(b"x-request-id", given.encode("latin-1"))])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_options(serve: Serve) -> None:
    client = serve(app(header="X-Trace", accept=False, generate=lambda: "made"))
    answer = client.get("/name", headers={"x-trace": "given"})
    assert (answer.headers["x-trace"], answer.text) == ("made", "made made")
    with pytest.raises(ValueError, match="no header name"):
        RequestIDMiddleware("x trace")


@pytest.mark.parametrize("path", ["/fail", "/fail-at-once", "/teapot", "/none", "/flask/text", "/fastapi/stream"])
def test_every_answer_has_it(serve: Serve, path: str) -> None:
    assert serve(app()).get(path, headers={"x-request-id": "abc"}).headers["x-request-id"] == "abc"


def test_it_is_on_what_is_logged(serve: Serve) -> None:
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Keep()
    handler.addFilter(RequestIDFilter())
    handler.setFormatter(logging.Formatter("%(request_id)s %(message)s"))
    logger = logging.getLogger("dualroute")
    logger.addHandler(handler)
    try:
        client = serve(app())
        client.get("/")
        del lines[:]
        client.get("/fail", headers={"x-request-id": "abc"})
        client.get("/async-fail", headers={"x-request-id": "def"})
        client.get("/fail-at-once", headers={"x-request-id": "ghi"})
        logger.error("outside")
    finally:
        logger.removeHandler(handler)
    first = [line.partition("\n")[0] for line in lines]
    assert first[:2] == ["abc unhandled exception in GET /fail", "def unhandled exception in GET /async-fail"]
    assert first[2].startswith("ghi unhandled exception in the body")
    assert first[3] == "- outside"


def test_websockets() -> None:
    assert accepted(handshake(app()))
    status, headers = denied(handshake(app(), "/none", headers={"x-request-id": "abc"}))
    assert (status, headers["x-request-id"]) == (404, "abc")
