"""The examples of a migration, under a server of either protocol: old and new side by side."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.frameworks.sites import SERVERS, TESTS, all_at_once, needing, refusal, websocket_at
from tests.servers.conftest import client_of
from tests.servers.launching import BOUND, Running, by_name, require

EXAMPLES = TESTS.parent / "docs" / "examples"


@dataclass(frozen=True)
class Example:
    """An example: its file, the module that a server imports, and what has to be installed for it."""

    file: str
    module: str
    needs: tuple[str, ...]

    def __str__(self) -> str:
        return self.module.partition(".")[0]

    def started(self, server: str, folder: Path) -> Running:
        own = folder / f"{self}-{server}"
        own.mkdir()
        return Running(by_name(server), own, f"{self.module}:app", path=EXAMPLES)


FLASK = Example("migrate_flask.py", "migrate_flask", ("flask",))
DJANGO = Example("migrate_django/main.py", "migrate_django.main", ("django",))
both_servers = pytest.mark.parametrize("server", SERVERS)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[Example, str], Running]]:
    folder = tmp_path_factory.mktemp("examples")
    keys = [(example, server) for example in (FLASK, DJANGO) for server in SERVERS]
    starts = {
        (example, server): partial(example.started, server, folder)
        for example, server in keys
        if not needing(by_name(server), example.needs).missing
    }
    with all_at_once(starts) as running:
        yield running


@pytest.fixture
def flask(processes: dict[tuple[Example, str], Running], server: str) -> Running:
    require(needing(by_name(server), FLASK.needs))
    return processes[FLASK, server]


@pytest.fixture
def django(processes: dict[tuple[Example, str], Running], server: str) -> Running:
    require(needing(by_name(server), DJANGO.needs))
    return processes[DJANGO, server]


@both_servers
def test_the_flask_shop_has_its_cart_and_links_to_what_was_moved(flask: Running) -> None:
    with client_of(flask, follow_redirects=True) as client:
        page = client.post("/cart/2").text
        assert "Tea cosy is in your cart." in page
        page = client.post("/cart/3").text
        assert "In your cart: Tea cosy, Cup." in page
        links = re.findall(r'href="(/products/\d)"', page)
        assert [client.get(link).json() for link in links] == [
            {"name": "Teapot", "stock": 3, "price": 8},
            {"name": "Tea cosy", "stock": 6, "price": 16},
            {"name": "Cup", "stock": 9, "price": 24},
        ]
        assert "In your cart: nothing." in client.get("/cart/empty").text


@both_servers
def test_the_flask_shop_has_one_session_for_old_and_new(flask: Running) -> None:
    with client_of(flask, follow_redirects=True) as client:
        assert (client.get("/account").status_code, client.get("/account").text) == (401, "Log in first")
        assert "Ada" in client.post("/login", data={"name": "Ada"}).text  # by Flask
        assert "Tea cosy is in your cart." in client.post("/cart/2").text  # by dualroute, and shown by Flask
        assert "Tea cosy is in your cart." not in client.get("/").text
        account = client.get("/account")
        assert account.json() == {"customer": "Ada", "cart": [2]}
        assert "Cookie" in account.headers["vary"]
        assert client.post("/cart/9").text == "There is no product 9"
        client.get("/cart/empty")
        assert client.get("/account").json() == {"customer": "Ada", "cart": []}


@both_servers
def test_the_flask_shops_new_routes_answer(flask: Running) -> None:
    with client_of(flask) as client:
        assert client.get("/products").json()["Cup"] == f"{flask.url}/products/3"
        missing = client.get("/products/9")
        assert (missing.status_code, missing.text) == (404, "There is no product 9")
        flasks = client.get("/nowhere")
        assert flasks.status_code == 404
        assert "<h1>Not Found</h1>" in flasks.text


@both_servers
def test_the_django_project_has_its_form_and_links_to_what_was_moved(django: Running) -> None:
    with client_of(django, follow_redirects=True) as client:
        for likes in range(3):
            page = client.get("/").text
            assert f"You liked {likes} so far." in page
            answer = client.post("/like/", data={"csrfmiddlewaretoken": token_in(page)})
            assert f"You liked {likes + 1} so far." in answer.text
        refused = client.post("/like/")
        assert (refused.status_code, "CSRF verification failed" in refused.text) == (403, True)
        named = client.post("/name/", data={"csrfmiddlewaretoken": token_in(client.get("/").text), "name": "Ada"})
        assert "Ada liked 3 so far." in named.text
        links = re.findall(r'href="(/quotes/\d/)"', client.get("/").text)
        assert [client.get(link).json()["likes"] for link in links] == [10, 20]
        assert client.get("/quotes/1").json()["likes"] == 10  # by a redirect of Django's
        assert client.get("/newest/").json()["likes"] == 20


def token_in(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found is not None, page
    return found[1]


@both_servers
def test_the_django_projects_new_routes_answer(django: Running) -> None:
    with client_of(django) as client:
        assert sorted(client.get("/quotes/").json().values()) == [f"{django.url}/quotes/{n}/" for n in (1, 2)]
        missing = client.get("/quotes/9/")
        assert (missing.status_code, missing.text) == (404, "There is no quote 9")
        djangos = client.get("/nowhere/")
        assert djangos.status_code == 404
        assert "Using the URLconf defined in" in djangos.text


@both_servers
def test_both_have_a_websocket_where_the_server_has_them(flask: Running, django: Running) -> None:
    if flask.server.protocol == "wsgi":
        assert refusal(flask, f"{flask.url}/search") == refusal(django, f"{django.url}/search/") == 501
        return
    with websocket_at(flask, f"{flask.url}/search") as client:
        client.send("tea")
        assert json.loads(client.recv(timeout=BOUND)) == ["Teapot", "Tea cosy"]
    with websocket_at(django, f"{django.url}/search/") as client:
        client.send("hard things")
        found = json.loads(client.recv(timeout=BOUND))
        assert [text[:28] for text in found] == ["There are only two hard thin"]


@pytest.mark.parametrize(
    ("example", "total"),
    [
        (FLASK, "4 of 8 URLs moved, 0 in part, 4 still legacy"),
        (DJANGO, "2 of 6 URLs moved, 1 in part, 3 still legacy"),
    ],
    ids=str,
)
def test_the_command_tells_what_is_left(tmp_path: Path, example: Example, total: str) -> None:
    require(needing(by_name("uvicorn"), example.needs))
    command = [sys.executable, "-m", "dualroute", "routes", "--legacy", str(EXAMPLES / example.file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=BOUND, check=True)
    assert done.stderr == ""
    assert done.stdout.endswith(f"{total}\n")
