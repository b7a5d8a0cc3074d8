"""The values of message delegates: headers, start lines, the request as matchers see it, what a connection takes."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import pytest

from dualroute.datastructures import MutableHeaders
from dualroute.delegates import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPOutputError,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from dualroute.targets import target_from_environ, target_from_scope

OK = ResponseStartLine("HTTP/1.1", 200, "OK")


def request_for(
    protocol: str = "asgi",
    *,
    method: str = "GET",
    path: str = "/m/café/x",
    query: str = "",
    headers: tuple[tuple[str, str], ...] = (("host", "Example.com:8000"),),
    below: str = "/m",
    root_path: str = "",
    scheme: str = "http",
    client: tuple[str, int] | None = ("192.0.2.7", 5000),
) -> HTTPServerRequest:
    if protocol == "asgi":
        scope = {
            "type": "http",
            "method": method,
            "path": root_path + path,
            "root_path": root_path,
            "query_string": query.encode("latin-1"),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
            "scheme": scheme,
            "client": client,
            "server": ("testserver", 80),
        }
        target = target_from_scope(scope)
        return HTTPServerRequest(scope, None, target, target.path[len(below) :])
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": root_path,
        "PATH_INFO": path.encode().decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": scheme,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers},
    }
    if client is not None:
        environ["REMOTE_ADDR"] = client[0]
    target = target_from_environ(environ)
    return HTTPServerRequest(None, environ, target, target.path[len(below) :])


# The request


def test_a_request_has_tornados_vocabulary(protocol: str) -> None:
    request = request_for(
        protocol,
        method="PUT",
        query="a=1&a=2&b=&c=%C3%A9",
        headers=(("host", "Example.com:8000"), ("x-real-ip", "198.51.100.1"), ("cookie", "k=v; l=w")),
        root_path="/base",
    )
    assert request.method == "PUT"
    assert request.path == "/caf%C3%A9/x"
    assert request.uri == "/caf%C3%A9/x?a=1&a=2&b=&c=%C3%A9"
    assert request.query == "a=1&a=2&b=&c=%C3%A9"
    assert request.version == "HTTP/1.1"
    assert "X-Real-Ip" in request.headers
    assert request.headers["X-Real-IP"] == "198.51.100.1"
    assert request.host == "Example.com:8000"
    assert request.host_name == "example.com"
    assert request.protocol == "http"
    assert request.remote_ip == "192.0.2.7"
    assert request.cookies == {"k": "v", "l": "w"}
    assert request.query_arguments == {"a": [b"1", b"2"], "b": [b""], "c": [b"\xc3\xa9"]}
    assert request.arguments == request.query_arguments
    assert request.full_url() == "http://Example.com:8000/base/m/caf%C3%A9/x?a=1&a=2&b=&c=%C3%A9"
    assert repr(request) == "<HTTPServerRequest PUT Example.com:8000/caf%C3%A9/x?a=1&a=2&b=&c=%C3%A9>"


def test_a_request_without_anything(protocol: str) -> None:
    request = request_for(protocol, path="/m", headers=(), client=None, scheme="https")
    assert (request.path, request.uri, request.query) == ("", "", "")
    assert request.host == request.host_name == "testserver" or request.host == "testserver:80"
    assert request.protocol == "https"
    assert request.remote_ip == "0.0.0.0"
    assert request.cookies == {}
    assert request.arguments == {}


@pytest.mark.protocol("asgi")
@pytest.mark.parametrize(("scheme", "shown"), [("ws", "http"), ("wss", "https")])
def test_a_websocket_handshake_shows_the_scheme_of_http(scheme: str, shown: str) -> None:
    """They come by ASGI alone."""
    assert request_for(scheme=scheme).protocol == shown


def test_connections_are_made_once_for_a_request() -> None:
    request = request_for()
    assert isinstance(request.connection, HTTPConnection)
    assert request.connection is request.connection
    assert request.server_connection is request.server_connection
    assert request.server_connection is not request_for().server_connection
    assert repr(request.connection) == "<HTTPConnection GET /caf%C3%A9/x>"


def test_a_request_and_its_connection_are_no_cycle() -> None:
    request = request_for()
    gone = weakref.ref(request.connection)
    del request
    assert gone() is None


def test_what_headers_received_is_called_with() -> None:
    start_line, headers = request_for(method="POST", query="q=1", headers=(("x-a", "1"),)).connection._opening()
    assert start_line == RequestStartLine("POST", "/caf%C3%A9/x?q=1", "HTTP/1.1")
    assert type(headers) is HTTPHeaders
    assert headers["X-A"] == "1"


# Headers


def test_headers_are_tornados() -> None:
    headers = HTTPHeaders({"content-type": "text/html"})
    assert list(headers) == ["Content-Type"]
    assert headers["Content-Type"] == "text/html"
    headers.add("Set-Cookie", "A=B")
    headers.add("Set-Cookie", "C=D")
    assert headers["set-cookie"] == "A=B,C=D"
    assert headers.get("SET-COOKIE") == "A=B,C=D"
    assert headers.get_list("set-cookie") == ["A=B", "C=D"]
    assert headers.get_list("x-no") == []
    assert list(headers.get_all()) == [("Content-Type", "text/html"), ("Set-Cookie", "A=B"), ("Set-Cookie", "C=D")]
    headers["set-cookie"] = "E=F"
    assert headers.get_list("Set-Cookie") == ["E=F"]
    del headers["Set-Cookie"]
    assert "Set-Cookie" not in headers
    assert dict(headers) == {"Content-Type": "text/html"}
    with pytest.raises(KeyError):
        headers["Set-Cookie"]


def test_headers_are_made_of_what_tornados_are_made_of() -> None:
    pairs = HTTPHeaders([("a", "1"), ("a", "2")])
    assert pairs.get_list("A") == ["1", "2"]
    assert HTTPHeaders(pairs) == pairs
    assert HTTPHeaders(pairs) is not pairs
    assert HTTPHeaders(Server="x")["server"] == "x"
    assert HTTPHeaders() == MutableHeaders()
    assert MutableHeaders(pairs).getlist("a") == ["1", "2"]


@pytest.mark.parametrize(("name", "value"), [("a b", "1"), ("a", "1\r\nb: 2"), ("a", "\u20ac")])
def test_headers_refuse_what_may_not_be_sent(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        HTTPHeaders({name: value})
    with pytest.raises(ValueError, match="header"):
        HTTPHeaders().add(name, value)
    with pytest.raises(ValueError, match="header"):
        request_for().connection.write_headers(OK, {name: value})


# What a connection takes


@pytest.mark.parametrize(
    ("start_line", "error", "said"),
    [
        (ResponseStartLine("HTTP/1.1", 100, "Continue"), ValueError, "interim responses"),
        (ResponseStartLine("HTTP/1.1", 1000, "?"), ValueError, "1000"),
        (("HTTP/1.1", "200", "OK"), ValueError, "'200'"),
        (200, TypeError, "ResponseStartLine"),
    ],
)
def test_a_start_line_is_checked(start_line: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        request_for().connection.write_headers(start_line, {})


@pytest.mark.parametrize("length", ["", "-1", "1.0", "two", "\xb2"])
def test_a_length_is_checked(length: str) -> None:
    with pytest.raises(ValueError, match="Content-Length must be one number"):
        request_for().connection.write_headers(OK, {"Content-Length": length})


def test_two_lengths_must_agree() -> None:
    headers = HTTPHeaders([("Content-Length", "1"), ("Content-Length", "2")])
    with pytest.raises(ValueError, match="one number"):
        request_for().connection.write_headers(OK, headers)


def test_the_order_is_kept() -> None:
    connection = request_for().connection
    with pytest.raises(TypeError, match="must be bytes, not str"):
        connection.write_headers(OK, {}, "text")  # type: ignore[arg-type]  # a mistake, of which nothing is left
    with pytest.raises(RuntimeError, match=r"write\(\) was called before write_headers\(\)"):
        connection.write(b"x")
    with pytest.raises(RuntimeError, match=r"finish\(\) was called before write_headers\(\)"):
        connection.finish()
    connection.write_headers(OK, {})
    with pytest.raises(RuntimeError, match=r"write_headers\(\) was called before; use write\(\)"):
        connection.write_headers(OK, {})
    with pytest.raises(TypeError, match="must be bytes, not str"):
        connection.write("text")  # type: ignore[arg-type]  # a mistake
    connection.finish()
    with pytest.raises(RuntimeError, match=r"write\(\) was called after finish\(\)"):
        connection.write(b"x")
    with pytest.raises(RuntimeError, match=r"write_headers\(\) was called after finish\(\)"):
        connection.write_headers(OK, {})
    with pytest.raises(RuntimeError, match=r"finish\(\) was called after finish\(\)"):
        connection.finish()


def test_the_length_is_kept() -> None:
    connection = request_for().connection
    connection.write_headers(OK, {"Content-Length": "3"}, b"ab")
    with pytest.raises(HTTPOutputError, match="1 bytes less"):
        connection.finish()
    with pytest.raises(HTTPOutputError, match="1 bytes more"):
        connection.write(b"cd")
    with pytest.raises(HTTPOutputError, match="2 bytes more"):
        request_for().connection.write_headers(OK, {"Content-Length": "0"}, b"ab")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_pieces_are_any_bytes(kind: Any) -> None:
    connection = request_for().connection
    connection.write_headers(OK, {"Content-Length": "2"})
    connection.write(kind(b"ab"))
    connection.finish()
    assert list(connection._outgoing.pieces) == [b"ab"]


def test_waiting_before_the_delegate_runs_lets_others_run() -> None:
    order: list[str] = []

    async def main() -> None:
        connection = request_for().connection

        async def write() -> None:
            await connection.write_headers(OK, {})
            for _ in range(3):
                order.append("write")
                await connection.write(b"x")

        async def other() -> None:
            for _ in range(3):
                order.append("other")
                await asyncio.sleep(0)

        await asyncio.gather(write(), other())

    asyncio.run(main())
    assert order[:5] == ["other", "write", "other", "write", "other"]


def test_the_bases() -> None:
    delegate = HTTPMessageDelegate()
    connection = request_for().connection
    assert delegate.headers_received(*connection._opening()) is None
    assert delegate.data_received(b"x") is None
    assert delegate.finish() is None
    assert delegate.on_connection_close() is None
    starter = HTTPServerConnectionDelegate()
    starter.on_close(object())
    with pytest.raises(NotImplementedError, match="HTTPServerConnectionDelegate has no start_request"):
        starter.start_request(object(), connection)
