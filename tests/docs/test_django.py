"""The how-to page about migrating a Django project: its steps, on a project that its own commands make."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.docs.pages import Page
from tests.docs.steps import EXAMPLES, is_quoted, require_quoted, run_python, run_tests
from tests.frameworks.sites import SERVERS, all_at_once
from tests.servers.conftest import client_of
from tests.servers.launching import Running, by_name

PAGE = Page("how-to/django.md")
FRONT, MOVED, SHARED = range(3)
LEGACY = "dualroute routes --legacy main.py"

ADMINISTRATOR = """
from django.contrib.auth.models import User
User.objects.create_superuser("ada", "ada@example.org", "engine")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as the page's first commands make it, with an administrator and the page's other files."""
    folder = tmp_path_factory.mktemp("django")
    commands = [line for block in PAGE.of("sh") for line in block.text.splitlines()]
    assert commands[2:] == ["gunicorn main:app", "uvicorn main:app", LEGACY]
    for command in commands[:2]:
        python, *arguments = command.split()
        assert python == "python"
        run_python(folder, *arguments)
    run_python(folder, "manage.py", "shell", "-c", ADMINISTRATOR)
    PAGE.write(folder)
    return folder


def at(project: Path, folder: Path, step: int) -> Path:
    """Copy the project, with `main.py` as it is after a step."""
    shutil.copytree(project, folder)
    versions = [block.text for block in PAGE.blocks if block.file == "main.py"]
    assert len(versions) == 3
    (folder / "main.py").write_text(versions[step])
    return folder


@pytest.fixture(scope="module")
def processes(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, int], Running]]:
    """The project after each step, served by each kind of server; the first one by one of them."""
    folder = tmp_path_factory.mktemp("steps")
    keys = [(SERVERS[0], FRONT), *((server, step) for server in SERVERS for step in (MOVED, SHARED))]
    starts = {}
    for server, step in keys:
        own = at(project, folder / f"{server}-{step}", step)
        starts[server, step] = partial(Running, by_name(server), own, "main:app", path=own)
    with all_at_once(starts) as running:
        yield running


both_servers = pytest.mark.parametrize("server", SERVERS)


def logged_in(client: httpx.Client) -> httpx.Response:
    """Log in as people do, by the form of Django's admin."""
    form = client.get("/admin/login/?next=/me/")
    data = {"username": "ada", "password": "engine", "csrfmiddlewaretoken": token_in(form.text), "next": "/me/"}
    return client.post("/admin/login/", data=data)


def token_in(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found is not None, page
    return found[1]


def test_in_front_all_is_as_before(processes: dict[tuple[str, int], Running]) -> None:
    with client_of(processes[SERVERS[0], FRONT], follow_redirects=True) as client:
        assert "The install worked successfully" in client.get("/").text
        logged_in(client)
        assert "Site administration" in client.get("/admin/").text


@both_servers
def test_what_was_moved_is_answered_here_and_the_rest_there(
    processes: dict[tuple[str, int], Running], server: str
) -> None:
    with client_of(processes[server, MOVED]) as client:
        assert client.get("/double/4/").json() == {"number": 4, "double": 8}
        refused = client.post("/double/4/")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert "Using the URLconf defined in" in client.get("/nowhere/").text
        assert client.get("/admin").headers["location"] == "/admin/"  # Django's own slash


@both_servers
def test_sessions_users_and_tokens_are_shared(processes: dict[tuple[str, int], Running], server: str) -> None:
    running = processes[server, SHARED]
    with client_of(running, follow_redirects=True) as client:
        asked = client.get("/me/")
        assert asked.url.path == "/admin/login/"
        assert asked.history[0].status_code == 302
        assert client.get("/staff/").status_code == 403
        assert logged_in(client).json() == {"name": "ada", "visits": 0}
        assert "Cookie" in client.get("/me/").headers["vary"]
        assert client.get("/staff/").json() == ["ada"]

        refused = client.post("/visit/")
        assert (refused.status_code, "CSRF verification failed" in refused.text) == (403, True)
        headers = {"x-csrftoken": client.cookies["csrftoken"]}
        assert client.post("/visit/", headers=headers).json() == {"name": "ada", "visits": 1}
        form = {"csrfmiddlewaretoken": client.cookies["csrftoken"]}
        assert client.post("/visit/", data=form).json() == {"name": "ada", "visits": 2}

        client.post("/admin/logout/", headers=headers)
        assert client.get("/staff/").status_code == 403


@both_servers
def test_connections_to_the_database_do_not_pile_up(processes: dict[tuple[str, int], Running], server: str) -> None:
    running = processes[server, SHARED]
    with client_of(running, follow_redirects=True) as client:
        logged_in(client)
        for _ in range(10):
            assert client.get("/staff/").json() == ["ada"]
    proc = Path("/proc")
    if not (proc / "self" / "fd").is_dir():
        pytest.skip("needs /proc, which tells what files a process has open")
    group = running.process.pid  # the server leads a group of its own
    opened = [file.name for folder in proc.glob("[0-9]*/fd") if group_of(folder) == group for file in files_in(folder)]
    assert opened, "the server has files open"
    assert opened.count("db.sqlite3") == 0


def group_of(folder: Path) -> int | None:
    try:
        return os.getpgid(int(folder.parent.name))
    except ProcessLookupError:
        return None


def files_in(folder: Path) -> list[Path]:
    """Return what a process of ours has open."""
    links = [folder / name for name in os.listdir(folder)]
    return [link.readlink() for link in links if link.is_symlink()]


def test_the_command_tells_what_is_left(tmp_path: Path) -> None:
    _, *arguments = LEGACY.replace("main.py", str(EXAMPLES / "migrate_django" / "main.py")).split()
    (shown,) = (block.text for block in PAGE.of("text"))
    assert run_python(tmp_path, "-m", "dualroute", *arguments).endswith(shown)


def test_tests_of_what_was_moved_run_by_both_protocols(project: Path, tmp_path: Path) -> None:
    folder = at(project, tmp_path / "tested", SHARED)
    run_tests(folder, "test_me.py", passed=2)


def test_what_is_quoted_is_in_the_example() -> None:
    require_quoted(PAGE, 1)
    example = (EXAMPLES / "migrate_django" / "shared.py").read_text()
    (block,) = (block for block in PAGE.blocks if block.file == "shared.py")
    assert is_quoted(block.text, example)
