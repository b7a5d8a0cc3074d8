"""Headers, query parameters, URLs and state."""

from __future__ import annotations

from typing import Any

import pytest

from dualroute import PlainTextResponse, Request, Response, Route, Router, SyncRequest
from dualroute.datastructures import (
    URL,
    FormData,
    Headers,
    ImmutableMultiDict,
    MultiDict,
    MutableHeaders,
    QueryParams,
    State,
)
from tests.conftest import Serve

# ImmutableMultiDict and QueryParams


def test_a_multidict_shows_the_last_value_of_a_key_and_keeps_them_all() -> None:
    multidict: ImmutableMultiDict[str, int] = ImmutableMultiDict([("a", 1), ("b", 2), ("a", 3)])
    assert multidict["a"] == 3
    assert multidict.get("c") is None
    assert "b" in multidict
    assert "c" not in multidict
    assert list(multidict) == ["a", "b"]
    assert len(multidict) == 2
    assert list(multidict.items()) == [("a", 3), ("b", 2)]
    assert multidict.getlist("a") == [1, 3]
    assert multidict.getlist("c") == []
    assert multidict.multi_items() == [("a", 1), ("b", 2), ("a", 3)]
    with pytest.raises(KeyError):
        multidict["c"]


def test_multidicts_are_made_from_pairs_mappings_and_multidicts() -> None:
    assert ImmutableMultiDict({"a": 1}).multi_items() == [("a", 1)]
    first = ImmutableMultiDict([("a", 1), ("a", 2)])
    assert ImmutableMultiDict(first).multi_items() == [("a", 1), ("a", 2)]
    assert ImmutableMultiDict().multi_items() == []


def test_multidicts_are_equal_by_content_in_any_order_and_never_across_classes() -> None:
    assert ImmutableMultiDict([("a", 1), ("b", 2)]) == ImmutableMultiDict([("b", 2), ("a", 1)])
    assert ImmutableMultiDict([("a", 1), ("a", 2)]) != ImmutableMultiDict([("a", 2)])
    assert ImmutableMultiDict([("a", "1")]) != QueryParams("a=1")
    assert ImmutableMultiDict([("a", 1)]) != {"a": 1}
    with pytest.raises(TypeError, match="unhashable"):
        hash(ImmutableMultiDict())


def test_further_pairs_come_by_name() -> None:
    assert ImmutableMultiDict([("a", 1)], a=2, b=3).multi_items() == [("a", 1), ("a", 2), ("b", 3)]
    assert QueryParams("a=1", items=2).multi_items() == [("a", "1"), ("items", "2")]
    assert QueryParams(a=1, b="x y") == QueryParams({"a": 1, "b": "x y"}) == QueryParams("a=1&b=x+y")
    assert FormData(a="1").multi_items() == [("a", "1")]


def test_a_multidict_s_class_takes_the_types_of_keys_and_values() -> None:
    class Numbers(ImmutableMultiDict[str, int]):
        pass

    assert Numbers([("a", 1)])["a"] == 1


def test_a_multidict_can_be_changed() -> None:
    multidict = MultiDict([("a", 1), ("a", 2), ("b", 3), ("a", 4)])
    multidict["b"] = 5
    multidict.append("b", 6)
    assert multidict.multi_items() == [("a", 1), ("a", 2), ("a", 4), ("b", 5), ("b", 6)]
    assert multidict["b"] == 6
    assert multidict.poplist("a") == [1, 2, 4]
    assert "a" not in multidict
    assert (multidict.pop("a"), multidict.pop("a", 7), multidict.poplist("a")) == (None, 7, [])
    multidict.setlist("c", iter([8, 9]))
    assert (multidict.getlist("c"), multidict["c"]) == ([8, 9], 9)
    multidict.setlist("c", [])
    assert "c" not in multidict
    assert (multidict.setdefault("b", 0), multidict.setdefault("d", 10), multidict.setdefault("e")) == (6, 10, None)
    multidict.update([("b", 11), ("b", 12)], f=13)
    assert multidict.multi_items() == [("d", 10), ("e", None), ("b", 11), ("b", 12), ("f", 13)]
    del multidict["b"]
    assert multidict.popitem() == ("f", 13)
    assert multidict.multi_items() == [("d", 10), ("e", None)]
    with pytest.raises(KeyError):
        del multidict["b"]
    multidict.clear()
    assert (len(multidict), multidict.multi_items(), multidict == MultiDict()) == (0, [], True)
    with pytest.raises(KeyError):
        multidict.popitem()


@pytest.mark.parametrize(
    ("query", "items"),
    [
        ("", []),
        ("a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")]),
        ("a=&b", [("a", ""), ("b", "")]),
        ("a=x+y%20z%2B", [("a", "x y z+")]),
        ("%C3%BC=%E2%82%AC", [("ü", "€")]),
        ("a=%ff", [("a", "\ufffd")]),
        ("a=1;b=2", [("a", "1;b=2")]),
        ("&&a=1&&", [("a", "1")]),
        ("a==b=", [("a", "=b=")]),
        (b"a=1&b=%20", [("a", "1"), ("b", " ")]),
        ([("a", "1"), ("a", "2")], [("a", "1"), ("a", "2")]),
        ({"a": "1"}, [("a", "1")]),
    ],
)
def test_a_query_string_is_parsed(query: Any, items: list[tuple[str, str]]) -> None:
    params = QueryParams(query)
    assert params.multi_items() == items
    assert QueryParams(str(params)) == params


def test_query_params_are_written_as_a_query_string() -> None:
    assert str(QueryParams([("a", "x y"), ("a", "ü&"), ("b", "")])) == "a=x+y&a=%C3%BC%26&b="
    assert repr(QueryParams("a=1")) == "QueryParams([('a', '1')])"


# Headers


def test_headers_are_found_in_any_case() -> None:
    headers = Headers([("Content-Type", "text/plain"), ("X-A", "1"), ("x-a", "2")])
    assert headers["content-type"] == headers["CONTENT-TYPE"] == "text/plain"
    assert headers["X-a"] == "1"
    assert headers.getlist("x-A") == ["1", "2"]
    assert headers.get("none") is None
    assert "X-A" in headers
    assert "none" not in headers
    number: Any = 3
    assert number not in headers
    assert list(headers) == headers.keys() == ["content-type", "x-a", "x-a"]
    assert len(headers) == 3
    assert headers.values() == ["text/plain", "1", "2"]
    assert headers.multi_items() == headers.items() == [("content-type", "text/plain"), ("x-a", "1"), ("x-a", "2")]
    assert dict(headers) == {"content-type": "text/plain", "x-a": "1"}
    with pytest.raises(KeyError):
        headers["none"]


def test_headers_are_made_from_mappings_pairs_headers_and_bytes() -> None:
    raw = [(b"X-A", b"caf\xe9"), (b"x-a", b"2")]
    headers = Headers(raw=raw)
    assert headers.multi_items() == [("x-a", "café"), ("x-a", "2")]
    assert headers.raw == [(b"x-a", b"caf\xe9"), (b"x-a", b"2")]
    assert Headers(headers).multi_items() == headers.multi_items()
    assert Headers({"A": "1"}).multi_items() == [("a", "1")]
    assert Headers().multi_items() == []


def test_headers_are_equal_by_content() -> None:
    assert Headers([("A", "1"), ("b", "2")]) == Headers([("B", "2"), ("a", "1")])
    assert Headers({"a": "1"}) != Headers({"a": "2"})
    assert Headers({"a": "1"}) != {"a": "1"}
    assert repr(Headers({"A": "1"})) == "Headers([('a', '1')])"
    with pytest.raises(TypeError, match="unhashable"):
        hash(Headers())


def test_a_mutable_copy_leaves_the_original_as_it_is() -> None:
    headers = Headers({"a": "1"})
    copy = headers.mutablecopy()
    copy["a"] = "2"
    assert (headers["a"], copy["a"]) == ("1", "2")


def test_headers_are_made_from_a_scope_and_by_position() -> None:
    raw = [(b"A", b"1"), (b"a", b"2")]
    assert Headers(scope={"headers": tuple(raw)}) == Headers(None, raw) == Headers([("a", "1"), ("a", "2")])


@pytest.mark.parametrize("cls", [Headers, MutableHeaders])
@pytest.mark.parametrize("names", [("headers", "raw"), ("headers", "scope"), ("raw", "scope")])
def test_headers_are_made_from_one_thing(cls: Any, names: tuple[str, str]) -> None:
    given: dict[str, Any] = {"headers": {"a": "1"}, "raw": [], "scope": {"headers": []}}
    with pytest.raises(TypeError, match=rf"{cls.__name__} takes one of headers=, raw= and scope="):
        cls(**{name: given[name] for name in names})


CHANGES: dict[str, Any] = {
    "item": lambda headers: headers.__setitem__("A", "9"),
    "new item": lambda headers: headers.__setitem__("c", "9"),
    "removal": lambda headers: headers.__delitem__("a"),
    "append": lambda headers: headers.append("a", "9"),
    "update": lambda headers: headers.update({"b": "8", "d": "9"}),
    "setdefault": lambda headers: headers.setdefault("e", "9"),
    "vary": lambda headers: headers.add_vary_header("accept"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("kind", ["raw", "list in a message", "tuple in a message"])
def test_what_is_done_to_the_headers_of_an_asgi_message_is_done_to_the_message(change: Any, kind: str) -> None:
    raw = [(b"A", b"1"), (b"b", b"2"), (b"a", b"\xe9")]
    message: dict[str, Any] = {"headers": tuple(raw) if kind.startswith("tuple") else raw}
    headers = MutableHeaders(raw=raw) if kind == "raw" else MutableHeaders(scope=message)
    expected = MutableHeaders([("A", "1"), ("b", "2"), ("a", "é")])
    assert headers == expected
    change(headers)
    change(expected)
    assert headers == expected
    assert (raw if kind == "raw" else message["headers"]) == list(expected.raw)
    assert isinstance(message["headers"], list | tuple)


def test_a_message_is_not_checked_but_what_is_put_into_it_is() -> None:
    message = {"headers": [(b"a b", b"1")]}
    headers = MutableHeaders(scope=message)
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        headers["c"] = "\n"
    assert message["headers"] == [(b"a b", b"1")]


RAW_CHANGES: dict[str, Any] = {
    "append": lambda raw: raw.append((b"X-New", b"9")),
    "extend": lambda raw: raw.extend([(b"x", b"1"), (b"y", b"\xe9")]),
    "insert": lambda raw: raw.insert(0, (b"x", b"1")),
    "item": lambda raw: raw.__setitem__(0, (b"x", b"1")),
    "slice": lambda raw: raw.__setitem__(slice(None), [(b"x", b"1")]),
    "removal": lambda raw: raw.remove((b"a", b"1")),
    "deletion": lambda raw: raw.__delitem__(0),
    "pop": lambda raw: raw.pop(),
    "in place": lambda raw: raw.__iadd__([(b"x", b"1")]),
    "clear": lambda raw: raw.clear(),
    "reverse": lambda raw: raw.reverse(),
    "sort": lambda raw: raw.sort(key=lambda pair: pair[1], reverse=True),
}


@pytest.mark.parametrize("change", RAW_CHANGES.values(), ids=RAW_CHANGES)
def test_what_is_done_to_the_raw_headers_is_done_to_the_headers(change: Any) -> None:
    headers = MutableHeaders([("a", "1"), ("b", "2")])
    expected = [(b"a", b"1"), (b"b", b"2")]
    raw = headers.raw
    assert change(raw) == change(expected) or raw == expected
    assert raw == expected
    assert headers.raw == [(name.lower(), value) for name, value in expected]


@pytest.mark.parametrize("pair", [(b"a b", b"1"), (b"a", b"1\r\nx: y")])
def test_what_can_not_be_sent_is_refused_among_raw_headers_too(pair: tuple[bytes, bytes]) -> None:
    headers = MutableHeaders({"a": "1"})
    raw = headers.raw
    with pytest.raises(ValueError, match="header"):
        raw.append(pair)
    assert raw == headers.raw == [(b"a", b"1")]


def test_raw_headers_of_a_response_are_sent(serve: Serve) -> None:
    def add(request: SyncRequest) -> Response:
        response = PlainTextResponse("")
        response.raw_headers.append((b"Set-Cookie", b"a=1"))
        response.headers.raw.extend([(b"set-cookie", b"b=2")])
        return response

    async def replace(request: Request) -> Response:
        response = PlainTextResponse("")
        response.raw_headers = [*response.raw_headers, (b"x-a", b"1"), (b"x-b", b"2")]
        response.raw_headers = [pair for pair in response.raw_headers if pair[0] != b"x-b"]
        return response

    client = serve(Router([Route("/add", add), Route("/replace", replace)]))
    assert client.get("/add").headers.get_list("set-cookie") == ["a=1", "b=2"]
    answer = client.get("/replace").headers
    assert (answer["x-a"], answer["content-length"], "x-b" in answer) == ("1", "0", False)


def test_headers_can_be_changed() -> None:
    headers = MutableHeaders([("a", "1"), ("b", "2"), ("A", "3")])
    headers["A"] = "4"
    assert headers.multi_items() == [("a", "4"), ("b", "2")]
    headers["c"] = "5"
    headers.append("C", "6")
    assert headers.getlist("c") == ["5", "6"]
    del headers["C"]
    del headers["not-there"]
    assert headers.setdefault("a", "x") == "4"
    assert headers.setdefault("d", "7") == "7"
    headers.update({"b": "8", "E": "9"})
    assert headers.multi_items() == [("a", "4"), ("b", "8"), ("d", "7"), ("e", "9")]


def test_vary_grows_by_what_is_not_in_it() -> None:
    headers = MutableHeaders()
    headers.add_vary_header("Accept")
    headers.add_vary_header("Cookie")
    headers.add_vary_header("accept")
    assert headers["vary"] == "Accept, Cookie"
    headers = MutableHeaders([("vary", "a"), ("vary", "b, c")])
    headers.add_vary_header("d")
    assert headers.multi_items() == [("vary", "a, b, c, d")]


BAD_HEADERS: list[tuple[str, Any, type[Exception], str]] = [
    *(
        (name, "v", ValueError, "is no header name: it must be a token")
        for name in ("", "a b", "a:", "a\r\nb", "a\0", "ü", "(a)", "a\t")
    ),
    *(
        ("x", value, ValueError, "holds a CR, LF or NUL")
        for value in ("a\r\nset-cookie: b", "\n", "\r", "a\0b", "a\r\n", "\r\n b")
    ),
    ("x", "€", ValueError, "holds a character outside Latin-1"),
    ("x", 3, TypeError, "must be a str, not int: 3"),
    ("x", b"b", TypeError, "must be a str, not bytes: b'b'"),
    ("x", None, TypeError, "must be a str, not NoneType: None"),
]


@pytest.mark.parametrize(("name", "value", "error", "message"), BAD_HEADERS)
def test_what_can_not_be_sent_is_refused_where_it_is_put_in(
    name: str, value: Any, error: type[Exception], message: str
) -> None:
    def put(how: str) -> None:
        headers = MutableHeaders({"ok": "1"})
        try:
            if how == "item":
                headers[name] = value
            elif how == "append":
                headers.append(name, value)
            elif how == "setdefault":
                headers.setdefault(name, value)
            elif how == "update":
                headers.update({name: value})
            else:
                MutableHeaders({name: value})
        finally:
            assert headers.multi_items() == [("ok", "1")]

    for how in ("item", "append", "setdefault", "update", "constructor"):
        with pytest.raises(error, match=message):
            put(how)


@pytest.mark.parametrize("value", ["", "a b", "é", "a\tb", 'W/"x", "y"', "a, b; c=d"])
def test_ordinary_values_are_taken_as_they_are(value: str) -> None:
    headers = MutableHeaders({"x": value})
    assert headers["x"] == value
    assert headers.raw == [(b"x", value.encode("latin-1"))]


# URL


SCOPES: dict[str, dict[str, Any]] = {
    "https://example.org/app/caf%C3%A9?q=a%20b": {
        "scheme": "https",
        "server": ("example.org", 443),
        "path": "/app/café",
        "root_path": "/app",
        "query_string": b"q=a%20b",
        "headers": [],
    },
    "ws://host:81/x": {"type": "websocket", "path": "/x", "headers": [(b"host", b"host:81")]},
    "http://localhost/": {"path": "/", "headers": []},
}


@pytest.mark.parametrize(("url", "scope"), SCOPES.items(), ids=SCOPES)
def test_a_url_is_made_of_a_scope(url: str, scope: dict[str, Any]) -> None:
    given = {"type": "http", **scope}
    assert URL(scope=given) == url
    assert URL("", given).is_secure == url.startswith("https")


def test_a_url_is_made_of_components() -> None:
    assert URL(scheme="https", hostname="example.org", port=81, path="/x") == "https://example.org:81/x"
    assert URL(path="/x", query="a=1") == "/x?a=1"


@pytest.mark.parametrize(
    "given", [{"url": "/", "scope": {}}, {"url": "/", "path": "/"}, {"scope": {}, "path": "/"}], ids=repr
)
def test_a_url_is_made_of_one_thing(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="URL takes one of"):
        URL(**given)


def test_a_url_shows_its_parts() -> None:
    url = URL("https://user:secret@Example.org:8443/a%20b;p?q=1&r#frag")
    assert (url.scheme, url.netloc, url.path) == ("https", "user:secret@Example.org:8443", "/a%20b;p")
    assert (url.query, url.fragment) == ("q=1&r", "frag")
    assert (url.username, url.password, url.hostname, url.port) == ("user", "secret", "example.org", 8443)
    assert url.is_secure
    assert not URL("ws://h/").is_secure
    assert URL("/only/path").hostname is None


@pytest.mark.parametrize(
    ("url", "parts", "replaced"),
    [
        ("http://h/a?q#f", {"scheme": "https"}, "https://h/a?q#f"),
        ("http://h/a?q#f", {"path": "/b"}, "http://h/b?q#f"),
        ("http://h/a?q#f", {"query": "", "fragment": ""}, "http://h/a"),
        ("http://h/a", {"port": 81}, "http://h:81/a"),
        ("http://h:80/a", {"port": None}, "http://h/a"),
        ("http://h:80/a", {"hostname": "i"}, "http://i:80/a"),
        ("http://u:p@h:80/a", {"hostname": "i"}, "http://u:p@i:80/a"),
        ("http://u:p@h/", {"username": "v"}, "http://v:p@h/"),
        ("http://h/", {"username": "u", "password": "p"}, "http://u:p@h/"),
        ("http://u:p@h/", {"username": None, "password": None}, "http://h/"),
        ("http://[::1]:8/a", {"port": 9}, "http://[::1]:9/a"),
        ("http://[::1]/a", {"port": 9}, "http://[::1]:9/a"),
        ("http://h:1/a", {"netloc": "i:2"}, "http://i:2/a"),
        ("http://u@H:1/a", {"port": None}, "http://u@H/a"),
    ],
)
def test_parts_of_a_url_can_be_replaced(url: str, parts: dict[str, Any], replaced: str) -> None:
    assert str(URL(url).replace(**parts)) == replaced


def test_query_parameters_of_a_url_can_be_changed() -> None:
    url = URL("http://h/a?x=1&y=2&x=3#f")
    assert str(url.include_query_params(x=9, z="ü ")) == "http://h/a?y=2&x=9&z=%C3%BC+#f"
    assert str(url.replace_query_params(a=1)) == "http://h/a?a=1#f"
    assert str(url.replace_query_params()) == "http://h/a#f"
    assert str(url.remove_query_params("x")) == "http://h/a?y=2#f"
    assert str(url.remove_query_params(["x", "y"])) == "http://h/a#f"


def test_urls_are_equal_to_their_text() -> None:
    assert URL("http://h/") == URL("http://h/") == "http://h/"
    assert URL("http://h/") != URL("http://i/")
    assert URL("3") != 3
    assert len({URL("http://h/"), URL("http://h/")}) == 1
    assert hash(URL("http://h/")) == hash("http://h/")


def test_a_password_is_not_shown() -> None:
    assert repr(URL("http://u:secret@h/")) == "URL('http://u:********@h/')"
    assert repr(URL("http://h/")) == "URL('http://h/')"
    assert str(URL("http://u:secret@h/")) == "http://u:secret@h/"


# State


def test_state_is_attributes_and_items_alike() -> None:
    given: dict[str, Any] = {"a": 1}
    state = State(given)
    state.b = 2
    state["c"] = 3
    assert (state.a, state["b"], state.c) == (1, 2, 3)
    assert given == {"a": 1, "b": 2, "c": 3}
    assert list(state) == ["a", "b", "c"]
    assert len(state) == 3
    assert "a" in state
    del state.a
    del state["b"]
    assert given == {"c": 3}
    assert repr(state) == "State({'c': 3})"


def test_what_is_not_in_the_state_is_a_plain_error() -> None:
    state = State()
    with pytest.raises(AttributeError, match="'State' object has no attribute 'x'"):
        state.x  # noqa: B018  # looking is the test
    with pytest.raises(AttributeError, match="'State' object has no attribute 'x'"):
        del state.x
    with pytest.raises(KeyError):
        state["x"]
    assert not hasattr(state, "x")
    assert "x" not in state
