"""`dualroute routes`, `dualroute match` and `dualroute completion`, as a user runs them: real processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dualroute import cli
from dualroute.cli.terminal import aligned, styled
from dualroute.inspection import flattened, route_table

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the command needs a POSIX system")

PATIENCE = 60.0

APP = """
from functools import partial
from dualroute import DualRoute, Host, HTTPEndpoint, Mount, Response, Route, Router, WebSocketRoute, covers

def timing(connection):
    return (yield connection)

@covers("http", "websocket")
def tracing(connection):
    return (yield connection)

def home(request):
    return Response("home")

async def user(request):
    return Response("user")

class Notes(HTTPEndpoint):
    async def get(self, request): ...
    def post(self, request): ...

async def live(websocket): ...

def legacy(environ, start_response): ...

app = DualRoute(
    [
        Route("/", home, sync_to_thread=False),
        Mount("/users", name="users", middleware=[tracing], routes=[
            Route("/{id:int}", user, methods=["GET", "PUT"], name="one", middleware=[timing]),
            Route("/{name}", partial(user), name="named"),
        ]),
        Route("/notes/", Notes),
        WebSocketRoute("/live", live),
        Host("{shop}.example.org", Router([Route("/", home)]), name="shop"),
    ],
    middleware=[timing],
    fallback=legacy,
)
"""

TABLE = """\
PATH                 METHODS         NAME         COLOUR             PROTOCOLS   MIDDLEWARE               ENDPOINT      DEFINED
/                    GET, HEAD       home         def, inline        ASGI, WSGI  timing                   shop.home     shop.py:12
/users/{id:int}      GET, HEAD, PUT  users:one    async def          ASGI, WSGI  timing, tracing, timing  shop.user     shop.py:15
/users/{name}        GET, HEAD       users:named  async def          ASGI, WSGI  timing, tracing          shop.user     shop.py:15
/notes/              GET, HEAD, POST Notes        def and async def  ASGI, WSGI  timing                   shop.Notes    shop.py:18
/live                websocket       live         async def          ASGI                                 shop.live     shop.py:22
{shop}.example.org/  GET, HEAD       shop:home    def                ASGI, WSGI  timing                   shop.home     shop.py:12
/*                   any                          WSGI app           ASGI, WSGI  timing                   shop.legacy   shop.py:24
"""  # noqa: E501  # as wide as it is printed

TREE = """\
shop.py (app)
├── /  GET, HEAD  name=home  def, inline  [timing]  shop.home (shop.py:12)
├── /users  mount  name=users  [timing, tracing]
│   ├── /{id:int}  GET, HEAD, PUT  name=one  async def  [timing, tracing, timing]  shop.user (shop.py:15)
│   └── /{name}  GET, HEAD  name=named  async def  [timing, tracing]  shop.user (shop.py:15)
├── /notes/  GET, HEAD, POST  name=Notes  def and async def  [timing]  shop.Notes (shop.py:18)
├── /live  websocket  name=live  async def  ASGI only  shop.live (shop.py:22)
├── {shop}.example.org  host  name=shop  [timing]
│   └── /  GET, HEAD  name=home  def  [timing]  shop.home (shop.py:12)
└── *  default  WSGI app  [timing]  shop.legacy (shop.py:24)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(APP)
    return folder


def run(folder: Path, *arguments: str, **environ: str) -> tuple[int, str]:
    """Run `dualroute` in a folder, and return its exit code and what it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", "dualroute", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environ},
    )
    return ended.returncode, ended.stdout + ended.stderr


def cells(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]


def test_routes_as_a_table(folder: Path) -> None:
    code, printed = run(folder, "routes", "shop.py")
    assert code == 0
    assert cells(printed) == cells(TABLE)


def test_routes_as_a_tree(folder: Path) -> None:
    assert run(folder, "routes", "shop.py", "--tree") == (0, TREE)


def test_a_terminal_without_line_drawings_gets_a_plain_tree(folder: Path) -> None:
    code, printed = run(folder, "routes", "shop.py", "--tree", PYTHONIOENCODING="ascii")
    assert code == 0
    drawn = TREE.replace("├──", "|--").replace("└──", "`--").replace("│", "|")
    assert printed == drawn


def test_routes_as_json(folder: Path) -> None:
    code, printed = run(folder, "routes", "shop.py", "--json", "--legacy")
    found = json.loads(printed)
    assert code == 0
    assert (found["target"], found["attribute"]) == ("shop.py", "app")
    assert [info["kind"] for info in found["routes"]] == ["route", "mount", "route", "websocket", "host", "default"]
    assert found["routes"][1]["routes"][0] == {
        "kind": "route",
        "own": "/{id:int}",
        "path": "/users/{id:int}",
        "host": None,
        "name": "one",
        "full_name": "users:one",
        "methods": ["GET", "HEAD", "PUT"],
        "endpoint": "shop.user",
        "colour": "async def",
        "protocols": ["ASGI", "WSGI"],
        "middleware": ["shop.timing", "shop.tracing", "shop.timing"],
        "defined": f"{folder / 'shop.py'}:15",
        "routes": [],
    }
    assert found["routes"][4]["routes"][0]["host"] == "{shop}.example.org"
    assert found["legacy"][0]["heading"] == "fallback: shop.legacy"


MATCHES: dict[tuple[str, ...], tuple[int, str]] = {
    ("GET", "/users/7"): (
        0,
        """\
GET /users/7: MATCH, this route answers
  mount /users
    /{id:int} GET, HEAD, PUT  shop.user  (shop.py:15)
  with id=7

looked at, in this order:
  mount /users  leads there
    /{id:int} GET, HEAD, PUT  wins
    /{name} GET, HEAD  not reached, by order: it would match, but comes after the one that wins
  and 5 more, not reached or far from it (--all names them)
""",
    ),
    ("put", "/users/bob", "--all"): (
        1,
        """\
PUT /users/bob: 405, the path takes GET, HEAD, OPTIONS, and not PUT

looked at, in this order:
  / GET, HEAD  lost, by path: '/users/bob' does not fit
  mount /users  lost, by inside: it fits, but nothing inside does
    /{id:int} GET, HEAD, PUT  lost, by convertor: 'id' (int) does not take 'bob'
    /{name} GET, HEAD  lost, by method: the path fits, but it takes GET, HEAD, and not PUT
  /notes/ GET, HEAD, POST  lost, by path: '/users/bob' does not fit
  websocket /live  lost, by kind: it takes websockets only
  host {shop}.example.org  lost, by host: the host is 'localhost'
  default *  lost, by default: it is asked only where no path fits
""",
    ),
    ("GET", "/nope"): (
        0,
        """\
GET /nope: DEFAULT, no route matches; it goes to the fallback
  default *  shop.legacy  (shop.py:24)

looked at, in this order:
  host {shop}.example.org  lost, by host: the host is 'localhost'
  default *  wins
  and 4 more, not reached or far from it (--all names them)
""",
    ),
    ("GET", "/%ff"): (1, "GET /%ff: 400, Bad Request: the path is not UTF-8\n"),
}


@pytest.mark.parametrize("arguments", MATCHES, ids=" ".join)
def test_match(folder: Path, arguments: tuple[str, ...]) -> None:
    assert run(folder, "match", "shop.py", *arguments) == MATCHES[arguments]


def test_match_as_json(folder: Path) -> None:
    code, printed = run(folder, "match", "shop.py", "WEBSOCKET", "/live", "--json")
    found = json.loads(printed)
    assert code == 0
    assert found["outcome"] == "match"
    assert [info["endpoint"] for info in found["trail"]] == ["shop.live"]
    assert [step["own"] for step in found["steps"] if step["outcome"] == "wins"] == ["/live"]
    code, printed = run(folder, "match", "shop.py", "PUT", "/users/bob", "--json")
    found = json.loads(printed)
    assert code == 1
    assert (found["outcome"], found["allowed"]) == ("405", ["GET", "HEAD", "OPTIONS"])


def test_a_redirect_is_no_match(tmp_path: Path) -> None:
    (tmp_path / "slash.py").write_text(
        "from dualroute import DualRoute, Route\napp = DualRoute([Route('/a/', lambda request: None)])\n"
    )
    code, printed = run(tmp_path, "match", "slash.py", "GET", "/a")
    assert code == 1
    assert "REDIRECT, only with a slash added or taken off does it match" in printed
    assert "\n  to /a/\n" in printed


def test_an_argument_that_is_no_text_is_told_of(folder: Path) -> None:
    code, printed = run(folder, "match", "shop.py", "GET", os.fsdecode(b"/caf\xe9"))
    assert code == 1
    assert printed == "GET /caf\\udce9: 400, Bad Request: the path is not UTF-8\n"


@pytest.mark.parametrize("command", [["routes", "nope.py"], ["match", "nope.py", "GET", "/"]])
def test_an_app_that_is_not_there_is_another_exit_code(tmp_path: Path, command: list[str]) -> None:
    assert run(tmp_path, *command) == (2, "dualroute: nope.py: no such file\n")


# Colour


def shown_on_a_terminal(folder: Path, **environ: str) -> str:
    window, terminal = os.openpty()
    try:
        line = [sys.executable, "-m", "dualroute", "match", "shop.py", "GET", "/users/7"]
        kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
        subprocess.run(line, cwd=folder, stdout=terminal, timeout=PATIENCE, check=True, env={**kept, **environ})
        return os.read(window, 65536).decode()
    finally:
        os.close(window)
        os.close(terminal)


def test_colour_is_for_terminals_where_the_user_wants_it(folder: Path) -> None:
    assert "\033[32mMATCH\033[0m" in shown_on_a_terminal(folder, TERM="xterm")
    assert "\033" not in shown_on_a_terminal(folder, TERM="xterm", NO_COLOR="1")
    assert "\033" not in shown_on_a_terminal(folder, TERM="dumb")
    assert "\033" not in run(folder, "match", "shop.py", "GET", "/users/7", TERM="xterm")[1]


def test_a_table_without_rows_has_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert aligned(("A", "B"), []) == []
    assert styled("x", "1") == "x"


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh", "powershell"])
def test_a_completion_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "match" in script
    assert "legacy" in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="looks what bash makes of it")
def test_bash_completes_commands_options_and_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out

    def completed(*words: str) -> set[str]:
        ask = 'COMP_CWORD=$(( $# - 1 )); COMP_WORDS=("$@"); _shtab_dualroute; printf "%s\\n" "${COMPREPLY[@]}"'
        ran = subprocess.run(
            ["bash", "--norc", "-c", f"{script}\n{ask}", "bash", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return set(ran.stdout.split())

    assert completed("dualroute", "") >= {"run", "routes", "match", "check", "completion"}
    assert completed("dualroute", "ro") == {"routes"}
    assert completed("dualroute", "routes", "--t") == {"--tree"}
    assert completed("dualroute", "completion", "z") == {"zsh"}
    assert completed("dualroute", "match", "sh") == {"shop.py"}


def test_without_shtab_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 2
    assert 'pip install "dualroute[cli]"' in capsys.readouterr().err


# The table itself


def test_a_table_of_anything_else_is_empty() -> None:
    def app(environ: Any, start_response: Any) -> Any: ...

    assert route_table(app) == []
    assert list(flattened([])) == []
