"""The environ that a mounted WSGI app is called with: PEP 3333 in full, on either protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any
from wsgiref.validate import validator

import pytest

from dualroute import (
    DualRoute,
    Host,
    Mount,
    PlainTextResponse,
    Response,
    Route,
    Router,
    SyncRequest,
    WSGIApp,
    translation,
)
from dualroute.routing import BaseRoute
from dualroute_wsgi.replies import FileWrapper
from tests.conftest import Serve
from tests.mounted_wsgi_helper import Answer, Ask, ask_fixture

__all__ = ["ask_fixture"]

Environ = dict[str, Any]


class Seen:
    """A WSGI app that keeps the environ it was called with; it runs under PEP 3333's validator."""

    def __init__(self, *, validate: bool = True) -> None:
        self.environ: Environ = {}
        self.calls = 0
        self.app = WSGIApp(validator(self.answer) if validate else self.answer)

    def answer(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        self.environ = dict(environ)
        self.calls += 1
        start_response("200 OK", [("content-type", "text/plain")])
        return [b"seen"]

    def of(self, *names: str) -> tuple[Any, ...]:
        return tuple(self.environ.get(name) for name in names)

    @property
    def paths(self) -> tuple[Any, ...]:
        return self.of("SCRIPT_NAME", "PATH_INFO")


def home(request: SyncRequest) -> Response:
    return PlainTextResponse("home")


# SCRIPT_NAME and PATH_INFO


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/old/", ("/old", "/")),
        ("/old/a/b", ("/old", "/a/b")),
        ("/old/a/", ("/old", "/a/")),
        ("/old//a", ("/old", "//a")),
        ("/old/a//b/./../c", ("/old", "/a//b/./../c")),
        ("/old/a%20b;c=1", ("/old", "/a b;c=1")),
        ("/old/a%3Fb", ("/old", "/a?b")),
        ("/old/a%2Fb", ("/old", "/a/b")),
        ("/old/a%25b", ("/old", "/a%b")),
    ],
)
@pytest.mark.parametrize("root_path", ["", "/base", "/two/deep"])
def test_the_path_is_split_at_the_mount(ask: Ask, root_path: str, path: str, expected: tuple[str, str]) -> None:
    seen = Seen()
    ask(DualRoute([Mount("/old", app=seen.app)]), path=path, root_path=root_path)
    assert seen.paths == (root_path + expected[0], expected[1])


def test_a_mount_without_its_slash_is_redirected(ask: Ask) -> None:
    seen = Seen()
    answer = ask(DualRoute([Mount("/old", app=seen.app)]), path="/old", root_path="/base")
    assert (answer.status, answer.header("location"), seen.calls) == (307, "/base/old/", 0)


@pytest.mark.parametrize("prefix", ["/old", "/old/"])
def test_a_mount_takes_whole_segments_with_or_without_its_slash(ask: Ask, prefix: str) -> None:
    seen = Seen()
    app = DualRoute([Mount(prefix, app=seen.app)])
    assert ask(app, path="/older").status == 404
    assert ask(app, path="/old/x").status == 200
    assert seen.paths == ("/old", "/x")


@pytest.mark.parametrize("root_path", ["", "/base"])
def test_nested_mounts_add_up(ask: Ask, root_path: str) -> None:
    seen = Seen()
    inner = DualRoute([Mount("/b/{name}", app=seen.app)])
    app = DualRoute([Mount("/a", app=Router([Mount("/x", app=inner)]))])
    ask(app, path="/a/x/b/n%20m/rest", root_path=root_path)
    assert seen.paths == (root_path + "/a/x/b/n m", "/rest")


def test_a_mount_at_the_root_takes_nothing_off(ask: Ask) -> None:
    seen = Seen()
    ask(DualRoute([Mount("", app=seen.app)]), path="/x", root_path="/base")
    assert seen.paths == ("/base", "/x")


@pytest.mark.parametrize("inside", ["host", "mount in host", "host in mount"])
def test_a_host_takes_nothing_off(ask: Ask, inside: str) -> None:
    seen = Seen()
    host = "{name}.example.org"
    routes: dict[str, list[BaseRoute]] = {
        "host": [Host(host, app=seen.app)],
        "mount in host": [Host(host, app=Router([Mount("/m", app=seen.app)]))],
        "host in mount": [Mount("/m", routes=[Host(host, app=seen.app)])],
    }
    ask(DualRoute(routes[inside]), path="/m/x", headers=[("host", "api.Example.org:8080")])
    assert seen.paths == (("", "/m/x") if inside == "host" else ("/m", "/x"))
    assert seen.of("HTTP_HOST") == ("api.Example.org:8080",)


@pytest.mark.parametrize("path", ["/", "/x", "/x/", "//x", "//evil.example/x", "/a/../b", "/x%20y", "/old", "/older/x"])
@pytest.mark.parametrize("root_path", ["", "/base"])
def test_a_fallback_sees_the_path_as_it_came(ask: Ask, root_path: str, path: str) -> None:
    seen = Seen()
    app = DualRoute([Route("/home", home), Mount("/old/x", app=home)], fallback=seen.app)
    assert ask(app, path=path, root_path=root_path).status == 200
    assert seen.paths == (root_path, path.replace("%20", " "))


def test_a_fallback_sees_an_empty_path_below_a_root_path(ask: Ask) -> None:
    seen = Seen()
    assert ask(DualRoute([Route("/home", home)], fallback=seen.app), path="", root_path="/base").status == 200
    assert seen.paths == ("/base", "")


def test_a_fallback_inside_a_mount_sees_the_path_below_it(ask: Ask) -> None:
    seen = Seen()
    ask(DualRoute([Mount("/m", app=DualRoute([Route("/home", home)], fallback=seen.app))]), path="/m//x/")
    assert seen.paths == ("/m", "//x/")


def test_a_fallback_gets_no_slash_redirects(ask: Ask) -> None:
    seen = Seen()
    app = DualRoute([Route("/home", home)], fallback=seen.app)
    assert ask(app, path="/home/").status == 200
    assert seen.paths == ("", "/home/")


@pytest.mark.protocol("wsgi")  # the environ of the server itself
@pytest.mark.parametrize(
    "given", [("/base/", "/x"), ("/", "/x"), ("", "/x"), ("/base", "//x"), ("/r\xc3\xa4", "/\xc3\xa4")]
)
def test_a_server_s_own_script_name_and_path_info_are_left_to_the_fallback(ask: Ask, given: tuple[str, str]) -> None:
    seen = Seen(validate=False)
    ask(DualRoute(fallback=seen.app), environ={"SCRIPT_NAME": given[0], "PATH_INFO": given[1]}, validate=False)
    assert seen.paths == given


def test_utf_8_goes_as_latin_1(ask: Ask) -> None:
    seen = Seen()
    app = DualRoute([Mount("/m\u00fc/{name}", app=seen.app)])
    assert ask(app, path="/m%C3%BC/%E2%98%83/%F0%9F%98%80/\u00e9", root_path="/r\u00f6").status == 200
    assert seen.paths == ("/r\xc3\xb6/m\xc3\xbc/\xe2\x98\x83", "/\xf0\x9f\x98\x80/\xc3\xa9")
    assert "".join(seen.paths).encode("latin-1").decode() == "/r\u00f6/m\u00fc/\u2603/\U0001f600/\u00e9"


@pytest.mark.parametrize("path", ["/old/%ff", "/old/%c3"])
def test_bytes_that_are_no_utf_8_never_reach_the_app(ask: Ask, path: str) -> None:
    seen = Seen()
    assert ask(DualRoute([Mount("/old", app=seen.app)], fallback=seen.app), path=path).status == 400
    assert seen.calls == 0


def test_a_nul_in_the_path_is_a_404(ask: Ask) -> None:
    seen = Seen()
    assert ask(DualRoute([Mount("/old", app=seen.app)], fallback=seen.app), path="/old/%00").status == 404
    assert seen.calls == 0


@pytest.mark.parametrize("root_path", ["", "/base"])
@pytest.mark.parametrize(("mounted", "expected"), [(True, ("/old", "/x")), (False, ("", "/old/x"))])
def test_an_absolute_target_is_cut_down_to_its_path(
    ask: Ask, root_path: str, mounted: bool, expected: tuple[str, str]
) -> None:
    # BAD_INPUTS 4: that is how some servers hand it over.
    seen = Seen()
    app = DualRoute([Mount("/old", app=seen.app)]) if mounted else DualRoute(fallback=seen.app)
    answer = ask(app, path="http://evil.example/old/x", root_path=root_path)
    assert answer.status == 200
    assert seen.paths == (root_path + expected[0], expected[1])


@pytest.mark.parametrize("path", ["", "@evil.example", "http://evil.example"])
def test_a_target_that_is_no_path_never_reaches_the_app(ask: Ask, path: str) -> None:
    seen = Seen()
    assert ask(DualRoute(fallback=seen.app), path=path).status == 400
    assert seen.calls == 0


def test_a_wsgi_app_is_an_app_by_itself(ask: Ask) -> None:
    seen = Seen()
    assert ask(seen.app, path="/a//b", root_path="/base").body == b"seen"
    assert seen.paths == ("/base", "/a//b")


# The request line and the headers


@pytest.mark.parametrize(
    ("method", "query"), [("GET", ""), ("POST", "a=1&b=%C3%A4&c=a+b"), ("DELETE", "?=/&%"), ("PROPFIND", "x")]
)
def test_the_method_and_the_query_string_go_as_they_came(ask: Ask, method: str, query: str) -> None:
    seen = Seen(validate=method != "PROPFIND")  # the validator does not know it
    ask(DualRoute([Mount("/old", app=seen.app)]), method, "/old/x", query=query, validate=method != "PROPFIND")
    assert seen.of("REQUEST_METHOD", "QUERY_STRING") == (method, query)


def test_a_query_string_of_latin_1_bytes_goes_as_it_came(ask: Ask) -> None:
    seen = Seen()
    ask(DualRoute(fallback=seen.app), query="a=\xe4\xff")
    assert seen.of("QUERY_STRING") == ("a=\xe4\xff",)


@pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
def test_the_server_protocol(ask: Ask, version: str) -> None:
    seen = Seen()
    ask(DualRoute(fallback=seen.app), http_version=version)
    assert seen.of("SERVER_PROTOCOL") == (f"HTTP/{version}",)


def test_content_type_and_content_length_come_without_a_prefix(ask: Ask) -> None:
    seen = Seen()
    ask(
        DualRoute(fallback=seen.app),
        "POST",
        headers=[("Content-Type", "text/x"), ("Content-Length", "3")],
        body=[b"abc"],
    )
    assert seen.of("CONTENT_TYPE", "CONTENT_LENGTH") == ("text/x", "3")
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & seen.environ.keys()


def test_without_a_body_there_is_no_length(ask: Ask) -> None:
    seen = Seen()
    ask(DualRoute(fallback=seen.app))
    assert not seen.environ.get("CONTENT_LENGTH")
    assert "CONTENT_TYPE" not in seen.environ


def test_headers_get_a_prefix_and_underscores(ask: Ask) -> None:
    seen = Seen()
    ask(DualRoute(fallback=seen.app), headers=[("X-One-Two", "1"), ("accept", "*/*")])
    assert seen.of("HTTP_X_ONE_TWO", "HTTP_ACCEPT", "HTTP_HOST") == ("1", "*/*", "testserver")


def test_repeated_headers_are_joined(ask: Ask) -> None:
    seen = Seen()
    ask(DualRoute(fallback=seen.app), headers=[("x-a", "1"), ("x-b", "0"), ("X-A", "2"), ("x-a", "3, 4")])
    assert seen.of("HTTP_X_A", "HTTP_X_B") == ("1,2,3, 4", "0")


def test_repeated_cookies_are_joined_as_cookies(ask: Ask) -> None:
    # BAD_INPUTS 12
    seen = Seen()
    ask(DualRoute(fallback=seen.app), headers=[("cookie", "a=1"), ("Cookie", "b=2"), ("cookie", "c=3")])
    assert seen.of("HTTP_COOKIE") == ("a=1; b=2; c=3",)


@pytest.mark.protocol("asgi")  # a WSGI server has done this, or it can't be told any more
@pytest.mark.parametrize("order", [1, -1])
def test_a_header_with_an_underscore_is_dropped(ask: Ask, order: int) -> None:
    # BAD_INPUTS 11
    seen = Seen()
    headers = [("x-user", "ann"), ("x_user", "root"), ("content_length", "9"), ("x_only", "1")][::order]
    ask(DualRoute(fallback=seen.app), headers=headers)
    assert seen.of("HTTP_X_USER", "CONTENT_LENGTH", "HTTP_X_ONLY") == ("ann", None, None)


def test_latin_1_bytes_of_a_header_are_preserved(ask: Ask) -> None:
    # BAD_INPUTS 26
    seen = Seen()
    ask(DualRoute(fallback=seen.app), headers=[("x-a", "caf\xe9 \xff\x80")])
    assert seen.of("HTTP_X_A") == ("caf\xe9 \xff\x80",)


@pytest.mark.protocol("asgi")
def test_the_memory_of_header_names_is_bounded(ask: Ask) -> None:
    seen = Seen()
    for start in range(0, 3000, 100):
        headers = [(f"x-made-up-{number}", str(number)) for number in range(start, start + 100)]
        ask(DualRoute(fallback=seen.app), headers=headers)
        assert seen.of(f"HTTP_X_MADE_UP_{start}", f"HTTP_X_MADE_UP_{start + 99}") == (str(start), str(start + 99))
    assert len(translation._known_keys) <= 1024
    # Each of them is bounded, too.
    ask(DualRoute(fallback=seen.app), headers=[("x-" + "long" * 100, "there")])
    assert seen.of("HTTP_X_" + "LONG" * 100) == ("there",)
    assert all(len(name) <= 64 for name in translation._known_keys)


# The peer and the server


@pytest.mark.protocol("asgi")  # under WSGI the server says so itself
@pytest.mark.parametrize(
    ("scheme", "server", "client", "expected"),
    [
        ("http", ("example.org", 8080), ("10.0.0.1", 4711), ("example.org", "8080", "10.0.0.1", "4711")),
        ("https", ("example.org", 443), ("::1", 1), ("example.org", "443", "::1", "1")),
        ("http", ("/run/app.sock", None), None, ("localhost", "80", None, None)),
        ("https", ("/run/app.sock", None), ("", 0), ("localhost", "443", None, None)),
        ("http", ("", None), ("10.0.0.1", 0), ("localhost", "80", "10.0.0.1", None)),
        ("https", None, None, ("localhost", "443", None, None)),
        ("http", None, ("10.0.0.1", None), ("localhost", "80", "10.0.0.1", None)),
    ],
)
def test_the_peer_and_the_server(
    ask: Ask, scheme: str, server: Any, client: Any, expected: tuple[str | None, ...]
) -> None:
    seen = Seen()
    ask(DualRoute(fallback=seen.app), scope={"scheme": scheme, "server": server, "client": client})
    assert seen.of("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT") == expected
    assert seen.of("wsgi.url_scheme") == (scheme,)


@pytest.mark.protocol("asgi")
def test_what_a_scope_may_leave_out_has_its_default(ask: Ask) -> None:
    seen = Seen()
    answer = ask(
        DualRoute(fallback=seen.app),
        without=("scheme", "server", "client", "root_path", "raw_path", "http_version", "query_string"),
    )
    assert answer.status == 200
    names = ("SCRIPT_NAME", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "wsgi.url_scheme")
    assert seen.of(*names) == ("", "", "localhost", "80", "HTTP/1.1", "http")
    assert "REMOTE_ADDR" not in seen.environ


@pytest.mark.protocol("wsgi")
def test_what_the_server_put_into_the_environ_is_there(ask: Ask) -> None:
    seen = Seen()
    errors = sys.stdout
    further = {"REMOTE_USER": "ann", "gunicorn.socket": object(), "wsgi.errors": errors, "wsgi.multithread": False}
    ask(DualRoute([Mount("/old", app=seen.app)]), path="/old/x", environ=further)
    assert {key: value for key, value in seen.environ.items() if key in further and key != "wsgi.errors"} == {
        key: value for key, value in further.items() if key != "wsgi.errors"
    }
    assert seen.of("REMOTE_ADDR", "REMOTE_PORT") == ("127.0.0.1", "50000")


# The wsgi.* keys


def test_the_wsgi_keys(ask: Ask) -> None:
    seen = Seen(validate=False)
    ask(DualRoute([Mount("/old", app=seen.app)]), path="/old/x", validate=False)
    assert seen.of("wsgi.version", "wsgi.url_scheme", "wsgi.run_once") == ((1, 0), "http", False)
    assert seen.of("wsgi.errors", "wsgi.input_terminated") == (sys.stderr, True)
    assert isinstance(seen.environ["wsgi.multithread"], bool)
    assert isinstance(seen.environ["wsgi.multiprocess"], bool)
    assert seen.environ["wsgi.input"].read() == b""
    assert type(seen.environ) is dict


@pytest.mark.protocol("asgi")
def test_threads_and_processes_are_announced_under_asgi(ask: Ask) -> None:
    seen = Seen()
    ask(DualRoute(fallback=seen.app))
    assert seen.of("wsgi.multithread", "wsgi.multiprocess") == (True, True)


def test_the_app_gets_an_environ_of_its_own(ask: Ask, serve: Serve, protocol: str) -> None:
    given: list[Environ] = []

    def vandal(environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ.clear()
        start_response("200 OK", [("content-type", "text/plain")])
        return [b""]

    def look(connection: Any) -> Any:
        response = yield connection
        given.append(dict(connection.environ) if protocol == "wsgi" else dict(connection.scope))
        return response

    ask(DualRoute([Mount("/old", app=vandal)], middleware=[look]), path="/old/x")
    assert given[0]["PATH_INFO" if protocol == "wsgi" else "path"] == "/old/x"


@pytest.mark.protocol("asgi")  # under WSGI there is none, and the app need not be told of one
def test_the_scope_is_in_the_environ(ask: Ask) -> None:
    seen = Seen()
    ask(DualRoute([Mount("/old", app=seen.app)]), path="/old/x", scope={"extensions": {"x": {}}})
    scope = seen.environ["dualroute.scope"]
    assert (scope["type"], scope["path"], scope["extensions"]) == ("http", "/old/x", {"x": {}})


@pytest.mark.protocol("wsgi")
def test_under_wsgi_there_is_no_scope_in_the_environ(ask: Ask) -> None:
    seen = Seen()
    ask(DualRoute([Mount("/old", app=seen.app)]), path="/old/x")
    assert "dualroute.scope" not in seen.environ


# wsgi.file_wrapper


class File:
    """A file that notes how it is read."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.sizes: list[int] = []
        self.closed = 0

    def read(self, size: int = -1) -> bytes:
        self.sizes.append(size)
        piece, self.content = self.content[:size], self.content[size:]
        return piece

    def close(self) -> None:
        self.closed += 1


class Uncloseable:
    """A file without close()."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, size: int = -1) -> bytes:
        piece, self.content = self.content[:size], self.content[size:]
        return piece


def file_app(file: Any, *block_size: int) -> Any:
    def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("content-type", "text/plain")])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, *block_size)
        return wrapped

    return answer


@pytest.mark.parametrize("block_size", [(), (8,), (200_000,)])
def test_our_file_wrapper_streams_the_file_and_closes_it_once(ask: Ask, block_size: tuple[int, ...]) -> None:
    content = bytes(range(256)) * 1000
    file = File(content)
    answer = ask(DualRoute(fallback=file_app(file, *block_size)), validate=False)
    assert (answer.status, answer.body) == (200, content)
    assert file.closed == 1
    assert min(file.sizes) >= 65_536, "the block size is a suggestion"
    assert len(file.sizes) <= 6


def test_a_file_without_close_is_fine(ask: Ask) -> None:
    answer = ask(DualRoute(fallback=file_app(Uncloseable(b"abc"))), validate=False)
    assert (answer.status, answer.body) == (200, b"abc")


def test_our_file_wrapper_closes_the_file_of_a_head_request(ask: Ask) -> None:
    file = File(b"abc")
    assert ask(DualRoute(fallback=file_app(file)), "HEAD", validate=False).body == b""
    assert file.closed == 1


class ServersOwn:
    """A server's file wrapper, which its server recognizes and sends by a system call."""

    def __init__(self, filelike: Any, block_size: int = 8192) -> None:
        self.filelike = filelike
        self.block_size = block_size
        self.closed = 0

    def __iter__(self) -> Any:
        return iter(lambda: self.filelike.read(self.block_size), b"")

    def close(self) -> None:
        self.closed += 1
        self.filelike.close()


def own_wrapper(ask: Ask, app: Any, method: str = "GET") -> Answer:
    return ask(app, method, environ={"wsgi.file_wrapper": ServersOwn}, validate=False)


@pytest.mark.protocol("wsgi")
def test_what_the_server_s_own_file_wrapper_made_is_handed_over_as_it_is(ask: Ask) -> None:
    file = File(b"abc")
    answer = own_wrapper(ask, DualRoute([Mount("", app=file_app(file, 77))]))
    assert isinstance(answer.result, ServersOwn)
    assert (answer.result.block_size, answer.result.closed, file.closed) == (77, 1, 1)
    assert (answer.status, answer.body) == (200, b"abc")


@pytest.mark.protocol("wsgi")
def test_through_middleware_that_leaves_the_body_alone_too(ask: Ask) -> None:
    def mark(connection: Any) -> Any:
        response = yield connection
        response.headers["x-mark"] = "1"
        return response

    answer = own_wrapper(ask, DualRoute(fallback=file_app(File(b"abc")), middleware=[mark]))
    assert isinstance(answer.result, ServersOwn)
    assert answer.header("x-mark") == "1"


@pytest.mark.protocol("wsgi")
def test_a_server_s_own_file_wrapper_is_closed_once_where_it_can_not_be_handed_over(ask: Ask) -> None:
    for method in ("HEAD", "GET"):
        file = File(b"abc")
        written: Sequence[bytes] = [] if method == "HEAD" else [b"first,"]

        def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
            write = start_response("200 OK", [("content-type", "text/plain")])
            for piece in written:  # noqa: B023  # called within the turn
                write(piece)
            return ServersOwn(file)  # noqa: B023

        got = own_wrapper(ask, DualRoute(fallback=answer), method)
        assert not isinstance(got.result, ServersOwn)
        assert got.body == (b"" if method == "HEAD" else b"first,abc")
        assert file.closed == 1


@pytest.mark.protocol("wsgi")
def test_a_server_s_own_file_wrapper_is_closed_where_the_response_can_not_be_started() -> None:
    file = File(b"abc")

    def refuses(status: str, headers: Any, exc_info: Any = None) -> Any:
        raise AssertionError("no such status here")

    environ = Ask("wsgi").environ(extra={"wsgi.file_wrapper": ServersOwn})
    with pytest.raises(AssertionError, match="no such status"):
        DualRoute(fallback=file_app(file))(environ, refuses)
    assert file.closed == 1


@pytest.mark.protocol("asgi")
def test_under_asgi_the_file_wrapper_is_ours(ask: Ask) -> None:
    seen = Seen()
    ask(DualRoute(fallback=seen.app))
    assert seen.of("wsgi.file_wrapper") == (FileWrapper,)
