"""ServerErrorMiddleware and ``DualRoute(debug=True)``: pages about errors, for developers alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dualroute import DualRoute, HTTPException, Mount, PlainTextResponse, Request, Response, Route, SyncRequest
from dualroute.middleware import Middleware
from dualroute.middleware.cors import CORSMiddleware
from dualroute.middleware.debugpage import masked
from dualroute.middleware.errors import ServerErrorMiddleware
from tests.conftest import Serve
from tests.middleware_helper import fail, handshake, site

HTML = {"accept": "text/html,application/xhtml+xml"}
SCRIPT = "<script>alert(1)</script>"


class Config:
    def __repr__(self) -> str:
        return "Config(host='h', password='dear-secret-1', url='postgres://me:dear-secret-2@db/x')"


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("no")


def failing(request: SyncRequest) -> Response:
    markup = SCRIPT  # noqa: F841  # shown
    password = "dear-secret-3"  # noqa: F841
    settings = {"API_KEY": "dear-secret-4", "nested": [{"token": b"dear-secret-5"}], "plain": "shown value"}  # noqa: F841
    config = Config()  # noqa: F841
    unprintable = Unprintable()  # noqa: F841
    long = "x" * 100_000  # noqa: F841
    try:
        raise KeyError("first")
    except KeyError as error:
        raise LookupError(f"second {SCRIPT}") from error


async def failing_async(request: Request) -> Response:
    markup = SCRIPT  # noqa: F841
    raise LookupError(f"second {SCRIPT}")


def app(**options: Any) -> Any:
    return site((), Route("/failing", failing), Route("/failing-async", failing_async), **options)


@pytest.mark.parametrize("path", ["/failing", "/failing-async"])
def test_a_page_shows_the_error(serve: Serve, path: str, caplog: pytest.LogCaptureFixture) -> None:
    answer = serve(app(debug=True)).get(path, headers=HTML)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"
    page = answer.text
    assert "LookupError: second &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "test_middleware_errors.py" in page
    assert "<b>" in page
    assert "raise LookupError" in page
    assert "<tr><th>markup<td>&#x27;&lt;script&gt;" in page
    assert [record.exc_info and record.exc_info[0] for record in caplog.records if record.exc_info] == [LookupError]


def test_it_shows_what_led_to_it_and_variables_but_no_secrets(serve: Serve) -> None:
    headers = {**HTML, "authorization": "Bearer dear-secret-6", "cookie": "session=dear-secret-7", "x-plain": "shown h"}
    page = serve(app(debug=True)).get("/failing?q=shown-q&token=dear-secret-8", headers=headers).text
    # What the source has in it is shown as it is; nothing else has it.
    variables = "".join(part.partition("</table>")[0] for part in page.split("<table>")[1:])
    assert "dear-secret" not in variables
    assert "dear-secret-3" not in page
    assert "Caused by KeyError" in page
    assert "shown value" in variables
    assert "shown h" in variables
    assert "shown-q" in variables
    assert "its repr raised ValueError" in variables
    assert len(page) < 200_000


@pytest.mark.parametrize("accept", ["application/json", "*/*", ""])
def test_others_get_text_without_variables(serve: Serve, accept: str) -> None:
    answer = serve(app(debug=True)).get("/failing", headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/plain; charset=utf-8")
    assert answer.text.startswith("Traceback (most recent call last):")
    assert f"LookupError: second {SCRIPT}" in answer.text
    assert "shown value" not in answer.text.replace('"plain": "shown value"', "")


def test_nothing_is_shown_when_debug_is_off(serve: Serve) -> None:
    for middleware in ((), [ServerErrorMiddleware()]):
        answer = serve(site(middleware, Route("/failing", failing))).get("/failing", headers=HTML)
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert DualRoute().debug is False


def test_the_page_stays_outside_of_what_is_added(serve: Serve) -> None:
    def broken(connection: Any) -> Any:
        raise ValueError("in middleware")
        yield

    application = app(debug=True)
    application.add_middleware(broken)
    application.add_middleware(CORSMiddleware, allow_origins=["*"])
    answer = serve(application).get("/", headers={**HTML, "origin": "http://a.example"})
    assert "ValueError: in middleware" in answer.text
    assert answer.headers["access-control-allow-origin"] == "*"


def test_what_is_handled_is_not_shown(serve: Serve) -> None:
    def handle(request: Any, error: Exception) -> Response:
        return PlainTextResponse("handled", status_code=400)

    client = serve(app(debug=True, exception_handlers={LookupError: handle}))
    assert client.get("/failing", headers=HTML).text == "handled"
    assert client.get("/none", headers=HTML).text == "Not Found"
    assert client.get("/teapot", headers=HTML).text == "short and stout"


@pytest.mark.parametrize("colour", ["def", "async def"])
def test_a_handler_answers(serve: Serve, colour: str, caplog: pytest.LogCaptureFixture) -> None:
    def handle(request: SyncRequest, error: Exception) -> Response:
        assert isinstance(request, SyncRequest)
        return PlainTextResponse(f"handled {error!r}", status_code=503)

    async def handle_async(request: Request, error: Exception) -> Response:
        assert isinstance(request, Request)
        return PlainTextResponse(f"handled {error!r}", status_code=503)

    middleware = Middleware(ServerErrorMiddleware, handler=handle if colour == "def" else handle_async)
    inside = Mount("/in", routes=[Route("/fail", failing), Route("/a", failing_async)], middleware=[middleware])
    client = serve(site([], inside))
    for path in ("/in/fail", "/in/a"):
        answer = client.get(path)
        assert (answer.status_code, answer.text[:21]) == (503, "handled LookupError('")
    assert client.get("/fail").status_code == 500
    assert len([record for record in caplog.records if record.exc_info]) == 3


def test_a_handler_that_fails_is_an_error_like_any_other(serve: Serve) -> None:
    def handle(request: Any, error: Exception) -> Response:
        raise HTTPException(418, "from the handler")

    assert serve(site([ServerErrorMiddleware(handle)])).get("/fail").text == "from the handler"
    with pytest.raises(TypeError, match="the handler is a function"):
        ServerErrorMiddleware("handler")  # type: ignore[arg-type]


def test_a_mounted_app_s_error_is_shown(serve: Serve) -> None:
    def broken(environ: Any, start_response: Any) -> Any:
        raise ValueError("in WSGI")

    answer = serve(site([], Mount("/broken", app=broken), debug=True)).get("/broken/", headers=HTML)
    assert "ValueError: in WSGI" in answer.text


def test_websockets_are_not_its_business() -> None:
    assert handshake(app(debug=True))["type"] == "websocket.accept"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "s3cret"),
        ("db_password", "s3cret"),
        ("PASSWORD1", "s3cret"),
        ("secret_key", "s3cret"),
        ("apiKey", "s3cret"),
        ("api-key", "s3cret"),
        ("access_token", "s3cret"),
        ("Authorization", "s3cret"),
        ("x-csrf-token", "s3cret"),
        ("cookies", "s3cret"),
        ("set-cookie", "s3cret"),
        ("session", "s3cret"),
        ("credentials", "s3cret"),
        ("passwd", "s3cret"),
        ("value", {"password": "s3cret"}),
        ("value", {"password": ["s3cret"]}),
        ("value", {b"token": b"s3cret"}),
        ("value", {"password": {"deep": [["s3cret"]]}}),
        ("value", [{"a": ({"b": {"c": {"d": {"password": "s3cret"}}}},)}]),
        ("value", [(b"authorization", b"Bearer s3cret"), (b"x", b"y")]),
        ("value", SimpleNamespace(password=["s3cret"])),
        ("value", [("authorization", "Bearer s3cret")]),
        ("value", {"db": {"user_password": "a's3cret\"b"}}),
        ("value", {"secret": "s3cret, with \"quotes\" and 'more'"}),
        ("value", "Authorization: Basic s3cret"),
        ("value", "https://user:s3cret@host/x"),
        ("value", "a=1&token=s3cret&b=2"),
        ("value", {"API_KEY": "s3cret"}),
        ("value", Ellipsis),
    ],
)
def test_secrets_are_masked(name: str, value: Any) -> None:
    assert "s3cret" not in masked(name, value)


@pytest.mark.parametrize(("name", "value"), [("author", "me"), ("passenger", "me"), ("compass", "me"), ("keys", "me")])
def test_other_names_are_not(name: str, value: Any) -> None:
    assert "me" in masked(name, value)


def test_debug_may_be_switched_until_requests_are_served(serve: Serve) -> None:
    app = DualRoute([Route("/fail", fail)])
    app.debug = True
    app.debug = True
    assert app.debug
    assert len(app.middleware) == 1
    app.debug = False
    assert app.middleware == []
    app.debug = True
    assert "LookupError: boom" in serve(app).get("/fail").text
    with pytest.raises(RuntimeError, match="once the app has served a request"):
        app.debug = False
    with pytest.raises(TypeError, match="takes its routes first; write debug=True"):
        DualRoute(True)  # type: ignore[arg-type]
