from __future__ import annotations

import builtins
import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest

from dualroute import BackgroundTask, DualRoute, HTTPEndpoint, Mount, Request, Route, SyncRequest
from dualroute.templating import Jinja2Templates, TemplateResponse
from tests.conftest import Serve

COLOURS = ["def", "async def"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "home.html").write_text("<p>Hello, {{ name }}, at {{ request.url.path }}</p>")
    (tmp_path / "link.html").write_text("{{ url_for('users:one', id=7) }} {{ url_for('here') }}")
    return tmp_path


def handler(colour: str, respond: Callable[[Any], Any]) -> Any:
    def plain(request: SyncRequest) -> Any:
        return respond(request)

    async def waiting(request: Request) -> Any:
        return respond(request)

    return plain if colour == "def" else waiting


@pytest.mark.parametrize("colour", COLOURS)
def test_a_template(serve: Serve, folder: Path, colour: str) -> None:
    templates = Jinja2Templates(directory=folder)
    made: list[TemplateResponse] = []

    def respond(request: Any) -> TemplateResponse:
        made.append(templates.TemplateResponse(request, "home.html", {"name": "<World>"}))
        return made[-1]

    answer = serve(DualRoute([Route("/at", handler(colour, respond))])).get("/at")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text == "<p>Hello, &lt;World&gt;, at /at</p>"
    assert made[0].template.name == "home.html"
    assert made[0].context["name"] == "<World>"
    assert isinstance(made[0].context["request"], SyncRequest if colour == "def" else Request)


def test_a_test_client_is_told_what_was_rendered(serve: Serve, folder: Path, protocol: str) -> None:
    templates = Jinja2Templates(folder)
    app = DualRoute([Route("/", handler("def", lambda request: templates.TemplateResponse(request, "home.html")))])
    told: dict[str, Any] = {}
    extra = {"extensions": {"http.response.debug": told}} if protocol == "asgi" else {"dualroute.debug": told}
    serve(app, extra=extra).get("/")
    assert told["info"]["template"].name == "home.html"
    assert isinstance(told["info"]["context"]["request"], SyncRequest)


def test_everything_else_that_a_response_takes(serve: Serve, folder: Path) -> None:
    templates = Jinja2Templates(str(folder))
    ran: list[str] = []

    class Home(HTTPEndpoint):
        def get(self, request: SyncRequest) -> TemplateResponse:
            return templates.TemplateResponse(
                request,
                "home.html",
                {"name": "X"},
                status_code=404,
                headers={"x-a": "b"},
                media_type="application/xhtml+xml",
                background=BackgroundTask(ran.append, "ran"),
            )

    answer = serve(DualRoute([Route("/", Home)])).get("/")
    assert (answer.status_code, answer.headers["x-a"]) == (404, "b")
    assert answer.headers["content-type"] == "application/xhtml+xml"
    assert ran == ["ran"]


@pytest.mark.parametrize("colour", COLOURS)
def test_url_for(serve: Serve, folder: Path, colour: str) -> None:
    templates = Jinja2Templates(folder)
    here = handler(colour, lambda request: templates.TemplateResponse(request, "link.html"))
    inside = Mount("/users", name="users", routes=[Route("/{id:int}", here, name="one")])
    answer = serve(DualRoute([Route("/here", here, name="here"), inside]), root_path="/base").get("/here")
    assert answer.text == "http://testserver/base/users/7 http://testserver/base/here"


def test_a_name_that_no_route_has_is_an_error_of_the_handler(serve: Serve, folder: Path) -> None:
    templates = Jinja2Templates(folder)
    app = DualRoute([Route("/", handler("def", lambda request: templates.TemplateResponse(request, "link.html")))])
    assert serve(app).get("/").status_code == 500


def test_url_for_of_an_environment_s_own_is_left_alone(folder: Path) -> None:
    env = jinja2.Environment(loader=jinja2.DictLoader({"a": "{{ url_for('x') }}"}))
    env.globals["url_for"] = lambda name: f"static {name}"
    assert Jinja2Templates(env=env).get_template("a").render() == "static x"


def test_an_import_without_context_says_what_it_lacks(folder: Path) -> None:
    (folder / "macro.html").write_text("{% macro link() %}{{ url_for('x') }}{% endmacro %}")
    (folder / "page.html").write_text("{% from 'macro.html' import link %}{{ link() }}")
    with pytest.raises(RuntimeError, match="needs `request` in its context"):
        Jinja2Templates(folder).get_template("page.html").render()


@pytest.mark.parametrize("colour", COLOURS)
def test_context_processors(serve: Serve, folder: Path, colour: str) -> None:
    (folder / "page.html").write_text("{{ user }} {{ path }} {{ own }}")
    given = {"own": "handler", "user": "handler"}

    def user(request: Any) -> dict[str, Any]:
        return {"user": request.headers["x-user"]}

    def path(request: Any, prefix: str) -> dict[str, Any]:
        return {"path": prefix + request.url.path}

    templates = Jinja2Templates(folder, context_processors=[user, functools.partial(path, prefix="at ")])
    app = DualRoute(
        [Route("/x", handler(colour, lambda request: templates.TemplateResponse(request, "page.html", given)))]
    )
    assert serve(app).get("/x", headers={"x-user": "bob"}).text == "bob at /x handler"
    assert given == {"own": "handler", "user": "handler"}, "a handler's dict is its own"


async def waiting_processor(request: Any) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("processor", [waiting_processor, functools.partial(waiting_processor), "user"])
def test_a_context_processor_is_a_plain_function(folder: Path, processor: Any) -> None:
    with pytest.raises(TypeError, match="a context processor is a plain `def`"):
        Jinja2Templates(folder, context_processors=[processor])


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        *((name, True) for name in ("a.html", "a", "a.HTM", "a.svg", "a.j2", "a.html.j2", "v1.txt/a.html")),
        *((name, False) for name in ("a.txt", "mail.txt.jinja", "a.json")),
    ],
)
def test_what_is_escaped(tmp_path: Path, name: str, escaped: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{{ x }}")
    assert Jinja2Templates(tmp_path).get_template(name).render(x="<") == ("&lt;" if escaped else "<")


def test_a_text_without_a_name_is_escaped(folder: Path) -> None:
    assert Jinja2Templates(folder).env.from_string("{{ x }}").render(x="<") == "&lt;"


def test_several_directories(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.html").write_text(name)
    (tmp_path / "two" / "b.html").write_text("b")
    templates = Jinja2Templates([tmp_path / "missing", tmp_path / "one", str(tmp_path / "two")])
    assert [templates.get_template(name).render() for name in ("a.html", "b.html")] == ["one", "b"]


@pytest.mark.parametrize("directory", ["no/such", ["no/such", "nor/this"], []])
def test_a_directory_that_is_not_there(directory: Any) -> None:
    with pytest.raises(ValueError, match="no such directory"):
        Jinja2Templates(directory)


@pytest.mark.parametrize("arguments", [{}, {"directory": ".", "env": jinja2.Environment()}, {"directory": ""}])
def test_a_directory_or_an_environment(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="either directory= or env="):
        Jinja2Templates(**arguments)


def test_an_async_environment_is_refused() -> None:
    with pytest.raises(TypeError, match="enable_async=True"):
        Jinja2Templates(env=jinja2.Environment(enable_async=True))


def test_the_order_of_arguments_that_starlette_once_had_is_refused(folder: Path) -> None:
    templates: Any = Jinja2Templates(folder)
    with pytest.raises(TypeError, match=r"takes the request, then the name: .*\(str, dict, …\)"):
        templates.TemplateResponse("home.html", {"request": None})


def test_a_template_that_is_not_there(folder: Path) -> None:
    with pytest.raises(jinja2.TemplateNotFound):
        Jinja2Templates(folder).get_template("nope.html")


def test_without_jinja2_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def fails(name: str, *args: Any, **options: Any) -> Any:
        if name == "jinja2":
            raise ImportError(name)
        return imported(name, *args, **options)

    monkeypatch.delitem(sys.modules, "jinja2")
    monkeypatch.setattr(builtins, "__import__", fails)
    with pytest.raises(ImportError, match=r'pip install "dualroute\[templates\]"'):
        Jinja2Templates(folder)


def test_importing_dualroute_loads_none_of_this() -> None:
    mine = {f"dualroute.{name}" for name in ("cli", "config", "explaining", "inspection", "schemas", "templating")}
    script = f"import sys, dualroute; print(sorted({mine | {'jinja2', 'yaml', 'shtab'}!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "[]\n"
