"""The source documents' examples, ported by renaming the import and the application class, run as they are written.

Each test holds one code block (of the English page on endpoints and of the Korean page on routing).  What a block
leaves open by ``...`` or takes for granted (`user`, `users`, `request`) is completed here, and nothing else.  The HTTP
ones run on both protocols, the websocket ones on ASGI, which alone has websockets.
"""

# The examples are not annotated, and neither is what surrounds them.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dualroute.applications import DualRoute
from dualroute.convertors import CONVERTOR_TYPES, Convertor, register_url_convertor
from dualroute.endpoints import HTTPEndpoint, WebSocketEndpoint
from dualroute.requests import Request
from dualroute.responses import HTMLResponse, PlainTextResponse
from dualroute.routing import Host, Mount, Route, Router, WebSocketRoute
from dualroute.staticfiles import StaticFiles
from tests.conftest import Serve
from tests.websocket_helper import closed_with, converse, data, messages, text

# What the routing page takes for granted.


async def homepage(request):
    return PlainTextResponse("홈페이지")


async def about(request):
    return PlainTextResponse("소개")


async def user(request):
    return PlainTextResponse(f"user {request.path_params}")


async def users(request):
    return PlainTextResponse(f"users by {request.method}")


async def current_user(request):
    return PlainTextResponse("current user")


@pytest.fixture
def _static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder `static` of the examples."""
    (tmp_path / "static" / "css").mkdir(parents=True)
    (tmp_path / "static" / "css" / "base.css").write_text("the style")
    monkeypatch.chdir(tmp_path)


def url_for(serve: Serve, routes: list, name: str, base_url: str = "http://testserver", **path_params: Any) -> str:
    """Return what ``request.url_for(...)`` gives in a handler of an app with these routes."""

    async def ask(request):
        return PlainTextResponse(str(request.url_for(name, **path_params)))

    return serve(DualRoute(routes=[Route("/ask-for-url", ask), *routes]), base_url=base_url).get("/ask-for-url").text


# The page on endpoints


def test_endpoints_an_httpendpoint_is_an_application(serve: Serve) -> None:
    class App(HTTPEndpoint):
        async def get(self, request):
            return PlainTextResponse(f"Hello, world!")  # noqa: F541  # as written

    client = serve(App)
    assert client.get("/").text == "Hello, world!"
    assert client.post("/").status_code == 405


def test_endpoints_classes_are_routed_by_the_decorator(serve: Serve) -> None:
    app = DualRoute()

    @app.route("/")
    class Homepage(HTTPEndpoint):
        async def get(self, request):
            return PlainTextResponse(f"Hello, world!")  # noqa: F541  # as written

    @app.route("/{username}")
    class User(HTTPEndpoint):
        async def get(self, request, username):
            return PlainTextResponse(f"Hello, {username}")

    client = serve(app)
    assert client.get("/").text == "Hello, world!"
    assert client.get("/tomchristie").text == "Hello, tomchristie"
    response = client.put("/tomchristie")
    assert (response.status_code, response.text) == (405, "Method Not Allowed")


def test_endpoints_classes_are_routed_by_add_route(serve: Serve) -> None:
    class Homepage(HTTPEndpoint):
        async def get(self, request):
            return PlainTextResponse("Hello, world!")

    app = DualRoute()
    app.add_route("/", Homepage)
    assert serve(app).get("/").text == "Hello, world!"


class BytesApp(WebSocketEndpoint):
    encoding = "bytes"

    async def on_connect(self, websocket, **kwargs):
        await websocket.accept()

    async def on_receive(self, websocket, data):
        await websocket.send_bytes(b"Message: " + data)

    async def on_disconnect(self, websocket, close_code):
        pass


def test_endpoints_a_websocketendpoint_is_an_application() -> None:
    assert messages(converse(BytesApp, "/", data(b"a"), data(b"b"))) == [b"Message: a", b"Message: b"]


def test_endpoints_the_encoding_is_validated(caplog: pytest.LogCaptureFixture) -> None:
    assert closed_with(converse(BytesApp, "/", text("no bytes"))) == 1003


class ChatPage:
    """The chat page, as a namespace so that its names stay as they are."""

    app = DualRoute()

    html = """
<!DOCTYPE html>
<html>
    <head>
        <title>Chat</title>
    </head>
    <body>
        <h1>WebSocket Chat</h1>
        <form action="" onsubmit="sendMessage(event)">
            <input type="text" id="messageText" autocomplete="off"/>
            <button>Send</button>
        </form>
        <ul id='messages'>
        </ul>
        <script>
            var ws = new WebSocket("ws://localhost:8000/ws");
            ws.onmessage = function(event) {
                var messages = document.getElementById('messages')
                var message = document.createElement('li')
                var content = document.createTextNode(event.data)
                message.appendChild(content)
                messages.appendChild(message)
            };
            function sendMessage(event) {
                var input = document.getElementById("messageText")
                ws.send(input.value)
                input.value = ''
                event.preventDefault()
            }
        </script>
    </body>
</html>
"""

    @app.route("/")
    class Homepage(HTTPEndpoint):
        async def get(self, request):
            return HTMLResponse(ChatPage.html)

    @app.websocket_route("/ws")
    class Echo(WebSocketEndpoint):
        encoding = "text"

        async def on_receive(self, websocket, data):
            await websocket.send_text(f"Message text was: {data}")


def test_endpoints_the_chat_page_is_served(serve: Serve) -> None:
    response = serve(ChatPage.app).get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.text == ChatPage.html


def test_endpoints_the_chat_echoes() -> None:
    assert messages(converse(ChatPage.app, "/ws", text("hi"), text("du"))) == [
        "Message text was: hi",
        "Message text was: du",
    ]


# The page on routing


def test_routing_http_routing(serve: Serve) -> None:
    async def homepage(request):
        return PlainTextResponse("홈페이지")

    async def about(request):
        return PlainTextResponse("소개")

    routes = [
        Route("/", endpoint=homepage),
        Route("/about", endpoint=about),
    ]

    app = DualRoute(routes=routes)

    client = serve(app)
    assert client.get("/").text == "홈페이지"
    assert client.get("/about").text == "소개"
    assert client.get("/none").status_code == 404


def test_routing_path_parameters(serve: Serve) -> None:
    client = serve(Router([Route("/users/{username}", user)]))
    assert client.get("/users/tom").text == "user {'username': 'tom'}"
    assert client.get("/users/tom/x").status_code == 404


def test_routing_convertors(serve: Serve) -> None:
    floating_point = uploaded = user
    client = serve(
        DualRoute(
            [
                Route("/users/{user_id:int}", user),
                Route("/floating-point/{number:float}", floating_point),
                Route("/uploaded/{rest_of_path:path}", uploaded),
            ]
        )
    )
    assert client.get("/users/12").text == "user {'user_id': 12}"
    assert client.get("/users/tom").status_code == 404
    assert client.get("/floating-point/1.5").text == "user {'number': 1.5}"
    assert client.get("/uploaded/a/b.txt").text == "user {'rest_of_path': 'a/b.txt'}"


class DateTimeConvertor(Convertor):
    regex = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(.[0-9]+)?"

    def convert(self, value: str) -> datetime:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S")

    def to_string(self, value: datetime) -> str:
        return value.strftime("%Y-%m-%dT%H:%M:%S")


@pytest.fixture
def _datetime_convertor() -> Iterator[None]:
    register_url_convertor("datetime", DateTimeConvertor())
    yield
    del CONVERTOR_TYPES["datetime"]


@pytest.mark.usefixtures("_datetime_convertor")
def test_routing_a_convertor_of_ones_own(serve: Serve) -> None:
    history = user
    app = DualRoute([Route("/history/{date:datetime}", history)])
    client = serve(app)
    assert client.get("/history/2026-01-02T03:04:05").text == f"user {{'date': {datetime(2026, 1, 2, 3, 4, 5)!r}}}"
    assert client.get("/history/today").status_code == 404
    assert app.url_path_for("user", date=datetime(2026, 1, 2, 3, 4, 5)) == "/history/2026-01-02T03:04:05"


def test_routing_path_params_of_the_request(serve: Serve) -> None:
    async def user(request):
        user_id = request.path_params["user_id"]
        return PlainTextResponse(f"user {user_id}")

    assert serve(DualRoute([Route("/users/{user_id}", user)])).get("/users/7").text == "user 7"


def test_routing_methods(serve: Serve) -> None:
    client = serve(DualRoute([Route("/users/{user_id:int}", user, methods=["GET", "POST"]), Route("/only-get", user)]))
    assert [client.request(method, "/users/1").status_code for method in ("GET", "POST", "PUT")] == [200, 200, 405]
    assert [client.request(method, "/only-get").status_code for method in ("GET", "POST")] == [200, 405]


def test_routing_submounting(serve: Serve) -> None:
    routes = [
        Route("/", homepage),
        Mount(
            "/users",
            routes=[
                Route("/", users, methods=["GET", "POST"]),
                Route("/{username}", user),
            ],
        ),
    ]

    client = serve(DualRoute(routes=routes))
    assert client.get("/").text == "홈페이지"
    assert client.post("/users/").text == "users by POST"
    assert client.get("/users/tom").text == "user {'username': 'tom'}"


def test_routing_submounting_routes_of_other_modules(serve: Serve) -> None:
    class myproject:  # stands for the package of the example
        class users:
            routes = [Route("/{username}", user)]  # noqa: RUF012

        class auth:
            routes = [Route("/login", current_user)]  # noqa: RUF012

    users, auth = myproject.users, myproject.auth

    routes = [
        Route("/", homepage),
        Mount("/users", routes=users.routes),
        Mount("/auth", routes=auth.routes),
    ]

    client = serve(DualRoute(routes=routes))
    assert client.get("/users/tom").text == "user {'username': 'tom'}"
    assert client.get("/auth/login").text == "current user"


@pytest.mark.usefixtures("_static")
def test_routing_mounting_an_application(serve: Serve) -> None:
    routes = [
        Route("/", homepage),
        Mount("/static", app=StaticFiles(directory="static"), name="static"),
    ]

    app = DualRoute(routes=routes)

    assert serve(app).get("/static/css/base.css").text == "the style"
    assert serve(app).get("/static/css/absent.css").status_code == 404


def test_routing_reverse_look_up(serve: Serve) -> None:
    routes = [Route("/", homepage, name="homepage")]
    assert url_for(serve, routes, "homepage") == "http://testserver/"


def test_routing_reverse_look_up_with_path_parameters(serve: Serve) -> None:
    routes = [Route("/users/{username}", user, name="user_detail")]
    assert url_for(serve, routes, "user_detail", username="tom") == "http://testserver/users/tom"


def test_routing_reverse_look_up_in_a_named_mount(serve: Serve) -> None:
    routes = [
        Mount(
            "/users",
            name="users",
            routes=[
                Route("/", user, name="user_list"),
                Route("/{username}", user, name="user_detail"),
            ],
        )
    ]
    assert url_for(serve, routes, "users:user_list") == "http://testserver/users/"
    assert url_for(serve, routes, "users:user_detail", username="tom") == "http://testserver/users/tom"


@pytest.mark.usefixtures("_static")
def test_routing_reverse_look_up_of_a_mounted_application(serve: Serve) -> None:
    routes = [Mount("/static", app=StaticFiles(directory="static"), name="static")]
    assert url_for(serve, routes, "static", path="/css/base.css") == "http://testserver/static/css/base.css"


def test_routing_reverse_look_up_on_the_application() -> None:
    app = DualRoute(routes=[Route("/users/{username}", user, name="user_detail")])
    url = app.url_path_for("user_detail", username="tom")
    assert url == "/users/tom"


def test_routing_hosts(serve: Serve) -> None:
    site = Router()  # 예: `@site.route()`를 사용하여 구성합니다.
    api = Router()  # 예: `@api.route()`를 사용하여 구성합니다.
    news = Router()  # 예: `@news.route()`를 사용하여 구성합니다.

    routes = [Host("api.example.org", api, name="site_api")]

    app = DualRoute(routes=routes)

    app.host("www.example.org", site, name="main_site")

    news_host = Host("news.example.org", news)
    app.router.routes.append(news_host)

    @site.route("/")
    async def site_page(request):
        return PlainTextResponse("site")

    @api.route("/")
    async def api_page(request):
        return PlainTextResponse("api")

    @news.route("/")
    async def news_page(request):
        return PlainTextResponse("news")

    client = serve(app)
    for host, answer in (("api", "api"), ("www", "site"), ("news", "news")):
        assert client.get("/", headers={"host": f"{host}.example.org"}).text == answer
        assert client.get("/", headers={"host": f"{host}.example.org:8000"}).text == answer
    assert client.get("/", headers={"host": "example.org"}).status_code == 404


def test_routing_the_port_of_a_host_is_for_urls_only(serve: Serve) -> None:
    routes = [Host("example.org:3600", Router([Route("/", homepage, name="home")]), name="shop")]
    client = serve(DualRoute(routes=routes))
    for host in ("example.org:3600", "example.org:5600", "example.org"):
        assert client.get("/", headers={"host": host}).text == "홈페이지"
    assert url_for(serve, routes, "shop:home") == "http://example.org:3600/"


def test_routing_reverse_look_up_with_host_parameters(serve: Serve) -> None:
    routes = [
        Host(
            "{subdomain}.example.org",
            name="sub",
            app=Router(
                routes=[
                    Mount(
                        "/users",
                        name="users",
                        routes=[
                            Route("/", user, name="user_list"),
                            Route("/{username}", user, name="user_detail"),
                        ],
                    )
                ]
            ),
        )
    ]
    assert url_for(serve, routes, "sub:users:user_detail", username="tom", subdomain="shop") == (
        "http://shop.example.org/users/tom"
    )
    assert url_for(serve, routes, "sub:users:user_list", subdomain="shop") == "http://shop.example.org/users/"
    client = serve(DualRoute(routes=routes))
    response = client.get("/users/tom", headers={"host": "shop.example.org"})
    assert response.text == "user {'subdomain': 'shop', 'username': 'tom'}"


def test_routing_priority(serve: Serve) -> None:
    # 이렇게 하지 마세요: `/users/me`는 절대 들어오는 요청과 일치하지 않습니다.
    routes = [
        Route("/users/{username}", user),
        Route("/users/me", current_user),
    ]
    assert serve(DualRoute(routes=routes)).get("/users/me").text == "user {'username': 'me'}"

    # 이렇게 하세요: `/users/me`가 먼저 테스트됩니다.
    routes = [
        Route("/users/me", current_user),
        Route("/users/{username}", user),
    ]
    assert serve(DualRoute(routes=routes)).get("/users/me").text == "current user"


def test_routing_a_plain_router(serve: Serve) -> None:
    app = Router(
        routes=[
            Route("/", homepage),
            Mount(
                "/users",
                routes=[
                    Route("/", users, methods=["GET", "POST"]),
                    Route("/{username}", user),
                ],
            ),
        ]
    )

    client = serve(app)
    assert client.get("/").text == "홈페이지"
    assert client.get("/users/").text == "users by GET"
    assert client.get("/users/tom").text == "user {'username': 'tom'}"


def test_routing_websockets() -> None:
    async def websocket_index(websocket):
        await websocket.accept()
        await websocket.send_text("Hello, websocket!")
        await websocket.close()

    async def websocket_user(websocket):
        name = websocket.path_params["name"]
        await websocket.accept()
        await websocket.send_text(f"Hello, {name}")
        await websocket.close()

    routes = [
        WebSocketRoute("/", endpoint=websocket_index),
        WebSocketRoute("/{name}", endpoint=websocket_user),
    ]

    app = DualRoute(routes=routes)

    for path, greeting in (("/", "Hello, websocket!"), ("/tom", "Hello, tom")):
        sent = converse(app, path)
        assert [event["type"] for event in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
        assert messages(sent) == [greeting]
        assert closed_with(sent) == 1000
    assert app.url_path_for("websocket_user", name="tom") == "/tom"


def test_routing_a_websocket_class_is_an_endpoint_too() -> None:
    app = DualRoute(routes=[WebSocketRoute("/", endpoint=BytesApp)])
    assert messages(converse(app, "/", data(b"x"))) == [b"Message: x"]


def test_a_request_of_the_documents_is_a_request(serve: Serve) -> None:
    async def endpoint(request):
        assert isinstance(request, Request)
        return PlainTextResponse("yes")

    assert serve(DualRoute(routes=[Route("/", endpoint)])).get("/").text == "yes"
