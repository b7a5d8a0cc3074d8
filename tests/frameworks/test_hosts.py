"""A dualroute app inside apps of other frameworks: it knows where it is, and answers as it does by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.frameworks.hosts import PREFIX
from tests.frameworks.sites import all_at_once, client_at, needing, refusal, started, websocket_at
from tests.servers.launching import BOUND, Running, Server, by_name, require

AT = "http://www.test"


@dataclass(frozen=True)
class Host:
    """A way to have the app inside another one.

    Args:
        function: what makes it, in `hosts`.
        server: the server that it runs on.
        needs: what has to be installed for it.
        below: whether the server is told of a root path, ``/base``.
    """

    function: str
    server: Server
    needs: tuple[str, ...]
    below: bool = False

    def __str__(self) -> str:
        return f"{self.function}-{self.server}" + ("-below" if self.below else "")

    @property
    def asked(self) -> str:
        """The path that a client asks for to get to the app."""
        return ("/base" if self.below and self.server.root_in_target else "") + PREFIX

    @property
    def root(self) -> str:
        """The root path, as the app should see it."""
        return ("/base" if self.below else "") + PREFIX

    def started(self, folder: Path) -> Running:
        is_factory = self.server is UVICORN
        target = f"hosts:{self.function}" if is_factory else f"hosts:{self.function}()"
        below = self.server.root_path if self.below else None
        return started(
            self.server,
            folder / str(self),
            target,
            (*(("--factory",) if is_factory else ()), *(below or ())),
            self.server.root_environ if self.below else None,
        )


GUNICORN, UVICORN = map(by_name, ("gunicorn-gthread", "uvicorn"))
HOSTS = (
    Host("in_flask", GUNICORN, ("flask",)),
    Host("in_flask", GUNICORN, ("flask",), below=True),
    Host("beside_django_wsgi", GUNICORN, ("django",)),
    Host("beside_django_asgi", UVICORN, ("django",)),
    Host("beside_django_asgi", UVICORN, ("django",), below=True),
    Host("in_fastapi", UVICORN, ("fastapi",)),
    Host("in_fastapi", UVICORN, ("fastapi",), below=True),
    Host("in_starlette", UVICORN, ("starlette",)),
    Host("beside_quart", UVICORN, ("quart",)),
    Host("by_hypercorn", UVICORN, ("hypercorn", "quart")),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "host" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("protocol")
        protocols = marker.args if marker is not None else ("asgi", "wsgi")
        metafunc.parametrize("host", [host for host in HOSTS if host.server.protocol in protocols], ids=str)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Host, Running]]:
    """The hosts that can be had here, started at once."""
    folder = tmp_path_factory.mktemp("hosts")
    with all_at_once(
        {host: partial(host.started, folder) for host in HOSTS if not needing(host.server, host.needs).missing}
    ) as running:
        yield running


@pytest.fixture
def running(processes: dict[Host, Running], host: Host) -> Running:
    require(needing(host.server, host.needs))
    return processes[host]


@pytest.fixture
def client(running: Running, host: Host) -> Iterator[httpx.Client]:
    """A client that stands at the root of the app inside."""
    with client_at(running, AT + host.asked) as client:
        yield client


def test_the_host_goes_on_as_before(running: Running, host: Host) -> None:
    with client_at(running, AT + host.asked.removesuffix(PREFIX)) as outside:
        assert outside.get("/").json() == "the host's"
        assert outside.get("/ours-not").status_code == 404
        assert outside.get("/where").status_code == 404


@pytest.mark.parametrize("path", ["/where", "/where-async", "/inner/where", "/"])
def test_a_handler_knows_where_it_is(client: httpx.Client, host: Host, path: str) -> None:
    answer = client.get(path, params={"q": "ü"})
    assert answer.status_code == 200
    root = AT + host.root
    assert answer.json() == {
        "url": f"{root}{path}?q=%C3%BC",
        "base_url": f"{root}/",
        "root_path": host.root + ("/inner" if path.startswith("/inner") else ""),
        "path": host.root + path,
        "thing": f"{root}/things/7",
        "inner": f"{root}/inner/things/8",
    }


def test_path_parameters_and_methods(client: httpx.Client) -> None:
    assert client.get("/things/7").json() == {"thing_id": 7}
    assert client.get("/inner/things/8").json() == {"thing_id": 8}
    assert client.head("/things/7").content == b""
    wrong = client.post("/things/7")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(("asked", "location"), [("/list", "/list/"), ("/things/7/", "/things/7")])
def test_slashes_are_redirected_below_the_host(client: httpx.Client, host: Host, asked: str, location: str) -> None:
    answer = client.get(f"{asked}?a=1")
    assert answer.status_code == 307
    assert answer.headers["location"] == f"{host.root}{location}?a=1"


def test_the_root_is_found_without_its_slash(running: Running, host: Host) -> None:
    with client_at(running, AT) as outside:
        answer = outside.get(host.asked)
    if answer.status_code == 307:
        assert answer.headers["location"].removeprefix(AT) == f"{host.root}/"
    else:
        assert answer.json()["path"] == host.root


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 1_500_000])
@pytest.mark.parametrize("path", ["/echo", "/echo-in-def"])
def test_a_body_goes_through_the_host_and_back(client: httpx.Client, path: str, size: int, chunked: bool) -> None:
    data = b"y" * size
    content = iter([data[:1000], data[1000:]]) if chunked else data
    assert client.post(path, content=content).content == data


def test_a_stream_comes_whole(client: httpx.Client) -> None:
    assert client.get("/stream").text == "0\n1\n2\n3\n4\n"


def test_what_nothing_matches_is_answered_by_the_app_inside(client: httpx.Client, host: Host) -> None:
    answer = client.get("/n%C3%B6")
    assert (answer.status_code, answer.text) == (404, f"ours has no {host.root}/nö")


@pytest.mark.protocol("asgi")
def test_a_websocket_goes_through_the_host(running: Running, host: Host) -> None:
    with websocket_at(running, f"{AT}{host.asked}/talk/a%20b?q=1") as client:
        assert json.loads(client.recv(timeout=BOUND)) == {
            "url": f"ws://www.test{host.root}/talk/a%20b?q=1",
            "thing": f"{AT}{host.root}/things/7",
        }
        client.send("ü 🐍")
        assert client.recv(timeout=BOUND) == "echo ü 🐍"
    assert refusal(running, f"{AT}{host.asked}/nowhere") in (403, 404)


@pytest.mark.protocol("wsgi")
def test_a_websocket_is_refused_where_the_server_has_none(running: Running, host: Host) -> None:
    assert refusal(running, f"{AT}{host.asked}/talk/a") == 501
