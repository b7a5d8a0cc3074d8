"""SessionMiddleware: a signed cookie, written when there is a reason to."""

from __future__ import annotations

import json
import logging
from base64 import b64decode, b64encode
from typing import Any

import itsdangerous
import pytest

from dualroute import JSONResponse, Request, Response, Route, StreamingResponse, SyncRequest, WebSocket, WebSocketRoute
from dualroute.connection import HTTPConnection
from dualroute.datastructures import Secret
from dualroute.middleware.sessions import Session, SessionMiddleware
from tests.conftest import Serve
from tests.middleware_helper import handshake, site
from tests.websocket_helper import converse, messages

KEY = "a secret key"


async def view(request: Request) -> Response:
    return JSONResponse(request.session)


def update(request: SyncRequest) -> Response:
    request.session.update(request.json())
    return JSONResponse(request.session)


async def clear(request: Request) -> Response:
    request.session.clear()
    return JSONResponse(request.session)


def deep(request: SyncRequest) -> Response:
    request.session["list"].append(1)
    return JSONResponse(request.session)


def stream(request: SyncRequest) -> Response:
    request.session["streamed"] = True
    return StreamingResponse(iter([b"a", b"b"]))


def unserializable(request: SyncRequest) -> Response:
    request.session["set"] = {1}
    return JSONResponse({})


def fails(request: SyncRequest) -> Response:
    request.session["a"] = 1
    raise LookupError


ROUTES: dict[str, Any] = {
    "/view": (view, ["GET"]),
    "/update": (update, ["POST"]),
    "/clear": (clear, ["POST"]),
    "/deep": (deep, ["POST"]),
    "/streamed": (stream, ["GET"]),
    "/unserializable": (unserializable, ["GET"]),
    "/fails": (fails, ["GET"]),
}


def app(secret_key: Any = KEY, **options: Any) -> Any:
    routes = [Route(path, endpoint, methods=methods) for path, (endpoint, methods) in ROUTES.items()]
    return site([SessionMiddleware(secret_key, **options)], *routes)


def cookie_of(values: Any, key: str = KEY) -> str:
    return itsdangerous.TimestampSigner(key).sign(b64encode(json.dumps(values).encode())).decode()


def forged(cookie: str) -> str:
    """Return a cookie with another signature."""
    # Not another last character, of which some bits do not count.
    return f"{cookie[:-10]}{'A' if cookie[-10] != 'A' else 'B'}{cookie[-9:]}"


@pytest.mark.parametrize("secret_key", [KEY, Secret(KEY), [Secret(KEY), "older"]], ids=["text", "secret", "several"])
def test_a_session(serve: Serve, secret_key: Any) -> None:
    client = serve(app(secret_key))
    answer = client.get("/view")
    assert (answer.json(), answer.headers["vary"]) == ({}, "Cookie")
    assert "set-cookie" not in answer.headers
    answer = client.post("/update", json={"some": "data", "umlaut": "ä"})
    assert answer.json() == {"some": "data", "umlaut": "ä"}
    assert "set-cookie" in answer.headers
    answer = client.get("/view")
    assert answer.json() == {"some": "data", "umlaut": "ä"}
    assert "set-cookie" not in answer.headers
    answer = client.post("/clear")
    assert (answer.json(), dict(client.cookies)) == ({}, {})
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert client.get("/view").json() == {}
    assert "set-cookie" not in client.post("/clear").headers


def test_the_cookie_and_its_attributes(serve: Serve) -> None:
    answer = serve(app()).post("/update", json={"a": 1})
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert sorted(attributes) == ["HttpOnly", "Max-Age=1209600", "Path=/", "SameSite=Lax"]
    data = itsdangerous.TimestampSigner(KEY).unsign(name.removeprefix("session="))
    assert json.loads(b64decode(data)) == {"a": 1}
    options: dict[str, Any] = {"session_cookie": "s", "max_age": None, "path": "/p", "same_site": "none"}
    client = serve(app(KEY, **options, https_only=True, domain="example.org"))
    name, *attributes = client.post("/update", json={"a": 1}).headers["set-cookie"].split("; ")
    assert name.startswith("s=")
    assert sorted(attributes) == ["Domain=example.org", "HttpOnly", "Path=/p", "SameSite=None", "Secure"]
    answer = serve(app(partitioned=True)).post("/update", json={"a": 1})
    assert {"Secure", "Partitioned"} < set(answer.headers["set-cookie"].split("; "))


def test_deleting_names_the_same_place(serve: Serve) -> None:
    client = serve(app(domain="example.org", path="/", same_site="strict", https_only=True))
    answer = client.post("/clear", headers={"cookie": f"session={cookie_of({'a': 1})}"})
    attributes = set(answer.headers["set-cookie"].split("; "))
    expires = "Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    assert {"Domain=example.org", "Path=/", "SameSite=Strict", "Secure", "HttpOnly", "Max-Age=0", expires} < attributes


def test_what_nobody_looks_at_changes_nothing(serve: Serve) -> None:
    answer = serve(app()).get("/", headers={"cookie": f"session={cookie_of({'a': 1})}"})
    assert "vary" not in answer.headers
    assert "set-cookie" not in answer.headers


def test_a_change_deep_inside_is_found(serve: Serve) -> None:
    client = serve(app())
    client.post("/update", json={"list": []})
    client.post("/deep")
    client.post("/deep")
    assert client.get("/view").json() == {"list": [1, 1]}


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "nonsense",
        "a.b.c",
        "\xe4",
        cookie_of({"admin": True}, "another key"),
        forged(cookie_of({"admin": True})),
        cookie_of(["a list"]),
        itsdangerous.TimestampSigner(KEY).sign(b"not base64!").decode(),
        itsdangerous.TimestampSigner(KEY).sign(b64encode(b"[" * 100_000)).decode(),
        itsdangerous.Signer(KEY).sign(b64encode(b'{"admin": true}')).decode(),
    ],
    ids=range(10),
)
def test_what_is_not_signed_by_us_is_no_session(serve: Serve, cookie: str) -> None:
    answer = serve(app()).get("/view", headers=[(b"cookie", f"session={cookie}".encode("latin-1"))])
    assert (answer.status_code, answer.json()) == (200, {})


def at(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Let the clock of the signatures stand at `seconds`."""
    monkeypatch.setattr(itsdangerous.TimestampSigner, "get_timestamp", lambda self: seconds)


def test_a_session_ends_and_one_that_is_used_goes_on(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(app(max_age=100))
    at(monkeypatch, 1_000_000)
    client.post("/update", json={"a": 1})
    at(monkeypatch, 1_000_050)
    assert "set-cookie" not in client.get("/view").headers
    at(monkeypatch, 1_000_060)
    assert "set-cookie" not in client.get("/").headers
    assert "set-cookie" in client.get("/view").headers
    at(monkeypatch, 1_000_155)
    assert client.get("/view").json() == {"a": 1}
    at(monkeypatch, 1_000_300)
    assert client.get("/view").json() == {}


def test_keys_are_changed_without_a_session_lost(serve: Serve) -> None:
    cookie = f"session={cookie_of({'a': 1}, 'old')}"
    answer = serve(app(["new", "old"])).get("/view", headers={"cookie": cookie})
    assert answer.json() == {"a": 1}
    renewed = answer.headers["set-cookie"].partition(";")[0]
    answer = serve(app("new")).get("/view", headers={"cookie": renewed})
    assert answer.json() == {"a": 1}
    assert serve(app("new")).get("/view", headers={"cookie": cookie}).json() == {}


def test_starlette_reads_the_cookie_and_writes_one_that_is_read(serve: Serve) -> None:
    from starlette.middleware.sessions import SessionMiddleware as Theirs

    signer = Theirs(lambda *args: None, KEY).signer  # type: ignore[arg-type]
    cookie = serve(app()).post("/update", json={"a": 1}).headers["set-cookie"].partition(";")[0]
    assert json.loads(b64decode(signer.unsign(cookie.removeprefix("session="), max_age=10))) == {"a": 1}
    theirs = signer.sign(b64encode(b'{"b": 2}')).decode()
    assert serve(app()).get("/view", headers={"cookie": f"session={theirs}"}).json() == {"b": 2}


def test_a_mounted_asgi_app_finds_it_where_starlette_has_it(serve: Serve) -> None:
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse as Answer

    from dualroute import DualRoute, Mount

    inner = Starlette()

    async def count(request: Any) -> Any:
        request.session["n"] = request.session.get("n", 0) + 1
        return Answer(request.session)

    inner.add_route("/count", count)
    client = serve(DualRoute([Mount("/in", app=inner)], middleware=[SessionMiddleware(KEY)]))
    assert [client.get("/in/count").json() for _ in range(3)] == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_streaming_response_has_the_cookie(serve: Serve) -> None:
    client = serve(app())
    assert client.get("/streamed").text == "ab"
    assert client.get("/view").json() == {"streamed": True}


def test_a_session_that_is_too_large_is_warned_of(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    client = serve(app())
    client.post("/update", json={"a": "x" * 2000})
    assert not [record for record in caplog.records if "cookie" in record.message]
    client.post("/update", json={"a": "x" * 4000})
    (record,) = [record for record in caplog.records if "cookie" in record.message]
    assert record.levelno == logging.WARNING
    assert "'session' has" in record.message


def test_what_json_has_no_form_for_is_an_error(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    assert serve(app()).get("/unserializable").status_code == 500
    assert "request.session holds what JSON has no form for" in caplog.text


def test_after_an_error_nothing_is_saved(serve: Serve) -> None:
    answer = serve(app()).get("/fails")
    assert (answer.status_code, "set-cookie" in answer.headers) == (500, False)


def test_without_the_middleware_there_is_none(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    assert serve(site([], Route("/view", view))).get("/view").status_code == 500
    assert "there is no session here: SessionMiddleware has to be in the middleware" in caplog.text


def test_middleware_and_exception_handlers_see_it_too(serve: Serve) -> None:
    def inner(connection: HTTPConnection) -> Any:
        connection.session["by"] = "middleware"
        response = yield connection
        return response

    async def handle(request: Request, error: Exception) -> Response:
        request.session["handler"] = True
        return JSONResponse(request.session)

    outer = site([SessionMiddleware(KEY), inner], exception_handlers={LookupError: handle})
    answer = serve(outer).get("/fail")
    assert answer.json() == {"by": "middleware", "handler": True}
    assert "set-cookie" in answer.headers


def test_a_websocket_has_the_session_of_its_handshake() -> None:
    async def tell(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(json.dumps(websocket.session))

    inner = site([SessionMiddleware(KEY)], WebSocketRoute("/tell", tell))
    headers = [(b"host", b"testserver"), (b"cookie", f"session={cookie_of({'a': 1})}".encode())]
    assert messages(converse(inner, "/tell", headers=headers)) == ['{"a": 1}']
    assert handshake(inner)["type"] == "websocket.accept"


def test_a_session_knows_whether_it_was_changed() -> None:
    def changed(change: Any, start: dict[str, Any] | None = None) -> bool:
        session = Session(start or {"a": 1})
        assert not session.modified
        change(session)
        assert session.accessed == session.modified
        return session.modified

    assert changed(lambda s: s.__setitem__("b", 1))
    assert changed(lambda s: s.__delitem__("a"))
    assert changed(lambda s: s.pop("a"))
    assert not changed(lambda s: s.pop("b", None))
    assert changed(lambda s: s.popitem())
    assert changed(lambda s: s.setdefault("b", 1))
    assert not changed(lambda s: s.setdefault("a", 2))
    assert changed(lambda s: s.update(b=2))
    assert changed(lambda s: s.__ior__({"b": 2}))
    assert changed(lambda s: s.clear())
    assert not changed(lambda s: s.get("a"))


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (("",), {}, "secret_key is empty"),
        ((Secret(""),), {}, "secret_key is empty"),
        ((None,), {}, "secret_key is empty"),
        (([],), {}, "secret_key is empty"),
        ((["a", ""],), {}, "secret_key is empty"),
        (("a",), {"same_site": "Lax"}, "'lax', 'strict' or 'none', not 'Lax'"),
        (("a",), {"same_site": "none"}, "unless https_only=True"),
        (("a",), {"max_age": 0}, "max_age"),
        (("a",), {"session_cookie": "a b"}, "no cookie name"),
        (("a",), {"path": "/;"}, "path of cookie"),
    ],
)
def test_options_are_checked(args: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SessionMiddleware(*args, **options)


def test_without_itsdangerous_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "itsdangerous", None)
    with pytest.raises(RuntimeError, match=r"pip install 'dualroute\[sessions\]'"):
        SessionMiddleware(KEY)
