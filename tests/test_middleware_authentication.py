"""AuthenticationMiddleware, its backends of both colours, and `requires`."""

from __future__ import annotations

import base64
import binascii
import threading
from typing import Any

import pytest

from dualroute import (
    HTTPEndpoint,
    JSONResponse,
    PlainTextResponse,
    Request,
    Response,
    Route,
    SyncRequest,
    WebSocket,
    WebSocketEndpoint,
    WebSocketRoute,
)
from dualroute.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    SimpleUser,
    UnauthenticatedUser,
    requires,
)
from dualroute.middleware.authentication import AuthenticationMiddleware
from tests.conftest import Serve
from tests.middleware_helper import accepted, denied, handshake, site
from tests.websocket_helper import closed_with, converse

Found = tuple[AuthCredentials, BaseUser] | None


def find(conn: Any) -> Found:
    header = conn.headers.get("authorization")
    if header is None:
        return None
    try:
        name, _, password = base64.b64decode(header.partition(" ")[2]).decode().partition(":")
    except (ValueError, binascii.Error):
        raise AuthenticationError("Invalid basic auth credentials") from None
    return AuthCredentials(["authenticated", *([password] if password else [])]), SimpleUser(name)


class Basic(AuthenticationBackend):
    thread: str = ""

    def authenticate(self, conn: Any) -> Found:
        assert isinstance(conn, SyncRequest | WebSocket)
        type(self).thread = threading.current_thread().name
        return find(conn)


class AsyncBasic(AuthenticationBackend):
    async def authenticate(self, conn: Any) -> Found:
        assert isinstance(conn, Request | WebSocket)
        return find(conn)


class HandsOn(AuthenticationBackend):
    def authenticate(self, conn: Any) -> Any:
        return AsyncBasic().authenticate(conn.in_colour(True))


BACKENDS = pytest.mark.parametrize("backend", [Basic, AsyncBasic, HandsOn])


async def who(request: Request) -> Response:
    user = request.user
    return JSONResponse([user.is_authenticated, user.display_name, user.identity, request.auth.scopes])


@requires("authenticated")
def dashboard(request: SyncRequest) -> Response:
    return PlainTextResponse(request.user.display_name)


@requires("authenticated")
async def dashboard_async(request: Request) -> Response:
    return PlainTextResponse(request.user.display_name)


@requires(["authenticated", "admin"], status_code=404)
def admin(request: SyncRequest, name: str) -> Response:
    return PlainTextResponse(f"{name} {request.user.display_name}")


@requires("authenticated", redirect="who")
async def redirected(request: Request) -> Response:
    return PlainTextResponse("inside")


@requires("authenticated", redirect="who")
def redirected_def(request: SyncRequest) -> Response:
    return PlainTextResponse("inside")


class Dashboard(HTTPEndpoint):
    @requires("authenticated")
    def get(self, request: SyncRequest) -> Response:
        return PlainTextResponse(request.user.display_name)

    @requires("admin")
    async def post(self, request: Request) -> Response:
        return PlainTextResponse(request.user.display_name)


@requires("authenticated")
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.user.display_name)
    await websocket.close()


class Chat(WebSocketEndpoint):
    encoding = "text"

    @requires("authenticated", status_code=401)
    async def on_connect(self, websocket: WebSocket, **kwargs: Any) -> None:
        await websocket.accept()

    @requires("admin")
    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        raise AssertionError


def app(*args: Any, **options: Any) -> Any:
    return site(
        [AuthenticationMiddleware(*args, **options)],
        Route("/who", who),
        Route("/dashboard", dashboard),
        Route("/dashboard-async", dashboard_async),
        Route("/admin/{name}", admin),
        Route("/redirected", redirected),
        Route("/redirected-def", redirected_def),
        Route("/class", Dashboard),
        WebSocketRoute("/chat", chat),
        WebSocketRoute("/chat-class", Chat),
    )


def basic(name: str, password: str = "") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@BACKENDS
def test_who_the_client_is(serve: Serve, backend: Any) -> None:
    client = serve(app(backend()))
    assert client.get("/who").json() == [False, "", "", []]
    assert client.get("/who", headers=basic("tom")).json() == [True, "tom", "tom", ["authenticated"]]


@BACKENDS
@pytest.mark.parametrize("path", ["/dashboard", "/dashboard-async", "/class"])
def test_requires(serve: Serve, backend: Any, path: str) -> None:
    client = serve(app(backend()))
    answer = client.get(path)
    assert (answer.status_code, answer.text) == (403, "Forbidden")
    assert client.get(path, headers=basic("tom")).text == "tom"


def test_requires_several_scopes_with_a_status_and_passes_path_parameters(serve: Serve) -> None:
    client = serve(app(Basic()))
    assert client.get("/admin/x", headers=basic("tom")).status_code == 404
    assert client.get("/admin/x", headers=basic("tom", "admin")).text == "x tom"
    assert client.post("/class", headers=basic("tom")).status_code == 403
    assert client.post("/class", headers=basic("tom", "admin")).text == "tom"


@pytest.mark.parametrize("path", ["/redirected", "/redirected-def"])
def test_requires_may_redirect(serve: Serve, path: str) -> None:
    client = serve(app(Basic()))
    answer = client.get(f"{path}?a=b&c=d")
    assert answer.status_code == 303
    wanted = f"http%3A%2F%2Ftestserver{path.replace('/', '%2F')}%3Fa%3Db%26c%3Dd"
    assert answer.headers["location"] == f"http://testserver/who?next={wanted}"
    assert client.get(path, headers=basic("tom")).text == "inside"


@BACKENDS
def test_an_error_of_the_backend_is_answered(serve: Serve, backend: Any) -> None:
    answer = serve(app(backend())).get("/", headers={"authorization": "Basic foobarbaz"})
    assert (answer.status_code, answer.text) == (400, "Invalid basic auth credentials")


@pytest.mark.parametrize("colour", ["def", "async def"])
def test_by_a_handler_of_one_s_own(serve: Serve, colour: str) -> None:
    def on_error(conn: Any, error: AuthenticationError) -> Response:
        assert conn.is_websocket or isinstance(conn, SyncRequest)
        return JSONResponse({"error": str(error)}, status_code=401)

    async def on_error_async(conn: Any, error: AuthenticationError) -> Response:
        assert conn.is_websocket or isinstance(conn, Request)
        return JSONResponse({"error": str(error)}, status_code=401)

    inner = app(AsyncBasic(), on_error=on_error if colour == "def" else on_error_async)
    answer = serve(inner).get("/", headers={"authorization": "Basic foobarbaz"})
    assert (answer.status_code, answer.json()) == (401, {"error": "Invalid basic auth credentials"})
    assert denied(handshake(inner, headers={"authorization": "Basic foobarbaz"}))[0] == 401


@pytest.mark.protocol("asgi")
def test_a_def_backend_that_never_blocks_needs_no_thread(serve: Serve) -> None:
    serve(app(Basic())).get("/who")
    assert Basic.thread == "dualroute-handler"
    serve(app(Basic(), sync_to_thread=False)).get("/who")
    assert Basic.thread != "dualroute-handler"


@BACKENDS
def test_websockets(backend: Any) -> None:
    inner = app(backend())
    assert accepted(handshake(inner, "/chat", headers=basic("tom")))
    assert denied(handshake(inner, "/chat"))[0] == 403
    assert handshake(inner, "/chat", extensions={}) == {"type": "websocket.close", "code": 1000, "reason": ""}
    assert denied(handshake(inner, "/chat-class"))[0] == 401
    headers = [(b"host", b"testserver"), (b"authorization", basic("tom")["authorization"].encode())]
    sent = converse(inner, "/chat-class", {"type": "websocket.receive", "text": "a"}, headers=headers)
    assert closed_with(sent) == 1008


def test_a_mounted_starlette_app_has_user_and_auth(serve: Serve) -> None:
    from starlette.applications import Starlette
    from starlette.authentication import requires as their_requires
    from starlette.responses import PlainTextResponse as Answer

    from dualroute import DualRoute, Mount

    inner = Starlette()

    @their_requires("authenticated")
    async def name(request: Any) -> Any:
        return Answer(request.user.display_name)

    inner.add_route("/name", name)
    client = serve(DualRoute([Mount("/in", app=inner)], middleware=[AuthenticationMiddleware(Basic())]))
    assert client.get("/in/name").status_code == 403
    assert client.get("/in/name", headers=basic("tom")).text == "tom"


@pytest.mark.parametrize("path", ["/known", "/known-async"])
@pytest.mark.protocol("asgi")  # a WSGI host has no scope
def test_who_a_host_has_found_is_known_inside(serve: Serve, path: str) -> None:
    def known(request: SyncRequest) -> Response:
        return PlainTextResponse(f"{request.user.display_name} {request.auth.scopes}")

    async def known_async(request: Request) -> Response:
        return PlainTextResponse(f"{request.user.display_name} {request.auth.scopes}")

    inside = site([], Route("/known", known), Route("/known-async", known_async))

    async def host(scope: Any, receive: Any, send: Any) -> None:
        found = {"user": SimpleUser("tom"), "auth": AuthCredentials(["read"])}
        await inside({**scope, **found}, receive, send)

    assert serve(host).get(path).text == "tom ['read']"


def test_without_the_middleware_it_says_so(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    client = serve(site([], Route("/who", who), Route("/dashboard", dashboard)))
    assert client.get("/who").status_code == client.get("/dashboard").status_code == 500
    assert "there is no user here: AuthenticationMiddleware has to be" in caplog.text
    assert "there is no auth here" in caplog.text


def test_what_can_be_no_backend_is_refused() -> None:
    for backend in (Basic, object(), None):
        with pytest.raises(TypeError, match="an object with a method `authenticate`"):
            AuthenticationMiddleware(backend)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on_error is a function"):
        AuthenticationMiddleware(Basic(), "x")  # type: ignore[arg-type]


def test_what_requires_can_not_go_on_is_refused() -> None:
    def nothing(a: Any) -> None: ...

    with pytest.raises(TypeError, match=r"nothing\(a\) has none"):
        requires("a")(nothing)
    with pytest.raises(TypeError, match="goes on functions and methods"):
        requires("a")(Dashboard)


def test_the_bases_leave_everything_open() -> None:
    user = BaseUser()
    for name in ("is_authenticated", "display_name", "identity"):
        with pytest.raises(NotImplementedError):
            getattr(user, name)
    with pytest.raises(NotImplementedError):
        AuthenticationBackend().authenticate(None)
    assert not UnauthenticatedUser().is_authenticated
    assert AuthCredentials().scopes == []
