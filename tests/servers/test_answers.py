"""Plain requests and their answers, the same on every server."""

from __future__ import annotations

import httpx
import pytest

from tests.servers.conftest import client_of
from tests.servers.launching import Running
from tests.servers.wire import connected, exchange

COLOURS = pytest.mark.parametrize("colour", ["def", "async"])


def test_the_server_speaks_the_protocol_that_it_should(server: Running, client: httpx.Client) -> None:
    # No option says which: uvicorn and hypercorn have to find out by themselves.
    assert client.get("/about").json()["protocol"] == server.server.protocol


def test_both_colours_answer(client: httpx.Client) -> None:
    for path, text in (("/", "hello from a def"), ("/async", "hello from an async def")):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (200, text)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["content-length"] == str(len(text))


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "QUERY"])
def test_a_class_endpoint_answers_each_of_its_verbs(client: httpx.Client, method: str) -> None:
    body = None if method in ("GET", "DELETE") else "ü"
    answer = client.request(method, "/verbs", content=body and body.encode())
    assert (answer.status_code, answer.text) == (200, f"{method} {body}" if body else method)


def test_head_is_answered_by_get_without_the_body(server: Running) -> None:
    answer = exchange(server, b"HEAD /verbs HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", head=True)
    assert (answer.status, answer.header("content-length")) == (200, "3")
    with connected(server) as wire:
        wire.send(b"HEAD /verbs HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert wire.rest().endswith(b"\r\n\r\n"), "nothing follows the headers"


def test_a_class_may_answer_head_and_options_itself(client: httpx.Client) -> None:
    head = client.head("/own")
    assert (head.status_code, head.content, head.headers["x-answered-by"]) == (200, b"", "head")
    assert head.headers["content-length"] == "12"
    options = client.options("/own")
    assert (options.status_code, options.text, options.headers["x-answered-by"]) == (200, "options", "options")


def test_options_and_wrong_methods_get_the_list_of_methods(client: httpx.Client) -> None:
    allow = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY"
    options = client.options("/verbs")
    assert (options.status_code, options.content, options.headers["allow"]) == (200, b"", allow)
    wrong = client.request("PROPFIND", "/verbs")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, allow)
    assert client.post("/").status_code == 405


@pytest.mark.parametrize("method", ["__init__", "DISPATCH", "dispatch", "get"])
def test_a_method_that_names_an_attribute_reaches_none(server: Running, method: str) -> None:
    # Many servers refuse what is no upper-case name.  Hypercorn writes all methods in capitals, as the ASGI
    # specification has it, so `get` is GET there.
    answer = exchange(server, f"{method} /own HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    assert answer.status in (400, 405, 501)


def test_path_parameters_are_converted(client: httpx.Client) -> None:
    answer = client.get("/users/42/J%C3%BCrgen%20M.")
    assert answer.json() == {"user_id": 42, "name": "Jürgen M.", "path": "/users/42/Jürgen M."}
    assert client.get("/users/x42/a").status_code == 404


def test_a_path_may_hold_any_text(client: httpx.Client) -> None:
    answer = client.get("/größe/ñ/日本/%F0%9F%90%8D/a+b;c=d")
    assert answer.json()["rest"] == "ñ/日本/🐍/a+b;c=d"
    assert answer.json()["path"] == "/größe/ñ/日本/🐍/a+b;c=d"
    assert httpx.URL(answer.json()["url"]).path == answer.json()["path"]


def test_a_query_is_parsed_with_its_repetitions(client: httpx.Client) -> None:
    answer = client.get("/query?a=1&b=%C3%BC+x&a=2&empty=&c=%26")
    assert answer.json() == [["a", "1"], ["b", "ü x"], ["a", "2"], ["empty", ""], ["c", "&"]]


def test_headers_arrive_and_leave(server: Running, client: httpx.Client) -> None:
    seen = client.get("/headers", headers={"X-Mixed-Case": "Yes", "x-list": "a, b", "x-empty": ""}).json()
    assert (seen["x-mixed-case"], seen["x-list"], seen["x-empty"]) == ("Yes", "a, b", "")
    answer = client.get("/page")
    assert answer.text == "<p>Grüße</p>"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-mixed-case"] == "yes"
    latin = next(value for name, value in answer.headers.raw if name.lower() == b"x-latin")
    assert latin == (b"caf\xe9" if server.server.latin_headers else "café".encode())


def test_latin_1_in_a_header_value_is_kept(server: Running) -> None:
    answer = exchange(server, b"GET /headers HTTP/1.1\r\nHost: h\r\nx-l: caf\xe9\r\nConnection: close\r\n\r\n")
    assert answer.status == 200
    assert ('"x-l":"café"' in answer.text) is server.server.latin_headers


def test_a_repeated_header_is_one_value(server: Running) -> None:
    answer = exchange(server, b"GET /headers HTTP/1.1\r\nHost: h\r\nx-a: 1\r\nx-a: 2\r\nConnection: close\r\n\r\n")
    assert '"x-a":"1,2"' in answer.text.replace("1, 2", "1,2")


def test_a_header_with_an_underscore_does_not_pass_for_one_with_a_hyphen(server: Running) -> None:
    answer = exchange(
        server, b"GET /headers HTTP/1.1\r\nHost: h\r\nx-user: good\r\nx_user: bad\r\nConnection: close\r\n\r\n"
    )
    assert answer.status == 200
    assert ('"x-user":"good"' in answer.text, "bad" in answer.text) == (
        (False, True) if server.server.underscores else (True, False)
    )


def test_cookies_go_both_ways(client: httpx.Client) -> None:
    first = client.get("/cookies", headers={"cookie": 'third=3; odd; quoted="4"'})
    assert (first.json()["third"], first.json()["quoted"]) == ("3", "4")
    assert len(first.headers.get_list("set-cookie")) == 3
    client.cookies.update(first.cookies)
    again = client.get("/cookies")
    assert again.json() == {"first": "1", "second": "zwei, 2; zwo"}


def test_two_cookie_headers_are_one(server: Running) -> None:
    answer = exchange(
        server, b"GET /headers HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\nCookie: b=2\r\nConnection: close\r\n\r\n"
    )
    assert f'"cookie":"{server.server.cookies}"' in answer.text


@pytest.mark.parametrize("path", ["/no-content", "/not-modified"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_204_and_304_have_no_body(server: Running, path: str, method: str) -> None:
    with connected(server) as wire:
        wire.send(f"{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        head, _, body = wire.rest().partition(b"\r\n\r\n")
    assert head.split()[1] == (b"204" if path == "/no-content" else b"304")
    assert body == b""
    assert b"transfer-encoding" not in head.lower()
    if path == "/no-content":
        assert b"content-length" not in head.lower()
    else:
        assert b'etag: "x"' in head.lower()


def test_a_status_without_a_name_is_sent(client: httpx.Client) -> None:
    answer = client.get("/odd-status?status=299")
    assert (answer.status_code, answer.text) == (299, "odd")


@COLOURS
def test_head_of_a_stream_has_no_body(server: Running, colour: str) -> None:
    with connected(server) as wire:
        wire.send(f"HEAD /large/{colour} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        answer = wire.rest()
    assert answer.startswith(b"HTTP/1.1 200")
    after = answer.partition(b"\r\n\r\n")[2]
    assert after == (b"0\r\n\r\n" if server.server.chunks_after_head else b""), "nothing of ours follows the headers"


def test_a_slash_redirect_goes_both_ways_and_keeps_method_and_query(client: httpx.Client) -> None:
    for path, location in (("/with-slash?a=%20b&c", "/with-slash/?a=%20b&c"), ("/without-slash/", "/without-slash")):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (307, location)
        assert client.get(path, follow_redirects=True).text == "hello from a def"


def test_url_for_makes_absolute_urls_of_the_host_that_was_asked(server: Running, client: httpx.Client) -> None:
    about = client.get("/inner/about").json()
    assert about["root_path"] == "/inner"
    assert about["path"] == "/inner/about"
    assert about["url"] == f"{server.url}/inner/about"
    assert about["user_url"] == f"{server.url}/users/7/%C3%BC"
    assert about["inner_url"] == f"{server.url}/inner/about"
    assert about["socket_url"] == f"ws://{server.address}/ws/text/a"
    assert about["client"] == "127.0.0.1"
    other = client.get("/about", headers={"host": "Other.Example:8443"}).json()
    assert other["user_url"] == "http://Other.Example:8443/users/7/%C3%BC"
    assert other["host"] == "other.example"


def test_one_connection_serves_many_requests(server: Running) -> None:
    with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
        for number in range(5):
            assert client.get(f"/users/{number}/a").json()["user_id"] == number
            assert client.post("/echo/def", content=b"x" * number).content == b"x" * number
            assert client.delete("/no-content").status_code == 204
            assert client.head("/large/def").status_code == 200
            assert len(client.get("/large/async").content) == 8 * 1024 * 1024
