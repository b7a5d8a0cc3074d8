"""`dualroute routes --legacy`: which URLs of a legacy app are answered by new routes, by framework.

Frameworks are imported by name, since not all of them have types, and only the one that a test is about.  Django keeps
its settings once per process, so its tests run the command.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dualroute import DualRoute, Host, Mount, PlainTextResponse, Response, Route, Router, SyncRequest
from dualroute.convertors import CONVERTOR_TYPES, Convertor
from dualroute.migration import MigrationTable, migration_tables
from dualroute.samples import NoSample, Part, choice, regex_groups, samples
from dualroute.urlmaps import listed, unwrapped
from tests.conftest import Serve


def new(request: SyncRequest) -> Response:
    return PlainTextResponse("new")


def every(path: str, *methods: str) -> Route:
    return Route(path, new, methods=methods or ("GET", "POST"))


def load(name: str) -> Any:
    return importlib.import_module(name)


def flask_app(rules: Iterable[tuple[str, list[str]]], name: str = "shop", **options: Any) -> Any:
    """Return a Flask app that answers each rule by "legacy"."""
    app = load("flask").Flask(name, static_folder=None, **options)
    for number, (rule, methods) in enumerate(rules):
        app.add_url_rule(rule, f"view{number}", lambda **params: "legacy", methods=methods)
    return app


def only(tables: list[MigrationTable]) -> MigrationTable:
    (table,) = tables
    return table


def statuses(app: Any) -> dict[str, tuple[str, str]]:
    """Return the status and what is left, by path and methods, of the only legacy app behind `app`."""
    return {f"{path} {methods}": (status, left) for path, methods, _, status, left in only(migration_tables(app)).rows}


def status(rule: str, *routes: Any, methods: Iterable[str] = ("GET",), **options: Any) -> tuple[str, str]:
    """Return what has become of one rule of a Flask app that is the fallback of an app with these routes."""
    legacy = flask_app([(rule, list(methods))])
    (found,) = statuses(DualRoute(routes, fallback=legacy, **options)).values()
    return found


# The comparison


@pytest.mark.parametrize(
    ("rule", "route", "expected"),
    [
        ("/", "/", ("moved", "")),
        ("/", "/x", ("legacy", "")),
        ("/x/", "/x", ("legacy", "")),
        ("/<int:id>", "/{id:int}", ("moved", "")),
        ("/<int:id>", "/{name}", ("moved", "")),
        ("/<int:id>", "/1", ("in part", "some values of <id> still legacy")),
        ("/<name>", "/{id:int}", ("in part", "some values of <name> still legacy")),
        ("/<name>", "/{id:uuid}", ("in part", "some values of <name> still legacy")),
        ("/<name>", "/{price:float}", ("in part", "some values of <name> still legacy")),
        ("/<path:rest>", "/{name}", ("in part", "some values of <rest> still legacy")),
        ("/<path:rest>", "/{rest:path}", ("moved", "")),
        ("/<uuid:id>", "/{id:uuid}", ("moved", "")),
        ("/<float:price>", "/{price:float}", ("moved", "")),
        ("/<float:price>", "/{price:int}", ("legacy", "")),
        ("/<any(en, de):language>", "/de", ("in part", "some values of <language> still legacy")),
        ("/<any(en, de):language>", "/{language}", ("moved", "")),
        ("/<string(length=2):code>", "/{code}", ("moved", "")),
        ("/<int(fixed_digits=4):year>", "/{year:int}", ("moved", "")),
        ("/<a>/<b>", "/{a:int}/{b:int}", ("in part", "some values of <a>, <b> still legacy")),
        ("/<a>/<b>", "/{a}/{b:int}", ("in part", "some values of <b> still legacy")),
        ("/<a>/<b>/<c>/<d>/<e>/<f>/<g>/<h>", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}", ("moved", "")),
    ],
)
def test_samples_tell_which_values_have_moved(rule: str, route: str, expected: tuple[str, str]) -> None:
    assert status(rule, every(route)) == expected


def test_a_method_that_the_new_routes_do_not_take_is_answered_405_or_left_to_the_legacy_app() -> None:
    two = ["GET", "POST"]
    assert status("/x", every("/x", "GET"), methods=two) == ("in part", "POST answered 405")
    assert status("/x", every("/x", "GET"), methods=two, fallback_on_405=True) == ("in part", "POST still legacy")
    assert status("/x", every("/x", "GET"), every("/x", "POST"), methods=two) == ("moved", "")
    assert status("/x", every("/x", "GET"), methods=["POST"]) == ("lost", "POST answered 405")
    assert status("/x", every("/x", "GET"), methods=["POST"], fallback_on_405=True) == ("legacy", "")
    assert status("/<n>", every("/{n:int}", "GET"), methods=two) == (
        "in part",
        "POST with some values of <n> answered 405; some values of <n> still legacy",
    )
    assert status("/<n>", every("/{n:int}", "PUT"), methods=two) == ("legacy", "some values of <n> answered 405")


def test_options_and_head_count_only_where_there_is_nothing_else() -> None:
    legacy = flask_app([("/a", ["GET"]), ("/b", ["OPTIONS"]), ("/c", ["OPTIONS"])])
    assert statuses(DualRoute([every("/a", "GET"), every("/b", "GET")], fallback=legacy)) == {
        "/a GET": ("moved", ""),
        "/b OPTIONS": ("moved", ""),  # which every route answers
        "/c OPTIONS": ("legacy", ""),
    }


def test_a_redirect_to_the_other_slash_is_no_answer() -> None:
    asked_for = partial(status, redirect_slashes=True)
    assert asked_for("/x/", every("/x")) == ("lost", "GET redirected to no slash")
    assert asked_for("/x", every("/x/")) == ("lost", "GET redirected to a slash")
    assert asked_for("/x", every("/y")) == ("legacy", "")
    # A router may decline to have its own paths guessed at.
    assert asked_for("/m/x/", Mount("/m", Router([every("/x")], redirect_slashes=False))) == ("legacy", "")


def test_what_leads_elsewhere_is_lost() -> None:
    other, legacy = flask_app([], name="other"), flask_app([("/old/<x>", ["GET"]), ("/o", ["GET"])])
    tables = migration_tables(DualRoute([Mount("/old", other)], fallback=legacy))
    assert [table.heading for table in tables] == [
        "mount /old: flask.app.Flask 'other'",
        "fallback: flask.app.Flask 'shop'",
    ]
    assert [row[3:] for row in tables[1].rows] == [
        ("lost", "GET answered by flask.app.Flask 'other'"),
        ("legacy", ""),
    ]
    assert tables[1].total == "0 of 2 URLs moved, 0 in part, 1 still legacy, 1 lost"


class Refusing(Convertor[str]):
    regex = "[a-z]+"

    def convert(self, value: str) -> str:
        raise RuntimeError("not today")

    def to_string(self, value: str) -> str:
        return value


def test_a_convertor_of_ours_that_fails_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONVERTOR_TYPES, "refusing", Refusing())
    assert status("/<x>", every("/{x:refusing}")) == ("legacy", "some values of <x> answered 500")


def test_a_mounted_app_is_asked_below_its_prefix_and_shadows_later_routes() -> None:
    legacy = flask_app([("/", ["GET"]), ("/x", ["GET"]), ("/y/<n>", ["GET"])])
    app = DualRoute(
        [
            every("/old/{tenant}/y/{n:int}"),
            every("/old/1/y/{n}"),
            every("/x"),
            Mount("/old/{tenant}", legacy),
            every("/old/{tenant}/x"),
        ]
    )
    table = only(migration_tables(app))
    assert table.heading == "mount /old/{tenant}: flask.app.Flask 'shop'"
    assert [(row[0], *row[3:]) for row in table.rows] == [
        ("/old/{tenant}/", "legacy", ""),
        ("/old/{tenant}/x", "legacy", ""),
        ("/old/{tenant}/y/<n>", "in part", "some values of <tenant>, <n> still legacy"),
    ]
    assert table.total == "0 of 3 URLs moved, 1 in part, 2 still legacy"


def test_a_prefix_that_no_sample_can_be_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONVERTOR_TYPES, "refusing", Refusing())
    table = only(migration_tables(DualRoute([Mount("/{x:refusing}", flask_app([("/", ["GET"])]))])))
    assert table.rows == [("/{x}/", "GET", "view0", "?", "can't make a sample path")]
    assert table.total == "0 of 1 URLs moved, 0 in part, 0 still legacy, 1 without a sample"


def test_each_legacy_app_has_a_table_headed_by_its_place() -> None:
    shop, wiki = flask_app([]), flask_app([])
    itself = Router()
    itself.routes.append(Mount("/itself", itself))
    app = DualRoute(
        [
            Mount("/old", wiki),
            Host("{name}.example.org", wiki),
            Host("api.example.org", Router([Mount("/v1", wiki)], default=shop)),
            Mount("/part", Router([every("/"), Mount("/{x}", wiki)], default=shop)),
            Mount("/app", DualRoute(fallback=DualRoute(fallback=shop))),
            Mount("/itself", itself),
            Mount("", wiki),
        ],
        fallback=shop,
    )
    assert [table.heading.partition(":")[0] for table in migration_tables(app)] == [
        "mount /old",
        "host {name}.example.org",
        "host api.example.org, mount /v1",
        "host api.example.org, default",
        "mount /part/{x}",
        "mount /part, default",
        "mount /app, fallback",
        "mount /",
        "fallback",
    ]
    assert migration_tables(DualRoute([every("/")])) == []
    assert migration_tables(lambda environ, start_response: []) == []


def test_hosts() -> None:
    rules = [("/", ["GET"]), ("/x", ["GET"])]
    ours = Host("{name}.example.org", Router([every("/")]))
    assert statuses(DualRoute([ours], fallback=flask_app(rules))) == {
        "/ GET": ("in part", "some hosts still legacy"),
        "/x GET": ("legacy", ""),
    }
    behind = DualRoute([Host("a.example.org", Router([every("/")])), Host("{name}.example.org", flask_app(rules))])
    assert statuses(behind) == {
        "/ GET": ("in part", "some values of <name> still legacy"),
        "/x GET": ("legacy", ""),
    }
    beside = DualRoute([Host("a.example.org", Router([every("/")])), Host("b.example.org", flask_app(rules))])
    assert statuses(beside) == {"/ GET": ("legacy", ""), "/x GET": ("legacy", "")}
    # Nor is another legacy app's host asked about.
    other = Host("b.example.org", Router([every("/")], default=flask_app(rules)))
    tables = migration_tables(DualRoute([other], fallback=flask_app(rules)))
    assert [[row[3] for row in table.rows] for table in tables] == [["moved", "legacy"], ["legacy", "legacy"]]
    # A rule of the legacy app may be for a host by itself.
    legacy = flask_app([], subdomain_matching=True)
    legacy.config["SERVER_NAME"] = "Example.org:5000"
    for subdomain in ("api", "www", "<tenant>"):
        legacy.add_url_rule("/", subdomain, lambda **params: "", subdomain=subdomain)
    assert statuses(DualRoute([Host("api.example.org", Router([every("/")]))], fallback=legacy)) == {
        "api.Example.org/ GET": ("moved", ""),
        "www.Example.org/ GET": ("legacy", ""),
        "<tenant>.Example.org/ GET": ("legacy", ""),
    }


AGREED = [
    ("/", ["GET"]),
    ("/orders/<int:id>", ["GET", "POST"]),
    ("/orders/<int:id>/lines/<int:line>", ["GET"]),
    ("/items/<name>", ["GET", "PUT"]),
    ("/files/<path:rest>", ["GET", "DELETE"]),
    ("/slashed/", ["GET"]),
    ("/prices/<float:price>", ["GET"]),
    ("/mounted/<name>/x", ["GET", "POST"]),
]


@pytest.mark.parametrize("options", [{}, {"fallback_on_405": True}, {"redirect_slashes": True}])
def test_the_tables_say_what_requests_get(serve: Serve, options: dict[str, Any]) -> None:
    legacy = flask_app(AGREED)
    inside = [every("/{name}/x", "GET"), every("/a/x", "POST")]
    app = DualRoute(
        [
            every("/", "GET"),
            every("/orders/{id:int}", "GET"),
            every("/orders/42/lines/{line}"),
            every("/items/{id:int}", "GET", "PUT"),
            every("/files/{name}", "GET"),
            every("/slashed"),
            every("/prices/{price}"),
            Mount("/mounted", routes=inside),
        ],
        fallback=legacy,
        **options,
    )
    table = only(migration_tables(app))
    client = serve(app)
    for url, row in zip(listed(legacy), table.rows, strict=True):
        assert url.shapes is not None
        got = {
            client.request(method, sample.text).text
            for shape in url.shapes
            for sample in samples(shape)
            for method in url.methods
        }
        expected = {"moved": {"new"}, "legacy": {"legacy"}}.get(row[3])
        assert got == expected if expected else "new" in got or row[3] == "lost"
        assert (row[3] == "in part") == ("new" in got and len(got) > 1)
        assert ("405" in row[4]) == ("Method Not Allowed" in got)
        assert ("still legacy" in row[4]) == ("legacy" in got and len(got) > 1)


# Samples


def test_every_sample_is_one_that_the_pattern_takes() -> None:
    assert choice("id", r"\d+").values == ("1", "42", "2024")
    assert choice("id", r"\d+", lambda text: 1 // (int(text) - 1)).values == ("42", "2024")
    assert choice("key", "[0-9a-f]{32}").values == ("1" * 32, "a" * 32)
    assert choice("only", "auth").values == ("auth",)
    assert choice("page", r"(?:index\.html|about\.html)").values == ("index.html", "about.html")
    assert set(choice("rest", ".*").values) >= {"a", "1", "a/b"}
    for regex in ("zz[0-9]q", "("):
        with pytest.raises(NoSample):
            choice("odd", regex)


def test_the_number_of_samples_is_bounded() -> None:
    parts: list[Part] = ["/", *(choice(name, "[^/]+") for name in "abcdefghij")]
    assert 32 <= len(list(samples(parts))) <= 64
    assert [sample.text for sample in samples(["/", choice("id", r"\d+"), "/x"], 2)] == ["/1/x", "/42/x"]
    assert list(samples(())) == [("", ())]


@pytest.mark.parametrize(
    ("regex", "groups"),
    [
        (r"^x/(?P<year>[0-9]{4})/(?P<slug>[\w-]+)/$", {"year": "[0-9]{4}", "slug": r"[\w-]+"}),
        (r"(a(b)c)(?:(d)|(?!e))", {"_0": "a(b)c", "_1": "d"}),
        (r"(?P<x>(?P<y>a)\)[)(])\(", {"x": r"(?P<y>a)\)[)(]"}),
        (r"[](](a)(?i)", {"_0": "a"}),
        (r")", {}),
    ],
)
def test_the_groups_of_a_regular_expression(regex: str, groups: dict[str, str]) -> None:
    assert regex_groups(regex) == groups


# Frameworks


def test_flask_with_blueprints_static_files_and_converters_of_its_own() -> None:
    flask = load("flask")
    converters = load("werkzeug.routing")
    legacy = flask.Flask("shop")

    class Odd(converters.BaseConverter):  # type: ignore[misc, name-defined]  # it has no type: see load()
        regex = "zz[0-9]q"

    class Broken(converters.BaseConverter):  # type: ignore[misc, name-defined]  # likewise
        def to_python(self, value: str) -> str:
            raise OSError("no database")

    legacy.url_map.converters.update(odd=Odd, broken=Broken)
    admin = flask.Blueprint("admin", "admin", url_prefix="/admin")
    admin.add_url_rule("/users", "users", lambda: "")
    legacy.register_blueprint(admin)
    legacy.add_url_rule("/<odd:x>", "odd", lambda x: "")
    legacy.add_url_rule("/b/<broken:x>", "broken", lambda x: "")
    legacy.add_url_rule("/built", "built", build_only=True)
    table = only(migration_tables(DualRoute([every("/admin/{page}")], fallback=legacy)))
    assert table.heading == "fallback: flask.app.Flask 'shop'"
    assert table.rows == [
        ("/static/<path:filename>", "GET", "static", "legacy", ""),
        ("/admin/users", "GET", "admin.users", "moved", ""),
        ("/<odd:x>", "GET", "odd", "?", "can't make a sample path"),
        ("/b/<broken:x>", "GET", "broken", "?", "can't make a sample path"),
    ]
    assert table.total == "1 of 4 URLs moved, 0 in part, 1 still legacy, 2 without a sample"


def test_an_app_is_found_inside_middleware() -> None:
    legacy = flask_app([("/", ["GET"])])
    proxy_fix = load("werkzeug.middleware.proxy_fix").ProxyFix(legacy.wsgi_app)
    assert only(migration_tables(DualRoute(fallback=proxy_fix))).heading == "fallback: flask.app.Flask 'shop'"
    several = load("werkzeug.middleware.dispatcher").DispatcherMiddleware(legacy, {"/other": legacy})
    assert unwrapped(several) is None


def test_quart() -> None:
    legacy = load("quart").Quart("shop", static_folder=None)
    legacy.add_url_rule("/<int:id>", "view", lambda id: "", methods=["GET", "POST"])
    legacy.add_websocket("/ws", "ws", lambda: None)
    app = DualRoute([every("/{id:int}", "GET"), every("/ws")], fallback=legacy)
    assert statuses(app) == {
        "/<int:id> GET, POST": ("in part", "POST answered 405"),
        "/ws websocket": ("legacy", ""),
    }


def test_bottle() -> None:
    bottle = load("bottle")
    legacy, inner = bottle.Bottle(), bottle.Bottle()
    for rule, method in [
        ("/", "GET"),
        ("/items/<id:int>", ["GET", "POST"]),
        ("/files/<name:path>", "GET"),
        ("/years/<year:re:[0-9]{4}>/<name>", "GET"),
        ("/any/<x>", "ANY"),
    ]:
        legacy.route(rule, method, lambda **params: "")
    inner.route("/x", "GET", lambda: "")
    legacy.mount("/inner/", inner)
    legacy.mount("/flask/", flask_app([]))
    app = DualRoute(
        [
            every("/"),
            every("/items/{id:int}", "GET"),
            every("/files/{name}"),
            every("/years/{year:int}/{name}"),
            every("/any/{x}", "GET"),
            every("/inner/x"),
            every("/flask/a"),
        ],
        fallback=legacy,
    )
    assert statuses(app) == {
        "/ GET": ("moved", ""),
        "/items/<id:int> GET": ("moved", ""),
        "/items/<id:int> POST": ("lost", "POST answered 405"),
        "/files/<name:path> GET": ("in part", "some values of <name> still legacy"),
        "/years/<year:re:[0-9]{4}>/<name> GET": ("moved", ""),
        "/any/<x> any": ("in part", "POST answered 405"),
        "/inner/x GET": ("moved", ""),
        "/flask/<:re:.*> any": ("in part", "some values of <re> still legacy"),
    }


def test_starlette() -> None:
    applications, routing = load("starlette.applications"), load("starlette.routing")
    endpoints, static = load("starlette.endpoints"), load("starlette.staticfiles")

    class Page(endpoints.HTTPEndpoint):  # type: ignore[misc, name-defined]  # it has no type: see load()
        async def get(self, request: Any) -> None: ...
        async def post(self, request: Any) -> None: ...

    async def view(request: Any) -> None: ...

    files = static.StaticFiles(directory=".")
    legacy = applications.Starlette(
        routes=[
            routing.Route("/pages/{id:int}", Page),
            routing.Route("/put", view, methods=["PUT"]),
            routing.Mount("/m/{x}", routes=[routing.Route("/", view), routing.Mount("/files", app=files)]),
            routing.Host("api.example.org", app=routing.Router([routing.Route("/x", view)])),
            routing.Host("static.example.org", app=files),
            routing.WebSocketRoute("/ws", view),
            routing.BaseRoute(),
        ]
    )
    app = DualRoute(
        [
            Host("api.example.org", Router([every("/x")])),
            every("/pages/{id}", "POST"),
            every("/put", "PUT"),
            every("/m/{x:int}/"),
            every("/m/{x}/files/{name}"),
            every("/ws"),
        ],
        fallback=legacy,
    )
    assert statuses(app) == {
        "/pages/{id:int} GET, POST": ("in part", "GET answered 405"),
        "/put PUT": ("moved", ""),
        "/m/{x}/ GET": ("in part", "some values of <x> still legacy"),
        "/m/{x}/files/* any": ("in part", "some values of <path> still legacy"),
        "api.example.org/x GET": ("moved", ""),
        "static.example.org/* any": ("legacy", ""),
        "/ws websocket": ("legacy", ""),
        "? any": ("?", "can't make a sample path"),
    }
    assert statuses(DualRoute(fallback=applications.Starlette())) == {}


def test_fastapi() -> None:
    fastapi = load("fastapi")
    legacy, inner, router = fastapi.FastAPI(openapi_url=None), fastapi.FastAPI(openapi_url=None), fastapi.APIRouter()

    async def view() -> None: ...

    router.add_api_route("/items/{id}", view, methods=["GET", "DELETE"])
    router.add_api_websocket_route("/ws", view)
    legacy.include_router(router, prefix="/v1")
    inner.add_api_route("/x", view)
    legacy.mount("/inner", inner)
    app = DualRoute([every("/v1/items/{id}", "GET"), every("/inner/x")], fallback=legacy)
    assert statuses(app) == {
        "/v1/items/{id} DELETE, GET": ("in part", "DELETE answered 405"),
        "/v1/ws websocket": ("legacy", ""),
        "/inner/x GET": ("moved", ""),
    }


def test_an_app_whose_urls_cannot_be_listed_is_opaque() -> None:
    def legacy(environ: Any, start_response: Any) -> list[bytes]:
        return []

    table = only(migration_tables(DualRoute([every("/")], fallback=legacy)))
    assert table.heading == f"fallback: {__name__}.{legacy.__qualname__}"
    assert (table.rows, table.total) == ([], "opaque: its URLs can't be listed")


def test_a_map_that_cannot_be_read_is_opaque_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def iter_rules() -> None:
        raise ValueError("no\nrules")

    legacy = flask_app([])
    monkeypatch.setattr(legacy.url_map, "iter_rules", iter_rules)
    total = "opaque: its URLs can't be listed: ValueError: no rules"
    assert only(migration_tables(DualRoute(fallback=legacy))).total == total

    class Unruly:
        def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
            return []

        @property
        def url_map(self) -> None:
            raise ValueError("not yet")

    total = "opaque: its URLs can't be listed: ValueError: not yet"
    assert only(migration_tables(DualRoute(fallback=Unruly()))).total == total


# The command


def command(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run `dualroute routes` in a folder, and return its exit code, stdout and stderr."""
    line = [sys.executable, "-m", "dualroute", "routes", *arguments]
    ended = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return ended.returncode, ended.stdout, ended.stderr


SHOP = """
from flask import Flask
from dualroute import DualRoute, Mount, Route, WSGIApp

shop = Flask("shop", static_folder=None)
shop.add_url_rule("/", "home", lambda: "")
shop.add_url_rule("/orders/<int:id>", "order", lambda id: "", methods=["GET", "POST"])
shop.add_url_rule("/items/<name>", "item", lambda name: "")
shop.add_url_rule("/about", "about", lambda: "")

def wiki(environ, start_response): ...
def new(request, id=None): ...

app = DualRoute([
    Route("/", new),
    Route("/orders/{id:int}", new, name="order"),
    Route("/items/{id:int}", new),
    Mount("/wiki", app=WSGIApp(wiki)),
], fallback=WSGIApp(shop))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the command needs a POSIX system")
def test_the_command_prints_the_route_table_and_then_the_migration_tables(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    routes = """\
PATH              METHODS    NAME   COLOUR    PROTOCOLS   MIDDLEWARE  ENDPOINT         DEFINED
/                 GET, HEAD  new    def       ASGI, WSGI              shop.new         shop.py:12
/orders/{id:int}  GET, HEAD  order  def       ASGI, WSGI              shop.new         shop.py:12
/items/{id:int}   GET, HEAD  new    def       ASGI, WSGI              shop.new         shop.py:12
/wiki/*           any               WSGI app  ASGI, WSGI              shop.wiki        shop.py:11
/*                any               WSGI app  ASGI, WSGI              flask.app.Flask
"""
    tables = """
mount /wiki: shop.wiki
opaque: its URLs can't be listed

fallback: flask.app.Flask 'shop'
PATH              METHODS    ENDPOINT  STATUS   LEFT
/                 GET        home      moved
/orders/<int:id>  GET, POST  order     in part  POST answered 405
/items/<name>     GET        item      in part  some values of <name> still legacy
/about            GET        about     legacy
1 of 4 URLs moved, 2 in part, 1 still legacy
"""
    assert command(tmp_path, "shop.py") == (0, routes, "")
    assert command(tmp_path, "shop:app", "--legacy") == (0, routes + tables, "")


DJANGO = """
from django.conf import settings

settings.configure(
    ROOT_URLCONF="urls",
    INSTALLED_APPS=["django.contrib." + name for name in ("admin", "auth", "contenttypes", "messages", "sessions")],
)

from django.core.{protocol} import get_{protocol}_application
from dualroute import DualRoute, Route

def new(request, **params): ...

def route(path, *methods):
    return Route(path, new, methods=methods or ["GET", "POST"])

app = DualRoute([
    route("/", "GET"),
    route("/books/"),
    route("/books/{{pk:int}}/"),
    route("/posted"),
    route("/archive/{{year:int}}/"),
    route("/archive/2024/{{month}}/"),
    route("/en/page.html"),
    route("/viewset"),
    route("/en-us/x"),
    route("/page{{n}}.html"),
], fallback=get_{protocol}_application())
"""

URLS = r"""
from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.urls import include, path, re_path, register_converter
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods
from django.views.generic import RedirectView

def view(request, **params): ...

class Books(View):
    def get(self, request): ...
    def delete(self, request): ...

@csrf_exempt
@require_http_methods(["POST"])
def posted(request): ...

def viewset(request): ...
viewset.actions, viewset.cls = {"get": "list", "post": "create"}, Books

class Broken:
    regex = "[a-z]+"
    def to_python(self, value):
        raise OSError("no database")

register_converter(Broken, "broken")

archive = [
    re_path(r"^(?P<year>[0-9]{4})/$", view, name="year"),
    re_path(r"^(?P<year>[0-9]{4})/(?P<month>\d{1,2})/(?:page-(?P<page>\d+)/)?$", view, name="month"),
]
urlpatterns = [
    path("", view, name="home"),
    path("books/", Books.as_view()),
    path("books/", include(([path("<int:pk>/", view, name="one")], "books"), namespace="b")),
    path("posted", posted),
    path("archive/", include(archive)),
    re_path(r"^(en|de)/page\.html$", view),
    re_path("^page(?P<n>[0-9])\\.html$", view),
    path("viewset", viewset),
    path("broken/<broken:x>", view),
    re_path(r"^either/(?:a|b)|c$", view),
    path("<slug:slug>/<uuid:id>", RedirectView.as_view(url="/")),
    path("hidden/<int:n>", view),
    path("hidden/1", view, name="never reached"),
    path("admin/", admin.site.urls),
    *i18n_patterns(path("x", view)),
]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the command needs a POSIX system")
@pytest.mark.parametrize("side", ["wsgi", "asgi"])
def test_django(tmp_path: Path, side: str) -> None:
    (tmp_path / "site_.py").write_text(DJANGO.format(protocol=side))
    (tmp_path / "urls.py").write_text(URLS)
    code, out, err = command(tmp_path, "site_.py", "--legacy")
    assert (code, err) == (0, "")
    _, _, table = out.partition("\n\n")
    lines = table.splitlines()
    assert lines[0] == f"fallback: django.core.handlers.{side}.{side.upper()}Handler"
    rows = {row[0]: row[1:] for row in (re.split(r"  +", line) for line in lines[2:-1])}
    admins = {path: row for path, row in rows.items() if path.startswith("/admin/")}
    assert {path: row for path, row in rows.items() if path not in admins} == {
        "/": ["any", "urls.view (home)", "in part", "POST answered 405"],
        "/books/": ["DELETE, GET", "urls.Books", "in part", "DELETE answered 405"],
        "/books/<int:pk>/": ["any", "urls.view (b:one)", "moved"],
        "/posted": ["POST", "urls.posted", "moved"],
        "/archive/(?P<year>[0-9]{4})/": ["any", "urls.view (year)", "moved"],
        r"/archive/(?P<year>[0-9]{4})/(?P<month>\d{1,2})/(?:page-(?P<page>\d+)/)?": [
            "any",
            "urls.view (month)",
            "in part",
            "some values of <year>, <page> still legacy",
        ],
        r"/(en|de)/page\.html": ["any", "urls.view", "in part", "some values of <group 1> still legacy"],
        r"/page(?P<n>[0-9])\.html": ["any", "urls.view", "moved"],
        "/viewset": ["GET, POST", "urls.Books", "moved"],
        "/broken/<broken:x>": ["any", "urls.view", "?", "can't make a sample path"],
        "/either/(?:a|b)|c": ["any", "urls.view", "?", "can't make a sample path"],
        "/hidden/1": ["any", "urls.view (never reached)", "?", "can't make a sample path"],
        "/hidden/<int:n>": ["any", "urls.view", "legacy"],
        "/<slug:slug>/<uuid:id>": ["DELETE, GET, PATCH, POST, PUT", "django.views.generic.base.RedirectView", "legacy"],
        "/en-us/x": ["any", "urls.view", "moved"],
    }
    assert admins["/admin/auth/user/add/"] == [
        "any",
        "django.contrib.auth.admin.UserAdmin.add_view (admin:auth_user_add)",
        "legacy",
    ]
    assert {row[2] for row in admins.values()} == {"legacy"}
    assert lines[-1] == (f"6 of {len(rows)} URLs moved, 4 in part, {len(admins) + 2} still legacy, 3 without a sample")


@pytest.mark.skipif(sys.platform == "win32", reason="the command needs a POSIX system")
def test_django_with_urls_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "site_.py").write_text(DJANGO.format(protocol="wsgi"))
    (tmp_path / "urls.py").write_text("import no_such_module")
    code, out, err = command(tmp_path, "site_.py", "--legacy")
    assert (code, err) == (0, "")
    assert out.endswith("\nopaque: its URLs can't be listed: ModuleNotFoundError: No module named 'no_such_module'\n")
