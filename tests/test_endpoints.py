"""HTTPEndpoint: a class with a method for each verb."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dualroute import (
    DualRoute,
    HTTPEndpoint,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    SyncRequest,
    WebSocketEndpoint,
    WebSocketRoute,
)
from tests.conftest import Serve

# wsgiref.validate warns of methods that it does not know, QUERY among them.
pytestmark = pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")


def exactly(message: str) -> str:
    return f"^{re.escape(message)}$"


def answer(verb: str, request: Any) -> Response:
    return PlainTextResponse(f"{verb} {type(request).__name__}", headers={"verb": verb})


class Mixed(HTTPEndpoint):
    """Every verb, in alternating colours."""

    def get(self, request: SyncRequest) -> Response:
        return answer("get", request)

    async def head(self, request: Request) -> Response:
        return answer("head", request)

    async def post(self, request: Request) -> Response:
        return answer("post", request)

    def put(self, request: SyncRequest) -> Response:
        return answer("put", request)

    async def patch(self, request: Request) -> Response:
        return answer("patch", request)

    def delete(self, request: SyncRequest) -> Response:
        return answer("delete", request)

    async def options(self, request: Request) -> Response:
        return answer("options", request)

    def query(self, request: SyncRequest) -> Response:
        return answer("query", request)

    def helper(self, request: SyncRequest) -> Response:
        raise NotImplementedError


class Reading(HTTPEndpoint):
    def get(self, request: SyncRequest) -> Response:
        return answer("get", request)


class Writing(Reading):
    """Inherits `get`."""

    async def post(self, request: Request) -> Response:
        return answer("post", request)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_its_method_in_its_own_colour(serve: Serve, verb: str) -> None:
    response = serve(DualRoute([Route("/", Mixed)])).request(verb, "/")
    assert (response.status_code, response.headers["verb"]) == (200, verb.lower())
    if verb != "HEAD":
        kind = "SyncRequest" if verb in ("GET", "PUT", "DELETE", "QUERY") else "Request"
        assert response.text == f"{verb.lower()} {kind}"


@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH", "DELETE", "QUERY", "TRACE", "HELPER", "DISPATCH", "PURGE"])
def test_verbs_without_a_method_are_405(serve: Serve, verb: str) -> None:
    response = serve(DualRoute([Route("/", Reading)])).request(verb, "/")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_helper_methods_are_no_verbs(serve: Serve) -> None:
    response = serve(DualRoute([Route("/", Mixed)])).request("HELPER", "/")
    assert response.status_code == 405
    assert response.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY"


def test_head_is_answered_by_get_where_there_is_no_head(serve: Serve) -> None:
    response = serve(DualRoute([Route("/", Reading)])).head("/")
    assert (response.headers["verb"], response.content) == ("get", b"")
    assert response.headers["content-length"] == str(len("get SyncRequest"))


def test_methods_are_inherited(serve: Serve) -> None:
    client = serve(DualRoute([Route("/", Writing)]))
    assert (client.get("/").text, client.post("/").text) == ("get SyncRequest", "post Request")


def test_a_method_set_to_none_takes_an_inherited_verb_away(serve: Serve) -> None:
    class WriteOnly(Writing):
        get = None  # type: ignore[assignment]  # the way to say it

    client = serve(DualRoute([Route("/", WriteOnly)]))
    assert client.post("/").status_code == 200
    assert client.get("/").headers["allow"] == "OPTIONS, POST"


def test_a_query_request_brings_a_body(serve: Serve) -> None:
    class Search(HTTPEndpoint):
        def query(self, request: SyncRequest) -> Response:
            return PlainTextResponse(request.text())

    assert serve(DualRoute([Route("/", Search)])).request("QUERY", "/", content=b"find").text == "find"


def test_each_request_gets_an_instance_of_its_own(serve: Serve) -> None:
    instances: list[Any] = []

    class Remembering(HTTPEndpoint):
        count = 0

        def get(self, request: SyncRequest) -> Response:
            instances.append(self)
            self.count += 1
            return PlainTextResponse(str(self.count))

    client = serve(DualRoute([Route("/", Remembering)]))
    assert [client.get("/").text for _ in range(3)] == ["1", "1", "1"]
    assert len({id(instance) for instance in instances}) == 3


def test_an_instance_knows_its_scope(serve: Serve) -> None:
    class Scoped(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            assert self.scope is request.scope
            return PlainTextResponse(f"{self.scope['type']} {self.scope['method']} {self.scope['path']}")

    assert serve(DualRoute([Route("/x", Scoped)])).get("/x").text == "http GET /x"


def test_methods_may_differ_in_what_they_take(serve: Serve) -> None:
    class User(HTTPEndpoint):
        async def get(self, request: Request, username: str) -> Response:
            return PlainTextResponse(f"Hello, {username}")

        def delete(self, request: SyncRequest) -> Response:
            return PlainTextResponse(f"Bye, {request.path_params['username']}")

        def put(self, request: SyncRequest, **params: Any) -> Response:
            return PlainTextResponse(repr(params))

    client = serve(DualRoute([Route("/{username}", User)]))
    assert client.get("/ann").text == "Hello, ann"
    assert client.delete("/ann").text == "Bye, ann"
    assert client.put("/ann").text == "{'username': 'ann'}"


def test_methods_restricts_a_class_to_some_of_its_verbs(serve: Serve) -> None:
    client = serve(DualRoute([Route("/", Mixed, methods=["get", "POST"])]))
    assert (client.get("/").text, client.post("/").text) == ("get SyncRequest", "post Request")
    assert client.head("/").headers["verb"] == "get"
    assert client.put("/").headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_a_class_may_be_routed_twice_with_different_verbs(serve: Serve) -> None:
    client = serve(DualRoute([Route("/read", Mixed, methods=["GET"]), Route("/write", Mixed, methods=["PUT"])]))
    assert client.get("/read").status_code == 200
    assert client.put("/read").status_code == 405
    assert client.put("/write").status_code == 200


class Empty(HTTPEndpoint):
    def helper(self, request: SyncRequest) -> Response:
        raise NotImplementedError


class WantsMore(HTTPEndpoint):
    def get(self, request: SyncRequest, id: int) -> Response:
        raise NotImplementedError


class WantsNothing(HTTPEndpoint):
    def get(self) -> Response:
        raise NotImplementedError


class Generating(HTTPEndpoint):
    def get(self, request: SyncRequest) -> Iterator[str]:
        yield "x"


def generating(request: SyncRequest) -> Iterator[str]:
    yield "x"


async def async_generating(request: Request) -> AsyncIterator[str]:
    yield "x"


HERE = __name__


@pytest.mark.parametrize(
    ("endpoint", "methods", "message"),
    [
        (Reading(), None, f"Route('/'): name the class {HERE}.Reading itself, not an instance of it"),
        (
            Empty,
            None,
            (
                f"Route('/'): {HERE}.Empty has no method for any HTTP verb "
                "(get, head, post, put, patch, delete, options, query)"
            ),
        ),
        (HTTPEndpoint, None, None),
        (Reading, ["POST", "GET", "PUT"], f"Route('/'): {HERE}.Reading has no method for POST, PUT"),
        (
            WantsMore,
            None,
            (
                f"Route('/'): {HERE}.WantsMore.get(self, request: 'SyncRequest', id: 'int') -> 'Response' wants 'id', "
                "which the path does not have (it has no parameters); the parameters of an enclosing Mount or Host "
                "are in request.path_params"
            ),
        ),
        (
            WantsNothing,
            None,
            f"Route('/'): {HERE}.WantsNothing.get(self) -> 'Response' must take the connection as its first argument",
        ),
        *(
            (
                endpoint,
                None,
                f"Route('/'): {HERE}.{name} is a generator function; return StreamingResponse(generator) instead",
            )
            for endpoint, name in (
                (Generating, "Generating.get"),
                (generating, "generating"),
                (async_generating, "async_generating"),
            )
        ),
        (WebSocketEndpoint, None, None),
    ],
)
def test_mistakes_in_an_endpoint_are_errors_when_the_route_is_made(
    endpoint: Any, methods: list[str] | None, message: str | None
) -> None:
    with pytest.raises(TypeError, match=exactly(message) if message else r"^Route\('/'\): "):
        Route("/", endpoint, methods=methods)


class Sockets(WebSocketEndpoint):
    pass


class OddEncoding(WebSocketEndpoint):
    encoding = "xml"


class GeneratingReceive(WebSocketEndpoint):
    def on_receive(self, websocket: Any, data: Any) -> Any:
        yield data


class OneProtocol(WebSocketEndpoint):
    subprotocols = "chat"


def plain_function(websocket: Any) -> None:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        (Sockets(), f"WebSocketRoute('/'): name the class {HERE}.Sockets itself, not an instance of it"),
        (
            OddEncoding,
            f"WebSocketRoute('/'): the encoding of {HERE}.OddEncoding is None, 'text', 'bytes' or 'json', not 'xml'",
        ),
        (
            GeneratingReceive,
            f"WebSocketRoute('/'): {HERE}.GeneratingReceive.on_receive is a generator; a websocket method returns none",
        ),
        (
            OneProtocol,
            f"WebSocketRoute('/'): the subprotocols of {HERE}.OneProtocol are a list of names, not the string 'chat'",
        ),
        (plain_function, f"WebSocketRoute('/'): the websocket endpoint {HERE}.plain_function must be async def"),
        (Reading, f"WebSocketRoute('/'): {HERE}.Reading is a class, but no WebSocketEndpoint"),
        (None, "WebSocketRoute('/'): an endpoint is a function or a WebSocketEndpoint class, not None"),
    ],
)
def test_mistakes_in_a_websocket_endpoint_likewise(endpoint: Any, message: str) -> None:
    with pytest.raises(TypeError, match=exactly(message)):
        WebSocketRoute("/", endpoint)


def test_a_class_is_an_app_that_can_be_mounted_and_served(serve: Serve) -> None:
    assert serve(Mixed).get("/anywhere").text == "get SyncRequest"
    assert serve(DualRoute([Mount("/m", Mixed)])).post("/m/x").text == "post Request"


def test_a_subclass_is_an_app_of_its_own(serve: Serve) -> None:
    assert serve(Reading).post("/").status_code == 405
    assert serve(Writing).post("/").status_code == 200
    assert serve(Reading).post("/").status_code == 405


def test_a_class_called_with_neither_protocols_arguments_says_what_servers_pass() -> None:
    with pytest.raises(TypeError, match=r"Reading was called with 1 argument \(int\); a server calls it with"):
        Reading(1)
