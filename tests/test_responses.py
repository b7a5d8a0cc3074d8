"""Responses: what is set on them is what is sent."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dualroute import (
    DualRoute,
    FileResponse,
    HTMLResponse,
    JSONResponse,
    Mount,
    PlainTextResponse,
    RedirectResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
    responses,
)
from dualroute.datastructures import URL
from dualroute.responses import status_line
from tests.conftest import Serve

# The content


@pytest.mark.parametrize(
    ("response", "body", "content_type"),
    [
        (Response("héllo", media_type="text/plain"), "héllo".encode(), "text/plain; charset=utf-8"),
        (Response(b"\x00\xff", media_type="application/octet-stream"), b"\x00\xff", "application/octet-stream"),
        (Response(bytearray(b"ab"), media_type="image/png"), b"ab", "image/png"),
        (Response(memoryview(b"abc")[1:], media_type="image/png"), b"bc", "image/png"),
        (Response("x", media_type="text/css; charset=latin-1"), b"x", "text/css; charset=latin-1"),
        (Response("x", headers={"Content-Type": "text/x"}, media_type="text/y"), b"x", "text/x"),
        (PlainTextResponse("ü"), "ü".encode(), "text/plain; charset=utf-8"),
        (PlainTextResponse(), b"", "text/plain; charset=utf-8"),
        (HTMLResponse("<p>"), b"<p>", "text/html; charset=utf-8"),
        (JSONResponse({"a": ["ü", None, 1.5]}), '{"a":["ü",null,1.5]}'.encode(), "application/json"),
        (JSONResponse(None), b"null", "application/json"),
    ],
)
def test_content_is_sent_with_its_type_and_length(
    serve: Serve, response: Response, body: bytes, content_type: str
) -> None:
    received = serve(response).get("/")
    assert received.content == body
    assert received.headers["content-type"] == content_type
    assert received.headers["content-length"] == str(len(body))


def test_a_class_may_have_a_charset_and_a_rendering_of_its_own(serve: Serve) -> None:
    class Latin(Response):
        media_type = "text/plain"
        charset = "latin-1"

        def render(self, content: Any) -> bytes:
            return super().render(content.upper())

    received = serve(Latin("é")).get("/")
    assert (received.content, received.headers["content-type"]) == (b"\xc9", "text/plain; charset=latin-1")


@pytest.mark.parametrize("content", [3, ["x"], {"a": 1}, object()])
def test_content_of_another_type_is_refused(content: Any) -> None:
    with pytest.raises(
        TypeError, match=f"the content of a Response must be str or bytes, not {type(content).__name__}"
    ):
        Response(content)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), {"a": [float("nan")]}])
def test_json_has_no_form_for_nan_and_infinities(value: Any) -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        JSONResponse(value)


def test_json_refuses_what_it_can_not_hold() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        JSONResponse({1, 2})


def test_json_keeps_control_characters_escaped() -> None:
    assert JSONResponse("\n\0\u2028").body == '"\\n\\u0000\u2028"'.encode()
    assert json.loads(JSONResponse("\n\0\u2028").body) == "\n\0\u2028"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(SCALARS, inner) | st.just({1}),
)


def written(write: Callable[[Any], bytes], value: Any) -> Any:
    """Return what is made of a value, or what is raised."""
    try:
        return write(value)
    except (TypeError, ValueError) as error:
        return type(error), str(error)


@given(VALUES)
@example([1.5, -0.0, 1e400, {1.5: 2, None: 3, True: 4}])
@example({(1,): 2})
def test_json_is_what_the_standard_encoder_makes_of_it(value: Any) -> None:
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    by_encoder = written(lambda value: encoder.encode(value).encode(), value)
    assert written(lambda value: JSONResponse(value).body, value) == by_encoder
    assert written(JSONResponse(None).render, value) == by_encoder


def test_a_value_that_holds_itself_has_no_json() -> None:
    value: list[Any] = []
    value.append({"itself": value})
    with pytest.raises(ValueError, match="Circular reference detected"):
        JSONResponse(value)


def test_json_does_without_what_the_standard_library_does_not_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    if platform.python_implementation() == "CPython":
        assert responses._quick_json() is not None
    for other in (lambda *args: None, lambda *args: lambda value, level: ("other",), None):
        monkeypatch.setattr("json.encoder.c_make_encoder", other)
        responses._quick_json.cache_clear()
        assert responses._quick_json() is None
    assert JSONResponse({"a": "ü"}).body == '{"a":"ü"}'.encode()
    responses._quick_json.cache_clear()


# Status and headers


@pytest.mark.parametrize(("status", "line"), [(200, "200 OK"), (404, "404 Not Found"), (299, "299 Status 299")])
def test_a_status_line_has_a_reason(status: int, line: str) -> None:
    assert status_line(status) == line


@pytest.mark.parametrize("status", [200, 201, 299, 404, 418, 503, 599])
def test_any_status_is_sent(serve: Serve, status: int) -> None:
    assert serve(PlainTextResponse("x", status_code=status)).get("/").status_code == status


def test_headers_may_be_changed_until_the_response_is_returned(serve: Serve) -> None:
    def endpoint(request: SyncRequest) -> Response:
        response = PlainTextResponse("x", headers={"X-One": "1", "x-two": "2"})
        response.headers["x-one"] = "changed"
        del response.headers["X-Two"]
        response.headers.append("x-three", "a")
        response.headers.append("x-three", "b")
        response.status_code = 201
        return response

    received = serve(DualRoute([Route("/", endpoint)])).get("/")
    assert received.status_code == 201
    assert received.headers["x-one"] == "changed"
    assert "x-two" not in received.headers
    assert received.headers.get_list("x-three") == ["a", "b"]


def test_a_latin_1_header_arrives_byte_by_byte(serve: Serve) -> None:
    received = serve(PlainTextResponse("x", headers={"x": "caf\xe9"})).get("/")
    assert (b"x", b"caf\xe9") in received.headers.raw


@pytest.mark.parametrize(
    "headers", [{"x": "a\r\nb: c"}, {"x\n": "a"}, {"x": "a\0"}, {"": "a"}, {"x": "€"}, {"a b": "c"}]
)
def test_headers_that_can_not_be_sent_are_refused_at_once(headers: dict[str, str]) -> None:
    for make in (Response, PlainTextResponse, HTMLResponse, JSONResponse):
        with pytest.raises(ValueError, match="header"):
            make("x", headers=headers)
    with pytest.raises(ValueError, match="header"):
        StreamingResponse([], headers=headers)
    with pytest.raises(ValueError, match="header"):
        RedirectResponse("/", headers=headers)


@pytest.mark.parametrize("media_type", ["text/plain\r\nx: y", "text/pl\0in", "text/€"])
def test_a_media_type_is_checked_as_any_header_is(media_type: str) -> None:
    with pytest.raises(ValueError, match="content-type"):
        Response("x", media_type=media_type)


@pytest.mark.parametrize(
    "name",
    ["Connection", "keep-alive", "Proxy-Connection", "TE", "Trailer", "Trailers", "Transfer-Encoding", "Upgrade"],
)
def test_headers_about_the_connection_are_left_to_the_server(serve: Serve, name: str) -> None:
    received = serve(PlainTextResponse("x", headers={name: "chunked", "x-kept": "1"})).get("/")
    assert name not in received.headers
    assert (received.text, received.headers["x-kept"]) == ("x", "1")


def test_a_length_given_by_hand_is_kept(serve: Serve) -> None:
    received = serve(PlainTextResponse("x", headers={"Content-Length": "1"})).get("/")
    assert received.headers.get_list("content-length") == ["1"]


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_204_and_304_have_no_body(serve: Serve, status: int, method: str) -> None:
    def endpoint(request: SyncRequest) -> Response:
        return Response(b"not sent", status_code=status)

    received = serve(DualRoute([Route("/", endpoint, methods=["GET", "POST"])])).request(method, "/")
    assert (received.status_code, received.content) == (status, b"")
    assert "content-length" not in received.headers


def test_a_204_loses_a_length_set_by_hand_and_a_304_keeps_it(serve: Serve) -> None:
    # RFC 9110 section 8.6: a 304 may say how long the representation is, a 204 must not.
    assert "content-length" not in serve(Response(status_code=204, headers={"content-length": "3"})).get("/").headers
    assert serve(Response(status_code=304, headers={"content-length": "3"})).get("/").headers["content-length"] == "3"


def test_a_status_changed_to_204_takes_the_length_away(serve: Serve) -> None:
    def endpoint(request: SyncRequest) -> Response:
        response = Response(b"x")
        response.status_code = 204
        return response

    received = serve(DualRoute([Route("/", endpoint)])).get("/")
    assert (received.content, "content-length" in received.headers) == (b"", False)


def test_head_has_the_headers_of_get_and_no_body(serve: Serve) -> None:
    client = serve(PlainTextResponse("four"))
    assert client.head("/").headers == client.get("/").headers
    assert client.head("/").content == b""


# Redirects


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("/a/b?c=d&e=%20#f", "/a/b?c=d&e=%20#f"),
        ("https://example.org/ü?q=ä b", "https://example.org/%C3%BC?q=%C3%A4%20b"),
        (URL("http://h/x"), "http://h/x"),
        ("relative", "relative"),
        ('/"<>\\^`{|}', "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("http://[::1]/", "http://[::1]/"),
        ("", ""),
    ],
)
def test_a_redirect_encodes_what_can_not_stand_in_a_url(serve: Serve, url: Any, location: str) -> None:
    received = serve(RedirectResponse(url)).get("/")
    assert (received.status_code, received.headers["location"], received.content) == (307, location, b"")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_has_the_status_it_is_given(serve: Serve, status: int) -> None:
    received = serve(RedirectResponse("/x", status_code=status, headers={"x": "y"})).get("/")
    assert (received.status_code, received.headers["location"], received.headers["x"]) == (status, "/x", "y")


@pytest.mark.parametrize("url", ["/a\r\nset-cookie: b=c", "/\n", "\r", "/a\0"])
def test_a_redirect_target_with_a_line_break_or_nul_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="the target of a redirect holds a CR, LF or NUL"):
        RedirectResponse(url)


# Cookies


def test_a_cookie_is_set_with_all_its_attributes(serve: Serve) -> None:
    def endpoint(request: SyncRequest) -> Response:
        response = PlainTextResponse("x")
        response.set_cookie(
            "sid", "abc", max_age=60, path="/p", domain="example.org", secure=True, httponly=True, samesite="strict"
        )
        response.set_cookie("plain", "1", samesite=None, path=None)
        return response

    cookies = serve(DualRoute([Route("/", endpoint)])).get("/").headers.get_list("set-cookie")
    assert len(cookies) == 2
    assert cookies[0].split("; ")[0] == "sid=abc"
    # Expires says the same as Max-Age, for clients that do not know that.
    assert {part for part in cookies[0].split("; ")[1:] if not part.startswith("Expires=")} == {
        "Domain=example.org",
        "Max-Age=60",
        "Secure",
        "HttpOnly",
        "Path=/p",
        "SameSite=Strict",
    }
    assert cookies[1] == "plain=1"


def set_cookie(*args: Any, **attributes: Any) -> str:
    response = Response()
    response.set_cookie(*args, **attributes)
    return response.headers["set-cookie"]


def test_a_cookie_is_for_the_whole_site_and_lax_unless_told_otherwise() -> None:
    assert set_cookie("a", "b") == "a=b; Path=/; SameSite=Lax"
    assert set_cookie("a") == "a=; Path=/; SameSite=Lax"


def test_a_partitioned_cookie_is_secure() -> None:
    assert {"Secure", "Partitioned"} <= set(set_cookie("a", partitioned=True).split("; "))


@pytest.mark.parametrize("expires", [60, datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), "Wed, 02 Jan 2030 03:04:05 GMT"])
def test_a_cookies_expiry_may_be_seconds_or_a_time_or_a_date(expires: Any) -> None:
    found = re.search("Expires=([^;]+)", set_cookie("a", expires=expires))
    assert found is not None
    when = parsedate_to_datetime(found[1])
    if isinstance(expires, int):
        assert abs(when - datetime.now(UTC) - timedelta(seconds=60)) < timedelta(seconds=10)
    else:
        assert when == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_deleted_cookie_is_expired() -> None:
    response = Response()
    response.delete_cookie("a", path="/p", domain="example.org", secure=True, httponly=True, samesite="none")
    parts = response.headers["set-cookie"].split("; ")
    assert parts[0] == "a="
    assert set(parts[1:]) == {
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Max-Age=0",
        "Path=/p",
        "Domain=example.org",
        "Secure",
        "HttpOnly",
        "SameSite=None",
    }


@pytest.mark.parametrize("value", ["a;b", "a,b", 'a"b', "a b", "a\\b", "a\r\nset-cookie: x=y", "a\0b", "ü", "€"])
def test_a_cookies_value_is_quoted_so_that_it_comes_back(serve: Serve, value: str) -> None:
    def give(request: SyncRequest) -> Response:
        response = PlainTextResponse("x")
        response.set_cookie("a", value)
        return response

    def take(request: SyncRequest) -> Response:
        return JSONResponse(request.cookies)

    client = serve(DualRoute([Route("/give", give), Route("/take", take)]))
    header = client.get("/give").headers["set-cookie"]
    pair = header.removesuffix("; Path=/; SameSite=Lax")
    assert pair.isascii()
    assert pair.isprintable()
    assert ";" not in pair
    client.cookies.clear()
    assert client.get("/take", headers={"cookie": pair}).json() == {"a": value}


@pytest.mark.parametrize("key", ["", "a b", "a=b", "a;b", "a\r\nb", "a\0", "ü", '"a"', "a,b"])
def test_a_cookies_name_must_be_a_token(key: str) -> None:
    with pytest.raises(ValueError, match="is no cookie name: it must be a token"):
        set_cookie(key, "v")
    with pytest.raises(ValueError, match="is no cookie name: it must be a token"):
        Response().delete_cookie(key)


@pytest.mark.parametrize("attribute", ["path", "domain", "expires"])
@pytest.mark.parametrize("text", ["/;x", "/\r\nset-cookie: b=c", "/\n", "/\0", "a; Secure", "/\x7f"])
def test_an_attribute_of_a_cookie_can_not_smuggle_another(attribute: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"the {attribute} of cookie 'a' holds a control character or a semicolon"):
        set_cookie("a", "v", **{attribute: text})


@pytest.mark.parametrize(
    ("key", "attributes", "message"),
    [
        ("__Secure-a", {}, "starts with __Secure- with secure=True only"),
        ("__host-a", {}, "starts with __host- with secure=True only"),
        ("__Host-a", {"secure": True, "path": "/p"}, "with path='/' and no domain only, not with path='/p'"),
        ("__Host-a", {"secure": True, "path": None}, "with path='/' and no domain only"),
        ("__Host-a", {"secure": True, "domain": "example.org"}, "and domain='example.org'"),
        ("__Http-a", {"secure": True}, "starts with __Http- with httponly=True only"),
        ("__Host-Http-a", {"secure": True}, "starts with __Host-Http- with httponly=True only"),
        ("__HOST-HTTP-a", {"secure": True, "httponly": True, "path": "/x"}, "with path='/' and no domain only"),
        ("a", {"samesite": "none"}, "samesite='none', which browsers take with secure=True only"),
        ("a", {"samesite": "None"}, "samesite='none'"),
    ],
)
def test_a_cookie_that_browsers_would_drop_is_refused(key: str, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        set_cookie(key, "v", **attributes)
    with pytest.raises(ValueError, match=re.escape(message)):
        Response().delete_cookie(key, **attributes)


@pytest.mark.parametrize(
    ("key", "attributes"),
    [
        ("__Secure-a", {"secure": True, "path": "/p", "domain": "example.org"}),
        ("__Secure-a", {"partitioned": True}),
        ("__Host-a", {"secure": True}),
        ("__Http-a", {"secure": True, "httponly": True, "path": "/p"}),
        ("__Host-Http-a", {"secure": True, "httponly": True}),
        ("a", {"samesite": "none", "secure": True}),
        ("a", {"samesite": "none", "partitioned": True}),
        ("__Host", {}),
    ],
)
def test_a_cookie_that_keeps_the_rules_of_its_name_is_set(key: str, attributes: dict[str, Any]) -> None:
    assert set_cookie(key, "v", **attributes).startswith(f"{key}=v")


def test_a_partitioned_cookie_can_be_deleted() -> None:
    response = Response()
    response.delete_cookie("a", partitioned=True)
    parts = response.headers["set-cookie"].split("; ")
    assert {"Max-Age=0", "Secure", "Partitioned"} <= set(parts)


def test_samesite_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="SameSite"):
        set_cookie("a", samesite="lax; Secure")


# Streams


def pieces() -> Iterator[str | bytes]:
    yield "é"
    yield b""
    yield b"b"
    yield ""
    yield bytearray(b"c")  # type: ignore[misc]  # what is like bytes is taken for them


async def async_pieces() -> AsyncIterator[str | bytes]:
    for piece in pieces():
        yield piece


@pytest.mark.parametrize("content", [pieces, async_pieces, lambda: ["é", b"bc"], lambda: ("é", "b", "c")])
def test_a_stream_comes_from_any_iterable_of_either_colour(serve: Serve, content: Any) -> None:
    def plain(request: SyncRequest) -> Response:
        return StreamingResponse(content(), media_type="text/plain")

    async def asynchronous(request: Request) -> Response:
        return StreamingResponse(content(), 202, {"x": "y"}, "text/plain")

    client = serve(DualRoute([Route("/plain", plain), Route("/async", asynchronous)]))
    received = client.get("/plain")
    assert (received.text, received.headers["content-type"]) == ("ébc", "text/plain; charset=utf-8")
    assert "content-length" not in received.headers
    received = client.get("/async")
    assert (received.status_code, received.text, received.headers["x"]) == (202, "ébc", "y")


@pytest.mark.parametrize("content", ["text", b"bytes", bytearray(b"x"), memoryview(b"x"), {"a": 1}, 3, None])
def test_what_is_no_stream_is_refused(content: Any) -> None:
    with pytest.raises(
        TypeError,
        match="a StreamingResponse takes an iterable or an async iterable of bytes or str, "
        f"not {type(content).__name__}",
    ):
        StreamingResponse(content)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 204, 304])
def test_a_stream_that_is_not_sent_is_closed_and_not_begun(serve: Serve, method: str, status: int) -> None:
    class Stream:
        begun = closed = 0

        def __iter__(self) -> Iterator[bytes]:
            self.begun += 1
            return iter([b"x"])

        def close(self) -> None:
            self.closed += 1

    stream = Stream()

    def endpoint(request: SyncRequest) -> Response:
        return StreamingResponse(stream, status_code=status, media_type="text/plain" if status == 200 else None)

    received = serve(DualRoute([Route("/", endpoint)])).request(method, "/")
    sent = method == "GET" and status == 200
    assert received.content == (b"x" if sent else b"")
    assert (stream.begun, stream.closed) == (int(sent), 1)


def test_a_stream_of_something_else_is_a_500_before_it_begins(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def endpoint(request: SyncRequest) -> Response:
        return StreamingResponse([3], media_type="text/plain")  # type: ignore[list-item]  # the mistake is the point

    received = serve(DualRoute([Route("/", endpoint)])).get("/")
    assert (received.status_code, received.text) == (500, "Internal Server Error")
    assert "the body of a streaming response must give bytes or str, not int" in caplog.text


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("kind", ["text", "stream", "async stream", "file"])
def test_a_response_answers_for_an_asgi_app_that_has_read_the_body(serve: Serve, kind: str, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"answer"

    def make() -> Response:
        if kind == "text":
            return PlainTextResponse("answer")
        if kind == "file":
            return FileResponse(__file__)
        return StreamingResponse(iter([b"answer"]) if kind == "stream" else pieces(), media_type="text/plain")

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http", "it has no lifespan"
        while (await receive()).get("more_body"):
            pass
        await make()(scope, receive, send)

    client = serve(DualRoute([Mount("/app", app=application)]))
    answer = client.post("/app/", content=iter([b"x", b"y"]) if chunked else b"xy")
    assert answer.content == (Path(__file__).read_bytes() if kind == "file" else b"answer")
