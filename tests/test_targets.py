"""What a request is for, as servers tell it: malformed targets and Hosts end alike on both protocols.

The numbers are those of the table of bad inputs.  Servers differ in what they let through, so what comes here is
written into the scope and the environ by hand.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from dualroute import (
    DualRoute,
    HTTPEndpoint,
    HTTPException,
    JSONResponse,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    StreamingResponse,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)
from dualroute.staticfiles import StaticFiles
from dualroute.targets import host_of, target_from_environ, target_from_scope
from tests.conftest import Serve
from tests.websocket_helper import converse


def show(request: SyncRequest) -> Response:
    """Answer with what was routed and what the request says of itself."""
    return JSONResponse(
        {
            "path": request.path,
            "url": str(request.url),
            "url_path": request.url.path,
            "cookies": request.cookies,
            "headers": dict(request.headers),
            "x": request.headers.get("x-user"),
        }
    )


async def async_show(request: Request) -> Response:
    return show(request)  # type: ignore[arg-type]  # it looks only at what both kinds have


def app() -> DualRoute:
    return DualRoute([Route("/async/{rest:path}", async_show), Route("/{rest:path}", show)])


def unvalidated() -> io.BufferedReader:
    """Return an empty body that keeps wsgiref.validate out: it would refuse the environ before the app sees it."""
    return io.BufferedReader(io.BytesIO())


def raw_path_keys(path: bytes) -> dict[str, Any]:
    """Return the keys by which servers of both protocols hand over a percent-decoded path of any bytes."""
    return {
        "path": path.decode("utf-8", "replace"),
        "raw_path": b"".join(b"%%%02X" % byte for byte in path),
        "PATH_INFO": path.decode("latin-1"),
        "wsgi.input": unvalidated(),
    }


def header_keys(*headers: tuple[str, str]) -> dict[str, Any]:
    """Return the keys by which servers hand over these headers and no others; WSGI ones join what repeats."""
    environ: dict[str, Any] = {}
    for name, value in headers:
        key = "HTTP_" + name.upper().replace("-", "_")
        joint = "; " if name.lower() == "cookie" else ","
        environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"headers": raw, "HTTP_HOST": "", **environ, "wsgi.input": unvalidated()}


# 1, 2: the bytes of a path


@pytest.mark.parametrize("path", [b"/\xff", b"/a/\xc3", b"/async/\xed\xa0\x80", b"/\xc0\xaf", b"/ok/\xe9t\xe9"])
def test_a_path_that_is_not_utf_8_is_400(serve: Serve, path: bytes) -> None:
    response = serve(app(), extra=raw_path_keys(path)).get("/")
    assert (response.status_code, response.text) == (400, "Bad Request: the path is not UTF-8")


def test_a_replacement_character_that_was_sent_as_such_is_text(serve: Serve) -> None:
    response = serve(app(), extra=raw_path_keys("/\ufffd".encode())).get("/")
    assert response.json()["path"] == "/\ufffd"


@pytest.mark.protocol("asgi")  # a scope may lack raw_path; an environ has the bytes
def test_without_a_raw_path_a_replacement_character_counts_as_lost_bytes(serve: Serve) -> None:
    assert serve(app(), extra={"path": "/\ufffd", "raw_path": None}).get("/").status_code == 400
    assert serve(app(), extra={"path": "/\udcff", "raw_path": None}).get("/").status_code == 400


@pytest.mark.parametrize("path", [b"/\0", b"/a\0b/c", b"/async/\0", b"/m/\0", b"/x/"])
def test_a_nul_in_a_path_is_404(serve: Serve, path: bytes) -> None:
    def unreachable(request: SyncRequest) -> Response:
        return PlainTextResponse("reached")

    table = [Mount("/m", unreachable), Route("/{a}", unreachable), Route("/{rest:path}", unreachable)]
    for served in (DualRoute(table), Router(default=unreachable), Router([Mount("/", unreachable)])):
        response = serve(served, extra=raw_path_keys(path)).get("/")
        assert response.status_code == (404 if b"\0" in path else 200)


# 3: off-site redirects are with the slash redirects, in test_routing.py


def test_a_path_of_several_slashes_is_a_path(serve: Serve) -> None:
    response = serve(app(), extra=raw_path_keys(b"//evil.example/x")).get("/")
    assert response.json()["path"] == "//evil.example/x"
    assert response.json()["url"] == "http://testserver//evil.example/x"
    assert httpx.URL(response.json()["url"]).host == "testserver"


# 4, 5: the form of the target


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://other.example/a/b", "/a/b"),
        (b"HTTPS://other.example:8443/a", "/a"),
        (b"http://other.example/", "/"),
        (b"http:///a", "/a"),
        (b"http://user:pw@other.example/a", "/a"),
        (b"http://other.example//b", "//b"),
    ],
)
def test_the_absolute_form_is_cut_down_to_its_path(serve: Serve, target: bytes, path: str) -> None:
    response = serve(app(), extra=raw_path_keys(target)).get("/")
    assert response.status_code == 200
    assert response.json()["path"] == path
    assert response.json()["url"] == f"http://testserver{path}"


@pytest.mark.parametrize(
    "target", [b"@host", b"*", b"http://h", b"a/b", b"x", b"host:80", b"ftp://h/x", b"http:/a", b"?x", b"\\x"]
)
def test_a_target_that_is_neither_path_nor_absolute_url_is_400(serve: Serve, target: bytes) -> None:
    response = serve(app(), extra=raw_path_keys(target)).get("/")
    assert response.status_code == 400
    assert response.text == "Bad Request: the request target is neither a path nor an absolute URL"


def test_an_empty_path_is_400_unless_the_app_is_mounted(serve: Serve) -> None:
    assert serve(app(), extra=raw_path_keys(b"")).get("/").status_code == 400
    extra = {"path": "/srv", "root_path": "/srv", "PATH_INFO": "", "SCRIPT_NAME": "/srv"}
    response = serve(app(), extra=extra).get("/")
    assert (response.status_code, response.headers["location"]) == (307, "/srv/")


def test_an_absolute_form_below_a_root_path_is_cut_down_too(serve: Serve) -> None:
    extra = {
        **raw_path_keys(b"http://other.example/a"),
        "path": "/srvhttp://other.example/a",  # as servers put it together
        "root_path": "/srv",
        "SCRIPT_NAME": "/srv",
    }
    assert serve(app(), extra=extra).get("/").json()["path"] == "/srv/a"


# 6, 7, 8: the Host


BAD_HOSTS = [
    *("a/?x", "a/b", "a?b", "a#b", "user@host", "a b", "a\tb", "a,b", "a:b", "a:80:90", "a:123456", "a:-1"),
    *("a:65536", "a:99999", "[1]", "[....]", "[1.2.3.4]", "[:::]", "[::1]:65536"),
    *("[::1", "::1", "[::1]x", "[zz]", "a%20b", "é.example", 'a"b', "a<b>", "a\\b", ":80", "/", "http://a"),
]


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_a_host_that_is_no_host_and_port_is_400(serve: Serve, host: str) -> None:
    response = serve(app(), extra=header_keys(("host", host))).get("/")
    assert response.status_code == 400
    assert response.text == "Bad Request: the Host header is not of the form host[:port]"


@pytest.mark.parametrize(
    "host", ["example.org", "Example.ORG:8000", "127.0.0.1", "[::1]", "[::1]:80", "a_b.c-d", "localhost:", "h:65535"]
)
@pytest.mark.parametrize("path", ["/a/b", "/async/%20c", "/x%3Fy%23z", "//a", "/%2e%2e/b"])
def test_the_path_of_the_url_is_always_the_one_that_was_routed(serve: Serve, host: str, path: str) -> None:
    response = serve(app(), extra=header_keys(("host", host))).get(
        httpx.URL("http://testserver", raw_path=path.encode())
    )
    shown = response.json()
    assert unquote(shown["url_path"]) == shown["path"]
    assert shown["url"].startswith(f"http://{host}/")


def test_two_hosts_are_400(serve: Serve) -> None:
    for second in ("b.example", "a.example"):
        response = serve(app(), extra=header_keys(("host", "a.example"), ("host", second))).get("/")
        assert response.status_code == 400


def test_without_a_host_the_servers_name_and_port_stand_in(serve: Serve) -> None:
    keys = {"SERVER_NAME": "srv.example", "SERVER_PORT": "8080", "server": ("srv.example", 8080)}
    for headers in ((), (("host", ""),)):
        assert serve(app(), extra={**header_keys(*headers), **keys}).get("/x").json()["url"] == (
            "http://srv.example:8080/x"
        )


@pytest.mark.parametrize(
    ("name", "port", "authority"),
    [
        ("srv", 80, "srv"),
        ("srv", 81, "srv:81"),
        ("::1", 8000, "[::1]:8000"),
        ("127.0.0.1", 80, "127.0.0.1"),
    ],
)
def test_a_servers_name_becomes_an_authority(serve: Serve, name: str, port: int, authority: str) -> None:
    keys = {"SERVER_NAME": name, "SERVER_PORT": str(port), "server": (name, port)}
    assert serve(app(), extra={**header_keys(), **keys}).get("/").json()["url"] == f"http://{authority}/"


@pytest.mark.parametrize("server", [None, ("/run/app.sock", None), ("app.sock", None), ("a", "p")])
def test_a_scope_without_a_network_address_falls_back_to_localhost(server: Any) -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "server": server, "scheme": "http"}
    assert target_from_scope(scope).authority == "localhost"


@pytest.mark.parametrize("name", ["/run/app.sock", "app.sock"])
def test_an_environ_of_a_unix_socket_falls_back_to_localhost(name: str) -> None:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": name, "SERVER_PORT": ""}
    assert target_from_environ(environ).authority == "localhost"


def test_the_memory_of_hosts_is_bounded() -> None:
    from dualroute import targets

    for number in range(targets._KNOWN_HOSTS_LIMIT * 3):
        assert host_of(f"Host{number}.Example:1") == f"host{number}.example"
        assert len(targets.known_hosts) <= targets._KNOWN_HOSTS_LIMIT
    with pytest.raises(HTTPException):
        host_of("a b")
    assert "a b" not in targets.known_hosts
    # Each of them is bounded, too: a server may let pass headers of 64 KiB.
    assert host_of("A" * 1000) == "a" * 1000
    assert all(len(known) < 300 for known in targets.known_hosts)


# 11, 12: headers


@pytest.mark.parametrize("order", [0, 1])
def test_a_header_with_an_underscore_is_dropped(serve: Serve, protocol: str, order: int) -> None:
    headers = [("x-user", "real"), ("x_user", "forged")]
    keys = header_keys(("host", "h"), *headers[:: -1 if order else 1])
    if protocol == "wsgi":
        keys["HTTP_X_USER"] = "real"  # the server drops it: in an environ nobody could tell the two apart
    for path in ("/", "/async/"):
        shown = serve(app(), extra=keys).get(path).json()
        assert shown["x"] == "real"
        assert not [name for name in shown["headers"] if "_" in name]


@pytest.mark.protocol("asgi")  # see above
def test_a_header_with_an_underscore_is_in_the_scope_of_no_handler(serve: Serve) -> None:
    seen: list[Any] = []

    async def endpoint(request: Request) -> Response:
        seen.extend(request.scope["headers"])
        return Response(status_code=204)

    keys = header_keys(("host", "h"), ("x_user", "forged"))
    assert serve(DualRoute([Route("/", endpoint)]), extra=keys).get("/").status_code == 204
    assert seen == [(b"host", b"h")]


def test_repeated_cookie_headers_are_one(serve: Serve) -> None:
    keys = header_keys(("host", "h"), ("cookie", "a=1"), ("cookie", "b=2; c=3"))
    shown = serve(app(), extra=keys).get("/").json()
    assert shown["headers"]["cookie"] == "a=1; b=2; c=3"
    assert shown["cookies"] == {"a": "1", "b": "2", "c": "3"}


def test_other_repeated_headers_are_joined_by_commas(serve: Serve) -> None:
    keys = header_keys(("host", "h"), ("accept", "a"), ("accept", "b"))
    assert serve(app(), extra=keys).get("/").json()["headers"]["accept"] == "a,b"


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        ("a=1; b=2", {"a": "1", "b": "2"}),
        ("a=1;b=2", {"a": "1", "b": "2"}),
        ("a=1; a=2", {"a": "2"}),
        ("a", {"": "a"}),
        ("=b", {"": "b"}),
        ("a=", {"a": ""}),
        (";;a=1;;", {"a": "1"}),
        ('a="x y"', {"a": "x y"}),
        ("a=x=y", {"a": "x=y"}),
        ("a b=c; d=1", None),
        ("bad\x01=1; d=1", None),
    ],
)
def test_cookies_are_read_leniently_and_alike(serve: Serve, header: str, cookies: dict[str, str] | None) -> None:
    shown = serve(app(), extra=header_keys(("host", "h"), ("cookie", header))).get("/").json()["cookies"]
    if cookies is None:
        assert shown["d"] == "1"
    elif "" in cookies:
        assert list(shown.values()) in ([], list(cookies.values()), [""])
    else:
        assert shown == cookies


# 13: methods


class Resource(HTTPEndpoint):
    secret = "not a method"

    def get(self, request: SyncRequest) -> Response:
        return PlainTextResponse("got")

    def dispatch(self, request: SyncRequest) -> Response:
        raise NotImplementedError


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
@pytest.mark.parametrize(
    "method",
    ["__init__", "__class__", "dispatch", "DISPATCH", "get", "Get", "secret", "SCOPE", "scope", "*", "_SERVED"],
)
def test_a_method_that_names_an_attribute_is_405(serve: Serve, method: str) -> None:
    for served in (DualRoute([Route("/", Resource)]), DualRoute([Mount("/", Resource)]), Resource):
        client = serve(served, extra={"method": method, "REQUEST_METHOD": method})
        response = client.get("/")
        assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
def test_methods_that_clients_make_up_are_not_remembered(serve: Serve) -> None:
    served = DualRoute([Mount("/any", show), Route("/", Resource)])
    for number in range(20):
        extra = {"method": f"M{number}", "REQUEST_METHOD": f"M{number}"}
        assert serve(served, extra=extra).get("/any/").status_code == 200
        assert serve(served, extra=extra).get("/").status_code == 405
    assert served.dispatcher._plans == ({}, {})


# The same refusals elsewhere


def test_a_refusal_passes_the_middleware_and_the_exception_handlers_of_the_app(serve: Serve) -> None:
    def marks(connection: Any) -> Any:
        response = yield connection
        response.headers["x-passed"] = connection.method
        return response

    def handler(request: Any, error: HTTPException) -> Response:
        return PlainTextResponse(f"mine: {error.detail}", status_code=400)

    served = DualRoute([Route("/", show)], middleware=[marks], exception_handlers={400: handler})
    response = serve(served, extra=header_keys(("host", "a/?x"))).get("/")
    assert response.text == "mine: Bad Request: the Host header is not of the form host[:port]"
    assert response.headers["x-passed"]


def test_a_refusal_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dualroute")
    serve(app(), extra=header_keys(("host", "a/?x"))).get("/")
    assert "the Host header is not of the form host[:port]" in caplog.text


async def read_form(request: Request) -> Response:
    return JSONResponse((await request.form()).multi_items())


async def raise_error(request: Request) -> Response:
    raise LookupError


def unfinished(request: SyncRequest) -> Response:
    def body() -> Iterator[bytes]:
        yield b"begun"
        raise LookupError

    return StreamingResponse(body())


def followed(request: SyncRequest) -> Response:
    def fail() -> None:
        raise LookupError

    request.closing.append(fail)
    return Response()


def read_json(request: SyncRequest) -> Response:
    return Response(str(request.json()))


@pytest.mark.parametrize(
    ("prefix", "logged"),
    [
        ("error", "unhandled exception in"),
        ("body", "unhandled exception in the body"),
        ("closing", "failed at the end of"),
        ("form", "form can't be read"),
        ("json", "not valid JSON"),
        ("static", "is no path to a static file"),
        ("slow", "took longer than"),
        ("socket", "handshake for"),
    ],
)
def test_a_path_does_not_break_a_line_of_the_log(
    serve: Serve, protocol: str, caplog: pytest.LogCaptureFixture, tmp_path: Path, prefix: str, logged: str
) -> None:
    async def sleep(request: Request) -> Response:
        await asyncio.sleep(30)
        return Response()

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()

    site = DualRoute(
        [
            Route("/error/{rest:path}", raise_error),
            Route("/body/{rest:path}", unfinished),
            Route("/closing/{rest:path}", followed),
            Route("/form/{rest:path}", read_form, methods=["POST"]),
            Route("/json/{rest:path}", read_json),
            Mount("/static", app=StaticFiles(directory=tmp_path)),
            Route("/slow/{rest:path}", sleep, timeout=0.05),
            WebSocketRoute("/socket/{rest:path}", socket),
        ]
    )
    caplog.set_level("DEBUG", "dualroute")
    headers = {"content-type": "multipart/form-data"}
    if prefix == "socket":
        headers["upgrade"] = "websocket"
        headers["connection"] = "upgrade"
    client = serve(site)
    method = "POST" if prefix == "form" else "GET"
    url = httpx.URL("http://testserver", raw_path=f"/{prefix}/a%0AERROR%20forged%0D%1B[2J%C2%85x/%5C..".encode())
    try:
        client.request(method, url, headers=headers)
    except Exception:
        assert prefix == "body", "only a body that is cut short is an error to a client"
    lines = [record.getMessage() for record in caplog.records if logged in record.getMessage()]
    assert lines
    for line in lines:
        assert line.isprintable()
        assert "%0AERROR" in line


def test_a_path_that_can_be_printed_is_logged_as_it_is() -> None:
    scope = {"type": "http", "method": "GET", "path": "/日本 %0A", "headers": [], "query_string": b""}
    assert repr(Request(scope)) == "<Request GET /日本 %0A>"
    assert repr(Request({**scope, "path": "/a\n"})) == "<Request GET /a%0A>"


@pytest.mark.parametrize(
    ("path", "host"), [("/", b"a/?x"), ("@host", b"h"), ("/\ufffd", b"h")], ids=["host", "target", "not UTF-8"]
)
def test_a_websocket_with_a_malformed_target_is_refused(path: str, host: bytes) -> None:
    sent = converse(app(), path, headers=[(b"host", host)], raw_path=None)
    assert [event["type"] for event in sent] == ["websocket.close"]


@pytest.mark.parametrize("make", [Request, SyncRequest])
def test_a_request_made_by_hand_refuses_likewise(make: Callable[[dict[str, Any]], Any]) -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"a/?x")], "scheme": "http"}
    with pytest.raises(HTTPException, match="400: Bad Request: the Host header"):
        make(scope)
    with pytest.raises(HTTPException, match="400: Bad Request: the Host header"):
        SyncRequest.from_environ(
            {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": "a/?x", "wsgi.input": io.BytesIO()}
        )
