"""ProxyHeadersMiddleware: what trusted proxies tell is seen everywhere, and what others tell nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dualroute import JSONResponse, Mount, Request, Response, Route, SyncRequest, WebSocket
from dualroute import WebSocketRoute as WSRoute
from dualroute.middleware.httpsredirect import HTTPSRedirectMiddleware
from dualroute.middleware.proxy_headers import ProxyHeadersMiddleware
from dualroute.middleware.trustedhost import TrustedHostMiddleware
from tests.conftest import Serve
from tests.middleware_helper import accepted, handshake, site
from tests.websocket_helper import converse, messages

CLIENT = "203.0.113.9"
EVERYTHING: dict[str, Any] = {"x_for": 1, "x_proto": 1, "x_host": 1, "x_port": 1, "x_prefix": 1}


def facts(request: Any) -> dict[str, Any]:
    return {
        "client": request.client and request.client.host,
        "port": request.client and request.client.port,
        "scheme": request.scheme,
        "url": str(request.url),
        "base": str(request.base_url),
        "for": str(request.url_for("about")),
        "root": request.root_path,
        "host": request.headers["host"],
        "scope": {
            "client": request.scope["client"] and list(request.scope["client"]),
            "scheme": request.scope["scheme"],
            "root_path": request.scope["root_path"],
            "path": request.scope["path"],
            "host": [value.decode() for name, value in request.scope["headers"] if name == b"host"],
            "server": list(request.scope["server"]),
        },
        "environ": request.environ
        and {
            key: request.environ.get(key)
            for key in ("REMOTE_ADDR", "REMOTE_PORT", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME")
        },
    }


def about(request: SyncRequest) -> Response:
    return JSONResponse(facts(request))


async def about_async(request: Request) -> Response:
    return JSONResponse(facts(request))


def app(*middleware: Any) -> Any:
    inner = Mount("/in", routes=[Route("/x", about, name="x")])
    return site(middleware, Route("/about", about), Route("/about-async", about_async), inner)


def called_by(protocol: str, peer: str | None) -> dict[str, Any]:
    """Return what a server tells of a peer."""
    if protocol == "wsgi":
        return {"REMOTE_ADDR": peer or ""}
    return {"client": None if peer is None else (peer, 5000)}


Ask = Callable[..., Any]


@pytest.fixture
def ask(serve: Serve, protocol: str) -> Ask:
    """Return what a handler is told of a request, or the answer where it is an error."""

    def ask(headers: dict[str, str], path: str = "/about", peer: str | None = "127.0.0.1", **options: Any) -> Any:
        client = serve(app(ProxyHeadersMiddleware(**options)), extra=called_by(protocol, peer))
        answer = client.get(path, headers=headers)
        return answer.json() if answer.status_code == 200 else answer

    return ask


@pytest.mark.parametrize("path", ["/about", "/about-async", "/in/x"])
def test_what_a_trusted_proxy_tells_is_seen_everywhere(ask: Ask, path: str, protocol: str) -> None:
    headers = {
        "x-forwarded-for": f"{CLIENT}:4711",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "shop.example",
        "x-forwarded-port": "8443",
        "x-forwarded-prefix": "/b%C3%A4se/",
    }
    told = ask(headers, path, **EVERYTHING)
    mounted = "/in" if path == "/in/x" else ""
    assert (told["client"], told["port"], told["scheme"], told["host"]) == (CLIENT, 4711, "https", "shop.example:8443")
    assert told["url"] == f"https://shop.example:8443/b%C3%A4se{path}"
    assert told["base"] == "https://shop.example:8443/b%C3%A4se/"
    assert told["for"] == "https://shop.example:8443/b%C3%A4se/about"
    assert told["root"] == f"/bäse{mounted}"
    assert told["scope"] == {
        "client": [CLIENT, 4711],
        "scheme": "https",
        "root_path": f"/bäse{mounted}",
        "path": f"/bäse{path}",
        "host": ["shop.example:8443"],
        "server": ["shop.example", 8443],
    }
    if protocol == "wsgi":
        assert told["environ"] == {
            "REMOTE_ADDR": CLIENT,
            "REMOTE_PORT": "4711",
            "HTTP_HOST": "shop.example:8443",
            "SERVER_NAME": "shop.example",
            "SERVER_PORT": "8443",
            "SCRIPT_NAME": "/b\xc3\xa4se",
        }


def test_what_was_looked_at_before_is_derived_anew(serve: Serve) -> None:
    def looks(connection: Any) -> Any:
        assert str(connection.url) == "http://testserver/about"
        assert connection.headers["host"] == connection.scope["headers"][0][1].decode() == "testserver"
        assert connection.client.host == connection.scope["client"][0] == "127.0.0.1"
        response = yield connection
        return response

    client = serve(app(looks, ProxyHeadersMiddleware(**EVERYTHING)))
    headers = {"x-forwarded-for": CLIENT, "x-forwarded-proto": "https", "x-forwarded-host": "shop.example"}
    told = client.get("/about", headers=headers).json()
    assert (told["url"], told["host"], told["client"]) == ("https://shop.example/about", "shop.example", CLIENT)
    assert (told["scope"]["client"][0], told["scope"]["host"]) == (CLIENT, ["shop.example"])


def test_mounted_apps_see_it(serve: Serve) -> None:
    headers = {
        "x-forwarded-for": CLIENT,
        "x-forwarded-proto": "https",
        "x-forwarded-host": "shop.example",
        "x-forwarded-prefix": "/base",
    }
    client = serve(app(ProxyHeadersMiddleware(**EVERYTHING)))
    assert client.get("/flask/about", headers=headers).json() == {
        "url": "https://shop.example/base/flask/about",
        "client": CLIENT,
        "root": "/base/flask",
    }
    assert client.get("/fastapi/about", headers=headers).json() == {
        "url": "https://shop.example/base/fastapi/about",
        "client": CLIENT,
        "root": "/base/fastapi",
        "base": "https://shop.example/base/fastapi/",
    }


def test_by_default_one_local_proxy_tells_address_and_scheme(ask: Ask) -> None:
    headers = {"x-forwarded-for": CLIENT, "x-forwarded-proto": "https", "x-forwarded-host": "evil.example"}
    told = ask({**headers, "x-forwarded-prefix": "/evil", "forwarded": "for=9.9.9.9"})
    assert (told["client"], told["url"]) == (CLIENT, "https://testserver/about")


@pytest.mark.parametrize(
    ("peer", "trusted", "believed"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("10.1.2.3", "10.0.0.0/8, 192.168.0.0/16", True),
        ("11.1.2.3", ["10.0.0.0/8"], False),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
        ("fd00::5", ["fd00::/8"], True),
        ("not an address", ["10.0.0.0/8"], False),
        ("anybody", "*", True),
        ("10.1.2.3", [], False),
    ],
)
def test_only_the_peers_in_the_list_are_believed(ask: Ask, peer: str, trusted: Any, believed: bool) -> None:
    told = ask({"x-forwarded-for": CLIENT, "x-forwarded-proto": "https"}, peer=peer, trusted_hosts=trusted)
    assert (told["client"], told["scheme"]) == ((CLIENT, "https") if believed else (peer, "http"))


@pytest.mark.parametrize(("trusted", "believed"), [(["unix"], True), (["127.0.0.1"], False)])
def test_a_unix_socket_is_in_the_list_by_name(ask: Ask, trusted: list[str], believed: bool) -> None:
    told = ask({"x-forwarded-for": CLIENT}, peer=None, trusted_hosts=trusted)
    assert told["client"] == (CLIENT if believed else None)


@pytest.mark.parametrize(
    ("header", "count", "trusted", "client"),
    [
        # What the client made up is to the left of what the proxies added.
        (f"1.1.1.1, {CLIENT}", 1, ["127.0.0.1"], CLIENT),
        (f"1.1.1.1, {CLIENT}, 10.0.0.7", 2, ["127.0.0.1", "10.0.0.0/8"], CLIENT),
        # One that got past the outer proxy can't pose as somebody whom that one told of.
        (f"1.1.1.1, {CLIENT}", 2, ["127.0.0.1", "10.0.0.0/8"], CLIENT),
        # Nor is a proxy believed that is not counted.
        ("1.1.1.1, 10.0.0.7", 1, ["127.0.0.1", "10.0.0.0/8"], "10.0.0.7"),
        # A request of the outer proxy's own.
        ("10.0.0.7", 2, ["127.0.0.1", "10.0.0.0/8"], "10.0.0.7"),
        (f"{CLIENT}, 10.0.0.7", 2, "*", CLIENT),
        (f"1.1.1.1,{CLIENT}, 10.0.0.7", 2, "*", CLIENT),
        ("[2001:db8::1]:443", 1, "*", "2001:db8::1"),
        ("2001:db8::1", 1, "*", "2001:db8::1"),
        ("1.2.3.4:99999", 1, "*", "1.2.3.4"),
        ("unknown", 1, "*", None),
        ("_hidden", 1, "*", None),
        ("<script>", 1, "*", None),
        ("1.1.1.1,", 1, "*", None),
        ("1.1.1.1", 0, "*", "127.0.0.1"),
    ],
)
def test_the_client_is_read_from_the_right(ask: Ask, header: str, count: int, trusted: Any, client: str | None) -> None:
    told = ask({"x-forwarded-for": header}, trusted_hosts=trusted, x_for=count, x_proto=1)
    assert told["client"] == client
    assert (told["scope"]["client"] or [None])[0] == client


def test_other_headers_go_no_further_than_the_trusted_proxies(ask: Ask) -> None:
    options = {"x_for": 2, "x_proto": 2, "x_host": 2, "trusted_hosts": ["127.0.0.1", "10.0.0.1"]}
    headers = {"x-forwarded-proto": "https, http", "x-forwarded-host": "outer.example, inner.example"}
    told = ask({**headers, "x-forwarded-for": f"{CLIENT}, 10.0.0.1"}, **options)
    assert told["url"] == "https://outer.example/about"
    told = ask({**headers, "x-forwarded-for": f"10.0.0.1, {CLIENT}"}, **options)
    assert (told["client"], told["url"]) == (CLIENT, "http://inner.example/about")


def test_repeated_headers_are_one_list(serve: Serve) -> None:
    client = serve(app(ProxyHeadersMiddleware()))
    answer = client.get("/about", headers=[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", CLIENT)])
    assert answer.json()["client"] == CLIENT


@pytest.mark.parametrize(
    ("header", "client", "url"),
    [
        (f"for={CLIENT};proto=https;host=shop.example", CLIENT, "https://shop.example/about"),
        (f'For="{CLIENT}:4711"; Proto=HTTPS; Host="shop.example:8443"', CLIENT, "https://shop.example:8443/about"),
        ('for="[2001:db8::1]:99"', "2001:db8::1", "http://testserver/about"),
        (f"for=1.1.1.1;host=evil.example, for={CLIENT}", CLIENT, "http://testserver/about"),
        (f'for="1.1.1.1, for={CLIENT}', CLIENT, "http://testserver/about"),
        (f'for="1.1.1.1\\, for="{CLIENT}"', CLIENT, "http://testserver/about"),
        (f'x=", for="{CLIENT}";proto="https"', CLIENT, "https://testserver/about"),
        (f"=;;,;{{}}, for={CLIENT}", CLIENT, "http://testserver/about"),
        ("for=_hidden", None, "http://testserver/about"),
        ("for=unknown;proto=https", None, "https://testserver/about"),
        ("", "127.0.0.1", "http://testserver/about"),
        ("for=1.1.1.1,", "127.0.0.1", "http://testserver/about"),
    ],
)
def test_forwarded(ask: Ask, header: str, client: str | None, url: str) -> None:
    told = ask({"forwarded": header, "x-forwarded-for": "9.9.9.9", "x-forwarded-proto": "https"}, forwarded=1)
    assert (told["client"], told["url"]) == (client, url)


def test_forwarded_of_several_proxies(ask: Ask) -> None:
    header = f"for=1.1.1.1;proto=http, for={CLIENT};proto=https, for=10.0.0.1;proto=http"
    told = ask({"forwarded": header}, forwarded=2, trusted_hosts=["127.0.0.1", "10.0.0.1"])
    assert (told["client"], told["scheme"]) == (CLIENT, "https")
    told = ask({"forwarded": header}, forwarded=2, trusted_hosts=["127.0.0.1"])
    assert (told["client"], told["scheme"]) == ("10.0.0.1", "http")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-forwarded-host", "evil.example/path"),
        ("x-forwarded-host", "user@evil.example"),
        ("x-forwarded-host", "[1]"),
        ("x-forwarded-host", "evil.example:" + "9" * 5000),  # which int() refuses
        ("x-forwarded-host", ""),
        ("x-forwarded-proto", "javascript"),
        ("x-forwarded-port", "99999"),
        ("x-forwarded-port", "0"),
        ("x-forwarded-port", "80@evil.example"),
        ("x-forwarded-prefix", "//evil.example"),
        ("x-forwarded-prefix", "evil"),
        ("x-forwarded-prefix", "/a%00"),
        ("x-forwarded-prefix", "/%ff"),
        ("x-forwarded-prefix", "/a?b"),
    ],
)
def test_what_can_be_no_such_thing_is_a_400(ask: Ask, header: str, value: str) -> None:
    answer = ask({header: value}, **EVERYTHING)
    if value:
        assert (answer.status_code, answer.text[:11]) == (400, "Bad Request")


@pytest.mark.parametrize(
    ("port", "proto", "url"),
    [
        ("443", "https", "https://testserver/about"),
        ("80", "http", "http://testserver/about"),
        ("80", "https", "https://testserver:80/about"),
    ],
)
def test_a_port_is_told_unless_it_is_that_of_the_scheme(ask: Ask, port: str, proto: str, url: str) -> None:
    told = ask({"x-forwarded-port": port, "x-forwarded-proto": proto}, x_port=1, x_proto=1)
    assert told["url"] == url


def test_middleware_further_in_goes_by_it(serve: Serve) -> None:
    client = serve(
        app(
            ProxyHeadersMiddleware(x_proto=1, x_host=1), HTTPSRedirectMiddleware(), TrustedHostMiddleware(["a.example"])
        )
    )
    headers = {"x-forwarded-proto": "https", "x-forwarded-host": "a.example"}
    assert client.get("/", headers=headers).text == "plain"
    assert client.get("/", headers={**headers, "x-forwarded-host": "b.example"}).status_code == 400
    assert client.get("/", headers={"host": "a.example"}).headers["location"] == "https://a.example/"


def test_the_root_path_of_the_server_is_replaced(serve: Serve) -> None:
    client = serve(app(ProxyHeadersMiddleware(x_prefix=1)), root_path="/server")
    answer = client.get("/about", headers={"x-forwarded-prefix": "/proxy"}).json()
    assert (answer["url"], answer["root"]) == ("http://testserver/proxy/about", "/proxy")
    assert answer["scope"]["path"] == "/proxy/about"
    assert client.get("/about").json()["root"] == "/server"


def test_websockets() -> None:
    async def tell(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(f"{websocket.url} {websocket.client and websocket.client.host}")

    inner = site([ProxyHeadersMiddleware(x_for=1, x_proto=1, x_host=1)], WSRoute("/tell", tell))
    headers = [
        (b"host", b"testserver"),
        (b"x-forwarded-for", CLIENT.encode()),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"shop.example"),
    ]
    assert messages(converse(inner, "/tell", headers=headers)) == [f"wss://shop.example/tell {CLIENT}"]
    assert accepted(handshake(inner, headers={"x-forwarded-proto": "wss"}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trusted_hosts": ["proxy.example"]}, "'proxy.example' is neither an address nor a network"),
        ({"trusted_hosts": "10.0.0.1/8"}, "host bits set"),
        ({"x_for": -1}, "x_for is a number of proxies, not -1"),
        ({"forwarded": 1, "x_for": 1}, "two ways of saying the same"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProxyHeadersMiddleware(**options)
