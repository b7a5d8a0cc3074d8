"""Early hints: sent where the server says that it can, left out where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from dualroute import DualRoute, PlainTextResponse, Request, Response, Route, SyncRequest
from tests.conftest import Serve

LINKS = ["</app.css>; rel=preload; as=style", "</app.js>; rel=preload; as=script"]


async def hinting_async(request: Request) -> Response:
    await request.send_early_hints(LINKS)
    return PlainTextResponse("answer")


def hinting(request: SyncRequest) -> Response:
    request.send_early_hints(LINKS)
    return PlainTextResponse("answer")


APP = DualRoute(
    [
        Route("/async", hinting_async, methods=["GET", "POST"]),
        Route("/def", hinting, methods=["GET", "POST"]),
        Route("/inline", hinting, sync_to_thread=False),
    ]
)
PATHS = pytest.mark.parametrize("path", ["/async", "/def"])


@PATHS
def test_a_server_that_has_none_gets_none(serve: Serve, path: str) -> None:
    answer = serve(APP).get(path)
    assert (answer.status_code, answer.text) == (200, "answer")


@PATHS
@pytest.mark.protocol("wsgi")
def test_a_wsgi_server_s_own_callable_sends_them(serve: Serve, path: str) -> None:
    sent: list[Any] = []
    client = serve(APP, extra={"wsgi.early_hints": sent.append})
    for _ in range(2):
        assert client.get(path).text == "answer"
        assert sent.pop() == [("link", link) for link in LINKS]


@PATHS
@pytest.mark.protocol("wsgi")
def test_links_come_one_by_one_as_well(serve: Serve, path: str) -> None:
    async def one_by_one_async(request: Request) -> Response:
        await request.send_early_hints(*LINKS)
        await request.send_early_hints(LINKS[0])
        return PlainTextResponse("")

    def one_by_one(request: SyncRequest) -> Response:
        request.send_early_hints(*LINKS)
        request.send_early_hints(LINKS[0])
        return PlainTextResponse("")

    sent: list[Any] = []
    app = DualRoute([Route("/async", one_by_one_async), Route("/def", one_by_one)])
    assert serve(app, extra={"wsgi.early_hints": sent.append}).get(path).status_code == 200
    assert sent == [[("link", link) for link in LINKS], [("link", LINKS[0])]]


@PATHS
@pytest.mark.protocol("wsgi")
def test_it_is_called_in_the_server_s_thread_and_a_client_that_left_is_no_error(serve: Serve, path: str) -> None:
    import threading

    threads: list[int] = []

    def send(headers: Any) -> None:
        threads.append(threading.get_ident())
        raise BrokenPipeError

    assert serve(APP, extra={"wsgi.early_hints": send}).post(path, content=b"x").text == "answer"
    assert threads == [threading.get_ident()]


@pytest.mark.protocol("asgi")
@pytest.mark.parametrize("path", ["/async", "/def", "/inline"])
def test_an_asgi_server_gets_an_event(protocol: str, path: str, event_loop_thread: Any) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "2",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [],
        "extensions": {"http.response.early_hint": {}},
    }
    event_loop_thread.run(APP(scope, receive, send))
    if path != "/inline":  # it runs on the loop, and can't wait for that
        hint = sent.pop(0)
        assert hint == {"type": "http.response.early_hint", "links": [link.encode() for link in LINKS]}
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


@pytest.mark.parametrize("links", [["</a>\r\nx: y"], ["</a>\0"], [7], ["\u20ac"]])
@pytest.mark.parametrize("path", ["/async", "/def"])
def test_what_is_no_link_is_refused_with_every_server(serve: Serve, links: Any, path: str) -> None:
    refused: list[Exception] = []

    async def handler_async(request: Request) -> Response:
        with pytest.raises((TypeError, ValueError)) as caught:
            await request.send_early_hints(links)
        refused.append(caught.value)
        return PlainTextResponse("")

    def handler(request: SyncRequest) -> Response:
        with pytest.raises((TypeError, ValueError)) as caught:
            request.send_early_hints(links)
        refused.append(caught.value)
        return PlainTextResponse("")

    assert serve(DualRoute([Route("/async", handler_async), Route("/def", handler)])).get(path).status_code == 200
    assert len(refused) == 1
