"""The table of README that compares dualroute with others: each cell is tried with the real package, or has a note.

A function below tries one cell, and returns what the cell has to say.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import cache, partial
from importlib.metadata import requires
from types import FrameType
from typing import Any

import a2wsgi
import falcon
import falcon.asgi
import falcon.routing
import flask
import httpx
import pytest
import quart
import starlette.applications
import starlette.responses
import starlette.routing
from packaging.requirements import Requirement
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import dualroute
from dualroute.routing import NoMatchFound
from tests.benchmarks.matching_peers import CANDIDATES
from tests.benchmarks.matching_tables import rest, rest_lookups
from tests.docs.pages import ROOT, Page
from tests.transports import ASGITransport, EventLoopThread, WSGITransport
from tests.websocket_helper import messages, text, websocket_scope

README = Page("../README.md")
NOTE = re.compile(r"\[\^(\w+)\]")


def table() -> dict[tuple[str, str], str]:
    """Return the cells as they stand, by line and column."""
    lines = [line for line in README.text.splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    cells = {(row[0], name): cell for row in rows for name, cell in zip(head[1:], row[1:], strict=True)}
    assert len(cells) == len(rows) * (len(head) - 1), "a line is there twice"
    return cells


TABLE = table()
COLUMNS = list(dict.fromkeys(column for _, column in TABLE))
LINES = list(dict.fromkeys(line for line, _ in TABLE))


class By:
    """Plays servers of both protocols."""

    def __init__(self, loop: EventLoopThread) -> None:
        self.loop = loop

    def wsgi(self, app: Any) -> httpx.Client:
        return httpx.Client(transport=WSGITransport(app), base_url="http://testserver")

    def asgi(self, app: Any) -> httpx.Client:
        return httpx.Client(transport=ASGITransport(app, self.loop), base_url="http://testserver")


@pytest.fixture(scope="module")
def by(event_loop_thread: EventLoopThread) -> By:
    return By(event_loop_thread)


Probe = Callable[[By], str]
PROBES: dict[tuple[str, str], Probe] = {}


def tries(line: str, *columns: str) -> Callable[[Any], Any]:
    """Declare what tries a cell; one for several columns is told which."""

    def declare(function: Any) -> Any:
        for column in columns:
            assert (line, column) in TABLE, f"README has no cell {line!r}, {column!r}"
            assert (line, column) not in PROBES, f"{line!r}, {column!r} is tried twice"
            PROBES[line, column] = function if len(columns) == 1 else partial(function, column=column)
        return function

    return declare


# Apps: each answers /plain by a `def` and /coloured by an `async def`, which note where they ran.

threads: list[threading.Thread] = []
loops: list[asyncio.AbstractEventLoop] = []


def plain() -> str:
    threads.append(threading.current_thread())
    return "plain"


async def coloured() -> str:
    loops.append(asyncio.get_running_loop())
    return "coloured"


def our_app(**options: Any) -> Any:
    def plainly(request: Any) -> dualroute.Response:
        return dualroute.PlainTextResponse(plain())

    async def in_colour(request: Any) -> dualroute.Response:
        return dualroute.PlainTextResponse(await coloured())

    routes: list[Any] = [dualroute.Route("/plain", plainly), dualroute.Route("/coloured", in_colour)]
    return dualroute.DualRoute([*routes, *options.pop("routes", ())], **options)


def starlette_app(*more: Any) -> Any:
    def plainly(request: Any) -> starlette.responses.Response:
        return starlette.responses.PlainTextResponse(plain())

    async def in_colour(request: Any) -> starlette.responses.Response:
        return starlette.responses.PlainTextResponse(await coloured())

    route = starlette.routing.Route
    return starlette.applications.Starlette(routes=[route("/plain", plainly), route("/coloured", in_colour), *more])


def flask_app() -> flask.Flask:
    app = flask.Flask("compared")
    app.add_url_rule("/plain", view_func=plain)
    app.add_url_rule("/coloured", view_func=coloured)
    return app


def wsgi_app_of_flask() -> Any:
    return flask_app()


def quart_app() -> quart.Quart:
    app = quart.Quart("compared")
    app.add_url_rule("/plain", view_func=plain)
    app.add_url_rule("/coloured", view_func=coloured)
    return app


class Plain:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type, resp.text = falcon.MEDIA_TEXT, plain()


class Coloured:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type, resp.text = falcon.MEDIA_TEXT, await coloured()

    async def on_websocket(self, req: Any, ws: Any) -> None:
        await ws.accept()
        await ws.send_text(await ws.receive_text())


def falcon_app(**options: Any) -> Any:
    app: Any = falcon.App(**options)
    app.add_route("/plain", Plain())
    return app


def falcon_asgi_app(**options: Any) -> Any:
    app: Any = falcon.asgi.App(**options)
    app.add_route("/plain", Coloured())
    return app


def wsgi_hello(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"WSGI"]


not_asgi: Any = wsgi_hello


async def asgi_hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ASGI"})


APPS: dict[str, Callable[[], Any]] = {
    "dualroute": our_app,
    "Starlette": starlette_app,
    "Flask": flask_app,
    "Quart": quart_app,
}


def answers(client: httpx.Client, path: str = "/plain", wanted: str = "plain") -> bool:
    """Tell whether an app answers; one that is called by the wrong protocol fails, each in its way."""
    try:
        response = client.get(path)
    except Exception:
        return False
    return response.status_code == 200 and response.text == wanted


def yes(outcome: bool) -> str:
    return "yes" if outcome else "no"


@tries("is served by WSGI servers", *APPS)
def served_by_wsgi(by: By, column: str) -> str:
    return yes(answers(by.wsgi(APPS[column]())))


@tries("is served by ASGI servers", *APPS)
def served_by_asgi(by: By, column: str) -> str:
    return yes(answers(by.asgi(APPS[column]())))


@tries("one object for both", *APPS)
def one_object(by: By, column: str) -> str:
    app = APPS[column]()
    return yes(answers(by.wsgi(app)) and answers(by.asgi(app)))


@tries("is served by WSGI servers", "Falcon")
def falcon_by_wsgi(by: By) -> str:
    return yes(answers(by.wsgi(falcon_app())))


@tries("is served by ASGI servers", "Falcon")
def falcon_by_asgi(by: By) -> str:
    return yes(answers(by.asgi(falcon_asgi_app()), wanted="coloured"))


@tries("one object for both", "Falcon")
def falcon_by_both(by: By) -> str:
    crossed = answers(by.asgi(falcon_app())), answers(by.wsgi(falcon_asgi_app()), wanted="coloured")
    return yes(any(crossed))


@tries("is served by WSGI servers", "a2wsgi")
def a2wsgi_by_wsgi(by: By) -> str:
    app: Any = a2wsgi.ASGIMiddleware(starlette_app())
    return "an ASGI app is" if answers(by.wsgi(app)) else "no"


@tries("is served by ASGI servers", "a2wsgi")
def a2wsgi_by_asgi(by: By) -> str:
    app: Any = a2wsgi.WSGIMiddleware(wsgi_app_of_flask())
    return "a WSGI app is" if answers(by.asgi(app)) else "no"


@tries("one object for both", "a2wsgi")
def a2wsgi_by_both(by: By) -> str:
    to_wsgi: Any = a2wsgi.ASGIMiddleware(starlette_app())
    to_asgi: Any = a2wsgi.WSGIMiddleware(wsgi_app_of_flask())
    return yes(answers(by.asgi(to_wsgi)) or answers(by.wsgi(to_asgi)))


# Colours


def hop(by: By, app: Any) -> str:
    """Tell where a `def` runs under ASGI."""
    assert answers(by.asgi(app))
    return "on the event loop" if threads[-1] is by.loop._thread else "in a thread"


def loop_of(by: By, app: Any) -> str:
    """Tell where an `async def` runs under WSGI."""
    client = by.wsgi(app)
    assert answers(client, "/coloured", "coloured")
    assert answers(client, "/coloured", "coloured")
    return "on one loop" if loops[-1] is loops[-2] else "a loop each"


@tries("`def` handlers under ASGI", "dualroute", "Starlette", "Quart")
def def_under_asgi(by: By, column: str) -> str:
    return hop(by, APPS[column]())


@tries("`def` handlers under ASGI", "a2wsgi")
def def_under_a2wsgi(by: By) -> str:
    return hop(by, a2wsgi.WSGIMiddleware(wsgi_app_of_flask()))


@tries("`def` handlers under ASGI", "Falcon")
def def_under_falcon(by: By) -> str:
    with pytest.raises(TypeError, match="async coroutine"):
        falcon.asgi.App().add_route("/plain", Plain())
    return "no"


@tries("`async def` handlers under WSGI", "dualroute", "Flask")
def async_under_wsgi(by: By, column: str) -> str:
    return loop_of(by, APPS[column]())


@tries("`async def` handlers under WSGI", "a2wsgi")
def async_under_a2wsgi(by: By) -> str:
    return loop_of(by, a2wsgi.ASGIMiddleware(starlette_app()))


@tries("`async def` handlers under WSGI", "Falcon")
def async_under_falcon(by: By) -> str:
    with pytest.raises(TypeError, match="synchronous"):
        falcon.App().add_route("/coloured", Coloured())
    return "no"


# Websockets


def echoes(app: Any) -> str:
    """Send a text, and go once something has come back: some apps read ahead, and would see the end too soon."""
    coming = [{"type": "websocket.connect"}, text("hello")]
    sent: list[dict[str, Any]] = []

    async def session() -> None:
        answered = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if coming:
                return coming.pop(0)
            await answered.wait()
            return {"type": "websocket.disconnect", "code": 1000}

        async def send(message: dict[str, Any]) -> None:
            sent.append(dict(message))
            if message["type"] != "websocket.accept":
                answered.set()

        await asyncio.wait_for(app(websocket_scope("/echo"), receive, send), 30)

    try:
        asyncio.run(session())
    except TypeError:  # it does not take three arguments
        return "no"
    return yes(messages(sent) == ["hello"])


@tries("websockets", "dualroute")
def our_websockets(by: By) -> str:
    async def echo(websocket: dualroute.WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())

    return echoes(dualroute.DualRoute([dualroute.WebSocketRoute("/echo", echo)]))


@tries("websockets", "Starlette")
def starlette_websockets(by: By) -> str:
    async def echo(websocket: Any) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())

    return echoes(starlette_app(starlette.routing.WebSocketRoute("/echo", echo)))


@tries("websockets", "Quart")
def quart_websockets(by: By) -> str:
    app = quart_app()

    async def echo() -> None:
        await quart.websocket.send(await quart.websocket.receive())

    app.add_websocket("/echo", view_func=echo)
    return echoes(app)


@tries("websockets", "Falcon")
def falcon_websockets(by: By) -> str:
    app: Any = falcon.asgi.App()
    app.add_route("/echo", Coloured())
    return echoes(app)


@tries("websockets", "Flask")
def flask_websockets(by: By) -> str:
    return echoes(flask_app())


@tries("websockets", "a2wsgi")
def a2wsgi_websockets(by: By) -> str:
    return echoes(a2wsgi.WSGIMiddleware(wsgi_app_of_flask()))


# Other apps


@tries("mounts WSGI apps", "dualroute")
def we_mount_wsgi(by: By) -> str:
    app = our_app(routes=[dualroute.Mount("/there", wsgi_hello)])
    return yes(all(answers(client, "/there/x", "WSGI") for client in (by.wsgi(app), by.asgi(app))))


@tries("mounts WSGI apps", "Starlette")
def starlette_mounts_wsgi(by: By) -> str:
    mount = starlette.routing.Mount
    wrapped: Any = a2wsgi.WSGIMiddleware(wsgi_hello)
    if answers(by.asgi(starlette_app(mount("/there", not_asgi))), "/there/x", "WSGI"):
        return "yes"
    return "with a2wsgi" if answers(by.asgi(starlette_app(mount("/there", wrapped))), "/there/x", "WSGI") else "no"


@tries("mounts WSGI apps", "Flask")
def flask_mounts_wsgi(by: By) -> str:
    app = DispatcherMiddleware(flask_app(), {"/there": wsgi_hello})
    client = by.wsgi(app)
    return "with Werkzeug" if answers(client, "/there/x", "WSGI") and answers(client) else "no"


@tries("mounts ASGI apps", "dualroute")
def we_mount_asgi(by: By) -> str:
    app = our_app(routes=[dualroute.Mount("/there", asgi_hello)])
    return yes(all(answers(client, "/there/x", "ASGI") for client in (by.wsgi(app), by.asgi(app))))


@tries("mounts ASGI apps", "Starlette")
def starlette_mounts_asgi(by: By) -> str:
    return yes(answers(by.asgi(starlette_app(starlette.routing.Mount("/there", asgi_hello))), "/there/x", "ASGI"))


@tries("mounts ASGI apps", "Flask")
def flask_mounts_asgi(by: By) -> str:
    mounts: Any = {"/there": asgi_hello}
    return yes(answers(by.wsgi(DispatcherMiddleware(flask_app(), mounts)), "/there/x", "ASGI"))


@tries("mounts ASGI apps", "Quart")
def quart_mounts_asgi(by: By) -> str:
    from hypercorn.middleware import DispatcherMiddleware as ByPrefix

    mounts: Any = {"/there": asgi_hello, "": quart_app()}
    client = by.asgi(ByPrefix(mounts))
    return "with Hypercorn" if answers(client, "/there/x", "ASGI") and answers(client) else "no"


@tries("hands on what no route matches", "dualroute")
def we_hand_on(by: By) -> str:
    for fallback, wanted in ((wsgi_hello, "WSGI"), (asgi_hello, "ASGI")):
        app = our_app(fallback=fallback)
        for client in (by.wsgi(app), by.asgi(app)):
            if not (answers(client, "/elsewhere", wanted) and answers(client)):
                return "no"
    return "yes, to either kind"


@tries("hands on what no route matches", "Starlette")
def starlette_hands_on(by: By) -> str:
    mount = starlette.routing.Mount
    client = by.asgi(starlette_app(mount("/", asgi_hello)))
    assert not answers(by.asgi(starlette_app(mount("/", not_asgi))), "/elsewhere", "WSGI")
    return "yes, to ASGI apps" if answers(client, "/elsewhere", "ASGI") and answers(client) else "no"


@tries("one middleware for both protocols", "dualroute")
def our_middleware(by: By) -> str:
    def stamped(connection: Any) -> Any:
        response = yield connection
        response.headers["x-stamp"] = "1"
        return response

    app = our_app(middleware=[stamped])
    found = [
        client.get(path).headers.get("x-stamp")
        for client in (by.wsgi(app), by.asgi(app))
        for path in ("/plain", "/coloured")
    ]
    return yes(found == ["1"] * 4)


class ForOne:
    def process_response(self, req: Any, resp: Any, resource: Any, succeeded: bool) -> None:
        resp.set_header("x-stamp", "1")


class ForBoth(ForOne):
    async def process_response_async(self, req: Any, resp: Any, resource: Any, succeeded: bool) -> None:
        resp.set_header("x-stamp", "1")


@tries("one middleware for both protocols", "Falcon")
def falcon_middleware(by: By) -> str:
    with pytest.raises(falcon.CompatibilityError):
        falcon_asgi_app(middleware=[ForOne()])
    clients = by.wsgi(falcon_app(middleware=[ForBoth()])), by.asgi(falcon_asgi_app(middleware=[ForBoth()]))
    stamps = [client.get("/plain").headers.get("x-stamp") for client in clients]
    return "a method for each" if stamps == ["1", "1"] else "no"


@tries("runs start-up code under WSGI", "dualroute")
def our_lifespan(by: By) -> str:
    begun: list[Any] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        begun.append(app)
        yield

    app = our_app(lifespan=lifespan)
    assert answers(by.wsgi(app))
    app.wsgi_adapter.shutdown()
    return yes(begun == [app])


class Started:
    def __init__(self) -> None:
        self.begun = False

    async def process_startup(self, scope: Any, event: Any) -> None:
        self.begun = True

    def process_request(self, req: Any, resp: Any) -> None:
        pass


@tries("runs start-up code under WSGI", "Falcon")
def falcon_startup(by: By) -> str:
    started = Started()
    assert answers(by.wsgi(falcon_app(middleware=[started])))
    return yes(started.begun)


@tries("runs start-up code under WSGI", "a2wsgi")
def a2wsgi_lifespan(by: By) -> str:
    kinds: list[str] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        kinds.append(scope["type"])
        await asgi_hello(scope, receive, send)

    app: Any = a2wsgi.ASGIMiddleware(noting)
    assert answers(by.wsgi(app), wanted="ASGI")
    return yes("lifespan" in kinds)


# Routing


def lines_of(look_up: Callable[[], Any]) -> int:
    """Return how many lines run in a look-up, once it was made before."""
    look_up()
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        look_up()
    finally:
        sys.settrace(before)
    return lines


MATCHERS = {
    "dualroute": "dualroute",
    "Starlette": "Starlette",
    "Flask": "Werkzeug",
    "Quart": "Werkzeug",
    "Falcon": "Falcon",
}


@tries("a look-up among more routes takes", *MATCHERS)
def scaling(by: By, column: str) -> str:
    candidate = next(kind for kind in CANDIDATES if kind.name == MATCHERS[column])()
    lines = []
    for count in (10, 1000):
        asked = rest_lookups(count)["last, with parameters"]
        call = candidate.call(candidate.build(rest(count)), asked)
        assert call.read(call.function(*call.args)) == asked.answer
        lines.append(lines_of(partial(call.function, *call.args)))
    assert lines[0] > 0
    return "as long" if lines[1] <= 1.2 * lines[0] else "longer"


@tries("URLs by name", "dualroute")
def our_names(by: By) -> str:
    app = our_app()
    with pytest.raises(NoMatchFound):
        app.url_path_for("nothing")
    return yes(app.url_path_for("in_colour") == "/coloured")


@tries("URLs by name", "Starlette")
def starlette_names(by: By) -> str:
    return yes(starlette_app().url_path_for("in_colour") == "/coloured")


@tries("URLs by name", "Flask")
def flask_names(by: By) -> str:
    with flask_app().test_request_context():
        return yes(flask.url_for("coloured") == "/coloured")


@tries("URLs by name", "Quart")
def quart_names(by: By) -> str:
    async def named() -> str:
        async with quart_app().test_request_context("/"):
            return quart.url_for("coloured")

    return yes(asyncio.run(named()) == "/coloured")


@tries("URLs by name", "Falcon")
def falcon_names(by: By) -> str:
    kinds = (falcon.App, falcon.Request, falcon.Response, falcon.routing.CompiledRouter)
    return yes(any(re.search("url_for|reverse|url_path", name) for kind in kinds for name in dir(kind)))


@tries("a time limit for a handler", "dualroute")
def our_time_limit(by: By) -> str:
    async def slow(request: Any) -> dualroute.Response:
        await asyncio.sleep(600)
        return dualroute.PlainTextResponse("late")

    app = dualroute.DualRoute([dualroute.Route("/", slow, timeout=0.05)])
    return yes([client.get("/").status_code for client in (by.wsgi(app), by.asgi(app))] == [503, 503])


@tries("a time limit for a handler", "Quart")
def quart_time_limit(by: By) -> str:
    app = quart_app()
    app.config["RESPONSE_TIMEOUT"] = 0.05

    async def slow() -> str:
        await asyncio.sleep(0.5)  # ten times as long
        return "late"

    app.add_url_rule("/", view_func=slow)
    return yes(not answers(by.asgi(app), "/", "late"))


@tries("first release", "dualroute")
def our_age(by: By) -> str:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return "released" if re.search(r"^## \[\d", changes, re.M) else "new"


# Packages

PACKAGES = {
    "dualroute": "dualroute",
    "Starlette": "starlette",
    "Flask": "flask",
    "Quart": "quart",
    "Django": "django",
    "Falcon": "falcon",
    "a2wsgi": "a2wsgi",
}


def needed(package: str) -> list[str]:
    """Return the packages that come with one, but for what stands in for newer Pythons."""
    found = [Requirement(line) for line in requires(package) or ()]
    return [
        item.name.lower()
        for item in found
        if (item.marker is None or item.marker.evaluate({"extra": ""}))
        and item.name.lower().replace("_", "-") != "typing-extensions"
    ]


@tries("packages that it needs", *PACKAGES)
def packages(by: By, column: str) -> str:
    return str(len(needed(PACKAGES[column])))


@tries("templates", "dualroute", "Starlette", "Flask", "Quart", "Falcon")
def templates(by: By, column: str) -> str:
    package = PACKAGES[column]
    if not any(importlib.util.find_spec(f"{package}.{name}") for name in ("templating", "templates", "template")):
        return "no"
    return "yes" if "jinja2" in needed(package) else "with Jinja2"


@tries("database models, migrations, an admin site", *(name for name in PACKAGES if name not in ("Django", "a2wsgi")))
def databases(by: By, column: str) -> str:
    return yes(any(importlib.util.find_spec(f"{PACKAGES[column]}.{name}") for name in ("db", "models", "admin")))


@cache
def django() -> dict[str, str]:
    result = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "docs" / "django_cells.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    told: dict[str, str] = json.loads(result.stdout)
    return told


DJANGO = (
    "is served by WSGI servers",
    "is served by ASGI servers",
    "one object for both",
    "`def` handlers under ASGI",
    "`async def` handlers under WSGI",
    "websockets",
    "one middleware for both protocols",
    "a look-up among more routes takes",
    "URLs by name",
    "templates",
    "database models, migrations, an admin site",
)


def _django(line: str) -> None:
    @tries(line, "Django")
    def tell(by: By) -> str:
        return django()[line]


for _line in DJANGO:
    _django(_line)


@pytest.mark.filterwarnings("default::DeprecationWarning")  # theirs
@pytest.mark.parametrize(("line", "column"), PROBES, ids=[f"{column}: {line}" for line, column in PROBES])
def test_a_cell_is_true(by: By, line: str, column: str) -> None:
    assert NOTE.sub("", TABLE[line, column]) == PROBES[line, column](by)


def test_a_cell_that_is_not_tried_has_a_note_or_does_not_apply() -> None:
    untried = {place: cell for place, cell in TABLE.items() if place not in PROBES}
    bare = {place for place, cell in untried.items() if cell != "-" and not NOTE.search(cell)}
    assert bare == set()


def test_notes_are_there_and_used() -> None:
    used = {name for cell in TABLE.values() for name in NOTE.findall(cell)}
    notes = dict(re.findall(r"^\[\^(\w+)\]: (.*(?:\n    .*)*)", README.text, re.M))
    assert used == set(notes)
    # What can't be tried has its source.
    sources = {name for (place, cell) in TABLE.items() if place not in PROBES for name in NOTE.findall(cell)}
    assert {name for name in sources if "https://" not in notes[name]} == set()


@pytest.fixture(scope="module", autouse=True)
def _left_behind() -> Iterator[None]:
    yield
    threads.clear()
    loops.clear()
