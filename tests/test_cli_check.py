"""`dualroute check`, as a user runs it: a real process that asks an app by both protocols."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dualroute.cli.requests import generated, read_requests
from dualroute.probe import CLIError
from tests.test_cli_show import run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the command needs a POSIX system")

APP = """
import asyncio, contextlib, itertools
from dualroute import *
from dualroute.middleware.request_id import RequestIDMiddleware
from dualroute.middleware.sessions import SessionMiddleware
from dualroute.rules import RuleRouter

count = itertools.count()

@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"pool": "open"}

def home(request):
    return PlainTextResponse(f"home, {request.state.pool}")

async def user(request, id):
    return JSONResponse({"id": id})

def shop(request):
    return PlainTextResponse(f"shop {request.path_params['shop']}")

def counting(request):
    request.session["count"] = next(count)
    return PlainTextResponse(f"request {next(count)}")

async def body(request):
    return PlainTextResponse(await request.body())

async def live(websocket): ...

def by_rule(request, number):
    return PlainTextResponse(f"rule {number}")

async def endless(request):
    async def pieces():
        while True:
            yield b"piece"
            await asyncio.sleep(0.05)
    return StreamingResponse(pieces())

def fails(request):
    raise ValueError("nobody handles this")

def cut(request):
    def pieces():
        yield b"begun"
        raise ValueError
    return StreamingResponse(pieces())

def wsgi_app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"by a WSGI app at " + environ["PATH_INFO"].encode()]

async def asgi_app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"by an ASGI app"})

ROUTES = [
    Route("/", home),
    Route("/users/{id:int}", user, name="user"),
    Host("{shop}.example.org:8000", Router([Route("/shop", shop)])),
    Route("/counting", counting),
    Route("/body", body, methods=["POST"]),
    WebSocketRoute("/live", live),
    Mount("/rules", RuleRouter([(r"/by/([0-9]+)", by_rule)])),
    Route("/fails", fails),
    Route("/cut", cut),
    Mount("/asgi", asgi_app),
]
MIDDLEWARE = [RequestIDMiddleware(), SessionMiddleware("a secret")]
app = DualRoute(ROUTES, middleware=MIDDLEWARE, fallback=wsgi_app, lifespan=lifespan)

def told(request):
    is_wsgi = request.environ is not None
    response = PlainTextResponse("one\\ntwo\\n" + ("WSGI\\n" if is_wsgi else "ASGI\\n"), 202 if is_wsgi else 200)
    response.headers["x-protocol"] = "WSGI" if is_wsgi else "ASGI"
    return response

def raw(request):
    return Response(b"\\x00\\xff" + (b"w" if request.environ is not None else b"a"))

def only(request):
    if request.environ is not None:
        raise HTTPException(404)
    return PlainTextResponse("")

def posted(request):
    return PlainTextResponse("WSGI" if request.environ is not None else request.text())

differing = DualRoute([
    Route("/same", lambda request: PlainTextResponse("same")),
    Route("/told", told, name="telling"),
    Route("/raw", raw),
    Route("/only/{what}", only),
    Route("/posted", posted, methods=["POST"]),
])
streaming = DualRoute([Route("/endless", endless)])

@contextlib.contextmanager
def no_start(app):
    raise RuntimeError("no database")
    yield

broken = DualRoute([Route("/", home)], lifespan=no_start)
foreign = wsgi_app
class Callable:
    def __call__(self, environ, start_response): ...
callable_object = Callable()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    (folder / "shop.py").write_text(APP)
    return folder


def checked(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, printed = run(folder, "check", *arguments, "--json")
    return code, json.loads(printed)


def asked(told: dict[str, Any]) -> list[str]:
    return [f"{result['method']} {result['target']}" for result in told["requests"]]


def test_an_app_that_answers_alike(folder: Path) -> None:
    code, told = checked(folder, "shop.py", "--all-methods")
    assert code == 0, told
    assert told["attribute"] == "app"
    status = {f"{result['method']} {result['target']}": result["status"] for result in told["requests"]}
    assert status == {
        "GET /": [200, 200],
        "HEAD /": [200, 200],
        "GET /users/1": [200, 200],
        "HEAD /users/1": [200, 200],
        "GET /shop": [200, 200],
        "HEAD /shop": [200, 200],
        "GET /counting": [200, 200],
        "HEAD /counting": [200, 200],
        "POST /body": [200, 200],
        "GET /rules/": [200, 200],
        "HEAD /rules/": [200, 200],
        "GET /rules/by/1": [200, 200],
        "HEAD /rules/by/1": [200, 200],
        "GET /fails": [500, 500],
        "HEAD /fails": [500, 500],
        "GET /cut": [200, 200],
        "HEAD /cut": [200, 200],
        "GET /asgi/": [200, 200],
        "HEAD /asgi/": [200, 200],
        "GET /elsewhere": [200, 200],
        "HEAD /elsewhere": [200, 200],
    }
    varies = {f"{result['method']} {result['target']}": result["varies"] for result in told["requests"]}
    assert varies["GET /users/1"] == ["header x-request-id"]
    assert varies["GET /counting"] == ["body", "header set-cookie", "header x-request-id"]
    assert told["left_out"] == [{"what": "/live", "reason": "it takes websockets, which WSGI has not"}]
    assert told["different"] == 0


def test_what_is_left_out_and_what_varies_is_said(folder: Path) -> None:
    code, printed = run(folder, "check", "shop.py", "--exclude", "/users/*", "--exclude", "/cut", "--exclude", "/fails")
    assert code == 0
    lines = printed.splitlines()
    assert "varies by itself, and was not compared: header x-request-id, of GET / and 13 more" in lines
    assert "varies by itself, and was not compared: body, of GET /counting" in lines
    assert lines[-6:] == [
        "left out: /users/{id:int}: --exclude /users/*",
        "left out: /body: it takes POST only (see --method)",
        "left out: /live: it takes websockets, which WSGI has not",
        "left out: /fails: --exclude /fails",
        "left out: /cut: --exclude /cut",
        "14 requests by ASGI and by WSGI: all the same; 5 left out",
    ]


def test_differences_are_printed_as_a_diff(folder: Path) -> None:
    code, printed = run(folder, "check", "shop.py:differing", "--method", "GET")
    assert code == 1
    assert printed == (
        "GET /told (route /told): differs\n"
        "  --- ASGI\n"
        "  +++ WSGI\n"
        "  @@ -1,8 +1,8 @@\n"
        "  -status: 200\n"
        "  +status: 202\n"
        "   content-length: 13\n"
        "   content-type: text/plain; charset=utf-8\n"
        "  -x-protocol: ASGI\n"
        "  +x-protocol: WSGI\n"
        "   \n"
        "   one\n"
        "   two\n"
        "  -ASGI\n"
        "  +WSGI\n"
        "GET /raw (route /raw): differs\n"
        "  --- ASGI\n"
        "  +++ WSGI\n"
        "  @@ -2,4 +2,4 @@\n"
        "   content-length: 3\n"
        "   content-type: application/octet-stream\n"
        "   \n"
        "  -00000000  00 ff 61                                         ..a\n"
        "  +00000000  00 ff 77                                         ..w\n"
        "GET /only/a (route /only/{what}): differs\n"
        "  --- ASGI\n"
        "  +++ WSGI\n"
        "  @@ -1,4 +1,5 @@\n"
        "  -status: 200\n"
        "  -content-length: 0\n"
        "  +status: 404\n"
        "  +content-length: 9\n"
        "   content-type: text/plain; charset=utf-8\n"
        "   \n"
        "  +Not Found\n"
        "left out: /posted: it takes POST only (see --method)\n"
        "4 requests by ASGI and by WSGI: 3 differ; 1 left out\n"
    )


def test_routes_with_side_effects_are_left_out_by_path_or_name(folder: Path) -> None:
    excluded = ("--exclude", "telling", "--exclude", "/raw", "--exclude", "/only/*")
    code, told = checked(folder, "shop.py:differing", *excluded, "--generate", "20")
    assert (code, {result["same"] for result in told["requests"]}) == (0, {True})
    assert not any(target.split()[1].startswith(("/told", "/raw", "/only")) for target in asked(told))


def test_values_for_parameters(folder: Path) -> None:
    code, told = checked(folder, "shop.py", "--param", "id=77", "--param", "shop=book", "--method", "GET")
    assert code == 0
    assert "GET /users/77" in asked(told)
    code, printed = run(folder, "check", "shop.py", "--param", "id=x")
    assert (code, printed) == (2, "dualroute: --param id=x: the convertor of 'id' does not take that\n")


def test_recorded_requests(folder: Path) -> None:
    (folder / "requests.jsonl").write_text(
        "# a comment\n"
        '{"path": "/users/5?q=é", "headers": {"x-a": "1"}}\n'
        "\n"
        '{"method": "POST", "path": "/posted", "json": {"a": 1}}\n'
        '{"method": "PUT", "url": "http://shop.test:81/same"}\n'
    )
    (folder / "session.har").write_text(
        json.dumps(
            {
                "log": {
                    "entries": [
                        {
                            "request": {
                                "method": "POST",
                                "url": "https://shop.test/posted?a=1#top",
                                "headers": [
                                    {"name": ":method", "value": "POST"},
                                    {"name": "Content-Type", "value": "text/plain"},
                                    {"name": "Content-Length", "value": "999"},
                                ],
                                "postData": {"mimeType": "text/plain", "text": "recorded"},
                            }
                        }
                    ]
                }
            }
        )
    )
    files = ("--requests", "requests.jsonl", "--requests", "session.har")
    code, told = checked(folder, "shop.py:differing", "--method", "POST", *files)
    assert code == 1
    assert asked(told) == ["POST /posted", "POST /posted", "POST /posted?a=1"]
    assert [result["origin"] for result in told["requests"]][1:] == ["requests.jsonl:4", "session.har, entry 1"]
    assert "-recorded" in told["requests"][2]["diff"]
    assert {"what": "PUT /same", "reason": "in requests.jsonl:5; see --method"} in told["left_out"]
    assert any(item["what"] == "GET /users/5?q=%C3%A9" for item in told["left_out"])


def test_the_urls_of_an_app_of_another_framework(folder: Path) -> None:
    (folder / "migrating.py").write_text(
        "import flask\n"
        "from dualroute import DualRoute, Mount, PlainTextResponse, Route\n"
        "legacy = flask.Flask('legacy')\n"
        "@legacy.get('/old/<int:number>')\n"
        "def old(number):\n"
        "    return f'old {number} at {flask.request.url}'\n"
        "home = Route('/', lambda request: PlainTextResponse('new'))\n"
        "app = DualRoute([home, Mount('/shop', legacy)], fallback=legacy)\n"
    )
    code, told = checked(folder, "migrating.py", "--method", "GET")
    assert code == 0, told
    status = {f"{result['method']} {result['target']}": result["status"] for result in told["requests"]}
    assert status.items() >= {"GET /shop/old/1": [200, 200], "GET /old/1": [200, 200]}.items()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "Expecting property name"),
        ("[]", "not an object"),
        ("{}", "there is neither a path nor a url"),
        ('{"path": "x"}', "'x' is neither a path nor an http URL"),
        ('{"path": "/", "method": "G T"}', "'G T' is no HTTP method"),
        ('{"path": "/", "headers": {"a": "b\\r\\nc: d"}}', "is no header"),
        ('{"path": "/", "base64": "?"}', "base64"),
        ('{"path": "/", "bdy": ""}', "unknown key 'bdy'"),
    ],
)
def test_a_line_that_is_no_request(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(CLIError, match=r"requests.jsonl:2: ") as caught:
        read_requests(str(path))
    assert complaint in str(caught.value)


def test_generated_requests_are_the_same_for_the_same_seed(folder: Path) -> None:
    (folder / "one.jsonl").write_text('{"path": "/users/7?a=1"}\n')
    (one,) = read_requests(str(folder / "one.jsonl"))
    first, again, other = (list(generated(one, 50, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len({(odd.target, odd.headers) for odd in first}) > 25
    assert all(odd.target.isascii() for odd in first)
    code, told = checked(folder, "shop.py", "--generate", "10", "--exclude", "/counting")
    assert code == 0, [result for result in told["requests"] if not result["same"]]
    assert len(told["requests"]) > 100


def test_a_response_without_an_end_is_left(folder: Path) -> None:
    code, told = checked(folder, "shop.py:streaming", "--timeout", "1", "--method", "GET")
    assert code == 0, told
    assert asked(told) == ["GET /endless"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["shop.py", "--exclude", "/usr"], "--exclude /usr: no route has such a path or name (see dualroute routes)"),
        (["shop.py", "--param", "no=1"], "--param no: no route has such a parameter (see dualroute routes)"),
        (["shop.py", "--requests", "none.jsonl"], "none.jsonl: No such file or directory"),
        (["shop.py:broken"], "the app can't be started: the start-up failed: RuntimeError: no database"),
        (["shop.py:callable_object"], "only an app of dualroute's own speaks both protocols, not Callable"),
        (["shop.py", "--method", "PROPFIND", "--exclude", "*"], "shop.py: there is nothing to ask"),
    ],
)
def test_what_can_not_be_checked(folder: Path, arguments: list[str], complaint: str) -> None:
    code, printed = run(folder, "check", *arguments)
    assert code == 2
    assert complaint in printed


def test_a_parameter_without_a_value_is_a_wrong_command_line(folder: Path) -> None:
    code, printed = run(folder, "check", "shop.py", "--param", "id")
    assert code == 2
    assert "'id' is not of the form NAME=VALUE" in printed
