"""CORSMiddleware: preflight requests, and the headers of every other answer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from dualroute import Mount, Route
from dualroute.middleware import Middleware
from dualroute.middleware.cors import CORSMiddleware
from tests.conftest import Serve
from tests.middleware_helper import PIECES, WHOLE, accepted, handshake, plain, site
from tests.transports import ASGITransport, EventLoopThread

ORIGIN = "https://example.org"
PREFLIGHT = {"origin": ORIGIN, "access-control-request-method": "GET"}
VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"


def cors(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-")}


def test_any_origin(serve: Serve) -> None:
    client = serve(
        site(
            [CORSMiddleware(allow_origins=["*"], allow_headers=["*"], allow_methods=["*"], expose_headers=["X-Status"])]
        )
    )
    answer = client.options("/", headers={**PREFLIGHT, "access-control-request-headers": "X-Example"})
    assert (answer.status_code, answer.text) == (200, "OK")
    assert cors(answer.headers) == {
        "access-control-allow-origin": "*",
        "access-control-allow-headers": "X-Example",
        "access-control-allow-methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY",
        "access-control-max-age": "600",
    }
    assert answer.headers["vary"] == VARY
    answer = client.get("/", headers={"origin": ORIGIN})
    assert answer.text == "plain"
    assert cors(answer.headers) == {"access-control-allow-origin": "*", "access-control-expose-headers": "X-Status"}
    answer = client.get("/")
    assert cors(answer.headers) == {}
    assert answer.headers["vary"] == "Origin"


def test_any_origin_with_credentials_is_named(serve: Serve) -> None:
    client = serve(site([Middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True)]))
    answer = client.options("/", headers=PREFLIGHT)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    answer = client.get("/", headers={"origin": ORIGIN, "cookie": "a=1"})
    assert cors(answer.headers) == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-credentials": "true",
    }
    assert answer.headers["vary"] == "Origin"


def test_certain_origins(serve: Serve) -> None:
    client = serve(site([CORSMiddleware([ORIGIN], ["GET", "POST"], ["X-One", "content-type"], max_age=5)]))
    answer = client.options("/", headers={**PREFLIGHT, "access-control-request-headers": "x-one, Content-Type, accept"})
    assert answer.status_code == 200
    assert cors(answer.headers) == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-headers": "Accept, Accept-Language, Content-Language, Content-Type, X-One, content-type",
        "access-control-allow-methods": "GET, POST",
        "access-control-max-age": "5",
    }
    assert client.get("/", headers={"origin": ORIGIN}).headers["access-control-allow-origin"] == ORIGIN
    answer = client.get("/", headers={"origin": "https://evil.example"})
    assert (answer.status_code, cors(answer.headers), answer.headers["vary"]) == (200, {}, "Origin")


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"origin": "https://evil.example"}, "origin"),
        ({"origin": f"{ORIGIN}.evil.example"}, "origin"),
        ({"origin": "null"}, "origin"),
        ({"access-control-request-method": "PUT"}, "method"),
        ({"access-control-request-headers": "X-Two"}, "headers"),
        ({"access-control-request-private-network": "true"}, "private-network"),
        ({"origin": "http://x.y", "access-control-request-method": "PUT"}, "origin, method"),
    ],
)
def test_a_preflight_request_is_refused_with_the_reasons(serve: Serve, headers: dict[str, str], text: str) -> None:
    client = serve(site([CORSMiddleware([ORIGIN])]))
    answer = client.options("/", headers={**PREFLIGHT, **headers})
    assert (answer.status_code, answer.text) == (400, f"Disallowed CORS {text}")
    assert ("access-control-allow-origin" in answer.headers) == ("origin" not in text)


def test_the_pattern_for_origins_is_for_the_whole_origin(serve: Serve) -> None:
    client = serve(site([CORSMiddleware(allow_origin_regex="https://.*")]))
    assert client.get("/", headers={"origin": ORIGIN}).headers["access-control-allow-origin"] == ORIGIN
    assert cors(client.get("/", headers={"origin": "http://example.org"}).headers) == {}
    client = serve(site([CORSMiddleware(allow_origin_regex=r"https://example\.org")]))
    assert cors(client.get("/", headers={"origin": f"{ORIGIN}.evil.example"}).headers) == {}
    assert client.options("/", headers={**PREFLIGHT, "origin": f"{ORIGIN}x"}).status_code == 400


def test_a_private_network_may_be_allowed(serve: Serve) -> None:
    client = serve(site([CORSMiddleware([ORIGIN], allow_private_network=True)]))
    answer = client.options("/", headers={**PREFLIGHT, "access-control-request-private-network": "true"})
    assert (answer.status_code, answer.headers["access-control-allow-private-network"]) == (200, "true")
    assert "access-control-allow-private-network" not in client.options("/", headers=PREFLIGHT).headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/none", 404),
        ("POST", "/", 405),
        ("OPTIONS", "/", 200),
        ("GET", "/teapot", 418),
        ("GET", "/fail", 500),
        ("GET", "/async-fail", 500),
        ("GET", "/fail-at-once", 500),
        ("HEAD", "/", 200),
        ("GET", "/flask/none", 404),
        ("GET", "/fastapi/none", 404),
    ],
)
def test_every_answer_has_the_headers(serve: Serve, method: str, path: str, status: int) -> None:
    client = serve(site([CORSMiddleware([ORIGIN])]))
    answer = client.request(method, path, headers={"origin": ORIGIN})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("path", ["/stream", "/async-stream", "/flask/stream", "/fastapi/stream"])
def test_streams_and_mounted_apps_have_them_too(serve: Serve, path: str) -> None:
    client = serve(site([CORSMiddleware([ORIGIN])]))
    answer = client.get(path, headers={"origin": ORIGIN})
    assert (answer.content, answer.headers["access-control-allow-origin"]) == (WHOLE, ORIGIN)
    assert client.options(path, headers=PREFLIGHT).text == "OK"
    assert len(PIECES) == 60


def test_around_a_mount_it_answers_preflight_requests_for_what_is_inside(serve: Serve) -> None:
    routes = [Route("/x", plain, methods=["PUT"])]
    client = serve(site([], Mount("/api", routes=routes, middleware=[CORSMiddleware([ORIGIN], ["PUT"])])))
    assert client.options("/api/x", headers={**PREFLIGHT, "access-control-request-method": "PUT"}).text == "OK"
    assert cors(client.get("/", headers={"origin": ORIGIN}).headers) == {}


def test_what_an_application_says_itself_is_kept_in_vary(serve: Serve) -> None:
    def varies(request: Any) -> Any:
        answer = plain(request)
        answer.headers["vary"] = "Accept, origin"
        return answer

    client = serve(site([CORSMiddleware([ORIGIN])], Route("/varies", varies)))
    assert client.get("/varies", headers={"origin": ORIGIN}).headers["vary"] == "Accept, origin"


def test_websockets_pass() -> None:
    assert accepted(handshake(site([CORSMiddleware()]), headers={"origin": ORIGIN}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allow_origins": "*"}, r"allow_origins is a list of str, not '\*'"),
        ({"allow_methods": "GET"}, "allow_methods is a list"),
        ({"allow_origins": ["example.org"]}, "'example.org' is no origin"),
        ({"allow_origins": ["https://example.org/"]}, "no path"),
        ({"allow_headers": ["a\nb"]}, "CR, LF or NUL"),
    ],
)
def test_options_that_allow_nobody_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        CORSMiddleware(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"allow_origins": [ORIGIN]},
        {"allow_origins": ["*"]},
        {"allow_origins": ["*"], "allow_credentials": True, "allow_headers": ["*"]},
        {"allow_origin_regex": "https://.*", "expose_headers": ["x-a"], "allow_credentials": True},
    ],
)
def test_the_answers_are_those_of_starlette(
    serve: Serve, event_loop_thread: EventLoopThread, options: dict[str, Any]
) -> None:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware as Theirs
    from starlette.middleware.cors import CORSMiddleware as TheirCORS
    from starlette.responses import PlainTextResponse

    inner = Starlette(middleware=[Theirs(TheirCORS, **options)])
    inner.add_route("/", lambda request: PlainTextResponse("plain"))
    theirs = httpx.Client(transport=ASGITransport(inner, event_loop_thread), base_url="http://testserver")
    ours = serve(site([CORSMiddleware(**options)]))
    for method, headers in (
        ("GET", {}),
        ("GET", {"origin": ORIGIN}),
        ("GET", {"origin": "http://other.example"}),
        ("OPTIONS", PREFLIGHT),
        ("OPTIONS", {**PREFLIGHT, "access-control-request-headers": "X-A"}),
    ):
        expected, answer = (client.request(method, "/", headers=headers) for client in (theirs, ours))
        assert (answer.status_code, answer.text) == (expected.status_code, expected.text)
        # Theirs tells an origin that is not allowed what it could do if it were.
        if headers.get("origin") == ORIGIN:
            assert cors(answer.headers) == cors(expected.headers)
    theirs.close()
