"""TestClient beside Starlette's: one app, written once, and what each client makes of it.

What differs on purpose is listed in DIFFERENCES.
"""

from __future__ import annotations

import asyncio
import logging
import types
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

import httpx
import pytest
import starlette.applications
import starlette.background
import starlette.exceptions
import starlette.responses
import starlette.routing

import dualroute
from dualroute.testclient import TestClient

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would rather have another client library
    import starlette.testclient

Protocol = Literal["asgi", "wsgi"]


class Boom(Exception):
    pass


STARLETTE = types.SimpleNamespace(
    App=starlette.applications.Starlette,
    BackgroundTask=starlette.background.BackgroundTask,
    HTTPException=starlette.exceptions.HTTPException,
    Mount=starlette.routing.Mount,
    Route=starlette.routing.Route,
    WebSocketRoute=starlette.routing.WebSocketRoute,
    JSONResponse=starlette.responses.JSONResponse,
    PlainTextResponse=starlette.responses.PlainTextResponse,
    RedirectResponse=starlette.responses.RedirectResponse,
    Response=starlette.responses.Response,
    StreamingResponse=starlette.responses.StreamingResponse,
)
OURS = types.SimpleNamespace(App=dualroute.DualRoute, **{name: getattr(dualroute, name) for name in dualroute.__all__})


def make(kit: Any) -> Any:
    """Return the app, made of what a framework has."""

    async def home(request: Any) -> Any:
        return kit.PlainTextResponse("home")

    async def show(request: Any) -> Any:
        return kit.JSONResponse(
            {
                "method": request.method,
                "path": request.url.path,
                "query": dict(request.query_params),
                "client": list(request.client),
                "agent": request.headers["user-agent"],
                "host": request.headers["host"],
                "x": request.headers.get("x-one"),
                "cookies": dict(request.cookies),
                "root": request.scope["root_path"],
                "scheme": request.scope["scheme"],
            }
        )

    async def upload(request: Any) -> Any:
        return kit.PlainTextResponse(str([piece async for piece in request.stream() if piece]))

    async def whole(request: Any) -> Any:
        return kit.Response(await request.body(), media_type="application/octet-stream")

    async def cookie(request: Any) -> Any:
        response = kit.RedirectResponse("/show", status_code=303)
        response.set_cookie("a", "1")
        return response

    async def forget(request: Any) -> Any:
        response = kit.PlainTextResponse("forgotten")
        response.delete_cookie("a")
        return response

    async def boom(request: Any) -> Any:
        raise Boom("boom")

    async def failing() -> AsyncIterator[bytes]:
        yield b"piece"
        raise Boom("late")

    async def late(request: Any) -> Any:
        return kit.StreamingResponse(failing(), media_type="text/plain")

    async def counting() -> AsyncIterator[str]:
        for number in range(5):
            yield f"{number} "

    async def stream(request: Any) -> Any:
        return kit.StreamingResponse(counting(), media_type="text/plain")

    async def unavailable(request: Any) -> Any:
        raise kit.HTTPException(503, "later")

    def fail() -> None:
        raise Boom("after")

    async def background(request: Any) -> Any:
        return kit.PlainTextResponse("sent", background=kit.BackgroundTask(fail))

    async def empty(request: Any) -> Any:
        return kit.Response(status_code=204)

    async def echo(websocket: Any) -> None:
        await websocket.accept(
            subprotocol=websocket.scope["subprotocols"][0] if websocket.scope["subprotocols"] else None
        )
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async def closes(websocket: Any) -> None:
        await websocket.accept()
        await websocket.close(4000, "enough")

    async def refuses(websocket: Any) -> None:
        await websocket.close(4001, "no")

    async def denies(websocket: Any) -> None:
        await websocket.send_denial_response(kit.PlainTextResponse("who?", status_code=401))

    async def throws(websocket: Any) -> None:
        await websocket.accept()
        raise Boom("in a websocket")

    return kit.App(
        routes=[
            kit.Route("/", home),
            kit.Route("/show", show, methods=["GET", "PUT"]),
            kit.Route("/upload", upload, methods=["POST"]),
            kit.Route("/whole", whole, methods=["POST"]),
            kit.Route("/cookie", cookie),
            kit.Route("/forget", forget),
            kit.Route("/boom", boom),
            kit.Route("/late", late),
            kit.Route("/stream", stream),
            kit.Route("/unavailable", unavailable),
            kit.Route("/background", background),
            kit.Route("/empty", empty),
            kit.Route("/slash/", home),
            kit.Mount("/mounted", routes=[kit.Route("/show", show)]),
            kit.WebSocketRoute("/echo", echo),
            kit.WebSocketRoute("/closes", closes),
            kit.WebSocketRoute("/refuses", refuses),
            kit.WebSocketRoute("/denies", denies),
            kit.WebSocketRoute("/throws", throws),
        ]
    )


def told(response: httpx.Response) -> tuple[Any, ...]:
    return response.status_code, response.text, [item.status_code for item in response.history], response.url.path


def outcome(case: Callable[[Any], Any], client: Any) -> Any:
    """Return what a case returns, or what it raises in plain values."""
    try:
        return case(client)
    except Boom as error:
        return "Boom", str(error)
    except httpx.HTTPError as error:
        return type(error).__name__
    except Exception as error:
        names = {cls.__name__ for cls in type(error).__mro__} & {"WebSocketDisconnect", "WebSocketDenialResponse"}
        if not names:
            raise
        return sorted(names), getattr(error, "status_code", None) or vars(error)


def pieces(client: Any) -> Any:
    with client.stream("GET", "/stream") as response:
        return [response.status_code, *response.iter_raw()]


def generated(client: Any) -> Any:
    def upload() -> Iterator[bytes]:
        yield b"one"
        yield b"two"

    return told(client.post("/whole", content=upload()))


def left(client: Any) -> Any:
    with client.stream("GET", "/stream") as response:
        return next(response.iter_raw())


def cookies(client: Any) -> Any:
    seen = [told(client.get("/cookie")), dict(client.cookies)]
    client.get("/forget")
    return [*seen, dict(client.cookies), client.get("/show").json()["cookies"]]


def session(path: str, *messages: str, subprotocols: list[str] | None = None) -> Callable[[Any], Any]:
    def case(client: Any) -> Any:
        answers: list[Any] = []
        with client.websocket_connect(path, subprotocols) as session:
            answers.append(session.accepted_subprotocol)
            for message in messages:
                session.send_text(message)
                answers.append(session.receive_text())
        return answers

    return case


def closing(client: Any) -> Any:
    with client.websocket_connect("/closes") as session:
        return dict(session.receive())


def within_a_loop(client: Any) -> Any:
    async def main() -> Any:
        return told(client.get("/"))

    return asyncio.run(main())


CASES: dict[str, Callable[[Any], Any]] = {
    "get": lambda client: told(client.get("/")),
    "head": lambda client: told(client.head("/")),
    "not found": lambda client: told(client.get("/nowhere")),
    "wrong method": lambda client: client.delete("/show").status_code,
    "what is sent": lambda client: client.put("/show?a=1&b=ü", headers={"X-One": "1"}).json(),
    "params": lambda client: client.get("/show", params={"a": "x y"}).json(),
    "mounted": lambda client: client.get("/mounted/show").json()["method"],
    "https": lambda client: client.get("https://example.org/show").json(),
    "host": lambda client: client.get("/show", headers={"host": "other"}).json()["host"],
    "a body": lambda client: told(client.post("/whole", content=b"body")),
    "a body of json": lambda client: told(client.post("/whole", json={"a": 1})),
    "a form": lambda client: told(client.post("/whole", data={"a": "1"})),
    "a generator": generated,
    "an empty body": lambda client: told(client.post("/upload")),
    "no content": lambda client: told(client.get("/empty")),
    "cookies": cookies,
    "a redirect": lambda client: told(client.get("/slash")),
    "a redirect not followed": lambda client: told(client.get("/slash", follow_redirects=False)),
    "a stream": pieces,
    "a stream that is left": left,
    "an exception": lambda client: told(client.get("/boom")),
    "an HTTPException": lambda client: told(client.get("/unavailable")),
    "an exception in a stream": lambda client: told(client.get("/late")),
    "an exception in the background": lambda client: told(client.get("/background")),
    "an event loop": within_a_loop,
    "a websocket": session("/echo", "a", "b"),
    "a subprotocol": session("/echo", "a", subprotocols=["v1", "v2"]),
    "a websocket that is closed": session("/closes", "a"),
    "the event of that": closing,
    "a websocket that is refused": session("/refuses"),
    "a websocket that is denied": session("/denies"),
    "a websocket that is none": session("/nowhere"),
    "an exception in a websocket": session("/throws", "a"),
}

WEBSOCKETS = {name for name in CASES if "websocket" in name or name in ("a subprotocol", "the event of that")}

# Each with (ours, theirs), and why.
DIFFERENCES: dict[tuple[str, bool], tuple[Any, Any]] = {
    # A real server cuts the connection, and a client can tell; Starlette's shows a response that looks complete.
    ("an exception in a stream", False): ("RemoteProtocolError", (200, "piece", [], "/late")),
    # A path that is none is answered like any other, where there is the extension for it.
    **{
        ("a websocket that is none", raises): (
            (["WebSocketDenialResponse", "WebSocketDisconnect"], 404),
            (["WebSocketDisconnect"], {"code": 1000, "reason": ""}),
        )
        for raises in (True, False)
    },
    # A server closes with 1011; Starlette's raises although it was told not to.
    ("an exception in a websocket", False): (
        (["WebSocketDisconnect"], {"code": 1011, "reason": ""}),
        ("Boom", "in a websocket"),
    ),
}


@pytest.mark.parametrize("raise_server_exceptions", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_case(name: str, protocol: Protocol, raise_server_exceptions: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    if name in WEBSOCKETS and protocol == "wsgi":
        with pytest.raises(Exception, match=r"501|404"), TestClient(make(OURS), protocol="wsgi") as client:
            CASES[name](client)
        return
    with TestClient(make(OURS), protocol=protocol, raise_server_exceptions=raise_server_exceptions) as client:
        ours = outcome(CASES[name], client)
    with starlette.testclient.TestClient(make(STARLETTE), raise_server_exceptions=raise_server_exceptions) as rival:
        theirs = outcome(CASES[name], rival)
    assert (ours, theirs) == DIFFERENCES.get((name, raise_server_exceptions), (theirs, theirs))
