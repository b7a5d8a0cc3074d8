"""Foreign apps: how their kind is told, and what reaches a fallback."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from dualroute import (
    ASGIApp,
    DualRoute,
    Host,
    HTTPEndpoint,
    Limits,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    SyncRequest,
    WebSocketEndpoint,
    WSGIApp,
)
from dualroute.foreign import ForeignApp, protocol_of
from dualroute.routes import BaseRoute
from tests.conftest import Serve


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    text = f"{environ['REQUEST_METHOD']} {environ['SCRIPT_NAME']}|{environ['PATH_INFO']}?{environ['QUERY_STRING']}"
    return [b"legacy ", text.encode("latin-1")]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    rest = scope["path"].removeprefix(scope["root_path"])
    text = f"legacy {scope['method']} {scope['root_path']}|{rest}?{scope['query_string'].decode()}"
    await send({"type": "http.response.body", "body": text.encode()})


class WSGIObject:
    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return wsgi(environ, start_response)

    def method(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return wsgi(environ, start_response)

    @staticmethod
    def static(environ: Any, start_response: Any) -> Iterable[bytes]:
        return wsgi(environ, start_response)


class WSGIClass:
    """PEP 3333's own way: the class is the app, and its instance the response."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        self.body = wsgi(environ, start_response)

    def __iter__(self) -> Any:
        return iter(self.body)


class ASGIObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi(scope, receive, send)

    async def method(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi(scope, receive, send)


class ASGIClass:
    """Starlette's endpoint classes are apps of this kind: called with three arguments and then awaited."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.arguments = scope, receive, send

    def __await__(self) -> Any:
        return asgi(*self.arguments).__await__()


def with_more(environ: Any, start_response: Any, greeting: str = "") -> Iterable[bytes]:
    return wsgi(environ, start_response)


def first(greeting: str, environ: Any, start_response: Any) -> Iterable[bytes]:
    return wsgi(environ, start_response)


WSGI_APPS: dict[str, Any] = {
    "function": wsgi,
    "lambda": lambda environ, start_response: wsgi(environ, start_response),  # noqa: PLW0108  # a lambda is the point
    "short names": lambda e, s: wsgi(e, s),  # noqa: PLW0108
    "instance": WSGIObject(),
    "bound method": WSGIObject().method,
    "static method": WSGIObject.static,
    "class": WSGIClass,
    "partial": functools.partial(first, "hello"),
    "keyword partial": functools.partial(with_more, greeting="hello"),
    "with a default": with_more,
}
ASGI_APPS: dict[str, Any] = {
    "function": asgi,
    "lambda": lambda scope, receive, send: asgi(scope, receive, send),  # noqa: PLW0108
    "instance": ASGIObject(),
    "bound method": ASGIObject().method,
    "class": ASGIClass,
    "partial": functools.partial(asgi),
}
APPS = [pytest.param(app, "WSGI", id=f"WSGI {name}") for name, app in WSGI_APPS.items()] + [
    pytest.param(app, "ASGI", id=f"ASGI {name}") for name, app in ASGI_APPS.items()
]
BOTH = pytest.mark.parametrize("legacy", [wsgi, asgi], ids=["WSGI", "ASGI"])


@pytest.mark.parametrize(("app", "protocol_told"), APPS)
def test_an_app_is_told_by_its_signature_and_served_by_both_protocols(
    app: Any, protocol_told: str, serve: Serve
) -> None:
    assert protocol_of(app) == protocol_told
    mount = Mount("/old", app=app)
    assert mount.foreign is not None
    assert mount.foreign.protocol == protocol_told
    assert serve(DualRoute([mount])).get("/old/x?a=1").text == "legacy GET /old|/x?a=1"


@pytest.mark.parametrize(("app", "protocol_told"), APPS)
def test_a_wrapped_app_is_an_app_by_itself(app: Any, protocol_told: str, serve: Serve) -> None:
    wrapped = WSGIApp(app) if protocol_told == "WSGI" else ASGIApp(app)
    assert wrapped.app is app
    client = serve(wrapped)
    assert client.get("/a/b?c=d").text == "legacy GET |/a/b?c=d"
    assert client.post("/").text == "legacy POST |/?"
    assert client.patch("/pot/").text == "legacy PATCH |/pot/?"


def endpoint(request: Any) -> Response:
    return PlainTextResponse("endpoint")


class Endpoint(HTTPEndpoint):
    def get(self, request: SyncRequest) -> Response:
        return PlainTextResponse("class")


class Socket(WebSocketEndpoint):
    pass


def with_parameter(request: Any, tenant: str) -> Response:
    return PlainTextResponse(tenant)


async def with_two(request: Any, tenant: str, rest: str = "") -> Response:
    return PlainTextResponse(tenant)


@pytest.mark.parametrize("app", [endpoint, Endpoint, Socket, with_parameter, with_two])
def test_an_endpoint_is_no_foreign_app(app: Any) -> None:
    assert Mount("/{tenant}", app=app).foreign is None


def anything(*args: Any, **kwargs: Any) -> Any:
    return wsgi(*args)


async def anything_async(*args: Any) -> Any:
    return await asgi(*args)


def nothing() -> None: ...


def too_many(one: Any, two: Any, three: Any, four: Any) -> None: ...


async def asynchronous_wsgi(environ: Any, start_response: Any) -> None: ...


class Double:
    """ASGI 2: called twice."""

    def __init__(self, scope: Any, further: Any, more: Any, most: Any) -> None: ...


@pytest.mark.parametrize("app", [anything, anything_async, nothing, too_many, asynchronous_wsgi, Double, max])
@pytest.mark.parametrize(
    "place",
    [
        lambda app: Mount("/old", app=app),
        lambda app: Host("old.example", app=app),
        lambda app: Router(default=app),
        lambda app: DualRoute(fallback=app),
    ],
    ids=["Mount", "Host", "Router", "DualRoute"],
)
def test_what_fits_neither_is_refused_when_the_route_is_made(app: Any, place: Any) -> None:
    with pytest.raises(TypeError, match=r"neither an endpoint.*WSGIApp\(…\) or ASGIApp\(…\)"):
        place(app)


def test_the_error_names_the_place_and_the_callable() -> None:
    with pytest.raises(TypeError, match=r"Mount\('/old'\): tests\.test_foreign\.anything\(\*args"):
        Mount("/old", app=anything)


@pytest.mark.parametrize("app", [None, 5, "app", object()])
def test_what_cannot_be_called_is_no_app(app: Any) -> None:
    for kind in (WSGIApp, ASGIApp):
        with pytest.raises(TypeError, match="takes a"):
            kind(app)
    if app is not None:
        with pytest.raises(TypeError, match="endpoint"):
            Mount("/old", app=app)


def test_an_app_that_takes_anything_can_be_said_to_be_one(serve: Serve) -> None:
    for app in (WSGIApp(anything), ASGIApp(anything_async)):
        assert serve(DualRoute([Mount("/old", app=app)])).get("/old/x").text == "legacy GET /old|/x?"


def test_an_app_of_the_other_protocol_is_refused() -> None:
    with pytest.raises(TypeError, match=r"WSGIApp takes a WSGI application; .*asgi is called like an ASGI one"):
        WSGIApp(asgi)
    with pytest.raises(TypeError, match="ASGIApp takes an ASGI application"):
        ASGIApp(wsgi)  # type: ignore[arg-type]  # the mistake is the point
    with pytest.raises(TypeError, match="takes the application itself"):
        WSGIApp(WSGIApp(wsgi))


@pytest.mark.parametrize("options", [{"buffer_size": 0}, {"max_threads": 0}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        WSGIApp(wsgi, **options)


def new(request: Any) -> Response:
    return PlainTextResponse(f"new {request.method}")


@BOTH
def test_what_no_route_matches_goes_to_the_fallback_untouched(legacy: Any, serve: Serve) -> None:
    client = serve(DualRoute([Route("/new", new)], fallback=legacy), root_path="/base")
    assert client.get("/new").text == "new GET"
    for path in ("/", "/other", "/new/", "/new/x", "//new", "/a//b/", "/grün"):
        assert client.get(f"http://testserver{path}?q=1").content.decode("utf-8") == f"legacy GET /base|{path}?q=1"
    assert client.post("/other").text == "legacy POST /base|/other?"


@BOTH
def test_a_method_that_no_route_takes_is_405_unless_told_otherwise(legacy: Any, serve: Serve) -> None:
    routes = [Route("/new", new)]
    refused = serve(DualRoute(routes, fallback=legacy)).post("/new")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    client = serve(DualRoute(routes, fallback=legacy, fallback_on_405=True))
    assert client.get("/new").text == "new GET"
    assert client.post("/new").text == "legacy POST |/new?"
    assert client.options("/new").text == "legacy OPTIONS |/new?"
    assert client.head("/new").status_code == 200


def test_fallback_on_405_needs_a_fallback() -> None:
    with pytest.raises(ValueError, match="fallback_on_405 needs a fallback"):
        DualRoute(fallback_on_405=True)


def test_a_fallback_of_ours_that_does_not_take_the_method_either_is_405_with_all_methods(serve: Serve) -> None:
    client = serve(
        DualRoute([Route("/x", new)], fallback=Router([Route("/x", new, methods=["PUT"])]), fallback_on_405=True)
    )
    assert client.put("/x").text == "new PUT"
    assert client.post("/x").headers["allow"] == "GET, HEAD, OPTIONS, PUT"


@BOTH
def test_slash_redirects_come_before_a_fallback_when_they_are_asked_for(legacy: Any, serve: Serve) -> None:
    routes = [Route("/new", new), Mount("/api", routes=[Route("/", new)])]
    assert serve(DualRoute(routes, fallback=legacy)).get("/api").text == "legacy GET |/api?"
    client = serve(DualRoute(routes, fallback=legacy, redirect_slashes=True))
    assert client.get("/new/").headers["location"] == "/new"
    assert client.get("/api").headers["location"] == "/api/"
    assert client.get("/other/").text == "legacy GET |/other/?"


def test_an_endpoint_as_the_fallback_leaves_slash_redirects_as_they_are(serve: Serve) -> None:
    client = serve(DualRoute([Route("/new", new)], fallback=endpoint))
    assert client.get("/new/").headers["location"] == "/new"
    assert client.get("/other").text == "endpoint"


def test_a_router_follows_its_default(serve: Serve) -> None:
    router = Router([Route("/new", new)])
    assert router.redirect_slashes
    router.default = wsgi
    assert not router.redirect_slashes
    assert serve(router).get("/new/").text == "legacy GET |/new/?"
    router.redirect_slashes = True
    assert serve(router).get("/new/").status_code == 307
    router.default = None
    assert serve(router).get("/other").status_code == 404


@BOTH
def test_a_path_with_a_nul_never_gets_to_the_legacy_app(legacy: Any, serve: Serve) -> None:
    assert serve(DualRoute(fallback=legacy)).get("/a%00b").status_code == 404


@BOTH
def test_a_host_leads_to_a_foreign_app(legacy: Any, serve: Serve) -> None:
    app = DualRoute([Host("old.example", app=legacy), Route("/x", new)])
    assert serve(app, base_url="http://old.example").get("/x").text == "legacy GET |/x?"
    assert serve(app).get("/x").text == "new GET"


@BOTH
def test_mounts_in_mounts_share_the_path_out(legacy: Any, serve: Serve) -> None:
    inner = DualRoute([Mount("/{tenant}", app=legacy)])
    client = serve(DualRoute([Mount("/outer", app=inner)]), root_path="/base")
    assert client.get("/outer/ü/x/").content.decode() == "legacy GET /base/outer/ü|/x/?"


@BOTH
def test_a_mount_in_front_takes_what_it_matches_and_declines_the_rest(legacy: Any, serve: Serve) -> None:
    client = serve(DualRoute([Mount("/shop", routes=[Route("/new", new)])], fallback=legacy))
    assert client.get("/shop/new").text == "new GET"
    assert client.get("/shop/old").text == "legacy GET |/shop/old?"


def test_a_route_or_a_response_is_an_app_too(serve: Serve) -> None:
    route: BaseRoute = Route("/r", new)
    client = serve(DualRoute([Mount("/a", app=route), Mount("/b", app=PlainTextResponse("b"))], fallback=wsgi))
    assert client.get("/a/r").text == "new GET"
    assert client.get("/b/anything").text == "b"
    assert client.get("/a/other").text == "legacy GET |/a/other?"


@BOTH
def test_reverse_look_up_knows_a_mounted_app_by_its_path(legacy: Any) -> None:
    app = DualRoute([Mount("/old/{tenant}", app=legacy, name="old")])
    assert app.url_path_for("old", tenant="a", path="/x") == "/old/a/x"


def test_the_repr_of_a_foreign_app_names_it() -> None:
    assert repr(WSGIApp(wsgi)) == "WSGIApp(tests.test_foreign.wsgi)"
    assert repr(ASGIApp(ASGIObject())) == "ASGIApp(tests.test_foreign.ASGIObject)"
    assert WSGIApp(WSGIObject().method).described() == "the WSGI app tests.test_foreign.WSGIObject.method"
    assert isinstance(WSGIApp(wsgi), ForeignApp)


def test_an_async_exception_handler_and_a_sync_one_answer_for_either_kind(serve: Serve) -> None:
    def broken_wsgi(environ: Any, start_response: Any) -> Any:
        raise LookupError("wsgi")

    async def broken_asgi(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("asgi")

    async def handle_async(request: Request, error: Exception) -> Response:
        return PlainTextResponse(f"async {error}", 418)

    def handle(request: SyncRequest, error: Exception) -> Response:
        return PlainTextResponse(f"def {error}", 418)

    for handler, colour in ((handle_async, "async"), (handle, "def")):
        app = DualRoute(
            [Mount("/w", app=broken_wsgi), Mount("/a", app=broken_asgi)], exception_handlers={LookupError: handler}
        )
        client = serve(app)
        assert client.get("/w/").text == f"{colour} wsgi"
        assert client.get("/a/").text == f"{colour} asgi"


def test_an_app_that_needs_a_length_gets_one_however_long_the_body_is(serve: Serve) -> None:
    def announced_only(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        length = int(environ.get("CONTENT_LENGTH") or 0)
        left = "HTTP_TRANSFER_ENCODING" in environ
        return [f"{length} {len(environ['wsgi.input'].read(length))} {left}".encode()]

    body = [b"x" * 70_000] * 50
    for needs_length, told in ((True, "3500000 3500000 False"), (False, "0 0 True"), (None, "0 0 True")):
        client = serve(WSGIApp(announced_only, needs_length=needs_length))
        assert client.post("/", content=iter(body)).text == told
    assert serve(WSGIApp(announced_only)).post("/", content=iter(body[:5])).text == "350000 350000 False"


def test_an_app_that_needs_a_length_is_refused_what_is_too_large_all_the_same(serve: Serve) -> None:
    client = serve(DualRoute(fallback=WSGIApp(wsgi, needs_length=True), limits=Limits(max_body_size=2_000_000)))
    assert client.post("/", content=iter([b"x" * 70_000] * 50)).status_code == 413
    assert client.post("/", content=iter([b"x" * 70_000] * 20)).status_code == 200


class Client:
    """An ASGI client that leaves when it is told to."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.sent: list[Any] = []
        self.asked = False

    async def receive(self) -> dict[str, Any]:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


def test_an_asgi_app_that_heeds_nothing_is_cancelled_some_time_after_its_client_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dualroute_asgi.sessions.GRACE", 0.05)
    ended: list[str] = []

    async def heedless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "http_version": "1.1"}

    async def main() -> int:
        client = Client()
        serving = asyncio.ensure_future(ASGIApp(heedless, lifespan=False)(scope, client.receive, client.send))
        while len(client.sent) < 2:
            await asyncio.sleep(0)
        client.left.set()
        await asyncio.wait_for(serving, 20)
        return serving.cancelling() if isinstance(serving, asyncio.Task) else -1

    assert asyncio.run(main()) == 0
    assert ended == ["cancelled"]
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
