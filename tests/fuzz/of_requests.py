"""Targets: what a request says about itself in its target and its headers."""

from __future__ import annotations

import ipaddress
import re
from contextvars import copy_context
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from dualroute import Response, SyncRequest
from dualroute.connection import cookie_parser, quote_query
from dualroute.datastructures import MutableHeaders, QueryParams
from dualroute.exceptions import HTTPException
from dualroute.middleware.cors import CORSMiddleware
from dualroute.middleware.proxy_headers import ProxyHeadersMiddleware
from dualroute.middleware.request_id import RequestIDMiddleware
from dualroute.negotiation import best_encoding, best_language, best_media_type
from dualroute.origins import check_origin
from dualroute.paths import quote_path
from dualroute.targets import host_of, target_from_environ, target_from_scope
from dualroute.translation import environ_headers, scope_headers
from tests.fuzz.given import environ_of, scope_of
from tests.fuzz.registry import Choices, target

HOST = [(b"host", b"site.example")]


def _or_400(function: Any, *args: Any) -> Any:
    """Return what a function returns, or None where it has the request answered 400."""
    try:
        return function(*args)
    except HTTPException as error:
        assert error.status_code == 400
        return None


@target(read=lambda data: _or_400(target_from_scope, scope_of(data, HOST)), grows=((b"/", b"%41", b""),))
def request_target(data: bytes) -> None:
    """A request target leads to the same path on both protocols, and the URL has that path."""
    choices = Choices(data)
    root = choices.one_of(("", "", "/root", "/é"))
    path, _, asked = choices.rest.partition(b"?")
    if root and path[:1] not in (b"", b"/"):
        path = b"/" + path  # what is mounted below a root path is asked for nothing else
    scope, environ = scope_of(path, HOST, asked, root=root), environ_of(path, HOST, asked, root=root)
    by_scope, by_environ = _or_400(target_from_scope, scope), _or_400(target_from_environ, environ)
    assert by_scope == by_environ
    if by_scope is None:
        return
    assert by_scope.path.startswith("/") or (root and not by_scope.path)
    for request in (SyncRequest(scope), SyncRequest.from_environ(environ)):
        assert request.url.path == quote_path(request.path), "the URL has the path that is routed"
        assert request.url.netloc == "site.example"
        assert str(request.url).isascii()
        assert re.search(r"[\s\x00-\x20]", str(request.url)) is None


@target(read=lambda data: _or_400(host_of, data.decode("latin-1")), grows=((b"[", b":", b"]"), (b"a", b".", b"")))
def host(data: bytes) -> None:
    """A Host is a host and a port, or 400; what passes can be put in a URL and taken out of it again."""
    scope = scope_of(b"/x", [(b"host", data)])
    found = _or_400(target_from_scope, scope)
    assert found == _or_400(target_from_environ, environ_of(b"/x", [(b"host", data)]))
    if found is None:
        return
    assert re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", found.host)
    url = SyncRequest(scope).url
    assert url.path == "/x"
    assert url.port is None or 0 <= url.port < 65536
    if data:
        assert url.netloc == data.decode("latin-1")
        assert f"{url.hostname}" == found.host.strip("[]")


@target(read=lambda data: scope_headers(_header_lines(data)))
def headers(data: bytes) -> None:
    """Request headers are the same on both protocols, whatever they hold."""
    lines = _header_lines(data)
    of_scope = scope_headers((name.lower(), value) for name, value in lines)
    of_environ = dict(environ_headers(environ_of(b"/", lines)))
    # An environ has no place for an empty Content-Type, and only one for each that repeats.
    for name in ("content-type", "content-length"):
        if not of_scope.get(name):
            of_scope.pop(name, None)
    assert of_scope == of_environ


def _header_lines(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return headers such as a server lets pass: names that are tokens, values without line breaks."""
    lines = []
    for line in data.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon and re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            lines.append((name, value.strip(b" \t").translate(None, b"\r\n\0")))
    return lines


def _sent(data: bytes) -> MutableHeaders | None:
    choices = Choices(data)
    way = choices.number(4)
    name, _, value = choices.rest.partition(b":")
    pair = (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
    made = MutableHeaders()
    try:
        if way == 0:
            made[pair[0]] = pair[1]
        elif way == 1:
            made.append(*pair)
        elif way == 2:
            made = MutableHeaders.of([pair])
        else:
            made.raw.append((name, value))
    except ValueError:
        return None
    return made


@target(read=_sent)
def response_headers(data: bytes) -> None:
    """A header that could be taken for two, or for the end of the headers, is refused when it is set."""
    made = _sent(data)
    if made is not None:
        for name, value in made.raw:
            assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9a-z-]+", name)
            assert not set(value) & set(b"\r\n\0")


@target(read=lambda data: cookie_parser(data.decode("latin-1")), grows=((b'a="', b"\\1", b'"'), (b'a="', b"\\", b'"')))
def cookies(data: bytes) -> None:
    """A Cookie header is read without complaint, and a cookie that we set is read back as it was."""
    found = cookie_parser(data.decode("latin-1"))
    assert all(";" not in name and "=" not in name for name in found)
    value = data.decode("utf-8", "ignore")
    response = Response()
    response.set_cookie("a", value)
    line = response.headers["set-cookie"]
    assert not set(line) & set("\r\n\0")
    assert line.count(";") == 2, "a value adds no attribute"
    assert cookie_parser(f"b=1; {line.partition(';')[0]}; c=2") == {"a": value, "b": "1", "c": "2"}


@target(read=QueryParams, grows=((b"a=", b"%e9", b""),))
def query(data: bytes) -> None:
    """A query string is read without complaint, is read alike when it was written anew, and is safe in a redirect."""
    found = QueryParams(data)
    assert QueryParams(str(found)).multi_items() == found.multi_items()
    quoted = quote_query(data.decode("latin-1"))
    assert re.fullmatch(r"[!$%&'()*+,./0-9:;=?@A-Z_a-z~-]*", quoted)
    assert unquote_to_bytes(quoted) == unquote_to_bytes(data)


_LANGUAGES = ("en", "de-AT", "zh-Hant")
_TYPES = ("text/html", "application/json", "image/*")
_CODINGS = ("br", "gzip")


def _preferred(data: bytes) -> tuple[str | None, ...]:
    text = data.decode("latin-1")
    return best_media_type(text, _TYPES), best_language(text, _LANGUAGES), best_encoding(text, _CODINGS)


@target(
    read=_preferred, grows=((b"x", b" ", b"x"), (b"x", b"\t", b"x"), (b'a/b;c="', b" ", b""), (b"a;q=", b"0", b"x"))
)
def accept(data: bytes) -> None:
    """Of what is on offer a client likes one or none, whatever it says."""
    for found, offers in zip(_preferred(data), (_TYPES, _LANGUAGES, _CODINGS), strict=True):
        assert found is None or found in offers


# Proxies

TRUSTED = "10.0.0.1"
CLIENT = "192.0.2.7"
_BY_FORWARDED = ProxyHeadersMiddleware([TRUSTED], forwarded=1)
_BY_TWO = ProxyHeadersMiddleware([TRUSTED], forwarded=2)
_BY_X = ProxyHeadersMiddleware([TRUSTED], x_for=1, x_proto=1, x_host=1, x_port=1, x_prefix=1)


def _told(middleware: Any, lines: list[tuple[bytes, bytes]], peer: str = TRUSTED) -> tuple[Any, ...] | None:
    """Return what a handler sees of who sent these headers, the same on both protocols; None for 400."""
    seen: list[tuple[Any, ...] | None] = []
    for connection in (
        SyncRequest(scope_of(b"/x", HOST + lines, peer=peer)),
        SyncRequest.from_environ(environ_of(b"/x", HOST + lines, peer=peer)),
    ):
        if _or_400(lambda: next(middleware(connection))) is None:  # noqa: B023  # called at once
            seen.append(None)
            continue
        url = urlsplit(str(connection.url))
        assert url.scheme in ("http", "https")
        assert url.port is None or 0 <= url.port < 65536
        assert connection.path == connection.root_path + "/x"
        client = connection.client
        if client is not None:
            ipaddress.ip_address(client.host)
            assert 0 <= client.port < 65536
        seen.append((str(connection.url), client, connection.root_path))
    assert seen[0] == seen[1]
    return seen[0]


@target(
    read=lambda data: _told(_BY_TWO, [(b"forwarded", data)]),
    grows=((b"for=a;", b" ", b"@"), (b'for="', b"\\", b""), (b"", b'for="\\",', b""), (b"for=a,", b" ", b"@")),
)
def forwarded(data: bytes) -> None:
    """A Forwarded header is read or is 400, and nobody but the last proxy tells who its peer was."""
    value = data.translate(None, b"\r\n\0")
    _told(_BY_TWO, [(b"forwarded", value)])
    _told(_BY_FORWARDED, [(b"forwarded", value)])
    for added, host in ((b"host=good.example;proto=https", "good.example"), (b'host="good.example:81"', None)):
        line = value + b", for=" + CLIENT.encode() + b";" + added
        told = _told(_BY_FORWARDED, [(b"forwarded", line)])
        assert told is not None
        assert told[1].host == CLIENT
        assert told[0] == f"https://{host}/x" if host else told[0] == "http://good.example:81/x"
    assert _told(_BY_FORWARDED, [(b"forwarded", value)], "10.0.0.2") == ("http://site.example/x", ("10.0.0.2", 1), "")


_X_NAMES = tuple(f"x-forwarded-{name}".encode() for name in ("for", "proto", "host", "port", "prefix"))


@target(read=lambda data: _told(_BY_X, [(name, data) for name in _X_NAMES]), grows=((b"/", b"%41", b""),))
def x_forwarded(data: bytes) -> None:
    """The X-Forwarded headers are read or are 400, and nobody but the last proxy tells who its peer was."""
    choices = Choices(data)
    name = choices.one_of(_X_NAMES)
    value = choices.rest.translate(None, b"\r\n\0")
    _told(_BY_X, [(name, value)])
    appended = [(b"x-forwarded-for", value + b", " + CLIENT.encode()), (b"x-forwarded-proto", value + b",https")]
    told = _told(_BY_X, appended)
    assert told is not None
    assert (told[0], told[1].host) == ("https://site.example/x", CLIENT)
    assert _told(_BY_X, [(name, value)], "10.0.0.2") == ("http://site.example/x", ("10.0.0.2", 1), "")


# Browsers

_CORS = CORSMiddleware(["https://good.example"], ["GET"], ["x-a"], allow_credentials=True)
_ANY_HEADER = CORSMiddleware(["https://good.example"], allow_headers=["*"])
_CHECK = check_origin("https://good.example")


@target(read=lambda data: _answer(_CORS, [(b"origin", data)]))
def cors(data: bytes) -> None:
    """No origin but the one that is named gets leave, and nothing that is sent back breaks a header."""
    value = data.translate(None, b"\r\n\0")
    preflight = [(b"access-control-request-method", b"GET"), (b"access-control-request-headers", value)]
    for middleware in (_CORS, _ANY_HEADER):
        for further in ([], preflight):
            answer = _answer(middleware, [(b"origin", value), *further], "OPTIONS" if further else "GET")
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed == ("https://good.example" if value == b"https://good.example" else None)
            assert not any(set(text) & set("\r\n\0") for _, text in answer.headers.items())
        _answer(middleware, [(b"origin", b"https://good.example"), *preflight], "OPTIONS")


def _answer(middleware: Any, lines: list[tuple[bytes, bytes]], method: str = "GET") -> Response:
    # In a context of its own, as a request is: what the middleware binds is not there for other tests.
    return copy_context().run(_answer_here, middleware, lines, method)


def _answer_here(middleware: Any, lines: list[tuple[bytes, bytes]], method: str) -> Response:
    step = middleware(SyncRequest({**scope_of(b"/", HOST + lines), "method": method}))
    try:
        next(step)
        step.send(Response("let in"))
    except StopIteration as end:
        response: Response = end.value
        return response
    raise AssertionError("a middleware ends with its response")


@target(read=lambda data: _answer(_CHECK, [(b"origin", data)]))
def origin(data: bytes) -> None:
    """No origin but the one that is named may open a websocket."""
    answer = _answer(_CHECK, [(b"origin", data)])
    let_in = answer.body == b"let in"
    if data == b"https://good.example":
        assert let_in
    # As a URL is read: in either case, with the usual port or without, and control characters not counted.
    plain = data.decode("latin-1").translate(dict.fromkeys(range(33))).lower()
    assert not let_in or re.fullmatch(r"https://good\.example(:(0*443)?)?[?#]*", plain) is not None


@target(read=lambda data: _answer(RequestIDMiddleware(), [(b"x-request-id", data)]))
def request_id(data: bytes) -> None:
    """An id that comes with a request is kept where it can do no harm in a header or in a log."""
    name = _answer(RequestIDMiddleware(), [(b"x-request-id", data)]).headers["x-request-id"]
    assert re.fullmatch(r"[\w.:+/=@-]{1,128}", name, re.ASCII)
