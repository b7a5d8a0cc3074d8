"""Examples of apps and requests: a table, which `built` makes an app of, and requests for it, as plain values.

A `Theme` says what is drawn of what kind.  Requests are mostly for what the table has, with something wrong with them
now and then; most of what could be wrong is listed, since hardly any of it would be found by chance.

Every choice is one number that Hypothesis draws (`Pick`): strategies that are made anew for each example, or put into
one another, take several times as long as what is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from hypothesis import strategies as st

__all__ = ["THEMES", "Pick", "Theme", "examples"]

Values = dict[str, Any]
_T = TypeVar("_T")

LITERALS = ("a", "b", "é", "a b", "x.y", "%41")
CONVERTORS = {
    "": ("v", "a", "a b", "é", "1"),
    ":str": ("v", "x.y", "a;b"),
    ":int": ("7", "007", "-1", "9" * 30, "x"),
    ":float": ("1.5", "7", "1e3", "nan"),
    ":uuid": ("6f1c2a30-5b1d-4c8e-9f7a-0123456789ab", "6F1C2A30-5B1D-4C8E-9F7A-0123456789AB", "6f1c"),
    ":path": ("a/b", "a", "a//b", "", "../a", "a/./b/"),
}
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
ODD_METHODS = ("TRACE", "CONNECT", "get", "__init__", "QUERY", "PROPFIND", "M-SEARCH", "*")
TEXTS = ("", "a", "text", "é\u2028", "x" * 1000)
BINARY = ("", "a", "\x00\xff", "piece", "x" * 700, "<p>")
COLOURS = ("def", "async def", "class", "inline")


@cache
def _numbers(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most)


class Pick:
    """Makes choices, the first of which is the simplest.

    Args:
        draw: draws from a strategy.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def number(self, least: int, most: int) -> int:
        return self._draw(_numbers(least, most))

    def of(self, *options: _T) -> _T:
        return options[self.number(0, len(options) - 1)]

    def flag(self) -> bool:
        return self.number(0, 1) == 1

    def rarely(self, times: int = 3) -> bool:
        """Say yes once in so many times."""
        return self.number(0, times - 1) == times - 1

    def some(self, options: Sequence[_T], least: int = 0, most: int = 3) -> list[_T]:
        return [self.of(*options) for _ in range(self.number(least, most))]


# What endpoints do.


def _headers(pick: Pick) -> dict[str, str] | None:
    if not pick.rarely():
        return None
    names = ("x-a", "Content-Type", "content-length", "cache-control", "vary", "etag", "connection", "x-é")
    values = ("1", "", "text/html", "no-store", "café", "a\r\nb", '"v1"', "gzip")
    return {pick.of(*names): pick.of(*values) for _ in range(pick.number(1, 2))}


def _text(pick: Pick) -> Values:
    status = pick.of(200, 200, 200, 201, 202, 203, 299, 404, 500, 503)
    return {"do": "text", "text": pick.of(*TEXTS), "status": status, "headers": _headers(pick)}


def _json(pick: Pick) -> Values:
    return {"do": "json", "value": pick.of(None, {"é": [1, 2.5]}, "x" * 600, {"deep": {"a": []}})}


def _bytes(pick: Pick) -> Values:
    kind = pick.of(None, None, "image/png", "text/html", "application/json")
    return {"do": "bytes", "body": pick.of(*BINARY), "status": pick.of(200, 200, 206), "type": kind}


def _bare(pick: Pick) -> Values:
    return {"do": "bare", "status": pick.of(200, 204, 205, 304, 404, 600)}


def _plain(pick: Pick) -> Values:
    return pick.of(_text, _json, _bytes, _bare)(pick)


def _echo(pick: Pick) -> Values:
    return {"do": "echo"}


def _raise(pick: Pick) -> Values:
    what = pick.of("http", "teapot", "odd", "value", "lookup", "os", "timeout", "stop", "group")
    if what != "http":
        return {"do": "raise", "what": what}
    status = pick.of(400, 404, 405, 409, 418, 500, 204, 304, 401)
    return {
        "do": "raise",
        "what": what,
        "status": status,
        "detail": pick.of(None, "", "detail", "é"),
        "headers": _headers(pick),
    }


def _stream(pick: Pick) -> Values:
    return {
        "do": "stream",
        "pieces": pick.some(BINARY, most=4),
        "is_async": pick.flag(),
        "fails": pick.number(0, 4) if pick.rarely() else None,
        "headers": _headers(pick),
        "type": pick.of(None, None, "text/html", "image/png", "text/event-stream"),
        "background": pick.flag(),
    }


def _file(pick: Pick) -> Values:
    name = pick.of("file.txt", "empty.bin", "é.txt", "missing", ".")
    return {"do": "file", "name": name, "filename": pick.of(None, None, "a.txt", "é.txt", 'a"b')}


def _conditional(pick: Pick) -> Values:
    return {"do": "conditional", "modified": pick.flag(), "weak": pick.flag()}


def _redirect(pick: Pick) -> Values:
    to = pick.of("/", "/a b", "//evil.example/", "https://e/é?q=é#f", "../x", "/\r\nx: 1")
    return {"do": "redirect", "to": to, "status": pick.of(307, 301, 302, 303, 308)}


def _cookies(pick: Pick) -> Values:
    attributes: tuple[Values, ...] = (
        {},
        {"max_age": 5},
        {"path": "/a;b"},
        {"samesite": "none"},
        {"domain": "é.example"},
    )
    cookies = [
        [
            pick.of("a", "b", "__Host-a", "a b"),
            pick.of("", "1", "é", "a;b", '"q"', "a,b"),
            pick.of(*attributes),
        ]
        for _ in range(pick.number(0, 3))
    ]
    return {"do": "cookies", "cookies": cookies}


def _header(pick: Pick) -> Values:
    names = ("x-a", "X-A", "set-cookie", "link", "content-length", "transfer-encoding", "date")
    pairs = [[pick.of(*names), pick.of("1", "2", "a=b", "chunked", "é")] for _ in range(pick.number(0, 4))]
    return {"do": "header", "headers": pairs}


def _url_for(pick: Pick) -> Values:
    params: tuple[Values, ...] = ({}, {"p0": "x"})
    return {"do": "url_for", "name": pick.of("one", "m:one", "missing"), "params": pick.of(*params)}


def _small(pick: Pick) -> Values:
    return pick.of(
        {"do": "closing"},
        {"do": "user"},
        {"do": "hints"},
        {"do": "background", "fails": pick.flag()},
        {"do": "session", "clears": pick.flag()},
        {"do": "returns", "what": pick.of("none", "text", "class", "tuple")},
    )


def _other(pick: Pick) -> Values:
    return pick.of(_redirect, _cookies, _header, _url_for, _small, _small)(pick)


def _read(pick: Pick) -> Values:
    how = pick.of(
        *("body", "twice", "stream", "body, then stream", "stream, then body", "text", "json", "form"),
        "body, then form",
    )
    limits: tuple[Values | None, ...] = (None, None, {"max_fields": 1}, {"max_files": 1}, {"max_part_size": 3})
    return {"do": "read", "how": how, "catches": pick.flag(), "limits": pick.of(*limits)}


# What stands around them.


def _noting(pick: Pick) -> Values:
    does = pick.of(
        *("", "", "early", "fails before", "calls", "calls async", "again", "amends", "swallows"),
        *("calls after", "fails after", "another", "nothing"),
    )
    return {"is": "noting", "name": pick.of("m", "n", "o"), "does": does}


_CORS: tuple[Values, ...] = (
    {"allow_origins": ["*"]},
    {"allow_origins": ["https://a.example"], "allow_credentials": True, "allow_methods": ["*"]},
    {"allow_origin_regex": "https://.*", "allow_headers": ["x-a"], "expose_headers": ["x-b"]},
)
_PROXY: tuple[Values, ...] = ({"x_for": 1, "x_proto": 1, "x_host": 1, "x_prefix": 1}, {"forwarded": 1})


def _built_in(pick: Pick) -> Values:
    kind = pick.of(
        *("compression", "gzip", "cors", "trusted", "proxy", "body limit", "authentication"),
        *("session", "request id", "rate", "errors", "https"),
    )
    match kind:
        case "compression" | "gzip":
            return {"is": kind, "minimum_size": pick.of(0, 500)}
        case "cors":
            return {"is": kind, "options": pick.of(*_CORS)}
        case "trusted":
            hosts = pick.of(["*"], ["testserver", "*.example.org"], ["www.example.org"])
            return {"is": kind, "hosts": hosts, "www": pick.flag()}
        case "proxy":
            return {"is": kind, "options": pick.of(*_PROXY)}
        case "body limit":
            return {"is": kind, "size": pick.of(100, 3, 0)}
        case "authentication":
            return {"is": kind, "is_async": pick.flag()}
    return {"is": kind}


def _calling(pick: Pick) -> Values:
    kind = pick.of("base", "asgi", "wsgi")
    if kind == "base":
        return {"is": kind, "does": pick.of("", "reads", "early"), "is_async": pick.flag()}
    return {"is": kind}


_LIMITS: tuple[Values, ...] = (
    {"max_body_size": 3},
    {"max_body_size": 100},
    {"max_form_fields": 1},
    {"max_file_size": 2},
    {"max_part_headers": 1},
)


def _foreign(pick: Pick) -> Values:
    headers: tuple[list[list[str]], ...] = (
        [["Content-Type", "text/plain"]],
        [["Content-Type", "text/plain"], ["Content-Length", "5"]],
        [["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"], ["X-Name", "café"]],
        [],
        [["X-A", "a\r\nb"]],
        [["Connection", "close"], ["Transfer-Encoding", "chunked"]],
    )
    status = pick.of(200, 204, 304, 404, 500)
    return {
        "protocol": pick.of("WSGI", "ASGI"),
        "status": status,
        "headers": pick.of(*headers),
        "pieces": pick.some(BINARY, most=4),
        "reads": pick.flag(),
        # One that fails within a body of which nothing is sent is a difference that is listed.
        "fails": pick.of("", "", "", "before", "" if status in (204, 304) else "within"),
    }


Make = Callable[[Pick], Values]


@dataclass(frozen=True)
class Theme:
    """What is drawn.

    Args:
        does: what endpoints do.
        middleware: what stands around apps, mounts and routes.
        kinds: what a table's entries are, beside routes.
        bodies: whether requests have bodies.
        depth: how deep mounts go.
        odd: whether targets and hosts are odd.
        most: how many requests and routes there are at most.
    """

    does: tuple[Make, ...]
    middleware: tuple[Make, ...] = ()
    kinds: tuple[str, ...] = ()
    bodies: bool = False
    depth: int = 1
    odd: bool = False
    most: int = 3


_AROUND = (_noting, _built_in, _calling)
THEMES: dict[str, Theme] = {
    "routing": Theme(
        (_echo,), kinds=("mount", "host", "app", "rules", "static", "websocket", "mount"), depth=2, odd=True, most=5
    ),
    "answers": Theme((_plain, _raise, _stream, _file, _conditional, _other, _small, _echo)),
    "bodies": Theme((_read, _read, _read, _echo), bodies=True),
    "middleware": Theme(
        (_plain, _raise, _stream, _other, _read, _echo), _AROUND, kinds=("mount",), bodies=True, most=2
    ),
    "foreign apps": Theme((_plain, _read), _AROUND, ("foreign", "foreign"), bodies=True, most=2),
    "everything": Theme(
        (_plain, _raise, _stream, _file, _conditional, _other, _read, _echo),
        _AROUND,
        ("mount", "host", "app", "rules", "static", "foreign"),
        bodies=True,
        depth=2,
        odd=True,
    ),
}


# Tables.


def _path(pick: Pick, level: int, is_mount: bool) -> str:
    """Draw a template whose parameters have no namesakes further in."""
    segments = []
    for number in range(pick.number(1 if is_mount else 0, 2)):
        name = f"p{level * 2 + number}"
        kind = pick.of("literal", "parameter", "both")
        if kind == "literal":
            segments.append(pick.of(*LITERALS))
        elif kind == "both":
            segments.append(f"v{{{name}:int}}.x")
        else:
            convertor = pick.of(*(CONVERTORS if not is_mount else list(CONVERTORS)[:-1]))
            segments.append(f"{{{name}{convertor}}}")
    path = "/" + "/".join(segments)
    return path if is_mount or not segments else path + pick.of("", "", "/")


def _routes(pick: Pick, theme: Theme, level: int) -> list[Values]:
    return [_route(pick, theme, level) for _ in range(pick.number(1, theme.most))]


def _around(pick: Pick, theme: Theme, most: int) -> list[Values]:
    return [pick.of(*theme.middleware)(pick) for _ in range(pick.number(0, most))] if theme.middleware else []


def _does(pick: Pick, theme: Theme) -> Values:
    return {key: value for key, value in pick.of(*theme.does)(pick).items() if value is not None}


def _route(pick: Pick, theme: Theme, level: int) -> Values:
    kind = pick.of(
        "route",
        "route",
        *(kind for kind in theme.kinds if kind not in ("mount", "host", "app") or level < theme.depth),
    )
    route: Values = {"kind": kind}
    if kind == "host":
        route["host"] = pick.of("testserver", "{sub}.example.org", "a.example.org:8000")
    else:
        route["path"] = _path(pick, level, kind not in ("route", "websocket"))
    match kind:
        case "route":
            route |= _endpoint(pick, theme)
        case "mount" | "host":
            route["routes"] = _routes(pick, theme, level + 1)
            route["name"] = pick.of(None, None, "m")
        case "app":
            route["app"] = _app(pick, theme, level + 1)
        case "foreign":
            route |= _foreign(pick)
        case "static":
            route["html"] = pick.flag()
        case "rules":
            patterns = (r".*/a", r".*/(\d+)", r".*/(?P<q>[^/]+)/?", r"/a/(.*)", r".*")
            route["rules"] = [
                {"pattern": pick.of(*patterns), "does": _does(pick, theme), "colour": pick.of(*COLOURS[:3])}
                for _ in range(pick.number(1, 2))
            ]
    if kind != "websocket":
        route["middleware"] = _around(pick, theme, 1)
    if theme.bodies and kind in ("route", "mount", "foreign") and pick.rarely(5):
        route["limits"] = pick.of(*_LIMITS)
    return {key: value for key, value in route.items() if value is not None}


def _endpoint(pick: Pick, theme: Theme) -> Values:
    does = _does(pick, theme)
    # A `def` on the event loop can't wait for a body.
    colour = pick.of(*(COLOURS if does["do"] != "read" else COLOURS[:3]))
    made: Values = {"does": does, "colour": colour, "name": pick.of(None, None, "one")}
    if colour == "class":
        made["class_methods"] = sorted({pick.of("GET", "GET", "POST"), *pick.some(METHODS[:5])})
    elif theme.bodies:
        made["methods"] = ["GET", "POST"]
    elif pick.rarely():
        made["methods"] = sorted(set(pick.some(METHODS[:4], 1)))
    return made


def _app(pick: Pick, theme: Theme, level: int = 0) -> Values:
    app: Values = {
        "routes": _routes(pick, theme, level),
        "middleware": _around(pick, theme, 3 if level == 0 else 1),
        "handlers": {
            pick.of("teapot", "odd", "exception", "404", "405", "500", "409"): pick.of("def", "async def", "fails")
            for _ in range(pick.number(0, 2))
        },
        "redirect_slashes": pick.of(None, None, False, True),
    }
    if theme.bodies and pick.rarely(5):
        app["limits"] = pick.of(*_LIMITS)
    if level == 0 and pick.rarely(6):
        app["lifespan"] = pick.of("def", "async def")
    if "foreign" in theme.kinds and pick.flag():
        app["fallback"] = _foreign(pick)
        app["fallback_on_405"] = pick.flag()
    return {key: value for key, value in app.items() if value is not None}


# Requests.

ODD_TARGETS = (
    *("/", "//", "/a//b", "/%2F", "/a/../b", "/a/./b", "/a/%2E%2E/b", "/%ff", "/caf%C3", "/%ED%A0%80", "/%00", "/a%00"),
    *("/a%2Fb", "/%E9", "/é".encode().decode("latin-1"), "/a;b", "/a?b?c", "/a?%ff=%zz&&=&a=+", "/%", "/%4", "/%zz"),
    *("http://testserver/a", "HTTP://x/a?q", "http://testserver", "ftp://x/a", "@evil", "a", "", "*", "/\\evil"),
    *("//evil.example/a", "/a#f", "/file.txt", "/a/file.txt", "/a/index.html", "/a/%C3%A9.txt", "/a/..%2Ffile.txt"),
    *("/A", "/%61", "/%C3%A9", "/é", "/a b"),
)
QUERIES = ("", "", "a=1&b=2&a=3", "q=%C3%A9", "q=%ff", "=&&", "a+b=%2B", "é")
HOSTS = (
    *("testserver", "testserver", "x.example.org", "a.example.org:8000", "TESTSERVER", "testserver:80"),
    *("", "a b", "a,b", "user@a", "[::1]", "\xff", "www.example.org", "example.org", "a_b.example.org"),
)
REQUEST_HEADERS = (
    *(("x-a", value) for value in ("1", "", "é", " padded ", "a, b")),
    ("X-A", "again"),
    ("x_a", "underscore"),
    ("x-name", "ann"),
    ("x-name", "nobody"),
    *(("accept", value) for value in ("text/html", "application/json;q=0.1, */*", "text/*;q=0", "garbage;;q=")),
    *(("accept-encoding", value) for value in ("gzip", "br, gzip;q=0.5", "zstd", "identity;q=0, *", "gzip;q=0")),
    ("accept-language", "de;q=0.5, en"),
    *(("range", value) for value in ("bytes=0-4", "bytes=5-", "bytes=-3", "bytes=9-2", "bytes=0-1,4-5,8-", "items=1")),
    ("range", "bytes=999999-"),
    *(("if-none-match", value) for value in ("*", '"v1"', 'W/"x", "y"', "garbage")),
    *(("if-match", value) for value in ("*", '"no"')),
    ("if-modified-since", "Tue, 14 Nov 2023 22:13:20 GMT"),
    ("if-modified-since", "yesterday"),
    ("if-unmodified-since", "Mon, 01 Jan 2001 00:00:00 GMT"),
    ("if-range", '"v1"'),
    *(("cookie", value) for value in ("a=1", "a=1; b=2", 'a="q;"; b', "=x", "session=garbage", "é=é", "a=1;a=2")),
    *(("origin", value) for value in ("https://a.example", "null", "https://evil.example")),
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "x-a, x-b"),
    ("access-control-request-private-network", "true"),
    *(("x-request-id", value) for value in ("given-1", "not good", "x" * 200)),
    ("x-forwarded-for", "10.0.0.1, 10.0.0.2"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "public.example"),
    ("x-forwarded-prefix", "/public"),
    ("forwarded", 'for="[2001:db8::1]:4711";proto=https;host=pub.example'),
    ("last-event-id", "7"),
    ("te", "trailers"),
    ("expect", "100-continue"),
    ("upgrade", "h2c"),  # a websocket handshake is another thing by each protocol
    ("connection", "upgrade"),
)
MULTIPART = (
    '--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n'
    '--b\r\ncontent-disposition: form-data; name="f"; filename="x.txt"\r\ncontent-type: text/x\r\n\r\nfile\r\n--b--\r\n'
)
BODIES: tuple[tuple[str, str], ...] = (
    ("", ""),
    ("abc", ""),
    ("abc", "text/plain"),
    ("caf\xe9", "text/plain; charset=latin-1"),
    ("\xff", "text/plain; charset=utf-8"),
    ("x" * 5000, "application/octet-stream"),
    ('{"a": [1]}', "application/json"),
    ("[", "application/json"),
    ("\xff", "application/json"),
    ("null", ""),
    ("a=1&b=%C3%A9&a=2", "application/x-www-form-urlencoded"),
    ("a=%ff", "application/x-www-form-urlencoded"),
    ("&&=", "application/x-www-form-urlencoded; charset=nonsense"),
    (MULTIPART, "multipart/form-data; boundary=b"),
    (MULTIPART[:100], "multipart/form-data; boundary=b"),
    (MULTIPART[:-8], "multipart/form-data; boundary=b"),
    (MULTIPART, "multipart/form-data"),
    (MULTIPART, "multipart/form-data; boundary=c"),
)


def _templates(app: Values, before: str = "") -> list[str]:
    """Return the whole templates of a table."""
    found = []
    for route in app["routes"]:
        path = before + ("" if route["kind"] == "host" else route["path"])
        found.append(path)
        if "routes" in route:
            found += _templates(route, path)
        elif "app" in route:
            found += _templates(route["app"], path)
        elif route["kind"] == "static":
            found += [f"{path}/file.txt", f"{path}/", f"{path}/missing"]
        elif route["kind"] in ("rules", "foreign"):
            found += [f"{path}/a", f"{path}/12", f"{path}/b/"]
    return found


def _filled(pick: Pick, template: str, odd: bool) -> str:
    """Draw a target for a template, percent-encoded."""
    path = template
    while "{" in path:
        before, _, rest = path.partition("{")
        inside, _, after = rest.partition("}")
        _, colon, convertor = inside.partition(":")
        values = CONVERTORS[colon + convertor]
        path = before + (pick.of(*values) if odd else values[0]) + after
    path = path.replace("%", "%25").replace(" ", "%20")
    path = "".join(char if char.isascii() else "".join(f"%{byte:02X}" for byte in char.encode()) for char in path)
    if odd:
        how = pick.of("", "", "", "slash", "no slash", "double", "absolute", "dot", "escaped")
        path = {
            "": path,
            "slash": f"{path}/",
            "no slash": path.rstrip("/"),
            "double": path.replace("/", "//", 1),
            "absolute": f"http://testserver{path}",
            "dot": f"{path}/.",
            "escaped": path[:-1] + "".join(f"%{ord(char):02X}" for char in path[-1:]),
        }[how]
    return path


def _request(pick: Pick, theme: Theme, templates: list[str]) -> Values:
    is_odd = theme.odd and pick.rarely(4)
    target = pick.of(*ODD_TARGETS) if is_odd else _filled(pick, pick.of(*templates), theme.odd)
    query = pick.of(*QUERIES)
    if query and "?" not in target:
        target = f"{target}?{query}"
    if theme.bodies:
        method = pick.of("GET", "POST", "POST", "HEAD")
    else:
        method = pick.of("GET", "GET", "GET", *METHODS, pick.of(*ODD_METHODS))
    host = pick.of(*HOSTS) if theme.odd or pick.rarely(6) else "testserver"
    headers = [] if pick.rarely(10) else [["host", host]]
    headers += [list(pair) for pair in pick.some(REQUEST_HEADERS)]
    request: Values = {"method": method, "target": target, "headers": headers}
    if theme.odd and target.startswith("/") and pick.rarely(5):  # servers put it before what is no path as well
        request["root_path"] = pick.of("/base", "/b/é")
    if theme.bodies:
        request |= _sent_body(pick, headers)
    return request


def _sent_body(pick: Pick, headers: list[list[str]]) -> Values:
    body, kind = pick.of(*BODIES)
    if kind:
        headers.append(["content-type", kind])
    cut = pick.rarely(8)
    how = pick.of("length", "length", "chunked", "both")
    if not body and not cut:
        return {}
    if how != "chunked":
        headers.append(["content-length", str(len(body) + (5 if cut else 0))])
    if how != "length":
        headers.append(["transfer-encoding", "chunked"])
    made: Values = {"body": body}
    if len(body) > 1:
        made["splits"] = [pick.number(1, len(body) - 1) for _ in range(pick.number(0, 3))]
    if cut:
        made["cut"] = True
    return made


@st.composite
def examples(draw: st.DrawFn, theme: Theme) -> Values:
    """Draw an app and requests for it."""
    pick = Pick(draw)
    app = _app(pick, theme)
    templates = _templates(app)
    requests = [_request(pick, theme, templates) for _ in range(pick.number(1, theme.most))]
    if "'fails': 'within'" in repr(app):
        requests = [{**request, "method": request["method"].replace("HEAD", "GET")} for request in requests]
    return {"app": app, "requests": requests}
