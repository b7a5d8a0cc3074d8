"""Requests, and what is answered to each: on both protocols the same.

The numbers are the rows of the table of bad inputs in the project's shared notes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.parity.servers import Sent

__all__ = ["CASES", "Case"]

HOST = (b"host", b"testserver")
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Case:
    """A request and its answer.

    Args:
        name: what the case shows.
        sent: the request.
        status: the status.
        body: the body; None where it does not matter.
        headers: headers that the answer has, each once; None for one that it does not have.
        logs: how many lines the logger "dualroute" writes, of level WARNING or above.
    """

    name: str
    sent: Sent
    status: int
    body: bytes | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    logs: int = 0


def get(target: str | bytes, *headers: tuple[bytes, bytes], method: str = "GET", **parts: Any) -> Sent:
    raw = target.encode("ascii") if isinstance(target, str) else target
    return Sent(raw, method, (HOST, *headers), **parts)


def post(target: str, body: bytes, *headers: tuple[bytes, bytes], length: int | None = -1, **parts: Any) -> Sent:
    """Return a POST; `length` is its Content-Length, that of the body for -1, and none for None."""
    if length is not None:
        headers = (*headers, (b"content-length", b"%d" % (len(body) if length < 0 else length)))
    return Sent(target.encode(), "POST", (HOST, *headers), body, **parts)


def hosted(*hosts: bytes, target: bytes = b"/url") -> Sent:
    return Sent(target, "GET", tuple((b"host", host) for host in hosts))


def jsoned(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def at_each(colour_path: str, name: str, sent: Any, status: int, body: bytes | None = None, **parts: Any) -> list[Case]:
    """Return a case for the `def` and one for the `async def` twin of a path."""
    return [
        Case(f"{name} ({colour})", sent(f"/{colour}{colour_path}"), status, body, **parts)
        for colour in ("def", "async")
    ]


CHUNKED = (b"transfer-encoding", b"chunked")

ORDINARY: list[Case] = [
    *at_each("/hello", "hello", get, 200, b"hello", headers={"content-type": TEXT, "content-length": "5"}),
    *at_each("/hello", "HEAD", lambda path: get(path, method="HEAD"), 200, b"", headers={"content-length": "5"}),
    *at_each(
        "/hello",
        "OPTIONS",
        lambda path: get(path, method="OPTIONS"),
        200,
        b"",
        headers={"allow": "GET, HEAD, OPTIONS", "content-length": "0"},
    ),
    *at_each(
        "/hello",
        "wrong method",
        lambda path: get(path, method="DELETE"),
        405,
        b"Method Not Allowed",
        headers={"allow": "GET, HEAD, OPTIONS"},
    ),
    *at_each("/none", "no route", get, 404, b"Not Found", headers={"content-type": TEXT}),
    *at_each("/items/7", "a parameter", get, 200, b'{"number":7}', headers={"content-type": "application/json"}),
    *at_each("/items/x", "a parameter that does not convert", get, 404),
    *at_each("/echo/caf%C3%A9", "a path beyond ASCII", get, 200, jsoned("café")),
    *at_each("/echo/a%2Fb", "an encoded slash is a slash", get, 404),
    *at_each("/echo/100%25", "an encoded percent sign", get, 200, jsoned("100%")),
    *at_each("/echo/a;b=c", "a semicolon", get, 200, jsoned("a;b=c")),
    *at_each("/stream", "a stream", get, 200, b"onetwothree", headers={"content-length": None}),
    *at_each("/stream", "HEAD of a stream", lambda path: get(path, method="HEAD"), 200, b""),
    *at_each("/stream/empty", "a stream of nothing", get, 200, b""),
    *at_each("/stream/broken", "a stream that fails at once", get, 500, b"Internal Server Error", logs=1),
    *at_each("/status/204", "204", get, 204, b"", headers={"content-length": None}),
    *at_each("/status/304", "304", get, 304, b""),
    *at_each("/status/299", "a status without a phrase", get, 299, b"299"),
    *at_each("/cookies/set", "cookies", get, 200),
    *at_each("/teapot", "HTTPException", get, 418, b"short and stout", headers={"x-pot": "tea"}),
    *at_each("/missing", "an exception handler", get, 404, b"handled"),
    *at_each("/fail", "an unhandled exception", get, 500, b"Internal Server Error", logs=1),
    *at_each("/none-returned", "a handler that returns nothing", get, 500, b"Internal Server Error", logs=1),
    *at_each("/hop", "hop-by-hop headers are left out", get, 200, b"", headers={"connection": None, "x-a": "1"}),
    *at_each("/hello/", "a slash too many", get, 307, b""),
    *at_each("/dir", "a slash too few", lambda path: get(f"{path}?a=1&b=%20"), 307, b""),
    *at_each(
        "/url?q=%C3%A9&r=1",
        "the url",
        get,
        200,
    ),
    *at_each("/hello", "a root path", lambda path: get(path, root_path="/base"), 200, b"hello"),
    *at_each("/hop", "http/2's own header", lambda path: get(path, (b"te", b"trailers")), 200),
    *at_each("/body", "a body", lambda path: post(path, b"abc"), 200, b"abc"),
    *at_each("/body", "no body", lambda path: post(path, b""), 200, b""),
    *at_each("/body", "a large body", lambda path: post(path, b"x" * 1_500_000), 200, b"x" * 1_500_000),
    Case("the query stays with a redirect", get("/def/dir?a=1&b=%20"), 307, b"", {"location": "/def/dir/?a=1&b=%20"}),
    Case("a redirect keeps the root path", get("/def/dir", root_path="/r"), 307, b"", {"location": "/r/def/dir/"}),
    Case("the url of a mounted app", get("/def/url?q=%20", root_path="/r%C3%A9"), 200),
    Case("a plain request to a websocket", get("/ws"), 404, b"Not Found"),
]

BAD: list[Case] = [
    Case("1: a path that is not UTF-8", get("/def/echo/%ff"), 400, b"Bad Request: the path is not UTF-8"),
    Case("1: bytes cut off in a path", get("/async/echo/caf%C3"), 400),
    Case("1: an encoded surrogate", get("/def/echo/%ED%A0%80"), 400),
    Case("1: U+FFFD that was sent as such", get("/def/echo/%EF%BF%BD"), 200, jsoned("\ufffd")),
    *at_each("/echo/a%00b", "2: NUL in a path", get, 404),
    Case("2: NUL in a path where a slash redirect applies", get("/def/dir%00"), 404),
    Case("3: a slash redirect off-site", get("//evil.example/dir"), 307, b"", {"location": "/.//evil.example/dir/"}),
    Case(
        "3: a slash redirect off-site by an encoded slash",
        get("/%2Fevil.example/dir"),
        307,
        b"",
        {"location": "/.//evil.example/dir/"},
    ),
    Case("3: a slash redirect off-site by backslashes", get("/%5C%5Cevil.example/dir"), 404),
    Case("4: an absolute target", get("http://testserver/def/hello"), 200, b"hello"),
    Case("4: an absolute target in capitals", get("HTTPS://TESTSERVER/def/hello"), 200, b"hello"),
    Case("4: an absolute target with a query", get("http://testserver/def/query?a=1"), 200, jsoned({"a": "1"})),
    Case("4: an absolute target that breaks off", get("http://testserver@x:y"), 400),
    Case("4: another scheme", get("ftp://testserver/def/hello"), 400),
    Case("5: a target that is an @host", get("@evil.example"), 400),
    Case("5: an empty target", get(b""), 400),
    Case("5: a target without a slash", get("def/hello"), 400),
    Case("5: an asterisk", get("*", method="OPTIONS"), 400),
    *[
        Case(f"6: Host {host!r}", hosted(host), 400, b"Bad Request: the Host header is not of the form host[:port]")
        for host in (
            b"a/?x",
            b"a b",
            b"a,b",
            b"user@a",
            b"a:b",
            b"a:1:2",
            b"[",
            b"[x]",
            b"a\\b",
            b"\xff",
            b"a#b",
            b"a%41",
            b":80",
            b"a:123456",
        )
    ],
    *[
        Case(f"6: Host {host!r} is one", hosted(host), 200, jsoned(f"http://{host.decode()}/url"))
        for host in (b"a", b"A.Example", b"a:80", b"127.0.0.1:8000", b"[::1]", b"[::1]:8000", b"a_b.example", b"a.")
    ],
    *[
        Case(
            name,
            hosted(*hosts),
            400,
        )
        for name, hosts in (("7: two Hosts", (b"a", b"b")), ("7: the same Host twice", (b"a", b"a")))
    ],
    Case("8: no Host", hosted(), 200, jsoned("http://servername:8000/url")),
    Case("8: an empty Host", hosted(b""), 200, jsoned("http://servername:8000/url")),
    *at_each(
        "/header",
        "11: an underscore beside a hyphen",
        lambda path: get(path, (b"x_user", b"evil"), (b"x-user", b"good")),
        200,
        jsoned("good"),
    ),
    *at_each(
        "/header",
        "11: an underscore after a hyphen",
        lambda path: get(path, (b"x-user", b"good"), (b"x_user", b"evil")),
        200,
        jsoned("good"),
    ),
    *at_each("/header", "11: an underscore alone", lambda path: get(path, (b"x_user", b"evil")), 200, jsoned(None)),
    Case("11: a length with an underscore", post("/def/body", b"abc", (b"content_length", b"1")), 200, b"abc"),
    *at_each(
        "/header", "a repeated header", lambda path: get(path, (b"x-user", b"a"), (b"X-User", b"b")), 200, jsoned("a,b")
    ),
    *at_each(
        "/cookies",
        "12: repeated Cookie headers",
        lambda path: get(path, (b"cookie", b"a=1"), (b"cookie", b"b=2")),
        200,
        jsoned({"a": "1", "b": "2"}),
    ),
    *[
        Case(f"13: method {method} on {path}", get(path, method=method), 405, headers={"allow": allow})
        for path, allow in (("/def/hello", "GET, HEAD, OPTIONS"), ("/class", "GET, HEAD, OPTIONS, POST"))
        for method in ("__init__", "dispatch", "get", "Get", "connection", "close", "TRACE", "CONNECT", "*")
    ],
    *at_each(
        "/body",
        "14: a length beside a transfer encoding",
        lambda path: post(path, b"abcdef", CHUNKED, length=3),
        200,
        b"abcdef",
    ),
    *at_each(
        "/body",
        "14: a length too great beside a transfer encoding",
        lambda path: post(path, b"abc", CHUNKED, length=100),
        200,
        b"abc",
    ),
    *at_each(
        "/body",
        "15: a body cut short",
        lambda path: post(path, b"abc", length=6, cut=True),
        400,
        b"Bad Request: the request body was cut short",
    ),
    *at_each(
        "/body",
        "15: a body cut short mid-chunk",
        lambda path: post(path, b"abc", CHUNKED, length=None, cut=True),
        400,
        b"Bad Request: the request body was cut short",
    ),
    *at_each(
        "/disconnect",
        "15: a body cut short is a ClientDisconnect",
        lambda path: post(path, b"abc", length=6, cut=True),
        200,
        b"ClientDisconnect",
    ),
    *at_each(
        "/body",
        "17: a chunked body without a length",
        lambda path: post(path, b"abc" * 50_000, CHUNKED, length=None),
        200,
        b"abc" * 50_000,
    ),
    *[
        case
        for what in ("header-value", "header-name", "cookie", "cookie-path", "redirect", "nul")
        for case in at_each(f"/unsendable/{what}", f"22: {what}", get, 500, b"Internal Server Error", logs=1)
    ],
    *at_each(
        "/header", "26: Latin-1 in a header", lambda path: get(path, (b"x-user", b"caf\xe9")), 200, jsoned("café")
    ),
    *at_each("/latin1", "26: Latin-1 in a response header", get, 200, b"", headers={"x-name": "café"}),
    *[
        case
        for name, body in (("not JSON", b"{"), ("nothing", b""), ("not UTF-8", b'"\xff"'), ("deep", b"[" * 100_000))
        for case in at_each("/json", f"27: JSON: {name}", lambda path, body=body: post(path, body), 400)
    ],
    *at_each("/json", "27: JSON in UTF-16 with its mark", lambda path: post(path, "[1]".encode("utf-16")), 200),
]

CASES = ORDINARY + BAD
